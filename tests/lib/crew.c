/*
 * crew.c (test) - clients at work under murder: see crew.h.
 */
#include "client/internal.h" /* first: ppdb.h then leaves the error codes to shm/errors.h */

#include "tests/lib/crew.h"

#include "engine/keeper.h"

#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHURN_KEYS 300
#define HOT_KEYS 8
#define BIG_MAX (3u << 20)
#define LIMBO_MAX (UINT64_C(16) << 20)

static const ppdb_wopts async = {.size = sizeof(async), .flags = PPDB_ASYNC};

/* One member's process. */
struct self {
	struct crew *c;
	struct crew_member *m;
	ppdb *db;
	ppdb_view *view;
	struct test_random r;
	uint8_t *buf;
};

static ppdb_slice text(const char *s)
{
	return (ppdb_slice){s, strlen(s)};
}

/* The number that ends a key; keys in the arena have no NUL behind them. */
static uint64_t key_number(ppdb_slice key, size_t at)
{
	char digits[32] = "";

	if (key.size > at && key.size - at < sizeof(digits))
		memcpy(digits, (const char *)key.data + at, key.size - at);
	return strtoull(digits, NULL, 10);
}

/* ---- the state of a store, for failures ------------------------------------------------------------------------- */

static void describe_slot(struct pp_region *r, unsigned i)
{
	struct pp_slot *s = &r->slots[i];
	uint64_t owner = pp_load_acq(&s->owner), tail = pp_load_acq(&s->tail), low = pp_load_acq(&s->low);

	if (pp_slot_state(owner) == PP_SLOT_FREE)
		return;
	dprintf(2, "    slot %u: state %d, process %u (pid %u), eras %" PRId64 " to %" PRIu64 ", snapshot %" PRIu64 ", ring %u to %u at "
		"epoch %" PRIu64 ", credit %" PRIu64 " of %" PRIu64 ", wants %" PRIu64 ", waits for %" PRIu64 "\n", i,
		pp_slot_state(owner), pp_slot_proc(owner), pp_load_acq(&r->procs[pp_slot_proc(owner)].pid), (int64_t)low,
		pp_load_acq(&s->high), pp_load_acq(&s->snapshot), (unsigned)(uint16_t)pp_load_acq(&s->head), pp_tail_index(tail),
		pp_tail_epoch(tail), pp_load_acq(&s->credit_used), pp_load_acq(&s->credit_granted), pp_load_acq(&s->credit_want),
		pp_load_acq(&s->wait_epoch));
}

static void describe_store(ppdb *db)
{
	struct pp_region *r = pp_client_region(db);
	struct pp_globals *g = r->globals;
	struct pp_check_report a = {0};
	struct pp_thread *t;

	dprintf(2, "  epochs: open %" PRIu64 ", settled %" PRIu64 ", durable %" PRIu64 ", prune floor %" PRIu64 "; era %" PRIu64
		", sets %" PRIu64 ", failed %d, full %d, free pages %" PRIu64 "\n", pp_load_acq(&g->open_epoch),
		pp_load_acq(&g->settled_epoch), pp_load_acq(&g->durable_epoch), pp_load_acq(&g->prune_floor), pp_load_acq(&g->era),
		pp_load_acq(&g->set_version), (int)pp_load_acq(&g->failed), (int)pp_load_acq(&((struct pp_engine *)r->engine)->wal_full),
		pp_load_acq(&g->free_pages));
	for (unsigned i = 0; i < r->header->slots; i++)
		describe_slot(r, i);
	if (pp_client_thread(db, &t) || pp_check(t, false, &a, NULL, NULL) < 0)
		return;
	dprintf(2, "  %" PRIu64 " keys, %" PRIu64 " versions, %" PRIu64 " tombstones; bytes: %" PRIu64 " committed, %" PRIu64 " live, %"
		PRIu64 " free, %" PRIu64 " in limbo, %" PRIu64 " private\n", a.keys, a.versions, a.tombstones, a.committed_bytes,
		a.live_bytes, a.free_bytes, a.limbo_bytes, a.private_bytes);
}

/* ---- operations under the watch --------------------------------------------------------------------------------- */

