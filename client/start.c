/*
 * start.c - starts ppdbd for PPDB_AUTOSTART, and asks a daemon things that need no attachment (`ppdb status`).
 *
 * ppdbd daemonises: its first process ends with 0 when clients may attach. It gets no descriptor, no blocked signal and no
 * terminal of ours. Of several processes that start one at the same time one daemon wins the lock of the data directory; the others'
 * failure does not matter, because the caller connects again.
 */
#include "client/internal.h"

#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#define START_NS (60 * PP_NS_PER_SEC)

extern char **environ;

static int spawn(const char *program, const char *name, pid_t *pid)
{
	char *argv[] = { (char *)(uintptr_t)program, "-n", (char *)(uintptr_t)name, NULL };
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t none, all;
	int rc;

	posix_spawn_file_actions_init(&files);
	posix_spawnattr_init(&attr);
	for (int fd = 0; fd < 3; fd++)
		posix_spawn_file_actions_addopen(&files, fd, "/dev/null", O_RDWR, 0);
	posix_spawn_file_actions_addclosefrom_np(&files, 3);
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	rc = posix_spawnp(pid, program, &files, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&files);
	return -rc;
}

/* Status of the starter, or -ETIMEDOUT; 0 when somebody else's SIGCHLD handler has taken the status. */
static int reap(pid_t pid, uint64_t timeout_ns)
{
	uint64_t limit = pp_deadline_ns(timeout_ns);
	struct timespec t = pp_timespec(5 * PP_NS_PER_MS);
	int status;

	for (;;) {
		pid_t got = waitpid(pid, &status, WNOHANG);

		if (got == pid)
			return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		if (got < 0 && errno != EINTR)
			return 0;
		if (pp_now_ns() >= limit)
			return -ETIMEDOUT;
		nanosleep(&t, NULL);
	}
}

int pp_start_daemon(const char *name, uint32_t timeout_ms, int *status)
{
	const char *program = getenv("PPDBD");
	pid_t pid;
	int rc;

	if (strchr(name, '/'))
		return pp_detail(PPDB_DAEMON_GONE, "no ppdbd answers at %s, and one can only be started by name", name);
	if (!program || !program[0])
		program = "ppdbd";
	rc = spawn(program, name, &pid);
	if (rc)
		return pp_detail(PPDB_DAEMON_GONE, "no ppdbd answers and '%s' cannot be started: %s", program, strerror(-rc));
	rc = reap(pid, timeout_ms ? timeout_ms * PP_NS_PER_MS : START_NS);
	if (rc == -ETIMEDOUT)
		return pp_detail(PPDB_DAEMON_GONE, "ppdbd was started but is not ready yet; try again a little later");
	*status = rc; /* no error yet: another process may have started one meanwhile; connecting tells */
	return 0;
}

/* ---- requests without an attachment */

static int receive(int sock, unsigned type, uint64_t limit_ns, char **text)
{
	struct pp_reply *r = malloc(sizeof(*r) + PP_PROTO_TEXT + 1);
	int fds[PP_PROTO_FDS], rc;
	size_t bytes = 0;

	if (!r)
		return pp_detail(-ENOMEM, "out of memory");
	while ((rc = pp_proto_recv(sock, r, sizeof(*r) + PP_PROTO_TEXT, &bytes, fds)) == -EAGAIN) {
		struct pollfd p = { .fd = sock, .events = POLLIN };
		uint64_t now = pp_now_ns();

		if (now >= limit_ns) {
			rc = pp_detail(PPDB_TIMEOUT, "ppdbd accepts connections but does not answer (is it stopped?)");
			break;
		}
		poll(&p, 1, (int)((limit_ns - now) / PP_NS_PER_MS) + 1);
	}
	pp_proto_close_fds(fds, 0);
	if (rc == -ECONNRESET)
		rc = pp_detail(PPDB_DAEMON_GONE, "ppdbd closed the connection");
	if (!rc)
		rc = pp_reply_check(r, bytes, type);
	if (!rc && r->status)
		rc = pp_detail(r->status, "%s", r->sentence);
	if (!rc) {
		uint32_t n = r->text_bytes;

		memmove(r, r + 1, n);
		((char *)r)[n] = '\0';
		*text = (char *)r;
		return 0;
	}
	free(r);
	return rc;
}

int pp_client_request(const char *name, unsigned type, uint32_t timeout_ms, char **text)
{
	uint64_t limit = pp_deadline_ns(timeout_ms ? timeout_ms * PP_NS_PER_MS : PP_ANSWER_NS);
	int sock = pp_link_connect(name ? name : "default"), rc;
	struct pp_request r;

	if (sock < 0)
		return sock;
	pp_request_init(&r, type);
	rc = pp_proto_send(sock, &r, sizeof(r), NULL, 0, NULL, 0);
	rc = rc ? pp_detail(PPDB_DAEMON_GONE, "ppdbd closed the connection") : receive(sock, type, limit, text);
	close(sock);
	return rc;
}
