/*
 * reserve.c - values that the program fills in shared memory: nobody sees them before they are published, and nothing is left of those that
 * never are, whoever dies, ends, forks or restarts in between.
 */
#include "tests/lib/store.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

TestSuite(reserve, .fini = test_stores_end, .timeout = 200);

static struct test_store s;
static ppdb *db;
static const ppdb_wopts async = {.size = sizeof(async), .flags = PPDB_ASYNC};

static void begin(const char *options)
{
	test_begin(180);
	test_store_start(&s, options);
	db = test_store_attach(&s, 0);
}

static void finish(void)
{
	test_ok(ppdb_detach(db));
	test_store_check(&s, true);
	test_store_stop(&s);
}

static ppdb_reservation *reserve(ppdb_slice key, size_t size, char fill)
{
	ppdb_reservation *r;
	void *data;

	test_ok(ppdb_reserve(db, 0, key, size, &r, &data));
	test_require(!((uintptr_t)data & 7), "the value is not aligned");
	memset(data, fill, size);
	return r;
}

static void holds(ppdb_slice key, size_t size, char fill)
{
	ppdb_view *v;
	ppdb_item item;

	test_ok(ppdb_view_begin(db, PPDB_VIEW_LATEST, &v));
	test_ok(ppdb_view_get(v, 0, key, &item));
	test_require(item.value.size == size, "%zu bytes instead of %zu", item.value.size, size);
	for (size_t i = 0; i < size; i++)
		test_require(((const char *)item.value.data)[i] == fill, "byte %zu is %d", i, ((const char *)item.value.data)[i]);
	ppdb_view_end(v);
}

static void publish_all(const char *options)
{
	static const size_t sizes[] = {0, 1, 7, 100, 1000, 5000, 40000, 70000, 1 << 20, 16 << 20};
	ppdb_wopts absent = {.size = sizeof(absent), .flags = PPDB_ASYNC | PPDB_IFABSENT}, ttl = {.size = sizeof(ttl), .ttl_ms = 3600000};
	ppdb_reservation *r;
	ppdb_seq ticket;
	char key[32];

	begin(options);
	for (unsigned i = 0; i < 2 * sizeof(sizes) / sizeof(*sizes); i++) { /* new, then over what is there */
		size_t size = sizes[i / 2];
		ppdb_slice k = {key, (size_t)sprintf(key, "key%zu", size)};

		r = reserve(k, size, (char)('a' + i));
		if (i % 2)
			holds(k, size, (char)('a' + i - 1));
		else
			test_expect(PPDB_NOTFOUND, ppdb_get(db, 0, k, NULL, 0, NULL));
		if (i % 2) {
			test_expect(PPDB_EXISTS, ppdb_publish(r, &absent, &ticket));
			test_require(!ticket, "a ticket");
			holds(k, size, (char)('a' + i - 1));
		}
		test_ok(ppdb_publish(r, i % 3 ? &async : i % 2 ? NULL : &ttl, &ticket));
		test_require(ticket, "no ticket");
		holds(k, size, (char)('a' + i));
	}
	test_ok(ppdb_sync(db, -1));
	test_ok(ppdb_detach(db));
	test_store_cold(&s);
	db = test_store_attach(&s, 0);
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
		holds((ppdb_slice){key, (size_t)sprintf(key, "key%zu", sizes[i])}, sizes[i], (char)('b' + 2 * i));
	finish();
}

Test(reserve, publish)
{
	publish_all("");
}

Test(reserve, publish_mutex_hash)
{
	publish_all("--sync mutex --strategy hash --shards 3");
}

/* A value that was published and expires, or is moved into order by the keeper, is like any other. */
Test(reserve, later_life)
{
	ppdb_wopts ttl = {.size = sizeof(ttl), .flags = PPDB_ASYNC, .ttl_ms = 300};
	char key[32];

	begin("");
	for (unsigned i = 0; i < 5000; i++) {
		ppdb_slice k = {key, (size_t)sprintf(key, "key%04u", i * 7919 % 5000)};

		test_ok(ppdb_publish(reserve(k, 50, 'v'), i % 2 ? &async : &ttl, NULL));
	}
	test_sleep_ms(3000); /* half of them expire, the rest is gathered */
	for (unsigned i = 0; i < 5000; i++) {
		ppdb_slice k = {key, (size_t)sprintf(key, "key%04u", i * 7919 % 5000)};

		if (i % 2)
			holds(k, 50, 'v');
		else
			test_expect(PPDB_NOTFOUND, ppdb_get(db, 0, k, NULL, 0, NULL));
	}
	finish();
}

Test(reserve, limits)
{
	ppdb_reservation *r[17];
	ppdb_table t;
	void *data;
	ppdb *ro;

	begin("--memory 64M");
	for (unsigned i = 0; i < 16; i++)
		r[i] = reserve(PPDB_S("k"), 1000, 'x');
	test_expect(-EBUSY, ppdb_reserve(db, 0, PPDB_S("k"), 1000, &r[16], &data));
	for (unsigned i = 0; i < 16; i++)
		ppdb_cancel(r[i]);
	ppdb_cancel(NULL);
	test_expect(PPDB_NOTFOUND, ppdb_get(db, 0, PPDB_S("k"), NULL, 0, NULL));
	test_expect(PPDB_VALSIZE, ppdb_reserve(db, 0, PPDB_S("k"), (64 << 20) + 1, &r[0], &data));
	test_expect(PPDB_FULL, ppdb_reserve(db, 0, PPDB_S("k"), 64 << 20, &r[0], &data));
	test_expect(PPDB_KEYSIZE, ppdb_reserve(db, 0, PPDB_S(""), 5, &r[0], &data));
	test_expect(PPDB_TABLE_UNKNOWN, ppdb_reserve(db, 5, PPDB_S("k"), 5, &r[0], &data));
	test_expect(-EINVAL, ppdb_reserve(db, 0, PPDB_S("k"), 5, NULL, &data));
	ro = test_store_attach(&s, PPDB_RDONLY);
	test_expect(PPDB_READONLY, ppdb_reserve(ro, 0, PPDB_S("k"), 5, &r[0], &data));
	test_ok(ppdb_detach(ro));
	/* the table goes before it is published; its quota counts then */
	test_ok(ppdb_table_open(db, "t", &(ppdb_table_opts){.size = sizeof(ppdb_table_opts), .flags = PPDB_CREATE, .quota_bytes = 500}, &t));
	test_ok(ppdb_reserve(db, t, PPDB_S("k"), 600, &r[0], &data));
	test_expect(PPDB_FULL, ppdb_publish(r[0], &async, NULL));
	test_ok(ppdb_table_drop(db, "t"));
	test_expect(PPDB_TABLE_UNKNOWN, ppdb_publish(r[0], &async, NULL));
	ppdb_cancel(r[0]);
	finish();
}

