/*
 * shm_alloc_kill.c - processes that allocate, link, unlink and retire in one region are killed at any moment, hundreds of times;
 * after the reaping every byte is accounted for. Readers among them check that nothing is freed under them.
 *
 * The "engine" of this test is a table of cells: a cell holds 0 or {generation, reference}. A worker notes the new block and the old
 * one before its CAS, as the engine does; the reaper asks the cells.
 */
#include "tests/unit/shm_arena.h"

#include <sched.h>
#include <sys/ptrace.h>
#include <sys/user.h>

#define CELLS 256
#define WORKERS 3
#define SLOTS 32
#define LINK(ref, gen) ((ref) | (uint64_t)(gen) << PP_REF_BITS)

static struct pp_region region;
static struct pp_thread keeper;
static pp_a64 *cells;

static void setup(void)
{
	arena_create(&region, 128 << 20, SLOTS);
	arena_claim(&region, 0, &keeper);
	keeper.reserve = true;
	cells = region.engine;
}

static void teardown(void)
{
	help_destroy(&region);
}

TestSuite(alloc_kill, .init = setup, .fini = teardown, .timeout = 180);

/* ---- a worker process -------------------------------------------------------------------------------------------- */

enum { BAD_CANARY = 3, BAD_CLAIM = 4 };

static uint64_t size_of(uint64_t seed, bool large)
{
	uint64_t kind = seed % 64;

	return 16 + (kind == 0 && large ? 30000 + seed / 64 % 200000 : kind < 8 ? seed / 64 % 5000 : seed / 64 % 300);
}

static uint64_t step(uint64_t words, uint64_t i)
{
	return i + 16 < words && i > 16 ? words / 8 + 1 : 1;
}

static void mark(pp_ref ref, uint64_t bytes)
{
	uint64_t *p = pp_at(&region, ref);

	for (uint64_t i = 1; i < bytes / 8; i += step(bytes / 8, i))
		p[i] = ref ^ i;
	p[0] = bytes;
}

static bool marked(pp_ref ref)
{
	uint64_t *p = pp_at(&region, ref), bytes = p[0];

	for (uint64_t i = 1; i < bytes / 8; i += step(bytes / 8, i))
		if (p[i] != (ref ^ i))
			return false;
	return true;
}

static void replace(struct pp_thread *t, uint64_t *seed, bool large)
{
	uint64_t bytes = size_of(arena_random(seed), large), cell = arena_random(seed) % CELLS, old, gen;
	pp_ref ref;

	if (pp_alloc(t, bytes, 1, &ref))
		return;
	mark(ref, bytes);
	gen = pp_gen_of(&region, ref);
	if (arena_random(seed) % 8 == 0) {
		pp_alloc_cancel(t, ref);
		return;
	}
	old = pp_protect(t, &cells[cell]);
	pp_note(t, ref, gen, cell);
	if (old)
		pp_note(t, old & PP_REF_MASK, old >> PP_REF_BITS, cell);
	if (pp_cas_seq(&cells[cell], &old, LINK(ref, gen))) {
		pp_alloc_live(t, ref, gen);
		if (old)
			pp_retire(t, old & PP_REF_MASK, old >> PP_REF_BITS);
	} else {
		pp_alloc_cancel(t, ref);
	}
	pp_notes_clear(t);
}

static void one_section(struct pp_thread *t, uint64_t *seed, bool large)
{
	pp_read_enter(t);
	for (unsigned n = arena_random(seed) % 4; n; n--) {
		uint64_t link = pp_protect(t, &cells[arena_random(seed) % CELLS]);

		if (link && !marked(link & PP_REF_MASK))
			_exit(BAD_CANARY);
	}
	for (unsigned n = arena_random(seed) % 4; n; n--)
		replace(t, seed, large);
	pp_read_leave(t);
}

