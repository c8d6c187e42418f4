/*
 * write.c - single-key writes: put, delete, compare-and-set, add.
 *
 * Protocol (design 5): reserve a place in the own log ring; install the version, undecided, on top of the key (engine/install.c); publish it
 * in the ring; commit. A write that fails installed nothing.
 *
 * `sync = mutex` takes the key's stripe first and then runs the same path: contention is queued, nothing depends on the lock.
 *
 * Dies inside: as in engine/install.c.
 */
#include "engine/index.h"
#include "engine/install.h"
#include "engine/read.h"
#include "engine/record.h"
#include "engine/ring.h"
#include "engine/shards.h"
#include "engine/stat.h"
#include "shm/backoff.h"
#include "shm/clock.h"
#include "shm/fault.h"
#include "shm/probe.h"
#include "shm/slot.h"
#include "shm/sync.h"
#include "shm/wait.h"

#define DEFAULT_TIMEOUT_NS UINT64_C(1000000000)
#define TOUCH_ROOM 1024

int pp_write_sizes(const struct pp_write *w)
{
	if (w->key.size < 1 || w->key.size > PP_KEY_MAX)
		return pp_detail(PPDB_KEYSIZE, "a key of %u bytes: keys have 1 to %d bytes", w->key.size, PP_KEY_MAX);
	if (w->size > PP_VALUE_MAX)
		return pp_detail(PPDB_VALSIZE, "a value of %llu bytes: values have at most 64 MiB", (unsigned long long)w->size);
	return 0;
}

/* Of a write that is timed: the part that ends here. */
static void end_phase(struct pp_install *a, enum pp_phase phase)
{
	uint64_t now;

	if (__builtin_expect(!a->timed, 1))
		return;
	now = pp_now_ns();
	pp_phase_record(a->t, phase, now - a->timed);
	a->timed = now;
}

/* What is left to do when the version hangs on its cell. */
static int finish(struct pp_install *a)
{
	struct pp_thread *t = a->t;
	uint64_t seq = pp_version_seq(pp_version_at(t, a->version));

	PP_FAULT_POINT("write.installed");
	end_phase(a, PP_PHASE_INSTALL);
	a->w->tag = pp_ring_publish(t, a->version);
	end_phase(a, PP_PHASE_PUBLISH);
	a->w->version = seq;
	pp_install_done(t);
	pp_notes_clear(t);
	if (!a->w->tag && pp_load_acq(&t->region->globals->barred))
		return pp_arena_barred();
	if (!a->w->tag)
		return pp_detail(PPDB_EVICTED, "this process was taken for dead and its write was undone; attach again");
	pp_install_count(t, a->w);
	pp_install_tidy(t, a->cell, seq);
	return 0;
}

/* ---- the whole write -------------------------------------------------------------------------------------------- */

static int write_reserved(struct pp_install *a)
{
	struct pp_backoff backoff;
	int rc;

	pp_backoff_init(&backoff, a->t);
	if (__builtin_expect(a->timed != 0, 0))
		a->timed = pp_now_ns(); /* there is room in the ring now */
	pp_read_enter(a->t);
	while ((rc = pp_install(a)) == -EAGAIN)
		pp_backoff_wait(&backoff, a->t);
	if (!rc)
		rc = finish(a);
	pp_install_end(a);
	pp_read_leave(a->t);
	return rc;
}

static int write_locked(struct pp_install *a)
{
	unsigned stripe = pp_stripe_of(a->t->region, a->hash);
	bool locked = pp_stripe_lock(a->t, stripe);
	int rc = write_reserved(a);

	if (locked)
		pp_stripe_unlock(a->t, stripe);
	return rc;
}

static int delete(struct pp_install *a, uint64_t bytes, uint64_t timeout_ns)
{
	struct pp_thread *t = a->t;
	uint64_t deadline = pp_deadline_ns(timeout_ns);
	bool reserve = t->reserve;
	int rc;

	t->reserve = true;
	do {
		rc = pp_ring_reserve(t, bytes, timeout_ns);
		if (!rc)
			rc = write_locked(a);
	} while (rc == PPDB_FULL && pp_await_memory(t, deadline));
	t->reserve = reserve;
	return rc;
}

/* How long the value is is known only when it is met: reserved is what the last look said, at first what most values need. */
static int touch(struct pp_install *a, uint64_t timeout_ns)
{
	struct pp_write *w = a->w;
	int rc;

	w->room = TOUCH_ROOM;
	do {
		rc = pp_ring_reserve(a->t, pp_record_size(w->key.size, w->room), timeout_ns);
		if (!rc)
			rc = write_locked(a);
		if (rc == -ENOBUFS)
			w->room = w->size;
	} while (rc == -ENOBUFS);
	return rc;
}

static enum pp_op op_of(uint32_t flags)
{
	if (flags & PP_W_DELETE)
		return PP_OP_DEL;
	if (flags & PP_W_CAS)
		return PP_OP_CAS;
	return flags & PP_W_ADD ? PP_OP_ADD : PP_OP_PUT;
}

static int write_key(struct pp_install *a)
{
	struct pp_write *w = a->w;
	uint64_t room = w->flags & PP_W_ADD ? sizeof(a->number) : w->size;
	uint64_t timeout_ns = w->timeout_ns ? w->timeout_ns : DEFAULT_TIMEOUT_NS;
	int rc;

	if (w->flags & PP_W_TOUCH)
		return touch(a, timeout_ns);
	if (w->flags & PP_W_DELETE)
		return delete(a, pp_record_size(w->key.size, room), timeout_ns);
	rc = pp_ring_reserve(a->t, pp_record_size(w->key.size, room), timeout_ns);
	return rc ? rc : write_locked(a);
}

int pp_write(struct pp_thread *t, struct pp_write *w)
{
	struct pp_install a;
	enum pp_op op = op_of(w->flags);
	uint64_t start;
	unsigned node;
	int rc = pp_write_sizes(w);

	if (rc)
		return rc;
	if (t->readonly)
		return pp_detail(PPDB_READONLY, "this handle is attached read-only; attach without PPDB_RDONLY to write");
	PPDB_PROBE(put_begin, op, w->key.table, w->key.data, w->key.size, w->size);
	start = pp_op_begin(t, op);
	pp_install_init(&a, t, w);
	a.timed = start;
	node = pp_shard_prefer(t, pp_list_of(t, a.hash), &a.key.key);
	rc = write_key(&a);
	rc = rc ? pp_damage_result(t, rc) : 0; /* what is done is done: damage met afterwards is the next operation's */
	t->damage = 0;
	pp_thread_prefer(t, node);
	pp_op_end_key(t, op, start, &w->key, a.hash);
	PPDB_PROBE(put_end, op, rc, w->tag);
	return rc;
}
