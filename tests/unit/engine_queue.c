/*
 * engine_queue.c - a store used as a queue: keys that only rise are written at one end and deleted at the other. However many have gone
 * through, the index is as large as what is in it: at every level no leaf stays behind empty, and no entry names a leaf that has gone.
 */
#include "tests/unit/engine_store.h"

#include "engine/index.h"

#define THROUGH 500000
#define LEVEL_LEAVES 3                 /* more than the keys need: thin ones, and one at work */

static struct engine_store s;

TestSuite(queue, .timeout = 300);

static void key_of(uint64_t n, char key[32])
{
	snprintf(key, 32, "queue/%012llu", (unsigned long long)n);
}

static void pass_through(uint64_t keys, uint64_t kept)
{
	char key[32], value[20] = {0};

	for (uint64_t n = 0; n < keys; n++) {
		key_of(n, key);
		cr_assert_eq(engine_store_put(&s, key, value, sizeof(value), 0), 0, "%s", pp_detail_get());
		if (n < kept)
			continue;
		key_of(n - kept, key);
		cr_assert_eq(engine_store_put(&s, key, NULL, 0, PP_W_DELETE), 0, "%s", pp_detail_get());
	}
}

/* What was deleted is out of the index. */
static bool settled(uint64_t kept)
{
	struct pp_check_report r = {0};

	return pp_check(&s.t, false, &r, NULL, NULL) == 0 && r.keys == kept;
}

static void count_level(unsigned level, uint64_t *leaves, uint64_t *entries)
{
	pp_ref leaf = pp_load_acq(&s.engine->list[0].tower[level]);

	*leaves = *entries = 0;
	pp_read_enter(&s.t);
	while (leaf) {
		struct pp_leaf *l = pp_at(s.region, leaf);
		struct pp_leafblock *b = pp_at(s.region, pp_head_ref(pp_protect(&s.t, &l->head)));

		++*leaves;
		*entries += b->count;
		leaf = pp_link_ref(b->right);
	}
	pp_read_leave(&s.t);
}

static void as_small_as_its_keys(uint64_t kept)
{
	uint64_t below = 0, leaves, entries;

	for (unsigned level = 0; level < pp_load_acq(&s.engine->list[0].levels); level++) {
		count_level(level, &leaves, &entries);
		cr_assert(leaves <= entries / (PP_LEAF_MAX / 4) + LEVEL_LEAVES, "level %u: %llu leaves hold %llu entries", level,
			  (unsigned long long)leaves, (unsigned long long)entries);
		cr_assert(level ? entries < below : entries == kept, "level %u: %llu entries over %llu leaves", level,
			  (unsigned long long)entries, (unsigned long long)below);
		below = leaves;
	}
}

static void queue_of(uint64_t kept)
{
	engine_store_open(&s, PP_STRATEGY_SINGLE, 1);
	pass_through(THROUGH, kept);
	cr_assert(engine_store_until(settled(kept)), "what was deleted stays in the index");
	as_small_as_its_keys(kept);
	engine_store_close(&s);
}

Test(queue, of_many)
{
	queue_of(300);
}

/* Leaves go almost as soon as they are made: some before their entry is in the level above. */
Test(queue, of_two)
{
	queue_of(2);
}
