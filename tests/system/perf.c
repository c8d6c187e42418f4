/*
 * perf.c - `ppdb perf` from outside: the numbers of a known load, of clients at work, and with a daemon that is stopped or dead; recordings, what
 * changed between two, and the report in a real browser.
 */
#include "client/ppdb.h"
#include "tests/lib/store.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(perf, .fini = test_stores_end, .timeout = 300);

static struct test_store s;
static const ppdb_wopts async = {.size = sizeof(async), .flags = PPDB_ASYNC};
static char out[1 << 20];

/* The number at the end of a path of members: they come in this order, and nothing of the kind stands between. */
static double number(const char *a, const char *b, const char *c)
{
	const char *path[] = {a, b, c}, *at = out;
	char key[64];

	for (unsigned i = 0; i < 3 && path[i]; i++) {
		snprintf(key, sizeof(key), "\"%s\": ", path[i]);
		at = strstr(at, key);
		test_require(at, "no %s in %s", key, out);
		at += strlen(key);
	}
	return strtod(at, NULL);
}

static void perf(const char *options)
{
	char command[256];
	int rc;

	snprintf(command, sizeof(command), "--json perf --arena %s %s", s.arena, options);
	rc = test_store_command(&s, command, out, sizeof(out));
	test_require(!rc, "%s ended with %d: %s", command, rc, out);
}

struct load {
	unsigned gets, puts, durable;
	uint32_t flags;                        /* of the attach */
	_Atomic int *go_on;                    /* NULL: once; else again and again while it is 1 */
};

static void work(void *arg)
{
	struct load *l = arg;
	ppdb *db = test_store_attach(&s, l->flags);
	char key[16], value[100], back[100];
	size_t size;

	memset(value, 'v', sizeof(value));
	do {
		for (unsigned i = 0; i < l->puts; i++) {
			snprintf(key, sizeof(key), "key%05u", i);
			test_ok(ppdb_put(db, 0, (ppdb_slice){key, 8}, (ppdb_slice){value, sizeof(value)}, i < l->durable ? NULL : &async, NULL));
		}
		for (unsigned i = 0; i < l->gets; i++)
			test_ok(ppdb_get(db, 0, PPDB_S("key00000"), back, sizeof(back), &size));
	} while (l->go_on && *l->go_on);
	test_ok(ppdb_detach(db));
}

/* Sums that the daemon brings over each 100 ms. */
static void until_counted(const char *op, double n)
{
	for (unsigned i = 0; i < 100; i++) {
		perf("--total");
		if (number("operations", op, "count") >= n)
			return;
		test_sleep_ms(100);
	}
	test_require(false, "%.0f of %s were done, perf says: %s", n, op, out);
}

Test(perf, a_known_load_to_the_last_operation)
{
	struct load writer = {.gets = 3200, .puts = 640, .durable = 64}, reader = {.gets = 1600, .flags = PPDB_RDONLY};
	double commits, waits;

	test_begin(120);
	test_store_start(&s, "--memory 64M --wal-segment 4M --shards 4");
	test_join(test_spawn(work, &writer));
	perf("--total");
	cr_assert_eq(number("seconds", NULL, NULL), 0);
	cr_assert_eq(number("operations", "get", "count"), 3200);
	cr_assert_eq(number("operations", "get", "timed"), 13);
	cr_assert_eq(number("operations", "put", "count"), 640);
	cr_assert_eq(number("operations", "put", "timed"), 20);
	waits = number("operations", "wait", "count"); /* what was durable at once was not waited for */
	cr_assert(waits >= 1 && waits <= 64, "%f", waits);
	cr_assert_eq(number("operations", "wait", "timed"), waits);
	cr_assert_eq(number("phases", "install", "timed"), 20);
	cr_assert_eq(number("phases", "queue", "timed"), waits);
	cr_assert_eq(number("phases", "wake", "timed"), waits);
	commits = number("commits", "count", NULL);
	cr_assert(commits >= 64 && commits <= 640, "%f", commits);
	cr_assert_eq(number("phases", "settle", "timed"), commits);
	cr_assert_geq(number("phases", "write", "timed"), 64);
	cr_assert_gt(number("phases", "write", "p50_ns"), 0);
	cr_assert_gt(number("operations", "wait", "p50_ns"), 0); /* it may be shorter than a write: one that was under way when it began */
	cr_assert_eq(number("reads", "hint_hit_rate", NULL), 1);
	cr_assert_eq(number("counters", "hint_misses", NULL), 0);
	test_join(test_spawn(work, &reader));
	until_counted("get", 4800);
	cr_assert_eq(number("operations", "get", "count"), 4800);
	test_store_stop(&s);
}

