/*
 * play_table.c - a named table in a seed: clients create it (each demands that there is none), open it, drop it, and work on two of its keys,
 * by the number that they got last, which may be that of a table that is gone.
 *
 * The name is a register that holds a number: create, open and drop are linearizable. So are the operations on each key of each number until somebody
 * begins to drop it; then the keeper takes its keys away one by one, and who began before may meet them gone. A number that was refused once is never taken again, nor one that was known before a drop that has returned; and nobody refuses one without
 * a drop. At the end the directory's lines and the catalog agree, and no line is left of a table that is gone.
 */
#include "tests/lib/play_internal.h"

#include "engine/table.h"
#include "shm/clock.h"
#include "shm/reclaim.h"

#define NAME "table"
#define NAME_KEY PLAY_KEYS
#define NEVER UINT64_MAX

static const char *const inner[PLAY_TABLE_KEYS] = {"a", "b"};

/* ---- notes ------------------------------------------------------------------------------------------------------- */

static unsigned index_of(struct play *p, uint32_t id)
{
	unsigned i = 0;

	while (i < p->tables_seen && p->table[i] != id)
		i++;
	if (i == PLAY_TABLES)
		sched_fail("more than %d tables", PLAY_TABLES);
	if (i == p->tables_seen)
		p->table[p->tables_seen++] = id;
	return i;
}

static unsigned key_number(struct play *p, uint32_t id, unsigned k)
{
	return NAME_KEY + 1 + index_of(p, id) * PLAY_TABLE_KEYS + k;
}

/* The note says nothing of the key's value: the table was refused, or there was no room in the log. */
static void refuse(struct play_note *n, int rc)
{
	n->nothing = true;
	n->refused = rc == PPDB_TABLE_UNKNOWN;
	play_note_end(n, false);
}

/* ---- the name ---------------------------------------------------------------------------------------------------- */

static void open_table(struct play_client *c, bool create)
{
	struct pp_table_wish wish = {.name = NAME, .size = sizeof(NAME) - 1, .create = create, .exclusive = create};
	struct play_note *n = play_note(c->play, c->number, create ? LINEAR_IFABSENT : LINEAR_READ, NAME_KEY);
	uint32_t id = 0;
	uint64_t tag;
	int rc;

	n->op.value = create ? LINEAR_ANY : 0; /* a creator that stops never says which number it took */
	rc = pp_table_open(&c->t, &wish, &id, &tag);
	if (rc == PPDB_OVERLOAD) {
		refuse(n, rc);
		return;
	}
	if (rc && rc != (create ? PPDB_EXISTS : PPDB_TABLE_UNKNOWN))
		sched_fail("%s the table gave %s: %s", create ? "creating" : "opening", pp_error_name(rc), pp_detail_get());
	n->op.value = rc ? 0 : id;
	if (!rc) {
		c->table = id;
		index_of(c->play, id);
	}
	play_note_end(n, !rc);
}

static void drop_table(struct play_client *c)
{
	struct play_note *n = play_note(c->play, c->number, LINEAR_DEL, NAME_KEY);
	uint64_t tag;
	int rc = pp_table_drop(&c->t, NAME, sizeof(NAME) - 1, &tag);

	if (rc == PPDB_OVERLOAD) {
		refuse(n, rc);
		return;
	}
	if (rc && rc != PPDB_TABLE_UNKNOWN)
		sched_fail("dropping the table gave %s: %s", pp_error_name(rc), pp_detail_get());
	play_note_end(n, !rc);
}

/* ---- its keys ---------------------------------------------------------------------------------------------------- */

static void write_key(struct play_client *c, unsigned k, bool delete)
{
	struct play *p = c->play;
	struct pp_write w = {.key = {c->table, 1, inner[k]}, .flags = delete ? PP_W_DELETE : 0, .timeout_ns = PP_NS_PER_SEC};
	struct play_note *n = play_note(p, c->number, delete ? LINEAR_DEL : LINEAR_PUT, key_number(p, c->table, k));
	char value[PLAY_LONG + 1];
	int rc;

	if (!delete) {
		n->op.value = (uint64_t)(c->number + 1) * 1000000 + p->notes * 100;
		w.size = play_make_value(c, n->op.value, value);
		w.value = value;
	}
	rc = pp_write(&c->t, &w);
	if (rc == PPDB_TABLE_UNKNOWN || rc == PPDB_OVERLOAD) {
		refuse(n, rc);
		return;
	}
	if (rc && !(delete && rc == PPDB_NOTFOUND))
		sched_fail("a write to the table gave %s: %s", pp_error_name(rc), pp_detail_get());
	n->op.version = rc ? 0 : w.version;
	play_note_end(n, !rc);
}

