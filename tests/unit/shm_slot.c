/* shm_slot.c - claiming slots until none is left, giving back, notes, and a claim that races with the closing of rings. */
#include "tests/unit/shm_arena.h"

#include <pthread.h>

#define SLOTS 16

static struct pp_region region;

static void setup(void)
{
	arena_create(&region, 32 << 20, SLOTS);
}

static void teardown(void)
{
	help_destroy(&region);
}

TestSuite(slot, .init = setup, .fini = teardown, .timeout = 60);

Test(slot, claim_leave_free)
{
	struct pp_thread t;
	static struct pp_stats sum;
	uint64_t gen;
	unsigned n;

	pp_store_rlx(&region.globals->open_epoch, 42);
	arena_claim(&region, 3, &t);
	n = t.index;
	gen = pp_slot_gen(pp_load_acq(&t.slot->owner));
	cr_assert_eq(pp_slot_state(pp_load_acq(&t.slot->owner)), PP_SLOT_CLAIMED);
	cr_assert_eq(pp_slot_proc(pp_load_acq(&t.slot->owner)), 3);
	cr_assert_eq(pp_tail_epoch(pp_load_acq(&t.slot->tail)), 42);
	cr_assert_eq(pp_load_acq(&t.slot->low), PP_IDLE);
	cr_assert_geq(pp_load_acq(&region.globals->slots_high), n + 1);
	pp_read_enter(&t);
	cr_assert_eq(pp_load_acq(&t.slot->low), pp_load_acq(&region.globals->era));
	pp_read_leave(&t);
	pp_stat_add(&t.slot->count.ops[2], 5);
	pp_stat_add(&t.slot->hist[2][9], 6);
	pp_stat_add(&t.slot->usage[1], 7);
	pp_store_rlx(&region.slots[n].tail, PP_TAIL(43, 17));
	pp_slot_leave(&t);
	cr_assert_eq(pp_slot_state(pp_load_acq(&region.slots[n].owner)), PP_SLOT_LEAVING);
	pp_slot_free(&region, n, &sum);
	cr_assert_eq(pp_slot_state(pp_load_acq(&region.slots[n].owner)), PP_SLOT_FREE);
	cr_assert_eq(pp_load_acq(&region.slots[n].tail), PP_TAIL(PP_TAIL_FREE, 17), "the index goes on");
	cr_assert_eq(pp_load_rlx(&sum.count.ops[2]), 5);
	cr_assert_eq(pp_load_rlx(&sum.hist[2][9]), 6);
	cr_assert_eq(pp_load_rlx(&sum.usage[1]), 7);
	cr_assert_eq(pp_load_rlx(&region.slots[n].count.ops[2]), 0);
	cr_assert_eq(pp_load_rlx(&region.slots[n].hist[2][9]), 0);
	cr_assert_eq(pp_load_rlx(&region.slots[n].usage[1]), 0);
	arena_claim(&region, 3, &t);
	cr_assert_eq(t.index, n);
	cr_assert_eq(pp_slot_gen(pp_load_acq(&t.slot->owner)), gen + 1);
}

Test(slot, a_slot_that_is_not_leaving_is_not_freed)
{
	struct pp_thread t;

	arena_claim(&region, 0, &t);
	pp_slot_free(&region, t.index, NULL);
	cr_assert_eq(pp_slot_state(pp_load_acq(&t.slot->owner)), PP_SLOT_CLAIMED);
}

Test(slot, exhaustion)
{
	struct pp_thread t[SLOTS + 1];
	unsigned n;

	for (unsigned i = 0; i < SLOTS; i++)
		arena_claim(&region, 0, &t[i]);
	cr_assert_eq(pp_slot_claim(&region, 0, &t[SLOTS]), -ENOSPC);
	cr_assert(strstr(pp_detail_get(), "--slots"), "%s", pp_detail_get());
	n = t[5].index;
	pp_slot_leave(&t[5]);
	cr_assert_eq(pp_slot_claim(&region, 0, &t[SLOTS]), -ENOSPC, "leaving is not free");
	pp_slot_free(&region, n, NULL);
	arena_claim(&region, 0, &t[SLOTS]);
	cr_assert_eq(t[SLOTS].index, n);
}

