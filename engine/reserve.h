/*
 * reserve.h - values that their writer fills in place: space first, a write later, no copy.
 */
#ifndef PP_ENGINE_RESERVE_H
#define PP_ENGINE_RESERVE_H

#include "engine/version.h"

/*
 * Space for a value of `size` bytes: *block, and *value where it goes. It belongs to the thread's slot until pp_write with it as `reserved` (and the
 * same size) has used it up, or pp_reserve_cancel. PPDB_VALSIZE, PPDB_FULL, PPDB_READONLY, -EBUSY (PP_RESERVED of this slot already).
 * Crash: the reaper frees it.
 */
int pp_reserve(struct pp_thread *, uint64_t size, pp_ref *block, void **value);
void pp_reserve_cancel(struct pp_thread *, pp_ref block);
/* After a write that has used it up. */
void pp_reserve_done(struct pp_thread *, pp_ref block);

/* The version in a reserved block, before it is linked (engine/install.c). */
void pp_reserve_fill(struct pp_version *, uint64_t seq, const struct pp_write *);

#endif
