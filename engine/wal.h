/*
 * wal.h - the write-ahead log: opaque records tagged with an epoch, made durable in group commits.
 *
 * Epochs are non-decreasing. A record counts only when its epoch has ENDed inside the valid prefix of the log; so a crash
 * keeps whole epochs. One thread at a time, the writer, calls everything but the functions marked "any thread"; another may
 * take over when nothing is in flight (io_uring cancels the requests of a thread that exits).
 *
 * Life: pp_wal_recover -> pp_wal_open -> append/end_epoch/submit/poll ... -> pp_wal_close. A process that dies anywhere in
 * between leaves a log that pp_wal_recover accepts; every durable position ever returned by pp_wal_poll is in it.
 *
 * Return values: 0 (or what is said below), -errno, PPDB_CORRUPT; pp_detail names file and offset. After a failed write
 * or sync every writing function returns that error for good; nothing is ever retried on a failed sync.
 */
#ifndef PP_ENGINE_WAL_H
#define PP_ENGINE_WAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define PP_WAL_RECORD_MAX ((64u << 20) + (8u << 10))

struct pp_wal;
struct pp_disk;

/* The last unit that ended an epoch and is durable, its checksum, and the epoch up to which everything ended. */
struct pp_wal_pos {
	uint64_t unit;
	uint64_t chain;
	uint64_t epoch;
};

enum pp_wal_backend {
	PP_WAL_AUTO = 0,         /* measured at open, watched later */
	PP_WAL_URING_DSYNC = 1,  /* io_uring, write with RWF_DSYNC */
	PP_WAL_URING_FSYNC = 2,  /* io_uring, write linked with fdatasync */
	PP_WAL_PWRITE_DSYNC = 3, /* pwritev2 with RWF_DSYNC in the writer, one at a time */
	PP_WAL_PWRITE_THREAD = 4 /* the same in helper threads (daemon only) */
};

/* Zero-initialise, then set dir and store_id; 0 elsewhere = the default. */
struct pp_wal_config {
	const char *dir;           /* only the log lives here; copied */
	uint64_t store_id;         /* of this store; another store's segments are refused */
	uint64_t segment_bytes;    /* default 64 MiB; multiple of 4096, at least 16 KiB */
	unsigned depth;            /* writes in flight, default 2, at most 8 */
	uint32_t batch_bytes;      /* greatest unit, default 1 MiB; multiple of 4096 */
	int backend;               /* enum pp_wal_backend */
	unsigned spare_segments;   /* pp_wal_prepare keeps this many ready, default 2 */
	bool no_direct;            /* never O_DIRECT */
	const struct pp_wal_pos *expect; /* recover only: see pp_wal_recovered.expect_found */
	/*
	 * Recover only, NULL = the log is read twice, and a record comes only when its epoch is known to have ended. Else it is read
	 * once, records come as they are met, and this says that all up to `epoch` have come and count. What lies above the last such
	 * epoch at the end does not count; nor does anything when pp_wal_recover fails.
	 */
	void (*on_ended)(void *ctx, uint64_t epoch);
	struct pp_disk *disk;      /* default: the machine's own (disk.h) */
	void (*wrote)(void *ctx, uint64_t ns); /* each write that is durable: how long it took; NULL = nobody asks */
	void *wrote_ctx;
};

struct pp_wal_recovered {
	struct pp_wal_pos last;    /* end of the valid, ended prefix; epoch >= from_epoch */
	uint64_t log_epoch;        /* what has ended there by the log alone: the checkpoint may be newer, and lost again */
	uint64_t next_generation;
	uint64_t next_segment;
	uint64_t cut_segment;      /* segment in which the log was cut (0: none) */
	uint64_t max_epoch_seen;   /* highest tag anywhere, cut-off ones included; >= from_epoch. Continue above it */
	uint64_t bytes;            /* of units in the valid prefix that was read */
	uint64_t units;
	uint64_t records;          /* delivered; without a callback: found */
	uint64_t segments;         /* found in the directory */
	uint64_t segments_read;
	bool torn;                 /* something was cut off: torn tail, or an unfinished epoch */
	bool expect_found;         /* config.expect (unit and chain) is in the valid prefix */
	char cut_file[512];        /* where the log was cut; "" when there was no log */
	uint64_t cut_offset;
};

/*
 * Reads what matters beyond `from_epoch` (the checkpoint's S) and delivers every record with from_epoch < epoch that
 * belongs to an ended epoch, in log order; `data` is valid during the call only (8-aligned). on_record returning non-zero
 * stops with that value. on_record NULL: only find the end; then, if config.expect is set, only from the segment that
 * holds it (the quick way for a warm restart). A missing directory is an empty log.
 * PPDB_CORRUPT: acknowledged data is damaged or missing. Changes nothing on disk: may be repeated.
 */
int pp_wal_recover(const struct pp_wal_config *config, uint64_t from_epoch,
		   int (*on_record)(void *ctx, uint64_t epoch, const void *data, size_t size), void *ctx,
		   struct pp_wal_recovered *out);

/*
 * Starts a new generation: a newly created segment whose header says where the predecessor was cut, durable before any
 * unit. Older segments that recovery needed stay until pp_wal_release; all others of predecessors are deleted. Blocks for
 * 30-100 ms (zero-fill, measuring). The directory is created when missing.
 */
int pp_wal_open(const struct pp_wal_config *config, const struct pp_wal_recovered *recovered, struct pp_wal **out);
/* Writes what is queued, waits, adds the marker and frees. The error of a failed log is returned, the memory freed. */
int pp_wal_close(struct pp_wal *wal);

/* ---- writer ---- */

