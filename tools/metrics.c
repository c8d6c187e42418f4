/*
 * metrics.c - the families of metrics and their samples (see metrics.h).
 *
 * Both formats want the samples of a family together, so the families are the outer loop and the stores the inner one. In OpenMetrics the
 * name of a counter's family lacks the _total that its sample has, and there are units and an end mark.
 */
#include "tools/metrics.h"

#include <inttypes.h>
#include <string.h>

enum type { GAUGE, COUNTER, HISTOGRAM, INFO };

struct family {
	const char *name, *unit;       /* without ppdb_ and _total; "" = none */
	enum type type;
	const char *help;
	void (*each)(const struct family *, FILE *, const struct pp_metrics_store *); /* prints the samples of one store */
	size_t at;                     /* for `each`: place in struct pp_metrics_store */
};

/* ---- samples ---------------------------------------------------------------------------------------------------- */

static void begin(const struct family *f, FILE *out, const struct pp_metrics_store *m, const char *suffix)
{
	fprintf(out, "ppdb_%s%s{", f->name, suffix);
	pp_metrics_label(out, "store", m->store);
}

static void more(FILE *out, const char *name, const char *value)
{
	putc(',', out);
	pp_metrics_label(out, name, value);
}

static void end(FILE *out, uint64_t value)
{
	fprintf(out, "} %" PRIu64 "\n", value);
}

static void end_ns(FILE *out, uint64_t ns)
{
	fprintf(out, "} %" PRIu64 ".%09" PRIu64 "\n", ns / 1000000000, ns % 1000000000);
}

static uint64_t number(const struct pp_metrics_store *m, size_t at)
{
	return *(const uint64_t *)((const char *)m + at);
}

static void gauge(const struct family *f, FILE *out, const struct pp_metrics_store *m)
{
	begin(f, out, m, "");
	end(out, number(m, f->at));
}

static void gauge_ns(const struct family *f, FILE *out, const struct pp_metrics_store *m)
{
	begin(f, out, m, "");
	end_ns(out, number(m, f->at));
}

static void gauge_told(const struct family *f, FILE *out, const struct pp_metrics_store *m)
{
	if (m->told)
		gauge(f, out, m);
}

static void gauge_asked(const struct family *f, FILE *out, const struct pp_metrics_store *m)
{
	if (m->asked)
		gauge(f, out, m);
}

static void total(const struct family *f, FILE *out, const struct pp_metrics_store *m)
{
	begin(f, out, m, "_total");
	end(out, number(m, f->at));
}

static void total_ns(const struct family *f, FILE *out, const struct pp_metrics_store *m)
{
	begin(f, out, m, "_total");
	end_ns(out, number(m, f->at));
}

static void up(const struct family *f, FILE *out, const struct pp_metrics_store *m)
{
	begin(f, out, m, "");
	end(out, m->up);
}

static void starting(const struct family *f, FILE *out, const struct pp_metrics_store *m)
{
	begin(f, out, m, "");
	end(out, m->starting);
}

static void info(const struct family *f, FILE *out, const struct pp_metrics_store *m)
{
	begin(f, out, m, "_info");
	more(out, "name", m->name);
	more(out, "strategy", m->strategy);
	more(out, "sync", m->sync);
	more(out, "pages", m->pages);
	more(out, "log_backend", m->backend);
	end(out, 1);
}

static void checkpoint_time(const struct family *f, FILE *out, const struct pp_metrics_store *m)
{
	if (!m->checkpoint_ms)
		return;
	begin(f, out, m, "");
	fprintf(out, "} %" PRIu64 ".%03" PRIu64 "\n", m->checkpoint_ms / 1000, m->checkpoint_ms % 1000);
}

static void shard(const struct family *f, FILE *out, const struct pp_metrics_store *m)
{
	char text[16];

	for (unsigned i = 0; i < m->shards; i++) {
		begin(f, out, m, f->type == COUNTER ? "_total" : "");
		snprintf(text, sizeof(text), "%u", i);
		more(out, "shard", text);
		end(out, *(const uint64_t *)((const char *)&m->shard[i] + f->at));
	}
}

static void shard_timed(const struct family *f, FILE *out, const struct pp_metrics_store *m)
{
	char text[16];

	for (unsigned i = 0; i < m->shards; i++) {
		begin(f, out, m, "_total");
		snprintf(text, sizeof(text), "%u", i);
		more(out, "shard", text);
		end(out, m->facts.usage[i]);
	}
}

