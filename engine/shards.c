/*
 * shards.c - the shard of a key, and what is counted for a shard.
 *
 * Bounds (strategy range). Shard i holds the keys from bound i up to bound i + 1, by the first 32 bytes behind the table; keys that share
 * more than that stay together. The keeper adapts the bounds (engine/adapt.c). A writer that reads a bound while it changes counts for a
 * neighbour: no harm.
 *
 * Shards have no entry points into the upper levels: the levels that one would save hold some hundred blocks at most and are always in the
 * cache, and finding the shard costs the same binary search as one of them (measured with 64 shards and four levels: no gain in finds).
 *
 * Dies inside: a count that is off by one, which the keeper's next pass puts right.
 */
#include "engine/shards.h"

#include "engine/stat.h"

unsigned pp_list_of(const struct pp_thread *t, uint64_t hash)
{
	uint32_t lists = pp_list_count(pp_engine(t));

	return lists > 1 ? (unsigned)((hash >> 32) * lists >> 32) : 0;
}

/* Is bound i above the key? `first` is the key's first word. */
static bool above(const struct pp_engine *e, unsigned i, const struct pp_ikey *k, uint64_t first)
{
	uint64_t word = pp_load_rlx(&e->range_bound[i][0]); /* hint: shards only count and place */

	for (unsigned w = 1; word == first && w < PP_BOUND_WORDS; w++) {
		first = pp_slice(k->bytes, k->size, 4 + 8 * w);
		word = pp_load_rlx(&e->range_bound[i][w]); /* hint */
	}
	return word > first;
}

unsigned pp_shard_at(const struct pp_engine *e, unsigned list, const struct pp_ikey *k)
{
	unsigned low = 0, high = pp_shard_count(e);
	uint64_t first;

	if (e->strategy != PP_STRATEGY_RANGE)
		return list; /* single: one list */
	first = pp_slice(k->bytes, k->size, 4);
	while (high - low > 1) {
		unsigned mid = (low + high) / 2;

		if (above(e, mid, k, first))
			high = mid;
		else
			low = mid;
	}
	return low;
}

unsigned pp_shard_of(const struct pp_thread *t, const struct pp_ikey *k, uint64_t hash)
{
	return pp_shard_at(pp_engine(t), pp_list_of(t, hash), k);
}

void pp_shard_leaf(struct pp_thread *t, unsigned list, const uint8_t *low, uint32_t low_size, int change)
{
	struct pp_ikey k = {low, low_size};
	struct pp_shard *s = pp_shard_in(t, list, &k);

	pp_add_rlx(&s->leaves, (uint64_t)(int64_t)change);              /* stat */
	pp_add_rlx(change > 0 ? &s->splits : &s->merges, 1); /* stat */
}

void pp_shard_contended(struct pp_thread *t, unsigned list, const uint8_t *key, uint32_t key_size)
{
	struct pp_ikey k = {key, key_size};

	pp_add_rlx(&pp_shard_in(t, list, &k)->contention, 1); /* stat */
}

void pp_op_record_key(struct pp_thread *t, enum pp_op op, uint64_t ns, const struct pp_key *k, uint64_t hash)
{
	uint64_t n = pp_load_rlx(&t->slot->recent_count); /* owner */
	struct pp_keybuf b;
	unsigned shard;

	pp_op_record(t, op, ns);
	pp_keybuf_set(&b, k->table, k->data, k->size);
	shard = pp_shard_of(t, &b.key, hash);
	pp_count(&t->slot->usage[shard], pp_time_each(op) / PP_TIME_EACH); /* each stands for PP_TIME_EACH operations */
	pp_store_rlx(&t->slot->recent[n % PP_RECENT], PP_RECENT_WORD(shard, op, ns)); /* stat */
	pp_store_rlx(&t->slot->recent_count, n + 1);                                  /* stat */
}
