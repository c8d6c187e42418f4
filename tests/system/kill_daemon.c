/*
 * kill_daemon.c - the daemon dies by SIGKILL under load, warm (the next one adopts the arena) and cold (log and checkpoint alone). What
 * was acknowledged is there, what is there is a prefix of what dependent writers did, and clients go on by themselves.
 *
 * The clients are stopped right after the kill, so that the state after the restart can be judged before they go on; some of
 * them then stand in the middle of a write, which must not hold up the new daemon either.
 */
#include "client/ppdb.h"
#include "tests/lib/crew.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHURN 3

TestSuite(kill_daemon, .fini = test_stores_end, .timeout = 1200);

static struct test_store s;

static void one_death(struct crew *c, struct test_random *r, enum crew_restart how)
{
	usleep((useconds_t)test_below(r, 60000));
	crew_watch(c);
	test_store_kill(&s);
	if (test_chance(r, 50)) /* on with the rings alone */
		usleep((useconds_t)test_below(r, 20000));
	crew_restart(c, how);
	crew_progress(c, 3);
}

/* Nobody writes any more: all is in order, in memory and, after one more cold start, on disk. */
static void finish(struct crew *c)
{
	ppdb *db;

	crew_dismiss(c);
	db = test_store_attach(&s, 0);
	crew_settled("after the deaths", db, 2, 4);
	crew_judge_follow(c);
	test_ok(ppdb_detach(db));
	test_store_check(&s, true);
	test_store_cold(&s);
	test_store_check(&s, true);
	test_store_stop(&s);
}

static void deaths(const char *options, unsigned count, unsigned cold_percent)
{
	struct test_random r;
	struct crew *c;

	test_begin(600);
	r = test_random(test_seed(), 1);
	test_store_start(&s, options);
	c = crew_new(&s);
	c->tolerant = true;
	crew_follow_begin(c);
	crew_hire_all(c, CHURN);
	crew_progress(c, 3);
	for (unsigned i = 0; i < count; i++) {
		enum crew_restart how = test_chance(&r, cold_percent) ? CREW_COLD : CREW_WARM;

		test_say("death %u of the daemon, %s", i, how == CREW_COLD ? "cold" : "warm");
		one_death(c, &r, how);
		if (i == count / 2)
			crew_judge_backup(c);
	}
	finish(c);
}

/* The daemon dies before it hears that a handle was detached, while the process lives on. */
Test(kill_daemon, detach_that_nobody_hears)
{
	ppdb *db;

	test_begin(60);
	test_store_start(&s, "--memory 64M --wal-segment 4M");
	for (unsigned i = 0; i < 5; i++) {
		ppdb *reader = test_store_attach(&s, PPDB_RDONLY);

		db = test_store_attach(&s, 0);
		test_ok(ppdb_put(db, 0, PPDB_S("k"), PPDB_S("v"), NULL, NULL));
		test_ok(ppdb_get(reader, 0, PPDB_S("k"), NULL, 0, NULL) == -ENOBUFS ? 0 : -1);
		test_store_kill(&s);
		test_ok(ppdb_detach(db));
		test_ok(ppdb_detach(reader));
		test_store_restart(&s);
	}
	db = test_store_attach(&s, 0);
	crew_settled("after detaching", db, 2, 4);
	test_ok(ppdb_detach(db));
	test_store_stop(&s);
}

/* A reader that makes no call through a warm restart must not lose what it holds, however long it is silent. */
Test(kill_daemon, silent_reader)
{
	static const ppdb_wopts async = {.size = sizeof(async), .flags = PPDB_ASYNC};
	char value[600], want[600];
	ppdb *reader, *db;
	ppdb_view *v;
	ppdb_item item;

	test_begin(60);
	test_store_start(&s, "--memory 64M --wal-segment 4M");
	reader = test_store_attach(&s, PPDB_RDONLY);
	db = test_store_attach(&s, 0);
	memset(want, 'w', sizeof(want));
	memset(value, 'v', sizeof(value));
	test_ok(ppdb_put(db, 0, PPDB_S("k"), (ppdb_slice){want, sizeof(want)}, NULL, NULL));
	test_ok(ppdb_view_begin(reader, PPDB_VIEW_LATEST, &v));
	test_ok(ppdb_view_get(v, 0, PPDB_S("k"), &item));
	test_store_restart(&s);
	for (uint64_t begin = test_now_ns(); test_now_ns() - begin < UINT64_C(2500000000);) {
		int rc = ppdb_put(db, 0, PPDB_S("k"), (ppdb_slice){value, sizeof(value)}, &async, NULL);

		test_require(!rc || rc == PPDB_FULL || rc == PPDB_OVERLOAD, "put gave %s", test_name_of(rc));
		usleep(50);
	}
	test_require(item.value.size == sizeof(want) && !memcmp(item.value.data, want, sizeof(want)), "what the reader held was reused");
	test_ok(ppdb_view_check(v));
	ppdb_view_end(v);
	test_ok(ppdb_detach(reader));
	test_ok(ppdb_detach(db));
	test_store_stop(&s);
}

Test(kill_daemon, warm)
{
	deaths("--memory 256M --wal-segment 8M", (unsigned)test_scale(20), 0);
}

Test(kill_daemon, cold)
{
	deaths("--memory 256M --wal-segment 8M --shards 4 --strategy hash", (unsigned)test_scale(15), 100);
}

Test(kill_daemon, both_with_small_log_and_checkpoints)
{
	deaths("--memory 256M --wal-segment 1M --checkpoint-bytes 2M", (unsigned)test_scale(20), 50);
}
