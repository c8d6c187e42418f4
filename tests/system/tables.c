/*
 * tables.c - named tables as programs use them: apart from each other, gone for every call once dropped, their space back while others
 * go on; ten thousand of them; quotas; many processes that create, fill and drop the same names; restarts, warm and cold, at any moment.
 */
#include "shm/fault.h"
#include "tests/lib/store.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(tables, .fini = test_stores_end, .timeout = 600);

static struct test_store s;
static const ppdb_wopts async = {.size = sizeof(async), .flags = PPDB_ASYNC};

static int open_table(ppdb *db, const char *name, uint32_t flags, uint64_t quota, uint64_t ttl_ms, ppdb_table *t)
{
	ppdb_table_opts o = {.size = sizeof(o), .flags = flags, .quota_bytes = quota, .ttl_ms = ttl_ms};

	return ppdb_table_open(db, name, &o, t);
}

static ppdb_table make(ppdb *db, const char *name)
{
	ppdb_table t;

	test_ok(open_table(db, name, PPDB_CREATE, 0, 0, &t));
	return t;
}

static ppdb_slice number_key(char *buffer, unsigned i)
{
	return (ppdb_slice){buffer, (size_t)sprintf(buffer, "key%07u", i)};
}

static void fill(ppdb *db, ppdb_table t, unsigned first, unsigned count, const char *value)
{
	char key[16];

	for (unsigned i = first; i < first + count; i++)
		test_ok(ppdb_put(db, t, number_key(key, i), (ppdb_slice){value, strlen(value)}, &async, NULL));
	test_ok(ppdb_sync(db, -1));
}

static unsigned count_keys(ppdb *db, ppdb_table t)
{
	unsigned n = 0;
	ppdb_item item;
	ppdb_view *v;
	ppdb_iter *it;

	test_ok(ppdb_view_begin(db, PPDB_VIEW_LATEST, &v));
	test_ok(ppdb_iter_open(v, t, NULL, &it));
	while (!ppdb_iter_next(it, &item))
		n++;
	ppdb_iter_close(it);
	ppdb_view_end(v);
	return n;
}

struct census {
	unsigned count;
	ppdb_table highest;
	char last[256];
	const char *name;              /* of the one that is looked for */
	ppdb_table_info found;
};

static int take(void *ctx, const ppdb_table_info *info)
{
	struct census *c = ctx;

	test_require(strcmp(c->last, info->name) < 0, "%s is listed after %s", info->name, c->last);
	snprintf(c->last, sizeof(c->last), "%s", info->name);
	c->count++;
	c->highest = info->table > c->highest ? info->table : c->highest;
	if (c->name && !strcmp(c->name, info->name))
		c->found = *info;
	return 0;
}

static struct census list(ppdb *db, const char *name)
{
	struct census c = {.name = name};

	test_ok(ppdb_table_list(db, take, &c));
	return c;
}

/* Until what is used is no more than `bytes`. */
static void space_comes_back(uint64_t bytes)
{
	static char mem[1 << 16];
	uint64_t live;

	for (unsigned n = 0; (live = test_store_number(&s, "check", "live_bytes")) > bytes; n++) {
		if (n == 600)
			test_store_command(&s, "mem --all", mem, sizeof(mem));
		test_require(n < 600, "%llu bytes are live, not %llu:\n%s", (unsigned long long)live, (unsigned long long)bytes, mem);
		test_sleep_ms(100);
	}
}

/* ---- every call -------------------------------------------------------------------------------------------------- */

/* What each call says of table t: `code` where a key of it is wanted that is there, or may be written. */
static void every_call(ppdb *db, ppdb_view *v, ppdb_iter *it, ppdb_table t, int code)
{
	ppdb_slice k = PPDB_S("k");
	ppdb_item item;
	ppdb_iter *other;
	char buf[32];
	int rc;

	test_expect(code, ppdb_put(db, t, k, PPDB_S("1"), &async, NULL));
	test_expect(code, ppdb_get(db, t, k, buf, sizeof(buf), NULL));
	test_expect(code, ppdb_view_get(v, t, k, &item));
	test_ok(ppdb_get_many(db, t, &k, 1, v, &item, &rc));
	test_expect(code, rc);
	test_expect(code, ppdb_add_i64(db, t, k, 1, 0, &async, NULL, NULL));
	test_expect(code ? code : PPDB_CONFLICT, ppdb_cas(db, t, k, 0, PPDB_S("1"), &async, NULL, NULL));
	test_expect(code, ppdb_iter_first(it, &item));
	test_expect(code, ppdb_iter_seek(it, k, &item));
	test_expect(code ? code : PPDB_NOTFOUND, ppdb_iter_next(it, &item));
	test_expect(code, ppdb_iter_last(it, &item));
	test_expect(code, ppdb_iter_seek_le(it, k, &item));
	test_expect(code ? code : PPDB_NOTFOUND, ppdb_iter_prev(it, &item));
	test_expect(code, ppdb_iter_open(v, t, NULL, &other));
	if (!code)
		ppdb_iter_close(other);
	test_expect(code, ppdb_del(db, t, k, &async, NULL));
}

