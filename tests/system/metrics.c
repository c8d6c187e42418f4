/*
 * metrics.c - what monitoring sees of a store: checkpoints, and `ppdb stat --prometheus`.
 */
#include "tests/lib/store.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

TestSuite(metrics, .fini = test_stores_end, .timeout = 300);

static struct test_store s;

static void write_bytes(ppdb *db, size_t bytes)
{
	static char value[64 << 10];
	char key[32];

	for (size_t i = 0; i < bytes / sizeof(value); i++) {
		snprintf(key, sizeof(key), "key-%zu", i % 64);
		test_ok(ppdb_put(db, 0, (ppdb_slice){key, strlen(key)}, (ppdb_slice){value, sizeof(value)}, NULL, NULL));
	}
}

Test(metrics, stat_tells_of_checkpoints)
{
	ppdb *db;

	test_begin(120);
	test_store_start(&s, "--memory 128M --wal-segment 1M --checkpoint-bytes 8M");
	db = test_store_attach(&s, 0);
	write_bytes(db, 1 << 20);
	while (test_store_number(&s, "stat", "checkpoint_behind_bytes") < 1 << 20) /* each 100 ms */
		test_sleep_ms(20);
	test_require(!test_store_number(&s, "stat", "checkpoint_ms"), "a checkpoint without need");
	test_require(test_store_number(&s, "stat", "checkpoint_due_bytes") == 8 << 20, "due at another size");
	test_require(test_store_number(&s, "stat", "disk_bytes") % (1 << 20) == 0 && test_store_number(&s, "stat", "disk_bytes"),
		"the log's files have a size");
	write_bytes(db, 8 << 20);
	while (!test_store_number(&s, "stat", "checkpoint_ms"))
		test_sleep_ms(20);
	while (test_store_number(&s, "stat", "checkpoint_behind_bytes") > 4 << 20)
		test_sleep_ms(20);
	test_require(!test_store_number(&s, "stat", "checkpoint_error"), "the checkpoint failed");
	test_ok(ppdb_detach(db));
	test_store_stop(&s);
}
