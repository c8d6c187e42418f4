/*
 * exporter.c - ppdb-exporter from outside, with curl: formats, pages, stores whose daemon stops, dies and comes back, and its own end.
 */
#include "tests/lib/daemon.h"
#include "tests/lib/limits.h"
#include "tests/lib/scrape.h"
#include "tests/lib/store.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(exporter, .fini = test_stores_end, .timeout = 300);

static struct test_store s;
static char text[1 << 20], at[64];

static void slurp(const char *path, char *to, size_t cap)
{
	FILE *f = fopen(path, "r");
	size_t n = f ? fread(to, 1, cap - 1, f) : 0;

	to[n] = '\0';
	if (f)
		fclose(f);
}

/* Until it says where it serves: `at`. */
static void wait_for_it(pid_t pid)
{
	const char *where;
	char log[128];

	snprintf(log, sizeof(log), "%s/exporter", s.dir);
	for (;;) {
		slurp(log, text, sizeof(text));
		where = strstr(text, "http://");
		if (where && strstr(where, "/metrics"))
			break;
		test_require(test_collect(pid, false) == -1, "ppdb-exporter ended: %s", text);
		test_sleep_ms(5);
	}
	snprintf(at, sizeof(at), "%.*s", (int)(strstr(where, "/metrics") - where), where);
}

/* Starts it for these stores ("" = all). */
static pid_t start_exporter(const char *names)
{
	char program[512], log[128], *argv[] = {program, (char *)"--listen", (char *)"127.0.0.1:0", (char *)(names[0] ? "-n" : NULL), (char *)names, NULL};
	pid_t pid;

	snprintf(program, sizeof(program), "%s/ppdb-exporter", getenv("PPDB_BUILD") ? getenv("PPDB_BUILD") : PPDB_BUILD_DIR);
	snprintf(log, sizeof(log), "%s/exporter", s.dir);
	unlink(log);
	pid = test_exec(argv, log);
	wait_for_it(pid);
	return pid;
}

static void end_exporter(pid_t pid)
{
	kill(pid, SIGTERM);
	test_require(!test_collect(pid, true), "ppdb-exporter did not end with 0");
}

/* curl with these words, and the page; its answer is in `text`. */
static void __attribute__((format(printf, 2, 3))) get(const char *page, const char *fmt, ...)
{
	char words[512], command[1024], path[128];
	va_list ap;
	int rc;

	va_start(ap, fmt);
	vsnprintf(words, sizeof(words), fmt, ap);
	va_end(ap);
	snprintf(path, sizeof(path), "%s/answer", s.dir);
	snprintf(command, sizeof(command), "curl -sS --noproxy '*' --max-time 60 %s %s%s >%s 2>&1", words, at, page, path);
	rc = system(command);
	slurp(path, text, sizeof(text));
	test_require(!rc, "%s: %d, %s", command, rc, text);
}

/* Puts a time behind each sample, as Prometheus' reader of files wants it. */
static void with_times(const char *from, FILE *to)
{
	while (*from) {
		int n = (int)strcspn(from, "\n");

		fprintf(to, from[0] == '#' ? "%.*s\n" : "%.*s 1700000000\n", n, from);
		from += n + (from[n] == '\n');
	}
	fclose(to);
}

/* Prometheus' own reader of OpenMetrics must take all of it. */
static void judge_openmetrics(void)
{
	char command[300], path[128], out[4096];
	int rc;

	snprintf(path, sizeof(path), "%s/om", s.dir);
	with_times(text, fopen(path, "w"));
	snprintf(command, sizeof(command), "tsdb create-blocks-from openmetrics %s %s/blocks", path, s.dir);
	rc = test_promtool(command, NULL, out, sizeof(out));
	test_require(!rc, "promtool does not take it: %d, %s", rc, out);
	test_require(strlen(text) > 6 && !strcmp(text + strlen(text) - 6, "# EOF\n"), "no end mark");
}

static double value(const char *name, const char *store)
{
	char series[400];

	snprintf(series, sizeof(series), "ppdb_%s{store=\"%s\"}", name, store);
	return test_value(text, series);
}

