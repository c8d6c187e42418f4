/*
 * wal_reader.c - sequential reading of one file of the log through a window.
 *
 * Reads are buffered, 1 MiB at a time, with the next ones announced to the kernel, so that the disk works while units are
 * checked and a second pass comes out of the page cache. The window stays small enough for the CPU's cache. A unit is used
 * where it was read; what is left of the window moves to its front when a unit does not fit.
 * Reads only; a process that dies here leaves nothing.
 */
#include "engine/wal_reader.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/file.h"
#include "shm/errors.h"

#define CHUNK (1u << 20)
#define AHEAD (8u << 20)

int pp_wal_reader_open(struct pp_wal_reader *reader, const char *path)
{
	int rc;

	pp_wal_reader_close(reader);
	rc = pp_file_open(reader->disk, path, O_RDONLY, 0, &reader->fd);
	if (rc)
		return rc;
	snprintf(reader->path, sizeof(reader->path), "%s", path);
	reader->is_open = true;
	reader->window_offset = 0;
	reader->window_bytes = 0;
	return 0;
}

void pp_wal_reader_close(struct pp_wal_reader *reader)
{
	if (reader->is_open)
		pp_file_close(reader->disk, reader->fd);
	reader->is_open = false;
}

void pp_wal_reader_release(struct pp_wal_reader *reader)
{
	pp_wal_reader_close(reader);
	free(reader->window);
	reader->window = NULL;
	reader->room = 0;
}

static int make_room(struct pp_wal_reader *reader, size_t size)
{
	size_t room = pp_wal_round_up(size + CHUNK, CHUNK);
	uint8_t *grown;

	if (room <= reader->room)
		return 0;
	grown = aligned_alloc(PP_WAL_BLOCK, room);
	if (!grown)
		return pp_detail(-ENOMEM, "no memory to read %s", reader->path);
	if (reader->window_bytes)
		memcpy(grown, reader->window, reader->window_bytes);
	free(reader->window);
	reader->window = grown;
	reader->room = room;
	return 0;
}

/* Moves the window to begin at `offset`, keeping what is already read. */
static void slide(struct pp_wal_reader *reader, uint64_t offset)
{
	uint64_t end = reader->window_offset + reader->window_bytes;

	if (offset >= reader->window_offset && offset < end) {
		size_t keep = (size_t)(end - offset);

		memmove(reader->window, reader->window + (offset - reader->window_offset), keep);
		reader->window_bytes = keep;
	} else {
		reader->window_bytes = 0;
	}
	reader->window_offset = offset;
}

int pp_wal_reader_at(struct pp_wal_reader *reader, uint64_t offset, size_t size, const void **out, size_t *got)
{
	uint64_t end = reader->window_offset + reader->window_bytes;

	if (offset < reader->window_offset || offset + size > end) {
		size_t want, more = 0;
		int rc = make_room(reader, size);

		if (rc)
			return rc;
		slide(reader, offset);
		want = reader->window_bytes + CHUNK < reader->room ? reader->window_bytes + CHUNK : reader->room;
		want = (want > size ? want : size) - reader->window_bytes;
		end = offset + reader->window_bytes;
		reader->disk->advise(reader->disk, reader->fd, end + want, AHEAD, PP_DISK_READ_SOON);
		rc = pp_file_read(reader->disk, reader->fd, reader->path, reader->window + reader->window_bytes, want, end,
				  &more);
		if (rc)
			return rc;
		reader->window_bytes += more;
		end += more;
	}
	*out = reader->window + (offset - reader->window_offset);
	*got = end > offset ? (size_t)(end - offset) : 0;
	return 0;
}

int pp_wal_reader_unit(struct pp_wal_reader *reader, const struct pp_wal_place *place,
		       const struct pp_wal_unit_header **unit_out, const char **why)
{
	const void *data = NULL;
	size_t got = 0, size;
	int rc = pp_wal_reader_at(reader, place->offset, PP_WAL_BLOCK, &data, &got);

	if (rc)
		return rc;
	if (got < PP_WAL_BLOCK) {
		*why = "the file ends here";
		return 0;
	}
	*why = pp_wal_format_check_place(data, place);
	if (*why)
		return 0;
	size = ((const struct pp_wal_unit_header *)data)->total_bytes;
	rc = pp_wal_reader_at(reader, place->offset, size, &data, &got);
	if (rc)
		return rc;
	*why = got < size ? "the file ends inside the unit" : pp_wal_format_check_unit(data, place);
	*unit_out = data;
	return 0;
}

int pp_wal_reader_header(struct pp_wal_reader *reader, struct pp_wal_segment_header *out, const char **why)
{
	const void *data = NULL;
	size_t got = 0;
	int rc = pp_wal_reader_at(reader, 0, PP_WAL_BLOCK, &data, &got);

	memset(out, 0, sizeof(*out));
	if (rc)
		return rc;
	*why = got < PP_WAL_BLOCK ? "the file is shorter than its header" : pp_wal_format_check_segment(data, out);
	return 0;
}
