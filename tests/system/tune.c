/*
 * tune.c - `ppdb tune` keeps its word, whatever it measures: a value other than the default is taken only beyond the noise, ppdbd takes the config, the
 * store's own sizes and mix are what is measured, and nothing is left behind, also after an interrupt.
 */
#include "client/ppdb.h"
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
#include <sys/wait.h>
#include <unistd.h>

static void finish(void)
{
	test_mounts_end();
	test_stores_end();
}

TestSuite(tune, .fini = finish, .timeout = 300);

static struct test_store s, other;
static char out[1 << 17], words[700], dir[160];

static void prepare(void)
{
	test_begin(250);
	test_store_start(&s, "--memory 64M --wal-segment 4M");
	snprintf(dir, sizeof(dir), "%s/scratch", s.dir);
	test_require(!mkdir(dir, 0700), "mkdir");
}

/* 90 writes and 10 gets of 20-byte keys with values of 300 bytes. */
static void use(void)
{
	ppdb_wopts async = {.size = sizeof(async), .flags = PPDB_ASYNC};
	ppdb *db = test_store_attach(&s, 0);
	char key[32], value[300] = {0};

	for (unsigned i = 0; i < 900; i++) {
		snprintf(key, sizeof(key), "user/%015u", i);
		test_ok(ppdb_put(db, 0, (ppdb_slice){key, 20}, (ppdb_slice){value, sizeof(value)}, &async, NULL));
		if (i % 9 == 0)
			test_ok(ppdb_get(db, 0, (ppdb_slice){key, 20}, value, sizeof(value), NULL));
	}
	test_ok(ppdb_detach(db));
}

static unsigned files_in(const char *folder)
{
	DIR *d = opendir(folder);
	struct dirent *e;
	unsigned n = 0;

	while (d && (e = readdir(d)))
		n += e->d_name[0] != '.';
	if (d)
		closedir(d);
	return n;
}

static double number(const char *from, const char *field)
{
	char key[64];
	const char *at;

	snprintf(key, sizeof(key), "\"%s\": ", field);
	at = strstr(from, key);
	test_require(at, "no %s in: %s", field, out);
	return strtod(at + strlen(key), NULL);
}

/* Whether the choice follows from the figures; returns the chosen value. */
static void judge(const char *setting, char *chosen, size_t cap)
{
	char key[64], *at, *end, *value;
	double best = 0, taken = 1;

	snprintf(key, sizeof(key), "\"name\": \"%s\"", setting);
	at = strstr(out, key);
	test_require(at && (at = strstr(at, "\"chosen\": \"")), "no %s in: %s", setting, out);
	snprintf(chosen, cap, "%.*s", (int)strcspn(at + 11, "\""), at + 11);
	end = strstr(at, "\"name\": ");
	snprintf(key, sizeof(key), "\"value\": \"%s\"", chosen);
	for (value = strstr(at, "\"value\": \""); value && (!end || value < end); value = strstr(value + 1, "\"value\": \"")) {
		char *next = strstr(value + 1, "}");
		bool is_default = strstr(value, "\"default\": true") && strstr(value, "\"default\": true") < next;
		bool measured = strstr(value, "\"ratio\"") && strstr(value, "\"ratio\"") < next;
		double better = measured ? number(value, "ratio") - 1 - number(value, "noise") : 0;

		if (measured && better > 0 && number(value, "ratio") > best)
			best = number(value, "ratio");
		if (!strncmp(value, key, strlen(key)))
			taken = is_default ? 1 : better > 0 ? number(value, "ratio") : -1;
	}
	test_require(taken > 0, "%s = %s is not better than the default beyond the noise: %s", setting, chosen, out);
	test_require(best > 1 ? taken >= best * 0.9999 : taken == 1, "%s = %s is not the best: %s", setting, chosen, out);
}

