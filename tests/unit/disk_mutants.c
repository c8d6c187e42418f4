/*
 * disk_mutants.c - tests of the test: each step that log and checkpoint must not forget is forgotten here, and the simulated disk must
 * notice it.
 *
 * What concerns the disk alone (a sync left out, a write reported too early) the disk itself leaves out; a search that recovery
 * leaves out is compiled away below.
 */
#include <criterion/criterion.h>

#include "engine/wal_walk.h"

/* Recovery that cuts at the first bad unit: its search behind it finds nothing, ever. */
static int blind_unit(struct pp_wal_reader *reader, const struct pp_wal_place *place, const struct pp_wal_unit_header **unit,
		      const char **why)
{
	(void)reader;
	(void)place;
	(void)unit;
	*why = "not looked at";
	return 0;
}

#define pp_wal_recover blind_recover
#define pp_wal_reader_unit blind_unit
#include "engine/wal_recover.c"
#undef pp_wal_reader_unit
#undef pp_wal_recover

#include "tests/lib/disk_life.h"
#include "tests/lib/proc.h"

#define POINTS 50000

static void must_notice(struct disk_life life)
{
	struct disk_counts counts = {0};
	char why[1024] = "";

	life.seed = test_seed();
	cr_assert(!disk_lives_run(&life, POINTS, &counts, why), "nothing was noticed in %d crash points", POINTS);
}

Test(disk_mutants, acknowledge_before_the_write_completes, .timeout = 120)
{
	must_notice((struct disk_life){.ack_early = true});
}

Test(disk_mutants, no_directory_sync, .timeout = 120)
{
	must_notice((struct disk_life){.skip_dir_sync = true});
}

Test(disk_mutants, no_file_sync, .timeout = 120)
{
	must_notice((struct disk_life){.skip_file_sync = true});
}

Test(disk_mutants, release_segments_too_early, .timeout = 120)
{
	must_notice((struct disk_life){.release_early = true});
}

Test(disk_mutants, cut_at_any_bad_unit, .timeout = 120)
{
	must_notice((struct disk_life){.kind = DISK_LYING, .recover = blind_recover});
}
