/*
 * cmd_perf_diff.c - `ppdb perf --diff A B`: what got slower and what got faster, the greatest change first.
 */
#include "tools/cmd_perf.h"
#include "tools/perf_compare.h"
#include "tools/text_json.h"
#include "tools/text_number.h"

#include <stdio.h>

#define THRESHOLD 0.15                 /* less than a bucket of a histogram may be chance */

static const char *const kind_names[] = {"slower", "faster", "other"};

static void print_json(const struct pp_change *c, unsigned n)
{
	struct pp_json j = {.out = stdout, .indent = true};

	pp_json_open(&j, NULL, '{');
	for (unsigned kind = 0; kind < 3; kind++) {
		pp_json_open(&j, kind_names[kind], '[');
		for (unsigned i = 0; i < n; i++) {
			if (c[i].kind != kind)
				continue;
			pp_json_open(&j, NULL, '{');
			pp_json_text(&j, "what", c[i].what);
			pp_json_real(&j, "from", c[i].from);
			pp_json_real(&j, "to", c[i].to);
			pp_json_text(&j, "sentence", c[i].sentence);
			pp_json_close(&j, '}');
		}
		pp_json_close(&j, ']');
	}
	pp_json_close(&j, '}');
}

static void print_kind(const struct pp_change *c, unsigned n, enum pp_change_kind kind, const char *title, const char *none)
{
	unsigned found = 0;

	for (unsigned i = 0; i < n; i++) {
		if (c[i].kind != kind)
			continue;
		if (!found++)
			puts(title);
		printf("  %s\n", c[i].sentence);
	}
	if (!found)
		puts(none);
}

static const char *percentile(char out[PP_TEXT_NUMBER], const struct pp_hist *h, double part)
{
	return h->total ? pp_text_seconds(out, (double)pp_hist_percentile_ns(h, part) / 1e9) : "-";
}

static void print_table(const struct pp_perf *a, const struct pp_perf *b)
{
	char t[6][PP_TEXT_NUMBER];

	printf("\n%-10s %10s %10s   %9s %9s   %9s %9s\n", "operation", "before /s", "after /s", "p50", "after", "p99", "after");
	for (unsigned i = 0; i < PP_OPS; i++) {
		if (!a->ops[i] && !b->ops[i])
			continue;
		printf("%-10s %10s %10s   %9s %9s   %9s %9s\n", pp_perf_op_names[i], pp_text_count(t[0], pp_perf_rate(a, a->ops[i])),
			pp_text_count(t[1], pp_perf_rate(b, b->ops[i])), percentile(t[2], &a->op[i], 0.5), percentile(t[3], &b->op[i], 0.5),
			percentile(t[4], &a->op[i], 0.99), percentile(t[5], &b->op[i], 0.99));
	}
}

int pp_perf_diff(const struct pp_cmd *c, const struct pp_perf *a, const struct pp_perf *b)
{
	static struct pp_change change[PP_CHANGES_MAX];
	unsigned n = pp_perf_compare(a, b, THRESHOLD, change);

	if (c->json) {
		print_json(change, n);
	} else {
		print_kind(change, n, PP_CHANGE_SLOWER, "slower:", "Nothing got slower.");
		print_kind(change, n, PP_CHANGE_FASTER, "faster:", "Nothing got faster.");
		print_kind(change, n, PP_CHANGE_OTHER, "other work:", "The work is the same.");
		print_table(a, b);
	}
	return n && change[0].kind == PP_CHANGE_SLOWER ? PP_EXIT_NO : PP_EXIT_OK;
}
