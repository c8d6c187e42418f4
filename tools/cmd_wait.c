/*
 * cmd_wait.c - `ppdb wait`: returns when the daemon serves clients. Recovery of a large log takes time; nothing is wrong then.
 */
#include "tools/cmd.h"

#include <stdio.h>
#include <time.h>

int pp_cmd_wait(struct pp_cmd *c, int argc, char **argv)
{
	uint64_t seconds = 60;
	const struct pp_opt opts[] = {{"timeout", PP_OPT_U64, &seconds}, {NULL, 0, NULL}};
	const struct timespec pause = {.tv_nsec = 20000000};
	ppdb_attach_opts o = {.size = sizeof(o), .flags = PPDB_RDONLY, .client_name = "ppdb wait"};
	double end = pp_cmd_now();
	ppdb *db;
	int rc;

	if (pp_cmd_options(c, argc, argv, opts, 0, 0) < 0)
		return PP_EXIT_USAGE;
	end += (double)seconds;
	for (;;) {
		rc = ppdb_attach(c->store, &o, &db);
		if (!rc) {
			ppdb_detach(db);
			return PP_EXIT_OK;
		}
		if ((rc != PPDB_DAEMON_GONE && rc != PPDB_TIMEOUT) || pp_cmd_now() >= end)
			break;
		nanosleep(&pause, NULL);
	}
	if (rc == PPDB_TIMEOUT)
		rc = PPDB_DAEMON_GONE;
	return pp_cmd_fail(c, rc, NULL);
}
