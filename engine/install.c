/*
 * install.c - putting an undecided version on top of a key: over an existing cell, or with a fresh one.
 *
 * Protocol (design 5): install a PENDING version on top of the chain by one CAS of the cell's head (that CAS orders the writes of a key), or
 * link a fresh cell that holds its first version already. A head that is undecided and not ours is looked at a few dozen times and then
 * helped: so nobody waits for a stopped or dead writer.
 *
 * Preconditions are judged on the newest committed version with a decided head, and the CAS of the head makes sure that nothing came
 * between. A write that fails installed nothing.
 *
 * seq counts the writes of a key: the head's seq + 1, or the same again when the head was undone. A fresh cell starts above the key's floor, read again before each try to link it, so that a
 * version number never comes back in a later life of the key (engine/floor.h).
 *
 * Dies inside: noted blocks; an undecided version, which anybody helps, or the daemon settles, or the reaper aborts if it was never published.
 */
#include "engine/install.h"

#include "engine/batch.h"
#include "engine/floor.h"
#include "engine/hint.h"
#include "engine/index_internal.h"
#include "engine/move.h"
#include "engine/reserve.h"
#include "engine/ring.h"
#include "engine/shards.h"
#include "engine/stat.h"
#include "shm/backoff.h"
#include "shm/clock.h"
#include "shm/fault.h"
#include "shm/wait.h"

#define LOOKS 48                       /* at a PENDING head before it is helped */
#define PRUNE_STEPS 24
#define PRUNE_DEEP 512
#define MEMORY_NAP_NS UINT64_C(1000000)
#define DEEP_EVERY 64                  /* writes of a key between deep prunes */

void pp_install_init(struct pp_install *a, struct pp_thread *t, struct pp_write *w)
{
	a->t = t;
	a->w = w;
	a->block = w->reserved;
	a->block_room = UINT64_MAX; /* of a reserved one: it has been judged */
	a->batch = NULL;
	a->timed = 0;
	pp_keybuf_set(&a->key, w->key.table, w->key.data, w->key.size);
	a->hash = pp_key_hash(&w->key);
}

/* ---- what the reaper must settle -------------------------------------------------------------------------------- */

/* The version that this operation may leave undecided, and the block that holds it: named in the slot, or listed in the batch. */
static void announce(struct pp_install *a, pp_ref version, pp_ref block)
{
	struct pp_thread *t = a->t;

	if (a->batch) {
		/* [batch.list:version] pairs [batch.undo:version] */
		pp_store_rel(&a->batch->version[a->listed], version);
		pp_store_rel(&a->batch->count, a->listed + 1);
		return;
	}
	/* [install.op:version] pairs [reap.settle:version]: before the version can be linked */
	pp_store_rel(&t->slot->op_block, PP_LINK(block, pp_gen_of(t->region, block)));
	pp_store_rel(&t->slot->op_version, version);
}

void pp_install_done(struct pp_thread *t)
{
	pp_store_rel(&t->slot->op_version, 0);
}

static pp_ref block_version(pp_ref block)
{
	return block + offsetof(struct pp_version_block, v);
}

/* It was not linked, and its memory goes. */
static void unlist(struct pp_install *a, pp_ref version)
{
	if (a->batch && pp_load_rlx(&a->batch->version[a->listed]) == version) /* owner */
		pp_store_rel(&a->batch->version[a->listed], 0);
}

static uint64_t undecided(const struct pp_install *a)
{
	return a->batch ? PP_STATE_BATCH(a->batch_ref) : PP_STATE(PP_PENDING, 0, 0);
}

/* A guard is no write: it counts no version. */
static uint64_t next_seq(const struct pp_install *a, uint64_t seq)
{
	uint64_t base = pp_engine(a->t)->version_base;

	return a->w->flags & PP_W_GUARD ? seq : seq < base ? base : seq + 1;
}

static void fill(struct pp_version *v, uint64_t seq, const struct pp_write *w)
{
	if (__builtin_expect(w->reserved != 0, 0))
		pp_reserve_fill(v, seq, w);
	else
		pp_version_fill(v, seq, (w->flags & PP_W_DELETE ? PP_V_TOMBSTONE : 0) | (w->flags & PP_W_GUARD ? PP_V_GUARD : 0), w->value, w->size,
				w->expires_ms);
}

/* ---- the table -------------------------------------------------------------------------------------------------- */

static int known_table(const struct pp_thread *t, const struct pp_write *w)
{
	if (__builtin_expect(pp_table_usable(t->region, w->key.table), 1) || w->key.table >= PP_TABLE_IDS || w->flags & PP_W_SWEEP)
		return 0;
	return pp_detail(PPDB_TABLE_UNKNOWN, "%s", pp_error_text(PPDB_TABLE_UNKNOWN));
}

