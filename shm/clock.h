/*
 * clock.h - the two clocks: monotonic nanoseconds for waits and statistics, wall milliseconds for expiry.
 *
 * Both go through the vDSO (some 24 ns, no system call). No time-stamp counter: it is not comparable across every machine.
 */
#ifndef PP_SHM_CLOCK_H
#define PP_SHM_CLOCK_H

#include <stdint.h>
#include <time.h>

#define PP_NS_PER_SEC UINT64_C(1000000000)
#define PP_NS_PER_MS UINT64_C(1000000)

static inline uint64_t pp_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * PP_NS_PER_SEC + (uint64_t)t.tv_nsec;
}

/* Milliseconds since 1970: what `ttl_ms` and `expires_ms` are measured in. */
static inline uint64_t pp_wall_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* now + timeout without wrapping; UINT64_MAX = for ever. */
static inline uint64_t pp_deadline_ns(uint64_t timeout_ns)
{
	uint64_t now = pp_now_ns();

	return timeout_ns > UINT64_MAX - now ? UINT64_MAX : now + timeout_ns;
}

static inline struct timespec pp_timespec(uint64_t ns)
{
	return (struct timespec){ .tv_sec = (time_t)(ns / PP_NS_PER_SEC), .tv_nsec = (long)(ns % PP_NS_PER_SEC) };
}

#endif