Test(tune, measures_the_store_and_writes_what_ppdbd_takes)
{
	static char config[1 << 16];
	char path[160], sync[32], line[64];
	int fd;

	prepare();
	use();
	snprintf(path, sizeof(path), "%s/tuned.conf", s.dir);
	snprintf(words, sizeof(words), "tune --quick --rounds 3 --seconds 0.03 --keys 2000 --only sync,stripes --memory 123M --json --data-dir %s --write %s", dir, path);
	test_require(test_store_command(&s, words, out, sizeof(out)) == 0, "%s", out);
	test_require(number(out, "key_bytes") == 20 && number(out, "value_bytes") == 300, "the sizes are not the store's: %s", out);
	test_require(number(out, "writes_percent") == 90 && number(out, "reads_percent") == 10, "the mix is not the store's: %s", out);
	test_require(number(out, "measured_keys") == 2000, "%s", out);
	judge("sync", sync, sizeof(sync));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	test_require(fd >= 0 && read(fd, config, sizeof(config) - 1) > 0, "no config");
	close(fd);
	snprintf(line, sizeof(line), "\nsync = %s\n", sync);
	test_require(strstr(config, line), "'%s' is not in: %s", line, config);
	test_require(strcmp(sync, "mutex") ? strstr(config, "\n# stripes = ") : strstr(config, "\nstripes = "), "stripes are only of mutex: %s", config);
	test_require(strstr(config, "\nmemory = 123M\n") && strstr(config, "values of 300 bytes") && strstr(config, "(noise "), "%s", config);
	test_require(files_in(dir) == 0, "scratch daemons left files");
	test_require(test_store_command(&s, words, out, sizeof(out)) == 2 && strstr(out, "--force"), "it writes over a file: %s", out);
	test_store_prepare(&other, NULL);
	snprintf(other.options, sizeof(other.options), "-c %s", path);
	test_require(test_store_try(&other) == 0, "ppdbd does not take the config: %s", config);
	test_store_end(&other);
	test_store_stop(&s);
}

/* A hugetlbfs that is mounted anywhere is tried, too. */
Test(tune, tries_huge_pages_where_there_are_some)
{
	char folder[160], *at;

	prepare();
	snprintf(folder, sizeof(folder), "%s/huge", s.dir);
	if (!test_mount_hugetlb(folder, 150))
		cr_skip_test("no huge pages to be had");
	snprintf(words, sizeof(words), "tune --rounds 3 --seconds 0.02 --keys 1000 --only pages --json --data-dir %s", dir);
	test_require(test_store_command(&s, words, out, sizeof(out)) == 0, "%s", out);
	at = strstr(out, "\"value\": \"hugetlb\"");
	test_require(at && strstr(at, "\"per_s\"") && strstr(at, "\"per_s\"") < strchr(at, '}'), "hugetlb was not measured: %s", out);
	test_require(files_in(folder) == 0 && files_in(dir) == 0, "scratch daemons left files");
	test_store_stop(&s);
}

Test(tune, is_interrupted_and_refuses)
{
	char program[512], log[160], *argv[] = {program, "-n", s.socket, "tune", "--data-dir", dir, NULL};
	pid_t pid;
	int status, fd;
	ssize_t n;

	prepare();
	test_require(test_store_command(&s, "tune --only nonsense", out, sizeof(out)) == 2, "%s", out);
	test_require(test_store_command(&s, "tune --rounds 2", out, sizeof(out)) == 2, "%s", out);
	snprintf(program, sizeof(program), "%s/ppdb", getenv("PPDB_BUILD") ? getenv("PPDB_BUILD") : PPDB_BUILD_DIR);
	snprintf(log, sizeof(log), "%s/background", s.dir);
	pid = test_exec(argv, log);
	for (unsigned i = 0; i < 1000 && !files_in(dir); i++)
		test_sleep_ms(20);
	test_require(files_in(dir) > 0, "no scratch daemon begins");
	test_sleep_ms(300);
	kill(pid, SIGINT);
	status = test_collect(pid, true);
	fd = open(log, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : read(fd, out, sizeof(out) - 1);
	out[n > 0 ? n : 0] = '\0';
	close(fd);
	test_require(WIFEXITED(status) && WEXITSTATUS(status) == 4 && strstr(out, "nothing was written"), "%#x: %s", (unsigned)status, out);
	test_require(files_in(dir) == 0, "scratch daemons left files");
	test_store_stop(&s);
	test_require(test_store_command(&s, "tune", out, sizeof(out)) == 3, "a store that does not run: %s", out);
}
