/*
 * fault.h - named points where a test may kill, stop, delay or fail the process; nothing at all in a release build.
 *
 *   PP_FAULT_POINT("region.grow.backed");            statement
 *   rc = PP_FAULT_ERROR("wal.write.submit");         expression: 0, or the -errno that the test asked for
 *
 * Names are "module.function.moment". A test build (-DPP_FAULT) reads PPDB_FAULT once:
 *   PPDB_FAULT="name=action[,name=action...]"   action: kill[:n]  SIGKILL at the n-th passage (1 = first)
 *                                                       stop[:n]  SIGSTOP at the n-th passage
 *                                                       sleep:ms  at each passage
 *                                                       errno:ENOSPC (or a number)  PP_FAULT_ERROR returns it
 * and calls pp_fault_hook, if set, at each passage: the scheduler of tests/lib/sched.h hangs there.
 *
 *   if (... || PP_MUTANT("write.over_pending"))      0, or 1 in a test that asked for this mistake by pp_fault_mutant
 *   PP_POISON(memory, bytes)                         overwrites what was freed, so that whoever still reads it is found out
 */
#ifndef PP_SHM_FAULT_H
#define PP_SHM_FAULT_H

#include <stdbool.h>
#include <stddef.h>

struct pp_fault_site {
	const char *name;
	const char *file;
	int line;
};

/* True in a build with fault points. */
bool pp_fault_built(void);

/* Points linked into this binary, duplicates included: fills up to cap, returns how many there are. 0 in a release build. */
size_t pp_fault_sites(const struct pp_fault_site **out, size_t cap);

/* Replaces the settings of PPDB_FAULT from within a test; NULL clears. -EINVAL: not understood. -ENOTSUP in a release build. */
int pp_fault_set(const char *spec);

/* Called with the point's name and `context` at each passage, in the thread that passes. */
extern void (*pp_fault_hook)(const char *name, void *context);
extern void *pp_fault_hook_context;

/* Name of the one mistake that is made: tests show with it that they would find it. NULL = none. */
extern const char *pp_fault_mutant;

#ifdef PP_FAULT

int pp_fault_pass(const struct pp_fault_site *site);

#define PP_FAULT_ERROR(NAME)                                                                        \
	(__extension__({                                                                            \
		static const struct pp_fault_site pp_fault_here = { NAME, __FILE__, __LINE__ };     \
		static const struct pp_fault_site *const pp_fault_entry                             \
			__attribute__((used, section("pp_faults"))) = &pp_fault_here;               \
		pp_fault_pass(&pp_fault_here);                                                      \
	}))
#define PP_FAULT_POINT(NAME) ((void)PP_FAULT_ERROR(NAME))
#define PP_MUTANT(NAME) (__builtin_expect(pp_fault_mutant != NULL, 0) && !__builtin_strcmp(pp_fault_mutant, NAME))
#define PP_POISON(MEMORY, BYTES) __builtin_memset((MEMORY), 0xdb, (BYTES))

#else

#define PP_FAULT_ERROR(NAME) 0
#define PP_FAULT_POINT(NAME) ((void)0)
#define PP_MUTANT(NAME) 0
#define PP_POISON(MEMORY, BYTES) ((void)(MEMORY), (void)(BYTES))

#endif
#endif
