/*
 * engine_gather.c - cells are brought together in key order: where they lie, that nothing but that changes, and what a snapshot was given.
 */
#include "tests/unit/engine_store.h"

#include "engine/hint.h"
#include "engine/index.h"
#include "engine/keeper_internal.h"
#include "engine/move.h"
#include "engine/read.h"

#include <criterion/criterion.h>
#include <stdio.h>

#define KEYS 4000
#define VALUE 60

static struct engine_store s;

static void make_key(char *key, unsigned i)
{
	snprintf(key, 16, "key-%06u", i);
}

static void make_value(uint8_t *value, unsigned i, unsigned round)
{
	memset(value, (int)(i * 7 + round) & 0xff, VALUE);
	memcpy(value, &i, sizeof(i));
}

static void put(unsigned i, unsigned round)
{
	uint8_t value[VALUE];
	char key[16];

	make_key(key, i);
	make_value(value, i, round);
	cr_assert_eq(engine_store_put(&s, key, value, sizeof(value), 0), 0, "%s", pp_detail_get());
}

/* Far from their order; every third is written twice, so that its value lies apart. */
static void fill(void)
{
	for (unsigned i = 0; i < KEYS; i++)
		put(i * 1237 % KEYS, 0);
	for (unsigned i = 0; i < KEYS; i += 3)
		put(i, 1);
}

static void open_filled(void)
{
	engine_store_open(&s, PP_STRATEGY_RANGE, 4);
	fill();
}

static void close_store(void)
{
	engine_store_close(&s);
}

TestSuite(gather, .init = open_filled, .fini = close_store, .timeout = 240);

static uint64_t gathered(void)
{
	return pp_load_rlx(&s.engine->gathered);
}

/* A pass goes through when the store has been at rest for a moment. */
static void await_pass(void)
{
	uint64_t before = UINT64_MAX;

	cr_assert(engine_store_until(gathered() && !pp_load_rlx(&s.engine->gathering)));
	while (gathered() != before) {
		before = gathered();
		usleep(1500000);
	}
}

/* Of all cells but the first, those that lie right behind the one before, with their version inside. */
static unsigned in_order(void)
{
	struct pp_place p;
	struct pp_keybuf at;
	unsigned count = 0, end = 0;
	pp_ref before = 0;

	pp_keybuf_copy(&at, (const uint8_t *)"", 0);
	while (!end) {
		pp_read_enter(&s.t);
		pp_index_find(&s.t, 0, 0, &at.key, false, &p);
		for (unsigned i = 0; i < p.block->count; i++) {
			pp_ref cell = pp_block_ref(p.block, i);
			uint64_t head = pp_load_acq(&((struct pp_cell *)pp_at(s.region, cell))->head);

			count += cell > before && cell - before < 1024 && head == pp_cell_inline_version(&s.t, cell);
			before = cell;
		}
		pp_keybuf_copy(&at, pp_block_high(p.block), p.block->high_size);
		end = !p.block->high_size;
		pp_read_leave(&s.t);
	}
	return count;
}

static void check_all(void)
{
	struct pp_hit hit;
	uint8_t value[VALUE];
	char key[16];

	for (unsigned i = 0; i < KEYS; i++) {
		struct pp_key k = {0, 10, key};

		make_key(key, i);
		make_value(value, i, i % 3 == 0);
		pp_read_enter(&s.t);
		cr_assert_eq(pp_read(&s.t, &k, PP_LATEST, &hit), 0, "%s is gone", key);
		cr_assert(hit.size == VALUE && !memcmp(hit.value, value, VALUE), "%s has another value", key);
		cr_assert_eq(hit.version, i % 3 == 0 ? 2u : 1u);
		pp_read_leave(&s.t);
	}
}

static void complain(void *ctx, const char *text)
{
	(void)ctx;
	fprintf(stderr, "check: %s\n", text);
}

Test(gather, cells_come_into_key_order)
{
	struct pp_check_report report;
	unsigned before = in_order();

	await_pass();
	cr_assert_lt(before, KEYS / 4, "%u cells were in order from the beginning", before);
	cr_assert_gt(in_order(), KEYS * 9 / 10, "only %u of %u cells are in order", in_order(), KEYS);
	check_all();
	pp_slot_leave(&s.t); /* its pages are swept by others then */
	cr_assert_eq(pp_slot_claim(s.region, s.proc, &s.t), 0);
	/* a block or two may wait in a page that the keeper owns, until it wants one */
	cr_assert(engine_store_until(!pp_check(&s.t, true, &report, NULL, NULL) && report.limbo_bytes < 1024), "the store does not come to rest: %llu bytes in limbo",
		  (unsigned long long)report.limbo_bytes);
	cr_assert_eq(pp_check(&s.t, true, &report, complain, NULL), 0);
	cr_assert_eq(report.keys, KEYS);
}

