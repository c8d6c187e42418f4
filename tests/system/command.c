/*
 * command.c - the ppdb command as scripts use it: data on stdout, exit codes, escapes, load and dump, and its answers when
 * something is wrong. Each test has a daemon and a store of its own.
 */
#include "tools/text_json.h"

#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[64], name[64], out[1 << 20], err[1 << 16];

static void slurp(const char *file, char *to, size_t cap)
{
	char path[128];
	size_t n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	f = fopen(path, "r");
	if (f) {
		n = fread(to, 1, cap - 1, f);
		fclose(f);
	}
	to[n] = '\0';
}

/* Runs a line of shell with $P (ppdb -n NAME) and $D (scratch); keeps stdout and stderr; returns the exit code. */
static int __attribute__((format(printf, 1, 2))) sh(const char *fmt, ...)
{
	const char *build = getenv("PPDB_BUILD") ? getenv("PPDB_BUILD") : PPDB_BUILD_DIR;
	char line[4096], script[8192];
	va_list ap;
	int status;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	snprintf(script, sizeof(script),
		"export LC_ALL=C PPDBD='%s/ppdbd'; D='%s'; P='%s/ppdb -n %s'; PPDB='%s/ppdb'; { %s\n} >\"$D/out\" 2>\"$D/err\" </dev/null",
		build, dir, build, name, build, line);
	status = system(script);
	slurp("out", out, sizeof(out));
	slurp("err", err, sizeof(err));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

#define expect(code, ...)                                                                                         \
	do {                                                                                                      \
		int got = sh(__VA_ARGS__);                                                                        \
		cr_assert_eq(got, code, "exit %d, not %d: " #__VA_ARGS__ "\nstdout: %.2000s\nstderr: %.2000s", got, code, \
			out, err);                                                                                \
	} while (0)

static void make_names(void)
{
	snprintf(dir, sizeof(dir), "/tmp/ppdb-command-XXXXXX");
	cr_assert(mkdtemp(dir));
	snprintf(name, sizeof(name), "test-%s", dir + strlen("/tmp/ppdb-command-"));
}

static void setup(void)
{
	make_names();
	expect(0, "$P start -d $D/data --memory 256M");
}

static void teardown(void)
{
	char arena[600];

	/* Where the arena is does not depend on a daemon. */
	sh("$P status --json");
	if (pp_json_find(out, "arena", arena, sizeof(arena))) {
		sh("$P stop");
		unlink(arena);
		strcat(arena, ".lock");
		unlink(arena);
	}
	snprintf(out, sizeof(out), "rm -rf '%s'", dir);
	cr_assert_eq(system(out), 0);
}

TestSuite(command, .init = setup, .fini = teardown, .timeout = 180);
TestSuite(command_alone, .init = make_names, .fini = teardown, .timeout = 180);

Test(command, single_keys)
{
	expect(1, "$P get k");
	cr_assert_str_eq(out, "");
	expect(0, "$P put k v1");
	expect(0, "$P get k");
	cr_assert_str_eq(out, "v1\n");
	expect(0, "$P get k --raw");
	cr_assert_str_eq(out, "v1");
	expect(1, "$P put k v2 --if-absent");
	expect(0, "$P put k v2 --if-present --async");
	expect(1, "$P put other v --if-present");
	expect(0, "$P get --json k");
	cr_assert(strstr(out, "\"value\": \"v2\"") && strstr(out, "\"version\": 2"), "%s", out);
	expect(0, "$P del k");
	expect(1, "$P del k");
	expect(1, "$P get k");
	expect(0, "$P put -- -dash -value && $P get -- -dash");
	cr_assert_str_eq(out, "-value\n");
	expect(0, "printf 'a\\0b\\n' | $P put stdin - && $P get stdin --raw | od -An -tx1");
	cr_assert_str_eq(out, " 61 00 62 0a\n");
	expect(0, "$P put empty '' && $P get empty --raw");
	cr_assert_str_eq(out, "");
	expect(0, "$P --escaped put 'k\\x00\\t' 'v\\n' && $P --escaped get 'k\\x00\\t'");
	cr_assert_str_eq(out, "v\n\n");
}

Test(command, named_tables)
{
	expect(0, "$P tables");
	cr_assert_str_eq(out, "");
	expect(4, "$P put k v --table t");
	cr_assert(strstr(err, "there is no table 't'; create it with 'ppdb table create'"), "%s", err);
	expect(0, "$P table create t --quota 1K && $P table create u --ttl 600000");
	expect(1, "$P table create t");
	expect(2, "$P table make t");
	expect(2, "$P table drop t --quota 1K");
	expect(2, "$P table create v --quota much");
	expect(0, "$P table change t --ttl 5000 && $P tables --json");
	cr_assert(strstr(out, "\"quota_bytes\": 1024") && strstr(out, "\"ttl_ms\": 5000"), "%s", out);
	expect(0, "$P table change t --ttl 0 --quota 0 && $P tables --json");
	cr_assert(!strstr(out, "\"quota_bytes\": 1024") && !strstr(out, "\"ttl_ms\": 5000"), "%s", out);
	expect(0, "$P table change t --quota 1K");
	expect(1, "$P table change none --quota 1K");
	expect(2, "$P table change t");
	expect(4, "$P table create v --ttl 18446744073709551614");
	expect(0, "$P put k in-t --table t && $P put k in-u --table=u && $P put k in-default");
	expect(0, "$P get k --table t && $P get k --table u && $P get k");
	cr_assert_str_eq(out, "in-t\nin-u\nin-default\n");
	expect(0, "$P get k --table u --json");
	cr_assert(strstr(out, "\"expires_ms\": 1"), "%s", out); /* the table's default */
	expect(0, "$P cas k 1 other --table t && $P incr n 5 --table t && $P incr n --table t");
	cr_assert_str_eq(out, "2\n5\n6\n");
	expect(0, "printf 'a\\t1\\nb\\t2\\n' | $P load --table t 2>/dev/null && $P dump --table t");
	cr_assert_str_eq(out, "a\t1\nb\t2\nk\tother\nn\t6\n");
	expect(0, "$P scan --table t --from b --count && $P scan --count");
	cr_assert_str_eq(out, "3\n1\n");
	expect(4, "head -c 2000 /dev/zero | tr '\\0' x | $P put large - --table t");
	cr_assert(strstr(err, "table 't' holds") && strstr(err, "1024 bytes of its quota"), "%s", err);
	expect(0, "$P del n --table t");
	expect(1, "$P del n --table t");
	expect(0, "$P tables --json");
	cr_assert(strstr(out, "\"name\": \"t\"") && strstr(out, "\"keys\": 3") && strstr(out, "\"quota_bytes\": 1024") && strstr(out, "\"ttl_ms\": 600000"),
		"%s", out);
	expect(0, "$P table drop t");
	expect(1, "$P table drop t");
	expect(4, "$P get k --table t");
	expect(0, "$P tables | wc -l && $P get k");
	cr_assert_str_eq(out, "2\nin-default\n");
}

Test(command, time_to_live)
{
	expect(0, "$P put k v --ttl 600000 && $P get k");
	cr_assert_str_eq(out, "v\n");
	expect(0, "$P put k v --ttl 1 && sleep 0.1 && ! $P get k");
}

Test(command, compare_and_set)
{
	expect(0, "$P cas k 0 first");
	cr_assert_str_eq(out, "1\n");
	expect(1, "$P cas k 0 second");
	cr_assert(strstr(err, "version 1"), "%s", err);
	expect(0, "$P cas k 1 second --json");
	cr_assert(strstr(out, "\"version\": 2"), "%s", out);
	expect(1, "$P cas absent 5 v");
	expect(0, "$P get k");
	cr_assert_str_eq(out, "second\n");
	expect(2, "$P cas k one v");
}

Test(command, counters)
{
	expect(0, "$P incr n");
	cr_assert_str_eq(out, "1\n");
	expect(0, "$P incr n 41");
	cr_assert_str_eq(out, "42\n");
	expect(0, "$P incr n -50");
	cr_assert_str_eq(out, "-8\n");
	expect(0, "$P incr m 5 --initial 100");
	cr_assert_str_eq(out, "105\n");
	expect(0, "$P put text abc");
	expect(4, "$P incr text");
	expect(0, "$P put big 9223372036854775807");
	expect(4, "$P incr big");
	expect(2, "$P incr n 1x");
}

Test(command, batch)
{
	expect(0, "$P put stock 5 && printf 'require\\tstock\\t1\\nput\\tstock\\t4\\nput\\torder/1\\tone \\\\t item\\n\\ndel\\tnothing\\n' | $P batch -");
	expect(0, "$P scan");
	cr_assert_str_eq(out, "order/1\tone \\t item\nstock\t4\n");
	/* a requirement that does not hold names its line, and nothing is done */
	expect(1, "printf 'put\\torder/2\\tx\\nrequire\\tstock\\t1\\n' > \"$D/b\" && $P batch \"$D/b\"");
	cr_assert(strstr(err, "b:2: the key's version is not the expected one") && strstr(err, "nothing of the batch was done"), "%s", err);
	expect(4, "printf 'put\\torder/2\\tx\\nput\\tkey only\\n' | $P batch -");
	cr_assert(strstr(err, "stdin:2: a put needs a key and a value"), "%s", err);
	expect(4, "printf 'put\\torder/2\\tx\\ndelete\\tk\\n' | $P batch -");
	cr_assert(strstr(err, "stdin:2: a line begins with put, del or require"), "%s", err);
	expect(4, "printf 'put\\torder/2\\tx\\tmore\\n' | $P batch -");
	expect(4, "printf 'put\\torder/2\\tbad \\\\q\\n' | $P batch -");
	expect(4, "printf 'put\\t\\tno key\\n' | $P batch -");
	cr_assert(strstr(err, "stdin:1: ") && strstr(err, "1 to 4096"), "%s", err);
	expect(1, "$P get order/2");
	expect(0, "printf 'del\\tstock\\nput\\tlast\\t' | $P batch - --async --json");
	cr_assert(strstr(out, "\"operations\": 2") && strstr(out, "\"durable\": false"), "%s", out);
	expect(0, "$P scan --keys");
	cr_assert_str_eq(out, "last\norder/1\n");
	expect(4, "$P batch /nowhere");
	expect(2, "$P batch");
}

Test(command, watch_a_table_and_a_batch)
{
	expect(0, "$P table create t && $P put a 1 && $P put --table t b 2 && printf 'put\\tc\\t3\\nput\\td\\t4\\n' | $P batch - --table t");
	expect(0, "$P watch --from 0 --once --table t | cut -f 2-");
	cr_assert_str_eq(out, "put\tb\t2\nput\tc\t3\nput\td\t4\n");
	expect(0, "$P watch --from 0 --once --table t --json | grep -c '\"batch\": *true'"); /* c, which d belongs to */
	cr_assert_str_eq(out, "1\n");
	expect(0, "$P watch --from 0 --once --prefix a | cut -f 2-");
	cr_assert_str_eq(out, "put\ta\t1\n");
	expect(4, "$P watch --once --table nowhere");
}

Test(command, delete_a_range)
{
	expect(0, "seq 100 199 | sed 's/.*/k&\\tv/' | $P load - && $P put other v");
	expect(0, "$P del --prefix k12");
	cr_assert_str_eq(out, "10\n");
	expect(0, "$P del --from k150 --to k160 --json");
	cr_assert(strstr(out, "\"count\": 10"), "%s", out);
	expect(0, "$P del --prefix k --async && $P scan --keys");
	cr_assert_str_eq(out, "80\nother\n");
	expect(0, "$P del --prefix nothing");
	cr_assert_str_eq(out, "0\n");
	expect(2, "$P del other --prefix o");
	expect(2, "$P del");
	expect(2, "$P del --prefix ''");
	expect(0, "$P get other");
}

Test(command, scan)
{
	expect(0, "for k in a b ba bb bc c; do $P put $k v$k --async; done");
	expect(0, "$P scan");
	cr_assert_str_eq(out, "a\tva\nb\tvb\nba\tvba\nbb\tvbb\nbc\tvbc\nc\tvc\n");
	expect(0, "$P scan --prefix b --keys");
	cr_assert_str_eq(out, "b\nba\nbb\nbc\n");
	expect(0, "$P scan --from b --to bc --keys --reverse");
	cr_assert_str_eq(out, "bb\nba\nb\n");
	expect(0, "$P scan --limit 2 --keys");
	cr_assert_str_eq(out, "a\nb\n");
	expect(0, "$P scan --count --from=b");
	cr_assert_str_eq(out, "5\n");
	expect(0, "$P scan --prefix zz");
	cr_assert_str_eq(out, "");
	expect(0, "$P scan --limit 0 --count");
	cr_assert_str_eq(out, "0\n");
	expect(0, "$P scan --json --limit 1");
	cr_assert_str_eq(out, "{\"key\": \"a\", \"value\": \"va\"}\n");
	expect(0, "$P scan --count --json");
	cr_assert_str_eq(out, "{\"count\": 6}\n");
}

/* All bytes in keys and values: the dump is text, and loading it elsewhere gives the same dump. */
Test(command, dump_and_load_any_bytes)
{
	expect(0, "for i in $(seq 0 255); do x=$(printf '\\\\x%%02x' $i); echo \"k$x$x\tv$x\"; done >$D/in; "
		  "$P load $D/in && $P dump >$D/one");
	cr_assert(strstr(err, "256 records"), "%s", err);
	expect(0, "$P scan --keys | while IFS= read -r k; do $P --escaped del \"$k\" --async || exit 1; done; $P scan --count");
	cr_assert_str_eq(out, "0\n");
	expect(0, "$P load - <$D/one && $P dump | cmp - $D/one");
	expect(0, "grep -c . $D/one");
	cr_assert_str_eq(out, "256\n");
	expect(0, "$P get kaa");
	cr_assert_str_eq(out, "va\n");
}

Test(command, load_bad_lines)
{
	expect(0, "printf 'a\\t1\\nb\\t2\\nno tab\\nc\\t3\\nd\\t\\\\q\\ne\\t5' >$D/in");
	expect(4, "$P load $D/in");
	cr_assert(strstr(err, "/in:3: no tab"), "%s", err);
	expect(0, "$P scan --keys");
	cr_assert_str_eq(out, "a\nb\n");
	expect(4, "$P load $D/in --keep-going --json");
	cr_assert(strstr(err, "/in:3: no tab") && strstr(err, "/in:5: bad escape"), "%s", err);
	cr_assert(strstr(out, "\"records\": 4, \"durable\": 4, \"bad_lines\": 2"), "%s", out);
	expect(0, "$P scan");
	cr_assert_str_eq(out, "a\t1\nb\t2\nc\t3\ne\t5\n");
	expect(4, "cat $D/in | $P load --keep-going --procs 3");
	cr_assert(strstr(err, "stdin:3: no tab") && strstr(err, "stdin:5: bad escape"), "%s", err);
	expect(4, "head -c 5000 /dev/zero | tr '\\0' k | sed 's/$/\\tv/' | $P load");
	cr_assert(strstr(err, "stdin:1: a key of 5000 bytes"), "%s", err);
	expect(4, "$P load $D/none");
	expect(4, "$P load $D");
}

Test(command, load_with_processes)
{
	expect(0, "seq 20000 | awk '{ printf \"key%%08d\\tvalue of %%d\\n\", $1, $1 }' >$D/in; shuf $D/in | $P load --procs 4 --batch 500");
	cr_assert(strstr(err, "20000 records") && strstr(err, "20000 of them durable"), "%s", err);
	expect(0, "$P dump | cmp - $D/in");
	expect(0, "$P load $D/in --async --procs 2 && $P dump | cmp - $D/in");
	expect(0, "$P check");
	cr_assert(strstr(out, "20000 keys"), "%s", out);
}

static int count_member(void *ctx, const char *key, const char *value)
{
	(void)key, (void)value;
	++*(int *)ctx;
	return 0;
}

Test(command, stat_check_and_wal)
{
	int members = 0;

	expect(0, "for i in 1 2 3; do $P put k$i v; done; $P get k1");
	expect(0, "$P stat");
	cr_assert(strstr(out, "memory") && strstr(out, "epochs"), "%s", out);
	expect(0, "$P stat --json");
	cr_assert_eq(pp_json_each(out, count_member, &members), 0, "%s", out);
	cr_assert_gt(members, 10);
	expect(0, "$P check --json");
	cr_assert(strstr(out, "\"problems\": 0") && strstr(out, "\"keys\": 3"), "%s", out);
	expect(0, "$P stop");
	expect(0, "$P wal $(dirname $(find $D/data -name 'wal-*' | head -n 1))");
	cr_assert(strstr(out, "unit") && strstr(out, " 0 bad places"), "%s", out);
	expect(0, "$P wal --json $(find $D/data -name 'wal-*' | head -n 1) | head -n 1");
	cr_assert(strstr(out, "\"type\": \"segment\""), "%s", out);
	expect(4, "$P wal $D/none");
}

/* The number behind `key` in the part of out that begins with `section`. */
static uint64_t number(const char *section, const char *key)
{
	char quoted[64];
	char *at;

	snprintf(quoted, sizeof(quoted), "\"%s\":", section);
	at = strstr(out, quoted);
	cr_assert(at, "no %s in %s", quoted, out);
	snprintf(quoted, sizeof(quoted), "\"%s\":", key);
	at = strstr(at, quoted);
	cr_assert(at, "no %s of %s in %s", quoted, section, out);
	return strtoull(at + strlen(quoted), NULL, 10);
}

/* Each of these processes is gone, and its slot free, or soon, when stat looks; `get` and `scan` were made by read-only clients. */
Test(command, mem_accounts_for_every_byte)
{
	char sum[32], committed[32], keys[32];

	expect(0, "seq 1 5000 | sed 's/.*/key&\\tvalue &/' | $P load - && head -c 300000 /dev/zero | $P put large - && sleep 0.3");
	expect(0, "$P mem --json");
	cr_assert(pp_json_find(out, "sum_bytes", sum, sizeof(sum)) && pp_json_find(out, "committed_bytes", committed, sizeof(committed)) &&
		pp_json_find(out, "keys", keys, sizeof(keys)), "%s", out);
	cr_assert_str_eq(keys, "5001");
	cr_assert(strstr(out, "\"doctor\"") && strstr(out, "\"key_sizes\""), "%s", out);
	cr_assert_str_eq(sum, committed);
	expect(0, "$P mem --all");
	cr_assert(strstr(out, "5001 keys") && strstr(out, "100.0%") && strstr(out, "table 0  large") && strstr(out, "fragmentation"), "%s", out);
	expect(0, "(sleep 0.3; seq 6001 7000 | sed 's/.*/key&\tvalue &/' | $P load -) & $P mem --json --interval 1 --count 1");
	cr_assert(pp_json_find(out, "keys_per_second", keys, sizeof(keys)) && atof(keys) > 0 && pp_json_find(out, "full_in_seconds", keys, sizeof(keys)),
		"%s", out);
	expect(2, "$P mem --count 3");
	/* without a daemon: what it left */
	expect(0, "kill -9 $($P status --json | sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/') && sleep 0.3; $P mem --json");
	cr_assert(pp_json_find(out, "keys", keys, sizeof(keys)) && !strcmp(keys, "6001"), "%s", out);
	cr_assert(strstr(err, "no daemon answers"), "%s", err);
	expect(2, "$P mem surplus");
}

Test(command, stat_shows_the_operations_made)
{
	expect(0, "for i in 1 2 3; do $P put k$i v; done; $P put --async k4 v; $P del k4; $P get k1; $P cas k1 1 w; $P incr n 5; $P incr n; $P scan");
	for (int tries = 0; tries < 100; tries++) {
		expect(0, "$P stat --json");
		if (number("get", "count") && number("scan", "count") && number("log", "records") >= 8)
			break;
		usleep(100000);
	}
	cr_assert_eq(number("put", "count"), 4, "%s", out);
	cr_assert_eq(number("del", "count"), 1, "%s", out);
	cr_assert_eq(number("cas", "count"), 1, "%s", out);
	cr_assert_eq(number("add", "count"), 2, "%s", out);
	cr_assert_eq(number("get", "count"), 1, "%s", out);
	cr_assert_geq(number("scan", "count"), 4, "%s", out);
	cr_assert_geq(number("put", "timed"), 1, "%s", out);
	cr_assert_gt(number("put", "p99_ns"), 0, "%s", out);
	cr_assert_gt(number("counters", "allocs"), 0, "%s", out);
	cr_assert_geq(number("log", "records"), 8, "%s", out);
	cr_assert_gt(number("log", "bytes"), 0, "%s", out);
	cr_assert_geq(number("index", "keys"), 4, "%s", out);
	expect(0, "$P stat");
	cr_assert(strstr(out, "contention") && strstr(out, "hints") && strstr(out, "put "), "%s", out);
	expect(0, "$P stat --help");
	cr_assert(strstr(out, "hint_hits"), "%s", out);
}

Test(command, daemon_life)
{
	char pid[24], arena[512];

	expect(0, "$P status --json");
	cr_assert(pp_json_find(out, "pid", pid, sizeof(pid)) && atoi(pid) > 1, "%s", out);
	cr_assert(pp_json_find(out, "arena", arena, sizeof(arena)) && !access(arena, F_OK), "%s", out);
	cr_assert(strstr(out, "\"name\"") && strstr(out, "\"state\"") && strstr(out, "\"data_dir\"") &&
		  strstr(out, "\"incarnation\"") && strstr(out, "\"clients\""), "%s", out);
	expect(0, "$P status");
	cr_assert(strstr(out, pid), "%s", out);
	expect(0, "$P wait");
	expect(0, "$P start -d $D/data");
	cr_assert(strstr(err, "runs already"), "%s", err);
	expect(0, "$P put k v && $P stop");
	expect(3, "$P get k");
	cr_assert(strstr(err, "start it with"), "%s", err);
	expect(3, "$P stop");
	expect(3, "$P status");
	expect(3, "$P status --json");
	cr_assert(strstr(out, "\"state\": \"stopped\""), "%s", out);
	expect(3, "$P wait --timeout 1");
	expect(0, "$P start -d $D/data --memory 256M && $P get k");
	cr_assert_str_eq(out, "v\n");
	expect(0, "kill -9 %s 2>/dev/null; kill -9 $($P status --json | grep -o '\"pid\": *[0-9]*' | head -n 1 | tr -dc 0-9); sleep 0.1; "
		  "$P start -d $D/data --memory 256M && $P get k", pid);
	cr_assert_str_eq(out, "v\n");
}

Test(command_alone, usage_and_help)
{
	expect(2, "$PPDB");
	expect(2, "$PPDB nonsense");
	cr_assert(strstr(err, "there is no command 'nonsense'"), "%s", err);
	expect(2, "$PPDB --nonsense get k");
	expect(2, "$P get");
	cr_assert(strstr(err, "usage: ppdb"), "%s", err);
	expect(2, "$P get a b");
	expect(2, "$P get --nonsense a");
	expect(2, "$P put k v --ttl soon");
	expect(2, "$P put k v --ttl");
	expect(2, "$P get --raw=1 a");
	expect(2, "$P load --procs 0");
	expect(2, "$P --escaped get 'a\\q'");
	expect(0, "$PPDB --help && $PPDB get --help && $PPDB --version");
	cr_assert(strstr(out, "usage: ppdb") && strstr(out, "KEY"), "%s", out);
	expect(3, "$P get k");
	expect(3, "$P load /dev/null");
	expect(3, "$P stat");
	expect(3, "$P check");
}

Test(command_alone, full_stdout_is_an_error)
{
	expect(4, "$PPDB --help >/dev/full");
}
