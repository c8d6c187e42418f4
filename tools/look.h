/*
 * look.h - a store as somebody who only watches sees it: through its daemon, or, when that is dead or stopped, in what it left in memory.
 *
 * No messages: who asks decides what it means that nothing is there. Nothing of the region is changed, whoever works on it.
 */
#ifndef PP_TOOLS_LOOK_H
#define PP_TOOLS_LOOK_H

#include "client/internal.h" /* first: ppdb.h then leaves the error codes to shm/errors.h */
#include "engine/bookmark.h"

#include <limits.h>

struct pp_look {
	bool answered;                 /* a daemon is there and not stopped */
	bool starting;                 /* it answered, but nobody may attach yet */
	struct pp_region *region;      /* NULL: there is nothing to look at, or no permission */
	ppdb *db;                      /* read-only; NULL: the region is mapped from its file */
	struct pp_region own;
	char arena[PATH_MAX];          /* its file, "" = unknown */
};

/* `store` as ppdb_attach takes it. `arena`: the file to look at when no daemon answers, NULL = where the store's name says. `as`: name
 * among the clients. Blocks for answer_ms when the daemon is stopped. pp_look_close afterwards, whatever was found. */
void pp_look_open(struct pp_look *, const char *store, const char *arena, uint32_t answer_ms, const char *as);
void pp_look_close(struct pp_look *);

/* Calls `each` for every bookmark of the change feed in order of names, until it returns something else than 0; that is then the result. */
int pp_look_bookmarks(ppdb *, int (*each)(void *ctx, const char *name, const struct pp_bookmark *), void *ctx);

#endif
