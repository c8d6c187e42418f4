/*
 * index.c - finding places and linking cells in the block skiplist.
 *
 * Structure. Each level is a linked list of leaf cells. A leaf cell's `head` refers to an immutable block that holds the sorted
 * entries, the bounds [low, high) and the right link: changing a leaf is one CAS on `head` (a B-link tree, Lehman and Yao 1981, with
 * blocks replaced as a whole). Entries of level 0 are key cells; entries of level n are index cells, which name a leaf of level n - 1 with
 * its generation. Upper levels are hints: whoever lands left of its key moves right, a lost entry costs steps, never keys.
 *
 * Find. From the leftmost leaf of the top level: move right while key >= high, take the last entry <= key whose leaf is LIVE with the
 * named generation, else the entry left of it; when a block has none, search again for the predecessor of the block's low key.
 * low of a leaf never changes, so a leaf that passes the check has low <= key.
 *
 * Link. Build the new block, note it, CAS head, make it LIVE, retire the old block. Full: the right half goes to a fresh leaf cell
 * that only the new left block refers to, so a split is that one CAS as well; the index cell above follows as a hint.
 *
 * Merge (engine/merge.c) seals a leaf; readers trust a sealed leaf only while its left neighbour still links to it.
 *
 * Ordering. [index.link:head] pairs [index.find:head]: the block's contents before the reference to it.
 * A block, and what it refers to, was reachable when it was loaded in this read section, so the interval covers it (shm/reclaim.h);
 * only index cells outlive what they name, hence the LIVE + generation check, after the era stood still.
 *
 * Dies inside: noted blocks, which the reaper judges by pp_index_reachable.
 */
#include "engine/index_internal.h"

#include "engine/hint.h"
#include "engine/move.h"
#include "engine/shards.h"
#include "shm/fault.h"

/* The hint's test: is the named leaf still the one that was meant, and in the list? */
static bool leaf_live(struct pp_thread *t, uint64_t link)
{
	while (pp_era_moved(t))
		;
	return pp_hint_live(t, pp_link_ref(link), pp_link_gen(link), PP_GEN_MASK, PP_KIND_LEAF) &&
	       pp_head_state(pp_load_acq(&pp_leaf_at(t, pp_link_ref(link))->head)) != PP_LEAF_GONE;
}

#define MEETS_MAX 4096                 /* sealed leaves in the way of one walk: one, unless the keeper is very fast */
#define BLOCK_LINES 12                 /* of a block of short keys */

/* True if key k lies to the right of the block. `before`: looking for the keys below k, so k == high still belongs here. */
static bool beyond(const struct pp_leafblock *b, const struct pp_ikey *k, bool before)
{
	int c;

	if (!b->high_size)
		return false;
	c = pp_bytes_compare(k->bytes, k->size, pp_block_high(b), b->high_size);
	return before ? c > 0 : c >= 0;
}

static bool below(const struct pp_leafblock *b, const struct pp_ikey *k, bool before)
{
	int c;

	if (!b->low_size)
		return false;
	c = pp_bytes_compare(k->bytes, k->size, pp_block_low(b), b->low_size);
	return before ? c <= 0 : c < 0;
}

/* A search needs the header, the bounds at its end and some slices: lines that would be waited for one after the other. `ref` may be any
 * address. */
static void near_block(const struct pp_thread *t, pp_ref ref)
{
	const char *p = (const char *)t->region->base + ref;

	for (unsigned i = 0; i < BLOCK_LINES; i++)
		pp_near(p + 64 * i);
}

enum step { STEP_HERE, STEP_AGAIN };

/* Where a search ends that met damage: an empty leaf that nobody can change. */
static enum step nowhere(struct pp_thread *t, pp_ref ref, struct pp_place *p)
{
	p->block = pp_damaged(t, ref);
	p->leaf = 0;
	p->head = PP_LEAF_SEALED;
	return STEP_HERE;
}

/*
 * Moves right from `leaf` until its block covers k. STEP_AGAIN: the leaf is gone (or a sealed one is not to be trusted any more), search
 * from the top.
 */
