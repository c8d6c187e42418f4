/*
 * perf_compare.c - compares two measurements (see perf_compare.h).
 *
 * A percentile is compared only when some timed operations lie beyond it in both: else chance speaks. Rates are no judgement: a store that is asked
 * for less is not slower; but they are said, since latencies follow them.
 */
#include "tools/perf_compare.h"

#include "tools/text_number.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BEYOND 20                      /* timed operations beyond a percentile */

struct list {
	struct pp_change *out;
	unsigned count;
	double threshold;
};

static struct pp_change *add(struct list *l, enum pp_change_kind kind, double from, double to)
{
	double low = from < to ? from : to, high = from < to ? to : from;
	struct pp_change *c;

	if (l->count == PP_CHANGES_MAX || high <= low * (1 + l->threshold))
		return NULL;
	c = &l->out[l->count++];
	c->kind = kind;
	c->from = from;
	c->to = to;
	return c;
}

/* "3.9 times as long", "29 % shorter". */
static void in_words(char out[48], double from, double to, const char *more, const char *less, const char *as_much)
{
	if (from <= 0)
		snprintf(out, 48, "before none");
	else if (to >= 2 * from)
		snprintf(out, 48, "%.1f times as %s", to / from, as_much);
	else
		snprintf(out, 48, "%.0f %% %s", 100 * fabs(to / from - 1), to > from ? more : less);
}

static void latency(struct list *l, const char *name, const char *of, const struct pp_hist *a, const struct pp_hist *b)
{
	static const struct { const char *name; double at; } part[] = {{"p50", 0.5}, {"p99", 0.99}, {"p99.9", 0.999}, {"p99.99", 0.9999}};

	for (unsigned i = 0; i < sizeof(part) / sizeof(*part); i++) {
		double from = (double)pp_hist_percentile_ns(a, part[i].at), to = (double)pp_hist_percentile_ns(b, part[i].at);
		char x[PP_TEXT_NUMBER], y[PP_TEXT_NUMBER], words[48];
		struct pp_change *c;

		if ((double)a->total * (1 - part[i].at) < BEYOND || (double)b->total * (1 - part[i].at) < BEYOND)
			return;
		c = add(l, to > from ? PP_CHANGE_SLOWER : PP_CHANGE_FASTER, from, to);
		if (!c)
			continue;
		in_words(words, from, to, "longer", "shorter", "long");
		snprintf(c->what, sizeof(c->what), "%s %s", name, part[i].name);
		snprintf(c->sentence, sizeof(c->sentence), "%s%s: the %s went from %s to %s, %s.", name, of, part[i].name,
			pp_text_seconds(x, from / 1e9), pp_text_seconds(y, to / 1e9), words);
	}
}

static void amount(struct list *l, const char *name, const char *unit, double from, double to)
{
	char x[PP_TEXT_NUMBER], y[PP_TEXT_NUMBER], words[48];
	struct pp_change *c = from > 0 || to > 0 ? add(l, PP_CHANGE_OTHER, from, to) : NULL;

	if (!c)
		return;
	in_words(words, from, to, "more", "less", "much");
	snprintf(c->what, sizeof(c->what), "%s", name);
	snprintf(c->sentence, sizeof(c->sentence), "%s: from %s to %s%s, %s.", name, pp_text_count(x, from), pp_text_count(y, to), unit, words);
}

static double part_of(uint64_t n, uint64_t of)
{
	return of ? 100 * (double)n / (double)of : 0;
}

static double hit_rate(const struct pp_perf *p)
{
	uint64_t looks = p->count.hint_hits + p->count.hint_misses;

	return looks ? part_of(p->count.hint_hits, looks) : 100;
}

static int greatest_first(const void *a, const void *b)
{
	const struct pp_change *x = a, *y = b;
	double p, q;

	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	p = fabs(log((x->to + 1e-9) / (x->from + 1e-9)));
	q = fabs(log((y->to + 1e-9) / (y->from + 1e-9)));
	return p != q ? (p < q ? 1 : -1) : strcmp(x->what, y->what);
}

unsigned pp_perf_compare(const struct pp_perf *a, const struct pp_perf *b, double threshold, struct pp_change out[PP_CHANGES_MAX])
{
	struct list l = {.out = out, .threshold = threshold};
	char name[40];

	for (unsigned i = 0; i < PP_OPS; i++)
		latency(&l, pp_perf_op_names[i], "", &a->op[i], &b->op[i]);
	for (unsigned i = 0; i < PP_PERF_PHASES; i++) {
		snprintf(name, sizeof(name), "phase %s", pp_perf_phase_names[i]);
		latency(&l, name, " of durable writes", &a->phase[i], &b->phase[i]);
	}
	for (unsigned i = 0; i < PP_OPS; i++)
		amount(&l, pp_perf_op_names[i], " a second", pp_perf_rate(a, a->ops[i]), pp_perf_rate(b, b->ops[i]));
	amount(&l, "group commits", " a second", pp_perf_rate(a, a->commit_records.total), pp_perf_rate(b, b->commit_records.total));
	amount(&l, "records a commit", "", pp_perf_mean(&a->commit_records), pp_perf_mean(&b->commit_records));
	amount(&l, "bytes a commit", "", pp_perf_mean(&a->commit_bytes), pp_perf_mean(&b->commit_bytes));
	amount(&l, "CAS retries in 100 writes", "", part_of(a->count.cas_retries, pp_perf_writes(a)), part_of(b->count.cas_retries, pp_perf_writes(b)));
	amount(&l, "helps in 100 writes", "", part_of(a->count.helps, pp_perf_writes(a)), part_of(b->count.helps, pp_perf_writes(b)));
	amount(&l, "keys found by hash", " %", hit_rate(a), hit_rate(b));
	amount(&l, "clients", "", a->clients_attached, b->clients_attached);
	qsort(out, l.count, sizeof(*out), greatest_first);
	return l.count;
}
