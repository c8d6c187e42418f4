/*
 * cmd_perf_read.c - reads recordings: lines of JSON as perf_json.c writes them, into the same structs.
 *
 * A recording is a file from anywhere: members may be missing (0 then) and of other types (0 then); what is no JSON, or says that it is no
 * interval, is an error with its line. A last line that is not whole is left out: the recorder was killed in the middle of it.
 *
 * Long recordings: when SERIES_MAX intervals are held, neighbours are added up, and from then on as many for each.
 */
#include "tools/cmd_perf.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SERIES_MAX 512

/* ---- members ---------------------------------------------------------------------------------------------------- */

static uint64_t whole(const json_t *o, const char *key)
{
	json_int_t n = json_integer_value(json_object_get(o, key));

	return n > 0 ? (uint64_t)n : 0;
}

static double real(const json_t *o, const char *key)
{
	return json_number_value(json_object_get(o, key));
}

static void text(const json_t *o, const char *key, char *out, size_t cap)
{
	const char *s = json_string_value(json_object_get(o, key));

	snprintf(out, cap, "%s", s ? s : "");
}

static bool flag(const json_t *o, const char *key)
{
	return json_is_true(json_object_get(o, key));
}

static void get_hist(const json_t *o, struct pp_hist *h)
{
	const json_t *buckets = json_object_get(o, "buckets"), *pair;
	size_t i;

	json_array_foreach(buckets, i, pair) {
		json_int_t floor = json_integer_value(json_array_get(pair, 0)), n = json_integer_value(json_array_get(pair, 1));

		if (floor < 0 || n <= 0)
			continue;
		h->count[pp_hist_bucket((uint64_t)floor)] += (uint64_t)n;
		h->total += (uint64_t)n;
	}
}

static void get_spread(const json_t *o, const char *key, struct pp_perf_spread *s)
{
	const json_t *m = json_object_get(o, key);

	*s = (struct pp_perf_spread){whole(m, "timed"), whole(m, "p50_ns"), whole(m, "p99_ns"), whole(m, "max_ns")};
}

/* ---- an interval ------------------------------------------------------------------------------------------------ */

static void get_store(const json_t *o, struct pp_perf *p)
{
	const json_t *s = json_object_get(o, "store"), *log = json_object_get(o, "log");

	p->at_ms = whole(o, "at_ms");
	p->seconds = real(o, "seconds");
	text(s, "name", p->name, sizeof(p->name));
	text(s, "state", p->state, sizeof(p->state));
	text(s, "pages", p->pages, sizeof(p->pages));
	text(log, "backend", p->backend, sizeof(p->backend));
	p->pid = (uint32_t)whole(s, "pid");
	p->incarnation = whole(s, "incarnation");
	p->beat_seconds = real(s, "beat_seconds");
	p->shards = (uint32_t)whole(s, "shards");
	p->shards = p->shards < PP_SHARDS_MAX ? p->shards : PP_SHARDS_MAX;
	p->strategy = (uint32_t)whole(s, "strategy");
	p->sync_mode = (uint32_t)whole(s, "sync_mode");
	p->nodes = (uint32_t)whole(s, "nodes");
	p->ring_entries = (uint32_t)whole(s, "ring_entries");
	p->slots_used = (uint32_t)whole(s, "slots_used");
	p->clients_attached = (uint32_t)whole(s, "clients_attached");
	p->memory_bytes = whole(s, "memory_bytes");
	p->log_records = whole(log, "records");
	p->log_bytes = whole(log, "bytes");
	p->log_stalls = whole(log, "stalls");
	p->disk_full = flag(log, "disk_full");
	p->log_error = (int)json_integer_value(json_object_get(log, "error"));
}

static void get_operations(const json_t *o, struct pp_perf *p)
{
	const json_t *ops = json_object_get(o, "operations"), *phases = json_object_get(o, "phases"), *commits = json_object_get(o, "commits"),
		     *counters = json_object_get(o, "counters");

	for (unsigned i = 0; i < PP_OPS; i++) {
		const json_t *op = json_object_get(ops, pp_perf_op_names[i]);

		p->ops[i] = p->count.ops[i] = whole(op, "count");
		get_hist(op, &p->op[i]);
	}
	for (unsigned i = 0; i < PP_PERF_PHASES; i++)
		get_hist(json_object_get(phases, pp_perf_phase_names[i]), &p->phase[i]);
	get_hist(json_object_get(commits, "records"), &p->commit_records);
	get_hist(json_object_get(commits, "bytes"), &p->commit_bytes);
	for (size_t i = 0; i < pp_counter_count; i++)
		*(uint64_t *)((char *)&p->count + pp_counter_names[i].offset) = whole(counters, pp_counter_names[i].name);
}

static void get_shards(const json_t *o, struct pp_perf *p, struct pp_perf_pages *pages)
{
	const json_t *list = json_object_get(o, "shards"), *m, *node;
	size_t i, n;

	json_array_foreach(list, i, m) {
		struct pp_perf_shard *s = &p->shard[i];

		if (i >= p->shards)
			break;
		s->per_second = real(m, "per_second");
		s->timed = whole(m, "timed");
		s->keys = whole(m, "keys");
		s->bytes = whole(m, "bytes");
		s->contention = whole(m, "contention");
		s->node = pages->home[i] = (uint32_t)whole(m, "node");
		get_spread(m, "read", &s->read);
		get_spread(m, "write", &s->write);
		json_array_foreach(json_object_get(m, "pages_on_node"), n, node)
			if (n < PP_MAX_NODES)
				pages->on[i][n] = (uint32_t)json_integer_value(node);
	}
	pages->shards = p->shards;
}

