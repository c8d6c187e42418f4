/*
 * instr_daemon.c - the daemon is killed at every instruction of each of its duties.
 *
 * A duty runs step by step in a fork of the test, on a store in memory and on files. After each instruction that changed shared memory, and
 * after each system call, region and files are copied as they are then. In the copy clients go on without a daemon; then another one opens it:
 * warm, when everything that was visible must be there, or, with the region lost, cold, when everything durable must be there and the whole is a
 * prefix of what was written. Clients work on the same keys, everybody leaves, and every byte must be accounted for.
 *
 * The default run takes a sample of a few duties, others each time; with PPDB_TEST_SCALE >= 10 (make crash) every instruction is tried. PPDB_INSTR=NAME[:STEP] chooses.
 */
#include "tests/lib/proc.h"
#include "tests/lib/scene.h"

#include "engine/hint.h"
#include "engine/index.h"
#include "engine/keeper_internal.h"
#include "engine/table.h"
#include "engine/wal_writer.h"
#include "shm/errors.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef INSTR_POSSIBLE

#define HOT 3

static struct solo s;

struct duty {
	const char *name;
	void (*prepare)(struct solo *);
	void (*work)(struct pp_keeper *);
	const char *hot[HOT];
	struct solo_options options;
	unsigned every;                /* default run: one of so many changes */
};
static const struct duty *now;

static void teardown(void)
{
	if (scene_bystander.pid)
		instr_kill(&scene_bystander);
	solo_end(&s);
}

TestSuite(instr_daemon, .fini = teardown, .timeout = 7200);

/* ---- before the duty ---------------------------------------------------------------------------------------------- */

/* Writes that nobody has settled: some committed by their writer, one not. */
static void unsettled(struct solo *store)
{
	scene_bystander_published(store);
	solo_put(store, "k0010", 501, 60);
	solo_put(store, "k0055", 502, 60);
	solo_put(store, "k0010", 503, 3000);
	solo_del(store, "k0020");
}

/* The next record does not fit into the log's segment. */
static void full_segment(struct solo *store)
{
	scene_few(store);
	for (unsigned i = 0; pp_load_acq(&store->keeper->wal->left_bytes) > 6000; i++) {
		solo_put(store, "k0030", 600 + i, 1500);
		solo_durable(store);
	}
	solo_turns(store, 3); /* log space */
	solo_put(store, "k0010", 700, 4000);
	solo_put(store, "k0020", 701, 4000);
}

/* What is settled is durable too: a checkpoint waits for nothing. */
static void nothing_open(struct solo *store)
{
	struct pp_globals *g = store->region->globals;

	solo_durable(store);
	while (pp_load_acq(&g->durable_epoch) < pp_load_acq(&g->settled_epoch))
		test_require(pp_keeper_step(store->keeper) >= 0, "step");
}

/* Several segments are full, and a checkpoint lets them go. */
static void many_segments(struct solo *store)
{
	scene_few(store);
	for (unsigned i = 0; i < 80; i++) {
		solo_put(store, "k0030", 800 + i, 4000);
		solo_durable(store);
	}
	nothing_open(store);
}

/* Tombstones, superseded versions and thin leaves: all that the house thread removes. */
static void rubbish(struct solo *store)
{
	static const char *const gone[] = {"k0660", "k0680", "k0690", "k0700", "k0710", "k0720", "k0730", "k0740", "k0750"};

	scene_leaves(store);
	for (unsigned i = 0; i < 45; i++) {
		char key[16];

		snprintf(key, sizeof(key), "k%04u", 760 + i * 10);
		solo_del(store, key);
	}
	solo_settle(store);
	for (size_t i = 0; i < sizeof(gone) / sizeof(*gone); i++)
		solo_del(store, gone[i]);
	for (unsigned i = 0; i < 3; i++)
		solo_put(store, "k0650", 900 + i, 100);
	nothing_open(store);
}

static void write_of_victim(void *arg)
{
	pp_write(&s.victim, arg);
}

