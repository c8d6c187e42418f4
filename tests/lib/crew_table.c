/*
 * crew_table.c (test) - tables in the crew.
 *
 * A TABLES member makes a table of its own, writes n = 1, 2, ... to it, counts, drops it, makes it again under the same name: after a restart the
 * table is there, whole, or it has been dropped. CHURNs make, use and drop one table together. A number that was dropped is refused for ever, and
 * given to no table again; those of one's own table rise.
 */
#include "tests/lib/crew_internal.h"

#include <stdio.h>
#include <unistd.h>

#define TABLE_LENGTH 150
#define SHARED "shared"

static const ppdb_wopts async = {.size = sizeof(async), .flags = PPDB_ASYNC};

static const char *name_of(const struct crew_member *m)
{
	static char name[32];

	snprintf(name, sizeof(name), "own/%u", m->index);
	return name;
}

static const char *key_of(uint64_t n)
{
	static char key[32];

	snprintf(key, sizeof(key), "n%08" PRIu64, n);
	return key;
}

/* Nobody takes a number that was dropped, once the drop has returned. */
static void must_be_unknown(struct crew_self *s, ppdb_table t)
{
	int rc = ppdb_put(s->db, t, PPDB_S("late"), PPDB_S("value"), &async, NULL);

	test_require(rc == PPDB_TABLE_UNKNOWN || crew_tolerates(s, rc), "a write to table %u, which was dropped, gave %s", t, test_name_of(rc));
}

/*
 * The same of a table that several drop. The name goes before the number: one who died between the two leaves the number to the keeper, and
 * the others find no table of that name, or another one.
 */
static void becomes_unknown(struct crew_self *s, ppdb_table t)
{
	uint64_t begin = test_now_ns();
	int rc;

	crew_op(s, "table %u becoming unknown", t);
	while (!(rc = ppdb_put(s->db, t, PPDB_S("late"), PPDB_S("value"), &async, NULL)) && !atomic_load(&s->c->quit)) {
		test_require(test_now_ns() - begin < CREW_STUCK_NS, "table %u, which was dropped, still takes writes", t);
		usleep(1000);
	}
	test_require(!rc || rc == PPDB_TABLE_UNKNOWN || rc == PPDB_OVERLOAD || rc == PPDB_FULL || rc == -ENOSPC || crew_tolerates(s, rc),
		"a write to table %u, which was dropped, gave %s", t, test_name_of(rc));
	crew_op_end(s);
}

/* 0, PPDB_EXISTS, PPDB_TABLE_UNKNOWN, or something that the daemon's absence or a full store explains. */
static int open_table(struct crew_self *s, const char *name, uint32_t flags, ppdb_table *t)
{
	ppdb_table_opts o = {.size = sizeof(o), .flags = flags};
	bool durable;
	int rc;

	crew_op(s, "opening table %s, flags %u", name, flags);
	rc = ppdb_table_open(s->db, name, &o, t);
	if (rc != PPDB_EXISTS && rc != PPDB_TABLE_UNKNOWN)
		crew_happened(s, rc, 0, &durable);
	crew_op_end(s);
	return rc;
}

/* False: it is not known whether it was done. */
static bool drop_table(struct crew_self *s, const char *name, bool *was_there)
{
	bool durable;
	int rc;

	crew_op(s, "dropping table %s", name);
	rc = ppdb_table_drop(s->db, name);
	if (rc && rc != PPDB_TABLE_UNKNOWN)
		crew_happened(s, rc, 0, &durable);
	crew_op_end(s);
	*was_there = !rc;
	return !rc || rc == PPDB_TABLE_UNKNOWN;
}

/* ---- a table of one's own --------------------------------------------------------------------------------------- */

static void drop_own(struct crew_self *s)
{
	ppdb_table t = atomic_load(&s->m->table);
	bool there, tried = false;

	atomic_store(&s->m->dropping, 1);
	while (!drop_table(s, name_of(s->m), &there)) {
		tried = true;
		if (atomic_load(&s->c->quit))
			return;
	}
	test_require(there || tried, "table %s (%u) is gone, and its owner had not dropped it", name_of(s->m), t);
	atomic_store(&s->m->table, 0);
	atomic_store(&s->m->dropping, 0);
	must_be_unknown(s, t);
}

static void begin_own(struct crew_self *s)
{
	bool there;
	ppdb_table t;
	int rc;

	crew_renew(s);
	rc = open_table(s, name_of(s->m), PPDB_CREATE | PPDB_EXCLUSIVE, &t);
	if (rc == PPDB_EXISTS) /* an earlier life's, or one whose creation was not known to be durable */
		drop_table(s, name_of(s->m), &there);
	if (rc)
		return;
	atomic_store(&s->m->begun, 0);
	atomic_store(&s->m->done, 0);
	atomic_store(&s->m->durable, 0);
	atomic_store(&s->m->table, t);
}

