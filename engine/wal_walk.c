/*
 * wal_walk.c - finding the log's segments that matter and walking their units in order.
 *
 * Protocol: numbers of files, numbers of units and the chain of checksums rise without a gap. Each generation begins in a
 * new file whose header names the last unit of its predecessor that counts; so for all generations but the newest the end is
 * known, and anything bad before it is damage. The newest ends at its first bad unit; what that means is for the caller.
 * The walk begins in the newest file before which no record above from_epoch begins; older files are not looked at.
 * Reads only; a process that dies here leaves nothing.
 */
#include "engine/wal_walk.h"

#include <stdlib.h>
#include <string.h>

#include "shm/errors.h"

typedef unsigned long long ull;

int pp_wal_walk_open(struct pp_wal_walk *walk, size_t index)
{
	char path[PP_WAL_PATH];
	int rc = pp_wal_format_path(path, walk->dir, PP_WAL_FILE_LOG, walk->files[index].number);

	return rc ? rc : pp_wal_reader_open(&walk->reader, path);
}

struct pp_wal_place pp_wal_walk_place(const struct pp_wal_walk *walk, size_t index, uint64_t offset)
{
	const struct pp_wal_segment_header *h = &walk->files[index].header;
	uint64_t left = h->segment_bytes - offset;

	return (struct pp_wal_place){
		.store_id = h->store_id,
		.generation = h->generation,
		.segment = h->number,
		.offset = offset,
		.bytes_max = left < h->unit_bytes_max ? left : h->unit_bytes_max,
	};
}

const struct pp_wal_file_entry *pp_wal_walk_successor(const struct pp_wal_walk *walk, size_t file)
{
	for (size_t i = file + 1; i < walk->count; i++)
		if (walk->files[i].header.generation != walk->files[file].header.generation)
			return &walk->files[i];
	return NULL;
}

static bool begins_generation(const struct pp_wal_file_entry *entry)
{
	return entry->header.number == entry->header.first_number;
}

/* ---- which files matter ---- */

static int load_header(struct pp_wal_walk *walk, struct pp_wal_file_entry *entry)
{
	const char *path = walk->reader.path;
	const char *why = NULL;
	int rc = pp_wal_reader_header(&walk->reader, &entry->header, &why);

	if (rc)
		return rc;
	if (why)
		return pp_detail(PPDB_CORRUPT, "%s is damaged at offset 0: %s", path, why);
	if (entry->header.store_id != walk->store_id)
		return pp_detail(PPDB_CORRUPT, "%s (offset 0) belongs to another store (%016llx, not %016llx)", path,
				 (ull)entry->header.store_id, (ull)walk->store_id);
	if (entry->header.number != entry->number)
		return pp_detail(PPDB_CORRUPT, "%s was renamed: its header (offset 0) says segment %016llx", path,
				 (ull)entry->header.number);
	return 0;
}

/* Whether the walk may begin in file `index`; sets walk->start if so. `limit`: last unit of this generation that counts. */
static int try_start(struct pp_wal_walk *walk, size_t index, uint64_t from_epoch, const struct pp_wal_pos *expect,
		     uint64_t limit, bool *yes)
{
	const struct pp_wal_file_entry *entry = &walk->files[index];
	const struct pp_wal_segment_header *h = &entry->header;
	struct pp_wal_place place = pp_wal_walk_place(walk, index, PP_WAL_BLOCK);
	const struct pp_wal_unit_header *unit = NULL;
	const char *why = NULL;
	uint64_t tag;
	int rc;

	*yes = false;
	if (begins_generation(entry)) {
		walk->start = (struct pp_wal_pos){h->cut_unit, h->cut_chain, h->cut_epoch};
		tag = h->cut_epoch;
	} else {
		rc = pp_wal_reader_unit(&walk->reader, &place, &unit, &why);
		if (rc || why)
			return rc;
		walk->start = (struct pp_wal_pos){unit->unit - 1, unit->prev_chain, unit->base_epoch};
		tag = unit->tag_before;
	}
	*yes = walk->start.unit <= limit && (expect ? walk->start.unit <= expect->unit : tag <= from_epoch);
	return 0;
}

/* Reads headers from the newest file back; files[] is filled from its end and moved to the front at last. */
static int load_back(struct pp_wal_walk *walk, const uint64_t *numbers, uint64_t from_epoch,
		     const struct pp_wal_pos *expect)
{
	size_t count = walk->count, i = count;
	uint64_t limit = UINT64_MAX;
	bool found = false;

	while (i > 0 && !found) {
		struct pp_wal_file_entry *entry = &walk->files[--i];
		int rc;

		entry->number = numbers[i];
		rc = pp_wal_walk_open(walk, i);
		if (!rc)
			rc = load_header(walk, entry);
		if (rc)
			return rc;
		if (i + 1 < count && entry->header.generation > walk->files[i + 1].header.generation)
			return pp_detail(PPDB_CORRUPT, "%s (offset 0) is of a later generation than its successor",
					 walk->reader.path);
		if (i + 1 < count && entry->header.generation < walk->files[i + 1].header.generation)
			limit = walk->files[i + 1].header.cut_unit;
		rc = try_start(walk, i, from_epoch, expect, limit, &found);
		if (rc)
			return rc;
	}
	if (!found)
		return pp_detail(PPDB_CORRUPT, "the log's beginning is missing or damaged: %s, at offset %u, is its first "
				 "segment, but records after epoch %llu begin before it", walk->reader.path,
				 PP_WAL_BLOCK, (ull)from_epoch);
	memmove(walk->files, walk->files + i, (count - i) * sizeof(*walk->files));
	walk->count = count - i;
	return 0;
}

