/*
 * internal.h - what the files of the client library share: handles, mappings, sessions.
 *
 *   struct ppdb  ---- map ---> struct pp_mapping (one arena, refcounted)
 *      |                            ^
 *      +-- sessions --> struct pp_session: one slot, used by one thread at a time; a thread's own, or a view's
 *
 * A thread finds its session in thread-local storage. Every call compares three words: the handle's id (never reused), the fork
 * guard (0 in a forked child: its page is wiped) and the handle's current mapping. A session that is behind moves to
 * the new mapping at its next call; the old mapping goes away with its last session.
 *
 * Locks, in this order: ppdb.lock (socket, reconnect, choice of the mapping), the registry lock in thread.c (lists of sessions).
 */
#ifndef PP_CLIENT_INTERNAL_H
#define PP_CLIENT_INTERNAL_H

#include "engine/store.h"
#include "engine/table.h"
#include "shm/clock.h"
#include "shm/errors.h"
#include "shm/reclaim.h"
#include "shm/slot.h"

#include "client/ppdb.h"
#include "client/proto.h"

#include <pthread.h>

#define likely(x) __builtin_expect(!!(x), 1)

/* How often a busy handle looks at its socket, how many calls may pass between two looks at the clock, how long a wait
 * without a limit bears it without a daemon. */
#define PP_LINK_POLL_NS (50 * PP_NS_PER_MS)
#define PP_TICK_CALLS 16
#define PP_TICK_SLOW_NS (4 * PP_NS_PER_MS)
#define PP_GONE_LIMIT_NS (30 * PP_NS_PER_SEC)
#define PP_ANSWER_NS (5 * PP_NS_PER_SEC)
#define PP_ROOM_NS PP_NS_PER_SEC
#define PP_RENEW_NS (3 * PP_NS_PER_SEC) /* from a void arena to its successor, which is ready then */

struct pp_mapping {
	pp_a32 refs;
	pp_a32 orphaned;               /* another arena took its place */
	struct pp_region region;
	struct pp_control *control;    /* read-only: own slots */
	uint64_t control_bytes;
	int control_fd;
	pp_a32 proc;                   /* record in region.procs; changes under ppdb.lock only */
	uint64_t generation;
	uint64_t incarnation;
	dev_t dev;
	ino_t ino;
};

struct pp_session {
	struct pp_thread t;
	struct ppdb *db;
	struct pp_mapping *map;        /* NULL: has no slot */
	uint64_t born;                 /* fork guard when it was made */
	unsigned tick;                 /* calls until the next look at the clock */
	uint64_t tick_ns;
	pp_a64 written, seen;          /* newest tags; owner writes, pp_sessions_newest reads */
	struct pp_session *db_next, *db_prev;
	struct pp_session *thread_next, **thread_link; /* NULL link: not a thread's own */
	struct pp_session *idle_next;
	struct ppdb_reservation *reservations; /* the owner's; of those that can still be published */
};

struct pp_lost { pp_a64 low, high; }; /* tickets in (low, high) did not survive */

enum pp_link_state { PP_LINK_DOWN, PP_LINK_ASKED, PP_LINK_UP };

struct ppdb {
	uint64_t id;
	uint64_t born;
	_Atomic(struct pp_mapping *) map;
	pp_a64 polled_ns;              /* last look at the socket */
	pp_a32 lost_count;
	bool readonly, populate;
	pthread_mutex_t lock;
	int sock;
	uint64_t sock_inode;
	enum pp_link_state link;
	uint64_t asked_ns, retry_ns;
	pp_a64 down_since_ns;          /* 0 = a daemon is there */
	char sentence[216];            /* why the last daemon refused; under lock */
	char name[108], client_name[32];
	uint32_t timeout_ms, flags;
	struct pp_lost lost[16];
	/* under the registry lock */
	struct pp_session *sessions, *idle;
	unsigned idle_count, views;
	uint64_t written, seen;        /* of sessions that ended */
};

