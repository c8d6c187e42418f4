/*
 * engine_threads.c - the whole engine in one process: keeper threads (step, house, segments) and client threads on one region through one
 * mapping, which is what ThreadSanitizer can see. Counters must add up, own keys read back, scans stay ordered, and after a close and a
 * cold start all of it is there.
 */
#include "engine/keeper_internal.h"
#include "shm/errors.h"
#include "shm/reclaim.h"
#include "shm/slot.h"
#include "shm/wait.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WORKERS 3
#define OWN_KEYS 64
#define COUNTERS 4
#define ROUNDS 1500

static char dir[64];
static struct pp_keeper *keeper;
static pp_a32 stopping;
static pp_a64 added;                       /* what all workers added to the counters */

struct worker {
	pthread_t thread;
	unsigned number;
	uint32_t proc;
	uint32_t last[OWN_KEYS];           /* round of the last write to each own key, 0 = deleted */
	const char *problem;
	int rc;
};

static struct worker workers[WORKERS];

static void make_dir(void)
{
	snprintf(dir, sizeof(dir), "/tmp/ppdb-threads-XXXXXX");
	cr_assert(mkdtemp(dir));
}

static void remove_dir(void)
{
	char line[128];

	snprintf(line, sizeof(line), "rm -rf '%s'", dir);
	cr_assert_eq(system(line), 0);
}

TestSuite(engine_threads, .init = make_dir, .fini = remove_dir, .timeout = 300);

static void open_store(uint32_t shards, uint32_t strategy, uint32_t sync)
{
	char arena[96];
	struct pp_keeper_config c = {
		.data_dir = dir, .store_id = 7, .wal_backend = "pwrite", .wal_segment_bytes = 4 << 20,
		.region = {.path = arena, .name = "threads", .memory_bytes = 64 << 20, .slots = 16, .procs = 16, .ring_entries = 256,
			.stripes = 16, .sync_mode = sync, .shards = shards, .strategy = strategy, .spin_ns = 1000, .backoff_max = 64},
	};

	snprintf(arena, sizeof(arena), "%s/arena", dir);
	cr_assert_eq(pp_keeper_open(&c, &keeper), 0, "%s", pp_detail_get());
}

/* ---- keeper threads */

static void *step_main(void *arg)
{
	(void)arg;
	while (!pp_load_acq(&stopping)) {
		int rc = pp_keeper_step(keeper);

		if (rc < 0)
			return (void *)(intptr_t)rc;
		if (rc == 0)
			pp_keeper_sleep(keeper, 1000000);
	}
	return NULL;
}

static void *house_main(void *arg)
{
	(void)arg;
	while (!pp_load_acq(&stopping)) {
		/* cells are moved all the time */
		keeper->gather.next_ns = keeper->gather.looked_at = 0;
		keeper->gather.keys = UINT32_MAX;
		if (pp_keeper_house(keeper) <= 0)
			usleep(500);
	}
	return NULL;
}

static void *scribe_main(void *arg)
{
	(void)arg;
	while (!pp_load_acq(&stopping)) {
		if (pp_keeper_prepare(keeper) <= 0)
			usleep(2000);
		if (pp_keeper_checkpoint_due(keeper))
			pp_keeper_checkpoint(keeper);
	}
	return NULL;
}

/* ---- client threads */

static int fail(struct worker *w, const char *problem, int rc)
{
	w->problem = problem;
	w->rc = rc;
	return -1;
}