static void operations(const struct family *f, FILE *out, const struct pp_metrics_store *m)
{
	for (unsigned i = 0; i < PP_OPS; i++) {
		begin(f, out, m, "_total");
		more(out, "op", pp_op_names[i]);
		end(out, m->facts.totals.ops[i]);
	}
}

/* Buckets are printed one a doubling: their bounds are exact, since the rows in memory have four a doubling. */
struct bounds {
	unsigned first, last;          /* powers of two: of ns, or of what is counted */
	bool ns;
};
static const struct bounds of_time = {7, 33, true}, of_counts = {0, 20, false}, of_sizes = {6, 30, false};

/* By the middle of each bucket; exact below 8. */
static uint64_t sum_of(const struct pp_hist *h)
{
	double sum = 0;

	for (unsigned b = 0; b < PP_HIST_BUCKETS; b++)
		if (h->count[b])
			sum += (double)h->count[b] * (double)(pp_hist_floor_ns(b) + pp_hist_floor_ns(b + 1) - 1) / 2;
	return (uint64_t)(sum + 0.5);
}

static void part(const struct family *f, FILE *out, const struct pp_metrics_store *m, const char *suffix, const char *label, const char *value)
{
	begin(f, out, m, suffix);
	if (label)
		more(out, label, value);
}

static void bucket(const struct family *f, FILE *out, const struct pp_metrics_store *m, const char *label, const char *value, const char *le, uint64_t n)
{
	part(f, out, m, "_bucket", label, value);
	more(out, "le", le);
	end(out, n);
}

/* `label` NULL = none. */
static void histogram(const struct family *f, FILE *out, const struct pp_metrics_store *m, const char *label, const char *value,
	const struct pp_hist *h, struct bounds by)
{
	uint64_t below = 0;
	unsigned b = 0;
	char le[32];

	for (unsigned e = by.first; e <= by.last; e++) {
		for (; b < PP_HIST_BUCKETS && pp_hist_floor_ns(b) < UINT64_C(1) << e; b++)
			below += h->count[b];
		snprintf(le, sizeof(le), by.ns ? "%.10g" : "%.1f", (double)(UINT64_C(1) << e) / (by.ns ? 1e9 : 1));
		bucket(f, out, m, label, value, le, below);
	}
	bucket(f, out, m, label, value, "+Inf", h->total);
	part(f, out, m, "_sum", label, value);
	(by.ns ? end_ns : end)(out, sum_of(h));
	part(f, out, m, "_count", label, value);
	end(out, h->total);
}

static void durations(const struct family *f, FILE *out, const struct pp_metrics_store *m)
{
	for (unsigned i = 0; i < PP_OPS; i++)
		histogram(f, out, m, "op", pp_op_names[i], &m->facts.hist[i], of_time);
}

static void phases(const struct family *f, FILE *out, const struct pp_metrics_store *m)
{
	for (unsigned i = 0; i < PP_PHASES; i++)
		histogram(f, out, m, "phase", pp_phase_names[i], &m->facts.phase[i], of_time);
}

static const struct pp_hist *hist_at(const struct pp_metrics_store *m, size_t at)
{
	return (const struct pp_hist *)((const char *)m + at);
}

static void one_of_time(const struct family *f, FILE *out, const struct pp_metrics_store *m)
{
	histogram(f, out, m, NULL, NULL, hist_at(m, f->at), of_time);
}

static void one_of_counts(const struct family *f, FILE *out, const struct pp_metrics_store *m)
{
	histogram(f, out, m, NULL, NULL, hist_at(m, f->at), of_counts);
}

static void one_of_sizes(const struct family *f, FILE *out, const struct pp_metrics_store *m)
{
	histogram(f, out, m, NULL, NULL, hist_at(m, f->at), of_sizes);
}

static void client(const struct family *f, FILE *out, const struct pp_metrics_store *m)
{
	for (unsigned i = 0; i < m->client_count; i++) {
		const struct pp_metrics_client *c = &m->client[i];
		uint64_t value = *(const uint64_t *)((const char *)c + f->at);

		begin(f, out, m, "");
		more(out, "client", c->name);
		more(out, "access", c->readonly ? "ro" : "rw");
		if (!strcmp(f->unit, "seconds"))
			end_ns(out, value);
		else
			end(out, value);
	}
}

static void table(const struct family *f, FILE *out, const struct pp_metrics_store *m)
{
	bool quota = f->at == offsetof(struct pp_metrics_table, quota_bytes);

	for (unsigned i = 0; m->asked && i < m->table_count; i++) {
		uint64_t value = *(const uint64_t *)((const char *)&m->table[i] + f->at);

		if (quota && !value)
			continue;
		begin(f, out, m, "");
		more(out, "table", m->table[i].name);
		end(out, value);
	}
}

