/*
 * write.c - writes: check the options, run the engine's write in this thread, wait as asked. (Batches: batch.c.)
 *
 * The engine returns when the write is visible; its tag is the ticket. Time-outs bound the whole call: first room in the ring and
 * the log, then durability. When no room comes because the daemon is gone, the link is looked at; if that leads to another arena
 * the write, which did not happen, is made there.
 *
 * Dies inside: the write is done or not done; the reaper settles it and takes back what the call held.
 */
#include "client/writing.h"

#define NAP_NS (2 * PP_NS_PER_MS)

static uint64_t remaining(const struct pp_write_call *c, uint64_t otherwise)
{
	uint64_t now;

	if (!c->deadline)
		return otherwise;
	now = pp_now_ns();
	return c->deadline > now ? c->deadline - now : 1;
}

uint64_t pp_write_left(const struct pp_write_call *c)
{
	return remaining(c, UINT64_MAX);
}

int pp_write_begin(struct pp_write_call *c, ppdb *db, const ppdb_wopts *opts, uint32_t allowed, ppdb_seq *ticket)
{
	ppdb_wopts o;
	int rc = pp_session_enter(db, &c->s);

	memset(&c->w, 0, sizeof(c->w));
	c->batch = NULL;
	c->reserved = NULL;
	if (ticket)
		*ticket = 0;
	if (rc)
		return rc;
	if (db->readonly)
		return pp_detail(PPDB_READONLY, "%s", pp_error_text(PPDB_READONLY));
	rc = pp_args_copy(&o, sizeof(o), opts, allowed, "write options");
	if (rc)
		return rc;
	if ((o.flags & PPDB_IFABSENT) && (o.flags & PPDB_IFPRESENT))
		return pp_detail(-EINVAL, "PPDB_IFABSENT and PPDB_IFPRESENT exclude each other");
	c->db = db;
	c->async = o.flags & PPDB_ASYNC;
	c->deadline = o.timeout_ms ? pp_deadline_ns(o.timeout_ms > UINT64_MAX / PP_NS_PER_MS ? UINT64_MAX :
		o.timeout_ms * PP_NS_PER_MS) : 0;
	c->ttl_ms = o.ttl_ms;
	c->w.flags = pp_write_conditions(o.flags);
	return 0;
}

int pp_write_begin_key(struct pp_write_call *c, ppdb *db, ppdb_table table, ppdb_slice key, const ppdb_wopts *opts, uint32_t allowed,
	ppdb_seq *ticket)
{
	int rc = pp_write_begin(c, db, opts, allowed, ticket);

	if (rc)
		return rc;
	rc = pp_args_key(&c->s->map->region, &c->w.key, table, key);
	if (rc)
		return pp_detail(rc, "%s", pp_error_text(rc));
	return likely(!c->ttl_ms && !table) ? 0 : pp_args_expires(&c->s->map->region, table, c->ttl_ms, &c->w.expires_ms);
}

int pp_args_value(ppdb_slice val)
{
	if (val.size > PP_VALUE_MAX)
		return pp_detail(PPDB_VALSIZE, "%s (it has %zu bytes)", pp_error_text(PPDB_VALSIZE), val.size);
	if (val.size && !val.data)
		return pp_detail(-EINVAL, "the value has %zu bytes at NULL", val.size);
	return 0;
}

static int set_value(struct pp_write_call *c, ppdb_slice val)
{
	int rc = pp_args_value(val);

	if (rc)
		return rc;
	c->w.value = val.data;
	c->w.size = val.size;
	return 0;
}

/* No room, or no arena to write to. True: try again, another daemon or arena may be there. Otherwise *rc says what is wrong. */
bool pp_write_again(struct ppdb *db, struct pp_session *s, uint64_t limit, int *rc)
{
	struct pp_mapping *before = s->map;
	struct timespec nap = pp_timespec(NAP_NS);

	if (*rc == -ESTALE)
		pp_link_hurry(db);
	else
		pp_link_poll(db, true);
	if (pp_session_move(s)) {
		*rc = -ENOSPC;
		return false;
	}
	if (s->map != before)
		return true;
	if ((*rc == PPDB_DAEMON_GONE || *rc == -ESTALE) && pp_now_ns() < limit) {
		nanosleep(&nap, NULL);
		return true;
	}
	if (*rc == -ESTALE) {
		*rc = pp_detail(PPDB_DAEMON_GONE, "a restart of ppdbd gives the store another arena, which is not ready yet; try again");
		return false;
	}
	if (*rc == PPDB_OVERLOAD && pp_link_down(db, NULL))
		*rc = PPDB_DAEMON_GONE;
	if (*rc == PPDB_DAEMON_GONE)
		pp_detail(*rc, "the log ring is full and ppdbd is gone; start it with 'ppdb start'");
	return false;
}

