/*
 * cmd_stall.c - `ppdb stall`: who stands still, in what, and whether anybody waits for it. Nobody should ever wait for a client; the exit code
 * says whether something stands.
 *
 * Looks twice, some time apart: what has not moved in between stands. Reads only, and works when the daemon is dead or stopped.
 */
#include "tools/cmd_live.h"
#include "shm/sync.h"
#include "tools/text_json.h"
#include "tools/text_number.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define APART_MS 300
#define BEAT_NS UINT64_C(1000000000)   /* the daemon's heart beats each 100 ms */
#define LONG_NS UINT64_C(1000000000)   /* a read or a snapshot that people should know of */

/* What a slot is in, at one look. */
struct look {
	uint64_t owner, low, op, block, want, wait, tail, head, snapshot;
};

struct reporter {
	const struct pp_cmd *c;
	struct pp_region *r;
	struct pp_json j;
	unsigned found;
};

enum process_state { RUNS, STOPPED, DEAD };
static const char *const state_names[] = {"running", "stopped", "dead"};

static enum process_state state_of(uint32_t pid)
{
	char path[40], line[512] = "", *p;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%u/stat", pid);
	f = fopen(path, "re");
	if (!f)
		return DEAD;
	if (!fgets(line, sizeof(line), f))
		line[0] = '\0';
	fclose(f);
	p = strrchr(line, ')');
	if (!p || !p[1] || p[2] == 'Z' || p[2] == 'X')
		return DEAD;
	return p[2] == 'T' || p[2] == 't' ? STOPPED : RUNS;
}

static struct look look_at(const struct pp_slot *s)
{
	/* All loads are of statistics: the second look tells what was torn. */
	return (struct look){pp_load_rlx(&s->owner), pp_load_rlx(&s->low), pp_load_rlx(&s->op_version), pp_load_rlx(&s->op_block),
		pp_load_rlx(&s->credit_want), pp_load_rlx(&s->wait_epoch), pp_load_rlx(&s->tail), pp_load_rlx(&s->head), pp_load_rlx(&s->snapshot)};
}

/* One thing that stands: a sentence, and who it is. */
static void report(struct reporter *p, int slot, uint32_t pid, const char *kind, const char *fmt, ...) __attribute__((format(printf, 5, 6)));
static void report(struct reporter *p, int slot, uint32_t pid, const char *kind, const char *fmt, ...)
{
	char text[300];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	p->found++;
	if (!p->c->json) {
		puts(text);
		return;
	}
	pp_json_open(&p->j, NULL, '{');
	pp_json_text(&p->j, "kind", kind);
	if (slot >= 0)
		pp_json_u64(&p->j, "slot", (uint64_t)slot);
	if (pid)
		pp_json_u64(&p->j, "pid", pid);
	pp_json_text(&p->j, "sentence", text);
	pp_json_close(&p->j, '}');
}

static const char *who(const struct reporter *p, uint64_t owner, char text[80], uint32_t *pid)
{
	uint32_t proc = pp_slot_proc(owner);
	const struct pp_proc *record = proc < p->r->fixed.procs ? &p->r->procs[proc] : NULL;

	*pid = record ? pp_load_rlx(&record->pid) : 0; /* stat */
	if (record)
		snprintf(text, 80, "%s process %u (%.31s)", state_names[state_of(*pid)], *pid, record->name);
	else
		snprintf(text, 80, "process record %u, which cannot be", proc);
	return text;
}

