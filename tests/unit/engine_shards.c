/* engine_shards.c - which shard a key belongs to, what is counted for shards, and bounds that follow the keys. */
#include "tests/unit/engine_store.h"

#include "engine/shards.h"
#include "engine/stat.h"
#include "shm/counters.h"

#define KEYS 20000
#define SHARDS 4

static struct engine_store s;

TestSuite(shards, .timeout = 120);

static void fill(const char *format, unsigned keys)
{
	char key[96], value[100] = {0};

	for (unsigned i = 0; i < keys; i++) {
		snprintf(key, sizeof(key), format, i);
		cr_assert_eq(engine_store_put(&s, key, value, sizeof(value), 0), 0, "%s", pp_detail_get());
	}
}

static unsigned shard_of(const char *key)
{
	struct pp_key k = {0, (uint32_t)strlen(key), key};
	struct pp_keybuf b;

	pp_keybuf_set(&b, 0, key, k.size);
	return pp_shard_of(&s.t, &b.key, pp_key_hash(&k));
}

static uint64_t keys_in(unsigned shard)
{
	return pp_load_rlx(&s.engine->shard[shard].keys);
}

static uint64_t keys_sum(void)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < SHARDS; i++)
		sum += keys_in(i);
	return sum;
}

static uint64_t leaves_sum(void)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < SHARDS; i++)
		sum += pp_load_rlx(&s.engine->shard[i].leaves);
	return sum;
}

/* No shard has more than half as much again as its part. */
static bool equal_parts(void)
{
	for (unsigned i = 0; i < SHARDS; i++)
		if (keys_in(i) > keys_sum() / SHARDS * 3 / 2)
			return false;
	return true;
}

static uint64_t walk_leaves(unsigned list)
{
	struct pp_keybuf at;
	struct pp_place p;
	uint64_t leaves = 0;

	pp_keybuf_copy(&at, (const uint8_t *)"", 0);
	do {
		pp_read_enter(&s.t);
		pp_index_find(&s.t, list, 0, &at.key, false, &p);
		pp_keybuf_copy(&at, pp_block_high(p.block), p.block->high_size);
		pp_read_leave(&s.t);
		leaves++;
	} while (at.key.size);
	return leaves;
}

static void check_leaves(void)
{
	uint64_t leaves = 0;

	for (unsigned i = 0; i < s.engine->lists; i++)
		leaves += walk_leaves(i);
	cr_assert_eq(leaves_sum(), leaves);
}

Test(shards, range_bounds_follow_the_keys)
{
	unsigned in[SHARDS] = {0}, last = 0;
	char key[96];

	engine_store_open(&s, PP_STRATEGY_RANGE, SHARDS);
	cr_assert_eq(shard_of("\x01"), 0);
	cr_assert_eq(shard_of("\xff\xff"), SHARDS - 1);
	fill("user:%012u", KEYS); /* all in one shard at first */
	cr_assert(engine_store_until(equal_parts()));
	cr_assert_eq(keys_sum(), KEYS);
	for (unsigned i = 0; i < KEYS; i++) {
		snprintf(key, sizeof(key), "user:%012u", i);
		cr_assert_geq(shard_of(key), last, "shards are in key order");
		last = shard_of(key);
		in[last]++;
	}
	for (unsigned i = 0; i < SHARDS; i++)
		cr_assert(in[i] > KEYS / SHARDS / 2 && in[i] < KEYS / SHARDS * 3 / 2, "shard %u holds %u keys", i, in[i]);
	check_leaves();
	for (unsigned i = 0; i < SHARDS; i++)
		cr_assert(engine_store_until(pp_load_rlx(&s.engine->shard[i].bytes) > keys_in(i) * 116), "shard %u", i);
	engine_store_close(&s);
}

Test(shards, keys_that_no_bound_can_part_stay_together)
{
	engine_store_open(&s, PP_STRATEGY_RANGE, SHARDS);
	fill("a common prefix that is longer than thirty-two bytes %012u", KEYS / 10);
	usleep(400000); /* passes of no use */
	cr_assert_eq(keys_sum(), KEYS / 10);
	cr_assert_eq(shard_of("a"), 0);
	engine_store_close(&s);
}

