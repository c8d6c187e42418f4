/*
 * settle.c - the step thread: close an epoch, settle it, log it, make it durable, wake who waits.
 *
 * One round (design 5.5, 5.6; tests/model/epoch_cut.pml):
 *   close    E: e -> e + 1, full fence, then raise the tail epoch of every open ring to e + 1. From then on nothing with tag <= e
 *            can appear in any ring, whoever is stopped where.
 *   settle   go through the entries with tag <= e: a version that is still PENDING is committed with this entry. An entry is logged iff
 *            slot and tag are those that the state word names: each version once, whoever helped. A batch's entry stands for all
 *            its versions (engine/batch.c).
 *   log      copy the records out of shared memory into the log's private buffers, end epoch e, submit. Greedy: a round starts
 *            when the log has a free place, so batches grow with the load.
 *   durable  when the log says so, in this order: durable_record, durable_epoch, ring heads and credit, wake.
 *
 * Ring heads move only when their entries are durable, so a daemon that dies anywhere finds everything again: what is not durable is
 * still in the rings (warm restart), and settling it again changes nothing.
 *
 * Ordering. [settle.close:tail] pairs [ring.publish:tail]: all entries below the index that is read.
 * [settle.durable:epoch] pairs [wait.durable:epoch]: the log unit before the epoch number.
 *
 * Dies inside: see above; the next daemon starts from durable_record.
 */
#include "engine/keeper_internal.h"
#include "engine/commit_times.h"
#include "engine/layout_disk.h"

#include "engine/record.h"
#include "engine/ring.h"
#include "engine/version.h"
#include "shm/clock.h"
#include "shm/fault.h"
#include "shm/probe.h"
#include "shm/wait.h"

#include <stdlib.h>

#define MARKER_IDLE_NS UINT64_C(5000000)
#define STATS_NS UINT64_C(100000000)
#define PREFETCH 16
#define CREDIT_SLOT (UINT64_C(8) << 20)
#define SAVE_NS UINT64_C(200000000)  /* for one large record */
#define SPEND_NS UINT64_C(300000000)

static struct pp_slot *slot_of(struct pp_keeper *k, unsigned i)
{
	return &k->region.slots[i];
}

static unsigned slots_high(struct pp_keeper *k)
{
	return pp_slots_high(&k->region);
}

/* ---- closing ---------------------------------------------------------------------------------------------------- */

static void close_ring(struct pp_slot *s, uint64_t epoch)
{
	uint64_t tail = pp_load_acq(&s->tail);

	/* [settle.close:tail] pairs [ring.publish:tail]: entries below the index */
	while (pp_tail_epoch(tail) < epoch && !pp_cas_seq(&s->tail, &tail, PP_TAIL(epoch, pp_tail_index(tail))))
		;
}

static uint64_t close_epoch(struct pp_keeper *k)
{
	uint64_t e = pp_add_seq(&k->region.globals->open_epoch, 1);
	unsigned high;

	pp_fence_seq(); /* [settle.close:bump] pairs [slot.claim:open]: a claim is seen, or sees the new E */
	PP_FAULT_POINT("settle.bumped");
	high = slots_high(k);
	for (unsigned i = 0; i < high && !PP_MUTANT("settle.not_closed"); i++)
		close_ring(slot_of(k, i), e + 1);
	PP_FAULT_POINT("settle.closed");
	pp_times_closed(k->region.engine, e);
	return e;
}

/* ---- settling and logging --------------------------------------------------------------------------------------- */

static bool committed_by(pp_a64 *state, uint64_t undecided, unsigned slot, uint64_t tag)
{
	uint64_t expected = undecided, mine = PP_STATE(PP_COMMITTED, slot, tag);

	return pp_cas_acqrel(state, &expected, mine) || expected == mine;
}

void pp_todo_push(struct pp_keeper *k, uint64_t cell_link, uint64_t tag)
{
	struct pp_todo *q = k->todo;
	uint64_t tail = pp_load_rlx(&q->tail); /* owner */

	if (tail - pp_load_acq(&q->head) >= PP_TODO_SIZE) {
		pp_store_rlx(&k->todo_overflow, 1); /* hint */
		return;
	}
	q->item[tail % PP_TODO_SIZE].cell = cell_link;
	q->item[tail % PP_TODO_SIZE].tag = tag;
	/* [todo.push:tail] pairs [todo.pop:tail]: the item */
	pp_store_rel(&q->tail, tail + 1);
}

