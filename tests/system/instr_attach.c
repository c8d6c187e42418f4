/*
 * instr_attach.c - a real client of a real ppdbd, killed or stopped at instructions from its attach to its detach.
 *
 * A first run is stepped through and recorded; then new clients run until a breakpoint at one of the recorded instructions and end there by
 * SIGKILL, or stand still there while others work, and go on. Others read and write the same key at once; what the dead held comes back:
 * slots, records, memory. tests/unit/instr_client.c tries every instruction of every operation inside one process; here attach, detach and
 * what the library does around the operations are added, with the real deaths.
 *
 * Default: a sample. PPDB_TEST_SCALE = 10 (make crash): ten times as many. PPDB_INSTR=NAME[:STEP] as there.
 */
#include "client/ppdb.h"
#include "tests/lib/crew.h"
#include "tests/lib/instr.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef INSTR_POSSIBLE

#define POINTS 400000
#define PASSAGES 60            /* an instruction of a loop that is passed more often is taken at an earlier passage */
#define ADDRESSES (1 << 17)
#define PROMPT_NS UINT64_C(20000000000)
#define SETTLE_EVERY 10

static struct test_store s;

TestSuite(instr_attach, .fini = test_stores_end, .timeout = 7200);

struct point {
	uint64_t at;
	unsigned passage;
};

static struct point *point;
static unsigned points;

/* ---- clients ------------------------------------------------------------------------------------------------------ */

static ppdb_slice text(const char *t)
{
	return (ppdb_slice){t, strlen(t)};
}

static void scan(ppdb *db, uint32_t flags)
{
	ppdb_item item;
	ppdb_view *v;
	ppdb_iter *it;

	test_ok(ppdb_view_begin(db, flags, &v));
	test_ok(ppdb_iter_open(v, 0, NULL, &it));
	test_ok(ppdb_iter_first(it, &item));
	test_ok(ppdb_iter_next(it, &item));
	ppdb_iter_close(it);
	ppdb_view_end(v);
}

static void writer(void *arg)
{
	ppdb *db = test_store_attach(&s, 0);
	char value[64];
	size_t n;

	(void)arg;
	test_ok(ppdb_get(db, 0, text("key/05"), value, sizeof(value), &n));
	test_ok(ppdb_put(db, 0, text("shared"), text("victim"), NULL, NULL));
	scan(db, PPDB_VIEW_LATEST);
	test_ok(ppdb_detach(db));
}

static void reader(void *arg)
{
	ppdb *db = test_store_attach(&s, PPDB_RDONLY);
	char value[64];
	size_t n;

	(void)arg;
	test_ok(ppdb_get(db, 0, text("key/05"), value, sizeof(value), &n));
	scan(db, PPDB_VIEW_LATEST);
	scan(db, PPDB_VIEW_SNAPSHOT);
	test_ok(ppdb_detach(db));
}

/* What waits in event loops, and follows. */
static void follower(void *arg)
{
	ppdb *db = test_store_attach(&s, 0);
	const ppdb_wopts async = {.size = sizeof(async), .flags = PPDB_ASYNC};
	ppdb_feed_opts o = {.size = sizeof(o), .flags = PPDB_FEED_SEQ, .bookmark = "follower", .prefix = text("key/")};
	ppdb_completion done;
	ppdb_change change;
	ppdb_feed *feed;
	ppdb_seq ticket;
	ppdb_cq *cq;
	size_t n = 0;

	(void)arg;
	test_ok(ppdb_cq_open(db, NULL, &cq));
	test_ok(ppdb_put(db, 0, text("shared"), text("victim"), &async, &ticket));
	test_ok(ppdb_cq_submit(cq, ticket, PPDB_DURABLE, NULL));
	while (!n) {
		struct pollfd p = {.fd = ppdb_cq_fd(cq), .events = POLLIN};

		poll(&p, 1, 1000);
		test_ok(ppdb_cq_reap(cq, &done, 1, &n));
	}
	test_ok(done.result);
	ppdb_cq_close(cq);
	test_ok(ppdb_feed_open(db, &o, &feed));
	while (!ppdb_feed_next(feed, &change))
		test_require(change.value.size == 5 && !memcmp(change.value.data, "value", 5), "a change that nobody made");
	test_ok(ppdb_feed_ack(feed));
	ppdb_feed_close(feed);
	test_ok(ppdb_detach(db));
}

/* ---- recording ---------------------------------------------------------------------------------------------------- */

static unsigned passage_of(uint64_t at)
{
	static struct { uint64_t at; unsigned count; } *seen;
	unsigned i = (unsigned)(at * UINT64_C(0x9e3779b97f4a7c15) >> 47) % ADDRESSES;

	if (!seen || !at) {
		free(seen);
		seen = calloc(ADDRESSES, sizeof(*seen));
	}
	while (seen[i].at && seen[i].at != at)
		i = (i + 1) % ADDRESSES;
	seen[i].at = at;
	return ++seen[i].count;
}

