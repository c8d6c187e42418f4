/*
 * catalog.c - the keeper's half of tables: the directory follows the catalog, dropped tables are emptied, lines come back.
 *
 * Clients create and drop by themselves (engine/table.c) and may die between a step and the next. So when something was logged for the catalog, the
 * house thread compares: it remembers all lines, walks the catalog, and then
 *   FILLING(id), a record    the creator died or is slow: OPEN
 *   FILLING(id), no record   and no read section is left from before it was seen: the creator is gone: FREE
 *   OPEN(id), a record       who changed it may have died: the line gets its quota and time to live
 *   OPEN(id), no record      the dropper died: DROPPED. (A line is OPEN only after its record was committed, so a walk that begins later meets it.)
 * Dropped tables are swept in turn (engine/sweep.c), again and again. A walk that began when no read section was left from before the drop was seen, and met
 * not one key cell, is the last: no write to that table is under way anywhere, and its line becomes FREE(id). A writer that is stopped inside its
 * write therefore keeps the line of a dropped table, and nothing else.
 *
 * Cold start: lines are made from the catalog. Keys of a table that is not in it (a restart in the middle of a drop) are those of a dropped one. What each
 * table holds is counted.
 *
 * Ordering. The line's word is looked at, then the era; the scan of intervals (shm/reclaim.h) does the rest: a writer that saw the table OPEN
 * has an interval that begins no later.
 *
 * Dies inside: everything may be repeated; after a warm start it is.
 */
#include "engine/sweep.h"

#include "engine/index.h"
#include "engine/keeper_internal.h"
#include "engine/read.h"
#include "engine/table.h"
#include "shm/clock.h"
#include "shm/errors.h"
#include "shm/fault.h"

#include <stdlib.h>

#define COMPARE_NS UINT64_C(20000000)  /* between two comparisons, at least */
#define AGAIN_NS UINT64_C(20000000)    /* between two turns through the dropped tables; doubled up to: */
#define AGAIN_MAX_NS UINT64_C(1000000000)
#define RECORDS_STEP 512
#define LEAVES_STEP 32

struct pp_catalog {
	bool comparing;
	unsigned lines;                    /* that were in use then */
	struct pp_keybuf at;               /* where the walk through the catalog is */
	uint64_t before[PP_TABLES];        /* the lines when it began */
	bool seen[PP_TABLES];              /* that id has a record */
	uint64_t known[PP_TABLES], era[PP_TABLES]; /* a line that was FILLING or DROPPED, and an era after that was seen */
	bool quiet[PP_TABLES];             /* no section was left from before that, when the walk began */
	unsigned unsettled;                /* lines that were FILLING at the last comparison */
	/* the dropped ones */
	uint16_t dropped[PP_TABLES];
	unsigned count, at_dropped;
	bool last;                         /* the sweep under way may be the last of its table */
	uint64_t pause_ns, settle_pause_ns;
	struct pp_sweep sweep;
};

static struct pp_table *lines(const struct pp_keeper *k)
{
	return ((struct pp_engine *)k->region.engine)->table;
}

/* ---- what was seen when ----------------------------------------------------------------------------------------- */

static void know(struct pp_keeper *k, unsigned i, uint64_t word)
{
	struct pp_catalog *c = k->catalog;

	if (c->known[i] == word)
		return;
	c->known[i] = word;
	c->era[i] = pp_era(&k->house);
}

/* No read section is left that began before the line was seen like this. */
static bool quiet(const struct pp_keeper *k, unsigned i, uint64_t word)
{
	const struct pp_catalog *c = k->catalog;

	return c->known[i] == word && pp_safe_block(&k->house.safe, 0, c->era[i]);
}

/* ---- comparing -------------------------------------------------------------------------------------------------- */

static void compare_begin(struct pp_keeper *k)
{
	struct pp_catalog *c = k->catalog;

	pp_store_rel(&k->catalog_changed, 0); /* before the lines: what is logged from now on is compared again */
	pp_safe_refresh(&k->region, &k->house.safe);
	c->lines = pp_tables_high(&k->region);
	for (unsigned i = 0; i < c->lines; i++) {
		uint64_t word = pp_load_acq(&lines(k)[i].word);

		c->before[i] = word;
		c->seen[i] = false;
		c->quiet[i] = quiet(k, i, word);
		if (pp_table_state(word) == PP_TABLE_FILLING || pp_table_state(word) == PP_TABLE_DROPPED)
			know(k, i, word);
	}
	pp_keybuf_set(&c->at, PP_TABLE_CATALOG, "", 0);
	c->comparing = true;
}

static void see(struct pp_keeper *k, const struct pp_table_record *rec)
{
	struct pp_catalog *c = k->catalog;
	unsigned i = rec->id % PP_TABLES;
	uint64_t word = PP_TABLE_WORD(PP_TABLE_FILLING, rec->id);

	if (i < c->lines && pp_table_id(c->before[i]) == rec->id)
		c->seen[i] = true;
	if (pp_cas_seq(&lines(k)[i].word, &word, PP_TABLE_WORD(PP_TABLE_OPEN, rec->id)) || word == PP_TABLE_WORD(PP_TABLE_OPEN, rec->id))
		pp_table_apply(&k->house, rec); /* who changed it may have died before */
}

