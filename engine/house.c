/*
 * house.c - the house thread: reclamation rounds, removal of dead keys, sweeps, reaping.
 *
 * A reclamation round (design 8; tests/model/reclaim.pml), as a small state machine so that the thread never waits:
 *   scan      bump the era, barrier, read all intervals (shm/reclaim.h);
 *   settle    ask the step thread to close the epoch that was open then, and wait until it is durable: no ring entry or log buffer
 *             refers to anything retired before the scan any more;
 *   announce  collect held snapshots and publish intervals, floor P and held set: owners free and prune by it.
 * Rounds run while something is written or retired, and a few more, so that an idle store comes to rest with nothing in limbo; while a
 * reader or a snapshot held something back, or a client that wrote nothing left something, they go on at leisure.
 *
 * Dies inside: a round that was not announced is forgotten; the next daemon starts another.
 */
#include "engine/hint.h"
#include "engine/index.h"
#include "engine/keeper_internal.h"
#include "engine/shards.h"
#include "engine/sound.h"
#include "shm/clock.h"
#include "shm/wait.h"

#include <stdlib.h>
#include <string.h>

#define ROUND_NS UINT64_C(1000000)
#define IDLE_ROUNDS 4
#define PINNED_NS UINT64_C(50000000)   /* between rounds when idle while readers or snapshots held something back */
#define SWEEP_PAGES 512
#define TODO_STEP 4096
#define TODO_AHEAD 8
#define SWEEP_NS UINT64_C(200000000)   /* between sweeps of all leaves: a held snapshot may make them find the same again */
#define LEAVES_STEP 64
#define LEAVES_BUSY 8                  /* while clients write: what the sweep finds can wait */
#define PAGES_AHEAD 64
#define LEAVES_REFILL 256
#define WANTED_MAX (2 * PP_VALUE_MAX)
#define RELEASE_NS UINT64_C(1000000000)
#define HINTS_NS UINT64_C(20000000)
#define RESERVE_NS UINT64_C(1000000000) /* until the next attempt to make the log's reserve */

/* ---- reclamation round ------------------------------------------------------------------------------------------ */

static unsigned extras(struct pp_keeper *k, struct pp_extra_slots *out)
{
	unsigned n = 0;

	for (unsigned p = 0; p < k->region.fixed.procs && n < PP_EXTRA_MAX; p++) {
		if (pp_reader_evicted(k, p))
			continue;
		/* [keeper.readers:pinned] pairs [keeper.control:pinned]: before extra_set */
		if (pp_load_acq(&k->pinned[p]))
			out[n++] = (struct pp_extra_slots){.pin_all = true, .clamp_low = pp_load_acq(&k->region.procs[p].attach_era)};
		else if (pp_load_acq(&k->extra_set[p]))
			out[n++] = k->extra[p];
	}
	return n;
}

static bool written_since(struct pp_keeper *k)
{
	return pp_load_acq(&k->region.globals->open_epoch) != k->round.last_open;
}

/* Sweeps and reaping retire blocks long after the last write: they need a round too. */
static bool retired_since(struct pp_keeper *k)
{
	return pp_load_rlx(&k->house.slot->count.retires) != k->round.last_retires; /* owner */
}

static void round_start(struct pp_keeper *k)
{
	static struct pp_extra_slots extra[PP_EXTRA_MAX];
	struct pp_round *r = &k->round;

	if (pp_reclaim_scan(&k->region, extra, extras(k, extra), &r->scan))
		return;
	r->epoch = pp_load_acq(&k->region.globals->open_epoch);
	pp_store_rel(&k->want_epoch, r->epoch);
	pp_ring_bell(&k->region);
	r->running = true;
	r->started_ns = pp_now_ns();
}

static void round_finish(struct pp_keeper *k)
{
	static uint64_t held[PP_MAX_SLOTS];
	struct pp_round *r = &k->round;
	unsigned count;
	uint64_t floor, settled = pp_load_acq(&k->region.globals->settled_epoch); /* what settles after this look needs another round */

	pp_snapshot_collect(k, &floor, held, &count);
	pp_reclaim_announce(&k->region, &r->scan, floor, held, count);
	r->running = false;
	r->pinned = count || r->scan.count;
	r->last_open = settled + 1;
}

static bool round_step(struct pp_keeper *k)
{
	struct pp_round *r = &k->round;

	if (r->running) {
		if (pp_load_acq(&k->region.globals->durable_epoch) < r->epoch)
			return false;
		round_finish(k);
		return true;
	}
	if (written_since(k) || retired_since(k))
		r->idle = 0;
	else if (r->idle >= IDLE_ROUNDS && !r->pinned && !k->house.limbo_left)
		return false;
	if (pp_now_ns() - r->started_ns < (r->idle < IDLE_ROUNDS ? ROUND_NS : PINNED_NS))
		return false;
	r->idle++;
	r->last_retires = pp_load_rlx(&k->house.slot->count.retires); /* owner */
	round_start(k);
	return true;
}

