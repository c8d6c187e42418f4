/*
 * disk.c - log and checkpoints on a simulated disk that loses power, fails and lies (tests/lib/disk_life.h): a sample of what
 * tests/crash/long_disk.c does a million times a kind.
 *
 * PPDB_SEED=N repeats the life of that seed alone.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/disk_life.h"
#include "tests/lib/proc.h"

#ifndef DISK_POINTS
#define DISK_POINTS 40000
#endif
#define SLICE 50000

static void run(const char *title, enum disk_kind kind)
{
	struct disk_life life = {.kind = kind, .seed = test_seed()};
	struct disk_counts counts = {0};
	uint64_t points = getenv("PPDB_SEED") ? 1 : test_scale(DISK_POINTS);
	char why[1024];

	while (counts.points < points) {
		cr_assert(disk_lives_run(&life, points < SLICE ? points : SLICE, &counts, why), "%s", why);
		if (points > SLICE)
			fprintf(stderr, "%s: %llu of %llu crash points\n", title, (unsigned long long)counts.points,
				(unsigned long long)points);
	}
	if (points > 1)
		disk_counts_print(title, &counts);
}

Test(disk, honest, .timeout = 7200)
{
	run("disk/honest", DISK_HONEST);
}

Test(disk, failing, .timeout = 7200)
{
	run("disk/failing", DISK_FAILING);
}

Test(disk, lying, .timeout = 7200)
{
	run("disk/lying", DISK_LYING);
}