/* `flags` = PP_R_MORE, PP_R_RING */
static void fill_record(struct pp_record *r, const struct pp_cell *c, struct pp_version *v, unsigned flags)
{
	r->table = be32toh(c->table_be);
	r->key_size = c->key_size;
	r->flags = (uint16_t)(pp_version_flags(v) | flags);
	r->seq = pp_version_seq(v);
	r->expires_ms = pp_version_expires(v);
	r->size = v->size;
}

static int log_version(struct pp_keeper *k, uint64_t epoch, const struct pp_cell *c, struct pp_version *v, unsigned flags)
{
	uint64_t bytes = pp_record_size(c->key_size, v->size);
	struct pp_record *r = pp_wal_reserve(k->wal, epoch, bytes), head;
	struct iovec parts[3] = {{&head, sizeof(head)}, {(void *)(uintptr_t)c->key, c->key_size}, {pp_version_value(v), v->size}};

	if (!r) {
		fill_record(&head, c, v, flags);
		return pp_wal_append(k->wal, epoch, parts, 3);
	}
	fill_record(r, c, v, flags);
	memcpy(r->bytes, c->key, c->key_size);
	memcpy(r->bytes + c->key_size, pp_version_value(v), v->size);
	return 0;
}

/* Logs a committed version, and says that its cell may have something to tidy. */
static int log_committed(struct pp_keeper *k, uint64_t epoch, pp_ref ref, uint64_t tag, unsigned more)
{
	struct pp_version *v = pp_version_at(&k->stepper, ref);
	pp_ref cell = pp_version_cell(&k->stepper, ref);
	const struct pp_cell *c = pp_cell_at(&k->stepper, cell);
	uint64_t bytes = pp_record_size(c->key_size, v->size);
	bool same = k->ring_logged == k->ring_now && k->ring_epoch == epoch;
	int rc = log_version(k, epoch, c, v, more | (same ? 0 : PP_R_RING));

	if (rc)
		return rc;
	k->ring_logged = k->ring_now;
	k->ring_epoch = epoch;
	if (pp_load_rlx(&v->older)) /* hint */
		pp_stat_add(&k->superseded_bytes, bytes);
	if (pp_load_rlx(&v->older) || pp_version_flags(v) & PP_V_TOMBSTONE) /* hint */
		pp_todo_push(k, PP_LINK(cell, pp_gen_of(&k->region, cell)), tag);
	if (pp_version_flags(v) & PP_V_TTL && pp_version_expires(v))
		pp_expire_note(k, pp_version_expires(v));
	if (c->table_be == htobe32(PP_TABLE_CATALOG))
		pp_store_rel(&k->catalog_changed, 1);
	pp_stat_add(&k->logged_bytes, bytes);
	k->round_bytes += bytes;
	k->round_records++;
	return 0;
}

static int settle_version(struct pp_keeper *k, unsigned slot, uint64_t epoch, pp_ref ref, uint64_t tag)
{
	struct pp_version *v = pp_version_at(&k->stepper, ref);
	int rc = 0;

	if (!pp_record_sound(&k->stepper, ref)) /* an acknowledged write, perhaps: nothing that came after it may be called durable */
		return pp_damage_report(&k->stepper);
	if (committed_by(&v->state, PP_STATE(PP_PENDING, 0, 0), slot, tag) || PP_MUTANT("settle.logged_twice"))
		rc = log_committed(k, epoch, ref, tag, 0);
	if (!rc)
		pp_stat_add(&k->charged[slot], pp_record_bytes(&k->stepper, ref));
	return rc;
}

static bool is_guard(struct pp_keeper *k, pp_ref ref)
{
	return pp_version_flags(pp_version_at(&k->stepper, ref)) & PP_V_GUARD;
}

