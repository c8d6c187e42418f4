/*
 * region.c - creates, maps and checks the shared region.
 *
 * The place of every part follows from six numbers in the header (memory_max, slots, procs, ring_entries, stripes, engine_bytes)
 * through lay_out() alone. Attach computes the places again from those numbers and compares: a header that was damaged or made by
 * somebody else cannot lead outside of the mapping.
 *
 * A new region is filled under a temporary name; pp_region_publish stores `ready` and renames. So a file with the final name
 * is always whole, and a creator that dies leaves only the temporary one, which the next creator removes.
 *
 * The mapping covers memory_max at once, at a 2 MiB boundary so that huge pages of the file are mapped as such, and extends past the
 * end of the file: what is backed grows (shm/region_grow.c), what is mapped never moves.
 */
#include "shm/region.h"

#include "shm/commit.h"
#include "shm/live.h"
#include "shm/numa.h"
#include "shm/place.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define FIRST_SEGMENTS 2
#define MAX_STRIPES (1u << 20)
#define MAX_PROCS 0xffffu
#define MAX_RING_ENTRIES (1u << 15) /* the 16-bit index of a ring's tail must tell full from empty */

static uint64_t align_up(uint64_t v, uint64_t to)
{
	return (v + to - 1) & ~(to - 1);
}

static uint64_t tables_end(const struct pp_header *h, uint64_t segments)
{
	uint64_t partial = align_up(segments * PP_CLASSES * sizeof(pp_a32), 4096);

	return align_up(h->off_partial + partial + segments * PP_PAGES_PER_SEGMENT * sizeof(struct pp_page),
			PP_SEGMENT_BYTES);
}

static bool sizes_ok(const struct pp_header *h)
{
	return h->memory_max && h->memory_max <= PP_REF_MASK && !(h->memory_max % PP_SEGMENT_BYTES) && h->slots &&
	       h->slots <= PP_MAX_SLOTS && h->procs && h->procs <= MAX_PROCS && h->ring_entries &&
	       h->ring_entries <= MAX_RING_ENTRIES && !(h->ring_entries & (h->ring_entries - 1)) && h->stripes &&
	       h->stripes <= MAX_STRIPES && h->engine_bytes <= h->memory_max;
}

/* Fills max_segments and every off_ from the six numbers. */
static int lay_out(struct pp_header *h)
{
	uint64_t at = 4096, segments;

	if (!sizes_ok(h))
		return -EINVAL;
	h->off_globals = at;
	at += align_up(sizeof(struct pp_globals), 4096);
	h->off_sets = at;
	at += align_up(2 * sizeof(struct pp_sets), 4096);
	h->off_engine = at;
	at += align_up(h->engine_bytes, 4096);
	h->off_procs = at;
	at += align_up(h->procs * sizeof(struct pp_proc), 4096);
	h->off_slots = at;
	at += align_up(h->slots * sizeof(struct pp_slot), 4096);
	h->off_rings = at;
	at += align_up((uint64_t)h->slots * h->ring_entries * sizeof(struct pp_ring_entry), 4096);
	h->off_stripes = at;
	at += align_up(h->stripes * sizeof(struct pp_stripe), 4096);
	h->off_partial = at;
	segments = h->memory_max / PP_SEGMENT_BYTES;
	while (segments && tables_end(h, segments) + segments * PP_SEGMENT_BYTES > h->memory_max)
		segments--;
	if (segments < FIRST_SEGMENTS)
		return -ENOSPC;
	h->max_segments = (uint32_t)segments;
	h->off_pages = at + align_up(segments * PP_CLASSES * sizeof(pp_a32), 4096);
	h->off_segments = tables_end(h, segments);
	return 0;
}

/* `h` is a private copy that was checked: what it says is believed from now on, whatever becomes of the shared one. */
static void set_pointers(struct pp_region *r, const struct pp_header *h)
{
	memcpy(&r->fixed, h, sizeof(*h));
	r->fixed.name[sizeof(r->fixed.name) - 1] = '\0';
	r->header = (struct pp_header *)r->base;
	r->globals = (struct pp_globals *)(r->base + h->off_globals);
	r->sets = (struct pp_sets *)(r->base + h->off_sets);
	r->engine = r->base + h->off_engine;
	r->procs = (struct pp_proc *)(r->base + h->off_procs);
	r->slots = (struct pp_slot *)(r->base + h->off_slots);
	r->rings = (struct pp_ring_entry *)(r->base + h->off_rings);
	r->stripes = (struct pp_stripe *)(r->base + h->off_stripes);
	r->partial = (pp_a32 *)(r->base + h->off_partial);
	r->pages = (struct pp_page *)(r->base + h->off_pages);
	r->segments_at = h->off_segments;
	r->first_ref = h->off_segments + sizeof(struct pp_block);
	pp_store_rlx(&r->known_end, h->off_segments + sizeof(struct pp_block)); /* owner: nothing is known yet */
}

