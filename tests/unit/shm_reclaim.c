/* shm_reclaim.c - intervals: scan, announce, judge; what a stopped reader pins; readers against writers that free. */
#include "tests/unit/shm_arena.h"

#include <pthread.h>

#define SLOTS 16

static struct pp_region region;
static struct pp_thread daemon_thread;
static struct pp_scan scan;

static void setup(void)
{
	arena_create(&region, 64 << 20, SLOTS);
	arena_claim(&region, 0, &daemon_thread);
}

static void teardown(void)
{
	help_destroy(&region);
}

TestSuite(reclaim, .init = setup, .fini = teardown, .timeout = 60);

static void publish(unsigned slot, uint64_t low, uint64_t high)
{
	pp_store_rel(&region.slots[slot].owner, PP_SLOT_OWNER(PP_SLOT_CLAIMED, 0, 1));
	pp_store_rel(&region.slots[slot].high, high);
	pp_store_rel(&region.slots[slot].low, low);
	if (pp_load_acq(&region.globals->slots_high) <= slot)
		pp_store_rel(&region.globals->slots_high, slot + 1);
}

Test(reclaim, nothing_is_safe_before_the_first_announcement)
{
	struct pp_safe safe = {0};

	cr_assert_eq(pp_safe_refresh(&region, &safe), 0);
	cr_assert(!pp_safe_block(&safe, 0, 0));
	cr_assert(!pp_safe_version(&safe, 1, 2));
	pp_safe_clear(&safe);
}

Test(reclaim, scan_merges_what_touches)
{
	pp_store_rlx(&region.globals->era, 100);
	publish(3, 10, 12);
	publish(4, 13, 20);
	publish(5, 22, 30);
	publish(6, 11, 11);
	publish(7, PP_IDLE, 50);
	pp_store_rlx(&region.slots[8].low, 5); /* never claimed */
	cr_assert_eq(pp_reclaim_scan(&region, NULL, 0, &scan), 0);
	cr_assert_eq(scan.era, 101);
	cr_assert_eq(scan.count, 2);
	cr_assert_eq(scan.interval[0].low, 10);
	cr_assert_eq(scan.interval[0].high, 20);
	cr_assert_eq(scan.interval[1].low, 22);
	cr_assert_eq(scan.interval[1].high, 30);
}

Test(reclaim, hostile_slots_are_clamped)
{
	static struct pp_slot own[4];
	struct pp_extra_slots x[2] = {{.slots = own, .count = 4, .clamp_low = 50, .clamp_high = 90},
				      {.slots = own, .count = 4, .clamp_low = 95, .clamp_high = 97, .pin_all = true}};

	pp_store_rlx(&region.globals->era, 100);
	for (unsigned i = 0; i < 3; i++)
		pp_store_rlx(&own[i].owner, PP_SLOT_OWNER(PP_SLOT_CLAIMED, 0, 1));
	pp_store_rlx(&own[0].low, 1); /* older than it may be */
	pp_store_rlx(&own[0].high, 52);
	pp_store_rlx(&own[1].low, 80); /* ends before it begins */
	pp_store_rlx(&own[1].high, 3);
	pp_store_rlx(&own[2].low, 85);
	pp_store_rlx(&own[2].high, UINT64_MAX);
	cr_assert_eq(pp_reclaim_scan(&region, x, 2, &scan), 0);
	cr_assert_eq(scan.count, 4);
	cr_assert_eq(scan.interval[0].low, 50);
	cr_assert_eq(scan.interval[0].high, 52);
	cr_assert_eq(scan.interval[1].low, 80);
	cr_assert_eq(scan.interval[1].high, 80);
	cr_assert_eq(scan.interval[2].low, 85);
	cr_assert_eq(scan.interval[2].high, 90);
	cr_assert_eq(scan.interval[3].low, 95);
	cr_assert_eq(scan.interval[3].high, 101);
}

