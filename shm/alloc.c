/*
 * alloc.c - blocks: hand out, make live, retire, and the test that hints take.
 *
 * Common path of pp_alloc: the lowest bit of a private hand (at most 64 free blocks of one bitmap word of the owned page), then the
 * block's header: whose it is, then PRIVATE with the generation that is there and the birth era. No locked instruction.
 *
 * Birth era: inside a read section the slot's published `high`, not the era word. It is no later than the era of the link,
 * which is all that readers need, and it lies in our own interval, so a block that others retire right after our link stays as
 * long as we do.
 *
 * States change only so, and only the holder of the page takes a block out of RETIRED or FREE:
 *   FREE -> PRIVATE   owner of the page, plain store             PRIVATE -> LIVE     CAS, linker or helper
 *   LIVE -> RETIRED   CAS, one winner                            PRIVATE -> RETIRED  CAS, the same, or cancel, or the reaper
 *   RETIRED -> FREE   holder of the page, in a sweep (sweep.c)   PRIVATE -> FREE     owner of page and block, cancel
 *
 * The retire era is read after the header is RETIRED: a hint can lead a reader to a block that is unlinked but LIVE still, so an era
 * read before would be too old for that reader (tests/model/reclaim.pml, mutant M_RETIRE_EARLY). Until it is stored, `retired` holds
 * PP_PRIVATE_OF from the allocation: a sweep that meets that (the retirer died or cancelled) stores the era of its own time.
 *
 * A retirer sets the block's limbo bit after its header (pp_limbo_add); a sweeper takes the bit before it reads the header; so no
 * RETIRED block stays without a bit except by the retirer's death, and for that slot.moving names the block before its CAS.
 *
 * When no page can be had for a class, a block of a larger one serves: a block's class is its page's, whoever asked for how much.
 *
 * PRIVATE blocks in a page that its owner has given up would be lost with their thread. Therefore the last pages given up since the
 * thread entered its read section are named in slot.parked; when that overflows, pages that hold no PRIVATE block of ours are
 * dropped from it, and if none can be, scan_all makes the reaper look at all pages. Blocks that are kept PRIVATE for longer have their pages
 * named in slot.reserved.
 *
 * Dies here: PRIVATE blocks of its slot in owned, parked or (scan_all) any pages; bits in its hand; a RETIRED block without bit. All
 * found by reap.c through the slot.
 */
#include "shm/alloc_internal.h"
#include "shm/fault.h"
#include "shm/place.h"

/* ---- the hand --------------------------------------------------------------------------------------------------- */

static void take_word(struct pp_thread *t, struct pp_hand *h, unsigned klass, unsigned word, uint64_t bits)
{
	uint64_t page = h->page - 1;

	h->bits = bits;
	h->word = word;
	h->size = pp_classes[klass].size;
	h->at = pp_page_ref(t->region, page) + (uint64_t)word * 64 * h->size + sizeof(struct pp_block);
}

static bool take_free_bits(struct pp_thread *t, struct pp_hand *h, unsigned klass)
{
	struct pp_page *p = &t->region->pages[h->page - 1];
	unsigned words = pp_classes[klass].words;

	for (unsigned i = 0; i < words; i++) {
		unsigned w = h->word + i < words ? h->word + i : h->word + i - words;
		uint64_t bits = pp_load_rlx(&p->free[w]); /* owner */

		if (!bits)
			continue;
		pp_store_rlx(&p->free[w], 0); /* owner */
		bits &= pp_word_mask(klass, w);
		if (!bits)
			continue; /* damage: the page has no such blocks */
		take_word(t, h, klass, w, bits);
		return true;
	}
	return false;
}

/* Gives up to 64 more blocks a header, within one bitmap word. */
static bool carve(struct pp_thread *t, struct pp_hand *h, unsigned klass)
{
	struct pp_page *p = &t->region->pages[h->page - 1];
	unsigned first = pp_load_rlx(&p->carved), end = (first | 63) + 1; /* owner */
	uint64_t word = PP_BLOCK_WORD(PP_BLOCK_FREE, 0, pp_load_rlx(&p->floor) + 1, 0);

	if (end > pp_classes[klass].blocks)
		end = pp_classes[klass].blocks;
	if (first >= end)
		return false;
	for (unsigned i = first; i < end; i++) {
		struct pp_block *b = pp_page_block(t->region, h->page - 1, klass, i);

		pp_store_rlx(&b->retired, 0); /* owner; both released by `carved` */
		pp_store_rlx(&b->word, word);
	}
	/* [alloc.carve:carved] pairs [sweep.page:carved]: the headers of all blocks below it */
	pp_store_rel(&p->carved, end);
	take_word(t, h, klass, first / 64, (end - first == 64 ? ~UINT64_C(0) : (UINT64_C(1) << (end - first)) - 1) << first % 64);
	return true;
}

