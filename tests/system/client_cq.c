/*
 * client_cq.c (test) - completion queues from outside: an epoll loop, an io_uring loop, readers, and loops that sleep without a time-out
 * while the daemon dies, is stopped, comes back warm or cold.
 */
#include "tests/lib/store.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

static struct test_store s;
static const ppdb_wopts async = {.size = sizeof(async), .flags = PPDB_ASYNC};

TestSuite(client_cq, .fini = test_stores_end, .timeout = 300);

static ppdb *begin(void)
{
	test_begin(240);
	test_store_start(&s, NULL);
	return test_store_attach(&s, 0);
}

static ppdb_seq put(ppdb *db, unsigned n)
{
	char key[32];
	ppdb_seq ticket;
	int size = snprintf(key, sizeof(key), "key %u", n);

	test_ok(ppdb_put(db, 0, (ppdb_slice){key, (size_t)size}, PPDB_S("value"), &async, &ticket));
	return ticket;
}

static bool readable(int fd, int ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, ms) == 1;
}

/* Sleeps until it is readable, without a time-out of its own: a tick that is lost shows as a hang. */
static unsigned wait_and_reap(int loop, ppdb_cq *cq, ppdb_completion *out, unsigned cap)
{
	struct epoll_event e;
	size_t n;

	test_require(epoll_wait(loop, &e, 1, -1) == 1 || errno == EINTR, "epoll: %m");
	test_ok(ppdb_cq_reap(cq, out, cap, &n));
	return (unsigned)n;
}

static int loop_of(ppdb_cq *cq)
{
	struct epoll_event e = {.events = EPOLLIN};
	int loop = epoll_create1(EPOLL_CLOEXEC);

	test_require(loop >= 0 && !epoll_ctl(loop, EPOLL_CTL_ADD, ppdb_cq_fd(cq), &e), "epoll: %m");
	return loop;
}

/* Everything submitted comes once, in order of tickets, and is durable then. */
Test(client_cq, epoll_loop)
{
	enum { COUNT = 5000, BURST = 50 };
	ppdb *db = begin();
	ppdb_completion out[32];
	unsigned reaped = 0, sent = 0;
	bool *seen = test_shared(COUNT);
	ppdb_seq last = 0;
	ppdb_cq *cq;
	int loop;

	test_ok(ppdb_cq_open(db, NULL, &cq));
	loop = loop_of(cq);
	while (reaped < COUNT) {
		unsigned n;

		for (unsigned i = 0; i < BURST && sent < COUNT; i++, sent++)
			test_ok(ppdb_cq_submit(cq, put(db, sent), PPDB_DURABLE, &seen[sent]));
		n = wait_and_reap(loop, cq, out, 1 + reaped % 32);
		for (unsigned i = 0; i < n; i++) {
			test_require(out[i].result == 0 && out[i].level == PPDB_DURABLE, "%s", ppdb_errname(out[i].result));
			test_require(!*(bool *)out[i].user, "a completion came twice");
			test_require(out[i].ticket >= last, "out of order");
			test_require(ppdb_reached(db, PPDB_DURABLE) >= out[i].ticket, "reaped before it was durable");
			*(bool *)out[i].user = true;
			last = out[i].ticket;
			reaped++;
		}
	}
	/* and then it is quiet */
	for (int i = 0; i < 3 && readable(ppdb_cq_fd(cq), 0); i++) {
		size_t n;

		test_ok(ppdb_cq_reap(cq, out, 32, &n));
		test_require(n == 0, "more than was submitted");
	}
	cr_assert(!readable(ppdb_cq_fd(cq), 100), "readable with nothing to do");
	close(loop);
	ppdb_cq_close(cq);
	test_ok(ppdb_detach(db));
}

Test(client_cq, uring_loop)
{
	enum { COUNT = 2000 };
	ppdb *db = begin();
	struct io_uring ring;
	ppdb_completion out[64];
	unsigned reaped = 0, sent = 0;
	ppdb_cq *cq;

	if (io_uring_queue_init(8, &ring, 0) < 0)
		cr_skip_test("io_uring is not allowed here");
	test_ok(ppdb_cq_open(db, NULL, &cq));
	while (reaped < COUNT) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
		struct io_uring_cqe *cqe;
		size_t n;
		int rc;

		for (unsigned i = 0; i < 40 && sent < COUNT; i++, sent++)
			test_ok(ppdb_cq_submit(cq, put(db, sent), PPDB_DURABLE, NULL));
		io_uring_prep_poll_add(sqe, ppdb_cq_fd(cq), POLLIN);
		io_uring_submit(&ring);
		do
			rc = io_uring_wait_cqe(&ring, &cqe);
		while (rc == -EINTR);
		test_require(!rc && cqe->res > 0 && cqe->res & POLLIN, "poll: %d, %d", rc, cqe->res);
		io_uring_cqe_seen(&ring, cqe);
		test_ok(ppdb_cq_reap(cq, out, 64, &n));
		for (size_t i = 0; i < n; i++)
			test_ok(out[i].result);
		reaped += (unsigned)n;
	}
	io_uring_queue_exit(&ring);
	ppdb_cq_close(cq);
	test_ok(ppdb_detach(db));
}

