/*
 * merge.c - taking a thin leaf out of the list by merging it into its left neighbour.
 *
 * Protocol (tests/model/leaf.pml), L the left neighbour, R the leaf that goes; only the keeper starts one, so at most one leaf of
 * a neighbourhood is sealed at a time:
 *   1. R.head   OPEN(C)   -> SEALED(C)    from here on nobody changes R
 *   2. L.head   B         -> B + C        with R's high and right link; R is out of the list
 *   3. R.head   SEALED(C) -> GONE         the winner retires C and R and drops the hint above
 * A writer that meets SEALED completes 2 and 3. A reader may use C only while L still links to R (then step 2 has not happened when
 * it looked); else it goes on from L. GONE holds no reference, so nobody takes C after it was retired.
 *
 * Each level merges like this, from below: a leaf that goes takes its entry in the level above with it.
 *
 * Dies inside: after 1 the next writer or the keeper completes it; after 2 likewise, or the notes tell the
 * reaper to retire both, as they do after 3.
 */
#include "engine/index_internal.h"

#include "engine/shards.h"
#include "shm/fault.h"

#define MEETING_MAX 16                 /* sealed leaves that lead to one another: one, unless damage closes a circle */
#define MERGE_MAX (PP_LEAF_MAX * 5 / 8)

/* Thin: what both hold together leaves room to grow. An empty leaf goes whatever its neighbour holds: when keys are deleted in order the
 * neighbour is always full, and nobody comes back to the empty one. */
static bool thin(const struct pp_leafblock *left, const struct pp_leafblock *right)
{
	return !left->count || !right->count || left->count + right->count <= MERGE_MAX;
}

static void left_of(struct pp_thread *t, unsigned list, unsigned level, const struct pp_leafblock *b, struct pp_place *left)
{
	struct pp_ikey k = {pp_block_low(b), b->low_size};

	pp_index_find_before(t, list, level, &k, left);
}

void pp_index_drop(struct pp_thread *t, unsigned list, unsigned level, const struct pp_ikey *low, uint64_t link)
{
	struct pp_place p;
	struct pp_cell *c;
	pp_ref cell;
	uint64_t gen;
	int rc;

	if (level >= PP_LEVELS || pp_load_acq(&pp_engine(t)->list[list].levels) <= level)
		return;
	do {
		pp_index_find(t, list, level, low, true, &p);
		if (!p.equal)
			return;
		cell = pp_block_ref(p.block, p.at);
		c = pp_cell_at(t, cell);
		if (pp_damage(t))
			return;
		if (pp_load_rlx(&c->head) != link) /* immutable */
			return;
		gen = pp_gen_of(t->region, cell);
		pp_note_unlink(t, PP_NOTE_CELL, cell, list | level << 16);
		rc = pp_index_unlink(t, &p);
	} while (rc == -EAGAIN);
	if (rc == 0)
		pp_retire(t, cell, gen);
	pp_notes_clear(t);
}

/* The leaf first: the reaper retires in this order, so that who still reads the content was in its section before the leaf went. */
static void note_right(struct pp_thread *t, unsigned list, unsigned level, uint64_t right_link, pp_ref content)
{
	pp_note_unlink(t, PP_NOTE_LEAF, pp_link_ref(right_link), list | level << 16);
	pp_note_unlink(t, PP_NOTE_BLOCK, content, right_link);
}