/* ---- who does it ------------------------------------------------------------------------------------------------- */

static ppdb_reservation *others;

static void *reserve_and_end(void *arg)
{
	(void)arg;
	others = reserve(PPDB_S("k"), 3000, 'o');
	return NULL;
}

static void *publish_of_another(void *arg)
{
	test_expect(-EINVAL, ppdb_publish(arg, &async, NULL));
	return NULL;
}

Test(reserve, threads_and_detach)
{
	ppdb_reservation *r;
	pthread_t t;

	begin("");
	test_require(!pthread_create(&t, NULL, reserve_and_end, NULL), "a thread");
	pthread_join(t, NULL);
	test_expect(PPDB_EVICTED, ppdb_publish(others, &async, NULL));
	ppdb_cancel(others);
	r = reserve(PPDB_S("k"), 3000, 'x');
	test_require(!pthread_create(&t, NULL, publish_of_another, r), "a thread");
	pthread_join(t, NULL);
	test_ok(ppdb_publish(r, &async, NULL));
	holds(PPDB_S("k"), 3000, 'x');
	r = reserve(PPDB_S("k"), 3000, 'y');
	test_ok(ppdb_detach(db));
	test_expect(PPDB_EVICTED, ppdb_publish(r, &async, NULL));
	ppdb_cancel(r);
	db = test_store_attach(&s, 0);
	holds(PPDB_S("k"), 3000, 'x');
	finish();
}

static void child_with_reservation(void *arg)
{
	test_expect(PPDB_FORKED, ppdb_publish(arg, &async, NULL));
	ppdb_cancel(arg);
}

Test(reserve, fork)
{
	ppdb_reservation *r;

	begin("");
	r = reserve(PPDB_S("k"), 100, 'p');
	test_join(test_spawn(child_with_reservation, r));
	test_ok(ppdb_publish(r, &async, NULL));
	holds(PPDB_S("k"), 100, 'p');
	finish();
}

static void dies_with_reservations(void *arg)
{
	ppdb_reservation *r;
	void *data;

	(void)arg;
	db = test_store_attach(&s, 0);
	for (unsigned i = 0; i < 16; i++) {
		test_ok(ppdb_reserve(db, 0, PPDB_S("never"), i % 2 ? 500 * i : 300000, &r, &data));
		memset(data, 'n', 100);
		for (unsigned n = 0; n < 200; n++) /* its pages are given up for others */
			test_ok(ppdb_put(db, 0, PPDB_S("other"), (ppdb_slice){data, 100 + 37 * n}, &async, NULL));
	}
	test_ok(ppdb_sync(db, -1));
	raise(SIGKILL);
}

Test(reserve, a_killed_client_leaves_nothing)
{
	begin("--memory 64M");
	for (unsigned i = 0; i < 10; i++) /* more than fits if anything stayed */
		test_collect(test_spawn(dies_with_reservations, NULL), true);
	test_expect(PPDB_NOTFOUND, ppdb_get(db, 0, PPDB_S("never"), NULL, 0, NULL));
	finish();
}

/* ---- restarts ---------------------------------------------------------------------------------------------------- */

Test(reserve, over_a_warm_restart)
{
	ppdb_reservation *r;

	begin("");
	r = reserve(PPDB_S("k"), 20000, 'w');
	test_store_restart(&s);
	test_ok(ppdb_put(db, 0, PPDB_S("other"), PPDB_S("v"), NULL, NULL)); /* the next daemon is found */
	test_ok(ppdb_publish(r, NULL, NULL));
	holds(PPDB_S("k"), 20000, 'w');
	finish();
}

Test(reserve, over_a_cold_start)
{
	ppdb_reservation *r;
	void *data;
	int rc;

	begin("");
	test_ok(ppdb_reserve(db, 0, PPDB_S("k"), 20000, &r, &data));
	test_store_cold(&s);
	while ((rc = ppdb_put(db, 0, PPDB_S("other"), PPDB_S("v"), NULL, NULL))) /* the handle moves to the new arena; what was still put into the old one is lost */
		test_expect(PPDB_LOST, rc);
	memset(data, 'c', 20000); /* no harm */
	test_expect(PPDB_EVICTED, ppdb_publish(r, NULL, NULL));
	ppdb_cancel(r);
	test_expect(PPDB_NOTFOUND, ppdb_get(db, 0, PPDB_S("k"), NULL, 0, NULL));
	r = reserve(PPDB_S("k"), 20000, 'd');
	test_ok(ppdb_publish(r, NULL, NULL));
	holds(PPDB_S("k"), 20000, 'd');
	finish();
}
