/* shm_alloc.c - blocks and runs: classes, states, hints, reuse, a full arena and its reserve, threads that free each other's blocks. */
#include "tests/unit/shm_arena.h"

#include <pthread.h>

#define MEMORY (64 << 20)
#define CELLS 512

static struct pp_region region;
static struct pp_thread t, keeper;

static void setup(void)
{
	arena_create(&region, MEMORY, 64);
	arena_claim(&region, 0, &keeper);
	arena_claim(&region, 0, &t);
}

static void teardown(void)
{
	help_destroy(&region);
}

TestSuite(alloc, .init = setup, .fini = teardown, .timeout = 120);

static pp_ref must_alloc(struct pp_thread *thread, uint64_t bytes)
{
	pp_ref ref;
	int rc = pp_alloc(thread, bytes, 2, &ref);

	cr_assert_eq(rc, 0, "alloc %llu: %s %s", (unsigned long long)bytes, pp_error_text(rc), pp_detail_get());
	return ref;
}

static enum pp_block_state state_of(pp_ref ref)
{
	return pp_block_state(pp_load_acq(&pp_block_at(&region, ref)->word));
}

static pp_ref make_live(struct pp_thread *thread, uint64_t bytes)
{
	pp_ref ref = must_alloc(thread, bytes);

	pp_alloc_live(thread, ref, pp_gen_of(&region, ref));
	return ref;
}

Test(alloc, classes_cover_every_size)
{
	unsigned last = 0;

	for (uint64_t bytes = 0; bytes <= 32752; bytes++) {
		unsigned c = pp_class_of(bytes);

		cr_assert_lt(c, PP_CLASS_LARGE);
		cr_assert_geq(pp_class_bytes(c), bytes + 16);
		cr_assert(!c || pp_class_bytes(c - 1) < bytes + 16, "%llu is in class %u", (unsigned long long)bytes, c);
		cr_assert(c == last || c == last + 1);
		last = c;
	}
	cr_assert_eq(pp_class_of(32753), PP_CLASS_LARGE);
	cr_assert_eq(pp_class_of(UINT64_MAX), PP_CLASS_LARGE);
	cr_assert_eq(pp_class_bytes(last + 1), 0);
	for (unsigned c = 1; c <= last; c++)
		cr_assert_leq(pp_class_bytes(c) * 2, pp_class_bytes(c - 1) * 3 + 16);
}

Test(alloc, states)
{
	pp_ref a, b;
	uint64_t gen, word;

	pp_read_enter(&t);
	a = must_alloc(&t, 100);
	b = must_alloc(&t, 100);
	gen = pp_gen_of(&region, a);
	cr_assert_eq(a % 8, 0);
	cr_assert_eq(state_of(a), PP_BLOCK_PRIVATE);
	cr_assert(!pp_hint_live(&t, a, gen, PP_GEN_MASK, 2));
	pp_alloc_live(&t, a, gen + 1);
	cr_assert_eq(state_of(a), PP_BLOCK_PRIVATE, "another life's");
	pp_alloc_live(&t, a, gen);
	pp_alloc_live(&t, a, gen);
	word = pp_load_acq(&pp_block_at(&region, a)->word);
	cr_assert_eq(pp_block_state(word), PP_BLOCK_LIVE);
	cr_assert_eq(pp_block_kind(word), 2);
	cr_assert_eq(pp_block_birth(word), pp_load_acq(&region.globals->era));
	cr_assert(pp_hint_live(&t, a, gen, PP_GEN_MASK, 2));
	cr_assert(pp_hint_live(&t, a, gen & 0xff, 0xff, 2));
	cr_assert(!pp_hint_live(&t, a, gen, PP_GEN_MASK, 1), "another kind");
	cr_assert(!pp_hint_live(&t, a, gen + 1, PP_GEN_MASK, 2), "another life");
	cr_assert(!pp_hint_live(&t, a + 8, gen, PP_GEN_MASK, 2), "inside a block");
	cr_assert(!pp_hint_live(&t, 0, gen, 0, 2));
	cr_assert(!pp_hint_live(&t, UINT64_MAX, gen, 0, 2));
	cr_assert(!pp_hint_live(&t, region.segments_at + 8, gen, 0, 2));
	cr_assert(!pp_retire(&t, a, gen + 1));
	cr_assert(pp_retire(&t, a, gen));
	cr_assert(!pp_retire(&t, a, gen));
	cr_assert(pp_retire(&t, b, pp_gen_of(&region, b)), "a private block is helped to live first");
	cr_assert(!pp_hint_live(&t, a, gen, PP_GEN_MASK, 2));
	pp_read_leave(&t);
}