static void __attribute__((format(printf, 2, 3))) op(struct self *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(s->m->op, sizeof(s->m->op), fmt, ap);
	va_end(ap);
	atomic_store(&s->m->op_began_ns, test_now_ns());
}

static void op_end(struct self *s)
{
	atomic_store(&s->m->op_began_ns, 0);
}

/* Did the write take place? false: nothing happened, try again. Any other failure ends the test. */
static bool happened(struct self *s, int rc, ppdb_seq ticket, bool *durable)
{
	*durable = rc == 0;
	if (rc == 0)
		return true;
	if (rc == PPDB_OVERLOAD && !ticket)
		return false;
	if (rc == PPDB_FULL && !atomic_exchange(&s->c->described, 1))
		describe_store(s->db);
	test_require(s->c->tolerant && (rc == PPDB_DAEMON_GONE || rc == PPDB_TIMEOUT || rc == PPDB_LOST || rc == -ESTALE),
		"%s gave %s: %s", s->m->op, test_name_of(rc), test_detail());
	return ticket != 0;
}

/* Puts until it happened; true if it was acknowledged as durable. */
static bool put(struct self *s, const char *key, const void *value, size_t size, const ppdb_wopts *opts)
{
	bool durable;
	ppdb_seq ticket;
	int rc;

	do {
		op(s, "put of %s (%zu bytes%s)", key, size, opts ? ", async" : "");
		rc = ppdb_put(s->db, 0, text(key), (ppdb_slice){value, size}, opts, &ticket);
		op_end(s);
	} while (!happened(s, rc, ticket, &durable));
	return durable && !opts;
}

static void del(struct self *s, const char *key)
{
	bool durable;
	ppdb_seq ticket;
	int rc;

	do {
		op(s, "delete of %s", key);
		rc = ppdb_del(s->db, 0, text(key), &async, &ticket);
		op_end(s);
	} while (rc != PPDB_NOTFOUND && !happened(s, rc, ticket, &durable));
}

/* A new generation counts only from a durable write in the new arena on. */
static bool renew(struct self *s)
{
	uint64_t now = atomic_load(&s->c->generation);
	char key[32];

	if (atomic_load(&s->m->generation) == now)
		return false;
	snprintf(key, sizeof(key), "renew/%u", s->m->index);
	if (!put(s, key, "", 0, NULL) || atomic_load(&s->c->generation) != now)
		return false;
	atomic_store(&s->m->durable, 0);
	atomic_store(&s->m->done, 0);
	atomic_store(&s->m->begun, 0);
	atomic_store(&s->m->generation, now);
	return true;
}

/* ---- chain ------------------------------------------------------------------------------------------------------ */

static void head(struct self *s)
{
	uint64_t n;
	char value[64];
	bool durable;

	renew(s);
	n = atomic_load(&s->m->begun) + 1;
	atomic_store(&s->m->begun, n);
	snprintf(value, sizeof(value), "%08" PRIx64 ".%012" PRIu64, atomic_load(&s->m->generation), n);
	durable = put(s, "chain/0", value, strlen(value), n % 16 ? &async : NULL);
	atomic_store(&s->m->done, n);
	if (durable)
		atomic_store(&s->m->durable, n);
}

static void follow(struct self *s)
{
	char from[32], to[32], value[64];
	size_t n;
	int rc;

	snprintf(from, sizeof(from), "chain/%u", s->m->number - 1);
	snprintf(to, sizeof(to), "chain/%u", s->m->number);
	op(s, "get of %s", from);
	rc = ppdb_get(s->db, 0, text(from), value, sizeof(value) - 1, &n);
	op_end(s);
	if (rc == PPDB_NOTFOUND)
		return;
	test_require(!rc && n == 21, "get of %s gave %s, %zu bytes: %s", from, test_name_of(rc), n, test_detail());
	value[n] = '\0';
	put(s, to, value, n, test_chance(&s->r, 5) ? NULL : &async);
	atomic_store(&s->m->generation, strtoull(value, NULL, 16));
}

/* ---- sequence --------------------------------------------------------------------------------------------------- */