Test(reclaim, more_gaps_than_fit_protect_more_not_less)
{
	static struct pp_slot many[PP_MAX_SLOTS + 100];
	struct pp_extra_slots x = {.slots = many, .count = PP_MAX_SLOTS + 100, .clamp_low = 1, .clamp_high = UINT32_MAX};
	struct pp_safe safe = {0};

	pp_store_rlx(&region.globals->era, 100000);
	for (unsigned i = 0; i < PP_MAX_SLOTS + 100; i++) {
		pp_store_rlx(&many[i].owner, PP_SLOT_OWNER(PP_SLOT_CLAIMED, 0, 1));
		pp_store_rlx(&many[i].low, 3 * (i + 1));
		pp_store_rlx(&many[i].high, 3 * (i + 1));
	}
	pp_reclaim_scan(&region, &x, 1, &scan);
	pp_reclaim_announce(&region, &scan, 0, NULL, 0);
	cr_assert_eq(pp_safe_refresh(&region, &safe), 1);
	for (unsigned i = 0; i < PP_MAX_SLOTS + 100; i++)
		cr_assert(!pp_safe_block(&safe, 3 * (i + 1), 3 * (i + 1)));
	cr_assert(pp_safe_block(&safe, 1, 2));
	cr_assert(pp_safe_block(&safe, 90000, 90001));
	pp_safe_clear(&safe);
}

/* ---- judging against the definition ------------------------------------------------------------------------------- */

static bool plain_block(const struct pp_safe *s, uint64_t birth, uint64_t retired)
{
	for (unsigned i = 0; i < s->intervals; i++)
		if (s->interval[i].low <= retired && s->interval[i].high >= birth)
			return false;
	return retired < s->era;
}

static bool plain_version(const struct pp_safe *s, uint64_t tv, uint64_t tw)
{
	for (unsigned i = 0; i < s->held_count; i++)
		if (s->held[i] >= tv && s->held[i] < tw)
			return false;
	return tw <= s->prune_floor;
}

Test(reclaim, judgement_is_the_definition)
{
	uint64_t seed = arena_seed("reclaim/judgement*");
	struct pp_safe safe = {0};

	for (unsigned round = 0; round < 200; round++) {
		uint64_t held[40], nheld = arena_random(&seed) % 40, at = 0;

		scan.count = 0;
		scan.era = 1000;
		for (uint64_t e = arena_random(&seed) % 50; e < 1010 && scan.count < 100; e += 2 + arena_random(&seed) % 60) {
			uint64_t length = arena_random(&seed) % 20;

			scan.interval[scan.count++] = (struct pp_interval){e, e + length};
			e += length;
		}
		for (unsigned i = 0; i < nheld; i++)
			held[i] = at += 1 + arena_random(&seed) % 20;
		pp_reclaim_announce(&region, &scan, 500, held, (unsigned)nheld);
		cr_assert_eq(pp_safe_refresh(&region, &safe), 1);
		cr_assert_eq(pp_safe_refresh(&region, &safe), 0);
		for (unsigned i = 0; i < 500; i++) {
			uint64_t birth = arena_random(&seed) % 1010, retired = birth + arena_random(&seed) % 40;

			cr_assert_eq(pp_safe_block(&safe, birth, retired), plain_block(&safe, birth, retired));
			cr_assert_eq(pp_safe_version(&safe, birth / 2, retired / 2), plain_version(&safe, birth / 2, retired / 2));
		}
	}
	pp_safe_clear(&safe);
}

/* ---- announcing against refreshing ------------------------------------------------------------------------------- */

static pp_a32 stop, wrong;

/* Every announcement repeats one number everywhere: a mixture of two shows. */
static void *refresher(void *arg)
{
	struct pp_safe safe = {0};

	(void)arg;
	while (!pp_load_acq(&stop)) {
		if (pp_safe_refresh(&region, &safe) != 1)
			continue;
		for (unsigned i = 0; i < safe.intervals; i++)
			if (safe.interval[i].low != safe.era || safe.interval[i].high != safe.era)
				pp_store_seq(&wrong, 1);
		for (unsigned i = 0; i < safe.held_count; i++)
			if (safe.held[i] != safe.era)
				pp_store_seq(&wrong, 2);
		if (safe.intervals != safe.era % 50 || safe.prune_floor != safe.era)
			pp_store_seq(&wrong, 3);
	}
	pp_safe_clear(&safe);
	return NULL;
}