/* Has the victim's new key been linked, and not been decided? */
static bool linked_undecided(struct solo *store, const struct pp_key *key)
{
	struct pp_thread *t = &store->keeper->house;
	struct pp_keybuf k;
	struct pp_place p;

	if (!pp_load_acq(&store->victim.slot->op_version))
		return false;
	pp_keybuf_set(&k, 0, key->data, key->size);
	pp_read_enter(t);
	pp_index_find(t, 0, 0, &k.key, false, &p);
	pp_read_leave(t);
	return p.equal;
}

/* A client that died somewhere in a split, or right after it. */
static void dead_in_split(struct solo *store, bool undecided)
{
	struct test_random r = test_random(test_seed(), 99);
	static struct pp_write w;
	uint64_t changes;
	struct instr v;

	w = (struct pp_write){.key = solo_name("k0315"), .value = solo_bytes(7, 40), .size = 40};
	scene_full_leaf(store);
	changes = 1 + test_below(&r, 500); /* a split of this leaf makes 513 */
	test_require(instr_start(&v, write_of_victim, &w, store->region->base, store->region->map_bytes), "tracing");
	while (undecided ? !linked_undecided(store, &w.key) : v.changes < changes)
		test_require(instr_step(&v) != INSTR_ENDED, "the write came to its end after %llu changes", (unsigned long long)v.changes);
	instr_kill(&v);
	solo_maybe(store, &w);
	solo_bury(store, store->victim_proc);
}

static void dead_client(struct solo *store)
{
	dead_in_split(store, false);
}

static void dead_undecided(struct solo *store)
{
	dead_in_split(store, true);
}

/* Keys that came in another order than theirs, some written again. */
static void scattered(struct solo *store)
{
	for (unsigned i = 0; i < 7; i++)
		scene_fill(store, "k%04u", i * 50 % 70, 12, 70, 40);
	for (unsigned i = 0; i < 840; i += 90)
		solo_put(store, scene_key("k%04u", i), 300 + i, 60);
	solo_settle(store);
	nothing_open(store);
}

/* Pages that were used and are free now. */
static void free_pages(struct solo *store)
{
	for (unsigned i = 0; i < 12; i++) {
		solo_put(store, scene_key("big%u", i), i, 40000);
		solo_durable(store);
		solo_turns(store, 3); /* log space */
	}
	scene_few(store);
	for (unsigned i = 0; i < 12; i++)
		solo_del(store, scene_key("big%u", i));
	solo_settle(store);
	nothing_open(store);
}

static uint32_t open_table(const char *name, bool create)
{
	struct pp_table_wish wish = {.name = name, .size = (uint32_t)strlen(name), .create = create};
	uint64_t tag;
	uint32_t id = 0;
	int rc = pp_table_open(&s.other, &wish, &id, &tag);

	test_require(!rc || rc == PPDB_TABLE_UNKNOWN, "a table: %s", pp_detail_get());
	return id;
}

/* A dropped table with keys in it, and one that will be dropped by somebody who dies in the middle. */
static void dropped(struct solo *store)
{
	uint32_t id, half;
	uint64_t tag;

	scene_few(store);
	id = open_table("dropped", true);
	half = open_table("half", true);
	for (unsigned i = 0; i < 10; i++) {
		struct pp_write w = {.key = {i % 2 ? id : half, 5, scene_key("k%04u", i)}, .value = "v", .size = 1};

		test_require(!pp_write(&store->other, &w), "a key of it");
	}
	solo_settle(store);
	test_require(!pp_table_drop(&store->other, "dropped", 7, &tag) && !pp_table_drop(&store->other, "half", 4, &tag), "drops");
	pp_store_rel(&pp_table_line(store->region, half)->word, PP_TABLE_WORD(PP_TABLE_OPEN, half)); /* as if the dropper had died before */
	nothing_open(store);
}

static void expired(struct solo *store)
{
	scene_few(store);
	for (unsigned i = 0; i < 6; i++) {
		struct pp_write w = {.key = solo_name(scene_key("k%04u", i * 20)), .value = "v", .size = 1, .expires_ms = 1};

		test_require(!pp_write(&store->other, &w), "a value that has expired");
		w.flags = PP_W_DELETE; /* that is what it amounts to */
		solo_returned(store, &w, 0);
	}
	nothing_open(store);
}

