/*
 * model_run.c - every operation of the library on stores of all kinds, compared with a model in plain memory, through restarts.
 *
 * PPDB_TEST_SCALE=N makes the runs N times longer (PPDB_TEST_SCALE=100 make system FILTER='model/''*' does millions of operations).
 */
#include "tests/system/model_run.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPERATIONS 16000
#define KEYS 2500

void model_open(struct model_run *x)
{
	for (unsigned h = 0; h < MODEL_HANDLES; h++)
		x->db[h] = test_store_attach(x->store, h == MODEL_HANDLES - 1 ? PPDB_RDONLY : 0);
	x->buf = malloc(200016);
	test_require(x->buf, "out of memory");
	model_open_views(x);
}

void model_close(struct model_run *x)
{
	model_drop_views(x);
	for (unsigned h = 0; h < MODEL_HANDLES; h++)
		test_ok(ppdb_detach(x->db[h]));
	free(x->buf);
}

/* ---- restarts in the middle ------------------------------------------------------------------------------------- */

/*
 * Killed and started again on its arena; meanwhile reads and writes go on. Nothing is missing, not even what was never awaited.
 * What is written while no daemon empties the rings needs room in them: so most of what was written is awaited before.
 */
static void warm(struct model_run *x)
{
	test_say("warm restart");
	for (unsigned h = 0; h < x->writers; h++)
		test_ok(ppdb_sync(x->db[h], 60000000000));
	for (unsigned i = 0; i < 20; i++)
		model_step(x);
	test_store_kill(x->store);
	for (unsigned i = 0; i < 20; i++)
		model_step_offline(x);
	test_store_restart(x->store);
	for (unsigned i = 0; i < 20; i++)
		model_step(x);
	model_compare_all(x);
}

/* A cold start gives each handle another arena; a handle notices within some calls. Its old views then say so. */
static void await_arena(struct model_run *x)
{
	uint64_t begin = test_now_ns();
	size_t len;

	test_say("waiting until the handles have the new arena");
	for (uint32_t i = 0; i < x->m.n; i++)
		x->m.now[i].jumps = true;
	for (unsigned h = 0; h < MODEL_HANDLES; h++) {
		while (!ppdb_view_check(x->latest[h].view)) {
			int rc = ppdb_get(x->db[h], 0, PPDB_S("any"), x->buf, 0, &len);

			test_require(!rc || rc == PPDB_NOTFOUND || rc == -ENOBUFS || rc == PPDB_EVICTED, "%s: %s", test_name_of(rc), test_detail());
			test_require(test_now_ns() - begin < 60000000000, "handle %u stays in the old arena", h);
			test_sleep_ms(1);
		}
		test_expect(PPDB_EVICTED, ppdb_view_check(x->latest[h].view));
	}
	model_drop_views(x);
	model_open_views(x);
}

/* Killed, arena gone: what was durable is there. */
static void cold(struct model_run *x)
{
	test_say("cold restart");
	test_ok(ppdb_sync(x->db[0], 60000000000));
	test_ok(ppdb_sync(x->db[1], 60000000000));
	test_store_cold(x->store);
	await_arena(x);
	model_compare_all(x);
}

/* A clean stop writes a checkpoint and loses nothing, whether somebody waited for it or not. */
static void stop(struct model_run *x)
{
	test_say("clean stop and cold start");
	test_store_stop(x->store);
	test_store_cold(x->store);
	await_arena(x);
	model_compare_all(x);
}

/* ---- a run ------------------------------------------------------------------------------------------------------ */

static struct test_store store;

static void steps(struct model_run *x, uint64_t n)
{
	test_say("%s", x->config);
	while (n--)
		model_step(x);
}

static void run(const char *options, enum model_shape shape, unsigned writers, uint64_t stream)
{
	static struct model_run x;
	uint64_t n = test_scale(OPERATIONS) / 4;

	test_begin(240);
	test_store_start(&store, options);
	x = (struct model_run){.store = &store, .writers = writers, .config = options, .r = test_random(test_seed(), stream)};
	model_make(&x.m, shape, KEYS, &x.r);
	model_open(&x);
	steps(&x, n);
	model_compare_all(&x);
	warm(&x);
	steps(&x, n);
	cold(&x);
	steps(&x, n);
	warm(&x);
	stop(&x);
	steps(&x, n);
	model_compare_all(&x);
	model_close(&x);
	test_say("check");
	test_store_check(&store, true);
	test_store_stop(&store);
	model_free(&x.m);
}

TestSuite(model, .fini = test_stores_end, .timeout = 100000);

#define OPTIONS "--memory 192M --checkpoint-bytes 3M --wal-segment 4M --slots 64 --wal-backend pwrite --checkpoint-on-stop"
#define MODEL(strategy, shards, sync, shape, writers)                                                                      \
	Test(model, strategy##_##shards##_##sync##_##shape)                                                                \
	{                                                                                                                  \
		run("--strategy " #strategy " --shards " #shards " --sync " #sync " " OPTIONS, MODEL_##shape, writers, __LINE__); \
	}

MODEL(single, 1, lockfree, MIXED, 1)
MODEL(single, 1, mutex, SHARED, 2)
MODEL(range, 1, lockfree, SHARED, 2)
MODEL(range, 1, mutex, MIXED, 1)
MODEL(range, 4, lockfree, MIXED, 2)
MODEL(range, 4, mutex, COUNTED, 2)
MODEL(range, 4, lockfree, SHORT, 1)
MODEL(range, 64, lockfree, RANDOM, 2)
MODEL(range, 64, mutex, MIXED, 1)
MODEL(hash, 1, lockfree, NESTED, 2)
MODEL(hash, 4, lockfree, MIXED, 1)
MODEL(hash, 4, mutex, SHARED, 2)
MODEL(hash, 64, lockfree, MIXED, 2)
MODEL(hash, 64, mutex, COUNTED, 1)
