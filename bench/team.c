/*
 * Teams: forked processes (or one process with threads) that work for the coordinator.
 *
 * Each process of a team reads a command from its own pipe; each worker then writes a byte to
 * `ready`, reads one from `go`, runs, stores its figures in the shared array and writes a byte to
 * `done`. The pipes order the memory. While it waits the coordinator polls its children: one that
 * died makes the sample fail, and the whole team is ended then, since `go` bytes would no longer
 * add up.
 */
#include "bench/bench.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORK_LIMIT_S = 1800 };

struct team {
	const struct driver *driver;
	struct place *place;
	const struct keyspace *space;
	enum mode mode;
	int processes;
	pid_t pid[WORKERS_MAX];
	int command_fd[WORKERS_MAX];
	int ready[2], go[2], done[2];
	struct result *results;
	bool broken;
};

struct thread_arg {
	struct worker worker;
	int done_fd;
};

static void *thread_main(void *p)
{
	struct thread_arg *arg = p;
	char byte = 0;

	worker_run(&arg->worker);
	if (write(arg->done_fd, &byte, 1) != 1)
		_exit(1);
	return NULL;
}

static void fill(struct thread_arg *arg, struct team *t, const struct command *c, void *handle,
		 int index)
{
	arg->done_fd = t->done[1];
	arg->worker = (struct worker){
		.driver = t->driver, .place = t->place, .space = t->space, .command = c,
		.result = &t->results[index], .handle = handle, .index = index,
		.ready_fd = t->ready[1], .go_fd = t->go[0],
	};
}

/* A store that lives in one process: its workers are threads, made anew for each command. */
static void run_threads(struct team *t, const struct command *c, void *handle)
{
	static struct thread_arg args[WORKERS_MAX];
	pthread_t thread[WORKERS_MAX];

	for (int i = 0; i < c->workers; i++) {
		fill(&args[i], t, c, handle, i);
		if (pthread_create(&thread[i], NULL, thread_main, &args[i]))
			_exit(1);
	}
	for (int i = 0; i < c->workers; i++)
		pthread_join(thread[i], NULL);
}

static void child_loop(struct team *t, int command_fd, int index, void *handle)
{
	struct thread_arg arg;
	struct command c;

	while (read(command_fd, &c, sizeof c) == sizeof c && c.kind != KIND_QUIT) {
		if (t->driver->threads) {
			run_threads(t, &c, handle);
			continue;
		}
		fill(&arg, t, &c, handle, index);
		thread_main(&arg);
	}
}

/* The first byte on `done` says whether the store could be opened. */
static void child_main(struct team *t, int command_fd, int index, bool attach_later)
{
	struct result *r = &t->results[index];
	void *handle = NULL;
	char byte = 0;

	if (!attach_later)
		r->failed = t->driver->open(t->place, t->mode, &handle);
	if (r->failed)
		text_format(r->message, "%s", bench_failure());
	if (write(t->done[1], &byte, 1) != 1 || r->failed)
		_exit(1);
	child_loop(t, command_fd, index, handle);
	if (handle)
		t->driver->close(handle);
	_exit(0);
}

static bool all_alive(struct team *t)
{
	for (int i = 0; i < t->processes; i++)
		if (t->pid[i] && waitpid(t->pid[i], NULL, WNOHANG) == t->pid[i]) {
			t->pid[i] = 0;
			t->broken = true;
		}
	return !t->broken;
}

static int wait_bytes(struct team *t, int fd, int count, const char *what)
{
	uint64_t limit = pp_clock_ns() + WORK_LIMIT_S * 1000000000ull;
	char bytes[WORKERS_MAX];

	while (count > 0) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		int polled = poll(&p, 1, 200);

		if (polled > 0) {
			ssize_t got = read(fd, bytes, (size_t)count);

			count -= got > 0 ? (int)got : 0;
		} else if (polled < 0 && errno == EINTR) {
			return bench_fail("interrupted");
		} else if (!all_alive(t)) {
			return bench_fail("a worker of %s died (%s)", t->driver->name, what);
		} else if (pp_clock_ns() > limit) {
			return bench_fail("%s: no answer in %d s (%s)", t->driver->name,
					  WORK_LIMIT_S, what);
		}
	}
	return 0;
}

static int open_pipes(struct team *t)
{
	if (pipe2(t->ready, O_CLOEXEC) || pipe2(t->go, O_CLOEXEC) || pipe2(t->done, O_CLOEXEC))
		return bench_fail("pipe: %m");
	return 0;
}

