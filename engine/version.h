/*
 * version.h - the version chain of a key cell: read it at a cut, and the words a version is made of.
 */
#ifndef PP_ENGINE_VERSION_H
#define PP_ENGINE_VERSION_H

#include "engine/sound.h"
#include "engine/key.h"
#include "shm/alloc.h"
#include "shm/reclaim.h"

/* ---- shape ------------------------------------------------------------------------------------------------------ */

static inline pp_ref pp_cell_inline_version(const struct pp_thread *t, pp_ref cell)
{
	const struct pp_cell *c = pp_at(t->region, cell);

	return (cell + offsetof(struct pp_cell, key) + c->key_size + 7) & ~UINT64_C(7);
}

static inline bool pp_version_inline(const struct pp_version *v)
{
	return v->cell_back != 0;
}

/* The block that a separate version lives in (payload reference). */
static inline pp_ref pp_version_block(pp_ref version)
{
	return version - offsetof(struct pp_version_block, v);
}

/* PP_LINK of the key cell; an inline version's cell is its own block, so generation 0 stands for "the block is alive". */
static inline pp_ref pp_version_cell(struct pp_thread *t, pp_ref version)
{
	const struct pp_version *v = pp_version_at(t, version);
	const struct pp_version_block *b;

	if (pp_version_inline(v))
		return version - v->cell_back;
	b = pp_sound_at(t, pp_version_block(version), sizeof(*b));
	return pp_link_ref(b->cell);
}

static inline uint64_t pp_version_expires(const struct pp_version *v)
{
	uint64_t ms = 0;

	if (pp_version_flags(v) & PP_V_TTL)
		memcpy(&ms, v + 1, sizeof(ms));
	return ms;
}

static inline uint8_t *pp_version_value(struct pp_version *v)
{
	return (uint8_t *)(v + 1) + (pp_version_flags(v) & PP_V_TTL ? 8 : 0);
}

static inline uint64_t pp_version_bytes(uint64_t value_size, uint64_t expires_ms)
{
	return sizeof(struct pp_version) + (expires_ms ? 8 : 0) + value_size;
}

/* The same of one that is there. */
static inline uint64_t pp_version_span(const struct pp_version *v)
{
	return sizeof(*v) + (pp_version_flags(v) & PP_V_TTL ? 8 : 0) + v->size;
}

/* Fills a version that nobody can see yet. */
void pp_version_fill(struct pp_version *, uint64_t seq, unsigned flags, const void *value, uint64_t size, uint64_t expires_ms);

/* Can it go into the log: cell, key and value lie where they must? */
static inline bool pp_record_sound(struct pp_thread *t, pp_ref version)
{
	struct pp_version *v = pp_version_at(t, version);
	const struct pp_cell *c = pp_cell_at(t, pp_version_cell(t, version));

	return !pp_damage(t) && c->key_size && pp_version_whole(t, version, v);
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */

/* What has become of a version: its own word, or what its batch says. COMMITTED(slot, tag), ABORTED, or PENDING. */
uint64_t pp_batch_outcome(struct pp_thread *, struct pp_version *);
static inline uint64_t pp_version_state(struct pp_thread *t, struct pp_version *v)
{
	/* [version.visible:state] pairs [ring.commit:state]: the value and its tag */
	uint64_t s = pp_load_acq(&v->state);

	return __builtin_expect(pp_state_status(s) != PP_BATCH, 1) ? s : pp_batch_outcome(t, v);
}

/* A guard counts no version of its key, nor does what was undone: its number goes to the next write. */
static inline bool pp_version_undone(struct pp_thread *t, struct pp_version *v)
{
	return pp_state_status(pp_version_state(t, v)) == PP_ABORTED && !(pp_version_flags(v) & PP_V_GUARD);
}

/* The key's version number with this one on top. */
static inline uint64_t pp_version_number(struct pp_thread *t, struct pp_version *v)
{
	return pp_version_seq(v) - pp_version_undone(t, v);
}

/*
 * The version of `cell` that a reader at `snapshot` sees (PP_LATEST: newest committed): its reference, 0 when there is none;
 * *state is its COMMITTED word. `older` is loaded before `state`: an undecided or aborted version is passed over by the `older` it had
 * before it was looked at. Caller is inside a read section.
 */
pp_ref pp_version_visible(struct pp_thread *, struct pp_cell *cell, uint64_t snapshot, uint64_t *state);

/*
 * The common case of the above for LATEST: the newest version is committed. 0: ask pp_version_visible. `older` need not be looked at:
 * it counts only where the head is undecided.
 */
static inline pp_ref pp_version_newest(struct pp_thread *t, struct pp_cell *cell, uint64_t *state)
{
	/* [version.visible:head] pairs [install.link:head]: a complete version */
	uint64_t head = pp_protect(t, &cell->head);

	if (__builtin_expect(!head || head & 7, 0)) /* none, DEAD, or MOVING */
		return 0;
	/* [version.visible:state] pairs [ring.commit:state]: the value and its tag */
	*state = pp_load_acq(&pp_version_at(t, head)->state);
	return pp_state_status(*state) == PP_COMMITTED ? head : 0;
}

/* Helps a PENDING version to be committed through the caller's own ring; returns its decided state, or PENDING when the caller's
 * ring has no room. */
uint64_t pp_version_help(struct pp_thread *, pp_ref version);

/* ---- pruning ---------------------------------------------------------------------------------------------------- */

/* Takes out of the chain what no snapshot can need (bounded work). Called after a commit by the writer, and by the keeper.
 * True if superseded versions are left over that a later call may take. */
bool pp_version_prune(struct pp_thread *, struct pp_cell *cell, unsigned steps);

/* True if `version` hangs on the chain of `cell`. */
bool pp_version_reachable(struct pp_thread *, struct pp_cell *cell, pp_ref version);

#endif