/*
 * Maps `bytes` of the file at a 2 MiB boundary; read-only, of the `backed` ones: behind them lie zeros, which can be read (shm/guard.h),
 * until pp_region_known_end maps more of the file.
 */
static int map_file(struct pp_region *r, uint64_t bytes, uint64_t backed)
{
	int prot = PROT_READ | (r->readonly ? 0 : PROT_WRITE);
	uint64_t behind = r->readonly ? PP_ZEROS_BEHIND : 0, all = bytes + behind + PP_SEGMENT_BYTES;
	uint8_t *space = mmap(NULL, all, r->readonly ? PROT_READ : PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint8_t *base;

	if (space == MAP_FAILED)
		return pp_detail(-errno, "no %llu MiB of address space for the arena: %s",
				 (unsigned long long)(bytes >> 20), strerrordesc_np(errno));
	base = (uint8_t *)align_up((uintptr_t)space, PP_SEGMENT_BYTES);
	if (mmap(base, r->readonly ? backed : bytes, prot, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, r->fd, 0) == MAP_FAILED) {
		int rc = -errno;

		munmap(space, all);
		return pp_detail(rc, "cannot map the arena: %s", strerrordesc_np(-rc));
	}
	if (base > space)
		munmap(space, (size_t)(base - space));
	if (base + bytes + behind < space + all)
		munmap(base + bytes + behind, (size_t)(space + all - (base + bytes + behind)));
	madvise(base, r->readonly ? backed : bytes, MADV_HUGEPAGE); /* a wish; only kernels that cannot collapse need it */
	r->base = base;
	r->map_bytes = bytes;
	r->zeros_behind = behind;
	return 0;
}

/* ---- create ------------------------------------------------------------------------------------------------------ */

/* The last folder of the path gets 0700, those above it 0755; what exists stays as it is. */
static int make_folders(const char *path)
{
	char *copy = strdup(path), *last = copy ? strrchr(copy, '/') : NULL;
	int rc = copy ? 0 : -ENOMEM;

	for (char *p = copy; last && !rc && p < last;) {
		p = strchr(p + 1, '/');
		*p = '\0';
		if (mkdir(copy, p == last ? 0700 : 0755) && errno != EEXIST)
			rc = pp_detail(-errno, "cannot make the folder %s: %s", copy, strerrordesc_np(errno));
		*p = '/';
	}
	free(copy);
	return rc;
}

static int open_temp(const struct pp_region_config *c, struct pp_region *r)
{
	int rc = make_folders(c->path);

	if (rc)
		return rc;
	r->path = strdup(c->path);
	if (!r->path || asprintf(&r->temp, "%s.new", c->path) < 0) {
		r->temp = NULL;
		return -ENOMEM;
	}
	unlink(r->temp);
	r->fd = open(r->temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (r->fd < 0 || fchmod(r->fd, 0600))
		return pp_detail(-errno, "cannot create %s: %s", r->temp, strerrordesc_np(errno));
	return 0;
}

/* What to try first: hugetlb only where the file lies on hugetlbfs with pages of our size. */
static int wanted_kind(const struct pp_region_config *c, int fd)
{
	struct statfs fs;
	bool hugetlb = !fstatfs(fd, &fs) && (uint64_t)fs.f_type == HUGETLBFS_MAGIC;

	if (hugetlb && (uint64_t)fs.f_bsize != PP_SEGMENT_BYTES)
		return pp_detail(-EINVAL, "%s is on a hugetlbfs whose pages are not 2 MiB", c->path);
	if (hugetlb)
		return PP_MEM_HUGETLB;
	if (c->pages == PP_MEM_HUGETLB)
		return pp_detail(-EINVAL, "huge pages are configured, but %s is not on a hugetlbfs", c->path);
	return c->pages == PP_MEM_4K ? PP_MEM_4K : PP_MEM_THP;
}

static void from_config(struct pp_header *h, const struct pp_region_config *c)
{
	*h = (struct pp_header){
		.magic = PP_MAGIC, .layout_hash = c->layout_hash, .store_id = c->store_id,
		.memory_max = c->memory_bytes & ~(PP_SEGMENT_BYTES - 1), .slots = c->slots, .procs = c->procs,
		.ring_entries = c->ring_entries, .stripes = c->stripes ? c->stripes : 1, .sync_mode = c->sync_mode,
		.shards = c->shards, .strategy = c->strategy, .engine_bytes = c->engine_bytes,
		.nodes = c->numa ? pp_numa_nodes() : 1, .spin_ns = c->spin_ns, .backoff_max = c->backoff_max,
		.daemon_slots = (uint8_t)c->daemon_slots,
	};
	pp_boot_id((char *)h->boot_id);
	snprintf(h->name, sizeof(h->name), "%s", c->name ? c->name : "");
}

/* Words that are not zero at birth. Nobody else sees the region yet, so relaxed stores do (pp_region_publish releases them). */
static void set_first_values(struct pp_region *r, uint64_t huge)
{
	pp_store_rlx(&r->globals->era, 1);
	pp_store_rlx(&r->globals->open_epoch, 1);
	pp_store_rlx(&r->globals->huge_segments, huge);
	for (uint32_t i = 0; i < r->fixed.slots; i++) {
		pp_store_rlx(&r->slots[i].low, PP_IDLE);
		pp_store_rlx(&r->slots[i].tail, PP_TAIL(PP_TAIL_FREE, 0));
	}
}

/* Backs everything in front of the page table, and with it the table's beginning. */
static int commit_front(struct pp_region *r, struct pp_header *h, int kind)
{
	uint64_t front = align_up(h->off_pages + FIRST_SEGMENTS * PP_PAGES_PER_SEGMENT * sizeof(struct pp_page),
				  PP_SEGMENT_BYTES);
	uint64_t huge = 0, tried = 0;
	int rc = 0;

	if (kind == PP_MEM_HUGETLB)
		front = h->off_segments;
	pp_place_front(r->fd, h, front, kind == PP_MEM_HUGETLB);
	for (uint64_t at = 0; at < front && !rc; at += PP_SEGMENT_BYTES) {
		int piece = pp_place_kind(h, at, kind);

		tried += piece == PP_MEM_THP;
		rc = pp_commit(r->fd, r->base, at, PP_SEGMENT_BYTES, (enum pp_page_kind)piece, &huge);
	}
	if (rc)
		return rc;
	h->page_kind = (uint32_t)(tried && !huge ? PP_MEM_4K : kind);
	memcpy(r->base, h, sizeof(*h));
	set_pointers(r, h);
	set_first_values(r, huge);
	return 0;
}

static int commit_segments(struct pp_region *r)
{
	uint64_t wanted = r->fixed.page_kind == PP_MEM_HUGETLB ? r->fixed.max_segments : FIRST_SEGMENTS;
	int rc = 0;

	for (uint64_t i = 0; i < wanted && !rc; i++)
		rc = pp_region_grow(r, pp_place_turn(&r->fixed, i));
	return rc;
}

static int create(const struct pp_region_config *c, struct pp_region *r)
{
	struct pp_header h;
	int rc, kind;

	from_config(&h, c);
	rc = lay_out(&h);
	if (rc == -ENOSPC)
		return pp_detail(-EINVAL, "%llu MiB of memory are too little for %u slots with %u ring entries: the tables "
				 "alone take %llu MiB", (unsigned long long)(c->memory_bytes >> 20), c->slots,
				 c->ring_entries, (unsigned long long)(h.off_partial >> 20) + 1);
	if (rc)
		return pp_detail(rc, "sizes of the arena are out of range (memory up to 1 TiB, slots up to %d, ring entries "
				 "a power of two up to %u)", PP_MAX_SLOTS, MAX_RING_ENTRIES);
	rc = open_temp(c, r);
	if (rc)
		return rc;
	kind = wanted_kind(c, r->fd);
	if (kind < 0)
		return kind;
	/* Pages of hugetlb are made through mappings of their range (shm/place.c), which must not reach beyond the file. */
	if (kind == PP_MEM_HUGETLB && ftruncate(r->fd, (off_t)(h.off_segments + h.max_segments * PP_SEGMENT_BYTES)))
		return pp_detail(-errno, "cannot make %s as long as the arena: %s", r->temp, strerrordesc_np(errno));
	rc = map_file(r, h.memory_max, 0);
	if (!rc)
		rc = commit_front(r, &h, kind);
	if (!rc)
		rc = commit_segments(r);
	if (rc == -ENOSPC)
		pp_detail(rc, "no memory for the arena's first %llu MiB: the file system of %s is full",
			  (unsigned long long)(h.off_segments >> 20) + 2 * FIRST_SEGMENTS, c->path);
	return rc;
}

int pp_region_create(const struct pp_region_config *c, struct pp_region *out)
{
	int rc;

	*out = (struct pp_region){ .fd = -1 };
	rc = create(c, out);
	if (rc)
		pp_region_unmap(out);
	return rc;
}

int pp_region_publish(struct pp_region *r)
{
	/* [region.publish:ready] pairs [region.map:ready]: header, tables and the engine's area are filled */
	pp_store_rel(&r->header->ready, PP_MAGIC);
	if (!r->temp)
		return 0;
	if (rename(r->temp, r->path))
		return pp_detail(-errno, "cannot rename %s to %s: %s", r->temp, r->path, strerrordesc_np(errno));
	free(r->temp);
	free(r->path);
	r->temp = r->path = NULL;
	return 0;
}

/* ---- map --------------------------------------------------------------------------------------------------------- */

/* Judges a private copy of the header; *h is what the mapping relies on from then on. */
static int check_header(const struct pp_header *h, uint64_t layout_hash)
{
	struct pp_header again = { .memory_max = h->memory_max, .slots = h->slots, .procs = h->procs,
				   .ring_entries = h->ring_entries, .stripes = h->stripes,
				   .engine_bytes = h->engine_bytes };
	char boot[PP_BOOT_ID_BYTES];

	if (h->magic != PP_MAGIC)
		return pp_detail(PPDB_CORRUPT, "the file is not an arena of ppdb");
	if (layout_hash && h->layout_hash != layout_hash)
		return pp_detail(PPDB_LAYOUT, "the arena has layout %016llx, this program %016llx",
				 (unsigned long long)h->layout_hash, (unsigned long long)layout_hash);
	/* [region.map:ready] pairs [region.publish:ready]: a copy made by read(); the bytes before it are ordered by the kernel */
	if (pp_load_acq(&h->ready) != PP_MAGIC)
		return pp_detail(-EAGAIN, "the arena is not ready yet");
	pp_boot_id(boot);
	if (memcmp(h->boot_id, boot, sizeof(boot)))
		return pp_detail(-ESTALE, "the arena was made before the machine was started last");
	if (lay_out(&again) || again.max_segments != h->max_segments || !h->nodes || h->nodes > PP_MAX_NODES ||
	    h->page_kind > PP_MEM_HUGETLB ||
	    memcmp(&again.off_globals, &h->off_globals, offsetof(struct pp_header, ready) - offsetof(struct pp_header, off_globals)))
		return pp_detail(PPDB_CORRUPT, "the arena's header does not fit together");
	return 0;
}

static int check_size(const struct pp_region *r)
{
	uint64_t committed = pp_load_acq(&r->globals->committed_segments);
	struct stat st;

	if (fstat(r->fd, &st))
		return -errno;
	if (committed > r->fixed.max_segments || (uint64_t)st.st_size < r->segments_at + committed * PP_SEGMENT_BYTES)
		return pp_detail(PPDB_CORRUPT, "the arena is cut off: %llu MiB, %llu segments committed",
				 (unsigned long long)st.st_size >> 20, (unsigned long long)committed);
	return 0;
}

static int map(struct pp_region *r, uint64_t layout_hash)
{
	struct pp_header h;
	struct stat st;
	ssize_t n = pread(r->fd, &h, sizeof(h), 0);
	int rc;

	if (n < 0)
		return pp_detail(-errno, "cannot read the arena: %s", strerrordesc_np(errno));
	if ((size_t)n < sizeof(h))
		return pp_detail(PPDB_CORRUPT, "the arena is cut off inside of its header");
	rc = check_header(&h, layout_hash);
	if (rc)
		return rc;
	if (fstat(r->fd, &st))
		return -errno;
	/* the globals must be there before they are looked at */
	if ((uint64_t)st.st_size < h.off_segments)
		return pp_detail(PPDB_CORRUPT, "the arena is cut off inside of its tables");
	rc = map_file(r, h.memory_max, h.off_segments); /* what is behind comes as it is known to be there */
	if (rc)
		return rc;
	set_pointers(r, &h);
	return check_size(r);
}

int pp_region_map(int fd, bool readonly, uint64_t layout_hash, struct pp_region *out)
{
	int rc;

	*out = (struct pp_region){ .fd = fcntl(fd, F_DUPFD_CLOEXEC, 0), .readonly = readonly };
	if (out->fd < 0)
		return pp_detail(-errno, "cannot duplicate the arena's descriptor: %s", strerrordesc_np(errno));
	rc = map(out, layout_hash);
	if (rc)
		pp_region_unmap(out);
	return rc;
}

void pp_region_unmap(struct pp_region *r)
{
	if (r->base)
		munmap(r->base, r->map_bytes + r->zeros_behind);
	if (r->fd >= 0)
		close(r->fd);
	if (r->temp)
		unlink(r->temp);
	free(r->temp);
	free(r->path);
	*r = (struct pp_region){ .fd = -1 };
}
