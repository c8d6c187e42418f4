/*
 * crew_work.c (test) - what each member of a crew does in its own process: see crew.h.
 *
 * Each operation is noted before it begins, for the watch; a member that is killed leaves its notes as they were.
 */
#include "tests/lib/crew_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CHURN_KEYS 300
#define HOT_KEYS 8
#define BIG_MAX (3u << 20)

static const ppdb_wopts async = {.size = sizeof(async), .flags = PPDB_ASYNC};

/* ---- operations under the watch --------------------------------------------------------------------------------- */

void crew_op(struct crew_self *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(s->m->op, sizeof(s->m->op), fmt, ap);
	va_end(ap);
	atomic_store(&s->m->op_began_ns, test_now_ns());
}

void crew_op_end(struct crew_self *s)
{
	atomic_store(&s->m->op_began_ns, 0);
}

void crew_took(struct crew_self *s, enum crew_kind kind, uint64_t began_ns)
{
	atomic_fetch_add(&s->c->took[kind][pp_hist_bucket(test_now_ns() - began_ns)], 1);
}

bool crew_tolerates(const struct crew_self *s, int rc)
{
	return s->c->tolerant && (rc == PPDB_DAEMON_GONE || rc == PPDB_TIMEOUT || rc == PPDB_LOST || rc == -ESTALE);
}

bool crew_happened(struct crew_self *s, int rc, ppdb_seq ticket, bool *durable)
{
	*durable = rc == 0;
	if (rc == 0)
		return true;
	if (rc == PPDB_OVERLOAD && !ticket)
		return false;
	if ((rc == PPDB_FULL || (rc == -ENOSPC && s->c->scarce)) && !ticket) {
		/* The keeper gets little of a crowded machine. Our own view must not be what it waits for; the watch sees to it that this ends. */
		if (s->view)
			ppdb_view_refresh(s->view);
		usleep(2000);
		return false;
	}
	test_require(crew_tolerates(s, rc), "%s gave %s: %s", s->m->op, test_name_of(rc), test_detail());
	return ticket != 0;
}

bool crew_put(struct crew_self *s, const char *key, const void *value, size_t size, const ppdb_wopts *opts)
{
	bool durable;
	ppdb_seq ticket;
	int rc;

	do {
		crew_op(s, "put of %s (%zu bytes%s)", key, size, opts ? ", async" : "");
		rc = CREW_TIMED(s, opts ? CREW_WRITE : CREW_DURABLE,
			ppdb_put(s->db, 0, crew_text(key), (ppdb_slice){value, size}, opts, &ticket));
		crew_op_end(s);
	} while (!crew_happened(s, rc, ticket, &durable));
	s->ticket = ticket;
	return durable && !opts;
}

static void del(struct crew_self *s, const char *key)
{
	bool durable;
	ppdb_seq ticket;
	int rc;

	do {
		crew_op(s, "delete of %s", key);
		rc = CREW_TIMED(s, CREW_WRITE, ppdb_del(s->db, 0, crew_text(key), &async, &ticket));
		crew_op_end(s);
	} while (rc != PPDB_NOTFOUND && !crew_happened(s, rc, ticket, &durable));
}

bool crew_renew(struct crew_self *s)
{
	uint64_t now = atomic_load(&s->c->generation);
	char key[32];

	if (atomic_load(&s->m->generation) == now)
		return false;
	snprintf(key, sizeof(key), "renew/%u", s->m->index);
	if (!crew_put(s, key, "", 0, NULL) || atomic_load(&s->c->generation) != now)
		return false;
	atomic_store(&s->m->durable, 0);
	atomic_store(&s->m->done, 0);
	atomic_store(&s->m->begun, 0);
	atomic_store(&s->m->generation, now);
	return true;
}

/* ---- chain ------------------------------------------------------------------------------------------------------ */

static void head(struct crew_self *s)
{
	uint64_t n;
	char value[64];
	bool durable;

	crew_renew(s);
	n = atomic_load(&s->m->begun) + 1;
	atomic_store(&s->m->begun, n);
	snprintf(value, sizeof(value), "%08" PRIx64 ".%012" PRIu64, atomic_load(&s->m->generation), n);
	durable = crew_put(s, "chain/0", value, strlen(value), n % 16 ? &async : NULL);
	atomic_store(&s->m->done, n);
	if (durable)
		atomic_store(&s->m->durable, n);
}

