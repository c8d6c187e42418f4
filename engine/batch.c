/*
 * batch.c - many writes that become visible by one CAS.
 *
 * A batch is a descriptor (struct pp_batch) with one state word, INSTALLING -> READY -> COMMITTED(slot, tag), or ABORTED. The words of its
 * versions refer to it, so one CAS decides all of them (Harris, Fraser, Pratt 2002: restricted to what a key-value store needs). Protocol
 * (tests/model/batch.pml):
 *   1. In key order, each version is listed in the descriptor and put on its key as a single write's would be (engine/install.c), its
 *      condition judged on a decided head. A key that is only required gets a guard: nobody can write it without deciding the
 *      batch first, so what was judged still holds at the commit; without guards two batches that each require what the other writes
 *      both commit. A guard ends ABORTED, so nobody else need know of it.
 *   2. READY, once all stand. Then the batch is published and committed as one entry, by whoever meets it.
 *   3. The daemon logs all its versions one after the other with one tag, so an epoch's end makes them durable together; turns their
 *      words into COMMITTED (guards: ABORTED); retires the descriptor (engine/settle.c).
 *
 * In the way of others. Who meets READY helps. Who meets INSTALLING watches the owner's beat: it waits while that goes on, at most PATIENT_NS
 * (URGENT_NS when the batch was aborted before), and aborts a batch whose owner stood still for STILL_NS. So a stopped owner holds nobody up, and one that runs
 * gets through: keys are taken in order, so batches that wait for each other form no circle, and who waits beats as well.
 * The owner of an aborted batch begins anew with another descriptor. An aborted version stays where it is, is passed over by readers, and goes
 * when the next stands on top: an old head never comes back.
 *
 * A word that refers to a descriptor is turned before the descriptor is retired, and is loaded under the reader's interval; so what it refers to
 * is there as long as the reader looks.
 *
 * Log space. The owner charges all of it to its own slot before READY; an entry for a batch costs its publisher a place in the ring and
 * nothing else, so that everybody can help with a batch of any size.
 *
 * Dies inside: the slot's op_version names the batch. The reaper aborts it unless it is committed, and undoes it.
 */
#include "engine/batch.h"

#include "engine/index.h"
#include "engine/install.h"
#include "engine/read.h"
#include "engine/record.h"
#include "engine/ring.h"
#include "engine/stat.h"
#include "shm/backoff.h"
#include "shm/clock.h"
#include "shm/fault.h"
#include "shm/probe.h"
#include "shm/slot.h"
#include "shm/sync.h"

#include <sched.h>
#include <stdlib.h>

#define STILL_NS UINT64_C(200000)
#define PATIENT_NS UINT64_C(20000000)
#define URGENT_STILL_NS UINT64_C(20000000)
#define URGENT_NS UINT64_C(1000000000)
#define TIMEOUT_NS UINT64_C(1000000000)
#define TRIES_MIN 16                   /* whatever the time: one that was stopped begins anew when it goes on */
#define BYTES_PER_NS 32                /* of time-out by default: 32 MiB/s, a slow disk that makes room in the log */
#define RECORD_OVERHEAD 16             /* of the log, beyond pp_record_size */

/* ---- meeting one ------------------------------------------------------------------------------------------------ */

uint64_t pp_batch_outcome(struct pp_thread *t, struct pp_version *v)
{
	uint64_t word = pp_protect(t, &v->state), state;

	if (pp_state_status(word) != PP_BATCH)
		return word; /* turned since */
	PP_FAULT_POINT("batch.outcome.word");
	/* [batch.outcome:state] pairs [ring.commit:state]: all versions of the batch */
	state = pp_load_acq(&pp_batch_at(t, pp_state_batch(word))->state);
	if (pp_state_status(state) == PP_COMMITTED && pp_version_flags(v) & PP_V_GUARD)
		return PP_STATE(PP_ABORTED, 0, 0);
	return pp_state_status(state) == PP_BATCH ? PP_STATE(PP_PENDING, 0, 0) /* damage */ : state;
}

