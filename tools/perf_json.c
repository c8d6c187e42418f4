/*
 * perf_json.c - writes an interval as one line of JSON. cmd_perf_read.c reads it again: a member that is added here is added there.
 *
 * Histograms are written whole, as pairs of a bucket's smallest value and its count, so that intervals of a recording can be added up.
 */
#include "tools/perf_json.h"

#include "tools/text_json.h"

static void put_hist(struct pp_json *j, const struct pp_hist *h, const char *unit)
{
	static const struct { const char *name; double fraction; } part[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}, {"p9999", 0.9999}};
	char key[24];

	for (unsigned i = 0; i < sizeof(part) / sizeof(*part); i++) {
		snprintf(key, sizeof(key), "%s%s", part[i].name, unit);
		pp_json_u64(j, key, pp_hist_percentile_ns(h, part[i].fraction));
	}
	snprintf(key, sizeof(key), "max%s", unit);
	pp_json_u64(j, key, pp_hist_max_ns(h));
	pp_json_open(j, "buckets", '[');
	for (unsigned i = 0; i < PP_HIST_BUCKETS; i++) {
		if (!h->count[i])
			continue;
		pp_json_open(j, NULL, '[');
		pp_json_u64(j, NULL, pp_hist_floor_ns(i));
		pp_json_u64(j, NULL, h->count[i]);
		pp_json_close(j, ']');
	}
	pp_json_close(j, ']');
}

static void put_spread(struct pp_json *j, const char *key, const struct pp_perf_spread *s)
{
	pp_json_open(j, key, '{');
	pp_json_u64(j, "timed", s->timed);
	pp_json_u64(j, "p50_ns", s->p50_ns);
	pp_json_u64(j, "p99_ns", s->p99_ns);
	pp_json_u64(j, "max_ns", s->max_ns);
	pp_json_close(j, '}');
}

static void put_store(struct pp_json *j, const struct pp_perf *p)
{
	pp_json_u64(j, "at_ms", p->at_ms);
	pp_json_real(j, "seconds", p->seconds);
	pp_json_open(j, "store", '{');
	pp_json_text(j, "name", p->name);
	pp_json_u64(j, "pid", p->pid);
	pp_json_text(j, "state", p->state);
	pp_json_u64(j, "incarnation", p->incarnation);
	pp_json_real(j, "beat_seconds", p->beat_seconds);
	pp_json_u64(j, "shards", p->shards);
	pp_json_u64(j, "strategy", p->strategy);
	pp_json_u64(j, "sync_mode", p->sync_mode);
	pp_json_u64(j, "nodes", p->nodes);
	pp_json_u64(j, "ring_entries", p->ring_entries);
	pp_json_u64(j, "slots_used", p->slots_used);
	pp_json_u64(j, "clients_attached", p->clients_attached);
	pp_json_text(j, "pages", p->pages);
	pp_json_u64(j, "memory_bytes", p->memory_bytes);
	pp_json_close(j, '}');
}

static void put_operations(struct pp_json *j, const struct pp_perf *p)
{
	pp_json_open(j, "operations", '{');
	for (unsigned i = 0; i < PP_OPS; i++) {
		pp_json_open(j, pp_perf_op_names[i], '{');
		pp_json_u64(j, "count", p->ops[i]);
		pp_json_real(j, "per_second", pp_perf_rate(p, p->ops[i]));
		pp_json_u64(j, "timed", p->op[i].total);
		put_hist(j, &p->op[i], "_ns");
		pp_json_close(j, '}');
	}
	pp_json_close(j, '}');
	pp_json_open(j, "phases", '{');
	for (unsigned i = 0; i < PP_PERF_PHASES; i++) {
		pp_json_open(j, pp_perf_phase_names[i], '{');
		pp_json_u64(j, "timed", p->phase[i].total);
		put_hist(j, &p->phase[i], "_ns");
		pp_json_close(j, '}');
	}
	pp_json_close(j, '}');
}

static void put_commits(struct pp_json *j, const struct pp_perf *p)
{
	uint64_t n = p->commit_records.total;

	pp_json_open(j, "commits", '{');
	pp_json_u64(j, "count", n);
	pp_json_real(j, "per_second", pp_perf_rate(p, n));
	pp_json_real(j, "waits_each", n ? (double)p->op[PP_OP_WAIT].total / (double)n : 0);
	pp_json_open(j, "records", '{');
	put_hist(j, &p->commit_records, "");
	pp_json_close(j, '}');
	pp_json_open(j, "bytes", '{');
	put_hist(j, &p->commit_bytes, "");
	pp_json_close(j, '}');
	pp_json_close(j, '}');
	pp_json_open(j, "log", '{');
	pp_json_text(j, "backend", p->backend);
	pp_json_u64(j, "records", p->log_records);
	pp_json_u64(j, "bytes", p->log_bytes);
	pp_json_u64(j, "stalls", p->log_stalls);
	pp_json_bool(j, "disk_full", p->disk_full);
	pp_json_i64(j, "error", p->log_error);
	pp_json_close(j, '}');
}

