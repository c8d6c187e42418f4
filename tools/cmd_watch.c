/*
 * cmd_watch.c - `ppdb watch`: follows the change feed and prints each change as a line when it is durable.
 *
 * A group of changes with one position is printed whole before stdout is flushed, and acknowledged after that: with a bookmark every change
 * is printed at least once, however often the command is ended and started again.
 */
#include "tools/cmd.h"
#include "tools/text_escape.h"
#include "tools/text_json.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct watch {
	const struct pp_cmd *c;
	ppdb_feed *feed;
	bool acknowledges, once;
	uint64_t limit, count;
};

static void print_json(const ppdb_change *change)
{
	struct pp_json j = {.out = stdout};

	pp_json_open(&j, NULL, '{');
	pp_json_u64(&j, "seq", change->seq);
	pp_json_text(&j, "op", change->flags & PPDB_CHANGE_DELETED ? "del" : "put");
	pp_json_u64(&j, "table", change->table);
	pp_json_bytes(&j, "key", change->key.data, change->key.size);
	if (!(change->flags & PPDB_CHANGE_DELETED))
		pp_json_bytes(&j, "value", change->value.data, change->value.size);
	pp_json_u64(&j, "version", change->version);
	if (change->expires_ms)
		pp_json_u64(&j, "expires_ms", change->expires_ms);
	pp_json_bool(&j, "batch", change->flags & PPDB_CHANGE_BATCH);
	pp_json_bool(&j, "more", change->flags & PPDB_CHANGE_MORE);
	pp_json_close(&j, '}');
}

static void print_change(const struct watch *w, const ppdb_change *change)
{
	if (w->c->json) {
		print_json(change);
		return;
	}
	printf("%" PRIu64 "\t%s\t", change->seq, change->flags & PPDB_CHANGE_DELETED ? "del" : "put");
	pp_text_print(stdout, change->key.data, change->key.size);
	if (!(change->flags & PPDB_CHANGE_DELETED)) {
		putc_unlocked('\t', stdout);
		pp_text_print(stdout, change->value.data, change->value.size);
	}
	putc_unlocked('\n', stdout);
}

/* What was printed is out, and then the bookmark moves. */
static int settle(struct watch *w, uint64_t since)
{
	if (w->count == since)
		return 0;
	if (fflush(stdout))
		return 0; /* the caller sees ferror */
	return w->acknowledges ? ppdb_feed_ack(w->feed) : 0;
}

static int follow(struct watch *w)
{
	struct pollfd p = {.fd = ppdb_feed_fd(w->feed), .events = POLLIN};
	uint64_t settled = 0;
	ppdb_change change;
	int rc = 0;

	while (!rc && !ferror(stdout) && w->count < w->limit) {
		rc = ppdb_feed_next(w->feed, &change);
		if (!rc) {
			print_change(w, &change);
			w->count++;
			continue;
		}
		if (rc != PPDB_NOTFOUND)
			break;
		rc = settle(w, settled);
		settled = w->count;
		if (w->once)
			break;
		if (!rc)
			poll(&p, 1, -1);
	}
	if (!rc)
		rc = settle(w, settled);
	return rc;
}

int pp_cmd_watch(struct pp_cmd *c, int argc, char **argv)
{
	static char buffer[1 << 16];
	const char *prefix = NULL, *bookmark = NULL;
	uint64_t from = UINT64_MAX, limit = UINT64_MAX;
	struct watch w = {.c = c};
	ppdb_feed_opts o = {.size = sizeof(o)};
	const struct pp_opt opts[] = {
		{"prefix", PP_OPT_TEXT, &prefix},
		{"from", PP_OPT_U64, &from},
		{"bookmark", PP_OPT_TEXT, &bookmark},
		{"limit", PP_OPT_U64, &limit},
		{"once", PP_OPT_FLAG, &w.once},
		{"table", PP_OPT_TEXT, &c->table},
		{NULL, 0, NULL},
	};
	ppdb *db;
	int rc;

	if (pp_cmd_options(c, argc, argv, opts, 0, 0) < 0)
		return PP_EXIT_USAGE;
	if (prefix && pp_cmd_bytes(c, (char *)(uintptr_t)prefix, &o.prefix))
		return PP_EXIT_USAGE;
	if (from != UINT64_MAX) {
		o.flags |= PPDB_FEED_SEQ;
		o.seq = from;
	}
	o.bookmark = bookmark;
	rc = pp_cmd_attach(c, bookmark ? 0 : PPDB_RDONLY, &db);
	if (rc)
		return rc;
	if (c->table) {
		o.flags |= PPDB_FEED_TABLE;
		rc = pp_cmd_table(c, db, &o.table);
		if (rc) {
			ppdb_detach(db);
			return rc;
		}
	}
	w.acknowledges = bookmark;
	w.limit = limit;
	setvbuf(stdout, buffer, _IOFBF, sizeof(buffer));
	rc = ppdb_feed_open(db, &o, &w.feed);
	if (!rc)
		rc = follow(&w);
	rc = rc ? pp_cmd_fail(c, rc, w.count ? "stopped in the middle" : NULL) : PP_EXIT_OK;
	ppdb_feed_close(w.feed);
	ppdb_detach(db);
	return rc;
}
