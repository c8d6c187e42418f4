/*
 * store.c - starts, kills, restarts and checks the ppdbd of a test (see store.h).
 *
 * A test that is killed leaves its scratch directory and arena behind (the daemon dies with it); every other end removes them.
 */
#include "tests/lib/store.h"

#include "tests/lib/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORDS 64
#define STORES 16
#define START_MS test_patience(60000)
#define CHECK_MS test_patience(20000)

static struct test_store *stores[STORES];

static const char *build_dir(void)
{
	return getenv("PPDB_BUILD") ? getenv("PPDB_BUILD") : PPDB_BUILD_DIR;
}

static void note_store(struct test_store *s)
{
	int i = 0;

	while (stores[i] && stores[i] != s)
		test_require(++i < STORES, "more than %d stores", STORES);
	stores[i] = s;
	test_on_end(test_stores_end);
}

void test_store_prepare(struct test_store *s, const char *options)
{
	const char *tmp = getenv("TMPDIR");

	memset(s, 0, sizeof(*s));
	snprintf(s->dir, sizeof(s->dir), "%s/ppdb-store-XXXXXX", tmp && strlen(tmp) < 60 ? tmp : "/tmp");
	test_require(mkdtemp(s->dir), "%s: %s", s->dir, strerror(errno));
	snprintf(s->name, sizeof(s->name), "t-%s", s->dir + strlen(s->dir) - 6);
	snprintf(s->data, sizeof(s->data), "%s/data", s->dir);
	snprintf(s->socket, sizeof(s->socket), "%s/socket", s->dir);
	snprintf(s->messages, sizeof(s->messages), "%s/messages", s->dir);
	snprintf(s->arena, sizeof(s->arena), "/dev/shm/ppdb-%s.arena", s->name);
	snprintf(s->options, sizeof(s->options), "%s%s", options ? options : "",
		options && strstr(options, "--memory") ? "" : " --memory 256M");
	note_store(s);
}

