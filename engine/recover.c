/*
 * recover.c - filling a new region from the checkpoint and the log, with all cores.
 *
 * Checkpoint streams are read and applied in parallel, one thread a stream. Then one thread reads the log (it verifies and delivers at
 * disk speed) and deals the records by key hash into batches for the appliers, so that the records of a key stay in one thread; order
 * between keys does not matter, because a record is applied by (tag, seq).
 *
 * Nobody else reads the region yet, but what appliers retire (old leaf blocks) must come back: the dealer announces a reclamation round now
 * and then, without waiting for durability, since no ring refers to anything. A store that was full must fit again: removed keys go for
 * good as soon as the log is past their epoch (within an epoch a key's records may come in any order); where memory is scarce the
 * appliers go in step, so that none uses memory that the deletes of another are about to free; and one that finds none waits for a round.
 *
 * Threads are the daemon's own: this file is never part of a client.
 */
#include "engine/hint.h"
#include "engine/index.h"
#include "engine/keeper_internal.h"
#include "engine/record.h"
#include "shm/clock.h"
#include "shm/slot.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define APPLIERS_MAX 8
#define BATCH_BYTES (UINT64_C(1) << 20)
#define BATCHES 4                      /* per applier: one being filled, others on their way */
#define ROUND_EVERY_NS UINT64_C(1000000)
#define SCARCE_PAGES 512               /* fewer are left: in step */
#define STEP_BYTES (UINT64_C(64) << 10)
#define FULL_TRIES 200                 /* naps of a millisecond */

struct batch {
	uint8_t *bytes;
	size_t used, room;
};

struct removed {
	uint64_t cell, tag;
};

/* Hands batches from the dealer to one applier and back. */
struct applier {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct batch batch[BATCHES];
	unsigned filled, taken;            /* counts of batches handed over and finished */
	bool end;
	int rc;
	char detail[256];
	struct pp_thread t;
	struct removed *removed;           /* of the newest epochs, in order of tag */
	size_t removed_count, removed_room;
	struct recovery *r;
	unsigned number;
};

struct recovery {
	struct pp_keeper *k;
	unsigned appliers;
	struct applier applier[APPLIERS_MAX];
	struct pp_ckpt_reader *ckpt;
	pthread_mutex_t round;             /* one announces at a time */
	pthread_mutex_t tidy;              /* removal and merges are the work of one thread at a time */
	uint64_t last_round_ns, step_bytes;
	uint64_t records;
};

