/*
 * keeper.c - opening and closing the store, and the records of attached processes.
 *
 * Opening, warm: the region belongs to this boot, layout and store, and the last unit it knows to be durable is in the log. Then memory is
 * right and newer than the disk: E goes above every tag seen, the rings' entries above the durable epoch are logged again by the
 * next round, slots of the dead daemon are reaped, the leaves are swept once. Clients noticed a pause.
 * Cold: a new region, filled from the newest checkpoint and the log after it (engine/recover.c). Tickets above the recovered cut are lost;
 * the header says which. An old region that is still there is barred first, and void when the new one is ready (engine/succeed.c).
 * After a clean stop with sizes that the old region does not have: it is opened warm, barred, drained and closed, and then comes a cold start:
 * writes that clients made since the stop are kept.
 *
 * Dies inside: warm: every step may be repeated. Cold: the half-filled region was never published, the next start makes another.
 */
#include "engine/keeper_internal.h"
#include "engine/commit_times.h"

#include "engine/file.h"
#include "engine/hint.h"
#include "engine/index.h"
#include "engine/shards.h"
#include "engine/succeed.h"
#include "shm/clock.h"
#include "shm/fault.h"
#include "shm/live.h"
#include "shm/reclaim.h"
#include "shm/slot.h"
#include "shm/wait.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DRAIN_NS UINT64_C(10000000000)

static const struct { const char *name; int backend; } backends[] = {
	{"auto", PP_WAL_AUTO}, {"uring-dsync", PP_WAL_URING_DSYNC}, {"uring-fsync", PP_WAL_URING_FSYNC},
	{"pwrite", PP_WAL_PWRITE_DSYNC}, {"pwrite-thread", PP_WAL_PWRITE_THREAD},
};

static int wal_config(const struct pp_keeper *k, struct pp_wal_config *w)
{
	const char *name = k->config.wal_backend ? k->config.wal_backend : "auto";

	memset(w, 0, sizeof(*w));
	w->dir = k->wal_dir;
	w->store_id = k->config.store_id;
	w->segment_bytes = k->config.wal_segment_bytes;
	w->depth = k->config.wal_depth;
	w->disk = k->config.disk;
	w->wrote = pp_times_wrote;
	w->wrote_ctx = k->region.engine;
	for (size_t i = 0; i < sizeof(backends) / sizeof(*backends); i++)
		if (!strcmp(name, backends[i].name)) {
			w->backend = backends[i].backend;
			return 0;
		}
	return pp_detail(-EINVAL, "no WAL backend is called '%s'; use auto, uring-dsync, uring-fsync, pwrite or pwrite-thread", name);
}

/* ---- warm ------------------------------------------------------------------------------------------------------- */

static bool same_store(const struct pp_keeper *k, const struct pp_region *r)
{
	const struct pp_engine *e = r->engine;

	return r->fixed.store_id == k->config.store_id && e->magic == PP_MAGIC;
}

/*
 * The log position that the region knows to be durable, if it is in the log, and the log was not continued from another arena since. A
 * position of nothing is in every log.
 */
static bool position_in_log(struct pp_keeper *k, uint64_t from_epoch, struct pp_wal_recovered *log)
{
	struct pp_globals *g = k->region.globals;
	uint64_t version = pp_load_acq(&g->durable_record_version);
	struct pp_wal_pos pos = {pp_load_acq(&g->durable_record[version & 1].unit), pp_load_acq(&g->durable_record[version & 1].chain),
				 pp_load_acq(&g->durable_record[version & 1].epoch)};
	struct pp_wal_config w;

	if (wal_config(k, &w))
		return false;
	w.expect = &pos;
	if (pp_wal_recover(&w, from_epoch, NULL, NULL, log))
		return false;
	if (log->next_generation > pp_load_acq(&((struct pp_engine *)k->region.engine)->wal_generation) + 1)
		return false;
	return !pos.unit || log->expect_found;
}

static bool try_warm(struct pp_keeper *k, uint64_t from_epoch, struct pp_wal_recovered *log)
{
	int fd = open(k->config.region.path, O_RDWR | O_CLOEXEC), rc;

	if (fd < 0)
		return false;
	rc = pp_region_map(fd, false, k->config.region.layout_hash, &k->region);
	close(fd);
	if (rc)
		return false;
	if (same_store(k, &k->region) && !pp_succeed_barred(&k->region) && position_in_log(k, from_epoch, log))
		return true;
	if (same_store(k, &k->region)) { /* its clients must not go on as if it were the store */
		pp_succeed_bar(&k->region);
		k->old = k->region;
		k->region = (struct pp_region){.fd = -1};
	} else {
		pp_region_unmap(&k->region);
	}
	return false;
}