Test(alloc, cancel_gives_back)
{
	pp_ref a;
	uint64_t gen;
	struct pp_account before, after;

	pp_read_enter(&t);
	a = must_alloc(&t, 100);
	gen = pp_gen_of(&region, a);
	before = arena_account(&region);
	pp_alloc_cancel(&t, a);
	after = arena_account(&region);
	cr_assert_eq(before.blocks_private, 1);
	cr_assert_eq(after.blocks_private, 0);
	cr_assert_eq(after.blocks_free, before.blocks_free + 1);
	cr_assert_eq(must_alloc(&t, 100), a);
	cr_assert_eq(pp_gen_of(&region, a), gen + 1);
	pp_alloc_release(&t); /* its page is another's now: the block takes the way through limbo */
	pp_alloc_cancel(&t, a);
	pp_read_leave(&t);
	arena_settle(&keeper);
	after = arena_account(&region);
	cr_assert_eq(after.blocks_private + after.blocks_limbo + after.blocks_live, 0);
}

Test(alloc, every_size_is_writable_and_apart)
{
	enum { COUNT = 3000 };
	static pp_ref refs[COUNT];
	static uint64_t sizes[COUNT];
	uint64_t seed = arena_seed("alloc/every_size*");

	pp_read_enter(&t);
	for (unsigned i = 0; i < COUNT; i++) {
		sizes[i] = arena_random(&seed) % (i % 100 ? 1500 : 200000);
		refs[i] = must_alloc(&t, sizes[i]);
		memset(pp_at(&region, refs[i]), (int)(i & 0xff), sizes[i]);
	}
	for (unsigned i = 0; i < COUNT; i++) {
		const uint8_t *p = pp_at(&region, refs[i]);

		for (uint64_t k = 0; k < sizes[i]; k++)
			if (p[k] != (i & 0xff))
				cr_assert_fail("block %u of %llu bytes was overwritten", i, (unsigned long long)sizes[i]);
		pp_alloc_cancel(&t, refs[i]);
	}
	pp_read_leave(&t);
	pp_alloc_release(&t);
	arena_settle(&keeper);
	cr_assert_eq(arena_account(&region).blocks_private, 0);
}

Test(alloc, ahead_grows_until_enough_is_free)
{
	uint64_t before = pp_load_acq(&region.globals->committed_segments);
	unsigned grown = 0;

	while (pp_alloc_ahead(&keeper, 200))
		grown++;
	cr_assert_gt(grown, 0);
	cr_assert_eq(pp_load_acq(&region.globals->committed_segments), before + grown);
	cr_assert_geq(arena_account(&region).free_page_bytes, 200 * PP_PAGE_BYTES);
	while (pp_alloc_ahead(&keeper, 1 << 20))
		;
	cr_assert_eq(pp_load_acq(&region.globals->committed_segments), region.header->max_segments);
}

/* More private blocks in one section than pages can be named for: the reaper looks at all pages. */
Test(alloc, many_private_blocks_are_reaped)
{
	struct pp_thread dead;
	unsigned slot;

	arena_claim(&region, 9, &dead);
	slot = dead.index;
	pp_read_enter(&dead);
	for (unsigned i = 0; i < 60; i++)
		must_alloc(&dead, 32000);
	must_alloc(&dead, 100000);
	must_alloc(&dead, 200000);
	cr_assert_eq(arena_account(&region).blocks_private, 62);
	pp_alloc_reap(&keeper, slot, NULL, NULL); /* the thread was killed here */
	pp_store_rel(&region.slots[slot].low, PP_IDLE);
	cr_assert_eq(arena_account(&region).blocks_private, 0);
	arena_settle(&keeper);
	cr_assert_eq(arena_account(&region).blocks_limbo, 0);
	pp_alloc_reap(&keeper, slot, NULL, NULL);
}

/* The same in a section that lasts: pages without private blocks are forgotten, so few stay named. */
Test(alloc, a_long_section_names_only_pages_that_matter)
{
	pp_ref ref;

	pp_read_enter(&t);
	for (unsigned i = 0; i < 200; i++) {
		ref = must_alloc(&t, 32000);
		pp_alloc_live(&t, ref, pp_gen_of(&region, ref));
		pp_retire(&t, ref, pp_gen_of(&region, ref));
	}
	cr_assert_eq(pp_load_acq(&t.slot->scan_all), 0);
	must_alloc(&t, 32000);
	pp_read_leave(&t);
}

