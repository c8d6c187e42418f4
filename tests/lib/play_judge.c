/*
 * play_judge.c - what must hold when a seed has been played: the store comes to rest, is whole to the last byte, and everything that clients
 * saw fits together.
 */
#include "tests/lib/play_internal.h"

#include "engine/sweep.h"
#include "shm/clock.h"
#include "shm/live.h"
#include "shm/reclaim.h"
#include "shm/slot.h"

#include <time.h>
#include <unistd.h>

#define REST_ROUNDS 3000
#define REST_NS 25000000

/* ---- coming to rest ---------------------------------------------------------------------------------------------- */

static bool at_work(struct pp_keeper *k)
{
	unsigned high = (unsigned)pp_load_acq(&k->region.globals->slots_high);

	for (unsigned i = k->region.header->daemon_slots; i < high; i++) {
		uint64_t owner = pp_load_acq(&k->region.slots[i].owner);

		if (pp_slot_state(owner) == PP_SLOT_LEAVING || (pp_slot_state(owner) == PP_SLOT_CLAIMED && pp_load_acq(&k->gone[pp_slot_proc(owner)])))
			return true;
	}
	return pp_keeper_busy(k) || pp_load_acq(&k->todo_overflow) || k->leaf_sweep.active || k->house.limbo_left ||
	       pp_load_acq(&((struct pp_engine *)k->region.engine)->gathering) || pp_catalog_busy(k);
}

void play_rest(struct pp_keeper *k)
{
	struct timespec nap = pp_timespec(REST_NS);
	unsigned idle = 0;

	for (unsigned i = 0; idle < 8; i++) {
		int rc = pp_keeper_step(k), more = pp_keeper_house(k);

		if (rc < 0)
			sched_fail("the step thread failed with %s: %s", pp_error_name(rc), pp_detail_get());
		if (i == REST_ROUNDS)
			sched_fail("the store does not come to rest: busy %d, overflow %d, sweep %d, step %d, house %d", pp_keeper_busy(k),
				(int)pp_load_acq(&k->todo_overflow), k->leaf_sweep.active, rc, more);
		idle = rc || more || at_work(k) ? 0 : idle + 1;
		nanosleep(&nap, NULL);
	}
}

/* ---- the store --------------------------------------------------------------------------------------------------- */

static void complaint(void *context, const char *text)
{
	(void)context;
	sched_fail("check: %s", text);
}

/* Only what the keeper owns still may wait for its next allocation to be swept. */
static void judge_page(struct pp_region *r, uint64_t page)
{
	struct pp_page *p = &r->pages[page];
	uint64_t word = pp_load_acq(&p->word);

	for (unsigned w = 0; w < PP_BITMAP_WORDS && pp_page_type(word) == PP_PAGE_BLOCKS && !pp_page_owner(word); w++)
		if (pp_load_acq(&p->limbo[w]))
			sched_fail("at rest blocks of page %llu are in limbo: %#llx", (unsigned long long)page,
				(unsigned long long)pp_load_acq(&p->limbo[w]));
}

static void judge_store(struct pp_thread *t)
{
	struct pp_check_report r;
	int rc = pp_check(t, true, &r, complaint, NULL);

	if (rc)
		sched_fail("check gave %d", rc);
	if (r.private_bytes)
		sched_fail("at rest %llu bytes are allocated and not linked", (unsigned long long)r.private_bytes);
	for (uint64_t page = 0; page < pp_load_acq(&t->region->globals->committed_segments) * PP_PAGES_PER_SEGMENT; page++)
		judge_page(t->region, page);
}

/* The last word on each key, after everything else. */
static void read_all(struct play *p, struct pp_thread *t)
{
	for (unsigned k = 0; k < p->keys; k++) {
		struct play_note *n = play_note(p, PLAY_CLIENTS, LINEAR_READ, k);
		struct pp_key key = play_key(p, k);
		struct pp_hit hit;
		int rc;

		pp_read_enter(t);
		rc = pp_read(t, &key, PP_LATEST, &hit);
		if (rc && rc != PPDB_NOTFOUND)
			sched_fail("the last read gave %s", pp_error_name(rc));
		if (!rc) {
			n->op.value = play_value(hit.value, hit.size);
			n->op.version = hit.version;
		}
		pp_read_leave(t);
		n->op.ok = !rc;
		n->op.end = sched_moment();
		n->op.done = true;
	}
}

