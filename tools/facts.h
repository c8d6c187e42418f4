/*
 * facts.h - one look at the counters of a store: what `ppdb stat` and the metrics print.
 *
 * All of it is statistics: numbers are from slightly different moments. Counts go back to when the arena was made: threads that have
 * ended are in engine.retired, read-only clients, which the daemon sums up each 100 ms, in engine.readers.
 */
#ifndef PP_TOOLS_FACTS_H
#define PP_TOOLS_FACTS_H

#include "engine/store.h"
#include "shm/counters.h"

struct pp_facts {
	const struct pp_region *r;
	const struct pp_engine *e;
	bool answered;                 /* set by who knows: a daemon serves it */
	struct pp_totals totals;
	struct pp_hist hist[PP_OPS], phase[PP_PHASES];
	struct pp_hist commit_records, commit_bytes, settle, log_write; /* of group commits; of writes of the log */
	uint64_t keys, leaves, splits, merges, contention, gathered, gathering;
	uint64_t usage[PP_SHARDS_MAX], usage_sum;
	unsigned slots_used, procs_used;
	uint64_t backed, table_bytes;
};

extern const char *const pp_op_names[PP_OPS], *const pp_phase_names[PP_PHASES];

/* Reads only; the region may belong to a daemon that is dead. */
void pp_facts_collect(const struct pp_region *, struct pp_facts *);

#endif
