/*
 * steps.h - what the writers of `make power` do: step n of writer w is a function of (seed, w, n) and of the steps before it, so the
 * writer in the guest and the judge on the host agree without talking.
 *
 * Each writer has POWER_KEYS keys of its own and overwrites or deletes one in each step. Before the step it reads a key of another
 * writer, and its value names the newest step of each writer that it has ever seen: the step depends on those. About half of the
 * steps wait until they are durable, and are then acknowledged to the host; the others are only visible.
 *
 * Value: "w n s0 s1 s2 s3 " and then letters up to the step's size, so that a value of another step or a damaged one is noticed.
 */
#ifndef TESTS_POWER_STEPS_H
#define TESTS_POWER_STEPS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define POWER_WRITERS 4
#define POWER_KEYS 64
#define POWER_DURABLE_EVERY 16         /* at the latest */
#define POWER_HEAD 160                 /* room for the numbers of a value */
#define POWER_VALUE_MAX (POWER_HEAD + (640u << 10))

struct power_model {
	uint64_t step[POWER_KEYS];     /* whose value is there, 0 = absent */
};

struct power_step {
	unsigned key;
	bool del, durable;
	unsigned how;                  /* it waits: by the write itself, by the ticket, by a sync of all before */
	uint32_t letters;
	unsigned other, other_key;     /* what is read before */
};

static inline uint64_t power_mix(uint64_t z)
{
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u; /* splitmix64 */
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static inline uint64_t power_hash(uint64_t seed, unsigned writer, uint64_t n)
{
	return power_mix(power_mix(seed * 0x9e3779b97f4a7c15u + writer + 1) + n * 0xd1342543de82ef95u);
}

/* Mostly small, some of several log units' length, few of hundreds of KiB. */
static inline uint32_t power_letters(uint64_t h)
{
	unsigned kind = h & 255;
	uint32_t limit = kind < 2 ? 640u << 10 : kind < 20 ? 24u << 10 : 200;

	return (uint32_t)((h >> 8) % limit);
}

static inline struct power_step power_step(uint64_t seed, unsigned writer, uint64_t n, const struct power_model *m)
{
	uint64_t h = power_hash(seed, writer, n), g = power_mix(h);
	struct power_step s = {.key = h % POWER_KEYS, .letters = power_letters(g), .other_key = (g >> 40) % POWER_KEYS};

	s.other = (writer + 1 + (g >> 50) % (POWER_WRITERS - 1)) % POWER_WRITERS;
	s.del = m->step[s.key] && (h >> 32) % 4 == 0;
	s.durable = (h >> 40) % 2 || n % POWER_DURABLE_EVERY == 0;
	s.how = (h >> 44) % 3;
	return s;
}

static inline void power_apply(struct power_model *m, const struct power_step *s, uint64_t n)
{
	m->step[s->key] = s->del ? 0 : n;
}

static inline int power_key(char *out, size_t cap, unsigned writer, unsigned key)
{
	return snprintf(out, cap, "w%u/%02u", writer, key);
}


/* Returns the value's bytes; out has room for POWER_VALUE_MAX. */
static inline size_t power_value(char *out, uint64_t seed, unsigned writer, uint64_t n, uint32_t letters,
	const uint64_t seen[POWER_WRITERS])
{
	size_t size = (size_t)snprintf(out, POWER_HEAD, "%u %llu %llu %llu %llu %llu ", writer, (unsigned long long)n,
		(unsigned long long)seen[0], (unsigned long long)seen[1], (unsigned long long)seen[2], (unsigned long long)seen[3]);
	uint64_t first = power_hash(seed, writer, n) / 7;

	for (uint32_t i = 0; i < letters; i++)
		out[size++] = (char)('a' + (first + i + i / 4096) % 26);
	return size;
}

#endif
