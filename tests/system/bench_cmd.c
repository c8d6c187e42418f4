/*
 * bench_cmd.c - `ppdb bench` does what it says, whatever the speed: each workload's operations are counted and right, no key of the user is touched,
 * nothing stays behind, an open loop sees a stall as its users do, and Ctrl-C or the death of a worker ends it with a clean store.
 */
#include "client/ppdb.h"
#include "tests/lib/store.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(bench_cmd, .fini = test_stores_end, .timeout = 300);

static struct test_store s;
static char out[1 << 18], text[400];

static void run(int code, const char *words)
{
	int got = test_store_command(&s, words, out, sizeof(out));

	test_require(got == code, "ppdb %s ended with %d, not %d: %s", words, got, code, out);
}

/* Where the workload's object begins in `out`. */
static const char *workload(const char *name)
{
	char key[80];
	const char *at = out;

	snprintf(key, sizeof(key), "\"name\": \"%s\"", name);
	while ((at = strstr(at, key))) {
		const char *load = strstr(at, "\"load\": ");

		test_require(load, "%s", out);
		if (!strncmp(load, "\"load\": false", 13))
			return at;
		at++;
	}
	test_fail(__FILE__, __LINE__, "no %s in: %s", name, out);
}

/* A number of it; of a kind of operation when that is not NULL. */
static double number(const char *name, const char *kind, const char *field)
{
	const char *at = workload(name), *end = strstr(at + 1, "\"name\": ");
	char key[80];

	if (kind) {
		snprintf(key, sizeof(key), "\"%s\": {", kind);
		at = strstr(at, key);
		if (!at || (end && at > end))
			return 0;
	}
	snprintf(key, sizeof(key), "\"%s\": ", field);
	at = strstr(at, key);
	test_require(at && (!end || at < end), "no %s of %s in: %s", field, name, out);
	return strtod(at + strlen(key), NULL);
}

static int count_table(void *ctx, const ppdb_table_info *info)
{
	(void)info;
	++*(unsigned *)ctx;
	return 0;
}

static unsigned tables(void)
{
	ppdb *db = test_store_attach(&s, 0);
	unsigned n = 0;

	test_ok(ppdb_table_list(db, count_table, &n));
	test_ok(ppdb_detach(db));
	return n;
}

/* Starts ppdb with these words; its output goes to `log` in the store's directory. */
static pid_t start(const char *words, char *log)
{
	char program[512], copy[512], *argv[32], *save = NULL;
	int n = 3;

	snprintf(program, sizeof(program), "%s/ppdb", getenv("PPDB_BUILD") ? getenv("PPDB_BUILD") : PPDB_BUILD_DIR);
	snprintf(copy, sizeof(copy), "%s", words);
	snprintf(log, 160, "%s/background", s.dir);
	unlink(log);
	argv[0] = program;
	argv[1] = "-n";
	argv[2] = s.socket;
	for (char *w = strtok_r(copy, " ", &save); w && n < 31; w = strtok_r(NULL, " ", &save))
		argv[n++] = w;
	argv[n] = NULL;
	return test_exec(argv, log);
}

