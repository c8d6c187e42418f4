/*
 * reap.c - takes back what a dead thread held in the allocator: its pages, its PRIVATE blocks, its half-done steps.
 *
 * The slot tells where to look: page[] and holding (pages it owned or was about to), parked and scan_all (where PRIVATE blocks of it
 * may lie in pages that it gave up), large_first (a run), moving (a block that may be RETIRED without its bit). None is believed:
 * the words of the pages and the headers of the blocks decide. A killed thread leaves a prefix of its stores in program order,
 * and each of these words was stored before the step that it names.
 *
 * A page owned by the slot gets its free bits anew from the headers (nobody else touches them), and limbo bits for RETIRED blocks
 * (others may be setting such bits; one set too often does no harm).
 *
 * PRIVATE blocks of the slot: linked ones become LIVE; others RETIRED, and get the era after that (or, if the reaper dies in between, of
 * the first sweep): nothing that might have been seen is freed without a round. One CAS each, so that a reaper that dies leaves
 * nothing half-done; the slot's words are cleared last, and all is idempotent.
 */
#include "shm/alloc_internal.h"
#include "shm/fault.h"

struct reap {
	struct pp_thread *t;
	struct pp_region *region;
	unsigned slot;
	bool (*linked)(void *ctx, pp_ref payload, uint64_t gen);
	void *ctx;
};

static void resolve(struct reap *a, struct pp_block *b)
{
	pp_ref ref = pp_payload_of(a->region, b);
	uint64_t word = pp_load_acq(&b->word), whose = PP_PRIVATE_OF(a->slot);

	if (pp_block_state(word) != PP_BLOCK_PRIVATE || pp_load_rlx(&b->retired) != PP_PRIVATE_OF(a->slot)) /* visible with PRIVATE */
		return;
	if (a->linked && a->linked(a->ctx, ref, pp_block_gen(word))) {
		pp_alloc_live(a->t, ref, pp_block_gen(word));
		return;
	}
	pp_store_rel(&a->t->slot->moving, ref);
	if (!pp_cas_acqrel(&b->word, &word, pp_block_with(word, PP_BLOCK_RETIRED)))
		return;
	/* the era, unless a sweep was faster: not the word alone, since nobody allocates for this slot any more */
	pp_cas_acqrel(&b->retired, &whose, pp_load_seq(&a->region->globals->era));
	pp_limbo_add(a->region, ref);
	pp_stat_add(&a->t->slot->count.retires, 1);
}

/* Any page, whoever owns it: the slot's PRIVATE blocks in it. */
static void resolve_page(struct reap *a, uint64_t page)
{
	struct pp_page *p = &a->region->pages[page];
	uint64_t word = pp_load_acq(&p->word);
	unsigned klass = pp_page_class(word), carved = pp_load_acq(&p->carved);

	if (pp_page_type(word) == PP_PAGE_LARGE)
		resolve(a, pp_page_block(a->region, page, 0, 0));
	if (pp_page_type(word) != PP_PAGE_BLOCKS || klass >= PP_CLASS_COUNT)
		return;
	for (unsigned i = 0; i < carved && i < pp_classes[klass].blocks; i++)
		resolve(a, pp_page_block(a->region, page, klass, i));
}

/* A page that the slot owned: both bitmaps from the headers. */
static void rebuild(struct pp_region *r, uint64_t page, unsigned klass)
{
	struct pp_page *p = &r->pages[page];
	unsigned carved = pp_load_acq(&p->carved);

	for (unsigned w = 0; w < PP_BITMAP_WORDS; w++) {
		uint64_t free = 0, limbo = 0;

		for (unsigned i = w * 64; i < (w + 1) * 64 && i < carved && i < pp_classes[klass].blocks; i++) {
			uint64_t word = pp_load_acq(&pp_page_block(r, page, klass, i)->word);

			if (pp_block_state(word) == PP_BLOCK_FREE)
				free |= UINT64_C(1) << i % 64;
			if (pp_block_state(word) == PP_BLOCK_RETIRED)
				limbo |= UINT64_C(1) << i % 64;
		}
		pp_store_rlx(&p->free[w], free); /* owner: we act for it; released when the page is let go */
		if (limbo)
			pp_or_acqrel(&p->limbo[w], limbo);
	}
	pp_store_rlx(&p->swept, 0); /* owner */
}

