/*
 * bookmark.c - named positions in the change feed.
 *
 * A bookmark is a key in a table that no client can name; moving it is a write like any other, so it is durable and survives restarts,
 * warm and cold, with the store. Checkpoints ask for the least one before they let the log's segments go.
 *
 * Dies inside: nothing is held but a read section.
 */
#include "engine/bookmark.h"

#include "shm/errors.h"
#include "shm/reclaim.h"

#include <string.h>

static bool take(const struct pp_hit *hit, struct pp_bookmark *out)
{
	if (hit->size != sizeof(*out))
		return false;
	memcpy(out, hit->value, sizeof(*out));
	return true;
}

int pp_bookmark_read(struct pp_thread *t, const char *name, struct pp_bookmark *out)
{
	struct pp_key key = {.table = PP_TABLE_BOOKMARKS, .size = (uint32_t)strlen(name), .data = name};
	struct pp_hit hit;
	int rc;

	pp_read_enter(t);
	rc = pp_read(t, &key, PP_LATEST, &hit);
	if (!rc && !take(&hit, out))
		rc = pp_detail(PPDB_CORRUPT, "the bookmark '%s' is damaged", name);
	pp_read_leave(t);
	return rc;
}

int pp_bookmark_least(struct pp_thread *t, uint64_t *epoch)
{
	struct pp_cursor_opts opts = {.table = PP_TABLE_BOOKMARKS, .snapshot = PP_LATEST};
	struct pp_cursor *cursor;
	struct pp_bookmark b;
	struct pp_hit hit;
	int rc;

	*epoch = UINT64_MAX;
	pp_read_enter(t);
	rc = pp_cursor_open(t, &opts, &cursor);
	if (!rc) {
		for (rc = pp_cursor_first(cursor, &hit); !rc; rc = pp_cursor_next(cursor, &hit))
			if (take(&hit, &b) && b.epoch < *epoch)
				*epoch = b.epoch;
		pp_cursor_close(cursor);
	}
	pp_read_leave(t);
	return rc == PPDB_NOTFOUND ? 0 : rc;
}
