/*
 * atomic.h - the one place that includes <stdatomic.h>: every shared access names its order.
 *
 * An operation whose partner stands elsewhere carries the comment
 *     [module.func:X] pairs [module.func:Y]: what becomes visible
 * and the partner names it back (make lint checks both ends). A relaxed access says why it may be: owner (only this
 * thread writes it), stat, hint, recheck (confirmed later).
 *
 * All orders are C11; nothing here depends on x86. pp_pause is a hint only.
 */
#ifndef PP_SHM_ATOMIC_H
#define PP_SHM_ATOMIC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef _Atomic uint8_t pp_a8;
typedef _Atomic uint16_t pp_a16;
typedef _Atomic uint32_t pp_a32;
typedef _Atomic uint64_t pp_a64;

_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "64-bit atomics must be lock-free to work across processes");
_Static_assert(sizeof(pp_a64) == 8 && sizeof(pp_a32) == 4, "atomics must have the size of their value");

#define PP_CACHE_LINE 64

/* Test builds: called before each ordered access, where a schedule may let another thread go first (tests/lib/sched.h). */
#ifdef PP_FAULT
extern void (*pp_access_hook)(void);
#define pp_access() (__builtin_expect(pp_access_hook != NULL, 0) ? pp_access_hook() : (void)0)
#else
#define pp_access() ((void)0)
#endif

#define pp_load_rlx(p) atomic_load_explicit((p), memory_order_relaxed)
#define pp_load_acq(p) (pp_access(), atomic_load_explicit((p), memory_order_acquire))
#define pp_load_seq(p) (pp_access(), atomic_load_explicit((p), memory_order_seq_cst))
#define pp_store_rlx(p, v) atomic_store_explicit((p), (v), memory_order_relaxed)
#define pp_store_rel(p, v) (pp_access(), atomic_store_explicit((p), (v), memory_order_release))
#define pp_store_seq(p, v) (pp_access(), atomic_store_explicit((p), (v), memory_order_seq_cst))

#define pp_swap_acqrel(p, v) (pp_access(), atomic_exchange_explicit((p), (v), memory_order_acq_rel))
#define pp_swap_seq(p, v) (pp_access(), atomic_exchange_explicit((p), (v), memory_order_seq_cst))
#define pp_add_rlx(p, v) atomic_fetch_add_explicit((p), (v), memory_order_relaxed)
#define pp_add_acqrel(p, v) (pp_access(), atomic_fetch_add_explicit((p), (v), memory_order_acq_rel))
#define pp_add_seq(p, v) (pp_access(), atomic_fetch_add_explicit((p), (v), memory_order_seq_cst))
#define pp_sub_acqrel(p, v) (pp_access(), atomic_fetch_sub_explicit((p), (v), memory_order_acq_rel))
#define pp_or_acqrel(p, v) (pp_access(), atomic_fetch_or_explicit((p), (v), memory_order_acq_rel))
#define pp_or_rlx(p, v) atomic_fetch_or_explicit((p), (v), memory_order_relaxed)
#define pp_and_acqrel(p, v) (pp_access(), atomic_fetch_and_explicit((p), (v), memory_order_acq_rel))

/* A failed CAS stores what it found in *expected, with acquire order. */
#define pp_cas_acqrel(p, expected, v) \
	(pp_access(), atomic_compare_exchange_strong_explicit((p), (expected), (v), memory_order_acq_rel, memory_order_acquire))
#define pp_cas_seq(p, expected, v) \
	(pp_access(), atomic_compare_exchange_strong_explicit((p), (expected), (v), memory_order_seq_cst, memory_order_seq_cst))
#define pp_cas_rlx(p, expected, v) \
	atomic_compare_exchange_strong_explicit((p), (expected), (v), memory_order_relaxed, memory_order_relaxed)

#define pp_fence_seq() atomic_thread_fence(memory_order_seq_cst)
#define pp_fence_acq() atomic_thread_fence(memory_order_acquire)
#define pp_fence_rel() atomic_thread_fence(memory_order_release)

/* Stops the compiler only: the reader's half of an asymmetric fence; the other half is membarrier (shm/barrier.h). */
#define pp_fence_compiler() atomic_signal_fence(memory_order_seq_cst)

/* A counter that one thread writes and anybody reads: no locked instruction. */
#define pp_stat_add(p, v) pp_store_rlx((p), pp_load_rlx(p) + (v))

/*
 * The same for what is counted for people only: what a build without counters (make VARIANT=nocount) leaves out, so that their cost can be
 * measured. What the store itself goes by is added with pp_stat_add.
 */
#ifdef PP_NO_COUNTERS
#define PP_COUNTING 0
#else
#define PP_COUNTING 1
#endif
#define pp_count(p, v)                           \
	do {                                     \
		if (PP_COUNTING)                 \
			pp_stat_add((p), (v));   \
	} while (0)

/* Brings a line near. The empty asm keeps gcc from taking a function that only does this for one without effect, and dropping its calls. */
static inline void pp_near(const void *p)
{
	__builtin_prefetch(p);
	__asm__ volatile("" : : "r"(p));
}

static inline void pp_pause(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("isb" ::: "memory");
#endif
}

#endif
