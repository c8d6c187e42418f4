/*
 * file.h - thin wrappers around the file calls of log and checkpoint: EINTR and short transfers are handled, and every
 * failure leaves a sentence with the file's name in pp_detail.
 *
 * All return 0, -errno or PPDB_CORRUPT (a file that ends too early). `name` is only used for messages. Nothing here
 * retries a failed sync: after one the caller must stop using the file. May block on the disk; any thread.
 */
#ifndef PP_ENGINE_FILE_H
#define PP_ENGINE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* O_CLOEXEC is added. Directories: add O_DIRECTORY. */
int pp_file_open(const char *path, int flags, unsigned mode, int *fd_out);
/* The same with O_DIRECT, and without where the file system does not know it (tmpfs); *direct_out says which. */
int pp_file_open_direct(const char *path, int flags, unsigned mode, int *fd_out, bool *direct_out);
/* Ignores -1, so that error paths can close unconditionally. */
void pp_file_close(int fd);

/* Reads up to `size` bytes; *got is short only at the end of the file. */
int pp_file_read(int fd, const char *name, void *buffer, size_t size, uint64_t offset, size_t *got);
/* Reads exactly `size` bytes; PPDB_CORRUPT when the file ends before. */
int pp_file_read_exact(int fd, const char *name, void *buffer, size_t size, uint64_t offset);
int pp_file_write(int fd, const char *name, const void *buffer, size_t size, uint64_t offset);
/* Appends at the descriptor's own position. `parts` is not changed. */
int pp_file_append(int fd, const char *name, const struct iovec *parts, int n);
/* Reserves blocks (fallocate); a file system that cannot is no error. */
int pp_file_reserve(int fd, const char *name, uint64_t size);
/* Writes zeros over [offset, offset + size); aligned to 4096 for O_DIRECT. */
int pp_file_zero(int fd, const char *name, uint64_t offset, uint64_t size);
int pp_file_size(int fd, const char *name, uint64_t *size_out);
int pp_file_truncate(int fd, const char *name, uint64_t size);

/* Data and metadata / data only. A failure is final: the kernel reports it once and forgets. */
int pp_file_sync(int fd, const char *name);
int pp_file_datasync(int fd, const char *name);

/* Replaces `to`. Durable only after pp_file_sync_dir of the directory. */
int pp_file_rename(const char *from, const char *to);
/* A missing file is no error. */
int pp_file_remove(const char *path);
int pp_file_sync_dir(const char *dir);
/* Creates one level; an existing directory is no error. */
int pp_file_make_dir(const char *dir, unsigned mode);
bool pp_file_exists(const char *path);

/* Writes `path` as a whole: path.tmp, sync, rename, directory sync. A crash leaves the old or the new file. */
int pp_file_replace(const char *dir, const char *path, const void *data, size_t size, unsigned mode);

#endif
