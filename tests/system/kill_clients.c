/*
 * kill_clients.c - clients die by SIGKILL at random moments: the others never wait, no write is there by half, and when all is quiet every
 * byte, slot and process record is accounted for.
 */
#include "client/ppdb.h"
#include "shm/fault.h"
#include "tests/lib/crew.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define VICTIMS 5

TestSuite(kill_clients, .fini = test_stores_end, .timeout = 1200);

static struct test_store s;

/* The daemon holds three slots and a record; we hold one of each. */
#define OWN_SLOTS 4
#define OWN_PROCESSES 2

static void one_death(struct crew *c, ppdb *db, struct test_random *r)
{
	unsigned victim = (unsigned)test_below(r, VICTIMS);

	usleep((useconds_t)test_below(r, test_chance(r, 20) ? 12000 : 4000));
	if (test_chance(r, 15)) { /* the follower, or the one with tables, instead */
		unsigned other = VICTIMS + (unsigned)test_below(r, 2);

		crew_kill(c, other);
		crew_hire(c, other, other == VICTIMS ? CREW_FEED : CREW_TABLES, 0);
		return;
	}
	crew_kill(c, victim);
	crew_judge_own(c, db, victim);
	crew_hire(c, victim, CREW_CHURN, 0);
}

static void storm(const char *options, unsigned batches, unsigned deaths)
{
	struct crew_memory before, after;
	struct test_random r;
	struct crew *c;
	ppdb *db;

	test_begin(600);
	r = test_random(test_seed(), 1);
	test_store_start(&s, options);
	db = test_store_attach(&s, 0);
	test_ok(ppdb_put(db, 0, PPDB_S("k"), PPDB_S("v"), NULL, NULL));
	crew_prime(db);
	before = crew_settled("after the deaths", db, OWN_PROCESSES, OWN_SLOTS);
	c = crew_new(&s);
	c->big = true;
	for (unsigned batch = 0; batch < batches; batch++) {
		c->generation++; /* the chain begins anew */
		crew_follow_begin(c);
		for (unsigned i = 0; i < VICTIMS; i++)
			crew_hire(c, i, CREW_CHURN, 0);
		crew_hire(c, VICTIMS, CREW_FEED, 0);
		crew_hire(c, VICTIMS + 1, CREW_TABLES, 0);
		crew_hire(c, VICTIMS + 2, CREW_CHURN, 0);
		crew_hire(c, VICTIMS + 3, CREW_CHURN, 0);
		crew_hire(c, VICTIMS + 4, CREW_HEAD, 0);
		crew_hire(c, VICTIMS + 5, CREW_FOLLOWER, 1);
		crew_hire(c, VICTIMS + 6, CREW_FOLLOWER, 2);
		crew_hire(c, VICTIMS + 7, CREW_JUDGE, 0);
		for (unsigned i = 0; i < deaths; i++) {
			test_say("batch %u, death %u", batch, i);
			one_death(c, db, &r);
			crew_watch(c);
		}
		crew_progress(c, 3);
		for (unsigned i = 0; i < VICTIMS; i++)
			crew_kill(c, i);
		crew_dismiss(c);
		after = crew_settled("after the deaths", db, OWN_PROCESSES + 1, OWN_SLOTS + 1);
		crew_judge_counters(c, db);
		crew_judge_follow(c);
		test_store_check(&s, true);
	}
	crew_follow_end(c);
	crew_remove_all(db); /* and with them the memory */
	for (unsigned i = 0; i < 200; i++) {
		after = crew_settled("after the deaths", db, OWN_PROCESSES, OWN_SLOTS + 1);
		if (after.keys == CREW_KEPT_KEYS && after.live <= before.live + (1u << 20))
			break;
		usleep(50000);
	}
	test_require(after.keys == CREW_KEPT_KEYS, "%llu keys are left of %d", (unsigned long long)after.keys, CREW_KEPT_KEYS);
	test_require(after.live <= before.live + (1u << 20), "%llu bytes live, %llu at the beginning", (unsigned long long)after.live,
		(unsigned long long)before.live);
	test_ok(ppdb_detach(db));
	test_store_stop(&s);
}

/* Dies between the CAS that installs its version and the publish: the version is aborted. */
static void die_installing(void *key)
{
	ppdb *mine;

	test_require(!pp_fault_set("write.installed=kill:1"), "the fault is not understood");
	mine = test_store_attach(&s, 0);
	ppdb_put(mine, 0, (ppdb_slice){key, strlen(key)}, PPDB_S("never"), NULL, NULL);
	test_require(false, "the put of %s returned", (char *)key);
}

static bool attached(pid_t pid)
{
	static char out[1 << 16];
	char word[32];

	test_require(!test_store_command(&s, "clients --json", out, sizeof(out)), "clients: %s", out);
	snprintf(word, sizeof(word), "\"pid\": %d,", (int)pid);
	return strstr(out, word);
}

/* A write that was undone leaves a key that has nothing but a tombstone, or nothing at all: both go, without another write to it. */
Test(kill_clients, undone_writes_leave_no_keys)
{
	static char *keys[] = {"deleted long ago", "never there", "deleted and undone twice"};
	ppdb_view *view;
	ppdb *db;
	uint64_t left = 1;

	if (!pp_fault_built())
		cr_skip_test("this build has no fault points");
	test_begin(120);
	test_store_start(&s, "--memory 64M --wal-segment 4M");
	db = test_store_attach(&s, 0);
	for (unsigned i = 0; i < 3; i += 2)
		test_ok(ppdb_put(db, 0, (ppdb_slice){keys[i], strlen(keys[i])}, PPDB_S("v"), NULL, NULL));
	test_ok(ppdb_view_begin(db, PPDB_VIEW_SNAPSHOT, &view)); /* so that the tombstones stay until the deaths */
	for (unsigned i = 0; i < 3; i += 2)
		test_ok(ppdb_del(db, 0, (ppdb_slice){keys[i], strlen(keys[i])}, NULL, NULL));
	for (unsigned i = 0; i < 4; i++) {
		pid_t pid = test_spawn(die_installing, keys[i < 3 ? i : 2]);

		test_require(WTERMSIG(test_collect(pid, true)) == SIGKILL, "the child did not die");
		for (unsigned n = 0; n < 600 && attached(pid); n++)
			test_sleep_ms(20); /* until it is reaped: the next child would finish its write */
	}
	for (unsigned i = 0; i < 3; i++)
		test_expect(PPDB_NOTFOUND, ppdb_get(db, 0, (ppdb_slice){keys[i], strlen(keys[i])}, NULL, 0, NULL));
	ppdb_view_end(view);
	for (unsigned i = 0; i < 600 && left; i++) {
		test_sleep_ms(50);
		left = test_store_number(&s, "check --json", "keys");
	}
	test_require(!left, "%llu keys are left of none", (unsigned long long)left);
	test_ok(ppdb_detach(db));
	test_store_check(&s, true);
}

Test(kill_clients, lockfree)
{
	storm("--shards 4 --memory 512M --wal-segment 16M --checkpoint-bytes 64M", 2, (unsigned)test_scale(600));
}

Test(kill_clients, mutex_and_hash)
{
	storm("--shards 8 --strategy hash --sync mutex --memory 512M --wal-segment 16M", 2, (unsigned)test_scale(400));
}
