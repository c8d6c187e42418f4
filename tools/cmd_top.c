/*
 * cmd_top.c - `ppdb top`: what happens in the store now, again and again. Text and JSON for scripts, a screen for people (cmd_top_screen.c).
 *
 * A read-only client like any other; without a daemon it shows what that left in memory, and finds the next one by itself.
 */
#include "tools/cmd_top.h"

#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

static const char help_text[] =
	"usage: ppdb [-n NAME] [--json] top [--interval S] [--count N] [--batch] [--sort COLUMN] [--shards] [--arena FILE]\n\n"
	"What happens in the store: operations a second by kind with their latencies, memory, log and device, shards, clients. Reads the\n"
	"memory of the store and disturbs nobody; works when the daemon is dead or stopped, and says so (--arena: on FILE then, if the store\n"
	"is not where its name says).\n\n"
	"  --interval S   seconds from look to look (1)\n"
	"  --count N      looks until it ends (for ever; with --batch: 1)\n"
	"  --batch        text for scripts instead of a screen; also where there is no terminal\n"
	"  --sort COLUMN  of the clients: pid, ops (the default), reads, writes, slots, held, snapshot, pins, age\n"
	"  --shards       the shards, too\n\n"
	"Keys: q quit, h help, < > column to sort by, r the other way round, v shards, + - interval, p pause, arrows to scroll.\n"
	"A client that is stopped, dead, or stands in a write or with a full log ring is marked under STATE; 'waits' is for durability.\n\n"
	"  ppdb top\n"
	"  ppdb top --batch --interval 10 --count 360 >> top.log      # an hour, a look each 10 s\n"
	"  ppdb top --json --count 1 | jq .operations.put.p99_ns\n\n"
	"--json prints an object a line for each look: {name, daemon_pid, daemon: running | stopped | dead, silent_ms, seconds, keys, memory_max_bytes,\n"
	"backed_bytes, free_bytes, slots_used, operations: {KIND: {per_s, count, timed, p50_ns, p99_ns, p999_ns}}, log: {bytes_per_s,\n"
	"commits_per_s, records_per_s, writes, write_p50_ns, write_p99_ns, open_epoch, durable_epoch}, shards: [share of the operations], clients: [{pid,\n"
	"command, name, readonly, state, ops_per_s, reads_per_s, writes_per_s, slots, interval_ms, snapshot_ms, pinned_bytes}]}\n";

static int print_looks(struct pp_top *t, uint64_t count)
{
	static struct pp_top_rows rows;

	/* A look alone has no rates. */
	if (!pp_top_take(t))
		return pp_cmd_fail(t->c, -ENOMEM, NULL);
	for (uint64_t i = 0; i < count; i++) {
		usleep((useconds_t)(t->interval * 1e6));
		if (!pp_top_take(t))
			return pp_cmd_fail(t->c, -ENOMEM, NULL);
		if (t->c->json) {
			pp_top_json(t, stdout);
		} else {
			pp_top_rows(t, &rows);
			for (unsigned k = 0; k < rows.count; k++)
				puts(rows.row[k].text);
			putchar('\n');
		}
		if (fflush(stdout))
			return PP_EXIT_ERROR;
	}
	return PP_EXIT_OK;
}

static bool find_column(const char *name, unsigned *column)
{
	for (*column = 0; pp_top_columns[*column]; ++*column)
		if (!strcasecmp(pp_top_columns[*column], name))
			return true;
	return false;
}

static int show(struct pp_top *t, const char *arena, bool batch, uint64_t count)
{
	int rc = pp_live_open(t->c, arena, &t->live);

	if (rc)
		return rc;
	rc = batch ? print_looks(t, count ? count : 1) : pp_top_screen(t, count);
	pp_top_free(t);
	return rc;
}

int pp_cmd_top(struct pp_cmd *c, int argc, char **argv)
{
	static struct pp_top t;
	const char *interval = NULL, *sort = "ops", *arena = NULL;
	uint64_t count = 0;
	bool batch = false;
	char *end = NULL;
	const struct pp_opt opts[] = {{"interval", PP_OPT_TEXT, &interval}, {"count", PP_OPT_U64, &count}, {"batch", PP_OPT_FLAG, &batch},
		{"sort", PP_OPT_TEXT, &sort}, {"shards", PP_OPT_FLAG, &t.shards}, {"arena", PP_OPT_TEXT, &arena}, {NULL, 0, NULL}};

	if (pp_cmd_help(argc, argv, help_text))
		return PP_EXIT_OK;
	if (pp_cmd_options(c, argc, argv, opts, 0, 0) < 0)
		return PP_EXIT_USAGE;
	t.c = c;
	t.interval = interval ? strtod(interval, &end) : 1;
	if (interval && (*end || !(t.interval >= 0.01 && t.interval <= 3600)))
		return pp_cmd_usage(c, "--interval takes 0.01 to 3600 seconds, not '%s'", interval);
	if (!find_column(sort, &t.sort))
		return pp_cmd_usage(c, "--sort does not know a column '%s'", sort);
	batch = batch || c->json || !isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO);
	return show(&t, arena, batch, count);
}
