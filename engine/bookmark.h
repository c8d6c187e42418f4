/*
 * bookmark.h - named positions in the change feed, kept in a table of the store itself: as durable as everything else, and in its log.
 * While one is there, the log's segments behind it stay, up to a cap.
 */
#ifndef PP_ENGINE_BOOKMARK_H
#define PP_ENGINE_BOOKMARK_H

#include "engine/store.h"

#define PP_TABLE_HIDDEN PP_TABLE_IDS            /* ids from here on are the store's own */
#define PP_TABLE_BOOKMARKS UINT32_C(0xfffffffd)
#define PP_BOOKMARK_NAME_MAX 255

/* Key: the name. */
struct pp_bookmark {
	uint64_t epoch;                    /* all changes up to it are done with, */
	uint64_t skip;                     /* and so many of the next epoch that has any */
};

_Static_assert(sizeof(struct pp_bookmark) == 16, "bookmark");

/* PPDB_NOTFOUND: there is none of this name. */
int pp_bookmark_read(struct pp_thread *, const char *name, struct pp_bookmark *out);
/* The least epoch that a bookmark still needs the changes after; UINT64_MAX: there are no bookmarks. */
int pp_bookmark_least(struct pp_thread *, uint64_t *epoch);

#endif
