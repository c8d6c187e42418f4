/*
 * recover.c - filling a new region from the checkpoint and the log, with all cores, in order of keys.
 *
 * One thread, the reader, takes records off the disk and copies them into a run (engine/run.c). A full run goes to the appliers, one a
 * core, while the reader fills the other run:
 *
 *   sort      each applier sorts its part of the run                                        | barrier
 *   cut       one of them cuts the run into ranges of keys, at leaves of the index          | barrier
 *   apply     each applies its range, leaf by leaf (engine/bulk.c)                          | barrier
 *
 * So a run costs each leaf one build, however many of its keys are in it, and cells lie in memory in order of keys. A record is
 * applied by (tag, seq): order within a run does not matter and doing it twice changes nothing.
 *
 * The log is read once. Its epochs rise, and a record counts when its epoch has ended; so a run is handed over up to the last ended
 * epoch, what lies behind it moves to the next run, and what is left at the end of the log is dropped. Therefore nothing older than a run ever
 * follows it: a key whose newest record in a run is a tombstone is gone for good.
 *
 * A store that was full must fit again, though a range is not applied in the order of the log and might need memory that later deletes
 * give back. So an applier that finds none first takes out, in all the rest of its range, what the run replaces or deletes; then there is at
 * no time more than at the run's beginning or its end. Old blocks come back through reclamation rounds, which the appliers announce
 * without waiting for durability, since no ring refers to anything. It gives up when all that are not done have been without memory for a
 * while: one that only is held up, by a busy machine say, may yet give some back.
 *
 * Threads are the daemon's own: this file is never part of a client. Dies inside: the region was never published.
 */
#include "engine/bulk.h"
#include "engine/hint.h"
#include "engine/keeper_internal.h"
#include "engine/record.h"
#include "shm/clock.h"
#include "shm/fault.h"
#include "shm/slot.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define APPLIERS_MAX PP_RUN_PARTS
#define RUNS 2                         /* one is filled while the other is applied */
#define RUN_MIN (UINT64_C(32) << 20)
#define RUN_MAX (UINT64_C(512) << 20)
#define RUN_SHARE 16                   /* part of the arena's limit */
#define RUN_SMALL 4096                 /* records: not worth two appliers */
#define ROUND_EVERY_NS UINT64_C(1000000)
#define SCARCE_PAGES 512               /* fewer are left: pages that are not needed go back at once */
#define FULL_TRIES 200                 /* naps of a millisecond in which nobody gets on */

enum progress { DONE, WORKING, STARVED };

struct applier {
	pthread_t thread;
	struct recovery *r;
	unsigned number;
	struct pp_thread t;
	struct pp_bulk bulk;
	struct pp_run_range range;
	pp_a32 progress;                   /* of this run; before its ranges are cut all are DONE */
};

struct recovery {
	struct pp_keeper *k;
	unsigned appliers;
	struct applier applier[APPLIERS_MAX];
	pthread_barrier_t phase;
	pthread_mutex_t round;             /* one announces at a time */
	pthread_mutex_t merging;
	uint64_t last_round_ns;
	pp_a64 steps;                      /* of all appliers: somebody gets on */

	pthread_mutex_t lock;              /* what follows */
	pthread_cond_t changed;
	struct pp_run *applying;           /* handed over, not yet given back */
	uint64_t handed;                   /* runs so far */
	bool end;                          /* no more runs */
	int rc;
	char detail[256];

	struct pp_run run[RUNS];           /* reader's, but for `applying` */
	unsigned filling;
	uint64_t records, last_tag;
	uint64_t ended;                    /* records up to this tag have all come and count */
	const char *what;
};

/* ---- reclamation without readers -------------------------------------------------------------------------------- */

static void announce_round(struct recovery *r)
{
	uint64_t now = pp_now_ns();
	struct pp_scan *scan = &r->k->round.scan;

	if (pthread_mutex_trylock(&r->round))
		return;
	if (now - r->last_round_ns >= ROUND_EVERY_NS) {
		r->last_round_ns = now;
		if (pp_reclaim_scan(&r->k->region, NULL, 0, scan) == 0)
			pp_reclaim_announce(&r->k->region, scan, 0, NULL, 0);
	}
	pthread_mutex_unlock(&r->round);
}

