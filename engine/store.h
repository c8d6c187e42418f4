/*
 * store.h - the store as the client library and the daemon use it: single-key operations, reads, iterators.
 *
 * All of it runs in the caller's thread with that thread's slot (struct pp_thread). Keys are {table, bytes}. Writes return when
 * they are visible (committed in memory); *tag is then the ticket to wait for with pp_wait_durable. Nothing here blocks on another
 * process: every wait is bounded.
 */
#ifndef PP_ENGINE_STORE_H
#define PP_ENGINE_STORE_H

#include "engine/layout.h"
#include "shm/thread.h"

struct pp_key {
	uint32_t table;
	uint32_t size;                     /* 1..PP_KEY_MAX */
	const void *data;
};

/* What a read found; `key` and `value` point into the region and stay valid while the thread is in the read section that the
 * caller opened (pp_read_enter) or, for a snapshot, while S is held. */
struct pp_hit {
	const void *key;
	const void *value;
	uint64_t size;
	uint32_t key_size;
	uint32_t table;
	uint64_t version;                  /* seq of the key, >= 1 */
	uint64_t expires_ms;               /* 0 = never */
	uint64_t tag;                      /* epoch of the commit: its ppdb_seq */
};

#define PP_LATEST UINT64_MAX

/* Newest version with tag <= snapshot (PP_LATEST: newest committed). Caller is inside a read section.
 * PPDB_NOTFOUND also for tombstones and expired values. */
int pp_read(struct pp_thread *, const struct pp_key *, uint64_t snapshot, struct pp_hit *out);

/* Many at once, cache misses overlapped; rcs[i] per key. */
void pp_read_many(struct pp_thread *, const struct pp_key *keys, size_t n, uint64_t snapshot, struct pp_hit *out, int *rcs);

enum pp_write_flags {
	PP_W_IFABSENT = 1, PP_W_IFPRESENT = 2, PP_W_CAS = 4, PP_W_DELETE = 8, PP_W_ADD = 16, PP_W_KEEPTTL = 32,
	PP_W_GUARD = 64,                   /* of a batch, with PP_W_CAS: the key is required, not written */
	PP_W_TOUCH = 256,                  /* the present value stays, with the new time to live; `room`: bytes that it may have (pp_write sees to it) */
	PP_W_SWEEP = 128                   /* with DELETE, the keeper's: takes the version `expect` away if it is still the newest, expired or of a dropped table */
};

struct pp_write {
	struct pp_key key;
	const void *value;
	uint64_t size;
	uint32_t flags;
	uint64_t expect;                   /* PP_W_CAS: version that must be there, 0 = absent */
	uint64_t expires_ms;               /* absolute CLOCK_REALTIME ms, 0 = never */
	uint64_t fresh_expires_ms;         /* PP_W_KEEPTTL: when the key is absent */
	int64_t delta, initial;            /* PP_W_ADD */
	uint64_t room;                     /* PP_W_TOUCH */
	pp_ref reserved;                   /* the value lies here already (engine/reserve.h), `value` is not looked at; 0 once it is used up */
	int64_t before_bytes;              /* of a batch: what the writes before this one add to its table */
	uint64_t timeout_ns;               /* bound of the wait for ring space or log credit, 0 = default (1 s) */
	/* results */
	uint64_t tag;                      /* ticket; for a failed precondition the tag of what it saw */
	uint64_t version;                  /* new version, or the one found for CONFLICT / EXISTS */
	int64_t result;                    /* PP_W_ADD */
	int64_t more_bytes, more_keys;     /* what its named table holds more by it */
};

/* 0, or PPDB_NOTFOUND, EXISTS, CONFLICT, TYPE, FULL, TABLE_UNKNOWN, OVERLOAD, KEYSIZE, VALSIZE, READONLY, -ENOSPC (no log space), -ESTALE (another arena takes
 * the place of this one), or the log's error.
 * A write that fails never happens later. Crash: SIGKILL inside leaves it done or not done; the reaper frees what it held. */
int pp_write(struct pp_thread *, struct pp_write *);

/*
 * Many writes at once, all or nothing: puts, deletes (of a missing key: nothing to do, it is no error) and guards, in strictly rising order
 * of (table, key); not PP_W_ADD. Visible at one moment, in the log whole; what the conditions ask holds at that moment.
 * Errors as pp_write, and PPDB_TIMEOUT: others kept coming between. *failed (for PPDB_CONFLICT, EXISTS, NOTFOUND, KEYSIZE, VALSIZE) = index of the
 * write that cannot be done. Crash: SIGKILL inside leaves all or nothing.
 */
#define PP_BATCH_MAX (UINT64_C(1) << 22)   /* writes of a batch */
struct pp_batch_write {
	struct pp_write *writes;           /* results as of pp_write, but version of the new value only if the batch was done */
	size_t count;
	uint64_t timeout_ns;               /* bound of the whole, 0 = default (1 s, and more for many bytes) */
	/* results */
	uint64_t tag;                      /* ticket, or the newest tag that a failed batch has seen */
	size_t failed;
};
int pp_batch_write(struct pp_thread *, struct pp_batch_write *);

/* Iterator over [lower, upper) of one table, forward and backward, over all shards. Private to one thread. LATEST: all calls are
 * made inside one read section, and the cursor ends with it. */
struct pp_cursor;
struct pp_cursor_opts {
	uint32_t table;
	const void *lower, *upper;         /* NULL = open; upper exclusive; copied */
	uint32_t lower_size, upper_size;
	uint64_t snapshot;                 /* PP_LATEST or S */
};
int pp_cursor_open(struct pp_thread *, const struct pp_cursor_opts *, struct pp_cursor **out);
void pp_cursor_close(struct pp_cursor *);
/* Each positions and fills *out, PPDB_NOTFOUND at the end. seek: first key >= k; seek_le: last key <= k. Caller is inside a read
 * section; what *out points to is valid until it is left (LATEST) or S is given back (snapshot). */
int pp_cursor_first(struct pp_cursor *, struct pp_hit *out);
int pp_cursor_last(struct pp_cursor *, struct pp_hit *out);
int pp_cursor_next(struct pp_cursor *, struct pp_hit *out);
int pp_cursor_prev(struct pp_cursor *, struct pp_hit *out);
int pp_cursor_seek(struct pp_cursor *, const void *key, uint32_t size, struct pp_hit *out);
int pp_cursor_seek_le(struct pp_cursor *, const void *key, uint32_t size, struct pp_hit *out);
/* Waits until `epoch` is settled; PPDB_TIMEOUT. */
int pp_snapshot_await(struct pp_thread *, uint64_t epoch, uint64_t timeout_ns);
/* Holds a snapshot in the thread's slot: the newest settled epoch, at least `at_least` (bounded wait, PPDB_TIMEOUT). One a slot. */
int pp_snapshot_hold(struct pp_thread *, uint64_t at_least, uint64_t *s);
void pp_snapshot_drop(struct pp_thread *);

#endif
