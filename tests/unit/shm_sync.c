/* shm_sync.c - stripes in both modes, theft from the dead and the stopped, crash-safe references, back-off. */
#include "tests/unit/shm_help.h"

#include "shm/backoff.h"
#include "shm/sync.h"

#include <pthread.h>

static struct pp_region region;
static struct pp_thread one, two;

static void setup(void)
{
	help_create(&region, PP_SYNC_MUTEX, 0);
	help_thread(&region, 0, 0, getpid(), &one);
	help_thread(&region, 1, 0, getpid(), &two);
}

static void teardown(void)
{
	help_destroy(&region);
}

TestSuite(sync, .init = setup, .fini = teardown, .timeout = 60);

Test(sync, lock_and_unlock)
{
	struct pp_stripe_info info;

	cr_assert(pp_stripe_lock(&one, 3));
	pp_stripe_look(&region, 3, &info);
	cr_assert_gt(info.held_ns, 0);
	cr_assert_eq(info.slot, 0);
	cr_assert(!pp_stripe_lock(&one, 3), "it has it already");
	cr_assert(pp_stripe_lock(&two, 4));
	pp_stripe_unlock(&two, 3);
	cr_assert_neq(pp_load_acq(&region.stripes[3].word), 0, "only the owner unlocks");
	pp_stripe_unlock(&one, 3);
	pp_stripe_unlock(&two, 4);
	cr_assert_eq(pp_load_acq(&region.stripes[3].word), 0);
	pp_stripes_total(&region, &info);
	cr_assert_eq(info.acquired, 2);
	cr_assert_eq(info.contended, 0);
	cr_assert_eq(info.held_ns, 0);
}

Test(sync, lock_free_mode_does_nothing)
{
	uint32_t stripes[] = { 1, 2 };

	region.fixed.sync_mode = PP_SYNC_LOCKFREE;
	cr_assert(!pp_stripe_lock(&one, 1));
	cr_assert_eq(pp_stripes_lock(&one, stripes, 2), 0);
	cr_assert_eq(pp_load_acq(&region.stripes[1].word), 0);
	pp_stripe_unlock(&one, 1);
}

Test(sync, hashes_spread_over_all_stripes)
{
	unsigned hits[8] = { 0 };

	for (uint64_t i = 1; i <= 8000; i++)
		hits[pp_stripe_of(&region, i * UINT64_C(0x9e3779b97f4a7c15))]++;
	for (int i = 0; i < 8; i++)
		cr_assert(hits[i] > 700 && hits[i] < 1300);
	cr_assert_eq(pp_stripe_of(&region, UINT64_MAX), 7);
}

Test(sync, several_in_order_without_doubles)
{
	uint32_t stripes[] = { 5, 1, 5, 7, 1, 2 };
	unsigned held;

	cr_assert(pp_stripe_lock(&one, 2));
	held = pp_stripes_lock(&one, stripes, 6);
	cr_assert_eq(held, 3, "1, 5, 7; 2 was held before");
	cr_assert(stripes[0] == 1 && stripes[1] == 5 && stripes[2] == 7);
	pp_stripes_unlock(&one, stripes, held);
	cr_assert_eq(pp_load_acq(&region.stripes[5].word), 0);
	cr_assert_neq(pp_load_acq(&region.stripes[2].word), 0);
	pp_stripe_unlock(&one, 2);
}

static pp_a64 guarded; /* not a plain word: a theft lets two in, by design */

static void *count_up(void *arg)
{
	struct pp_thread *t = arg;

	for (int i = 0; i < 20000; i++) {
		bool taken = pp_stripe_lock(t, 0);

		pp_stat_add(&guarded, 1);
		if (taken)
			pp_stripe_unlock(t, 0);
	}
	return NULL;
}

