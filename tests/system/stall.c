/*
 * stall.c - `ppdb stall` names each kind of standing still, provoked for real: clients stopped at a named point, a daemon that is stopped
 * or dead, full rings, waits, long reads and snapshots.
 */
#include "client/internal.h" /* first */
#include "shm/fault.h"
#include "tests/lib/crew.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(stall, .fini = test_stores_end, .timeout = 300);

static struct test_store s;
static const ppdb_wopts async = {.size = sizeof(async), .flags = PPDB_ASYNC};
static char out[1 << 16];

/* Waits until stall names a thing of that kind. (The looks are so far apart that the daemon's rounds come between.) */
static void expect_kind(const char *kind)
{
	char want[48], command[200];

	snprintf(command, sizeof(command), "stall --json --apart 150 --arena %s", s.arena);
	snprintf(want, sizeof(want), "\"kind\": \"%s\"", kind);
	for (unsigned i = 0; i < 100; i++) {
		int rc = test_store_command(&s, command, out, sizeof(out));

		test_require(rc == 0 || rc == 1, "stall ended with %d: %s", rc, out);
		if (rc == 1 && strstr(out, want))
			return;
		test_sleep_ms(100);
	}
	test_require(false, "stall does not name a %s: %s", kind, out);
}

static void expect_nothing(void)
{
	for (unsigned i = 0; i < 100 && test_store_command(&s, "stall", out, sizeof(out)); i++)
		test_sleep_ms(100);
	test_require(strstr(out, "Nobody stands still."), "stall says: %s", out);
}

static void put_and_stop(void *point)
{
	ppdb *db;
	ppdb_batch *b;

	test_require(!pp_fault_set(point), "%s is not understood", (char *)point);
	db = test_store_attach(&s, 0);
	test_ok(ppdb_batch_new(db, &b));
	test_ok(ppdb_batch_put(b, 0, PPDB_S("k"), PPDB_S("v"), NULL));
	if (strstr(point, "batch."))
		test_ok(ppdb_write(db, b, &async, NULL, NULL));
	else
		test_ok(ppdb_put(db, 0, PPDB_S("k"), PPDB_S("v"), &async, NULL));
	ppdb_batch_free(b);
	test_ok(ppdb_detach(db));
}

static pid_t stopped_at(char *point)
{
	pid_t pid = test_spawn(put_and_stop, point);
	int status;

	test_require(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status), "the client did not stop at %s", point);
	return pid;
}

Test(stall, a_client_in_the_middle_of_a_write)
{
	pid_t pid;

	if (!pp_fault_built())
		cr_skip_test("this build has no fault points");
	test_begin(120);
	test_store_start(&s, "--memory 64M --wal-segment 4M");
	expect_nothing();
	pid = stopped_at("write.installed=stop:1");
	expect_kind("write");
	test_require(strstr(out, "a write to \\\"k\\\": in the key's chain, not in the log ring yet"), "%s", out);
	kill(pid, SIGCONT);
	test_join(pid);
	pid = stopped_at("batch.ready=stop:1");
	expect_kind("write");
	test_require(strstr(out, "a batch (1 of 1 versions made): in the key's chain, not in the log ring yet"), "%s", out);
	kill(pid, SIGCONT);
	test_join(pid);
	expect_nothing();
	test_store_stop(&s);
}

/* The slot that this sentence of a kind is about. */
static unsigned slot_named(const char *kind)
{
	char want[48];
	const char *at;

	expect_kind(kind);
	snprintf(want, sizeof(want), "\"kind\": \"%s\"", kind);
	at = strstr(strstr(out, want), "\"slot\": ");
	test_require(at, "%s", out);
	return (unsigned)strtoul(at + 8, NULL, 10);
}

/* Damage, as ppdb never makes it: the slot waits for a stripe that somebody holds. */
static void make_wait(unsigned slot, uint32_t stripe)
{
	struct pp_region r;
	int fd = open(s.arena, O_RDWR | O_CLOEXEC);

	test_require(fd >= 0 && !pp_region_map(fd, false, pp_layout_hash_engine(), &r), "cannot map %s", s.arena);
	pp_store_rel(&r.slots[slot].stripe_wait, stripe + 1);
	pp_region_unmap(&r);
	close(fd);
}

