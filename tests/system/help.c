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

/* Those that go on are run all at once at the end, each in a directory of its own: they only wait. */
#define LATER 64
static char later[LATER][512];
static unsigned laters;

static void run_example(void *ctx, const char *line)
{
	int rc;

	test_say("%s: %s", (const char *)ctx, line);
	if (!strncmp(line, "curl", 4)) /* system/exporter.c does it */
		return;
	if (goes_on(line)) {
		test_require(laters < LATER, "more than %d examples go on", LATER);
		snprintf(later[laters++], sizeof(later[0]), "%s", line);
		return;
	}
	if (!strncmp(line, "ppdbd", 5)) /* one a store */
		test_shell_run(&s, "ppdb -n orders stop", 60);
	rc = test_shell_run(&s, line, 60);
	test_require(!rc || (rc == 1 && strstr(line, "stall")), "an example of %s ended with %d: %s\n%s", (const char *)ctx, rc, line, s.out);
}

static void run_later(void)
{
	static const char head[] =
		"ppdb -n orders stop; for day in monday tuesday; do ppdb perf --interval 0.1 --count 2 --record $day.json; done\n"
		"go() { mkdir $1 && cp *.json *.tsv $1 && mv $1.sh $1/example && cd $1 || exit; timeout -k 10 1 bash -o pipefail example >out 2>&1 </dev/null; echo $? >rc; }\n";
	static const char tail[] =
		"wait\nfor i in go-*/; do\n"
		"	case $(cat $i/rc) in\n"
		"	0 | 124) ;;\n"
		"	1) grep -q -e --diff -e stall $i/example || bad=1 ;;\n"
		"	*) bad=1 ;;\n"
		"	esac\n"
		"	[ -z \"$bad\" ] || { echo \"an example ended with $(cat $i/rc): $(cat $i/example)\"; cat $i/out; break; }\n"
		"done >result; cat result >&3; [ ! -s result ]\n";
	static char script[1 << 14];
	char path[128];
	size_t n = 0;
	int rc;
	FILE *f;

	n += (size_t)snprintf(script, sizeof(script), "exec 3>&1 >log 2>&1\n%s", head);
	for (unsigned i = 0; i < laters; i++) {
		snprintf(path, sizeof(path), "%s/here/go-%u.sh", s.dir, i);
		f = fopen(path, "w");
		test_require(f && fprintf(f, "%s\n", later[i]) > 0 && !fclose(f), "%s", path);
		n += (size_t)snprintf(script + n, sizeof(script) - n, "go go-%u &\n", i);
	}
	snprintf(script + n, sizeof(script) - n, "%s", tail);
	test_say("%u examples that go on", laters);
	rc = test_shell_run(&s, script, 100);
	test_require(!rc && !s.out[0], "%d: %s", rc, s.out);
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
	run_later();
}
