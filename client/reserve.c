/*
 * reserve.c - ppdb_reserve, publish, cancel: values that the program fills in shared memory.
 *
 * A reservation belongs to the session of the thread that made it. It ends with that session's slot: at the end of the thread, at a detach, when the
 * handle moves to another arena. Its mapping stays until ppdb_publish or ppdb_cancel, so a program that fills it meanwhile does no harm.
 *
 * Dies inside: see engine/reserve.c.
 */
#include "client/writing.h"

#include "engine/reserve.h"

struct ppdb_reservation {
	struct ppdb *db;
	struct pp_session *s;          /* NULL: it is void */
	struct pp_mapping *map;
	uint64_t born;                 /* fork guard when it was made */
	struct ppdb_reservation *next, **link; /* on the session's list, while it is not void */
	pp_ref block;
	ppdb_table table;
	size_t size;
	uint32_t key_size;
	uint8_t key[];
};

bool pp_reservation_holds(const struct ppdb_reservation *r)
{
	return r->s != NULL;
}

static void unlink_one(struct ppdb_reservation *r)
{
	*r->link = r->next;
	if (r->next)
		r->next->link = r->link;
	r->s = NULL;
}

void pp_reservation_used(struct ppdb_reservation *r)
{
	pp_reserve_done(&r->s->t, r->block);
	unlink_one(r);
}

void pp_reservations_end(struct pp_session *s, bool leave)
{
	while (s->reservations) {
		struct ppdb_reservation *r = s->reservations;

		if (leave)
			pp_reserve_cancel(&s->t, r->block);
		unlink_one(r);
	}
}

static int make(struct pp_session *s, ppdb *db, ppdb_table table, ppdb_slice key, size_t size, ppdb_reservation **out, void **data)
{
	struct ppdb_reservation *r = malloc(sizeof(*r) + key.size);
	int rc;

	if (!r)
		return pp_detail(-ENOMEM, "out of memory");
	rc = pp_reserve(&s->t, size, &r->block, data);
	if (rc) {
		free(r);
		return rc;
	}
	r->db = db;
	r->s = s;
	r->map = s->map;
	pp_mapping_get(r->map); /* the session holds one */
	r->born = s->born;
	r->table = table;
	r->size = size;
	r->key_size = (uint32_t)key.size;
	memcpy(r->key, key.data, key.size);
	r->next = s->reservations;
	r->link = &s->reservations;
	if (r->next)
		r->next->link = &r->next;
	s->reservations = r;
	*out = r;
	return 0;
}

PPDB_API int ppdb_reserve(ppdb *db, ppdb_table table, ppdb_slice key, size_t size, ppdb_reservation **out, void **data)
{
	struct pp_session *s;
	struct pp_key k;
	int rc = pp_session_enter(db, &s);

	if (rc)
		return rc;
	if (!out || !data)
		return pp_detail(-EINVAL, "ppdb_reserve: out and data are not NULL");
	if (db->readonly)
		return pp_detail(PPDB_READONLY, "%s", pp_error_text(PPDB_READONLY));
	rc = pp_args_key(&s->map->region, &k, table, key);
	if (rc)
		return pp_detail(rc, "%s", pp_error_text(rc));
	return make(s, db, table, key, size, out, data);
}

/* In a forked child it is the parent's, and so is the mapping's count. */
static void release(struct ppdb_reservation *r, bool forked)
{
	if (r->s && !forked)
		unlink_one(r);
	if (!forked)
		pp_mapping_put(r->map);
	free(r);
}

static bool forked(const struct ppdb_reservation *r)
{
	return r->born != pp_load_rlx(pp_guard); /* owner: see pp_forked */
}

PPDB_API int ppdb_publish(ppdb_reservation *r, const ppdb_wopts *opts, ppdb_seq *ticket)
{
	struct pp_write_call c;
	struct pp_session *s;
	ppdb_seq mine = 0;
	int rc;

	if (ticket)
		*ticket = 0;
	if (forked(r))
		return pp_detail(PPDB_FORKED, "%s", pp_error_text(PPDB_FORKED));
	s = r->s;
	if (s) { /* looks for another arena */
		rc = pp_write_begin_key(&c, r->db, r->table, (ppdb_slice){r->key, r->key_size}, opts, PPDB_ASYNC | PPDB_IFABSENT | PPDB_IFPRESENT, ticket);
		if (rc)
			return rc;
	}
	if (!r->s)
		return pp_detail(PPDB_EVICTED, "the reservation ended with its thread, its handle or its arena: cancel it and reserve again");
	if (c.s != s)
		return pp_detail(-EINVAL, "a reservation is published by the thread that made it");
	c.reserved = r;
	c.w.reserved = r->block;
	c.w.size = r->size;
	rc = pp_write_finish(&c, &mine);
	if (ticket)
		*ticket = mine;
	if (mine) /* else nothing happened, and it waits for another try, or to be cancelled */
		release(r, false);
	return rc;
}

PPDB_API void ppdb_cancel(ppdb_reservation *r)
{
	if (!r)
		return;
	if (r->s && !forked(r))
		pp_reserve_cancel(&r->s->t, r->block);
	release(r, forked(r));
}
