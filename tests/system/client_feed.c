/*
 * client_feed.c (test) - the change feed from outside: what a follower builds from it equals a dump of the store at the same position, while
 * writers and the daemon are killed, stopped and restarted; nothing is missed and nothing comes twice where the log on disk and the
 * present meet; bookmarks hold the log up to their cap; the past that is gone is called so.
 */
#include "shm/fault.h"
#include "tests/lib/store.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEYS 300

static struct test_store s;
static const ppdb_wopts async = {.size = sizeof(async), .flags = PPDB_ASYNC};

TestSuite(client_feed, .fini = test_stores_end, .timeout = 600);

static ppdb_slice slice(const char *text)
{
	return (ppdb_slice){text, strlen(text)};
}

static unsigned number_of(ppdb_slice key)
{
	char text[32] = "";

	test_require(key.size > 4 && key.size < sizeof(text) && !memcmp(key.data, "key ", 4), "a key that nobody wrote");
	memcpy(text, (const char *)key.data + 4, key.size - 4);
	return (unsigned)strtoul(text, NULL, 10);
}

static bool tolerable(int rc)
{
	return rc == 0 || rc == PPDB_NOTFOUND || rc == PPDB_DAEMON_GONE || rc == PPDB_LOST || rc == PPDB_TIMEOUT || rc == PPDB_OVERLOAD ||
	       rc == PPDB_TYPE || rc == PPDB_EXISTS || rc == -ENOSPC || rc == -EBUSY;
}

/* ---- writers ---- */

static void write_for_ever(void *arg)
{
	struct test_random r = test_random(test_seed(), 100 + (uint64_t)(uintptr_t)arg);
	ppdb *db = test_store_attach(&s, 0);
	char key[32], value[400];

	for (uint64_t n = 0;; n++) {
		uint64_t kind = test_below(&r, 10);
		int size = snprintf(value, sizeof(value), "%llu", (unsigned long long)n), rc;
		ppdb_wopts sync = {.size = sizeof(sync), .timeout_ms = 2000};
		const ppdb_wopts *o = test_chance(&r, 3) ? &sync : &async;

		snprintf(key, sizeof(key), "key %llu", (unsigned long long)test_below(&r, KEYS));
		if (kind < 6) {
			memset(value + size, 'v', sizeof(value) - (size_t)size);
			rc = ppdb_put(db, 0, slice(key), (ppdb_slice){value, (size_t)size + test_below(&r, 300)}, o, NULL);
		} else if (kind < 8) {
			rc = ppdb_del(db, 0, slice(key), o, NULL);
		} else {
			rc = ppdb_add_i64(db, 0, slice(key), 1, 0, o, NULL, NULL);
		}
		test_require(tolerable(rc), "a write gave %s: %s", ppdb_errname(rc), ppdb_errdetail());
		if (n % 64 == 0)
			usleep(200);
	}
}

/* ---- a follower's copy ---- */

struct copy {
	struct { bool there; uint64_t version; size_t size; char *value; } key[KEYS];
	ppdb_change pending;               /* handed out, but behind where the copy stands */
	bool has_pending;
	char *pending_bytes;
	uint64_t seq, changes;
};

static void apply(struct copy *c, const ppdb_change *change)
{
	unsigned n = number_of(change->key);

	test_require(n < KEYS, "key %u", n);
	test_require(change->version > c->key[n].version, "key %u: version %llu after %llu: %s", n, (unsigned long long)change->version,
		     (unsigned long long)c->key[n].version, change->version == c->key[n].version ? "twice" : "the wrong way round");
	test_require(change->seq >= c->seq, "position %llu after %llu", (unsigned long long)change->seq, (unsigned long long)c->seq);
	free(c->key[n].value);
	c->key[n].there = !(change->flags & PPDB_CHANGE_DELETED);
	c->key[n].version = change->version;
	c->key[n].size = change->value.size;
	c->key[n].value = malloc(change->value.size + 1);
	if (change->value.size)
		memcpy(c->key[n].value, change->value.data, change->value.size);
	c->seq = change->seq;
	c->changes++;
}

