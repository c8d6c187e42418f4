/*
 * api_samples.c - every sample of docs/api.md that is a program (it has a main) compiles without a warning, as C11, and does what it says: it is run
 * on a store of its own and must end with 0.
 */
#include "tests/lib/store.h"

#include <criterion/criterion.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(api_samples, .fini = test_stores_end, .timeout = 300);

static struct test_store s;

/* The tests run in the top folder, or the page lies beside the build. */
static FILE *page(void)
{
	FILE *f = fopen("docs/api.md", "r");

	test_require(f, "docs/api.md is not here; run the tests in the top folder");
	return f;
}

static void run_sample(unsigned n, const char *section)
{
	const char *build = getenv("PPDB_BUILD") ? getenv("PPDB_BUILD") : PPDB_BUILD_DIR;
	char line[2048], out[4096] = "";
	size_t got;
	int rc;
	FILE *f;

	snprintf(line, sizeof(line), "{ ${CC:-cc} -std=c11 -Wall -Wextra -Werror -Iclient -o %s/sample%u %s/sample%u.c -L%s -lppdb-client -Wl,-rpath,%s && "
		"timeout 60 %s/sample%u %s; } >%s/sample.out 2>&1", s.dir, n, s.dir, n, build, build, s.dir, n, s.socket, s.dir);
	rc = system(line);
	snprintf(line, sizeof(line), "%s/sample.out", s.dir);
	f = fopen(line, "r");
	got = f ? fread(out, 1, sizeof(out) - 1, f) : 0;
	out[got] = '\0';
	if (f)
		fclose(f);
	test_require(!rc, "the sample of section '%s' ended with %#x: %s", section, (unsigned)rc, out);
}

Test(api_samples, build_and_run)
{
	char line[512], section[128] = "", path[160];
	unsigned samples = 0;
	bool program = false;
	FILE *doc, *c = NULL;

	if (strstr(getenv("PPDB_BUILD") ? getenv("PPDB_BUILD") : PPDB_BUILD_DIR, "san")) /* its library cannot be linked to a plain program */
		cr_skip_test("samples are built without sanitizers");
	test_begin(280);
	test_store_start(&s, "");
	doc = page();
	while (fgets(line, sizeof(line), doc)) {
		if (!strncmp(line, "## ", 3))
			snprintf(section, sizeof(section), "%.*s", (int)strcspn(line + 3, "\n"), line + 3);
		if (!strcmp(line, "```c\n")) {
			snprintf(path, sizeof(path), "%s/sample%u.c", s.dir, samples);
			c = fopen(path, "w");
			program = false;
			test_require(c, "%s", path);
		} else if (c && !strcmp(line, "```\n")) {
			fclose(c);
			c = NULL;
			test_say("section %s", section);
			if (program)
				run_sample(samples++, section);
		} else if (c) {
			program |= !strncmp(line, "int main(", 9);
			fputs(line, c);
		}
	}
	fclose(doc);
	test_require(samples >= 3, "docs/api.md has %u programs", samples);
	test_store_stop(&s);
}
