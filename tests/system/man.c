/*
 * man.c - the man pages: made of the programs and the header of this build, one for each command and each call, and without a fault in their form.
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

TestSuite(man, .fini = end, .timeout = 200);

static void expect(const char *script)
{
	int rc = test_shell_run(&s, script, 100);

	test_require(!rc && !s.out[0], "%d from %s: %.3000s", rc, script, s.out);
}

Test(man, pages)
{
	test_begin(180);
	test_shell_begin(&s);
	expect("cd \"$TOP\" && docs/make-man \"$BUILD\" \"$D/man\" 1.2.3 2026-01-02");
	expect("mandoc -Tlint -W warning \"$D\"/man/man?/*");
	expect("ppdb --help | sed -n 's/^  \\([a-z][a-z]*\\)  *[a-z].*/\\1/p' | grep -v '^ppdb$' |"
	       " while read -r c; do [ -s \"$D/man/man1/ppdb-$c.1\" ] || echo \"no page ppdb-$c(1)\"; done");
	expect("grep -o '^PPDB_API [^(]*(' \"$TOP/client/ppdb.h\" | grep -o 'ppdb_[a-z_0-9]*(' | tr -d '(' |"
	       " while read -r f; do [ -s \"$D/man/man3/$f.3\" ] || echo \"no page $f(3)\"; done");
	/* what they are made of is in them */
	expect("mandoc -Tascii \"$D/man/man8/ppdbd.8\" | sed 's/.\x08//g' >\"$D/ppdbd\"; ppdbd --help | grep -o -- '--[a-z-]*' | sort -u |"
	       " while read -r o; do grep -q -e \"$o\" \"$D/ppdbd\" || echo \"$o is not in ppdbd(8)\"; done");
	expect("mandoc -Tascii \"$D/man/man3/ppdb_put.3\" | sed 's/.\x08//g' | grep -q 'PPDB_OVERLOAD'");
	expect("mandoc -Tascii \"$D/man/man3/ppdb_iter_seek.3\" | sed 's/.\x08//g' | grep -q 'first key >= k'");
	expect("mandoc -Tascii \"$D/man/man1/ppdb.1\" | sed 's/.\x08//g' | grep -q 'ppdb-bookmark(1)'");
	/* the exporter's page, and the others by section */
	expect("[ -s \"$D/man/man8/ppdb-exporter.8\" ] && [ -s \"$D/man/man3/ppdb-client.3\" ] && ! ls \"$D/man\" | grep -v '^man[138]$'");
}