static void take_over(struct reap *a, uint64_t number)
{
	uint64_t page = number - 1, word;

	if (!number || page >= pp_pages_committed(a->region))
		return;
	word = pp_load_acq(&a->region->pages[page].word);
	if (pp_page_owner(word) == a->slot + 1 && pp_page_class(word) < PP_CLASS_COUNT &&
	    (pp_page_type(word) == PP_PAGE_BLOCKS || pp_page_type(word) == PP_PAGE_EMPTY)) {
		resolve_page(a, page);
		rebuild(a->region, page, pp_page_class(word));
		PP_FAULT_POINT("reap.page.rebuilt");
		pp_page_let_go(a->region, page, a->slot + 1);
	} else {
		pp_page_relist(a->region, page);
	}
}

/* A block that may be RETIRED without its limbo bit. The slot's word may be old: is it a block of today's page at all? */
static void finish_move(struct pp_region *r, pp_ref ref)
{
	uint64_t page, offset, word;
	unsigned klass;

	if (!ref || !pp_ref_inside(r, ref, 8))
		return;
	page = pp_page_index(r, ref - sizeof(struct pp_block));
	offset = ref - sizeof(struct pp_block) - pp_page_ref(r, page);
	word = pp_load_acq(&r->pages[page].word);
	klass = pp_page_class(word);
	if (pp_page_type(word) == PP_PAGE_BLOCKS && klass < PP_CLASS_COUNT) {
		unsigned index = pp_block_index(klass, offset);

		if ((uint64_t)index * pp_classes[klass].size == offset && index < pp_load_acq(&r->pages[page].carved) &&
		    pp_block_state(pp_load_acq(&pp_block_at(r, ref)->word)) == PP_BLOCK_RETIRED)
			pp_limbo_add(r, ref);
	}
	pp_page_relist(r, page);
}

static void clear(struct pp_slot *s)
{
	for (unsigned i = 0; i < PP_PARKED; i++)
		pp_store_rlx(&s->parked[i], 0); /* nobody else uses the slot */
	for (unsigned i = 0; i < PP_RESERVED; i++)
		pp_store_rlx(&s->reserved[i], 0);
	for (unsigned c = 0; c < PP_PLACES * PP_CLASSES; c++)
		pp_store_rlx(&s->page[c / PP_CLASSES][c % PP_CLASSES], 0);
	pp_store_rlx(&s->scan_all, 0);
	pp_store_rlx(&s->large_first, 0);
	pp_store_rlx(&s->holding, 0);
	pp_store_rlx(&s->moving, 0);
}

void pp_alloc_reap(struct pp_thread *t, unsigned slot, bool (*linked)(void *ctx, pp_ref payload, uint64_t gen), void *ctx)
{
	struct reap a = {t, t->region, slot, linked, ctx};
	struct pp_slot *s = &t->region->slots[slot];
	uint64_t pages = pp_pages_committed(t->region), run;

	pp_read_enter(t); /* pages that we look at do not change their class meanwhile */
	/* [reap.slot:moving] pairs [alloc.retire:moving] */
	finish_move(t->region, pp_load_acq(&s->moving));
	pp_large_reap(t, slot);
	/* [reap.slot:holding] pairs [page.try:holding] */
	take_over(&a, pp_load_acq(&s->holding));
	for (unsigned c = 0; c < PP_PLACES * PP_CLASSES; c++)
		take_over(&a, pp_load_acq(&s->page[c / PP_CLASSES][c % PP_CLASSES]));
	run = pp_load_acq(&s->large_first);
	if (run && run <= pages)
		resolve_page(&a, run - 1);
	for (unsigned i = 0; i < PP_PARKED; i++) {
		uint32_t page = pp_load_acq(&s->parked[i]);

		if (page && page <= pages) {
			resolve_page(&a, page - 1);
			pp_page_relist(t->region, page - 1);
		}
	}
	for (unsigned i = 0; i < PP_RESERVED; i++) {
		uint32_t page = pp_load_acq(&s->reserved[i]);

		if (page && page <= pages) {
			resolve_page(&a, page - 1);
			pp_page_relist(t->region, page - 1);
		}
	}
	for (uint64_t i = 0; pp_load_acq(&s->scan_all) && i < pages; i++)
		resolve_page(&a, i);
	PP_FAULT_POINT("reap.slot.done");
	clear(s);
	pp_read_leave(t);
}
