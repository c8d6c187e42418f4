/*
 * follow.h - reading the log forward while it is being written: the changes of one ended, durable epoch after another, in commit order.
 *
 * The caller brings the files (by number) and says how far the log is durable; nothing else of the store is needed, so it runs in a
 * client that cannot reach the files itself. One thread.
 */
#ifndef PP_ENGINE_FOLLOW_H
#define PP_ENGINE_FOLLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How far the log counts, from the region: durable_record, and wal_generation read after it. */
struct pp_follow_limit {
	uint64_t unit;                     /* all up to it is durable, in a generation <= `generation` */
	uint64_t epoch;
	uint64_t generation;
};

enum pp_follow_which { PP_FOLLOW_EXACT = 0, PP_FOLLOW_AT_OR_AFTER = 1, PP_FOLLOW_AT_OR_BEFORE = 2 };

struct pp_follow_source {
	/* Opens a segment's file for reading (O_DIRECT where the file system knows it) and says which: *fd belongs to the caller. -ENOENT: there is none. */
	int (*open)(void *ctx, uint64_t number, enum pp_follow_which which, uint64_t *found, int *fd);
	void (*limit)(void *ctx, struct pp_follow_limit *out);
	/* Others are passed over, and do not count for more_batch and more_epoch. NULL: all are wanted. */
	bool (*wanted)(void *ctx, uint32_t table, const void *key, uint32_t size);
	void *ctx;
	uint64_t store_id;                 /* 0: learned from the first file */
};

struct pp_follow_change {
	const void *key, *value;           /* valid until the next pp_follow_next */
	uint32_t table, key_size;
	uint64_t size, version, expires_ms, epoch;
	bool deleted;
	bool more_batch;                   /* the next wanted one belongs to the same batch */
	bool more_epoch;                   /* the next wanted one belongs to the same epoch */
};

struct pp_follow;

int pp_follow_new(const struct pp_follow_source *, struct pp_follow **out);
void pp_follow_free(struct pp_follow *);

/* Goes to the changes with an epoch > `epoch`, less the first `skip` of these. PPDB_LOST: the log does not go back so far any more. */
int pp_follow_seek(struct pp_follow *, uint64_t epoch, uint64_t skip);
/* The next change. PPDB_NOTFOUND: none now; PPDB_LOST: recycled under us; PPDB_CORRUPT with file and offset; -ENOMEM, -errno. */
int pp_follow_next(struct pp_follow *, struct pp_follow_change *out);
/* True while changes of an epoch that was read are left to be handed out. */
bool pp_follow_waiting(const struct pp_follow *);
/* After a change: seeking there goes on behind it. */
void pp_follow_position(const struct pp_follow *, uint64_t *epoch, uint64_t *skip);
/* Units that are durable and not read yet. */
uint64_t pp_follow_behind(const struct pp_follow *);

#endif