static void beat(struct pp_batch *b)
{
	if (b)
		pp_stat_add(&b->beat, 1);
}

/* Waits while the batch gets on. True: it is INSTALLING no more. */
static bool give_time(struct pp_batch *b, struct pp_batch *mine)
{
	uint64_t start = pp_now_ns(), since = start, now = start, seen = pp_load_acq(&b->beat);
	bool urgent = b->urgent;

	while (now - since < (urgent ? URGENT_STILL_NS : STILL_NS) && now - start < (urgent ? URGENT_NS : PATIENT_NS)) {
		uint64_t beats;

		PP_FAULT_POINT("batch.pass.waiting");
		if (pp_load_acq(&b->state) != PP_BATCH_INSTALLING)
			return true;
		beat(mine);
		sched_yield();
		now = pp_now_ns();
		beats = pp_load_acq(&b->beat);
		if (beats != seen)
			since = now;
		seen = beats;
	}
	return false;
}

static int help(struct pp_thread *t, pp_ref batch)
{
	if (!pp_ring_reserve_help(t, 0))
		return pp_ring_full();
	pp_count(&t->slot->count.helps, 1);
	PPDB_PROBE(help, batch, t->index);
	PP_FAULT_POINT("batch.help.reserved");
	if (!pp_ring_publish_batch(t, batch) && pp_load_acq(&t->region->globals->barred))
		return pp_arena_barred();
	return 0;
}

int pp_batch_pass(struct pp_thread *t, struct pp_version *v, struct pp_batch *mine)
{
	uint64_t word = pp_protect(t, &v->state), state;
	struct pp_batch *b;

	if (pp_state_status(word) != PP_BATCH)
		return 0;
	b = pp_batch_at(t, pp_state_batch(word));
	state = pp_load_acq(&b->state);
	if (pp_damage(t))
		return pp_damage_report(t);
	if (state == PP_BATCH_READY)
		return help(t, pp_state_batch(word));
	if (state != PP_BATCH_INSTALLING || give_time(b, mine))
		return 0;
	if (pp_cas_acqrel(&b->state, &state, PP_STATE(PP_ABORTED, 0, 0))) {
		pp_count(&t->slot->count.aborts, 1);
		PPDB_PROBE(abort, pp_state_batch(word), t->index);
	}
	return 0;
}

/* ---- undoing one ------------------------------------------------------------------------------------------------ */

void pp_batch_undo(struct pp_thread *t, pp_ref batch, uint64_t gen)
{
	struct pp_batch *b = pp_batch_at(t, batch);
	uint64_t count = pp_load_acq(&b->count);

	for (uint64_t i = 0; i < count && i < b->room && !pp_damage(t); i++) {
		/* [batch.undo:version] pairs [batch.list:version]: listed before it could be found */
		pp_ref ref = pp_load_acq(&b->version[i]);
		uint64_t expected = PP_STATE_BATCH(batch);

		if (ref)
			pp_cas_acqrel(&pp_version_at(t, ref)->state, &expected, PP_STATE(PP_ABORTED, 0, 0));
	}
	PP_FAULT_POINT("batch.undo.turned");
	pp_retire(t, batch, gen);
}

void pp_batch_reap(struct pp_thread *t, pp_ref batch, uint64_t gen)
{
	struct pp_batch *b = pp_batch_at(t, batch);
	uint64_t state = pp_load_acq(&b->state);

	while (pp_state_status(state) == PP_PENDING && !pp_damage(t))
		if (pp_cas_acqrel(&b->state, &state, PP_STATE(PP_ABORTED, 0, 0))) {
			pp_count(&t->slot->count.aborts, 1);
			PPDB_PROBE(abort, batch, t->index);
			state = PP_STATE(PP_ABORTED, 0, 0);
		}
	PP_FAULT_POINT("reap.batch.aborted");
	if (pp_state_status(state) == PP_ABORTED)
		pp_batch_undo(t, batch, gen);
}

