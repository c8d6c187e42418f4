/*
 * pins.c - budgets of what a client may keep from being freed: one that is stopped beyond it loses what it held, memory comes back, and when
 * it wakes it is told so: never another value than one that was there, never a crash. One within its budget keeps everything.
 */
#include "client/ppdb.h"
#include "shm/fault.h"
#include "tests/lib/store.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(pins, .fini = test_stores_end, .timeout = 300);

#define KEYS 3000
#define BIG 32                               /* of them have values in pages of their own */

static struct test_store s;
static const ppdb_wopts async = {.size = sizeof(async), .flags = PPDB_ASYNC, .timeout_ms = 20000};

/* ---- values that tell what they are */

static ppdb_slice key_of(unsigned k, char text[16])
{
	return (ppdb_slice){text, (size_t)snprintf(text, 16, "k%07u", k)};
}

static size_t size_of(unsigned k, unsigned round)
{
	return k < BIG ? 70000 + (k * 977 + round * 3001) % 60000 : 40 + (k * 7 + round * 13) % 900;
}

static void put(ppdb *db, unsigned k, unsigned round)
{
	static uint8_t value[200000];
	uint32_t head[4] = {k, round, (uint32_t)size_of(k, round), k ^ round};
	char text[16];
	int rc;

	memset(value, (int)(k * 31 + round) & 0xff, head[2]);
	memcpy(value, head, sizeof(head));
	for (unsigned tries = 0; (rc = ppdb_put(db, 0, key_of(k, text), (ppdb_slice){value, head[2]}, &async, NULL)) && tries < 3000; tries++) {
		test_require(rc == PPDB_FULL || rc == PPDB_OVERLOAD, "%s: %s", test_name_of(rc), test_detail());
		test_sleep_ms(5); /* a round must give back what was overwritten */
	}
	test_ok(rc);
}

static void put_all(ppdb *db, unsigned round)
{
	for (unsigned k = 0; k < KEYS; k++)
		put(db, k, round);
}

/* The round of a value of key k, which must be whole. */
static unsigned judge(unsigned k, const void *data, size_t size)
{
	uint32_t head[4];
	const uint8_t *bytes = data;

	test_require(size >= sizeof(head), "key %u: %zu bytes", k, size);
	memcpy(head, data, sizeof(head));
	test_require(head[0] == k && head[3] == (head[0] ^ head[1]) && head[2] == size && size == size_of(k, head[1]),
		"key %u holds {%u, %u, %u, %u} in %zu bytes", k, head[0], head[1], head[2], head[3], size);
	for (size_t i = sizeof(head); i < size; i++)
		test_require(bytes[i] == (uint8_t)(k * 31 + head[1]), "key %u, round %u: byte %zu is %u", k, head[1], i, bytes[i]);
	return head[1];
}

static void begin(const char *budget)
{
	test_begin(250);
	test_store_prepare(&s, "");
	snprintf(s.options, sizeof(s.options), "--memory 64M --slots 32 --wal-segment 8M --checkpoint-bytes 64M %s", budget);
	test_require(!test_store_try(&s), "ppdbd did not start");
}

/* A number of the client with this pid. */
static uint64_t client_number(pid_t pid, const char *name)
{
	static char out[65536];
	char find[32], *at, *to;

	test_require(!test_store_command(&s, "clients --json", out, sizeof(out)), "ppdb clients failed: %s", out);
	snprintf(find, sizeof(find), "\"pid\":%d,", (int)pid);
	for (to = at = out; *at; at++)
		if (*at != ' ')
			*to++ = *at;
	*to = '\0';
	at = strstr(out, find);
	test_require(at, "no client %d in %s", (int)pid, out);
	snprintf(find, sizeof(find), "\"%s\":", name);
	at = strstr(at, find);
	test_require(at, "no %s in %s", name, out);
	at += strlen(find);
	return !strncmp(at, "true", 4) ? 1 : strtoull(at, NULL, 10);
}

static void await_stopped(pid_t pid)
{
	int status;

	test_require(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status), "process %d did not stop", (int)pid);
}

