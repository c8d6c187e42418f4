/*
 * Keys, values and random draws.
 *
 * An id is the number of a record in loading order. Its key is 16 decimal digits as in db_bench;
 * the number is a permutation (4-round Feistel network) of the id, so loading in id order inserts
 * in random order, without repetition, and ids beyond the loaded ones fall between the loaded keys.
 * Permutation and zipf: tools/measure_draw.c; ranks are scattered over the ids as YCSB's "scrambled
 * zipfian" does.
 */
#include "bench/bench.h"

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
	pp_zipf_init(&s->zipf, s->keys, theta);
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
	uint64_t number = pp_permute_bits(s->half_bits, id);
	uint64_t high = digits8((uint32_t)(number / 100000000));
	uint64_t low = digits8((uint32_t)(number % 100000000));

	memcpy(key, &high, 8);
	memcpy(key + 8, &low, 8);
}

void value_prepare(uint8_t *value, size_t size, uint64_t seed)
{
	for (size_t i = 0; i < size; i++)
		value[i] = (uint8_t)(pp_random(&seed) >> 56);
}

void value_make(uint8_t *value, size_t size, uint64_t id, uint64_t generation)
{
	uint64_t word = id | generation << ID_BITS, end = pp_mix64(word);

	memcpy(value, &word, 8);
	memcpy(value + size - 8, &end, 8);
}