static int own_key(struct worker *w, struct pp_thread *t, unsigned round)
{
	char key[24], value[1200];
	unsigned i = round * 7 % OWN_KEYS;
	struct pp_write put = {.value = value, .size = 16 + round * 37 % (sizeof(value) - 16), .timeout_ns = 60000000000};
	struct pp_hit hit;
	int rc;

	put.key = (struct pp_key){0, (uint32_t)snprintf(key, sizeof(key), "own-%u-%02u", w->number, i), key};
	if (round % 5 == 4) {
		put.flags = PP_W_DELETE;
		put.size = 0;
	}
	memset(value, (int)(round & 0xff), sizeof(value));
	memcpy(value, &round, sizeof(round));
	rc = pp_write(t, &put);
	if (put.flags ? rc != (w->last[i] ? 0 : PPDB_NOTFOUND) : rc != 0)
		return fail(w, "a write", rc);
	w->last[i] = put.flags ? 0 : round;
	pp_read_enter(t);
	rc = pp_read(t, &put.key, PP_LATEST, &hit);
	if (rc != (w->last[i] ? 0 : PPDB_NOTFOUND))
		fail(w, "reading what was written", rc);
	else if (!rc && (hit.size != put.size || memcmp(hit.value, value, hit.size)))
		fail(w, "another value than was written", rc);
	pp_read_leave(t);
	if (!w->problem && round % 64 == 0 && put.tag)
		rc = pp_wait_durable(t, put.tag, 60000000000);
	return w->problem ? -1 : 0;
}

static int add_one(struct worker *w, struct pp_thread *t, unsigned round)
{
	char key[24];
	struct pp_write add = {.flags = PP_W_ADD, .delta = 1, .timeout_ns = 60000000000};
	int rc;

	add.key = (struct pp_key){0, (uint32_t)snprintf(key, sizeof(key), "counter-%u", round % COUNTERS), key};
	rc = pp_write(t, &add);
	if (rc)
		return fail(w, "an addition", rc);
	pp_add_rlx(&added, 1);
	return 0;
}

/* Everything, in order, forward or backward. */
static int scan(struct worker *w, struct pp_thread *t, bool backward, uint64_t snapshot)
{
	struct pp_cursor_opts o = {.snapshot = snapshot};
	struct pp_cursor *c;
	struct pp_hit hit;
	char last[32] = "";
	int rc;

	pp_read_enter(t);
	rc = pp_cursor_open(t, &o, &c);
	if (rc) {
		pp_read_leave(t);
		return fail(w, "opening a cursor", rc);
	}
	for (rc = backward ? pp_cursor_last(c, &hit) : pp_cursor_first(c, &hit); !rc;
	     rc = backward ? pp_cursor_prev(c, &hit) : pp_cursor_next(c, &hit)) {
		char key[32];

		snprintf(key, sizeof(key), "%.*s", (int)hit.key_size, (const char *)hit.key);
		if (last[0] && (backward ? strcmp(key, last) >= 0 : strcmp(key, last) <= 0))
			fail(w, "keys out of order", 0);
		strcpy(last, key);
	}
	pp_cursor_close(c);
	pp_read_leave(t);
	if (rc != PPDB_NOTFOUND)
		return fail(w, "a scan", rc);
	return w->problem ? -1 : 0;
}

static int scan_snapshot(struct worker *w, struct pp_thread *t)
{
	uint64_t s;
	int rc = pp_snapshot_hold(t, 0, &s);

	if (rc)
		return rc == PPDB_TIMEOUT ? 0 : fail(w, "a snapshot", rc);
	rc = scan(w, t, false, s);
	pp_snapshot_drop(t);
	return rc;
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	struct pp_thread t;

	for (unsigned round = 1; round <= ROUNDS && !w->problem; round++) {
		if (round % 500 == 1) { /* now and then with another slot */
			int rc;

			if (round > 1)
				pp_slot_leave(&t);
			while ((rc = pp_slot_claim(pp_keeper_region(keeper), w->proc, &t)) == -ENOSPC)
				usleep(1000);
			if (rc) {
				fail(w, "a slot", rc);
				return NULL;
			}
		}
		if (own_key(w, &t, round) || add_one(w, &t, round))
			break;
		if (round % 100 == 50 && scan(w, &t, round % 200 == 50, PP_LATEST))
			break;
		if (round % 300 == 299 && scan_snapshot(w, &t))
			break;
	}
	pp_slot_leave(&t);
	return NULL;
}

/* ---- the test */

