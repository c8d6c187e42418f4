/*
 * cmd_incr.c - `ppdb incr`: adds to a counter (decimal text) and prints the sum.
 */
#include "tools/cmd.h"
#include "tools/text_json.h"
#include "tools/text_number.h"

#include <inttypes.h>
#include <stdio.h>

static void print_sum(const struct pp_cmd *c, int64_t sum, ppdb_seq ticket)
{
	struct pp_json j = {.out = stdout};

	if (!c->json) {
		printf("%" PRId64 "\n", sum);
		return;
	}
	pp_json_open(&j, NULL, '{');
	pp_json_i64(&j, "value", sum);
	pp_json_u64(&j, "seq", ticket);
	pp_json_close(&j, '}');
}

int pp_cmd_incr(struct pp_cmd *c, int argc, char **argv)
{
	bool async = false;
	const char *initial_text = "0";
	ppdb_wopts o = {.size = sizeof(o)};
	const struct pp_opt opts[] = {
		{"async", PP_OPT_FLAG, &async},
		{"initial", PP_OPT_TEXT, &initial_text},
		{"table", PP_OPT_TEXT, &c->table},
		{NULL, 0, NULL},
	};
	int64_t delta = 1, initial, sum = 0;
	ppdb_seq ticket = 0;
	ppdb_slice key;
	ppdb_table table;
	ppdb *db;
	int rc, n = pp_cmd_options(c, argc, argv, opts, 1, 2);

	if (n < 0 || pp_cmd_bytes(c, argv[1], &key))
		return PP_EXIT_USAGE;
	if (n == 2 && !pp_text_i64(argv[2], &delta))
		return pp_cmd_usage(c, "N is a number of 64 bits, not '%s'", argv[2]);
	if (!pp_text_i64(initial_text, &initial))
		return pp_cmd_usage(c, "--initial needs a number of 64 bits, not '%s'", initial_text);
	rc = pp_cmd_attach(c, 0, &db);
	if (rc)
		return rc;
	o.flags = async ? PPDB_ASYNC : 0;
	n = pp_cmd_table(c, db, &table);
	if (n) {
		ppdb_detach(db);
		return n;
	}
	rc = ppdb_add_i64(db, table, key, delta, initial, &o, &sum, &ticket);
	if (rc)
		rc = pp_cmd_fail(c, rc, NULL);
	else
		print_sum(c, sum, ticket);
	ppdb_detach(db);
	return rc;
}
