/*
 * sizes.c - keys and values of every size up to the limits, binary, and with shared prefixes so long that slices tie.
 *
 * Each store is written, read back by get, in place and by scans, restarted warm and cold (from the log and from a checkpoint), and
 * compared again. One over a limit is refused and changes nothing.
 */
#include "tests/lib/store.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_MAX 4096
#define VALUE_MAX (64u << 20)

static struct test_store store;
static ppdb *db;

struct pair {
	uint8_t *key;
	uint32_t key_size;
	uint64_t seed;
	uint32_t size;
};

static struct pair *pairs;
static unsigned count, room;

/* ---- what is stored --------------------------------------------------------------------------------------------- */

static void fill(uint8_t *to, uint64_t seed, uint32_t size)
{
	struct test_random r = {seed};
	uint64_t w;

	for (uint32_t at = 0; at < size; at += 8) {
		w = test_next(&r);
		memcpy(to + at, &w, size - at < 8 ? size - at : 8);
	}
}

static bool holds(const void *data, uint64_t seed, uint32_t size)
{
	const uint8_t *b = data;
	struct test_random r = {seed};
	uint64_t w;

	for (uint32_t at = 0; at < size; at += 8) {
		w = test_next(&r);
		if (memcmp(b + at, &w, size - at < 8 ? size - at : 8))
			return false;
	}
	return true;
}

static int compare(const void *a, const void *b)
{
	const struct pair *x = a, *y = b;
	int c = memcmp(x->key, y->key, x->key_size < y->key_size ? x->key_size : y->key_size);

	return c ? c : x->key_size < y->key_size ? -1 : x->key_size > y->key_size;
}

static struct pair *add(const void *key, uint32_t key_size, uint64_t seed, uint32_t size)
{
	struct pair *p;

	if (count == room) {
		room = room ? 2 * room : 1024;
		pairs = realloc(pairs, room * sizeof(*pairs));
		test_require(pairs, "out of memory");
	}
	p = &pairs[count++];
	*p = (struct pair){malloc(key_size), key_size, seed, size};
	test_require(p->key, "out of memory");
	memcpy(p->key, key, key_size);
	return p;
}

/* Sorts and drops repeated keys. */
static void settle(void)
{
	unsigned kept = 0;

	qsort(pairs, count, sizeof(*pairs), compare);
	for (unsigned i = 0; i < count; i++)
		if (kept && !compare(&pairs[kept - 1], &pairs[i]))
			free(pairs[i].key);
		else
			pairs[kept++] = pairs[i];
	count = kept;
}

static ppdb_slice slice(const struct pair *p)
{
	return (ppdb_slice){p->key, p->key_size};
}

/* ---- writing and comparing -------------------------------------------------------------------------------------- */

static void write_pair(const struct pair *p, uint8_t *buf)
{
	ppdb_wopts o = {.size = sizeof(o), .flags = PPDB_ASYNC, .timeout_ms = 60000};
	int rc;

	fill(buf, p->seed, p->size);
	rc = ppdb_put(db, 0, slice(p), (ppdb_slice){p->size ? buf : NULL, p->size}, &o, NULL);
	test_require(!rc, "put of a key of %u bytes with %u bytes: %s %s", p->key_size, p->size, test_name_of(rc), test_detail());
}

static void write_all(struct test_random *r)
{
	uint32_t most = 8;
	uint8_t *buf;

	for (unsigned i = 0; i < count; i++)
		most = pairs[i].size > most ? pairs[i].size : most;
	buf = malloc(most + 8);
	test_require(buf, "out of memory");
	/* in an order of no order */
	for (unsigned i = 0, at = (unsigned)test_below(r, count); i < count; i++, at = (at + 7919) % count)
		write_pair(&pairs[at], buf);
	if (count % 7919 == 0)
		for (unsigned i = 0; i < count; i++)
			write_pair(&pairs[i], buf);
	free(buf);
}

