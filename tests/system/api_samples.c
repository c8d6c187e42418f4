/*
 * api_samples.c - every sample of README.md and docs/ works.
 *
 * C programs (they have a main) compile without a warning, as C11, are run on a store of the page's own and end with 0; other pieces of C compile in
 * a function whose variables are declared below. Blocks of shell are run in order, in one scratch directory a page; lines behind "$ " are commands,
 * and what follows them is what they print. Settings start a daemon, Prometheus reads its configuration. A block that cannot run here says so in its first line: "# not run by the tests: why". Those are
 * counted.
 */
#include "tests/lib/example.h"
#include "tests/lib/proc.h"
#include "tests/lib/scrape.h"

#include <criterion/criterion.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOT_RUN "# not run by the tests: "
#define NOT_RUN_AT_MOST 6

static struct test_shell s;

static void end(void)
{
	test_shell_end(&s);
}

TestSuite(api_samples, .fini = end, .timeout = 400);

struct page {
	const char *path;
	char section[128];
	char block[1 << 16]; /* the one that is being read */
	unsigned programs, pieces, scripts, not_run;
};

/* What pieces of C take for granted. */
static const char piece_head[] =
	"#include <ppdb.h>\n#include <errno.h>\n#include <poll.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include <sys/epoll.h>\n#include <unistd.h>\n"
	"extern ppdb *db; extern ppdb_view *view; extern ppdb_iter *iter; extern ppdb_batch *batch; extern ppdb_feed *feed; extern ppdb_table table;\n"
	"extern ppdb_slice key, value, old_value, new_value; extern ppdb_item item; extern ppdb_change change; extern ppdb_seq ticket; extern uint64_t version;\n"
	"extern int rc, loop; extern void *request; extern char buf[4096]; extern size_t len; extern int64_t sum;\n"
	"void answer(void *request, int result); int apply(const ppdb_change *change); void use(ppdb_slice key, ppdb_slice value);\n"
	"int piece(void);\nint piece(void)\n{\n";

/* Samples attach to the page's store, whatever name they give. */
static const char attach_head[] =
	"#include <ppdb.h>\n#include <stdlib.h>\n"
	"static inline int sample_attach(const char *name, const ppdb_attach_opts *o, ppdb **out)\n"
	"{\n\t(void)name;\n\treturn ppdb_attach(getenv(\"PPDB_SAMPLE_STORE\"), o, out);\n}\n"
	"#define ppdb_attach sample_attach\n";

static const char things[] =
	"ln -sfn \"$TOP/client\" client; mkdir -p build old.lmdb new.lmdb; ln -sf \"$BUILD\"/libppdb-client.* \"$D\"/bin/ppdb* build\n"
	"printf '#!/bin/bash\\nPATH=${PATH#*:}\\nexport PPDB_SAMPLE_STORE=%s-default\\nexec gcc -include \"%s/attach.h\" \"$@\"\\n' \"$ID\" \"$D\" >\"$D/bin/gcc\"\n"
	"chmod +x \"$D/bin/gcc\"; printf 'k\\nv\\n' | mdb_load -T -f /dev/stdin old.lmdb\n"
	"ppdb start 2>/dev/null && ppdb table create birds && ppdb put robin red --table birds\n"
	"for i in 1 2 3; do ppdb put user/$i name-$i --async; done\n"
	"printf 'a\\t1\\nb\\t2\\n' >records.tsv\n";

static void store(const char *name, const char *head, const char *text, const char *tail)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", s.dir, name);
	f = fopen(path, "w");
	test_require(f && fputs(head, f) >= 0 && fputs(text, f) >= 0 && fputs(tail, f) >= 0 && !fclose(f), "%s", path);
}

static void run(const struct page *p, const char *script)
{
	int rc = test_shell_run(&s, script, 120);

	test_require(!rc, "%s, section '%s': ended with %d:\n%s\n%s", p->path, p->section, rc, script, s.out);
}

/* Most pages have nothing to run. */
static void begin(const struct page *p)
{
	if (s.dir[0])
		return;
	test_shell_begin(&s);
	store("attach.h", attach_head, "", "");
	run(p, things);
}

static void c_block(struct page *p)
{
	begin(p);
	test_say("%s, section '%s': C", p->path, p->section);
	if (strstr(p->block, "int main(")) {
		p->programs++;
		store("here/sample.c", "", p->block, "");
		run(p, "ppdb start 2>/dev/null\n"
		       "gcc -std=c11 -Wall -Wextra -Werror -Iclient -o sample sample.c -Lbuild -lppdb-client -Wl,-rpath,\"$PWD/build\" &&\n"
		       "PPDB_SAMPLE_STORE=$ID-default timeout 60 ./sample");
	} else {
		p->pieces++;
		store("here/piece.c", piece_head, p->block, "\treturn 0;\n}\n");
		run(p, "gcc -std=gnu11 -Wall -Wextra -Werror -Wno-unused -Wno-misleading-indentation -Iclient -c -o piece.o piece.c");
	}
}

/* A block with "$ " commands: what is shown behind each must be what it prints. */
static void session(const struct page *p, char *text)
{
	static char want[1 << 14], command[1 << 13];

	for (char *at = text; *at;) {
		size_t size = strcspn(at, "\n");

		test_require(!strncmp(at, "$ ", 2), "%s, section '%s': no command: %.60s", p->path, p->section, at);
		snprintf(command, sizeof(command), "{ %.*s\n} 2>/dev/null", (int)size - 2, at + 2);
		want[0] = '\0';
		for (at += size + (at[size] == '\n'); *at && strncmp(at, "$ ", 2); at += size + (at[size] == '\n')) {
			size = strcspn(at, "\n");
			snprintf(want + strlen(want), sizeof(want) - strlen(want), "%.*s\n", (int)size, at);
		}
		run(p, command);
		test_require(!want[0] || !strcmp(want, s.out), "%s, section '%s': %s prints\n%s\nand not\n%s", p->path, p->section, command, s.out, want);
	}
}