static void seq_prefix(char *to, size_t cap, unsigned number, uint64_t generation)
{
	snprintf(to, cap, "seq/%u/%08" PRIx64 "/", number, generation);
}

static void seq_key(char *to, size_t cap, unsigned number, uint64_t generation, uint64_t n)
{
	snprintf(to, cap, "seq/%u/%08" PRIx64 "/%012" PRIu64, number, generation, n);
}

static void sequence(struct self *s)
{
	uint64_t g, n;
	char key[80], value[160];
	bool durable;

	renew(s);
	g = atomic_load(&s->m->generation);
	n = atomic_load(&s->m->begun) + 1;
	atomic_store(&s->m->begun, n);
	seq_key(key, sizeof(key), s->m->number, g, n);
	memset(value, 'a' + (int)(n % 26), sizeof(value));
	durable = put(s, key, value, n % sizeof(value), n % 64 ? &async : NULL);
	atomic_store(&s->m->done, n);
	if (durable)
		atomic_store(&s->m->durable, n);
	if (n > SEQ_KEPT) {
		seq_key(key, sizeof(key), s->m->number, g, n - SEQ_KEPT);
		del(s, key);
	}
}

/* ---- judging ---------------------------------------------------------------------------------------------------- */

/* Value of a chain key in a view: false = not there. */
static bool chain_value(ppdb_view *v, unsigned i, char *value)
{
	char key[32];
	ppdb_item item;
	int rc;

	snprintf(key, sizeof(key), "chain/%u", i);
	rc = ppdb_view_get(v, 0, text(key), &item);
	if (rc == PPDB_NOTFOUND || rc == PPDB_EVICTED)
		return false;
	test_require(!rc && item.value.size == 21, "%s gave %s: %s", key, test_name_of(rc), test_detail());
	memcpy(value, item.value.data, 21);
	value[21] = '\0';
	return ppdb_view_check(v) == 0;
}

/* Each link of the chain holds nothing newer than the link before. */
static void judge_chain(ppdb_view *v, uint64_t generation, const char *when)
{
	char earlier[32], later[32];

	for (unsigned i = 2; i >= 1; i--) {
		/* in a snapshot the order of reading does not matter */
		if (!chain_value(v, i, later) || strtoull(later, NULL, 16) != generation)
			continue;
		test_require(chain_value(v, i - 1, earlier) || ppdb_view_check(v), "%s: chain/%u is %s, but there is no chain/%u", when, i,
			later, i - 1);
		test_require(ppdb_view_check(v) || strcmp(earlier, later) >= 0, "%s: chain/%u is %s, but what it was copied from is %s",
			when, i, later, earlier);
	}
}

/* First and last number of a sequence, which must have no gap. 0 = empty. */
static void judge_sequence(ppdb_view *v, unsigned number, uint64_t generation, const char *when, uint64_t *last)
{
	char prefix[64];
	ppdb_iter_opts o = {.size = sizeof(o)};
	ppdb_iter *it;
	ppdb_item item;
	uint64_t first = 0, n = 0;
	int rc;

	*last = 0;
	seq_prefix(prefix, sizeof(prefix), number, generation);
	o.prefix = text(prefix);
	if (ppdb_iter_open(v, 0, &o, &it))
		return;
	for (rc = ppdb_iter_first(it, &item); !rc; rc = ppdb_iter_next(it, &item)) {
		uint64_t at = key_number(item.key, strlen(prefix));

		if (ppdb_view_check(v))
			break;
		test_require(!n || at == n + 1, "%s: sequence %s goes from %" PRIu64 " to %" PRIu64, when, prefix, n, at);
		test_require(item.value.size == at % 160, "%s: %s%" PRIu64 " has %zu bytes", when, prefix, at, item.value.size);
		first = first ? first : at;
		n = at;
	}
	ppdb_iter_close(it);
	if (ppdb_view_check(v))
		return;
	test_require(rc == PPDB_NOTFOUND, "%s: the scan of %s gave %s: %s", when, prefix, test_name_of(rc), test_detail());
	test_require(n < SEQ_KEPT ? first <= 1 : first + SEQ_KEPT == n || first + SEQ_KEPT == n + 1 || first == 1,
		"%s: sequence %s goes from %" PRIu64 " to %" PRIu64, when, prefix, first, n);
	*last = n;
}