static uint64_t above_all_tags(struct pp_keeper *k, const struct pp_wal_recovered *log)
{
	struct pp_globals *g = k->region.globals;
	uint64_t e = pp_load_acq(&g->open_epoch);
	unsigned high = pp_slots_high(&k->region);

	if (log->max_epoch_seen >= e)
		e = log->max_epoch_seen + 1;
	for (unsigned i = 0; i < high; i++) {
		uint64_t tail = pp_tail_epoch(pp_load_acq(&k->region.slots[i].tail));

		if (tail < PP_TAIL_BARRED && tail >= e)
			e = tail + 1;
	}
	return e;
}

static void adopt(struct pp_keeper *k, const struct pp_wal_recovered *log)
{
	struct pp_globals *g = k->region.globals;

	pp_store_seq(&g->open_epoch, above_all_tags(k, log));
	if (pp_load_acq(&g->settled_epoch) < log->last.epoch)
		pp_store_rel(&g->settled_epoch, log->last.epoch);
	pp_store_rel(&g->failed, 0);
	k->todo_overflow = 1;
	pp_store_rel(&k->catalog_changed, 1); /* what its dead clients and our predecessor left half done */
}

/* ---- cold ------------------------------------------------------------------------------------------------------- */

static void engine_format(struct pp_keeper *k)
{
	struct pp_region_config *c = &k->config.region;
	struct pp_engine *e = k->region.engine;

	e->shards = c->shards ? c->shards : 1;
	e->strategy = c->strategy;
	e->lists = c->strategy == PP_STRATEGY_HASH ? pp_shard_count(e) : 1;
	pp_shards_format(&k->region);
	e->magic = PP_MAGIC;
}

static int create(struct pp_keeper *k)
{
	struct pp_region_config *c = &k->config.region;
	int rc;

	c->engine_bytes = sizeof(struct pp_engine);
	if (c->shards > PP_SHARDS_MAX)
		return pp_detail(-EINVAL, "%u shards: at most %d", c->shards, PP_SHARDS_MAX);
	rc = pp_region_create(c, &k->region);
	if (rc)
		return rc;
	engine_format(k);
	pp_store_rel(&k->region.globals->open_epoch, 1);
	return 0;
}

static int read_floors(struct pp_keeper *k, struct pp_ckpt_reader *ckpt)
{
	const struct pp_ckpt_info *info = pp_ckpt_get_info(ckpt);
	struct pp_engine *e = k->region.engine;

	for (size_t i = 0; i < info->nfloors && i < PP_FLOORS; i++)
		pp_store_rlx(&e->floor[i], info->floors[i]); /* nobody else is here yet */
	return 0;
}

static int fill_cold(struct pp_keeper *k, struct pp_ckpt_reader *ckpt, struct pp_wal_recovered *log)
{
	struct pp_globals *g = k->region.globals;
	uint64_t next, seen = ckpt ? pp_ckpt_get_info(ckpt)->max_tag : 0;
	int rc;

	rc = pp_index_format(&k->house);
	if (!rc)
		rc = pp_hint_format(&k->house, PP_HINT_LINES_MIN);
	if (!rc && ckpt)
		rc = read_floors(k, ckpt);
	if (!rc)
		rc = pp_recover_cold(k, log, ckpt);
	if (!rc)
		rc = pp_catalog_recover(k);
	if (rc == PPDB_FULL && pp_load_acq(&g->committed_segments) >= k->region.fixed.max_segments)
		pp_detail(rc, "the store does not fit into the limit of %llu MiB: start ppdbd with more, say --memory %lluM; nothing is lost",
			  (unsigned long long)(k->region.fixed.memory_max >> 20), (unsigned long long)(k->region.fixed.memory_max >> 19));
	if (rc)
		return rc;
	if (log->next_generation > 1)
		((struct pp_engine *)k->region.engine)->version_base = PP_VERSION_BASE(log->next_generation);
	next = (log->max_epoch_seen > seen ? log->max_epoch_seen : seen) + 2;
	pp_store_rel(&g->adopt_lost_low, log->last.epoch);
	pp_store_rel(&g->adopt_lost_high, next);
	pp_store_rel(&g->settled_epoch, log->last.epoch);
	pp_store_rel(&g->prune_floor, log->last.epoch);
	pp_store_seq(&g->open_epoch, next);
	k->todo_overflow = 1; /* recovered tombstones are removed by the sweep */
	return 0;
}

