/*
 * hint.c - the hash hint table.
 *
 * Races are harmless by design: entries are single words, two writers may overwrite each other's, and a lost one costs a descent.
 * Growing: the keeper allocates a table twice as large whose `previous` names the old one, publishes it, refills it by walking
 * the index, then clears `previous` and retires the old table. Readers look into both meanwhile.
 *
 * Ordering. [hint.enter:entry] pairs [hint.find:entry]: a cell is LIVE and complete before its entry can be seen.
 *
 * Dies inside: nothing to repair; a table that was being filled stays in use, half empty, and fills again by writers and the next growth.
 */
#include "engine/hint.h"

#include "engine/index.h"

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
	return h->entry + (hash & h->mask) * WAYS;
}

static uint64_t make_entry(uint64_t hash, uint64_t gen, pp_ref cell)
{
	return hash >> 48 << 48 | (gen & GEN_MASK) << PP_REF_BITS | cell;
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
		while (pp_era_moved(t))
			;
		if (pp_hint_live(t, cell, e >> PP_REF_BITS & GEN_MASK, GEN_MASK, PP_KIND_CELL) &&
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
	__builtin_prefetch(line_of(table(t), hash));
}

void pp_hint_prefetch_cell(struct pp_thread *t, uint64_t hash)
{
	pp_a64 *line = line_of(table(t), hash);

	for (unsigned i = 0; i < WAYS; i++) {
		uint64_t e = pp_load_rlx(&line[i]); /* hint */

		if (e >> 48 == hash >> 48 && pp_link_ref(e)) {
			const char *cell = pp_at(t->region, pp_link_ref(e));

			__builtin_prefetch(cell - sizeof(struct pp_block));
			__builtin_prefetch(cell + 48);
		}
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
	h->mask = lines - 1;
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
		__builtin_prefetch(pp_at(t->region, pp_block_refs(b)[i]));
	for (unsigned i = 0; i < b->count; i++) {
		struct pp_cell *c = pp_at(t->region, pp_block_refs(b)[i]);
		struct pp_ikey k = {pp_cell_key(c), pp_cell_key_size(c)};

		pp_hint_enter(t, pp_key_hash(&k), pp_block_refs(b)[i]);
	}
}

static void refill_list(struct pp_thread *t, unsigned list)
{
	static const uint8_t lowest[1];
	struct pp_keybuf at;
	struct pp_place p;

	pp_keybuf_copy(&at, lowest, 0);
	for (bool more = true; more;) {
		pp_read_enter(t);
		pp_index_find(t, list, 0, &at.key, false, &p);
		refill_leaf(t, p.block);
		more = p.block->high_size != 0;
		if (more)
			pp_keybuf_copy(&at, pp_block_high(p.block), p.block->high_size);
		pp_read_leave(t);
	}
}

int pp_hint_grow(struct pp_thread *t, uint64_t keys)
{
	struct pp_engine *e = pp_engine(t);
	struct pp_hints *h;
	uint64_t link, previous;
	int rc = 0;

	pp_read_enter(t);
	previous = pp_protect(t, &e->hints);
	h = pp_at(t->region, pp_link_ref(previous));
	if (keys * 4 > (h->mask + 1) * WAYS * 3) { /* three quarters full: make it half empty at least */
		uint64_t lines = h->mask + 1;

		while (keys * 2 > lines * WAYS)
			lines *= 2;
		rc = new_table(t, lines, previous, &link);
		if (!rc) {
			publish(t, link);
			rc = 1;
		}
	} else {
		previous = pp_protect(t, &h->previous); /* a growth that a dead daemon left half done */
		rc = previous ? 1 : 0;
	}
	pp_read_leave(t);
	if (rc <= 0)
		return rc;
	for (unsigned i = 0; i < e->lists; i++)
		refill_list(t, i);
	pp_read_enter(t);
	h = table(t);
	pp_store_rel(&h->previous, 0);
	pp_retire(t, pp_link_ref(previous), pp_link_gen(previous));
	pp_read_leave(t);
	return 1;
}
