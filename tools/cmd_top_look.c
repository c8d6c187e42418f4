/*
 * cmd_top_look.c - one look at the region for `ppdb top`, and what has happened since the look before.
 *
 * Cheap, since it runs each second: only slots that are claimed, of these only histogram rows of operations that were done; /proc is asked for a
 * client only when it has done nothing since the last look. Reads nothing but statistics.
 */
#include "tools/cmd_top.h"

#include "engine/stat.h"
#include "tools/process.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SILENT_NS UINT64_C(1000000000) /* the daemon's heart beats each 100 ms */
#define RETRY_NS UINT64_C(2000000000)

const char *const pp_top_state_names[] = {"", "in write", "log space", "ring full", "waits", "evicted", "STOPPED", "DEAD"};

/* ---- processes ---- */

static enum pp_top_state process_state(uint32_t pid, uint64_t start)
{
	static const enum pp_top_state as[] = {PP_TOP_RUNS, PP_TOP_STOPPED, PP_TOP_DEAD};

	return as[pp_process_state(pid, start)];
}

/* ---- slots ---- */

static void add_hist(struct pp_hist hist[PP_OPS], const struct pp_slot *s)
{
	for (unsigned op = 0; op < PP_OPS; op++)
		if (pp_load_rlx(&s->count.ops[op])) /* stat */
			pp_hist_merge(&hist[op], s->hist[op]);
}

static struct pp_top_client *client_of(struct pp_top *t, uint64_t owner)
{
	uint32_t proc = pp_slot_proc(owner);

	return proc < t->procs ? &t->client[proc] : NULL;
}

/* What the thread of a slot does, when it has not moved since the last look. */
static enum pp_top_state slot_state(const struct pp_top *t, const struct pp_top_slot *a, const struct pp_top_slot *b, uint64_t head)
{
	unsigned used = (uint16_t)(pp_tail_index(b->tail) - (uint16_t)head), entries = t->r->fixed.ring_entries;

	if (a->owner != b->owner || a->tail != b->tail)
		return PP_TOP_RUNS;
	if (b->op && a->op == b->op && a->block == b->block)
		return PP_TOP_IN_WRITE;
	if (b->want && a->want == b->want)
		return PP_TOP_LOG_SPACE;
	if (used + used / 8 >= entries)
		return PP_TOP_RING_FULL;
	return b->wait && a->wait == b->wait ? PP_TOP_WAITS : PP_TOP_RUNS;
}

static void look_at_slot(struct pp_top *t, struct pp_top_look *l, unsigned i)
{
	const struct pp_slot *s = &t->r->slots[i];
	/* All loads are of statistics. */
	struct pp_top_slot now = {pp_load_rlx(&s->owner), pp_load_rlx(&s->op_version), pp_load_rlx(&s->op_block), pp_load_rlx(&s->tail),
		pp_load_rlx(&s->credit_want), pp_load_rlx(&s->wait_epoch)};
	struct pp_top_client *c = client_of(t, now.owner);
	enum pp_top_state state;

	if (pp_slot_state(now.owner) == PP_SLOT_FREE) {
		t->slot[i] = now;
		return;
	}
	pp_totals_add(&l->totals, &s->count);
	add_hist(l->hist, s);
	for (unsigned k = 0; k < t->r->fixed.shards && k < PP_USAGE; k++)
		l->usage[k] += pp_load_rlx(&s->usage[k]);
	state = slot_state(t, &t->slot[i], &now, pp_load_rlx(&s->head));
	t->slot[i] = now;
	t->slots_used++;
	if (!c)
		return;
	for (unsigned op = 0; op < PP_OPS; op++)
		c->ops[op] += pp_load_rlx(&s->count.ops[op]);
	if (state > c->state)
		c->state = state;
}

/* ---- clients ---- */

static bool is_client(const struct pp_proc *p, uint64_t *generation)
{
	*generation = pp_load_acq(&p->state);
	return *generation && !(pp_load_rlx(&p->flags) & PP_PROC_DAEMON) && pp_load_rlx(&p->pid) != (uint32_t)getpid(); /* stat */
}

