/*
 * file.c - the file calls of log and checkpoint (contract: file.h), and below them the machine's own disk (disk.h).
 *
 * Invariants: a transfer is complete or an error; EINTR is never seen by the caller; a failed sync is never repeated (the
 * kernel reports a lost write once and then "succeeds").
 * A process that dies here leaves a partly written file; whoever uses these makes it count only after sync and rename.
 */
#include "engine/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/errors.h"
#include "shm/fault.h"

#define ZERO_CHUNK (1u << 20)
#define BLOCK 4096u

/* ---- the machine's own disk ---- */

static int result(int rc)
{
	return rc < 0 ? -errno : rc;
}

static int real_open(struct pp_disk *disk, const char *path, int flags, unsigned mode)
{
	(void)disk;
	return result(open(path, flags, mode));
}

static void real_close(struct pp_disk *disk, int fd)
{
	(void)disk;
	close(fd);
}

static ssize_t real_read(struct pp_disk *disk, int fd, void *to, size_t size, uint64_t offset)
{
	ssize_t n = pread(fd, to, size, (off_t)offset);

	(void)disk;
	return n < 0 ? -errno : n;
}

static ssize_t real_write(struct pp_disk *disk, int fd, const void *from, size_t size, uint64_t offset)
{
	ssize_t n = pwrite(fd, from, size, (off_t)offset);

	(void)disk;
	return n < 0 ? -errno : n;
}

static int real_reserve(struct pp_disk *disk, int fd, uint64_t size)
{
	(void)disk;
	return result(fallocate(fd, 0, 0, (off_t)size));
}

static int real_size(struct pp_disk *disk, int fd, uint64_t *size_out)
{
	struct stat st;

	(void)disk;
	if (fstat(fd, &st) < 0)
		return -errno;
	*size_out = (uint64_t)st.st_size;
	return 0;
}

static int real_sync(struct pp_disk *disk, int fd)
{
	(void)disk;
	return result(fsync(fd));
}

static void real_advise(struct pp_disk *disk, int fd, uint64_t offset, uint64_t size, enum pp_disk_advice advice)
{
	(void)disk;
	if (advice == PP_DISK_WRITE_SOON)
		sync_file_range(fd, (off_t)offset, (off_t)size, SYNC_FILE_RANGE_WRITE);
	else
		posix_fadvise(fd, (off_t)offset, (off_t)size,
			      advice == PP_DISK_READ_SOON ? POSIX_FADV_WILLNEED : POSIX_FADV_SEQUENTIAL);
}

static int real_rename(struct pp_disk *disk, const char *from, const char *to)
{
	(void)disk;
	return result(rename(from, to));
}

static int real_remove(struct pp_disk *disk, const char *path)
{
	(void)disk;
	return result(unlink(path));
}

static int real_make_dir(struct pp_disk *disk, const char *path, unsigned mode)
{
	(void)disk;
	return result(mkdir(path, mode));
}

static int real_list(struct pp_disk *disk, const char *dir, pp_disk_on_name *on_name, void *ctx)
{
	struct dirent *entry;
	DIR *d = opendir(dir);
	int rc = 0;

	(void)disk;
	if (!d)
		return -errno;
	while (rc == 0 && (errno = 0, entry = readdir(d)))
		rc = on_name(ctx, entry->d_name);
	if (rc == 0)
		rc = -errno;
	closedir(d);
	return rc;
}

struct pp_disk pp_disk_real = {
	.open = real_open,
	.close = real_close,
	.read = real_read,
	.write = real_write,
	.reserve = real_reserve,
	.size = real_size,
	.sync = real_sync,
	.advise = real_advise,
	.rename = real_rename,
	.remove = real_remove,
	.make_dir = real_make_dir,
	.list = real_list,
};

/* ---- on any disk ---- */

/* One sentence for every failed call. */
static int failed(int code, const char *verb, const char *name)
{
	return pp_detail(code, "cannot %s %s: %s", verb, name, pp_error_text(code));
}

int pp_file_open(struct pp_disk *disk, const char *path, int flags, unsigned mode, int *fd_out)
{
	int fd;

	do
		fd = disk->open(disk, path, flags | O_CLOEXEC, mode);
	while (fd == -EINTR);
	if (fd < 0)
		return failed(fd, flags & O_CREAT ? "create" : "open", path);
	*fd_out = fd;
	return 0;
}

int pp_file_open_direct(struct pp_disk *disk, const char *path, int flags, unsigned mode, int *fd_out, bool *direct_out)
{
	int rc = pp_file_open(disk, path, flags | O_DIRECT, mode, fd_out);

	*direct_out = rc == 0;
	if (rc != -EINVAL)
		return rc;
	/* The failed attempt may have created the file: O_EXCL would now refuse it. */
	if (flags & O_EXCL)
		disk->remove(disk, path);
	return pp_file_open(disk, path, flags, mode, fd_out);
}

void pp_file_close(struct pp_disk *disk, int fd)
{
	if (fd >= 0)
		disk->close(disk, fd);
}

