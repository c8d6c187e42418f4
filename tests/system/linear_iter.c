/*
 * linear_iter.c - iterators while other processes write.
 *
 * Some keys exist throughout. Writers overwrite those and delete and insert the others, one by one and whole
 * neighbourhoods at a time, so that leaves split, thin out and merge under the iterators' feet. An iterator must meet each lasting key exactly once,
 * in order, never a key twice, never a torn value; a snapshot must show the same twice.
 */
#include "shm/atomic.h"
#include "tests/lib/store.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define KEYS 6000
#define STEP 8 /* every eighth key stays */
#define WRITERS 4
#define READERS 4
#define KEY_MAX 64

static struct test_store store;

struct field {
	_Atomic uint32_t stop;
	_Atomic uint64_t scans, items, ranges;
	uint32_t shape;
};

static struct field *field;

struct job {
	unsigned number;
	uint64_t seed;
	uint64_t until_ns;
};

/* ---- keys and values -------------------------------------------------------------------------------------------- */

static bool lasting(uint32_t i)
{
	return i % STEP == 0;
}

/* Shape 0: short; 1: slices tie behind a long common prefix; 2: every second key is a prefix of the next. */
static ppdb_slice key_of(char *buf, uint32_t i)
{
	int n;

	if (field->shape == 2)
		n = snprintf(buf, KEY_MAX, "%06u%s", i / 2, i % 2 ? "tail" : "");
	else
		n = snprintf(buf, KEY_MAX, field->shape ? "a/rather/long/prefix/that/all/of/them/share/%06u" : "%06u", i);
	return (ppdb_slice){buf, (size_t)n};
}

/* Which key this is; KEYS if none. */
static uint32_t number_of(const ppdb_item *item)
{
	char buf[KEY_MAX], text[KEY_MAX];
	ppdb_slice k;
	uint32_t i;
	unsigned long n;
	const char *digits;

	if (item->key.size >= KEY_MAX)
		return KEYS;
	memcpy(text, item->key.data, item->key.size);
	text[item->key.size] = '\0';
	digits = text + strcspn(text, "0123456789");
	if (sscanf(digits, "%6lu", &n) != 1)
		return KEYS;
	i = field->shape == 2 ? (uint32_t)n * 2 + !!strstr(text, "tail") : (uint32_t)n;
	k = key_of(buf, i);
	return k.size == item->key.size && !memcmp(buf, text, k.size) ? i : KEYS;
}

/* The value says which key it belongs to; its bytes follow from its first eight. */
static uint32_t value_make(uint8_t *to, uint32_t i, struct test_random *r)
{
	uint32_t salt = (uint32_t)test_next(r), size = 8 + salt % (salt % 50 ? 120 : 3000);

	memcpy(to, &i, 4);
	memcpy(to + 4, &salt, 4);
	for (uint32_t at = 8; at < size; at++)
		to[at] = (uint8_t)(salt + at * 7);
	return size;
}

static uint64_t value_check(const ppdb_item *item, uint32_t i)
{
	const uint8_t *v = item->value.data;
	uint32_t salt, key;

	test_require(item->value.size >= 8, "key %u has a value of %zu bytes", i, item->value.size);
	memcpy(&key, v, 4);
	memcpy(&salt, v + 4, 4);
	test_require(key == i, "key %u has the value of key %u", i, key);
	test_require(item->value.size == 8 + salt % (salt % 50 ? 120 : 3000), "the value of key %u is torn (%zu bytes)", i,
		item->value.size);
	for (uint32_t at = 8; at < item->value.size; at++)
		test_require(v[at] == (uint8_t)(salt + at * 7), "the value of key %u is torn at byte %u", i, at);
	return salt ^ item->version << 32 ^ (uint64_t)i << 40;
}

/* ---- writers ---------------------------------------------------------------------------------------------------- */

static void put(ppdb *db, uint32_t i, struct test_random *r)
{
	ppdb_wopts o = {.size = sizeof(o), .flags = PPDB_ASYNC, .timeout_ms = 60000}; /* room in the log, however slow the disk is */
	uint8_t value[4096];
	char buf[KEY_MAX];
	int rc;

	do
		rc = ppdb_put(db, 0, key_of(buf, i), (ppdb_slice){value, value_make(value, i, r)}, &o, NULL);
	while (rc == PPDB_OVERLOAD);
	test_require(!rc, "put: %s %s", test_name_of(rc), test_detail());
}

