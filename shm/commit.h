/*
 * commit.h - backs ranges of the region's file with memory so that touching them can never fail.
 */
#ifndef PP_SHM_COMMIT_H
#define PP_SHM_COMMIT_H

#include "shm/layout.h"

/*
 * Backs [offset, offset + bytes) of `fd`, which is mapped writable at base + offset; both are multiples of 2 MiB, base too. The
 * file grows as needed. kind PP_MEM_THP: tries huge pages; *huge (may be NULL) is raised by the number of 2 MiB pieces that
 * became one. Any number of processes may commit the same range at once, also while others use it. 0, -ENOSPC (the file system or
 * the huge page pool is full), -errno. Crash: some of the range is backed; committing it again goes on from there.
 */
/* Pages of a piece of which others are backed: small ones. */
int pp_commit_part(int fd, uint8_t *base, uint64_t offset, uint64_t bytes);
int pp_commit(int fd, uint8_t *base, uint64_t offset, uint64_t bytes, enum pp_page_kind kind, uint64_t *huge);

#endif
