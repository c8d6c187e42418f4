/*
 * stat.c - what read-only clients count, brought to where `ppdb stat` can read it.
 *
 * The slots of a read-only client lie in its own control region, which nobody but the daemon maps. Each 100 ms the house thread adds
 * them up into engine.readers; when a client is gone its sums move to engine.retired for good. What a client writes there is believed:
 * these are statistics, a lie spoils nothing but them.
 *
 * Dies inside: engine.readers is from two moments; or a client that was just gone counts twice.
 */
#include "engine/keeper_internal.h"
#include "shm/clock.h"
#include "shm/counters.h"

#include <string.h>

#define READERS_NS UINT64_C(100000000)

/* For `ppdb perf`, which cannot see a read-only client's slots. */
static void publish_client(struct pp_proc *p, const struct pp_extra_slots *x)
{
	struct pp_hist gets;
	uint64_t ops[PP_OPS] = {0};

	memset(&gets, 0, sizeof(gets));
	for (unsigned i = 0; i < x->count; i++) {
		pp_hist_merge(&gets, x->slots[i].hist[PP_OP_GET]);
		for (unsigned op = 0; op < PP_OPS; op++)
			ops[op] += pp_load_rlx(&x->slots[i].count.ops[op]); /* stat */
	}
	for (unsigned op = 0; op < PP_OPS; op++)
		pp_store_rlx(&p->ops[op], ops[op]); /* stat */
	pp_store_rlx(&p->get_p50_ns, pp_hist_percentile_ns(&gets, 0.5)); /* stat */
	pp_store_rlx(&p->get_p99_ns, pp_hist_percentile_ns(&gets, 0.99));
}

static void fold_all(struct pp_stats *sum, const struct pp_extra_slots *x)
{
	for (unsigned i = 0; i < x->count; i++)
		pp_stats_fold(sum, &x->slots[i]);
}

static void publish(struct pp_stats *to, const struct pp_stats *from)
{
	const pp_a64 *source = (const pp_a64 *)from;
	pp_a64 *target = (pp_a64 *)to;

	for (size_t i = 0; i < sizeof(*to) / sizeof(*target); i++)
		pp_store_rlx(&target[i], pp_load_rlx(&source[i])); /* stat */
}

void pp_stat_readers(struct pp_keeper *k)
{
	struct pp_engine *e = k->region.engine;
	struct pp_stats sum;
	uint64_t now = pp_now_ns();

	if (now - k->readers_ns < READERS_NS)
		return;
	k->readers_ns = now;
	memset(&sum, 0, sizeof(sum));
	for (uint32_t p = 0; p < k->region.fixed.procs; p++)
		if (pp_load_acq(&k->extra_set[p])) {
			fold_all(&sum, &k->extra[p]);
			publish_client(&k->region.procs[p], &k->extra[p]);
		}
	publish(&e->readers, &sum);
}

void pp_stat_reader_gone(struct pp_keeper *k, uint32_t proc)
{
	struct pp_engine *e = k->region.engine;

	if (pp_load_acq(&k->extra_set[proc]))
		fold_all(&e->retired, &k->extra[proc]);
	k->readers_ns = 0; /* and no longer among those that are here */
}
