/*
 * cmd_bench_ops.c - the operations of `ppdb bench`, and which keys they take (see cmd_bench.h).
 *
 * A value begins with its record's id, mixed with a generation, and ends with a mix of that word: both ends are compared at each get, so that a wrong or
 * torn value cannot pass. Reads go through a LATEST view, which is refreshed now and then as a program would; writes return when they are visible, or
 * when they are durable. A full log (PPDB_OVERLOAD) is waited for: its time counts.
 *
 * Dies inside: the table of the bench stays; the coordinator drops it, or says its name.
 */
#include "tools/cmd_bench.h"

#include <stdlib.h>
#include <string.h>

#define STRIDE 16u
#define LANES (STRIDE - 2)             /* of later inserts */
#define LANE_MISSING (STRIDE - 1)
#define DIGITS 20u
#define HOT_SHARE 100u
#define ID_BITS 40
#define PATIENCE_NS (30 * PP_NS_PER_SEC)
#define RMW_TRIES 1000
#define HELD_LOOKS 256

/* ---- keys and values ---- */

static uint64_t number_of(const struct pp_bench *b, uint64_t id)
{
	uint64_t later = id - b->keys;

	if (id < b->keys)
		return id * STRIDE;
	return pp_permute(b->keys, later % b->keys) * STRIDE + 1 + later / b->keys % LANES;
}

/* Decimal digits, then filler up to the size of keys. */
static void write_key(const struct pp_bench *b, uint64_t number, uint8_t *key)
{
	unsigned digits = b->key_bytes < DIGITS ? (unsigned)b->key_bytes : DIGITS;

	for (unsigned i = digits; i--; number /= 10)
		key[i] = (uint8_t)('0' + number % 10);
}

static ppdb_slice key_of(struct pp_bench_state *s, unsigned i)
{
	return (ppdb_slice){s->key[i], s->job->b->key_bytes};
}

static ppdb_slice value_of(struct pp_bench_state *s, uint64_t id)
{
	size_t size = s->job->b->value_bytes, n = size < 8 ? size : 8;
	uint64_t word = id | s->generation++ << ID_BITS, end = pp_mix64(word);

	memcpy(s->value, &word, n);
	if (size >= 16)
		memcpy(s->value + size - 8, &end, 8);
	return (ppdb_slice){s->value, size};
}

static void check_value(struct pp_bench_state *s, ppdb_slice v, uint64_t id)
{
	uint64_t word, end;

	if (s->job->b->value_bytes < 16)
		return;
	if (v.size < 16) {
		s->count->wrong++;
		return;
	}
	memcpy(&word, v.data, 8);
	memcpy(&end, (const uint8_t *)v.data + v.size - 8, 8);
	s->count->wrong += (word & ((UINT64_C(1) << ID_BITS) - 1)) != id || end != pp_mix64(word);
}

/* ---- which record ---- */

static uint64_t draw_id(struct pp_bench_state *s)
{
	struct pp_bench *b = s->job->b;
	int draw = b->draw >= 0 ? b->draw : (int)s->job->w->draw;
	uint64_t rank, newest;

	switch (draw) {
	case PP_BENCH_ZIPFIAN:
		return pp_zipf_scattered(&b->zipf, pp_random(&s->random));
	case PP_BENCH_LATEST:
		rank = pp_zipf_rank(&b->zipf, pp_random(&s->random));
		newest = b->keys + pp_load_rlx(&s->job->shared->inserted); /* hint: some of the newest are not there yet */
		return newest - 1 - rank;
	case PP_BENCH_HOT:
		return pp_random_below(&s->random, (b->keys + HOT_SHARE - 1) / HOT_SHARE);
	default:
		return pp_random_below(&s->random, b->keys);
	}
}

/* The next id of this worker's share of a walk; false at its end. */
static bool walk_id(struct pp_bench_state *s, uint64_t *id)
{
	uint64_t at = s->walked * s->job->workers + s->job->index;

	if (at >= s->job->b->keys)
		return false;
	s->walked++;
	*id = s->job->w->walk == PP_BENCH_SCATTERED ? pp_permute(s->job->b->keys, at) : at;
	return true;
}

