/*
 * ppdb-bench: options, contestants, report files. docs/benchmarks.md tells the method.
 *
 * Exit 0 when all ran and every value and count was right, 1 when something failed, 2 on usage.
 * A floor that is missed is reported and does not fail the run.
 */
#include "bench/runs.h"

#include <errno.h>
#include <fts.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const struct driver *const drivers[] = {
#ifndef BENCH_WITHOUT_PPDB
	&driver_ppdb,
#endif
	&driver_lmdb, &driver_lmdb_map, &driver_rocksdb,
};

enum { DRIVERS = sizeof drivers / sizeof *drivers };

static const char usage_text[] =
	"usage: ppdb-bench [options]     (from the top of the source tree; see `make bench`)\n"
	"  --keys N          records, with k or m (10m)\n"
	"  --quick           1m keys, 3 rounds of 1 s\n"
	"  --only A,B        these workloads alone (--list names them)\n"
	"  --stores A,B      of ppdb,lmdb,lmdb-writemap,rocksdb\n"
	"  --rounds N        interleaved rounds (5)\n"
	"  --seconds S       of one sample (1.5)\n"
	"  --value-bytes N   value size, at least 16 (100)\n"
	"  --sync-procs N    processes of the durable puts (16)\n"
	"  --recover-keys N  records of the recovery workload (as --keys)\n"
	"  --rocksdb-sst     RocksDB with its default memtable size and SST files\n"
	"  --dir DIR         scratch directory, on the disk to measure (new in $TMPDIR or /tmp)\n"
	"  --json, --tsv, --markdown FILE    write the results there too\n"
	"  --ppdbd, --ppdb PATH              binaries (./build/ppdbd, ./build/ppdb)\n"
	"  --ppdbd-args \"...\"                more options for the daemon\n"
	"  --revision TEXT   put into the report\n";

