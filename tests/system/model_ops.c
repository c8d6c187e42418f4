/*
 * model_ops.c - single-key operations, views and pins, each done to the store and to the model (see model_run.h).
 */
#include "tests/system/model_run.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TTL_MS 3600000u
#define MANY 48

static uint64_t wall_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

ppdb *model_writer(struct model_run *x)
{
	return x->db[test_below(&x->r, x->writers)];
}

static uint32_t any_key(struct model_run *x)
{
	/* half of the operations go to few keys, so that chains get long */
	if (test_chance(&x->r, 50))
		return (uint32_t)test_below(&x->r, x->m.n < 50 ? x->m.n : 50) * (x->m.n / 50 ? x->m.n / 50 : 1) % x->m.n;
	return (uint32_t)test_below(&x->r, x->m.n);
}

/* ---- what a write means ----------------------------------------------------------------------------------------- */

static void set_state(struct model_run *x, uint32_t i, enum model_kind kind, uint64_t value, uint32_t size)
{
	struct model_state *s = &x->m.now[i];
	bool was = s->kind != MODEL_ABSENT, is = kind != MODEL_ABSENT;

	x->m.present += is - was;
	/* after a removal the number goes on above the last one, how far is not said */
	s->exact = s->exact && was && !s->jumps;
	s->jumps = false;
	s->version++;
	s->kind = (uint8_t)kind;
	s->value = value;
	s->size = size;
	s->changed = ++x->m.clock;
}

static void after_write(struct model_run *x, uint32_t i, ppdb *db, ppdb_seq ticket)
{
	model_require(x, i, ticket, "a write without a ticket");
	x->ticket = ticket;
	if (test_chance(&x->r, 1))
		model_expect(x, i, 0, ppdb_wait(db, ticket, PPDB_VISIBLE, 0));
}

static void after_refusal(struct model_run *x, uint32_t i, ppdb_seq ticket)
{
	x->m.clock++;
	model_require(x, i, !ticket, "a refused write with a ticket");
}

static void put_with(struct model_run *x, uint32_t i, uint32_t flags)
{
	struct model_state *s = &x->m.now[i];
	bool is = s->kind != MODEL_ABSENT;
	int want = is && flags & PPDB_IFABSENT ? PPDB_EXISTS : !is && flags & PPDB_IFPRESENT ? PPDB_NOTFOUND : 0;
	uint64_t seed = test_next(&x->r), before = wall_ms();
	uint32_t size = model_size(&x->r);
	ppdb_wopts o = {.size = sizeof(o), .flags = flags, .ttl_ms = test_chance(&x->r, 5) ? TTL_MS : 0};
	ppdb *db = model_writer(x);
	ppdb_seq ticket = 1;

	model_fill(x->buf, seed, size);
	model_expect(x, i, want, ppdb_put(db, 0, model_slice(&x->m, i), (ppdb_slice){x->buf, size}, &o, &ticket));
	if (want) {
		after_refusal(x, i, ticket);
		return;
	}
	set_state(x, i, MODEL_BYTES, seed, size);
	s->expires_low = o.ttl_ms ? before + o.ttl_ms : 0;
	s->expires_high = o.ttl_ms ? wall_ms() + o.ttl_ms : 0;
	after_write(x, i, db, ticket);
}

void model_put(struct model_run *x, uint32_t i)
{
	put_with(x, i, PPDB_ASYNC);
}

void model_del(struct model_run *x, uint32_t i)
{
	struct model_state *s = &x->m.now[i];
	int want = s->kind == MODEL_ABSENT ? PPDB_NOTFOUND : 0;
	ppdb_wopts o = {.size = sizeof(o), .flags = PPDB_ASYNC};
	ppdb *db = model_writer(x);
	ppdb_seq ticket = 1;

	model_expect(x, i, want, ppdb_del(db, 0, model_slice(&x->m, i), &o, &ticket));
	if (want) {
		after_refusal(x, i, ticket);
		return;
	}
	set_state(x, i, MODEL_ABSENT, 0, 0);
	s->expires_low = s->expires_high = 0;
	after_write(x, i, db, ticket);
}

static void look(struct model_run *x, uint32_t i, unsigned handle);

