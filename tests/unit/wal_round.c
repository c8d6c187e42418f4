/*
 * wal_round.c - what goes into the log comes out again: all sizes, epochs, generations, recycling, the quick warm look.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "shm/errors.h"
#include "wal_helper.h"

Test(wal_round, empty_and_missing_directory)
{
	struct wal_model *m = wal_model_new();
	struct pp_wal_recovered r;
	struct pp_wal *w;

	cr_assert_eq(wal_recover_ok(m, &r), 0);
	cr_assert_eq(r.segments, 0);
	cr_assert_eq(r.next_generation, 1);
	m->config.dir = "/tmp/ppdb-there-is-no-such-directory";
	cr_assert_eq(wal_recover_ok(m, &r), 0);
	m->config.dir = m->dir;
	for (int i = 0; i < 3; i++) {
		w = wal_open_ok(m, &r);
		cr_assert_eq(pp_wal_idle(w), 0);
		cr_assert_eq(pp_wal_close(w), 0);
		cr_assert_eq(wal_recover_ok(m, &r), 0);
		cr_assert_eq(r.last.unit, 0);
		cr_assert_eq(r.segments, 1, "an empty generation leaves one segment");
	}
	wal_model_free(m);
}

Test(wal_round, every_small_size, .timeout = 120)
{
	struct wal_model *m = wal_model_new();
	struct pp_wal_recovered r;
	struct pp_wal *w;
	struct pp_wal_pos pos;
	uint64_t epoch = 1;

	wal_recover_ok(m, &r);
	w = wal_open_ok(m, &r);
	for (size_t size = 1; size <= 1200; size++) {
		cr_assert_eq(wal_put(m, w, epoch, size), 0, "%s", pp_detail_get());
		if (size % 7 == 0)
			cr_assert_eq(pp_wal_end_epoch(w, epoch++), 0);
		if (size % 50 == 0)
			cr_assert_eq(pp_wal_submit(w), 0);
	}
	cr_assert_eq(pp_wal_end_epoch(w, epoch), 0);
	pos = wal_flush(w);
	cr_assert_eq(pos.epoch, epoch);
	cr_assert_eq(pp_wal_close(w), 0);
	cr_assert_eq(wal_recover_ok(m, &r), 1200);
	cr_assert_eq(r.records, 1200);
	cr_assert_eq(r.last.epoch, epoch);
	cr_assert_not(r.torn);
	wal_model_free(m);
}

/* Sizes around every boundary that there is: unit, segment, block. */
Test(wal_round, sizes_around_boundaries, .timeout = 120)
{
	static const size_t around[] = {4096, 8192, 16384 - 144, 16384, 32768, 61440, 65536, 200000};
	struct wal_model *m = wal_model_new();
	struct pp_wal_recovered r;
	struct pp_wal *w;
	uint64_t epoch = 1;

	wal_recover_ok(m, &r);
	w = wal_open_ok(m, &r);
	for (size_t i = 0; i < sizeof(around) / sizeof(around[0]); i++) {
		for (size_t d = 0; d <= 48; d += 8) {
			cr_assert_eq(wal_put(m, w, epoch, around[i] - 24 + d), 0, "%s", pp_detail_get());
			cr_assert_eq(pp_wal_end_epoch(w, epoch), 0);
			epoch += 1 + d;
			cr_assert_eq(pp_wal_submit(w), 0);
		}
	}
	wal_flush(w);
	cr_assert_eq(pp_wal_close(w), 0);
	cr_assert_eq(wal_recover_ok(m, &r), m->count);
	wal_model_free(m);
}

