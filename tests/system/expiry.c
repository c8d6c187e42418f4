/*
 * expiry.c - times to live beyond a put: ppdb_touch, defaults of tables, and the space of expired values, which comes back while others
 * go on, through restarts too.
 */
#include "tests/lib/store.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

TestSuite(expiry, .fini = test_stores_end, .timeout = 300);

#define TTL_MS 1500 /* long enough for what must happen before it is over */

static struct test_store s;
static ppdb *db;
static const ppdb_wopts async = {.size = sizeof(async), .flags = PPDB_ASYNC};

static void begin(const char *options)
{
	test_begin(250);
	test_store_start(&s, options);
	db = test_store_attach(&s, 0);
}

static void finish(void)
{
	test_ok(ppdb_detach(db));
	test_store_check(&s, true);
	test_store_stop(&s);
}

static int put(ppdb_table t, const char *key, const char *value, uint64_t ttl_ms)
{
	ppdb_wopts o = {.size = sizeof(o), .flags = PPDB_ASYNC, .ttl_ms = ttl_ms};

	return ppdb_put(db, t, (ppdb_slice){key, strlen(key)}, (ppdb_slice){value, strlen(value)}, &o, NULL);
}

static ppdb_item look(ppdb_table t, const char *key)
{
	ppdb_item item = {0};
	ppdb_view *v;
	int rc;

	test_ok(ppdb_view_begin(db, PPDB_VIEW_LATEST, &v));
	rc = ppdb_view_get(v, t, (ppdb_slice){key, strlen(key)}, &item);
	test_require(!rc || rc == PPDB_NOTFOUND, "reading %s gave %s", key, test_name_of(rc));
	ppdb_view_end(v);
	return item;
}

static bool there(ppdb_table t, const char *key)
{
	return look(t, key).version != 0;
}

static uint64_t cells(void)
{
	return test_store_number(&s, "check", "keys");
}

static void swept_to(uint64_t keys)
{
	for (unsigned n = 0; cells() > keys; n++) {
		test_require(n < 1200, "%llu cells are left, not %llu", (unsigned long long)cells(), (unsigned long long)keys);
		test_sleep_ms(100);
	}
}

Test(expiry, touch)
{
	char large[5000];
	ppdb_item before, after;
	ppdb_seq ticket = 1;

	begin("");
	test_ok(put(0, "stays", "v", TTL_MS));
	test_ok(put(0, "goes", "v", 0));
	test_ok(put(0, "forever", "v", TTL_MS));
	memset(large, 'x', sizeof(large));
	test_ok(ppdb_put(db, 0, PPDB_S("large"), (ppdb_slice){large, sizeof(large)}, &(ppdb_wopts){.size = sizeof(ppdb_wopts), .ttl_ms = TTL_MS}, NULL));
	before = look(0, "stays");
	test_ok(ppdb_touch(db, 0, PPDB_S("stays"), 3600000, NULL, &ticket)); /* returns when it is durable */
	test_require(ticket, "no ticket");
	test_ok(ppdb_wait(db, ticket, PPDB_DURABLE, 0));
	after = look(0, "stays");
	test_require(after.version == before.version + 1 && after.expires_ms > before.expires_ms + 3000000, "version %llu, then %llu",
		(unsigned long long)before.version, (unsigned long long)after.version);
	test_ok(ppdb_touch(db, 0, PPDB_S("goes"), TTL_MS, &async, NULL));
	test_ok(ppdb_touch(db, 0, PPDB_S("forever"), 0, &async, NULL));
	test_ok(ppdb_touch(db, 0, PPDB_S("large"), PPDB_TTL_NEVER, &async, NULL));
	test_require(!look(0, "forever").expires_ms && !look(0, "large").expires_ms, "they expire");
	test_expect(PPDB_NOTFOUND, ppdb_touch(db, 0, PPDB_S("nothing"), 5, &async, &ticket));
	test_require(!ticket, "a ticket for nothing");
	test_sleep_ms(TTL_MS + 100);
	test_require(!there(0, "goes"), "a key that was touched stays");
	test_expect(PPDB_NOTFOUND, ppdb_touch(db, 0, PPDB_S("goes"), 3600000, &async, NULL)); /* it is too late */
	swept_to(3);
	/* all that survives a cold start, with its time */
	test_ok(ppdb_sync(db, -1));
	test_ok(ppdb_detach(db));
	test_store_cold(&s);
	db = test_store_attach(&s, 0);
	test_require(look(0, "stays").expires_ms == after.expires_ms, "another time after a cold start");
	after = look(0, "large");
	test_require(after.value.size == sizeof(large) && !after.expires_ms, "the large one has %zu bytes", after.value.size);
	test_require(there(0, "forever") && !there(0, "goes"), "after a cold start");
	finish();
}

