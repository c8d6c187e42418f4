/*
 * cmd_stall.c - `ppdb stall`: who stands still, in what, and whether anybody waits for it. Nobody should ever wait for a client; the exit code
 * says whether something stands.
 *
 * Looks twice, some time apart: what has not moved in between stands. Reads only, and works when the daemon is dead or stopped.
 */
#include "tools/cmd_stall.h"
#include "tools/text_number.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define APART_MS 300
#define BEAT_NS UINT64_C(1000000000)   /* the daemon's heart beats each 100 ms */
#define LONG_NS UINT64_C(1000000000)   /* a read or a snapshot that people should know of */

/* In the same step of the same write. (The daemon raises the epoch of a tail when it closes a ring; its index is the owner's.) */
static bool same_step(const struct pp_stall_look *a, const struct pp_stall_look *b)
{
	return a->owner == b->owner && a->op == b->op && a->block == b->block && pp_tail_index(a->tail) == pp_tail_index(b->tail);
}

static bool same(const struct pp_stall_look *a, const struct pp_stall_look *b)
{
	return same_step(a, b) && a->low == b->low && a->want == b->want && a->wait == b->wait && a->stripe == b->stripe;
}

/* `before`: the look before this one, for since when it has been so; NULL = this is the first. */
static struct pp_stall_look look_at(const struct pp_slot *s, const struct pp_stall_look *before)
{
	/* All loads are of statistics: the second look tells what was torn. */
	struct pp_stall_look l = {pp_load_rlx(&s->owner), pp_load_rlx(&s->low), pp_load_rlx(&s->op_version), pp_load_rlx(&s->op_block),
		pp_load_rlx(&s->credit_want), pp_load_rlx(&s->wait_epoch), pp_load_rlx(&s->tail), pp_load_rlx(&s->head), pp_load_rlx(&s->snapshot),
		pp_now_ns(), pp_load_rlx(&s->stripe_wait)};

	if (before && same(before, &l))
		l.since_ns = before->since_ns;
	return l;
}

void pp_stall_report(struct pp_stall *p, int slot, uint32_t pid, uint64_t for_ns, const char *kind, const char *fmt, ...)
{
	char text[600];
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
	if (for_ns)
		pp_json_u64(&p->j, "ms", for_ns / PP_NS_PER_MS);
	pp_json_text(&p->j, "sentence", text);
	pp_json_close(&p->j, '}');
}

struct pp_stall_who pp_stall_who(const struct pp_stall *p, uint64_t owner)
{
	uint32_t proc = pp_slot_proc(owner);
	const struct pp_proc *record = proc < p->r->fixed.procs ? &p->r->procs[proc] : NULL;
	struct pp_stall_who w = {0};

	if (!record) {
		snprintf(w.text, sizeof(w.text), "process record %u, which cannot be", proc);
		return w;
	}
	w.pid = pp_load_rlx(&record->pid);                                  /* stat */
	w.state = pp_process_state(w.pid, pp_load_rlx(&record->start));     /* stat */
	snprintf(w.text, sizeof(w.text), "%s process %u (%.31s)", pp_process_state_names[w.state], w.pid, record->name);
	return w;
}

/* A thread that stands in an operation: how far it has come, for how long, and where the kernel has it. */
static void report_operation(struct pp_stall *p, unsigned i, const struct pp_stall_look *l, const struct pp_stall_who *who)
{
	const struct pp_slot *s = &p->r->slots[i];
	uint64_t for_ns = pp_now_ns() - l->since_ns;
	char phase[PP_STALL_PHASE], kernel[64], a[PP_TEXT_NUMBER];

	pp_stall_kernel(who->pid, pp_load_rlx(&s->tid), kernel, sizeof(kernel)); /* stat */
	pp_stall_report(p, (int)i, who->pid, for_ns, "write",
		"Slot %u: %s has stood for at least %s%s%s in the middle of %s. Nobody waits for it: whoever wants the key helps it, or undoes it.", i, who->text,
		pp_text_seconds(a, (double)for_ns / 1e9), kernel[0] ? " in the kernel's " : "", kernel, pp_stall_phase(p->r, s, l, phase));
}

