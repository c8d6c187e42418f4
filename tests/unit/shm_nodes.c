/*
 * shm_nodes.c - an arena on a machine with several NUMA nodes: where its parts come to lie. Passed over where there is one node;
 * `make numa` runs these in a guest with two.
 */
#include "shm/numa.h"
#include "tests/unit/shm_arena.h"

#include <inttypes.h>
#include <numa.h>
#include <sched.h>
#include <sys/mman.h>

#define HUGE_FOLDER "/dev/hugepages"    /* where `make numa` has mounted hugetlbfs */

static struct pp_region region;

static void setup(void)
{
	if (pp_numa_nodes() < 2 || !pp_numa_has_memory(1))
		cr_skip_test("this machine has one NUMA node");
}

static void teardown(void)
{
	if (region.base)
		pp_region_unmap(&region);
	help_remove();
}

TestSuite(nodes, .init = setup, .fini = teardown, .timeout = 120);

static void create(enum pp_page_kind pages)
{
	char path[128];
	struct pp_region_config c = help_config(path);
	int rc;

	if (pages == PP_MEM_HUGETLB && access(HUGE_FOLDER, W_OK))
		cr_skip_test("no hugetlbfs at " HUGE_FOLDER);
	if (pages == PP_MEM_HUGETLB)
		c.path = HUGE_FOLDER "/test.arena";
	c.numa = 1;
	c.pages = (int)pages;
	c.memory_bytes = 48 << 20;
	c.slots = 512;
	c.ring_entries = 1024;
	rc = pp_region_create(&c, &region);
	cr_assert_eq(rc, 0, "create: %s %s", pp_error_text(rc), pp_detail_get());
	cr_assert_geq(region.header->nodes, 2);
	cr_assert_eq(region.header->page_kind, pages);
}

/* On the cpus of one node, wherever it was before. */
static void go_to(unsigned node)
{
	cr_assert_eq(numa_run_on_node((int)node), 0);
	cr_assert_eq(pp_numa_here(), node);
}

static int node_of(uint64_t ref)
{
	return pp_numa_of(pp_at(&region, ref));
}

/* All pages of [ref, ref + bytes) lie on the node. */
static void all_on(unsigned node, uint64_t ref, uint64_t bytes, const char *what)
{
	for (uint64_t at = ref; at < ref + bytes; at += 4096)
		cr_assert_eq(node_of(at), (int)node, "%s: %#" PRIx64 " lies on node %d, not %u", what, at, node_of(at), node);
}

static void grow(unsigned node)
{
	cr_assert_eq(pp_region_grow(&region, node), 0, "%s", pp_detail_get());
}

static void segment_lies_on(uint64_t n, unsigned node)
{
	all_on(node, region.segments_at + n * PP_SEGMENT_BYTES, PP_SEGMENT_BYTES, "segment");
	cr_assert_eq(pp_load_rlx(&region.pages[n * PP_PAGES_PER_SEGMENT].node), node);
}

static void segments_land(enum pp_page_kind pages)
{
	create(pages);
	for (unsigned i = 0; i < 6 && pages != PP_MEM_HUGETLB; i++) /* hugetlb is all there from the start */
		grow(i / 2 % 2);
	for (uint64_t n = 0; n < 2 || (pages == PP_MEM_HUGETLB && n < region.header->max_segments); n++)
		segment_lies_on(n, n % 2);
	for (unsigned i = 0; i < 6 && pages != PP_MEM_HUGETLB; i++)
		segment_lies_on(2 + i, i / 2 % 2);
	if (pages == PP_MEM_THP) /* one or the other may be refused when memory is in pieces */
		cr_assert_geq(pp_load_acq(&region.globals->huge_segments), 4);
}

Test(nodes, segments_of_small_pages_land_where_asked)
{
	segments_land(PP_MEM_4K);
}

Test(nodes, segments_of_transparent_huge_pages_land_where_asked)
{
	segments_land(PP_MEM_THP);
}

Test(nodes, segments_of_hugetlb_land_where_asked)
{
	segments_land(PP_MEM_HUGETLB);
}

/* A process on the other node touches nothing first: what it maps is there already, and where the policy of the file says. */
Test(nodes, another_process_grows_by_the_same_rules)
{
	pid_t child;

	create(PP_MEM_THP);
	child = fork();
	if (!child) {
		struct pp_region r;

		if (pp_numa_pin(1) || pp_region_publish(&region) || pp_region_map(region.fd, false, HELP_LAYOUT, &r))
			_exit(1);
		_exit(pp_region_grow(&r, 0) || pp_region_grow(&r, 1));
	}
	cr_assert_eq(help_join(child), 0);
	segment_lies_on(2, 0);
	segment_lies_on(3, 1);
}

/* Each piece that is bound by itself costs the program that does it a mapping, of which a process may have 65530. */
Test(nodes, binding_does_not_split_the_mapping)
{
	char line[512];
	unsigned before = 0, after = 0;
	FILE *maps;

	create(PP_MEM_4K);
	maps = fopen("/proc/self/maps", "r");
	while (fgets(line, sizeof(line), maps))
		before++;
	fclose(maps);
	for (unsigned i = 0; i < 8; i++)
		grow(i % 2);
	maps = fopen("/proc/self/maps", "r");
	while (fgets(line, sizeof(line), maps))
		after++;
	fclose(maps);
	cr_assert_leq(after, before + 1, "%u mappings became %u", before, after);
}

