/*
 * sweep.c - turns retired blocks free, empty pages into free pages, and the keeper's pass over the page table.
 *
 * Only the owner of a page sweeps it; for pages without owner the sweeper becomes the owner for that time, by CAS, with the page
 * named in slot.holding first. A sweep takes the limbo bits of a word (swap with 0), THEN reads the headers: RETIRED and safe ->
 * FREE with the next generation, else the bit goes back. A bit whose block is not RETIRED was set too often and is dropped: if
 * the block is retired right after, the retirer sets the bit again, later than our swap.
 *
 * EMPTY -> FREE (another class may come): only when the announced sets prove that every reader that could have found the page BLOCKS is
 * gone: an interval that begins no later than the era in which it became EMPTY blocks it, whatever its end, because hints reach
 * back to any age. `floor` takes the page's greatest generation, so that the next life's generations lie above it.
 *
 * Dies here: a page owned by the dead slot, found through holding, rebuilt from its headers (reap.c). An EMPTY page half turned
 * FREE is EMPTY still; the reaper starts it again.
 */
#include "shm/alloc_internal.h"
#include "shm/fault.h"

#define LAZY_VERSIONS 64 /* announcements after which the keeper sweeps a page that nobody claimed */

/* ---- one page --------------------------------------------------------------------------------------------------- */

/* RETIRED and safe -> FREE: true. `keep`: still in limbo. */
static bool free_block(struct pp_region *r, const struct pp_safe *safe, struct pp_block *b, unsigned klass, bool *keep)
{
	uint64_t word = pp_load_acq(&b->word), retired;

	*keep = false;
	if (pp_block_state(word) != PP_BLOCK_RETIRED)
		return false;
	retired = pp_load_rlx(&b->retired); /* visible with RETIRED */
	if (retired & PP_PRIVATE_BIT) { /* cancelled, or its allocator died: nobody gave it an era */
		pp_store_rlx(&b->retired, pp_load_seq(&r->globals->era) | PP_MOVED_BIT); /* owner; perhaps it was moved */
		*keep = true;
		return false;
	}
	if (!pp_safe_block(safe, pp_block_birth(word), retired)) {
		*keep = true;
		return false;
	}
	PP_POISON(b + 1, pp_classes[klass].size - sizeof(*b));
	/* [sweep.page:free] pairs [alloc.hint:word]: hints of this life fail from here on */
	pp_store_rel(&b->word, pp_block_freed(word));
	return true;
}

static unsigned sweep_word(struct pp_region *r, const struct pp_safe *safe, uint64_t page, unsigned klass, unsigned w, unsigned carved)
{
	struct pp_page *p = &r->pages[page];
	/* [sweep.page:limbo] pairs [alloc.retire:limbo]: before the headers are read */
	uint64_t taken = pp_swap_acqrel(&p->limbo[w], 0), freed = 0, back = 0;
	bool keep;

	if (carved < (w + 1) * 64)
		taken &= carved > w * 64 ? (UINT64_C(1) << (carved - w * 64)) - 1 : 0;
	for (uint64_t bits = taken; bits; bits &= bits - 1)
		__builtin_prefetch(pp_page_block(r, page, klass, w * 64 + (unsigned)__builtin_ctzll(bits)), 1);
	for (uint64_t bits = taken; bits; bits &= bits - 1) {
		if (free_block(r, safe, pp_page_block(r, page, klass, w * 64 + (unsigned)__builtin_ctzll(bits)), klass, &keep))
			freed |= bits & -bits;
		else if (keep)
			back |= bits & -bits;
	}
	if (back)
		pp_or_acqrel(&p->limbo[w], back);
	if (freed)
		pp_store_rlx(&p->free[w], pp_load_rlx(&p->free[w]) | freed); /* owner */
	return (unsigned)__builtin_popcountll(freed);
}

unsigned pp_sweep_page(struct pp_region *r, const struct pp_safe *safe, uint64_t page, unsigned klass)
{
	struct pp_page *p = &r->pages[page];
	/* [sweep.page:carved] pairs [alloc.carve:carved] */
	unsigned freed = 0, carved = pp_load_acq(&p->carved);

	if (carved > pp_classes[klass].blocks)
		carved = 0; /* damage: nothing in here is known */
	for (unsigned w = 0; w < pp_classes[klass].words; w++)
		if (pp_load_rlx(&p->limbo[w])) /* hint: a bit set right now is the next sweep's */
			freed += sweep_word(r, safe, page, klass, w, carved);
	PP_FAULT_POINT("sweep.page.freed");
	pp_store_rlx(&p->swept, safe->version); /* owner; a hint for others */
	return freed;
}

