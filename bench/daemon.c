/*
 * Runs ppdbd for the benchmark: forks it in the foreground with a NOTIFY_SOCKET, waits for READY=1
 * (what systemd would wait for), and stops it by its pid alone. The daemon gets a parent-death
 * signal, so a benchmark that is killed leaves none behind.
 */
#include "bench/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { READY_LIMIT_S = 600, STOP_LIMIT_S = 120, ARGS_MAX = 48 };

int daemon_ask(const struct place *p, const char *command, char *out, size_t cap)
{
	char line[1024];
	size_t got;
	FILE *pipe;

	snprintf(line, sizeof line, "'%s' -n '%s' --json %s", p->tool_path, p->name, command);
	pipe = popen(line, "r");
	if (!pipe)
		return bench_fail("popen %s: %m", line);
	got = fread(out, 1, cap - 1, pipe);
	out[got] = 0;
	if (pclose(pipe))
		return bench_fail("`%s` failed", line);
	return 0;
}

static int notify_open(const struct place *p, struct sockaddr_un *addr)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	addr->sun_family = AF_UNIX;
	if (snprintf(addr->sun_path, sizeof addr->sun_path, "%s/notify", p->dir) >=
	    (int)sizeof addr->sun_path) {
		close(fd);
		return bench_fail("%s is too long for a socket; set TMPDIR or --dir", p->dir);
	}
	unlink(addr->sun_path);
	if (fd < 0 || bind(fd, (struct sockaddr *)addr, sizeof *addr)) {
		close(fd);
		return bench_fail("notify socket: %m");
	}
	return fd;
}

static void split_args(char *text, char **args, int *count)
{
	for (char *word = strtok(text, " "); word && *count < ARGS_MAX - 1;
	     word = strtok(NULL, " "))
		args[(*count)++] = word;
}

/* Runs in the child. Sizes are generous: pages are committed only as they are used. */
static void exec_daemon(const struct place *p, const struct sockaddr_un *addr, pid_t parent)
{
	char data[600], memory[32], extra[1024] = "", log[600], *args[ARGS_MAX];
	uint64_t mib = p->keys * (p->value_bytes + 350) / (1 << 20) + 1024;
	int count = 0, fd;

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	setpgid(0, 0);	/* Ctrl-C is for the coordinator, which then stops the daemon */
	if (getppid() != parent)
		_exit(1);
	snprintf(data, sizeof data, "%s/data", p->dir);
	snprintf(log, sizeof log, "%s/ppdbd.log", p->dir);
	snprintf(memory, sizeof memory, "%lluM", (unsigned long long)mib);
	snprintf(extra, sizeof extra, "%s %s", p->keep_log ? "--checkpoint-bytes=512G" : "",
		 p->daemon_args);
	fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	dup2(fd, 1);
	dup2(fd, 2);
	setenv("NOTIFY_SOCKET", addr->sun_path, 1);
	args[count++] = (char *)p->daemon_path;
	args[count++] = "-n";
	args[count++] = (char *)p->name;
	args[count++] = "-d";
	args[count++] = data;
	args[count++] = "--memory";
	args[count++] = memory;
	args[count++] = "--foreground";
	split_args(extra, args, &count);
	args[count] = NULL;
	execv(p->daemon_path, args);
	_exit(127);
}

static int log_tail(const struct place *p, const char *what)
{
	char path[600], text[150] = "";
	FILE *f;

	snprintf(path, sizeof path, "%s/ppdbd.log", p->dir);
	f = fopen(path, "r");
	if (f) {
		if (fseek(f, -(long)sizeof text + 1, SEEK_END))
			rewind(f);
		text[fread(text, 1, sizeof text - 1, f)] = 0;
		fclose(f);
	}
	return bench_fail("%s %s: %s", p->daemon_path, what, text);
}

static int wait_ready(const struct place *p, struct daemon_run *d, int fd)
{
	uint64_t limit = pp_clock_ns() + READY_LIMIT_S * 1000000000ull;
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	char text[512];

	while (pp_clock_ns() < limit) {
		if (poll(&poll_fd, 1, 100) > 0) {
			ssize_t got = recv(fd, text, sizeof text - 1, 0);

			text[got > 0 ? got : 0] = 0;
			if (strstr(text, "READY=1"))
				return 0;
		} else if (waitpid(d->pid, NULL, WNOHANG) == d->pid) {
			d->pid = 0;
			return log_tail(p, "ended before it was ready");
		}
	}
	return log_tail(p, "is not ready");
}

/* Asked apart from the start, which is timed in the recovery workload. */
void daemon_arena(const struct place *p, struct daemon_run *d)
{
	char json[4096];

	d->arena[0] = 0;
	if (!daemon_ask(p, "status", json, sizeof json))
		json_string(json, "arena", d->arena, sizeof d->arena);
}

int daemon_start(const struct place *p, struct daemon_run *d)
{
	struct sockaddr_un addr = { 0 };
	int fd = notify_open(p, &addr), rc;
	pid_t parent = getpid();

	if (fd < 0)
		return -1;
	d->pid = fork();
	if (!d->pid)
		exec_daemon(p, &addr, parent);
	rc = d->pid < 0 ? bench_fail("fork: %m") : wait_ready(p, d, fd);
	close(fd);
	unlink(addr.sun_path);
	if (rc && d->pid > 0)
		daemon_kill(d);
	return rc;
}

void daemon_kill(struct daemon_run *d)
{
	if (d->pid <= 0)
		return;
	kill(d->pid, SIGKILL);
	waitpid(d->pid, NULL, 0);
	d->pid = 0;
}

/* A clean stop; kills the daemon when that takes too long, and says so. */
int daemon_stop(struct daemon_run *d)
{
	uint64_t limit = pp_clock_ns() + STOP_LIMIT_S * 1000000000ull;

	if (d->pid <= 0)
		return 0;
	kill(d->pid, SIGTERM);
	while (pp_clock_ns() < limit) {
		if (waitpid(d->pid, NULL, WNOHANG) == d->pid) {
			d->pid = 0;
			return 0;
		}
		usleep(10000);
	}
	daemon_kill(d);
	return bench_fail("ppdbd did not stop within %d s of SIGTERM", STOP_LIMIT_S);
}