/* Scrapes until the store's ppdb_up is that: on a busy machine a daemon may be slow to answer. */
static void until_store_is_up(const char *store, double up)
{
	double is = -1;
	char series[160];

	snprintf(series, sizeof(series), "ppdb_up{store=\"%s\"}", store);
	do
		get("/metrics", "%s", "");
	while (!test_sample(text, series, &is) || is != up);
	test_promtool_accepts(text);
}

static void until_up(double up)
{
	until_store_is_up(s.socket, up);
}

Test(exporter, formats_and_pages)
{
	pid_t pid;

	test_begin(120);
	test_store_start(&s, "--memory 64M");
	pid = start_exporter(s.socket);
	get("/metrics", "-i");
	test_require(strstr(text, "200 OK") && strstr(text, "text/plain; version=0.0.4"), "%.400s", text);
	until_up(1);
	get("/metrics", "-i -H 'Accept: application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1'");
	test_require(strstr(text, "200 OK") && strstr(text, "application/openmetrics-text; version=1.0.0"), "%.400s", text);
	get("/metrics", "-H 'Accept: application/openmetrics-text'");
	judge_openmetrics();
	get("/metrics", "-i -H 'Accept: application/openmetrics-text;q=0.3, text/plain; q=0.9'");
	test_require(strstr(text, "text/plain; version=0.0.4") && !strstr(text, "# EOF"), "%.400s", text);
	get("/metrics", "-I");
	test_require(strstr(text, "200 OK") && !strstr(text, "ppdb_up"), "%s", text);
	get("/-/healthy", "-i");
	test_require(strstr(text, "200 OK") && strstr(text, "\r\n\r\nok\n"), "%s", text);
	get("/", "-i");
	test_require(strstr(text, "text/html") && strstr(text, "href=\"/metrics\""), "%s", text);
	get("/other", "-i");
	test_require(strstr(text, "404"), "%s", text);
	get("/metrics", "-i -d body");
	test_require(strstr(text, "405") && strstr(text, "Allow: GET, HEAD"), "%s", text);
	test_require(!test_store_number(&s, "status", "clients"), "it stays attached between scrapes");
	end_exporter(pid);
	test_store_stop(&s);
}

Test(exporter, daemon_stops_dies_and_comes_back)
{
	pid_t pid;
	ppdb *db;

	test_begin(240);
	test_store_start(&s, "--memory 64M");
	db = test_store_attach(&s, 0);
	test_ok(ppdb_put(db, 0, PPDB_S("k"), PPDB_S("v"), NULL, NULL));
	pid = start_exporter(s.socket);
	until_up(1);
	kill(s.daemon, SIGSTOP);
	until_up(0);
	test_require(strstr(text, ",op=\"put\"} 1\n"), "a stopped daemon's memory is read: %s", text);
	kill(s.daemon, SIGCONT);
	until_up(1);
	test_store_kill(&s);
	until_up(0);
	test_require(strstr(text, ",op=\"put\"} 1\n") && value("incarnation", s.socket) == 1, "a dead daemon's memory is read: %s", text);
	test_store_restart(&s);
	until_up(1);
	test_require(value("incarnation", s.socket) == 2, "%s", text);
	test_store_cold(&s);
	until_up(1);
	test_require(value("incarnation", s.socket) == 1, "another arena: %s", text);
	test_store_kill(&s);
	unlink(s.arena);
	until_up(0);
	test_require(test_samples(text, "ppdb_") == 2, "nothing is left of it: %s", text);
	test_require(test_collect(pid, false) == -1, "it goes on");
	end_exporter(pid);
	ppdb_detach(db);
}

#define NOBODY 65534

/* Opens what it needs as root: the build need not be where this user may look. */
static void be_nobody(void *arg)
{
	char program[512], log[128], *argv[] = {(char *)"ppdb-exporter", (char *)"--listen", (char *)"127.0.0.1:0", (char *)"-n", s.socket, NULL};
	int exporter, out;

	(void)arg;
	snprintf(program, sizeof(program), "%s/ppdb-exporter", getenv("PPDB_BUILD") ? getenv("PPDB_BUILD") : PPDB_BUILD_DIR);
	snprintf(log, sizeof(log), "%s/exporter", s.dir);
	exporter = open(program, O_RDONLY | O_CLOEXEC);
	out = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
	test_require(exporter >= 0 && out >= 0 && dup2(out, 2) == 2, "%s", program);
	test_require(!setgroups(0, NULL) && !setgid(NOBODY) && !setuid(NOBODY), "cannot become nobody");
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* another user is another process to the kernel: it has forgotten */
	fexecve(exporter, argv, environ);
	test_require(false, "cannot run %s", program);
}

