/*
 * guarded.c - reads of a handle whose memory may be taken away (read-only): under a guard, and looked at once more before they are believed.
 *
 * The record is looked at after the engine has read all that the answer is made of: if it stands, no memory was given to others before
 * (shm/guard.h). What an answer points to is checked to lie inside the arena, so that it can be read by the application even when the view is
 * revoked later; ppdb_view_check tells whether it was.
 *
 * Functions with a setjmp are kept small: what it may spoil are their own variables.
 */
#include "client/view.h"

#include "shm/guard.h"

static int caught(struct pp_guard *g)
{
	struct pp_thread *t = g->t;

	pp_guard_disarm(g);
	while (t->depth > g->depth)
		pp_read_leave(t);
	return g->rc;
}

int pp_revoked(void)
{
	return pp_detail(PPDB_EVICTED, "%s", pp_error_text(PPDB_EVICTED));
}

static bool inside(const struct pp_region *r, const void *p, uint64_t bytes)
{
	pp_ref ref = pp_ref_of(r, p);

	return pp_ref_inside(r, ref & ~UINT64_C(7), bytes + 8);
}

/* The code of the read, unless its result is not to be believed. */
static int judged(const struct pp_thread *t, int rc, const struct pp_hit *hit)
{
	if (pp_evicted(t))
		return pp_revoked();
	if (!rc && hit && !(inside(t->region, hit->key, hit->key_size) && inside(t->region, hit->value, hit->size)))
		return pp_detail(PPDB_CORRUPT, "a value reaches out of the arena: run 'ppdb check'");
	return rc;
}

static int read_one(struct pp_thread *t, const struct pp_key *k, uint64_t snapshot, struct pp_hit *hit)
{
	struct pp_guard g;
	int rc;

	pp_guard_arm(&g, t);
	if (_setjmp(g.back))
		return caught(&g);
	rc = pp_read(t, k, snapshot, hit);
	pp_guard_disarm(&g);
	return rc;
}

int pp_guarded_read(struct pp_thread *t, const struct pp_key *k, uint64_t snapshot, struct pp_hit *hit)
{
	if (!t->record)
		return pp_read(t, k, snapshot, hit);
	return judged(t, read_one(t, k, snapshot, hit), hit);
}

static int read_many(struct pp_thread *t, const struct pp_key *keys, size_t n, uint64_t snapshot, struct pp_hit *hits, int *rcs)
{
	struct pp_guard g;

	pp_guard_arm(&g, t);
	if (_setjmp(g.back))
		return caught(&g);
	pp_read_many(t, keys, n, snapshot, hits, rcs);
	pp_guard_disarm(&g);
	return 0;
}

int pp_guarded_read_many(struct pp_thread *t, const struct pp_key *keys, size_t n, uint64_t snapshot, struct pp_hit *hits, int *rcs)
{
	int rc;

	if (!t->record) {
		pp_read_many(t, keys, n, snapshot, hits, rcs);
		return 0;
	}
	rc = read_many(t, keys, n, snapshot, hits, rcs);
	for (size_t i = 0; i < n && !rc; i++)
		rcs[i] = judged(t, rcs[i], &hits[i]);
	return rc ? rc : judged(t, 0, NULL);
}

static int move_one(struct ppdb_iter *it, int (*move)(struct ppdb_iter *, int, ppdb_slice, struct pp_hit *), int how, ppdb_slice key,
	struct pp_hit *hit)
{
	struct pp_guard g;
	int rc;

	pp_guard_arm(&g, &it->view->s->t);
	if (_setjmp(g.back))
		return caught(&g);
	rc = move(it, how, key, hit);
	pp_guard_disarm(&g);
	return rc;
}

int pp_guarded_move(struct ppdb_iter *it, int (*move)(struct ppdb_iter *, int, ppdb_slice, struct pp_hit *), int how, ppdb_slice key,
	struct pp_hit *hit)
{
	struct pp_thread *t = &it->view->s->t;

	if (!t->record)
		return move(it, how, key, hit);
	return judged(t, move_one(it, move, how, key, hit), hit);
}
