/*
 * cmd_load.h - what the parent of a load and its workers share.
 */
#ifndef PP_TOOLS_CMD_LOAD_H
#define PP_TOOLS_CMD_LOAD_H

#include "shm/hist.h"
#include "tools/cmd.h"

#define PP_LOAD_PROCS_MAX 64

/* One a worker, in memory that all processes of the load share: the worker writes, the parent reads (statistics). */
struct pp_load_count {
	_Alignas(PP_CACHE_LINE) pp_a64 bytes;
	pp_a64 records, durable, bad, expired;
	pp_a32 put[PP_HIST_BUCKETS], sync[PP_HIST_BUCKETS]; /* latencies: until visible; of a chunk's sync */
};

struct pp_load_shared {
	_Alignas(PP_CACHE_LINE) pp_a32 stop; /* a worker failed: the others sync and end */
	struct pp_load_count worker[PP_LOAD_PROCS_MAX];
};

struct pp_load {
	const struct pp_cmd *c;
	const char *file; /* for messages */
	int fd;
	bool regular;     /* has a size and can be read at an offset */
	uint64_t size;
	unsigned procs;
	uint64_t batch;
	bool async, keep_going;
	struct pp_load_shared *shared;
	double began, shown;
	bool terminal;
};

/* Loads the part of worker `index` in this process; an exit code. `idle` is called now and then (NULL allowed). */
int pp_cmd_load_work(struct pp_load *, unsigned index, void (*idle)(struct pp_load *));

#endif
