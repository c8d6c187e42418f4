/*
 * perf_sample.c - two looks at the counters, and the difference (see perf_sample.h).
 *
 * A look adds up the slots, what slots that were given back left behind (engine.retired) and what read-only clients did
 * (engine.readers, each 100 ms). A slot that is given back in the middle of a look would be counted twice or not at all: then the look is repeated.
 * Differences never fall below zero: a daemon that was started anew counts its log from zero.
 */
#include "tools/perf_sample.h"

#include "engine/stat.h"
#include "shm/clock.h"
#include "shm/live.h"
#include "tools/process.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TRIES 4

const char *const pp_perf_op_names[PP_OPS] = {"get", "put", "del", "cas", "add", "scan", "wait", "batch"};
const char *const pp_perf_phase_names[PP_PERF_PHASES] = {"install", "publish", "queue", "settle", "write", "wake"};

/* What one slot, or one read-only process, had counted. */
struct slot_look {
	uint64_t owner;                /* a process: its attach generation */
	uint64_t ops[PP_OPS];
	uint32_t hist[PP_OPS][PP_HIST_BUCKETS];
};

struct look {
	uint64_t at_ns;
	struct pp_totals totals;
	struct pp_hist op[PP_OPS], phase[PP_PERF_PHASES], commit_records, commit_bytes;
	uint64_t log_records, log_bytes, log_stalls;
	uint64_t usage[PP_SHARDS_MAX], contention[PP_SHARDS_MAX];
	struct slot_look *slot;        /* [slots] */
	uint64_t (*proc_ops)[PP_OPS];  /* [procs]: of read-only clients */
	uint64_t *proc_state;
	unsigned slots;
};

struct pp_perf_sampler {
	struct pp_region *r;
	uint32_t skip_pid;
	bool total;
	struct look before, now;
	uint64_t *seen;                /* [slots]: recent operations that were collected */
	uint64_t *seen_owner;
	struct pp_hist read[PP_SHARDS_MAX], write[PP_SHARDS_MAX];
};

/* ---- small things ----------------------------------------------------------------------------------------------- */