static void dropped_for_every_call(const char *options)
{
	ppdb_view *v, *snapshot;
	ppdb_iter *it, *old;
	ppdb_table a, b, again;
	ppdb_item item;
	ppdb *db, *ro;

	test_begin(200);
	test_store_start(&s, options);
	db = test_store_attach(&s, 0);
	ro = test_store_attach(&s, PPDB_RDONLY);
	test_expect(PPDB_TABLE_UNKNOWN, open_table(db, "a", 0, 0, 0, &a));
	test_expect(PPDB_READONLY, open_table(ro, "a", PPDB_CREATE, 0, 0, &a));
	a = make(db, "a");
	b = make(db, "b");
	test_expect(PPDB_EXISTS, open_table(db, "a", PPDB_CREATE | PPDB_EXCLUSIVE, 0, 0, &again));
	test_ok(open_table(ro, "a", 0, 0, 0, &again));
	test_require(a != b && a == again && a && b, "numbers %u, %u, %u", a, b, again);

	/* the same key in three tables */
	test_ok(ppdb_put(db, 0, PPDB_S("k"), PPDB_S("default"), &async, NULL));
	test_ok(ppdb_put(db, b, PPDB_S("k"), PPDB_S("of b"), &async, NULL));
	test_ok(ppdb_view_begin(db, PPDB_VIEW_LATEST, &v));
	test_ok(ppdb_iter_open(v, a, NULL, &it));
	every_call(db, v, it, a, 0);
	test_ok(ppdb_put(db, a, PPDB_S("k"), PPDB_S("of a"), &async, NULL));
	test_ok(ppdb_view_begin(db, PPDB_VIEW_SNAPSHOT, &snapshot));
	test_ok(ppdb_iter_open(snapshot, a, NULL, &old));
	test_ok(ppdb_iter_next(old, &item));
	test_require(item.value.size == 4 && !memcmp(item.value.data, "of a", 4), "a's value is '%.*s'", (int)item.value.size,
		(const char *)item.value.data);

	test_ok(ppdb_table_drop(db, "a"));
	test_expect(PPDB_TABLE_UNKNOWN, ppdb_table_drop(db, "a"));
	every_call(db, v, it, a, PPDB_TABLE_UNKNOWN);
	test_expect(PPDB_TABLE_UNKNOWN, ppdb_view_get(snapshot, a, PPDB_S("k"), &item));
	test_expect(PPDB_TABLE_UNKNOWN, ppdb_iter_prev(old, &item));
	test_require(!memcmp(item.value.data, "of a", 4), "what a snapshot handed out is gone");
	test_expect(PPDB_TABLE_UNKNOWN, ppdb_get(ro, a, PPDB_S("k"), NULL, 0, NULL));
	test_expect(PPDB_TABLE_UNKNOWN, open_table(ro, "a", 0, 0, 0, &again));
	test_require(count_keys(db, b) == 1 && count_keys(db, 0) == 1, "other tables changed");
	again = make(db, "a");
	test_require(again != a && again != b, "number %u was given again", again);
	test_require(!count_keys(db, again), "the new table is not empty");
	every_call(db, v, it, a, PPDB_TABLE_UNKNOWN);
	ppdb_iter_close(old);
	ppdb_view_end(snapshot);
	ppdb_iter_close(it);
	ppdb_view_end(v);

	/* numbers that were never given out, those that are kept for the store itself included */
	test_expect(PPDB_TABLE_UNKNOWN, ppdb_get(db, 77777, PPDB_S("k"), NULL, 0, NULL));
	test_expect(PPDB_TABLE_UNKNOWN, ppdb_put(db, UINT32_MAX, PPDB_S("k"), PPDB_S("v"), &async, NULL));
	for (ppdb_table t = UINT32_MAX; t > UINT32_MAX - 20; t--)
		test_expect(PPDB_TABLE_UNKNOWN, ppdb_get(db, t, PPDB_S("a"), NULL, 0, NULL));
	test_ok(ppdb_detach(db));
	test_ok(ppdb_detach(ro));
	test_store_check(&s, true);
	test_store_stop(&s);
}

Test(tables, dropped_for_every_call)
{
	dropped_for_every_call("");
}

Test(tables, dropped_for_every_call_mutex_hash)
{
	dropped_for_every_call("--sync mutex --strategy hash --shards 4");
}

