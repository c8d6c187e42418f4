/*
 * errors_store.c - a daemon that must not start: the data directory is missing, read-only, a file, taken, of another store, or damaged; the
 * arena is of another store or layout; settings are wrong. It ends with its exit status and one sentence, changes nothing, and
 * starts with all data once the cause is gone.
 */
#include "client/internal.h" /* first: ppdb.h then leaves the error codes to shm/errors.h */
#include "tests/lib/ledger.h"
#include "tests/lib/mount.h"
#include "tests/lib/store.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void clear(void)
{
	test_mounts_end();
	test_stores_end();
}

TestSuite(errors_store, .fini = clear, .timeout = 240);

static struct test_store s;
static struct ledger *l;

#define OPTIONS "--memory 64M --wal-segment 4M --slots 32"

/* What the daemon said since the last call. */
static const char *messages(void)
{
	static char out[8192];
	FILE *f = fopen(s.messages, "r");
	size_t n = f ? fread(out, 1, sizeof(out) - 1, f) : 0;

	out[n] = '\0';
	if (f)
		fclose(f);
	unlink(s.messages);
	return out;
}

static void refused(int code, const char *text)
{
	const char *said;
	int rc;

	messages();
	rc = test_store_try(&s);
	said = messages();
	test_require(rc == code, "ppdbd ended with %d, not %d: %s", rc, code, said);
	test_require(strstr(said, text), "no '%s' in: %s", text, said);
}

static void with_data(void)
{
	ppdb *db;

	test_begin(200);
	l = ledger_new();
	test_store_start(&s, OPTIONS);
	db = test_store_attach(&s, 0);
	for (unsigned i = 0; i < 300; i++)
		test_ok(ledger_put(l, db, i, 500, i % 50 ? &(ppdb_wopts){.size = sizeof(ppdb_wopts), .flags = PPDB_ASYNC} : NULL));
	test_ok(ppdb_sync(db, -1));
	test_ok(ppdb_detach(db));
}

/* Starts, holds what was there, and takes more. */
static void starts(void)
{
	ppdb *db;
	int rc = test_store_try(&s);

	test_require(!rc, "ppdbd ended with %d: %s", rc, messages());
	db = test_store_attach(&s, 0);
	ledger_judge(l, db);
	test_ok(ledger_put(l, db, l->writes % 1000, 100, NULL));
	ledger_judge(l, db);
	test_ok(ppdb_detach(db));
	test_store_check(&s, true);
}

static void shell(const char *fmt, const char *a, const char *b)
{
	char line[1024];

	snprintf(line, sizeof(line), fmt, a, b);
	test_require(!system(line), "%s", line);
}

/* ---- data directory */

Test(errors_store, directory_is_a_file)
{
	with_data();
	test_store_stop(&s);
	shell("mv '%s' '%s.moved'", s.data, s.data);
	shell("echo >'%s'%s", s.data, "");
	refused(1, s.data);
	unlink(s.data);
	shell("mv '%s.moved' '%s'", s.data, s.data);
	starts();
}

Test(errors_store, directory_not_writable)
{
	char folder[128];

	with_data();
	test_store_stop(&s);
	snprintf(folder, sizeof(folder), "%s/disk", s.dir);
	if (geteuid()) {
		test_require(!chmod(s.data, 0500), "chmod");
		refused(1, "is not writable");
		test_require(!chmod(s.data, 0700), "chmod");
	} else if (test_mount_tmpfs(folder, 64)) { /* root may write everywhere else */
		shell("cp -a '%s' '%s/data'", s.data, folder);
		shell("mv '%s' '%s.moved'", s.data, s.data);
		test_require(!symlink("disk/data", s.data), "symlink");
		test_mount_readonly(folder);
		refused(1, "is not writable");
		unlink(s.data);
		shell("mv '%s.moved' '%s'", s.data, s.data);
	}
	starts();
}

Test(errors_store, identity_missing_or_damaged)
{
	with_data();
	test_store_stop(&s);
	shell("mv '%s/STORE' '%s/../STORE'", s.data, s.data);
	refused(1, "STORE is missing, but there is a log");
	shell("sed 's/format 1/format 2/' '%s/../STORE' >'%s/STORE'", s.data, s.data);
	refused(1, "STORE has format 2, this program knows 1");
	shell("tr 0-8 1-9 <'%s/../STORE' | sed 's/format ./format 1/' >'%s/STORE'", s.data, s.data);
	refused(1, "checksum does not fit");
	shell("head -c 3 '%s/../STORE' >'%s/STORE'", s.data, s.data);
	refused(1, "STORE is damaged");
	shell("mv '%s/../STORE' '%s/STORE'", s.data, s.data);
	starts();
}

