/*
 * stream.c - one list, walked in key order in either direction.
 *
 * A stream keeps the block it stands in and, privately, the key that bounds what comes next (the block's high key going forward, its low key
 * going backward), so that a changed, split or merged leaf costs a new search and nothing else. Forward: the next leaf is the one that holds
 * the high key. Backward: the leaf with low < bound <= high; there is no left link. A block once loaded is immutable, so a stream reads
 * all of it without looking at the leaf again; versions are read as they are then (LATEST) or at S.
 *
 * What a scan waits for are cache misses, so a scout runs AHEAD entries before the stream and brings their cells near: through the block at
 * hand, whose right neighbour it fetches GAP entries before its end (leaf, then block, each when the one before it is there), then
 * through that one.
 *
 * A LATEST cursor works inside one read section, as long as its view is held, so blocks and cells that were loaded stay. A snapshot cursor
 * reads a batch of items in each section and gives them one by one.
 *
 * Dies inside: nothing shared was written.
 */
#include "engine/cursor.h"

#include "shm/reclaim.h"

#define AHEAD 20
#define GAP 16
#define BLOCK_LINES 14                 /* a full block of 16-byte keys */

/*
 * The right neighbour's block, without a descent: its low key is this block's high key for ever, so while it is OPEN it is the
 * leaf where that key belongs. NULL: sealed or gone, search for it.
 */
static struct pp_leafblock *right_block(struct pp_thread *t, const struct pp_leafblock *b)
{
	struct pp_leaf *leaf = pp_leaf_at(t, pp_link_ref(b->right));
	uint64_t head = pp_protect(t, &leaf->head);

	return pp_head_state(head) == PP_LEAF_OPEN ? pp_leafblock_at(t, pp_head_ref(head)) : NULL;
}

/* ---- the scout --------------------------------------------------------------------------------------------------- */

/* Before its end the block's neighbour is fetched; at its end the scout goes on there. */
static void set_mark(struct pp_stream *s)
{
	int count = s->scout->count;

	s->scout_mark = s->scout == s->block && !s->next && s->scout_at < count - GAP ? count - GAP : count;
}

static void scout_from(struct pp_cursor *c, struct pp_stream *s, int at)
{
	s->scout = s->block;
	s->scout_at = at;
	s->next = NULL;
	while (s->scout_at < s->block->count && s->scout_at < at + AHEAD)
		pp_near_entry(c->t, s->block, s->scout_at++);
	set_mark(s);
	if (s->block->right)
		pp_near(pp_at(c->t->region, pp_link_ref(s->block->right)));
}

static void fetch_next(struct pp_cursor *c, struct pp_stream *s)
{
	s->next = right_block(c->t, s->block);
	for (int i = 0; s->next && i < BLOCK_LINES; i++)
		pp_near((const char *)s->next + 64 * i);
}

void pp_stream_scout(struct pp_cursor *c, struct pp_stream *s)
{
	if (s->scout != s->block)
		return; /* through with the next one too: it waits for the stream */
	if (!s->next && s->block->right)
		fetch_next(c, s);
	if (s->scout_at == s->block->count && s->next) {
		s->scout = s->next;
		s->scout_at = 0;
	}
	s->scout_mark = s->scout->count;
}

/* The stream went on to the block that the scout has brought near. */
static void scout_follows(struct pp_cursor *c, struct pp_stream *s)
{
	if (s->scout != s->block) {
		scout_from(c, s, 0);
		return;
	}
	s->next = NULL;
	set_mark(s);
	if (s->block->right)
		pp_near(pp_at(c->t->region, pp_link_ref(s->block->right)));
}

/* ---- blocks ------------------------------------------------------------------------------------------------------ */

static bool block_inside(const struct pp_cursor *c, const struct pp_leafblock *b)
{
	if (!c->has_upper)
		return true;
	return b->high_size && pp_bytes_compare(pp_block_high(b), b->high_size, c->upper.key.bytes, c->upper.key.size) <= 0;
}

/* Where the stream goes on forward, in a block that covers its bound. */
static void enter_block(struct pp_cursor *c, struct pp_stream *s, struct pp_leafblock *b, int at)
{
	s->block = b;
	s->at = at;
	s->loaded = true;
	s->inside = block_inside(c, b);
	s->quick_end = s->inside && c->streams == 1 && c->snapshot == PP_LATEST ? b->count : -1;
}

static void load_forward(struct pp_cursor *c, struct pp_stream *s)
{
	struct pp_place p;

	pp_index_find(c->t, s->list, 0, &s->bound.key, false, &p);
	enter_block(c, s, p.block, (int)p.at);
	scout_from(c, s, s->at);
}

static void near_backward(struct pp_cursor *c, const struct pp_stream *s, int at)
{
	if (at >= 0)
		pp_near_entry(c->t, s->block, at);
}

