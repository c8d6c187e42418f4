/*
 * keeper.h - the daemon's duties as bounded steps that a test can call in-process.
 *
 * ppdbd's step thread runs pp_keeper_step in a loop and sleeps in pp_keeper_sleep when a step found nothing to do. A second
 * thread runs pp_keeper_house (reclamation, sweeps), a third one checkpoints, a fourth prepares log segments: neither commits nor
 * reclamation wait for files.
 */
#ifndef PP_ENGINE_KEEPER_H
#define PP_ENGINE_KEEPER_H

#include "engine/store.h"
#include "shm/region.h"

struct pp_keeper;
struct pp_disk;

struct pp_keeper_config {
	const char *data_dir;              /* exists, locked by the caller */
	uint64_t store_id;                 /* of the data directory (pp_store_open) */
	struct pp_region_config region;    /* path, sizes, shards ... for a region that must be created */
	const char *wal_backend;           /* "auto", "uring-dsync", "uring-fsync", "pwrite" ... */
	uint64_t wal_segment_bytes;        /* 0 = 64 MiB */
	unsigned wal_depth;                /* 0 = 2 */
	uint64_t checkpoint_bytes;         /* log size that starts a checkpoint, 0 = 1 GiB */
	uint64_t feed_hold_bytes;          /* log kept for bookmarks at most (engine/bookmark.h), 0 = no limit */
	unsigned checkpoint_streams;       /* 0 = number of cores, at most 8 */
	uint64_t pin_seconds, pin_bytes;   /* what a client may hold, and for how long (engine/pins.c); 0 = no limit */
	bool no_gather;                    /* cells stay where they were made (gather.c) */
	struct pp_disk *disk;              /* of log and checkpoint; NULL = the machine's own (disk.h) */
	uint64_t recover_run_bytes;        /* records that recovery sorts at once, 0 = a sixteenth of the arena, 32 to 512 MiB */
	void (*progress)(void *ctx, const char *what, uint64_t done, uint64_t total);
	void (*say)(void *ctx, const char *sentence); /* what the user should know of the start; NULL = nobody listens */
	/* Step thread: the log has come further, or failed (failed != 0); called after the next write was submitted. NULL = nobody listens. */
	void (*durable)(void *ctx, uint64_t epoch, int failed);
	void *ctx;
};

/*
 * Opens the store: adopts the live region when it belongs to this boot, layout and store and its last durable unit is in the log
 * (warm), else creates a region and recovers checkpoint + log into it (cold); also when a cleanly stopped region has other sizes. PPDB_CORRUPT: acknowledged data is damaged; the detail
 * names file and offset. On return clients may attach.
 */
int pp_keeper_open(const struct pp_keeper_config *, struct pp_keeper **out);
struct pp_region *pp_keeper_region(struct pp_keeper *);
bool pp_keeper_was_warm(const struct pp_keeper *);

/* One round of commit work: close, settle, log, submit, reap completions, publish durable, wake. Returns > 0 if something was
 * done, 0 if idle, < 0: the log failed (the store stays readable). Called by one thread. */
int pp_keeper_step(struct pp_keeper *);
/* Sleeps until a client rings, a log write completes, or the time-out. */
void pp_keeper_sleep(struct pp_keeper *, uint64_t timeout_ns);

/* One bounded round of housekeeping: reclamation round, sweep, removal of dead keys, merges, hint growth.
 * Called by one other thread. Returns > 0 if there is more to do at once. */
int pp_keeper_house(struct pp_keeper *);
/* True while something is written or waits for a round: the house thread should come back in a millisecond. */
bool pp_keeper_busy(const struct pp_keeper *);

/* Prepares log segments, by a thread of its own: zeros and syncs may take seconds on a busy disk, and what the dead held must not
 * stay taken for so long. > 0: made one. */
int pp_keeper_prepare(struct pp_keeper *);

/* Checkpoints, by another thread, so that neither commits nor reclamation wait for them: true when the log has grown enough. */
bool pp_keeper_checkpoint_due(struct pp_keeper *);
uint64_t pp_keeper_checkpoint_bytes(const struct pp_keeper *); /* log bytes that make one due */
int pp_keeper_checkpoint(struct pp_keeper *);  /* now, in the calling thread; 0 or an error with detail */

/* Processes: the daemon's socket code fills a pp_proc record when a client attaches and says here when it died. */
int pp_keeper_proc_add(struct pp_keeper *, uint32_t pid, uint32_t uid, uint64_t start, uint32_t flags, const char *name,
		       uint32_t *proc);
/* The process is dead or detached cleanly: settles and gives back all its slots. Safe to call from the socket thread; the work is done by the house
 * thread in bounded steps; the record becomes free when all its slots are. */
void pp_keeper_proc_gone(struct pp_keeper *, uint32_t proc);
/* After a warm restart: calls back for each process record that was attached, so that the socket code can watch it (pidfd) or declare it gone. */
void pp_keeper_procs(struct pp_keeper *, void (*fn)(void *ctx, uint32_t proc, const struct pp_proc *), void *ctx);
/* A read-only client's control region: its slots join the reclamation scan; removed with proc_gone. */
int pp_keeper_control_add(struct pp_keeper *, uint32_t proc, struct pp_slot *slots, unsigned count);

/* Asks a checkpoint under way to end early; the threads are joined next. */
void pp_keeper_stop(struct pp_keeper *);

/* Clean stop: drains, writes the marker, optionally checkpoints; then the region stays for a warm start. */
int pp_keeper_close(struct pp_keeper *, bool checkpoint);

/* Integrity check of a live or dead region: every invariant of index, chains, hints, and the account of every byte (quiet = nobody
 * writes, then numbers must be exact). Problems are reported one by one. Returns their number or an error. */
struct pp_check_report {
	uint64_t keys, versions, leaves, index_cells, tombstones, problems;
	uint64_t committed_bytes, live_bytes, free_bytes, limbo_bytes, private_bytes, unaccounted_bytes;
};
int pp_check(struct pp_thread *, bool quiet, struct pp_check_report *, void (*problem)(void *ctx, const char *text), void *ctx);

#endif
