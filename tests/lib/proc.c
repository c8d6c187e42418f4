/*
 * proc.c - processes, seeds and the watchdog of tests with several processes (see proc.h).
 *
 * A table in shared memory holds a line for each process: its pid and what it said last. The watchdog (SIGALRM in the test's own
 * process) prints it with the kernel's view of each thread, kills the children, and ends the test process with 1.
 */
#include "tests/lib/proc.h"

#include "client/ppdb.h"
#include "tests/lib/limits.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PROCESSES 256

struct line {
	pid_t pid;
	char words[128];
};

static struct line *table; /* shared */
static struct line *own;
static pid_t test_pid;
static uint64_t seed;
static void (*on_end)(void);

/* ---- seeds ------------------------------------------------------------------------------------------------------ */

uint64_t test_next(struct test_random *r)
{
	uint64_t z = r->state += 0x9e3779b97f4a7c15u; /* splitmix64 */

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

struct test_random test_random(uint64_t from, uint64_t stream)
{
	struct test_random r = {from ^ stream * 0xd1342543de82ef95u};

	test_next(&r);
	return r;
}

uint64_t test_seed(void)
{
	const char *given = getenv("PPDB_SEED");

	if (!seed && given)
		seed = strtoull(given, NULL, 0);
	if (!seed && getrandom(&seed, sizeof(seed), 0) < 0)
		seed = (uint64_t)time(NULL);
	return seed;
}

uint64_t test_scale(uint64_t n)
{
	const char *given = getenv("PPDB_TEST_SCALE");
	double by = given ? atof(given) : 1;

	return by > 0 ? (uint64_t)((double)n * by) : n;
}

/* ---- failing ---------------------------------------------------------------------------------------------------- */

static const char *variant(void)
{
	const char *build = getenv("PPDB_BUILD") ? getenv("PPDB_BUILD") : PPDB_BUILD_DIR, *last = strrchr(build, '/');

	return last && strcmp(last, "/build") ? last + 1 : "fault";
}

static void print_rerun(void)
{
	const char *v = variant(), *goal;
	char exe[256] = "";

	goal = readlink("/proc/self/exe", exe, sizeof(exe) - 1) > 0 && strrchr(exe, '/') ? strrchr(exe, '/') + 1 : "system";
	if (!strcmp(v, "asan") || !strcmp(v, "ubsan"))
		goal = v;

	if (criterion_current_test && criterion_current_suite)
		dprintf(2, "repeat: PPDB_SEED=%#llx make %s FILTER='%s/%s'\n", (unsigned long long)test_seed(), goal,
			criterion_current_suite->name, criterion_current_test->name);
}

void test_fail(const char *file, int line, const char *fmt, ...)
{
	char text[8192];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (getpid() != test_pid && test_pid) {
		dprintf(2, "%s:%d: process %d: %s\n", file, line, (int)getpid(), text);
		_exit(1);
	}
	print_rerun();
	cr_assert_fail("%s:%d: %s", file, line, text);
	abort();
}

const char *test_name_of(int code)
{
	static _Thread_local char names[2][32];
	static _Thread_local int next;

	next = !next;
	snprintf(names[next], sizeof(names[next]), "%s", ppdb_errname(code));
	return names[next];
}

const char *test_detail(void)
{
	return ppdb_errdetail();
}

/* ---- watchdog --------------------------------------------------------------------------------------------------- */

static void read_proc(pid_t pid, const char *tid, const char *what, char *to, size_t cap)
{
	char path[96];
	ssize_t n = -1;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task/%s/%s", (int)pid, tid, what);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, to, cap - 1);
		close(fd);
	}
	to[n > 0 ? n : 0] = '\0';
	to[strcspn(to, "\n")] = '\0';
}

static void describe_thread(pid_t pid, const char *tid)
{
	char stat[512], wchan[64], call[256], *after;

	read_proc(pid, tid, "stat", stat, sizeof(stat));
	read_proc(pid, tid, "wchan", wchan, sizeof(wchan));
	read_proc(pid, tid, "syscall", call, sizeof(call));
	after = strrchr(stat, ')');
	dprintf(2, "    thread %s: state %c, in %s, system call %s\n", tid, after ? after[2] : '?', wchan, call);
}

