/*
 * cmd_bench.h - what the files of `ppdb bench` share; `ppdb tune` runs its measurements through pp_bench_run, too.
 *
 *   cmd_bench.c         options, order of things: fill what a workload needs, run it, report it, clean up
 *   cmd_bench_list.c    the workloads by name
 *   cmd_bench_team.c    processes and threads: start together, watch, collect
 *   cmd_bench_work.c    one worker: when an operation starts (closed or open loop), what is timed
 *   cmd_bench_ops.c     the operations themselves, and which key each takes
 *   cmd_bench_report.c  text and JSON
 *
 * Keys. A record has an id. Those with ids 0 .. keys-1 are loaded; their keys are the decimal numbers id * 16, so that fillseq is ascending.
 * Later inserts get the ids behind; their keys lie scattered between the loaded ones, each once, until 14 times as many have been inserted. Numbers
 * that are 15 modulo 16 are never stored: what is not found is looked for there.
 */
#ifndef PP_TOOLS_CMD_BENCH_H
#define PP_TOOLS_CMD_BENCH_H

#include "client/internal.h" /* first: ppdb.h then leaves the error codes to shm/errors.h */
#include "tools/cmd.h"
#include "tools/measure.h"

#include <signal.h>

#define PP_BENCH_WORKERS 256
#define PP_BENCH_RUNS 64
#define PP_BENCH_MANY 16               /* keys of a ppdb_get_many */
#define PP_BENCH_BATCH 100             /* keys of a ppdb_write */

enum pp_bench_op {
	PP_BENCH_READ, PP_BENCH_MISS, PP_BENCH_GETMANY, PP_BENCH_UPDATE, PP_BENCH_INSERT, PP_BENCH_BATCHPUT, PP_BENCH_DELETE, PP_BENCH_RMW,
	PP_BENCH_ADD, PP_BENCH_SCAN, PP_BENCH_NEXT, PP_BENCH_PREV, PP_BENCH_OPS
};
extern const char *const pp_bench_op_names[PP_BENCH_OPS];

enum pp_bench_draw { PP_BENCH_UNIFORM, PP_BENCH_ZIPFIAN, PP_BENCH_LATEST, PP_BENCH_HOT, PP_BENCH_DRAWS };
extern const char *const pp_bench_draw_names[PP_BENCH_DRAWS];

/* Each id once, and then it is done: in ascending or in random order. */
enum pp_bench_walk { PP_BENCH_ANY, PP_BENCH_ASCENDING, PP_BENCH_SCATTERED };

struct pp_bench_workload {
	const char *name, *about;
	uint8_t percent[PP_BENCH_OPS];
	enum pp_bench_draw draw;
	enum pp_bench_walk walk;
	bool fills, empties;           /* afterwards all keys are there; none is */
	bool durable;                  /* writes return when they are on disk */
	bool any_length;               /* scans of 1 to --scan-length entries, else of that many */
	bool writer;                   /* one more worker, which puts on random keys meanwhile */
	unsigned sample;               /* one operation of so many is timed; 0 = each */
};

const struct pp_bench_workload *pp_bench_find(const char *name);
void pp_bench_list(FILE *);

struct pp_bench {
	const struct pp_cmd *c;
	const char *store;             /* to attach to */
	ppdb_table table;
	uint64_t processes, threads, keys, ops, seed, scan_length, sample; /* ops 0: by time; sample 0: the workload's */
	size_t key_bytes, value_bytes;
	double seconds, warmup;        /* seconds below 0: as the workload needs */
	double rate;                   /* operations a second of all workers; 0: closed loop */
	double theta;
	int draw;                      /* -1: the workload's */
	bool durable;                  /* all writes */
	struct pp_zipf zipf;           /* of the keys; items 0: not made yet */
	uint64_t inserted;             /* ids handed out behind the loaded ones */
	bool progress;                 /* a line on stderr */
};

