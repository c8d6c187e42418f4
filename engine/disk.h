/*
 * disk.h - all that log and checkpoint ask of the operating system, as one table of calls: chosen once, passed in, so that a
 * test can put a simulated disk below the same code.
 *
 * Each call is one system call: no retry and no message (those are file.c's). Results are counts, 0 or -errno. Any thread.
 */
#ifndef PP_ENGINE_DISK_H
#define PP_ENGINE_DISK_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct pp_wal_io;
struct pp_wal_io_config;

/* Called for each name; non-zero stops and is returned. */
typedef int pp_disk_on_name(void *ctx, const char *name);

enum pp_disk_advice { PP_DISK_SEQUENTIAL, PP_DISK_READ_SOON, PP_DISK_WRITE_SOON };

struct pp_disk {
	int (*open)(struct pp_disk *, const char *path, int flags, unsigned mode); /* a descriptor; O_DIRECTORY too */
	void (*close)(struct pp_disk *, int fd);
	ssize_t (*read)(struct pp_disk *, int fd, void *to, size_t size, uint64_t offset);
	ssize_t (*write)(struct pp_disk *, int fd, const void *from, size_t size, uint64_t offset);
	int (*reserve)(struct pp_disk *, int fd, uint64_t size);
	int (*size)(struct pp_disk *, int fd, uint64_t *size_out);
	int (*sync)(struct pp_disk *, int fd);
	void (*advise)(struct pp_disk *, int fd, uint64_t offset, uint64_t size, enum pp_disk_advice);

	int (*rename)(struct pp_disk *, const char *from, const char *to);
	int (*remove)(struct pp_disk *, const char *path);
	int (*make_dir)(struct pp_disk *, const char *path, unsigned mode);
	int (*list)(struct pp_disk *, const char *dir, pp_disk_on_name *on_name, void *ctx); /* files and directories in `dir` */

	/* Durable writes of the log, several in flight (wal_io.h). NULL: the ways of wal_io.c, on the descriptors above. */
	int (*open_writer)(struct pp_disk *, const struct pp_wal_io_config *, struct pp_wal_io **out);
};

/* The machine's own (file.c). */
extern struct pp_disk pp_disk_real;

#endif
