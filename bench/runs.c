/*
 * The coordinator: loads every store, then runs each workload in interleaved rounds (A B C, B C A,
 * ...) so that noise of the machine hits all stores alike; ratios are taken inside a round.
 *
 * Before a sample that writes, the disk is synced: what one store left dirty is not the next one's
 * bill. After the load and at the end each store is scanned whole: the number of records, their
 * order and both ends of each value must be right, else the run fails.
 */
#include "bench/runs.h"

#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

struct workload {
	const char *name;
	enum kind kind;
	enum mode mode;
	int workers[3];		/* -1 = --sync-procs */
	const char *unit, *about;
	unsigned sample_every;
	int per_op;		/* units of work in one operation */
	double floor_lmdb[3], floor_rocksdb[3];
};

static const struct workload workloads[] = {
	{ "readrandom", KIND_GET, MODE_READ, { 1, 2 }, "gets/s",
	  "random gets, uniform over all keys", 64, 1, { 4, 4 }, { 0 } },
	{ "readrandom-zipf", KIND_GET_ZIPF, MODE_READ, { 1, 2 }, "gets/s",
	  "random gets, zipf .99 (YCSB C)", 64, 1, { 0 }, { 0 } },
	{ "multireadrandom", KIND_GET_MANY, MODE_READ, { 1 }, "gets/s",
	  "random gets, 16 in one call", 16, GET_MANY, { 0 }, { 0 } },
	{ "readseq", KIND_SCAN, MODE_READ, { 1, 2 }, "entries/s",
	  "full scan in key order", 1, 1, { 3 }, { 0 } },
	{ "seekrandom", KIND_RANGE, MODE_READ, { 1, 2 }, "ranges/s",
	  "seek to a random key and read 100 entries (YCSB E)", 16, 1, { 2 }, { 0 } },
	{ "overwrite", KIND_OVERWRITE, MODE_VISIBLE, { 1, 2 }, "puts/s",
	  "puts on random present keys, return when visible", 16, 1, { 8 }, { 0 } },
	{ "fillrandom", KIND_INSERT, MODE_VISIBLE, { 1, 2 }, "puts/s",
	  "puts of new random keys, return when visible", 16, 1, { 8 }, { 0 } },
	{ "fillsync", KIND_INSERT, MODE_DURABLE, { 1, -1 }, "puts/s",
	  "puts of new random keys, return when on disk", 1, 1, { 0, 8 }, { 0, 1.5 } },
};

enum { WORKLOADS = sizeof workloads / sizeof *workloads };

static const char *const phases[][2] = {
	{ "load", "fill an empty store in random order (the load phase of YCSB)" },
	{ "memory", "bytes a key after the load, everything counted" },
	{ "attach", "a fresh process attaches to the loaded store" },
	{ "recovery", "after SIGKILL: from start to usable, from the log alone" },
};

volatile sig_atomic_t bench_interrupted;

bool selected(const char *list, const char *name)
{
	size_t length = strlen(name);

	if (!list)
		return true;
	for (const char *at = list; at; at = strchr(at, ',')) {
		at += *at == ',';
		if (!strncmp(at, name, length) && (!at[length] || at[length] == ','))
			return true;
	}
	return false;
}

void list_workloads(void)
{
	for (unsigned i = 0; i < sizeof phases / sizeof *phases; i++)
		printf("%-16s %s\n", phases[i][0], phases[i][1]);
	for (int i = 0; i < WORKLOADS; i++)
		printf("%-16s %s\n", workloads[i].name, workloads[i].about);
}

/* True when every name of a comma-separated list is a workload. */
bool workload_known(const char *list)
{
	unsigned names = 1, known = 0;

	for (const char *at = list; *at; at++)
		names += *at == ',';
	for (unsigned i = 0; i < sizeof phases / sizeof *phases; i++)
		known += selected(list, phases[i][0]);
	for (int i = 0; i < WORKLOADS; i++)
		known += selected(list, workloads[i].name);
	return known == names;
}

