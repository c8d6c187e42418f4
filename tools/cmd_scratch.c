/*
 * cmd_scratch.c - a daemon of a command's own (see cmd_scratch.h).
 *
 * It runs in the foreground as a child, with a parent-death signal, so that a command that is killed leaves no daemon; its own process group keeps
 * Ctrl-C away from it. The arena's file is unlinked as soon as the daemon answers: clients get its descriptor through the socket, and whatever
 * happens, the memory goes with the last process.
 *
 * Dies inside: the daemon ends by itself; the directory stays, below $TMPDIR, named ppdb-scratch-*.
 */
#include "tools/cmd_scratch.h"
#include "tools/paths.h"
#include "tools/text_json.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_SECONDS 120.0
#define STOP_SECONDS 60.0

static void remove_tree(const char *dir)
{
	char *paths[] = {(char *)(uintptr_t)dir, NULL};
	FTS *walk = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, NULL);
	FTSENT *e;

	while (walk && (e = fts_read(walk)))
		if (e->fts_info != FTS_D)
			(void)remove(e->fts_path);
	if (walk)
		fts_close(walk);
}

static int said(struct pp_scratch *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int said(struct pp_scratch *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(s->said, sizeof(s->said), fmt, ap);
	va_end(ap);
	return PP_EXIT_ERROR;
}

static int make_dir(struct pp_scratch *s, const char *parent)
{
	const char *tmp = getenv("TMPDIR");

	if (!parent)
		parent = tmp && *tmp ? tmp : "/tmp";
	if (snprintf(s->dir, sizeof(s->dir), "%s/ppdb-scratch-XXXXXX", parent) >= (int)sizeof(s->dir) ||
		snprintf(s->socket, sizeof(s->socket), "%s/socket", s->dir) >= (int)sizeof(s->socket)) {
		s->dir[0] = '\0';
		return said(s, "the path %s is too long for a socket; take a shorter directory", parent);
	}
	if (!mkdtemp(s->dir)) {
		s->dir[0] = '\0';
		return said(s, "cannot make a directory in %s: %s; set $TMPDIR or --data-dir to one that may be written", parent, strerror(errno));
	}
	snprintf(s->socket, sizeof(s->socket), "%.90s/socket", s->dir);
	return 0;
}

static int arena_path(const struct pp_scratch *s, char *out, size_t cap)
{
	struct pp_paths paths;
	int rc = pp_paths_fill(strrchr(s->dir, '/') + 1, &paths);

	if (!rc)
		snprintf(out, cap, "%s", paths.arena);
	return rc;
}

static void exec_daemon(const struct pp_scratch *s, uint64_t memory, const char *options, pid_t parent)
{
	char data[600], log[600], config[600], bytes[32], words[2048], *args[PP_SCRATCH_OPTIONS + 16], *save = NULL;
	int n = 0, fd;

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	setpgid(0, 0);
	if (getppid() != parent)
		_exit(1);
	snprintf(data, sizeof(data), "%s/data", s->dir);
	snprintf(log, sizeof(log), "%s/log", s->dir);
	snprintf(config, sizeof(config), "%s/empty.conf", s->dir);
	snprintf(bytes, sizeof(bytes), "%llu", (unsigned long long)memory);
	snprintf(words, sizeof(words), "%s", options);
	close(open(config, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	dup2(fd, 1);
	dup2(fd, 2);
	fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	dup2(fd, 0);
	unsetenv("NOTIFY_SOCKET");
	signal(SIGPIPE, SIG_DFL);
	const char *const fixed[] = {"ppdbd", "--foreground", "-n", strrchr(s->dir, '/') + 1, "-c", config, "-d", data, "--socket", s->socket,
		"--memory", bytes};
	for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
		args[n++] = (char *)(uintptr_t)fixed[i];
	for (char *word = strtok_r(words, " ", &save); word && n < PP_SCRATCH_OPTIONS + 15; word = strtok_r(NULL, " ", &save))
		args[n++] = word;
	args[n] = NULL;
	execvp(pp_cmd_daemon_path(), args);
	fprintf(stderr, "cannot run %s: %s\n", pp_cmd_daemon_path(), strerror(errno));
	_exit(127);
}

/* With the daemon's last words. */
static int last_words(struct pp_scratch *s, const char *what)
{
	char path[600], text[300] = "";
	size_t n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/log", s->dir);
	f = fopen(path, "re");
	if (f) {
		if (fseek(f, 1 - (long)sizeof(text), SEEK_END))
			rewind(f);
		n = fread(text, 1, sizeof(text) - 1, f);
		fclose(f);
	}
	while (n && text[n - 1] == '\n')
		n--;
	text[n] = '\0';
	return said(s, "the scratch daemon %s: %s", what, *text ? text : "it said nothing");
}

/* It answers as soon as it has a socket; until it runs it may still find that it cannot. */
static int wait_answer(const struct pp_cmd *c, struct pp_scratch *s, const volatile int *quit)
{
	struct pp_cmd ask = *c;
	double end = pp_cmd_now() + START_SECONDS;
	char *json = NULL, state[24];

	ask.store = s->socket;
	while (!*quit && pp_cmd_now() < end) {
		if (waitpid(s->pid, NULL, WNOHANG) == s->pid) {
			s->pid = 0;
			return last_words(s, "ended before it was ready");
		}
		if (!pp_cmd_status_text(&ask, 1000, &json)) {
			bool runs = pp_json_find(json, "state", state, sizeof(state)) && !strcmp(state, "running");

			free(json);
			if (runs)
				return 0;
		}
		usleep(10000);
	}
	return *quit ? said(s, "interrupted") : last_words(s, "does not answer");
}

static void forget_arena(const struct pp_scratch *s)
{
	char path[PATH_MAX + 8];

	if (arena_path(s, path, PATH_MAX))
		return;
	unlink(path);
	strcat(path, ".lock");
	unlink(path);
}

int pp_scratch_start(const struct pp_cmd *c, struct pp_scratch *s, const char *parent, uint64_t memory, const char *options, const volatile int *quit)
{
	pid_t self = getpid();
	int rc;

	memset(s, 0, sizeof(*s));
	rc = make_dir(s, parent);
	if (rc)
		return rc;
	fflush(NULL);
	s->pid = fork();
	if (!s->pid)
		exec_daemon(s, memory, options, self);
	rc = s->pid < 0 ? said(s, "fork: %s", strerror(errno)) : wait_answer(c, s, quit);
	if (rc)
		pp_scratch_stop(s);
	else
		forget_arena(s);
	return rc;
}

void pp_scratch_stop(struct pp_scratch *s)
{
	double end = pp_cmd_now() + STOP_SECONDS;

	if (!s->dir[0])
		return;
	if (s->pid > 0) {
		kill(s->pid, SIGTERM);
		while (waitpid(s->pid, NULL, WNOHANG) == 0) {
			if (pp_cmd_now() > end)
				kill(s->pid, SIGKILL);
			usleep(5000);
		}
	}
	forget_arena(s);
	remove_tree(s->dir);
	s->dir[0] = '\0';
	s->pid = 0;
}
