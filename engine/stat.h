/*
 * stat.h - counting operations in the caller's own slot, and timing some of them.
 *
 * The count of an operation is its own tick: one in PP_TIME_EACH is timed, beginning with the first one, so that short-lived
 * processes show up too. The others cost a load, a store and a branch. Of gets fewer are timed: reading the clock waits for all that is
 * under way, so that the next get's cache misses cannot overlap with this one's (measured with 1 M keys, bench/overhead: one in 32 costs 15 ns a
 * get of 200, one in 256 2 ns). (Steps of iterators: engine/cursor.c.)
 */
#ifndef PP_ENGINE_STAT_H
#define PP_ENGINE_STAT_H

#include "engine/index.h"
#include "shm/clock.h"
#include "shm/counters.h"
#include "shm/hist.h"

#define PP_TIME_EACH 32
#define PP_TIME_EACH_GET 256
#define pp_time_each(op) ((op) == PP_OP_GET ? PP_TIME_EACH_GET : PP_TIME_EACH)

/* For who adds up what slots counted: the quick get (engine/quick.h) counts itself and not that it found its key by hash, which it always did. */
static inline void pp_totals_complete(struct pp_totals *t)
{
	uint64_t gets = t->ops[PP_OP_GET];

	t->hint_hits += gets > t->slow_gets ? gets - t->slow_gets : 0;
}

/* Counts n operations; returns the time when this one is to be timed, else 0. */
static inline uint64_t pp_op_begin_many(struct pp_thread *t, enum pp_op op, uint64_t n)
{
	pp_a64 *count = &t->slot->count.ops[op];
	uint64_t before = pp_load_rlx(count); /* owner */

	if (!PP_COUNTING)
		return 0;
	pp_store_rlx(count, before + n); /* owner */
	/* is a multiple of it among before ... before + n - 1? */
	return __builtin_expect((before + n - 1) / pp_time_each(op) != (before - 1) / pp_time_each(op), 0) ? pp_now_ns() : 0;
}

static inline uint64_t pp_op_begin(struct pp_thread *t, enum pp_op op)
{
	pp_a64 *count = &t->slot->count.ops[op];
	uint64_t before = pp_load_rlx(count); /* owner */

	if (!PP_COUNTING)
		return 0;
	pp_store_rlx(count, before + 1); /* owner */
	return __builtin_expect(before % pp_time_each(op) == 0, 0) ? pp_now_ns() : 0;
}

static inline void pp_op_record(struct pp_thread *t, enum pp_op op, uint64_t ns)
{
	if (PP_COUNTING)
		pp_hist_record(t->slot->hist[op], ns);
}

static inline void pp_phase_record(struct pp_thread *t, enum pp_phase phase, uint64_t ns)
{
	if (PP_COUNTING)
		pp_hist_record(t->slot->phase[phase], ns);
}

/* pp_op_record, and one more for the shard of the key (shards.c). */
void pp_op_record_key(struct pp_thread *t, enum pp_op op, uint64_t ns, const struct pp_key *k, uint64_t hash);

/* `start` from pp_op_begin; 0 = nothing to do. */
static inline void pp_op_end(struct pp_thread *t, enum pp_op op, uint64_t start)
{
	if (__builtin_expect(start != 0, 0))
		pp_op_record(t, op, pp_now_ns() - start);
}

/* The same for an operation on a key: counted for its shard as well. */
static inline void pp_op_end_key(struct pp_thread *t, enum pp_op op, uint64_t start, const struct pp_key *k, uint64_t hash)
{
	if (__builtin_expect(start != 0, 0))
		pp_op_record_key(t, op, pp_now_ns() - start, k, hash);
}

#endif