static void get_clients(const json_t *o, struct pp_perf *p)
{
	const json_t *list = json_object_get(o, "clients"), *m;
	size_t i;

	json_array_foreach(list, i, m) {
		const json_t *ops = json_object_get(m, "operations");
		struct pp_perf_client *c = &p->client[i];

		if (i >= PP_PERF_CLIENTS)
			break;
		p->clients++;
		c->pid = (uint32_t)whole(m, "pid");
		c->threads = (uint32_t)whole(m, "threads");
		c->readonly = flag(m, "readonly");
		text(m, "name", c->name, sizeof(c->name));
		text(m, "command", c->command, sizeof(c->command));
		for (unsigned op = 0; op < PP_OPS; op++) {
			c->ops[op] = whole(ops, pp_perf_op_names[op]);
			c->total += c->ops[op];
		}
		get_spread(m, "read", &c->read);
		get_spread(m, "write", &c->write);
		get_spread(m, "wait", &c->wait);
	}
}

static void get_pages(const json_t *o, struct pp_perf_pages *pages)
{
	const json_t *m = json_object_get(o, "pages"), *node;
	size_t i;

	pages->nodes = (unsigned)whole(m, "nodes");
	pages->nodes = pages->nodes < PP_MAX_NODES ? pages->nodes : PP_MAX_NODES;
	pages->looked_at = whole(m, "looked_at");
	pages->untold = whole(m, "untold");
	json_array_foreach(json_object_get(m, "index_on_node"), i, node)
		if (i < PP_MAX_NODES)
			pages->other[i] = (uint32_t)json_integer_value(node);
	pages->kernel_page_bytes = whole(m, "kernel_page_bytes");
	pages->mapped_bytes = whole(m, "mapped_bytes");
	pages->huge_bytes = whole(m, "huge_bytes");
}

/* ---- a series --------------------------------------------------------------------------------------------------- */

int pp_perf_series_add(struct pp_perf_series *s, const struct pp_perf *p)
{
	if (!s->point) {
		s->point = calloc(SERIES_MAX, sizeof(*s->point));
		s->stride = 1;
	}
	if (!s->point)
		return -ENOMEM;
	if (s->pending == 0 && s->count == SERIES_MAX) {
		for (unsigned i = 0; i < SERIES_MAX / 2; i++) {
			if (i)
				s->point[i] = s->point[2 * i];
			pp_perf_merge(&s->point[i], &s->point[2 * i + 1]);
		}
		s->count = SERIES_MAX / 2;
		s->stride *= 2;
	}
	if (!s->pending)
		memset(&s->point[s->count++], 0, sizeof(*s->point));
	pp_perf_merge(&s->point[s->count - 1], p);
	s->pending = (s->pending + 1) % s->stride;
	pp_perf_merge(&s->all, p);
	return 0;
}

void pp_perf_series_free(struct pp_perf_series *s)
{
	free(s->point);
}

static int bad_line(const struct pp_cmd *c, const char *file, unsigned line, const char *why)
{
	pp_cmd_note(c, "%s line %u is no interval of ppdb perf --record: %s", file, line, why);
	return PP_EXIT_ERROR;
}

static int add_line(const struct pp_cmd *c, const char *file, unsigned number, const char *line, size_t size, struct pp_perf_series *s)
{
	json_error_t error;
	json_t *o = json_loadb(line, size, 0, &error);
	struct pp_perf *p;
	int rc;

	if (!o)
		return line[size - 1] == '\n' ? bad_line(c, file, number, error.text) : 0;
	if (whole(o, "ppdb_perf") != 1) {
		json_decref(o);
		return bad_line(c, file, number, "it does not say \"ppdb_perf\": 1");
	}
	p = calloc(1, sizeof(*p));
	if (!p) {
		json_decref(o);
		return pp_cmd_fail(c, -ENOMEM, NULL);
	}
	get_store(o, p);
	get_operations(o, p);
	get_clients(o, p);
	if (json_object_get(o, "pages"))
		get_pages(o, &s->pages);
	get_shards(o, p, &s->pages);
	rc = pp_perf_series_add(s, p);
	free(p);
	json_decref(o);
	return rc ? pp_cmd_fail(c, rc, NULL) : 0;
}

int pp_perf_read(const struct pp_cmd *c, const char *file, struct pp_perf_series *s)
{
	FILE *f = strcmp(file, "-") ? fopen(file, "re") : stdin;
	char *line = NULL;
	size_t cap = 0;
	unsigned number = 0;
	ssize_t size;
	int rc = 0;

	if (!f) {
		pp_cmd_note(c, "cannot read %s: %s", file, strerror(errno));
		return PP_EXIT_ERROR;
	}
	while (!rc && (size = getline(&line, &cap, f)) > 0)
		rc = add_line(c, file, ++number, line, (size_t)size, s);
	free(line);
	if (f != stdin)
		fclose(f);
	if (!rc && !s->count) {
		pp_cmd_note(c, "%s holds no whole interval; record one with: ppdb perf --record %s --count 10", file, file);
		return PP_EXIT_ERROR;
	}
	return rc;
}
