/*
 * cmd_bookmark.c - `ppdb bookmark`: the bookmarks of the change feed, whether the log still reaches back to each, and removing one.
 */
#include "tools/look.h"
#include "tools/cmd.h"
#include "tools/text_escape.h"
#include "tools/text_json.h"

#include <inttypes.h>

struct found {
	char name[PP_BOOKMARK_NAME_MAX + 1];
	struct pp_bookmark at;
	struct found *next;
};

/* The last one stands last: `list` is where the next one belongs. */
static int add(void *list, const char *name, const struct pp_bookmark *at)
{
	struct found ***end = list, *f = calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	snprintf(f->name, sizeof(f->name), "%s", name);
	f->at = *at;
	**end = f;
	*end = &f->next;
	return 0;
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
	struct found *all = NULL, *f, **end = &all;
	int rc = pp_look_bookmarks(db, add, &end);

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
