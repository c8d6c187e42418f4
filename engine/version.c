/*
 * version.c - version chains: which version a reader sees, and how old ones leave.
 *
 * A chain is `cell.head` -> newest -> older -> ... The order of the chain is the order of the writes; tags (epochs of commit) never
 * grow towards the older end, and at most the newest version is undecided. A version's `older` changes only to skip what was removed.
 *
 * Reading (tests/model/chain.pml). Load `older`, then `state`. Committed with tag <= S: this is it. Otherwise go on with the `older`
 * that was loaded: nobody removes the successor of an undecided version, so it was right while the version was undecided.
 *
 * Removing (Harris 2001, on the `older` links). Victim w below v: freeze w.older (FROZEN bit, final), then CAS v.older from w to w's
 * older; v.older must not be frozen itself. A tail that nobody needs is cut: CAS v.older -> CUT; the winner retires all of
 * it. Who needs w, superseded by the next newer committed version y: a snapshot S with w.tag <= S < y.tag. So w may go when the tags
 * are equal, or y.tag <= P and no held S lies between (shm/reclaim.h pp_safe_version). LATEST readers are covered by their
 * interval. An aborted version is needed by nobody.
 *
 * Ordering. [version.visible:state] pairs [ring.commit:state]: value bytes before COMMITTED can be seen.
 *
 * Dies inside: frozen but linked: the next pruner goes on. Unlinked but not retired: noted, the reaper retires.
 */
#include "engine/version.h"

#include "engine/index_internal.h"
#include "engine/move.h"
#include "engine/ring.h"
#include "shm/fault.h"
#include "shm/probe.h"

void pp_version_fill(struct pp_version *v, uint64_t seq, unsigned flags, const void *value, uint64_t size, uint64_t expires_ms)
{
	if (expires_ms)
		flags |= PP_V_TTL;
	v->seq_flags = seq << 16 | flags;
	v->size = (uint32_t)size;
	if (expires_ms)
		memcpy(v + 1, &expires_ms, sizeof(expires_ms));
	if (size)
		memcpy(pp_version_value(v), value, size);
}

pp_ref pp_version_visible(struct pp_thread *t, struct pp_cell *cell, uint64_t snapshot, uint64_t *state)
{
	struct pp_circle circle = {0, 0};
	uint64_t at, older, again = 0;
	unsigned steps = 0;

again:
	/* [version.visible:head] pairs [install.link:head]: a complete version */
	at = pp_protect(t, &cell->head);
	if (__builtin_expect(at & PP_MOVING, 0))
		at = pp_moving_head(t, &cell);
	while (at && at != PP_DEAD) {
		struct pp_version *v = pp_version_at(t, at);
		uint64_t s;

		pp_guard_step(t, &steps);
		older = pp_load_acq(&v->older);
		PP_FAULT_POINT("version.visible.older");
		s = pp_version_state(t, v);
		if (PP_MUTANT("version.state_first")) {
			PP_FAULT_POINT("version.visible.state");
			older = pp_load_acq(&v->older);
		}
		if (pp_state_status(s) == PP_COMMITTED && pp_state_epoch(s) <= snapshot) {
			*state = s;
			return at;
		}
		if (older & PP_CUT) {
			if (snapshot == PP_LATEST && ++again < PP_TRIES_MAX)
				goto again; /* decided and superseded since: there is a newer one */
			if (snapshot == PP_LATEST)
				pp_damaged(t, at);
			return 0;
		}
		at = pp_older_ref(older);
		if (at && pp_circle_closes(&circle, at)) {
			pp_damaged(t, at);
			return 0;
		}
	}
	return 0;
}

bool pp_version_reachable(struct pp_thread *t, struct pp_cell *cell, pp_ref version)
{
	struct pp_circle circle = {0, 0};
	uint64_t at = pp_protect(t, &cell->head) & ~PP_MOVING;

	while (at && at != PP_DEAD && !pp_damage(t) && !pp_circle_closes(&circle, at)) {
		if (at == version)
			return true;
		at = pp_older_ref(pp_load_acq(&pp_version_at(t, at)->older));
	}
	return false;
}

uint64_t pp_version_help(struct pp_thread *t, pp_ref version)
{
	struct pp_version *v = pp_version_at(t, version);
	uint64_t s = pp_load_acq(&v->state);

	if (pp_state_status(s) != PP_PENDING || !pp_record_sound(t, version))
		return s;
	if (!pp_ring_reserve_help(t, pp_record_bytes(t, version)))
		return s;
	pp_count(&t->slot->count.helps, 1);
	PPDB_PROBE(help, version, t->index);
	PP_FAULT_POINT("version.help.reserved");
	pp_ring_publish(t, version);
	return pp_load_acq(&v->state);
}

