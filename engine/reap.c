/*
 * reap.c - settling what a dead process left in its slots.
 *
 * For each slot, in this order (each step may be repeated, so a daemon that dies here starts over):
 *   1. the operation's version or batch, if it is still undecided: ABORTED. (If its entry was published, the step thread may commit it first; one
 *      CAS decides.) Readers and writers pass over an aborted version; the keeper removes it.
 *   2. the notes: a noted block that is LIVE but not reachable was unlinked and not retired: retire it.
 *   3. the pages (shm/alloc.h): PRIVATE blocks that are reachable were linked: make them LIVE; the others are freed.
 *   4. interval, snapshot, notes, and LEAVING. The slot becomes free when its ring is drained and durable.
 *
 * Ordering. [reap.settle:version] pairs [install.op:version]: op_version was stored before its version could be linked.
 */
#include "engine/batch.h"
#include "engine/index_internal.h"
#include "engine/keeper_internal.h"
#include "engine/move.h"
#include "engine/version.h"
#include "shm/fault.h"
#include "shm/probe.h"
#include "shm/slot.h"

/* A PRIVATE cell may have been linked by the dead one, or not. */
static bool cell_linked(struct pp_thread *t, pp_ref cell)
{
	uint64_t hash = pp_cell_hash(pp_cell_at(t, cell));

	return !pp_damage(t) && pp_index_reachable(t, PP_NOTE_WHAT(PP_NOTE_CELL, 0), cell, pp_list_of(t, hash));
}

static bool version_reachable(struct pp_thread *t, pp_ref block, uint64_t where)
{
	pp_ref cell = pp_link_ref(where);
	enum pp_block_state state;

	pp_cell_at(t, cell);
	if (pp_damage(t))
		return false;
	state = pp_block_state(pp_load_acq(&pp_block_at(t->region, cell)->word));

	if (pp_gen_of(t->region, cell) != pp_link_gen(where) || state == PP_BLOCK_FREE || state == PP_BLOCK_RETIRED)
		return false;
	if (state == PP_BLOCK_PRIVATE && !cell_linked(t, cell))
		return false;
	return pp_version_reachable(t, pp_cell_at(t, cell), block + offsetof(struct pp_version_block, v));
}

static bool reachable(struct pp_thread *t, uint64_t what, pp_ref ref, uint64_t where)
{
	if (pp_note_kind(what) == PP_NOTE_VERSION)
		return version_reachable(t, ref, where);
	return pp_index_reachable(t, what, ref, where);
}

static void settle_operation(struct pp_keeper *k, struct pp_slot *s)
{
	struct pp_thread *t = &k->house;
	/* [reap.settle:version] pairs [install.op:version]: op_block belongs to it */
	pp_ref version = pp_load_acq(&s->op_version);
	uint64_t block = pp_load_acq(&s->op_block), expected = PP_STATE(PP_PENDING, 0, 0);

	if (!version || !pp_ref_inside(&k->region, version & ~PP_ENTRY_BATCH, sizeof(struct pp_version)) || !pp_ref_inside(&k->region, pp_link_ref(block), 8))
		return;
	if (pp_gen_of(&k->region, pp_link_ref(block)) != pp_link_gen(block))
		return;
	if (pp_block_state(pp_load_acq(&pp_block_at(&k->region, pp_link_ref(block))->word)) == PP_BLOCK_FREE)
		return;
	if (version & PP_ENTRY_BATCH) {
		pp_batch_reap(t, version & ~PP_ENTRY_BATCH, pp_link_gen(block));
		pp_damage_result(t, 0);
		pp_store_rlx(&k->todo_overflow, 1); /* hint: the sweep finds the aborted heads */
		return;
	}
	if (pp_cas_acqrel(&pp_version_at(t, version)->state, &expected, PP_STATE(PP_ABORTED, 0, 0))) {
		pp_count(&t->slot->count.aborts, 1);
		PPDB_PROBE(abort, version, t->index);
		expected = PP_STATE(PP_ABORTED, 0, 0);
	}
	/* also when a daemon that died since has aborted it: no sweep took it away while its cell was PRIVATE */
	if (pp_state_status(expected) == PP_ABORTED)
		pp_store_rlx(&k->todo_overflow, 1); /* hint: the sweep finds the aborted head */
}