static void load_backward(struct pp_cursor *c, struct pp_stream *s)
{
	struct pp_place p;

	pp_index_find_before(c->t, s->list, 0, &s->bound.key, &p);
	s->block = p.block;
	s->at = (int)p.at - 1;
	s->loaded = true;
	for (int i = 0; i < AHEAD; i++)
		near_backward(c, s, s->at - i);
}

static bool take(struct pp_cursor *c, struct pp_stream *s)
{
	return pp_hit_fill(c->t, pp_block_ref(s->block, (unsigned)s->at), c->snapshot, &s->hit) == 0;
}

static bool key_at_least(struct pp_thread *t, const struct pp_stream *s, const struct pp_keybuf *limit)
{
	return pp_cell_compare(pp_cell_at(t, pp_block_ref(s->block, (unsigned)s->at)), &limit->key) >= 0;
}

/* Goes on to the block where this one's high key is. */
static void next_block(struct pp_cursor *c, struct pp_stream *s)
{
	struct pp_leafblock *next = s->next ? s->next : right_block(c->t, s->block);

	pp_keybuf_copy(&s->bound, pp_block_high(s->block), s->block->high_size);
	if (next && !pp_block_rises(s->block, next))
		next = pp_damaged(c->t, pp_link_ref(s->block->right));
	s->loaded = next != NULL;
	if (!next)
		return;
	enter_block(c, s, next, 0);
	scout_follows(c, s);
}

/* ---- steps ------------------------------------------------------------------------------------------------------- */

static void forward_step(struct pp_cursor *c, struct pp_stream *s)
{
	s->have = false;
	while (!s->done && !pp_damage(c->t)) {
		if (!s->loaded)
			load_forward(c, s);
		for (; s->at < s->block->count; s->at++) {
			if (!s->inside && key_at_least(c->t, s, &c->upper)) {
				s->done = true;
				return;
			}
			pp_stream_ahead(c, s);
			if (take(c, s)) {
				s->at++;
				s->have = true;
				return;
			}
		}
		if (!s->block->high_size) {
			s->done = true;
			return;
		}
		next_block(c, s);
	}
}

static void backward_step(struct pp_cursor *c, struct pp_stream *s)
{
	s->have = false;
	while (!s->done && !pp_damage(c->t)) {
		if (!s->loaded)
			load_backward(c, s);
		for (; s->at >= 0; s->at--) {
			if (!key_at_least(c->t, s, &c->lower)) {
				s->done = true;
				return;
			}
			near_backward(c, s, s->at - AHEAD);
			if (take(c, s)) {
				s->at--;
				s->have = true;
				return;
			}
		}
		if (!s->block->low_size ||
		    pp_bytes_compare(pp_block_low(s->block), s->block->low_size, c->lower.key.bytes, c->lower.key.size) <= 0) {
			s->done = true;
			return;
		}
		pp_keybuf_copy(&s->bound, pp_block_low(s->block), s->block->low_size);
		s->loaded = false;
	}
}

/*
 * Snapshot: reads a batch of items at once, because the read section, and with it the block, ends with the call; what is visible at S,
 * key bytes included, stays where it is while S is held.
 */
static void read_batch(struct pp_cursor *c, struct pp_stream *s)
{
	const struct pp_hit *last;

	s->loaded = false;
	s->batch_at = s->batch_count = 0;
	do {
		if (c->forward)
			forward_step(c, s);
		else
			backward_step(c, s);
		if (s->have)
			s->batch[s->batch_count++] = s->hit;
	} while (s->have && s->batch_count < PP_CURSOR_BATCH);
	if (!s->batch_count)
		return;
	last = &s->batch[s->batch_count - 1];
	pp_keybuf_set(&s->bound, last->table, last->key, last->key_size);
	if (c->forward) /* the smallest key above it */
		s->bound.buffer[s->bound.key.size++] = 0;
}

static void snapshot_step(struct pp_cursor *c, struct pp_stream *s)
{
	if (s->batch_at == s->batch_count)
		read_batch(c, s);
	s->have = s->batch_at < s->batch_count;
	if (s->have)
		s->hit = s->batch[s->batch_at++];
}

void pp_stream_step(struct pp_cursor *c, struct pp_stream *s)
{
	if (c->snapshot != PP_LATEST)
		snapshot_step(c, s);
	else if (c->forward)
		forward_step(c, s);
	else
		backward_step(c, s);
}

void pp_stream_position(struct pp_stream *s, const struct pp_ikey *bound)
{
	pp_keybuf_copy(&s->bound, bound->bytes, bound->size);
	s->loaded = s->done = false;
	s->quick_end = -1;
	s->batch_at = s->batch_count = 0;
}

bool pp_stream_renew(struct pp_cursor *c, struct pp_stream *s)
{
	unsigned at = (unsigned)(c->forward ? s->at - 1 : s->at + 1);

	return pp_hit_fill(c->t, pp_block_ref(s->block, at), PP_LATEST, &s->hit) == 0;
}
