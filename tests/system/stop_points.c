/*
 * stop_points.c - a client is stopped, or killed, at each named point of a write; others finish reads and writes of the same keys
 * meanwhile. When it goes on its write is there once or not at all, and it says the right thing; when it was killed, nothing is lost.
 *
 * Each point gets a store of its own. A client works on few keys, with new keys, overwrites, deletes, batches and large values mixed, until it comes by
 * the point. PPDB_TEST_SCALE > 1 also takes later passages of each point.
 */
#include "client/ppdb.h"
#include "shm/fault.h"
#include "tests/lib/crew.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEYS 12
#define OPS 4000
#define PATIENCE_NS test_patience(UINT64_C(30000000000))
#define PUTS 5

TestSuite(stop_points, .fini = test_stores_end, .timeout = 1200);

static struct test_store s;
static const ppdb_wopts async = {.size = sizeof(async), .flags = PPDB_ASYNC};

enum act_kind { ACT_PUT, ACT_DEL, ACT_CAS, ACT_ADD, ACT_NEW, ACT_DURABLE, ACT_BATCH, ACT_TOUCH, ACT_PLACE, ACT_KINDS };

/* What the client does, in shared memory. */
struct act {
	char fault[96];
	_Atomic uint64_t begun, done, adds;
	_Atomic uint32_t finish;
	enum act_kind kind;
	char key[32];
	uint64_t expect;                       /* CAS */
	int rc;
	uint64_t newver;
};
static struct act *act;

static ppdb_slice text(const char *t)
{
	return (ppdb_slice){t, strlen(t)};
}

/* ---- the client that is stopped --------------------------------------------------------------------------------- */

static uint64_t version_of(ppdb *db, const char *key, char *value, size_t cap)
{
	ppdb_item item = {.version = 0};
	uint64_t version = 0;
	ppdb_view *v;

	test_ok(ppdb_view_begin(db, PPDB_VIEW_LATEST, &v));
	if (!ppdb_view_get(v, 0, text(key), &item)) {
		version = item.version;
		if (value)
			snprintf(value, cap, "%.*s", (int)(item.value.size < 40 ? item.value.size : 40), (const char *)item.value.data);
	} else if (value) {
		value[0] = '\0';
	}
	ppdb_view_end(v);
	return version;
}

static size_t size_for(struct test_random *r, uint64_t n)
{
	if (n % 40 == 39)
		return 70000 + test_below(r, 2000000);
	return 40 + test_below(r, n % 3 ? 100 : 3000);
}

/* The key and its twin, which nobody else writes, get the same value; a third key must be absent. */
static const char *twin_of(const char *key)
{
	static char twin[48];

	snprintf(twin, sizeof(twin), "twin/%.40s", key);
	return twin;
}

static int batch(ppdb *db, ppdb_slice key, ppdb_slice value)
{
	ppdb_batch *b;
	int rc;

	test_ok(ppdb_batch_new(db, &b));
	test_ok(ppdb_batch_put(b, 0, key, value, NULL));
	test_ok(ppdb_batch_put(b, 0, text(twin_of(act->key)), value, NULL));
	test_ok(ppdb_batch_require(b, 0, PPDB_S("never"), 0));
	rc = ppdb_write(db, b, &async, NULL, NULL);
	ppdb_batch_free(b);
	return rc;
}

/* Filled in place; now and then the first try is cancelled. */
static int place(ppdb *db, uint64_t n, ppdb_slice key, ppdb_slice value)
{
	ppdb_reservation *r;
	void *data;
	int rc;

	for (unsigned i = n % 5 == 0 ? 0 : 1; i < 2; i++) {
		rc = ppdb_reserve(db, 0, key, value.size, &r, &data);
		if (rc)
			return rc;
		memcpy(data, value.data, value.size);
		if (!i)
			ppdb_cancel(r);
	}
	rc = ppdb_publish(r, &async, NULL);
	if (rc) /* the ring is full: it is all done again */
		ppdb_cancel(r);
	return rc;
}

