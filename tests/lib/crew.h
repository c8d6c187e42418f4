/*
 * crew.h - client processes that work on one store while a test kills or stops them, or the daemon.
 *
 *   HEAD      writes (generation, n) to "chain/0", n rising, now and then durably
 *   FOLLOWER  reads "chain/i-1" and writes what it read to "chain/i": a dependent write
 *   SEQUENCE  writes "seq/i/generation/n" for n = 1, 2, ... and deletes the one SEQ_KEPT behind; number 1 hears from a completion queue what is
 *             durable
 *   CHURN     everything on few overlapping keys: put of all sizes, delete, cas, add, touch, get, scans, batches that move amounts between
 *             accounts, values filled in place (published, cancelled, or open when it dies), a table that all make, use and drop; checks each
 *             value that it reads
 *   TABLES    makes a table, fills it with n = 1, 2, ..., drops it, makes it again
 *   FEED      follows all changes from a bookmark: of each key every version once, in order, whoever is killed meanwhile
 *   JUDGE     takes snapshots and looks whether the chain and the sequences are prefixes there, and the accounts' total is the same
 *
 * Each member notes in shared memory what it began, what returned and what is durable, so the test knows what a store must hold after
 * it killed somebody. A member that finds something wrong fails the test (test_require).
 *
 * `generation` counts cold starts. A write of a client that is under way during one may arrive in the new arena although what it
 * depends on was lost with the old one; therefore only values of the current generation are compared, and members use a new
 * generation only when a durable write of theirs has succeeded in the new arena.
 */
#ifndef TESTS_LIB_CREW_H
#define TESTS_LIB_CREW_H

#include "shm/hist.h"
#include "tests/lib/limits.h"
#include "tests/lib/store.h"

#define CREW_MAX 24
#define CREW_COUNTERS 4
#define CREW_STUCK_NS test_patience(UINT64_C(60000000000))
#define SEQ_KEPT 50

enum crew_job { CREW_HEAD, CREW_FOLLOWER, CREW_SEQUENCE, CREW_CHURN, CREW_JUDGE, CREW_TABLES, CREW_FEED };
/* What is timed, when it succeeds: a read in place, a range of up to 60, a write until it is visible, until it is durable, a snapshot. */
enum crew_kind { CREW_GET, CREW_SCAN, CREW_WRITE, CREW_DURABLE, CREW_SNAPSHOT, CREW_KINDS };

struct crew_member {
	pid_t pid;                           /* 0 = nobody */
	enum crew_job job;
	unsigned index, number;              /* place in the crew; FOLLOWER: link of the chain, SEQUENCE: which one */
	uint64_t stream;                     /* of random numbers */
	bool stopped;
	uint64_t resumed_ns;
	char op[96];                         /* what it does */
	_Atomic uint64_t op_began_ns;        /* 0 = between two operations */
	_Atomic uint64_t ops;                /* finished */
	_Atomic uint64_t generation;         /* in use */
	_Atomic uint64_t begun, done, durable; /* HEAD, SEQUENCE, TABLES, and CHURN's own key: numbers of this generation */
	_Atomic uint32_t table, dropping;    /* TABLES: its number, 0 = none for sure; a drop was begun */
	_Atomic uint64_t add_begun[CREW_COUNTERS], add_done[CREW_COUNTERS];
};

/* What a follower was told of each key; what was acknowledged stands in shared memory, so that the next follower can go on from it. */
#define CREW_FOLLOWED 512
struct crew_told {
	uint64_t version[CREW_FOLLOWED];     /* 0 = nothing yet */
	bool gone[CREW_FOLLOWED], expires[CREW_FOLLOWED];
	bool unsure[CREW_FOLLOWED];          /* it may be another version: nobody knows which of two positions it was */
};
struct crew_changes {
	struct crew_told acked[3];           /* at the bookmark, where it is being moved, and one to write */
	_Atomic uint32_t state;              /* CREW_AT: which is at the bookmark; CREW_MOVING: it is being moved to the next one */
	bool followed;
	_Atomic uint64_t count, acks, lost;
};