static const struct option long_options[] = {
	{ "keys", 1, NULL, 'k' }, { "quick", 0, NULL, 'q' }, { "only", 1, NULL, 'o' },
	{ "stores", 1, NULL, 's' }, { "rounds", 1, NULL, 'r' }, { "seconds", 1, NULL, 't' },
	{ "value-bytes", 1, NULL, 'v' }, { "sync-procs", 1, NULL, 'y' },
	{ "recover-keys", 1, NULL, 'R' }, { "rocksdb-sst", 0, NULL, 'S' }, { "dir", 1, NULL, 'd' },
	{ "json", 1, NULL, 'J' }, { "tsv", 1, NULL, 'T' }, { "markdown", 1, NULL, 'M' },
	{ "ppdbd", 1, NULL, 'D' }, { "ppdb", 1, NULL, 'P' }, { "ppdbd-args", 1, NULL, 'A' },
	{ "revision", 1, NULL, 'V' }, { "list", 0, NULL, 'l' }, { "help", 0, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

static uint64_t number(const char *text)
{
	char *end;
	double value = strtod(text, &end);

	if (*end == 'k' || *end == 'K')
		value *= 1e3, end++;
	else if (*end == 'm' || *end == 'M')
		value *= 1e6, end++;
	return *end || value < 0 ? 0 : (uint64_t)value;
}

static bool set_text(struct options *o, int option, const char *arg)
{
	switch (option) {
	case 'o': o->only = arg; return true;
	case 's': o->stores = arg; return true;
	case 'd': o->dir = arg; return true;
	case 'J': o->json = arg; return true;
	case 'T': o->tsv = arg; return true;
	case 'M': o->markdown = arg; return true;
	case 'D': o->daemon_path = arg; return true;
	case 'P': o->tool_path = arg; return true;
	case 'A': o->daemon_args = arg; return true;
	case 'V': o->revision = arg; return true;
	default: return false;
	}
}

static bool set_number(struct options *o, int option, const char *arg)
{
	switch (option) {
	case 'k': o->keys = number(arg); return true;
	case 'r': o->rounds = atoi(arg); return true;
	case 't': o->seconds = atof(arg); return true;
	case 'v': o->value_bytes = number(arg); return true;
	case 'y': o->sync_workers = atoi(arg); return true;
	case 'R': o->recover_keys = number(arg); return true;
	case 'S': o->sst = true; return true;
	case 'q': o->quick = true; return true;
	default: return false;
	}
}

static int parse(struct options *o, int argc, char **argv)
{
	int option;

	while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		if (option == 'l' || option == 'h') {
			if (option == 'h')
				fputs(usage_text, stdout);
			list_workloads();
			exit(0);
		}
		if (!set_text(o, option, optarg) && !set_number(o, option, optarg))
			return -1;
	}
	return optind == argc ? 0 : -1;
}

static void set_defaults(struct options *o)
{
	if (!o->keys)
		o->keys = o->quick ? 1000000 : 10000000;
	if (!o->rounds)
		o->rounds = o->quick ? 3 : 5;
	if (!(o->seconds > 0))
		o->seconds = o->quick ? 1 : 1.5;
	if (!o->value_bytes)
		o->value_bytes = 100;
	if (!o->sync_workers)
		o->sync_workers = 16;
	if (!o->recover_keys)
		o->recover_keys = o->keys;
}

static bool options_valid(const struct options *o)
{
	if (o->keys < 1000 || o->keys > 1000000000)
		fputs("ppdb-bench: --keys from 1k to 1000m\n", stderr);
	else if (o->value_bytes < 16 || o->value_bytes > VALUE_MAX)
		fputs("ppdb-bench: --value-bytes from 16 to 4096\n", stderr);
	else if (o->rounds < 1 || o->rounds > ROUNDS_MAX)
		fputs("ppdb-bench: --rounds from 1 to 32\n", stderr);
	else if (o->sync_workers < 2 || o->sync_workers > WORKERS_MAX)
		fputs("ppdb-bench: --sync-procs from 2 to 64\n", stderr);
	else if (o->only && !workload_known(o->only))
		fputs("ppdb-bench: --only names an unknown workload; --list shows them\n", stderr);
	else
		return true;
	return false;
}

static const char *scratch_dir(void)
{
	static char path[400];
	const char *tmp = getenv("TMPDIR");

	snprintf(path, sizeof path, "%s/ppdb-bench-XXXXXX", tmp && *tmp ? tmp : "/tmp");
	return mkdtemp(path);
}

/* Empties the scratch directory and removes it. */
static void remove_tree(const char *dir)
{
	char *paths[] = { (char *)dir, NULL };
	FTS *walk = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, NULL);
	FTSENT *e;

	while (walk && (e = fts_read(walk)))
		if (e->fts_info != FTS_D)
			remove(e->fts_path);
	if (walk)
		fts_close(walk);
}

static void add_contestant(struct bench *b, const struct driver *d)
{
	const struct options *o = &b->options;
	struct contestant *c = &b->contestants[b->count];

	c->driver = d;
	c->base = c;
	c->place = (struct place){
		.keys = o->keys, .value_bytes = o->value_bytes, .daemon_path = o->daemon_path,
		.daemon_args = o->daemon_args, .tool_path = o->tool_path, .sst = o->sst,
		.populate = true, .write_map = d == &driver_lmdb_map,
	};
	snprintf(c->place.dir, sizeof c->place.dir, "%s/%s", o->dir, d->name);
	snprintf(c->place.name, sizeof c->place.name, "bench-%d", (int)getpid());
	if (d->shares_store && b->count) {
		c->base = &b->contestants[b->count - 1];
		memcpy(c->place.dir, c->base->place.dir, sizeof c->place.dir);
	}
	b->report.contestant[b->count] = d->name;
	b->report.version[b->count] = d->version();
	b->count++;
}

/* Options that bench/run adds or that say where to write are left out of "again". */
static bool is_plumbing(const char *arg)
{
	static const char *const names[] = { "--dir", "--json", "--tsv", "--markdown", "--revision",
					     "--ppdbd", "--ppdb" };

	for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
		if (!strcmp(arg, names[i]))
			return true;
	return false;
}