int pp_wal_walk_load(struct pp_wal_walk *walk, uint64_t from_epoch, const struct pp_wal_pos *expect)
{
	uint64_t *numbers = NULL;
	size_t count = 0;
	int rc = pp_wal_format_list(walk->reader.disk, walk->dir, PP_WAL_FILE_LOG, &numbers, &count);

	walk->count = 0;
	walk->found = count;
	walk->end_unit = UINT64_MAX;
	if (rc == -ENOENT || (rc == 0 && count == 0)) {
		pp_detail_clear();
		return 0;
	}
	if (rc)
		return rc;
	free(walk->files);
	walk->files = calloc(count, sizeof(*walk->files));
	walk->count = walk->files ? count : 0;
	rc = walk->files ? load_back(walk, numbers, from_epoch, expect) :
			   pp_detail(-ENOMEM, "no memory to read the log");
	free(numbers);
	return rc;
}

void pp_wal_walk_release(struct pp_wal_walk *walk)
{
	pp_wal_reader_release(&walk->reader);
	free(walk->files);
	walk->files = NULL;
	walk->count = 0;
}

/* ---- the walk ---- */

static int damaged(struct pp_wal_walk *walk, const char *why)
{
	return pp_detail(PPDB_CORRUPT, "%s is damaged at offset %llu, where acknowledged unit %llu was: %s",
			 walk->reader.path, (ull)walk->offset, (ull)walk->at.unit + 1, why);
}

/* A good unit that is not the next one: something that was written between has been replaced or lost. */
static const char *check_order(const struct pp_wal_walk *walk, const struct pp_wal_unit_header *unit)
{
	if (unit->unit != walk->at.unit + 1)
		return "a good unit with another number is here";
	if (unit->prev_chain != walk->at.chain)
		return "the unit does not continue the one before it";
	return NULL;
}

/* One file, up to `limit`. Stops quietly with ended_badly in the newest generation. */
static int walk_file(struct pp_wal_walk *walk, uint64_t limit, bool newest, pp_wal_visit *visit, void *ctx)
{
	uint64_t end = walk->files[walk->file].header.segment_bytes;

	while (walk->at.unit < limit && walk->offset < end) {
		struct pp_wal_place place = pp_wal_walk_place(walk, walk->file, walk->offset);
		const struct pp_wal_unit_header *unit = NULL;
		const char *why = NULL;
		int rc = pp_wal_reader_unit(&walk->reader, &place, &unit, &why);

		if (rc)
			return rc;
		if (why && newest && limit == UINT64_MAX) {
			walk->ended_badly = true;
			walk->torn = unit != NULL;
			walk->why = why;
			return 0;
		}
		if (!why)
			why = check_order(walk, unit);
		if (why)
			return damaged(walk, why);
		walk->at = (struct pp_wal_pos){unit->unit, unit->checksum, unit->ended_epoch};
		walk->offset += unit->total_bytes;
		rc = visit(ctx, walk, unit);
		if (rc)
			return rc;
	}
	return 0;
}

/* Between two files: the same generation goes on in the next number; another one begins where it says. */
static int enter_file(struct pp_wal_walk *walk, size_t index, uint64_t limit)
{
	const struct pp_wal_file_entry *entry = &walk->files[index];
	const struct pp_wal_segment_header *h = &entry->header;
	int rc = pp_wal_walk_open(walk, index);

	walk->file = index;
	walk->offset = PP_WAL_BLOCK;
	if (rc || index == 0)
		return rc;
	if (h->generation == walk->files[index - 1].header.generation) {
		if (walk->at.unit < limit && entry->number != walk->files[index - 1].number + 1)
			return pp_detail(PPDB_CORRUPT, "the segment before %s (offset 0) is missing", walk->reader.path);
		return 0;
	}
	if (!begins_generation(entry))
		return pp_detail(PPDB_CORRUPT, "%s (offset 0) is not the first segment of its generation, but that is "
				 "missing", walk->reader.path);
	if (walk->at.unit != h->cut_unit || walk->at.chain != h->cut_chain)
		return pp_detail(PPDB_CORRUPT, "%s (offset 0) continues unit %llu, but the log before it ends with unit "
				 "%llu: acknowledged units are missing", walk->reader.path, (ull)h->cut_unit,
				 (ull)walk->at.unit);
	walk->at.epoch = h->cut_epoch;
	return 0;
}

int pp_wal_walk_run(struct pp_wal_walk *walk, pp_wal_visit *visit, void *ctx)
{
	walk->at = walk->start;
	walk->ended_badly = false;
	walk->torn = false;
	walk->why = NULL;
	for (size_t i = 0; i < walk->count && !walk->ended_badly; i++) {
		const struct pp_wal_file_entry *next = pp_wal_walk_successor(walk, i);
		uint64_t limit = next ? next->header.cut_unit : walk->end_unit;
		int rc;

		/* Dead as a whole: being deleted when the power failed, so that some of its generation may be gone. */
		if (next && walk->at.unit >= limit)
			continue;
		rc = enter_file(walk, i, limit);

		if (!rc)
			rc = walk_file(walk, limit, next == NULL, visit, ctx);
		if (rc)
			return rc;
	}
	return 0;
}
