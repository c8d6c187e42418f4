/*
 * ppdb.h - an ordered key-value store in shared memory, read and written in place by any number of processes.
 *
 *	ppdb *db;
 *	if (ppdb_attach(NULL, NULL, &db) == PPDB_OK) {
 *		ppdb_put(db, PPDB_TABLE_DEFAULT, PPDB_S("hello"), PPDB_S("world"), NULL, NULL);
 *		ppdb_detach(db);
 *	}
 *
 * Link with -lppdb-client (pkg-config ppdb-client). ppdbd must run, or be startable with PPDB_AUTOSTART.
 *
 * Results.  Functions that can fail return int: PPDB_OK (0), -errno (-1..-4095) or one of PPDB_NOTFOUND... (-20001 down).
 *           ppdb_strerror() gives the general text, ppdb_errdetail() one sentence about this thread's last failure.
 *           Outputs are untouched on failure unless the function says otherwise.
 * Keys      1..4096 bytes, values 0..64 MiB, any bytes, ordered as memcmp orders them.
 * Threads.  A `ppdb` may be used by all threads of a process at once. A `ppdb_view` and its iterators are used by one thread
 *           at a time; they may be handed on to another thread. The library starts no threads, prints nothing, installs no
 *           signal handlers and never ends the process.
 * Slots.    Each thread that calls takes one of the daemon's slots and gives it back when it ends; so does each open view.
 *           None free: -ENOSPC (start ppdbd with more --slots).
 * Options.  Option structs begin with `size` (set it to sizeof) and `flags`. NULL = defaults. A non-zero byte beyond what this
 *           library knows: -E2BIG. An unknown flag: -EINVAL.
 * Restarts. When ppdbd dies, reading goes on, and so does writing until the log rings are full. The library finds the next
 *           ppdbd by itself, inside calls (it looks at the socket at most every 50 ms of calls, never on the hot path). When
 *           the shared memory was replaced meanwhile (a cold start), the handle moves over to it; tickets of writes that did
 *           not survive give PPDB_LOST and open views PPDB_EVICTED until they are refreshed.
 * Crash.    "Crash:" says what a SIGKILL inside the call leaves. Nobody else ever waits for a killed or stopped process.
 */
#ifndef PPDB_H
#define PPDB_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define PPDB_API __attribute__((visibility("default")))
#else
#define PPDB_API
#endif

/* 0xMMmmpp: major, minor, patch of this header. */
#define PPDB_VERSION 0x000100u

/* X(name, code, message): the own error codes; the first is -20001. */
#define PPDB_ERRORS(X)                                                                             \
	X(NOTFOUND, -20001, "no such key")                                                         \
	X(EXISTS, -20002, "the key exists already")                                                \
	X(CONFLICT, -20003, "the key's version is not the expected one; read it again and retry")  \
	X(FULL, -20004, "the arena is full; delete keys or restart ppdbd with more --memory")      \
	X(TABLE_UNKNOWN, -20005, "no such table; create it with 'ppdb table create'")              \
	X(CORRUPT, -20006, "damaged data was found; run 'ppdb check'")                             \
	X(LAYOUT, -20007, "the arena has another layout version; use the library of its ppdbd")    \
	X(DAEMON_GONE, -20008, "ppdbd is not running; start it with 'ppdb start'")                 \
	X(EVICTED, -20009, "this view was revoked because it pinned too much; refresh it or begin a new one")    \
	X(LOST, -20010, "the position was lost in a restart or was recycled")                      \
	X(FORKED, -20011, "the handle belongs to the parent; call ppdb_reattach_after_fork")       \
	X(KEYSIZE, -20012, "a key has 1 to 4096 bytes")                                            \
	X(VALSIZE, -20013, "a value has at most 64 MiB")                                           \
	X(TYPE, -20014, "the value is not a decimal number of 64 bits")                            \
	X(READONLY, -20015, "this handle is attached read-only")                                   \
	X(OVERLOAD, -20016, "the log cannot keep up, all rings are full; try again a little later") \
	X(TIMEOUT, -20017, "the time-out passed before it was done")

#ifndef PP_SHM_ERRORS_H /* inside the library the same numbers come from its own list; client/errors.c compares them */
enum {
	PPDB_OK = 0,
#define PPDB_ERROR_ENUM(name, code, text) PPDB_##name = code,
	PPDB_ERRORS(PPDB_ERROR_ENUM)
#undef PPDB_ERROR_ENUM
};
#endif

typedef struct ppdb ppdb;           /* one attachment of this process */
typedef struct ppdb_view ppdb_view; /* a place to read from without copying */
typedef struct ppdb_iter ppdb_iter; /* a position in a view */
typedef struct ppdb_cq ppdb_cq;     /* waits for durability in an event loop */
typedef struct ppdb_batch ppdb_batch; /* writes that are to be done together */
typedef struct ppdb_feed ppdb_feed; /* a position in the stream of changes */

typedef uint32_t ppdb_table; /* keyspace: PPDB_TABLE_DEFAULT, or what ppdb_table_open gave */
#define PPDB_TABLE_DEFAULT 0u

