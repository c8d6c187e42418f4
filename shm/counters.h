/*
 * counters.h - the statistics of all slots as one plain struct, and the names for printing it.
 *
 * Each thread counts in its own slot with plain stores; who wants the sum adds the slots up. Statistics only.
 */
#ifndef PP_SHM_COUNTERS_H
#define PP_SHM_COUNTERS_H

#include "shm/hist.h"
#include "shm/region.h"

/* X(field): every counter of struct pp_counters but ops[], in its order. */
#define PP_COUNTER_LIST(X) \
	X(cas_retries)     \
	X(helps)           \
	X(aborts)          \
	X(lock_waits)      \
	X(lock_wait_ns)    \
	X(hint_hits)       \
	X(hint_misses)     \
	X(leaf_visits)     \
	X(overloads)       \
	X(allocs)          \
	X(frees)           \
	X(retires)         \
	X(splits)          \
	X(merges)          \
	X(waits)           \
	X(wait_ns)         \
	X(overload_ns)     \
	X(find_blocks)     \
	X(read_blocks)     \
	X(slow_gets)

struct pp_totals {
	uint64_t ops[PP_OPS];
#define PP_COUNTER_FIELD(name) uint64_t name;
	PP_COUNTER_LIST(PP_COUNTER_FIELD)
#undef PP_COUNTER_FIELD
};

struct pp_counter_name {
	const char *name;
	size_t offset;                   /* in struct pp_totals */
};

/* Names and places in struct pp_totals, without ops[] (the engine names its operations). */
extern const struct pp_counter_name pp_counter_names[];
extern const size_t pp_counter_count;

static inline uint64_t pp_total_of(const struct pp_totals *t, const struct pp_counter_name *n)
{
	return *(const uint64_t *)((const char *)t + n->offset);
}

/* Adds one slot's counters. */
void pp_totals_add(struct pp_totals *into, const struct pp_counters *from);

/* Adds `from` to counters that only the caller writes (those of freed slots, kept by the daemon). */
void pp_counters_fold(struct pp_counters *into, const struct pp_counters *from);

/* Adds all that a slot counted to sums that only the caller writes. */
void pp_stats_fold(struct pp_stats *into, const struct pp_slot *from);

/* Clears what a slot counted; its owner only, or the daemon when there is none. */
void pp_stats_clear(struct pp_slot *);

/* Sum over all slots that were ever claimed and not folded since, plus `folded` (may be NULL). */
void pp_totals_region(const struct pp_region *, const struct pp_counters *folded, struct pp_totals *out);

/* The histogram of operation `op` over all slots; adds to *out. */
void pp_hist_region(const struct pp_region *, unsigned op, struct pp_hist *out);

/* Timed operations of row `row` over all slots. */
uint64_t pp_usage_region(const struct pp_region *, unsigned row);

#endif
