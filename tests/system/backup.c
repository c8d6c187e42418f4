/*
 * backup.c (test) - `ppdb backup` of a store that is being written, started from the copy; killed in the middle; refused where it must be;
 * and `ppdb check --offline` on whole and damaged files.
 */
#include "tests/lib/mount.h"
#include "tests/lib/store.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct test_store s, copy;
static char out[4000];

static void end(void)
{
	test_mounts_end();
	test_stores_end();
}

TestSuite(backup, .fini = end, .timeout = 400);

static unsigned key_of(char *key, uint64_t n)
{
	return (unsigned)sprintf(key, "n %llu", (unsigned long long)n);
}

/* Writes n = 1, 2, ...; what is durable is noted. */
static void write_for_ever(void *arg)
{
	_Atomic uint64_t *durable = arg;
	ppdb *db = test_store_attach(&s, 0);
	const ppdb_wopts async = {.size = sizeof(async), .flags = PPDB_ASYNC};
	char key[32], value[2000];

	memset(value, 'v', sizeof(value));
	for (uint64_t n = 1;; n++) {
		unsigned size = key_of(key, n);

		test_ok(ppdb_put(db, 0, (ppdb_slice){key, size}, (ppdb_slice){value, n % sizeof(value)}, n % 50 ? &async : NULL, NULL));
		test_ok(ppdb_put(db, 0, PPDB_S("often"), (ppdb_slice){value, 1500}, &async, NULL));
		if (n % 50 == 0)
			*durable = n;
	}
}

/* Starts a store on the backup in `dir` and counts: a prefix of what was written, at least `least`. */
static void judge(const char *dir, uint64_t least)
{
	char key[32];
	uint64_t n = 0;
	ppdb *db;
	int rc;

	test_store_prepare(&copy, "--memory 256M --wal-segment 1M");
	snprintf(out, sizeof(out), "rm -rf %s && mv %s %s", copy.data, dir, copy.data);
	test_require(!system(out), "%s", out);
	test_require(!test_store_try(&copy), "ppdbd does not start on the backup");
	db = test_store_attach(&copy, 0);
	do {
		unsigned size = key_of(key, ++n);

		rc = ppdb_get(db, 0, (ppdb_slice){key, size}, NULL, 0, NULL);
	} while (rc != PPDB_NOTFOUND);
	test_require(n > least, "the backup ends at %llu, %llu were durable when it began", (unsigned long long)n - 1,
		     (unsigned long long)least);
	for (uint64_t more = n + 1; more < n + 1000; more++) {
		unsigned size = key_of(key, more);

		test_expect(PPDB_NOTFOUND, ppdb_get(db, 0, (ppdb_slice){key, size}, NULL, 0, NULL));
	}
	test_ok(ppdb_put(db, 0, PPDB_S("new"), PPDB_S("life"), NULL, NULL));
	test_ok(ppdb_detach(db));
	test_store_check(&copy, true);
	test_store_end(&copy);
}

Test(backup, of_a_busy_store)
{
	_Atomic uint64_t *durable = test_shared(sizeof(*durable));
	char dir[160], command[500];
	pid_t writer;

	test_begin(300);
	test_store_start(&s, "--memory 512M --wal-segment 1M --checkpoint-bytes 8M");
	writer = test_spawn(write_for_ever, durable);
	for (unsigned round = 0; round < test_scale(6); round++) {
		uint64_t before;
		int rc;

		test_sleep_ms(100 + 150 * round);
		before = *durable;
		snprintf(dir, sizeof(dir), "%s/backup-%u", s.dir, round);
		snprintf(command, sizeof(command), "backup %s", dir);
		rc = test_store_command(&s, command, out, sizeof(out));
		if (rc == 4 && strstr(out, "checkpoints overtook")) /* a slow machine: it is said, and the directory refused */
			continue;
		test_require(!rc && strstr(out, "fine"), "backup: %d, %s", rc, out);
		if (round % 3 == 0)
			test_store_restart(&s);
		judge(dir, before);
	}
	test_kill(writer);
}

static void run_backup(void *arg)
{
	char program[300], *argv[] = {program, (char *)"-n", s.socket, (char *)"backup", arg, NULL};

	snprintf(program, sizeof(program), "%s/ppdb", getenv("PPDB_BUILD") ? getenv("PPDB_BUILD") : PPDB_BUILD_DIR);
	execv(program, argv);
	_exit(127);
}