void test_describe(pid_t pid, const char *who)
{
	char path[64], command[160];
	struct dirent *e;
	DIR *d;

	dprintf(2, "  %s, pid %d\n", who, (int)pid);
	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	d = opendir(path);
	while (d && (e = readdir(d)))
		if (e->d_name[0] != '.')
			describe_thread(pid, e->d_name);
	if (d)
		closedir(d);
	if (access("/usr/bin/gdb", X_OK) || pid == getpid())
		return;
	snprintf(command, sizeof(command), "timeout 20 gdb -p %d -batch -nx -ex 'thread apply all bt 12' 2>/dev/null | grep '^[#T]' >&2",
		(int)pid);
	if (system(command))
		dprintf(2, "    no stack\n");
}

static void kill_children(bool describe)
{
	for (int i = 0; table && i < PROCESSES; i++) {
		pid_t pid = table[i].pid;

		if (!pid || pid == test_pid)
			continue;
		if (describe && !kill(pid, 0))
			test_describe(pid, table[i].words);
		kill(pid, SIGKILL);
	}
}

static void bark(int sig)
{
	(void)sig;
	dprintf(2, "the test takes too long; last words: %s\n", own->words);
	print_rerun();
	test_describe(test_pid, "the test itself");
	kill_children(true);
	if (on_end)
		on_end();
	_exit(1);
}

void test_on_end(void (*fn)(void))
{
	on_end = fn;
}

void test_begin(unsigned seconds)
{
	test_pid = getpid();
	if (!table)
		table = test_shared(sizeof(*table) * PROCESSES);
	own = &table[0];
	own->pid = test_pid;
	test_say("beginning");
	test_seed();
	signal(SIGALRM, bark);
	alarm((unsigned)test_scale(test_patience(seconds)));
}

void test_say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(own->words, sizeof(own->words), fmt, ap);
	va_end(ap);
}

/* ---- processes -------------------------------------------------------------------------------------------------- */

static struct line *free_line(void)
{
	test_require(table, "test_begin comes first");
	for (int i = 1; i < PROCESSES; i++)
		if (!table[i].pid)
			return &table[i];
	test_fail(__FILE__, __LINE__, "more than %d processes at once", PROCESSES);
}

static void forget(pid_t pid)
{
	for (int i = 1; i < PROCESSES; i++)
		if (table[i].pid == pid)
			table[i].pid = 0;
}

/* In the new child: dies with its parent, and is named in the table. */
static void be_child(struct line *line)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != test_pid)
		_exit(1);
	signal(SIGALRM, SIG_DFL);
	own = line;
}

pid_t test_spawn(void (*fn)(void *), void *arg)
{
	struct line *line = free_line();
	pid_t pid;

	snprintf(line->words, sizeof(line->words), "starting");
	fflush(NULL);
	pid = fork();
	test_require(pid >= 0, "fork: %s", strerror(errno));
	if (!pid) {
		be_child(line);
		fn(arg);
		fflush(NULL);
		_exit(0);
	}
	line->pid = pid;
	return pid;
}

pid_t test_exec(char *const argv[], const char *log)
{
	struct line *line = free_line();
	int fd = log ? open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
	pid_t pid;

	test_require(!log || fd >= 0, "%s: %s", log, strerror(errno));
	snprintf(line->words, sizeof(line->words), "%s", argv[0]);
	pid = fork();
	test_require(pid >= 0, "fork: %s", strerror(errno));
	if (!pid) {
		be_child(line);
		if (fd >= 0) {
			dup2(fd, 1);
			dup2(fd, 2);
		}
		execv(argv[0], argv);
		dprintf(2, "%s: %s\n", argv[0], strerror(errno));
		_exit(127);
	}
	if (fd >= 0)
		close(fd);
	line->pid = pid;
	return pid;
}

int test_collect(pid_t pid, bool block)
{
	int status;
	pid_t got;

	while ((got = waitpid(pid, &status, block ? 0 : WNOHANG)) < 0)
		test_require(errno == EINTR, "waitpid %d: %s", (int)pid, strerror(errno));
	if (!got)
		return -1;
	forget(pid);
	return status;
}

void test_join(pid_t pid)
{
	int status = test_collect(pid, true);

	test_require(!status, "process %d ended with %s %d", (int)pid, WIFSIGNALED(status) ? "signal" : "exit code",
		WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

bool test_kill(pid_t pid)
{
	int status;

	kill(pid, SIGKILL);
	status = test_collect(pid, true);
	test_require(!status || (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL), "process %d ended by itself: %#x", (int)pid,
		(unsigned)status);
	return status != 0;
}

void *test_shared(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		cr_assert_fail("mmap: %s", strerror(errno));
	return p;
}

uint64_t test_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void test_sleep_ms(unsigned ms)
{
	struct timespec t = {ms / 1000, (long)(ms % 1000) * 1000000};

	while (nanosleep(&t, &t) && errno == EINTR)
		;
}
