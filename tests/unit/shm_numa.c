/* shm_numa.c - placement; on one node everything is a no-op that succeeds. */
#include "tests/unit/shm_help.h"

#include "shm/numa.h"

#include <sys/mman.h>

TestSuite(numa, .timeout = 60);

Test(numa, nodes_are_sane)
{
	unsigned nodes = pp_numa_nodes();

	cr_assert(nodes >= 1 && nodes <= PP_MAX_NODES);
	cr_assert_lt(pp_numa_here(), nodes);
	cr_assert(pp_numa_has_memory(pp_numa_here()) || nodes > 1);
	cr_assert(!pp_numa_has_memory(PP_MAX_NODES));
}

Test(numa, memory_lands_on_the_node_that_was_asked_for)
{
	for (unsigned node = 0; node < pp_numa_nodes(); node++) {
		void *p = mmap(NULL, PP_SEGMENT_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

		if (!pp_numa_has_memory(node))
			continue;
		int rc = pp_numa_prefer(p, PP_SEGMENT_BYTES, node);
		if (rc == -ENOSYS || rc == -EPERM)
			cr_skip_test("the kernel or the container does not let us place memory");
		cr_assert_eq(rc, 0);
		memset(p, 1, PP_SEGMENT_BYTES);
		cr_assert_eq(pp_numa_of(p), (int)node);
		munmap(p, PP_SEGMENT_BYTES);
	}
}

Test(numa, missing_nodes_are_errors)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	cr_assert_lt(pp_numa_prefer(p, 4096, PP_MAX_NODES), 0);
	if (pp_numa_nodes() < PP_MAX_NODES)
		cr_assert_lt(pp_numa_prefer(p, 4096, PP_MAX_NODES - 1), 0);
	munmap(p, 4096);
}

Test(numa, a_thread_can_be_pinned_to_its_node)
{
	unsigned node = pp_numa_here();

	cr_assert_eq(pp_numa_pin(node), 0);
	cr_assert_eq(pp_numa_here(), node);
}
