/*
 * bulk.c - the bulk builder: all records of a leaf's range go into it by one build, which may make several leaves of it.
 *
 * A step. Find the leaf of the next record; take the records below its high key (at most RECORDS_MAX, some bytes); merge them with the
 * leaf's entries: a newer record gets a fresh cell, in its place in the order, and the cell it replaces is taken out; a
 * tombstone leaves nothing but its floor. If the entries are too many for a leaf they are spread over several, FILL in each, so that later
 * writers do not split at once; right blocks first, so that all hangs on the one CAS of the leaf's head, as in a split by a writer
 * (engine/index.c). An empty store fills the same way: each step ends in a leaf that is open to the right, where the next goes on.
 *
 * Parallel builders have disjoint ranges of keys that begin at leaves (pp_bulk_part), so nobody else touches a builder's leaves; upper
 * levels are shared, by the writers' protocol. Thin leaves are merged into their left neighbour only within the range, for the same reason, and
 * one at a time, since a merge may go on above.
 *
 * A tombstone raises its key's floor and is dropped: whoever builds sees to it that no older record of the key can follow.
 *
 * Nobody reads meanwhile, so notes are left out where they would only tell a reaper: a process that dies here leaves a region that was
 * never published. Memory still goes through limbo, and comes back with the rounds that recovery announces.
 */
#include "engine/bulk.h"

#include "engine/floor.h"
#include "engine/index_internal.h"
#include "engine/shards.h"
#include "shm/fault.h"

#include <errno.h>

#define FILL 48                            /* entries of a leaf that is one of several */
#define LEAVES_MAX (PP_ENTRIES_MAX / FILL + 1)
#define RECORDS_MAX (PP_ENTRIES_MAX - PP_LEAF_MAX)
#define STEP_BYTES (UINT64_C(1) << 20)     /* of values that are PRIVATE at once */
#define THIN (PP_LEAF_MAX / 4)

static void live(struct pp_thread *t, pp_ref ref)
{
	pp_alloc_live(t, ref, pp_gen_of(t->region, ref));
}

/* ---- ranges ----------------------------------------------------------------------------------------------------- */

void pp_bulk_begin(struct pp_bulk *b, const struct pp_run_record *first)
{
	struct pp_ikey none = {(const uint8_t *)"", 0}, key = first ? pp_run_key(first) : none;

	b->list = first ? pp_run_list(first) : 0;
	pp_keybuf_copy(&b->low, key.bytes, key.size);
	b->keys = 0;
}

void pp_bulk_count(struct pp_bulk *b)
{
	if (b->keys)
		pp_add_rlx(&pp_engine(b->t)->shard[b->shard].keys, b->keys); /* stat */
	b->keys = 0;
}

static void count_key(struct pp_bulk *b, unsigned list, const struct pp_ikey *k, uint64_t change)
{
	unsigned shard = pp_shard_at(pp_engine(b->t), list, k);

	if (shard != b->shard)
		pp_bulk_count(b);
	b->shard = shard;
	b->keys += change;
}

/* ---- what goes into a leaf -------------------------------------------------------------------------------------- */

static void gather(struct pp_bulk *b, struct pp_run_range *r, unsigned list, const struct pp_leafblock *block)
{
	const struct pp_run_record *next;
	unsigned room = PP_ENTRIES_MAX - block->count;
	uint64_t bytes = 0;

	b->records = 0;
	if (room > RECORDS_MAX)
		room = RECORDS_MAX;
	while (b->records < room && bytes < STEP_BYTES && (next = pp_run_peek(r)) && pp_run_list(next) == list) {
		struct pp_ikey k = pp_run_key(next);

		if (pp_block_beyond(block, &k))
			break;
		next = pp_run_take(r);
		bytes += next->size;
		b->record[b->records++] = next;
	}
}

