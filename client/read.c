/*
 * read.c - point reads: by copy with the thread's own slot.
 *
 * A read section is open only while the value is copied, so a thread that is stopped outside of a call pins nothing. A value is
 * immutable once committed; the section keeps it allocated. Writes nothing that others read but this slot's interval.
 */
#include "client/internal.h"
#include "shm/probe.h"

static int copy_out(const struct pp_hit *hit, void *buf, size_t cap, size_t *len)
{
	if (len)
		*len = hit->size;
	if (hit->size > cap)
		return -ENOBUFS;
	if (hit->size)
		memcpy(buf, hit->value, hit->size);
	return 0;
}

/* A read section in an arena that is no other's predecessor. */
static int enter(ppdb *db, struct pp_session **s)
{
	int rc = 0;

	pp_read_enter(&(*s)->t);
	/* [client.enter:era] pairs [succeed.void:era]: a successor's first write comes after this read began */
	while (!likely((*s)->t.low != PP_ERA_VOID)) {
		pp_read_leave(&(*s)->t);
		rc = pp_session_slow(db, s);
		if (rc)
			return rc;
		pp_read_enter(&(*s)->t);
	}
	return rc;
}

PPDB_API int ppdb_get(ppdb *db, ppdb_table table, ppdb_slice key, void *buf, size_t cap, size_t *len)
{
	struct pp_session *s;
	struct pp_key k;
	struct pp_hit hit;
	int rc = pp_session_enter(db, &s);

	if (!likely(!rc))
		return rc;
	rc = pp_args_key(&s->map->region, &k, table, key);
	if (!likely(!rc))
		return pp_detail(rc, "%s", pp_error_text(rc));
	rc = enter(db, &s);
	if (!likely(!rc))
		return rc;
	PPDB_PROBE(get_begin, table, key.data, key.size);
	rc = pp_guarded_read(&s->t, &k, PP_LATEST, &hit);
	if (likely(!rc)) {
		pp_session_note(&s->seen, hit.tag);
		rc = copy_out(&hit, buf, cap, len);
	}
	pp_read_leave(&s->t);
	PPDB_PROBE(get_end, rc);
	if (!likely(!pp_evicted(&s->t))) {
		pp_here.db = NULL; /* the next call gets another record first */
		return pp_revoked();
	}
	if (rc == -ENOBUFS)
		return pp_detail(rc, "the value has %llu bytes, the buffer %zu", (unsigned long long)hit.size, cap);
	return rc;
}
