/*
 * apply.c - putting one recovered record into the index, by (tag, seq), without a log.
 *
 * Several threads apply at once, but a key always comes to the same thread. A record replaces what is there only if it is newer, so
 * applying twice changes nothing. Tombstones are versions like others; recovery has their cells removed when the log is past
 * their epoch, what is left then is the keeper's.
 */
#include "engine/floor.h"
#include "engine/hint.h"
#include "engine/index_internal.h"
#include "engine/keeper_internal.h"
#include "engine/shards.h"
#include "engine/version.h"

#define INLINE_MAX 1024

static void fill(struct pp_thread *t, pp_ref version, const struct pp_apply *a, uint64_t older)
{
	struct pp_version *v = pp_version_at(t, version);

	pp_store_rlx(&v->state, PP_STATE(PP_COMMITTED, PP_SLOT_RECOVERED, a->tag)); /* nobody reads before recovery is over */
	pp_store_rlx(&v->older, older);
	pp_version_fill(v, a->seq, a->tombstone ? PP_V_TOMBSTONE : 0, a->value, a->size, a->expires_ms);
}

static int separate(struct pp_thread *t, const struct pp_apply *a, pp_ref cell, pp_ref *version)
{
	struct pp_version_block *b;
	pp_ref block;
	int rc = pp_alloc(t, sizeof(b->cell) + pp_version_bytes(a->size, a->expires_ms), PP_KIND_VERSION, &block);

	if (rc)
		return rc;
	b = pp_at(t->region, block);
	b->cell = PP_LINK(cell, pp_gen_of(t->region, cell));
	b->v.cell_back = 0;
	*version = block + offsetof(struct pp_version_block, v);
	fill(t, *version, a, PP_CUT);
	pp_alloc_live(t, block, pp_gen_of(t->region, block));
	return 0;
}

static int replace(struct pp_thread *t, const struct pp_apply *a, pp_ref cell_ref, uint64_t *link)
{
	struct pp_cell *c = pp_at(t->region, cell_ref);
	pp_ref head = pp_load_rlx(&c->head), version; /* owner: this thread applies all of the key */
	struct pp_version *v = pp_version_at(t, head);
	uint64_t tag = pp_state_epoch(pp_load_rlx(&v->state));
	int rc;

	if (tag > a->tag || (tag == a->tag && pp_version_seq(v) >= a->seq))
		return 0;
	rc = separate(t, a, cell_ref, &version);
	if (rc)
		return rc;
	pp_store_rel(&c->head, version);
	*link = PP_LINK(cell_ref, pp_gen_of(t->region, cell_ref));
	if (!pp_version_inline(v)) {
		pp_ref old = pp_version_block(head);

		pp_retire(t, old, pp_gen_of(t->region, old));
	}
	return 0;
}

static int cell_new(struct pp_thread *t, const struct pp_apply *a, const struct pp_ikey *k, pp_ref *cell)
{
	uint64_t key_bytes = (sizeof(struct pp_cell) + a->key_size + 7) & ~UINT64_C(7);
	uint64_t bytes = key_bytes + pp_version_bytes(a->size, a->expires_ms);
	bool inlined = bytes <= INLINE_MAX;
	struct pp_cell *c;
	pp_ref version;
	int rc = pp_alloc(t, inlined ? bytes : key_bytes, PP_KIND_CELL, cell);

	if (rc)
		return rc;
	c = pp_at(t->region, *cell);
	c->key_size = (uint16_t)a->key_size;
	c->flags = inlined ? PP_C_INLINE : 0;
	memcpy(&c->table_be, k->bytes, k->size);
	if (inlined) {
		version = pp_cell_inline_version(t, *cell);
		pp_version_at(t, version)->cell_back = (uint32_t)(version - *cell);
		fill(t, version, a, 0);
	} else {
		rc = separate(t, a, *cell, &version);
		if (rc) {
			pp_alloc_cancel(t, *cell);
			return rc;
		}
	}
	pp_store_rlx(&c->head, version); /* published by the CAS that links the cell */
	return 0;
}

/* A removed key whose leaf could not be rebuilt for want of memory. */
static bool is_dead(struct pp_thread *t, pp_ref cell)
{
	return pp_load_acq(&((struct pp_cell *)pp_at(t->region, cell))->head) == PP_DEAD;
}

static int apply(struct pp_thread *t, const struct pp_apply *a, const struct pp_ikey *k, uint64_t hash, uint64_t *link)
{
	unsigned list = pp_list_of(t, hash);
	pp_ref cell = pp_hint_find(t, hash, k), version;
	struct pp_place p;
	int rc;

	if (cell && !is_dead(t, cell))
		return replace(t, a, cell, link);
	pp_index_find(t, list, 0, k, true, &p);
	if (p.equal && !is_dead(t, pp_block_ref(p.block, p.at)))
		return replace(t, a, pp_block_ref(p.block, p.at), link);
	rc = cell_new(t, a, k, &cell);
	if (rc)
		return rc;
	while ((rc = pp_index_link(t, list, 0, &p, k, cell, 0)) == -EAGAIN)
		pp_index_find(t, list, 0, k, true, &p);
	if (rc) {
		version = pp_load_rlx(&((struct pp_cell *)pp_at(t->region, cell))->head); /* owner: not linked */
		if (!pp_version_inline(pp_version_at(t, version)))
			pp_retire(t, pp_version_block(version), pp_gen_of(t->region, pp_version_block(version)));
		pp_alloc_cancel(t, cell);
		return rc;
	}
	*link = PP_LINK(cell, pp_gen_of(t->region, cell));
	pp_hint_enter(t, hash, cell);
	pp_add_rlx(&pp_engine(t)->shard[pp_shard_of(t, k, hash)].keys, 1); /* stat */
	return 0;
}

int pp_apply(struct pp_thread *t, const struct pp_apply *a, uint64_t *cell)
{
	struct pp_keybuf b;
	uint64_t hash;
	unsigned node;
	int rc;

	*cell = 0;
	pp_keybuf_set(&b, a->table, a->key, a->key_size);
	hash = pp_key_hash(&b.key);
	node = pp_shard_prefer(t, pp_list_of(t, hash), &b.key);
	pp_read_enter(t);
	rc = apply(t, a, &b.key, hash, cell);
	pp_read_leave(t);
	pp_thread_prefer(t, node);
	return rc;
}
