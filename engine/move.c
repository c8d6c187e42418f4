/*
 * move.c - moving a key cell: the copy takes its place in the leaf, readers and writers go on all the time.
 *
 * Why: cells lie where their makers had room. After a load in random order each entry of a scan is another page. The keeper copies
 * cells in key order (engine/gather.c); writers only complete a move that is in their way.
 *
 * Protocol (tests/model/move.pml), K the cell, v its version:
 *   1. K.head   v -> v|MOVING     final. K must have one version, committed, nothing older. From here on nobody writes to K.
 *   2. K' = copy of K with v inline, PRIVATE. It says the same to every reader, at every cut.
 *   3. leaf     K -> K'           one CAS on the leaf's head, as for every change of a leaf. The winner retires K, and v if it has a block.
 * Several may copy the same cell; the leaf takes one, the others cancel theirs. A writer that meets MOVING does 2 and 3 and begins anew
 * with K'. So nobody waits for the keeper.
 *
 * Readers. v|MOVING says what the key's version was when K was frozen; K' may have a newer one since. A reader that meets it (K came from
 * a hint, or from a block that was loaded before) looks into the leaf: if K stands there, v counts, at the moment when the leaf's head
 * was loaded; else the cell that stands there. v is dereferenced only then: K, found through the section's interval, may be retired
 * long since, and v with it.
 *
 * What a snapshot was given may lie in K: it is retired as moved, which waits for the snapshots too (shm/reclaim.c).
 *
 * Dies inside: K is MOVING and stays so until a writer of the key or the keeper completes it; a PRIVATE copy; or replaced, not
 * retired: noted.
 */
#include "engine/move.h"

#include "engine/hint.h"
#include "engine/index_internal.h"
#include "engine/version.h"
#include "shm/fault.h"

static uint64_t copy_bytes(const struct pp_cell *c, const struct pp_version *v)
{
	uint64_t key_bytes = (sizeof(*c) + c->key_size + 7) & ~UINT64_C(7);

	return key_bytes + pp_version_span(v);
}

bool pp_cell_movable(struct pp_thread *t, struct pp_cell *c, uint64_t *head)
{
	struct pp_version *v;
	uint64_t older;

	*head = pp_protect(t, &c->head);
	if (!*head || *head & 7)
		return false;
	v = pp_version_at(t, *head);
	older = pp_load_acq(&v->older);
	return (!older || older == PP_CUT) && pp_state_status(pp_load_acq(&v->state)) == PP_COMMITTED &&
	       !(pp_version_flags(v) & ~PP_V_TTL) && copy_bytes(c, v) <= PP_INLINE_MAX;
}

int pp_cell_copy(struct pp_thread *t, const struct pp_cell *from, uint64_t head, pp_ref *copy)
{
	struct pp_version *v = pp_version_at(t, head & ~PP_MOVING), *w;
	struct pp_cell *c;
	pp_ref version;
	int rc;

	if (!pp_version_whole(t, head & ~PP_MOVING, v) || pp_damage(t))
		return pp_damage_report(t);
	rc = pp_alloc(t, copy_bytes(from, v), PP_KIND_CELL, copy);
	if (rc)
		return rc;
	c = pp_at(t->region, *copy);
	c->key_size = from->key_size;
	c->flags = PP_C_INLINE;
	memcpy(&c->table_be, &from->table_be, pp_cell_key_size(from));
	version = pp_cell_inline_version(t, *copy);
	w = pp_version_at(t, version);
	w->seq_flags = v->seq_flags;
	w->size = v->size;
	w->cell_back = (uint32_t)(version - *copy);
	memcpy(w + 1, v + 1, pp_version_span(v) - sizeof(*v));
	pp_store_rlx(&w->state, pp_load_acq(&v->state)); /* all published by the CAS that links the copy */
	pp_store_rlx(&w->older, pp_load_acq(&v->older));
	pp_store_rlx(&c->head, version);
	return 0;
}

int pp_cell_move(struct pp_thread *t, pp_ref cell)
{
	struct pp_cell *c = pp_cell_at(t, cell);
	struct pp_ikey k = {pp_cell_key(c), pp_cell_key_size(c)};
	uint64_t hash = pp_cell_hash(c);
	unsigned list = pp_list_of(t, hash);
	struct pp_place p;
	pp_ref copy = 0;
	int rc;

	do {
		pp_index_find(t, list, 0, &k, true, &p);
		if (pp_damage(t) || !p.equal || pp_block_ref(p.block, p.at) != cell) {
			if (copy)
				pp_alloc_cancel(t, copy);
			return 0;
		}
		/* it stands in its leaf: so its version stands too */
		rc = copy ? 0 : pp_cell_copy(t, c, pp_load_acq(&c->head), &copy);
		if (rc)
			return rc;
		PP_FAULT_POINT("move.copied");
		rc = pp_index_link(t, list, 0, &p, &k, copy, 0);
	} while (rc == -EAGAIN);
	if (rc)
		pp_alloc_cancel(t, copy);
	else
		pp_hint_enter(t, hash, copy);
	return rc;
}

/* One look is enough: a cell that stood in the leaf then held the newest version then, and if it is MOVING by now, still when it was frozen. */
uint64_t pp_moving_head(struct pp_thread *t, struct pp_cell **cell)
{
	struct pp_ikey k = {pp_cell_key(*cell), pp_cell_key_size(*cell)};
	struct pp_place p;

	pp_index_find(t, pp_list_of(t, pp_cell_hash(*cell)), 0, &k, false, &p);
	if (!p.equal)
		return 0;
	*cell = pp_cell_at(t, pp_block_ref(p.block, p.at));
	return pp_protect(t, &(*cell)->head) & ~PP_MOVING;
}

pp_ref pp_moved_version(struct pp_thread *t, pp_ref cell)
{
	uint64_t head = pp_load_acq(&pp_cell_at(t, cell)->head);

	if (!(head & PP_MOVING) || pp_version_inline(pp_version_at(t, head & ~PP_MOVING)))
		return 0;
	return pp_version_block(head & ~PP_MOVING);
}

void pp_moved_retire(struct pp_thread *t, pp_ref cell, uint64_t gen)
{
	pp_ref version = pp_moved_version(t, cell);

	if (version)
		pp_retire_moved(t, version, pp_gen_of(t->region, version));
	if (pp_load_acq(&pp_cell_at(t, cell)->head) & PP_MOVING)
		pp_retire_moved(t, cell, gen);
	else
		pp_retire(t, cell, gen);
}
