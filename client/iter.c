/*
 * iter.c - iterators: the engine's cursor within bounds, with a memory of which end it ran off.
 *
 * The bounds and the prefix become one half-open range [lower, upper) that the cursor keeps to. Seeks outside of it are
 * answered here. All state is private to the process; the view's slot protects what is handed out.
 */
#include "client/view.h"
#include "engine/cursor.h"

/* Smallest key above all that begin with the prefix: the last byte below 255 plus one. 0 = there is none. */
static uint32_t after_prefix(uint8_t *p, uint32_t size)
{
	while (size && p[size - 1] == 0xff)
		size--;
	if (size)
		p[size - 1]++;
	return size;
}

static int compare(const void *a, size_t na, const void *b, size_t nb)
{
	size_t n = na < nb ? na : nb;
	int c = n ? memcmp(a, b, n) : 0; /* no bound is no address */

	return c ? c : na < nb ? -1 : na > nb;
}

static void raise_lower(struct pp_cursor_opts *o, const void *p, uint32_t n)
{
	if (n && (!o->lower_size || compare(p, n, o->lower, o->lower_size) > 0)) {
		o->lower = p;
		o->lower_size = n;
	}
}

static void cut_upper(struct pp_cursor_opts *o, const void *p, uint32_t n)
{
	if (n && (!o->upper_size || compare(p, n, o->upper, o->upper_size) < 0)) {
		o->upper = p;
		o->upper_size = n;
	}
}

static int keep(uint8_t **at, ppdb_slice s, const char *what)
{
	if (s.size > PP_KEY_MAX || (s.size && !s.data))
		return pp_detail(PPDB_KEYSIZE, "%s: %s", what, pp_error_text(PPDB_KEYSIZE));
	if (s.size)
		memcpy(*at, s.data, s.size);
	*at += s.size;
	return 0;
}

static int set_bounds(struct ppdb_iter *it, const ppdb_iter_opts *o)
{
	uint8_t *p = malloc(o->lower.size + o->upper.size + 2 * o->prefix.size + 1), *at = p, *lower, *upper, *prefix, *past;
	int rc;

	if (!p)
		return pp_detail(-ENOMEM, "out of memory");
	it->bounds = p;
	lower = at;
	rc = keep(&at, o->lower, "lower bound");
	upper = at;
	if (!rc)
		rc = keep(&at, o->upper, "upper bound");
	prefix = at;
	if (!rc)
		rc = keep(&at, o->prefix, "prefix");
	past = at;
	if (!rc)
		rc = keep(&at, o->prefix, "prefix");
	if (rc)
		return rc;
	raise_lower(&it->opts, lower, (uint32_t)o->lower.size);
	raise_lower(&it->opts, prefix, (uint32_t)o->prefix.size);
	cut_upper(&it->opts, upper, (uint32_t)o->upper.size);
	cut_upper(&it->opts, past, after_prefix(past, (uint32_t)o->prefix.size));
	it->empty = it->opts.upper_size &&
		compare(it->opts.lower, it->opts.lower_size, it->opts.upper, it->opts.upper_size) >= 0;
	return 0;
}

static void destroy(struct ppdb_iter *it)
{
	if (it->cursor)
		pp_cursor_close(it->cursor);
	free(it->saved);
	free(it->bounds);
	free(it);
}

static int unknown_table(void)
{
	return pp_detail(PPDB_TABLE_UNKNOWN, "%s", pp_error_text(PPDB_TABLE_UNKNOWN));
}

/* Its table is there still, or it is the catalog, which always is. */
static inline bool usable(const struct ppdb_iter *it)
{
	return pp_table_usable(&it->view->s->map->region, it->opts.table) || it->opts.table == PP_TABLE_CATALOG;
}

int pp_iter_open(ppdb_view *v, ppdb_table table, const ppdb_iter_opts *opts, ppdb_iter **out)
{
	ppdb_iter_opts o;
	struct ppdb_iter *it;
	int rc = pp_args_copy(&o, sizeof(o), opts, 0, "ppdb_iter_open");

	if (!rc && (o.lower.size > PP_KEY_MAX || o.upper.size > PP_KEY_MAX || o.prefix.size > PP_KEY_MAX))
		rc = pp_detail(PPDB_KEYSIZE, "a bound or prefix has at most %u bytes", PP_KEY_MAX);
	if (!rc)
		rc = pp_view_state(v);
	if (rc)
		return rc;
	it = calloc(1, sizeof(*it));
	if (!it)
		return pp_detail(-ENOMEM, "out of memory");
	it->view = v;
	it->opts.table = table;
	it->opts.snapshot = v->snapshot;
	rc = set_bounds(it, &o);
	if (!rc)
		rc = pp_cursor_open(&v->s->t, &it->opts, &it->cursor);
	if (rc) {
		destroy(it);
		return rc;
	}
	it->next = v->iters;
	it->link = &v->iters;
	if (it->next)
		it->next->link = &it->next;
	v->iters = it;
	*out = it;
	return 0;
}

