/*
 * page.c - size classes, who owns a page, and how pages with something to give are found.
 *
 * A page of a class is owned by one slot or by nobody. Ownership changes only by CAS of page.word; before a claim the slot stores the
 * page's number in `holding`, so that a reaper finds what a dead thread had or was about to have.
 *
 * Lists are bits, [class][segment], a hint each: "nobody owns this page and it is worth a visit". Pages that nobody owns get a bit
 *  - from the owner that lets go: page.word (seq), then limbo is counted, then the bit;
 *  - from whoever retires a block in it: limbo bit (seq), then page.word is read, then the bit.
 * So of an owner letting go and a retirer at least one sees the other. A claimant clears the bit (seq), THEN reads page.word: if
 * it finds an owner, that owner's letting go comes later and finds the bit clear. Setters look before they set: a set bit that they
 * saw is cleared later by a claimant, who then sees the ownerless page. All of these are sequentially consistent.
 * Bits may be set for pages that are owned or of another class by now: claimants drop them. A bit lost in a death is set again
 * by the reaper (holding, page[], moving) or by the keeper's pass (pp_page_relist).
 *
 * Free pages: row USED, inverted. A claimant sets the bit, then CASes FREE -> BLOCKS; a bit set for a page that stayed FREE is cleared
 * by the keeper. globals.free_pages counts softly; it is counted anew whenever it says that only the reserve is left.
 *
 * Dies here: see `holding` above; a page owned by a dead slot is rebuilt by reap.c from its block headers.
 */
#include "shm/alloc_internal.h"

#define RECIPROCAL(size) (uint32_t)((UINT64_C(0xffffffff) + (size)) / (size))
#define SPARSE 8                        /* an eighth of its blocks free: then a page is sparse */
#define BLOCKS(size) (PP_PAGE_BYTES / (size))
#define WORTH(size) (BLOCKS(size) / 8 ? BLOCKS(size) / 8 : 1)
#define CLASS(size) {size, RECIPROCAL(size), BLOCKS(size), (BLOCKS(size) + 63) / 64, WORTH(size)},
const struct pp_class pp_classes[PP_CLASSES] = {PP_CLASS_SIZES(CLASS)};

/* First class that can hold 2^k + (i << (k - 3)) + 1 bytes, for k = 8 .. 14 and i = 0 .. 7. */
static const uint8_t first_class[56] = {
	27, 31, 35, 35, 36, 37, 38, 39, 39, 41, 43, 43, 44, 45, 46, 47, 47, 49, 51, 51, 52, 53, 54, 55, 55, 57, 58, 59,
	60, 61, 61, 62, 63, 64, 66, 67, 68, 69, 69, 70, 71, 71, 72, 73, 73, 74, 74, 74, 75, 75, 75, 76, 76, 76, 76, 76,
};

unsigned pp_class_of(uint64_t payload_bytes)
{
	unsigned total, k, c;

	if (payload_bytes > PP_PAGE_BYTES / 2 - sizeof(struct pp_block))
		return PP_CLASS_LARGE;
	total = (unsigned)payload_bytes + sizeof(struct pp_block);
	if (total <= PP_BLOCK_MIN)
		return 0;
	if (total <= 320)
		return (total - PP_BLOCK_MIN + 7) / 8;
	k = 31 - (unsigned)__builtin_clz(total - 1);
	c = first_class[(k - 8) * 8 + ((total - 1) >> (k - 3) & 7)];
	while (pp_classes[c].size < total)
		c++;
	return c;
}

uint64_t pp_class_bytes(unsigned klass)
{
	return klass < PP_CLASS_COUNT ? pp_classes[klass].size : 0;
}

/* ---- words and bits --------------------------------------------------------------------------------------------- */

bool pp_page_change(struct pp_page *p, uint64_t *word, enum pp_page_type type, unsigned klass, unsigned owner)
{
	/* [page.change:word] pairs [page.try:word]: free bits and blocks as the last owner left them */
	return pp_cas_seq(&p->word, word, PP_PAGE_WORD(type, klass, owner, pp_page_version(*word) + 1));
}

static pp_a32 *row_word(struct pp_region *r, unsigned row, uint64_t page, uint32_t *bit)
{
	*bit = UINT32_C(1) << page % PP_PAGES_PER_SEGMENT;
	return pp_row(r, row) + page / PP_PAGES_PER_SEGMENT;
}

void pp_row_set(struct pp_region *r, unsigned row, uint64_t page)
{
	uint32_t bit, old;
	pp_a32 *word = row_word(r, row, page, &bit);

	old = pp_load_seq(word);
	while (!(old & bit) && !pp_cas_seq(word, &old, old | bit))
		;
}

