/*
 * crew_internal.h - what the files of the crew share: crew.c (the crew from outside), crew_work.c (a member's process) and
 * crew_judge.c (what a store must hold).
 */
#ifndef TESTS_LIB_CREW_INTERNAL_H
#define TESTS_LIB_CREW_INTERNAL_H

#include "client/internal.h" /* first: ppdb.h then leaves the error codes to shm/errors.h */

#include "tests/lib/crew.h"

#include <inttypes.h>
#include <string.h>

static inline ppdb_slice crew_text(const char *s)
{
	return (ppdb_slice){s, strlen(s)};
}

/* A member's process: `arg` is {struct crew_member *, struct crew *}. */
void crew_work(void *arg);

/* Prints epochs, slots and the account of memory, for failures. */
void crew_describe_store(ppdb *db);

/* crew_move.c: a batch that moves an amount between accounts; 0, or why it was not done (nothing happened if *ticket is 0). */
int crew_move(ppdb *db, ppdb_view *view, struct test_random *r, ppdb_seq *ticket);
/* All accounts are there or none, and the total is what it was. The view is a snapshot. */
void crew_judge_accounts(ppdb_view *v, const char *when);

/* A snapshot shows the same keys and values at two moments: no phantoms. */
void crew_judge_repeatable(ppdb_view *v, const char *when);

/* The number that ends a key; keys in the arena have no NUL behind them. */
uint64_t crew_key_number(ppdb_slice key, size_t at);
void crew_seq_prefix(char *to, size_t cap, unsigned number, uint64_t generation);

/* Value of a chain key in a view (21 bytes and a NUL): false = not there. */
bool crew_chain_value(ppdb_view *v, unsigned i, char *value);
/* Each link of the chain holds nothing newer than the link before. */
void crew_judge_chain(ppdb_view *v, uint64_t generation, const char *when);
/* First and last number of a sequence, which must have no gap. 0 = empty. */
void crew_judge_sequence(ppdb_view *v, unsigned number, uint64_t generation, const char *when, uint64_t *last);

#endif
