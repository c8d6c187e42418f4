/*
 * engine_batch.c - batches inside one process: all or nothing in memory and after a cold start, conditions, guards, many at once.
 */
#include "tests/unit/engine_store.h"

#include "engine/keeper_internal.h"
#include "shm/errors.h"

static struct engine_store s;

static void open_one(void)
{
	engine_store_open(&s, PP_STRATEGY_RANGE, 4);
}

static void close_one(void)
{
	engine_store_close(&s);
}

TestSuite(engine_batch, .init = open_one, .fini = close_one, .timeout = 300);

static struct pp_write put(const char *key, const char *value)
{
	return (struct pp_write){.key = {0, (uint32_t)strlen(key), key}, .value = value, .size = strlen(value)};
}

static struct pp_write with(struct pp_write w, uint32_t flags, uint64_t expect)
{
	w.flags = flags;
	w.expect = expect;
	return w;
}

static struct pp_write del(const char *key)
{
	return with(put(key, ""), PP_W_DELETE, 0);
}

static struct pp_write require(const char *key, uint64_t version)
{
	return with(put(key, ""), PP_W_GUARD | PP_W_CAS, version);
}

static int batch(struct pp_thread *t, struct pp_write *writes, size_t n, size_t *failed)
{
	struct pp_batch_write w = {.writes = writes, .count = n, .timeout_ns = 60 * PP_NS_PER_SEC};
	int rc = pp_batch_write(t, &w);

	if (failed)
		*failed = w.failed;
	return rc;
}

/* What the key holds, "" when there is none; *version as it is. */
static const char *value_of(struct pp_thread *t, const char *key, uint64_t *version)
{
	static _Thread_local char text[64];
	struct pp_key k = {0, (uint32_t)strlen(key), key};
	struct pp_hit hit;

	text[0] = '\0';
	*version = 0;
	pp_read_enter(t);
	if (pp_read(t, &k, PP_LATEST, &hit) == 0) {
		snprintf(text, sizeof(text), "%.*s", (int)hit.size, (const char *)hit.value);
		*version = hit.version;
	}
	pp_read_leave(t);
	return text;
}

#define expect_value(key, want, seq)                                                        \
	do {                                                                                \
		uint64_t v_;                                                                \
		cr_expect_str_eq(value_of(&s.t, key, &v_), want, "%s", key);                \
		cr_expect_eq(v_, (uint64_t)(seq), "%s has version %lu", key, (unsigned long)v_); \
	} while (0)

static void complain(void *ctx, const char *text)
{
	(void)ctx;
	cr_log_error("check: %s", text);
}

/* The store is at rest, and every byte is accounted for: so many keys in cells, tombstones included. */
static uint64_t check_quiet(void)
{
	struct pp_check_report report;
	int problems;

	engine_store_halt(&s);
	while (pp_keeper_step(s.keeper) > 0)
		;
	problems = pp_check(&s.t, true, &report, complain, NULL);
	cr_expect_eq(problems, 0);
	return report.keys;
}

Test(engine_batch, writes_are_done_together)
{
	struct pp_write first[] = {put("a", "1"), put("b", "1"), put("c", "1")};
	struct pp_write second[] = {put("a", "2"), del("b"), require("c", 1), del("missing"), put("z", "new")};

	cr_assert_eq(batch(&s.t, first, 3, NULL), 0);
	expect_value("a", "1", 1);
	expect_value("b", "1", 1);
	cr_assert_eq(batch(&s.t, second, 5, NULL), 0, "%s", pp_detail_get());
	cr_expect_eq(second[0].version, 2);
	expect_value("a", "2", 2);
	expect_value("b", "", 0);
	expect_value("c", "1", 1);
	expect_value("missing", "", 0);
	expect_value("z", "new", 1);
	cr_assert_eq(engine_store_put(&s, "c", "3", 1, 0), 0);
	expect_value("c", "3", 2); /* a guard counts no version */
	cr_assert_eq(engine_store_put(&s, "missing", "x", 1, PP_W_IFABSENT), 0);
	expect_value("missing", "x", 1);
	check_quiet();
}