Test(perf, clients_at_work_and_a_daemon_that_is_not)
{
	struct load writer = {.gets = 64, .puts = 16, .durable = 2}, reader = {.gets = 64, .flags = PPDB_RDONLY};
	double gets, total;
	char want[64];
	pid_t pid[2];

	test_begin(200);
	writer.go_on = reader.go_on = test_shared(sizeof(*writer.go_on));
	*writer.go_on = 1;
	test_store_start(&s, "--memory 64M --wal-segment 4M --shards 4");
	pid[0] = test_spawn(work, &writer);
	until_counted("get", 64);
	pid[1] = test_spawn(work, &reader);
	/* on a busy machine nobody may get anything done for a while */
	for (unsigned i = 0; i < 60; i++) {
		perf("--interval 0.5 --count 2");
		cr_assert_geq(number("seconds", NULL, NULL), 0.5);
		if (number("operations", "get", "per_second") > 100 && number("commits", "per_second", NULL) > 1 && number("shards", "write", "timed") > 0 &&
		    strstr(out, "\"readonly\": true") && number("clients", "operations", "get") > 0)
			break;
	}
	cr_assert_gt(number("operations", "get", "per_second"), 100);
	cr_assert_gt(number("commits", "per_second", NULL), 1);
	cr_assert_gt(number("shards", "write", "timed"), 0);
	for (unsigned i = 0; i < 2; i++) {
		snprintf(want, sizeof(want), "\"pid\": %d", (int)pid[i]);
		test_require(strstr(out, want), "no %s in %s", want, out);
	}
	test_require(strstr(out, "\"readonly\": true"), "%s", out);
	gets = number("operations", "get", "count");
	test_require(strchr(out, '\n') && strchr(out, '\n')[1] == '{', "two intervals are two lines: %s", out);
	/* by client: what each did adds up to no more than all */
	cr_assert_gt(gets, number("clients", "operations", "get"));

	kill(s.daemon, SIGSTOP);
	perf("--interval 0.3");
	test_require(strstr(out, "\"state\": \"stopped\"") && strstr(out, "kill -CONT"), "%s", out);
	kill(s.daemon, SIGCONT);
	*writer.go_on = 0;
	test_join(pid[0]);
	test_join(pid[1]);
	perf("--total");
	total = number("operations", "put", "count");
	test_store_kill(&s);
	perf("--total");
	test_require(strstr(out, "\"state\": \"dead\"") && strstr(out, "ppdb start"), "%s", out);
	cr_assert_eq(number("operations", "put", "count"), total);
	perf("--interval 0.1");
	cr_assert_eq(number("operations", "put", "count"), 0);
	test_store_restart(&s);
	perf("--total");
	cr_assert_eq(number("operations", "put", "count"), total, "a restart forgets nothing");
	test_store_stop(&s);
}

Test(perf, what_it_says_when_asked_wrongly)
{
	char command[160];

	test_begin(120);
	test_store_start(&s, "--memory 64M --wal-segment 4M");
	cr_assert_eq(test_store_command(&s, "perf --interval soon", out, sizeof(out)), 2);
	test_require(strstr(out, "--interval takes"), "%s", out);
	cr_assert_eq(test_store_command(&s, "perf --interval 0", out, sizeof(out)), 2);
	cr_assert_eq(test_store_command(&s, "perf --help", out, sizeof(out)), 0);
	test_require(strstr(out, "ppdb perf --interval 10"), "%s", out);
	cr_assert_eq(test_store_command(&s, "perf --interval 0.05", out, sizeof(out)), 0);
	test_require(strstr(out, "nothing was read or written") && strstr(out, "Nothing stands out."), "%s", out);
	test_store_kill(&s);
	snprintf(command, sizeof(command), "perf --arena %s.not-there", s.arena);
	cr_assert_eq(test_store_command(&s, command, out, sizeof(out)), 3);
	test_store_end(&s);
}

/* ---- recordings and reports ------------------------------------------------------------------------------------- */

static char path[4][160];
enum { FIRST, SECOND, REPORT, SEEN };

static int command(const char *words)
{
	return test_store_command(&s, words, out, sizeof(out));
}

/* A recording while somebody works, until it holds what the reports are to show. */
static void record(unsigned which, struct load *load)
{
	char words[400];
	pid_t pid;

	load->go_on = test_shared(sizeof(*load->go_on));
	*load->go_on = 1;
	pid = test_spawn(work, load);
	for (unsigned i = 0; i < 60; i++) {
		snprintf(words, sizeof(words), "perf --interval 0.2 --count 4 --record %s", path[which]);
		test_require(!command(words), "%s", out);
		snprintf(words, sizeof(words), "--json perf --from %s", path[which]);
		test_require(!command(words), "%s", out);
		if (number("operations", "get", "timed") > 100 && (!load->durable || number("phases", "wake", "timed") > 50))
			break;
	}
	*load->go_on = 0;
	test_join(pid);
}

