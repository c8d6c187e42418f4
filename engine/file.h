/*
 * file.h - the file calls of log and checkpoint on a disk (disk.h): EINTR and short transfers are handled, and every failure
 * leaves a sentence with the file's name in pp_detail.
 *
 * All return 0, -errno or PPDB_CORRUPT (a file that ends too early). `name` is only used for messages. Nothing here
 * retries a failed sync: after one the caller must stop using the file. May block on the disk; any thread.
 */
#ifndef PP_ENGINE_FILE_H
#define PP_ENGINE_FILE_H

#include <stdbool.h>

#include "engine/disk.h"

/* O_CLOEXEC is added. Directories: add O_DIRECTORY. */
int pp_file_open(struct pp_disk *, const char *path, int flags, unsigned mode, int *fd_out);
/* The same with O_DIRECT, and without where the file system does not know it (tmpfs); *direct_out says which. */
int pp_file_open_direct(struct pp_disk *, const char *path, int flags, unsigned mode, int *fd_out, bool *direct_out);
/* Ignores -1, so that error paths can close unconditionally. */
void pp_file_close(struct pp_disk *, int fd);

/* Reads up to `size` bytes; *got is short only at the end of the file. */
int pp_file_read(struct pp_disk *, int fd, const char *name, void *buffer, size_t size, uint64_t offset, size_t *got);
/* Reads exactly `size` bytes; PPDB_CORRUPT when the file ends before. */
int pp_file_read_exact(struct pp_disk *, int fd, const char *name, void *buffer, size_t size, uint64_t offset);
int pp_file_write(struct pp_disk *, int fd, const char *name, const void *buffer, size_t size, uint64_t offset);
/* Reserves blocks (fallocate); a file system that cannot is no error. */
int pp_file_reserve(struct pp_disk *, int fd, const char *name, uint64_t size);
/* Writes zeros over [offset, offset + size); aligned to 4096 for O_DIRECT. */
int pp_file_zero(struct pp_disk *, int fd, const char *name, uint64_t offset, uint64_t size);
int pp_file_size(struct pp_disk *, int fd, const char *name, uint64_t *size_out);
/* Data and metadata. A failure is final: the kernel reports it once and forgets. */
int pp_file_sync(struct pp_disk *, int fd, const char *name);

/* Replaces `to`. Durable only after pp_file_sync_dir of the directory. */
int pp_file_rename(struct pp_disk *, const char *from, const char *to);
/* A missing file is no error. Durable only after pp_file_sync_dir. */
int pp_file_remove(struct pp_disk *, const char *path);
int pp_file_sync_dir(struct pp_disk *, const char *dir);
/* Creates one level, durable with its parent; so too for a directory that is there, since whoever made it may have died. */
int pp_file_make_dir(struct pp_disk *, const char *dir, unsigned mode);
int pp_file_list(struct pp_disk *, const char *dir, pp_disk_on_name *on_name, void *ctx);

#endif