/* ---- both ------------------------------------------------------------------------------------------------------- */

static void sign(struct pp_keeper *k)
{
	struct pp_header *h = k->region.header;

	pp_add_seq(&h->incarnation, 1);
	pp_store_rel(&h->daemon_start, pp_self_start());
	pp_store_rel(&h->daemon_pid, (uint32_t)getpid());
	pp_store_rel(&h->daemon_state, PP_DAEMON_STARTING);
	h->uses_membarrier = pp_barrier_register();
}

static int own_slots(struct pp_keeper *k)
{
	int rc = pp_keeper_proc_add(k, (uint32_t)getpid(), getuid(), pp_self_start(), PP_PROC_DAEMON, "ppdbd", &k->proc);

	if (!rc)
		rc = pp_slot_claim(&k->region, k->proc, &k->house);
	if (!rc)
		rc = pp_slot_claim(&k->region, k->proc, &k->stepper);
	if (!rc)
		rc = pp_slot_claim(&k->region, k->proc, &k->ckpt);
	k->house.reserve = k->house.keeper = k->stepper.reserve = k->stepper.keeper = true;
	return rc;
}

static int side_tables(struct pp_keeper *k)
{
	uint32_t procs = k->region.fixed.procs;

	k->gone = calloc(procs, sizeof(*k->gone));
	k->extra = calloc(procs, sizeof(*k->extra));
	k->extra_set = calloc(procs, sizeof(*k->extra_set));
	k->pinned = calloc(procs, sizeof(*k->pinned));
	k->todo = aligned_alloc(PP_CACHE_LINE, sizeof(*k->todo));
	if (!k->gone || !k->extra || !k->extra_set || !k->pinned || !k->todo)
		return -ENOMEM;
	memset(k->todo, 0, sizeof(*k->todo));
	return 0;
}

/*
 * Intervals and snapshots of read-only clients lie in control regions, which each client sends again when it notices that the daemon is
 * another one. Until then it counts as holding all that was there since it attached.
 */
static void pin_readers(struct pp_keeper *k)
{
	for (uint32_t p = 0; p < k->region.fixed.procs; p++) {
		struct pp_proc *proc = &k->region.procs[p];

		if (pp_load_acq(&proc->state) && pp_load_acq(&proc->flags) & PP_PROC_READONLY)
			pp_store_rel(&k->pinned[p], 1);
	}
}

/* The slots of the daemon before us: reaped before anything else works on the region. */
static void bury_predecessor(struct pp_keeper *k)
{
	for (uint32_t p = 0; p < k->region.fixed.procs; p++) {
		struct pp_proc *proc = &k->region.procs[p];

		if (p != k->proc && pp_load_acq(&proc->state) && pp_load_acq(&proc->flags) & PP_PROC_DAEMON)
			pp_store_rel(&k->gone[p], 1);
	}
	pp_reap_step(k);
}

static int start_log(struct pp_keeper *k, const struct pp_wal_recovered *log)
{
	struct pp_globals *g = k->region.globals;
	struct pp_wal_config w;
	int rc = wal_config(k, &w);

	pp_store_seq(&((struct pp_engine *)k->region.engine)->wal_generation, log->next_generation);
	if (!rc)
		rc = pp_wal_open(&w, log, &k->wal);
	if (!rc)
		rc = pp_settle_start(k, log->last.epoch);
	if (rc)
		return rc;
	if (pp_load_acq(&g->durable_record[pp_load_acq(&g->durable_record_version) & 1].epoch) < log->last.epoch ||
	    !pp_load_acq(&g->durable_record_version)) {
		uint64_t version = pp_load_acq(&g->durable_record_version) + 1;

		pp_store_rlx(&g->durable_record[version & 1].unit, log->last.unit);
		pp_store_rlx(&g->durable_record[version & 1].chain, log->last.chain);
		pp_store_rlx(&g->durable_record[version & 1].epoch, log->last.epoch);
		pp_store_rel(&g->durable_record_version, version);
	}
	return 0;
}

