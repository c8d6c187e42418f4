/* shm_wait.c - waiting for durability, the daemon's bell, learned spinning; with threads and with processes that die. */
#include "tests/unit/shm_help.h"

#include "shm/wait.h"

#include <pthread.h>

static struct pp_region region;
static struct pp_thread thread;

static void setup(void)
{
	help_create(&region, 0, 0);
	help_thread(&region, 0, 0, getpid(), &thread);
	pp_store_rel(&region.header->daemon_start, pp_self_start());
	pp_store_rel(&region.header->daemon_pid, (uint32_t)getpid());
	pp_store_rel(&region.header->daemon_state, PP_DAEMON_RUNNING);
}

static void teardown(void)
{
	help_destroy(&region);
}

TestSuite(wait, .init = setup, .fini = teardown, .timeout = 60);

static void make_durable(uint64_t epoch)
{
	uint64_t from = pp_load_acq(&region.globals->durable_epoch);

	pp_store_rel(&region.globals->durable_epoch, epoch);
	pp_wake_durable(&region, from, epoch);
}

struct waiter {
	struct pp_thread thread;
	uint64_t epoch, timeout_ns, took_ns;
	int rc;
	pthread_t id;
};

static void *run_waiter(void *arg)
{
	struct waiter *w = arg;
	uint64_t start = pp_now_ns();

	w->rc = pp_wait_durable(&w->thread, w->epoch, w->timeout_ns);
	w->took_ns = pp_now_ns() - start;
	return NULL;
}

static void start_waiter(struct waiter *w, unsigned slot, uint64_t epoch, uint64_t timeout_ns)
{
	help_thread(&region, slot, 0, getpid(), &w->thread);
	w->epoch = epoch;
	w->timeout_ns = timeout_ns;
	pthread_create(&w->id, NULL, run_waiter, w);
}

Test(wait, what_is_durable_needs_no_wait)
{
	make_durable(7);
	cr_assert_eq(pp_wait_durable(&thread, 7, 0), 0);
	cr_assert_eq(pp_wait_durable(&thread, 3, PP_FOREVER), 0);
	cr_assert_eq(pp_load_rlx(&thread.slot->count.waits), 0);
}

Test(wait, times_out)
{
	uint64_t start = pp_now_ns();

	cr_assert_eq(pp_wait_durable(&thread, 1, 0), PPDB_TIMEOUT);
	cr_assert_eq(pp_wait_durable(&thread, 1, 30 * HELP_MS), PPDB_TIMEOUT);
	cr_assert_geq(pp_now_ns() - start, 30 * HELP_MS);
	cr_assert_eq(pp_load_acq(&thread.slot->wait_epoch), 0);
	cr_assert_eq(pp_load_rlx(&thread.slot->count.waits), 2);
}

Test(wait, many_waiters_wake_each_at_its_epoch)
{
	static struct waiter w[12];

	for (unsigned i = 0; i < 12; i++)
		start_waiter(&w[i], 1 + i, 100 + 20 * i, PP_FOREVER);
	for (unsigned i = 0; i < 12; i++)
		cr_assert(help_eventually(pp_load_acq(&w[i].thread.slot->wait_epoch) == w[i].epoch || w[i].rc));
	for (unsigned i = 0; i < 12; i++) {
		make_durable(100 + 20 * i);
		pthread_join(w[i].id, NULL);
		cr_assert_eq(w[i].rc, 0);
		if (i < 11)
			cr_assert_eq(pp_load_acq(&w[i + 1].thread.slot->wait_epoch), w[i + 1].epoch, "woke too early");
	}
}

Test(wait, nobody_waiting_costs_no_wake)
{
	cr_assert_eq(pp_wake_durable(&region, 0, 5), 0);
}

Test(wait, a_failed_log_ends_the_wait)
{
	struct waiter w = { 0 };

	start_waiter(&w, 1, 9, PP_FOREVER);
	cr_assert(help_eventually(pp_load_acq(&w.thread.slot->wait_epoch) == 9));
	pp_store_seq(&region.globals->failed, (uint32_t)-EIO);
	pp_wake_all(&region);
	pthread_join(w.id, NULL);
	cr_assert_eq(w.rc, -EIO);
	make_durable(9);
	cr_assert_eq(pp_wait_durable(&thread, 9, 0), 0, "what was durable before stays so");
}

Test(wait, a_stopped_daemon_ends_the_wait)
{
	struct waiter w = { 0 };

	start_waiter(&w, 1, 9, PP_FOREVER);
	pp_store_rel(&region.header->daemon_state, PP_DAEMON_STOPPED);
	pthread_join(w.id, NULL);
	cr_assert_eq(w.rc, PPDB_DAEMON_GONE);
}

Test(wait, a_killed_daemon_hangs_nobody)
{
	struct waiter w = { 0 };
	uint64_t start_ticks = 0;
	pid_t daemon = fork();

	if (!daemon)
		for (;;)
			pause();
	cr_assert_eq(pp_proc_start(daemon, &start_ticks), 0);
	pp_store_rel(&region.header->daemon_start, start_ticks);
	pp_store_rel(&region.header->daemon_pid, (uint32_t)daemon);
	start_waiter(&w, 1, 9, PP_FOREVER);
	help_nap(250);
	cr_assert_eq(pp_load_acq(&w.thread.slot->wait_epoch), 9, "waits while the daemon lives");
	kill(daemon, SIGKILL); /* stays a zombie: dead all the same */
	pthread_join(w.id, NULL);
	cr_assert_eq(w.rc, PPDB_DAEMON_GONE);
	help_join(daemon);
}

