/*
 * batch.c (test) - batches and range deletes through the library: merging, conditions, errors, sizes, and clients of the same keys.
 */
#include "client/ppdb.h"
#include "tests/lib/crew.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

TestSuite(batch, .fini = test_stores_end, .timeout = 600);

static struct test_store s;
static ppdb *db;
static ppdb_batch *b;
static const ppdb_wopts async = {.size = sizeof(async), .flags = PPDB_ASYNC};

static ppdb_slice text(const char *t)
{
	return (ppdb_slice){t, strlen(t)};
}

static void begin(const char *options)
{
	test_begin(300);
	test_store_start(&s, options);
	db = test_store_attach(&s, 0);
	test_ok(ppdb_batch_new(db, &b));
}

static void end(void)
{
	ppdb_batch_free(b);
	test_ok(ppdb_sync(db, -1));
	test_ok(ppdb_detach(db));
	test_store_check(&s, true);
	test_store_stop(&s);
}

/* Value and version; "" and 0 when the key is absent. */
static void expect(const char *key, const char *value, uint64_t version)
{
	ppdb_item item = {.version = 0};
	ppdb_view *v;
	int rc;

	test_ok(ppdb_view_begin(db, PPDB_VIEW_LATEST, &v));
	rc = ppdb_view_get(v, 0, text(key), &item);
	test_require(!rc || rc == PPDB_NOTFOUND, "get of %s: %s", key, test_detail());
	test_require(item.version == version && item.value.size == strlen(value) && !memcmp(item.value.data ? item.value.data : "", value, strlen(value)),
		"%s holds '%.*s', version %" PRIu64 ", not '%s', %" PRIu64, key, (int)item.value.size, item.value.data ? (const char *)item.value.data : "",
		item.version, value, version);
	ppdb_view_end(v);
}

Test(batch, the_last_operation_on_a_key_counts)
{
	ppdb_seq ticket;
	size_t failed;

	begin("--memory 64M --wal-segment 4M --shards 4 --strategy hash");
	test_ok(ppdb_write(db, b, NULL, &ticket, &failed)); /* empty */
	test_require(!ticket, "an empty batch has a ticket");
	test_ok(ppdb_batch_put(b, 0, PPDB_S("b"), PPDB_S("first"), NULL));
	test_ok(ppdb_batch_put(b, 0, PPDB_S("a"), PPDB_S("a"), NULL));
	test_ok(ppdb_batch_put(b, 0, PPDB_S("b"), PPDB_S("second"), NULL));
	test_ok(ppdb_batch_put(b, 0, PPDB_S("c"), PPDB_S("c"), NULL));
	test_ok(ppdb_batch_del(b, 0, PPDB_S("c")));
	test_ok(ppdb_batch_del(b, 0, PPDB_S("d")));
	test_ok(ppdb_batch_put(b, 0, PPDB_S("d"), PPDB_S("d"), NULL));
	test_ok(ppdb_write(db, b, NULL, &ticket, &failed));
	test_require(ticket && ticket <= ppdb_reached(db, PPDB_DURABLE), "it is not durable");
	expect("a", "a", 1);
	expect("b", "second", 1);
	expect("c", "", 0);
	expect("d", "d", 1);
	test_ok(ppdb_write(db, b, &async, &ticket, NULL)); /* again */
	expect("b", "second", 2);
	ppdb_batch_clear(b);
	test_ok(ppdb_batch_del(b, 0, PPDB_S("a")));
	test_ok(ppdb_batch_require(b, 0, PPDB_S("a"), 2));
	test_ok(ppdb_write(db, b, NULL, &ticket, NULL));
	expect("a", "", 0);
	expect("b", "second", 2);
	end();
}