/* One call of ppdb_feed_next; a change behind `up_to` is kept for later. False: it has come there. */
static bool advance(struct copy *c, ppdb_feed *feed, ppdb_seq up_to)
{
	struct pollfd p = {.fd = ppdb_feed_fd(feed), .events = POLLIN};
	ppdb_feed_behind lag;
	ppdb_change change;
	int rc;

	if (c->has_pending) {
		if (c->pending.seq > up_to)
			return false;
		apply(c, &c->pending);
		c->has_pending = false;
		return true;
	}
	rc = ppdb_feed_next(feed, &change);
	if (rc == PPDB_NOTFOUND) {
		test_ok(ppdb_feed_lag(feed, &lag));
		if (lag.seq >= up_to)
			return false;
		poll(&p, 1, -1); /* a tick that is lost shows as a hang */
		return true;
	}
	test_require(!rc, "ppdb_feed_next gave %s: %s", ppdb_errname(rc), ppdb_errdetail());
	if (change.seq > up_to) {
		c->pending = change;
		free(c->pending_bytes);
		c->pending_bytes = malloc(change.key.size + 1 + change.value.size);
		memcpy(c->pending_bytes, change.key.data, change.key.size);
		c->pending_bytes[change.key.size] = '\0';
		if (change.value.size)
			memcpy(c->pending_bytes + change.key.size + 1, change.value.data, change.value.size);
		c->pending.key.data = c->pending_bytes;
		c->pending.value.data = c->pending_bytes + change.key.size + 1;
		c->has_pending = true;
		return false;
	}
	apply(c, &change);
	return true;
}

/* The copy at the snapshot's position against the snapshot. */
static void compare_with(struct copy *c, ppdb_view *view, ppdb_feed *feed)
{
	bool seen[KEYS] = {false};
	ppdb_seq at = ppdb_view_seq(view);
	ppdb_iter *it;
	ppdb_item item;
	int rc;

	if (at < c->seq) /* the follower is ahead of what this handle saw */
		return;
	while (advance(c, feed, at))
		;
	rc = ppdb_iter_open(view, 0, NULL, &it);
	if (rc == PPDB_EVICTED) /* a cold start gave the store another arena */
		return;
	test_ok(rc);
	for (rc = ppdb_iter_first(it, &item); !rc; rc = ppdb_iter_next(it, &item)) {
		unsigned n = number_of(item.key);

		seen[n] = true;
		test_require(c->key[n].there && c->key[n].version == item.version && c->key[n].size == item.value.size &&
			     !memcmp(c->key[n].value, item.value.data, item.value.size),
			     "key %u at %llu: the store has version %llu, the follower %s version %llu", n, (unsigned long long)at,
			     (unsigned long long)item.version, c->key[n].there ? "a value of" : "a removal of",
			     (unsigned long long)c->key[n].version);
	}
	test_require(rc == PPDB_NOTFOUND || rc == PPDB_EVICTED, "%s", ppdb_errname(rc));
	for (unsigned n = 0; rc == PPDB_NOTFOUND && n < KEYS; n++)
		test_require(seen[n] || !c->key[n].there, "key %u at %llu: removed in the store, the follower has version %llu", n,
			     (unsigned long long)at, (unsigned long long)c->key[n].version);
	ppdb_iter_close(it);
}

static void compare(struct copy *c, ppdb *db, ppdb_feed *feed)
{
	ppdb_view *view;
	int rc = ppdb_view_begin(db, PPDB_VIEW_SNAPSHOT, &view);

	if (rc) {
		test_require(tolerable(rc) || rc == PPDB_EVICTED, "a snapshot gave %s", ppdb_errname(rc));
		return;
	}
	compare_with(c, view, feed);
	ppdb_view_end(view);
}