Test(wal_round, greatest_record, .timeout = 120)
{
	struct wal_model *m = wal_model_new();
	struct pp_wal_recovered r;
	struct pp_wal *w;
	struct iovec part = {"x", 0};

	m->config.segment_bytes = 16 << 20;
	m->config.batch_bytes = 1 << 20;
	wal_recover_ok(m, &r);
	w = wal_open_ok(m, &r);
	cr_assert_eq(pp_wal_append(w, 1, &part, 1), -EINVAL);
	cr_assert_eq(wal_put(m, w, 1, 10), 0);
	cr_assert_eq(wal_put(m, w, 1, PP_WAL_RECORD_MAX), 0, "%s", pp_detail_get());
	cr_assert_eq(wal_put(m, w, 2, 10), 0);
	part.iov_len = (size_t)PP_WAL_RECORD_MAX + 1;
	cr_assert_eq(pp_wal_append(w, 2, &part, 1), -EINVAL);
	cr_assert_eq(pp_wal_end_epoch(w, 2), 0);
	wal_flush(w);
	cr_assert_eq(pp_wal_close(w), 0);
	cr_assert_eq(wal_recover_ok(m, &r), 3);
	wal_model_free(m);
}

Test(wal_round, epochs_empty_unfinished_and_wrong)
{
	struct wal_model *m = wal_model_new();
	struct pp_wal_recovered r;
	struct pp_wal *w;
	struct pp_wal_pos pos, before;

	wal_recover_ok(m, &r);
	w = wal_open_ok(m, &r);
	cr_assert_eq(pp_wal_end_epoch(w, 3), 0);
	cr_assert_eq(pp_wal_poll(w, 0, &pos), 0);
	cr_assert_eq(pos.epoch, 3, "an empty epoch is durable at once");
	cr_assert_eq(wal_put(m, w, 3, 10), -EINVAL);
	cr_assert_eq(wal_put(m, w, 10, 10), 0);
	cr_assert_eq(wal_put(m, w, 9, 10), -EINVAL);
	cr_assert_eq(wal_put(m, w, 12, 10), 0);
	cr_assert_eq(pp_wal_end_epoch(w, 10), 0);
	cr_assert_eq(pp_wal_end_epoch(w, 9), -EINVAL);
	pos = wal_flush(w);
	cr_assert_eq(pos.epoch, 10);
	before = pos;
	/* Only ends what is written already: a unit of its own. */
	cr_assert_eq(pp_wal_end_epoch(w, 12), 0);
	pos = wal_flush(w);
	cr_assert_eq(pos.epoch, 12);
	cr_assert_eq(pos.unit, before.unit + 1);
	cr_assert_eq(pp_wal_end_epoch(w, 20), 0);
	cr_assert_eq(pp_wal_poll(w, 0, &before), 0);
	cr_assert_eq(before.epoch, 20);
	cr_assert_eq(before.unit, pos.unit);
	/* Never ended. */
	cr_assert_eq(wal_put(m, w, 30, 20000), 0);
	wal_flush(w);
	cr_assert_eq(pp_wal_close(w), 0);
	cr_assert_eq(wal_recover_ok(m, &r), 2);
	cr_assert(r.last.epoch == 12 || r.last.epoch == 20);
	cr_assert_eq(r.max_epoch_seen, 30);
	cr_assert(r.torn);
	wal_model_free(m);
}

/* Each generation leaves something unfinished, which the next one drops for good, even though its units are good. */
Test(wal_round, chain_of_generations, .timeout = 120)
{
	struct wal_model *m = wal_model_new();
	struct pp_wal_recovered r;
	struct pp_wal_pos pos;
	uint64_t state = 4711, epoch = 1;

	for (int generation = 1; generation <= 12; generation++) {
		struct pp_wal *w;

		cr_assert_eq(wal_recover_ok(m, &r), m->count);
		cr_assert_eq(r.next_generation, (uint64_t)generation);
		w = wal_open_ok(m, &r);
		for (int i = 0; i < 40; i++) {
			cr_assert_eq(wal_put(m, w, epoch, 1 + wal_random(&state) % 6000), 0, "%s", pp_detail_get());
			if (i % 3 == 0)
				cr_assert_eq(pp_wal_end_epoch(w, epoch++), 0);
			if (i % 5 == 0)
				cr_assert_eq(pp_wal_submit(w), 0);
		}
		cr_assert_eq(pp_wal_end_epoch(w, epoch), 0);
		pos = wal_flush(w);
		cr_assert_eq(pos.epoch, epoch);
		/* Lost: the next generation uses the same tags again. */
		cr_assert_eq(wal_put(m, w, epoch + 1, 100), 0);
		cr_assert_eq(wal_put(m, w, epoch + 1, 30000), 0);
		cr_assert_eq(pp_wal_submit(w), 0);
		cr_assert_eq(pp_wal_close(w), 0);
		wal_forget_above(m, epoch);
		epoch += 1;
	}
	cr_assert_eq(wal_recover_ok(m, &r), m->count);
	m->from_epoch = epoch / 2;
	cr_assert_eq(wal_recover_ok(m, &r), m->count);
	cr_assert_eq(r.records, m->count - wal_count_upto(m, m->from_epoch));
	wal_model_free(m);
}

