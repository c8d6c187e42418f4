/*
 * linear_hot.c - eight processes on a few hot keys: their histories must be linearizable, no value torn, sums exact; also when
 * processes are SIGKILLed in the middle, whose last operation then may or may not have happened.
 */
#include "tests/lib/linear.h"

#include "shm/atomic.h"
#include "tests/lib/store.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROCESSES 8
#define LIVES 24              /* processes in all of one round, those hired for killed ones included */
#define KEYS 3
#define OPS 12000             /* most that one process notes */
#define VALUE_MAX 4096

static struct test_store store;

struct log {
	_Atomic uint32_t n;          /* operations begun */
	struct linear_op op[OPS];
};

struct arena {
	_Atomic uint32_t ready, go;
	uint32_t target;             /* operations a process does */
	uint32_t round;
	bool deletes;                /* else the keys stay, and each version is known */
	struct log log[LIVES];
};

static struct arena *shared;

struct worker {
	unsigned number;             /* of the life: index of the log */
	bool readonly;
	ppdb *db;
	ppdb_view *view;
	struct test_random r;
	uint64_t version[KEYS];      /* seen last: what a cas expects */
	uint8_t value[VALUE_MAX], copy[VALUE_MAX];
};

/* ---- values that tell whether they are whole --------------------------------------------------------------------- */

static uint32_t value_size(uint64_t id)
{
	uint64_t h = id * 0x9e3779b97f4a7c15u >> 40;

	return h % 10 ? 16 + (uint32_t)(h % 90) : 16 + (uint32_t)(h % (VALUE_MAX - 16));
}

static uint32_t value_make(uint8_t *to, uint64_t id)
{
	uint32_t size = value_size(id);

	memcpy(to, &id, 8);
	for (uint32_t i = 8; i < size; i++)
		to[i] = (uint8_t)((id * (i | 1)) >> 13);
	return size;
}

static uint64_t value_check(const void *data, size_t size, const char *where)
{
	const uint8_t *b = data;
	uint64_t id;

	test_require(size >= 16, "%s: a value of %zu bytes", where, size);
	memcpy(&id, b, 8);
	test_require(size == value_size(id), "%s: value %llx has %zu bytes, not %u: torn", where, (unsigned long long)id, size,
		value_size(id));
	for (uint32_t i = 8; i < size; i++)
		test_require(b[i] == (uint8_t)((id * (i | 1)) >> 13), "%s: value %llx is torn at byte %u of %zu", where,
			(unsigned long long)id, i, size);
	return id;
}

/* ---- one operation ---------------------------------------------------------------------------------------------- */

static ppdb_slice key_of(char *buf, size_t cap, uint32_t key)
{
	int n = snprintf(buf, cap, "hot/%u/%u", shared->round, key);

	return (ppdb_slice){buf, (size_t)n};
}

/* Notes what is begun before it is, so that a killed process leaves it behind. */
static struct linear_op *begin(struct worker *w, enum linear_kind kind, uint32_t key, uint64_t value, uint64_t expect)
{
	struct log *l = &shared->log[w->number];
	uint32_t n = atomic_load(&l->n);
	struct linear_op *o = &l->op[n];

	*o = (struct linear_op){.kind = (uint8_t)kind, .process = (uint16_t)w->number, .key = key, .value = value, .expect = expect};
	o->start = test_now_ns();
	atomic_store(&l->n, n + 1);
	return o;
}

static void end(struct linear_op *o, bool ok)
{
	o->ok = ok;
	o->end = test_now_ns();
	atomic_signal_fence(memory_order_seq_cst);
	*(volatile bool *)&o->done = true;
}

static void read_copy(struct worker *w, uint32_t key, ppdb_slice k)
{
	struct linear_op *o = begin(w, LINEAR_READ, key, 0, 0);
	size_t len;
	int rc = ppdb_get(w->db, 0, k, w->copy, sizeof(w->copy), &len);

	test_require(!rc || rc == PPDB_NOTFOUND, "get: %s %s", test_name_of(rc), test_detail());
	if (!rc)
		o->value = value_check(w->copy, len, "get");
	end(o, !rc);
}

static void take_item(struct worker *w, struct linear_op *o, uint32_t key, int rc, const ppdb_item *item, const char *how)
{
	uint64_t id;

	test_require(!rc || rc == PPDB_NOTFOUND, "%s: %s %s", how, test_name_of(rc), test_detail());
	end(o, !rc);
	if (rc)
		return;
	id = value_check(item->value.data, item->value.size, how);
	o->value = id;
	o->version = w->version[key] = item->version;
}

