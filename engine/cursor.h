/*
 * cursor.h - the inside of a cursor, for its own files (cursor.c, stream.c), and the step that most iterations are made of.
 *
 * A cursor merges streams, one a list; with one list there is nothing to merge, and the next entry of the block at hand is the next item.
 * pp_cursor_quick gives it where nothing else is to be looked at: forward, LATEST, the block wholly inside the bounds, the newest version
 * committed and plain. Whatever it does not decide it leaves as it was, for pp_cursor_next.
 */
#ifndef PP_ENGINE_CURSOR_H
#define PP_ENGINE_CURSOR_H

#include "engine/read.h"
#include "engine/stat.h"

#define PP_CURSOR_BATCH 64             /* items a snapshot reads in one call */
#define PP_CURSOR_TIMED 256            /* one step of so many is timed: they are short */

struct pp_stream {
	struct pp_leafblock *block;
	int at;                            /* entry to look at next */
	int quick_end;                     /* pp_cursor_quick may give entries below it; -1: none (going backward, at ends at -1) */
	struct pp_leafblock *scout;        /* what is brought near runs ahead: entry scout_at of `block`, then of `next` */
	int scout_at, scout_mark;          /* at the mark: pp_stream_scout */
	struct pp_leafblock *next;         /* going forward: the right neighbour's block, once it was brought near */
	unsigned list;
	bool loaded;                       /* block, next, at and inside are valid */
	bool inside;                       /* the whole block lies below the upper bound: its keys need not be compared */
	bool done;
	bool have;                         /* hit is the stream's current item */
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
	struct pp_stream stream[];
};

/* ---- stream.c ---------------------------------------------------------------------------------------------------- */

/* From `bound` on, in the cursor's direction. */
void pp_stream_position(struct pp_stream *, const struct pp_ikey *bound);
/* The next item into hit; have = there is one. */
void pp_stream_step(struct pp_cursor *, struct pp_stream *);
/* LATEST: an item was read when it was met, which may be long ago. True if its key is still there, with what it says now. */
bool pp_stream_renew(struct pp_cursor *, struct pp_stream *);
/* The scout is at its mark: on to the next block, or it waits. */
void pp_stream_scout(struct pp_cursor *, struct pp_stream *);

/* ---- the common step --------------------------------------------------------------------------------------------- */

/* Lines that a reader of the cell waits for: head, key, state of the first version; the rest of it and the value. */
static inline void pp_near_entry(struct pp_thread *t, const struct pp_leafblock *b, int at)
{
	const char *cell = pp_at(t->region, pp_block_ref(b, (unsigned)at));

	pp_near(cell);
	pp_near(cell + 64);
}

static inline void pp_stream_ahead(struct pp_cursor *c, struct pp_stream *s)
{
	if (__builtin_expect(s->scout_at != s->scout_mark, 1))
		pp_near_entry(c->t, s->scout, s->scout_at++);
	else
		pp_stream_scout(c, s);
}

static inline bool pp_cursor_quick(struct pp_cursor *c, struct pp_hit *out)
{
	struct pp_thread *t = c->t;
	struct pp_stream *s = c->stream;
	pp_a64 *count = &t->slot->count.ops[PP_OP_SCAN];
	uint64_t n = pp_load_rlx(count) + 1, state; /* owner */
	struct pp_cell *cell;
	struct pp_version *v;
	pp_ref ref;

	if (__builtin_expect(s->at >= s->quick_end || (PP_COUNTING && n % PP_CURSOR_TIMED == 0), 0))
		return false;
	ref = pp_block_ref(s->block, (unsigned)s->at);
	cell = pp_at(t->region, ref);
	if (__builtin_expect(!pp_ref_near(t->region, ref) || cell->key_size > PP_KEY_MAX, 0))
		return false; /* near the end of the arena, or damage: the other way tells */
	ref = pp_version_newest(t, cell, &state);
	if (__builtin_expect(!ref, 0))
		return false;
	v = pp_version_at(t, ref);
	if (__builtin_expect(pp_version_flags(v) != 0 || v->size > PP_SMALL_VALUE || !pp_ref_near(t->region, ref), 0))
		return false;
	s->at++;
	pp_stream_ahead(c, s);
	if (PP_COUNTING)
		pp_store_rlx(count, n); /* owner */
	pp_hit_set(out, cell, v, state);
	c->current = out->key;
	c->current_size = out->key_size;
	return true;
}

#endif