Test(batch, a_condition_that_fails_is_named)
{
	ppdb_wopts absent = {.size = sizeof(absent), .flags = PPDB_IFABSENT}, present = {.size = sizeof(present), .flags = PPDB_IFPRESENT};
	ppdb_seq ticket = 9;
	size_t failed;

	begin("--memory 64M --wal-segment 4M");
	test_ok(ppdb_put(db, 0, PPDB_S("k"), PPDB_S("1"), NULL, NULL));
	test_ok(ppdb_batch_put(b, 0, PPDB_S("x"), PPDB_S("x"), NULL));
	test_ok(ppdb_batch_require(b, 0, PPDB_S("k"), 2));
	test_expect(PPDB_CONFLICT, ppdb_write(db, b, NULL, &ticket, &failed));
	test_require(failed == 1 && !ticket, "operation %zu, ticket %" PRIu64, failed, ticket);
	ppdb_batch_clear(b);
	test_ok(ppdb_batch_put(b, 0, PPDB_S("k"), PPDB_S("2"), &absent));
	test_ok(ppdb_batch_put(b, 0, PPDB_S("a"), PPDB_S("2"), NULL));
	test_expect(PPDB_EXISTS, ppdb_write(db, b, NULL, NULL, &failed));
	test_require(failed == 0, "operation %zu", failed);
	ppdb_batch_clear(b);
	test_ok(ppdb_batch_put(b, 0, PPDB_S("k"), PPDB_S("2"), &present));
	test_ok(ppdb_batch_put(b, 0, PPDB_S("a"), PPDB_S("2"), NULL));
	test_ok(ppdb_batch_put(b, 0, PPDB_S("z"), PPDB_S("2"), &present));
	test_expect(PPDB_NOTFOUND, ppdb_write(db, b, NULL, NULL, &failed));
	test_require(failed == 2, "operation %zu", failed);
	ppdb_batch_clear(b);
	test_ok(ppdb_batch_require(b, 0, PPDB_S("k"), 1));
	test_ok(ppdb_batch_require(b, 0, PPDB_S("k"), 3));
	test_expect(PPDB_CONFLICT, ppdb_write(db, b, NULL, NULL, &failed));
	test_require(failed == 1, "operation %zu", failed);
	expect("k", "1", 1);
	expect("a", "", 0);
	expect("x", "", 0);
	end();
}

Test(batch, bad_operations_are_refused_and_change_nothing)
{
	ppdb_wopts both = {.size = sizeof(both), .flags = PPDB_IFABSENT | PPDB_IFPRESENT}, late = {.size = sizeof(late), .timeout_ms = 5};
	ppdb_wopts ttl = {.size = sizeof(ttl), .ttl_ms = 5}, only = {.size = sizeof(only), .flags = PPDB_IFABSENT};
	static char key[5000];
	size_t failed;
	ppdb *reader;

	begin("--memory 64M --wal-segment 4M");
	test_expect(PPDB_KEYSIZE, ppdb_batch_put(b, 0, PPDB_S(""), PPDB_S("x"), NULL));
	test_expect(PPDB_KEYSIZE, ppdb_batch_del(b, 0, (ppdb_slice){key, sizeof(key)}));
	test_expect(PPDB_VALSIZE, ppdb_batch_put(b, 0, PPDB_S("k"), (ppdb_slice){key, (size_t)65 << 20}, NULL));
	test_expect(-EINVAL, ppdb_batch_put(b, 0, PPDB_S("k"), PPDB_S("x"), &both));
	test_expect(-EINVAL, ppdb_batch_put(b, 0, PPDB_S("k"), PPDB_S("x"), &late));
	test_expect(PPDB_TABLE_UNKNOWN, ppdb_batch_put(b, UINT32_MAX - 1, PPDB_S("k"), PPDB_S("x"), NULL));
	test_ok(ppdb_batch_put(b, 0, PPDB_S("good"), PPDB_S("x"), NULL));
	test_ok(ppdb_batch_put(b, 777, PPDB_S("k"), PPDB_S("x"), NULL));
	test_expect(PPDB_TABLE_UNKNOWN, ppdb_write(db, b, NULL, NULL, &failed));
	test_require(failed == 1, "operation %zu", failed);
	ppdb_batch_clear(b);
	test_ok(ppdb_batch_put(b, 0, PPDB_S("good"), PPDB_S("x"), NULL));
	test_expect(-EINVAL, ppdb_write(db, b, &ttl, NULL, NULL));
	test_expect(-EINVAL, ppdb_write(db, b, &only, NULL, NULL));
	reader = test_store_attach(&s, PPDB_RDONLY);
	test_expect(PPDB_READONLY, ppdb_write(reader, b, NULL, NULL, NULL));
	test_ok(ppdb_detach(reader));
	expect("good", "", 0);
	test_ok(ppdb_write(db, b, NULL, NULL, NULL));
	expect("good", "x", 1);
	end();
}