/* Position in the order of commits, and ticket to wait for. 0 = none. Valid for every process of the same store. */
typedef uint64_t ppdb_seq;

/* Bytes of somebody else: whoever made the slice says how long they live. `data` may be NULL when size is 0. */
typedef struct ppdb_slice {
	const void *data;
	size_t size;
} ppdb_slice;

#ifdef __cplusplus
#define PPDB_S(literal) (ppdb_slice{("" literal), sizeof(literal) - 1})
#else
#define PPDB_S(literal) ((ppdb_slice){("" literal), sizeof(literal) - 1})
#endif

/* What a read found. key and value point into shared memory, see the function that filled it for how long. */
typedef struct ppdb_item {
	ppdb_slice key, value;
	uint64_t version;    /* of the key: >= 1, grows by one with each write to it, by more with the first one after a cold start; names one value for ever */
	uint64_t expires_ms; /* CLOCK_REALTIME milliseconds, 0 = never */
	ppdb_seq seq;        /* commit position of this value */
} ppdb_item;

/* How far a write has got. Each level includes those before it. */
typedef enum ppdb_level {
	PPDB_VISIBLE = 0,    /* every process sees it */
	PPDB_CRASHSAFE = 1,  /* survives the death of every process while the machine stays up */
	PPDB_DURABLE = 2,    /* on disk: survives loss of power */
	PPDB_REPLICATED = 3  /* on another machine; not offered yet: -ENOTSUP */
} ppdb_level;

/* ---- text ------------------------------------------------------------------------------------------------------- */

/* Threads: any. None of these blocks or touches a store. Crash: nothing is left. */

/* PPDB_VERSION of the library in use. Any thread, never fails. */
PPDB_API uint32_t ppdb_version(void);

/* General text and symbolic name ("PPDB_FULL", "ENOMEM") of any result. Never NULL; valid until the thread's next call of it. */
PPDB_API const char *ppdb_strerror(int code);
PPDB_API const char *ppdb_errname(int code);

/* One sentence about the last failure in this thread, "" if there is none; valid until the thread's next ppdb call. A
 * PPDB_NOTFOUND, EXISTS or CONFLICT leaves it as it was. */
PPDB_API const char *ppdb_errdetail(void);

/* ---- attach ----------------------------------------------------------------------------------------------------- */

enum ppdb_attach_flags {
	PPDB_RDONLY = 1u,    /* map the data read-only: this process cannot damage the store, whatever it does */
	PPDB_AUTOSTART = 2u, /* start ppdbd (from $PPDBD, else from $PATH) when none answers */
	PPDB_POPULATE = 4u   /* fill the page tables now, so that first reads are fast; costs time for a large store */
};

typedef struct ppdb_attach_opts {
	uint32_t size, flags;    /* sizeof, ppdb_attach_flags */
	uint32_t timeout_ms;     /* go on trying this long until a ppdbd answers; 0 = try once (its answer: 5 s) */
	uint32_t reserved;       /* 0 */
	const char *client_name; /* shown by `ppdb clients`, at most 31 bytes; NULL = name of the program */
} ppdb_attach_opts;

/*
 * Attaches this process to the store `name` (NULL = "default"; with a '/' it is the path of the socket) and stores a handle in
 * *out; ppdb_detach frees it. A process may attach several times.
 * Errors: PPDB_DAEMON_GONE no ppdbd answers; -EACCES refused by its allow lists; PPDB_LAYOUT library and ppdbd do not fit;
 * -EINVAL flags, or a bad name; -E2BIG; -ENOMEM; -EUSERS too many clients; -errno of the socket or the mapping.
 * Threads: any. Blocks up to the time-out.
 * Crash: ppdbd notices the death and takes the record back.
 */
PPDB_API int ppdb_attach(const char *name, const ppdb_attach_opts *opts, ppdb **out);

/*
 * Gives all slots back and frees the handle. Writes that returned are not waited for (they become durable all the same; see
 * ppdb_sync). No other thread may be inside a call with this handle. NULL is allowed. In a forked child it only frees.
 * Errors: -EBUSY while views are open (nothing was done).
 * Threads: any, once. Never blocks.
 * Crash: as a death of the process.
 */
PPDB_API int ppdb_detach(ppdb *db);

/*
 * Makes a handle that came through fork() usable in the child: attaches again with the same options. Before it every call
 * with the handle gives PPDB_FORKED (also in children of vfork-less clone). Views of the parent stay unusable in the child:
 * only ppdb_view_end may be called with them. In the process that attached: no effect.
 * Errors: as ppdb_attach; the handle then still gives PPDB_FORKED.
 * Threads: by one thread, while no other uses the handle. Blocks up to the time-out.
 * Crash: as a death of the process.
 */
PPDB_API int ppdb_reattach_after_fork(ppdb *db);

/* ---- read by copy ----------------------------------------------------------------------------------------------- */

