/*
 * gather.c - the keeper brings the cells of a leaf together, in key order, so that a scan reads memory from one end to the other.
 *
 * Cells lie where their makers found room: after a load in random order each entry of a scan is another page, and after overwrites its
 * value another one. A pass walks the leaves. Where too few of a leaf's entries follow one another in memory with their values, all
 * of its cells that can be moved are (engine/move.c): each is made MOVING and copied into pages that nobody has used before, then one
 * CAS puts a block that names the copies in the place of the leaf's. Leaves that are in order are left alone, so a pass over a store at
 * rest moves nothing.
 *
 * What is moved, or was freed, leaves pages behind in which few blocks still stand: of no use to other classes, and not to be given back. In a
 * store at rest the cells that stand in such pages are moved, too, each for itself, and blocks of all levels; a few passes follow one that
 * moved much.
 *
 * When: a second after the last pass, if something was written since it began; a few leaves a step while clients write. Not while the
 * store is being filled, nor while a snapshot is held (what is moved could not be freed), nor when memory for the second copy is short: old
 * pages become free one by one, most of them at the end of a pass.
 *
 * Dies inside: cells that are MOVING in a leaf (writers of the key, or the next pass, complete them); before the CAS PRIVATE copies, after it
 * cells that nobody retired: the note PP_NOTE_GATHER names both blocks, and reap.c judges every cell by what stands in the leaf.
 */
#include "engine/hint.h"
#include "engine/index_internal.h"
#include "engine/keeper_internal.h"
#include "engine/move.h"
#include "engine/shards.h"
#include "engine/version.h"
#include "shm/clock.h"
#include "shm/fault.h"

#include <string.h>

#define PASS_NS UINT64_C(1000000000)
#define QUIET_NS UINT64_C(20000000)
#define LEAVES_STEP 32
#define LEAVES_BUSY 2
#define LEAST 8                        /* entries: smaller leaves are not worth a copy */
#define NEIGHBOURS 8                   /* cells of other sizes may lie between two that follow one another */
#define STRIDE PP_INLINE_MAX
#define ORDER_BUSY 2                   /* of eight entries: a leaf that grows will be copied again */
#define ORDER_QUIET 7
#define PASSES 3                       /* in a row, without a write */
#define MUCH 64                        /* a pass that moved one cell of so many is followed by another */

/* ---- one leaf ---------------------------------------------------------------------------------------------------- */

static bool follows(const struct pp_leafblock *b, unsigned i)
{
	pp_ref at = pp_block_ref(b, i);

	for (unsigned k = 1; k <= NEIGHBOURS && k <= i; k++)
		if (at - pp_block_ref(b, i - k) <= STRIDE) /* wraps for one that lies behind */
			return true;
	return false;
}

static bool inside(struct pp_thread *t, pp_ref cell)
{
	uint64_t head = pp_load_acq(&pp_cell_at(t, cell)->head);

	return head == pp_cell_inline_version(t, cell);
}

static bool scattered(struct pp_thread *t, const struct pp_leafblock *b, bool busy)
{
	unsigned of_eight = busy ? ORDER_BUSY : ORDER_QUIET;
	unsigned in_order = 0;

	if (b->count < LEAST)
		return false;
	for (unsigned i = 0; i < b->count; i++)
		pp_near(pp_at(t->region, pp_block_ref(b, i)));
	for (unsigned i = 0; i < b->count; i++)
		in_order += (!i || follows(b, i)) && inside(t, pp_block_ref(b, i));
	return in_order < b->count * of_eight / 8;
}

/* Does it, or a key cell of it, keep a page that is nearly empty? */
static bool straggles(struct pp_thread *t, const struct pp_leafblock *b, pp_ref ref)
{
	bool any = pp_page_sparse(t->region, ref);

	for (unsigned i = 0; !any && !b->upper && i < b->count; i++)
		any = pp_page_sparse(t->region, pp_block_ref(b, i));
	return any;
}

struct gathering {
	struct pp_entries e;               /* with the copies */
	unsigned count;
	struct { pp_ref cell, copy; } moved[PP_LEAF_MAX];
};

