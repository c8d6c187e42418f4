/*
 * engine_store.h - a store inside the test's own process: a keeper on a scratch directory, one thread that does all its work, and
 * a slot for the test.
 */
#ifndef TESTS_UNIT_ENGINE_STORE_H
#define TESTS_UNIT_ENGINE_STORE_H

#include "tests/unit/shm_help.h"

#include "engine/keeper.h"
#include "shm/reclaim.h"
#include "shm/slot.h"

#include <pthread.h>

struct engine_store {
	struct pp_keeper *keeper;
	struct pp_region *region;
	struct pp_engine *engine;
	struct pp_thread t;
	uint32_t proc;
	pthread_t thread;
	pp_a32 stop;
	char dir[64], arena[80];
};

static inline void *engine_store_work(void *arg)
{
	struct engine_store *s = arg;

	while (!pp_load_acq(&s->stop)) {
		int done = pp_keeper_step(s->keeper);

		done |= pp_keeper_house(s->keeper);
		pp_keeper_prepare(s->keeper);
		if (!done)
			pp_keeper_sleep(s->keeper, PP_NS_PER_MS);
	}
	return NULL;
}

static inline void engine_store_open(struct engine_store *s, enum pp_strategy strategy, unsigned shards)
{
	struct pp_keeper_config c = {.store_id = 77, .wal_backend = "pwrite", .wal_segment_bytes = 4 << 20};
	int rc;

	memset(s, 0, sizeof(*s));
	snprintf(s->dir, sizeof(s->dir), "%s/ppdb-engine-XXXXXX", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
	cr_assert(mkdtemp(s->dir));
	snprintf(s->arena, sizeof(s->arena), "%s/arena", s->dir);
	c.data_dir = s->dir;
	c.region = (struct pp_region_config){.path = s->arena, .name = "unit", .memory_bytes = 128 << 20, .slots = 16, .procs = 8,
		.ring_entries = 1024, .stripes = 64, .shards = shards, .strategy = strategy, .pages = PP_MEM_4K, .numa = 1};
	rc = pp_keeper_open(&c, &s->keeper);
	cr_assert_eq(rc, 0, "open: %s %s", pp_error_text(rc), pp_detail_get());
	s->region = pp_keeper_region(s->keeper);
	s->engine = s->region->engine;
	cr_assert_eq(pp_keeper_proc_add(s->keeper, (uint32_t)getpid(), getuid(), pp_self_start(), 0, "unit", &s->proc), 0);
	cr_assert_eq(pp_slot_claim(s->region, s->proc, &s->t), 0);
	cr_assert_eq(pthread_create(&s->thread, NULL, engine_store_work, s), 0);
}

/* Nobody does the keeper's work from here on. */
static inline void engine_store_halt(struct engine_store *s)
{
	if (pp_load_acq(&s->stop))
		return;
	pp_store_rel(&s->stop, 1);
	pthread_join(s->thread, NULL);
}

static inline void engine_store_close(struct engine_store *s)
{
	char command[128];

	if (s->t.slot)
		pp_slot_leave(&s->t);
	engine_store_halt(s);
	cr_assert_eq(pp_keeper_close(s->keeper, false), 0);
	snprintf(command, sizeof(command), "rm -rf %s", s->dir);
	cr_assert_eq(system(command), 0);
}

static inline int engine_store_put(struct engine_store *s, const char *key, const void *value, uint64_t size, uint32_t flags)
{
	struct pp_write w = {.key = {0, (uint32_t)strlen(key), key}, .value = value, .size = size, .flags = flags,
		.timeout_ns = 20 * PP_NS_PER_SEC};

	return pp_write(&s->t, &w);
}

static inline int engine_store_get(struct engine_store *s, const char *key)
{
	struct pp_key k = {0, (uint32_t)strlen(key), key};
	struct pp_hit hit;
	int rc;

	pp_read_enter(&s->t);
	rc = pp_read(&s->t, &k, PP_LATEST, &hit);
	pp_read_leave(&s->t);
	return rc;
}

/* Waits until cond holds; false after half a minute (test_patience). */
#define engine_store_until(cond)                                                      \
	({                                                                            \
		uint64_t end_ = pp_now_ns() + test_patience(30 * PP_NS_PER_SEC);                     \
		while (!(cond) && pp_now_ns() < end_)                                 \
			usleep(5000);                                                 \
		(bool)(cond);                                                         \
	})

#endif