static enum step walk(struct pp_thread *t, unsigned list, unsigned level, pp_ref leaf, const struct pp_ikey *k, bool before,
		      bool write, struct pp_place *p)
{
	const struct pp_leafblock *left = NULL;
	unsigned steps = 0;

	pp_count(&t->slot->count.find_blocks, 1); /* and those to its right: leaf_visits */
	for (unsigned meets = 0;;) {
		struct pp_leaf *l = pp_leaf_at(t, leaf);

		pp_guard_step(t, &steps);
		/* [index.find:head] pairs [index.link:head]: a complete block */
		uint64_t head = pp_protect(t, &l->head);
		struct pp_leafblock *b;

		if (pp_head_state(head) == PP_LEAF_GONE)
			return STEP_AGAIN;
		near_block(t, pp_head_ref(head));
		b = pp_leafblock_at(t, pp_head_ref(head));
		if (pp_damage(t) || meets > MEETS_MAX)
			return nowhere(t, leaf, p);
		if (below(b, k, before))
			return STEP_AGAIN;
		if (pp_head_state(head) == PP_LEAF_SEALED) {
			pp_ref from = pp_merge_meet(t, list, level, leaf, b, write);

			if (from) {
				leaf = from;
				left = NULL;
				meets++;
				continue;
			}
		}
		if (!beyond(b, k, before)) {
			p->leaf = leaf;
			p->head = head;
			p->block = b;
			return STEP_HERE;
		}
		if (left && !pp_block_rises(left, b))
			return nowhere(t, leaf, p);
		left = b;
		leaf = pp_link_ref(b->right);
		pp_count(&t->slot->count.leaf_visits, 1);
	}
}

/* Child of an upper block for k: the last live entry at or before it; 0 = none in this block. */
static pp_ref child_of(struct pp_thread *t, const struct pp_leafblock *b, const struct pp_ikey *k, bool before)
{
	bool equal;
	unsigned i;

	if (!b->upper)
		return 0; /* damage */
	i = pp_block_find(t, b, k, &equal);
	if (equal && !before)
		i++;
	while (i-- > 0)
		if (leaf_live(t, pp_block_links(b)[i]))
			return pp_link_ref(pp_block_links(b)[i]);
	return 0;
}

static unsigned levels_of(struct pp_list *l)
{
	uint64_t levels = pp_load_acq(&l->levels);

	return levels < 1 ? 1 : levels > PP_LEVELS ? PP_LEVELS : (unsigned)levels;
}

/* One descent to `target` aiming at `aim` (<= k). STEP_AGAIN: *aim was lowered or the way changed. */
static enum step descend(struct pp_thread *t, unsigned list, unsigned target, const struct pp_ikey *k, bool before, bool write,
			 struct pp_keybuf *lower, bool *lowered, struct pp_place *p)
{
	struct pp_list *l = &pp_engine(t)->list[list];
	unsigned level = levels_of(l) - 1;
	pp_ref leaf = pp_load_acq(&l->tower[level > target ? level : target]);

	for (; level > target; level--) {
		const struct pp_ikey *aim = *lowered ? &lower->key : k;
		bool strict = before || *lowered;
		pp_ref child;

		if (walk(t, list, level, leaf, aim, strict, false, p) == STEP_AGAIN)
			return STEP_AGAIN;
		child = child_of(t, p->block, aim, strict);
		if (!child && p->block->low_size) { /* nothing live here: go for what stands left of this block */
			pp_keybuf_copy(lower, pp_block_low(p->block), p->block->low_size);
			*lowered = true;
			return STEP_AGAIN;
		}
		leaf = child ? child : pp_load_acq(&l->tower[level - 1]);
	}
	return walk(t, list, target, leaf, k, before, write, p);
}

static void find(struct pp_thread *t, unsigned list, unsigned level, const struct pp_ikey *k, bool before, bool write,
		 struct pp_place *p)
{
	struct pp_keybuf lower;
	bool lowered = false;
	unsigned steps = 0;