/* The old entries and the new keys on one prefix. */
static void prepare(struct pp_bulk *b, const struct pp_leafblock *block)
{
	struct pp_ikey first = pp_run_key(b->record[0]), last = pp_run_key(b->record[b->records - 1]);
	uint32_t common;

	pp_entries_load(&b->old, block);
	if (!b->old.count) {
		b->old.prefix = first.bytes;
		b->old.prefix_size = pp_common(first.bytes, first.size, last.bytes, last.size);
	}
	common = pp_common(first.bytes, first.size, b->old.prefix, b->old.prefix_size);
	common = pp_common(last.bytes, last.size, b->old.prefix, common);
	pp_entries_shorten(&b->old, common);
	b->out.count = 0;
	b->out.upper = false;
	b->out.prefix = b->old.prefix;
	b->out.prefix_size = b->old.prefix_size;
	b->fresh_count = b->gone_count = 0;
}

static void append(struct pp_entries *e, uint64_t slice, uint64_t ref)
{
	e->slice[e->count] = slice;
	e->ref[e->count++] = ref;
}

/* The record is newer than what is there, if there was anything. */
static int put(struct pp_bulk *b, const struct pp_run_record *rec, const struct pp_ikey *k, uint64_t slice)
{
	pp_ref cell;
	int rc;

	if (rec->flags & PP_V_TOMBSTONE) {
		pp_floor_raise(b->t, pp_ikey_hash(k), rec->seq);
		return 0;
	}
	if (b->take_out)
		return 0;
	rc = pp_apply_cell(b->t, rec, &cell);
	if (rc)
		return rc;
	b->fresh[b->fresh_count++] = cell;
	append(&b->out, slice, cell);
	return 0;
}

/* Copies old entries up to `rec`; its own, if there is one, is the next. */
static bool copy_below(struct pp_bulk *b, unsigned *next, const struct pp_ikey *k, uint64_t slice)
{
	struct pp_entries *e = &b->old;

	for (; *next < e->count && e->slice[*next] <= slice; ++*next) {
		if (e->slice[*next] == slice) {
			int c = pp_cell_compare(pp_at(b->t->region, e->ref[*next]), k);

			if (c >= 0)
				return c == 0;
		}
		append(&b->out, e->slice[*next], e->ref[*next]);
	}
	return false;
}

static int merge_one(struct pp_bulk *b, const struct pp_run_record *rec, unsigned *next)
{
	struct pp_ikey k = pp_run_key(rec);
	uint64_t slice = pp_slice(k.bytes, k.size, b->old.prefix_size);

	if (copy_below(b, next, &k, slice)) {
		pp_ref cell = b->old.ref[*next];

		if (!pp_apply_newer(b->t, rec, cell))
			return 0; /* it stays and is copied by the next */
		b->gone[b->gone_count++] = cell;
		++*next;
	}
	return put(b, rec, &k, slice);
}

static int merge(struct pp_bulk *b, const struct pp_leafblock *block)
{
	unsigned next = 0;
	int rc = 0;

	prepare(b, block);
	for (unsigned i = 0; i < b->records && !rc; i++)
		rc = merge_one(b, b->record[i], &next);
	for (; next < b->old.count; next++)
		append(&b->out, b->old.slice[next], b->old.ref[next]);
	return rc;
}

/* ---- linking ---------------------------------------------------------------------------------------------------- */

struct leaves {
	unsigned count;
	unsigned first[LEAVES_MAX + 1];            /* entries of leaf i: first[i] up to first[i + 1] */
	struct pp_span low[LEAVES_MAX + 1];
	pp_ref leaf[LEAVES_MAX], block[LEAVES_MAX];
};

static void spread(struct pp_bulk *b, struct leaves *l, const struct pp_leafblock *block)
{
	const struct pp_entries *e = &b->out;

	l->count = e->count <= PP_LEAF_MAX ? 1 : (e->count + FILL - 1) / FILL;
	l->low[0] = pp_block_low_span(block);
	l->low[l->count] = pp_block_high_span(block);
	for (unsigned i = 0; i <= l->count; i++)
		l->first[i] = e->count * i / l->count;
	for (unsigned i = 1; i < l->count; i++)
		l->low[i] = pp_index_separator(pp_at(b->t->region, e->ref[l->first[i] - 1]), pp_at(b->t->region, e->ref[l->first[i]]), 0);
}

