/*
 * solo.c - a store in one thread, and its model (see solo.h).
 *
 * The keeper's own clocks (rounds each millisecond, sweeps each 200) are set back at each turn, so that turns need no sleep.
 */
#include "tests/lib/solo.h"

#include "engine/bookmark.h"
#include "engine/index.h"
#include "engine/keeper_internal.h"
#include "engine/wal_writer.h"
#include "shm/clock.h"
#include "shm/errors.h"
#include "shm/live.h"
#include "shm/reclaim.h"
#include "tests/lib/proc.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define TURNS_MAX 2000

/* ---- the daemon ------------------------------------------------------------------------------------------------- */

struct pp_keeper_config solo_config(const struct solo *s, const char *data, const char *arena)
{
	const struct solo_options *o = &s->options;

	return (struct pp_keeper_config){
		.data_dir = data, .store_id = 77, .wal_backend = "pwrite", .checkpoint_streams = 1,
		.wal_segment_bytes = o->segment_bytes ? o->segment_bytes : 1 << 20,
		.region = {.path = arena, .name = "solo", .memory_bytes = o->memory_bytes ? o->memory_bytes : 16 << 20,
			.daemon_slots = 6, .slots = o->slots ? o->slots : 14, .procs = 12, .ring_entries = 256, .stripes = 16,
			.sync_mode = o->sync, .shards = o->shards ? o->shards : 1, .strategy = o->strategy, .pages = PP_MEM_4K,
			.spin_ns = 1000, .backoff_max = 64},
	};
}

/* A daemon's children have no use for the log's buffers; ours are daemons themselves. */
static void let_fork(struct pp_wal *wal)
{
	test_require(!madvise(wal->buffers, (size_t)wal->slot_count * wal->config.batch_bytes, MADV_DOFORK), "MADV_DOFORK: %s",
		strerror(errno));
}

