/*
 * file.c - thin wrappers around the file calls of log and checkpoint (contract: file.h).
 *
 * Invariants: a transfer is complete or an error; EINTR is never seen by the caller; a failed sync is never repeated (the
 * kernel reports a lost write once and then "succeeds").
 * A process that dies here leaves a partly written file; whoever uses these makes it count only after sync and rename.
 */
#include "engine/file.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/errors.h"

#define ZERO_CHUNK (1u << 20)
#define BLOCK 4096u

/* One sentence for every failed call; errno is read before anything can change it. */
static int failed(const char *verb, const char *name)
{
	int code = errno ? -errno : -EIO;

	return pp_detail(code, "cannot %s %s: %s", verb, name, pp_error_text(code));
}

int pp_file_open(const char *path, int flags, unsigned mode, int *fd_out)
{
	int fd;

	do
		fd = open(path, flags | O_CLOEXEC, mode);
	while (fd < 0 && errno == EINTR);
	if (fd < 0)
		return failed(flags & O_CREAT ? "create" : "open", path);
	*fd_out = fd;
	return 0;
}

int pp_file_open_direct(const char *path, int flags, unsigned mode, int *fd_out, bool *direct_out)
{
	int rc = pp_file_open(path, flags | O_DIRECT, mode, fd_out);

	*direct_out = rc == 0;
	if (rc != -EINVAL)
		return rc;
	/* The failed attempt may have created the file: O_EXCL would now refuse it. */
	if (flags & O_EXCL)
		unlink(path);
	return pp_file_open(path, flags, mode, fd_out);
}

void pp_file_close(int fd)
{
	if (fd >= 0)
		close(fd);
}