static int one_act(ppdb *db, uint64_t n, char *buf, size_t size)
{
	ppdb_slice key = text(act->key), value = {buf, size};
	int64_t sum;
	int rc;

	memset(buf, 'x', size);
	memset(buf, ' ', 40);
	snprintf(buf, 40, "client %" PRIu64, n);
	switch (act->kind) {
	case ACT_DEL:
		return ppdb_del(db, 0, key, &async, NULL);
	case ACT_CAS:
		return ppdb_cas(db, 0, key, act->expect, value, &async, &act->newver, NULL);
	case ACT_ADD:
		rc = ppdb_add_i64(db, 0, key, 1, 0, &async, &sum, NULL);
		atomic_fetch_add(&act->adds, !rc);
		return rc;
	case ACT_DURABLE:
		return ppdb_put(db, 0, key, value, NULL, NULL);
	case ACT_BATCH:
		return batch(db, key, value);
	case ACT_TOUCH:
		return ppdb_touch(db, 0, key, PPDB_TTL_NEVER, &async, NULL);
	case ACT_PLACE:
		return place(db, n, key, value);
	default:
		return ppdb_put(db, 0, key, value, &async, NULL);
	}
}

static void client(void *arg)
{
	static char buf[2200000];
	struct test_random r = test_random(test_seed(), 7);
	ppdb *db = test_store_attach(&s, 0);

	(void)arg;
	test_require(!pp_fault_set(act->fault), "%s is not understood", act->fault);
	for (uint64_t n = 1; n <= OPS && !atomic_load(&act->finish); n++) {
		enum act_kind kind = (enum act_kind)test_below(&r, ACT_KINDS);

		if (kind == ACT_DURABLE && n % 4)
			kind = ACT_PUT;
		act->kind = kind;
		if (kind == ACT_NEW)
			snprintf(act->key, sizeof(act->key), "new/%06" PRIu64, test_chance(&r, 80) ? n : test_below(&r, n));
		else
			snprintf(act->key, sizeof(act->key), "%s/%02" PRIu64, kind == ACT_ADD ? "count" : "key", test_below(&r, KEYS));
		test_say("%s of %s", act->fault, act->key);
		act->expect = kind == ACT_CAS ? version_of(db, act->key, NULL, 0) : 0;
		act->newver = 0;
		atomic_store(&act->begun, n);
		do
			act->rc = one_act(db, n, buf, size_for(&r, n));
		while (act->rc == PPDB_OVERLOAD);
		atomic_store(&act->done, n);
		test_require(!act->rc || act->rc == PPDB_NOTFOUND || act->rc == PPDB_CONFLICT, "%s: %s gave %s: %s", act->fault, act->key,
			test_name_of(act->rc), test_detail());
	}
	test_ok(ppdb_detach(db));
}

/* ---- the others ------------------------------------------------------------------------------------------------- */

/* Fails when a call takes longer than anybody may wait. */
#define PROMPT(call)                                                                                                    \
	({                                                                                                              \
		uint64_t begin_ = test_now_ns();                                                                        \
		int rc_;                                                                                                \
		while ((rc_ = (call)) == PPDB_OVERLOAD)                                                                 \
			;                                                                                               \
		test_require(test_now_ns() - begin_ < PATIENCE_NS, "%s: %s took %" PRIu64 " ms", act->fault, #call,     \
			(test_now_ns() - begin_) / 1000000);                                                            \
		rc_;                                                                                                    \
	})
