/*
 * scene.c - stores in the states that operations can meet (see scene.h).
 */
#include "tests/lib/scene.h"

#include "engine/floor.h"
#include "engine/index.h"
#include "engine/keeper_internal.h"
#include "engine/version.h"
#include "shm/errors.h"
#include "shm/reclaim.h"
#include "tests/lib/proc.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#ifdef INSTR_POSSIBLE

struct instr scene_bystander;
struct pp_write scene_bystander_op;
uint32_t scene_bystander_proc;
static struct pp_thread scene_bystander_thread;


const char *scene_key(const char *format, unsigned i)
{
	static char key[4][512];
	static unsigned next;
	char *k = key[next++ % 4];

	snprintf(k, sizeof(key[0]), format, i);
	return k;
}

void scene_fill(struct solo *s, const char *format, unsigned first, unsigned count, unsigned step, size_t size)
{
	for (unsigned i = 0; i < count; i++)
		solo_put(s, scene_key(format, first + i * step), i, size);
}

void scene_few(struct solo *s)
{
	scene_fill(s, "k%04u", 0, 20, 10, 40);
	solo_put(s, "number", 0, 0);
	solo_del(s, "number");
	solo_settle(s);
}

/* The key was deleted, and the keeper has not come by. */
void scene_tombstone(struct solo *s)
{
	scene_few(s);
	solo_del(s, "k0050");
}

void scene_number(struct solo *s)
{
	struct pp_write w = {.key = solo_name("number"), .flags = PP_W_ADD, .delta = 40};

	scene_few(s);
	solo_do(s, &s->other, &w);
	solo_settle(s);
}

/* Versions that wait for somebody to prune them: the sets are announced, the keeper has not come by. */
void scene_many_versions(struct solo *s)
{
	scene_few(s);
	for (unsigned i = 0; i < 6; i++) {
		struct pp_write w = {.key = solo_name("k0050"), .value = solo_bytes(i, 300), .size = 300};

		solo_do(s, &s->other, &w);
		for (unsigned n = 0; n < 3; n++) {
			test_require(pp_keeper_step(s->keeper) >= 0, "step");
			s->keeper->round.started_ns = 0;
		}
	}
}

/* The same, and a snapshot holds one of them. */
void scene_held_versions(struct solo *s)
{
	uint64_t held;

	scene_few(s);
	for (unsigned i = 0; i < 3; i++)
		solo_put(s, "k0050", 100 + i, 300);
	solo_durable(s);
	test_require(!pp_snapshot_hold(&s->other, 0, &held), "a snapshot");
	for (unsigned i = 0; i < 5; i++) {
		solo_put(s, "k0050", 200 + i, 300);
		solo_turns(s, 4);
	}
}

void scene_full_leaf(struct solo *s)
{
	scene_fill(s, "k%04u", 0, PP_LEAF_MAX, 10, 40);
	solo_settle(s);
}

void scene_leaves(struct solo *s)
{
	scene_fill(s, "k%04u", 0, 300, 10, 40);
	solo_settle(s);
}

static unsigned upper_entries(struct solo *s)
{
	struct pp_keybuf k;
	struct pp_place p;
	unsigned count;

	pp_keybuf_set(&k, 0, "k9999", 5);
	if (pp_load_acq(&pp_engine(&s->other)->list[0].levels) < 2)
		return 0;
	pp_read_enter(&s->other);
	pp_index_find(&s->other, 0, 1, &k.key, false, &p);
	count = p.block->count;
	pp_read_leave(&s->other);
	return count;
}

/* The next split of a leaf splits the level above as well. */
void scene_full_upper(struct solo *s)
{
	for (unsigned i = 0; upper_entries(s) < PP_LEAF_MAX; i++)
		solo_put(s, scene_key("k%05u", i * 2), i, 8);
	solo_settle(s);
}

/* A leaf that somebody has sealed and not merged. */
void scene_sealed_leaf(struct solo *s)
{
	struct pp_leaf *right;
	struct pp_place p;
	uint64_t head;

	scene_full_leaf(s);
	solo_put(s, "k0315", 1, 40);
	for (unsigned i = 0; i < 8; i++) {
		solo_del(s, scene_key("k%04u", i * 20));
		solo_del(s, scene_key("k%04u", 400 + i * 20));
	}
	solo_settle(s);
	pp_read_enter(&s->other);
	pp_index_first(&s->other, 0, &p);
	test_require(p.block->right, "there is one leaf only");
	right = pp_at(s->region, pp_link_ref(p.block->right));
	head = pp_load_acq(&right->head);
	test_require(pp_cas_acqrel(&right->head, &head, head | PP_LEAF_SEALED), "sealing");
	pp_read_leave(&s->other);
}

/* The keeper has declared a cell dead and not taken it out of its leaf. */
void scene_dead_cell(struct solo *s)
{
	struct pp_thread *t = &s->keeper->house;
	struct pp_key k = solo_name("k0050");
	struct pp_keybuf b;
	struct pp_place p;
	struct pp_cell *c;
	uint64_t head;
	pp_ref block;

	scene_few(s);
	solo_del(s, "k0050");
	pp_keybuf_set(&b, 0, k.data, k.size);
	pp_read_enter(t);
	pp_index_find(t, 0, 0, &b.key, false, &p);
	test_require(p.equal, "the cell is there");
	c = pp_at(s->region, pp_block_ref(p.block, p.at));
	pp_version_prune(t, c, 1000);
	head = pp_load_acq(&c->head);
	block = pp_version_block(head);
	pp_floor_raise(t, pp_ikey_hash(&b.key), pp_version_seq(pp_version_at(t, head)));
	solo_durable(s);
	head = pp_load_acq(&c->head);
	test_require(head != PP_DEAD && !pp_version_inline(pp_version_at(t, head)), "a tombstone of its own");
	pp_store_seq(&c->head, PP_DEAD);
	for (uint64_t older = pp_load_acq(&pp_version_at(t, head)->older); older && !(older & PP_CUT);) {
		struct pp_version *v = pp_version_at(t, pp_older_ref(older));

		if (!pp_version_inline(v))
			pp_retire(t, pp_version_block(pp_older_ref(older)), pp_gen_of(s->region, pp_version_block(pp_older_ref(older))));
		older = pp_load_acq(&v->older);
	}
	pp_retire(t, block, pp_gen_of(s->region, block));
	pp_read_leave(t);
	pp_store_rlx(&s->keeper->todo_overflow, 1);
}

