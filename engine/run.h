/*
 * run.h - a run: records as they were read from disk, sorted by key in memory (the first half of an external sort).
 *
 * One thread adds; then some threads sort one part each, the run is cut into ranges of keys of about equal size, and each range is taken
 * in order by one thread, merged out of the parts.
 */
#ifndef PP_ENGINE_RUN_H
#define PP_ENGINE_RUN_H

#include "engine/key.h"

#define PP_RUN_PARTS 8

/* The sort key is what begins at list_be: list, table, the user's key; memcmp orders it. */
struct pp_run_record {
	uint64_t tag, seq, expires_ms;
	uint32_t size;                     /* of the value */
	uint16_t flags;                    /* PP_V_TOMBSTONE */
	uint16_t key_size;                 /* the user's */
	uint16_t pad;
	uint16_t list_be;
	uint32_t table_be;
	uint8_t bytes[];                   /* key, value */
};

_Static_assert(offsetof(struct pp_run_record, bytes) == 40, "list, table and key are contiguous");

/* `slice`: 8 bytes of the sort key, behind what all sort keys of the run share. */
struct pp_run_item {
	uint64_t slice;
	struct pp_run_record *rec;
};

struct pp_run {
	uint8_t *bytes;
	size_t used, room;                 /* may be passed by one record */
	struct pp_run_item *items, *spare;
	size_t count, items_room;
	uint32_t common;                   /* bytes that all sort keys share */
};

struct pp_run_range {
	unsigned parts, low;               /* part with the lowest next record; parts: none is left */
	uint32_t common;
	const struct pp_run_item *at[PP_RUN_PARTS], *end[PP_RUN_PARTS];
};

/* Memory for about `bytes` of records and what sorting them takes; backed as it is used. */
int pp_run_init(struct pp_run *, size_t bytes);
void pp_run_release(struct pp_run *);
void pp_run_clear(struct pp_run *);

/* Room for a record, whose fields and bytes the caller fills before pp_run_add. NULL: the run is full; an empty one never is. */
struct pp_run_record *pp_run_reserve(struct pp_run *, uint32_t key_size, uint64_t size);
void pp_run_add(struct pp_run *, struct pp_run_record *);

/* A full run becomes twice as large. */
int pp_run_grow(struct pp_run *);

/* The records added last, as long as their tag is above `tag`, are moved to the run `to`; NULL: dropped. */
int pp_run_carry(struct pp_run *, uint64_t tag, struct pp_run *to);

/* Sorts part `part` of `parts`: different threads different parts. */
void pp_run_sort(struct pp_run *, unsigned part, unsigned parts);

/* Cuts the sorted parts into `count` ranges; equal keys stay together. */
void pp_run_cut(const struct pp_run *, unsigned parts, unsigned count, struct pp_run_range *ranges);

/* The next record in order of keys, NULL at the end. */
static inline const struct pp_run_record *pp_run_peek(const struct pp_run_range *r)
{
	return r->low < r->parts ? r->at[r->low]->rec : NULL;
}

/* Takes all records of the next key: the newest of them. */
const struct pp_run_record *pp_run_take(struct pp_run_range *);

static inline struct pp_ikey pp_run_key(const struct pp_run_record *rec)
{
	return (struct pp_ikey){(const uint8_t *)&rec->table_be, 4u + rec->key_size};
}

static inline unsigned pp_run_list(const struct pp_run_record *rec)
{
	return be16toh(rec->list_be);
}

static inline const uint8_t *pp_run_value(const struct pp_run_record *rec)
{
	return rec->bytes + rec->key_size;
}

#endif
