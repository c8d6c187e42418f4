/*
 * writing.h - a write call, of one key or of a batch: its options, its bound in time, room in the log, durability.
 */
#ifndef PP_CLIENT_WRITING_H
#define PP_CLIENT_WRITING_H

#include "client/internal.h"

struct pp_write_call {
	struct ppdb *db;
	struct pp_session *s;
	struct pp_write w;
	struct pp_batch_write *batch;  /* instead of w; NULL = w */
	uint64_t deadline;             /* 0 = none given */
	bool async;
	uint64_t ttl_ms;               /* as given */
	struct ppdb_reservation *reserved; /* w.reserved is this one's block */
};

static inline uint32_t pp_write_conditions(uint32_t flags)
{
	return (flags & PPDB_IFABSENT ? PP_W_IFABSENT : 0) | (flags & PPDB_IFPRESENT ? PP_W_IFPRESENT : 0);
}

/* Nanoseconds of the call's time-out that are left, at least 1; UINT64_MAX = no time-out. */
uint64_t pp_write_left(const struct pp_write_call *);

int pp_args_value(ppdb_slice val);

/* Session and options: w has the flags, and nothing else yet. */
int pp_write_begin(struct pp_write_call *, ppdb *, const ppdb_wopts *, uint32_t allowed, ppdb_seq *ticket);
/* The same for a write of one key: and the key, and when its value expires. */
int pp_write_begin_key(struct pp_write_call *, ppdb *, ppdb_table, ppdb_slice key, const ppdb_wopts *, uint32_t allowed, ppdb_seq *ticket);
/* Does it, moves to another arena if that is where it must be done, and waits as the options say. */
int pp_write_finish(struct pp_write_call *, ppdb_seq *ticket);

/* Its slot has it still. */
bool pp_reservation_holds(const struct ppdb_reservation *);
/* A write has used up its block: the slot forgets it, before anything can give the slot back. */
void pp_reservation_used(struct ppdb_reservation *);

#endif
