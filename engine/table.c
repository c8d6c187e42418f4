/*
 * table.c - creating, finding and dropping named tables.
 *
 * Create. A new id: the catalog's counter (key "\0") goes up by cas to the id behind the chosen one, so no id is ever given twice. Its line of the
 * directory is claimed, FREE -> FILLING(id), before the name is put into the catalog by a write that demands that it is absent; then FILLING
 * -> OPEN. So a record in the catalog always owns its line, and two records never share one.
 * Change. The record is replaced, by its version; then quota and time to live are stored into the line, until the record still says the same, so
 * that of two changes the later one stands in both. (The keeper does the same when the catalog changed.)
 * Drop. The record is deleted, by its version; then OPEN -> DROPPED.
 * All of it happens in one read section: a line goes back to FREE only when no section is left that began before it was DROPPED, or
 * FILLING (engine/catalog.c), so nobody who was stopped in here comes back to a line that is another's by now. A write looks
 * at the line inside its own section; so after that no write to the dropped table is under way anywhere.
 *
 * Ordering. [table.enter:word] pairs [table.usable:word]: quota and time to live of the table.
 *
 * Dies inside: after the counter: an id is lost. FILLING without a record: the keeper frees the line. A record, still FILLING: who opens the table
 * next, or the keeper, completes it. A record that was changed, not its line: the keeper stores it. The record deleted, still OPEN: the keeper drops it.
 */
#include "engine/table.h"

#include "engine/key.h"
#include "shm/clock.h"
#include "shm/errors.h"
#include "shm/fault.h"
#include "shm/reclaim.h"

#include <stdio.h>
#include <string.h>

static const struct pp_key counter = {PP_TABLE_CATALOG, 1, "\0"};

/* ---- records ---------------------------------------------------------------------------------------------------- */

bool pp_table_record_of(const struct pp_hit *h, struct pp_table_record *rec)
{
	if (h->size != sizeof(*rec) || !h->key_size || !*(const char *)h->key)
		return false;
	memcpy(rec, h->value, sizeof(*rec));
	return rec->format == 1 && rec->id && rec->id < PP_TABLE_IDS;
}

int pp_table_look(struct pp_thread *t, const char *name, uint32_t size, struct pp_table_record *rec, uint64_t *version, uint64_t *tag)
{
	struct pp_key k = {PP_TABLE_CATALOG, size, name};
	struct pp_hit hit;
	int rc = pp_read(t, &k, PP_LATEST, &hit);

	if (rc == PPDB_NOTFOUND)
		return pp_detail(PPDB_TABLE_UNKNOWN, "there is no table '%.*s'; create it with 'ppdb table create'", (int)size, name);
	if (rc)
		return rc;
	if (!pp_table_record_of(&hit, rec))
		return pp_detail(PPDB_CORRUPT, "the catalog's record of table '%.*s' is damaged; run 'ppdb check'", (int)size, name);
	if (version)
		*version = hit.version;
	if (tag)
		*tag = hit.tag;
	return 0;
}

static int write_catalog(struct pp_thread *t, const struct pp_key *k, const void *value, uint32_t size, uint32_t flags, uint64_t expect, uint64_t *tag)
{
	struct pp_write w = {.key = *k, .value = value, .size = size, .flags = PP_W_CAS | flags, .expect = expect};
	int rc = pp_write(t, &w);

	*tag = w.tag;
	return rc;
}

/* ---- lines ------------------------------------------------------------------------------------------------------ */

/* The table is in the catalog: its line must say so. False: it was dropped meanwhile. */
static bool enter(struct pp_thread *t, uint32_t id)
{
	struct pp_table *e = pp_table_line(t->region, id);
	uint64_t word = PP_TABLE_WORD(PP_TABLE_FILLING, id);

	/* [table.enter:word] pairs [table.usable:word]: what the creator stored before the record */
	return pp_cas_seq(&e->word, &word, PP_TABLE_WORD(PP_TABLE_OPEN, id)) || word == PP_TABLE_WORD(PP_TABLE_OPEN, id);
}

/* Not behind `id`: it may be anything by now. */
static void leave(struct pp_thread *t, uint32_t id)
{
	struct pp_table *e = pp_table_line(t->region, id);
	uint64_t word = pp_load_acq(&e->word);

	while (pp_table_id(word) == id && (pp_table_state(word) == PP_TABLE_OPEN || pp_table_state(word) == PP_TABLE_FILLING) &&
	       !pp_cas_seq(&e->word, &word, PP_TABLE_WORD(PP_TABLE_DROPPED, id)))
		;
}

