/*
 * apply.c - a recovered record as a key cell with one version, without a log.
 *
 * A record that replaces another makes a new cell, in order of keys beside its neighbours, and the old cell goes with all that hangs on it: the
 * store comes up as if nothing had ever been overwritten.
 *
 * Dies inside: the region was never published, the next start makes another.
 */
#include "engine/bulk.h"
#include "engine/version.h"


static void fill(struct pp_thread *t, pp_ref version, const struct pp_run_record *r)
{
	struct pp_version *v = pp_version_at(t, version);

	pp_store_rlx(&v->state, PP_STATE(PP_COMMITTED, PP_SLOT_RECOVERED, r->tag)); /* nobody reads before recovery is over */
	pp_store_rlx(&v->older, 0);
	pp_version_fill(v, r->seq, 0, pp_run_value(r), r->size, r->expires_ms);
}

static int separate(struct pp_thread *t, const struct pp_run_record *r, pp_ref cell, pp_ref *version)
{
	struct pp_version_block *b;
	pp_ref block;
	int rc = pp_alloc(t, sizeof(b->cell) + pp_version_bytes(r->size, r->expires_ms), PP_KIND_VERSION, &block);

	if (rc)
		return rc;
	b = pp_at(t->region, block);
	b->cell = PP_LINK(cell, pp_gen_of(t->region, cell));
	b->v.cell_back = 0;
	*version = block + offsetof(struct pp_version_block, v);
	fill(t, *version, r);
	pp_alloc_live(t, block, pp_gen_of(t->region, block));
	return 0;
}

int pp_apply_cell(struct pp_thread *t, const struct pp_run_record *r, pp_ref *cell)
{
	uint64_t key_bytes = (sizeof(struct pp_cell) + r->key_size + 7) & ~UINT64_C(7);
	uint64_t bytes = key_bytes + pp_version_bytes(r->size, r->expires_ms);
	bool inlined = bytes <= PP_INLINE_MAX;
	struct pp_cell *c;
	pp_ref version;
	int rc = pp_alloc(t, inlined ? bytes : key_bytes, PP_KIND_CELL, cell);

	if (rc)
		return rc;
	c = pp_at(t->region, *cell);
	c->key_size = r->key_size;
	c->flags = inlined ? PP_C_INLINE : 0;
	memcpy(&c->table_be, &r->table_be, 4u + r->key_size);
	if (inlined) {
		version = pp_cell_inline_version(t, *cell);
		pp_version_at(t, version)->cell_back = (uint32_t)(version - *cell);
		fill(t, version, r);
	} else {
		rc = separate(t, r, *cell, &version);
		if (rc) {
			pp_alloc_cancel(t, *cell);
			return rc;
		}
	}
	pp_store_rlx(&c->head, version); /* published by the CAS that links the cell */
	return 0;
}

static void retire_versions(struct pp_thread *t, pp_ref cell)
{
	uint64_t at = pp_load_acq(&((struct pp_cell *)pp_at(t->region, cell))->head);

	if (at == PP_DEAD || pp_version_inline(pp_version_at(t, at)))
		return;
	at = pp_version_block(at);
	pp_retire(t, at, pp_gen_of(t->region, at));
}

void pp_apply_cancel(struct pp_thread *t, pp_ref cell)
{
	retire_versions(t, cell);
	pp_alloc_cancel(t, cell);
}

void pp_apply_retire(struct pp_thread *t, pp_ref cell)
{
	retire_versions(t, cell);
	pp_retire(t, cell, pp_gen_of(t->region, cell));
}

bool pp_apply_newer(struct pp_thread *t, const struct pp_run_record *r, pp_ref cell)
{
	uint64_t head = pp_load_acq(&((struct pp_cell *)pp_at(t->region, cell))->head), tag;
	struct pp_version *v;

	if (head == PP_DEAD) /* a removed key whose leaf could not be rebuilt for want of memory */
		return true;
	v = pp_version_at(t, head);
	tag = pp_state_epoch(pp_load_acq(&v->state));
	return r->tag > tag || (r->tag == tag && r->seq > pp_version_seq(v));
}