static void sh_block(struct page *p)
{
	char *gcc = strstr(p->block, "gcc "), name[64] = "";
	char prepare[256] = "ppdb start 2>/dev/null; ", script[1 << 16];

	if (!strncmp(p->block, NOT_RUN, strlen(NOT_RUN))) {
		p->not_run++;
		return;
	}
	begin(p);
	p->scripts++;
	test_say("%s, section '%s': shell", p->path, p->section);
	if (gcc && sscanf(gcc, "gcc %60[a-z_].c", name) == 1) /* the program above is in that file */
		snprintf(prepare, sizeof(prepare), "cp sample.c %s.c; ", name);
	run(p, prepare);
	if (!strncmp(p->block, "$ ", 2)) {
		session(p, p->block);
	} else {
		snprintf(script, sizeof(script), "set -e\n%.60000s", p->block);
		run(p, script);
	}
}

/* Settings of ppdbd (units of a service manager begin with a section): a daemon starts with them. */
static void ini_block(struct page *p)
{
	if (p->block[0] == '[')
		return;
	begin(p);
	p->scripts++;
	store("here/page.conf", "", p->block, "");
	run(p, "ppdbd -n page -c page.conf -d page && ppdb -n page stop");
}

/* Prometheus' configuration: it must be one. */
static void yaml_block(struct page *p)
{
	char words[200], out[4096];
	int rc;

	begin(p);
	store("here/page.yml", "", p->block, "");
	snprintf(words, sizeof(words), "check config --syntax-only %s/here/page.yml", s.dir);
	rc = test_promtool(words, NULL, out, sizeof(out));
	test_require(!rc, "%s, section '%s': %s", p->path, p->section, out);
	p->scripts++;
}

/* Reads a page to its end, and does what stands in its blocks. */
static void read_page(struct page *p, FILE *f)
{
	char line[4096], kind[16] = "";
	bool inside = false;

	while (fgets(line, sizeof(line), f)) {
		if (!inside && line[0] == '#')
			snprintf(p->section, sizeof(p->section), "%.*s", (int)strcspn(line, "\n"), line);
		if (strncmp(line, "```", 3)) {
			if (inside)
				strncat(p->block, line, sizeof(p->block) - strlen(p->block) - 1);
			continue;
		}
		inside = !inside;
		if (inside) {
			snprintf(kind, sizeof(kind), "%.*s", (int)strcspn(line + 3, "\n"), line + 3);
			p->block[0] = '\0';
		} else if (!strcmp(kind, "c")) {
			c_block(p);
		} else if (!strcmp(kind, "sh")) {
			sh_block(p);
		} else if (!strcmp(kind, "ini")) {
			ini_block(p);
		} else if (!strcmp(kind, "yaml")) {
			yaml_block(p);
		} else {
			test_require(!kind[0], "%s, section '%s': a block of %s, which nobody runs", p->path, p->section,
				kind);
		}
	}
	test_require(!inside, "%s: a block without an end", p->path);
}

static void judge(const char *path, struct page *sum)
{
	static struct page p;
	FILE *f = fopen(path, "r");

	test_require(f, "%s is not here; run the tests in the top folder", path);
	memset(&p, 0, sizeof(p));
	p.path = path;
	read_page(&p, f);
	fclose(f);
	test_shell_end(&s);
	sum->programs += p.programs;
	sum->pieces += p.pieces;
	sum->scripts += p.scripts;
	sum->not_run += p.not_run;
}

Test(api_samples, build_and_run)
{
	static struct page sum;
	glob_t pages;

	if (strstr(getenv("PPDB_BUILD") ? getenv("PPDB_BUILD") : PPDB_BUILD_DIR, "san")) /* its library cannot be linked to a plain program */
		cr_skip_test("samples are built without sanitizers");
	test_begin(380);
	judge("README.md", &sum);
	test_require(!glob("docs/*.md", 0, NULL, &pages) && pages.gl_pathc >= 4, "docs/*.md are not here");
	for (size_t i = 0; i < pages.gl_pathc; i++)
		judge(pages.gl_pathv[i], &sum);
	globfree(&pages);
	test_require(sum.programs >= 5 && sum.pieces >= 2 && sum.scripts >= 3, "%u programs, %u pieces, %u scripts", sum.programs, sum.pieces, sum.scripts);
	test_require(sum.not_run <= NOT_RUN_AT_MOST, "%u blocks are not run: more than %d", sum.not_run, NOT_RUN_AT_MOST);
}

/* docs/tuning.md has a line for each option of ppdbd. */
Test(api_samples, every_knob_has_an_entry)
{
	int rc;

	test_begin(60);
	test_shell_begin(&s);
	rc = test_shell_run(&s, "ppdbd --help | grep -oE '^ +(-., )?--[a-z-]+' | grep -oE -e '--[a-z-]+' | tee \"$D/all\" |"
		" while read -r o; do grep -q -e \"^| .*\\`$o\\`\" \"$TOP/docs/tuning.md\" || echo \"$o has no entry\"; done; [ $(wc -l <\"$D/all\") -ge 30 ]", 60);
	test_require(!rc && !s.out[0], "%d: %s", rc, s.out);
}
