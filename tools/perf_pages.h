/*
 * perf_pages.h - on which NUMA nodes the pages of each shard lie, and how large pages are mapped: as the kernel says, not as was asked for.
 *
 * A page counts for the shard of the first key that is found in it.
 */
#ifndef PP_TOOLS_PERF_PAGES_H
#define PP_TOOLS_PERF_PAGES_H

#include "shm/region.h"

#define PP_PERF_PAGE_ROWS 256          /* shards */

struct pp_perf_pages {
	unsigned shards, nodes;
	uint64_t looked_at, untold;    /* pages of 64 KiB; of these, those whose node the kernel did not tell */
	uint32_t on[PP_PERF_PAGE_ROWS][PP_MAX_NODES];
	uint32_t other[PP_MAX_NODES];  /* pages of the index and the like, without keys */
	uint32_t home[PP_PERF_PAGE_ROWS]; /* node that the shard is to lie on */
	uint64_t kernel_page_bytes;    /* of the mapping; 0 = unknown */
	uint64_t mapped_bytes, huge_bytes; /* mapped in this process, of these by huge pages */
};

/* Looks at a sample of the pages in use, which it maps for that; none that has no memory. home: the shards' nodes. */
void pp_perf_pages_look(const struct pp_region *, const uint32_t *home, unsigned shards, struct pp_perf_pages *out);

/* Pages that lie on another node than their shard's home, of those that are known. */
uint64_t pp_perf_pages_away(const struct pp_perf_pages *, uint64_t *known);

#endif