/* From the owned page only. Its limbo is looked at once for each announcement. */
static bool take_from_page(struct pp_thread *t, struct pp_hand *h, unsigned klass)
{
	struct pp_page *p = &t->region->pages[h->page - 1];

	if (take_free_bits(t, h, klass))
		return true;
	if (pp_load_rlx(&p->swept) != t->safe.version && pp_sweep_page(t->region, &t->safe, h->page - 1, klass))
		return take_free_bits(t, h, klass);
	return carve(t, h, klass);
}

static void put_back(struct pp_thread *t, struct pp_hand *h)
{
	pp_a64 *free;

	if (!h->bits)
		return;
	free = &t->region->pages[h->page - 1].free[h->word];
	pp_store_rlx(free, pp_load_rlx(free) | h->bits); /* owner */
	h->bits = 0;
}

/* ---- pages given up ---------------------------------------------------------------------------------------------- */

static bool holds_private(struct pp_thread *t, uint64_t page)
{
	struct pp_page *p = &t->region->pages[page];
	uint64_t word = pp_load_acq(&p->word);
	unsigned klass = pp_page_class(word), carved = pp_load_acq(&p->carved);

	if (pp_page_type(word) != PP_PAGE_BLOCKS || klass >= PP_CLASS_COUNT)
		return false;
	for (unsigned i = 0; i < carved && i < pp_classes[klass].blocks; i++) {
		struct pp_block *b = pp_page_block(t->region, page, klass, i);

		if (pp_block_state(pp_load_rlx(&b->word)) == PP_BLOCK_PRIVATE && /* owner: ours do not change meanwhile */
		    pp_load_rlx(&b->retired) == PP_PRIVATE_OF(t->index))
			return true;
	}
	return false;
}

static void drop_parked(struct pp_thread *t)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < PP_PARKED; i++) {
		uint32_t page = pp_load_rlx(&t->slot->parked[i]); /* owner */

		if (page && page <= pp_pages_committed(t->region) && holds_private(t, page - 1))
			pp_store_rel(&t->slot->parked[kept++], page); /* an entry may stand twice for a moment, never not at all */
	}
	for (unsigned i = kept; i < PP_PARKED; i++)
		pp_store_rel(&t->slot->parked[i], 0);
	t->parked = kept;
}

/* Before a page is given up: blocks of it may still be PRIVATE. */
static void park(struct pp_thread *t, uint32_t page)
{
	if (t->parked_at != t->enters || !t->depth) {
		t->parked_at = t->enters;
		t->parked = 0;
		pp_store_rel(&t->slot->scan_all, 0);
	}
	if (t->parked == PP_PARKED && !pp_load_rlx(&t->slot->scan_all)) /* owner */
		drop_parked(t);
	if (t->parked == PP_PARKED)
		pp_store_rel(&t->slot->scan_all, 1);
	else
		pp_store_rel(&t->slot->parked[t->parked++], page);
}

bool pp_alloc_keep(struct pp_thread *t, pp_ref ref)
{
	uint32_t page = (uint32_t)pp_page_index(t->region, ref - sizeof(struct pp_block)) + 1;

	for (unsigned i = 0; i < PP_RESERVED; i++)
		if (!pp_load_rlx(&t->slot->reserved[i])) { /* owner */
			pp_store_rel(&t->slot->reserved[i], page);
			return true;
		}
	return false;
}

void pp_alloc_forget(struct pp_thread *t, pp_ref ref)
{
	uint32_t page = (uint32_t)pp_page_index(t->region, ref - sizeof(struct pp_block)) + 1;

	for (unsigned i = 0; i < PP_RESERVED; i++)
		if (pp_load_rlx(&t->slot->reserved[i]) == page) { /* owner: another block of that page has another entry */
			pp_store_rel(&t->slot->reserved[i], 0);
			return;
		}
}

static void give_up(struct pp_thread *t, struct pp_hand *h)
{
	if (!h->page)
		return;
	put_back(t, h);
	park(t, h->page);
	PP_FAULT_POINT("alloc.giveup.parked");
	pp_page_let_go(t->region, h->page - 1, pp_owner_of(t));
	h->page = 0;
}

/* ---- refill ----------------------------------------------------------------------------------------------------- */

