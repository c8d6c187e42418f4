/*
 * instr_client.c - a client is killed, and stopped, at every instruction of each kind of operation.
 *
 * Killed: after each instruction that changed shared memory a copy of it is judged. Other clients read and write the same keys at once, before or
 * after the daemon has noticed the death; the daemon reaps; then the operation has happened or not, once and for good, all other keys
 * are untouched, every byte is accounted for, and now and then a cold start must find the same in the log.
 * Stopped: a double of the client stands still while others work on its keys and the daemon goes on; then it continues, must say the right
 * thing, and the same is judged.
 *
 * The default run takes a sample of some operations, others each time (PPDB_SEED repeats it); with PPDB_TEST_SCALE >= 10
 * (make crash) the client is killed at every instruction in both modes, with 100 it is also stopped at every one.
 * PPDB_INSTR=NAME runs one scenario, PPDB_INSTR=NAME:STEP one instruction of it.
 */
#include "tests/lib/proc.h"
#include "tests/lib/scene.h"

#include "shm/clock.h"
#include "engine/keeper_internal.h"
#include "engine/reserve.h"
#include "engine/table.h"
#include "shm/errors.h"
#include "shm/reclaim.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef INSTR_POSSIBLE

#define HOT 3
#define BATCH 5
#define STEPS_MAX 200000

static struct solo s;

/* The operation's outcome, in memory that it shares with the test but not with the store. */
struct outcome {
	_Atomic int returned;
	int rc;
	struct pp_write w;
	struct pp_write batch[BATCH];  /* of scenario batch */
	_Atomic int ready, over;       /* of the judge of a stop */
	int counted_rc;                /* of a write whose instructions were counted */
	struct pp_write counted;
	uint64_t most;                 /* instructions that such a write took at most */
};
static struct outcome *outcome;

struct scenario {
	const char *name;
	void (*prepare)(struct solo *);
	struct pp_write op;
	const char *key;               /* of op */
	size_t size;                   /* of its value */
	const char *hot[HOT];          /* keys that others work on */
	int (*act)(void);              /* instead of op */
	void (*meet)(void);            /* what others do about it, too */
	void (*verify)(void);          /* at the end */
	struct solo_options options;
	bool together;                 /* act is batch_op, all or nothing */
	bool leaves;                   /* gives its slot back at the end */
};
static const struct scenario *now;

static uint32_t counted_proc;
static struct pp_thread counted_thread;

static void teardown(void)
{
	if (scene_bystander.pid)
		instr_kill(&scene_bystander);
	solo_end(&s);
}

TestSuite(instr_client, .fini = teardown, .timeout = 7200);

/* ---- operations that are more than a write ----------------------------------------------------------------------- */

static int read_some(void)
{
	struct pp_thread *t = &s.victim;
	struct pp_key keys[3] = {solo_name("k0050"), solo_name("nothing"), solo_name("k1230")};
	struct pp_hit hit[3];
	int rc[3];

	pp_read_enter(t);
	for (unsigned i = 0; i < 3; i++)
		rc[i] = pp_read(t, &keys[i], PP_LATEST, &hit[i]);
	pp_read_many(t, keys, 3, PP_LATEST, hit, rc);
	pp_read_leave(t);
	return 0;
}

/* Over the border of two leaves, there and back. */
static int iterate(void)
{
	struct pp_cursor_opts o = {.snapshot = PP_LATEST};
	struct pp_thread *t = &s.victim;
	struct pp_cursor *c;
	struct pp_hit hit;

	pp_read_enter(t);
	if (pp_cursor_open(t, &o, &c))
		return -1;
	pp_cursor_seek(c, "k0600", 5, &hit);
	for (unsigned i = 0; i < 8; i++)
		pp_cursor_next(c, &hit);
	for (unsigned i = 0; i < 10; i++)
		pp_cursor_prev(c, &hit);
	pp_cursor_close(c);
	pp_read_leave(t);
	return 0;
}

