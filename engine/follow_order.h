/*
 * follow_order.h - the order of one epoch's changes. Private to follow*.
 */
#ifndef PP_ENGINE_FOLLOW_ORDER_H
#define PP_ENGINE_FOLLOW_ORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pp_record;

/* A record of the log in the collector's memory. */
struct pp_follow_item {
	uint64_t epoch;
	size_t at;                         /* offset of its struct pp_record */
};

/*
 * Fills order[n] with a permutation of 0..n-1: per key by seq, what one ring logged in its order, batches whole. `bytes` is what
 * the items' offsets are relative to. -ENOMEM.
 */
int pp_follow_order(const uint8_t *bytes, const struct pp_follow_item *items, size_t n, uint32_t *order);

#endif
