/*
 * play.h - one seed of the store under the scheduler (tests/lib/sched.h): two to four clients with three to ten operations each on one to
 * three keys, the keeper's step and house threads, and now and then a client that stops for good at some access and is reaped at once or
 * at the end. Then the store must be whole and every byte accounted for, histories linearizable (with what stopped clients had begun left
 * open), each snapshot one cut that never changed, and each committed write in the log once.
 *
 * With `restarts` the daemon dies too, at any access, once or twice, and another adopts the arena while clients go on; at the end the log
 * alone, read into a new arena, must give what the clients saw.
 *
 * Scenes are stores prepared once in the test's process: a leaf that is about to split, leaves that are about to merge, a tiny ring, hash
 * lists, mutex mode. Each seed is played by a forked child on a private copy of the scene's memory (with
 * restarts: on a store of its own), so every seed begins with the same bytes and a crash hurts nobody.
 */
#ifndef TESTS_LIB_PLAY_H
#define TESTS_LIB_PLAY_H

#include "tests/lib/sched.h"

/* Opens the scenes. play_end removes their directories. */
void play_begin(void);
void play_end(void);

/* Plays one seed; `mutant` as in shm/fault.h, NULL = none. The report lies in shared memory and is valid until the next one. */
const struct sched_report *play(uint64_t seed, const char *mutant);
const struct sched_report *play_restarts(uint64_t seed);

#endif
