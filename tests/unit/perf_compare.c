/*
 * perf_compare.c - what changed between two measurements: said when it is more than chance, and named slower or faster as it is.
 */
#include "tools/perf_compare.h"

#include <criterion/criterion.h>
#include <string.h>

static struct pp_perf a, b;
static struct pp_change change[PP_CHANGES_MAX];

static void put_in(struct pp_hist *h, uint64_t ns, uint64_t n)
{
	h->count[pp_hist_bucket(ns)] += n;
	h->total += n;
}

static void same(void)
{
	memset(&a, 0, sizeof(a));
	a.seconds = 10;
	a.clients_attached = 2;
	a.ops[PP_OP_GET] = 1000000;
	put_in(&a.op[PP_OP_GET], 300, 99000);
	put_in(&a.op[PP_OP_GET], 5000, 1000);
	put_in(&a.phase[PP_PERF_WRITE], 100000, 10000);
	memcpy(&b, &a, sizeof(a));
}

static const struct pp_change *find(const char *what)
{
	unsigned n = pp_perf_compare(&a, &b, 0.15, change);

	for (unsigned i = 0; i < n; i++)
		if (!strcmp(change[i].what, what))
			return &change[i];
	return NULL;
}

TestSuite(perf_compare, .init = same, .timeout = 60);

Test(perf_compare, nothing_changed)
{
	cr_assert_eq(pp_perf_compare(&a, &b, 0.15, change), 0, "%s", change[0].sentence);
}

Test(perf_compare, slower_and_faster)
{
	const struct pp_change *c;

	put_in(&b.op[PP_OP_GET], 40000, 5000);
	memset(&b.phase[PP_PERF_WRITE], 0, sizeof(b.phase[0]));
	put_in(&b.phase[PP_PERF_WRITE], 50000, 10000);
	c = find("get p99");
	cr_assert(c && c->kind == PP_CHANGE_SLOWER && c->to > 4 * c->from, "%s", c ? c->sentence : "nothing");
	cr_assert(strstr(c->sentence, "times as long."), "%s", c->sentence);
	cr_assert_eq(c, change, "what is slower comes first");
	c = find("phase write p50");
	cr_assert(c && c->kind == PP_CHANGE_FASTER, "%s", c ? c->sentence : "nothing");
	cr_assert(strstr(c->sentence, "shorter."), "%s", c->sentence);
	cr_assert_null(find("get p50"));
}

Test(perf_compare, too_few_are_not_judged)
{
	memset(&b.op[PP_OP_GET], 0, sizeof(b.op[0]));
	put_in(&b.op[PP_OP_GET], 30000, 39);
	cr_assert_null(find("get p50"));
	put_in(&b.op[PP_OP_GET], 30000, 1);
	cr_assert(find("get p50"));
	cr_assert_null(find("get p99"));
}

Test(perf_compare, less_work_is_not_slower)
{
	const struct pp_change *c;

	b.ops[PP_OP_GET] /= 4;
	c = find("get");
	cr_assert(c && c->kind == PP_CHANGE_OTHER && c->from == 100000 && c->to == 25000, "%s", c ? c->sentence : "nothing");
	cr_assert(strstr(c->sentence, "75 % less"), "%s", c->sentence);
}

Test(perf_compare, from_nothing)
{
	put_in(&b.commit_records, 8, 1000);
	cr_assert(strstr(find("group commits")->sentence, "before none"), "%s", find("group commits")->sentence);
}