Test(expiry, bad_arguments)
{
	ppdb_wopts ttl = {.size = sizeof(ttl), .flags = PPDB_ASYNC, .ttl_ms = 5}, present = {.size = sizeof(present), .flags = PPDB_IFPRESENT};
	ppdb *ro;

	begin("");
	test_ok(put(0, "k", "v", 0));
	test_expect(-EINVAL, put(0, "k", "other", UINT64_MAX - 1)); /* past the end of time */
	test_expect(-EINVAL, put(0, "k", "other", (UINT64_C(1) << 53) + 1));
	test_expect(-EINVAL, ppdb_touch(db, 0, PPDB_S("k"), UINT64_MAX - 5, &async, NULL));
	test_expect(-EINVAL, ppdb_touch(db, 0, PPDB_S("k"), 5, &ttl, NULL));
	test_expect(-EINVAL, ppdb_touch(db, 0, PPDB_S("k"), 5, &present, NULL));
	test_expect(-EINVAL, ppdb_add_i64(db, 0, PPDB_S("n"), 1, 0, &(ppdb_wopts){.size = sizeof(ttl), .ttl_ms = UINT64_MAX / 2}, NULL, NULL));
	test_expect(PPDB_KEYSIZE, ppdb_touch(db, 0, PPDB_S(""), 5, &async, NULL));
	test_expect(PPDB_TABLE_UNKNOWN, ppdb_touch(db, 9, PPDB_S("k"), 5, &async, NULL));
	ro = test_store_attach(&s, PPDB_RDONLY);
	test_expect(PPDB_READONLY, ppdb_touch(ro, 0, PPDB_S("k"), 5, &async, NULL));
	test_ok(ppdb_detach(ro));
	test_require(look(0, "k").version == 1 && !look(0, "k").expires_ms && !there(0, "n"), "something changed");
	finish();
}

Test(expiry, default_of_a_table)
{
	ppdb_table_opts o = {.size = sizeof(o), .flags = PPDB_CREATE, .ttl_ms = TTL_MS};
	ppdb_table t;
	int64_t sum;

	begin("");
	test_ok(ppdb_table_open(db, "sessions", &o, &t));
	test_ok(put(t, "default", "v", 0));
	test_ok(put(t, "own", "v", 3600000));
	test_ok(put(t, "never", "v", PPDB_TTL_NEVER));
	test_ok(put(0, "elsewhere", "v", 0));
	test_ok(put(t, "touched", "v", 3600000));
	test_ok(ppdb_touch(db, t, PPDB_S("touched"), 0, &async, NULL));
	test_ok(put(t, "kept", "5", 3600000));
	test_ok(ppdb_add_i64(db, t, PPDB_S("kept"), 1, 0, &async, &sum, NULL));  /* keeps what it has */
	test_ok(ppdb_add_i64(db, t, PPDB_S("fresh"), 1, 0, &async, &sum, NULL)); /* gets the default */
	test_require(there(t, "default") && there(t, "touched") && there(t, "fresh"), "they are gone too early");
	test_sleep_ms(TTL_MS + 100);
	test_require(!there(t, "default") && !there(t, "touched") && !there(t, "fresh"), "they did not expire");
	test_require(there(t, "own") && there(t, "never") && there(t, "kept") && there(0, "elsewhere"), "others expired");
	test_ok(ppdb_sync(db, -1));
	test_ok(ppdb_detach(db));
	test_store_cold(&s);
	db = test_store_attach(&s, 0);
	test_ok(put(t, "again", "v", 0));
	test_require(look(t, "again").expires_ms, "the default is forgotten");
	finish();
}

/* ---- space ------------------------------------------------------------------------------------------------------- */

