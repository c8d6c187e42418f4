/*
 * disk_life.h - one life of a store's log and checkpoints on a simulated disk: start, work, power cut, start ... by a seed.
 *
 * Log and checkpoint are the product's own (engine/wal.h, engine/checkpoint.h), used as the keeper uses them. After each cut the
 * same disk comes up in several ways; each way is a crash point: everything is recovered and compared with the model. One of
 * the ways is where life goes on, often only to the next cut inside the restart.
 *
 * What must hold. The disk tells the truth: recovery succeeds; it gives whole epochs, in order, byte for byte, up to a cut that
 * is not before what was acknowledged, and the newest checkpoint that was committed. The disk lies (lost or misdirected
 * writes, flipped bits): the same, or a refusal that names file and offset; what any intact unit on the disk proves to have
 * been durable is never cut off silently. Only the end of the log that nothing proves yet may be cut.
 */
#ifndef TESTS_LIB_DISK_LIFE_H
#define TESTS_LIB_DISK_LIFE_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/wal.h"

enum disk_kind {
	DISK_HONEST,               /* power cuts and killed processes only */
	DISK_FAILING,              /* and EIO and ENOSPC on any call, short writes, a full disk */
	DISK_LYING,                /* lost and misdirected writes, flipped bits */
	DISK_KINDS
};

typedef int disk_recover_fn(const struct pp_wal_config *, uint64_t,
			    int (*)(void *, uint64_t, const void *, size_t), void *, struct pp_wal_recovered *);

struct disk_life {
	uint64_t seed;
	enum disk_kind kind;
	/* Mutants: what each of them breaks must be noticed. */
	disk_recover_fn *recover;  /* NULL: pp_wal_recover */
	bool ack_early, skip_dir_sync, skip_file_sync;
	bool release_early;        /* before the checkpoint that makes it possible is durable */
};

struct disk_counts {
	uint64_t lives, points;    /* recoveries that were compared */
	uint64_t cuts, kills, stops;
	uint64_t again;            /* cuts inside a restart */
	uint64_t right, refused, unproven, unreadable;
	uint64_t records, epochs, units, checkpoints, released, full;
	uint64_t effects, torn, late, failed, lost, misdirected, flipped;
};

/* True: all held. Else `why` says what did not. */
bool disk_life_run(const struct disk_life *, struct disk_counts *, char why[512]);

/* Lives from life->seed on, which rises, until `points` more are reached or one fails: then the line that repeats it is in `why`. */
bool disk_lives_run(struct disk_life *life, uint64_t points, struct disk_counts *, char why[1024]);
/* What was tried, by kinds. */
void disk_counts_print(const char *title, const struct disk_counts *);

#endif