struct dealt {                                 /* in a batch, 8-aligned: then the record of the log */
	uint64_t epoch;
	uint64_t size;
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

/* Is less left than the appliers may be apart, or hold in pages of their own? */
static bool scarce(const struct recovery *r)
{
	const struct pp_region *region = &r->k->region;
	uint64_t grown = pp_load_acq(&region->globals->committed_segments);
	int64_t left = (int64_t)(region->fixed.max_segments - grown) * PP_PAGES_PER_SEGMENT;

	return left + (int64_t)pp_load_rlx(&region->globals->free_pages) < SCARCE_PAGES; /* stat: soft, may be below 0 */
}

/* ---- removed keys ----------------------------------------------------------------------------------------------- */

static void note_removed(struct applier *a, uint64_t cell, uint64_t tag)
{
	if (a->removed_count == a->removed_room) {
		size_t room = a->removed_room ? a->removed_room * 2 : 1024;
		struct removed *more = realloc(a->removed, room * sizeof(*more));

		if (!more)
			return; /* the keeper's sweep finds it */
		a->removed = more;
		a->removed_room = room;
	}
	a->removed[a->removed_count++] = (struct removed){cell, tag};
}

/* The log is at `epoch`: nothing older comes for keys that were removed before it. */
static void tidy_removed(struct applier *a, uint64_t epoch)
{
	size_t n = 0;

	if (!a->removed_count || a->removed[0].tag >= epoch)
		return;
	pthread_mutex_lock(&a->r->tidy);
	for (; n < a->removed_count && a->removed[n].tag < epoch; n++) {
		a->t.safe.prune_floor = UINT64_MAX; /* nobody reads */
		pp_cell_tidy(&a->t, a->removed[n].cell, UINT64_MAX);
	}
	pthread_mutex_unlock(&a->r->tidy);
	a->removed_count -= n;
	memmove(a->removed, a->removed + n, a->removed_count * sizeof(*a->removed));
}

/* ---- applying --------------------------------------------------------------------------------------------------- */

static int apply_patiently(struct applier *a, const struct pp_apply *one)
{
	struct timespec nap = pp_timespec(ROUND_EVERY_NS);
	uint64_t cell;
	int rc;

	for (unsigned tries = 0;; tries++) {
		rc = pp_apply(&a->t, one, &cell);
		if (rc != PPDB_FULL || tries == FULL_TRIES)
			break;
		pp_alloc_release(&a->t); /* a page for each size of block: another may need it */
		announce_round(a->r);
		nanosleep(&nap, NULL);
	}
	if (!rc && one->tombstone && cell)
		note_removed(a, cell, one->tag);
	return rc;
}

static int apply_record(struct applier *a, uint64_t epoch, const struct pp_record *rec)
{
	struct pp_apply one = {
		.table = rec->table,
		.key_size = rec->key_size,
		.key = rec->bytes,
		.value = rec->bytes + rec->key_size,
		.size = rec->size,
		.seq = rec->seq,
		.tag = epoch,
		.expires_ms = rec->expires_ms,
		.tombstone = rec->flags & PP_V_TOMBSTONE,
	};

	tidy_removed(a, epoch);
	return apply_patiently(a, &one);
}

/* ---- appliers --------------------------------------------------------------------------------------------------- */

static int apply_batch(struct applier *a, const struct batch *b)
{
	for (size_t at = 0; at < b->used;) {
		const struct dealt *d = (const struct dealt *)(b->bytes + at);
		int rc = apply_record(a, d->epoch, (const struct pp_record *)(d + 1));

		if (rc)
			return rc;
		at += (sizeof(*d) + d->size + 7) & ~(size_t)7;
	}
	if (scarce(a->r))
		pp_alloc_release(&a->t);
	return 0;
}

static void keep_error(struct applier *a, int rc)
{
	if (!rc || a->rc)
		return;
	a->rc = rc;
	snprintf(a->detail, sizeof(a->detail), "%s", pp_detail_get());
}

static void *applier_main(void *arg)
{
	struct applier *a = arg;

	pthread_mutex_lock(&a->lock);
	for (;;) {
		struct batch *b;
		int rc;

		while (a->taken == a->filled && !a->end)
			pthread_cond_wait(&a->changed, &a->lock);
		if (a->taken == a->filled)
			break;
		b = &a->batch[a->taken % BATCHES];
		pthread_mutex_unlock(&a->lock);
		rc = a->rc ? a->rc : apply_batch(a, b);
		pthread_mutex_lock(&a->lock);
		keep_error(a, rc);
		b->used = 0;
		a->taken++;
		pthread_cond_broadcast(&a->changed);
	}
	pthread_mutex_unlock(&a->lock);
	return NULL;
}

static struct batch *current_batch(struct applier *a)
{
	return &a->batch[a->filled % BATCHES];
}

/* Gives the batch being filled to the applier and waits until another is free. */
static int hand_over(struct recovery *r, struct applier *a)
{
	int rc;

	announce_round(r);
	pthread_mutex_lock(&a->lock);
	a->filled++;
	pthread_cond_broadcast(&a->changed);
	while (a->filled - a->taken >= BATCHES)
		pthread_cond_wait(&a->changed, &a->lock);
	rc = a->rc;
	pthread_mutex_unlock(&a->lock);
	return rc;
}

/* All appliers get what was dealt to them, and finish it. */
static int in_step(struct recovery *r)
{
	int rc = 0;

	announce_round(r);
	for (unsigned i = 0; i < r->appliers; i++) {
		struct applier *a = &r->applier[i];

		pthread_mutex_lock(&a->lock);
		a->filled += current_batch(a)->used > 0;
		pthread_cond_broadcast(&a->changed);
		pthread_mutex_unlock(&a->lock);
	}
	for (unsigned i = 0; i < r->appliers; i++) {
		struct applier *a = &r->applier[i];

		pthread_mutex_lock(&a->lock);
		while (a->taken != a->filled)
			pthread_cond_wait(&a->changed, &a->lock);
		rc = rc ? rc : a->rc;
		pthread_mutex_unlock(&a->lock);
	}
	return rc;
}

static int make_room(struct batch *b, size_t need)
{
	uint8_t *bytes;

	if (b->room >= need)
		return 0;
	bytes = realloc(b->bytes, need > BATCH_BYTES ? need : BATCH_BYTES);
	if (!bytes)
		return -ENOMEM;
	b->bytes = bytes;
	b->room = need > BATCH_BYTES ? need : BATCH_BYTES;
	return 0;
}

static bool record_sound(const struct pp_record *rec, size_t size)
{
	return size >= sizeof(*rec) && rec->key_size >= 1 && rec->key_size <= PP_KEY_MAX && rec->size <= PP_VALUE_MAX &&
	       size == pp_record_size(rec->key_size, rec->size);
}

/* Cheap, equal for equal keys: deals to an applier. */
static unsigned deal_to(const struct recovery *r, const struct pp_record *rec)
{
	struct pp_keybuf b;

	pp_keybuf_set(&b, rec->table, rec->bytes, rec->key_size);
	return (unsigned)((pp_key_hash(&b.key) >> 40) % r->appliers);
}

static int deal(void *ctx, uint64_t epoch, const void *data, size_t size)
{
	struct recovery *r = ctx;
	const struct pp_record *rec = data;
	size_t need = (sizeof(struct dealt) + size + 7) & ~(size_t)7;
	struct applier *a;
	struct batch *b;
	struct dealt *d;
	int rc;

	if (!record_sound(rec, size))
		return pp_detail(PPDB_CORRUPT, "the log holds a record of %zu bytes that is no write; run 'ppdb wal'", size);
	a = &r->applier[deal_to(r, rec)];
	b = current_batch(a);
	if (b->used && b->used + need > b->room) {
		rc = hand_over(r, a);
		if (rc)
			return rc;
		b = current_batch(a);
	}
	rc = make_room(b, b->used + need);
	if (rc)
		return rc;
	d = (struct dealt *)(b->bytes + b->used);
	d->epoch = epoch;
	d->size = size;
	memcpy(d + 1, data, size);
	b->used += need;
	r->step_bytes += need;
	if (r->step_bytes >= STEP_BYTES) {
		r->step_bytes = 0;
		rc = scarce(r) ? in_step(r) : 0;
		if (rc)
			return rc;
	}
	if ((++r->records & 0xffff) == 0 && r->k->config.progress)
		r->k->config.progress(r->k->config.ctx, "log", r->records, 0);
	return 0;
}

static int start_appliers(struct recovery *r)
{
	for (unsigned i = 0; i < r->appliers; i++) {
		struct applier *a = &r->applier[i];

		pthread_mutex_init(&a->lock, NULL);
		pthread_cond_init(&a->changed, NULL);
		a->end = false;
		if (pthread_create(&a->thread, NULL, applier_main, a))
			return pp_detail(-EAGAIN, "cannot start a thread for recovery; raise the limit of processes");
	}
	return 0;
}

static int stop_appliers(struct recovery *r)
{
	int rc = 0;

	for (unsigned i = 0; i < r->appliers; i++) {
		struct applier *a = &r->applier[i];

		pthread_mutex_lock(&a->lock);
		if (current_batch(a)->used)
			a->filled++;
		a->end = true;
		pthread_cond_broadcast(&a->changed);
		pthread_mutex_unlock(&a->lock);
		pthread_join(a->thread, NULL);
		if (a->rc && !rc)
			rc = pp_detail(a->rc, "%s", a->detail);
		for (unsigned b = 0; b < BATCHES; b++)
			free(a->batch[b].bytes);
		free(a->removed);
	}
	return rc;
}

static int read_log(struct recovery *r, uint64_t from, struct pp_wal_recovered *log)
{
	struct pp_wal_config w = {.dir = r->k->wal_dir, .store_id = r->k->config.store_id,
				  .segment_bytes = r->k->config.wal_segment_bytes, .disk = r->k->config.disk};
	int rc = start_appliers(r), apply_rc;

	if (rc)
		return rc;
	rc = pp_wal_recover(&w, from, deal, r, log);
	apply_rc = stop_appliers(r);
	return rc ? rc : apply_rc;
}

/* ---- checkpoint ------------------------------------------------------------------------------------------------- */

static int apply_checkpoint_record(void *ctx, const struct pp_ckpt_record *rec)
{
	struct applier *a = ctx;
	struct pp_apply one = {
		.table = rec->table,
		.key_size = rec->key_size,
		.key = rec->key,
		.value = rec->value,
		.size = rec->size,
		.seq = rec->seq,
		.tag = rec->tag,
		.expires_ms = rec->expires_ms,
	};

	if (a->number == 0)
		announce_round(a->r);
	return apply_patiently(a, &one);
}

static void *checkpoint_main(void *arg)
{
	struct applier *a = arg;
	unsigned streams = pp_ckpt_get_info(a->r->ckpt)->streams;

	for (unsigned s = a->number; s < streams && !a->rc; s += a->r->appliers)
		keep_error(a, pp_ckpt_read_stream(a->r->ckpt, s, apply_checkpoint_record, a));
	return NULL;
}

static int read_checkpoint(struct recovery *r)
{
	int rc = 0;

	for (unsigned i = 0; i < r->appliers; i++)
		if (pthread_create(&r->applier[i].thread, NULL, checkpoint_main, &r->applier[i]))
			return pp_detail(-EAGAIN, "cannot start a thread for recovery; raise the limit of processes");
	for (unsigned i = 0; i < r->appliers; i++) {
		pthread_join(r->applier[i].thread, NULL);
		if (r->applier[i].rc && !rc)
			rc = pp_detail(r->applier[i].rc, "%s", r->applier[i].detail);
	}
	return rc;
}

static int claim_slots(struct recovery *r)
{
	for (unsigned i = 0; i < r->appliers; i++) {
		struct applier *a = &r->applier[i];
		int rc = pp_slot_claim(&r->k->region, r->k->proc, &a->t);

		if (rc)
			return rc;
		a->r = r;
		a->number = i;
		a->t.reserve = a->t.keeper = true;
	}
	return 0;
}

static void grow_hints(struct pp_keeper *k, uint64_t keys)
{
	struct pp_hint_walk *w = malloc(sizeof(*w));

	if (w && pp_hint_grow_begin(&k->house, keys, w) == 1) {
		while (pp_hint_refill(&k->house, w, 1024))
			;
		pp_hint_grow_end(&k->house);
	}
	free(w);
}

int pp_recover_cold(struct pp_keeper *k, struct pp_wal_recovered *log, struct pp_ckpt_reader *ckpt)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	struct recovery *r = calloc(1, sizeof(*r));
	int rc;

	if (!r)
		return -ENOMEM;
	r->k = k;
	r->ckpt = ckpt;
	pthread_mutex_init(&r->round, NULL);
	pthread_mutex_init(&r->tidy, NULL);
	r->appliers = cores < 1 ? 1 : cores > APPLIERS_MAX ? APPLIERS_MAX : (unsigned)cores;
	rc = claim_slots(r);
	if (!rc && ckpt) {
		grow_hints(k, pp_ckpt_get_info(ckpt)->records);
		rc = read_checkpoint(r);
	}
	if (!rc)
		rc = read_log(r, ckpt ? pp_ckpt_get_info(ckpt)->snapshot : 0, log);
	for (unsigned i = 0; i < r->appliers; i++)
		if (r->applier[i].t.slot)
			pp_slot_leave(&r->applier[i].t);
	free(r);
	return rc;
}
