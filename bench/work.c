/*
 * What one worker does for one command: draw, wait for the others, run, note its figures.
 *
 * The loops are the same code for every store. Of `sample_every` operations one is timed by itself;
 * the rest run freely between two clock readings. A run ends after its time or its number of
 * operations. Start: each worker writes a byte when it is ready and reads one to go, so session
 * set-up, warm-up and random tables are never inside the measured time.
 */
#include "bench/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { DRAWS = 1 << 20 };

/* The state of one run; on the worker's stack. */
struct run {
	struct worker *w;
	const struct driver *driver;
	void *session;
	uint64_t random, cursor, generation, wrong;
	uint32_t *draws;
	uint8_t value[VALUE_MAX];
	struct scan scan;
};

static uint64_t uniform_id(struct run *r)
{
	return pp_random_below(&r->random, r->w->space->keys);
}

static int get_id(struct run *r, uint64_t id)
{
	uint8_t key[KEY_BYTES];
	struct slice value;

	key_make(r->w->space, id, key);
	if (r->driver->get(r->session, (struct slice){ key, KEY_BYTES }, &value))
		return -1;
	r->wrong += !value_is_of(value, id);
	return 0;
}

static int op_get(struct run *r)
{
	return get_id(r, uniform_id(r));
}

static int op_get_zipf(struct run *r)
{
	return get_id(r, r->draws[r->cursor++ % DRAWS]);
}

static int op_get_many(struct run *r)
{
	uint8_t keys[GET_MANY][KEY_BYTES];
	struct slice key[GET_MANY], value[GET_MANY];
	uint64_t id[GET_MANY];

	for (int i = 0; i < GET_MANY; i++) {
		id[i] = uniform_id(r);
		key_make(r->w->space, id[i], keys[i]);
		key[i] = (struct slice){ keys[i], KEY_BYTES };
	}
	if (r->driver->get_many(r->session, key, GET_MANY, value))
		return -1;
	for (int i = 0; i < GET_MANY; i++)
		r->wrong += !value_is_of(value[i], id[i]);
	return 0;
}

static int op_range(struct run *r)
{
	uint8_t key[KEY_BYTES];
	struct slice from = { key, KEY_BYTES };

	key_make(r->w->space, uniform_id(r), key);
	return r->driver->scan(r->session, &from, 100, &r->scan);
}

static int op_scan(struct run *r)
{
	return r->driver->scan(r->session, NULL, UINT64_MAX, &r->scan);
}

static int put_id(struct run *r, uint64_t id)
{
	uint8_t key[KEY_BYTES];
	size_t size = r->w->space->value_bytes;

	key_make(r->w->space, id, key);
	value_make(r->value, size, id, r->generation);
	return r->driver->put(r->session, (struct slice){ key, KEY_BYTES },
			      (struct slice){ r->value, size });
}

static int op_overwrite(struct run *r)
{
	return put_id(r, uniform_id(r));
}

static int op_insert(struct run *r)
{
	const struct command *c = r->w->command;

	return put_id(r, c->first_id + r->cursor++ * (uint64_t)c->workers + (uint64_t)r->w->index);
}

static inline __attribute__((always_inline)) int run_ops(struct run *r, int (*op)(struct run *))
{
	const struct command *c = r->w->command;
	struct result *out = r->w->result;
	uint64_t cost = pp_clock_cost_ns(), now, limit, ops = 0;

	now = out->start_ns = pp_clock_ns();
	limit = now + c->duration_ns;
	while (ops < c->ops_max && now < limit) {
		uint64_t from = pp_clock_ns(), took;

		if (op(r))
			return -1;
		now = pp_clock_ns();
		took = now - from;
		pp_latency_add(&out->latency, took > cost ? took - cost : 0);
		ops++;
		for (unsigned i = 1; i < c->sample_every && ops < c->ops_max; i++, ops++)
			if (op(r))
				return -1;
	}
	out->ops = ops;
	return r->driver->finish(r->session);
}

