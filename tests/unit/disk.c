/*
 * disk.c - log and checkpoints on a simulated disk that loses power, fails and lies: a sample of tests/crash/disk.c.
 *
 * PPDB_SEED=N repeats the life of that seed alone.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "tests/lib/disk_life.h"
#include "tests/lib/proc.h"

#define POINTS 40000

static void sample(enum disk_kind kind)
{
	struct disk_life life = {.kind = kind, .seed = test_seed()};
	struct disk_counts counts = {0};
	char why[1024];

	cr_assert(disk_lives_run(life, getenv("PPDB_SEED") ? 1 : POINTS, &counts, why), "%s", why);
}

Test(disk, honest, .timeout = 120)
{
	sample(DISK_HONEST);
}

Test(disk, failing, .timeout = 120)
{
	sample(DISK_FAILING);
}

Test(disk, lying, .timeout = 120)
{
	sample(DISK_LYING);
}