static int open_store(struct pp_keeper *k, struct pp_ckpt_reader *ckpt)
{
	uint64_t from = ckpt ? pp_ckpt_get_info(ckpt)->snapshot : 0;
	struct pp_wal_recovered log;
	int rc;

	k->warm = try_warm(k, from, &log);
	k->was_stopped = k->warm && pp_load_acq(&k->region.header->daemon_state) == PP_DAEMON_STOPPED;
	if (!k->warm) {
		rc = create(k);
		if (rc)
			return rc;
	}
	sign(k);
	rc = side_tables(k);
	if (rc)
		return rc;
	if (k->warm)
		adopt(k, &log);
	rc = own_slots(k);
	if (rc)
		return rc;
	if (k->warm)
		pin_readers(k);
	if (k->warm)
		bury_predecessor(k);
	else
		rc = fill_cold(k, ckpt, &log);
	if (!rc)
		rc = start_log(k, &log);
	if (rc)
		return rc;
	pp_store_rel(&((struct pp_engine *)k->region.engine)->checkpoint_epoch, from);
	PP_FAULT_POINT("keeper.filled");
	if (k->old.base)
		pp_succeed_void(&k->old);
	if (!k->warm)
		rc = pp_region_publish(&k->region);
	if (k->old.base)
		pp_region_unmap(&k->old);
	pp_store_rel(&k->region.header->daemon_state, PP_DAEMON_RUNNING);
	return rc;
}

static void free_all(struct pp_keeper *k)
{
	pp_settle_stop(k);
	free(k->todo);
	free(k->gone);
	free(k->extra);
	free(k->extra_set);
	free(k->pinned);
	free(k->leaf_sweep.key);
	free(k->hint_walk);
	pp_shards_free(k->shards);
	pp_pins_free(k->pins);
	pp_catalog_free(k);
	pp_safe_clear(&k->house.safe);
	pp_safe_clear(&k->stepper.safe);
	pp_safe_clear(&k->ckpt.safe);
	pp_region_unmap(&k->region);
	if (k->old.base)
		pp_region_unmap(&k->old);
	free(k);
}

static void say(const struct pp_keeper *k, const char *has, bool anew)
{
	char text[256];

	if (!k->config.say)
		return;
	if (anew)
		snprintf(text, sizeof(text), "the arena has %s: it is made anew, from the checkpoint and the log", has);
	else
		snprintf(text, sizeof(text), "the arena has %s: it was not stopped cleanly and is adopted as it is; 'ppdb stop' and another "
			 "start make it anew", has);
	k->config.say(k->config.ctx, text);
}

/* The configuration wants what this region cannot become. True: it is closed and gives way to another. */
static bool outgrown(struct pp_keeper *k, int *rc)
{
	char has[128];

	if (!k->warm || !pp_succeed_differs(&k->region, &k->config.region, has, sizeof(has)))
		return false;
	say(k, has, k->was_stopped);
	if (!k->was_stopped)
		return false;
	pp_succeed_bar(&k->region);
	if (!pp_succeed_in_use(&k->region))
		unlink(k->config.region.path); /* its memory may be what the next one needs */
	*rc = pp_keeper_close(k, false);
	return true;
}

int pp_keeper_open(const struct pp_keeper_config *config, struct pp_keeper **out)
{
	struct pp_keeper *k = calloc(1, sizeof(*k));
	struct pp_ckpt_reader *ckpt = NULL;
	int rc;

	if (!k)
		return -ENOMEM;
	k->region.fd = k->old.fd = -1;
	k->config = *config;
	k->config.disk = config->disk ? config->disk : &pp_disk_real;
	k->config.region.layout_hash = pp_layout_hash_engine();
	k->config.region.store_id = config->store_id;
	snprintf(k->wal_dir, sizeof(k->wal_dir), "%s/wal", config->data_dir);
	snprintf(k->ckpt_dir, sizeof(k->ckpt_dir), "%s/checkpoint", config->data_dir);
	rc = pp_file_make_dir(k->config.disk, k->wal_dir, 0700);
	if (!rc)
		rc = pp_file_make_dir(k->config.disk, k->ckpt_dir, 0700);
	if (!rc) {
		rc = pp_ckpt_open(k->config.disk, k->ckpt_dir, config->store_id, &ckpt);
		if (rc == PPDB_NOTFOUND)
			rc = 0;
	}
	if (!rc)
		rc = open_store(k, ckpt);
	if (ckpt)
		pp_ckpt_close(ckpt);
	if (!rc && outgrown(k, &rc))
		return rc ? rc : pp_keeper_open(config, out);
	if (!rc) {
		*out = k;
		return 0;
	}
	if (k->wal)
		pp_wal_close(k->wal);
	free_all(k); /* a half-filled region vanishes with its temporary file, an adopted one stays for the next daemon */
	return rc;
}

