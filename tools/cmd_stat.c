/*
 * cmd_stat.c - `ppdb stat`: counters, latencies, memory and log, read from the shared region by a read-only client.
 *
 * All of it is statistics: numbers of different lines are from slightly different moments. Counts go back to when the arena was
 * made: threads that have ended are in engine.retired, read-only clients, which are summed up each 100 ms, in engine.readers.
 */
#include "client/internal.h" /* first: ppdb.h then leaves the error codes to shm/errors.h */
#include "tools/cmd_live.h"
#include "tools/metrics.h"
#include "tools/text_json.h"
#include "tools/text_number.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *const state_names[] = {"starting", "running", "stopped", "read-only"};
static const char *const page_names[] = {"4 KiB pages", "transparent huge pages", "hugetlb pages"};
static const char *const strategy_names[] = {"single", "range", "hash"};

static const char *name_of(const char *const *names, unsigned count, uint64_t i)
{
	return i < count ? names[i] : "unknown";
}
#define ANSWER_MS 2000                 /* a daemon that is stopped does not answer; one on a busy machine is slow */
#define NAME(names, i) name_of(names, sizeof(names) / sizeof(names[0]), i)

/* What a daemon that died, or is stopped, has written there says nothing. */
static const char *state_of(const struct pp_facts *f)
{
	return f->answered ? NAME(state_names, pp_load_rlx(&f->r->header->daemon_state)) : "no answer"; /* stat */
}

static uint64_t free_bytes(const struct pp_facts *f)
{
	return pp_load_rlx(&f->r->globals->free_pages) * PP_PAGE_BYTES; /* stat */
}

/* ---- text ------------------------------------------------------------------------------------------------------- */

static void print_store(const struct pp_facts *f)
{
	const struct pp_header *h = f->r->header;
	const struct pp_globals *g = f->r->globals;
	int failed = (int)pp_load_rlx(&g->failed); /* stat */

	printf("store        %.63s, pid %u, %s, incarnation %" PRIu64 "\n", f->r->fixed.name, pp_load_rlx(&h->daemon_pid),
		state_of(f), pp_load_rlx(&h->incarnation)); /* stat */
	printf("shards       %u, strategy %s, sync %s\n", f->r->fixed.shards, NAME(strategy_names, f->r->fixed.strategy),
		f->r->fixed.sync_mode ? "mutex" : "lockfree");
	printf("clients      %u processes, %u of %u slots\n", f->procs_used, f->slots_used, f->r->fixed.slots);
	if (failed)
		printf("log failed   %s: writing has ended, restart ppdbd\n", ppdb_strerror(failed));
}

static void print_memory(const struct pp_facts *f)
{
	char a[PP_TEXT_NUMBER], b[PP_TEXT_NUMBER], c[PP_TEXT_NUMBER], d[PP_TEXT_NUMBER];

	printf("memory       %s of %s backed, %s unused in it, %s tables, %u NUMA node%s\n",
		pp_text_bytes(a, (double)(f->backed + f->table_bytes)), pp_text_bytes(b, (double)f->r->fixed.memory_max),
		pp_text_bytes(c, (double)free_bytes(f)), pp_text_bytes(d, (double)f->table_bytes), f->r->fixed.nodes,
		f->r->fixed.nodes == 1 ? "" : "s");
	printf("pages        %s (%s huge)\n", NAME(page_names, f->r->fixed.page_kind),
		pp_text_bytes(a, (double)(pp_load_rlx(&f->r->globals->huge_segments) * PP_SEGMENT_BYTES))); /* stat */
	printf("index        %" PRIu64 " keys, %" PRIu64 " leaves, %" PRIu64 " splits, %" PRIu64 " merges, %s cells brought into order%s\n", f->keys,
		f->leaves, f->splits, f->merges, pp_text_count(a, (double)pp_load_rlx(&f->e->gathered)),
		pp_load_rlx(&f->e->gathering) ? " (more to come)" : ""); /* stat */
}

