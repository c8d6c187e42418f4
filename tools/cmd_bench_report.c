/*
 * cmd_bench_report.c - what `ppdb bench` prints: a line a workload and kind of operation, or one JSON object.
 */
#include "tools/cmd_bench.h"
#include "tools/text_json.h"
#include "tools/text_number.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

static const struct { double q; const char *text, *json; } quantiles[] = {
	{0.5, "p50", "p50_ns"}, {0.9, "p90", "p90_ns"}, {0.99, "p99", "p99_ns"}, {0.999, "p99.9", "p999_ns"}, {0.9999, "p99.99", "p9999_ns"},
};
#define QUANTILES (sizeof(quantiles) / sizeof(quantiles[0]))

double pp_bench_rate(const struct pp_bench_result *r)
{
	return r->seconds > 0 ? (double)r->sum.all / r->seconds : 0;
}

void pp_bench_print_head(const struct pp_bench *b)
{
	printf("%" PRIu64 " keys of %zu bytes, values of %zu bytes; %" PRIu64 " process%s x %" PRIu64 " thread%s; ", b->keys, b->key_bytes, b->value_bytes,
		b->processes, b->processes == 1 ? "" : "es", b->threads, b->threads == 1 ? "" : "s");
	if (b->rate > 0)
		printf("open loop, %.0f operations/s, latency from when each was due; ", b->rate);
	else
		printf("closed loop; ");
	printf("seed %" PRIu64 "\n\n%-22s %9s %11s", b->seed, "workload", "per s", "operations");
	for (unsigned i = 0; i < QUANTILES; i++)
		printf(" %8s", quantiles[i].text);
	printf(" %8s\n", "max");
}

static void print_line(const char *name, double per_s, uint64_t ops, const struct pp_latency *h)
{
	char a[PP_TEXT_NUMBER];

	printf("%-22s %9s %11" PRIu64, name, pp_text_count(a, per_s), ops);
	for (unsigned i = 0; i < QUANTILES; i++)
		printf(" %8s", h->total ? pp_text_seconds(a, pp_latency_quantile(h, quantiles[i].q) / 1e9) : "-");
	printf(" %8s\n", h->total ? pp_text_seconds(a, (double)h->max_ns / 1e9) : "-");
}

static void print_remarks(const struct pp_bench_result *r)
{
	const struct pp_bench_count *s = &r->sum;
	char a[PP_TEXT_NUMBER];

	if (s->behind)
		printf("  %" PRIu64 " operations were due and had not begun at the end: the store gave %s a second of the %s wanted\n", s->behind,
			pp_text_count(a, pp_bench_rate(r)), pp_text_count((char[PP_TEXT_NUMBER]){0}, r->rate));
	if (s->missing)
		printf("  %" PRIu64 " keys were not there\n", s->missing);
	if (s->conflicts)
		printf("  %" PRIu64 " writes were done again because another one came between\n", s->conflicts);
	if (s->overloads)
		printf("  %" PRIu64 " times the log was full\n", s->overloads);
	if (s->wrong)
		printf("  %" PRIu64 " VALUES WERE WRONG\n", s->wrong);
	if (r->interrupted)
		printf("  interrupted after %.1f s\n", r->seconds);
}

static unsigned kinds(const struct pp_bench_result *r)
{
	unsigned n = 0;

	for (unsigned op = 0; op < PP_BENCH_OPS; op++)
		n += r->sum.ops[op] > 0;
	return n;
}

void pp_bench_print(const struct pp_bench *b, const struct pp_bench_result *r)
{
	struct pp_latency all = {0};
	char name[40];

	(void)b;
	for (unsigned op = 0; op < PP_BENCH_OPS; op++)
		pp_latency_merge(&all, &r->sum.latency[op]);
	print_line(r->load ? "(load)" : r->w->name, pp_bench_rate(r), r->sum.all, &all);
	for (unsigned op = 0; op < PP_BENCH_OPS && kinds(r) > 1; op++) {
		if (!r->sum.ops[op])
			continue;
		snprintf(name, sizeof(name), "  %s", pp_bench_op_names[op]);
		print_line(name, (double)r->sum.ops[op] / r->seconds, r->sum.ops[op], &r->sum.latency[op]);
	}
	print_remarks(r);
	fflush(stdout);
}

static void json_latency(struct pp_json *j, const char *name, uint64_t ops, const struct pp_latency *h)
{
	pp_json_open(j, name, '{');
	pp_json_u64(j, "ops", ops);
	pp_json_u64(j, "timed", h->total);
	if (h->total) {
		for (unsigned i = 0; i < QUANTILES; i++)
			pp_json_u64(j, quantiles[i].json, (uint64_t)pp_latency_quantile(h, quantiles[i].q));
		pp_json_u64(j, "max_ns", h->max_ns);
		pp_json_u64(j, "mean_ns", h->sum_ns / h->total);
	}
	pp_json_close(j, '}');
}

static void json_result(struct pp_json *j, const struct pp_bench_result *r)
{
	const struct pp_bench_count *s = &r->sum;

	pp_json_open(j, NULL, '{');
	pp_json_text(j, "name", r->w->name);
	pp_json_bool(j, "load", r->load);
	pp_json_u64(j, "workers", r->workers);
	pp_json_real(j, "seconds", r->seconds);
	pp_json_u64(j, "ops", s->all);
	pp_json_real(j, "ops_per_s", pp_bench_rate(r));
	pp_json_real(j, "cpu_seconds", (double)s->cpu_ns / 1e9);
	pp_json_real(j, "rate", r->rate);
	pp_json_u64(j, "behind", s->behind);
	pp_json_u64(j, "missing", s->missing);
	pp_json_u64(j, "conflicts", s->conflicts);
	pp_json_u64(j, "overloads", s->overloads);
	pp_json_u64(j, "entries", s->entries);
	pp_json_u64(j, "wrong", s->wrong);
	pp_json_bool(j, "interrupted", r->interrupted);
	pp_json_open(j, "operations", '{');
	for (unsigned op = 0; op < PP_BENCH_OPS; op++)
		if (s->ops[op])
			json_latency(j, pp_bench_op_names[op], s->ops[op], &s->latency[op]);
	pp_json_close(j, '}');
	pp_json_close(j, '}');
}

void pp_bench_json(const struct pp_bench *b, const struct pp_bench_result *r, unsigned count)
{
	struct pp_json j = {.out = stdout, .indent = true};

	pp_json_open(&j, NULL, '{');
	pp_json_u64(&j, "processes", b->processes);
	pp_json_u64(&j, "threads", b->threads);
	pp_json_u64(&j, "keys", b->keys);
	pp_json_u64(&j, "key_bytes", b->key_bytes);
	pp_json_u64(&j, "value_bytes", b->value_bytes);
	pp_json_u64(&j, "seed", b->seed);
	pp_json_open(&j, "workloads", '[');
	for (unsigned i = 0; i < count; i++)
		json_result(&j, &r[i]);
	pp_json_close(&j, ']');
	pp_json_close(&j, '}');
}