Test(engine_batch, what_fails_leaves_nothing)
{
	struct { struct pp_write w[3]; int rc; size_t failed; } tries[] = {
		{{put("a", "2"), require("b", 7), put("c", "2")}, PPDB_CONFLICT, 1},
		{{put("a", "2"), put("b", "2"), with(put("c", "2"), PP_W_IFABSENT, 0)}, PPDB_EXISTS, 2},
		{{with(put("a", "2"), PP_W_CAS, 2), put("b", "2"), put("c", "2")}, PPDB_CONFLICT, 0},
		{{put("a", "2"), put("c", "2"), with(put("d", "2"), PP_W_IFPRESENT, 0)}, PPDB_NOTFOUND, 2},
		{{put("a", "2"), require("c", 0), put("d", "2")}, PPDB_CONFLICT, 1},
	};
	size_t failed;

	for (int i = 0; i < 3; i++)
		cr_assert_eq(engine_store_put(&s, (const char *[]){"a", "b", "c"}[i], "1", 1, 0), 0);
	for (size_t i = 0; i < sizeof(tries) / sizeof(tries[0]); i++) {
		cr_expect_eq(batch(&s.t, tries[i].w, 3, &failed), tries[i].rc, "try %zu", i);
		cr_expect_eq(failed, tries[i].failed, "try %zu", i);
	}
	expect_value("a", "1", 1);
	expect_value("b", "1", 1);
	expect_value("c", "1", 1);
	expect_value("d", "", 0);
	cr_expect_eq(check_quiet(), 3);
}

/* A guard comes to stand on a version that was undone, which has the number that the next write will have. */
Test(engine_batch, a_guard_over_what_was_undone)
{
	uint64_t size = PP_VALUE_MAX;
	void *large = calloc(1, size);
	struct pp_write full[] = {put("a", "undone"), put("b", ""), put("c", "")};
	struct pp_write guarded[] = {require("a", 1), put("z", "new")};

	cr_assert(large);
	full[1].value = full[2].value = large;
	full[1].size = full[2].size = size;
	cr_assert_eq(engine_store_put(&s, "a", "1", 1, 0), 0);
	cr_assert_eq(batch(&s.t, full, 3, NULL), PPDB_FULL);
	free(large);
	engine_store_halt(&s);
	cr_assert_eq(batch(&s.t, guarded, 2, NULL), 0, "%s", pp_detail_get());
	expect_value("a", "1", 1);
	check_quiet();
	cr_assert_eq(engine_store_put(&s, "a", "2", 1, 0), 0);
	expect_value("a", "2", 2);
	check_quiet();
}

Test(engine_batch, bad_batches_are_refused)
{
	struct pp_write unsorted[] = {put("b", "1"), put("a", "1")}, doubled[] = {put("a", "1"), put("a", "2")};
	struct pp_write empty[] = {put("", "1")}, sum[] = {with(put("a", "1"), PP_W_ADD, 0)};

	cr_expect_eq(batch(&s.t, unsorted, 2, NULL), -EINVAL);
	cr_expect_eq(batch(&s.t, doubled, 2, NULL), -EINVAL);
	cr_expect_eq(batch(&s.t, empty, 1, NULL), PPDB_KEYSIZE);
	cr_expect_eq(batch(&s.t, sum, 1, NULL), -EINVAL);
	cr_expect_eq(batch(&s.t, NULL, 0, NULL), 0);
	cr_expect_eq(check_quiet(), 0);
}

/* While the keeper is at work. */
static uint64_t cells_now(void)
{
	struct pp_check_report report;

	pp_check(&s.t, false, &report, complain, NULL);
	return report.keys;
}

/* ---- large ------------------------------------------------------------------------------------------------------ */

#define MANY 100000

static struct pp_write *many_writes(char (*keys)[16], uint32_t flags)
{
	struct pp_write *w = calloc(MANY, sizeof(*w));

	cr_assert(w);
	for (unsigned i = 0; i < MANY; i++) {
		snprintf(keys[i], sizeof(keys[i]), "key-%08u", i);
		w[i] = with(put(keys[i], keys[i]), flags, 0);
	}
	return w;
}

Test(engine_batch, a_hundred_thousand_writes)
{
	char (*keys)[16] = calloc(MANY, sizeof(*keys));
	struct pp_write *w = many_writes(keys, PP_W_IFABSENT), *gone = many_writes(keys, PP_W_DELETE);

	cr_assert_eq(batch(&s.t, w, MANY, NULL), 0, "%s", pp_detail_get());
	expect_value("key-00000000", "key-00000000", 1);
	expect_value("key-00099999", "key-00099999", 1);
	cr_assert_eq(batch(&s.t, w, MANY, NULL), PPDB_EXISTS);
	cr_assert_eq(batch(&s.t, gone, MANY, NULL), 0, "%s", pp_detail_get());
	expect_value("key-00050000", "", 0);
	cr_expect(engine_store_until(cells_now() == 0), "%lu cells are left", (unsigned long)cells_now());
	cr_expect_eq(check_quiet(), 0);
	free(w);
	free(gone);
	free(keys);
}