static void bookmark(const struct family *f, FILE *out, const struct pp_metrics_store *m)
{
	for (unsigned i = 0; m->asked && i < m->bookmark_count; i++) {
		begin(f, out, m, "");
		more(out, "bookmark", m->bookmark[i].name);
		end(out, m->bookmark[i].behind);
	}
}

/* ---- families --------------------------------------------------------------------------------------------------- */

static const struct family always[] = {
	{"up", "", GAUGE, "1: the daemon answers and serves the store. 0: what follows is what it left in memory, if anything.", up, 0},
	{"starting", "", GAUGE, "1: the daemon is there, but still reads checkpoint and log.", starting, 0},
};

#define TYPE_gauge GAUGE
#define TYPE_gauge_ns GAUGE
#define TYPE_gauge_told GAUGE
#define TYPE_gauge_asked GAUGE
#define TYPE_total COUNTER
#define NUMBER(member, family, unit, kind, help) {family, unit, TYPE_##kind, help, kind, offsetof(struct pp_metrics_store, member)},
static const struct family numbers[] = {PP_METRICS_NUMBERS(NUMBER)};

#define SHARD(member) shard, offsetof(struct pp_metrics_store, shard[0].member) - offsetof(struct pp_metrics_store, shard)
#define CLIENT(member) client, offsetof(struct pp_metrics_client, member)
#define TABLE(member) table, offsetof(struct pp_metrics_table, member)
static const struct family lists[] = {
	{"store", "", INFO, "Name and settings of the store.", info, 0},
	{"checkpoint_timestamp_seconds", "seconds", GAUGE, "When the newest checkpoint was finished; absent when there is none since the arena was made.",
		checkpoint_time, 0},
	{"operations", "", COUNTER, "Operations since the arena was made; scan: moves of iterators, wait: waits for durability.", operations, 0},
	{"operation_duration_seconds", "seconds", HISTOGRAM, "How long operations took: a sample of each thread is timed (one in 32, of get and scan one in 256, each wait), so _count is not their number; _sum is right to some percent.",
		durations, 0},
	{"write_phase_duration_seconds", "seconds", HISTOGRAM, "Parts of the timed writes: install (version on top of its key), publish (ring and commit), queue (until the "
		"group commit is closed), wake (from durable to running again). Settling and the write of the log lie between the last two.", phases, 0},
	{"commit_records", "", HISTOGRAM, "Records a group commit.", one_of_counts, offsetof(struct pp_metrics_store, facts.commit_records)},
	{"commit_bytes", "bytes", HISTOGRAM, "Log bytes a group commit.", one_of_sizes, offsetof(struct pp_metrics_store, facts.commit_bytes)},
	{"settle_duration_seconds", "seconds", HISTOGRAM, "How long it took to collect a group commit from the rings.", one_of_time,
		offsetof(struct pp_metrics_store, facts.settle)},
	{"log_write_duration_seconds", "seconds", HISTOGRAM, "How long writes of the log took, from submission to completion.", one_of_time,
		offsetof(struct pp_metrics_store, facts.log_write)},
	{"shard_keys", "", GAUGE, "Keys of the shard, removed ones included until their space is taken back.", SHARD(keys)},
	{"shard_bytes", "bytes", GAUGE, "Keys and values of the shard, estimated.", SHARD(bytes)},
	{"shard_leaves", "", GAUGE, "Leaves of the index.", SHARD(leaves)},
	{"shard_splits", "", COUNTER, "Leaves that were split.", SHARD(splits)},
	{"shard_merges", "", COUNTER, "Leaves that were merged.", SHARD(merges)},
	{"shard_contention", "", COUNTER, "Compare-and-swaps that somebody else won.", SHARD(contention)},
	{"shard_timed_operations", "", COUNTER, "Operations in units of 32, from those that are timed: compare the shards with each other.", shard_timed, 0},
	{"clients", "", GAUGE, "Processes attached, by the name that they gave themselves.", CLIENT(processes)},
	{"client_pinned_bytes", "bytes", GAUGE, "About how much memory processes of that name keep from being freed.", CLIENT(pinned_bytes)},
	{"client_read_age_seconds", "seconds", GAUGE, "For how long the oldest read of a process of that name has kept memory from being freed.",
		CLIENT(read_ns)},
	{"client_snapshot_age_seconds", "seconds", GAUGE, "The same of its oldest snapshot.", CLIENT(snapshot_ns)},
	{"table_keys", "", GAUGE, "Keys of the named table.", TABLE(keys)},
	{"table_used_bytes", "bytes", GAUGE, "Keys and values of the named table, as its quota counts them.", TABLE(used_bytes)},
	{"table_quota_bytes", "bytes", GAUGE, "Quota of the named table; absent when it has none.", TABLE(quota_bytes)},
	{"bookmark_lag_epochs", "epochs", GAUGE, "How many positions the bookmark is behind what is durable.", bookmark, 0},
};

