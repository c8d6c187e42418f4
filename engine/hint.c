/*
 * hint.c - the hash hint table.
 *
 * Races are harmless by design: entries are single words, two writers may overwrite each other's, and a lost one costs a descent.
 * Growing, in steps so that the house thread can do its rounds in between: the keeper allocates a larger table whose `previous` names the
 * old one, publishes it, refills it by walking the index some leaves at a time, then clears `previous` and retires the old table. Readers
 * look into both meanwhile.
 *
 * Ordering. [hint.enter:entry] pairs [hint.find:entry]: a cell is LIVE and complete before its entry can be seen.
 *
 * Dies inside: nothing to repair; a table that was being filled stays in use, half empty, and fills again by writers and the next growth.
 */
#include "engine/hint.h"

#include "engine/index.h"
#include "shm/fault.h"

#define WAYS 8
#define GEN_MASK UINT64_C(0xff)

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t pp_key_hash(const struct pp_ikey *k)
{
	return XXH3_64bits(k->bytes, k->size);
}

static struct pp_hints *table(struct pp_thread *t)
{
	return pp_at(t->region, pp_link_ref(pp_protect(t, &pp_engine(t)->hints)));
}

static pp_a64 *line_of(struct pp_hints *h, uint64_t hash)
{
	return h->entry + ((uint64_t)(uint32_t)hash * h->lines >> 32) * WAYS;
}

static uint64_t make_entry(uint64_t hash, uint64_t gen, pp_ref cell)
{
	return hash >> 48 << 48 | (gen & GEN_MASK) << PP_REF_BITS | cell;
}

/* Header, head and key; the inline version; its value: lines that would be waited for one after the other. Any address is allowed. */
static void near_cell(const struct pp_thread *t, pp_ref cell)
{
	const char *p = (const char *)t->region->base + cell;

	pp_near(p - sizeof(struct pp_block));
	pp_near(p + 48);
	pp_near(p + 112);
}

static pp_ref find_in(struct pp_thread *t, struct pp_hints *h, uint64_t hash, const struct pp_ikey *k)
{
	pp_a64 *line = line_of(h, hash);

	for (unsigned i = 0; i < WAYS; i++) {
		/* [hint.find:entry] pairs [hint.enter:entry]: the cell it names */
		uint64_t e = pp_load_acq(&line[i]);
		pp_ref cell = pp_link_ref(e);

		if (e >> 48 != hash >> 48 || !cell)
			continue;
		near_cell(t, cell);
		PP_FAULT_POINT("hint.find.entry");
		while (pp_era_moved(t))
			;
		if (pp_hint_live(t, cell, e >> PP_REF_BITS & GEN_MASK, GEN_MASK, PP_KIND_CELL) &&
		    !(((struct pp_cell *)pp_at(t->region, cell))->flags & PP_C_INDEX) && /* its block was a key cell's once */
		    pp_cell_equals(pp_at(t->region, cell), k))
			return cell;
	}
	return 0;
}

pp_ref pp_hint_find(struct pp_thread *t, uint64_t hash, const struct pp_ikey *k)
{
	struct pp_hints *h = table(t);
	uint64_t previous;
	pp_ref cell = find_in(t, h, hash, k);

	if (__builtin_expect(cell != 0, 1))
		return cell;
	previous = pp_protect(t, &h->previous);
	return previous ? find_in(t, pp_at(t->region, pp_link_ref(previous)), hash, k) : 0;
}

void pp_hint_prefetch(struct pp_thread *t, uint64_t hash)
{
	pp_near(line_of(table(t), hash));
}

void pp_hint_prefetch_cell(struct pp_thread *t, uint64_t hash)
{
	pp_a64 *line = line_of(table(t), hash);

	for (unsigned i = 0; i < WAYS; i++) {
		uint64_t e = pp_load_rlx(&line[i]); /* hint */

		if (e >> 48 == hash >> 48 && pp_link_ref(e))
			near_cell(t, pp_link_ref(e));
	}
}

