/*
 * view.c - reading in place: LATEST views keep a read section open, snapshots hold a cut.
 *
 * A view has a session (slot) of its own, so any number can be open in a thread, each with its own interval, and a view may
 * be handed to another thread. What a LATEST view hands out is protected by its interval, what a snapshot hands out by the
 * held cut; both end at refresh and end. A view whose arena was replaced keeps that arena mapped, so its pointers stay
 * readable, and says PPDB_EVICTED until it is refreshed.
 *
 * Dies inside: the reaper clears the slot's interval and cut.
 */
#include "client/view.h"
#include "engine/quick.h"
#include "shm/probe.h"

#define GONE_NS (3 * PP_NS_PER_SEC) /* a snapshot waits this long for a ppdbd */
#define SETTLE_NS (5 * PP_NS_PER_SEC) /* and this long for one that is there */
#define SLICE_NS (100 * PP_NS_PER_MS)
#define NAP_NS PP_NS_PER_MS

/* Also true in a child that attached its handle again: the view stays the parent's. */
static bool forked(const struct ppdb_view *v)
{
	return v->born != pp_load_rlx(pp_guard); /* owner: see pp_forked */
}

int pp_view_state(const struct ppdb_view *v)
{
	if (forked(v))
		return pp_detail(PPDB_FORKED, "%s", pp_error_text(PPDB_FORKED));
	if (!v->held)
		return pp_detail(-EINVAL, "the view could not be refreshed: refresh it again or end it");
	/* [client.view:orphaned] pairs [client.adopt:orphaned]: the next refresh finds the new arena */
	if (pp_load_acq(&v->s->map->orphaned) || pp_mapping_void(v->s->map))
		return pp_detail(PPDB_EVICTED, "the arena was replaced by a restart: refresh the view");
	return likely(!pp_evicted(&v->s->t)) ? 0 : pp_revoked();
}

/* The least cut that this snapshot must hold. A cold start may have lost what was seen: then it is not owed. */
static uint64_t owed(const struct ppdb_view *v, struct pp_globals *g)
{
	uint64_t written, seen, open;

	pp_sessions_newest(v->db, &written, &seen);
	open = pp_load_seq(&g->open_epoch);
	if (v->flags == PPDB_VIEW_FRESH)
		return open;
	return seen <= open ? seen : 0;
}

/* Only ppdbd can close a cut. One that is just being restarted is given some time. */
static int await_daemon(struct ppdb_view *v)
{
	uint64_t deadline = pp_now_ns() + GONE_NS;
	struct timespec nap = pp_timespec(NAP_NS);

	for (;;) {
		pp_link_poll(v->db, true);
		if (!pp_link_down(v->db, NULL))
			return 0;
		if (pp_now_ns() >= deadline)
			return pp_detail(PPDB_DAEMON_GONE, "no cut can be closed: ppdbd is gone; start it with 'ppdb start'");
		nanosleep(&nap, NULL);
	}
}

/* Until the arena has settled what is owed; in slices, so that the next daemon is found, and its arena when it has another one. */
static int await_cut(struct ppdb_view *v, uint64_t *cut)
{
	uint64_t deadline = pp_now_ns() + SETTLE_NS;
	int rc;

	*cut = owed(v, v->s->map->region.globals);
	while (*cut > pp_load_acq(&v->s->map->region.globals->settled_epoch)) {
		rc = await_daemon(v);
		if (rc)
			return rc;
		/* [client.view:orphaned] pairs [client.adopt:orphaned]: the daemon that came has another arena */
		if (pp_load_acq(&v->s->map->orphaned)) {
			rc = pp_session_renew(v->s);
			if (rc)
				return rc;
			*cut = owed(v, v->s->map->region.globals);
			continue;
		}
		if (v->s->t.readonly)
			pp_link_ask_close(v->db);
		rc = pp_snapshot_await(&v->s->t, *cut, SLICE_NS);
		if (rc && pp_now_ns() >= deadline)
			return rc;
	}
	return 0;
}

static int hold_snapshot(struct ppdb_view *v)
{
	uint64_t cut, s;
	int rc = await_cut(v, &cut);

	if (!rc)
		rc = pp_snapshot_hold(&v->s->t, cut, &s);
	if (rc)
		return rc;
	v->snapshot = s;
	v->seq = s;
	v->s->t.as_of_ms = pp_wall_ms(); /* so that a snapshot does not change by the passing of time either */
	return 0;
}

static int hold(struct ppdb_view *v)
{
	pp_hold_begin(v->s->t.slot);
	if (v->flags != PPDB_VIEW_LATEST) {
		int rc = hold_snapshot(v);

		if (rc) {
			if (v->s->t.slot) /* it may have got none in another arena */
				pp_hold_end(v->s->t.slot);
			return rc;
		}
	} else {
		v->snapshot = PP_LATEST;
		v->seq = pp_load_acq(&v->s->map->region.globals->settled_epoch);
		pp_read_enter(&v->s->t);
	}
	v->held = true;
	return 0;
}

static void let_go(struct ppdb_view *v)
{
	if (!v->held)
		return;
	v->held = false;
	if (v->flags == PPDB_VIEW_LATEST)
		pp_read_leave(&v->s->t);
	else
		pp_snapshot_drop(&v->s->t);
	pp_hold_end(v->s->t.slot);
	v->s->t.as_of_ms = 0;
}