/* The page that slot.holding names becomes the class's page. */
static bool install(struct pp_thread *t, unsigned klass, uint64_t page, bool reserved)
{
	struct pp_hand *h = pp_hand_of(t, klass);

	PP_FAULT_POINT("alloc.install.claimed");
	give_up(t, h);
	pp_store_rel(&t->slot->page[t->place][klass], (uint32_t)page);
	pp_store_rel(&t->slot->holding, 0);
	h->page = (uint32_t)page;
	take_word(t, h, klass, 0, 0);
	h->reserved = reserved;
	return take_from_page(t, h, klass);
}

/* Several nodes: a page of the preferred one, for which the arena grows before another node's pages are taken. */
static uint64_t find_near(struct pp_thread *t, unsigned klass, bool *reserved)
{
	uint64_t page;

	t->near_only = true;
	page = pp_page_take_partial(t, klass);
	for (unsigned i = 0; !page && i < 2; i++) {
		page = pp_page_take_free(t, klass, false, reserved);
		if (!page && !pp_sweep_pages(t))
			break;
	}
	if (!page && !pp_region_grow(t->region, t->node))
		page = pp_page_take_free(t, klass, false, reserved);
	t->near_only = false;
	return page;
}

/* A page that nobody has used, so that its blocks are handed out one after the other. */
static uint64_t find_fresh(struct pp_thread *t, unsigned klass, bool *reserved)
{
	uint64_t page = pp_page_take_free(t, klass, false, reserved);

	if (!page && !pp_region_grow(t->region, t->node))
		page = pp_page_take_free(t, klass, false, reserved);
	return page;
}

/* Another page for the class: listed, free, grown, and when all is full whatever a look at everything finds. */
static uint64_t find_page(struct pp_thread *t, unsigned klass, bool *reserved)
{
	struct pp_hand *h = pp_hand_of(t, klass);
	uint64_t page;

	if (t->fresh)
		return find_fresh(t, klass, reserved);
	page = t->region->fixed.nodes > 1 ? find_near(t, klass, reserved) : 0;
	if (page)
		return page;
	*reserved = false;
	page = pp_page_take_partial(t, klass);
	for (unsigned i = 0; !page && i < 8; i++) { /* others may take what we made free: not for ever */
		page = pp_page_take_free(t, klass, false, reserved);
		if (!page && !pp_sweep_pages(t) && pp_region_grow(t->region, t->node))
			break;
	}
	if (page)
		return page;
	if (h->full != t->safe.version + 1 || ++h->skips % 64 == 0) {
		h->full = t->safe.version + 1;
		page = pp_sweep_everything(t, klass);
	}
	if (!page)
		page = pp_page_take_free(t, klass, t->reserve, reserved);
	return page;
}

static int refill(struct pp_thread *t, unsigned klass)
{
	struct pp_hand *h = pp_hand_of(t, klass);
	bool barred = h->reserved && !t->reserve, reserved;

	pp_safe_refresh(t->region, &t->safe); /* without memory: the old copy, or nothing is safe for now */
	if (h->page && !barred && take_from_page(t, h, klass))
		return 0;
	for (;;) {
		uint64_t page = find_page(t, klass, &reserved);

		if (!page)
			return pp_region_full(t->region);
		if (install(t, klass, page, reserved))
			return 0;
	}
}

/* A full arena has no page for a class that has none yet, but blocks of the next ones: the first that can be had, else PP_CLASSES. */
static unsigned larger(struct pp_thread *t, unsigned klass)
{
	unsigned k = klass + 1;

	for (; k < PP_CLASS_COUNT && pp_classes[k].size <= 2 * pp_classes[klass].size; k++) {
		struct pp_hand *h = pp_hand_of(t, k);

		if ((h->bits && (!h->reserved || t->reserve)) || !refill(t, k))
			return k;
	}
	return PP_CLASSES;
}

