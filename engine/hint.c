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
 * Dies inside: nothing to repair; a table that was being filled stays in use, half empty, and fills again by writers and by the next daemon, which goes on with it.
 */
#include "engine/hint.h"

#include "engine/index_internal.h"
#include "shm/fault.h"

#define LINE_BYTES (PP_HINT_WAYS * sizeof(uint64_t))

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t pp_key_hash(const struct pp_key *k)
{
	return XXH3_64bits_withSeed(k->data, k->size, k->table);
}

/* A damaged table is taken for one of a single line of zeros. */
static struct pp_hints *table_at(struct pp_thread *t, uint64_t link)
{
	pp_ref ref = pp_link_ref(link);
	struct pp_hints *h = pp_sound_at(t, ref, sizeof(*h));

	if (__builtin_expect(h->lines > t->region->map_bytes / LINE_BYTES || (uintptr_t)h->entry % 16 ||
			     !pp_ref_inside(t->region, ref, sizeof(*h) + h->lines * LINE_BYTES), 0))
		return pp_damaged(t, ref);
	return h;
}
_Static_assert(sizeof(struct pp_hints) + LINE_BYTES <= PP_NOTHING, "a line of nothing");

static struct pp_hints *table(struct pp_thread *t)
{
	uint64_t link = pp_protect(t, &pp_engine(t)->hints);

	if (__builtin_expect(link != t->hints_link, 0)) {
		t->hints = table_at(t, link);
		t->hints_link = pp_damage(t) ? 0 : link; /* 0: no table has it */
	}
	return t->hints;
}

static pp_a64 *line_of(struct pp_hints *h, uint64_t hash)
{
	return pp_hint_line(h, (uint32_t)hash);
}

static pp_a64 *second_line_of(struct pp_hints *h, uint64_t hash)
{
	return pp_hint_line(h, (uint32_t)(hash >> 16) * UINT32_C(0x9e3779b1));
}

static uint64_t make_entry(uint64_t hash, uint64_t gen, pp_ref cell)
{
	return hash >> 48 << 48 | (gen & PP_HINT_GEN) << PP_REF_BITS | cell;
}

/* Header, head and key; the inline version; its value: lines that would be waited for one after the other. Any address is allowed. */
static void near_cell(const struct pp_thread *t, pp_ref cell)
{
	const char *p = (const char *)t->region->base + cell;

	pp_near(p - sizeof(struct pp_block));
	pp_near(p + 48);
	pp_near(p + 112);
}

/* The cell of entry `e` if it is the one of `k`, else 0. */
static pp_ref judge(struct pp_thread *t, uint64_t e, const struct pp_key *k)
{
	pp_ref cell = pp_link_ref(e);
	struct pp_cell *c;

	near_cell(t, cell);
	PP_FAULT_POINT("hint.find.entry");
	while (pp_era_moved(t))
		;
	if (!pp_hint_live(t, cell, e >> PP_REF_BITS & PP_HINT_GEN, PP_HINT_GEN, PP_KIND_CELL))
		return 0;
	c = pp_at(t->region, cell); /* not before: an empty entry has a tag too, and it may be this one */
	if (!pp_ref_near(t->region, cell) && !pp_ref_inside(t->region, cell, sizeof(*c) + k->size))
		return 0;
	/* an index cell: its block was a key cell's once */
	return !(c->flags & PP_C_INDEX) && pp_cell_equals(c, k) ? cell : 0;
}

static inline pp_ref find_in(struct pp_thread *t, pp_a64 *line, uint64_t hash, const struct pp_key *k)
{
	for (unsigned ways = pp_hint_ways(line, hash); ways; ways &= ways - 1) {
		/* [hint.find:entry] pairs [hint.enter:entry]: the cell it names */
		pp_ref cell = judge(t, pp_load_acq(&line[__builtin_ctz(ways)]), k);

		if (__builtin_expect(cell != 0, 1))
			return cell;
	}
	return 0;
}

/* Not in its first line: in the second, or in the table before. */
static __attribute__((noinline)) pp_ref find_elsewhere(struct pp_thread *t, struct pp_hints *h, uint64_t hash, const struct pp_key *k)
{
	pp_ref cell = find_in(t, second_line_of(h, hash), hash, k);
	uint64_t previous;

	if (cell)
		return cell;
	previous = pp_protect(t, &h->previous);
	if (!previous)
		return 0;
	h = table_at(t, previous);
	cell = find_in(t, line_of(h, hash), hash, k);
	return cell ? cell : find_in(t, second_line_of(h, hash), hash, k);
}

pp_ref pp_hint_find(struct pp_thread *t, uint64_t hash, const struct pp_key *k)
{
	struct pp_hints *h = table(t);
	pp_ref cell = find_in(t, line_of(h, hash), hash, k);

	return __builtin_expect(cell != 0, 1) ? cell : find_elsewhere(t, h, hash, k);
}

void pp_hint_prefetch(struct pp_thread *t, uint64_t hash)
{
	pp_near(line_of(table(t), hash));
}

void pp_hint_prefetch_cell(struct pp_thread *t, uint64_t hash)
{
	pp_a64 *line = line_of(table(t), hash);

	for (unsigned ways = pp_hint_ways(line, hash); ways; ways &= ways - 1)
		near_cell(t, pp_link_ref(pp_load_rlx(&line[__builtin_ctz(ways)]))); /* hint */
}

