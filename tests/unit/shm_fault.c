/* shm_fault.c - fault points: nothing in a release build, everything that PPDB_FAULT can say in a test build. */
#include "tests/unit/shm_help.h"

#include "shm/fault.h"

TestSuite(fault, .timeout = 60);

#ifndef PP_FAULT

Test(fault, release_builds_have_none)
{
	cr_assert(!pp_fault_built());
	cr_assert_eq(pp_fault_sites(NULL, 0), 0);
	cr_assert_eq(pp_fault_set("a.b.c=kill"), -ENOTSUP);
	cr_assert_eq(pp_fault_set(NULL), 0);
	cr_assert_eq(PP_FAULT_ERROR("test.fault.none"), 0);
	PP_FAULT_POINT("test.fault.none");
}

#else

static int pass(void)
{
	return PP_FAULT_ERROR("test.fault.here");
}

Test(fault, all_points_are_listed)
{
	static const struct pp_fault_site *site[1000];
	size_t n = pp_fault_sites(site, 1000);
	bool here = false, grow = false;

	cr_assert(n >= 2 && n <= 1000);
	for (size_t i = 0; i < n; i++) {
		here |= !strcmp(site[i]->name, "test.fault.here");
		grow |= !strcmp(site[i]->name, "region.grow.backed");
		cr_assert(strlen(site[i]->name) < 64 && site[i]->line > 0);
	}
	cr_assert(here && grow);
}

Test(fault, rules_are_understood_or_refused)
{
	cr_assert_eq(pp_fault_set("a=kill,b=stop:3,c=sleep:1,d=errno:ENOSPC,e=errno:5"), 0);
	cr_assert_eq(pp_fault_set("a"), -EINVAL);
	cr_assert_eq(pp_fault_set("=kill"), -EINVAL);
	cr_assert_eq(pp_fault_set("a=explode"), -EINVAL);
	cr_assert_eq(pp_fault_set("a=errno"), -EINVAL);
	cr_assert_eq(pp_fault_set(NULL), 0);
}

Test(fault, errors_and_sleeps)
{
	uint64_t start;

	cr_assert_eq(pass(), 0);
	cr_assert_eq(pp_fault_set("test.fault.here=errno:ENOSPC"), 0);
	cr_assert_eq(pass(), -ENOSPC);
	cr_assert_eq(pp_fault_set("test.fault.here=sleep:20"), 0);
	start = pp_now_ns();
	cr_assert_eq(pass(), 0);
	cr_assert_geq(pp_now_ns() - start, 20 * HELP_MS);
	cr_assert_eq(pp_fault_set(NULL), 0);
	cr_assert_eq(pass(), 0);
}

Test(fault, kills_at_the_nth_passage)
{
	pid_t child = fork();

	if (!child) {
		pp_fault_set("test.fault.here=kill:3");
		pass();
		pass();
		alarm(10);
		pass();
		_exit(1);
	}
	cr_assert_eq(help_join(child), -SIGKILL);
}

Test(fault, the_environment_is_read)
{
	pid_t child = fork();

	if (!child) {
		setenv("PPDB_FAULT", "other.one.x=kill,test.fault.here=errno:7", 1);
		_exit(pass() == -7 ? 0 : 1);
	}
	cr_assert_eq(help_join(child), 0);
}

Test(fault, stops_and_goes_on)
{
	pid_t child = fork();
	int status;

	if (!child) {
		pp_fault_set("test.fault.here=stop");
		_exit(pass());
	}
	cr_assert_eq(waitpid(child, &status, WUNTRACED), child);
	cr_assert(WIFSTOPPED(status));
	kill(child, SIGCONT);
	cr_assert_eq(help_join(child), 0);
}

static int seen;

static void hook(const char *name, void *context)
{
	seen += !strcmp(name, "test.fault.here") && context == &seen;
}

Test(fault, the_hook_sees_each_passage)
{
	pp_fault_hook_context = &seen;
	pp_fault_hook = hook;
	pass();
	pass();
	pp_fault_hook = NULL;
	pass();
	cr_assert_eq(seen, 2);
}

/* Growing the region with a death at each of its points. */
Test(fault, region_growth_survives_a_death_at_each_point)
{
	static const char *const points[] = { "region.grow.bound", "region.grow.backed", "region.grow.committed" };
	struct pp_region region;

	help_create(&region, 0, 0);
	for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
		char spec[64];
		pid_t child = fork();
		uint64_t before = pp_load_acq(&region.globals->committed_segments), after;

		if (!child) {
			snprintf(spec, sizeof(spec), "%s=kill", points[i]);
			pp_fault_set(spec);
			_exit(pp_region_grow(&region, 0) ? 1 : 2);
		}
		cr_assert_eq(help_join(child), -SIGKILL, "%s", points[i]);
		after = pp_load_acq(&region.globals->committed_segments);
		cr_assert_eq(after, before + (i == 2));
		cr_assert_eq(pp_region_grow(&region, 0), 0);
		cr_assert_eq(pp_load_acq(&region.globals->committed_segments), after + 1);
		memset(pp_at(&region, region.segments_at + after * PP_SEGMENT_BYTES), 1, PP_SEGMENT_BYTES);
	}
	cr_assert_eq(pp_fault_set("region.grow.start=errno:ENOSPC"), 0);
	cr_assert_eq(pp_region_grow(&region, 0), -ENOSPC);
	pp_fault_set(NULL);
	help_destroy(&region);
}

static int grow_in_child(struct pp_region *region)
{
	pid_t child = fork();

	if (!child)
		_exit(pp_region_grow(region, 0) ? 1 : 0);
	return help_join(child);
}

/* The kernel may keep whoever asks for a huge page waiting for seconds. */
Test(fault, after_a_slow_huge_page_small_ones_are_taken)
{
	struct pp_region region;
	pp_a64 *until;

	help_create(&region, 0, 0);
	if (region.header->page_kind != PP_MEM_THP)
		cr_skip_test("no huge pages here");
	until = &region.globals->small_until_ns;
	cr_assert_eq(pp_fault_set("region.commit.huge=sleep:300"), 0);
	cr_assert_eq(pp_region_grow(&region, 0), 0);
	cr_assert_gt(pp_load_acq(until), 0u, "nobody noticed that it was slow");
	pp_fault_set("region.commit.huge=kill");
	pp_store_rel(until, UINT64_MAX);
	cr_assert_eq(grow_in_child(&region), 0, "a huge page was asked for");
	pp_store_rel(until, 0);
	cr_assert_eq(grow_in_child(&region), -SIGKILL, "no huge page was asked for");
	pp_fault_set(NULL);
	help_destroy(&region);
}

#endif
