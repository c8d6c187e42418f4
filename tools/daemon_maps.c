/*
 * daemon_maps.c - does a read-only client that has not reconnected still exist?
 *
 * After a warm start it counts as reading everything until it reconnects. If its handle was detached while no daemon was there to hear it,
 * it never does, though the process lives on. Its control region tells: the library maps it after the arena and unmaps it
 * after the arena, so when /proc/PID/maps does not name that file any more, nothing of the handle reads. A client that
 * received the descriptors from a daemon that died looks at the socket after it has mapped both (client/link.c answer), so
 * it does not slip through before it mapped.
 */
#include "tools/daemon.h"

#include <sys/mman.h>
#include <sys/sysmacros.h>

static bool names(const char *line, uint64_t dev, uint64_t ino)
{
	unsigned long long inode;
	unsigned major, minor;

	return sscanf(line, "%*x-%*x %*s %*x %x:%x %llu", &major, &minor, &inode) == 3 && inode == ino && makedev(major, minor) == dev;
}

/* Is the file mapped? -errno: it cannot be told. */
static int find(const char *path, uint64_t dev, uint64_t ino)
{
	FILE *f = fopen(path, "re");
	char line[PATH_MAX + 128];
	bool found = false;

	if (!f)
		return -errno;
	while (!found && fgets(line, sizeof(line), f))
		found = names(line, dev, ino);
	if (!found && (ferror(f) || !feof(f)))
		found = true;
	fclose(f);
	return found;
}

/* Do the numbers of stat stand in maps on this kernel? Asked of a memfd of our own, as the control regions are. */
static bool numbers_agree(void)
{
	static int verdict = -1;
	struct stat st;
	void *at;
	int fd;

	if (verdict >= 0)
		return verdict;
	fd = memfd_create("ppdb-maps", MFD_CLOEXEC);
	if (fd < 0)
		return false;
	at = !ftruncate(fd, 4096) && !fstat(fd, &st) ? mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
	verdict = at != MAP_FAILED && find("/proc/self/maps", st.st_dev, st.st_ino) == 1;
	if (at != MAP_FAILED)
		munmap(at, 4096);
	close(fd);
	return verdict;
}

bool pp_maps_unmapped(pid_t pid, uint64_t dev, uint64_t ino)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%ld/maps", (long)pid);
	return ino && numbers_agree() && find(path, dev, ino) == 0;
}
