/*
 * slot.c - thread slots: claim, give back, free, and the notes that a reaper reads.
 *
 * Life of a slot: FREE -> CLAIMED (claimant's CAS) -> LEAVING (its thread, or the reaper of its process) -> FREE (daemon, when the
 * ring is drained and durable). The generation in the owner word grows at each claim, so that no CAS meets an older life.
 *
 * Opening the ring (tests/model/claim.pml). The tail of a FREE slot has epoch PP_TAIL_FREE, later than any epoch, so it counts as
 * closed. The claimant stores CLAIMED, fences, reads E, opens the tail at E, and reads E again until it stood still. The daemon bumps
 * E, fences, reads owners and tails. If it finds the tail open it closes it (a CLAIMED slot's FREE tail it may close as well: the
 * claimant's CAS fails and finds it open). If not, the claimant's CAS comes after its look, so the read of E that follows sees
 * the bump. Nothing is published before that: no entry gets a tag that was closed without it.
 *
 * Notes: `ref` is stored last, and cleared first, so that a reaper never pairs one note's block with another's `what`. A killed
 * process leaves a prefix of its stores in program order; release keeps the compiler to that order.
 *
 * Dies here: in claim, a CLAIMED slot whose process is dead (the reaper of the process gives it back, tail open or not); in
 * leave, a CLAIMED slot with fewer pages; in free, a LEAVING slot that is freed again (folded counters may count twice: statistics).
 */
#include "shm/slot.h"

#include "shm/alloc.h"
#include "shm/clock.h"
#include "shm/counters.h"
#include "shm/fault.h"
#include "shm/numa.h"
#include "shm/place.h"
#include "shm/reclaim.h"

#include <assert.h>
#include <string.h>
#include <unistd.h>

static unsigned my_node(const struct pp_region *r)
{
	unsigned node = r->fixed.nodes > 1 ? pp_numa_here() : 0;

	return node < r->fixed.nodes ? node : 0;
}

static void raise_high(struct pp_region *r, uint64_t count)
{
	uint64_t high = pp_load_acq(&r->globals->slots_high);

	/* [slot.claim:high] pairs [reclaim.scan:high]: a scan that could miss the slot's interval sees its number at least */
	while (high < count && !pp_cas_seq(&r->globals->slots_high, &high, count))
		;
}

static bool take(struct pp_slot *s, uint32_t proc)
{
	uint64_t owner = pp_load_acq(&s->owner);

	if (pp_slot_state(owner) != PP_SLOT_FREE)
		return false;
	/* [slot.claim:owner] pairs [slot.free:owner]: all that the daemon cleared for the next life */
	return pp_cas_seq(&s->owner, &owner, PP_SLOT_OWNER(PP_SLOT_CLAIMED, proc, pp_slot_gen(owner) + 1));
}

static void clear_notes(struct pp_slot *s)
{
	for (unsigned i = 0; i < PP_NOTES; i++)
		pp_store_rel(&s->note[i].ref, 0);
	pp_store_rlx(&s->note_count, 0); /* hint */
}

/* A new owner's own words. The daemon cleared what a reaper would act on; nobody else writes these. */
static void reset(struct pp_slot *s, unsigned node)
{
	pp_store_rel(&s->low, PP_IDLE);
	pp_store_rlx(&s->high, 0);              /* owner */
	pp_store_rlx(&s->snapshot, 0);          /* owner */
	pp_store_rlx(&s->busy, 0);              /* owner */
	pp_store_rlx(&s->hold, (pp_load_rlx(&s->hold) + 1) & ~UINT64_C(1)); /* owner: what the last one held died with it */
	pp_store_rlx(&s->busy_since_ns, 0);     /* owner */
	pp_store_rlx(&s->wait_epoch, 0);        /* owner */
	pp_store_rlx(&s->stripe_wait, 0);       /* owner */
	pp_store_rlx(&s->bell_epoch, 0);        /* owner */
	pp_store_rlx(&s->node, node);           /* owner */
	pp_store_rlx(&s->tid, (uint32_t)gettid()); /* owner */
	pp_store_rlx(&s->claimed_ns, pp_now_ns()); /* owner */
	clear_notes(s);
}

static void open_tail(struct pp_region *r, struct pp_slot *s)
{
	uint64_t tail = pp_load_acq(&s->tail), epoch;

	/* [slot.claim:open] pairs [settle.close:bump]: the daemon sees CLAIMED or the open tail, or this sees the E that it bumped */
	pp_fence_seq();
	for (;;) {
		epoch = pp_load_seq(&r->globals->open_epoch);
		if (epoch >= PP_TAIL_BARRED)
			epoch = PP_TAIL_BARRED - 1; /* damage: no tail could reach it */
		PP_FAULT_POINT("slot.claim.epoch");
		if (pp_tail_epoch(tail) != PP_TAIL_FREE && pp_tail_epoch(tail) >= epoch)
			return;
		if (pp_cas_seq(&s->tail, &tail, PP_TAIL(epoch, pp_tail_index(tail))))
			tail = pp_load_seq(&s->tail);
	}
}

static void fill(struct pp_thread *t, struct pp_region *r, struct pp_slot *s, unsigned index)
{
	memset(t, 0, sizeof(*t));
	t->region = r;
	t->slot = s;
	t->index = index;
	t->node = my_node(r);
	t->fences = !pp_barrier_register() || !r->header->uses_membarrier;
	t->seed = pp_now_ns() * UINT64_C(0x9e3779b97f4a7c15) ^ ((uint64_t)index << 32) ^ (uint64_t)gettid();
	t->seed |= 1;
	t->low = t->high = PP_IDLE;
	t->hints = t->nothing; /* until a table is judged: damage may name none */
	t->place = t->node % PP_PLACES;
	for (unsigned c = 0; c < PP_PLACES * PP_CLASSES; c++) /* threads begin to look for pages at different places */
		t->hand[c / PP_CLASSES][c % PP_CLASSES].cursor = index * 7 * PP_PAGES_PER_SEGMENT;
	reset(s, t->node);
}

