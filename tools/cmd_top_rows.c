/*
 * cmd_top_rows.c - a look of `ppdb top` as rows of text, and as a JSON object.
 */
#include "tools/cmd_top.h"
#include "tools/facts.h"
#include "tools/text_number.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>

static const char *const state_names[] = {"starting", "running", "stopped", "read-only"};
static const char *const strategy_names[] = {"single", "range", "hash"};

const char *const pp_top_columns[] = {"pid", "ops", "reads", "writes", "slots", "held", "snapshot", "pins", "age", NULL};

static const char *name_of(const char *const *names, unsigned count, uint64_t i)
{
	return i < count ? names[i] : "unknown";
}
#define NAME(names, i) name_of(names, sizeof(names) / sizeof(names[0]), i)

/* ---- text ---- */

static void add_row(struct pp_top_rows *to, enum pp_top_style style, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void add_row(struct pp_top_rows *to, enum pp_top_style style, const char *fmt, ...)
{
	va_list ap;

	if (to->count == PP_TOP_ROWS)
		return;
	va_start(ap, fmt);
	vsnprintf(to->row[to->count].text, PP_TOP_COLUMNS, fmt, ap);
	va_end(ap);
	to->row[to->count++].style = style;
}

#define N PP_TEXT_NUMBER
#define COUNT(v) pp_text_count((char[N]){0}, v)
#define BYTES(v) pp_text_bytes((char[N]){0}, v)
#define TIME(ns) pp_text_seconds((char[N]){0}, (double)(ns) / 1e9)

static void daemon_rows(struct pp_top *t, struct pp_top_rows *to)
{
	const struct pp_header *h = t->r->header;
	int failed = (int)pp_load_rlx(&t->r->globals->failed);                        /* stat */
	uint64_t full = pp_load_rlx(&((struct pp_engine *)t->r->engine)->wal_full); /* stat */

	add_row(to, PP_TOP_TITLE, "ppdb top  %.63s  daemon %u %s, incarnation %" PRIu64 "  %u client%s, %u of %u slots%s", t->r->fixed.name, t->daemon_pid,
		t->daemon == PP_TOP_RUNS ? NAME(state_names, pp_load_rlx(&h->daemon_state)) : pp_top_state_names[t->daemon],
		pp_load_rlx(&h->incarnation), t->clients, t->clients == 1 ? "" : "s", t->slots_used, t->slots, t->paused ? "  PAUSED" : ""); /* stat */
	if (t->daemon == PP_TOP_DEAD)
		add_row(to, PP_TOP_ALERT, "The daemon is dead, for %s: reading goes on, writing until the log rings are full. Start it: ppdb%s start",
			TIME(t->silent_ns), pp_cmd_dash_n(t->c));
	else if (t->daemon == PP_TOP_STOPPED)
		add_row(to, PP_TOP_ALERT, "The daemon is stopped, for %s: reading goes on, writing until the log rings are full. Let it go on: kill -CONT %u",
			TIME(t->silent_ns), t->daemon_pid);
	else if (t->silent_ns > PP_NS_PER_SEC)
		add_row(to, PP_TOP_ALERT, "The daemon has done nothing for %s: is the machine busy?", TIME(t->silent_ns));
	if (failed)
		add_row(to, PP_TOP_ALERT, "The log could not be written (%s): the store is read-only until ppdbd is restarted.", ppdb_strerror(failed));
	if (full)
		add_row(to, PP_TOP_ALERT, "The disk of the log is full: free space in the data directory.");
}

static void memory_row(struct pp_top *t, struct pp_top_rows *to)
{
	add_row(to, PP_TOP_PLAIN, "memory  %s of %s backed (%.0f %%), %s unused in it; %s keys in %u shard%s by %s, sync %s", BYTES((double)t->backed),
		BYTES((double)t->r->fixed.memory_max), 100.0 * (double)t->backed / (double)t->r->fixed.memory_max, BYTES((double)t->free_bytes),
		COUNT((double)t->keys), t->r->fixed.shards, t->r->fixed.shards == 1 ? "" : "s", NAME(strategy_names, t->r->fixed.strategy),
		t->r->fixed.sync_mode ? "mutex" : "lockfree");
}

/* Since the look before; nothing then: since ever, in brackets. */
static const char *latency(char out[N], const struct pp_hist *since, const struct pp_hist *ever, double q)
{
	char text[N];

	if (since->total)
		return pp_text_seconds(out, (double)pp_hist_percentile_ns(since, q) / 1e9);
	if (!ever->total)
		return "-";
	snprintf(out, N, "(%.37s)", pp_text_seconds(text, (double)pp_hist_percentile_ns(ever, q) / 1e9));
	return out;
}

static void log_rows(struct pp_top *t, struct pp_top_rows *to)
{
	const struct pp_top_look *a = pp_top_before(t), *b = pp_top_now(t);
	double commits = pp_top_rate(t, b->commit_hist.total, a->commit_hist.total), records = pp_top_rate(t, b->wal_records, a->wal_records);
	uint64_t looks = pp_top_rate(t, b->totals.hint_hits + b->totals.hint_misses, a->totals.hint_hits + a->totals.hint_misses) > 0
		? b->totals.hint_hits + b->totals.hint_misses - a->totals.hint_hits - a->totals.hint_misses : 0;
	struct pp_hist since;
	char p50[N], p99[N];

	pp_top_hist_since(&b->write_hist, &a->write_hist, &since);
	if (t->looks < 2)
		since.total = 0;
	add_row(to, PP_TOP_PLAIN, "log     %.31s: %s/s, %s commits/s of %.1f records; device p50 %s, p99 %s; %" PRIu64 " epochs behind, %s free",
		((const struct pp_engine *)t->r->engine)->wal_backend, BYTES(pp_top_rate(t, b->wal_bytes, a->wal_bytes)), COUNT(commits),
		commits > 0 ? records / commits : 0, latency(p50, &since, &b->write_hist, 0.5), latency(p99, &since, &b->write_hist, 0.99),
		b->open_epoch > b->durable_epoch + 1 ? b->open_epoch - b->durable_epoch - 1 : 0,
		BYTES((double)pp_load_rlx(&((struct pp_engine *)t->r->engine)->wal_free_bytes))); /* stat */
#define RATE(field) COUNT(pp_top_rate(t, b->totals.field, a->totals.field))
	add_row(to, PP_TOP_PLAIN, "per s   %s splits, %s merges, %s CAS retries, %s helps, %s aborts, %s log full, %s lock waits; hints found %.1f %%",
		RATE(splits), RATE(merges), RATE(cas_retries), RATE(helps), RATE(aborts), RATE(overloads), RATE(lock_waits),
		looks ? 100.0 * (double)(b->totals.hint_hits - a->totals.hint_hits) / (double)looks : 0.0);
#undef RATE
}

static void operation_rows(struct pp_top *t, struct pp_top_rows *to)
{
	static const double fraction[] = {0.5, 0.99, 0.999};
	const struct pp_top_look *a = pp_top_before(t), *b = pp_top_now(t);

	add_row(to, PP_TOP_HEADING, "%-9s %10s %10s %10s %10s %14s", "OPERATION", "PER S", "P50", "P99", "P99.9", "SINCE EVER");
	for (unsigned op = 0; op < PP_OPS; op++) {
		struct pp_hist since;
		char text[3][N];

		if (!b->totals.ops[op])
			continue;
		pp_top_hist_since(&b->hist[op], &a->hist[op], &since);
		if (t->looks < 2)
			since.total = 0;
		const char *p[3];
		for (unsigned i = 0; i < 3; i++)
			p[i] = latency(text[i], &since, &b->hist[op], fraction[i]);
		add_row(to, PP_TOP_PLAIN, "%-9s %10s %10s %10s %10s %14" PRIu64, pp_op_names[op], COUNT(pp_top_rate(t, b->totals.ops[op], a->totals.ops[op])),
			p[0], p[1], p[2], b->totals.ops[op]);
	}
}

static double share(const struct pp_top *t, unsigned shard)
{
	const struct pp_top_look *a = pp_top_before(t), *b = pp_top_now(t);
	double sum = 0;

	for (unsigned i = 0; i < t->r->fixed.shards && i < PP_USAGE; i++)
		sum += pp_top_rate(t, b->usage[i], a->usage[i]);
	return sum > 0 ? pp_top_rate(t, b->usage[shard], a->usage[shard]) / sum : 0;
}

static void shard_rows(struct pp_top *t, struct pp_top_rows *to)
{
	const struct pp_engine *e = t->r->engine;

	add_row(to, PP_TOP_HEADING, "%-9s %10s %10s %10s %12s %5s", "SHARD", "KEYS", "BYTES", "SHARE", "CAS LOST/S", "NODE");
	for (unsigned i = 0; i < t->r->fixed.shards && i < PP_USAGE; i++) {
		const struct pp_shard *s = &e->shard[i];
		/* All loads are of statistics; keys and bytes may fall below zero for a moment. */
		int64_t keys = (int64_t)pp_load_rlx(&s->keys), bytes = (int64_t)pp_load_rlx(&s->bytes);

		add_row(to, PP_TOP_PLAIN, "%-9u %10s %10s %8.1f %% %12s %5u", i, COUNT(keys > 0 ? (double)keys : 0), BYTES(bytes > 0 ? (double)bytes : 0),
			100 * share(t, i), COUNT(pp_top_rate(t, pp_top_now(t)->contention[i], pp_top_before(t)->contention[i])), pp_load_rlx(&s->node));
	}
}

/* ---- clients ---- */

static double sort_value(const struct pp_top_client *c, unsigned column)
{
	const double values[] = {-(double)c->pid, c->all, c->reads, c->writes, (double)c->slots, (double)c->held_ns, (double)c->snapshot_ns,
		(double)c->pinned_bytes, (double)c->age_ns};

	return column < sizeof(values) / sizeof(values[0]) ? values[column] : 0;
}

static int in_order(const void *x, const void *y, void *top)
{
	const struct pp_top *t = top;
	const struct pp_top_client *a = *(struct pp_top_client *const *)x, *b = *(struct pp_top_client *const *)y;
	double d = sort_value(b, t->sort) - sort_value(a, t->sort);

	if (t->reverse)
		d = -d;
	return d < 0 ? -1 : d > 0 ? 1 : (a->pid > b->pid) - (a->pid < b->pid);
}

/* Those who are there, in the order that is wished; *n of them. malloc'ed, NULL when there is none. */
static struct pp_top_client **sorted(struct pp_top *t, unsigned *n)
{
	struct pp_top_client **list = t->clients ? calloc(t->procs, sizeof(*list)) : NULL;

	*n = 0;
	for (uint32_t i = 0; list && i < t->procs; i++)
		if (t->client[i].generation)
			list[(*n)++] = &t->client[i];
	if (list)
		qsort_r(list, *n, sizeof(*list), in_order, t);
	return list;
}

static const char *mark(const struct pp_top *t, unsigned column)
{
	return t->sort == column ? t->reverse ? "^" : "v" : "";
}

static void client_heading(struct pp_top *t, struct pp_top_rows *to)
{
	static const char *const titles[] = {"PID", "OPS/S", "READS/S", "WRITES/S", "SLOTS", "HELD", "SNAPSHOT", "PINS", "AGE"};
	char text[sizeof(titles) / sizeof(titles[0])][16];

	for (unsigned i = 0; i < sizeof(titles) / sizeof(titles[0]); i++)
		snprintf(text[i], sizeof(text[i]), "%s%s", titles[i], mark(t, i));
	add_row(to, PP_TOP_HEADING, "%8s %-15s %-18s %-2s %9s %9s %9s %6s %9s %9s %9s %12s %s", text[0], "COMMAND", "NAME", "", text[1], text[2], text[3],
		text[4], text[5], text[6], text[7], text[8], "STATE");
}

static void client_rows(struct pp_top *t, struct pp_top_rows *to)
{
	unsigned n;
	struct pp_top_client **list = sorted(t, &n);

	client_heading(t, to);
	to->head = to->count;
	for (unsigned i = 0; i < n; i++) {
		const struct pp_top_client *c = list[i];
		bool bad = c->state != PP_TOP_RUNS && c->state != PP_TOP_WAITS;

		add_row(to, bad ? PP_TOP_ALERT : PP_TOP_PLAIN, "%8u %-15.15s %-18.18s %-2s %9s %9s %9s %6" PRIu64 " %9s %9s %9s %12s %s", c->pid, c->command,
			c->name, c->flags & PP_PROC_READONLY ? "ro" : "rw", COUNT(c->all), COUNT(c->reads), COUNT(c->writes), c->slots,
			c->held_ns ? TIME(c->held_ns) : "-", c->snapshot_ns ? TIME(c->snapshot_ns) : "-", c->pinned_bytes ? BYTES((double)c->pinned_bytes) : "-",
			TIME(c->age_ns), pp_top_state_names[c->state]);
	}
	free(list);
}

void pp_top_rows(struct pp_top *t, struct pp_top_rows *to)
{
	to->count = to->head = 0;
	daemon_rows(t, to);
	memory_row(t, to);
	log_rows(t, to);
	add_row(to, PP_TOP_PLAIN, "%s", "");
	operation_rows(t, to);
	add_row(to, PP_TOP_PLAIN, "%s", "");
	if (t->shards) {
		shard_rows(t, to);
		add_row(to, PP_TOP_PLAIN, "%s", "");
	}
	client_rows(t, to);
}

/* ---- JSON ---- */

static void json_operations(struct pp_top *t, struct pp_json *j)
{
	const struct pp_top_look *a = pp_top_before(t), *b = pp_top_now(t);

	pp_json_open(j, "operations", '{');
	for (unsigned op = 0; op < PP_OPS; op++) {
		struct pp_hist since;

		pp_top_hist_since(&b->hist[op], &a->hist[op], &since);
		pp_json_open(j, pp_op_names[op], '{');
		pp_json_real(j, "per_s", pp_top_rate(t, b->totals.ops[op], a->totals.ops[op]));
		pp_json_u64(j, "count", b->totals.ops[op]);
		pp_json_u64(j, "timed", since.total);
		pp_json_u64(j, "p50_ns", pp_hist_percentile_ns(&since, 0.5));
		pp_json_u64(j, "p99_ns", pp_hist_percentile_ns(&since, 0.99));
		pp_json_u64(j, "p999_ns", pp_hist_percentile_ns(&since, 0.999));
		pp_json_close(j, '}');
	}
	pp_json_close(j, '}');
}

static void json_log(struct pp_top *t, struct pp_json *j)
{
	const struct pp_top_look *a = pp_top_before(t), *b = pp_top_now(t);
	struct pp_hist since;

	pp_top_hist_since(&b->write_hist, &a->write_hist, &since);
	pp_json_open(j, "log", '{');
	pp_json_real(j, "bytes_per_s", pp_top_rate(t, b->wal_bytes, a->wal_bytes));
	pp_json_real(j, "commits_per_s", pp_top_rate(t, b->commit_hist.total, a->commit_hist.total));
	pp_json_real(j, "records_per_s", pp_top_rate(t, b->wal_records, a->wal_records));
	pp_json_u64(j, "writes", since.total);
	pp_json_u64(j, "write_p50_ns", pp_hist_percentile_ns(&since, 0.5));
	pp_json_u64(j, "write_p99_ns", pp_hist_percentile_ns(&since, 0.99));
	pp_json_u64(j, "open_epoch", b->open_epoch);
	pp_json_u64(j, "durable_epoch", b->durable_epoch);
	pp_json_close(j, '}');
}

static void json_clients(struct pp_top *t, struct pp_json *j)
{
	unsigned n;
	struct pp_top_client **list = sorted(t, &n);

	pp_json_open(j, "clients", '[');
	for (unsigned i = 0; i < n; i++) {
		const struct pp_top_client *c = list[i];

		pp_json_open(j, NULL, '{');
		pp_json_u64(j, "pid", c->pid);
		pp_json_text(j, "command", c->command);
		pp_json_text(j, "name", c->name);
		pp_json_bool(j, "readonly", c->flags & PP_PROC_READONLY);
		pp_json_text(j, "state", c->state == PP_TOP_RUNS ? "running" : pp_top_state_names[c->state]);
		pp_json_real(j, "ops_per_s", c->all);
		pp_json_real(j, "reads_per_s", c->reads);
		pp_json_real(j, "writes_per_s", c->writes);
		pp_json_u64(j, "slots", c->slots);
		pp_json_u64(j, "interval_ms", c->held_ns / PP_NS_PER_MS);
		pp_json_u64(j, "snapshot_ms", c->snapshot_ns / PP_NS_PER_MS);
		pp_json_u64(j, "pinned_bytes", c->pinned_bytes);
		pp_json_close(j, '}');
	}
	pp_json_close(j, ']');
	free(list);
}

void pp_top_json(struct pp_top *t, FILE *out)
{
	struct pp_json j = {.out = out};

	pp_json_open(&j, NULL, '{');
	pp_json_text(&j, "name", t->r->fixed.name);
	pp_json_u64(&j, "daemon_pid", t->daemon_pid);
	pp_json_text(&j, "daemon", t->daemon == PP_TOP_DEAD ? "dead" : t->daemon == PP_TOP_STOPPED ? "stopped" : "running");
	pp_json_u64(&j, "silent_ms", t->silent_ns / PP_NS_PER_MS);
	pp_json_real(&j, "seconds", t->seconds);
	pp_json_u64(&j, "keys", t->keys);
	pp_json_u64(&j, "memory_max_bytes", t->r->fixed.memory_max);
	pp_json_u64(&j, "backed_bytes", t->backed);
	pp_json_u64(&j, "free_bytes", t->free_bytes);
	pp_json_u64(&j, "slots_used", t->slots_used);
	json_operations(t, &j);
	json_log(t, &j);
	pp_json_open(&j, "shards", '[');
	for (unsigned i = 0; i < t->r->fixed.shards && i < PP_USAGE; i++)
		pp_json_real(&j, NULL, share(t, i));
	pp_json_close(&j, ']');
	json_clients(t, &j);
	pp_json_close(&j, '}');
}