static void judge(struct self *s)
{
	uint64_t generation = atomic_load(&s->c->generation), last;
	ppdb_view *v;
	int rc;

	op(s, "snapshot");
	rc = ppdb_view_begin(s->db, test_chance(&s->r, 50) ? PPDB_VIEW_SNAPSHOT : PPDB_VIEW_FRESH, &v);
	if (rc) {
		op_end(s);
		test_require(s->c->tolerant && (rc == PPDB_DAEMON_GONE || rc == PPDB_TIMEOUT || rc == PPDB_LOST || rc == -ESTALE),
			"snapshot gave %s: %s", test_name_of(rc), test_detail());
		return;
	}
	judge_chain(v, generation, "snapshot");
	for (unsigned i = 0; i < 2; i++)
		judge_sequence(v, i, generation, "snapshot", &last);
	ppdb_view_end(v);
	op_end(s);
	usleep(2000);
}

/* ---- churn ------------------------------------------------------------------------------------------------------ */

struct stamp {
	uint64_t magic, key, nonce, size;
};
#define STAMP UINT64_C(0x5ca1ab1e0ddba11)

static size_t random_size(struct self *s)
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

static size_t fill(struct self *s, uint64_t key)
{
	size_t size = random_size(s);
	struct stamp t = {STAMP, key, test_next(&s->r), size};

	memset(s->buf, (int)(t.nonce & 0xff), size);
	if (size >= sizeof(t)) {
		memcpy(s->buf, &t, sizeof(t));
		memcpy(s->buf + size - 8, &t.nonce, size >= sizeof(t) + 8 ? 8 : 0);
	}
	return size;
}

static void verify(const struct self *s, const ppdb_item *item)
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
	test_require(t.magic == STAMP && t.size == size && t.key == key_number(item->key, 6),
		"value of %.*s is not what was written (%zu bytes, stamped %" PRIu64 " bytes, key %" PRIu64 ")", (int)item->key.size,
		(const char *)item->key.data, size, t.size, t.key);
	for (size_t i = sizeof(t); i + 8 < size; i += size / 64 + 1)
		test_require(p[i] == (t.nonce & 0xff) || ppdb_view_check(s->view), "value of key %" PRIu64 " is torn at %zu of %zu", t.key, i,
			size);
}

static uint64_t churn_key(struct self *s, char *key)
{
	uint64_t k = test_chance(&s->r, 50) ? test_below(&s->r, HOT_KEYS) : test_below(&s->r, CHURN_KEYS);

	sprintf(key, "churn/%04" PRIu64, k);
	return k;
}

/* One write whose result may also be a failed precondition. */
#define TRY(s, call)                                                                                                        \
	({                                                                                                                  \
		bool durable_;                                                                                              \
		int rc_;                                                                                                    \
		do {                                                                                                        \
			ticket = 0;                                                                                         \
			rc_ = (call);                                                                                       \
			if (rc_ == PPDB_NOTFOUND || rc_ == PPDB_EXISTS || rc_ == PPDB_CONFLICT)                             \
				break;                                                                                      \
		} while (!happened(s, rc_, ticket, &durable_));                                                             \
		rc_;                                                                                                        \
	})

static void churn_cas(struct self *s, uint64_t k, const char *key)
{
	ppdb_item item = {.version = 0};
	ppdb_seq ticket;
	uint64_t newver = 0;
	int rc = ppdb_view_get(s->view, 0, text(key), &item);
	size_t size;

	if (rc && rc != PPDB_NOTFOUND)
		return;
	size = fill(s, k);
	rc = TRY(s, ppdb_cas(s->db, 0, text(key), item.version, (ppdb_slice){s->buf, size}, &async, &newver, &ticket));
	test_require(rc || newver > item.version, "cas of %s from %" PRIu64 " made version %" PRIu64, key, item.version, newver);
}