static void read_in_place(struct worker *w, uint32_t key, ppdb_slice k)
{
	struct linear_op *o = begin(w, LINEAR_READ, key, 0, 0);
	ppdb_item item;
	int rc = ppdb_view_get(w->view, 0, k, &item);

	take_item(w, o, key, rc, &item, "view_get");
	if (test_chance(&w->r, 5))
		test_ok(ppdb_view_refresh(w->view));
}

static void read_by_iterator(struct worker *w, uint32_t key, ppdb_slice k)
{
	bool back = test_chance(&w->r, 50);
	struct linear_op *o;
	ppdb_iter *it;
	ppdb_item item;
	int rc;

	test_ok(ppdb_iter_open(w->view, 0, NULL, &it));
	o = begin(w, LINEAR_READ, key, 0, 0);
	rc = back ? ppdb_iter_seek_le(it, k, &item) : ppdb_iter_seek(it, k, &item);
	if (!rc && (item.key.size != k.size || memcmp(item.key.data, k.data, k.size)))
		rc = PPDB_NOTFOUND; /* the next one */
	take_item(w, o, key, rc, &item, back ? "seek_le" : "seek");
	ppdb_iter_close(it);
}

static void write_one(struct worker *w, uint32_t key, ppdb_slice k)
{
	static const uint32_t flags[] = {0, PPDB_IFABSENT, PPDB_IFPRESENT};
	ppdb_wopts o = {.size = sizeof(o), .flags = test_chance(&w->r, 2) ? 0 : PPDB_ASYNC, .timeout_ms = 60000}; /* room in the log, however slow the disk is */
	uint64_t id = (uint64_t)(w->number + 1) << 32 | (atomic_load(&shared->log[w->number].n) + 1), dice = test_below(&w->r, 100), newver = 0;
	uint32_t size = value_make(w->value, id);
	ppdb_slice v = {w->value, size};
	struct linear_op *op;
	int rc;

	if (dice < 15 && shared->deletes) {
		op = begin(w, LINEAR_DEL, key, 0, 0);
		rc = ppdb_del(w->db, 0, k, &o, NULL);
		test_require(!rc || rc == PPDB_NOTFOUND, "del: %s %s", test_name_of(rc), test_detail());
	} else if (dice < 45) {
		op = begin(w, LINEAR_CAS, key, id, w->version[key]);
		rc = ppdb_cas(w->db, 0, k, w->version[key], v, &o, &newver, NULL);
		test_require(!rc || rc == PPDB_CONFLICT, "cas: %s %s", test_name_of(rc), test_detail());
		op->version = w->version[key] = newver;
	} else {
		unsigned kind = shared->deletes ? (unsigned)test_below(&w->r, 3) : 0;

		op = begin(w, LINEAR_PUT + kind, key, id, 0);
		o.flags |= flags[kind];
		rc = ppdb_put(w->db, 0, k, v, &o, NULL);
		test_require(!rc || (kind && (rc == PPDB_EXISTS || rc == PPDB_NOTFOUND)), "put: %s %s", test_name_of(rc), test_detail());
	}
	end(op, !rc);
}

static void work(void *arg)
{
	struct worker *w = arg;
	char buf[64];

	w->db = test_store_attach(&store, w->readonly ? PPDB_RDONLY : 0);
	test_ok(ppdb_view_begin(w->db, PPDB_VIEW_LATEST, &w->view));
	atomic_fetch_add(&shared->ready, 1);
	while (!atomic_load(&shared->go))
		test_sleep_ms(1);
	for (uint32_t i = 0; i < shared->target; i++) {
		uint32_t key = (uint32_t)test_below(&w->r, KEYS);
		ppdb_slice k = key_of(buf, sizeof(buf), key);
		uint64_t dice = test_below(&w->r, 100);

		if (dice < 20)
			read_copy(w, key, k);
		else if (dice < 45)
			read_in_place(w, key, k);
		else if (dice < 50 || w->readonly)
			read_by_iterator(w, key, k);
		else
			write_one(w, key, k);
	}
	ppdb_view_end(w->view);
	test_ok(ppdb_detach(w->db));
}

/* ---- judging ---------------------------------------------------------------------------------------------------- */