static void await_client(pid_t pid, const char *name, uint64_t at_least)
{
	for (unsigned i = 0; i < 1500 && client_number(pid, name) < at_least; i++)
		test_sleep_ms(20);
	test_require(client_number(pid, name) >= at_least, "%s of %d is %" PRIu64, name, (int)pid, client_number(pid, name));
}

/* ---- a reader that stops between two calls */

struct reader {
	uint32_t flags, view;
	bool evicted;                        /* expected */
	bool over;                           /* its budget is used up: between two calls it may lose its view */
	const char *fault;                   /* where it stops by itself; NULL: with its view open */
};

/* Is what was handed out of the first round? A view that is taken between two calls may hold anything: then it says so. */
static bool unchanged(const struct reader *r, ppdb_view *v, unsigned k, const ppdb_item *item)
{
	static uint8_t copy[200000];
	int rc;

	test_require(item->value.size <= sizeof(copy), "key %u: %zu bytes", k, item->value.size);
	memcpy(copy, item->value.data, item->value.size);
	rc = ppdb_view_check(v);
	if (rc == PPDB_EVICTED && r->over)
		return true;
	test_ok(rc);
	return judge(k, copy, item->value.size) == 0;
}

static void hold_and_stop(void *arg)
{
	struct reader *r = arg;
	ppdb *db = test_store_attach(&s, r->flags);
	ppdb_item first, item, other;
	ppdb_view *v;
	ppdb_iter *it;
	char text[16];
	unsigned k = 0;
	int rc;

	test_ok(ppdb_view_begin(db, r->view, &v));
	test_ok(ppdb_view_get(v, 0, key_of(7, text), &first));
	test_ok(ppdb_iter_open(v, 0, NULL, &it));
	test_ok(ppdb_iter_first(it, &item));
	test_require(judge(0, item.value.data, item.value.size) == 0, "another round");
	if (r->fault) {
		test_require(!pp_fault_set(r->fault), "%s is not understood", r->fault);
		rc = ppdb_view_get(v, 0, key_of(9, text), &other);
		test_require(!pp_fault_set(NULL), "cannot clear");
		test_require(rc == (r->evicted ? PPDB_EVICTED : 0), "a get in which it was stopped: %s", test_name_of(rc));
		test_require(rc || unchanged(r, v, 9, &other), "a value of another round");
	} else {
		raise(SIGSTOP);
	}
	if (!r->evicted) {
		bool latest = r->view == PPDB_VIEW_LATEST;

		for (rc = 0; !rc; rc = ppdb_iter_next(it, &item), k++)
			test_require(latest || unchanged(r, v, k, &item), "key %u of another round", k);
		test_require((rc == PPDB_NOTFOUND && k == KEYS) || (rc == PPDB_EVICTED && r->over), "%u keys, then %s", k, test_name_of(rc));
		test_require(unchanged(r, v, 7, &first), "what was handed out has changed");
	} else {
		test_expect(PPDB_EVICTED, ppdb_view_check(v));
		test_expect(PPDB_EVICTED, ppdb_view_get(v, 0, key_of(7, text), &item));
		test_expect(PPDB_EVICTED, ppdb_iter_next(it, &item));
		test_ok(ppdb_view_refresh(v));
		test_expect(PPDB_EVICTED, ppdb_iter_next(it, &item)); /* where it stood is not known */
		for (rc = ppdb_iter_first(it, &item); !rc; rc = ppdb_iter_next(it, &item))
			judge(k++, item.value.data, item.value.size);
		test_require(rc == PPDB_NOTFOUND && k == KEYS, "%u keys, then %s", k, test_name_of(rc));
		test_ok(ppdb_view_check(v));
	}
	ppdb_iter_close(it);
	ppdb_view_end(v);
	test_ok(ppdb_detach(db));
}

/* Overwrites until what the reader saw has become something else several times over. */
static void churn(ppdb *db, unsigned first, unsigned rounds)
{
	for (unsigned i = 0; i < rounds; i++)
		put_all(db, first + i);
	test_ok(ppdb_sync(db, -1));
}