/* ---- making one ------------------------------------------------------------------------------------------------- */

/* One try of a batch. */
struct try {
	struct pp_thread *t;
	struct pp_batch_write *w;
	struct pp_batch *b;
	pp_ref ref;
	uint64_t gen, bytes;
	bool urgent;
};

static int begin(struct try *y)
{
	struct pp_thread *t = y->t;
	int rc = pp_alloc(t, sizeof(struct pp_batch) + y->w->count * sizeof(pp_a64), PP_KIND_OTHER, &y->ref);
	struct pp_batch *b;

	if (rc)
		return rc;
	b = y->b = pp_at(t->region, y->ref);
	y->gen = pp_gen_of(t->region, y->ref);
	pp_store_rlx(&b->state, PP_BATCH_INSTALLING); /* all of it is published with the first version */
	pp_store_rlx(&b->beat, 0);
	pp_store_rlx(&b->count, 0);
	b->room = y->w->count;
	b->bytes = y->bytes;
	b->owner = pp_load_acq(&t->slot->owner);
	b->slot = t->index;
	b->urgent = y->urgent;
	/* [install.op:version] pairs [reap.settle:version]: before it can be found */
	pp_store_rel(&t->slot->op_block, PP_LINK(y->ref, y->gen));
	pp_store_rel(&t->slot->op_version, y->ref | PP_ENTRY_BATCH);
	PP_FAULT_POINT("batch.begun");
	pp_alloc_live(t, y->ref, y->gen);
	return 0;
}

static bool aborted(const struct try *y)
{
	return pp_load_acq(&y->b->state) != PP_BATCH_INSTALLING;
}

/* A delete of a key that is missing: all there is to do is to keep it missing until the batch is decided. */
static void keep_missing(struct pp_write *w)
{
	w->flags = (w->flags & ~(uint32_t)PP_W_DELETE) | PP_W_GUARD | PP_W_CAS;
	w->expect = 0;
}

static int install_one(struct try *y, size_t i)
{
	struct pp_write w = y->w->writes[i];
	bool missing = false, del = w.flags & PP_W_DELETE && !(w.flags & PP_W_CAS);
	struct pp_install a;
	struct pp_backoff backoff;
	int rc;

	pp_install_init(&a, y->t, &w);
	a.batch = y->b;
	a.batch_ref = y->ref;
	a.listed = i;
	pp_backoff_init(&backoff, y->t);
	do {
		if (aborted(y)) {
			rc = -EAGAIN;
			break;
		}
		beat(y->b);
		rc = pp_install(&a);
		if (del && !missing && rc == PPDB_NOTFOUND) {
			keep_missing(&w);
			missing = true;
			rc = -EAGAIN;
		} else if (del && missing && rc == PPDB_CONFLICT) { /* it came meanwhile */
			w = y->w->writes[i];
			missing = false;
			rc = -EAGAIN;
		}
		if (rc == -EAGAIN)
			pp_backoff_wait(&backoff, y->t);
	} while (rc == -EAGAIN);
	pp_install_end(&a);
	y->w->writes[i].tag = w.tag;
	y->w->writes[i].more_bytes = w.more_bytes;
	y->w->writes[i].more_keys = w.more_keys;
	y->w->writes[i].version = rc ? w.version : pp_version_seq(pp_version_at(y->t, a.version));
	if (w.tag > y->w->tag)
		y->w->tag = w.tag;
	return rc;
}

static int install_all(struct try *y)
{
	int rc = 0;

	for (size_t i = 0; i < y->w->count && !rc; i++) {
		struct pp_write *w = &y->w->writes[i];

		/* in key order: those of a table follow one another */
		w->before_bytes = i && w[-1].key.table == w->key.table ? w[-1].before_bytes + w[-1].more_bytes : 0;
		rc = install_one(y, i);
		pp_notes_clear(y->t);
		if (rc)
			y->w->failed = i;
	}
	return rc;
}