Test(tables, bad_arguments)
{
	char name[300];
	ppdb_table t = 5;
	ppdb *db;

	test_begin(100);
	test_store_start(&s, "");
	db = test_store_attach(&s, 0);
	memset(name, 'n', sizeof(name));
	name[256] = '\0';
	test_expect(-EINVAL, open_table(db, name, PPDB_CREATE, 0, 0, &t));
	test_expect(-EINVAL, open_table(db, "", PPDB_CREATE, 0, 0, &t));
	test_expect(-EINVAL, open_table(db, NULL, PPDB_CREATE, 0, 0, &t));
	test_expect(-EINVAL, open_table(db, "n", PPDB_EXCLUSIVE, 0, 0, &t));
	test_expect(-EINVAL, open_table(db, "n", 64, 0, 0, &t));
	test_expect(-EINVAL, open_table(db, "n", PPDB_CREATE, 0, UINT64_MAX - 1, &t)); /* a time to live that is none */
	test_expect(-EINVAL, ppdb_table_open(db, "n", NULL, NULL));
	test_expect(-EINVAL, ppdb_table_drop(db, NULL));
	test_expect(-EINVAL, ppdb_table_list(db, NULL, NULL));
	test_require(t == 5 && !list(db, NULL).count, "something was created");
	name[255] = '\0';
	t = make(db, name);
	test_ok(ppdb_put(db, t, PPDB_S("k"), PPDB_S("v"), NULL, NULL));
	test_ok(ppdb_table_drop(db, name));
	test_ok(ppdb_detach(db));
	test_store_stop(&s);
}

/* ---- quota ------------------------------------------------------------------------------------------------------- */

Test(tables, quota)
{
	char value[200] = {0}, key[16];
	struct census c;
	unsigned n = 0;
	ppdb_table t;
	ppdb *db;
	int rc;

	test_begin(100);
	test_store_start(&s, "");
	db = test_store_attach(&s, 0);
	test_ok(open_table(db, "small", PPDB_CREATE, 2100, 0, &t));
	while (!(rc = ppdb_put(db, t, number_key(key, n), (ppdb_slice){value, sizeof(value)}, &async, NULL)))
		n++;
	test_expect(PPDB_FULL, rc);
	test_require(strstr(ppdb_errdetail(), "'small'") && strstr(ppdb_errdetail(), "2100"), "the sentence is: %s", ppdb_errdetail());
	test_require(n == 10, "%u values of 210 bytes fit into 2100", n);
	c = list(db, "small");
	test_require(c.found.used_bytes == 2100 && c.found.keys == 10 && c.found.quota_bytes == 2100, "%llu bytes, %llu keys",
		(unsigned long long)c.found.used_bytes, (unsigned long long)c.found.keys);
	test_expect(PPDB_FULL, ppdb_add_i64(db, t, PPDB_S("n"), 1, 0, &async, NULL, NULL));
	test_expect(PPDB_FULL, ppdb_cas(db, t, PPDB_S("n"), 0, PPDB_S("v"), &async, NULL, NULL));
	/* an overwrite that needs no more, one that needs less, a delete */
	test_ok(ppdb_put(db, t, number_key(key, 0), (ppdb_slice){value, sizeof(value)}, &async, NULL));
	test_ok(ppdb_put(db, t, number_key(key, 0), (ppdb_slice){value, 100}, &async, NULL));
	test_expect(PPDB_FULL, ppdb_put(db, t, PPDB_S("0123456789"), (ppdb_slice){value, 91}, &async, NULL));
	test_ok(ppdb_put(db, t, PPDB_S("0123456789"), (ppdb_slice){value, 90}, &async, NULL));
	for (unsigned i = 0; i < n; i++)
		test_ok(ppdb_del(db, t, number_key(key, i), &async, NULL));
	test_ok(ppdb_sync(db, -1));
	c = list(db, "small");
	test_require(c.found.used_bytes == 100 && c.found.keys == 1, "%llu bytes, %llu keys are left", (unsigned long long)c.found.used_bytes,
		(unsigned long long)c.found.keys);
	/* the default table has none; and a cold start counts the same */
	test_ok(ppdb_put(db, 0, PPDB_S("k"), (ppdb_slice){value, sizeof(value)}, NULL, NULL));
	test_ok(ppdb_detach(db));
	test_store_cold(&s);
	db = test_store_attach(&s, PPDB_RDONLY);
	c = list(db, "small");
	test_require(c.found.used_bytes == 100 && c.found.keys == 1 && c.found.quota_bytes == 2100 && c.found.table == t,
		"%llu bytes, %llu keys after a cold start", (unsigned long long)c.found.used_bytes, (unsigned long long)c.found.keys);
	test_ok(ppdb_detach(db));
	test_store_stop(&s);
}