/* Larger than the arena: nothing of it is there, and what was there still is. */
Test(batch, one_that_does_not_fit_leaves_nothing)
{
	static char value[1 << 20];
	char key[32];

	begin("--memory 64M --wal-segment 4M");
	test_ok(ppdb_put(db, 0, PPDB_S("key-05"), PPDB_S("old"), NULL, NULL));
	for (unsigned i = 0; i < 80; i++) {
		snprintf(key, sizeof(key), "key-%02u", i);
		test_ok(ppdb_batch_put(b, 0, text(key), (ppdb_slice){value, sizeof(value)}, NULL));
	}
	test_expect(PPDB_FULL, ppdb_write(db, b, NULL, NULL, NULL));
	expect("key-00", "", 0);
	expect("key-05", "old", 1);
	ppdb_batch_clear(b);
	test_ok(ppdb_batch_put(b, 0, PPDB_S("key-05"), PPDB_S("new"), NULL));
	test_ok(ppdb_write(db, b, NULL, NULL, NULL));
	end();
}

/* 100,000 operations, and many bytes (256 MiB with PPDB_TEST_SCALE >= 10): visible at once, and after a cold start whole. */
Test(batch, large_ones)
{
	size_t bytes = (test_scale(1) >= 10 ? (size_t)256 : 48) << 20, each = 64 << 10, n = bytes / each;
	char *value = malloc(each), key[32], options[96];
	uint64_t count;

	snprintf(options, sizeof(options), "--memory %zuM --wal-segment 16M", (bytes >> 20) * 2 + 192);
	begin(options);
	for (unsigned i = 0; i < 100000; i++) {
		snprintf(key, sizeof(key), "small-%06u", i);
		test_ok(ppdb_batch_put(b, 0, text(key), text(key), NULL));
	}
	test_say("100,000 operations");
	test_ok(ppdb_write(db, b, NULL, NULL, NULL));
	ppdb_batch_clear(b);
	for (size_t i = 0; i < n; i++) {
		memset(value, (int)i, each);
		snprintf(key, sizeof(key), "large-%06zu", i);
		test_ok(ppdb_batch_put(b, 0, text(key), (ppdb_slice){value, each}, NULL));
	}
	test_say("%zu MiB", bytes >> 20);
	test_ok(ppdb_write(db, b, NULL, NULL, NULL));
	ppdb_batch_clear(b);
	test_ok(ppdb_detach(db));
	test_store_cold(&s);
	db = test_store_attach(&s, 0);
	expect("small-000000", "small-000000", 1);
	expect("small-099999", "small-099999", 1);
	test_ok(ppdb_get(db, 0, PPDB_S("large-000000"), value, each, NULL));
	test_say("deleting all");
	test_ok(ppdb_del_range(db, 0, NULL, NULL, &count, NULL));
	test_require(count == 100000 + n, "%" PRIu64 " keys were deleted", count);
	free(value);
	end();
}

