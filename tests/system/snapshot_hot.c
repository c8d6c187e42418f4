/*
 * snapshot_hot.c - a snapshot that is held while a hot key is overwritten keeps its own version of that key, and next to nothing else
 * (ten million times with PPDB_TEST_SCALE >= 50).
 */
#include "client/ppdb.h"
#include "tests/lib/crew.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OVERWRITES 200000

TestSuite(snapshot_hot, .fini = test_stores_end, .timeout = 600);

static struct test_store s;

/* Blocks of versions that are there: `ppdb mem` shows them by their bytes. */
static uint64_t version_bytes(void)
{
	char out[1 << 16], *at;

	test_require(!test_store_command(&s, "mem --json", out, sizeof(out)), "mem: %s", out);
	at = strstr(out, "\"versions\": ");
	test_require(at, "mem says: %s", out);
	return strtoull(at + strlen("\"versions\": "), NULL, 10);
}

Test(snapshot_hot, pins_a_version_or_two)
{
	static const ppdb_wopts async = {.size = sizeof(async), .flags = PPDB_ASYNC};
	char value[200];
	ppdb_item item;
	uint64_t kept = 0;
	ppdb_view *v;
	ppdb *db;

	test_begin(500);
	test_store_start(&s, "--memory 64M --wal-segment 8M --checkpoint-bytes 64M");
	db = test_store_attach(&s, 0);
	memset(value, 'v', sizeof(value));
	test_ok(ppdb_put(db, 0, PPDB_S("hot"), PPDB_S("as it was"), NULL, NULL));
	test_ok(ppdb_view_begin(db, PPDB_VIEW_SNAPSHOT, &v));
	for (uint64_t i = 0; i < test_scale(OVERWRITES); i++) {
		int rc;

		do
			rc = ppdb_put(db, 0, PPDB_S("hot"), (ppdb_slice){value, sizeof(value)}, &async, NULL);
		while (rc == PPDB_OVERLOAD || rc == PPDB_FULL);
		test_ok(rc);
		if (i % 20000 == 0)
			test_say("overwrite %" PRIu64, i);
	}
	test_ok(ppdb_sync(db, -1));
	for (unsigned n = 0; n < 200; n++) { /* the keeper comes by */
		kept = version_bytes();
		if (kept <= 3 * 320)
			break;
		test_sleep_ms(50);
	}
	test_require(kept <= 3 * 320, "%" PRIu64 " bytes of versions are kept for one snapshot", kept);
	test_ok(ppdb_view_get(v, 0, PPDB_S("hot"), &item));
	test_require(item.value.size == 9 && !memcmp(item.value.data, "as it was", 9), "the snapshot has changed");
	test_ok(ppdb_view_check(v));
	ppdb_view_end(v);
	test_ok(ppdb_detach(db));
	test_store_check(&s, true);
	test_store_stop(&s);
}