/* Is less left than the appliers may hold in pages of their own? */
static bool scarce(const struct recovery *r)
{
	const struct pp_region *region = &r->k->region;
	uint64_t grown = pp_load_acq(&region->globals->committed_segments);
	int64_t left = (int64_t)(region->fixed.max_segments - grown) * PP_PAGES_PER_SEGMENT;

	return left + (int64_t)pp_load_rlx(&region->globals->free_pages) < SCARCE_PAGES; /* stat: soft, may be below 0 */
}

/* ---- errors ----------------------------------------------------------------------------------------------------- */

static int error_of(struct recovery *r)
{
	int rc;

	pthread_mutex_lock(&r->lock);
	rc = r->rc ? pp_detail(r->rc, "%s", r->detail) : 0;
	pthread_mutex_unlock(&r->lock);
	return rc;
}

/* The first error counts; the threads pass over the work that is left. */
static void keep_error(struct recovery *r, int rc)
{
	pthread_mutex_lock(&r->lock);
	if (rc && !r->rc) {
		r->rc = rc;
		snprintf(r->detail, sizeof(r->detail), "%s", pp_detail_get());
	}
	pthread_mutex_unlock(&r->lock);
}

/* ---- applying a range ------------------------------------------------------------------------------------------- */

static bool somebody_works(const struct recovery *r)
{
	bool works = false;

	for (unsigned i = 0; i < r->appliers; i++)
		works |= pp_load_acq(&r->applier[i].progress) == WORKING;
	return works;
}

/* Without memory. True: it may have come back. */
static bool patience(struct applier *a, uint64_t *seen, unsigned *tries)
{
	struct timespec nap = pp_timespec(ROUND_EVERY_NS);
	uint64_t steps = pp_load_rlx(&a->r->steps); /* stat */

	pp_store_rel(&a->progress, STARVED);
	if (steps != *seen || somebody_works(a->r))
		*tries = 0;
	*seen = steps;
	if (++*tries > FULL_TRIES) {
		if (a->t.keeper)
			return false;
		a->t.keeper = true; /* the last of it */
		*tries = 0;
	}
	pp_alloc_release(&a->t); /* a page for each size of block: another may need it */
	announce_round(a->r);
	nanosleep(&nap, NULL);
	return true;
}

static int step(struct applier *a, struct pp_run_range *range)
{
	int rc = pp_bulk_step(&a->bulk, range);

	if (rc)
		return rc;
	pp_store_rel(&a->progress, WORKING);
	pp_add_rlx(&a->r->steps, 1); /* stat */
	announce_round(a->r);
	return 0;
}

static int steps(struct applier *a, struct pp_run_range *range)
{
	uint64_t seen = 0;
	unsigned tries = 0;
	int rc = 0;

	while (!rc && pp_run_peek(range)) {
		rc = step(a, range);
		if (rc == PPDB_FULL && patience(a, &seen, &tries))
			rc = 0;
		if (scarce(a->r))
			pp_alloc_release(&a->t);
	}
	return rc;
}

/* Takes out what the rest of the range replaces or deletes; with all of the reserve, for a leaf is built anew before cells are given back. */
static int take_out(struct applier *a)
{
	struct pp_run_range rest = a->range;
	int rc;

	a->bulk.take_out = a->t.keeper = true;
	rc = steps(a, &rest);
	a->bulk.take_out = a->t.keeper = false;
	return rc;
}

static int apply_range(struct applier *a)
{
	int rc = 0;

	pp_bulk_begin(&a->bulk, a->number ? pp_run_peek(&a->range) : NULL);
	a->t.keeper = false;
	while (!rc && pp_run_peek(&a->range))
		rc = step(a, &a->range);
	if (rc == PPDB_FULL) {
		rc = take_out(a);
		if (!rc)
			rc = steps(a, &a->range);
	}
	a->t.keeper = true;
	pp_bulk_count(&a->bulk);
	if (scarce(a->r))
		pp_alloc_release(&a->t);
	return rc;
}

