/*
 * precond.h - what a write asks of the key's present value: absent, present, of a version, a number.
 */
#ifndef PP_ENGINE_PRECOND_H
#define PP_ENGINE_PRECOND_H

#include "engine/store.h"
#include "shm/thread.h"

/* What the newest committed version says: the ground for preconditions. */
struct pp_base {
	bool present;
	bool stored;                       /* present, or expired and not yet swept */
	uint64_t seq, tag, expires_ms;
	const uint8_t *value;
	uint64_t size;
};

#define PP_NUMBER_MAX 24                   /* a 64-bit number as text */

/* Fills *b with what `cell` (NULL: there is none) says now. Marks the thread when it met damage. */
void pp_base_look(struct pp_thread *, struct pp_cell *cell, struct pp_base *b);

/* May the write be done over *b? 0, or PPDB_CONFLICT, EXISTS, NOTFOUND, TYPE. Sets w->tag and w->version to what was found; for PP_W_ADD the
 * sum becomes the value, as text in `number`. */
int pp_precond_judge(struct pp_write *w, const struct pp_base *b, char number[PP_NUMBER_MAX]);

#endif
