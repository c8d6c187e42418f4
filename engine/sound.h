/*
 * sound.h - references and lengths that another process may have damaged.
 *
 * Whatever the engine follows lies in memory that every read-write client can write, and the library must never bring its program down
 * over it (G9), nor the daemon. So a reference is judged before it is followed: aligned, inside what the file holds, and long enough for what
 * the object says of itself. One that fails is taken for a private object of zeros - an empty block, a cell without a version, an undecided
 * version that nothing is older than - and the thread is marked. Who reads ends soon at such an object; who is about to change something looks at
 * the mark before. At the end of the operation pp_damage_result turns the mark into PPDB_CORRUPT.
 *
 * Circles: bounds of leaves must rise, and a chain must not come back to where it was; a search that starts anew more often than others
 * could have been in its way is damage, too.
 *
 * A read-only client jumps out of its read at the same places (shm/guard.h), and is told whether its memory was revoked.
 *
 * What a process writes while another one looks can still deceive: a length may change between judgement and use. Lengths are 16 or 32 bits,
 * so this reaches at most that far; writers are trusted not to do it (docs/security.md).
 */
#ifndef PP_ENGINE_SOUND_H
#define PP_ENGINE_SOUND_H

#include "engine/key.h"
#include "shm/errors.h"

#define PP_TRIES_MAX (UINT64_C(1) << 14)   /* of one search: each try but the first is due to a change by somebody else */
#define PP_ENTRIES_MAX 255              /* of a block: what its count can say */

/* Marks the thread and returns the object of zeros. */
void *pp_damaged(struct pp_thread *, pp_ref ref);
/* Forgets the mark; PPDB_CORRUPT with a sentence. */
int pp_damage_report(struct pp_thread *);

static inline bool pp_damage(const struct pp_thread *t)
{
	return __builtin_expect(t->damage != 0, 0);
}

/* rc, unless the operation met damage. */
static inline int pp_damage_result(struct pp_thread *t, int rc)
{
	return pp_damage(t) ? pp_damage_report(t) : rc;
}

/* A chain under way (Brent 1980): true when it comes back to a version that it has passed. Starts as zeros. */
struct pp_circle {
	uint64_t mark, steps;
};

static inline bool pp_circle_closes(struct pp_circle *c, uint64_t at)
{
	if (__builtin_expect(at == c->mark, 0))
		return true;
	c->steps++;
	if (!(c->steps & (c->steps - 1)))
		c->mark = at;
	return false;
}

/* What is near the end of the arena, or damaged: sound.c. */
void *pp_sound_slow(struct pp_thread *, pp_ref ref, uint64_t bytes);
struct pp_leafblock *pp_leafblock_slow(struct pp_thread *, pp_ref ref);
struct pp_cell *pp_cell_slow(struct pp_thread *, pp_ref ref);
bool pp_version_whole_slow(struct pp_thread *, pp_ref ref, const struct pp_version *v);

/* The object of `bytes` at `ref`; objects are smaller than PP_REF_SLACK. */
static inline void *pp_sound_at(struct pp_thread *t, pp_ref ref, uint64_t bytes)
{
	return pp_ref_near(t->region, ref) ? t->region->base + ref : pp_sound_slow(t, ref, bytes);
}

static inline struct pp_leaf *pp_leaf_at(struct pp_thread *t, pp_ref ref)
{
	return pp_sound_at(t, ref, sizeof(struct pp_leaf));
}

static inline bool pp_leafblock_fits(const struct pp_leafblock *b)
{
	return b->prefix_size <= PP_IKEY_MAX && b->low_size <= PP_IKEY_MAX && b->high_size <= PP_IKEY_MAX;
}
_Static_assert(sizeof(struct pp_leafblock) + (13 + 8) * PP_ENTRIES_MAX + 7 + 3 * PP_IKEY_MAX <= PP_REF_SLACK, "a block that is near lies inside");

/* With all its entries, bounds and links. */
static inline struct pp_leafblock *pp_leafblock_at(struct pp_thread *t, pp_ref ref)
{
	struct pp_leafblock *b = (struct pp_leafblock *)(t->region->base + ref);

	return pp_ref_near(t->region, ref) && __builtin_expect(pp_leafblock_fits(b), 1) ? b : pp_leafblock_slow(t, ref);
}

/* With its key. */
static inline struct pp_cell *pp_cell_at(struct pp_thread *t, pp_ref ref)
{
	struct pp_cell *c = (struct pp_cell *)(t->region->base + ref);

	return pp_ref_near(t->region, ref) && __builtin_expect(c->key_size <= PP_KEY_MAX, 1) ? c : pp_cell_slow(t, ref);
}

/* Without its value. */
static inline struct pp_version *pp_version_at(struct pp_thread *t, pp_ref ref)
{
	return pp_sound_at(t, ref, sizeof(struct pp_version));
}

/* A batch with all that it lists. */
struct pp_batch *pp_batch_at(struct pp_thread *, pp_ref ref);

#define PP_SMALL_VALUE (PP_REF_SLACK - sizeof(struct pp_version) - 8) /* lies inside if its version is near */

/* Does its value (and the time to live before it) lie inside? */
static inline bool pp_version_whole(struct pp_thread *t, pp_ref ref, const struct pp_version *v)
{
	return (__builtin_expect(v->size <= PP_SMALL_VALUE, 1) && pp_ref_near(t->region, ref)) ||
	       pp_version_whole_slow(t, ref, v);
}

#endif
