/*
 * wal_format.h - what writer, reader and decoder of the log share: names of files, checksums, header blocks. Private to wal_*.
 */
#ifndef PP_ENGINE_WAL_FORMAT_H
#define PP_ENGINE_WAL_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/disk.h"
#include "engine/layout_disk.h"
#include "engine/wal.h"

#define PP_WAL_UNIT_HEADER ((uint32_t)sizeof(struct pp_wal_unit_header))
#define PP_WAL_SEGMENT_MIN (4u * PP_WAL_BLOCK)
#define PP_WAL_SEGMENT_MAX (UINT64_C(16) << 30)
#define PP_WAL_UNIT_MAX (64u << 20)
#define PP_WAL_DEPTH_MAX 8u
#define PP_WAL_PATH 512

/* Fills in the defaults and checks the bounds; the result keeps pointers of `given`. */
int pp_wal_format_config(const struct pp_wal_config *given, struct pp_wal_config *out);

enum pp_wal_file { PP_WAL_FILE_LOG, PP_WAL_FILE_NEW, PP_WAL_FILE_SPARE, PP_WAL_FILE_RESERVE, PP_WAL_FILE_OTHER };

/* "<dir>/wal-0000000000000001.log" and so on; `path` has PP_WAL_PATH bytes. */
int pp_wal_format_path(char *path, const char *dir, enum pp_wal_file kind, uint64_t number);
/* What a directory entry is. */
enum pp_wal_file pp_wal_format_name(const char *name, uint64_t *number_out);
/* Sorted numbers of all files of one kind; free(*out). -ENOENT when there is no such directory. */
int pp_wal_format_list(struct pp_disk *disk, const char *dir, enum pp_wal_file kind, uint64_t **out, size_t *count_out);

/* A header block of PP_WAL_BLOCK bytes: `header` (magic, version, checksum are filled in here), then zeros. */
void pp_wal_format_segment(void *block, const struct pp_wal_segment_header *header);
/* NULL, or why the block is no segment header. *out is set when the magic fits. */
const char *pp_wal_format_check_segment(const void *block, struct pp_wal_segment_header *out);

/* XXH3 of a whole unit, seeded with its place. */
uint64_t pp_wal_format_unit_sum(const struct pp_wal_unit_header *unit);

/* Where a unit is expected. */
struct pp_wal_place {
	uint64_t store_id;
	uint64_t generation;
	uint64_t segment;
	uint64_t offset;
	uint64_t bytes_max;        /* to the end of the segment */
};

/* NULL when the first PP_WAL_UNIT_HEADER bytes can be a unit's of this place (checksum not looked at), else why not. */
const char *pp_wal_format_check_place(const struct pp_wal_unit_header *unit, const struct pp_wal_place *place);
/* The same for the whole unit of total_bytes: checksum and inner lengths too. */
const char *pp_wal_format_check_unit(const struct pp_wal_unit_header *unit, const struct pp_wal_place *place);

static inline uint64_t pp_wal_round_up(uint64_t value, uint64_t to)
{
	return (value + to - 1) / to * to;
}

#endif
