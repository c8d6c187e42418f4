/*
 * measure.c (test) - what the measuring programs draw and compute: permutations, the zipfian distribution, quantiles, medians.
 */
#include "tools/measure.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

TestSuite(measure, .timeout = 60);

Test(measure, a_permutation_meets_each_number_once)
{
	static const uint64_t sizes[] = {1, 2, 3, 5, 64, 1000, 4097, 100000};

	for (unsigned k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
		bool *met = calloc(sizes[k], sizeof(*met));
		uint64_t in_place = 0;

		for (uint64_t i = 0; i < sizes[k]; i++) {
			uint64_t to = pp_permute(sizes[k], i);

			cr_assert_lt(to, sizes[k]);
			cr_assert_not(met[to], "%lu of %lu is met twice", to, sizes[k]);
			met[to] = true;
			in_place += to == i;
		}
		cr_expect(sizes[k] < 100 || in_place < sizes[k] / 20, "%lu of %lu stay where they are", in_place, sizes[k]);
		free(met);
	}
}

/* Each rank's share of a million draws is what the distribution's definition says. */
Test(measure, zipf_gives_each_rank_its_share)
{
	enum { ITEMS = 1000, DRAWS = 1000000 };
	static unsigned count[ITEMS];
	struct pp_zipf z;
	uint64_t random = 42;
	double zeta = 0;

	pp_zipf_init(&z, ITEMS, 0.99);
	for (unsigned i = 0; i < DRAWS; i++)
		count[pp_zipf_rank(&z, pp_random(&random))]++;
	for (unsigned i = 1; i <= ITEMS; i++)
		zeta += pow(i, -0.99);
	cr_expect_float_eq(z.zetan, zeta, 1e-9);
	for (unsigned i = 0; i < 2; i++) /* these two are exact, the others an approximation */
		cr_expect_float_eq(count[i] / (double)DRAWS, pow(i + 1, -0.99) / zeta, 0.002);
	for (unsigned at = 2; at < ITEMS; at *= 2) {
		double want = 0, got = 0;

		for (unsigned i = at; i < 2 * at && i < ITEMS; i++) {
			want += pow(i + 1, -0.99) / zeta;
			got += count[i] / (double)DRAWS;
		}
		cr_expect(got > want * 0.85 && got < want * 1.15, "ranks from %u: %g instead of %g", at, got, want);
	}
}

Test(measure, zeta_of_many_items)
{
	struct pp_zipf z;
	double sum = 0;

	pp_zipf_init(&z, 3000000, 0.99);
	for (unsigned i = 1; i <= 3000000; i++)
		sum += pow(i, -0.99);
	cr_expect_float_eq(z.zetan, sum, 1e-8);
	pp_zipf_init(&z, 1, 0.5);
	cr_expect_eq(pp_zipf_rank(&z, UINT64_MAX), 0);
}

Test(measure, quantiles)
{
	static struct pp_latency a, b;

	cr_expect(isnan(pp_latency_quantile(&a, 0.5)));
	for (unsigned i = 1; i <= 1000; i++)
		pp_latency_add(i % 2 ? &a : &b, i * 1000);
	pp_latency_merge(&a, &b);
	cr_expect_eq(a.total, 1000);
	cr_expect_eq(a.max_ns, 1000000);
	cr_expect_eq(a.sum_ns, 500500000);
	for (unsigned i = 5; i < 100; i++)
		cr_expect(fabs(pp_latency_quantile(&a, i / 100.0) / (i * 10000.0) - 1) < 0.04, "p%u is %g", i, pp_latency_quantile(&a, i / 100.0));
	cr_expect(pp_latency_quantile(&a, 1) <= 1000000);
}

Test(measure, medians)
{
	static const double odd[] = {3, 1, NAN, 2}, even[] = {4, 1, 2, 3};

	cr_expect_float_eq(pp_median(odd, 4), 2, 1e-12);
	cr_expect_float_eq(pp_median(even, 4), 2.5, 1e-12);
	cr_expect(isnan(pp_median(odd + 2, 1)));
}

/* A slow minute of the machine hits both sides: the ratio does not see it. */
Test(measure, a_judgement_sees_through_a_slow_machine)
{
	static const double a[] = {100, 101, 50, 51, 99, 100, 98}, b[] = {121, 120, 60, 62, 120, 119, 118};
	struct pp_verdict v = pp_judge(a, b, 7, 0.03);

	cr_expect_eq(v.sign, 1);
	cr_expect(v.ratio > 1.18 && v.ratio < 1.23, "%g", v.ratio);
	v = pp_judge(b, a, 7, 0.03);
	cr_expect_eq(v.sign, -1);
}

Test(measure, a_judgement_calls_noise_noise)
{
	static const double a[] = {100, 100, 100, 100, 100}, wild[] = {150, 70, 108, 140, 60}, near[] = {102, 101, 102, 102, 101}, nan[] = {NAN, NAN, NAN, NAN, NAN};
	uint64_t random = 7;

	cr_expect_eq(pp_judge(a, wild, 5, 0.03).sign, 0);
	cr_expect_eq(pp_judge(a, near, 5, 0.03).sign, 0);
	cr_expect_eq(pp_judge(a, near, 5, 0.005).sign, 1);
	cr_expect_eq(pp_judge(a, nan, 5, 0.03).sign, 0);
	cr_expect_eq(pp_judge(a, a, 1, 0.03).sign, 0);
	/* of pairs that do not differ nearly none is told apart */
	int told = 0;
	for (int k = 0; k < 1000; k++) {
		double x[9], y[9];

		for (int i = 0; i < 9; i++) {
			x[i] = 90 + (double)pp_random_below(&random, 2000) / 100;
			y[i] = 90 + (double)pp_random_below(&random, 2000) / 100;
		}
		told += pp_judge(x, y, 9, 0.03).sign != 0;
	}
	cr_expect_lt(told, 100, "%d of 1000", told);
}
