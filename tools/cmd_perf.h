/*
 * cmd_perf.h - the parts of `ppdb perf`: an interval as text, recordings read again, reports.
 */
#ifndef PP_TOOLS_CMD_PERF_H
#define PP_TOOLS_CMD_PERF_H

#include "client/internal.h" /* first: ppdb.h then leaves the error codes to shm/errors.h */
#include "tools/cmd.h"
#include "tools/perf_json.h"

/* Intervals one after the other, and all of them as one. Zero-initialise. */
struct pp_perf_series {
	struct pp_perf *point;
	unsigned count;
	unsigned stride, pending;      /* intervals a point; those that the last point has more than it, 0 = it is full */
	struct pp_perf all;
	struct pp_perf_pages pages;    /* as looked at last */
};

/* cmd_perf_print.c: `pages` may be NULL. */
void pp_perf_print(const struct pp_perf *, const struct pp_perf_pages *pages);

/* cmd_perf_read.c: 0 or -ENOMEM; 0 or the exit code after a message ("-" = stdin). */
int pp_perf_series_add(struct pp_perf_series *, const struct pp_perf *);
int pp_perf_read(const struct pp_cmd *, const char *file, struct pp_perf_series *);
void pp_perf_series_free(struct pp_perf_series *);

/* cmd_perf_diff.c: what changed from one recording to the other. 0: nothing is slower; 1: something is. */
int pp_perf_diff(const struct pp_cmd *, const struct pp_perf *a, const struct pp_perf *b);

/* cmd_perf_html.c: the report as one file that needs nothing else. */
void pp_perf_html(FILE *, const struct pp_perf_series *);

#endif