static void del(ppdb *db, uint32_t i)
{
	ppdb_wopts o = {.size = sizeof(o), .flags = PPDB_ASYNC, .timeout_ms = 60000}; /* room in the log, however slow the disk is */
	char buf[KEY_MAX];
	int rc;

	do
		rc = ppdb_del(db, 0, key_of(buf, i), &o, NULL);
	while (rc == PPDB_OVERLOAD);
	test_require(!rc || rc == PPDB_NOTFOUND, "del: %s %s", test_name_of(rc), test_detail());
}

/* A neighbourhood of the writer's own quarter goes or comes. */
static void change_range(ppdb *db, struct test_random *r, uint32_t area)
{
	uint32_t n = 100 + (uint32_t)test_below(r, KEYS / WRITERS - 100), first = area + (uint32_t)test_below(r, KEYS / WRITERS - n + 1);
	bool insert = test_chance(r, 50), up = test_chance(r, 50);

	for (uint32_t k = 0; k < n; k++) {
		uint32_t i = first + (up ? k : n - 1 - k);

		if (lasting(i))
			continue;
		if (insert)
			put(db, i, r);
		else
			del(db, i);
	}
	atomic_fetch_add(&field->ranges, 1);
	if (!insert)
		test_sleep_ms(30); /* time for the dead keys to be removed and their leaves to merge */
}

static void write_on(void *arg)
{
	struct job *j = arg;
	struct test_random r = test_random(j->seed, j->number);
	ppdb *db = test_store_attach(&store, 0);
	uint32_t area = j->number * (KEYS / WRITERS);

	while (!atomic_load(&field->stop)) {
		change_range(db, &r, area);
		for (unsigned n = 0; n < 300; n++) {
			uint32_t i = (uint32_t)test_below(&r, KEYS);

			if (lasting(i) || test_chance(&r, 5))
				put(db, i, &r);
			else if (test_chance(&r, 5))
				del(db, i);
		}
	}
	test_ok(ppdb_detach(db));
}

/* ---- readers ---------------------------------------------------------------------------------------------------- */

static uint32_t lasting_from(uint32_t i)
{
	return (i + STEP - 1) / STEP * STEP;
}

struct scan {
	ppdb_iter *it;
	uint32_t low, high;      /* the keys with low <= i < high lie inside */
	uint64_t sum;            /* of what was met */
	const char *view;
};

static uint32_t accept_item(struct scan *s, const ppdb_item *item)
{
	uint32_t i = number_of(item);

	test_require(i < KEYS, "%s: a key that nobody wrote, %zu bytes", s->view, item->key.size);
	test_require(i >= s->low && i < s->high, "%s: key %u outside of %u..%u", s->view, i, s->low, s->high);
	s->sum = s->sum * 31 + value_check(item, i);
	atomic_fetch_add_explicit(&field->items, 1, memory_order_relaxed);
	return i;
}

/* Upwards from key `from` (nothing below it is owed) to the end of the range. */
static void up(struct scan *s, uint32_t from, int rc, ppdb_item *item)
{
	uint32_t owed = lasting_from(from > s->low ? from : s->low), least = from;

	for (; !rc; rc = ppdb_iter_next(s->it, item)) {
		uint32_t i = accept_item(s, item);

		test_require(i >= least, "%s: key %u after key %u going up", s->view, i, least - 1);
		test_require(i <= owed, "%s: key %u, which was always there, was not met going up; %u was", s->view, owed, i);
		if (i == owed)
			owed += STEP;
		least = i + 1;
	}
	test_require(rc == PPDB_NOTFOUND, "%s: next gave %s %s", s->view, test_name_of(rc), test_detail());
	test_require(owed >= s->high, "%s: the scan ended before key %u, which was always there", s->view, owed);
}

