/*
 * snapshot.c - holding a cut, and collecting what is held.
 *
 * A snapshot is a settled epoch S in the holder's slot: it sees the newest version with tag <= S of each key. Taking one: store S,
 * full barrier, read the announced floor P again; if S < P the pruner may not have seen it, take a newer one. The pruner: announce P,
 * barrier, read what is held, publish (P, held). So either the holder sees P, or the pruner sees S (tests/model/floor.pml).
 *
 * Ordering. [snapshot.hold:fence] pairs [snapshot.collect:fence]: store of S before load of P, store of P before load of S.
 *
 * Dies inside: S stays in the slot until the reaper clears it.
 */
#include "engine/keeper_internal.h"
#include "shm/clock.h"
#include "shm/fault.h"
#include "shm/slot.h"
#include "shm/wait.h"

#include <stdlib.h>

#define SETTLE_TIMEOUT_NS UINT64_C(5000000000)
#define NAP_NS UINT64_C(200000)
#define HOLD_TRIES 1000000             /* each but the first is due to a new announcement */

int pp_snapshot_await(struct pp_thread *t, uint64_t epoch, uint64_t timeout_ns)
{
	struct pp_globals *g = t->region->globals;
	uint64_t deadline = pp_now_ns() + timeout_ns;

	while (pp_load_acq(&g->settled_epoch) < epoch) {
		if (pp_now_ns() > deadline)
			return pp_detail(PPDB_TIMEOUT, "ppdbd did not settle the newest writes in time; is it running?");
		if (!t->readonly) {
			pp_store_rel(&g->snapshot_request, 1);
			pp_ring_bell(t->region);
		}
		if (pp_wait_durable(t, pp_load_acq(&g->durable_epoch) + 1, NAP_NS) == PPDB_DAEMON_GONE)
			pp_futex_wait(&g->durable_futex, pp_load_acq(&g->durable_futex), UINT32_MAX, NAP_NS); /* it may come back */
	}
	return 0;
}

int pp_snapshot_hold(struct pp_thread *t, uint64_t at_least, uint64_t *s)
{
	struct pp_globals *g = t->region->globals;
	int rc = pp_snapshot_await(t, at_least, SETTLE_TIMEOUT_NS);
	unsigned tries = 0;

	if (rc)
		return rc;
	pp_store_rel(&t->slot->snapshot_era, pp_era(t)); /* before S: who sees S sees it (shm/reclaim.c) */
	do {
		if (++tries > HOLD_TRIES)
			return pp_detail(PPDB_CORRUPT, "the store's memory is damaged: it announces a cut that it has not reached");
		*s = pp_load_acq(&g->settled_epoch);
		PP_FAULT_POINT("snapshot.hold.chosen");
		pp_store_rel(&t->slot->snapshot, *s);
		pp_fence_seq(); /* [snapshot.hold:fence] pairs [snapshot.collect:fence], [reclaim.scan:snapshot]: S, or P is seen here */
	} while (*s < pp_load_acq(&g->prune_floor) && !PP_MUTANT("snapshot.floor_not_reread"));
	return 0;
}

void pp_snapshot_drop(struct pp_thread *t)
{
	pp_store_rel(&t->slot->snapshot, 0);
}

static int ascending(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* `shared`: they lie in the data region, where `evicted` is the daemon's word. */
static void collect_slots(const struct pp_slot *slots, unsigned n, bool shared, uint64_t settled, uint64_t *held, unsigned *count)
{
	for (unsigned i = 0; i < n && *count < PP_MAX_SLOTS; i++) {
		uint64_t s = pp_load_acq(&slots[i].snapshot);

		if (s && !(shared && pp_hold_evicted(&slots[i])))
			held[(*count)++] = s < settled ? s : settled;
	}
}

void pp_snapshot_collect(struct pp_keeper *k, uint64_t *floor, uint64_t *held, unsigned *count)
{
	struct pp_globals *g = k->region.globals;
	uint64_t p = pp_load_acq(&g->settled_epoch), before = pp_load_rlx(&g->prune_floor); /* owner */

	if (p < before)
		p = before;
	pp_store_rel(&g->prune_floor, p);
	pp_fence_seq(); /* [snapshot.collect:fence] pairs [snapshot.hold:fence]: P is announced before S is read */
	pp_barrier_global();
	PP_FAULT_POINT("snapshot.collect.announced");
	*count = 0;
	collect_slots(k->region.slots, pp_slots_high(&k->region), true, p, held, count);
	for (unsigned i = 0; i < k->region.fixed.procs; i++) {
		if (pp_reader_evicted(k, i))
			continue;
		/* [keeper.readers:pinned] pairs [keeper.control:pinned]: before extra_set */
		if (pp_load_acq(&k->pinned[i])) {
			*count = 0;
			*floor = 0;
			return;
		}
		if (pp_load_acq(&k->extra_set[i]))
			collect_slots(k->extra[i].slots, k->extra[i].count, false, p, held, count);
	}
	qsort(held, *count, sizeof(*held), ascending);
	*floor = *count < PP_MAX_SLOTS ? p : before; /* more than fit in: nothing new is pruned */
}
