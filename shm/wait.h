/*
 * wait.h - sleeping and waking across processes: for durability, for the daemon's bell, and bare futexes.
 *
 * Nobody sleeps longer than PP_SLEEP_MAX_NS at a time, because the one that should wake it may be dead. A sleeper that is killed
 * leaves nothing behind but a stale wait_epoch, which costs the daemon a needless system call until the slot is reaped.
 */
#ifndef PP_SHM_WAIT_H
#define PP_SHM_WAIT_H

#include "shm/thread.h"

#define PP_SLEEP_MAX_NS UINT64_C(100000000)
#define PP_FOREVER UINT64_MAX

/*
 * FUTEX_WAIT_BITSET on a shared word, at most timeout_ns (relative). 0 = woken or the word was not `value` (look again), or
 * -ETIMEDOUT, -EINTR. Works on memory that is mapped read-only.
 */
int pp_futex_wait(pp_a32 *word, uint32_t value, uint32_t bits, uint64_t timeout_ns);

/* Wakes up to `count` sleepers with one of `bits`; returns how many. */
int pp_futex_wake(pp_a32 *word, int count, uint32_t bits);

/*
 * Waits until globals.durable_epoch >= epoch: spins as long as that has paid lately, then sleeps. 0; PPDB_TIMEOUT;
 * PPDB_DAEMON_GONE (dead or stopped, and what it had written is looked at once more); the log's -errno when it failed for good.
 * timeout_ns 0 = only look; PP_FOREVER. Not to be called inside a read section: it may take long.
 */
int pp_wait_durable(struct pp_thread *, uint64_t epoch, uint64_t timeout_ns);

/*
 * The daemon, after it stored durable_epoch = to: wakes those that sleep for an epoch up to `to`. One system call, none when nobody
 * sleeps. `from` (the durable epoch before) is only a hint. Read-only clients poll. Returns the number woken.
 */
int pp_wake_durable(struct pp_region *, uint64_t from, uint64_t to);

/* Wakes every sleeper: after globals.failed was set, at a clean stop. */
void pp_wake_all(struct pp_region *);

/*
 * A client, after it published work by a seq_cst operation: wakes the daemon if it sleeps. True if it had to.
 * Costs a load of a line that changes only when the daemon goes to sleep.
 */
bool pp_ring_bell(struct pp_region *);

/*
 * The daemon, when it found nothing to do: sleeps until the bell rings or timeout_ns (cut to PP_SLEEP_MAX_NS) passed. `work` is
 * called after the bell was set, and must look at what clients publish; if it says true there is no sleep. 0 = rung or work,
 * -ETIMEDOUT.
 */
int pp_bell_sleep(struct pp_region *, bool (*work)(void *), void *context, uint64_t timeout_ns);

/* True if the daemon that the region names is dead or has stopped. Two system calls or three: not for hot paths. */
bool pp_daemon_gone(struct pp_region *);

/* What the learned spinning would do now: nanoseconds to spin, 0 = sleep at once. For tests and `ppdb perf`. */
uint64_t pp_spin_budget(struct pp_thread *);

#endif
