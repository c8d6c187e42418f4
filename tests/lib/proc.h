/*
 * proc.h - what tests with several processes share: failing from any process, seeds, child processes, a watchdog.
 *
 * A test starts with test_begin(seconds): it sets the watchdog and draws a seed. Every process of the test may call test_require:
 * in the test's own process it fails the test, in a child it prints and ends the child with 1, which test_join turns into a failure.
 * Children and daemons die with the test (PR_SET_PDEATHSIG), so nothing is left behind by a killed test. Spawn from the thread
 * that lives as long as the test: the death of that thread counts as the parent's.
 */
#ifndef TESTS_LIB_PROC_H
#define TESTS_LIB_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* ---- seeds ------------------------------------------------------------------------------------------------------ */

struct test_random {
	uint64_t state;
};

/* PPDB_SEED from the environment, else drawn anew each run. Failures print the line that repeats the run. */
uint64_t test_seed(void);
/* An independent stream: the same seed and number give the same values in every process. */
struct test_random test_random(uint64_t seed, uint64_t stream);
uint64_t test_next(struct test_random *r);
static inline uint64_t test_below(struct test_random *r, uint64_t n)
{
	return (uint64_t)(((unsigned __int128)test_next(r) * n) >> 64);
}
/* True in `percent` of 100 calls. */
static inline bool test_chance(struct test_random *r, unsigned percent)
{
	return test_below(r, 100) < percent;
}
/* PPDB_TEST_SCALE (1): tests multiply their length by it; `make system` runs with 1, a long run with 100. */
uint64_t test_scale(uint64_t n);

/* ---- one test --------------------------------------------------------------------------------------------------- */

/* Draws the seed, starts the watchdog: after that many seconds it says who is stuck where, kills all and fails. */
void test_begin(unsigned seconds);
/* What this process is doing now; the watchdog prints the last words of each. */
void __attribute__((format(printf, 1, 2))) test_say(const char *fmt, ...);

void __attribute__((format(printf, 3, 4), noreturn)) test_fail(const char *file, int line, const char *fmt, ...);
#define test_require(condition, ...)                                   \
	do {                                                           \
		if (!(condition))                                      \
			test_fail(__FILE__, __LINE__, __VA_ARGS__);    \
	} while (0)
/* A ppdb call that must give `code`. */
#define test_expect(code, call)                                                                                        \
	do {                                                                                                           \
		int test_got_ = (call), test_want_ = (code);                                                           \
		if (test_got_ != test_want_)                                                                           \
			test_fail(__FILE__, __LINE__, "%s gave %s, not %s: %s", #call, test_name_of(test_got_),        \
				test_name_of(test_want_), test_detail());                                             \
	} while (0)
#define test_ok(call) test_expect(0, call)
const char *test_name_of(int code); /* ppdb_errname, two of them in one expression */
const char *test_detail(void);

/* ---- processes -------------------------------------------------------------------------------------------------- */

/* Forks a child that runs fn(arg) and exits with 0 when it returns. It may call test_require, never cr_assert. */
pid_t test_spawn(void (*fn)(void *), void *arg);
/* Waits for a child that must end with 0. */
void test_join(pid_t pid);
/* Waits for a child, however it ends: what waitpid says. With block false -1 while it runs. */
int test_collect(pid_t pid, bool block);
/* SIGKILLs a child (it may have ended with 0 before) and collects it. True if the signal ended it. */
bool test_kill(pid_t pid);
/* Runs a program, stdout and stderr to `log` (NULL: as they are); returns at once. */
pid_t test_exec(char *const argv[], const char *log);
/* Shared, zeroed memory for the processes of a test. */
void *test_shared(size_t bytes);

uint64_t test_now_ns(void); /* CLOCK_MONOTONIC */
void test_sleep_ms(unsigned ms);

/* What the watchdog prints, also for use in failures: state and place of each thread of a process. */
void test_describe(pid_t pid, const char *who);
/* Called by the watchdog and when a child fails, before the processes are killed. */
void test_on_end(void (*fn)(void));

#endif
