/*
 * full_disk.c - no space for the log: writers get -ENOSPC and a sentence, nothing that failed is ever there, deletes go on, and with space again
 * so do writes. After a cold start the store holds exactly what was acknowledged.
 */
#include "tests/lib/ledger.h"
#include "tests/lib/mount.h"
#include "tests/lib/store.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void clear(void)
{
	test_mounts_end();
	test_stores_end();
}

TestSuite(full_disk, .fini = clear, .timeout = 300);

static struct test_store s;
static char folder[128];
static const ppdb_wopts async = {.size = sizeof(async), .flags = PPDB_ASYNC, .timeout_ms = 20000};
static const ppdb_wopts durable = {.size = sizeof(durable), .timeout_ms = 20000};

static void says(const char *text)
{
	test_require(strstr(test_detail(), text), "no '%s' in: %s", text, test_detail());
}

static bool reserve_there(void)
{
	char path[160];

	snprintf(path, sizeof(path), "%.100s/wal/reserve-0000000000000000.log", s.data);
	return !access(path, F_OK);
}

/* The daemon keeps one segment more than the log needs. */
static void await_reserve(void)
{
	for (unsigned i = 0; i < 1500 && !reserve_there(); i++)
		test_sleep_ms(20);
	test_require(reserve_there(), "no reserve was made");
}

static bool begin(bool ext4)
{
	test_begin(200);
	test_store_prepare(&s, "--memory 256M --slots 16 --wal-segment 4M");
	snprintf(folder, sizeof(folder), "%s/disk", s.dir);
	if (!(ext4 ? test_mount_ext4(folder, 80) : test_mount_tmpfs(folder, 64)))
		return false;
	snprintf(s.data, sizeof(s.data), "%.90s/data", folder);
	test_mount_ballast(folder, 32);
	test_require(!test_store_try(&s), "ppdbd did not start");
	await_reserve();
	return true;
}

/* So that not even a small file finds room. */
static void fill_the_rest(void)
{
	char path[160];
	static const char zeros[4096];
	FILE *f;

	snprintf(path, sizeof(path), "%.100s/rest", folder);
	f = fopen(path, "w");
	test_require(f, "%s: %s", path, strerror(errno));
	setbuf(f, NULL);
	while (fwrite(zeros, 1, sizeof(zeros), f) == sizeof(zeros))
		;
	fclose(f);
}

static void drop_the_rest(void)
{
	char path[160];

	snprintf(path, sizeof(path), "%.100s/rest", folder);
	unlink(path);
}

/* Writes from `from` on until the disk is full; returns how many there were. */
static unsigned fill_disk(struct ledger *l, ppdb *db, unsigned from)
{
	int rc;
	unsigned n = ledger_fill(l, db, from, 20000, &async, &rc);

	test_require(rc == -ENOSPC, "full gave %s: %s", test_name_of(rc), test_detail());
	return n;
}

/* What is there now is there after a cold start, too. */
static ppdb *judge_cold(struct ledger *l, ppdb *db)
{
	ledger_judge(l, db);
	test_ok(ppdb_detach(db));
	test_store_cold(&s);
	db = test_store_attach(&s, 0);
	ledger_judge(l, db);
	return db;
}

static void through_full(void)
{
	struct ledger *l = ledger_new();
	ppdb *db = test_store_attach(&s, 0), *reader = test_store_attach(&s, PPDB_RDONLY);
	unsigned n, room = 0;
	int rc;

	test_say("filling");
	n = fill_disk(l, db, 0);
	says("no disk space for the log");
	test_require(n > 300, "full after %u writes", n);
	for (unsigned i = 0; i < 20; i++)
		test_expect(-ENOSPC, ledger_put(l, db, i % 2 ? i : n + i, 20000, i % 4 ? &async : &durable));
	test_expect(-ENOSPC, ledger_put(l, db, n + 30, 1 << 20, &async));
	/* what was accepted becomes durable, reading goes on */
	test_ok(ppdb_sync(db, -1));
	ledger_judge(l, db);
	ledger_judge(l, reader);
	test_say("deleting");
	for (unsigned i = 0; i < n; i += 2)
		test_ok(ledger_del(l, db, i, i % 64 ? &async : &durable));
	test_ok(ppdb_sync(db, -1));
	ledger_judge(l, reader);
	fill_the_rest();
	test_say("full, cold start");
	test_ok(ppdb_detach(reader));
	test_ok(ppdb_detach(db));
	test_store_kill(&s);
	unlink(s.arena);
	/* it needs a segment of its own, and there is no room for one: that is what the reserve is for */
	test_require(!test_store_try(&s), "ppdbd did not start");
	test_require(!reserve_there(), "the reserve was not used");
	db = test_store_attach(&s, 0);
	ledger_judge(l, db);
	for (unsigned i = 1; i < 40; i += 2)
		test_ok(ledger_del(l, db, i, i % 8 == 1 ? &durable : &async));
	test_expect(-ENOSPC, ledger_put(l, db, n + 40, 20000, &async));
	test_ok(ppdb_sync(db, -1));
	ledger_judge(l, db);
	test_say("space");
	drop_the_rest();
	test_mount_drop_ballast(folder);
	for (unsigned i = 0; i < 1000 && room < 200; i++) {
		rc = ledger_put(l, db, n + 100 + room, 20000, &async);
		room += !rc;
		if (rc)
			test_sleep_ms(20);
	}
	test_require(room == 200, "still %s: %s", test_name_of(rc), test_detail());
	await_reserve();
	test_ok(ppdb_sync(db, -1));
	ledger_judge(l, db);
	test_ok(ppdb_detach(db));
	test_store_check(&s, true);
	test_store_cold(&s);
	db = test_store_attach(&s, 0);
	ledger_judge(l, db);
	test_ok(ppdb_detach(db));
}

