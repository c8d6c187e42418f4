/* The coordinator's plan: which workloads, on which contestants, in which rounds. See runs.c. */
#ifndef BENCH_RUNS_H
#define BENCH_RUNS_H

#include "bench/bench.h"

#include <signal.h>

struct options {
	uint64_t keys, recover_keys;
	size_t value_bytes;
	int rounds, sync_workers;
	double seconds;
	const char *only, *stores, *dir, *json, *tsv, *markdown, *revision;
	const char *daemon_path, *daemon_args, *tool_path;
	bool sst, quick;
};

struct contestant {
	const struct driver *driver;
	struct place place;
	struct team *team;
	struct contestant *base;	/* whose store this is; itself for most */
	uint64_t next_id, live;		/* of the base: ids handed out, records stored */
	bool ready, unsure;		/* unsure: a failed sample put who knows what */
};

struct bench {
	struct options options;
	struct keyspace space;
	struct contestant contestants[CONTESTANTS_MAX];
	int count;
	struct report report;
	uint64_t samples;		/* makes each sample's seed its own */
	int problems;
};

extern volatile sig_atomic_t bench_interrupted;

void list_workloads(void);
bool workload_known(const char *list);
int run_all(struct bench *);
void recovery_run(struct bench *);
struct row *row_new(struct bench *, const char *workload, int workers, const char *unit);
void problem(struct bench *, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool selected(const char *list, const char *name);
void disk_settle(const char *dir);

#endif
