/*
 * wal_dump.c - shows what is in a log: one call for each segment header, unit and run of bad blocks.
 *
 * Each file stands for itself; nothing is judged but whether it is good in its place. After a bad block the next good one is
 * searched block by block. What follows the last good unit of a file is reported only when it looks like a unit of this
 * use of the file: zeros and remains of an earlier use are normal there.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/wal_reader.h"
#include "shm/errors.h"

typedef int on_item_fn(void *ctx, const struct pp_wal_dump_item *item);

struct dump {
	struct pp_wal_reader reader;
	on_item_fn *on_item;
	void *ctx;
};

static int show_header(struct dump *d, const struct pp_wal_segment_header *h, const char *bad)
{
	struct pp_wal_dump_item item = {
		.is_segment = true,
		.file = d->reader.path,
		.generation = h->generation,
		.segment = h->number,
		.unit = h->cut_unit,
		.chain = h->cut_chain,
		.base_epoch = h->cut_epoch,
		.ended_epoch = h->cut_epoch,
		.last_epoch = h->max_epoch_seen,
		.bytes = h->segment_bytes,
		.bad = bad,
	};

	return d->on_item(d->ctx, &item);
}

static int show_unit(struct dump *d, const struct pp_wal_unit_header *u)
{
	struct pp_wal_dump_item item = {
		.file = d->reader.path,
		.offset = u->offset,
		.generation = u->generation,
		.segment = u->segment,
		.unit = u->unit,
		.chain = u->checksum,
		.base_epoch = u->base_epoch,
		.ended_epoch = u->ended_epoch,
		.first_epoch = u->records ? u->first_epoch : 0,
		.last_epoch = u->records ? u->last_epoch : 0,
		.durable_unit = u->durable_unit,
		.bytes = u->total_bytes,
		.payload_bytes = u->payload_bytes,
		.records = u->records,
		.marker = u->flags & PP_WAL_UNIT_MARKER,
	};

	return d->on_item(d->ctx, &item);
}

static int show_bad(struct dump *d, const struct pp_wal_segment_header *h, uint64_t from, uint64_t to, const char *why)
{
	struct pp_wal_dump_item item = {
		.file = d->reader.path,
		.offset = from,
		.generation = h->generation,
		.segment = h->number,
		.bytes = to - from,
		.bad = why,
	};

	return d->on_item(d->ctx, &item);
}

static int dump_units(struct dump *d, const struct pp_wal_segment_header *h)
{
	uint64_t offset = PP_WAL_BLOCK, bad_from = 0;
	const char *bad = NULL;
	bool torn = false;
	int rc = 0;

	while (rc == 0 && offset < h->segment_bytes) {
		uint64_t left = h->segment_bytes - offset;
		struct pp_wal_place place = {
			.store_id = h->store_id,
			.generation = h->generation,
			.segment = h->number,
			.offset = offset,
			.bytes_max = left < h->unit_bytes_max ? left : h->unit_bytes_max,
		};
		const struct pp_wal_unit_header *unit = NULL;
		const char *why = NULL;

		rc = pp_wal_reader_unit(&d->reader, &place, &unit, &why);
		if (rc)
			break;
		if (why && !bad) {
			bad = why;
			bad_from = offset;
			torn = unit != NULL;
		} else if (!why) {
			rc = bad ? show_bad(d, h, bad_from, offset, bad) : 0;
			if (!rc)
				rc = show_unit(d, unit);
			bad = NULL;
		}
		offset += why ? PP_WAL_BLOCK : unit->total_bytes;
	}
	if (!rc && bad && torn)
		rc = show_bad(d, h, bad_from, bad_from + PP_WAL_BLOCK, bad);
	return rc;
}

static int dump_file(struct dump *d, const char *path)
{
	struct pp_wal_segment_header header;
	const char *why = NULL;
	int rc = pp_wal_reader_open(&d->reader, path);

	if (!rc)
		rc = pp_wal_reader_header(&d->reader, &header, &why);
	if (!rc)
		rc = show_header(d, &header, why);
	/* With a damaged header nothing says where units may be. */
	return rc || why ? rc : dump_units(d, &header);
}

static int dump_dir(struct dump *d, const char *dir)
{
	uint64_t *numbers = NULL;
	size_t count = 0;
	char path[PP_WAL_PATH];
	int rc = pp_wal_format_list(d->reader.disk, dir, PP_WAL_FILE_LOG, &numbers, &count);

	for (size_t i = 0; i < count && !rc; i++) {
		rc = pp_wal_format_path(path, dir, PP_WAL_FILE_LOG, numbers[i]);
		if (!rc)
			rc = dump_file(d, path);
	}
	free(numbers);
	return rc;
}

int pp_wal_dump(const char *path, on_item_fn *on_item, void *ctx)
{
	struct dump d = {.reader.disk = &pp_disk_real, .on_item = on_item, .ctx = ctx};
	struct stat st;
	int rc;

	if (stat(path, &st) < 0) {
		rc = -errno;
		return pp_detail(rc, "cannot look at %s: %s", path, pp_error_text(rc));
	}
	rc = S_ISDIR(st.st_mode) ? dump_dir(&d, path) : dump_file(&d, path);
	pp_wal_reader_release(&d.reader);
	return rc;
}
