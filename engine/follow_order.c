/*
 * follow_order.c - the order in which one epoch's changes are handed out.
 *
 * The log holds an epoch ring by ring, so two writes to a key by two threads may stand the wrong way round. What is known of the
 * order of commits: seq orders the writes to a key; a ring holds what its thread committed in order (PP_R_RING marks where one begins); a
 * batch is one commit (PP_R_MORE). All three agree with the order of commits, so together they have no cycle, and the log's order is
 * changed only where a key demands it: each atom (a batch or a single write) comes after the atoms that precede it in its ring, and after
 * those that hold an older version of one of its keys; otherwise as logged.
 *
 * What is not recorded is a read: a thread that read x and then wrote y in the same epoch. Its y may come before x; both carry the
 * same epoch, and only whole epochs are cuts.
 *
 * Pure: touches only the caller's memory.
 */
#include "engine/follow_order.h"

#include "engine/record.h"
#include "shm/errors.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define NONE UINT32_MAX

struct sorter {
	const uint8_t *bytes;
	const struct pp_follow_item *items;
	size_t n;
	uint32_t *older;                   /* [n]: item with the next older version of the same key here, or NONE */
	uint32_t *atom;                    /* [n]: first item of its batch */
	uint32_t *before;                  /* [n], of an atom: the atom before it in its ring, or NONE */
	uint8_t *out;                      /* [n], of an atom: handed out */
	uint32_t *stack;
};

static const struct pp_record *record(const struct sorter *s, uint32_t i)
{
	return (const struct pp_record *)(s->bytes + s->items[i].at);
}

static uint64_t hash_of(const struct pp_record *r)
{
	return XXH3_64bits_withSeed(r->bytes, r->key_size, r->table);
}

static bool same_key(const struct pp_record *a, const struct pp_record *b)
{
	return a->table == b->table && a->key_size == b->key_size && !memcmp(a->bytes, b->bytes, a->key_size);
}

/* Links item i into its key's list, newest first. True if it stands behind a newer one in the log. */
static bool link_key(struct sorter *s, uint32_t *table, size_t mask, uint32_t i)
{
	const struct pp_record *r = record(s, i);
	size_t slot = hash_of(r) & mask;
	uint32_t *at;

	while (table[slot] != NONE && !same_key(record(s, table[slot]), r))
		slot = (slot + 1) & mask;
	at = &table[slot];
	while (*at != NONE && record(s, *at)->seq > r->seq)
		at = &s->older[*at];
	s->older[i] = *at;
	*at = i;
	return at != &table[slot];
}

static int link_all(struct sorter *s, bool *inverted)
{
	size_t size = 16;
	uint32_t *table;

	while (size < 2 * s->n)
		size *= 2;
	table = malloc(size * sizeof(*table));
	if (!table)
		return -ENOMEM;
	memset(table, 0xff, size * sizeof(*table));
	for (uint32_t i = 0; i < s->n; i++)
		*inverted |= link_key(s, table, size - 1, i);
	free(table);
	return 0;
}

static void find_atoms(struct sorter *s)
{
	uint32_t last = NONE;

	for (uint32_t i = 0; i < s->n; i++) {
		if (i && record(s, i - 1)->flags & PP_R_MORE) {
			s->atom[i] = s->atom[i - 1];
			continue;
		}
		s->atom[i] = i;
		s->before[i] = record(s, i)->flags & PP_R_RING ? NONE : last;
		last = i;
	}
}

/* An atom that must come before `a` and is not out yet, or NONE. */
static uint32_t wanted_first(const struct sorter *s, uint32_t a)
{
	if (s->before[a] != NONE && !s->out[s->before[a]])
		return s->before[a];
	for (uint32_t i = a; i < s->n && s->atom[i] == a; i++) {
		uint32_t older = s->older[i];

		if (older != NONE && s->atom[older] != a && !s->out[s->atom[older]])
			return s->atom[older];
	}
	return NONE;
}

/* Depth first, without recursion. A cycle, which only a damaged log could have, ends where it would close: `out` is set on the way. */
static void hand_out(struct sorter *s, uint32_t *order)
{
	uint32_t done = 0;

	for (uint32_t i = 0; i < s->n; i++) {
		uint32_t depth = 0;

		if (s->atom[i] != i || s->out[i] == 2)
			continue;
		s->stack[depth++] = i;
		s->out[i] = 1;
		while (depth) {
			uint32_t a = s->stack[depth - 1], first = depth < s->n ? wanted_first(s, a) : NONE;

			if (first != NONE) {
				s->stack[depth++] = first;
				s->out[first] = 1; /* on the stack */
				continue;
			}
			depth--;
			if (s->out[a] == 2)
				continue;
			s->out[a] = 2;
			for (uint32_t j = a; j < s->n && s->atom[j] == a; j++)
				order[done++] = j;
		}
	}
}

static int sort(struct sorter *s, uint32_t *order)
{
	bool inverted = false;
	int rc = link_all(s, &inverted);

	if (rc)
		return rc;
	if (!inverted) {
		for (uint32_t i = 0; i < s->n; i++)
			order[i] = i;
		return 0;
	}
	find_atoms(s);
	hand_out(s, order);
	return 0;
}

int pp_follow_order(const uint8_t *bytes, const struct pp_follow_item *items, size_t n, uint32_t *order)
{
	struct sorter s = {.bytes = bytes, .items = items, .n = n};
	uint32_t *memory;
	int rc;

	if (n <= 1) {
		if (n)
			order[0] = 0;
		return 0;
	}
	if (n >= NONE)
		return pp_detail(-ENOMEM, "an epoch of too many changes");
	memory = calloc(n, 4 * sizeof(uint32_t) + 1);
	if (!memory)
		return pp_detail(-ENOMEM, "no memory to order an epoch of %zu changes", n);
	s.older = memory;
	s.atom = memory + n;
	s.before = memory + 2 * n;
	s.stack = memory + 3 * n;
	s.out = (uint8_t *)(memory + 4 * n);
	rc = sort(&s, order);
	free(memory);
	return rc ? pp_detail(rc, "no memory to order an epoch of %zu changes", n) : 0;
}
