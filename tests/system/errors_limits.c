/*
 * errors_limits.c - the limits that a program can run into: sizes of keys and values, slots, clients, read-only handles, forked handles.
 * Each gives its code and sentence, changes nothing, and the handle goes on working.
 */
#include "tests/lib/ledger.h"
#include "tests/lib/store.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(errors_limits, .fini = test_stores_end, .timeout = 180);

static struct test_store s;
static ppdb *db;

static void says(const char *text)
{
	test_require(strstr(test_detail(), text), "no '%s' in: %s", text, test_detail());
}

static void begin(const char *options)
{
	test_begin(150);
	test_store_start(&s, options);
	db = test_store_attach(&s, 0);
}

/* ---- sizes */

static char bytes[4098];

static void bad_key(size_t size)
{
	ppdb_slice k = {bytes, size};
	ppdb_item item;
	ppdb_view *v;
	ppdb_iter *it;
	ppdb_seq t = 7;
	char buf[8];
	int64_t n;

	test_expect(PPDB_KEYSIZE, ppdb_put(db, 0, k, PPDB_S("v"), NULL, &t));
	test_require(t == 0, "a failed put gave ticket %llu", (unsigned long long)t);
	says("1 to 4096 bytes");
	test_expect(PPDB_KEYSIZE, ppdb_get(db, 0, k, buf, sizeof(buf), NULL));
	test_expect(PPDB_KEYSIZE, ppdb_del(db, 0, k, NULL, NULL));
	test_expect(PPDB_KEYSIZE, ppdb_cas(db, 0, k, 0, PPDB_S("v"), NULL, NULL, NULL));
	test_expect(PPDB_KEYSIZE, ppdb_add_i64(db, 0, k, 1, 0, NULL, &n, NULL));
	test_ok(ppdb_view_begin(db, PPDB_VIEW_LATEST, &v));
	test_expect(PPDB_KEYSIZE, ppdb_view_get(v, 0, k, &item));
	if (size) {
		test_expect(PPDB_KEYSIZE, ppdb_iter_open(v, 0, &(ppdb_iter_opts){.size = sizeof(ppdb_iter_opts), .lower = k}, &it));
		test_expect(PPDB_KEYSIZE, ppdb_iter_open(v, 0, &(ppdb_iter_opts){.size = sizeof(ppdb_iter_opts), .prefix = k}, &it));
	}
	test_ok(ppdb_iter_open(v, 0, NULL, &it));
	test_ok(ppdb_iter_first(it, &item));
	test_require(item.key.size == 4096, "%zu", item.key.size);
	test_expect(PPDB_NOTFOUND, ppdb_iter_next(it, &item));
	ppdb_iter_close(it);
	ppdb_view_end(v);
}

Test(errors_limits, key_size)
{
	begin("--memory 64M");
	memset(bytes, 'k', sizeof(bytes));
	test_ok(ppdb_put(db, 0, (ppdb_slice){bytes, 4096}, PPDB_S("v"), NULL, NULL));
	bad_key(0);
	bad_key(4097);
	test_ok(ppdb_detach(db));
}

Test(errors_limits, value_size)
{
	size_t most = 64u << 20, len;
	char *big, *back;

	begin("--memory 512M");
	big = malloc(most + 1);
	back = malloc(most);
	test_require(big && back, "no memory");
	memset(big, 'v', most + 1);
	test_ok(ppdb_put(db, 0, PPDB_S("k"), PPDB_S("old"), NULL, NULL));
	test_expect(PPDB_VALSIZE, ppdb_put(db, 0, PPDB_S("k"), (ppdb_slice){big, most + 1}, NULL, NULL));
	says("64 MiB");
	test_expect(PPDB_VALSIZE, ppdb_cas(db, 0, PPDB_S("k"), 1, (ppdb_slice){big, most + 1}, NULL, NULL, NULL));
	test_expect(-EINVAL, ppdb_put(db, 0, PPDB_S("k"), (ppdb_slice){NULL, 1}, NULL, NULL));
	test_ok(ppdb_get(db, 0, PPDB_S("k"), back, most, &len));
	test_require(len == 3 && !memcmp(back, "old", 3), "%zu bytes", len);
	test_ok(ppdb_put(db, 0, PPDB_S("k"), (ppdb_slice){big, most}, NULL, NULL));
	test_expect(-ENOBUFS, ppdb_get(db, 0, PPDB_S("k"), back, most - 1, &len));
	test_require(len == most, "%zu bytes", len);
	test_ok(ppdb_get(db, 0, PPDB_S("k"), back, most, &len));
	test_require(len == most && !memcmp(back, big, most), "%zu bytes", len);
	test_ok(ppdb_detach(db));
	free(big);
	free(back);
}

