/*
 * account.c - the account of every byte, from page words and block headers alone: bitmaps are not believed.
 *
 * On a quiet region committed_bytes = table + free pages + empty pages + page tails + free + private + live + limbo, exactly, and
 * stray_bytes is 0. On a live one each number is true for some moment. Reads only; a process that dies here leaves nothing.
 */
#include "shm/alloc_internal.h"

#include <string.h>

struct walk {
	struct pp_region *region;
	struct pp_account *out;
	int (*block)(void *ctx, pp_ref payload, uint64_t bytes, uint64_t word);
	void *ctx;
};

static int count_block(struct walk *a, unsigned klass, struct pp_block *b, uint64_t bytes)
{
	struct pp_account *o = a->out;
	uint64_t word = pp_load_acq(&b->word);

	switch (pp_block_state(word)) {
	case PP_BLOCK_FREE:
		o->free_bytes += bytes;
		o->blocks_free++;
		break;
	case PP_BLOCK_PRIVATE:
		o->private_bytes += bytes;
		o->blocks_private++;
		break;
	case PP_BLOCK_LIVE:
		o->live_bytes += bytes;
		o->blocks_live++;
		o->class_live[klass]++;
		break;
	case PP_BLOCK_RETIRED:
		o->limbo_bytes += bytes;
		o->blocks_limbo++;
		break;
	}
	return a->block ? a->block(a->ctx, pp_payload_of(a->region, b), bytes, word) : 0;
}

static int count_blocks(struct walk *a, uint64_t page, unsigned klass)
{
	unsigned carved = pp_load_acq(&a->region->pages[page].carved);
	uint64_t size = pp_classes[klass].size;
	int rc = 0;

	if (carved > pp_classes[klass].blocks)
		return pp_detail(PPDB_CORRUPT, "page %llu has %u blocks of class %u", (unsigned long long)page, carved, klass);
	for (unsigned i = 0; i < carved && !rc; i++)
		rc = count_block(a, klass, pp_page_block(a->region, page, klass, i), size);
	a->out->page_tail_bytes += PP_PAGE_BYTES - carved * size;
	a->out->class_bytes[klass] += PP_PAGE_BYTES;
	return rc;
}

static int count_run(struct walk *a, uint64_t page, uint64_t *next, uint64_t pages)
{
	uint64_t run = pp_load_acq(&a->region->pages[page].run);

	if (!run || run > pages - page)
		return pp_detail(PPDB_CORRUPT, "page %llu begins a run of %llu pages", (unsigned long long)page,
				 (unsigned long long)run);
	*next = page + run;
	a->out->large_bytes += run * PP_PAGE_BYTES;
	a->out->class_bytes[PP_CLASS_LARGE] += run * PP_PAGE_BYTES;
	return count_block(a, PP_CLASS_LARGE, pp_page_block(a->region, page, 0, 0), run * PP_PAGE_BYTES);
}

static int count_page(struct walk *a, uint64_t page, uint64_t *next, uint64_t pages)
{
	uint64_t word = pp_load_acq(&a->region->pages[page].word);
	unsigned klass = pp_page_class(word);

	*next = page + 1;
	switch (pp_page_type(word)) {
	case PP_PAGE_FREE:
		a->out->free_page_bytes += PP_PAGE_BYTES;
		return 0;
	case PP_PAGE_HOLE:
		a->out->hole_bytes += PP_PAGE_BYTES;
		a->out->committed_bytes -= PP_PAGE_BYTES;
		return 0;
	case PP_PAGE_EMPTY:
		a->out->empty_page_bytes += PP_PAGE_BYTES;
		return 0;
	case PP_PAGE_CLAIMING:
		a->out->private_bytes += PP_PAGE_BYTES; /* its slot's */
		return 0;
	case PP_PAGE_LARGE:
		return count_run(a, page, next, pages);
	case PP_PAGE_BLOCKS:
		if (klass < PP_CLASS_COUNT)
			return count_blocks(a, page, klass);
		break;
	case PP_PAGE_LARGE_REST: /* of a run that is just being freed, else passed over with the first page */
		a->out->stray_bytes += PP_PAGE_BYTES;
		return 0;
	}
	return pp_detail(PPDB_CORRUPT, "page %llu has the impossible word %llx", (unsigned long long)page,
			 (unsigned long long)word);
}

int pp_account_walk(struct pp_region *r, struct pp_account *out, int (*block)(void *ctx, pp_ref payload, uint64_t bytes, uint64_t word),
		    void *ctx)
{
	struct walk a = {r, out, block, ctx};
	uint64_t pages = pp_pages_committed(r);
	int rc = 0;

	memset(out, 0, sizeof(*out));
	out->pages = pages;
	out->table_bytes = r->segments_at;
	out->committed_bytes = r->segments_at + pages * PP_PAGE_BYTES;
	for (uint64_t page = 0, next; page < pages && !rc; page = next) {
		uint64_t word = pp_load_acq(&r->pages[page].word);

		rc = count_page(&a, page, &next, pages);
		if (rc == PPDB_CORRUPT && pp_load_acq(&r->pages[page].word) != word)
			rc = 0; /* the page changed under our eyes: a live region */
	}
	return rc;
}

/* ---- limbo ------------------------------------------------------------------------------------------------------ */

static void limbo_block(struct pp_block *b, uint64_t bytes, void (*block)(void *ctx, uint64_t birth, uint64_t retired, uint64_t bytes), void *ctx)
{
	uint64_t word = pp_load_acq(&b->word), retired = pp_load_acq(&b->retired);

	if (pp_block_state(word) == PP_BLOCK_RETIRED && !(retired & PP_PRIVATE_BIT))
		block(ctx, pp_block_birth(word), retired, bytes);
}

uint64_t pp_limbo_walk(struct pp_region *r, uint64_t from, uint64_t pages, void (*block)(void *ctx, uint64_t birth, uint64_t retired, uint64_t bytes),
		       void *ctx)
{
	uint64_t end = pp_pages_committed(r), to = from + pages < end ? from + pages : end;

	for (uint64_t page = from; page < to; page++) {
		struct pp_page *p = &r->pages[page];
		uint64_t word = pp_load_acq(&p->word);
		unsigned klass = pp_page_class(word);

		if (pp_page_type(word) == PP_PAGE_LARGE)
			limbo_block(pp_page_block(r, page, 0, 0), pp_load_acq(&p->run) * PP_PAGE_BYTES, block, ctx);
		if (pp_page_type(word) != PP_PAGE_BLOCKS || klass >= PP_CLASS_COUNT)
			continue;
		for (unsigned w = 0; w < pp_classes[klass].words; w++)
			for (uint64_t bits = pp_load_acq(&p->limbo[w]); bits; bits &= bits - 1) {
				unsigned i = w * 64 + (unsigned)__builtin_ctzll(bits);

				if (i < pp_classes[klass].blocks)
					limbo_block(pp_page_block(r, page, klass, i), pp_classes[klass].size, block, ctx);
			}
	}
	return to;
}