/* ---- many at once ----------------------------------------------------------------------------------------------- */

#define MOVERS 4
#define ACCOUNTS 12
#define START 1000
#define MOVES 600

struct mover {
	pthread_t thread;
	struct pp_thread t;
	unsigned number, moved, refused;
	int rc;
	const char *problem;
};

static pp_a32 movers_left, looks;   /* snapshots that were looked at meanwhile */

static void account(char name[16], unsigned i)
{
	snprintf(name, 16, "account-%02u", i);
}

static unsigned random_below(uint64_t *x, unsigned n)
{
	*x = *x * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(*x >> 33) % n;
}

/* Takes from one account and gives to the other, if nobody came between. */
static int move(struct mover *m, unsigned from, unsigned to, unsigned amount)
{
	char name[2][16], text[2][24];
	uint64_t version[2];
	struct pp_write w[2];
	unsigned first = from > to;
	long have;

	account(name[0], from);
	account(name[1], to);
	have = atol(value_of(&m->t, name[0], &version[0]));
	if (have < (long)amount)
		return 0;
	snprintf(text[0], sizeof(text[0]), "%ld", have - (long)amount);
	snprintf(text[1], sizeof(text[1]), "%ld", atol(value_of(&m->t, name[1], &version[1])) + (long)amount);
	w[first] = with(put(name[0], text[0]), PP_W_CAS, version[0]);
	w[!first] = with(put(name[1], text[1]), PP_W_CAS, version[1]);
	return batch(&m->t, w, 2, NULL);
}

static void *mover_main(void *arg)
{
	struct mover *m = arg;
	uint64_t x = m->number + 1;

	while ((m->moved < MOVES || pp_load_acq(&looks) < 20) && !m->problem) {
		unsigned from = random_below(&x, ACCOUNTS), to = random_below(&x, ACCOUNTS);

		if (from == to)
			continue;
		m->rc = move(m, from, to, 1 + random_below(&x, 50));
		if (m->rc == PPDB_CONFLICT)
			m->refused++;
		else if (m->rc)
			m->problem = "a batch failed";
		else
			m->moved++;
	}
	pp_add_rlx(&movers_left, UINT32_MAX);
	return NULL;
}

/* The total at one cut. LATEST reads do not make a cut; a snapshot does. */
static long total_at(struct pp_thread *t, uint64_t snapshot)
{
	long total = 0;

	pp_read_enter(t);
	for (unsigned i = 0; i < ACCOUNTS; i++) {
		char name[16], text[32];
		struct pp_key k;
		struct pp_hit hit;

		account(name, i);
		k = (struct pp_key){0, (uint32_t)strlen(name), name};
		if (pp_read(t, &k, snapshot, &hit) == 0) {
			snprintf(text, sizeof(text), "%.*s", (int)hit.size, (const char *)hit.value);
			total += atol(text);
		}
	}
	pp_read_leave(t);
	return total;
}

Test(engine_batch, transfers_keep_the_total)
{
	struct mover movers[MOVERS] = {0};
	struct pp_batch_write all = {.writes = (struct pp_write[ACCOUNTS]){{.flags = 0}}, .count = ACCOUNTS};
	char names[ACCOUNTS][16];
	uint64_t snapshot, begun;

	for (unsigned i = 0; i < ACCOUNTS; i++) {
		account(names[i], i);
		all.writes[i] = put(names[i], "1000");
	}
	cr_assert_eq(pp_batch_write(&s.t, &all), 0);
	begun = all.tag;
	pp_store_rel(&movers_left, MOVERS);
	for (unsigned i = 0; i < MOVERS; i++) {
		movers[i].number = i;
		cr_assert_eq(pp_slot_claim(s.region, s.proc, &movers[i].t), 0);
		cr_assert_eq(pthread_create(&movers[i].thread, NULL, mover_main, &movers[i]), 0);
	}
	while (pp_load_acq(&movers_left)) {
		cr_assert_eq(pp_snapshot_hold(&s.t, begun, &snapshot), 0);
		cr_assert_eq(total_at(&s.t, snapshot), ACCOUNTS * START, "a snapshot saw half a transfer");
		pp_snapshot_drop(&s.t);
		pp_add_rlx(&looks, 1);
	}
	for (unsigned i = 0; i < MOVERS; i++) {
		pthread_join(movers[i].thread, NULL);
		cr_expect_null(movers[i].problem, "mover %u: %s: %s", i, movers[i].problem, pp_error_text(movers[i].rc));
		pp_slot_leave(&movers[i].t);
	}
	cr_expect_eq(total_at(&s.t, PP_LATEST), ACCOUNTS * START);
	check_quiet();
}

