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
	uint64_t at;                     /* payload reference of that word's block 0 */
	uint32_t size, word;
	uint32_t page;                   /* index + 1 of the owned page, 0 = none */
	uint32_t cursor;                 /* page where the search for partial pages goes on */
	uint64_t dry, full;              /* set_version + 1 at which no partial page, no page at all was found */
	uint32_t skips;
	bool reserved;                   /* the page is from the reserve: only for threads that may use it */
};

struct pp_spin {                         /* what shm/wait.c has learned about spinning in this thread */
	uint64_t mean_ns;                /* exponential average of how long a wait lasts */
	uint32_t skip, penalty;          /* waits still to pass without spinning; how many the next failure costs */
};

/* A private, consistent copy of the announced sets (shm/reclaim.h), refreshed when set_version moved. */
struct pp_safe {
	uint64_t version, era, snapshot_era, prune_floor;
	unsigned intervals, held_count;
	struct pp_interval *interval;    /* malloc'ed, grows; ascending and disjoint */
	uint64_t *held;                  /* malloc'ed, grows; ascending */
	unsigned interval_cap, held_cap;
};

#define PP_NOTHING 128

struct pp_thread {
	struct pp_region *region;
	struct pp_slot *slot;            /* in the data region, or in a read-only client's control region */
	unsigned index;                  /* slot number; PP_MAX_SLOTS for a read-only client */
	unsigned node;                   /* preferred NUMA node: its own, or for a while the one that pp_thread_prefer set */
	unsigned place;                  /* of that node: which hands */
	bool near_only;                  /* pages of other nodes are not looked at now */
	bool fences;                     /* no membarrier: publish with a full fence */
	bool readonly;
	const struct pp_proc *record;    /* read-only: of the process, and its state when the slot was claimed (shm/guard.h) */
	uint64_t record_state;
	unsigned depth;                  /* nested pp_read_enter */
	uint64_t low, high;              /* copy of what the slot publishes */
	uint64_t as_of_ms;               /* wall clock by which times to live are judged; 0 = now. A snapshot's: when it began */
	uint64_t seed;                   /* xorshift state for back-off and eviction */
	unsigned notes;                  /* used notes */
	uint64_t retire_ticks;
	struct pp_hand hand[PP_PLACES][PP_CLASSES];
	struct pp_spin spin;
	bool fresh;                      /* takes pages that nobody has used only, so that its blocks lie in the order of their making */
	bool reserve;                    /* may use the reserve: deletes and the keeper */
	bool keeper;                     /* all of it: the last quarter is what the keeper needs to make room */
	uint64_t promised;               /* log bytes that the operation under way has reserved for its own record */
	uint64_t hints_link;             /* engine: the hint table that was judged, and where it is; 0 = none yet, `hints` is `nothing` */
	void *hints;
	bool creating;                   /* engine: the last write of a key that no hint was asked for made it */
	uint64_t enters;                 /* read sections so far: one operation's PRIVATE blocks live within one */
	uint64_t parked_at;              /* `enters` that slot.parked belongs to */
	unsigned parked;                 /* used entries of slot.parked */
	uint32_t free_cursor;            /* segment where the search for free pages goes on */
	uint64_t swept_at;               /* keeper: set_version + 1 when its pass over the pages began */
	bool limbo_seen, limbo_left;     /* keeper: this pass, the last one left something that waits for a round */
	bool sweep_all;                  /* keeper: nothing was announced during the last pass, so this one leaves nothing */
	uint64_t pages_dry;              /* set_version + 1 at which no empty page could be turned free */
	struct pp_safe safe;
	unsigned meeting;                /* nested searches for the left neighbour of a sealed leaf (engine/merge.c) */
	pp_ref damage;                   /* where the engine met damage first in the operation under way (engine/sound.h), 0 = nowhere */
	_Alignas(16) uint8_t nothing[PP_NOTHING]; /* what a reference that leads nowhere is taken for; 16: what malloc and vectors agree on */
};

static inline struct pp_hand *pp_hand_of(struct pp_thread *t, unsigned klass)
{
	return &t->hand[t->place][klass];
}

/* Allocations come from `node` until it is set back to what this returns. Nothing happens on one node. */
static inline unsigned pp_thread_prefer(struct pp_thread *t, unsigned node)
{
	unsigned before = t->node;

	if (t->region->fixed.nodes > 1) {
		t->node = node;
		t->place = node % PP_PLACES;
	}
	return before;
}

#endif