int pp_alloc(struct pp_thread *t, uint64_t payload_bytes, unsigned kind, pp_ref *ref)
{
	unsigned klass = pp_class_of(payload_bytes), i;
	struct pp_hand *h;
	struct pp_block *b;

	if (__builtin_expect(klass == PP_CLASS_LARGE, 0))
		return pp_large_alloc(t, payload_bytes, kind, ref);
	h = pp_hand_of(t, klass);
	if (__builtin_expect(!h->bits || (h->reserved && !t->reserve), 0)) {
		int rc = refill(t, klass);

		if (rc) {
			klass = larger(t, klass);
			if (klass == PP_CLASSES)
				return rc;
			h = pp_hand_of(t, klass);
		}
	}
	i = (unsigned)__builtin_ctzll(h->bits);
	h->bits &= h->bits - 1;
	*ref = h->at + (uint64_t)i * h->size;
	b = pp_block_at(t->region, *ref);
	/* owner: nobody else changes a FREE block of our page */
	pp_store_rlx(&b->retired, PP_PRIVATE_OF(t->index));
	/* [alloc.alloc:word] pairs [alloc.hint:word]: a hint that finds this life's generation finds it PRIVATE first */
	pp_store_rel(&b->word, PP_BLOCK_WORD(PP_BLOCK_PRIVATE, kind, pp_block_gen(pp_load_rlx(&b->word)),
					     t->depth ? t->high : pp_era(t)));
	if (h->bits) /* the next one's header, while the caller fills this one */
		__builtin_prefetch(pp_block_at(t->region, h->at + (uint64_t)__builtin_ctzll(h->bits) * h->size), 1);
	pp_count(&t->slot->count.allocs, 1);
	return 0;
}

/* ---- the other states -------------------------------------------------------------------------------------------- */

/* Back into the page that we own still: at once. */
static void cancel_own(struct pp_thread *t, struct pp_hand *h, struct pp_block *b, uint64_t word, unsigned index)
{
	pp_a64 *free = &t->region->pages[h->page - 1].free[index / 64];

	pp_store_rel(&b->word, pp_block_freed(word));
	if (h->word == index / 64)
		h->bits |= UINT64_C(1) << index % 64;
	else
		pp_store_rlx(free, pp_load_rlx(free) | UINT64_C(1) << index % 64); /* owner */
	pp_stat_add(&t->slot->count.frees, 1);
}

void pp_alloc_cancel(struct pp_thread *t, pp_ref ref)
{
	struct pp_region *r = t->region;
	struct pp_block *b = pp_block_at(r, ref);
	uint64_t page = pp_page_index(r, ref), word = pp_load_acq(&b->word), page_word = pp_load_acq(&r->pages[page].word);
	unsigned klass = pp_page_class(page_word);

	if (pp_block_state(word) != PP_BLOCK_PRIVATE)
		return;
	if (pp_page_type(page_word) == PP_PAGE_LARGE) {
		pp_large_cancel(t, page);
		return;
	}
	if (pp_page_type(page_word) != PP_PAGE_BLOCKS || klass >= PP_CLASS_COUNT)
		return;
	if (pp_hand_of(t, klass)->page == page + 1) {
		cancel_own(t, pp_hand_of(t, klass), b, word, pp_block_index(klass, ref - pp_page_ref(r, page)));
		return;
	}
	pp_store_rel(&t->slot->moving, ref);
	/* PP_PRIVATE_OF stays in `retired`: the first sweep stamps the era */
	if (pp_cas_acqrel(&b->word, &word, pp_block_with(word, PP_BLOCK_RETIRED)))
		pp_limbo_add(r, ref);
}

void pp_alloc_live(struct pp_thread *t, pp_ref ref, uint64_t gen)
{
	struct pp_block *b = pp_block_at(t->region, ref);
	uint64_t word;

	if (!pp_ref_inside(t->region, ref, 0))
		return;
	word = pp_load_acq(&b->word);
	while (pp_block_state(word) == PP_BLOCK_PRIVATE && pp_block_gen(word) == (gen & PP_GEN_MASK))
		/* [alloc.live:word] pairs [alloc.hint:word]: who finds it LIVE finds it linked */
		if (pp_cas_acqrel(&b->word, &word, pp_block_with(word, PP_BLOCK_LIVE)))
			return;
}

/* Are `count` bits set? Without a function call where the machine has no such instruction. */
static inline bool at_least(uint64_t bits, unsigned count)
{
	while (--count && bits)
		bits &= bits - 1;
	return bits;
}

