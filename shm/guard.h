/*
 * guard.h - reading memory that may be taken away meanwhile: how a read that met nonsense gets out.
 *
 * A read-only client whose pin was revoked (PP_PROC_EVICTED) may be in the middle of a read, stopped for hours; when it goes on, what it
 * refers to may be anything. It must not crash, and not answer. So in a read-only mapping
 *   - every reference is judged before it is followed (pp_at, pp_ref_inside); behind the end of what is backed lie zeros, so that
 *     reading on behind a sound reference hits nothing (shm/region.c);
 *   - sizes are cut to what the buffer holds before anything is copied (engine/key.h);
 *   - a wild reference, or a look that finds the record revoked, ends the read: pp_guard_fail jumps out of the engine to the call that
 *     armed the guard. Looks: where the era moved, and each some hundred steps of a loop;
 *   - the caller looks once more after the read, before it believes the result: memory is given to others only after the record
 *     says so, hence a record that stands after the read vouches for all of it.
 *
 * The engine's read path holds no lock and allocates nothing that a jump would leak. A read-write client has no guard.
 */
#ifndef PP_SHM_GUARD_H
#define PP_SHM_GUARD_H

#include "shm/thread.h"

#include <setjmp.h>

struct pp_guard {
	struct pp_guard *outer;
	struct pp_thread *t;
	unsigned depth;                  /* of read sections when it was armed */
	int rc;
	jmp_buf back;
};

extern _Thread_local struct pp_guard *pp_guard_now __attribute__((tls_model("initial-exec")));

static inline void pp_guard_arm(struct pp_guard *g, struct pp_thread *t)
{
	g->outer = pp_guard_now;
	g->t = t;
	g->depth = t->depth;
	pp_guard_now = g;
}

/* After the read, and after a jump. */
static inline void pp_guard_disarm(struct pp_guard *g)
{
	pp_guard_now = g->outer;
}

/* Has the thread's record been revoked, or given to another? */
static inline bool pp_evicted(const struct pp_thread *t)
{
	const struct pp_proc *p = t->record;

	return p && (pp_load_acq(&p->flags) & PP_PROC_EVICTED || pp_load_acq(&p->state) != t->record_state);
}

/* Ends the read under the guard with PPDB_EVICTED, or PPDB_CORRUPT if the record stands. Returns only where there is none. */
void pp_guard_fail(void);

/* A look in a loop that nonsense could keep going; *steps counts. */
static inline void pp_guard_step(const struct pp_thread *t, unsigned *steps)
{
	if (__builtin_expect(++*steps % 256 == 0, 0) && pp_evicted(t))
		pp_guard_fail();
}

#endif