static void churn_add(struct self *s)
{
	unsigned i = (unsigned)test_below(&s->r, CREW_COUNTERS);
	char key[32];
	int64_t sum;
	ppdb_seq ticket;
	int rc;

	snprintf(key, sizeof(key), "count/%u", i);
	atomic_fetch_add(&s->m->add_begun[i], 1);
	rc = TRY(s, ppdb_add_i64(s->db, 0, text(key), 1, 0, test_chance(&s->r, 3) ? NULL : &async, &sum, &ticket));
	test_require(!rc || s->c->tolerant, "add gave %s", test_name_of(rc));
	atomic_fetch_add(&s->m->add_done[i], 1);
}

/* Its own key, which no other writes: numbers that only rise. */
static void churn_own(struct self *s)
{
	uint64_t n = atomic_load(&s->m->begun) + 1;
	char key[32], value[32];

	snprintf(key, sizeof(key), "own/%u", s->m->index);
	snprintf(value, sizeof(value), "%" PRIu64, n);
	atomic_store(&s->m->begun, n);
	put(s, key, value, strlen(value), &async);
	atomic_store(&s->m->done, n);
}

static void churn_scan(struct self *s, const char *from)
{
	ppdb_iter_opts o = {.size = sizeof(o), .prefix = PPDB_S("churn/")};
	ppdb_iter *it;
	ppdb_item item;
	char last[64] = "";
	bool back = test_chance(&s->r, 30);
	int rc;

	if (ppdb_iter_open(s->view, 0, &o, &it))
		return;
	rc = back ? ppdb_iter_seek_le(it, text(from), &item) : ppdb_iter_seek(it, text(from), &item);
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
}

static void churn_get(struct self *s, const char *key)
{
	ppdb_item item;
	int rc = ppdb_view_get(s->view, 0, text(key), &item);

	if (!rc)
		verify(s, &item);
	test_require(!rc || rc == PPDB_NOTFOUND || rc == PPDB_EVICTED, "get of %s gave %s: %s", key, test_name_of(rc), test_detail());
}

static void churn(struct self *s)
{
	uint64_t dice = test_below(&s->r, 100), k;
	ppdb_wopts absent = {.size = sizeof(absent), .flags = PPDB_ASYNC | PPDB_IFABSENT};
	ppdb_seq ticket;
	char key[32];
	size_t size;

	k = churn_key(s, key);
	if (test_chance(&s->r, 20))
		ppdb_view_refresh(s->view);
	op(s, "operation %" PRIu64 " on %s", dice, key);
	if (dice < 36) {
		size = fill(s, k);
		TRY(s, ppdb_put(s->db, 0, text(key), (ppdb_slice){s->buf, size}, dice < 2 ? NULL : dice < 6 ? &absent : &async, &ticket));
	} else if (dice < 52) {
		TRY(s, ppdb_del(s->db, 0, text(key), &async, &ticket));
	} else if (dice < 62) {
		churn_cas(s, k, key);
	} else if (dice < 72) {
		churn_add(s);
	} else if (dice < 80) {
		churn_own(s);
	} else if (dice < 94) {
		churn_get(s, key);
	} else {
		churn_scan(s, key);
	}
	op_end(s);
}

/* ---- a member's life -------------------------------------------------------------------------------------------- */

static void (*const jobs[])(struct self *) = {head, follow, sequence, churn, judge};

static void start_own(struct self *s)
{
	char key[32], value[32];
	size_t n = 0;
	int rc;

	snprintf(key, sizeof(key), "own/%u", s->m->index);
	rc = ppdb_get(s->db, 0, text(key), value, sizeof(value) - 1, &n);
	if (rc)
		return;
	value[n] = '\0';
	/* another life of this place may have begun one that nobody saw yet */
	if (strtoull(value, NULL, 10) > atomic_load(&s->m->begun))
		atomic_store(&s->m->begun, strtoull(value, NULL, 10));
}

