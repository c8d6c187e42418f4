/*
 * alloc.h - crash-safe memory in the region: pages of one size class, owned by one thread slot, block headers as the truth.
 *
 * A page (64 KiB) is carved into blocks of one class. The owner takes up to 64 free blocks at once from a word of the page's free
 * bitmap into its private hand; only the owner touches that bitmap. Retiring sets the block's header to RETIRED with the era, then
 * its bit in `limbo`; limbo blocks are freed by whoever sweeps the page (its owner when it needs blocks; the keeper, or a thread
 * that claims it, for pages without an owner) if the announced intervals allow it. Pages that have free or limbo blocks and no
 * owner are found through the partial bits (idempotent: setting twice does no harm, a bit lost at a death is set again by the
 * reaper or the keeper). A page whose blocks are all free becomes EMPTY, and FREE (another class) only after a full reclamation
 * round, because hints may still look at it.
 *
 * Dies inside: the reaper walks the pages its slot owned (slot.page[], plus a page table scan for CLAIMING runs), rebuilds both bitmaps
 * from the headers, and asks the engine about PRIVATE blocks (noted ones may be linked already).
 */
#ifndef PP_SHM_ALLOC_H
#define PP_SHM_ALLOC_H

#include "shm/reclaim.h"
#include "shm/thread.h"

/* Block size of a class, header included (0: no such class); class of a payload of `bytes`, or PP_CLASS_LARGE. Steps: 8 bytes up
 * to 320, then some eight a doubling up to half a page, each as large as its number of blocks a page allows. */
#define PP_CLASS_LARGE PP_CLASSES
unsigned pp_class_of(uint64_t payload_bytes);
uint64_t pp_class_bytes(unsigned klass);

/* Header of a payload reference, and back. */
static inline struct pp_block *pp_block_at(const struct pp_region *r, pp_ref payload)
{
	return (struct pp_block *)(r->base + payload - sizeof(struct pp_block));
}

/*
 * A block for `payload_bytes` of `kind` (0..3, the engine's, kept in the header), state PRIVATE, payload not cleared, 8-byte
 * aligned; *ref = offset of its payload. No locked instruction in the common case. PPDB_FULL when the arena (less the reserve
 * unless t->reserve) or the tmpfs is full. The caller is inside a read section, and the block is LIVE, retired or cancelled before
 * that section ends: so far reaches a reaper's knowledge of where the slot's PRIVATE blocks are; or it is kept:
 */
int pp_alloc(struct pp_thread *t, uint64_t payload_bytes, unsigned kind, pp_ref *ref);

/* The block stays PRIVATE beyond this section: the slot remembers its page, for the reaper. False: it remembers PP_RESERVED already. It is
 * linked, or cancelled, inside some later section, and forgotten after that. A birth era from before only protects more. */
bool pp_alloc_keep(struct pp_thread *t, pp_ref ref);
void pp_alloc_forget(struct pp_thread *t, pp_ref ref);

/* PRIVATE -> FREE, at once if its page is still ours: only for the caller's own block that was never linked. */
void pp_alloc_cancel(struct pp_thread *t, pp_ref ref);

/* PRIVATE -> LIVE after linking; by the linker or any helper, idempotent. `gen` guards against a block that was freed since. */
void pp_alloc_live(struct pp_thread *t, pp_ref ref, uint64_t gen);

/* LIVE (or PRIVATE, if its linker has not said so yet) -> RETIRED after unlinking. True for the one winner. Never allocates, never
 * blocks. The caller protects the block: it is inside a read section from before the unlink on. The unlinking CAS should be
 * sequentially consistent (on x86-64 each is). */
bool pp_retire(struct pp_thread *t, pp_ref ref, uint64_t gen);

/* Brings near what retiring the block will need. Any reference is allowed. */
void pp_retire_near(struct pp_thread *t, pp_ref ref);

/* The same for a block whose contents live on elsewhere: also a snapshot that handed out its bytes keeps it, until it is dropped. */
bool pp_retire_moved(struct pp_thread *t, pp_ref ref, uint64_t gen);

static inline uint64_t pp_gen_of(const struct pp_region *r, pp_ref payload)
{
	if (__builtin_expect(!pp_ref_inside(r, payload, 0), 0))
		return 0; /* damage */
	/* recheck: callers compare it inside a CAS or use it as a hint */
	return pp_block_gen(pp_load_rlx(&pp_block_at(r, payload)->word));
}

/*
 * True if the block stands in a page that nobody owns and of which a good part is free: what still stands there keeps the rest from other
 * classes, and from being given back. By the counts of the last owner. Any reference is allowed.
 */
bool pp_page_sparse(struct pp_region *, pp_ref ref);

struct pp_class {
	uint32_t size, reciprocal; /* 2^32 / size, rounded up: offset * reciprocal >> 32 is exact for offsets within a page */
	uint16_t blocks, words;    /* a page's blocks, and bitmap words for them */
	uint16_t worth;            /* a page with fewer free and limbo blocks is not listed */
};
extern const struct pp_class pp_classes[PP_CLASSES]; /* 0 blocks: no such class */

static inline unsigned pp_block_index(unsigned klass, uint64_t offset_in_page)
{
	return (unsigned)(offset_in_page * pp_classes[klass].reciprocal >> 32);
}