static int build_block(struct pp_bulk *b, struct leaves *l, unsigned i, uint64_t right)
{
	return pp_block_build(b->t, &b->out, l->first[i], l->first[i + 1] - l->first[i], l->low[i], l->low[i + 1], right, l->count > 1,
			      &l->block[i]);
}

static void cancel_leaves(struct pp_bulk *b, const struct leaves *l, unsigned from)
{
	for (unsigned i = from; i < l->count; i++) {
		pp_alloc_cancel(b->t, l->leaf[i]);
		pp_alloc_cancel(b->t, l->block[i]);
	}
}

/* From right to left; the first one's block is left to be swapped in. */
static int build_leaves(struct pp_bulk *b, struct leaves *l, unsigned list, uint64_t right)
{
	unsigned i = l->count;
	int rc = 0;

	while (!rc && i-- > 0) {
		rc = build_block(b, l, i, right);
		if (rc || !i)
			break;
		rc = pp_leaf_new(b->t, list, 0, l->block[i], &l->leaf[i]);
		if (rc)
			pp_alloc_cancel(b->t, l->block[i]);
		else
			right = pp_leaf_link(b->t, l->leaf[i]);
	}
	if (rc)
		cancel_leaves(b, l, i + 1);
	return rc;
}

/* Right neighbours that now hang on their left ones, and their hints above. */
static void enter_leaves(struct pp_thread *t, const struct leaves *l, unsigned list)
{
	for (unsigned i = 1; i < l->count; i++) {
		live(t, l->leaf[i]);
		live(t, l->block[i]);
		pp_count(&t->slot->count.splits, 1);
		pp_shard_leaf(t, list, l->low[i].bytes, l->low[i].size, 1);
		pp_index_enter(t, list, 1, pp_leaf_link(t, l->leaf[i]), l->low[i]);
	}
}

static void count_cell(struct pp_bulk *b, unsigned list, pp_ref cell, uint64_t change)
{
	struct pp_cell *c = pp_at(b->t->region, cell);
	struct pp_ikey k = {pp_cell_key(c), pp_cell_key_size(c)};

	count_key(b, list, &k, change);
}

static int link_leaves(struct pp_bulk *b, unsigned list, struct pp_place *p)
{
	struct leaves l;
	int rc;

	spread(b, &l, p->block);
	rc = build_leaves(b, &l, list, p->block->right);
	if (rc)
		return rc;
	if (!pp_leaf_swap(b->t, p, l.block[0])) {
		pp_alloc_cancel(b->t, l.block[0]);
		cancel_leaves(b, &l, 1);
		return -EAGAIN;
	}
	PP_FAULT_POINT("bulk.step.linked");
	pp_notes_clear(b->t);
	for (unsigned i = 0; i < b->fresh_count; i++) {
		live(b->t, b->fresh[i]);
		count_cell(b, list, b->fresh[i], 1);
	}
	for (unsigned i = 0; i < b->gone_count; i++) {
		count_cell(b, list, b->gone[i], UINT64_MAX);
		pp_apply_retire(b->t, b->gone[i]);
	}
	enter_leaves(b->t, &l, list);
	return 0;
}

/* ---- a step ----------------------------------------------------------------------------------------------------- */

static bool own(const struct pp_bulk *b, unsigned list, const struct pp_leafblock *block)
{
	return list != b->list ||
	       pp_bytes_compare(pp_block_low(block), block->low_size, b->low.key.bytes, b->low.key.size) >= 0;
}

