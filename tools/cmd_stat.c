/*
 * cmd_stat.c - `ppdb stat`: counters, latencies, memory and log, read from the shared region by a read-only client.
 *
 * All of it is statistics: numbers of different lines are from slightly different moments. Counters of threads that have ended
 * are kept by the daemon only as far as it folds them; rates are best taken between two calls.
 */
#include "client/internal.h" /* first: ppdb.h then leaves the error codes to shm/errors.h */
#include "shm/counters.h"
#include "tools/cmd.h"
#include "tools/text_json.h"
#include "tools/text_number.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *const op_names[PP_OPS] = {"get", "put", "del", "cas", "add", "scan", "wait", "batch"};
static const char *const state_names[] = {"starting", "running", "stopped", "read-only"};
static const char *const page_names[] = {"4 KiB pages", "transparent huge pages", "hugetlb pages"};
static const char *const strategy_names[] = {"single", "range", "hash"};

struct facts {
	const struct pp_region *r;
	const struct pp_engine *e;
	struct pp_totals totals;
	struct pp_hist hist[PP_OPS];
	uint64_t keys, leaves, splits, merges, contention;
	unsigned slots_used, procs_used;
	uint64_t backed, table_bytes;
};

static const char *name_of(const char *const *names, unsigned count, uint64_t i)
{
	return i < count ? names[i] : "unknown";
}
#define NAME(names, i) name_of(names, sizeof(names) / sizeof(names[0]), i)

static void add_shards(struct facts *f)
{
	/* All loads are of statistics. */
	for (unsigned i = 0; i < f->r->header->shards && i < PP_SHARDS_MAX; i++) {
		f->keys += pp_load_rlx(&f->e->shard[i].keys);
		f->leaves += pp_load_rlx(&f->e->shard[i].leaves);
		f->splits += pp_load_rlx(&f->e->shard[i].splits);
		f->merges += pp_load_rlx(&f->e->shard[i].merges);
		f->contention += pp_load_rlx(&f->e->shard[i].contention);
	}
}

static void collect(const struct pp_region *r, struct facts *f)
{
	memset(f, 0, sizeof(*f));
	f->r = r;
	f->e = r->engine;
	pp_totals_region(r, NULL, &f->totals);
	for (unsigned i = 0; i < PP_OPS; i++)
		pp_hist_region(r, i, &f->hist[i]);
	add_shards(f);
	for (uint64_t i = 0; i < pp_load_rlx(&r->globals->slots_high) && i < r->header->slots; i++) /* stat */
		f->slots_used += pp_slot_state(pp_load_rlx(&r->slots[i].owner)) == PP_SLOT_CLAIMED; /* stat */
	for (unsigned i = 0; i < r->header->procs; i++)
		f->procs_used += pp_load_rlx(&r->procs[i].state) && !(pp_load_rlx(&r->procs[i].flags) & PP_PROC_DAEMON); /* stat */
	f->backed = pp_load_rlx(&r->globals->committed_segments) * PP_SEGMENT_BYTES; /* stat */
	f->table_bytes = r->segments_at;
}

static uint64_t free_bytes(const struct facts *f)
{
	return pp_load_rlx(&f->r->globals->free_pages) * PP_PAGE_BYTES; /* stat */
}

/* ---- text ------------------------------------------------------------------------------------------------------- */

static void print_store(const struct facts *f)
{
	const struct pp_header *h = f->r->header;
	const struct pp_globals *g = f->r->globals;
	int failed = (int)pp_load_rlx(&g->failed); /* stat */

	printf("store        %.63s, pid %u, %s, incarnation %" PRIu64 "\n", h->name, pp_load_rlx(&h->daemon_pid),
		NAME(state_names, pp_load_rlx(&h->daemon_state)), pp_load_rlx(&h->incarnation)); /* stat */
	printf("shards       %u, strategy %s, sync %s\n", h->shards, NAME(strategy_names, h->strategy),
		h->sync_mode ? "mutex" : "lockfree");
	printf("clients      %u processes, %u of %u slots\n", f->procs_used, f->slots_used, h->slots);
	if (failed)
		printf("log failed   %s: writing has ended, restart ppdbd\n", ppdb_strerror(failed));
}

