/*
 * cmd_perf_print.c - an interval of `ppdb perf` as text for people: one paragraph a question, the advice last, where the eye ends.
 */
#include "tools/cmd_perf.h"
#include "tools/text_number.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const double fractions[] = {0.5, 0.9, 0.99, 0.999, 0.9999};
#define FRACTIONS (sizeof(fractions) / sizeof(*fractions))

static void print_latencies(const struct pp_hist *h)
{
	char a[PP_TEXT_NUMBER];

	for (unsigned i = 0; i < FRACTIONS; i++)
		printf(" %9s", h->total ? pp_text_seconds(a, (double)pp_hist_percentile_ns(h, fractions[i]) / 1e9) : "-");
	printf(" %9s\n", h->total ? pp_text_seconds(a, (double)pp_hist_max_ns(h) / 1e9) : "-");
}

/* A rate, or the count when the interval is everything. */
static const char *amount(char out[PP_TEXT_NUMBER], const struct pp_perf *p, uint64_t n)
{
	return pp_text_count(out, p->seconds > 0 ? pp_perf_rate(p, n) : (double)n);
}

static void print_operations(const struct pp_perf *p)
{
	char a[PP_TEXT_NUMBER], b[PP_TEXT_NUMBER];

	printf("%-10s %10s %10s %9s %9s %9s %9s %9s %9s\n", "operation", p->seconds > 0 ? "a second" : "count", "timed", "p50", "p90", "p99", "p99.9",
		"p99.99", "max");
	for (unsigned i = 0; i < PP_OPS; i++) {
		if (!p->ops[i] && !p->op[i].total)
			continue;
		printf("%-10s %10s %10s", pp_perf_op_names[i], amount(a, p, p->ops[i]), pp_text_count(b, (double)p->op[i].total));
		print_latencies(&p->op[i]);
	}
	if (!pp_perf_writes(p) && !p->ops[PP_OP_GET] && !p->ops[PP_OP_SCAN])
		puts("nothing was read or written");
}

static void print_phases(const struct pp_perf *p)
{
	static const char *const meaning[PP_PERF_PHASES] = {"the version on its key", "ring entry, visible", "until a group commit begins",
		"records collected", "on the device", "from durable to running"};
	char a[PP_TEXT_NUMBER];

	if (!p->phase[PP_PERF_INSTALL].total && !p->commit_records.total)
		return;
	printf("\n%-10s %21s %9s %9s %9s %9s %9s %9s\n", "phase", "timed", "p50", "p90", "p99", "p99.9", "p99.99", "max");
	for (unsigned i = 0; i < PP_PERF_PHASES; i++) {
		printf("%-10s %21s", pp_perf_phase_names[i], pp_text_count(a, (double)p->phase[i].total));
		print_latencies(&p->phase[i]);
	}
	printf("(");
	for (unsigned i = 0; i < PP_PERF_PHASES; i++)
		printf("%s%s: %s", i ? "; " : "", pp_perf_phase_names[i], meaning[i]);
	puts(")");
}

static void print_commits(const struct pp_perf *p)
{
	const struct pp_hist *r = &p->commit_records, *b = &p->commit_bytes;
	char a[PP_TEXT_NUMBER], c[PP_TEXT_NUMBER], d[PP_TEXT_NUMBER], e[PP_TEXT_NUMBER];

	if (!r->total)
		return;
	printf("\ncommits      %s%s, %.1f records each (p50 %" PRIu64 ", p99 %" PRIu64 "), %s each (p99 %s), %.1f waits each; log %s%s by %s", amount(a, p, r->total),
		p->seconds > 0 ? " a second" : "", pp_perf_mean(r), pp_hist_percentile_ns(r, 0.5), pp_hist_percentile_ns(r, 0.99), pp_text_bytes(c, pp_perf_mean(b)),
		pp_text_bytes(d, (double)pp_hist_percentile_ns(b, 0.99)), (double)p->op[PP_OP_WAIT].total / (double)r->total,
		pp_text_bytes(e, p->seconds > 0 ? pp_perf_rate(p, p->log_bytes) : (double)p->log_bytes), p->seconds > 0 ? "/s" : "", p->backend);
	if (p->log_stalls)
		printf(", %" PRIu64 " stalls", p->log_stalls);
	putchar('\n');
}

static void print_counters(const struct pp_perf *p)
{
	const struct pp_totals *t = &p->count;
	uint64_t looks = t->hint_hits + t->hint_misses;
	char a[PP_TEXT_NUMBER], b[PP_TEXT_NUMBER], c[PP_TEXT_NUMBER];

	printf("contention   %" PRIu64 " CAS retries, %" PRIu64 " helps, %" PRIu64 " aborts, %" PRIu64 " lock waits (%s), %" PRIu64 " times no room in ring or log (%s)\n",
		t->cas_retries, t->helps, t->aborts, t->lock_waits, pp_text_seconds(a, (double)t->lock_wait_ns / 1e9), t->overloads,
		pp_text_seconds(b, (double)t->overload_ns / 1e9));
	printf("reads        ");
	if (looks)
		printf("%.2f %% of %s keys found by their hash, ", 100.0 * (double)t->hint_hits / (double)looks, pp_text_count(c, (double)looks));
	printf("%.2f blocks looked at a get\n", p->ops[PP_OP_GET] ? (double)t->read_blocks / (double)p->ops[PP_OP_GET] : 0.0);
}

