/*
 * restore.c - ppdb dump and restore, and the way from LMDB and back, with Debian's own mdb_dump and mdb_load: every byte of keys and values comes
 * through, in both of its formats and both directions; a bad line is named and nothing is lost by it.
 */
#include "tests/lib/store.h"

#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

TestSuite(restore, .fini = test_stores_end, .timeout = 240);

static struct test_store s;
static ppdb *db;
static char out[1 << 16];

/* A line of shell with $P = ppdb -n STORE, in the scratch folder; what it says goes to `out`. */
static int __attribute__((format(printf, 1, 2))) sh(const char *fmt, ...)
{
	const char *build = getenv("PPDB_BUILD") ? getenv("PPDB_BUILD") : PPDB_BUILD_DIR;
	char line[2048], script[4096], path[160];
	size_t n = 0;
	va_list ap;
	int status;
	FILE *f;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	snprintf(script, sizeof(script), "cd %s && export LC_ALL=C && P='%s/ppdb -n %s' && { %s\n} >said 2>&1 </dev/null", s.dir, build, s.socket, line);
	status = system(script);
	snprintf(path, sizeof(path), "%s/said", s.dir);
	f = fopen(path, "r");
	if (f) {
		n = fread(out, 1, sizeof(out) - 1, f);
		fclose(f);
	}
	out[n] = '\0';
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

#define expect(code, ...)                                                                                   \
	do {                                                                                                \
		int got_ = sh(__VA_ARGS__);                                                                 \
		test_require(got_ == code, "exit %d, not %d: %s\n%.3000s", got_, code, #__VA_ARGS__, out);  \
	} while (0)

static void begin(void)
{
	test_begin(220);
	test_store_start(&s, "");
	db = test_store_attach(&s, 0);
}

static void finish(void)
{
	test_ok(ppdb_detach(db));
	test_store_check(&s, true);
	test_store_stop(&s);
}

static char any_byte(struct test_random *r, bool backslashes)
{
	char c = (char)test_next(r);

	return c == '\\' && !backslashes ? 'b' : c;
}

/* Any bytes; keys as long as LMDB takes them; values that are empty, short, and longer than a page. */
static void fill(ppdb_table t, unsigned count, uint64_t stream, bool backslashes)
{
	ppdb_wopts o = {.size = sizeof(o), .flags = PPDB_ASYNC};
	struct test_random r = test_random(test_seed(), stream);
	static char key[511], value[20000];

	for (unsigned i = 0; i < count; i++) {
		size_t k = 1 + test_below(&r, test_chance(&r, 80) ? 20 : sizeof(key)), v = test_below(&r, test_chance(&r, 95) ? 100 : sizeof(value));

		for (size_t n = 0; n < k; n++)
			key[n] = any_byte(&r, backslashes);
		for (size_t n = 0; n < v; n++)
			value[n] = test_chance(&r, 50) ? (char)('a' + test_below(&r, 26)) : any_byte(&r, backslashes);
		test_ok(ppdb_put(db, t, (ppdb_slice){key, k}, (ppdb_slice){value, v}, &o, NULL));
	}
	/* every byte, alone and beside a backslash */
	for (unsigned c = 0; c < 256 && backslashes; c++) {
		key[0] = (char)c;
		key[1] = '\\';
		test_ok(ppdb_put(db, t, (ppdb_slice){key, 1 + c % 2}, (ppdb_slice){key, 2}, &o, NULL));
	}
	test_ok(ppdb_sync(db, -1));
}

static ppdb_table table(const char *name)
{
	ppdb_table_opts o = {.size = sizeof(o), .flags = PPDB_CREATE};
	ppdb_table t;

	test_ok(ppdb_table_open(db, name, &o, &t));
	return t;
}

Test(restore, to_lmdb_and_back)
{
	begin();
	fill(0, 3000, 1, true);
	for (unsigned print = 0; print < 2; print++) {
		const char *ours = print ? "--print" : "", *theirs = print ? "-p" : "";

		/* to LMDB: the same records in the same order, in both of its formats */
		expect(0, "rm -rf lmdb && mkdir lmdb && $P dump --format mdb %s >ours && mdb_load -f ours lmdb", ours);
		expect(0, "mdb_dump lmdb | sed '1,/HEADER=END/d' >c; [ $(wc -l <c) -gt 6000 ] && $P dump --format mdb | sed '1,/HEADER=END/d' | cmp - c");
		if (print) { /* its own print format does not tell a backslash from an escape */
			expect(4, "mdb_dump -p lmdb | $P restore --format mdb");
			test_require(strstr(out, "dump without -p; nothing was stored") || strstr(out, "dump without -p); nothing was stored"), "%s", out);
			fill(table("plain"), 3000, 5, false);
			expect(0, "rm -rf lmdb && mkdir lmdb && $P dump --table plain --format mdb --print | grep -v ^database= | mdb_load lmdb");
		}
		expect(0, "$P dump %s >before", print ? "--table plain" : "");
		/* and back */
		expect(0, "$P table create back && mdb_dump %s lmdb | $P restore --format mdb --table back", theirs);
		expect(0, "$P dump --table back | cmp - before");
		expect(0, "$P table drop back");
	}
	finish();
}

Test(restore, named_databases)
{
	begin();
	fill(table("birds"), 300, 2, true);
	fill(table("bees"), 300, 3, true);
	expect(0, "mkdir lmdb && for t in birds bees; do $P dump --table $t >$t && $P dump --table $t --format mdb | mdb_load lmdb || exit; done");
	expect(0, "mdb_dump -l lmdb | sort | xargs echo");
	test_require(!strcmp(out, "bees birds\n"), "LMDB has: %s", out);
	expect(0, "$P table drop birds && $P table drop bees && mdb_dump -a lmdb >all && $P restore all --format mdb");
	expect(0, "for t in birds bees; do $P dump --table $t | cmp - $t || exit; done && $P scan --count");
	test_require(!strcmp(out, "0\n"), "the default table has %s", out);
	/* a dump without a name goes where --table says */
	expect(0, "mdb_dump -s birds lmdb | grep -v ^database= | $P restore --format mdb && $P dump | cmp - birds");
	finish();
}

/* Keys that LMDB does not take are said to be there. */
Test(restore, long_keys_are_told)
{
	static char key[600];

	begin();
	memset(key, 'k', sizeof(key));
	test_ok(ppdb_put(db, 0, (ppdb_slice){key, sizeof(key)}, PPDB_S("v"), NULL, NULL));
	expect(0, "$P dump --format mdb | wc -l");
	test_require(strstr(out, "1 keys are longer than the 511 bytes"), "%s", out);
	expect(0, "$P dump --format mdb 2>/dev/null >d && $P table create t && $P restore d --format mdb --table t && $P scan --table t --count");
	test_require(strstr(out, "1\n"), "%s", out);
	finish();
}

/* ---- what is wrong is named, and nothing of it is stored --------------------------------------------------------- */

#define HEAD "VERSION=3\\nformat=%s\\ntype=btree\\nHEADER=END\\n"

Test(restore, bad_lines)
{
	static const struct { const char *format, *text, *says; } bad[] = {
		{"bytevalue", " 61\\n 62\\n 6x\\n 63\\n 64\\n 65\\nDATA=END\\n", "in:7: no two hex digits at column 2"},
		{"bytevalue", " 61\\n 62\\n 63\\n 6\\n 64\\n 65\\nDATA=END\\n", "in:8: no two hex digits"},
		{"bytevalue", " 61\\n 62\\n63\\n 6a\\n 64\\n 65\\nDATA=END\\n", "in:7: a line of data begins with a space"},
		{"bytevalue", " 61\\n 62\\n \\n 6a\\n 64\\n 65\\nDATA=END\\n", "in:7: a key of 0 bytes"},
		{"print", " a\\n b\\n c\\\\6\\n v\\n d\\n e\\nDATA=END\\n", "in:7: no two hex digits at column"},
	};

	begin();
	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		char name[16];

		sprintf(name, "t%u", i);
		table(name);
		expect(0, "printf '" HEAD "%s' >in", bad[i].format, bad[i].text);
		expect(4, "$P restore in --format mdb --table %s", name);
		test_require(strstr(out, bad[i].says) && strstr(out, "nothing was stored"), "%u: %s", i, out);
		expect(0, "$P scan --count --table %s", name);
		test_require(!strcmp(out, "0\n"), "%u: something was stored: %s", i, out);
		expect(4, "$P restore in --format mdb --table %s --keep-going", name);
		test_require(strstr(out, bad[i].says) && strstr(out, "it is left out") && strstr(out, "2 records restored"), "%u: %s", i, out);
		expect(0, "$P dump --table %s", name);
		test_require(!strcmp(out, "a\tb\nd\te\n"), "%u: %s", i, out);
	}
	finish();
}

Test(restore, foreign_or_cut_off)
{
	static const struct { const char *text, *says; } bad[] = {
		{"", "there is nothing in it"},
		{"key\\tvalue\\n", "in:1: no dump in this format"},
		{"VERSION=2\\n", "in:1: a dump of version '2'"},
		{"VERSION=3\\nformat=hex\\n", "in:2: an unknown format"},
		{"VERSION=3\\nformat=print\\ntype=hash\\n", "in:3: not of type btree"},
		{"VERSION=3\\ntype=btree\\nduplicates=1\\nHEADER=END\\n", "in:3: duplicates=1: a key with several values"},
		{"VERSION=3\\nno header\\n", "in:2: not a line of a header"},
		{"VERSION=3\\ntype=btree\\nHEADER=END\\n", "cut off"},
		{"VERSION=3\\ntype=btree\\nHEADER=END\\n 61\\n 62\\n", "in:5: it ends before DATA=END: it was cut off"},
		{"VERSION=3\\ntype=btree\\nHEADER=END\\n 61\\n 62\\n 63\\nDATA=END\\n", "in:7: the last key has no value"},
		{"VERSION=3\\ntype=btree\\nHEADER=END\\n 61\\n 62\\nDATA=END\\nmore\\n", "in:7: something behind DATA=END"},
	};

	begin();
	test_ok(ppdb_put(db, 0, PPDB_S("a"), PPDB_S("mine"), NULL, NULL));
	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		expect(0, "printf '%s' >in", bad[i].text);
		expect(4, "$P restore in --format mdb");
		test_require(strstr(out, bad[i].says) && strstr(out, "nothing was stored"), "%u: %s", i, out);
		expect(0, "$P dump");
		test_require(!strcmp(out, "a\tmine\n"), "%u: the store changed: %s", i, out);
	}
	finish();
}

