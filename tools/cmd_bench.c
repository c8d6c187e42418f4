/*
 * cmd_bench.c - `ppdb bench`: measures a store under named workloads (see cmd_bench.h for its parts).
 *
 * It works in a named table of its own, which it drops at the end, so that no key of the user is touched; or in the table that --table names, which
 * stays; or on a daemon of its own (--scratch). A workload that needs keys gets them loaded first.
 *
 * Dies inside: a killed bench leaves its table, ppdb-bench-PID; the next one names it.
 */
#include "tools/cmd_bench.h"
#include "tools/cmd_scratch.h"
#include "tools/conf.h"
#include "tools/text_number.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define TABLE_PREFIX "ppdb-bench-"
#define RECORD_OVERHEAD 200u           /* bytes of a record besides key and value, roughly */
#define DEFAULT_SEED 1

struct bench {
	struct pp_bench b;
	struct pp_cmd c;               /* of the store that is measured: a scratch daemon's, too */
	struct pp_scratch scratch;
	ppdb *db;
	char table_name[64];
	bool own_table, filled, dirty;
	const struct pp_bench_workload *list[PP_BENCH_RUNS];
	unsigned wanted, done;
	struct pp_bench_result *results;
};

struct texts {
	const char *keys, *ops, *key_size, *value_size, *seconds, *warmup, *rate, *draw, *theta, *data_dir, *options;
	bool scratch, list, durable;
};

static void on_signal(int signal)
{
	(void)signal;
	pp_bench_interrupted = 1;
}

void pp_bench_catch_signals(void)
{
	static const int caught[] = {SIGINT, SIGTERM, SIGHUP};
	struct sigaction act = {.sa_handler = on_signal};

	for (unsigned i = 0; i < sizeof(caught) / sizeof(caught[0]); i++)
		sigaction(caught[i], &act, NULL);
	signal(SIGPIPE, SIG_IGN); /* whoever read the output may have gone: there is still something to clean up */
}

/* ---- arguments ---- */

/* A number with k, m or g (thousands), or with a fraction. */
static bool number(const char *text, double least, double most, double *out)
{
	static const char units[] = "kmg";
	char *end;
	double v;

	if (!isdigit((unsigned char)*text))
		return false;
	v = strtod(text, &end);
	for (unsigned i = 0; i < 3; i++)
		if (tolower((unsigned char)*end) == units[i]) {
			for (unsigned k = 0; k <= i; k++)
				v *= 1000;
			end++;
			break;
		}
	*out = v;
	return !*end && v >= least && v <= most;
}

static int take_number(const struct pp_cmd *c, const char *option, const char *text, double least, double most, double *out)
{
	if (!text || number(text, least, most, out))
		return 0;
	return pp_cmd_usage(c, "--%s takes %g to %g, not '%s'", option, least, most, text);
}

static int take_count(const struct pp_cmd *c, const char *option, const char *text, double least, double most, uint64_t *out)
{
	double v = (double)*out;
	int rc = take_number(c, option, text, least, most, &v);

	*out = (uint64_t)v;
	return rc;
}

static int take_size(const struct pp_cmd *c, const char *option, const char *text, uint64_t least, uint64_t most, size_t *out)
{
	uint64_t v;

	if (!text)
		return 0;
	if (pp_conf_size(text, &v) || v < least || v > most)
		return pp_cmd_usage(c, "--%s takes %" PRIu64 " to %" PRIu64 " bytes, not '%s'", option, least, most, text);
	*out = v;
	return 0;
}

static int take_draw(const struct pp_cmd *c, const char *text, int *out)
{
	if (!text)
		return 0;
	for (int i = 0; i < PP_BENCH_DRAWS; i++)
		if (!strcmp(text, pp_bench_draw_names[i])) {
			*out = i;
			return 0;
		}
	return pp_cmd_usage(c, "--distribution is uniform, zipfian, latest or hot, not '%s'", text);
}