int pp_file_read(int fd, const char *name, void *buffer, size_t size, uint64_t offset, size_t *got)
{
	uint8_t *to = buffer;
	size_t done = 0;

	while (done < size) {
		ssize_t n = pread(fd, to + done, size - done, (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return failed("read", name);
		if (n == 0)
			break;
		done += (size_t)n;
	}
	*got = done;
	return 0;
}

int pp_file_read_exact(int fd, const char *name, void *buffer, size_t size, uint64_t offset)
{
	size_t got = 0;
	int rc = pp_file_read(fd, name, buffer, size, offset, &got);

	if (rc)
		return rc;
	if (got < size)
		return pp_detail(PPDB_CORRUPT, "%s ends at offset %llu, %zu bytes too early", name,
				 (unsigned long long)(offset + got), size - got);
	return 0;
}

int pp_file_write(int fd, const char *name, const void *buffer, size_t size, uint64_t offset)
{
	const uint8_t *from = buffer;

	while (size > 0) {
		ssize_t n = pwrite(fd, from, size, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			errno = n == 0 ? EIO : errno;
			return failed("write", name);
		}
		from += n;
		size -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

static int append_one(int fd, const char *name, const uint8_t *from, size_t size)
{
	while (size > 0) {
		ssize_t n = write(fd, from, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			errno = n == 0 ? EIO : errno;
			return failed("write", name);
		}
		from += n;
		size -= (size_t)n;
	}
	return 0;
}

/* One writev in the usual case; the rest of a short one part by part, so that the caller's array stays as it is. */
int pp_file_append(int fd, const char *name, const struct iovec *parts, int n)
{
	size_t done = 0;
	ssize_t wrote;

	do
		wrote = n <= IOV_MAX ? writev(fd, parts, n) : 0;
	while (wrote < 0 && errno == EINTR);
	if (wrote < 0)
		return failed("write", name);
	done = (size_t)wrote;
	for (int i = 0; i < n; i++) {
		size_t skip = done < parts[i].iov_len ? done : parts[i].iov_len;
		int rc = append_one(fd, name, (const uint8_t *)parts[i].iov_base + skip, parts[i].iov_len - skip);

		done -= skip;
		if (rc)
			return rc;
	}
	return 0;
}

int pp_file_reserve(int fd, const char *name, uint64_t size)
{
	int rc;

	do
		rc = fallocate(fd, 0, 0, (off_t)size);
	while (rc < 0 && errno == EINTR);
	if (rc < 0 && errno != EOPNOTSUPP && errno != ENOSYS)
		return failed("reserve space for", name);
	return 0;
}

int pp_file_zero(int fd, const char *name, uint64_t offset, uint64_t size)
{
	void *zeros = aligned_alloc(BLOCK, ZERO_CHUNK);
	int rc = 0;

	if (!zeros)
		return pp_detail(-ENOMEM, "no memory to fill %s with zeros", name);
	memset(zeros, 0, ZERO_CHUNK);
	while (size > 0 && rc == 0) {
		size_t chunk = size < ZERO_CHUNK ? (size_t)size : ZERO_CHUNK;

		rc = pp_file_write(fd, name, zeros, chunk, offset);
		offset += chunk;
		size -= chunk;
	}
	free(zeros);
	return rc;
}

int pp_file_size(int fd, const char *name, uint64_t *size_out)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return failed("look at", name);
	*size_out = (uint64_t)st.st_size;
	return 0;
}

int pp_file_truncate(int fd, const char *name, uint64_t size)
{
	int rc;

	do
		rc = ftruncate(fd, (off_t)size);
	while (rc < 0 && errno == EINTR);
	return rc < 0 ? failed("set the size of", name) : 0;
}

/* EINTR of a sync means that it did not run, so that repeating it is no retry of a failure. */
int pp_file_sync(int fd, const char *name)
{
	int rc;

	do
		rc = fsync(fd);
	while (rc < 0 && errno == EINTR);
	return rc < 0 ? failed("sync", name) : 0;
}

int pp_file_datasync(int fd, const char *name)
{
	int rc;

	do
		rc = fdatasync(fd);
	while (rc < 0 && errno == EINTR);
	return rc < 0 ? failed("sync", name) : 0;
}

int pp_file_rename(const char *from, const char *to)
{
	int code;

	if (rename(from, to) == 0)
		return 0;
	code = -errno;
	return pp_detail(code, "cannot rename %s to %s: %s", from, to, pp_error_text(code));
}

int pp_file_remove(const char *path)
{
	return unlink(path) < 0 && errno != ENOENT ? failed("remove", path) : 0;
}

int pp_file_sync_dir(const char *dir)
{
	int fd = -1;
	int rc = pp_file_open(dir, O_RDONLY | O_DIRECTORY, 0, &fd);

	if (rc)
		return rc;
	rc = pp_file_sync(fd, dir);
	/* Some file systems cannot sync a directory and keep it in order themselves. */
	if (rc == -EINVAL)
		rc = 0;
	pp_file_close(fd);
	return rc;
}

int pp_file_make_dir(const char *dir, unsigned mode)
{
	return mkdir(dir, mode) < 0 && errno != EEXIST ? failed("create directory", dir) : 0;
}

bool pp_file_exists(const char *path)
{
	return access(path, F_OK) == 0;
}

int pp_file_replace(const char *dir, const char *path, const void *data, size_t size, unsigned mode)
{
	char tmp[PATH_MAX];
	int fd = -1;
	int rc;

	if ((size_t)snprintf(tmp, sizeof(tmp), "%s.tmp", path) >= sizeof(tmp))
		return pp_detail(-ENAMETOOLONG, "the path %s is too long", path);
	rc = pp_file_open(tmp, O_WRONLY | O_CREAT | O_TRUNC, mode, &fd);
	if (rc)
		return rc;
	rc = pp_file_write(fd, tmp, data, size, 0);
	if (!rc)
		rc = pp_file_sync(fd, tmp);
	pp_file_close(fd);
	if (!rc)
		rc = pp_file_rename(tmp, path);
	if (!rc)
		return pp_file_sync_dir(dir);
	unlink(tmp);
	return rc;
}