/*
 * Copies the value of `key` to buf (`cap` bytes; NULL allowed when cap is 0) and its size to *len (NULL allowed).
 * Errors: PPDB_NOTFOUND; -ENOBUFS value larger than cap: nothing copied, *len is its size; PPDB_KEYSIZE; PPDB_TABLE_UNKNOWN;
 * PPDB_FORKED; -ENOSPC no slot for this thread; PPDB_EVICTED (read-only handle that pinned too much).
 * Threads: any. Never blocks.
 * Crash: nothing is left.
 */
PPDB_API int ppdb_get(ppdb *db, ppdb_table table, ppdb_slice key, void *buf, size_t cap, size_t *len);

/*
 * Looks up n keys at once, overlapping their cache misses: several times faster than one by one. rcs[i] (PPDB_OK, PPDB_NOTFOUND
 * or another code) and out[i] tell about keys[i]; out[i] points into shared memory and lives as ppdb_view_get's.
 * The view must belong to db. Returns PPDB_OK when all keys were looked up, else the error that stopped the call.
 * Threads: the one that uses the view. Never blocks.
 * Crash: nothing is left.
 */
PPDB_API int ppdb_get_many(ppdb *db, ppdb_table table, const ppdb_slice *keys, size_t n, ppdb_view *view, ppdb_item *out,
	int *rcs);

/* ---- write ------------------------------------------------------------------------------------------------------ */

enum ppdb_write_flags {
	PPDB_ASYNC = 1u,    /* return when visible; the ticket tells when it is durable */
	PPDB_IFABSENT = 2u, /* only if there is no such key, else PPDB_EXISTS */
	PPDB_IFPRESENT = 4u /* only if there is such a key, else PPDB_NOTFOUND */
};

#define PPDB_TTL_NEVER UINT64_MAX /* as ttl_ms: never, whatever the table's default is */

typedef struct ppdb_wopts {
	uint32_t size, flags;  /* sizeof, ppdb_write_flags */
	uint64_t ttl_ms;       /* the value vanishes after this many milliseconds (at most 2^53); 0 = after the table's default, if it has one */
	uint64_t timeout_ms;   /* bound of the whole call; 0 = 1 s for room in the log, then until durable (30 s without a ppdbd) */
} ppdb_wopts;

/*
 * What all writes share. wopts NULL: return when the write is durable. *ticket (NULL allowed) is set whenever the write took
 * place, also when only the wait for durability failed: PPDB_TIMEOUT, PPDB_DAEMON_GONE and the log's -errno with a ticket != 0
 * mean "visible, not known to be durable"; PPDB_LOST with a ticket: a cold start came between, the write did not survive.
 * With ticket 0 (it is cleared at the start) nothing happened, and nothing will happen later.
 * Errors besides each function's own: PPDB_KEYSIZE, PPDB_VALSIZE, PPDB_TABLE_UNKNOWN, PPDB_READONLY, PPDB_FULL (arena), -ENOSPC
 * (disk, or no slot for this thread), PPDB_OVERLOAD (log rings full), PPDB_DAEMON_GONE (the same, and no ppdbd), PPDB_FORKED, -EINVAL,
 * -E2BIG, -errno of a failed log (reading goes on, writing ends until ppdbd is restarted).
 * Threads: any. Blocks only for room in the log and durability, both bounded; never on another client.
 * Crash: the write happened wholly or not at all; ppdbd takes back what the call held.
 */

/* Stores a value. Errors: PPDB_EXISTS (IFABSENT), PPDB_NOTFOUND (IFPRESENT). */
PPDB_API int ppdb_put(ppdb *db, ppdb_table table, ppdb_slice key, ppdb_slice val, const ppdb_wopts *opts, ppdb_seq *ticket);

/* Removes a key. Errors: PPDB_NOTFOUND. Works on a full store. Flags: PPDB_ASYNC only; ttl_ms must be 0. */
PPDB_API int ppdb_del(ppdb *db, ppdb_table table, ppdb_slice key, const ppdb_wopts *opts, ppdb_seq *ticket);

/*
 * Gives a key that is there a new time to live, counted from now; its value stays and its version grows as with every write. ttl_ms as in ppdb_wopts:
 * 0 = the table's default, PPDB_TTL_NEVER. Errors: PPDB_NOTFOUND. Flags: PPDB_ASYNC only; opts->ttl_ms must be 0.
 */
PPDB_API int ppdb_touch(ppdb *db, ppdb_table table, ppdb_slice key, uint64_t ttl_ms, const ppdb_wopts *opts, ppdb_seq *ticket);

/*
 * Stores a value if the key's version (ppdb_item.version) is `version`; 0 = the key must be absent.
 * *newver (NULL allowed) = the new version; on PPDB_CONFLICT the version that was found, 0 = absent.
 * Flags: PPDB_ASYNC only.
 */
PPDB_API int ppdb_cas(ppdb *db, ppdb_table table, ppdb_slice key, uint64_t version, ppdb_slice val, const ppdb_wopts *opts,
	uint64_t *newver, ppdb_seq *ticket);