static void nothing_durable(struct solo *store)
{
	scene_few(store);
	nothing_open(store);
}

/* ---- duties ------------------------------------------------------------------------------------------------------- */

static void must(int rc, const char *what)
{
	if (rc < 0) {
		dprintf(2, "%s: %s: %s\n", what, test_name_of(rc), pp_detail_get());
		_exit(1);
	}
}

static void commit(struct pp_keeper *k)
{
	for (unsigned i = 0; i < 3; i++)
		must(pp_keeper_step(k), "step");
}

static void commit_and_idle(struct pp_keeper *k)
{
	commit(k);
	k->idle_since_ns = 1; /* the marker is due */
	must(pp_keeper_step(k), "step");
	must(pp_keeper_step(k), "step");
}

static void next_segment(struct pp_keeper *k)
{
	commit(k);
	for (unsigned i = 0; i < 2; i++)
		must(pp_keeper_prepare(k), "prepare");
	commit(k);
}

static void house(struct pp_keeper *k)
{
	for (unsigned i = 0; i < 4; i++) {
		must(pp_keeper_step(k), "step");
		k->round.started_ns = 0;
		k->leaf_sweep.started_ns = 0;
		must(pp_keeper_house(k), "house");
	}
}

static void sweep(struct pp_keeper *k)
{
	pp_store_rlx(&k->todo_overflow, 1);
	pp_store_rel(&k->todo->head, pp_load_acq(&k->todo->tail)); /* lost */
	house(k);
	house(k);
}

/* Until the dropped tables are empty and their lines free, and what expired is gone. */
static void take_away(struct pp_keeper *k)
{
	for (unsigned i = 0; i < 12 && (!i || pp_catalog_busy(k)); i++) {
		memset(&k->catalog_next, 0, sizeof(k->catalog_next));
		k->expire_ns = 0;
		house(k);
	}
	must(pp_catalog_busy(k) ? -EINVAL : 0, "a table is left");
}

static void gather(struct pp_keeper *k)
{
	k->gather.keys = UINT32_MAX; /* it does not grow */
	k->gather.next_ns = k->gather.looked_at = 0;
	house(k);
	must(pp_load_rlx(&((struct pp_engine *)k->region.engine)->gathered) ? 0 : -EINVAL, "nothing was gathered");
}

static void release(struct pp_keeper *k)
{
	for (unsigned i = 0; !pp_load_rlx(&k->region.globals->holes); i++) {
		must(i < 20 ? 0 : -EINVAL, "nothing was given back");
		k->round.idle = 0;
		house(k);
		pp_safe_refresh(&k->region, &k->house.safe);
		pp_release_step(&k->house, &k->release, 0);
	}
	must(pp_region_grow(&k->region, 0), "taking it again");
}

static void checkpoint(struct pp_keeper *k)
{
	must(pp_keeper_checkpoint(k), "checkpoint");
}

static void recycle(struct pp_keeper *k)
{
	must(pp_keeper_checkpoint(k), "checkpoint");
	for (unsigned i = 0; i < 3; i++)
		must(pp_keeper_prepare(k), "prepare");
}

static void grow_hints(struct pp_keeper *k)
{
	struct pp_hint_walk *walk = calloc(1, sizeof(*walk));

	must(pp_hint_resize_begin(&k->house, 60000, walk), "growing the hints");
	while (pp_hint_refill(&k->house, walk, 2))
		;
	pp_hint_resize_end(&k->house);
	house(k);
}

static void records(struct pp_keeper *k)
{
	uint32_t proc;

	must(pp_keeper_proc_add(k, (uint32_t)getpid(), 0, 1, 0, "another", &proc), "a record");
	pp_keeper_proc_gone(k, proc);
	must(pp_keeper_house(k), "house");
}

static void close_store(struct pp_keeper *k)
{
	must(pp_keeper_close(k, true), "close");
}

