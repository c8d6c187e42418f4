/*
 * wait.c - tickets: how far writes have got, and waiting for it.
 *
 * A write that returned is visible, and as crash-safe as memory can be: the version and its ring entry are in the arena. Durable is
 * what the daemon says in globals.durable_epoch. Waits are sliced: between slices the link is looked at, so that a waiter finds
 * the next daemon, and after a cold start learns from the lost ranges whether its write survived.
 *
 * Dies inside: nothing; a stale wait_epoch in the slot costs the daemon one needless wake-up.
 */
#include "client/internal.h"

#include "engine/commit_times.h"
#include "shm/probe.h"
#include "shm/wait.h"

#define SLICE_NS (100 * PP_NS_PER_MS)
#define NAP_NS (5 * PP_NS_PER_MS)

static int too_late(struct ppdb *db, bool limited)
{
	char said[sizeof(db->sentence)];
	uint64_t down_ns;

	if (!pp_link_down(db, &down_ns))
		return limited ? pp_detail(PPDB_TIMEOUT, "not durable within the time-out") : 0;
	if (!limited && down_ns < PP_GONE_LIMIT_NS)
		return 0;
	pthread_mutex_lock(&db->lock);
	memcpy(said, db->sentence, sizeof(said));
	pthread_mutex_unlock(&db->lock);
	return pp_detail(PPDB_DAEMON_GONE, "ppdbd has been gone for %llu ms; the write is kept in memory and becomes durable "
		"when a ppdbd adopts the arena%s%s", (unsigned long long)(down_ns / PP_NS_PER_MS), said[0] ?
		"; the last one said: " : "", said);
}

/* After a slice without success: the next daemon, the next arena, or the end of patience. */
static int next_slice(struct ppdb *db, struct pp_session *s, int why, uint64_t deadline)
{
	uint64_t now;
	int rc;

	pp_link_poll(db, true);
	rc = pp_session_move(s);
	if (rc)
		return rc;
	now = pp_now_ns();
	rc = too_late(db, now >= deadline);
	if (!rc && why == PPDB_DAEMON_GONE) {
		struct timespec t = pp_timespec(NAP_NS < deadline - now ? NAP_NS : deadline - now);

		nanosleep(&t, NULL);
	}
	return rc;
}

static int wait_ticket(struct ppdb *db, struct pp_session *s, uint64_t ticket, uint64_t timeout_ns)
{
	uint64_t deadline = 0;

	for (;;) {
		uint64_t slice = timeout_ns, now;
		int rc = pp_link_lost(db, s->map, ticket);

		if (rc)
			return rc;
		if (pp_load_acq(&s->map->region.globals->durable_epoch) >= ticket)
			return 0;
		now = pp_now_ns();
		if (!deadline)
			deadline = timeout_ns > UINT64_MAX - now ? UINT64_MAX : now + timeout_ns;
		slice = deadline > now ? deadline - now : 0;
		if (slice > SLICE_NS)
			slice = SLICE_NS;
		rc = pp_wait_durable(&s->t, ticket, slice);
		if (rc != PPDB_TIMEOUT && rc != PPDB_DAEMON_GONE)
			return rc;
		rc = next_slice(db, s, rc, deadline);
		if (rc)
			return rc;
	}
}

/* Those that found it durable already are no waits. */
int pp_wait_ticket(struct ppdb *db, struct pp_session *s, uint64_t ticket, uint64_t timeout_ns)
{
	bool waits = pp_load_acq(&s->map->region.globals->durable_epoch) < ticket;
	uint64_t start = waits && PP_COUNTING ? pp_now_ns() : 0;
	int rc;

	if (!waits)
		return wait_ticket(db, s, ticket, timeout_ns);
	PPDB_PROBE(wait_begin, ticket);
	rc = wait_ticket(db, s, ticket, timeout_ns);
	PPDB_PROBE(wait_end, ticket, rc);
	if (start && !rc)
		pp_times_waited(&s->t, ticket, start);
	return rc;
}

static int wait_level(ppdb *db, struct pp_session *s, ppdb_seq ticket, ppdb_level level, int64_t timeout_ns)
{
	if (level > PPDB_REPLICATED || (int)level < 0)
		return pp_detail(-EINVAL, "there is no level %d", (int)level);
	if (level == PPDB_REPLICATED)
		return pp_detail(-ENOTSUP, "replication is not offered by this version");
	int rc = pp_link_lost(db, s->map, ticket);
	if (rc)
		return rc;
	if (ticket > pp_load_acq(&s->map->region.globals->open_epoch))
		return pp_detail(-EINVAL, "ticket %llu was never given out", (unsigned long long)ticket);
	if (level != PPDB_DURABLE)
		return 0;
	return pp_wait_ticket(db, s, ticket, timeout_ns < 0 ? UINT64_MAX : (uint64_t)timeout_ns);
}

PPDB_API int ppdb_wait(ppdb *db, ppdb_seq ticket, ppdb_level level, int64_t timeout_ns)
{
	struct pp_session *s;
	int rc = pp_session_enter(db, &s);

	return rc ? rc : wait_level(db, s, ticket, level, timeout_ns);
}

PPDB_API int ppdb_sync(ppdb *db, int64_t timeout_ns)
{
	struct pp_session *s;
	uint64_t written, seen;
	int rc = pp_session_enter(db, &s);

	if (rc)
		return rc;
	pp_sessions_newest(db, &written, &seen);
	return wait_level(db, s, written, PPDB_DURABLE, timeout_ns);
}

PPDB_API ppdb_seq ppdb_reached(ppdb *db, ppdb_level level)
{
	struct pp_session *s;

	if (pp_session_enter(db, &s))
		return 0;
	switch (level) {
	case PPDB_VISIBLE:
	case PPDB_CRASHSAFE:
		return pp_load_acq(&s->map->region.globals->settled_epoch);
	case PPDB_DURABLE:
		return pp_load_acq(&s->map->region.globals->durable_epoch);
	default:
		return 0;
	}
}
