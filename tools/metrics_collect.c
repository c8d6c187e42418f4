/*
 * metrics_collect.c - takes from a store all that the metrics say, so that it can be left before anything is printed (see metrics.h).
 *
 * All loads are of statistics. What names there are, and how many, is up to clients: the lists are cut to PP_METRICS_NAMES, the others are added
 * up. In memory of this process only.
 */
#include "tools/metrics.h"

#include "shm/clock.h"
#include "shm/live.h"
#include "tools/process.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *name_of(const char *const *names, unsigned count, uint64_t i)
{
	return i < count ? names[i] : "unknown";
}

/* Counts that may fall below zero for a moment. */
static uint64_t soft(uint64_t n)
{
	return (int64_t)n < 0 ? 0 : n;
}

/* ---- numbers ---------------------------------------------------------------------------------------------------- */

static void take_store(struct pp_metrics_store *m, const struct pp_region *r)
{
	static const char *const strategies[] = {"single", "range", "hash"}, *const pages[] = {"4k", "thp", "hugetlb"};
	uint64_t beat = pp_load_rlx(&r->header->heartbeat_ns), now = pp_now_ns(); /* stat */

	memcpy(m->name, r->fixed.name, sizeof(m->name) - 1);
	m->strategy = name_of(strategies, 3, r->fixed.strategy);
	m->pages = name_of(pages, 3, r->fixed.page_kind);
	m->sync = r->fixed.sync_mode ? "mutex" : "lockfree";
	m->incarnation = pp_load_rlx(&r->header->incarnation); /* stat */
	m->heartbeat_age = now > beat ? now - beat : 0;
	m->read_only = pp_load_rlx(&r->globals->failed) != 0; /* stat */
	m->client_limit = r->fixed.procs;
	m->slot_limit = r->fixed.slots;
	m->slots_used = m->facts.slots_used;
	m->nodes = r->fixed.nodes;
}

static void take_memory(struct pp_metrics_store *m, const struct pp_region *r)
{
	uint64_t unassigned = pp_load_rlx(&r->globals->free_pages) * PP_PAGE_BYTES; /* stat */

	m->memory_limit = r->fixed.memory_max;
	m->memory_backed = m->facts.backed + m->facts.table_bytes;
	m->memory_available = unassigned + (m->memory_limit > m->memory_backed ? m->memory_limit - m->memory_backed : 0);
	m->memory_tables = m->facts.table_bytes;
	m->memory_huge = pp_load_rlx(&r->globals->huge_segments) * PP_SEGMENT_BYTES; /* stat */
}

static void take_log(struct pp_metrics_store *m, const struct pp_region *r)
{
	const struct pp_engine *e = r->engine;

	/* All loads are of statistics. */
	snprintf(m->backend, sizeof(m->backend), "%.31s", e->wal_backend);
	m->log_disk = pp_load_rlx(&e->wal_disk_bytes);
	m->log_segments = pp_load_rlx(&e->wal_segments);
	m->log_room = pp_load_rlx(&e->wal_free_bytes);
	m->log_written = pp_load_rlx(&e->wal_bytes);
	m->log_writes = pp_load_rlx(&e->wal_units);
	m->log_records = pp_load_rlx(&e->wal_records);
	m->log_commits = pp_load_rlx(&e->wal_epochs);
	m->log_stalls = pp_load_rlx(&e->wal_stalls);
	m->log_p50 = pp_load_rlx(&e->wal_write_p50_ns);
	m->log_p99 = pp_load_rlx(&e->wal_write_p99_ns);
	m->disk_full = pp_load_rlx(&e->wal_full) != 0;
	m->open_epoch = pp_load_rlx(&r->globals->open_epoch);
	m->settled_epoch = pp_load_rlx(&r->globals->settled_epoch);
	m->durable_epoch = pp_load_rlx(&r->globals->durable_epoch);
	m->checkpoint_epoch = pp_load_rlx(&e->checkpoint_epoch);
	m->checkpoint_ms = pp_load_rlx(&e->checkpoint_ms);
	m->checkpoint_failed = pp_load_rlx(&e->checkpoint_error) != 0;
	m->checkpoint_log = pp_load_rlx(&e->checkpoint_behind);
	m->checkpoint_due = pp_load_rlx(&e->checkpoint_due);
}

static void take_rings(struct pp_metrics_store *m, const struct pp_region *r)
{
	m->ring_entries = r->fixed.ring_entries;
	for (uint64_t i = r->fixed.daemon_slots; i < pp_load_rlx(&r->globals->slots_high) && i < r->fixed.slots; i++) { /* stat */
		const struct pp_slot *s = &r->slots[i];
		/* All loads are of statistics. */
		unsigned used = (uint16_t)(pp_tail_index(pp_load_rlx(&s->tail)) - (uint16_t)pp_load_rlx(&s->head));

		if (pp_slot_state(pp_load_rlx(&s->owner)) != PP_SLOT_CLAIMED || used > m->ring_entries)
			continue;
		m->ring_used = used > m->ring_used ? used : m->ring_used;
		m->rings_full += used + used / 8 >= m->ring_entries;
	}
}

