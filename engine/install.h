/*
 * install.h - puts an undecided version on top of a key: what single writes and batches have in common.
 */
#ifndef PP_ENGINE_INSTALL_H
#define PP_ENGINE_INSTALL_H

#include "engine/precond.h"
#include "engine/table.h"
#include "engine/version.h"

/* One key's write under way. */
struct pp_install {
	struct pp_thread *t;
	struct pp_write *w;
	struct pp_keybuf key;
	uint64_t hash;
	pp_ref block;                      /* separate version block, allocated once; 0 = none */
	uint64_t block_room;               /* value bytes that fit in it */
	char number[PP_NUMBER_MAX];        /* PP_W_ADD: text of the sum */
	struct pp_batch *batch;            /* NULL: a single write; else what decides the version, its reference, and where it is listed */
	pp_ref batch_ref;
	uint64_t listed;
	uint64_t timed;                    /* when the part of the write began that is under way; 0 = it is not timed */
	/* results */
	pp_ref cell, version;              /* installed: the version, undecided, on top of the cell */
};

void pp_install_init(struct pp_install *, struct pp_thread *, struct pp_write *);

/*
 * Installs the version of a->w; the caller is inside a read section, where the table is looked for too (engine/catalog.c). 0; -EAGAIN: the place changed, again (after a back-off);
 * PPDB_CONFLICT, EXISTS, NOTFOUND, TYPE: the key is not as the write wants it; PPDB_TABLE_UNKNOWN; PPDB_FULL (arena, or quota), OVERLOAD, CORRUPT, -ESTALE. On an error nothing is
 * installed. The slot's op_version names the version from before it can be found (pp_install_done).
 * Crash: noted; installed or not.
 */
int pp_install(struct pp_install *);

/* Gives back what was allocated and not used. */
void pp_install_end(struct pp_install *);

/* Are key and value of the sizes that they may have? */
int pp_write_sizes(const struct pp_write *);

/* Many deletes use up the memory that is kept for them before it comes back from them: that takes a round of the daemon. False: no use
 * waiting any longer. */
bool pp_await_memory(struct pp_thread *, uint64_t deadline_ns);

/* After the commit: takes out what the new version with this seq made superfluous below it; bounded. */
void pp_install_tidy(struct pp_thread *, pp_ref cell, uint64_t seq);

/* Right after the commit, still inside the section: the usage of a named table. */
static inline void pp_install_count(struct pp_thread *t, const struct pp_write *w)
{
	if (__builtin_expect(w->key.table, 0) && w->key.table < PP_TABLE_IDS)
		pp_table_count(t, w->key.table, w->more_bytes, w->more_keys);
}

/* The operation's version is decided: the reaper need not settle it. */
void pp_install_done(struct pp_thread *);

#endif
