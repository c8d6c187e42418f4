/*
 * perf_compare.h - what changed between two measurements of a store: in numbers, and in sentences.
 */
#ifndef PP_TOOLS_PERF_COMPARE_H
#define PP_TOOLS_PERF_COMPARE_H

#include "tools/perf_sample.h"

enum pp_change_kind { PP_CHANGE_SLOWER, PP_CHANGE_FASTER, PP_CHANGE_OTHER }; /* OTHER: other work, not quicker or slower */

struct pp_change {
	enum pp_change_kind kind;
	char what[40];                 /* "get p99" */
	double from, to;               /* ns, or as the sentence says */
	char sentence[200];
};
#define PP_CHANGES_MAX 96

/* Changes by more than `threshold` (0.1 = 10 %) that enough was timed for, the greatest first. */
unsigned pp_perf_compare(const struct pp_perf *a, const struct pp_perf *b, double threshold, struct pp_change out[PP_CHANGES_MAX]);

#endif
