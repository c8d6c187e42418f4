/*
 * slot.h - claiming and giving back thread slots.
 *
 * A free slot's ring tail has the epoch PP_TAIL_FREE. A claimant (1) raises slots_high, CASes owner FREE -> CLAIMED(proc, gen),
 * (2) full fence, (3) opens the tail at a freshly read E. The daemon bumps E, full fence, then reads owners and tails: either it sees
 * the claim and closes the ring, or the claimant sees the new E (tests/model/claim.pml).
 */
#ifndef PP_SHM_SLOT_H
#define PP_SHM_SLOT_H

#include "shm/thread.h"

/* Claims a free slot of the data region (the near half first) for process record `proc` and fills *t. -ENOSPC with a sentence when
 * all are taken. A process killed inside leaves a CLAIMED slot that the reaper of `proc` gives back. */
int pp_slot_claim(struct pp_region *, uint32_t proc, struct pp_thread *t);

/* Fills *t for a slot in a read-only client's own control region (no ring, no allocation). */
int pp_slot_claim_readonly(struct pp_region *, struct pp_slot *slots, unsigned count, struct pp_thread *t);

/* Gives the slot back: releases owned pages and hands (pp_alloc_release), leaves the interval, sets LEAVING. The daemon frees
 * it (pp_slot_free) once its ring is drained and durable. Read-only: back to FREE at once. */
void pp_slot_leave(struct pp_thread *t);

/* Daemon: LEAVING -> FREE, tail epoch to infinity, what it counted folded into `sum` (NULL: forgotten) and cleared. */
void pp_slot_free(struct pp_region *, unsigned slot, struct pp_stats *sum);

/* A view's hold begins (before what is held is published) and ends (after it is not any more). The number is odd in between. */
static inline void pp_hold_begin(struct pp_slot *s)
{
	pp_store_rel(&s->hold, pp_load_rlx(&s->hold) + 1); /* owner */
}

static inline void pp_hold_end(struct pp_slot *s)
{
	pp_store_rel(&s->hold, pp_load_rlx(&s->hold) + 1); /* owner */
}

/* Daemon, and owner: is what the slot holds not honoured any more? A later hold has another number, whatever became of this one. */
static inline bool pp_hold_evicted(const struct pp_slot *s)
{
	uint64_t hold = pp_load_acq(&s->hold);

	return hold & 1 && pp_load_acq(&s->evicted) == hold;
}

/*
 * Around each call of a view (tests/model/evict.pml): `busy` is stored before the look at `evicted`, so the daemon, which stores `evicted`
 * and has a barrier before it looks at `busy`, withdraws if the call may have missed it. False: evicted, nothing may be looked at.
 */
static inline bool pp_hold_enter(struct pp_thread *t)
{
	pp_store_rlx(&t->slot->busy, 1); /* owner; ordered by the fence below */
	if (t->fences)
		pp_fence_seq();
	else
		pp_fence_compiler();
	/* [hold.enter:evicted] pairs [hold.evict:busy] */
	if (__builtin_expect(!pp_hold_evicted(t->slot), 1))
		return true;
	pp_store_rel(&t->slot->busy, 0);
	return false;
}

static inline void pp_hold_leave(struct pp_thread *t)
{
	pp_store_rel(&t->slot->busy, 0);
}

/* Daemon: takes the slot's hold away if its owner is not inside a call. True: from now on nobody reads under it. */
bool pp_hold_evict(struct pp_slot *);

/* Notes for the reaper. pp_note stores (release) the next note of the current operation; pp_notes_clear forgets them all. */
void pp_note(struct pp_thread *, pp_ref ref, uint64_t what, pp_ref where);
void pp_notes_clear(struct pp_thread *);

#endif