Test(wal_round, release_recycles_and_recovery_goes_on, .timeout = 120)
{
	struct wal_model *m = wal_model_new();
	struct pp_wal_recovered r;
	struct pp_wal_stats st;
	struct pp_wal *w;
	uint64_t epoch = 0;

	wal_recover_ok(m, &r);
	w = wal_open_ok(m, &r);
	for (int round = 0; round < 60; round++) {
		for (int i = 0; i < 20; i++) {
			cr_assert_eq(wal_put(m, w, ++epoch, 500 + (size_t)(i * 50)), 0, "%s", pp_detail_get());
			cr_assert_eq(pp_wal_end_epoch(w, epoch), 0);
		}
		wal_flush(w);
		while (pp_wal_prepare(w) == 1)
			;
		if (round % 5 == 4) {
			m->from_epoch = epoch - 30;
			cr_assert_geq(pp_wal_release(w, m->from_epoch), 0);
			wal_recover_ok(m, &r);
			cr_assert_eq(m->next, m->count);
			cr_assert_leq(r.segments, 14);
		}
	}
	pp_wal_stat(w, &st);
	cr_assert_gt(st.segments_recycled, 3);
	cr_assert_eq(st.records, m->count);
	cr_assert_eq(pp_wal_close(w), 0);
	cr_assert_eq(wal_recover_ok(m, &r), m->count);
	/* The checkpoint is gone, the log begins too late: refused. */
	m->from_epoch = 5;
	cr_assert_eq(wal_recover(m, &r), PPDB_CORRUPT);
	cr_assert(strstr(pp_detail_get(), "offset"), "%s", pp_detail_get());
	/* The next incarnation goes on, and a checkpoint lets all of the old go. */
	m->from_epoch = epoch - 30;
	cr_assert_eq(wal_recover_ok(m, &r), m->count);
	w = wal_open_ok(m, &r);
	cr_assert_eq(wal_put(m, w, ++epoch, 77), 0);
	cr_assert_eq(pp_wal_end_epoch(w, epoch), 0);
	wal_flush(w);
	cr_assert_eq(pp_wal_release(w, r.last.epoch - 1), 0);
	cr_assert_gt(pp_wal_release(w, r.last.epoch), 0);
	cr_assert_eq(pp_wal_close(w), 0);
	m->from_epoch = epoch - 1;
	cr_assert_eq(wal_recover_ok(m, &r), m->count);
	cr_assert_eq(r.segments, 1);
	wal_model_free(m);
}

Test(wal_round, quick_look_finds_the_expected_unit)
{
	struct wal_model *m = wal_model_new();
	struct pp_wal_recovered r;
	struct pp_wal *w;
	struct pp_wal_pos pos[20], wrong;

	wal_recover_ok(m, &r);
	w = wal_open_ok(m, &r);
	for (uint64_t e = 1; e <= 20; e++) {
		cr_assert_eq(wal_put(m, w, e, 10000), 0);
		cr_assert_eq(pp_wal_end_epoch(w, e), 0);
		pos[e - 1] = wal_flush(w);
	}
	cr_assert_eq(pp_wal_close(w), 0);
	for (int i = 0; i < 20; i++) {
		m->config.expect = &pos[i];
		cr_assert_eq(pp_wal_recover(&m->config, 0, NULL, NULL, &r), 0, "%s", pp_detail_get());
		cr_assert(r.expect_found, "unit %d", i);
		cr_assert_eq(r.last.epoch, 20);
		if (i == 19)
			cr_assert_leq(r.segments_read, 2);
	}
	wrong = pos[3];
	wrong.chain++;
	m->config.expect = &wrong;
	cr_assert_eq(pp_wal_recover(&m->config, 0, NULL, NULL, &r), 0);
	cr_assert_not(r.expect_found);
	wrong = (struct pp_wal_pos){pos[19].unit + 5, 1, 1};
	cr_assert_eq(pp_wal_recover(&m->config, 0, NULL, NULL, &r), 0);
	cr_assert_not(r.expect_found);
	/* A new generation that wrote nothing: the position is in its header. */
	m->config.expect = NULL;
	wal_recover_ok(m, &r);
	w = wal_open_ok(m, &r);
	cr_assert_eq(pp_wal_close(w), 0);
	m->config.expect = &r.last;
	wrong = r.last;
	m->config.expect = &wrong;
	cr_assert_eq(pp_wal_recover(&m->config, 0, NULL, NULL, &r), 0);
	cr_assert(r.expect_found);
	wal_model_free(m);
}