/* Its word says from now on what the batch said. A guard's key may have nothing else. */
static void turn(struct pp_keeper *k, pp_ref batch, pp_ref ref, uint64_t committed)
{
	uint64_t expected = PP_STATE_BATCH(batch);
	pp_ref cell = pp_version_cell(&k->stepper, ref);

	if (!is_guard(k, ref)) {
		pp_cas_acqrel(&pp_version_at(&k->stepper, ref)->state, &expected, committed);
	} else {
		pp_cas_acqrel(&pp_version_at(&k->stepper, ref)->state, &expected, PP_STATE(PP_ABORTED, 0, 0));
		pp_todo_push(k, PP_LINK(cell, pp_gen_of(&k->region, cell)), pp_state_epoch(committed));
	}
}

/* The last one that goes into the log: no more after it. */
static uint64_t last_write(struct pp_keeper *k, struct pp_batch *b, uint64_t count)
{
	while (count && is_guard(k, pp_load_acq(&b->version[count - 1])))
		count--;
	return count;
}

/* All its versions, one after the other. When the log has no space it is continued where it stopped. */
static int log_batch(struct pp_keeper *k, uint64_t epoch, pp_ref batch, struct pp_batch *b, uint64_t committed)
{
	uint64_t count = pp_load_acq(&b->count), last;

	if (count > b->room)
		return pp_damage_report(&k->stepper);
	last = last_write(k, b, count);
	for (; k->batch_at < count; k->batch_at++) {
		pp_ref ref = pp_load_acq(&b->version[k->batch_at]);
		int rc = 0;

		if (!pp_record_sound(&k->stepper, ref))
			return pp_damage_report(&k->stepper);
		if (!is_guard(k, ref))
			rc = log_committed(k, epoch, ref, pp_state_epoch(committed), k->batch_at + 1 < last ? PP_R_MORE : 0);
		if (rc)
			return rc;
		turn(k, batch, ref, committed);
		PP_FAULT_POINT("settle.batch.turned");
	}
	k->batch_at = 0;
	return 0;
}

static int settle_batch(struct pp_keeper *k, unsigned slot, uint64_t epoch, pp_ref ref, uint64_t tag)
{
	struct pp_batch *b = pp_batch_at(&k->stepper, ref);
	int rc;

	if (pp_damage(&k->stepper))
		return pp_damage_report(&k->stepper);
	if (!committed_by(&b->state, PP_BATCH_READY, slot, tag))
		return 0;
	rc = log_batch(k, epoch, ref, b, PP_STATE(PP_COMMITTED, slot, tag));
	if (rc)
		return rc;
	if (b->slot < k->region.fixed.slots && pp_load_acq(&slot_of(k, b->slot)->owner) == b->owner)
		pp_stat_add(&k->charged[b->slot], b->bytes);
	PP_FAULT_POINT("settle.batch.logged");
	pp_retire(&k->stepper, ref, pp_gen_of(&k->region, ref));
	return 0;
}

static int settle_entry(struct pp_keeper *k, unsigned slot, uint64_t epoch, uint64_t ref, uint64_t tag)
{
	if (ref & PP_ENTRY_BATCH)
		return settle_batch(k, slot, epoch, ref & ~PP_ENTRY_BATCH, tag);
	return settle_version(k, slot, epoch, ref, tag);
}

static void prefetch_entry(struct pp_keeper *k, const struct pp_ring_entry *e)
{
	const char *p = (const char *)k->region.base + pp_load_rlx(&e->ref); /* recheck: read again when settled */

	pp_near(p - 64);
	pp_near(p);
	pp_near(p + 64);
	pp_near(p + 128);
}

/* Settles one ring up to `epoch`; stops with an error when the log has no space, to be continued. */
static int settle_ring(struct pp_keeper *k, unsigned slot, uint64_t epoch)
{
	struct pp_ring_entry *ring = pp_ring(&k->region, slot);
	uint32_t mask = k->region.fixed.ring_entries - 1;
	uint64_t tail = pp_load_acq(&slot_of(k, slot)->tail);
	uint64_t durable = pp_load_rlx(&k->region.globals->durable_epoch); /* owner */
	uint16_t end = pp_tail_index(tail), i = k->consumed[slot];

	if (pp_tail_epoch(tail) == PP_TAIL_FREE)
		return 0;
	k->ring_now = slot;
	for (; i != end; i++) {
		struct pp_ring_entry *e = &ring[i & mask];
		uint64_t tag = pp_load_rlx(&e->tag); /* ordered by the index */
		int rc;

		if (tag > epoch)
			break;
		if ((uint16_t)(end - i) > PREFETCH)
			prefetch_entry(k, &ring[(uint16_t)(i + PREFETCH) & mask]);
		if (tag > durable) { /* else: settled before a restart, and its memory may be another's by now */
			rc = settle_entry(k, slot, epoch, pp_load_rlx(&e->ref), tag);
			if (rc) {
				k->consumed[slot] = i;
				return rc;
			}
		}
		k->consumed[slot] = (uint16_t)(i + 1);
	}
	return 0;
}