	while (descend(t, list, level, k, before, write, &lower, &lowered, p) == STEP_AGAIN) {
		pp_guard_step(t, &steps);
		if (steps > PP_TRIES_MAX || pp_damage(t)) {
			nowhere(t, 0, p);
			break;
		}
	}
}

void pp_index_find(struct pp_thread *t, unsigned list, unsigned level, const struct pp_ikey *k, bool write, struct pp_place *p)
{
	find(t, list, level, k, false, write, p);
	p->at = pp_block_find(t, p->block, k, &p->equal);
}

void pp_index_find_before(struct pp_thread *t, unsigned list, unsigned level, const struct pp_ikey *k, struct pp_place *p)
{
	find(t, list, level, k, true, false, p);
	p->at = pp_block_find(t, p->block, k, &p->equal);
}

void pp_index_first(struct pp_thread *t, unsigned list, struct pp_place *p)
{
	struct pp_ikey none = {(const uint8_t *)"", 0};

	pp_index_find(t, list, 0, &none, false, p);
}

/* ---- linking ---------------------------------------------------------------------------------------------------- */

uint64_t pp_leaf_link(const struct pp_thread *t, pp_ref leaf)
{
	return PP_LINK(leaf, pp_gen_of(t->region, leaf));
}

void pp_note_block(struct pp_thread *t, enum pp_note_kind kind, pp_ref ref, uint64_t where)
{
	pp_note(t, ref, PP_NOTE_WHAT(kind, pp_gen_of(t->region, ref)), where);
}

static void live(struct pp_thread *t, pp_ref ref)
{
	pp_alloc_live(t, ref, pp_gen_of(t->region, ref));
}

void pp_note_unlink(struct pp_thread *t, enum pp_note_kind kind, pp_ref ref, uint64_t where)
{
	if (pp_ref_inside(t->region, ref, 0) && pp_block_state(pp_load_acq(&pp_block_at(t->region, ref)->word)) == PP_BLOCK_PRIVATE)
		live(t, ref);
	pp_note_block(t, kind, ref, where);
}

bool pp_leaf_swap(struct pp_thread *t, struct pp_place *p, pp_ref block)
{
	struct pp_leaf *l = pp_leaf_at(t, p->leaf);
	pp_ref old = pp_head_ref(p->head);
	uint64_t expected = p->head, old_gen = pp_gen_of(t->region, old);

	pp_note_block(t, PP_NOTE_BLOCK, block, pp_leaf_link(t, p->leaf));
	pp_note_unlink(t, PP_NOTE_BLOCK, old, pp_leaf_link(t, p->leaf));
	PP_FAULT_POINT("index.swap.noted");
	if (PP_MUTANT("index.retired_first"))
		pp_retire(t, old, old_gen);
	/* [index.link:head] pairs [index.find:head]: the new block is complete */
	if (!pp_cas_seq(&l->head, &expected, block | PP_LEAF_OPEN)) {
		pp_count(&t->slot->count.cas_retries, 1);
		if (!l->level)
			pp_shard_contended(t, l->shard, pp_block_low(p->block), p->block->low_size);
		return false;
	}
	PP_FAULT_POINT("index.swap.linked");
	live(t, block);
	pp_retire(t, old, old_gen);
	return true;
}

static int swap_entries(struct pp_thread *t, struct pp_place *p, const struct pp_entries *e)
{
	struct pp_leafblock *b = p->block;
	pp_ref block;
	int rc = pp_block_build(t, e, 0, e->count, pp_block_low_span(b), pp_block_high_span(b), b->right, false, &block);

	if (rc)
		return rc;
	if (pp_leaf_swap(t, p, block))
		return 0;
	pp_alloc_cancel(t, block);
	return -EAGAIN;
}

struct pp_span pp_index_separator(const struct pp_cell *a, const struct pp_cell *z, unsigned level)
{
	uint32_t size = pp_cell_key_size(z), common;

	if (level == 0) {
		common = pp_common(pp_cell_key(a), pp_cell_key_size(a), pp_cell_key(z), size);
		size = common + 1 < size ? common + 1 : size;
	}
	return (struct pp_span){pp_cell_key(z), size};
}