/* ---- a run ------------------------------------------------------------------------------------------------------ */

/* The next run to be applied, NULL when there is none any more. */
static struct pp_run *await_run(struct applier *a, uint64_t *seen)
{
	struct recovery *r = a->r;
	struct pp_run *run;

	pthread_mutex_lock(&r->lock);
	while (r->handed == *seen && !r->end)
		pthread_cond_wait(&r->changed, &r->lock);
	run = r->handed == *seen ? NULL : r->applying;
	*seen = r->handed;
	pthread_mutex_unlock(&r->lock);
	return run;
}

/* Ranges that begin at leaves, so that no two appliers meet in one. */
static int cut(struct applier *a, const struct pp_run *run)
{
	struct recovery *r = a->r;
	struct pp_run_range ranges[APPLIERS_MAX];
	uint64_t seen = 0;
	unsigned tries = 0;
	int rc = 0;

	pp_run_cut(run, r->appliers, run->count < RUN_SMALL ? 1 : r->appliers, ranges);
	for (unsigned i = run->count < RUN_SMALL ? 1 : r->appliers; i < r->appliers; i++)
		ranges[i] = (struct pp_run_range){0};
	for (unsigned i = 0; i < r->appliers; i++) {
		const struct pp_run_record *first = pp_run_peek(&ranges[i]);

		r->applier[i].range = ranges[i];
		while (!rc && i && first) {
			struct pp_ikey k = pp_run_key(first);

			rc = pp_bulk_part(&a->t, pp_run_list(first), &k);
			if (rc != PPDB_FULL || !patience(a, &seen, &tries))
				break;
			rc = 0;
		}
	}
	for (unsigned i = 0; i < r->appliers && !rc; i++)
		pp_store_rel(&r->applier[i].progress, WORKING);
	return rc;
}

static void give_back(struct recovery *r, struct pp_run *run)
{
	pp_run_clear(run);
	PP_FAULT_POINT("recover.run.applied");
	pthread_mutex_lock(&r->lock);
	r->applying = NULL;
	pthread_cond_broadcast(&r->changed);
	pthread_mutex_unlock(&r->lock);
}

static void *applier_main(void *arg)
{
	struct applier *a = arg;
	struct recovery *r = a->r;
	struct pp_run *run;
	uint64_t seen = 0;

	while ((run = await_run(a, &seen))) {
		bool failed = error_of(r) != 0;

		if (!failed)
			pp_run_sort(run, a->number, r->appliers);
		pthread_barrier_wait(&r->phase);
		if (!a->number && !failed)
			keep_error(r, cut(a, run));
		pthread_barrier_wait(&r->phase);
		if (!error_of(r))
			keep_error(r, apply_range(a));
		pp_store_rel(&a->progress, DONE);
		pthread_barrier_wait(&r->phase);
		if (!a->number)
			give_back(r, run);
	}
	return NULL;
}

/* ---- the reader ------------------------------------------------------------------------------------------------- */

/* Gives the run to the appliers as soon as they are done with the one before; the reader goes on with the other. */
static int hand_over(struct recovery *r)
{
	pthread_mutex_lock(&r->lock);
	while (r->applying)
		pthread_cond_wait(&r->changed, &r->lock);
	r->applying = &r->run[r->filling];
	r->handed++;
	pthread_cond_broadcast(&r->changed);
	pthread_mutex_unlock(&r->lock);
	r->filling = (r->filling + 1) % RUNS;
	return error_of(r);
}

static int wait_applied(struct recovery *r)
{
	pthread_mutex_lock(&r->lock);
	while (r->applying)
		pthread_cond_wait(&r->changed, &r->lock);
	pthread_mutex_unlock(&r->lock);
	return error_of(r);
}