static void change_and_die(void *arg)
{
	ppdb_table_opts o = {.size = sizeof(o), .flags = PPDB_CHANGE, .quota_bytes = 4200, .ttl_ms = 3600000};
	ppdb *db = test_store_attach(&s, 0);
	ppdb_table t;

	(void)arg;
	test_require(!pp_fault_set("table.change.recorded=kill:1"), "the point is not understood");
	ppdb_table_open(db, "small", &o, &t);
	_exit(1);
}

static unsigned fill_up(ppdb *db, ppdb_table t, unsigned n)
{
	char value[200] = {0}, key[16];

	while (!ppdb_put(db, t, number_key(key, n), (ppdb_slice){value, sizeof(value)}, &async, NULL))
		n++;
	return n;
}

/* Quota and time to live of a table change under its writers, by somebody who dies in the middle too, and stay so. */
Test(tables, change)
{
	ppdb_table t, same;
	struct census c;
	ppdb_item item;
	ppdb_view *v;
	unsigned n;
	int status;
	ppdb *db;
	pid_t pid;

	test_begin(100);
	test_store_start(&s, "");
	db = test_store_attach(&s, 0);
	test_expect(PPDB_TABLE_UNKNOWN, open_table(db, "small", PPDB_CHANGE, 1, 0, &t));
	test_expect(-EINVAL, open_table(db, "small", PPDB_CREATE | PPDB_EXCLUSIVE | PPDB_CHANGE, 1, 0, &t));
	test_ok(open_table(db, "small", PPDB_CREATE | PPDB_CHANGE, 2100, 0, &t));
	n = fill_up(db, t, 0);
	test_require(n == 10, "%u values fit", n);
	test_ok(open_table(db, "small", PPDB_CREATE | PPDB_CHANGE, 3150, 0, &same));
	n = fill_up(db, t, n);
	test_require(same == t && n == 15, "%u values fit", n);
	test_ok(open_table(db, "small", PPDB_CHANGE, 1000, 0, &same));
	test_expect(PPDB_FULL, ppdb_put(db, t, PPDB_S("k"), PPDB_S("v"), &async, NULL));
	test_ok(open_table(db, "small", 0, 77, 77, &same)); /* without the flag: as it is */
	c = list(db, "small");
	test_require(c.found.quota_bytes == 1000 && c.found.keys == 15, "quota %llu, %llu keys", (unsigned long long)c.found.quota_bytes,
		(unsigned long long)c.found.keys);
	if (pp_fault_built()) {
		pid = test_spawn(change_and_die, NULL);
		test_require(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status), "it was not killed");
		for (unsigned i = 0; fill_up(db, t, n) != 20; i++) {
			test_require(i < 300, "ppdbd does not complete the change");
			test_sleep_ms(100);
		}
	} else {
		test_ok(open_table(db, "small", PPDB_CHANGE, 4200, 3600000, &same));
		test_require(fill_up(db, t, n) == 20, "another number of values fits");
	}
	test_ok(ppdb_detach(db));
	test_store_cold(&s);
	db = test_store_attach(&s, 0);
	c = list(db, "small");
	test_require(c.found.quota_bytes == 4200 && c.found.ttl_ms == 3600000, "quota %llu, time to live %llu", (unsigned long long)c.found.quota_bytes,
		(unsigned long long)c.found.ttl_ms);
	test_ok(ppdb_put(db, t, number_key((char[16]){0}, 0), PPDB_S("v"), NULL, NULL));
	test_ok(ppdb_view_begin(db, PPDB_VIEW_LATEST, &v));
	test_ok(ppdb_view_get(v, t, number_key((char[16]){0}, 0), &item));
	test_require(item.expires_ms, "the new time to live is not given");
	ppdb_view_end(v);
	test_ok(ppdb_detach(db));
	db = test_store_attach(&s, PPDB_RDONLY);
	test_expect(PPDB_READONLY, open_table(db, "small", PPDB_CHANGE, 1, 0, &t));
	test_ok(ppdb_detach(db));
	test_store_check(&s, true);
	test_store_stop(&s);
}

