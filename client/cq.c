/*
 * cq.c - completion queues: durability for event loops.
 *
 * What was submitted and is not reached waits in a heap by ticket; the bell (client/bell.h) is armed for the smallest, so a group commit
 * that makes a thousand tickets durable costs one tick. A reap looks at durable_epoch once and takes all that is reached: results come
 * by ticket. A cold start of ppdbd takes tickets away: after each move to another arena all that waits is compared with what was lost.
 *
 * Dies inside: nothing but a bell that hangs up.
 */
#include "client/bell.h"

struct waiting {
	uint64_t ticket;
	void *user;
	ppdb_level level;
	int result;
};

struct ppdb_cq {
	ppdb *db;
	struct pp_bell *bell;
	struct waiting *heap;          /* [count], the smallest ticket first */
	size_t count, room;
	struct waiting *done;          /* [first_done, done_count): reached, or failed, and not reaped */
	size_t done_first, done_count, done_room;
	uint64_t armed;                /* 0: not */
	uint64_t generation;           /* of the record in the arena for which it is known what was lost */
};

/* ---- the heap */

static int grow(struct waiting **at, size_t *room, size_t need)
{
	size_t more = *room ? *room : 16;
	struct waiting *grown;

	while (more < need)
		more *= 2;
	if (more <= *room)
		return 0;
	grown = realloc(*at, more * sizeof(*grown));
	if (!grown)
		return pp_detail(-ENOMEM, "out of memory");
	*at = grown;
	*room = more;
	return 0;
}

static void swap(struct waiting *a, struct waiting *b)
{
	struct waiting t = *a;

	*a = *b;
	*b = t;
}