/* The way of a line that the entry may take: its key's own, or an empty one; PP_HINT_WAYS: the line is full. */
static unsigned way_for(pp_a64 *line, uint64_t hash)
{
	unsigned ways = pp_hint_ways(line, hash);

	for (unsigned i = 0; !ways && i < PP_HINT_WAYS; i++)
		ways = (unsigned)!pp_load_rlx(&line[i]) << i; /* hint */
	return ways ? (unsigned)__builtin_ctz(ways) : PP_HINT_WAYS;
}

static void enter_in(struct pp_hints *h, uint64_t hash, uint64_t entry)
{
	pp_a64 *line = line_of(h, hash);
	unsigned way = way_for(line, hash);

	if (way == PP_HINT_WAYS) {
		line = second_line_of(h, hash);
		way = way_for(line, hash);
	}
	/* [hint.enter:entry] pairs [hint.find:entry]: the cell is LIVE */
	pp_store_rel(&line[way == PP_HINT_WAYS ? hash >> 40 & (PP_HINT_WAYS - 1) : way], entry);
}

void pp_hint_enter(struct pp_thread *t, uint64_t hash, pp_ref cell)
{
	enter_in(table(t), hash, make_entry(hash, pp_gen_of(t->region, cell), cell));
}

static int new_table(struct pp_thread *t, uint64_t lines, uint64_t previous, uint64_t *link)
{
	struct pp_hints *h;
	pp_ref ref;
	int rc = pp_alloc(t, sizeof(*h) + lines * PP_HINT_WAYS * sizeof(uint64_t) , PP_KIND_OTHER, &ref);

	if (rc)
		return rc;
	h = pp_at(t->region, ref);
	memset(h, 0, sizeof(*h) + lines * PP_HINT_WAYS * sizeof(uint64_t));
	h->lines = lines;
	pp_store_rlx(&h->previous, previous); /* published by the store to engine.hints */
	*link = PP_LINK(ref, pp_gen_of(t->region, ref));
	return 0;
}

static void publish(struct pp_thread *t, uint64_t link)
{
	pp_note_block(t, PP_NOTE_HINTS, pp_link_ref(link), 0);
	pp_store_rel(&pp_engine(t)->hints, link);
	pp_alloc_live(t, pp_link_ref(link), pp_link_gen(link));
	pp_notes_clear(t);
}

bool pp_hint_reachable(struct pp_thread *t, pp_ref ref)
{
	uint64_t link = pp_protect(t, &pp_engine(t)->hints);

	return pp_link_ref(link) == ref || pp_link_ref(pp_protect(t, &table_at(t, link)->previous)) == ref;
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
		pp_ref cell = pp_block_ref(b, i);
		struct pp_cell *c = pp_cell_at(t, cell);

		if (pp_damage(t))
			return;
		pp_hint_enter(t, pp_cell_hash(c), cell);
	}
}

bool pp_hint_refill(struct pp_thread *t, struct pp_hint_walk *w, unsigned leaves)
{
	unsigned lists = pp_list_count(pp_engine(t));
	struct pp_place p;

	while (leaves-- && w->list < lists) {
		pp_read_enter(t);
		pp_index_find(t, w->list, 0, &w->at.key, false, &p);
		refill_leaf(t, p.block);
		if (pp_damage(t)) { /* what is not in the table is found by a descent, or not at all */
			pp_damage_report(t);
			pp_read_leave(t);
			return false;
		}
		pp_keybuf_copy(&w->at, pp_block_high(p.block), p.block->high_size);
		if (!p.block->high_size)
			w->list++;
		pp_read_leave(t);
	}
	return w->list < lists;
}

/*
 * A table that is three quarters full, or less than an eighth, is followed by one that is three fifths full. (What was dropped may have been
 * most of the store; between the two bounds lies enough that keys which come and go do not make tables come and go.)
 */
static bool fits(const struct pp_hints *h, uint64_t keys)
{
	uint64_t room = h->lines * PP_HINT_WAYS;

	return keys * 4 <= room * 3 && (keys * 8 >= room || h->lines <= PP_HINT_LINES_MIN);
}

static uint64_t lines_for(uint64_t keys)
{
	uint64_t lines = keys * 5 / 3 / PP_HINT_WAYS + 1;

	return lines > PP_HINT_LINES_MIN ? lines : PP_HINT_LINES_MIN;
}

int pp_hint_resize_begin(struct pp_thread *t, uint64_t keys, struct pp_hint_walk *w)
{
	uint64_t link, previous;
	struct pp_hints *h;
	int rc = 0;

	w->list = 0;
	pp_keybuf_copy(&w->at, (const uint8_t *)"", 0);
	pp_read_enter(t);
	previous = pp_protect(t, &pp_engine(t)->hints);
	h = table_at(t, previous);
	if (pp_damage(t)) {
		rc = pp_damage_report(t);
	} else if (pp_protect(t, &h->previous)) {
		rc = 1; /* what a dead daemon left half done */
	} else if (!fits(h, keys)) {
		rc = new_table(t, lines_for(keys), previous, &link);
		if (!rc) {
			publish(t, link);
			rc = 1;
		}
	}
	pp_read_leave(t);
	return rc;
}

void pp_hint_resize_end(struct pp_thread *t)
{
	struct pp_hints *h;
	uint64_t previous;

	pp_read_enter(t);
	h = table(t);
	previous = pp_protect(t, &h->previous);
	table_at(t, previous);
	if (!pp_damage(t))
		pp_note_unlink(t, PP_NOTE_HINTS, pp_link_ref(previous), 0);
	pp_store_rel(&h->previous, 0);
	if (!pp_damage(t))
		pp_retire(t, pp_link_ref(previous), pp_link_gen(previous));
	pp_notes_clear(t);
	pp_damage_result(t, 0);
	pp_read_leave(t);
}