/* The counters of threads: named after struct pp_counters, so that a new one shows up by itself. */
static const struct { const char *name, *help; } counter_help[] = {
	{"cas_retries", "Compare-and-swaps of writers that somebody else won."},
	{"helps", "Writes of others that were completed on meeting them."},
	{"aborts", "Writes of dead clients that were undone."},
	{"lock_waits", "Waits for a lock stripe (sync = mutex)."},
	{"lock_wait_ns", "Time spent in them."},
	{"hint_hits", "Reads that found their key by its hash."},
	{"hint_misses", "Reads that went through the index."},
	{"leaf_visits", "Steps to the right in the index."},
	{"overloads", "Writes that met a full ring or log at first."},
	{"allocs", "Blocks of memory allocated."},
	{"frees", "Blocks of memory freed."},
	{"retires", "Blocks of memory that were unlinked."},
	{"splits", "Leaves split by clients."},
	{"merges", "Leaves merged by clients."},
	{"waits", "Waits for durability."},
	{"wait_ns", "Time spent in them."},
	{"overload_ns", "Time that writes waited for room in ring or log."},
	{"find_blocks", "Blocks that searches of the index began with, level by level."},
	{"read_blocks", "Blocks that reads looked at in the index."},
	{"slow_gets", "Gets that did not go the shortest way: timed ones, copies, snapshots, groups, keys without a hint."},
};

static const char *help_of(const char *counter)
{
	for (size_t i = 0; i < sizeof(counter_help) / sizeof(counter_help[0]); i++)
		if (!strcmp(counter_help[i].name, counter))
			return counter_help[i].help;
	return "A counter of ppdb stat --json, over all threads.";
}

/* lock_wait_ns is printed as lock_wait_seconds. */
static struct family counter_family(const struct pp_counter_name *c, char name[64])
{
	size_t size = strlen(c->name);
	bool ns = size > 3 && !strcmp(c->name + size - 3, "_ns");

	snprintf(name, 64, "%.*s%s", (int)(ns ? size - 3 : size), c->name, ns ? "_seconds" : "");
	return (struct family){name, ns ? "seconds" : "", COUNTER, help_of(c->name), ns ? total_ns : total,
		offsetof(struct pp_metrics_store, facts.totals) + c->offset};
}

/* ---- printing --------------------------------------------------------------------------------------------------- */

static void head(FILE *out, enum pp_metrics_format format, const struct family *f)
{
	static const char *const types[] = {"gauge", "counter", "histogram", "info"};
	bool open = format == PP_METRICS_OPENMETRICS;
	const char *suffix = open ? "" : f->type == COUNTER ? "_total" : f->type == INFO ? "_info" : "";

	fprintf(out, "# HELP ppdb_%s%s %s\n", f->name, suffix, f->help);
	fprintf(out, "# TYPE ppdb_%s%s %s\n", f->name, suffix, f->type == INFO && !open ? "gauge" : types[f->type]);
	if (open && f->unit[0])
		fprintf(out, "# UNIT ppdb_%s %s\n", f->name, f->unit);
}

static void family(FILE *out, enum pp_metrics_format format, const struct family *f, const struct pp_metrics_store *m, size_t count, bool unseen)
{
	head(out, format, f);
	for (size_t i = 0; i < count; i++)
		if (m[i].seen || unseen)
			f->each(f, out, &m[i]);
}

void pp_metrics_print(FILE *out, enum pp_metrics_format format, const struct pp_metrics_store *m, size_t count)
{
	char name[64];

	for (size_t i = 0; i < sizeof(always) / sizeof(always[0]); i++)
		family(out, format, &always[i], m, count, true);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		family(out, format, &numbers[i], m, count, false);
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		family(out, format, &lists[i], m, count, false);
	for (size_t i = 0; i < pp_counter_count; i++) {
		struct family f = counter_family(&pp_counter_names[i], name);

		family(out, format, &f, m, count, false);
	}
	if (format == PP_METRICS_OPENMETRICS)
		fputs("# EOF\n", out);
}
