/*
 * numa.c - NUMA placement through libnuma.
 *
 * tmpfs: mbind is a property of the inode's range, seen by all processes, honoured by fallocate and by collapsing to huge pages.
 * hugetlb: mbind is a property of the mapping, so the process that binds must also be the one that touches (MADV_POPULATE_WRITE).
 * Always MPOL_PREFERRED: MPOL_BIND beyond the node's free memory ends in the OOM killer.
 *
 * A process that dies here leaves at most a policy on a range that is not used yet; the next one to commit it sets its own.
 */
#include "shm/numa.h"

#include "shm/layout.h"

#include <errno.h>
#include <numa.h>
#include <numaif.h>
#include <sched.h>

unsigned pp_numa_nodes(void)
{
	int top;

	if (numa_available() < 0)
		return 1;
	top = numa_max_node();
	if (top < 0)
		return 1;
	return top >= PP_MAX_NODES ? PP_MAX_NODES : (unsigned)top + 1;
}

bool pp_numa_has_memory(unsigned node)
{
	struct bitmask *allowed;
	bool has;

	if (numa_available() < 0)
		return node == 0;
	allowed = numa_get_mems_allowed(); /* a copy */
	has = allowed && node < PP_MAX_NODES && numa_bitmask_isbitset(allowed, node);
	if (allowed)
		numa_bitmask_free(allowed);
	return has;
}

unsigned pp_numa_here(void)
{
	unsigned cpu, node;

	if (getcpu(&cpu, &node) || node >= PP_MAX_NODES)
		return 0;
	return node;
}

int pp_numa_prefer(void *addr, uint64_t bytes, unsigned node)
{
	unsigned long mask = 1ul << node;

	if (node >= PP_MAX_NODES)
		return -EINVAL;
	/* maxnode counts one more than the kernel's own documentation says */
	if (mbind(addr, bytes, MPOL_PREFERRED, &mask, PP_MAX_NODES + 1, 0))
		return -errno;
	return 0;
}

int pp_numa_of(void *addr)
{
	int node = -1;

	if (get_mempolicy(&node, NULL, 0, addr, MPOL_F_NODE | MPOL_F_ADDR))
		return -errno;
	return node;
}

/* The cpus of the node that the calling thread may use. */
static int cpus_of(unsigned node, struct bitmask *cpus)
{
	struct bitmask *allowed = numa_allocate_cpumask();
	int rc = allowed ? 0 : -ENOMEM;

	if (!rc && (numa_node_to_cpus((int)node, cpus) || numa_sched_getaffinity(0, allowed) < 0))
		rc = -errno;
	for (unsigned cpu = 0; !rc && cpu < cpus->size; cpu++)
		if (!numa_bitmask_isbitset(allowed, cpu))
			numa_bitmask_clearbit(cpus, cpu);
	if (!rc && !numa_bitmask_weight(cpus))
		rc = -ENOENT;
	if (allowed)
		numa_free_cpumask(allowed);
	return rc;
}

int pp_numa_pin(unsigned node)
{
	struct bitmask *cpus;
	int rc;

	if (pp_numa_nodes() <= 1)
		return 0;
	cpus = numa_allocate_cpumask();
	if (!cpus)
		return -ENOMEM;
	rc = cpus_of(node, cpus);
	if (!rc && numa_sched_setaffinity(0, cpus) < 0)
		rc = -errno;
	numa_free_cpumask(cpus);
	return rc;
}
