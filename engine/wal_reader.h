/*
 * wal_reader.h - sequential reading of one file of the log through a window. Private to wal_*.
 */
#ifndef PP_ENGINE_WAL_READER_H
#define PP_ENGINE_WAL_READER_H

#include "engine/wal_format.h"

/* Zero-initialise and set `disk` once; open and close as often as wanted; release at the end. */
struct pp_wal_reader {
	struct pp_disk *disk;
	int fd;                    /* valid while `is_open` */
	bool is_open;
	char path[PP_WAL_PATH];
	uint8_t *window;           /* page-aligned */
	size_t room;
	uint64_t window_offset;
	size_t window_bytes;
};

int pp_wal_reader_open(struct pp_wal_reader *reader, const char *path);
void pp_wal_reader_close(struct pp_wal_reader *reader);
void pp_wal_reader_release(struct pp_wal_reader *reader);

/* *out = at least *got bytes at `offset` (a multiple of the block, so that records are aligned), valid until the next call;
 * *got < size only at the end of the file. */
int pp_wal_reader_at(struct pp_wal_reader *reader, uint64_t offset, size_t size, const void **out, size_t *got);

/* The unit at place->offset, if it is good; else *why says why not. *unit_out stays valid until the next read. */
int pp_wal_reader_unit(struct pp_wal_reader *reader, const struct pp_wal_place *place,
		       const struct pp_wal_unit_header **unit_out, const char **why);

/* Reads and checks the header block. *why != NULL: it is bad (and *out zero when even the magic is missing). */
int pp_wal_reader_header(struct pp_wal_reader *reader, struct pp_wal_segment_header *out, const char **why);

#endif