static void replay(const char *options, unsigned rounds, uint32_t flags, bool deaths)
{
	ppdb_feed_opts from = {.size = sizeof(from), .flags = PPDB_FEED_SEQ};
	struct copy *c = calloc(1, sizeof(*c));
	struct test_random r;
	pid_t writer[3];
	ppdb_feed *feed;
	ppdb *db;

	test_begin(300);
	r = test_random(test_seed(), 1);
	test_store_start(&s, options);
	db = test_store_attach(&s, flags);
	test_ok(ppdb_feed_open(db, &from, &feed));
	for (unsigned i = 0; i < 3; i++)
		writer[i] = test_spawn(write_for_ever, (void *)(uintptr_t)i);
	for (unsigned round = 0; round < rounds; round++) {
		unsigned w = (unsigned)test_below(&r, 3);

		test_say("round %u, %llu changes", round, (unsigned long long)c->changes);
		for (uint64_t n = test_below(&r, 3000); n && advance(c, feed, UINT64_MAX); n--)
			;
		compare(c, db, feed);
		if (!deaths)
			continue;
		switch (test_below(&r, 6)) {
		case 0:
			test_kill(writer[w]);
			writer[w] = test_spawn(write_for_ever, (void *)(uintptr_t)(10 * round + w));
			break;
		case 1:
			kill(writer[w], SIGSTOP);
			compare(c, db, feed);
			kill(writer[w], SIGCONT);
			break;
		case 2:
			kill(s.daemon, SIGSTOP);
			test_sleep_ms(20);
			kill(s.daemon, SIGCONT);
			break;
		case 3:
			test_store_restart(&s);
			break;
		case 4:
			test_store_cold(&s);
			break;
		}
	}
	for (unsigned i = 0; i < 3; i++)
		test_kill(writer[i]);
	compare(c, db, feed);
	cr_log_info("%llu changes", (unsigned long long)c->changes);
	test_require(c->changes > rounds, "only %llu changes", (unsigned long long)c->changes);
	ppdb_feed_close(feed);
	test_ok(ppdb_detach(db));
}

Test(client_feed, replay)
{
	replay("--memory 128M --wal-segment 1M --feed-hold 0 --checkpoint-bytes 1G", (unsigned)test_scale(60), 0, false);
}

Test(client_feed, replay_by_a_reader)
{
	replay("--memory 128M --wal-segment 64K --checkpoint-bytes 1G --shards 4 --strategy hash", (unsigned)test_scale(60), PPDB_RDONLY,
	       false);
}

Test(client_feed, replay_with_deaths)
{
	replay("--memory 128M --wal-segment 1M --checkpoint-bytes 1G", (unsigned)test_scale(50), 0, true);
}

/*
 * The daemon dies when an epoch is settled and not yet in the log; two handles, each with a ring, have written in it, and go on writing in the next one,
 * which nobody closes. So the next daemon inherits two epochs from each ring. A snapshot of the first, held over the warm restart, has its writes; the
 * follower must get them at that position, though the next daemon logs them, and what was written later behind it.
 */
static ppdb_seq put_both(ppdb *db[2], unsigned n, ppdb_seq *other)
{
	ppdb_seq ticket[2];

	for (unsigned i = 0; i < 2; i++) {
		char key[32];

		snprintf(key, sizeof(key), "key %u", (2 * n + i) % KEYS);
		test_ok(ppdb_put(db[i], 0, slice(key), slice(key), &async, &ticket[i]));
	}
	*other = ticket[0];
	return ticket[1];
}

