/*
 * cmd_touch.c - `ppdb touch`: a new time to live for a key, from now; its value stays. Exit 1 when there is no such key.
 */
#include "tools/cmd.h"
#include "tools/text_number.h"

#include <stdio.h>
#include <string.h>

int pp_cmd_touch(struct pp_cmd *c, int argc, char **argv)
{
	bool async = false;
	const struct pp_opt opts[] = {{"async", PP_OPT_FLAG, &async}, {"table", PP_OPT_TEXT, &c->table}, {NULL, 0, NULL}};
	ppdb_wopts o = {.size = sizeof(o)};
	uint64_t ttl_ms = PPDB_TTL_NEVER;
	ppdb_slice key;
	ppdb_table table;
	ppdb *db;
	int rc;

	if (pp_cmd_options(c, argc, argv, opts, 2, 2) < 0 || pp_cmd_bytes(c, argv[1], &key))
		return PP_EXIT_USAGE;
	if (strcmp(argv[2], "never") && (!pp_text_u64(argv[2], &ttl_ms) || !ttl_ms))
		return pp_cmd_usage(c, "MS is a number of milliseconds, or 'never', not '%s'", argv[2]);
	rc = pp_cmd_attach(c, 0, &db);
	if (rc)
		return rc;
	o.flags = async ? PPDB_ASYNC : 0;
	rc = pp_cmd_table(c, db, &table);
	if (!rc) {
		rc = ppdb_touch(db, table, key, ttl_ms, &o, NULL);
		if (rc)
			rc = pp_cmd_fail(c, rc, NULL);
	}
	ppdb_detach(db);
	return rc;
}