/* A batch over tables: all or nothing for quotas and dropped tables too, and counted; its puts get their table's time to live. */
Test(tables, batches)
{
	ppdb_table a, small;
	struct census c;
	char key[16], value[200] = {0};
	ppdb_batch *b;
	ppdb_item item;
	ppdb_view *v;
	size_t failed;
	ppdb *db;

	test_begin(100);
	test_store_start(&s, "");
	db = test_store_attach(&s, 0);
	test_ok(open_table(db, "a", PPDB_CREATE, 0, 3600000, &a));
	test_ok(open_table(db, "small", PPDB_CREATE, 2100, 0, &small));
	test_ok(ppdb_batch_new(db, &b));
	for (unsigned i = 0; i < 11; i++)
		test_ok(ppdb_batch_put(b, small, number_key(key, i), (ppdb_slice){value, sizeof(value)}, NULL));
	test_ok(ppdb_batch_put(b, a, PPDB_S("k"), PPDB_S("v"), NULL));
	test_expect(PPDB_FULL, ppdb_write(db, b, NULL, NULL, &failed)); /* each would fit, together they do not */
	test_require(!count_keys(db, small) && !count_keys(db, a) && !list(db, "small").found.used_bytes, "something was written");
	ppdb_batch_clear(b);
	for (unsigned i = 0; i < 10; i++)
		test_ok(ppdb_batch_put(b, small, number_key(key, i), (ppdb_slice){value, sizeof(value)}, NULL));
	test_ok(ppdb_batch_put(b, a, PPDB_S("k"), PPDB_S("v"), NULL));
	test_ok(ppdb_batch_require(b, a, PPDB_S("nothing"), 0));
	test_ok(ppdb_write(db, b, NULL, NULL, &failed));
	c = list(db, "small");
	test_require(c.found.used_bytes == 2100 && c.found.keys == 10, "%llu bytes, %llu keys", (unsigned long long)c.found.used_bytes,
		(unsigned long long)c.found.keys);
	c = list(db, "a");
	test_require(c.found.used_bytes == 2 && c.found.keys == 1, "a: %llu bytes, %llu keys", (unsigned long long)c.found.used_bytes,
		(unsigned long long)c.found.keys);
	test_ok(ppdb_view_begin(db, PPDB_VIEW_LATEST, &v));
	test_ok(ppdb_view_get(v, a, PPDB_S("k"), &item));
	test_require(item.expires_ms, "the table's time to live is forgotten");
	ppdb_view_end(v);
	test_ok(ppdb_table_drop(db, "small"));
	ppdb_batch_clear(b);
	test_ok(ppdb_batch_del(b, a, PPDB_S("k")));
	test_ok(ppdb_batch_put(b, small, PPDB_S("k"), PPDB_S("v"), NULL));
	test_expect(PPDB_TABLE_UNKNOWN, ppdb_write(db, b, NULL, NULL, &failed));
	test_require(failed == 1 && count_keys(db, a) == 1, "operation %zu; %u keys", failed, count_keys(db, a));
	ppdb_batch_free(b);
	test_ok(ppdb_detach(db));
	test_store_check(&s, true);
	test_store_stop(&s);
}

/* ---- many -------------------------------------------------------------------------------------------------------- */

#define MANY 10000

struct part {
	unsigned first, count;
	ppdb_table *number;
};

static void create_part(void *arg)
{
	struct part *p = arg;
	ppdb *db = test_store_attach(&s, 0);
	char name[32];

	for (unsigned i = p->first; i < p->first + p->count; i++) {
		sprintf(name, "table-%05u", i);
		p->number[i] = make(db, name);
		test_ok(ppdb_put(db, p->number[i], PPDB_S("mine"), (ppdb_slice){name, strlen(name)}, &async, NULL));
	}
	test_ok(ppdb_sync(db, -1));
	test_ok(ppdb_detach(db));
}

static void all_there(const ppdb_table *number)
{
	ppdb *db = test_store_attach(&s, PPDB_RDONLY);
	char name[32], buf[32];
	ppdb_table t;
	size_t len;

	test_require(list(db, NULL).count == MANY, "%u tables are listed", list(db, NULL).count);
	for (unsigned i = 0; i < MANY; i++) {
		sprintf(name, "table-%05u", i);
		test_ok(ppdb_table_open(db, name, NULL, &t));
		test_require(t == number[i], "%s has number %u, not %u", name, t, number[i]);
		test_ok(ppdb_get(db, t, PPDB_S("mine"), buf, sizeof(buf), &len));
		test_require(len == strlen(name) && !memcmp(buf, name, len), "the key of %s says %.*s", name, (int)len, buf);
	}
	test_ok(ppdb_detach(db));
}

