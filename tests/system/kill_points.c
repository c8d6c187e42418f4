/*
 * kill_points.c - the daemon dies at each of its named points, with clients at work and dying. The next one adopts the arena, or starts
 * from log and checkpoint alone: what was acknowledged is there, what is there is a prefix, and the check finds nothing.
 *
 * PPDB_TEST_SCALE > 1 also takes later passages of each point.
 */
#include "client/ppdb.h"
#include "shm/fault.h"
#include "tests/lib/crew.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHURN 3
#define FIRST_CHURN CREW_FIRST_CHURN
#define LIVES_NS UINT64_C(2500000000)

TestSuite(kill_points, .fini = test_stores_end, .timeout = 1200);

static struct test_store s;

enum start { WARM, COLD };

/* Waits until the daemon dies of its fault point, while clients die too. False: it did not. */
static bool dies(struct crew *c, struct test_random *r)
{
	uint64_t begin = test_now_ns();

	while (test_now_ns() - begin < LIVES_NS) {
		unsigned victim = FIRST_CHURN + (unsigned)test_below(r, CHURN);
		int status = test_collect(s.daemon, false);

		if (status != -1) {
			s.daemon = 0;
			test_require(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "ppdbd ended with status %#x", (unsigned)status);
			return true;
		}
		usleep(4000);
		crew_watch(c);
		crew_kill(c, victim);
		crew_hire(c, victim, CREW_CHURN, 0);
	}
	return false;
}

static void judge(struct crew *c, enum start how, const char *when)
{
	ppdb *db = test_store_attach(&s, 0);

	test_say("%s: judging", when);
	crew_judge_recovered(c, db, how == WARM);
	if (how == COLD)
		c->generation++;
	test_ok(ppdb_detach(db));
	crew_continue(c);
	crew_progress(c, 3);
	for (unsigned i = 0; i < CHURN; i++)
		crew_kill(c, FIRST_CHURN + i);
	crew_dismiss(c);
	db = test_store_attach(&s, 0);
	crew_settled(when, db, 2, 4);
	crew_judge_follow(c);
	test_ok(ppdb_detach(db));
	test_store_check(&s, true);
}

static void set_fault(const char *fault)
{
	if (fault)
		setenv("PPDB_FAULT", fault, 1);
	else
		unsetenv("PPDB_FAULT");
}

/* The daemon dies while it starts: on what it left the next one starts. */
static bool dies_starting(const char *fault, enum start how)
{
	struct crew *c = crew_new(&s);
	int rc;

	c->tolerant = true;
	test_store_start(&s, "--memory 128M --wal-segment 1M --checkpoint-bytes 2M");
	crew_follow_begin(c);
	crew_hire_all(c, CHURN);
	crew_progress(c, 20);
	test_store_kill(&s);
	crew_stop(c);
	if (how == COLD)
		unlink(s.arena);
	set_fault(fault);
	rc = test_store_try(&s);
	set_fault(NULL);
	if (rc == 0)
		test_store_kill(&s);
	test_require(rc == 0 || rc == 128 + SIGKILL, "%s: ppdbd ended with %d", fault, rc);
	rc = rc != 0;
	test_require(!test_store_try(&s), "%s: no start after it", fault);
	judge(c, how, fault);
	test_store_stop(&s);
	test_store_end(&s);
	return rc;
}

static bool dies_working(const char *fault, enum start how, struct test_random *r)
{
	struct crew *c = crew_new(&s);
	bool died;
	int rc;

	c->tolerant = true;
	set_fault(fault);
	test_store_prepare(&s, "--memory 128M --wal-segment 1M --checkpoint-bytes 2M");
	rc = test_store_try(&s);
	set_fault(NULL);
	if (rc) { /* at its very first start: nothing is there yet */
		test_require(rc == 128 + SIGKILL, "%s: ppdbd ended with %d", fault, rc);
		test_require(!test_store_try(&s), "%s: no start after it", fault);
		test_store_check(&s, true);
		test_store_stop(&s);
		test_store_end(&s);
		return true;
	}
	crew_hire_all(c, CHURN);
	died = dies(c, r);
	if (!died)
		test_store_kill(&s);
	crew_stop(c);
	if (how == COLD)
		unlink(s.arena);
	test_require(!test_store_try(&s), "%s: no start after it", fault);
	judge(c, how, fault);
	test_store_stop(&s);
	test_store_end(&s);
	return died;
}

