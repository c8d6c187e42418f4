/*
 * place.h - which NUMA node each part of the region belongs on, and how it gets there. Nothing happens on a machine with one node.
 *
 * Segments lie where the thread that needed them asked. In front of them, slots and log rings lie on the node of the threads that
 * claim them, everything else on the node of the daemon.
 */
#ifndef PP_SHM_PLACE_H
#define PP_SHM_PLACE_H

#include "shm/region.h"

/* Slots [pp_first_slot(h, n), pp_first_slot(h, n + 1)) are meant for threads of node n. Those below node 0's are the daemon's. */
static inline unsigned pp_first_slot(const struct pp_header *h, unsigned node)
{
	return h->daemon_slots + (unsigned)((uint64_t)(h->slots - h->daemon_slots) * node / (h->nodes ? h->nodes : 1));
}

/* The n-th of the nodes that have memory, in turn for ever. */
unsigned pp_place_turn(const struct pp_header *h, uint64_t n);

/* Before the front of a new region is committed: says where [0, bytes) is to lie. Failing costs locality only. */
void pp_place_front(int fd, const struct pp_header *h, uint64_t bytes, bool hugetlb);

/* The page kind for a piece of 2 MiB of the front: small pages where parts of several nodes meet in it. */
int pp_place_kind(const struct pp_header *h, uint64_t offset, int kind);

/* Before a segment is committed. */
void pp_place_segment(struct pp_region *r, uint64_t offset, unsigned node);

#endif