static int snapshot(void)
{
	struct pp_cursor_opts o = {.table = 0};
	struct pp_thread *t = &s.victim;
	struct pp_key k = solo_name("k0050");
	struct pp_cursor *c;
	struct pp_hit hit;

	if (pp_snapshot_hold(t, 0, &o.snapshot))
		return -1;
	pp_read_enter(t);
	pp_read(t, &k, o.snapshot, &hit);
	pp_read_leave(t);
	if (pp_cursor_open(t, &o, &c))
		return -1;
	pp_read_enter(t);
	pp_cursor_seek_le(c, "k0635", 5, &hit);
	pp_cursor_next(c, &hit);
	pp_read_leave(t);
	pp_cursor_close(c);
	pp_snapshot_drop(t);
	return 0;
}

/* ---- values filled in place */

static void scene_large(struct solo *store)
{
	scene_few(store);
	solo_put(store, "k0050", 5, 5000);
	solo_settle(store);
}

/* Other writes of the same thread come between: the page may be given up meanwhile. */
static int publish(void)
{
	struct pp_write w = now->op;
	void *data;
	int rc = pp_reserve(&s.victim, now->size, &w.reserved, &data);
	pp_ref block = w.reserved;

	if (rc)
		return rc;
	memcpy(data, w.value, now->size);
	w.value = NULL;
	rc = pp_write(&s.victim, &w);
	w.value = now->op.value; /* for the model */
	outcome->w = w;
	if (!rc)
		pp_reserve_done(&s.victim, block);
	return rc;
}

static int reserve_many(void)
{
	pp_ref block[PP_RESERVED + 1];
	void *data;
	unsigned n = 0;

	while (n <= PP_RESERVED && !pp_reserve(&s.victim, n % 4 == 3 ? 70000 : 100 + 2000 * n, &block[n], &data))
		n++;
	if (n != PP_RESERVED)
		return -1;
	for (unsigned i = 0; i < n; i++)
		if (i != 3 && i != 5) /* two stay to its end */
			pp_reserve_cancel(&s.victim, block[i]);
	return 0;
}

/* ---- tables */

static int open_table(struct pp_thread *t, const char *name, bool create, uint32_t *id)
{
	struct pp_table_wish w = {.name = name, .size = (uint32_t)strlen(name), .create = create, .quota = 1 << 20};
	uint64_t tag;

	return pp_table_open(t, &w, id, &tag);
}

static int put_in(struct pp_thread *t, uint32_t table, const char *key, uint32_t flags)
{
	struct pp_write w = {.key = {table, (uint32_t)strlen(key), key}, .value = "value", .size = flags & PP_W_DELETE ? 0 : 5, .flags = flags,
		.timeout_ns = UINT64_C(60000000000)};

	return pp_write(t, &w);
}

static void scene_table(struct solo *store)
{
	uint32_t id;

	scene_few(store);
	test_require(!open_table(&s.other, "old", true, &id), "a table: %s", pp_detail_get());
	for (unsigned i = 0; i < 12; i++)
		test_require(!put_in(&s.other, id, scene_key("t%02u", i), 0), "a key of it");
	solo_settle(store);
}

static int create_table(void)
{
	uint32_t id;

	return open_table(&s.victim, "fresh", true, &id);
}

/* Another makes it too, and uses it. */
static void meet_fresh(void)
{
	uint32_t id;
	int rc = open_table(&s.other, "fresh", true, &id);

	test_require(!rc, "another could not open the table: %s", pp_detail_get());
	rc = put_in(&s.other, id, "key", 0);
	test_require(!rc, "nor write to it: %s", pp_detail_get());
}