/* The run is full: what has ended goes to the appliers, the rest into the other run. */
static int make_room(struct recovery *r)
{
	struct pp_run *run = &r->run[r->filling], *other = &r->run[(r->filling + 1) % RUNS];
	int rc;

	if (run->items[0].rec->tag > r->ended)
		return pp_run_grow(run); /* one epoch that is larger than a run */
	rc = wait_applied(r);
	if (!rc)
		rc = pp_run_carry(run, r->ended, other);
	return rc ? rc : hand_over(r);
}

static int reserve(struct recovery *r, uint32_t key_size, uint64_t size, struct pp_run_record **rec)
{
	int rc = 0;

	while (!rc && !(*rec = pp_run_reserve(&r->run[r->filling], key_size, size)))
		rc = make_room(r);
	return rc;
}

static void add(struct recovery *r, struct pp_run_record *rec)
{
	struct pp_thread *t = &r->k->house;
	struct pp_ikey k = pp_run_key(rec);

	rec->list_be = pp_engine(t)->lists > 1 ? htobe16((uint16_t)pp_list_of(t, pp_ikey_hash(&k))) : 0;
	pp_run_add(&r->run[r->filling], rec);
	if ((++r->records & 0xffff) == 0 && r->k->config.progress)
		r->k->config.progress(r->k->config.ctx, r->what, r->records, 0);
}

static bool record_sound(const struct pp_record *rec, size_t size)
{
	return size >= sizeof(*rec) && rec->key_size >= 1 && rec->key_size <= PP_KEY_MAX && rec->size <= PP_VALUE_MAX &&
	       size == pp_record_size(rec->key_size, rec->size);
}

static int add_logged(void *ctx, uint64_t epoch, const void *data, size_t size)
{
	struct recovery *r = ctx;
	const struct pp_record *from = data;
	struct pp_run_record *rec;
	int rc;

	if (!record_sound(from, size))
		return pp_detail(PPDB_CORRUPT, "the log holds a record of %zu bytes that is no write; run 'ppdb wal'", size);
	if (epoch < r->last_tag)
		return pp_detail(PPDB_CORRUPT, "the log goes back from epoch %llu to %llu; run 'ppdb wal'",
				 (unsigned long long)r->last_tag, (unsigned long long)epoch);
	r->last_tag = epoch;
	rc = reserve(r, from->key_size, from->size, &rec);
	if (rc)
		return rc;
	rec->tag = epoch;
	rec->seq = from->seq;
	rec->expires_ms = from->expires_ms;
	rec->size = (uint32_t)from->size;
	rec->flags = from->flags;
	rec->key_size = from->key_size;
	rec->table_be = htobe32(from->table);
	memcpy(rec->bytes, from->bytes, from->key_size + from->size);
	add(r, rec);
	return 0;
}

static int add_checkpointed(void *ctx, const struct pp_ckpt_record *from)
{
	struct recovery *r = ctx;
	struct pp_run_record *rec;
	int rc = reserve(r, from->key_size, from->size, &rec);

	if (rc)
		return rc;
	rec->tag = from->tag;
	rec->seq = from->seq;
	rec->expires_ms = from->expires_ms;
	rec->size = (uint32_t)from->size;
	rec->flags = 0;
	rec->key_size = (uint16_t)from->key_size;
	rec->table_be = htobe32(from->table);
	memcpy(rec->bytes, from->key, from->key_size);
	memcpy(rec->bytes + from->key_size, from->value, from->size);
	add(r, rec);
	return 0;
}

static int read_checkpoint(struct recovery *r, struct pp_ckpt_reader *ckpt)
{
	unsigned streams = pp_ckpt_get_info(ckpt)->streams;
	int rc = 0;

	r->what = "checkpoint";
	r->ended = UINT64_MAX;
	for (unsigned s = 0; s < streams && !rc; s++)
		rc = pp_ckpt_read_stream(ckpt, s, add_checkpointed, r);
	return rc ? rc : hand_over(r); /* tags rise from here on */
}

static void epoch_ended(void *ctx, uint64_t epoch)
{
	struct recovery *r = ctx;

	if (epoch > r->ended)
		r->ended = epoch;
}