/* A log from elsewhere is not taken for ours, and the arena of one store not for that of another. */
Test(errors_store, another_store)
{
	char mine[112];
	struct ledger *kept;
	ppdb *db;

	with_data();
	test_store_stop(&s);
	memcpy(mine, s.data, sizeof(mine));
	snprintf(s.data, sizeof(s.data), "%.100s/other", s.dir);
	kept = l;
	l = ledger_new(); /* an empty store: the arena that is there is not its own */
	starts();
	db = test_store_attach(&s, 0);
	test_ok(ledger_put(l, db, 7, 100, NULL));
	test_ok(ppdb_detach(db));
	test_store_stop(&s);
	shell("mv '%s/wal' '%s/wal.kept'", s.data, s.data);
	shell("cp -a '%s/wal' '%s/wal'", mine, s.data);
	unlink(s.arena);
	refused(1, "another store");
	shell("rm -r '%s/wal'; mv '%s/wal.kept' \"$(dirname '%1$s/wal')/wal\"", s.data, s.data);
	starts();
	test_store_stop(&s);
	memcpy(s.data, mine, sizeof(mine));
	l = kept;
	starts();
}

Test(errors_store, second_daemon)
{
	struct test_store first;
	ppdb *db;

	with_data();
	first = s;
	s.daemon = 0;
	snprintf(s.socket, sizeof(s.socket), "%.90s/socket2", s.dir);
	snprintf(s.arena, sizeof(s.arena), "%.90s2", first.arena);
	refused(1, "another ppdbd (pid ");
	snprintf(s.data, sizeof(s.data), "%.90s/data2", s.dir);
	memcpy(s.arena, first.arena, sizeof(s.arena));
	refused(1, "another ppdbd (pid ");
	memcpy(s.data, first.data, sizeof(s.data));
	memcpy(s.socket, first.socket, sizeof(s.socket));
	s = first;
	db = test_store_attach(&s, 0); /* the first one noticed nothing */
	ledger_judge(l, db);
	test_ok(ppdb_detach(db));
}

/* ---- layout */

static void flip_layout(void)
{
	uint64_t hash;
	int fd = open(s.arena, O_RDWR);

	test_require(fd >= 0 && pread(fd, &hash, 8, offsetof(struct pp_header, layout_hash)) == 8, "%s", s.arena);
	hash ^= 1;
	test_require(pwrite(fd, &hash, 8, offsetof(struct pp_header, layout_hash)) == 8, "%s", s.arena);
	close(fd);
}

/* An arena of another version is not adopted: a cold start, with everything from the log. */
Test(errors_store, arena_of_another_layout)
{
	with_data();
	test_store_stop(&s);
	messages();
	starts();
	test_require(strstr(messages(), "warm start"), "not warm");
	test_store_kill(&s);
	flip_layout();
	starts();
	test_require(strstr(messages(), "cold start"), "not cold");
}

Test(errors_store, client_of_another_layout)
{
	struct pp_request r;
	struct pp_reply reply;
	int fds[PP_PROTO_FDS], rc, sock;
	size_t bytes = 0;
	ppdb *db;

	with_data();
	sock = pp_link_connect(s.socket);
	test_require(sock >= 0, "%s", test_detail());
	pp_request_init(&r, PP_MSG_ATTACH);
	r.layout_hash = pp_layout_hash_engine() ^ 1;
	test_ok(pp_proto_send(sock, &r, sizeof(r), NULL, 0, NULL, 0));
	while ((rc = pp_proto_recv(sock, &reply, sizeof(reply), &bytes, fds)) == -EAGAIN)
		test_sleep_ms(5);
	test_ok(rc);
	test_ok(pp_reply_check(&reply, bytes, PP_MSG_ATTACH));
	test_expect(PPDB_LAYOUT, reply.status);
	test_require(strstr(reply.sentence, "layout") && fds[0] < 0, "%s", reply.sentence);
	close(sock);
	db = test_store_attach(&s, 0);
	ledger_judge(l, db);
	test_ok(ppdb_detach(db));
}

/* ---- damage */

/* The first file of a folder whose name begins so. */
static void find_file(const char *folder, const char *prefix, char *path, size_t cap)
{
	char dir[160];
	struct dirent **names;
	bool found = false;
	int n;

	snprintf(dir, sizeof(dir), "%s/%s", s.data, folder);
	n = scandir(dir, &names, NULL, alphasort);
	test_require(n >= 0, "%s: %s", dir, strerror(errno));
	for (int i = 0; i < n; i++) {
		if (!found && !strncmp(names[i]->d_name, prefix, strlen(prefix))) {
			snprintf(path, cap, "%s/%s", dir, names[i]->d_name);
			found = true;
		}
		free(names[i]);
	}
	free(names);
	test_require(found, "no %s* in %s", prefix, dir);
}