/* Lines and records agree, and nothing is left of others. */
static void tables_agree(unsigned wanted_low, unsigned wanted_high)
{
	struct pp_cursor_opts o = {.table = PP_TABLE_CATALOG, .snapshot = PP_LATEST};
	struct pp_table_record rec;
	unsigned records = 0, open = 0;
	struct pp_thread *t = &s.keeper->house;
	struct pp_cursor *c;
	struct pp_hit hit;

	pp_read_enter(t);
	test_require(!pp_cursor_open(t, &o, &c), "a cursor");
	for (int rc = pp_cursor_first(c, &hit); !rc; rc = pp_cursor_next(c, &hit))
		if (pp_table_record_of(&hit, &rec)) {
			records++;
			test_require(pp_table_usable(s.region, rec.id), "table %u is in the catalog and not open", rec.id);
		}
	pp_cursor_close(c);
	pp_read_leave(t);
	for (unsigned i = 0; i < PP_TABLES; i++) {
		uint64_t word = pp_load_acq(&((struct pp_engine *)s.region->engine)->table[i].word);

		open += pp_table_state(word) == PP_TABLE_OPEN;
		test_require(pp_table_state(word) == PP_TABLE_OPEN || pp_table_state(word) == PP_TABLE_FREE, "line %u is in state %d", i,
			pp_table_state(word));
	}
	test_require(records == open, "%u tables in the catalog, %u open", records, open);
	test_require(records >= wanted_low && records <= wanted_high, "%u tables", records);
}

static void one_table(void)
{
	tables_agree(1, 1);
}

static void at_most_one_table(void)
{
	tables_agree(0, 1);
}

static void one_or_two_tables(void)
{
	tables_agree(1, 2);
}

static void no_table(void)
{
	tables_agree(0, 0);
}

static int drop_table(void)
{
	uint64_t tag;

	return pp_table_drop(&s.victim, "old", 3, &tag);
}

/* Another drops it too; one of the two has done it. */
static void meet_dropped(void)
{
	uint64_t tag;
	uint32_t id;
	int rc = pp_table_drop(&s.other, "old", 3, &tag);

	test_require(!rc || rc == PPDB_TABLE_UNKNOWN, "another's drop gave %s", pp_error_name(rc));
	test_require(open_table(&s.other, "old", false, &id) == PPDB_TABLE_UNKNOWN, "a dropped table is there");
}

/* Writes to a table that others drop at any moment. */
static int write_table(void)
{
	uint32_t id;
	int rc = open_table(&s.victim, "old", false, &id);

	if (!rc)
		rc = put_in(&s.victim, id, "t05", 0);
	if (!rc)
		rc = put_in(&s.victim, id, "t055", 0);
	if (!rc)
		rc = put_in(&s.victim, id, "t06", PP_W_DELETE);
	return rc;
}

/* A thread that begins, writes and ends. */
static int thread_life(void)
{
	struct pp_thread t;
	struct pp_write w = now->op;
	int rc = pp_slot_claim(s.region, s.victim_proc, &t);

	if (rc)
		return rc;
	rc = pp_write(&t, &w);
	outcome->w = w;
	pp_slot_leave(&t);
	return rc;
}

/* Two cold keys first and last, hot ones between, and one that is required. */
static struct pp_write batch_op[BATCH];

static void prepare_batch(struct solo *store)
{
	static const char *const cold[] = {"a-cold", "m-cold", "z-cold"};

	scene_few(store);
	for (unsigned i = 0; i < 3; i++)
		solo_put(store, cold[i], i, 30);
	solo_settle(store);
	batch_op[0] = (struct pp_write){.key = solo_name("a-cold"), .value = solo_bytes(8, 3000), .size = 3000};
	batch_op[1] = (struct pp_write){.key = solo_name("k0050"), .value = solo_bytes(9, 60), .size = 60};
	batch_op[2] = (struct pp_write){.key = solo_name("k0055"), .value = solo_bytes(9, 50), .size = 50};
	batch_op[3] = (struct pp_write){.key = solo_name("m-cold"), .flags = PP_W_GUARD | PP_W_CAS, .expect = 1};
	batch_op[4] = (struct pp_write){.key = solo_name("z-cold"), .flags = PP_W_DELETE};
}

