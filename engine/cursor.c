/*
 * cursor.c - ordered iteration, forward and backward, over one list or merged over many.
 *
 * A stream walks one list. It keeps the block it stands in and, privately, the key that bounds what comes next (the block's high key
 * going forward, its low key going backward), so that a changed, split or merged leaf costs a new search and nothing else. Forward: the next
 * leaf is the one that holds the high key. Backward: the leaf with low < bound <= high; there is no left link. A block once
 * loaded is immutable, so a stream reads all of it without looking at the leaf again; versions are read as they are then (LATEST) or at S.
 *
 * With strategy hash there is one stream a list; they are merged by a loser tree (Knuth, TAOCP 3, 5.4.1), replayed for the stream
 * that moved. Changing direction positions all streams anew.
 *
 * A LATEST cursor works inside one read section, as long as its view is held. A snapshot cursor reads a batch of items in each section
 * and gives them one by one.
 *
 * Cells of a block are brought near some entries ahead: their cache misses are what a scan waits for.
 *
 * Dies inside: nothing shared was written.
 */
#include "engine/hint.h"
#include "engine/index.h"
#include "engine/read.h"
#include "engine/stat.h"
#include "shm/reclaim.h"

#include <stdlib.h>

#define AHEAD 12
#define BATCH 64                       /* items a snapshot reads in one call */

struct stream {
	unsigned list;
	bool loaded;                       /* block, next, at and inside are valid */
	bool inside;                       /* the whole block lies below the upper bound: its keys need not be compared */
	bool done;
	bool have;                         /* hit is the stream's current item */
	int at;
	struct pp_leafblock *block;
	struct pp_leafblock *next;         /* going forward: the right neighbour's block, once it was brought near */
	struct pp_hit *batch;              /* snapshot: what is visible in the leaf that was read last, in the cursor's direction */
	unsigned batch_at, batch_count;
	struct pp_hit hit;
	struct pp_keybuf bound;            /* where to go on when the block is used up */
};

struct pp_cursor {
	struct pp_thread *t;
	uint32_t table;
	uint64_t snapshot;
	bool forward, positioned;
	bool has_upper;
	struct pp_keybuf lower, upper;     /* in index form; lower always, upper when has_upper (exclusive) */
	unsigned streams;
	unsigned *tree;                    /* loser tree: tree[0] = winner */
	const void *current;               /* key of the item given last: where it stands in its cell */
	uint32_t current_size;
	struct pp_hit *batches;
	struct stream stream[];
};

/* ---- one stream ------------------------------------------------------------------------------------------------- */

static void fetch_entry(struct pp_thread *t, const struct pp_leafblock *b, int at)
{
	const char *cell;

	if (at < 0 || at >= b->count)
		return;
	cell = pp_at(t->region, pp_block_ref(b, at));
	pp_near(cell);
	pp_near(cell + 64);
}

static void fetch_cell(struct pp_thread *t, const struct stream *s, int at)
{
	fetch_entry(t, s->block, at);
}

/*
 * The right neighbour's block, without a descent: its low key is this block's high key for ever, so while it is OPEN it is the
 * leaf where that key belongs. NULL: sealed or gone, search for it.
 */
static struct pp_leafblock *right_block(struct pp_thread *t, const struct pp_leafblock *b)
{
	struct pp_leaf *leaf = pp_at(t->region, pp_link_ref(b->right));
	uint64_t head = pp_protect(t, &leaf->head);

	return pp_head_state(head) == PP_LEAF_OPEN ? pp_at(t->region, pp_head_ref(head)) : NULL;
}

/* Brings what comes AHEAD entries later near: the neighbour's leaf, its block, its entries, each when the one before it is there. */
static void fetch_ahead(struct pp_cursor *c, struct stream *s)
{
	struct pp_leafblock *b = s->block;
	int left = b->count - s->at;

	if (left > AHEAD) {
		fetch_cell(c->t, s, s->at + AHEAD);
		if (left == 3 * AHEAD && b->right)
			pp_near(pp_at(c->t->region, pp_link_ref(b->right)));
		if (left == 2 * AHEAD && b->right) {
			s->next = right_block(c->t, b);
			for (int i = 0; s->next && i < 18; i++)
				pp_near((const char *)s->next + 64 * i);
		}
	} else if (s->next) {
		fetch_entry(c->t, s->next, AHEAD - left);
	}
}

static bool block_inside(const struct pp_cursor *c, const struct pp_leafblock *b)
{
	if (!c->has_upper)
		return true;
	return b->high_size && pp_bytes_compare(pp_block_high(b), b->high_size, c->upper.key.bytes, c->upper.key.size) <= 0;
}

