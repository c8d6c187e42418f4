/*
 * read.c - point reads: by copy with the thread's own slot.
 *
 * A read section is open only while the value is copied, so a thread that is stopped outside of a call pins nothing. A value is
 * immutable once committed; the section keeps it allocated. Writes nothing that others read but this slot's interval.
 */
#include "client/internal.h"

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

PPDB_API int ppdb_get(ppdb *db, ppdb_table table, ppdb_slice key, void *buf, size_t cap, size_t *len)
{
	struct pp_session *s;
	struct pp_key k;
	struct pp_hit hit;
	int rc = pp_session_enter(db, &s);

	if (!likely(!rc))
		return rc;
	rc = pp_args_key(&k, table, key);
	if (!likely(!rc))
		return pp_detail(rc, "%s", pp_error_text(rc));
	pp_read_enter(&s->t);
	rc = pp_read(&s->t, &k, PP_LATEST, &hit);
	if (likely(!rc)) {
		pp_session_note(&s->seen, hit.tag);
		rc = copy_out(&hit, buf, cap, len);
	}
	pp_read_leave(&s->t);
	if (s->t.readonly && pp_mapping_evicted(s->map))
		return pp_detail(PPDB_EVICTED, "ppdbd revoked this read-only client's memory; attach again");
	if (rc == -ENOBUFS)
		return pp_detail(rc, "the value has %llu bytes, the buffer %zu", (unsigned long long)hit.size, cap);
	return rc;
}
