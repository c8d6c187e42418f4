/*
 * index_internal.h - what index.c and merge.c share.
 */
#ifndef PP_ENGINE_INDEX_INTERNAL_H
#define PP_ENGINE_INDEX_INTERNAL_H

#include "engine/index.h"
#include "shm/slot.h"

/* PP_LINK of a live leaf cell. */
uint64_t pp_leaf_link(const struct pp_thread *, pp_ref leaf);

/* Notes a block with its present generation. */
void pp_note_block(struct pp_thread *, enum pp_note_kind kind, pp_ref ref, uint64_t where);

/* The same for a block that is about to be unlinked: helps it to LIVE first, for its maker may have died or stopped between linking it and
 * that; the reaper of whoever unlinks retires LIVE blocks only (tests/model/alloc.pml, M_HELP_LATE). */
void pp_note_unlink(struct pp_thread *, enum pp_note_kind kind, pp_ref ref, uint64_t where);

/* Shortest key that parts the two: greater than a, at most z. Upper levels keep the whole key, so that a block's first entry is its low. */
struct pp_span pp_index_separator(const struct pp_cell *a, const struct pp_cell *z, unsigned level);

/* A leaf cell (PRIVATE) whose block is `block`; linked by the CAS that links what refers to it. */
int pp_leaf_new(struct pp_thread *, unsigned list, unsigned level, pp_ref block, pp_ref *leaf);

/* Names a leaf, whose low key is `low`, in the level above it. A hint: without memory nothing happens. */
void pp_index_enter(struct pp_thread *, unsigned list, unsigned level, uint64_t leaf_link, struct pp_span low);

/* Notes both blocks and swaps the leaf's block for `block` (PRIVATE): on true it is LIVE and the old one retired. */
bool pp_leaf_swap(struct pp_thread *, struct pp_place *, pp_ref block);

/* Takes the index cell for key `low` out of `level` if it names `link`, the leaf that has gone. */
void pp_index_drop(struct pp_thread *, unsigned list, unsigned level, const struct pp_ikey *low, uint64_t link);

/*
 * A sealed leaf `right` (content `b`) was met. Readers: 0 = it may be trusted (its left neighbour links to it), else the leaf to go on
 * from. Writers: completes the merge and returns the leaf to go on from.
 */
pp_ref pp_merge_meet(struct pp_thread *, unsigned list, unsigned level, pp_ref right, struct pp_leafblock *b, bool write);

#endif