static void load_forward(struct pp_cursor *c, struct stream *s)
{
	struct pp_place p;

	pp_index_find(c->t, s->list, 0, &s->bound.key, false, &p);
	s->block = p.block;
	s->next = NULL;
	s->at = (int)p.at;
	s->loaded = true;
	s->inside = block_inside(c, p.block);
	for (int i = 0; i < AHEAD; i++)
		fetch_cell(c->t, s, s->at + i);
}

static void load_backward(struct pp_cursor *c, struct stream *s)
{
	struct pp_place p;

	pp_index_find_before(c->t, s->list, 0, &s->bound.key, &p);
	s->block = p.block;
	s->next = NULL;
	s->at = (int)p.at - 1;
	s->loaded = true;
	for (int i = 0; i < AHEAD; i++)
		fetch_cell(c->t, s, s->at - i);
}

static bool take(struct pp_cursor *c, struct stream *s)
{
	pp_ref cell = pp_block_ref(s->block, s->at);

	if (c->forward)
		fetch_ahead(c, s);
	else
		fetch_cell(c->t, s, s->at - AHEAD);
	return pp_hit_fill(c->t, cell, c->snapshot, &s->hit) == 0;
}

static bool key_at_least(const struct pp_thread *t, const struct stream *s, int at, const struct pp_keybuf *limit)
{
	return pp_cell_compare(pp_at(t->region, pp_block_ref(s->block, at)), &limit->key) >= 0;
}

/* Goes on to the block where this one's high key is. */
static void next_block(struct pp_cursor *c, struct stream *s)
{
	struct pp_leafblock *next = s->next ? s->next : right_block(c->t, s->block);

	pp_keybuf_copy(&s->bound, pp_block_high(s->block), s->block->high_size);
	s->loaded = next != NULL;
	if (!next)
		return;
	if (!s->next)
		for (int i = 0; i < AHEAD; i++)
			fetch_entry(c->t, next, i);
	s->block = next;
	s->next = NULL;
	s->at = 0;
	s->inside = block_inside(c, next);
}

