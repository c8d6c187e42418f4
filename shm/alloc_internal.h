/*
 * alloc_internal.h - what the files of the allocator share: size classes, page words, partial bits. Nobody else includes it.
 *
 *   page.c    classes, ownership of pages, lists of pages     sweep.c   limbo -> free, empty pages, the keeper's pass
 *   alloc.c   blocks: alloc, cancel, live, retire, hints      large.c   runs of whole pages
 *   reap.c    after a death                                   account.c every byte
 */
#ifndef PP_SHM_ALLOC_INTERNAL_H
#define PP_SHM_ALLOC_INTERNAL_H

#include "shm/alloc.h"

/* Block sizes, header included: 8-byte steps up to 320; above, about eight steps a doubling, each as large as its number of
 * blocks a page allows, so that nothing but less than a block's 8 bytes is left over at a page's end. */
#define PP_CLASS_SIZES(X)                                                                                                     \
	X(48) X(56) X(64) X(72) X(80) X(88) X(96) X(104) X(112) X(120) X(128) X(136) X(144) X(152) X(160) X(168) X(176) X(184) \
	X(192) X(200) X(208) X(216) X(224) X(232) X(240) X(248) X(256) X(264) X(272) X(280) X(288) X(296) X(304) X(312) X(320) \
	X(360) X(400) X(440) X(480) X(520) X(560) X(600) X(640) X(720) X(808) X(880) X(960) X(1040) X(1128) X(1208) X(1280)    \
	X(1456) X(1632) X(1768) X(1920) X(2112) X(2256) X(2424) X(2616) X(2976) X(3272) X(3640) X(3848) X(4368) X(4680)        \
	X(5040) X(5456) X(5952) X(6552) X(7280) X(8192) X(9360) X(10920) X(13104) X(16384) X(21840) X(32768)
#define PP_CLASS_ONE(size) +1
enum { PP_CLASS_COUNT = 0 PP_CLASS_SIZES(PP_CLASS_ONE) };

/* Rows of the partial bits beyond the classes. USED is inverted (1 = not free), so that zeroed memory is right. */
enum { PP_ROW_LARGE = PP_CLASSES - 3, PP_ROW_EMPTY = PP_CLASSES - 2, PP_ROW_USED = PP_CLASSES - 1 };
_Static_assert((int)PP_CLASS_COUNT <= (int)PP_ROW_LARGE, "class rows and page rows must not meet");

/* The bits of a bitmap word that stand for blocks. */
static inline uint64_t pp_word_mask(unsigned klass, unsigned word)
{
	unsigned blocks = pp_classes[klass].blocks;

	return blocks >= (word + 1) * 64 ? ~UINT64_C(0) : blocks > word * 64 ? (UINT64_C(1) << (blocks - word * 64)) - 1 : 0;
}

/* slot.large_pages: the run is being freed; it is a segment that is given back */
#define PP_RUN_FREEING (UINT64_C(1) << 63)
#define PP_RUN_RELEASING (UINT64_C(1) << 62)
void pp_run_name(struct pp_thread *, uint64_t first, uint64_t pages);
/* All pages of the run that are CLAIMING(owner) -> FREE. */
void pp_run_give_back(struct pp_region *, uint64_t first, uint64_t pages, unsigned owner);
/* All pages of the segment that are CLAIMING(owner) -> HOLE. */
void pp_holes_make(struct pp_region *, uint64_t first, unsigned owner);

static inline struct pp_block *pp_page_block(const struct pp_region *r, uint64_t page, unsigned klass, unsigned index)
{
	return (struct pp_block *)(r->base + pp_page_ref(r, page) + (uint64_t)index * pp_classes[klass].size);
}

static inline pp_ref pp_payload_of(const struct pp_region *r, const struct pp_block *b)
{
	return pp_ref_of(r, b) + sizeof(*b);
}

static inline uint64_t pp_pages_committed(const struct pp_region *r)
{
	/* acquire: table and memory of the segments below it, as pp_region_grow left them before its CAS */
	uint64_t segments = pp_load_acq(&r->globals->committed_segments);

	if (__builtin_expect(r->segments_at + segments * PP_SEGMENT_BYTES != pp_load_rlx(&r->known_end), 0)) /* hint */
		segments = (pp_region_known_end(r) - r->segments_at) / PP_SEGMENT_BYTES;
	return segments * PP_PAGES_PER_SEGMENT;
}

