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

/* Keeper: growing in steps. begin: 1 = a larger table is in force and has to be refilled, 0 = not needed, or an error; refill: true =
 * more to do; then end. */
struct pp_hint_walk {
	unsigned list;
	struct pp_keybuf at;
};
int pp_hint_grow_begin(struct pp_thread *, uint64_t keys, struct pp_hint_walk *);
bool pp_hint_refill(struct pp_thread *, struct pp_hint_walk *, unsigned leaves);
void pp_hint_grow_end(struct pp_thread *);

#endif