int pp_leaf_new(struct pp_thread *t, unsigned list, unsigned level, pp_ref block, pp_ref *leaf)
{
	struct pp_leaf *l;
	int rc = pp_alloc(t, sizeof(*l), PP_KIND_LEAF, leaf);

	if (rc)
		return rc;
	l = pp_at(t->region, *leaf);
	memset(l, 0, sizeof(*l));
	pp_store_rlx(&l->head, block | PP_LEAF_OPEN); /* published by the CAS that links the leaf */
	l->level = level;
	l->shard = list;
	return 0;
}

/* An index cell for `leaf`, whose low key is `low`. */
static int index_cell_new(struct pp_thread *t, uint64_t link, struct pp_span low, pp_ref *out)
{
	struct pp_cell *c;
	int rc = pp_alloc(t, sizeof(*c) + (low.size - 4), PP_KIND_CELL, out);

	if (rc)
		return rc;
	c = pp_at(t->region, *out);
	pp_store_rlx(&c->head, link); /* published by the CAS that links the cell */
	c->flags = PP_C_INDEX;
	c->key_size = (uint16_t)(low.size - 4);
	memcpy(&c->table_be, low.bytes, low.size);
	return 0;
}

static int grow_tower(struct pp_thread *t, unsigned list, unsigned level)
{
	struct pp_list *l = &pp_engine(t)->list[list];
	struct pp_entries e;
	struct pp_span none = {NULL, 0};
	uint64_t expected = 0, levels = level;
	pp_ref block, leaf;
	int rc;

	e.count = e.prefix_size = 0;
	e.upper = level > 0;
	rc = pp_block_build(t, &e, 0, 0, none, none, 0, false, &block);
	if (rc)
		return rc;
	rc = pp_leaf_new(t, list, level, block, &leaf);
	if (rc) {
		pp_alloc_cancel(t, block);
		return rc;
	}
	pp_note_block(t, PP_NOTE_TOWER, leaf, list | level << 16);
	pp_note_block(t, PP_NOTE_BLOCK, block, pp_leaf_link(t, leaf));
	if (pp_cas_acqrel(&l->tower[level], &expected, leaf)) {
		live(t, leaf);
		live(t, block);
	} else {
		pp_alloc_cancel(t, block);
		pp_alloc_cancel(t, leaf);
	}
	PP_FAULT_POINT("index.tower.linked");
	pp_cas_acqrel(&l->levels, &levels, level + 1);
	pp_notes_clear(t);
	return 0;
}

void pp_index_enter(struct pp_thread *t, unsigned list, unsigned level, uint64_t leaf_link, struct pp_span low)
{
	struct pp_list *l = &pp_engine(t)->list[list];
	struct pp_ikey k;
	struct pp_place p;
	pp_ref cell;
	int rc;

	if (level >= PP_LEVELS || low.size < 4 || pp_damage(t))
		return;
	if (pp_load_acq(&l->levels) <= level && grow_tower(t, list, level))
		return;
	if (index_cell_new(t, leaf_link, low, &cell))
		return;
	k = (struct pp_ikey){pp_cell_key((struct pp_cell *)pp_at(t->region, cell)), low.size};
	do {
		pp_index_find(t, list, level, &k, true, &p);
		rc = pp_index_link(t, list, level, &p, &k, cell, 0);
	} while (rc == -EAGAIN);
	if (rc) {
		pp_alloc_cancel(t, cell);
		return;
	}
	/* The leaf may have been merged before its entry was there to be dropped. */
	pp_fence_seq(); /* [index.enter:linked] pairs [merge.complete:gone]: GONE is seen here, or the entry is seen there */
	if (!leaf_live(t, leaf_link))
		pp_index_drop(t, list, level, &k, leaf_link);
}