static const char *brief(char out[2 * PP_TEXT_NUMBER + 4], const struct pp_perf_spread *s)
{
	char a[PP_TEXT_NUMBER], b[PP_TEXT_NUMBER];

	if (!s->timed)
		return "-";
	snprintf(out, 2 * PP_TEXT_NUMBER + 4, "%s / %s", pp_text_seconds(a, (double)s->p50_ns / 1e9), pp_text_seconds(b, (double)s->p99_ns / 1e9));
	return out;
}

static void print_nodes(const struct pp_perf_pages *pages, unsigned shard)
{
	uint64_t all = 0;

	for (unsigned n = 0; n < PP_MAX_NODES; n++)
		all += pages->on[shard][n];
	for (unsigned n = 0; n < pages->nodes; n++)
		printf(" %5.1f%%", all ? 100.0 * pages->on[shard][n] / (double)all : 0.0);
}

static void print_shards(const struct pp_perf *p, const struct pp_perf_pages *pages)
{
	char a[PP_TEXT_NUMBER], r[2 * PP_TEXT_NUMBER + 4], w[2 * PP_TEXT_NUMBER + 4];
	uint64_t timed = 0;

	for (unsigned i = 0; i < p->shards; i++)
		timed += p->shard[i].timed;
	printf("\n%-6s %4s %10s %6s %10s %19s %19s %10s", "shard", "node", "a second", "share", "keys", "get p50 / p99", "write p50 / p99", "contention");
	for (unsigned n = 0; pages && pages->nodes > 1 && n < pages->nodes; n++)
		printf("  on n%-2u", n);
	putchar('\n');
	for (unsigned i = 0; i < p->shards; i++) {
		const struct pp_perf_shard *s = &p->shard[i];

		printf("%-6u %4u %10s %5.1f%% %10" PRIu64 " %19s %19s %10" PRIu64, i, s->node, pp_text_count(a, s->per_second),
			timed ? 100.0 * (double)s->timed / (double)timed : 0.0, s->keys, brief(r, &s->read), brief(w, &s->write), s->contention);
		if (pages && pages->nodes > 1 && i < pages->shards)
			print_nodes(pages, i);
		putchar('\n');
	}
}

static void print_clients(const struct pp_perf *p)
{
	char a[PP_TEXT_NUMBER], b[PP_TEXT_NUMBER], c[PP_TEXT_NUMBER], r[2 * PP_TEXT_NUMBER + 4], w[2 * PP_TEXT_NUMBER + 4], q[2 * PP_TEXT_NUMBER + 4];

	if (!p->clients)
		return;
	printf("\n%7s %-12s %-12s %2s %7s %9s %9s %9s %19s %19s %19s\n", "client", "command", "name", "", "threads", "get/s", "write/s", "scan/s", "get p50 / p99",
		"write p50 / p99", "wait p50 / p99");
	for (unsigned i = 0; i < p->clients; i++) {
		const struct pp_perf_client *k = &p->client[i];
		uint64_t writes = k->total - k->ops[PP_OP_GET] - k->ops[PP_OP_SCAN] - k->ops[PP_OP_WAIT];

		printf("%7u %-12.12s %-12.12s %2s %7u %9s %9s %9s %19s %19s %19s\n", k->pid, k->command, k->name, k->readonly ? "ro" : "rw", k->threads,
			amount(a, p, k->ops[PP_OP_GET]), amount(b, p, writes), amount(c, p, k->ops[PP_OP_SCAN]), brief(r, &k->read), brief(w, &k->write),
			brief(q, &k->wait));
	}
	if (p->clients_attached > p->clients)
		printf("and %u more\n", p->clients_attached - p->clients);
}

static void print_pages(const struct pp_perf *p, const struct pp_perf_pages *pages)
{
	char a[PP_TEXT_NUMBER], b[PP_TEXT_NUMBER];
	uint64_t known, away;
	double data = 0;

	for (unsigned i = 0; i < p->shards; i++)
		data += (double)p->shard[i].bytes;
	printf("\nmemory       %s, %s pages asked for", pp_text_bytes(a, (double)p->memory_bytes), p->pages);
	if (pages && pages->mapped_bytes)
		printf("; of what is mapped here %.0f %% by huge pages", 100.0 * (double)pages->huge_bytes / (double)pages->mapped_bytes);
	if (pages) {
		away = pp_perf_pages_away(pages, &known);
		if (pages->nodes > 1 && known)
			printf("; %.1f %% of it away from its shard's node", 100.0 * (double)away / (double)known);
		else if (pages->nodes > 1)
			printf("; the kernel does not tell on which nodes it lies");
	}
	printf("; %u NUMA node%s, %s of keys and values\n", p->nodes, p->nodes == 1 ? "" : "s", pp_text_bytes(b, data));
}

static void print_advice(const struct pp_perf *p, const struct pp_perf_pages *pages)
{
	struct pp_advice advice[PP_ADVICE_MAX];
	unsigned n = pp_perf_advise(p, pages, advice);

	putchar('\n');
	for (unsigned i = 0; i < n; i++)
		printf("* %s\n", advice[i].text);
	if (!n)
		puts("Nothing stands out.");
}

void pp_perf_print(const struct pp_perf *p, const struct pp_perf_pages *pages)
{
	char a[PP_TEXT_NUMBER];

	printf("store        %s, daemon %u %s, %u client%s, ", p->name, p->pid, p->state, p->clients_attached, p->clients_attached == 1 ? "" : "s");
	if (p->seconds > 0)
		printf("%s\n\n", pp_text_seconds(a, p->seconds));
	else
		puts("since the arena was made\n");
	print_operations(p);
	print_phases(p);
	print_commits(p);
	print_counters(p);
	print_shards(p, pages);
	print_clients(p);
	print_pages(p, pages);
	print_advice(p, pages);
}
