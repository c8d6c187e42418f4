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