/* Splits e into the leaf at p and a new right neighbour. */
static int split(struct pp_thread *t, unsigned list, unsigned level, struct pp_place *p, const struct pp_entries *e, pp_ref cell,
		 pp_ref with)
{
	struct pp_leafblock *b = p->block;
	bool appended = !b->right && p->at == b->count; /* ascending load: leave the left one full */
	unsigned half = appended ? e->count - 1 : e->count / 2;
	struct pp_span sep = pp_index_separator(pp_cell_at(t, e->ref[half - 1]), pp_cell_at(t, e->ref[half]), level);
	pp_ref left_block, right_block, leaf;
	uint64_t link;
	int rc = pp_block_build(t, e, half, e->count - half, sep, pp_block_high_span(b), b->right, true, &right_block);

	if (rc)
		return rc;
	rc = pp_leaf_new(t, list, level, right_block, &leaf);
	if (rc)
		goto cancel_right;
	link = pp_leaf_link(t, leaf);
	rc = pp_block_build(t, e, 0, half, pp_block_low_span(b), sep, link, true, &left_block);
	if (rc)
		goto cancel_leaf;
	pp_note_block(t, PP_NOTE_LEAF, leaf, list | level << 16);
	pp_note_block(t, PP_NOTE_BLOCK, right_block, link);
	if (!pp_leaf_swap(t, p, left_block)) {
		rc = -EAGAIN;
		pp_alloc_cancel(t, left_block);
		goto cancel_leaf;
	}
	live(t, leaf);
	live(t, right_block);
	live(t, cell);
	if (with)
		live(t, with);
	PP_FAULT_POINT("index.split.linked");
	pp_notes_clear(t);
	pp_count(&t->slot->count.splits, 1);
	if (!level)
		pp_shard_leaf(t, list, sep.bytes, sep.size, 1);
	pp_index_enter(t, list, level + 1, link, sep);
	return 0;
cancel_leaf:
	pp_alloc_cancel(t, leaf);
cancel_right:
	pp_alloc_cancel(t, right_block);
	return rc;
}

/* A writer's search ends at a sealed leaf only when there was no memory to complete its merge: nobody may change it then. */
static bool sealed(const struct pp_place *p)
{
	return pp_head_state(p->head) != PP_LEAF_OPEN;
}

static int unchangeable(struct pp_thread *t)
{
	return pp_damage(t) ? pp_damage_report(t) : pp_region_full(t->region);
}

/* A cell that goes, and the version of its own block that goes with it if it was moved. */
static void note_replaced(struct pp_thread *t, pp_ref cell, uint64_t where)
{
	pp_ref version = pp_moved_version(t, cell);

	pp_note_unlink(t, PP_NOTE_CELL, cell, where);
	if (version)
		pp_note_unlink(t, PP_NOTE_VERSION, version, PP_LINK(cell, pp_gen_of(t->region, cell)));
}

int pp_index_link(struct pp_thread *t, unsigned list, unsigned level, struct pp_place *p, const struct pp_ikey *k, pp_ref ref,
		  pp_ref with)
{
	struct pp_entries e;
	pp_ref replaced = 0;
	uint64_t replaced_gen = 0, link = 0;
	int rc;

	if (sealed(p) || pp_damage(t))
		return unchangeable(t);
	pp_retire_near(t, pp_head_ref(p->head));
	pp_entries_load(&e, p->block);
	if (level)
		link = pp_load_rlx(&((struct pp_cell *)pp_at(t->region, ref))->head); /* own, and immutable */
	if (p->equal) {
		replaced = e.ref[p->at];
		pp_cell_at(t, replaced);
		if (pp_damage(t))
			return pp_damage_report(t);
		replaced_gen = pp_gen_of(t->region, replaced);
		e.ref[p->at] = ref;
		e.link[p->at] = link;
		note_replaced(t, replaced, list | level << 16);
	} else {
		pp_entries_put(&e, p->at, k, ref, link);
	}
	pp_note_block(t, PP_NOTE_CELL, ref, list | level << 16);
	if (e.count > PP_LEAF_MAX)
		rc = split(t, list, level, p, &e, ref, with);
	else
		rc = swap_entries(t, p, &e);
	if (rc == 0) {
		live(t, ref);
		if (with)
			live(t, with);
		if (replaced)
			pp_moved_retire(t, replaced, replaced_gen);
	}
	pp_notes_clear(t);
	return rc;
}

