/*
 * floor.h - seq floors: the least version number a new life of a key may start above.
 *
 * PP_FLOORS words, striped by the key's hash (never by shard). Whoever removes a key for good raises its floor to the tombstone's seq
 * *before* the head becomes DEAD, so a cell that is created after that starts above it.
 */
#ifndef PP_ENGINE_FLOOR_H
#define PP_ENGINE_FLOOR_H

#include "engine/index.h"

static inline pp_a64 *pp_floor_word(const struct pp_thread *t, uint64_t hash)
{
	return &pp_engine(t)->floor[hash >> 16 & (PP_FLOORS - 1)];
}

static inline uint64_t pp_floor_read(const struct pp_thread *t, uint64_t hash)
{
	/* [floor.read:word] pairs [floor.raise:word]: the floor before DEAD, which the creator saw (acquire) */
	return pp_load_acq(pp_floor_word(t, hash));
}

static inline void pp_floor_raise(const struct pp_thread *t, uint64_t hash, uint64_t seq)
{
	uint64_t now = pp_load_acq(pp_floor_word(t, hash));

	/* [floor.raise:word] pairs [floor.read:word]: before DEAD is stored */
	while (now < seq && !pp_cas_acqrel(pp_floor_word(t, hash), &now, seq))
		;
}

#endif