static void judge_slot(struct pp_stall *p, unsigned i, const struct pp_stall_look *a, const struct pp_stall_look *b)
{
	unsigned used = (uint16_t)(pp_tail_index(b->tail) - (uint16_t)b->head), entries = p->r->fixed.ring_entries;
	uint64_t durable = pp_load_rlx(&p->r->globals->durable_epoch), for_ns = pp_now_ns() - b->since_ns; /* stat */
	bool same_owner = a->owner == b->owner && pp_slot_state(b->owner) == PP_SLOT_CLAIMED;
	struct pp_stall_who who;

	if (pp_slot_state(b->owner) != PP_SLOT_CLAIMED)
		return;
	who = pp_stall_who(p, b->owner);
	if (same_owner && b->op && same_step(a, b))
		report_operation(p, i, b, &who);
	else if (same_owner && b->low != PP_IDLE && a->low == b->low && who.state != PP_PROCESS_RUNS)
		pp_stall_report(p, (int)i, who.pid, for_ns, "read", "Slot %u: %s stands in the middle of a read; what was alive then stays in memory.", i, who.text);
	if (same_owner && b->want && a->want == b->want)
		pp_stall_report(p, (int)i, who.pid, for_ns, "log_space", "Slot %u: %s waits for %" PRIu64 " bytes of log space: the disk is slow, or full.", i, who.text,
			b->want);
	if (same_owner && b->wait && a->wait == b->wait && durable < b->wait)
		pp_stall_report(p, (int)i, who.pid, for_ns, "durable", "Slot %u: %s waits until epoch %" PRIu64 " is durable; %" PRIu64 " is.", i, who.text, b->wait,
			durable);
	if (used + used / 8 >= entries)
		pp_stall_report(p, (int)i, who.pid, 0, "ring", "Slot %u: the log ring of %s is full (%u of %u entries): the daemon does not take them.", i, who.text, used,
			entries);
	if (who.state == PP_PROCESS_DEAD)
		pp_stall_report(p, (int)i, who.pid, 0, "dead", "Slot %u belongs to %s: the daemon has not taken it back yet.", i, who.text);
}

static void judge_procs(struct pp_stall *p)
{
	char a[PP_TEXT_NUMBER], b[PP_TEXT_NUMBER];

	for (uint32_t i = 0; i < p->r->fixed.procs; i++) {
		const struct pp_proc *q = &p->r->procs[i];
		/* All loads are of statistics. */
		uint64_t interval = pp_load_rlx(&q->interval_ns), snapshot = pp_load_rlx(&q->snapshot_ns), bytes = pp_load_rlx(&q->pinned_bytes);
		uint32_t pid = pp_load_rlx(&q->pid);
		const char *state = pp_process_state_names[pp_process_state(pid, pp_load_rlx(&q->start))];

		if (!pp_load_rlx(&q->state) || pp_load_rlx(&q->flags) & PP_PROC_DAEMON || pid == (uint32_t)getpid())
			continue;
		if (interval > LONG_NS)
			pp_stall_report(p, -1, pid, interval, "long_read", "Process %u (%.31s, %s) has been reading for %s and keeps %s from being freed.", pid, q->name,
				state, pp_text_seconds(a, (double)interval / 1e9), pp_text_bytes(b, (double)bytes));
		if (snapshot > LONG_NS)
			pp_stall_report(p, -1, pid, snapshot, "long_snapshot", "Process %u (%.31s, %s) has held a snapshot for %s; it keeps at most %s.", pid, q->name,
				state, pp_text_seconds(a, (double)snapshot / 1e9), pp_text_bytes(b, (double)bytes));
	}
}

static void judge_daemon(struct pp_stall *p)
{
	const struct pp_header *h = p->r->header;
	uint64_t beat = pp_load_rlx(&h->heartbeat_ns), now = pp_now_ns(); /* stat */
	uint32_t pid = pp_load_rlx(&h->daemon_pid);                       /* stat */
	enum pp_process_state state = pp_process_state(pid, pp_load_rlx(&h->daemon_start)); /* stat */
	int failed = (int)pp_load_rlx(&p->r->globals->failed);            /* stat */
	char a[PP_TEXT_NUMBER];

	if (now > beat && now - beat > BEAT_NS)
		pp_stall_report(p, -1, pid, now - beat, "daemon", "The daemon (pid %u, %s) has done nothing for %s: reading goes on, writing until the rings are full. %s", pid,
			pp_process_state_names[state], pp_text_seconds(a, (double)(now - beat) / 1e9),
			state == PP_PROCESS_DEAD ? "Start it: ppdb start." : state == PP_PROCESS_STOPPED ? "Let it go on: kill -CONT." : "Is the machine busy?");
	if (failed)
		pp_stall_report(p, -1, pid, 0, "log", "The log could not be written (%s): the store is read-only until ppdbd is restarted.", ppdb_strerror(failed));
	if (pp_load_rlx(&((struct pp_engine *)p->r->engine)->wal_full)) /* stat */
		pp_stall_report(p, -1, pid, 0, "disk", "The disk of the log is full: free space in the data directory.");
}

