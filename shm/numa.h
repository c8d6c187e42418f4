/*
 * numa.h - placement of memory and threads on NUMA nodes; every call is a no-op on a machine with one node.
 *
 * Memory is *preferred* on a node, never strictly bound: a strict policy beyond the node's free memory gets the toucher killed.
 */
#ifndef PP_SHM_NUMA_H
#define PP_SHM_NUMA_H

#include <stdbool.h>
#include <stdint.h>

/* Highest node number + 1, at most PP_MAX_NODES; 1 where the kernel knows no nodes. */
unsigned pp_numa_nodes(void);

/* True if the node exists and has memory (node numbers may have holes). */
bool pp_numa_has_memory(unsigned node);

/* Node of the cpu that runs the caller; 0 if unknown. A hint: the thread may move at once. */
unsigned pp_numa_here(void);

/*
 * Asks for the pages of [addr, addr + bytes) to come from `node`, before they are first touched. On tmpfs the policy belongs to
 * the file's range and holds for all processes and fallocate; on hugetlb it belongs to this mapping, so the caller populates.
 * 0 or -errno; failing only costs locality.
 */
int pp_numa_prefer(void *addr, uint64_t bytes, unsigned node);

/* Node that the page at addr (touched already) lies on, or -errno. */
int pp_numa_of(void *addr);

/* Keeps the calling thread to those of its cpus (taskset, cpuset) that belong to `node`; 0, -ENOENT (there are none) or -errno. */
int pp_numa_pin(unsigned node);

#endif