void solo_open(struct solo *s, struct solo_options options)
{
	struct pp_keeper_config c;
	char command[128];
	int rc;

	memset(s, 0, sizeof(*s));
	s->options = options;
	s->write = calloc(SOLO_WRITES, sizeof(*s->write));
	snprintf(s->dir, sizeof(s->dir), "%s/ppdb-solo-XXXXXX", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
	test_require(s->write && mkdtemp(s->dir), "%s: %s", s->dir, strerror(errno));
	snprintf(s->data, sizeof(s->data), "%s/data", s->dir);
	snprintf(s->arena, sizeof(s->arena), "%s/arena", s->dir);
	snprintf(command, sizeof(command), "mkdir %s", s->data);
	test_require(!system(command), "%s", command);
	c = solo_config(s, s->data, s->arena);
	rc = pp_keeper_open(&c, &s->keeper);
	test_require(!rc, "open: %s: %s", test_name_of(rc), pp_detail_get());
	let_fork(s->keeper->wal);
	s->region = pp_keeper_region(s->keeper);
	s->victim_proc = solo_client(s, "victim", (uint32_t)getpid(), &s->victim);
	s->other_proc = solo_client(s, "other", (uint32_t)getpid(), &s->other);
	solo_turns(s, 4);
}

static void move_thread(struct solo *s, struct pp_thread *t)
{
	if (!t->slot)
		return;
	t->region = s->region;
	t->slot = &s->region->slots[t->index];
}

void solo_adopt(struct solo *s, const char *data, const char *arena, bool warm, bool attached)
{
	struct pp_keeper_config c = solo_config(s, data, arena);
	int rc = pp_keeper_open(&c, &s->keeper);

	test_require(!rc, "open again: %s: %s", test_name_of(rc), pp_detail_get());
	test_require(pp_keeper_was_warm(s->keeper) == warm, "the next daemon started %s", warm ? "cold" : "warm");
	s->region = pp_keeper_region(s->keeper);
	if (attached) {
		move_thread(s, &s->victim);
		move_thread(s, &s->other);
	} else {
		s->victim_proc = solo_client(s, "victim", (uint32_t)getpid(), &s->victim);
		s->other_proc = solo_client(s, "other", (uint32_t)getpid(), &s->other);
		solo_turns(s, 3);
	}
}

void solo_end(struct solo *s)
{
	if (s->dir[0])
		solo_remove_tree(s->dir);
	s->dir[0] = '\0';
}

void solo_turns(struct solo *s, unsigned n)
{
	struct pp_keeper *k = s->keeper;

	while (n--) {
		int rc = pp_keeper_step(k);

		test_require(rc >= 0, "step: %s: %s", test_name_of(rc), pp_detail_get());
		k->round.started_ns = 0;
		k->leaf_sweep.started_ns = 0;
		memset(&k->catalog_next, 0, sizeof(k->catalog_next));
		k->expire_ns = 0;
		rc = pp_keeper_house(k);
		test_require(rc >= 0, "house: %s", test_name_of(rc));
		rc = pp_keeper_prepare(k);
		test_require(rc >= 0, "prepare: %s: %s", test_name_of(rc), pp_detail_get());
	}
}

void solo_durable(struct solo *s)
{
	struct pp_globals *g = s->region->globals;
	uint64_t target = pp_load_acq(&g->open_epoch);

	pp_store_rel(&s->keeper->want_epoch, target);
	for (unsigned n = 0; pp_load_acq(&g->durable_epoch) < target; n++) {
		test_require(n < TURNS_MAX, "epoch %" PRIu64 " does not become durable", target);
		solo_turns(s, 1);
	}
}

void solo_bury(struct solo *s, uint32_t proc)
{
	struct pp_proc *p = &s->region->procs[proc];

	if (!pp_load_acq(&p->state) || pp_load_acq(&p->flags) & PP_PROC_DAEMON)
		return; /* the daemon before this one had buried it, and this one may have its record */
	pp_store_rel(&p->start, 1); /* whoever looks sees that it is dead */
	pp_keeper_proc_gone(s->keeper, proc);
}

static bool buried(struct solo *s)
{
	for (uint32_t p = 0; p < s->region->header->procs; p++)
		if (pp_load_acq(&s->keeper->gone[p]))
			return false;
	return true;
}

/* Owners sweep their own pages when they allocate; what lies in the others the keeper must free. */
static int count_limbo(void *ctx, pp_ref payload, uint64_t bytes, uint64_t word)
{
	struct solo *s = ctx;
	uint64_t page = pp_load_acq(&s->region->pages[pp_page_index(s->region, payload - sizeof(struct pp_block))].word);
	unsigned owner = pp_page_type(page) == PP_PAGE_BLOCKS ? pp_page_owner(page) : 0;

	(void)bytes;
	if (pp_block_state(word) == PP_BLOCK_RETIRED &&
	    (!owner || pp_slot_state(pp_load_acq(&s->region->slots[owner - 1].owner)) != PP_SLOT_CLAIMED))
		s->limbo++;
	return 0;
}

/* Nothing is left to do: no process to reap, no cell to look at again, nothing in limbo. */
static const char *unsettled(struct solo *s)
{
	struct pp_keeper *k = s->keeper;
	struct pp_account a;

	if (!buried(s))
		return "a dead process still has a slot";
	if (pp_load_acq(&k->todo->head) != pp_load_acq(&k->todo->tail) || pp_load_acq(&k->todo_overflow) || k->leaf_sweep.active)
		return "there are cells to look at";
	if (pp_catalog_busy(k))
		return "a table is being emptied, or half made";
	if (k->expire.active || pp_load_rlx(&k->next_expiry_ms) <= pp_wall_ms())
		return "expired values are being removed";
	if (k->round.running || k->round.idle < 4)
		return "a round is under way";
	s->limbo = 0;
	if (pp_account_walk(s->region, &a, count_limbo, s) < 0)
		return "the account cannot be made";
	if (s->limbo)
		return "blocks are in limbo";
	return NULL;
}

static int limbo_block(void *ctx, pp_ref payload, uint64_t bytes, uint64_t word)
{
	struct solo *s = ctx;
	struct pp_page *p = &s->region->pages[pp_page_index(s->region, payload - sizeof(struct pp_block))];
	uint64_t page = pp_load_acq(&p->word);

	if (pp_block_state(word) == PP_BLOCK_RETIRED)
		dprintf(2, "in limbo: block %#" PRIx64 " of %" PRIu64 " bytes, kind %u, born in era %" PRIu64 ", retired in %#" PRIx64
			"; its page: type %d, owner %u, limbo bits %s\n", payload, bytes, pp_block_kind(word), pp_block_birth(word),
			pp_load_acq(&pp_block_at(s->region, payload)->retired), pp_page_type(page), pp_page_owner(page),
			pp_load_acq(&p->limbo[0]) || pp_load_acq(&p->limbo[1]) ? "set" : "not in its first words");
	return 0;
}

void solo_settle(struct solo *s)
{
	const char *why = "it did not begin";
	struct pp_account a;

	for (unsigned n = 0; n < TURNS_MAX; n++) {
		solo_turns(s, 4);
		if (!(why = unsettled(s)))
			return;
	}
	pp_account_walk(s->region, &a, limbo_block, s);
	test_require(false, "the store does not settle: %s (era %" PRIu64 ", todo %" PRIu64 " of %" PRIu64 ", overflow %d, sweep %d,"
		" prune floor %" PRIu64 ")", why, pp_load_acq(&s->region->globals->era), pp_load_acq(&s->keeper->todo->head),
		pp_load_acq(&s->keeper->todo->tail), pp_load_acq(&s->keeper->todo_overflow), s->keeper->leaf_sweep.active,
		pp_load_acq(&s->region->globals->prune_floor));
}

/* ---- clients ---------------------------------------------------------------------------------------------------- */

uint32_t solo_client(struct solo *s, const char *name, uint32_t pid, struct pp_thread *t)
{
	uint32_t proc;
	int rc = pp_keeper_proc_add(s->keeper, pid, 0, pp_self_start(), 0, name, &proc);

	test_require(!rc, "record for %s: %s", name, test_name_of(rc));
	if (t) {
		rc = pp_slot_claim(s->region, proc, t);
		test_require(!rc, "slot for %s: %s", name, pp_detail_get());
	}
	return proc;
}

struct pp_key solo_name(const char *name)
{
	return (struct pp_key){0, (uint32_t)strlen(name), name};
}

void *solo_bytes(uint64_t number, size_t size)
{
	char *p = malloc(size ? size : 1);

	for (size_t i = 0; i < size; i++)
		p[i] = (char)(number * 131 + i * 7 + (i >> 8));
	return p;
}

/* ---- the model -------------------------------------------------------------------------------------------------- */

static struct solo_key *entry(struct solo *s, const char *name, uint32_t size)
{
	for (unsigned i = s->keys; i-- > 0;)
		if (strlen(s->key[i].name) == size && !memcmp(s->key[i].name, name, size))
			return &s->key[i];
	test_require(s->keys < SOLO_KEYS, "too many keys");
	s->key[s->keys].name = strndup(name, size);
	return &s->key[s->keys++];
}

static struct solo_key *entry_of(struct solo *s, const struct pp_write *w)
{
	return entry(s, w->key.data, w->key.size);
}

/* What the key holds after w, if w can be done on `before`. */
static int apply(const struct solo_value *before, const struct pp_write *w, struct solo_value *after)
{
	uint64_t version = before->present ? before->version : 0;
	char text[32];
	long long sum;

	if (w->flags & PP_W_CAS && w->expect != version)
		return PPDB_CONFLICT;
	if (w->flags & PP_W_IFABSENT && before->present)
		return PPDB_EXISTS;
	if (w->flags & (PP_W_IFPRESENT | PP_W_DELETE | PP_W_TOUCH) && !before->present)
		return PPDB_NOTFOUND;
	*after = (struct solo_value){.present = !(w->flags & PP_W_DELETE)};
	if (w->flags & PP_W_ADD) {
		snprintf(text, sizeof(text), "%.*s", before->present ? (int)before->size : 0, before->present ? before->bytes : "");
		sum = (before->present ? strtoll(text, NULL, 10) : w->initial) + w->delta;
		after->bytes = malloc(32);
		after->size = (size_t)snprintf(after->bytes, 32, "%lld", sum);
	} else if (w->flags & PP_W_TOUCH) {
		after->size = before->size;
		after->bytes = malloc(before->size ? before->size : 1);
		memcpy(after->bytes, before->bytes, before->size);
	} else if (after->present) {
		after->size = w->size;
		after->bytes = malloc(w->size ? w->size : 1);
		memcpy(after->bytes, w->value, w->size);
	}
	return 0;
}

static void note(struct solo *s, struct solo_key *e, uint64_t tag)
{
	test_require(s->writes < SOLO_WRITES, "too many writes");
	s->write[s->writes++] = (struct solo_write){(unsigned)(e - s->key), tag, e->now};
}

void solo_maybe(struct solo *s, const struct pp_write *w)
{
	struct solo_key *e = entry_of(s, w);

	test_require(e->maybes < SOLO_MAYBE, "too many uncertain writes of %s", e->name);
	if (!apply(&e->now, w, &e->maybe[e->maybes]))
		e->maybes++;
}

/* The n-th of the uncertain writes has happened (0: none of them): later ones may happen yet. */
static void became(struct solo_key *e, unsigned n)
{
	if (!n)
		return;
	e->now = e->maybe[n - 1];
	e->maybes -= n;
	e->seen = !e->now.present; /* absence has no version */
	memmove(e->maybe, e->maybe + n, e->maybes * sizeof(*e->maybe));
}

static void written(struct solo *s, struct solo_key *e, const struct solo_value *after, const struct pp_write *w)
{
	e->now = *after;
	e->now.version = w->version;
	e->maybes = 0; /* whatever came before is decided, and below it */
	e->seen = false;
	note(s, e, w->tag);
}

void solo_returned(struct solo *s, const struct pp_write *w, int rc)
{
	struct solo_key *e = entry_of(s, w);
	struct solo_value after;
	int expected = apply(&e->now, w, &after);
	unsigned maybes = e->maybes;

	for (unsigned i = 0; i < maybes && expected && !rc; i++) /* on top of a write that was uncertain so far? */
		expected = apply(&e->maybe[i], w, &after);
	e->maybes = 0;
	if (rc) {
		test_require(rc == PPDB_CONFLICT || rc == PPDB_EXISTS || rc == PPDB_NOTFOUND, "a write of %s gave %s: %s", e->name,
			test_name_of(rc), pp_detail_get());
		test_require(!maybes || rc == expected, "a write of %s gave %s, but nothing stood in its way", e->name, test_name_of(rc));
		return;
	}
	if (e->seen || w->version <= e->now.version) /* it came before what others wrote */
		return;
	test_require(!expected, "a write of %s was done that cannot be: %s", e->name, test_name_of(expected));
	written(s, e, &after, w);
}

static bool sum_is(const struct pp_write *w, const struct solo_value *after)
{
	return !(w->flags & PP_W_ADD) || strtoll(after->bytes, NULL, 10) == w->result;
}

void solo_do(struct solo *s, struct pp_thread *t, struct pp_write *w)
{
	struct solo_key *e = entry_of(s, w);
	struct solo_value after = {0};
	uint64_t before = e->now.version;
	unsigned n, found = SOLO_MAYBE + 1;
	int rc;

	if (!w->timeout_ns)
		w->timeout_ns = 2 * PP_NS_PER_SEC;
	rc = pp_write(t, w);
	for (n = 0; n <= e->maybes && found > e->maybes; n++) {
		const struct solo_value *base = n ? &e->maybe[n - 1] : &e->now;

		if (apply(base, w, &after) == rc && (rc || sum_is(w, &after)))
			found = n;
	}
	test_require(found <= e->maybes, "a write of %s gave %s: %s", e->name, test_name_of(rc), pp_detail_get());
	if (rc) {
		became(e, found);
		return;
	}
	test_require(w->version > before, "%s: version %" PRIu64 " after %" PRIu64, e->name, w->version, before);
	written(s, e, &after, w);
}

void solo_put(struct solo *s, const char *key, uint64_t number, size_t size)
{
	struct pp_write w = {.key = solo_name(key), .value = solo_bytes(number, size), .size = size};

	solo_do(s, &s->other, &w);
	free((void *)(uintptr_t)w.value);
	if (s->writes % 64 == 0)
		solo_turns(s, 1);
}

void solo_del(struct solo *s, const char *key)
{
	struct pp_write w = {.key = solo_name(key), .flags = PP_W_DELETE};

	solo_do(s, &s->other, &w);
}

static bool same(const struct solo_value *v, int rc, const struct pp_hit *hit)
{
	if (rc)
		return !v->present;
	return v->present && v->size == hit->size && !memcmp(v->bytes, hit->value, hit->size) &&
	       (!v->version || v->version == hit->version);
}

/* Compares what was found with the model. */
static void compare(struct solo *s, struct solo_key *e, int rc, const struct pp_hit *hit)
{
	unsigned n = 0;

	test_require(!rc || rc == PPDB_NOTFOUND, "reading %s gave %s", e->name, test_name_of(rc));
	if (same(&e->now, rc, hit))
		return;
	while (n < e->maybes && !same(&e->maybe[n], rc, hit))
		n++;
	test_require(n < e->maybes, "%s: %s of %zu bytes, version %" PRIu64 "; it should be %s of %zu bytes, version %" PRIu64 "%s", e->name,
		rc ? "nothing" : "a value", rc ? 0 : (size_t)hit->size, rc ? 0 : hit->version, e->now.present ? "a value" : "nothing",
		e->now.size, e->now.version, e->maybes ? ", or another" : "");
	became(e, n + 1);
	e->now.version = rc ? 0 : hit->version;
	note(s, e, rc ? 0 : hit->tag);
}

void solo_get(struct solo *s, struct pp_thread *t, const char *key)
{
	struct pp_key k = solo_name(key);
	struct pp_hit hit;
	int rc;

	pp_read_enter(t);
	rc = pp_read(t, &k, PP_LATEST, &hit);
	compare(s, entry(s, key, k.size), rc, &hit);
	pp_read_leave(t);
}

static int by_name(const void *a, const void *b)
{
	const struct solo_key *x = *(struct solo_key *const *)a, *y = *(struct solo_key *const *)b;

	return strcmp(x->name, y->name);
}

static struct solo_key **sorted(struct solo *s)
{
	struct solo_key **all = malloc((s->keys + 1) * sizeof(struct solo_key *));

	for (unsigned i = 0; i < s->keys; i++)
		all[i] = &s->key[i];
	qsort(all, s->keys, sizeof(struct solo_key *), by_name);
	return all;
}

/* The next key of the model in that direction which may be there; *at moves. */
static struct solo_key *following(struct solo *s, struct solo_key **all, long *at, bool backward)
{
	while (backward ? --*at >= 0 : ++*at < (long)s->keys)
		if (all[*at]->now.present || all[*at]->maybes)
			return all[*at];
	return NULL;
}

void solo_scan(struct solo *s, struct pp_thread *t, const char *from, unsigned n, bool backward)
{
	struct solo_key **all = sorted(s);
	struct pp_cursor_opts o = {.snapshot = PP_LATEST};
	long at = backward ? (long)s->keys : -1;
	struct pp_cursor *c;
	struct pp_hit hit;
	int rc;

	for (unsigned i = 0; from && i < s->keys; i++)
		if (backward ? strcmp(all[i]->name, from) <= 0 : strcmp(all[i]->name, from) < 0)
			at = backward ? (long)i + 1 : (long)i;
	pp_read_enter(t);
	test_require(!pp_cursor_open(t, &o, &c), "opening a cursor");
	if (from)
		rc = backward ? pp_cursor_seek_le(c, from, (uint32_t)strlen(from), &hit) : pp_cursor_seek(c, from, (uint32_t)strlen(from), &hit);
	else
		rc = backward ? pp_cursor_last(c, &hit) : pp_cursor_first(c, &hit);
	for (; n; n--) {
		struct solo_key *e = following(s, all, &at, backward);
		bool here;

		test_require(!rc || rc == PPDB_NOTFOUND, "a scan gave %s", test_name_of(rc));
		here = e && !rc && hit.key_size == strlen(e->name) && !memcmp(hit.key, e->name, hit.key_size);
		if (e && !here && e->maybes) {
			compare(s, e, PPDB_NOTFOUND, NULL); /* not there: may that be? */
			continue;
		}
		test_require(!!e == !rc, "a %s scan %s at %s", backward ? "backward" : "forward", e ? "ends early" : "does not end",
			e ? e->name : "the end");
		if (!e)
			break;
		test_require(here, "a %s scan found %.*s, not %s", backward ? "backward" : "forward", (int)hit.key_size,
			(const char *)hit.key, e->name);
		compare(s, e, 0, &hit);
		rc = backward ? pp_cursor_prev(c, &hit) : pp_cursor_next(c, &hit);
	}
	pp_cursor_close(c);
	pp_read_leave(t);
	free(all);
}

static void write_one(struct solo *s, struct pp_thread *t, const char *key, unsigned variant)
{
	struct pp_write w = {.key = solo_name(key), .size = 20 + variant * 37 % 200};
	bool is_number = !strncmp(key, "number", 6);

	if (variant % 4 == 1)
		w = (struct pp_write){.key = w.key, .flags = PP_W_DELETE};
	else if (is_number)
		w = (struct pp_write){.key = w.key, .flags = PP_W_ADD, .delta = 5};
	else
		w.value = solo_bytes(1000 + variant, w.size);
	solo_do(s, t, &w);
	solo_get(s, t, key);
}

void solo_work(struct solo *s, struct pp_thread *t, const char *const *keys, unsigned n, unsigned variant)
{
	for (unsigned i = 0; i < n && keys[i]; i++) {
		solo_get(s, t, keys[i]);
		if ((variant + i) % 4)
			write_one(s, t, keys[i], variant / 4 + i);
	}
	solo_scan(s, t, keys[0], 70, variant & 1);
}

/* ---- judging ---------------------------------------------------------------------------------------------------- */

static void problem(void *ctx, const char *text)
{
	(void)ctx;
	dprintf(2, "check: %s\n", text);
}

/* Present keys of one table. */
static uint64_t count_table(struct pp_thread *t, uint32_t table)
{
	struct pp_cursor_opts o = {.table = table, .snapshot = PP_LATEST};
	struct pp_cursor *c;
	struct pp_hit hit;
	uint64_t n = 0;

	pp_read_enter(t);
	test_require(!pp_cursor_open(t, &o, &c), "a cursor");
	for (int rc = pp_cursor_first(c, &hit); !rc; rc = pp_cursor_next(c, &hit))
		n++;
	pp_cursor_close(c);
	pp_read_leave(t);
	return n;
}

/* What the model does not know: the catalog, and tables that are in it. */
static uint64_t count_named(struct solo *s, struct pp_thread *t)
{
	struct pp_engine *e = s->region->engine;
	uint64_t n = count_table(t, PP_TABLE_CATALOG) + count_table(t, PP_TABLE_BOOKMARKS);

	for (unsigned i = 0; i < PP_TABLES; i++) {
		uint64_t word = pp_load_acq(&e->table[i].word);

		if (pp_table_state(word) == PP_TABLE_OPEN)
			n += count_table(t, pp_table_id(word));
	}
	return n;
}

static void check(struct solo *s, struct pp_thread *t)
{
	struct pp_check_report r;
	uint64_t keys = count_named(s, t);
	int rc = pp_check(t, true, &r, problem, NULL);

	for (unsigned i = 0; i < s->keys; i++)
		keys += s->key[i].now.present;
	test_require(!rc, "the check found %d problems", rc);
	test_require(!r.private_bytes, "%" PRIu64 " bytes are private to nobody", r.private_bytes);
	test_require(!r.unaccounted_bytes, "%" PRIu64 " bytes are not accounted for", r.unaccounted_bytes);
	test_require(r.keys - r.tombstones == keys, "%" PRIu64 " cells and %" PRIu64 " tombstones, but %" PRIu64 " keys", r.keys,
		r.tombstones, keys);
}

void solo_judge(struct solo *s, bool quiet)
{
	struct pp_thread *t = &s->keeper->ckpt;

	for (unsigned i = 0; i < s->keys; i++) {
		solo_get(s, t, s->key[i].name);
		s->key[i].maybes = 0; /* what has not happened never will */
	}
	solo_scan(s, t, NULL, SOLO_KEYS + 1, false);
	solo_scan(s, t, NULL, SOLO_KEYS + 1, true);
	if (quiet)
		check(s, t);
}

/* ---- after a cold start ----------------------------------------------------------------------------------------- */

static bool holds(struct pp_thread *t, const struct solo_key *e, const struct solo_value *v)
{
	struct pp_key k = solo_name(e->name);
	struct pp_hit hit;

	return same(v, pp_read(t, &k, PP_LATEST, &hit), &hit);
}

/* What each key held after the last write with a tag up to `tag`. */
static struct solo_value *held_at(const struct solo *s, uint64_t tag)
{
	struct solo_value *held = calloc(s->keys + 1, sizeof(*held));
	unsigned n = 0;

	for (unsigned i = 0; i < s->writes; i++)
		if (s->write[i].tag <= tag)
			n = i + 1;
	for (unsigned i = 0; i < n; i++)
		held[s->write[i].key] = s->write[i].value;
	return held;
}

void solo_judge_cold(struct solo *s, const char *data, uint64_t durable)
{
	struct pp_check_report r;
	struct pp_keeper_config c;
	struct pp_keeper *k;
	char arena[160];
	struct solo_value *held;
	uint64_t upto;
	int rc;

	snprintf(arena, sizeof(arena), "%s.cold", data);
	unlink(arena);
	c = solo_config(s, data, arena);
	rc = pp_keeper_open(&c, &k);
	test_require(!rc, "cold start: %s: %s", test_name_of(rc), pp_detail_get());
	test_require(!pp_keeper_was_warm(k), "a new arena is not warm");
	upto = pp_load_acq(&pp_keeper_region(k)->globals->settled_epoch);
	if (upto < durable) /* epochs without a write are durable with the one before, and leave no trace */
		upto = durable;
	held = held_at(s, upto);
	pp_read_enter(&k->ckpt);
	for (unsigned i = 0; i < s->keys; i++)
		test_require(holds(&k->ckpt, &s->key[i], &held[i]) || (s->key[i].maybes && holds(&k->ckpt, &s->key[i], &s->key[i].maybe[0])), "after a cold start up to epoch %" PRIu64 " %s holds something else",
			upto, s->key[i].name);
	pp_read_leave(&k->ckpt);
	free(held);
	test_require(!pp_check(&k->ckpt, true, &r, problem, NULL), "the check after a cold start found %" PRIu64 " problems", r.problems);
	unlink(arena);
}
