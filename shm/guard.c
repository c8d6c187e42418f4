/*
 * guard.c - the way out of a read that met nonsense (see guard.h).
 *
 * Dies inside: nothing shared was written.
 */
#include "shm/guard.h"

_Thread_local struct pp_guard *pp_guard_now __attribute__((tls_model("initial-exec")));

void pp_guard_fail(void)
{
	struct pp_guard *g = pp_guard_now;

	if (!g)
		return;
	if (pp_evicted(g->t))
		g->rc = pp_detail(PPDB_EVICTED, "%s", pp_error_text(PPDB_EVICTED));
	else
		g->rc = pp_detail(PPDB_CORRUPT, "a reference leads out of the arena: run 'ppdb check'");
	longjmp(g->back, 1);
}
