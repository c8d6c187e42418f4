/*
 * client_restart.c (test) - the daemon dies and comes back, warm and cold, while handles, views, iterators and waits are open.
 */
#include "client/internal.h"
#include "tests/lib/daemon.h"

#include <criterion/criterion.h>
#include <signal.h>

static struct test_daemon d;
static ppdb *db;
static const ppdb_wopts async = { .size = sizeof(async), .flags = PPDB_ASYNC };

#define ok(call)                                                                                                   \
	do {                                                                                                       \
		int rc_ = (call);                                                                                  \
		cr_assert_eq(rc_, 0, "%s: %s: %s", #call, ppdb_errname(rc_), ppdb_errdetail());                    \
	} while (0)
#define gives(code, call)                                                                                          \
	do {                                                                                                       \
		int rc_ = (call);                                                                                  \
		cr_assert_eq(rc_, code, "%s: %s: %s", #call, ppdb_errname(rc_), ppdb_errdetail());                 \
	} while (0)

static void restart(void)
{
	cr_assert_eq(test_daemon_start(&d, ""), 0, "ppdbd: %s\n%s", d.said, test_daemon_log(&d));
}

static void start(void)
{
	test_daemon_make(&d);
	restart();
	ok(ppdb_attach(d.name, NULL, &db));
}

static void clear(void)
{
	test_daemon_clear(&d);
}

TestSuite(restart, .init = start, .fini = clear, .timeout = 120);

static void has(ppdb *h, ppdb_slice key, const char *want)
{
	char buf[64];
	size_t n;

	ok(ppdb_get(h, 0, key, buf, sizeof(buf), &n));
	cr_assert(n == strlen(want) && !memcmp(buf, want, n), "%.*s", (int)n, buf);
}

/* Reads until the handle has found the new daemon: what a program does that only reads. */
static void settle(ppdb *h)
{
	char buf[64];

	for (int i = 0; i < 4000 && (h->link != PP_LINK_UP || i < 200); i++) {
		ppdb_get(h, 0, PPDB_S("k"), buf, sizeof(buf), NULL);
		usleep(1000);
	}
	cr_assert_eq(h->link, PP_LINK_UP);
}

Test(restart, warm)
{
	ppdb_attach_opts o = { .size = sizeof(o), .flags = PPDB_RDONLY };
	ppdb_view *v;
	ppdb_item item;
	ppdb_seq t;
	ppdb *ro;

	ok(ppdb_attach(d.name, &o, &ro));
	for (int round = 0; round < 4; round++) {
		ok(ppdb_put(db, 0, PPDB_S("k"), PPDB_S("v"), NULL, NULL));
		ok(ppdb_view_begin(db, PPDB_VIEW_LATEST, &v));
		test_daemon_end(&d, round % 2 ? SIGTERM : SIGKILL);
		has(db, PPDB_S("k"), "v");
		has(ro, PPDB_S("k"), "v");
		ok(ppdb_put(db, 0, PPDB_S("k"), PPDB_S("while gone"), &async, &t));
		has(ro, PPDB_S("k"), "while gone");
		gives(PPDB_DAEMON_GONE, ppdb_wait(db, t, PPDB_DURABLE, 200000000));
		restart();
		ok(ppdb_wait(db, t, PPDB_DURABLE, 10000000000));
		ok(ppdb_view_get(v, 0, PPDB_S("k"), &item));
		ok(ppdb_view_check(v));
		ppdb_view_end(v);
		settle(ro);
		has(ro, PPDB_S("k"), "while gone");
		has(db, PPDB_S("k"), "while gone");
	}
	ok(ppdb_detach(ro));
	ok(ppdb_detach(db));
}

Test(restart, cold)
{
	ppdb_attach_opts o = { .size = sizeof(o), .flags = PPDB_RDONLY };
	ppdb_view *v, *snap;
	ppdb_iter *it;
	ppdb_item item;
	ppdb_seq kept, lost;
	ppdb *ro;

	ok(ppdb_attach(d.name, &o, &ro));
	ok(ppdb_put(db, 0, PPDB_S("a"), PPDB_S("1"), NULL, NULL));
	ok(ppdb_put(db, 0, PPDB_S("b"), PPDB_S("2"), NULL, NULL));
	ok(ppdb_put(db, 0, PPDB_S("c"), PPDB_S("3"), NULL, &kept));
	for (int round = 0; round < 3; round++) {
		ok(ppdb_view_begin(ro, PPDB_VIEW_LATEST, &v));
		ok(ppdb_view_begin(db, PPDB_VIEW_SNAPSHOT, &snap));
		ok(ppdb_iter_open(v, 0, NULL, &it));
		ok(ppdb_iter_first(it, &item));
		ok(ppdb_iter_next(it, &item));
		test_daemon_end(&d, SIGKILL);
		ok(ppdb_put(db, 0, PPDB_S("k"), PPDB_S("gone"), &async, &lost));
		test_daemon_forget(&d);
		restart();
		settle(db);
		settle(ro);
		gives(PPDB_LOST, ppdb_wait(db, lost, PPDB_DURABLE, 10000000000));
		ok(ppdb_wait(db, kept, PPDB_DURABLE, 10000000000));
		gives(PPDB_EVICTED, ppdb_view_check(v));
		gives(PPDB_EVICTED, ppdb_view_get(v, 0, PPDB_S("a"), &item));
		gives(PPDB_EVICTED, ppdb_iter_next(it, &item));
		ok(ppdb_view_refresh(v));
		ok(ppdb_iter_next(it, &item));
		cr_assert_eq(memcmp(item.key.data, "c", 1), 0);
		ok(ppdb_view_get(v, 0, PPDB_S("a"), &item));
		ppdb_iter_close(it);
		ppdb_view_end(v);
		ppdb_view_end(snap);
		has(db, PPDB_S("a"), "1");
		ok(ppdb_put(db, 0, PPDB_S("b"), PPDB_S("2"), NULL, NULL));
		has(ro, PPDB_S("b"), "2");
		gives(PPDB_NOTFOUND, ppdb_get(db, 0, PPDB_S("k"), NULL, 0, NULL));
	}
	ok(ppdb_detach(ro));
	ok(ppdb_detach(db));
}

static uint64_t version_of(ppdb_slice key)
{
	ppdb_item item;
	ppdb_view *v;

	ok(ppdb_view_begin(db, PPDB_VIEW_LATEST, &v));
	ok(ppdb_view_get(v, 0, key, &item));
	ppdb_view_end(v);
	return item.version;
}

/* Numbers that were seen and lost with the memory never name another value: of a key that was there, of a new one, of one that was removed. */
Test(restart, versions_of_what_was_lost)
{
	const ppdb_slice keys[] = {PPDB_S("lasts"), PPDB_S("new"), PPDB_S("removed")};
	uint64_t seen[3] = {0}, newer;

	ok(ppdb_put(db, 0, keys[0], PPDB_S("1"), NULL, NULL));
	ok(ppdb_put(db, 0, keys[2], PPDB_S("1"), NULL, NULL));
	ok(ppdb_del(db, 0, keys[2], NULL, NULL));
	for (int round = 0; round < 3; round++) {
		test_daemon_end(&d, SIGKILL);
		for (int i = 0; i < 3; i++) {
			ok(ppdb_put(db, 0, keys[i], PPDB_S("lost"), &async, NULL));
			cr_assert_gt(version_of(keys[i]), seen[i], "%s, round %d: %llu after %llu", (const char *)keys[i].data, round,
				(unsigned long long)version_of(keys[i]), (unsigned long long)seen[i]);
			seen[i] = version_of(keys[i]);
		}
		test_daemon_forget(&d);
		restart();
		settle(db);
		cr_assert_lt(version_of(keys[0]), seen[0], "it was not lost");
		for (int i = 0; i < 3; i++) {
			gives(PPDB_CONFLICT, ppdb_cas(db, 0, keys[i], seen[i], PPDB_S("2"), NULL, &newer, NULL));
			ok(ppdb_put(db, 0, keys[i], PPDB_S("again"), &async, NULL));
			cr_assert_gt(version_of(keys[i]), seen[i], "%s, round %d: %llu again", (const char *)keys[i].data, round, (unsigned long long)seen[i]);
			seen[i] = version_of(keys[i]);
		}
	}
	ok(ppdb_detach(db));
}

/* A handle that is given back before it has noticed the restart; the goodbye itself finds the next arena. */
Test(restart, detach_unawares)
{
	for (int round = 0; round < 8; round++) {
		ok(ppdb_put(db, 0, PPDB_S("k"), PPDB_S("v"), NULL, NULL));
		test_daemon_end(&d, SIGKILL);
		if (round % 2)
			test_daemon_forget(&d);
		restart();
		usleep(60000);
		for (int i = 0; i < 64; i++) /* among these it sees the hang-up, and asks the next daemon */
			ppdb_reached(db, PPDB_DURABLE);
		usleep(60000);
		ok(ppdb_detach(db)); /* and here the answer is there */
		ok(ppdb_attach(d.name, NULL, &db));
	}
	ok(ppdb_detach(db));
}

static pthread_t waiter;
static int waited;

static void *wait_for(void *arg)
{
	waited = ppdb_wait(db, *(ppdb_seq *)arg, PPDB_DURABLE, -1);
	return NULL;
}

/* A thread that sleeps in a wait hears of both kinds of restart. */
Test(restart, waiters)
{
	for (int cold = 0; cold < 2; cold++) {
		ppdb_seq t;

		ok(ppdb_put(db, 0, PPDB_S("k"), PPDB_S("v"), NULL, NULL));
		test_daemon_end(&d, SIGKILL);
		ok(ppdb_put(db, 0, PPDB_S("k"), PPDB_S("w"), &async, &t));
		cr_assert_eq(pthread_create(&waiter, NULL, wait_for, &t), 0);
		usleep(100000);
		if (cold)
			test_daemon_forget(&d);
		restart();
		pthread_join(waiter, NULL);
		cr_assert_eq(waited, cold ? PPDB_LOST : 0, "%s", ppdb_errname(waited));
	}
	ok(ppdb_detach(db));
}

static void *snapshot_of(void *arg)
{
	waited = ppdb_view_begin(db, PPDB_VIEW_FRESH, arg);
	return NULL;
}

/* A thread that waits for a cut goes on with the next daemon, in whatever arena that has. */
Test(restart, snapshots)
{
	for (int cold = 0; cold < 2; cold++) {
		ppdb_view *v;
		ppdb_item item;

		ok(ppdb_put(db, 0, PPDB_S("k"), PPDB_S("v"), NULL, NULL));
		cr_assert_eq(kill(test_daemon_pid(&d), SIGSTOP), 0);
		cr_assert_eq(pthread_create(&waiter, NULL, snapshot_of, &v), 0);
		usleep(100000);
		test_daemon_end(&d, SIGKILL);
		if (cold)
			test_daemon_forget(&d);
		restart();
		pthread_join(waiter, NULL);
		cr_assert_eq(waited, 0, "%s: %s", cold ? "cold" : "warm", ppdb_errname(waited));
		ok(ppdb_view_get(v, 0, PPDB_S("k"), &item));
		ppdb_view_end(v);
	}
	ok(ppdb_detach(db));
}

/* Writing goes on until the ring is full; then an error in bounded time, and on with the next daemon. */
Test(restart, ring_full)
{
	int rc = 0, n = 0;

	ok(ppdb_put(db, 0, PPDB_S("k"), PPDB_S("v"), NULL, NULL));
	test_daemon_end(&d, SIGKILL);
	while (n < 1000000 && !(rc = ppdb_put(db, 0, PPDB_S("k"), PPDB_S("v"), &async, NULL)))
		n++;
	gives(PPDB_DAEMON_GONE, rc);
	cr_assert_gt(n, 0);
	has(db, PPDB_S("k"), "v");
	restart();
	ok(ppdb_put(db, 0, PPDB_S("k"), PPDB_S("after"), NULL, NULL));
	has(db, PPDB_S("k"), "after");
	ok(ppdb_detach(db));
}

/* A clean stop keeps everything, with and without the arena. */
Test(restart, clean_stop)
{
	char key[16];

	for (int i = 0; i < 2000; i++) {
		int n = snprintf(key, sizeof(key), "key%d", i);

		ok(ppdb_put(db, 0, (ppdb_slice){ key, (size_t)n }, PPDB_S("v"), &async, NULL));
	}
	test_daemon_end(&d, SIGTERM);
	test_daemon_forget(&d);
	restart();
	settle(db);
	for (int i = 0; i < 2000; i++) {
		int n = snprintf(key, sizeof(key), "key%d", i);

		has(db, (ppdb_slice){ key, (size_t)n }, "v");
	}
	ok(ppdb_detach(db));
}

/* ---- many threads of one process through restarts of both kinds: what was acknowledged is there */

#define WRITERS 3

static pp_a32 stop;
static unsigned acked[WRITERS];
static int bad[WRITERS + 2];

static int key_of(char *key, size_t cap, unsigned writer, unsigned n)
{
	return snprintf(key, cap, "t%u-%u", writer, n);
}

static bool expected(int rc)
{
	return rc == 0 || rc == PPDB_DAEMON_GONE || rc == PPDB_LOST || rc == PPDB_TIMEOUT || rc == PPDB_OVERLOAD ||
		rc == PPDB_EVICTED || rc == -ENOSPC || rc == -EBUSY;
}

static void *keep_writing(void *arg)
{
	unsigned w = (unsigned)(uintptr_t)arg;
	char key[32];

	while (!pp_load_acq(&stop)) {
		int n = key_of(key, sizeof(key), w, acked[w]);
		int rc = ppdb_put(db, 0, (ppdb_slice){ key, (size_t)n }, PPDB_S("v"), NULL, NULL);

		if (!rc)
			acked[w]++;
		else if (!expected(rc))
			bad[w] = rc;
	}
	return NULL;
}

static void *keep_viewing(void *arg)
{
	int *wrong = arg, rc;
	ppdb_view *v;
	ppdb_item item;

	while (!pp_load_acq(&stop)) {
		rc = ppdb_view_begin(db, PPDB_VIEW_LATEST, &v);
		for (int i = 0; !rc && i < 100; i++) {
			rc = ppdb_view_get(v, 0, PPDB_S("t0-0"), &item);
			if (rc == PPDB_EVICTED)
				rc = ppdb_view_refresh(v);
			rc = rc == PPDB_NOTFOUND ? 0 : rc;
		}
		if (!expected(rc))
			*wrong = rc;
		ppdb_view_end(v);
		v = NULL;
	}
	return NULL;
}

static void *keep_attaching(void *arg)
{
	int *wrong = arg, rc;
	char buf[8];

	while (!pp_load_acq(&stop)) {
		ppdb *other;

		rc = ppdb_attach(d.name, NULL, &other);
		if (rc) {
			usleep(1000);
		} else {
			rc = ppdb_get(other, 0, PPDB_S("t0-0"), buf, sizeof(buf), NULL);
			rc = rc == PPDB_NOTFOUND ? 0 : rc;
			ppdb_detach(other);
		}
		if (!expected(rc))
			*wrong = rc;
	}
	return NULL;
}

Test(restart, threads)
{
	pthread_t t[WRITERS + 2];
	char key[32];

	for (unsigned i = 0; i < WRITERS; i++)
		cr_assert_eq(pthread_create(&t[i], NULL, keep_writing, (void *)(uintptr_t)i), 0);
	cr_assert_eq(pthread_create(&t[WRITERS], NULL, keep_viewing, &bad[WRITERS]), 0);
	cr_assert_eq(pthread_create(&t[WRITERS + 1], NULL, keep_attaching, &bad[WRITERS + 1]), 0);
	for (int round = 0; round < 6; round++) {
		usleep(200000);
		test_daemon_end(&d, round % 3 == 2 ? SIGTERM : SIGKILL);
		if (round % 2)
			test_daemon_forget(&d);
		restart();
	}
	usleep(200000);
	pp_store_rel(&stop, 1);
	for (unsigned i = 0; i < WRITERS + 2; i++) {
		pthread_join(t[i], NULL);
		cr_expect_eq(bad[i], 0, "thread %u: %s\n%s", i, ppdb_errname(bad[i]), test_daemon_log(&d));
	}
	for (unsigned w = 0; w < WRITERS; w++) {
		cr_expect_gt(acked[w], 0u);
		for (unsigned n = 0; n < acked[w]; n++) {
			int size = key_of(key, sizeof(key), w, n);

			has(db, (ppdb_slice){ key, (size_t)size }, "v");
		}
	}
	ok(ppdb_detach(db));
}

static unsigned arenas_mapped(void)
{
	char line[1024];
	unsigned n = 0;
	FILE *f = fopen("/proc/self/maps", "r");

	cr_assert(f);
	while (fgets(line, sizeof(line), f))
		n += strstr(line, d.name) && strstr(line, ".arena");
	fclose(f);
	return n;
}

/* Detaching says goodbye, and may be answered by the next daemon, with another arena: that one is given back. */
Test(restart, detach_meets_another_arena)
{
	for (unsigned i = 0; i < 10; i++) {
		ok(ppdb_put(db, 0, PPDB_S("k"), PPDB_S("v"), &async, NULL));
		test_daemon_end(&d, SIGKILL);
		test_daemon_forget(&d);
		restart();
		ok(ppdb_detach(db));
		cr_assert_eq(arenas_mapped(), 0u, "an arena stays mapped");
		ok(ppdb_attach(d.name, NULL, &db));
	}
	ok(ppdb_detach(db));
}