static void put_counters(struct pp_json *j, const struct pp_perf *p)
{
	uint64_t looks = p->count.hint_hits + p->count.hint_misses;

	pp_json_open(j, "reads", '{');
	pp_json_real(j, "hint_hit_rate", looks ? (double)p->count.hint_hits / (double)looks : 1);
	pp_json_real(j, "blocks_a_get", p->ops[PP_OP_GET] ? (double)p->count.read_blocks / (double)p->ops[PP_OP_GET] : 0);
	pp_json_close(j, '}');
	pp_json_open(j, "counters", '{');
	for (size_t i = 0; i < pp_counter_count; i++)
		pp_json_u64(j, pp_counter_names[i].name, pp_total_of(&p->count, &pp_counter_names[i]));
	pp_json_close(j, '}');
}

static void put_shards(struct pp_json *j, const struct pp_perf *p, const struct pp_perf_pages *pages)
{
	pp_json_open(j, "shards", '[');
	for (unsigned i = 0; i < p->shards; i++) {
		const struct pp_perf_shard *s = &p->shard[i];

		pp_json_open(j, NULL, '{');
		pp_json_real(j, "per_second", s->per_second);
		pp_json_u64(j, "timed", s->timed);
		pp_json_u64(j, "keys", s->keys);
		pp_json_u64(j, "bytes", s->bytes);
		pp_json_u64(j, "contention", s->contention);
		pp_json_u64(j, "node", s->node);
		put_spread(j, "read", &s->read);
		put_spread(j, "write", &s->write);
		if (pages && pages->nodes > 1 && i < pages->shards) {
			pp_json_open(j, "pages_on_node", '[');
			for (unsigned n = 0; n < pages->nodes; n++)
				pp_json_u64(j, NULL, pages->on[i][n]);
			pp_json_close(j, ']');
		}
		pp_json_close(j, '}');
	}
	pp_json_close(j, ']');
}

static void put_clients(struct pp_json *j, const struct pp_perf *p)
{
	pp_json_open(j, "clients", '[');
	for (unsigned i = 0; i < p->clients; i++) {
		const struct pp_perf_client *c = &p->client[i];

		pp_json_open(j, NULL, '{');
		pp_json_u64(j, "pid", c->pid);
		pp_json_text(j, "command", c->command);
		pp_json_text(j, "name", c->name);
		pp_json_bool(j, "readonly", c->readonly);
		pp_json_u64(j, "threads", c->threads);
		pp_json_real(j, "per_second", pp_perf_rate(p, c->total));
		pp_json_open(j, "operations", '{');
		for (unsigned op = 0; op < PP_OPS; op++)
			if (c->ops[op])
				pp_json_u64(j, pp_perf_op_names[op], c->ops[op]);
		pp_json_close(j, '}');
		put_spread(j, "read", &c->read);
		put_spread(j, "write", &c->write);
		put_spread(j, "wait", &c->wait);
		pp_json_close(j, '}');
	}
	pp_json_close(j, ']');
}

static void put_pages(struct pp_json *j, const struct pp_perf_pages *p)
{
	uint64_t known, away = pp_perf_pages_away(p, &known);

	pp_json_open(j, "pages", '{');
	pp_json_u64(j, "nodes", p->nodes);
	pp_json_u64(j, "looked_at", p->looked_at);
	pp_json_u64(j, "untold", p->untold);
	pp_json_open(j, "index_on_node", '[');
	for (unsigned n = 0; n < p->nodes; n++)
		pp_json_u64(j, NULL, p->other[n]);
	pp_json_close(j, ']');
	pp_json_u64(j, "away_from_home", away);
	pp_json_u64(j, "kernel_page_bytes", p->kernel_page_bytes);
	pp_json_u64(j, "mapped_bytes", p->mapped_bytes);
	pp_json_u64(j, "huge_bytes", p->huge_bytes);
	pp_json_close(j, '}');
}

void pp_perf_json_write(FILE *to, const struct pp_perf *p, const struct pp_perf_pages *pages)
{
	struct pp_json j = {.out = to};
	struct pp_advice advice[PP_ADVICE_MAX];
	unsigned n = pp_perf_advise(p, pages, advice);

	pp_json_open(&j, NULL, '{');
	pp_json_u64(&j, "ppdb_perf", 1);
	put_store(&j, p);
	put_operations(&j, p);
	put_commits(&j, p);
	put_counters(&j, p);
	put_shards(&j, p, pages);
	put_clients(&j, p);
	if (pages)
		put_pages(&j, pages);
	pp_json_open(&j, "advice", '[');
	for (unsigned i = 0; i < n; i++) {
		pp_json_open(&j, NULL, '{');
		pp_json_text(&j, "rule", advice[i].rule);
		pp_json_text(&j, "sentence", advice[i].text);
		pp_json_close(&j, '}');
	}
	pp_json_close(&j, ']');
	pp_json_close(&j, '}');
}
