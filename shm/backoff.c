/*
 * backoff.c - one step of exponential back-off.
 *
 * Randomness is the thread's own xorshift state, so no two threads stay in step. Shares nothing; a death leaves nothing.
 */
#include "shm/backoff.h"

#include <sched.h>

static uint64_t next_random(struct pp_thread *t)
{
	uint64_t x = t->seed ? t->seed : (uint64_t)(uintptr_t)t | 1;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	t->seed = x;
	return x;
}

void pp_backoff_wait(struct pp_backoff *b, struct pp_thread *t)
{
	uint64_t half = b->limit / 2, pauses = b->limit - half + (half ? next_random(t) % (half + 1) : 0);

	for (uint64_t i = 0; i < pauses; i++)
		pp_pause();
	b->tries++;
	if (b->limit >= b->max)
		sched_yield();
	b->limit = 2 * b->limit < b->max ? 2 * b->limit : b->max;
}
