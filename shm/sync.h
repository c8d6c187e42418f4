/*
 * sync.h - the plan's sync primitives: striped locks of `sync = mutex`, and reference counts that survive a crash.
 *
 * A stripe only *orders* writers, it never protects data: the path behind it is the lock-free one. So a lock may be taken from a
 * dead owner at once and from a stopped one after PP_STEAL_NS, and nobody ever waits longer than that for either. In lock-free mode
 * all lock calls do nothing.
 */
#ifndef PP_SHM_SYNC_H
#define PP_SHM_SYNC_H

#include "shm/thread.h"

enum pp_sync_mode { PP_SYNC_LOCKFREE = 0, PP_SYNC_MUTEX = 1 };

#define PP_STEAL_NS UINT64_C(10000000)

static inline unsigned pp_stripe_of(const struct pp_region *r, uint64_t hash)
{
	return (unsigned)(((hash >> 32) * r->fixed.stripes) >> 32);
}

/*
 * Takes the stripe; waits, in the worst case PP_STEAL_NS for each owner that does not move. True: the caller must unlock it. False:
 * nothing to unlock (lock-free mode, or this thread has it already). Crash: the next one finds the owner dead and takes over.
 */
bool pp_stripe_lock(struct pp_thread *, unsigned stripe);

/* Releases it, if it was not stolen meanwhile. */
void pp_stripe_unlock(struct pp_thread *, unsigned stripe);

/* Takes several stripes in ascending order: sorts the array in place, drops doubles and what this thread holds already. Returns
 * how many at its beginning must be given to pp_stripes_unlock. */
unsigned pp_stripes_lock(struct pp_thread *, uint32_t *stripes, unsigned count);
void pp_stripes_unlock(struct pp_thread *, const uint32_t *stripes, unsigned count);

/* For `ppdb stat` and `ppdb stall`. */
struct pp_stripe_info {
	uint64_t acquired, contended, stolen, wait_ns, held_ns; /* held_ns 0 = free */
	unsigned slot;                   /* of the owner when held */
};
void pp_stripe_look(const struct pp_region *, unsigned stripe, struct pp_stripe_info *out);
/* Sums over all stripes (held_ns: the longest). */
void pp_stripes_total(const struct pp_region *, struct pp_stripe_info *out);

/*
 * Crash-safe references. An object that is reached through one word (`link`, reference in its low 40 bits) is held by listing it in
 * the holder's own slot. Its count is the number of slots that list it, so a reference vanishes with its holder, and no count
 * can be left too high by a crash. Who wants to destroy the object first unlinks it (a CAS on `link`), then asks for the count;
 * once that is 0 after unlinking it stays 0. Holding is cheap, counting looks at all slots.
 */

/* Holds what `link` refers to: *ref. PPDB_NOTFOUND: it refers to nothing; -ENOSPC: PP_CRASHREFS are held already; PPDB_READONLY. */
int pp_crashref_hold(struct pp_thread *, pp_a64 *link, pp_ref *ref);
void pp_crashref_drop(struct pp_thread *, pp_ref ref);
/* Number of living slots that hold it. */
unsigned pp_crashref_count(const struct pp_region *, pp_ref ref);

#endif