/* Downwards from below `from`. */
static void down(struct scan *s, uint32_t from, int rc, ppdb_item *item)
{
	int64_t most = (int64_t)(from < s->high ? from : s->high) - 1, owed = most < 0 ? -1 : most / STEP * STEP;

	for (; !rc; rc = ppdb_iter_prev(s->it, item)) {
		int64_t i = accept_item(s, item);

		test_require(i <= most, "%s: key %d after key %d going down", s->view, (int)i, (int)most + 1);
		test_require(i >= owed, "%s: key %d, which was always there, was not met going down; %d was", s->view, (int)owed, (int)i);
		if (i == owed)
			owed -= STEP;
		most = i - 1;
	}
	test_require(rc == PPDB_NOTFOUND, "%s: prev gave %s %s", s->view, test_name_of(rc), test_detail());
	test_require(owed < (int64_t)s->low, "%s: the scan ended before key %d, which was always there", s->view, (int)owed);
}

static void open_range(struct scan *s, ppdb_view *v, struct test_random *r)
{
	ppdb_iter_opts o = {.size = sizeof(o)};
	char a[KEY_MAX], b[KEY_MAX];

	s->low = 0;
	s->high = KEYS;
	if (test_chance(r, 60)) {
		s->low = (uint32_t)test_below(r, KEYS);
		o.lower = key_of(a, s->low);
	}
	if (test_chance(r, 60)) {
		s->high = s->low + (uint32_t)test_below(r, KEYS - s->low + 1);
		o.upper = key_of(b, s->high);
	}
	test_ok(ppdb_iter_open(v, 0, &o, &s->it));
}

static void from_the_middle(struct scan *s, struct test_random *r, bool upwards)
{
	uint32_t from = s->low + (uint32_t)test_below(r, s->high - s->low + 1);
	char buf[KEY_MAX];
	ppdb_item item;

	s->sum = 0;
	if (upwards)
		up(s, from, ppdb_iter_seek(s->it, key_of(buf, from), &item), &item);
	else
		down(s, from + 1, ppdb_iter_seek_le(s->it, key_of(buf, from), &item), &item);
}

/* Some steps up and down around one place: no lasting neighbour may be jumped over. */
static void zigzag(struct scan *s, struct test_random *r)
{
	uint32_t at;
	ppdb_item item;
	char buf[KEY_MAX];

	if (ppdb_iter_seek(s->it, key_of(buf, (uint32_t)test_below(r, KEYS)), &item))
		return;
	at = accept_item(s, &item);
	for (unsigned n = 0; n < 200; n++) {
		bool upwards = test_chance(r, 50);
		int rc = upwards ? ppdb_iter_next(s->it, &item) : ppdb_iter_prev(s->it, &item);
		uint32_t next = at, owed_up = at / STEP * STEP + STEP;
		int64_t owed_down = at ? ((int64_t)at - 1) / STEP * STEP : -1;

		if (!rc) {
			next = accept_item(s, &item);
			test_require(upwards ? next > at && next <= owed_up : next < at && (int64_t)next >= owed_down,
				"%s: from key %u %s to key %u", s->view, at, upwards ? "up" : "down", next);
			at = next;
			continue;
		}
		test_require(rc == PPDB_NOTFOUND, "%s: %s %s", s->view, test_name_of(rc), test_detail());
		test_require(upwards ? owed_up >= s->high : owed_down < (int64_t)s->low, "%s: an end beside key %u", s->view, at);
		return;
	}
}

static void scan_latest(ppdb_view *v, struct test_random *r)
{
	struct scan s = {.view = "LATEST"};
	ppdb_item item;

	open_range(&s, v, r);
	switch (test_below(r, 5)) {
	case 0:
		up(&s, 0, ppdb_iter_first(s.it, &item), &item);
		break;
	case 1:
		down(&s, KEYS, ppdb_iter_last(s.it, &item), &item);
		break;
	case 2:
		zigzag(&s, r);
		break;
	default:
		from_the_middle(&s, r, test_chance(r, 50));
	}
	ppdb_iter_close(s.it);
}