/* Splits words at spaces behind argv[n]; argv ends with NULL. */
static void split(char *words, char **argv, int n)
{
	for (char *save, *w = strtok_r(words, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
		test_require(n < WORDS - 1, "too many words");
		argv[n++] = w;
	}
	argv[n] = NULL;
}

static void print_file(const char *path)
{
	char buf[4096];
	ssize_t n;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	while (fd >= 0 && (n = read(fd, buf, sizeof(buf))) > 0)
		if (write(2, buf, (size_t)n) < 0)
			break;
	if (fd >= 0)
		close(fd);
}

int test_store_try(struct test_store *s)
{
	char program[512], options[sizeof(s->options)];
	char *argv[WORDS] = {program, "--foreground", "-n", s->name, "-d", s->data, "--socket", s->socket, "--arena", s->arena};
	uint64_t begin = test_now_ns();
	ppdb_attach_opts opts = {.size = sizeof(opts), .flags = PPDB_RDONLY, .timeout_ms = 0, .client_name = "test-start"};
	ppdb *db;
	int status;

	snprintf(program, sizeof(program), "%s/ppdbd", build_dir());
	memcpy(options, s->options, sizeof(options));
	split(options, argv, 10);
	test_require(!s->daemon, "%s runs already", s->name);
	s->daemon = test_exec(argv, s->messages);
	while (ppdb_attach(s->socket, &opts, &db)) {
		status = test_collect(s->daemon, false);
		if (status != -1) {
			s->daemon = 0;
			return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
		}
		if (test_now_ns() - begin > START_MS * 1000000ull) {
			print_file(s->messages);
			test_require(false, "ppdbd does not answer for %llu ms: %s", (unsigned long long)START_MS, test_detail());
		}
		test_sleep_ms(2);
	}
	ppdb_detach(db);
	return 0;
}

static void start(struct test_store *s)
{
	int rc = test_store_try(s);

	if (rc)
		print_file(s->messages);
	test_require(!rc, "ppdbd ended with %d instead of starting", rc);
}

void test_store_start(struct test_store *s, const char *options)
{
	test_store_prepare(s, options);
	start(s);
}

void test_store_stop(struct test_store *s)
{
	pid_t pid = s->daemon;
	int status;

	kill(pid, SIGTERM);
	status = test_collect(pid, true);
	s->daemon = 0;
	if (status)
		print_file(s->messages);
	test_require(!status, "ppdbd ended with status %#x after SIGTERM", (unsigned)status);
}

void test_store_kill(struct test_store *s)
{
	pid_t pid = s->daemon;
	int status;

	if (!pid)
		return;
	s->daemon = 0;
	kill(pid, SIGKILL);
	status = test_collect(pid, true);
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
		print_file(s->messages);
	test_require(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "ppdbd had ended by itself with status %#x", (unsigned)status);
}

void test_store_restart(struct test_store *s)
{
	test_store_kill(s);
	start(s);
}

void test_store_cold(struct test_store *s)
{
	test_store_kill(s);
	test_require(!unlink(s->arena) || errno == ENOENT, "%s: %s", s->arena, strerror(errno));
	start(s);
}

/* Without assertions: it also runs after a failure. */
void test_store_end(struct test_store *s)
{
	char beside[128];
	char *argv[] = {"/bin/rm", "-rf", s->dir, NULL};
	int status;
	pid_t pid;

	if (!s->dir[0])
		return;
	if (s->daemon) {
		kill(s->daemon, SIGKILL);
		waitpid(s->daemon, &status, 0);
	}
	s->daemon = 0;
	unlink(s->arena);
	for (unsigned i = 0; i < 2; i++) {
		snprintf(beside, sizeof(beside), "%s%s", s->arena, i ? ".lock" : ".new"); /* .new: killed while it made one */
		unlink(beside);
	}
	pid = vfork();
	if (!pid) {
		execv(argv[0], argv);
		_exit(127);
	}
	waitpid(pid, &status, 0);
	s->dir[0] = '\0';
}

void test_stores_end(void)
{
	for (int i = 0; i < STORES; i++)
		if (stores[i]) {
			test_store_end(stores[i]);
			stores[i] = NULL;
		}
}

ppdb *test_store_attach(struct test_store *s, uint32_t flags)
{
	ppdb_attach_opts opts = {.size = sizeof(opts), .flags = flags, .timeout_ms = (uint32_t)START_MS};
	ppdb *db;

	test_ok(ppdb_attach(s->socket, &opts, &db));
	return db;
}

int test_store_command(struct test_store *s, const char *words, char *out, size_t cap)
{
	char program[512], text[1024], path[128];
	char *argv[WORDS] = {program, "-n", s->socket};
	ssize_t n = -1;
	int status, fd;
	pid_t pid;

	snprintf(program, sizeof(program), "%s/ppdb", build_dir());
	snprintf(text, sizeof(text), "%s", words);
	snprintf(path, sizeof(path), "%s/command", s->dir);
	split(text, argv, 3);
	unlink(path);
	pid = test_exec(argv, path);
	status = test_collect(pid, true);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, out, cap - 1);
		close(fd);
	}
	out[n > 0 ? n : 0] = '\0';
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void test_store_check(struct test_store *s, bool quiet)
{
	uint64_t begin = test_now_ns();
	char out[8192];
	int rc;

	while ((rc = test_store_command(s, quiet ? "check --quiet" : "check", out, sizeof(out)))) {
		if (test_now_ns() - begin > CHECK_MS * 1000000ull)
			break;
		test_sleep_ms(200);
	}
	if (rc) {
		dprintf(2, "%s\n", out);
		print_file(s->messages);
	}
	test_require(!rc, "ppdb check gave %d", rc);
}

uint64_t test_store_number(struct test_store *s, const char *command, const char *name)
{
	static char out[1 << 18];
	char words[128], key[80], *at;

	snprintf(words, sizeof(words), "%s --json", command);
	snprintf(key, sizeof(key), "\"%s\":", name);
	test_require(!test_store_command(s, words, out, sizeof(out)), "ppdb %s: %s", words, out);
	at = strstr(out, key);
	test_require(at, "no %s in: %s", name, out);
	at += strlen(key);
	if (!strncmp(at + strspn(at, " "), "true", 4))
		return 1;
	return strtoull(at, NULL, 10);
}
