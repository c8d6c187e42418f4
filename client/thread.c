/*
 * thread.c - sessions: each thread of the program gets a slot by itself and gives it back when it ends.
 *
 * A session is a slot plus the private state that goes with it. A thread's own sessions (one a handle) hang on a thread-local
 * list; the destructor of a pthread key gives them back. Views take sessions of their own, which are kept for the next view.
 * The registry lock guards those lists; it is never held while waiting, only across the bounded giving back of slots, so
 * that a detach cannot overtake a thread that is ending.
 *
 * Fork: the guard word lies on a page that the kernel wipes in a child, so a child reads 0 there, whatever forked it. Sessions
 * of the parent are then forgotten without touching their slots.
 *
 * Dies inside: the daemon's reaper gives claimed slots back.
 */
#include "client/internal.h"

#include "shm/guard.h"

#include <sys/mman.h>

#define IDLE_SESSIONS 4

_Thread_local struct pp_here pp_here __attribute__((tls_model("initial-exec")));
static _Thread_local struct pp_session *mine __attribute__((tls_model("initial-exec")));

static pp_a64 no_guard;
pp_a64 *pp_guard = &no_guard;

static pthread_mutex_t registry = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static bool key_made;
static uint64_t guard_generation;
static pp_a64 next_id;

uint64_t pp_next_id(void)
{
	return pp_add_rlx(&next_id, 1) + 1; /* stat: only has to be unique */
}

/* ---- lists, under the registry lock */

static void link_session(struct pp_session *s)
{
	s->db_prev = NULL;
	s->db_next = s->db->sessions;
	if (s->db_next)
		s->db_next->db_prev = s;
	s->db->sessions = s;
}

static void unlink_session(struct pp_session *s)
{
	if (s->db_prev)
		s->db_prev->db_next = s->db_next;
	else
		s->db->sessions = s->db_next;
	if (s->db_next)
		s->db_next->db_prev = s->db_prev;
	if (s->thread_link) {
		*s->thread_link = s->thread_next;
		if (s->thread_next)
			s->thread_next->thread_link = s->thread_link;
	}
}

static void fold(struct pp_session *s)
{
	uint64_t written = pp_load_rlx(&s->written), seen = pp_load_rlx(&s->seen); /* stat: the owner is done */

	if (written > s->db->written)
		s->db->written = written;
	if (seen > s->db->seen)
		s->db->seen = seen;
}

static void drop_slot(struct pp_session *s, bool leave)
{
	struct pp_mapping *m = s->map;

	if (!m)
		return;
	pp_reservations_end(s, leave);
	s->map = NULL;
	if (leave)
		pp_slot_leave(&s->t);
	pp_mapping_put(m);
}

static void end_session(struct pp_session *s, bool leave)
{
	fold(s);
	unlink_session(s);
	drop_slot(s, leave);
	free(s);
}

/* ---- thread end and fork */

static void thread_end(void *list)
{
	struct pp_session **head = list;

	pthread_mutex_lock(&registry);
	pp_here.db = NULL;
	while (*head)
		end_session(*head, (*head)->born == pp_load_rlx(pp_guard)); /* owner: see pp_forked */
	pthread_mutex_unlock(&registry);
}

static void before_fork(void)
{
	pthread_mutex_lock(&registry);
}

static void after_fork_parent(void)
{
	pthread_mutex_unlock(&registry);
}

static void after_fork_child(void)
{
	if (pp_guard != &no_guard)
		pp_store_rlx(pp_guard, 0); /* owner: the only thread; wiped already where the kernel can */
	pthread_mutex_init(&registry, NULL);
}

static void make_guard(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return;
	madvise(page, 4096, MADV_WIPEONFORK);
	if (pthread_key_create(&key, thread_end)) {
		munmap(page, 4096);
		return;
	}
	key_made = true;
	pthread_atfork(before_fork, after_fork_parent, after_fork_child);
	pp_guard = page;
}

