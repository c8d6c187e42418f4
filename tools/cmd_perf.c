/*
 * cmd_perf.c - `ppdb perf`: what the store did in an interval, how long it took, where the time went, and what to do about it.
 *
 * Looks twice at the counters in shared memory and prints the difference (tools/perf_sample.c). Reads only; works when the daemon is dead or
 * stopped. A recording is the same as lines of JSON, which a report or a comparison reads again.
 */
#include "tools/cmd_live.h"
#include "tools/cmd_perf.h"
#include "tools/text_number.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define LOOK_MS 50                     /* between looks at what slots remember */

struct wishes {
	double interval;
	uint64_t count;                /* 0: until interrupted */
	bool total, diff;
	const char *arena, *record, *html, *from;
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

/* ---- output ----------------------------------------------------------------------------------------------------- */

static int open_file(const struct pp_cmd *c, const char *path, FILE **out)
{
	*out = strcmp(path, "-") ? fopen(path, "we") : stdout;
	if (*out)
		return 0;
	pp_cmd_note(c, "cannot write %s: %s", path, strerror(errno));
	return PP_EXIT_ERROR;
}

static int close_file(const struct pp_cmd *c, const char *path, FILE *f)
{
	bool failed = ferror(f) || fflush(f);

	if (f != stdout)
		failed |= fclose(f) != 0;
	if (!failed)
		return 0;
	pp_cmd_note(c, "%s did not take all of it: %s", path, strerror(errno));
	return PP_EXIT_ERROR;
}

static int write_html(const struct pp_cmd *c, const char *path, const struct pp_perf_series *s)
{
	FILE *f;
	int rc = open_file(c, path, &f);

	if (rc)
		return rc;
	pp_perf_html(f, s);
	return close_file(c, path, f);
}

static void show(const struct pp_cmd *c, const struct pp_perf *p, const struct pp_perf_pages *pages)
{
	if (c->json)
		pp_perf_json_write(stdout, p, pages);
	else
		pp_perf_print(p, pages);
}

/* ---- the live store --------------------------------------------------------------------------------------------- */

/* One interval goes where it is wanted. Each line of a recording is on its way before the next interval begins. */
static int put_interval(const struct pp_cmd *c, const struct wishes *w, FILE *record, struct pp_perf_series *s, const struct pp_perf *p, bool last)
{
	if (record) {
		pp_perf_json_write(record, p, &s->pages);
		if (fflush(record)) {
			pp_cmd_note(c, "%s does not take more: %s", w->record, strerror(errno));
			return PP_EXIT_ERROR;
		}
	}
	if (w->html)
		return pp_perf_series_add(s, p) ? pp_cmd_fail(c, -ENOMEM, NULL) : 0;
	if (record)
		return 0;
	show(c, p, &s->pages);
	if (!c->json && !last)
		puts("\n----");
	return fflush(stdout) ? PP_EXIT_ERROR : 0;
}

static int watch(const struct pp_cmd *c, const struct wishes *w, struct pp_region *r, FILE *record, struct pp_perf_series *series)
{
	static struct pp_perf p;
	struct pp_perf_sampler *s = pp_perf_sampler_open(r, w->total, (uint32_t)getpid());
	int rc = s ? 0 : pp_cmd_fail(c, -ENOMEM, NULL);

	for (uint64_t i = 0; !rc && (!w->count || i < w->count); i++) {
		if (!w->total)
			pass(s, w->interval);
		pp_perf_sampler_take(s, &p);
		if (!i)
			look_at_pages(r, &p, &series->pages);
		rc = put_interval(c, w, record, series, &p, i + 1 == w->count);
	}
	if (s)
		pp_perf_sampler_close(s);
	return rc;
}

static int run(const struct pp_cmd *c, const struct wishes *w, struct pp_region *r)
{
	static struct pp_perf_series series;
	FILE *record = NULL;
	int rc = w->record ? open_file(c, w->record, &record) : 0, closed;

	if (rc)
		return rc;
	rc = watch(c, w, r, record, &series);
	closed = record ? close_file(c, w->record, record) : 0;
	if (!rc && w->html)
		rc = write_html(c, w->html, &series);
	pp_perf_series_free(&series);
	return rc ? rc : closed;
}

/* ---- recordings ------------------------------------------------------------------------------------------------- */

static int replay(const struct pp_cmd *c, const struct wishes *w)
{
	static struct pp_perf_series series;
	int rc = pp_perf_read(c, w->from, &series);

	if (!rc && w->html)
		rc = write_html(c, w->html, &series);
	else if (!rc)
		show(c, &series.all, &series.pages);
	pp_perf_series_free(&series);
	return rc;
}

static int diff(const struct pp_cmd *c, const char *a, const char *b)
{
	static struct pp_perf_series before, after;
	int rc = pp_perf_read(c, a, &before);

	if (!rc)
		rc = pp_perf_read(c, b, &after);
	if (!rc)
		rc = pp_perf_diff(c, &before.all, &after.all);
	pp_perf_series_free(&before);
	pp_perf_series_free(&after);
	return rc;
}

/* ---- the command ------------------------------------------------------------------------------------------------ */

static const char help_text[] =
	"usage: ppdb [-n NAME] [--json] perf [--interval SECONDS] [--count N] [--total] [--record FILE] [--html FILE] [--arena FILE]\n"
	"       ppdb [--json] perf --from FILE [--html FILE]\n"
	"       ppdb [--json] perf --diff FILE FILE\n\n"
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
	"advice: [{rule, sentence}]}; histograms are lists of [smallest value, count].\n"
	"--record writes such lines to a file, until it is interrupted if no --count is given; --from shows a recording as one interval.\n"
	"--html writes the report with plots to one file that needs nothing else, of --count (10) intervals or of a recording.\n"
	"--diff says what got slower and what faster from one recording to another; exit 1: something is slower.\n\n"
	"  ppdb perf                                     the last second\n"
	"  ppdb perf --interval 10 --count 6             a minute\n"
	"  ppdb perf --total                             everything since the arena was made\n"
	"  ppdb --json perf | jq '.operations.get.p99_ns, .advice[].sentence'\n"
	"  ppdb perf --record monday.json --count 60     a minute, to be kept\n"
	"  ppdb perf --from monday.json --html monday.html\n"
	"  ppdb perf --diff monday.json tuesday.json\n";

static int check(const struct pp_cmd *c, const char *interval, const char *count, struct wishes *w)
{
	char *end;

	w->interval = strtod(interval, &end);
	if (*end || end == interval || !(w->interval >= 0.01 && w->interval <= 86400))
		return pp_cmd_usage(c, "--interval takes 0.01 to 86400 seconds, not '%s'", interval);
	if (w->from && (w->record || w->total || count))
		return pp_cmd_usage(c, "--from shows a recording: --record, --total and --count are for the live store");
	w->count = w->html ? 10 : w->record ? 0 : 1;
	if (count && !pp_text_u64(count, &w->count))
		return pp_cmd_usage(c, "--count needs a number, not '%s'", count);
	if (w->total)
		w->count = 1;
	if (w->html && !w->count)
		return pp_cmd_usage(c, "--html is written when all intervals are over: give --count, or make it --from a recording");
	return 0;
}

int pp_cmd_perf(struct pp_cmd *c, int argc, char **argv)
{
	struct wishes w = {.count = 1};
	const char *interval = "1", *count = NULL;
	const struct pp_opt opts[] = {{"interval", PP_OPT_TEXT, &interval}, {"count", PP_OPT_TEXT, &count}, {"total", PP_OPT_FLAG, &w.total},
		{"arena", PP_OPT_TEXT, &w.arena}, {"record", PP_OPT_TEXT, &w.record}, {"html", PP_OPT_TEXT, &w.html}, {"from", PP_OPT_TEXT, &w.from},
		{"diff", PP_OPT_FLAG, &w.diff}, {NULL, 0, NULL}};
	struct pp_live live;
	int rc, files;

	if (pp_cmd_help(argc, argv, help_text))
		return PP_EXIT_OK;
	files = pp_cmd_options(c, argc, argv, opts, 0, 2);
	if (files < 0)
		return PP_EXIT_USAGE;
	if (files != (w.diff ? 2 : 0))
		return w.diff ? pp_cmd_usage(c, "--diff takes two recordings, the older one first") : pp_cmd_usage(c, "what is '%s' for? Two files go with --diff", argv[1]);
	if (w.diff)
		return diff(c, argv[1], argv[2]);
	rc = check(c, interval, count, &w);
	if (rc || w.from)
		return rc ? rc : replay(c, &w);
	rc = pp_live_open(c, w.arena, &live);
	if (rc)
		return rc;
	rc = run(c, &w, live.region);
	pp_live_close(&live);
	return rc;
}