static uint64_t minus(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

static void hist_minus(struct pp_hist *out, const struct pp_hist *a, const struct pp_hist *b)
{
	out->total = 0;
	for (unsigned i = 0; i < PP_HIST_BUCKETS; i++) {
		out->count[i] = minus(a->count[i], b->count[i]);
		out->total += out->count[i];
	}
}

uint64_t pp_hist_max_ns(const struct pp_hist *h)
{
	for (unsigned i = PP_HIST_BUCKETS; i-- > 0;)
		if (h->count[i])
			return pp_hist_floor_ns(i + 1) - 1;
	return 0;
}

double pp_perf_mean(const struct pp_hist *h)
{
	double sum = 0;

	for (unsigned i = 0; i < PP_HIST_BUCKETS && h->total; i++)
		sum += (double)h->count[i] * (double)(pp_hist_floor_ns(i) + pp_hist_floor_ns(i + 1) - 1) / 2;
	return h->total ? sum / (double)h->total : 0;
}

static struct pp_perf_spread spread_of(const struct pp_hist *h)
{
	return (struct pp_perf_spread){h->total, pp_hist_percentile_ns(h, 0.5), pp_hist_percentile_ns(h, 0.99), pp_hist_max_ns(h)};
}

uint64_t pp_perf_writes(const struct pp_perf *p)
{
	return p->ops[PP_OP_PUT] + p->ops[PP_OP_DEL] + p->ops[PP_OP_CAS] + p->ops[PP_OP_ADD] + p->ops[PP_OP_BATCH];
}

static bool is_write(unsigned op)
{
	return op == PP_OP_PUT || op == PP_OP_DEL || op == PP_OP_CAS || op == PP_OP_ADD || op == PP_OP_BATCH;
}

static const struct pp_engine *engine_of(const struct pp_perf_sampler *s)
{
	return s->r->engine;
}

/* ---- a look ----------------------------------------------------------------------------------------------------- */

/* Changes when a slot was given back, or readers were added up. */
static uint64_t folded_so_far(const struct pp_engine *e)
{
	uint64_t sum = 0;

	for (unsigned op = 0; op < PP_OPS; op++)
		sum += pp_load_rlx(&e->retired.count.ops[op]) + pp_load_rlx(&e->readers.count.ops[op]); /* stat */
	return sum;
}

static void add_stats(struct look *l, const struct pp_stats *s)
{
	static const enum pp_perf_phase of_slot[PP_PHASES] = {PP_PERF_INSTALL, PP_PERF_PUBLISH, PP_PERF_QUEUE, PP_PERF_WAKE};

	pp_totals_add(&l->totals, &s->count);
	for (unsigned op = 0; op < PP_OPS; op++)
		pp_hist_merge64(&l->op[op], s->hist[op]);
	for (unsigned i = 0; i < PP_PHASES; i++)
		pp_hist_merge64(&l->phase[of_slot[i]], s->phase[i]);
	for (unsigned i = 0; i < PP_SHARDS_MAX; i++)
		l->usage[i] += pp_load_rlx(&s->usage[i]); /* stat */
}

static void add_slot(struct look *l, const struct pp_slot *s, unsigned shards, struct slot_look *out)
{
	static const enum pp_perf_phase of_slot[PP_PHASES] = {PP_PERF_INSTALL, PP_PERF_PUBLISH, PP_PERF_QUEUE, PP_PERF_WAKE};

	/* All loads are of statistics. */
	out->owner = pp_load_rlx(&s->owner);
	pp_totals_add(&l->totals, &s->count);
	for (unsigned op = 0; op < PP_OPS; op++) {
		out->ops[op] = pp_load_rlx(&s->count.ops[op]);
		for (unsigned i = 0; i < PP_HIST_BUCKETS; i++) {
			uint32_t n = pp_load_rlx(&s->hist[op][i]);

			out->hist[op][i] = n;
			l->op[op].count[i] += n;
			l->op[op].total += n;
		}
	}
	for (unsigned i = 0; i < PP_PHASES; i++)
		pp_hist_merge(&l->phase[of_slot[i]], s->phase[i]);
	for (unsigned i = 0; i < shards; i++)
		l->usage[i] += pp_load_rlx(&s->usage[i]);
}

static void add_log(struct look *l, const struct pp_engine *e)
{
	pp_hist_merge64(&l->commit_records, e->commit_records);
	pp_hist_merge64(&l->commit_bytes, e->commit_bytes);
	pp_hist_merge64(&l->phase[PP_PERF_SETTLE], e->settle_ns);
	pp_hist_merge64(&l->phase[PP_PERF_WRITE], e->write_ns);
	l->log_records = pp_load_rlx(&e->wal_records); /* stat, as the others */
	l->log_bytes = pp_load_rlx(&e->wal_bytes);
	l->log_stalls = pp_load_rlx(&e->wal_stalls);
}

static void forget(struct look *l)
{
	l->totals = (struct pp_totals){0};
	memset(l->op, 0, sizeof(l->op));
	memset(l->phase, 0, sizeof(l->phase));
	memset(&l->commit_records, 0, sizeof(l->commit_records));
	memset(&l->commit_bytes, 0, sizeof(l->commit_bytes));
	memset(l->usage, 0, sizeof(l->usage));
}

static void look_once(struct pp_perf_sampler *s, struct look *l)
{
	const struct pp_engine *e = engine_of(s);
	unsigned shards = s->r->fixed.shards < PP_SHARDS_MAX ? s->r->fixed.shards : PP_SHARDS_MAX;

	forget(l);
	l->at_ns = pp_now_ns();
	l->slots = pp_slots_high(s->r);
	for (unsigned i = 0; i < l->slots; i++)
		add_slot(l, &s->r->slots[i], shards, &l->slot[i]);
	add_stats(l, &e->retired);
	add_stats(l, &e->readers);
	pp_totals_complete(&l->totals);
	add_log(l, e);
	for (unsigned i = 0; i < shards; i++)
		l->contention[i] = pp_load_rlx(&e->shard[i].contention); /* stat */
	for (unsigned p = 0; p < s->r->fixed.procs; p++) {
		l->proc_state[p] = pp_load_rlx(&s->r->procs[p].state); /* stat */
		for (unsigned op = 0; op < PP_OPS; op++)
			l->proc_ops[p][op] = pp_load_rlx(&s->r->procs[p].ops[op]); /* stat */
	}
}

static void look(struct pp_perf_sampler *s, struct look *l)
{
	uint64_t before, after = folded_so_far(engine_of(s));

	for (unsigned i = 0; i < TRIES; i++) {
		before = after;
		look_once(s, l);
		after = folded_so_far(engine_of(s));
		if (before == after)
			return;
	}
}

/* ---- what slots remember ---------------------------------------------------------------------------------------- */

static void collect_slot(struct pp_perf_sampler *s, unsigned i)
{
	const struct pp_slot *slot = &s->r->slots[i];
	/* All loads are of statistics: an entry that is written just now is the old one or the new one. */
	uint64_t owner = pp_load_rlx(&slot->owner), n = pp_load_rlx(&slot->recent_count), from = s->seen[i];

	if (owner != s->seen_owner[i] || n < from)
		from = 0;
	s->seen_owner[i] = owner;
	s->seen[i] = n;
	if (n - from > PP_RECENT)
		from = n - PP_RECENT;
	for (; from < n; from++) {
		uint64_t w = pp_load_rlx(&slot->recent[from % PP_RECENT]);
		struct pp_hist *h = pp_recent_op(w) == PP_OP_GET ? &s->read[pp_recent_shard(w)] : &s->write[pp_recent_shard(w)];

		h->count[pp_hist_bucket(pp_recent_ns(w))]++;
		h->total++;
	}
}

void pp_perf_sampler_look(struct pp_perf_sampler *s)
{
	unsigned slots = pp_slots_high(s->r);

	for (unsigned i = 0; i < slots; i++)
		collect_slot(s, i);
}

/* ---- clients ---------------------------------------------------------------------------------------------------- */

/* While they are added up: by process record. */
struct sum {
	struct pp_perf_client c;
	struct pp_hist read, write, wait;
};

static void add_to_client(struct sum *sum, const struct slot_look *a, const struct slot_look *b, bool same)
{
	for (unsigned op = 0; op < PP_OPS; op++) {
		struct pp_hist *h = op == PP_OP_GET ? &sum->read : op == PP_OP_WAIT ? &sum->wait : is_write(op) ? &sum->write : NULL;

		sum->c.ops[op] += minus(b->ops[op], same ? a->ops[op] : 0);
		for (unsigned i = 0; h && i < PP_HIST_BUCKETS; i++) {
			uint64_t n = minus(b->hist[op][i], same ? a->hist[op][i] : 0);

			h->count[i] += n;
			h->total += n;
		}
	}
}

static void describe(struct pp_perf_sampler *s, uint32_t p, struct sum *sum)
{
	const struct pp_proc *proc = &s->r->procs[p];
	struct pp_perf_client *c = &sum->c;

	c->pid = pp_load_rlx(&proc->pid);                                   /* stat, as the others */
	c->readonly = pp_load_rlx(&proc->flags) & PP_PROC_READONLY;
	memcpy(c->name, proc->name, sizeof(proc->name));
	c->name[sizeof(proc->name)] = '\0';
	pp_process_command(c->pid, c->command, sizeof(c->command));
	pp_process_printable(c->name);
	c->read = spread_of(&sum->read);
	c->write = spread_of(&sum->write);
	c->wait = spread_of(&sum->wait);
	if (c->readonly) {
		bool same = !s->total && s->before.proc_state[p] == s->now.proc_state[p];

		c->threads = (uint32_t)pp_load_rlx(&proc->slots_used);
		for (unsigned op = 0; op < PP_OPS; op++)
			c->ops[op] = minus(s->now.proc_ops[p][op], same ? s->before.proc_ops[p][op] : 0);
		c->read = (struct pp_perf_spread){c->ops[PP_OP_GET], pp_load_rlx(&proc->get_p50_ns), pp_load_rlx(&proc->get_p99_ns), 0};
	}
	for (unsigned op = 0; op < PP_OPS; op++)
		c->total += c->ops[op];
}

static int by_total(const void *a, const void *b)
{
	const struct pp_perf_client *x = &((const struct sum *)a)->c, *y = &((const struct sum *)b)->c;

	return x->total != y->total ? (x->total < y->total ? 1 : -1) : (x->pid > y->pid) - (x->pid < y->pid);
}

static bool counts_as_client(const struct pp_perf_sampler *s, uint32_t p)
{
	const struct pp_proc *proc = &s->r->procs[p];

	return pp_load_rlx(&proc->state) && !(pp_load_rlx(&proc->flags) & PP_PROC_DAEMON) && pp_load_rlx(&proc->pid) != s->skip_pid; /* stat */
}

static void fill_clients(struct pp_perf_sampler *s, struct pp_perf *out)
{
	uint32_t procs = s->r->fixed.procs, n = 0;
	struct sum *sum = calloc(procs, sizeof(*sum));

	out->clients = 0;
	if (!sum)
		return;
	for (unsigned i = 0; i < s->now.slots; i++) {
		const struct slot_look *a = &s->before.slot[i], *b = &s->now.slot[i];
		uint32_t p = pp_slot_proc(b->owner);

		if (pp_slot_state(b->owner) == PP_SLOT_FREE || p >= procs)
			continue;
		sum[p].c.threads += pp_slot_state(b->owner) == PP_SLOT_CLAIMED;
		add_to_client(&sum[p], a, b, pp_slot_gen(a->owner) == pp_slot_gen(b->owner));
	}
	for (uint32_t p = 0; p < procs; p++) {
		if (!counts_as_client(s, p))
			continue;
		describe(s, p, &sum[p]);
		sum[n++] = sum[p];
	}
	out->clients_attached = n;
	qsort(sum, n, sizeof(*sum), by_total);
	for (; out->clients < n && out->clients < PP_PERF_CLIENTS; out->clients++)
		out->client[out->clients] = sum[out->clients].c;
	free(sum);
}

/* ---- the interval ----------------------------------------------------------------------------------------------- */

/* The daemon by what its process is, if it can be seen; else by what it said last. */
static const char *state_of(const struct pp_region *r, uint32_t pid)
{
	static const char *const said[] = {"starting", "running", "ended", "read-only"};
	uint32_t state = pp_load_rlx(&r->header->daemon_state); /* stat */
	char path[40], line[512] = "", *p;
	FILE *f;

	if (state == PP_DAEMON_STOPPED)
		return "ended";
	if (!pid || !pp_proc_alive((pid_t)pid, pp_load_rlx(&r->header->daemon_start))) /* stat */
		return "dead";
	snprintf(path, sizeof(path), "/proc/%u/stat", pid);
	f = fopen(path, "re");
	if (f && !fgets(line, sizeof(line), f))
		line[0] = '\0';
	if (f)
		fclose(f);
	p = strrchr(line, ')');
	if (p && p[1] && (p[2] == 'T' || p[2] == 't'))
		return "stopped";
	return state < sizeof(said) / sizeof(*said) ? said[state] : "unknown";
}

static void fill_store(const struct pp_perf_sampler *s, struct pp_perf *out)
{
	static const char *const kinds[] = {"4 KiB", "transparent huge", "hugetlb"};
	const struct pp_region *r = s->r;
	const struct pp_globals *g = r->globals;
	/* All loads are of statistics. */
	uint64_t beat = pp_load_rlx(&r->header->heartbeat_ns), now = pp_now_ns();

	out->at_ms = pp_wall_ms();
	snprintf(out->name, sizeof(out->name), "%.63s", r->fixed.name);
	snprintf(out->backend, sizeof(out->backend), "%.31s", engine_of(s)->wal_backend);
	snprintf(out->pages, sizeof(out->pages), "%s", r->fixed.page_kind < 3 ? kinds[r->fixed.page_kind] : "unknown");
	out->pid = pp_load_rlx(&r->header->daemon_pid);
	snprintf(out->state, sizeof(out->state), "%s", state_of(r, out->pid));
	out->incarnation = pp_load_rlx(&r->header->incarnation);
	out->shards = r->fixed.shards < PP_SHARDS_MAX ? r->fixed.shards : PP_SHARDS_MAX;
	out->nodes = r->fixed.nodes;
	out->strategy = r->fixed.strategy;
	out->sync_mode = r->fixed.sync_mode;
	out->ring_entries = r->fixed.ring_entries;
	out->memory_bytes = pp_load_rlx(&g->committed_segments) * PP_SEGMENT_BYTES;
	out->log_error = (int)pp_load_rlx(&g->failed);
	out->disk_full = pp_load_rlx(&engine_of(s)->wal_full) != 0;
	out->beat_seconds = now > beat ? (double)(now - beat) / 1e9 : 0;
	for (unsigned i = 0; i < s->now.slots; i++)
		out->slots_used += pp_slot_state(s->now.slot[i].owner) == PP_SLOT_CLAIMED;
}

static void fill_operations(const struct pp_perf_sampler *s, struct pp_perf *out)
{
	const struct look *a = &s->before, *b = &s->now;

	for (unsigned op = 0; op < PP_OPS; op++) {
		out->ops[op] = minus(b->totals.ops[op], a->totals.ops[op]);
		hist_minus(&out->op[op], &b->op[op], &a->op[op]);
		out->count.ops[op] = out->ops[op];
	}
	for (unsigned i = 0; i < PP_PERF_PHASES; i++)
		hist_minus(&out->phase[i], &b->phase[i], &a->phase[i]);
	for (size_t i = 0; i < pp_counter_count; i++) {
		const struct pp_counter_name *n = &pp_counter_names[i];

		*(uint64_t *)((char *)&out->count + n->offset) = minus(pp_total_of(&b->totals, n), pp_total_of(&a->totals, n));
	}
	hist_minus(&out->commit_records, &b->commit_records, &a->commit_records);
	hist_minus(&out->commit_bytes, &b->commit_bytes, &a->commit_bytes);
	out->log_records = minus(b->log_records, a->log_records);
	out->log_bytes = minus(b->log_bytes, a->log_bytes);
	out->log_stalls = minus(b->log_stalls, a->log_stalls);
}

/* Counts that may fall below zero for a moment. */
static uint64_t soft(uint64_t n)
{
	return (int64_t)n < 0 ? 0 : n;
}

static void fill_shards(struct pp_perf_sampler *s, struct pp_perf *out)
{
	const struct look *a = &s->before, *b = &s->now;
	uint64_t keyed = pp_perf_writes(out) - out->ops[PP_OP_BATCH] + out->ops[PP_OP_GET], timed = 0;

	for (unsigned i = 0; i < out->shards; i++)
		timed += minus(b->usage[i], a->usage[i]);
	for (unsigned i = 0; i < out->shards; i++) {
		const struct pp_shard *shard = &engine_of(s)->shard[i];
		struct pp_perf_shard *o = &out->shard[i];

		o->timed = minus(b->usage[i], a->usage[i]);
		o->per_second = timed ? pp_perf_rate(out, keyed) * (double)o->timed / (double)timed : 0;
		o->keys = soft(pp_load_rlx(&shard->keys));   /* stat, as the others */
		o->bytes = soft(pp_load_rlx(&shard->bytes));
		o->node = pp_load_rlx(&shard->node);
		o->contention = minus(b->contention[i], a->contention[i]);
		o->read = spread_of(&s->read[i]);
		o->write = spread_of(&s->write[i]);
	}
}

void pp_perf_sampler_take(struct pp_perf_sampler *s, struct pp_perf *out)
{
	struct look swap;

	memset(out, 0, sizeof(*out));
	pp_perf_sampler_look(s);
	look(s, &s->now);
	out->seconds = s->total ? 0 : (double)(s->now.at_ns - s->before.at_ns) / 1e9;
	fill_store(s, out);
	fill_operations(s, out);
	fill_shards(s, out);
	fill_clients(s, out);
	swap = s->before;
	s->before = s->now;
	s->now = swap;
	s->total = false;
	memset(s->read, 0, sizeof(s->read));
	memset(s->write, 0, sizeof(s->write));
}

/* ---- recordings ------------------------------------------------------------------------------------------------- */

static void worse(struct pp_perf_spread *into, const struct pp_perf_spread *s)
{
	uint64_t timed = into->timed + s->timed;

	if (timed)
		into->p50_ns = (uint64_t)(((double)into->p50_ns * (double)into->timed + (double)s->p50_ns * (double)s->timed) / (double)timed);
	into->p99_ns = s->p99_ns > into->p99_ns ? s->p99_ns : into->p99_ns;
	into->max_ns = s->max_ns > into->max_ns ? s->max_ns : into->max_ns;
	into->timed = timed;
}

static void merge_client(struct pp_perf *into, const struct pp_perf_client *c)
{
	struct pp_perf_client *o = NULL;

	for (unsigned i = 0; i < into->clients && !o; i++)
		if (into->client[i].pid == c->pid)
			o = &into->client[i];
	if (!o && into->clients == PP_PERF_CLIENTS)
		return;
	if (!o) {
		into->client[into->clients++] = *c;
		return;
	}
	for (unsigned op = 0; op < PP_OPS; op++)
		o->ops[op] += c->ops[op];
	o->total += c->total;
	o->threads = c->threads;
	worse(&o->read, &c->read);
	worse(&o->write, &c->write);
	worse(&o->wait, &c->wait);
}

static void merge_shard(struct pp_perf_shard *o, const struct pp_perf_shard *s, double before, double more)
{
	if (before + more > 0)
		o->per_second = (o->per_second * before + s->per_second * more) / (before + more);
	o->timed += s->timed;
	o->keys = s->keys;
	o->bytes = s->bytes;
	o->contention += s->contention;
	o->node = s->node;
	worse(&o->read, &s->read);
	worse(&o->write, &s->write);
}

static void add_counters(struct pp_totals *into, const struct pp_totals *t)
{
	uint64_t *sum = (uint64_t *)into;
	const uint64_t *more = (const uint64_t *)t;

	for (size_t i = 0; i < sizeof(*t) / sizeof(*more); i++)
		sum[i] += more[i];
}

void pp_perf_merge(struct pp_perf *into, const struct pp_perf *later)
{
	double before = into->seconds;

	if (!into->at_ms) {
		*into = *later;
		return;
	}
	for (unsigned op = 0; op < PP_OPS; op++) {
		into->ops[op] += later->ops[op];
		pp_hist_add(&into->op[op], &later->op[op]);
	}
	for (unsigned i = 0; i < PP_PERF_PHASES; i++)
		pp_hist_add(&into->phase[i], &later->phase[i]);
	add_counters(&into->count, &later->count);
	pp_hist_add(&into->commit_records, &later->commit_records);
	pp_hist_add(&into->commit_bytes, &later->commit_bytes);
	into->log_records += later->log_records;
	into->log_bytes += later->log_bytes;
	into->log_stalls += later->log_stalls;
	for (unsigned i = 0; i < later->shards; i++)
		merge_shard(&into->shard[i], &later->shard[i], before, later->seconds);
	for (unsigned i = 0; i < later->clients; i++)
		merge_client(into, &later->client[i]);
	into->seconds += later->seconds;
	into->at_ms = later->at_ms;
	into->slots_used = later->slots_used;
	into->clients_attached = later->clients_attached;
	into->memory_bytes = later->memory_bytes;
	into->log_error = later->log_error;
	into->disk_full = later->disk_full;
	into->beat_seconds = later->beat_seconds;
	snprintf(into->state, sizeof(into->state), "%s", later->state);
}

/* ---- life ------------------------------------------------------------------------------------------------------- */

static bool look_alloc(struct look *l, uint32_t slots, uint32_t procs)
{
	l->slot = calloc(slots, sizeof(*l->slot));
	l->proc_ops = calloc(procs, sizeof(*l->proc_ops));
	l->proc_state = calloc(procs, sizeof(*l->proc_state));
	return l->slot && l->proc_ops && l->proc_state;
}

static void look_free(struct look *l)
{
	free(l->slot);
	free(l->proc_ops);
	free(l->proc_state);
}

struct pp_perf_sampler *pp_perf_sampler_open(struct pp_region *r, bool total, uint32_t skip_pid)
{
	struct pp_perf_sampler *s = calloc(1, sizeof(*s));
	uint32_t slots = r->fixed.slots;

	if (!s)
		return NULL;
	s->r = r;
	s->total = total;
	s->skip_pid = skip_pid;
	s->seen = calloc(slots, sizeof(*s->seen));
	s->seen_owner = calloc(slots, sizeof(*s->seen_owner));
	if (!look_alloc(&s->before, slots, r->fixed.procs) || !look_alloc(&s->now, slots, r->fixed.procs) || !s->seen || !s->seen_owner) {
		pp_perf_sampler_close(s);
		return NULL;
	}
	if (total)
		return s; /* the look before is one at nothing */
	look(s, &s->before);
	pp_perf_sampler_look(s);
	memset(s->read, 0, sizeof(s->read)); /* what was remembered is of the past */
	memset(s->write, 0, sizeof(s->write));
	return s;
}

void pp_perf_sampler_close(struct pp_perf_sampler *s)
{
	look_free(&s->before);
	look_free(&s->now);
	free(s->seen);
	free(s->seen_owner);
	free(s);
}
