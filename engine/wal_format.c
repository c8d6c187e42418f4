/*
 * wal_format.c - names of the log's files, checksums and header blocks.
 *
 * Invariants: a unit's checksum is seeded with store, generation, segment and offset, so the same bytes are valid in one
 * place only; every byte of a header block and of a unit, padding included, is under a checksum.
 * Pure functions but for the directory listing; nothing is shared, nothing is left behind.
 */
#include "engine/wal_format.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#if defined(__x86_64__)
#include <xxh_x86dispatch.h>
#endif

#include "engine/file.h"
#include "shm/errors.h"

#define DEFAULT_SEGMENT (64u << 20)
#define DEFAULT_BATCH (1u << 20)
#define DEFAULT_DEPTH 2u
#define DEFAULT_SPARES 2u
#define NUMBER_DIGITS 16

int pp_wal_format_config(const struct pp_wal_config *given, struct pp_wal_config *out)
{
	struct pp_wal_config c = *given;

	c.segment_bytes = c.segment_bytes ? c.segment_bytes : DEFAULT_SEGMENT;
	c.batch_bytes = c.batch_bytes ? c.batch_bytes : DEFAULT_BATCH;
	c.depth = c.depth ? c.depth : DEFAULT_DEPTH;
	c.spare_segments = c.spare_segments ? c.spare_segments : DEFAULT_SPARES;
	c.disk = c.disk ? c.disk : &pp_disk_real;
	if (!c.dir || !*c.dir)
		return pp_detail(-EINVAL, "the log has no directory");
	if (c.segment_bytes % PP_WAL_BLOCK || c.segment_bytes < PP_WAL_SEGMENT_MIN ||
	    c.segment_bytes > PP_WAL_SEGMENT_MAX)
		return pp_detail(-EINVAL, "a log segment of %llu bytes: must be a multiple of 4096, at least 16 KiB",
				 (unsigned long long)c.segment_bytes);
	if (c.batch_bytes % PP_WAL_BLOCK || c.batch_bytes > PP_WAL_UNIT_MAX)
		return pp_detail(-EINVAL, "a log batch of %u bytes: must be a multiple of 4096, at most 64 MiB",
				 c.batch_bytes);
	if (c.depth > PP_WAL_DEPTH_MAX)
		return pp_detail(-EINVAL, "a log depth of %u: at most %u writes in flight", c.depth, PP_WAL_DEPTH_MAX);
	if (c.backend < PP_WAL_AUTO || c.backend > PP_WAL_PWRITE_THREAD)
		return pp_detail(-EINVAL, "there is no log backend %d", c.backend);
	if (c.batch_bytes > c.segment_bytes - PP_WAL_BLOCK)
		c.batch_bytes = (uint32_t)(c.segment_bytes - PP_WAL_BLOCK);
	*out = c;
	return 0;
}

/* ---- names ---- */

static const char *const prefixes[] = {"wal-", "new-", "spare-", "reserve-"};

int pp_wal_format_path(char *path, const char *dir, enum pp_wal_file kind, uint64_t number)
{
	int n = snprintf(path, PP_WAL_PATH, "%s/%s%016llx.log", dir, prefixes[kind], (unsigned long long)number);

	return n < PP_WAL_PATH ? 0 : pp_detail(-ENAMETOOLONG, "the log's directory name %s is too long", dir);
}