/* Pages in which key cells stand. */
static unsigned cell_pages(void)
{
	static uint8_t seen[1 << 16];
	struct pp_place p;
	struct pp_keybuf at;
	unsigned count = 0, end = 0;

	memset(seen, 0, sizeof(seen));
	pp_keybuf_copy(&at, (const uint8_t *)"", 0);
	while (!end) {
		pp_read_enter(&s.t);
		pp_index_find(&s.t, 0, 0, &at.key, false, &p);
		for (unsigned i = 0; i < p.block->count; i++) {
			uint64_t page = pp_page_index(s.region, pp_block_ref(p.block, i));

			count += !seen[page];
			seen[page] = 1;
		}
		pp_keybuf_copy(&at, pp_block_high(p.block), p.block->high_size);
		end = !p.block->high_size;
		pp_read_leave(&s.t);
	}
	return count;
}

/* What is left of each page follows one another, so it is in order where it is: it has to make room all the same. */
Test(gather, cells_leave_pages_that_are_nearly_empty)
{
	struct pp_check_report report;
	unsigned left = 0;
	char key[16];

	await_pass();
	cr_assert_gt(cell_pages(), 8, "only %u pages to begin with", cell_pages());
	for (unsigned i = 0; i < KEYS; i++) {
		make_key(key, i);
		if (i % 400 < 40)
			left++;
		else
			cr_assert_eq(engine_store_put(&s, key, NULL, 0, PP_W_DELETE), 0, "%s", pp_detail_get());
	}
	cr_assert(engine_store_until(cell_pages() <= 2), "%u cells stand in %u pages", left, cell_pages());
	await_pass();
	cr_assert_eq(pp_check(&s.t, false, &report, complain, NULL), 0);
	cr_assert_eq(report.keys, left);
}

/* What is moved while a snapshot is held may be in its hands: bytes, not only values. */
Test(gather, a_snapshot_keeps_the_bytes_it_was_given)
{
	static struct pp_thread reader;
	static uint8_t was[KEYS][VALUE];     /* of the last epoch's keys the snapshot holds the value before */
	const void *given[KEYS];
	struct pp_hit hit;
	uint64_t cut;
	char key[16];

	cr_assert_eq(pp_slot_claim(s.region, s.proc, &reader), 0);
	cr_assert_eq(pp_snapshot_hold(&reader, pp_load_acq(&s.region->globals->open_epoch) - 1, &cut), 0);
	engine_store_halt(&s);
	for (unsigned i = 0; i < KEYS; i++) {
		make_key(key, i);
		pp_read_enter(&reader);
		cr_assert_eq(pp_read(&reader, &(struct pp_key){0, 10, key}, cut, &hit), 0);
		cr_assert_eq(hit.size, VALUE);
		given[i] = hit.value;
		memcpy(was[i], hit.value, VALUE);
		pp_read_leave(&reader);
	}
	/* as if the snapshot had begun a moment after the keeper looked */
	for (unsigned i = 0; i < 400; i++) {
		struct pp_gather *g = &s.keeper->gather;

		g->next_ns = g->looked_at = 0;
		g->keys = UINT32_MAX;
		s.keeper->house.safe.held_count = 0;
		pp_gather_step(s.keeper);
		pp_keeper_step(s.keeper);
		pp_keeper_house(s.keeper);
	}
	cr_assert_gt(gathered(), KEYS / 2);
	for (unsigned i = 0; i < 3 * KEYS; i++) { /* whatever is free is used again */
		put(KEYS + i, 0);
		if (i % 64)
			continue;
		for (unsigned turn = 0; turn < 4; turn++)
			cr_assert_geq(pp_keeper_step(s.keeper), 0);
		pp_keeper_house(s.keeper);
		pp_keeper_prepare(s.keeper);
	}
	for (unsigned i = 0; i < KEYS; i++)
		cr_assert(!memcmp(given[i], was[i], VALUE), "what the snapshot was given for key %u has changed", i);
	pp_snapshot_drop(&reader);
	pp_slot_leave(&reader);
}

/* A keeper died between freezing a cell and putting its copy in; the hint is lost. What finds the cell in its leaf completes the move, and must not
 * take the key for a missing one. */
Test(gather, a_delete_meets_a_frozen_cell)
{
	struct pp_key k = {0, 10, "key-000300"};
	uint64_t head;
	pp_ref cell;

	await_pass();
	engine_store_halt(&s);
	pp_read_enter(&s.t);
	cell = pp_cell_find(&s.t, pp_key_hash(&k), &k);
	cr_assert(cell && pp_cell_movable(&s.t, pp_cell_at(&s.t, cell), &head));
	cr_assert(pp_cas_acqrel(&pp_cell_at(&s.t, cell)->head, &head, head | PP_MOVING));
	for (pp_ref hint = pp_hint_find(&s.t, pp_key_hash(&k), &k); hint; hint = pp_hint_find(&s.t, pp_key_hash(&k), &k))
		pp_hint_enter(&s.t, pp_key_hash(&k), 1);
	pp_read_leave(&s.t);
	cr_expect_eq(engine_store_put(&s, "key-000300", "", 0, PP_W_DELETE), 0, "%s", pp_detail_get());
	cr_expect_eq(engine_store_get(&s, "key-000300"), PPDB_NOTFOUND);
}
