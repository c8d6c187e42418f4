/*
 * resize.c - another size in the configuration: what a restart makes of it, and what clients notice that have the old arena mapped.
 */
#include "tests/lib/ledger.h"
#include "tests/lib/store.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

TestSuite(resize, .fini = test_stores_end, .timeout = 200);

static struct test_store s;
static const ppdb_wopts async = {.size = sizeof(async), .flags = PPDB_ASYNC, .timeout_ms = 20000};

static void options(unsigned mib)
{
	snprintf(s.options, sizeof(s.options), "--memory %uM --slots 24 --wal-segment 4M", mib);
}

static void begin(unsigned mib)
{
	test_begin(180);
	test_store_prepare(&s, "");
	options(mib);
	test_require(!test_store_try(&s), "ppdbd did not start");
}

static void start(void)
{
	test_require(!test_store_try(&s), "ppdbd did not start");
}

static unsigned arena_mib(void)
{
	return (unsigned)(test_store_number(&s, "stat --json", "max_bytes") >> 20);
}

static void said(const char *text)
{
	char out[8192];
	FILE *f = fopen(s.messages, "r");
	size_t n = f ? fread(out, 1, sizeof(out) - 1, f) : 0;

	out[n] = '\0';
	if (f)
		fclose(f);
	test_require(strstr(out, text), "no '%s' in: %s", text, out);
}

/* After a clean stop the configured size counts, larger or smaller, and everything is there. */
Test(resize, after_a_clean_stop)
{
	static const unsigned sizes[] = {64, 256, 48, 48, 128};
	struct ledger *l = ledger_new();
	ppdb *db;

	begin(40);
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		test_say("to %u MiB", sizes[i]);
		db = test_store_attach(&s, 0);
		for (unsigned k = 0; k < 200; k++)
			test_ok(ledger_put(l, db, i * 100 + k, 2000, &async));
		test_ok(ppdb_sync(db, -1));
		test_ok(ppdb_detach(db));
		test_store_stop(&s);
		options(sizes[i]);
		start();
		test_require(arena_mib() == sizes[i], "the arena has %u MiB, not %u", arena_mib(), sizes[i]);
		db = test_store_attach(&s, 0);
		ledger_judge(l, db);
		test_ok(ppdb_detach(db));
	}
	test_store_check(&s, true);
}

/* What the data need must fit: else a sentence, and the larger size has everything again. */
Test(resize, too_small)
{
	struct ledger *l = ledger_new();
	ppdb *db;

	begin(128);
	db = test_store_attach(&s, 0);
	for (unsigned i = 0; i < 60; i++)
		test_ok(ledger_put(l, db, i, 1 << 20, &async));
	test_ok(ppdb_sync(db, -1));
	test_ok(ppdb_detach(db));
	test_store_stop(&s);
	options(48);
	test_require(test_store_try(&s) == 1, "ppdbd started with too little memory");
	said("limit of 48 MiB: start ppdbd with more, say --memory 96M");
	options(96);
	start();
	db = test_store_attach(&s, 0);
	ledger_judge(l, db);
	test_ok(ppdb_detach(db));
	test_store_check(&s, true);
}

/* Killed: the live arena is adopted as it is, and the daemon says what to do. */
Test(resize, after_a_kill)
{
	struct ledger *l = ledger_new();
	ppdb *db;

	begin(64);
	db = test_store_attach(&s, 0);
	for (unsigned i = 0; i < 100; i++)
		test_ok(ledger_put(l, db, i, 3000, &async));
	test_store_kill(&s);
	options(96);
	start();
	said("adopted as it is; 'ppdb stop' and another start");
	test_require(arena_mib() == 64, "the arena has %u MiB", arena_mib());
	ledger_judge(l, db);
	test_ok(ppdb_sync(db, -1));
	test_store_stop(&s);
	start();
	test_require(arena_mib() == 96, "the arena has %u MiB", arena_mib());
	ledger_judge(l, db);
	test_ok(ppdb_detach(db));
	test_store_check(&s, true);
}