static int take_workloads(struct bench *x, int n, char **words)
{
	for (int i = 1; i <= n; i++) {
		char *save = NULL;

		for (char *name = strtok_r(words[i], ",", &save); name; name = strtok_r(NULL, ",", &save)) {
			const struct pp_bench_workload *w = pp_bench_find(name);

			if (!w)
				return pp_cmd_usage(x->b.c, "there is no workload '%s'; 'ppdb bench --list' names them", name);
			if (x->wanted == PP_BENCH_RUNS / 2)
				return pp_cmd_usage(x->b.c, "there are too many workloads; %d are the most", PP_BENCH_RUNS / 2);
			x->list[x->wanted++] = w;
		}
	}
	return 0;
}

static int check_sizes(const struct pp_bench *b)
{
	double most = 1;

	for (size_t i = 0; i < b->key_bytes && most < 1e15; i++)
		most *= 10;
	if ((double)b->keys * 16 > most)
		return pp_cmd_usage(b->c, "keys of %zu bytes are too short for %" PRIu64 " keys: their numbers reach %" PRIu64, b->key_bytes, b->keys,
			b->keys * 16);
	if (b->processes < 1 || b->threads < 1 || b->processes * b->threads >= PP_BENCH_WORKERS || b->threads >= PP_BENCH_WORKERS)
		return pp_cmd_usage(b->c, "--processes times --threads is 1 to %d", PP_BENCH_WORKERS - 1);
	if (b->scan_length < 1 || b->sample > 1000000)
		return pp_cmd_usage(b->c, "--scan-length is at least 1, --sample at most a million");
	return 0;
}

static int take_all(struct bench *x, const struct texts *t)
{
	struct pp_bench *b = &x->b;
	int rc = take_count(b->c, "keys", t->keys, 1, 4e9, &b->keys);

	if (!rc)
		rc = take_count(b->c, "ops", t->ops, 1, 1e15, &b->ops);
	if (!rc)
		rc = take_size(b->c, "key-size", t->key_size, 4, 4096, &b->key_bytes);
	if (!rc)
		rc = take_size(b->c, "value-size", t->value_size, 0, 64 << 20, &b->value_bytes);
	if (!rc)
		rc = take_number(b->c, "duration", t->seconds, 0.01, 1e6, &b->seconds);
	if (!rc)
		rc = take_number(b->c, "warmup", t->warmup, 0, 1e6, &b->warmup);
	if (!rc)
		rc = take_number(b->c, "rate", t->rate, 0.01, 1e9, &b->rate);
	if (!rc)
		rc = take_number(b->c, "theta", t->theta, 0.01, 0.999, &b->theta);
	if (!rc)
		rc = take_draw(b->c, t->draw, &b->draw);
	return rc ? rc : check_sizes(b);
}

/* ---- the table ---- */

static int name_leftovers(void *ctx, const ppdb_table_info *info)
{
	const struct pp_cmd *c = ctx;

	if (!strncmp(info->name, TABLE_PREFIX, strlen(TABLE_PREFIX)))
		pp_cmd_note(c, "the table %s is another bench's; if that was killed, remove it: ppdb%s table drop %s", info->name, pp_cmd_dash_n(c), info->name);
	return 0;
}

static int make_table(struct bench *x)
{
	ppdb_table_opts o = {.size = sizeof(o), .flags = PPDB_CREATE};
	int rc = ppdb_table_open(x->db, x->table_name, &o, &x->b.table);

	return rc ? pp_cmd_fail(&x->c, rc, x->table_name) : 0;
}

static int drop_table(struct bench *x)
{
	int rc = x->own_table ? ppdb_table_drop(x->db, x->table_name) : 0;

	if (!rc)
		return 0;
	pp_cmd_fail(&x->c, rc, "drop of the bench's table");
	pp_cmd_note(&x->c, "remove it later: ppdb%s table drop %s", pp_cmd_dash_n(&x->c), x->table_name);
	return PP_EXIT_ERROR;
}