static void print_checkpoint(const struct pp_engine *e)
{
	/* All loads are of statistics. */
	uint64_t at = pp_load_rlx(&e->checkpoint_ms), now = pp_wall_ms(), error = pp_load_rlx(&e->checkpoint_error);
	char a[PP_TEXT_NUMBER], b[PP_TEXT_NUMBER];

	printf("checkpoint   %s%s, %s of log since, due at %s", at ? pp_text_seconds(a, now > at ? (double)(now - at) / 1000 : 0) : "none yet",
		at ? " ago" : "", pp_text_bytes(b, (double)pp_load_rlx(&e->checkpoint_behind)),
		pp_text_bytes((char[PP_TEXT_NUMBER]){0}, (double)pp_load_rlx(&e->checkpoint_due)));
	if (error)
		printf(", the last attempt failed: %s", ppdb_strerror(-(int)error));
	putchar('\n');
}

static void print_log(const struct pp_facts *f)
{
	const struct pp_globals *g = f->r->globals;
	char a[PP_TEXT_NUMBER], b[PP_TEXT_NUMBER], c[PP_TEXT_NUMBER];

	/* All loads are of statistics. */
	printf("log          %.31s, %" PRIu64 " segments, %s, %s units, %s records%s\n", f->e->wal_backend,
		pp_load_rlx(&f->e->wal_segments), pp_text_bytes(a, (double)pp_load_rlx(&f->e->wal_bytes)),
		pp_text_count(b, (double)pp_load_rlx(&f->e->wal_units)), pp_text_count(c, (double)pp_load_rlx(&f->e->wal_records)),
		pp_load_rlx(&f->e->wal_full) ? ", DISK FULL" : "");
	printf("log writes   %s epochs, p50 %s", pp_text_count(a, (double)pp_load_rlx(&f->e->wal_epochs)),
		pp_text_seconds(b, (double)pp_load_rlx(&f->e->wal_write_p50_ns) / 1e9));
	printf(", p99 %s, room for %s", pp_text_seconds(a, (double)pp_load_rlx(&f->e->wal_write_p99_ns) / 1e9),
		pp_text_bytes(b, (double)pp_load_rlx(&f->e->wal_free_bytes)));
	printf(", %" PRIu64 " stalls\n", pp_load_rlx(&f->e->wal_stalls));
	printf("epochs       open %" PRIu64 ", settled %" PRIu64 ", durable %" PRIu64 ", checkpoint %" PRIu64 "\n",
		pp_load_rlx(&g->open_epoch), pp_load_rlx(&g->settled_epoch), pp_load_rlx(&g->durable_epoch),
		pp_load_rlx(&f->e->checkpoint_epoch));
	print_checkpoint(f->e);
}

static void print_operations(const struct pp_facts *f)
{
	static const double fraction[] = {0.5, 0.99, 0.999};
	char a[PP_TEXT_NUMBER];

	printf("%-12s %12s %10s %10s %10s\n", "operation", "count", "p50", "p99", "p99.9");
	for (unsigned i = 0; i < PP_OPS; i++) {
		if (!f->totals.ops[i] && !f->hist[i].total)
			continue;
		printf("%-12s %12" PRIu64, pp_op_names[i], f->totals.ops[i]);
		for (unsigned k = 0; k < 3; k++)
			printf(" %10s", f->hist[i].total
				? pp_text_seconds(a, (double)pp_hist_percentile_ns(&f->hist[i], fraction[k]) / 1e9) : "-");
		putchar('\n');
	}
}

static void print_contention(const struct pp_facts *f)
{
	const struct pp_totals *t = &f->totals;
	uint64_t looks = t->hint_hits + t->hint_misses;
	char a[PP_TEXT_NUMBER], b[PP_TEXT_NUMBER];

	printf("contention   %" PRIu64 " CAS retries, %" PRIu64 " helps, %" PRIu64 " aborts, %" PRIu64 " overloads, %" PRIu64
		" lock waits (%s)\n", t->cas_retries, t->helps, t->aborts, t->overloads, t->lock_waits,
		pp_text_seconds(a, (double)t->lock_wait_ns / 1e9));
	printf("waits        %" PRIu64 " for the log (%s)\n", t->waits, pp_text_seconds(a, (double)t->wait_ns / 1e9));
	printf("hints        %.1f %% of %s reads found their key by hash, %s steps to the right\n",
		looks ? 100.0 * (double)t->hint_hits / (double)looks : 0.0, pp_text_count(a, (double)looks),
		pp_text_count(b, (double)t->leaf_visits));
	printf("blocks       %" PRIu64 " allocated, %" PRIu64 " retired, %" PRIu64 " freed\n", t->allocs, t->retires, t->frees);
}