/* After the commit, as a single write does. */
static void tidy(struct try *y)
{
	for (size_t i = 0; i < y->w->count; i++) {
		pp_ref version = pp_load_rlx(&y->b->version[i]); /* owner */

		pp_install_count(y->t, &y->w->writes[i]);
		if (!(pp_version_flags(pp_version_at(y->t, version)) & PP_V_GUARD))
			pp_install_tidy(y->t, pp_version_cell(y->t, version), pp_version_seq(pp_version_at(y->t, version)));
	}
}

/* All stand: one CAS for READY, one for the commit. -EAGAIN: aborted. */
static int commit(struct try *y)
{
	struct pp_thread *t = y->t;
	uint64_t state = PP_BATCH_INSTALLING, tag;

	pp_ring_charge(t, y->bytes);
	PP_FAULT_POINT("batch.charged");
	if (!pp_cas_acqrel(&y->b->state, &state, PP_BATCH_READY)) {
		pp_ring_uncharge(t, y->bytes);
		return -EAGAIN;
	}
	PP_FAULT_POINT("batch.ready");
	tag = pp_ring_publish_batch(t, y->ref);
	if (!tag && pp_load_acq(&t->region->globals->barred))
		return pp_arena_barred();
	if (!tag)
		return pp_detail(PPDB_EVICTED, "this process was taken for dead and its batch was undone; attach again");
	y->w->tag = tag;
	return 0;
}

/* A fresh cell with nothing but an aborted version is in nobody's way, and the keeper's to take out. */
static void abort_own(struct try *y)
{
	uint64_t state = PP_BATCH_INSTALLING;

	pp_store_rlx(&pp_engine(y->t)->sweep_wanted, 1); /* hint */
	pp_cas_acqrel(&y->b->state, &state, PP_STATE(PP_ABORTED, 0, 0));
	if (pp_state_status(pp_load_acq(&y->b->state)) == PP_ABORTED)
		pp_batch_undo(y->t, y->ref, y->gen);
}

/*
 * A look at the conditions before anything is installed: what cannot be done is found out without a trace. What it finds was true at a moment
 * of the call, so it may be answered.
 */
static int foresee(struct try *y)
{
	for (size_t i = 0; i < y->w->count; i++) {
		struct pp_write w = y->w->writes[i];
		char number[PP_NUMBER_MAX];
		struct pp_base base;
		pp_ref cell;
		int rc;

		if (!(w.flags & (PP_W_CAS | PP_W_IFABSENT | PP_W_IFPRESENT)))
			continue;
		cell = pp_cell_find(y->t, pp_key_hash(&w.key), &w.key);
		pp_base_look(y->t, cell ? pp_cell_at(y->t, cell) : NULL, &base);
		if (pp_damage(y->t))
			return pp_damage_report(y->t);
		rc = pp_precond_judge(&w, &base, number);
		if (rc) {
			y->w->writes[i].version = w.version;
			y->w->tag = w.tag;
			y->w->failed = i;
			return rc;
		}
	}
	return 0;
}

static int try_once(struct try *y)
{
	int rc = foresee(y);

	if (!rc)
		rc = begin(y);
	if (rc)
		return rc;
	rc = install_all(y);
	if (!rc)
		rc = commit(y);
	if (rc && rc != PPDB_EVICTED) /* else the reaper did, and keeps nothing for us any more */
		abort_own(y);
	pp_install_done(y->t);
	PP_FAULT_POINT("batch.decided");
	if (!rc)
		tidy(y);
	return rc;
}

/* ---- the whole batch -------------------------------------------------------------------------------------------- */

static int order(const struct pp_write *a, const struct pp_write *b)
{
	if (a->key.table != b->key.table)
		return a->key.table < b->key.table ? -1 : 1;
	return pp_bytes_compare(a->key.data, a->key.size, b->key.data, b->key.size);
}

