/*
 * full_cold.c - a store that is as full as it can be, then cold starts of the same size: what fitted before fits again, and deletes work.
 */
#include "tests/lib/ledger.h"
#include "tests/lib/store.h"

#include <criterion/criterion.h>

TestSuite(full_cold, .fini = test_stores_end, .timeout = 300);

static struct test_store s;
static const ppdb_wopts async = {.size = sizeof(async), .flags = PPDB_ASYNC, .timeout_ms = 20000};
static const ppdb_wopts durable = {.size = sizeof(durable), .timeout_ms = 20000};

struct load {
	const uint32_t *sizes; /* of values, drawn from these less up to a quarter */
	unsigned count;
	bool ascending;
	unsigned overwrites, deletes; /* of 100 writes */
};

static unsigned placed(const struct load *w, unsigned i)
{
	return w->ascending ? i : i * 40503u % LEDGER_KEYS; /* odd: all of them, in no order */
}

/* Until nothing finds a place any more, with the largest and then with the smallest; returns the keys used. */
static unsigned fill_up(struct ledger *l, ppdb *db, struct test_random *r, const struct load *w)
{
	unsigned keys = 0, failed = 0;

	while (failed < 60 && keys < LEDGER_KEYS) {
		uint32_t size = failed < 20 ? w->sizes[test_below(r, w->count)] : failed < 40 ? w->sizes[0] : 16;
		bool known = keys && test_chance(r, w->overwrites);
		unsigned key = known ? (unsigned)test_below(r, keys) : keys;
		int rc = ledger_put(l, db, placed(w, key), size < 64 ? size : size - (uint32_t)test_below(r, size / 4), &async);

		test_require(!rc || rc == PPDB_FULL, "%s: %s", test_name_of(rc), test_detail());
		failed = rc ? failed + 1 : failed < 20 ? 0 : failed;
		keys += !rc && !known;
		if (keys && test_chance(r, w->deletes)) {
			key = placed(w, (unsigned)test_below(r, keys));
			rc = l->written[key] ? ledger_del(l, db, key, &async) : 0;
			test_require(!rc || rc == PPDB_FULL, "%s: %s", test_name_of(rc), test_detail());
		}
	}
	return keys;
}

static void cold_when_full(const char *options, const struct load *w)
{
	struct ledger *l = ledger_new();
	struct test_random r;
	unsigned keys;
	ppdb *db;

	test_begin(250);
	r = test_random(test_seed(), 1);
	test_store_start(&s, options);
	db = test_store_attach(&s, 0);
	keys = fill_up(l, db, &r, w);
	test_say("full with %u keys", keys);
	test_ok(ppdb_sync(db, -1));
	ledger_judge(l, db);
	for (unsigned round = 0; round < 3; round++) {
		unsigned deleted = 0;

		test_ok(ppdb_detach(db));
		test_say("cold start %u", round);
		test_store_cold(&s);
		db = test_store_attach(&s, 0);
		ledger_judge(l, db);
		test_say("deleting after cold start %u", round);
		for (unsigned i = 0; i < keys && deleted < 20; i++) {
			unsigned key = placed(w, (i + round * 977) % keys);

			if (!l->written[key])
				continue;
			test_ok(ledger_del(l, db, key, deleted % 8 ? &async : &durable));
			deleted++;
		}
		test_ok(ppdb_sync(db, -1));
		ledger_judge(l, db);
		if (round == 0)
			continue; /* then fill up what the deletes gave back */
		for (unsigned i = 0, failed = 0; i < 400 && failed < 20; i++)
			failed += ledger_put(l, db, placed(w, (unsigned)test_below(&r, keys)), w->sizes[0], &async) != 0;
		test_ok(ppdb_sync(db, -1));
	}
	test_ok(ppdb_detach(db));
	test_store_check(&s, true);
}

/* Overwritten and deleted all the time: the log holds many times what the arena does. */
Test(full_cold, churned)
{
	static const uint32_t sizes[] = {200, 400, 900, 3000, 12000};

	cold_when_full("--memory 32M --slots 16 --wal-segment 8M", &(struct load){sizes, 5, false, 70, 20});
}

/* A load in key order leaves the leaves full. */
Test(full_cold, ascending)
{
	static const uint32_t sizes[] = {320};

	cold_when_full("--memory 28M --slots 16 --wal-segment 8M", &(struct load){sizes, 1, true, 0, 0});
}

/* Values in runs of pages, larger and smaller ones overwritten by turns. */
Test(full_cold, large)
{
	static const uint32_t sizes[] = {40000, 100000, 250000, 900000, 2000000};

	cold_when_full("--memory 48M --slots 16 --wal-segment 8M", &(struct load){sizes, 5, false, 50, 20});
}

/* The log begins with a checkpoint, which knows nothing of what came later. */
Test(full_cold, checkpointed)
{
	static const uint32_t sizes[] = {300, 700, 5000, 60000};

	cold_when_full("--memory 32M --slots 16 --wal-segment 8M --checkpoint-bytes 24M", &(struct load){sizes, 4, false, 60, 20});
}

Test(full_cold, hashed)
{
	static const uint32_t sizes[] = {250, 500, 1500};

	cold_when_full("--memory 32M --slots 16 --wal-segment 8M --shards 4 --strategy hash", &(struct load){sizes, 3, false, 40, 10});
}
