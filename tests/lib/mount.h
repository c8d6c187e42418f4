/*
 * mount.h - small file systems for a test: in a mount namespace of the test's own process, so that they vanish with it.
 */
#ifndef TESTS_LIB_MOUNT_H
#define TESTS_LIB_MOUNT_H

#include <stdbool.h>

/* Makes the folder and mounts a tmpfs of so many MiB there, or an ext4 in a file beside it. False, said on stderr: not possible
 * here (not root, no loop device). Daemons started from now on see it; other processes do not. */
bool test_mount_tmpfs(const char *folder, unsigned mib);
bool test_mount_ext4(const char *folder, unsigned mib);
/* A hugetlbfs there, and huge pages of 2 MiB for it, which the machine gets back at the end. */
bool test_mount_hugetlb(const char *folder, unsigned mib);
/* Takes all of them away; to be called before test_stores_end, which removes the folders. */
void test_mounts_end(void);
/* A tmpfs gets another size. */
void test_mount_resize(const char *folder, unsigned mib);
/* Read-only from now on. */
void test_mount_readonly(const char *folder);
/* A file of so many MiB that takes real space. */
void test_mount_ballast(const char *folder, unsigned mib);
void test_mount_drop_ballast(const char *folder);

#endif
