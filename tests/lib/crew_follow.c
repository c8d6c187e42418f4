/*
 * crew_follow.c (test) - a follower of all changes, killed and hired again, over restarts of every kind.
 *
 * Versions of a key grow by one with each write, so "every change once, in order" is: each change of a key has the version after the last one (after
 * a delete: a later one, for the key may have been taken away between). It begins behind a snapshot, whose versions are known. What was handed out at
 * the bookmark stands in shared memory. A follower that dies while it moves the bookmark leaves two possible positions, and its move may be
 * decided as late as the next one writes the bookmark: so that one first moves it to where it found it. Keys that were told differently at
 * the two are unsure until their next change. At the end the last change of each key is what the store holds.
 */
#include "engine/layout.h"
#include "tests/lib/crew_internal.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define BOOKMARK "crew"
#define AT_ONCE 200
#define CREW_AT(state) ((state) & 3)
#define CREW_NEXT(at) (((at) + 1) % 3)
#define CREW_MOVING 4u

struct crew_reader {
	ppdb_feed *feed;
	struct crew_told told;
	ppdb_seq last;
	unsigned since;                      /* changes since the bookmark was moved */
};

/* ---- keys ------------------------------------------------------------------------------------------------------- */

/* Those whose versions are followed; the sequences have too many. -1 = another. */
static int key_index(ppdb_slice key)
{
	static const struct { const char *prefix; unsigned first, count; } kinds[] = {
		{"churn/", 0, 300}, {"own/", 300, 40}, {"count/", 340, 20}, {"account/", 360, 20}, {"chain/", 380, 20}, {"renew/", 400, 40},
	};

	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		size_t n = strlen(kinds[i].prefix);
		uint64_t number;

		if (key.size <= n || memcmp(key.data, kinds[i].prefix, n))
			continue;
		number = crew_key_number(key, n);
		test_require(number < kinds[i].count, "key %.*s", (int)key.size, (const char *)key.data);
		return (int)(kinds[i].first + number);
	}
	return -1;
}

/* ---- one change ------------------------------------------------------------------------------------------------- */

/* By one, but for the first change after a cold start (engine/layout.h, PP_VERSION_BASE). */
static bool fits(const struct crew_told *t, int k, uint64_t version)
{
	bool first = version >> PP_VERSION_BITS && !(version & ((UINT64_C(1) << PP_VERSION_BITS) - 1));

	if (t->unsure[k])
		return true;
	return !t->version[k] || t->gone[k] || first ? version > t->version[k] : version == t->version[k] + 1;
}

static void take(struct crew *c, struct crew_reader *r, const ppdb_change *change)
{
	int k = change->table ? -1 : key_index(change->key);
	struct crew_told *t = &r->told;

	test_require(change->seq >= r->last, "a change at %" PRIu64 " after one at %" PRIu64, change->seq, r->last);
	r->last = change->seq;
	r->since++;
	atomic_fetch_add(&c->changes.count, 1);
	if (k < 0)
		return;
	test_require(fits(t, k, change->version), "%.*s: version %" PRIu64 "%s at %" PRIu64 ", after %" PRIu64 "%s", (int)change->key.size,
		(const char *)change->key.data, change->version, change->flags & PPDB_CHANGE_DELETED ? ", deleted," : "", change->seq, t->version[k],
		t->gone[k] ? ", deleted" : "");
	t->version[k] = change->version;
	t->gone[k] = change->flags & PPDB_CHANGE_DELETED;
	t->expires[k] = change->expires_ms;
	t->unsure[k] = false;
}

/* ---- the bookmark ----------------------------------------------------------------------------------------------- */

static void merge(const struct crew_told *a, const struct crew_told *b, struct crew_told *out)
{
	*out = *a;
	for (unsigned k = 0; k < CREW_FOLLOWED; k++)
		out->unsure[k] = a->unsure[k] || b->unsure[k] || a->version[k] != b->version[k] || a->gone[k] != b->gone[k] || a->expires[k] != b->expires[k];
}