/* How long it runs at most; 0 = until it is done. */
static inline double pp_bench_seconds(const struct pp_bench *b, const struct pp_bench_workload *w)
{
	return b->seconds >= 0 ? b->seconds : w->walk != PP_BENCH_ANY || b->ops ? 0 : 5;
}

/* What a worker did; its own, read by the coordinator when it is over. */
struct pp_bench_count {
	uint64_t ops[PP_BENCH_OPS], all;
	uint64_t missing, conflicts, overloads, wrong, entries, behind;
	uint64_t begin_ns, end_ns, cpu_ns; /* cpu: of its thread, in between */
	struct pp_latency latency[PP_BENCH_OPS];
};

struct pp_bench_worker {
	_Alignas(PP_CACHE_LINE) pp_a64 done; /* operations so far, warm-up included; for the progress line and the time-out */
	uint64_t pieces;               /* of a walk */
	int failed;
	char message[300];
	struct pp_bench_count count;
};

struct pp_bench_shared {
	_Alignas(PP_CACHE_LINE) pp_a32 stop;
	pp_a32 go;
	pp_a64 start_ns;
	_Alignas(PP_CACHE_LINE) pp_a64 ready;
	_Alignas(PP_CACHE_LINE) pp_a64 inserted;
	struct pp_bench_worker worker[];
};

struct pp_bench_result {
	const struct pp_bench_workload *w;
	bool load;                     /* it only filled the table for the next one */
	unsigned workers;
	double seconds, rate;
	bool interrupted;
	uint64_t walked;               /* ids 0 .. walked-1 have been met by a walk */
	struct pp_bench_count sum;
};

extern volatile sig_atomic_t pp_bench_interrupted;
/* From now on SIGINT, SIGTERM and SIGHUP set it, and SIGPIPE does nothing. */
void pp_bench_catch_signals(void);

/* Runs one workload. 0 (also when it was interrupted, see *out), or an exit code after a message. */
int pp_bench_run(struct pp_bench *, const struct pp_bench_workload *, struct pp_bench_result *out);

/* One worker (cmd_bench_work.c); `index` of `workers`. */
struct pp_bench_job {
	struct pp_bench *b;
	const struct pp_bench_workload *w;
	struct pp_bench_shared *shared;
	ppdb *db;
	unsigned index, workers;
	bool writer;
};
void pp_bench_work(struct pp_bench_job *);

/* ---- operations (cmd_bench_ops.c) ---- */

struct pp_bench_state {
	struct pp_bench_job *job;
	struct pp_bench_count *count;
	uint64_t random, walked, scan_length, generation;
	uint64_t budget;               /* keys that it may still serve */
	ppdb_view *view;
	ppdb_iter *iter;
	bool positioned;
	ppdb_batch *batch;
	ppdb_wopts async;
	const ppdb_wopts *how;
	unsigned reads;                /* since the view was refreshed */
	unsigned keys;                 /* of the operation that was chosen */
	uint64_t id[PP_BENCH_BATCH];
	uint8_t *key[PP_BENCH_BATCH], *value;
};

int pp_bench_begin(struct pp_bench_state *, struct pp_bench_job *);
void pp_bench_end(struct pp_bench_state *);
/* Chooses the operation and its keys: this is not timed. False: the walk is over. */
bool pp_bench_choose(struct pp_bench_state *, enum pp_bench_op *);
/* Does it; how many keys it served, or an error. */
int pp_bench_do(struct pp_bench_state *, enum pp_bench_op);
/* Whether the table holds the keys of a fill already, by a sample of them. */
bool pp_bench_holds(struct pp_bench *, ppdb *);
/* Lets go of what the view keeps from being freed. */
int pp_bench_refresh(struct pp_bench_state *);

/* ---- report ---- */

void pp_bench_print_head(const struct pp_bench *);
void pp_bench_print(const struct pp_bench *, const struct pp_bench_result *);
void pp_bench_json(const struct pp_bench *, const struct pp_bench_result *, unsigned count);
double pp_bench_rate(const struct pp_bench_result *);

#endif
