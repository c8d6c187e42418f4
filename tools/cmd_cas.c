/*
 * cmd_cas.c - `ppdb cas`: stores a value if the key has the given version, and prints the new one. Exit 1 on a conflict.
 */
#include "tools/cmd.h"
#include "tools/text_json.h"
#include "tools/text_number.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void print_version(const struct pp_cmd *c, uint64_t version, ppdb_seq ticket)
{
	struct pp_json j = {.out = stdout};

	if (!c->json) {
		printf("%" PRIu64 "\n", version);
		return;
	}
	pp_json_open(&j, NULL, '{');
	pp_json_u64(&j, "version", version);
	pp_json_u64(&j, "seq", ticket);
	pp_json_close(&j, '}');
}

static int compare_and_set(const struct pp_cmd *c, ppdb_slice key, uint64_t version, ppdb_slice value, const ppdb_wopts *o)
{
	uint64_t now = 0;
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
	rc = ppdb_cas(db, table, key, version, value, o, &now, &ticket);
	if (rc == PPDB_CONFLICT) {
		pp_cmd_note(c, now ? "the key has version %" PRIu64 ", not %" PRIu64 "; read it again and retry"
				   : "the key is absent (version %" PRIu64 "), not at version %" PRIu64,
			now, version);
		rc = PP_EXIT_NO;
	} else if (rc) {
		rc = pp_cmd_fail(c, rc, NULL);
	} else {
		print_version(c, now, ticket);
	}
	ppdb_detach(db);
	return rc;
}

int pp_cmd_cas(struct pp_cmd *c, int argc, char **argv)
{
	bool async = false;
	ppdb_wopts o = {.size = sizeof(o)};
	const struct pp_opt opts[] = {
		{"async", PP_OPT_FLAG, &async},
		{"ttl", PP_OPT_U64, &o.ttl_ms},
		{"table", PP_OPT_TEXT, &c->table},
		{NULL, 0, NULL},
	};
	ppdb_slice key, value;
	uint64_t version;
	char *buffer;
	int rc;

	if (pp_cmd_options(c, argc, argv, opts, 3, 3) < 0 || pp_cmd_bytes(c, argv[1], &key))
		return PP_EXIT_USAGE;
	if (!pp_text_u64(argv[2], &version))
		return pp_cmd_usage(c, "VERSION is a number (0: the key must be absent), not '%s'", argv[2]);
	o.flags = async ? PPDB_ASYNC : 0;
	rc = pp_cmd_value(c, argv[3], &value, &buffer);
	if (!rc)
		rc = compare_and_set(c, key, version, value, &o);
	free(buffer);
	return rc;
}
