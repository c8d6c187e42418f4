/*
 * wal_segment.h - the writer's segment files: made ahead, handed out, retired, recycled. Private to wal_*.
 */
#ifndef PP_ENGINE_WAL_SEGMENT_H
#define PP_ENGINE_WAL_SEGMENT_H

#include <pthread.h>

#include "engine/wal_format.h"
#include "shm/atomic.h"

struct pp_wal_segment {
	struct pp_wal_segment *next;
	uint64_t number;
	int fd;                    /* -1: a predecessor's, never written by us */
	bool own;
	uint64_t last_tag;         /* highest tag of a record begun up to here; set at retirement */
	uint64_t last_unit;
};

struct pp_wal_segments {
	char dir[PP_WAL_PATH];
	struct pp_wal_config config;
	struct pp_wal_segment_header header; /* of every segment of this generation, but for `number` */

	pthread_mutex_t making;    /* one maker at a time; holds next_number. Taken before `lists` */
	uint64_t next_number;
	bool starting;             /* the reserve may be used: there is nothing else to begin with */
	bool reserved;             /* the reserve is there; the one thread that makes it */
	pthread_mutex_t lists;     /* short: the lists below */
	struct pp_wal_segment *ready, *ready_tail;   /* with header, next to be written */
	struct pp_wal_segment *full, *full_tail;     /* oldest first */
	struct pp_wal_segment *spare;                /* files named spare-*, to be recycled */
	unsigned spares;

	pp_a64 ready_count;        /* also read without the lock */
	pp_a64 full_count;
	pp_a64 made, recycled, deleted;
	pp_a32 direct;
};

/* Creates the first segment of the new generation, durable with its directory; then deletes what predecessors may have had
 * open beyond the cut, and takes over the older ones for release. */
int pp_wal_segments_init(struct pp_wal_segments *segments, const struct pp_wal_config *config,
			 const struct pp_wal_recovered *recovered);
void pp_wal_segments_destroy(struct pp_wal_segments *segments);

/* Any thread. 1: made one more, 0: there are enough (`at_least` ready), else -errno. */
int pp_wal_segments_make(struct pp_wal_segments *segments, unsigned at_least);
/* Keeps a zeroed file for the start of the next daemon, should the disk be full then. One thread, when enough are ready. 1: made it,
 * 0: it is there, else -errno. */
int pp_wal_segments_reserve(struct pp_wal_segments *segments);
/* Writer: the next ready segment, or NULL. */
struct pp_wal_segment *pp_wal_segments_take(struct pp_wal_segments *segments);
/* Writer: the segment is full. */
void pp_wal_segments_retire(struct pp_wal_segments *segments, struct pp_wal_segment *segment, uint64_t last_tag,
			    uint64_t last_unit);
/* Any thread: recycles or deletes full segments without records above `epoch`, when the durable position lies behind them. */
int pp_wal_segments_release(struct pp_wal_segments *segments, uint64_t epoch, uint64_t ended_unit);
/* Any thread: the highest tag of the full segments but for the newest `keep`; 0: there are no more than that. */
uint64_t pp_wal_segments_beyond(struct pp_wal_segments *segments, uint64_t keep);
/* Closes the file; NULL is allowed. */
void pp_wal_segments_free(struct pp_wal_segments *segments, struct pp_wal_segment *segment);

#endif
