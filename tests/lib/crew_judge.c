/*
 * crew_judge.c (test) - what a store must hold after the crew's work, and how it looks when it does not: see crew.h.
 */
#include "tests/lib/crew_internal.h"

#include "engine/keeper.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define LIMBO_MAX (UINT64_C(16) << 20)

/* ---- the state of a store, for failures ------------------------------------------------------------------------- */

static void describe_slot(struct pp_region *r, unsigned i)
{
	struct pp_slot *s = &r->slots[i];
	uint64_t owner = pp_load_acq(&s->owner), tail = pp_load_acq(&s->tail), low = pp_load_acq(&s->low);

	if (pp_slot_state(owner) == PP_SLOT_FREE)
		return;
	dprintf(2, "    slot %u: state %d, process %u (pid %u), eras %" PRId64 " to %" PRIu64 ", snapshot %" PRIu64 ", ring %u to %u at "
		"epoch %" PRIu64 ", credit %" PRIu64 " of %" PRIu64 ", wants %" PRIu64 ", waits for %" PRIu64 "\n", i,
		pp_slot_state(owner), pp_slot_proc(owner), pp_load_acq(&r->procs[pp_slot_proc(owner)].pid), (int64_t)low,
		pp_load_acq(&s->high), pp_load_acq(&s->snapshot), (unsigned)(uint16_t)pp_load_acq(&s->head), pp_tail_index(tail),
		pp_tail_epoch(tail), pp_load_acq(&s->credit_used), pp_load_acq(&s->credit_granted), pp_load_acq(&s->credit_want),
		pp_load_acq(&s->wait_epoch));
}

void crew_describe_store(ppdb *db)
{
	struct pp_region *r = pp_client_region(db);
	struct pp_globals *g = r->globals;
	struct pp_check_report a = {0};
	struct pp_thread *t;

	dprintf(2, "  epochs: open %" PRIu64 ", settled %" PRIu64 ", durable %" PRIu64 ", prune floor %" PRIu64 "; era %" PRIu64
		", sets %" PRIu64 ", failed %d, full %d, free pages %" PRIu64 "\n", pp_load_acq(&g->open_epoch),
		pp_load_acq(&g->settled_epoch), pp_load_acq(&g->durable_epoch), pp_load_acq(&g->prune_floor), pp_load_acq(&g->era),
		pp_load_acq(&g->set_version), (int)pp_load_acq(&g->failed), (int)pp_load_acq(&((struct pp_engine *)r->engine)->wal_full),
		pp_load_acq(&g->free_pages));
	for (unsigned i = 0; i < r->header->slots; i++)
		describe_slot(r, i);
	for (unsigned i = 0; i < r->header->procs; i++)
		if (pp_load_acq(&r->procs[i].state))
			dprintf(2, "    record %u: pid %u, flags %u, %s\n", i, pp_load_acq(&r->procs[i].pid), pp_load_acq(&r->procs[i].flags),
				r->procs[i].name);
	if (pp_client_thread(db, &t) || pp_check(t, false, &a, NULL, NULL) < 0)
		return;
	dprintf(2, "  %" PRIu64 " keys, %" PRIu64 " versions, %" PRIu64 " tombstones; bytes: %" PRIu64 " committed, %" PRIu64 " live, %"
		PRIu64 " free, %" PRIu64 " in limbo, %" PRIu64 " private\n", a.keys, a.versions, a.tombstones, a.committed_bytes,
		a.live_bytes, a.free_bytes, a.limbo_bytes, a.private_bytes);
}

/* ---- judging ---------------------------------------------------------------------------------------------------- */

uint64_t crew_key_number(ppdb_slice key, size_t at)
{
	char digits[32] = "";

	if (key.size > at && key.size - at < sizeof(digits))
		memcpy(digits, (const char *)key.data + at, key.size - at);
	return strtoull(digits, NULL, 10);
}