/*
 * Copies one record of 1..PP_WAL_RECORD_MAX bytes. Its epoch must be above the last ended one and not below the last
 * record's (-EINVAL). Waits for the disk only when all buffers are full. -ENOSPC: no space and no next segment could be
 * made; nothing of the record was taken, the log stays usable.
 */
int pp_wal_append(struct pp_wal *wal, uint64_t epoch, const struct iovec *parts, int n);
/* The same without a copy: a pointer to `size` bytes inside the current unit, to be filled before the next pp_wal call.
 * NULL: does not fit here or not allowed; use pp_wal_append. 8-aligned. */
void *pp_wal_reserve(struct pp_wal *wal, uint64_t epoch, size_t size);
/* Everything up to `epoch` has been appended. An epoch without records becomes durable with its predecessor. */
int pp_wal_end_epoch(struct pp_wal *wal, uint64_t epoch);
/* What records may still take, their headers included: what is free, less one block for an END. Each unit is padded to the block. */
uint64_t pp_wal_room(struct pp_wal *wal);
/* Submits the full units and then the current one, as far as the depth permits; the rest goes with a later submit or poll.
 * Call after end_epoch and after each poll that freed a place: greedy group commit. */
int pp_wal_submit(struct pp_wal *wal);
/*
 * Reaps completions, waiting at most wait_ns for the first (0: cheap, never sleeps), and stores the newest durable
 * position (also when an error is returned). Full units that waited for a place are submitted.
 */
int pp_wal_poll(struct pp_wal *wal, int64_t wait_ns, struct pp_wal_pos *durable);
/* Writes submitted and not yet reaped. */
unsigned pp_wal_inflight(const struct pp_wal *wal);
/* True when records or an END wait for a submit. */
bool pp_wal_pending(const struct pp_wal *wal);
/* Call when idle (1-10 ms nothing appended, nothing in flight) and at a clean stop: submits a marker unit which proves that
 * the last acknowledged units were durable. 1: a marker was submitted; 0: not needed, not idle, or no room. */
int pp_wal_idle(struct pp_wal *wal);

/* ---- any thread ---- */

/* Preallocated bytes left for units, headers included: current segment plus prepared ones. Accept work only while
 * this stays above what is accepted plus a reserve of one segment. */
uint64_t pp_wal_free_bytes(const struct pp_wal *wal);
/* Bytes that one segment adds to pp_wal_free_bytes. */
uint64_t pp_wal_segment_room(const struct pp_wal *wal);
/* Makes one segment ready (create or recycle, zero, sync: about 30 ms) if fewer than spare_segments are. 1: made one,
 * call again; 0: enough; -errno: could not (the log stays usable until it runs out). */
int pp_wal_prepare(struct pp_wal *wal);
/* The same, with room for `bytes` more than the spare segments. */
int pp_wal_prepare_for(struct pp_wal *wal, uint64_t bytes);
/* Keeps one zeroed file more, with which a daemon can start on a full disk. One thread; call it when pp_wal_prepare has enough. 1: made it,
 * 0: it is there, -errno. */
int pp_wal_prepare_reserve(struct pp_wal *wal);
/* Are there segments that a checkpoint would let go? */
bool pp_wal_releasable(const struct pp_wal *wal);
/* After a durable checkpoint at S = epoch: segments that hold only epochs <= S are recycled (this incarnation's own) or
 * deleted. Returns the number of segments released, or -errno. */
int pp_wal_release(struct pp_wal *wal, uint64_t epoch);

/* Release up to this epoch leaves at most `bytes` of full segments. */
uint64_t pp_wal_epoch_beyond(struct pp_wal *wal, uint64_t bytes);

struct pp_wal_stats {
	const char *backend;       /* "uring_dsync", ... static text */
	bool direct;               /* O_DIRECT in use */
	bool fixed;                /* registered buffers */
	int failed;                /* 0, or the error that ended writing */
	uint64_t generation;
	uint64_t segment;          /* number of the current one */
	uint64_t unit;             /* last unit submitted */
	uint64_t units, bytes, records, epochs; /* since open; bytes as written, padding included */
	uint64_t markers;
	uint64_t backend_switches;
	uint64_t segments;         /* on disk and in use: current, full, ready */
	uint64_t segment_bytes;    /* size of each */
	uint64_t segments_ready;
	uint64_t segments_made, segments_recycled, segments_deleted;
	uint64_t stalls;           /* times the writer had to make a segment itself */
	uint64_t free_bytes;
	uint64_t latency_p50_ns, latency_p99_ns; /* submit to reap, recent writes */
	unsigned depth, inflight;
};
void pp_wal_stat(const struct pp_wal *wal, struct pp_wal_stats *out);

/* ---- decoder for `ppdb wal DIR|FILE` ---- */

struct pp_wal_dump_item {
	bool is_segment;           /* header of a file; else a unit */
	const char *file;          /* path */
	uint64_t offset;
	uint64_t generation, segment;
	uint64_t unit;             /* segment: predecessor's last unit */
	uint64_t chain;            /* checksum; segment: predecessor's */
	uint64_t base_epoch;       /* ended before this unit; segment: predecessor's cut */
	uint64_t ended_epoch;
	uint64_t first_epoch, last_epoch; /* tags of the records that begin here, 0 when none */
	uint64_t durable_unit;     /* known to be durable when this was written */
	uint64_t bytes, payload_bytes, records;
	bool marker;
	const char *bad;           /* NULL: good; else why not */
};

/* Calls on_item for each segment header and unit, in order; damaged places are reported and skipped block by block (one
 * call for each run of bad blocks); the unused rest of a segment is not reported. Needs no store id. Non-zero stops. */
int pp_wal_dump(const char *path, int (*on_item)(void *ctx, const struct pp_wal_dump_item *item), void *ctx);

#endif
