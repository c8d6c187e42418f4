/*
 * wal_walk.h - finding the segments that matter and walking their units in order. Private to wal_*.
 */
#ifndef PP_ENGINE_WAL_WALK_H
#define PP_ENGINE_WAL_WALK_H

#include "engine/wal_reader.h"

struct pp_wal_file_entry {
	uint64_t number;
	struct pp_wal_segment_header header;
};

struct pp_wal_walk {
	const char *dir;
	uint64_t store_id;
	struct pp_wal_reader reader;

	struct pp_wal_file_entry *files; /* from the first that matters to the newest, rising numbers */
	size_t count;
	uint64_t found;            /* segments in the directory */

	/* Position: the last good unit, or where the walk begins. */
	struct pp_wal_pos start;
	struct pp_wal_pos at;
	size_t file;               /* index of the file being read */
	uint64_t offset;           /* behind the last good unit in it */
	uint64_t end_unit;         /* the newest generation is read up to here */

	/* Set when the newest generation ended before end_unit: the first bad place. */
	bool ended_badly;
	bool torn;                 /* there is the beginning of a unit */
	const char *why;
};

/* What a walk calls for each good unit; non-zero stops. */
typedef int pp_wal_visit(void *ctx, struct pp_wal_walk *walk, const struct pp_wal_unit_header *unit);

/* Reads the headers from the newest back to the file where records above `from_epoch` can begin; with `expect`, to the file
 * that holds that unit. No segment at all: count 0. PPDB_CORRUPT: a header is damaged, or the beginning is missing. */
int pp_wal_walk_load(struct pp_wal_walk *walk, uint64_t from_epoch, const struct pp_wal_pos *expect);
void pp_wal_walk_release(struct pp_wal_walk *walk);
/* Visits all units from the start up to end_unit. Older generations end where their successor says. */
int pp_wal_walk_run(struct pp_wal_walk *walk, pp_wal_visit *visit, void *ctx);
/* The first file of the next generation after `file`, or NULL. */
const struct pp_wal_file_entry *pp_wal_walk_successor(const struct pp_wal_walk *walk, size_t file);
/* Opens file `index` of the walk in its reader. */
int pp_wal_walk_open(struct pp_wal_walk *walk, size_t index);
struct pp_wal_place pp_wal_walk_place(const struct pp_wal_walk *walk, size_t index, uint64_t offset);

#endif
