/*
 * ring.c - the producer's half of the log ring.
 *
 * Publish and commit (design 5.3, 5.4; tests/model/epoch_cut.pml). An entry {version, tag} is written, then one CAS on the ring's tail
 * {epoch, index} -> {max(epoch, E), index + 1} makes it count, where E is the open epoch read *after* everything the write depended
 * on. The daemon closes a ring by raising the tail's epoch, so a publish that raced with it fails its CAS, takes a newer E and a
 * newer tag. Then the state goes PENDING -> COMMITTED(slot, tag): the linearization point. Whoever commits first (owner, helper, or the
 * daemon when it settles) decides which entry is the logged one.
 *
 * Room (tests/model/ring.pml). An operation reserves one entry and leaves SPARE more; helping takes of those as long as OWN remains, so the
 * operation's own entry always finds room, whatever it met on the way.
 *
 * Ordering. [ring.publish:tail] pairs [settle.close:tail]: the entry before the index that counts it.
 * [ring.commit:state] pairs [version.visible:state]: value and links before COMMITTED.
 * The CAS on the tail is seq_cst: it stands before the look at the doorbell (shm/wait.h).
 *
 * Dies inside: before the tail CAS nothing was published, the reaper aborts the version; after it the daemon commits when it settles.
 */
#include "engine/ring.h"

#include "engine/version.h"
#include "engine/record.h"
#include "shm/clock.h"
#include "shm/fault.h"
#include "shm/probe.h"
#include "shm/wait.h"

#define SPARE 2                        /* entries kept for helping others */
#define OWN 1                          /* entry that a helper keeps for the operation it came from */
#define POLL_NS UINT64_C(5000000)
#define FULL_NS UINT64_C(50000000)     /* without credit that long, all own entries durable, on a full disk: there is none to come */

uint64_t pp_record_bytes(struct pp_thread *t, pp_ref version)
{
	const struct pp_version *v = pp_version_at(t, version);
	const struct pp_cell *c = pp_cell_at(t, pp_version_cell(t, version));

	return pp_record_size(c->key_size, v->size);
}

static uint16_t used_entries(struct pp_slot *s)
{
	return (uint16_t)(pp_tail_index(pp_load_acq(&s->tail)) - (uint16_t)pp_load_acq(&s->head));
}

int pp_arena_barred(void)
{
	return pp_detail(-ESTALE, "a restart of ppdbd gives the store another arena; the write was not done");
}

int pp_ring_full(void)
{
	return pp_detail(PPDB_OVERLOAD, "the log ring is full: writes come faster than the disk takes them");
}

static bool has_room(struct pp_thread *t, uint64_t bytes, unsigned spare)
{
	const struct pp_engine *e = t->region->engine;
	struct pp_slot *s = t->slot;
	uint64_t reserve = t->reserve ? pp_load_rlx(&e->wal_reserve) : 0; /* hint: the log itself refuses what does not fit */

	return used_entries(s) + spare < t->region->fixed.ring_entries &&
	       pp_load_rlx(&s->credit_used) + bytes <= pp_load_acq(&s->credit_granted) + reserve;
}

/* A full disk alone is no reason to give up: prepared segments may have room, and credit for it comes as own writes become durable. */
static bool no_credit_to_come(struct pp_thread *t, uint64_t *since_ns)
{
	const struct pp_engine *e = t->region->engine;
	uint64_t now = pp_now_ns();

	if (!pp_load_acq(&e->wal_full) || used_entries(t->slot))
		*since_ns = 0;
	else if (!*since_ns)
		*since_ns = now;
	return *since_ns && now - *since_ns >= FULL_NS;
}

static int wait_room(struct pp_thread *t, uint64_t bytes, uint64_t timeout_ns)
{
	struct pp_globals *g = t->region->globals;
	uint64_t start = pp_now_ns(), full_since = 0, durable;
	int rc;

	pp_store_rel(&t->slot->credit_want, bytes);
	pp_count(&t->slot->count.overloads, 1);
	for (;;) {
		durable = pp_load_acq(&g->durable_epoch);
		if (has_room(t, bytes, SPARE))
			return 0;
		if (pp_load_acq(&g->barred))
			return pp_arena_barred();
		if (pp_load_acq(&g->failed))
			return pp_detail((int)pp_load_acq(&g->failed),
					 "the log could not be written; the store is read-only until ppdbd is restarted");
		if (no_credit_to_come(t, &full_since))
			return pp_detail(-ENOSPC, "no disk space for the log; free space in the data directory and retry");
		if (pp_now_ns() - start >= timeout_ns)
			return pp_ring_full();
		pp_ring_bell(t->region);
		rc = pp_wait_durable(t, durable + 1, POLL_NS);
		if (rc == PPDB_DAEMON_GONE && !has_room(t, bytes, SPARE))
			return pp_detail(rc, "ppdbd is not running and the log ring is full; start it with 'ppdb start'");
	}
}

