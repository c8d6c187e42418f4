/*
 * model_ttl.c - values with a time to live: gone for every operation when it is over, but a snapshot does not change while it is held.
 */
#include "tests/lib/store.h"

#include <criterion/criterion.h>
#include <string.h>

#define TTL_MS 2000 /* long enough for what must happen before it is over */

static struct test_store store;

static ppdb *db;

static void put(const char *key, uint64_t ttl_ms)
{
	ppdb_wopts o = {.size = sizeof(o), .flags = PPDB_ASYNC, .ttl_ms = ttl_ms};

	test_ok(ppdb_put(db, 0, (ppdb_slice){key, strlen(key)}, PPDB_S("1"), &o, NULL));
}

static unsigned count_keys(ppdb_view *v)
{
	unsigned up = 0, down = 0;
	ppdb_item item;
	ppdb_iter *it;

	test_ok(ppdb_iter_open(v, 0, NULL, &it));
	while (!ppdb_iter_next(it, &item))
		up++;
	while (!ppdb_iter_prev(it, &item))
		down++;
	ppdb_iter_close(it);
	test_require(up == down, "%u keys upwards, %u downwards", up, down);
	return up;
}

static void begin(const char *options)
{
	test_begin(120);
	test_store_start(&store, options);
	db = test_store_attach(&store, 0);
	put("a", 0);
	put("b", TTL_MS);
	put("c", 3600000);
	put("d", TTL_MS);
}

static void finish(void)
{
	test_ok(ppdb_detach(db));
	test_store_check(&store, true);
	test_store_stop(&store);
}

static void gone(const char *key)
{
	ppdb_slice k = {key, strlen(key)};
	ppdb_view *v;
	ppdb_item item;
	int rc;

	test_expect(PPDB_NOTFOUND, ppdb_get(db, 0, k, NULL, 0, NULL));
	test_ok(ppdb_view_begin(db, PPDB_VIEW_LATEST, &v));
	test_expect(PPDB_NOTFOUND, ppdb_view_get(v, 0, k, &item));
	test_ok(ppdb_get_many(db, 0, &k, 1, v, &item, &rc));
	test_expect(PPDB_NOTFOUND, rc);
	ppdb_view_end(v);
}

TestSuite(model_ttl, .fini = test_stores_end, .timeout = 100000);

/* To every operation the key is absent. */
static void as_if_absent(const char *options)
{
	ppdb_wopts async = {.size = sizeof(async), .flags = PPDB_ASYNC};
	ppdb_wopts absent = {.size = sizeof(absent), .flags = PPDB_ASYNC | PPDB_IFABSENT};
	ppdb_wopts present = {.size = sizeof(present), .flags = PPDB_ASYNC | PPDB_IFPRESENT};
	uint64_t version = 77;
	int64_t sum;
	ppdb_view *v;

	begin(options);
	test_expect(PPDB_EXISTS, ppdb_put(db, 0, PPDB_S("b"), PPDB_S("x"), &absent, NULL));
	test_sleep_ms(TTL_MS + 50);
	gone("b");
	gone("d");
	test_ok(ppdb_view_begin(db, PPDB_VIEW_LATEST, &v));
	test_require(count_keys(v) == 2, "a and c are there, %u are met", count_keys(v));
	ppdb_view_end(v);
	test_expect(PPDB_NOTFOUND, ppdb_del(db, 0, PPDB_S("b"), &async, NULL));
	test_expect(PPDB_NOTFOUND, ppdb_put(db, 0, PPDB_S("b"), PPDB_S("x"), &present, NULL));
	test_expect(PPDB_CONFLICT, ppdb_cas(db, 0, PPDB_S("b"), 1, PPDB_S("x"), &async, &version, NULL));
	test_require(!version, "cas met version %llu", (unsigned long long)version);
	test_ok(ppdb_cas(db, 0, PPDB_S("b"), 0, PPDB_S("x"), &async, &version, NULL));
	test_require(version > 1, "a new life with the old version number");
	test_ok(ppdb_add_i64(db, 0, PPDB_S("d"), 5, 100, &async, &sum, NULL));
	test_require(sum == 105, "the sum is %lld", (long long)sum);
	test_sleep_ms(TTL_MS + 50); /* neither has a time to live now */
	test_ok(ppdb_view_begin(db, PPDB_VIEW_LATEST, &v));
	test_require(count_keys(v) == 4, "%u keys instead of 4", count_keys(v));
	ppdb_view_end(v);
	finish();
}

Test(model_ttl, as_if_absent)
{
	as_if_absent("");
}

Test(model_ttl, as_if_absent_mutex_hash)
{
	as_if_absent("--sync mutex --strategy hash");
}

/* A sum keeps the time that its counter has, a put without one ends it. */
Test(model_ttl, stays_with_a_counter)
{
	ppdb_wopts async = {.size = sizeof(async), .flags = PPDB_ASYNC};

	begin("");
	test_ok(ppdb_add_i64(db, 0, PPDB_S("b"), 5, 0, &async, NULL, NULL));
	put("d", 0);
	test_sleep_ms(TTL_MS + 50);
	gone("b");
	test_ok(ppdb_get(db, 0, PPDB_S("a"), (char[8]){0}, 8, NULL));
	test_ok(ppdb_get(db, 0, PPDB_S("d"), (char[8]){0}, 8, NULL));
	finish();
}

/* What a snapshot showed at first it shows to its end. */
static void snapshot_stands_still(uint32_t flags, uint32_t attach)
{
	ppdb_view *v;
	ppdb_item item;
	ppdb *reader;
	size_t len;

	begin("");
	reader = test_store_attach(&store, attach);
	test_ok(ppdb_view_begin(reader, flags, &v));
	test_require(count_keys(v) == 4, "%u keys instead of 4", count_keys(v));
	test_sleep_ms(TTL_MS + 50);
	gone("b");
	test_require(count_keys(v) == 4, "a held snapshot lost keys: %u of 4 are left", count_keys(v));
	test_ok(ppdb_view_get(v, 0, PPDB_S("b"), &item));
	test_expect(PPDB_NOTFOUND, ppdb_get(reader, 0, PPDB_S("b"), NULL, 0, &len));
	test_ok(ppdb_view_refresh(v));
	test_require(count_keys(v) == 2, "a refreshed snapshot shows %u keys instead of 2", count_keys(v));
	ppdb_view_end(v);
	/* The slot serves another view now. */
	test_ok(ppdb_view_begin(reader, PPDB_VIEW_LATEST, &v));
	test_require(count_keys(v) == 2, "%u keys instead of 2", count_keys(v));
	ppdb_view_end(v);
	test_ok(ppdb_detach(reader));
	finish();
}

Test(model_ttl, snapshot_stands_still)
{
	snapshot_stands_still(PPDB_VIEW_FRESH, 0);
}

Test(model_ttl, read_only_snapshot_stands_still)
{
	snapshot_stands_still(PPDB_VIEW_FRESH, PPDB_RDONLY);
}

/* The time is a time of day: it goes on while there is no daemon, and over a cold start. */
Test(model_ttl, over_a_restart)
{
	begin("");
	test_ok(ppdb_sync(db, -1));
	test_ok(ppdb_detach(db));
	test_store_cold(&store);
	db = test_store_attach(&store, 0);
	test_sleep_ms(TTL_MS + 50);
	gone("b");
	test_ok(ppdb_get(db, 0, PPDB_S("c"), (char[8]){0}, 8, NULL));
	finish();
}