/* Before the slots are looked at. */
static void begin_client(struct pp_top_client *c, const struct pp_proc *p)
{
	uint64_t generation;
	bool here = is_client(p, &generation);

	if (!here) {
		c->generation = 0;
		return;
	}
	c->fresh = c->generation != generation;
	if (c->fresh) {
		memset(c, 0, sizeof(*c));
		c->fresh = true;
		c->generation = generation;
		c->pid = pp_load_rlx(&p->pid);     /* stat */
		c->start = pp_load_rlx(&p->start); /* stat */
		memcpy(c->name, p->name, sizeof(p->name));
		pp_process_printable(c->name);
		pp_process_command(c->pid, c->command, sizeof(c->command));
	}
	memcpy(c->before, c->ops, sizeof(c->ops));
	memset(c->ops, 0, sizeof(c->ops));
	c->state = PP_TOP_RUNS;
}

static double moved(const struct pp_top *t, const struct pp_top_client *c, enum pp_op op)
{
	return c->fresh ? 0 : pp_top_rate(t, c->ops[op], c->before[op]);
}

static void end_client(struct pp_top *t, struct pp_top_client *c, const struct pp_proc *p, uint64_t now)
{
	enum pp_top_state state;

	if (!c->generation)
		return;
	t->clients++;
	/* All loads are of statistics. */
	c->flags = pp_load_rlx(&p->flags);
	c->slots = pp_load_rlx(&p->slots_used);
	c->held_ns = pp_load_rlx(&p->interval_ns);
	c->snapshot_ns = pp_load_rlx(&p->snapshot_ns);
	c->pinned_bytes = pp_load_rlx(&p->pinned_bytes);
	c->age_ns = now > c->generation ? now - c->generation : 0;
	for (unsigned op = 0; op < PP_OPS && c->flags & PP_PROC_READONLY; op++)
		c->ops[op] = pp_load_rlx(&p->ops[op]); /* its slots are the daemon's to see, which sums them up */
	c->reads = moved(t, c, PP_OP_GET) + moved(t, c, PP_OP_SCAN);
	c->writes = moved(t, c, PP_OP_PUT) + moved(t, c, PP_OP_DEL) + moved(t, c, PP_OP_CAS) + moved(t, c, PP_OP_ADD) + moved(t, c, PP_OP_BATCH);
	c->all = c->reads + c->writes;
	if (c->flags & PP_PROC_EVICTED)
		c->state = PP_TOP_EVICTED;
	state = c->all > 0 ? PP_TOP_RUNS : process_state(c->pid, c->start);
	if (state > c->state)
		c->state = state;
}

/* ---- the store ---- */

static void look_at_log(struct pp_top_look *l, const struct pp_region *r, const struct pp_engine *e)
{
	/* All loads are of statistics. */
	l->open_epoch = pp_load_rlx(&r->globals->open_epoch);
	l->durable_epoch = pp_load_rlx(&r->globals->durable_epoch);
	l->wal_bytes = pp_load_rlx(&e->wal_bytes);
	l->wal_records = pp_load_rlx(&e->wal_records);
	pp_hist_merge64(&l->write_hist, e->write_ns);
	pp_hist_merge64(&l->commit_hist, e->commit_records);
}

static void look_at_shards(struct pp_top *t, struct pp_top_look *l, const struct pp_engine *e)
{
	t->keys = 0;
	/* All loads are of statistics. */
	for (unsigned i = 0; i < t->r->fixed.shards && i < PP_USAGE; i++) {
		uint64_t keys = pp_load_rlx(&e->shard[i].keys);

		t->keys += (int64_t)keys > 0 ? keys : 0;
		l->contention[i] = pp_load_rlx(&e->shard[i].contention);
		l->usage[i] += pp_load_rlx(&e->retired.usage[i]) + pp_load_rlx(&e->readers.usage[i]);
	}
}