static void print_memory(const struct facts *f)
{
	char a[PP_TEXT_NUMBER], b[PP_TEXT_NUMBER], c[PP_TEXT_NUMBER], d[PP_TEXT_NUMBER];
	const struct pp_header *h = f->r->header;

	printf("memory       %s of %s backed, %s unused in it, %s tables, %u NUMA node%s\n",
		pp_text_bytes(a, (double)(f->backed + f->table_bytes)), pp_text_bytes(b, (double)h->memory_max),
		pp_text_bytes(c, (double)free_bytes(f)), pp_text_bytes(d, (double)f->table_bytes), h->nodes,
		h->nodes == 1 ? "" : "s");
	printf("pages        %s (%s huge)\n", NAME(page_names, h->page_kind),
		pp_text_bytes(a, (double)(pp_load_rlx(&f->r->globals->huge_segments) * PP_SEGMENT_BYTES))); /* stat */
	printf("index        %" PRIu64 " keys, %" PRIu64 " leaves, %" PRIu64 " splits, %" PRIu64 " merges\n", f->keys, f->leaves,
		f->splits, f->merges);
}

static void print_log(const struct facts *f)
{
	const struct pp_globals *g = f->r->globals;
	char a[PP_TEXT_NUMBER], b[PP_TEXT_NUMBER], c[PP_TEXT_NUMBER];

	/* All loads are of statistics. */
	printf("log          %.31s, %" PRIu64 " segments, %s, %s units, %s records%s\n", f->e->wal_backend,
		pp_load_rlx(&f->e->wal_segments), pp_text_bytes(a, (double)pp_load_rlx(&f->e->wal_bytes)),
		pp_text_count(b, (double)pp_load_rlx(&f->e->wal_units)), pp_text_count(c, (double)pp_load_rlx(&f->e->wal_records)),
		pp_load_rlx(&f->e->wal_full) ? ", DISK FULL" : "");
	printf("epochs       open %" PRIu64 ", settled %" PRIu64 ", durable %" PRIu64 ", checkpoint %" PRIu64 "\n",
		pp_load_rlx(&g->open_epoch), pp_load_rlx(&g->settled_epoch), pp_load_rlx(&g->durable_epoch),
		pp_load_rlx(&f->e->checkpoint_epoch));
}

static void print_operations(const struct facts *f)
{
	static const double fraction[] = {0.5, 0.99, 0.999};
	char a[PP_TEXT_NUMBER];

	printf("%-12s %12s %10s %10s %10s\n", "operation", "count", "p50", "p99", "p99.9");
	for (unsigned i = 0; i < PP_OPS; i++) {
		if (!f->totals.ops[i] && !f->hist[i].total)
			continue;
		printf("%-12s %12" PRIu64, op_names[i], f->totals.ops[i]);
		for (unsigned k = 0; k < 3; k++)
			printf(" %10s", f->hist[i].total
				? pp_text_seconds(a, (double)pp_hist_percentile_ns(&f->hist[i], fraction[k]) / 1e9) : "-");
		putchar('\n');
	}
}

static void print_counters(const struct facts *f)
{
	for (size_t i = 0; i < pp_counter_count; i++) {
		uint64_t n = pp_total_of(&f->totals, &pp_counter_names[i]);

		if (n)
			printf("%-12s %12" PRIu64 "\n", pp_counter_names[i].name, n);
	}
}

/* ---- JSON ------------------------------------------------------------------------------------------------------- */

static void json_store(struct pp_json *j, const struct facts *f)
{
	const struct pp_header *h = f->r->header;

	/* All loads are of statistics. */
	pp_json_text(j, "name", h->name);
	pp_json_u64(j, "pid", pp_load_rlx(&h->daemon_pid));
	pp_json_text(j, "state", NAME(state_names, pp_load_rlx(&h->daemon_state)));
	pp_json_u64(j, "incarnation", pp_load_rlx(&h->incarnation));
	pp_json_u64(j, "shards", h->shards);
	pp_json_text(j, "strategy", NAME(strategy_names, h->strategy));
	pp_json_text(j, "sync", h->sync_mode ? "mutex" : "lockfree");
	pp_json_u64(j, "clients", f->procs_used);
	pp_json_u64(j, "slots_used", f->slots_used);
	pp_json_u64(j, "slots", h->slots);
	pp_json_u64(j, "nodes", h->nodes);
	pp_json_i64(j, "log_error", (int)pp_load_rlx(&f->r->globals->failed));
}

static void json_memory(struct pp_json *j, const struct facts *f)
{
	pp_json_open(j, "memory", '{');
	pp_json_u64(j, "max_bytes", f->r->header->memory_max);
	pp_json_u64(j, "backed_bytes", f->backed + f->table_bytes);
	pp_json_u64(j, "table_bytes", f->table_bytes);
	pp_json_u64(j, "free_page_bytes", free_bytes(f));
	pp_json_text(j, "pages", NAME(page_names, f->r->header->page_kind));
	pp_json_u64(j, "huge_bytes", pp_load_rlx(&f->r->globals->huge_segments) * PP_SEGMENT_BYTES); /* stat */
	pp_json_close(j, '}');
	pp_json_open(j, "index", '{');
	pp_json_u64(j, "keys", f->keys);
	pp_json_u64(j, "leaves", f->leaves);
	pp_json_u64(j, "splits", f->splits);
	pp_json_u64(j, "merges", f->merges);
	pp_json_u64(j, "contention", f->contention);
	pp_json_close(j, '}');
}