/* Freezes and copies what can be moved, of all cells or of those in sparse pages. */
static void copy_cells(struct pp_thread *t, struct gathering *g, bool all)
{
	for (unsigned i = 0; i < g->e.count && g->count < PP_LEAF_MAX; i++) {
		pp_ref cell = g->e.ref[i], copy;
		struct pp_cell *c = pp_cell_at(t, cell);
		uint64_t head;
		bool movable;

		if (!all && !pp_page_sparse(t->region, cell))
			continue;
		movable = pp_cell_movable(t, c, &head);
		if (!movable && !(head & PP_MOVING))
			continue;
		if (pp_cell_copy(t, c, head, &copy))
			return;
		if (movable && !pp_cas_acqrel(&c->head, &head, head | PP_MOVING)) {
			pp_alloc_cancel(t, copy);
			continue;
		}
		PP_FAULT_POINT("gather.frozen");
		g->e.ref[i] = copy;
		g->moved[g->count].cell = cell;
		g->moved[g->count++].copy = copy;
	}
}

static void finish(struct pp_thread *t, const struct gathering *g)
{
	for (unsigned i = 0; i < g->count; i++) {
		pp_ref copy = g->moved[i].copy, cell = g->moved[i].cell;

		pp_alloc_live(t, copy, pp_gen_of(t->region, copy));
		pp_hint_enter(t, pp_cell_hash(pp_at(t->region, copy)), copy);
		pp_moved_retire(t, cell, pp_gen_of(t->region, cell));
	}
	pp_notes_clear(t);
}

/* The leaf changed meanwhile, or there is no memory for its block: the cells are MOVING, each for itself finds its place. */
static void one_by_one(struct pp_thread *t, const struct gathering *g)
{
	pp_notes_clear(t);
	for (unsigned i = 0; i < g->count; i++)
		pp_alloc_cancel(t, g->moved[i].copy);
	for (unsigned i = 0; i < g->count; i++)
		pp_cell_move(t, g->moved[i].cell);
}

/* Before the blocks' own notes: who reaps finds it whole, or nothing was linked. The copies' cells may still be PRIVATE: help them. */
static void note(struct pp_thread *t, const struct gathering *g, struct pp_place *p, pp_ref block)
{
	for (unsigned i = 0; i < g->count; i++)
		pp_alloc_live(t, g->moved[i].cell, pp_gen_of(t->region, g->moved[i].cell));
	pp_note_block(t, PP_NOTE_GATHER, pp_head_ref(p->head), PP_LINK(block, pp_gen_of(t->region, block)));
}

/* Moves the block with its cells, all or those in sparse pages. Returns the number of cells that were moved. */
static unsigned gather_leaf(struct pp_thread *t, struct pp_place *p, bool all)
{
	struct pp_leafblock *b = p->block;
	struct gathering g;
	pp_ref block;

	g.count = 0;
	pp_entries_load(&g.e, b);
	if (!b->upper)
		copy_cells(t, &g, all);
	if (!g.count && all)
		return 0;
	if (pp_block_build(t, &g.e, 0, g.e.count, pp_block_low_span(b), pp_block_high_span(b), b->right, false, &block)) {
		one_by_one(t, &g);
		return 0;
	}
	if (g.count)
		note(t, &g, p, block);
	if (pp_leaf_swap(t, p, block)) {
		PP_FAULT_POINT("gather.swapped");
		finish(t, &g);
		return g.count;
	}
	pp_alloc_cancel(t, block);
	one_by_one(t, &g);
	return g.count;
}

/* ---- a pass ------------------------------------------------------------------------------------------------------ */

/* Room for what is copied before the first old pages come back. */
static bool has_room(struct pp_keeper *k)
{
	struct pp_region *r = &k->region;
	uint64_t all = (uint64_t)r->fixed.max_segments * PP_PAGES_PER_SEGMENT;
	uint64_t ahead = all - pp_load_acq(&r->globals->committed_segments) * PP_PAGES_PER_SEGMENT;

	return ahead + pp_load_rlx(&r->globals->holes) + pp_load_rlx(&r->globals->free_pages) > all / 8; /* stat */
}