Test(shards, hash_spreads_keys)
{
	engine_store_open(&s, PP_STRATEGY_HASH, SHARDS);
	fill("user:%012u", KEYS);
	cr_assert_eq(keys_sum(), KEYS);
	cr_assert(equal_parts());
	check_leaves();
	engine_store_close(&s);
}

Test(shards, single_is_one_shard)
{
	engine_store_open(&s, PP_STRATEGY_SINGLE, 1);
	fill("user:%012u", 500);
	cr_assert_eq(keys_in(0), 500);
	cr_assert_eq(shard_of("\xff"), 0);
	engine_store_close(&s);
}

static uint64_t page_of(pp_ref ref)
{
	return (ref - s.region->segments_at) / PP_PAGE_BYTES;
}

/* Cells, blocks and leaves of the shards lie on their nodes. The second node is made up, so memory cannot be bound to it: only where
 * the allocator takes it from can be seen. */
Test(shards, memory_of_a_shard_comes_from_its_node)
{
	unsigned home[2] = {0}, away[2] = {0};
	char key[96];

	engine_store_open(&s, PP_STRATEGY_HASH, 2);
	s.region->fixed.nodes = 2;
	pp_store_rlx(&s.engine->shard[1].node, 1);
	fill("user:%012u", KEYS);
	for (unsigned i = 0; i < KEYS; i++) {
		struct pp_keybuf b;
		struct pp_place p;
		unsigned node;

		snprintf(key, sizeof(key), "user:%012u", i);
		pp_keybuf_set(&b, 0, key, (uint32_t)strlen(key));
		pp_read_enter(&s.t);
		pp_index_find(&s.t, shard_of(key), 0, &b.key, false, &p);
		cr_assert(p.equal);
		for (unsigned n = 0; n < 2; n++) {
			node = pp_load_rlx(&s.region->pages[page_of(n ? p.leaf : pp_block_ref(p.block, p.at))].node);
			(node == shard_of(key) ? home : away)[node]++;
		}
		pp_read_leave(&s.t);
	}
	cr_assert_eq(s.t.node, 0, "set back");
	cr_assert(home[0] > KEYS / 2 && home[1] > KEYS / 2, "%u, %u", home[0], home[1]);
	cr_assert(away[0] + away[1] < KEYS / 10, "%u on node 0 and %u on node 1 are not at home", away[0], away[1]);
	engine_store_close(&s);
}

Test(shards, operations_are_counted_and_some_timed)
{
	const struct pp_engine *e;
	struct pp_hist hist = {0};
	struct pp_totals sum;
	uint64_t usage = 0;

	engine_store_open(&s, PP_STRATEGY_RANGE, SHARDS);
	e = s.engine;
	fill("k%u", 1000);
	for (unsigned i = 0; i < 640; i++)
		cr_assert_eq(engine_store_get(&s, "k7"), 0);
	cr_assert_eq(engine_store_put(&s, "k7", NULL, 0, PP_W_DELETE), 0);
	cr_assert_eq(engine_store_put(&s, "k7", NULL, 0, PP_W_DELETE), PPDB_NOTFOUND);
	cr_assert_eq(pp_load_rlx(&s.t.slot->count.ops[PP_OP_PUT]), 1000);
	cr_assert_eq(pp_load_rlx(&s.t.slot->count.ops[PP_OP_GET]), 640);
	cr_assert_eq(pp_load_rlx(&s.t.slot->count.ops[PP_OP_DEL]), 2);
	pp_hist_merge(&hist, s.t.slot->hist[PP_OP_GET]);
	cr_assert_eq(hist.total, 640 / PP_TIME_EACH_GET + 1);
	pp_slot_leave(&s.t); /* nothing of it is lost */
	cr_assert(engine_store_until(pp_load_rlx(&e->retired.count.ops[PP_OP_GET]) == 640));
	pp_totals_region(s.region, &e->retired.count, &sum);
	cr_assert_eq(sum.ops[PP_OP_PUT], 1000);
	for (unsigned i = 0; i < SHARDS; i++)
		usage += pp_load_rlx(&e->retired.usage[i]);
	cr_assert_eq(usage, (1000 + 31) / 32 + (640 / 256 + 1) * 8 + 1, "a timed get stands for 256, the others for 32");
	engine_store_close(&s);
}
