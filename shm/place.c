/*
 * place.c - parts of the region on NUMA nodes.
 *
 * A range is bound through a mapping of its own, made for the purpose and gone again. mbind on the region's mapping would split it at
 * each change of the node, and a process may have 65530 mappings; it is the host program's table that would fill.
 *  - tmpfs: the policy belongs to the file's range, outlives the window, and holds for whoever touches the range first.
 *  - hugetlbfs: the policy belongs to the window, so the pages are made there and then. The file must reach that far
 *    (shm/region.c makes it so), and fallocate would not look at any policy.
 * A policy also keeps the kernel's NUMA balancing from moving the pages, and from taking page faults to find out whether it should.
 *
 * Dies here: the kernel unmaps the window; a policy stays on a range that whoever commits it next binds again.
 */
#include "shm/place.h"

#include "shm/numa.h"

#include <stddef.h>
#include <sys/mman.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define SMALL_PAGE UINT64_C(4096)

static void bind(int fd, uint64_t offset, uint64_t bytes, unsigned node, bool hugetlb)
{
	void *window = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, (off_t)offset);

	if (window == MAP_FAILED)
		return;
	if (!pp_numa_prefer(window, bytes, node) && hugetlb)
		madvise(window, bytes, MADV_POPULATE_WRITE); /* too few pages: the commit that follows says so */
	munmap(window, bytes);
}

unsigned pp_place_turn(const struct pp_header *h, uint64_t n)
{
	unsigned with[PP_MAX_NODES], count = 0;

	for (unsigned node = 0; h->nodes > 1 && node < h->nodes && node < PP_MAX_NODES; node++)
		if (pp_numa_has_memory(node))
			with[count++] = node;
	return count ? with[n % count] : 0;
}

/* ---- the front --------------------------------------------------------------------------------------------------- */

static unsigned node_of_slot(const struct pp_header *h, uint64_t slot, unsigned here)
{
	unsigned node = h->nodes;

	if (slot < h->daemon_slots)
		return here;
	while (node > 1 && slot < pp_first_slot(h, node - 1))
		node--;
	return pp_numa_has_memory(node - 1) ? node - 1 : here;
}

/* The node of what begins at or reaches over `offset`. */
static unsigned node_at(const struct pp_header *h, uint64_t offset, unsigned here)
{
	uint64_t ring = h->ring_entries * sizeof(struct pp_ring_entry), slot;

	if (offset < h->off_slots || offset >= h->off_rings + h->slots * ring)
		return here;
	slot = offset < h->off_rings ? (offset - h->off_slots) / sizeof(struct pp_slot) : (offset - h->off_rings) / ring;
	return node_of_slot(h, slot < h->slots ? slot : h->slots - 1, here);
}

void pp_place_front(int fd, const struct pp_header *h, uint64_t bytes, bool hugetlb)
{
	uint64_t step = hugetlb ? PP_SEGMENT_BYTES : SMALL_PAGE, from = 0;
	unsigned here = pp_numa_here(), node, next;

	if (h->nodes < 2)
		return;
	node = node_at(h, 0, here);
	for (uint64_t at = step; at <= bytes; at += step) {
		next = at < bytes ? node_at(h, at, here) : PP_MAX_NODES;
		if (next == node)
			continue;
		bind(fd, from, at - from, node, hugetlb);
		from = at;
		node = next;
	}
}

int pp_place_kind(const struct pp_header *h, uint64_t offset, int kind)
{
	unsigned node = node_at(h, offset, PP_MAX_NODES);

	if (h->nodes < 2 || kind != PP_MEM_THP)
		return kind;
	for (uint64_t at = offset; at < offset + PP_SEGMENT_BYTES; at += SMALL_PAGE)
		if (node_at(h, at, PP_MAX_NODES) != node)
			return PP_MEM_4K;
	return kind;
}

/* ---- segments ---------------------------------------------------------------------------------------------------- */

void pp_place_segment(struct pp_region *r, uint64_t offset, unsigned node)
{
	if (r->fixed.nodes > 1)
		bind(r->fd, offset, PP_SEGMENT_BYTES, node, r->fixed.page_kind == PP_MEM_HUGETLB);
}