static void json_shards(struct pp_json *j, const struct facts *f)
{
	/* All loads are of statistics. */
	pp_json_open(j, "shard", '[');
	for (unsigned i = 0; i < f->r->header->shards && i < PP_SHARDS_MAX; i++) {
		const struct pp_shard *s = &f->e->shard[i];

		pp_json_open(j, NULL, '{');
		pp_json_u64(j, "keys", pp_load_rlx(&s->keys));
		pp_json_u64(j, "leaves", pp_load_rlx(&s->leaves));
		pp_json_u64(j, "contention", pp_load_rlx(&s->contention));
		pp_json_u64(j, "bytes", pp_load_rlx(&s->bytes));
		pp_json_u64(j, "node", pp_load_rlx(&s->node));
		pp_json_close(j, '}');
	}
	pp_json_close(j, ']');
}

static void json_log(struct pp_json *j, const struct facts *f)
{
	const struct pp_globals *g = f->r->globals;

	/* All loads are of statistics. */
	pp_json_open(j, "log", '{');
	pp_json_text(j, "backend", f->e->wal_backend);
	pp_json_u64(j, "segments", pp_load_rlx(&f->e->wal_segments));
	pp_json_u64(j, "bytes", pp_load_rlx(&f->e->wal_bytes));
	pp_json_u64(j, "units", pp_load_rlx(&f->e->wal_units));
	pp_json_u64(j, "records", pp_load_rlx(&f->e->wal_records));
	pp_json_bool(j, "disk_full", pp_load_rlx(&f->e->wal_full) != 0);
	pp_json_u64(j, "open_epoch", pp_load_rlx(&g->open_epoch));
	pp_json_u64(j, "settled_epoch", pp_load_rlx(&g->settled_epoch));
	pp_json_u64(j, "durable_epoch", pp_load_rlx(&g->durable_epoch));
	pp_json_u64(j, "checkpoint_epoch", pp_load_rlx(&f->e->checkpoint_epoch));
	pp_json_close(j, '}');
}

static void json_operations(struct pp_json *j, const struct facts *f)
{
	pp_json_open(j, "operations", '{');
	for (unsigned i = 0; i < PP_OPS; i++) {
		pp_json_open(j, op_names[i], '{');
		pp_json_u64(j, "count", f->totals.ops[i]);
		pp_json_u64(j, "timed", f->hist[i].total);
		pp_json_u64(j, "p50_ns", pp_hist_percentile_ns(&f->hist[i], 0.5));
		pp_json_u64(j, "p99_ns", pp_hist_percentile_ns(&f->hist[i], 0.99));
		pp_json_u64(j, "p999_ns", pp_hist_percentile_ns(&f->hist[i], 0.999));
		pp_json_close(j, '}');
	}
	pp_json_close(j, '}');
	pp_json_open(j, "counters", '{');
	for (size_t i = 0; i < pp_counter_count; i++)
		pp_json_u64(j, pp_counter_names[i].name, pp_total_of(&f->totals, &pp_counter_names[i]));
	pp_json_close(j, '}');
}

static void print_facts(const struct pp_cmd *c, const struct facts *f)
{
	struct pp_json j = {.out = stdout, .indent = true};

	if (c->json) {
		pp_json_open(&j, NULL, '{');
		json_store(&j, f);
		json_memory(&j, f);
		json_shards(&j, f);
		json_log(&j, f);
		json_operations(&j, f);
		pp_json_close(&j, '}');
		return;
	}
	print_store(f);
	print_memory(f);
	print_log(f);
	print_operations(f);
	print_counters(f);
}

int pp_cmd_stat(struct pp_cmd *c, int argc, char **argv)
{
	static struct facts f;
	ppdb *db;
	int rc;

	if (pp_cmd_options(c, argc, argv, NULL, 0, 0) < 0)
		return PP_EXIT_USAGE;
	rc = pp_cmd_attach(c, PPDB_RDONLY, &db);
	if (rc)
		return rc;
	collect(pp_client_region(db), &f);
	print_facts(c, &f);
	ppdb_detach(db);
	return PP_EXIT_OK;
}
