/*
 * play_work.c - a client of one seed: it claims a slot, does some operations, notes what each showed, and leaves.
 */
#include "tests/lib/play_internal.h"

#include "engine/reserve.h"
#include "shm/clock.h"
#include "shm/reclaim.h"
#include "shm/slot.h"
#include "shm/wait.h"

#define FAR_MS (UINT64_C(1) << 45) /* no value expires */

/* ---- notes ------------------------------------------------------------------------------------------------------- */

struct play_note *play_note(struct play *p, unsigned process, enum linear_kind kind, unsigned key)
{
	struct play_note *n = &p->note[p->notes];

	if (p->notes == PLAY_NOTES)
		sched_fail("more than %d notes", PLAY_NOTES);
	*n = (struct play_note){.op = {.kind = (uint8_t)kind, .process = (uint16_t)process, .key = key}};
	n->write = kind != LINEAR_READ;
	n->op.start = sched_moment();
	p->notes++;
	return n;
}

void play_note_end(struct play_note *n, bool ok)
{
	n->op.ok = ok;
	n->op.end = sched_moment();
	n->op.done = true;
	sched_result(n->op.value << 1 | ok);
}

static void saw(struct play_client *c, uint64_t tag)
{
	if (tag > c->seen)
		c->seen = tag;
}

/* ---- values: a decimal number, sometimes with many zeros in front ------------------------------------------------ */

uint64_t play_make_value(struct play_client *c, uint64_t id, char *to)
{
	return (uint64_t)sprintf(to, "%0*llu", test_chance(&c->r, 10) ? PLAY_LONG : 1, (unsigned long long)id);
}

uint64_t play_value(const void *data, uint64_t size)
{
	const char *text = data;
	uint64_t value = 0;

	if (!size || size > PLAY_LONG)
		sched_fail("a value of %llu bytes", (unsigned long long)size);
	for (uint64_t i = 0; i < size; i++) {
		if (text[i] < '0' || text[i] > '9')
			sched_fail("a torn value: byte %llu of %llu is %#x", (unsigned long long)i, (unsigned long long)size,
				(unsigned char)text[i]);
		value = value * 10 + (unsigned)(text[i] - '0');
	}
	return value;
}

struct pp_key play_key(const struct play *p, unsigned key)
{
	return (struct pp_key){0, (uint32_t)strlen(p->key[key]), p->key[key]};
}

/* ---- writes ------------------------------------------------------------------------------------------------------ */

static void finish_write(struct play_client *c, struct play_note *n, const struct pp_write *w, int rc)
{
	unsigned key = n->op.key;

	switch (rc) {
	case 0:
		n->tag = w->tag;
		n->op.version = w->version;
		if (n->op.kind == LINEAR_ADD)
			n->op.value = (uint64_t)w->result;
		c->version[key] = n->op.kind == LINEAR_DEL ? 0 : w->version;
		saw(c, w->tag);
		break;
	case PPDB_CONFLICT:
		n->op.version = c->version[key] = w->version;
		saw(c, w->tag);
		break;
	case PPDB_NOTFOUND:
	case PPDB_EXISTS:
		saw(c, w->tag);
		break;
	case PPDB_TYPE: /* the value was a long one */
	case PPDB_OVERLOAD:
		n->nothing = true;
		break;
	default:
		sched_fail("a write gave %s: %s", pp_error_name(rc), pp_detail_get());
	}
	play_note_end(n, rc == 0);
}