/*
 * Adds delta to a counter kept as decimal text; an absent key counts as `initial`. *result (NULL allowed) = the sum stored.
 * A time to live that the counter has stays unless ttl_ms gives another. Errors: PPDB_TYPE not a number, or out of 64 bits;
 * PPDB_EXISTS / PPDB_NOTFOUND by the flags.
 */
PPDB_API int ppdb_add_i64(ppdb *db, ppdb_table table, ppdb_slice key, int64_t delta, int64_t initial, const ppdb_wopts *opts,
	int64_t *result, ppdb_seq *ticket);

/* ---- batches ---------------------------------------------------------------------------------------------------- */

/*
 * A batch collects writes in private memory; ppdb_write does them all or none: every process sees them at one moment, and after a crash all are
 * there or none. It may be written again, by any handle of the process, until it is cleared or freed. Used by one thread at a time. At most
 * 4,194,304 keys; keys and values are copied when they are added. Several operations on one key: the last put or del counts, and
 * each condition is judged on what was there before the batch. All calls but ppdb_write touch this process's memory alone: they never block.
 * Crash: in those nothing is left.
 */

/* An empty batch in *out; ppdb_batch_free frees it. Errors: -ENOMEM, PPDB_FORKED. */
PPDB_API int ppdb_batch_new(ppdb *db, ppdb_batch **out);

/* Adds a put. opts: flags PPDB_IFABSENT or PPDB_IFPRESENT; ttl_ms counts from ppdb_write; timeout_ms must be 0.
 * Errors: PPDB_KEYSIZE, PPDB_VALSIZE, -EINVAL, -E2BIG (options, or too many keys), -ENOMEM; the batch is as it was. Whether the table is there
 * ppdb_write finds out. */
PPDB_API int ppdb_batch_put(ppdb_batch *batch, ppdb_table table, ppdb_slice key, ppdb_slice val, const ppdb_wopts *opts);

/* Adds a delete; a key that is missing then is no error. Errors as ppdb_batch_put. */
PPDB_API int ppdb_batch_del(ppdb_batch *batch, ppdb_table table, ppdb_slice key);

/*
 * Requires that the key's version (ppdb_item.version) is `version` when the batch is done; 0 = that there is no such key. The key may be
 * one that the batch writes or not. With every key required that the batch was computed from, batches are serializable.
 * Errors as ppdb_batch_put.
 */
PPDB_API int ppdb_batch_require(ppdb_batch *batch, ppdb_table table, ppdb_slice key, uint64_t version);

/* Forgets all operations, keeps the memory. */
PPDB_API void ppdb_batch_clear(ppdb_batch *batch);

/* Frees the batch. NULL is allowed. */
PPDB_API void ppdb_batch_free(ppdb_batch *batch);

/*
 * Does all operations of the batch at one moment, or none. opts, *ticket and errors as for all writes (above); flags: PPDB_ASYNC only, ttl_ms
 * must be 0; timeout_ms 0 = 1 s and more for many bytes, then until durable. *failed (NULL allowed) = index of the operation (in
 * the order of adding, from 0) that cannot be done, when it is one operation's fault: PPDB_CONFLICT (a requirement), PPDB_EXISTS,
 * PPDB_NOTFOUND (its flag), PPDB_TABLE_UNKNOWN; else SIZE_MAX. Also PPDB_TIMEOUT with ticket 0: other writers of the same keys kept coming between. An
 * empty batch is done at once, with ticket 0.
 * Threads: any. Blocks as a put; others that write the same keys may be delayed some milliseconds by a large batch under way, and
 * never wait for one that is stopped.
 * Crash: all or nothing.
 */
PPDB_API int ppdb_write(ppdb *db, ppdb_batch *batch, const ppdb_wopts *opts, ppdb_seq *ticket, size_t *failed);
/* ---- values that are filled in place ---------------------------------------------------------------------------- */

/*
 * Reserves space in shared memory for a value of `size` bytes: *data, which the caller fills, and *out, which it then publishes under `key` (copied here) or
 * cancels. Until then nobody sees anything of it. Both are done by the thread that reserved, which may have 16 open; the bytes may be filled by any.
 * *data is 8-byte aligned and valid until publish or cancel has returned; after a publish that took place it must not be written any more.
 * A reservation becomes void (PPDB_EVICTED at publish) when its thread ends, the handle detaches, or a restart replaces the arena; it still has to be cancelled.
 * Errors: PPDB_VALSIZE; PPDB_FULL; PPDB_KEYSIZE; PPDB_TABLE_UNKNOWN; PPDB_READONLY; -EBUSY 16 are open; -ENOSPC no slot; -ENOMEM; -EINVAL; PPDB_FORKED.
 * Never blocks.
 * Crash: ppdbd frees the space.
 */
typedef struct ppdb_reservation ppdb_reservation;
PPDB_API int ppdb_reserve(ppdb *db, ppdb_table table, ppdb_slice key, size_t size, ppdb_reservation **out, void **data);

