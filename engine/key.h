/*
 * key.h - key bytes as the index sees them: table (big-endian) followed by the user's key, compared with memcmp.
 *
 * A slice is the 8 bytes behind a block's common prefix as a big-endian number, zero-padded, so that one integer comparison
 * orders most keys. Equal slices decide nothing: the whole keys are compared then.
 */
#ifndef PP_ENGINE_KEY_H
#define PP_ENGINE_KEY_H

#include "engine/layout.h"
#include "engine/store.h"

#include <endian.h>
#include <string.h>

#define PP_IKEY_MAX (PP_KEY_MAX + 4)

/* A key in index form. `bytes` points at contiguous table + key bytes, in `buffer` or in a cell. */
struct pp_ikey {
	const uint8_t *bytes;
	uint32_t size;
};

struct pp_keybuf {
	struct pp_ikey key;
	uint8_t buffer[PP_IKEY_MAX + 8];
};

static inline void pp_keybuf_set(struct pp_keybuf *b, uint32_t table, const void *data, uint32_t size)
{
	uint32_t be = htobe32(table);

	memcpy(b->buffer, &be, 4);
	memcpy(b->buffer + 4, data, size);
	b->key.bytes = b->buffer;
	b->key.size = size + 4;
}

static inline void pp_keybuf_copy(struct pp_keybuf *b, const uint8_t *bytes, uint32_t size)
{
	if (size > PP_IKEY_MAX + 1) /* one more: the smallest key above the longest. Else of a block that is another's by now (shm/guard.h) */
		size = PP_IKEY_MAX + 1;
	memcpy(b->buffer, bytes, size);
	b->key.bytes = b->buffer;
	b->key.size = size;
}

static inline uint64_t pp_word_at(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* As memcmp: word by word without a call, for keys are short. The last word may overlap the one before it. */
static inline int pp_bytes_order(const uint8_t *a, const uint8_t *b, uint32_t size)
{
	if (size < 8)
		return memcmp(a, b, size);
	for (uint32_t i = 0;;) {
		uint64_t x = be64toh(pp_word_at(a + i)), y = be64toh(pp_word_at(b + i));

		if (x != y)
			return x < y ? -1 : 1;
		i += 8;
		if (i >= size)
			return 0;
		if (i > size - 8)
			i = size - 8;
	}
}

static inline int pp_bytes_compare(const uint8_t *a, uint32_t a_size, const uint8_t *b, uint32_t b_size)
{
	int c = pp_bytes_order(a, b, a_size < b_size ? a_size : b_size);

	return c ? c : (a_size > b_size) - (a_size < b_size);
}

static inline int pp_cell_compare(const struct pp_cell *c, const struct pp_ikey *k)
{
	return pp_bytes_compare(pp_cell_key(c), pp_cell_key_size(c), k->bytes, k->size);
}

/* Equality of two byte strings of the same size: short ones by words, without a call. */
static inline bool pp_bytes_equal(const uint8_t *a, const uint8_t *b, uint32_t size)
{
	if (size - 8 > 8)
		return !memcmp(a, b, size);
	return pp_word_at(a) == pp_word_at(b) && pp_word_at(a + size - 8) == pp_word_at(b + size - 8);
}

static inline bool pp_cell_equals(const struct pp_cell *c, const struct pp_key *k)
{
	return c->key_size == k->size && c->table_be == htobe32(k->table) && pp_bytes_equal(c->key, k->data, k->size);
}

static inline uint64_t pp_slice(const uint8_t *bytes, uint32_t size, uint32_t skip)
{
	uint64_t v = 0;

	if (skip >= size)
		return 0;
	if (size - skip >= 8) {
		memcpy(&v, bytes + skip, 8);
		return be64toh(v);
	}
	memcpy(&v, bytes + skip, size - skip);
	return be64toh(v);
}

static inline uint32_t pp_common(const uint8_t *a, uint32_t a_size, const uint8_t *b, uint32_t b_size)
{
	uint32_t n = a_size < b_size ? a_size : b_size, i = 0;

	while (i < n && a[i] == b[i])
		i++;
	return i;
}

/* Hash of table and key: hints, stripes, floors. Reads the user's bytes where they are: from a copy made just now the processor
 * could not load them before the copy left its store buffer, behind everything that is still under way. */
uint64_t pp_key_hash(const struct pp_key *k);

static inline uint64_t pp_ikey_hash(const struct pp_ikey *k)
{
	uint32_t table;

	memcpy(&table, k->bytes, sizeof(table));
	return pp_key_hash(&(struct pp_key){be32toh(table), k->size - 4, k->bytes + 4});
}

static inline uint64_t pp_cell_hash(const struct pp_cell *c)
{
	return pp_key_hash(&(struct pp_key){be32toh(c->table_be), c->key_size, c->key});
}

#endif
