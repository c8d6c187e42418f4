/* engine_nodes.c - a store on a machine with several NUMA nodes: each shard's data on its home node. `make numa` runs it on two. */
#include "tests/unit/engine_store.h"

#include "engine/shards.h"
#include "shm/numa.h"

#define KEYS 8000
#define SHARDS 4

static struct engine_store s;

static void setup(void)
{
	if (pp_numa_nodes() < 2 || !pp_numa_has_memory(1))
		cr_skip_test("this machine has one NUMA node");
}

TestSuite(nodes_store, .init = setup, .timeout = 240);

static unsigned home_of(const char *key)
{
	struct pp_key k = {0, (uint32_t)strlen(key), key};
	struct pp_keybuf b;
	unsigned shard;

	pp_keybuf_set(&b, 0, key, k.size);
	shard = pp_shard_of(&s.t, &b.key, pp_key_hash(&k));
	return pp_load_rlx(&s.engine->shard[shard].node);
}

static int node_of_value(const char *key)
{
	struct pp_key k = {0, (uint32_t)strlen(key), key};
	struct pp_hit hit;
	int node;

	pp_read_enter(&s.t);
	cr_assert_eq(pp_read(&s.t, &k, PP_LATEST, &hit), 0);
	node = pp_numa_of((void *)(uintptr_t)hit.value);
	pp_read_leave(&s.t);
	return node;
}

/* Spread over the first byte, so over all shards. */
static void name(char key[32], unsigned i)
{
	snprintf(key, 32, "%c%06u", (int)(1 + i * 37 % 250), i);
}

static void put_all(unsigned bytes)
{
	static char value[4096];
	char key[32];

	for (unsigned i = 0; i < KEYS; i++) {
		name(key, i);
		cr_assert_eq(engine_store_put(&s, key, value, bytes, 0), 0, "%s", pp_detail_get());
	}
}

static void expect_homes(const char *when)
{
	unsigned on[2] = {0}, far = 0;
	char key[32];

	for (unsigned i = 0; i < KEYS; i++) {
		name(key, i);
		far += node_of_value(key) != (int)home_of(key);
		on[home_of(key) & 1]++;
	}
	/* bounds of range shards may have moved after some keys were written */
	cr_assert_leq(far, KEYS / 20, "%s: %u of %u values are not on the home node of their shard", when, far, KEYS);
	cr_assert(on[0] > KEYS / 4 && on[1] > KEYS / 4, "%s: %u and %u keys on the nodes", when, on[0], on[1]);
}

static void homes(enum pp_strategy strategy)
{
	engine_store_open(&s, strategy, SHARDS);
	cr_assert_geq(s.region->header->nodes, 2);
	for (unsigned i = 0; i < SHARDS; i++)
		cr_assert_eq(pp_load_rlx(&s.engine->shard[i].node), i / (SHARDS / 2), "homes are spread over the nodes");
	put_all(600);
	expect_homes("written");
	put_all(700);
	expect_homes("overwritten");
	engine_store_close(&s);
}

Test(nodes_store, range_shards_live_on_their_home_nodes)
{
	homes(PP_STRATEGY_RANGE);
}

Test(nodes_store, hash_shards_live_on_their_home_nodes)
{
	homes(PP_STRATEGY_HASH);
}

/* Whoever writes: the home node is the shard's, not the writer's. */
Test(nodes_store, a_writer_on_the_other_node_writes_to_the_home_node)
{
	cr_assert_eq(pp_numa_pin(1), 0);
	homes(PP_STRATEGY_HASH);
}
