/*
 * wal_damage.c - a small log cut at every byte and with every byte changed, with and without its last marker.
 *
 * The rule: recovery either refuses, naming file and offset, or delivers exactly the records of whole epochs up to some epoch,
 * and never less than what a later unit proves to have been durable.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/layout_disk.h"
#include "engine/wal_format.h"
#include "shm/errors.h"
#include "wal_helper.h"

/* Memory instead of the disk: the files are read a hundred thousand times. */
static struct wal_model *small_model(void)
{
	struct wal_model *m;

	if (access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 1);
	m = wal_model_new();
	m->config.segment_bytes = 16 << 10;
	m->config.batch_bytes = 4 << 10;
	m->config.backend = PP_WAL_PWRITE_DSYNC;
	return m;
}

/* Epochs of one and two units. `copy` gets the files as they were before the last marker. */
static struct wal_model *small_log(int generations, const char *copy)
{
	struct wal_model *m = small_model();
	struct pp_wal_recovered r;
	uint64_t epoch = 0;

	for (int generation = 0; generation < generations; generation++) {
		struct pp_wal *w;

		wal_recover_ok(m, &r);
		w = wal_open_ok(m, &r);
		for (int i = 0; i < 4; i++) {
			epoch++;
			cr_assert_eq(wal_put(m, w, epoch, 100 + (size_t)i), 0);
			if (i == 2)
				cr_assert_eq(wal_put(m, w, epoch, 5000), 0);
			cr_assert_eq(pp_wal_end_epoch(w, epoch), 0);
			wal_flush(w);
		}
		if (copy && generation == generations - 1)
			wal_copy(m->dir, copy);
		cr_assert_eq(pp_wal_close(w), 0);
	}
	return m;
}

static void check_refusal(int rc, const char *what, size_t at)
{
	cr_assert_eq(rc, PPDB_CORRUPT, "%s %zu: %d %s", what, at, rc, pp_detail_get());
	cr_assert(strstr(pp_detail_get(), "wal-") && strstr(pp_detail_get(), "offset"), "%s %zu: %s", what, at,
		  pp_detail_get());
}

struct tally {
	size_t refused, whole, shorter;
};

/* `proven`: records that must be there whenever recovery accepts the log. */
static void judge(struct wal_model *m, struct tally *t, size_t proven, const char *what, size_t at)
{
	struct pp_wal_recovered r;
	int rc = wal_recover(m, &r);

	if (rc) {
		check_refusal(rc, what, at);
		t->refused++;
		return;
	}
	cr_assert_geq(m->next, proven, "%s %zu: only %zu records", what, at, m->next);
	cr_assert_eq(m->next, wal_count_upto(m, r.last.epoch));
	t->whole += m->next == m->count;
	t->shorter += m->next < m->count;
}

static size_t list(const char *dir, char paths[][PP_WAL_PATH], size_t room)
{
	uint64_t *numbers;
	size_t count;

	cr_assert_eq(pp_wal_format_list(&pp_disk_real, dir, PP_WAL_FILE_LOG, &numbers, &count), 0);
	cr_assert_leq(count, room);
	for (size_t i = 0; i < count; i++)
		pp_wal_format_path(paths[i], dir, PP_WAL_FILE_LOG, numbers[i]);
	free(numbers);
	return count;
}

static void flip_all(struct wal_model *m, const char *path, struct tally *t, size_t proven)
{
	struct stat st;
	int fd = open(path, O_RDWR);

	cr_assert(fd >= 0 && fstat(fd, &st) == 0);
	for (off_t at = 0; at < st.st_size; at++) {
		uint8_t byte, changed;

		cr_assert_eq(pread(fd, &byte, 1, at), 1);
		changed = byte ^ (uint8_t)(1u << (at % 8));
		cr_assert_eq(pwrite(fd, &changed, 1, at), 1);
		judge(m, t, proven, path, (size_t)at);
		cr_assert_eq(pwrite(fd, &byte, 1, at), 1);
	}
	close(fd);
}

static void cut_all(struct wal_model *m, const char *path, struct tally *t, size_t proven)
{
	static uint8_t bytes[1 << 20];
	struct stat st;
	int fd = open(path, O_RDWR);

	cr_assert(fd >= 0 && fstat(fd, &st) == 0);
	cr_assert_eq(read(fd, bytes, sizeof(bytes)), st.st_size);
	for (off_t at = st.st_size - 1; at >= 0; at--) {
		cr_assert_eq(ftruncate(fd, at), 0);
		judge(m, t, proven, path, (size_t)at);
	}
	cr_assert_eq(pwrite(fd, bytes, (size_t)st.st_size, 0), st.st_size);
	close(fd);
}