/*
 * Stores what was filled in: as ppdb_put, but without a copy. When it took place (PPDB_OK, or a ticket) the reservation is gone; else it stays, to be
 * published again or cancelled. Errors: as ppdb_put; PPDB_EVICTED the reservation is void; -EINVAL another thread's. Flags as ppdb_put.
 * Blocks as ppdb_put.
 * Crash: the write happened wholly or not at all.
 */
PPDB_API int ppdb_publish(ppdb_reservation *reservation, const ppdb_wopts *opts, ppdb_seq *ticket);

/* Gives the space back. By the thread that reserved, or when it has ended. NULL is allowed. In a forked child it only frees. Never blocks.
 * Crash: ppdbd frees the space. */
PPDB_API void ppdb_cancel(ppdb_reservation *reservation);

/* ---- tables ----------------------------------------------------------------------------------------------------- */

enum ppdb_table_flags {
	PPDB_CREATE = 1u,    /* make the table if there is none of that name */
	PPDB_EXCLUSIVE = 2u, /* with PPDB_CREATE: PPDB_EXISTS if there is one */
	PPDB_CHANGE = 4u     /* quota_bytes and ttl_ms become those of the table if it is there already */
};

typedef struct ppdb_table_opts {
	uint32_t size, flags;  /* sizeof, ppdb_table_flags */
	uint64_t quota_bytes;  /* of a new or changed table: what its keys and values may take; 0 = no limit */
	uint64_t ttl_ms;       /* of a new or changed table: time to live of values written with ttl_ms 0; 0 = for ever */
} ppdb_table_opts;

/*
 * Finds the table `name` (1 to 255 bytes, no NUL) and stores its number in *out; with PPDB_CREATE makes it when there is none. The
 * number is good for every process, as long as the table exists and also after restarts, and is never given to another table. Quota and time
 * to live are those of its creation, or of the last PPDB_CHANGE, which holds for writes that begin after it returned: values that are there keep
 * their time, and a table that is larger than its new quota takes no more until it is smaller. At most 16,384 tables at a time. It returns when the table is durable, whoever made it.
 * Errors: PPDB_TABLE_UNKNOWN no such table; PPDB_EXISTS; PPDB_FULL too many tables, or the arena; -EINVAL a bad name or ttl_ms, PPDB_EXCLUSIVE
 * alone or with PPDB_CHANGE; -E2BIG; PPDB_READONLY (a read-only handle: PPDB_CREATE where there is none, PPDB_CHANGE); else as ppdb_put.
 * Quota: a write that would make keys and values together larger gives PPDB_FULL with a sentence that names the table; a delete never does. Each write is counted right
 * after it took place: writers that write at the same moment may pass the check together, each with one write; a writer that is killed between
 * the two leaves the count wrong by that write until the next cold start, which counts anew. Expired values count until they are swept.
 * Threads: any. Blocks as a write does.
 * Crash: the table exists or it does not, is changed or not; ppdbd takes back what a killed call held.
 */
PPDB_API int ppdb_table_open(ppdb *db, const char *name, const ppdb_table_opts *opts, ppdb_table *out);

/*
 * Drops a table with all that is in it; returns when that is durable. From then on every call with its number gives PPDB_TABLE_UNKNOWN, open views
 * and iterators included; what they have handed out before stays readable as long as they promised. Its space comes back in the background.
 * Another table of that name may be made at once; it has another number.
 * Errors: PPDB_TABLE_UNKNOWN; PPDB_READONLY; -EINVAL; else as ppdb_del. PPDB_TIMEOUT, PPDB_DAEMON_GONE and the log's -errno: it may be dropped, but
 * not known to be durable.
 * Threads: any. Blocks as a write does.
 * Crash: the table exists, whole, or it does not.
 */
PPDB_API int ppdb_table_drop(ppdb *db, const char *name);

typedef struct ppdb_table_info {
	const char *name;      /* valid inside the callback */
	ppdb_table table;
	uint32_t reserved;
	uint64_t quota_bytes, ttl_ms;     /* 0 = none */
	uint64_t created_ms;              /* CLOCK_REALTIME milliseconds */
	uint64_t used_bytes, keys;        /* see ppdb_table_open for how exact */
} ppdb_table_info;

/*
 * Calls `each` for every table but the default one, in order of names, until it returns something else than 0; that is then the result. It may call
 * ppdb functions. Tables that come or go meanwhile may be met or not. Works on read-only handles.
 * Errors: as ppdb_view_begin.
 * Threads: any; `each` runs in the caller's. Never blocks by itself.
 * Crash: ppdbd gives back what the call held.
 */
PPDB_API int ppdb_table_list(ppdb *db, int (*each)(void *ctx, const ppdb_table_info *info), void *ctx);

/* ---- durability ------------------------------------------------------------------------------------------------- */

/* Threads: any. Crash: nothing is left but, for a moment, a note in a slot that ppdbd takes back. */

