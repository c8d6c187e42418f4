/*
 * read.h - what point reads, cursors and writers share: from a key to its cell, from a cell to what a reader sees.
 */
#ifndef PP_ENGINE_READ_H
#define PP_ENGINE_READ_H

#include "engine/version.h"

/* The key cell of `k`, 0 when there is none. Inside a read section. */
pp_ref pp_cell_find(struct pp_thread *, uint64_t hash, const struct pp_key *k);

/* Fills *out from the version visible at `snapshot`; PPDB_NOTFOUND for none, a tombstone or an expired value. */
int pp_hit_fill(struct pp_thread *, pp_ref cell, uint64_t snapshot, struct pp_hit *out);

static inline void pp_hit_set(struct pp_hit *out, const struct pp_cell *cell, struct pp_version *v, uint64_t state)
{
	out->key = cell->key;
	out->key_size = cell->key_size;
	out->table = be32toh(cell->table_be);
	out->value = pp_version_value(v);
	out->size = v->size;
	out->version = pp_version_seq(v);
	out->expires_ms = pp_version_expires(v);
	out->tag = pp_state_epoch(state);
}

/* True if its time to live is over, for this thread: now, or when its snapshot began. */
bool pp_expired(const struct pp_thread *, const struct pp_version *);

#endif
