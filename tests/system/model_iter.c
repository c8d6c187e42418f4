/*
 * model_iter.c - iterators compared with the model: bounds, prefix, all six moves mixed, refresh in between (see model_run.h).
 *
 * Over a LATEST view writes are mixed in. What the contract leaves open then is left open here and nothing else: a key that
 * came or went since the iterator was opened may or may not be met; each other key is met exactly when it lies next.
 */
#include "tests/system/model_run.h"

#include <stdio.h>
#include <string.h>

enum at { NONE, BEFORE, ITEM, AFTER };

struct walk {
	struct model_run *x;
	ppdb_view *view;
	ppdb_iter *it;
	struct model_state *now;
	bool live;               /* over a LATEST view */
	uint64_t since;          /* changes later than this may or may not be met */
	uint32_t low, high;      /* the range: keys low <= i < high */
	enum at at;
	uint32_t pos;            /* of ITEM */
	ppdb_item item;
};

static bool certain(const struct walk *w, uint32_t i)
{
	return w->now[i].kind != MODEL_ABSENT && (!w->live || w->now[i].changed <= w->since);
}

/* The next key that must be met from i on upwards; high = none. */
static uint32_t must_up(const struct walk *w, uint32_t i)
{
	while (i < w->high && !certain(w, i))
		i++;
	return i;
}

/* The next key that must be met below i; high = none. */
static uint32_t must_down(const struct walk *w, uint32_t i)
{
	while (i > w->low)
		if (certain(w, --i))
			return i;
	return w->high;
}

static void check_item(struct walk *w, uint32_t got)
{
	struct model_state *s = &w->now[got];
	const char *wrong;

	if (s->kind == MODEL_ABSENT) {
		model_require(w->x, got, w->live && s->changed > w->since, "the iterator met a key that is not there");
		return;
	}
	wrong = model_item_wrong(&w->x->m, s, got, &w->item);
	model_require(w->x, got, !wrong, "met by the iterator: %s", wrong);
}

/* A move upwards from `from` (the first index that may be met) has returned rc. */
static void judge_up(struct walk *w, uint32_t from, int rc, const char *what)
{
	uint32_t must = must_up(w, from < w->low ? w->low : from), got;

	if (rc) {
		model_require(w->x, must, rc == PPDB_NOTFOUND, "%s gave %s: %s", what, test_name_of(rc), test_detail());
		model_require(w->x, must, must >= w->high, "%s ended although this key follows", what);
		w->at = AFTER;
		return;
	}
	got = model_lower(&w->x->m, w->item.key.data, w->item.key.size);
	model_require(w->x, must, got <= must && got >= from && got >= w->low && got < w->high,
		"%s led to number %u (from %u in %u..%u, at %d, live %d, opened at %llu, changed at %llu)", what, got, from, w->low, w->high,
		w->at, w->live, (unsigned long long)w->since, must < w->high ? (unsigned long long)w->now[must].changed : 0);
	check_item(w, got);
	w->at = ITEM;
	w->pos = got;
}

/* A move downwards to a key below `from`. */
static void judge_down(struct walk *w, uint32_t from, int rc, const char *what)
{
	uint32_t must = must_down(w, from > w->high ? w->high : from), got;

	if (rc) {
		model_require(w->x, must, rc == PPDB_NOTFOUND, "%s gave %s: %s", what, test_name_of(rc), test_detail());
		model_require(w->x, must, must >= w->high, "%s ended although this key comes before", what);
		w->at = BEFORE;
		return;
	}
	got = model_lower(&w->x->m, w->item.key.data, w->item.key.size);
	model_require(w->x, must, (must >= w->high || got >= must) && got < from && got >= w->low && got < w->high,
		"%s led to number %u (from %u in %u..%u, at %d, live %d, opened at %llu, changed at %llu)", what, got, from, w->low, w->high,
		w->at, w->live, (unsigned long long)w->since, must < w->high ? (unsigned long long)w->now[must].changed : 0);
	check_item(w, got);
	w->at = ITEM;
	w->pos = got;
}

/* Some key: one of the universe, or one beside it. */
static ppdb_slice some_key(struct model_run *x, uint8_t *buf)
{
	uint32_t i = (uint32_t)test_below(&x->r, x->m.n), size = x->m.keys[i].size;

	memcpy(buf, x->m.keys[i].bytes, size);
	if (test_chance(&x->r, 25) && size > 1)
		size = 1 + (uint32_t)test_below(&x->r, size);
	else if (test_chance(&x->r, 25) && size < 4096)
		buf[size++] = (uint8_t)test_next(&x->r);
	else if (test_chance(&x->r, 25))
		buf[size - 1] ^= (uint8_t)test_next(&x->r);
	return (ppdb_slice){buf, size};
}

static void seek(struct walk *w, bool up)
{
	uint8_t buf[4097];
	ppdb_slice k = test_chance(&w->x->r, 3) ? (ppdb_slice){NULL, 0} : some_key(w->x, buf);
	uint32_t at = k.size ? model_lower(&w->x->m, k.data, k.size) : 0;
	bool same = k.size && at < w->x->m.n && !model_compare(k.data, k.size, w->x->m.keys[at].bytes, w->x->m.keys[at].size);

	if (up)
		judge_up(w, at, ppdb_iter_seek(w->it, k, &w->item), "seek");
	else
		judge_down(w, at + same, ppdb_iter_seek_le(w->it, k, &w->item), "seek_le");
}

