/*
 * backoff.h - bounded, random, exponential back-off between tries of a CAS that lost.
 *
 * Only ever delays: nobody waits for an event here, so a stopped or dead process cannot hold anybody up. The limit comes from
 * header.backoff_max (in pauses of about 27 ns; 0 = PP_BACKOFF_DEFAULT).
 */
#ifndef PP_SHM_BACKOFF_H
#define PP_SHM_BACKOFF_H

#include "shm/thread.h"

#define PP_BACKOFF_DEFAULT 256
#define PP_BACKOFF_FIRST 4

struct pp_backoff {
	uint64_t limit;                  /* of the next wait, in pauses; doubles up to max */
	uint64_t max;
	uint64_t tries;
};

static inline void pp_backoff_init(struct pp_backoff *b, const struct pp_thread *t)
{
	uint64_t max = t->region->fixed.backoff_max;

	b->max = max ? max : PP_BACKOFF_DEFAULT;
	b->limit = b->max < PP_BACKOFF_FIRST ? b->max : PP_BACKOFF_FIRST;
	b->tries = 0;
}

/* Pauses between half of the limit and the limit, then doubles it. At the top it gives the cpu away as well: on a crowded
 * machine the one that we compete with may need it. */
void pp_backoff_wait(struct pp_backoff *b, struct pp_thread *t);

#endif