static int stop_at_third(void *ctx, uint64_t epoch, const void *data, size_t size)
{
	int *n = ctx;

	(void)epoch, (void)data, (void)size;
	return ++*n == 3 ? -ECANCELED : 0;
}

struct dump_count {
	int segments, units, bad;
	uint64_t records;
};

static int count_item(void *ctx, const struct pp_wal_dump_item *item)
{
	struct dump_count *c = ctx;

	c->bad += item->bad != NULL;
	c->segments += item->is_segment;
	c->units += !item->is_segment && !item->bad;
	c->records += item->records;
	return 0;
}

Test(wal_round, callback_stops_and_dump_shows_all)
{
	struct wal_model *m = wal_model_new();
	struct pp_wal_recovered r;
	struct dump_count c = {0};
	struct pp_wal *w;
	int n = 0;

	wal_recover_ok(m, &r);
	w = wal_open_ok(m, &r);
	for (uint64_t e = 1; e <= 30; e++) {
		cr_assert_eq(wal_put(m, w, e, 3000), 0);
		cr_assert_eq(pp_wal_end_epoch(w, e), 0);
		wal_flush(w);
	}
	cr_assert_eq(pp_wal_idle(w), 1);
	wal_flush(w);
	cr_assert_eq(pp_wal_idle(w), 0, "one marker is enough");
	cr_assert_eq(pp_wal_close(w), 0);
	cr_assert_eq(pp_wal_recover(&m->config, 0, stop_at_third, &n, &r), -ECANCELED);
	cr_assert_eq(n, 3);
	cr_assert_eq(pp_wal_dump(m->dir, count_item, &c), 0, "%s", pp_detail_get());
	cr_assert_eq(c.units, 31);
	cr_assert_eq(c.records, 30);
	cr_assert_eq(c.bad, 0);
	cr_assert_geq(c.segments, 2);
	cr_assert_eq(pp_wal_dump("/tmp/ppdb-there-is-no-such-file", count_item, &c), -ENOENT);
	wal_model_free(m);
}

Test(wal_round, bad_configurations_and_another_store)
{
	struct wal_model *m = wal_model_new();
	struct pp_wal_recovered r;
	struct pp_wal *w;

	wal_recover_ok(m, &r);
	m->config.segment_bytes = 5000;
	cr_assert_eq(pp_wal_open(&m->config, &r, &w), -EINVAL);
	m->config.segment_bytes = 64 << 10;
	m->config.batch_bytes = 5000;
	cr_assert_eq(pp_wal_open(&m->config, &r, &w), -EINVAL);
	m->config.batch_bytes = 16 << 10;
	m->config.depth = 9;
	cr_assert_eq(pp_wal_open(&m->config, &r, &w), -EINVAL);
	m->config.depth = 0;
	m->config.backend = 77;
	cr_assert_eq(pp_wal_open(&m->config, &r, &w), -EINVAL);
	m->config.backend = 0;
	w = wal_open_ok(m, &r);
	cr_assert_eq(pp_wal_close(w), 0);
	m->config.store_id++;
	cr_assert_eq(wal_recover(m, &r), PPDB_CORRUPT);
	cr_assert(strstr(pp_detail_get(), "another store"), "%s", pp_detail_get());
	wal_model_free(m);
}
