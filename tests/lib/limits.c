/*
 * limits.c - no test fails because its build is slow, and no child outlives its test.
 *
 * Before the first test the time-outs of all suites and tests are multiplied. Every process that a test forks dies with it: a test that runs
 * into its time-out is killed, and what it left would go on for ever and keep the pipe of the output open.
 */
#include "tests/lib/limits.h"

#include <criterion/criterion.h>
#include <criterion/hooks.h>
#include <criterion/internal/ordered-set.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>

uint64_t test_patience(uint64_t n)
{
	const char *given = getenv("PPDB_TEST_PATIENCE");
	double by = given ? atof(given) : 1;

	return by > 0 ? (uint64_t)((double)n * by) : n;
}

static void stretch(struct criterion_test_extra_data *data)
{
	if (data && data->timeout > 0)
		data->timeout = (double)test_patience((uint64_t)data->timeout);
}

ReportHook(PRE_ALL)(struct criterion_test_set *set)
{
	FOREACH_SET(struct criterion_suite_set *s, set->suites) {
		stretch(s->suite.data);
		FOREACH_SET(struct criterion_test *t, s->tests)
			stretch(t->data);
	}
}

static void die_with_parent(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

__attribute__((constructor)) static void watch_forks(void)
{
	pthread_atfork(NULL, NULL, die_with_parent);
}
