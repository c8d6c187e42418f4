/*
 * sched.c - the seeded scheduler (see sched.h): contexts, choice of the next one, virtual time, futexes.
 */
#include "tests/lib/sched.h"

#include "shm/layout.h"
#include "shm/fault.h"
#include "tests/lib/proc.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#define STACK_BYTES (1u << 20)
#define CLOCK_START UINT64_C(1000000000000)
#define CLOCK_TICK 1000            /* each look at the clock */
#define TRAIL 64

enum state { READY, ASLEEP, WAITING, STOPPED, ENDED };

struct thread {
	const char *name;
	ucontext_t context;
	void *stack;
	void (*fn)(void *);
	void *arg;
	enum state state;
	int64_t priority;
	uint64_t wake_ns;                /* ASLEEP, WAITING: when by itself */
	uint32_t *word, bits;            /* WAITING */
	bool timed_out;
	uint64_t accesses, lethal;
	struct thread *bound;            /* stops with this one */
	bool sparse;
	const char *point;               /* passed last */
};

struct switched {
	uint8_t from, to;
	const char *point;
	uint64_t accesses;
};

static struct {
	bool ticking;                    /* virtual time */
	uint64_t now_ns;
	struct thread thread[SCHED_THREADS];
	unsigned count;
	struct thread *current;          /* NULL = the test itself */
	ucontext_t main;
	struct test_random random;
	bool fine;                       /* each access counts, else named points only */
	uint64_t gap;                    /* mean number of those between two changes of priorities */
	uint64_t accesses, next_change, counted, limit;
	int64_t lowest, highest;
	struct switched trail[TRAIL];
	struct sched_report own, *report;
} s = {.report = &s.own};

static void mix(uint64_t v)
{
	s.report->hash = (s.report->hash ^ v) * 0x100000001b3u;
	s.report->hash ^= s.report->hash >> 29;
}

/* ---- report ----------------------------------------------------------------------------------------------------- */

void sched_report_to(struct sched_report *r)
{
	s.report = r;
	memset(r, 0, sizeof(*r));
	r->hash = 0xcbf29ce484222325u;
}

static void write_trail(void)
{
	size_t at = 0, cap = sizeof(s.report->trail);

	for (unsigned i = 0; i < TRAIL && at + 100 < cap; i++) {
		const struct switched *w = &s.trail[(s.report->switches + i) % TRAIL];

		if (w->accesses)
			at += (size_t)snprintf(s.report->trail + at, cap - at, "  %8llu  %s (after %s) -> %s\n",
				(unsigned long long)w->accesses, s.thread[w->from].name, w->point ? w->point : "its start",
				s.thread[w->to].name);
	}
}

void sched_fail(const char *fmt, ...)
{
	va_list ap;
	size_t n;

	n = (size_t)snprintf(s.report->text, sizeof(s.report->text), "%s: ", s.current ? s.current->name : "judge");
	va_start(ap, fmt);
	vsnprintf(s.report->text + n, sizeof(s.report->text) - n, fmt, ap);
	va_end(ap);
	for (unsigned i = 0; i < s.count; i++) {
		static const char *const states[] = {"ready", "asleep", "waiting", "stopped", "ended"};
		struct thread *t = &s.thread[i];

		n = strlen(s.report->text);
		snprintf(s.report->text + n, sizeof(s.report->text) - n, "\n  %s: %s, passed %s last", t->name, states[t->state],
			t->point ? t->point : "nothing");
	}
	s.report->failed = true;
	write_trail();
	_exit(1);
}

/* ---- who runs --------------------------------------------------------------------------------------------------- */

static bool runnable(struct thread *t)
{
	if (t->state == READY)
		return true;
	if ((t->state != ASLEEP && t->state != WAITING) || t->wake_ns > s.now_ns)
		return false;
	t->timed_out = true;
	return true;
}

static struct thread *best(void)
{
	struct thread *found = NULL;

	for (unsigned i = 0; i < s.count; i++)
		if (runnable(&s.thread[i]) && (!found || s.thread[i].priority > found->priority))
			found = &s.thread[i];
	return found;
}

/* Nobody can run: time goes on to the first that wakes by itself. NULL = all have ended or stopped. */
static struct thread *await(void)
{
	uint64_t first = UINT64_MAX;

	for (unsigned i = 0; i < s.count; i++) {
		struct thread *t = &s.thread[i];

		if ((t->state == ASLEEP || t->state == WAITING) && t->wake_ns < first)
			first = t->wake_ns;
	}
	if (first == UINT64_MAX)
		return NULL;
	s.now_ns = first;
	return best();
}

