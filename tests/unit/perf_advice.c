/*
 * perf_advice.c - each rule of `ppdb perf` speaks of what it is for, says what to do, and is silent otherwise.
 */
#include "tools/perf_advice.h"

#include <criterion/criterion.h>
#include <string.h>

static struct pp_perf p;
static struct pp_perf_pages pages;
static struct pp_advice advice[PP_ADVICE_MAX];

/* A store that is well: quick reads, some durable writes of sixteen clients that share their commits, nobody in another's way. */
static void well(void)
{
	memset(&p, 0, sizeof(p));
	memset(&pages, 0, sizeof(pages));
	p.seconds = 1;
	p.shards = 4;
	p.nodes = 1;
	p.ring_entries = 4096;
	p.memory_bytes = UINT64_C(64) << 20;
	strcpy(p.state, "running");
	strcpy(p.pages, "transparent huge");
	p.ops[PP_OP_GET] = p.count.hint_hits = 1000000;
	p.ops[PP_OP_PUT] = 100000;
	for (unsigned i = 0; i < 4; i++)
		p.shard[i].timed = 10000;
}

static void put_in(struct pp_hist *h, uint64_t ns, uint64_t n)
{
	h->count[pp_hist_bucket(ns)] += n;
	h->total += n;
}

/* Durable writes by n clients, `each` of them in a commit, with these average parts. */
static void durable(unsigned n, double each, uint64_t queue, uint64_t settle, uint64_t write, uint64_t wake)
{
	put_in(&p.op[PP_OP_WAIT], queue + settle + write + wake, 10000);
	p.ops[PP_OP_WAIT] = 10000;
	put_in(&p.commit_records, (uint64_t)each, (uint64_t)(10000 / each));
	put_in(&p.phase[PP_PERF_QUEUE], queue, 10000);
	put_in(&p.phase[PP_PERF_SETTLE], settle, (uint64_t)(10000 / each));
	put_in(&p.phase[PP_PERF_WRITE], write, (uint64_t)(10000 / each));
	put_in(&p.phase[PP_PERF_WAKE], wake, 10000);
	for (p.clients = 0; p.clients < n; p.clients++) {
		p.client[p.clients].ops[PP_OP_PUT] = 10000 / n;
		p.client[p.clients].total = 10000 / n;
	}
}

static const char *said(const char *rule)
{
	unsigned n = pp_perf_advise(&p, &pages, advice);

	for (unsigned i = 0; i < n; i++)
		if (!strcmp(advice[i].rule, rule))
			return advice[i].text;
	return NULL;
}

#define expect_said(rule, part)                                                                      \
	do {                                                                                         \
		const char *said_ = said(rule);                                                      \
		cr_assert(said_, "%s is silent", rule);                                              \
		cr_assert(strstr(said_, part), "%s says: %s", rule, said_);                          \
		cr_assert(strlen(said_) < PP_ADVICE_TEXT - 1 && said_[strlen(said_) - 1] == '.', "cut off: %s", said_); \
	} while (0)
#define expect_silence(rule) cr_assert_null(said(rule), "%s says: %s", rule, said(rule))

TestSuite(perf_advice, .init = well, .timeout = 60);

Test(perf_advice, a_store_that_is_well)
{
	durable(16, 8, 20000, 5000, 30000, 20000);
	cr_assert_eq(pp_perf_advise(&p, &pages, advice), 0, "%s: %s", advice[0].rule, advice[0].text);
	cr_assert_eq(pp_perf_advise(&p, NULL, advice), 0);
	memset(&p, 0, sizeof(p)); /* nothing happens, nothing is known */
	strcpy(p.state, "running");
	cr_assert_eq(pp_perf_advise(&p, NULL, advice), 0, "%s: %s", advice[0].rule, advice[0].text);
}

Test(perf_advice, every_rule_has_a_name_of_its_own)
{
	unsigned n = 0;

	for (const struct pp_advice_named *a = pp_advice_rules; a->name; a++, n++)
		for (const struct pp_advice_named *b = a + 1; b->name; b++)
			cr_assert_str_neq(a->name, b->name);
	cr_assert_leq(n, PP_ADVICE_MAX);
}

Test(perf_advice, daemon_gone)
{
	strcpy(p.state, "dead");
	expect_said("daemon_gone", "ppdb start");
	strcpy(p.state, "stopped");
	p.pid = 77;
	expect_said("daemon_gone", "kill -CONT 77");
	strcpy(p.state, "running");
	p.beat_seconds = 3;
	expect_said("daemon_gone", "3.00 s");
	p.beat_seconds = 0.5;
	expect_silence("daemon_gone");
}

Test(perf_advice, log_broken)
{
	p.log_error = -EIO;
	expect_said("log_broken", "read-only");
	p.log_error = 0;
	p.disk_full = true;
	expect_said("log_broken", "Free space");
}

