/*
 * write.c - single-key writes: put, delete, compare-and-set, add.
 *
 * Protocol (design 5): reserve a place in the own log ring; install a PENDING version on top of the chain by one CAS of the cell's
 * head (that CAS orders the writes of a key), or link a fresh cell that holds its first version already; publish it in the ring; commit.
 * A head that is PENDING and not ours is looked at a few dozen times and then helped: published in our ring and committed for
 * its owner. So nobody waits for a stopped or dead writer.
 *
 * Preconditions are judged on the newest committed version with a decided head, and the CAS of the head makes sure that nothing came
 * between. A write that fails installed nothing.
 *
 * seq counts the writes of a key: the head's seq + 1. A fresh cell starts above the key's floor, read again before each try to link it, so that a
 * version number never comes back in a later life of the key (engine/floor.h).
 *
 * `sync = mutex` takes the key's stripe first and then runs the same path: contention is queued, nothing depends on the lock.
 *
 * Dies inside: noted blocks; a PENDING version, which anybody helps, or the daemon settles, or the reaper aborts if it was never published.
 */
#include "engine/floor.h"
#include "engine/hint.h"
#include "engine/index_internal.h"
#include "engine/move.h"
#include "engine/read.h"
#include "engine/record.h"
#include "engine/ring.h"
#include "engine/shards.h"
#include "engine/stat.h"
#include "engine/version.h"
#include "shm/backoff.h"
#include "shm/clock.h"
#include "shm/fault.h"
#include "shm/reclaim.h"
#include "shm/sync.h"
#include "shm/wait.h"

#include <stdio.h>
#include <stdlib.h>

#define LOOKS 48                       /* at a PENDING head before it is helped */
#define DEFAULT_TIMEOUT_NS UINT64_C(1000000000)
#define MEMORY_NAP_NS UINT64_C(1000000)
#define PRUNE_STEPS 24
#define PRUNE_DEEP 512
#define DEEP_EVERY 64                  /* writes of a key between deep prunes */

/* One write under way. */
struct attempt {
	struct pp_thread *t;
	struct pp_write *w;
	struct pp_keybuf key;
	uint64_t hash;
	pp_ref block;                      /* separate version block, allocated once; 0 = none */
	uint64_t block_room;               /* value bytes that fit in it */
	char number[24];                   /* PP_W_ADD: text of the sum */
};

/* What the newest committed version says: the ground for preconditions. */
struct base {
	bool present;
	uint64_t seq, tag, expires_ms;
	const uint8_t *value;
	uint64_t size;
};

static int key_sizes(const struct pp_write *w)
{
	if (w->key.size < 1 || w->key.size > PP_KEY_MAX)
		return pp_detail(PPDB_KEYSIZE, "a key of %u bytes: keys have 1 to %d bytes", w->key.size, PP_KEY_MAX);
	if (w->size > PP_VALUE_MAX)
		return pp_detail(PPDB_VALSIZE, "a value of %llu bytes: values have at most 64 MiB", (unsigned long long)w->size);
	return 0;
}

/* ---- preconditions ---------------------------------------------------------------------------------------------- */

static void look(struct pp_thread *t, struct pp_cell *cell, struct base *b)
{
	uint64_t state;
	pp_ref ref = cell ? pp_version_visible(t, cell, PP_LATEST, &state) : 0;
	struct pp_version *v;

	memset(b, 0, sizeof(*b));
	if (!ref)
		return;
	v = pp_version_at(t, ref);
	if (!pp_version_whole(t, ref, v))
		return;
	b->tag = pp_state_epoch(state);
	b->seq = pp_version_seq(v);
	b->present = !(pp_version_flags(v) & PP_V_TOMBSTONE) && !pp_expired(t, v);
	b->expires_ms = pp_version_expires(v);
	b->value = pp_version_value(v);
	b->size = v->size;
}

static int add(struct attempt *a, const struct base *b)
{
	struct pp_write *w = a->w;
	char text[24], *end;
	int64_t value = w->initial;

	if (b->present) {
		if (b->size == 0 || b->size >= sizeof(text))
			return pp_detail(PPDB_TYPE, "the value is not a decimal number of 64 bits");
		memcpy(text, b->value, b->size);
		text[b->size] = '\0';
		errno = 0;
		value = strtoll(text, &end, 10);
		if (errno || end != text + b->size || text[0] == ' ' || text[0] == '+')
			return pp_detail(PPDB_TYPE, "the value is not a decimal number of 64 bits");
	}
	if (__builtin_add_overflow(value, w->delta, &w->result))
		return pp_detail(PPDB_TYPE, "the sum leaves the range of 64 bits");
	w->size = (uint64_t)snprintf(a->number, sizeof(a->number), "%lld", (long long)w->result);
	w->value = a->number;
	if (w->flags & PP_W_KEEPTTL)
		w->expires_ms = b->present ? b->expires_ms : 0;
	return 0;
}

