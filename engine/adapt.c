/*
 * adapt.c - the keeper's care for shards: their home nodes, their bytes, and the bounds of strategy range.
 *
 * When one shard has grown to a quarter more than its part, the keeper walks the level above the
 * leaves (or the leaves themselves when there are few), some blocks a step, keeps each stride-th entry, and makes the quantiles the new
 * bounds; no key is touched, since an entry's slice and its block's prefix say enough. The counters are then divided anew as the sample
 * says, by differences, so that their sum stays right.
 *
 * Bytes are estimated: some leaves of each shard in turn are measured, the mean bytes a key times the keys is what the shard says.
 *
 * Dies inside: bounds are from two passes, counters are divided by half; the next pass puts both right.
 */
#include "engine/shards.h"

#include "engine/keeper_internal.h"
#include "engine/version.h"
#include "shm/clock.h"
#include "shm/numa.h"

#include <stdlib.h>
#include <string.h>

#define STEP_NS UINT64_C(100000000)
#define SAMPLES 8192
#define BLOCKS_STEP 256
#define SHARDS_STEP 8                  /* shards in which a leaf is measured each step */
#define WALK_BYTES 40
#define PASS_NS_MAX UINT64_C(30000000000)

struct bound {
	uint64_t word[PP_BOUND_WORDS];
};

struct walk {                          /* where the next leaf of a shard is measured */
	uint8_t size, key[WALK_BYTES];
	uint64_t mean;                 /* bytes a key, 8 bits of fraction */
};

struct pp_shards {
	uint64_t step_ns;
	unsigned next, left;           /* shards still to be measured since something was written */
	struct walk walk[PP_SHARDS_MAX];
	/* a pass over the entries of a level */
	bool passing, sorted;
	unsigned level, stride, skip, count;
	uint64_t began_ns, ended_ns;   /* the last one */
	uint64_t wait_ns;              /* before the next one */
	struct pp_keybuf at;
	struct bound sample[SAMPLES];
};


/* The n-th of the nodes that have memory, in turn. */
static unsigned nth_node(const unsigned *node, unsigned nodes, unsigned shard, unsigned shards)
{
	return nodes ? node[(uint64_t)shard * nodes / shards] : 0;
}

void pp_shards_format(struct pp_region *r)
{
	struct pp_engine *e = r->engine;
	unsigned node[PP_MAX_NODES], nodes = 0;

	for (unsigned n = 0; n < r->fixed.nodes && n < PP_MAX_NODES; n++)
		if (r->fixed.nodes == 1 || pp_numa_has_memory(n))
			node[nodes++] = n;
	for (unsigned i = 0; i < pp_shard_count(e); i++) {
		pp_store_rlx(&e->shard[i].node, nth_node(node, nodes, i, pp_shard_count(e))); /* nobody else is here yet */
		pp_store_rlx(&e->range_bound[i][0], UINT64_MAX / pp_shard_count(e) * i);
	}
	for (unsigned i = 0; i < pp_list_count(e); i++)
		pp_store_rlx(&e->shard[i].leaves, 1);
}

/* ---- bytes ------------------------------------------------------------------------------------------------------ */

static uint64_t version_bytes(struct pp_thread *t, pp_ref ref)
{
	struct pp_version *v = pp_version_at(t, ref);

	return sizeof(struct pp_block) + sizeof(struct pp_version_block) + v->size + (pp_version_inline(v) ? 0 : 8);
}

/* A key cell, its versions, and its entry in the leaf. */
static uint64_t cell_bytes(struct pp_thread *t, pp_ref ref)
{
	struct pp_cell *c = pp_cell_at(t, ref);
	uint64_t bytes = sizeof(struct pp_block) + sizeof(*c) + c->key_size + PP_ENTRY_BYTES, head = pp_protect(t, &c->head) & ~PP_MOVING;

	return head && head != PP_DEAD ? bytes + version_bytes(t, head) : bytes;
}

static void rewind_walk(const struct pp_engine *e, struct walk *w, unsigned shard)
{
	memset(w->key, 0, sizeof(w->key)); /* of table 0 */
	w->size = 4;
	if (e->strategy != PP_STRATEGY_RANGE || !shard)
		return;
	for (unsigned i = 0; i < PP_BOUND_WORDS; i++) {
		uint64_t be = htobe64(pp_load_rlx(&e->range_bound[shard][i])); /* owner */

		memcpy(w->key + 4 + 8 * i, &be, 8);
	}
	w->size = 4 + 8 * PP_BOUND_WORDS;
}

/* On to the next leaf, as far as WALK_BYTES of its low key tell it from this one; back to the first behind the last. */
static void advance_walk(const struct pp_engine *e, struct walk *w, unsigned shard, unsigned list, const struct pp_leafblock *b)
{
	uint32_t size = b->high_size < WALK_BYTES ? b->high_size : WALK_BYTES;
	struct pp_ikey high = {pp_block_high(b), size};

	if (!size || pp_shard_at(e, list, &high) != shard || pp_bytes_compare(high.bytes, size, w->key, w->size) <= 0) {
		rewind_walk(e, w, shard);
		return;
	}
	memcpy(w->key, high.bytes, size);
	w->size = (uint8_t)size;
}