Test(alloc, memory_is_used_again)
{
	uint64_t segments;

	for (unsigned round = 0; round < 200; round++) {
		for (unsigned i = 0; i < 500; i++) {
			pp_ref ref;

			pp_read_enter(&t);
			ref = make_live(&t, 1100);
			pp_retire(&t, ref, pp_gen_of(&region, ref));
			pp_read_leave(&t);
		}
		arena_round(&region);
	}
	segments = pp_load_acq(&region.globals->committed_segments);
	cr_assert_leq(segments, 4, "%llu segments for 110 KiB in limbo", (unsigned long long)segments);
}

/* ---- pages change their class, hints do not mind ---------------------------------------------------------------- */

Test(alloc, an_empty_page_changes_class_only_after_a_round)
{
	struct pp_thread reader;
	pp_ref refs[64], other;
	uint64_t gen, page, word;

	arena_claim(&region, 0, &reader);
	pp_read_enter(&t);
	for (unsigned i = 0; i < 59; i++)
		refs[i] = make_live(&t, 1090);
	gen = pp_gen_of(&region, refs[0]);
	page = pp_page_index(&region, refs[0]);
	for (unsigned i = 0; i < 59; i++)
		pp_retire(&t, refs[i], pp_gen_of(&region, refs[i]));
	pp_read_leave(&t);
	pp_alloc_release(&t);
	arena_round(&region);
	pp_read_enter(&reader);
	cr_assert_eq(arena_sweep(&keeper), 59);
	word = pp_load_acq(&region.pages[page].word);
	cr_assert_eq(pp_page_type(word), PP_PAGE_EMPTY);
	cr_assert(!pp_hint_live(&reader, refs[0], gen, PP_GEN_MASK, 2));
	arena_settle(&keeper);
	cr_assert_eq(pp_page_type(pp_load_acq(&region.pages[page].word)), PP_PAGE_EMPTY, "a reader may look at it");
	pp_read_leave(&reader);
	arena_settle(&keeper);
	cr_assert_eq(pp_page_type(pp_load_acq(&region.pages[page].word)), PP_PAGE_FREE);
	pp_read_enter(&t);
	other = make_live(&t, 48);
	cr_assert_eq(pp_page_index(&region, other), page);
	cr_assert_gt(pp_gen_of(&region, other), gen, "generations of a page never come again");
	cr_assert(!pp_hint_live(&t, refs[0], gen, PP_GEN_MASK, 2));
	pp_read_leave(&t);
}

Test(alloc, an_empty_page_serves_its_class_at_once)
{
	pp_ref ref;
	uint64_t page;

	pp_read_enter(&t);
	ref = make_live(&t, 1090);
	page = pp_page_index(&region, ref);
	pp_retire(&t, ref, pp_gen_of(&region, ref));
	pp_read_leave(&t);
	pp_alloc_release(&t);
	arena_round(&region);
	arena_sweep(&keeper);
	cr_assert_eq(pp_page_type(pp_load_acq(&region.pages[page].word)), PP_PAGE_EMPTY);
	pp_read_enter(&t);
	cr_assert_eq(pp_page_index(&region, must_alloc(&t, 1090)), page);
	pp_read_leave(&t);
}

/* ---- large runs ------------------------------------------------------------------------------------------------- */

Test(alloc, large_runs)
{
	static const uint64_t sizes[] = {32753, 65520, 65521, 131056, 131057, 2 << 20, (16 << 20) + 8192};

	for (unsigned round = 0; round < 5; round++) {
		pp_ref refs[7];

		pp_read_enter(&t);
		for (unsigned i = 0; i < 7; i++) {
			refs[i] = must_alloc(&t, sizes[i]);
			memset(pp_at(&region, refs[i]), (int)i, sizes[i]);
			pp_alloc_live(&t, refs[i], pp_gen_of(&region, refs[i]));
			cr_assert(pp_hint_live(&t, refs[i], pp_gen_of(&region, refs[i]), PP_GEN_MASK, 2));
		}
		cr_assert_geq(arena_account(&region).large_bytes, 18 << 20);
		for (unsigned i = 0; i < 7; i++) {
			const uint8_t *p = pp_at(&region, refs[i]);

			cr_assert_eq(p[0], i);
			cr_assert_eq(p[sizes[i] - 1], i);
			cr_assert(pp_retire(&t, refs[i], pp_gen_of(&region, refs[i])));
		}
		pp_read_leave(&t);
		arena_settle(&keeper);
		cr_assert_eq(arena_account(&region).large_bytes, 0);
	}
}

