/*
 * soak_phases.c - what happens to a store in a soak: nothing, killed and stopped clients, restarts of the daemon, a full arena, a full disk.
 * In each of them the test itself writes durable values and keeps a ledger of them.
 */
#include "tests/soak/soak.h"

#include "tests/lib/mount.h"

#include <errno.h>
#include <signal.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define FIRST_CHURN CREW_FIRST_CHURN
/* Others may take the places of those whose work does not hang on what they did before: both that copy, the judge, tables, the follower. */
static const unsigned replaceable[] = {1, 2, 3, CREW_FIRST_CHURN - 1, SOAK_CREW - 1};

#define STEADY_KEYS 200                  /* written all the time */
#define STEADY_NS UINT64_C(20000000)
#define FILL_FROM 1000                   /* written to fill something up */
#define FILL_BYTES 20000

static const ppdb_wopts async = {.size = sizeof(async), .flags = PPDB_ASYNC, .timeout_ms = 20000};

/* ---- the ledger ------------------------------------------------------------------------------------------------- */

/* A durable write of the test itself, now and then. */
static void steady(struct soak *s)
{
	uint64_t now = test_now_ns();
	int rc;

	crew_watch(s->crew);
	if (now - s->last_steady_ns < STEADY_NS)
		return;
	s->last_steady_ns = now;
	rc = ledger_put(s->ledger, s->db, (unsigned)test_below(&s->r, STEADY_KEYS), 16 + (uint32_t)test_below(&s->r, 4000), NULL);
	if (!rc) {
		s->full_since_ns = 0;
		return;
	}
	/* What was deleted after a full phase comes back when nobody can see it any more. */
	s->full_since_ns = s->full_since_ns ? s->full_since_ns : now;
	test_require(rc == PPDB_FULL || rc == -ENOSPC || rc == PPDB_OVERLOAD, "put gave %s: %s", test_name_of(rc), test_detail());
	test_require(now - s->full_since_ns < CREW_STUCK_NS, "still %s: %s", test_name_of(rc), test_detail());
}

static void steady_for(struct soak *s, uint64_t ns)
{
	uint64_t begin = test_now_ns();

	while (test_now_ns() - begin < ns) {
		steady(s);
		usleep(2000);
	}
}

static uint64_t up_to(struct soak *s, uint64_t ms)
{
	return test_below(&s->r, ms * 1000000);
}

/* By a handle of its own, which has the arena that is in force. */
static void judge_ledger(struct soak *s)
{
	ppdb *db = test_store_attach(s->store, 0);

	ledger_judge_own(s->ledger, db);
	test_ok(ppdb_detach(db));
}

/* ---- clients ---------------------------------------------------------------------------------------------------- */

void soak_hire(struct soak *s)
{
	s->crew->generation++; /* chain and sequences begin anew */
	crew_follow_begin(s->crew);
	crew_hire_all(s->crew, SOAK_CHURN);
	crew_progress(s->crew, 3);
}

static void replace(struct soak *s, unsigned index, bool judge)
{
	struct crew_member m = s->crew->member[index];

	crew_kill(s->crew, index);
	if (judge)
		crew_judge_own(s->crew, s->db, index);
	crew_hire(s->crew, index, m.job, m.number);
	s->events.kills++;
}

static void kills(struct soak *s, uint64_t end_ns)
{
	for (unsigned i = 0; i < SOAK_CHURN; i++)
		replace(s, FIRST_CHURN + i, false); /* what these did before the last cold start may be lost */
	while (test_now_ns() < end_ns) {
		steady_for(s, up_to(s, test_chance(&s->r, 20) ? 60 : 20));
		if (test_chance(&s->r, 70))
			replace(s, FIRST_CHURN + (unsigned)test_below(&s->r, SOAK_CHURN), true);
		else
			replace(s, replaceable[test_below(&s->r, sizeof(replaceable) / sizeof(replaceable[0]))], false);
	}
}

/* One stands still; each of the others must get on. */
static void stop_one(struct soak *s)
{
	unsigned index = (unsigned)test_below(&s->r, SOAK_CREW);
	uint64_t before[SOAK_CREW], began = test_now_ns();

	crew_stop_one(s->crew, index);
	for (unsigned i = 0; i < SOAK_CREW; i++)
		before[i] = atomic_load(&s->crew->member[i].ops);
	for (unsigned i = 0; i < SOAK_CREW; i++)
		while (i != index && atomic_load(&s->crew->member[i].ops) == before[i]) {
			test_require(test_now_ns() - began < CREW_STUCK_NS, "member %u waits for member %u, which is stopped in %s", i, index,
				s->crew->member[index].op);
			steady(s);
			usleep(1000);
		}
	steady_for(s, up_to(s, test_chance(&s->r, 20) ? 400 : 40));
	crew_continue_one(s->crew, index);
	s->events.stops++;
}

static void stop_daemon(struct soak *s)
{
	kill(s->store->daemon, SIGSTOP);
	usleep((useconds_t)(up_to(s, 200) / 1000));
	kill(s->store->daemon, SIGCONT);
	s->events.daemon_stops++;
}

static void stops(struct soak *s, uint64_t end_ns)
{
	while (test_now_ns() < end_ns) {
		if (test_chance(&s->r, 80))
			stop_one(s);
		else
			stop_daemon(s);
		steady_for(s, up_to(s, 20));
	}
}

/* ---- the daemon ------------------------------------------------------------------------------------------------- */