static const struct duty duties[] = {
	{.name = "commit", .prepare = unsettled, .work = commit, .hot = {"k0010", "k0020", "k0050"}, .every = 3},
	{.name = "marker", .prepare = unsettled, .work = commit_and_idle, .hot = {"k0010", "k0050"}, .every = 3},
	{.name = "next_segment", .prepare = full_segment, .work = next_segment, .hot = {"k0010", "k0020"}, .every = 3,
		.options.segment_bytes = 128 << 10},
	{.name = "house", .prepare = rubbish, .work = house, .hot = {"k0660", "k0650", "k0750"}, .every = 31},
	{.name = "sweep", .prepare = rubbish, .work = sweep, .hot = {"k0660", "k0650", "k0750"}, .every = 31},
	{.name = "house_range", .prepare = rubbish, .work = house, .hot = {"k0660", "k0650", "k0750"}, .every = 31,
		.options = {.shards = 4, .strategy = PP_STRATEGY_RANGE}},
	{.name = "reap", .prepare = dead_client, .work = house, .hot = {"k0315", "k0310"}, .every = 11},
	{.name = "reap_undecided", .prepare = dead_undecided, .work = house, .hot = {"k0310"}, .every = 11},
	{.name = "gather", .prepare = scattered, .work = gather, .hot = {"k0090", "k0100", "k0500"}, .every = 31},
	{.name = "release", .prepare = free_pages, .work = release, .hot = {"k0010", "k0055"}, .every = 31},
	{.name = "checkpoint", .prepare = rubbish, .work = checkpoint, .hot = {"k0660", "k0650"}, .every = 5},
	{.name = "recycle", .prepare = many_segments, .work = recycle, .hot = {"k0030", "k0010"}, .every = 5,
		.options.segment_bytes = 128 << 10},
	{.name = "drop", .prepare = dropped, .work = take_away, .hot = {"k0010", "k0050"}, .every = 61},
	{.name = "drop_hash", .prepare = dropped, .work = take_away, .hot = {"k0010", "k0050"}, .every = 61,
		.options = {.shards = 3, .strategy = PP_STRATEGY_HASH}},
	{.name = "expire", .prepare = expired, .work = take_away, .hot = {"k0020", "k0010", "k0100"}, .every = 31},
	{.name = "grow_hints", .prepare = scene_leaves, .work = grow_hints, .hot = {"k0010", "k1000"}, .every = 41},
	{.name = "records", .prepare = scene_few, .work = records, .hot = {"k0010"}, .every = 3},
	{.name = "close", .prepare = nothing_durable, .work = close_store, .hot = {"k0010", "k0050"}, .every = 3},
};

static void work_main(void *arg)
{
	(void)arg;
	now->work(s.keeper);
}

/* ---- a moment, copied ---------------------------------------------------------------------------------------------- */

static char then_dir[96], then_data[112], then_arena[112];
static uint8_t *then_at;
static int then_fd = -1;