/* Counts that may fall below zero for a moment. */
static uint64_t soft(uint64_t n)
{
	return (int64_t)n < 0 ? 0 : n;
}

static double share(const struct pp_facts *f, unsigned shard)
{
	return f->usage_sum ? 100.0 * (double)f->usage[shard] / (double)f->usage_sum : 0.0;
}

static void print_shards(const struct pp_facts *f)
{
	char a[PP_TEXT_NUMBER];

	if (f->r->fixed.shards < 2)
		return;
	printf("%-6s %4s %12s %10s %12s %8s %8s %10s %6s\n", "shard", "node", "keys", "leaves", "bytes", "splits", "merges", "contention",
		"usage");
	/* All loads are of statistics. */
	for (unsigned i = 0; i < f->r->fixed.shards && i < PP_SHARDS_MAX; i++) {
		const struct pp_shard *s = &f->e->shard[i];

		printf("%-6u %4u %12" PRIu64 " %10" PRIu64 " %12s %8" PRIu64 " %8" PRIu64 " %10" PRIu64 " %5.1f%%\n", i, pp_load_rlx(&s->node),
			soft(pp_load_rlx(&s->keys)), soft(pp_load_rlx(&s->leaves)),
			pp_text_bytes(a, (double)pp_load_rlx(&s->bytes)), pp_load_rlx(&s->splits), pp_load_rlx(&s->merges),
			pp_load_rlx(&s->contention), share(f, i));
	}
}

/* ---- JSON ------------------------------------------------------------------------------------------------------- */

static void json_store(struct pp_json *j, const struct pp_facts *f)
{
	const struct pp_header *h = f->r->header;

	/* All loads are of statistics. */
	pp_json_text(j, "name", f->r->fixed.name);
	pp_json_u64(j, "pid", pp_load_rlx(&h->daemon_pid));
	pp_json_text(j, "state", state_of(f));
	pp_json_u64(j, "incarnation", pp_load_rlx(&h->incarnation));
	pp_json_u64(j, "shards", f->r->fixed.shards);
	pp_json_text(j, "strategy", NAME(strategy_names, f->r->fixed.strategy));
	pp_json_text(j, "sync", f->r->fixed.sync_mode ? "mutex" : "lockfree");
	pp_json_u64(j, "clients", f->procs_used);
	pp_json_u64(j, "slots_used", f->slots_used);
	pp_json_u64(j, "slots", f->r->fixed.slots);
	pp_json_u64(j, "nodes", f->r->fixed.nodes);
	pp_json_i64(j, "log_error", (int)pp_load_rlx(&f->r->globals->failed));
}

static void json_memory(struct pp_json *j, const struct pp_facts *f)
{
	pp_json_open(j, "memory", '{');
	pp_json_u64(j, "max_bytes", f->r->fixed.memory_max);
	pp_json_u64(j, "backed_bytes", f->backed + f->table_bytes);
	pp_json_u64(j, "table_bytes", f->table_bytes);
	pp_json_u64(j, "free_page_bytes", free_bytes(f));
	pp_json_text(j, "pages", NAME(page_names, f->r->fixed.page_kind));
	pp_json_u64(j, "huge_bytes", pp_load_rlx(&f->r->globals->huge_segments) * PP_SEGMENT_BYTES); /* stat */
	pp_json_close(j, '}');
	pp_json_open(j, "index", '{');
	pp_json_u64(j, "keys", f->keys);
	pp_json_u64(j, "leaves", f->leaves);
	pp_json_u64(j, "splits", f->splits);
	pp_json_u64(j, "merges", f->merges);
	pp_json_u64(j, "contention", f->contention);
	pp_json_u64(j, "gathered", pp_load_rlx(&f->e->gathered));       /* stat */
	pp_json_bool(j, "gathering", pp_load_rlx(&f->e->gathering) != 0); /* stat */
	pp_json_close(j, '}');
}