static void follow(struct crew_self *s)
{
	char from[32], to[32], value[64];
	size_t n;
	int rc;

	snprintf(from, sizeof(from), "chain/%u", s->m->number - 1);
	snprintf(to, sizeof(to), "chain/%u", s->m->number);
	crew_op(s, "get of %s", from);
	rc = ppdb_get(s->db, 0, crew_text(from), value, sizeof(value) - 1, &n);
	crew_op_end(s);
	if (rc == PPDB_NOTFOUND)
		return;
	test_require(!rc && n == 21, "get of %s gave %s, %zu bytes: %s", from, test_name_of(rc), n, test_detail());
	value[n] = '\0';
	crew_put(s, to, value, n, test_chance(&s->r, 5) ? NULL : &async);
	atomic_store(&s->m->generation, strtoull(value, NULL, 16));
}

/* ---- sequence --------------------------------------------------------------------------------------------------- */

static void seq_key(char *to, size_t cap, unsigned number, uint64_t generation, uint64_t n)
{
	snprintf(to, cap, "seq/%u/%08" PRIx64 "/%012" PRIu64, number, generation, n);
}

static void sequence(struct crew_self *s)
{
	uint64_t g, n;
	char key[80], value[160];
	bool durable;

	crew_renew(s);
	g = atomic_load(&s->m->generation);
	n = atomic_load(&s->m->begun) + 1;
	atomic_store(&s->m->begun, n);
	seq_key(key, sizeof(key), s->m->number, g, n);
	memset(value, 'a' + (int)(n % 26), sizeof(value));
	durable = crew_put(s, key, value, n % sizeof(value), n % 64 || s->loop ? &async : NULL);
	atomic_store(&s->m->done, n);
	if (durable)
		atomic_store(&s->m->durable, n);
	if (s->loop)
		crew_loop_submit(s, g, n);
	if (n > SEQ_KEPT) {
		seq_key(key, sizeof(key), s->m->number, g, n - SEQ_KEPT);
		del(s, key);
	}
}

/* ---- judging ---------------------------------------------------------------------------------------------------- */

static void judge(struct crew_self *s)
{
	uint64_t generation = atomic_load(&s->c->generation), last;
	ppdb_view *v;
	int rc;

	crew_op(s, "snapshot");
	rc = CREW_TIMED(s, CREW_SNAPSHOT, ppdb_view_begin(s->db, test_chance(&s->r, 50) ? PPDB_VIEW_SNAPSHOT : PPDB_VIEW_FRESH, &v));
	if (rc) {
		crew_op_end(s);
		test_require(crew_tolerates(s, rc), "snapshot gave %s: %s", test_name_of(rc), test_detail());
		return;
	}
	/* After a cold start in between, writes of the old generation that were under way may stand there alone. */
	if (atomic_load(&s->c->generation) == generation) {
		crew_judge_chain(v, generation, "snapshot");
		for (unsigned i = 0; i < 2; i++)
			crew_judge_sequence(v, i, generation, "snapshot", &last);
	}
	crew_judge_accounts(v, "snapshot");
	if (test_chance(&s->r, 20))
		crew_judge_repeatable(v, "snapshot");
	ppdb_view_end(v);
	crew_op_end(s);
	usleep(2000);
}

/* ---- churn ------------------------------------------------------------------------------------------------------ */

struct stamp {
	uint64_t magic, key, nonce, size;
};
#define STAMP UINT64_C(0x5ca1ab1e0ddba11)

static size_t random_size(struct crew_self *s)
{
	uint64_t dice = test_below(&s->r, 1000);

	if (dice < 550)
		return test_below(&s->r, 120);
	if (dice < 900)
		return test_below(&s->r, 1500);
	if (dice < 975 || !s->c->big)
		return test_below(&s->r, 20000);
	return dice < 996 ? test_below(&s->r, 300000) : test_below(&s->r, BIG_MAX);
}

size_t crew_fill(struct crew_self *s, uint64_t key)
{
	return crew_fill_size(s, key, random_size(s));
}

size_t crew_fill_size(struct crew_self *s, uint64_t key, size_t size)
{
	struct stamp t = {STAMP, key, test_next(&s->r), size};

	memset(s->buf, (int)(t.nonce & 0xff), size);
	if (size >= sizeof(t)) {
		memcpy(s->buf, &t, sizeof(t));
		memcpy(s->buf + size - 8, &t.nonce, size >= sizeof(t) + 8 ? 8 : 0);
	}
	return size;
}