int pp_file_read(struct pp_disk *disk, int fd, const char *name, void *buffer, size_t size, uint64_t offset, size_t *got)
{
	uint8_t *to = buffer;
	size_t done = 0;

	while (done < size) {
		ssize_t n = disk->read(disk, fd, to + done, size - done, offset + done);

		if (n == -EINTR)
			continue;
		if (n < 0)
			return failed((int)n, "read", name);
		if (n == 0)
			break;
		done += (size_t)n;
	}
	*got = done;
	return 0;
}

int pp_file_read_exact(struct pp_disk *disk, int fd, const char *name, void *buffer, size_t size, uint64_t offset)
{
	size_t got = 0;
	int rc = pp_file_read(disk, fd, name, buffer, size, offset, &got);

	if (rc)
		return rc;
	if (got < size)
		return pp_detail(PPDB_CORRUPT, "%s ends at offset %llu, %zu bytes too early", name,
				 (unsigned long long)(offset + got), size - got);
	return 0;
}

int pp_file_write(struct pp_disk *disk, int fd, const char *name, const void *buffer, size_t size, uint64_t offset)
{
	const uint8_t *from = buffer;

	while (size > 0) {
		ssize_t n = disk->write(disk, fd, from, size, offset);

		if (n == -EINTR)
			continue;
		if (n <= 0)
			return failed(n == 0 ? -EIO : (int)n, "write", name);
		from += n;
		size -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

int pp_file_reserve(struct pp_disk *disk, int fd, const char *name, uint64_t size)
{
	int rc;

	do
		rc = disk->reserve(disk, fd, size);
	while (rc == -EINTR);
	return rc == 0 || rc == -EOPNOTSUPP || rc == -ENOSYS ? 0 : failed(rc, "reserve space for", name);
}

int pp_file_zero(struct pp_disk *disk, int fd, const char *name, uint64_t offset, uint64_t size)
{
	size_t room = size < ZERO_CHUNK ? (size_t)size : ZERO_CHUNK;
	void *zeros = aligned_alloc(BLOCK, (room + BLOCK - 1) & ~(size_t)(BLOCK - 1));
	int rc = 0;

	if (!zeros)
		return pp_detail(-ENOMEM, "no memory to fill %s with zeros", name);
	memset(zeros, 0, room);
	while (size > 0 && rc == 0) {
		size_t chunk = size < room ? (size_t)size : room;

		rc = pp_file_write(disk, fd, name, zeros, chunk, offset);
		offset += chunk;
		size -= chunk;
	}
	free(zeros);
	return rc;
}

int pp_file_size(struct pp_disk *disk, int fd, const char *name, uint64_t *size_out)
{
	int rc = disk->size(disk, fd, size_out);

	return rc ? failed(rc, "look at", name) : 0;
}

/* EINTR of a sync means that it did not run, so that repeating it is no retry of a failure. */
int pp_file_sync(struct pp_disk *disk, int fd, const char *name)
{
	int rc;

	if (PP_FAULT_ERROR("file.sync.left_out")) /* a store that lies, for `make power` to find out */
		return 0;
	do
		rc = disk->sync(disk, fd);
	while (rc == -EINTR);
	return rc ? failed(rc, "sync", name) : 0;
}

int pp_file_rename(struct pp_disk *disk, const char *from, const char *to)
{
	int rc = disk->rename(disk, from, to);

	return rc ? pp_detail(rc, "cannot rename %s to %s: %s", from, to, pp_error_text(rc)) : 0;
}

int pp_file_remove(struct pp_disk *disk, const char *path)
{
	int rc = disk->remove(disk, path);

	return rc && rc != -ENOENT ? failed(rc, "remove", path) : 0;
}

int pp_file_sync_dir(struct pp_disk *disk, const char *dir)
{
	int fd = -1;
	int rc = pp_file_open(disk, dir, O_RDONLY | O_DIRECTORY, 0, &fd);

	if (rc)
		return rc;
	rc = pp_file_sync(disk, fd, dir);
	/* Some file systems cannot sync a directory and keep it in order themselves. */
	if (rc == -EINVAL)
		rc = 0;
	pp_file_close(disk, fd);
	return rc;
}

/* "a/b" -> "a", "b" -> ".", "/b" -> "/". */
static int parent_of(const char *path, char parent[PATH_MAX])
{
	size_t n = strlen(path);

	while (n > 1 && path[n - 1] == '/')
		n--;
	while (n > 0 && path[n - 1] != '/')
		n--;
	while (n > 1 && path[n - 1] == '/')
		n--;
	if (n >= PATH_MAX)
		return pp_detail(-ENAMETOOLONG, "the path %.200s... is too long", path);
	snprintf(parent, PATH_MAX, "%.*s", n ? (int)n : 1, n ? path : ".");
	return 0;
}

int pp_file_make_dir(struct pp_disk *disk, const char *dir, unsigned mode)
{
	char parent[PATH_MAX];
	int rc = disk->make_dir(disk, dir, mode);

	if (rc && rc != -EEXIST)
		return failed(rc, "create directory", dir);
	rc = parent_of(dir, parent);
	return rc ? rc : pp_file_sync_dir(disk, parent);
}

int pp_file_list(struct pp_disk *disk, const char *dir, pp_disk_on_name *on_name, void *ctx)
{
	int rc = disk->list(disk, dir, on_name, ctx);

	return rc < 0 ? failed(rc, "read directory", dir) : rc;
}
