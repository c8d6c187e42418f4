/*
 * cmd_live.h - the region of a store for tools that look at it: through the daemon, or, when none answers, its file, read-only.
 */
#ifndef PP_TOOLS_CMD_LIVE_H
#define PP_TOOLS_CMD_LIVE_H

#include "client/internal.h" /* first: ppdb.h then leaves the error codes to shm/errors.h */
#include "tools/cmd.h"

struct pp_live {
	struct pp_region *region;
	ppdb *db;                      /* NULL: no daemon answered */
	struct pp_region own;
};

/* `arena`: the file to look at when no daemon answers; NULL = where the store's name says. 0, or the exit code after a message. Nothing of the region is changed, whoever works on it. */
int pp_live_open(const struct pp_cmd *, const char *arena, struct pp_live *);
void pp_live_close(struct pp_live *);

#endif