void problem(struct bench *b, const char *format, ...)
{
	va_list args;

	b->problems++;
	fputs("bench: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

void disk_settle(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0) {
		syncfs(fd);
		close(fd);
	}
}

struct row *row_new(struct bench *b, const char *workload, int workers, const char *unit)
{
	struct row *row = &b->report.rows[b->report.row_count++];

	row->workload = workload;
	row->workers = workers;
	row->unit = unit;
	return row;
}

static struct command command_new(struct bench *b, enum kind kind, enum mode mode, int workers)
{
	return (struct command){
		.kind = kind, .mode = mode, .workers = workers, .ops_max = 1,
		.duration_ns = UINT64_MAX / 4, .sample_every = 1, .seed = ++b->samples,
		.generation = b->samples & 0xffffff,
	};
}

/* ---- teams ---- */

static void team_end(struct contestant *c)
{
	team_stop(c->team);
	c->team = NULL;
}

static int workers_of_mode(const struct bench *b, enum mode mode)
{
	if (mode == MODE_LOAD)
		return 1;
	return mode == MODE_DURABLE ? b->options.sync_workers : 2;
}

/* Pages are mapped and caches filled before anything is measured, by one scan and some gets. */
static int team_warm(struct bench *b, struct contestant *c, enum mode mode, int workers)
{
	struct command warm = command_new(b, KIND_WARM, MODE_READ, workers);
	struct result *results;

	if (mode == MODE_LOAD || mode == MODE_DURABLE)
		return 0;
	warm.ops_max = UINT64_MAX;
	warm.duration_ns = 300000000;
	return team_run(c->team, &warm, &results);
}

static int team_ensure(struct bench *b, struct contestant *c, enum mode mode)
{
	int workers = workers_of_mode(b, mode);
	bool fresh = !c->team;

	if (c->team && !team_serves(c->team, mode, workers)) {
		team_end(c);
		fresh = true;
	}
	if (!c->team)
		c->team = team_start(c->driver, &c->place, &b->space, mode, workers);
	if (!c->team)
		return -1;
	return fresh ? team_warm(b, c, mode, c->driver->threads ? 1 : workers) : 0;
}

static void teams_end(struct bench *b)
{
	for (int i = 0; i < b->count; i++)
		if (!b->contestants[i].driver->threads)
			team_end(&b->contestants[i]);
}

/* ---- one sample ---- */

static double rate_of(const struct command *c, const struct result *results, int per_op)
{
	double rate = 0;

	for (int i = 0; i < c->workers; i++)
		rate += (double)results[i].ops * per_op * 1e9 /
			(double)(results[i].end_ns - results[i].start_ns);
	return rate;
}

static void count_inserts(struct contestant *base, const struct command *c,
			  const struct result *results)
{
	uint64_t most = 0;

	for (int i = 0; i < c->workers; i++) {
		base->live += results[i].ops;
		if (results[i].ops > most)
			most = results[i].ops;
	}
	base->next_id += most * (uint64_t)c->workers;
}

static uint64_t wrong_of(const struct command *c, const struct result *results)
{
	uint64_t wrong = 0;

	for (int i = 0; i < c->workers; i++)
		wrong += results[i].wrong;
	return wrong;
}

/* A store that failed stays out of this workload only; the cell says why. */
static double sample(struct bench *b, struct contestant *c, struct command *command, int per_op,
		     struct cell *cell)
{
	struct result *results;

	if (team_ensure(b, c, command->mode) || team_run(c->team, command, &results)) {
		if (!bench_interrupted)
			problem(b, "%s: %s", c->driver->name, bench_failure());
		text_format(cell->note, "%s", bench_failure());
		c->base->unsure = c->base->unsure || command->mode != MODE_READ;
		return NAN;
	}
	if (wrong_of(command, results))
		problem(b, "%s returned %llu wrong values", c->driver->name,
			(unsigned long long)wrong_of(command, results));
	if (command->kind == KIND_INSERT || command->kind == KIND_LOAD)
		count_inserts(c->base, command, results);
	for (int i = 0; i < command->workers; i++)
		pp_latency_merge(&cell->latency, &results[i].latency);
	return rate_of(command, results, per_op);
}

static struct command workload_command(struct bench *b, const struct workload *w, int workers,
				       const struct contestant *c)
{
	struct command command = command_new(b, w->kind, w->mode, workers);
	uint64_t room = b->options.keys / 20 + 20000;	/* or the store would double */

	command.sample_every = w->sample_every;
	if (w->kind != KIND_SCAN) {
		command.duration_ns = (uint64_t)(b->options.seconds * 1e9);
		command.ops_max = w->kind == KIND_INSERT ? room / (uint64_t)workers : UINT64_MAX;
	}
	command.first_id = c->base->next_id;
	return command;
}

static bool takes_part(const struct contestant *c, const struct workload *w)
{
	if (!c->base->ready)
		return false;
	return !c->driver->shares_store || w->mode == MODE_VISIBLE;
}

static void set_floors(struct bench *b, struct row *row, const struct workload *w, int column)
{
	for (int i = 0; i < b->count; i++) {
		if (!strcmp(b->contestants[i].driver->name, "lmdb"))
			row->floor_ratio[i] = w->floor_lmdb[column];
		if (!strcmp(b->contestants[i].driver->name, "rocksdb"))
			row->floor_ratio[i] = w->floor_rocksdb[column];
	}
}

static void workload_run(struct bench *b, const struct workload *w, int column)
{
	int workers = w->workers[column] < 0 ? b->options.sync_workers : w->workers[column];
	struct row *row = row_new(b, w->name, workers, w->unit);

	set_floors(b, row, w, column);
	for (int round = 0; round < b->options.rounds; round++)
		for (int turn = 0; turn < b->count && !bench_interrupted; turn++) {
			int i = (turn + round) % b->count;
			struct contestant *c = &b->contestants[i];
			struct cell *cell = &row->cell[i];
			struct command command = workload_command(b, w, workers, c);

			if (!takes_part(c, w) || cell->note[0])
				continue;
			if (w->mode != MODE_READ)
				disk_settle(c->base->place.dir);
			while (cell->rounds < round)
				cell->samples[cell->rounds++] = NAN;
			cell->samples[cell->rounds++] = sample(b, c, &command, w->per_op, cell);
		}
	report_row_line(&b->report, row);
}

/* ---- load, memory, attach, verify ---- */

static void verify(struct bench *b, struct contestant *c)
{
	struct command command = command_new(b, KIND_VERIFY, MODE_READ, 1);
	struct result *results;

	if (!c->ready || c->driver->shares_store || bench_interrupted)
		return;
	if (team_ensure(b, c, MODE_READ) || team_run(c->team, &command, &results))
		problem(b, "%s: %s", c->driver->name, bench_failure());
	else if (results[0].wrong || (results[0].ops != c->live && !c->unsure))
		problem(b, "%s holds %llu records, %llu expected; %llu out of order or torn",
			c->driver->name, (unsigned long long)results[0].ops,
			(unsigned long long)c->live, (unsigned long long)results[0].wrong);
}

static void load_one(struct bench *b, struct contestant *c, struct row *row, int index)
{
	struct command command = command_new(b, KIND_LOAD, MODE_LOAD, 1);
	struct cell *cell = &row->cell[index];

	if (c->driver->setup(&c->place)) {
		problem(b, "%s: %s", c->driver->name, bench_failure());
		text_format(cell->note, "%s", bench_failure());
		return;
	}
	command.ops_max = b->options.keys;
	command.sample_every = 64;
	cell->samples[cell->rounds++] = sample(b, c, &command, 1, cell);
	c->ready = !isnan(cell->samples[0]);
	if (!c->driver->threads)
		team_end(c);
	disk_settle(c->place.dir);
	if (c->driver->settle && c->ready) {
		uint64_t from = pp_clock_ns();

		if (c->driver->settle(&c->place))
			problem(b, "%s: %s", c->driver->name, bench_failure());
		fprintf(stderr, "%s: at rest %.1f s after the load\n", c->driver->name, (double)(pp_clock_ns() - from) / 1e9);
	}
}

static void load(struct bench *b)
{
	struct row *row = row_new(b, "load", 1, "puts/s");

	for (int i = 0; i < b->count && !bench_interrupted; i++)
		if (!b->contestants[i].driver->shares_store)
			load_one(b, &b->contestants[i], row, i);
	report_row_line(&b->report, row);
	for (int i = 0; i < b->count; i++)
		verify(b, &b->contestants[i]);
}

static void measure_memory(struct bench *b)
{
	struct row *row = row_new(b, "memory", 1, "bytes/key");
	struct command command = command_new(b, KIND_MEMORY, MODE_READ, 1);

	row->less_is_better = true;
	row->floor_value = 230;
	for (int i = 0; i < b->count; i++) {
		struct contestant *c = &b->contestants[i];
		struct cell *cell = &row->cell[i];
		struct memory_use use = { 0 };
		struct result *results;
		int rc;

		if (!c->ready || !c->driver->memory || bench_interrupted)
			continue;
		rc = team_ensure(b, c, MODE_READ);
		if (!rc && c->driver->describe)
			rc = c->driver->memory(&c->place, NULL, &use);
		else if (!rc && !(rc = team_run(c->team, &command, &results)))
			use = results[0].memory;
		if (rc)
			problem(b, "%s: %s", c->driver->name, bench_failure());
		cell->samples[cell->rounds++] = rc ? NAN : (double)use.bytes / (double)c->live;
		text_format(cell->note, "%s", use.what);
	}
	report_row_line(&b->report, row);
}

/* Each attach is a fresh process's. RocksDB has no second process to attach. */
static void measure_attach(struct bench *b)
{
	struct row *row = row_new(b, "attach", 1, "ms");

	row->less_is_better = true;
	row->floor_value = 2;
	for (int round = 0; round < 11; round++)
		for (int i = 0; i < b->count && !bench_interrupted; i++) {
			struct contestant *c = &b->contestants[i];
			struct command command = command_new(b, KIND_ATTACH, MODE_READ, 1);
			struct place plain = c->place;
			struct result *r;
			struct team *t;

			if (!c->ready || c->driver->threads)
				continue;
			plain.populate = false;
			t = team_start_closed(c->driver, &plain, &b->space);
			if (!t || team_run(t, &command, &r)) {
				problem(b, "%s: %s", c->driver->name, bench_failure());
				team_stop(t);
				continue;
			}
			row->cell[i].samples[row->cell[i].rounds++] =
				(double)(r->end_ns - r->start_ns) / 1e6;
			pp_latency_merge(&row->cell[i].latency, &r->latency);
			team_stop(t);
		}
	report_row_line(&b->report, row);
}

/* ---- all ---- */

static bool wants(const struct bench *b, const char *name)
{
	return selected(b->options.only, name) && !bench_interrupted;
}

static bool needs_load(const struct bench *b)
{
	if (!b->options.only)
		return true;
	for (int i = 0; i < WORKLOADS; i++)
		if (wants(b, workloads[i].name))
			return true;
	return wants(b, "load") || wants(b, "memory") || wants(b, "attach");
}

/* Runs when the workloads change from reads to visible writes, so that it is not in any sample. */
static void before_writes(struct bench *b)
{
	for (int i = 0; i < b->count; i++) {
		struct contestant *c = &b->contestants[i];

		if (c->ready && c->driver->before_writes && c->driver->before_writes(&c->place))
			problem(b, "%s: %s", c->driver->name, bench_failure());
	}
}

static void run_loaded(struct bench *b)
{
	load(b);
	for (int i = 0; i < b->count; i++)
		if (b->contestants[i].ready && b->contestants[i].driver->describe &&
		    b->contestants[i].driver->describe(&b->contestants[i].place, b->report.describe,
						       sizeof b->report.describe))
			problem(b, "%s", bench_failure());
	if (wants(b, "memory"))
		measure_memory(b);
	if (wants(b, "attach"))
		measure_attach(b);
	for (int i = 0; i < WORKLOADS; i++) {
		if (i && workloads[i].mode != workloads[i - 1].mode) {
			teams_end(b);
			if (workloads[i].mode == MODE_VISIBLE)
				before_writes(b);
		}
		for (int column = 0; column < 3 && workloads[i].workers[column]; column++)
			if (wants(b, workloads[i].name))
				workload_run(b, &workloads[i], column);
	}
	teams_end(b);
	for (int i = 0; i < b->count; i++)
		verify(b, &b->contestants[i]);
}

int run_all(struct bench *b)
{
	if (wants(b, "readrandom-zipf"))
		keyspace_zipf(&b->space, 0.99);
	report_head(&b->report);
	if (needs_load(b))
		run_loaded(b);
	for (int i = 0; i < b->count; i++) {
		team_end(&b->contestants[i]);
		if (b->contestants[i].driver->teardown)
			b->contestants[i].driver->teardown(&b->contestants[i].place);
	}
	if (wants(b, "recovery"))
		recovery_run(b);
	return b->problems || bench_interrupted ? -1 : 0;
}
