/*
 * check.c - the integrity check: every invariant of index and chains, and the account of every byte.
 *
 * Walks all levels of all lists and marks each block it reaches (one bit for 8 bytes of arena, in private memory), then walks the page
 * table: a LIVE block must have been reached, a reached block must be LIVE, and all bytes must add up. On a quiet store the
 * result is exact. While others write, a block can change between the two walks, so only order and bounds are judged then.
 *
 * Changes nothing; works on a read-only mapping.
 */
#include "engine/index.h"
#include "engine/keeper.h"
#include "engine/version.h"
#include "shm/reclaim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct check {
	struct pp_thread *t;
	bool quiet;
	struct pp_check_report *report;
	void (*problem)(void *ctx, const char *text);
	void *ctx;
	uint64_t *marks;
	uint64_t mark_bits;
};

static void complain(struct check *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void complain(struct check *c, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	c->report->problems++;
	if (!c->problem)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	c->problem(c->ctx, text);
}

#define HEX(x) ((unsigned long long)(x))

/* ---- marks ------------------------------------------------------------------------------------------------------ */

static uint64_t mark_index(const struct check *c, pp_ref ref)
{
	return (ref - c->t->region->segments_at) / 8;
}

static bool marked(const struct check *c, pp_ref ref)
{
	uint64_t i = mark_index(c, ref);

	return i < c->mark_bits && c->marks[i / 64] >> (i % 64) & 1;
}

/* Marks a block that is reachable. False: it lies outside, is not LIVE or was reached before. */
static bool reach(struct check *c, pp_ref ref, const char *what)
{
	uint64_t i = mark_index(c, ref), word;

	if (!pp_ref_inside(c->t->region, ref, 8) || i >= c->mark_bits) {
		complain(c, "%s at %#llx lies outside of the arena", what, HEX(ref));
		return false;
	}
	word = pp_load_acq(&pp_block_at(c->t->region, ref)->word);
	if (pp_block_state(word) != PP_BLOCK_LIVE && c->quiet)
		complain(c, "%s at %#llx is reachable but not live (state %d)", what, HEX(ref), pp_block_state(word));
	if (marked(c, ref)) {
		if (c->quiet)
			complain(c, "%s at %#llx is reachable twice", what, HEX(ref));
		return false;
	}
	c->marks[i / 64] |= UINT64_C(1) << (i % 64);
	return true;
}

/* An object that reaches further than it can: said once. */
static bool damaged(struct check *c, const char *what, pp_ref ref)
{
	if (!pp_damage(c->t))
		return false;
	pp_damage_report(c->t);
	complain(c, "the %s at %#llx reaches outside of the arena", what, HEX(ref));
	return true;
}

/* ---- chains ----------------------------------------------------------------------------------------------------- */

/* Some living writer is about to decide it. */
static bool has_writer(struct check *c, pp_ref version)
{
	struct pp_region *r = c->t->region;

	for (unsigned i = 0; i < r->header->slots; i++)
		if (pp_slot_state(pp_load_acq(&r->slots[i].owner)) == PP_SLOT_CLAIMED && pp_load_acq(&r->slots[i].op_version) == version)
			return true;
	return false;
}

/* A word that still refers to a batch: some living writer's, or about to be settled. */
static void check_batch(struct check *c, pp_ref version, pp_ref batch)
{
	const struct pp_batch *b = pp_batch_at(c->t, batch);

	if (damaged(c, "batch", batch))
		return;
	if (pp_block_state(pp_load_acq(&pp_block_at(c->t->region, batch)->word)) != PP_BLOCK_LIVE)
		complain(c, "version %#llx refers to batch %#llx, which is not live", HEX(version), HEX(batch));
	else if (!marked(c, batch))
		reach(c, batch, "batch");
	if (pp_state_status(pp_load_acq(&b->state)) != PP_COMMITTED && !has_writer(c, batch | PP_ENTRY_BATCH))
		complain(c, "version %#llx belongs to a batch that is undecided and nobody's", HEX(version));
}

static void check_decided(struct check *c, pp_ref version, struct pp_version *v, bool head, uint64_t *newer_tag)
{
	uint64_t s = pp_version_state(c->t, v), word = pp_load_acq(&v->state);

	if (pp_state_status(word) == PP_BATCH && c->quiet)
		check_batch(c, version, pp_state_batch(word));
	if (pp_state_status(s) == PP_PENDING && !head)
		complain(c, "version %#llx is undecided below the head of its chain", HEX(version));
	if (pp_state_status(s) == PP_PENDING && pp_state_status(word) != PP_BATCH && c->quiet && !has_writer(c, version))
		complain(c, "version %#llx is undecided and nobody's", HEX(version));
	if (pp_state_status(s) != PP_COMMITTED)
		return;
	if (*newer_tag && pp_state_epoch(s) > *newer_tag)
		complain(c, "version %#llx is older than its successor but has a newer tag", HEX(version));
	*newer_tag = pp_state_epoch(s);
}

/* The greatest number that the key can have had before this version. */
static uint64_t number_before(struct check *c, struct pp_version *v)
{
	bool counts = !(pp_version_flags(v) & PP_V_GUARD) && !pp_version_undone(c->t, v);

	return pp_version_number(c->t, v) - counts;
}

static void check_chain(struct check *c, pp_ref cell_ref, struct pp_cell *cell)
{
	uint64_t at = pp_protect(c->t, &cell->head) & ~PP_MOVING, newer_tag = 0, number = UINT64_MAX;
	struct pp_circle circle = {0, 0};
	bool head = true, decided = false;

	if (!at)
		complain(c, "key cell %#llx has no version", HEX(cell_ref));
	while (at && at != PP_DEAD) {
		struct pp_version *v = pp_version_at(c->t, at);
		uint64_t older = pp_load_acq(&v->older);

		if (pp_damage(c->t)) {
			pp_damage_report(c->t);
			complain(c, "the chain of key cell %#llx leads to %#llx, outside of the arena", HEX(cell_ref), HEX(at));
			return;
		}
		if (pp_circle_closes(&circle, at)) {
			complain(c, "the chain of key cell %#llx does not end", HEX(cell_ref));
			return;
		}
		c->report->versions++;
		if (!pp_version_inline(v) && !reach(c, pp_version_block(at), "version"))
			return;
		if (pp_version_cell(c->t, at) != cell_ref)
			complain(c, "version %#llx names another key cell than the one it hangs on", HEX(at));
		if (pp_version_number(c->t, v) > number)
			complain(c, "version %#llx has a seq that is not below its successor's", HEX(at));
		number = number_before(c, v);
		check_decided(c, at, v, head, &newer_tag);
		if (!decided && newer_tag && pp_version_flags(v) & PP_V_TOMBSTONE)
			c->report->tombstones++; /* the newest committed one */
		decided = newer_tag != 0;
		head = false;
		if (older & PP_CUT)
			return;
		at = pp_older_ref(older);
	}
}

/* ---- leaves ----------------------------------------------------------------------------------------------------- */

static void check_entry(struct check *c, const struct pp_leafblock *b, unsigned i, unsigned level)
{
	pp_ref ref = pp_block_ref(b, i);
	struct pp_cell *cell;
	struct pp_ikey k;
	uint64_t slice;

	if (!reach(c, ref, level ? "index cell" : "key cell"))
		return;
	cell = pp_cell_at(c->t, ref);
	if (damaged(c, "key", ref))
		return;
	k = (struct pp_ikey){pp_cell_key(cell), pp_cell_key_size(cell)};
	slice = pp_slice(k.bytes, k.size, b->prefix_size);
	if (slice != b->slices[i])
		complain(c, "entry %u of block %#llx has a slice that is not its key's", i, HEX(pp_ref_of(c->t->region, b)));
	if (pp_block_beyond(b, &k) || pp_block_below(b, &k))
		complain(c, "key cell %#llx lies outside of the bounds of its leaf", HEX(ref));
	if (i && pp_cell_compare(pp_cell_at(c->t, pp_block_ref(b, i - 1)), &k) >= 0 && !damaged(c, "key", pp_block_ref(b, i - 1)))
		complain(c, "key cell %#llx is not in order in its leaf", HEX(ref));
	if (!!(cell->flags & PP_C_INDEX) != (level > 0))
		complain(c, "cell %#llx is of the wrong kind for level %u", HEX(ref), level);
	if (level) {
		if (pp_block_links(b)[i] != pp_load_rlx(&cell->head)) /* immutable */
			complain(c, "entry %u of block %#llx has a link that is not its index cell's", i, HEX(pp_ref_of(c->t->region, b)));
		c->report->index_cells++;
	} else {
		c->report->keys++;
		check_chain(c, ref, cell);
	}
}

static void check_bounds(struct check *c, const struct pp_leafblock *b, const struct pp_keybuf *low)
{
	if (pp_bytes_compare(pp_block_low(b), b->low_size, low->key.bytes, low->key.size))
		complain(c, "block %#llx does not begin where its left neighbour ends", HEX(pp_ref_of(c->t->region, b)));
	if (!b->high_size != !b->right)
		complain(c, "block %#llx has a bound without neighbour or the reverse", HEX(pp_ref_of(c->t->region, b)));
}

/* One level from left to right, by the right links alone. */
static void check_level(struct check *c, unsigned list, unsigned level)
{
	struct pp_list *l = &((struct pp_engine *)c->t->region->engine)->list[list];
	pp_ref leaf = pp_load_acq(&l->tower[level]);
	struct pp_keybuf low;

	pp_keybuf_copy(&low, (const uint8_t *)"", 0);
	while (leaf) {
		struct pp_leaf *cell;
		uint64_t head;
		struct pp_leafblock *b;
		struct pp_place p;

		cell = pp_leaf_at(c->t, leaf);
		head = pp_protect(c->t, &cell->head);
		if (pp_head_state(head) == PP_LEAF_GONE && !c->quiet) { /* merged since its neighbour was looked at */
			pp_index_find(c->t, list, level, &low.key, false, &p);
			leaf = p.leaf;
			head = p.head;
			if (marked(c, leaf)) { /* into one that was looked at: what came to it is missed */
				pp_keybuf_copy(&low, pp_block_high(p.block), p.block->high_size);
				leaf = pp_link_ref(p.block->right);
				continue;
			}
		}
		pp_damage_result(c->t, 0); /* reach says it */
		if (!reach(c, leaf, "leaf"))
			return;
		if (pp_head_state(head) == PP_LEAF_GONE) {
			complain(c, "leaf %#llx is gone but still linked", HEX(leaf));
			return;
		}
		if (!reach(c, pp_head_ref(head), "block"))
			return;
		b = pp_leafblock_at(c->t, pp_head_ref(head));
		if (damaged(c, "block", pp_head_ref(head)))
			return;
		c->report->leaves++;
		if (b->upper != (level > 0)) {
			complain(c, "block %#llx is not of level %u", HEX(pp_head_ref(head)), level);
			return;
		}
		if (c->quiet)
			check_bounds(c, b, &low);
		for (unsigned i = 0; i < b->count; i++)
			pp_near(pp_at(c->t->region, pp_block_ref(b, i)));
		for (unsigned i = 0; i < b->count; i++)
			check_entry(c, b, i, level);
		pp_keybuf_copy(&low, pp_block_high(b), b->high_size);
		leaf = pp_link_ref(b->right);
	}
}

static void check_lists(struct check *c)
{
	struct pp_engine *e = c->t->region->engine;
	uint64_t hints, previous;

	for (unsigned i = 0; i < pp_list_count(e); i++) {
		uint64_t levels = pp_load_acq(&e->list[i].levels);

		if (levels < 1 || levels > PP_LEVELS)
			complain(c, "list %u has %llu levels", i, HEX(levels));
		/* one level more, if somebody died or stands between linking and counting it */
		for (unsigned level = 0; level < PP_LEVELS && (level < levels || pp_load_acq(&e->list[i].tower[level])); level++)
			check_level(c, i, level);
	}
	hints = pp_link_ref(pp_protect(c->t, &e->hints));
	if (hints && reach(c, hints, "hint table")) {
		previous = pp_link_ref(pp_protect(c->t, &((struct pp_hints *)pp_sound_at(c->t, hints, sizeof(struct pp_hints)))->previous));
		if (previous)
			reach(c, previous, "hint table");
	}
}

/* ---- every byte ------------------------------------------------------------------------------------------------- */

static int account_block(void *ctx, pp_ref payload, uint64_t bytes, uint64_t word)
{
	struct check *c = ctx;

	(void)bytes;
	if (!c->quiet)
		return 0;
	if (pp_block_state(word) == PP_BLOCK_LIVE && !marked(c, payload))
		complain(c, "block %#llx (%llu bytes, kind %u) is live but nothing refers to it", HEX(payload), HEX(bytes),
			 pp_block_kind(word));
	if (pp_block_state(word) == PP_BLOCK_RETIRED && marked(c, payload))
		complain(c, "block %#llx is retired but still reachable", HEX(payload));
	return 0;
}

static int check_bytes(struct check *c)
{
	struct pp_check_report *r = c->report;
	struct pp_account a;
	uint64_t sum;
	int rc = pp_account_walk(c->t->region, &a, account_block, c);

	if (rc)
		return rc;
	/* Large runs are among the blocks of each state. */
	sum = a.table_bytes + a.free_page_bytes + a.empty_page_bytes + a.page_tail_bytes + a.free_bytes + a.private_bytes + a.live_bytes +
	      a.limbo_bytes;
	r->committed_bytes = a.committed_bytes;
	r->live_bytes = a.live_bytes + a.table_bytes;
	r->free_bytes = a.free_bytes + a.free_page_bytes + a.empty_page_bytes + a.page_tail_bytes;
	r->limbo_bytes = a.limbo_bytes;
	r->private_bytes = a.private_bytes;
	r->unaccounted_bytes = a.committed_bytes > sum ? a.committed_bytes - sum : sum - a.committed_bytes;
	if (c->quiet && a.stray_bytes)
		complain(c, "%llu bytes belong to no live slot and to no list", HEX(a.stray_bytes));
	if (c->quiet && r->unaccounted_bytes)
		complain(c, "%llu bytes of the arena are not accounted for", HEX(r->unaccounted_bytes));
	return 0;
}

int pp_check(struct pp_thread *t, bool quiet, struct pp_check_report *report, void (*problem)(void *ctx, const char *text), void *ctx)
{
	struct check c = {.t = t, .quiet = quiet, .report = report, .problem = problem, .ctx = ctx};
	uint64_t segments = pp_load_acq(&t->region->globals->committed_segments), bytes;
	int rc;

	memset(report, 0, sizeof(*report));
	bytes = (segments < t->region->fixed.max_segments ? segments : t->region->fixed.max_segments) * PP_SEGMENT_BYTES; /* it may be damaged */
	c.mark_bits = bytes / 8;
	c.marks = calloc(bytes / 512 + 1, sizeof(uint64_t));
	if (!c.marks)
		return -ENOMEM;
	pp_read_enter(t);
	check_lists(&c);
	pp_read_leave(t);
	rc = check_bytes(&c);
	free(c.marks);
	return rc ? rc : (int)(report->problems > INT32_MAX ? INT32_MAX : report->problems);
}