Test(perf_advice, ring_full)
{
	p.count.overloads = 500;
	p.count.overload_ns = 200000000;
	expect_said("ring_full", "0.20 s of each second");
	p.count.overload_ns = 2000000;
	expect_silence("ring_full");
}

Test(perf_advice, device_bound)
{
	durable(16, 8, 10000, 1000, 100000, 20000);
	expect_said("device_bound", "8.0 writes share a commit");
	well();
	durable(16, 1, 10000, 1000, 100000, 20000);
	expect_said("device_bound", "16 clients share 1.0 writes each commit");
	well();
	durable(1, 1, 10000, 1000, 100000, 20000);
	expect_said("device_bound", "PPDB_ASYNC");
	well();
	durable(16, 8, 100000, 1000, 100000, 100000);
	expect_silence("device_bound");
}

Test(perf_advice, queue_bound)
{
	durable(16, 8, 300000, 1000, 100000, 20000);
	expect_said("queue_bound", "wal-depth");
	expect_silence("device_bound");
}

Test(perf_advice, settle_bound)
{
	durable(16, 8, 10000, 300000, 100000, 20000);
	put_in(&p.commit_bytes, 1 << 20, 1000);
	expect_said("settle_bound", "MiB on average");
	expect_silence("device_bound");
}

Test(perf_advice, slow_wake)
{
	durable(16, 8, 10000, 1000, 100000, 2000000);
	expect_said("slow_wake", "ppdb_cq");
	expect_silence("device_bound");
}

Test(perf_advice, device_hiccups)
{
	put_in(&p.phase[PP_PERF_WRITE], 100000, 1000);
	put_in(&p.phase[PP_PERF_WRITE], 40000000, 5);
	expect_silence("device_hiccups");
	put_in(&p.phase[PP_PERF_WRITE], 40000000, 20);
	strcpy(p.backend, "uring_dsync");
	expect_said("device_hiccups", "uring_dsync is used now");
}

Test(perf_advice, segment_stalls)
{
	p.log_stalls = 2;
	expect_said("segment_stalls", "2 times");
}

Test(perf_advice, hot_keys)
{
	p.count.cas_retries = 1000;
	expect_silence("hot_keys");
	p.count.cas_retries = 30000;
	expect_said("hot_keys", "30 tries in 100");
}

Test(perf_advice, helping)
{
	p.count.helps = 10;
	expect_silence("helping");
	p.count.helps = 2000;
	expect_said("helping", "2.0 of 100");
}

Test(perf_advice, dead_writers)
{
	p.count.aborts = 1;
	expect_said("dead_writers", "1 unfinished write of");
}

Test(perf_advice, lock_waits)
{
	p.count.lock_waits = 1000;
	p.count.lock_wait_ns = 600000000;
	expect_said("lock_waits", "0.60 s of each second");
	p.count.lock_wait_ns = 6000000;
	expect_silence("lock_waits");
}

Test(perf_advice, hot_shard)
{
	p.nodes = 2;
	p.shard[2].timed = 1000000;
	p.shard[2].node = 1;
	expect_said("hot_shard", "Shard 2 takes 97 %");
	p.nodes = 1; /* shards only count and place memory: with one node there is nothing to place */
	expect_silence("hot_shard");
}

Test(perf_advice, hint_misses)
{
	p.count.hint_misses = 500000;
	p.count.read_blocks = 2000000;
	expect_said("hint_misses", "33 %");
	expect_said("hint_misses", "4.0 blocks");
	p.count.hint_misses = 1000;
	expect_silence("hint_misses");
}

Test(perf_advice, small_pages)
{
	p.memory_bytes = UINT64_C(4) << 30;
	expect_silence("small_pages");
	strcpy(p.pages, "4 KiB");
	expect_said("small_pages", "4.00 GiB");
	pages.mapped_bytes = pages.huge_bytes = UINT64_C(4) << 30; /* what the kernel says counts more than what was asked for */
	expect_silence("small_pages");
	pages.huge_bytes = 0;
	strcpy(p.pages, "transparent huge");
	expect_said("small_pages", "hugetlb");
}

Test(perf_advice, far_memory)
{
	p.nodes = pages.nodes = 2;
	pages.shards = 2;
	pages.home[1] = 1;
	pages.on[0][0] = pages.on[1][1] = 1000;
	expect_silence("far_memory");
	pages.on[0][1] = 1000;
	expect_said("far_memory", "33 %");
}

Test(perf_advice, put_off)
{
	put_in(&p.op[PP_OP_GET], 400, 100000);
	put_in(&p.op[PP_OP_GET], 8000000, 50);
	expect_silence("put_off");
	put_in(&p.op[PP_OP_GET], 8000000, 500);
	expect_said("put_off", "processor");
}