static void cas(struct model_run *x, uint32_t i)
{
	struct model_state *s = &x->m.now[i];
	bool is = s->kind != MODEL_ABSENT, good = test_chance(&x->r, 60), by_one = is && !s->jumps;
	uint64_t seed = test_next(&x->r), found, expect, newver = 77;
	uint32_t size = model_size(&x->r);
	ppdb_wopts o = {.size = sizeof(o), .flags = PPDB_ASYNC};
	ppdb *db = model_writer(x);
	ppdb_seq ticket = 1;

	if (is)
		look(x, i, 0); /* learns the version */
	found = is ? s->version : 0;
	expect = good ? found : test_chance(&x->r, 50) ? found + 1 + test_below(&x->r, 3) : found ? found - 1 : 1;
	model_fill(x->buf, seed, size);
	model_expect(x, i, good ? 0 : PPDB_CONFLICT,
		ppdb_cas(db, 0, model_slice(&x->m, i), expect, (ppdb_slice){x->buf, size}, &o, &newver, &ticket));
	if (!good) {
		model_require(x, i, newver == found, "cas says version %llu, not %llu", (unsigned long long)newver,
			(unsigned long long)found);
		after_refusal(x, i, ticket);
		return;
	}
	set_state(x, i, MODEL_BYTES, seed, size);
	s->expires_low = s->expires_high = 0;
	model_require(x, i, by_one ? newver == found + 1 : newver >= s->version, "cas made version %llu", (unsigned long long)newver);
	s->version = newver;
	s->exact = true;
	after_write(x, i, db, ticket);
}

static void add(struct model_run *x, uint32_t i)
{
	struct model_state *s = &x->m.now[i];
	int64_t delta = (int64_t)test_next(&x->r) >> test_below(&x->r, 64), initial = (int64_t)test_below(&x->r, 100), sum = 0;
	int64_t base = s->kind == MODEL_NUMBER ? (int64_t)s->value : initial, result = 77;
	int want = s->kind == MODEL_BYTES || __builtin_add_overflow(base, delta, &sum) ? PPDB_TYPE : 0;
	uint64_t low = s->expires_low, high = s->expires_high;
	ppdb_wopts o = {.size = sizeof(o), .flags = PPDB_ASYNC};
	ppdb *db = model_writer(x);
	ppdb_seq ticket = 1;

	model_expect(x, i, want, ppdb_add_i64(db, 0, model_slice(&x->m, i), delta, initial, &o, &result, &ticket));
	if (want) {
		after_refusal(x, i, ticket);
		return;
	}
	model_require(x, i, result == sum, "the sum is %lld, not %lld", (long long)result, (long long)sum);
	set_state(x, i, MODEL_NUMBER, (uint64_t)sum, 0);
	s->expires_low = low; /* stays */
	s->expires_high = high;
	after_write(x, i, db, ticket);
}

/* ---- reads ------------------------------------------------------------------------------------------------------ */

static void pin(struct model_run *x, struct model_view *v, uint32_t i, const struct model_state *s, const ppdb_item *item)
{
	struct model_pin *p = &v->pin[v->pins < MODEL_PINS ? v->pins++ : test_below(&x->r, MODEL_PINS)];

	*p = (struct model_pin){*item, *s, i};
}

static void check_pins(struct model_run *x, struct model_view *v, const char *what)
{
	for (uint32_t k = 0; k < v->pins; k++) {
		struct model_pin *p = &v->pin[k];
		const char *wrong = model_item_wrong(&x->m, &p->state, p->key, &p->item);

		model_require(x, p->key, !wrong, "read in place earlier through a %s view: %s", what, wrong);
	}
}

static void view_look(struct model_run *x, struct model_view *v, struct model_state *s, uint32_t i, const char *what)
{
	ppdb_item item;
	const char *wrong;

	model_expect(x, i, s->kind == MODEL_ABSENT ? PPDB_NOTFOUND : 0,
		ppdb_view_get(v->view, 0, model_slice(&x->m, i), &item));
	if (s->kind == MODEL_ABSENT)
		return;
	wrong = model_item_wrong(&x->m, s, i, &item);
	model_require(x, i, !wrong, "read through a %s view: %s", what, wrong);
	if (test_chance(&x->r, 20))
		pin(x, v, i, s, &item);
}

static void look(struct model_run *x, uint32_t i, unsigned handle)
{
	view_look(x, &x->latest[handle], &x->m.now[i], i, "LATEST");
}