Test(restore, own_format)
{
	begin();
	fill(0, 1000, 4, true);
	expect(0, "$P dump >before && $P table create t && $P restore before --table t && $P dump --table t | cmp - before");
	expect(0, "$P table create u && $P restore --table u --json <before && $P dump --table u | cmp - before");
	/* one bad line: nothing of it, or all but it */
	expect(0, "$P table create v && { cat before; echo 'no tab'; } >bad");
	expect(4, "$P restore bad --table v");
	test_require(strstr(out, ": no tab between key and value; nothing was stored"), "%s", out);
	expect(0, "$P scan --count --table v");
	test_require(!strcmp(out, "0\n"), "%s", out);
	expect(4, "$P restore bad --table v --keep-going");
	expect(0, "$P dump --table v | cmp - before");
	/* cut off in the middle of its last line */
	expect(4, "head -c 5000 before >cut; $P restore cut --table v");
	test_require(strstr(out, "nothing was stored"), "%s", out);
	expect(4, "$P restore missing");
	expect(4, "$P restore .");
	expect(4, "$P restore before --table missing");
	expect(2, "$P restore before --format sql");
	expect(2, "$P dump --format sql");
	expect(2, "$P dump --print");
	/* a key that no random one is */
	expect(0, "printf 'of the test\\tv\\n' | $P restore --table v - && $P get 'of the test' --table v && $P touch 'of the test' 600000 --table v && "
		"$P get 'of the test' --table v --json");
	test_require(strstr(out, "\"version\": 2"), "%s", out);
	expect(0, "$P touch 'of the test' never --table v");
	expect(1, "$P touch 'not there' 5");
	expect(2, "$P touch 'of the test' soon");
	finish();
}