Test(slot, read_only_slots)
{
	static struct pp_slot own[2];
	struct pp_thread a, b, c;

	cr_assert_eq(pp_slot_claim_readonly(&region, own, 2, &a), 0);
	cr_assert_eq(pp_slot_claim_readonly(&region, own, 2, &b), 0);
	cr_assert_eq(pp_slot_claim_readonly(&region, own, 2, &c), -ENOSPC);
	cr_assert(a.readonly);
	cr_assert_eq(a.index, PP_MAX_SLOTS);
	pp_slot_leave(&a);
	cr_assert_eq(pp_slot_claim_readonly(&region, own, 2, &c), 0);
}

Test(slot, notes)
{
	struct pp_thread t;

	arena_claim(&region, 0, &t);
	for (unsigned i = 0; i < PP_NOTES; i++)
		pp_note(&t, 8 * (i + 1), i, 100 + i);
	for (unsigned i = 0; i < PP_NOTES; i++) {
		cr_assert_eq(pp_load_acq(&t.slot->note[i].ref), 8 * (i + 1));
		cr_assert_eq(pp_load_acq(&t.slot->note[i].what), i);
		cr_assert_eq(pp_load_acq(&t.slot->note[i].where), 100 + i);
	}
	pp_notes_clear(&t);
	for (unsigned i = 0; i < PP_NOTES; i++)
		cr_assert_eq(pp_load_acq(&t.slot->note[i].ref), 0);
}

/* ---- claim against close ---------------------------------------------------------------------------------------- */

static pp_a32 stop, wrong;
static pp_a64 claims;

/* The claimant's ring is never open at an epoch that was closed before: its tail is at least the last epoch announced as closed. */
static void *claimer(void *arg)
{
	struct pp_thread t;

	(void)arg;
	while (!pp_load_acq(&stop)) {
		uint64_t closed = pp_load_seq(&region.globals->settled_epoch);

		if (pp_slot_claim(&region, 0, &t))
			continue;
		if (pp_tail_epoch(pp_load_seq(&t.slot->tail)) <= closed)
			pp_store_seq(&wrong, 1);
		pp_add_rlx(&claims, 1);
		pp_slot_leave(&t);
	}
	return NULL;
}

/* As the daemon does it: bump, fence, owners and tails; a claimed slot's ring is closed even if it is not open yet. */
static void close_all(uint64_t next)
{
	pp_fence_seq();
	for (unsigned i = 0; i < SLOTS; i++) {
		uint64_t owner = pp_load_seq(&region.slots[i].owner), tail = pp_load_seq(&region.slots[i].tail);

		if (pp_slot_state(owner) == PP_SLOT_FREE)
			continue;
		while ((pp_tail_epoch(tail) < next || pp_tail_epoch(tail) == PP_TAIL_FREE) &&
		       !pp_cas_seq(&region.slots[i].tail, &tail, PP_TAIL(next, pp_tail_index(tail))))
			;
	}
}

Test(slot, claim_against_close)
{
	pthread_t id[3];
	uint64_t end = pp_deadline_ns(500 * HELP_MS);

	for (unsigned i = 0; i < 3; i++)
		cr_assert_eq(pthread_create(&id[i], NULL, claimer, NULL), 0);
	while (pp_now_ns() < end && !pp_load_acq(&wrong)) {
		uint64_t e = pp_add_seq(&region.globals->open_epoch, 1);

		close_all(e + 1);
		for (unsigned i = 0; i < SLOTS; i++) {
			uint64_t tail = pp_load_seq(&region.slots[i].tail);

			if (pp_slot_state(pp_load_seq(&region.slots[i].owner)) == PP_SLOT_CLAIMED && pp_tail_epoch(tail) <= e &&
			    pp_tail_epoch(pp_load_seq(&region.slots[i].tail)) <= e)
				pp_store_seq(&wrong, 2);
			pp_slot_free(&region, i, NULL);
		}
		pp_store_seq(&region.globals->settled_epoch, e);
	}
	pp_store_seq(&stop, 1);
	for (unsigned i = 0; i < 3; i++)
		pthread_join(id[i], NULL);
	cr_assert_eq(pp_load_acq(&wrong), 0, "a ring was open at a closed epoch (%u)", pp_load_acq(&wrong));
	cr_assert_gt(pp_load_rlx(&claims), 10);
}