void crew_seq_prefix(char *to, size_t cap, unsigned number, uint64_t generation)
{
	snprintf(to, cap, "seq/%u/%08" PRIx64 "/", number, generation);
}

bool crew_chain_value(ppdb_view *v, unsigned i, char *value)
{
	char key[32];
	ppdb_item item;
	int rc;

	snprintf(key, sizeof(key), "chain/%u", i);
	rc = ppdb_view_get(v, 0, crew_text(key), &item);
	if (rc == PPDB_NOTFOUND || rc == PPDB_EVICTED)
		return false;
	test_require(!rc && item.value.size == 21, "%s gave %s: %s", key, test_name_of(rc), test_detail());
	memcpy(value, item.value.data, 21);
	value[21] = '\0';
	return ppdb_view_check(v) == 0;
}

void crew_judge_chain(ppdb_view *v, uint64_t generation, const char *when)
{
	char earlier[32], later[32];

	for (unsigned i = 2; i >= 1; i--) {
		/* in a snapshot the order of reading does not matter */
		if (!crew_chain_value(v, i, later) || strtoull(later, NULL, 16) != generation)
			continue;
		test_require(crew_chain_value(v, i - 1, earlier) || ppdb_view_check(v), "%s: chain/%u is %s, but there is no chain/%u", when, i,
			later, i - 1);
		test_require(ppdb_view_check(v) || strcmp(earlier, later) >= 0, "%s: chain/%u is %s, but what it was copied from is %s",
			when, i, later, earlier);
	}
}

void crew_judge_sequence(ppdb_view *v, unsigned number, uint64_t generation, const char *when, uint64_t *last)
{
	char prefix[64];
	ppdb_iter_opts o = {.size = sizeof(o)};
	ppdb_iter *it;
	ppdb_item item;
	uint64_t first = 0, n = 0;
	int rc;

	*last = 0;
	crew_seq_prefix(prefix, sizeof(prefix), number, generation);
	o.prefix = crew_text(prefix);
	if (ppdb_iter_open(v, 0, &o, &it))
		return;
	for (rc = ppdb_iter_first(it, &item); !rc; rc = ppdb_iter_next(it, &item)) {
		uint64_t at = crew_key_number(item.key, strlen(prefix));

		if (ppdb_view_check(v))
			break;
		test_require(!n || at == n + 1, "%s: sequence %s goes from %" PRIu64 " to %" PRIu64, when, prefix, n, at);
		test_require(item.value.size == at % 160, "%s: %s%" PRIu64 " has %zu bytes", when, prefix, at, item.value.size);
		first = first ? first : at;
		n = at;
	}
	ppdb_iter_close(it);
	if (ppdb_view_check(v))
		return;
	test_require(rc == PPDB_NOTFOUND, "%s: the scan of %s gave %s: %s", when, prefix, test_name_of(rc), test_detail());
	test_require(n < SEQ_KEPT ? first <= 1 : first + SEQ_KEPT == n || first + SEQ_KEPT == n + 1 || first == 1,
		"%s: sequence %s holds all from %" PRIu64 " to %" PRIu64, when, prefix, first, n);
	*last = n;
}

uint64_t crew_far_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000 + 600000;
}

/* All keys, versions and values of a snapshot in one number, but those that may expire while it is held. */
static uint64_t digest(ppdb_view *v, uint64_t far_ms, uint64_t *keys)
{
	uint64_t h = 14695981039346656037u;
	ppdb_iter *it;
	ppdb_item item;

	*keys = 0;
	if (ppdb_iter_open(v, 0, NULL, &it))
		return 0;
	while (!ppdb_iter_next(it, &item)) {
		if (item.expires_ms && item.expires_ms < far_ms)
			continue;
		for (size_t i = 0; i < item.key.size; i++)
			h = (h ^ ((const uint8_t *)item.key.data)[i]) * 1099511628211u;
		h = (h ^ item.version ^ item.value.size << 40) * 1099511628211u;
		for (size_t i = 0; i < item.value.size; i += 1 + item.value.size / 32)
			h = (h ^ ((const uint8_t *)item.value.data)[i]) * 1099511628211u;
		++*keys;
	}
	ppdb_iter_close(it);
	return h;
}