/* Does a block begin at `offset` of that page, by its word? A stale hint may name the middle of a block of today's class. */
static inline bool pp_block_begins(struct pp_page *p, uint64_t word, uint64_t offset)
{
	unsigned klass = pp_page_class(word), index;

	if (__builtin_expect(pp_page_type(word) != PP_PAGE_BLOCKS, 0))
		return pp_page_type(word) == PP_PAGE_LARGE && !offset;
	if (klass >= PP_CLASSES)
		return false;
	index = pp_block_index(klass, offset);
	return index * pp_classes[klass].size == offset && index < pp_load_acq(&p->carved);
}

/* True if `ref` is the payload of a LIVE block of this kind and generation (bits of `gen_mask`): the test every hint takes, inside
 * a read section and after the hint was loaded. Page table first (type BLOCKS or LARGE, `ref` on a block boundary of the class), then the
 * header. `ref` may be any number. */
static inline bool pp_hint_live(struct pp_thread *t, pp_ref ref, uint64_t gen, uint64_t gen_mask, unsigned kind)
{
	const struct pp_region *r = t->region;
	uint64_t at = ref - sizeof(struct pp_block) - r->segments_at, word;
	struct pp_page *page;

	if (__builtin_expect(!pp_ref_inside(r, ref, 8), 0))
		return false;
	page = &r->pages[at / PP_PAGE_BYTES];
	/* before the header: a page changes its class only when no reader that saw the old one is left */
	word = pp_load_acq(&page->word);
	if (__builtin_expect(!pp_block_begins(page, word, at % PP_PAGE_BYTES), 0))
		return false;
	/* [alloc.hint:word] pairs [alloc.live:word], [alloc.alloc:word] and [sweep.page:free] */
	word = pp_load_acq(&pp_block_at(r, ref)->word);
	/* state, kind and generation at once */
	return !((word ^ PP_BLOCK_WORD(PP_BLOCK_LIVE, kind, gen, 0)) & PP_BLOCK_WORD(3, 3, gen_mask, 0));
}

/* Gives all pages and hands of the thread back (thread exit). */
void pp_alloc_release(struct pp_thread *t);

/*
 * The keeper's steps; each bounded. pp_alloc_sweep looks at up to `pages` page table entries from *cursor: frees limbo blocks
 * of pages without owner (where that is worth it; all that is safe when nothing was announced since the last pass began), re-lists
 * pages whose partial bit was lost, turns EMPTY pages to FREE, frees retired runs. `safe` is the caller's refreshed copy. Returns
 * the number of blocks freed.
 */
uint64_t pp_alloc_sweep(struct pp_thread *t, struct pp_safe *safe, uint64_t *cursor, uint64_t pages);

/* Backs one more segment if fewer than `pages` pages are free beyond the reserve: called by the keeper now and then, it spares the
 * writers the time that fresh memory takes. True if it did. */
bool pp_alloc_ahead(struct pp_thread *t, uint64_t pages);

/*
 * Gives free pages of a segment back to the system, while more than `keep` pages are free: a call chooses them, one after the next round
 * gives them. True if it did. Whoever needs memory takes them again (pp_region_grow).
 */
struct pp_release {
	uint64_t segment, era;             /* chosen: index + 1, and when */
	uint32_t mask;                     /* its pages that were free then, with their words */
	bool huge;                         /* it may have been one huge page */
	uint64_t word[PP_PAGES_PER_SEGMENT];
};
bool pp_release_step(struct pp_thread *t, struct pp_release *, uint64_t keep);

/*
 * After a death: takes over the pages of slot `slot` (which nobody else uses any more), rebuilds their bitmaps, and for each PRIVATE
 * block of the slot asks `linked(ctx, payload, gen)` (NULL: none is): true = make it LIVE, false = retire it. Then the pages have no
 * owner. The dead slot's interval must still stand. Idempotent, also when the reaper itself was killed inside.
 */
void pp_alloc_reap(struct pp_thread *t, unsigned slot, bool (*linked)(void *ctx, pp_ref payload, uint64_t gen), void *ctx);

/* The account of every byte, for the integrity check and `ppdb mem`: calls back for each block (payload, bytes, header word) and fills
 * totals. On a live region numbers are approximate; on a quiet one table + free_page + empty_page + page_tail + free + private +
 * live + limbo are exactly committed_bytes and stray_bytes is 0. PPDB_CORRUPT with a sentence for an impossible page. */
struct pp_account {
	uint64_t committed_bytes /* backed by memory */, hole_bytes /* given back, not among them */, table_bytes, free_page_bytes, empty_page_bytes, page_tail_bytes /* not carved + remainder */,
		free_bytes, private_bytes, live_bytes, limbo_bytes /* by state, large runs included */,
		large_bytes /* of these in runs */, stray_bytes /* parts of a run without its first page */, pages, blocks_live, blocks_limbo, blocks_private,
		blocks_free;
	uint64_t class_live[PP_CLASSES + 1], class_bytes[PP_CLASSES + 1];
};
/* Calls back for each block in limbo in `pages` pages from page `from` on; returns the page to go on with, or the number of pages. A blur
 * on a live region. */
uint64_t pp_limbo_walk(struct pp_region *, uint64_t from, uint64_t pages, void (*block)(void *ctx, uint64_t birth, uint64_t retired, uint64_t bytes),
		       void *ctx);
int pp_account_walk(struct pp_region *, struct pp_account *out, int (*block)(void *ctx, pp_ref payload, uint64_t bytes, uint64_t word),
		    void *ctx);

#endif