/* The first one stands with the stripe, the second one waits for it; then the first one seems to wait for it as well. */
Test(stall, lock_stripes)
{
	unsigned owner, stripe;
	pid_t first, second;

	if (!pp_fault_built())
		cr_skip_test("this build has no fault points");
	test_begin(120);
	test_store_start(&s, "--memory 64M --wal-segment 4M --sync mutex --stripes 1");
	first = stopped_at("sync.stripe.locked=stop:1");
	owner = slot_named("stripe");
	test_require(strstr(out, "0 wait for it"), "%s", out);
	second = stopped_at("sync.stripe.wait=stop:1");
	test_require(slot_named("lock_wait") != owner, "%s", out);
	test_require(strstr(out, "1 wait for it") && !strstr(out, "lock_cycle"), "%s", out);
	test_require(sscanf(strstr(out, "waits for lock stripe "), "waits for lock stripe %u", &stripe) == 1, "%s", out);
	make_wait(owner, stripe);
	expect_kind("lock_cycle");
	make_wait(owner, UINT32_MAX);
	kill(first, SIGCONT);
	test_join(first);
	kill(second, SIGCONT);
	test_join(second);
	expect_nothing();
	test_store_stop(&s);
}

static void hold_snapshot(void *arg)
{
	_Atomic int *done = arg;
	ppdb *db = test_store_attach(&s, 0);
	ppdb_view *v;

	test_ok(ppdb_put(db, 0, PPDB_S("k"), PPDB_S("v"), NULL, NULL));
	test_ok(ppdb_view_begin(db, PPDB_VIEW_SNAPSHOT, &v));
	for (unsigned i = 0; !*done; i++) {
		test_ok(ppdb_put(db, 0, PPDB_S("k"), PPDB_S("v"), NULL, NULL));
		test_sleep_ms(20);
	}
	ppdb_view_end(v);
	test_ok(ppdb_detach(db));
}

Test(stall, a_long_snapshot)
{
	_Atomic int *done;
	pid_t pid;

	test_begin(120);
	done = test_shared(sizeof(*done));
	test_store_start(&s, "--memory 64M --wal-segment 4M");
	pid = test_spawn(hold_snapshot, done);
	expect_kind("long_snapshot");
	*done = 1;
	test_join(pid);
	expect_nothing();
	test_store_stop(&s);
}

static void put_durably(void *arg)
{
	ppdb *db = test_store_attach(&s, 0);

	(void)arg;
	test_ok(ppdb_put(db, 0, PPDB_S("first"), PPDB_S("v"), NULL, NULL));
	raise(SIGSTOP);
	test_ok(ppdb_put(db, 0, PPDB_S("second"), PPDB_S("v"), NULL, NULL));
	test_ok(ppdb_detach(db));
}

/* The daemon is stopped: somebody waits for durability, rings fill up, a client that dies is not taken back. */
Test(stall, a_daemon_that_stands)
{
	pid_t waiter, dead;
	int status, rc;
	ppdb *db;

	test_begin(200);
	test_store_start(&s, "--memory 64M --wal-segment 4M");
	db = test_store_attach(&s, 0);
	test_ok(ppdb_put(db, 0, PPDB_S("k"), PPDB_S("v"), NULL, NULL));
	waiter = test_spawn(put_durably, NULL);
	dead = test_spawn(put_durably, NULL);
	test_require(waitpid(waiter, &status, WUNTRACED) == waiter && WIFSTOPPED(status), "it did not stop");
	test_require(waitpid(dead, &status, WUNTRACED) == dead && WIFSTOPPED(status), "it did not stop");
	kill(s.daemon, SIGSTOP);
	kill(waiter, SIGCONT);
	test_kill(dead);
	while (!(rc = ppdb_put(db, 0, PPDB_S("k"), PPDB_S("v"), &async, NULL)))
		;
	test_require(rc == PPDB_OVERLOAD || rc == PPDB_DAEMON_GONE, "the last put gave %s", test_name_of(rc));
	expect_kind("daemon");
	expect_kind("ring");
	expect_kind("durable");
	expect_kind("dead");
	kill(s.daemon, SIGCONT);
	test_join(waiter);
	test_ok(ppdb_detach(db));
	expect_nothing();
	test_store_kill(&s);
	expect_kind("daemon");
	test_store_restart(&s);
	expect_nothing();
	test_store_stop(&s);
}