static int batch(void)
{
	struct pp_batch_write w = {.writes = outcome->batch, .count = BATCH, .timeout_ns = 7200 * PP_NS_PER_SEC}; /* stepping takes long */
	int rc;

	memcpy(outcome->batch, batch_op, sizeof(batch_op));
	rc = pp_batch_write(&s.victim, &w);
	for (unsigned i = 0; i < BATCH && !rc; i++)
		outcome->batch[i].tag = w.tag;
	return rc;
}

/* There is a free slot that the daemon has granted log space to. */
static void free_slot(struct solo *store)
{
	struct pp_thread t;

	scene_few(store);
	test_require(!pp_slot_claim(s.region, s.other_proc, &t), "a slot");
	solo_turns(&s, 2);
	pp_slot_leave(&t);
	solo_settle(&s);
}

static const struct scenario scenarios[] = {
	{.name = "put_new", .prepare = scene_few, .key = "k0055", .size = 40, .hot = {"k0055", "k0050"}},
	{.name = "put_new_large", .prepare = scene_few, .key = "k0055", .size = 5000, .hot = {"k0055", "k0060"}},
	{.name = "put_new_ttl", .prepare = scene_few, .key = "k0055", .size = 50, .op.expires_ms = UINT64_C(1) << 45, .hot = {"k0055"}},
	{.name = "overwrite", .prepare = scene_few, .key = "k0050", .size = 60, .hot = {"k0050", "k0051"}},
	{.name = "overwrite_run", .prepare = scene_few, .key = "k0050", .size = 90000, .hot = {"k0050", "k0051"}},
	{.name = "overwrite_expired", .prepare = scene_expired, .key = "k0050", .size = 60, .hot = {"k0050"}},
	{.name = "over_tombstone", .prepare = scene_tombstone, .key = "k0050", .size = 60, .hot = {"k0050"}},
	{.name = "overwrite_prune", .prepare = scene_many_versions, .key = "k0050", .size = 60, .hot = {"k0050"}},
	{.name = "overwrite_held", .prepare = scene_held_versions, .key = "k0050", .size = 60, .hot = {"k0050"}},
	{.name = "split_first", .prepare = scene_full_leaf, .key = "k0315", .size = 40, .hot = {"k0315", "k0310", "k0005"}},
	{.name = "split", .prepare = scene_leaves, .key = "k1005", .size = 40, .hot = {"k1005", "k1010", "k0995"}},
	{.name = "split_append", .prepare = scene_full_leaf, .key = "k0635", .size = 2000, .hot = {"k0635", "k0630", "k0640"}},
	{.name = "split_long_keys", .prepare = scene_long_keys, .size = 40, .hot = {"k0635"}},
	{.name = "split_upper", .prepare = scene_full_upper, .key = "k00101", .size = 8, .hot = {"k00101", "k00100"}},
	{.name = "merge_meet", .prepare = scene_sealed_leaf, .key = "k0505", .size = 40, .hot = {"k0505", "k0010", "k0510"}},
	{.name = "over_dead", .prepare = scene_dead_cell, .key = "k0050", .size = 40, .hot = {"k0050", "k0060"}},
	{.name = "help_installed", .prepare = scene_bystander_installed, .key = "k0050", .size = 50, .hot = {"k0050"}},
	{.name = "help_published", .prepare = scene_bystander_published, .key = "k0050", .size = 50, .hot = {"k0050"}},
	{.name = "del", .prepare = scene_few, .key = "k0050", .op.flags = PP_W_DELETE, .hot = {"k0050"}},
	{.name = "del_missing", .prepare = scene_few, .key = "k0055", .op.flags = PP_W_DELETE, .hot = {"k0055"}},
	{.name = "cas", .prepare = scene_few, .key = "k0050", .size = 50, .op.flags = PP_W_CAS, .op.expect = 1, .hot = {"k0050"}},
	{.name = "cas_absent", .prepare = scene_few, .key = "k0055", .size = 50, .op.flags = PP_W_CAS, .hot = {"k0055"}},
	{.name = "cas_conflict", .prepare = scene_few, .key = "k0050", .size = 50, .op.flags = PP_W_CAS, .op.expect = 9, .hot = {"k0050"}},
	{.name = "if_absent", .prepare = scene_few, .key = "k0055", .size = 50, .op.flags = PP_W_IFABSENT, .hot = {"k0055"}},
	{.name = "add", .prepare = scene_number, .key = "number", .op.flags = PP_W_ADD, .op.delta = 2, .hot = {"number", "k0050"}},
	{.name = "add_new", .prepare = scene_few, .key = "number", .op.flags = PP_W_ADD, .op.delta = 2, .hot = {"number"}},
	{.name = "hash_put", .prepare = scene_leaves, .key = "k1005", .size = 40, .hot = {"k1005", "k1010"},
		.options = {.shards = 4, .strategy = PP_STRATEGY_HASH}},
	{.name = "range_split", .prepare = scene_leaves, .key = "k1005", .size = 40, .hot = {"k1005", "k1010"},
		.options = {.shards = 4, .strategy = PP_STRATEGY_RANGE}},
	{.name = "get", .prepare = scene_leaves, .act = read_some, .hot = {"k0050", "k1230"}},
	{.name = "iterate", .prepare = scene_leaves, .act = iterate, .hot = {"k0620", "k0635", "k0640"}},
	{.name = "snapshot", .prepare = scene_leaves, .act = snapshot, .hot = {"k0050", "k0635"}},
	{.name = "thread_life", .prepare = free_slot, .act = thread_life, .key = "k0055", .size = 40, .hot = {"k0055", "k0050"}},
	{.name = "batch", .prepare = prepare_batch, .act = batch, .hot = {"k0050", "k0055", "k0060"}, .together = true},
	{.name = "abort_batch", .prepare = scene_batch_installing, .key = "k0050", .size = 50, .hot = {"k0050", "k0070"}},
	{.name = "help_batch", .prepare = scene_batch_ready, .key = "k0050", .size = 50, .hot = {"k0050", "k0070"}},
	{.name = "table_create", .prepare = scene_few, .act = create_table, .hot = {"k0050"}, .meet = meet_fresh, .verify = one_table},
	{.name = "table_create_alone", .prepare = scene_table, .act = create_table, .hot = {"k0050"}, .verify = one_or_two_tables},
	{.name = "table_drop", .prepare = scene_table, .act = drop_table, .hot = {"k0050"}, .meet = meet_dropped, .verify = no_table},
	{.name = "table_drop_alone", .prepare = scene_table, .act = drop_table, .hot = {"k0050"}, .verify = at_most_one_table},
	{.name = "table_write", .prepare = scene_table, .act = write_table, .hot = {"k0050"}, .meet = meet_dropped, .verify = no_table},
	{.name = "touch", .prepare = scene_few, .key = "k0050", .op.flags = PP_W_TOUCH, .op.expires_ms = UINT64_C(1) << 45, .hot = {"k0050", "k0051"}},
	{.name = "touch_large", .prepare = scene_large, .key = "k0050", .op.flags = PP_W_TOUCH, .op.expires_ms = UINT64_C(1) << 45, .hot = {"k0050"}},
	{.name = "touch_missing", .prepare = scene_few, .key = "k0055", .op.flags = PP_W_TOUCH, .op.expires_ms = UINT64_C(1) << 45, .hot = {"k0055"}},
	{.name = "reserve_new", .prepare = scene_few, .act = publish, .key = "k0055", .size = 300, .hot = {"k0055", "k0050"}},
	{.name = "reserve_over", .prepare = scene_few, .act = publish, .key = "k0050", .size = 90000, .hot = {"k0050"}},
	{.name = "reserve_ttl", .prepare = scene_few, .act = publish, .key = "k0050", .size = 3, .op.expires_ms = UINT64_C(1) << 45, .hot = {"k0050"}},
	{.name = "reserve_many", .prepare = scene_few, .act = reserve_many, .hot = {"k0050"}},
	{.name = "leave", .prepare = scene_few, .key = "k0055", .size = 40, .hot = {"k0055"}, .leaves = true},
};

