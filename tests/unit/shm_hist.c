/* shm_hist.c - histograms and sums of counters. */
#include "tests/unit/shm_help.h"

#include "shm/counters.h"

TestSuite(hist, .timeout = 60);

Test(hist, buckets_are_contiguous_and_narrow)
{
	for (unsigned b = 0; b < PP_HIST_BUCKETS; b++) {
		uint64_t low = pp_hist_floor_ns(b), next = pp_hist_floor_ns(b + 1);

		cr_assert_lt(low, next);
		cr_assert_eq(pp_hist_bucket(low), b);
		cr_assert_eq(pp_hist_bucket(next - 1), b);
		cr_assert(b < 4 || (next - low) * 4 <= low);
	}
	cr_assert_gt(pp_hist_floor_ns(PP_HIST_BUCKETS - 1), 100 * PP_NS_PER_SEC);
	cr_assert_eq(pp_hist_bucket(UINT64_MAX), PP_HIST_BUCKETS - 1);
}

Test(hist, percentiles_are_right_within_a_bucket)
{
	static pp_a32 row[PP_HIST_BUCKETS];
	struct pp_hist h = { 0 }, twice = { 0 };

	cr_assert_eq(pp_hist_percentile_ns(&h, 0.5), 0);
	cr_assert_eq(pp_hist_mean_ns(&h), 0);
	for (uint64_t v = 1; v <= 100000; v++)
		pp_hist_record(row, v);
	pp_hist_merge(&h, row);
	cr_assert_eq(h.total, 100000);
	for (int p = 1; p <= 99; p++) {
		double want = p * 1000.0, got = (double)pp_hist_percentile_ns(&h, p / 100.0);

		cr_assert(got > want * 0.8 && got < want * 1.25, "p%d: %f", p, got);
	}
	cr_assert(pp_hist_mean_ns(&h) > 45000 && pp_hist_mean_ns(&h) < 55000);
	pp_hist_add(&twice, &h);
	pp_hist_add(&twice, &h);
	cr_assert_eq(twice.total, 200000);
	cr_assert_eq(pp_hist_percentile_ns(&twice, 0.5), pp_hist_percentile_ns(&h, 0.5));
	cr_assert_leq(pp_hist_percentile_ns(&h, 0), 2);
	cr_assert_geq(pp_hist_percentile_ns(&h, 1), 98304);
}

Test(hist, counters_of_all_slots_add_up)
{
	struct pp_region r;
	struct pp_counters folded = { 0 };
	struct pp_totals sum;
	struct pp_hist h = { 0 };

	help_create(&r, 0, 0);
	pp_store_rlx(&r.globals->slots_high, 5);
	for (unsigned i = 0; i < 6; i++) { /* the sixth was never claimed: not looked at */
		pp_stat_add(&r.slots[i].count.ops[2], i + 1);
		pp_stat_add(&r.slots[i].count.wait_ns, 100);
		pp_hist_record(r.slots[i].hist[2], 50);
	}
	pp_counters_fold(&folded, &r.slots[0].count);
	pp_totals_region(&r, &folded, &sum);
	cr_assert_eq(sum.ops[2], 1 + 2 + 3 + 4 + 5 + 1);
	cr_assert_eq(sum.wait_ns, 600);
	cr_assert_eq(sum.helps, 0);
	pp_hist_region(&r, 2, &h);
	pp_hist_region(&r, PP_OPS, &h);
	cr_assert_eq(h.total, 5);
	cr_assert_eq(pp_counter_count, 20);
	for (size_t i = 0; i < pp_counter_count; i++)
		cr_assert_eq(pp_total_of(&sum, &pp_counter_names[i]), strcmp(pp_counter_names[i].name, "wait_ns") ? 0 : 600);
	help_destroy(&r);
}

Test(hist, what_a_slot_counted_outlives_it)
{
	static struct pp_stats sum;
	struct pp_region r;
	struct pp_slot *s;

	help_create(&r, 0, 0);
	s = &r.slots[2];
	pp_stat_add(&s->count.find_blocks, 7);
	pp_hist_record(s->phase[PP_PHASES - 1], 1000);
	pp_hist_record(s->hist[0], 1000);
	pp_stat_add(&s->usage[3], 1);
	pp_store_rlx(&s->recent[0], PP_RECENT_WORD(3, 1, 1000));
	pp_store_rlx(&s->recent_count, 1);
	pp_stats_fold(&sum, s);
	pp_stats_clear(s);
	cr_assert_eq(sum.count.find_blocks, 7);
	cr_assert_eq(sum.phase[PP_PHASES - 1][pp_hist_bucket(1000)], 1);
	cr_assert_eq(sum.hist[0][pp_hist_bucket(1000)], 1);
	cr_assert_eq(sum.usage[3], 1);
	cr_assert_eq(s->count.find_blocks, 0);
	cr_assert_eq(s->phase[PP_PHASES - 1][pp_hist_bucket(1000)], 0);
	cr_assert_eq(s->recent_count, 0);
	help_destroy(&r);
}

Test(hist, a_recent_operation_is_read_as_it_was_written)
{
	uint64_t w = PP_RECENT_WORD(255, 7, UINT64_MAX);

	cr_assert_eq(pp_recent_shard(w), 255);
	cr_assert_eq(pp_recent_op(w), 7);
	cr_assert_eq(pp_recent_ns(w), (UINT64_C(1) << 48) - 1);
	cr_assert_eq(pp_recent_ns(PP_RECENT_WORD(1, 2, 300)), 300);
}