/* A store that serves somebody must not be filled up by a measurement. */
static int check_room(struct bench *x)
{
	const struct pp_region *r = pp_client_region(x->db);
	/* All loads are of statistics. */
	uint64_t backed = pp_load_rlx(&r->globals->committed_segments) * PP_SEGMENT_BYTES;
	uint64_t unused = r->fixed.memory_max - (backed < r->fixed.memory_max ? backed : r->fixed.memory_max) +
		pp_load_rlx(&r->globals->free_pages) * PP_PAGE_BYTES;
	double need = (double)x->b.keys * (double)(x->b.key_bytes + x->b.value_bytes + RECORD_OVERHEAD);
	char a[PP_TEXT_NUMBER], b[PP_TEXT_NUMBER];

	if (need < 0.8 * (double)unused)
		return 0;
	pp_cmd_note(&x->c, "%" PRIu64 " keys need about %s, and %s of the store's memory are unused: take fewer --keys, or --scratch", x->b.keys,
		pp_text_bytes(a, need), pp_text_bytes(b, (double)unused));
	return PP_EXIT_ERROR;
}

static int open_store(struct bench *x)
{
	int rc = pp_cmd_attach(&x->c, 0, &x->db);

	if (rc)
		return rc;
	x->own_table = !x->b.c->table;
	if (x->own_table) {
		ppdb_table_list(x->db, name_leftovers, &x->c);
		snprintf(x->table_name, sizeof(x->table_name), TABLE_PREFIX "%d", (int)getpid());
	} else if ((size_t)snprintf(x->table_name, sizeof(x->table_name), "%s", x->b.c->table) >= sizeof(x->table_name)) {
		return pp_cmd_usage(x->b.c, "the name of the table is too long");
	}
	if (!x->own_table && !ppdb_table_open(x->db, x->table_name, NULL, &x->b.table))
		x->filled = pp_bench_holds(&x->b, x->db);
	rc = x->filled ? 0 : check_room(x);
	return rc ? rc : make_table(x);
}

/* ---- runs ---- */

static int run(struct bench *x, const struct pp_bench_workload *w, bool load)
{
	struct pp_bench b = x->b;
	struct pp_bench_result *r = &x->results[x->done];
	int rc;

	if (load) { /* as fast as it goes */
		b.ops = 0;
		b.seconds = -1;
		b.rate = 0;
		b.durable = false;
	}
	rc = pp_bench_run(&b, w, r);
	x->b.zipf = b.zipf;
	x->b.inserted = b.inserted;
	r->load = load;
	x->done++;
	x->dirty = x->dirty || w->fills;
	x->filled = w->fills ? r->walked >= x->b.keys : x->filled && !w->empties;
	if (!b.c->json)
		pp_bench_print(&b, r);
	return rc;
}

/* db_bench begins each fill with an empty store. */
static int empty_table(struct bench *x)
{
	int rc = 0;

	if (!x->own_table || !x->dirty)
		return 0;
	rc = drop_table(x);
	x->filled = x->dirty = false;
	x->b.inserted = 0;
	return rc ? rc : make_table(x);
}

static bool needs_keys(const struct pp_bench_workload *w)
{
	return !w->fills && !w->percent[PP_BENCH_ADD];
}

static int run_one(struct bench *x, const struct pp_bench_workload *w)
{
	int rc = w->fills ? empty_table(x) : 0;

	if (!rc && needs_keys(w) && !x->filled)
		rc = run(x, pp_bench_find("fillrandom"), true);
	if (!rc && !pp_bench_interrupted)
		rc = run(x, w, false);
	return rc;
}

