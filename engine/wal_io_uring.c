/*
 * wal_io_uring.c - durable writes through io_uring: RWF_DSYNC writes, or writes linked with fdatasync.
 *
 * The ring is set up with SINGLE_ISSUER|DEFER_TASKRUN, else COOP_TASKRUN, else nothing, whatever the kernel knows; buffers are
 * registered when RLIMIT_MEMLOCK allows. A linked pair gives two completions; the write counts as durable after both. A short
 * write breaks the link (the sync is cancelled); the caller then submits the rest, whose sync covers the file.
 * A process that dies here leaves writes that may still land, in any order; recovery knows that.
 */
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>

#include "engine/wal_io.h"
#include "shm/errors.h"

#define SYNC_BIT 1u

struct pair {
	int64_t wrote;
	int64_t synced;
	size_t size;
	unsigned waiting;          /* completions still to come */
};

struct uring_io {
	struct pp_wal_io io;
	struct io_uring ring;
	bool fsync;
	struct pp_wal_io_config config;
	struct pair pairs[PP_WAL_SLOTS_MAX];
};

static int submit_all(struct uring_io *u)
{
	int rc;

	do
		rc = io_uring_submit(&u->ring);
	while (rc == -EINTR || rc == -EAGAIN || rc == -EBUSY);
	return rc < 0 ? pp_detail(rc, "io_uring does not take the log's write: %s", pp_error_text(rc)) : 0;
}

static int submit(struct pp_wal_io *io, const struct pp_wal_io_write *write)
{
	struct uring_io *u = (struct uring_io *)io;
	struct pair *pair = &u->pairs[write->slot];
	struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring), *sync;

	if (!sqe)
		return pp_detail(-EBUSY, "the log's io_uring is full");
	if (io->fixed)
		io_uring_prep_write_fixed(sqe, write->fd, write->data, (unsigned)write->size, write->offset,
					  (int)write->slot);
	else
		io_uring_prep_write(sqe, write->fd, write->data, (unsigned)write->size, write->offset);
	sqe->user_data = (uint64_t)write->slot << 1;
	*pair = (struct pair){.size = write->size, .waiting = 1};
	if (!u->fsync) {
		sqe->rw_flags = RWF_DSYNC;
		return submit_all(u);
	}
	sync = io_uring_get_sqe(&u->ring);
	if (!sync)
		return pp_detail(-EBUSY, "the log's io_uring is full");
	sqe->flags |= IOSQE_IO_LINK;
	io_uring_prep_fsync(sync, write->fd, IORING_FSYNC_DATASYNC);
	sync->user_data = (uint64_t)write->slot << 1 | SYNC_BIT;
	pair->waiting = 2;
	return submit_all(u);
}

/* One completion. True when the write as a whole is done. */
static bool take(struct uring_io *u, const struct io_uring_cqe *cqe, struct pp_wal_io_done *done)
{
	struct pair *pair = &u->pairs[cqe->user_data >> 1];

	if (cqe->user_data & SYNC_BIT)
		pair->synced = cqe->res;
	else
		pair->wrote = cqe->res;
	if (--pair->waiting)
		return false;
	done->slot = (unsigned)(cqe->user_data >> 1);
	done->result = pair->wrote;
	if (pair->wrote >= 0 && pair->synced < 0 && pair->synced != -ECANCELED)
		done->result = pair->synced;
	else if (pair->wrote >= (int64_t)pair->size && pair->synced < 0)
		done->result = -EIO;
	return true;
}

static int wait_first(struct uring_io *u, int64_t wait_ns, struct io_uring_cqe **cqe)
{
	struct __kernel_timespec ts = {.tv_sec = wait_ns / 1000000000, .tv_nsec = wait_ns % 1000000000};
	int rc = io_uring_peek_cqe(&u->ring, cqe);

	if (rc == -EAGAIN && wait_ns > 0)
		rc = io_uring_wait_cqe_timeout(&u->ring, cqe, &ts);
	return rc == -EAGAIN || rc == -ETIME || rc == -EINTR ? 0 : rc;
}

static int reap(struct pp_wal_io *io, int64_t wait_ns, struct pp_wal_io_done *done, int room)
{
	struct uring_io *u = (struct uring_io *)io;
	int n = 0;

	while (n < room) {
		struct io_uring_cqe *cqe = NULL;
		int rc = wait_first(u, n ? 0 : wait_ns, &cqe);

		if (rc)
			return pp_detail(rc, "waiting for the log's io_uring failed: %s", pp_error_text(rc));
		if (!cqe)
			break;
		n += take(u, cqe, &done[n]);
		io_uring_cqe_seen(&u->ring, cqe);
	}
	return n;
}

static void close_ring(struct pp_wal_io *io)
{
	struct uring_io *u = (struct uring_io *)io;

	io_uring_queue_exit(&u->ring);
	free(u);
}

static const struct pp_wal_io_class class = {submit, reap, close_ring};

/* An older kernel answers an unknown flag with EINVAL. */
static int setup(struct uring_io *u)
{
	static const unsigned tries[] = {
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
		IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
		0,
	};
	int rc = -EINVAL;

	for (size_t i = 0; i < sizeof(tries) / sizeof(tries[0]) && rc == -EINVAL; i++)
		rc = io_uring_queue_init(4 * PP_WAL_SLOTS_MAX, &u->ring, tries[i]);
	return rc;
}

static void register_buffers(struct uring_io *u)
{
	struct iovec parts[PP_WAL_SLOTS_MAX];

	for (unsigned i = 0; i < u->config.slots; i++)
		parts[i] = (struct iovec){u->config.buffers + i * u->config.buffer_bytes, u->config.buffer_bytes};
	u->io.fixed = io_uring_register_buffers(&u->ring, parts, u->config.slots) == 0;
}

int pp_wal_io_open_uring(const struct pp_wal_io_config *config, bool fsync, struct pp_wal_io **out)
{
	struct uring_io *u = calloc(1, sizeof(*u));
	int rc;

	if (!u)
		return pp_detail(-ENOMEM, "no memory for the log's io_uring");
	u->io.class = &class;
	u->fsync = fsync;
	u->config = *config;
	rc = setup(u);
	if (rc) {
		free(u);
		return pp_detail(rc, "io_uring is not to be had here: %s", pp_error_text(rc));
	}
	register_buffers(u);
	*out = &u->io;
	return 0;
}