/* False: it died in another round than that of a write of ours. */
static bool inherit(ppdb *db[2])
{
	ppdb_feed_opts from = {.size = sizeof(from), .flags = PPDB_FEED_SEQ};
	struct copy *c = calloc(1, sizeof(*c));
	ppdb_seq settled = 0, later, other;
	ppdb_view *view;
	ppdb_feed *feed;
	unsigned n = 0;
	int rc;

	do {
		kill(s.daemon, SIGSTOP); /* both writes get the epoch that is open now */
		settled = put_both(db, n++, &other);
		kill(s.daemon, SIGCONT);
		do {
			rc = ppdb_wait(db[1], settled, PPDB_DURABLE, INT64_C(100000000));
			if (rc && test_collect(s.daemon, false) != -1)
				s.daemon = 0;
		} while (rc && s.daemon);
	} while (!rc && n < 2000);
	test_require(rc == PPDB_DAEMON_GONE || rc == PPDB_TIMEOUT, "waiting gave %s", test_name_of(rc));
	if (other != settled || ppdb_reached(db[1], PPDB_VISIBLE) != settled || ppdb_reached(db[1], PPDB_DURABLE) >= settled) {
		free(c);
		return false;
	}
	test_ok(ppdb_view_begin(db[1], PPDB_VIEW_SNAPSHOT, &view));
	test_require(ppdb_view_seq(view) == settled, "the snapshot is at %llu, not %llu", (unsigned long long)ppdb_view_seq(view),
		     (unsigned long long)settled);
	for (unsigned i = 0; i < 3; i++)
		later = put_both(db, n++, &other);
	test_require(later == other && later > settled, "tickets %llu and %llu after %llu", (unsigned long long)other, (unsigned long long)later,
		     (unsigned long long)settled);
	test_store_restart(&s);
	test_ok(ppdb_feed_open(db[1], &from, &feed));
	compare_with(c, view, feed);
	ppdb_view_end(view);
	test_require(c->changes && c->seq == settled, "the last change up to the snapshot is at %llu, its ticket is %llu",
		     (unsigned long long)c->seq, (unsigned long long)settled);
	while (advance(c, feed, later))
		;
	test_require(c->seq == later && c->changes == 2 * n + 2, "%llu changes, the last at %llu; %u were made, the last at %llu",
		     (unsigned long long)c->changes, (unsigned long long)c->seq, 2 * n + 2, (unsigned long long)later);
	ppdb_feed_close(feed);
	free(c);
	return true;
}

Test(client_feed, inherited_epochs)
{
	bool met = false;

	if (!pp_fault_built())
		cr_skip_test("this build has no fault points");
	test_begin(250);
	for (unsigned attempt = 0; attempt < 20 && !met; attempt++) {
		ppdb *db[2];
		char fault[60];

		snprintf(fault, sizeof(fault), "settle.settled=kill:%u", 10 + attempt);
		setenv("PPDB_FAULT", fault, 1);
		test_store_start(&s, "--memory 64M");
		unsetenv("PPDB_FAULT");
		for (unsigned i = 0; i < 2; i++) {
			db[i] = test_store_attach(&s, 0);
			test_ok(ppdb_put(db[i], 0, PPDB_S("key 0"), PPDB_S("room in the log"), NULL, NULL));
		}
		met = inherit(db);
		for (unsigned i = 0; i < 2; i++)
			test_ok(ppdb_detach(db[i]));
		test_store_end(&s);
	}
	test_require(met, "the daemon never died in the round of a write");
}

/* A follower asks ppdbd for each file of the log; while nobody answers it stays where it is, and then goes on. */
Test(client_feed, daemon_gone_at_the_end_of_a_file)
{
	ppdb_feed_opts from = {.size = sizeof(from), .flags = PPDB_FEED_SEQ};
	static char value[2000];
	unsigned total = 300, seen = 0, waits = 0;
	ppdb_change change;
	ppdb_feed *feed;
	ppdb *db;
	int rc;

	test_begin(120);
	test_store_start(&s, "--memory 64M --wal-segment 64K");
	db = test_store_attach(&s, 0);
	for (unsigned n = 1; n <= total; n++)
		test_ok(ppdb_put(db, 0, PPDB_S("k"), (ppdb_slice){value, sizeof(value)}, n % 20 ? &async : NULL, NULL));
	test_ok(ppdb_feed_open(db, &from, &feed));
	test_store_kill(&s);
	while (seen < total) {
		rc = ppdb_feed_next(feed, &change);
		if (!rc) {
			test_require(change.version == ++seen, "version %llu, not %u", (unsigned long long)change.version, seen);
			continue;
		}
		test_expect(PPDB_NOTFOUND, rc);
		if (++waits == 5)
			test_store_restart(&s);
		test_sleep_ms(5);
	}
	test_require(waits >= 5, "the follower never waited for a file");
	ppdb_feed_close(feed);
	test_ok(ppdb_detach(db));
	test_store_stop(&s);
}

/* ---- a follower that is killed goes on at its bookmark ---- */

struct journal {
	_Atomic uint64_t last, acked;      /* number of the last change that was seen, and acknowledged */
	_Atomic uint64_t quit;
};