/* Two keys, each writer may set its own to 1 only while the other's is 0: with guards never both (write skew). */
static struct pp_thread skew[2];
static pp_a32 at_start;
static int skew_rc[2];

static void *skew_main(void *arg)
{
	unsigned me = (unsigned)(uintptr_t)arg;
	const char *mine = me ? "on-call-b" : "on-call-a", *other = me ? "on-call-a" : "on-call-b";
	struct pp_write w[2];
	uint64_t version;

	if (strcmp(value_of(&skew[me], other, &version), "0") != 0) {
		skew_rc[me] = PPDB_CONFLICT;
		return NULL;
	}
	pp_add_rlx(&at_start, 1);
	while (pp_load_acq(&at_start) < 2)
		pp_pause();
	w[me] = put(mine, "1");
	w[!me] = require(other, version);
	skew_rc[me] = batch(&skew[me], w, 2, NULL);
	return NULL;
}

Test(engine_batch, guards_forbid_write_skew)
{
	unsigned one = 0, none = 0;

	cr_assert_eq(pp_slot_claim(s.region, s.proc, &skew[0]), 0);
	cr_assert_eq(pp_slot_claim(s.region, s.proc, &skew[1]), 0);
	for (unsigned round = 0; round < 300; round++) {
		pthread_t thread[2];

		cr_assert_eq(engine_store_put(&s, "on-call-a", "0", 1, 0), 0);
		cr_assert_eq(engine_store_put(&s, "on-call-b", "0", 1, 0), 0);
		pp_store_rel(&at_start, 0);
		for (unsigned i = 0; i < 2; i++)
			cr_assert_eq(pthread_create(&thread[i], NULL, skew_main, (void *)(uintptr_t)i), 0);
		for (unsigned i = 0; i < 2; i++) {
			pthread_join(thread[i], NULL);
			cr_assert(skew_rc[i] == 0 || skew_rc[i] == PPDB_CONFLICT, "%s", pp_error_text(skew_rc[i]));
		}
		cr_assert(skew_rc[0] || skew_rc[1], "round %u: both committed on what the other changed", round);
		one += !skew_rc[0] || !skew_rc[1];
		none += skew_rc[0] && skew_rc[1];
	}
	cr_expect_gt(one, 0);
	cr_log_info("%u rounds with one, %u with none", one, none);
	pp_slot_leave(&skew[0]);
	pp_slot_leave(&skew[1]);
	check_quiet();
}

/* ---- after a cold start ------------------------------------------------------------------------------------------ */

Test(engine_batch, recovery_knows_the_whole_batch)
{
	struct pp_write w[] = {put("a", "batch"), put("b", "batch"), del("c"), put("d", "batch")};
	struct pp_keeper_config c = {.data_dir = s.dir, .store_id = 77, .wal_backend = "pwrite", .wal_segment_bytes = 4 << 20};
	char again[96];

	cr_assert_eq(engine_store_put(&s, "c", "old", 3, 0), 0);
	cr_assert_eq(batch(&s.t, w, 4, NULL), 0);
	pp_slot_leave(&s.t);
	engine_store_halt(&s);
	cr_assert_eq(pp_keeper_close(s.keeper, false), 0);
	snprintf(again, sizeof(again), "%s/arena-2", s.dir);
	c.region = (struct pp_region_config){.path = again, .name = "unit", .memory_bytes = 128 << 20, .slots = 16, .procs = 8,
		.ring_entries = 1024, .stripes = 64, .shards = 4, .strategy = PP_STRATEGY_RANGE, .pages = PP_MEM_4K, .numa = 1};
	cr_assert_eq(pp_keeper_open(&c, &s.keeper), 0, "%s", pp_detail_get());
	s.region = pp_keeper_region(s.keeper);
	cr_assert_eq(pp_keeper_proc_add(s.keeper, (uint32_t)getpid(), getuid(), pp_self_start(), 0, "unit", &s.proc), 0);
	cr_assert_eq(pp_slot_claim(s.region, s.proc, &s.t), 0);
	expect_value("a", "batch", 1);
	expect_value("b", "batch", 1);
	expect_value("c", "", 0);
	expect_value("d", "batch", 1);
}