static void judge(unsigned lives)
{
	struct linear_op *ops = malloc(sizeof(*ops) * OPS * LIVES);

	test_require(ops, "out of memory");
	for (uint32_t key = 0; key < KEYS; key++) {
		size_t n = 0;
		const char *wrong;

		test_say("judging key %u", key);
		for (unsigned l = 0; l < lives; l++)
			for (uint32_t i = 0; i < atomic_load(&shared->log[l].n); i++)
				if (shared->log[l].op[i].key == key)
					ops[n++] = shared->log[l].op[i];
		wrong = linear_wrong(ops, n);
		test_require(!wrong, "key %u, %zu operations: %s", key, n, wrong);
	}
	free(ops);
}

static pid_t hire(struct worker *w, unsigned number, uint64_t seed)
{
	w->number = number;
	w->readonly = number % PROCESSES == 7;
	w->r = test_random(seed, shared->round * 1000u + number);
	return test_spawn(work, w);
}

static void round_of(uint32_t number, uint32_t target, bool deletes, unsigned kills)
{
	static struct worker w;
	struct test_random r = test_random(test_seed(), number);
	pid_t pid[PROCESSES];
	unsigned lives = 0;

	test_say("round %u", number);
	shared->round = number;
	shared->target = target;
	shared->deletes = deletes;
	atomic_store(&shared->go, 0);
	atomic_store(&shared->ready, 0);
	for (unsigned l = 0; l < LIVES; l++)
		atomic_store(&shared->log[l].n, 0);
	for (unsigned p = 0; p < PROCESSES; p++)
		pid[p] = hire(&w, lives++, test_seed());
	while (atomic_load(&shared->ready) < PROCESSES)
		test_sleep_ms(1);
	atomic_store(&shared->go, 1);
	for (unsigned k = 0; k < kills; k++) {
		unsigned p = (unsigned)test_below(&r, PROCESSES - 1);

		test_sleep_ms(1 + (unsigned)test_below(&r, 12));
		test_kill(pid[p]);
		pid[p] = hire(&w, lives++, test_seed());
	}
	for (unsigned p = 0; p < PROCESSES; p++)
		test_join(pid[p]);
	judge(lives);
}

static void prepare(const char *options)
{
	test_begin(240);
	test_store_start(&store, options);
	if (!shared)
		shared = test_shared(sizeof(*shared));
}

TestSuite(linear, .fini = test_stores_end, .timeout = 100000);

#define OPTIONS " --memory 128M --slots 64 --wal-segment 4M --wal-backend pwrite"

static void hot(const char *options, uint64_t seconds)
{
	uint64_t end_ns;

	prepare(options);
	end_ns = test_now_ns() + test_scale(seconds) * 1000000000;
	for (uint32_t n = 1; test_now_ns() < end_ns || n <= 4; n++)
		round_of(n, 1500, n % 2, n % 4 < 2 ? 0 : 10);
	test_store_check(&store, true);
	test_store_stop(&store);
}

Test(linear, hot_keys_lockfree)
{
	hot("--sync lockfree" OPTIONS, 5);
}

Test(linear, hot_keys_mutex)
{
	hot("--sync mutex" OPTIONS, 5);
}

Test(linear, hot_keys_hash)
{
	hot("--strategy hash --shards 64" OPTIONS, 3);
}

Test(linear, hot_keys_small_ring)
{
	hot("--strategy single --ring 16" OPTIONS, 3);
}

/* ---- counters --------------------------------------------------------------------------------------------------- */

#define COUNTERS 3
#define ADDS 20000

struct sum {
	uint64_t start, end;
	int64_t delta, result;
	uint32_t counter;
	bool done;
};

struct sums {
	_Atomic uint32_t stop;
	struct {
		_Atomic uint32_t n;
		struct sum sum[ADDS];
	} log[LIVES];
};

static struct sums *sums;

static void add_up(void *arg)
{
	struct worker *w = arg;
	char buf[64];

	w->db = test_store_attach(&store, 0);
	for (uint32_t n = 0; n < ADDS && !atomic_load(&sums->stop); n++) {
		struct sum *s = &sums->log[w->number].sum[n];
		ppdb_wopts o = {.size = sizeof(o), .flags = test_chance(&w->r, 1) ? 0 : PPDB_ASYNC, .timeout_ms = 60000}; /* room in the log, however slow the disk is */
		ppdb_slice k;

		s->counter = (uint32_t)test_below(&w->r, COUNTERS);
		s->delta = 1 + (int64_t)test_below(&w->r, 1u << 30);
		k = (ppdb_slice){buf, (size_t)snprintf(buf, sizeof(buf), "counter/%u", s->counter)};
		s->start = test_now_ns();
		atomic_store(&sums->log[w->number].n, n + 1);
		test_ok(ppdb_add_i64(w->db, 0, k, s->delta, 0, &o, &s->result, NULL));
		s->end = test_now_ns();
		atomic_signal_fence(memory_order_seq_cst);
		*(volatile bool *)&s->done = true;
	}
	test_ok(ppdb_detach(w->db));
}