struct ppdb_view {
	struct ppdb *db;
	struct pp_session *s;
	uint64_t born;                 /* fork guard when it began */
	uint32_t flags;
	bool held;                     /* a read section (LATEST) or a snapshot is held; false after a failed refresh */
	uint64_t snapshot;             /* PP_LATEST or S */
	uint64_t seq;
	struct ppdb_iter *iters;
};

/* ---- fork guard, thread.c: a page that is wiped in a forked child */
extern pp_a64 *pp_guard;

static inline bool pp_forked(const struct ppdb *db)
{
	/* owner: written before any handle exists, and by the only thread of a fresh child */
	return db->born != pp_load_rlx(pp_guard);
}

int pp_guard_init(void);           /* 0 or -errno; makes or renews the guard word */
uint64_t pp_next_id(void);

/* ---- sessions, thread.c */
struct pp_here {                   /* the session this thread used last */
	struct ppdb *db;
	uint64_t id;
	struct pp_session *s;
};
extern _Thread_local struct pp_here pp_here __attribute__((tls_model("initial-exec")));

int pp_session_slow(struct ppdb *, struct pp_session **out);
int pp_session_tick(struct pp_session *);
/* The calling thread's session, on the current mapping. */
static inline int pp_session_enter(struct ppdb *db, struct pp_session **out)
{
	struct pp_session *s = pp_here.s;

	/* [client.enter:map] pairs [client.link:map]: the mapping that is current is complete */
	if (likely(db && pp_here.db == db && pp_here.id == db->id && !pp_forked(db) && s->map == pp_load_acq(&db->map) &&
		--s->tick)) {
		*out = s;
		return 0;
	}
	return pp_session_slow(db, out);
}
int pp_session_take(struct ppdb *, struct pp_session **out); /* for a view: an idle one or a new one, on the current mapping */
void pp_session_give(struct pp_session *);                   /* back to the idle ones */
int pp_session_move(struct pp_session *);                    /* to the current mapping (also from none) */
int pp_session_renew(struct pp_session *);                   /* the same, and waits for the next arena when this one is void */
/* Another arena is about to take this one's place, or has: what is read from now on may be old. */
static inline bool pp_mapping_void(const struct pp_mapping *m)
{
	return pp_load_acq(&m->region.globals->era) == PP_ERA_VOID;
}
void pp_sessions_end(struct ppdb *, bool leave_slots);       /* detach: all of them */
unsigned pp_sessions_views(struct ppdb *);                   /* open ones */
void pp_sessions_newest(struct ppdb *, uint64_t *written, uint64_t *seen);

static inline void pp_session_note(pp_a64 *newest, uint64_t tag)
{
	if (tag > pp_load_rlx(newest)) /* owner */
		pp_store_rlx(newest, tag);
}

/* ---- iterators, iter.c: of any table, the catalog too */
int pp_iter_open(ppdb_view *, ppdb_table, const ppdb_iter_opts *, ppdb_iter **out);

/* ---- mappings, map.c */
/* fds are duplicated or mapped, never kept. control_fd < 0: none. */
int pp_mapping_new(int fd, int control_fd, uint32_t control_slots, bool readonly, bool populate, struct pp_mapping **out);
void pp_mapping_put(struct pp_mapping *);
static inline void pp_mapping_get(struct pp_mapping *m)
{
	pp_add_rlx(&m->refs, 1); /* recheck: the caller holds ppdb.lock, so the handle's own reference is there */
}

/* ---- reads of what may be taken away, guarded.c: as the engine's, but also PPDB_EVICTED or PPDB_CORRUPT on a read-only handle */
int pp_guarded_read(struct pp_thread *, const struct pp_key *, uint64_t snapshot, struct pp_hit *);
int pp_guarded_read_many(struct pp_thread *, const struct pp_key *, size_t n, uint64_t snapshot, struct pp_hit *, int *rcs);
int pp_revoked(void);                        /* PPDB_EVICTED with its sentence */

