/*
 * daemon_ready.c - going to the background, and saying when clients may attach.
 *
 * The starter forks and waits on a pipe: an empty line = ready, anything else = why not; the pipe closing without a word = the daemon
 * died. Forking comes before any lock, thread or ring is made, so nothing is inherited that belongs to one process only.
 */
#include "tools/daemon.h"
#include "tools/notify.h"

#include <stdarg.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>

static int starter_waits(int fd, pid_t child)
{
	char text[600];
	size_t have = 0;
	ssize_t n;
	int status;

	while (have < sizeof(text) - 1 && (n = read(fd, text + have, sizeof(text) - 1 - have)) != 0) {
		if (n < 0 && errno != EINTR)
			break;
		have += n > 0 ? (size_t)n : 0;
		if (have && text[have - 1] == '\n')
			break;
	}
	text[have] = '\0';
	if (have == 1 && text[0] == '\n')
		return 0;
	if (have) {
		fprintf(stderr, "ppdbd: %s", text);
		return 1;
	}
	if (waitpid(child, &status, 0) == child && WIFSIGNALED(status))
		fprintf(stderr, "ppdbd: the daemon was killed by signal %d while starting\n", WTERMSIG(status));
	else
		fprintf(stderr, "ppdbd: the daemon ended while starting\n");
	return 1;
}

static void keep_standard_fds(void)
{
	int fd = open("/dev/null", O_RDWR);

	for (int i = 0; fd >= 0 && i < 3; i++)
		dup2(fd, i);
	if (fd > 2)
		close(fd);
}

int pp_daemonise(int *ready)
{
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC))
		return pp_detail(-errno, "no pipe: %s", strerror(errno));
	pid = fork();
	if (pid < 0)
		return pp_detail(-errno, "cannot go to the background: %s", strerror(errno));
	if (pid > 0) {
		close(fds[1]);
		_exit(starter_waits(fds[0], pid));
	}
	close(fds[0]);
	setsid();
	keep_standard_fds();
	if (chdir("/"))
		return pp_detail(-errno, "cannot go to /: %s", strerror(errno));
	*ready = fds[1];
	return 0;
}

void pp_tell_manager(const char *state)
{
	int rc = pp_notify(state);

	if (rc)
		pp_log("cannot tell the service manager: %s", strerror(-rc));
}

void pp_ready_report(int ready, const char *problem)
{
	char text[600];
	int n = snprintf(text, sizeof(text), "%s\n", problem ? problem : "");

	if (!problem) {
		char state[64];

		snprintf(state, sizeof(state), "READY=1\nMAINPID=%ld\n", (long)getpid());
		pp_tell_manager(state);
	}
	if (ready < 0)
		return;
	/* a starter that is gone does not matter */
	if (n > 0 && write(ready, text, (size_t)n) < 0)
		pp_log("the starter did not wait: %s", strerror(errno));
	close(ready);
}

void pp_log(const char *fmt, ...)
{
	char text[700], when[32];
	time_t now = time(NULL);
	struct tm tm;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", localtime_r(&now, &tm));
	fprintf(stderr, "%s ppdbd[%ld]: %s\n", when, (long)getpid(), text);
}
