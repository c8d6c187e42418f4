/*
 * sweep.h - the keeper's walks through the leaves that take keys away: those of dropped tables, and those that have expired.
 */
#ifndef PP_ENGINE_SWEEP_H
#define PP_ENGINE_SWEEP_H

#include "engine/key.h"

struct pp_keeper;

/* Where a walk is: all lists one after the other, each from `at` on. */
struct pp_sweep {
	bool active;
	bool stalled;                      /* there was no room for a write */
	bool of_table;                     /* only the keys of `table`, all of them; else whatever has expired */
	uint32_t table;
	unsigned list;
	uint64_t met;                      /* of_table: keys that are still there */
	uint64_t next_ms;                  /* else: when the first of those that it left expires */
	struct pp_keybuf at;
};

void pp_sweep_begin(struct pp_sweep *, bool of_table, uint32_t table);
/* House thread: some leaves, some deletes. True: it came to its end. */
bool pp_sweep_step(struct pp_keeper *, struct pp_sweep *, unsigned leaves);

/* House thread: values that have expired; true = more to do at once. */
bool pp_expire_step(struct pp_keeper *);
/* Step thread: a value that expires then was logged. */
void pp_expire_note(struct pp_keeper *, uint64_t expires_ms);

/* catalog.c. House thread: the directory follows the catalog, dropped tables are emptied; true = more to do at once. */
bool pp_catalog_step(struct pp_keeper *);
void pp_catalog_free(struct pp_keeper *);
/* Is something of a dropped table, or of one half made, still to be done? */
bool pp_catalog_busy(const struct pp_keeper *);
/* After a cold start, before clients come: the directory from the catalog, and what each table holds. */
int pp_catalog_recover(struct pp_keeper *);

#endif