/* ---- the victim -------------------------------------------------------------------------------------------------- */

static void victim_main(void *arg)
{
	(void)arg;
	outcome->w = now->op;
	outcome->rc = now->act ? now->act() : pp_write(&s.victim, &outcome->w);
	outcome->returned = 1;
	if (now->leaves)
		pp_slot_leave(&s.victim);
}

static int second;                    /* another file like the store's, for doubles */
static uint8_t *second_at;

static void make_second(void)
{
	second = memfd_create("instr", MFD_CLOEXEC);
	test_require(second >= 0 && !ftruncate(second, (off_t)s.region->map_bytes), "memfd: %s", strerror(errno));
	second_at = mmap(NULL, s.region->map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, second, 0);
	test_require(second_at != MAP_FAILED, "mmap: %s", strerror(errno));
}

static void drop_second(void)
{
	munmap(second_at, s.region->map_bytes);
	close(second);
}

/* ---- the judges --------------------------------------------------------------------------------------------------- */

static void others(unsigned v)
{
	if (now->meet)
		now->meet();
	solo_work(&s, &s.other, now->hot, HOT, v);
}

static void map_store(int fd, int how)
{
	void *p = mmap(s.region->base, s.region->map_bytes, PROT_READ | PROT_WRITE, how | MAP_FIXED | MAP_NORESERVE, fd, 0);

	test_require(p == s.region->base, "mapping the store again: %s", strerror(errno));
}