/* Exactly 16 lower-case hex digits, so that a name has one spelling only. */
static bool parse_number(const char *text, uint64_t *out)
{
	uint64_t value = 0;

	for (int i = 0; i < NUMBER_DIGITS; i++) {
		char c = text[i];

		if (c >= '0' && c <= '9')
			value = value << 4 | (uint64_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			value = value << 4 | (uint64_t)(c - 'a' + 10);
		else
			return false;
	}
	*out = value;
	return strcmp(text + NUMBER_DIGITS, ".log") == 0;
}

enum pp_wal_file pp_wal_format_name(const char *name, uint64_t *number_out)
{
	for (int kind = 0; kind < PP_WAL_FILE_OTHER; kind++) {
		size_t n = strlen(prefixes[kind]);

		if (strncmp(name, prefixes[kind], n) == 0 && strlen(name) == n + NUMBER_DIGITS + 4 &&
		    parse_number(name + n, number_out))
			return (enum pp_wal_file)kind;
	}
	return PP_WAL_FILE_OTHER;
}

static int compare_numbers(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

struct number_list {
	enum pp_wal_file kind;
	uint64_t *numbers;
	size_t count, room;
};

static int push_number(void *ctx, const char *name)
{
	struct number_list *list = ctx;
	uint64_t number = 0;

	if (pp_wal_format_name(name, &number) != list->kind)
		return 0;
	if (list->count == list->room) {
		size_t more = list->room ? list->room * 2 : 64;
		uint64_t *grown = realloc(list->numbers, more * sizeof(*grown));

		if (!grown)
			return pp_detail(-ENOMEM, "no memory to list the log's segments");
		list->numbers = grown;
		list->room = more;
	}
	list->numbers[list->count++] = number;
	return 0;
}

int pp_wal_format_list(struct pp_disk *disk, const char *dir, enum pp_wal_file kind, uint64_t **out, size_t *count_out)
{
	struct number_list list = {.kind = kind};
	int rc = pp_file_list(disk, dir, push_number, &list);

	*out = NULL;
	*count_out = 0;
	if (rc) {
		free(list.numbers);
		return rc;
	}
	if (list.count)
		qsort(list.numbers, list.count, sizeof(*list.numbers), compare_numbers);
	*out = list.numbers;
	*count_out = list.count;
	return 0;
}

/* ---- segment header ---- */

#define SUM_FROM 16u

static uint64_t sum(const void *data, size_t size, uint64_t seed)
{
	return XXH3_64bits_withSeed(data, size, seed);
}

void pp_wal_format_segment(void *block, const struct pp_wal_segment_header *header)
{
	struct pp_wal_segment_header *h = block;

	memset(block, 0, PP_WAL_BLOCK);
	*h = *header;
	h->magic = PP_WAL_SEGMENT_MAGIC;
	h->version = PP_WAL_VERSION;
	h->block_bytes = PP_WAL_BLOCK;
	h->checksum = sum((const uint8_t *)block + SUM_FROM, PP_WAL_BLOCK - SUM_FROM, PP_WAL_SEGMENT_MAGIC);
}

const char *pp_wal_format_check_segment(const void *block, struct pp_wal_segment_header *out)
{
	const struct pp_wal_segment_header *h = block;

	if (h->magic != PP_WAL_SEGMENT_MAGIC)
		return "this is no header of a log segment";
	*out = *h;
	if (h->checksum != sum((const uint8_t *)block + SUM_FROM, PP_WAL_BLOCK - SUM_FROM, PP_WAL_SEGMENT_MAGIC))
		return "the segment header's checksum is wrong";
	if (h->version != PP_WAL_VERSION || h->block_bytes != PP_WAL_BLOCK)
		return "the segment has a format that this version does not know";
	if (h->segment_bytes % PP_WAL_BLOCK || h->segment_bytes < PP_WAL_SEGMENT_MIN ||
	    h->segment_bytes > PP_WAL_SEGMENT_MAX || h->unit_bytes_max % PP_WAL_BLOCK ||
	    h->unit_bytes_max == 0 || h->unit_bytes_max > PP_WAL_UNIT_MAX || h->generation == 0)
		return "the segment header's sizes make no sense";
	return NULL;
}

/* ---- unit ---- */

/* splitmix64's finaliser: one changed bit of any field changes half of the seed. */
static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ull;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

uint64_t pp_wal_format_unit_sum(const struct pp_wal_unit_header *unit)
{
	uint64_t seed = mix(mix(mix(mix(unit->store_id) ^ unit->generation) ^ unit->segment) ^ unit->offset);

	return sum((const uint8_t *)unit + SUM_FROM, unit->total_bytes - SUM_FROM, seed);
}

const char *pp_wal_format_check_place(const struct pp_wal_unit_header *unit, const struct pp_wal_place *place)
{
	if (unit->magic != PP_WAL_UNIT_MAGIC)
		return "no unit begins here";
	if (unit->store_id != place->store_id)
		return "the unit belongs to another store";
	if (unit->generation != place->generation || unit->segment != place->segment)
		return "the unit is left from an earlier use of this file";
	if (unit->offset != place->offset)
		return "the unit belongs to another place";
	if (unit->total_bytes % PP_WAL_BLOCK || unit->total_bytes == 0 || unit->total_bytes > place->bytes_max)
		return "the unit's length makes no sense";
	return NULL;
}

const char *pp_wal_format_check_unit(const struct pp_wal_unit_header *unit, const struct pp_wal_place *place)
{
	const char *why = pp_wal_format_check_place(unit, place);

	if (why)
		return why;
	if (unit->checksum != pp_wal_format_unit_sum(unit))
		return "the unit's checksum is wrong";
	if (unit->payload_bytes > unit->total_bytes - PP_WAL_UNIT_HEADER ||
	    unit->first_record < PP_WAL_UNIT_HEADER || unit->first_record % 8 || unit->payload_bytes % 8 ||
	    unit->first_record > PP_WAL_UNIT_HEADER + unit->payload_bytes)
		return "the unit's inner lengths make no sense";
	return NULL;
}
