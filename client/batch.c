/*
 * batch.c - collecting the writes of a batch, and doing them.
 *
 * Operations are kept in the order of adding, their bytes in one buffer. ppdb_write sorts them by key and merges those of one key
 * into one: the last put or delete, with all conditions; the engine does the rest (engine/batch.c).
 *
 * Dies inside: what is collected is private memory; ppdb_write does all or nothing.
 */
#include "client/writing.h"
#include "engine/key.h"

#include <stdlib.h>

enum kind { PUT, DEL, REQUIRE };

struct op {
	enum kind kind;
	uint32_t table, key_size, flags;
	size_t key, value, size;       /* offsets in bytes */
	uint64_t ttl_ms, version;
	size_t index;                  /* in the order of adding */
};

struct ppdb_batch {
	struct op *ops;
	size_t count, cap;
	uint8_t *bytes;
	size_t used, room;
	uint64_t born;
	const struct pp_region *region; /* of the ppdb_write under way */
};

/* For each merged write the operations that its conditions, and its value, come from. */
struct origin {
	size_t required, flagged, last;
};

struct plan {
	struct pp_write *writes;
	struct origin *from;
	size_t count;
};

PPDB_API int ppdb_batch_new(ppdb *db, ppdb_batch **out)
{
	ppdb_batch *b;

	if (pp_forked(db))
		return pp_detail(PPDB_FORKED, "%s", pp_error_text(PPDB_FORKED));
	b = calloc(1, sizeof(*b));
	if (!b)
		return -ENOMEM;
	*out = b;
	return 0;
}

PPDB_API void ppdb_batch_clear(ppdb_batch *b)
{
	b->count = b->used = 0;
}

PPDB_API void ppdb_batch_free(ppdb_batch *b)
{
	if (!b)
		return;
	free(b->ops);
	free(b->bytes);
	free(b);
}

/* ---- collecting -------------------------------------------------------------------------------------------------- */

static int room_for_bytes(ppdb_batch *b, size_t bytes)
{
	size_t room = b->room ? b->room : 4096;
	uint8_t *more;

	while (room - b->used < bytes)
		room *= 2;
	if (room == b->room)
		return 0;
	more = realloc(b->bytes, room);
	if (!more)
		return -ENOMEM;
	b->bytes = more;
	b->room = room;
	return 0;
}

static int room_for_op(ppdb_batch *b)
{
	size_t cap = b->cap ? b->cap * 2 : 64;
	struct op *more;

	if (b->count < b->cap)
		return 0;
	more = realloc(b->ops, cap * sizeof(*more));
	if (!more)
		return -ENOMEM;
	b->ops = more;
	b->cap = cap;
	return 0;
}

static size_t keep(ppdb_batch *b, const void *data, size_t size)
{
	size_t at = b->used;

	if (size)
		memcpy(b->bytes + at, data, size);
	b->used += size;
	return at;
}

static int collect(ppdb_batch *b, struct op op, ppdb_slice key, ppdb_slice val)
{
	int rc = 0;

	if (op.table >= PP_TABLE_IDS)
		rc = PPDB_TABLE_UNKNOWN; /* of other tables ppdb_write knows */
	else if (key.size - 1 >= PP_KEY_MAX || !key.data)
		rc = PPDB_KEYSIZE;
	if (rc)
		return pp_detail(rc, "%s", pp_error_text(rc));
	rc = pp_args_value(val);
	if (!rc)
		rc = room_for_op(b);
	if (!rc)
		rc = room_for_bytes(b, key.size + val.size);
	if (rc)
		return rc;
	op.key_size = (uint32_t)key.size;
	op.key = keep(b, key.data, key.size);
	op.size = val.size;
	op.value = keep(b, val.data, val.size);
	op.index = b->count;
	b->ops[b->count++] = op;
	return 0;
}

PPDB_API int ppdb_batch_put(ppdb_batch *b, ppdb_table table, ppdb_slice key, ppdb_slice val, const ppdb_wopts *opts)
{
	ppdb_wopts o;
	uint64_t expires;
	int rc = pp_args_copy(&o, sizeof(o), opts, PPDB_IFABSENT | PPDB_IFPRESENT, "options of a put in a batch");

	if (rc)
		return rc;
	rc = pp_args_expires(NULL, PPDB_TABLE_DEFAULT, o.ttl_ms, &expires); /* is there such a time? */
	if (rc)
		return rc;
	if (o.timeout_ms)
		return pp_detail(-EINVAL, "a put in a batch has no time-out of its own; give it to ppdb_write");
	if ((o.flags & PPDB_IFABSENT) && (o.flags & PPDB_IFPRESENT))
		return pp_detail(-EINVAL, "PPDB_IFABSENT and PPDB_IFPRESENT exclude each other");
	return collect(b, (struct op){.kind = PUT, .table = table, .flags = pp_write_conditions(o.flags), .ttl_ms = o.ttl_ms}, key, val);
}

PPDB_API int ppdb_batch_del(ppdb_batch *b, ppdb_table table, ppdb_slice key)
{
	return collect(b, (struct op){.kind = DEL, .table = table}, key, (ppdb_slice){NULL, 0});
}

PPDB_API int ppdb_batch_require(ppdb_batch *b, ppdb_table table, ppdb_slice key, uint64_t version)
{
	return collect(b, (struct op){.kind = REQUIRE, .table = table, .version = version}, key, (ppdb_slice){NULL, 0});
}

