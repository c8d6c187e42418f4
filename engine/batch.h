/*
 * batch.h - meeting a batch: what its word says of a version, and getting past one that is under way. (Making one: engine/store.h.)
 */
#ifndef PP_ENGINE_BATCH_H
#define PP_ENGINE_BATCH_H

#include "engine/version.h"

/*
 * Another's undecided batch holds the head that the caller wants. READY: publishes and commits it for its owner. INSTALLING: waits while
 * it gets on, within bounds, then aborts it; `mine` (or NULL) shows meanwhile that the caller itself is not stopped. 0: look again;
 * PPDB_OVERLOAD: no room in the own ring.
 */
int pp_batch_pass(struct pp_thread *, struct pp_version *, struct pp_batch *mine);

/* An aborted batch: turns the words of its versions and retires it. Owner or reaper; again after a death. The caller's interval, or the
 * dead owner's, keeps what it lists. */
void pp_batch_undo(struct pp_thread *, pp_ref batch, uint64_t gen);

/* Reaper: the batch of a dead process is aborted unless it is committed. */
void pp_batch_reap(struct pp_thread *, pp_ref batch, uint64_t gen);

#endif
