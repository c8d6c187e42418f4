/*
 * full_arena.c - no memory for more: at the configured limit, and when the tmpfs under the arena is full. Writers get a code and a sentence,
 * reading and deleting go on, the space that deletes free is used again, and nothing that failed is ever there.
 */
#include "tests/lib/ledger.h"
#include "tests/lib/mount.h"
#include "tests/lib/store.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void clear(void)
{
	test_mounts_end();
	test_stores_end();
}

TestSuite(full_arena, .fini = clear, .timeout = 300);

static struct test_store s;
static char folder[128]; /* of the small tmpfs */
static const ppdb_wopts async = {.size = sizeof(async), .flags = PPDB_ASYNC, .timeout_ms = 20000};
static const ppdb_wopts durable = {.size = sizeof(durable), .timeout_ms = 20000};

static void says(const char *text)
{
	test_require(strstr(test_detail(), text), "no '%s' in: %s", text, test_detail());
}

/* Deleted memory comes back when the deletes are durable and nobody reads it any more. */
static void put_in_time(struct ledger *l, ppdb *db, unsigned key, uint32_t size)
{
	static char mem[1 << 16], why[512];
	int rc = 0;

	for (unsigned i = 0; i < 1500; i++) {
		rc = ledger_put(l, db, key, size, &async);
		if (!rc)
			return;
		test_sleep_ms(20);
	}
	snprintf(why, sizeof(why), "%s", test_detail());
	test_store_command(&s, "mem --all", mem, sizeof(mem));
	test_fail(__FILE__, __LINE__, "key %u: still %s after 30 s: %s\n%s", key, test_name_of(rc), why, mem);
}

/* From an empty store to a full one and through it; `text` is what the sentence must say. */
static void through_full(int code, const char *text, const char *larger)
{
	struct ledger *l = ledger_new();
	ppdb *db = test_store_attach(&s, 0), *reader = test_store_attach(&s, PPDB_RDONLY);
	unsigned n;
	int rc;

	for (unsigned round = 0; round < 2; round++) {
		test_say("round %u: filling", round);
		n = ledger_fill(l, db, round ? 40000 : 0, 3000, &async, &rc);
		test_require(rc == code, "full gave %s: %s", test_name_of(rc), test_detail());
		says(text);
		/* new keys, overwrites, big ones: all are refused, none is there by half */
		for (unsigned i = 0; i < 20; i++) {
			rc = ledger_put(l, db, n + i, 60000, &async); /* the keeper may have found some more meanwhile */
			test_require(!rc || rc == code, "%s: %s", test_name_of(rc), test_detail());
		}
		rc = ledger_put(l, db, n + 30, 3 << 20, &async);
		test_require(!rc || rc == code, "%s: %s", test_name_of(rc), test_detail());
		ledger_judge(l, db);
		ledger_judge(l, reader);
		test_say("round %u: deleting", round);
		for (unsigned i = round ? 40000 : 0; i < n; i += 2)
			test_ok(ledger_del(l, db, i, i % 64 ? &async : &durable));
		test_ok(ppdb_sync(db, -1));
		ledger_judge(l, reader);
		test_say("round %u: writing again", round);
		for (unsigned i = 0; i < 200; i++)
			put_in_time(l, db, 20000 + round * 1000 + i, 3000);
		test_ok(ppdb_sync(db, -1));
		ledger_judge(l, db);
		for (unsigned i = 0; i < LEDGER_KEYS; i++)
			if (round == 0 && l->written[i] && i % 8)
				test_ok(ledger_del(l, db, i, &async));
	}
	test_ok(ppdb_detach(reader));
	test_ok(ppdb_detach(db));
	test_store_restart(&s);
	db = test_store_attach(&s, 0);
	ledger_judge(l, db);
	test_ok(ppdb_detach(db));
	test_store_check(&s, true);
	if (larger)
		snprintf(s.options, sizeof(s.options), "%s", larger);
	else
		test_mount_resize(folder, 64);
	test_store_cold(&s);
	db = test_store_attach(&s, 0);
	ledger_judge(l, db);
	put_in_time(l, db, 60000, 3000);
	ledger_judge(l, db);
	test_ok(ppdb_detach(db));
	test_store_check(&s, true);
}