static int judge(struct attempt *a, const struct base *b)
{
	struct pp_write *w = a->w;

	w->tag = b->tag;
	w->version = b->present ? b->seq : 0;
	if (w->flags & PP_W_CAS && w->expect != w->version)
		return PPDB_CONFLICT;
	if (w->flags & PP_W_IFABSENT && b->present)
		return PPDB_EXISTS;
	if (w->flags & (PP_W_IFPRESENT | PP_W_DELETE) && !b->present)
		return PPDB_NOTFOUND;
	return w->flags & PP_W_ADD ? add(a, b) : 0;
}

/* ---- what the reaper must settle -------------------------------------------------------------------------------- */

/* The version that this operation may leave PENDING, and the block that holds it. */
static void op_begin(struct pp_thread *t, pp_ref version, pp_ref block)
{
	/* [write.op:version] pairs [reap.settle:version]: before the version can be linked */
	pp_store_rel(&t->slot->op_block, PP_LINK(block, pp_gen_of(t->region, block)));
	pp_store_rel(&t->slot->op_version, version);
}

static void op_end(struct pp_thread *t)
{
	pp_store_rel(&t->slot->op_version, 0);
}

/* ---- publishing ------------------------------------------------------------------------------------------------- */

/* What is left to do when the version hangs on its cell. */
static int finish(struct attempt *a, pp_ref cell, pp_ref version)
{
	struct pp_thread *t = a->t;
	uint64_t seq = pp_version_seq(pp_version_at(t, version));

	PP_FAULT_POINT("write.installed");
	a->w->tag = pp_ring_publish(t, version);
	a->w->version = seq;
	op_end(t);
	pp_notes_clear(t);
	if (!a->w->tag && pp_load_acq(&t->region->globals->barred))
		return pp_arena_barred();
	if (!a->w->tag)
		return pp_detail(PPDB_EVICTED, "this process was taken for dead and its write was undone; attach again");
	if (seq > 1) {
		pp_safe_refresh(t->region, &t->safe);
		pp_version_prune(t, pp_cell_at(t, cell), seq % DEEP_EVERY ? PRUNE_STEPS : PRUNE_DEEP);
	}
	return 0;
}

static unsigned version_flags(const struct pp_write *w)
{
	return w->flags & PP_W_DELETE ? PP_V_TOMBSTONE : 0;
}

/* ---- an existing cell ------------------------------------------------------------------------------------------- */

/* Looks at the head until it is decided, helping when that takes too long. */
static int decided_head(struct pp_thread *t, struct pp_cell *cell, uint64_t *head)
{
	struct pp_backoff backoff;

	pp_backoff_init(&backoff, t);
	for (unsigned tries = 0;; tries++) {
		uint64_t state;

		*head = pp_protect(t, &cell->head);
		if (*head == PP_DEAD)
			return -EAGAIN;
		if (*head & PP_MOVING) {
			int rc = pp_cell_move(t, pp_ref_of(t->region, cell));

			return rc ? rc : -EAGAIN;
		}
		state = pp_load_acq(&pp_version_at(t, *head)->state);
		if (pp_damage(t))
			return pp_damage_report(t);
		if (pp_state_status(state) != PP_PENDING || PP_MUTANT("write.over_pending"))
			return 0;
		if (tries < LOOKS) {
			pp_pause();
			continue;
		}
		if (pp_state_status(pp_version_help(t, *head)) == PP_PENDING)
			return pp_damage(t) ? pp_damage_report(t) : pp_load_acq(&t->region->globals->barred) ? pp_arena_barred() :
				pp_detail(PPDB_OVERLOAD, "the log ring is full: writes come faster than the disk takes them");
		pp_backoff_wait(&backoff, t);
	}
}

static int separate_block(struct attempt *a, pp_ref cell)
{
	struct pp_thread *t = a->t;
	struct pp_version_block *b;
	uint64_t bytes = pp_version_bytes(a->w->size, a->w->expires_ms);
	int rc;

	if (a->block && a->block_room < bytes) {
		pp_alloc_cancel(t, a->block);
		a->block = 0;
	}
	if (!a->block) {
		rc = pp_alloc(t, sizeof(b->cell) + bytes, PP_KIND_VERSION, &a->block);
		if (rc) {
			a->block = 0;
			return rc;
		}
		a->block_room = bytes;
	}
	b = pp_at(t->region, a->block);
	b->cell = PP_LINK(cell, pp_gen_of(t->region, cell));
	b->v.cell_back = 0;
	return 0;
}

static pp_ref block_version(pp_ref block)
{
	return block + offsetof(struct pp_version_block, v);
}

