/*
 * facts.c - adds up what the slots of a region, the ended threads and the read-only clients have counted (see facts.h).
 */
#include "tools/facts.h"

#include "engine/stat.h"

#include <string.h>

const char *const pp_op_names[PP_OPS] = {"get", "put", "del", "cas", "add", "scan", "wait", "batch"};
const char *const pp_phase_names[PP_PHASES] = {"install", "publish", "queue", "wake"};

static void add_shards(struct pp_facts *f)
{
	/* All loads are of statistics. */
	for (unsigned i = 0; i < f->r->fixed.shards && i < PP_SHARDS_MAX; i++) {
		f->usage[i] = pp_usage_region(f->r, i) + pp_load_rlx(&f->e->retired.usage[i]) + pp_load_rlx(&f->e->readers.usage[i]);
		f->usage_sum += f->usage[i];
		f->keys += pp_load_rlx(&f->e->shard[i].keys);
		f->leaves += pp_load_rlx(&f->e->shard[i].leaves);
		f->splits += pp_load_rlx(&f->e->shard[i].splits);
		f->merges += pp_load_rlx(&f->e->shard[i].merges);
		f->contention += pp_load_rlx(&f->e->shard[i].contention);
	}
}

static void add_phases(struct pp_facts *f)
{
	for (unsigned p = 0; p < PP_PHASES; p++) {
		for (uint64_t i = 0; i < pp_load_rlx(&f->r->globals->slots_high) && i < f->r->fixed.slots; i++) /* stat */
			pp_hist_merge(&f->phase[p], f->r->slots[i].phase[p]);
		pp_hist_merge64(&f->phase[p], f->e->retired.phase[p]);
		pp_hist_merge64(&f->phase[p], f->e->readers.phase[p]);
	}
	pp_hist_merge64(&f->commit_records, f->e->commit_records);
	pp_hist_merge64(&f->commit_bytes, f->e->commit_bytes);
	pp_hist_merge64(&f->settle, f->e->settle_ns);
	pp_hist_merge64(&f->log_write, f->e->write_ns);
}

void pp_facts_collect(const struct pp_region *r, struct pp_facts *f)
{
	memset(f, 0, sizeof(*f));
	f->r = r;
	f->e = r->engine;
	pp_totals_region(r, &f->e->retired.count, &f->totals);
	pp_totals_add(&f->totals, &f->e->readers.count);
	pp_totals_complete(&f->totals);
	for (unsigned i = 0; i < PP_OPS; i++) {
		pp_hist_region(r, i, &f->hist[i]);
		pp_hist_merge64(&f->hist[i], f->e->retired.hist[i]);
		pp_hist_merge64(&f->hist[i], f->e->readers.hist[i]);
	}
	add_phases(f);
	add_shards(f);
	for (uint64_t i = 0; i < pp_load_rlx(&r->globals->slots_high) && i < r->fixed.slots; i++) /* stat */
		f->slots_used += pp_slot_state(pp_load_rlx(&r->slots[i].owner)) == PP_SLOT_CLAIMED; /* stat */
	for (unsigned i = 0; i < r->fixed.procs; i++)
		f->procs_used += pp_load_rlx(&r->procs[i].state) && !(pp_load_rlx(&r->procs[i].flags) & PP_PROC_DAEMON); /* stat */
	f->backed = pp_load_rlx(&r->globals->committed_segments) * PP_SEGMENT_BYTES -
		pp_load_rlx(&r->globals->holes) * PP_PAGE_BYTES; /* stat */
	f->table_bytes = r->segments_at;
}
