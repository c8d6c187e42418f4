/*
 * cmd_put.c - `ppdb put`: stores one value, durable when it returns unless --async.
 */
#include "tools/cmd.h"
#include "tools/text_json.h"

#include <stdio.h>
#include <stdlib.h>

static int store(const struct pp_cmd *c, ppdb_slice key, ppdb_slice value, const ppdb_wopts *o)
{
	struct pp_json j = {.out = stdout};
	ppdb_seq ticket = 0;
	ppdb_table table;
	ppdb *db;
	int rc = pp_cmd_attach(c, 0, &db), code;

	if (rc)
		return rc;
	code = pp_cmd_table(c, db, &table);
	if (code) {
		ppdb_detach(db);
		return code;
	}
	rc = ppdb_put(db, table, key, value, o, &ticket);
	if (rc)
		rc = pp_cmd_fail(c, rc, NULL);
	if (rc && ticket)
		pp_cmd_note(c, "the value is stored and visible, but not known to be durable");
	if (!rc && c->json) {
		pp_json_open(&j, NULL, '{');
		pp_json_u64(&j, "seq", ticket);
		pp_json_bool(&j, "durable", !(o->flags & PPDB_ASYNC));
		pp_json_close(&j, '}');
	}
	ppdb_detach(db);
	return rc;
}

int pp_cmd_put(struct pp_cmd *c, int argc, char **argv)
{
	bool async = false, if_absent = false, if_present = false;
	ppdb_wopts o = {.size = sizeof(o)};
	const struct pp_opt opts[] = {
		{"async", PP_OPT_FLAG, &async},
		{"if-absent", PP_OPT_FLAG, &if_absent},
		{"if-present", PP_OPT_FLAG, &if_present},
		{"ttl", PP_OPT_U64, &o.ttl_ms},
		{"table", PP_OPT_TEXT, &c->table},
		{NULL, 0, NULL},
	};
	ppdb_slice key, value;
	char *buffer;
	int rc;

	if (pp_cmd_options(c, argc, argv, opts, 2, 2) < 0 || pp_cmd_bytes(c, argv[1], &key))
		return PP_EXIT_USAGE;
	o.flags = (async ? PPDB_ASYNC : 0u) | (if_absent ? PPDB_IFABSENT : 0u) | (if_present ? PPDB_IFPRESENT : 0u);
	rc = pp_cmd_value(c, argv[2], &value, &buffer);
	if (!rc)
		rc = store(c, key, value, &o);
	free(buffer);
	return rc;
}