/* Clients that stay: the very next call of each works in the new arena, and what they wrote without a daemon is kept. */
Test(resize, clients_move_at_once)
{
	struct ledger *l = ledger_new();
	ppdb *db, *reader, *fresh;
	ppdb_view *latest, *snapshot;
	ppdb_item item;
	char buf[64];
	size_t len;

	begin(40);
	db = test_store_attach(&s, 0);
	reader = test_store_attach(&s, PPDB_RDONLY);
	test_ok(ppdb_put(db, 0, PPDB_S("a"), PPDB_S("begin"), NULL, NULL));
	for (unsigned round = 0; round < 8; round++) {
		ppdb_seq ticket;
		char text[32];
		int n = snprintf(text, sizeof(text), "round %u", round);

		test_say("round %u", round);
		test_ok(ppdb_view_begin(reader, PPDB_VIEW_LATEST, &latest));
		test_ok(ppdb_view_begin(db, PPDB_VIEW_SNAPSHOT, &snapshot));
		test_ok(ppdb_view_get(latest, 0, PPDB_S("a"), &item));
		test_ok(ppdb_view_get(snapshot, 0, PPDB_S("a"), &item));
		test_store_stop(&s);
		for (unsigned i = 0; i < 20; i++)
			test_ok(ledger_put(l, db, round * 20 + i, 500, &async));
		options(round % 2 ? 40 : 64);
		start();
		fresh = test_store_attach(&s, 0);
		test_ok(ppdb_put(fresh, 0, PPDB_S("a"), (ppdb_slice){text, (size_t)n}, NULL, NULL));
		test_ok(ppdb_get(reader, 0, PPDB_S("a"), buf, sizeof(buf), &len));
		test_require(len == (size_t)n && !memcmp(buf, text, len), "the reader read '%.*s', not '%s'", (int)len, buf, text);
		test_ok(ppdb_put(db, 0, PPDB_S("b"), (ppdb_slice){text, (size_t)n}, &async, &ticket));
		test_ok(ppdb_get(fresh, 0, PPDB_S("b"), buf, sizeof(buf), &len));
		test_require(len == (size_t)n && !memcmp(buf, text, len), "the write of an old client went elsewhere: '%.*s'", (int)len,
			buf);
		test_ok(ppdb_wait(db, ticket, PPDB_DURABLE, -1));
		test_expect(PPDB_EVICTED, ppdb_view_get(latest, 0, PPDB_S("a"), &item));
		test_expect(PPDB_EVICTED, ppdb_view_check(snapshot));
		test_ok(ppdb_view_refresh(latest));
		test_ok(ppdb_view_get(latest, 0, PPDB_S("a"), &item));
		test_require(item.value.size == (size_t)n && !memcmp(item.value.data, text, (size_t)n), "the view is old");
		ppdb_view_end(latest);
		ppdb_view_end(snapshot);
		test_ok(ppdb_del(fresh, 0, PPDB_S("a"), NULL, NULL));
		test_ok(ppdb_del(fresh, 0, PPDB_S("b"), NULL, NULL));
		ledger_judge(l, fresh);
		test_ok(ppdb_put(fresh, 0, PPDB_S("a"), PPDB_S("begin"), NULL, NULL));
		test_ok(ppdb_detach(fresh));
	}
	test_ok(ppdb_detach(reader));
	test_ok(ppdb_detach(db));
	test_store_check(&s, true);
}

struct writer {
	_Atomic unsigned written, quit;
};

/* Writes all the time, ASYNC; in the end each that it was told is visible must be durable. */
static void write_all_the_time(void *arg)
{
	struct writer *w = arg;
	ppdb *db = test_store_attach(&s, 0);
	ppdb_seq ticket;
	char key[16];

	for (unsigned i = 0; !w->quit; i++) {
		int n = snprintf(key, sizeof(key), "w%08u", i);
		int rc = ppdb_put(db, 0, (ppdb_slice){key, (size_t)n}, PPDB_S("x"), &(ppdb_wopts){.size = sizeof(ppdb_wopts),
			.flags = PPDB_ASYNC, .timeout_ms = 60000}, &ticket);

		test_require(!rc, "put %u: %s: %s", i, test_name_of(rc), test_detail());
		w->written = i + 1;
	}
	test_ok(ppdb_sync(db, -1));
	test_ok(ppdb_detach(db));
}

/* Nothing that a writer was told is visible gets lost when the arena changes under it. */
Test(resize, writers_lose_nothing)
{
	struct writer *w = test_shared(sizeof(*w));
	unsigned found = 0;
	ppdb_view *v;
	ppdb_iter *it;
	ppdb_item item;
	char key[16];
	ppdb *db;
	pid_t pid;
	int rc;

	begin(64);
	pid = test_spawn(write_all_the_time, w);
	for (unsigned round = 0; round < 4; round++) {
		unsigned before = w->written;

		while (w->written < before + 100)
			test_sleep_ms(1);
		test_store_stop(&s);
		options(round % 2 ? 64 : 96);
		start();
	}
	w->quit = 1;
	test_join(pid);
	db = test_store_attach(&s, 0);
	test_ok(ppdb_view_begin(db, PPDB_VIEW_LATEST, &v));
	test_ok(ppdb_iter_open(v, 0, NULL, &it));
	for (rc = ppdb_iter_first(it, &item); !rc; rc = ppdb_iter_next(it, &item), found++) {
		snprintf(key, sizeof(key), "w%08u", found);
		test_require(item.key.size == 9 && !memcmp(item.key.data, key, 9), "after %u keys comes %.*s", found,
			(int)item.key.size, (const char *)item.key.data);
	}
	test_require(found == w->written, "%u keys of %u are there", found, w->written);
	ppdb_iter_close(it);
	ppdb_view_end(v);
	test_ok(ppdb_detach(db));
	test_store_check(&s, true);
}

/* The arena under another path was the store meanwhile: the old file is of no use, though the log has all that it knew of. */
Test(resize, a_stale_arena_is_not_adopted)
{
	struct ledger *l = ledger_new();
	char first[sizeof(s.arena)];
	ppdb *db;

	begin(48);
	memcpy(first, s.arena, sizeof(first));
	for (unsigned round = 0; round < 4; round++) {
		test_say("round %u", round);
		db = test_store_attach(&s, 0);
		for (unsigned i = 0; i < 50; i++)
			test_ok(ledger_put(l, db, round * 30 + i, 500, &async));
		test_ok(ppdb_sync(db, -1));
		test_ok(ppdb_detach(db));
		test_store_stop(&s);
		if (round % 2)
			test_require(!unlink(s.arena), "%s", s.arena); /* so that the file from before is what lies there */
		snprintf(s.arena, sizeof(s.arena), "%.100s%s", first, round % 2 ? "" : ".b");
		start();
		db = test_store_attach(&s, 0);
		ledger_judge(l, db);
		test_ok(ppdb_detach(db));
	}
	test_store_check(&s, true);
}