static bool line_free(struct pp_thread *t, uint32_t id)
{
	uint64_t word = pp_load_acq(&pp_table_line(t->region, id)->word);

	return pp_table_state(word) == PP_TABLE_FREE && pp_table_id(word) < id;
}

/* ---- create ----------------------------------------------------------------------------------------------------- */

static int next_id(struct pp_thread *t, uint32_t *next, uint64_t *version)
{
	struct pp_hit hit;
	int rc = pp_read(t, &counter, PP_LATEST, &hit);
	uint64_t value = 1;

	*version = 0;
	if (rc && rc != PPDB_NOTFOUND)
		return rc;
	if (!rc && hit.size == sizeof(value)) {
		memcpy(&value, hit.value, sizeof(value));
		*version = hit.version;
	}
	if (!value || (!rc && hit.size != sizeof(value)))
		return pp_detail(PPDB_CORRUPT, "the catalog's counter of tables is damaged; run 'ppdb check'");
	*next = value < PP_TABLE_IDS ? (uint32_t)value : PP_TABLE_IDS;
	return 0;
}

/* An id that nobody ever had, and its line. PPDB_CONFLICT: somebody else was faster. */
static int take_id(struct pp_thread *t, uint32_t *id)
{
	uint64_t version = 0, after, tag, word;
	uint32_t next = 0, tried = 0;
	struct pp_table *e;
	int rc = next_id(t, &next, &version);

	if (rc)
		return rc;
	while (next < PP_TABLE_IDS && tried < PP_TABLES && !line_free(t, next)) {
		next++;
		tried++;
	}
	if (next >= PP_TABLE_IDS)
		return pp_detail(PPDB_FULL, "all table ids have been used; dump the store into a new one");
	if (tried == PP_TABLES)
		return pp_detail(PPDB_FULL, "there are %d tables already, or dropped ones whose keys are still being removed; drop some", PP_TABLES);
	after = (uint64_t)next + 1;
	rc = write_catalog(t, &counter, &after, sizeof(after), 0, version, &tag);
	PP_FAULT_POINT("table.create.counted");
	if (rc)
		return rc;
	pp_table_raise(t->region, next);
	e = pp_table_line(t->region, next);
	word = pp_load_acq(&e->word);
	if (pp_table_state(word) != PP_TABLE_FREE || pp_table_id(word) >= next ||
	    !pp_cas_seq(&e->word, &word, PP_TABLE_WORD(PP_TABLE_FILLING, next)))
		return PPDB_CONFLICT; /* a later id has it by now */
	*id = next;
	return 0;
}

static int create(struct pp_thread *t, const struct pp_table_wish *wish, uint32_t *id, uint64_t *tag)
{
	struct pp_key k = {PP_TABLE_CATALOG, wish->size, wish->name};
	struct pp_table_record rec = {.format = 1, .quota = wish->quota, .ttl_ms = wish->ttl_ms, .created_ms = pp_wall_ms()};
	struct pp_table *e;
	int rc = take_id(t, id);

	if (rc)
		return rc;
	PP_FAULT_POINT("table.create.claimed");
	e = pp_table_line(t->region, *id);
	pp_store_rlx(&e->bytes, 0); /* these four: published by the record's commit, and by OPEN */
	pp_store_rlx(&e->keys, 0);
	pp_store_rlx(&e->quota, wish->quota);
	pp_store_rlx(&e->ttl_ms, wish->ttl_ms);
	rec.id = *id;
	rc = write_catalog(t, &k, &rec, sizeof(rec), 0, 0, tag);
	PP_FAULT_POINT("table.create.recorded");
	if (rc) {
		uint64_t word = PP_TABLE_WORD(PP_TABLE_FILLING, *id);

		pp_cas_seq(&e->word, &word, PP_TABLE_WORD(PP_TABLE_FREE, *id)); /* it is ours alone: there is no record */
		return rc;
	}
	enter(t, *id); /* or it has been dropped already: it was made all the same, and nobody may be told that another one was there before */
	return 0;
}

/* ---- change ----------------------------------------------------------------------------------------------------- */

void pp_table_apply(struct pp_thread *t, const struct pp_table_record *rec)
{
	struct pp_table *e = pp_table_line(t->region, rec->id);

	/* The line cannot become another table's in this section. Each word holds for itself. */
	if (pp_table_id(pp_load_acq(&e->word)) != rec->id)
		return;
	if (pp_load_rlx(&e->quota) != rec->quota) /* recheck: the caller looks at the record again */
		pp_store_rel(&e->quota, rec->quota);
	if (pp_load_rlx(&e->ttl_ms) != rec->ttl_ms) /* recheck */
		pp_store_rel(&e->ttl_ms, rec->ttl_ms);
}

