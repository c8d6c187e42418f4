/*
 * region.h - one mapping of the shared region: create, map, attach, grow.
 *
 * The region is a file on tmpfs or hugetlbfs. It is mapped once with `memory_max` bytes of address space so that it never
 * moves; what is backed by memory grows 2 MiB at a time by fallocate *before* it is used, so a full tmpfs is an error
 * (PPDB_FULL) and never SIGBUS.
 */
#ifndef PP_SHM_REGION_H
#define PP_SHM_REGION_H

#include "shm/errors.h"
#include "shm/layout.h"

#include <sys/types.h>

/* Process-private view of a mapped region. Thread-safe once mapped. */
struct pp_region {
	uint8_t *base;
	uint64_t map_bytes, zeros_behind;
	int fd;                          /* owned; -1 in a process that must not keep it */
	bool readonly;
	struct pp_header fixed;          /* private copy of what never changes in the header: sizes, offsets, settings. These are
	                                  * used; *header only for the words that the daemon changes */
	struct pp_header *header;
	struct pp_globals *globals;
	struct pp_sets *sets;            /* [2] */
	void *engine;
	struct pp_proc *procs;
	struct pp_slot *slots;
	struct pp_ring_entry *rings;
	struct pp_stripe *stripes;
	pp_a32 *partial;                 /* [class * max_segments + segment] */
	struct pp_page *pages;
	uint64_t segments_at;            /* offset of segment 0 */
	pp_ref first_ref;                /* the smallest that there can be */
	pp_a64 near_span;                /* see pp_ref_near; moves with known_end */
	pp_a64 no_growth_until_ns;       /* the file system was full; hint */
	pp_a64 known_end;                /* up to here segments are backed by the file, which was looked at: references are judged by it */
	char *path, *temp;               /* creator only, until published: final and temporary name of the file */
};

#define PP_ZEROS_BEHIND (UINT64_C(2) << 20) /* more than any size of 16 bits and any count of entries can lead beyond a reference */

struct pp_region_config {
	const char *path;                /* file to create, e.g. /dev/shm/ppdb-0/default.arena */
	const char *name;
	uint64_t memory_bytes;           /* limit, header and tables included; rounded to 2 MiB */
	uint32_t daemon_slots;           /* of `slots`, for processes with PP_PROC_DAEMON only */
	uint32_t slots, procs, ring_entries, stripes, sync_mode, shards, strategy;
	uint64_t engine_bytes, layout_hash, store_id;
	int pages;                       /* enum pp_page_kind wanted; -1 = best that is there. PP_MEM_HUGETLB needs a path on
	                                  * hugetlbfs (pp_region_hugetlb_mount finds one) and commits everything at once */
	uint64_t spin_ns, backoff_max;
	uint32_t numa;                   /* 0 = do not bind */
};

/*
 * Creates and maps a new region (the file is made with mode 0600 under a temporary name and renamed by pp_region_publish), commits
 * header, tables and the first two segments, sets globals.era and open_epoch to 1 and all slots to idle. Errors: -ENOSPC when the
 * file system is full, -EINVAL with a sentence for sizes that cannot be, -EEXIST never (an old file is replaced). Crash: the file
 * with the temporary name is left; the next create of the same path removes it.
 */
int pp_region_create(const struct pp_region_config *, struct pp_region *out);

/* Sets header.ready and gives the file its name: the creator calls it when the engine area is filled too. 0 or -errno. */
int pp_region_publish(struct pp_region *);

/*
 * Maps an existing region. `fd` is duplicated. Believes nothing: magic, layout hash, boot id, every offset and the file's size are
 * checked before anything is mapped. layout_hash 0 = do not compare it (tools that only look at the header).
 * Errors: PPDB_LAYOUT (another layout), PPDB_CORRUPT (no region, cut off, offsets that do not fit), -EAGAIN (not published yet),
 * -ESTALE (made before the last boot), -errno.
 */
int pp_region_map(int fd, bool readonly, uint64_t layout_hash, struct pp_region *out);
void pp_region_unmap(struct pp_region *);

/* Backs one more segment (page table first), then CAS of committed_segments. Any process that may write can call it at any time;
 * if others grow at the same moment one of them wins and all return 0. PPDB_FULL at memory_max, -ENOSPC when the file system is
 * full. Crash: leaves memory that the next call reuses, at worst globals.free_pages (soft) 32 too low. */