void pp_limbo_add(struct pp_region *r, pp_ref ref)
{
	uint64_t page = pp_page_index(r, ref - sizeof(struct pp_block)), bit, old;
	struct pp_page *p = &r->pages[page];
	uint64_t word = pp_load_acq(&p->word); /* type and class stand as long as the block is not FREE */
	unsigned klass = pp_page_class(word), index;
	pp_a64 *limbo;

	if (pp_page_type(word) == PP_PAGE_LARGE) {
		pp_row_set(r, PP_ROW_LARGE, page);
		return;
	}
	if (pp_page_type(word) != PP_PAGE_BLOCKS || klass >= PP_CLASS_COUNT)
		return;
	index = pp_block_index(klass, ref - sizeof(struct pp_block) - pp_page_ref(r, page));
	bit = UINT64_C(1) << index % 64;
	limbo = &p->limbo[index / 64];
	old = pp_load_seq(limbo);
	/* [alloc.retire:limbo] pairs [sweep.page:limbo]: the header is RETIRED, with its era */
	while (!(old & bit) && !pp_cas_seq(limbo, &old, old | bit))
		;
	PP_FAULT_POINT("alloc.retire.limbo");
	word = pp_load_seq(&p->word); /* see page.c: after the bit */
	/* one word's share of a page that is worth a visit; the keeper lists the others */
	if (!pp_page_owner(word) && at_least(old | bit, pp_classes[klass].worth < 8 ? pp_classes[klass].worth : 8))
		pp_row_set(r, klass, page);
}

static bool retire(struct pp_thread *t, pp_ref ref, uint64_t gen, uint64_t moved)
{
	struct pp_block *b = pp_block_at(t->region, ref);
	uint64_t word;

	if (!pp_ref_inside(t->region, ref, 0))
		return false;
	word = pp_load_acq(&b->word);
	/* [alloc.retire:moving] pairs [reap.slot:moving]: before the header, so a RETIRED block without a bit is found */
	pp_store_rel(&t->slot->moving, ref);
	do {
		if (pp_block_gen(word) != (gen & PP_GEN_MASK) ||
		    (pp_block_state(word) != PP_BLOCK_LIVE && pp_block_state(word) != PP_BLOCK_PRIVATE))
			return false;
	} while (!pp_cas_seq(&b->word, &word, pp_block_with(word, PP_BLOCK_RETIRED)));
	PP_FAULT_POINT("alloc.retire.header");
	/* the era after RETIRED, both seq: whoever found the block linked, or LIVE by a hint, entered no later than it */
	pp_store_rlx(&b->retired, pp_load_seq(&t->region->globals->era) | moved); /* owner: only the winner; released by the limbo bit */
	PP_FAULT_POINT("alloc.retire.era");
	pp_limbo_add(t->region, ref);
	pp_stat_add(&t->slot->count.retires, 1);
	return true;
}

bool pp_retire(struct pp_thread *t, pp_ref ref, uint64_t gen)
{
	return retire(t, ref, gen, 0);
}

void pp_retire_near(struct pp_thread *t, pp_ref ref)
{
	uint64_t page;

	if (!pp_ref_near(t->region, ref))
		return;
	page = pp_page_index(t->region, ref - sizeof(struct pp_block));
	for (unsigned i = 0; i < 4; i++) /* its word, and limbo */
		pp_near((const char *)&t->region->pages[page] + PP_CACHE_LINE * i);
}

bool pp_retire_moved(struct pp_thread *t, pp_ref ref, uint64_t gen)
{
	return retire(t, ref, gen, PP_MOVED_BIT);
}

/* ---- ahead, and release --------------------------------------------------------------------------------------------- */

bool pp_alloc_ahead(struct pp_thread *t, uint64_t pages)
{
	uint64_t want = pages + pp_page_reserve(t->region);

	if ((int64_t)pp_load_rlx(&t->region->globals->free_pages) >= (int64_t)want || pp_page_recount(t->region) >= want) /* hint */
		return false;
	return !pp_region_grow(t->region, pp_place_turn(&t->region->fixed, pp_load_acq(&t->region->globals->committed_segments)));
}

static void release_hand(struct pp_thread *t, unsigned place, unsigned klass)
{
	struct pp_hand *h = &t->hand[place][klass];

	if (!h->page)
		return;
	put_back(t, h);
	pp_page_let_go(t->region, h->page - 1, pp_owner_of(t));
	h->page = 0;
	h->reserved = false;
	pp_store_rel(&t->slot->page[place][klass], 0);
}

void pp_alloc_release(struct pp_thread *t)
{
	for (unsigned place = 0; place < PP_PLACES; place++)
		for (unsigned c = 0; c < PP_CLASS_COUNT; c++)
			release_hand(t, place, c);
	for (unsigned i = 0; i < PP_PARKED; i++)
		pp_store_rel(&t->slot->parked[i], 0);
	t->parked = 0;
	pp_store_rel(&t->slot->scan_all, 0);
	pp_store_rel(&t->slot->large_first, 0);
	pp_store_rel(&t->slot->holding, 0);
	pp_store_rel(&t->slot->moving, 0);
}
