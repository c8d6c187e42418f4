/*
 * help.c - every command has a --help with examples, and the examples work: each is run as it stands.
 */
#include "tests/lib/example.h"
#include "tests/lib/proc.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct test_shell s;

static void end(void)
{
	test_shell_end(&s);
}

TestSuite(help, .fini = end, .timeout = 400);

/* What examples take for granted; whatever the last one left. */
static const char things[] =
	"ppdb start --memory 4G >/dev/null 2>&1\n"
	"for k in 1 2 3; do ppdb put user/$k name-$k --async; done\n"
	"ppdb put photo picture; ppdb del lock; ppdb put visits 5; ppdb del stock\n"
	"ppdb table create t; ppdb put k v --table t; ppdb watch --bookmark indexer --once >/dev/null\n"
	"echo picture >photo.jpg; printf 'a\\t1\\nb\\t2\\n' >records.tsv\n"
	"mkdir -p lmdb-data; printf 'k\\nv\\n' | mdb_load -T -f /dev/stdin lmdb-data; rm -rf lmdb-copy copy copy-of-today; mkdir lmdb-copy\n"
	"true\n";

/* These go on until they are interrupted, or for long: that they are still at work after a while is well. */
static bool goes_on(const char *line)
{
	static const char *const names[] = {"ppdb watch", "ppdb top", "ppdb stall --watch", "ppdb mem --interval", "ppdb bench", "ppdb tune", "ppdb perf", "ppdb-exporter", "--foreground"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strstr(line, names[i]))
			return true;
	return false;
}

static void run_example(void *ctx, const char *line)
{
	int rc;

	test_say("%s: %s", (const char *)ctx, line);
	if (!strncmp(line, "curl", 4)) /* system/exporter.c does it */
		return;
	if (!strncmp(line, "ppdbd", 5)) /* one a store */
		test_shell_run(&s, "ppdb -n orders stop", 60);
	if (strstr(line, "monday.json")) /* what an example recorded was cut off in the middle */
		test_require(!test_shell_run(&s, "for day in monday tuesday; do ppdb perf --interval 0.1 --count 2 --record $day.json; done", 60), "%s", s.out);
	rc = test_shell_run(&s, line, goes_on(line) ? 0.3 : 60);
	test_require(!rc || (rc == 124 && goes_on(line)) || (rc == 1 && (strstr(line, "stall") || strstr(line, "--diff"))), "an example of %s ended with %d: %s\n%s", (const char *)ctx, rc,
		line, s.out);
}

/* Its examples take something away that others need. */
static bool spoils(const char *words)
{
	static const char *const names[] = {"ppdb stop", "ppdb del", "ppdb cas", "ppdb bookmark", "ppdb backup", "ppdb table", "ppdb dump"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(words, names[i]))
			return true;
	return false;
}

/* Asks for the help of `words` and runs its examples. */
static void judge(const char *words)
{
	static char text[sizeof(s.out)];
	char line[128];

	snprintf(line, sizeof(line), "%s --help", words);
	test_require(!test_shell_run(&s, line, 60), "%s: %s", line, s.out);
	strcpy(text, s.out);
	test_require(!strncmp(text, "usage: ppdb", 11), "%s does not begin with its usage: %s", line, text);
	test_require(test_examples(text, NULL, NULL) >= 1, "%s shows no example: %s", line, text);
	test_examples(text, run_example, (void *)(uintptr_t)words);
	if (spoils(words))
		test_require(!test_shell_run(&s, things, 60), "%s", s.out);
}

Test(help, examples_work)
{
	static char list[sizeof(s.out)];
	char words[64];
	unsigned n = 0;

	test_begin(380);
	test_shell_begin(&s);
	test_require(!test_shell_run(&s, "ppdb --help | sed -n 's/^  \\([a-z][a-z]*\\)  *[a-z].*/\\1/p' | grep -v '^ppdb$'", 60), "%s", s.out);
	strcpy(list, s.out);
	test_require(!test_shell_run(&s, things, 60), "%s", s.out);
	for (char *save, *name = strtok_r(list, "\n", &save); name; name = strtok_r(NULL, "\n", &save), n++) {
		snprintf(words, sizeof(words), "ppdb %s", name);
		judge(words);
	}
	test_require(n >= 28, "only %u commands in ppdb --help", n);
	judge("ppdb");
	judge("ppdbd");
	judge("ppdb-exporter");
}