static void push(struct ppdb_cq *cq, const struct waiting *w)
{
	size_t i = cq->count++;

	cq->heap[i] = *w;
	while (i && cq->heap[i].ticket < cq->heap[(i - 1) / 2].ticket) {
		swap(&cq->heap[i], &cq->heap[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
}

static void sink(struct ppdb_cq *cq, size_t i)
{
	for (;;) {
		size_t least = i, left = 2 * i + 1;

		for (size_t child = left; child < left + 2 && child < cq->count; child++)
			if (cq->heap[child].ticket < cq->heap[least].ticket)
				least = child;
		if (least == i)
			return;
		swap(&cq->heap[i], &cq->heap[least]);
		i = least;
	}
}

/* The smallest is done. There is room for it: submit saw to that. */
static void finish_first(struct ppdb_cq *cq, int result)
{
	struct waiting w = cq->heap[0];

	w.result = result;
	cq->done[cq->done_count++] = w;
	cq->heap[0] = cq->heap[--cq->count];
	sink(cq, 0);
}

/* ---- what has been reached */

/* In another arena some tickets may be lost. */
static void drop_lost(struct ppdb_cq *cq, struct pp_mapping *m)
{
	size_t kept = 0;

	if (cq->generation == m->generation)
		return;
	cq->generation = m->generation;
	cq->armed = 0; /* that was in another slot */
	for (size_t i = 0; i < cq->count; i++) {
		if (pp_link_lost(cq->db, m, cq->heap[i].ticket)) {
			cq->heap[i].result = PPDB_LOST;
			cq->done[cq->done_count++] = cq->heap[i];
		} else {
			cq->heap[kept++] = cq->heap[i];
		}
	}
	cq->count = kept;
	for (size_t i = kept / 2; i-- > 0;)
		sink(cq, i);
}

/* Nothing more will come: a failed log, or no ppdbd for long. */
static int given_up(struct ppdb_cq *cq, struct pp_globals *g)
{
	int failed = (int)pp_load_acq(&g->failed);
	uint64_t gone_ns;

	if (failed)
		return failed;
	return pp_link_down(cq->db, &gone_ns) && gone_ns > PP_GONE_LIMIT_NS ? PPDB_DAEMON_GONE : 0;
}

static void collect(struct ppdb_cq *cq)
{
	struct pp_globals *g = pp_bell_session(cq->bell)->map->region.globals;
	int why = given_up(cq, g); /* before the look at what is durable */
	uint64_t durable = pp_load_acq(&g->durable_epoch);

	while (cq->count && (cq->heap[0].ticket <= durable || why))
		finish_first(cq, cq->heap[0].ticket <= durable ? 0 : why);
}

/* Armed for the smallest that waits; what became durable meanwhile is collected. */
static void arm(struct ppdb_cq *cq)
{
	while (cq->count && cq->armed != cq->heap[0].ticket) {
		cq->armed = cq->heap[0].ticket;
		if (!pp_bell_arm(cq->bell, cq->armed))
			collect(cq);
	}
	if (!cq->count && cq->armed) {
		cq->armed = 0;
		pp_bell_arm(cq->bell, 0);
	}
}

/* ---- calls */

PPDB_API int ppdb_cq_open(ppdb *db, const ppdb_cq_opts *opts, ppdb_cq **out)
{
	ppdb_cq_opts o;
	struct ppdb_cq *cq;
	int rc = pp_args_copy(&o, sizeof(o), opts, 0, "ppdb_cq_open");

	if (!rc && !out)
		rc = pp_detail(-EINVAL, "ppdb_cq_open: out is NULL");
	if (rc)
		return rc;
	cq = calloc(1, sizeof(*cq));
	if (!cq)
		return pp_detail(-ENOMEM, "out of memory");
	cq->db = db;
	rc = pp_bell_open(db, &cq->bell);
	if (rc) {
		free(cq);
		return rc;
	}
	cq->generation = pp_bell_session(cq->bell)->map->generation;
	*out = cq;
	return 0;
}

PPDB_API int ppdb_cq_fd(const ppdb_cq *cq)
{
	return cq ? pp_bell_fd(cq->bell) : -EINVAL;
}

static int check(const struct ppdb_cq *cq, uint64_t ticket, ppdb_level level)
{
	struct pp_mapping *m = pp_bell_session(cq->bell)->map;
	int rc;

	if (level > PPDB_REPLICATED || (int)level < 0)
		return pp_detail(-EINVAL, "there is no level %d", (int)level);
	if (level == PPDB_REPLICATED)
		return pp_detail(-ENOTSUP, "replication is not offered by this version");
	rc = pp_link_lost(cq->db, m, ticket);
	if (!rc && ticket > pp_load_acq(&m->region.globals->open_epoch))
		rc = pp_detail(-EINVAL, "ticket %llu was never given out", (unsigned long long)ticket);
	return rc;
}

/* The handle may have gone to another arena since the last reap: what the ticket says is meant there. */
static int follow(struct ppdb_cq *cq)
{
	struct pp_session *s = pp_bell_session(cq->bell);
	int rc;

	/* [client.enter:map] pairs [client.link:map]: the mapping that is current is complete */
	if (s->map == pp_load_acq(&cq->db->map))
		return 0;
	rc = pp_bell_turn(cq->bell);
	if (!rc)
		drop_lost(cq, s->map);
	return rc;
}

PPDB_API int ppdb_cq_submit(ppdb_cq *cq, ppdb_seq ticket, ppdb_level level, void *user)
{
	struct waiting w = {.ticket = ticket, .user = user, .level = level};
	int rc = cq ? pp_bell_forked(cq->bell) : pp_detail(-EINVAL, "ppdb_cq_submit: the queue is NULL");

	if (!rc)
		rc = follow(cq);
	if (!rc)
		rc = check(cq, ticket, level);
	if (!rc)
		rc = grow(&cq->heap, &cq->room, cq->count + 1);
	if (!rc && cq->done_first > cq->done_room / 2) {
		cq->done_count -= cq->done_first;
		memmove(cq->done, cq->done + cq->done_first, cq->done_count * sizeof(*cq->done));
		cq->done_first = 0;
	}
	if (!rc)
		rc = grow(&cq->done, &cq->done_room, cq->done_count + cq->count + 1);
	if (rc)
		return rc;
	if (level != PPDB_DURABLE)
		cq->done[cq->done_count++] = w;
	else
		push(cq, &w);
	arm(cq);
	if (cq->done_count > cq->done_first)
		pp_bell_ring(cq->bell);
	return 0;
}

PPDB_API int ppdb_cq_reap(ppdb_cq *cq, ppdb_completion *out, size_t cap, size_t *n)
{
	int rc = cq && n && (out || !cap) ? pp_bell_forked(cq->bell) : pp_detail(-EINVAL, "ppdb_cq_reap: a NULL pointer");
	size_t taken = 0;

	if (!rc)
		rc = pp_bell_turn(cq->bell);
	if (rc)
		return rc;
	drop_lost(cq, pp_bell_session(cq->bell)->map);
	collect(cq);
	arm(cq);
	for (; taken < cap && cq->done_first < cq->done_count; taken++) {
		struct waiting *w = &cq->done[cq->done_first++];

		out[taken] = (ppdb_completion){w->user, w->ticket, w->level, w->result};
	}
	if (cq->done_first == cq->done_count)
		cq->done_first = cq->done_count = 0;
	else
		pp_bell_ring(cq->bell);
	*n = taken;
	return 0;
}

PPDB_API void ppdb_cq_close(ppdb_cq *cq)
{
	if (!cq)
		return;
	pp_bell_close(cq->bell);
	free(cq->heap);
	free(cq->done);
	free(cq);
}