static void live(void *arg)
{
	struct crew_member *m = *(struct crew_member **)arg;
	struct crew *c = *((struct crew **)arg + 1);
	struct self s = {.c = c, .m = m, .r = test_random(test_seed(), m->stream), .buf = malloc(BIG_MAX)};
	int rc;

	test_say("member %u, job %d", m->index, m->job);
	op(&s, "attach");
	s.db = test_store_attach(c->store, 0);
	while (m->job == CREW_CHURN && (rc = ppdb_view_begin(s.db, PPDB_VIEW_LATEST, &s.view))) {
		if (rc == -ENOSPC && !atomic_exchange(&c->described, 1))
			describe_store(s.db);
		test_require(c->tolerant, "view: %s", test_detail());
	}
	op_end(&s);
	if (m->job == CREW_CHURN)
		start_own(&s);
	while (!atomic_load(&c->quit)) {
		jobs[m->job](&s);
		atomic_fetch_add(&m->ops, 1);
	}
	op(&s, "detach");
	ppdb_view_end(s.view);
	test_ok(ppdb_detach(s.db));
}

/* ---- from outside ----------------------------------------------------------------------------------------------- */

struct crew *crew_new(struct test_store *s)
{
	struct crew *c = test_shared(sizeof(*c));

	c->store = s;
	c->generation = 1;
	return c;
}

struct crew_member *crew_hire(struct crew *c, unsigned index, enum crew_job job, unsigned number)
{
	struct crew_member *m = &c->member[index];
	void *arg[2] = {m, c};
	uint64_t begun = m->job == CREW_CHURN ? atomic_load(&m->begun) : 0;

	test_require(index < CREW_MAX && !m->pid, "place %u is taken", index);
	memset(m, 0, sizeof(*m));
	m->job = job;
	m->index = index;
	m->number = number;
	m->stream = ++c->hired;
	atomic_store(&m->begun, begun); /* own/... goes on above it */
	atomic_store(&m->done, 0);
	m->pid = test_spawn(live, arg);
	return m;
}

void crew_hire_all(struct crew *c, unsigned churn)
{
	unsigned n = 0;

	crew_hire(c, n++, CREW_HEAD, 0);
	crew_hire(c, n++, CREW_FOLLOWER, 1);
	crew_hire(c, n++, CREW_FOLLOWER, 2);
	crew_hire(c, n++, CREW_JUDGE, 0);
	crew_hire(c, n++, CREW_SEQUENCE, 0);
	crew_hire(c, n++, CREW_SEQUENCE, 1);
	for (unsigned i = 0; i < churn; i++)
		crew_hire(c, n++, CREW_CHURN, 0);
}

static void gone(struct crew *c, struct crew_member *m)
{
	m->pid = 0;
	for (unsigned i = 0; i < CREW_COUNTERS; i++) {
		c->add_low[i] += atomic_load(&m->add_done[i]);
		c->add_high[i] += atomic_load(&m->add_begun[i]);
		atomic_store(&m->add_done[i], 0);
		atomic_store(&m->add_begun[i], 0);
	}
}

void crew_kill(struct crew *c, unsigned index)
{
	struct crew_member *m = &c->member[index];

	test_require(test_kill(m->pid), "member %u ended by itself", index);
	gone(c, m);
}

static void describe_all(struct crew *c)
{
	ppdb *db = NULL;

	for (unsigned i = 0; i < CREW_MAX; i++)
		if (c->member[i].pid)
			test_describe(c->member[i].pid, c->member[i].op);
	if (!c->store->daemon)
		return;
	test_describe(c->store->daemon, "ppdbd");
	if (!ppdb_attach(c->store->socket, NULL, &db))
		describe_store(db);
}

void crew_watch(struct crew *c)
{
	uint64_t now = test_now_ns();

	for (unsigned i = 0; i < CREW_MAX; i++) {
		struct crew_member *m = &c->member[i];
		uint64_t began = atomic_load(&m->op_began_ns);
		int status;

		if (!m->pid)
			continue;
		status = test_collect(m->pid, false);
		if (status != -1) {
			gone(c, m);
			test_require(!status && atomic_load(&c->quit), "member %u ended with status %#x in %s", i, (unsigned)status, m->op);
			continue;
		}
		if (!began || m->stopped)
			continue;
		began = began > m->resumed_ns ? began : m->resumed_ns;
		if (now < began || now - began < CREW_STUCK_NS)
			continue;
		describe_all(c);
		test_require(false, "member %u (pid %d) is stuck for %" PRIu64 " ms in %s", i, (int)m->pid, (now - began) / 1000000, m->op);
	}
}