/* After the marker everything is proven: nothing that was acknowledged may ever be missing from an accepted log. */
Test(wal_damage, with_marker_nothing_is_lost_silently, .timeout = 300)
{
	struct wal_model *m = small_log(2, NULL);
	char paths[8][PP_WAL_PATH];
	size_t files = list(m->dir, paths, 8);
	struct tally flips = {0}, cuts = {0};

	cr_assert_geq(files, 3);
	for (size_t i = 0; i < files; i++) {
		/* A cut of the last file at its unused end takes nothing away. */
		flip_all(m, paths[i], &flips, m->count);
		cut_all(m, paths[i], &cuts, i + 1 < files ? m->count : 0);
	}
	cr_assert_gt(flips.refused, 30000);
	cr_assert_gt(flips.whole, 1000, "the unused rest may hold anything");
	cr_assert_eq(flips.shorter, 0);
	cr_assert_gt(cuts.refused, 20000);
	wal_model_free(m);
}

/* Before the marker the last unit is a torn tail as far as anybody can tell; all before it is proven by it. */
Test(wal_damage, without_marker_only_the_last_unit_is_cut, .timeout = 300)
{
	char copy[220], paths[8][PP_WAL_PATH];
	struct wal_model *m;
	struct tally flips = {0}, cuts = {0};
	size_t files;

	snprintf(copy, sizeof(copy), "%s/ppdb-wal-copy-%d", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm", getpid());
	m = small_log(1, copy);
	m->config.dir = copy;
	files = list(copy, paths, 8);
	for (size_t i = 0; i < files; i++) {
		flip_all(m, paths[i], &flips, m->count - 1);
		cut_all(m, paths[i], &cuts, i + 1 < files ? m->count - 1 : 0);
	}
	cr_assert_eq(flips.shorter, 4096, "every byte of the last unit, no other");
	cr_assert_gt(flips.refused, 15000);
	cr_assert_gt(cuts.shorter, 4095);
	wal_clear(copy);
	rmdir(copy);
	wal_model_free(m);
}

/* Whole units that fell out, in any combination: what never reached the disk in time, and what did. */
Test(wal_damage, units_in_flight_may_be_missing_in_any_combination, .timeout = 120)
{
	struct wal_model *m = small_model();
	char path[PP_WAL_PATH];
	struct pp_wal_recovered r;
	struct pp_wal *w;
	uint8_t zeros[PP_WAL_BLOCK] = {0}, blocks[4][PP_WAL_BLOCK];
	size_t accepted = 0;
	int fd;

	m->config.segment_bytes = 64 << 10;
	wal_recover_ok(m, &r);
	w = wal_open_ok(m, &r);
	for (uint64_t e = 1; e <= 4; e++) {
		cr_assert_eq(wal_put(m, w, e, 50), 0);
		cr_assert_eq(pp_wal_end_epoch(w, e), 0);
		wal_flush(w);
	}
	pp_wal_format_path(path, m->dir, PP_WAL_FILE_LOG, 1);
	fd = open(path, O_RDWR);
	for (int i = 0; i < 4; i++)
		cr_assert_eq(pread(fd, blocks[i], PP_WAL_BLOCK, (i + 1) * (off_t)PP_WAL_BLOCK), PP_WAL_BLOCK);
	for (unsigned missing = 0; missing < 16; missing++) {
		int rc;

		for (int i = 0; i < 4; i++)
			cr_assert_eq(pwrite(fd, missing >> i & 1 ? zeros : blocks[i], PP_WAL_BLOCK,
					    (i + 1) * (off_t)PP_WAL_BLOCK), PP_WAL_BLOCK);
		rc = wal_recover(m, &r);
		if (rc)
			check_refusal(rc, "missing", missing);
		accepted += rc == 0;
		/* Each unit was submitted when all before it was durable: only a tail can be missing. */
		cr_assert_eq(rc == 0, (missing & (missing + (missing & -missing))) == 0 && (!missing || missing & 8),
			     "missing %x: %d", missing, rc);
	}
	cr_assert_eq(accepted, 5);
	close(fd);
	cr_assert_eq(pp_wal_close(w), 0);
	wal_model_free(m);
}

/* A unit with a good checksum whose durable position is older: the hole before it was in flight, it is cut with it. */
Test(wal_damage, a_hole_that_was_in_flight_is_cut)
{
	struct wal_model *m = small_model();
	char path[PP_WAL_PATH];
	struct pp_wal_recovered r;
	struct pp_wal_unit_header *unit = aligned_alloc(PP_WAL_BLOCK, PP_WAL_BLOCK);
	uint8_t zeros[PP_WAL_BLOCK] = {0};
	struct pp_wal *w;
	int fd;

	wal_recover_ok(m, &r);
	w = wal_open_ok(m, &r);
	for (uint64_t e = 1; e <= 3; e++) {
		cr_assert_eq(wal_put(m, w, e, 50), 0);
		cr_assert_eq(pp_wal_end_epoch(w, e), 0);
		wal_flush(w);
	}
	pp_wal_format_path(path, m->dir, PP_WAL_FILE_LOG, 1);
	fd = open(path, O_RDWR);
	cr_assert_eq(pread(fd, unit, PP_WAL_BLOCK, 3 * PP_WAL_BLOCK), PP_WAL_BLOCK);
	cr_assert_eq(pwrite(fd, zeros, PP_WAL_BLOCK, 2 * PP_WAL_BLOCK), PP_WAL_BLOCK);
	cr_assert_eq(wal_recover(m, &r), PPDB_CORRUPT);
	unit->durable_unit = 1;
	unit->checksum = pp_wal_format_unit_sum(unit);
	cr_assert_eq(pwrite(fd, unit, PP_WAL_BLOCK, 3 * PP_WAL_BLOCK), PP_WAL_BLOCK);
	cr_assert_eq(wal_recover_ok(m, &r), 1);
	cr_assert(r.torn);
	cr_assert_eq(r.max_epoch_seen, 3, "cut-off tags count");
	cr_assert_eq(pp_wal_close(w), 0);
	/* The next generation cuts for good: when the missing unit lands late, it stays dead. */
	wal_forget_above(m, 1);
	w = wal_open_ok(m, &r);
	cr_assert_eq(wal_put(m, w, 4, 60), 0);
	cr_assert_eq(pp_wal_end_epoch(w, 4), 0);
	wal_flush(w);
	cr_assert_eq(pwrite(fd, unit, PP_WAL_BLOCK, 2 * PP_WAL_BLOCK), PP_WAL_BLOCK);
	cr_assert_eq(wal_recover_ok(m, &r), 2);
	cr_assert_eq(pp_wal_close(w), 0);
	close(fd);
	free(unit);
	wal_model_free(m);
}

Test(wal_damage, missing_and_swapped_segments_are_refused, .timeout = 120)
{
	struct wal_model *m = small_model();
	char paths[32][PP_WAL_PATH], aside[PP_WAL_PATH + 8];
	struct pp_wal_recovered r;
	struct pp_wal *w;
	size_t files;

	wal_recover_ok(m, &r);
	w = wal_open_ok(m, &r);
	for (uint64_t e = 1; e <= 12; e++) {
		cr_assert_eq(wal_put(m, w, e, 7000), 0);
		cr_assert_eq(pp_wal_end_epoch(w, e), 0);
		wal_flush(w);
	}
	cr_assert_eq(pp_wal_close(w), 0);
	files = list(m->dir, paths, 32);
	cr_assert_geq(files, 4);
	snprintf(aside, sizeof(aside), "%s.aside", paths[0]);
	for (size_t i = 0; i + 1 < files; i++) {
		rename(paths[i], aside);
		check_refusal(wal_recover(m, &r), "without segment", i);
		rename(paths[i + 1], paths[i]);
		check_refusal(wal_recover(m, &r), "renamed segment", i);
		rename(paths[i], paths[i + 1]);
		rename(aside, paths[i]);
	}
	cr_assert_eq(wal_recover_ok(m, &r), 12);
	wal_model_free(m);
}

struct dump_bad {
	uint64_t offset;
	int count;
};

static int note_bad(void *ctx, const struct pp_wal_dump_item *item)
{
	struct dump_bad *b = ctx;

	if (item->bad && !b->count++)
		b->offset = item->offset;
	return 0;
}

Test(wal_damage, dump_shows_where)
{
	struct wal_model *m = small_log(1, NULL);
	struct dump_bad b = {0};
	char path[PP_WAL_PATH];
	int fd;

	pp_wal_format_path(path, m->dir, PP_WAL_FILE_LOG, 1);
	fd = open(path, O_RDWR);
	cr_assert_eq(pwrite(fd, "damage", 6, 2 * PP_WAL_BLOCK + 200), 6);
	close(fd);
	cr_assert_eq(pp_wal_dump(path, note_bad, &b), 0);
	cr_assert_eq(b.count, 1);
	cr_assert_eq(b.offset, 2 * PP_WAL_BLOCK);
	wal_model_free(m);
}
