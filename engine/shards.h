/*
 * shards.h - which shard a key belongs to, and what is counted for it.
 *
 * hash: a shard is a list of its own. range: a part of the one list, between two bounds that the keeper adapts; no key ever moves.
 * Shards count, place memory on nodes, and tell where the load is; nothing depends on the answer for a key staying the same.
 */
#ifndef PP_ENGINE_SHARDS_H
#define PP_ENGINE_SHARDS_H

#include "engine/index.h"

/* New region: home nodes, spread over those that have memory, and bounds that part the key space evenly. */
void pp_shards_format(struct pp_region *);

/* Number of the shard of key `k`, which is in that list. */
unsigned pp_shard_at(const struct pp_engine *, unsigned list, const struct pp_ikey *k);

static inline struct pp_shard *pp_shard_in(const struct pp_thread *t, unsigned list, const struct pp_ikey *k)
{
	return &pp_engine(t)->shard[pp_shard_at(pp_engine(t), list, k)];
}

/* What is allocated from now on lies on the home node of the key's shard; returns what to give to pp_thread_prefer afterwards. */
static inline unsigned pp_shard_prefer(struct pp_thread *t, unsigned list, const struct pp_ikey *k)
{
	if (__builtin_expect(t->region->fixed.nodes < 2, 1))
		return t->node;
	return pp_thread_prefer(t, pp_load_rlx(&pp_shard_in(t, list, k)->node)); /* immutable */
}

/* A leaf appeared (+1) or went (-1). */
void pp_shard_leaf(struct pp_thread *, unsigned list, const uint8_t *low, uint32_t low_size, int change);

/* Somebody else was faster. */
void pp_shard_contended(struct pp_thread *, unsigned list, const uint8_t *key, uint32_t key_size);

/* Keeper's state. The step, each 100 ms: estimates bytes, adapts bounds. */
struct pp_shards;
struct pp_keeper;
void pp_shards_step(struct pp_keeper *);
void pp_shards_free(struct pp_shards *);

#endif