Test(alloc, a_large_block_is_as_large_as_promised)
{
	struct pp_region big;
	struct pp_thread owner;
	pp_ref ref;

	help_destroy(&region);
	arena_create(&big, 256 << 20, 8);
	arena_claim(&big, 0, &owner);
	pp_read_enter(&owner);
	cr_assert_eq(pp_alloc(&owner, (64 << 20) + 8192, 1, &ref), 0, "%s", pp_detail_get());
	*((uint8_t *)pp_at(&big, ref) + (64 << 20) + 8191) = 1;
	cr_assert_eq(pp_alloc(&owner, 1 << 30, 1, &ref), PPDB_FULL);
	cr_assert_eq(pp_alloc(&owner, UINT64_MAX, 1, &ref), PPDB_FULL);
	pp_read_leave(&owner);
	region = big;
}

/* ---- full ------------------------------------------------------------------------------------------------------- */

static pp_ref *fill(uint64_t bytes, unsigned *count)
{
	pp_ref *refs = calloc(1 << 20, sizeof(*refs));
	int rc;

	for (*count = 0;; ++*count) {
		pp_read_enter(&t);
		rc = pp_alloc(&t, bytes, 1, &refs[*count]);
		if (!rc)
			pp_alloc_live(&t, refs[*count], pp_gen_of(&region, refs[*count]));
		pp_read_leave(&t);
		if (rc)
			break;
	}
	cr_assert_eq(rc, PPDB_FULL);
	return refs;
}

static void retire(pp_ref ref)
{
	pp_read_enter(&t);
	cr_assert(pp_retire(&t, ref, pp_gen_of(&region, ref)));
	pp_read_leave(&t);
}

Test(alloc, full_arena_keeps_a_reserve_for_deletes)
{
	unsigned count, deletes = 0;
	pp_ref *refs = fill(100, &count), ref;
	struct pp_account a = arena_account(&region);

	cr_assert_gt(count, MEMORY / 120 * 7 / 10);
	cr_assert_gt(a.free_page_bytes, 0, "the reserve");
	for (unsigned i = 0; i < 100; i++) /* a delete, then a put that must not eat from what the delete took */
		for (unsigned k = 0; k < 2; k++) {
			pp_ref tomb, leaf;
			int rc;

			pp_read_enter(&t);
			t.reserve = k == 0;
			rc = pp_alloc(&t, 60, 1, &tomb);
			if (!rc && !(rc = pp_alloc(&t, 1200, 1, &leaf))) {
				deletes++;
				pp_alloc_live(&t, tomb, pp_gen_of(&region, tomb));
				pp_alloc_live(&t, leaf, pp_gen_of(&region, leaf));
				pp_retire(&t, leaf, pp_gen_of(&region, leaf));
			}
			t.reserve = false;
			cr_assert_eq(rc, k == 0 ? 0 : PPDB_FULL, "%u: %s", i, pp_detail_get());
			pp_read_leave(&t);
		}
	cr_assert_eq(deletes, 100);
	for (unsigned i = 0; i < count; i += 2)
		retire(refs[i]);
	arena_round(&region);
	for (unsigned i = 0; i < count / 2 * 9 / 10; i++) {
		pp_read_enter(&t);
		ref = make_live(&t, 100);
		pp_read_leave(&t);
		cr_assert(ref);
	}
	free(refs);
}

Test(alloc, what_is_freed_serves_other_classes_in_the_end)
{
	unsigned count, again;
	pp_ref *refs = fill(100, &count), *more;

	for (unsigned i = 0; i < count; i++)
		retire(refs[i]);
	pp_alloc_release(&t);
	arena_round(&region);
	arena_sweep(&keeper);
	arena_round(&region);
	more = fill(5000, &again); /* turns the empty pages free by itself */
	cr_assert_gt((uint64_t)again * 5000, (uint64_t)count * 100 * 8 / 10, "%u of 100, then %u of 5000", count, again);
	free(refs);
	free(more);
}