/* A library that is unloaded must leave no destructor behind. */
__attribute__((destructor)) static void unload(void)
{
	if (key_made)
		pthread_key_delete(key);
}

int pp_guard_init(void)
{
	pthread_once(&once, make_guard);
	if (pp_guard == &no_guard)
		return pp_detail(-ENOMEM, "no memory or no thread key for the fork guard");
	pthread_mutex_lock(&registry);
	if (!pp_load_rlx(pp_guard)) /* owner: registry lock */
		pp_store_rlx(pp_guard, ++guard_generation);
	pthread_mutex_unlock(&registry);
	return 0;
}

/* ---- claiming */

static int claim(struct pp_session *s, struct pp_mapping *m, uint32_t proc)
{
	int rc;

	memset(&s->t, 0, sizeof(s->t));
	if (m->region.readonly)
		rc = pp_slot_claim_readonly(&m->region, pp_control_slots(m->control), m->control->count, &s->t);
	else
		rc = pp_slot_claim(&m->region, proc, &s->t);
	if (!rc && m->region.readonly) {
		s->t.record = &m->region.procs[proc];
		s->t.record_state = m->generation;
	}
	return rc;
}

int pp_session_move(struct pp_session *s)
{
	struct pp_mapping *m;
	uint32_t proc;
	int rc;

	pthread_mutex_lock(&s->db->lock);
	m = pp_load_rlx(&s->db->map); /* owner: ppdb.lock */
	if (s->map == m) {
		pthread_mutex_unlock(&s->db->lock);
		return 0;
	}
	pp_mapping_get(m);
	proc = pp_load_rlx(&m->proc); /* owner: ppdb.lock */
	pthread_mutex_unlock(&s->db->lock);
	drop_slot(s, true);
	rc = claim(s, m, proc);
	if (rc) {
		pp_mapping_put(m);
		return rc;
	}
	s->map = m;
	return 0;
}

/* May its arena be read, and is what it holds there honoured? */
static bool current(const struct pp_session *s)
{
	return !pp_mapping_void(s->map) && !pp_evicted(&s->t);
}

int pp_session_renew(struct pp_session *s)
{
	uint64_t deadline = pp_now_ns() + PP_RENEW_NS;
	struct timespec nap = pp_timespec(PP_NS_PER_MS);
	int rc = pp_session_move(s);

	while (!rc && !current(s)) {
		if (pp_now_ns() >= deadline && pp_evicted(&s->t))
			return pp_revoked();
		if (pp_now_ns() >= deadline)
			return pp_detail(PPDB_DAEMON_GONE, "a restart gave the store another arena, but no ppdbd answers; start it with "
				"'ppdb start'");
		pp_link_hurry(s->db);
		rc = pp_session_move(s);
		if (!rc && !current(s))
			nanosleep(&nap, NULL);
	}
	return rc;
}

static int new_session(struct ppdb *db, bool own, struct pp_session **out)
{
	struct pp_session *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return pp_detail(-ENOMEM, "out of memory");
	s->db = db;
	s->born = db->born;
	s->tick = PP_TICK_CALLS;
	rc = pp_session_renew(s);
	if (!rc && own && pthread_setspecific(key, &mine)) {
		drop_slot(s, true);
		rc = pp_detail(-ENOMEM, "out of memory");
	}
	if (rc) {
		free(s);
		return rc;
	}
	pthread_mutex_lock(&registry);
	link_session(s);
	if (own) {
		s->thread_next = mine;
		if (mine)
			mine->thread_link = &s->thread_next;
		s->thread_link = &mine;
		mine = s;
	}
	pthread_mutex_unlock(&registry);
	*out = s;
	return 0;
}

/* ---- entering a call */

int pp_session_tick(struct pp_session *s)
{
	struct timespec t;
	uint64_t now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	now = (uint64_t)t.tv_sec * PP_NS_PER_SEC + (uint64_t)t.tv_nsec;
	s->tick = now - s->tick_ns > PP_TICK_SLOW_NS ? 1 : PP_TICK_CALLS;
	s->tick_ns = now;
	if (now > pp_load_rlx(&s->db->polled_ns) + PP_LINK_POLL_NS) /* hint: two looks do no harm */
		pp_link_poll(s->db, false);
	return 0;
}

