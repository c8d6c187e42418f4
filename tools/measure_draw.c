/*
 * measure_draw.c - permutations and the zipfian distribution (see measure.h).
 *
 * Permutation: a Feistel network of four rounds over an even number of bits; for any n one walks its cycle until it is below n, which
 * takes less than four steps on average. Zipf: Gray et al., "Quickly Generating Billion-Record Synthetic Databases" (SIGMOD 1994), as
 * YCSB uses it; zeta(n) beyond a million terms by Euler and Maclaurin's formula, right to twelve digits.
 */
#include "tools/measure.h"

#include <math.h>

#define SUMMED UINT64_C(1000000)

uint64_t pp_permute_bits(unsigned half_bits, uint64_t i)
{
	static const uint32_t round_key[4] = { 0x9e3779b1, 0x85ebca77, 0xc2b2ae3d, 0x27d4eb2f };
	uint32_t mask = (uint32_t)((UINT64_C(1) << half_bits) - 1);
	uint32_t left = (uint32_t)(i >> half_bits) & mask, right = (uint32_t)i & mask;

	for (int k = 0; k < 4; k++) {
		uint32_t f = (right + 0x7f4a7c15u) * round_key[k];
		uint32_t next = (left ^ f >> (32 - half_bits)) & mask;

		left = right;
		right = next;
	}
	return (uint64_t)left << half_bits | right;
}

uint64_t pp_permute(uint64_t n, uint64_t i)
{
	unsigned half_bits = 1;

	while (half_bits < 32 && UINT64_C(1) << 2 * half_bits < n)
		half_bits++;
	do
		i = pp_permute_bits(half_bits, i);
	while (i >= n);
	return i;
}

static double zeta(uint64_t n, double theta)
{
	uint64_t summed = n < SUMMED ? n : SUMMED;
	double sum = 0, a = (double)summed, b = (double)n;

	for (uint64_t i = 1; i <= summed; i++)
		sum += pow((double)i, -theta);
	if (n > summed)
		sum += (pow(b, 1 - theta) - pow(a, 1 - theta)) / (1 - theta) + (pow(b, -theta) - pow(a, -theta)) / 2 -
			theta * (pow(b, -theta - 1) - pow(a, -theta - 1)) / 12;
	return sum;
}

void pp_zipf_init(struct pp_zipf *z, uint64_t items, double theta)
{
	double zeta2 = 1 + pow(0.5, theta);

	z->items = items;
	z->theta = theta;
	z->zetan = zeta(items, theta);
	z->alpha = 1 / (1 - theta);
	z->second = zeta2;
	z->eta = (1 - pow(2.0 / (double)items, 1 - theta)) / (1 - zeta2 / z->zetan);
}

uint64_t pp_zipf_rank(const struct pp_zipf *z, uint64_t random)
{
	double u = ldexp((double)(random >> 11), -53), uz = u * z->zetan;
	uint64_t rank;

	if (uz < 1)
		return 0;
	if (uz < z->second)
		return z->items > 1;
	rank = (uint64_t)((double)z->items * pow(z->eta * u - z->eta + 1, z->alpha));
	return rank < z->items ? rank : z->items - 1;
}