Test(client_cq, levels_and_bad_input)
{
	struct { ppdb_cq_opts o; uint64_t tail; } longer = {.o = {.size = sizeof(longer)}, .tail = 1};
	ppdb_cq_opts flagged = {.size = sizeof(flagged), .flags = 1};
	ppdb *db = begin();
	ppdb_completion out[8];
	ppdb_seq t;
	ppdb_cq *cq;
	size_t n;
	int mark[4];

	test_expect(-E2BIG, ppdb_cq_open(db, &longer.o, &cq));
	test_expect(-EINVAL, ppdb_cq_open(db, &flagged, &cq));
	test_expect(-EINVAL, ppdb_cq_open(db, NULL, NULL));
	test_expect(-EINVAL, ppdb_cq_open(NULL, NULL, &cq));
	test_ok(ppdb_cq_open(db, NULL, &cq));
	t = put(db, 1);
	test_expect(-EINVAL, ppdb_cq_submit(cq, t + 1000000, PPDB_DURABLE, NULL));
	test_expect(-EINVAL, ppdb_cq_submit(cq, t, (ppdb_level)7, NULL));
	test_expect(-ENOTSUP, ppdb_cq_submit(cq, t, PPDB_REPLICATED, NULL));
	test_expect(-EINVAL, ppdb_cq_submit(NULL, t, PPDB_DURABLE, NULL));
	test_expect(-EINVAL, ppdb_cq_reap(cq, NULL, 1, &n));
	cr_assert_eq(ppdb_cq_fd(NULL), -EINVAL);
	test_store_kill(&s); /* nothing becomes durable now */
	t = put(db, 2);
	test_ok(ppdb_cq_submit(cq, t, PPDB_DURABLE, &mark[0]));
	test_ok(ppdb_cq_submit(cq, t, PPDB_CRASHSAFE, &mark[1]));
	test_ok(ppdb_cq_submit(cq, t, PPDB_VISIBLE, &mark[2]));
	test_ok(ppdb_cq_submit(cq, 0, PPDB_DURABLE, &mark[3]));
	cr_assert(readable(ppdb_cq_fd(cq), 1000));
	test_ok(ppdb_cq_reap(cq, out, 8, &n));
	cr_assert_eq(n, 3u);
	for (size_t i = 0; i < n; i++)
		cr_assert(out[i].user != &mark[0] && !out[i].result);
	test_expect(-EBUSY, ppdb_detach(db));
	ppdb_cq_close(cq);
	ppdb_cq_close(NULL);
	test_ok(ppdb_detach(db));
}

/* A reader waits for what another process writes; the daemon never sees its slot in the arena. */
Test(client_cq, reader)
{
	ppdb *db = begin(), *ro = test_store_attach(&s, PPDB_RDONLY);
	ppdb_completion out[8];
	ppdb_cq *cq;
	int loop;

	test_ok(ppdb_cq_open(ro, NULL, &cq));
	loop = loop_of(cq);
	for (unsigned i = 0; i < 300; i++) {
		ppdb_seq t = put(db, i);

		test_ok(ppdb_cq_submit(cq, t, PPDB_DURABLE, NULL));
		while (!wait_and_reap(loop, cq, out, 8))
			;
		test_require(out[0].ticket == t && !out[0].result && ppdb_reached(ro, PPDB_DURABLE) >= t, "round %u", i);
	}
	close(loop);
	ppdb_cq_close(cq);
	test_ok(ppdb_detach(ro));
	test_ok(ppdb_detach(db));
}

static void sleeper(void *arg)
{
	struct { ppdb_seq ticket; int ready, result; } *shared = arg;
	ppdb *db = test_store_attach(&s, 0);
	ppdb_completion out[4];
	ppdb_cq *cq;
	int loop;

	test_ok(ppdb_cq_open(db, NULL, &cq));
	loop = loop_of(cq);
	while (!__atomic_load_n(&shared->ticket, __ATOMIC_ACQUIRE))
		usleep(1000);
	test_ok(ppdb_cq_submit(cq, shared->ticket, PPDB_DURABLE, NULL));
	__atomic_store_n(&shared->ready, 1, __ATOMIC_RELEASE);
	while (!wait_and_reap(loop, cq, out, 4))
		;
	shared->result = out[0].result;
	close(loop);
	ppdb_cq_close(cq);
	test_ok(ppdb_detach(db));
}