static void evict_one(struct reader *r, const char *budget)
{
	ppdb *db;
	pid_t pid;

	begin(budget);
	db = test_store_attach(&s, 0);
	put_all(db, 0);
	test_ok(ppdb_sync(db, -1));
	pid = test_spawn(hold_and_stop, r);
	await_stopped(pid);
	test_say("churning while it is stopped");
	churn(db, 1, 2);
	await_client(pid, r->flags & PPDB_RDONLY ? "evicted" : "evictions", 1);
	churn(db, 3, 8);
	for (unsigned i = 0; i < 1500 && client_number(pid, "pinned_bytes"); i++)
		test_sleep_ms(20);
	test_store_check(&s, true); /* nothing is left in limbo for it */
	test_say("it wakes");
	kill(pid, SIGCONT);
	test_join(pid);
	test_ok(ppdb_detach(db));
	test_store_check(&s, true);
}

Test(pins, stopped_reader_loses_its_view)
{
	evict_one(&(struct reader){PPDB_RDONLY, PPDB_VIEW_LATEST, true, false, NULL}, "--pin-seconds 2");
}

Test(pins, stopped_reader_loses_its_snapshot)
{
	evict_one(&(struct reader){PPDB_RDONLY, PPDB_VIEW_SNAPSHOT, true, false, NULL}, "--pin-bytes 1M");
}

Test(pins, reader_stopped_inside_a_call)
{
	if (!pp_fault_built())
		cr_skip_test("this build has no fault points");
	evict_one(&(struct reader){PPDB_RDONLY, PPDB_VIEW_SNAPSHOT, true, false, "read.found=stop:1"}, "--pin-seconds 2");
}

Test(pins, reader_stopped_inside_a_call_by_bytes)
{
	if (!pp_fault_built())
		cr_skip_test("this build has no fault points");
	evict_one(&(struct reader){PPDB_RDONLY, PPDB_VIEW_LATEST, true, false, "read.found=stop:1"}, "--pin-bytes 256K");
}

Test(pins, idle_view_of_a_writer_is_taken)
{
	evict_one(&(struct reader){0, PPDB_VIEW_LATEST, true, false, NULL}, "--pin-seconds 2");
}

Test(pins, idle_snapshot_of_a_writer_is_taken)
{
	evict_one(&(struct reader){0, PPDB_VIEW_SNAPSHOT, true, false, NULL}, "--pin-bytes 1M");
}

static void keep_one(struct reader *r, const char *budget)
{
	ppdb *db;
	pid_t pid;

	begin(budget);
	snprintf(s.options, sizeof(s.options), "--memory 64M %s", budget);
	db = test_store_attach(&s, 0);
	put_all(db, 0);
	test_ok(ppdb_sync(db, -1));
	pid = test_spawn(hold_and_stop, r);
	await_stopped(pid);
	churn(db, 1, 8);
	test_sleep_ms(2500);
	test_require(!client_number(pid, "evictions"), "evicted");
	await_client(pid, "pinned_bytes", 100000);
	kill(pid, SIGCONT);
	test_join(pid);
	test_ok(ppdb_detach(db));
	test_store_check(&s, true);
}

Test(pins, below_the_budget_everything_stays)
{
	keep_one(&(struct reader){PPDB_RDONLY, PPDB_VIEW_SNAPSHOT, false, false, NULL}, "--pin-seconds 3600 --pin-bytes 1G");
}

Test(pins, without_a_budget_everything_stays)
{
	keep_one(&(struct reader){PPDB_RDONLY, PPDB_VIEW_LATEST, false, false, NULL}, "--pin-seconds 0");
}

/* It may be about to look at what it holds: reported, not touched. */
Test(pins, writer_inside_a_call_is_left_alone)
{
	if (!pp_fault_built())
		cr_skip_test("this build has no fault points");
	keep_one(&(struct reader){0, PPDB_VIEW_SNAPSHOT, false, true, "read.found=stop:1"}, "--pin-seconds 1 --pin-bytes 1M");
}

/* ---- many, stopped anywhere */

struct crowd {
	_Atomic uint32_t quit, attached;
	_Atomic uint64_t reads, refusals;
};

