/*
 * disk_judge.h - a life on a simulated disk as it stands, and what recovery makes of it. Private to disk_life.c and disk_judge.c.
 */
#ifndef TESTS_LIB_DISK_JUDGE_H
#define TESTS_LIB_DISK_JUDGE_H

#include "engine/checkpoint.h"
#include "engine/file.h"
#include "engine/layout_ckpt.h"
#include "engine/wal.h"
#include "shm/errors.h"
#include "tests/lib/disk_life.h"
#include "tests/lib/disk_book.h"
#include "tests/lib/simdisk.h"

#define LIFE_DIR "/store"
#define LIFE_LOG LIFE_DIR "/wal"
#define LIFE_CKPT LIFE_DIR "/checkpoint"
#define LIFE_STORE 0x5107e

struct life {
	const struct disk_life *o;
	struct disk_counts *counts;
	struct simdisk *d;
	uint64_t random;
	struct pp_wal_config config;
	struct book book;
	uint8_t *bytes, *expected; /* one record each */
	char why[512];
	bool over;                 /* refused, or cut where nothing was proven */

	/* Of the process that runs. */
	struct pp_wal *wal;
	bool opened;               /* the new generation is durable */
	bool warm;                 /* the process before was killed: the region would still know the durable position */
	struct pp_ckpt_writer *ckpt;
	uint64_t snapshot;         /* of the checkpoint being written */
	uint64_t newest;           /* snapshot of the newest one that this process knows */
	bool release_due;
	bool given_up;             /* an error that the keeper takes for the log's end */

	/* Of the store. */
	uint64_t epoch;            /* open */
	uint64_t ended;            /* last one that ended, perhaps */
	struct pp_wal_pos acked;
	uint64_t committed;        /* snapshot of the newest checkpoint that was committed for sure */
	uint64_t generation;
};

enum life_verdict { LIFE_RIGHT, LIFE_REFUSED, LIFE_UNPROVEN, LIFE_UNREADABLE };

struct seen {
	enum life_verdict verdict;
	uint64_t snapshot, max_tag; /* of the checkpoint; 0 = none */
	struct pp_wal_recovered log;
};

/* What goes into a checkpoint besides records follows from its snapshot. */
struct life_extras {
	struct pp_ckpt_meta meta;
	struct pp_ckpt_range lost;
	uint64_t floors[8];
	size_t nfloors;
};
struct life_extras life_extras(uint64_t snapshot);

/* Recovers from `d` as a restart would and compares: a crash point. False: wrong, l->why says it. */
bool life_look(struct life *l, struct simdisk *d, struct seen *seen);
/* A warm restart: the durable position must be found in the log, and the quick way must find the same end. */
bool life_look_warm(struct life *l, struct seen *seen);

static inline bool log_failed(struct life *l)
{
	struct pp_wal_stats stats;

	pp_wal_stat(l->wal, &stats);
	return stats.failed != 0;
}

#endif
