/*
 * cmd_status.c - `ppdb status`: what the daemon says about itself, as JSON or as lines. Exit 3 when none runs.
 */
#include "tools/cmd.h"
#include "tools/paths.h"
#include "tools/text_json.h"

#include <stdio.h>
#include <stdlib.h>

static int print_member(void *ctx, const char *key, const char *value)
{
	(void)ctx;
	printf("%-12s %s\n", key, value);
	return 0;
}

/* Without a daemon: where it would be, so that scripts need not know the rules. */
static void print_stopped(const struct pp_cmd *c)
{
	struct pp_paths paths;
	struct pp_json j = {.out = stdout};

	if (pp_paths_fill(c->store, &paths))
		return;
	pp_json_open(&j, NULL, '{');
	pp_json_text(&j, "name", c->store);
	pp_json_u64(&j, "pid", 0);
	pp_json_text(&j, "state", "stopped");
	pp_json_text(&j, "data_dir", paths.data);
	pp_json_text(&j, "arena", paths.arena);
	pp_json_u64(&j, "incarnation", 0);
	pp_json_u64(&j, "clients", 0);
	pp_json_close(&j, '}');
}

int pp_cmd_status(struct pp_cmd *c, int argc, char **argv)
{
	char *json = NULL;
	int rc;

	if (pp_cmd_options(c, argc, argv, NULL, 0, 0) < 0)
		return PP_EXIT_USAGE;
	rc = pp_cmd_status_text(c, 5000, &json);
	if (rc) {
		if (c->json && rc == PPDB_DAEMON_GONE)
			print_stopped(c);
		return pp_cmd_fail(c, rc, NULL);
	}
	if (c->json)
		printf("%s\n", json);
	else if (pp_json_each(json, print_member, NULL))
		pp_cmd_note(c, "the answer of ppdbd is no JSON: %s", json);
	free(json);
	return PP_EXIT_OK;
}
