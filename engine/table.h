/*
 * table.h - named tables: the directory that every operation asks, and the catalog that it is made from.
 *
 * A table's id is part of its keys. Table 0 always exists. Of another one each call looks at one word of the directory: the line of its id
 * says OPEN and that id, or there is no such table. The catalog is a table itself (key = name, value = struct pp_table_record), so it is logged,
 * checkpointed and recovered as any key; the directory lives in memory only and is made from it at a cold start.
 */
#ifndef PP_ENGINE_TABLE_H
#define PP_ENGINE_TABLE_H

#include "engine/index.h"

#define PP_TABLE_NAME_MAX 255

/* The value of a name in the catalog; little-endian. */
struct pp_table_record {
	uint32_t id, format;               /* format 1 */
	uint64_t quota, ttl_ms;            /* 0 = none */
	uint64_t created_ms;               /* since 1970 */
};
_Static_assert(sizeof(struct pp_table_record) == 32, "on disk");

static inline struct pp_table *pp_table_line(const struct pp_region *r, uint32_t id)
{
	return &((struct pp_engine *)r->engine)->table[id % PP_TABLES];
}

/* May its keys be read and written? */
static inline bool pp_table_usable(const struct pp_region *r, uint32_t id)
{
	/* [table.usable:word] pairs [table.enter:word]: quota and ttl_ms, stored before it was opened */
	return __builtin_expect(!id, 1) || pp_load_acq(&pp_table_line(r, id)->word) == PP_TABLE_WORD(PP_TABLE_OPEN, id);
}

/* Before the line of `id` is used. */
static inline void pp_table_raise(const struct pp_region *r, uint32_t id)
{
	pp_a64 *high = &((struct pp_engine *)r->engine)->tables_high;
	uint64_t now = pp_load_acq(high);

	while (now <= id % PP_TABLES && !pp_cas_acqrel(high, &now, id % PP_TABLES + 1))
		;
}

static inline unsigned pp_tables_high(const struct pp_region *r)
{
	uint64_t high = pp_load_acq(&((struct pp_engine *)r->engine)->tables_high);

	return high < PP_TABLES ? (unsigned)high : PP_TABLES;
}

/* The name and its record, from a value of the catalog. False: damaged, or the counter of ids, which is kept there too. */
bool pp_table_record_of(const struct pp_hit *, struct pp_table_record *);

/* 0 and *rec, or PPDB_TABLE_UNKNOWN. `version` and `tag` of the record too (NULL allowed). Inside a read section. */
int pp_table_look(struct pp_thread *, const char *name, uint32_t size, struct pp_table_record *rec, uint64_t *version, uint64_t *tag);

/* Stores what the record says into the line, where writes find it. Inside a read section that saw the record. */
void pp_table_apply(struct pp_thread *, const struct pp_table_record *);

struct pp_table_wish {
	const char *name;
	uint32_t size;                     /* 1..PP_TABLE_NAME_MAX */
	bool create, exclusive, change;
	uint64_t quota, ttl_ms;            /* for a new one, or one that is changed */
};

/*
 * The table of that name: its id, and the ticket of its creation. PPDB_TABLE_UNKNOWN; with create: PPDB_EXISTS (exclusive), PPDB_FULL (too
 * many tables), and what pp_write gives; then it may be called again.
 * With change: one that is there gets the wish's quota and time to live; writes that begin afterwards go by them.
 * Crash: the table is there or not, changed or not; an id may be lost, its line comes back.
 */
int pp_table_open(struct pp_thread *, const struct pp_table_wish *, uint32_t *id, uint64_t *tag);

/* No call sees it any more when this returns; the keeper takes its keys back. PPDB_TABLE_UNKNOWN, and what pp_write gives. */
int pp_table_drop(struct pp_thread *, const char *name, uint32_t size, uint64_t *tag);

/* ---- quota ------------------------------------------------------------------------------------------------------ */

/* PPDB_FULL with a sentence if `bytes` more do not fit. For tables other than 0. */
int pp_table_room(struct pp_thread *, uint32_t id, int64_t bytes);
static inline void pp_table_count(struct pp_thread *t, uint32_t id, int64_t bytes, int64_t keys)
{
	struct pp_table *e = pp_table_line(t->region, id);

	pp_add_rlx(&e->bytes, (uint64_t)bytes); /* stat: judged softly */
	if (keys)
		pp_add_rlx(&e->keys, (uint64_t)keys); /* stat */
}

#endif
