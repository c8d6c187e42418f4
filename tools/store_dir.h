/*
 * store_dir.h - the data directory as a whole: its lock and its identity.
 */
#ifndef PP_TOOLS_STORE_DIR_H
#define PP_TOOLS_STORE_DIR_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Takes the exclusive lock on the file `path` (made if missing) and writes this pid into it; *fd keeps the lock. Tries for
 * wait_ms, because writes in flight of a killed daemon keep its lock for a moment. -EBUSY with a detail that names the holder.
 */
int pp_store_lock(const char *path, unsigned wait_ms, int *fd);

/*
 * Reads DIR/STORE. create: makes it, with a random id, when the directory holds no store yet. Errors with detail: -ENOENT no store
 * here, PPDB_CORRUPT damaged, PPDB_LAYOUT another format, -errno.
 */
int pp_store_open(const char *dir, bool create, uint64_t *id);

/* Marks DIR as a copy that is not whole (durably), or takes the mark away: pp_store_open refuses it meanwhile. */
int pp_store_unfinished(const char *dir, bool yes);
/* The copy is the same store. */
int pp_store_copy_identity(const char *from, const char *to);

#endif
