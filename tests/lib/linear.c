/*
 * linear.c - Wing and Gong's test for linearizability, just in time (Lowe 2017): the history is read in order of time with a set
 * of configurations, each a state of the key and the set of pending operations that have already taken effect in it. When an operation
 * returns, each configuration in which it has not taken effect yet is continued in all ways that let it; the others die. No configuration
 * left: no order explains the history. Results are known beforehand, so a pending operation takes effect only where its result fits.
 */
#include "tests/lib/linear.h"

#include "tests/lib/proc.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PENDING 64
#define CONFIGS (1u << 18)

struct state {
	uint64_t value;          /* 0 = absent */
	uint64_t version;        /* exact, or at least this */
	uint64_t done;           /* pending operations that took effect */
	bool exact;
};

struct set {
	struct state *at;
	uint32_t *slot;          /* hash table of indices + 1 */
	uint32_t n;
};

struct event {
	uint64_t time;
	uint32_t op;
	bool end;
};

struct search {
	struct linear_op *ops;
	struct linear_op *pending[PENDING];
	struct set now, next;
};

/* ---- sets of configurations ------------------------------------------------------------------------------------- */

static void set_make(struct set *s)
{
	s->at = malloc(CONFIGS * sizeof(*s->at));
	s->slot = calloc(2 * CONFIGS, sizeof(*s->slot));
	s->n = 0;
	cr_assert(s->at && s->slot, "out of memory");
}

static uint32_t hash(const struct state *c)
{
	uint64_t h = (c->value * 0x9e3779b97f4a7c15u) ^ (c->version * 0xc2b2ae3d27d4eb4fu) ^ (c->done * 0x165667b19e3779f9u) ^ c->exact;

	return (uint32_t)((h ^ h >> 31) * 0xbf58476d1ce4e5b9u >> 32) % (2 * CONFIGS);
}

static bool same(const struct state *a, const struct state *b)
{
	return a->value == b->value && a->version == b->version && a->done == b->done && a->exact == b->exact;
}

static bool set_add(struct set *s, const struct state *c)
{
	uint32_t h = hash(c);

	while (s->slot[h]) {
		if (same(&s->at[s->slot[h] - 1], c))
			return true;
		h = (h + 1) % (2 * CONFIGS);
	}
	if (s->n == CONFIGS)
		return false;
	s->at[s->n] = *c;
	s->slot[h] = ++s->n;
	return true;
}

static void set_clear(struct set *s)
{
	if (s->n > CONFIGS / 8) {
		memset(s->slot, 0, 2 * CONFIGS * sizeof(*s->slot));
	} else {
		/* marked first: an emptied slot would hide those behind it */
		for (uint32_t i = 0; i < s->n; i++) {
			uint32_t h = hash(&s->at[i]);

			while (s->slot[h] != i + 1)
				h = (h + 1) % (2 * CONFIGS);
			s->slot[h] = UINT32_MAX;
		}
		for (uint32_t i = 0; i < s->n; i++) {
			uint32_t h = hash(&s->at[i]);

			while (s->slot[h] == UINT32_MAX) {
				s->slot[h] = 0;
				h = (h + 1) % (2 * CONFIGS);
			}
		}
	}
	s->n = 0;
}

/* ---- the register ----------------------------------------------------------------------------------------------- */

static void write_value(struct state *c, uint64_t value)
{
	/* from present each write is one more; over a removed key the number goes on somewhere above */
	c->exact = c->exact && c->value;
	c->version += 1;
	c->value = value;
}

static bool version_is(struct state *c, uint64_t version)
{
	if (c->exact ? c->version != version : version < c->version)
		return false;
	c->version = version;
	c->exact = true;
	return true;
}

static bool apply_cas(struct state *c, const struct linear_op *o)
{
	if (o->done && !o->ok) {
		if (!o->version)
			return !c->value && o->expect;
		return c->value && o->version != o->expect && version_is(c, o->version);
	}
	if (!o->expect) {
		if (c->value || (o->done && o->version <= c->version))
			return false;
	} else if (!c->value || !version_is(c, o->expect)) {
		return false;
	}
	write_value(c, o->value);
	return !o->done || version_is(c, o->version);
}

static bool apply_add(struct state *c, const struct linear_op *o)
{
	uint64_t sum = c->value + o->expect; /* absent counts as 0 */

	if (o->done && sum != o->value)
		return false;
	write_value(c, sum);
	return !o->version || version_is(c, o->version);
}

static bool apply_read(struct state *c, const struct linear_op *o)
{
	if (!o->ok)
		return !c->value;
	if (c->value == LINEAR_ANY && o->value)
		c->value = o->value;
	if (!c->value || (o->value && c->value != o->value))
		return false;
	return !o->version || version_is(c, o->version);
}

/* Lets o take effect in c; false: it cannot, with the result that it had. One that never returned and would do nothing is not tried. */
static bool apply(struct state *c, const struct linear_op *o)
{
	bool refused = o->done && !o->ok;

	switch (o->kind) {
	case LINEAR_PUT:
		write_value(c, o->value);
		return !o->version || version_is(c, o->version);
	case LINEAR_IFABSENT:
		if (refused)
			return c->value;
		if (c->value)
			return false;
		write_value(c, o->value);
		return true;
	case LINEAR_IFPRESENT:
		if (refused)
			return !c->value;
		if (!c->value)
			return false;
		write_value(c, o->value);
		return true;
	case LINEAR_DEL:
		if (refused)
			return !c->value;
		if (!c->value)
			return false;
		write_value(c, 0);
		return true;
	case LINEAR_TOUCH:
		if (refused)
			return !c->value;
		if (!c->value)
			return false;
		write_value(c, c->value);
		return !o->version || version_is(c, o->version);
	case LINEAR_CAS:
		return apply_cas(c, o);
	case LINEAR_ADD:
		return apply_add(c, o);
	default:
		return apply_read(c, o);
	}
}