/* A variant of a store takes part only when that store does. */
static void add_contestants(struct bench *b)
{
	bool before = false;

	for (int i = 0; i < DRIVERS; i++) {
		bool wanted = selected(b->options.stores, drivers[i]->name);

		if (drivers[i]->shares_store)
			wanted = wanted && before;
		if (wanted)
			add_contestant(b, drivers[i]);
		before = wanted;
	}
	b->report.contestants = b->count;
}

static void command_line(char *text, size_t cap, int argc, char **argv)
{
	size_t used = (size_t)snprintf(text, cap, "make bench ARGS=\"");

	for (int i = 1; i < argc && used < cap; i++) {
		if (is_plumbing(argv[i])) {
			i++;
			continue;
		}
		used += (size_t)snprintf(text + used, cap - used, "%s%s",
					 text[used - 1] == '"' ? "" : " ", argv[i]);
	}
	if (used < cap)
		snprintf(text + used, cap - used, "\"");
	if (!strcmp(text, "make bench ARGS=\"\""))
		snprintf(text, cap, "make bench");
}

static int write_reports(struct bench *b)
{
	const struct options *o = &b->options;

	if ((o->json && report_json(&b->report, o->json)) ||
	    (o->tsv && report_tsv(&b->report, o->tsv)) ||
	    (o->markdown && report_markdown(&b->report, o->markdown))) {
		fprintf(stderr, "ppdb-bench: %s\n", bench_failure());
		return -1;
	}
	return 0;
}

static void on_interrupt(int signo)
{
	(void)signo;
	bench_interrupted = 1;
}

static void report_start(struct bench *b, const char *command)
{
	static struct row rows[ROWS_MAX];
	struct report *r = &b->report;
	time_t now = time(NULL);

	r->rows = rows;
	r->command = command;
	r->revision = b->options.revision ? b->options.revision : "unknown";
	r->keys = b->options.keys;
	r->value_bytes = b->options.value_bytes;
	r->rounds = b->options.rounds;
	r->seconds = b->options.seconds;
	r->sst = b->options.sst;
	strftime(r->started, sizeof r->started, "%Y-%m-%d %H:%M UTC", gmtime(&now));
	machine_read(&r->machine, b->options.dir);
}

static int bench_run(struct bench *b, const char *command)
{
	uint64_t from = pp_clock_ns();
	int rc;

	keyspace_init(&b->space, b->options.keys, b->options.value_bytes);
	add_contestants(b);
	if (!b->count) {
		fputs("ppdb-bench: --stores leaves none\n", stderr);
		return 2;
	}
	report_start(b, command);
	rc = run_all(b);
	b->report.took_s = (double)(pp_clock_ns() - from) / 1e9;
	report_text(&b->report);
	return write_reports(b) || rc ? 1 : 0;
}

int main(int argc, char **argv)
{
	static struct bench bench = {
		.options = { .daemon_path = "./build/ppdbd", .daemon_args = "",
			     .tool_path = "./build/ppdb" },
	};
	static char command[1024];
	struct sigaction act = { .sa_handler = on_interrupt };
	bool own_dir;
	int rc;

	if (parse(&bench.options, argc, argv)) {
		fputs(usage_text, stderr);
		return 2;
	}
	set_defaults(&bench.options);
	if (!options_valid(&bench.options))
		return 2;
	sigaction(SIGINT, &act, NULL);
	sigaction(SIGTERM, &act, NULL);
	signal(SIGPIPE, SIG_IGN);
	own_dir = !bench.options.dir;
	if (own_dir)
		bench.options.dir = scratch_dir();
	else
		mkdir(bench.options.dir, 0700);
	if (!bench.options.dir) {
		fprintf(stderr, "ppdb-bench: no scratch directory: %s\n", strerror(errno));
		return 1;
	}
	command_line(command, sizeof command, argc, argv);
	rc = bench_run(&bench, command);
	remove_tree(bench.options.dir);
	return rc;
}
