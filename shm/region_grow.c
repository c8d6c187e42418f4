/*
 * region_grow.c - backs more of the region, by whichever process needs it first.
 *
 * Segment n is backed by everybody who finds committed_segments = n: bind to the node, back its page table, back its 2 MiB, CAS
 * n -> n + 1. All steps before the CAS are idempotent (shm/commit.c), so racing processes help each other, and one CAS wins.
 * Nobody hands out or touches a page of segment n before it has seen committed_segments > n.
 *
 * Memory of the page table is zero = PP_PAGE_FREE. Dies before the CAS: the next one redoes it at little cost. Dies between the
 * CAS and the count: globals.free_pages is 32 too low until the keeper counts again.
 */
#include "shm/clock.h"
#include "shm/commit.h"
#include "shm/fault.h"
#include "shm/guard.h"
#include "shm/place.h"
#include "shm/region.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

#define SLOW_NS (250 * PP_NS_PER_MS)   /* a huge page takes 5 ms, or 60 beside busy cores */
#define SMALL_NS PP_NS_PER_SEC
#define FULL_NS (20 * PP_NS_PER_MS)    /* to find the file system full takes some 10 ms: the keeper, which is to make room, must not pay that for each key */

/* A file longer than the process's own limit would bring it SIGXFSZ. */
static int check_limit(uint64_t file_bytes)
{
	struct rlimit limit;

	if (!getrlimit(RLIMIT_FSIZE, &limit) && limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < file_bytes)
		return pp_detail(-EFBIG, "the arena cannot grow here: this process has a limit on file sizes (ulimit -f)");
	return 0;
}

/*
 * To make a huge page the kernel waits for a worker of every core (lru_add_drain_all). A core that gives its workers no time, for seconds on a
 * crowded virtual machine, holds up all who need memory; so after one slow page everybody takes small ones for a while.
 */
int pp_region_back(struct pp_region *r, uint64_t offset, uint64_t bytes, uint64_t *huge)
{
	enum pp_page_kind kind = (enum pp_page_kind)r->fixed.page_kind;
	pp_a64 *small_until = &r->globals->small_until_ns;
	uint64_t start = kind == PP_MEM_THP ? pp_now_ns() : 0, end;
	int rc;

	if (kind == PP_MEM_THP && start < pp_load_rlx(small_until)) /* hint */
		kind = PP_MEM_4K;
	rc = pp_commit(r->fd, r->base, offset, bytes, kind, huge);
	if (kind == PP_MEM_THP && (end = pp_now_ns()) > start + SLOW_NS)
		pp_store_rlx(small_until, end + SMALL_NS); /* hint */
	return rc;
}

/* The pieces of 2 MiB that hold the page table of segment n, but not those that hold segment n - 1's as well. */
static int commit_table(struct pp_region *r, uint64_t n, uint64_t *huge)
{
	uint64_t entries = PP_PAGES_PER_SEGMENT * sizeof(struct pp_page);
	uint64_t start = pp_ref_of(r, r->pages) + n * entries, last = start + entries - 1;

	/* entries are smaller than a piece: at most one new piece, the one that `last` lies in */
	if (!n || (start - 1) / PP_SEGMENT_BYTES == last / PP_SEGMENT_BYTES)
		return 0;
	return pp_region_back(r, last / PP_SEGMENT_BYTES * PP_SEGMENT_BYTES, PP_SEGMENT_BYTES, huge);
}

static void note_node(struct pp_region *r, uint64_t n, unsigned node)
{
	for (uint64_t i = n * PP_PAGES_PER_SEGMENT; i < (n + 1) * PP_PAGES_PER_SEGMENT; i++)
		pp_store_rlx(&r->pages[i].node, node); /* hint */
}

static int back_segment(struct pp_region *r, uint64_t n, unsigned node, uint64_t *huge)
{
	uint64_t offset = r->segments_at + n * PP_SEGMENT_BYTES;
	int rc = check_limit(offset + PP_SEGMENT_BYTES);

	if (!rc)
		rc = PP_FAULT_ERROR("region.grow.start");
	if (!rc)
		rc = commit_table(r, n, huge);
	if (rc)
		return rc;
	if (r->fixed.nodes > 1) {
		pp_place_segment(r, offset, node); /* failing costs locality only */
		note_node(r, n, node);
	}
	PP_FAULT_POINT("region.grow.bound");
	return pp_region_back(r, offset, PP_SEGMENT_BYTES, huge);
}

/* After a full file system the next look at it waits for a while. */
static int back_or_wait(struct pp_region *r, uint64_t n, unsigned node, uint64_t *huge)
{
	int rc;

	if (pp_now_ns() < pp_load_rlx(&r->no_growth_until_ns)) /* hint */
		return -ENOSPC;
	rc = back_segment(r, n, node, huge);
	if (rc == -ENOSPC)
		pp_store_rlx(&r->no_growth_until_ns, pp_now_ns() + FULL_NS); /* hint */
	return rc;
}

uint64_t pp_region_known_end(const struct pp_region *r)
{
	pp_a64 *known = (pp_a64 *)(uintptr_t)&r->known_end; /* a note of this process's own */
	uint64_t was = pp_load_rlx(known), segments = pp_load_acq(&r->globals->committed_segments), end; /* hint */
	struct stat st;

	if (segments > r->fixed.max_segments)
		segments = r->fixed.max_segments;
	end = r->segments_at + segments * PP_SEGMENT_BYTES;
	if (end <= was || fstat(r->fd, &st) || (uint64_t)st.st_size < end)
		return was;
	if (r->readonly) { /* several threads may map the same: it is the same */
		uint64_t from = was / PP_SEGMENT_BYTES * PP_SEGMENT_BYTES;

		if (mmap(r->base + from, end - from, PROT_READ, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, r->fd, (off_t)from) == MAP_FAILED)
			return was;
	}
	while (was < end && !pp_cas_rlx(known, &was, end)) /* hint */
		;
	was = end > was ? end : was;
	if (was > r->first_ref + PP_REF_SLACK) /* a later one may be overtaken: then the slow test is taken until the arena grows again */
		pp_store_rlx((pp_a64 *)(uintptr_t)&r->near_span, (was - PP_REF_SLACK - r->first_ref) / 8); /* hint */
	return was;
}