Test(full_disk, tmpfs)
{
	if (begin(false))
		through_full();
}

Test(full_disk, ext4)
{
	if (begin(true))
		through_full();
}

/* The same daemon goes on when space comes back: nobody restarts anything. */
Test(full_disk, space_comes_back)
{
	struct ledger *l = ledger_new();
	unsigned n, done;
	ppdb *db;
	int rc;

	if (!begin(false))
		return;
	db = test_store_attach(&s, 0);
	n = fill_disk(l, db, 0);
	test_mount_drop_ballast(folder);
	for (done = 0; done < 1000; done++) {
		rc = ledger_put(l, db, n, 20000, &durable);
		if (!rc)
			break;
		test_require(rc == -ENOSPC || rc == PPDB_OVERLOAD, "%s: %s", test_name_of(rc), test_detail());
		test_sleep_ms(20);
	}
	test_ok(rc);
	for (unsigned i = 1; i < 100; i++)
		test_ok(ledger_put(l, db, n + i, 20000, &async));
	test_ok(ppdb_sync(db, -1));
	test_ok(ppdb_detach(judge_cold(l, db)));
}

/* No space for a checkpoint: it is given up with a message, nothing else changes. */
Test(full_disk, checkpoint)
{
	struct ledger *l = ledger_new();
	ppdb *db;

	if (!begin(false))
		return;
	test_store_stop(&s);
	snprintf(s.options, sizeof(s.options), "--memory 256M --slots 16 --wal-segment 4M --checkpoint-bytes 12M");
	test_require(!test_store_try(&s), "ppdbd did not start");
	db = test_store_attach(&s, 0);
	for (unsigned i = 0; i < 60; i++)
		test_ok(ledger_put(l, db, i, 200000, &async));
	test_ok(ppdb_sync(db, -1));
	for (unsigned i = 0; i < 400; i++) {
		int rc = ledger_put(l, db, i % 100, 20000, &async);

		test_require(!rc || rc == -ENOSPC, "%s: %s", test_name_of(rc), test_detail());
		if (rc)
			test_sleep_ms(5);
	}
	test_ok(ppdb_sync(db, -1));
	ledger_judge(l, db);
	test_ok(ppdb_detach(db));
	test_mount_drop_ballast(folder);
	test_store_cold(&s);
	db = test_store_attach(&s, 0);
	ledger_judge(l, db);
	for (unsigned i = 0; i < 50; i++)
		test_ok(ledger_put(l, db, i, 2000, NULL));
	ledger_judge(l, db);
	test_ok(ppdb_detach(db));
	test_store_check(&s, true);
}

/* The log is what fills the disk, and a checkpoint would let it go: nobody has to ask for one. */
Test(full_disk, makes_a_checkpoint)
{
	struct ledger *l = ledger_new();
	unsigned refused = 0;
	uint64_t begun;
	ppdb *db;
	int rc;

	if (!begin(false))
		return;
	db = test_store_attach(&s, 0);
	for (unsigned i = 0; i < 6000; i++) { /* 120 MB through 32, never more than 1 of them alive */
		begun = test_now_ns();
		while ((rc = ledger_put(l, db, i % 50, 20000, &async)) && test_now_ns() - begun < 60000000000u) {
			test_require(rc == -ENOSPC || rc == PPDB_OVERLOAD, "%s: %s", test_name_of(rc), test_detail());
			refused++;
			test_sleep_ms(10);
		}
		test_require(!rc, "write %u, after %u that were refused: still %s: %s", i, refused, test_name_of(rc), test_detail());
	}
	test_ok(ppdb_sync(db, -1));
	test_ok(ppdb_detach(judge_cold(l, db)));
	test_store_check(&s, true);
}

/* Deletes draw on a reserve of the log, a block each when they come one by one. When it is used up they are refused like other
 * writes: what was accepted becomes durable, and nobody waits for disk space that does not come. */
Test(full_disk, deletes_to_the_last)
{
	struct ledger *l = ledger_new();
	unsigned n, done = 0;
	ppdb *db;
	int rc;

	if (!begin(false))
		return;
	db = test_store_attach(&s, 0);
	for (unsigned i = 0; i < 6000; i++)
		test_ok(ledger_put(l, db, i, 20, &async));
	n = fill_disk(l, db, 10000);
	test_say("deleting one by one");
	while (done < 6000 && !(rc = ledger_del(l, db, done, &durable)))
		done++;
	test_require(done > 500, "only %u deletes: %s: %s", done, test_name_of(rc), test_detail());
	test_require(rc == -ENOSPC, "after %u deletes comes %s: %s", done, test_name_of(rc), test_detail());
	says("no disk space for the log");
	test_say("deleting many at a time");
	for (unsigned i = 0; i < 40; i++) {
		rc = ledger_del(l, db, done + i, &async);
		test_require(!rc || rc == -ENOSPC, "%s: %s", test_name_of(rc), test_detail());
	}
	test_ok(ppdb_sync(db, 20000000000));
	ledger_judge(l, db);
	test_mount_drop_ballast(folder);
	for (unsigned i = 0; i < 1000 && (rc = ledger_put(l, db, n, 20000, &durable)); i++)
		test_sleep_ms(20);
	test_ok(rc);
	test_ok(ppdb_detach(judge_cold(l, db)));
}