static int settle_all(struct pp_keeper *k, uint64_t epoch)
{
	unsigned high = slots_high(k);
	int rc;

	for (unsigned i = 0; i < high; i++) {
		rc = settle_ring(k, i, epoch);
		if (rc)
			return rc;
	}
	return 0;
}

/* The least tag of an entry that is to be settled; UINT64_MAX: none. */
static uint64_t least_tag(struct pp_keeper *k)
{
	uint64_t durable = pp_load_rlx(&k->region.globals->durable_epoch), least = UINT64_MAX; /* owner */
	uint32_t mask = k->region.fixed.ring_entries - 1;
	unsigned high = slots_high(k);

	for (unsigned slot = 0; slot < high; slot++) {
		uint64_t tail = pp_load_acq(&slot_of(k, slot)->tail), tag = 0;

		if (pp_tail_epoch(tail) == PP_TAIL_FREE)
			continue;
		for (uint16_t i = k->consumed[slot]; i != pp_tail_index(tail) && tag <= durable; i++)
			tag = pp_load_rlx(&pp_ring(&k->region, slot)[i & mask].tag); /* ordered by the index */
		if (tag > durable && tag < least)
			least = tag;
	}
	return least;
}

/* What our predecessor left is logged epoch by epoch: who follows the log gets each change at the position that its ticket names. */
static int settle_inherited(struct pp_keeper *k, uint64_t epoch)
{
	uint64_t tag;
	int rc = 0;

	while (!rc && (tag = least_tag(k)) < epoch) {
		rc = pp_wal_end_epoch(k->wal, tag - 1);
		if (!rc)
			rc = settle_all(k, tag);
	}
	return rc;
}

static void remember_flight(struct pp_keeper *k, uint64_t epoch)
{
	struct pp_flight *f = &k->flight[(k->flight_first + k->flight_count++) % PP_FLIGHT_EPOCHS];

	f->epoch = epoch;
	f->slots = slots_high(k);
	memcpy(f->index, k->consumed, f->slots * sizeof(*f->index));
}

static unsigned depth(const struct pp_keeper *k)
{
	return k->config.wal_depth ? k->config.wal_depth : 2;
}

/* ---- durable ---------------------------------------------------------------------------------------------------- */

static uint64_t wants(struct pp_keeper *k, unsigned slot)
{
	return pp_load_acq(&slot_of(k, slot)->credit_want);
}

static void grant(struct pp_keeper *k, unsigned slot, uint64_t quota)
{
	pp_store_rel(&slot_of(k, slot)->credit_granted, pp_load_acq(&k->charged[slot]) + quota);
}

/* Nothing would gather then. */
static bool disk_full(struct pp_keeper *k)
{
	return pp_load_acq(&((struct pp_engine *)k->region.engine)->wal_full);
}

/*
 * A slot that asks for more than there is: for a while the others get nothing new, so that prepared segments gather for it; then they do
 * for a while, and another has its turn. Without the first, small writes would starve a large one on a slow disk; without the
 * second, one that was stopped while it asked would starve everybody. True: save now.
 */
static bool save_for(struct pp_keeper *k, unsigned slot)
{
	uint64_t now = pp_now_ns();

	if (!k->saving || k->saving_for != slot) {
		if (k->saving && now - k->saving_since_ns < SAVE_NS + SPEND_NS)
			return now - k->saving_since_ns < SAVE_NS;
		k->saving = true;
		k->saving_for = k->first_served = slot;
		k->saving_since_ns = now;
	}
	if (now - k->saving_since_ns >= SAVE_NS + SPEND_NS) {
		k->saving = false;
		k->first_served = slot + 1;
	}
	return now - k->saving_since_ns < SAVE_NS;
}