static void judge_view(struct crowd *c, ppdb_view *v, struct test_random *r)
{
	unsigned from = (unsigned)test_below(r, KEYS), k = from;
	ppdb_item item;
	ppdb_iter *it;
	char text[16];
	int rc = ppdb_iter_open(v, 0, NULL, &it);

	if (rc == PPDB_EVICTED) {
		c->refusals++;
		return;
	}
	test_ok(rc);
	for (rc = ppdb_iter_seek(it, key_of(from, text), &item); !rc && k < from + 300; rc = ppdb_iter_next(it, &item), k++) {
		static uint8_t copy[200000];

		test_require(item.value.size <= sizeof(copy), "%zu bytes", item.value.size);
		memcpy(copy, item.value.data, item.value.size);
		if (ppdb_view_check(v)) /* read in place, and looked whether that was right */
			break;
		judge(k, copy, item.value.size);
		c->reads++;
	}
	if (rc == PPDB_EVICTED || ppdb_view_check(v) == PPDB_EVICTED)
		c->refusals++;
	else
		test_require(!rc || rc == PPDB_NOTFOUND, "%s: %s", test_name_of(rc), test_detail());
	ppdb_iter_close(it);
}

static void read_in_the_crowd(void *arg)
{
	struct crowd *c = arg;
	struct test_random r = test_random(test_seed(), (uint64_t)getpid());
	ppdb *db = test_store_attach(&s, PPDB_RDONLY);
	static uint8_t buf[200000];
	ppdb_view *v;
	char text[16];
	size_t len;
	int rc;

	c->attached++;
	while (!c->quit) {
		unsigned k = (unsigned)test_below(&r, KEYS);

		rc = ppdb_get(db, 0, key_of(k, text), buf, sizeof(buf), &len);
		c->refusals += rc == PPDB_EVICTED;
		test_require(!rc || rc == PPDB_EVICTED, "get: %s: %s", test_name_of(rc), test_detail());
		if (!rc)
			judge(k, buf, len);
		rc = ppdb_view_begin(db, test_chance(&r, 50) ? PPDB_VIEW_LATEST : PPDB_VIEW_SNAPSHOT, &v);
		c->refusals += rc == PPDB_EVICTED;
		test_require(!rc || rc == PPDB_EVICTED, "view: %s: %s", test_name_of(rc), test_detail());
		if (rc)
			continue;
		judge_view(c, v, &r);
		ppdb_view_end(v);
	}
	test_ok(ppdb_detach(db));
}

Test(pins, crowd)
{
	struct crowd *c = test_shared(sizeof(*c));
	struct test_random r;
	uint64_t evictions = 0, reads;
	pid_t pid[4];
	ppdb *db;

	begin("--pin-seconds 1");
	r = test_random(test_seed(), 1);
	db = test_store_attach(&s, 0);
	put_all(db, 0);
	for (unsigned i = 0; i < 4; i++)
		pid[i] = test_spawn(read_in_the_crowd, c);
	while (c->attached < 4)
		test_sleep_ms(2);
	for (unsigned round = 0; round < test_scale(6); round++) {
		test_say("round %u, %" PRIu64 " reads, %" PRIu64 " refusals", round, c->reads, c->refusals);
		test_sleep_ms((unsigned)test_below(&r, 30));
		for (unsigned i = 0; i < 4; i++)
			kill(pid[i], SIGSTOP);
		for (uint64_t end = test_now_ns() + 1800000000; test_now_ns() < end;)
			put_all(db, round * 10 + (unsigned)test_below(&r, 10));
		for (unsigned i = 0; i < 4; i++)
			evictions += client_number(pid[i], "evictions");
		put_all(db, round);
		reads = c->reads;
		for (unsigned i = 0; i < 4; i++)
			kill(pid[i], SIGCONT);
		for (unsigned i = 0; i < 2000 && c->reads < reads + 1000; i++)
			test_sleep_ms(5);
		test_require(c->reads >= reads + 1000, "the readers stand still");
	}
	c->quit = 1;
	for (unsigned i = 0; i < 4; i++)
		test_join(pid[i]);
	test_require(evictions, "nobody was ever evicted");
	test_ok(ppdb_detach(db));
	test_store_check(&s, true);
}