void crew_dismiss(struct crew *c)
{
	atomic_store(&c->quit, 1);
	for (unsigned i = 0; i < CREW_MAX; i++)
		while (c->member[i].pid) {
			crew_watch(c);
			usleep(1000);
		}
	atomic_store(&c->quit, 0);
}

static bool stands(pid_t pid)
{
	char path[64], stat[512] = "", *p;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "r");
	if (!f)
		return false;
	stat[fread(stat, 1, sizeof(stat) - 1, f)] = '\0';
	fclose(f);
	p = strrchr(stat, ')');
	return p && p[2] == 'T';
}

void crew_stop(struct crew *c)
{
	for (unsigned i = 0; i < CREW_MAX; i++)
		if (c->member[i].pid)
			kill(c->member[i].pid, SIGSTOP);
	for (unsigned i = 0; i < CREW_MAX; i++) {
		struct crew_member *m = &c->member[i];

		for (unsigned n = 0; m->pid && !stands(m->pid); n++) {
			if (n > 1000)
				crew_watch(c);
			usleep(200);
		}
		m->stopped = true;
	}
}

void crew_continue(struct crew *c)
{
	for (unsigned i = 0; i < CREW_MAX; i++) {
		struct crew_member *m = &c->member[i];

		m->stopped = false;
		m->resumed_ns = test_now_ns();
		if (m->pid)
			kill(m->pid, SIGCONT);
	}
}

static bool current(struct crew *c, const struct crew_member *m)
{
	return m->job == CREW_CHURN || m->job == CREW_JUDGE || atomic_load(&m->generation) == atomic_load(&c->generation);
}

void crew_progress(struct crew *c, uint64_t ops)
{
	uint64_t before[CREW_MAX], begin = test_now_ns();

	for (unsigned i = 0; i < CREW_MAX; i++)
		before[i] = atomic_load(&c->member[i].ops);
	for (unsigned i = 0; i < CREW_MAX; i++) {
		struct crew_member *m = &c->member[i];

		while (m->pid && (atomic_load(&m->ops) < before[i] + ops || !current(c, m))) {
			crew_watch(c);
			test_require(test_now_ns() - begin < 2 * CREW_STUCK_NS, "member %u makes no progress: %s, generation %" PRIu64
				" of %" PRIu64, i, m->op, atomic_load(&m->generation), atomic_load(&c->generation));
			usleep(500);
		}
	}
}

/* ---- verdicts --------------------------------------------------------------------------------------------------- */

void crew_judge_recovered(struct crew *c, ppdb *db, bool all)
{
	uint64_t generation = atomic_load(&c->generation);
	ppdb_view *v;

	test_ok(ppdb_view_begin(db, PPDB_VIEW_FRESH, &v));
	judge_chain(v, generation, "after the restart");
	for (unsigned i = 0; i < CREW_MAX; i++) {
		struct crew_member *m = &c->member[i];
		uint64_t owed = atomic_load(all ? &m->done : &m->durable), last = 0;
		char value[32] = "";

		if (!m->pid || atomic_load(&m->generation) != generation)
			continue;
		if (m->job == CREW_HEAD && chain_value(v, 0, value) && strtoull(value, NULL, 16) == generation)
			last = strtoull(value + 9, NULL, 10);
		else if (m->job == CREW_SEQUENCE)
			judge_sequence(v, m->number, generation, "after the restart", &last);
		else
			continue;
		test_require(last >= owed, "member %u: %s up to %" PRIu64 ", but only %" PRIu64 " is there (chain/0 = %s)", i,
			all ? "it returned" : "it was durable", owed, last, value);
		test_require(last <= atomic_load(&m->begun), "member %u: %" PRIu64 " is there, but it began only %" PRIu64, i, last,
			atomic_load(&m->begun));
	}
	ppdb_view_end(v);
}