/* As a user that may only read: it sees all of a store through its daemon, and without one that there is none. */
Test(exporter, of_another_user)
{
	ppdb *db;
	pid_t pid;

	if (geteuid())
		cr_skip_test("only root can become another user");
	test_begin(120);
	test_store_start(&s, "--memory 64M --ro-users 65534");
	test_require(!chmod(s.dir, 0711), "%s", s.dir);
	db = test_store_attach(&s, 0);
	test_ok(ppdb_put(db, 0, PPDB_S("k"), PPDB_S("v"), NULL, NULL));
	pid = test_spawn(be_nobody, NULL);
	wait_for_it(pid);
	until_up(1);
	test_require(strstr(text, ",op=\"put\"} 1\n") && test_samples(text, "ppdb_dead_clients{"), "%s", text);
	test_store_kill(&s);
	until_up(0);
	test_require(test_samples(text, "ppdb_") == 2, "it reads what it may not: %s", text);
	test_store_restart(&s);
	until_up(1);
	end_exporter(pid);
	test_ok(ppdb_detach(db));
	test_store_stop(&s);
}

/* Without --name: all stores of this user, and those that come later. */
Test(exporter, all_stores)
{
	struct test_daemon d;
	pid_t pid;

	test_begin(240);
	test_store_prepare(&s, "");
	pid = start_exporter("");
	test_daemon_make(&d);
	get("/metrics", "%s", "");
	test_require(!strstr(text, d.name), "%s is there already", d.name);
	test_require(!test_daemon_start(&d, "--memory 64M"), "%s", d.said);
	until_store_is_up(d.name, 1);
	test_daemon_end(&d, SIGKILL);
	until_store_is_up(d.name, 0);
	test_require(value("incarnation", d.name) == 1, "%s", text);
	test_daemon_clear(&d);
	get("/metrics", "%s", "");
	test_require(!strstr(text, d.name), "a store that is gone altogether is not reported");
	end_exporter(pid);
}

static int run(const char *words)
{
	char command[512];
	int status;

	snprintf(command, sizeof(command), "%s/ppdb-exporter %s >%s/said 2>&1 </dev/null", getenv("PPDB_BUILD") ? getenv("PPDB_BUILD") : PPDB_BUILD_DIR,
		words, s.dir);
	status = system(command);
	snprintf(command, sizeof(command), "%s/said", s.dir);
	slurp(command, text, sizeof(text));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

Test(exporter, start_and_end)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	char message[64] = "", taken[96];
	ssize_t n;
	pid_t pid;
	int fd;

	test_begin(120);
	test_store_prepare(&s, "");
	test_require(run("--listen nowhere") == 2 && strstr(text, "--listen needs an address and a port"), "%s", text);
	test_require(run("--listen example.org:80") == 2, "%s", text);
	test_require(run("-n 'bad name'") == 2 && strstr(text, "no name for a store"), "%s", text);
	test_require(run("--colour red") == 2 && run("stray") == 2, "%s", text);
	test_require(run("--help") == 0 && strstr(text, "127.0.0.1:7732"), "%s", text);
	test_require(run("--version") == 0 && strstr(text, "ppdb-exporter 0."), "%s", text);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%.80s/notify", s.dir);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	test_require(fd >= 0 && !bind(fd, (struct sockaddr *)&addr, sizeof(addr)), "%s", addr.sun_path);
	setenv("NOTIFY_SOCKET", addr.sun_path, 1);
	pid = start_exporter("none");
	n = recv(fd, message, sizeof(message) - 1, 0);
	test_require(n > 0 && !strcmp(message, "READY=1\n"), "it said %s", message);
	get("/metrics", "%s", "");
	test_require(value("up", "none") == 0, "%s", text);
	snprintf(taken, sizeof(taken), "--listen %s", at + 7);
	test_require(run(taken) == 1 && strstr(text, "cannot listen"), "%s", text);
	end_exporter(pid);
	n = recv(fd, message, sizeof(message) - 1, 0);
	test_require(n > 0 && !strncmp(message, "STOPPING=1\n", 11), "it said %s", message);
	close(fd);
}