static void verify(const struct crew_self *s, const ppdb_item *item)
{
	const uint8_t *p = item->value.data;
	size_t size = item->value.size;
	struct stamp t;

	if (size < sizeof(t)) {
		for (size_t i = 1; i < size; i++)
			test_require(p[i] == p[0] || ppdb_view_check(s->view), "a small value of %.*s is torn", (int)item->key.size,
				(const char *)item->key.data);
		return;
	}
	memcpy(&t, p, sizeof(t));
	if (ppdb_view_check(s->view))
		return;
	test_require(t.magic == STAMP && t.size == size && t.key == crew_key_number(item->key, 6),
		"value of %.*s is not what was written (%zu bytes, stamped %" PRIu64 " bytes, key %" PRIu64 ")", (int)item->key.size,
		(const char *)item->key.data, size, t.size, t.key);
	for (size_t i = sizeof(t); i + 8 < size; i += size / 64 + 1)
		test_require(p[i] == (t.nonce & 0xff) || ppdb_view_check(s->view), "value of key %" PRIu64 " is torn at %zu of %zu", t.key, i,
			size);
}

static uint64_t churn_key(struct crew_self *s, char *key)
{
	uint64_t k = test_chance(&s->r, 50) ? test_below(&s->r, HOT_KEYS) : test_below(&s->r, CHURN_KEYS);

	sprintf(key, "churn/%04" PRIu64, k);
	return k;
}

static void churn_cas(struct crew_self *s, uint64_t k, const char *key)
{
	ppdb_item item = {.version = 0};
	ppdb_seq ticket;
	uint64_t newver = 0;
	int rc = ppdb_view_get(s->view, 0, crew_text(key), &item);
	size_t size;

	if (rc && rc != PPDB_NOTFOUND)
		return;
	size = crew_fill(s, k);
	rc = CREW_TRY(s, CREW_TIMED(s, CREW_WRITE,
		ppdb_cas(s->db, 0, crew_text(key), item.version, (ppdb_slice){s->buf, size}, &async, &newver, &ticket)));
	test_require(rc || newver > item.version, "cas of %s from %" PRIu64 " made version %" PRIu64, key, item.version, newver);
}

static void churn_add(struct crew_self *s)
{
	unsigned i = (unsigned)test_below(&s->r, CREW_COUNTERS);
	char key[32];
	int64_t sum;
	ppdb_seq ticket;
	bool durable = test_chance(&s->r, 3);
	int rc;

	snprintf(key, sizeof(key), "count/%u", i);
	atomic_fetch_add(&s->m->add_begun[i], 1);
	rc = CREW_TRY(s, CREW_TIMED(s, durable ? CREW_DURABLE : CREW_WRITE,
		ppdb_add_i64(s->db, 0, crew_text(key), 1, 0, durable ? NULL : &async, &sum, &ticket)));
	test_require(!rc || s->c->tolerant, "add gave %s", test_name_of(rc));
	atomic_fetch_add(&s->m->add_done[i], 1);
}

/* Its own key, which no other writes: numbers that only rise. */
static void churn_own(struct crew_self *s)
{
	uint64_t n = atomic_load(&s->m->begun) + 1;
	char key[32], value[32];

	snprintf(key, sizeof(key), "own/%u", s->m->index);
	snprintf(value, sizeof(value), "%" PRIu64, n);
	atomic_store(&s->m->begun, n);
	crew_put(s, key, value, strlen(value), &async);
	atomic_store(&s->m->done, n);
}

static void churn_scan(struct crew_self *s, const char *from)
{
	ppdb_iter_opts o = {.size = sizeof(o), .prefix = PPDB_S("churn/")};
	ppdb_iter *it;
	ppdb_item item;
	char last[64] = "";
	bool back = test_chance(&s->r, 30);
	uint64_t began = test_now_ns();
	int rc;

	if (ppdb_iter_open(s->view, 0, &o, &it))
		return;
	rc = back ? ppdb_iter_seek_le(it, crew_text(from), &item) : ppdb_iter_seek(it, crew_text(from), &item);
	for (unsigned i = 0; i < 60 && !rc; i++) {
		char key[64];

		test_require(item.key.size < sizeof(key), "a key of %zu bytes", item.key.size);
		memcpy(key, item.key.data, item.key.size);
		key[item.key.size] = '\0';
		if (ppdb_view_check(s->view))
			break;
		test_require(!last[0] || (back ? strcmp(key, last) < 0 : strcmp(key, last) > 0), "the scan goes from %s to %s", last, key);
		memcpy(last, key, sizeof(last));
		verify(s, &item);
		rc = back ? ppdb_iter_prev(it, &item) : ppdb_iter_next(it, &item);
	}
	test_require(!rc || rc == PPDB_NOTFOUND || rc == PPDB_EVICTED, "the scan gave %s: %s", test_name_of(rc), test_detail());
	ppdb_iter_close(it);
	crew_took(s, CREW_SCAN, began);
}