Test(full_arena, limit)
{
	test_begin(250);
	test_store_start(&s, "--memory 40M --slots 16 --shards 2 --wal-segment 8M");
	through_full(PPDB_FULL, "limit of 40 MiB", "--memory 64M --slots 16 --shards 2 --wal-segment 8M");
}

Test(full_arena, limit_mutex)
{
	test_begin(250);
	test_store_start(&s, "--memory 40M --slots 16 --shards 4 --strategy hash --sync mutex --wal-segment 8M");
	through_full(PPDB_FULL, "limit of 40 MiB", "--memory 64M --slots 16 --shards 4 --strategy hash --sync mutex --wal-segment 8M");
}

static bool small_tmpfs(unsigned mib)
{
	snprintf(folder, sizeof(folder), "%s/shm", s.dir);
	if (!test_mount_tmpfs(folder, mib))
		return false;
	snprintf(s.arena, sizeof(s.arena), "%.90s/arena", folder);
	return true;
}

Test(full_arena, tmpfs)
{
	test_begin(250);
	test_store_prepare(&s, "--memory 1G --slots 16 --ring 256 --wal-segment 8M");
	if (!small_tmpfs(48))
		return;
	test_require(!test_store_try(&s), "ppdbd did not start");
	through_full(PPDB_FULL, "its file system is full", NULL);
}

static void failed_start(const char *text)
{
	char out[4096];
	FILE *f;
	size_t n;
	int rc = test_store_try(&s);

	test_require(rc == 1, "ppdbd gave %d", rc);
	f = fopen(s.messages, "r");
	n = f ? fread(out, 1, sizeof(out) - 1, f) : 0;
	out[n] = '\0';
	if (f)
		fclose(f);
	test_require(strstr(out, text), "no '%s' in: %s", text, out);
}

/* No room for the tables at the start: exit 1 and a sentence; with room the data are all there. */
Test(full_arena, no_room_to_start)
{
	struct ledger *l = ledger_new();
	ppdb *db;

	test_begin(120);
	test_store_prepare(&s, "--memory 256M --slots 16 --wal-segment 8M");
	if (!small_tmpfs(64))
		return;
	test_require(!test_store_try(&s), "ppdbd did not start");
	db = test_store_attach(&s, 0);
	for (unsigned i = 0; i < 100; i++)
		test_ok(ledger_put(l, db, i, 1000, NULL));
	test_ok(ppdb_detach(db));
	test_store_kill(&s);
	unlink(s.arena);
	test_mount_ballast(folder, 62);
	failed_start("is full");
	test_mount_drop_ballast(folder);
	test_require(!test_store_try(&s), "ppdbd did not start");
	db = test_store_attach(&s, 0);
	ledger_judge(l, db);
	test_ok(ppdb_detach(db));
}

/* What the recovered data need is not there: refused with a sentence, nothing touched. */
Test(full_arena, recovery_needs_more)
{
	struct ledger *l = ledger_new();
	ppdb *db;

	test_begin(120);
	test_store_start(&s, "--memory 128M --slots 16 --wal-segment 8M");
	db = test_store_attach(&s, 0);
	for (unsigned i = 0; i < 80; i++)
		test_ok(ledger_put(l, db, i, 1 << 20, &async));
	test_ok(ppdb_sync(db, -1));
	test_ok(ppdb_detach(db));
	test_store_kill(&s);
	unlink(s.arena);
	snprintf(s.options, sizeof(s.options), "--memory 40M --slots 16 --wal-segment 8M");
	failed_start("limit of 40 MiB: start ppdbd with more, say --memory 80M; nothing is lost");
	snprintf(s.options, sizeof(s.options), "--memory 128M --slots 16 --wal-segment 8M");
	test_require(!test_store_try(&s), "ppdbd did not start");
	db = test_store_attach(&s, 0);
	ledger_judge(l, db);
	test_ok(ppdb_detach(db));
}
