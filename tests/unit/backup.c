/*
 * backup.c (test) - a copy that has to begin anew finds its place empty again.
 */
#include "engine/backup.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

Test(backup_files, clear)
{
	static const char *const names[] = {"wal/wal-0000000000000001.log", "checkpoint/MANIFEST", "checkpoint/checkpoint-0000000000000001-000"};
	char dir[] = "/tmp/ppdb-backup-XXXXXX", path[200];

	cr_assert(mkdtemp(dir));
	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, i ? "wal" : "checkpoint");
		cr_assert_eq(mkdir(path, 0700), 0);
	}
	for (int i = 0; i < 3; i++) {
		int fd;

		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		fd = open(path, O_WRONLY | O_CREAT, 0600);
		cr_assert(fd >= 0);
		close(fd);
	}
	cr_assert_eq(pp_backup_clear(dir), 0);
	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, i ? "wal" : "checkpoint");
		cr_assert_eq(rmdir(path), 0, "%s is not empty", path);
	}
	rmdir(dir);
}
