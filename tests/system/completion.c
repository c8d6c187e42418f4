/*
 * completion.c - what bash offers when a person presses the tab key: asked of bash itself, for every command.
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

TestSuite(completion, .fini = end, .timeout = 200);

/* `tab WORD...`: what is offered for the last word, a line each. */
static const char tab[] =
	"source \"$TOP/tools/completion/ppdb.bash\" || exit 1\n"
	"tab() { COMP_WORDS=(\"$@\") COMP_CWORD=$(($# - 1)); _ppdb; printf '%s\\n' \"${COMPREPLY[@]}\"; }\n";

static void expect(const char *script, const char *want)
{
	char all[4096];
	int rc;

	snprintf(all, sizeof(all), "%s%s", tab, script);
	rc = test_shell_run(&s, all, 100);
	test_require(!rc && !strcmp(s.out, want), "%s: %d, \"%s\" instead of \"%s\"", script, rc, s.out, want);
}

Test(completion, what_bash_offers)
{
	test_begin(180);
	test_shell_begin(&s);
	test_require(!test_shell_run(&s, "ppdb start 2>/dev/null && ppdb table create birds && ppdb table create bees && ppdb put user/1 v && ppdb put 'user/with space' v &&"
		" ppdb put robin v --table birds && ppdb watch --bookmark indexer --once", 100), "%s", s.out);
	/* commands: those of --help, all of them */
	expect("diff <(tab ppdb '') <(ppdb --help | sed -n 's/^  \\([a-z][a-z]*\\)  *[a-z].*/\\1/p' | grep -v '^ppdb$' | sort)", "");
	expect("tab ppdb stat", "stat\nstatus\n");
	expect("tab ppdb -n x --json ge", "get\n");
	/* options of each command: whatever its help names */
	expect("for c in $(tab ppdb ''); do\n"
	       "	comm -23 <(ppdb $c --help | grep -oE -e '(^|[^a-z-])--[a-z][a-z-]*' | grep -oE -e '--[a-z-]+' | sort -u) <(tab ppdb $c -- | sort)\n"
	       "done", "");
	expect("tab ppdb get --ra", "--raw\n");
	expect("tab ppdb start --wal-d", "--wal-depth\n");
	expect("tab ppdbd --checkpoint-s", "--checkpoint-streams\n");
	expect("tab ppdb-exporter --li", "--listen\n");
	/* names */
	expect("tab ppdb -n $ID-de | sed s/$ID/ID/", "ID-default\n");
	expect("tab ppdb get k --table b; tab ppdb get k --table = bi", "bees\nbirds\nbirds\n");
	expect("tab ppdb table ''; tab ppdb table drop bi; tab ppdb bookmark ''", "change\ncreate\ndrop\nbirds\ndrop\nlist\n");
	expect("tab ppdb bookmark drop in; tab ppdb watch --bookmark i", "indexer\nindexer\n");
	expect("tab ppdb get us; tab ppdb del --table birds r", "user/1\nuser/with\\ space\nrobin\n");
	expect("tab ppdb bench ycsb-c; tab ppdb dump --format m", "ycsb-c\nmdb\n");
	expect("touch records.tsv; mkdir copies; tab ppdb load rec; tab ppdb backup co; tab ppdb check --offline co", "records.tsv\ncopies\ncopies\n");
	/* without a daemon nothing is offered, and nothing is said */
	expect("ppdb stop; tab ppdb get us; tab ppdb -n nobody get us", "\n\n");
}
