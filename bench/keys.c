/*
 * Keys, values and random draws.
 *
 * An id is the number of a record in loading order. Its key is 16 decimal digits as in db_bench;
 * the number is a permutation (4-round Feistel network) of the id, so loading in id order inserts
 * in random order, without repetition, and ids beyond the loaded ones fall between the loaded keys.
 * Zipf: Gray et al., "Quickly Generating Billion-Record Synthetic Databases" (SIGMOD 1994), as YCSB
 * uses it; ranks are scattered over the ids by a hash as YCSB's "scrambled zipfian" does.
 */
#include "bench/bench.h"

#include <math.h>

void keyspace_init(struct keyspace *s, uint64_t keys, size_t value_bytes)
{
	memset(s, 0, sizeof *s);
	s->keys = keys;
	s->value_bytes = value_bytes;
	s->half_bits = 10;
	while ((1ull << 2 * s->half_bits) < 4 * keys)
		s->half_bits++;
}

void keyspace_zipf(struct keyspace *s, double theta)
{
	double zetan = 0, zeta2 = 1 + pow(0.5, theta);

	for (uint64_t i = 1; i <= s->keys; i++)
		zetan += pow((double)i, -theta);
	s->zipf_theta = theta;
	s->zipf_zetan = zetan;
	s->zipf_alpha = 1 / (1 - theta);
	s->zipf_eta = (1 - pow(2.0 / (double)s->keys, 1 - theta)) / (1 - zeta2 / zetan);
}

uint64_t zipf_draw(const struct keyspace *s, uint64_t random)
{
	double u = ldexp((double)(random >> 11), -53), uz = u * s->zipf_zetan;
	uint64_t rank;

	if (uz < 1)
		rank = 0;
	else if (uz < 1 + pow(0.5, s->zipf_theta))
		rank = 1;
	else
		rank = (uint64_t)((double)s->keys *
				  pow(s->zipf_eta * u - s->zipf_eta + 1, s->zipf_alpha));
	return mix64(rank + 1) % s->keys;
}

static uint64_t permute(const struct keyspace *s, uint64_t id)
{
	static const uint32_t round_key[4] = { 0x9e3779b1, 0x85ebca77, 0xc2b2ae3d, 0x27d4eb2f };
	uint32_t mask = (1u << s->half_bits) - 1;
	uint32_t left = (uint32_t)(id >> s->half_bits) & mask, right = (uint32_t)id & mask;

	for (int i = 0; i < 4; i++) {
		uint32_t f = (right + 0x7f4a7c15u) * round_key[i];
		uint32_t next = (left ^ f >> (32 - s->half_bits)) & mask;

		left = right;
		right = next;
	}
	return (uint64_t)left << s->half_bits | right;
}

/* Eight decimal digits, first digit in the lowest byte. */
static uint64_t digits8(uint32_t n)
{
	uint64_t x = n / 10000 | (uint64_t)(n % 10000) << 32;
	uint64_t q = x * 10486 >> 20 & 0x0000007f0000007f;

	x = q | (x - q * 100) << 16;
	q = x * 103 >> 10 & 0x000f000f000f000f;
	x = q | (x - q * 10) << 8;
	return x + 0x3030303030303030;
}

void key_make(const struct keyspace *s, uint64_t id, uint8_t key[KEY_BYTES])
{
	uint64_t number = permute(s, id);
	uint64_t high = digits8((uint32_t)(number / 100000000));
	uint64_t low = digits8((uint32_t)(number % 100000000));

	memcpy(key, &high, 8);
	memcpy(key + 8, &low, 8);
}

void value_prepare(uint8_t *value, size_t size, uint64_t seed)
{
	for (size_t i = 0; i < size; i++)
		value[i] = (uint8_t)(random_next(&seed) >> 56);
}

void value_make(uint8_t *value, size_t size, uint64_t id, uint64_t generation)
{
	uint64_t word = id | generation << ID_BITS, end = mix64(word);

	memcpy(value, &word, 8);
	memcpy(value + size - 8, &end, 8);
}