struct pp_region *pp_keeper_region(struct pp_keeper *k)
{
	return &k->region;
}

bool pp_keeper_was_warm(const struct pp_keeper *k)
{
	return k->warm;
}

/* ---- processes -------------------------------------------------------------------------------------------------- */

int pp_keeper_proc_add(struct pp_keeper *k, uint32_t pid, uint32_t uid, uint64_t start, uint32_t flags, const char *name,
		       uint32_t *proc)
{
	for (uint32_t p = 1; p < k->region.fixed.procs; p++) {
		struct pp_proc *r = &k->region.procs[p];

		if (pp_load_acq(&r->state))
			continue;
		pp_store_rlx(&r->start, start); /* published by state */
		pp_store_rlx(&r->pid, pid);
		pp_store_rlx(&r->uid, uid);
		pp_store_rel(&r->flags, flags); /* after `state` was 0: a reader whose record this was finds one of the two changed */
		pp_store_rlx(&r->left, 0);
		pp_store_rlx(&r->evictions, 0);
		pp_store_rlx(&r->attach_era, pp_load_acq(&k->region.globals->era));
		snprintf(r->name, sizeof(r->name), "%s", name ? name : "");
		pp_store_rel(&r->state, pp_now_ns() | 1);
		*proc = p;
		return 0;
	}
	return pp_detail(-ENOSPC, "%u processes are attached, no more are allowed; restart ppdbd with more --clients",
			 k->region.fixed.procs - 1);
}

void pp_keeper_proc_gone(struct pp_keeper *k, uint32_t proc)
{
	if (proc < k->region.fixed.procs)
		pp_store_rel(&k->gone[proc], 1);
}

void pp_keeper_procs(struct pp_keeper *k, void (*fn)(void *ctx, uint32_t proc, const struct pp_proc *), void *ctx)
{
	for (uint32_t p = 0; p < k->region.fixed.procs; p++)
		if (p != k->proc && pp_load_acq(&k->region.procs[p].state) && !pp_load_acq(&k->gone[p]))
			fn(ctx, p, &k->region.procs[p]);
}

int pp_keeper_control_add(struct pp_keeper *k, uint32_t proc, struct pp_slot *slots, unsigned count)
{
	if (proc >= k->region.fixed.procs)
		return -EINVAL;
	k->extra[proc].slots = slots;
	k->extra[proc].count = count;
	k->extra[proc].clamp_low = pp_load_acq(&k->region.procs[proc].attach_era);
	k->extra[proc].clamp_high = PP_ERA_MASK;
	pp_store_rel(&k->extra_set[proc], 1);
	/* [keeper.control:pinned] pairs [keeper.readers:pinned]: who sees 0 sees the slots as well */
	pp_store_rel(&k->pinned[proc], 0);
	return 0;
}

void pp_keeper_stop(struct pp_keeper *k)
{
	pp_store_rel(&k->stopping, 1);
}

/* ---- clean stop ------------------------------------------------------------------------------------------------- */

static void drain(struct pp_keeper *k)
{
	struct pp_globals *g = k->region.globals;
	uint64_t deadline = pp_now_ns() + DRAIN_NS, target = pp_load_acq(&g->open_epoch);

	pp_store_rel(&k->want_epoch, target);
	while (pp_load_acq(&g->durable_epoch) < target && pp_now_ns() < deadline) {
		int rc = pp_keeper_step(k);

		if (rc < 0)
			return;
		if (!rc)
			pp_keeper_sleep(k, 1000000);
	}
}

int pp_keeper_close(struct pp_keeper *k, bool checkpoint)
{
	int rc = 0;

	drain(k);
	pp_store_rel(&k->stopping, 0); /* the last checkpoint is not cut short */
	if (checkpoint && !k->log_error)
		rc = pp_keeper_checkpoint(k);
	drain(k);
	if (k->wal) {
		int wal_rc = pp_wal_close(k->wal);

		rc = rc ? rc : wal_rc;
	}
	pp_slot_leave(&k->house);
	pp_slot_leave(&k->stepper);
	pp_slot_leave(&k->ckpt);
	pp_store_rel(&k->region.header->daemon_state, PP_DAEMON_STOPPED);
	pp_wake_all(&k->region);
	free_all(k);
	return rc;
}