static int run_all(struct bench *x)
{
	uint64_t wrong = 0;
	int rc = 0;

	x->results = calloc(PP_BENCH_RUNS, sizeof(*x->results));
	if (!x->results)
		return pp_cmd_fail(&x->c, -ENOMEM, NULL);
	if (!x->b.c->json)
		pp_bench_print_head(&x->b);
	for (unsigned i = 0; i < x->wanted && !rc && !pp_bench_interrupted; i++)
		rc = run_one(x, x->list[i]);
	for (unsigned i = 0; i < x->done; i++)
		wrong += x->results[i].sum.wrong;
	if (x->b.c->json)
		pp_bench_json(&x->b, x->results, x->done);
	if (pp_bench_interrupted)
		pp_cmd_note(&x->c, "interrupted; these are the results so far");
	if (wrong && !rc) {
		pp_cmd_note(&x->c, "%" PRIu64 " values were not what had been written%s", wrong,
			x->own_table ? ": run 'ppdb check'" : ": the table holds something else than a bench's keys, or run 'ppdb check'");
		rc = PP_EXIT_ERROR;
	}
	free(x->results);
	return rc;
}

static int start_scratch(struct bench *x, const struct texts *t)
{
	uint64_t memory = x->b.keys * (x->b.key_bytes + x->b.value_bytes + 2 * RECORD_OVERHEAD) * 3 / 2 + (UINT64_C(512) << 20);
	int rc = pp_scratch_start(&x->c, &x->scratch, t->data_dir, memory, t->options ? t->options : "", &pp_bench_interrupted);

	if (rc)
		pp_cmd_note(&x->c, "%s", x->scratch.said);
	x->c.store = x->scratch.socket;
	return rc;
}

static int measure(struct bench *x, const struct texts *t)
{
	int rc = t->scratch ? start_scratch(x, t) : 0, dropped = 0;

	if (rc)
		return rc;
	x->b.store = x->c.store;
	rc = open_store(x);
	if (!rc) {
		rc = run_all(x);
		dropped = t->scratch ? 0 : drop_table(x);
	}
	if (x->db)
		ppdb_detach(x->db);
	pp_scratch_stop(&x->scratch);
	return rc ? rc : dropped;
}

static const char help_text[] =
	"usage: ppdb [-n NAME] [--json] bench WORKLOAD... [options]\n\n"
	"Measures the store under workloads, one after the other. It works in a table of its own, which it drops at the end: no key of yours is\n"
	"touched, but memory, log and processors are shared with whoever works on the store. Keys that a workload needs are loaded first.\n\n"
	"  --scratch            on a daemon of its own, in $TMPDIR or /tmp; --data-dir DIR: there; --options \"...\": more of ppdbd\n"
	"  --table T            in table T, which is made if it is not there and stays; its keys that look like the bench's are overwritten\n"
	"  --processes P --threads T   workers: T threads in each of P processes (1, 1)\n"
	"  --keys N             records (100k); --key-size, --value-size BYTES (16, 100)\n"
	"  --duration S         of each workload but fills and deletes (5), or --ops N operations in all\n"
	"  --warmup S           seconds before that, which do not count (1)\n"
	"  --rate R             open loop: R operations a second of all workers, each timed from when it was due, so that what a stall holds\n"
	"                       up counts; without it a worker begins an operation when the one before has ended (closed loop)\n"
	"  --durable            every write returns when it is on disk (fillsync: always; the others: when it is visible)\n"
	"  --distribution D     of the keys: uniform, zipfian, latest, hot (1 % of the keys); --theta X of zipfian (0.99)\n"
	"  --scan-length N      entries of a scan (100); --sample N: time one of N operations (1), which costs some 60 ns; --seed N (1)\n"
	"Numbers take k, m, g. Ctrl-C ends it with the results so far. Exit 0; 3: no daemon; 4: something failed or a value was wrong.\n\n"
	"  ppdb bench readrandom ycsb-a                                 # on the running store, in a table of its own\n"
	"  ppdb bench --scratch fillseq,readseq,deleteseq --keys 1m\n"
	"  ppdb bench ycsb-b --processes 4 --rate 50k --duration 30     # latencies at 50,000 operations a second\n"
	"  ppdb bench fillsync --processes 16 --keys 20k --json\n"
	"  ppdb bench readrandom --table t --keys 10m                   # t stays; a second run need not load it again\n\n"
	"--json prints {processes, threads, keys, key_bytes, value_bytes, seed, workloads: [{name, load, workers, seconds, ops, ops_per_s, cpu_seconds,\n"
	"rate, behind, missing, conflicts, overloads, entries, wrong, interrupted, operations: {KIND: {ops, timed, p50_ns, p90_ns, p99_ns, p999_ns,\n"
	"p9999_ns, max_ns, mean_ns}}}]}. cpu_seconds: of the workers alone; behind: operations that were due and\n"
	"had not begun at the end; missing: keys that were not there; conflicts: read-modify-writes done again; overloads: the log was full; entries: met by scans.\n\n"
	"Workloads: those of db_bench, and YCSB's A to F (also ycsba, workloada, a)\n";

