/*
 * shm_arena.h - an arena for the tests of slots, reclamation and allocation: create, one reclamation round, checks of the account.
 */
#ifndef TESTS_UNIT_SHM_ARENA_H
#define TESTS_UNIT_SHM_ARENA_H

#include "tests/unit/shm_help.h"

#include "shm/alloc.h"
#include "shm/slot.h"

static inline void arena_create(struct pp_region *r, uint64_t memory_bytes, unsigned slots)
{
	char path[128];
	struct pp_region_config c = help_config(path);
	int rc;

	c.memory_bytes = memory_bytes;
	c.slots = slots;
	c.engine_bytes = 1 << 20;
	c.pages = PP_MEM_4K;
	rc = pp_region_create(&c, r);
	cr_assert_eq(rc, 0, "create: %s %s", pp_error_text(rc), pp_detail_get());
	r->header->uses_membarrier = pp_barrier_register();
	cr_assert_eq(pp_region_publish(r), 0);
}

static inline void arena_claim(struct pp_region *r, uint32_t proc, struct pp_thread *t)
{
	int rc = pp_slot_claim(r, proc, t);

	cr_assert_eq(rc, 0, "claim: %s %s", pp_error_text(rc), pp_detail_get());
}

/* A whole reclamation round; without a log an epoch is durable at once. */
static inline void arena_round(struct pp_region *r)
{
	static struct pp_scan scan;

	pp_reclaim_scan(r, NULL, 0, &scan);
	pp_reclaim_announce(r, &scan, 0, NULL, 0);
}

/* The keeper's pass over all pages, and another: since nothing was announced between them it leaves nothing. */
static inline uint64_t arena_sweep(struct pp_thread *t)
{
	uint64_t cursor = 0, pages = pp_load_acq(&t->region->globals->committed_segments) * PP_PAGES_PER_SEGMENT, freed;

	pp_safe_refresh(t->region, &t->safe);
	freed = pp_alloc_sweep(t, &t->safe, &cursor, pages);
	cursor = 0;
	return freed + pp_alloc_sweep(t, &t->safe, &cursor, pages);
}

/* Until nothing more comes free: cancelled blocks get an era first, empty pages need a round of their own. */
static inline void arena_settle(struct pp_thread *t)
{
	for (unsigned i = 0; i < 4; i++) {
		arena_round(t->region);
		arena_sweep(t);
	}
}

static inline struct pp_account arena_account(struct pp_region *r)
{
	struct pp_account a;
	int rc = pp_account_walk(r, &a, NULL, NULL);

	cr_assert_eq(rc, 0, "account: %s", pp_detail_get());
	cr_assert_eq(a.stray_bytes, 0);
	cr_assert_eq(a.committed_bytes, a.table_bytes + a.free_page_bytes + a.empty_page_bytes + a.page_tail_bytes + a.free_bytes +
						a.private_bytes + a.live_bytes + a.limbo_bytes);
	return a;
}

static inline uint64_t arena_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

/* Test seed: PPDB_SEED, or the time; printed when a test fails. */
static inline uint64_t arena_seed(const char *test)
{
	const char *given = getenv("PPDB_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 0) : pp_now_ns();

	if (!given)
		cr_log_info("again: PPDB_SEED=%llu make unit FILTER='%s'", (unsigned long long)seed, test);
	return seed | 1;
}

#endif
