/*
 * sweep.c - keys that nobody can see any more are deleted by the keeper: of dropped tables, and those that have expired.
 *
 * A walk goes through the leaves in order of keys, some each step. What has to go gets a tombstone by an ordinary write of the house thread (pp_write with
 * PP_W_SWEEP), which says which version it means: so a value that was written meanwhile is not touched, the log and every snapshot know it, and from then on it is a
 * deleted key like others: the keeper removes cell and versions (engine/remove.c). A step ends early when the ring or the log has no room; the
 * house thread never waits for that.
 *
 * Expiry. To a reader an expired value is absent, whether it was swept or not. The step thread, which sees every write once, keeps the time at
 * which the next value expires; a walk begins when that has come, and not before twice its own duration is over, so a million values that
 * expire at once, or one each millisecond, cost a part of one thread and no client waits for anything. What it leaves lowers the time again. After a start
 * the first walk begins at once: nothing has to be kept about it.
 *
 * Dies inside: as every write. A walk is forgotten; the next daemon begins another.
 */
#include "engine/sweep.h"

#include "engine/index.h"
#include "engine/keeper_internal.h"
#include "engine/read.h"
#include "shm/clock.h"
#include "shm/errors.h"
#include "shm/fault.h"

#define DELETES_STEP 256
#define LEAVES_STEP 64
#define LEAVES_BUSY 8
#define PASS_NS UINT64_C(100000000)    /* between two walks for expired values, at least */
#define REST 4                         /* and that many times the duration of the last one */

/* ---- a walk ----------------------------------------------------------------------------------------------------- */

/* Where a list's walk begins. */
static void to_start(struct pp_sweep *s)
{
	if (s->of_table)
		pp_keybuf_set(&s->at, s->table, "", 0);
	else
		pp_keybuf_copy(&s->at, (const uint8_t *)"", 0);
}

void pp_sweep_begin(struct pp_sweep *s, bool of_table, uint32_t table)
{
	s->active = true;
	s->stalled = false;
	s->of_table = of_table;
	s->table = table;
	s->list = 0;
	s->met = 0;
	s->next_ms = UINT64_MAX;
	to_start(s);
}

static void next_list(struct pp_sweep *s)
{
	s->list++;
	to_start(s);
}

/* Has this version to go? */
static bool unwanted(struct pp_sweep *s, struct pp_version *v, uint64_t now_ms)
{
	uint64_t expires = pp_version_expires(v);

	if (pp_version_flags(v) & PP_V_TOMBSTONE)
		return false;
	if (s->of_table || (expires && expires <= now_ms))
		return true;
	if (expires && expires < s->next_ms)
		s->next_ms = expires;
	return false;
}

/* PPDB_CONFLICT: somebody wrote the key meanwhile. */
static int take_away(struct pp_thread *t, const struct pp_cell *c, struct pp_version *v)
{
	struct pp_write w = {
		.key = {be32toh(c->table_be), c->key_size, c->key}, .flags = PP_W_DELETE | PP_W_SWEEP, .expect = pp_version_seq(v), .timeout_ns = 1,
	};

	return pp_write(t, &w);
}

/* Looks at a cell; *deletes left. Not 0: no room for a write now, come back to this cell. */
static int look_at(struct pp_thread *t, struct pp_sweep *s, pp_ref ref, uint64_t now_ms, unsigned *deletes)
{
	struct pp_cell *c = pp_cell_at(t, ref);
	uint64_t state;
	pp_ref version;
	int rc = 0;

	if (s->of_table)
		s->met++;
	version = pp_version_visible(t, c, PP_LATEST, &state);
	if (!version || pp_damage(t))
		return 0;
	if (unwanted(s, pp_version_at(t, version), now_ms)) {
		PP_FAULT_POINT("expire.found");
		rc = take_away(t, c, pp_version_at(t, version));
		*deletes -= *deletes > 0;
	}
	return rc == PPDB_CONFLICT || rc == PPDB_NOTFOUND || rc == PPDB_CORRUPT ? 0 : rc;
}

/* One leaf from `at` on. False: the walk stops here for now. */
static bool sweep_leaf(struct pp_thread *t, struct pp_sweep *s, uint64_t now_ms, unsigned *deletes)
{
	struct pp_place p;
	unsigned i;

	pp_index_find(t, s->list, 0, &s->at.key, false, &p);
	for (i = p.at; i < p.block->count; i++)
		pp_near(pp_at(t->region, pp_block_ref(p.block, i)));
	for (i = p.at; i < p.block->count; i++) {
		struct pp_cell *c = pp_cell_at(t, pp_block_ref(p.block, i));

		if (s->of_table && c->table_be != htobe32(s->table)) {
			next_list(s);
			return true;
		}
		if (*deletes)
			s->stalled = look_at(t, s, pp_block_ref(p.block, i), now_ms, deletes) != 0;
		if (!*deletes || s->stalled) { /* met again when the walk comes back: once more does no harm */
			pp_keybuf_copy(&s->at, pp_cell_key(c), pp_cell_key_size(c));
			return false;
		}
	}
	if (p.block->high_size)
		pp_keybuf_copy(&s->at, pp_block_high(p.block), p.block->high_size);
	else
		next_list(s);
	return true;
}

bool pp_sweep_step(struct pp_keeper *k, struct pp_sweep *s, unsigned leaves)
{
	struct pp_thread *t = &k->house;
	unsigned deletes = DELETES_STEP;
	uint64_t now_ms = pp_wall_ms();
	bool on = true;

	s->stalled = false;
	while (s->list < pp_list_count(pp_engine(t)) && leaves-- && on) {
		pp_read_enter(t);
		on = sweep_leaf(t, s, now_ms, &deletes);
		pp_read_leave(t);
		if (pp_damage_result(t, 0))
			next_list(s); /* the next walk tries again */
	}
	s->active = s->list < pp_list_count(pp_engine(t));
	return !s->active;
}

/* ---- expiry ----------------------------------------------------------------------------------------------------- */

void pp_expire_note(struct pp_keeper *k, uint64_t expires_ms)
{
	uint64_t next = pp_load_rlx(&k->next_expiry_ms);

	while (expires_ms < next && !pp_cas_rlx(&k->next_expiry_ms, &next, expires_ms))
		;
}

bool pp_expire_step(struct pp_keeper *k)
{
	struct pp_sweep *s = &k->expire;
	uint64_t now = pp_now_ns();
	bool busy = pp_keeper_busy(k);

	if (!s->active) {
		if (now < k->expire_ns || k->log_error || pp_load_rlx(&k->next_expiry_ms) > pp_wall_ms()) /* hint */
			return false;
		pp_store_rlx(&k->next_expiry_ms, UINT64_MAX); /* hint: what is logged from now on lowers it, what the walk leaves at its end */
		pp_sweep_begin(s, false, 0);
		k->expire_began_ns = now;
	}
	if (pp_sweep_step(k, s, busy ? LEAVES_BUSY : LEAVES_STEP)) {
		pp_expire_note(k, s->next_ms);
		now = pp_now_ns();
		k->expire_ns = now + PASS_NS + REST * (now - k->expire_began_ns);
	}
	return s->active && !s->stalled && !busy;
}
