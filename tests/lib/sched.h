/*
 * sched.h - a seeded scheduler: several threads of one program, of which exactly one runs at a time.
 *
 * The threads are contexts of one thread of the system, so a run is a function of its seed and of nothing else: same seed, same
 * interleaving, same results, whatever the machine does. The next thread may be chosen before each ordered access to shared memory
 * (pp_access, shm/atomic.h) and at each named fault point (shm/fault.h); and what blocks or asks for the time is caught where it calls
 * the C library (-Wl,--wrap in the Makefile): futex, nanosleep, sched_yield, clock_gettime. Time is a number that these calls move.
 *
 * Which thread: probabilistic concurrency testing (Burckhardt, Kothari, Musuvathi, Nagarakatte, ASPLOS 2010). Each thread has a random
 * priority and the highest runnable one runs; at random moments the running one falls below all others, or another one rises above
 * them. The mean gap between the moments, and whether each access counts or only named points, are drawn from the seed too.
 *
 * A build without fault points has no scheduler: sched_built() is false.
 */
#ifndef TESTS_LIB_SCHED_H
#define TESTS_LIB_SCHED_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define SCHED_THREADS 12

bool sched_built(void);

/* Virtual time begins, and hooks are set. From here on time stands still unless somebody asks for it or waits. */
void sched_clock(void);

/* Forgets all threads; the next schedule follows this seed. `limit`: more accesses than that are a failure (nobody gets anywhere). */
void sched_seed(uint64_t seed, uint64_t limit);
int sched_add(const char *name, void (*fn)(void *), void *arg);
/* One that does much which matters little: of its accesses one in 16 counts, besides named points. */
void sched_sparse(int thread);
/* The thread stops for good at its n-th access from now, as if it were killed or stopped there. */
void sched_lethal(int thread, uint64_t accesses);
/* When one of them stops, so does the other: two threads of one process. */
void sched_bind(int thread, int other);
/* Runs all threads until each has ended or stopped. */
void sched_run(void);

/* ---- inside a thread ---- */

/* Others may go first, and `ns` of time pass: the end of a round of something that goes on for ever. */
void sched_pass(uint64_t ns);
/* A moment: later ones are greater. */
uint64_t sched_moment(void);
/* Mixes a result into the hash of the run. */
void sched_result(uint64_t value);
void __attribute__((format(printf, 1, 2), noreturn)) sched_fail(const char *fmt, ...);

/* ---- afterwards, or anywhere ---- */

bool sched_stopped(int thread);
/* Threads from..to - 1 that have neither ended nor stopped. */
unsigned sched_running(int from, int to);

/* What a run did; lies where the caller wants it (in shared memory, if a crash is to leave it behind). */
struct sched_report {
	uint64_t hash;             /* over all switches and results */
	uint64_t accesses, switches;
	bool failed;
	char text[1200];           /* why */
	char trail[4000];          /* the last switches: who, after how many accesses, last named point */
};
void sched_report_to(struct sched_report *r);

#endif