int pp_index_unlink(struct pp_thread *t, struct pp_place *p)
{
	struct pp_entries e;
	int rc;

	if (sealed(p) || pp_damage(t))
		return unchangeable(t);
	pp_entries_load(&e, p->block);
	pp_entries_drop(&e, p->at);
	rc = swap_entries(t, p, &e);
	if (rc)
		pp_notes_clear(t);
	return rc;
}

int pp_index_format(struct pp_thread *t)
{
	struct pp_engine *e = pp_engine(t);
	int rc = 0;

	pp_read_enter(t);
	for (unsigned i = 0; i < pp_list_count(e) && !rc; i++) {
		pp_store_rlx(&e->list[i].levels, 0); /* nobody else is here yet */
		rc = grow_tower(t, i, 0);
	}
	pp_read_leave(t);
	return rc;
}

/* ---- for the reaper --------------------------------------------------------------------------------------------- */

static bool cell_reachable(struct pp_thread *t, unsigned list, unsigned level, pp_ref ref)
{
	struct pp_cell *c = pp_cell_at(t, ref);
	struct pp_ikey k = {pp_cell_key(c), pp_cell_key_size(c)};
	struct pp_place p;

	if (pp_damage(t) || level >= pp_load_acq(&pp_engine(t)->list[list].levels))
		return false;
	pp_index_find(t, list, level, &k, false, &p);
	return p.equal && pp_block_ref(p.block, p.at) == ref;
}

static bool leaf_reachable(struct pp_thread *t, unsigned list, unsigned level, pp_ref ref)
{
	struct pp_leaf *l = pp_leaf_at(t, ref);
	pp_ref first = pp_load_acq(&pp_engine(t)->list[list].tower[level]);
	uint64_t head = pp_protect(t, &l->head);
	struct pp_leafblock *b;
	struct pp_ikey k;
	struct pp_place p;

	if (first == ref)
		return true;
	if (!first || pp_head_state(head) == PP_LEAF_GONE)
		return false;
	b = pp_leafblock_at(t, pp_head_ref(head));
	k = (struct pp_ikey){pp_block_low(b), b->low_size};
	pp_index_find(t, list, level, &k, false, &p);
	return p.leaf == ref;
}

static bool block_reachable(struct pp_thread *t, uint64_t where, pp_ref ref)
{
	pp_ref leaf = pp_link_ref(where);
	struct pp_leaf *l = pp_leaf_at(t, leaf);
	uint64_t word;

	if (pp_damage(t))
		return false;
	word = pp_load_acq(&pp_block_at(t->region, leaf)->word);
	if (pp_block_gen(word) != pp_link_gen(where) || pp_head_ref(pp_protect(t, &l->head)) != ref)
		return false;
	if (pp_block_state(word) == PP_BLOCK_PRIVATE) /* its maker died: was the leaf itself linked? */
		return l->shard < pp_list_count(pp_engine(t)) && l->level < PP_LEVELS && leaf_reachable(t, l->shard, l->level, leaf);
	return pp_block_state(word) == PP_BLOCK_LIVE;
}

bool pp_index_reachable(struct pp_thread *t, uint64_t what, pp_ref ref, uint64_t where)
{
	unsigned list = where & 0xffff, level = (unsigned)(where >> 16);

	if (pp_note_kind(what) != PP_NOTE_BLOCK && (list >= pp_list_count(pp_engine(t)) || level >= PP_LEVELS))
		return false;
	switch (pp_note_kind(what)) {
	case PP_NOTE_BLOCK:
		return block_reachable(t, where, ref);
	case PP_NOTE_LEAF:
	case PP_NOTE_TOWER:
		return leaf_reachable(t, list, level, ref);
	case PP_NOTE_CELL:
		return cell_reachable(t, list, level, ref);
	case PP_NOTE_HINTS:
		return pp_hint_reachable(t, ref);
	default:
		return false;
	}
}
