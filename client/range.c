/*
 * range.c - deleting a range: what one snapshot sees, batch by batch.
 *
 * Each key is deleted on condition that its version is the snapshot's, so what others write meanwhile stays. A batch that finds a
 * key changed drops it and is tried again.
 *
 * Dies inside: the batches before are done; called again, it deletes what is left.
 */
#include "client/writing.h"

#include <stdlib.h>

#define BATCH_KEYS 1000
#define BATCH_BYTES (UINT64_C(1) << 20)

struct sweep {
	ppdb *db;
	ppdb_table table;
	ppdb_batch *batch;
	ppdb_wopts opts;               /* of each batch but the last */
	ppdb_item item[BATCH_KEYS];    /* keys live as long as the snapshot is held */
	size_t count;
	uint64_t deleted;
	ppdb_seq ticket;
};

static int fill(struct sweep *w)
{
	int rc = 0;

	ppdb_batch_clear(w->batch);
	for (size_t i = 0; i < w->count && !rc; i++) {
		rc = ppdb_batch_require(w->batch, w->table, w->item[i].key, w->item[i].version);
		if (!rc)
			rc = ppdb_batch_del(w->batch, w->table, w->item[i].key);
	}
	return rc;
}

/* Two operations a key. */
static void drop(struct sweep *w, size_t failed)
{
	size_t i = failed / 2;

	if (i < w->count)
		w->item[i] = w->item[--w->count];
}

static int delete_some(struct sweep *w)
{
	ppdb_seq ticket = 0;
	size_t failed;
	int rc;

	do {
		rc = fill(w);
		if (!rc)
			rc = ppdb_write(w->db, w->batch, &w->opts, &ticket, &failed);
		if (rc == PPDB_CONFLICT)
			drop(w, failed);
	} while (rc == PPDB_CONFLICT && w->count);
	if (ticket) {
		w->deleted += w->count;
		w->ticket = ticket;
	}
	w->count = 0;
	return rc == PPDB_CONFLICT ? 0 : rc;
}

static int sweep(struct sweep *w, ppdb_iter *it)
{
	uint64_t bytes = 0;
	int rc = 0;

	while (!rc) {
		int found = ppdb_iter_next(it, &w->item[w->count]);

		if (!found)
			bytes += w->item[w->count++].key.size;
		if (w->count && (found || w->count == BATCH_KEYS || bytes >= BATCH_BYTES)) {
			rc = delete_some(w);
			bytes = 0;
		}
		if (found)
			return rc ? rc : found == PPDB_NOTFOUND ? 0 : found;
	}
	return rc;
}

static int sweep_view(struct sweep *w, const ppdb_iter_opts *range)
{
	ppdb_view *view;
	ppdb_iter *it;
	int rc = ppdb_view_begin(w->db, PPDB_VIEW_FRESH, &view);

	if (rc)
		return rc;
	rc = ppdb_iter_open(view, w->table, range, &it);
	if (!rc) {
		rc = sweep(w, it);
		ppdb_iter_close(it);
	}
	ppdb_view_end(view);
	return rc;
}

PPDB_API int ppdb_del_range(ppdb *db, ppdb_table table, const ppdb_iter_opts *range, const ppdb_wopts *opts, uint64_t *count,
	ppdb_seq *ticket)
{
	struct sweep *w = calloc(1, sizeof(*w));
	struct pp_write_call c;
	int rc = w ? pp_write_begin(&c, db, opts, PPDB_ASYNC, ticket) : -ENOMEM;

	if (count)
		*count = 0;
	if (!rc && c.w.expires_ms)
		rc = pp_detail(-EINVAL, "a delete has no time to live");
	if (!rc) {
		w->db = db;
		w->table = table;
		w->opts = (ppdb_wopts){.size = sizeof(w->opts), .flags = PPDB_ASYNC};
		rc = ppdb_batch_new(db, &w->batch);
	}
	if (!rc) {
		rc = sweep_view(w, range);
		ppdb_batch_free(w->batch);
		if (ticket)
			*ticket = w->ticket;
		if (count)
			*count = w->deleted;
		if (!rc && !c.async && w->ticket)
			rc = ppdb_wait(db, w->ticket, PPDB_DURABLE, c.deadline ? (int64_t)pp_write_left(&c) : -1);
	}
	free(w);
	return rc;
}