/* Some records; true = the walk is at its end. */
static bool see_some(struct pp_keeper *k)
{
	struct pp_catalog *c = k->catalog;
	struct pp_thread *t = &k->house;
	struct pp_cursor_opts o = {.table = PP_TABLE_CATALOG, .snapshot = PP_LATEST};
	struct pp_table_record rec;
	struct pp_cursor *cursor;
	struct pp_hit hit;
	unsigned n = 0;
	int rc;

	if (pp_cursor_open(t, &o, &cursor))
		return false;
	pp_read_enter(t);
	rc = pp_cursor_seek(cursor, c->at.key.bytes + 4, c->at.key.size - 4, &hit);
	for (; !rc && n < RECORDS_STEP; n++, rc = pp_cursor_next(cursor, &hit))
		if (pp_table_record_of(&hit, &rec))
			see(k, &rec);
	if (!rc)
		pp_keybuf_set(&c->at, PP_TABLE_CATALOG, hit.key, hit.key_size);
	pp_read_leave(t);
	pp_cursor_close(cursor);
	return rc == PPDB_NOTFOUND;
}

/* A line that has no record. */
static void judge(struct pp_keeper *k, unsigned i)
{
	struct pp_catalog *c = k->catalog;
	uint64_t word = c->before[i];
	uint32_t id = pp_table_id(word);

	if (pp_table_state(word) == PP_TABLE_FREE || pp_table_state(word) == PP_TABLE_DROPPED)
		return;
	PP_FAULT_POINT("catalog.judge");
	if (pp_table_state(word) == PP_TABLE_OPEN)
		pp_cas_seq(&lines(k)[i].word, &word, PP_TABLE_WORD(PP_TABLE_DROPPED, id));
	else if (pp_table_state(word) == PP_TABLE_FILLING && (c->quiet[i] || PP_MUTANT("catalog.not_quiet")))
		pp_cas_seq(&lines(k)[i].word, &word, PP_TABLE_WORD(PP_TABLE_FREE, id));
}

static uint64_t longer(uint64_t pause_ns)
{
	return !pause_ns ? AGAIN_NS : pause_ns < AGAIN_MAX_NS ? 2 * pause_ns : AGAIN_MAX_NS;
}

static void compare_end(struct pp_keeper *k)
{
	struct pp_catalog *c = k->catalog;

	c->unsettled = c->count = c->at_dropped = 0;
	for (unsigned i = 0; i < c->lines; i++) {
		uint64_t word;

		if (!c->seen[i])
			judge(k, i);
		word = pp_load_acq(&lines(k)[i].word);
		if (pp_table_state(word) == PP_TABLE_DROPPED) {
			know(k, i, word);
			c->dropped[c->count++] = (uint16_t)i;
		}
		c->unsettled += pp_table_state(word) == PP_TABLE_FILLING;
	}
	c->sweep.active = false; /* the list is another one */
	c->pause_ns = AGAIN_NS;
	k->catalog_next.again_ns = 0;
	c->comparing = false;
	k->catalog_next.compare_ns = pp_now_ns() + COMPARE_NS;
	c->settle_pause_ns = c->unsettled ? longer(c->settle_pause_ns) : 0;
	k->catalog_next.settle_ns = pp_now_ns() + c->settle_pause_ns;
}

static bool compare_step(struct pp_keeper *k)
{
	struct pp_catalog *c = k->catalog;

	if (!c->comparing) {
		uint64_t now = pp_now_ns();

		if (!(pp_load_acq(&k->catalog_changed) && now >= k->catalog_next.compare_ns) && !(c->unsettled && now >= k->catalog_next.settle_ns))
			return false;
		if (c->unsettled)
			k->round.idle = 0; /* it waits for a round */
		compare_begin(k);
	}
	if (see_some(k))
		compare_end(k);
	return c->comparing;
}

/* ---- dropped tables --------------------------------------------------------------------------------------------- */

static void swept(struct pp_keeper *k)
{
	struct pp_catalog *c = k->catalog;
	unsigned i = c->dropped[c->at_dropped];
	uint64_t word = c->known[i];

	if (c->sweep.met || !c->last) {
		c->at_dropped++;
		return;
	}
	PP_FAULT_POINT("catalog.empty");
	pp_cas_seq(&lines(k)[i].word, &word, PP_TABLE_WORD(PP_TABLE_FREE, pp_table_id(word)));
	c->dropped[c->at_dropped] = c->dropped[--c->count];
}

