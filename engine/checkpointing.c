/*
 * checkpointing.c - writing a checkpoint of a running store: a held snapshot, walked in key order.
 *
 * The snapshot S is settled; the walk sees the newest version with tag <= S of every key while writers go on. Keys without a
 * value (tombstones) are left out and their floors raised, so that version numbers do not come back after recovery; floors are
 * written last. The manifest is switched only once S is durable; then the log before S + 1 may go.
 *
 * Dies inside: the unfinished checkpoint's files are removed by the next one; the old one and its log are untouched.
 */
#include "engine/bookmark.h"
#include "engine/floor.h"
#include "engine/index_internal.h"
#include "engine/keeper_internal.h"
#include "engine/version.h"
#include "shm/clock.h"
#include "shm/fault.h"
#include "shm/probe.h"
#include "shm/wait.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DUE_BYTES (UINT64_C(1) << 30)
#define DURABLE_NS UINT64_C(60000000000)
#define PAUSE_NS UINT64_C(250000000)   /* after one that failed, doubled each time */
#define PAUSE_MAX_NS UINT64_C(30000000000)

struct walk {
	struct pp_keeper *k;
	struct pp_ckpt_writer *w;
	uint64_t snapshot, records;
	uint64_t per_stream;               /* one list is cut into streams of this size; 0: each list is a stream */
	unsigned stream, streams;
};

static void put_tombstone(struct pp_thread *t, const struct pp_cell *c, uint64_t seq)
{
	pp_floor_raise(t, pp_cell_hash(c), seq);
}

static int put_cell(struct walk *w, pp_ref ref)
{
	struct pp_thread *t = &w->k->ckpt;
	struct pp_cell *c = pp_cell_at(t, ref);
	struct pp_ckpt_record rec;
	struct pp_version *v;
	uint64_t state;
	pp_ref version = pp_version_visible(t, c, w->snapshot, &state);

	if (pp_damage(t))
		return pp_damage_report(t); /* a checkpoint takes the place of the log: it must hold all */
	if (!version)
		return 0;
	v = pp_version_at(t, version);
	if (!pp_version_whole(t, version, v) || !c->key_size)
		return pp_damage_report(t);
	if (pp_version_flags(v) & PP_V_TOMBSTONE) {
		put_tombstone(t, c, pp_version_seq(v));
		return 0;
	}
	rec = (struct pp_ckpt_record){
		.table = be32toh(c->table_be),
		.key_size = c->key_size,
		.key = c->key,
		.value = pp_version_value(v),
		.size = v->size,
		.seq = pp_version_seq(v),
		.tag = pp_state_epoch(state),
		.expires_ms = pp_version_expires(v),
	};
	if (w->per_stream && ++w->records > w->per_stream * (w->stream + 1) && w->stream + 1 < w->streams)
		w->stream++;
	return pp_ckpt_put(w->w, w->stream, &rec);
}

static int put_leaf(struct walk *w, const struct pp_leafblock *b)
{
	int rc = 0;

	for (unsigned i = 0; i < b->count; i++)
		pp_near(pp_at(&w->k->region, pp_block_ref(b, i)));
	for (unsigned i = 0; i < b->count && !rc; i++)
		rc = put_cell(w, pp_block_ref(b, i));
	return rc;
}

/* One read section a leaf, so that a slow disk pins little; S protects the versions. */
static int walk_list(struct walk *w, unsigned list)
{
	struct pp_thread *t = &w->k->ckpt;
	struct pp_keybuf *at = malloc(sizeof(*at));
	struct pp_place p;
	bool more = true;
	int rc = 0;

	if (!at)
		return -ENOMEM;
	pp_keybuf_copy(at, (const uint8_t *)"", 0);
	while (more && !rc) {
		pp_read_enter(t);
		pp_index_find(t, list, 0, &at->key, false, &p);
		rc = pp_damage_result(t, put_leaf(w, p.block));
		more = p.block->high_size != 0;
		if (more)
			pp_keybuf_copy(at, pp_block_high(p.block), p.block->high_size);
		pp_read_leave(t);
		if (pp_load_acq(&w->k->stopping))
			rc = -ECANCELED;
	}
	free(at);
	return rc;
}

static int walk_all(struct walk *w)
{
	struct pp_engine *e = w->k->region.engine;
	int rc = 0;

	for (unsigned i = 0; i < pp_list_count(e) && !rc; i++) {
		if (!w->per_stream)
			w->stream = i; /* keys rise within a stream */
		rc = walk_list(w, i);
	}
	return rc;
}

static uint64_t keys_now(struct pp_keeper *k)
{
	struct pp_engine *e = k->region.engine;
	uint64_t keys = 0;

	for (unsigned i = 0; i < pp_shard_count(e); i++)
		keys += pp_load_rlx(&e->shard[i].keys); /* stat */
	return keys;
}