Test(wait, a_wake_that_never_came_is_survived)
{
	struct waiter w = { 0 };

	start_waiter(&w, 1, 9, PP_FOREVER);
	cr_assert(help_eventually(pp_load_acq(&w.thread.slot->wait_epoch) == 9));
	pp_store_rel(&region.globals->durable_epoch, 9); /* and the daemon dies before it wakes anybody */
	pthread_join(w.id, NULL);
	cr_assert_eq(w.rc, 0);
}

Test(wait, read_only_waiters_are_not_seen_and_poll)
{
	static struct pp_slot own;
	struct waiter w = { .epoch = 9, .timeout_ns = PP_FOREVER };

	w.thread = (struct pp_thread){ .region = &region, .slot = &own, .index = PP_MAX_SLOTS, .readonly = true };
	pthread_create(&w.id, NULL, run_waiter, &w);
	help_nap(20);
	pp_store_rel(&region.globals->durable_epoch, 9);
	pthread_join(w.id, NULL);
	cr_assert_eq(w.rc, 0);
}

/* Waiting processes are killed at random moments while epochs go on; the others get every wake-up. */
Test(wait, killed_waiters_leak_nothing)
{
	pid_t victim[3], survivor;
	unsigned seed = (unsigned)getpid();

	survivor = fork();
	if (!survivor) {
		help_thread(&region, 5, 5, getpid(), &thread);
		for (uint64_t e = 1; e <= 300; e++)
			if (pp_wait_durable(&thread, e, 20 * PP_NS_PER_SEC))
				_exit(1);
		_exit(0);
	}
	for (int i = 0; i < 3; i++) {
		victim[i] = fork();
		if (victim[i])
			continue;
		help_thread(&region, 1 + (unsigned)i, 1 + (uint32_t)i, getpid(), &thread);
		for (uint64_t e = 1;; e++)
			pp_wait_durable(&thread, e, PP_FOREVER);
	}
	for (uint64_t e = 1; e <= 300; e++) {
		if (e % 100 == 0) {
			kill(victim[e / 100 - 1], SIGKILL);
			help_join(victim[e / 100 - 1]);
		}
		if (rand_r(&seed) % 4 == 0)
			usleep(rand_r(&seed) % 300);
		make_durable(e);
	}
	cr_assert_eq(help_join(survivor), 0);
}

static pp_a64 work_count, work_done;

static bool has_work(void *context)
{
	(void)context;
	return pp_load_acq(&work_count) != pp_load_rlx(&work_done);
}

static void *produce(void *arg)
{
	(void)arg;
	for (int i = 0; i < 20000; i++) {
		pp_add_seq(&work_count, 1);
		pp_ring_bell(&region);
		if (i % 64 == 0)
			usleep(20);
	}
	return NULL;
}

Test(wait, the_bell_loses_no_work)
{
	pthread_t producer[2];
	unsigned lost = 0;

	for (int i = 0; i < 2; i++)
		pthread_create(&producer[i], NULL, produce, NULL);
	while (pp_load_rlx(&work_done) < 40000) {
		pp_store_rlx(&work_done, pp_load_acq(&work_count));
		if (pp_load_rlx(&work_done) < 40000 && pp_bell_sleep(&region, has_work, NULL, PP_SLEEP_MAX_NS) == -ETIMEDOUT)
			lost += has_work(NULL); /* slept the whole time although there was work */
	}
	for (int i = 0; i < 2; i++)
		pthread_join(producer[i], NULL);
	cr_assert_leq(lost, 1, "%u", lost); /* one: the work may come at the very end of the sleep */
	cr_assert_eq(pp_load_acq(&region.globals->doorbell), 0);
	cr_assert(!pp_ring_bell(&region));
}

Test(wait, the_bell_sleeps_bounded)
{
	uint64_t start = pp_now_ns();

	cr_assert_eq(pp_bell_sleep(&region, has_work, NULL, 5 * HELP_MS), -ETIMEDOUT);
	cr_assert_geq(pp_now_ns() - start, 5 * HELP_MS);
	start = pp_now_ns();
	cr_assert_eq(pp_bell_sleep(&region, has_work, NULL, PP_FOREVER), -ETIMEDOUT);
	cr_assert_lt(pp_now_ns() - start, 10 * PP_NS_PER_SEC);
}

Test(wait, a_bell_that_a_dead_daemon_left_is_harmless)
{
	pp_store_rel(&region.globals->doorbell, 1);
	cr_assert(pp_ring_bell(&region));
	cr_assert(!pp_ring_bell(&region));
}

Test(wait, spinning_is_learned)
{
	thread.spin = (struct pp_spin){ 0 };
	cr_assert_eq(pp_spin_budget(&thread), 0, "0 = never");
	region.fixed.spin_ns = 100000;
	thread.spin.mean_ns = 200000;
	cr_assert_eq(pp_spin_budget(&thread), 0, "waits last longer than it may spin");
	thread.spin.mean_ns = 10000;
	cr_assert_leq(pp_spin_budget(&thread), 20000);
	thread.spin = (struct pp_spin){ 0 };
	for (int i = 0; i < 40; i++)
		pp_wait_durable(&thread, 1, 200000);
	/* each spin was in vain (unless the machine was too crowded to try): most waits did not spin */
	cr_assert(thread.spin.penalty == 0 || thread.spin.penalty >= 8, "%u", thread.spin.penalty);
}