static void expect_batch(void)
{
	for (unsigned i = 0; i < BATCH; i++) {
		if (batch_op[i].flags & PP_W_GUARD)
			continue;
		if (outcome->returned)
			solo_returned(&s, &outcome->batch[i], outcome->rc);
		else
			solo_maybe(&s, &batch_op[i]);
	}
}

/* The cold keys tell whether it was done. */
static void judge_together(void)
{
	struct pp_key first = solo_name("a-cold"), last = solo_name("z-cold");
	struct pp_hit hit[2];
	bool done, deleted;

	if (!now->together)
		return;
	pp_read_enter(&s.other);
	test_require(!pp_read(&s.other, &first, PP_LATEST, &hit[0]), "a-cold is gone");
	done = hit[0].size == 3000;
	deleted = pp_read(&s.other, &last, PP_LATEST, &hit[1]) == PPDB_NOTFOUND;
	pp_read_leave(&s.other);
	test_require(done == deleted, "half of the batch is done: the first key is %s, the last %s", done ? "new" : "old", deleted ? "deleted" : "there");
	test_require(!outcome->returned || done == !outcome->rc, "the batch gave %s, but is %s", test_name_of(outcome->rc), done ? "done" : "not done");
}

static void expect_op(void)
{
	if (now->together)
		expect_batch();
	if (!now->key)
		return;
	if (outcome->returned)
		solo_returned(&s, &outcome->w, outcome->rc);
	else
		solo_maybe(&s, &now->op);
}

static void end_all(void)
{
	judge_together();
	solo_bury(&s, s.victim_proc);
	solo_bury(&s, counted_proc);
	if (scene_bystander.pid)
		solo_bury(&s, scene_bystander_proc);
	pp_slot_leave(&s.other);
	solo_settle(&s);
	solo_judge(&s, true);
	if (now->verify)
		now->verify();
}