/* All of a snapshot, again while the writers go on, and the other way round: always the same. */
static void scan_snapshot(ppdb_view *v, struct test_random *r)
{
	struct scan s = {.view = "SNAPSHOT"}, t;
	ppdb_item item;

	open_range(&s, v, r);
	t = s;
	up(&s, 0, ppdb_iter_first(s.it, &item), &item);
	if (test_chance(r, 30))
		zigzag(&t, r);
	t.sum = 0;
	up(&t, 0, ppdb_iter_first(t.it, &item), &item);
	test_require(s.sum == t.sum, "a snapshot changed between two scans");
	t.sum = 0;
	down(&t, KEYS, ppdb_iter_last(t.it, &item), &item);
	s.sum = 0;
	down(&s, KEYS, ppdb_iter_last(s.it, &item), &item);
	test_require(s.sum == t.sum, "a snapshot changed between two scans downwards");
	ppdb_iter_close(s.it);
}

static void read_on(void *arg)
{
	struct job *j = arg;
	struct test_random r = test_random(j->seed, j->number);
	ppdb *db = test_store_attach(&store, j->number % 2 ? PPDB_RDONLY : 0);
	ppdb_view *v;

	for (unsigned n = 0; test_now_ns() < j->until_ns; n++) {
		/* a held snapshot keeps dead keys where they are: every other third of a second is without */
		bool snapshot = test_now_ns() / 333000000 % 2 && test_chance(&r, 50);

		test_say("scan %u", n);
		test_ok(ppdb_view_begin(db, snapshot ? PPDB_VIEW_SNAPSHOT : PPDB_VIEW_LATEST, &v));
		for (unsigned k = 0; k < 3; k++) {
			if (snapshot)
				scan_snapshot(v, &r);
			else
				scan_latest(v, &r);
			test_ok(ppdb_view_check(v));
		}
		ppdb_view_end(v);
		atomic_fetch_add(&field->scans, 1);
	}
	test_ok(ppdb_detach(db));
}

/* ---- tests ------------------------------------------------------------------------------------------------------ */

static void contend(const char *options, uint32_t shape, uint64_t seconds)
{
	static struct job j;
	struct test_random r;
	pid_t writer[WRITERS], reader[READERS];
	ppdb *db;

	test_begin(180);
	test_store_start(&store, options);
	if (!field)
		field = test_shared(sizeof(*field));
	field->shape = shape;
	j = (struct job){.seed = test_seed(), .until_ns = test_now_ns() + test_scale(seconds) * 1000000000};
	r = test_random(j.seed, 99);
	db = test_store_attach(&store, 0);
	for (uint32_t i = 0; i < KEYS; i++)
		if (lasting(i) || test_chance(&r, 50))
			put(db, i, &r);
	test_ok(ppdb_sync(db, -1));
	test_ok(ppdb_detach(db));
	for (unsigned n = 0; n < WRITERS; n++) {
		j.number = n;
		writer[n] = test_spawn(write_on, &j);
	}
	for (unsigned n = 0; n < READERS; n++) {
		j.number = WRITERS + n;
		reader[n] = test_spawn(read_on, &j);
	}
	for (unsigned n = 0; n < READERS; n++)
		test_join(reader[n]);
	atomic_store(&field->stop, 1);
	for (unsigned n = 0; n < WRITERS; n++)
		test_join(writer[n]);
	test_require(atomic_load(&field->scans) >= READERS && atomic_load(&field->ranges), "nothing happened");
	test_say("check");
	test_store_check(&store, true);
	test_store_stop(&store);
}

TestSuite(linear_iter, .fini = test_stores_end, .timeout = 100000);

#define OPTIONS " --memory 192M --slots 64 --wal-segment 8M --wal-backend pwrite"

Test(linear_iter, range)
{
	contend("--strategy range" OPTIONS, 0, 4);
}

Test(linear_iter, range_of_long_keys)
{
	contend("--strategy range --shards 64 --sync mutex" OPTIONS, 1, 3);
}

Test(linear_iter, nested_keys)
{
	contend("--strategy single" OPTIONS, 2, 3);
}

Test(linear_iter, hash)
{
	contend("--strategy hash --shards 4" OPTIONS, 0, 3);
}

Test(linear_iter, hash_of_long_keys)
{
	contend("--strategy hash --shards 64" OPTIONS, 1, 3);
}
