/*
 * cmd_stop.c - `ppdb stop`: SIGTERM to the daemon, then waits for its end.
 *
 * The signal goes through a pidfd that was opened before the daemon answered a second time, so that it cannot hit a process that
 * got the number of a daemon which ended meanwhile.
 */
#include "tools/cmd.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int wait_gone(const struct pp_cmd *c, int fd, int pid, uint64_t seconds)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	double end = pp_cmd_now() + (double)seconds;

	for (;;) {
		double left = end - pp_cmd_now();
		int rc = poll(&p, 1, left > 0 ? (int)(left * 1000) + 1 : 0);

		if (rc > 0)
			return PP_EXIT_OK;
		if (rc < 0 && errno != EINTR)
			return pp_cmd_fail(c, -errno, "poll");
		if (left <= 0)
			break;
	}
	pp_cmd_note(c, "ppdbd '%s' (pid %d) still runs after %llu s; SIGKILL is safe too: kill -9 %d", c->store, pid,
		(unsigned long long)seconds, pid);
	return PP_EXIT_ERROR;
}

int pp_cmd_stop(struct pp_cmd *c, int argc, char **argv)
{
	uint64_t seconds = 120;
	const struct pp_opt opts[] = {{"timeout", PP_OPT_U64, &seconds}, {NULL, 0, NULL}};
	int pid, fd, rc;

	if (pp_cmd_options(c, argc, argv, opts, 0, 0) < 0)
		return PP_EXIT_USAGE;
	if (seconds > 1000000)
		seconds = 1000000;
	pid = pp_cmd_daemon_pid(c);
	if (!pid) {
		pp_cmd_note(c, "ppdbd '%s' is not running", c->store);
		return PP_EXIT_NO_DAEMON;
	}
	fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (fd < 0 && errno == ESRCH)
		return PP_EXIT_OK;
	if (fd < 0)
		return pp_cmd_fail(c, -errno, "pidfd_open");
	if (pp_cmd_daemon_pid(c) != pid)
		rc = wait_gone(c, fd, pid, 0);
	else if (syscall(SYS_pidfd_send_signal, fd, SIGTERM, NULL, 0) && errno != ESRCH) {
		pp_cmd_note(c, "cannot stop ppdbd '%s' (pid %d): %s; do it as its user", c->store, pid, strerror(errno));
		rc = PP_EXIT_ERROR;
	} else
		rc = wait_gone(c, fd, pid, seconds);
	close(fd);
	return rc;
}