static int by_number(const void *a, const void *b)
{
	const ppdb_table *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

Test(tables, ten_thousand)
{
	ppdb_table *number = test_shared(2 * MANY * sizeof(*number)), t;
	struct part part[4];
	pid_t pid[4];
	char name[32];
	ppdb *db;

	test_begin(550);
	test_store_start(&s, "--memory 256M");
	for (unsigned i = 0; i < 4; i++) {
		part[i] = (struct part){MANY / 4 * i, MANY / 4, number};
		pid[i] = test_spawn(create_part, &part[i]);
	}
	for (unsigned i = 0; i < 4; i++)
		test_join(pid[i]);
	all_there(number);
	test_store_cold(&s);
	all_there(number);
	/* half of them go, others come: no number comes back */
	db = test_store_attach(&s, 0);
	for (unsigned i = 0; i < 200; i++) {
		sprintf(name, "table-%05u", i * 50);
		test_ok(ppdb_table_drop(db, name));
		sprintf(name, "another-%05u", i);
		number[MANY + i] = make(db, name);
		test_require(!count_keys(db, number[MANY + i]), "%s is not empty", name);
	}
	test_require(list(db, NULL).count == MANY, "%u tables are listed", list(db, NULL).count);
	qsort(number, MANY + 200, sizeof(*number), by_number);
	for (unsigned i = 1; i < MANY + 200; i++)
		test_require(number[i] != number[i - 1], "number %u was given twice", number[i]);
	test_expect(PPDB_TABLE_UNKNOWN, ppdb_table_open(db, "table-00050", NULL, &t));
	test_ok(ppdb_detach(db));
	test_store_check(&s, true);
	test_store_stop(&s);
}

/* A large table goes: nothing is left of it after a while, the hash hints of its keys and what waits to be freed included. */
Test(tables, nothing_is_left)
{
	uint64_t before;
	ppdb_table t;
	ppdb *db;

	test_begin(200);
	test_store_start(&s, "--memory 256M");
	db = test_store_attach(&s, 0);
	fill(db, 0, 0, 2000, "stays");
	before = test_store_number(&s, "check", "live_bytes");
	t = make(db, "large");
	fill(db, t, 0, 300000, "goes");
	test_ok(ppdb_table_drop(db, "large"));
	test_ok(ppdb_detach(db));
	space_comes_back(before + (64 << 10));
	for (unsigned n = 0; test_store_number(&s, "check", "limbo_bytes"); n++) {
		test_require(n < 600, "%llu bytes wait to be freed", (unsigned long long)test_store_number(&s, "check", "limbo_bytes"));
		test_sleep_ms(100);
	}
	test_store_check(&s, true);
	test_store_stop(&s);
}

/* ---- dropping while others go on --------------------------------------------------------------------------------- */

struct stage {
	_Atomic int go, stop;
	_Atomic unsigned writes;
	ppdb_table t;
};
static struct stage *stage;

/* Writes to whatever table has the name, or to none. */
static void writer(void *arg)
{
	struct test_random r = test_random(test_seed(), (uint64_t)(uintptr_t)arg);
	ppdb *db = test_store_attach(&s, 0);
	ppdb_table t = 0;
	char key[16];

	while (!stage->stop) {
		int rc = ppdb_table_open(db, "hot", NULL, &t);

		for (unsigned i = 0; i < 100 && !rc; i++) {
			rc = ppdb_put(db, t, number_key(key, (unsigned)test_below(&r, 5000)), PPDB_S("some value that takes a little room"), &async, NULL);
			stage->writes++;
		}
		test_require(!rc || rc == PPDB_TABLE_UNKNOWN || rc == PPDB_OVERLOAD, "a write gave %s: %s", test_name_of(rc), test_detail());
		if (rc && test_chance(&r, 30)) {
			rc = open_table(db, "hot", PPDB_CREATE, 0, 0, &t);
			test_require(!rc || rc == PPDB_OVERLOAD, "creating gave %s: %s", test_name_of(rc), test_detail());
		}
	}
	test_ok(ppdb_detach(db));
}

#define WRITERS 4

/* Writers are killed and stopped at any moment, the table is dropped and made again, the daemon dies; in the end nothing is left of it. */
Test(tables, drop_under_writers)
{
	struct test_random r;
	pid_t pid[WRITERS];
	uint64_t empty, end;
	unsigned drops = 0;
	ppdb_table t;
	ppdb *db;
	int rc;

	test_begin(300);
	r = test_random(test_seed(), 99);
	stage = test_shared(sizeof(*stage));
	test_store_start(&s, "--memory 128M --wal-segment 4M");
	db = test_store_attach(&s, 0);
	fill(db, 0, 0, 2000, "stays");
	empty = test_store_number(&s, "check", "live_bytes");
	for (uintptr_t i = 0; i < WRITERS; i++)
		pid[i] = test_spawn(writer, (void *)i);
	end = test_now_ns() + 6 * 1000000000ull * test_scale(1);
	while (test_now_ns() < end) {
		unsigned i = (unsigned)test_below(&r, WRITERS);

		test_sleep_ms((unsigned)test_below(&r, 60));
		kill(pid[i], SIGSTOP);
		rc = ppdb_table_drop(db, "hot");
		drops += !rc;
		test_require(!rc || rc == PPDB_TABLE_UNKNOWN || rc == PPDB_OVERLOAD || rc == PPDB_DAEMON_GONE, "a drop gave %s: %s", test_name_of(rc), test_detail());
		if (test_chance(&r, 40)) {
			test_kill(pid[i]);
			pid[i] = test_spawn(writer, (void *)(uintptr_t)test_next(&r));
		} else {
			test_sleep_ms((unsigned)test_below(&r, 100));
			kill(pid[i], SIGCONT);
		}
		if (test_chance(&r, 4))
			test_store_restart(&s);
	}
	stage->stop = 1;
	for (unsigned i = 0; i < WRITERS; i++)
		test_join(pid[i]);
	rc = ppdb_table_drop(db, "hot");
	test_require(!rc || rc == PPDB_TABLE_UNKNOWN, "the last drop gave %s", test_name_of(rc));
	test_require(drops > 5, "only %u drops", drops);
	test_require(count_keys(db, 0) == 2000, "%u keys of the default table", count_keys(db, 0));
	space_comes_back(empty + (1 << 20));
	t = make(db, "hot");
	test_require(!count_keys(db, t), "the new table has keys");
	test_ok(ppdb_detach(db));
	test_store_check(&s, true);
	test_store_cold(&s);
	db = test_store_attach(&s, 0);
	test_require(list(db, NULL).count == 1 && count_keys(db, 0) == 2000, "after a cold start");
	test_ok(ppdb_table_open(db, "hot", NULL, &t));
	test_require(!count_keys(db, t), "the new table has keys after a cold start");
	test_ok(ppdb_detach(db));
	test_store_check(&s, true);
	test_store_stop(&s);
}

/* The arena is lost while a large table is being emptied: it is not there again, and its space still comes back. */
Test(tables, cold_start_in_the_middle_of_a_drop)
{
	uint64_t empty;
	ppdb_table t, kept, again;
	ppdb *db;

	test_begin(200);
	test_store_start(&s, "--memory 256M");
	db = test_store_attach(&s, 0);
	kept = make(db, "kept");
	fill(db, kept, 0, 1000, "stays");
	empty = test_store_number(&s, "check", "live_bytes");
	t = make(db, "large");
	fill(db, t, 0, 100000, "a value of a table that will not be there for long");
	test_ok(ppdb_table_drop(db, "large"));
	test_ok(ppdb_detach(db));
	test_store_cold(&s);
	db = test_store_attach(&s, 0);
	test_expect(PPDB_TABLE_UNKNOWN, ppdb_table_open(db, "large", NULL, &again));
	test_expect(PPDB_TABLE_UNKNOWN, ppdb_get(db, t, PPDB_S("key0000001"), NULL, 0, NULL));
	test_require(count_keys(db, kept) == 1000, "%u keys of the other table", count_keys(db, kept));
	again = make(db, "large");
	test_require(again > t, "number %u after %u", again, t);
	test_require(!count_keys(db, again), "the new table has keys");
	space_comes_back(empty + (2 << 20));
	test_ok(ppdb_detach(db));
	test_store_check(&s, true);
	test_store_stop(&s);
}

/* A client dies, or is stopped, between the steps of creating and dropping; others are not held up and the store puts it right. */
static void client_at(void *arg)
{
	const char *what = arg;
	ppdb *db;
	ppdb_table t;

	test_require(!pp_fault_set(what), "no fault points");
	db = test_store_attach(&s, 0);
	open_table(db, "half", PPDB_CREATE, 0, 0, &t);
	ppdb_table_drop(db, "half");
	ppdb_detach(db);
}

Test(tables, halfway)
{
	static const char *const points[] = {"table.create.counted", "table.create.claimed", "table.create.recorded", "table.drop.recorded"};
	ppdb_table t, last = 0;
	char fault[64];
	ppdb *db;

	if (!pp_fault_built())
		cr_skip_test("this build has no fault points");
	test_begin(200);
	test_store_start(&s, "");
	db = test_store_attach(&s, 0);
	for (unsigned i = 0; i < 8; i++) {
		pid_t pid;

		snprintf(fault, sizeof(fault), "%s=%s:1", points[i / 2], i % 2 ? "stop" : "kill");
		pid = test_spawn(client_at, fault);
		if (i % 2)
			test_sleep_ms(300);
		else
			test_require(WIFSIGNALED(test_collect(pid, true)), "%s: it was not killed", fault);
		t = make(db, "half");
		test_require(t >= last, "number %u after %u", t, last);
		last = t;
		test_ok(ppdb_put(db, t, PPDB_S("k"), PPDB_S("v"), &async, NULL));
		test_ok(ppdb_table_drop(db, "half"));
		test_expect(PPDB_TABLE_UNKNOWN, ppdb_put(db, t, PPDB_S("k"), PPDB_S("v"), &async, NULL));
		if (i % 2) {
			kill(pid, SIGCONT);
			test_collect(pid, true);
		}
		t = make(db, "half"); /* whatever that one did last */
		test_require(!count_keys(db, t), "%s: the new table has keys", fault);
		test_ok(ppdb_table_drop(db, "half"));
	}
	test_require(!list(db, NULL).count, "a table is left");
	test_ok(ppdb_detach(db));
	test_store_check(&s, true);
	test_store_stop(&s);
}

/* The daemon dies at its points of the work. */
static void create_exclusive(void *arg)
{
	ppdb_table t;
	ppdb *db;

	(void)arg;
	test_require(!pp_fault_set("table.create.recorded=stop:1"), "no fault points");
	db = test_store_attach(&s, 0);
	test_ok(open_table(db, "mine", PPDB_CREATE | PPDB_EXCLUSIVE, 0, 0, &t));
	test_expect(PPDB_TABLE_UNKNOWN, ppdb_put(db, t, PPDB_S("k"), PPDB_S("v"), NULL, NULL));
	ppdb_detach(db);
}

/* It made the table, whoever has dropped it since: it does not hear that there was one before, and makes no second one. */
Test(tables, dropped_before_its_creator_returns)
{
	ppdb_table t;
	pid_t pid;
	ppdb *db;
	int rc;

	if (!pp_fault_built())
		cr_skip_test("this build has no fault points");
	test_begin(100);
	test_store_start(&s, "");
	db = test_store_attach(&s, 0);
	pid = test_spawn(create_exclusive, NULL);
	while ((rc = open_table(db, "mine", 0, 0, 0, &t)) == PPDB_TABLE_UNKNOWN)
		test_sleep_ms(5); /* until it stands */
	test_ok(rc);
	test_ok(ppdb_table_drop(db, "mine"));
	test_ok(open_table(db, "mine", PPDB_CREATE | PPDB_EXCLUSIVE, 0, 0, &t));
	test_ok(ppdb_put(db, t, PPDB_S("k"), PPDB_S("v"), NULL, NULL));
	while (kill(pid, SIGCONT) == 0 && (rc = test_collect(pid, false)) == -1)
		test_sleep_ms(5);
	test_require(!rc, "the creator ended with %#x", (unsigned)rc);
	test_ok(ppdb_get(db, t, PPDB_S("k"), NULL, 0, NULL) == -ENOBUFS ? 0 : -1);
	test_ok(ppdb_detach(db));
	test_store_check(&s, true);
}

Test(tables, daemon_dies_at_work)
{
	static char drop_half[] = "table.drop.recorded=kill:1";
	static const char *const points[] = {"catalog.judge=kill:1", "catalog.empty=kill:1", "expire.found=kill:1", "expire.found=kill:300"};
	ppdb_table t, short_lived;
	pid_t pid;
	ppdb *db;

	if (!pp_fault_built())
		cr_skip_test("this build has no fault points");
	test_begin(300);
	for (unsigned i = 0; i < sizeof(points) / sizeof(*points); i++)
		for (unsigned cold = 0; cold < 2; cold++) {
			setenv("PPDB_FAULT", points[i], 1);
			test_store_start(&s, "--memory 64M");
			unsetenv("PPDB_FAULT");
			db = test_store_attach(&s, 0);
			test_ok(open_table(db, "a", PPDB_CREATE, 0, 0, &t));
			test_ok(open_table(db, "short", PPDB_CREATE, 0, 1, &short_lived));
			fill(db, t, 0, 1000, "value");
			ppdb_table_drop(db, "a"); /* the daemon may be gone before that is durable */
			ppdb_put(db, short_lived, PPDB_S("k"), PPDB_S("v"), &async, NULL);
			pid = test_spawn(client_at, drop_half);
			test_sleep_ms(300);
			test_kill(pid);
			if (cold)
				test_store_cold(&s);
			else
				test_store_restart(&s);
			test_ok(ppdb_detach(db));
			db = test_store_attach(&s, 0);
			if (!ppdb_table_open(db, "a", NULL, &t)) {
				test_require(count_keys(db, t) == 1000, "%s: a half dropped table of %u keys", points[i], count_keys(db, t));
				test_ok(ppdb_table_drop(db, "a"));
			}
			test_require(!count_keys(db, short_lived), "an expired key");
			t = make(db, "a");
			test_require(!count_keys(db, t), "%s: the new table has keys", points[i]);
			test_ok(ppdb_detach(db));
			test_store_check(&s, true);
			test_store_stop(&s);
			test_store_end(&s);
		}
}