static void flip_byte(const char *path, off_t at)
{
	uint8_t byte;
	int fd = open(path, O_RDWR);

	test_require(fd >= 0 && pread(fd, &byte, 1, at) == 1, "%s", path);
	byte ^= 0x10;
	test_require(pwrite(fd, &byte, 1, at) == 1, "%s", path);
	close(fd);
}

/* Acknowledged data is damaged: refused, with file and offset; never cut off silently, nothing is changed. */
Test(errors_store, damaged_log)
{
	char path[512];

	with_data();
	test_store_kill(&s);
	unlink(s.arena);
	find_file("wal", "wal-", path, sizeof(path));
	flip_byte(path, 4096 + 200);
	refused(1, path);
	refused(1, "offset");
	flip_byte(path, 4096 + 200);
	starts();
}

/* The arena has all of it, but a store whose log is damaged is not adopted either: what memory holds would be lost at the next crash. */
Test(errors_store, damaged_log_beside_a_good_arena)
{
	char path[512];

	with_data();
	test_store_kill(&s);
	find_file("wal", "wal-", path, sizeof(path));
	flip_byte(path, 4096 + 200);
	refused(1, path);
	flip_byte(path, 4096 + 200);
	starts();
}

static void checkpointed(void)
{
	with_data();
	snprintf(s.options, sizeof(s.options), OPTIONS " --checkpoint-on-stop");
	test_store_stop(&s);
	starts();
	test_store_stop(&s);
	snprintf(s.options, sizeof(s.options), OPTIONS);
	unlink(s.arena);
}

/* Each file of the checkpoint, damaged in three places. */
Test(errors_store, damaged_checkpoint)
{
	char line[256], path[512];
	unsigned files = 0;
	struct stat st;
	FILE *list;

	checkpointed();
	snprintf(line, sizeof(line), "find '%s/checkpoint' -type f", s.data);
	list = popen(line, "r");
	while (list && fgets(path, sizeof(path), list)) {
		path[strcspn(path, "\n")] = '\0';
		test_require(!stat(path, &st) && st.st_size > 16, "%s: %ld bytes", path, (long)st.st_size);
		for (int i = 1; i < 4; i++) {
			flip_byte(path, st.st_size * i / 4);
			refused(1, path);
			flip_byte(path, st.st_size * i / 4);
		}
		files++;
	}
	test_require(list && files, "no checkpoint");
	pclose(list);
	starts();
}

/* ---- settings */

static void config(const char *text, int code, const char *says)
{
	char path[160];
	FILE *f;

	snprintf(path, sizeof(path), "%s/ppdbd.conf", s.dir);
	f = fopen(path, "w");
	test_require(f && fputs(text, f) >= 0 && !fclose(f), "%s", path);
	snprintf(s.options, sizeof(s.options), "-c %s", path);
	if (says)
		refused(code, says);
}

Test(errors_store, configuration)
{
	with_data();
	test_store_stop(&s);
	config("[ppdbd]\nmemory = 64M\n\nsharts = 4\n", 2, "ppdbd.conf:4: ");
	config("[ppdbd]\nmemory = 64Q\n", 2, "ppdbd.conf:2: ");
	config("[ppdbd]\nmemory = 1M\n", 2, "ppdbd.conf:2: ");
	config("[ppdbd]\nmemory = 99999999999T\n", 2, "ppdbd.conf:2: ");
	config("[ppdbd]\n# c\nslots = many\n", 2, "ppdbd.conf:3: ");
	config("[ppdbd]\nslots = -1\n", 2, "ppdbd.conf:2: ");
	config("[ppdbd]\nstrategy = tree\n", 2, "ppdbd.conf:2: ");
	config("[ppdbd]\nnuma = perhaps\n", 2, "ppdbd.conf:2: ");
	config("[ppdbd]\njust words\n", 2, "ppdbd.conf:2: ");
	config("[ppdbd\nmemory = 64M\n", 2, "ppdbd.conf:1: ");
	config("[ppdbd]\nring = 100\n", 2, "power of two");
	unlink(s.arena); /* an arena that is adopted keeps its sizes */
	config("[ppdbd]\nmemory = 16M\nslots = 4096\n", 1, "too little");
	config("[ppdbd]\nmemory = 64M\nwal-backend = floppy\n", 1, "no WAL backend is called 'floppy'");
	snprintf(s.options, sizeof(s.options), "-c %.90s/none.conf", s.dir);
	refused(2, "none.conf");
	snprintf(s.options, sizeof(s.options), "--memory");
	refused(2, "memory");
	config("# all right\n[ppdbd]\nmemory = 64M\nwal-segment = 4M\nslots = 32\n", 0, NULL);
	starts();
}