static void follow_bookmark(void *arg)
{
	struct journal *j = arg;
	struct test_random r = test_random(test_seed(), 7 + j->last);
	ppdb *db = test_store_attach(&s, 0);
	ppdb_feed_opts o = {.size = sizeof(o), .flags = PPDB_FEED_SEQ, .bookmark = "the follower", .prefix = PPDB_S("n ")};
	struct pollfd p = {.events = POLLIN};
	uint64_t expect = 0;
	ppdb_change change;
	ppdb_feed *feed;

	for (int i = 0, rc; (rc = ppdb_feed_open(db, &o, &feed)); i++) {
		test_require(rc == PPDB_DAEMON_GONE && i < 3000, "%s: %s", ppdb_errname(rc), ppdb_errdetail());
		test_sleep_ms(10); /* it is being restarted */
	}
	p.fd = ppdb_feed_fd(feed);
	while (!j->quit || j->last < j->quit) {
		int rc = ppdb_feed_next(feed, &change);
		uint64_t n;

		if (rc == PPDB_NOTFOUND) {
			poll(&p, 1, 100);
			continue;
		}
		test_require(!rc, "%s: %s", ppdb_errname(rc), ppdb_errdetail());
		n = strtoull((const char *)change.value.data, NULL, 10);
		if (!expect)
			test_require(n > j->acked && n <= j->last + 1, "begins at %llu, acknowledged %llu, seen %llu",
				     (unsigned long long)n, (unsigned long long)j->acked, (unsigned long long)j->last);
		else
			test_require(n == expect, "%llu after %llu", (unsigned long long)n, (unsigned long long)expect - 1);
		expect = n + 1;
		if (n > j->last)
			j->last = n;
		if (test_chance(&r, 5)) {
			rc = ppdb_feed_ack(feed);
			test_require(tolerable(rc), "%s: %s", ppdb_errname(rc), ppdb_errdetail());
			if (!rc && n > j->acked)
				j->acked = n;
		}
	}
	ppdb_feed_close(feed);
	ppdb_detach(db);
}

Test(client_feed, killed_followers)
{
	struct journal *j = test_shared(sizeof(*j));
	struct test_random r;
	uint64_t n = 0;
	pid_t follower;
	ppdb *db;

	test_begin(300);
	r = test_random(test_seed(), 2);
	test_store_start(&s, "--memory 128M --wal-segment 1M --checkpoint-bytes 2M");
	db = test_store_attach(&s, 0);
	for (unsigned round = 0; round < test_scale(25); round++) {
		follower = test_spawn(follow_bookmark, j);
		for (uint64_t more = 50 + test_below(&r, 400); more; more--) {
			char key[32], value[400];

			n++;
			snprintf(key, sizeof(key), "%s %llu", "n", (unsigned long long)test_below(&r, 20));
			memset(value, ' ', sizeof(value));
			snprintf(value, 24, "%llu", (unsigned long long)n);
			test_ok(ppdb_put(db, 0, slice(key), (ppdb_slice){value, sizeof(value)}, &async, NULL));
			test_ok(ppdb_put(db, 0, PPDB_S("another"), slice(value), &async, NULL));
		}
		if (test_chance(&r, 20)) {
			test_ok(ppdb_sync(db, -1));
			test_store_restart(&s);
		}
		test_sleep_ms((unsigned)test_below(&r, 30));
		test_kill(follower);
	}
	test_ok(ppdb_sync(db, -1));
	j->quit = n;
	test_join(test_spawn(follow_bookmark, j));
	cr_assert_eq(j->last, n);
	test_ok(ppdb_feed_forget(db, "the follower"));
	test_expect(PPDB_NOTFOUND, ppdb_feed_forget(db, "the follower"));
	test_ok(ppdb_detach(db));
	test_store_check(&s, false);
}

/* ---- the past that is gone, and what holds it ---- */