struct case_of {
	unsigned variant;
	bool cold;
};

static void judge_kill(void *arg)
{
	const struct case_of *c = arg;
	unsigned v = c->variant;

	map_store(s.region->fd, MAP_PRIVATE);
	expect_op();
	if (v & 1)
		others(v >> 3);
	if (v & 2)
		solo_turns(&s, 3);
	solo_bury(&s, s.victim_proc);
	if (v & 4)
		solo_turns(&s, 2);
	others(v >> 3);
	end_all();
	if (c->cold) {
		solo_durable(&s);
		solo_judge_cold(&s, s.data, pp_load_acq(&s.region->globals->durable_epoch));
	}
}

static void counted_main(void *arg)
{
	(void)arg;
	outcome->counted_rc = pp_write(&counted_thread, &outcome->counted);
}

/* One more client, whose instructions are counted: nobody may need many because somebody stands still. */
static void count_write(unsigned v)
{
	struct instr c;

	outcome->counted = (struct pp_write){.key = solo_name(now->hot[0]), .value = "counted", .size = 7};
	if (v & 16)
		outcome->counted = (struct pp_write){.key = solo_name(now->hot[0]), .flags = PP_W_DELETE};
	test_require(instr_start(&c, counted_main, NULL, NULL, 0), "tracing");
	while (instr_step(&c) != INSTR_ENDED)
		test_require(c.steps < STEPS_MAX, "another's write took more than %d instructions, now at %s", STEPS_MAX, instr_place(c.at));
	if (outcome->counted_rc)
		solo_get(&s, &s.other, now->hot[0]);
	else
		solo_returned(&s, &outcome->counted, 0);
	if (c.steps > outcome->most)
		outcome->most = c.steps;
}

static void judge_stop(void *arg)
{
	unsigned v = ((const struct case_of *)arg)->variant;

	map_store(second, MAP_SHARED);
	expect_op();
	if (v % 8 == 6 && strncmp(now->hot[0], "number", 6))
		count_write(v);
	others(v >> 1);
	if (v & 1)
		solo_turns(&s, 6);
	outcome->ready = 1;
	while (!outcome->over)
		solo_turns(&s, 1);
	if (now->key && !outcome->rc && v & 2)
		solo_turns(&s, 3);
	if (now->key)
		solo_returned(&s, &outcome->w, outcome->rc);
	if (now->together)
		expect_batch();
	others(v >> 1);
	end_all();
}

/* ---- one scenario ------------------------------------------------------------------------------------------------- */

struct tally {
	uint64_t instructions, states, stops, cold;
};
static struct tally total;
static struct solo_files *files;

static void ended(const char *what, const struct instr *v, int status)
{
	test_require(!status, "%s at %s:%" PRIu64 " (%s), sync %u: %s %d (repeat: PPDB_INSTR=%s:%" PRIu64 " PPDB_SEED=%#" PRIx64 ")", what, now->name,
		v->steps, instr_place(v->at), s.options.sync, WIFSIGNALED(status) ? "the judge got signal" : "exit code",
		WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), now->name, v->steps, test_seed());
}

static void kill_here(const struct instr *v, unsigned variant)
{
	struct case_of c = {variant, variant % 16 == 5};
	int status;

	if (c.cold)
		solo_files_restore(files);
	instr_judged(instr_judge(judge_kill, &c), true, &status);
	ended("killed", v, status);
	total.states++;
	total.cold += c.cold;
}

static void stop_here(struct instr *v, unsigned variant)
{
	struct outcome saved = *outcome;
	struct case_of c = {variant, false};
	int status, g_status;
	struct instr g;
	pid_t judge;

	memcpy(second_at, s.region->base, s.region->segments_at + pp_load_acq(&s.region->globals->committed_segments) * PP_SEGMENT_BYTES);
	instr_branch(v, &g, second);
	judge = instr_judge(judge_stop, &c);
	while (!outcome->ready) {
		if (instr_judged(judge, false, &status)) {
			instr_kill(&g);
			ended("stopped", v, status ? status : 1);
		}
		usleep(20);
	}
	instr_release(&g);
	instr_wait(&g, true, &g_status);
	outcome->over = 1;
	instr_judged(judge, true, &status);
	ended("the stopped one", v, g_status);
	ended("stopped and continued", v, status);
	saved.most = outcome->most;
	*outcome = saved;
	total.stops++;
}