/* Where the parts of two nodes meet in a page, it lies on one of them. */
static void slots_are_near(enum pp_page_kind pages)
{
	unsigned far = 0;

	create(pages);
	for (unsigned i = 0; i < region.header->slots; i++) {
		int node = (int)(i * region.header->nodes / region.header->slots);

		far += node_of(pp_ref_of(&region, &region.slots[i])) != node;
		far += node_of(pp_ref_of(&region, &region.rings[i * region.header->ring_entries])) != node;
	}
	cr_assert_leq(far, 2 * region.header->nodes, "%u slots and rings of %u are far away", far, region.header->slots);
}

Test(nodes, slots_and_rings_are_near_small_pages)
{
	slots_are_near(PP_MEM_4K);
}

Test(nodes, slots_and_rings_are_near_transparent_huge_pages)
{
	slots_are_near(PP_MEM_THP);
}

Test(nodes, a_thread_claims_a_slot_of_its_node)
{
	struct pp_thread t;

	create(PP_MEM_4K);
	pp_store_rel(&region.procs[1].state, 1);
	for (unsigned node = 0; node < 2; node++) {
		go_to(node);
		cr_assert_eq(pp_slot_claim(&region, 1, &t), 0);
		cr_assert_eq(t.node, node);
		cr_assert_eq(t.index * region.header->nodes / region.header->slots, node);
		cr_assert_eq(node_of(pp_ref_of(&region, t.slot)), (int)node);
	}
}

Test(nodes, a_thread_allocates_on_its_node)
{
	struct pp_thread t;
	pp_ref ref;

	create(PP_MEM_THP);
	pp_store_rel(&region.procs[1].state, 1);
	for (unsigned node = 0; node < 2; node++) {
		go_to(node);
		cr_assert_eq(pp_slot_claim(&region, 1, &t), 0);
		for (unsigned i = 0; i < 200; i++) {
			pp_read_enter(&t);
			cr_assert_eq(pp_alloc(&t, 4000, 1, &ref), 0);
			pp_read_leave(&t);
			cr_assert_eq(node_of(ref), (int)node);
		}
	}
}

/* The daemon's own list of cpus (taskset, cpuset) is never widened. */
Test(nodes, pinning_keeps_to_the_cpus_that_were_allowed)
{
	cpu_set_t one, now;
	unsigned node = pp_numa_here();
	int cpu = sched_getcpu();

	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	cr_assert_eq(sched_setaffinity(0, sizeof(one), &one), 0);
	cr_assert_eq(pp_numa_pin(node), 0);
	cr_assert_eq(sched_getaffinity(0, sizeof(now), &now), 0);
	cr_assert(CPU_EQUAL(&one, &now));
	cr_assert_eq(pp_numa_pin(!node), -ENOENT);
	cr_assert_eq(sched_getaffinity(0, sizeof(now), &now), 0);
	cr_assert(CPU_EQUAL(&one, &now));
}

/* ---- a full node ------------------------------------------------------------------------------------------------- */

static uint64_t free_on(unsigned node)
{
	long long free_bytes = 0;

	numa_node_size64((int)node, &free_bytes);
	return (uint64_t)free_bytes;
}

/* Nobody is killed. Alone: others would find the node full. */
Test(nodes_full, the_next_node_takes_over, .init = setup, .fini = teardown, .timeout = 120)
{
	uint64_t most = free_on(0), wanted = most + (64u << 20);
	char path[128];
	struct pp_region_config c = help_config(path);
	unsigned far = 0, count = 0;
	int rc;

	if (most > UINT64_C(1) << 30 || free_on(1) < UINT64_C(128) << 20)
		cr_skip_test("too much memory to fill, or too little to spill into");
	c.numa = 1;
	c.pages = PP_MEM_4K;
	c.memory_bytes = wanted + (64u << 20);
	rc = pp_region_create(&c, &region);
	cr_assert_eq(rc, 0, "create: %s %s", pp_error_text(rc), pp_detail_get());
	while (pp_load_acq(&region.globals->committed_segments) * PP_SEGMENT_BYTES < wanted) {
		grow(0);
		far += node_of(region.segments_at + (pp_load_acq(&region.globals->committed_segments) - 1) * PP_SEGMENT_BYTES) != 0;
		count++;
	}
	cr_assert_gt(far, 16, "%u of %u segments left the node", far, count);
	cr_assert_lt(far, count / 2);
}

static uint64_t huge_pages_free_on(unsigned node)
{
	char path[128];
	unsigned long long n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%u/hugepages/hugepages-2048kB/free_hugepages", node);
	f = fopen(path, "r");
	if (f && fscanf(f, "%llu", &n) != 1)
		n = 0;
	if (f)
		fclose(f);
	return n;
}

/* A node with half the huge pages that it should give. `make numa` sets such a pool up. */
Test(nodes_short, hugetlb_takes_what_another_node_has, .init = setup, .fini = teardown, .timeout = 60)
{
	uint64_t had = huge_pages_free_on(1), here = 0;

	create(PP_MEM_HUGETLB);
	if (had >= region.header->max_segments / 2)
		cr_skip_test("node 1 has enough huge pages");
	for (uint64_t n = 0; n < region.header->max_segments; n++)
		here += node_of(region.segments_at + n * PP_SEGMENT_BYTES) == 1;
	cr_assert_leq(here, had);
	cr_assert_eq(huge_pages_free_on(1), 0, "node 1 gave all that it had");
}
