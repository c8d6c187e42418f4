/*
 * instr.h - a process that goes on instruction by instruction, for tests that kill or stop it at each of them.
 *
 * The process is a fork of the test that runs fn(arg) under ptrace, in memory that it shares with the test. What a SIGKILL before the next
 * instruction would leave of it is what the shared memory holds at that moment: so the test steps once through the whole
 * operation, and at each instruction judges a private copy of the memory, instead of running the operation again for each kill. For a
 * stop the process itself is doubled (instr_branch): the double stands at the same instruction, in a copy of the memory that others work in
 * meanwhile, and then goes on to its end.
 *
 * Shared memory that the process has not touched is write-protected in it; the first store to a page is seen as a fault, and from then on the
 * page is compared after each step. A repeated string instruction counts once, and so does a look at the clock.
 */
#ifndef TESTS_LIB_INSTR_H
#define TESTS_LIB_INSTR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define INSTR_POSSIBLE 1
#endif

#define INSTR_PAGES 2048

/* What one instruction did. */
enum instr_event {
	INSTR_SAME,    /* nothing that others could see */
	INSTR_CHANGED, /* shared memory is another now */
	INSTR_SYSCALL, /* a system call: files may be others now; memory too */
	INSTR_ENDED    /* it was the last: exited with 0 */
};

struct instr {
	pid_t pid;
	uint8_t *shared;               /* the memory that is watched, at the same address in both processes */
	size_t bytes;
	const uint8_t *ignore;         /* words whose change does not count (statistics) */
	size_t ignore_bytes;
	uint64_t steps, changes;       /* instructions executed; those that changed shared memory */
	uint64_t at;                   /* address of the next instruction */
	unsigned pages;
	uint32_t page[INSTR_PAGES];    /* touched ones */
	uint8_t *copy;                 /* their contents after the last step */
};

/* Forks the process and stops it before fn. `shared` NULL: nothing is watched. False: tracing is not allowed here. */
bool instr_start(struct instr *, void (*fn)(void *), void *arg, void *shared, size_t bytes);
/* One instruction. Fails the test when the process ends otherwise than by exit(0). */
enum instr_event instr_step(struct instr *);
/* Runs until before the next instruction at `address`, for the n-th time. False: it ended before (exit 0). */
bool instr_run_to(struct instr *, uint64_t address, unsigned passage);
/* SIGKILL, and waits for it. */
void instr_kill(struct instr *);

/* A double of the process at the same instruction, whose shared memory is `fd` from now on. Nothing of it is watched. */
void instr_branch(struct instr *, struct instr *copy, int fd);
/* Lets it go on by itself; the caller waits for it with instr_wait. */
void instr_release(struct instr *);
/* True when it has ended, *status is what waitpid says. With `block` waits for that. */
bool instr_wait(struct instr *, bool block, int *status);

/*
 * A verdict in a process of its own, forked here: fn(arg) may change whatever it likes, and fails by test_require. Its processor time is
 * bounded, so one that waits for the dead or the stopped is found however slow the machine is.
 */
pid_t instr_judge(void (*fn)(void *), void *arg);
/* True when it is done; then *status is 0, or what waitpid says. */
bool instr_judged(pid_t, bool block, int *status);

/* PPDB_INSTR=NAME[:STEP] chooses one of a test's scenarios, and one instruction of it; *step 0 = all. */
bool instr_chosen(const char *name, uint64_t *step);

/* "function+0x12" of an address in the test's own binary, for messages; static storage. */
const char *instr_place(uint64_t address);

#endif
