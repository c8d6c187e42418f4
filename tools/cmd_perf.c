/*
 * cmd_perf.c - `ppdb perf`: what the store did in an interval, how long it took, where the time went, and what to do about it.
 *
 * Looks twice at the counters in shared memory and prints the difference (tools/perf_sample.c). Reads only; works when the daemon is dead or
 * stopped.
 */
#include "tools/cmd_live.h"
#include "tools/cmd_perf.h"
#include "tools/text_number.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define LOOK_MS 50                     /* between looks at what slots remember */

struct wishes {
	double interval;
	uint64_t count;
	bool total;
	const char *arena;
};

static void pass(struct pp_perf_sampler *s, double seconds)
{
	uint64_t end = pp_now_ns() + (uint64_t)(seconds * 1e9), now;

	while ((now = pp_now_ns()) < end) {
		uint64_t nap = end - now < LOOK_MS * PP_NS_PER_MS ? end - now : LOOK_MS * PP_NS_PER_MS;
		struct timespec t = pp_timespec(nap);

		nanosleep(&t, NULL);
		pp_perf_sampler_look(s);
	}
}

static void look_at_pages(const struct pp_region *r, const struct pp_perf *p, struct pp_perf_pages *pages)
{
	uint32_t home[PP_SHARDS_MAX];

	for (unsigned i = 0; i < p->shards; i++)
		home[i] = p->shard[i].node;
	pp_perf_pages_look(r, home, p->shards, pages);
}

static int run(const struct pp_cmd *c, const struct wishes *w, struct pp_region *r)
{
	static struct pp_perf p;
	static struct pp_perf_pages pages;
	struct pp_perf_sampler *s = pp_perf_sampler_open(r, w->total, (uint32_t)getpid());

	if (!s)
		return pp_cmd_fail(c, -ENOMEM, NULL);
	for (uint64_t i = 0; !w->count || i < w->count; i++) {
		if (!w->total)
			pass(s, w->interval);
		pp_perf_sampler_take(s, &p);
		if (!i)
			look_at_pages(r, &p, &pages);
		if (c->json)
			pp_perf_json_write(stdout, &p, &pages);
		else
			pp_perf_print(&p, &pages);
		if (!c->json && (!w->count || i + 1 < w->count))
			puts("\n----");
		if (fflush(stdout))
			break;
	}
	pp_perf_sampler_close(s);
	return PP_EXIT_OK;
}

static const char help_text[] =
	"usage: ppdb [-n NAME] [--json] perf [--interval SECONDS] [--count N] [--total] [--arena FILE]\n\n"
	"What the store did in an interval (1 second; decimals are taken), --count times (1; 0: until interrupted), or with --total since the arena\n"
	"was made: operations and their latencies, the phases of a durable write, group commits, contention, shards, clients, pages, and advice in\n"
	"sentences. Reads only, and works without a daemon, too, on what it left (in FILE, if the store is not where its name says).\n\n"
	"  operations  all are counted; one in 32 is timed, of gets and of moves of iterators (scan) one in 256, every wait for durability.\n"
	"              Latencies come from histograms whose buckets are 25 % wide; max is the end of the last bucket that was hit\n"
	"  phases      of a durable write. install: its version is put on top of its key; publish: entry in the log ring, then it is visible; queue:\n"
	"              until the daemon begins a group commit; settle: the records are collected; write: on the device; wake: until the waiter runs again\n"
	"  shards      share: of the timed operations on keys; get and write latencies are of the newest timed operations, which each thread remembers\n"
	"  clients     those that did most; of read-only clients the latency of gets since they attached\n"
	"  memory      where the kernel says that pages lie (a sample), and how much is mapped by huge pages\n\n"
	"--json prints one object a line and interval: {at_ms, seconds, store, operations, phases, commits, log, reads, counters, shards, clients, pages,\n"
	"advice: [{rule, sentence}]}; histograms are lists of [smallest value, count].\n\n"
	"  ppdb perf                                     the last second\n"
	"  ppdb perf --interval 10 --count 6             a minute\n"
	"  ppdb perf --total                             everything since the arena was made\n"
	"  ppdb --json perf | jq '.operations.get.p99_ns, .advice[].sentence'\n";

static int parse(const struct pp_cmd *c, const char *interval, struct wishes *w)
{
	char *end;

	w->interval = strtod(interval, &end);
	if (*end || end == interval || !(w->interval >= 0.01 && w->interval <= 86400))
		return pp_cmd_usage(c, "--interval takes 0.01 to 86400 seconds, not '%s'", interval);
	if (w->total)
		w->count = 1;
	return 0;
}

int pp_cmd_perf(struct pp_cmd *c, int argc, char **argv)
{
	struct wishes w = {.count = 1};
	const char *interval = "1";
	const struct pp_opt opts[] = {{"interval", PP_OPT_TEXT, &interval}, {"count", PP_OPT_U64, &w.count}, {"total", PP_OPT_FLAG, &w.total},
		{"arena", PP_OPT_TEXT, &w.arena}, {NULL, 0, NULL}};
	struct pp_live live;
	int rc;

	if (pp_cmd_help(argc, argv, help_text))
		return PP_EXIT_OK;
	if (pp_cmd_options(c, argc, argv, opts, 0, 0) < 0)
		return PP_EXIT_USAGE;
	rc = parse(c, interval, &w);
	if (!rc)
		rc = pp_live_open(c, w.arena, &live);
	if (rc)
		return rc;
	rc = run(c, &w, live.region);
	pp_live_close(&live);
	return rc;
}