/* ---- dead keys and old versions --------------------------------------------------------------------------------- */

static void prefetch_todo(struct pp_keeper *k, uint64_t at, uint64_t tail)
{
	const char *cell;

	if (at >= tail)
		return;
	cell = (const char *)k->region.base + pp_link_ref(k->todo->item[at % PP_TODO_SIZE].cell);
	pp_near(cell - sizeof(struct pp_block));
	pp_near(cell + 48);
}

static bool todo_step(struct pp_keeper *k)
{
	struct pp_todo *q = k->todo;
	uint64_t durable = pp_load_acq(&k->region.globals->durable_epoch);
	uint64_t head = pp_load_rlx(&q->head), tail; /* owner */
	unsigned done = 0;

	pp_safe_refresh(&k->region, &k->house.safe);
	/* [todo.pop:tail] pairs [todo.push:tail]: the items */
	tail = pp_load_acq(&q->tail);
	while (head != tail && done < TODO_STEP) {
		uint64_t tag = q->item[head % PP_TODO_SIZE].tag;

		prefetch_todo(k, head + TODO_AHEAD, tail);
		if (tag > k->house.safe.prune_floor)
			break; /* in order of tag: the others are younger still */
		if (pp_cell_tidy(&k->house, q->item[head % PP_TODO_SIZE].cell, durable))
			pp_store_rlx(&k->todo_overflow, 1); /* a held snapshot keeps something: the sweep comes back to it */
		head++;
		done++;
	}
	pp_store_rel(&q->head, head);
	return done == TODO_STEP;
}

static void tidy_leaf(struct pp_keeper *k, struct pp_place *p, bool *later)
{
	struct pp_leafblock *b = p->block;
	uint64_t durable = pp_load_acq(&k->region.globals->durable_epoch);

	for (unsigned i = 0; i < b->count; i++) {
		pp_ref cell = pp_block_ref(b, i);

		if (pp_cell_tidy(&k->house, PP_LINK(cell, pp_gen_of(&k->region, cell)), durable))
			*later = true;
	}
}

static bool sweep_wanted(struct pp_keeper *k)
{
	return pp_load_acq(&k->todo_overflow) || pp_load_acq(&((struct pp_engine *)k->region.engine)->sweep_wanted);
}

/* Walks a few leaves of the sweep; true = more to do. */
static bool leaf_step(struct pp_keeper *k)
{
	struct pp_thread *t = &k->house;
	unsigned lists = pp_list_count(pp_engine(t));
	struct pp_keybuf at;
	struct pp_leafblock *tidied;
	struct pp_place p;
	bool later = false, busy = pp_keeper_busy(k);
	unsigned budget = busy ? LEAVES_BUSY : LEAVES_STEP;

	if (!k->leaf_sweep.active) {
		if (!sweep_wanted(k) || pp_load_acq(&k->ckpt_running) || pp_now_ns() - k->leaf_sweep.started_ns < SWEEP_NS)
			return false;
		k->leaf_sweep.started_ns = pp_now_ns();
		pp_store_rlx(&k->todo_overflow, 0); /* what comes from now on is swept next time */
		pp_store_rlx(&((struct pp_engine *)k->region.engine)->sweep_wanted, 0);
		k->leaf_sweep.active = true;
		k->leaf_sweep.list = 0;
		k->leaf_sweep.key_size = 0;
	}
	for (unsigned n = 0; n < budget && k->leaf_sweep.list < lists; n++) {
		pp_keybuf_copy(&at, k->leaf_sweep.key, k->leaf_sweep.key_size);
		pp_read_enter(t);
		pp_index_find(t, k->leaf_sweep.list, 0, &at.key, true, &p);
		tidied = p.block; /* go on behind what was looked at: the leaf itself may take in its neighbour meanwhile */
		tidy_leaf(k, &p, &later);
		pp_index_find(t, k->leaf_sweep.list, 0, &at.key, true, &p);
		pp_index_merge(t, k->leaf_sweep.list, 0, &p);
		pp_damage_result(t, 0); /* the sweep goes on with what it can read */
		k->leaf_sweep.key_size = tidied->high_size;
		memcpy(k->leaf_sweep.key, pp_block_high(tidied), tidied->high_size);
		if (!tidied->high_size)
			k->leaf_sweep.list++;
		pp_read_leave(t);
	}
	if (later)
		pp_store_rlx(&k->todo_overflow, 1); /* hint */
	k->leaf_sweep.active = k->leaf_sweep.list < lists;
	return k->leaf_sweep.active && !busy;
}

/* ---- the loop --------------------------------------------------------------------------------------------------- */

uint64_t pp_key_count(struct pp_keeper *k)
{
	struct pp_engine *e = k->region.engine;
	uint64_t keys = 0;

	for (unsigned i = 0; i < pp_shard_count(e); i++)
		keys += pp_load_rlx(&e->shard[i].keys); /* stat */
	return keys;
}