static void expect_item(const struct pair *p, const ppdb_item *item, const char *how)
{
	test_require(item->key.size == p->key_size && !memcmp(item->key.data, p->key, p->key_size), "%s: a key of %zu bytes instead of %u",
		how, item->key.size, p->key_size);
	test_require(item->value.size == p->size, "%s: key of %u bytes: a value of %zu bytes, not %u", how, p->key_size,
		item->value.size, p->size);
	test_require(holds(item->value.data, p->seed, p->size), "%s: key of %u bytes: another value of %u bytes", how, p->key_size,
		p->size);
}

static void compare_gets(ppdb_view *v, const struct pair *p)
{
	uint8_t small[300];
	size_t len = 0, cap = sizeof(small) - 8;
	ppdb_item item;
	int rc = ppdb_view_get(v, 0, slice(p), &item);

	test_require(!rc, "view_get of a key of %u bytes: %s", p->key_size, test_name_of(rc));
	expect_item(p, &item, "view_get");
	rc = ppdb_get(db, 0, slice(p), small, cap, &len);
	test_require(rc == (p->size > cap ? -ENOBUFS : 0) && len == p->size, "get of a key of %u bytes: %s, %zu bytes", p->key_size,
		test_name_of(rc), len);
	test_require(rc || holds(small, p->seed, p->size), "get of a key of %u bytes: another value", p->key_size);
}

/* Seeks to the key, to just above and just below it. */
static void compare_seeks(ppdb_iter *it, unsigned i)
{
	uint8_t near[KEY_MAX + 1];
	struct pair *p = &pairs[i];
	ppdb_slice above = {near, p->key_size + 1};
	ppdb_item item;

	memcpy(near, p->key, p->key_size);
	near[p->key_size] = 0;
	test_ok(ppdb_iter_seek(it, slice(p), &item));
	expect_item(p, &item, "seek");
	test_ok(ppdb_iter_seek_le(it, slice(p), &item));
	expect_item(p, &item, "seek_le");
	if (above.size > KEY_MAX)
		return;
	test_ok(ppdb_iter_seek_le(it, above, &item));
	if (i + 1 < count && pairs[i + 1].key_size == above.size && !memcmp(pairs[i + 1].key, near, above.size))
		p++;
	expect_item(p, &item, "seek_le just above");
}

static void compare_all(uint32_t view_flags)
{
	ppdb_view *v;
	ppdb_iter *it;
	ppdb_item item;
	unsigned i = 0;
	int rc;

	test_ok(ppdb_view_begin(db, view_flags, &v));
	test_ok(ppdb_iter_open(v, 0, NULL, &it));
	for (rc = ppdb_iter_first(it, &item); !rc; rc = ppdb_iter_next(it, &item)) {
		test_require(i < count, "more keys than were written");
		expect_item(&pairs[i++], &item, "next");
	}
	test_require(rc == PPDB_NOTFOUND && i == count, "%u keys of %u, then %s", i, count, test_name_of(rc));
	for (rc = ppdb_iter_last(it, &item); !rc; rc = ppdb_iter_prev(it, &item)) {
		test_require(i > 0, "more keys than were written");
		expect_item(&pairs[--i], &item, "prev");
	}
	test_require(rc == PPDB_NOTFOUND && !i, "%u keys left going down, then %s", i, test_name_of(rc));
	for (i = 0; i < count; i++) {
		compare_gets(v, &pairs[i]);
		compare_seeks(it, i);
	}
	ppdb_iter_close(it);
	ppdb_view_end(v);
}

static void all_ways(void)
{
	test_say("comparing");
	compare_all(PPDB_VIEW_LATEST);
	test_ok(ppdb_sync(db, 60000000000));
	compare_all(PPDB_VIEW_SNAPSHOT);
	test_say("warm restart");
	test_store_restart(&store);
	compare_all(PPDB_VIEW_LATEST);
	test_say("cold restart from the log");
	test_ok(ppdb_detach(db));
	test_store_cold(&store);
	db = test_store_attach(&store, 0);
	compare_all(PPDB_VIEW_LATEST);
	test_say("cold restart from a checkpoint");
	test_ok(ppdb_detach(db));
	test_store_stop(&store); /* --checkpoint-on-stop */
	test_store_cold(&store);
	db = test_store_attach(&store, 0);
	compare_all(PPDB_VIEW_LATEST);
}