static void write_one(struct play_client *c, unsigned key)
{
	static const struct { enum linear_kind kind; uint32_t flags; unsigned share; } kinds[] = {
		{LINEAR_PUT, 0, 27}, {LINEAR_DEL, PP_W_DELETE, 25}, {LINEAR_IFABSENT, PP_W_IFABSENT, 10},
		{LINEAR_IFPRESENT, PP_W_IFPRESENT, 5}, {LINEAR_CAS, PP_W_CAS, 15}, {LINEAR_ADD, PP_W_ADD, 10}, {LINEAR_TOUCH, PP_W_TOUCH, 8},
	};
	unsigned dice = (unsigned)test_below(&c->r, 100), i = 0;
	char value[PLAY_LONG + 1];
	struct play_note *n;
	struct pp_write w;

	while (dice >= kinds[i].share)
		dice -= kinds[i++].share;
	w = (struct pp_write){.key = play_key(c->play, key), .flags = kinds[i].flags, .timeout_ns = PP_NS_PER_SEC};
	n = play_note(c->play, c->number, kinds[i].kind, key);
	if (n->op.kind == LINEAR_ADD) {
		w.delta = (int64_t)(n->op.expect = 1 + test_below(&c->r, 9));
	} else if (n->op.kind == LINEAR_TOUCH) {
		w.expires_ms = FAR_MS + c->play->notes;
	} else if (n->op.kind != LINEAR_DEL) {
		n->op.value = (uint64_t)(c->number + 1) * 1000000 + c->play->notes * 100;
		w.size = play_make_value(c, n->op.value, value);
		w.value = value;
	}
	if (n->op.kind == LINEAR_CAS)
		w.expect = n->op.expect = c->version[key];
	finish_write(c, n, &w, pp_write(&c->t, &w));
	if (n->op.ok && test_chance(&c->r, 15)) {
		int rc = pp_wait_durable(&c->t, w.tag, 100 * PP_NS_PER_SEC);

		if (rc)
			sched_fail("waiting for epoch %llu gave %s", (unsigned long long)w.tag, pp_error_name(rc));
	}
}

/* ---- values that are filled in place ---- */

static void reserve(struct play_client *c)
{
	uint64_t id = (uint64_t)(c->number + 1) * 1000000 + 500000 + ++c->reserved;
	char value[PLAY_LONG + 1];
	void *data;
	int rc;

	c->held_value = id;
	c->held_size = play_make_value(c, id, value);
	rc = pp_reserve(&c->t, c->held_size, &c->held, &data);
	if (rc)
		sched_fail("a reservation gave %s: %s", pp_error_name(rc), pp_detail_get());
	memcpy(data, value, c->held_size);
}

static void cancel(struct play_client *c)
{
	pp_ref held = c->held;

	c->held = 0;
	if (held)
		pp_reserve_cancel(&c->t, held);
}

/* What was refused stays reserved, and is tried again or cancelled. */
static void publish(struct play_client *c, unsigned key)
{
	bool absent = test_chance(&c->r, 20);
	struct pp_write w = {.key = play_key(c->play, key), .flags = absent ? PP_W_IFABSENT : 0, .reserved = c->held, .size = c->held_size,
		.timeout_ns = PP_NS_PER_SEC};
	struct play_note *n = play_note(c->play, c->number, absent ? LINEAR_IFABSENT : LINEAR_PUT, key);
	int rc;

	n->op.value = c->held_value;
	rc = pp_write(&c->t, &w);
	if (!rc) {
		pp_reserve_done(&c->t, c->held);
		c->held = 0;
	}
	finish_write(c, n, &w, rc);
}

/* It may stay open over other operations, and when the client stops for good. */
static void fill_in_place(struct play_client *c, unsigned key)
{
	if (!c->held)
		reserve(c);
	else if (test_chance(&c->r, 20))
		cancel(c);
	if (c->held && test_chance(&c->r, 60))
		publish(c, key);
}

/* What the batch says of one of its writes. Only the one that is to blame for a failure has a result of its own. */
static void finish_batch(struct play_client *c, struct play_note *n, const struct pp_write *w, int rc, bool blamed)
{
	if (rc && !blamed) {
		n->nothing = true;
		play_note_end(n, false);
		return;
	}
	finish_write(c, n, w, rc == PPDB_TIMEOUT ? PPDB_OVERLOAD : rc);
}

