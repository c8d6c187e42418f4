/*
 * wal_io_pwrite.c - durable writes with pwritev2: in the writer itself, or in helper threads of the daemon.
 *
 * In the writer: the write happens inside submit; its completion is kept for the next reap. With threads: a queue of writes, a
 * queue of completions, one lock for both; each of `depth` threads does one write at a time.
 * The threads block all signals and end at close, after the writes that were submitted. A process that dies leaves writes that
 * may still land.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "engine/wal_io.h"
#include "shm/errors.h"
#include "shm/fault.h"

int64_t pp_wal_io_write_now(const struct pp_wal_io_write *write)
{
	struct iovec part = {(void *)(uintptr_t)write->data, write->size};
	int flags = PP_FAULT_ERROR("wal.write.unsynced") ? 0 : RWF_DSYNC; /* another lie for `make power` */
	ssize_t n;

	do
		n = pwritev2(write->fd, &part, 1, (off_t)write->offset, flags);
	while (n < 0 && errno == EINTR);
	if (n >= 0 || (errno != EOPNOTSUPP && errno != ENOSYS))
		return n < 0 ? -errno : n;
	do
		n = pwrite(write->fd, write->data, write->size, (off_t)write->offset);
	while (n < 0 && errno == EINTR);
	if (n < 0 || fdatasync(write->fd) < 0)
		return -errno;
	return n;
}

/* ---- in the writer ---- */

struct pwrite_io {
	struct pp_wal_io io;
	struct pp_wal_io_done done[PP_WAL_SLOTS_MAX];
	int count;
};

static int pwrite_submit(struct pp_wal_io *io, const struct pp_wal_io_write *write)
{
	struct pwrite_io *p = (struct pwrite_io *)io;

	p->done[p->count++] = (struct pp_wal_io_done){write->slot, pp_wal_io_write_now(write)};
	return 0;
}

static int pwrite_reap(struct pp_wal_io *io, int64_t wait_ns, struct pp_wal_io_done *done, int room)
{
	struct pwrite_io *p = (struct pwrite_io *)io;
	int n = p->count < room ? p->count : room;

	(void)wait_ns;
	memcpy(done, p->done, (size_t)n * sizeof(*done));
	memmove(p->done, p->done + n, (size_t)(p->count - n) * sizeof(*done));
	p->count -= n;
	return n;
}

static void pwrite_close(struct pp_wal_io *io)
{
	free(io);
}

static const struct pp_wal_io_class pwrite_class = {pwrite_submit, pwrite_reap, pwrite_close};

int pp_wal_io_open_pwrite(const struct pp_wal_io_config *config, struct pp_wal_io **out)
{
	struct pwrite_io *p = calloc(1, sizeof(*p));

	(void)config;
	if (!p)
		return pp_detail(-ENOMEM, "no memory for the log's writer");
	p->io.class = &pwrite_class;
	*out = &p->io;
	return 0;
}

/* ---- helper threads ---- */

struct thread_io {
	struct pp_wal_io io;
	pthread_mutex_t lock;
	pthread_cond_t work, finished;
	struct pp_wal_io_write writes[PP_WAL_SLOTS_MAX];
	struct pp_wal_io_done done[PP_WAL_SLOTS_MAX];
	int queued, count;
	bool stop;
	unsigned threads;
	pthread_t ids[PP_WAL_DEPTH_LIMIT];
};

static void *work(void *arg)
{
	struct thread_io *t = arg;

	pthread_mutex_lock(&t->lock);
	for (;;) {
		struct pp_wal_io_write write;
		int64_t result;

		while (!t->queued && !t->stop)
			pthread_cond_wait(&t->work, &t->lock);
		if (!t->queued)
			break;
		write = t->writes[0];
		t->queued--;
		memmove(t->writes, t->writes + 1, (size_t)t->queued * sizeof(write));
		pthread_mutex_unlock(&t->lock);
		result = pp_wal_io_write_now(&write);
		pthread_mutex_lock(&t->lock);
		t->done[t->count++] = (struct pp_wal_io_done){write.slot, result};
		pthread_cond_signal(&t->finished);
	}
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

static int thread_submit(struct pp_wal_io *io, const struct pp_wal_io_write *write)
{
	struct thread_io *t = (struct thread_io *)io;

	pthread_mutex_lock(&t->lock);
	t->writes[t->queued++] = *write;
	pthread_mutex_unlock(&t->lock);
	pthread_cond_signal(&t->work);
	return 0;
}

static void wait_finished(struct thread_io *t, int64_t wait_ns)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += wait_ns / 1000000000;
	until.tv_nsec += wait_ns % 1000000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	while (!t->count && pthread_cond_timedwait(&t->finished, &t->lock, &until) == 0)
		;
}

static int thread_reap(struct pp_wal_io *io, int64_t wait_ns, struct pp_wal_io_done *done, int room)
{
	struct thread_io *t = (struct thread_io *)io;
	int n;

	pthread_mutex_lock(&t->lock);
	if (!t->count && wait_ns > 0)
		wait_finished(t, wait_ns);
	n = t->count < room ? t->count : room;
	memcpy(done, t->done, (size_t)n * sizeof(*done));
	memmove(t->done, t->done + n, (size_t)(t->count - n) * sizeof(*done));
	t->count -= n;
	pthread_mutex_unlock(&t->lock);
	return n;
}

static void thread_close(struct pp_wal_io *io)
{
	struct thread_io *t = (struct thread_io *)io;

	pthread_mutex_lock(&t->lock);
	t->stop = true;
	pthread_mutex_unlock(&t->lock);
	pthread_cond_broadcast(&t->work);
	for (unsigned i = 0; i < t->threads; i++)
		pthread_join(t->ids[i], NULL);
	pthread_mutex_destroy(&t->lock);
	pthread_cond_destroy(&t->work);
	pthread_cond_destroy(&t->finished);
	free(t);
}

static const struct pp_wal_io_class thread_class = {thread_submit, thread_reap, thread_close};

/* The daemon's signals are for its own threads. */
static int start_threads(struct thread_io *t, unsigned depth)
{
	sigset_t all, old;
	int rc = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	while (t->threads < depth && rc == 0) {
		rc = -pthread_create(&t->ids[t->threads], NULL, work, t);
		t->threads += rc == 0;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return t->threads ? 0 : pp_detail(rc, "cannot start a thread for the log: %s", pp_error_text(rc));
}

int pp_wal_io_open_thread(const struct pp_wal_io_config *config, struct pp_wal_io **out)
{
	struct thread_io *t = calloc(1, sizeof(*t));
	pthread_condattr_t attr;
	int rc;

	if (!t)
		return pp_detail(-ENOMEM, "no memory for the log's writer");
	t->io.class = &thread_class;
	pthread_mutex_init(&t->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&t->work, &attr);
	pthread_cond_init(&t->finished, &attr);
	pthread_condattr_destroy(&attr);
	rc = start_threads(t, config->depth);
	if (rc) {
		thread_close(&t->io);
		return rc;
	}
	*out = &t->io;
	return 0;
}