static void begin(const char *options)
{
	test_begin(300);
	test_store_start(&store, options);
	db = test_store_attach(&store, 0);
	count = 0;
}

static void finish(void)
{
	test_ok(ppdb_detach(db));
	test_store_check(&store, true);
	test_store_stop(&store);
}

TestSuite(sizes, .fini = test_stores_end, .timeout = 100000);

#define OPTIONS "--memory 512M --checkpoint-on-stop --wal-backend pwrite"

/* ---- keys ------------------------------------------------------------------------------------------------------- */

/* Every size of a key: random bytes, all zero, all 0xff. */
static void every_key_size(const char *options)
{
	struct test_random r;
	uint8_t key[KEY_MAX];

	begin(options);
	r = test_random(test_seed(), 1);
	for (uint32_t size = 1; size <= KEY_MAX; size += size < 300 ? 1 : 1 + (uint32_t)test_below(&r, 40)) {
		fill(key, test_next(&r), size);
		add(key, size, test_next(&r), (uint32_t)test_below(&r, 60));
		memset(key, 0, size);
		add(key, size, test_next(&r), (uint32_t)test_below(&r, 60));
		memset(key, 0xff, size);
		add(key, size, test_next(&r), (uint32_t)test_below(&r, 60));
	}
	memset(key, 0xff, KEY_MAX);
	add(key, KEY_MAX, 5, 5);
	memset(key, 0, KEY_MAX);
	add(key, KEY_MAX, 6, 6);
	settle();
	write_all(&r);
	all_ways();
	finish();
}

Test(sizes, keys_of_every_size)
{
	every_key_size(OPTIONS);
}

Test(sizes, keys_of_every_size_in_64_hash_shards)
{
	every_key_size("--strategy hash --shards 64 " OPTIONS);
}

/*
 * Many keys behind each shared prefix: leaves whose keys differ only far behind the 8 bytes of a slice, or not within them, so that
 * slices tie and prefixes end at every place of a slice; and prefixes that go on over several levels.
 */
static void shared_prefixes(const char *options)
{
	static const uint32_t lengths[] = {1, 6, 7, 8, 9, 15, 16, 31, 63, 100, 255, 256, 257, 1023, 1024, 2047, 4000, 4079, 4080, 4086, 4087,
		4088, 4092, 4093, 4094, 4095};
	struct test_random r;
	uint8_t key[KEY_MAX + 64];

	begin(options);
	r = test_random(test_seed(), 2);
	for (unsigned l = 0; l < sizeof(lengths) / sizeof(lengths[0]); l++) {
		uint32_t prefix = lengths[l], n = prefix > 300 ? 70 : 400;
		uint8_t with = "\x00\xffP"[l % 3];

		for (uint32_t k = 0; k < n; k++) {
			uint32_t rest = 1 + (uint32_t)test_below(&r, 24), same = (uint32_t)test_below(&r, 20);

			memset(key, with, sizeof(key));
			for (uint32_t i = same; i < rest; i++)
				key[prefix + i] = test_chance(&r, 60) ? "\x00\xffPQ"[test_below(&r, 4)] : (uint8_t)test_next(&r);
			if (prefix + rest > KEY_MAX)
				rest = KEY_MAX - prefix;
			add(key, prefix + rest, test_next(&r), (uint32_t)test_below(&r, 30));
		}
	}
	settle();
	write_all(&r);
	all_ways();
	finish();
}

Test(sizes, keys_that_share_prefixes)
{
	shared_prefixes(OPTIONS);
}

Test(sizes, keys_that_share_prefixes_in_4_hash_shards)
{
	shared_prefixes("--strategy hash " OPTIONS);
}

