/*
 * ring.h - the log ring of a slot: reserve, publish, commit (the producer's half of design 5).
 */
#ifndef PP_ENGINE_RING_H
#define PP_ENGINE_RING_H

#include "engine/layout.h"
#include "shm/thread.h"

/*
 * Makes sure that the ring has room for an entry and the slot has log credit for `bytes`, waiting up to timeout_ns. With it a
 * following pp_ring_publish cannot fail. PPDB_OVERLOAD, -ENOSPC, the log's error, PPDB_DAEMON_GONE.
 */
int pp_ring_reserve(struct pp_thread *, uint64_t bytes, uint64_t timeout_ns);

/*
 * The same for an entry that helps another operation, never waiting: what this one has reserved for itself stays there, however often it
 * helps (tests/model/ring.pml).
 */
bool pp_ring_reserve_help(struct pp_thread *, uint64_t bytes);

/*
 * Publishes `version` (installed, PENDING) in the own ring and commits it: its state becomes COMMITTED by this entry unless someone was
 * faster or the reaper aborted it. Returns the epoch tag of the state that stands then (0: aborted, or the region is barred and nothing
 * was done). Rings the daemon if asleep.
 */
uint64_t pp_ring_publish(struct pp_thread *, pp_ref version);

/* The same for a batch that is READY; its log space is charged already (pp_ring_charge). */
uint64_t pp_ring_publish_batch(struct pp_thread *, pp_ref batch);

/* Takes log space that was reserved, or gives it back unused: before a batch becomes READY, and after it was aborted. */
void pp_ring_charge(struct pp_thread *, uint64_t bytes);
void pp_ring_uncharge(struct pp_thread *, uint64_t bytes);

/* Why nothing was published, if the region is barred (engine/succeed.h): -ESTALE with its sentence. */
int pp_arena_barred(void);

/* There is no room: PPDB_OVERLOAD with its sentence. */
int pp_ring_full(void);

/* Log bytes charged for a version. */
uint64_t pp_record_bytes(struct pp_thread *, pp_ref version);

#endif