static size_t names_of_points(const char **names, size_t cap)
{
	static const struct pp_fault_site *sites[1024];
	size_t all = pp_fault_sites(sites, 1024), n = 0;

	for (size_t i = 0; i < all && i < 1024; i++) {
		bool known = false;

		for (size_t k = 0; k < n && !known; k++)
			known = !strcmp(names[k], sites[i]->name);
		if (!known && n < cap)
			names[n++] = sites[i]->name;
	}
	return n;
}

/* Points that every daemon comes by under this load: so that one is noticed that was renamed, or is not in the list. */
static const char *const must[] = {"settle.closed", "settle.settled", "settle.recorded", "settle.advanced", "keeper.filled",
	"reap.settled", "reap.noted", "reap.pages", "remove.noted", "remove.dead", "remove.unlinked", "checkpoint.durable",
	"checkpoint.committed"};
#define MUST (sizeof(must) / sizeof(*must))

static bool in(const char *name, const char *const *modules)
{
	for (; *modules; modules++)
		if (!strncmp(name, *modules, strlen(*modules)))
			return true;
	return false;
}

static void must_have_died(const char *const *modules, const bool *died)
{
	for (size_t i = 0; i < MUST; i++)
		test_require(!in(must[i], modules) || died[i], "no daemon died at %s", must[i]);
}

static void note_death(const char *name, bool *died)
{
	for (size_t i = 0; i < MUST; i++)
		died[i] |= !strcmp(name, must[i]);
}

/* A client's points that a daemon does not come by would only take time. */
static void all_points(const char *const *modules, enum start how)
{
	const char *names[256];
	bool died_at[MUST] = {false};
	struct test_random r;
	size_t count;

	if (!pp_fault_built())
		cr_skip_test("this build has no fault points");
	test_begin(900);
	r = test_random(test_seed(), 3);
	count = names_of_points(names, 256);
	for (size_t i = 0; i < count; i++) {
		if (!in(names[i], modules))
			continue;
		for (uint64_t n = 1; n <= test_scale(1); n = n * 4 + 1) {
			char fault[96];
			bool died;

			snprintf(fault, sizeof(fault), "%s=kill:%llu", names[i], (unsigned long long)(n + test_below(&r, 3)));
			if (!strcmp(names[i], "keeper.filled"))
				snprintf(fault, sizeof(fault), "keeper.filled=kill:1");
			test_say("%s, %s", fault, how == WARM ? "warm" : "cold");
			died = dies_working(fault, how, &r);
			if (!died)
				break;
			note_death(names[i], died_at);
		}
	}
	must_have_died(modules, died_at);
}

static const char *const commits[] = {"settle.", "keeper.", "checkpoint.", NULL};
static const char *const house[] = {"remove.", "merge.", "prune.", "reap.", NULL};
static const char *const memory[] = {"sweep.", "alloc.", "large.", "region.", "index.", NULL};

Test(kill_points, commits_warm)
{
	all_points(commits, WARM);
}

Test(kill_points, commits_cold)
{
	all_points(commits, COLD);
}

Test(kill_points, house_warm)
{
	all_points(house, WARM);
}

Test(kill_points, memory_warm)
{
	all_points(memory, WARM);
}

Test(kill_points, while_starting)
{
	static const char *const faults[] = {"keeper.filled=kill:1", "reap.settled=kill:1", "reap.noted=kill:2", "reap.pages=kill:1",
		"reap.page.rebuilt=kill:2", "reap.slot.done=kill:1", "alloc.retire.header=kill:1", "index.swap.linked=kill:3",
		"index.split.linked=kill:1", "region.grow.committed=kill:1",
		"bulk.step.linked=kill:3", "recover.run.applied=kill:1"};

	if (!pp_fault_built())
		cr_skip_test("this build has no fault points");
	test_begin(600);
	for (size_t i = 0; i < sizeof(faults) / sizeof(*faults); i++) {
		bool died;

		dies_starting(faults[i], WARM);
		died = dies_starting(faults[i], COLD);
		test_require(died || (strncmp(faults[i], "bulk.", 5) && strncmp(faults[i], "recover.", 8)), "no daemon came by %s", faults[i]);
	}
}