static enum pp_bench_op choose_op(struct pp_bench_state *s)
{
	const struct pp_bench_workload *w = s->job->w;
	unsigned dice = (unsigned)pp_random_below(&s->random, 100), op = 0;

	if (s->job->writer)
		return PP_BENCH_UPDATE;
	while (op < PP_BENCH_OPS - 1 && dice >= w->percent[op])
		dice -= w->percent[op++];
	return (enum pp_bench_op)op;
}

static unsigned keys_of_op(enum pp_bench_op op)
{
	return op == PP_BENCH_GETMANY ? PP_BENCH_MANY : op == PP_BENCH_BATCHPUT ? PP_BENCH_BATCH : 1;
}

static bool choose_key(struct pp_bench_state *s, enum pp_bench_op op, unsigned i)
{
	struct pp_bench *b = s->job->b;

	if (s->job->w->walk != PP_BENCH_ANY) {
		if (!walk_id(s, &s->id[i]))
			return false;
	} else if (op == PP_BENCH_INSERT) {
		s->id[i] = b->keys + pp_add_rlx(&s->job->shared->inserted, 1); /* ids only; nothing is published by it */
	} else {
		s->id[i] = draw_id(s);
	}
	write_key(b, op == PP_BENCH_MISS ? s->id[i] % b->keys * STRIDE + LANE_MISSING : number_of(b, s->id[i]), s->key[i]);
	if (op == PP_BENCH_ADD)
		s->key[i][0] = 'c'; /* counters are keys of their own */
	return true;
}

bool pp_bench_choose(struct pp_bench_state *s, enum pp_bench_op *op)
{
	uint64_t length = s->job->b->scan_length;
	unsigned n;

	*op = choose_op(s);
	if (*op == PP_BENCH_NEXT || *op == PP_BENCH_PREV)
		return true;
	n = keys_of_op(*op) < s->budget ? keys_of_op(*op) : (unsigned)s->budget;
	for (s->keys = 0; s->keys < n; s->keys++)
		if (!choose_key(s, *op, s->keys))
			break;
	if (*op == PP_BENCH_SCAN)
		s->scan_length = s->job->w->any_length ? 1 + pp_random_below(&s->random, length) : length;
	return s->keys > 0; /* the last batch of a walk may be a short one */
}

/* ---- operations ---- */

/* Nothing happened, and it may go better in a moment. */
static bool may_retry(struct pp_bench_state *s, int rc, uint64_t *since)
{
	if (rc != PPDB_OVERLOAD)
		return false;
	s->count->overloads++;
	if (!*since)
		*since = pp_now_ns();
	return pp_now_ns() - *since < PATIENCE_NS && !pp_load_rlx(&s->job->shared->stop); /* hint */
}

static int put(struct pp_bench_state *s)
{
	ppdb_slice value = value_of(s, s->id[0]);
	uint64_t since = 0;
	int rc;

	do
		rc = ppdb_put(s->job->db, s->job->b->table, key_of(s, 0), value, s->how, NULL);
	while (__builtin_expect(rc != 0, 0) && may_retry(s, rc, &since));
	return rc;
}

static int batch_put(struct pp_bench_state *s)
{
	uint64_t since = 0;
	int rc = 0;

	ppdb_batch_clear(s->batch);
	for (unsigned i = 0; i < s->keys && !rc; i++)
		rc = ppdb_batch_put(s->batch, s->job->b->table, key_of(s, i), value_of(s, s->id[i]), NULL);
	if (rc)
		return rc;
	do
		rc = ppdb_write(s->job->db, s->batch, s->how, NULL, NULL);
	while (rc && may_retry(s, rc, &since));
	return rc ? rc : (int)s->keys;
}

static int del(struct pp_bench_state *s)
{
	uint64_t since = 0;
	int rc;

	do
		rc = ppdb_del(s->job->db, s->job->b->table, key_of(s, 0), s->how, NULL);
	while (rc && may_retry(s, rc, &since));
	return rc;
}

