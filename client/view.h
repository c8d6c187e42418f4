/*
 * view.h - what views and iterators share.
 */
#ifndef PP_CLIENT_VIEW_H
#define PP_CLIENT_VIEW_H

#include "client/internal.h"

struct ppdb_iter {
	struct ppdb_view *view;
	struct ppdb_iter *next, **link; /* on the view's list */
	struct pp_cursor *cursor;
	struct pp_cursor_opts opts;
	uint8_t *bounds;                /* owns the bytes of opts.lower, opts.upper */
	enum { PP_AT_NONE, PP_AT_BEFORE, PP_AT_ITEM, PP_AT_AFTER } at;
	bool empty;                     /* the bounds leave nothing */
	bool stale;                     /* the cursor belongs to an older cut or arena: open again */
	bool jump;                      /* then go on from `saved` */
	bool lost;                      /* the view was revoked before the position could be copied: only a seek leads on */
	const void *key;                /* item handed out last; lives until the view's refresh */
	uint32_t key_size, saved_size;
	uint8_t *saved;                 /* PP_KEY_MAX bytes, made at the first refresh that needs it */
};

/* Why the view cannot be read now: 0, PPDB_EVICTED, PPDB_FORKED, -EINVAL. */
int pp_view_state(const struct ppdb_view *);

/* Nothing that pp_view_state would have to say more about. In a forked child the session may be freed already. */
static inline bool pp_view_ready(const struct ppdb_view *v)
{
	const struct pp_mapping *m;

	if (!likely(v->born == pp_load_rlx(pp_guard))) /* owner: see pp_forked */
		return false;
	m = v->s->map;
	/* [client.view:orphaned] pairs [client.adopt:orphaned]: the next refresh finds the new arena */
	return v->held && !v->s->t.readonly && !pp_load_acq(&m->orphaned) && !pp_mapping_void(m);
}

/* Around each read: a snapshot holds a read section only meanwhile, a LATEST view all the time. */
static inline int pp_view_enter(struct ppdb_view *v)
{
	int rc = likely(pp_view_ready(v)) ? 0 : pp_view_state(v);

	if (!likely(!rc))
		return rc;
	if (!likely(--v->s->tick))
		pp_session_tick(v->s);
	if (!likely(pp_hold_enter(&v->s->t)))
		return pp_revoked();
	if (v->snapshot != PP_LATEST)
		pp_read_enter(&v->s->t);
	return 0;
}

static inline void pp_view_leave(struct ppdb_view *v)
{
	if (v->snapshot != PP_LATEST)
		pp_read_leave(&v->s->t);
	pp_hold_leave(&v->s->t);
}

/* Under a guard on a read-only handle. */
int pp_guarded_move(struct ppdb_iter *, int (*move)(struct ppdb_iter *, int how, ppdb_slice, struct pp_hit *), int how, ppdb_slice key,
	struct pp_hit *);

/* Around a refresh: before it the position is copied while its key can still be read (-ENOMEM); after it the cursor looks again. */
int pp_iter_save(struct ppdb_iter *);
void pp_iter_renew(struct ppdb_iter *);
/* Instead of saving: the view was revoked. */
void pp_iter_lose(struct ppdb_iter *);

#endif
