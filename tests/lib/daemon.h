/*
 * daemon.h (test) - a ppdbd of the test's own: scratch directory, name, start, kill, stop, cold start.
 */
#ifndef PP_TESTS_LIB_DAEMON_H
#define PP_TESTS_LIB_DAEMON_H

#include <stddef.h>
#include <sys/types.h>

struct test_daemon {
	char dir[64], data[80], name[64], options[512];
	char said[1024]; /* what the last start printed */
};

/* Makes dir and name; starts nothing. */
void test_daemon_make(struct test_daemon *);
/* Runs ppdbd with more options (may be ""); returns its exit code. */
int test_daemon_start(struct test_daemon *, const char *more);
/* Pid of the running daemon, 0 = none. */
pid_t test_daemon_pid(const struct test_daemon *);
/* SIGKILL or SIGTERM, then waits until it is gone. */
void test_daemon_end(struct test_daemon *, int signal);
/* Removes the arena: the next start is a cold one. */
void test_daemon_forget(struct test_daemon *);
/* Last messages of the daemon; static storage. */
const char *test_daemon_log(struct test_daemon *);
/* Ends the daemon and removes everything. */
void test_daemon_clear(struct test_daemon *);

#endif