static void take_shards(struct pp_metrics_store *m, const struct pp_region *r)
{
	const struct pp_engine *e = r->engine;

	m->shards = r->fixed.shards < PP_SHARDS_MAX ? r->fixed.shards : PP_SHARDS_MAX;
	for (unsigned i = 0; i < m->shards; i++) {
		const struct pp_shard *s = &e->shard[i];

		/* All loads are of statistics. */
		m->shard[i].keys = soft(pp_load_rlx(&s->keys));
		m->shard[i].leaves = soft(pp_load_rlx(&s->leaves));
		m->shard[i].splits = pp_load_rlx(&s->splits);
		m->shard[i].merges = pp_load_rlx(&s->merges);
		m->shard[i].contention = pp_load_rlx(&s->contention);
		m->shard[i].bytes = soft(pp_load_rlx(&s->bytes));
	}
}

/* ---- clients ---------------------------------------------------------------------------------------------------- */

static void add_client(struct pp_metrics_store *m, const struct pp_proc *p, bool readonly)
{
	struct pp_metrics_client *c = m->client;
	/* All loads are of statistics. */
	uint64_t read = pp_load_rlx(&p->interval_ns), snapshot = pp_load_rlx(&p->snapshot_ns);
	char name[33] = "";

	memcpy(name, p->name, sizeof(p->name));
	while (c < m->client + m->client_count && (c->readonly != readonly || strcmp(c->name, name)))
		c++;
	if (c == m->client + m->client_count)
		*(m->client_count++, c) = (struct pp_metrics_client){.readonly = readonly};
	memcpy(c->name, name, sizeof(name));
	c->processes++;
	c->pinned_bytes += pp_load_rlx(&p->pinned_bytes);
	c->read_ns = read > c->read_ns ? read : c->read_ns;
	c->snapshot_ns = snapshot > c->snapshot_ns ? snapshot : c->snapshot_ns;
}

static int by_processes(const void *a, const void *b)
{
	const struct pp_metrics_client *x = a, *y = b;
	int order = (x->processes < y->processes) - (x->processes > y->processes);

	order = order ? order : strcmp(x->name, y->name);
	return order ? order : x->readonly - y->readonly;
}

/* Those beyond the limit become one, or one a kind of access. */
static void cut_clients(struct pp_metrics_store *m)
{
	unsigned all = m->client_count, n = PP_METRICS_NAMES;
	struct pp_metrics_client other[2] = {{.name = PP_METRICS_OTHER}, {.name = PP_METRICS_OTHER, .readonly = true}};

	qsort(m->client, all, sizeof(*m->client), by_processes);
	for (unsigned i = n; i < all; i++) {
		const struct pp_metrics_client *c = &m->client[i];
		struct pp_metrics_client *o = &other[c->readonly];

		o->processes += c->processes;
		o->pinned_bytes += c->pinned_bytes;
		o->read_ns = c->read_ns > o->read_ns ? c->read_ns : o->read_ns;
		o->snapshot_ns = c->snapshot_ns > o->snapshot_ns ? c->snapshot_ns : o->snapshot_ns;
	}
	if (all <= n)
		return;
	m->client_count = n;
	for (unsigned i = 0; i < 2; i++)
		if (other[i].processes)
			m->client[m->client_count++] = other[i];
}

static int take_clients(struct pp_metrics_store *m, const struct pp_region *r)
{
	uint32_t daemon = pp_load_rlx(&r->header->daemon_pid);    /* stat */
	uint64_t start = pp_load_rlx(&r->header->daemon_start), now; /* stat */

	m->told = !pp_proc_start((pid_t)daemon, &now) && now == start;
	m->client = calloc(r->fixed.procs + 2, sizeof(*m->client));
	if (!m->client)
		return -ENOMEM;
	for (uint32_t i = 0; i < r->fixed.procs; i++) {
		const struct pp_proc *p = &r->procs[i];
		/* All loads are of statistics. */
		uint32_t flags = pp_load_rlx(&p->flags), pid = pp_load_rlx(&p->pid);

		if (!pp_load_acq(&p->state) || flags & PP_PROC_DAEMON || pid == (uint32_t)getpid())
			continue;
		add_client(m, p, flags & PP_PROC_READONLY);
		m->evicted += (flags & PP_PROC_EVICTED) != 0;
		if (m->told) {
			enum pp_process_state state = pp_process_state(pid, pp_load_rlx(&p->start));

			m->dead += state == PP_PROCESS_DEAD;
			m->stopped += state == PP_PROCESS_STOPPED;
		}
	}
	cut_clients(m);
	return 0;
}