static int fork_child(struct team *t, int index, bool attach_later)
{
	pid_t parent = getpid();
	int fds[2];

	if (pipe2(fds, O_CLOEXEC))
		return bench_fail("pipe: %m");
	t->command_fd[index] = fds[1];
	t->pid[index] = fork();
	if (t->pid[index] < 0) {
		t->pid[index] = 0;
		close(fds[0]);
		return bench_fail("fork: %m");
	}
	if (!t->pid[index]) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		signal(SIGINT, SIG_IGN);
		if (getppid() != parent)
			_exit(1);
		child_main(t, fds[0], index, attach_later);
	}
	close(fds[0]);
	return 0;
}

static int first_failure(struct team *t, int workers)
{
	for (int i = 0; i < workers; i++)
		if (t->results[i].failed)
			return bench_fail("%s", t->results[i].message);
	return 0;
}

/* Children open the store one after another here: a first open creates it. */
static int start_children(struct team *t, bool attach_later)
{
	for (int i = 0; i < t->processes; i++) {
		if (fork_child(t, i, attach_later))
			return -1;
		if (wait_bytes(t, t->done[0], 1, "open"))
			return first_failure(t, t->processes), -1;
		if (first_failure(t, t->processes))
			return -1;
	}
	return 0;
}

static struct team *start(const struct driver *d, struct place *p, const struct keyspace *space,
			  enum mode mode, int processes, bool attach_later)
{
	struct team *t = calloc(1, sizeof *t);

	if (!t)
		return bench_fail("out of memory"), NULL;
	*t = (struct team){ .driver = d, .place = p, .space = space, .mode = mode,
			    .processes = d->threads ? 1 : processes };
	t->results = mmap(NULL, WORKERS_MAX * sizeof *t->results, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (t->results == MAP_FAILED || open_pipes(t) || start_children(t, attach_later)) {
		if (t->results == MAP_FAILED)
			bench_fail("mmap: %m");
		team_kill(t);
		return NULL;
	}
	return t;
}

struct team *team_start(const struct driver *d, struct place *p, const struct keyspace *space,
			enum mode mode, int processes)
{
	return start(d, p, space, mode, processes, false);
}

struct team *team_start_closed(const struct driver *d, struct place *p,
			       const struct keyspace *space)
{
	return start(d, p, space, MODE_READ, 1, true);
}

bool team_serves(const struct team *t, enum mode mode, int workers)
{
	if (!t || t->broken)
		return false;
	return t->driver->threads || (t->mode == mode && t->processes >= workers);
}

static int send_command(struct team *t, const struct command *c)
{
	int processes = t->driver->threads ? 1 : c->workers;

	for (int i = 0; i < processes; i++)
		if (write(t->command_fd[i], c, sizeof *c) != sizeof *c)
			return bench_fail("%s: worker %d takes no commands", t->driver->name, i);
	return 0;
}

int team_run(struct team *t, const struct command *c, struct result **results)
{
	char bytes[WORKERS_MAX] = { 0 };

	*results = t->results;
	if (send_command(t, c) || wait_bytes(t, t->ready[0], c->workers, "set-up"))
		goto broken;
	if (write(t->go[1], bytes, (size_t)c->workers) != c->workers)
		goto broken;
	if (wait_bytes(t, t->done[0], c->workers, "run"))
		goto broken;
	return first_failure(t, c->workers);
broken:
	t->broken = true;
	return -1;
}

static void release(struct team *t)
{
	for (int i = 0; i < t->processes; i++)
		if (t->command_fd[i] > 0)
			close(t->command_fd[i]);
	for (int i = 0; i < 2; i++) {
		if (t->ready[i] > 0)
			close(t->ready[i]);
		if (t->go[i] > 0)
			close(t->go[i]);
		if (t->done[i] > 0)
			close(t->done[i]);
	}
	if (t->results && t->results != MAP_FAILED)
		munmap(t->results, WORKERS_MAX * sizeof *t->results);
	free(t);
}

void team_kill(struct team *t)
{
	for (int i = 0; t && i < t->processes; i++)
		if (t->pid[i]) {
			kill(t->pid[i], SIGKILL);
			waitpid(t->pid[i], NULL, 0);
		}
	if (t)
		release(t);
}

void team_stop(struct team *t)
{
	struct command quit = { .kind = KIND_QUIT };

	if (!t)
		return;
	if (t->broken) {
		team_kill(t);
		return;
	}
	for (int i = 0; i < t->processes; i++)
		if (write(t->command_fd[i], &quit, sizeof quit) != sizeof quit)
			kill(t->pid[i], SIGKILL);
	for (int i = 0; i < t->processes; i++)
		waitpid(t->pid[i], NULL, 0);
	release(t);
}
