/*
 * large.c - one block in a run of whole pages, for payloads above half a page.
 *
 * A run may cross segments: they are contiguous. Claim: slot.large_first/large_pages name the run, then each page by CAS FREE ->
 * CLAIMING(us); one that is not FREE ends it and all go back. Then the header PRIVATE, then the first page CLAIMING -> LARGE (the
 * claim is done), then the others -> LARGE_REST.
 *
 * Freeing: the slot names the run with PP_RUN_FREEING, then CAS first page LARGE -> CLAIMING(us) decides who frees; the others
 * LARGE_REST -> CLAIMING(us); then the mark is dropped, and all CLAIMING(us) go FREE, the first page last. So until the mark is dropped
 * every LARGE_REST of the run is still the run's, and after it only CLAIMING(us) pages are.
 *
 * Dies here (pp_large_reap): mark set and first page CLAIMING(dead): go on from there. No mark, first page LARGE: the claim was done,
 * turn the other CLAIMING(dead) pages into LARGE_REST. No mark and not LARGE: give every CLAIMING(dead) page back. A finished run
 * whose block is PRIVATE is the dead slot's by the header's `retired`; when a second one is claimed while the first is
 * PRIVATE, scan_all says that the slot does not name them all.
 */
#include "shm/alloc_internal.h"
#include "shm/fault.h"

static struct pp_block *head_of(struct pp_region *r, uint64_t page)
{
	return (struct pp_block *)(r->base + pp_page_ref(r, page));
}

static bool private_of(struct pp_region *r, uint64_t page, unsigned slot)
{
	struct pp_block *b = head_of(r, page);

	return page < pp_pages_committed(r) && pp_page_type(pp_load_acq(&r->pages[page].word)) == PP_PAGE_LARGE &&
	       pp_block_state(pp_load_acq(&b->word)) == PP_BLOCK_PRIVATE &&
	       pp_load_rlx(&b->retired) == PP_PRIVATE_OF(slot); /* visible with PRIVATE */
}

/* The slot is about to name another run. */
void pp_run_name(struct pp_thread *t, uint64_t first, uint64_t pages)
{
	struct pp_slot *s = t->slot;
	uint64_t before = pp_load_rlx(&s->large_first); /* owner */

	if (before && private_of(t->region, before - 1, t->index)) {
		if (t->parked_at != t->enters || !t->depth) {
			t->parked_at = t->enters;
			t->parked = 0;
		}
		pp_store_rel(&s->scan_all, 1);
	}
	pp_store_rel(&s->large_first, 0);
	pp_store_rel(&s->large_pages, pages);
	/* [large.claim:first] pairs [large.reap:first]: stored before any page's word can name us */
	pp_store_rel(&s->large_first, first + 1);
}

/* ---- claim ------------------------------------------------------------------------------------------------------ */

void pp_run_give_back(struct pp_region *r, uint64_t first, uint64_t pages, unsigned owner)
{
	for (uint64_t i = pages; i-- > 0;) {
		uint64_t word = pp_load_acq(&r->pages[first + i].word);

		if (pp_page_type(word) == PP_PAGE_CLAIMING && pp_page_owner(word) == owner)
			pp_page_to_free(r, first + i, owner);
	}
}

/* Claims all or none; *failed = the page that was not free. */
static bool claim_pages(struct pp_thread *t, uint64_t first, uint64_t pages, uint64_t *failed)
{
	struct pp_region *r = t->region;

	pp_run_name(t, first, pages);
	for (uint64_t i = 0; i < pages; i++) {
		uint64_t word = pp_load_seq(&r->pages[first + i].word);

		pp_row_set(r, PP_ROW_USED, first + i);
		if (pp_page_type(word) == PP_PAGE_FREE &&
		    pp_page_change(&r->pages[first + i], &word, PP_PAGE_CLAIMING, 0, pp_owner_of(t))) {
			pp_page_count(r, -1);
			continue;
		}
		pp_run_give_back(r, first, i, pp_owner_of(t));
		*failed = first + i;
		return false;
	}
	PP_FAULT_POINT("large.claim.claimed");
	return true;
}

static void to_rest(struct pp_region *r, uint64_t first, uint64_t pages, unsigned owner)
{
	for (uint64_t i = 1; i < pages; i++) {
		uint64_t word = pp_load_acq(&r->pages[first + i].word);

		if (pp_page_type(word) == PP_PAGE_CLAIMING && pp_page_owner(word) == owner)
			pp_page_change(&r->pages[first + i], &word, PP_PAGE_LARGE_REST, 0, 0);
	}
}