static void run_threads(void)
{
	pthread_t step, house, scribe;
	void *rc;

	pp_store_rel(&stopping, 0);
	cr_assert_eq(pthread_create(&step, NULL, step_main, NULL), 0);
	cr_assert_eq(pthread_create(&house, NULL, house_main, NULL), 0);
	cr_assert_eq(pthread_create(&scribe, NULL, scribe_main, NULL), 0);
	for (unsigned i = 0; i < WORKERS; i++) {
		struct worker *w = &workers[i];

		memset(w, 0, sizeof(*w));
		w->number = i;
		cr_assert_eq(pp_keeper_proc_add(keeper, (uint32_t)getpid(), 0, 0, 0, "worker", &w->proc), 0);
		cr_assert_eq(pthread_create(&w->thread, NULL, worker_main, w), 0);
	}
	for (unsigned i = 0; i < WORKERS; i++) {
		pthread_join(workers[i].thread, NULL);
		cr_expect_null(workers[i].problem, "worker %u: %s gave %s: %s", i, workers[i].problem, pp_error_name(workers[i].rc),
			pp_detail_get());
		pp_keeper_proc_gone(keeper, workers[i].proc);
	}
	usleep(20000);
	pp_store_rel(&stopping, 1);
	pthread_join(house, NULL);
	pthread_join(scribe, NULL);
	pthread_join(step, &rc);
	cr_assert_null(rc, "the step thread ended with %ld", (long)(intptr_t)rc);
}

static void judge_worker(struct pp_thread *t, const struct worker *w)
{
	char key[24];
	struct pp_hit hit;

	for (unsigned i = 0; i < OWN_KEYS; i++) {
		struct pp_key k = {0, (uint32_t)snprintf(key, sizeof(key), "own-%u-%02u", w->number, i), key};
		int rc = pp_read(t, &k, PP_LATEST, &hit);

		cr_assert_eq(rc, w->last[i] ? 0 : PPDB_NOTFOUND, "%s: %s", key, pp_error_name(rc));
		if (!rc)
			cr_assert_eq(memcmp(hit.value, &w->last[i], 4), 0, "%s", key);
	}
}

static void judge(void)
{
	struct pp_thread t;
	uint64_t sum = 0;
	uint32_t proc;
	struct pp_hit hit;
	char key[24];

	cr_assert_eq(pp_keeper_proc_add(keeper, (uint32_t)getpid(), 0, 0, 0, "judge", &proc), 0);
	cr_assert_eq(pp_slot_claim(pp_keeper_region(keeper), proc, &t), 0);
	pp_read_enter(&t);
	for (unsigned i = 0; i < WORKERS; i++)
		judge_worker(&t, &workers[i]);
	for (unsigned i = 0; i < COUNTERS; i++) {
		struct pp_key k = {0, (uint32_t)snprintf(key, sizeof(key), "counter-%u", i), key};

		cr_assert_eq(pp_read(&t, &k, PP_LATEST, &hit), 0);
		snprintf(key, sizeof(key), "%.*s", (int)hit.size, (const char *)hit.value);
		sum += strtoull(key, NULL, 10);
	}
	pp_read_leave(&t);
	cr_assert_eq(sum, pp_load_acq(&added), "%llu added, %llu there", (unsigned long long)pp_load_acq(&added),
		(unsigned long long)sum);
	pp_slot_leave(&t);
	pp_keeper_proc_gone(keeper, proc);
}

static void round_trip(uint32_t shards, uint32_t strategy, uint32_t sync)
{
	char arena[96];

	pp_store_rel(&added, 0);
	open_store(shards, strategy, sync);
	run_threads();
	judge();
	cr_assert_eq(pp_keeper_close(keeper, false), 0, "%s", pp_detail_get());
	open_store(shards, strategy, sync);
	cr_assert(pp_keeper_was_warm(keeper));
	judge();
	cr_assert_eq(pp_keeper_close(keeper, true), 0, "%s", pp_detail_get());
	snprintf(arena, sizeof(arena), "%s/arena", dir);
	cr_assert_eq(unlink(arena), 0);
	open_store(shards, strategy, sync);
	cr_assert_not(pp_keeper_was_warm(keeper));
	judge();
	cr_assert_eq(pp_keeper_close(keeper, false), 0, "%s", pp_detail_get());
}

Test(engine_threads, lockfree)
{
	round_trip(4, PP_STRATEGY_RANGE, 0);
}

Test(engine_threads, mutex_and_hash)
{
	round_trip(4, PP_STRATEGY_HASH, 1);
}