static void forward_step(struct pp_cursor *c, struct stream *s)
{
	s->have = false;
	while (!s->done) {
		if (!s->loaded)
			load_forward(c, s);
		for (; s->at < s->block->count; s->at++) {
			if (!s->inside && key_at_least(c->t, s, s->at, &c->upper)) {
				s->done = true;
				return;
			}
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

static void backward_step(struct pp_cursor *c, struct stream *s)
{
	s->have = false;
	while (!s->done) {
		if (!s->loaded)
			load_backward(c, s);
		for (; s->at >= 0; s->at--) {
			if (!key_at_least(c->t, s, s->at, &c->lower)) {
				s->done = true;
				return;
			}
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
 * Snapshot: reads BATCH items at once, because the read section, and with it the block, ends with the call; what is visible at S,
 * key bytes included, stays where it is while S is held.
 */
static void read_batch(struct pp_cursor *c, struct stream *s)
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
	} while (s->have && s->batch_count < BATCH);
	if (!s->batch_count)
		return;
	last = &s->batch[s->batch_count - 1];
	pp_keybuf_set(&s->bound, last->table, last->key, last->key_size);
	if (c->forward) /* the smallest key above it */
		s->bound.buffer[s->bound.key.size++] = 0;
}

static void snapshot_step(struct pp_cursor *c, struct stream *s)
{
	if (s->batch_at == s->batch_count)
		read_batch(c, s);
	s->have = s->batch_at < s->batch_count;
	if (s->have)
		s->hit = s->batch[s->batch_at++];
}

static void step(struct pp_cursor *c, struct stream *s)
{
	if (c->snapshot != PP_LATEST)
		snapshot_step(c, s);
	else if (c->forward)
		forward_step(c, s);
	else
		backward_step(c, s);
}

/* ---- the merge -------------------------------------------------------------------------------------------------- */

static const uint8_t *hit_key(const struct pp_hit *h, uint32_t *size)
{
	*size = h->key_size;
	return h->key;
}

/* True if stream a comes before stream b in the direction of the cursor. Streams that ended come last. */
static bool precedes(const struct pp_cursor *c, unsigned a, unsigned b)
{
	const struct stream *x = &c->stream[a], *y = &c->stream[b];
	const uint8_t *xk, *yk;
	uint32_t xs, ys;
	int order;

	if (!x->have || !y->have)
		return x->have;
	xk = hit_key(&x->hit, &xs);
	yk = hit_key(&y->hit, &ys);
	order = pp_bytes_compare(xk, xs, yk, ys);
	return c->forward ? order < 0 : order > 0;
}

/* Plays stream `s` up from its leaf; losers stay in the nodes, the winner ends in tree[0]. */
static void replay(struct pp_cursor *c, unsigned s)
{
	unsigned winner = s;

	for (unsigned node = (s + c->streams) / 2; node >= 1; node /= 2) {
		if (precedes(c, c->tree[node], winner)) {
			unsigned loser = winner;

			winner = c->tree[node];
			c->tree[node] = loser;
		}
	}
	c->tree[0] = winner;
}

/* Winner of the subtree at `node`; stores the losers on the way. */
static unsigned build(struct pp_cursor *c, unsigned node)
{
	unsigned left, right;

	if (node >= c->streams)
		return node - c->streams;
	left = build(c, 2 * node);
	right = build(c, 2 * node + 1);
	if (precedes(c, left, right)) {
		c->tree[node] = right;
		return left;
	}
	c->tree[node] = left;
	return right;
}

/* A stream's item was read when it was met, which may be long ago: true if its key is still there, with what it says now. */
static bool renew_hit(struct pp_cursor *c, struct stream *s)
{
	return pp_hit_fill(c->t, pp_block_ref(s->block, c->forward ? s->at - 1 : s->at + 1), PP_LATEST, &s->hit) == 0;
}

static int give(struct pp_cursor *c, struct pp_hit *out)
{
	bool merged = c->streams > 1;

	for (;;) {
		unsigned i = merged ? c->tree[0] : 0;
		struct stream *s = &c->stream[i];

		if (!s->have)
			return PPDB_NOTFOUND;
		if (!merged || c->snapshot != PP_LATEST || renew_hit(c, s)) {
			*out = s->hit;
			return 0;
		}
		step(c, s);
		replay(c, i);
	}
}

static int position(struct pp_cursor *c, const struct pp_ikey *at, bool forward, struct pp_hit *out)
{
	c->forward = forward;
	for (unsigned i = 0; i < c->streams; i++) {
		struct stream *s = &c->stream[i];

		pp_keybuf_copy(&s->bound, at->bytes, at->size);
		s->loaded = s->done = false;
		s->batch_at = s->batch_count = 0;
		step(c, s);
	}
	if (c->streams > 1)
		c->tree[0] = build(c, 1);
	c->positioned = true;
	return give(c, out);
}

static int given(struct pp_cursor *c, int rc, const struct pp_hit *out)
{
	c->positioned = rc == 0;
	c->current = out->key;
	c->current_size = out->key_size;
	return rc;
}

/* ---- open, close, move -------------------------------------------------------------------------------------------------- */

int pp_cursor_open(struct pp_thread *t, const struct pp_cursor_opts *o, struct pp_cursor **out)
{
	unsigned streams = ((struct pp_engine *)t->region->engine)->lists;
	struct pp_cursor *c;

	if (o->lower_size > PP_KEY_MAX || o->upper_size > PP_KEY_MAX)
		return pp_detail(PPDB_KEYSIZE, "a bound of the iterator is longer than %d bytes", PP_KEY_MAX);
	c = malloc(sizeof(*c) + streams * sizeof(struct stream));
	if (!c)
		return -ENOMEM;
	c->tree = calloc(streams, sizeof(unsigned));
	c->batches = o->snapshot == PP_LATEST ? NULL : malloc(sizeof(struct pp_hit) * BATCH * streams);
	if (!c->tree || (o->snapshot != PP_LATEST && !c->batches)) {
		free(c->tree);
		free(c->batches);
		free(c);
		return -ENOMEM;
	}
	c->t = t;
	c->current = NULL;
	c->current_size = 0;
	c->table = o->table;
	c->snapshot = o->snapshot;
	c->positioned = false;
	c->streams = streams;
	pp_keybuf_set(&c->lower, o->table, o->lower ? o->lower : "", o->lower ? o->lower_size : 0);
	c->has_upper = o->upper || o->table != UINT32_MAX;
	if (o->upper)
		pp_keybuf_set(&c->upper, o->table, o->upper, o->upper_size);
	else if (c->has_upper)
		pp_keybuf_set(&c->upper, o->table + 1, "", 0);
	for (unsigned i = 0; i < streams; i++) {
		c->stream[i].list = i;
		c->stream[i].batch = c->batches ? c->batches + (size_t)i * BATCH : NULL;
	}
	*out = c;
	return 0;
}

void pp_cursor_close(struct pp_cursor *c)
{
	if (!c)
		return;
	free(c->tree);
	free(c->batches);
	free(c);
}

static int first(struct pp_cursor *c, struct pp_hit *out)
{
	return given(c, position(c, &c->lower.key, true, out), out);
}

static int last(struct pp_cursor *c, struct pp_hit *out)
{
	static const struct pp_ikey highest = {(const uint8_t *)"\xff\xff\xff\xff\xff", 5};

	return given(c, position(c, c->has_upper ? &c->upper.key : &highest, false, out), out);
}

static int seek(struct pp_cursor *c, const void *key, uint32_t size, struct pp_hit *out)
{
	struct pp_keybuf k;

	if (size > PP_KEY_MAX)
		return pp_detail(PPDB_KEYSIZE, "a key of %u bytes: keys have 1 to %d bytes", size, PP_KEY_MAX);
	pp_keybuf_set(&k, c->table, key, size);
	if (pp_bytes_compare(k.key.bytes, k.key.size, c->lower.key.bytes, c->lower.key.size) < 0)
		return first(c, out);
	return given(c, position(c, &k.key, true, out), out);
}

/* Moves off the key given last: `at` is that key, which is not to be given again. */
static int leave_key(struct pp_cursor *c, bool forward, struct pp_hit *out)
{
	struct pp_keybuf at;

	pp_keybuf_set(&at, c->table, c->current, c->current_size);
	if (forward) /* the smallest key above it: itself and a zero byte */
		at.buffer[at.key.size++] = 0;
	return given(c, position(c, &at.key, forward, out), out);
}

static int seek_le(struct pp_cursor *c, const void *key, uint32_t size, struct pp_hit *out)
{
	struct pp_keybuf k;

	if (size > PP_KEY_MAX)
		return pp_detail(PPDB_KEYSIZE, "a key of %u bytes: keys have 1 to %d bytes", size, PP_KEY_MAX);
	pp_keybuf_set(&k, c->table, key, size);
	if (c->has_upper && pp_bytes_compare(k.key.bytes, k.key.size, c->upper.key.bytes, c->upper.key.size) >= 0)
		return last(c, out);
	k.buffer[k.key.size++] = 0; /* keys below this one are <= key */
	return given(c, position(c, &k.key, false, out), out);
}

static int advance(struct pp_cursor *c, bool forward, struct pp_hit *out)
{
	unsigned s = c->streams > 1 ? c->tree[0] : 0;

	if (!c->positioned)
		return forward ? first(c, out) : last(c, out);
	if (c->forward != forward)
		return leave_key(c, forward, out);
	step(c, &c->stream[s]);
	if (c->streams > 1)
		replay(c, s);
	return given(c, give(c, out), out);
}

/* ---- interface: counted moves ----------------------------------------------------------------------------------- */

int pp_cursor_first(struct pp_cursor *c, struct pp_hit *out)
{
	uint64_t start = pp_op_begin(c->t, PP_OP_SCAN);
	int rc = first(c, out);

	pp_op_end(c->t, PP_OP_SCAN, start);
	return rc;
}

int pp_cursor_last(struct pp_cursor *c, struct pp_hit *out)
{
	uint64_t start = pp_op_begin(c->t, PP_OP_SCAN);
	int rc = last(c, out);

	pp_op_end(c->t, PP_OP_SCAN, start);
	return rc;
}

int pp_cursor_seek(struct pp_cursor *c, const void *key, uint32_t size, struct pp_hit *out)
{
	uint64_t start = pp_op_begin(c->t, PP_OP_SCAN);
	int rc = seek(c, key, size, out);

	pp_op_end(c->t, PP_OP_SCAN, start);
	return rc;
}

int pp_cursor_seek_le(struct pp_cursor *c, const void *key, uint32_t size, struct pp_hit *out)
{
	uint64_t start = pp_op_begin(c->t, PP_OP_SCAN);
	int rc = seek_le(c, key, size, out);

	pp_op_end(c->t, PP_OP_SCAN, start);
	return rc;
}

/* Every 256th step is timed: they are short. */
static inline bool count_step(struct pp_cursor *c)
{
	pp_a64 *count = &c->t->slot->count.ops[PP_OP_SCAN];
	uint64_t n = pp_load_rlx(count) + 1; /* owner */

	pp_store_rlx(count, n);
	return __builtin_expect(n % 256 == 0, 0);
}

static __attribute__((noinline)) int timed_step(struct pp_cursor *c, bool forward, struct pp_hit *out)
{
	uint64_t start = pp_now_ns();
	int rc = advance(c, forward, out);

	pp_op_record(c->t, PP_OP_SCAN, pp_now_ns() - start);
	return rc;
}

int pp_cursor_next(struct pp_cursor *c, struct pp_hit *out)
{
	return count_step(c) ? timed_step(c, true, out) : advance(c, true, out);
}

int pp_cursor_prev(struct pp_cursor *c, struct pp_hit *out)
{
	return count_step(c) ? timed_step(c, false, out) : advance(c, false, out);
}