void crew_judge_repeatable(ppdb_view *v, const char *when)
{
	uint64_t keys[2], far_ms = crew_far_ms(), first = digest(v, far_ms, &keys[0]), second;

	usleep(3000);
	second = digest(v, far_ms, &keys[1]);
	test_require(first == second || ppdb_view_check(v), "%s: it held %" PRIu64 " keys, then %" PRIu64 ", or others", when, keys[0], keys[1]);
}

/* ---- verdicts --------------------------------------------------------------------------------------------------- */

void crew_judge_recovered(struct crew *c, ppdb *db, bool all)
{
	uint64_t generation = atomic_load(&c->generation);
	ppdb_view *v;

	test_ok(ppdb_view_begin(db, PPDB_VIEW_FRESH, &v));
	crew_judge_chain(v, generation, "after the restart");
	crew_judge_accounts(v, "after the restart");
	for (unsigned i = 0; i < CREW_MAX; i++) {
		struct crew_member *m = &c->member[i];
		uint64_t owed = atomic_load(all ? &m->done : &m->durable), last = 0;
		char value[32] = "";

		if (!m->pid || atomic_load(&m->generation) != generation)
			continue;
		if (m->job == CREW_HEAD && crew_chain_value(v, 0, value) && strtoull(value, NULL, 16) == generation)
			last = strtoull(value + 9, NULL, 10);
		else if (m->job == CREW_SEQUENCE)
			crew_judge_sequence(v, m->number, generation, "after the restart", &last);
		else
			crew_judge_table(c, v, db, m, all);
		if (m->job != CREW_HEAD && m->job != CREW_SEQUENCE)
			continue;
		test_require(last >= owed, "member %u: %s up to %" PRIu64 ", but only %" PRIu64 " is there (chain/0 = %s)", i,
			all ? "it returned" : "it was durable", owed, last, value);
		test_require(last <= atomic_load(&m->begun), "member %u: %" PRIu64 " is there, but it began only %" PRIu64, i, last,
			atomic_load(&m->begun));
	}
	ppdb_view_end(v);
}

void crew_judge_counters(struct crew *c, ppdb *db)
{
	for (unsigned i = 0; i < CREW_COUNTERS; i++) {
		char key[32], value[32];
		size_t n = 0;
		uint64_t sum;
		int rc;

		snprintf(key, sizeof(key), "count/%u", i);
		rc = ppdb_get(db, 0, crew_text(key), value, sizeof(value) - 1, &n);
		test_require(!rc || (rc == PPDB_NOTFOUND && !c->add_low[i]), "%s gave %s", key, test_name_of(rc));
		value[n] = '\0';
		sum = strtoull(value, NULL, 10);
		test_require(rc || (sum >= c->add_low[i] && sum <= c->add_high[i]), "%s is %" PRIu64 ", but %" PRIu64 " to %" PRIu64
			" were added", key, sum, c->add_low[i], c->add_high[i]);
	}
}

void crew_judge_own(struct crew *c, ppdb *db, unsigned index)
{
	struct crew_member *m = &c->member[index];
	char key[32], value[32];
	uint64_t number = 0;
	size_t n;
	int rc;

	if (m->job != CREW_CHURN)
		return;
	snprintf(key, sizeof(key), "own/%u", index);
	rc = ppdb_get(db, 0, crew_text(key), value, sizeof(value) - 1, &n);
	test_require(!rc || rc == PPDB_NOTFOUND, "get gave %s", test_name_of(rc));
	if (!rc) {
		value[n] = '\0';
		number = strtoull(value, NULL, 10);
	}
	test_require(number >= atomic_load(&m->done) && number <= atomic_load(&m->begun),
		"%s is %" PRIu64 ", but %" PRIu64 " returned and %" PRIu64 " were begun", key, number, atomic_load(&m->done),
		atomic_load(&m->begun));
}