void *pp_region_wild(const struct pp_region *r)
{
	pp_guard_fail();
	return r->base + r->map_bytes;
}

int pp_region_grow(struct pp_region *r, unsigned node)
{
	/* [region.grow:committed] pairs [region.grow:committed]: table and segment below it are backed */
	uint64_t n = pp_load_acq(&r->globals->committed_segments), huge = 0;
	int rc;

	if (r->readonly)
		return PPDB_READONLY;
	rc = pp_holes_fill(r);
	if (!rc)
		return 0;
	if (rc != -ENOENT && n >= r->fixed.max_segments)
		return pp_detail(rc, "the arena cannot take memory again that it gave back: its file system is full");
	if (n >= r->fixed.max_segments)
		return pp_detail(PPDB_FULL, "the arena has reached its limit of %llu MiB",
				 (unsigned long long)(r->fixed.memory_max >> 20));
	rc = back_or_wait(r, n, node, &huge);
	if (rc == -ENOSPC)
		return pp_detail(rc, "the arena cannot grow: its file system is full at %llu MiB",
				 (unsigned long long)((r->segments_at + n * PP_SEGMENT_BYTES) >> 20));
	if (rc)
		return rc;
	PP_FAULT_POINT("region.grow.backed");
	if (!pp_cas_acqrel(&r->globals->committed_segments, &n, n + 1))
		return 0;
	PP_FAULT_POINT("region.grow.committed");
	pp_add_rlx(&r->globals->free_pages, PP_PAGES_PER_SEGMENT); /* stat: soft */
	if (huge)
		pp_add_rlx(&r->globals->huge_segments, huge); /* stat */
	return 0;
}

int pp_region_full(const struct pp_region *r)
{
	uint64_t n = pp_load_acq(&r->globals->committed_segments);

	if (n >= r->fixed.max_segments)
		return pp_detail(PPDB_FULL, "the arena is full: it has reached its limit of %llu MiB; delete keys or restart ppdbd "
				 "with more --memory", (unsigned long long)(r->fixed.memory_max >> 20));
	return pp_detail(PPDB_FULL, "the arena is full: it cannot grow beyond %llu MiB, though its limit is %llu MiB, because its "
			 "file system is full (or this process has a ulimit -f); delete keys or give it more memory",
			 (unsigned long long)((r->segments_at + n * PP_SEGMENT_BYTES) >> 20),
			 (unsigned long long)(r->fixed.memory_max >> 20));
}

/* End of the page table that is backed; between it and segment 0 the file may have a hole. */
static uint64_t backed_tables(const struct pp_region *r, uint64_t segments)
{
	uint64_t end = pp_ref_of(r, r->pages) + segments * PP_PAGES_PER_SEGMENT * sizeof(struct pp_page);

	return (end + PP_SEGMENT_BYTES - 1) / PP_SEGMENT_BYTES * PP_SEGMENT_BYTES;
}

int pp_region_populate(struct pp_region *r)
{
	uint64_t segments = pp_load_acq(&r->globals->committed_segments), pages = segments * PP_PAGES_PER_SEGMENT;
	int advice = r->readonly ? MADV_POPULATE_READ : MADV_POPULATE_WRITE;

	if (madvise(r->base, backed_tables(r, segments), advice))
		return -errno;
	for (uint64_t p = 0, end; p < pages; p = end + 1) { /* a hole would be filled by reading it */
		for (end = p; end < pages && !pp_page_is_hole(r, end);)
			end++;
		if (end > p && madvise(r->base + pp_page_ref(r, p), (end - p) * PP_PAGE_BYTES, advice))
			return -errno;
	}
	return 0;
}

const char *pp_region_pages_text(const struct pp_region *r)
{
	uint64_t segments = pp_load_acq(&r->globals->committed_segments);
	uint64_t pieces = backed_tables(r, segments) / PP_SEGMENT_BYTES + segments;
	uint64_t huge = pp_load_rlx(&r->globals->huge_segments); /* stat */

	if (r->fixed.page_kind == PP_MEM_HUGETLB)
		return "hugetlb 2 MiB";
	if (r->fixed.page_kind == PP_MEM_4K || !huge)
		return "4 KiB";
	return huge >= pieces ? "THP 2 MiB" : "THP 2 MiB, partly";
}

/* /proc/mounts has "device folder type options"; no pagesize= among the options means the default size, which statfs tells. */
int pp_region_hugetlb_mount(char *out, size_t cap)
{
	FILE *mounts = fopen("/proc/mounts", "re");
	char line[1024], folder[512], type[64];
	int rc = -ENOENT;

	if (!mounts)
		return -errno;
	while (rc && fgets(line, sizeof(line), mounts)) {
		struct statfs fs;

		if (sscanf(line, "%*s %511s %63s", folder, type) != 2 || strcmp(type, "hugetlbfs"))
			continue;
		if (!statfs(folder, &fs) && (uint64_t)fs.f_bsize == PP_SEGMENT_BYTES && strlen(folder) < cap)
			rc = strcpy(out, folder) ? 0 : rc;
	}
	fclose(mounts);
	return rc;
}