static void make_then(void)
{
	struct stat st;

	snprintf(then_dir, sizeof(then_dir), "%s/then", s.dir);
	snprintf(then_data, sizeof(then_data), "%s/data", then_dir);
	snprintf(then_arena, sizeof(then_arena), "%s/arena", then_dir);
	test_require(!mkdir(then_dir, 0700) && !stat(s.arena, &st), "%s: %s", then_dir, strerror(errno));
	then_fd = open(then_arena, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	test_require(then_fd >= 0 && !ftruncate(then_fd, st.st_size), "%s: %s", then_arena, strerror(errno));
	then_at = mmap(NULL, s.region->map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, then_fd, 0);
	test_require(then_at != MAP_FAILED, "mmap: %s", strerror(errno));
}

static void drop_then(void)
{
	munmap(then_at, s.region->map_bytes);
	close(then_fd);
}

static void copy_moment(void)
{
	size_t bytes = s.region->segments_at + pp_load_acq(&s.region->globals->committed_segments) * PP_SEGMENT_BYTES;

	solo_copy_tree(s.data, then_data);
	test_require(!ftruncate(then_fd, (off_t)bytes), "ftruncate: %s", strerror(errno));
	memcpy(then_at, s.region->base, bytes);
}

/* ---- the judge ----------------------------------------------------------------------------------------------------- */

static void others(unsigned v)
{
	solo_work(&s, &s.other, now->hot, HOT, v);
}

static void judge(void *arg)
{
	unsigned v = *(unsigned *)arg;

	if (v % 4 == 3) { /* the region is lost too */
		solo_judge_cold(&s, then_data, pp_load_acq(&s.region->globals->durable_epoch));
		return;
	}
	if (v % 4 == 1) { /* there is no daemon yet */
		void *p = mmap(s.region->base, s.region->map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, then_fd, 0);

		test_require(p == s.region->base, "mmap: %s", strerror(errno));
		others(v >> 4);
	}
	solo_adopt(&s, then_data, then_arena, true, true);
	if (v & 4)
		others(v >> 4);
	solo_turns(&s, 3);
	others(v >> 3);
	solo_bury(&s, s.victim_proc);
	if (scene_bystander.pid)
		solo_bury(&s, scene_bystander_proc);
	pp_slot_leave(&s.other);
	solo_settle(&s);
	solo_judge(&s, true);
	if (now->prepare == dropped) {
				for (unsigned i = 0; i < PP_TABLES; i++)
			test_require(!pp_table_state(pp_load_acq(&((struct pp_engine *)s.region->engine)->table[i].word)), "line %u is in use", i);
	}
	if (v & 8) {
		solo_durable(&s);
		solo_judge_cold(&s, then_data, pp_load_acq(&s.region->globals->durable_epoch));
	}
}

/* ---- one duty ------------------------------------------------------------------------------------------------------ */

static uint64_t instructions, states;

static bool everything(void)
{
	return test_scale(1) >= 10;
}

static void kill_here(const struct instr *v, unsigned variant)
{
	int status;

	copy_moment();
	instr_judged(instr_judge(judge, &variant), true, &status);
	test_require(!status, "killed at %s:%" PRIu64 " (%s), sync %u, variant %u: status %#x (repeat: PPDB_INSTR=%s:%" PRIu64 " PPDB_SEED=%#" PRIx64 ")",
		now->name, v->steps, instr_place(v->at), s.options.sync, variant, (unsigned)status, now->name, v->steps, test_seed());
	states++;
}

static void report(const char *what, uint32_t sync)
{
	fprintf(stderr, "%s, %s: %" PRIu64 " instructions so far, %" PRIu64 " killed states judged\n", what, sync ? "mutex" : "lockfree",
		instructions, states);
}

static void run(const struct duty *d, uint32_t sync, uint64_t only)
{
	struct test_random r = test_random(test_seed(), (uint64_t)(d - duties));
	uint64_t every = everything() ? 1 : d->every, at = test_below(&r, every), seen = 0;
	struct solo_options options = d->options;
	enum instr_event e;
	struct instr v;

	now = d;
	options.sync = sync;
	solo_open(&s, options);
	d->prepare(&s);
	make_then();
	test_say("%s", d->name);
	if (!instr_start(&v, work_main, NULL, s.region->base, s.region->map_bytes))
		cr_skip_test("tracing is not allowed here");
	while ((e = instr_step(&v)) != INSTR_ENDED) {
		unsigned variant = (unsigned)test_next(&r) & 0xffff;

		seen += e != INSTR_SAME;
		if (only ? v.steps == only : e != INSTR_SAME && seen % every == at)
			kill_here(&v, variant);
	}
	instructions += v.steps;
	if (everything() || getenv("PPDB_INSTR"))
		report(d->name, sync);
	if (scene_bystander.pid)
		instr_kill(&scene_bystander);
	drop_then();
	solo_end(&s);
}

/* ---- starting ------------------------------------------------------------------------------------------------------ */

static char first[96], later[96];
static bool attached;          /* clients have slots in the arena that is opened */

static const char *in(const char *dir, const char *name)
{
	static char path[4][160];
	static unsigned next;

	next = (next + 1) % 4;
	snprintf(path[next], sizeof(path[next]), "%s/%s", dir, name);
	return path[next];
}

static void open_main(void *arg)
{
	struct pp_keeper_config c = solo_config(&s, in(first, "data"), in(first, "arena"));
	struct pp_keeper *k;

	(void)arg;
	must(pp_keeper_open(&c, &k), "open");
}

/* The start was cut short: another one finds the same. */
static void judge_open(void *arg)
{
	bool warm = !access(in(later, "arena"), F_OK);
	unsigned v = *(unsigned *)arg;

	if (v % 4 == 3) {
		solo_judge_cold(&s, in(later, "data"), pp_load_acq(&s.region->globals->durable_epoch));
		return;
	}
	solo_adopt(&s, in(later, "data"), in(later, "arena"), warm, attached);
	others(v >> 3);
	solo_turns(&s, 3);
	others(v >> 3);
	solo_bury(&s, s.victim_proc);
	if (attached && scene_bystander.pid)
		solo_bury(&s, scene_bystander_proc);
	pp_slot_leave(&s.other);
	solo_settle(&s);
	solo_judge(&s, true);
}

static void run_open(const char *name, void (*prepare)(struct solo *), bool warm)
{
	static struct duty starting = {.hot = {"k0010", "k0050"}};
	struct test_random r = test_random(test_seed(), 7);
	uint64_t every = everything() ? 151 : 20011, calls = everything() ? 1 : 29, at = test_below(&r, every), call = test_below(&r, calls);
	uint64_t seen = 0, only;
	enum instr_event e;
	struct instr v;
	int status;

	if (!instr_chosen(name, &only) || (!everything() && !getenv("PPDB_INSTR") && test_seed() % 6 != warm))
		return;
	now = &starting;
	starting.name = name;
	attached = warm;
	test_begin(3600);
	solo_open(&s, (struct solo_options){.segment_bytes = 256 << 10});
	prepare(&s);
	snprintf(first, sizeof(first), "%s/first", s.dir);
	snprintf(later, sizeof(later), "%s/later", s.dir);
	test_require(!mkdir(first, 0700), "%s: %s", first, strerror(errno));
	solo_copy_tree(s.data, in(first, "data"));
	if (warm)
		solo_copy_file(s.arena, in(first, "arena"));
	if (!instr_start(&v, open_main, NULL, NULL, 0))
		cr_skip_test("tracing is not allowed here");
	while ((e = instr_step(&v)) != INSTR_ENDED) {
		unsigned variant = (unsigned)test_next(&r) & 0xffff;

		seen += e == INSTR_SYSCALL;
		if (only ? v.steps != only : !(e == INSTR_SYSCALL && seen % calls == call) && v.steps % every != at)
			continue;
		solo_copy_tree(first, later);
		instr_judged(instr_judge(judge_open, &variant), true, &status);
		test_require(!status, "killed at %s:%" PRIu64 " (%s), variant %u: status %#x (repeat: PPDB_INSTR=%s:%" PRIu64 " PPDB_SEED=%#" PRIx64 ")", name,
			v.steps, instr_place(v.at), variant, (unsigned)status, name, v.steps, test_seed());
		states++;
	}
	instructions += v.steps;
	report(name, 0);
	if (scene_bystander.pid)
		instr_kill(&scene_bystander);
}

Test(instr_daemon, warm_start)
{
	run_open("warm_start", unsettled, true);
}

static void checkpointed(struct solo *store)
{
	rubbish(store);
	must(pp_keeper_checkpoint(store->keeper), "checkpoint");
	solo_put(store, "k0010", 1000, 60);
	solo_del(store, "k0020");
	nothing_open(store);
}

Test(instr_daemon, cold_start)
{
	run_open("cold_start", checkpointed, false);
}

static void run_all(uint32_t sync)
{
	test_begin(3600);
	for (size_t i = 0; i < sizeof(duties) / sizeof(*duties); i++) {
		uint64_t step;

		if (instr_chosen(duties[i].name, &step) && (everything() || getenv("PPDB_INSTR") || (i + test_seed()) % 12 == sync))
			run(&duties[i], sync, step);
	}
	report("the daemon at each instruction", sync);
}

Test(instr_daemon, lockfree)
{
	run_all(PP_SYNC_LOCKFREE);
}

Test(instr_daemon, mutex)
{
	run_all(PP_SYNC_MUTEX);
}

#endif