static pp_ref finish_claim(struct pp_thread *t, uint64_t first, uint64_t pages, unsigned kind)
{
	struct pp_region *r = t->region;
	struct pp_page *p = &r->pages[first];
	struct pp_block *b = head_of(r, first);
	uint64_t word = pp_load_acq(&p->word);

	pp_store_rlx(&p->run, (uint32_t)pages); /* owner; all released by the CAS */
	pp_store_rlx(&p->limbo[0], 0);
	pp_store_rlx(&b->retired, PP_PRIVATE_OF(t->index));
	pp_store_rel(&b->word, PP_BLOCK_WORD(PP_BLOCK_PRIVATE, kind, pp_load_rlx(&p->floor) + 1, t->depth ? t->high : pp_era(t)));
	pp_page_change(p, &word, PP_PAGE_LARGE, 0, 0);
	PP_FAULT_POINT("large.claim.done");
	to_rest(r, first, pages, pp_owner_of(t));
	return pp_payload_of(r, b);
}

/* First run of `pages` pages that are free by their bits, from page `from` on; UINT64_MAX = none. */
static uint64_t find_run(struct pp_region *r, uint64_t from, uint64_t pages)
{
	uint64_t end = pp_pages_committed(r), length = 0;
	pp_a32 *used = pp_row(r, PP_ROW_USED);

	for (uint64_t i = from; i < end; i++) {
		uint32_t bits = pp_load_acq(&used[i / PP_PAGES_PER_SEGMENT]);

		if (bits == UINT32_MAX) {
			i |= PP_PAGES_PER_SEGMENT - 1;
			length = 0;
			continue;
		}
		length = bits >> i % PP_PAGES_PER_SEGMENT & 1 ? 0 : length + 1;
		if (length == pages)
			return i + 1 - pages;
	}
	return UINT64_MAX;
}

/* Pages at the end of what is committed that are free by their bits. */
static uint64_t free_tail(struct pp_region *r)
{
	uint64_t end = pp_pages_committed(r), i = end;
	pp_a32 *used = pp_row(r, PP_ROW_USED);

	while (i && !(pp_load_acq(&used[(i - 1) / PP_PAGES_PER_SEGMENT]) >> (i - 1) % PP_PAGES_PER_SEGMENT & 1))
		i--;
	return end - i;
}

static bool claim_run(struct pp_thread *t, uint64_t pages, uint64_t *first)
{
	uint64_t from = 0;

	if (!pp_page_room(t->region, pages, pp_page_keep(t)))
		return false;
	while ((*first = find_run(t->region, from, pages)) != UINT64_MAX)
		if (claim_pages(t, *first, pages, &from))
			return true;
		else
			from++;
	return false;
}

/* Makes room: empty pages and retired runs first, then more segments, as many as are missing at the end. */
static bool make_room(struct pp_thread *t, uint64_t pages)
{
	uint64_t tail = free_tail(t->region), need;

	if (pp_sweep_pages(t))
		return true;
	need = (pages > tail ? pages - tail : 0) + pp_page_keep(t);
	for (uint64_t grown = 0; grown < need || !grown; grown += PP_PAGES_PER_SEGMENT)
		if (pp_region_grow(t->region, t->node))
			return grown > 0;
	return true;
}

int pp_large_alloc(struct pp_thread *t, uint64_t bytes, unsigned kind, pp_ref *ref)
{
	uint64_t most = (uint64_t)t->region->fixed.max_segments * PP_PAGES_PER_SEGMENT, pages = most + 1, first;

	if (bytes < most * PP_PAGE_BYTES)
		pages = (bytes + sizeof(struct pp_block) + PP_PAGE_BYTES - 1) / PP_PAGE_BYTES;
	pp_safe_refresh(t->region, &t->safe);
	for (unsigned i = 0; i < 16 && pages <= most; i++) { /* others may take what we made free: not for ever */
		if (claim_run(t, pages, &first)) {
			*ref = finish_claim(t, first, pages, kind);
			pp_count(&t->slot->count.allocs, 1);
			return 0;
		}
		if (!make_room(t, pages))
			break;
	}
	if (pages > most)
		return pp_detail(PPDB_FULL, "%llu bytes in a piece never fit into an arena of %llu MiB; restart ppdbd with more --memory",
				 (unsigned long long)bytes, (unsigned long long)(t->region->fixed.memory_max >> 20));
	return pp_region_full(t->region);
}

