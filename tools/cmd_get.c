/*
 * cmd_get.c - `ppdb get`: prints a value and a newline; --raw only the value's bytes; --json also version, expiry and position.
 */
#include "tools/cmd.h"
#include "tools/text_json.h"

#include <stdio.h>

static void print_json(const ppdb_item *item)
{
	struct pp_json j = {.out = stdout};

	pp_json_open(&j, NULL, '{');
	pp_json_bytes(&j, "key", item->key.data, item->key.size);
	pp_json_bytes(&j, "value", item->value.data, item->value.size);
	pp_json_u64(&j, "version", item->version);
	pp_json_u64(&j, "expires_ms", item->expires_ms);
	pp_json_u64(&j, "seq", item->seq);
	pp_json_close(&j, '}');
}

static int print_value(const struct pp_cmd *c, ppdb *db, ppdb_slice key, bool raw)
{
	ppdb_item item;
	ppdb_table table;
	ppdb_view *view;
	int rc = pp_cmd_table(c, db, &table);

	if (rc)
		return rc;
	rc = ppdb_view_begin(db, PPDB_VIEW_LATEST, &view);
	if (rc)
		return pp_cmd_fail(c, rc, NULL);
	rc = ppdb_view_get(view, table, key, &item);
	if (!rc && c->json) {
		print_json(&item);
	} else if (!rc) {
		fwrite(item.value.data, 1, item.value.size, stdout);
		if (!raw)
			fputc('\n', stdout);
	}
	if (!rc)
		rc = ppdb_view_check(view);
	ppdb_view_end(view);
	return rc ? pp_cmd_fail(c, rc, NULL) : PP_EXIT_OK;
}

int pp_cmd_get(struct pp_cmd *c, int argc, char **argv)
{
	bool raw = false;
	const struct pp_opt opts[] = {{"raw", PP_OPT_FLAG, &raw}, {"table", PP_OPT_TEXT, &c->table}, {NULL, 0, NULL}};
	ppdb_slice key;
	ppdb *db;
	int rc;

	if (pp_cmd_options(c, argc, argv, opts, 1, 1) < 0 || pp_cmd_bytes(c, argv[1], &key))
		return PP_EXIT_USAGE;
	rc = pp_cmd_attach(c, PPDB_RDONLY, &db);
	if (rc)
		return rc;
	rc = print_value(c, db, key, raw);
	ppdb_detach(db);
	return rc;
}