/* Those that ask for more than the usual share, in turn, as far as the room goes; returns what is left of it. */
static uint64_t grant_wanted(struct pp_keeper *k, uint64_t room, uint64_t share)
{
	unsigned high = slots_high(k), first = k->first_served < high ? k->first_served : 0;

	for (unsigned n = 0; n < high; n++) {
		unsigned slot = first + n < high ? first + n : first + n - high;
		uint64_t want = wants(k, slot);

		if (want <= share)
			continue;
		if (want > room)
			return !disk_full(k) && save_for(k, slot) ? 0 : room;
		grant(k, slot, want);
		room -= want;
	}
	k->saving = false;
	return room;
}

static uint64_t share_of(uint64_t room, unsigned open)
{
	return room / 2 / open < CREDIT_SLOT ? room / 2 / open : CREDIT_SLOT;
}

/* For deletes: the last of the room, less what may be lost to padding before this is looked at again. What is published goes into the next
 * units together, but each slot may stand between its reservation and its publish, which then makes a unit of its own. */
static uint64_t reserve_of(struct pp_keeper *k, uint64_t room, unsigned open)
{
	uint64_t padding = (uint64_t)(open + depth(k) + 1) * PP_WAL_BLOCK;

	return room > padding ? share_of(room - padding, open) : 0;
}

/* What each open slot may have outstanding, so that all of it fits into prepared segments with one to spare. */
static void grant_all(struct pp_keeper *k)
{
	uint64_t room = pp_wal_room(k->wal), keep = pp_wal_segment_room(k->wal), usual, share;
	unsigned high = slots_high(k), open = 1;
	bool asked = false;

	for (unsigned i = 0; i < high; i++) {
		open += pp_tail_epoch(pp_load_acq(&slot_of(k, i)->tail)) != PP_TAIL_FREE;
		asked |= wants(k, i) != 0;
	}
	/* the one to spare is for deletes */
	pp_store_rlx(&((struct pp_engine *)k->region.engine)->wal_reserve, reserve_of(k, room < keep ? room : keep, open)); /* hint */
	room = room > keep ? room - keep : 0;
	share = usual = share_of(room, open);
	if (asked)
		share = share_of(grant_wanted(k, room, usual), open);
	for (unsigned i = 0; i < high; i++)
		if (!asked || wants(k, i) <= usual) /* else granted above, or waiting for its turn */
			grant(k, i, share);
}

static void advance_heads(struct pp_keeper *k, uint64_t epoch)
{
	while (k->flight_count && k->flight[k->flight_first].epoch <= epoch) {
		struct pp_flight *f = &k->flight[k->flight_first];

		for (unsigned i = 0; i < f->slots; i++)
			pp_store_rel(&slot_of(k, i)->head, f->index[i]);
		k->flight_first = (k->flight_first + 1) % PP_FLIGHT_EPOCHS;
		k->flight_count--;
	}
}

static void store_record(struct pp_globals *g, const struct pp_wal_pos *pos)
{
	uint64_t version = pp_load_rlx(&g->durable_record_version) + 1; /* owner */

	pp_store_rlx(&g->durable_record[version & 1].unit, pos->unit); /* counted by the version below */
	pp_store_rlx(&g->durable_record[version & 1].chain, pos->chain);
	pp_store_rlx(&g->durable_record[version & 1].epoch, pos->epoch);
	pp_store_rel(&g->durable_record_version, version);
}

void pp_settle_durable(struct pp_keeper *k, const struct pp_wal_pos *pos)
{
	struct pp_globals *g = k->region.globals;
	uint64_t before = pp_load_rlx(&g->durable_epoch); /* owner */

	if (pos->epoch <= before)
		return;
	store_record(g, pos);
	PP_FAULT_POINT("settle.recorded");
	pp_times_durable(k->region.engine, before, pos->epoch);
	/* [settle.durable:epoch] pairs [wait.durable:epoch]: the record, and with it the log */
	pp_store_rel(&g->durable_epoch, pos->epoch);
	pp_store_seq(&g->durable_futex, (uint32_t)pos->epoch);
	advance_heads(k, pos->epoch);
	PP_FAULT_POINT("settle.advanced");
	pp_wake_durable(&k->region, before, pos->epoch);
}