static bool drop_step(struct pp_keeper *k)
{
	struct pp_catalog *c = k->catalog;
	uint64_t now = pp_now_ns();

	if (!c->count || now < k->catalog_next.again_ns || k->log_error)
		return false;
	if (c->at_dropped >= c->count) { /* what was found must become durable and be removed first */
		c->at_dropped = 0;
		k->catalog_next.again_ns = now + c->pause_ns;
		c->pause_ns = longer(c->pause_ns);
		k->round.idle = 0; /* it waits for a round */
		return false;
	}
	if (!c->sweep.active) {
		unsigned i = c->dropped[c->at_dropped];

		pp_safe_refresh(&k->region, &k->house.safe);
		c->last = quiet(k, i, c->known[i]);
		pp_sweep_begin(&c->sweep, true, pp_table_id(c->known[i]));
	}
	if (pp_sweep_step(k, &c->sweep, LEAVES_STEP))
		swept(k);
	return !c->sweep.stalled && c->count && !pp_keeper_busy(k);
}

/* ---- the step --------------------------------------------------------------------------------------------------- */

bool pp_catalog_step(struct pp_keeper *k)
{
	bool more;

	if (!k->catalog) {
		if (!pp_load_acq(&k->catalog_changed))
			return false;
		k->catalog = calloc(1, sizeof(*k->catalog)); /* backed as it is used */
		if (!k->catalog)
			return false;
	}
	more = compare_step(k);
	return drop_step(k) || more;
}

bool pp_catalog_busy(const struct pp_keeper *k)
{
	return pp_load_acq(&k->catalog_changed) || (k->catalog && (k->catalog->comparing || k->catalog->unsettled || k->catalog->count));
}

void pp_catalog_free(struct pp_keeper *k)
{
	free(k->catalog);
	k->catalog = NULL;
}

/* ---- cold start ------------------------------------------------------------------------------------------------- */

static int recover_lines(struct pp_keeper *k)
{
	struct pp_thread *t = &k->house;
	struct pp_cursor_opts o = {.table = PP_TABLE_CATALOG, .snapshot = PP_LATEST};
	struct pp_table_record rec;
	struct pp_cursor *c;
	struct pp_hit hit;
	int rc = pp_cursor_open(t, &o, &c);

	if (rc)
		return rc;
	for (rc = pp_cursor_first(c, &hit); !rc; rc = pp_cursor_next(c, &hit)) {
		struct pp_table *e;

		if (!pp_table_record_of(&hit, &rec))
			continue;
		pp_table_raise(&k->region, rec.id);
		e = pp_table_line(&k->region, rec.id);
		pp_store_rlx(&e->quota, rec.quota); /* nobody else is here yet */
		pp_store_rlx(&e->ttl_ms, rec.ttl_ms);
		pp_store_rel(&e->word, PP_TABLE_WORD(PP_TABLE_OPEN, rec.id));
	}
	pp_cursor_close(c);
	return rc == PPDB_NOTFOUND ? 0 : rc;
}

static void count_cell(struct pp_keeper *k, struct pp_cell *c)
{
	uint32_t id = be32toh(c->table_be);
	uint64_t state, word;
	struct pp_table *e;
	struct pp_version *v;
	pp_ref ref;

	if (id >= PP_TABLE_IDS)
		return;
	ref = pp_version_visible(&k->house, c, PP_LATEST, &state);
	v = ref ? pp_version_at(&k->house, ref) : NULL;
	e = pp_table_line(&k->region, id);
	word = pp_load_acq(&e->word);
	if (pp_table_id(word) < id && pp_table_state(word) != PP_TABLE_OPEN) {
		pp_table_raise(&k->region, id);
		pp_store_rel(&e->word, PP_TABLE_WORD(PP_TABLE_DROPPED, id)); /* it is not in the catalog any more */
	}
	if (v && !(pp_version_flags(v) & PP_V_TOMBSTONE) && word == PP_TABLE_WORD(PP_TABLE_OPEN, id))
		pp_table_count(&k->house, id, (int64_t)c->key_size + v->size, 1);
}

static int count_list(struct pp_keeper *k, unsigned list)
{
	struct pp_thread *t = &k->house;
	struct pp_keybuf at;
	struct pp_place p;
	bool more = true;

	pp_keybuf_set(&at, 1, "", 0);
	while (more) {
		pp_read_enter(t);
		pp_index_find(t, list, 0, &at.key, false, &p);
		for (unsigned i = p.at; i < p.block->count; i++)
			pp_near(pp_at(t->region, pp_block_ref(p.block, i)));
		for (unsigned i = p.at; i < p.block->count; i++)
			count_cell(k, pp_cell_at(t, pp_block_ref(p.block, i)));
		more = p.block->high_size != 0;
		pp_keybuf_copy(&at, pp_block_high(p.block), p.block->high_size);
		pp_read_leave(t);
		if (pp_damage(t))
			return pp_damage_report(t);
	}
	return 0;
}

int pp_catalog_recover(struct pp_keeper *k)
{
	int rc;

	pp_read_enter(&k->house);
	rc = recover_lines(k);
	pp_read_leave(&k->house);
	for (unsigned i = 0; i < pp_list_count(k->region.engine) && !rc; i++)
		rc = count_list(k, i);
	pp_store_rel(&k->catalog_changed, 1); /* some may be dropped */
	return rc;
}