static void json_shards(struct pp_json *j, const struct pp_facts *f)
{
	/* All loads are of statistics. */
	pp_json_open(j, "shard", '[');
	for (unsigned i = 0; i < f->r->fixed.shards && i < PP_SHARDS_MAX; i++) {
		const struct pp_shard *s = &f->e->shard[i];

		pp_json_open(j, NULL, '{');
		pp_json_u64(j, "keys", soft(pp_load_rlx(&s->keys)));
		pp_json_u64(j, "leaves", soft(pp_load_rlx(&s->leaves)));
		pp_json_u64(j, "splits", pp_load_rlx(&s->splits));
		pp_json_u64(j, "merges", pp_load_rlx(&s->merges));
		pp_json_u64(j, "contention", pp_load_rlx(&s->contention));
		pp_json_u64(j, "timed_operations", f->usage[i]);
		pp_json_u64(j, "bytes", pp_load_rlx(&s->bytes));
		pp_json_u64(j, "node", pp_load_rlx(&s->node));
		pp_json_close(j, '}');
	}
	pp_json_close(j, ']');
}

static void json_log(struct pp_json *j, const struct pp_facts *f)
{
	const struct pp_globals *g = f->r->globals;

	/* All loads are of statistics. */
	pp_json_open(j, "log", '{');
	pp_json_text(j, "backend", f->e->wal_backend);
	pp_json_u64(j, "segments", pp_load_rlx(&f->e->wal_segments));
	pp_json_u64(j, "bytes", pp_load_rlx(&f->e->wal_bytes));
	pp_json_u64(j, "units", pp_load_rlx(&f->e->wal_units));
	pp_json_u64(j, "records", pp_load_rlx(&f->e->wal_records));
	pp_json_u64(j, "epochs", pp_load_rlx(&f->e->wal_epochs));
	pp_json_u64(j, "stalls", pp_load_rlx(&f->e->wal_stalls));
	pp_json_u64(j, "free_bytes", pp_load_rlx(&f->e->wal_free_bytes));
	pp_json_u64(j, "write_p50_ns", pp_load_rlx(&f->e->wal_write_p50_ns));
	pp_json_u64(j, "write_p99_ns", pp_load_rlx(&f->e->wal_write_p99_ns));
	pp_json_bool(j, "disk_full", pp_load_rlx(&f->e->wal_full) != 0);
	pp_json_u64(j, "open_epoch", pp_load_rlx(&g->open_epoch));
	pp_json_u64(j, "settled_epoch", pp_load_rlx(&g->settled_epoch));
	pp_json_u64(j, "durable_epoch", pp_load_rlx(&g->durable_epoch));
	pp_json_u64(j, "disk_bytes", pp_load_rlx(&f->e->wal_disk_bytes));
	pp_json_u64(j, "checkpoint_epoch", pp_load_rlx(&f->e->checkpoint_epoch));
	pp_json_u64(j, "checkpoint_ms", pp_load_rlx(&f->e->checkpoint_ms));
	pp_json_i64(j, "checkpoint_error", -(int64_t)pp_load_rlx(&f->e->checkpoint_error));
	pp_json_u64(j, "checkpoint_behind_bytes", pp_load_rlx(&f->e->checkpoint_behind));
	pp_json_u64(j, "checkpoint_due_bytes", pp_load_rlx(&f->e->checkpoint_due));
	pp_json_close(j, '}');
}

