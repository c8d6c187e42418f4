/*
 * hist.h - latency histograms: log-linear, four buckets a doubling, 1 ns to half an hour in PP_HIST_BUCKETS counts of 32 bits.
 *
 * One thread records into its own row with plain stores; anybody merges rows at any time. Statistics only: a reader may miss the
 * newest counts. A bucket is at most 25 % wide, so a percentile is right within that.
 */
#ifndef PP_SHM_HIST_H
#define PP_SHM_HIST_H

#include "shm/layout.h"

struct pp_hist {
	uint64_t count[PP_HIST_BUCKETS];
	uint64_t total;
};

static inline unsigned pp_hist_bucket(uint64_t ns)
{
	unsigned e, b;

	if (ns < 4)
		return (unsigned)ns;
	e = 63u - (unsigned)__builtin_clzll(ns);
	b = 4 * (e - 1) + ((unsigned)(ns >> (e - 2)) & 3);
	return b < PP_HIST_BUCKETS ? b : PP_HIST_BUCKETS - 1;
}

/* Owner of the row only. Wraps after 4 billion counts of one bucket. */
static inline void pp_hist_record(pp_a32 row[PP_HIST_BUCKETS], uint64_t ns)
{
	pp_stat_add(&row[pp_hist_bucket(ns)], 1);
}

/* Smallest value that falls into the bucket. */
uint64_t pp_hist_floor_ns(unsigned bucket);

void pp_hist_merge(struct pp_hist *into, const pp_a32 row[PP_HIST_BUCKETS]);
void pp_hist_merge64(struct pp_hist *into, const pp_a64 row[PP_HIST_BUCKETS]);
void pp_hist_add(struct pp_hist *into, const struct pp_hist *other);

/* Value below which `fraction` (0..1) of the counts lie, interpolated inside of its bucket; 0 for an empty histogram. */
uint64_t pp_hist_percentile_ns(const struct pp_hist *, double fraction);

/* Mean by the middle of each bucket. */
uint64_t pp_hist_mean_ns(const struct pp_hist *);

#endif