static pid_t start_worker(uint32_t proc, uint64_t seed)
{
	pid_t pid = fork();
	struct pp_thread t;

	if (pid)
		return pid;
	for (;;) {
		if (pp_slot_claim(&region, proc, &t)) { /* the keeper has not freed the left ones yet */
			sched_yield();
			continue;
		}
		for (unsigned n = 0; n < 2000; n++)
			one_section(&t, &seed, true);
		pp_slot_leave(&t);
	}
}

/* ---- the reaper -------------------------------------------------------------------------------------------------- */

static bool linked(void *ctx, pp_ref payload, uint64_t gen)
{
	(void)ctx;
	for (unsigned i = 0; i < CELLS; i++)
		if (pp_load_seq(&cells[i]) == LINK(payload, gen))
			return true;
	return false;
}

/* As the engine does: pages and private blocks, then noted blocks by reachability, the interval last. */
static void reap_slot(unsigned n)
{
	struct pp_slot *s = &region.slots[n];

	pp_alloc_reap(&keeper, n, linked, NULL);
	pp_read_enter(&keeper);
	for (unsigned i = 0; i < PP_NOTES; i++) {
		pp_ref ref = pp_load_acq(&s->note[i].ref);
		uint64_t gen = pp_load_acq(&s->note[i].what);

		if (ref && pp_block_state(pp_load_acq(&pp_block_at(&region, ref)->word)) == PP_BLOCK_LIVE &&
		    !linked(NULL, ref, gen))
			pp_retire(&keeper, ref, gen);
	}
	pp_read_leave(&keeper);
	pp_store_seq(&s->owner, PP_SLOT_OWNER(PP_SLOT_LEAVING, pp_slot_proc(pp_load_acq(&s->owner)), pp_slot_gen(pp_load_acq(&s->owner))));
	pp_slot_free(&region, n, NULL);
}

static void reap_proc(uint32_t proc)
{
	for (unsigned n = 0; n < SLOTS; n++) {
		uint64_t owner = pp_load_acq(&region.slots[n].owner);

		if (pp_slot_state(owner) == PP_SLOT_CLAIMED && pp_slot_proc(owner) == proc)
			reap_slot(n);
		if (pp_slot_state(owner) == PP_SLOT_LEAVING)
			pp_slot_free(&region, n, NULL);
	}
}

static void check_all(void)
{
	struct pp_account a;
	unsigned count = 0;

	pp_alloc_release(&keeper);
	arena_settle(&keeper);
	a = arena_account(&region);
	for (unsigned i = 0; i < CELLS; i++) {
		uint64_t link = pp_load_acq(&cells[i]);

		count += !!link;
		cr_assert(!link || marked(link & PP_REF_MASK));
		cr_assert(!link || pp_hint_live(&keeper, link & PP_REF_MASK, link >> PP_REF_BITS, PP_GEN_MASK, 1));
	}
	cr_assert_eq(a.blocks_private, 0, "%llu private", (unsigned long long)a.blocks_private);
	cr_assert_eq(a.private_bytes, 0, "%llu bytes in half-claimed runs", (unsigned long long)a.private_bytes);
	cr_assert_eq(a.blocks_limbo, 0, "%llu in limbo", (unsigned long long)a.blocks_limbo);
	cr_assert_eq(a.blocks_live, count, "%llu live, %u linked", (unsigned long long)a.blocks_live, count);
}

/* No page is lost: all memory but what the cells hold can be had again. */
static void check_memory_comes_back(void)
{
	struct pp_account a;

	for (unsigned i = 0; i < CELLS; i++) {
		uint64_t link = pp_load_acq(&cells[i]);

		pp_store_seq(&cells[i], 0);
		pp_read_enter(&keeper);
		if (link)
			pp_retire(&keeper, link & PP_REF_MASK, link >> PP_REF_BITS);
		pp_read_leave(&keeper);
	}
	arena_settle(&keeper);
	a = arena_account(&region);
	cr_assert_eq(a.free_page_bytes, a.pages * PP_PAGE_BYTES, "%llu of %llu pages", (unsigned long long)a.free_page_bytes / PP_PAGE_BYTES,
		     (unsigned long long)a.pages);
	cr_assert_eq(pp_load_acq(&region.globals->free_pages), a.pages);
}

