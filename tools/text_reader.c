/*
 * text_reader.c - lines of a file, of a part of it, or of a pipe, with their numbers.
 *
 * Parts of a file that begin and end at line starts (pp_text_line_start) hold every line exactly once. A file that shrinks while
 * it is read ends earlier: no mapping, no SIGBUS.
 */
#include "tools/text_reader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHUNK (256u << 10)

/* Moves what is left to the front and makes room for a chunk. */
static int make_room(struct pp_text_reader *r)
{
	char *more;

	if (r->start) {
		memmove(r->buffer, r->buffer + r->start, r->have);
		r->start = 0;
	}
	if (r->cap - r->have >= CHUNK)
		return 0;
	more = realloc(r->buffer, r->cap ? 2 * r->cap : 2 * CHUNK);
	if (!more)
		return -ENOMEM;
	r->cap = r->cap ? 2 * r->cap : 2 * CHUNK;
	r->buffer = more;
	return 0;
}

static int fill(struct pp_text_reader *r)
{
	size_t want;
	ssize_t n;
	int rc = make_room(r);

	if (rc)
		return rc;
	want = r->cap - r->start - r->have;
	if (r->ranged && want > r->end - r->at)
		want = r->end - r->at;
	do {
		char *to = r->buffer + r->start + r->have;

		n = !want ? 0 : r->ranged ? pread(r->fd, to, want, (off_t)r->at) : read(r->fd, to, want);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	r->eof = n == 0;
	r->at += (uint64_t)n;
	r->have += (size_t)n;
	return 0;
}

static void consume(struct pp_text_reader *r, size_t n)
{
	r->start += n;
	r->have -= n;
	r->bytes += n;
}

/* Throws away the rest of a line that is too long. */
static int skip_line(struct pp_text_reader *r)
{
	for (;;) {
		char *newline = memchr(r->buffer + r->start, '\n', r->have);
		int rc;

		if (newline) {
			consume(r, (size_t)(newline - r->buffer) - r->start + 1);
			return -EFBIG;
		}
		consume(r, r->have);
		if (r->eof)
			return -EFBIG;
		rc = fill(r);
		if (rc)
			return rc;
	}
}

int pp_text_next_line(struct pp_text_reader *r, size_t limit, char **line, size_t *size)
{
	size_t seen = 0;

	for (;;) {
		char *newline = r->have > seen ? memchr(r->buffer + r->start + seen, '\n', r->have - seen) : NULL;
		int rc;

		if (newline || (r->eof && r->have)) {
			*line = r->buffer + r->start;
			*size = newline ? (size_t)(newline - *line) : r->have;
			r->line++;
			consume(r, *size + (newline != NULL));
			return *size > limit ? -EFBIG : 1;
		}
		if (r->eof)
			return 0;
		seen = r->have;
		if (seen > limit) {
			r->line++;
			return skip_line(r);
		}
		rc = fill(r);
		if (rc)
			return rc;
	}
}

void pp_text_reader_free(struct pp_text_reader *r)
{
	free(r->buffer);
	r->buffer = NULL;
}

/* Calls pread for [*at, end) chunk by chunk; returns bytes read, 0 at the end, -errno. */
static ssize_t chunk(int fd, char *buffer, uint64_t at, uint64_t end)
{
	size_t want = end - at < CHUNK ? (size_t)(end - at) : CHUNK;
	ssize_t n;

	do
		n = want ? pread(fd, buffer, want, (off_t)at) : 0;
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

int pp_text_line_start(int fd, uint64_t offset, uint64_t size, uint64_t *start)
{
	char *buffer, *newline = NULL;
	uint64_t at = offset ? offset - 1 : 0;
	ssize_t n = 0;

	if (!offset || offset >= size) {
		*start = offset ? size : 0;
		return 0;
	}
	buffer = malloc(CHUNK);
	if (!buffer)
		return -ENOMEM;
	while (!newline && (n = chunk(fd, buffer, at, size)) > 0) {
		newline = memchr(buffer, '\n', (size_t)n);
		*start = newline ? at + (uint64_t)(newline - buffer) + 1 : size;
		at += (uint64_t)n;
	}
	free(buffer);
	return n < 0 ? (int)n : 0;
}

int pp_text_count_lines(int fd, uint64_t offset, uint64_t *lines)
{
	char *buffer = malloc(CHUNK);
	uint64_t at = 0;
	ssize_t n;

	if (!buffer)
		return -ENOMEM;
	*lines = 0;
	while ((n = chunk(fd, buffer, at, offset)) > 0) {
		for (ssize_t i = 0; i < n; i++)
			*lines += buffer[i] == '\n';
		at += (uint64_t)n;
	}
	free(buffer);
	return n < 0 ? (int)n : 0;
}
