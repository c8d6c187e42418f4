/*
 * thread.h - what one thread needs for every operation: its region, its slot, its private allocator state.
 *
 * A pp_thread lives in process-private memory and is used by one thread at a time. What must outlive the process (interval,
 * ring, notes, owned pages) is in the slot.
 */
#ifndef PP_SHM_THREAD_H
#define PP_SHM_THREAD_H

#include "shm/region.h"

struct pp_hand {                         /* free blocks taken from the owned page of one class, not yet handed out */
	uint64_t bits;                   /* of bitmap word `word` */
	uint32_t word;
	uint32_t scan;                   /* next bitmap word to look at */
};

struct pp_spin {                         /* what shm/wait.c has learned about spinning in this thread */
	uint64_t mean_ns;                /* exponential average of how long a wait lasts */
	uint32_t skip, penalty;          /* waits still to pass without spinning; how many the next failure costs */
};

struct pp_thread {
	struct pp_region *region;
	struct pp_slot *slot;            /* in the data region, or in a read-only client's control region */
	unsigned index;                  /* slot number; PP_MAX_SLOTS for a read-only client */
	unsigned node;                   /* preferred NUMA node */
	bool fences;                     /* no membarrier: publish with a full fence */
	bool readonly;
	unsigned depth;                  /* nested pp_read_enter */
	uint64_t low, high;              /* copy of what the slot publishes */
	uint64_t seed;                   /* xorshift state for back-off and eviction */
	unsigned notes;                  /* used notes */
	uint64_t retire_ticks;
	struct pp_hand hand[PP_CLASSES];
	struct pp_spin spin;
	bool reserve;                    /* may use the reserve: deletes and the keeper */
};

#endif
