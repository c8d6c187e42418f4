/*
 * cmd_tune_profile.c - what `ppdb tune` tunes for: sizes, mix and clients of a store that runs, from its counters and a sample of its records, as far as
 * options do not say otherwise; without a store, assumptions that the config names.
 */
#include "tools/cmd_tune.h"
#include "tools/facts.h"

#define SAMPLE_FIRST 2000u
#define SEEKS 64u
#define AFTER_SEEK 16u
#define SCAN_MOVES 50u                 /* moves of an iterator that count as one scan */

struct sample {
	uint64_t records, key_bytes, value_bytes;
	ppdb_table biggest;
	uint64_t biggest_keys;
};

static int note_table(void *ctx, const ppdb_table_info *info)
{
	struct sample *s = ctx;

	if (info->keys > s->biggest_keys) {
		s->biggest = info->table;
		s->biggest_keys = info->keys;
	}
	return 0;
}

static void take(struct sample *s, ppdb_iter *iter, ppdb_item *item, int rc, unsigned most)
{
	for (unsigned i = 0; !rc && i < most; i++) {
		s->records++;
		s->key_bytes += item->key.size;
		s->value_bytes += item->value.size;
		rc = ppdb_iter_next(iter, item);
	}
}

/* The first records, and some behind keys all over the place. */
static void sample_table(struct sample *s, ppdb_view *view, ppdb_table table)
{
	uint64_t random = 1;
	ppdb_iter *iter;
	ppdb_item first, last, item;

	if (ppdb_iter_open(view, table, NULL, &iter))
		return;
	if (!ppdb_iter_first(iter, &first)) {
		item = first;
		take(s, iter, &item, 0, SAMPLE_FIRST);
		for (unsigned i = 0; i < SEEKS && !ppdb_iter_last(iter, &last); i++) {
			uint8_t key[64];
			size_t n = last.key.size < sizeof(key) ? last.key.size : sizeof(key), same = 0;

			/* behind what the first and the last key begin with alike, anything */
			memcpy(key, last.key.data, n);
			while (same < n && same < first.key.size && key[same] == ((const uint8_t *)first.key.data)[same])
				same++;
			for (size_t k = same; k < n; k++)
				key[k] = (uint8_t)(k == same ? pp_random_below(&random, key[k] + 1u) : pp_random(&random));
			take(s, iter, &item, ppdb_iter_seek(iter, (ppdb_slice){key, n}, &item), AFTER_SEEK);
		}
	}
	ppdb_iter_close(iter);
}

static void sample_records(struct pp_tune_profile *p, ppdb *db)
{
	struct sample s = {0};
	ppdb_view *view;

	ppdb_table_list(db, note_table, &s);
	if (ppdb_view_begin(db, PPDB_VIEW_LATEST, &view))
		return;
	sample_table(&s, view, PPDB_TABLE_DEFAULT);
	if (s.biggest_keys)
		sample_table(&s, view, s.biggest);
	ppdb_view_end(view);
	p->sampled = s.records;
	if (!s.records)
		return;
	p->key_bytes = (size_t)((s.key_bytes + s.records / 2) / s.records);
	p->value_bytes = (size_t)((s.value_bytes + s.records / 2) / s.records);
}

static void set_mix(struct pp_tune_profile *p, double reads, double writes, double scans)
{
	double sum = reads + writes + scans;

	if (sum < 100)
		return; /* nothing has been done yet */
	p->writes = (unsigned)(100 * writes / sum + 0.5);
	p->scans = (unsigned)(100 * scans / sum + 0.5);
	p->reads = 100 - p->writes - p->scans;
}

static void read_counters(struct pp_tune_profile *p, const struct pp_region *r)
{
	static struct pp_facts f;
	const uint64_t *ops = f.totals.ops;

	pp_facts_collect(r, &f);
	p->keys = (int64_t)f.keys > 0 ? f.keys : 0;
	p->memory = r->fixed.memory_max;
	p->backed = f.backed;
	p->slots = r->fixed.slots;
	p->slots_used = f.slots_used;
	p->clients = f.procs_used > 1 ? f.procs_used - 1 : p->clients; /* this one is no client */
	set_mix(p, (double)ops[PP_OP_GET], (double)(ops[PP_OP_PUT] + ops[PP_OP_DEL] + ops[PP_OP_CAS] + ops[PP_OP_ADD] + ops[PP_OP_BATCH]),
		(double)ops[PP_OP_SCAN] / SCAN_MOVES);
}

static bool answers(const struct pp_cmd *c)
{
	char *status = NULL;
	int rc = pp_cmd_status_text(c, 2000, &status);

	free(status);
	return !rc;
}

int pp_tune_profile(struct pp_tune *t, bool must_run)
{
	struct pp_tune_profile *p = &t->p;
	ppdb *db;
	int rc;

	*p = (struct pp_tune_profile){.keys = 1000000, .key_bytes = 16, .value_bytes = 100, .reads = 70, .writes = 25, .scans = 5, .clients = 8};
	if (!answers(t->c))
		return must_run ? pp_cmd_fail(t->c, PPDB_DAEMON_GONE, NULL) : 0;
	rc = pp_cmd_attach(t->c, PPDB_RDONLY, &db);
	if (rc)
		return rc;
	p->store = true;
	read_counters(p, pp_client_region(db));
	sample_records(p, db);
	ppdb_detach(db);
	return 0;
}