static int help(void)
{
	fputs(help_text, stdout);
	pp_bench_list(stdout);
	return PP_EXIT_OK;
}

int pp_cmd_bench(struct pp_cmd *c, int argc, char **argv)
{
	static struct bench x;
	struct texts t = {0};
	struct pp_bench *b = &x.b;
	const struct pp_opt opts[] = {{"processes", PP_OPT_U64, &b->processes}, {"threads", PP_OPT_U64, &b->threads}, {"keys", PP_OPT_TEXT, &t.keys},
		{"key-size", PP_OPT_TEXT, &t.key_size}, {"value-size", PP_OPT_TEXT, &t.value_size}, {"duration", PP_OPT_TEXT, &t.seconds},
		{"ops", PP_OPT_TEXT, &t.ops}, {"warmup", PP_OPT_TEXT, &t.warmup}, {"rate", PP_OPT_TEXT, &t.rate}, {"seed", PP_OPT_U64, &b->seed},
		{"distribution", PP_OPT_TEXT, &t.draw}, {"theta", PP_OPT_TEXT, &t.theta}, {"scan-length", PP_OPT_U64, &b->scan_length},
		{"sample", PP_OPT_U64, &b->sample}, {"durable", PP_OPT_FLAG, &b->durable}, {"scratch", PP_OPT_FLAG, &t.scratch},
		{"data-dir", PP_OPT_TEXT, &t.data_dir}, {"options", PP_OPT_TEXT, &t.options}, {"table", PP_OPT_TEXT, &c->table},
		{"list", PP_OPT_FLAG, &t.list}, {NULL, 0, NULL}};
	int n, rc;

	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
			return help();
	*b = (struct pp_bench){.c = c, .processes = 1, .threads = 1, .keys = 100000, .key_bytes = 16, .value_bytes = 100, .seconds = -1, .warmup = 1,
		.scan_length = 100, .theta = 0.99, .draw = -1, .seed = DEFAULT_SEED, .progress = isatty(STDERR_FILENO) && !c->json};
	n = pp_cmd_options(c, argc, argv, opts, 0, PP_BENCH_RUNS);
	if (n < 0)
		return PP_EXIT_USAGE;
	if (t.list) {
		pp_bench_list(stdout);
		return PP_EXIT_OK;
	}
	rc = n ? take_workloads(&x, n, argv) : pp_cmd_usage(c, "name a workload; 'ppdb bench --list' shows them");
	if (!rc)
		rc = take_all(&x, &t);
	if (!rc && !t.scratch && (t.data_dir || t.options))
		rc = pp_cmd_usage(c, "--data-dir and --options are for --scratch");
	if (rc)
		return rc;
	pp_bench_catch_signals();
	x.c = *c;
	return measure(&x, &t);
}