/* Killed anywhere, it leaves a directory that is refused with a reason, or a whole one. */
Test(backup, killed)
{
	_Atomic uint64_t *durable = test_shared(sizeof(*durable));
	unsigned whole = 0, refused = 0;
	struct test_random r;
	pid_t writer;

	test_begin(300);
	r = test_random(test_seed(), 3);
	test_store_start(&s, "--memory 512M --wal-segment 1M --checkpoint-bytes 8M");
	writer = test_spawn(write_for_ever, durable);
	test_sleep_ms(500);
	kill(writer, SIGSTOP);
	for (unsigned round = 0; round < test_scale(30); round++) {
		char dir[160], command[500];
		pid_t pid;
		int rc;

		snprintf(dir, sizeof(dir), "%s/backup-%u", s.dir, round);
		pid = test_spawn(run_backup, dir);
		usleep((useconds_t)test_below(&r, 60000));
		test_kill(pid);
		snprintf(command, sizeof(command), "check --offline %s", dir);
		rc = test_store_command(&s, command, out, sizeof(out));
		whole += rc == 0;
		refused += rc == 4;
		test_require(rc == 0 || (rc == 4 && (strstr(out, "not finished") || strstr(out, "there is no store") ||
			     strstr(out, "No such file"))), "check --offline: %d, %s", rc, out);
		if (rc == 4 && strstr(out, "not finished")) {
			test_store_prepare(&copy, "--memory 64M");
			snprintf(command, sizeof(command), "rm -rf %s && mv %s %s", copy.data, dir, copy.data);
			test_require(!system(command), "%s", command);
			test_require(test_store_try(&copy) == 1, "ppdbd started on an unfinished backup");
			test_store_end(&copy);
		}
		snprintf(command, sizeof(command), "rm -rf %s", dir);
		test_require(!system(command), "%s", command);
	}
	test_kill(writer);
	test_require(refused, "%u whole, %u refused: killed too late", whole, refused);
}

/* The first log file's name in a directory. */
static void first_segment(const char *dir, char *path, size_t cap)
{
	char wal[200];
	struct dirent *e;
	DIR *d;

	snprintf(wal, sizeof(wal), "%s/wal", dir);
	d = opendir(wal);
	path[0] = '\0';
	while (d && (e = readdir(d)))
		if (!strncmp(e->d_name, "wal-", 4))
			snprintf(path, cap, "%s/%s", wal, e->d_name);
	if (d)
		closedir(d);
}

Test(backup, refused)
{
	char dir[160], command[400], segment[500];
	const ppdb_wopts async = {.size = sizeof(async), .flags = PPDB_ASYNC};
	static char value[100000];
	uint8_t byte;
	ppdb *db;
	int fd;

	test_begin(200);
	test_store_start(&s, "--memory 128M --wal-segment 1M");
	db = test_store_attach(&s, 0);
	for (int i = 0; i < 100; i++)
		test_ok(ppdb_put(db, 0, PPDB_S("big"), (ppdb_slice){value, sizeof(value)}, &async, NULL));
	test_ok(ppdb_sync(db, -1));
	test_ok(ppdb_detach(db));
	/* a directory that is in use */
	snprintf(command, sizeof(command), "backup %s", s.data);
	cr_assert_eq(test_store_command(&s, command, out, sizeof(out)), 4);
	test_require(strstr(out, "not an empty directory"), "%s", out);
	/* one that cannot be made */
	snprintf(command, sizeof(command), "backup %s/no/such/place", s.dir);
	cr_assert_eq(test_store_command(&s, command, out, sizeof(out)), 4);
	test_require(strstr(out, "cannot make the directory"), "%s", out);
	/* good, then a byte is changed: named with its place */
	snprintf(dir, sizeof(dir), "%s/backup", s.dir);
	snprintf(command, sizeof(command), "backup %s", dir);
	test_require(!test_store_command(&s, command, out, sizeof(out)), "%s", out);
	first_segment(dir, segment, sizeof(segment));
	fd = open(segment, O_RDWR);
	test_require(fd >= 0 && pread(fd, &byte, 1, 5000) == 1, "%s: %m", segment);
	byte ^= 1;
	test_require(pwrite(fd, &byte, 1, 5000) == 1, "%m");
	close(fd);
	snprintf(command, sizeof(command), "check --offline %s", dir);
	cr_assert_eq(test_store_command(&s, command, out, sizeof(out)), 4);
	test_require(strstr(out, "damaged at offset") && strstr(out, "/wal/"), "%s", out);
	/* a full disk: said, and what is there is never taken for whole */
	snprintf(dir, sizeof(dir), "%s/small", s.dir);
	if (test_mount_tmpfs(dir, 3)) {
		snprintf(command, sizeof(command), "backup %s/backup", dir);
		cr_assert_eq(test_store_command(&s, command, out, sizeof(out)), 4);
		test_require(strstr(out, "No space left"), "%s", out);
		snprintf(command, sizeof(command), "check --offline %s/backup", dir);
		cr_assert_eq(test_store_command(&s, command, out, sizeof(out)), 4);
		test_require(strstr(out, "not finished"), "%s", out);
	}
	/* a directory that is none, and no daemon */
	snprintf(command, sizeof(command), "check --offline %s", s.dir);
	cr_assert_eq(test_store_command(&s, command, out, sizeof(out)), 4);
	test_store_kill(&s);
	snprintf(command, sizeof(command), "backup %s/another", s.dir);
	cr_assert_eq(test_store_command(&s, command, out, sizeof(out)), 3);
	snprintf(command, sizeof(command), "%s/another", s.dir);
	cr_assert(access(command, F_OK), "made although there is no daemon");
	/* the store's own files are fine though it was killed */
	snprintf(command, sizeof(command), "check --offline %s", s.data);
	test_require(!test_store_command(&s, command, out, sizeof(out)), "%s", out);
}
