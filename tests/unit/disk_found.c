/*
 * disk_found.c - what the simulated disk found (tests/lib/disk_life.h), each as the shortest story that shows it.
 *
 * A story is told once for each call of the disk in which it may end, and after each the disk comes up in many ways.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "engine/checkpoint.h"
#include "engine/file.h"
#include "engine/wal.h"
#include "shm/errors.h"
#include "tests/lib/simdisk.h"

#define DIR "/store"
#define STORE 0x5107e
#define WAYS 32

static struct pp_wal_config config_on(struct simdisk *d)
{
	return (struct pp_wal_config){
		.dir = DIR "/wal", .store_id = STORE, .segment_bytes = 16 << 10, .batch_bytes = 4096, .spare_segments = 1, .depth = 1,
		.backend = PP_WAL_PWRITE_DSYNC, .disk = &d->disk,
	};
}

static int count(void *ctx, uint64_t epoch, const void *data, size_t size)
{
	(void)epoch;
	(void)data;
	(void)size;
	++*(unsigned *)ctx;
	return 0;
}

/* What a cold start reads. The snapshot of the checkpoint (0: none) goes to *from. */
static int recover(struct simdisk *d, uint64_t *from, unsigned *records, struct pp_wal_recovered *out)
{
	struct pp_wal_config config = config_on(d);
	struct pp_ckpt_reader *r = NULL;
	int rc = pp_ckpt_open(&d->disk, DIR "/checkpoint", STORE, &r);

	*from = *records = 0;
	if (rc == 0) {
		*from = pp_ckpt_get_info(r)->snapshot;
		pp_ckpt_close(r);
	} else if (rc != PPDB_NOTFOUND && rc != -ENOENT) {
		return rc;
	}
	return pp_wal_recover(&config, *from, count, records, out);
}

static struct pp_wal *start(struct simdisk *d)
{
	struct pp_wal_config config = config_on(d);
	struct pp_wal_recovered r;
	struct pp_wal *w = NULL;
	unsigned records;
	uint64_t from;

	if (recover(d, &from, &records, &r) || pp_wal_open(&config, &r, &w))
		return NULL;
	return w;
}

static struct pp_wal_pos flush(struct pp_wal *w)
{
	struct pp_wal_pos pos = {0};

	do {
		(void)pp_wal_submit(w);
		if (pp_wal_poll(w, 1, &pos))
			break;
	} while (pp_wal_pending(w) || pp_wal_inflight(w));
	return pos;
}

static struct pp_wal_pos put(struct pp_wal *w, uint64_t epoch, size_t size, bool end)
{
	void *bytes = calloc(1, size);
	struct iovec part = {bytes, size};

	(void)pp_wal_append(w, epoch, &part, 1);
	if (end)
		(void)pp_wal_end_epoch(w, epoch);
	free(bytes);
	return flush(w);
}

static int checkpoint(struct simdisk *d, uint64_t snapshot)
{
	struct pp_ckpt_record record = {.key = "k", .key_size = 1, .value = &snapshot, .size = sizeof(snapshot), .tag = snapshot};
	struct pp_ckpt_meta meta = {.max_tag = snapshot + 1};
	struct pp_ckpt_writer *w = NULL;
	int rc = pp_ckpt_begin(&d->disk, DIR "/checkpoint", STORE, snapshot, 1, &w);

	if (!rc)
		(void)pp_ckpt_put(w, 0, &record);
	return rc ? rc : pp_ckpt_commit(w, NULL, 0, &meta);
}

static void kill_process(struct simdisk *d, struct pp_wal *w)
{
	d->dead = true;
	if (w)
		pp_wal_close(w);
	simdisk_kill(d);
}

static struct simdisk *new_disk(uint64_t seed, bool any_names)
{
	struct simdisk *d = simdisk_new(seed, DIR);

	d->rules.any_names = any_names;
	cr_assert_eq(pp_file_make_dir(&d->disk, DIR "/wal", 0700), 0);
	cr_assert_eq(pp_file_make_dir(&d->disk, DIR "/checkpoint", 0700), 0);
	return d;
}

/* Whatever is left after a power cut, a start succeeds, and knows all up to `epoch`. */
static void must_start(struct simdisk *d, uint64_t epoch)
{
	for (uint64_t seed = 1; seed <= WAYS; seed++) {
		struct simdisk *after = simdisk_after_cut(d, seed);
		struct pp_wal_recovered r;
		unsigned records;
		uint64_t from;
		int rc = recover(after, &from, &records, &r);

		cr_assert_eq(rc, 0, "after call %llu, way %llu: %s", (unsigned long long)d->die_at, (unsigned long long)seed,
			     pp_detail_get());
		cr_assert_geq(r.last.epoch, epoch, "after call %llu, way %llu", (unsigned long long)d->die_at, (unsigned long long)seed);
		simdisk_free(after);
	}
}