#define PROMPT_OK(call)                                                                                                 \
	({                                                                                                              \
		int got_ = PROMPT(call);                                                                                \
		test_require(!got_, "%s: %s gave %s: %s", act->fault, #call, test_name_of(got_), test_detail());        \
	})

/* Work on all keys while the client stands, or is dead. Returns how often it added to each counter. */
static uint64_t work(ppdb *db, const char *spare)
{
	ppdb_view *v;
	ppdb_iter *it;
	ppdb_item item;
	char key[32];
	uint64_t adds = 0;
	int64_t sum;
	int rc;

	for (unsigned i = 0; i < KEYS; i++) {
		snprintf(key, sizeof(key), "key/%02u", i);
		rc = PROMPT(ppdb_get(db, 0, text(key), NULL, 0, NULL));
		test_require(!rc || rc == PPDB_NOTFOUND || rc == -ENOBUFS, "%s: get gave %s", act->fault, test_name_of(rc));
		if (strcmp(key, spare)) {
			PROMPT_OK(ppdb_put(db, 0, text(key), PPDB_S("other"), &async, NULL));
			if (i % 3 == 0)
				PROMPT_OK(ppdb_del(db, 0, text(key), &async, NULL));
		}
		snprintf(key, sizeof(key), "new/%06u", i * 40);
		if (strcmp(key, spare))
			PROMPT_OK(ppdb_put(db, 0, text(key), PPDB_S("other"), &async, NULL));
		snprintf(key, sizeof(key), "other/%02u", i);
		PROMPT_OK(ppdb_put(db, 0, text(key), PPDB_S("other"), i ? &async : NULL, NULL));
		snprintf(key, sizeof(key), "count/%02u", i);
		PROMPT_OK(ppdb_add_i64(db, 0, text(key), 1, 0, &async, &sum, NULL));
		adds++;
	}
	PROMPT_OK(ppdb_sync(db, PATIENCE_NS));
	PROMPT_OK(ppdb_view_begin(db, PPDB_VIEW_FRESH, &v));
	test_ok(ppdb_iter_open(v, 0, NULL, &it));
	while (!(rc = PROMPT(ppdb_iter_next(it, &item))))
		;
	test_require(rc == PPDB_NOTFOUND, "%s: scan gave %s", act->fault, test_name_of(rc));
	ppdb_iter_close(it);
	ppdb_view_end(v);
	return adds;
}

/* PUTS writes of the key that the client is at; *before, *after: its version. */
static void overwrite(ppdb *db, char *last, uint64_t *before, uint64_t *after)
{
	char value[40];

	*before = version_of(db, act->key, NULL, 0);
	for (unsigned i = 0; i < PUTS; i++) {
		snprintf(last, 40, "parent %u", i);
		PROMPT_OK(ppdb_put(db, 0, text(act->key), text(last), &async, NULL));
		*after = version_of(db, act->key, value, sizeof(value));
		test_require(!strcmp(value, last), "%s: %s holds '%s' after it was set to '%s'", act->fault, act->key, value, last);
	}
}

/* The client was in the middle of a write to act->key, the parent wrote PUTS times, then the client ended its write. */
static void judge_once(ppdb *db, const char *last, uint64_t before, uint64_t after)
{
	char value[48];
	uint64_t now = version_of(db, act->key, value, sizeof(value));
	bool parents = !strcmp(value, last);

	value[strcspn(value, " ") ? strlen(value) : 0] = '\0';
	switch (act->kind) {
	case ACT_ADD:
		return; /* counted */
	case ACT_TOUCH:
		test_require(parents && (now == after || (!act->rc && now == after + 1)), "%s: after the touch (%s) %s holds '%s', version %" PRIu64
			", not %" PRIu64, act->fault, test_name_of(act->rc), act->key, value, now, after);
		return;
	case ACT_DEL:
		test_require(parents || (!now && !act->rc), "%s: after the delete (%s) %s holds '%s'", act->fault, test_name_of(act->rc),
			act->key, value);
		return;
	case ACT_CAS:
		if (act->expect >= after) { /* it stood before it had read which version to expect */
			test_require(!act->rc && !strncmp(value, "client", 6) && now == act->newver && now == after + 1,
				"%s: a compare-and-set of version %" PRIu64 " gave %s, %s holds '%s', version %" PRIu64, act->fault, act->expect,
				test_name_of(act->rc), act->key, value, now);
			return;
		}
		test_require(parents && now == after, "%s: after the compare-and-set (%s) %s holds '%s', version %" PRIu64 ", not %" PRIu64,
			act->fault, test_name_of(act->rc), act->key, value, now, after);
		test_require(act->rc || act->newver <= after - PUTS, "%s: compare-and-set made version %" PRIu64 " of %" PRIu64, act->fault,
			act->newver, after);
		test_require(act->rc || act->newver > act->expect, "%s: version %" PRIu64 " for %" PRIu64, act->fault, act->newver,
			act->expect);
		return;
	default:
		test_require(!act->rc, "%s: put gave %s", act->fault, test_name_of(act->rc));
		if (parents)
			test_require(now == after && (!before || now - before == PUTS || now - before == PUTS + 1), "%s: %s went from version %"
				PRIu64 " to %" PRIu64 " by %d or %d writes", act->fault, act->key, before, now, PUTS, PUTS + 1);
		else
			test_require(!strncmp(value, "client", 6) && now == after + 1 && (!before || after - before == PUTS),
				"%s: %s holds '%s', version %" PRIu64 "; %" PRIu64 " before and %" PRIu64 " after %d writes", act->fault,
				act->key, value, now, before, after, PUTS);
	}
}

/* A batch that returned has done all of it. */
static void judge_twin(ppdb *db)
{
	char value[48], want[40];

	snprintf(want, sizeof(want), "client %" PRIu64, atomic_load(&act->done));
	version_of(db, twin_of(act->key), value, sizeof(value));
	test_require(!strncmp(value, want, strlen(want)), "%s: %s holds '%s', not '%s'", act->fault, twin_of(act->key), value, want);
}

static void judge_counters(ppdb *db, uint64_t adds, uint64_t slack)
{
	uint64_t sum = 0, mine = atomic_load(&act->adds);
	char key[32], value[40];

	for (unsigned i = 0; i < KEYS; i++) {
		snprintf(key, sizeof(key), "count/%02u", i);
		version_of(db, key, value, sizeof(value));
		sum += strtoull(value, NULL, 10);
	}
	test_require(sum >= adds + mine && sum <= adds + mine + slack, "%s: the counters hold %" PRIu64 ", added were %" PRIu64 " and %" PRIu64
		" by the client", act->fault, sum, adds, mine);
}

/* ---- one point -------------------------------------------------------------------------------------------------- */

enum fate { ENDED, STOPPED, KILLED };

static enum fate watch(pid_t pid)
{
	for (;;) {
		siginfo_t info = {.si_pid = 0};

		test_require(!waitid(P_PID, (id_t)pid, &info, WSTOPPED | WEXITED | WNOHANG | WNOWAIT), "waitid: %s", strerror(errno));
		if (!info.si_pid) {
			usleep(200);
			continue;
		}
		if (info.si_code == CLD_STOPPED) {
			waitpid(pid, NULL, WUNTRACED);
			return STOPPED;
		}
		if (info.si_code == CLD_KILLED && info.si_status == SIGKILL) {
			test_collect(pid, true);
			return KILLED;
		}
		test_join(pid);
		return ENDED;
	}
}

static void begin_point(const char *name, const char *action, unsigned passage, const char *options)
{
	memset(act, 0, sizeof(*act));
	snprintf(act->fault, sizeof(act->fault), "%s=%s:%u", name, action, passage);
	test_say("%s", act->fault);
	if (!strncmp(name, "merge.", 6)) /* the keeper stands while a leaf is sealed, so that the client meets it */
		setenv("PPDB_FAULT", "merge.sealed=sleep:100", 1);
	test_store_start(&s, options);
	unsetenv("PPDB_FAULT");
}

static void end_point(ppdb *db)
{
	test_ok(ppdb_sync(db, PATIENCE_NS));
	crew_settled(act->fault, db, 2, 6);
	test_ok(ppdb_detach(db));
	test_store_check(&s, true);
	test_store_end(&s);
}

/* False: the client did not come by. */
static bool stop_at(const char *name, unsigned passage, const char *options, unsigned hold_ms)
{
	uint64_t before, after, adds;
	char last[40];
	pid_t pid;
	ppdb *db;
	bool came;

	begin_point(name, "stop", passage, options);
	db = test_store_attach(&s, 0);
	pid = test_spawn(client, NULL);
	came = watch(pid) == STOPPED;
	if (came && act->kind == ACT_ADD) {
		adds = work(db, "");
	} else if (came) {
		overwrite(db, last, &before, &after);
		adds = work(db, act->key);
	}
	if (came) {
		usleep(hold_ms * 1000);
		atomic_store(&act->finish, 1);
		kill(pid, SIGCONT);
		test_join(pid);
		test_require(atomic_load(&act->begun) == atomic_load(&act->done), "%s: the write was not finished", act->fault);
		judge_counters(db, adds, 0);
		if (act->kind != ACT_ADD)
			judge_once(db, last, before, after);
		if (act->kind == ACT_BATCH)
			judge_twin(db);
	}
	end_point(db);
	return came;
}

static bool kill_at(const char *name, unsigned passage, const char *options)
{
	uint64_t before, after, adds, now;
	char last[40], value[40];
	pid_t pid;
	ppdb *db;
	bool came;

	begin_point(name, "kill", passage, options);
	db = test_store_attach(&s, 0);
	pid = test_spawn(client, NULL);
	came = watch(pid) == KILLED;
	if (came) {
		if (act->kind != ACT_ADD)
			overwrite(db, last, &before, &after);
		adds = work(db, act->kind == ACT_ADD ? "" : act->key);
		judge_counters(db, adds, act->kind == ACT_ADD);
		if (act->kind != ACT_ADD) {
			now = version_of(db, act->key, value, sizeof(value));
			test_require(now == after && !strcmp(value, last), "%s: %s holds '%s', version %" PRIu64 ", not '%s', %" PRIu64,
				act->fault, act->key, value, now, last, after);
		}
	}
	end_point(db);
	return came;
}

/* ---- all points ------------------------------------------------------------------------------------------------- */

static bool daemons_own(const char *name)
{
	static const char *const modules[] = {"settle.", "keeper.", "remove.", "reap.", "checkpoint.", "wal.", "ckpt."};

	for (size_t i = 0; i < sizeof(modules) / sizeof(*modules); i++)
		if (!strncmp(name, modules[i], strlen(modules[i])))
			return true;
	return false;
}

static size_t points(const char **names, size_t cap)
{
	static const struct pp_fault_site *sites[1024];
	size_t all = pp_fault_sites(sites, 1024), n = 0;

	for (size_t i = 0; i < all && i < 1024; i++) {
		bool known = daemons_own(sites[i]->name);

		for (size_t k = 0; k < n && !known; k++)
			known = !strcmp(names[k], sites[i]->name);
		if (!known && n < cap)
			names[n++] = sites[i]->name;
	}
	return n;
}

/* Points that every client comes by: so that a renamed one is noticed. */
static void must_have_come(const char *const *came, size_t n)
{
	static const char *const must[] = {"write.installed", "write.overwrite.noted", "write.overwrite.linked", "ring.publish.filled",
		"ring.publish.published", "ring.publish.committed", "index.swap.noted", "index.swap.linked", "index.split.linked",
		"prune.unlink.frozen", "alloc.install.claimed", "alloc.retire.header", "alloc.retire.limbo", "large.claim.claimed",
		"large.claim.done", "wait.durable.sleep", "batch.begun", "batch.charged", "batch.ready", "batch.decided", "reserve.allocated", "reserve.cancelled"};

	for (size_t i = 0; i < sizeof(must) / sizeof(*must); i++) {
		bool found = false;

		for (size_t k = 0; k < n; k++)
			found |= !strcmp(came[k], must[i]);
		test_require(found, "no client came by %s", must[i]);
	}
}

static void all_points(bool (*at)(const char *name, unsigned passage))
{
	const char *names[256], *came[256];
	size_t count, n = 0;

	if (!pp_fault_built())
		cr_skip_test("this build has no fault points");
	test_begin(900);
	act = test_shared(sizeof(*act));
	count = points(names, 256);
	for (size_t i = 0; i < count; i++)
		for (unsigned passage = 1; passage <= test_scale(1); passage = passage * 3 + 1) {
			if (!at(names[i], passage))
				break;
			if (passage == 1)
				came[n++] = names[i];
		}
	must_have_come(came, n);
}

static const char *options_for(const char *name)
{
	return !strncmp(name, "sync.", 5) ? "--memory 128M --wal-segment 4M --sync mutex" : "--memory 128M --wal-segment 4M";
}

static bool stop_shortly(const char *name, unsigned passage)
{
	return stop_at(name, passage, options_for(name), 10);
}

static bool kill_there(const char *name, unsigned passage)
{
	return kill_at(name, passage, options_for(name));
}

Test(stop_points, stop)
{
	all_points(stop_shortly);
}

Test(stop_points, kill)
{
	all_points(kill_there);
}

Test(stop_points, stop_for_seconds)
{
	static const char *const names[] = {"write.overwrite.linked", "ring.publish.filled", "index.swap.linked"};

	if (!pp_fault_built())
		cr_skip_test("this build has no fault points");
	test_begin(200);
	act = test_shared(sizeof(*act));
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		test_require(stop_at(names[i], 5, "--memory 128M --wal-segment 4M", 3000), "no client came by %s", names[i]);
}