/* Named tables: is there room in the quota, and what will have changed? */
static __attribute__((noinline)) int judge_table(struct pp_install *a, const struct pp_base *b)
{
	struct pp_write *w = a->w;
	bool stores = !(w->flags & PP_W_DELETE);

	w->more_keys = w->more_bytes = 0;
	if (w->flags & PP_W_GUARD || w->key.table >= PP_TABLE_IDS)
		return 0;
	w->more_keys = (int64_t)stores - b->stored;
	w->more_bytes = (int64_t)(stores ? w->key.size + w->size : 0) - (int64_t)(b->stored ? w->key.size + b->size : 0);
	return w->more_bytes > 0 ? pp_table_room(a->t, w->key.table, w->before_bytes + w->more_bytes) : 0;
}

static int judge(struct pp_install *a, const struct pp_base *b)
{
	int rc = pp_precond_judge(a->w, b, a->number);

	return __builtin_expect(a->w->key.table && !rc, 0) ? judge_table(a, b) : rc;
}

/* ---- an existing cell ------------------------------------------------------------------------------------------- */

/* Looks at the head until it is decided, helping when that takes too long. */
static int decided_head(struct pp_install *a, struct pp_cell *cell, uint64_t *head)
{
	struct pp_thread *t = a->t;
	struct pp_backoff backoff;

	pp_backoff_init(&backoff, t);
	for (unsigned tries = 0;; tries++) {
		struct pp_version *v;
		uint64_t state;

		*head = pp_protect(t, &cell->head);
		if (*head == PP_DEAD)
			return -EAGAIN;
		if (*head & PP_MOVING) {
			int rc = pp_cell_move(t, pp_ref_of(t->region, cell));

			return rc ? rc : -EAGAIN;
		}
		v = pp_version_at(t, *head);
		state = pp_version_state(t, v);
		if (pp_damage(t))
			return pp_damage_report(t);
		if (pp_state_status(state) != PP_PENDING || PP_MUTANT("write.over_pending"))
			return 0;
		if (pp_state_status(pp_load_acq(&v->state)) == PP_BATCH) {
			int rc = pp_batch_pass(t, v, a->batch);

			if (rc)
				return rc;
			continue;
		}
		if (tries < LOOKS) {
			pp_pause();
			continue;
		}
		if (pp_state_status(pp_version_help(t, *head)) == PP_PENDING)
			return pp_damage(t) ? pp_damage_report(t) : pp_load_acq(&t->region->globals->barred) ? pp_arena_barred() :
				pp_ring_full();
		pp_backoff_wait(&backoff, t);
	}
}