static void get(struct model_run *x, uint32_t i)
{
	struct model_state *s = &x->m.now[i];
	ppdb *db = x->db[test_below(&x->r, MODEL_HANDLES)];
	size_t cap = test_chance(&x->r, 10) ? test_below(&x->r, 50) : 200008, len = 77, size;
	char number[32];
	const char *wrong;

	size = s->kind == MODEL_NUMBER ? (size_t)snprintf(number, sizeof(number), "%lld", (long long)s->value) : s->size;
	if (s->kind == MODEL_ABSENT) {
		model_expect(x, i, PPDB_NOTFOUND, ppdb_get(db, 0, model_slice(&x->m, i), x->buf, cap, &len));
		return;
	}
	model_expect(x, i, size > cap ? -ENOBUFS : 0, ppdb_get(db, 0, model_slice(&x->m, i), x->buf, cap, &len));
	model_require(x, i, len == size, "get says %zu bytes, not %zu", len, size);
	wrong = size > cap ? NULL : model_value_wrong(s, x->buf, len);
	model_require(x, i, !wrong, "get: %s", wrong);
}

static void get_many(struct model_run *x, unsigned handle, struct model_view *v, struct model_state *now, uint32_t first, uint32_t n)
{
	ppdb_slice keys[MANY] = {{NULL, 0}};
	uint32_t which[MANY];
	ppdb_item items[MANY];
	int rcs[MANY];

	for (uint32_t k = 0; k < n; k++) {
		which[k] = first < x->m.n ? (first + k) % x->m.n : any_key(x);
		keys[k] = model_slice(&x->m, which[k]);
	}
	test_ok(ppdb_get_many(x->db[handle], 0, keys, n, v->view, items, rcs));
	for (uint32_t k = 0; k < n; k++) {
		struct model_state *s = &now[which[k]];
		const char *wrong;

		model_require(x, which[k], rcs[k] == (s->kind == MODEL_ABSENT ? PPDB_NOTFOUND : 0), "get_many: %s", test_name_of(rcs[k]));
		wrong = rcs[k] ? NULL : model_item_wrong(&x->m, s, which[k], &items[k]);
		model_require(x, which[k], !wrong, "get_many: %s", wrong);
	}
}

/* ---- views and snapshots ---------------------------------------------------------------------------------------- */

void model_open_views(struct model_run *x)
{
	for (unsigned h = 0; h < MODEL_HANDLES; h++) {
		x->latest[h].pins = 0;
		test_ok(ppdb_view_begin(x->db[h], PPDB_VIEW_LATEST, &x->latest[h].view));
	}
}

static void drop_snapshot(struct model_snapshot *s)
{
	ppdb_view_end(s->v.view);
	s->v.view = NULL;
	s->v.pins = 0;
	free(s->then);
	s->then = NULL;
}

void model_drop_views(struct model_run *x)
{
	for (unsigned h = 0; h < MODEL_HANDLES; h++) {
		ppdb_view_end(x->latest[h].view);
		x->latest[h].view = NULL;
	}
	for (unsigned i = 0; i < MODEL_SNAPSHOTS; i++)
		drop_snapshot(&x->snapshot[i]);
}

void model_refresh(struct model_run *x, struct model_view *v)
{
	test_ok(ppdb_view_check(v->view));
	check_pins(x, v, "LATEST");
	v->pins = 0;
	test_ok(ppdb_view_refresh(v->view));
}

/* Begins a snapshot, or moves one to now, and keeps what the model says now. */
static void take_snapshot(struct model_run *x)
{
	unsigned h = (unsigned)test_below(&x->r, x->writers == 1 ? 2 : MODEL_HANDLES);
	uint32_t flags = x->writers == 1 && !h ? PPDB_VIEW_SNAPSHOT : PPDB_VIEW_FRESH;
	struct model_snapshot *s = &x->snapshot[test_below(&x->r, MODEL_SNAPSHOTS)];

	if (s->v.view) {
		check_pins(x, &s->v, "SNAPSHOT");
		drop_snapshot(s);
	}
	s->then = malloc(x->m.n * sizeof(*s->then));
	test_require(s->then, "out of memory");
	memcpy(s->then, x->m.now, x->m.n * sizeof(*s->then));
	test_ok(ppdb_view_begin(x->db[h], flags, &s->v.view));
	model_require(x, 0, ppdb_view_seq(s->v.view) >= x->ticket, "a snapshot at %llu does not hold the write %llu",
		(unsigned long long)ppdb_view_seq(s->v.view), (unsigned long long)x->ticket);
}