void scene_long_keys(struct solo *s)
{
	char format[400];

	memset(format, 'p', 300);
	strcpy(format + 300, "%04u");
	scene_fill(s, format, 0, PP_LEAF_MAX, 10, 40);
	solo_settle(s);
}

const char *scene_long_key(void)
{
	static char key[400];

	memset(key, 'p', 300);
	strcpy(key + 300, "0315");
	return key;
}

void scene_expired(struct solo *s)
{
	struct pp_write w = {.key = solo_name("k0050"), .value = "old", .size = 3, .expires_ms = 1};

	scene_few(s);
	test_require(!pp_write(&s->other, &w), "a value that has expired");
	w.flags = PP_W_DELETE; /* that is what it amounts to */
	solo_returned(s, &w, 0);
}

/* ---- a second client, stopped in its write ----------------------------------------------------------------------- */

static struct pp_write bystander_batch[2];

static void bystander_main(void *arg)
{
	struct pp_batch_write w = {.writes = bystander_batch, .count = 2};

	(void)arg;
	if (bystander_batch[0].size)
		pp_batch_write(&scene_bystander_thread, &w);
	else
		pp_write(&scene_bystander_thread, &scene_bystander_op);
}

static struct pp_version *head_of(struct solo *s, const char *key)
{
	struct pp_key k = solo_name(key);
	struct pp_version *v = NULL;
	struct pp_keybuf b;
	struct pp_place p;

	pp_keybuf_set(&b, 0, k.data, k.size);
	pp_read_enter(&s->other);
	pp_index_find(&s->other, 0, 0, &b.key, false, &p);
	if (p.equal) {
		struct pp_cell *c = pp_at(s->region, pp_block_ref(p.block, p.at));

		v = pp_version_at(&s->other, pp_load_acq(&c->head));
	}
	pp_read_leave(&s->other);
	return v;
}

static bool pending(struct solo *s, const char *key)
{
	struct pp_version *v = head_of(s, key);

	return v && pp_state_status(pp_load_acq(&v->state)) == PP_PENDING;
}

/* Stops it when its version hangs on the chain: before it published it, or after that. */
static void stand_by(struct solo *s, bool published)
{
	uint16_t index;

	scene_few(s);
	scene_bystander_proc = solo_client(s, "bystander", (uint32_t)getpid(), &scene_bystander_thread);
	scene_bystander_op = (struct pp_write){.key = solo_name("k0050"), .value = solo_bytes(77, 60), .size = 60};
	solo_turns(s, 2); /* log space for the new slot */
	index = pp_tail_index(pp_load_acq(&scene_bystander_thread.slot->tail));
	solo_maybe(s, &scene_bystander_op);
	test_require(instr_start(&scene_bystander, bystander_main, NULL, NULL, 0), "tracing");
	while (!pending(s, "k0050") || (published && pp_tail_index(pp_load_acq(&scene_bystander_thread.slot->tail)) == index))
		test_require(instr_step(&scene_bystander) != INSTR_ENDED, "the bystander came to its end");
}

void scene_bystander_installed(struct solo *s)
{
	stand_by(s, false);
}

/* State of the batch whose version is the newest of the key; COMMITTED if there is none. */
static uint64_t batch_state(struct solo *s, const char *key)
{
	struct pp_version *v = head_of(s, key);
	uint64_t word = v ? pp_load_acq(&v->state) : 0;

	if (pp_state_status(word) != PP_BATCH)
		return PP_STATE(PP_COMMITTED, 0, 0);
	return pp_load_acq(&pp_batch_at(&s->other, pp_state_batch(word))->state);
}

/* Stops a batch of two keys when the first is installed, or when both are and it is READY. */
static void stand_by_batch(struct solo *s, uint64_t state)
{
	static const char *const keys[] = {"k0050", "k0070"};

	scene_few(s);
	scene_bystander_proc = solo_client(s, "bystander", (uint32_t)getpid(), &scene_bystander_thread);
	solo_turns(s, 2);
	for (unsigned i = 0; i < 2; i++) {
		bystander_batch[i] = (struct pp_write){.key = solo_name(keys[i]), .value = solo_bytes(77 + i, 60), .size = 60};
		solo_maybe(s, &bystander_batch[i]);
	}
	test_require(instr_start(&scene_bystander, bystander_main, NULL, NULL, 0), "tracing");
	while (batch_state(s, "k0050") != state)
		test_require(instr_step(&scene_bystander) != INSTR_ENDED, "the bystander came to its end");
}

void scene_batch_installing(struct solo *s)
{
	stand_by_batch(s, PP_BATCH_INSTALLING);
}

void scene_batch_ready(struct solo *s)
{
	stand_by_batch(s, PP_BATCH_READY);
}

void scene_bystander_published(struct solo *s)
{
	stand_by(s, true);
}

#endif