Test(alloc_kill, random_kills)
{
	uint64_t seed = arena_seed("alloc_kill/random*"), cursor = 0;
	pid_t pid[WORKERS];

	for (unsigned i = 0; i < WORKERS; i++)
		pid[i] = start_worker(i + 1, arena_random(&seed));
	for (unsigned kills = 0; kills < 400; kills++) {
		unsigned victim = arena_random(&seed) % WORKERS;
		uint64_t until = pp_deadline_ns(arena_random(&seed) % (4 * HELP_MS));
		int rc;

		do {
			arena_round(&region);
			pp_safe_refresh(&region, &keeper.safe);
			pp_alloc_sweep(&keeper, &keeper.safe, &cursor, 256);
			for (unsigned i = 0; i < SLOTS; i++)
				pp_slot_free(&region, i, NULL);
			sched_yield();
		} while (pp_now_ns() < until);
		kill(pid[victim], SIGKILL);
		rc = help_join(pid[victim]);
		cr_assert_eq(rc, -SIGKILL, "worker: %d", rc);
		reap_proc(victim + 1);
		pid[victim] = start_worker(victim + 1, arena_random(&seed));
	}
	for (unsigned i = 0; i < WORKERS; i++) {
		kill(pid[i], SIGKILL);
		cr_assert_eq(help_join(pid[i]), -SIGKILL);
		reap_proc(i + 1);
	}
	check_all();
	check_memory_comes_back();
}

/* ---- killed at every instruction --------------------------------------------------------------------------------- */

#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

#define ADDRESSES 20000

extern char __executable_start, etext;

static void replace_with(struct pp_thread *t, unsigned cell, uint64_t bytes)
{
	uint64_t old, gen;
	pp_ref ref;

	if (pp_alloc(t, bytes, 1, &ref))
		_exit(BAD_CLAIM);
	*(uint64_t *)pp_at(&region, ref) = 8;
	gen = pp_gen_of(&region, ref);
	old = pp_protect(t, &cells[cell]);
	pp_note(t, ref, gen, cell);
	if (old)
		pp_note(t, old & PP_REF_MASK, old >> PP_REF_BITS, cell);
	pp_swap_seq(&cells[cell], LINK(ref, gen));
	pp_alloc_live(t, ref, gen);
	if (old)
		pp_retire(t, old & PP_REF_MASK, old >> PP_REF_BITS);
	pp_notes_clear(t);
}

/* Two blocks a page: pages are given up, with a private block in one of them. */
static void cancel_some(struct pp_thread *t)
{
	static const uint64_t sizes[] = {32000, 100, 32000, 70000, 32000, 32000};
	pp_ref refs[6];

	for (unsigned i = 0; i < 6; i++)
		if (pp_alloc(t, sizes[i], 1, &refs[i]))
			_exit(BAD_CLAIM);
	for (unsigned i = 0; i < 6; i++)
		pp_alloc_cancel(t, refs[i]);
}

/* Everything that the allocator does, once or a few times; the same way each time but for what it finds. */
static void script(void)
{
	struct pp_thread t;

	if (pp_slot_claim(&region, 1, &t))
		_exit(BAD_CLAIM);
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 3; i++) {
			pp_read_enter(&t);
			replace_with(&t, i, 32000);
			replace_with(&t, 4, i ? 50000 : 140000);
			replace_with(&t, 5, 1000);
			pp_read_leave(&t);
		}
		pp_read_enter(&t);
		cancel_some(&t);
		pp_read_leave(&t);
		arena_round(&region);
		arena_sweep(&t);
	}
	pp_slot_leave(&t);
	_exit(0);
}