/* ---- the loop --------------------------------------------------------------------------------------------------- */

static bool anything_new(struct pp_keeper *k)
{
	unsigned high = slots_high(k);

	for (unsigned i = 0; i < high; i++) {
		uint64_t tail = pp_load_acq(&slot_of(k, i)->tail);

		if (pp_tail_epoch(tail) != PP_TAIL_FREE && pp_tail_index(tail) != k->consumed[i])
			return true;
	}
	return pp_load_acq(&k->want_epoch) >= pp_load_rlx(&k->region.globals->open_epoch) ||
	       pp_load_acq(&k->region.globals->snapshot_request);
}

static int log_failed(struct pp_keeper *k, int rc)
{
	k->log_error = rc;
	pp_store_seq(&k->region.globals->failed, rc);
	pp_wake_all(&k->region);
	return rc;
}

static int reap_log(struct pp_keeper *k, int64_t wait_ns)
{
	struct pp_wal_pos pos = {0, 0, 0};
	int rc = pp_wal_poll(k->wal, wait_ns, &pos);

	pp_settle_durable(k, &pos);
	return rc < 0 ? log_failed(k, rc) : 0;
}

/* Closes (unless an earlier epoch waits for log space), settles and logs. */
static int commit_round(struct pp_keeper *k)
{
	struct pp_globals *g = k->region.globals;
	uint64_t open = pp_load_rlx(&g->open_epoch), e; /* owner */
	int rc;

	e = k->last_logged + 1 < open ? open - 1 : close_epoch(k);
	PPDB_PROBE(settle_begin, e);
	pp_store_rel(&g->snapshot_request, 0);
	pp_read_enter(&k->stepper);
	rc = k->inherited ? settle_inherited(k, e) : 0;
	if (!rc)
		rc = settle_all(k, e);
	pp_read_leave(&k->stepper);
	if (rc == -ENOSPC) {
		pp_store_rel(&((struct pp_engine *)k->region.engine)->wal_full, 1);
		return 0; /* nothing is lost: the rings hold it until there is space */
	}
	if (rc)
		return log_failed(k, rc);
	k->inherited = false;
	pp_store_rel(&g->settled_epoch, e);
	PP_FAULT_POINT("settle.settled");
	remember_flight(k, e);
	k->last_logged = e;
	if (PP_FAULT_ERROR("settle.acknowledge.early")) /* a store that lies, for `make power` to find out */
		pp_settle_durable(k, &(struct pp_wal_pos){.epoch = e});
	PPDB_PROBE(settle_end, e, k->round_records, k->round_bytes);
	pp_times_committed(k->region.engine, e, k->round_records, k->round_bytes);
	k->round_records = k->round_bytes = 0;
	rc = pp_wal_end_epoch(k->wal, e);
	if (!rc)
		rc = pp_wal_submit(k->wal);
	return rc ? log_failed(k, rc) : 1;
}

/* Each 100 ms, busy or idle. */
static void publish_stats(struct pp_keeper *k, uint64_t now)
{
	struct pp_engine *e = k->region.engine;
	struct pp_wal_stats s;

	if (now - k->stats_ns < STATS_NS)
		return;
	k->stats_ns = now;
	pp_wal_stat(k->wal, &s);
	pp_store_rlx(&e->wal_segments, s.segments); /* stat */
	pp_store_rlx(&e->wal_bytes, s.bytes);
	pp_store_rlx(&e->wal_units, s.units);
	pp_store_rlx(&e->wal_records, s.records);
	pp_store_rlx(&e->wal_epochs, s.epochs);
	pp_store_rlx(&e->wal_stalls, s.stalls);
	pp_store_rlx(&e->wal_free_bytes, s.free_bytes);
	pp_store_rlx(&e->wal_write_p50_ns, s.latency_p50_ns);
	pp_store_rlx(&e->wal_write_p99_ns, s.latency_p99_ns);
	pp_store_rlx(&e->wal_disk_bytes, s.segments * s.segment_bytes);
	pp_store_rlx(&e->checkpoint_due, pp_keeper_checkpoint_bytes(k));
	pp_store_rlx(&e->checkpoint_behind, pp_load_rlx(&k->logged_bytes) - pp_load_rlx(&k->ckpt_bytes_at)); /* stat */
	memcpy(e->wal_backend, s.backend, strnlen(s.backend, sizeof(e->wal_backend) - 1) + 1);
}