void pp_row_clear(struct pp_region *r, unsigned row, uint64_t page)
{
	uint32_t bit, old;
	pp_a32 *word = row_word(r, row, page, &bit);

	old = pp_load_seq(word);
	while (old & bit && !pp_cas_seq(word, &old, old & ~bit))
		;
}

static unsigned limbo_count(struct pp_page *p, unsigned klass)
{
	unsigned count = 0;

	for (unsigned w = 0; w < pp_classes[klass].words; w++)
		count += (unsigned)__builtin_popcountll(pp_load_seq(&p->limbo[w]));
	return count;
}

static unsigned free_count(struct pp_page *p, unsigned klass)
{
	unsigned count = pp_classes[klass].blocks - pp_load_rlx(&p->carved); /* owner */

	for (unsigned w = 0; w < pp_classes[klass].words; w++)
		count += (unsigned)__builtin_popcountll(pp_load_rlx(&p->free[w])); /* owner */
	return count;
}

void pp_page_relist(struct pp_region *r, uint64_t page)
{
	struct pp_page *p = &r->pages[page];
	uint64_t word = pp_load_seq(&p->word);
	unsigned klass = pp_page_class(word);

	if (pp_page_type(word) == PP_PAGE_FREE)
		pp_row_clear(r, PP_ROW_USED, page);
	if (pp_page_type(word) == PP_PAGE_LARGE &&
	    pp_block_state(pp_load_acq(&pp_page_block(r, page, 0, 0)->word)) == PP_BLOCK_RETIRED)
		pp_row_set(r, PP_ROW_LARGE, page);
	if (pp_page_owner(word) || klass >= PP_CLASS_COUNT)
		return;
	if (pp_page_type(word) == PP_PAGE_EMPTY) {
		pp_row_set(r, PP_ROW_EMPTY, page);
		pp_row_set(r, klass, page);
	}
	if (pp_page_type(word) == PP_PAGE_BLOCKS &&
	    pp_load_acq(&p->free_count) + limbo_count(p, klass) >= pp_classes[klass].worth)
		pp_row_set(r, klass, page);
}

bool pp_page_sparse(struct pp_region *r, pp_ref ref)
{
	struct pp_page *p;
	uint64_t word;

	if (!pp_ref_inside(r, ref, 0))
		return false;
	p = &r->pages[pp_page_index(r, ref - sizeof(struct pp_block))];
	word = pp_load_acq(&p->word);
	return pp_page_type(word) == PP_PAGE_BLOCKS && !pp_page_owner(word) && pp_page_class(word) < PP_CLASS_COUNT &&
	       pp_load_acq(&p->free_count) >= pp_classes[pp_page_class(word)].blocks / SPARSE;
}

/* ---- count of free pages and the reserve ------------------------------------------------------------------------- */

void pp_page_count(struct pp_region *r, int64_t freed)
{
	pp_add_rlx(&r->globals->free_pages, (uint64_t)freed); /* stat: soft, see pp_page_recount */
}

uint64_t pp_page_recount(struct pp_region *r)
{
	uint64_t segments = pp_pages_committed(r) / PP_PAGES_PER_SEGMENT, count = 0;
	pp_a32 *used = pp_row(r, PP_ROW_USED);

	for (uint64_t s = 0; s < segments; s++)
		count += 32 - (unsigned)__builtin_popcount(pp_load_rlx(&used[s])); /* hint */
	pp_store_rlx(&r->globals->free_pages, count);                              /* stat */
	return count;
}

/* Two segments, a sixteenth of a small region, unless the daemon set another number of pages. */
uint64_t pp_page_reserve(const struct pp_region *r)
{
	uint64_t set = pp_load_rlx(&r->globals->full_reserve); /* hint */
	uint64_t part = (uint64_t)r->fixed.max_segments * PP_PAGES_PER_SEGMENT / 16;

	if (set)
		return set;
	return part < 2 * PP_PAGES_PER_SEGMENT ? part : 2 * PP_PAGES_PER_SEGMENT;
}

uint64_t pp_page_keep(const struct pp_thread *t)
{
	uint64_t reserve = pp_page_reserve(t->region);

	return !t->reserve ? reserve : t->keeper ? 0 : (reserve + 3) / 4;
}

bool pp_page_room(struct pp_region *r, uint64_t pages, uint64_t keep)
{
	uint64_t need = pages + keep;
	uint64_t count = pp_load_rlx(&r->globals->free_pages); /* hint: recounted below when it matters */

	if ((int64_t)count >= (int64_t)need + 4)
		return true;
	return pp_page_recount(r) >= need;
}