static void prepare(void)
{
	static const char *const names[] = {"first.json", "second.json", "report.html", "seen.png"};

	test_store_start(&s, "--memory 64M --wal-segment 4M --shards 4");
	for (unsigned i = 0; i < 4; i++)
		snprintf(path[i], sizeof(path[i]), "%s/%s", s.dir, names[i]);
}

/* More intervals than are kept one by one: the same one again and again. */
static void stretch(unsigned from, unsigned to, unsigned times)
{
	FILE *in = fopen(path[from], "r"), *f = fopen(path[to], "w");

	test_require(in && f && fgets(out, sizeof(out), in), "cannot copy %s", path[from]);
	while (times--)
		fputs(out, f);
	test_require(!fclose(f), "cannot write %s", path[to]);
	fclose(in);
}

Test(perf, long_recordings)
{
	struct load load = {.gets = 256, .puts = 64};
	double gets, seconds;
	char words[400];

	test_begin(200);
	prepare();
	record(FIRST, &load);
	test_store_stop(&s);
	stretch(FIRST, SECOND, 1);
	snprintf(words, sizeof(words), "--json perf --from %s", path[SECOND]);
	test_require(!command(words), "%s", out);
	gets = number("operations", "get", "count");
	seconds = number("seconds", NULL, NULL);
	stretch(FIRST, SECOND, 1301);
	test_require(!command(words), "%s", out);
	cr_assert_eq(number("operations", "get", "count"), 1301 * gets);
	cr_assert(number("seconds", NULL, NULL) > 1300.9 * seconds && number("seconds", NULL, NULL) < 1301.1 * seconds);
	snprintf(words, sizeof(words), "perf --from %s --html -", path[SECOND]);
	test_require(!command(words), "%s", out);
	test_require(strstr(out, " 326 points"), "1301 intervals are shown four at a time: %.3000s", strstr(out, "<h1>")); /* 512 -> 256 of two -> 256 of four, and on */
	test_store_end(&s);
}

Test(perf, recordings_are_read_again_and_compared)
{
	struct load both = {.gets = 256, .puts = 64, .durable = 2}, reads = {.gets = 256};
	double gets, seconds;
	char words[400];
	FILE *f;
	int rc;

	test_begin(200);
	prepare();
	record(FIRST, &both);
	gets = number("operations", "get", "count");
	seconds = number("seconds", NULL, NULL);
	cr_assert(seconds >= 0.8, "four intervals of 0.2 s are %f", seconds);
	record(SECOND, &reads);
	cr_assert_eq(number("operations", "put", "count"), 0);

	/* no store is needed for what was recorded */
	test_store_stop(&s);
	snprintf(words, sizeof(words), "perf --from %s", path[FIRST]);
	test_require(!command(words) && strstr(out, "get ") && strstr(out, "commits "), "%s", out);
	snprintf(words, sizeof(words), "perf --diff %s %s", path[FIRST], path[FIRST]);
	cr_assert_eq(command(words), 0);
	test_require(strstr(out, "Nothing got slower.") && strstr(out, "The work is the same."), "%s", out);
	snprintf(words, sizeof(words), "--json perf --diff %s %s", path[FIRST], path[SECOND]);
	rc = command(words);
	test_require(rc == 0 || rc == 1, "%d: %s", rc, out);
	test_require(strstr(out, "\"what\": \"put\"") && strstr(out, "100 % less"), "%s", out);

	/* a recorder that was killed leaves a last line that is not whole: it is left out */
	f = fopen(path[FIRST], "a");
	fputs("{\"ppdb_perf\": 1, \"at_", f);
	fclose(f);
	snprintf(words, sizeof(words), "--json perf --from %s", path[FIRST]);
	test_require(!command(words), "%s", out);
	cr_assert_eq(number("operations", "get", "count"), gets);
	f = fopen(path[FIRST], "a");
	fputs("\n", f);
	fclose(f);
	cr_assert_eq(command(words), 4);
	test_require(strstr(out, "line 5 is no interval"), "%s", out);
	snprintf(words, sizeof(words), "perf --from %s.not-there", path[FIRST]);
	cr_assert_eq(command(words), 4);
	cr_assert_eq(command("perf --diff one"), 2);
	cr_assert_eq(command("perf --html x --count 0"), 2);
	test_store_end(&s);
}