static int finish(pid_t pid, const char *log)
{
	int status = test_collect(pid, true), fd = open(log, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, out, sizeof(out) - 1);

	out[n > 0 ? n : 0] = '\0';
	close(fd);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static bool has_ended(pid_t pid)
{
	siginfo_t ended = {0};

	waitid(P_PID, (id_t)pid, &ended, WEXITED | WNOHANG | WNOWAIT);
	return ended.si_pid != 0;
}

/* Waits for a worker of the bench and returns its pid; 0 when the command has ended. */
static pid_t worker(pid_t command)
{
	static char clients[1 << 16];

	for (unsigned i = 0; i < 1000 && !has_ended(command); i++) {
		char *at;

		test_require(!test_store_command(&s, "clients --json", clients, sizeof(clients)), "%s", clients);
		at = strstr(clients, "\"ppdb bench worker\"");
		while (at && at > clients && strncmp(at, "\"pid\": ", 7))
			at--;
		if (at && at > clients)
			return (pid_t)atoi(at + 7);
		test_sleep_ms(20);
	}
	test_require(has_ended(command), "no worker attaches: %s", clients);
	return 0;
}

/* Until the command has ended: the worker that was met may have been the loader, which ends by itself. */
static void kill_workers(pid_t command)
{
	pid_t pid;

	while ((pid = worker(command))) {
		kill(pid, SIGKILL);
		test_sleep_ms(20);
	}
}

static void prepare(void)
{
	ppdb *db;

	test_begin(200);
	test_store_start(&s, "--memory 128M --wal-segment 4M");
	db = test_store_attach(&s, 0);
	test_ok(ppdb_put(db, 0, PPDB_S("0000000000000016"), PPDB_S("mine"), NULL, NULL));
	test_ok(ppdb_detach(db));
}

/* The user's one key is as it was, no table is left, and every invariant holds. */
static void clean(void)
{
	ppdb *db = test_store_attach(&s, 0);
	char value[16];
	size_t size;

	test_ok(ppdb_get(db, 0, PPDB_S("0000000000000016"), value, sizeof(value), &size));
	test_require(size == 4 && !memcmp(value, "mine", 4), "the user's value was changed");
	test_ok(ppdb_detach(db));
	test_require(tables() == 0, "%u tables are left", tables());
	test_store_check(&s, true);
	test_store_stop(&s);
}

Test(bench_cmd, every_workload_does_what_its_name_says)
{
	static const char *const walks[] = {"fillseq", "fillrandom", "fillsync", "fillbatch", "deleteseq", "deleterandom"};
	static const char *const others[] = {"overwrite", "updaterandom", "increment", "readrandom", "readhot", "readmissing", "multireadrandom", "readseq",
		"readreverse", "seekrandom", "readwhilewriting", "readrandomwriterandom", "mixed", "ycsb-a", "ycsb-b", "ycsb-c", "ycsb-d", "ycsb-e", "ycsb-f"};
	static const struct { const char *name, *a; double share; const char *b; } mixes[] = {{"ycsb-a", "read", 0.5, "update"},
		{"ycsb-b", "read", 0.95, "update"}, {"ycsb-c", "read", 1, NULL}, {"ycsb-d", "read", 0.95, "insert"}, {"ycsb-e", "scan", 0.95, "insert"},
		{"ycsb-f", "read", 0.5, "rmw"}};

	prepare();
	run(0, "bench fillseq,fillrandom,fillsync,fillbatch,deleteseq,deleterandom --keys 1003 --processes 2 --threads 2 --json");
	for (unsigned i = 0; i < sizeof(walks) / sizeof(walks[0]); i++) {
		test_require(number(walks[i], NULL, "ops") == 1003, "%s met %g keys of 1003", walks[i], number(walks[i], NULL, "ops"));
		test_require(number(walks[i], NULL, "missing") == 0, "%s: keys were missing", walks[i]);
	}
	run(0, "bench overwrite updaterandom increment readrandom readhot readmissing multireadrandom readseq readreverse seekrandom readwhilewriting "
	       "readrandomwriterandom mixed A ycsbb workloadc ycsb-d e F --keys 1000 --ops 4000 --warmup 0 --processes 2 --threads 2 --json");
	for (unsigned i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		double ops = number(others[i], NULL, "ops"), wrong = number(others[i], NULL, "wrong");

		test_require(wrong == 0, "%s: %g values were wrong", others[i], wrong);
		test_require(strcmp(others[i], "readwhilewriting") ? ops == 4000 : number(others[i], "read", "ops") == 4000, "%s: %g operations", others[i], ops);
	}
	for (unsigned i = 0; i < sizeof(mixes) / sizeof(mixes[0]); i++) {
		double a = number(mixes[i].name, mixes[i].a, "ops"), b = mixes[i].b ? number(mixes[i].name, mixes[i].b, "ops") : 0;

		test_require(a + b == 4000 && a > 4000 * mixes[i].share - 150 && a < 4000 * mixes[i].share + 150, "%s: %g and %g", mixes[i].name, a, b);
		test_require(number(mixes[i].name, mixes[i].a, "p50_ns") <= number(mixes[i].name, mixes[i].a, "p9999_ns") &&
			number(mixes[i].name, mixes[i].a, "p9999_ns") <= number(mixes[i].name, mixes[i].a, "max_ns"), "%s: the percentiles do not rise", mixes[i].name);
	}
	test_require(number("ycsb-c", NULL, "missing") == 0 && number("readrandom", NULL, "missing") == 0, "loaded keys were missing");
	test_require(number("seekrandom", NULL, "entries") > 100 * 4000 * 0.8, "scans met %g entries", number("seekrandom", NULL, "entries"));
	test_require(number("readseq", NULL, "entries") == 4000, "readseq met %g entries", number("readseq", NULL, "entries"));
	clean();
}

/* The daemon stands still for half a second of two: a closed loop sees one slow write a worker, an open loop every one that was due. */
Test(bench_cmd, an_open_loop_sees_a_stall_as_users_do)
{
	double share[2];

	prepare();
	for (unsigned open = 0; open < 2; open++) {
		uint64_t waits = test_store_number(&s, "stat", "waits");
		char log[160];
		pid_t pid;

		snprintf(text, sizeof(text), "bench overwrite --durable --keys 100 --warmup 0 --duration 2 --json %s", open ? "--rate 400" : "");
		pid = start(text, log);
		while (test_store_number(&s, "stat", "waits") < waits + 5 && !has_ended(pid)) /* durable writes are under way */
			test_sleep_ms(20);
		kill(s.daemon, SIGSTOP);
		test_sleep_ms(600);
		kill(s.daemon, SIGCONT);
		test_require(finish(pid, log) == 0, "%s", out);
		test_require(number("overwrite", "update", "max_ns") > 100e6, "the stall was not seen: %s", out);
		share[open] = number("overwrite", "update", "p90_ns");
	}
	test_require(share[1] > 100e6, "a stall of 0.6 s of 2 s, but nine of ten operations took less than %g ms", share[1] / 1e6);
	clean();
}

Test(bench_cmd, an_interrupt_ends_it_with_the_results_so_far)
{
	char log[160];
	pid_t pid;

	prepare();
	pid = start("bench readrandom ycsb-a --processes 2 --keys 1000 --warmup 0 --duration 100 --json", log);
	worker(pid);
	test_sleep_ms(300);
	kill(pid, SIGINT);
	test_require(finish(pid, log) == 0, "%s", out);
	test_require(strstr(out, "\"interrupted\": true") && strstr(out, "\"wrong\": 0"), "%s", out);
	test_require(!strstr(out, "ycsb-a"), "it went on after the interrupt: %s", out);
	clean();
}

Test(bench_cmd, the_death_of_a_worker_or_of_all)
{
	char log[160], *name;
	pid_t pid;

	prepare();
	pid = start("bench readrandom --processes 2 --keys 1000 --duration 100", log);
	kill_workers(pid);
	test_require(finish(pid, log) == 4 && strstr(out, "was ended by signal 9"), "%s", out);
	test_require(tables() == 0, "a table is left");
	pid = start("bench readrandom --keys 1000 --duration 100", log);
	worker(pid);
	test_kill(pid);
	run(0, "bench readrandom --keys 100 --ops 100 --warmup 0");
	name = strstr(out, "table drop ppdb-bench-");
	test_require(name, "the table of the killed bench is not named: %s", out);
	snprintf(text, sizeof(text), "%.40s", name);
	text[strcspn(text, "\n")] = '\0';
	run(0, text);
	clean();
}

static void bench_into_nothing(void *arg)
{
	char program[512];
	int fds[2];

	(void)arg;
	snprintf(program, sizeof(program), "%s/ppdb", getenv("PPDB_BUILD") ? getenv("PPDB_BUILD") : PPDB_BUILD_DIR);
	signal(SIGPIPE, SIG_DFL);
	test_require(!pipe(fds) && !close(fds[0]) && dup2(fds[1], STDOUT_FILENO) == STDOUT_FILENO, "pipe");
	execl(program, "ppdb", "-n", s.socket, "bench", "readrandom", "ycsb-a", "--keys", "100", "--ops", "100", "--warmup", "0", NULL);
	_exit(127);
}

/* As `ppdb bench ... | head -1` does. */
Test(bench_cmd, a_reader_that_goes_away_leaves_no_table)
{
	int status;

	prepare();
	status = test_collect(test_spawn(bench_into_nothing, NULL), true);
	test_require(WIFEXITED(status) && WEXITSTATUS(status) == 4, "it ended with %#x", (unsigned)status);
	clean();
}

static unsigned files_in(const char *dir)
{
	DIR *d = opendir(dir);
	unsigned n = 0;
	struct dirent *e;

	while (d && (e = readdir(d)))
		n += e->d_name[0] != '.';
	if (d)
		closedir(d);
	return n;
}

Test(bench_cmd, a_scratch_daemon_a_named_table_and_what_is_refused)
{
	char dir[160];

	prepare();
	snprintf(dir, sizeof(dir), "%s/x", s.dir);
	test_require(!mkdir(dir, 0700), "mkdir");
	snprintf(text, sizeof(text), "bench --scratch --data-dir %s --options --shards=2 fillseq readseq --keys 1000 --ops 1000 --key-size 40 --value-size 1000", dir);
	run(0, text);
	test_require(files_in(dir) == 0, "the scratch daemon left files in %s", dir);
	for (unsigned i = 0; i < 5; i++) { /* it answers before it finds that it cannot */
		snprintf(text, sizeof(text), "bench --scratch --data-dir %s --options --pages=hugetlb readseq --keys 1000 --ops 1000", dir);
		run(4, text);
		test_require(strstr(out, "is not on a hugetlbfs"), "%s", out);
	}
	run(0, "bench readrandom --table kept --keys 500 --ops 500 --warmup 0");
	test_require(tables() == 1, "the named table did not stay");
	run(0, "scan --table kept --count");
	test_require(atoi(out) == 500, "the table holds %s", out);
	run(0, "bench readrandom --table kept --keys 500 --ops 500 --warmup 0 --json");
	test_require(!strstr(out, "\"load\": true") && number("readrandom", NULL, "missing") == 0 && number("readrandom", NULL, "wrong") == 0,
		"the keys are loaded anew although they are there: %s", out);
	run(0, "bench deleterandom --table kept --keys 500 --ops 100 --warmup 0");
	run(0, "bench readrandom --table kept --keys 500 --ops 500 --warmup 0 --json");
	test_require(strstr(out, "\"load\": true") && number("readrandom", NULL, "missing") == 0, "keys that are gone are not loaded: %s", out);
	run(0, "table drop kept");
	run(4, "bench readrandom --keys 10m");
	test_require(strstr(out, "take fewer --keys"), "%s", out);
	run(2, "bench");
	run(2, "bench nonsense");
	run(2, "bench readrandom --keys 0");
	run(2, "bench readrandom --key-size 4 --keys 10000");
	run(2, "bench readrandom --processes 200 --threads 2");
	run(2, "bench readrandom --data-dir /tmp");
	run(0, "bench --list");
	test_require(strstr(out, "ycsb-f"), "%s", out);
	clean();
}