static void draw_next_change(void)
{
	s.next_change = s.counted + 1 + test_below(&s.random, 2 * s.gap);
}

static void leave_to(struct thread *next)
{
	struct thread *from = s.current;

	if (next == from)
		return;
	s.current = next;
	if (!next) {
		setcontext(&s.main);
		abort();
	}
	next->state = READY;
	if (from) {
		s.trail[s.report->switches++ % TRAIL] =
			(struct switched){(uint8_t)(from - s.thread), (uint8_t)(next - s.thread), from->point, s.accesses};
		mix(s.accesses << 8 | (uint64_t)(next - s.thread));
		swapcontext(&from->context, &next->context);
	} else {
		swapcontext(&s.main, &next->context);
	}
}

static void reschedule(void)
{
	struct thread *next = best();

	if (!next)
		next = await();
	if (!next && s.current->state == WAITING)
		sched_fail("waits for ever");
	if (next)
		next->state = READY;
	leave_to(next);
}

static void change_priorities(void)
{
	s.current->priority = --s.lowest;
	if (test_chance(&s.random, 30))
		s.thread[test_below(&s.random, s.count)].priority = ++s.highest;
	draw_next_change();
	reschedule();
}

/* ---- hooks ------------------------------------------------------------------------------------------------------ */

static void stop(struct thread *t)
{
	t->state = STOPPED;
	if (t->bound && t->bound->state != ENDED)
		t->bound->state = STOPPED;
	reschedule();
}

static void count_access(bool counts)
{
	struct thread *t = s.current;

	if (!t)
		return;
	if (++s.accesses > s.limit)
		sched_fail("no end after %llu accesses; %s passed %s last", (unsigned long long)s.accesses, t->name,
			t->point ? t->point : "nothing");
	if (++t->accesses == t->lethal)
		stop(t);
	if (counts && ++s.counted >= s.next_change)
		change_priorities();
}

static void on_access(void)
{
	count_access(s.fine && s.current && (!s.current->sparse || s.current->accesses % 16 == 0));
}

static void on_point(const char *name, void *context)
{
	(void)context;
	if (s.current)
		s.current->point = name;
	count_access(true);
}

/* ---- the C library's calls -------------------------------------------------------------------------------------- */

int __real_clock_gettime(clockid_t clock, struct timespec *out);
int __wrap_clock_gettime(clockid_t clock, struct timespec *out);
int __real_nanosleep(const struct timespec *want, struct timespec *left);
int __wrap_nanosleep(const struct timespec *want, struct timespec *left);
int __real_sched_yield(void);
int __wrap_sched_yield(void);
long __real_syscall(long number, ...);
long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f);

int __wrap_clock_gettime(clockid_t clock, struct timespec *out)
{
	if (!s.ticking)
		return __real_clock_gettime(clock, out);
	s.now_ns += CLOCK_TICK;
	*out = (struct timespec){(time_t)(s.now_ns / 1000000000), (long)(s.now_ns % 1000000000)};
	return 0;
}

int __wrap_nanosleep(const struct timespec *want, struct timespec *left)
{
	uint64_t ns = (uint64_t)want->tv_sec * 1000000000 + (uint64_t)want->tv_nsec;

	if (!s.ticking)
		return __real_nanosleep(want, left);
	if (!s.current) {
		s.now_ns += ns;
		return 0;
	}
	s.current->wake_ns = s.now_ns + ns;
	s.current->state = ASLEEP;
	reschedule();
	return 0;
}

int __wrap_sched_yield(void)
{
	if (!s.ticking)
		return __real_sched_yield();
	if (s.current) {
		s.current->priority = --s.lowest;
		reschedule();
	}
	return 0;
}

static long futex_wait(uint32_t *word, uint32_t value, uint32_t bits, const struct timespec *until)
{
	struct thread *t = s.current;

	if (*(volatile uint32_t *)word != value) {
		errno = EAGAIN;
		return -1;
	}
	if (test_chance(&s.random, 5)) { /* woken for nothing, as may happen */
		errno = EINTR;
		return -1;
	}
	t->word = word;
	t->bits = bits;
	t->wake_ns = until ? (uint64_t)until->tv_sec * 1000000000 + (uint64_t)until->tv_nsec : UINT64_MAX;
	t->state = WAITING;
	t->timed_out = false;
	reschedule();
	if (!t->timed_out)
		return 0;
	errno = ETIMEDOUT;
	return -1;
}

/* The same word may be mapped at several places, each of them aligned to a segment. To be woken for another's sake does no harm. */
static bool same_word(const uint32_t *a, const uint32_t *b)
{
	return !(((uintptr_t)a ^ (uintptr_t)b) & (PP_SEGMENT_BYTES - 1));
}

