/*
 * recover.c - filling a new region from the checkpoint and the log, with all cores.
 *
 * Checkpoint streams are read and applied in parallel, one thread a stream. Then one thread reads the log (it verifies and delivers at
 * disk speed) and deals the records by key hash into batches for the appliers, so that the records of a key stay in one thread; order
 * between keys does not matter, because a record is applied by (tag, seq).
 *
 * Nobody else reads the region yet, but what appliers retire (old leaf blocks) must come back: the dealer announces a reclamation round now
 * and then, without waiting for durability, since no ring refers to anything.
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

struct batch {
	uint8_t *bytes;
	size_t used, room;
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
	struct recovery *r;
	unsigned number;
};

struct recovery {
	struct pp_keeper *k;
	unsigned appliers;
	struct applier applier[APPLIERS_MAX];
	struct pp_ckpt_reader *ckpt;
	uint64_t last_round_ns;
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

	if (now - r->last_round_ns < ROUND_EVERY_NS)
		return;
	r->last_round_ns = now;
	if (pp_reclaim_scan(&r->k->region, NULL, 0, scan) == 0)
		pp_reclaim_announce(&r->k->region, scan, 0, NULL, 0);
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

	return pp_apply(&a->t, &one);
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
	}
	return rc;
}

static int read_log(struct recovery *r, uint64_t from, struct pp_wal_recovered *log)
{
	struct pp_wal_config w = {.dir = r->k->wal_dir, .store_id = r->k->config.store_id,
				  .segment_bytes = r->k->config.wal_segment_bytes};
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
	return pp_apply(&a->t, &one);
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