Test(reclaim, copies_are_never_torn)
{
	uint64_t end = pp_deadline_ns(300 * HELP_MS), held[50];
	pthread_t id[2];

	for (unsigned i = 0; i < 2; i++)
		cr_assert_eq(pthread_create(&id[i], NULL, refresher, NULL), 0);
	for (uint64_t n = 1; pp_now_ns() < end; n++) {
		scan.era = n;
		scan.count = n % 50;
		for (unsigned i = 0; i < scan.count; i++) {
			scan.interval[i] = (struct pp_interval){n, n};
			held[i] = n;
		}
		pp_reclaim_announce(&region, &scan, n, held, scan.count);
	}
	pp_store_seq(&stop, 1);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(id[i], NULL);
	cr_assert_eq(pp_load_acq(&wrong), 0, "a torn copy (%u)", pp_load_acq(&wrong));
}

/* ---- what a stopped reader pins ----------------------------------------------------------------------------------- */

Test(reclaim, a_stopped_reader_pins_only_what_overlaps)
{
	struct pp_thread writer, reader;
	pp_ref before, during, after;
	uint64_t gens[3];

	arena_claim(&region, 0, &writer);
	arena_claim(&region, 0, &reader);
	pp_read_enter(&writer);
	cr_assert_eq(pp_alloc(&writer, 100, 1, &before), 0);
	cr_assert_eq(pp_alloc(&writer, 100, 1, &during), 0);
	pp_alloc_live(&writer, before, pp_gen_of(&region, before));
	pp_alloc_live(&writer, during, pp_gen_of(&region, during));
	gens[0] = pp_gen_of(&region, before);
	gens[1] = pp_gen_of(&region, during);
	cr_assert(pp_retire(&writer, before, gens[0]));
	pp_read_leave(&writer);
	arena_round(&region);
	pp_read_enter(&reader); /* and stops for good */
	arena_round(&region);
	arena_round(&region);
	pp_read_enter(&writer);
	cr_assert(pp_retire(&writer, during, gens[1]), "alive when the reader began");
	cr_assert_eq(pp_alloc(&writer, 100, 1, &after), 0);
	gens[2] = pp_gen_of(&region, after);
	pp_alloc_live(&writer, after, gens[2]);
	cr_assert(pp_retire(&writer, after, gens[2]));
	pp_read_leave(&writer);
	pp_alloc_release(&writer);
	arena_round(&region);
	arena_sweep(&daemon_thread);
	cr_assert_neq(pp_gen_of(&region, before), gens[0], "retired before the reader came");
	cr_assert_eq(pp_gen_of(&region, during), gens[1], "pinned");
	cr_assert_neq(pp_gen_of(&region, after), gens[2], "born after the reader's last look");
	pp_read_leave(&reader);
	arena_settle(&daemon_thread);
	cr_assert_neq(pp_gen_of(&region, during), gens[1]);
}

/* ---- readers against writers that free ---------------------------------------------------------------------------- */

#define CELLS 64
#define WORDS 12

static pp_a64 *cells, *hints; /* a hint outlives what it names */

static void *swapper(void *arg)
{
	uint64_t seed = (uint64_t)(uintptr_t)arg;
	struct pp_thread t;

	if (pp_slot_claim(&region, 0, &t))
		return NULL;
	while (!pp_load_acq(&stop)) {
		pp_a64 *cell = &cells[arena_random(&seed) % CELLS];
		pp_ref fresh;
		uint64_t old;

		pp_read_enter(&t);
		if (pp_alloc(&t, WORDS * 8, 1, &fresh)) {
			pp_read_leave(&t);
			sched_yield();
			continue;
		}
		for (unsigned i = 0; i < WORDS; i++)
			pp_store_rlx((pp_a64 *)pp_at(&region, fresh) + i, fresh); /* ordered by the CAS */
		old = pp_protect(&t, cell);
		if (pp_cas_seq(cell, &old, fresh)) {
			pp_alloc_live(&t, fresh, pp_gen_of(&region, fresh));
			pp_store_rel(&hints[cell - cells], fresh | pp_gen_of(&region, fresh) << PP_REF_BITS);
			if (arena_random(&seed) % 64 == 0)
				sched_yield(); /* unlinked, LIVE still */
			if (old)
				pp_retire(&t, old, pp_gen_of(&region, old));
		} else {
			for (unsigned i = 0; i < WORDS; i++)
				pp_store_rlx((pp_a64 *)pp_at(&region, fresh) + i, 0);
			pp_alloc_cancel(&t, fresh);
		}
		pp_read_leave(&t);
	}
	pp_slot_leave(&t);
	return NULL;
}