/* ---- reservations, reserve.c: the session's slot is about to be given back (`leave`), or is not ours any more */
void pp_reservations_end(struct pp_session *, bool leave);

/* ---- writes, write.c. These results: nothing happened, and another try may do, as long as pp_write_again says so (it may nap, and lets *s move to
 * another mapping). `limit`: when to give up. */
static inline bool pp_write_may_again(int rc)
{
	return rc == PPDB_OVERLOAD || rc == PPDB_DAEMON_GONE || rc == -ESTALE;
}
bool pp_write_again(struct ppdb *, struct pp_session *, uint64_t limit, int *rc);

/* ---- link to the daemon, link.c */
int pp_link_connect(const char *name);                       /* socket, or an error with detail */
int pp_link_attach(struct ppdb *);                           /* first attach: fills map; blocks as the options say */
void pp_link_poll(struct ppdb *, bool may_block);            /* hang-up? reconnect, bounded; never waits for an answer */
void pp_link_hurry(struct ppdb *);                           /* the same at once, however short ago the last attempt was */
bool pp_link_down(struct ppdb *, uint64_t *for_ns);
void pp_link_close(struct ppdb *, bool say_goodbye);
int pp_link_lost(struct ppdb *, struct pp_mapping *, uint64_t ticket); /* 0 or PPDB_LOST */
void pp_link_ask_close(struct ppdb *);
/* start.c: runs ppdbd and waits until it is ready; *status = what its starter ended with */
int pp_start_daemon(const char *name, uint32_t timeout_ms, int *status);

/* ---- durability, wait.c. timeout_ns UINT64_MAX = no limit. Lets *s move to another mapping. */
int pp_wait_ticket(struct ppdb *, struct pp_session *, uint64_t ticket, uint64_t timeout_ns);

/* ---- sockets, link.c: to be compared before a descriptor is closed that the program may have closed and used again */
uint64_t pp_link_inode(int fd);

/* ---- options and keys, args.c */
int pp_args_copy(void *known, size_t known_size, const void *given, uint32_t allowed_flags, const char *what);
static inline int pp_args_key(const struct pp_region *r, struct pp_key *k, ppdb_table table, ppdb_slice key)
{
	if (!pp_table_usable(r, table))
		return PPDB_TABLE_UNKNOWN;
	if (key.size - 1 >= PP_KEY_MAX || !key.data)
		return PPDB_KEYSIZE;
	k->table = table;
	k->size = (uint32_t)key.size;
	k->data = key.data;
	return 0;
}

/* When a value of that time to live (0: the table's default) expires; 0 = never. -EINVAL: it would live too long to say. */
#define PP_TTL_MAX_MS (UINT64_C(1) << 53)
int pp_args_expires(const struct pp_region *, ppdb_table, uint64_t ttl_ms, uint64_t *expires_ms);

static inline void pp_args_item(const struct pp_hit *h, ppdb_item *out)
{
	out->key.data = h->key;
	out->key.size = h->key_size;
	out->value.data = h->value;
	out->value.size = h->size;
	out->version = h->version;
	out->expires_ms = h->expires_ms;
	out->seq = h->tag;
}

/* ---- for the ppdb command: the region behind a handle (valid until detach or the next reconnect), and the calling thread's slot */
struct pp_region *pp_client_region(ppdb *);
int pp_client_thread(ppdb *, struct pp_thread **out);
/* Sends a request (PP_MSG_STATUS, PP_MSG_CHECKPOINT) on a connection of its own to the daemon of `name`; *text (malloc'ed, NUL-terminated,
 * "" if none) belongs to the caller. PPDB_DAEMON_GONE when none answers. */
int pp_client_request(const char *name, unsigned type, uint32_t timeout_ms, char **text);

#endif
