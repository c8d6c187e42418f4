/*
 * crew_place.c (test) - values of the crew that are filled in place, and new times to live.
 *
 * A CHURN keeps up to CREW_HELD reservations open over other operations; it publishes or cancels them later, or dies with them. A cold start makes
 * them void.
 */
#include "tests/lib/crew_internal.h"

#include <unistd.h>

#define HOUR_MS UINT64_C(3600000)

static const ppdb_wopts async = {.size = sizeof(async), .flags = PPDB_ASYNC};
static const ppdb_wopts absent = {.size = sizeof(absent), .flags = PPDB_ASYNC | PPDB_IFABSENT};

/* A store that is full has no room for one: later, then. */
static void reserve(struct crew_self *s, unsigned i, uint64_t k, const char *key)
{
	/* often so large that its page is full and given up before it is published: the reaper must know of it all the same */
	size_t size = test_chance(&s->r, 50) ? crew_fill(s, k) : crew_fill_size(s, k, 3000 + test_below(&s->r, 20000));
	void *data;
	int rc;

	crew_op(s, "reservation of %zu bytes for %s", size, key);
	rc = ppdb_reserve(s->db, 0, crew_text(key), size, &s->held[i], &data);
	test_require(!rc || rc == PPDB_FULL || crew_tolerates(s, rc), "%s gave %s: %s", s->m->op, test_name_of(rc), test_detail());
	if (rc) {
		s->held[i] = NULL;
		return;
	}
	memcpy(data, s->buf, size);
}

static void cancel(struct crew_self *s, unsigned i)
{
	ppdb_cancel(s->held[i]);
	s->held[i] = NULL;
}

static void publish(struct crew_self *s, unsigned i, const char *key)
{
	uint64_t dice = test_below(&s->r, 100);
	ppdb_seq ticket;
	bool durable;
	int rc;

	do {
		crew_op(s, "publishing what was reserved (now for %s)", key);
		rc = CREW_TIMED(s, dice < 3 ? CREW_DURABLE : CREW_WRITE,
			ppdb_publish(s->held[i], dice < 3 ? NULL : dice < 20 ? &absent : &async, &ticket));
		if (rc == PPDB_EXISTS || rc == PPDB_EVICTED) {
			test_require(rc == PPDB_EXISTS || s->c->tolerant, "a reservation is void, and nothing happened: %s", test_detail());
			cancel(s, i);
			return;
		}
	} while (!crew_happened(s, rc, ticket, &durable));
	s->held[i] = NULL;
}

void crew_place(struct crew_self *s, uint64_t k, const char *key)
{
	unsigned i = (unsigned)test_below(&s->r, CREW_HELD);

	if (!s->held[i])
		reserve(s, i, k, key);
	if (!s->held[i])
		return;
	if (test_chance(&s->r, 15))
		cancel(s, i);
	else if (test_chance(&s->r, 70))
		publish(s, i, key);
}

void crew_place_end(struct crew_self *s)
{
	for (unsigned i = 0; i < CREW_HELD; i++)
		cancel(s, i);
}

/* Some vanish soon: the keeper takes them away, or somebody writes them before. */
void crew_touch(struct crew_self *s, const char *key)
{
	uint64_t dice = test_below(&s->r, 100), ttl_ms = dice < 60 ? PPDB_TTL_NEVER : dice < 85 ? HOUR_MS : 1 + test_below(&s->r, 60);
	ppdb_seq ticket;

	CREW_TRY(s, CREW_TIMED(s, CREW_WRITE, ppdb_touch(s->db, 0, crew_text(key), ttl_ms, &async, &ticket)));
}
