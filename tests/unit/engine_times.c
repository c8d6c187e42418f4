/*
 * engine_times.c - where the time of a durable write goes: phases of writes, group commits, writes of the log.
 */
#include "tests/unit/engine_store.h"

#include "engine/commit_times.h"
#include "engine/stat.h"
#include "shm/wait.h"

static struct engine_store s;

TestSuite(engine_times, .timeout = 120);

static uint64_t sum32(const pp_a32 row[PP_HIST_BUCKETS])
{
	struct pp_hist h = {0};

	pp_hist_merge(&h, row);
	return h.total;
}

static uint64_t sum64(const pp_a64 row[PP_HIST_BUCKETS])
{
	struct pp_hist h = {0};

	pp_hist_merge64(&h, row);
	return h.total;
}

static void put_durably(const char *key)
{
	struct pp_write w = {.key = {0, (uint32_t)strlen(key), key}, .value = "v", .size = 1, .timeout_ns = 20 * PP_NS_PER_SEC};
	uint64_t start;

	cr_assert_eq(pp_write(&s.t, &w), 0);
	start = pp_now_ns();
	cr_assert_eq(pp_wait_durable(&s.t, w.tag, test_patience(30 * PP_NS_PER_SEC)), 0);
	pp_times_waited(&s.t, w.tag, start);
}

Test(engine_times, parts_of_durable_writes_are_counted)
{
	uint64_t commits;

	engine_store_open(&s, PP_STRATEGY_SINGLE, 1);
	for (unsigned i = 0; i < 65; i++)
		put_durably("key");
	/* the first, the 33rd and the 65th write are timed, every wait is */
	cr_assert_eq(sum32(s.t.slot->phase[PP_PHASE_INSTALL]), 3);
	cr_assert_eq(sum32(s.t.slot->phase[PP_PHASE_PUBLISH]), 3);
	cr_assert_eq(sum32(s.t.slot->hist[PP_OP_PUT]), 3);
	cr_assert_eq(pp_load_rlx(&s.t.slot->count.ops[PP_OP_WAIT]), 65);
	cr_assert_eq(sum32(s.t.slot->phase[PP_PHASE_QUEUE]), 65);
	cr_assert_eq(sum32(s.t.slot->phase[PP_PHASE_WAKE]), 65);
	commits = sum64(s.engine->commit_records);
	cr_assert(commits >= 65, "65 writes, one after the other, in %llu commits", (unsigned long long)commits);
	cr_assert_eq(sum64(s.engine->commit_bytes), commits);
	cr_assert_eq(sum64(s.engine->settle_ns), commits);
	cr_assert_geq(sum64(s.engine->write_ns), commits);
	cr_assert_eq(s.engine->commit_records[1], commits, "one record each");
	engine_store_close(&s);
}

Test(engine_times, the_last_timed_operations_are_remembered)
{
	uint64_t n;

	engine_store_open(&s, PP_STRATEGY_RANGE, 4);
	for (unsigned i = 0; i < PP_TIME_EACH * (PP_RECENT + 3); i++)
		cr_assert_eq(engine_store_put(&s, "key", "v", 1, 0), 0);
	cr_assert_eq(engine_store_get(&s, "key"), 0);
	n = pp_load_rlx(&s.t.slot->recent_count);
	cr_assert_eq(n, PP_RECENT + 4);
	cr_assert_eq(pp_recent_op(s.t.slot->recent[(n - 1) % PP_RECENT]), PP_OP_GET);
	for (unsigned i = 2; i <= PP_RECENT; i++) {
		uint64_t w = pp_load_rlx(&s.t.slot->recent[(n - i) % PP_RECENT]);

		cr_assert_eq(pp_recent_op(w), PP_OP_PUT);
		cr_assert_lt(pp_recent_shard(w), 4);
		cr_assert_gt(pp_recent_ns(w), 0);
	}
	engine_store_close(&s);
}

/* A read that no hint helps goes through the index. */
Test(engine_times, blocks_that_a_read_looked_at)
{
	uint64_t before;

	engine_store_open(&s, PP_STRATEGY_SINGLE, 1);
	cr_assert_eq(engine_store_put(&s, "key", "v", 1, 0), 0);
	before = pp_load_rlx(&s.t.slot->count.read_blocks);
	cr_assert_eq(engine_store_get(&s, "other"), PPDB_NOTFOUND);
	cr_assert_eq(pp_load_rlx(&s.t.slot->count.read_blocks) - before, 1, "the index is one leaf");
	cr_assert_eq(engine_store_get(&s, "key"), 0);
	cr_assert_eq(pp_load_rlx(&s.t.slot->count.read_blocks) - before, 1, "the hint was enough");
	engine_store_close(&s);
}