/* The header word with another state: kind, generation and birth stay. */
static inline uint64_t pp_block_with(uint64_t word, enum pp_block_state state)
{
	return (word & ~(UINT64_C(3) << 62)) | (uint64_t)state << 62;
}

/* The next life's header. */
static inline uint64_t pp_block_freed(uint64_t word)
{
	return PP_BLOCK_WORD(PP_BLOCK_FREE, 0, pp_block_gen(word) + 1, 0);
}

static inline unsigned pp_owner_of(const struct pp_thread *t)
{
	return t->index + 1;
}

/* ---- page.c ----------------------------------------------------------------------------------------------------- */

/* word -> {type, klass, owner, version + 1}; on failure *word is what was found. */
bool pp_page_change(struct pp_page *p, uint64_t *word, enum pp_page_type type, unsigned klass, unsigned owner);

/* One soft bit of the partial table. Setting looks first. Sequentially consistent with page words (see page.c). */
void pp_row_set(struct pp_region *r, unsigned row, uint64_t page);
void pp_row_clear(struct pp_region *r, unsigned row, uint64_t page);
static inline pp_a32 *pp_row(const struct pp_region *r, unsigned row)
{
	return r->partial + (uint64_t)row * r->fixed.max_segments;
}

/* Puts a page that nobody owns on the lists that it belongs on. Anybody, at any time, idempotent. */
void pp_page_relist(struct pp_region *r, uint64_t page);

/* Makes a page that `owner` holds (BLOCKS or EMPTY, free bits in order) ownerless: EMPTY if all its blocks are free. */
void pp_page_let_go(struct pp_region *r, uint64_t page, unsigned owner);

/* CLAIMING or EMPTY page held by `owner` -> FREE, listed. */
void pp_page_to_free(struct pp_region *r, uint64_t page, unsigned owner);

/* Owned by t afterwards and with something to hand out: page index + 1, or 0. `slot->holding` names it. */
uint64_t pp_page_take_partial(struct pp_thread *t, unsigned klass);
uint64_t pp_page_take_free(struct pp_thread *t, unsigned klass, bool reserve, bool *reserved);
/* A given page of that class, if nobody owns it; swept if need be. */
bool pp_page_try(struct pp_thread *t, uint64_t page, unsigned klass);

/* True if `pages` can be taken so that `keep` stay free. */
bool pp_page_room(struct pp_region *r, uint64_t pages, uint64_t keep);

/* Pages that this thread must leave: the reserve, the keeper's part of it (deletes), or none (the keeper). */
uint64_t pp_page_keep(const struct pp_thread *t);
void pp_page_count(struct pp_region *r, int64_t freed);
uint64_t pp_page_recount(struct pp_region *r);
uint64_t pp_page_reserve(const struct pp_region *r);

/* ---- sweep.c ---------------------------------------------------------------------------------------------------- */

/* Frees what `safe` allows of the limbo of a page that the caller owns. Number of blocks freed. */
unsigned pp_sweep_page(struct pp_region *r, const struct pp_safe *safe, uint64_t page, unsigned klass);
/* Turns empty pages and retired runs free where t->safe allows it; true if any. At most once an announced version. */
bool pp_sweep_pages(struct pp_thread *t);
/* Looks at every page for something that this class can use, lists or not. */
uint64_t pp_sweep_everything(struct pp_thread *t, unsigned klass);

/* ---- alloc.c ---------------------------------------------------------------------------------------------------- */

/* Sets the limbo bit of a RETIRED block and lists its page if nobody owns it. Anybody, idempotent. */
void pp_limbo_add(struct pp_region *r, pp_ref payload);

/* ---- large.c ---------------------------------------------------------------------------------------------------- */

int pp_large_alloc(struct pp_thread *t, uint64_t bytes, unsigned kind, pp_ref *ref);
/* Frees a run whose block is PRIVATE to the caller. */
bool pp_large_cancel(struct pp_thread *t, uint64_t page);
/* Frees it if its block is RETIRED and safe. */
bool pp_large_sweep(struct pp_thread *t, const struct pp_safe *safe, uint64_t page);
/* Finishes or undoes what the dead owner of slot did to a run. */
void pp_large_reap(struct pp_thread *t, unsigned slot);

#endif