static int idle(struct pp_keeper *k)
{
	uint64_t now = pp_now_ns();

	if (!k->idle_since_ns)
		k->idle_since_ns = now;
	if (now - k->idle_since_ns < MARKER_IDLE_NS)
		return 0;
	return pp_wal_idle(k->wal) > 0;
}

/* Event loops hear of it last: the disk has its next write by now. */
static void tell(struct pp_keeper *k)
{
	uint64_t durable = pp_load_rlx(&k->region.globals->durable_epoch); /* owner */

	if (!k->config.durable || (durable == k->told_epoch && !k->log_error))
		return;
	k->told_epoch = durable;
	k->config.durable(k->config.ctx, durable, k->log_error);
}

static int step(struct pp_keeper *k)
{
	struct pp_globals *g = k->region.globals;
	uint64_t now;
	bool room;
	int rc;

	if (k->log_error)
		return k->log_error;
	now = pp_now_ns();
	pp_store_rlx(&k->region.header->heartbeat_ns, now); /* hint */
	publish_stats(k, now);
	rc = reap_log(k, 0);
	if (rc)
		return rc;
	grant_all(k);
	room = pp_wal_inflight(k->wal) < depth(k) && k->flight_count < PP_FLIGHT_EPOCHS;
	if (room && (anything_new(k) || k->last_logged + 1 < pp_load_rlx(&g->open_epoch))) {
		k->idle_since_ns = 0;
		return commit_round(k);
	}
	if (pp_wal_inflight(k->wal) || pp_wal_pending(k->wal)) {
		k->idle_since_ns = 0;
		rc = pp_wal_submit(k->wal);
		return rc ? log_failed(k, rc) : 0;
	}
	return idle(k);
}

int pp_keeper_step(struct pp_keeper *k)
{
	int rc = step(k);

	tell(k);
	return rc;
}

static bool has_work(void *context)
{
	struct pp_keeper *k = context;

	return anything_new(k) || pp_load_acq(&k->stopping);
}

void pp_keeper_sleep(struct pp_keeper *k, uint64_t timeout_ns)
{
	if (!k->log_error && pp_wal_inflight(k->wal)) { /* the disk is the next to say something */
		reap_log(k, timeout_ns < 1000000 ? (int64_t)timeout_ns : 1000000);
		return;
	}
	pp_bell_sleep(&k->region, has_work, k, timeout_ns);
}

int pp_settle_start(struct pp_keeper *k, uint64_t durable_epoch)
{
	const struct pp_header *h = &k->region.fixed;
	unsigned slots = h->slots;

	k->consumed = calloc(slots, sizeof(*k->consumed));
	k->charged = calloc(slots, sizeof(*k->charged));
	if (!k->consumed || !k->charged)
		return -ENOMEM;
	for (unsigned i = 0; i < PP_FLIGHT_EPOCHS; i++) {
		k->flight[i].index = calloc(slots, sizeof(uint16_t));
		if (!k->flight[i].index)
			return -ENOMEM;
	}
	for (unsigned i = 0; i < slots_high(k); i++) {
		k->consumed[i] = (uint16_t)pp_load_acq(&slot_of(k, i)->head);
		pp_store_rel(&k->charged[i], pp_load_acq(&slot_of(k, i)->credit_used));
	}
	k->last_logged = pp_load_acq(&k->region.globals->open_epoch) - 1;
	k->inherited = true;
	pp_store_rel(&k->region.globals->durable_epoch, durable_epoch);
	pp_store_rel(&k->region.globals->durable_futex, (uint32_t)durable_epoch);
	return 0;
}

void pp_settle_stop(struct pp_keeper *k)
{
	for (unsigned i = 0; i < PP_FLIGHT_EPOCHS; i++)
		free(k->flight[i].index);
	free(k->consumed);
	free(k->charged);
}