static void count_own(struct crew_self *s, ppdb_table t, uint64_t want)
{
	uint64_t n = 0, generation = atomic_load(&s->m->generation);
	ppdb_iter *it = NULL;
	ppdb_item item;
	ppdb_view *v;
	int rc;

	crew_op(s, "counting table %u", t);
	rc = ppdb_view_begin(s->db, PPDB_VIEW_LATEST, &v);
	test_require(!rc || crew_tolerates(s, rc), "a view gave %s", test_name_of(rc));
	if (rc)
		return;
	rc = ppdb_iter_open(v, t, NULL, &it);
	while (!rc && !(rc = ppdb_iter_next(it, &item)))
		n++;
	test_require(n == want || ppdb_view_check(v) || atomic_load(&s->c->generation) != generation, "table %u holds %" PRIu64 " keys, not %" PRIu64
		" (%s)", t, n, want, test_name_of(rc));
	ppdb_iter_close(it);
	ppdb_view_end(v);
	crew_op_end(s);
}

void crew_tables(struct crew_self *s)
{
	ppdb_table t = atomic_load(&s->m->table);
	uint64_t n = atomic_load(&s->m->begun) + 1;
	bool durable, wait = n % 32 == 0;
	ppdb_seq ticket;
	int rc;

	if (!t) {
		begin_own(s);
		return;
	}
	if (atomic_load(&s->m->generation) != atomic_load(&s->c->generation)) { /* its end may be lost */
		drop_own(s);
		return;
	}
	if (n > TABLE_LENGTH) {
		count_own(s, t, TABLE_LENGTH);
		drop_own(s);
		return;
	}
	atomic_store(&s->m->begun, n);
	do {
		crew_op(s, "put of %s in table %u", key_of(n), t);
		rc = CREW_TIMED(s, wait ? CREW_DURABLE : CREW_WRITE,
			ppdb_put(s->db, t, crew_text(key_of(n)), crew_text(key_of(n)), wait ? NULL : &async, &ticket));
		crew_op_end(s);
	} while (!crew_happened(s, rc, ticket, &durable));
	atomic_store(&s->m->done, n);
	if (durable && wait)
		atomic_store(&s->m->durable, n);
}

void crew_judge_table(struct crew *c, ppdb_view *v, ppdb *db, const struct crew_member *m, bool all)
{
	ppdb_table t = atomic_load(&m->table), found = 0;
	uint64_t owed = atomic_load(all ? &m->done : &m->durable), n = 0;
	ppdb_iter *it;
	ppdb_item item;
	int rc;

	if (!t || atomic_load(&m->generation) != atomic_load(&c->generation))
		return;
	rc = ppdb_table_open(db, name_of(m), NULL, &found);
	test_require(!rc || (rc == PPDB_TABLE_UNKNOWN && atomic_load(&m->dropping)), "table %s (%u), which nobody drops, gave %s", name_of(m), t,
		test_name_of(rc));
	if (rc)
		return;
	test_require(found == t, "table %s has number %u, not %u", name_of(m), found, t);
	test_ok(ppdb_iter_open(v, t, NULL, &it));
	while (!(rc = ppdb_iter_next(it, &item)))
		test_require(crew_key_number(item.key, 1) == ++n, "table %u goes from %" PRIu64 " to %" PRIu64, t, n - 1, crew_key_number(item.key, 1));
	test_require(rc == PPDB_NOTFOUND, "the scan of table %u gave %s", t, test_name_of(rc));
	ppdb_iter_close(it);
	test_require(n >= owed && n <= atomic_load(&m->begun), "table %u holds %" PRIu64 " keys; %" PRIu64 " %s, %" PRIu64 " were begun%s", t, n, owed,
		all ? "returned" : "were durable", atomic_load(&m->begun), atomic_load(&m->dropping) ? ", and it may be dropped as a whole" : "");
}

/* ---- the table of all ------------------------------------------------------------------------------------------- */

static void use_shared(struct crew_self *s)
{
	char key[32], value[64];
	bool durable;
	ppdb_seq ticket;
	size_t n;
	int rc;

	snprintf(key, sizeof(key), "key %" PRIu64, test_below(&s->r, 20));
	crew_op(s, "%s of table %u", key, s->shared);
	if (test_chance(&s->r, 60)) {
		rc = ppdb_put(s->db, s->shared, crew_text(key), crew_text(key), &async, &ticket);
		if (rc && rc != PPDB_TABLE_UNKNOWN)
			crew_happened(s, rc, ticket, &durable);
	} else {
		rc = ppdb_get(s->db, s->shared, crew_text(key), value, sizeof(value), &n);
		test_require(rc ? rc == PPDB_NOTFOUND || rc == PPDB_TABLE_UNKNOWN || rc == PPDB_EVICTED : n == strlen(key) && !memcmp(value, key, n),
			"%s gave %s, or another value", s->m->op, test_name_of(rc));
	}
	crew_op_end(s);
	if (rc == PPDB_TABLE_UNKNOWN)
		s->shared = 0;
}

void crew_shared_table(struct crew_self *s)
{
	ppdb_table before = s->shared, now;
	bool there;

	if (!before || test_chance(&s->r, 10)) {
		if (open_table(s, SHARED, PPDB_CREATE, &now))
			return;
		/* it may be lower than the last one: who makes a table takes its number before its name */
		test_require(now != s->shared_gone, "table %u again, which was dropped", now);
		s->shared = now;
	} else if (test_chance(&s->r, 10)) {
		s->shared = 0;
		if (drop_table(s, SHARED, &there)) {
			becomes_unknown(s, before);
			if (there) /* durably; what another has dropped may come back with a cold start */
				s->shared_gone = before;
		}
	} else {
		use_shared(s);
	}
}