/* And waits for a checkpoint that began after it: what is no longer needed is released then. */
static void write_much(ppdb *db, unsigned mib)
{
	static char value[1 << 16];
	uint64_t before = test_store_number(&s, "stat", "checkpoint_epoch");
	char key[32];

	for (unsigned i = 0; i < mib * 16; i++) {
		snprintf(key, sizeof(key), "much %u", i % 8);
		test_ok(ppdb_put(db, 0, slice(key), (ppdb_slice){value, sizeof(value)}, &async, NULL));
	}
	test_ok(ppdb_sync(db, -1));
	for (int i = 0; i < 1000 && test_store_number(&s, "stat", "checkpoint_epoch") == before; i++)
		test_sleep_ms(20);
}

static unsigned drain(ppdb_feed *feed, int *rc)
{
	ppdb_change change;
	unsigned n = 0;

	while (!(*rc = ppdb_feed_next(feed, &change)))
		n++;
	return n;
}

Test(client_feed, lost_and_held)
{
	ppdb_feed_opts first = {.size = sizeof(first), .flags = PPDB_FEED_SEQ};
	ppdb_feed_opts marked = {.size = sizeof(marked), .flags = PPDB_FEED_SEQ, .bookmark = "held"};
	ppdb_feed *slow, *feed;
	char out[1000];
	unsigned n;
	ppdb *db;
	int rc;

	test_begin(300);
	test_store_start(&s, "--memory 64M --wal-segment 1M --checkpoint-bytes 8M --feed-hold 24M");
	db = test_store_attach(&s, 0);
	test_ok(ppdb_put(db, 0, PPDB_S("first"), PPDB_S("1"), NULL, NULL));
	test_ok(ppdb_feed_open(db, &first, &slow));
	test_ok(ppdb_feed_open(db, &marked, &feed));
	ppdb_feed_close(feed);
	/* under the cap, over several checkpoints: all is there, for the bookmark and so for the slow one */
	write_much(db, 12);
	test_ok(ppdb_feed_open(db, &marked, &feed));
	n = drain(feed, &rc);
	test_require(rc == PPDB_NOTFOUND && n == 12 * 16 + 1, "%u changes, %s", n, ppdb_errname(rc));
	cr_assert_eq(test_store_command(&s, "bookmark", out, sizeof(out)), 0);
	test_require(strstr(out, "held\t") && strstr(out, "\theld\n"), "ppdb bookmark says: %s", out);
	/* beyond it: lost, and said so */
	ppdb_feed_close(feed);
	for (int i = 0; i < 6; i++)
		write_much(db, 12);
	test_expect(PPDB_LOST, ppdb_feed_open(db, &marked, &feed));
	test_require(strstr(ppdb_errdetail(), "recycled"), "%s", ppdb_errdetail());
	test_expect(PPDB_LOST, ppdb_feed_open(db, &first, &feed));
	cr_assert_eq(test_store_command(&s, "bookmark", out, sizeof(out)), 0);
	test_require(strstr(out, "\tlost\n"), "ppdb bookmark says: %s", out);
	cr_assert_eq(test_store_command(&s, "watch --from 0 --once", out, sizeof(out)), 4);
	test_require(strstr(out, "recycled"), "ppdb watch says: %s", out);
	/* one that had its file open all the time: what it still reads is right, and then it is told */
	n = drain(slow, &rc);
	test_require(rc == PPDB_LOST, "%u changes, %s: %s", n, ppdb_errname(rc), ppdb_errdetail());
	ppdb_feed_close(slow);
	cr_assert_eq(test_store_command(&s, "bookmark drop held", out, sizeof(out)), 0);
	cr_assert_eq(test_store_command(&s, "bookmark drop held", out, sizeof(out)), 1);
	test_ok(ppdb_detach(db));
}

/* ---- options ---- */

