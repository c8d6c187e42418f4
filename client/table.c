/*
 * table.c - named tables: ppdb_table_open, drop, list.
 *
 * The engine does the work (engine/table.c); here are time-outs, restarts of the daemon and waiting for durability, as for every write. A
 * read-only handle finds and lists tables and creates none.
 *
 * Dies inside: see engine/table.c.
 */
#include "client/internal.h"

struct table_call {
	struct ppdb *db;
	struct pp_session *s;
	struct pp_table_wish wish;
	uint64_t tag;
	bool drop;
	uint32_t id;
};

static int set_name(struct pp_table_wish *w, const char *name)
{
	size_t size = name ? strlen(name) : 0;

	if (size < 1 || size > PP_TABLE_NAME_MAX)
		return pp_detail(-EINVAL, "the name of a table has 1 to %d bytes (this one has %zu)", PP_TABLE_NAME_MAX, size);
	w->name = name;
	w->size = (uint32_t)size;
	return 0;
}

static int once(struct table_call *c)
{
	if (c->drop)
		return pp_table_drop(&c->s->t, c->wish.name, c->wish.size, &c->tag);
	return pp_table_open(&c->s->t, &c->wish, &c->id, &c->tag);
}

/* A try that found no room in the log is made again; what is half done then is only an id that is lost. */
static int run(struct table_call *c)
{
	uint64_t limit = 0;
	int rc;

	while (pp_write_may_again(rc = once(c))) {
		if (!limit)
			limit = pp_now_ns() + PP_ROOM_NS;
		if (!pp_write_again(c->db, c->s, limit, &rc))
			break;
	}
	if (rc)
		return rc;
	pp_session_note(&c->s->seen, c->tag);
	pp_session_note(&c->s->written, c->tag);
	return pp_wait_ticket(c->db, c->s, c->tag, UINT64_MAX);
}

/* Reads only; under the guard that reads of such a handle need. */
static int find_readonly(struct table_call *c)
{
	struct pp_key k = {PP_TABLE_CATALOG, c->wish.size, c->wish.name};
	struct pp_table_record rec;
	struct pp_hit hit;
	int rc;

	pp_read_enter(&c->s->t);
	rc = pp_guarded_read(&c->s->t, &k, PP_LATEST, &hit);
	if (!rc && !pp_table_record_of(&hit, &rec))
		rc = PPDB_NOTFOUND;
	pp_read_leave(&c->s->t);
	if (!rc && pp_evicted(&c->s->t))
		rc = pp_revoked();
	if (!rc && !pp_table_usable(&c->s->map->region, rec.id))
		rc = PPDB_NOTFOUND;
	if (!rc && c->wish.exclusive)
		return pp_detail(PPDB_EXISTS, "there is a table '%s' already", c->wish.name);
	if (!rc) {
		c->id = rec.id;
		return pp_wait_ticket(c->db, c->s, hit.tag, UINT64_MAX); /* else it could be given to another after a crash */
	}
	if (rc == PPDB_NOTFOUND && c->wish.create)
		return pp_detail(PPDB_READONLY, "there is no table '%s', and this handle is attached read-only: it can create none", c->wish.name);
	if (rc == PPDB_NOTFOUND)
		return pp_detail(PPDB_TABLE_UNKNOWN, "there is no table '%s'; create it with 'ppdb table create'", c->wish.name);
	return rc;
}