/* ---- pruning ---------------------------------------------------------------------------------------------------- */

static void retire_version(struct pp_thread *t, pp_ref version)
{
	struct pp_version *v = pp_version_at(t, version);
	pp_ref block;

	if (pp_version_inline(v) || pp_damage(t))
		return; /* its bytes belong to the cell */
	block = pp_version_block(version);
	pp_retire(t, block, pp_gen_of(t->region, block));
}

static void note_version(struct pp_thread *t, struct pp_cell *cell, pp_ref version)
{
	pp_ref c = pp_ref_of(t->region, cell);

	if (!pp_version_inline(pp_version_at(t, version)) && !pp_damage(t))
		pp_note_unlink(t, PP_NOTE_VERSION, pp_version_block(version), PP_LINK(c, pp_gen_of(t->region, c)));
}

/* Cuts everything older than v. */
static void cut(struct pp_thread *t, struct pp_cell *cell, struct pp_version *v)
{
	uint64_t older = pp_load_acq(&v->older), tail;
	unsigned noted = 0;

	if (!older || older & (PP_CUT | PP_FROZEN))
		return;
	for (tail = pp_older_ref(older); tail && noted < PP_NOTES; noted++) {
		note_version(t, cell, tail);
		tail = pp_older_ref(pp_load_acq(&pp_version_at(t, tail)->older));
	}
	PP_FAULT_POINT("prune.cut.noted");
	if (tail || pp_damage(t)) { /* too long to be noted at once: its versions leave one by one */
		pp_notes_clear(t);
		return;
	}
	if (pp_cas_seq(&v->older, &older, PP_CUT)) {
		PP_FAULT_POINT("prune.cut.done");
		for (tail = pp_older_ref(older); tail && noted--;) {
			uint64_t next = pp_older_ref(pp_load_acq(&pp_version_at(t, tail)->older));

			retire_version(t, tail);
			tail = next;
		}
	}
	pp_notes_clear(t);
}

/* Takes w out from below v. True if w is out (by us or before). */
static bool unlink_below(struct pp_thread *t, struct pp_cell *cell, struct pp_version *v, pp_ref w)
{
	struct pp_version *victim = pp_version_at(t, w);
	uint64_t older = pp_load_acq(&victim->older), expected = w;
	bool out;

	if (pp_damage(t))
		return false;
	PP_FAULT_POINT("prune.unlink.chosen");
	while (!(older & PP_FROZEN))
		if (pp_cas_acqrel(&victim->older, &older, older | PP_FROZEN))
			older |= PP_FROZEN;
	note_version(t, cell, w);
	PP_FAULT_POINT("prune.unlink.frozen");
	out = pp_cas_seq(&v->older, &expected, older & ~PP_FROZEN);
	if (out)
		retire_version(t, w);
	pp_notes_clear(t);
	return out;
}

bool pp_version_prune(struct pp_thread *t, struct pp_cell *cell, unsigned steps)
{
	uint64_t at = pp_protect(t, &cell->head), newer_tag = 0;
	struct pp_version *v = NULL;
	const struct pp_safe *safe = &t->safe;
	bool left = false; /* a superseded version */

	if (at & PP_MOVING)
		return false; /* a cell with something to prune is not moved */
	while (at && at != PP_DEAD && steps--) {
		struct pp_version *w = pp_version_at(t, at);
		uint64_t older = pp_load_acq(&w->older), s = pp_version_state(t, w), tag = pp_state_epoch(s);
		bool aborted = pp_state_status(s) == PP_ABORTED, committed = pp_state_status(s) == PP_COMMITTED;

		if (pp_damage(t))
			return false;
		/* Someone unlinks v itself: below it only the new predecessor counts (tests/model/chain.pml, M_PASS_FROZEN). */
		if (v && pp_load_acq(&v->older) & PP_FROZEN)
			return true;
		if (v &&
		    (aborted || (committed && newer_tag && (tag == newer_tag || pp_safe_version(safe, tag, newer_tag))))) {
			if (!unlink_below(t, cell, v, at))
				return true;
			at = pp_load_acq(&v->older);
			if (at & PP_CUT)
				return false;
			at = pp_older_ref(at);
			continue;
		}
		if (committed) {
			left |= newer_tag != 0;
			/* Nothing held below the floor: whatever is older than a version at or below it can go at once. */
			if (tag <= safe->prune_floor && (!safe->held_count || safe->held[0] >= tag)) {
				cut(t, cell, w);
				older = pp_load_acq(&w->older);
			}
			newer_tag = tag;
		}
		v = aborted || committed ? w : NULL; /* nobody touches `older` of an undecided version */
		if (!older || older & PP_CUT)
			return left;
		at = pp_older_ref(older);
	}
	return at && at != PP_DEAD;
}