static int check_writes(struct pp_batch_write *w)
{
	if (w->count > PP_BATCH_MAX)
		return pp_detail(-E2BIG, "a batch of %zu writes: it may have %llu", w->count, (unsigned long long)PP_BATCH_MAX);
	for (size_t i = 0; i < w->count; i++) {
		const struct pp_write *one = &w->writes[i];
		int rc = pp_write_sizes(one);

		w->failed = i;
		if (rc)
			return rc;
		if (one->flags & (PP_W_ADD | PP_W_TOUCH) || (i && order(one - 1, one) >= 0))
			return pp_detail(-EINVAL, "the writes of a batch must be in rising order of keys, without additions and touches");
	}
	return 0;
}

static uint64_t log_bytes(const struct pp_batch_write *w)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < w->count; i++)
		if (!(w->writes[i].flags & PP_W_GUARD))
			bytes += pp_record_size(w->writes[i].key.size, w->writes[i].size) + RECORD_OVERHEAD;
	return bytes;
}

static bool only_deletes(const struct pp_batch_write *w)
{
	for (size_t i = 0; i < w->count; i++)
		if (!(w->writes[i].flags & (PP_W_DELETE | PP_W_GUARD)))
			return false;
	return true;
}

static int tries(struct try *y, uint64_t deadline)
{
	struct pp_backoff backoff;
	int rc;

	pp_backoff_init(&backoff, y->t);
	for (unsigned n = 1;; n++) {
		y->w->tag = 0;
		pp_read_enter(y->t);
		rc = try_once(y);
		pp_read_leave(y->t);
		if (rc != -EAGAIN)
			return rc;
		y->urgent = true;
		if (n >= TRIES_MIN && pp_now_ns() >= deadline)
			return pp_detail(PPDB_TIMEOUT, "other writers of the same keys kept coming between; try again, or with a longer time-out");
		pp_backoff_wait(&backoff, y->t);
	}
}

/* `sync = mutex`: the stripes of all keys first, in order. */
static int locked(struct try *y, uint64_t deadline)
{
	uint32_t *stripes;
	unsigned held;
	int rc;

	if (y->t->region->fixed.sync_mode != PP_SYNC_MUTEX)
		return tries(y, deadline);
	stripes = calloc(y->w->count + 1, sizeof(*stripes));
	if (!stripes)
		return -ENOMEM;
	for (size_t i = 0; i < y->w->count; i++)
		stripes[i] = pp_stripe_of(y->t->region, pp_key_hash(&y->w->writes[i].key));
	held = pp_stripes_lock(y->t, stripes, (unsigned)y->w->count);
	rc = tries(y, deadline);
	pp_stripes_unlock(y->t, stripes, held);
	free(stripes);
	return rc;
}

int pp_batch_write(struct pp_thread *t, struct pp_batch_write *w)
{
	struct try y = {.t = t, .w = w};
	uint64_t start, timeout_ns, deadline;
	bool reserve = t->reserve;
	int rc = check_writes(w);

	w->tag = 0;
	if (rc || !w->count)
		return rc;
	if (t->readonly)
		return pp_detail(PPDB_READONLY, "this handle is attached read-only; attach without PPDB_RDONLY to write");
	PPDB_PROBE(batch_begin, w->count);
	start = pp_op_begin(t, PP_OP_BATCH);
	y.bytes = log_bytes(w);
	timeout_ns = w->timeout_ns ? w->timeout_ns : TIMEOUT_NS + y.bytes * BYTES_PER_NS;
	t->reserve = reserve || only_deletes(w);
	deadline = pp_deadline_ns(timeout_ns);
	do {
		rc = pp_ring_reserve(t, y.bytes, timeout_ns);
		if (!rc)
			rc = locked(&y, deadline);
	} while (rc == PPDB_FULL && only_deletes(w) && pp_await_memory(t, deadline));
	t->reserve = reserve;
	rc = rc ? pp_damage_result(t, rc) : 0;
	t->damage = 0;
	pp_op_end(t, PP_OP_BATCH, start);
	PPDB_PROBE(batch_end, rc, w->tag);
	return rc;
}