/* Does the leaf name `ref` for the key of `cell`? */
static bool stands_for(struct pp_thread *t, pp_ref cell, pp_ref ref)
{
	struct pp_cell *c = pp_at(t->region, cell);
	struct pp_ikey k = {pp_cell_key(c), pp_cell_key_size(c)};
	struct pp_place p;

	pp_index_find(t, pp_list_of(t, pp_cell_hash(c)), 0, &k, false, &p);
	return p.equal && pp_block_ref(p.block, p.at) == ref;
}

/* Was `payload` a copy that the dead one has put into a leaf (engine/gather.c)? What was PRIVATE then is still where it put it. */
static bool gathered(struct pp_thread *t, const struct pp_note *n, pp_ref payload)
{
	const struct pp_leafblock *old = pp_at(t->region, pp_load_acq(&n->ref));
	const struct pp_leafblock *with = pp_at(t->region, pp_link_ref(pp_load_rlx(&n->where)));

	for (unsigned i = 0; i < old->count && i < with->count; i++)
		if (pp_block_ref(with, i) == payload)
			return stands_for(t, pp_block_ref(old, i), payload);
	return false;
}

/* Cells that were replaced by their copies, and not retired. The dead one's interval keeps both blocks and all cells. */
static void settle_gathered(struct pp_thread *t, pp_ref block)
{
	const struct pp_leafblock *b = pp_at(t->region, block);

	for (unsigned i = 0; i < b->count; i++) {
		pp_ref cell = pp_block_ref(b, i);
		uint64_t word = pp_load_acq(&pp_block_at(t->region, cell)->word);

		if (pp_block_state(word) == PP_BLOCK_LIVE && !stands_for(t, cell, cell))
			pp_moved_retire(t, cell, pp_block_gen(word));
	}
}

static void settle_notes(struct pp_keeper *k, struct pp_slot *s)
{
	struct pp_thread *t = &k->house;

	for (unsigned i = 0; i < PP_NOTES; i++) {
		/* [reap.slot:note] pairs [slot.note:ref]: what and where of this block */
		pp_ref ref = pp_load_acq(&s->note[i].ref);
		uint64_t what = pp_load_rlx(&s->note[i].what), word;

		if (!ref || !pp_ref_inside(&k->region, ref, 8))
			continue;
		word = pp_load_acq(&pp_block_at(&k->region, ref)->word);
		if (pp_note_kind(what) == PP_NOTE_GATHER) {
			if (pp_block_gen(word) == pp_note_gen(what))
				settle_gathered(t, ref);
			continue;
		}
		if (pp_block_state(word) != PP_BLOCK_LIVE || pp_block_gen(word) != pp_note_gen(what))
			continue;
		if (!reachable(t, what, ref, pp_load_rlx(&s->note[i].where)) && !pp_damage(t))
			pp_retire_moved(t, ref, pp_note_gen(what)); /* perhaps it was */
		pp_damage_result(t, 0); /* what cannot be judged stays */
	}
}

struct linked_context {
	struct pp_keeper *k;
	struct pp_slot *slot;
};

static bool linked(void *ctx, pp_ref payload, uint64_t gen)
{
	struct linked_context *c = ctx;

	for (unsigned i = 0; i < PP_NOTES; i++) {
		struct pp_note *n = &c->slot->note[i];
		uint64_t what = pp_load_rlx(&n->what);

		if (pp_note_kind(what) == PP_NOTE_GATHER && pp_load_acq(&n->ref) && gathered(&c->k->house, n, payload))
			return true;
		if (pp_load_acq(&n->ref) == payload && pp_note_gen(what) == (gen & PP_GEN_MASK))
			return reachable(&c->k->house, what, payload, pp_load_rlx(&n->where)) || pp_damage_result(&c->k->house, 0);
	}
	return false;
}

