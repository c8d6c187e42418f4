/*
 * Clock, latency histogram and median.
 *
 * Buckets are powers of two split in 32, so a quantile is right within 3 %. A histogram has one
 * writer (its worker) and is merged after the worker has answered.
 */
#include "bench/bench.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>

uint64_t clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* The least that two readings in a row differ; taken off every timed operation. */
uint64_t clock_cost_ns(void)
{
	uint64_t least = UINT64_MAX;

	for (int i = 0; i < 2000; i++) {
		uint64_t from = clock_ns(), took = clock_ns() - from;

		if (took < least)
			least = took;
	}
	return least;
}

static unsigned bucket_of(uint64_t ns)
{
	unsigned shift, index;

	if (ns < HIST_SUB)
		return (unsigned)ns;
	shift = 63 - (unsigned)__builtin_clzll(ns) - 5;
	index = (shift + 1) * HIST_SUB + (unsigned)(ns >> shift) - HIST_SUB;
	return index < HIST_BUCKETS ? index : HIST_BUCKETS - 1;
}

static double bucket_middle(unsigned index)
{
	unsigned shift = index / HIST_SUB;

	if (!shift)
		return index;
	return ldexp(HIST_SUB + index % HIST_SUB + 0.5, (int)shift - 1);
}

void hist_add(struct hist *h, uint64_t ns)
{
	h->bucket[bucket_of(ns)]++;
	h->total++;
}

void hist_merge(struct hist *h, const struct hist *from)
{
	for (unsigned i = 0; i < HIST_BUCKETS; i++)
		h->bucket[i] += from->bucket[i];
	h->total += from->total;
}

double hist_quantile(const struct hist *h, double q)
{
	uint64_t seen = 0, want = (uint64_t)(q * (double)h->total);

	if (!h->total)
		return NAN;
	for (unsigned i = 0; i < HIST_BUCKETS; i++) {
		seen += h->bucket[i];
		if (seen > want)
			return bucket_middle(i);
	}
	return bucket_middle(HIST_BUCKETS - 1);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* NaN values (rounds that failed) do not count. */
double median(const double *values, int count)
{
	double sorted[ROUNDS_MAX];
	int n = 0;

	for (int i = 0; i < count; i++)
		if (!isnan(values[i]))
			sorted[n++] = values[i];
	if (!n)
		return NAN;
	qsort(sorted, (size_t)n, sizeof *sorted, by_value);
	return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}
