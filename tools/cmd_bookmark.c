/*
 * cmd_bookmark.c - `ppdb bookmark`: the bookmarks of the change feed, whether the log still reaches back to each, and removing one.
 */
#include "client/internal.h" /* first: ppdb.h then leaves the error codes to shm/errors.h */
#include "engine/bookmark.h"
#include "tools/cmd.h"
#include "tools/text_escape.h"
#include "tools/text_json.h"

#include <inttypes.h>

struct found {
	char name[PP_BOOKMARK_NAME_MAX + 1];
	struct pp_bookmark at;
	struct found *next;
};

static int add(struct found **list, const struct pp_hit *hit)
{
	struct found *f;

	if (hit->size != sizeof(f->at) || hit->key_size > PP_BOOKMARK_NAME_MAX)
		return 0;
	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	memcpy(f->name, hit->key, hit->key_size);
	memcpy(&f->at, hit->value, sizeof(f->at));
	f->next = *list;
	*list = f;
	return 0;
}

/* All of them, the last name first: then they are pushed in order. */
static int collect(ppdb *db, struct found **list)
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
		for (rc = pp_cursor_last(cursor, &hit); !rc; rc = pp_cursor_prev(cursor, &hit)) {
			rc = add(list, &hit);
			if (rc)
				break;
		}
		pp_cursor_close(cursor);
	}
	pp_read_leave(t);
	return rc == PPDB_NOTFOUND ? 0 : rc;
}

/* Can a feed go on there? */
static const char *state_of(ppdb *db, const struct found *f)
{
	ppdb_feed_opts o = {.size = sizeof(o), .bookmark = f->name};
	ppdb_feed *feed = NULL;
	int rc = ppdb_feed_open(db, &o, &feed);

	ppdb_feed_close(feed);
	return !rc ? "held" : rc == PPDB_LOST ? "lost" : ppdb_errname(rc);
}

static void print(const struct pp_cmd *c, ppdb *db, const struct found *f)
{
	uint64_t reached = ppdb_reached(db, PPDB_DURABLE);
	uint64_t behind = reached > f->at.epoch ? reached - f->at.epoch : 0;
	const char *state = state_of(db, f);
	struct pp_json j = {.out = stdout};

	if (!c->json) {
		pp_text_print(stdout, f->name, strlen(f->name));
		printf("\t%" PRIu64 "\t%" PRIu64 " behind\t%s\n", f->at.epoch, behind, state);
		return;
	}
	pp_json_open(&j, NULL, '{');
	pp_json_bytes(&j, "name", f->name, strlen(f->name));
	pp_json_u64(&j, "seq", f->at.epoch);
	pp_json_u64(&j, "behind", behind);
	pp_json_text(&j, "state", state);
	pp_json_close(&j, '}');
}

static int list(const struct pp_cmd *c, ppdb *db)
{
	struct found *all = NULL, *f;
	int rc = collect(db, &all);

	while ((f = all)) {
		if (!rc)
			print(c, db, f);
		all = f->next;
		free(f);
	}
	return rc ? pp_cmd_fail(c, rc, NULL) : PP_EXIT_OK;
}

int pp_cmd_bookmark(struct pp_cmd *c, int argc, char **argv)
{
	const struct pp_opt opts[] = {{NULL, 0, NULL}};
	int n = pp_cmd_options(c, argc, argv, opts, 0, 2), rc;
	ppdb *db;

	if (n < 0)
		return PP_EXIT_USAGE;
	if (n == 2 ? strcmp(argv[1], "drop") : n == 1 && strcmp(argv[1], "list"))
		return pp_cmd_usage(c, "'list', or 'drop' and a name");
	rc = pp_cmd_attach(c, 0, &db);
	if (rc)
		return rc;
	if (n == 2) {
		rc = ppdb_feed_forget(db, argv[2]);
		rc = rc ? pp_cmd_fail(c, rc, argv[2]) : PP_EXIT_OK;
	} else {
		rc = list(c, db);
	}
	ppdb_detach(db);
	return rc;
}