static int finish(struct walk *w)
{
	struct pp_keeper *k = w->k;
	struct pp_globals *g = k->region.globals;
	struct pp_engine *e = k->region.engine;
	struct pp_ckpt_range lost = {pp_load_acq(&g->adopt_lost_low), pp_load_acq(&g->adopt_lost_high)};
	struct pp_ckpt_meta meta = {
		.max_tag = pp_load_acq(&g->open_epoch),
		.incarnation = pp_load_acq(&k->region.header->incarnation),
		.lost = &lost,
		.nlost = lost.high > lost.low,
	};
	uint64_t *floors = malloc(sizeof(uint64_t) * PP_FLOORS);
	int rc;

	if (!floors) {
		pp_ckpt_abort(w->w);
		return -ENOMEM;
	}
	for (unsigned i = 0; i < PP_FLOORS; i++)
		floors[i] = pp_load_acq(&e->floor[i]);
	rc = pp_wait_durable(&k->ckpt, w->snapshot, DURABLE_NS);
	PP_FAULT_POINT("checkpoint.durable");
	if (rc)
		pp_ckpt_abort(w->w);
	else
		rc = pp_ckpt_commit(w->w, floors, PP_FLOORS, &meta);
	free(floors);
	PP_FAULT_POINT("checkpoint.committed");
	return rc;
}

static unsigned stream_count(const struct pp_keeper *k)
{
	const struct pp_engine *e = k->region.engine;
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	if (pp_list_count(e) > 1)
		return pp_list_count(e);
	if (k->config.checkpoint_streams)
		return k->config.checkpoint_streams;
	return cores < 1 ? 1 : cores > 8 ? 8 : (unsigned)cores;
}

static int write_checkpoint(struct pp_keeper *k, uint64_t snapshot)
{
	struct walk w = {.k = k, .snapshot = snapshot, .streams = stream_count(k)};
	int rc = pp_ckpt_begin(k->config.disk, k->ckpt_dir, k->config.store_id, snapshot, w.streams, &w.w);

	if (rc)
		return rc;
	if (pp_list_count(k->region.engine) == 1)
		w.per_stream = keys_now(k) / w.streams + 1;
	rc = walk_all(&w);
	if (rc) {
		pp_ckpt_abort(w.w);
		return rc;
	}
	return finish(&w);
}

/* A full disk: the log may be what fills it. */
static bool would_make_room(struct pp_keeper *k, uint64_t logged)
{
	return logged && pp_load_acq(&((struct pp_engine *)k->region.engine)->wal_full) && pp_wal_releasable(k->wal);
}

uint64_t pp_keeper_checkpoint_bytes(const struct pp_keeper *k)
{
	return k->config.checkpoint_bytes ? k->config.checkpoint_bytes : DUE_BYTES;
}

bool pp_keeper_checkpoint_due(struct pp_keeper *k)
{
	uint64_t due = pp_keeper_checkpoint_bytes(k);
	uint64_t logged = pp_load_rlx(&k->logged_bytes) - pp_load_rlx(&k->ckpt_bytes_at); /* stat */

	return !k->log_error && (logged >= due || would_make_room(k, logged)) && pp_now_ns() >= pp_load_rlx(&k->ckpt_retry_ns);
}

/* The reason may go away by itself, and each attempt writes as much as there is room for. */
static void pause_after(struct pp_keeper *k, int rc)
{
	if (rc && k->ckpt_pause_ns < PAUSE_MAX_NS)
		k->ckpt_pause_ns = k->ckpt_pause_ns ? 2 * k->ckpt_pause_ns : PAUSE_NS;
	if (!rc)
		k->ckpt_pause_ns = 0;
	pp_store_rlx(&k->ckpt_retry_ns, rc ? pp_now_ns() + k->ckpt_pause_ns : 0); /* stat */
}

/*
 * Up to where the log may go: S, but not beyond what a bookmark still needs, unless that is more than may be held, or the disk is full.
 * A bookmark that is set from now on begins at an epoch that is not in a full segment yet, or learns that it is lost when its feed is opened.
 */
static int release_up_to(struct pp_keeper *k, uint64_t snapshot, uint64_t *out)
{
	uint64_t least, beyond;
	int rc = pp_bookmark_least(&k->ckpt, &least);

	*out = snapshot;
	if (rc || least >= snapshot || pp_load_acq(&((struct pp_engine *)k->region.engine)->wal_full))
		return rc;
	beyond = k->config.feed_hold_bytes ? pp_wal_epoch_beyond(k->wal, k->config.feed_hold_bytes) : 0;
	*out = least > beyond ? least : beyond < snapshot ? beyond : snapshot;
	return 0;
}

int pp_keeper_checkpoint(struct pp_keeper *k)
{
	uint64_t bytes = pp_load_rlx(&k->logged_bytes), snapshot; /* stat */
	struct pp_engine *e = k->region.engine;
	int rc = pp_snapshot_hold(&k->ckpt, 0, &snapshot);

	if (rc)
		return rc;
	pp_store_rel(&k->ckpt_running, 1);
	PPDB_PROBE(checkpoint_begin, snapshot);
	rc = write_checkpoint(k, snapshot);
	PPDB_PROBE(checkpoint_end, snapshot, rc);
	pp_store_rel(&k->ckpt_running, 0);
	pp_snapshot_drop(&k->ckpt);
	pause_after(k, rc);
	pp_store_rlx(&e->checkpoint_error, rc == -ECANCELED ? 0 : (uint64_t)-(int64_t)rc); /* stat */
	if (rc)
		return rc;
	pp_store_rlx(&e->checkpoint_ms, pp_wall_ms()); /* stat */
	pp_store_rlx(&k->ckpt_bytes_at, bytes); /* stat */
	pp_store_rel(&e->checkpoint_epoch, snapshot);
	rc = release_up_to(k, snapshot, &snapshot);
	if (!rc)
		rc = pp_wal_release(k->wal, snapshot);
	return rc < 0 ? rc : 0;
}
