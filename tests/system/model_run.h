/*
 * model_run.h - random operations on a store and on its model, step by step (model_ops.c, model_iter.c, model_run.c).
 */
#ifndef TESTS_SYSTEM_MODEL_RUN_H
#define TESTS_SYSTEM_MODEL_RUN_H

#include "tests/system/model_set.h"

#define MODEL_HANDLES 3 /* two that write, one read-only */
#define MODEL_SNAPSHOTS 4
#define MODEL_PINS 64

/* What was read in place and must stay as it was until its view is refreshed. */
struct model_pin {
	ppdb_item item;
	struct model_state state;
	uint32_t key;
};

struct model_view {
	ppdb_view *view;
	uint32_t pins;
	struct model_pin pin[MODEL_PINS];
};

struct model_snapshot {
	struct model_view v;
	struct model_state *then; /* the model at that time */
};

struct model_run {
	struct test_store *store;
	struct model m;
	struct test_random r;
	ppdb *db[MODEL_HANDLES];
	unsigned writers;         /* how many of the handles write: with one, a SNAPSHOT view of it holds all */
	struct model_view latest[MODEL_HANDLES];
	struct model_snapshot snapshot[MODEL_SNAPSHOTS];
	uint8_t *buf;             /* a value */
	ppdb_seq ticket;          /* newest */
	const char *config;
};

void model_open(struct model_run *x);
void model_close(struct model_run *x);
/* Ends views and snapshots, keeps the handles. */
void model_drop_views(struct model_run *x);
void model_open_views(struct model_run *x);

/* One operation of any kind. */
void model_step(struct model_run *x);
/* Only gets, puts and deletes that need no daemon. */
void model_step_offline(struct model_run *x);
/* Everything in the store against everything in the model: forward, backward, by get, by get_many. */
void model_compare_all(struct model_run *x);

/* An iterator over a view compared with `then`, some moves. A LATEST view (then == the model's own) is written and refreshed meanwhile. */
void model_iterate(struct model_run *x, struct model_view *v, struct model_state *then);
/* Moves a LATEST view to now, after what was read through it was looked at once more. */
void model_refresh(struct model_run *x, struct model_view *v);
void model_scan_all(struct model_run *x, ppdb_view *view, struct model_state *then);

void model_put(struct model_run *x, uint32_t i);
void model_del(struct model_run *x, uint32_t i);
ppdb *model_writer(struct model_run *x);

#define model_require(x, i, condition, fmt, ...)                                                                          \
	test_require(condition, "%s, operation %llu, key %s: " fmt, (x)->config, (unsigned long long)(x)->m.clock, \
		model_text(&(x)->m, i), ##__VA_ARGS__)
#define model_expect(x, i, want, call)                                                                                       \
	do {                                                                                                                 \
		int got_ = (call), want_ = (want);                                                                           \
		model_require(x, i, got_ == want_, "%s gave %s, not %s: %s", #call, test_name_of(got_), test_name_of(want_), \
			test_detail());                                                                                      \
	} while (0)

#endif