static int by_result(const void *a, const void *b)
{
	const struct sum *x = a, *y = b;

	return x->result < y->result ? -1 : x->result > y->result;
}

/* What lies between two neighbouring sums must be adds of processes that were killed: takes them off the list. */
static bool explain(int64_t gap, struct sum *open, unsigned n)
{
	if (!gap)
		return true;
	for (unsigned i = 0; i < n; i++) {
		if (open[i].done || open[i].delta > gap)
			continue;
		open[i].done = true;
		if (explain(gap - open[i].delta, open, n))
			return true;
		open[i].done = false;
	}
	return false;
}

/* Every add has its own place in the chain of sums, and places agree with real time. */
static void judge_counter(ppdb *db, uint32_t counter, unsigned lives)
{
	struct sum *all = malloc(sizeof(*all) * LIVES * ADDS), open[LIVES];
	unsigned n = 0, opens = 0;
	int64_t before = 0;
	uint64_t newest = 0;
	char buf[64], key[64];
	size_t len;

	test_require(all, "out of memory");
	for (unsigned l = 0; l < lives; l++)
		for (uint32_t i = 0; i < atomic_load(&sums->log[l].n); i++) {
			struct sum *s = &sums->log[l].sum[i];

			if (s->counter == counter && s->done)
				all[n++] = *s;
			else if (s->counter == counter)
				open[opens++] = *s;
		}
	qsort(all, n, sizeof(*all), by_result);
	for (unsigned i = 0; i < n; i++) {
		test_require(explain(all[i].result - all[i].delta - before, open, opens),
			"counter %u: sum %lld = %lld + %lld does not follow from %lld", counter, (long long)all[i].result,
			(long long)(all[i].result - all[i].delta), (long long)all[i].delta, (long long)before);
		before = all[i].result;
		test_require(all[i].end >= newest, "counter %u: sum %lld was there before a smaller one was begun", counter,
			(long long)all[i].result);
		newest = all[i].start > newest ? all[i].start : newest;
	}
	snprintf(key, sizeof(key), "counter/%u", counter);
	test_ok(ppdb_get(db, 0, (ppdb_slice){key, strlen(key)}, buf, sizeof(buf) - 1, &len));
	buf[len] = '\0';
	test_require(explain(strtoll(buf, NULL, 10) - before, open, opens), "counter %u is %s, the sum is %lld", counter, buf,
		(long long)before);
	free(all);
}

static void counters(const char *options)
{
	static struct worker w;
	struct test_random r = test_random(test_seed(), 5);
	pid_t pid[PROCESSES];
	unsigned lives = 0;
	ppdb *db;

	prepare(options);
	sums = test_shared(sizeof(*sums));
	for (unsigned p = 0; p < PROCESSES; p++, lives++) {
		w.number = lives;
		w.r = test_random(test_seed(), 100 + lives);
		pid[p] = test_spawn(add_up, &w);
	}
	for (; lives < LIVES; lives++) {
		unsigned p = (unsigned)test_below(&r, PROCESSES);

		test_sleep_ms(10 + (unsigned)test_below(&r, 60));
		test_kill(pid[p]);
		w.number = lives;
		w.r = test_random(test_seed(), 100 + lives);
		pid[p] = test_spawn(add_up, &w);
	}
	test_sleep_ms(200);
	atomic_store(&sums->stop, 1);
	for (unsigned p = 0; p < PROCESSES; p++)
		test_join(pid[p]);
	test_say("judging");
	db = test_store_attach(&store, 0);
	for (uint32_t c = 0; c < COUNTERS; c++)
		judge_counter(db, c, lives);
	test_ok(ppdb_detach(db));
	test_store_check(&store, true);
	test_store_stop(&store);
}

Test(linear, counters_lockfree)
{
	counters("--sync lockfree" OPTIONS);
}

Test(linear, counters_mutex)
{
	counters("--sync mutex" OPTIONS);
}
