/*
 * conf_store_dir.c - lock and identity of a data directory.
 *
 *   LOCK    open file description lock, exclusive; holds the pid of the daemon as text, for messages only
 *   STORE   "ppdb store\nformat 1\nid 0123456789abcdef\nsum 0123456789abcdef\n"; sum = XXH3 of what stands before "sum"
 *
 *   UNFINISHED   in a backup that was not completed: nothing is started on it
 *
 * STORE is written once, as a temporary file that is synced and renamed, then the directory is synced: a crash leaves none or a
 * whole one. A directory with a log but no STORE is not made a new store: something was lost there.
 */
#include "tools/store_dir.h"

#include "shm/clock.h"
#include "shm/errors.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>
#include <xxhash.h>

#define FORMAT 1

/* ---- lock */

static long holder(int fd)
{
	char text[24] = "";
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	return n > 0 ? atol(text) : 0;
}

static int try_lock(int fd, unsigned wait_ms)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	struct timespec nap = pp_timespec(20 * PP_NS_PER_MS);
	uint64_t limit = pp_deadline_ns(wait_ms * PP_NS_PER_MS);

	while (fcntl(fd, F_OFD_SETLK, &lock)) {
		if (errno != EAGAIN && errno != EACCES && errno != EINTR)
			return -errno;
		if (pp_now_ns() >= limit)
			return -EBUSY;
		nanosleep(&nap, NULL);
	}
	return 0;
}

int pp_store_lock(const char *path, unsigned wait_ms, int *out)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600), rc, n;
	char text[24], who[32] = "";

	if (fd < 0)
		return pp_detail(-errno, "cannot open the lock file %s: %s", path, strerror(errno));
	rc = try_lock(fd, wait_ms);
	if (rc == -EBUSY && holder(fd))
		snprintf(who, sizeof(who), " (pid %ld)", holder(fd));
	if (rc == -EBUSY)
		pp_detail(rc, "another ppdbd%s holds %s: stop it, or choose another name or directory", who, path);
	else if (rc)
		pp_detail(rc, "cannot lock %s: %s", path, strerror(-rc));
	if (rc) {
		close(fd);
		return rc;
	}
	n = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
	/* Over what is there, which takes no space. A full disk, or hugetlbfs, which takes no writes, goes without: the text is for people. */
	if ((pwrite(fd, text, (size_t)n, 0) != n || ftruncate(fd, n)) && errno != ENOSPC && errno != EINVAL) {
		rc = pp_detail(-errno, "cannot write the lock file %s: %s", path, strerror(errno));
		close(fd);
		return rc;
	}
	*out = fd;
	return 0;
}

/* ---- identity */

static int format(char *text, size_t cap, uint64_t id)
{
	int n = snprintf(text, cap, "ppdb store\nformat %d\nid %016llx\n", FORMAT, (unsigned long long)id);

	return n + snprintf(text + n, cap - (size_t)n, "sum %016llx\n", (unsigned long long)XXH3_64bits(text, (size_t)n));
}

static int parse(const char *path, const char *text, uint64_t *id)
{
	unsigned long long got;
	char again[128];
	int version;

	if (sscanf(text, "ppdb store\nformat %d", &version) != 1)
		return pp_detail(PPDB_CORRUPT, "%s is damaged: it does not begin as the identity of a store", path);
	if (version != FORMAT)
		return pp_detail(PPDB_LAYOUT, "%s has format %d, this program knows %d: use the version of ppdb that wrote it",
			path, version, FORMAT);
	if (sscanf(text, "ppdb store\nformat %*d\nid %16llx", &got) != 1)
		return pp_detail(PPDB_CORRUPT, "%s is damaged: no id", path);
	format(again, sizeof(again), got);
	if (strcmp(again, text))
		return pp_detail(PPDB_CORRUPT, "%s is damaged: its checksum does not fit", path);
	*id = got;
	return 0;
}