Test(alloc, full_arena_and_large)
{
	unsigned count;
	pp_ref *refs = fill(1 << 20, &count), ref;

	cr_assert_gt(count, 40);
	pp_read_enter(&t);
	cr_assert_eq(pp_alloc(&t, 1 << 20, 1, &ref), PPDB_FULL);
	pp_read_leave(&t);
	retire(refs[3]);
	arena_round(&region);
	pp_read_enter(&t);
	must_alloc(&t, 1 << 20);
	pp_read_leave(&t);
	free(refs);
}

/* ---- threads ---------------------------------------------------------------------------------------------------- */

static pp_a32 stop, wrong;
static pp_a64 *cells;

static uint64_t size_of(uint64_t seed)
{
	uint64_t kind = seed % 64;

	return 16 + (kind == 0 ? seed / 64 % 150000 : kind < 8 ? seed / 64 % 5000 : seed / 64 % 300);
}

/* The first word is the size, the rest a pattern of the reference: two owners of the same bytes show. */
static void mark(pp_ref ref, uint64_t bytes)
{
	uint64_t *p = pp_at(&region, ref);

	for (uint64_t i = 1; i < bytes / 8; i += i < 40 ? 1 : 97)
		p[i] = ref ^ i;
	p[0] = bytes;
}

static void verify(pp_ref ref)
{
	uint64_t *p = pp_at(&region, ref), bytes = p[0];

	for (uint64_t i = 1; i < bytes / 8; i += i < 40 ? 1 : 97)
		if (p[i] != (ref ^ i))
			pp_store_seq(&wrong, 1);
}

/* Each cell's block belongs to whoever swaps it out: so nearly all blocks are freed by another thread than their allocator. */
static void *worker(void *arg)
{
	uint64_t seed = (uint64_t)(uintptr_t)arg * 1234567 + 1, lives = 0;
	struct pp_thread own;

	while (!pp_load_acq(&stop)) {
		if (pp_slot_claim(&region, 0, &own)) {
			sched_yield();
			continue;
		}
		for (lives = 0; lives < 3000 && !pp_load_acq(&stop); lives++) {
			uint64_t bytes = size_of(arena_random(&seed)), old;
			pp_ref ref;

			pp_read_enter(&own);
			if (!pp_alloc(&own, bytes, 1, &ref)) {
				mark(ref, bytes);
				if (arena_random(&seed) % 8) {
					old = pp_swap_seq(&cells[arena_random(&seed) % CELLS], ref);
					pp_alloc_live(&own, ref, pp_gen_of(&region, ref));
				} else {
					old = 0;
					verify(ref);
					pp_alloc_cancel(&own, ref);
				}
				if (old) {
					verify(old);
					pp_retire(&own, old, pp_gen_of(&region, old));
				}
			}
			pp_read_leave(&own);
		}
		pp_slot_leave(&own);
	}
	return NULL;
}

Test(alloc, threads_free_each_others_blocks)
{
	uint64_t end = pp_deadline_ns(1500 * HELP_MS), cursor = 0;
	pthread_t id[4];
	struct pp_account a;
	unsigned linked = 0;

	cells = region.engine;
	for (unsigned i = 0; i < 4; i++)
		cr_assert_eq(pthread_create(&id[i], NULL, worker, (void *)(uintptr_t)(i + 1)), 0);
	while (pp_now_ns() < end && !pp_load_acq(&wrong)) {
		arena_round(&region);
		pp_safe_refresh(&region, &keeper.safe);
		pp_alloc_sweep(&keeper, &keeper.safe, &cursor, 128);
		for (unsigned i = 2; i < 64; i++)
			pp_slot_free(&region, i, NULL);
		sched_yield();
	}
	pp_store_seq(&stop, 1);
	for (unsigned i = 0; i < 4; i++)
		pthread_join(id[i], NULL);
	cr_assert_eq(pp_load_acq(&wrong), 0, "a block had two owners");
	arena_settle(&keeper);
	a = arena_account(&region);
	for (unsigned i = 0; i < CELLS; i++) {
		uint64_t ref = pp_load_acq(&cells[i]);

		linked += !!ref;
		if (ref)
			verify(ref);
	}
	cr_assert_eq(pp_load_acq(&wrong), 0);
	cr_assert_eq(a.blocks_live, linked);
	cr_assert_eq(a.blocks_private, 0);
	cr_assert_eq(a.blocks_limbo, 0);
	cr_assert_eq(a.private_bytes, 0);
}