/* ---- giving up -------------------------------------------------------------------------------------------------- */

/*
 * All blocks are free: EMPTY, still owned; then the era is read, so that every reader that found the page BLOCKS entered no later
 * than it; then ownerless.
 */
static void let_go_empty(struct pp_region *r, uint64_t page, uint64_t word, unsigned owner)
{
	struct pp_page *p = &r->pages[page];
	unsigned klass = pp_page_class(word);

	if (pp_page_type(word) == PP_PAGE_BLOCKS) {
		if (!pp_page_change(p, &word, PP_PAGE_EMPTY, klass, owner))
			return;
		word = pp_load_acq(&p->word);
	}
	pp_store_rlx(&p->retired, pp_load_seq(&r->globals->era)); /* owner; released by the next CAS */
	pp_page_change(p, &word, PP_PAGE_EMPTY, klass, 0);
}

void pp_page_let_go(struct pp_region *r, uint64_t page, unsigned owner)
{
	struct pp_page *p = &r->pages[page];
	uint64_t word = pp_load_acq(&p->word);
	unsigned klass = pp_page_class(word), count;

	if (pp_page_owner(word) != owner || klass >= PP_CLASS_COUNT)
		return;
	count = free_count(p, klass);
	pp_store_rlx(&p->free_count, count);                        /* owner; released by the CAS */
	pp_store_rlx(&p->retired_count, limbo_count(p, klass));     /* stat */
	if (count == pp_classes[klass].blocks)
		let_go_empty(r, page, word, owner);
	else
		pp_page_change(p, &word, PP_PAGE_BLOCKS, klass, 0);
	pp_page_relist(r, page);
}

void pp_page_to_free(struct pp_region *r, uint64_t page, unsigned owner)
{
	struct pp_page *p = &r->pages[page];
	uint64_t word = pp_load_acq(&p->word);

	if (pp_page_owner(word) != owner)
		return;
	pp_store_rlx(&p->run, 0);        /* owner; all released by the CAS */
	pp_store_rlx(&p->carved, 0);
	pp_store_rlx(&p->free_count, 0);
	pp_store_rlx(&p->swept, 0);
	for (unsigned w = 0; w < PP_BITMAP_WORDS; w++) {
		pp_store_rlx(&p->free[w], 0);
		pp_store_rlx(&p->limbo[w], 0);
	}
	if (!pp_page_change(p, &word, PP_PAGE_FREE, 0, 0))
		return;
	pp_row_clear(r, PP_ROW_USED, page);
	pp_page_count(r, 1);
}

/* ---- claiming --------------------------------------------------------------------------------------------------- */

/* Owned by us: is there anything to hand out, after a sweep if the announced sets moved since the last one? */
static bool has_blocks(struct pp_thread *t, uint64_t page, unsigned klass)
{
	struct pp_page *p = &t->region->pages[page];

	if (free_count(p, klass))
		return true;
	return pp_load_rlx(&p->swept) != t->safe.version && pp_sweep_page(t->region, &t->safe, page, klass);
}

bool pp_page_try(struct pp_thread *t, uint64_t page, unsigned klass)
{
	struct pp_page *p = &t->region->pages[page];
	uint64_t word;
	bool ours = false;

	/* [page.try:holding] pairs [reap.slot:holding]: stored before the word can name us */
	pp_store_rel(&t->slot->holding, page + 1);
	pp_row_clear(t->region, klass, page);
	/* [page.try:word] pairs [page.change:word] */
	word = pp_load_seq(&p->word);
	if ((pp_page_type(word) == PP_PAGE_BLOCKS || pp_page_type(word) == PP_PAGE_EMPTY) && pp_page_class(word) == klass &&
	    !pp_page_owner(word))
		ours = pp_page_change(p, &word, PP_PAGE_BLOCKS, klass, pp_owner_of(t));
	if (!ours) {
		pp_page_relist(t->region, page);
		return false;
	}
	if (has_blocks(t, page, klass))
		return true;
	pp_page_let_go(t->region, page, pp_owner_of(t));
	return false;
}

/* True: surely nothing to be had from that page now, and the bit may stay. */
static bool pointless(struct pp_thread *t, uint64_t page)
{
	struct pp_page *p = &t->region->pages[page];

	return !pp_load_acq(&p->free_count) && pp_load_acq(&p->swept) == t->safe.version &&
	       pp_page_type(pp_load_acq(&p->word)) == PP_PAGE_BLOCKS;
}

