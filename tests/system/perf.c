/*
 * perf.c - `ppdb perf` from outside: the numbers of a known load, of clients at work, and with a daemon that is stopped or dead.
 */
#include "client/ppdb.h"
#include "tests/lib/store.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

TestSuite(perf, .fini = test_stores_end, .timeout = 300);

static struct test_store s;
static const ppdb_wopts async = {.size = sizeof(async), .flags = PPDB_ASYNC};
static char out[1 << 20];

/* The number at the end of a path of members: they come in this order, and nothing of the kind stands between. */
static double number(const char *a, const char *b, const char *c)
{
	const char *path[] = {a, b, c}, *at = out;
	char key[64];

	for (unsigned i = 0; i < 3 && path[i]; i++) {
		snprintf(key, sizeof(key), "\"%s\": ", path[i]);
		at = strstr(at, key);
		test_require(at, "no %s in %s", key, out);
		at += strlen(key);
	}
	return strtod(at, NULL);
}

static void perf(const char *options)
{
	char command[256];
	int rc;

	snprintf(command, sizeof(command), "--json perf --arena %s %s", s.arena, options);
	rc = test_store_command(&s, command, out, sizeof(out));
	test_require(!rc, "%s ended with %d: %s", command, rc, out);
}

struct load {
	unsigned gets, puts, durable;
	uint32_t flags;                        /* of the attach */
	_Atomic int *go_on;                    /* NULL: once; else again and again while it is 1 */
};

static void work(void *arg)
{
	struct load *l = arg;
	ppdb *db = test_store_attach(&s, l->flags);
	char key[16], value[100], back[100];
	size_t size;

	memset(value, 'v', sizeof(value));
	do {
		for (unsigned i = 0; i < l->puts; i++) {
			snprintf(key, sizeof(key), "key%05u", i);
			test_ok(ppdb_put(db, 0, (ppdb_slice){key, 8}, (ppdb_slice){value, sizeof(value)}, i < l->durable ? NULL : &async, NULL));
		}
		for (unsigned i = 0; i < l->gets; i++)
			test_ok(ppdb_get(db, 0, PPDB_S("key00000"), back, sizeof(back), &size));
	} while (l->go_on && *l->go_on);
	test_ok(ppdb_detach(db));
}

/* Sums that the daemon brings over each 100 ms. */
static void until_counted(const char *op, double n)
{
	for (unsigned i = 0; i < 100; i++) {
		perf("--total");
		if (number("operations", op, "count") >= n)
			return;
		test_sleep_ms(100);
	}
	test_require(false, "%.0f of %s were done, perf says: %s", n, op, out);
}

Test(perf, a_known_load_to_the_last_operation)
{
	struct load writer = {.gets = 3200, .puts = 640, .durable = 64}, reader = {.gets = 1600, .flags = PPDB_RDONLY};
	double commits, waits;

	test_begin(120);
	test_store_start(&s, "--memory 64M --wal-segment 4M --shards 4");
	test_join(test_spawn(work, &writer));
	perf("--total");
	cr_assert_eq(number("seconds", NULL, NULL), 0);
	cr_assert_eq(number("operations", "get", "count"), 3200);
	cr_assert_eq(number("operations", "get", "timed"), 13);
	cr_assert_eq(number("operations", "put", "count"), 640);
	cr_assert_eq(number("operations", "put", "timed"), 20);
	waits = number("operations", "wait", "count"); /* what was durable at once was not waited for */
	cr_assert(waits >= 1 && waits <= 64, "%f", waits);
	cr_assert_eq(number("operations", "wait", "timed"), waits);
	cr_assert_eq(number("phases", "install", "timed"), 20);
	cr_assert_eq(number("phases", "queue", "timed"), waits);
	cr_assert_eq(number("phases", "wake", "timed"), waits);
	commits = number("commits", "count", NULL);
	cr_assert(commits >= 64 && commits <= 640, "%f", commits);
	cr_assert_eq(number("phases", "settle", "timed"), commits);
	cr_assert_geq(number("phases", "write", "timed"), 64);
	cr_assert_gt(number("phases", "write", "p50_ns"), 0);
	cr_assert_geq(number("operations", "wait", "p50_ns") * 1.3, number("phases", "write", "p50_ns"), "a wait is longer than its write");
	cr_assert_eq(number("reads", "hint_hit_rate", NULL), 1);
	cr_assert_eq(number("counters", "hint_misses", NULL), 0);
	test_join(test_spawn(work, &reader));
	until_counted("get", 4800);
	cr_assert_eq(number("operations", "get", "count"), 4800);
	test_store_stop(&s);
}

