/*
 * measure.h - what every program that measures a store needs: random draws, distributions, latency histograms, a clock.
 *
 * Knows nothing of ppdb: `make bench` uses it to drive other stores as well. All state is the caller's own.
 */
#ifndef PP_TOOLS_MEASURE_H
#define PP_TOOLS_MEASURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- clock and latencies (measure_latency.c) ---- */

enum { PP_LATENCY_SUB = 32, PP_LATENCY_BUCKETS = 60 * PP_LATENCY_SUB };

/* Powers of two split in 32: a quantile is right within 3 %. One writer, read when it is at rest. All zeros is empty. */
struct pp_latency {
	uint64_t total, sum_ns, max_ns;
	uint32_t bucket[PP_LATENCY_BUCKETS];
};

void pp_latency_add(struct pp_latency *, uint64_t ns);
void pp_latency_merge(struct pp_latency *, const struct pp_latency *from);
/* Nanoseconds below which a fraction q of the values lies; never more than the largest value; NaN when there is none. */
double pp_latency_quantile(const struct pp_latency *, double q);

uint64_t pp_clock_ns(void);
/* The least that two readings in a row differ: to be taken off what was timed with two readings. */
uint64_t pp_clock_cost_ns(void);
/* Of up to 64 values; NaN values do not count; NaN when none is left. */
double pp_median(const double *values, int count);

/* ---- comparing (measure_judge.c) ---- */

struct pp_verdict {
	double ratio;                  /* of B to A, the median over the rounds; NaN: nothing to compare */
	double noise;                  /* what the ratio may be off by */
	int sign;                      /* 1: B is better, -1: worse, 0: no difference can be told */
};

/* Compares two things that were measured in turns, A B A B ...: `rounds` figures of each, more is better. A difference below `least` (0.03 = 3 %), or
 * below what the ratios scatter, is none. */
struct pp_verdict pp_judge(const double *a, const double *b, int rounds, double least);

/* ---- draws (measure_draw.c) ---- */

static inline uint64_t pp_mix64(uint64_t x)
{
	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93u;
	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93u;
	return x ^ x >> 32;
}

static inline uint64_t pp_random(uint64_t *state)
{
	*state += 0x9e3779b97f4a7c15u;
	return pp_mix64(*state);
}

static inline uint64_t pp_random_below(uint64_t *state, uint64_t bound)
{
	return (uint64_t)((__uint128_t)pp_random(state) * bound >> 64);
}

/* A permutation of 0 .. 4^half_bits - 1, and of 0 .. n - 1. */
uint64_t pp_permute_bits(unsigned half_bits, uint64_t i);
uint64_t pp_permute(uint64_t n, uint64_t i);

struct pp_zipf {
	uint64_t items;
	double theta, zetan, alpha, eta, second;
};

/* Ranks 0 .. items - 1, rank r with a probability in proportion to 1 / (r + 1)^theta; 0 < theta < 1. */
void pp_zipf_init(struct pp_zipf *, uint64_t items, double theta);
uint64_t pp_zipf_rank(const struct pp_zipf *, uint64_t random);
/* The same with the ranks scattered over the items. */
static inline uint64_t pp_zipf_scattered(const struct pp_zipf *z, uint64_t random)
{
	return pp_mix64(pp_zipf_rank(z, random) + 1) % z->items;
}

#endif
