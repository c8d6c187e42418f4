/*
 * holes.c - memory that nobody uses goes back to the system, and comes again when it is wanted.
 *
 * Giving back (the keeper alone), some pages of one segment at a time. The segment with the most FREE pages is chosen; their words are noted,
 * then the era. After a full round no reader is left that looked at one of their blocks before. Then they are claimed, from exactly the
 * noted words (so none was used meanwhile), punched out of the file, and become HOLE. Huge pages: a whole one is given back before parts
 * of one are, for those break it; hugetlb pages only whole.
 *
 * Taking again (whoever needs memory, before the arena grows at its end). Of a segment with holes: note the words, back the pages with
 * memory (shm/commit.c), then HOLE -> FREE by CAS from the noted words. Several may do it at once; one that is so slow that a page was used
 * and given back again meanwhile finds another word.
 *
 * Dies inside: the slot names the segment with PP_RUN_RELEASING, and the reaper makes its claimed pages HOLE, punched or not: who takes
 * them again backs them first. A taker that dies leaves pages backed that are HOLE; the next one finds them so.
 */
#include "shm/alloc_internal.h"
#include "shm/commit.h"
#include "shm/fault.h"

#include <fcntl.h>

static uint64_t first_page(uint64_t segment)
{
	return segment * PP_PAGES_PER_SEGMENT;
}

static struct pp_page *page_of(struct pp_region *r, uint64_t segment, unsigned i)
{
	return &r->pages[first_page(segment) + i];
}

/* Calls fn for each run of pages in mask, as bytes of the file. */
static int each_run(struct pp_region *r, uint64_t segment, uint32_t mask, int (*fn)(struct pp_region *, uint64_t at, uint64_t bytes))
{
	int rc = 0;

	for (unsigned i = 0, end; !rc && i < PP_PAGES_PER_SEGMENT; i = end + 1) {
		for (end = i; end < PP_PAGES_PER_SEGMENT && mask >> end & 1;)
			end++;
		if (end > i)
			rc = fn(r, pp_page_ref(r, first_page(segment) + i), (end - i) * PP_PAGE_BYTES);
	}
	return rc;
}

/* ---- giving back ------------------------------------------------------------------------------------------------- */

static void note_words(struct pp_region *r, struct pp_release *c, uint64_t segment)
{
	c->mask = 0;
	c->huge = r->fixed.page_kind == PP_MEM_THP;
	for (unsigned i = 0; i < PP_PAGES_PER_SEGMENT; i++) {
		c->word[i] = pp_load_seq(&page_of(r, segment, i)->word);
		if (pp_page_type(c->word[i]) == PP_PAGE_FREE)
			c->mask |= UINT32_C(1) << i;
		if (pp_page_type(c->word[i]) == PP_PAGE_HOLE)
			c->huge = false;
	}
	c->segment = c->mask ? segment + 1 : 0;
	c->era = pp_load_seq(&r->globals->era);
}

static void choose(struct pp_region *r, struct pp_release *c)
{
	unsigned least = r->fixed.page_kind == PP_MEM_HUGETLB ? PP_PAGES_PER_SEGMENT : 1, most = 0;
	uint64_t best = 0;

	for (uint64_t s = pp_pages_committed(r) / PP_PAGES_PER_SEGMENT; s-- > 0;) { /* from the end, where the fewest come by */
		unsigned free = PP_PAGES_PER_SEGMENT - (unsigned)__builtin_popcount(pp_load_acq(&pp_row(r, PP_ROW_USED)[s]));

		if (free <= most)
			continue;
		most = free;
		best = s;
	}
	if (most >= least)
		note_words(r, c, best);
}

/* False: one was taken meanwhile. */
static bool claim(struct pp_thread *t, struct pp_release *c)
{
	for (unsigned i = 0; i < PP_PAGES_PER_SEGMENT; i++) {
		if (!(c->mask >> i & 1))
			continue;
		pp_row_set(t->region, PP_ROW_USED, first_page(c->segment - 1) + i);
		if (!pp_page_change(page_of(t->region, c->segment - 1, i), &c->word[i], PP_PAGE_CLAIMING, 0, pp_owner_of(t)))
			return false;
		pp_page_count(t->region, -1);
	}
	return true;
}