/* The keeper made the log's directory and never synced the one above. */
Test(disk_found, a_directory_is_durable_once_made)
{
	for (int process = 0; process < 2; process++) {
		struct simdisk *d = simdisk_new(1, DIR);

		if (process == 1) /* another one made it and died at once */
			d->disk.make_dir(&d->disk, DIR "/wal", 0700);
		cr_assert_eq(pp_file_make_dir(&d->disk, DIR "/wal", 0700), 0);
		for (uint64_t seed = 1; seed <= WAYS; seed++) {
			struct simdisk *after = simdisk_after_cut(d, seed);

			cr_assert_eq(after->disk.make_dir(&after->disk, DIR "/wal", 0700), -EEXIST);
			simdisk_free(after);
		}
		simdisk_free(d);
	}
}

/* A start deletes the segments of a generation that wrote nothing; the first was gone, the second was not: "is missing". */
Test(disk_found, a_dead_generation_half_deleted)
{
	for (uint64_t call = 1; call; call++) {
		struct simdisk *d = new_disk(1, call % 2);
		struct pp_wal *w = start(d);
		bool whole;

		put(w, 1, 100, true);
		kill_process(d, w);
		w = start(d);
		cr_assert_eq(pp_wal_prepare(w), 1);
		kill_process(d, w);
		d->die_at = d->counts.calls + (call + 1) / 2;
		w = start(d);
		whole = w && !d->dead;
		must_start(d, 1);
		kill_process(d, w);
		simdisk_free(d);
		if (whole)
			break;
	}
}

/* The directory's sync failed after MANIFEST was renamed; the next checkpoint synced again, which proved nothing, and removed the
 * files of the one before. */
Test(disk_found, a_failed_sync_is_not_made_good_by_another)
{
	for (uint64_t call = 1; call < 128; call++) {
		struct simdisk *d = new_disk(call, false); /* which decides what a failed sync has done */
		struct pp_ckpt_writer *w = NULL;

		cr_assert_eq(checkpoint(d, 1), 0);
		d->fail_at = d->counts.calls + 1 + call % 16;
		(void)checkpoint(d, 2);
		d->fail_at = 0;
		cr_assert_eq(pp_ckpt_begin(&d->disk, DIR "/checkpoint", STORE, 3, 1, &w), 0);
		must_start(d, 1);
		pp_ckpt_abort(w);
		must_start(d, 1);
		simdisk_free(d);
	}
}

/* A start from a checkpoint whose rename was not durable wrote the checkpoint's epoch into the log's header; without the checkpoint
 * the log then seemed to lack its beginning. */
Test(disk_found, the_checkpoint_of_the_last_start_is_lost)
{
	for (uint64_t call = 1; call < 16; call++) {
		struct simdisk *d = new_disk(1, false);
		struct pp_wal *w = start(d);

		cr_assert_eq(pp_wal_end_epoch(w, 1), 0);
		d->die_at = d->counts.calls + call;
		(void)checkpoint(d, 1);
		kill_process(d, w);
		w = start(d);
		cr_assert(w, "%s", pp_detail_get());
		must_start(d, 0);
		kill_process(d, w);
		simdisk_free(d);
	}
}

/* A file numbered 0, the reserve that a killed daemon had begun to make, was passed over: a full disk stayed full. */
Test(disk_found, what_was_begun_is_removed)
{
	struct simdisk *d = new_disk(1, false);
	struct pp_wal *w = start(d);
	uint64_t used;

	cr_assert_eq(pp_wal_prepare(w), 1);
	kill_process(d, w);
	used = simdisk_used(d);
	for (uint64_t call = 1; call < 5; call++) {
		w = start(d);
		cr_assert(w, "%s", pp_detail_get());
		d->die_at = d->counts.calls + call;
		cr_assert_lt(pp_wal_prepare_reserve(w), 0);
		kill_process(d, w);
	}
	d->rules.capacity = simdisk_used(d);
	w = start(d);
	cr_assert(w, "%s", pp_detail_get());
	kill_process(d, w);
	cr_assert_leq(simdisk_used(d), used);
	simdisk_free(d);
}

/* A marker filled the segment that held the last durable END, and an epoch without its END began in the next one: a release let the
 * first go, and a warm restart did not find the position. */
Test(disk_found, the_durable_position_stays_in_the_log)
{
	struct simdisk *d = new_disk(1, false);
	struct pp_wal_config config = config_on(d);
	struct pp_wal_recovered r;
	struct pp_wal *w = start(d);
	struct pp_wal_pos pos;

	put(w, 1, 100, true);
	pos = put(w, 2, 100, true);
	cr_assert_eq(pp_wal_idle(w), 1);
	flush(w);
	put(w, 3, 6000, false);
	cr_assert_eq(checkpoint(d, 2), 0);
	cr_assert_geq(pp_wal_release(w, 2), 0);
	kill_process(d, w);
	config.expect = &pos;
	cr_assert_eq(pp_wal_recover(&config, 2, NULL, NULL, &r), 0, "%s", pp_detail_get());
	cr_assert(r.expect_found);
	simdisk_free(d);
}