/* Some neighbouring keys together; one of them may be required only. */
static void write_batch(struct play_client *c)
{
	static const struct { enum linear_kind kind; uint32_t flags; } kinds[] = {
		{LINEAR_PUT, 0}, {LINEAR_PUT, 0}, {LINEAR_PUT, 0}, {LINEAR_CAS, PP_W_CAS}, {LINEAR_IFABSENT, PP_W_IFABSENT}, {LINEAR_READ, PP_W_GUARD | PP_W_CAS},
	};
	unsigned first = (unsigned)test_below(&c->r, c->play->keys), n = c->play->keys - first;
	struct pp_write w[PLAY_KEYS];
	struct play_note *note[PLAY_KEYS];
	char value[PLAY_KEYS][PLAY_LONG + 1];
	struct pp_batch_write batch = {.writes = w, .count = n, .timeout_ns = PP_NS_PER_SEC};
	int rc;

	for (unsigned i = 0; i < n; i++) {
		unsigned kind = (unsigned)test_below(&c->r, sizeof(kinds) / sizeof(*kinds)), key = first + i;

		w[i] = (struct pp_write){.key = play_key(c->play, key), .flags = kinds[kind].flags, .expect = c->version[key]};
		note[i] = NULL;
		if (kinds[kind].kind == LINEAR_READ)
			continue;
		note[i] = play_note(c->play, c->number, kinds[kind].kind, key);
		note[i]->op.expect = kinds[kind].kind == LINEAR_CAS ? w[i].expect : 0;
		note[i]->op.value = (uint64_t)(c->number + 1) * 1000000 + c->play->notes * 100;
		w[i].size = play_make_value(c, note[i]->op.value, value[i]);
		w[i].value = value[i];
	}
	rc = pp_batch_write(&c->t, &batch);
	for (unsigned i = 0; i < n; i++) {
		w[i].tag = batch.tag;
		if (note[i])
			finish_batch(c, note[i], &w[i], rc, i == batch.failed || rc == PPDB_OVERLOAD || rc == PPDB_TIMEOUT);
		else if (rc == PPDB_CONFLICT && i == batch.failed)
			c->version[first + i] = w[i].version;
	}
}

/* ---- reads ------------------------------------------------------------------------------------------------------- */

/* What was handed out stays as it is while the section lasts, whatever others do. */
static void keep_reading(struct play_client *c, const struct pp_hit *hit, uint64_t value)
{
	unsigned passes = (unsigned)test_below(&c->r, test_chance(&c->r, 20) ? 30 : 2);

	while (passes--) {
		sched_pass(0);
		if (play_value(hit->value, hit->size) != value)
			sched_fail("a value changed under its reader");
	}
}

static void take(struct play_client *c, struct play_note *n, int rc, const struct pp_hit *hit)
{
	if (rc && rc != PPDB_NOTFOUND)
		sched_fail("a read gave %s: %s", pp_error_name(rc), pp_detail_get());
	if (!rc) {
		n->op.value = play_value(hit->value, hit->size);
		n->op.version = c->version[n->op.key] = hit->version;
		saw(c, hit->tag);
	}
	play_note_end(n, !rc);
	if (!rc)
		keep_reading(c, hit, n->op.value);
}

static void read_one(struct play_client *c, unsigned key)
{
	struct play_note *n = play_note(c->play, c->number, LINEAR_READ, key);
	struct pp_key k = play_key(c->play, key);
	struct pp_hit hit;
	int rc = pp_read(&c->t, &k, PP_LATEST, &hit);

	take(c, n, rc, &hit);
}

static void read_some(struct play_client *c, unsigned key)
{
	unsigned n = 1 + (unsigned)test_below(&c->r, 3);

	pp_read_enter(&c->t);
	while (n--)
		read_one(c, key);
	pp_read_leave(&c->t);
}

static unsigned key_of(const struct play *p, const struct pp_hit *hit)
{
	unsigned k = 0;

	while (k < p->keys && (hit->key_size != strlen(p->key[k]) || memcmp(hit->key, p->key[k], hit->key_size)))
		k++;
	return k;
}

/* All keys from the first to the last, either way: each key's absence or value is a read of some moment of the scan. */
static void scan(struct play_client *c)
{
	struct play *p = c->play;
	struct pp_cursor_opts o = {.snapshot = PP_LATEST, .lower = p->key[0], .lower_size = (uint32_t)strlen(p->key[0])};
	bool back = test_chance(&c->r, 50);
	struct play_note *n[PLAY_KEYS];
	struct pp_cursor *cursor;
	struct pp_hit hit;
	char last[8] = "";
	int rc;

	for (unsigned k = 0; k < p->keys; k++)
		n[k] = play_note(p, c->number, LINEAR_READ, k);
	pp_read_enter(&c->t);
	if (pp_cursor_open(&c->t, &o, &cursor))
		sched_fail("no cursor");
	rc = back ? pp_cursor_seek_le(cursor, p->key[p->keys - 1], (uint32_t)strlen(p->key[p->keys - 1]), &hit) : pp_cursor_first(cursor, &hit);
	for (; !rc; rc = back ? pp_cursor_prev(cursor, &hit) : pp_cursor_next(cursor, &hit)) {
		char key[8] = "";
		unsigned k = key_of(p, &hit);

		memcpy(key, hit.key, hit.key_size < 7 ? hit.key_size : 7);
		if (last[0] && (back ? strcmp(key, last) >= 0 : strcmp(key, last) <= 0))
			sched_fail("a scan gave %s after %s", key, last);
		memcpy(last, key, sizeof(last));
		if (!back && strcmp(key, p->key[p->keys - 1]) > 0)
			break;
		play_value(hit.value, hit.size);
		if (k < p->keys)
			take(c, n[k], 0, &hit);
	}
	if (rc && rc != PPDB_NOTFOUND)
		sched_fail("a scan gave %s: %s", pp_error_name(rc), pp_detail_get());
	pp_cursor_close(cursor);
	for (unsigned k = 0; k < p->keys; k++)
		if (!n[k]->op.done)
			play_note_end(n[k], false);
	pp_read_leave(&c->t);
}

