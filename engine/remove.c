/*
 * remove.c - tidying a cell: prune its chain, and take the key out for good when only an old tombstone is left.
 *
 * Removal. The head is a decided version that says "nothing" to every reader there is or can be: a tombstone with tag <= P and
 * durable, nothing older below it; or an aborted version over nothing or over such a tombstone, which goes with it (nobody takes that one out
 * from below an aborted head: only what a newer committed version supersedes is). Then: raise the key's floor to the seq of the head, CAS
 * head -> DEAD (final: a writer that comes now replaces the cell), take the entry out of the leaf, retire cell and versions, merge the
 * leaf when it got thin. Only the keeper does this, with writers around it (tests/model/chain.pml, -DDEATH).
 *
 * Dies inside: before DEAD nothing happened. After DEAD the entry stays until a writer of that key or the keeper's sweep meets it; the notes
 * name the versions and the cell.
 */
#include "engine/floor.h"
#include "engine/index_internal.h"
#include "engine/keeper_internal.h"
#include "engine/version.h"
#include "shm/fault.h"

#define TIDY_STEPS 4096

/*
 * True if the head can become DEAD now; *later = it may become so with a newer floor. *below = the tombstone that an aborted head
 * stands on, 0 = none.
 */
static bool removable(struct pp_thread *t, pp_ref head, uint64_t durable, pp_ref *below, bool *later)
{
	struct pp_version *v = pp_version_at(t, head);
	uint64_t older = pp_load_acq(&v->older), s = pp_load_acq(&v->state);

	*later = false;
	*below = 0;
	if (pp_state_status(s) == PP_ABORTED) {
		*below = older & PP_CUT ? 0 : pp_older_ref(older);
		if (!*below)
			return !pp_damage(t);
		v = pp_version_at(t, *below);
		older = pp_load_acq(&v->older);
		s = pp_load_acq(&v->state);
	}
	if (pp_damage(t) || pp_state_status(s) != PP_COMMITTED || !(pp_version_flags(v) & PP_V_TOMBSTONE))
		return false;
	*later = true;
	return (!older || older & PP_CUT) && pp_state_epoch(s) <= durable && pp_state_epoch(s) <= t->safe.prune_floor;
}

/* False: no memory for the leaf's next block; the DEAD cell stays in it for now. */
static bool unlink_cell(struct pp_thread *t, pp_ref cell_ref, uint64_t hash)
{
	struct pp_cell *c = pp_cell_at(t, cell_ref);
	struct pp_ikey k = {pp_cell_key(c), pp_cell_key_size(c)};
	unsigned list = pp_list_of(t, hash);
	uint64_t gen = pp_gen_of(t->region, cell_ref);
	struct pp_place p;
	int rc;

	do {
		pp_index_find(t, list, 0, &k, true, &p);
		if (pp_damage(t) || !p.equal || pp_block_ref(p.block, p.at) != cell_ref)
			return true; /* a writer has put a new cell in its place, and retired this one */
		pp_note_unlink(t, PP_NOTE_CELL, cell_ref, list);
		rc = pp_index_unlink(t, &p);
	} while (rc == -EAGAIN);
	PP_FAULT_POINT("remove.unlinked");
	if (rc == 0)
		pp_retire(t, cell_ref, gen);
	pp_notes_clear(t);
	if (rc == 0) {
		pp_add_rlx(&pp_engine(t)->shard[pp_shard_of(t, &k, hash)].keys, UINT64_MAX); /* stat: one less */
		pp_index_find(t, list, 0, &k, true, &p);
		pp_index_merge(t, list, 0, &p);
	}
	return rc == 0;
}

/* The block of a version that has one of its own, noted. */
static pp_ref note_version(struct pp_thread *t, pp_ref cell, pp_ref version)
{
	pp_ref block = !version || pp_version_inline(pp_version_at(t, version)) ? 0 : pp_version_block(version);

	if (block)
		pp_note_unlink(t, PP_NOTE_VERSION, block, PP_LINK(cell, pp_gen_of(t->region, cell)));
	return block;
}

static bool remove_cell(struct pp_thread *t, pp_ref cell_ref, uint64_t head, pp_ref below)
{
	struct pp_cell *c = pp_cell_at(t, cell_ref);
	uint64_t hash = pp_cell_hash(c);
	pp_ref block, block_below;

	pp_floor_raise(t, hash, pp_version_seq(pp_version_at(t, head)));
	block = note_version(t, cell_ref, head);
	block_below = note_version(t, cell_ref, below);
	PP_FAULT_POINT("remove.noted");
	if (!pp_cas_seq(&c->head, &head, PP_DEAD)) {
		pp_notes_clear(t);
		return true;
	}
	PP_FAULT_POINT("remove.dead");
	if (block)
		pp_retire(t, block, pp_gen_of(t->region, block));
	if (block_below)
		pp_retire(t, block_below, pp_gen_of(t->region, block_below));
	pp_notes_clear(t);
	return unlink_cell(t, cell_ref, hash);
}

bool pp_cell_tidy(struct pp_thread *t, uint64_t cell_link, uint64_t durable)
{
	pp_ref cell_ref = pp_link_ref(cell_link);
	struct pp_cell *c;
	bool more = false, later = false;
	uint64_t head;
	pp_ref below;

	pp_read_enter(t);
	if (pp_hint_live(t, cell_ref, pp_link_gen(cell_link), PP_GEN_MASK, PP_KIND_CELL)) {
		c = pp_cell_at(t, cell_ref);
		more = pp_version_prune(t, c, TIDY_STEPS);
		head = pp_protect(t, &c->head);
		if (pp_damage(t)) {
			more = false; /* it stays as it is: nothing is known of it */
		} else if (head == PP_DEAD) {
			later = !unlink_cell(t, cell_ref, pp_cell_hash(c)); /* left behind by a keeper that died */
		} else if (head && !(head & PP_MOVING) && removable(t, head, durable, &below, &later)) {
			later = !remove_cell(t, cell_ref, head, below);
		}
	}
	pp_read_leave(t);
	if (pp_damage(t))
		later = !pp_damage_report(t);
	return more || later;
}
