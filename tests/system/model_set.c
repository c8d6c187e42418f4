/*
 * model_set.c - the universe of keys and what a store must answer about each (see model_set.h).
 */
#include "tests/system/model_set.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_MAX 4096

int model_compare(const void *a, size_t na, const void *b, size_t nb)
{
	int c = memcmp(a, b, na < nb ? na : nb);

	return c ? c : na < nb ? -1 : na > nb;
}

/* ---- keys ------------------------------------------------------------------------------------------------------- */

static void random_bytes(uint8_t *to, uint32_t size, struct test_random *r)
{
	for (uint32_t i = 0; i < size; i++)
		to[i] = (uint8_t)test_next(r);
}

static uint32_t make_short(uint8_t *to, struct test_random *r)
{
	static const uint8_t few[] = {0x00, 0x01, 0x20, 'a', 'b', 0x7f, 0x80, 0xfe, 0xff};
	uint32_t size = 1 + (uint32_t)test_below(r, 4);

	for (uint32_t i = 0; i < size; i++)
		to[i] = few[test_below(r, sizeof(few))];
	return size;
}

/* Runs of one byte, so that each key is a prefix of longer ones; sometimes with another byte at the end. */
static uint32_t make_nested(uint8_t *to, struct test_random *r)
{
	static const uint8_t runs[] = {0x00, 'n', 0xff};
	uint32_t size = 1 + (uint32_t)test_below(r, 60);

	memset(to, runs[test_below(r, sizeof(runs))], size);
	if (test_chance(r, 30))
		to[size - 1] = (uint8_t)test_next(r);
	return size;
}

/* A prefix that all keys with the same length of prefix share, then a few bytes. */
static uint32_t make_shared(uint8_t *to, struct test_random *r)
{
	static const uint32_t lengths[] = {7, 8, 9, 15, 16, 17, 24, 63, 64, 65, 255, 256, 1000, 4087, 4088, 4094, 4095};
	uint32_t which = (uint32_t)test_below(r, sizeof(lengths) / sizeof(lengths[0])), prefix = lengths[which], rest;

	/* the very long ones are few: they cost the model time, not the store doubt */
	if (prefix > 300 && !test_chance(r, 20))
		prefix = 24;
	rest = 1 + (uint32_t)test_below(r, 10);
	if (prefix + rest > KEY_MAX)
		rest = KEY_MAX - prefix;
	memset(to, 'P', prefix);
	to[0] = (uint8_t)('A' + which % 3);
	for (uint32_t i = 0; i < rest; i++)
		to[prefix + i] = test_chance(r, 50) ? 'P' : (uint8_t)test_next(r);
	return prefix + rest;
}

static uint32_t make_key(uint8_t *to, enum model_shape shape, struct test_random *r)
{
	uint32_t size;

	switch (shape) {
	case MODEL_COUNTED:
		return (uint32_t)snprintf((char *)to, 32, "%016u", (unsigned)test_below(r, 1000000));
	case MODEL_SHORT:
		return make_short(to, r);
	case MODEL_NESTED:
		return make_nested(to, r);
	case MODEL_SHARED:
		return make_shared(to, r);
	case MODEL_RANDOM:
		size = 1 + (uint32_t)test_below(r, 64);
		random_bytes(to, size, r);
		return size;
	default:
		return make_key(to, MODEL_COUNTED + (enum model_shape)test_below(r, MODEL_SHAPES - MODEL_COUNTED), r);
	}
}

static int compare_keys(const void *a, const void *b)
{
	const struct model_key *x = a, *y = b;

	return model_compare(x->bytes, x->size, y->bytes, y->size);
}

void model_make(struct model *m, enum model_shape shape, uint32_t n, struct test_random *r)
{
	static uint8_t buf[KEY_MAX + 32];
	uint32_t kept = 0;

	memset(m, 0, sizeof(*m));
	m->keys = calloc(n, sizeof(*m->keys));
	test_require(m->keys, "out of memory");
	for (uint32_t i = 0; i < n; i++) {
		uint32_t size = make_key(buf, shape, r);
		uint8_t *copy = malloc(size);

		test_require(copy, "out of memory");
		memcpy(copy, buf, size);
		m->keys[i] = (struct model_key){copy, size};
	}
	qsort(m->keys, n, sizeof(*m->keys), compare_keys);
	for (uint32_t i = 0; i < n; i++) {
		if (kept && !compare_keys(&m->keys[kept - 1], &m->keys[i]))
			free((void *)(uintptr_t)m->keys[i].bytes);
		else
			m->keys[kept++] = m->keys[i];
	}
	m->n = kept;
	m->now = calloc(kept, sizeof(*m->now));
	test_require(m->now, "out of memory");
	for (uint32_t i = 0; i < kept; i++)
		m->now[i].exact = true; /* version 0: never written */
}