static void look_at_cut(struct play_client *c, struct play_cut *cut)
{
	struct play *p = c->play;

	for (unsigned k = 0; k < p->keys; k++) {
		struct pp_key key = play_key(p, k);
		struct pp_hit hit;
		int rc;

		pp_read_enter(&c->t);
		rc = pp_read(&c->t, &key, cut->s, &hit);
		if (rc && rc != PPDB_NOTFOUND)
			sched_fail("a read of a snapshot gave %s", pp_error_name(rc));
		cut->key[k].value = rc ? 0 : play_value(hit.value, hit.size);
		cut->key[k].version = rc ? 0 : hit.version;
		pp_read_leave(&c->t);
		sched_result(cut->key[k].value);
	}
}

/* The same at two moments, with who knows what in between. */
static void snapshot(struct play_client *c)
{
	struct play *p = c->play;
	struct play_cut *cut = &p->cut[p->cuts], again;
	int rc;

	if (p->cuts == PLAY_CUTS)
		return;
	p->cuts++;
	*cut = (struct play_cut){0};
	again = *cut;
	rc = pp_snapshot_hold(&c->t, c->seen, &again.s);
	if (rc)
		sched_fail("a snapshot of at least %llu gave %s", (unsigned long long)c->seen, pp_error_name(rc));
	if (again.s < c->seen)
		sched_fail("a snapshot at %llu after a tag of %llu was seen", (unsigned long long)again.s, (unsigned long long)c->seen);
	look_at_cut(c, &again);
	*cut = again; /* whole, or none when the client stops here */
	do
		sched_pass(0);
	while (test_chance(&c->r, 50));
	if (test_chance(&c->r, 30))
		write_one(c, (unsigned)test_below(&c->r, p->keys));
	again = *cut;
	look_at_cut(c, &again);
	for (unsigned k = 0; k < p->keys; k++)
		if (again.key[k].version != cut->key[k].version || again.key[k].value != cut->key[k].value)
			sched_fail("the snapshot at %llu changed while it was held: %s was %llu, version %llu, then %llu, version %llu",
				(unsigned long long)cut->s, p->key[k], (unsigned long long)cut->key[k].value,
				(unsigned long long)cut->key[k].version, (unsigned long long)again.key[k].value,
				(unsigned long long)again.key[k].version);
	pp_snapshot_drop(&c->t);
}

/* ---- a life ------------------------------------------------------------------------------------------------------ */

static void claim(struct play_client *c)
{
	int rc;

	while ((rc = pp_slot_claim(pp_keeper_region(c->play->keeper), c->proc, &c->t)) == -ENOSPC)
		sched_pass(PP_NS_PER_MS);
	if (rc)
		sched_fail("a slot: %s", pp_error_name(rc));
}

void play_client(void *arg)
{
	struct play_client *c = arg;

	claim(c);
	for (unsigned i = 0; i < c->ops; i++) {
		unsigned key = (unsigned)test_below(&c->r, c->play->keys), dice = (unsigned)test_below(&c->r, 100);

		if (c->play->tables && test_chance(&c->r, 60))
			play_table(c);
		else if (dice < 41)
			write_one(c, key);
		else if (dice < 49)
			fill_in_place(c, key);
		else if (dice < 60)
			write_batch(c);
		else if (dice < 78)
			read_some(c, key);
		else if (dice < 86)
			scan(c);
		else if (dice < 95)
			snapshot(c);
		else {
			cancel(c);
			pp_slot_leave(&c->t);
			claim(c);
		}
	}
	cancel(c);
	pp_slot_leave(&c->t);
	pp_keeper_proc_gone(c->play->keeper, c->proc);
	c->announced = true;
}