/* ---- slots */

#define THREADS 24

static pthread_barrier_t all_in, all_out;

struct outcome {
	unsigned number;
	int rc;
	char said[512];
};

static void *use_slot(void *arg)
{
	struct outcome *o = arg;
	char key[16];

	snprintf(key, sizeof(key), "thread%02u", o->number);
	o->rc = ppdb_put(db, 0, (ppdb_slice){key, strlen(key)}, PPDB_S("v"), NULL, NULL);
	if (o->rc)
		snprintf(o->said, sizeof(o->said), "%s", ppdb_errdetail());
	pthread_barrier_wait(&all_in);
	pthread_barrier_wait(&all_out);
	return NULL;
}

static int try_later(void)
{
	struct outcome o = {.number = 99};
	pthread_t t;

	pthread_barrier_init(&all_in, NULL, 1);
	pthread_barrier_init(&all_out, NULL, 1);
	pthread_create(&t, NULL, use_slot, &o);
	pthread_join(t, NULL);
	return o.rc;
}

Test(errors_limits, slots)
{
	struct outcome o[THREADS] = {{0}};
	pthread_t t[THREADS];
	unsigned served = 0;
	char buf[8];
	int rc = 0;

	begin("--memory 64M --slots 8");
	test_ok(ppdb_put(db, 0, PPDB_S("k"), PPDB_S("v"), NULL, NULL));
	pthread_barrier_init(&all_in, NULL, THREADS + 1);
	pthread_barrier_init(&all_out, NULL, THREADS + 1);
	for (unsigned i = 0; i < THREADS; i++) {
		o[i].number = i;
		test_require(!pthread_create(&t[i], NULL, use_slot, &o[i]), "no thread");
	}
	pthread_barrier_wait(&all_in);
	for (unsigned i = 0; i < THREADS; i++) {
		test_require(o[i].rc == 0 || o[i].rc == -ENOSPC, "thread %u: %s", i, test_name_of(o[i].rc));
		test_require(!o[i].rc || strstr(o[i].said, "--slots"), "thread %u: %s", i, o[i].said);
		served += !o[i].rc;
	}
	test_require(served >= 4 && served <= 8, "%u of %u threads got a slot of 8", served, THREADS);
	test_ok(ppdb_get(db, 0, PPDB_S("k"), buf, sizeof(buf), NULL)); /* who has one goes on */
	test_ok(ppdb_put(db, 0, PPDB_S("k"), PPDB_S("w"), NULL, NULL));
	pthread_barrier_wait(&all_out);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	for (unsigned i = 0; i < THREADS; i++) { /* a write that failed for want of a slot is not there */
		char key[16];

		snprintf(key, sizeof(key), "thread%02u", i);
		test_expect(o[i].rc ? PPDB_NOTFOUND : 0, ppdb_get(db, 0, (ppdb_slice){key, strlen(key)}, buf, sizeof(buf), NULL));
	}
	for (unsigned i = 0; i < 500 && (rc = try_later()); i++)
		test_sleep_ms(20);
	test_ok(rc);
	test_ok(ppdb_detach(db));
	test_store_check(&s, true);
}