/* Compares the look before with one of now, which is the one before for the next time. */
static unsigned compare(struct pp_stall *p)
{
	struct pp_stall_look *swap = p->before;
	unsigned slots = p->r->fixed.slots;

	p->found = 0;
	for (unsigned i = 0; i < slots; i++)
		p->now[i] = look_at(&p->r->slots[i], &p->before[i]);
	if (p->c->json) {
		pp_json_open(&p->j, NULL, '{');
		pp_json_open(&p->j, "stalls", '[');
	}
	judge_daemon(p);
	for (unsigned i = p->r->fixed.daemon_slots; i < slots; i++)
		judge_slot(p, i, &p->before[i], &p->now[i]);
	judge_procs(p);
	pp_stall_locks(p);
	if (p->c->json) {
		pp_json_close(&p->j, ']');
		pp_json_close(&p->j, '}');
	} else if (!p->found) {
		puts("Nobody stands still.");
	}
	p->before = p->now;
	p->now = swap;
	return p->found;
}

static int look_on(const struct pp_cmd *c, struct pp_region *r, uint64_t apart_ms, bool watch)
{
	unsigned slots = r->fixed.slots, found;
	struct pp_stall_look *looks = calloc(2 * (size_t)slots, sizeof(*looks));
	struct pp_stall p = {.c = c, .r = r, .before = looks, .now = looks + slots, .j = {.out = stdout, .indent = !watch}};

	if (!looks)
		return pp_cmd_fail(c, -ENOMEM, NULL);
	for (unsigned i = 0; i < slots; i++)
		p.before[i] = look_at(&r->slots[i], NULL);
	do {
		usleep((useconds_t)(apart_ms * 1000));
		found = compare(&p);
		if (fflush(stdout))
			break;
	} while (watch);
	free(looks);
	return found ? PP_EXIT_NO : PP_EXIT_OK;
}

static const char help_text[] =
	"usage: ppdb [-n NAME] [--json] stall [--apart MS] [--watch] [--arena FILE]\n\n"
	"Who stands still: looks twice, --apart milliseconds apart (300). A sentence each for clients that are stopped or dead in the middle of a\n"
	"write or a read, threads that wait for log space or for durability, full log rings, reads and snapshots of more than a second with what they keep,\n"
	"lock stripes that are held, who waits for them and circles of those (sync = mutex), a daemon that does not work, a failed log, a full disk. Works without a daemon, too, on what it left\n"
	"(in FILE, if the store is not where its name says). For a write or a batch it is said how far it has come.\n"
	"Exit 0: nobody stands still; 1: somebody does. --watch looks again and again until it is interrupted.\n"
	"--json prints {\"stalls\": [{kind, slot, pid, ms, sentence}]}, with --watch one object a line; kinds: write, read, log_space, durable, ring,\n"
	"dead, long_read, long_snapshot, stripe, lock_wait, lock_cycle, daemon, log, disk.\n\n"
	"  ppdb stall || mail -s 'ppdb stalls' root\n"
	"  ppdb stall --watch --apart 1000   what stands, and for how long already\n";

int pp_cmd_stall(struct pp_cmd *c, int argc, char **argv)
{
	uint64_t apart_ms = APART_MS;
	const char *arena = NULL;
	bool watch = false;
	const struct pp_opt opts[] = {{"apart", PP_OPT_U64, &apart_ms}, {"watch", PP_OPT_FLAG, &watch}, {"arena", PP_OPT_TEXT, &arena}, {NULL, 0, NULL}};
	struct pp_live live;
	int rc;

	if (pp_cmd_help(argc, argv, help_text))
		return PP_EXIT_OK;
	if (pp_cmd_options(c, argc, argv, opts, 0, 0) < 0)
		return PP_EXIT_USAGE;
	if (apart_ms < 1 || apart_ms > 3600000)
		return pp_cmd_usage(c, "--apart takes 1 to 3600000 milliseconds");
	rc = pp_live_open(c, arena, &live);
	if (rc)
		return rc;
	rc = look_on(c, live.region, apart_ms, watch);
	pp_live_close(&live);
	return rc;
}