Test(batch, a_range_is_deleted_as_it_was)
{
	ppdb_iter_opts o = {.size = sizeof(o), .prefix = PPDB_S("key-")};
	uint64_t count;
	char key[32];

	begin("--memory 64M --wal-segment 4M");
	for (unsigned i = 0; i < 3000; i++) {
		snprintf(key, sizeof(key), "key-%05u", i);
		test_ok(ppdb_put(db, 0, text(key), PPDB_S("x"), &async, NULL));
	}
	test_ok(ppdb_put(db, 0, PPDB_S("kez"), PPDB_S("stays"), &async, NULL));
	o.upper = PPDB_S("key-02000");
	test_ok(ppdb_del_range(db, 0, &o, NULL, &count, NULL));
	test_require(count == 2000, "%" PRIu64 " keys were deleted", count);
	expect("key-01999", "", 0);
	expect("key-02000", "x", 1);
	o.upper = (ppdb_slice){NULL, 0};
	test_ok(ppdb_del_range(db, 0, &o, &async, &count, NULL));
	test_require(count == 1000, "%" PRIu64 " keys were deleted", count);
	test_ok(ppdb_del_range(db, 0, &o, NULL, &count, NULL));
	test_require(count == 0, "%" PRIu64 " keys were deleted twice", count);
	expect("kez", "stays", 1);
	end();
}

/* ---- others of the same keys ------------------------------------------------------------------------------------- */

#define SHARED 40

struct rivals {
	_Atomic uint32_t quit;
	_Atomic uint64_t batches, puts;
};

/* All keys in one batch, in this or the other order of adding. */
static void batcher(void *arg)
{
	struct rivals *r = ((void **)arg)[0];
	bool down = ((void **)arg)[1] != NULL;
	ppdb *mine = test_store_attach(&s, 0);
	ppdb_batch *all;
	char key[32], value[32];

	test_ok(ppdb_batch_new(mine, &all));
	for (unsigned n = 0; !atomic_load(&r->quit); n++) {
		ppdb_batch_clear(all);
		snprintf(value, sizeof(value), "%d-%u", (int)getpid(), n);
		for (unsigned i = 0; i < SHARED; i++) {
			snprintf(key, sizeof(key), "key-%02u", down ? SHARED - 1 - i : i);
			test_ok(ppdb_batch_put(all, 0, text(key), text(value), NULL));
		}
		test_say("batch %u", n);
		test_ok(ppdb_write(mine, all, &async, NULL, NULL));
		atomic_fetch_add(&r->batches, 1);
	}
	ppdb_batch_free(all);
	test_ok(ppdb_detach(mine));
}

static void putter(void *arg)
{
	struct rivals *r = ((void **)arg)[0];
	struct test_random x = test_random(test_seed(), 5);
	ppdb *mine = test_store_attach(&s, 0);
	char key[32];

	while (!atomic_load(&r->quit)) {
		snprintf(key, sizeof(key), "key-%02u", (unsigned)test_below(&x, SHARED));
		test_say("put of %s", key);
		test_ok(ppdb_put(mine, 0, text(key), PPDB_S("single"), &async, NULL));
		atomic_fetch_add(&r->puts, 1);
	}
	test_ok(ppdb_detach(mine));
}

/* Batches that write the same keys in opposite orders, and single puts, all get on, also while one of them is stopped somewhere. */
Test(batch, rivals_all_get_on)
{
	struct rivals *r;
	void *up[2], *down[2];
	pid_t pid[3];

	begin("--memory 128M --wal-segment 8M");
	r = test_shared(sizeof(*r));
	up[0] = down[0] = r;
	up[1] = NULL;
	down[1] = r;
	pid[0] = test_spawn(batcher, up);
	pid[1] = test_spawn(batcher, down);
	pid[2] = test_spawn(putter, up);
	for (unsigned round = 0; round < 12; round++) {
		uint64_t batches, puts;

		kill(pid[round % 3], SIGSTOP);
		usleep(2000);
		batches = atomic_load(&r->batches);
		puts = atomic_load(&r->puts);
		test_say("round %u: waiting for the others", round);
		while (atomic_load(&r->batches) < batches + 3 || (round % 3 != 2 && atomic_load(&r->puts) < puts + 3))
			usleep(1000);
		kill(pid[round % 3], SIGCONT);
	}
	atomic_store(&r->quit, 1);
	for (unsigned i = 0; i < 3; i++)
		test_join(pid[i]);
	end();
}
