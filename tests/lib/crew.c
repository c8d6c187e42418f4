/*
 * crew.c (test) - the crew from outside: hiring, killing, stopping, watching (see crew.h).
 *
 * What a member does is in crew_work.c, what a store must hold afterwards in crew_judge.c.
 */
#include "tests/lib/crew_internal.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

struct crew *crew_new(struct test_store *s)
{
	struct crew *c = test_shared(sizeof(*c));

	c->store = s;
	c->generation = 1;
	return c;
}

struct crew_member *crew_hire(struct crew *c, unsigned index, enum crew_job job, unsigned number)
{
	struct crew_member *m = &c->member[index];
	void *arg[2] = {m, c};
	uint64_t begun = m->job == CREW_CHURN ? atomic_load(&m->begun) : 0;

	test_require(index < CREW_MAX && !m->pid, "place %u is taken", index);
	memset(m, 0, sizeof(*m));
	m->job = job;
	m->index = index;
	m->number = number;
	m->stream = ++c->hired;
	atomic_store(&m->begun, begun); /* own/... goes on above it */
	atomic_store(&m->done, 0);
	m->pid = test_spawn(crew_work, arg);
	return m;
}

void crew_hire_all(struct crew *c, unsigned churn)
{
	unsigned n = 0;

	crew_hire(c, n++, CREW_HEAD, 0);
	crew_hire(c, n++, CREW_FOLLOWER, 1);
	crew_hire(c, n++, CREW_FOLLOWER, 2);
	crew_hire(c, n++, CREW_JUDGE, 0);
	crew_hire(c, n++, CREW_SEQUENCE, 0);
	crew_hire(c, n++, CREW_SEQUENCE, 1);
	crew_hire(c, n++, CREW_TABLES, 0);
	for (unsigned i = 0; i < churn; i++)
		crew_hire(c, n++, CREW_CHURN, 0);
	if (c->changes.followed)
		crew_hire(c, n, CREW_FEED, 0);
}

static void gone(struct crew *c, struct crew_member *m)
{
	m->pid = 0;
	for (unsigned i = 0; i < CREW_COUNTERS; i++) {
		c->add_low[i] += atomic_load(&m->add_done[i]);
		c->add_high[i] += atomic_load(&m->add_begun[i]);
		atomic_store(&m->add_done[i], 0);
		atomic_store(&m->add_begun[i], 0);
	}
}

void crew_kill(struct crew *c, unsigned index)
{
	struct crew_member *m = &c->member[index];

	test_require(test_kill(m->pid), "member %u ended by itself", index);
	gone(c, m);
}

/* The daemon first: describing takes time, and the others wait for it. */
static void describe_all(struct crew *c)
{
	ppdb *db = NULL;

	if (c->store->daemon) {
		test_describe(c->store->daemon, "ppdbd");
		if (!ppdb_attach(c->store->socket, NULL, &db))
			crew_describe_store(db);
	}
	for (unsigned i = 0; i < CREW_MAX; i++)
		if (c->member[i].pid)
			test_describe(c->member[i].pid, c->member[i].op);
}

void crew_watch(struct crew *c)
{
	uint64_t now = test_now_ns();

	for (unsigned i = 0; i < CREW_MAX; i++) {
		struct crew_member *m = &c->member[i];
		uint64_t began = atomic_load(&m->op_began_ns);
		int status;

		if (!m->pid)
			continue;
		status = test_collect(m->pid, false);
		if (status != -1) {
			gone(c, m);
			test_require(!status && atomic_load(&c->quit), "member %u ended with status %#x in %s", i, (unsigned)status, m->op);
			continue;
		}
		if (!began || m->stopped)
			continue;
		began = began > m->resumed_ns ? began : m->resumed_ns;
		if (now < began || now - began < CREW_STUCK_NS)
			continue;
		describe_all(c);
		test_require(false, "member %u (pid %d) is stuck for %" PRIu64 " ms in %s", i, (int)m->pid, (now - began) / 1000000, m->op);
	}
}

void crew_dismiss(struct crew *c)
{
	atomic_store(&c->quit, 1);
	for (unsigned i = 0; i < CREW_MAX; i++)
		while (c->member[i].pid) {
			crew_watch(c);
			usleep(1000);
		}
	atomic_store(&c->quit, 0);
}

static bool stands(pid_t pid)
{
	char path[64], stat[512] = "", *p;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "r");
	if (!f)
		return false;
	stat[fread(stat, 1, sizeof(stat) - 1, f)] = '\0';
	fclose(f);
	p = strrchr(stat, ')');
	return p && p[2] == 'T';
}

static void await_stop(struct crew *c, struct crew_member *m)
{
	for (unsigned n = 0; m->pid && !stands(m->pid); n++) {
		if (n > 1000)
			crew_watch(c);
		usleep(200);
	}
	m->stopped = true;
}

void crew_stop_one(struct crew *c, unsigned index)
{
	test_require(c->member[index].pid, "place %u is empty", index);
	kill(c->member[index].pid, SIGSTOP);
	await_stop(c, &c->member[index]);
}

void crew_continue_one(struct crew *c, unsigned index)
{
	struct crew_member *m = &c->member[index];

	m->stopped = false;
	m->resumed_ns = test_now_ns();
	if (m->pid)
		kill(m->pid, SIGCONT);
}

void crew_stop(struct crew *c)
{
	for (unsigned i = 0; i < CREW_MAX; i++)
		if (c->member[i].pid)
			kill(c->member[i].pid, SIGSTOP);
	for (unsigned i = 0; i < CREW_MAX; i++)
		await_stop(c, &c->member[i]);
}

void crew_continue(struct crew *c)
{
	for (unsigned i = 0; i < CREW_MAX; i++)
		crew_continue_one(c, i);
}

void crew_restart(struct crew *c, enum crew_restart how)
{
	ppdb *db;

	if (how == CREW_CLEAN)
		test_store_stop(c->store);
	else
		test_store_kill(c->store);
	crew_stop(c);
	if (how == CREW_COLD)
		test_store_cold(c->store);
	else
		test_store_restart(c->store);
	db = test_store_attach(c->store, 0);
	test_require(how == CREW_COLD || test_store_number(c->store, "status", "warm"), "the arena was not adopted");
	crew_judge_recovered(c, db, how != CREW_COLD);
	if (how == CREW_COLD)
		c->generation++;
	test_ok(ppdb_detach(db));
	crew_continue(c);
}

static bool current(struct crew *c, const struct crew_member *m)
{
	return m->job == CREW_CHURN || m->job == CREW_JUDGE || m->job == CREW_FEED || atomic_load(&m->generation) == atomic_load(&c->generation);
}

void crew_progress(struct crew *c, uint64_t ops)
{
	uint64_t before[CREW_MAX], begin = test_now_ns();

	for (unsigned i = 0; i < CREW_MAX; i++)
		before[i] = atomic_load(&c->member[i].ops);
	for (unsigned i = 0; i < CREW_MAX; i++) {
		struct crew_member *m = &c->member[i];

		while (m->pid && (atomic_load(&m->ops) < before[i] + ops || !current(c, m))) {
			crew_watch(c);
			test_require(test_now_ns() - begin < 2 * CREW_STUCK_NS, "member %u makes no progress: %s, generation %" PRIu64
				" of %" PRIu64, i, m->op, atomic_load(&m->generation), atomic_load(&c->generation));
			usleep(500);
		}
	}
}
