/*
 * checkpoint.c - checkpoints give back what was put in: every size, many streams, floors and ranges; and refuse misuse.
 */
#include "tests/unit/checkpoint_data.h"

#include <pthread.h>

static char dir[64];

static void setup(void)
{
	make_dir(dir);
}

static void teardown(void)
{
	remove_dir(dir);
}

TestSuite(checkpoint, .init = setup, .fini = teardown, .timeout = 120);

static void round_trip(const struct data_set *d)
{
	int rc = write_set(dir, d);

	cr_assert_eq(rc, 0, "write: %s", pp_detail_get());
	rc = verify(dir, d);
	cr_assert_eq(rc, 0, "read: %d %s", rc, pp_detail_get());
}

Test(checkpoint, empty_directory_is_a_fresh_store)
{
	struct pp_ckpt_reader *r;

	cr_assert_eq(pp_ckpt_open(&pp_disk_real, dir, STORE, &r), PPDB_NOTFOUND);
	cr_assert_eq(pp_ckpt_open(&pp_disk_real, "/nonexistent/ppdb", STORE, &r), PPDB_NOTFOUND);
}

Test(checkpoint, round_trip_of_small_records)
{
	static const uint32_t sizes[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 100, 101, 1000};

	round_trip(&(struct data_set){.seed = 11, .streams = 4, .records = 5000, .sizes = sizes, .nsizes = 13});
}

Test(checkpoint, round_trip_of_values_around_the_block_size)
{
	uint32_t sizes[200];
	unsigned n = 0;

	/* All lengths of a record that end near the end of a block, or of its second and third one. */
	for (uint32_t blocks = 1; blocks <= 3; blocks++)
		for (uint32_t d = 0; d < 60; d++)
			sizes[n++] = blocks * 8128 + 12 - 40 - d;
	round_trip(&(struct data_set){
		.seed = 12, .streams = 2, .records = 2 * n + 1, .sizes = sizes, .nsizes = n, .block_bytes = 8192});
}

Test(checkpoint, round_trip_of_the_limits)
{
	static const uint32_t sizes[] = {0, 64u << 20, 1, (1u << 20) - 64, 3u << 20};

	round_trip(&(struct data_set){
		.seed = 13, .streams = 1, .records = 10, .sizes = sizes, .nsizes = 5, .key_size = PP_KEY_MAX});
}

Test(checkpoint, round_trip_of_the_longest_keys_in_the_smallest_blocks)
{
	static const uint32_t sizes[] = {0, 4000, 4096, 20000};

	round_trip(&(struct data_set){.seed = 14,
		.streams = 3,
		.records = 50,
		.sizes = sizes,
		.nsizes = 4,
		.key_size = PP_KEY_MAX,
		.block_bytes = 8192});
}

Test(checkpoint, empty_streams)
{
	static const uint32_t sizes[] = {1};

	round_trip(&(struct data_set){.seed = 15, .streams = 256, .records = 0, .sizes = sizes, .nsizes = 1});
}

Test(checkpoint, info_streams_floors_and_ranges)
{
	static const uint32_t sizes[] = {10};
	struct data_set d = {.seed = 16, .streams = 2, .records = 100, .sizes = sizes, .nsizes = 1};
	struct pp_ckpt_stream_info si;
	const struct pp_ckpt_info *info;
	struct pp_ckpt_reader *r;
	struct record_buffer b;

	cr_assert_eq(write_set(dir, &d), 0);
	cr_assert_eq(pp_ckpt_open(&pp_disk_real, dir, STORE, &r), 0);
	info = pp_ckpt_get_info(r);
	cr_assert_eq(info->snapshot, 16);
	cr_assert_eq(info->max_tag, 23);
	cr_assert_eq(info->incarnation, 3);
	cr_assert_eq(info->records, 200);
	cr_assert_eq(info->nfloors, 3);
	cr_assert_eq(info->floors[1], 1000);
	cr_assert_eq(info->floors[2], UINT64_MAX);
	cr_assert_eq(info->nlost, 2);
	cr_assert_eq(info->lost[1].high, 200);
	for (unsigned s = 0; s < 2; s++) {
		pp_ckpt_get_stream(r, s, &si);
		cr_assert_eq(si.records, 100);
		make_record(&d, s, 0, &b);
		cr_assert(si.first_table == b.rec.table && si.first_size == b.rec.key_size &&
			  !memcmp(si.first_key, b.rec.key, b.rec.key_size));
		free(b.value);
		make_record(&d, s, 99, &b);
		cr_assert(si.last_table == b.rec.table && si.last_size == b.rec.key_size &&
			  !memcmp(si.last_key, b.rec.key, b.rec.key_size));
		free(b.value);
	}
	pp_ckpt_close(r);
}

Test(checkpoint, newer_replaces_older_and_removes_its_files)
{
	static const uint32_t sizes[] = {100};
	struct data_set a = {.seed = 20, .streams = 5, .records = 10, .sizes = sizes, .nsizes = 1};
	struct data_set b = {.seed = 20, .streams = 2, .records = 7, .sizes = sizes, .nsizes = 1};

	cr_assert_eq(write_set(dir, &a), 0);
	cr_assert_eq(each_file(dir, NULL, NULL), 6);
	/* The same S again: names must not clash with the valid one's. */
	cr_assert_eq(write_set(dir, &b), 0);
	cr_assert_eq(each_file(dir, NULL, NULL), 3);
	cr_assert_eq(verify(dir, &b), 0);
}

