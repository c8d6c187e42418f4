/*
 * cmd_dump.c - `ppdb dump`: all records in key order, in the format that `ppdb load` reads.
 */
#include "tools/cmd.h"

#include <stdio.h>

int pp_cmd_dump(struct pp_cmd *c, int argc, char **argv)
{
	struct pp_cmd_range s = {.range = {.size = sizeof(s.range)}};

	if (pp_cmd_options(c, argc, argv, NULL, 0, 0) < 0)
		return PP_EXIT_USAGE;
	return pp_cmd_scan_store(c, &s);
}