/* Leaves of a store that is being filled will be split and copied again. */
static bool growing(struct pp_keeper *k)
{
	struct pp_gather *g = &k->gather;
	uint64_t keys = pp_key_count(k), before = g->keys;

	g->keys = keys;
	return keys > before + before / 64;
}

static bool begin(struct pp_keeper *k)
{
	struct pp_gather *g = &k->gather;
	if (k->config.no_gather || pp_now_ns() < g->next_ns || g->looked_at == g->logged + 1 || k->house.safe.held_count || !has_room(k))
		return false;
	if (growing(k)) {
		g->next_ns = pp_now_ns() + PASS_NS;
		return false;
	}
	g->looked_at = g->logged + 1;
	g->active = true;
	g->moved = 0;
	g->list = g->level = 0;
	pp_keybuf_copy(&g->at, (const uint8_t *)"", 0);
	return true;
}

static void end(struct pp_keeper *k)
{
	struct pp_gather *g = &k->gather;
	bool again = g->looked_at == g->logged + 1 && g->moved > pp_key_count(k) / MUCH && g->passes + 1 < PASSES;

	g->passes = again ? g->passes + 1 : 0;
	if (again)
		g->looked_at = 0;
	g->next_ns = pp_now_ns() + PASS_NS;
}

/* Allocates in pages of its own, near the leaf's shard. */
static void bring_together(struct pp_keeper *k, struct pp_place *p, bool all)
{
	struct pp_thread *t = &k->house;
	struct pp_ikey low = {pp_block_low(p->block), p->block->low_size};
	unsigned node = pp_shard_prefer(t, k->gather.list, &low), moved;

	t->fresh = true;
	moved = gather_leaf(t, p, all);
	pp_add_rlx(&pp_engine(t)->gathered, moved); /* stat */
	k->gather.moved += moved;
	t->fresh = false;
	pp_thread_prefer(t, node);
}

/* Behind the last leaf of a level: up, where only blocks are moved, then on to the next list. */
static void next_level(struct pp_thread *t, struct pp_gather *g)
{
	if (++g->level < pp_load_acq(&pp_engine(t)->list[g->list].levels) && g->level < PP_LEVELS)
		return;
	g->level = 0;
	g->list++;
}

static void look_at_leaf(struct pp_keeper *k, bool busy)
{
	struct pp_thread *t = &k->house;
	struct pp_gather *g = &k->gather;
	struct pp_place p;
	bool all;

	pp_read_enter(t);
	pp_index_find(t, g->list, g->level, &g->at.key, true, &p);
	pp_keybuf_copy(&g->at, pp_block_high(p.block), p.block->high_size);
	all = !g->level && scattered(t, p.block, busy);
	if (pp_head_state(p.head) == PP_LEAF_OPEN && (all || (!busy && straggles(t, p.block, pp_head_ref(p.head)))))
		bring_together(k, &p, all);
	if (!p.block->high_size)
		next_level(t, g);
	pp_read_leave(t);
}

/* Were records logged a moment ago? Own rounds close epochs too, so those say nothing. */
static bool writing(struct pp_keeper *k)
{
	struct pp_gather *g = &k->gather;
	uint64_t logged = pp_load_rlx(&k->logged_bytes); /* stat */

	if (logged != g->logged) {
		g->logged = logged;
		g->logged_ns = pp_now_ns();
	}
	return g->logged_ns && pp_now_ns() - g->logged_ns < QUIET_NS;
}

bool pp_gather_step(struct pp_keeper *k)
{
	struct pp_gather *g = &k->gather;
	bool busy = writing(k);
	unsigned lists = pp_engine(&k->house)->lists;

	if (!g->active && !begin(k))
		return false;
	if (k->house.safe.held_count || !has_room(k))
		return false; /* it goes on from here later */
	for (unsigned n = 0; n < (busy ? LEAVES_BUSY : LEAVES_STEP) && g->list < lists; n++)
		look_at_leaf(k, busy);
	g->active = g->list < lists;
	if (!g->active)
		end(k);
	return g->active && !busy;
}