/* Copies where the iterators stand, while that can be read. */
static int save_iterators(struct ppdb_view *v)
{
	bool readable = v->held && pp_hold_enter(&v->s->t);
	int rc = 0;

	for (struct ppdb_iter *i = v->iters; i && readable && !rc; i = i->next)
		rc = pp_iter_save(i);
	if (readable)
		pp_hold_leave(&v->s->t);
	if (pp_evicted(&v->s->t))
		readable = false;
	for (struct ppdb_iter *i = v->iters; i && v->held && !readable; i = i->next)
		pp_iter_lose(i);
	return rc;
}

PPDB_API int ppdb_view_begin(ppdb *db, uint32_t flags, ppdb_view **out)
{
	struct ppdb_view *v;
	int rc;

	if (flags > PPDB_VIEW_FRESH || !out)
		return pp_detail(-EINVAL, "ppdb_view_begin: flags is one of PPDB_VIEW_LATEST, SNAPSHOT, FRESH; out is not NULL");
	v = calloc(1, sizeof(*v));
	if (!v)
		return pp_detail(-ENOMEM, "out of memory");
	v->db = db;
	v->born = db ? db->born : 0;
	v->flags = flags;
	rc = pp_session_take(db, &v->s);
	if (rc) {
		free(v);
		return rc;
	}
	rc = hold(v);
	if (rc) {
		pp_session_give(v->s);
		free(v);
		return rc;
	}
	*out = v;
	return 0;
}

PPDB_API int ppdb_view_refresh(ppdb_view *v)
{
	int rc;

	if (forked(v))
		return pp_detail(PPDB_FORKED, "%s", pp_error_text(PPDB_FORKED));
	rc = save_iterators(v);
	if (rc)
		return rc;
	let_go(v);
	pp_session_tick(v->s);
	rc = pp_session_renew(v->s);
	if (!rc)
		rc = hold(v);
	for (struct ppdb_iter *i = v->iters; i; i = i->next)
		pp_iter_renew(i);
	return rc;
}

PPDB_API void ppdb_view_end(ppdb_view *v)
{
	if (!v)
		return;
	/* In a forked child the session is the parent's, and after a reattach it is freed already. */
	if (!forked(v)) {
		let_go(v);
		pp_session_give(v->s);
	}
	free(v);
}

PPDB_API ppdb_seq ppdb_view_seq(const ppdb_view *v)
{
	return v->held ? v->seq : 0;
}

PPDB_API int ppdb_view_check(const ppdb_view *v)
{
	int rc = pp_view_state(v);

	return !rc && pp_hold_evicted(v->s->t.slot) ? pp_revoked() : rc;
}

PPDB_API int ppdb_view_get(ppdb_view *v, ppdb_table table, ppdb_slice key, ppdb_item *out)
{
	struct pp_key k;
	struct pp_hit hit;
	int rc = pp_view_enter(v);

	if (!likely(!rc))
		return rc;
	PPDB_PROBE(get_begin, table, key.data, key.size);
	rc = pp_args_key(&v->s->map->region, &k, table, key);
	if (likely(!rc && v->snapshot == PP_LATEST && !v->s->t.record && pp_read_quick(&v->s->t, &k, &hit))) {
		pp_session_note(&v->s->seen, hit.tag);
		pp_args_item(&hit, out);
	} else if (!rc) {
		rc = pp_guarded_read(&v->s->t, &k, v->snapshot, &hit);
		if (likely(!rc)) {
			pp_session_note(&v->s->seen, hit.tag);
			pp_args_item(&hit, out);
		}
	} else {
		pp_detail(rc, "%s", pp_error_text(rc));
	}
	pp_view_leave(v);
	PPDB_PROBE(get_end, rc);
	return rc;
}

/* ---- many at once: in portions, so that nothing is allocated */

#define PORTION 64

static int look_up(struct ppdb_view *v, const struct pp_key *keys, size_t n, ppdb_item *out, int *rcs)
{
	struct pp_hit hit[PORTION];
	int rc = pp_guarded_read_many(&v->s->t, keys, n, v->snapshot, hit, rcs);

	for (size_t i = 0; i < n && !rc; i++) {
		if (rcs[i])
			continue;
		pp_session_note(&v->s->seen, hit[i].tag);
		pp_args_item(&hit[i], &out[i]);
	}
	return rc;
}

/* Keys that are no keys are left out of the portion and get their own code. */
static int portion(struct ppdb_view *v, ppdb_table table, const ppdb_slice *keys, size_t n, ppdb_item *out, int *rcs)
{
	struct pp_key k[PORTION];
	size_t start = 0;

	for (size_t i = 0; i <= n; i++) {
		int rc = i < n ? pp_args_key(&v->s->map->region, &k[i], table, keys[i]) : PPDB_KEYSIZE;

		if (!rc)
			continue;
		if (i > start) {
			int failed = look_up(v, k + start, i - start, out + start, rcs + start);

			if (failed)
				return failed;
		}
		if (i < n)
			rcs[i] = rc;
		start = i + 1;
	}
	return 0;
}

PPDB_API int ppdb_get_many(ppdb *db, ppdb_table table, const ppdb_slice *keys, size_t n, ppdb_view *v, ppdb_item *out, int *rcs)
{
	int rc;

	if (!v || v->db != db)
		return pp_detail(-EINVAL, "ppdb_get_many: the view is not one of this handle");
	rc = pp_view_enter(v);
	if (rc)
		return rc;
	PPDB_PROBE(get_many_begin, table, n);
	for (size_t done = 0; done < n && !rc; done += PORTION)
		rc = portion(v, table, keys + done, n - done < PORTION ? n - done : PORTION, out + done, rcs + done);
	pp_view_leave(v);
	PPDB_PROBE(get_many_end, rc);
	return rc;
}
