/*
 * follow_order.c (test) - the order in which an epoch's changes are handed out, for random histories: threads commit single writes and batches
 * in some order, the log holds them ring by ring. Each change must come once, a key's by version, a ring's as logged, batches whole; and
 * where the log is in order already, nothing moves.
 */
#include "engine/follow_order.h"
#include "engine/record.h"
#include "tests/lib/proc.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COMMITS_MAX 60
#define BATCH_MAX 5
#define RECORDS_MAX (COMMITS_MAX * BATCH_MAX)

struct change {
	unsigned key, ring, commit, place; /* place: in its batch */
	uint64_t seq;
	bool more;
};

static struct change made[RECORDS_MAX]; /* in order of commits */
static struct change logged[RECORDS_MAX];
static struct pp_follow_item items[RECORDS_MAX];
static uint32_t order[RECORDS_MAX];
static _Alignas(8) uint8_t bytes[RECORDS_MAX * 64];

static unsigned make(struct test_random *r, unsigned keys, unsigned rings)
{
	uint64_t seq[16];
	unsigned n = 0, commits = 1 + (unsigned)test_below(r, COMMITS_MAX);

	for (unsigned k = 0; k < keys; k++)
		seq[k] = test_below(r, 1000);
	for (unsigned c = 0; c < commits; c++) {
		unsigned size = test_chance(r, 30) ? 1 + (unsigned)test_below(r, BATCH_MAX) : 1, ring = (unsigned)test_below(r, rings);

		size = size < keys ? size : keys;
		for (unsigned i = 0, k = (unsigned)test_below(r, keys - size + 1); i < size; i++, k++)
			made[n++] = (struct change){k, ring, c, i, ++seq[k], i + 1 < size};
	}
	return n;
}

/* Ring by ring, each in order of commits. */
static void log_all(unsigned n, unsigned rings)
{
	unsigned at = 0;

	for (unsigned ring = 0; ring < rings; ring++) {
		bool first = true;

		for (unsigned i = 0; i < n; i++) {
			struct pp_record *r = (struct pp_record *)(bytes + 64 * at);
			char key[16];

			if (made[i].ring != ring)
				continue;
			logged[at] = made[i];
			memset(r, 0, 64);
			r->key_size = (uint16_t)snprintf(key, sizeof(key), "key %u", made[i].key);
			memcpy(r->bytes, key, r->key_size);
			r->seq = made[i].seq;
			r->flags = (uint16_t)((made[i].more ? PP_R_MORE : 0) | (first ? PP_R_RING : 0));
			items[at] = (struct pp_follow_item){7, 64 * at};
			first = false;
			at++;
		}
	}
}

static void judge(unsigned n, unsigned keys, unsigned rings, bool in_order)
{
	uint64_t seq[16] = {0};
	unsigned commit[16];
	bool seen[RECORDS_MAX] = {false};

	(void)keys;
	for (unsigned i = 0; i < rings; i++)
		commit[i] = 0;
	for (unsigned i = 0; i < n; i++) {
		const struct change *c = &logged[order[i]];

		cr_assert(order[i] < n && !seen[order[i]], "one comes twice");
		seen[order[i]] = true;
		cr_assert(c->seq > seq[c->key], "key %u: version %llu after %llu", c->key, (unsigned long long)c->seq,
			  (unsigned long long)seq[c->key]);
		seq[c->key] = c->seq;
		cr_assert(c->commit >= commit[c->ring], "ring %u: commit %u after %u", c->ring, c->commit, commit[c->ring]);
		commit[c->ring] = c->commit;
		if (c->more)
			cr_assert(i + 1 < n && logged[order[i + 1]].commit == c->commit && logged[order[i + 1]].place == c->place + 1,
				  "a batch is torn apart");
		cr_assert(!in_order || order[i] == i, "moved without need");
	}
}

Test(follow_order, random_histories)
{
	struct test_random r;

	test_begin(60);
	r = test_random(test_seed(), 1);
	for (unsigned round = 0; round < test_scale(20000); round++) {
		unsigned keys = 1 + (unsigned)test_below(&r, 16), rings = 1 + (unsigned)test_below(&r, 8), n = make(&r, keys, rings);

		log_all(n, rings);
		cr_assert_eq(pp_follow_order(bytes, items, n, order), 0);
		judge(n, keys, rings, rings == 1);
	}
	cr_assert_eq(pp_follow_order(bytes, items, 0, order), 0);
}

/* What only damage could make, a circle of keys: it ends, and each comes once. */
Test(follow_order, circle)
{
	static const struct { unsigned key; uint64_t seq; unsigned flags; } in[] = {
		{1, 2, PP_R_RING}, {2, 1, 0}, {2, 2, PP_R_RING}, {1, 1, 0},
	};
	bool seen[4] = {false};

	for (unsigned i = 0; i < 4; i++) {
		struct pp_record *r = (struct pp_record *)(bytes + 64 * i);

		memset(r, 0, 64);
		r->key_size = 1;
		r->bytes[0] = (uint8_t)in[i].key;
		r->seq = in[i].seq;
		r->flags = (uint16_t)in[i].flags;
		items[i] = (struct pp_follow_item){7, 64 * i};
	}
	cr_assert_eq(pp_follow_order(bytes, items, 4, order), 0);
	for (unsigned i = 0; i < 4; i++) {
		cr_assert(order[i] < 4 && !seen[order[i]]);
		seen[order[i]] = true;
	}
}