bool pp_ring_reserve_help(struct pp_thread *t, uint64_t bytes)
{
	return has_room(t, t->promised + bytes, OWN);
}

int pp_ring_reserve(struct pp_thread *t, uint64_t bytes, uint64_t timeout_ns)
{
	uint64_t start;
	int rc;

	t->promised = bytes;
	if (__builtin_expect(has_room(t, bytes, SPARE), 1))
		return 0;
	PPDB_PROBE(overload_begin, bytes);
	start = PP_COUNTING ? pp_now_ns() : 0;
	rc = wait_room(t, bytes, timeout_ns);
	pp_store_rel(&t->slot->credit_want, 0);
	pp_count(&t->slot->count.overload_ns, pp_now_ns() - start);
	PPDB_PROBE(overload_end, bytes, rc);
	return rc;
}

static uint64_t commit(struct pp_thread *t, pp_a64 *state, uint64_t undecided, uint64_t tag)
{
	uint64_t expected = undecided;

	/* [ring.commit:state] pairs [version.visible:state], [batch.outcome:state]: the version is complete, or all of a batch are */
	if (pp_cas_acqrel(state, &expected, PP_STATE(PP_COMMITTED, t->index, tag)))
		return tag;
	return pp_state_status(expected) == PP_COMMITTED ? pp_state_epoch(expected) : 0;
}

/* An entry for what `ref` names, which `state` decides. */
static uint64_t publish(struct pp_thread *t, uint64_t ref, pp_a64 *state, uint64_t undecided)
{
	struct pp_slot *s = t->slot;
	struct pp_ring_entry *ring = pp_ring(t->region, t->index);
	uint32_t mask = t->region->fixed.ring_entries - 1;
	uint64_t tail = pp_load_acq(&s->tail), epoch, tag;

	PPDB_PROBE(publish_begin, ref);
	do {
		struct pp_ring_entry *e = &ring[pp_tail_index(tail) & mask];

		if (__builtin_expect(pp_tail_epoch(tail) == PP_TAIL_BARRED, 0))
			return 0; /* [ring.publish:barred] pairs [succeed.bar:tail]: it was barred for good */
		PP_FAULT_POINT("ring.publish.tail");
		epoch = pp_load_acq(&t->region->globals->open_epoch);
		tag = epoch > pp_tail_epoch(tail) ? epoch : pp_tail_epoch(tail);
		pp_store_rlx(&e->ref, ref); /* counted by the CAS below */
		pp_store_rlx(&e->tag, tag);
		PP_FAULT_POINT("ring.publish.filled");
		/* [ring.publish:tail] pairs [settle.close:tail]: the entry */
	} while (!pp_cas_seq(&s->tail, &tail, PP_TAIL(tag, pp_tail_index(tail) + 1)));
	PP_FAULT_POINT("ring.publish.published");
	tag = commit(t, state, undecided, tag);
	PP_FAULT_POINT("ring.publish.committed");
	PPDB_PROBE(publish_end, ref, tag);
	pp_ring_bell(t->region);
	return tag;
}

uint64_t pp_ring_publish(struct pp_thread *t, pp_ref version)
{
	pp_ring_charge(t, pp_record_bytes(t, version));
	return publish(t, version, &pp_version_at(t, version)->state, PP_STATE(PP_PENDING, 0, 0));
}

uint64_t pp_ring_publish_batch(struct pp_thread *t, pp_ref batch)
{
	struct pp_batch *b = pp_batch_at(t, batch);

	return publish(t, batch | PP_ENTRY_BATCH, &b->state, PP_BATCH_READY);
}

void pp_ring_charge(struct pp_thread *t, uint64_t bytes)
{
	pp_stat_add(&t->slot->credit_used, bytes);
}

void pp_ring_uncharge(struct pp_thread *t, uint64_t bytes)
{
	pp_stat_add(&t->slot->credit_used, -bytes);
}
