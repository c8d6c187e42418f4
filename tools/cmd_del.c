/*
 * cmd_del.c - `ppdb del`: removes one key (exit 1 when there is no such key), or all keys of a range, and says how many.
 */
#include "tools/cmd.h"
#include "tools/text_json.h"

#include <inttypes.h>
#include <stdio.h>

static int del_key(const struct pp_cmd *c, ppdb *db, ppdb_table table, char *arg, const ppdb_wopts *o)
{
	ppdb_slice key;
	int rc;

	if (pp_cmd_bytes(c, arg, &key))
		return PP_EXIT_USAGE;
	rc = ppdb_del(db, table, key, o, NULL);
	return rc ? pp_cmd_fail(c, rc, NULL) : PP_EXIT_OK;
}

static int del_range(const struct pp_cmd *c, ppdb *db, ppdb_table table, const ppdb_iter_opts *range, const ppdb_wopts *o)
{
	struct pp_json j = {.out = stdout};
	uint64_t count;
	int rc = ppdb_del_range(db, table, range, o, &count, NULL);

	if (rc) {
		rc = pp_cmd_fail(c, rc, NULL);
		pp_cmd_note(c, "%" PRIu64 " keys were removed; the same command again removes the rest", count);
		return rc;
	}
	if (c->json) {
		pp_json_open(&j, NULL, '{');
		pp_json_u64(&j, "count", count);
		pp_json_close(&j, '}');
	} else {
		printf("%" PRIu64 "\n", count);
	}
	return PP_EXIT_OK;
}

int pp_cmd_del(struct pp_cmd *c, int argc, char **argv)
{
	const char *prefix = NULL, *from = NULL, *to = NULL;
	bool async = false, ranged;
	const struct pp_opt opts[] = {
		{"async", PP_OPT_FLAG, &async},
		{"prefix", PP_OPT_TEXT, &prefix},
		{"from", PP_OPT_TEXT, &from},
		{"to", PP_OPT_TEXT, &to},
		{"table", PP_OPT_TEXT, &c->table},
		{NULL, 0, NULL},
	};
	ppdb_iter_opts range = {.size = sizeof(range)};
	ppdb_wopts o = {.size = sizeof(o)};
	int given = pp_cmd_options(c, argc, argv, opts, 0, 1), rc;
	ppdb_table table;
	ppdb *db;

	if (given < 0)
		return PP_EXIT_USAGE;
	ranged = prefix || from || to;
	if ((given == 1) == ranged)
		return pp_cmd_usage(c, "name one key, or a range with --prefix, --from and --to");
	if (pp_cmd_bound(c, prefix, &range.prefix) || pp_cmd_bound(c, from, &range.lower) || pp_cmd_bound(c, to, &range.upper))
		return PP_EXIT_USAGE;
	/* An empty bound is no bound for the library, but nothing is below the empty key; and nobody means all keys by an empty prefix. */
	if (ranged && !range.prefix.size && !range.upper.size && !range.lower.size)
		return pp_cmd_usage(c, "an empty range option would remove every key; drop the table or delete key by key instead");
	if (to && !range.upper.size)
		return pp_cmd_usage(c, "--to is empty: there is no key before the empty key");
	rc = pp_cmd_attach(c, 0, &db);
	if (rc)
		return rc;
	o.flags = async ? PPDB_ASYNC : 0;
	rc = pp_cmd_table(c, db, &table);
	if (!rc)
		rc = ranged ? del_range(c, db, table, &range, &o) : del_key(c, db, table, argv[1], &o);
	ppdb_detach(db);
	return rc;
}