/* Puts the version on top. -EAGAIN: the cell is DEAD, look for another. */
static int overwrite(struct attempt *a, pp_ref cell_ref)
{
	struct pp_thread *t = a->t;
	struct pp_cell *cell = pp_cell_at(t, cell_ref);
	struct pp_version *v;
	struct base base;
	uint64_t head, gen;
	int rc;

	for (;;) {
		rc = decided_head(t, cell, &head);
		if (rc)
			return rc;
		PP_FAULT_POINT("write.overwrite.decided");
		look(t, cell, &base);
		if (pp_damage(t))
			return pp_damage_report(t);
		rc = judge(a, &base);
		if (rc)
			return pp_load_acq(&cell->head) == PP_DEAD ? -EAGAIN : rc;
		rc = separate_block(a, cell_ref);
		if (rc)
			return rc;
		v = pp_version_at(t, block_version(a->block));
		pp_store_rlx(&v->state, PP_STATE(PP_PENDING, 0, 0)); /* published by the CAS below */
		pp_store_rlx(&v->older, head);
		pp_version_fill(v, pp_version_seq(pp_version_at(t, head)) + 1, version_flags(a->w), a->w->value, a->w->size,
				a->w->expires_ms);
		gen = pp_gen_of(t->region, a->block);
		op_begin(t, block_version(a->block), a->block);
		pp_note_block(t, PP_NOTE_VERSION, a->block, PP_LINK(cell_ref, pp_gen_of(t->region, cell_ref)));
		PP_FAULT_POINT("write.overwrite.noted");
		/* [write.install:head] pairs [version.visible:head]: the complete version */
		if (pp_cas_acqrel(&cell->head, &head, block_version(a->block)))
			break;
		pp_notes_clear(t);
		pp_stat_add(&t->slot->count.cas_retries, 1);
		pp_shard_contended(t, pp_list_of(t, a->hash), a->key.key.bytes, a->key.key.size);
	}
	PP_FAULT_POINT("write.overwrite.linked");
	pp_alloc_live(t, a->block, gen);
	head = block_version(a->block);
	a->block = 0;
	return finish(a, cell_ref, head);
}

/* ---- a fresh cell ----------------------------------------------------------------------------------------------- */

static void cell_fill(struct attempt *a, struct pp_cell *c, bool inlined)
{
	c->key_size = (uint16_t)a->w->key.size;
	c->flags = inlined ? PP_C_INLINE : 0;
	memcpy(&c->table_be, a->key.key.bytes, a->key.key.size);
}

static void first_version(struct attempt *a, pp_ref version)
{
	struct pp_version *v = pp_version_at(a->t, version);
	uint64_t floor = PP_MUTANT("write.floor_not_read") ? 0 : pp_floor_read(a->t, a->hash);

	pp_store_rlx(&v->state, PP_STATE(PP_PENDING, 0, 0)); /* published with the cell */
	pp_store_rlx(&v->older, 0);
	pp_version_fill(v, floor + 1, version_flags(a->w), a->w->value, a->w->size, a->w->expires_ms);
}

/* Allocates the cell, and the version's own block when it does not fit in. */
static int cell_new(struct attempt *a, pp_ref *cell, pp_ref *version)
{
	struct pp_thread *t = a->t;
	uint64_t key_bytes = (sizeof(struct pp_cell) + a->w->key.size + 7) & ~UINT64_C(7);
	uint64_t bytes = key_bytes + pp_version_bytes(a->w->size, a->w->expires_ms);
	bool inlined = bytes <= PP_INLINE_MAX;
	struct pp_cell *c;
	int rc = pp_alloc(t, inlined ? bytes : key_bytes, PP_KIND_CELL, cell);

	if (rc)
		return rc;
	c = pp_at(t->region, *cell);
	cell_fill(a, c, inlined);
	if (inlined) {
		*version = pp_cell_inline_version(t, *cell);
		pp_version_at(t, *version)->cell_back = (uint32_t)(*version - *cell);
	} else {
		rc = separate_block(a, *cell);
		if (rc) {
			pp_alloc_cancel(t, *cell);
			return rc;
		}
		*version = block_version(a->block);
	}
	pp_store_rlx(&c->head, *version); /* published by the CAS that links the cell */
	return 0;
}

static int judge_absent(struct attempt *a)
{
	struct base none = {0};

	return judge(a, &none);
}