/* ---- pages and runs that come free ------------------------------------------------------------------------------- */

static void raise_floor(struct pp_region *r, uint64_t page, unsigned klass)
{
	struct pp_page *p = &r->pages[page];
	unsigned carved = pp_load_rlx(&p->carved); /* owner */
	uint32_t floor = pp_load_rlx(&p->floor);   /* owner */

	for (unsigned i = 0; i < carved && i < pp_classes[klass].blocks; i++) {
		uint32_t gen = (uint32_t)pp_block_gen(pp_load_rlx(&pp_page_block(r, page, klass, i)->word)); /* owner */

		floor = gen > floor ? gen : floor;
	}
	if (floor > PP_GEN_MASK - 1024) /* they wrap; nothing compares with one of a million lives ago */
		floor = 0;
	pp_store_rel(&p->floor, floor);
}

/* EMPTY without owner -> FREE, if no reader is left that may look at it. */
static bool free_empty(struct pp_thread *t, const struct pp_safe *safe, uint64_t page)
{
	struct pp_page *p = &t->region->pages[page];
	uint64_t word = pp_load_acq(&p->word);
	unsigned klass = pp_page_class(word);

	if (pp_page_type(word) != PP_PAGE_EMPTY || pp_page_owner(word) || klass >= PP_CLASS_COUNT ||
	    !pp_safe_block(safe, 0, pp_load_acq(&p->retired)))
		return false;
	pp_store_rel(&t->slot->holding, page + 1);
	/* the version in the word proves that `retired` is still the one we judged */
	if (!pp_page_change(p, &word, PP_PAGE_EMPTY, klass, pp_owner_of(t)))
		return false;
	PP_FAULT_POINT("sweep.empty.claimed");
	raise_floor(t->region, page, klass);
	pp_page_to_free(t->region, page, pp_owner_of(t));
	return true;
}

static bool free_listed(struct pp_thread *t, unsigned row, uint64_t segment)
{
	uint32_t bits = pp_load_acq(&pp_row(t->region, row)[segment]);
	bool any = false;

	for (; bits; bits &= bits - 1) {
		uint64_t page = segment * PP_PAGES_PER_SEGMENT + (unsigned)__builtin_ctz(bits);

		pp_row_clear(t->region, row, page);
		if (row == PP_ROW_EMPTY ? free_empty(t, &t->safe, page) : pp_large_sweep(t, &t->safe, page))
			any = true;
		else
			pp_page_relist(t->region, page);
	}
	return any;
}

bool pp_sweep_pages(struct pp_thread *t)
{
	uint64_t segments = pp_pages_committed(t->region) / PP_PAGES_PER_SEGMENT;
	bool any = false;

	if (t->pages_dry == t->safe.version + 1)
		return false;
	for (uint64_t s = 0; s < segments; s++) {
		any |= free_listed(t, PP_ROW_EMPTY, s);
		any |= free_listed(t, PP_ROW_LARGE, s);
	}
	t->pages_dry = t->safe.version + 1;
	return any;
}

uint64_t pp_sweep_everything(struct pp_thread *t, unsigned klass)
{
	struct pp_region *r = t->region;
	uint64_t pages = pp_pages_committed(r);

	t->pages_dry = 0;
	if (pp_sweep_pages(t)) {
		bool reserved;
		uint64_t page = pp_page_take_free(t, klass, false, &reserved);

		if (page)
			return page;
	}
	for (uint64_t page = 0; page < pages; page++) {
		struct pp_page *p = &r->pages[page];
		uint64_t word = pp_load_acq(&p->word);

		if (pp_page_class(word) != klass || pp_page_owner(word))
			continue;
		if ((pp_page_type(word) == PP_PAGE_BLOCKS || pp_page_type(word) == PP_PAGE_EMPTY) && pp_page_try(t, page, klass))
			return page + 1;
	}
	return 0;
}

/* ---- the keeper's pass ------------------------------------------------------------------------------------------- */

/*
 * Threads that claim a page sweep it themselves. The keeper does it where it gains a whole page, where nobody came by for long, and
 * when nothing else goes on; under load it would only take turns with them in sweeping a block here and a block there.
 */