Test(sync, threads_are_queued)
{
	struct pp_thread t[4];
	pthread_t id[4];
	struct pp_stripe_info info;
	uint64_t waits = 0;

	for (unsigned i = 0; i < 4; i++)
		help_thread(&region, 2 + i, 0, getpid(), &t[i]);
	for (unsigned i = 0; i < 4; i++)
		pthread_create(&id[i], NULL, count_up, &t[i]);
	for (unsigned i = 0; i < 4; i++)
		pthread_join(id[i], NULL);
	pp_stripe_look(&region, 0, &info);
	for (unsigned i = 0; i < 4; i++)
		waits += pp_load_rlx(&t[i].slot->count.lock_waits);
	/* a thread that got no cpu for PP_STEAL_NS was robbed: then the counts need not be exact, by design */
	if (!info.stolen) {
		cr_assert_eq(pp_load_rlx(&guarded), 80000);
		cr_assert_eq(info.acquired, 80000);
		cr_assert_eq(info.contended, waits);
	}
	cr_assert_eq(info.held_ns, 0);
	cr_assert_eq(pp_load_acq(&region.stripes[0].waiters), 0);
}

/* A child locks stripe 0 and then stops or dies; returns its pid once it has the lock. */
static pid_t child_with_lock(int fate)
{
	pid_t child = fork();

	if (!child) {
		help_thread(&region, 9, 3, getpid(), &two);
		pp_stripe_lock(&two, 0);
		if (fate)
			kill(getpid(), fate);
		pp_stripe_unlock(&two, 0);
		_exit(0);
	}
	cr_assert(help_eventually(pp_load_acq(&region.stripes[0].word) != 0));
	return child;
}

Test(sync, a_dead_owner_is_robbed_at_once)
{
	pid_t child = child_with_lock(SIGKILL);

	cr_assert_eq(help_join(child), -SIGKILL);
	cr_assert(pp_stripe_lock(&one, 0));
	cr_assert_eq(pp_load_rlx(&region.stripes[0].stolen), 1);
	pp_stripe_unlock(&one, 0);
	cr_assert_eq(pp_load_acq(&region.stripes[0].word), 0);
}

Test(sync, an_owner_whose_slot_was_reaped_is_robbed)
{
	cr_assert(pp_stripe_lock(&two, 0));
	pp_store_rel(&two.slot->owner, PP_SLOT_OWNER(PP_SLOT_LEAVING, 0, 1));
	cr_assert(pp_stripe_lock(&one, 0));
	pp_stripe_unlock(&one, 0);
}

Test(sync, a_damaged_word_is_taken_over)
{
	pp_store_rel(&region.stripes[0].word, UINT64_C(0x7fff123456789abc));
	cr_assert(pp_stripe_lock(&one, 0));
	pp_stripe_unlock(&one, 0);
	cr_assert_eq(pp_load_acq(&region.stripes[0].word), 0);
}

Test(sync, a_stopped_owner_is_robbed_after_a_while_and_its_release_frees_nothing)
{
	pid_t child = child_with_lock(SIGSTOP);
	uint64_t start = pp_now_ns();

	cr_assert(pp_stripe_lock(&one, 0));
	cr_assert_geq(pp_now_ns() - start, PP_STEAL_NS);
	cr_assert_geq(pp_load_rlx(&region.stripes[0].stolen), 1);
	kill(child, SIGCONT);
	cr_assert_eq(help_join(child), 0);
	cr_assert_neq(pp_load_acq(&region.stripes[0].word), 0, "still ours");
	pp_stripe_unlock(&one, 0);
	cr_assert_eq(pp_load_acq(&region.stripes[0].word), 0);
}

/* Processes lock and are killed in the middle; the rest go on. */
Test(sync, killed_owners_hold_nobody_up)
{
	unsigned seed = (unsigned)getpid();

	for (int round = 0; round < 30; round++) {
		pid_t child = fork();

		if (!child) {
			help_thread(&region, 9, 3, getpid(), &two);
			for (unsigned i = 0;; i++) {
				pp_stripe_lock(&two, i % 2);
				pp_stripe_unlock(&two, i % 2);
			}
		}
		usleep(500 + rand_r(&seed) % 1000);
		kill(child, SIGKILL);
		help_join(child);
		for (unsigned i = 0; i < 2; i++) {
			pp_stripe_lock(&one, i);
			pp_stripe_unlock(&one, i);
			cr_assert_eq(pp_load_acq(&region.stripes[i].word), 0);
		}
	}
}