/* ---- tables and bookmarks --------------------------------------------------------------------------------------- */

static int add_table(void *ctx, const ppdb_table_info *t)
{
	struct pp_metrics_store *m = ctx;
	struct pp_metrics_table *more;

	if (!(m->tables & (m->tables + 1)) || !m->table) { /* room for 2^n - 1, and the others */
		more = realloc(m->table, (2 * m->tables + 3) * sizeof(*more));
		if (!more)
			return -ENOMEM;
		m->table = more;
	}
	more = &m->table[m->tables];
	*more = (struct pp_metrics_table){strdup(t->name), t->keys, t->used_bytes, t->quota_bytes};
	if (!more->name)
		return -ENOMEM;
	m->table_count = (unsigned)++m->tables;
	return 0;
}

static int by_bytes(const void *a, const void *b)
{
	const struct pp_metrics_table *x = a, *y = b;
	int order = (x->used_bytes < y->used_bytes) - (x->used_bytes > y->used_bytes);

	return order ? order : strcmp(x->name, y->name);
}

static int cut_tables(struct pp_metrics_store *m)
{
	struct pp_metrics_table other = {.name = strdup(PP_METRICS_OTHER)};

	if (!other.name)
		return -ENOMEM;
	if (m->table_count)
		qsort(m->table, m->table_count, sizeof(*m->table), by_bytes);
	for (unsigned i = PP_METRICS_NAMES; i < m->table_count; i++) {
		other.keys += m->table[i].keys;
		other.used_bytes += m->table[i].used_bytes;
		free(m->table[i].name);
	}
	if (m->table_count <= PP_METRICS_NAMES) {
		free(other.name);
		return 0;
	}
	m->table_count = PP_METRICS_NAMES + 1;
	m->table[PP_METRICS_NAMES] = other;
	return 0;
}

/* Keeps the ones that are furthest behind. */
static int add_bookmark(void *ctx, const char *name, const struct pp_bookmark *at)
{
	struct pp_metrics_store *m = ctx;
	uint64_t behind = m->durable_epoch > at->epoch ? m->durable_epoch - at->epoch : 0;
	struct pp_metrics_bookmark *least = m->bookmark;
	char *copy = strdup(name);

	if (!copy)
		return -ENOMEM;
	m->bookmarks++;
	if (m->bookmark_count < PP_METRICS_NAMES) {
		m->bookmark[m->bookmark_count++] = (struct pp_metrics_bookmark){copy, behind};
		return 0;
	}
	for (unsigned i = 1; i < PP_METRICS_NAMES; i++)
		if (m->bookmark[i].behind < least->behind)
			least = &m->bookmark[i];
	if (least->behind >= behind) {
		free(copy);
		return 0;
	}
	free(least->name);
	*least = (struct pp_metrics_bookmark){copy, behind};
	return 0;
}

/* The names are keys: reading them takes a client. What cannot be read (a daemon that died just now) is left out. */
static int take_names(struct pp_metrics_store *m, ppdb *db)
{
	int rc;

	if (!db)
		return 0;
	m->bookmark = calloc(PP_METRICS_NAMES, sizeof(*m->bookmark));
	if (!m->bookmark)
		return -ENOMEM;
	rc = ppdb_table_list(db, add_table, m);
	if (!rc)
		rc = cut_tables(m);
	if (!rc)
		rc = pp_look_bookmarks(db, add_bookmark, m);
	m->asked = !rc;
	return rc == -ENOMEM ? rc : 0;
}

int pp_metrics_collect(struct pp_metrics_store *m, const struct pp_look *look, const char *store)
{
	const struct pp_region *r = look->region;
	int rc;

	memset(m, 0, sizeof(*m));
	snprintf(m->store, sizeof(m->store), "%s", store);
	m->up = look->answered && !look->starting;
	m->starting = look->starting;
	if (!r)
		return 0;
	m->seen = true;
	pp_facts_collect(r, &m->facts);
	take_store(m, r);
	take_memory(m, r);
	take_log(m, r);
	take_rings(m, r);
	take_shards(m, r);
	rc = take_clients(m, r);
	if (!rc)
		rc = take_names(m, look->db);
	m->facts.r = NULL;
	m->facts.e = NULL;
	if (rc)
		pp_metrics_free(m);
	return rc;
}

void pp_metrics_free(struct pp_metrics_store *m)
{
	for (unsigned i = 0; i < m->table_count; i++)
		free(m->table[i].name);
	for (unsigned i = 0; i < m->bookmark_count; i++)
		free(m->bookmark[i].name);
	free(m->table);
	free(m->bookmark);
	free(m->client);
	memset(m, 0, sizeof(*m));
}