static int separate_block(struct pp_install *a, pp_ref cell)
{
	struct pp_thread *t = a->t;
	struct pp_version_block *b;
	uint64_t bytes = pp_version_bytes(a->w->size, a->w->expires_ms);
	int rc;

	if (a->block && a->block_room < bytes) {
		unlist(a, block_version(a->block));
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

/* Puts the version on top. -EAGAIN: the cell is DEAD, look for another. */
static int overwrite(struct pp_install *a, pp_ref cell_ref)
{
	struct pp_thread *t = a->t;
	struct pp_cell *cell = pp_cell_at(t, cell_ref);
	struct pp_version *v;
	struct pp_base base;
	uint64_t head, gen;
	int rc;

	for (;;) {
		rc = decided_head(a, cell, &head);
		if (rc)
			return rc;
		PP_FAULT_POINT("write.overwrite.decided");
		pp_base_look(t, cell, &base);
		if (pp_damage(t))
			return pp_damage_report(t);
		rc = judge(a, &base);
		if (rc)
			return pp_load_acq(&cell->head) == PP_DEAD ? -EAGAIN : rc;
		rc = separate_block(a, cell_ref);
		if (rc)
			return rc;
		v = pp_version_at(t, block_version(a->block));
		pp_store_rlx(&v->state, undecided(a)); /* published by the CAS below */
		pp_store_rlx(&v->older, head);
		fill(v, next_seq(a, pp_version_number(t, pp_version_at(t, head))), a->w);
		gen = pp_gen_of(t->region, a->block);
		announce(a, block_version(a->block), a->block);
		pp_note_block(t, PP_NOTE_VERSION, a->block, PP_LINK(cell_ref, pp_gen_of(t->region, cell_ref)));
		PP_FAULT_POINT("write.overwrite.noted");
		/* [install.link:head] pairs [version.visible:head]: the complete version */
		if (pp_cas_acqrel(&cell->head, &head, block_version(a->block)))
			break;
		pp_notes_clear(t);
		pp_count(&t->slot->count.cas_retries, 1);
		pp_shard_contended(t, pp_list_of(t, a->hash), a->key.key.bytes, a->key.key.size);
	}
	PP_FAULT_POINT("write.overwrite.linked");
	pp_alloc_live(t, a->block, gen);
	a->cell = cell_ref;
	a->version = block_version(a->block);
	a->block = a->w->reserved = 0;
	return 0;
}

/* ---- a fresh cell ----------------------------------------------------------------------------------------------- */

static void cell_fill(struct pp_install *a, struct pp_cell *c, bool inlined)
{
	c->key_size = (uint16_t)a->w->key.size;
	c->flags = inlined ? PP_C_INLINE : 0;
	memcpy(&c->table_be, a->key.key.bytes, a->key.key.size);
}

static void first_version(struct pp_install *a, pp_ref version)
{
	struct pp_version *v = pp_version_at(a->t, version);
	uint64_t floor = PP_MUTANT("write.floor_not_read") ? 0 : pp_floor_read(a->t, a->hash);

	pp_store_rlx(&v->state, undecided(a)); /* published with the cell */
	pp_store_rlx(&v->older, 0);
	fill(v, next_seq(a, floor), a->w);
}

/* Allocates the cell, and the version's own block when it does not fit in. */
static int cell_new(struct pp_install *a, pp_ref *cell, pp_ref *version)
{
	struct pp_thread *t = a->t;
	uint64_t key_bytes = (sizeof(struct pp_cell) + a->w->key.size + 7) & ~UINT64_C(7);
	uint64_t bytes = key_bytes + pp_version_bytes(a->w->size, a->w->expires_ms);
	bool inlined = bytes <= PP_INLINE_MAX && !a->w->reserved;
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

static int judge_absent(struct pp_install *a)
{
	struct pp_base none = {0};

	return judge(a, &none);
}

/* Links a fresh cell at `place`. -EAGAIN: the leaf changed. */
static int create(struct pp_install *a, unsigned list, struct pp_place *place)
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
	announce(a, version, own ? own : cell);
	if (own)
		pp_note_block(t, PP_NOTE_VERSION, own, PP_LINK(cell, pp_gen_of(t->region, cell)));
	rc = pp_index_link(t, list, 0, place, &a->key.key, cell, own);
	if (rc) {
		unlist(a, version);
		pp_alloc_cancel(t, cell);
		return rc;
	}
	if (own)
		a->block = a->w->reserved = 0;
	pp_add_rlx(&pp_engine(t)->shard[pp_shard_of(t, &a->key.key, a->hash)].keys, 1); /* stat */
	pp_hint_enter(t, a->hash, cell);
	a->cell = cell;
	a->version = version;
	return 0;
}

/* ---- one try ---------------------------------------------------------------------------------------------------- */

/* Who wrote a new key last writes another one, most likely: no hint will be found, and the index says the same a little later. */
static pp_ref find_hint(struct pp_install *a)
{
	if (!a->t->creating)
		return pp_hint_find(a->t, a->hash, &a->w->key);
	pp_hint_prefetch(a->t, a->hash); /* it is entered soon */
	return 0;
}

int pp_install(struct pp_install *a)
{
	struct pp_thread *t = a->t;
	pp_ref cell = find_hint(a);
	unsigned list = pp_list_of(t, a->hash);
	struct pp_place place;
	int rc = known_table(t, a->w);

	if (__builtin_expect(rc, 0))
		return rc;
	if (cell) {
		rc = overwrite(a, cell);
		if (rc != -EAGAIN)
			return rc;
	}
	pp_index_find(t, list, 0, &a->key.key, true, &place);
	if (pp_damage(t))
		return pp_damage_report(t);
	t->creating = !place.equal;
	if (place.equal) {
		cell = pp_block_ref(place.block, place.at);
		rc = overwrite(a, cell);
		if (rc != -EAGAIN) {
			pp_hint_enter(t, a->hash, cell);
			return rc;
		}
		if (pp_load_acq(&pp_cell_at(t, cell)->head) != PP_DEAD)
			return -EAGAIN; /* it was moved: its copy has the key */
	}
	return create(a, list, &place); /* takes the place of a DEAD cell */
}

void pp_install_end(struct pp_install *a)
{
	if (!a->block)
		return;
	unlist(a, block_version(a->block));
	if (!a->w->reserved)
		pp_alloc_cancel(a->t, a->block);
	a->block = 0;
}

void pp_install_tidy(struct pp_thread *t, pp_ref cell, uint64_t seq)
{
	if (seq <= 1)
		return;
	pp_safe_refresh(t->region, &t->safe);
	pp_version_prune(t, pp_cell_at(t, cell), seq % DEEP_EVERY ? PRUNE_STEPS : PRUNE_DEEP);
}

bool pp_await_memory(struct pp_thread *t, uint64_t deadline_ns)
{
	struct timespec nap = pp_timespec(MEMORY_NAP_NS);

	if (pp_now_ns() >= deadline_ns || pp_daemon_gone(t->region))
		return false;
	pp_ring_bell(t->region);
	nanosleep(&nap, NULL);
	return true;
}
