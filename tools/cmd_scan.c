/*
 * cmd_scan.c - `ppdb scan`: records in key order as text. Reads the newest values as it goes (a LATEST view); the view is
 * refreshed now and then, so that a slow reader of the pipe pins little memory. For `ppdb dump` it reads one snapshot.
 */
#include "tools/cmd.h"
#include "tools/text_escape.h"
#include "tools/text_json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define REFRESH_RECORDS 1000u
#define REFRESH_BYTES (1u << 20)

static void print_record(const struct pp_cmd *c, const struct pp_cmd_range *s, const ppdb_item *item)
{
	struct pp_json j = {.out = stdout};

	if (c->json) {
		pp_json_open(&j, NULL, '{');
		pp_json_bytes(&j, "key", item->key.data, item->key.size);
		if (!s->keys)
			pp_json_bytes(&j, "value", item->value.data, item->value.size);
		if (s->expires && item->expires_ms)
			pp_json_u64(&j, "expires_ms", item->expires_ms);
		pp_json_close(&j, '}');
		return;
	}
	pp_text_print(stdout, item->key.data, item->key.size);
	if (!s->keys) {
		putc_unlocked('\t', stdout);
		pp_text_print(stdout, item->value.data, item->value.size);
	}
	if (s->expires && item->expires_ms)
		printf("\t@%" PRIu64, item->expires_ms);
	else if (s->expires)
		fputs("\t@never", stdout);
	putc_unlocked('\n', stdout);
}

static void print_count(const struct pp_cmd *c, uint64_t n)
{
	struct pp_json j = {.out = stdout};

	if (!c->json) {
		printf("%" PRIu64 "\n", n);
		return;
	}
	pp_json_open(&j, NULL, '{');
	pp_json_u64(&j, "count", n);
	pp_json_close(&j, '}');
}

static int scan_view(const struct pp_cmd *c, const struct pp_cmd_range *s, ppdb_view *view, ppdb_iter *iter, uint64_t *count)
{
	ppdb_item item;
	uint64_t n = 0, bytes = 0, expiring = 0;
	int rc = s->reverse ? ppdb_iter_last(iter, &item) : ppdb_iter_first(iter, &item);

	while (!rc && !ferror(stdout)) {
		if (!s->count)
			print_record(c, s, &item);
		n++;
		expiring += item.expires_ms != 0;
		bytes += item.value.size;
		if (s->limit && n == s->limit)
			break;
		if (!s->dump && (n % REFRESH_RECORDS == 0 || bytes >= REFRESH_BYTES)) {
			bytes = 0;
			rc = ppdb_view_refresh(view);
		}
		if (!rc)
			rc = s->reverse ? ppdb_iter_prev(iter, &item) : ppdb_iter_next(iter, &item);
	}
	*count = n;
	if (s->dump && expiring && !s->expires)
		pp_cmd_note(c, "%" PRIu64 " of the records expire; dump --expires also says when", expiring);
	return rc == PPDB_NOTFOUND ? 0 : rc;
}

static int scan(const struct pp_cmd *c, const struct pp_cmd_range *s, ppdb *db)
{
	ppdb_view *view = NULL;
	ppdb_iter *iter = NULL;
	ppdb_table table;
	uint64_t count = 0;
	int rc = pp_cmd_table(c, db, &table);

	if (rc)
		return rc;
	rc = ppdb_view_begin(db, s->dump ? PPDB_VIEW_FRESH : PPDB_VIEW_LATEST, &view);
	if (!rc)
		rc = ppdb_iter_open(view, table, &s->range, &iter);
	if (!rc)
		rc = scan_view(c, s, view, iter, &count);
	ppdb_iter_close(iter);
	ppdb_view_end(view);
	if (rc)
		return pp_cmd_fail(c, rc, count ? "stopped in the middle" : NULL);
	if (s->count)
		print_count(c, count);
	return PP_EXIT_OK;
}

int pp_cmd_scan_store(const struct pp_cmd *c, const struct pp_cmd_range *s)
{
	static char buffer[1 << 16];
	ppdb *db;
	int rc = pp_cmd_attach(c, PPDB_RDONLY, &db);

	if (rc)
		return rc;
	setvbuf(stdout, buffer, _IOFBF, sizeof(buffer));
	rc = scan(c, s, db);
	ppdb_detach(db);
	return rc;
}

int pp_cmd_bound(const struct pp_cmd *c, const char *text, ppdb_slice *to)
{
	/* Options point into argv, which is ours to change. */
	return text ? pp_cmd_bytes(c, (char *)(uintptr_t)text, to) : 0;
}

int pp_cmd_scan(struct pp_cmd *c, int argc, char **argv)
{
	const char *prefix = NULL, *from = NULL, *to = NULL;
	struct pp_cmd_range s = {.range = {.size = sizeof(s.range)}};
	uint64_t limit = UINT64_MAX;
	const struct pp_opt opts[] = {
		{"prefix", PP_OPT_TEXT, &prefix},
		{"from", PP_OPT_TEXT, &from},
		{"to", PP_OPT_TEXT, &to},
		{"reverse", PP_OPT_FLAG, &s.reverse},
		{"limit", PP_OPT_U64, &limit},
		{"keys", PP_OPT_FLAG, &s.keys},
		{"count", PP_OPT_FLAG, &s.count},
		{"expires", PP_OPT_FLAG, &s.expires},
		{"table", PP_OPT_TEXT, &c->table},
		{NULL, 0, NULL},
	};

	if (pp_cmd_options(c, argc, argv, opts, 0, 0) < 0)
		return PP_EXIT_USAGE;
	if (pp_cmd_bound(c, prefix, &s.range.prefix) || pp_cmd_bound(c, from, &s.range.lower) || pp_cmd_bound(c, to, &s.range.upper))
		return PP_EXIT_USAGE;
	/* An empty bound is no bound for the library, but nothing is below the empty key. */
	if (limit == 0 || (to && !s.range.upper.size)) {
		if (s.count)
			print_count(c, 0);
		return PP_EXIT_OK;
	}
	s.limit = limit == UINT64_MAX ? 0 : limit;
	return pp_cmd_scan_store(c, &s);
}