int pp_region_grow(struct pp_region *, unsigned node);

/* Backs bytes of the file with pages of the region's kind, or with small ones for a while after a huge one took too long. *huge grows by the
 * huge pages that were made. 0 or -errno. */
int pp_region_back(struct pp_region *, uint64_t offset, uint64_t bytes, uint64_t *huge);

/* PPDB_FULL, with the sentence that says what holds the arena back: its own limit, or the file system below. */
int pp_region_full(const struct pp_region *r);

/* Faults in everything that is committed, for this process only (PPDB_POPULATE). 0 or -errno; failing costs only later faults. */
int pp_region_populate(struct pp_region *);

/* Names what backs the region: "hugetlb 2 MiB", "THP 2 MiB" (all of it), "THP 2 MiB, partly", "4 KiB". */
const char *pp_region_pages_text(const struct pp_region *);

/* Directory of a mounted hugetlbfs with 2 MiB pages; -ENOENT when there is none. */
int pp_region_hugetlb_mount(char *out, size_t cap);

static inline pp_ref pp_ref_of(const struct pp_region *r, const void *p)
{
	return (pp_ref)((const uint8_t *)p - r->base);
}

static inline struct pp_ring_entry *pp_ring(const struct pp_region *r, unsigned slot)
{
	return r->rings + (uint64_t)slot * r->fixed.ring_entries;
}

/* Page index of a reference into the segments, and back. */
static inline uint64_t pp_page_index(const struct pp_region *r, pp_ref ref)
{
	return (ref - r->segments_at) / PP_PAGE_BYTES;
}

static inline pp_ref pp_page_ref(const struct pp_region *r, uint64_t index)
{
	return r->segments_at + index * PP_PAGE_BYTES;
}

/* Backs pages that were given back (shm/holes.c): 0, -ENOENT = there are none, or why they cannot be. */
int pp_holes_fill(struct pp_region *);
bool pp_page_is_hole(const struct pp_region *, uint64_t page);

/* The segments that are committed are so by the file's size as well; looked at again only when a reference lies beyond what is known. */
uint64_t pp_region_known_end(const struct pp_region *r);

/* True if [ref, ref + bytes) lies inside committed segments: the test for references that another process may have damaged. What
 * the shared words say is not believed, so whatever passes can be read. */
static inline bool pp_ref_inside(const struct pp_region *r, pp_ref ref, uint64_t bytes)
{
	uint64_t first = r->segments_at + sizeof(struct pp_block), end = pp_load_rlx(&r->known_end); /* hint: it only rises */

	if (__builtin_expect(ref - first >= end - first || bytes > end - ref, 0)) {
		if (ref < first || ref >= r->map_bytes)
			return false;
		end = pp_region_known_end(r);
		if (ref >= end || bytes > end - ref)
			return false;
	}
	return !(ref & 7);
}

/* What a wild reference leads to in a read-only mapping: out of the read (shm/guard.h), or to zeros where no guard is armed. */
void *pp_region_wild(const struct pp_region *r);

/* What a reference means here. In a read-only mapping it is judged: the memory that it was read from may be another's by now. */
static inline void *pp_at(const struct pp_region *r, pp_ref ref)
{
	if (__builtin_expect(r->readonly, 0) && !pp_ref_inside(r, ref, 8))
		return pp_region_wild(r);
	return r->base + ref;
}

/*
 * The cheap half of that test, one comparison: `ref` is aligned, and PP_REF_SLACK bytes behind it are inside as well. What fails may
 * still be a sound reference near the end. The rotation makes the low bits of a misaligned one the high bits of a huge number.
 */
#define PP_REF_SLACK 20480
static inline bool pp_ref_near(const struct pp_region *r, pp_ref ref)
{
	uint64_t offset = ref - r->first_ref;

	return __builtin_expect((offset >> 3 | offset << 61) < pp_load_rlx(&r->near_span), 1); /* hint: it only rises */
}

/* Slots that were ever claimed. */
static inline unsigned pp_slots_high(const struct pp_region *r)
{
	/* seq: a scan reads it after its barrier (shm/reclaim.c) */
	uint64_t high = pp_load_seq(&r->globals->slots_high);

	return high < r->fixed.slots ? (unsigned)high : r->fixed.slots;
}

#endif