/*
 * Waits until the write with this ticket (of any process) has reached a level. timeout_ns < 0 = no limit (but 30 s without a
 * ppdbd give PPDB_DAEMON_GONE), 0 = only look. Ticket 0 is reached.
 * Errors: PPDB_TIMEOUT; PPDB_LOST it did not survive a cold start; PPDB_DAEMON_GONE; -EINVAL no such level, or a ticket that was
 * never given out; -ENOTSUP PPDB_REPLICATED; -errno of a failed log; PPDB_FORKED; -ENOSPC no slot.
 */
PPDB_API int ppdb_wait(ppdb *db, ppdb_seq ticket, ppdb_level level, int64_t timeout_ns);

/* Waits until all writes that this handle's threads made before the call are durable. Errors: as ppdb_wait. */
PPDB_API int ppdb_sync(ppdb *db, int64_t timeout_ns);

/* The newest position such that every write up to it has reached the level; one load from shared memory. 0 = none, or the
 * handle cannot tell (forked, PPDB_REPLICATED). A write may itself be VISIBLE before this position has passed it. Never blocks. */
PPDB_API ppdb_seq ppdb_reached(ppdb *db, ppdb_level level);

/* ---- durability in event loops --------------------------------------------------------------------------------- */

/*
 * A completion queue: tickets are submitted, and reaped when they have reached their level; in between the program waits in its own
 * event loop, for the queue's descriptor, with epoll, poll, select or io_uring's poll. A queue takes one slot and is used by one thread
 * at a time. It has no limit but memory. None of its calls blocks, but when a restart is just giving the store another arena.
 * Crash: ppdbd takes slot and connection back; what was submitted becomes durable all the same.
 */

typedef struct ppdb_cq_opts {
	uint32_t size, flags; /* sizeof, 0 */
} ppdb_cq_opts;

typedef struct ppdb_completion {
	void *user;           /* as submitted */
	ppdb_seq ticket;
	ppdb_level level;     /* as submitted */
	int result;           /* PPDB_OK, or why it never will: PPDB_LOST, -errno of a failed log; PPDB_DAEMON_GONE: 30 s without a ppdbd */
} ppdb_completion;

/*
 * Opens a queue and stores it in *out; ppdb_cq_close frees it. opts NULL = defaults.
 * Errors: -EINVAL, -E2BIG, -ENOMEM, -EMFILE, -ENOSPC no slot, PPDB_FORKED.
 */
PPDB_API int ppdb_cq_open(ppdb *db, const ppdb_cq_opts *opts, ppdb_cq **out);

/*
 * The descriptor to poll for reading (POLLIN); the queue's own, never to be read or closed. Errors: -EINVAL for NULL. Readable: call ppdb_cq_reap, which makes it
 * unreadable. It stays the same over restarts of ppdbd. Level-triggered: it stays readable while completions are left. It may be readable
 * with nothing to reap: after a death of ppdbd it is some 20 times a second, and each reap looks for the next one.
 */
PPDB_API int ppdb_cq_fd(const ppdb_cq *cq);

/*
 * Waits for the write with this ticket (of any process) to reach a level, without blocking. What is there already, and VISIBLE and
 * CRASHSAFE always are, is reaped like the rest. Ticket 0 is reached. The order of completions is that of tickets, not of
 * submissions.
 * Errors: -EINVAL no such level, or a ticket that was never given out; -ENOTSUP PPDB_REPLICATED; PPDB_LOST it did not survive a cold
 * start; -ENOMEM; PPDB_FORKED. Then nothing was submitted.
 */
PPDB_API int ppdb_cq_submit(ppdb_cq *cq, ppdb_seq ticket, ppdb_level level, void *user);

/*
 * Takes up to `cap` completions to out[]; *n is their number, 0 if there are none. Never blocks.
 * Errors: -EINVAL, PPDB_FORKED, -ENOSPC (no slot in the arena that a restart made; what was submitted stays, try again).
 */
PPDB_API int ppdb_cq_reap(ppdb_cq *cq, ppdb_completion *out, size_t cap, size_t *n);

/* Frees the queue and forgets what was not reaped (the writes become durable all the same). NULL is allowed. */
PPDB_API void ppdb_cq_close(ppdb_cq *cq);

/* ---- change feed ------------------------------------------------------------------------------------------------ */

/*
 * Threads: a feed is used by one thread at a time. Blocks only where it says so.
 * Crash: ppdbd takes slot and connection back; a bookmark stays where it was acknowledged.
 */

enum ppdb_feed_flags {
	PPDB_FEED_SEQ = 1u,      /* begin behind position `seq`; else with what is committed from now on */
	PPDB_FEED_TABLE = 2u     /* only changes of `table`; else of all tables */
};

typedef struct ppdb_feed_opts {
	uint32_t size, flags;    /* sizeof, ppdb_feed_flags */
	ppdb_seq seq;            /* PPDB_FEED_SEQ: all changes behind it: of a snapshot's ppdb_view_seq, of a change; 0 = from the beginning */
	const char *bookmark;    /* begin where this bookmark is, if there is one of this name, else as above; NULL = none. 1 to 255 bytes */
	ppdb_slice prefix;       /* only keys that begin with it; size 0 = all; copied */
	ppdb_table table;
	uint32_t reserved;       /* 0 */
} ppdb_feed_opts;