int pp_slot_claim(struct pp_region *r, uint32_t proc, struct pp_thread *t)
{
	bool daemon = pp_load_acq(&r->procs[proc].flags) & PP_PROC_DAEMON;
	unsigned below = daemon ? 0 : r->fixed.daemon_slots;
	unsigned slots = r->fixed.slots - below, first = daemon ? 0 : pp_first_slot(&r->fixed, my_node(r)) - below;

	if (r->readonly)
		return pp_detail(PPDB_READONLY, "a read-only mapping has no slots of its own");
	for (unsigned i = 0; i < slots; i++) {
		unsigned n = below + (first + i) % slots;

		raise_high(r, n + 1); /* first: a reaper must find the slot of whoever dies right after taking it */
		if (!take(&r->slots[n], proc))
			continue;
		PP_FAULT_POINT("slot.claim.taken");
		fill(t, r, &r->slots[n], n);
		open_tail(r, &r->slots[n]);
		return 0;
	}
	return pp_detail(-ENOSPC, "all %u thread slots are taken; restart ppdbd with more --slots", slots);
}

int pp_slot_claim_readonly(struct pp_region *r, struct pp_slot *slots, unsigned count, struct pp_thread *t)
{
	for (unsigned n = 0; n < count; n++) {
		if (!take(&slots[n], 0))
			continue;
		fill(t, r, &slots[n], PP_MAX_SLOTS);
		t->readonly = true;
		return 0;
	}
	return pp_detail(-ENOSPC, "all %u thread slots of this read-only client are taken", count);
}

static void set_state(struct pp_slot *s, enum pp_slot_state state)
{
	uint64_t owner = pp_load_acq(&s->owner);

	/* [slot.leave:owner] pairs [slot.free:leaving]: the daemon sees the pages given back and the interval idle */
	pp_cas_seq(&s->owner, &owner, PP_SLOT_OWNER(state, pp_slot_proc(owner), pp_slot_gen(owner)));
}

void pp_slot_leave(struct pp_thread *t)
{
	struct pp_slot *s = t->slot;

	if (!t->readonly)
		pp_alloc_release(t);
	pp_safe_clear(&t->safe);
	t->notes = 0;
	clear_notes(s);
	pp_store_rlx(&s->snapshot, 0); /* owner */
	pp_store_rlx(&s->busy, 0);     /* owner */
	pp_store_rel(&s->low, PP_IDLE);
	set_state(s, t->readonly ? PP_SLOT_FREE : PP_SLOT_LEAVING);
	t->slot = NULL;
}

void pp_slot_free(struct pp_region *r, unsigned slot, struct pp_stats *sum)
{
	struct pp_slot *s = &r->slots[slot];
	/* [slot.free:leaving] pairs [slot.leave:owner] */
	uint64_t owner = pp_load_acq(&s->owner), tail = pp_load_acq(&s->tail);

	if (pp_slot_state(owner) != PP_SLOT_LEAVING)
		return;
	if (sum)
		pp_stats_fold(sum, s);
	pp_stats_clear(s);
	reset(s, 0);
	pp_store_rlx(&s->tid, 0);            /* the daemon owns the slot now */
	pp_store_rlx(&s->claimed_ns, 0);
	pp_store_rlx(&s->credit_want, 0);
	while (pp_tail_epoch(tail) < PP_TAIL_BARRED &&
	       !pp_cas_seq(&s->tail, &tail, PP_TAIL(PP_TAIL_FREE, pp_tail_index(tail))))
		;
	/* [slot.free:owner] pairs [slot.claim:owner]: tail closed for good, notes and interval cleared */
	pp_cas_seq(&s->owner, &owner, PP_SLOT_OWNER(PP_SLOT_FREE, 0, pp_slot_gen(owner)));
}

bool pp_hold_evict(struct pp_slot *s)
{
	uint64_t hold = pp_load_acq(&s->hold);

	if (!(hold & 1) || pp_load_acq(&s->busy))
		return false;
	pp_store_seq(&s->evicted, hold);
	PP_FAULT_POINT("hold.evict.stored");
	pp_barrier_global();
	/* [hold.evict:busy] pairs [hold.enter:evicted]: a call that missed `evicted` is seen here */
	if (!pp_load_seq(&s->busy))
		return true;
	pp_store_seq(&s->evicted, 0);
	return false;
}

void pp_note(struct pp_thread *t, pp_ref ref, uint64_t what, pp_ref where)
{
	struct pp_note *n;

	assert(t->notes < PP_NOTES);
	if (t->notes >= PP_NOTES)
		return;
	n = &t->slot->note[t->notes++];
	pp_store_rlx(&n->what, what);   /* ordered by the release below */
	pp_store_rlx(&n->where, where); /* ordered by the release below */
	/* [slot.note:ref] pairs [reap.slot:note]: what and where belong to this block */
	pp_store_rel(&n->ref, ref);
	pp_store_rlx(&t->slot->note_count, t->notes); /* hint */
}

void pp_notes_clear(struct pp_thread *t)
{
	while (t->notes)
		pp_store_rel(&t->slot->note[--t->notes].ref, 0);
	pp_store_rlx(&t->slot->note_count, 0); /* hint */
}
