/*
 * cmd_perf.h - the parts of `ppdb perf`: an interval as text.
 */
#ifndef PP_TOOLS_CMD_PERF_H
#define PP_TOOLS_CMD_PERF_H

#include "client/internal.h" /* first: ppdb.h then leaves the error codes to shm/errors.h */
#include "tools/cmd.h"
#include "tools/perf_json.h"

/* cmd_perf_print.c: `pages` may be NULL. */
void pp_perf_print(const struct pp_perf *, const struct pp_perf_pages *pages);

#endif