struct crew {
	struct test_store *store;
	bool tolerant;                       /* the daemon may die: its absence is no failure */
	bool big;                            /* CHURN: values of up to some MiB too */
	bool scarce;                         /* the disk may be full: writes that find it so are tried again */
	unsigned pace_us;                    /* mean rest between two operations, 0 = none */
	_Atomic uint64_t generation;
	_Atomic uint32_t quit;
	_Atomic uint32_t described;          /* a member has printed the state of the store: once is enough */
	uint64_t hired;
	uint64_t add_low[CREW_COUNTERS], add_high[CREW_COUNTERS]; /* of members that are gone */
	struct crew_member member[CREW_MAX];
	struct crew_changes changes;
	_Atomic uint64_t took[CREW_KINDS][PP_HIST_BUCKETS]; /* by all members that there ever were */
};

struct crew *crew_new(struct test_store *s);
struct crew_member *crew_hire(struct crew *c, unsigned index, enum crew_job job, unsigned number);
/* HEAD, two FOLLOWERs, JUDGE, two SEQUENCEs, TABLES, `churn` CHURNs, and after crew_follow_begin FEED, in this order from place 0. */
#define CREW_FIRST_CHURN 7
void crew_hire_all(struct crew *c, unsigned churn);
/* SIGKILL; what it had begun is added to add_low and add_high. */
void crew_kill(struct crew *c, unsigned index);
/* Asks all to end and waits for them. */
void crew_dismiss(struct crew *c);
/* SIGSTOPs one, or all, and waits until they stand; lets them go on. */
void crew_stop_one(struct crew *c, unsigned index);
void crew_continue_one(struct crew *c, unsigned index);
void crew_stop(struct crew *c);
void crew_continue(struct crew *c);
/* Fails when an operation takes too long, and says which. Also collects members that failed. */
void crew_watch(struct crew *c);
/* Waits until each has finished `ops` more operations, and chain and sequences have reached the current generation. */
void crew_progress(struct crew *c, uint64_t ops);

/*
 * The daemon dies (WARM: the next one adopts the arena; COLD: log and checkpoint are all there is) or stops cleanly, is started again,
 * and what it has is judged while the members stand still.
 */
enum crew_restart { CREW_WARM, CREW_COLD, CREW_CLEAN };
void crew_restart(struct crew *c, enum crew_restart how);

/*
 * What the store holds right after a restart, all members standing still: chain and sequences are prefixes and hold all that was
 * durable, or with `all` (warm) everything that ever returned.
 */
void crew_judge_recovered(struct crew *c, ppdb *db, bool all);
/* Counters hold what was added, give or take what killed members had begun. No cold start in between. */
void crew_judge_counters(struct crew *c, ppdb *db);
/* Takes a backup while all work, starts a store on it and judges that. False: checkpoints overtook it. No cold start in between. */
bool crew_judge_backup(struct crew *c);
/* The number in a CHURN member's own key lies between what returned and what was begun. */
void crew_judge_own(struct crew *c, ppdb *db, unsigned index);

/* A quiet store: check without problem, nothing private, limbo small, and no slot or process record but the daemon's and ours. Waits some seconds
 * for it. `db` must be a read-write handle of this process. */
struct crew_memory {
	uint64_t keys, live, limbo, committed;
};
/* Before anything is measured: what tables leave for good, the key that counts their numbers, is there then. */
#define CREW_KEPT_KEYS 1
void crew_prime(ppdb *db);
/*
 * The changes: from now on, before FEED is hired; all of them were handed out, when nobody writes any more; no bookmark is left. With handles of
 * their own, and ppdbd must not die meanwhile.
 */
void crew_follow_begin(struct crew *c);
void crew_judge_follow(struct crew *c);
void crew_follow_end(struct crew *c);

struct crew_memory crew_settled(const char *when, ppdb *db, unsigned processes, unsigned slots);
/* Deletes all keys and tables. */
void crew_remove_all(ppdb *db);

#endif