void model_free(struct model *m)
{
	for (uint32_t i = 0; i < m->n; i++)
		free((void *)(uintptr_t)m->keys[i].bytes);
	free(m->keys);
	free(m->now);
	memset(m, 0, sizeof(*m));
}

uint32_t model_lower(const struct model *m, const void *key, size_t size)
{
	uint32_t low = 0, high = m->n;

	while (low < high) {
		uint32_t mid = (low + high) / 2;

		if (model_compare(m->keys[mid].bytes, m->keys[mid].size, key, size) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

uint32_t model_next(const struct model_state *now, uint32_t n, uint32_t i)
{
	while (i < n && now[i].kind == MODEL_ABSENT)
		i++;
	return i;
}

uint32_t model_prev(const struct model_state *now, uint32_t n, uint32_t i)
{
	if (i == n && n)
		i = n - 1;
	for (; i < n; i--) /* ends by wrapping */
		if (now[i].kind != MODEL_ABSENT)
			return i;
	return n;
}

const char *model_text(const struct model *m, uint32_t i)
{
	static char text[160];
	int at = 0;

	if (i >= m->n)
		return "(none)";
	for (uint32_t k = 0; k < m->keys[i].size && k < 24; k++)
		at += snprintf(text + at, sizeof(text) - (size_t)at, "%02x", m->keys[i].bytes[k]);
	snprintf(text + at, sizeof(text) - (size_t)at, "... (%u bytes, number %u)", m->keys[i].size, i);
	return text;
}

/* ---- values ----------------------------------------------------------------------------------------------------- */

uint32_t model_size(struct test_random *r)
{
	uint64_t dice = test_below(r, 1000);

	if (dice < 40)
		return 0;
	if (dice < 650)
		return 1 + (uint32_t)test_below(r, 40);
	if (dice < 950)
		return 1 + (uint32_t)test_below(r, 300);
	if (dice < 997)
		return 1 + (uint32_t)test_below(r, 5000);
	return 1 + (uint32_t)test_below(r, 200000);
}

static uint64_t word_of(uint64_t seed, uint32_t at)
{
	uint64_t x = (seed + at) * 0x9e3779b97f4a7c15u;

	/* no digit, sign or space in front: never a number */
	return at ? x ^ x >> 29 : x | 0x80;
}

void model_fill(uint8_t *to, uint64_t seed, uint32_t size)
{
	for (uint32_t at = 0; at < size; at += 8) {
		uint64_t w = word_of(seed, at);

		memcpy(to + at, &w, size - at < 8 ? size - at : 8);
	}
}

const char *model_value_wrong(const struct model_state *s, const void *data, size_t size)
{
	const uint8_t *bytes = data;
	static char text[96];
	char number[32];

	if (s->kind == MODEL_NUMBER) {
		int n = snprintf(number, sizeof(number), "%lld", (long long)s->value);

		return size == (size_t)n && !memcmp(data, number, size) ? NULL : "the number is not what was added";
	}
	if (size != s->size) {
		snprintf(text, sizeof(text), "the value has %zu bytes, not %u", size, s->size);
		return text;
	}
	for (uint32_t at = 0; at < size; at += 8) {
		uint64_t w = word_of(s->value, at);

		if (memcmp(bytes + at, &w, size - at < 8 ? size - at : 8)) {
			snprintf(text, sizeof(text), "the value (%zu bytes) is not what was written, from byte %u on", size, at);
			return text;
		}
	}
	return NULL;
}

const char *model_item_wrong(const struct model *m, struct model_state *s, uint32_t i, const ppdb_item *item)
{
	static char text[160];

	if (model_compare(item->key.data, item->key.size, m->keys[i].bytes, m->keys[i].size))
		return "the item has another key";
	if (item->version < s->version || (s->exact && item->version != s->version)) {
		snprintf(text, sizeof(text), "version %llu instead of %s%llu", (unsigned long long)item->version,
			s->exact ? "" : "at least ", (unsigned long long)s->version);
		return text;
	}
	if (!item->version || !item->seq)
		return "version or seq is 0";
	if (item->expires_ms < s->expires_low || item->expires_ms > s->expires_high)
		return "another time to live";
	s->version = item->version;
	s->exact = true;
	return model_value_wrong(s, item->value.data, item->value.size);
}
