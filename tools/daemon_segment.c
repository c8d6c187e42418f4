/*
 * daemon_segment.c - hands out the log's files, read-only, to clients that follow the log (client/feed.c) and cannot open them.
 *
 * Who may read the store may read its log: the same data, and what was there before (docs/security.md). A file may be recycled while a client
 * has it open; it notices by what it reads. Direct where the file system knows it: the writer bypasses the page cache too.
 * Nothing is kept here; a daemon that dies leaves clients with the descriptors they have.
 */
#include "tools/daemon.h"

#include "engine/follow.h"
#include "engine/wal_format.h"

#include <stdlib.h>

static int none(uint64_t number)
{
	return pp_detail(-ENOENT, "the log has no segment %016llx", (unsigned long long)number);
}

/* The segment's number among those that there are. */
static int pick(const char *dir, uint64_t number, uint64_t which, uint64_t *found)
{
	uint64_t *numbers = NULL;
	size_t count = 0;
	int rc = pp_wal_format_list(&pp_disk_real, dir, PP_WAL_FILE_LOG, &numbers, &count);

	if (!rc) {
		rc = none(number);
		for (size_t i = 0; i < count; i++) {
			if (which == PP_FOLLOW_AT_OR_AFTER ? numbers[i] < number : numbers[i] > number)
				continue;
			*found = numbers[i];
			rc = 0;
			if (which == PP_FOLLOW_AT_OR_AFTER)
				break;
		}
	}
	free(numbers);
	return rc;
}

static int open_one(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_DIRECT);

	return fd < 0 && errno == EINVAL ? open(path, O_RDONLY | O_CLOEXEC) : fd;
}

int pp_segment_open(struct pp_daemon *d, const struct pp_request *r, uint64_t *found, int *fd)
{
	char dir[PP_WAL_PATH], path[PP_WAL_PATH];
	int rc = 0;

	if (!pp_daemon_region(d))
		return pp_detail(PPDB_DAEMON_GONE, "ppdbd '%s' is starting", d->set.name);
	if (r->arg[1] > PP_FOLLOW_AT_OR_BEFORE)
		return pp_detail(-EINVAL, "malformed request");
	if ((size_t)snprintf(dir, sizeof(dir), "%s/wal", d->set.data_dir) >= sizeof(dir))
		return pp_detail(-ENAMETOOLONG, "the data directory's name is too long");
	*found = r->arg[0];
	if (r->arg[1] != PP_FOLLOW_EXACT)
		rc = pick(dir, r->arg[0], r->arg[1], found);
	if (!rc)
		rc = pp_wal_format_path(path, dir, PP_WAL_FILE_LOG, *found);
	if (rc)
		return rc;
	*fd = open_one(path);
	if (*fd >= 0)
		return 0;
	return errno == ENOENT ? none(*found) : pp_detail(-errno, "cannot open %s: %s", path, strerror(errno));
}