static long futex_wake(const uint32_t *word, int count, uint32_t bits)
{
	long woken = 0;

	for (unsigned i = 0; i < s.count && woken < count; i++) {
		struct thread *t = &s.thread[i];

		if (t->state != WAITING || !same_word(t->word, word) || !(t->bits & bits))
			continue;
		t->state = READY;
		woken++;
	}
	return woken;
}

/* All six words are taken whether they were given or not, as the kernel does. */
long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f)
{
	if (!s.ticking)
		return __real_syscall(number, a, b, c, d, e, f);
	if (number == SYS_membarrier)
		return 0; /* one runs at a time */
	if (number != SYS_futex)
		return __real_syscall(number, a, b, c, d, e, f);
	if ((b & FUTEX_CMD_MASK) == FUTEX_WAKE_BITSET)
		return futex_wake((uint32_t *)a, (int)c, (uint32_t)f);
	if (s.current)
		return futex_wait((uint32_t *)a, (uint32_t)c, (uint32_t)f, (const struct timespec *)d);
	if (d) /* the test itself: nobody else would run meanwhile */
		s.now_ns = (uint64_t)((const struct timespec *)d)->tv_sec * 1000000000 + (uint64_t)((const struct timespec *)d)->tv_nsec;
	errno = ETIMEDOUT;
	return -1;
}

/* ---- interface -------------------------------------------------------------------------------------------------- */

bool sched_built(void)
{
	return pp_fault_built();
}

void sched_clock(void)
{
	s.ticking = true;
	s.now_ns = CLOCK_START;
#ifdef PP_FAULT
	pp_access_hook = on_access;
	pp_fault_hook = on_point;
#else
	(void)on_access;
	(void)on_point;
#endif
}

void sched_seed(uint64_t seed, uint64_t limit)
{
	static const uint16_t gaps[] = {3, 10, 30, 100, 300, 1000, 3000}; /* few points have names */

	s.count = 0;
	s.current = NULL;
	s.random = test_random(seed, 0);
	s.fine = test_chance(&s.random, 50);
	s.gap = gaps[test_below(&s.random, s.fine ? 7 : 4)];
	s.accesses = s.counted = 0;
	s.limit = limit;
	s.lowest = 0;
	s.highest = SCHED_THREADS * 1000;
	draw_next_change();
}

static void start(void)
{
	s.current->fn(s.current->arg);
	s.current->state = ENDED;
	reschedule();
	abort();
}

int sched_add(const char *name, void (*fn)(void *), void *arg)
{
	struct thread *t = &s.thread[s.count];
	void *stack = t->stack;

	if (s.count == SCHED_THREADS)
		sched_fail("more than %d threads", SCHED_THREADS);
	if (!stack)
		stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (stack == MAP_FAILED)
		sched_fail("no memory for a stack");
	memset(t, 0, sizeof(*t));
	*t = (struct thread){.name = name, .stack = stack, .fn = fn, .arg = arg, .state = READY};
	t->priority = 1 + (int64_t)test_below(&s.random, (uint64_t)s.highest - 1);
	getcontext(&t->context);
	t->context.uc_stack = (stack_t){.ss_sp = stack, .ss_size = STACK_BYTES};
	makecontext(&t->context, start, 0);
	return (int)s.count++;
}

void sched_bind(int thread, int other)
{
	s.thread[thread].bound = &s.thread[other];
	s.thread[other].bound = &s.thread[thread];
}

void sched_sparse(int thread)
{
	s.thread[thread].sparse = true;
}

void sched_lethal(int thread, uint64_t accesses)
{
	s.thread[thread].lethal = s.thread[thread].accesses + accesses;
}

void sched_run(void)
{
	struct thread *first = best();

	if (first)
		leave_to(first);
	s.report->accesses = s.accesses;
}

void sched_pass(uint64_t ns)
{
	s.now_ns += ns;
	s.current->priority = test_chance(&s.random, 50) ? --s.lowest : (int64_t)test_below(&s.random, SCHED_THREADS * 1000);
	reschedule();
}

uint64_t sched_moment(void)
{
	return ++s.accesses;
}

void sched_result(uint64_t value)
{
	mix(value);
}

bool sched_stopped(int thread)
{
	return s.thread[thread].state == STOPPED;
}

unsigned sched_running(int from, int to)
{
	unsigned n = 0;

	for (int i = from; i < to; i++)
		n += s.thread[i].state != STOPPED && s.thread[i].state != ENDED;
	return n;
}
