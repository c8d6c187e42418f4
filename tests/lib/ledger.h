/*
 * ledger.h - numbered keys, and what a store must hold of them: a test that drives a store into an error keeps one, and compares the
 * whole store with it afterwards. A write that failed must not have happened, and must not happen later.
 */
#ifndef TESTS_LIB_LEDGER_H
#define TESTS_LIB_LEDGER_H

#include "client/ppdb.h"

#define LEDGER_KEYS 65536

struct ledger {
	uint32_t written[LEDGER_KEYS]; /* number of the write whose value is there, 0 = absent */
	uint32_t size[LEDGER_KEYS];    /* bytes of that value */
	uint32_t writes;
};

/* All zero. The keys are "key00000" ... */
struct ledger *ledger_new(void);

/* A put with a value of its own, `size` bytes (at least 16); a delete. They return what the store says and note it when it was done. */
int ledger_put(struct ledger *, ppdb *, unsigned key, uint32_t size, const ppdb_wopts *);
int ledger_del(struct ledger *, ppdb *, unsigned key, const ppdb_wopts *);

/* Puts new keys from `from` on until one fails; returns the number of the key that failed, *rc says how. */
unsigned ledger_fill(struct ledger *, ppdb *, unsigned from, uint32_t size, const ppdb_wopts *, int *rc);

/* The store holds exactly what the ledger says, in order, each value whole. */
void ledger_judge(const struct ledger *, ppdb *);
/* The same of the keys that begin with "key"; others may be there too. */
void ledger_judge_own(const struct ledger *, ppdb *);

#endif
