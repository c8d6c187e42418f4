/*
 * mount.c - small file systems for a test (see mount.h).
 */
#include "tests/lib/mount.h"

#include "tests/lib/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOUNTS 8

static char mounted[MOUNTS][128];
static unsigned mounts;
static int huge_added;

static void note(const char *folder)
{
	test_require(mounts < MOUNTS && strlen(folder) < sizeof(mounted[0]), "%s: too many mounts, or too long", folder);
	strcpy(mounted[mounts++], folder);
}

static unsigned huge_pages(int change)
{
	const char *path = "/proc/sys/vm/nr_hugepages";
	FILE *f = fopen(path, change ? "r+" : "r");
	unsigned n = 0;

	if (f && fscanf(f, "%u", &n) == 1 && change) {
		rewind(f);
		fprintf(f, "%d", (int)n + change);
	}
	if (f)
		fclose(f);
	return n;
}

void test_mounts_end(void)
{
	while (mounts)
		umount2(mounted[--mounts], MNT_DETACH);
	if (huge_added)
		huge_pages(-huge_added);
	huge_added = 0;
}

static bool own_namespace(void)
{
	static bool done;

	if (done)
		return true;
	if (geteuid() || unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)) {
		fprintf(stderr, "skipped: no mounts here (%s)\n", geteuid() ? "not root" : strerror(errno));
		return false;
	}
	done = true;
	return true;
}

bool test_mount_tmpfs(const char *folder, unsigned mib)
{
	char options[32];

	if (!own_namespace())
		return false;
	test_require(!mkdir(folder, 0700) || errno == EEXIST, "%s: %s", folder, strerror(errno));
	snprintf(options, sizeof(options), "size=%uM,mode=0700", mib);
	if (!mount("none", folder, "tmpfs", 0, options)) {
		note(folder);
		return true;
	}
	fprintf(stderr, "skipped: no tmpfs at %s: %s\n", folder, strerror(errno));
	return false;
}

bool test_mount_ext4(const char *folder, unsigned mib)
{
	char line[512];

	if (!own_namespace())
		return false;
	test_require(!mkdir(folder, 0700) || errno == EEXIST, "%s: %s", folder, strerror(errno));
	snprintf(line, sizeof(line), "truncate -s %uM '%s.img' && mkfs.ext4 -q -F -m 0 '%s.img' && mount -o loop '%s.img' '%s'", mib, folder,
		folder, folder, folder);
	if (!system(line)) {
		note(folder);
		return true;
	}
	fprintf(stderr, "skipped: no ext4 on a loop device at %s\n", folder);
	return false;
}

bool test_mount_hugetlb(const char *folder, unsigned mib)
{
	char options[64];
	unsigned before = huge_pages(0);

	if (!own_namespace())
		return false;
	test_require(!mkdir(folder, 0700) || errno == EEXIST, "%s: %s", folder, strerror(errno));
	huge_pages((int)mib / 2);
	huge_added = (int)(huge_pages(0) - before);
	/* min_size: whatever others do to the pool meanwhile, these pages are ours */
	snprintf(options, sizeof(options), "pagesize=2M,mode=0700,min_size=%uM", mib);
	if (huge_added > 0 && !mount("none", folder, "hugetlbfs", 0, options)) {
		note(folder);
		return true;
	}
	fprintf(stderr, "skipped: no %u MiB of huge pages at %s\n", mib, folder);
	return false;
}

void test_mount_resize(const char *folder, unsigned mib)
{
	char options[32];

	snprintf(options, sizeof(options), "size=%uM", mib);
	test_require(!mount(NULL, folder, NULL, MS_REMOUNT, options), "%s: %s", folder, strerror(errno));
}

void test_mount_readonly(const char *folder)
{
	test_require(!mount(NULL, folder, NULL, MS_REMOUNT | MS_RDONLY, NULL), "%s: %s", folder, strerror(errno));
}

void test_mount_ballast(const char *folder, unsigned mib)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/ballast", folder);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	test_require(fd >= 0 && !fallocate(fd, 0, 0, (off_t)mib << 20), "%s: %s", path, strerror(errno));
	close(fd);
}

void test_mount_drop_ballast(const char *folder)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/ballast", folder);
	test_require(!unlink(path), "%s: %s", path, strerror(errno));
}