Test(perf, clients_at_work_and_a_daemon_that_is_not)
{
	struct load writer = {.gets = 64, .puts = 16, .durable = 2}, reader = {.gets = 64, .flags = PPDB_RDONLY};
	double gets, total;
	char want[64];
	pid_t pid[2];

	test_begin(200);
	writer.go_on = reader.go_on = test_shared(sizeof(*writer.go_on));
	*writer.go_on = 1;
	test_store_start(&s, "--memory 64M --wal-segment 4M --shards 4");
	pid[0] = test_spawn(work, &writer);
	until_counted("get", 64);
	pid[1] = test_spawn(work, &reader);
	/* on a busy machine nobody may get anything done for a while */
	for (unsigned i = 0; i < 60; i++) {
		perf("--interval 0.5 --count 2");
		cr_assert_geq(number("seconds", NULL, NULL), 0.5);
		if (number("operations", "get", "per_second") > 100 && number("commits", "per_second", NULL) > 1 && number("shards", "write", "timed") > 0 &&
		    strstr(out, "\"readonly\": true") && number("clients", "operations", "get") > 0)
			break;
	}
	cr_assert_gt(number("operations", "get", "per_second"), 100);
	cr_assert_gt(number("commits", "per_second", NULL), 1);
	cr_assert_gt(number("shards", "write", "timed"), 0);
	for (unsigned i = 0; i < 2; i++) {
		snprintf(want, sizeof(want), "\"pid\": %d", (int)pid[i]);
		test_require(strstr(out, want), "no %s in %s", want, out);
	}
	test_require(strstr(out, "\"readonly\": true"), "%s", out);
	gets = number("operations", "get", "count");
	test_require(strchr(out, '\n') && strchr(out, '\n')[1] == '{', "two intervals are two lines: %s", out);
	/* by client: what each did adds up to no more than all */
	cr_assert_gt(gets, number("clients", "operations", "get"));

	kill(s.daemon, SIGSTOP);
	perf("--interval 0.3");
	test_require(strstr(out, "\"state\": \"stopped\"") && strstr(out, "kill -CONT"), "%s", out);
	kill(s.daemon, SIGCONT);
	*writer.go_on = 0;
	test_join(pid[0]);
	test_join(pid[1]);
	perf("--total");
	total = number("operations", "put", "count");
	test_store_kill(&s);
	perf("--total");
	test_require(strstr(out, "\"state\": \"dead\"") && strstr(out, "ppdb start"), "%s", out);
	cr_assert_eq(number("operations", "put", "count"), total);
	perf("--interval 0.1");
	cr_assert_eq(number("operations", "put", "count"), 0);
	test_store_restart(&s);
	perf("--total");
	cr_assert_eq(number("operations", "put", "count"), total, "a restart forgets nothing");
	test_store_stop(&s);
}

Test(perf, what_it_says_when_asked_wrongly)
{
	char command[160];

	test_begin(120);
	test_store_start(&s, "--memory 64M --wal-segment 4M");
	cr_assert_eq(test_store_command(&s, "perf --interval soon", out, sizeof(out)), 2);
	test_require(strstr(out, "--interval takes"), "%s", out);
	cr_assert_eq(test_store_command(&s, "perf --interval 0", out, sizeof(out)), 2);
	cr_assert_eq(test_store_command(&s, "perf --help", out, sizeof(out)), 0);
	test_require(strstr(out, "ppdb perf --interval 10"), "%s", out);
	cr_assert_eq(test_store_command(&s, "perf --interval 0.05", out, sizeof(out)), 0);
	test_require(strstr(out, "nothing was read or written") && strstr(out, "Nothing stands out."), "%s", out);
	test_store_kill(&s);
	snprintf(command, sizeof(command), "perf --arena %s.not-there", s.arena);
	cr_assert_eq(test_store_command(&s, command, out, sizeof(out)), 3);
	test_store_end(&s);
}