/* When a record expires comes through if it is asked for, and if not it is said that it does not. */
Test(restore, expiry)
{
	begin();
	expect(0, "$P put lives v && $P put dies v --ttl 1500 && $P put later v --ttl 3600000");
	expect(0, "$P dump >plain");
	test_require(strstr(out, "2 of the records expire") && strstr(out, "--expires"), "%s", out);
	expect(0, "grep -q '@' plain && exit 9; $P dump --expires >full; cat full");
	test_require(strstr(out, "lives\tv\t@never\n") && strstr(out, "later\tv\t@1") && strstr(out, "dies\tv\t@1"), "%s", out);
	expect(0, "$P table create two --ttl 5000 && $P restore full --table two && $P load --table two <full && sleep 2 && $P dump --expires --table two");
	test_require(strstr(out, "lives\tv\t@never\n") && strstr(out, "later\tv\t@1") && !strstr(out, "dies\tv"), "%s", out);
	expect(0, "$P restore full --table two");
	test_require(strstr(out, "2 records restored") && strstr(out, "1 records have expired"), "%s", out);
	expect(0, "$P load --table two <full");
	test_require(strstr(out, "1 records had expired"), "%s", out);
	expect(2, "$P dump --format mdb --expires");
	finish();
}

/* A dump is of one moment, whatever is written meanwhile: two counters that a batch raises together never differ in it. */
static void raise_both(void *arg)
{
	ppdb *own = test_store_attach(&s, 0);
	ppdb_batch *b;
	char text[24];

	test_ok(ppdb_batch_new(own, &b));
	for (unsigned i = 1; !*(_Atomic int *)arg; i++) {
		ppdb_slice value = {text, (size_t)sprintf(text, "%u", i)};
		ppdb_wopts o = {.size = sizeof(o), .flags = PPDB_ASYNC};

		ppdb_batch_clear(b);
		test_ok(ppdb_batch_put(b, 0, PPDB_S("counter-a"), value, NULL));
		test_ok(ppdb_batch_put(b, 0, PPDB_S("counter-z"), value, NULL));
		test_ok(ppdb_write(own, b, &o, NULL, NULL));
	}
	ppdb_batch_free(b);
	test_ok(ppdb_detach(own));
}

Test(restore, one_moment)
{
	_Atomic int *done = test_shared(sizeof(*done));
	pid_t pid;

	begin();
	fill(0, 3000, 5, true);
	expect(0, "$P put counter-a 0 && $P put counter-z 0");
	pid = test_spawn(raise_both, (void *)done);
	expect(0, "for i in 1 2 3 4 5 6 7 8; do $P dump >d || exit 9; [ $(awk -F '\\t' '$1 == \"counter-a\" {print $2}' d) = $(awk -F '\\t' '$1 == \"counter-z\" {print $2}' d) ] || exit 8; done");
	expect(0, "$P dump --format mdb --print >d; grep -A1 '^ counter-a$' d | tail -n 1 >a && grep -A1 '^ counter-z$' d | tail -n 1 >z && cmp a z");
	*done = 1;
	test_join(pid);
	finish();
}