Test(client_feed, now_prefix_and_bad_input)
{
	ppdb_feed_opts o = {.size = sizeof(o)};
	struct { ppdb_feed_opts o; uint64_t tail; } longer = {.o = {.size = sizeof(longer)}, .tail = 1};
	char name[400];
	ppdb_feed_behind lag;
	ppdb_change change;
	ppdb_seq seq;
	ppdb_feed *feed;
	ppdb *db, *ro;
	int rc;

	test_begin(120);
	test_store_start(&s, NULL);
	db = test_store_attach(&s, 0);
	ro = test_store_attach(&s, PPDB_RDONLY);
	test_ok(ppdb_put(db, 0, PPDB_S("before"), PPDB_S("1"), NULL, &seq));
	o.prefix = PPDB_S("a");
	test_ok(ppdb_feed_open(ro, &o, &feed));
	test_ok(ppdb_put(db, 0, PPDB_S("b"), PPDB_S("no"), NULL, NULL));
	test_ok(ppdb_put(db, 0, PPDB_S("apple"), PPDB_S("yes"), NULL, NULL));
	test_ok(ppdb_del(db, 0, PPDB_S("apple"), NULL, NULL));
	test_ok(ppdb_feed_next(feed, &change));
	cr_assert(change.key.size == 5 && change.value.size == 3 && change.version == 1 && !change.flags && change.seq > seq);
	test_ok(ppdb_feed_next(feed, &change));
	cr_assert(change.key.size == 5 && change.value.size == 0 && change.flags == PPDB_CHANGE_DELETED && change.version == 2);
	test_expect(PPDB_NOTFOUND, ppdb_feed_next(feed, &change));
	test_ok(ppdb_feed_lag(feed, &lag));
	cr_assert(lag.writes == 0 && lag.seq >= change.seq && lag.reached >= lag.seq);
	test_expect(-EINVAL, ppdb_feed_ack(feed));
	test_expect(-EBUSY, ppdb_detach(ro));
	ppdb_feed_close(feed);
	/* bad input: nothing is opened */
	o = (ppdb_feed_opts){.size = sizeof(o), .flags = PPDB_FEED_SEQ, .seq = UINT64_MAX};
	test_expect(-EINVAL, ppdb_feed_open(db, &o, &feed));
	test_require(strstr(ppdb_errdetail(), "future"), "%s", ppdb_errdetail());
	o = (ppdb_feed_opts){.size = sizeof(o), .flags = 64};
	test_expect(-EINVAL, ppdb_feed_open(db, &o, &feed));
	test_expect(-E2BIG, ppdb_feed_open(db, &longer.o, &feed));
	o = (ppdb_feed_opts){.size = sizeof(o), .bookmark = ""};
	test_expect(-EINVAL, ppdb_feed_open(db, &o, &feed));
	memset(name, 'x', sizeof(name));
	name[300] = '\0';
	o.bookmark = name;
	test_expect(-EINVAL, ppdb_feed_open(db, &o, &feed));
	o.bookmark = "b";
	test_expect(PPDB_READONLY, ppdb_feed_open(ro, &o, &feed));
	o = (ppdb_feed_opts){.size = sizeof(o), .prefix = {name, 5000}};
	test_expect(PPDB_KEYSIZE, ppdb_feed_open(db, &o, &feed));
	test_expect(-EINVAL, ppdb_feed_open(db, NULL, NULL));
	test_expect(-EINVAL, ppdb_feed_next(NULL, &change));
	/* a child */
	test_ok(ppdb_feed_open(db, NULL, &feed));
	rc = fork();
	if (!rc) {
		int bad = ppdb_feed_next(feed, &change) != PPDB_FORKED;

		ppdb_feed_close(feed);
		_exit(bad);
	}
	test_require(waitpid(rc, &rc, 0) > 0 && rc == 0, "the child: %d", rc);
	test_ok(ppdb_put(db, 0, PPDB_S("c"), PPDB_S("d"), NULL, NULL));
	test_ok(ppdb_feed_next(feed, &change));
	ppdb_feed_close(feed);
	ppdb_feed_close(NULL);
	/* bookmarks are not in the feed, nor in a scan */
	o = (ppdb_feed_opts){.size = sizeof(o), .bookmark = "quiet"};
	test_ok(ppdb_feed_open(db, &o, &feed));
	test_ok(ppdb_feed_ack(feed));
	test_ok(ppdb_sync(db, -1));
	test_expect(PPDB_NOTFOUND, ppdb_feed_next(feed, &change));
	ppdb_feed_close(feed);
	test_ok(ppdb_detach(ro));
	test_ok(ppdb_detach(db));
}