PPDB_API int ppdb_iter_open(ppdb_view *v, ppdb_table table, const ppdb_iter_opts *opts, ppdb_iter **out)
{
	int rc = pp_view_state(v);

	if (!rc && !pp_table_usable(&v->s->map->region, table))
		rc = unknown_table();
	return rc ? rc : pp_iter_open(v, table, opts, out);
}

PPDB_API void ppdb_iter_close(ppdb_iter *it)
{
	if (!it)
		return;
	*it->link = it->next;
	if (it->next)
		it->next->link = it->link;
	destroy(it);
}

/* ---- refresh of the view */

int pp_iter_save(struct ppdb_iter *it)
{
	if (it->at != PP_AT_ITEM || it->jump)
		return 0;
	if (!it->saved)
		it->saved = malloc(PP_KEY_MAX);
	if (!it->saved)
		return pp_detail(-ENOMEM, "out of memory");
	memcpy(it->saved, it->key, it->key_size);
	it->saved_size = it->key_size;
	return 0;
}

void pp_iter_lose(struct ppdb_iter *it)
{
	if (it->at != PP_AT_ITEM || it->jump)
		return;
	it->at = PP_AT_NONE;
	it->lost = true;
}

void pp_iter_renew(struct ppdb_iter *it)
{
	struct ppdb_view *v = it->view;

	it->opts.snapshot = v->snapshot;
	it->stale = true;
	it->jump = it->at == PP_AT_ITEM;
}

static int reopen(struct ppdb_iter *it)
{
	struct pp_cursor *fresh;
	int rc = pp_cursor_open(&it->view->s->t, &it->opts, &fresh);

	if (rc)
		return rc;
	pp_cursor_close(it->cursor);
	it->cursor = fresh;
	it->stale = false;
	return 0;
}

/* ---- moving */

enum move { FIRST, LAST, NEXT, PREV, SEEK, SEEK_LE };

static int step(struct ppdb_iter *it, enum move m, ppdb_slice key, struct pp_hit *hit)
{
	switch (m) {
	case FIRST:
		return pp_cursor_first(it->cursor, hit);
	case LAST:
		return pp_cursor_last(it->cursor, hit);
	case NEXT:
		return pp_cursor_next(it->cursor, hit);
	case PREV:
		return pp_cursor_prev(it->cursor, hit);
	case SEEK:
		return pp_cursor_seek(it->cursor, key.data, (uint32_t)key.size, hit);
	default:
		return pp_cursor_seek_le(it->cursor, key.data, (uint32_t)key.size, hit);
	}
}

/* The first move of a cursor that was opened again: beside the saved key, which may be gone. */
static int jump(struct ppdb_iter *it, enum move m, struct pp_hit *hit)
{
	int rc;

	it->jump = false;
	if (m == NEXT)
		rc = pp_cursor_seek(it->cursor, it->saved, it->saved_size, hit);
	else
		rc = pp_cursor_seek_le(it->cursor, it->saved, it->saved_size, hit);
	if (rc || compare(hit->key, hit->key_size, it->saved, it->saved_size))
		return rc;
	return m == NEXT ? pp_cursor_next(it->cursor, hit) : pp_cursor_prev(it->cursor, hit);
}

/* Turns moves from an end, and seeks outside of the bounds, into what the cursor can do; false: nothing there. */
static bool plan(const struct ppdb_iter *it, enum move *m, ppdb_slice key)
{
	const struct pp_cursor_opts *o = &it->opts;

	if (it->empty)
		return false;
	switch (*m) {
	case NEXT:
		if (it->at == PP_AT_NONE || it->at == PP_AT_BEFORE)
			*m = FIRST;
		return it->at != PP_AT_AFTER;
	case PREV:
		if (it->at == PP_AT_NONE || it->at == PP_AT_AFTER)
			*m = LAST;
		return it->at != PP_AT_BEFORE;
	case SEEK:
		if (!key.size || compare(key.data, key.size, o->lower, o->lower_size) < 0)
			*m = FIRST;
		return !o->upper_size || compare(key.data, key.size, o->upper, o->upper_size) < 0;
	case SEEK_LE:
		if (o->upper_size && compare(key.data, key.size, o->upper, o->upper_size) >= 0)
			*m = LAST;
		return key.size && compare(key.data, key.size, o->lower, o->lower_size) >= 0;
	default:
		return true;
	}
}