static int write_whole(int dirfd, const char *path, const char *text, size_t n)
{
	int fd = openat(dirfd, "STORE.tmp", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), rc = 0;

	if (fd < 0 || write(fd, text, n) != (ssize_t)n || fsync(fd) || renameat(dirfd, "STORE.tmp", dirfd, "STORE") ||
		fsync(dirfd))
		rc = pp_detail(errno ? -errno : -EIO, "cannot write %s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return rc;
}

/* A log or a checkpoint means that a store was here. Other files are none of our business. */
static bool is_fresh(int dirfd)
{
	return faccessat(dirfd, "wal", F_OK, AT_SYMLINK_NOFOLLOW) && faccessat(dirfd, "checkpoint", F_OK, AT_SYMLINK_NOFOLLOW);
}

static int make(int dirfd, const char *path, uint64_t *id)
{
	char text[128];
	int n;

	do {
		if (getrandom(id, sizeof(*id), 0) != sizeof(*id))
			return pp_detail(-errno, "no random numbers: %s", strerror(errno));
	} while (!*id);
	n = format(text, sizeof(text), *id);
	return write_whole(dirfd, path, text, (size_t)n);
}

static int open_at(int dirfd, const char *dir, bool create, uint64_t *id)
{
	char path[PATH_MAX], text[128];
	int fd = openat(dirfd, "STORE", O_RDONLY | O_CLOEXEC);
	ssize_t n;

	snprintf(path, sizeof(path), "%s/STORE", dir);
	if (!faccessat(dirfd, "UNFINISHED", F_OK, AT_SYMLINK_NOFOLLOW)) {
		if (fd >= 0)
			close(fd);
		return pp_detail(PPDB_CORRUPT, "%s is a backup that was not finished: remove it and make another", dir);
	}
	if (fd < 0 && errno == ENOENT) {
		if (!is_fresh(dirfd))
			return pp_detail(PPDB_CORRUPT, "%s is missing, but there is a log or a checkpoint: restore the file, or "
				"choose an empty directory", path);
		return create ? make(dirfd, path, id) : pp_detail(-ENOENT, "there is no store in %s", dir);
	}
	if (fd < 0)
		return pp_detail(-errno, "cannot read %s: %s", path, strerror(errno));
	n = pread(fd, text, sizeof(text) - 1, 0);
	close(fd);
	if (n < 0)
		return pp_detail(-errno, "cannot read %s: %s", path, strerror(errno));
	text[n] = '\0';
	return parse(path, text, id);
}

int pp_store_open(const char *dir, bool create, uint64_t *id)
{
	int dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;

	if (dirfd < 0)
		return pp_detail(-errno, "cannot open the data directory %s: %s", dir, strerror(errno));
	rc = open_at(dirfd, dir, create, id);
	close(dirfd);
	return rc;
}

/* ---- backups */

int pp_store_unfinished(const char *dir, bool yes)
{
	int dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd = -1, rc = dirfd < 0 ? -errno : 0;

	if (!rc && yes) {
		fd = openat(dirfd, "UNFINISHED", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
		rc = fd < 0 || fsync(fd) ? -errno : 0;
	} else if (!rc && unlinkat(dirfd, "UNFINISHED", 0)) {
		rc = -errno;
	}
	if (!rc && fsync(dirfd))
		rc = -errno;
	if (fd >= 0)
		close(fd);
	if (dirfd >= 0)
		close(dirfd);
	return rc ? pp_detail(rc, "cannot write to %s: %s", dir, strerror(-rc)) : 0;
}

int pp_store_copy_identity(const char *from, const char *to)
{
	char path[PATH_MAX], text[128];
	int dirfd, rc;
	uint64_t id;

	rc = pp_store_open(from, false, &id);
	if (rc)
		return rc;
	dirfd = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dirfd < 0)
		return pp_detail(-errno, "cannot open %s: %s", to, strerror(errno));
	snprintf(path, sizeof(path), "%s/STORE", to);
	rc = write_whole(dirfd, path, text, (size_t)format(text, sizeof(text), id));
	close(dirfd);
	return rc;
}
