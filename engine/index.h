/*
 * index.h - the block skiplist: ordered lists of leaf cells, one list of blocks a level, all levels alike.
 */
#ifndef PP_ENGINE_INDEX_H
#define PP_ENGINE_INDEX_H

#include "engine/block.h"

/* Where a key is, or would be: valid inside the read section in which it was found. */
struct pp_place {
	pp_ref leaf;
	uint64_t head;                     /* word of the leaf cell; state OPEN, or SEALED for readers that may trust it */
	struct pp_leafblock *block;
	unsigned at;                       /* first entry >= key */
	bool equal;
};

static inline struct pp_engine *pp_engine(const struct pp_thread *t)
{
	return t->region->engine;
}

/* List a key belongs to: 0 unless strategy hash. */
unsigned pp_list_of(const struct pp_thread *, uint64_t hash);

/* Shard that counts and places a key: its list (hash), its range (range), or 0. */
unsigned pp_shard_of(const struct pp_thread *, const struct pp_ikey *k, uint64_t hash);

/* Finds the place of `k` in a level. `write`: a merge that stands in the way is completed, so that head is OPEN. */
void pp_index_find(struct pp_thread *, unsigned list, unsigned level, const struct pp_ikey *k, bool write, struct pp_place *);

/* The leaf with low < k <= high: where the keys before k are. */
void pp_index_find_before(struct pp_thread *, unsigned list, unsigned level, const struct pp_ikey *k, struct pp_place *);

/* The leftmost leaf (k = smallest key of all). */
void pp_index_first(struct pp_thread *, unsigned list, struct pp_place *);

/*
 * Puts the cell `ref` with key `k` at `place` (replacing a DEAD cell of the same key when place->equal), splitting when full. 0, -EAGAIN: the leaf changed,
 * find the place again; PPDB_FULL / -ENOSPC. On 0 the cell, and `with` (a block that hangs on it, or 0), are LIVE, a replaced cell is retired.
 * Crash: linked or not; the notes tell the reaper. An index entry lost above costs readers a step to the right.
 */
int pp_index_link(struct pp_thread *, unsigned list, unsigned level, struct pp_place *, const struct pp_ikey *k, pp_ref ref,
		  pp_ref with);

/* Takes the entry at `place` (equal) out of its leaf. 0, -EAGAIN, or out of memory. Does not retire the cell; on 0
 * the notes stay, so that its death before that is noticed: the caller clears them. */
int pp_index_unlink(struct pp_thread *, struct pp_place *);

/* Keeper: merges the right neighbour of place->leaf into it when both are thin, and then the leaves above that became thin by it. 1 = merged,
 * 0 = not. Completes a merge left behind. The place is used up. */
int pp_index_merge(struct pp_thread *, unsigned list, unsigned level, struct pp_place *);

/* Creates the leftmost leaf of level 0 of each list (new region). */
int pp_index_format(struct pp_thread *);

/* True if the noted block/leaf/cell is reachable (for the reaper). */
enum pp_note_kind {
	PP_NOTE_BLOCK = 1,                 /* where = leaf cell link */
	PP_NOTE_LEAF,                      /* where = list | level << 16 */
	PP_NOTE_TOWER,                     /* where = list | level << 16 */
	PP_NOTE_CELL,                      /* where = list | level << 16 */
	PP_NOTE_VERSION,                   /* where = key cell link */
	PP_NOTE_HINTS,                     /* a hint table; where = 0 */
	PP_NOTE_GATHER,                    /* the block whose cells are copied; where = link of the block that names the copies */
};
#define PP_NOTE_WHAT(kind, gen) ((uint64_t)(kind) << 56 | ((gen) & PP_GEN_MASK))
#define pp_note_kind(w) ((enum pp_note_kind)((w) >> 56))
#define pp_note_gen(w) ((w) & PP_GEN_MASK)
bool pp_index_reachable(struct pp_thread *, uint64_t what, pp_ref ref, uint64_t where);

#endif