/* ---- histories --------------------------------------------------------------------------------------------------- */

void play_judge_key(struct play *p, unsigned key, const char *name)
{
	static struct linear_op ops[PLAY_NOTES];
	size_t n = 0;
	const char *wrong;

	for (unsigned i = 0; i < p->notes; i++)
		if (p->note[i].op.key == key && !p->note[i].nothing)
			ops[n++] = p->note[i].op;
	wrong = linear_wrong(ops, n);
	if (wrong)
		sched_fail("key %s: %s", name, wrong);
}

/* What the snapshot at S must show of a key, as far as it is known: the last of the finished writes with tag <= S, or something later that
 * was never finished. */
static void judge_cut(const struct play *p, const struct play_cut *cut, unsigned key)
{
	const struct play_note *newest = NULL, *shown = NULL;
	bool open = false, here;

	for (unsigned i = 0; i < p->notes; i++) {
		const struct play_note *n = &p->note[i];

		if (n->op.key != key || !n->write || n->nothing)
			continue;
		open |= !n->op.done;
		if (!n->op.done || !n->op.ok)
			continue;
		if (n->tag <= cut->s && (!newest || n->op.version > newest->op.version))
			newest = n;
		if (n->op.version == cut->key[key].version && n->op.kind != LINEAR_DEL)
			shown = n;
	}
	if (shown && shown->tag > cut->s)
		sched_fail("the snapshot at %llu shows %s of %s, which was written at %llu", (unsigned long long)cut->s,
			"a value", p->key[key], (unsigned long long)shown->tag);
	if (!newest || open)
		return;
	here = newest->op.kind != LINEAR_DEL;
	if (here ? cut->key[key].version != newest->op.version : cut->key[key].version != 0)
		sched_fail("the snapshot at %llu shows version %llu of %s; the last one up to it is %llu%s", (unsigned long long)cut->s,
			(unsigned long long)cut->key[key].version, p->key[key], (unsigned long long)newest->op.version,
			here ? "" : ", a delete");
}

/* Each committed write is in the log once. One that a stopped client had begun may be. */
static void judge_log(const struct play *p)
{
	struct pp_wal_stats now;
	uint64_t written = 0, open = 0, records;

	pp_wal_stat(p->keeper->wal, &now);
	records = now.records - p->records;
	for (unsigned i = 0; i < p->notes; i++) {
		const struct play_note *n = &p->note[i];

		if (!n->write || n->nothing || n->op.process >= PLAY_CLIENTS)
			continue;
		written += n->op.done && n->op.ok;
		open += !n->op.done;
	}
	if (records < written || records > written + open)
		sched_fail("%llu records in the log for %llu writes, and %llu that were begun", (unsigned long long)records,
			(unsigned long long)written, (unsigned long long)open);
}

static void judge_now(struct play *p)
{
	struct pp_thread t;
	uint32_t proc;

	play_rest(p->keeper);
	if (pp_keeper_proc_add(p->keeper, (uint32_t)getpid(), 0, pp_self_start(), 0, "judge", &proc) ||
	    pp_slot_claim(pp_keeper_region(p->keeper), proc, &t))
		sched_fail("no slot for the judge: %s", pp_detail_get());
	judge_store(&t);
	read_all(p, &t);
	if (p->tables)
		play_table_last(p, &t);
	pp_slot_leave(&t);
	pp_keeper_proc_gone(p->keeper, proc);
}

void play_judge(struct play *p)
{
	judge_now(p);
	if (p->restarts) { /* the same from the log alone */
		if (pp_keeper_close(p->keeper, false))
			sched_fail("closing: %s", pp_detail_get());
		play_reopen(p, true);
		judge_now(p);
	}
	for (unsigned k = 0; k < p->keys; k++)
		play_judge_key(p, k, p->key[k]);
	if (p->tables)
		play_table_judge(p);
	for (unsigned i = 0; i < p->cuts; i++)
		for (unsigned k = 0; k < p->keys && p->cut[i].s; k++)
			judge_cut(p, &p->cut[i], k);
	if (!p->restarts && !p->tables) /* what was not durable is logged again; the catalog is logged, too, and what the keeper takes away */
		judge_log(p);
}