static unsigned views_until_full(void)
{
	ppdb_view *v[64];
	unsigned n = 0, count;

	while (n < 64 && !ppdb_view_begin(db, PPDB_VIEW_LATEST, &v[n]))
		n++;
	for (count = n; n;)
		ppdb_view_end(v[--n]);
	return count;
}

/* The slots of the views that ended come back when the daemon has been round. */
static void ledger_judge_in_time(struct ledger *l)
{
	ppdb_view *v = NULL;

	for (unsigned i = 0; i < 1000 && ppdb_view_begin(db, PPDB_VIEW_LATEST, &v); i++)
		test_sleep_ms(20);
	test_require(v, "no slot came back: %s", test_detail());
	ppdb_view_end(v);
	for (unsigned i = 0; i < 1000 && ppdb_view_begin(db, PPDB_VIEW_LATEST, &v); i++)
		test_sleep_ms(20);
	ppdb_view_end(v);
	test_sleep_ms(200);
	ledger_judge(l, db);
}

/* The daemon dies while clients hold every slot: the next one has slots of its own, and adopts the arena. */
Test(errors_limits, restart_with_all_slots_taken)
{
	struct ledger *l = ledger_new();

	begin("--memory 64M --slots 8");
	for (unsigned i = 0; i < 100; i++)
		test_ok(ledger_put(l, db, i, 200, NULL));
	for (unsigned round = 0; round < 3; round++) {
		test_require(views_until_full() < 9, "more than 8 slots");
		test_store_restart(&s);
		ledger_judge_in_time(l);
		test_ok(ledger_put(l, db, round, 200, NULL));
	}
	test_ok(ppdb_detach(db));
	test_store_check(&s, true);
}

Test(errors_limits, clients)
{
	ppdb_attach_opts o = {.size = sizeof(o)};
	ppdb *more[8];
	unsigned n = 0;
	int rc;

	begin("--memory 64M --clients 4");
	test_ok(ppdb_put(db, 0, PPDB_S("k"), PPDB_S("v"), NULL, NULL));
	while (!(rc = ppdb_attach(s.socket, &o, &more[n])))
		test_require(++n < 8, "no end");
	test_require(rc == -EUSERS && n == 3, "%s after %u", test_name_of(rc), n);
	says("--clients");
	test_ok(ppdb_put(db, 0, PPDB_S("k"), PPDB_S("w"), NULL, NULL));
	test_ok(ppdb_detach(more[--n]));
	for (unsigned i = 0; i < 500 && (rc = ppdb_attach(s.socket, &o, &more[n])); i++)
		test_sleep_ms(20);
	test_ok(rc);
	test_ok(ppdb_put(more[n], 0, PPDB_S("k"), PPDB_S("x"), NULL, NULL));
	for (n++; n;)
		test_ok(ppdb_detach(more[--n]));
	test_ok(ppdb_detach(db));
}

/* ---- read-only */

static void store_into(void *arg)
{
	ppdb *ro = test_store_attach(&s, PPDB_RDONLY);
	ppdb_view *v;
	ppdb_item item;

	(void)arg;
	test_ok(ppdb_view_begin(ro, PPDB_VIEW_LATEST, &v));
	test_ok(ppdb_view_get(v, 0, PPDB_S("k"), &item));
	signal(SIGSEGV, SIG_DFL);
	*(volatile char *)(uintptr_t)item.value.data = 'X';
}

