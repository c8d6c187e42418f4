/*
 * look.c - finding a store to look at (see look.h).
 *
 * The daemon is asked for its status first, since that has a time limit: one that is stopped would keep who attaches waiting. The file of the
 * region can be read by its owner and root. A process that dies here leaves nothing but, for some milliseconds, a client record.
 */
#include "tools/look.h"
#include "tools/paths.h"
#include "tools/text_json.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void ask(struct pp_look *l, const char *store, uint32_t answer_ms)
{
	char *json = NULL, state[32] = "";

	l->answered = !pp_client_request(store, PP_MSG_STATUS, answer_ms, &json);
	if (l->answered && pp_json_find(json, "state", state, sizeof(state)))
		l->starting = !strcmp(state, "starting");
	if (l->answered)
		pp_json_find(json, "arena", l->arena, sizeof(l->arena));
	free(json);
}

static void attach(struct pp_look *l, const char *store, const char *as)
{
	ppdb_attach_opts o = {.size = sizeof(o), .flags = PPDB_RDONLY, .client_name = as};

	if (!ppdb_attach(store, &o, &l->db))
		l->region = pp_client_region(l->db);
}

static void map_file(struct pp_look *l)
{
	int fd = open(l->arena, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	if (!pp_region_map(fd, true, pp_layout_hash_engine(), &l->own))
		l->region = &l->own;
	close(fd);
}

void pp_look_open(struct pp_look *l, const char *store, const char *arena, uint32_t answer_ms, const char *as)
{
	struct pp_paths paths;

	memset(l, 0, sizeof(*l));
	ask(l, store, answer_ms);
	if (l->answered && !l->starting)
		attach(l, store, as);
	if (!l->arena[0] && arena)
		snprintf(l->arena, sizeof(l->arena), "%s", arena);
	if (!l->arena[0] && !strchr(store, '/') && !pp_paths_fill(store, &paths))
		memcpy(l->arena, paths.arena, sizeof(l->arena));
	if (!l->region && l->arena[0])
		map_file(l);
}

void pp_look_close(struct pp_look *l)
{
	if (l->db)
		ppdb_detach(l->db);
	else if (l->region)
		pp_region_unmap(&l->own);
	l->db = NULL;
	l->region = NULL;
}

static int give(const struct pp_hit *hit, int (*each)(void *ctx, const char *name, const struct pp_bookmark *), void *ctx)
{
	char name[PP_BOOKMARK_NAME_MAX + 1];
	struct pp_bookmark at;

	if (hit->size != sizeof(at) || hit->key_size > PP_BOOKMARK_NAME_MAX)
		return 0;
	memcpy(name, hit->key, hit->key_size);
	name[hit->key_size] = '\0';
	memcpy(&at, hit->value, sizeof(at));
	return each(ctx, name, &at);
}

int pp_look_bookmarks(ppdb *db, int (*each)(void *ctx, const char *name, const struct pp_bookmark *), void *ctx)
{
	struct pp_cursor_opts opts = {.table = PP_TABLE_BOOKMARKS, .snapshot = PP_LATEST};
	struct pp_cursor *cursor;
	struct pp_thread *t;
	struct pp_hit hit;
	int rc = pp_client_thread(db, &t);

	if (rc)
		return rc;
	pp_read_enter(t);
	rc = pp_cursor_open(t, &opts, &cursor);
	if (!rc) {
		for (rc = pp_cursor_first(cursor, &hit); !rc; rc = pp_cursor_next(cursor, &hit)) {
			rc = give(&hit, each, ctx);
			if (rc)
				break;
		}
		pp_cursor_close(cursor);
	}
	pp_read_leave(t);
	return rc == PPDB_NOTFOUND ? 0 : rc;
}
