/*
 * simdisk_state.h - what a simulated disk holds. Private to simdisk*.c.
 */
#ifndef TESTS_LIB_SIMDISK_STATE_H
#define TESTS_LIB_SIMDISK_STATE_H

#include "tests/lib/simdisk.h"

#define SIM_NAME 56
#define SIM_NAMES 512
#define SIM_FILES 512
#define SIM_FDS 512
#define SIM_FLIGHTS 16
#define SIM_SECTOR 512u
#define SIM_BLOCK 4096u

struct image {
	unsigned refs;
	size_t size, room;
	uint8_t *bytes;
};

/* Not synced yet: bytes at an offset, or (bytes NULL) a new size. */
struct effect {
	struct effect *next;
	uint64_t offset;
	size_t size;
	uint8_t *bytes;
};

struct inode {
	bool is_dir;
	bool diverged;                     /* a failed sync has dropped effects: `now` holds what will never be durable */
	unsigned fds;
	struct image *now, *durable;       /* the same one when nothing is pending */
	struct effect *first, *last;
};

struct name {
	unsigned dir, ino;
	char text[SIM_NAME];
};

struct names {
	size_t count;
	struct name at[SIM_NAMES];
};

/* add: to -> ino. remove: from. rename: both. */
struct name_op {
	unsigned dir, ino;
	bool is_dir;
	char from[SIM_NAME], to[SIM_NAME];
};

/* A durable write under way. */
struct flight {
	unsigned slot, ino;
	uint64_t offset;
	size_t size;
	bool foreign;                      /* of a process that was killed */
	const uint8_t *from;               /* the caller's buffer, which must not change */
	uint8_t *bytes;
};

struct simdisk_state {
	struct inode *inode[SIM_FILES];    /* by number; 0 = the root */
	struct names now, durable;
	size_t op_count;
	struct name_op op[SIM_NAMES];
	struct { bool used, direct; unsigned ino; } fd[SIM_FDS];
	unsigned flight_count, late_count;
	struct flight flight[SIM_FLIGHTS]; /* of the living process */
	struct flight late[4 * SIM_FLIGHTS]; /* nobody waits for these any more; they land when they like */
};

/* simdisk_image.c */
struct image *sim_image_new(size_t size);
void sim_image_drop(struct image *);
struct image *sim_image_share(struct image *);
/* *image becomes one that only its owner sees, and at least `size` long. */
void sim_image_write(struct image **, uint64_t offset, const void *bytes, size_t size);
void sim_image_resize(struct image **, size_t size);
void sim_inode_free(struct inode *);
/* Pending from now on. */
void sim_inode_write(struct inode *, uint64_t offset, const void *bytes, size_t size);
void sim_inode_resize(struct inode *, size_t size);
/* Durable at once. */
void sim_inode_write_durable(struct inode *, uint64_t offset, const void *bytes, size_t size);
/* All pending effects; with `random`, of each by chance (a failed sync): the rest is forgotten. */
void sim_inode_sync(struct inode *, uint64_t *random);

/* simdisk_names.c */
int sim_name_find(const struct names *, unsigned dir, const char *text);
void sim_name_apply(struct names *, const struct name_op *);
/* The inode of a path: -ENOENT, -ENOTDIR; `parent` and `last` (SIM_NAME bytes) when the directory is there. */
int sim_name_walk(const struct simdisk_state *, const char *path, unsigned *parent, char *last);

/* simdisk.c: false with a chance of n in 65536 ... */
bool sim_chance(struct simdisk *, uint32_t n);
/* Begins a changing call; *last = this is the one that the power fails in. False: the disk is dead. */
bool sim_begin(struct simdisk *, bool *last, const char *call, const char *path, uint64_t offset, uint64_t size);
/* A name of the file, for messages. */
const char *sim_name_of(const struct simdisk *, unsigned ino);
int sim_fail(struct simdisk *);
/* One write reached the medium, or was lost or misdirected. */
void sim_land(struct simdisk *, unsigned ino, uint64_t offset, const uint8_t *bytes, size_t size, bool durable);

/* simdisk_flight.c */
int sim_open_writer(struct pp_disk *, const struct pp_wal_io_config *, struct pp_wal_io **out);
void sim_flights_abandon(struct simdisk *);
void sim_flights_land_late(struct simdisk *);

#endif