/* All 4096 keys "k", "kk", ...: each is a prefix of all that follow. */
Test(sizes, keys_that_are_prefixes_of_each_other)
{
	struct test_random r;
	uint8_t key[KEY_MAX];

	begin(OPTIONS);
	r = test_random(test_seed(), 3);
	memset(key, 'k', sizeof(key));
	for (uint32_t size = 1; size <= KEY_MAX; size++)
		add(key, size, size, size % 50);
	settle();
	write_all(&r);
	all_ways();
	/* Every other one goes: what stays is found, what went is not. */
	for (unsigned i = 0, kept = 0; i < KEY_MAX; i++) {
		if (i % 2) {
			ppdb_wopts o = {.size = sizeof(o), .flags = PPDB_ASYNC};

			test_ok(ppdb_del(db, 0, slice(&pairs[i]), &o, NULL));
			test_expect(PPDB_NOTFOUND, ppdb_get(db, 0, slice(&pairs[i]), NULL, 0, NULL));
			free(pairs[i].key);
		} else {
			pairs[kept++] = pairs[i];
			count = kept;
		}
	}
	compare_all(PPDB_VIEW_LATEST);
	finish();
}

/* ---- values ----------------------------------------------------------------------------------------------------- */

Test(sizes, values_of_every_size)
{
	struct test_random r;
	char key[32];
	uint32_t size = 0;

	begin(OPTIONS);
	r = test_random(test_seed(), 4);
	/* every size at first, then those around the powers of two and some between */
	for (; size < 1200; size++)
		add(key, (uint32_t)snprintf(key, sizeof(key), "value/%08u", size), test_next(&r), size);
	for (uint64_t power = 1024; power <= 2u << 20; power *= 2)
		for (int by = -24; by <= 24; by += power > 100000 ? 24 : power > 5000 ? 4 : 1)
			if ((int64_t)power + by >= 1200) {
				size = (uint32_t)((int64_t)power + by);
				add(key, (uint32_t)snprintf(key, sizeof(key), "value/%08u", size), test_next(&r), size);
			}
	for (unsigned i = 0; i < 80; i++) {
		size = 1200 + (uint32_t)test_below(&r, 200000);
		add(key, (uint32_t)snprintf(key, sizeof(key), "value/%08u", size), test_next(&r), size);
	}
	settle();
	write_all(&r);
	all_ways();
	finish();
}

/* Each size over each other: the old value, longer or shorter, leaves no trace. */
Test(sizes, values_that_grow_and_shrink)
{
	static const uint32_t sizes[] = {0, 1, 7, 8, 9, 100, 1000, 1001, 1024, 4000, 65500, 65536, 70000, 1u << 20, 3u << 20};
	const unsigned n = sizeof(sizes) / sizeof(sizes[0]);
	uint8_t *buf = malloc((3u << 20) + 8);
	ppdb_view *v;

	begin(OPTIONS);
	test_require(buf, "out of memory");
	add("same", 4, 1, 0);
	for (unsigned i = 0; i < n * n; i++) {
		pairs[0].seed = i + 1;
		pairs[0].size = sizes[i % 2 ? i / n : i % n];
		write_pair(&pairs[0], buf);
		test_ok(ppdb_view_begin(db, PPDB_VIEW_LATEST, &v));
		compare_gets(v, &pairs[0]);
		ppdb_view_end(v);
	}
	all_ways();
	finish();
	free(buf);
}

/* The largest value there is, beside small ones; overwritten, deleted, and its memory used again. */
Test(sizes, the_largest_value)
{
	struct test_random r;
	uint8_t *buf = malloc(VALUE_MAX + 8), *copy = malloc(VALUE_MAX + 8);
	ppdb_wopts o = {.size = sizeof(o), .flags = PPDB_ASYNC, .timeout_ms = 60000};
	size_t len;

	begin("--memory 700M --wal-backend pwrite --checkpoint-on-stop");
	test_require(buf && copy, "out of memory");
	r = test_random(test_seed(), 6);
	add("large", 5, test_next(&r), VALUE_MAX);
	add("large-", 6, test_next(&r), 10);
	add("larg", 4, test_next(&r), (9u << 20) - 1);
	settle();
	write_all(&r);
	all_ways();
	test_ok(ppdb_get(db, 0, slice(&pairs[1]), copy, VALUE_MAX, &len));
	test_require(len == VALUE_MAX && holds(copy, pairs[1].seed, VALUE_MAX), "another value by get");
	test_say("over and over");
	for (unsigned i = 0; i < 3; i++) {
		pairs[1].seed++;
		write_pair(&pairs[1], buf);
		if (i == 1)
			test_ok(ppdb_del(db, 0, slice(&pairs[1]), &o, NULL));
		test_ok(ppdb_sync(db, 60000000000));
		test_sleep_ms(100);
	}
	write_pair(&pairs[1], buf);
	compare_all(PPDB_VIEW_LATEST);
	free(buf);
	free(copy);
	finish();
}

