/*
 * text_reader.c - lines come out whole and once each, however the file is split and however a pipe delivers it.
 */
#include "tools/text_reader.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int file_with(const char *text, size_t size)
{
	FILE *f = tmpfile();

	cr_assert(f);
	cr_assert_eq(fwrite(text, 1, size, f), size);
	fflush(f);
	return dup(fileno(f));
}

/* Reads [at, end) of fd and checks that line `first` + n is the text "n" padded with dots. */
static uint64_t expect_lines(int fd, uint64_t at, uint64_t end, uint64_t first)
{
	struct pp_text_reader r = {.fd = fd, .ranged = true, .at = at, .end = end};
	char *line;
	size_t size;
	int rc;

	while ((rc = pp_text_next_line(&r, 1 << 20, &line, &size)) == 1) {
		char want[32];
		int n = snprintf(want, sizeof(want), "%llu.", (unsigned long long)(first + r.line - 1));

		cr_assert(size >= (size_t)n && !memcmp(line, want, (size_t)n), "line %s", want);
	}
	cr_assert_eq(rc, 0);
	cr_assert_eq(r.bytes, end - at);
	pp_text_reader_free(&r);
	return r.line;
}

Test(text_reader, parts_hold_every_line_once)
{
	char *text = malloc(4u << 20);
	size_t size = 0, lines = 0;
	unsigned seed = 5;
	int fd;

	while (size < (3u << 20)) {
		size_t pad = (size_t)rand_r(&seed) % (lines % 100 ? 60 : 300000);

		size += (size_t)sprintf(text + size, "%zu.", lines++);
		memset(text + size, '.', pad);
		size += pad;
		text[size++] = '\n';
	}
	size--; /* no newline at the end */
	fd = file_with(text, size);
	for (unsigned parts = 1; parts < 40; parts += 3) {
		uint64_t at = 0, end = 0, sum = 0, before;

		for (unsigned i = 0; i < parts; i++, at = end) {
			end = size;
			if (i + 1 < parts)
				cr_assert_eq(pp_text_line_start(fd, size / parts * (i + 1), size, &end), 0);
			cr_assert_eq(pp_text_count_lines(fd, at, &before), 0);
			cr_assert(at == size || before == sum, "%u parts", parts);
			sum += expect_lines(fd, at, end, sum);
		}
		cr_assert_eq(sum, lines, "%u parts", parts);
	}
	close(fd);
	free(text);
}

Test(text_reader, pipes_deliver_in_pieces)
{
	struct pp_text_reader r = {0};
	static const char text[] = "one\n\ntwo\nthree";
	char *line;
	size_t size;
	int fd[2];

	cr_assert_eq(pipe(fd), 0);
	if (fork() == 0) {
		for (size_t i = 0; i < sizeof(text) - 1; i++) {
			usleep(2000);
			if (write(fd[1], text + i, 1) != 1)
				_exit(1);
		}
		_exit(0);
	}
	close(fd[1]);
	r.fd = fd[0];
	cr_assert(pp_text_next_line(&r, 100, &line, &size) == 1 && size == 3 && !memcmp(line, "one", 3));
	cr_assert(pp_text_next_line(&r, 100, &line, &size) == 1 && size == 0);
	cr_assert(pp_text_next_line(&r, 100, &line, &size) == 1 && size == 3 && !memcmp(line, "two", 3));
	cr_assert(pp_text_next_line(&r, 100, &line, &size) == 1 && size == 5 && !memcmp(line, "three", 5));
	cr_assert_eq(pp_text_next_line(&r, 100, &line, &size), 0);
	cr_assert_eq(r.line, 4);
	pp_text_reader_free(&r);
	close(fd[0]);
}

Test(text_reader, too_long_lines_are_passed_over)
{
	size_t big = 2u << 20, size = 0, n;
	char *text = malloc(3 * big), *line;
	struct pp_text_reader r = {.ranged = true};

	size += (size_t)sprintf(text, "a\n");
	memset(text + size, 'x', big);
	size += big;
	size += (size_t)sprintf(text + size, "\nb\n");
	memset(text + size, 'y', 200);
	size += 200;
	size += (size_t)sprintf(text + size, "\nc\n");
	memset(text + size, 'z', big);
	size += big;
	r.fd = file_with(text, size);
	r.end = size;
	cr_assert(pp_text_next_line(&r, 100, &line, &n) == 1 && *line == 'a');
	cr_assert_eq(pp_text_next_line(&r, 100, &line, &n), -EFBIG);
	cr_assert_eq(r.line, 2);
	cr_assert(pp_text_next_line(&r, 100, &line, &n) == 1 && *line == 'b');
	cr_assert_eq(pp_text_next_line(&r, 100, &line, &n), -EFBIG);
	cr_assert(pp_text_next_line(&r, 100, &line, &n) == 1 && *line == 'c');
	cr_assert_eq(r.line, 5);
	cr_assert_eq(pp_text_next_line(&r, 100, &line, &n), -EFBIG);
	cr_assert_eq(pp_text_next_line(&r, 100, &line, &n), 0);
	pp_text_reader_free(&r);
	close(r.fd);
	free(text);
}