/* A loop that sleeps without a time-out hears of every kind of end that the daemon can come to. */
Test(client_cq, restarts)
{
	struct { ppdb_seq ticket; int ready, result; } *shared = test_shared(sizeof(*shared));
	ppdb *db;

	test_begin(240);
	test_store_start(&s, NULL);
	for (int kind = 0; kind < 3; kind++) {
		pid_t pid;

		db = test_store_attach(&s, 0); /* anew: an idle handle learns of another arena only with its next calls */

		memset(shared, 0, sizeof(*shared));
		shared->result = 1;
		pid = test_spawn(sleeper, shared);
		test_sleep_ms(100);
		put(db, 0);
		if (kind == 2)
			kill(s.daemon, SIGSTOP);
		else
			test_store_kill(&s);
		__atomic_store_n(&shared->ticket, put(db, 1), __ATOMIC_RELEASE);
		while (!__atomic_load_n(&shared->ready, __ATOMIC_ACQUIRE))
			test_sleep_ms(1);
		test_sleep_ms(100);
		if (kind == 0)
			test_store_restart(&s);
		else if (kind == 1)
			test_store_cold(&s);
		else
			kill(s.daemon, SIGCONT);
		test_join(pid);
		cr_assert_eq(shared->result, kind == 1 ? PPDB_LOST : 0, "kind %d: %s", kind, ppdb_errname(shared->result));
		test_ok(ppdb_detach(db));
	}
}

/* Writers and a loop go on through many deaths of the daemon: everything comes exactly once, and what is called durable is there. */
Test(client_cq, many_restarts)
{
	enum { ROUNDS = 8, EACH = 200 };
	ppdb *db = begin();
	ppdb_completion out[64];
	ppdb_cq *cq;
	uint64_t *last;
	unsigned open = 0;
	int loop;

	last = test_shared(ROUNDS * EACH * sizeof(*last));
	test_ok(ppdb_cq_open(db, NULL, &cq));
	loop = loop_of(cq);
	for (unsigned round = 0; round < ROUNDS; round++) {
		for (unsigned i = round * EACH; i < (round + 1) * EACH; i++) {
			int rc = ppdb_cq_submit(cq, put(db, i), PPDB_DURABLE, &last[i]);

			/* the handle had not heard of the cold start yet: written to the old arena, and lost with it */
			test_require(!rc || rc == PPDB_LOST, "%s: %s", ppdb_errname(rc), ppdb_errdetail());
			if (rc)
				last[i] = 1;
			else
				open++;
		}
		test_sleep_ms(round % 3);
		if (round % 2)
			test_store_cold(&s);
		else
			test_store_restart(&s);
		while (open) {
			unsigned n = wait_and_reap(loop, cq, out, 64);

			open -= n;
			for (unsigned i = 0; i < n; i++) {
				uint64_t *to = out[i].user;

				test_require(!*to, "a completion came twice");
				test_require(!out[i].result || out[i].result == PPDB_LOST, "%s", ppdb_errname(out[i].result));
				*to = out[i].result ? 1 : 2;
			}
		}
	}
	for (unsigned i = 0; i < ROUNDS * EACH; i++) {
		char key[32];
		int size = snprintf(key, sizeof(key), "key %u", i), rc;

		rc = ppdb_get(db, 0, (ppdb_slice){key, (size_t)size}, NULL, 0, NULL);
		test_require(last[i] == 1 || rc == -ENOBUFS, "key %u was durable: %s", i, ppdb_errname(rc));
	}
	close(loop);
	ppdb_cq_close(cq);
	test_ok(ppdb_detach(db));
}

Test(client_cq, fork)
{
	ppdb *db = begin();
	ppdb_completion out[4];
	ppdb_cq *cq;
	ppdb_seq t;
	size_t n;
	pid_t pid;
	int status, loop;

	test_ok(ppdb_cq_open(db, NULL, &cq));
	loop = loop_of(cq);
	t = put(db, 1);
	pid = fork();
	if (!pid) {
		int bad = ppdb_cq_submit(cq, t, PPDB_DURABLE, NULL) != PPDB_FORKED || ppdb_cq_reap(cq, out, 4, &n) != PPDB_FORKED;

		ppdb_cq_close(cq);
		_exit(bad || ppdb_detach(db));
	}
	test_require(waitpid(pid, &status, 0) == pid && status == 0, "the child: %d", status);
	/* the parent's goes on */
	test_ok(ppdb_cq_submit(cq, t, PPDB_DURABLE, NULL));
	while (!wait_and_reap(loop, cq, out, 4))
		;
	test_ok(out[0].result);
	close(loop);
	ppdb_cq_close(cq);
	test_ok(ppdb_detach(db));
}