static void judge_slot(struct reporter *p, unsigned i, const struct look *a, const struct look *b)
{
	unsigned used = (uint16_t)(pp_tail_index(b->tail) - (uint16_t)b->head), entries = p->r->fixed.ring_entries;
	uint64_t durable = pp_load_rlx(&p->r->globals->durable_epoch); /* stat */
	bool same = a->owner == b->owner && pp_slot_state(b->owner) == PP_SLOT_CLAIMED;
	char text[80];
	uint32_t pid;

	if (pp_slot_state(b->owner) != PP_SLOT_CLAIMED)
		return;
	who(p, b->owner, text, &pid);
	if (same && b->op && a->op == b->op && a->block == b->block && a->tail == b->tail)
		report(p, (int)i, pid, "write", "Slot %u: %s stands in the middle of a %s. Nobody waits for it: whoever wants the key helps it, or undoes it.", i,
			text, b->op & 1 ? "batch" : "write");
	else if (same && b->low != PP_IDLE && a->low == b->low && state_of(pid) != RUNS)
		report(p, (int)i, pid, "read", "Slot %u: %s stands in the middle of a read; what was alive then stays in memory.", i, text);
	if (same && b->want && a->want == b->want)
		report(p, (int)i, pid, "log_space", "Slot %u: %s waits for %" PRIu64 " bytes of log space: the disk is slow, or full.", i, text, b->want);
	if (same && b->wait && a->wait == b->wait && durable < b->wait)
		report(p, (int)i, pid, "durable", "Slot %u: %s waits until epoch %" PRIu64 " is durable; %" PRIu64 " is.", i, text, b->wait, durable);
	if (used + used / 8 >= entries)
		report(p, (int)i, pid, "ring", "Slot %u: the log ring of %s is full (%u of %u entries): the daemon does not take them.", i, text, used, entries);
	if (state_of(pid) == DEAD)
		report(p, (int)i, pid, "dead", "Slot %u belongs to %s: the daemon has not taken it back yet.", i, text);
}

static void judge_procs(struct reporter *p)
{
	char a[PP_TEXT_NUMBER], b[PP_TEXT_NUMBER];

	for (uint32_t i = 0; i < p->r->fixed.procs; i++) {
		const struct pp_proc *q = &p->r->procs[i];
		/* All loads are of statistics. */
		uint64_t interval = pp_load_rlx(&q->interval_ns), snapshot = pp_load_rlx(&q->snapshot_ns), bytes = pp_load_rlx(&q->pinned_bytes);
		uint32_t pid = pp_load_rlx(&q->pid);

		if (!pp_load_rlx(&q->state) || pp_load_rlx(&q->flags) & PP_PROC_DAEMON || pid == (uint32_t)getpid())
			continue;
		if (interval > LONG_NS)
			report(p, -1, pid, "long_read", "Process %u (%.31s, %s) has been reading for %s and keeps %s from being freed.", pid, q->name,
				state_names[state_of(pid)], pp_text_seconds(a, (double)interval / 1e9), pp_text_bytes(b, (double)bytes));
		if (snapshot > LONG_NS)
			report(p, -1, pid, "long_snapshot", "Process %u (%.31s, %s) has held a snapshot for %s; it keeps at most %s.", pid, q->name,
				state_names[state_of(pid)], pp_text_seconds(a, (double)snapshot / 1e9), pp_text_bytes(b, (double)bytes));
	}
}

static void judge_stripes(struct reporter *p)
{
	struct pp_stripe_info s;
	char text[80], a[PP_TEXT_NUMBER];
	uint32_t pid;

	for (unsigned i = 0; i < p->r->fixed.stripes && p->r->fixed.sync_mode == PP_SYNC_MUTEX; i++) {
		pp_stripe_look(p->r, i, &s);
		if (s.held_ns < LONG_NS || s.slot >= p->r->fixed.slots)
			continue;
		who(p, pp_load_rlx(&p->r->slots[s.slot].owner), text, &pid); /* stat */
		report(p, (int)s.slot, pid, "stripe", "Lock stripe %u has been held for %s by %s; the next one takes it over after 10 ms.", i,
			pp_text_seconds(a, (double)s.held_ns / 1e9), text);
	}
}