static void measure_leaf(struct pp_keeper *k, unsigned shard)
{
	struct pp_thread *t = &k->house;
	struct pp_engine *e = k->region.engine;
	struct walk *w = &k->shards->walk[shard];
	unsigned list = pp_list_count(e) > 1 ? shard : 0;
	struct pp_ikey key = {w->key, w->size};
	uint64_t bytes = 0, mean;
	struct pp_place p;

	pp_read_enter(t);
	pp_index_find(t, list, 0, &key, false, &p);
	for (unsigned i = 0; i < p.block->count; i++)
		bytes += cell_bytes(t, pp_block_ref(p.block, i));
	if (p.block->count) {
		mean = (bytes << 8) / p.block->count;
		w->mean = w->mean ? w->mean - w->mean / 8 + mean / 8 : mean;
	}
	advance_walk(e, w, shard, list, p.block);
	pp_read_leave(t);
	pp_damage_result(t, 0); /* statistics only */
}

static void publish_bytes(struct pp_keeper *k, unsigned shard)
{
	struct pp_shard *s = &((struct pp_engine *)k->region.engine)->shard[shard];
	int64_t keys = (int64_t)pp_load_rlx(&s->keys); /* stat */

	pp_store_rlx(&s->bytes, keys > 0 ? (uint64_t)keys * k->shards->walk[shard].mean >> 8 : 0); /* stat */
}

/* While something is written, and once around after that. */
static void measure(struct pp_keeper *k)
{
	struct pp_shards *s = k->shards;
	unsigned shards = pp_shard_count(k->region.engine);

	if (pp_keeper_busy(k))
		s->left = 2 * shards;
	for (unsigned n = 0; n < SHARDS_STEP && n < shards && s->left; n++, s->left--) {
		measure_leaf(k, s->next);
		publish_bytes(k, s->next);
		s->next = (s->next + 1) % shards;
	}
}

/* ---- bounds ----------------------------------------------------------------------------------------------------- */

static int compare_words(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	for (unsigned i = 0; i < PP_BOUND_WORDS; i++)
		if (x[i] != y[i])
			return x[i] < y[i] ? -1 : 1;
	return 0;
}

/* Twice the stride, half the samples. */
static void thin_out(struct pp_shards *s)
{
	for (unsigned i = 0; i < s->count / 2; i++)
		s->sample[i] = s->sample[2 * i + 1];
	s->count /= 2;
	s->stride *= 2;
}

static void keep(struct pp_shards *s, const struct bound *b)
{
	if (++s->skip < s->stride)
		return;
	s->skip = 0;
	if (s->count && compare_words(&s->sample[s->count - 1], b) > 0)
		s->sorted = false; /* another table */
	s->sample[s->count++] = *b;
	if (s->count == SAMPLES)
		thin_out(s);
}

/* What prefix and slice say of an entry's key is enough to part shards. */
static void keep_block(struct pp_shards *s, const struct pp_leafblock *b)
{
	uint8_t bytes[4 + 8 * PP_BOUND_WORDS + 8] = {0};
	uint32_t at = b->prefix_size < sizeof(bytes) - 8 ? b->prefix_size : sizeof(bytes) - 8;

	memcpy(bytes, pp_block_prefix(b), at);
	for (unsigned i = 0; i < b->count; i++) {
		uint64_t be = htobe64(b->slices[i]);
		struct bound one;

		memcpy(bytes + at, &be, 8);
		for (unsigned w = 0; w < PP_BOUND_WORDS; w++)
			one.word[w] = pp_slice(bytes, 4 + 8 * PP_BOUND_WORDS, 4 + 8 * w);
		keep(s, &one);
	}
}

/* True when the level has been walked to its end. */
static bool walk_level(struct pp_keeper *k)
{
	struct pp_shards *s = k->shards;
	struct pp_thread *t = &k->house;
	struct pp_place p;

	for (unsigned n = 0; n < BLOCKS_STEP; n++) {
		bool last;

		pp_read_enter(t);
		pp_index_find(t, 0, s->level, &s->at.key, false, &p);
		keep_block(s, p.block);
		last = !p.block->high_size;
		pp_damage_result(t, 0);
		pp_keybuf_copy(&s->at, pp_block_high(p.block), p.block->high_size);
		pp_read_leave(t);
		if (last)
			return true;
	}
	return false;
}

static uint64_t sum_of(struct pp_engine *e, size_t field)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < pp_shard_count(e); i++)
		sum += pp_load_rlx((pp_a64 *)((char *)&e->shard[i] + field)); /* stat */
	return sum;
}

