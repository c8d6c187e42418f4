/*
 * wal_io.h - one write at a time made durable, several in flight: the interface over io_uring and pwritev2. Private to wal_*.
 *
 * All calls from one thread, the writer. A completion means: these bytes are durable (or short, or an error); they come in any
 * order. The buffer of a submitted write must stay until its completion was reaped.
 */
#ifndef PP_ENGINE_WAL_IO_H
#define PP_ENGINE_WAL_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/wal.h"

#define PP_WAL_BACKENDS 5          /* enum pp_wal_backend, AUTO included */
#define PP_WAL_DEPTH_LIMIT 8u
#define PP_WAL_SLOTS_MAX 10u

struct pp_wal_io_config {
	unsigned depth;
	unsigned slots;            /* a write names the slot, so its buffer */
	uint8_t *buffers;          /* slot i: buffers + i * buffer_bytes */
	size_t buffer_bytes;
};

struct pp_wal_io_write {
	unsigned slot;
	int fd;
	const void *data;          /* inside the slot's buffer */
	size_t size;
	uint64_t offset;
};

struct pp_wal_io_done {
	unsigned slot;
	int64_t result;            /* bytes, or -errno */
};

struct pp_wal_io;
struct pp_wal_io_class {
	int (*submit)(struct pp_wal_io *io, const struct pp_wal_io_write *write);
	int (*reap)(struct pp_wal_io *io, int64_t wait_ns, struct pp_wal_io_done *done, int room);
	void (*close)(struct pp_wal_io *io);
};
struct pp_wal_io {
	const struct pp_wal_io_class *class;
	bool fixed;                /* buffers are registered */
};

int pp_wal_io_open_uring(const struct pp_wal_io_config *config, bool fsync, struct pp_wal_io **out);
int pp_wal_io_open_pwrite(const struct pp_wal_io_config *config, struct pp_wal_io **out);
int pp_wal_io_open_thread(const struct pp_wal_io_config *config, struct pp_wal_io **out);

/* Any backend but AUTO; the disk's own way if it has one. -EPERM, -ENOSYS, ...: not to be had here. */
int pp_wal_io_open(struct pp_disk *disk, int backend, const struct pp_wal_io_config *config, struct pp_wal_io **out);
const char *pp_wal_io_name(int backend);

/* pwritev2 with RWF_DSYNC, or pwrite + fdatasync on a kernel or file system without it. Bytes written or -errno. */
int64_t pp_wal_io_write_now(const struct pp_wal_io_write *write);

/* Median nanoseconds of one durable 4 KiB write by each backend, in a scratch file of the log's directory; UINT64_MAX:
 * not to be had, or not measured because the config (unless AUTO) names another. About 10 ms. */
int pp_wal_io_measure(const struct pp_wal_config *config, uint64_t estimate_ns[PP_WAL_BACKENDS]);

uint64_t pp_wal_now_ns(void);

#endif