static void judge_daemon(struct reporter *p)
{
	const struct pp_header *h = p->r->header;
	uint64_t beat = pp_load_rlx(&h->heartbeat_ns), now = pp_now_ns(); /* stat */
	uint32_t pid = pp_load_rlx(&h->daemon_pid);                       /* stat */
	int failed = (int)pp_load_rlx(&p->r->globals->failed);            /* stat */
	char a[PP_TEXT_NUMBER];

	if (now > beat && now - beat > BEAT_NS)
		report(p, -1, pid, "daemon", "The daemon (pid %u, %s) has done nothing for %s: reading goes on, writing until the rings are full. %s", pid,
			state_names[state_of(pid)], pp_text_seconds(a, (double)(now - beat) / 1e9),
			state_of(pid) == DEAD ? "Start it: ppdb start." : state_of(pid) == STOPPED ? "Let it go on: kill -CONT." : "Is the machine busy?");
	if (failed)
		report(p, -1, pid, "log", "The log could not be written (%s): the store is read-only until ppdbd is restarted.", ppdb_strerror(failed));
	if (pp_load_rlx(&((struct pp_engine *)p->r->engine)->wal_full)) /* stat */
		report(p, -1, pid, "disk", "The disk of the log is full: free space in the data directory.");
}

static unsigned look_twice(const struct pp_cmd *c, struct pp_region *r, uint64_t apart_ms)
{
	struct reporter p = {.c = c, .r = r, .j = {.out = stdout, .indent = true}};
	unsigned slots = r->fixed.slots;
	struct look *before = calloc(slots, sizeof(*before));

	if (!before)
		return 0;
	for (unsigned i = 0; i < slots; i++)
		before[i] = look_at(&r->slots[i]);
	usleep((useconds_t)(apart_ms * 1000));
	if (c->json) {
		pp_json_open(&p.j, NULL, '{');
		pp_json_open(&p.j, "stalls", '[');
	}
	judge_daemon(&p);
	for (unsigned i = r->fixed.daemon_slots; i < slots; i++) {
		struct look now = look_at(&r->slots[i]);

		judge_slot(&p, i, &before[i], &now);
	}
	judge_procs(&p);
	judge_stripes(&p);
	if (c->json) {
		pp_json_close(&p.j, ']');
		pp_json_close(&p.j, '}');
	} else if (!p.found) {
		puts("Nobody stands still.");
	}
	free(before);
	return p.found;
}

static const char help_text[] =
	"usage: ppdb [-n NAME] [--json] stall [--apart MS] [--watch] [--arena FILE]\n\n"
	"Who stands still: looks twice, --apart milliseconds apart (300). A sentence each for clients that are stopped or dead in the middle of a\n"
	"write or a read, threads that wait for log space or for durability, full log rings, reads and snapshots of more than a second with what they keep,\n"
	"lock stripes that are held (sync = mutex), a daemon that does not work, a failed log, a full disk. Works without a daemon, too, on what it left\n"
	"(in FILE, if the store is not where its name says).\n"
	"Exit 0: nobody stands still; 1: somebody does. --watch looks again and again until it is interrupted.\n"
	"--json prints {\"stalls\": [{kind, slot, pid, sentence}]}; kinds: write, read, log_space, durable, ring, dead, long_read,\n"
	"long_snapshot, stripe, daemon, log, disk.\n\n"
	"  ppdb stall || mail -s 'ppdb stalls' root\n";

int pp_cmd_stall(struct pp_cmd *c, int argc, char **argv)
{
	uint64_t apart_ms = APART_MS;
	const char *arena = NULL;
	bool watch = false;
	const struct pp_opt opts[] = {{"apart", PP_OPT_U64, &apart_ms}, {"watch", PP_OPT_FLAG, &watch}, {"arena", PP_OPT_TEXT, &arena}, {NULL, 0, NULL}};
	struct pp_live live;
	unsigned found;
	int rc;

	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
			fputs(help_text, stdout);
			return PP_EXIT_OK;
		}
	if (pp_cmd_options(c, argc, argv, opts, 0, 0) < 0)
		return PP_EXIT_USAGE;
	if (apart_ms < 1 || apart_ms > 3600000)
		return pp_cmd_usage(c, "--apart takes 1 to 3600000 milliseconds");
	rc = pp_live_open(c, arena, &live);
	if (rc)
		return rc;
	do {
		found = look_twice(c, live.region, apart_ms);
		if (watch && (fflush(stdout) || usleep(700000)))
			break;
	} while (watch);
	pp_live_close(&live);
	return found ? PP_EXIT_NO : PP_EXIT_OK;
}
