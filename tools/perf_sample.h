/*
 * perf_sample.h - what a store did in an interval: operations and their latencies, phases of durable writes, contention, group commits, shards
 * and clients, as the difference of two looks at the counters in its memory.
 *
 * Looks only: the region may be mapped read-only, its daemon may be stopped or dead. All figures are statistics. Operations are all
 * counted; latencies are those of the timed ones, one in 32 (of gets and steps of iterators one in 256; every wait).
 */
#ifndef PP_TOOLS_PERF_SAMPLE_H
#define PP_TOOLS_PERF_SAMPLE_H

#include "engine/layout.h"
#include "shm/counters.h"

/* The parts of a durable write in their order. INSTALL and PUBLISH are of timed writes, QUEUE (until a group commit begins) and WAKE (from durable to running
 * again) of all waits, SETTLE of group commits (closing, collecting and copying records), WRITE of writes to the log device. */
enum pp_perf_phase { PP_PERF_INSTALL, PP_PERF_PUBLISH, PP_PERF_QUEUE, PP_PERF_SETTLE, PP_PERF_WRITE, PP_PERF_WAKE, PP_PERF_PHASES };

extern const char *const pp_perf_op_names[PP_OPS];
extern const char *const pp_perf_phase_names[PP_PERF_PHASES];

#define PP_PERF_CLIENTS 64             /* those that did most */

struct pp_perf_spread {                /* of a few timed operations */
	uint64_t timed, p50_ns, p99_ns, max_ns;
};

struct pp_perf_shard {
	double per_second;             /* operations on keys, by the share of the timed ones */
	uint64_t timed, keys, bytes, contention; /* timed: operations in units of 32 */
	uint32_t node;
	struct pp_perf_spread read, write; /* of those that slots still remembered */
};

struct pp_perf_client {
	uint32_t pid, threads;
	bool readonly;
	char name[33], command[33];
	uint64_t ops[PP_OPS], total;
	struct pp_perf_spread read, write, wait; /* gets; all writes; waits for durability. Of a read-only client gets only, since it attached */
};

struct pp_perf {
	uint64_t at_ms;                /* wall clock at the end */
	double seconds;                /* 0: everything since the arena was made */

	/* the store */
	char name[64], backend[32];
	char state[16];                /* of the daemon: running, stopped (not by us: its process), dead, ... */
	char pages[24];
	uint32_t pid, shards, nodes, strategy, sync_mode, slots_used, clients_attached, ring_entries;
	uint64_t memory_bytes, incarnation;
	int log_error;
	bool disk_full;
	double beat_seconds;           /* since the daemon's last sign of life */

	/* operations */
	uint64_t ops[PP_OPS];
	struct pp_hist op[PP_OPS];
	struct pp_hist phase[PP_PERF_PHASES];
	struct pp_totals count;        /* contention, hints, waits ... */

	/* group commits */
	struct pp_hist commit_records, commit_bytes; /* total = number of commits; "ns" are records, bytes */
	uint64_t log_records, log_bytes, log_stalls; /* bytes as written, padding included */

	struct pp_perf_shard shard[PP_SHARDS_MAX];
	struct pp_perf_client client[PP_PERF_CLIENTS];
	unsigned clients;
};

static inline double pp_perf_rate(const struct pp_perf *p, uint64_t n)
{
	return p->seconds > 0 ? (double)n / p->seconds : 0;
}

/* All that changes keys, one at a time or in batches. */
uint64_t pp_perf_writes(const struct pp_perf *);
/* Greatest value that was counted, at most 25 % too high; 0 for none. */
uint64_t pp_hist_max_ns(const struct pp_hist *);
/* Average of what was counted. */
double pp_perf_mean(const struct pp_hist *);
/* Adds `later`, the next interval of the same store: a summary of a recording. Percentiles of shards and clients become the worst, p50 the
 * average. */
void pp_perf_merge(struct pp_perf *into, const struct pp_perf *later);

struct pp_perf_sampler;

/* Begins the first interval; with `total` it began when the arena was made. `skip_pid`: a process that is not to be counted as a client. NULL: no memory. */
struct pp_perf_sampler *pp_perf_sampler_open(struct pp_region *, bool total, uint32_t skip_pid);
void pp_perf_sampler_close(struct pp_perf_sampler *);
/* Collects the operations that slots remember, for the latencies of shards: some times in an interval. */
void pp_perf_sampler_look(struct pp_perf_sampler *);
/* Ends the interval and begins the next one. */
void pp_perf_sampler_take(struct pp_perf_sampler *, struct pp_perf *out);

#endif