/* Links a fresh cell at `place`. -EAGAIN: the leaf changed. */
static int create(struct attempt *a, unsigned list, struct pp_place *place)
{
	struct pp_thread *t = a->t;
	pp_ref cell, version, own;
	int rc = judge_absent(a);

	if (rc)
		return rc;
	rc = cell_new(a, &cell, &version);
	if (rc)
		return rc;
	first_version(a, version);
	PP_FAULT_POINT("write.create.filled");
	own = pp_version_inline(pp_version_at(t, version)) ? 0 : a->block;
	op_begin(t, version, own ? own : cell);
	if (own)
		pp_note_block(t, PP_NOTE_VERSION, own, PP_LINK(cell, pp_gen_of(t->region, cell)));
	rc = pp_index_link(t, list, 0, place, &a->key.key, cell, own);
	if (rc) {
		pp_alloc_cancel(t, cell);
		return rc;
	}
	if (own)
		a->block = 0;
	pp_add_rlx(&pp_engine(t)->shard[pp_shard_of(t, &a->key.key, a->hash)].keys, 1); /* stat */
	pp_hint_enter(t, a->hash, cell);
	return finish(a, cell, version);
}

/* ---- the whole write -------------------------------------------------------------------------------------------- */

static int try_once(struct attempt *a)
{
	struct pp_thread *t = a->t;
	pp_ref cell = pp_hint_find(t, a->hash, &a->w->key);
	unsigned list = pp_list_of(t, a->hash);
	struct pp_place place;
	int rc;

	if (cell) {
		rc = overwrite(a, cell);
		if (rc != -EAGAIN)
			return rc;
	}
	pp_index_find(t, list, 0, &a->key.key, true, &place);
	if (pp_damage(t))
		return pp_damage_report(t);
	if (place.equal) {
		cell = pp_block_ref(place.block, place.at);
		rc = overwrite(a, cell);
		if (rc != -EAGAIN) {
			pp_hint_enter(t, a->hash, cell);
			return rc;
		}
	}
	return create(a, list, &place); /* takes the place of a DEAD cell */
}

static int write_reserved(struct attempt *a)
{
	struct pp_backoff backoff;
	int rc;

	pp_backoff_init(&backoff, a->t);
	pp_read_enter(a->t);
	while ((rc = try_once(a)) == -EAGAIN)
		pp_backoff_wait(&backoff, a->t);
	if (a->block)
		pp_alloc_cancel(a->t, a->block);
	a->block = 0;
	pp_read_leave(a->t);
	return rc;
}

static int write_locked(struct attempt *a)
{
	unsigned stripe = pp_stripe_of(a->t->region, a->hash);
	bool locked = pp_stripe_lock(a->t, stripe);
	int rc = write_reserved(a);

	if (locked)
		pp_stripe_unlock(a->t, stripe);
	return rc;
}

/* Many deletes use up the memory that is kept for them before it comes back from them: that takes a round of the daemon. */
static bool await_memory(struct pp_thread *t, uint64_t deadline_ns)
{
	struct timespec nap = pp_timespec(MEMORY_NAP_NS);

	if (pp_now_ns() >= deadline_ns || pp_daemon_gone(t->region))
		return false;
	pp_ring_bell(t->region);
	nanosleep(&nap, NULL);
	return true;
}

static int delete(struct attempt *a, uint64_t bytes, uint64_t timeout_ns)
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
	} while (rc == PPDB_FULL && await_memory(t, deadline));
	t->reserve = reserve;
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

static int write_key(struct attempt *a)
{
	struct pp_write *w = a->w;
	uint64_t room = w->flags & PP_W_ADD ? sizeof(a->number) : w->size;
	uint64_t timeout_ns = w->timeout_ns ? w->timeout_ns : DEFAULT_TIMEOUT_NS;
	int rc;

	if (w->flags & PP_W_DELETE)
		return delete(a, pp_record_size(w->key.size, room), timeout_ns);
	rc = pp_ring_reserve(a->t, pp_record_size(w->key.size, room), timeout_ns);
	return rc ? rc : write_locked(a);
}

int pp_write(struct pp_thread *t, struct pp_write *w)
{
	struct attempt a = {.t = t, .w = w};
	enum pp_op op = op_of(w->flags);
	uint64_t start;
	unsigned node;
	int rc = key_sizes(w);

	if (rc)
		return rc;
	if (t->readonly)
		return pp_detail(PPDB_READONLY, "this handle is attached read-only; attach without PPDB_RDONLY to write");
	start = pp_op_begin(t, op);
	pp_keybuf_set(&a.key, w->key.table, w->key.data, w->key.size);
	a.hash = pp_key_hash(&w->key);
	node = pp_shard_prefer(t, pp_list_of(t, a.hash), &a.key.key);
	rc = write_key(&a);
	rc = rc ? pp_damage_result(t, rc) : 0; /* what is done is done: damage met afterwards is the next operation's */
	t->damage = 0;
	pp_thread_prefer(t, node);
	pp_op_end_key(t, op, start, &w->key, a.hash);
	return rc;
}
