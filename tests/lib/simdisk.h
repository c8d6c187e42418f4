/*
 * simdisk.h - a disk in memory below log and checkpoint (engine/disk.h) that loses power, fails and lies by a seed.
 *
 * Each file has two images: what a read sees now, and what a power cut is sure to leave; between them a list of effects that
 * were not synced. A power cut keeps of each any part: whole, none, single sectors of 512 or 4096 bytes, a front, or for
 * sectors under way in the process that runs rubbish. Of names (create, rename, remove) it keeps, before the directory's sync, a front of the list (a
 * journal) or any subset in order (rules.any_names); each one whole. A durable write of the log (RWF_DSYNC) is under way from
 * submit on, and completes late, out of order, short, or not at all; once reported complete it is in both images.
 * A killed process loses its descriptors only: its writes under way land later, one by one, between the calls of its successor.
 *
 * From the die_at-th changing call on the disk is dead: that call's effect may have happened, and every call answers -EIO without
 * effect, so that the code above unwinds by itself. One thread. Everything follows from the seeds.
 */
#ifndef TESTS_LIB_SIMDISK_H
#define TESTS_LIB_SIMDISK_H

#include <stdbool.h>

#include "engine/disk.h"

/* Chances are in 65536ths. */
struct simdisk_rules {
	uint32_t short_writes, again;      /* of a write; -EINTR or -EAGAIN */
	uint32_t write_fails, sync_fails, name_fails; /* -EIO or -ENOSPC; a part of it may have happened */
	uint32_t read_fails;               /* -EIO of an open, a read or a list */
	uint32_t lost, misdirected;        /* writes that are acknowledged but went nowhere, or elsewhere */
	uint32_t late;                     /* a killed process's write lands before the next call */
	bool any_names;
	uint64_t capacity;                 /* bytes; 0 = no limit */

	/* What the code above would do to the disk if it forgot a step: the tests of the tests. */
	bool ack_early;                    /* a durable write is reported before it is one */
	bool skip_dir_sync, skip_file_sync;
};

struct simdisk_counts {
	uint64_t calls;                    /* that change something */
	uint64_t cut_effects;              /* that a power cut decided about, writes and names */
	uint64_t torn;                     /* of these, kept in part */
	uint64_t late;                     /* writes of killed processes that landed in their successor's time */
	uint64_t failed, lost, misdirected, flipped, full;
};

struct simdisk {
	struct pp_disk disk;               /* give this to the code */
	struct simdisk_rules rules;
	struct simdisk_counts counts;
	uint64_t die_at;                   /* counts.calls of the last call; 0 = none */
	uint64_t fail_at;                  /* this one fails if it is a sync; 0 = none */
	bool dead;
	bool trace;                        /* every changing call to stderr */
	const char *broken;                /* the code above broke a rule of the interface: which one */
	uint64_t random;
	struct simdisk_state *state;
};

/* Empty but for the directory `dir` ("/store"), which is durable. */
struct simdisk *simdisk_new(uint64_t seed, const char *dir);
void simdisk_free(struct simdisk *);

/* What is there after the power came back, chosen by `seed`; the disk itself stays as it is. */
struct simdisk *simdisk_after_cut(const struct simdisk *, uint64_t seed);
/* The process died: descriptors are closed, the disk works again. */
void simdisk_kill(struct simdisk *);
/* Inverts one bit of a file that is in `dir`, now and durably; false: there is no byte. */
bool simdisk_flip(struct simdisk *, const char *dir, uint64_t seed);

unsigned simdisk_open_files(const struct simdisk *);
/* Bytes that capacity is about. */
uint64_t simdisk_used(const struct simdisk *);
/* The file's bytes as a read sees them, or NULL; for judges. */
const uint8_t *simdisk_look(const struct simdisk *, const char *path, size_t *size_out);

/* splitmix64; every choice of disk and tests comes from one of these. */
uint64_t simdisk_random(uint64_t *state);

#endif