Test(sync, references_are_counted_and_dropped)
{
	pp_a64 link = 0;
	pp_ref ref = 0;

	cr_assert_eq(pp_crashref_hold(&one, &link, &ref), PPDB_NOTFOUND);
	pp_store_rel(&link, UINT64_C(0xabc) << PP_REF_BITS | 4096);
	cr_assert_eq(pp_crashref_hold(&one, &link, &ref), 0);
	cr_assert_eq(ref, 4096);
	cr_assert_eq(pp_crashref_hold(&two, &link, &ref), 0);
	cr_assert_eq(pp_crashref_hold(&two, &link, &ref), 0);
	cr_assert_eq(pp_crashref_count(&region, 4096), 3);
	cr_assert_eq(pp_crashref_count(&region, 8192), 0);
	pp_crashref_drop(&two, 4096);
	pp_crashref_drop(&two, 8192);
	cr_assert_eq(pp_crashref_count(&region, 4096), 2);
	for (int i = 0; i < PP_CRASHREFS - 1; i++)
		cr_assert_eq(pp_crashref_hold(&one, &link, &ref), 0);
	cr_assert_eq(pp_crashref_hold(&one, &link, &ref), -ENOSPC);
}

Test(sync, references_vanish_with_their_holder)
{
	pp_a64 link = 4096;
	pp_ref ref;

	cr_assert_eq(pp_crashref_hold(&two, &link, &ref), 0);
	pp_store_rel(&two.slot->owner, PP_SLOT_OWNER(PP_SLOT_LEAVING, 0, 1));
	cr_assert_eq(pp_crashref_count(&region, 4096), 0);
	help_thread(&region, 1, 0, getpid(), &two);
	cr_assert_eq(pp_crashref_count(&region, 4096), 0, "the next owner of the slot does not inherit it");
	for (int i = 0; i < PP_CRASHREFS; i++)
		cr_assert_eq(pp_crashref_hold(&two, &link, &ref), 0, "and can use every entry");
}

static pp_a64 shared_link, destroyed, violations;

/* Holds, looks whether the object is still there, drops. */
static void *hold_and_look(void *arg)
{
	struct pp_thread *t = arg;

	for (int i = 0; i < 20000; i++) {
		pp_ref ref;

		if (pp_crashref_hold(t, &shared_link, &ref))
			continue;
		if (pp_load_acq(&destroyed) >= ref)
			pp_add_rlx(&violations, 1);
		pp_crashref_drop(t, ref);
	}
	return NULL;
}

Test(sync, what_is_held_is_never_destroyed)
{
	struct pp_thread t[2];
	pthread_t id[2];

	pp_store_rel(&shared_link, 8);
	for (unsigned i = 0; i < 2; i++)
		help_thread(&region, 4 + i, 0, getpid(), &t[i]);
	for (unsigned i = 0; i < 2; i++)
		pthread_create(&id[i], NULL, hold_and_look, &t[i]);
	for (uint64_t old = 8; old < 8 * 2000; old += 8) {
		pp_swap_seq(&shared_link, old + 8);
		while (pp_crashref_count(&region, old))
			pp_pause();
		pp_store_rel(&destroyed, old);
	}
	for (unsigned i = 0; i < 2; i++)
		pthread_join(id[i], NULL);
	cr_assert_eq(pp_load_rlx(&violations), 0);
}

Test(sync, back_off_grows_to_its_bound)
{
	struct pp_backoff b;

	region.fixed.backoff_max = 100;
	pp_backoff_init(&b, &one);
	for (int i = 0; i < 20; i++)
		pp_backoff_wait(&b, &one);
	cr_assert_eq(b.limit, 100);
	cr_assert_eq(b.tries, 20);
	region.fixed.backoff_max = 1;
	pp_backoff_init(&b, &one);
	pp_backoff_wait(&b, &one);
	cr_assert_eq(b.limit, 1);
}