enum ppdb_change_flags {
	PPDB_CHANGE_DELETED = 1u, /* the key was removed; value is empty */
	PPDB_CHANGE_BATCH = 2u,   /* the feed's next change belongs to the same batch */
	PPDB_CHANGE_MORE = 4u     /* the feed's next change has the same seq */
};

typedef struct ppdb_change {
	ppdb_slice key, value;   /* valid until the feed's next call */
	uint64_t version;        /* of the key */
	uint64_t expires_ms;     /* CLOCK_REALTIME milliseconds, 0 = never */
	ppdb_seq seq;            /* commit position: never falls */
	ppdb_table table;
	uint32_t flags;          /* ppdb_change_flags */
} ppdb_change;

typedef struct ppdb_feed_behind {
	ppdb_seq seq;            /* all up to it has been handed out */
	ppdb_seq reached;        /* durable position of the store */
	uint64_t writes;         /* of the log that are not read yet; each holds one to thousands of changes */
} ppdb_feed_behind;

/*
 * Opens a feed and stores it in *out; ppdb_feed_close frees it. It hands out every change that is committed behind its beginning, once, in
 * commit order, when it is durable: what was handed out, no crash takes back. Read-only handles may follow, too; ppdbd hands out the files
 * of its log. A feed takes one slot.
 *
 * Order: seq never falls; of a key by its version; what one thread wrote in the order in which it did; batches whole. Changes with the
 * same seq are one group: apply it whole (PPDB_CHANGE_MORE) to go from one consistent cut of the store to the next.
 *
 * A bookmark is a named position that is kept in the store; it is made when the feed is opened with a name that is not there yet, and moved by
 * ppdb_feed_ack. While it is there the log behind it is kept, up to ppdbd's --feed-hold, and not when the disk is full; beyond that it is
 * lost. One feed a bookmark at a time.
 *
 * Errors: PPDB_LOST the log does not go back so far, or the position did not survive a cold start; -EINVAL flags, a name, or a seq from the
 * future; PPDB_READONLY a bookmark needs a handle that may write; PPDB_DAEMON_GONE; -E2BIG, -ENOMEM, -EMFILE, -ENOSPC no slot, PPDB_FORKED,
 * PPDB_TABLE_UNKNOWN, PPDB_KEYSIZE (prefix); a new bookmark's as ppdb_put.
 * Blocks for a request to ppdbd (5 s at most) and reads of the log.
 */
PPDB_API int ppdb_feed_open(ppdb *db, const ppdb_feed_opts *opts, ppdb_feed **out);

/* The descriptor to poll for reading when ppdb_feed_next said PPDB_NOTFOUND. As ppdb_cq_fd. */
PPDB_API int ppdb_feed_fd(const ppdb_feed *feed);

/*
 * The next change. Never waits for one to come, but reads the log.
 * Errors: PPDB_NOTFOUND none now: poll the descriptor; PPDB_LOST the log behind the position was recycled, begin with a new copy of the store;
 * PPDB_CORRUPT damage in the log; PPDB_DAEMON_GONE 30 s without a ppdbd (it may be called again); -ENOMEM, -errno of a read;
 * PPDB_FORKED.
 */
PPDB_API int ppdb_feed_next(ppdb_feed *feed, ppdb_change *out);

/*
 * Moves the bookmark behind the last change that ppdb_feed_next handed out. Blocks until that is durable.
 * Errors: -EINVAL the feed has no bookmark; else as ppdb_put.
 * Crash: it stands where it was, or behind that change.
 */
PPDB_API int ppdb_feed_ack(ppdb_feed *feed);

/* How far the feed is behind. Errors: -EINVAL, PPDB_FORKED. */
PPDB_API int ppdb_feed_lag(ppdb_feed *feed, ppdb_feed_behind *out);

/* Frees the feed; its bookmark stays. NULL is allowed. */
PPDB_API void ppdb_feed_close(ppdb_feed *feed);

/* Removes a bookmark, so that the log behind it may go. Errors: PPDB_NOTFOUND; else as ppdb_del. Threads: any. Blocks as a write does. */
PPDB_API int ppdb_feed_forget(ppdb *db, const char *bookmark);

/* ---- views: read in place --------------------------------------------------------------------------------------- */

/*
 * Threads: a view and its iterators are used by one thread at a time, and may be handed on to another. Never block, but ppdb_view_begin and
 * ppdb_view_refresh with SNAPSHOT, when this process has just written, and with FRESH: until ppdbd has closed a group commit.
 * Crash: ppdbd gives the slot back and what it pinned.
 */

enum ppdb_view_flags {
	PPDB_VIEW_LATEST = 0u,   /* each read sees the newest committed value */
	PPDB_VIEW_SNAPSHOT = 1u, /* one consistent cut that holds all that this process has read or written before */
	PPDB_VIEW_FRESH = 2u     /* the same, and all that was committed anywhere before the call (asks ppdbd) */
};