static bool record(void (*client)(void *))
{
	struct instr v;

	points = 0;
	point = realloc(point, POINTS * sizeof(*point));
	passage_of(0);
	if (!instr_start(&v, client, NULL, NULL, 0))
		return false;
	while (instr_step(&v) != INSTR_ENDED) {
		unsigned passage = passage_of(v.at);

		if (points < POINTS)
			point[points++] = (struct point){v.at, passage < PASSAGES ? passage : PASSAGES};
	}
	return true;
}

/* ---- one death, one stop ------------------------------------------------------------------------------------------- */

/* Others at once: what they read was written by somebody, what they write stands. */
static void others(ppdb *db, unsigned n)
{
	uint64_t begin = test_now_ns();
	char value[64], mine[32];
	size_t size;

	test_ok(ppdb_get(db, 0, text("shared"), value, sizeof(value), &size));
	test_require((size == 6 && !memcmp(value, "victim", 6)) || (size > 6 && !memcmp(value, "other ", 6)), "shared holds %.*s", (int)size,
		value);
	snprintf(mine, sizeof(mine), "other %u", n);
	test_ok(ppdb_put(db, 0, text("shared"), text(mine), NULL, NULL));
	test_ok(ppdb_get(db, 0, text("key/05"), value, sizeof(value), &size));
	scan(db, n & 1 ? PPDB_VIEW_LATEST : PPDB_VIEW_SNAPSHOT);
	test_require(test_now_ns() - begin < PROMPT_NS, "others took %" PRIu64 " ms", (test_now_ns() - begin) / 1000000);
}

static void must_hold(ppdb *db, unsigned n, bool victim_too)
{
	char value[64], mine[32];
	size_t size;

	snprintf(mine, sizeof(mine), "other %u", n);
	test_ok(ppdb_get(db, 0, text("shared"), value, sizeof(value), &size));
	test_require((size == strlen(mine) && !memcmp(value, mine, size)) || (victim_too && size == 6), "shared holds %.*s after %s", (int)size,
		value, mine);
}

/* True if the client came by that point. */
static bool one(ppdb *db, void (*client)(void *), const struct point *p, unsigned n, bool stop)
{
	struct instr v;
	int status;

	test_require(instr_start(&v, client, NULL, NULL, 0), "tracing");
	test_say("%s at %s, passage %u", stop ? "stopped" : "killed", instr_place(p->at), p->passage);
	if (!instr_run_to(&v, p->at, p->passage))
		return false;
	if (stop) {
		others(db, n);
		instr_release(&v);
		instr_wait(&v, true, &status);
		test_require(!status, "the client that was stopped at %s ended with %#x", instr_place(p->at), (unsigned)status);
		must_hold(db, n, true);
	} else {
		instr_kill(&v);
		others(db, n);
		must_hold(db, n, false);
	}
	return true;
}

static void run(const char *name, void (*client)(void *), const char *options)
{
	struct test_random r;
	unsigned tries, hits = 0, stops = 0;
	uint64_t step;
	ppdb *db;

	if (!instr_chosen(name, &step))
		return;
	test_begin(1800);
	r = test_random(test_seed(), 1);
	test_store_start(&s, options);
	db = test_store_attach(&s, 0);
	for (unsigned i = 0; i < 20; i++) {
		char key[16];

		snprintf(key, sizeof(key), "key/%02u", i);
		test_ok(ppdb_put(db, 0, text(key), text("value"), NULL, NULL));
	}
	test_ok(ppdb_put(db, 0, text("shared"), text("other 0"), NULL, NULL));
	if (!record(client))
		cr_skip_test("tracing is not allowed here");
	tries = step ? 1 : (unsigned)test_scale(40);
	for (unsigned i = 0; i < tries; i++) {
		unsigned at = step ? (unsigned)step : (unsigned)test_below(&r, points);
		bool stop = test_chance(&r, 30);

		test_require(at < points, "there are only %u instructions", points);
		if (one(db, client, &point[at], i, stop)) {
			hits++;
			stops += stop;
		}
		if (i % SETTLE_EVERY == SETTLE_EVERY - 1)
			crew_settled("after the deaths", db, 2, 5);
	}
	crew_settled("after the deaths", db, 2, 5);
	test_store_check(&s, true);
	test_ok(ppdb_detach(db));
	test_store_stop(&s);
	test_require(hits > tries / 3, "only %u of %u clients came by their points", hits, tries);
	fprintf(stderr, "%s: %u instructions from attach to detach; %u clients killed, %u stopped at one of them\n", name, points, hits - stops, stops);
}

Test(instr_attach, writer)
{
	run("writer", writer, "--sync lockfree --memory 32M");
}

Test(instr_attach, writer_mutex)
{
	run("writer_mutex", writer, "--sync mutex --memory 32M");
}

Test(instr_attach, follower)
{
	run("follower", follower, "--memory 32M");
}

Test(instr_attach, reader)
{
	run("reader", reader, "--memory 32M");
}

#endif
