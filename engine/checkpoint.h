/*
 * checkpoint.h - checkpoint files: the records of one snapshot S in key order, in parallel streams, and a manifest that makes
 * them count all at once. Knows nothing of the index; the keeper decides what goes in.
 *
 * Life of a checkpoint: pp_ckpt_begin -> (one thread a stream: pp_ckpt_put ..., pp_ckpt_end_stream) -> pp_ckpt_commit, or
 * pp_ckpt_abort at any point. Until commit replaces the manifest the checkpoint before stays the valid one; afterwards the new
 * one is. A process that dies anywhere leaves one of the two and some files that the next pp_ckpt_begin or pp_ckpt_commit
 * removes.
 *
 * Return values: 0, -errno, or PPDB_* with a sentence in pp_detail. One writer a directory at a time (the data directory's
 * lock sees to that). Calls block on the disk.
 */
#ifndef PP_ENGINE_CHECKPOINT_H
#define PP_ENGINE_CHECKPOINT_H

#include <stddef.h>
#include <stdint.h>

struct pp_ckpt_record {
	uint32_t table;
	uint32_t key_size; /* 1..4096 */
	const void *key;
	const void *value;
	uint64_t size; /* at most 64 MiB */
	uint64_t seq, tag, expires_ms;
	uint32_t flags; /* the caller's, kept as they are */
};

/* Epochs strictly between low and high were lost in a crash: a ticket in there is PPDB_LOST. */
struct pp_ckpt_range {
	uint64_t low, high;
};

struct pp_ckpt_meta {
	uint64_t max_tag;     /* highest epoch ever seen */
	uint64_t incarnation; /* of the daemon */
	const struct pp_ckpt_range *lost;
	size_t nlost; /* at most 65536 */
};

/* ---- writing ---- */

struct pp_ckpt_writer;
struct pp_disk;

/* Removes what an unfinished checkpoint left behind and creates the stream files. 1 to 256 streams. */
int pp_ckpt_begin(struct pp_disk *disk, const char *dir, uint64_t store_id, uint64_t snapshot, unsigned streams,
		  struct pp_ckpt_writer **out);
/* Another block size than 1 MiB (a multiple of 8, 8 KiB to 16 MiB); before the first put. */
int pp_ckpt_set_block_bytes(struct pp_ckpt_writer *, uint32_t bytes);

/* Appends one record; keys {table, bytes} rise strictly within a stream (-EINVAL). Each stream belongs to one thread at a time;
 * streams do not disturb each other. After an error the stream takes nothing more and commit fails with that error. */
int pp_ckpt_put(struct pp_ckpt_writer *, unsigned stream, const struct pp_ckpt_record *);
/* Writes what is buffered and syncs the file: in the stream's own thread, so that streams are synced in parallel. */
int pp_ckpt_end_stream(struct pp_ckpt_writer *, unsigned stream);

/* Ends streams that were not ended, replaces the manifest, syncs the directory, removes older checkpoints. Frees the writer
 * whatever happens. Error: the checkpoint before is still valid and the files of this one are gone, except when the final
 * directory sync failed (then either may be valid after a crash, and the files of both stay). */
int pp_ckpt_commit(struct pp_ckpt_writer *, const uint64_t *floors, size_t nfloors,
		   const struct pp_ckpt_meta *meta);
/* Removes this checkpoint's files and frees the writer. NULL is allowed. */
void pp_ckpt_abort(struct pp_ckpt_writer *);

/* Bytes and records put so far, for progress: sums over the streams, may be called by any thread. */
void pp_ckpt_progress(const struct pp_ckpt_writer *, uint64_t *bytes, uint64_t *records);

/* ---- reading ---- */

struct pp_ckpt_reader;

struct pp_ckpt_info {
	uint64_t number, snapshot, max_tag, incarnation;
	unsigned streams;
	uint64_t bytes, records; /* of all streams */
	const uint64_t *floors;  /* valid until pp_ckpt_close, like `lost` */
	size_t nfloors;
	const struct pp_ckpt_range *lost;
	size_t nlost;
};

struct pp_ckpt_stream_info {
	uint64_t bytes, records;
	uint32_t first_table, last_table;
	uint32_t first_size, last_size; /* 0: the stream is empty */
	const void *first_key, *last_key;
};

/* Opens the valid checkpoint. PPDB_NOTFOUND: there is none (a fresh store). PPDB_CORRUPT: manifest or a stream file is
 * damaged, missing or of another store; the detail names file and offset. PPDB_LAYOUT: of a newer ppdb. */
int pp_ckpt_open(struct pp_disk *disk, const char *dir, uint64_t store_id, struct pp_ckpt_reader **out);
const struct pp_ckpt_info *pp_ckpt_get_info(const struct pp_ckpt_reader *);
void pp_ckpt_get_stream(const struct pp_ckpt_reader *, unsigned stream, struct pp_ckpt_stream_info *out);

/* Calls back for every record of a stream, in order; key and value are valid during the call only. Nothing of a block is
 * delivered before its checksum was verified. A non-zero return of the callback stops and is returned. Several threads may
 * read different streams at once. PPDB_CORRUPT with file and offset, -EIO. */
int pp_ckpt_read_stream(struct pp_ckpt_reader *, unsigned stream,
			int (*on_record)(void *ctx, const struct pp_ckpt_record *), void *ctx);
void pp_ckpt_close(struct pp_ckpt_reader *);

#endif