static bool far_away(struct pp_thread *t, uint64_t segment)
{
	return t->region->fixed.nodes > 1 &&
	       pp_load_rlx(&t->region->pages[segment * PP_PAGES_PER_SEGMENT].node) != t->node; /* hint */
}

/* Up to `*looks` pages of one segment, those of `mask`; the search goes on behind the last one looked at. */
static uint64_t partial_in(struct pp_thread *t, unsigned klass, uint64_t segment, uint32_t mask, unsigned *looks)
{
	uint32_t bits = pp_load_acq(&pp_row(t->region, klass)[segment]) & mask;

	for (; bits && *looks; bits &= bits - 1) {
		uint64_t page = segment * PP_PAGES_PER_SEGMENT + (unsigned)__builtin_ctz(bits);

		--*looks;
		pp_hand_of(t, klass)->cursor = (uint32_t)(page + 1);
		if (!pointless(t, page) && pp_page_try(t, page, klass))
			return page + 1;
	}
	return 0;
}

/*
 * Goes round the class's row from where it stopped last: the page given up longest ago comes first. A whole round without success
 * is not repeated until the announced sets move; some looks without success end this search, so that an allocation stays short.
 */
uint64_t pp_page_take_partial(struct pp_thread *t, unsigned klass)
{
	struct pp_hand *h = pp_hand_of(t, klass);
	uint64_t segments = pp_pages_committed(t->region) / PP_PAGES_PER_SEGMENT, found;
	unsigned looks = 32, passes = t->region->fixed.nodes > 1 ? 2 : 1;

	if (h->dry == t->safe.version + 1 || !segments)
		return 0;
	for (unsigned pass = 0; pass < passes; pass++) {
		uint64_t first = h->cursor / PP_PAGES_PER_SEGMENT;
		uint32_t behind = UINT32_MAX << h->cursor % PP_PAGES_PER_SEGMENT;

		for (uint64_t i = 0; i <= segments; i++) { /* the first segment's pages before the cursor come last */
			uint64_t segment = (first + i) % segments;
			uint32_t mask = i == 0 ? behind : i == segments ? ~behind : UINT32_MAX;

			if ((t->near_only || pass + 1 < passes) && far_away(t, segment))
				continue;
			found = partial_in(t, klass, segment, mask, &looks);
			if (found || !looks)
				return found;
		}
	}
	if (!t->near_only)
		h->dry = t->safe.version + 1;
	return 0;
}

static bool claim_free(struct pp_thread *t, uint64_t page, unsigned klass)
{
	struct pp_page *p = &t->region->pages[page];
	uint64_t word;

	pp_store_rel(&t->slot->holding, page + 1); /* as in pp_page_try */
	pp_row_set(t->region, PP_ROW_USED, page);
	word = pp_load_seq(&p->word);
	if (pp_page_type(word) != PP_PAGE_FREE || !pp_page_change(p, &word, PP_PAGE_BLOCKS, klass, pp_owner_of(t)))
		return false;
	pp_page_count(t->region, -1);
	return true;
}

static uint64_t free_in(struct pp_thread *t, unsigned klass, uint64_t segment)
{
	uint32_t bits;

	while ((bits = ~pp_load_acq(&pp_row(t->region, PP_ROW_USED)[segment]))) {
		uint64_t page = segment * PP_PAGES_PER_SEGMENT + (unsigned)__builtin_ctz(bits);

		if (claim_free(t, page, klass))
			return page + 1;
	}
	return 0;
}

uint64_t pp_page_take_free(struct pp_thread *t, unsigned klass, bool reserve, bool *reserved)
{
	uint64_t segments = pp_pages_committed(t->region) / PP_PAGES_PER_SEGMENT, found;
	unsigned passes = t->region->fixed.nodes > 1 ? 2 : 1;

	*reserved = false;
	if (!pp_page_room(t->region, 1, pp_page_reserve(t->region))) {
		if (!reserve || !pp_page_room(t->region, 1, pp_page_keep(t)))
			return 0;
		*reserved = true;
	}
	for (unsigned pass = 0; pass < passes; pass++) {
		for (uint64_t i = 0; i < segments; i++) {
			uint64_t segment = (t->free_cursor + i) % segments;

			if ((t->near_only || pass + 1 < passes) && far_away(t, segment))
				continue;
			found = free_in(t, klass, segment);
			if (!found)
				continue;
			t->free_cursor = (uint32_t)segment;
			return found;
		}
	}
	return 0;
}