static void look_at_daemon(struct pp_top *t, uint64_t now)
{
	const struct pp_header *h = t->r->header;
	uint64_t beat = pp_load_rlx(&h->heartbeat_ns); /* stat, as all of these */

	t->daemon_pid = pp_load_rlx(&h->daemon_pid);
	t->silent_ns = now > beat ? now - beat : 0;
	t->daemon = t->silent_ns > SILENT_NS ? process_state(t->daemon_pid, pp_load_rlx(&h->daemon_start)) : PP_TOP_RUNS;
	t->backed = pp_load_rlx(&t->r->globals->committed_segments) * PP_SEGMENT_BYTES - pp_load_rlx(&t->r->globals->holes) * PP_PAGE_BYTES +
		t->r->segments_at;
	t->free_bytes = pp_load_rlx(&t->r->globals->free_pages) * PP_PAGE_BYTES;
}

/* ---- which region ---- */

static bool use_region(struct pp_top *t, struct pp_region *r)
{
	free(t->client);
	free(t->slot);
	t->r = r;
	t->procs = r->fixed.procs;
	t->slots = r->fixed.slots;
	t->looks = 0;
	t->client = calloc(t->procs, sizeof(*t->client));
	t->slot = calloc(t->slots, sizeof(*t->slot));
	return t->client && t->slot;
}

/* The library finds the next daemon and its arena. Without a daemon at the start there is no handle yet: a new one may answer by now. */
static struct pp_region *find_region(struct pp_top *t, uint64_t now)
{
	ppdb_attach_opts o = {.size = sizeof(o), .flags = PPDB_RDONLY, .client_name = "ppdb top"};
	ppdb *db;

	if (!t->live.db && t->silent_ns > SILENT_NS && t->daemon == PP_TOP_DEAD && now - t->retried_ns > RETRY_NS) {
		t->retried_ns = now;
		if (!ppdb_attach(t->c->store, &o, &db)) {
			pp_live_close(&t->live);
			t->live.db = db;
			t->r = NULL;
		}
	}
	if (t->live.db)
		pp_link_poll(t->live.db, false);
	return t->live.db ? pp_client_region(t->live.db) : t->live.region;
}

bool pp_top_take(struct pp_top *t)
{
	uint64_t now = pp_now_ns(), high;
	struct pp_region *r = find_region(t, now);
	struct pp_top_look *l;

	/* The old one's mapping is gone when it is another one: its address says nothing. */
	if (r != t->r && !use_region(t, r))
		return false;
	t->newest = !t->newest;
	l = &t->look[t->newest];
	memset(l, 0, sizeof(*l));
	l->at_ns = now;
	t->looks++;
	t->seconds = t->looks > 1 ? (double)(now - pp_top_before(t)->at_ns) / 1e9 : 0;
	t->clients = t->slots_used = 0;
	const struct pp_engine *e = r->engine;
	for (uint32_t i = 0; i < t->procs; i++)
		begin_client(&t->client[i], &r->procs[i]);
	pp_totals_add(&l->totals, &e->retired.count);
	pp_totals_add(&l->totals, &e->readers.count);
	for (unsigned op = 0; op < PP_OPS; op++) {
		pp_hist_merge64(&l->hist[op], e->retired.hist[op]);
		pp_hist_merge64(&l->hist[op], e->readers.hist[op]);
	}
	high = pp_load_acq(&r->globals->slots_high);
	for (unsigned i = 0; i < t->slots && i < high; i++)
		look_at_slot(t, l, i);
	pp_totals_complete(&l->totals);
	for (uint32_t i = 0; i < t->procs; i++)
		end_client(t, &t->client[i], &r->procs[i], now);
	look_at_log(l, r, e);
	look_at_shards(t, l, e);
	look_at_daemon(t, now);
	return true;
}

void pp_top_free(struct pp_top *t)
{
	free(t->client);
	free(t->slot);
	pp_live_close(&t->live);
}

void pp_top_hist_since(const struct pp_hist *now, const struct pp_hist *before, struct pp_hist *out)
{
	out->total = 0;
	for (unsigned i = 0; i < PP_HIST_BUCKETS; i++) {
		out->count[i] = now->count[i] > before->count[i] ? now->count[i] - before->count[i] : 0;
		out->total += out->count[i];
	}
}
