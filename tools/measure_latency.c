/*
 * measure_latency.c - clock, latency histogram and median (see measure.h).
 *
 * A histogram has one writer and is merged when that is at rest. Private to its processes: nothing is left behind.
 */
#include "tools/measure.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>

enum { MEDIAN_MAX = 64 };

uint64_t pp_clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t pp_clock_cost_ns(void)
{
	uint64_t least = UINT64_MAX;

	for (int i = 0; i < 2000; i++) {
		uint64_t from = pp_clock_ns(), took = pp_clock_ns() - from;

		if (took < least)
			least = took;
	}
	return least;
}

static unsigned bucket_of(uint64_t ns)
{
	unsigned shift, index;

	if (ns < PP_LATENCY_SUB)
		return (unsigned)ns;
	shift = 63 - (unsigned)__builtin_clzll(ns) - 5;
	index = (shift + 1) * PP_LATENCY_SUB + (unsigned)(ns >> shift) - PP_LATENCY_SUB;
	return index < PP_LATENCY_BUCKETS ? index : PP_LATENCY_BUCKETS - 1;
}

static double bucket_middle(unsigned index)
{
	unsigned shift = index / PP_LATENCY_SUB;

	if (!shift)
		return index;
	return ldexp(PP_LATENCY_SUB + index % PP_LATENCY_SUB + 0.5, (int)shift - 1);
}

void pp_latency_add(struct pp_latency *h, uint64_t ns)
{
	h->bucket[bucket_of(ns)]++;
	h->total++;
	h->sum_ns += ns;
	if (ns > h->max_ns)
		h->max_ns = ns;
}

void pp_latency_merge(struct pp_latency *h, const struct pp_latency *from)
{
	for (unsigned i = 0; i < PP_LATENCY_BUCKETS; i++)
		h->bucket[i] += from->bucket[i];
	h->total += from->total;
	h->sum_ns += from->sum_ns;
	if (from->max_ns > h->max_ns)
		h->max_ns = from->max_ns;
}

double pp_latency_quantile(const struct pp_latency *h, double q)
{
	uint64_t seen = 0, want = (uint64_t)(q * (double)h->total);

	if (!h->total)
		return NAN;
	for (unsigned i = 0; i < PP_LATENCY_BUCKETS; i++) {
		seen += h->bucket[i];
		if (seen > want)
			return fmin(bucket_middle(i), (double)h->max_ns);
	}
	return (double)h->max_ns;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double pp_median(const double *values, int count)
{
	double sorted[MEDIAN_MAX];
	int n = 0;

	for (int i = 0; i < count && n < MEDIAN_MAX; i++)
		if (!isnan(values[i]))
			sorted[n++] = values[i];
	if (!n)
		return NAN;
	qsort(sorted, (size_t)n, sizeof(*sorted), by_value);
	return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}