void pp_reap_slot(struct pp_keeper *k, unsigned slot)
{
	struct pp_slot *s = &k->region.slots[slot];
	struct linked_context context = {k, s};
	uint64_t owner = pp_load_acq(&s->owner);

	if (pp_slot_state(owner) != PP_SLOT_CLAIMED)
		return;
	PPDB_PROBE(reap_begin, slot, pp_slot_proc(owner));
	pp_read_enter(&k->house);
	settle_operation(k, s);
	PP_FAULT_POINT("reap.settled");
	settle_notes(k, s);
	PP_FAULT_POINT("reap.noted");
	pp_alloc_reap(&k->house, slot, linked, &context);
	pp_read_leave(&k->house);
	PP_FAULT_POINT("reap.pages");
	pp_store_rel(&s->op_version, 0);
	for (unsigned i = 0; i < PP_NOTES; i++)
		pp_store_rel(&s->note[i].ref, 0);
	pp_store_rel(&s->snapshot, 0);
	pp_store_rel(&s->busy, 0);
	pp_store_rel(&s->wait_epoch, 0);
	pp_store_rlx(&s->stripe_wait, 0); /* stat */
	pp_store_rel(&s->bell_epoch, 0);
	pp_store_rel(&s->low, PP_IDLE);
	pp_cas_seq(&s->owner, &owner, PP_SLOT_OWNER(PP_SLOT_LEAVING, pp_slot_proc(owner), pp_slot_gen(owner)));
	PPDB_PROBE(reap_end, slot);
}

/* A LEAVING slot whose entries are all durable becomes free. */
static bool drained(struct pp_keeper *k, unsigned i)
{
	struct pp_slot *s = &k->region.slots[i];

	return pp_tail_index(pp_load_acq(&s->tail)) == (uint16_t)pp_load_acq(&s->head);
}

/* Whoever died between taking credit and publishing took more than will ever be settled: its successor begins with equal counts. */
static void free_slot(struct pp_keeper *k, unsigned i)
{
	if (k->charged) /* NULL: the log is not open yet, it will begin with equal counts itself */
		pp_store_rel(&k->charged[i], pp_load_acq(&k->region.slots[i].credit_used));
	pp_slot_free(&k->region, i, &((struct pp_engine *)k->region.engine)->retired);
}

static bool proc_has_slots(struct pp_keeper *k, uint32_t proc)
{
	unsigned high = pp_slots_high(&k->region);

	for (unsigned i = 0; i < high; i++) {
		uint64_t owner = pp_load_acq(&k->region.slots[i].owner);

		if (pp_slot_state(owner) != PP_SLOT_FREE && pp_slot_proc(owner) == proc)
			return true;
	}
	return false;
}

static void free_proc(struct pp_keeper *k, uint32_t proc)
{
	pp_stat_reader_gone(k, proc);
	pp_store_rel(&k->extra_set[proc], 0);
	pp_store_rel(&k->pinned[proc], 0);
	pp_store_rel(&k->gone[proc], 0);
	pp_store_rel(&k->region.procs[proc].state, 0);
}

bool pp_reap_step(struct pp_keeper *k)
{
	unsigned high = pp_slots_high(&k->region);
	bool waiting = false;

	for (unsigned i = 0; i < high; i++) {
		uint64_t owner = pp_load_acq(&k->region.slots[i].owner);

		if (pp_slot_state(owner) == PP_SLOT_CLAIMED && pp_slot_proc(owner) < k->region.fixed.procs &&
		    pp_load_acq(&k->gone[pp_slot_proc(owner)]))
			pp_reap_slot(k, i);
		if (pp_slot_state(pp_load_acq(&k->region.slots[i].owner)) == PP_SLOT_LEAVING) {
			if (drained(k, i))
				free_slot(k, i);
			else
				waiting = true;
		}
	}
	for (unsigned p = 0; p < k->region.fixed.procs; p++)
		if (pp_load_acq(&k->gone[p])) {
			if (proc_has_slots(k, p))
				waiting = true;
			else
				free_proc(k, p);
		}
	return waiting;
}