Test(checkpoint, abort_leaves_the_old_one_and_nothing_else)
{
	static const uint32_t sizes[] = {100};
	struct data_set a = {.seed = 21, .streams = 2, .records = 10, .sizes = sizes, .nsizes = 1};
	struct pp_ckpt_writer *w;
	struct record_buffer b;

	cr_assert_eq(write_set(dir, &a), 0);
	cr_assert_eq(pp_ckpt_begin(&pp_disk_real, dir, STORE, 22, 3, &w), 0);
	make_record(&a, 0, 0, &b);
	cr_assert_eq(pp_ckpt_put(w, 1, &b.rec), 0);
	free(b.value);
	cr_assert_eq(each_file(dir, NULL, NULL), 6);
	pp_ckpt_abort(w);
	pp_ckpt_abort(NULL);
	cr_assert_eq(each_file(dir, NULL, NULL), 3);
	cr_assert_eq(verify(dir, &a), 0);
}

Test(checkpoint, misuse_is_refused)
{
	struct pp_ckpt_record a = {.table = 1, .key = "b", .key_size = 1, .value = "", .size = 0};
	struct pp_ckpt_meta meta = {.max_tag = 1};
	struct pp_ckpt_writer *w;

	cr_assert_eq(pp_ckpt_begin(&pp_disk_real, dir, STORE, 1, 0, &w), -EINVAL);
	cr_assert_eq(pp_ckpt_begin(&pp_disk_real, dir, STORE, 1, 257, &w), -EINVAL);
	cr_assert_eq(pp_ckpt_begin(&pp_disk_real, "/nonexistent/ppdb", STORE, 1, 1, &w), -ENOENT);

	cr_assert_eq(pp_ckpt_begin(&pp_disk_real, dir, STORE, 1, 4, &w), 0);
	cr_assert_eq(pp_ckpt_set_block_bytes(w, 100), -EINVAL);
	cr_assert_eq(pp_ckpt_put(w, 4, &a), -EINVAL);
	cr_assert_eq(pp_ckpt_put(w, 0, &a), 0);
	cr_assert_eq(pp_ckpt_set_block_bytes(w, 8192), -EBUSY);
	cr_assert_eq(pp_ckpt_put(w, 0, &a), -EINVAL, "the same key twice");
	cr_assert_eq(pp_ckpt_put(w, 0, &a), -EINVAL, "an error stays");
	a.key_size = 0;
	cr_assert_eq(pp_ckpt_put(w, 1, &a), PPDB_KEYSIZE);
	a.key_size = 1;
	a.size = PP_VALUE_MAX + 1;
	cr_assert_eq(pp_ckpt_put(w, 2, &a), PPDB_VALSIZE);
	cr_assert_eq(pp_ckpt_end_stream(w, 3), 0);
	a.size = 0;
	cr_assert_eq(pp_ckpt_put(w, 3, &a), -EINVAL, "after its end");
	cr_assert_eq(pp_ckpt_commit(w, NULL, 0, &meta), -EINVAL, "a failed stream must not count");
	cr_assert_eq(each_file(dir, NULL, NULL), 0);
}

struct thread_job {
	struct pp_ckpt_writer *w;
	const struct data_set *d;
	unsigned stream;
	int rc;
};

static void *write_stream(void *arg)
{
	struct thread_job *j = arg;

	for (unsigned i = 0; i < j->d->records && !j->rc; i++) {
		struct record_buffer b;

		make_record(j->d, j->stream, i, &b);
		j->rc = pp_ckpt_put(j->w, j->stream, &b.rec);
		free(b.value);
	}
	if (!j->rc)
		j->rc = pp_ckpt_end_stream(j->w, j->stream);
	return NULL;
}

Test(checkpoint, streams_are_written_by_threads_at_once)
{
	static const uint32_t sizes[] = {100, 0, 5000};
	struct data_set d = {
		.seed = 30, .streams = 4, .records = 3000, .sizes = sizes, .nsizes = 3, .block_bytes = 65536};
	struct pp_ckpt_meta meta = {.max_tag = 1};
	struct thread_job job[4];
	pthread_t thread[4];
	uint64_t bytes, records;
	struct pp_ckpt_writer *w;

	cr_assert_eq(pp_ckpt_begin(&pp_disk_real, dir, STORE, d.seed, 4, &w), 0);
	cr_assert_eq(pp_ckpt_set_block_bytes(w, d.block_bytes), 0);
	for (unsigned i = 0; i < 4; i++) {
		job[i] = (struct thread_job){w, &d, i, 0};
		cr_assert_eq(pthread_create(&thread[i], NULL, write_stream, &job[i]), 0);
	}
	for (unsigned i = 0; i < 4; i++) {
		pthread_join(thread[i], NULL);
		cr_assert_eq(job[i].rc, 0);
	}
	pp_ckpt_progress(w, &bytes, &records);
	cr_assert_eq(records, 12000);
	cr_assert_gt(bytes, 12000u * 1700);
	cr_assert_eq(pp_ckpt_commit(w, NULL, 0, &meta), 0);
	cr_assert_eq(verify(dir, &d), 0);
}
