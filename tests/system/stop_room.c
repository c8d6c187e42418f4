/*
 * stop_room.c - room in the log: a value larger than a log segment, a large write among many small ones, and a client that is stopped
 * while it asks for much room.
 */
#include "client/ppdb.h"
#include "shm/fault.h"
#include "tests/lib/crew.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(stop_room, .fini = test_stores_end, .timeout = 300);

static struct test_store s;
static const ppdb_wopts async = {.size = sizeof(async), .flags = PPDB_ASYNC};

static ppdb_slice big(size_t size)
{
	static char *bytes;

	bytes = realloc(bytes, size);
	memset(bytes, 'b', size);
	return (ppdb_slice){bytes, size};
}

/* Retries while the log is full; fails after a minute. */
static void put_patiently(ppdb *db, ppdb_slice key, ppdb_slice value)
{
	uint64_t begin = test_now_ns();
	int rc;

	while ((rc = ppdb_put(db, 0, key, value, NULL, NULL)) == PPDB_OVERLOAD)
		test_require(test_now_ns() - begin < UINT64_C(60000000000), "no room for %zu bytes within a minute: %s", value.size,
			test_detail());
	test_require(!rc, "put of %zu bytes gave %s: %s", value.size, test_name_of(rc), test_detail());
}

static void small_writes(void *arg)
{
	ppdb *db = test_store_attach(&s, 0);
	_Atomic uint64_t *count = arg;
	char value[2000] = "";

	for (uint64_t n = 0;; n++) {
		int rc = ppdb_put(db, 0, (ppdb_slice){&arg, sizeof(arg)}, (ppdb_slice){value, sizeof(value)}, &async, NULL);

		test_require(!rc || rc == PPDB_OVERLOAD, "put gave %s: %s", test_name_of(rc), test_detail());
		if (!rc)
			atomic_fetch_add(count, 1);
	}
}

Test(stop_room, value_larger_than_segments)
{
	ppdb *db;
	size_t size;

	test_begin(120);
	test_store_start(&s, "--memory 256M --wal-segment 1M");
	db = test_store_attach(&s, 0);
	put_patiently(db, PPDB_S("large"), big(20 << 20));
	test_store_cold(&s);
	test_expect(-ENOBUFS, ppdb_get(db, 0, PPDB_S("large"), NULL, 0, &size));
	test_require(size == 20 << 20, "%zu bytes", size);
	test_ok(ppdb_detach(db));
	test_store_check(&s, true);
	test_store_stop(&s);
}

Test(stop_room, large_among_small)
{
	_Atomic uint64_t *count = test_shared(4 * sizeof(*count));
	pid_t pid[4];
	ppdb *db;

	test_begin(200);
	test_store_start(&s, "--memory 256M --wal-segment 4M --checkpoint-bytes 32M");
	for (int i = 0; i < 4; i++)
		pid[i] = test_spawn(small_writes, &count[i]);
	db = test_store_attach(&s, 0);
	for (int i = 0; i < 5; i++)
		put_patiently(db, PPDB_S("large"), big(12 << 20));
	for (int i = 0; i < 4; i++)
		test_kill(pid[i]);
	test_ok(ppdb_detach(db));
	test_store_check(&s, true);
	test_store_stop(&s);
}

static void die_with_credit(void *arg)
{
	ppdb *db = test_store_attach(&s, 0);

	(void)arg;
	test_ok(pp_fault_set("ring.publish.filled=kill:1"));
	put_patiently(db, PPDB_S("large"), big(3 << 20));
	test_require(false, "it is still alive");
}

/* Credit that was taken for entries that were never published must come back with the slot. */
Test(stop_room, killed_with_credit)
{
	ppdb *db;

	if (!pp_fault_built())
		cr_skip_test("this build has no fault points");
	test_begin(120);
	test_store_start(&s, "--memory 256M --wal-segment 4M");
	for (int i = 0; i < 30; i++) {
		pid_t pid = test_spawn(die_with_credit, NULL);
		int status = test_collect(pid, true);

		test_require(WIFSIGNALED(status), "it ended with %#x", (unsigned)status);
		usleep(20000);
	}
	db = test_store_attach(&s, 0);
	for (int i = 0; i < 5; i++)
		put_patiently(db, PPDB_S("large"), big(3 << 20));
	test_ok(ppdb_detach(db));
	test_store_check(&s, true);
	test_store_stop(&s);
}

static void large_writes(void *arg)
{
	ppdb *db = test_store_attach(&s, 0);

	(void)arg;
	for (;;)
		put_patiently(db, PPDB_S("large"), big(12 << 20));
}

Test(stop_room, stopped_while_asking)
{
	_Atomic uint64_t *count = test_shared(2 * sizeof(*count)), before;
	pid_t greedy[3], modest[2];
	uint64_t begin;

	test_begin(200);
	test_store_start(&s, "--memory 512M --wal-segment 2M --checkpoint-bytes 32M");
	for (int i = 0; i < 3; i++)
		greedy[i] = test_spawn(large_writes, NULL);
	for (int i = 0; i < 2; i++)
		modest[i] = test_spawn(small_writes, &count[i]);
	for (int round = 0; round < 5; round++) {
		usleep(200000);
		for (int i = 0; i < 3; i++)
			kill(greedy[i], SIGSTOP);
		for (int i = 0; i < 2; i++) {
			before = atomic_load(&count[i]);
			begin = test_now_ns();
			while (atomic_load(&count[i]) < before + 100) {
				test_require(test_now_ns() - begin < CREW_STUCK_NS, "a small writer waits for stopped ones");
				usleep(1000);
			}
		}
		for (int i = 0; i < 3; i++)
			kill(greedy[i], SIGCONT);
	}
	for (int i = 0; i < 3; i++)
		test_kill(greedy[i]);
	for (int i = 0; i < 2; i++)
		test_kill(modest[i]);
	test_store_check(&s, true);
	test_store_stop(&s);
}