static void fill(unsigned count, uint64_t ttl_ms)
{
	char key[32];

	for (unsigned i = 0; i < count; i++) {
		sprintf(key, "key%07u", i);
		test_ok(put(0, key, "a value that is here for a short while, and takes some room", ttl_ms));
	}
	test_ok(ppdb_sync(db, -1));
}

#define MANY 100000

static void space_comes_back(const char *options)
{
	uint64_t empty, writes = 0, begin_ns, longest = 0;
	char key[32];

	begin(options);
	test_ok(put(0, "stays", "v", 0));
	empty = test_store_number(&s, "check", "live_bytes");
	fill(MANY, 2 * TTL_MS);
	/* while they expire and go, a writer is never held up for long by that */
	begin_ns = test_now_ns();
	while (test_now_ns() - begin_ns < (2 * TTL_MS + 1500) * 1000000ull) {
		uint64_t now = test_now_ns(), took;

		sprintf(key, "mine%04u", (unsigned)(writes++ % 100));
		test_ok(put(0, key, "v", 0));
		took = test_now_ns() - now;
		longest = took > longest ? took : longest;
	}
	fprintf(stderr, "%llu writes while %u values expired, the longest took %llu us\n", (unsigned long long)writes, MANY,
		(unsigned long long)longest / 1000);
	swept_to(101);
	for (unsigned n = 0; test_store_number(&s, "check", "live_bytes") > empty + (4 << 20); n++) {
		test_require(n < 300, "%llu bytes are live, %llu before", (unsigned long long)test_store_number(&s, "check", "live_bytes"),
			(unsigned long long)empty);
		test_sleep_ms(100);
	}
	finish();
}

Test(expiry, space_comes_back)
{
	space_comes_back("--memory 256M");
}

Test(expiry, space_comes_back_hash)
{
	space_comes_back("--memory 256M --strategy hash --shards 3 --sync mutex");
}

/* They expire while there is no daemon; a cold start reads them from the log, and then they go. */
static void over_a_restart(bool cold)
{
	begin("--memory 128M");
	fill(20000, TTL_MS);
	test_ok(put(0, "stays", "v", 3600000));
	test_ok(ppdb_sync(db, -1));
	test_ok(ppdb_detach(db));
	test_store_kill(&s);
	test_sleep_ms(TTL_MS + 100);
	if (cold)
		test_store_cold(&s);
	else
		test_store_restart(&s);
	db = test_store_attach(&s, 0);
	test_require(!there(0, "key0000000") && there(0, "stays"), "after the restart");
	swept_to(1);
	finish();
}

Test(expiry, over_a_warm_restart)
{
	over_a_restart(false);
}

Test(expiry, over_a_cold_start)
{
	over_a_restart(true);
}

/* A snapshot shows what it showed although the keeper has taken the keys away meanwhile; then even their versions go. */
Test(expiry, a_snapshot_keeps_what_is_swept)
{
	ppdb_item item;
	ppdb_view *v;
	ppdb_iter *it;
	unsigned n = 0;

	begin("--memory 128M");
	fill(1000, TTL_MS);
	test_ok(ppdb_view_begin(db, PPDB_VIEW_SNAPSHOT, &v));
	test_ok(ppdb_iter_open(v, 0, NULL, &it));
	test_sleep_ms(TTL_MS + 1000);
	test_require(!there(0, "key0000001"), "it has not expired");
	while (!ppdb_iter_next(it, &item))
		n++;
	test_require(n == 1000, "the snapshot shows %u keys of 1000", n);
	test_ok(ppdb_view_get(v, 0, PPDB_S("key0000001"), &item));
	ppdb_iter_close(it);
	ppdb_view_end(v);
	swept_to(0);
	finish();
}

/* Overwritten just before the sweep: the new value stays. */
Test(expiry, a_new_value_is_not_swept)
{
	char key[32];

	begin("");
	for (unsigned round = 0; round < 20; round++) {
		for (unsigned i = 0; i < 200; i++) {
			sprintf(key, "key%04u", i);
			test_ok(put(0, key, "old", 1));
			test_ok(put(0, key, "new", 0));
		}
	}
	test_sleep_ms(500);
	for (unsigned i = 0; i < 200; i++) {
		sprintf(key, "key%04u", i);
		test_require(look(0, key).value.size == 3, "%s is gone", key);
	}
	finish();
}