/* Steps 2 and 3 for a sealed `right`. False: no memory for step 2, it stays sealed. */
static bool complete(struct pp_thread *t, unsigned list, unsigned level, pp_ref right, struct pp_leafblock *content)
{
	struct pp_leaf *r = pp_leaf_at(t, right);
	pp_ref content_ref = pp_ref_of(t->region, content);
	uint64_t right_link = pp_leaf_link(t, right), content_gen = pp_gen_of(t->region, content_ref);
	uint64_t expected = content_ref | PP_LEAF_SEALED;
	struct pp_ikey at = {pp_block_low(content), content->low_size};
	struct pp_keybuf low;
	struct pp_entries e;
	struct pp_place p;
	pp_ref block;
	uint64_t tries = 0;
	unsigned node;
	int rc;

	for (;;) {
		left_of(t, list, level, content, &p);
		if (pp_damage(t) || tries++ > PP_TRIES_MAX)
			return false;
		if (pp_link_ref(p.block->right) != right) {
			note_right(t, list, level, right_link, content_ref);
			break;
		}
		pp_entries_load(&e, p.block);
		if (e.count + content->count > PP_ENTRIES_MAX)
			return false;
		pp_entries_append(&e, content);
		node = pp_shard_prefer(t, list, &at);
		rc = pp_block_build(t, &e, 0, e.count, pp_block_low_span(p.block), pp_block_high_span(content), content->right, false,
				    &block);
		pp_thread_prefer(t, node);
		if (rc)
			return false;
		note_right(t, list, level, right_link, content_ref);
		if (pp_leaf_swap(t, &p, block))
			break;
		pp_alloc_cancel(t, block);
		pp_notes_clear(t);
	}
	PP_FAULT_POINT("merge.swapped");
	pp_keybuf_copy(&low, pp_block_low(content), content->low_size);
	if (pp_cas_seq(&r->head, &expected, (uint64_t)PP_LEAF_GONE)) {
		PP_FAULT_POINT("merge.gone");
		pp_retire(t, content_ref, content_gen);
		pp_retire(t, right, pp_link_gen(right_link));
		pp_notes_clear(t);
		pp_fence_seq(); /* [merge.complete:gone] pairs [index.enter:linked]: the entry is seen here, or GONE is seen there */
		pp_index_drop(t, list, level + 1, &low.key, right_link);
		pp_count(&t->slot->count.merges, 1);
		if (!level)
			pp_shard_leaf(t, list, low.key.bytes, low.key.size, -1);
	}
	pp_notes_clear(t);
	return true;
}

pp_ref pp_merge_meet(struct pp_thread *t, unsigned list, unsigned level, pp_ref right, struct pp_leafblock *b, bool write)
{
	struct pp_place left;

	if (t->meeting++ > MEETING_MAX) {
		pp_damaged(t, right);
		t->meeting--;
		return 0;
	}
	if (write)
		complete(t, list, level, right, b);
	left_of(t, list, level, b, &left);
	t->meeting--;
	return pp_link_ref(left.block->right) == right ? 0 : left.leaf; /* a writer: no memory, pp_index_link will say so */
}

/* One merge at one level; *low = where the leaf began that is gone. */
static bool merge_right(struct pp_thread *t, unsigned list, unsigned level, const struct pp_place *p, struct pp_keybuf *low)
{
	struct pp_leafblock *content;
	struct pp_leaf *r;
	uint64_t head;
	pp_ref right = pp_link_ref(p->block->right);

	if (!right || pp_head_state(p->head) != PP_LEAF_OPEN)
		return false;
	r = pp_leaf_at(t, right);
	head = pp_protect(t, &r->head);
	if (pp_head_state(head) == PP_LEAF_GONE)
		return false;
	content = pp_leafblock_at(t, pp_head_ref(head));
	if (pp_damage(t))
		return false;
	if (pp_head_state(head) == PP_LEAF_OPEN) {
		if (!thin(p->block, content))
			return false;
		if (content->right && pp_head_state(pp_load_acq(&pp_leaf_at(t, pp_link_ref(content->right))->head)) != PP_LEAF_OPEN)
			return false; /* one at a time: that one is completed first */
		if (!pp_cas_acqrel(&r->head, &head, head | PP_LEAF_SEALED))
			return false;
	}
	PP_FAULT_POINT("merge.sealed");
	pp_keybuf_copy(low, pp_block_low(content), content->low_size);
	return complete(t, list, level, right, content);
}

int pp_index_merge(struct pp_thread *t, unsigned list, unsigned level, struct pp_place *p)
{
	struct pp_keybuf low;
	int merged = 0;

	/* Its entry in the level above went too, so a leaf there may be thin now. */
	for (; merge_right(t, list, level, p, &low); merged = 1) {
		if (++level >= pp_load_acq(&pp_engine(t)->list[list].levels) || level >= PP_LEVELS)
			return 1;
		pp_index_find(t, list, level, &low.key, true, p);
	}
	return merged;
}
