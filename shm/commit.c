/*
 * commit.c - backs ranges of the region's file with memory, huge pages when it can, before anybody is given them.
 *
 * A piece of 2 MiB is committed in three steps, each idempotent and safe against others doing the same:
 *  1. fallocate of its last 4 KiB, which makes the file long enough. Never ftruncate: a slow process would cut off what faster
 *     ones have added since.
 *  2. MADV_COLLAPSE: the kernel makes one huge page of the piece, zero where it was a hole. It works on shmem whatever
 *     shmem_enabled says, costs what the small pages would cost, and every process that maps the file at a 2 MiB boundary profits.
 *     An empty piece is refused, and by kernel 6.1 one of which this process has touched nothing, hence step 1 and a touch; a piece
 *     that has all its small pages takes six times as long, hence no fallocate of the whole piece. All failures are ignored.
 *  3. MADV_POPULATE_WRITE faults in what is still missing; a full file system is an error here, where a touch would be SIGBUS.
 *     Where step 2 did its work this finds nothing to do. Where not, it costs more than fallocate, but the first touch comes for
 *     free then, and pages that were written are never taken back by a fallocate that fails half-way.
 *
 * A process that dies here leaves a longer file with some backed pages; whoever commits the piece next completes it.
 */
#include "shm/commit.h"
#include "shm/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

#define SMALL_PAGE UINT64_C(4096)

static int allocate(int fd, uint64_t offset, uint64_t bytes)
{
	while (fallocate(fd, 0, (off_t)offset, (off_t)bytes))
		if (errno != EINTR)
			return -errno;
	return 0;
}

/* Kernels before 5.14 cannot populate with an error: allocate, then write to each page (a 0 that changes nothing). */
static int populate_old(int fd, uint8_t *base, uint64_t offset, uint64_t bytes)
{
	int rc = allocate(fd, offset, bytes);

	if (rc)
		return rc;
	for (uint64_t at = 0; at < bytes; at += SMALL_PAGE)
		pp_or_rlx((pp_a64 *)(base + offset + at), 0); /* only the fault matters */
	return 0;
}

static int populate(int fd, uint8_t *base, uint64_t offset, uint64_t bytes)
{
	while (madvise(base + offset, bytes, MADV_POPULATE_WRITE)) {
		switch (errno) {
		case EINTR:
		case EAGAIN:
			continue;
		case EFAULT:
			return -ENOSPC;
		case EINVAL:
			return populate_old(fd, base, offset, bytes);
		default:
			return -errno;
		}
	}
	return 0;
}

static int commit_piece(int fd, uint8_t *base, uint64_t offset, enum pp_page_kind kind, uint64_t *huge)
{
	int rc;

	if (kind == PP_MEM_HUGETLB)
		rc = allocate(fd, offset, PP_SEGMENT_BYTES);
	else
		rc = allocate(fd, offset + PP_SEGMENT_BYTES - SMALL_PAGE, SMALL_PAGE);
	if (!rc && kind == PP_MEM_THP)
		rc = populate(fd, base, offset + PP_SEGMENT_BYTES - SMALL_PAGE, SMALL_PAGE);
	if (rc)
		return rc;
	if (kind == PP_MEM_THP)
		PP_FAULT_POINT("region.commit.huge");
	if (kind == PP_MEM_THP && !madvise(base + offset, PP_SEGMENT_BYTES, MADV_COLLAPSE) && huge)
		*huge += 1;
	return populate(fd, base, offset, PP_SEGMENT_BYTES);
}

int pp_commit_part(int fd, uint8_t *base, uint64_t offset, uint64_t bytes)
{
	return populate(fd, base, offset, bytes);
}

int pp_commit(int fd, uint8_t *base, uint64_t offset, uint64_t bytes, enum pp_page_kind kind, uint64_t *huge)
{
	int rc = 0;

	for (uint64_t at = offset; !rc && at < offset + bytes; at += PP_SEGMENT_BYTES)
		rc = commit_piece(fd, base, at, kind, huge);
	return rc;
}