static void read_key(struct play *p, struct pp_thread *t, unsigned process, uint32_t id, unsigned k)
{
	struct play_note *n = play_note(p, process, LINEAR_READ, key_number(p, id, k));
	struct pp_key key = {id, 1, inner[k]};
	struct pp_hit hit;
	int rc;

	pp_read_enter(t);
	rc = pp_table_usable(t->region, id) ? pp_read(t, &key, PP_LATEST, &hit) : PPDB_TABLE_UNKNOWN;
	if (rc == PPDB_TABLE_UNKNOWN) {
		refuse(n, rc);
	} else {
		if (rc && rc != PPDB_NOTFOUND)
			sched_fail("a read of the table gave %s: %s", pp_error_name(rc), pp_detail_get());
		n->op.value = rc ? 0 : play_value(hit.value, hit.size);
		n->op.version = rc ? 0 : hit.version;
		play_note_end(n, !rc);
	}
	pp_read_leave(t);
}

void play_table(struct play_client *c)
{
	unsigned dice = (unsigned)test_below(&c->r, 100), k = (unsigned)test_below(&c->r, PLAY_TABLE_KEYS);

	if (!c->table || dice < 30)
		open_table(c, test_chance(&c->r, 60));
	else if (dice < 50)
		drop_table(c);
	else if (dice < 80)
		write_key(c, k, test_chance(&c->r, 30));
	else
		read_key(c->play, &c->t, c->number, c->table, k);
}

/* ---- at the end -------------------------------------------------------------------------------------------------- */

/* Lines and records agree. */
static void compare_lines(struct pp_thread *t)
{
	struct pp_cursor_opts o = {.table = PP_TABLE_CATALOG, .snapshot = PP_LATEST};
	struct pp_table_record rec;
	unsigned records = 0, open = 0;
	struct pp_cursor *cursor;
	struct pp_hit hit;

	pp_read_enter(t);
	if (pp_cursor_open(t, &o, &cursor))
		sched_fail("no cursor");
	for (int rc = pp_cursor_first(cursor, &hit); !rc; rc = pp_cursor_next(cursor, &hit))
		if (pp_table_record_of(&hit, &rec)) {
			records++;
			if (!pp_table_usable(t->region, rec.id))
				sched_fail("table %u is in the catalog and not open", rec.id);
		}
	pp_cursor_close(cursor);
	pp_read_leave(t);
	for (uint32_t i = 0; i < pp_tables_high(t->region); i++) {
		uint64_t word = pp_load_acq(&pp_table_line(t->region, i)->word);

		open += pp_table_state(word) == PP_TABLE_OPEN;
		if (pp_table_state(word) != PP_TABLE_OPEN && pp_table_state(word) != PP_TABLE_FREE)
			sched_fail("at rest the line of table %u is in state %d", pp_table_id(word), pp_table_state(word));
	}
	if (records != open)
		sched_fail("%u tables in the catalog, %u open", records, open);
}

void play_table_last(struct play *p, struct pp_thread *t)
{
	struct pp_table_wish wish = {.name = NAME, .size = sizeof(NAME) - 1};
	struct play_note *n;
	uint32_t id = 0;
	uint64_t tag;
	int rc;

	compare_lines(t);
	n = play_note(p, PLAY_CLIENTS, LINEAR_READ, NAME_KEY);
	rc = pp_table_open(t, &wish, &id, &tag);
	if (rc && rc != PPDB_TABLE_UNKNOWN)
		sched_fail("the last look at the table gave %s", pp_error_name(rc));
	n->op.value = rc ? 0 : id;
	play_note_end(n, !rc);
	if (!rc)
		index_of(p, id);
	for (unsigned i = 0; i < p->tables_seen; i++)
		for (unsigned k = 0; k < PLAY_TABLE_KEYS; k++)
			read_key(p, t, PLAY_CLIENTS, p->table[i], k);
}