/* ---- free ------------------------------------------------------------------------------------------------------- */

/* From the moment that the first page is CLAIMING(owner); the slot's words name the run. Idempotent. */
static void free_claimed(struct pp_region *r, struct pp_slot *s, uint64_t first, uint64_t pages, unsigned owner)
{
	struct pp_page *p = &r->pages[first];
	struct pp_block *b = head_of(r, first);

	pp_store_rel(&p->floor, (uint32_t)pp_block_gen(pp_load_acq(&b->word)));
	for (uint64_t i = 1; i < pages; i++) {
		uint64_t word = pp_load_acq(&r->pages[first + i].word);

		if (pp_page_type(word) == PP_PAGE_LARGE_REST)
			pp_page_change(&r->pages[first + i], &word, PP_PAGE_CLAIMING, 0, owner);
	}
	PP_FAULT_POINT("large.free.claimed");
	pp_store_rel(&s->large_pages, pages); /* the mark is dropped: only CLAIMING pages are the run's now */
	pp_run_give_back(r, first, pages, owner);
}

/* `word`: the first page's, read before the block was judged. Its version proves that run and header were this run's. */
static bool free_run(struct pp_thread *t, uint64_t page, uint64_t word)
{
	struct pp_page *p = &t->region->pages[page];
	uint64_t pages = pp_load_acq(&p->run);

	if (!pages || pages > pp_pages_committed(t->region) - page)
		return false; /* damage: nobody knows how long it is */
	pp_run_name(t, page, pages | PP_RUN_FREEING);
	if (!pp_page_change(p, &word, PP_PAGE_CLAIMING, 0, pp_owner_of(t))) {
		pp_store_rel(&t->slot->large_first, 0);
		return false;
	}
	free_claimed(t->region, t->slot, page, pages, pp_owner_of(t));
	pp_store_rel(&t->slot->large_first, 0);
	pp_stat_add(&t->slot->count.frees, 1);
	return true;
}

bool pp_large_cancel(struct pp_thread *t, uint64_t page)
{
	uint64_t word = pp_load_acq(&t->region->pages[page].word);

	return pp_page_type(word) == PP_PAGE_LARGE && free_run(t, page, word);
}

bool pp_large_sweep(struct pp_thread *t, const struct pp_safe *safe, uint64_t page)
{
	struct pp_block *b = head_of(t->region, page);
	uint64_t page_word = pp_load_acq(&t->region->pages[page].word), word, retired;

	if (pp_page_type(page_word) != PP_PAGE_LARGE) /* a hole is not to be touched */
		return false;
	word = pp_load_acq(&b->word);
	retired = pp_load_acq(&b->retired);
	if (pp_block_state(word) != PP_BLOCK_RETIRED)
		return false;
	if (!(retired & PP_PRIVATE_BIT) && pp_safe_block(safe, pp_block_birth(word), retired))
		return free_run(t, page, page_word);
	if (retired & PP_PRIVATE_BIT) /* nobody gave it an era; of several sweepers any one's is right */
		pp_cas_acqrel(&b->retired, &retired, pp_load_seq(&t->region->globals->era) | PP_MOVED_BIT);
	pp_row_set(t->region, PP_ROW_LARGE, page);
	return false;
}

/* ---- after a death ---------------------------------------------------------------------------------------------- */

void pp_large_reap(struct pp_thread *t, unsigned slot)
{
	struct pp_region *r = t->region;
	struct pp_slot *s = &r->slots[slot];
	uint64_t first = pp_load_acq(&s->large_first), pages = pp_load_acq(&s->large_pages), word;

	/* [large.reap:first] pairs [large.claim:first] */
	if (!first || first > pp_pages_committed(r) || (pages & ~(PP_RUN_FREEING | PP_RUN_RELEASING)) > pp_pages_committed(r) - (first - 1))
		return;
	first--;
	word = pp_load_acq(&r->pages[first].word);
	if (pages & PP_RUN_RELEASING) {
		pp_holes_make(r, first, slot + 1);
	} else if (pages & PP_RUN_FREEING) {
		if (pp_page_type(word) == PP_PAGE_CLAIMING && pp_page_owner(word) == slot + 1)
			free_claimed(r, s, first, pages & ~PP_RUN_FREEING, slot + 1);
	} else if (pp_page_type(word) == PP_PAGE_LARGE) {
		to_rest(r, first, pages, slot + 1);
	} else {
		pp_run_give_back(r, first, pages, slot + 1);
	}
}
