/*
 * bulk.h - building the index from sorted records, a leaf at a time: for recovery, where nobody else reads or writes.
 */
#ifndef PP_ENGINE_BULK_H
#define PP_ENGINE_BULK_H

#include "engine/index.h"
#include "engine/run.h"

#include <pthread.h>

/* One thread's builder. It has its own range of leaves (pp_bulk_part), so it never waits and its CASes never fail. */
struct pp_bulk {
	struct pp_thread *t;
	pthread_mutex_t *merging;          /* of all builders: a merge may go on in the levels that they share */
	bool take_out;                     /* only take out what the records replace or delete */
	struct pp_keybuf low;              /* where the own leaves of list `list` begin; leaves of other lists are all the own */
	unsigned list;
	uint64_t keys, shard;              /* cells more or (two's complement) less, to be counted for that shard */

	/* of one step */
	struct pp_entries old, out;
	unsigned records, fresh_count, gone_count;
	const struct pp_run_record *record[PP_ENTRIES_MAX];
	pp_ref fresh[PP_ENTRIES_MAX], gone[PP_ENTRIES_MAX];
};

/* Makes `key` the low key of a leaf, so that different builders may have what lies left and right of it. 0, PPDB_FULL. */
int pp_bulk_part(struct pp_thread *, unsigned list, const struct pp_ikey *key);

/* A builder's range begins at `first`; NULL: at the very beginning. */
void pp_bulk_begin(struct pp_bulk *, const struct pp_run_record *first);

/*
 * Applies records of the range up to the end of one leaf, or a few leaves' worth of them. A record counts only if it is newer, by (tag, seq), than
 * what is there; a tombstone leaves its floor and nothing else: no older record of its key may follow. 0: the range has moved on. PPDB_FULL: nothing has happened; give memory back and call again.
 */
int pp_bulk_step(struct pp_bulk *, struct pp_run_range *);

/* Adds the keys to the shard's count: at the end of a range. */
void pp_bulk_count(struct pp_bulk *);

/* apply.c: a cell (PRIVATE) for a record, its version in it or beside it (LIVE). */
int pp_apply_cell(struct pp_thread *, const struct pp_run_record *, pp_ref *cell);
/* Undoes it. */
void pp_apply_cancel(struct pp_thread *, pp_ref cell);
/* Retires a cell that was taken out of its leaf, and its version. */
void pp_apply_retire(struct pp_thread *, pp_ref cell);
/* Is the record newer than what the cell holds? */
bool pp_apply_newer(struct pp_thread *, const struct pp_run_record *, pp_ref cell);

#endif