static void churn_get(struct crew_self *s, const char *key)
{
	ppdb_item item;
	int rc = CREW_TIMED(s, CREW_GET, ppdb_view_get(s->view, 0, crew_text(key), &item));

	if (!rc)
		verify(s, &item);
	test_require(!rc || rc == PPDB_NOTFOUND || rc == PPDB_EVICTED, "get of %s gave %s: %s", key, test_name_of(rc), test_detail());
}

/* Whoever came between is no failure, nor what was read and lost since. */
static void churn_move(struct crew_self *s)
{
	ppdb_seq ticket = 0;
	int rc = CREW_TIMED(s, CREW_WRITE, crew_move(s->db, s->view, &s->r, &ticket));
	bool durable;

	if (rc == PPDB_CONFLICT || rc == PPDB_EXISTS || rc == PPDB_EVICTED || rc == -EINVAL)
		return;
	crew_happened(s, rc, ticket, &durable);
}

static void churn(struct crew_self *s)
{
	uint64_t dice = test_below(&s->r, 100), k;
	ppdb_wopts absent = {.size = sizeof(absent), .flags = PPDB_ASYNC | PPDB_IFABSENT};
	ppdb_seq ticket;
	char key[32];
	size_t size;

	k = churn_key(s, key);
	if (test_chance(&s->r, 20))
		ppdb_view_refresh(s->view);
	crew_op(s, "operation %" PRIu64 " on %s", dice, key);
	if (dice < 29) {
		size = crew_fill(s, k);
		CREW_TRY(s, CREW_TIMED(s, dice < 2 ? CREW_DURABLE : CREW_WRITE, ppdb_put(s->db, 0, crew_text(key), (ppdb_slice){s->buf, size},
			dice < 2 ? NULL : dice < 6 ? &absent : &async, &ticket)));
	} else if (dice < 35) {
		crew_place(s, k, key);
	} else if (dice < 38) {
		crew_touch(s, key);
	} else if (dice < 40) {
		crew_shared_table(s);
	} else if (dice < 52) {
		CREW_TRY(s, CREW_TIMED(s, CREW_WRITE, ppdb_del(s->db, 0, crew_text(key), &async, &ticket)));
	} else if (dice < 62) {
		churn_cas(s, k, key);
	} else if (dice < 72) {
		churn_add(s);
	} else if (dice < 79) {
		churn_own(s);
	} else if (dice < 84) {
		churn_move(s);
	} else if (dice < 94) {
		churn_get(s, key);
	} else {
		churn_scan(s, key);
	}
	crew_op_end(s);
}

/* ---- a member's life -------------------------------------------------------------------------------------------- */

static void (*const jobs[])(struct crew_self *) = {head, follow, sequence, churn, judge, crew_tables, crew_feed};

static void start_own(struct crew_self *s)
{
	char key[32], value[32];
	size_t n = 0;
	int rc;

	snprintf(key, sizeof(key), "own/%u", s->m->index);
	rc = ppdb_get(s->db, 0, crew_text(key), value, sizeof(value) - 1, &n);
	if (rc)
		return;
	value[n] = '\0';
	/* another life of this place may have begun one that nobody saw yet */
	if (strtoull(value, NULL, 10) > atomic_load(&s->m->begun))
		atomic_store(&s->m->begun, strtoull(value, NULL, 10));
}

void crew_work(void *arg)
{
	struct crew_member *m = *(struct crew_member **)arg;
	struct crew *c = *((struct crew **)arg + 1);
	struct crew_self s = {.c = c, .m = m, .r = test_random(test_seed(), m->stream), .buf = malloc(BIG_MAX)};
	int rc;

	test_say("member %u, job %d", m->index, m->job);
	crew_op(&s, "attach");
	s.db = test_store_attach(c->store, 0);
	while (m->job == CREW_CHURN && (rc = ppdb_view_begin(s.db, PPDB_VIEW_LATEST, &s.view))) {
		if (rc == -ENOSPC && !atomic_exchange(&c->described, 1))
			crew_describe_store(s.db);
		test_require(c->tolerant, "view: %s", test_detail());
	}
	if (m->job == CREW_SEQUENCE && m->number == 1)
		crew_loop_open(&s);
	crew_op_end(&s);
	if (m->job == CREW_CHURN)
		start_own(&s);
	while (!atomic_load(&c->quit)) {
		jobs[m->job](&s);
		atomic_fetch_add(&m->ops, 1);
		if (c->pace_us)
			usleep((useconds_t)test_below(&s.r, 2 * c->pace_us));
	}
	crew_loop_close(&s);
	crew_feed_end(&s);
	if (m->index % 2) /* the others after the end of the slot that they belong to */
		crew_place_end(&s);
	crew_op(&s, "detach");
	ppdb_view_end(s.view);
	test_ok(ppdb_detach(s.db));
	crew_place_end(&s);
}