/* ---- the search ------------------------------------------------------------------------------------------------- */

/* Adds to `now` what follows from its i-th configuration when pending[p] takes effect. False: no room. */
static bool take_effect(struct search *s, uint32_t i, unsigned p)
{
	struct state c = s->now.at[i];

	if (!s->pending[p] || c.done >> p & 1 || !apply(&c, s->pending[p]))
		return true;
	c.done |= UINT64_C(1) << p;
	return set_add(&s->now, &c);
}

/* Adds to `next` all that follows from `now` and in which pending[who] has taken effect; `now` grows by the steps between. */
static bool finish(struct search *s, unsigned who)
{
	uint64_t bit = UINT64_C(1) << who;

	for (uint32_t i = 0; i < s->now.n; i++) {
		for (unsigned p = 0; p < PENDING && !(s->now.at[i].done & bit); p++) {
			if (!take_effect(s, i, p))
				return false;
		}
		if (s->now.at[i].done & bit) {
			struct state c = s->now.at[i];

			c.done &= ~bit;
			if (!set_add(&s->next, &c))
				return false;
		}
	}
	return true;
}

static int in_time(const void *a, const void *b)
{
	const struct event *x = a, *y = b;

	if (x->time != y->time)
		return x->time < y->time ? -1 : 1;
	return (int)x->end - (int)y->end; /* beginnings first: rather say at the same time than one after the other */
}

static struct event *make_events(const struct linear_op *ops, size_t n, size_t *count)
{
	struct event *e = malloc((2 * n + 1) * sizeof(*e));

	cr_assert(e, "out of memory");
	*count = 0;
	for (size_t i = 0; i < n; i++) {
		e[(*count)++] = (struct event){ops[i].start, (uint32_t)i, false};
		if (ops[i].done)
			e[(*count)++] = (struct event){ops[i].end, (uint32_t)i, true};
	}
	qsort(e, *count, sizeof(*e), in_time);
	return e;
}

static const char *describe(const struct search *s, const struct linear_op *o, const char *why)
{
	static char text[2000];
	static const char *const names[] = {"put", "put if absent", "put if present", "del", "cas", "read", "add", "touch"};
	int at = snprintf(text, sizeof(text), "%s at the end of: %s by process %u, %s, value %llx, expect %llu, version %llu; "
		"at the same time:", why, names[o->kind], o->process, o->ok ? "ok" : "refused", (unsigned long long)o->value,
		(unsigned long long)o->expect, (unsigned long long)o->version);

	for (unsigned p = 0; p < PENDING && at < 1800; p++)
		if (s->pending[p] && s->pending[p] != o)
			at += snprintf(text + at, sizeof(text) - (size_t)at, " [%s by %u, %s, %llx, %llu, %llu]", names[s->pending[p]->kind],
				s->pending[p]->process, !s->pending[p]->done ? "open" : s->pending[p]->ok ? "ok" : "refused",
				(unsigned long long)s->pending[p]->value, (unsigned long long)s->pending[p]->expect,
				(unsigned long long)s->pending[p]->version);
	at += snprintf(text + at, sizeof(text) - (size_t)at, "; possible until then:");
	for (uint32_t i = 0; i < s->now.n && i < 4 && at < 1900; i++)
		at += snprintf(text + at, sizeof(text) - (size_t)at, " (%llx, version %s%llu)", (unsigned long long)s->now.at[i].value,
			s->now.at[i].exact ? "" : ">= ", (unsigned long long)s->now.at[i].version);
	return text;
}

static const char *begin_op(struct search *s, struct linear_op *o)
{
	for (unsigned p = 0; p < PENDING; p++)
		if (!s->pending[p]) {
			s->pending[p] = o;
			return NULL;
		}
	return "more operations pending at once than this checker takes";
}

static const char *end_op(struct search *s, struct linear_op *o)
{
	struct set swap;
	unsigned p = 0;

	while (s->pending[p] != o)
		p++;
	set_clear(&s->next);
	if (!finish(s, p))
		return "too many configurations for this checker";
	if (!s->next.n)
		return describe(s, o, "no order is left");
	s->pending[p] = NULL;
	swap = s->now;
	s->now = s->next;
	s->next = swap;
	return NULL;
}

const char *linear_wrong(struct linear_op *ops, size_t n)
{
	struct search s = {.ops = ops};
	struct state start = {.exact = false};
	size_t count;
	struct event *events = make_events(ops, n, &count);
	const char *wrong = NULL;

	set_make(&s.now);
	set_make(&s.next);
	set_add(&s.now, &start);
	for (size_t i = 0; i < count && !wrong; i++) {
		struct linear_op *o = &ops[events[i].op];

		if (!events[i].end && !o->done && o->kind == LINEAR_READ)
			continue; /* nobody learned anything */
		wrong = events[i].end ? end_op(&s, o) : begin_op(&s, o);
	}
	free(events);
	free(s.now.at);
	free(s.now.slot);
	free(s.next.at);
	free(s.next.slot);
	return wrong;
}