static void restart(struct soak *s, enum crew_restart how)
{
	uint64_t began = test_now_ns(), took;

	atomic_store(&s->board->daemon, 0);
	if (how == CREW_COLD)
		test_ok(ppdb_detach(s->db));
	crew_restart(s->crew, how);
	took = test_now_ns() - began;
	s->events.restarts[how]++;
	s->events.restart_ns[how] += took;
	if (took > s->events.longest_ns[how])
		s->events.longest_ns[how] = took;
	if (how == CREW_COLD)
		s->db = test_store_attach(s->store, 0);
	atomic_store(&s->board->daemon, s->store->daemon);
	judge_ledger(s);
	crew_progress(s->crew, 1);
}

static void restarts(struct soak *s, uint64_t end_ns)
{
	s->events.backups += crew_judge_backup(s->crew);
	do {
		steady_for(s, up_to(s, 400));
		restart(s, test_chance(&s->r, 30) ? CREW_CLEAN : CREW_WARM);
	} while (test_now_ns() < end_ns);
}

static void colds(struct soak *s, uint64_t end_ns)
{
	do {
		steady_for(s, up_to(s, 1000));
		restart(s, CREW_COLD);
	} while (test_now_ns() < end_ns);
}

/* ---- nothing left ----------------------------------------------------------------------------------------------- */

/* On a full disk deletes go on until the log's reserve for them is used up, which the others use too. False: it is. */
static bool delete_fill(struct soak *s, bool may_end)
{
	for (unsigned i = FILL_FROM; i < LEDGER_KEYS; i++) {
		int rc = s->ledger->written[i] ? ledger_del(s->ledger, s->db, i, &async) : 0;

		test_require(!rc || (may_end && rc == -ENOSPC), "delete gave %s: %s", test_name_of(rc), test_detail());
		if (rc)
			return false;
	}
	return true;
}

/* On a disk that is full to the last MiB there may be segments enough for the arena to be full first. */
static bool is_full(int rc, int code)
{
	return rc == code || (code == -ENOSPC && rc == PPDB_FULL);
}

/* Full until `end_ns`; everything stays as it is, deletes go on, and with room again so do the others. True: full of `code`. */
static bool through_full(struct soak *s, int code, uint64_t end_ns, void (*make_room)(struct soak *))
{
	unsigned n;
	bool met;
	int rc;

	n = ledger_fill(s->ledger, s->db, FILL_FROM, FILL_BYTES, &async, &rc);
	test_require(is_full(rc, code), "full gave %s after %u writes: %s", test_name_of(rc), n - FILL_FROM, test_detail());
	met = rc == code;
	while (test_now_ns() < end_ns) {
		crew_watch(s->crew);
		rc = ledger_put(s->ledger, s->db, n, FILL_BYTES, &async); /* others may have deleted something */
		test_require(!rc || is_full(rc, code) || rc == PPDB_OVERLOAD, "full gave %s: %s", test_name_of(rc), test_detail());
		n += !rc;
		usleep(20000);
	}
	judge_ledger(s);
	if (!delete_fill(s, code == -ENOSPC))
		judge_ledger(s);
	make_room(s);
	for (uint64_t begin = test_now_ns(); !delete_fill(s, true); usleep(20000))
		test_require(test_now_ns() - begin < CREW_STUCK_NS, "there is room again, but deletes are refused: %s", test_detail());
	test_ok(ppdb_sync(s->db, -1));
	crew_progress(s->crew, 3);
	judge_ledger(s);
	return met;
}

static void no_room_needed(struct soak *s)
{
	(void)s;
}

static void drop_ballast(struct soak *s)
{
	test_mount_drop_ballast(s->disk);
}

static void full_arena(struct soak *s, uint64_t end_ns)
{
	s->events.arena_full += through_full(s, PPDB_FULL, end_ns, no_room_needed);
}

static void full_disk(struct soak *s, uint64_t end_ns)
{
	struct statvfs v;

	test_require(!statvfs(s->disk, &v), "%s: %s", s->disk, strerror(errno));
	test_mount_ballast(s->disk, (unsigned)((v.f_bavail * v.f_frsize) >> 20) - 1);
	s->events.disk_full += through_full(s, -ENOSPC, end_ns, drop_ballast);
}

/* ---- all of them ------------------------------------------------------------------------------------------------ */

void soak_run(struct soak *s, enum soak_phase phase, uint64_t end_ns)
{
	test_say("phase %s", soak_phase_names[phase]);
	atomic_store(&s->board->phase, (uint32_t)phase);
	switch (phase) {
	case SOAK_KILLS:
		kills(s, end_ns);
		break;
	case SOAK_STOPS:
		stops(s, end_ns);
		break;
	case SOAK_RESTARTS:
		restarts(s, end_ns);
		break;
	case SOAK_COLD:
		colds(s, end_ns);
		break;
	case SOAK_ARENA:
		full_arena(s, end_ns);
		break;
	case SOAK_DISK:
		full_disk(s, end_ns);
		break;
	default:
		steady_for(s, end_ns > test_now_ns() ? end_ns - test_now_ns() : 0);
	}
	crew_watch(s->crew);
}

void soak_dismiss(struct soak *s)
{
	atomic_store(&s->board->phase, SOAK_QUIET);
	crew_stop(s->crew);
	crew_judge_recovered(s->crew, s->db, true);
	judge_ledger(s);
	crew_continue(s->crew);
	crew_dismiss(s->crew);
	crew_judge_follow(s->crew);
	s->events.followed += atomic_load(&s->crew->changes.count);
	s->events.lost += atomic_load(&s->crew->changes.lost);
	crew_follow_end(s->crew);
	for (unsigned i = 0; i < LEDGER_KEYS; i++)
		if (s->ledger->written[i])
			test_ok(ledger_del(s->ledger, s->db, i, &async));
	crew_remove_all(s->db);
}