static int add(struct pp_bench_state *s)
{
	uint64_t since = 0;
	int rc;

	do
		rc = ppdb_add_i64(s->job->db, s->job->b->table, key_of(s, 0), 1, 0, s->how, NULL, NULL);
	while (rc && may_retry(s, rc, &since));
	return rc;
}

/* Read, change, write back if nobody came between; else again. */
static int read_modify_write(struct pp_bench_state *s)
{
	uint64_t since = 0;
	ppdb_item item;
	int rc = PPDB_CONFLICT;

	for (unsigned i = 0; i < RMW_TRIES && (rc == PPDB_CONFLICT || may_retry(s, rc, &since)); i++) {
		rc = ppdb_view_get(s->view, s->job->b->table, key_of(s, 0), &item);
		if (rc)
			return rc;
		check_value(s, item.value, s->id[0]);
		rc = ppdb_cas(s->job->db, s->job->b->table, key_of(s, 0), item.version, value_of(s, s->id[0]), s->how, NULL, NULL);
		s->count->conflicts += rc == PPDB_CONFLICT;
	}
	return rc;
}

static int get(struct pp_bench_state *s)
{
	ppdb_item item;
	int rc = ppdb_view_get(s->view, s->job->b->table, key_of(s, 0), &item);

	if (!rc)
		check_value(s, item.value, s->id[0]);
	return rc;
}

static int get_missing(struct pp_bench_state *s)
{
	ppdb_item item;
	int rc = ppdb_view_get(s->view, s->job->b->table, key_of(s, 0), &item);

	s->count->wrong += !rc;
	return rc == PPDB_NOTFOUND ? 0 : rc;
}

static int get_many(struct pp_bench_state *s)
{
	ppdb_slice key[PP_BENCH_MANY] = {{NULL, 0}};
	ppdb_item item[PP_BENCH_MANY];
	unsigned n = s->keys;
	int rcs[PP_BENCH_MANY], rc;

	for (unsigned i = 0; i < n; i++)
		key[i] = key_of(s, i);
	rc = ppdb_get_many(s->job->db, s->job->b->table, key, n, s->view, item, rcs);
	for (unsigned i = 0; i < n && !rc; i++) {
		if (!rcs[i])
			check_value(s, item[i].value, s->id[i]);
		else if (rcs[i] == PPDB_NOTFOUND)
			s->count->missing++;
		else
			rc = rcs[i];
	}
	return rc ? rc : (int)n;
}

static int scan(struct pp_bench_state *s)
{
	ppdb_item item;
	int rc = ppdb_iter_seek(s->iter, key_of(s, 0), &item);
	uint64_t n = 0;

	while (!rc && ++n < s->scan_length)
		rc = ppdb_iter_next(s->iter, &item);
	s->count->entries += n;
	return rc == PPDB_NOTFOUND ? 0 : rc;
}

/* One step, from one end to the other and again. */
static int step(struct pp_bench_state *s, bool back)
{
	ppdb_item item;
	int rc = PPDB_NOTFOUND;

	if (s->positioned)
		rc = back ? ppdb_iter_prev(s->iter, &item) : ppdb_iter_next(s->iter, &item);
	if (rc == PPDB_NOTFOUND)
		rc = back ? ppdb_iter_last(s->iter, &item) : ppdb_iter_first(s->iter, &item);
	s->positioned = !rc;
	s->count->entries += !rc;
	return rc;
}

static int perform(struct pp_bench_state *s, enum pp_bench_op op)
{
	switch (op) {
	case PP_BENCH_READ: return get(s);
	case PP_BENCH_MISS: return get_missing(s);
	case PP_BENCH_GETMANY: return get_many(s);
	case PP_BENCH_UPDATE:
	case PP_BENCH_INSERT: return put(s);
	case PP_BENCH_BATCHPUT: return batch_put(s);
	case PP_BENCH_DELETE: return del(s);
	case PP_BENCH_RMW: return read_modify_write(s);
	case PP_BENCH_ADD: return add(s);
	case PP_BENCH_SCAN: return scan(s);
	case PP_BENCH_NEXT: return step(s, false);
	case PP_BENCH_PREV: return step(s, true);
	default: return -EINVAL;
	}
}