static void use_snapshot(struct model_run *x, unsigned how)
{
	struct model_snapshot *s = &x->snapshot[test_below(&x->r, MODEL_SNAPSHOTS)];
	uint32_t i = any_key(x);

	if (!s->v.view)
		return;
	if (how == 0)
		check_pins(x, &s->v, "SNAPSHOT");
	else if (how == 1)
		model_iterate(x, &s->v, s->then);
	else
		view_look(x, &s->v, &s->then[i], i, "SNAPSHOT");
}

/* ---- ranges ----------------------------------------------------------------------------------------------------- */

/* Whole neighbourhoods go and come back: leaves become thin, merge, and split again. */
static void change_range(struct model_run *x, bool insert)
{
	uint32_t n = 50 + (uint32_t)test_below(&x->r, 400), first = (uint32_t)test_below(&x->r, x->m.n);
	bool up = test_chance(&x->r, 50);

	for (uint32_t k = 0; k < n && k < x->m.n; k++) {
		uint32_t i = (first + (up ? k : n - k)) % x->m.n;

		if (insert && x->m.now[i].kind == MODEL_ABSENT)
			model_put(x, i);
		else if (!insert && x->m.now[i].kind != MODEL_ABSENT)
			model_del(x, i);
	}
}

/* ---- one step --------------------------------------------------------------------------------------------------- */

static void wait_durable(struct model_run *x)
{
	ppdb *db = x->db[0];

	if (!x->ticket)
		return;
	test_ok(ppdb_wait(db, x->ticket, PPDB_DURABLE, 60000000000));
	model_require(x, 0, ppdb_reached(db, PPDB_DURABLE) >= x->ticket, "durable up to %llu, not %llu",
		(unsigned long long)ppdb_reached(db, PPDB_DURABLE), (unsigned long long)x->ticket);
}

void model_step_offline(struct model_run *x)
{
	uint32_t i = any_key(x);
	uint64_t dice = test_below(&x->r, 100);

	if (dice < 50)
		look(x, i, (unsigned)test_below(&x->r, MODEL_HANDLES));
	else if (dice < 80)
		model_put(x, i);
	else
		model_del(x, i);
}

void model_step(struct model_run *x)
{
	uint32_t i = any_key(x);
	uint64_t dice = test_below(&x->r, 10000);
	unsigned h = (unsigned)test_below(&x->r, MODEL_HANDLES);

	if (dice < 1500)
		get(x, i);
	else if (dice < 3000)
		look(x, i, h);
	else if (dice < 3200)
		get_many(x, h, &x->latest[h], x->m.now, UINT32_MAX, 1 + (uint32_t)test_below(&x->r, MANY));
	else if (dice < 5700)
		model_put(x, i);
	else if (dice < 6100)
		put_with(x, i, PPDB_ASYNC | PPDB_IFABSENT);
	else if (dice < 6500)
		put_with(x, i, PPDB_ASYNC | PPDB_IFPRESENT);
	else if (dice < 7700)
		model_del(x, i);
	else if (dice < 8500)
		cas(x, i);
	else if (dice < 9100)
		add(x, i);
	else if (dice < 9200)
		model_iterate(x, &x->latest[h], x->m.now);
	else if (dice < 9220)
		take_snapshot(x);
	else if (dice < 9240)
		use_snapshot(x, 0);
	else if (dice < 9260)
		use_snapshot(x, 1);
	else if (dice < 9900)
		use_snapshot(x, 2);
	else if (dice < 9975)
		model_refresh(x, &x->latest[h]);
	else if (dice < 9985)
		check_pins(x, &x->latest[h], "LATEST");
	else if (dice < 9989)
		change_range(x, false);
	else if (dice < 9993)
		change_range(x, true);
	else if (dice < 9996)
		wait_durable(x);
	else if (dice < 9998)
		test_ok(ppdb_sync(x->db[0], 60000000000));
	else
		put_with(x, i, 0);
}

void model_compare_all(struct model_run *x)
{
	unsigned h = (unsigned)test_below(&x->r, MODEL_HANDLES);

	model_refresh(x, &x->latest[h]);
	for (uint32_t i = 0; i < x->m.n; i++)
		look(x, i, h);
	for (uint32_t i = 0; i < x->m.n; i += MANY)
		get_many(x, h, &x->latest[h], x->m.now, i, MANY);
	model_scan_all(x, x->latest[h].view, x->m.now);
	for (unsigned i = 0; i < MODEL_SNAPSHOTS; i++)
		if (x->snapshot[i].v.view)
			model_scan_all(x, x->snapshot[i].v.view, x->snapshot[i].then);
}
