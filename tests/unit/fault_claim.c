/*
 * fault_claim.c - a client that dies right after it took a slot that was never used before: the slot comes back.
 */
#include "tests/unit/engine_store.h"

#include "engine/keeper_internal.h"
#include "shm/fault.h"

#include <sys/wait.h>

static struct engine_store s;

static void open_one(void)
{
	engine_store_open(&s, PP_STRATEGY_SINGLE, 1);
}

static void close_one(void)
{
	engine_store_close(&s);
}

TestSuite(fault_claim, .init = open_one, .fini = close_one, .timeout = 120);

static unsigned claimed_by(uint32_t proc)
{
	unsigned n = 0;

	for (unsigned i = 0; i < s.region->fixed.slots; i++) {
		uint64_t owner = pp_load_acq(&s.region->slots[i].owner);

		n += pp_slot_state(owner) != PP_SLOT_FREE && pp_slot_proc(owner) == proc;
	}
	return n;
}

/* So that the next claim takes a slot that was never used. */
static void use_up_the_used(void)
{
	static struct pp_thread other[16];
	unsigned n = 0;

	for (unsigned i = 0; i < pp_slots_high(s.region); i++)
		if (pp_slot_state(pp_load_acq(&s.region->slots[i].owner)) == PP_SLOT_FREE)
			cr_assert_eq(pp_slot_claim(s.region, s.proc, &other[n++]), 0);
}

Test(fault_claim, a_claim_cut_short_is_taken_back)
{
	struct pp_thread t;
	uint32_t proc;
	int status;
	pid_t pid;

	if (!pp_fault_built())
		cr_skip_test("this build has no fault points");
	cr_assert_eq(pp_keeper_proc_add(s.keeper, (uint32_t)getpid(), getuid(), pp_self_start(), 0, "dies", &proc), 0);
	use_up_the_used();
	pid = fork();
	if (!pid) {
		pp_fault_set("slot.claim.taken=kill:1");
		_exit(pp_slot_claim(s.region, proc, &t) ? 2 : 1);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "status %#x", (unsigned)status);
	cr_assert_eq(claimed_by(proc), 1);
	pp_keeper_proc_gone(s.keeper, proc);
	cr_expect(engine_store_until(!claimed_by(proc)), "the slot stays taken");
}