void crew_judge_counters(struct crew *c, ppdb *db)
{
	for (unsigned i = 0; i < CREW_COUNTERS; i++) {
		char key[32], value[32];
		size_t n = 0;
		uint64_t sum;
		int rc;

		snprintf(key, sizeof(key), "count/%u", i);
		rc = ppdb_get(db, 0, text(key), value, sizeof(value) - 1, &n);
		test_require(!rc || (rc == PPDB_NOTFOUND && !c->add_low[i]), "%s gave %s", key, test_name_of(rc));
		value[n] = '\0';
		sum = strtoull(value, NULL, 10);
		test_require(rc || (sum >= c->add_low[i] && sum <= c->add_high[i]), "%s is %" PRIu64 ", but %" PRIu64 " to %" PRIu64
			" were added", key, sum, c->add_low[i], c->add_high[i]);
	}
}

void crew_judge_own(struct crew *c, ppdb *db, unsigned index)
{
	struct crew_member *m = &c->member[index];
	char key[32], value[32];
	uint64_t number = 0;
	size_t n;
	int rc;

	if (m->job != CREW_CHURN)
		return;
	snprintf(key, sizeof(key), "own/%u", index);
	rc = ppdb_get(db, 0, text(key), value, sizeof(value) - 1, &n);
	test_require(!rc || rc == PPDB_NOTFOUND, "get gave %s", test_name_of(rc));
	if (!rc) {
		value[n] = '\0';
		number = strtoull(value, NULL, 10);
	}
	test_require(number >= atomic_load(&m->done) && number <= atomic_load(&m->begun),
		"%s is %" PRIu64 ", but %" PRIu64 " returned and %" PRIu64 " were begun", key, number, atomic_load(&m->done),
		atomic_load(&m->begun));
}

struct found {
	char text[16][256];
	unsigned count;
};

static void find(void *ctx, const char *problem)
{
	struct found *f = ctx;

	if (f->count < 16)
		snprintf(f->text[f->count++], sizeof(f->text[0]), "%s", problem);
}

/* What is still in the way of a settled store, or NULL. */
static const char *unsettled(ppdb *db, unsigned processes, unsigned slots, struct pp_check_report *r, struct found *f)
{
	static char why[256];
	struct pp_region *region = pp_client_region(db);
	unsigned used = 0, procs = 0;
	struct pp_thread *t;
	int rc;

	test_ok(pp_client_thread(db, &t));
	f->count = 0;
	rc = pp_check(t, true, r, find, f);
	test_require(rc >= 0, "check: %s", test_name_of(rc));
	for (unsigned i = 0; i < region->header->slots; i++)
		used += pp_slot_state(pp_load_acq(&region->slots[i].owner)) != PP_SLOT_FREE;
	for (unsigned i = 0; i < region->header->procs; i++)
		procs += pp_load_acq(&region->procs[i].state) != 0;
	if (r->problems)
		snprintf(why, sizeof(why), "%" PRIu64 " problems, the first: %.180s", r->problems, f->text[0]);
	else if (r->private_bytes)
		snprintf(why, sizeof(why), "%" PRIu64 " bytes are private to nobody", r->private_bytes);
	else if (r->limbo_bytes > LIMBO_MAX)
		snprintf(why, sizeof(why), "%" PRIu64 " bytes wait to be freed", r->limbo_bytes);
	else if (used > slots)
		snprintf(why, sizeof(why), "%u slots are taken, not %u", used, slots);
	else if (procs > processes)
		snprintf(why, sizeof(why), "%u process records are taken, not %u", procs, processes);
	else
		return NULL;
	return why;
}

struct crew_memory crew_settled(const char *when, ppdb *db, unsigned processes, unsigned slots)
{
	uint64_t begin = test_now_ns();
	struct pp_check_report r;
	struct found f = {.count = 0};
	const char *why;

	test_say("%s: waiting for the store to settle", when);
	while ((why = unsettled(db, processes, slots, &r, &f))) {
		if (test_now_ns() - begin > CREW_STUCK_NS) {
			for (unsigned i = 0; i < f.count; i++)
				dprintf(2, "problem: %s\n", f.text[i]);
			test_require(false, "%s: the store does not settle: %s", when, why);
		}
		usleep(20000);
	}
	return (struct crew_memory){r.keys, r.live_bytes, r.limbo_bytes, r.committed_bytes};
}
