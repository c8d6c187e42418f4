/*
 * cmd_clients.c - `ppdb clients`: who is attached, and what each keeps from being freed (engine/pins.c measures it each 100 ms).
 */
#include "tools/cmd_live.h"
#include "tools/process.h"
#include "tools/text_json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct client {
	uint32_t pid, uid, flags;
	uint64_t age_ms, slots, interval_ms, snapshot_ms, pinned_bytes, evictions;
	char command[32], name[33];
};

/* False: no client. All of it is statistics. */
static bool read_record(const struct pp_proc *p, struct client *c)
{
	uint64_t state = pp_load_acq(&p->state), now = pp_now_ns();

	c->flags = pp_load_rlx(&p->flags); /* stat, as all of these */
	if (!state || c->flags & PP_PROC_DAEMON)
		return false;
	c->pid = pp_load_rlx(&p->pid);
	c->uid = pp_load_rlx(&p->uid);
	c->age_ms = now > state ? (now - state) / PP_NS_PER_MS : 0;
	c->slots = pp_load_rlx(&p->slots_used);
	c->interval_ms = pp_load_rlx(&p->interval_ns) / PP_NS_PER_MS;
	c->snapshot_ms = pp_load_rlx(&p->snapshot_ns) / PP_NS_PER_MS;
	c->pinned_bytes = pp_load_rlx(&p->pinned_bytes);
	c->evictions = pp_load_rlx(&p->evictions);
	memcpy(c->name, p->name, sizeof(p->name));
	c->name[sizeof(p->name)] = '\0';
	pp_process_command(c->pid, c->command, sizeof(c->command));
	return true;
}

static void json_client(struct pp_json *j, const struct client *c)
{
	pp_json_open(j, NULL, '{');
	pp_json_u64(j, "pid", c->pid);
	pp_json_text(j, "command", c->command);
	pp_json_text(j, "name", c->name);
	pp_json_u64(j, "uid", c->uid);
	pp_json_bool(j, "readonly", c->flags & PP_PROC_READONLY);
	pp_json_u64(j, "slots", c->slots);
	pp_json_u64(j, "age_ms", c->age_ms);
	pp_json_u64(j, "interval_ms", c->interval_ms);
	pp_json_u64(j, "snapshot_ms", c->snapshot_ms);
	pp_json_u64(j, "pinned_bytes", c->pinned_bytes);
	pp_json_bool(j, "evicted", c->flags & PP_PROC_EVICTED);
	pp_json_u64(j, "evictions", c->evictions);
	pp_json_close(j, '}');
}

static void print_client(const struct client *c)
{
	printf("%7u %-15s %-15s %5u %-2s %5" PRIu64 " %9.1f %10.1f %10.1f %10" PRIu64 " %s\n", c->pid, c->command, c->name, c->uid,
		c->flags & PP_PROC_READONLY ? "ro" : "rw", c->slots, (double)c->age_ms / 1000, (double)c->interval_ms / 1000,
		(double)c->snapshot_ms / 1000, c->pinned_bytes >> 10, c->flags & PP_PROC_EVICTED ? "evicted" : c->evictions ? "was" : "");
}

static void print_all(const struct pp_cmd *cmd, const struct pp_region *r)
{
	struct pp_json j = {.out = stdout};
	struct client c;

	if (cmd->json) {
		pp_json_open(&j, NULL, '{');
		pp_json_open(&j, "clients", '[');
	} else {
		printf("%7s %-15s %-15s %5s %-2s %5s %9s %10s %10s %10s %s\n", "PID", "COMMAND", "NAME", "UID", "", "SLOTS", "AGE s",
			"INTERVAL s", "SNAPSHOT s", "PINS KiB", "EVICTED");
	}
	for (uint32_t i = 0; i < r->fixed.procs; i++) {
		if (!read_record(&r->procs[i], &c) || c.pid == (uint32_t)getpid())
			continue;
		if (cmd->json)
			json_client(&j, &c);
		else
			print_client(&c);
	}
	if (cmd->json) {
		pp_json_close(&j, ']');
		pp_json_close(&j, '}');
	}
}

static const char help_text[] =
	"usage: ppdb [-n NAME] [--json] clients [--arena FILE]\n\n"
	"One line a process that is attached: pid, command, the name it gave itself, uid, read-only or read-write, threads and views\n"
	"(slots), since when it is attached. INTERVAL and SNAPSHOT: for how long its oldest reader, its oldest snapshot have kept memory\n"
	"from being freed (0: nothing is kept). PINS: about how much it alone keeps: of readers what is retired and theirs alone; of\n"
	"snapshots the log bytes of overwrites since, which is the most that it can be. EVICTED: a read-only process whose memory is\n"
	"not honoured any more, or one that was evicted before (pin-seconds, pin-bytes of ppdbd).\n"
	"--json prints {\"clients\": [{pid, command, name, uid, readonly, slots, age_ms, interval_ms, snapshot_ms, pinned_bytes,\n"
	"evicted, evictions}]}. This command itself is left out. Works without a daemon, too, on\n"
	"what it left in memory (in FILE, if the store is not where its name says).\n\n"
	"  ppdb clients\n"
	"  ppdb clients --json | jq -r '.clients[] | select(.snapshot_ms > 60000) | .pid' # who has held a snapshot for a minute?\n";

int pp_cmd_clients(struct pp_cmd *c, int argc, char **argv)
{
	const char *arena = NULL;
	const struct pp_opt opts[] = {{"arena", PP_OPT_TEXT, &arena}, {NULL, 0, NULL}};
	struct pp_live live;
	int rc;

	if (pp_cmd_help(argc, argv, help_text))
		return PP_EXIT_OK;
	if (pp_cmd_options(c, argc, argv, opts, 0, 0) < 0)
		return PP_EXIT_USAGE;
	rc = pp_live_open(c, arena, &live);
	if (rc)
		return rc;
	print_all(c, live.region);
	pp_live_close(&live);
	return PP_EXIT_OK;
}
