/*
 * example.h - running the lines of shell that help texts and documents show, as a user would, on stores of the test's own.
 *
 * Each run has a scratch directory as its current one. `ppdb`, `ppdbd` and `ppdb-exporter` are those of the build, but the store "NAME" is
 * really "ID-NAME" and keeps its files in the directory, so that no store of the machine is touched. `mail` prints what it gets.
 */
#ifndef TESTS_LIB_EXAMPLE_H
#define TESTS_LIB_EXAMPLE_H

#include <stddef.h>

struct test_shell {
	char dir[64], id[16];
	unsigned runs;
	char out[1 << 17]; /* stdout and stderr of the last run, NUL-terminated */
};

void test_shell_begin(struct test_shell *);
/* Exit code of the script, 124 when it still ran after that many seconds and was ended. */
int test_shell_run(struct test_shell *, const char *script, double seconds);
/* Stops the stores and removes everything. Does not assert: it also runs after a failure. */
void test_shell_end(struct test_shell *);

/* The examples of a help text: lines that begin with two spaces and run one of the programs. Calls `each` with the line, its comment cut off; the
 * number of examples. */
unsigned test_examples(const char *help, void (*each)(void *ctx, const char *line), void *ctx);

#endif
