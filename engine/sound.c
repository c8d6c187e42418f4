/*
 * sound.c - what happens when a reference leads nowhere: see sound.h. Touches nothing that is shared.
 */
#include "engine/sound.h"

#include "shm/guard.h"

void *pp_damaged(struct pp_thread *t, pp_ref ref)
{
	if (t->readonly)
		pp_guard_fail(); /* a revoked reader's memory may be another's by now: that is no damage */
	if (!t->damage)
		t->damage = ref ? ref : 1;
	memset(t->nothing, 0, sizeof(t->nothing));
	return t->nothing;
}

int pp_damage_report(struct pp_thread *t)
{
	pp_ref ref = t->damage;

	t->damage = 0;
	return pp_detail(PPDB_CORRUPT, "the store's memory is damaged at %#llx: some process wrote where it must not; stop ppdbd and all "
			 "clients, remove the arena (ppdb status names it) and start again: the log has what was durable",
			 (unsigned long long)ref);
}

void *pp_sound_slow(struct pp_thread *t, pp_ref ref, uint64_t bytes)
{
	return pp_ref_inside(t->region, ref, bytes) ? pp_at(t->region, ref) : pp_damaged(t, ref);
}

struct pp_leafblock *pp_leafblock_slow(struct pp_thread *t, pp_ref ref)
{
	struct pp_leafblock *b = pp_sound_slow(t, ref, sizeof(*b));
	uint64_t bytes = sizeof(*b) + 13 * (uint64_t)b->count + b->prefix_size + b->low_size + b->high_size +
			 (b->upper ? 7 + 8 * (uint64_t)b->count : 0);

	return pp_leafblock_fits(b) && pp_ref_inside(t->region, ref, bytes) ? b : pp_damaged(t, ref);
}

struct pp_cell *pp_cell_slow(struct pp_thread *t, pp_ref ref)
{
	struct pp_cell *c = pp_sound_slow(t, ref, sizeof(*c));

	return c->key_size <= PP_KEY_MAX && pp_ref_inside(t->region, ref, sizeof(*c) + c->key_size) ? c : pp_damaged(t, ref);
}

struct pp_batch *pp_batch_at(struct pp_thread *t, pp_ref ref)
{
	struct pp_batch *b = pp_sound_at(t, ref, sizeof(*b));

	return b->room <= PP_BATCH_MAX && pp_ref_inside(t->region, ref, sizeof(*b) + b->room * sizeof(b->version[0])) ? b : pp_damaged(t, ref);
}

bool pp_version_whole_slow(struct pp_thread *t, pp_ref ref, const struct pp_version *v)
{
	uint64_t bytes = sizeof(*v) + (pp_version_flags(v) & PP_V_TTL ? 8 : 0) + (uint64_t)v->size;

	if (v->size <= PP_VALUE_MAX && pp_ref_inside(t->region, ref, bytes))
		return true;
	pp_damaged(t, ref);
	return false;
}
