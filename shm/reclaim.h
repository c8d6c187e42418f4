/*
 * reclaim.h - interval-based reclamation (2GE-IBR: Wen et al., PPoPP 2018), so that a stopped reader pins only what was alive
 * while it read.
 *
 * A reader publishes low = high = era, then loads shared references only through pp_protect: load, look at the era again, raise
 * `high` and load AGAIN until the era stood still. A block is born in an era and retired in an era (its header). It may be freed
 * when it was retired before the last announced scan and no announced interval [low, high] meets [birth, retired].
 *
 * Asymmetric barrier: with membarrier(GLOBAL_EXPEDITED) the reader's publish is a plain store + compiler barrier; the daemon calls
 * membarrier before it scans. Without it (thread.fences) the reader fences.
 */
#ifndef PP_SHM_RECLAIM_H
#define PP_SHM_RECLAIM_H

#include "shm/fault.h"
#include "shm/guard.h"
#include "shm/thread.h"

static inline void pp_publish_fence(const struct pp_thread *t)
{
	if (t->fences)
		pp_fence_seq();
	else
		pp_fence_compiler();
}

/* Enters a read section; nests. Every load of a reference into the arena happens inside one. */
static inline void pp_read_enter(struct pp_thread *t)
{
	if (t->depth++)
		return;
	/* [reclaim.enter:interval] pairs [reclaim.scan:interval]: a scan either sees this interval or bumped the era before it */
	uint64_t era = pp_load_acq(&t->region->globals->era);
	pp_store_rlx(&t->slot->high, era); /* owner; ordered by the fence below */
	pp_store_rel(&t->slot->low, era);
	pp_publish_fence(t);
	t->low = t->high = era;
	t->enters++;
}

static inline void pp_read_leave(struct pp_thread *t)
{
	if (--t->depth)
		return;
	pp_store_rel(&t->slot->low, PP_IDLE);
}

/* Makes the era stand still: returns true if `high` had to be raised (then the reference must be loaded again). */
static inline bool pp_era_moved(struct pp_thread *t)
{
	uint64_t era = pp_load_acq(&t->region->globals->era);

	if (__builtin_expect(era == t->high, 1) || PP_MUTANT("reclaim.era_not_reread"))
		return false;
	pp_store_rel(&t->slot->high, era);
	pp_publish_fence(t);
	t->high = era;
	if (__builtin_expect(t->readonly, 0) && pp_evicted(t))
		pp_guard_fail();
	return true;
}

/* Loads a word that holds a reference so that what it refers to stays allocated until pp_read_leave. */
static inline uint64_t pp_protect(struct pp_thread *t, pp_a64 *word)
{
	uint64_t v;

	do
		v = pp_load_acq(word);
	while (pp_era_moved(t));
	return v;
}

static inline uint64_t pp_era(const struct pp_thread *t)
{
	return pp_load_acq(&t->region->globals->era);
}

/*
 * The daemon's round, in the order that design 8 proves (tests/model/reclaim.pml):
 *  pp_reclaim_scan     bumps the era from e to e + 1, membarrier, reads all intervals (data region slots below slots_high, then
 *                      the `extra` slot arrays of read-only clients) into *scan, with scan->era = e + 1 ("retired below it");
 *  (the caller bumps E, closes, settles, waits until that epoch is durable)
 *  pp_reclaim_announce fills the pp_sets copy not in force with the scan and the prune set and publishes it.
 */
struct pp_scan {
	uint64_t era;
	uint64_t snapshot_era;          /* the oldest held snapshot began in it; UINT64_MAX = none */
	unsigned count;
	struct pp_interval interval[PP_MAX_SLOTS];
};
struct pp_extra_slots {
	struct pp_slot *slots;
	unsigned count;
	uint64_t clamp_low, clamp_high; /* hostile input: low is taken as at least clamp_low, high as at most clamp_high */
	bool pin_all;                   /* not reconnected after a daemon restart: counts as [clamp_low, now] */
};
int pp_reclaim_scan(struct pp_region *, const struct pp_extra_slots *extra, unsigned nextra, struct pp_scan *scan);
void pp_reclaim_announce(struct pp_region *, const struct pp_scan *, uint64_t prune_floor, const uint64_t *held, unsigned nheld);

/* struct pp_safe (shm/thread.h) is a private, consistent copy of the announced sets. */
int pp_safe_refresh(struct pp_region *, struct pp_safe *);      /* 1 = changed, 0 = same, -ENOMEM */
void pp_safe_clear(struct pp_safe *);
/* True if a block with this header may be freed under the announced intervals, and when it was moved, held snapshots. */
bool pp_safe_block(const struct pp_safe *, uint64_t birth, uint64_t retired);
/* True if no held S and no future snapshot needs a version with tag tv that was superseded at tw (design 7). */
bool pp_safe_version(const struct pp_safe *, uint64_t tv, uint64_t tw);

/* Registers this process for membarrier(GLOBAL_EXPEDITED); false: not allowed here, the threads must fence. */
bool pp_barrier_register(void);
/* The scanning side: a full barrier on every running thread of registered processes. Falls back to a fence. */
void pp_barrier_global(void);

#endif
