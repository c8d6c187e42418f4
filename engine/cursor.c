/*
 * cursor.c - ordered iteration, forward and backward, over one list or merged over many.
 *
 * Each list is walked by a stream (engine/stream.c). With strategy hash there are many; they are merged by a loser tree (Knuth, TAOCP 3,
 * 5.4.1), replayed for the stream that moved. Changing direction positions all streams anew.
 *
 * Dies inside: nothing shared was written.
 */
#include "engine/cursor.h"

#include <stdlib.h>

/* ---- the merge -------------------------------------------------------------------------------------------------- */

static const uint8_t *hit_key(const struct pp_hit *h, uint32_t *size)
{
	*size = h->key_size;
	return h->key;
}

/* True if stream a comes before stream b in the direction of the cursor. Streams that ended come last. */
static bool precedes(const struct pp_cursor *c, unsigned a, unsigned b)
{
	const struct pp_stream *x = &c->stream[a], *y = &c->stream[b];
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

static int give(struct pp_cursor *c, struct pp_hit *out)
{
	bool merged = c->streams > 1;

	for (;;) {
		unsigned i = merged ? c->tree[0] : 0;
		struct pp_stream *s = &c->stream[i];

		if (!s->have)
			return PPDB_NOTFOUND;
		if (!merged || c->snapshot != PP_LATEST || pp_stream_renew(c, s)) {
			*out = s->hit;
			return 0;
		}
		pp_stream_step(c, s);
		replay(c, i);
	}
}

static int position(struct pp_cursor *c, const struct pp_ikey *at, bool forward, struct pp_hit *out)
{
	c->forward = forward;
	for (unsigned i = 0; i < c->streams; i++) {
		struct pp_stream *s = &c->stream[i];

		pp_stream_position(s, at);
		pp_stream_step(c, s);
	}
	if (c->streams > 1)
		c->tree[0] = build(c, 1);
	c->positioned = true;
	return give(c, out);
}

static int given(struct pp_cursor *c, int rc, const struct pp_hit *out)
{
	rc = pp_damage_result(c->t, rc);
	c->positioned = rc == 0;
	c->current = out->key;
	c->current_size = out->key_size;
	return rc;
}

/* ---- open, close, move -------------------------------------------------------------------------------------------------- */

int pp_cursor_open(struct pp_thread *t, const struct pp_cursor_opts *o, struct pp_cursor **out)
{
	unsigned streams = pp_list_count(t->region->engine);
	struct pp_cursor *c;

	if (o->lower_size > PP_KEY_MAX || o->upper_size > PP_KEY_MAX)
		return pp_detail(PPDB_KEYSIZE, "a bound of the iterator is longer than %d bytes", PP_KEY_MAX);
	c = malloc(sizeof(*c) + streams * sizeof(struct pp_stream));
	if (!c)
		return -ENOMEM;
	c->tree = calloc(streams, sizeof(unsigned));
	c->batches = o->snapshot == PP_LATEST ? NULL : malloc(sizeof(struct pp_hit) * PP_CURSOR_BATCH * streams);
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
		c->stream[i].batch = c->batches ? c->batches + (size_t)i * PP_CURSOR_BATCH : NULL;
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
	pp_stream_step(c, &c->stream[s]);
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

static inline bool count_step(struct pp_cursor *c)
{
	pp_a64 *count = &c->t->slot->count.ops[PP_OP_SCAN];
	uint64_t n = pp_load_rlx(count) + 1; /* owner */

	if (!PP_COUNTING)
		return false;
	pp_store_rlx(count, n); /* owner */
	return __builtin_expect(n % PP_CURSOR_TIMED == 0, 0);
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
