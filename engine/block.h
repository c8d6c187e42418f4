/*
 * block.h - the immutable sorted block a leaf cell refers to: search in it, and build a changed copy.
 */
#ifndef PP_ENGINE_BLOCK_H
#define PP_ENGINE_BLOCK_H

#include "engine/sound.h"
#include "engine/key.h"
#include "shm/alloc.h"

static inline uint64_t *pp_block_slices(struct pp_leafblock *b)
{
	return b->slices;
}

/* A reference has 40 bits: the low 32 of all entries, then the high 8. */
#define PP_ENTRY_BYTES (8 + 4 + 1)

static inline uint32_t *pp_block_refs_low(const struct pp_leafblock *b)
{
	return (uint32_t *)((uint64_t *)(uintptr_t)b->slices + b->count);
}

static inline uint8_t *pp_block_refs_high(const struct pp_leafblock *b)
{
	return (uint8_t *)(pp_block_refs_low(b) + b->count);
}

static inline pp_ref pp_block_ref(const struct pp_leafblock *b, unsigned i)
{
	return (pp_ref)pp_block_refs_high(b)[i] << 32 | pp_block_refs_low(b)[i];
}

static inline const uint8_t *pp_block_prefix(const struct pp_leafblock *b)
{
	return pp_block_refs_high(b) + b->count;
}

static inline const uint8_t *pp_block_low(const struct pp_leafblock *b)
{
	return pp_block_prefix(b) + b->prefix_size;
}

static inline const uint8_t *pp_block_high(const struct pp_leafblock *b)
{
	return pp_block_low(b) + b->low_size;
}

/* Above level 0: what the index cell of entry i says. */
static inline uint64_t *pp_block_links(const struct pp_leafblock *b)
{
	return (uint64_t *)(((uintptr_t)pp_block_high(b) + b->high_size + 7) & ~(uintptr_t)7);
}

/* k >= high: the key lives further to the right. */
static inline bool pp_block_beyond(const struct pp_leafblock *b, const struct pp_ikey *k)
{
	return b->high_size && pp_bytes_compare(k->bytes, k->size, pp_block_high(b), b->high_size) >= 0;
}

static inline bool pp_block_below(const struct pp_leafblock *b, const struct pp_ikey *k)
{
	return b->low_size && pp_bytes_compare(k->bytes, k->size, pp_block_low(b), b->low_size) < 0;
}

/* Does what is right of `left` reach further to the right? Else damage has closed a circle. */
static inline bool pp_block_rises(const struct pp_leafblock *left, const struct pp_leafblock *right)
{
	return !right->high_size ||
	       pp_bytes_compare(pp_block_high(left), left->high_size, pp_block_high(right), right->high_size) < 0;
}

/* Index of the first entry >= k; *equal = it is k. The caller's read section protects the cells. */
unsigned pp_block_find(struct pp_thread *, const struct pp_leafblock *, const struct pp_ikey *k, bool *equal);

/* Entries being edited, in private memory: a block taken apart. Slices are relative to `prefix`. */
struct pp_entries {
	unsigned count;
	uint32_t prefix_size;
	bool upper;                        /* of a level above 0: with links */
	const uint8_t *prefix;             /* in a protected block or cell */
	uint64_t slice[PP_ENTRIES_MAX + 1];
	uint64_t ref[PP_ENTRIES_MAX + 1];
	uint64_t link[PP_ENTRIES_MAX + 1];
};

struct pp_span {
	const uint8_t *bytes;
	uint32_t size;
};

void pp_entries_load(struct pp_entries *, const struct pp_leafblock *);
/* Puts an entry for the cell with key `k` at index `at`; `link` = the cell's head above level 0. */
void pp_entries_put(struct pp_entries *, unsigned at, const struct pp_ikey *k, uint64_t ref, uint64_t link);
void pp_entries_drop(struct pp_entries *, unsigned at);
/* Shortens the prefix to `size` bytes, if it is longer. */
void pp_entries_shorten(struct pp_entries *, uint32_t size);
/* Appends all entries of a block whose keys are greater. */
void pp_entries_append(struct pp_entries *, const struct pp_leafblock *);

/*
 * Builds a block (state PRIVATE) of entries [from, from + count) with the given bounds and right link. `tighten` looks at the cells to find a
 * longer common prefix (after a split). PPDB_FULL, -ENOSPC.
 */
int pp_block_build(struct pp_thread *, const struct pp_entries *, unsigned from, unsigned count, struct pp_span low,
		   struct pp_span high, uint64_t right, bool tighten, pp_ref *out);

static inline struct pp_span pp_block_low_span(const struct pp_leafblock *b)
{
	return (struct pp_span){pp_block_low(b), b->low_size};
}

static inline struct pp_span pp_block_high_span(const struct pp_leafblock *b)
{
	return (struct pp_span){pp_block_high(b), b->high_size};
}

#endif