PPDB_API int ppdb_table_open(ppdb *db, const char *name, const ppdb_table_opts *opts, ppdb_table *out)
{
	struct table_call c = {.db = db};
	ppdb_table_opts o;
	uint64_t expires;
	int rc = pp_session_enter(db, &c.s);

	if (!rc)
		rc = pp_args_copy(&o, sizeof(o), opts, PPDB_CREATE | PPDB_EXCLUSIVE | PPDB_CHANGE, "ppdb_table_open");
	if (!rc)
		rc = set_name(&c.wish, name);
	if (!rc && !out)
		rc = pp_detail(-EINVAL, "ppdb_table_open: out is not NULL");
	if (!rc && o.flags & PPDB_EXCLUSIVE && o.flags != (PPDB_CREATE | PPDB_EXCLUSIVE))
		rc = pp_detail(-EINVAL, "PPDB_EXCLUSIVE goes with PPDB_CREATE and nothing else");
	if (!rc && db->readonly && o.flags & PPDB_CHANGE)
		rc = pp_detail(PPDB_READONLY, "this handle is attached read-only: it can change no table");
	if (!rc)
		rc = pp_args_expires(&c.s->map->region, PPDB_TABLE_DEFAULT, o.ttl_ms, &expires);
	if (rc)
		return rc;
	c.wish.create = o.flags & PPDB_CREATE;
	c.wish.exclusive = o.flags & PPDB_EXCLUSIVE;
	c.wish.change = o.flags & PPDB_CHANGE;
	c.wish.quota = o.quota_bytes;
	c.wish.ttl_ms = o.ttl_ms == PPDB_TTL_NEVER ? 0 : o.ttl_ms;
	rc = db->readonly ? find_readonly(&c) : run(&c);
	if (!rc)
		*out = c.id;
	return rc;
}

PPDB_API int ppdb_table_drop(ppdb *db, const char *name)
{
	struct table_call c = {.db = db, .drop = true};
	int rc = pp_session_enter(db, &c.s);

	if (!rc && db->readonly)
		rc = pp_detail(PPDB_READONLY, "%s", pp_error_text(PPDB_READONLY));
	if (!rc)
		rc = set_name(&c.wish, name);
	return rc ? rc : run(&c);
}

/* ---- list */

static bool describe(const struct pp_region *r, const ppdb_item *item, char *name, ppdb_table_info *info)
{
	struct pp_hit hit = {.key = item->key.data, .key_size = (uint32_t)item->key.size, .value = item->value.data, .size = item->value.size};
	struct pp_table_record rec;
	const struct pp_table *e;
	int64_t bytes, keys;

	if (!pp_table_record_of(&hit, &rec) || hit.key_size > PP_TABLE_NAME_MAX || !pp_table_usable(r, rec.id))
		return false;
	e = pp_table_line(r, rec.id);
	memcpy(name, hit.key, hit.key_size);
	name[hit.key_size] = '\0';
	bytes = (int64_t)pp_load_rlx(&e->bytes); /* stat */
	keys = (int64_t)pp_load_rlx(&e->keys);   /* stat */
	*info = (ppdb_table_info){
		.name = name, .table = rec.id, .quota_bytes = rec.quota, .ttl_ms = rec.ttl_ms, .created_ms = rec.created_ms,
		.used_bytes = bytes < 0 ? 0 : (uint64_t)bytes, .keys = keys < 0 ? 0 : (uint64_t)keys,
	};
	return true;
}

/* The callback is called without anything held but the view, whose iterator finds on from the name. */
static int list(ppdb_view *v, ppdb_iter *it, int (*each)(void *ctx, const ppdb_table_info *info), void *ctx)
{
	char name[PP_TABLE_NAME_MAX + 1];
	ppdb_table_info info;
	ppdb_item item;
	int rc;

	while (!(rc = ppdb_iter_next(it, &item))) {
		if (!describe(&v->s->map->region, &item, name, &info) || ppdb_view_check(v))
			continue;
		rc = each(ctx, &info);
		if (rc)
			return rc;
	}
	return rc == PPDB_NOTFOUND ? 0 : rc;
}

PPDB_API int ppdb_table_list(ppdb *db, int (*each)(void *ctx, const ppdb_table_info *info), void *ctx)
{
	ppdb_view *v = NULL;
	ppdb_iter *it = NULL;
	int rc;

	if (!each)
		return pp_detail(-EINVAL, "ppdb_table_list: each is not NULL");
	rc = ppdb_view_begin(db, PPDB_VIEW_LATEST, &v);
	if (!rc)
		rc = pp_iter_open(v, PP_TABLE_CATALOG, NULL, &it);
	if (!rc)
		rc = list(v, it, each, ctx);
	ppdb_iter_close(it);
	ppdb_view_end(v);
	return rc;
}