void pp_holes_make(struct pp_region *r, uint64_t first, unsigned owner)
{
	for (unsigned i = 0; i < PP_PAGES_PER_SEGMENT; i++) {
		uint64_t word = pp_load_acq(&r->pages[first + i].word);

		if (pp_page_type(word) == PP_PAGE_CLAIMING && pp_page_owner(word) == owner &&
		    pp_page_change(&r->pages[first + i], &word, PP_PAGE_HOLE, 0, 0))
			pp_add_rlx(&r->globals->holes, 1); /* stat */
	}
}

static int punch(struct pp_region *r, uint64_t at, uint64_t bytes)
{
	return fallocate(r->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at, (off_t)bytes);
}

static bool give_back(struct pp_thread *t, struct pp_release *c)
{
	struct pp_region *r = t->region;
	uint64_t first = first_page(c->segment - 1);
	bool given = false;

	pp_run_name(t, first, PP_PAGES_PER_SEGMENT | PP_RUN_RELEASING);
	if (claim(t, c)) {
		PP_FAULT_POINT("holes.claimed");
		given = !each_run(r, c->segment - 1, c->mask, punch);
		if (given && c->huge && pp_load_rlx(&r->globals->huge_segments)) /* stat */
			pp_add_rlx(&r->globals->huge_segments, UINT64_MAX);     /* stat */
		PP_FAULT_POINT("holes.punched");
		pp_holes_make(r, first, pp_owner_of(t)); /* also when a part could not be punched: it is backed when it is taken again */
	} else {
		pp_run_give_back(r, first, PP_PAGES_PER_SEGMENT, pp_owner_of(t));
	}
	pp_store_rel(&t->slot->large_first, 0);
	return given;
}

bool pp_release_step(struct pp_thread *t, struct pp_release *c, uint64_t keep)
{
	bool given;

	if (!c->segment) {
		if (pp_page_recount(t->region) > keep)
			choose(t->region, c);
		return false;
	}
	if (!pp_safe_block(&t->safe, 0, c->era))
		return false;
	given = give_back(t, c);
	c->segment = 0;
	return given;
}

/* ---- taking again ------------------------------------------------------------------------------------------------ */

bool pp_page_is_hole(const struct pp_region *r, uint64_t page)
{
	return pp_page_type(pp_load_acq(&r->pages[page].word)) == PP_PAGE_HOLE;
}

static int back(struct pp_region *r, uint64_t at, uint64_t bytes)
{
	uint64_t huge = 0;
	int rc;

	if (bytes < PP_SEGMENT_BYTES)
		return pp_commit_part(r->fd, r->base, at, bytes);
	rc = pp_region_back(r, at, bytes, &huge);
	if (huge)
		pp_add_rlx(&r->globals->huge_segments, huge); /* stat */
	return rc;
}

static int fill(struct pp_region *r, uint64_t segment, uint32_t mask)
{
	uint64_t word[PP_PAGES_PER_SEGMENT];
	int rc;

	for (unsigned i = 0; i < PP_PAGES_PER_SEGMENT; i++)
		word[i] = pp_load_seq(&page_of(r, segment, i)->word);
	rc = each_run(r, segment, mask, back);
	if (rc)
		return rc;
	PP_FAULT_POINT("holes.filled");
	for (unsigned i = 0; i < PP_PAGES_PER_SEGMENT; i++) {
		if (!(mask >> i & 1) || pp_page_type(word[i]) != PP_PAGE_HOLE ||
		    !pp_page_change(page_of(r, segment, i), &word[i], PP_PAGE_FREE, 0, 0))
			continue;
		pp_row_clear(r, PP_ROW_USED, first_page(segment) + i);
		pp_page_count(r, 1);
		pp_add_rlx(&r->globals->holes, UINT64_MAX); /* stat */
	}
	return 0;
}

int pp_holes_fill(struct pp_region *r)
{
	uint64_t segments = pp_pages_committed(r) / PP_PAGES_PER_SEGMENT;

	if (!pp_load_rlx(&r->globals->holes)) /* stat; a hint here: when it is wrong, memory comes from the end first */
		return -ENOENT;
	for (uint64_t s = 0; s < segments; s++) {
		uint32_t mask = 0;

		for (unsigned i = 0; i < PP_PAGES_PER_SEGMENT; i++)
			mask |= (uint32_t)pp_page_is_hole(r, first_page(s) + i) << i;
		if (mask)
			return fill(r, s, mask);
	}
	return -ENOENT;
}