static void next(struct walk *w)
{
	int rc = ppdb_iter_next(w->it, &w->item);
	uint32_t from = w->at == ITEM ? w->pos + 1 : w->at == AFTER ? w->high : 0;

	if (w->at == AFTER)
		model_require(w->x, w->high, rc == PPDB_NOTFOUND, "next behind the end gave %s", test_name_of(rc));
	else
		judge_up(w, from, rc, "next");
}

static void prev(struct walk *w)
{
	int rc = ppdb_iter_prev(w->it, &w->item);
	uint32_t from = w->at == ITEM ? w->pos : w->high;

	if (w->at == BEFORE)
		model_require(w->x, w->low, rc == PPDB_NOTFOUND, "prev before the beginning gave %s", test_name_of(rc));
	else
		judge_down(w, from, rc, "prev");
}

static void interfere(struct walk *w)
{
	struct model_run *x = w->x;
	uint32_t near = w->at == ITEM ? w->pos : (uint32_t)test_below(&x->r, x->m.n);
	unsigned n = test_chance(&x->r, 5) ? 150 : 1 + (unsigned)test_below(&x->r, 4);

	for (unsigned k = 0; k < n; k++) {
		uint32_t i = (near + x->m.n + (uint32_t)test_below(&x->r, 2 * n + 8) - n) % x->m.n;

		if (test_chance(&x->r, 50))
			model_put(x, i);
		else
			model_del(x, i);
	}
}

static void move(struct walk *w, unsigned leaning)
{
	uint64_t dice = test_below(&w->x->r, 100);

	if (dice < leaning)
		next(w);
	else if (dice < 84)
		prev(w);
	else if (dice < 86)
		judge_up(w, 0, ppdb_iter_first(w->it, &w->item), "first");
	else if (dice < 88)
		judge_down(w, w->x->m.n, ppdb_iter_last(w->it, &w->item), "last");
	else if (dice < 94)
		seek(w, true);
	else
		seek(w, false);
}

/* Bounds and prefix, and which numbers of the model lie within. */
static void open_iterator(struct walk *w)
{
	struct model_run *x = w->x;
	static uint8_t a[4097], b[4097], c[4097];
	ppdb_iter_opts o = {.size = sizeof(o)};

	w->low = 0;
	w->high = x->m.n;
	if (test_chance(&x->r, 40)) {
		o.lower = some_key(x, a);
		w->low = model_lower(&x->m, o.lower.data, o.lower.size);
	}
	if (test_chance(&x->r, 40)) {
		o.upper = some_key(x, b);
		w->high = model_lower(&x->m, o.upper.data, o.upper.size);
	}
	if (test_chance(&x->r, 25)) {
		o.prefix = some_key(x, c);
		if (o.prefix.size > 2 && test_chance(&x->r, 70))
			o.prefix.size = 1 + test_below(&x->r, o.prefix.size / 2);
		while (w->low < w->high && model_compare(x->m.keys[w->low].bytes, x->m.keys[w->low].size, o.prefix.data, o.prefix.size) < 0)
			w->low++;
		for (uint32_t i = w->low; i < w->high; i++)
			if (x->m.keys[i].size < o.prefix.size || memcmp(x->m.keys[i].bytes, o.prefix.data, o.prefix.size))
				w->high = i;
	}
	if (w->low > w->high)
		w->low = w->high;
	test_ok(ppdb_iter_open(w->view, 0, &o, &w->it));
	w->at = NONE;
}

void model_iterate(struct model_run *x, struct model_view *v, struct model_state *then)
{
	struct walk w = {.x = x, .view = v->view, .now = then, .live = then == x->m.now, .since = x->m.clock};
	unsigned moves = 1 + (unsigned)test_below(&x->r, 60), leaning = test_chance(&x->r, 30) ? 42 : test_chance(&x->r, 50) ? 80 : 10;
	bool writes = test_chance(&x->r, 50);

	open_iterator(&w);
	while (moves--) {
		move(&w, leaning);
		if (writes && test_chance(&x->r, 15))
			interfere(&w);
		if (w.live && test_chance(&x->r, 3)) {
			model_refresh(x, v);
			w.since = x->m.clock;
		}
	}
	ppdb_iter_close(w.it);
}

void model_scan_all(struct model_run *x, ppdb_view *view, struct model_state *then)
{
	struct walk w = {.x = x, .view = view, .now = then, .high = x->m.n};
	uint32_t met = 0, expected = 0;

	for (uint32_t i = 0; i < x->m.n; i++)
		expected += then[i].kind != MODEL_ABSENT;
	test_ok(ppdb_iter_open(view, 0, NULL, &w.it));
	for (next(&w); w.at == ITEM; next(&w))
		met++;
	model_require(x, x->m.n, met == expected, "%u keys upwards, not %u", met, expected);
	for (prev(&w); w.at == ITEM; prev(&w))
		met--;
	model_require(x, x->m.n, !met, "%u keys fewer downwards than upwards", met);
	ppdb_iter_close(w.it);
}