int pp_bench_do(struct pp_bench_state *s, enum pp_bench_op op)
{
	int rc = perform(s, op);

	if (__builtin_expect(rc == PPDB_NOTFOUND, 0)) {
		s->count->missing++;
		rc = 0;
	}
	return rc ? rc : 1;
}

/* ---- a worker's state ---- */

int pp_bench_refresh(struct pp_bench_state *s)
{
	s->reads = 0;
	return s->view ? ppdb_view_refresh(s->view) : 0;
}

static bool reads(const struct pp_bench_workload *w, bool writer)
{
	static const enum pp_bench_op ops[] = {PP_BENCH_READ, PP_BENCH_MISS, PP_BENCH_GETMANY, PP_BENCH_RMW, PP_BENCH_SCAN, PP_BENCH_NEXT, PP_BENCH_PREV};

	for (unsigned i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
		if (w->percent[ops[i]])
			return !writer;
	return false;
}

int pp_bench_begin(struct pp_bench_state *s, struct pp_bench_job *job)
{
	struct pp_bench *b = job->b;
	uint8_t *keys;
	int rc = 0;

	memset(s, 0, sizeof(*s));
	s->job = job;
	s->count = &job->shared->worker[job->index].count;
	s->random = b->seed * 0x10001 + (job->index + 1) * UINT64_C(0x5851f42d4c957f2d);
	s->async = (ppdb_wopts){.size = sizeof(s->async), .flags = PPDB_ASYNC};
	s->how = b->durable || job->w->durable ? NULL : &s->async;
	s->budget = UINT64_MAX;
	s->value = malloc(b->value_bytes + 8);
	keys = malloc(PP_BENCH_BATCH * b->key_bytes);
	if (!s->value || !keys) {
		free(keys);
		return -ENOMEM;
	}
	memset(keys, 'k', PP_BENCH_BATCH * b->key_bytes);
	for (unsigned i = 0; i < PP_BENCH_BATCH; i++)
		s->key[i] = keys + i * b->key_bytes;
	for (size_t i = 0; i < b->value_bytes; i++)
		s->value[i] = (uint8_t)pp_random(&s->random);
	if (job->w->percent[PP_BENCH_BATCHPUT])
		rc = ppdb_batch_new(job->db, &s->batch);
	if (!rc && reads(job->w, job->writer))
		rc = ppdb_view_begin(job->db, PPDB_VIEW_LATEST, &s->view);
	if (!rc && s->view)
		rc = ppdb_iter_open(s->view, b->table, NULL, &s->iter);
	return rc;
}

void pp_bench_end(struct pp_bench_state *s)
{
	if (s->iter)
		ppdb_iter_close(s->iter);
	ppdb_view_end(s->view);
	ppdb_batch_free(s->batch);
	free(s->key[0]);
	free(s->value);
}

bool pp_bench_holds(struct pp_bench *b, ppdb *db)
{
	uint8_t *key = malloc(b->key_bytes);
	uint64_t random = b->seed;
	ppdb_view *view = NULL;
	bool all = key && !ppdb_view_begin(db, PPDB_VIEW_LATEST, &view);

	for (unsigned i = 0; i < HELD_LOOKS && all; i++) {
		uint64_t id = i < 2 ? i * (b->keys - 1) : pp_random_below(&random, b->keys);
		ppdb_item item;

		memset(key, 'k', b->key_bytes);
		write_key(b, number_of(b, id), key);
		all = !ppdb_view_get(view, b->table, (ppdb_slice){key, b->key_bytes}, &item) && item.value.size == b->value_bytes;
	}
	ppdb_view_end(view);
	free(key);
	return all;
}