static void hints_end(struct pp_keeper *k)
{
	pp_hint_resize_end(&k->house);
	k->round.idle = 0; /* the old table waits for a round */
	free(k->hint_walk);
	k->hint_walk = NULL;
}

/* True = a table is being refilled. */
static bool hints_step(struct pp_keeper *k)
{
	uint64_t now = pp_now_ns();

	if (k->hint_walk) {
		if (!pp_hint_refill(&k->house, k->hint_walk, LEAVES_REFILL))
			hints_end(k);
		return k->hint_walk != NULL;
	}
	if (now - k->checked_hints_ns < HINTS_NS)
		return false;
	k->checked_hints_ns = now;
	k->hint_walk = malloc(sizeof(*k->hint_walk));
	if (k->hint_walk && pp_hint_resize_begin(&k->house, pp_key_count(k), k->hint_walk) == 1)
		return true;
	free(k->hint_walk);
	k->hint_walk = NULL;
	return false;
}

/* Log bytes that writers wait for, at most WANTED_MAX. */
static uint64_t wanted(struct pp_keeper *k)
{
	unsigned high = pp_slots_high(&k->region);
	uint64_t bytes = 0;

	for (unsigned i = 0; i < high; i++) {
		uint64_t want = pp_load_acq(&k->region.slots[i].credit_want);

		bytes += want < WANTED_MAX ? want + want / 16 : WANTED_MAX; /* headers of units */
	}
	return bytes < WANTED_MAX ? bytes : WANTED_MAX;
}

/* Keeps log segments ready. Without disk space for one, writers get -ENOSPC once their credit is used up. */
int pp_keeper_prepare(struct pp_keeper *k)
{
	int rc;

	if (k->log_error)
		return 0;
	rc = pp_wal_prepare_for(k->wal, wanted(k));
	pp_store_rel(&((struct pp_engine *)k->region.engine)->wal_full, rc == -ENOSPC);
	if (!rc && pp_now_ns() >= k->reserve_ns) { /* only when nothing is wanted: it is for the start after this one */
		rc = pp_wal_prepare_reserve(k->wal);
		k->reserve_ns = rc < 0 ? pp_now_ns() + RESERVE_NS : 0;
		rc = rc > 0;
	}
	return rc;
}

/* What a store at rest does not use goes back to the system; a little stays, so that the next writes find some. */
static bool release_step(struct pp_keeper *k)
{
	struct pp_globals *g = k->region.globals;
	uint64_t keep = pp_load_acq(&g->committed_segments) * PP_PAGES_PER_SEGMENT / 256 + 2 * PP_PAGES_PER_SEGMENT;
	bool given;

	if (k->gather.active || pp_now_ns() - k->gather.logged_ns < RELEASE_NS)
		return false;
	if (!k->release.segment && pp_load_rlx(&g->free_pages) < keep + PP_PAGES_PER_SEGMENT) /* stat */
		return false;
	pp_safe_refresh(&k->region, &k->house.safe);
	given = pp_release_step(&k->house, &k->release, keep);
	if (k->release.segment)
		k->round.idle = 0; /* it waits for a round */
	return given;
}

/* For `ppdb stat`: is there something to bring into order, or was something freed or given back a moment ago? */
static void say_whether_at_rest(struct pp_keeper *k)
{
	struct pp_gather *g = &k->gather;
	struct pp_engine *e = k->region.engine;
	bool wanted = g->active || (!k->config.no_gather && g->looked_at != g->logged + 1);
	uint64_t work = pp_load_rlx(&k->house.slot->count.frees) + pp_load_rlx(&k->region.globals->holes); /* stat */

	if (wanted || work != g->work || k->release.segment) {
		g->work = work;
		g->rest_ns = pp_now_ns() + 2 * RELEASE_NS;
	}
	pp_store_rlx(&e->gathering, pp_now_ns() < g->rest_ns); /* stat */
}

int pp_keeper_house(struct pp_keeper *k)
{
	bool more;

	if (!k->leaf_sweep.key) {
		k->leaf_sweep.key = calloc(1, PP_IKEY_MAX);
		if (!k->leaf_sweep.key)
			return -ENOMEM;
	}
	more = round_step(k);
	pp_reap_step(k);
	more |= todo_step(k);
	more |= leaf_step(k);
	more |= pp_catalog_step(k);
	more |= pp_expire_step(k);
	more |= pp_alloc_sweep(&k->house, &k->house.safe, &k->sweep_cursor, SWEEP_PAGES) > 0;
	hints_step(k);
	more |= pp_gather_step(k);
	more |= release_step(k);
	say_whether_at_rest(k);
	pp_stat_readers(k);
	pp_pins_step(k);
	pp_shards_step(k);
	pp_damage_result(&k->house, 0); /* it goes on with what it can read */
	return more;
}

bool pp_keeper_busy(const struct pp_keeper *k)
{
	return k->round.running || k->round.idle < IDLE_ROUNDS;
}
