/*
 * commit_times.h - where the time of a durable write goes: how long group commits, writes of the log and wake-ups take, and how much is
 * written at once.
 *
 * The step thread notes when it closes an epoch and when that is durable; a waiter finds there how long it waited for the commit to begin and
 * how long to be woken. Statistics only: nothing goes by them.
 */
#ifndef PP_ENGINE_COMMIT_TIMES_H
#define PP_ENGINE_COMMIT_TIMES_H

#include "engine/index.h"

/* ---- step thread ---- */

void pp_times_closed(struct pp_engine *, uint64_t epoch);
/* All epochs above `after` up to `epoch`. */
void pp_times_durable(struct pp_engine *, uint64_t after, uint64_t epoch);
/* The group commit of `epoch` has gone to the log; without records it is none. */
void pp_times_committed(struct pp_engine *, uint64_t epoch, uint64_t records, uint64_t bytes);
/* A write of the log was durable after that long (struct pp_wal_config); ctx = the engine. */
void pp_times_wrote(void *ctx, uint64_t ns);

/* ---- waiters ---- */

/* A wait for epoch `ticket`, which is durable now, that began at `start`: the whole, and its parts. */
void pp_times_waited(struct pp_thread *, uint64_t ticket, uint64_t start);

#endif
