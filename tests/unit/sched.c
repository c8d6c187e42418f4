/*
 * sched.c - thousands of interleavings of clients and keeper, each a function of its seed (tests/lib/play.h): the store must be right under
 * all of them, the same seed must give the same run, and mistakes that are made on purpose must be found.
 *
 * A failure prints the line that plays its seed alone.
 */
#include "shm/fault.h"
#include "tests/lib/play.h"
#include "tests/lib/proc.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/* These two follow stacks themselves. */
#if defined(PP_FAULT) && !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)

#define SEEDS 2000
#define RESTARTS 40
#define SECONDS 100000

TestSuite(sched, .fini = play_end, .timeout = SECONDS);

static void begin(void)
{
	test_begin(SECONDS);
	play_begin();
}

/* ---- schedules --------------------------------------------------------------------------------------------------- */

static void judge(uint64_t seed, const struct sched_report *r, const char *test)
{
	cr_assert_not(r->failed, "seed %llu: %s\n%srepeat: PPDB_SEED=%llu make VARIANT=fault unit FILTER='sched/%s'", (unsigned long long)seed,
		r->text, r->trail, (unsigned long long)seed, test);
}

static void play_many(uint64_t from, uint64_t to)
{
	uint64_t accesses = 0, switches = 0;

	for (uint64_t seed = from; seed < to; seed++) {
		const struct sched_report *r = play(seed, NULL);

		judge(seed, r, "schedules");
		accesses += r->accesses;
		switches += r->switches;
	}
	cr_log_info("%llu seeds, %llu accesses to shared memory, %llu switches", (unsigned long long)(to - from),
		(unsigned long long)accesses, (unsigned long long)switches);
}

/* The same seeds each time, and more of them in a longer run. */
Test(sched, schedules)
{
	const char *given = getenv("PPDB_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 0) : 1;

	begin();
	play_many(seed, given ? seed + 1 : seed + test_scale(SEEDS));
}

/* The daemon dies at any access, and the next one adopts the arena. */
Test(sched, restarts)
{
	const char *given = getenv("PPDB_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 0) : 1, end = given ? seed + 1 : seed + test_scale(RESTARTS);

	begin();
	for (; seed < end; seed++)
		judge(seed, play_restarts(seed), "restarts");
}

/* ---- a run is a function of its seed ----------------------------------------------------------------------------- */

#define COMPARED 40

Test(sched, same_seed_same_run)
{
	struct sched_report first[COMPARED];

	begin();
	for (uint64_t seed = 0; seed < COMPARED; seed++) {
		first[seed] = *play(seed, NULL);
		cr_assert_eq(play(seed, NULL)->hash, first[seed].hash, "seed %llu", (unsigned long long)seed);
		cr_assert(!seed || first[seed].hash != first[seed - 1].hash);
	}
	play_end(); /* and on stores that are made anew, as when a failed seed is played again */
	play_begin();
	for (uint64_t seed = 0; seed < COMPARED; seed++) {
		const struct sched_report *again = play(seed, NULL);

		cr_assert_eq(again->hash, first[seed].hash, "seed %llu", (unsigned long long)seed);
		cr_assert_eq(again->accesses, first[seed].accesses);
	}
}

/* ---- mistakes that must be found --------------------------------------------------------------------------------- */

static const struct { const char *name; unsigned seeds; } mutants[] = {
	{"write.over_pending", 1000},         /* a version goes on top of an undecided one */
	{"write.floor_not_read", 1000},       /* version numbers come back in a later life of a key */
	{"settle.not_closed", 1000},          /* E is bumped, rings are left open */
	{"settle.logged_twice", 1000},        /* also by the entry of a helper that came too late */
	{"index.retired_first", 4000},        /* before the block is unlinked */
	{"prune.held_ignored", 1000},         /* a version goes that a snapshot needs */
	{"reclaim.era_not_reread", 10000},    /* a reader's interval does not cover what it loads */
	{"snapshot.floor_not_reread", 20000}, /* S is published, the pruner did not see it */
	{"table.line_stays", 1000},           /* a dropped table is written until the keeper sees that its record is gone */
	{"catalog.not_quiet", 4000},          /* the line of a creator that is slow is given away */
	{"version.state_first", 20000},       /* a reader loads `state`, then `older` */
};

/* Those that take long only in a longer run. */
Test(sched, mutants)
{
	begin();
	for (size_t i = 0; i < sizeof(mutants) / sizeof(mutants[0]); i++) {
		uint64_t seed = 0;

		if (mutants[i].seeds > 5000 && test_scale(10) <= 10)
			continue;
		while (!play(++seed, mutants[i].name)->failed)
			cr_assert_lt(seed, mutants[i].seeds, "%s was not found", mutants[i].name);
		cr_log_info("%s: found by seed %llu", mutants[i].name, (unsigned long long)seed);
	}
}

#endif