/* ---- sorting and merging ----------------------------------------------------------------------------------------- */

static int compare_keys(const ppdb_batch *b, const struct op *x, const struct op *y)
{
	if (x->table != y->table)
		return x->table < y->table ? -1 : 1;
	return pp_bytes_compare(b->bytes + x->key, x->key_size, b->bytes + y->key, y->key_size);
}

static int by_key_and_index(const void *x, const void *y, void *batch)
{
	const struct op *p = *(const struct op *const *)x, *q = *(const struct op *const *)y;
	int c = compare_keys(batch, p, q);

	return c ? c : (p->index > q->index) - (p->index < q->index);
}

/* Adds one operation to the write of its key. PPDB_CONFLICT: it requires another version than one before it. */
static int merge(const ppdb_batch *b, const struct op *op, struct pp_write *w, struct origin *from)
{
	if (op->kind == REQUIRE) {
		if (w->flags & PP_W_CAS && w->expect != op->version) {
			from->required = op->index;
			return PPDB_CONFLICT;
		}
		w->flags |= PP_W_CAS;
		w->expect = op->version;
		from->required = op->index;
		return 0;
	}
	w->flags = (w->flags & ~(uint32_t)(PP_W_DELETE | PP_W_GUARD)) | op->flags | (op->kind == DEL ? PP_W_DELETE : 0);
	if (op->flags)
		from->flagged = op->index;
	from->last = op->index;
	w->value = b->bytes + op->value;
	w->size = op->size;
	if (op->kind == DEL || (!op->ttl_ms && !op->table)) {
		w->expires_ms = 0;
		return 0;
	}
	return pp_args_expires(b->region, op->table, op->ttl_ms, &w->expires_ms);
}

static void begin_write(const ppdb_batch *b, const struct op *op, struct pp_write *w, struct origin *from)
{
	*w = (struct pp_write){.key = {op->table, op->key_size, b->bytes + op->key}, .flags = PP_W_GUARD};
	*from = (struct origin){op->index, op->index, op->index};
}

/* A delete of what must be absent has nothing to do but to keep it so. */
static void end_write(struct pp_write *w)
{
	if (w->flags & PP_W_DELETE && w->flags & PP_W_CAS && !w->expect)
		w->flags = (w->flags & ~(uint32_t)PP_W_DELETE) | PP_W_GUARD;
}

static int merge_all(ppdb_batch *b, const struct op **sorted, struct plan *p, size_t *failed)
{
	for (size_t i = 0; i < b->count; i++) {
		bool first = !i || compare_keys(b, sorted[i - 1], sorted[i]);
		struct pp_write *w;
		int rc;

		if (first) {
			if (p->count)
				end_write(&p->writes[p->count - 1]);
			begin_write(b, sorted[i], &p->writes[p->count], &p->from[p->count]);
			p->count++;
		}
		w = &p->writes[p->count - 1];
		rc = merge(b, sorted[i], w, &p->from[p->count - 1]);
		if (rc) {
			*failed = sorted[i]->index;
			return rc != PPDB_CONFLICT ? rc : pp_detail(rc, "two operations of the batch require two versions of one key");
		}
	}
	if (p->count)
		end_write(&p->writes[p->count - 1]);
	return 0;
}

static int plan(ppdb_batch *b, struct plan *p, size_t *failed)
{
	const struct op **sorted = malloc((b->count + 1) * sizeof(*sorted));
	int rc = -ENOMEM;

	p->count = 0;
	p->writes = malloc((b->count + 1) * sizeof(*p->writes));
	p->from = malloc((b->count + 1) * sizeof(*p->from));
	if (sorted && p->writes && p->from) {
		for (size_t i = 0; i < b->count; i++)
			sorted[i] = &b->ops[i];
		qsort_r(sorted, b->count, sizeof(*sorted), by_key_and_index, b);
		rc = merge_all(b, sorted, p, failed);
	}
	free(sorted);
	return rc;
}

static void plan_free(struct plan *p)
{
	free(p->writes);
	free(p->from);
}

/* The operation that is to blame. */
static size_t culprit(const struct plan *p, size_t write, int rc)
{
	if (write >= p->count)
		return SIZE_MAX;
	switch (rc) {
	case PPDB_CONFLICT:
		return p->from[write].required;
	case PPDB_EXISTS:
	case PPDB_NOTFOUND:
		return p->from[write].flagged;
	case PPDB_TABLE_UNKNOWN:
		return p->from[write].last;
	default:
		return SIZE_MAX;
	}
}

PPDB_API int ppdb_write(ppdb *db, ppdb_batch *b, const ppdb_wopts *opts, ppdb_seq *ticket, size_t *failed)
{
	size_t blamed = SIZE_MAX;
	struct pp_write_call c;
	struct plan p = {0};
	int rc = pp_write_begin(&c, db, opts, PPDB_ASYNC, ticket);

	if (!rc && c.ttl_ms)
		rc = pp_detail(-EINVAL, "times to live belong to the puts of a batch");
	if (!rc) {
		b->region = &c.s->map->region;
		rc = plan(b, &p, &blamed);
	}
	if (!rc && p.count) {
		struct pp_batch_write w = {.writes = p.writes, .count = p.count};

		c.batch = &w;
		rc = pp_write_finish(&c, ticket);
		blamed = culprit(&p, w.failed, rc);
	}
	plan_free(&p);
	if (failed)
		*failed = blamed;
	return rc;
}