static void json_operations(struct pp_json *j, const struct pp_facts *f)
{
	pp_json_open(j, "operations", '{');
	for (unsigned i = 0; i < PP_OPS; i++) {
		pp_json_open(j, pp_op_names[i], '{');
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

static void print_facts(const struct pp_cmd *c, const struct pp_facts *f)
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
	print_contention(f);
	print_shards(f);
}

static const char help_text[] =
	"usage: ppdb [-n NAME] [--json] stat [--prometheus] [--arena FILE]\n\n"
	"Counters go back to when the arena was made, those of the log to the start of the daemon. Works without a daemon, too, on what it\n"
	"left in memory (in FILE, if the store is not where its name says). --json prints one object:\n"
	"  name, pid, state, incarnation, shards, strategy, sync, clients, slots_used, slots, nodes, log_error\n"
	"  memory      max_bytes, backed_bytes, table_bytes, free_page_bytes, pages, huge_bytes\n"
	"  index       keys, leaves, splits, merges, contention: sums over the shards\n"
	"  shard       for each shard keys, leaves, bytes (both soft where shards are ranges), splits, merges, contention (a\n"
	"              CAS was lost), timed_operations (a sample: compare the shards), node (home of its memory)\n"
	"  log         backend, segments, bytes, units, records, epochs (group commits), stalls (a segment was not ready in time),\n"
	"              free_bytes, write_p50_ns and write_p99_ns (recent writes), disk_full, open_epoch, settled_epoch,\n"
	"              durable_epoch, disk_bytes (of its files), checkpoint_epoch, checkpoint_ms (when the last one was finished, since 1970),\n"
	"              checkpoint_error (of the last attempt), checkpoint_behind_bytes (log since then), checkpoint_due_bytes\n"
	"  operations  get, put, del, cas, add, scan (moves of iterators), wait (for durability), batch: each with count, timed\n"
	"              (how many were), p50_ns, p99_ns, p999_ns\n"
	"  counters    cas_retries, helps (others' writes completed), aborts (dead clients' writes), lock_waits and lock_wait_ns (sync =\n"
	"              mutex), hint_hits and hint_misses (reads that did, did not find the key by its hash), leaf_visits (steps to the\n"
	"              right), overloads (no room in ring or log at first) and overload_ns, allocs, frees, retires (blocks), splits, merges,\n"
	"              waits and wait_ns (for the log), find_blocks (blocks that searches of the index began with, level by level),\n"
	"              read_blocks (all blocks that reads looked at there), slow_gets (gets that did not go the shortest way)\n\n"
	"--prometheus prints all of it as metrics, in the text format of Prometheus, for the textfile collector of its node exporter; it works, and exits with\n"
	"0, without a daemon too: ppdb_up 0. ppdb-exporter serves the same over HTTP.\n\n"
	"  ppdb stat                                    how is it going?\n"
	"  ppdb stat --json | jq .operations.put        how long do puts take?\n"
	"  ppdb stat --prometheus >ppdb.prom.new && mv ppdb.prom.new ppdb.prom      in the collector's directory, each minute\n";

/* A store without a daemon is a finding, too: it says ppdb_up 0. */
static int print_metrics(const struct pp_cmd *c, const char *arena)
{
	static struct pp_metrics_store m;
	struct pp_look look;
	int rc;

	pp_look_open(&look, c->store, arena, ANSWER_MS, "ppdb stat");
	rc = pp_metrics_collect(&m, &look, c->store);
	pp_look_close(&look);
	if (rc)
		return pp_cmd_fail(c, rc, NULL);
	pp_metrics_print(stdout, PP_METRICS_PROMETHEUS, &m, 1);
	pp_metrics_free(&m);
	return PP_EXIT_OK;
}

int pp_cmd_stat(struct pp_cmd *c, int argc, char **argv)
{
	static struct pp_facts f;
	bool prometheus = false;
	const char *arena = NULL;
	const struct pp_opt opts[] = {{"prometheus", PP_OPT_FLAG, &prometheus}, {"arena", PP_OPT_TEXT, &arena}, {NULL, 0, NULL}};
	struct pp_live live;
	int rc;

	if (pp_cmd_help(argc, argv, help_text))
		return PP_EXIT_OK;
	if (pp_cmd_options(c, argc, argv, opts, 0, 0) < 0)
		return PP_EXIT_USAGE;
	if (prometheus)
		return print_metrics(c, arena);
	rc = pp_live_open(c, arena, &live);
	if (rc)
		return rc;
	pp_facts_collect(live.region, &f);
	f.answered = live.db != NULL;
	print_facts(c, &f);
	pp_live_close(&live);
	return PP_EXIT_OK;
}