static void *looker(void *arg)
{
	uint64_t seed = (uint64_t)(uintptr_t)arg;
	struct pp_thread t;

	if (pp_slot_claim(&region, 0, &t))
		return NULL;
	while (!pp_load_acq(&stop)) {
		pp_read_enter(&t);
		for (unsigned n = 0; n < 20; n++) {
			uint64_t ref = pp_protect(&t, &cells[arena_random(&seed) % CELLS]);

			for (unsigned i = 0; ref && i < WORDS; i++)
				if (pp_load_rlx((pp_a64 *)pp_at(&region, ref) + i) != ref)
					pp_store_seq(&wrong, 1);
			if (ref && pp_block_state(pp_load_acq(&pp_block_at(&region, ref)->word)) == PP_BLOCK_FREE)
				pp_store_seq(&wrong, 2);
		}
		pp_read_leave(&t);
	}
	pp_slot_leave(&t);
	return NULL;
}

static void *hinter(void *arg)
{
	uint64_t seed = (uint64_t)(uintptr_t)arg;
	struct pp_thread t;

	if (pp_slot_claim(&region, 0, &t))
		return NULL;
	while (!pp_load_acq(&stop)) {
		uint64_t hint, ref, gen;

		pp_read_enter(&t);
		hint = pp_load_acq(&hints[arena_random(&seed) % CELLS]);
		ref = hint & PP_REF_MASK;
		gen = hint >> PP_REF_BITS;
		while (pp_era_moved(&t))
			;
		if (pp_hint_live(&t, ref, gen, PP_GEN_MASK, 1)) {
			if (arena_random(&seed) % 64 == 0)
				sched_yield();
			for (unsigned i = 0; i < WORDS; i++)
				if (pp_load_rlx((pp_a64 *)pp_at(&region, ref) + i) != ref)
					pp_store_seq(&wrong, 3);
			if (pp_gen_of(&region, ref) != gen)
				pp_store_seq(&wrong, 4);
		}
		pp_read_leave(&t);
	}
	pp_slot_leave(&t);
	return NULL;
}

Test(reclaim, no_reader_sees_freed_memory)
{
	uint64_t end = pp_deadline_ns(1000 * HELP_MS), cursor = 0, rounds = 0;
	pthread_t id[6];
	struct pp_account a;
	unsigned linked = 0;

	cells = region.engine;
	hints = cells + CELLS;
	for (unsigned i = 0; i < 6; i++)
		cr_assert_eq(pthread_create(&id[i], NULL, i < 3 ? swapper : i == 3 ? looker : hinter, (void *)(uintptr_t)(i + 77)), 0);
	for (; pp_now_ns() < end && !pp_load_acq(&wrong); rounds++) {
		arena_round(&region);
		pp_safe_refresh(&region, &daemon_thread.safe);
		pp_alloc_sweep(&daemon_thread, &daemon_thread.safe, &cursor, 64);
		if (rounds % 16 == 0)
			sched_yield();
	}
	pp_store_seq(&stop, 1);
	for (unsigned i = 0; i < 6; i++)
		pthread_join(id[i], NULL);
	cr_assert_eq(pp_load_acq(&wrong), 0, "freed under a reader (%u)", pp_load_acq(&wrong));
	arena_settle(&daemon_thread);
	a = arena_account(&region);
	for (unsigned i = 0; i < CELLS; i++)
		linked += !!pp_load_acq(&cells[i]);
	cr_assert_eq(a.blocks_live, linked);
	cr_assert_eq(a.blocks_private, 0);
	cr_assert_eq(a.blocks_limbo, 0);
}