/* Divides a counter among the shards as the sample says; by differences, so that what others add meanwhile stays. */
static void divide(struct pp_engine *e, size_t field, const unsigned *part, unsigned parts)
{
	uint64_t sum = sum_of(e, field), given = 0, seen = 0;

	for (unsigned i = 0; i < pp_shard_count(e); i++) {
		pp_a64 *counter = (pp_a64 *)((char *)&e->shard[i] + field);
		uint64_t upto;

		seen += part[i];
		upto = (uint64_t)((double)sum * (double)seen / (double)parts);
		if (i == pp_shard_count(e) - 1 || upto > sum)
			upto = sum;
		pp_add_rlx(counter, upto - given - pp_load_rlx(counter)); /* stat */
		given = upto;
	}
}

/* Bound i is this sample. */
static unsigned quantile(const struct pp_engine *e, const struct pp_shards *s, unsigned i)
{
	uint64_t n = (uint64_t)i * s->count / pp_shard_count(e);

	return n < s->count ? (unsigned)n : s->count - 1;
}

static void publish_bounds(struct pp_engine *e, const struct pp_shards *s)
{
	for (unsigned i = 0; i < pp_shard_count(e); i++)
		for (unsigned w = 0; w < PP_BOUND_WORDS; w++)
			pp_store_rlx(&e->range_bound[i][w], i ? s->sample[quantile(e, s, i)].word[w] : 0); /* hint */
}

static void divide_counters(struct pp_engine *e, const struct pp_shards *s)
{
	unsigned part[PP_SHARDS_MAX] = {0};

	for (unsigned i = 0, shard = 0; i < s->count; i++) {
		while (shard + 1 < pp_shard_count(e) && compare_words(&s->sample[quantile(e, s, shard + 1)], &s->sample[i]) <= 0)
			shard++;
		part[shard]++;
	}
	divide(e, offsetof(struct pp_shard, keys), part, s->count);
	divide(e, offsetof(struct pp_shard, leaves), part, s->count);
}

/* The greatest shard holds a quarter more keys than its part, and some more. */
static bool unequal(struct pp_engine *e)
{
	uint64_t sum = sum_of(e, offsetof(struct pp_shard, keys)), part = sum / pp_shard_count(e);

	if ((int64_t)sum < (int64_t)pp_shard_count(e))
		return false;
	for (unsigned i = 0; i < pp_shard_count(e); i++)
		if ((int64_t)pp_load_rlx(&e->shard[i].keys) > (int64_t)(part + part / 4 + 8)) /* stat */
			return true;
	return false;
}

static void begin_pass(struct pp_keeper *k, uint64_t now)
{
	struct pp_engine *e = k->region.engine;
	struct pp_shards *s = k->shards;
	bool many = sum_of(e, offsetof(struct pp_shard, leaves)) >= 64 * (uint64_t)pp_shard_count(e);

	s->level = many && pp_load_acq(&e->list[0].levels) > 1;
	s->began_ns = now;
	s->stride = 1;
	s->skip = s->count = 0;
	s->sorted = s->passing = true;
	pp_keybuf_copy(&s->at, (const uint8_t *)"", 0);
}

static void end_pass(struct pp_keeper *k, uint64_t now)
{
	struct pp_engine *e = k->region.engine;
	struct pp_shards *s = k->shards;

	s->passing = false;
	if (s->count) {
		if (!s->sorted)
			qsort(s->sample, s->count, sizeof(s->sample[0]), compare_words);
		publish_bounds(e, s);
		divide_counters(e, s);
		for (unsigned i = 0; i < pp_shard_count(e); i++)
			rewind_walk(e, &s->walk[i], i);
	}
	/* Keys that bounds cannot part would call for a pass for ever, and a load that appends each time again. */
	if (!unequal(e))
		s->wait_ns = 4 * (now - s->began_ns);
	else if (s->wait_ns < PASS_NS_MAX)
		s->wait_ns = 2 * s->wait_ns + STEP_NS;
	s->ended_ns = now;
}

static void adapt(struct pp_keeper *k, uint64_t now)
{
	struct pp_engine *e = k->region.engine;
	struct pp_shards *s = k->shards;

	if (e->strategy != PP_STRATEGY_RANGE || pp_shard_count(e) < 2)
		return;
	if (!s->passing) {
		if (now - s->ended_ns < s->wait_ns || !unequal(e))
			return;
		begin_pass(k, now);
	}
	if (walk_level(k))
		end_pass(k, now);
}

/* ---- the step --------------------------------------------------------------------------------------------------- */

static struct pp_shards *new_state(const struct pp_engine *e)
{
	struct pp_shards *s = calloc(1, sizeof(*s));

	for (unsigned i = 0; s && i < pp_shard_count(e); i++)
		rewind_walk(e, &s->walk[i], i);
	if (s)
		s->left = pp_shard_count(e);
	return s;
}

void pp_shards_step(struct pp_keeper *k)
{
	uint64_t now = pp_now_ns();

	if (!k->shards)
		k->shards = new_state(k->region.engine);
	if (!k->shards || now - k->shards->step_ns < STEP_NS)
		return; /* without memory: statistics can wait */
	k->shards->step_ns = now;
	adapt(k, now);
	measure(k);
}

void pp_shards_free(struct pp_shards *s)
{
	free(s);
}