static bool worth_sweeping(struct pp_thread *t, const struct pp_safe *safe, struct pp_page *p, unsigned klass)
{
	uint64_t swept = pp_load_acq(&p->swept);
	unsigned limbo = 0;

	if (klass >= PP_CLASS_COUNT || swept == safe->version)
		return false;
	for (unsigned w = 0; w < pp_classes[klass].words; w++)
		limbo += (unsigned)__builtin_popcountll(pp_load_rlx(&p->limbo[w])); /* hint */
	return limbo && (t->sweep_all || safe->version - swept >= LAZY_VERSIONS ||
			 limbo + pp_load_acq(&p->free_count) >= pp_classes[klass].blocks);
}

static unsigned sweep_ownerless(struct pp_thread *t, struct pp_safe *safe, uint64_t page, uint64_t word)
{
	struct pp_page *p = &t->region->pages[page];
	unsigned klass = pp_page_class(word), freed;

	if (!worth_sweeping(t, safe, p, klass)) {
		pp_page_relist(t->region, page);
		return 0;
	}
	pp_store_rel(&t->slot->holding, page + 1);
	if (!pp_page_change(p, &word, PP_PAGE_BLOCKS, klass, pp_owner_of(t)))
		return 0;
	freed = pp_sweep_page(t->region, safe, page, klass);
	pp_page_let_go(t->region, page, pp_owner_of(t));
	return freed;
}

/* The keeper's own: it sweeps them when it allocates from them, and when nothing else goes on. */
static unsigned sweep_own(struct pp_thread *t, struct pp_safe *safe, uint64_t page, unsigned klass)
{
	return t->sweep_all && worth_sweeping(t, safe, &t->region->pages[page], klass) ? pp_sweep_page(t->region, safe, page, klass) : 0;
}

/* True: something in that page waits for another round, and no other owner will look after it. */
static bool in_limbo(struct pp_thread *t, uint64_t page)
{
	struct pp_region *r = t->region;
	struct pp_page *p = &r->pages[page];
	uint64_t word = pp_load_acq(&p->word);
	unsigned klass = pp_page_class(word);

	if (pp_page_type(word) == PP_PAGE_LARGE)
		return pp_block_state(pp_load_acq(&pp_page_block(r, page, 0, 0)->word)) == PP_BLOCK_RETIRED;
	if (pp_page_type(word) != PP_PAGE_BLOCKS || (pp_page_owner(word) && pp_page_owner(word) != pp_owner_of(t)) || klass >= PP_CLASS_COUNT)
		return pp_page_type(word) == PP_PAGE_EMPTY;
	for (unsigned w = 0; w < pp_classes[klass].words; w++)
		if (pp_load_rlx(&p->limbo[w])) /* hint */
			return true;
	return false;
}

static unsigned sweep_one(struct pp_thread *t, struct pp_safe *safe, uint64_t page)
{
	struct pp_page *p = &t->region->pages[page];
	uint64_t word = pp_load_acq(&p->word);

	switch (pp_page_type(word)) {
	case PP_PAGE_BLOCKS:
		if (pp_page_owner(word) == pp_owner_of(t))
			return sweep_own(t, safe, page, pp_page_class(word));
		return pp_page_owner(word) ? 0 : sweep_ownerless(t, safe, page, word);
	case PP_PAGE_EMPTY:
		if (!free_empty(t, safe, page))
			pp_page_relist(t->region, page);
		return 0;
	case PP_PAGE_LARGE:
		return pp_large_sweep(t, safe, page);
	default:
		pp_page_relist(t->region, page);
		return 0;
	}
}

uint64_t pp_alloc_sweep(struct pp_thread *t, struct pp_safe *safe, uint64_t *cursor, uint64_t pages)
{
	uint64_t count = pp_pages_committed(t->region), freed = 0;

	if (pages > count)
		pages = count; /* once round is enough */
	for (uint64_t i = 0; i < pages; i++) {
		if (*cursor >= count)
			*cursor = 0;
		if (!*cursor) {
			pp_page_recount(t->region);
			t->sweep_all = t->swept_at == safe->version + 1;
			t->swept_at = safe->version + 1;
			t->limbo_left = t->limbo_seen;
			t->limbo_seen = false;
		}
		freed += sweep_one(t, safe, *cursor);
		t->limbo_seen |= in_limbo(t, (*cursor)++);
	}
	pp_store_rel(&t->slot->holding, 0);
	pp_stat_add(&t->slot->count.frees, freed);
	return freed;
}
