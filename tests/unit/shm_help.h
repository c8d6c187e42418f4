/*
 * shm_help.h - a small region for a test, threads that own a slot of it, and child processes.
 */
#ifndef TESTS_UNIT_SHM_HELP_H
#define TESTS_UNIT_SHM_HELP_H

#include "shm/clock.h"
#include "shm/live.h"
#include "shm/thread.h"
#include "tests/lib/limits.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define HELP_LAYOUT UINT64_C(0x5eed)
#define HELP_MS PP_NS_PER_MS

static inline const char *help_folder(void)
{
	static char folder[64];

	snprintf(folder, sizeof(folder), "%s/ppdb-unit-%d", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm", (int)getpid());
	return folder;
}

static inline struct pp_region_config help_config(char path[128])
{
	snprintf(path, 128, "%s/test.arena", help_folder());
	return (struct pp_region_config){
		.path = path, .name = "test", .memory_bytes = 32 << 20, .slots = 16, .procs = 8, .ring_entries = 64,
		.stripes = 8, .shards = 4, .engine_bytes = 10000, .layout_hash = HELP_LAYOUT, .store_id = 7, .pages = -1,
	};
}

static inline void help_create(struct pp_region *r, uint32_t sync_mode, uint64_t spin_ns)
{
	char path[128];
	struct pp_region_config c = help_config(path);
	int rc;

	c.sync_mode = sync_mode;
	c.spin_ns = spin_ns;
	rc = pp_region_create(&c, r);
	cr_assert_eq(rc, 0, "create: %s %s", pp_error_text(rc), pp_detail_get());
	rc = pp_region_publish(r);
	cr_assert_eq(rc, 0, "publish: %s", pp_error_text(rc));
}

static inline void help_remove(void)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/test.arena", help_folder());
	unlink(path);
	snprintf(path, sizeof(path), "%s/test.arena.new", help_folder());
	unlink(path);
	rmdir(help_folder());
}

static inline void help_destroy(struct pp_region *r)
{
	pp_region_unmap(r);
	help_remove();
}

/* Record `proc` for process `pid`, and a slot of it for *t. */
static inline void help_thread(struct pp_region *r, unsigned slot, uint32_t proc, pid_t pid, struct pp_thread *t)
{
	uint64_t start = 0;

	pp_proc_start(pid, &start);
	pp_store_rlx(&r->procs[proc].pid, (uint32_t)pid);
	pp_store_rlx(&r->procs[proc].start, start);
	pp_store_rel(&r->procs[proc].state, 1);
	pp_store_rel(&r->slots[slot].owner, PP_SLOT_OWNER(PP_SLOT_CLAIMED, proc, pp_slot_gen(pp_load_acq(&r->slots[slot].owner)) + 1));
	if (pp_load_acq(&r->globals->slots_high) <= slot)
		pp_store_rel(&r->globals->slots_high, slot + 1);
	*t = (struct pp_thread){ .region = r, .slot = &r->slots[slot], .index = slot, .seed = slot + 1 };
}

/* Waits for a child; -signal, or its exit code. */
static inline int help_join(pid_t pid)
{
	int status = 0;

	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static inline void help_nap(uint64_t ms)
{
	struct timespec t = pp_timespec(ms * HELP_MS);

	nanosleep(&t, NULL);
}

/* True as soon as `condition` holds, false after 10 s (test_patience). */
#define help_eventually(condition)                                                              \
	(__extension__({                                                                        \
		uint64_t end_ = pp_deadline_ns(test_patience(10 * PP_NS_PER_SEC));                             \
		while (!(condition) && pp_now_ns() < end_)                                      \
			help_nap(1);                                                            \
		(condition);                                                                    \
	}))

#endif