static pid_t start_traced(void (*run)(void))
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
			_exit(BAD_CLAIM);
		raise(SIGSTOP);
		run();
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
		cr_skip_test("tracing is not allowed here");
	return pid;
}

static uint64_t rip_of(pid_t pid)
{
	struct user_regs_struct regs;

	cr_assert_eq(ptrace(PTRACE_GETREGS, pid, NULL, &regs), 0);
	return regs.rip;
}

/* Runs it step by step and keeps each address of the test's own text once. */
static unsigned record(void (*run)(void), uint64_t *addresses)
{
	uint64_t low = (uint64_t)(uintptr_t)&__executable_start, high = (uint64_t)(uintptr_t)&etext;
	uint8_t *seen = calloc(1, high - low);
	pid_t pid = start_traced(run);
	unsigned count = 0;
	int status;

	for (;;) {
		uint64_t at;

		cr_assert_eq(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), 0);
		cr_assert_eq(waitpid(pid, &status, 0), pid);
		if (!WIFSTOPPED(status))
			break;
		at = rip_of(pid);
		if (at < low || at >= high || seen[at - low])
			continue;
		seen[at - low] = 1;
		if (count < ADDRESSES)
			addresses[count++] = at;
	}
	cr_assert(WIFEXITED(status) && !WEXITSTATUS(status), "the script itself: %x", status);
	free(seen);
	return count;
}

/* True if it came by; killed there, before that instruction. */
static bool kill_at(void (*run)(void), uint64_t at)
{
	pid_t pid = start_traced(run);
	long text = ptrace(PTRACE_PEEKTEXT, pid, (void *)(uintptr_t)at, NULL);
	int status;
	bool hit;

	ptrace(PTRACE_POKETEXT, pid, (void *)(uintptr_t)at, (void *)((text & ~0xffL) | 0xcc));
	cr_assert_eq(ptrace(PTRACE_CONT, pid, NULL, NULL), 0);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	hit = WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP;
	cr_assert(hit || (WIFEXITED(status) && !WEXITSTATUS(status)), "at %llx: status %x", (unsigned long long)at, status);
	if (hit) {
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
	}
	return hit;
}

Test(alloc_kill, at_every_instruction)
{
	static uint64_t addresses[ADDRESSES];
	unsigned count, hits = 0;

	record(script, addresses); /* the first run finds a fresh arena, the second what all later ones find */
	reap_proc(1);
	count = record(script, addresses);
	reap_proc(1);
	for (unsigned i = 0; i < count; i++) {
		hits += kill_at(script, addresses[i]);
		reap_proc(1);
		check_all();
	}
	cr_log_info("%u of %u addresses", hits, count);
	cr_assert_gt(hits, count / 2);
	check_memory_comes_back();
}

/* A second daemon finds the first one's corpse on top of a client's. */
static void reaper_script(void)
{
	if (pp_slot_claim(&region, 2, &keeper))
		_exit(BAD_CLAIM);
	reap_proc(1);
	arena_settle(&keeper);
	pp_slot_leave(&keeper);
	_exit(0);
}

Test(alloc_kill, the_reaper_at_every_instruction)
{
	static uint64_t first[ADDRESSES], second[ADDRESSES];
	uint64_t seed = arena_seed("alloc_kill/the_reaper*");
	unsigned nfirst, nsecond, hits = 0;

	record(script, first);
	reap_proc(1);
	nfirst = record(script, first);
	reap_proc(1);
	kill_at(script, first[nfirst / 2]);
	nsecond = record(reaper_script, second);
	reap_proc(2);
	for (unsigned i = 0; i < nsecond; i++) {
		kill_at(script, first[arena_random(&seed) % nfirst]);
		hits += kill_at(reaper_script, second[i]);
		reap_proc(2);
		reap_proc(1);
		check_all();
	}
	cr_log_info("%u of %u addresses", hits, nsecond);
	cr_assert_gt(hits, nsecond / 2);
	check_memory_comes_back();
}

#endif
