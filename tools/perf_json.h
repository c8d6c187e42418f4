/*
 * perf_json.h - an interval as one line of JSON: what `ppdb perf --json` prints, and what recordings are made of.
 */
#ifndef PP_TOOLS_PERF_JSON_H
#define PP_TOOLS_PERF_JSON_H

#include "tools/perf_advice.h"

#include <stdio.h>

/* `pages` may be NULL. */
void pp_perf_json_write(FILE *, const struct pp_perf *, const struct pp_perf_pages *);

#endif
