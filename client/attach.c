/*
 * attach.c - handles: made at attach, made anew in a forked child, freed at detach.
 *
 * Detach gives back every slot of this handle before it says so to the daemon, which then only has to drain the rings. In a forked
 * child nothing shared is touched: slots and record belong to the parent.
 *
 * Dies inside: the daemon sees the process end and takes back the record and its slots.
 */
#include "client/internal.h"

static int set_name(struct ppdb *db, const char *name)
{
	if (!name)
		name = "default";
	if (!name[0] || strlen(name) >= sizeof(db->name))
		return pp_detail(-EINVAL, "a store's name has 1 to 63 characters, a socket's path at most 107");
	if (!strchr(name, '/') && strlen(name) > 63)
		return pp_detail(-EINVAL, "a store's name has 1 to 63 characters");
	strcpy(db->name, name);
	return 0;
}

static struct ppdb *make(void)
{
	struct ppdb *db = calloc(1, sizeof(*db));

	if (!db)
		return NULL;
	db->id = pp_next_id();
	db->sock = -1;
	pthread_mutex_init(&db->lock, NULL);
	return db;
}

static void release(struct ppdb *db, bool forked)
{
	struct pp_mapping *m;

	pp_sessions_end(db, !forked);
	pp_link_close(db, pp_load_rlx(&db->map) && !forked); /* owner: nobody else uses the handle */
	m = pp_load_rlx(&db->map); /* owner; after the goodbye, which may have moved it to the next arena */
	if (m)
		pp_mapping_put(m);
	free(db);
}

PPDB_API int ppdb_attach(const char *name, const ppdb_attach_opts *opts, ppdb **out)
{
	ppdb_attach_opts o;
	struct ppdb *db;
	int rc = pp_args_copy(&o, sizeof(o), opts, PPDB_RDONLY | PPDB_AUTOSTART | PPDB_POPULATE, "ppdb_attach");

	if (!rc && (!out || o.reserved))
		rc = pp_detail(-EINVAL, !out ? "ppdb_attach: out is NULL" : "ppdb_attach: reserved must be 0");
	if (!rc)
		rc = pp_guard_init();
	if (rc)
		return rc;
	db = make();
	if (!db)
		return pp_detail(-ENOMEM, "out of memory");
	db->born = pp_load_rlx(pp_guard); /* owner: see pp_forked */
	db->flags = o.flags;
	db->readonly = o.flags & PPDB_RDONLY;
	db->populate = o.flags & PPDB_POPULATE;
	db->timeout_ms = o.timeout_ms;
	snprintf(db->client_name, sizeof(db->client_name), "%s", o.client_name ? o.client_name : program_invocation_short_name);
	rc = set_name(db, name);
	if (!rc)
		rc = pp_link_attach(db);
	if (rc) {
		release(db, false);
		return rc;
	}
	*out = db;
	return 0;
}

PPDB_API int ppdb_detach(ppdb *db)
{
	if (!db)
		return 0;
	if (!pp_forked(db) && pp_sessions_views(db))
		return pp_detail(-EBUSY, "%u view(s) of this handle are open: end them first", pp_sessions_views(db));
	release(db, pp_forked(db));
	return 0;
}

PPDB_API int ppdb_reattach_after_fork(ppdb *db)
{
	struct pp_mapping *old;
	uint64_t born = db->born;
	int rc;

	if (!pp_forked(db))
		return 0;
	rc = pp_guard_init();
	if (rc)
		return rc;
	old = pp_load_rlx(&db->map); /* owner: the child's only user of the handle */
	pp_sessions_end(db, false);
	pp_link_close(db, false);
	pthread_mutex_init(&db->lock, NULL);
	pp_store_rlx(&db->map, NULL);
	pp_store_rlx(&db->down_since_ns, 0);
	pp_store_rlx(&db->lost_count, 0);
	if (old)
		pp_mapping_put(old);
	db->id = pp_next_id();
	db->written = db->seen = 0;
	db->born = pp_load_rlx(pp_guard);
	rc = pp_link_attach(db);
	if (rc)
		db->born = born; /* still the parent's: every call goes on saying so */
	return rc;
}

struct pp_region *pp_client_region(ppdb *db)
{
	struct pp_mapping *m = pp_load_acq(&db->map);

	return m ? &m->region : NULL;
}

int pp_client_thread(ppdb *db, struct pp_thread **out)
{
	struct pp_session *s;
	int rc = pp_session_enter(db, &s);

	if (!rc)
		*out = &s->t;
	return rc;
}
