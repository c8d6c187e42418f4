/*
 * move.h - a key cell is replaced by a copy of itself elsewhere, while everybody reads and writes.
 */
#ifndef PP_ENGINE_MOVE_H
#define PP_ENGINE_MOVE_H

#include "engine/key.h"
#include "shm/alloc.h"

/* True if the cell may be moved now, *head = its head: one version, committed, not a tombstone, and small enough to be inline. */
bool pp_cell_movable(struct pp_thread *, struct pp_cell *, uint64_t *head);

/* A PRIVATE copy of the cell with the version of `head` (MOVING or not) inline. 0 or PPDB_FULL. */
int pp_cell_copy(struct pp_thread *, const struct pp_cell *, uint64_t head, pp_ref *copy);

/* Completes the move of a MOVING cell: copies it and puts the copy into its place, unless somebody else did. 0 or PPDB_FULL. Writers call it
 * for a cell that is in their way. Crash: the cell stays MOVING, or the notes name what was replaced. */
int pp_cell_move(struct pp_thread *, pp_ref cell);

/* For readers: the head word that counts for a MOVING cell's key now, without MOVING; *cell = the cell that stands in the leaf. 0 = none. */
uint64_t pp_moving_head(struct pp_thread *, struct pp_cell **cell);

/* Block of the version of a MOVING cell that has one of its own, else 0: it goes with the cell. */
pp_ref pp_moved_version(struct pp_thread *, pp_ref cell);

/* Retires a cell that was taken out of its leaf, and if it was MOVING its version. */
void pp_moved_retire(struct pp_thread *, pp_ref cell, uint64_t gen);

#endif
