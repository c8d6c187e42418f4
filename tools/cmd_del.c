/*
 * cmd_del.c - `ppdb del`: removes one key. Exit 1 when there is no such key.
 */
#include "tools/cmd.h"

#include <stdio.h>

int pp_cmd_del(struct pp_cmd *c, int argc, char **argv)
{
	bool async = false;
	const struct pp_opt opts[] = {{"async", PP_OPT_FLAG, &async}, {NULL, 0, NULL}};
	ppdb_wopts o = {.size = sizeof(o)};
	ppdb_slice key;
	ppdb *db;
	int rc;

	if (pp_cmd_options(c, argc, argv, opts, 1, 1) < 0 || pp_cmd_bytes(c, argv[1], &key))
		return PP_EXIT_USAGE;
	rc = pp_cmd_attach(c, 0, &db);
	if (rc)
		return rc;
	o.flags = async ? PPDB_ASYNC : 0;
	rc = ppdb_del(db, PPDB_TABLE_DEFAULT, key, &o, NULL);
	if (rc)
		rc = pp_cmd_fail(c, rc, NULL);
	ppdb_detach(db);
	return rc;
}