static bool forward(enum move m)
{
	return m == FIRST || m == NEXT || m == SEEK;
}

static int move(struct ppdb_iter *it, int how, ppdb_slice key, struct pp_hit *hit)
{
	enum move m = (enum move)how, does = m;

	if (!likely(!it->lost)) {
		if (m == NEXT || m == PREV)
			return pp_detail(PPDB_EVICTED, "the view was revoked, and with it the iterator's position: seek again");
		it->lost = false;
	}

	if (!likely(!it->stale)) {
		int rc = reopen(it);

		if (rc)
			return rc;
	}
	if (!plan(it, &does, key))
		return PPDB_NOTFOUND;
	if (!likely(!it->jump)) {
		if (does == NEXT || does == PREV)
			return jump(it, does, hit);
		it->jump = false;
	}
	return step(it, does, key, hit);
}

static int go(struct ppdb_iter *it, enum move m, ppdb_slice key, ppdb_item *out)
{
	struct pp_hit hit;
	int rc = pp_view_enter(it->view);

	if (!likely(!rc))
		return rc;
	rc = likely(usable(it)) ? pp_guarded_move(it, move, (int)m, key, &hit) : unknown_table();
	if (likely(!rc)) {
		it->at = PP_AT_ITEM;
		it->key = hit.key;
		it->key_size = hit.key_size;
		pp_session_note(&it->view->s->seen, hit.tag);
		pp_args_item(&hit, out);
	} else if (rc == PPDB_NOTFOUND) {
		it->at = forward(m) ? PP_AT_AFTER : PP_AT_BEFORE;
	}
	pp_view_leave(it->view);
	return rc;
}

static const ppdb_slice no_key;

PPDB_API int ppdb_iter_first(ppdb_iter *it, ppdb_item *out)
{
	return go(it, FIRST, no_key, out);
}

PPDB_API int ppdb_iter_last(ppdb_iter *it, ppdb_item *out)
{
	return go(it, LAST, no_key, out);
}

/* From item to item, when nothing but the next one is to be looked at. */
static inline bool quick_next(struct ppdb_iter *it, ppdb_item *out)
{
	struct ppdb_view *v = it->view;
	struct pp_hit hit;
	bool there;

	if (!likely(it->at == PP_AT_ITEM && !it->stale && !it->jump && v->snapshot == PP_LATEST && pp_view_ready(v) && v->s->tick > 1))
		return false;
	if (!likely(usable(it)))
		return false;
	if (!likely(pp_hold_enter(&v->s->t))) /* evicted: the long way says so */
		return false;
	there = pp_cursor_quick(it->cursor, &hit);
	pp_hold_leave(&v->s->t);
	if (!likely(there))
		return false;
	v->s->tick--;
	it->key = hit.key;
	it->key_size = hit.key_size;
	pp_session_note(&v->s->seen, hit.tag);
	pp_args_item(&hit, out);
	return true;
}

PPDB_API int ppdb_iter_next(ppdb_iter *it, ppdb_item *out)
{
	return likely(quick_next(it, out)) ? 0 : go(it, NEXT, no_key, out);
}

PPDB_API int ppdb_iter_prev(ppdb_iter *it, ppdb_item *out)
{
	return go(it, PREV, no_key, out);
}

static int seek(struct ppdb_iter *it, enum move m, ppdb_slice key, ppdb_item *out)
{
	if (key.size > PP_KEY_MAX || (key.size && !key.data))
		return pp_detail(PPDB_KEYSIZE, "%s", pp_error_text(PPDB_KEYSIZE));
	return go(it, m, key, out);
}

PPDB_API int ppdb_iter_seek(ppdb_iter *it, ppdb_slice key, ppdb_item *out)
{
	return seek(it, SEEK, key, out);
}

PPDB_API int ppdb_iter_seek_le(ppdb_iter *it, ppdb_slice key, ppdb_item *out)
{
	return seek(it, SEEK_LE, key, out);
}
