/*
 * full_ring.c - the daemon is stopped or dead and the log ring is full: writers wait their bounded time and get a code, reading goes on,
 * what was accepted becomes durable when the daemon is back, and what failed is never there.
 */
#include "tests/lib/ledger.h"
#include "tests/lib/store.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

TestSuite(full_ring, .fini = test_stores_end, .timeout = 240);

static struct test_store s;
static const ppdb_wopts async = {.size = sizeof(async), .flags = PPDB_ASYNC, .timeout_ms = 300};
static const ppdb_wopts durable = {.size = sizeof(durable), .timeout_ms = 300};

static void says(const char *text)
{
	test_require(strstr(test_detail(), text), "no '%s' in: %s", text, test_detail());
}

/* New keys and overwrites fail alike, in bounded time. */
static void refused(struct ledger *l, ppdb *db, unsigned n, int code)
{
	for (unsigned i = 0; i < 4; i++) {
		uint64_t begin = test_now_ns();

		test_expect(code, ledger_put(l, db, i % 2 ? n + i : i, 100, i < 2 ? &async : &durable));
		test_require(test_now_ns() - begin < 20000000000u, "it took %llu ms",
			(unsigned long long)(test_now_ns() - begin) / 1000000);
	}
	test_expect(code, ledger_del(l, db, 1, &async));
}

Test(full_ring, daemon_stopped)
{
	struct ledger *l = ledger_new();
	ppdb *db, *reader;
	unsigned n;
	int rc;

	test_begin(200);
	test_store_start(&s, "--ring 64 --memory 64M --slots 16 --wal-segment 4M");
	db = test_store_attach(&s, 0);
	reader = test_store_attach(&s, PPDB_RDONLY);
	test_ok(ledger_put(l, db, 0, 100, NULL));
	kill(s.daemon, SIGSTOP);
	n = ledger_fill(l, db, 1, 100, &async, &rc);
	test_require(rc == PPDB_OVERLOAD, "full gave %s: %s", test_name_of(rc), test_detail());
	says("ring is full");
	test_require(n > 32, "full after %u writes", n);
	refused(l, db, n, PPDB_OVERLOAD);
	ledger_judge(l, db);
	ledger_judge(l, reader);
	test_expect(PPDB_TIMEOUT, ppdb_sync(db, 100000000));
	kill(s.daemon, SIGCONT);
	test_ok(ppdb_sync(db, -1));
	for (unsigned i = 0; i < 300; i++)
		test_ok(ledger_put(l, db, n + i, 100, i % 100 ? &(ppdb_wopts){.size = sizeof(ppdb_wopts), .flags = PPDB_ASYNC,
			.timeout_ms = 20000} : NULL));
	test_ok(ppdb_sync(db, -1));
	ledger_judge(l, db);
	test_ok(ppdb_detach(reader));
	test_ok(ppdb_detach(db));
	test_store_check(&s, true);
	test_store_cold(&s);
	db = test_store_attach(&s, 0);
	ledger_judge(l, db);
	test_ok(ppdb_detach(db));
}

Test(full_ring, daemon_dead)
{
	struct ledger *l = ledger_new();
	ppdb *db, *reader;
	unsigned n;
	int rc;

	test_begin(200);
	test_store_start(&s, "--ring 64 --memory 64M --slots 16 --wal-segment 4M --sync mutex");
	db = test_store_attach(&s, 0);
	reader = test_store_attach(&s, PPDB_RDONLY);
	test_ok(ledger_put(l, db, 0, 100, NULL));
	test_store_kill(&s);
	n = ledger_fill(l, db, 1, 100, &async, &rc);
	test_require(rc == PPDB_DAEMON_GONE, "full gave %s: %s", test_name_of(rc), test_detail());
	says("ppdb start");
	test_require(n > 32, "full after %u writes", n);
	refused(l, db, n, PPDB_DAEMON_GONE);
	ledger_judge(l, db);
	ledger_judge(l, reader);
	test_expect(PPDB_DAEMON_GONE, ppdb_sync(db, 100000000));
	says("gone for");
	test_store_restart(&s);
	test_ok(ppdb_sync(db, 60000000000));
	for (unsigned i = 0; i < 300; i++)
		test_ok(ledger_put(l, db, n + i, 100, i % 100 ? &(ppdb_wopts){.size = sizeof(ppdb_wopts), .flags = PPDB_ASYNC,
			.timeout_ms = 20000} : NULL));
	test_ok(ppdb_sync(db, -1));
	ledger_judge(l, db);
	test_ok(ppdb_detach(reader));
	test_ok(ppdb_detach(db));
	test_store_check(&s, true);
	test_store_cold(&s);
	db = test_store_attach(&s, 0);
	ledger_judge(l, db);
	test_ok(ppdb_detach(db));
}