/* A store through a read-only handle's mapping ends the process that does it, and nothing else. */
Test(errors_limits, readonly_cannot_write)
{
	ppdb *ro;
	pid_t pid;
	char buf[8];
	size_t n;
	int status;

	begin("--memory 64M");
	test_ok(ppdb_put(db, 0, PPDB_S("k"), PPDB_S("v"), NULL, NULL));
	ro = test_store_attach(&s, PPDB_RDONLY);
	test_expect(PPDB_READONLY, ppdb_put(ro, 0, PPDB_S("k"), PPDB_S("w"), NULL, NULL));
	says("read-only");
	test_expect(PPDB_READONLY, ppdb_del(ro, 0, PPDB_S("k"), NULL, NULL));
	test_expect(PPDB_READONLY, ppdb_cas(ro, 0, PPDB_S("k"), 1, PPDB_S("w"), NULL, NULL, NULL));
	test_expect(PPDB_READONLY, ppdb_add_i64(ro, 0, PPDB_S("n"), 1, 0, NULL, NULL, NULL));
	setenv("ASAN_OPTIONS", "handle_segv=0:allow_user_segv_handler=1", 1);
	pid = test_spawn(store_into, NULL);
	status = test_collect(pid, true);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	test_require(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV, "status %#x", (unsigned)status);
#else
	test_require(status, "the store went through");
#endif
	test_ok(ppdb_get(ro, 0, PPDB_S("k"), buf, sizeof(buf), &n));
	test_require(n == 1 && buf[0] == 'v', "%.*s", (int)n, buf);
	test_ok(ppdb_put(db, 0, PPDB_S("k"), PPDB_S("w"), NULL, NULL));
	test_ok(ppdb_detach(ro));
	test_ok(ppdb_detach(db));
	test_store_check(&s, true);
}

/* ---- fork */

static void child_without(void *arg)
{
	ppdb_seq t = 1;
	ppdb_item item;
	ppdb_view *v;
	char buf[8];

	(void)arg;
	test_expect(PPDB_FORKED, ppdb_get(db, 0, PPDB_S("k"), buf, sizeof(buf), NULL));
	says("ppdb_reattach_after_fork");
	test_expect(PPDB_FORKED, ppdb_put(db, 0, PPDB_S("k"), PPDB_S("child"), NULL, &t));
	test_expect(PPDB_FORKED, ppdb_del(db, 0, PPDB_S("k"), NULL, NULL));
	test_expect(PPDB_FORKED, ppdb_cas(db, 0, PPDB_S("k"), 0, PPDB_S("v"), NULL, NULL, NULL));
	test_expect(PPDB_FORKED, ppdb_add_i64(db, 0, PPDB_S("k"), 1, 0, NULL, NULL, NULL));
	test_expect(PPDB_FORKED, ppdb_sync(db, 1000));
	test_expect(PPDB_FORKED, ppdb_wait(db, 1, PPDB_DURABLE, 1000));
	test_expect(PPDB_FORKED, ppdb_view_begin(db, PPDB_VIEW_LATEST, &v));
	test_require(ppdb_reached(db, PPDB_DURABLE) == 0, "it tells");
	(void)item;
	test_ok(ppdb_detach(db));
}

static void child_with(void *arg)
{
	struct ledger *l = arg;

	test_ok(ppdb_reattach_after_fork(db));
	ledger_judge(l, db);
	for (unsigned i = 0; i < 50; i++)
		test_ok(ledger_put(l, db, 1000 + i, 64, NULL));
	ledger_judge(l, db);
	test_ok(ppdb_detach(db));
}

Test(errors_limits, fork)
{
	struct ledger *l;

	begin("--memory 64M");
	l = ledger_new();
	for (unsigned i = 0; i < 50; i++)
		test_ok(ledger_put(l, db, i, 64, NULL));
	for (unsigned i = 0; i < 3; i++) {
		test_join(test_spawn(child_without, NULL));
		ledger_judge(l, db); /* the parent's slots are its own still */
		test_ok(ledger_put(l, db, i, 64, NULL));
	}
	test_join(test_spawn(child_with, l));
	for (unsigned i = 0; i < 50; i++) /* what the child wrote, in the same order */
		test_ok(ledger_put(l, db, 1000 + i, 64, NULL));
	ledger_judge(l, db);
	test_ok(ppdb_detach(db));
	test_store_check(&s, true);
}
