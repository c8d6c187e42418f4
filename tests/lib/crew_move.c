/*
 * crew_move.c (test) - batches in the crew: amounts move between accounts, and the total never changes.
 *
 * All accounts begin in one batch, so they are there together or not at all. A move takes from one, gives to another, and requires a third as it
 * was read. What a move was computed from must be durable first: a version that a cold start loses comes again with another value.
 */
#include "tests/lib/crew_internal.h"

#include <stdio.h>
#include <stdlib.h>

#define ACCOUNTS 12
#define START 1000

static const ppdb_wopts async = {.size = sizeof(async), .flags = PPDB_ASYNC};

static const char *account(unsigned i, char name[24])
{
	snprintf(name, 24, "account/%02u", i);
	return name;
}

static long amount_of(const ppdb_item *item)
{
	char text[24] = "";

	test_require(item->value.size < sizeof(text), "an account of %zu bytes", item->value.size);
	memcpy(text, item->value.data, item->value.size);
	return atol(text);
}

/* PPDB_EXISTS: others did. */
static int begin_accounts(ppdb *db)
{
	ppdb_wopts absent = {.size = sizeof(absent), .flags = PPDB_IFABSENT};
	ppdb_batch *b;
	char name[24];
	int rc;

	test_ok(ppdb_batch_new(db, &b));
	for (unsigned i = 0; i < ACCOUNTS; i++)
		test_ok(ppdb_batch_put(b, 0, crew_text(account(i, name)), PPDB_S("1000"), &absent));
	rc = ppdb_write(db, b, &async, NULL, NULL);
	ppdb_batch_free(b);
	return rc;
}

static int put_amount(ppdb_batch *b, const char *name, long amount)
{
	char text[24];

	snprintf(text, sizeof(text), "%ld", amount);
	return ppdb_batch_put(b, 0, crew_text(name), crew_text(text), NULL);
}

int crew_move(ppdb *db, ppdb_view *view, struct test_random *r, ppdb_seq *ticket)
{
	unsigned first = (unsigned)test_below(r, ACCOUNTS), n = test_chance(r, 30) ? 3 : 2;
	bool durable = test_chance(r, 5);
	char name[3][24];
	ppdb_item item[3];
	long amount, have[3];
	ppdb_batch *b;
	int rc = 0;

	*ticket = 0;
	for (unsigned i = 0; i < n; i++) {
		account((first + i * 5) % ACCOUNTS, name[i]);
		rc = ppdb_view_get(view, 0, crew_text(name[i]), &item[i]);
		if (rc == PPDB_NOTFOUND)
			return begin_accounts(db);
		if (!rc)
			have[i] = amount_of(&item[i]);
		if (!rc)
			rc = ppdb_view_check(view);
		if (!rc)
			rc = ppdb_wait(db, item[i].seq, PPDB_DURABLE, INT64_C(2000000000));
		if (rc)
			return rc;
	}
	amount = (long)test_below(r, 1 + (uint64_t)have[0] / 2);
	test_ok(ppdb_batch_new(db, &b));
	for (unsigned i = 0; i < n; i++)
		test_ok(ppdb_batch_require(b, 0, crew_text(name[i]), item[i].version));
	test_ok(put_amount(b, name[0], have[0] - amount));
	test_ok(put_amount(b, name[1], have[1] + amount));
	rc = ppdb_write(db, b, durable ? NULL : &async, ticket, NULL);
	ppdb_batch_free(b);
	return rc;
}

void crew_judge_accounts(ppdb_view *v, const char *when)
{
	long total = 0;
	unsigned found = 0;
	char name[24];
	ppdb_item item;

	for (unsigned i = 0; i < ACCOUNTS; i++)
		if (!ppdb_view_get(v, 0, crew_text(account(i, name)), &item)) {
			total += amount_of(&item);
			found++;
		}
	if (ppdb_view_check(v))
		return;
	test_require(!found || found == ACCOUNTS, "%s: %u of %d accounts, which were all made at once", when, found, ACCOUNTS);
	test_require(!found || total == ACCOUNTS * START, "%s: the accounts hold %ld, not %d: half a transfer", when, total, ACCOUNTS * START);
}
