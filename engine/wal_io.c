/*
 * wal_io.c - the choice among the ways to make a write durable, by measuring each on the log's own file system.
 *
 * A few 4 KiB writes by each backend into a zero-filled scratch file, one in flight, interleaved so that a slow phase of the
 * disk meets all alike. A backend that the kernel or a container forbids is simply not there.
 * A process that dies here leaves a new-* file, which the next open deletes.
 */
#include "engine/wal_io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/file.h"
#include "engine/wal_format.h"
#include "shm/errors.h"

#define ROUNDS 8
#define WARM_UP 2
#define SCRATCH_BLOCKS 16
#define BUDGET_NS 60000000ull
#define WAIT_NS 5000000000ll

uint64_t pp_wal_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

const char *pp_wal_io_name(int backend)
{
	static const char *const names[PP_WAL_BACKENDS] = {
		"auto", "uring_dsync", "uring_fsync", "pwrite_dsync", "pwrite_thread",
	};

	return backend >= 0 && backend < PP_WAL_BACKENDS ? names[backend] : "none";
}

int pp_wal_io_open(struct pp_disk *disk, int backend, const struct pp_wal_io_config *config, struct pp_wal_io **out)
{
	if (disk->open_writer)
		return disk->open_writer(disk, config, out);
	switch (backend) {
	case PP_WAL_URING_DSYNC:
	case PP_WAL_URING_FSYNC:
		return pp_wal_io_open_uring(config, backend == PP_WAL_URING_FSYNC, out);
	case PP_WAL_PWRITE_DSYNC:
		return pp_wal_io_open_pwrite(config, out);
	case PP_WAL_PWRITE_THREAD:
		return pp_wal_io_open_thread(config, out);
	default:
		return pp_detail(-EINVAL, "there is no log backend %d", backend);
	}
}

/* ---- measuring ---- */

struct trial {
	struct pp_wal_io *io[PP_WAL_BACKENDS];
	uint64_t ns[PP_WAL_BACKENDS][ROUNDS];
	int count[PP_WAL_BACKENDS];
	int fd;
	uint8_t *block;
};

static int write_once(struct pp_wal_io *io, const struct pp_wal_io_write *write)
{
	struct pp_wal_io_done done = {0};
	int rc = io->class->submit(io, write);

	while (rc == 0)
		rc = io->class->reap(io, WAIT_NS, &done, 1);
	if (rc < 0)
		return rc;
	return done.result == (int64_t)write->size ? 0 : -EIO;
}

static void run_round(struct trial *t, int round)
{
	for (int b = 1; b < PP_WAL_BACKENDS; b++) {
		struct pp_wal_io_write write = {
			.fd = t->fd,
			.data = t->block,
			.size = PP_WAL_BLOCK,
			.offset = (uint64_t)((round * PP_WAL_BACKENDS + b) % SCRATCH_BLOCKS) * PP_WAL_BLOCK,
		};
		uint64_t begin = pp_wal_now_ns();

		if (!t->io[b])
			continue;
		if (write_once(t->io[b], &write)) {
			t->io[b]->class->close(t->io[b]);
			t->io[b] = NULL;
		} else if (round >= WARM_UP) {
			t->ns[b][t->count[b]++] = pp_wal_now_ns() - begin;
		}
	}
}

static int compare_ns(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void run_trial(struct trial *t, const struct pp_wal_config *wal, uint64_t *estimate_ns)
{
	struct pp_wal_io_config config = {
		.depth = 1, .slots = 1, .buffers = t->block, .buffer_bytes = PP_WAL_BLOCK,
	};
	uint64_t begin = pp_wal_now_ns();

	for (int b = 1; b < PP_WAL_BACKENDS; b++)
		if (wal->backend == PP_WAL_AUTO || wal->backend == b)
			(void)pp_wal_io_open(wal->disk, b, &config, &t->io[b]);
	for (int round = 0; round < ROUNDS; round++)
		if (round <= WARM_UP || pp_wal_now_ns() - begin < BUDGET_NS)
			run_round(t, round);
	for (int b = 1; b < PP_WAL_BACKENDS; b++) {
		if (!t->io[b])
			continue;
		t->io[b]->class->close(t->io[b]);
		qsort(t->ns[b], (size_t)t->count[b], sizeof(t->ns[b][0]), compare_ns);
		estimate_ns[b] = t->ns[b][t->count[b] / 2];
	}
}

static int open_scratch(const struct pp_wal_config *wal, const char *path, int *fd)
{
	int flags = O_RDWR | O_CREAT | O_TRUNC;
	bool direct;
	int rc = wal->no_direct ? pp_file_open(wal->disk, path, flags, 0600, fd) :
				  pp_file_open_direct(wal->disk, path, flags, 0600, fd, &direct);

	if (!rc)
		rc = pp_file_zero(wal->disk, *fd, path, 0, SCRATCH_BLOCKS * PP_WAL_BLOCK);
	return rc ? rc : pp_file_sync(wal->disk, *fd, path);
}

int pp_wal_io_measure(const struct pp_wal_config *wal, uint64_t estimate_ns[PP_WAL_BACKENDS])
{
	struct trial *t;
	char path[PP_WAL_PATH];
	int rc = pp_wal_format_path(path, wal->dir, PP_WAL_FILE_NEW, UINT64_MAX - 1);

	for (int b = 0; b < PP_WAL_BACKENDS; b++)
		estimate_ns[b] = UINT64_MAX;
	/* A disk with a way of its own leaves no choice. */
	if (wal->disk->open_writer) {
		estimate_ns[PP_WAL_PWRITE_DSYNC] = 0;
		return 0;
	}
	t = calloc(1, sizeof(*t));
	if (!t)
		return pp_detail(-ENOMEM, "no memory to measure the log's disk");
	t->fd = -1;
	t->block = aligned_alloc(PP_WAL_BLOCK, PP_WAL_BLOCK);
	if (!t->block)
		rc = -ENOMEM;
	else
		memset(t->block, 0, PP_WAL_BLOCK);
	if (!rc)
		rc = open_scratch(wal, path, &t->fd);
	if (!rc)
		run_trial(t, wal, estimate_ns);
	pp_file_close(wal->disk, t->fd);
	if (t->fd >= 0)
		pp_file_remove(wal->disk, path);
	free(t->block);
	free(t);
	return rc;
}
