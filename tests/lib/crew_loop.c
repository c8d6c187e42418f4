/*
 * crew_loop.c (test) - a member that learns from a completion queue what is durable: each ticket completes once, in the order of tickets,
 * and what completed must be there after any restart (crew_judge_recovered).
 */
#include "tests/lib/crew_internal.h"

#include <poll.h>
#include <stdlib.h>

#define WAITING 48
#define AT_ONCE 8

struct crew_loop {
	ppdb_cq *cq;
	uint64_t waiting[WAITING + 1];       /* generation << 40 | number, as submitted */
	unsigned count;
	ppdb_seq last;
};

/* It must be one of those that wait. */
static void completed(struct crew_self *s, const ppdb_completion *done)
{
	struct crew_loop *l = s->loop;
	uint64_t user = (uint64_t)(uintptr_t)done->user, n = user & ((UINT64_C(1) << 40) - 1);
	unsigned i = 0;

	while (i < l->count && l->waiting[i] != user)
		i++;
	test_require(i < l->count, "number %" PRIu64 " completed twice, or was never submitted", n);
	memmove(&l->waiting[i], &l->waiting[i + 1], (l->count - i - 1) * sizeof(l->waiting[0]));
	l->count--;
	if (done->result) {
		test_require(crew_tolerates(s, done->result), "number %" PRIu64 " completed with %s", n, test_name_of(done->result));
		return;
	}
	test_require(done->ticket >= l->last, "ticket %" PRIu64 " completed after %" PRIu64, (uint64_t)done->ticket, (uint64_t)l->last);
	l->last = done->ticket;
	if (user >> 40 == atomic_load(&s->m->generation) && n > atomic_load(&s->m->durable))
		atomic_store(&s->m->durable, n);
}

/* Takes what is there; with `wait` until at most `left` are waiting. */
static void reap(struct crew_self *s, bool wait, unsigned left)
{
	struct pollfd p = {.fd = ppdb_cq_fd(s->loop->cq), .events = POLLIN};
	ppdb_completion done[AT_ONCE];
	size_t n;
	int rc;

	do {
		if (wait)
			poll(&p, 1, 50);
		rc = ppdb_cq_reap(s->loop->cq, done, AT_ONCE, &n);
		test_require(!rc || crew_tolerates(s, rc), "reaping gave %s: %s", test_name_of(rc), test_detail());
		for (size_t i = 0; i < n && !rc; i++)
			completed(s, &done[i]);
	} while ((!rc && n == AT_ONCE) || (wait && s->loop->count > left));
}

void crew_loop_open(struct crew_self *s)
{
	s->loop = calloc(1, sizeof(*s->loop));
	test_require(s->loop, "no memory");
	test_ok(ppdb_cq_open(s->db, NULL, &s->loop->cq));
}

void crew_loop_submit(struct crew_self *s, uint64_t generation, uint64_t n)
{
	struct crew_loop *l = s->loop;
	int rc;

	crew_op(s, "waiting in a loop for number %" PRIu64 ", ticket %" PRIu64 ", after %u others", n, (uint64_t)s->ticket, l->count);
	l->waiting[l->count++] = generation << 40 | n;
	rc = ppdb_cq_submit(l->cq, s->ticket, PPDB_DURABLE, (void *)(uintptr_t)l->waiting[l->count - 1]);
	test_require(!rc || crew_tolerates(s, rc), "submitting number %" PRIu64 " gave %s: %s", n, test_name_of(rc), test_detail());
	l->count -= rc != 0;
	reap(s, false, 0);
	if (l->count == WAITING)
		reap(s, true, WAITING / 2);
	crew_op_end(s);
}

void crew_loop_close(struct crew_self *s)
{
	if (!s->loop)
		return;
	crew_op(s, "waiting in a loop for the last %u", s->loop->count);
	reap(s, true, 0);
	ppdb_cq_close(s->loop->cq);
	free(s->loop);
}
