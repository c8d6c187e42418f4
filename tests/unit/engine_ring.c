/*
 * engine_ring.c - the producer's half of the log ring: an entry that is not durable is never overwritten.
 */
#include "tests/unit/engine_store.h"

#include "engine/read.h"
#include "engine/ring.h"
#include "engine/version.h"

static struct engine_store s;

TestSuite(engine_ring, .timeout = 120);

static unsigned used(void)
{
	return (uint16_t)(pp_tail_index(pp_load_acq(&s.t.slot->tail)) - (uint16_t)pp_load_acq(&s.t.slot->head));
}

static pp_ref version_of(const char *key)
{
	struct pp_key k = {0, (uint32_t)strlen(key), key};
	pp_ref cell = pp_cell_find(&s.t, pp_key_hash(&k), &k);

	cr_assert(cell);
	return pp_load_acq(&((struct pp_cell *)pp_at(s.region, cell))->head);
}

/*
 * A write reserves its entry, then meets one undecided version after the other on its key and helps each. Whatever it helps, its own entry
 * must still find room.
 */
Test(engine_ring, helping_leaves_room_for_the_own_entry)
{
	unsigned entries, helped = 0;
	uint64_t bytes;
	pp_ref version;

	engine_store_open(&s, PP_STRATEGY_SINGLE, 1);
	entries = s.region->header->ring_entries;
	cr_assert_eq(engine_store_put(&s, "hot", "value", 5, 0), 0);
	cr_assert(engine_store_until(used() == 0 && pp_load_acq(&s.t.slot->credit_granted) > 100 * entries));
	engine_store_halt(&s);
	while (used() < entries - 3)
		cr_assert_eq(engine_store_put(&s, "hot", "value", 5, 0), 0);
	pp_read_enter(&s.t);
	version = version_of("hot");
	bytes = pp_record_bytes(&s.t, version);
	cr_assert_eq(pp_ring_reserve(&s.t, bytes, PP_NS_PER_MS), 0);
	while (helped < entries && pp_ring_reserve_help(&s.t, bytes)) {
		pp_ring_publish(&s.t, version);
		helped++;
	}
	cr_assert_geq(helped, 1, "what is kept for helping cannot be used");
	pp_ring_publish(&s.t, version);
	cr_assert_leq(used(), entries, "%u entries in a ring of %u after helping %u times", used(), entries, helped);
	pp_read_leave(&s.t);
	engine_store_close(&s);
}
