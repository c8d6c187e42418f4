/*
 * text_reader.h - lines of a file, of a part of it, or of a pipe, with their numbers.
 */
#ifndef PP_TOOLS_TEXT_READER_H
#define PP_TOOLS_TEXT_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zero-initialise, then set fd, and for a part of a regular file also ranged, at and end. */
struct pp_text_reader {
	int fd;
	bool ranged;       /* read [at, end) with pread; else read to the end of fd */
	uint64_t at, end;
	uint64_t line;     /* number of the line returned last, from 1, counted from where reading began */
	uint64_t bytes;    /* of all lines returned so far, newlines included */
	/* private */
	char *buffer;
	size_t cap, start, have;
	bool eof;
};

/*
 * The next line without its newline, valid and changeable until the next call; the last one may lack its newline. 1, 0 at the
 * end, -errno, or -EFBIG: this line is longer than `limit` and was passed over.
 */
int pp_text_next_line(struct pp_text_reader *, size_t limit, char **line, size_t *size);
void pp_text_reader_free(struct pp_text_reader *);

/* The first beginning of a line at or behind `offset` in a regular file of `size` bytes. 0 or -errno. */
int pp_text_line_start(int fd, uint64_t offset, uint64_t size, uint64_t *start);
/* Newlines in [0, offset). 0 or -errno. */
int pp_text_count_lines(int fd, uint64_t offset, uint64_t *lines);

#endif
