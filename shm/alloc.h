/*
 * alloc.h - crash-safe memory in the region: pages of one size class, owned by one thread slot, block headers as the truth.
 *
 * A page (64 KiB) is carved into blocks of one class. The owner takes up to 64 free blocks at once by exchanging a word of the
 * page's free bitmap with 0 into its private hand; anybody frees a block by header RETIRED/PRIVATE -> FREE (generation + 1) and
 * setting its bit. Retiring sets the block's header to RETIRED with the era, then its bit in `limbo`; limbo blocks are freed by
 * whoever sweeps the page (its owner when it needs blocks; the keeper for pages without an owner) if the announced intervals
 * allow it. Pages that have free or limbo blocks and no owner are found through the partial bits (idempotent: setting twice does
 * no harm, a bit lost at a death is set again by the keeper). A page whose blocks are all free becomes EMPTY, and FREE (another
 * class) only after a full reclamation round, because hints may still look at it.
 *
 * Dies inside: the reaper walks the pages its slot owned (slot.page[], plus a page table scan for CLAIMING runs), rebuilds both bitmaps
 * from the headers, and asks the engine about PRIVATE blocks (noted ones may be linked already).
 */
#ifndef PP_SHM_ALLOC_H
#define PP_SHM_ALLOC_H

#include "shm/reclaim.h"
#include "shm/thread.h"

/* Block size of a class, header included; class of a payload of `bytes`, or PP_CLASS_LARGE. Steps: 8 bytes up to 320, then
 * eight steps a doubling up to half a page. */
#define PP_CLASS_LARGE PP_CLASSES
unsigned pp_class_of(uint64_t payload_bytes);
uint64_t pp_class_bytes(unsigned klass);

/* Header of a payload reference, and back. */
static inline struct pp_block *pp_block_at(const struct pp_region *r, pp_ref payload)
{
	return (struct pp_block *)(r->base + payload - sizeof(struct pp_block));
}

/*
 * A block for `payload_bytes`, state PRIVATE, birth era = now, payload not cleared, 8-byte aligned; *ref = offset of its
 * payload. Allocates without locked instructions in the common case. PPDB_FULL when the arena (less the reserve unless
 * t->reserve) or the tmpfs is full. Caller must be inside a read section (so the birth era is covered).
 */
int pp_alloc(struct pp_thread *t, uint64_t payload_bytes, pp_ref *ref);

/* PRIVATE -> FREE at once: only for a block that was never linked. */
void pp_alloc_cancel(struct pp_thread *t, pp_ref ref);

/* PRIVATE -> LIVE after linking; by the linker or any helper, idempotent. `gen` guards against a block that was freed since. */
void pp_alloc_live(struct pp_thread *t, pp_ref ref, uint64_t gen);

/* LIVE (or PRIVATE: helped to LIVE first) -> RETIRED after unlinking. True for the one winner. Never allocates, never blocks. */
bool pp_retire(struct pp_thread *t, pp_ref ref, uint64_t gen);

static inline uint64_t pp_gen_of(const struct pp_region *r, pp_ref payload)
{
	/* recheck: callers compare it inside a CAS or use it as a hint */
	return pp_block_gen(pp_load_rlx(&pp_block_at(r, payload)->word));
}

/* True if `ref` is a LIVE block of generation `gen` in a page of class `klass`: the test every hint takes, inside a read section and
 * after the hint was loaded (page type first, then header). */
bool pp_hint_live(struct pp_thread *t, pp_ref ref, uint64_t gen_low_bits, uint64_t gen_mask, unsigned klass);

/* Gives all pages and hands of the thread back (thread exit). */
void pp_alloc_release(struct pp_thread *t);

/*
 * The keeper's steps; each bounded. pp_alloc_sweep looks at up to `pages` page table entries from *cursor: frees limbo blocks
 * of pages without owner, re-lists pages whose partial bit was lost, turns EMPTY pages to FREE, empties released pages. `safe` is
 * the caller's refreshed copy. Returns the number of blocks freed.
 */
uint64_t pp_alloc_sweep(struct pp_thread *t, struct pp_safe *safe, uint64_t *cursor, uint64_t pages);

/*
 * After a death: takes over the pages of slot `slot` (which nobody else uses any more), rebuilds their bitmaps, and for each PRIVATE
 * block asks `linked(ctx, payload, gen)`: true = make it LIVE, false = free it. Then the pages have no owner. Idempotent.
 */
void pp_alloc_reap(struct pp_thread *t, unsigned slot, bool (*linked)(void *ctx, pp_ref payload, uint64_t gen), void *ctx);

/* The account of every byte, for the integrity check and `ppdb mem`: calls back for each block (payload, bytes, header word) and fills
 * totals. On a live region numbers are approximate; on a quiet one they add up to committed bytes exactly. */
struct pp_account {
	uint64_t committed_bytes, table_bytes, free_page_bytes, empty_page_bytes, page_tail_bytes /* not carved + remainder */,
		free_bytes, private_bytes, live_bytes, limbo_bytes, large_bytes, pages, blocks_live, blocks_limbo, blocks_private,
		blocks_free;
	uint64_t class_live[PP_CLASSES + 1], class_bytes[PP_CLASSES + 1];
};
int pp_account_walk(struct pp_region *, struct pp_account *out, int (*block)(void *ctx, pp_ref payload, uint64_t bytes, uint64_t word),
		    void *ctx);

#endif