/* ---- one over --------------------------------------------------------------------------------------------------- */

Test(sizes, over_the_limits_is_refused)
{
	uint8_t *big = calloc(1, VALUE_MAX + 1);
	ppdb_slice key = PPDB_S("key"), value = PPDB_S("value"), longest = {big, KEY_MAX}, over = {big, KEY_MAX + 1}, none = {NULL, 0};
	ppdb_wopts o = {.size = sizeof(o), .flags = PPDB_ASYNC};
	ppdb_iter_opts io = {.size = sizeof(io)};
	ppdb_seq ticket;
	ppdb_view *v;
	ppdb_iter *it;
	ppdb_item item;
	uint64_t version;
	int64_t sum;
	int rc = 0;

	begin(OPTIONS);
	test_require(big, "out of memory");
	add("key", 3, 0, 0);
	test_ok(ppdb_put(db, 0, key, none, NULL, NULL));
	test_ok(ppdb_view_begin(db, PPDB_VIEW_LATEST, &v));
	for (unsigned i = 0; i < 2; i++) {
		ppdb_slice bad = i ? over : none;

		ticket = 9;
		test_expect(PPDB_KEYSIZE, ppdb_put(db, 0, bad, value, &o, &ticket));
		test_require(!ticket, "a ticket for a refused put");
		test_expect(PPDB_KEYSIZE, ppdb_del(db, 0, bad, &o, NULL));
		test_expect(PPDB_KEYSIZE, ppdb_cas(db, 0, bad, 0, value, &o, &version, NULL));
		test_expect(PPDB_KEYSIZE, ppdb_add_i64(db, 0, bad, 1, 0, &o, &sum, NULL));
		test_expect(PPDB_KEYSIZE, ppdb_get(db, 0, bad, NULL, 0, NULL));
		test_expect(PPDB_KEYSIZE, ppdb_view_get(v, 0, bad, &item));
		test_ok(ppdb_get_many(db, 0, &bad, 1, v, &item, &rc));
		test_expect(PPDB_KEYSIZE, rc);
	}
	io.lower = over;
	test_expect(PPDB_KEYSIZE, ppdb_iter_open(v, 0, &io, &it));
	io = (ppdb_iter_opts){.size = sizeof(io), .prefix = over};
	test_expect(PPDB_KEYSIZE, ppdb_iter_open(v, 0, &io, &it));
	io = (ppdb_iter_opts){.size = sizeof(io), .upper = longest};
	test_ok(ppdb_iter_open(v, 0, &io, &it));
	test_expect(PPDB_KEYSIZE, ppdb_iter_seek(it, over, &item));
	ppdb_iter_close(it);
	ppdb_view_end(v);
	test_expect(PPDB_VALSIZE, ppdb_put(db, 0, key, (ppdb_slice){big, VALUE_MAX + 1}, &o, &ticket));
	test_require(!ticket, "a ticket for a refused put");
	test_expect(PPDB_VALSIZE, ppdb_cas(db, 0, key, 1, (ppdb_slice){big, (size_t)-1}, &o, &version, NULL));
	compare_all(PPDB_VIEW_LATEST);
	test_ok(ppdb_put(db, 0, longest, value, &o, NULL));
	test_ok(ppdb_del(db, 0, longest, &o, NULL));
	compare_all(PPDB_VIEW_LATEST);
	free(big);
	finish();
}