static int change(struct pp_thread *t, const struct pp_table_wish *wish, struct pp_table_record *rec, uint64_t version, uint64_t *tag)
{
	struct pp_key k = {PP_TABLE_CATALOG, wish->size, wish->name};
	struct pp_table_record now;
	int rc;

	rec->quota = wish->quota;
	rec->ttl_ms = wish->ttl_ms;
	rc = write_catalog(t, &k, rec, sizeof(*rec), 0, version, tag);
	PP_FAULT_POINT("table.change.recorded");
	if (rc)
		return rc;
	for (now = *rec;; *rec = now) {
		pp_table_apply(t, rec);
		if (pp_table_look(t, wish->name, wish->size, &now, NULL, NULL) || now.id != rec->id)
			return 0; /* dropped since: it was changed all the same */
		if (now.quota == rec->quota && now.ttl_ms == rec->ttl_ms)
			return 0;
	}
}

static int open_once(struct pp_thread *t, const struct pp_table_wish *wish, uint32_t *id, uint64_t *tag)
{
	struct pp_table_record rec;
	uint64_t version = 0;
	int rc = pp_table_look(t, wish->name, wish->size, &rec, &version, tag);

	if (!rc && wish->exclusive)
		return pp_detail(PPDB_EXISTS, "there is a table '%.*s' already", (int)wish->size, wish->name);
	if (!rc) {
		*id = rec.id;
		if (!enter(t, rec.id))
			return PPDB_CONFLICT; /* the record is gone by now */
		return wish->change ? change(t, wish, &rec, version, tag) : 0;
	}
	return rc == PPDB_TABLE_UNKNOWN && wish->create ? create(t, wish, id, tag) : rc;
}

int pp_table_open(struct pp_thread *t, const struct pp_table_wish *wish, uint32_t *id, uint64_t *tag)
{
	int rc;

	*tag = 0;
	pp_read_enter(t);
	do
		rc = open_once(t, wish, id, tag);
	while (rc == PPDB_CONFLICT);
	pp_read_leave(t);
	return rc;
}

/* ---- drop ------------------------------------------------------------------------------------------------------- */

static int drop_once(struct pp_thread *t, const char *name, uint32_t size, uint64_t *tag)
{
	struct pp_key k = {PP_TABLE_CATALOG, size, name};
	struct pp_table_record rec;
	uint64_t version = 0;
	int rc = pp_table_look(t, name, size, &rec, &version, NULL);

	if (rc)
		return rc;
	rc = write_catalog(t, &k, NULL, 0, PP_W_DELETE, version, tag);
	PP_FAULT_POINT("table.drop.recorded");
	if (!rc && !PP_MUTANT("table.line_stays"))
		leave(t, rec.id);
	return rc;
}

int pp_table_drop(struct pp_thread *t, const char *name, uint32_t size, uint64_t *tag)
{
	int rc;

	*tag = 0;
	pp_read_enter(t);
	do
		rc = drop_once(t, name, size, tag);
	while (rc == PPDB_CONFLICT);
	pp_read_leave(t);
	return rc;
}

/* ---- quota ------------------------------------------------------------------------------------------------------ */

/* For a message only: looks through the catalog. */
static void name_of(struct pp_thread *t, uint32_t id, char *to, size_t cap)
{
	struct pp_cursor_opts o = {.table = PP_TABLE_CATALOG, .snapshot = PP_LATEST};
	struct pp_table_record rec;
	struct pp_cursor *c;
	struct pp_hit hit;

	snprintf(to, cap, "number %u", id);
	if (pp_cursor_open(t, &o, &c))
		return;
	for (int rc = pp_cursor_first(c, &hit); !rc; rc = pp_cursor_next(c, &hit))
		if (pp_table_record_of(&hit, &rec) && rec.id == id) {
			snprintf(to, cap, "'%.*s'", (int)hit.key_size, (const char *)hit.key);
			break;
		}
	pp_cursor_close(c);
}

int pp_table_room(struct pp_thread *t, uint32_t id, int64_t bytes)
{
	struct pp_table *e = pp_table_line(t->region, id);
	uint64_t quota = pp_load_rlx(&e->quota); /* ordered by the look at its word */
	int64_t used = (int64_t)pp_load_rlx(&e->bytes); /* stat */
	char name[300];

	if (__builtin_expect(!quota || bytes <= 0 || (uint64_t)(used < 0 ? 0 : used) + (uint64_t)bytes <= quota, 1))
		return 0;
	name_of(t, id, name, sizeof(name));
	return pp_detail(PPDB_FULL, "table %s holds %lld of the %llu bytes of its quota and has no room for %lld more; delete keys of it", name,
			 (long long)(used < 0 ? 0 : used), (unsigned long long)quota, (long long)bytes);
}