/*
 * Begins a view and stores it in *out; ppdb_view_end frees it. Pointers that reads through the view hand out are valid until
 * ppdb_view_refresh or ppdb_view_end. A view takes one slot. A LATEST view pins the memory that was alive while it was
 * open: refresh long-lived ones now and then.
 * Errors: -EINVAL flags; -ENOSPC no slot; PPDB_TIMEOUT, PPDB_DAEMON_GONE (FRESH and SNAPSHOT: no cut within some seconds); -ENOMEM;
 * PPDB_FORKED.
 */
PPDB_API int ppdb_view_begin(ppdb *db, uint32_t flags, ppdb_view **out);

/* Ends all pointers of the view and its iterators' items, and moves it to now (a new snapshot; a new arena after a cold
 * start). Iterators stay open and keep their position. On an error the view can only be refreshed again or ended. Errors: as ppdb_view_begin. */
PPDB_API int ppdb_view_refresh(ppdb_view *view);

/* Frees the view. Its iterators must be closed before. NULL is allowed. */
PPDB_API void ppdb_view_end(ppdb_view *view);

/* SNAPSHOT and FRESH: the position of the cut. LATEST: all writes up to it are seen for sure, later ones may be. 0 = none. */
PPDB_API ppdb_seq ppdb_view_seq(const ppdb_view *view);

/* PPDB_OK: what was read in place so far is valid. PPDB_EVICTED: the view was revoked, what was read in place may be void.
 * PPDB_FORKED. */
PPDB_API int ppdb_view_check(const ppdb_view *view);

/*
 * Finds a key without copying: out->key and out->value point into shared memory (read-only; the caller must not write there).
 * Errors: PPDB_NOTFOUND, PPDB_KEYSIZE, PPDB_TABLE_UNKNOWN, PPDB_EVICTED, PPDB_FORKED. Never blocks.
 */
PPDB_API int ppdb_view_get(ppdb_view *view, ppdb_table table, ppdb_slice key, ppdb_item *out);

/* ---- iterators -------------------------------------------------------------------------------------------------- */

/* Threads: an iterator is used as its view is. Never block. Crash: ppdbd gives back what the view held. */

typedef struct ppdb_iter_opts {
	uint32_t size, flags;           /* sizeof, 0 */
	ppdb_slice lower, upper, prefix; /* lower <= key < upper, and key begins with prefix; size 0 = no bound; copied */
} ppdb_iter_opts;

/* Opens an iterator over one table in byte order, not yet positioned; ppdb_iter_close frees it. It uses its view.
 * Errors: -EINVAL, -E2BIG, -ENOMEM, PPDB_KEYSIZE (bound too long), PPDB_EVICTED, PPDB_FORKED. */
PPDB_API int ppdb_iter_open(ppdb_view *view, ppdb_table table, const ppdb_iter_opts *opts, ppdb_iter **out);

/*
 * Move and fill *out (as ppdb_view_get does). first, last: ends of the range. next, prev: from the item handed out last; on a
 * fresh iterator next = first, prev = last. seek: first key >= k; seek_le: last key <= k (both inside the range).
 * PPDB_NOTFOUND at the end; from there prev, or next, leads back into the range. PPDB_EVICTED, PPDB_FORKED. On a LATEST view keys
 * that others insert or remove meanwhile may or may not be met; those that stay are met exactly once. Never blocks.
 */
PPDB_API int ppdb_iter_first(ppdb_iter *iter, ppdb_item *out);
PPDB_API int ppdb_iter_last(ppdb_iter *iter, ppdb_item *out);
PPDB_API int ppdb_iter_next(ppdb_iter *iter, ppdb_item *out);
PPDB_API int ppdb_iter_prev(ppdb_iter *iter, ppdb_item *out);
PPDB_API int ppdb_iter_seek(ppdb_iter *iter, ppdb_slice key, ppdb_item *out);
PPDB_API int ppdb_iter_seek_le(ppdb_iter *iter, ppdb_slice key, ppdb_item *out);

/* Frees the iterator. NULL is allowed. */
PPDB_API void ppdb_iter_close(ppdb_iter *iter);

/*
 * Deletes all keys of a range (as ppdb_iter_opts says; NULL = the whole table) that one fresh snapshot sees, in atomic batches of about a thousand keys. A
 * key that somebody writes meanwhile keeps what was written. *count (NULL allowed) = keys deleted, also on failure. opts, *ticket (of
 * the last batch) and errors as for ppdb_del; also PPDB_EVICTED when the snapshot was revoked. After any failure, or a crash, it may be called
 * again: it deletes what is left.
 * Threads: any. Blocks as its batches do, one after the other.
 * Crash: each batch was done wholly or not at all.
 */
PPDB_API int ppdb_del_range(ppdb *db, ppdb_table table, const ppdb_iter_opts *range, const ppdb_wopts *opts, uint64_t *count,
	ppdb_seq *ticket);

#ifdef __cplusplus
}
#endif

#endif
