/*
 * read.h - what point reads, cursors and writers share: from a key to its cell, from a cell to what a reader sees.
 */
#ifndef PP_ENGINE_READ_H
#define PP_ENGINE_READ_H

#include "engine/key.h"

struct pp_version;

/* The key cell of `k`, 0 when there is none. Inside a read section. */
pp_ref pp_cell_find(struct pp_thread *, uint64_t hash, const struct pp_key *k);

/* Fills *out from the version visible at `snapshot`; PPDB_NOTFOUND for none, a tombstone or an expired value. */
int pp_hit_fill(struct pp_thread *, pp_ref cell, uint64_t snapshot, struct pp_hit *out);

/* True if its time to live is over, for this thread: now, or when its snapshot began. */
bool pp_expired(const struct pp_thread *, const struct pp_version *);

#endif