static int run_kind(struct run *r)
{
	switch (r->w->command->kind) {
	case KIND_LOAD:
	case KIND_INSERT:
		return run_ops(r, op_insert);
	case KIND_OVERWRITE:
		return run_ops(r, op_overwrite);
	case KIND_GET:
	case KIND_WARM:
		return run_ops(r, op_get);
	case KIND_GET_ZIPF:
		return run_ops(r, op_get_zipf);
	case KIND_GET_MANY:
		return run_ops(r, op_get_many);
	case KIND_RANGE:
		return run_ops(r, op_range);
	case KIND_SCAN:
	case KIND_VERIFY:
		return run_ops(r, op_scan);
	default:
		return bench_fail("no such work");
	}
}

static int draw_zipf(struct run *r)
{
	r->draws = malloc(DRAWS * sizeof *r->draws);
	if (!r->draws)
		return bench_fail("out of memory");
	for (int i = 0; i < DRAWS; i++)
		r->draws[i] = (uint32_t)pp_zipf_scattered(&r->w->space->zipf, pp_random(&r->random));
	return 0;
}

/* A run may leave keys unread in the caches of the CPU, not pages unmapped: one pass first. */
static int warm_up(struct run *r)
{
	return r->w->command->kind == KIND_WARM && op_scan(r) ? -1 : 0;
}

static int prepare(struct run *r)
{
	const struct command *c = r->w->command;

	r->driver = r->w->driver;
	r->random = c->seed * 0x10001 + (uint64_t)r->w->index * 0x5851f42d4c957f2du;
	r->generation = c->generation;
	r->scan.verify = c->kind == KIND_VERIFY;
	value_prepare(r->value, r->w->space->value_bytes, r->random);
	if (r->driver->begin(r->w->handle, c->mode, &r->session))
		return -1;
	if (warm_up(r))
		return -1;
	return c->kind == KIND_GET_ZIPF ? draw_zipf(r) : 0;
}

/* A worker that could not prepare still answers and waits, so that the others are not held up. */
static void rendezvous(struct worker *w)
{
	char byte = 0;

	if (write(w->ready_fd, &byte, 1) != 1 || read(w->go_fd, &byte, 1) != 1)
		bench_fail("the coordinator is gone");
}

static void work(struct worker *w)
{
	struct run r = { .w = w };
	int rc = prepare(&r);

	rendezvous(w);
	if (!rc)
		rc = run_kind(&r);
	w->result->end_ns = pp_clock_ns();
	if (r.session)
		r.driver->end(r.session);
	free(r.draws);
	w->result->wrong = r.wrong + r.scan.wrong;
	if (w->command->kind == KIND_SCAN || w->command->kind == KIND_VERIFY)
		w->result->ops = r.scan.entries;
	w->result->failed = rc;
}

/* Attach and first get of a fresh process; ops_max carries nothing here. */
static void work_attach(struct worker *w)
{
	struct run r = { .w = w, .driver = w->driver, .random = w->command->seed };
	void *handle = NULL;
	int rc;

	rendezvous(w);
	w->result->start_ns = pp_clock_ns();
	rc = w->driver->open(w->place, MODE_READ, &handle);
	w->result->end_ns = pp_clock_ns();
	if (!rc && !w->driver->begin(handle, MODE_READ, &r.session)) {
		rc = op_get(&r);
		pp_latency_add(&w->result->latency, pp_clock_ns() - w->result->start_ns);
		w->driver->end(r.session);
		w->driver->close(handle);
	}
	w->result->ops = 1;
	w->result->wrong = r.wrong;
	w->result->failed = rc;
}

static void work_memory(struct worker *w)
{
	rendezvous(w);
	w->result->failed = w->driver->memory(w->place, w->handle, &w->result->memory);
}

void worker_run(struct worker *w)
{
	memset(w->result, 0, sizeof *w->result);
	bench_fail("no reason given");
	if (w->command->kind == KIND_ATTACH)
		work_attach(w);
	else if (w->command->kind == KIND_MEMORY)
		work_memory(w);
	else
		work(w);
	if (w->result->failed)
		text_format(w->result->message, "%s", bench_failure());
}