static const char *browser(void)
{
	static const char *const places[] = {"/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"};

	for (unsigned i = 0; i < sizeof(places) / sizeof(*places); i++)
		if (!access(places[i], X_OK))
			return places[i];
	return NULL;
}

/* What the browser prints, its console included, is in `out`. */
static void browse(const char *what, const char *colours)
{
	char program[64], profile[200], url[200], log[200], one[256], two[256];
	char *argv[] = {program, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1400,2600", "--enable-logging=stderr",
		"--disable-background-networking", "--disable-component-update", "--no-first-run", profile, one, two, url, NULL};
	ssize_t n;
	FILE *f;
	int status;

	snprintf(program, sizeof(program), "%s", browser());
	snprintf(profile, sizeof(profile), "--user-data-dir=%s/profile", s.dir);
	snprintf(one, sizeof(one), "%s", what);
	snprintf(two, sizeof(two), "--blink-settings=preferredColorScheme=%s", colours);
	snprintf(url, sizeof(url), "file://%s", path[REPORT]);
	snprintf(log, sizeof(log), "%s/browser", s.dir);
	unlink(log);
	status = test_collect(test_exec(argv, log), true);
	f = fopen(log, "r");
	n = f ? (ssize_t)fread(out, 1, sizeof(out) - 1, f) : 0;
	out[n > 0 ? n : 0] = '\0';
	if (f)
		fclose(f);
	test_require(WIFEXITED(status) && !WEXITSTATUS(status), "the browser ended with %d: %s", status, out);
	test_require(!strstr(out, "CONSOLE"), "something is wrong with the page, or it wanted something from elsewhere: %s", out);
}

static unsigned count_of(const char *what)
{
	unsigned n = 0;

	for (const char *at = out; (at = strstr(at, what)); at += strlen(what))
		n++;
	return n;
}

static void screenshot(const char *colours, struct stat *st)
{
	char what[200];

	unlink(path[SEEN]);
	snprintf(what, sizeof(what), "--screenshot=%s", path[SEEN]);
	browse(what, colours);
	test_require(!stat(path[SEEN], st) && st->st_size > 50000, "the picture has %lld bytes: %s", (long long)st->st_size, out);
}

Test(perf, the_report_in_a_real_browser)
{
	static const char *const elsewhere[] = {"http:", "https:", "src=", "href=", "url(", "@import", "<script"};
	struct load load = {.gets = 256, .puts = 64, .durable = 2};
	struct stat light, dark;
	char words[400];

	test_begin(250);
	prepare();
	record(FIRST, &load);
	test_store_stop(&s);
	snprintf(words, sizeof(words), "perf --from %s --html %s", path[FIRST], path[REPORT]);
	test_require(!command(words), "%s", out);
	snprintf(words, sizeof(words), "perf --from %s --html -", path[FIRST]);
	test_require(!command(words), "%s", out);
	for (unsigned i = 0; i < sizeof(elsewhere) / sizeof(*elsewhere); i++)
		test_require(!strstr(out, elsewhere[i]), "the report is not whole in itself: it has %s", elsewhere[i]);
	test_require(!strstr(out, "nan") && !strstr(out, "inf"), "a number that is none: %s", out);
	if (!browser())
		cr_skip_test("no browser here; .ci/install-deps browser installs one");
	browse("--dump-dom", "1");
	/* rates and latencies of get, put and wait, both distributions, phases, their bar, two of commits */
	cr_assert_eq(count_of("<svg"), 12, "%u plots in %s", count_of("<svg"), out);
	cr_assert_geq(count_of("class=\"line s"), 6 + 6 + 3 + 6 + 6 + 2);
	cr_assert_eq(count_of("d=\"\""), 0, "a line without a point: %s", out);
	test_require(strstr(out, "id=\"operations\"") && strstr(out, "id=\"shards\"") && strstr(out, "id=\"clients\"") && strstr(out, "</html>"), "%s", out);
	screenshot("1", &light);
	screenshot("0", &dark);
	cr_assert_neq(light.st_size, dark.st_size, "dark is not light");
	test_store_end(&s);
}

Test(perf, a_report_of_the_live_store)
{
	char words[400];
	FILE *f;

	test_begin(120);
	prepare();
	snprintf(words, sizeof(words), "perf --interval 0.05 --count 2 --html %s", path[REPORT]);
	test_require(!command(words), "%s", out);
	f = fopen(path[REPORT], "r");
	test_require(f && fread(out, 1, sizeof(out) - 1, f) > 1000, "there is no report");
	fclose(f);
	test_require(strstr(out, "Nothing stands out.") && strstr(out, "</html>"), "%s", out);
	test_store_stop(&s);
}