struct found {
	char text[16][256];
	unsigned count;
};

static void find(void *ctx, const char *problem)
{
	struct found *f = ctx;

	if (f->count < 16)
		snprintf(f->text[f->count++], sizeof(f->text[0]), "%s", problem);
}

/* What is still in the way of a settled store, or NULL. */
static const char *unsettled(ppdb *db, unsigned processes, unsigned slots, struct pp_check_report *r, struct found *f)
{
	static char why[256];
	struct pp_region *region = pp_client_region(db);
	unsigned used = 0, procs = 0;
	struct pp_thread *t;
	int rc;

	test_ok(pp_client_thread(db, &t));
	f->count = 0;
	rc = pp_check(t, true, r, find, f);
	test_require(rc >= 0, "check: %s", test_name_of(rc));
	for (unsigned i = 0; i < region->header->slots; i++)
		used += pp_slot_state(pp_load_acq(&region->slots[i].owner)) != PP_SLOT_FREE;
	for (unsigned i = 0; i < region->header->procs; i++)
		procs += pp_load_acq(&region->procs[i].state) != 0;
	if (r->problems)
		snprintf(why, sizeof(why), "%" PRIu64 " problems, the first: %.180s", r->problems, f->text[0]);
	else if (r->private_bytes)
		snprintf(why, sizeof(why), "%" PRIu64 " bytes are private to nobody", r->private_bytes);
	else if (r->limbo_bytes > LIMBO_MAX)
		snprintf(why, sizeof(why), "%" PRIu64 " bytes wait to be freed", r->limbo_bytes);
	else if (used > slots)
		snprintf(why, sizeof(why), "%u slots are taken, not %u", used, slots);
	else if (procs > processes)
		snprintf(why, sizeof(why), "%u process records are taken, not %u", procs, processes);
	else
		return NULL;
	return why;
}

struct crew_memory crew_settled(const char *when, ppdb *db, unsigned processes, unsigned slots)
{
	uint64_t begin = test_now_ns();
	struct pp_check_report r;
	struct found f = {.count = 0};
	const char *why;

	test_say("%s: waiting for the store to settle", when);
	while ((why = unsettled(db, processes, slots, &r, &f))) {
		if (test_now_ns() - begin > CREW_STUCK_NS) {
			for (unsigned i = 0; i < f.count; i++)
				dprintf(2, "problem: %s\n", f.text[i]);
			crew_describe_store(db);
			test_require(false, "%s: the store does not settle: %s", when, why);
		}
		usleep(20000);
	}
	return (struct crew_memory){r.keys, r.live_bytes, r.limbo_bytes, r.committed_bytes};
}

static int drop_one(void *db, const ppdb_table_info *info)
{
	test_ok(ppdb_table_drop(db, info->name));
	return 0;
}

void crew_remove_all(ppdb *db)
{
	ppdb_wopts async = {.size = sizeof(async), .flags = PPDB_ASYNC};
	ppdb_view *v;
	ppdb_iter *it;
	ppdb_item item;
	char key[64];

	test_ok(ppdb_view_begin(db, PPDB_VIEW_SNAPSHOT, &v));
	test_ok(ppdb_iter_open(v, 0, NULL, &it));
	while (!ppdb_iter_next(it, &item)) {
		bool expires = item.expires_ms;
		int rc;

		memcpy(key, item.key.data, item.key.size);
		rc = ppdb_del(db, 0, (ppdb_slice){key, item.key.size}, &async, NULL);
		test_require(!rc || (rc == PPDB_NOTFOUND && expires), "delete gave %s: %s", test_name_of(rc), test_detail());
	}
	ppdb_iter_close(it);
	ppdb_view_end(v);
	test_ok(ppdb_table_list(db, drop_one, db));
	test_ok(ppdb_sync(db, -1));
}