/* Begins with what was acknowledged, or what was being acknowledged. */
static int open_feed(struct crew *c, ppdb *db, struct crew_reader *r)
{
	ppdb_feed_opts o = {.size = sizeof(o), .bookmark = BOOKMARK};
	uint32_t state = atomic_load(&c->changes.state), at = CREW_AT(state), next = CREW_NEXT(at);
	int rc = ppdb_feed_open(db, &o, &r->feed);

	r->last = 0;
	r->since = 0;
	if (!rc && state & CREW_MOVING) {
		rc = ppdb_feed_ack(r->feed);
		if (rc)
			ppdb_feed_close(r->feed);
	}
	if (!rc && state & CREW_MOVING) {
		merge(&c->changes.acked[at], &c->changes.acked[next], &c->changes.acked[CREW_NEXT(next)]);
		at = CREW_NEXT(next);
		atomic_store(&c->changes.state, at);
	}
	r->told = c->changes.acked[at];
	return rc;
}

/* Also within a group. A move that failed may have happened: it is tried until it has. */
static int move_bookmark(struct crew *c, struct crew_reader *r, bool (*again)(void *ctx, int rc), void *ctx)
{
	uint32_t at = CREW_AT(atomic_load(&c->changes.state)), next = CREW_NEXT(at);
	int rc;

	c->changes.acked[next] = r->told;
	atomic_store(&c->changes.state, at | CREW_MOVING);
	while ((rc = ppdb_feed_ack(r->feed)) && again(ctx, rc))
		;
	if (rc)
		return rc;
	atomic_store(&c->changes.state, next);
	atomic_fetch_add(&c->changes.acks, 1);
	r->since = 0;
	return 0;
}

void crew_follow_begin(struct crew *c)
{
	ppdb *db = test_store_attach(c->store, 0);
	ppdb_feed_opts o = {.size = sizeof(o), .flags = PPDB_FEED_SEQ, .bookmark = BOOKMARK};
	struct crew_told *t = &c->changes.acked[0];
	ppdb_iter *it;
	ppdb_item item;
	ppdb_feed *feed;
	ppdb_view *v;

	memset(&c->changes, 0, sizeof(c->changes));
	crew_follow_end(c);
	test_ok(ppdb_view_begin(db, PPDB_VIEW_FRESH, &v));
	test_ok(ppdb_iter_open(v, 0, NULL, &it));
	while (!ppdb_iter_next(it, &item))
		if (key_index(item.key) >= 0)
			t->version[key_index(item.key)] = item.version;
	ppdb_iter_close(it);
	o.seq = ppdb_view_seq(v);
	test_ok(ppdb_wait(db, o.seq, PPDB_DURABLE, -1));
	test_ok(ppdb_feed_open(db, &o, &feed));
	ppdb_feed_close(feed);
	ppdb_view_end(v);
	test_ok(ppdb_detach(db));
	c->changes.followed = true;
}

void crew_follow_end(struct crew *c)
{
	ppdb *db = test_store_attach(c->store, 0);
	int rc = ppdb_feed_forget(db, BOOKMARK);

	test_require(!rc || rc == PPDB_NOTFOUND, "forgetting the bookmark gave %s: %s", test_name_of(rc), test_detail());
	test_ok(ppdb_detach(db));
}

/* ---- the member ------------------------------------------------------------------------------------------------- */

static bool later(void *ctx, int rc)
{
	struct crew_self *s = ctx;
	bool durable;

	crew_happened(s, rc, 0, &durable);
	crew_op(s, "moving the bookmark again");
	return !atomic_load(&s->c->quit);
}

static void close_feed(struct crew_self *s)
{
	ppdb_feed_close(s->reader->feed);
	s->reader->feed = NULL;
}

/* A full disk lets the log go although a bookmark holds it: then the follower begins anew. */
static void lost(struct crew_self *s)
{
	test_require(s->c->scarce, "the follower's position is lost: %s", test_detail());
	if (s->reader->feed)
		close_feed(s);
	atomic_fetch_add(&s->c->changes.lost, 1);
}

/* 1 = nothing more for now. */
static int read_some(struct crew_self *s)
{
	struct crew_reader *r = s->reader;
	ppdb_change change;

	for (unsigned i = 0; i < AT_ONCE; i++) {
		int rc = ppdb_feed_next(r->feed, &change);

		if (rc == PPDB_NOTFOUND)
			return 1;
		if (rc == PPDB_LOST) {
			lost(s);
			return -1;
		}
		test_require(!rc || crew_tolerates(s, rc), "the next change gave %s: %s", test_name_of(rc), test_detail());
		if (rc)
			return -1;
		take(s->c, r, &change);
	}
	return 0;
}