static int read_log(struct recovery *r, uint64_t from, struct pp_wal_recovered *log)
{
	struct pp_wal_config w = {.dir = r->k->wal_dir, .store_id = r->k->config.store_id,
				  .segment_bytes = r->k->config.wal_segment_bytes, .disk = r->k->config.disk, .on_ended = epoch_ended};
	int rc;

	r->what = "log";
	r->records = 0;
	r->ended = from;
	rc = pp_wal_recover(&w, from, add_logged, r, log);
	if (!rc)
		rc = pp_run_carry(&r->run[r->filling], r->ended, NULL);
	return rc ? rc : hand_over(r);
}

static int read_all(struct recovery *r, struct pp_wal_recovered *log, struct pp_ckpt_reader *ckpt)
{
	int rc = ckpt ? read_checkpoint(r, ckpt) : 0;

	if (!rc)
		rc = read_log(r, ckpt ? pp_ckpt_get_info(ckpt)->snapshot : 0, log);
	return rc ? rc : wait_applied(r);
}

/* ---- threads ---------------------------------------------------------------------------------------------------- */

static int claim_slots(struct recovery *r)
{
	for (unsigned i = 0; i < r->appliers; i++) {
		struct applier *a = &r->applier[i];
		int rc = pp_slot_claim(&r->k->region, r->k->proc, &a->t);

		if (rc)
			return rc;
		a->r = r;
		a->number = i;
		a->bulk.t = &a->t;
		a->bulk.merging = &r->merging;
		a->t.reserve = a->t.keeper = true;
	}
	return 0;
}

static void stop_appliers(struct recovery *r)
{
	pthread_mutex_lock(&r->lock);
	r->end = true;
	pthread_cond_broadcast(&r->changed);
	pthread_mutex_unlock(&r->lock);
	for (unsigned i = 0; i < r->appliers; i++)
		pthread_join(r->applier[i].thread, NULL);
	pthread_barrier_destroy(&r->phase);
}

/* As many as the system lets us have. */
static int start_appliers(struct recovery *r)
{
	unsigned started = 0;

	while (started < r->appliers && !pthread_create(&r->applier[started].thread, NULL, applier_main, &r->applier[started]))
		started++;
	if (!started)
		return pp_detail(-EAGAIN, "cannot start a thread for recovery; raise the limit of processes");
	r->appliers = started;
	pthread_barrier_init(&r->phase, NULL, started); /* nobody waits there before the first run is handed over */
	return 0;
}

static uint64_t run_bytes(const struct pp_keeper *k)
{
	uint64_t bytes = k->region.header->memory_max / RUN_SHARE;

	if (k->config.recover_run_bytes)
		return k->config.recover_run_bytes;
	return bytes < RUN_MIN ? RUN_MIN : bytes > RUN_MAX ? RUN_MAX : bytes;
}

static int recover(struct recovery *r, struct pp_wal_recovered *log, struct pp_ckpt_reader *ckpt)
{
	int rc = claim_slots(r);

	for (unsigned i = 0; i < RUNS && !rc; i++)
		rc = pp_run_init(&r->run[i], run_bytes(r->k));
	if (!rc)
		rc = start_appliers(r);
	if (rc)
		return rc;
	rc = read_all(r, log, ckpt);
	stop_appliers(r);
	return rc;
}

int pp_recover_cold(struct pp_keeper *k, struct pp_wal_recovered *log, struct pp_ckpt_reader *ckpt)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	struct recovery *r = calloc(1, sizeof(*r));
	int rc;

	if (!r)
		return -ENOMEM;
	r->k = k;
	pthread_mutex_init(&r->round, NULL);
	pthread_mutex_init(&r->merging, NULL);
	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->changed, NULL);
	r->appliers = cores < 1 ? 1 : cores > APPLIERS_MAX ? APPLIERS_MAX : (unsigned)cores;
	rc = recover(r, log, ckpt);
	for (unsigned i = 0; i < APPLIERS_MAX; i++)
		if (r->applier[i].t.slot)
			pp_slot_leave(&r->applier[i].t);
	for (unsigned i = 0; i < RUNS; i++)
		pp_run_release(&r->run[i]);
	free(r);
	return rc;
}
