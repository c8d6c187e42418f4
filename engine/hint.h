/*
 * hint.h - the hash hints: key hash -> key cell, lossy, so that a point get needs no descent.
 *
 * A table is lines of eight entries {16 tag | 8 generation | 40 reference}; only writers enter (readers never write shared data). A key
 * has two lines (Azar et al. 1994, "Balanced allocations"): the second takes what finds the first full, so that hardly a hint is lost. An
 * entry can outlive the cell it names: it counts only when the cell's block is LIVE, a key cell, of that generation, and holds
 * the whole key, checked after the era stood still in the reader's published interval.
 */
#ifndef PP_ENGINE_HINT_H
#define PP_ENGINE_HINT_H

#include "engine/key.h"
#include "shm/alloc.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define PP_HINT_WAYS 8
#define PP_HINT_GEN UINT64_C(0xff)

static inline pp_a64 *pp_hint_line(struct pp_hints *h, uint32_t part)
{
	return h->entry + ((uint64_t)part * h->lines >> 32) * PP_HINT_WAYS;
}

/*
 * Bit i = way i has the hash's tag. Without a branch a way: which one it is cannot be predicted, and a branch on it would wait for the
 * line before anything behind this get could begin, so that gets one after the other would never overlap their misses.
 */
static inline unsigned pp_hint_ways(pp_a64 *line, uint64_t hash)
{
	unsigned ways = 0;

#if defined(__SSE2__) && !defined(__SANITIZE_THREAD__)
	/* two entries a register; what it takes from each half is loaded again, as one word, by who uses it */
	const __m128i *pair = (const __m128i *)line, tag = _mm_set1_epi64x((long long)(hash >> 48));

	for (unsigned i = 0; i < PP_HINT_WAYS / 2; i++) {
		__m128i same = _mm_cmpeq_epi32(_mm_srli_epi64(_mm_load_si128(pair + i), 48), tag);

		ways |= (unsigned)_mm_movemask_pd(_mm_castsi128_pd(_mm_slli_epi64(same, 32))) << 2 * i;
	}
#else
	for (unsigned i = 0; i < PP_HINT_WAYS; i++)
		ways |= (unsigned)((pp_load_rlx(&line[i]) ^ hash) >> 48 == 0) << i; /* recheck: loaded again by who uses it */
#endif
	return ways;
}

/* The cell of key `k`, protected by the caller's read section; 0 = unknown, look in the index. It may be DEAD. */
pp_ref pp_hint_find(struct pp_thread *, uint64_t hash, const struct pp_key *k);

/* Enters a LIVE cell. */
void pp_hint_enter(struct pp_thread *, uint64_t hash, pp_ref cell);

/* Brings the entry line near. */
void pp_hint_prefetch(struct pp_thread *, uint64_t hash);
/* Brings the cells near that could be the key's. */
void pp_hint_prefetch_cell(struct pp_thread *, uint64_t hash);

/* Creates the first table (new region). */
int pp_hint_format(struct pp_thread *, uint64_t lines);

/* Keeper: another size, in steps. begin: 1 = a table for `keys` keys is in force and has to be refilled, 0 = not needed, or an error;
 * refill: true = more to do; then end. */
#define PP_HINT_LINES_MIN 4096
struct pp_hint_walk {
	unsigned list;
	struct pp_keybuf at;
};
int pp_hint_resize_begin(struct pp_thread *, uint64_t keys, struct pp_hint_walk *);
bool pp_hint_refill(struct pp_thread *, struct pp_hint_walk *, unsigned leaves);
void pp_hint_resize_end(struct pp_thread *);

/* True if the table at `ref` is in force, or still read beside the one in force (for the reaper). */
bool pp_hint_reachable(struct pp_thread *, pp_ref ref);

#endif
