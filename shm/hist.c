/*
 * hist.c - merging and reading of latency histograms.
 *
 * Values 0..3 have a bucket each; from 4 on the bucket is the position of the highest bit and the two bits below it. Rows in the
 * region are written by their owner with relaxed stores and read the same way: no order between counts is needed or promised.
 */
#include "shm/hist.h"

uint64_t pp_hist_floor_ns(unsigned bucket)
{
	unsigned e;

	if (bucket < 4)
		return bucket;
	e = bucket / 4 + 1;
	return (UINT64_C(4) + bucket % 4) << (e - 2);
}

void pp_hist_merge(struct pp_hist *into, const pp_a32 row[PP_HIST_BUCKETS])
{
	for (unsigned i = 0; i < PP_HIST_BUCKETS; i++) {
		uint32_t n = pp_load_rlx(&row[i]); /* stat */

		into->count[i] += n;
		into->total += n;
	}
}

void pp_hist_merge64(struct pp_hist *into, const pp_a64 row[PP_HIST_BUCKETS])
{
	for (unsigned i = 0; i < PP_HIST_BUCKETS; i++) {
		uint64_t n = pp_load_rlx(&row[i]); /* stat */

		into->count[i] += n;
		into->total += n;
	}
}

void pp_hist_add(struct pp_hist *into, const struct pp_hist *other)
{
	for (unsigned i = 0; i < PP_HIST_BUCKETS; i++)
		into->count[i] += other->count[i];
	into->total += other->total;
}

uint64_t pp_hist_percentile_ns(const struct pp_hist *h, double fraction)
{
	double rank = fraction * (double)h->total, below = 0;

	for (unsigned i = 0; i < PP_HIST_BUCKETS; i++) {
		double n = (double)h->count[i];

		if (n > 0 && below + n >= rank) {
			uint64_t low = pp_hist_floor_ns(i), high = pp_hist_floor_ns(i + 1);
			double part = rank > below ? (rank - below) / n : 0;

			return low + (uint64_t)(part * (double)(high - low - 1) + 0.5);
		}
		below += n;
	}
	return 0;
}

uint64_t pp_hist_mean_ns(const struct pp_hist *h)
{
	double sum = 0;

	if (!h->total)
		return 0;
	for (unsigned i = 0; i < PP_HIST_BUCKETS; i++)
		sum += (double)h->count[i] * (double)(pp_hist_floor_ns(i) + pp_hist_floor_ns(i + 1)) / 2;
	return (uint64_t)(sum / (double)h->total);
}