static void report(const char *what, uint32_t sync)
{
	fprintf(stderr, "%s, %s: %" PRIu64 " instructions so far; %" PRIu64 " killed states judged, %" PRIu64 " of them after a cold start too; %"
		PRIu64 " stops, another's write took at most %" PRIu64 " instructions\n", what, sync ? "mutex" : "lockfree", total.instructions,
		total.states, total.cold, total.stops, outcome->most);
}

static bool everything(void)
{
	return test_scale(1) >= 10;
}

static void run(const struct scenario *c, uint32_t sync, uint64_t only)
{
	struct test_random r = test_random(test_seed(), (uint64_t)(c - scenarios) * 2 + sync);
	bool all = everything();
	uint64_t kill_every = all ? 1 : 23, stop_every = test_scale(1) >= 100 ? 1 : all ? 29 : 701, kill_at = test_below(&r, kill_every), stop_at = test_below(&r, stop_every);
	struct solo_options options = c->options;
	struct scenario this = *c;
	struct instr v;
	enum instr_event e;

	now = &this;
	if (!this.key && !this.act)
		this.key = scene_long_key();
	if (this.key) {
		this.op.key = solo_name(this.key);
		this.op.size = this.size;
		this.op.value = solo_bytes(7, this.size);
		this.op.timeout_ns = 60 * UINT64_C(1000000000);
	}
	options.sync = sync;
	solo_open(&s, options);
	counted_proc = solo_client(&s, "counted", (uint32_t)getpid(), &counted_thread);
	c->prepare(&s);
	files = solo_files_keep(s.data);
	make_second();
	*outcome = (struct outcome){.most = outcome->most};
	test_say("%s", c->name);
	if (!instr_start(&v, victim_main, NULL, s.region->base, s.region->map_bytes))
		cr_skip_test("tracing is not allowed here");
	v.ignore = (const uint8_t *)&s.victim.slot->count;
	v.ignore_bytes = all ? 0 : sizeof(struct pp_slot) - offsetof(struct pp_slot, count);
	while ((e = instr_step(&v)) != INSTR_ENDED) {
		unsigned variant = (unsigned)test_next(&r) & 0xffff;

		if (only && v.steps != only)
			continue;
		if (only || (e == INSTR_CHANGED && v.changes % kill_every == kill_at))
			kill_here(&v, variant);
		if (only || v.steps % stop_every == stop_at)
			stop_here(&v, variant);
	}
	total.instructions += v.steps;
	test_require(outcome->returned, "%s did not return", c->name);
	if (everything() || getenv("PPDB_INSTR"))
		report(c->name, sync);
	if (scene_bystander.pid)
		instr_kill(&scene_bystander);
	drop_second();
	solo_end(&s);
}

static void run_all(uint32_t sync)
{
	test_begin(3600);
	outcome = test_shared(sizeof(*outcome));
	for (size_t i = 0; i < sizeof(scenarios) / sizeof(*scenarios); i++) {
		uint64_t step;

		if (instr_chosen(scenarios[i].name, &step) && (everything() || getenv("PPDB_INSTR") || (i + test_seed()) % 4 == sync))
			run(&scenarios[i], sync, step);
	}
	report("a client at each instruction", sync);
}

Test(instr_client, lockfree)
{
	run_all(PP_SYNC_LOCKFREE);
}

Test(instr_client, mutex)
{
	run_all(PP_SYNC_MUTEX);
}

#endif