/* Under the lock: a detach of another handle may be taking its session off this thread's list. */
static struct pp_session *find(struct ppdb *db)
{
	struct pp_session *s;

	if (pp_here.db == db && pp_here.id == db->id)
		return pp_here.s;
	pthread_mutex_lock(&registry);
	s = mine;
	while (s && !(s->db == db && s->born == db->born))
		s = s->thread_next;
	pthread_mutex_unlock(&registry);
	return s;
}

int pp_session_slow(struct ppdb *db, struct pp_session **out)
{
	struct pp_session *s;
	int rc = 0;

	if (!db)
		return pp_detail(-EINVAL, "the handle is NULL");
	if (pp_forked(db))
		return pp_detail(PPDB_FORKED, "%s", pp_error_text(PPDB_FORKED));
	s = find(db);
	if (s)
		pp_session_tick(s);
	else
		rc = new_session(db, true, &s);
	if (!rc)
		rc = pp_session_renew(s);
	if (rc)
		return rc;
	pp_here = (struct pp_here){ db, db->id, s };
	*out = s;
	return 0;
}

int pp_session_take(struct ppdb *db, struct pp_session **out)
{
	struct pp_session *s;
	int rc;

	if (!db)
		return pp_detail(-EINVAL, "the handle is NULL");
	if (pp_forked(db))
		return pp_detail(PPDB_FORKED, "%s", pp_error_text(PPDB_FORKED));
	pthread_mutex_lock(&registry);
	s = db->idle;
	if (s) {
		db->idle = s->idle_next;
		db->idle_count--;
	}
	db->views++;
	pthread_mutex_unlock(&registry);
	rc = s ? 0 : new_session(db, false, &s);
	if (!rc) {
		pp_session_tick(s);
		rc = pp_session_renew(s);
		if (rc) {
			pp_session_give(s);
			return rc;
		}
		*out = s;
		return 0;
	}
	pthread_mutex_lock(&registry);
	db->views--;
	pthread_mutex_unlock(&registry);
	return rc;
}

void pp_session_give(struct pp_session *s)
{
	struct ppdb *db = s->db;

	pthread_mutex_lock(&registry);
	db->views--;
	if (db->idle_count < IDLE_SESSIONS && s->map) {
		s->idle_next = db->idle;
		db->idle = s;
		db->idle_count++;
	} else {
		end_session(s, true);
	}
	pthread_mutex_unlock(&registry);
}

/* ---- all sessions of a handle */

void pp_sessions_end(struct ppdb *db, bool leave_slots)
{
	pthread_mutex_lock(&registry);
	if (pp_here.db == db)
		pp_here.db = NULL;
	while (db->sessions)
		end_session(db->sessions, leave_slots);
	db->idle = NULL;
	db->idle_count = 0;
	db->views = 0;
	pthread_mutex_unlock(&registry);
}

unsigned pp_sessions_views(struct ppdb *db)
{
	unsigned n;

	pthread_mutex_lock(&registry);
	n = db->views;
	pthread_mutex_unlock(&registry);
	return n;
}

void pp_sessions_newest(struct ppdb *db, uint64_t *written, uint64_t *seen)
{
	pthread_mutex_lock(&registry);
	*written = db->written;
	*seen = db->seen;
	for (struct pp_session *s = db->sessions; s; s = s->db_next) {
		/* stat: what this thread's caller knows of happened before, through the caller's own synchronisation */
		uint64_t w = pp_load_rlx(&s->written), n = pp_load_rlx(&s->seen);

		if (w > *written)
			*written = w;
		if (n > *seen)
			*seen = n;
	}
	pthread_mutex_unlock(&registry);
	if (*written > *seen)
		*seen = *written;
}