static void enter_in(struct pp_hints *h, uint64_t hash, uint64_t entry, unsigned victim)
{
	pp_a64 *line = line_of(h, hash);

	for (unsigned i = 0; i < WAYS; i++) {
		uint64_t e = pp_load_rlx(&line[i]); /* hint */

		if (!e || e == entry || e >> 48 == hash >> 48) {
			victim = i;
			break;
		}
	}
	/* [hint.enter:entry] pairs [hint.find:entry]: the cell is LIVE */
	pp_store_rel(&line[victim % WAYS], entry);
}

void pp_hint_enter(struct pp_thread *t, uint64_t hash, pp_ref cell)
{
	enter_in(table(t), hash, make_entry(hash, pp_gen_of(t->region, cell), cell), (unsigned)(hash >> 40));
}

static int new_table(struct pp_thread *t, uint64_t lines, uint64_t previous, uint64_t *link)
{
	struct pp_hints *h;
	pp_ref ref;
	int rc = pp_alloc(t, sizeof(*h) + lines * WAYS * sizeof(uint64_t) , PP_KIND_OTHER, &ref);

	if (rc)
		return rc;
	h = pp_at(t->region, ref);
	memset(h, 0, sizeof(*h) + lines * WAYS * sizeof(uint64_t));
	h->lines = lines;
	pp_store_rlx(&h->previous, previous); /* published by the store to engine.hints */
	*link = PP_LINK(ref, pp_gen_of(t->region, ref));
	return 0;
}

static void publish(struct pp_thread *t, uint64_t link)
{
	pp_store_rel(&pp_engine(t)->hints, link);
	pp_alloc_live(t, pp_link_ref(link), pp_link_gen(link));
}

int pp_hint_format(struct pp_thread *t, uint64_t lines)
{
	uint64_t link;
	int rc;

	pp_read_enter(t);
	rc = new_table(t, lines, 0, &link);
	if (!rc)
		publish(t, link);
	pp_read_leave(t);
	return rc;
}

/* Enters every cell of a leaf. */
static void refill_leaf(struct pp_thread *t, const struct pp_leafblock *b)
{
	for (unsigned i = 0; i < b->count; i++)
		pp_near(pp_at(t->region, pp_block_ref(b, i)));
	for (unsigned i = 0; i < b->count; i++) {
		struct pp_cell *c = pp_at(t->region, pp_block_ref(b, i));
		struct pp_ikey k = {pp_cell_key(c), pp_cell_key_size(c)};

		pp_hint_enter(t, pp_key_hash(&k), pp_block_ref(b, i));
	}
}

bool pp_hint_refill(struct pp_thread *t, struct pp_hint_walk *w, unsigned leaves)
{
	unsigned lists = pp_engine(t)->lists;
	struct pp_place p;

	while (leaves-- && w->list < lists) {
		pp_read_enter(t);
		pp_index_find(t, w->list, 0, &w->at.key, false, &p);
		refill_leaf(t, p.block);
		pp_keybuf_copy(&w->at, pp_block_high(p.block), p.block->high_size);
		if (!p.block->high_size)
			w->list++;
		pp_read_leave(t);
	}
	return w->list < lists;
}

/* A table that is three quarters full is followed by one that is three fifths full. */
int pp_hint_grow_begin(struct pp_thread *t, uint64_t keys, struct pp_hint_walk *w)
{
	uint64_t link, previous;
	struct pp_hints *h;
	int rc = 0;

	w->list = 0;
	pp_keybuf_copy(&w->at, (const uint8_t *)"", 0);
	pp_read_enter(t);
	previous = pp_protect(t, &pp_engine(t)->hints);
	h = pp_at(t->region, pp_link_ref(previous));
	if (pp_protect(t, &h->previous)) {
		rc = 1; /* a growth that a dead daemon left half done */
	} else if (keys * 4 > h->lines * WAYS * 3) {
		rc = new_table(t, keys * 5 / 3 / WAYS + 1, previous, &link);
		if (!rc) {
			publish(t, link);
			rc = 1;
		}
	}
	pp_read_leave(t);
	return rc;
}

void pp_hint_grow_end(struct pp_thread *t)
{
	struct pp_hints *h;
	uint64_t previous;

	pp_read_enter(t);
	h = table(t);
	previous = pp_protect(t, &h->previous);
	pp_store_rel(&h->previous, 0);
	pp_retire(t, pp_link_ref(previous), pp_link_gen(previous));
	pp_read_leave(t);
}