/* Once, in the arena of now. */
static int run(struct pp_write_call *c)
{
	int rc;

	if (!c->batch) {
		c->w.timeout_ns = remaining(c, PP_ROOM_NS);
		return pp_write(&c->s->t, &c->w);
	}
	c->batch->timeout_ns = remaining(c, 0);
	rc = pp_batch_write(&c->s->t, c->batch);
	c->w.tag = c->batch->tag;
	return rc;
}

int pp_write_finish(struct pp_write_call *c, ppdb_seq *ticket)
{
	uint64_t limit = 0;
	int rc;

	for (;;) {
		rc = run(c);
		if (!likely(!c->reserved) && !c->w.reserved)
			pp_reservation_used(c->reserved);
		if (likely(!pp_write_may_again(rc)))
			break;
		if (!limit)
			limit = c->deadline ? c->deadline : pp_now_ns() + PP_ROOM_NS;
		if (!pp_write_again(c->db, c->s, limit, &rc))
			break;
		if (c->reserved && !pp_reservation_holds(c->reserved)) {
			rc = pp_detail(PPDB_EVICTED, "the arena was replaced by a restart, and the reservation went with it: reserve again");
			break;
		}
	}
	/* also what a failed precondition saw: a snapshot begun later must hold it */
	pp_session_note(&c->s->seen, c->w.tag);
	if (rc)
		return rc;
	pp_session_note(&c->s->written, c->w.tag);
	if (ticket)
		*ticket = c->w.tag;
	return c->async ? 0 : pp_wait_ticket(c->db, c->s, c->w.tag, remaining(c, UINT64_MAX));
}

PPDB_API int ppdb_put(ppdb *db, ppdb_table table, ppdb_slice key, ppdb_slice val, const ppdb_wopts *opts, ppdb_seq *ticket)
{
	struct pp_write_call c;
	int rc = pp_write_begin_key(&c, db, table, key, opts, PPDB_ASYNC | PPDB_IFABSENT | PPDB_IFPRESENT, ticket);

	if (!rc)
		rc = set_value(&c, val);
	return rc ? rc : pp_write_finish(&c, ticket);
}

PPDB_API int ppdb_del(ppdb *db, ppdb_table table, ppdb_slice key, const ppdb_wopts *opts, ppdb_seq *ticket)
{
	struct pp_write_call c;
	int rc = pp_write_begin_key(&c, db, table, key, opts, PPDB_ASYNC, ticket);

	if (!rc && c.ttl_ms)
		rc = pp_detail(-EINVAL, "a delete has no time to live");
	if (rc)
		return rc;
	c.w.flags = PP_W_DELETE;
	c.w.expires_ms = 0; /* the table's default is for values */
	return pp_write_finish(&c, ticket);
}

PPDB_API int ppdb_touch(ppdb *db, ppdb_table table, ppdb_slice key, uint64_t ttl_ms, const ppdb_wopts *opts, ppdb_seq *ticket)
{
	struct pp_write_call c;
	int rc = pp_write_begin_key(&c, db, table, key, opts, PPDB_ASYNC, ticket);

	if (!rc && c.ttl_ms)
		rc = pp_detail(-EINVAL, "ppdb_touch has its time to live as an argument, not in the options");
	if (!rc)
		rc = pp_args_expires(&c.s->map->region, table, ttl_ms, &c.w.expires_ms);
	if (rc)
		return rc;
	c.w.flags = PP_W_TOUCH;
	return pp_write_finish(&c, ticket);
}

PPDB_API int ppdb_cas(ppdb *db, ppdb_table table, ppdb_slice key, uint64_t version, ppdb_slice val, const ppdb_wopts *opts,
	uint64_t *newver, ppdb_seq *ticket)
{
	struct pp_write_call c;
	int rc = pp_write_begin_key(&c, db, table, key, opts, PPDB_ASYNC, ticket);

	if (!rc)
		rc = set_value(&c, val);
	if (rc)
		return rc;
	c.w.flags = PP_W_CAS;
	c.w.expect = version;
	rc = pp_write_finish(&c, ticket);
	if (newver && (c.w.version || rc == PPDB_CONFLICT))
		*newver = c.w.version;
	return rc;
}

PPDB_API int ppdb_add_i64(ppdb *db, ppdb_table table, ppdb_slice key, int64_t delta, int64_t initial, const ppdb_wopts *opts,
	int64_t *result, ppdb_seq *ticket)
{
	struct pp_write_call c;
	ppdb_seq mine = 0;
	int rc = pp_write_begin_key(&c, db, table, key, opts, PPDB_ASYNC | PPDB_IFABSENT | PPDB_IFPRESENT, ticket);

	if (rc)
		return rc;
	c.w.flags |= PP_W_ADD | (c.ttl_ms ? 0 : PP_W_KEEPTTL);
	c.w.fresh_expires_ms = c.w.expires_ms;
	c.w.delta = delta;
	c.w.initial = initial;
	rc = pp_write_finish(&c, &mine);
	if (ticket)
		*ticket = mine;
	if (result && mine)
		*result = c.w.result;
	return rc;
}