void crew_feed(struct crew_self *s)
{
	struct crew_reader *r = s->reader;
	int rc;

	if (!r) {
		r = s->reader = calloc(1, sizeof(*r));
		test_require(r, "no memory");
	}
	if (atomic_load(&s->c->changes.lost)) { /* nothing is known of it any more */
		usleep(10000);
		return;
	}
	crew_op(s, "following, %" PRIu64 " changes", atomic_load(&s->c->changes.count));
	if (!r->feed) {
		rc = open_feed(s->c, s->db, r);
		test_require(!rc || rc == PPDB_LOST || crew_tolerates(s, rc), "opening the feed gave %s: %s", test_name_of(rc), test_detail());
		if (rc == PPDB_LOST)
			lost(s);
		if (rc)
			r->feed = NULL;
		crew_op_end(s);
		return;
	}
	rc = read_some(s);
	if (rc >= 0 && r->since > 50 && test_chance(&s->r, 40))
		rc = move_bookmark(s->c, r, later, s) ? -1 : rc;
	crew_op_end(s);
	if (rc == 1) {
		struct pollfd p = {.fd = ppdb_feed_fd(r->feed), .events = POLLIN};

		poll(&p, 1, 20);
	}
	if (r->feed && test_chance(&s->r, 2)) /* the next one begins at the bookmark */
		close_feed(s);
}

void crew_feed_end(struct crew_self *s)
{
	if (s->reader)
		ppdb_feed_close(s->reader->feed);
	free(s->reader);
}

/* ---- at the end ------------------------------------------------------------------------------------------------- */

static void compare(ppdb *db, const struct crew_told *t)
{
	static uint64_t version[CREW_FOLLOWED];
	ppdb_iter *it;
	ppdb_item item;
	ppdb_view *v;

	memset(version, 0, sizeof(version));
	test_ok(ppdb_view_begin(db, PPDB_VIEW_FRESH, &v));
	test_ok(ppdb_iter_open(v, 0, NULL, &it));
	while (!ppdb_iter_next(it, &item)) {
		int k = key_index(item.key);

		if (k < 0)
			continue;
		version[k] = item.version;
		test_require(t->unsure[k] || (t->version[k] == item.version && !t->gone[k]), "%.*s has version %" PRIu64 ", the follower heard of %" PRIu64
			"%s last", (int)item.key.size, (const char *)item.key.data, item.version, t->version[k], t->gone[k] ? ", a delete," : "");
	}
	ppdb_iter_close(it);
	ppdb_view_end(v);
	for (unsigned k = 0; k < CREW_FOLLOWED; k++)
		test_require(version[k] || t->gone[k] || !t->version[k] || t->expires[k] || t->unsure[k], "key %u is gone, the follower heard of version %"
			PRIu64 " last", k, t->version[k]);
}

void crew_judge_follow(struct crew *c)
{
	static struct crew_reader r;
	ppdb *db;
	uint64_t begin = test_now_ns();
	ppdb_feed_behind behind;
	ppdb_change change;
	ppdb_view *v;
	int rc;

	if (!c->changes.followed || atomic_load(&c->changes.lost))
		return;
	db = test_store_attach(c->store, 0);
	test_ok(ppdb_view_begin(db, PPDB_VIEW_FRESH, &v));
	test_ok(ppdb_wait(db, ppdb_view_seq(v), PPDB_DURABLE, -1));
	ppdb_view_end(v);
	test_ok(open_feed(c, db, &r));
	do {
		while (!(rc = ppdb_feed_next(r.feed, &change)))
			take(c, &r, &change);
		test_require(rc == PPDB_NOTFOUND, "the next change gave %s: %s", test_name_of(rc), test_detail());
		test_ok(ppdb_feed_lag(r.feed, &behind));
		test_require(test_now_ns() - begin < CREW_STUCK_NS, "the follower stays behind: at %" PRIu64 " of %" PRIu64, behind.seq, behind.reached);
	} while (behind.seq < behind.reached);
	compare(db, &r.told);
	ppdb_feed_close(r.feed);
	test_ok(ppdb_detach(db));
	test_require(atomic_load(&c->changes.count) && atomic_load(&c->changes.acks), "the follower followed nothing: %" PRIu64 " changes, the bookmark was "
		"moved %" PRIu64 " times", atomic_load(&c->changes.count), atomic_load(&c->changes.acks));
}

void crew_prime(ppdb *db)
{
	ppdb_table_opts o = {.size = sizeof(o), .flags = PPDB_CREATE};
	ppdb_table t;

	test_ok(ppdb_table_open(db, "first", &o, &t));
	test_ok(ppdb_table_drop(db, "first"));
}