/* What was just built holds little: its left neighbour takes it in, if that is our own. */
static void merge_thin(struct pp_bulk *b, unsigned list, const struct pp_leafblock *block)
{
	struct pp_ikey low = {pp_block_low(block), block->low_size};
	struct pp_place left;

	if (!b->gone_count || b->out.count > THIN || !low.size)
		return;
	pthread_mutex_lock(b->merging);
	pp_index_find_before(b->t, list, 0, &low, &left);
	if (own(b, list, left.block))
		pp_index_merge(b->t, list, 0, &left);
	pthread_mutex_unlock(b->merging);
}

static int build(struct pp_bulk *b, unsigned list, struct pp_place *p)
{
	int rc = merge(b, p->block);

	if (!rc && (b->fresh_count || b->gone_count))
		rc = link_leaves(b, list, p);
	if (!rc)
		return 0;
	for (unsigned i = 0; i < b->fresh_count; i++)
		pp_apply_cancel(b->t, b->fresh[i]);
	return rc;
}

int pp_bulk_step(struct pp_bulk *b, struct pp_run_range *r)
{
	const struct pp_run_record *first = pp_run_peek(r);
	struct pp_ikey k = pp_run_key(first);
	struct pp_run_range before = *r;
	unsigned list = pp_run_list(first), node = pp_shard_prefer(b->t, list, &k);
	struct pp_place p;
	int rc;

	pp_read_enter(b->t);
	pp_index_find(b->t, list, 0, &k, true, &p);
	if (pp_head_state(p.head) != PP_LEAF_OPEN) { /* a merge that found no memory */
		rc = pp_region_full(b->t->region);
	} else {
		gather(b, r, list, p.block);
		rc = build(b, list, &p);
	}
	if (rc)
		*r = before;
	else
		merge_thin(b, list, p.block);
	pp_read_leave(b->t);
	pp_thread_prefer(b->t, node);
	return rc == -EAGAIN ? 0 : rc;
}

/* ---- parting ---------------------------------------------------------------------------------------------------- */

static int part_leaf(struct pp_thread *t, unsigned list, struct pp_place *p, struct pp_span key)
{
	struct pp_leafblock *block = p->block;
	struct pp_entries e;
	pp_ref right, left, leaf;
	uint64_t link;
	int rc;

	pp_entries_load(&e, block);
	rc = pp_block_build(t, &e, p->at, e.count - p->at, key, pp_block_high_span(block), block->right, true, &right);
	if (rc)
		return rc;
	rc = pp_leaf_new(t, list, 0, right, &leaf);
	if (rc)
		goto cancel_right;
	link = pp_leaf_link(t, leaf);
	rc = pp_block_build(t, &e, 0, p->at, pp_block_low_span(block), key, link, true, &left);
	if (rc)
		goto cancel_leaf;
	if (!pp_leaf_swap(t, p, left)) {
		rc = -EAGAIN;
		pp_alloc_cancel(t, left);
		goto cancel_leaf;
	}
	pp_notes_clear(t);
	live(t, leaf);
	live(t, right);
	pp_shard_leaf(t, list, key.bytes, key.size, 1);
	pp_index_enter(t, list, 1, link, key);
	return 0;
cancel_leaf:
	pp_alloc_cancel(t, leaf);
cancel_right:
	pp_alloc_cancel(t, right);
	return rc;
}

int pp_bulk_part(struct pp_thread *t, unsigned list, const struct pp_ikey *key)
{
	unsigned node = pp_shard_prefer(t, list, key);
	struct pp_place p;
	int rc = 0;

	pp_read_enter(t);
	do {
		pp_index_find(t, list, 0, key, true, &p);
		if (pp_bytes_compare(pp_block_low(p.block), p.block->low_size, key->bytes, key->size))
			rc = pp_head_state(p.head) == PP_LEAF_OPEN ? part_leaf(t, list, &p, (struct pp_span){key->bytes, key->size}) :
								     pp_region_full(t->region);
	} while (rc == -EAGAIN);
	pp_read_leave(t);
	pp_thread_prefer(t, node);
	return rc;
}