/* ---- what all of them say ---------------------------------------------------------------------------------------- */

static bool of_table(const struct play_note *n, unsigned table)
{
	return n->op.done && n->op.key > NAME_KEY && (n->op.key - NAME_KEY - 1) / PLAY_TABLE_KEYS == table;
}

/* The end of the first drop that began when the table was known, and returned. */
static uint64_t dropped_for_sure(const struct play *p, uint32_t id)
{
	uint64_t known = NEVER, dropped = NEVER;

	for (unsigned i = 0; i < p->notes; i++) {
		const struct play_note *n = &p->note[i];

		if (n->op.key == NAME_KEY && n->op.done && n->op.ok && n->op.kind != LINEAR_DEL && n->op.value == id && n->op.end < known)
			known = n->op.end;
	}
	for (unsigned i = 0; i < p->notes; i++) {
		const struct play_note *n = &p->note[i];

		if (n->op.key == NAME_KEY && n->op.done && n->op.ok && n->op.kind == LINEAR_DEL && n->op.start > known && n->op.end < dropped)
			dropped = n->op.end;
	}
	return dropped;
}

static bool drop_begun(const struct play *p, uint64_t before)
{
	for (unsigned i = 0; i < p->notes; i++)
		if (p->note[i].op.key == NAME_KEY && p->note[i].op.kind == LINEAR_DEL && p->note[i].op.start < before)
			return true;
	return false;
}

static void judge_life(const struct play *p, unsigned table)
{
	uint64_t gone = dropped_for_sure(p, p->table[table]);

	for (unsigned i = 0; i < p->notes; i++) {
		const struct play_note *n = &p->note[i];

		if (!of_table(n, table) || !n->refused)
			continue;
		if (!drop_begun(p, n->op.end))
			sched_fail("table %u was refused, and nobody had dropped it", p->table[table]);
		if (n->op.end < gone)
			gone = n->op.end;
	}
	for (unsigned i = 0; i < p->notes; i++)
		if (of_table(&p->note[i], table) && !p->note[i].nothing && p->note[i].op.start > gone)
			sched_fail("table %u was dropped, and %s of it by client %u went on", p->table[table],
				p->note[i].write ? "a write" : "a read", p->note[i].op.process);
}

/* The start of the first drop that may have been this table's. */
static uint64_t drop_begins(const struct play *p, uint32_t id)
{
	uint64_t made = NEVER, first = NEVER;

	for (unsigned i = 0; i < p->notes; i++) {
		const struct play_note *n = &p->note[i];

		if (n->op.key == NAME_KEY && n->op.kind != LINEAR_DEL && n->op.done && n->op.ok && n->op.value == id && n->op.start < made)
			made = n->op.start;
	}
	for (unsigned i = 0; i < p->notes; i++) {
		const struct play_note *n = &p->note[i];

		if (n->op.key == NAME_KEY && n->op.kind == LINEAR_DEL && (!n->op.done || (n->op.ok && n->op.end > made)) && n->op.start < first)
			first = n->op.start;
	}
	return first;
}

/* What overlaps the drop says nothing for certain: a write may have happened, a read is left out. */
static void forget_dropped(struct play *p, unsigned table)
{
	uint64_t from = drop_begins(p, p->table[table]);

	for (unsigned i = 0; i < p->notes; i++) {
		struct play_note *n = &p->note[i];

		if (!of_table(n, table) || n->op.end < from)
			continue;
		n->nothing |= !n->write;
		n->op.done = false;
		n->op.version = 0;
	}
}

void play_table_judge(struct play *p)
{
	play_judge_key(p, NAME_KEY, "name of the table");
	for (unsigned i = 0; i < p->tables_seen; i++) {
		judge_life(p, i);
		forget_dropped(p, i);
		for (unsigned k = 0; k < PLAY_TABLE_KEYS; k++) {
			char name[32];

			snprintf(name, sizeof(name), "%s of table %u", inner[k], p->table[i]);
			play_judge_key(p, NAME_KEY + 1 + i * PLAY_TABLE_KEYS + k, name);
		}
	}
}
