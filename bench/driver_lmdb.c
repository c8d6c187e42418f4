/*
 * LMDB behind the driver interface: one environment, its main database.
 *
 * Reads: one long read transaction a session, one cursor reused. Visible put: MDB_NOSYNC, one put
 * a transaction (and once more with MDB_WRITEMAP as a contestant of its own). Durable put: LMDB's
 * defaults, one put a transaction. Load: MDB_NOSYNC in transactions of 10,000.
 *
 * A bulk load leaves the file in large folios of the page cache, and Linux then walks one buffer
 * head a block of the folio for each 4 KiB that LMDB writes: puts run at half to a third of their
 * speed until those pages have left the cache. So before the puts are measured the file is copied,
 * page by page, which leaves it in the cache in small folios (before_writes). Reads are measured
 * before.
 */
#include "bench/bench.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOAD_BATCH = 10000, COPY_BYTES = 4096 };

struct lmdb {
	MDB_env *env;
	MDB_dbi dbi;
};

struct session {
	struct lmdb *db;
	enum mode mode;
	MDB_txn *txn;
	MDB_cursor *cursor;
	unsigned pending, batch;
};

static int fail(const char *what, int rc)
{
	return bench_fail("lmdb: %s: %s", what, mdb_strerror(rc));
}

static const char *version(void)
{
	static char text[32];

	snprintf(text, sizeof text, "%d.%d.%d", MDB_VERSION_MAJOR, MDB_VERSION_MINOR,
		 MDB_VERSION_PATCH);
	return text;
}

static int setup(struct place *p)
{
	if (mkdir(p->dir, 0700))
		return bench_fail("mkdir %s: %m", p->dir);
	return 0;
}

static void teardown(struct place *p)
{
	(void)p;	/* the coordinator removes the directory */
}

static int env_open(struct place *p, enum mode mode, MDB_env *env)
{
	unsigned flags = MDB_NORDAHEAD;
	size_t map = (size_t)p->keys * (p->value_bytes + 700) + (4ull << 30);
	int rc;

	if (mode != MODE_DURABLE)
		flags |= MDB_NOSYNC;
	if (p->write_map)
		flags |= MDB_WRITEMAP;
	rc = mdb_env_set_mapsize(env, map);
	return rc ? rc : mdb_env_open(env, p->dir, flags, 0600);
}

static int dbi_open(struct lmdb *db)
{
	MDB_txn *txn;
	int rc = mdb_txn_begin(db->env, NULL, 0, &txn);

	if (rc)
		return rc;
	rc = mdb_dbi_open(txn, NULL, 0, &db->dbi);
	if (rc) {
		mdb_txn_abort(txn);
		return rc;
	}
	return mdb_txn_commit(txn);
}

static void close_db(void *handle)
{
	struct lmdb *db = handle;

	mdb_env_close(db->env);
	free(db);
}

static int open_db(struct place *p, enum mode mode, void **handle)
{
	struct lmdb *db = calloc(1, sizeof *db);
	int rc = db ? mdb_env_create(&db->env) : ENOMEM;

	if (rc) {
		free(db);
		return fail("mdb_env_create", rc);
	}
	rc = env_open(p, mode, db->env);
	if (!rc)
		rc = dbi_open(db);
	if (rc) {
		close_db(db);
		return fail("open", rc);
	}
	*handle = db;
	return 0;
}

static void end(void *session)
{
	struct session *s = session;

	if (s->cursor)
		mdb_cursor_close(s->cursor);
	if (s->txn)
		mdb_txn_abort(s->txn);
	if (s->mode == MODE_LOAD)
		mdb_env_sync(s->db->env, 1);
	free(s);
}

static int begin(void *handle, enum mode mode, void **session)
{
	struct session *s = calloc(1, sizeof *s);
	int rc = 0;

	if (!s)
		return fail("session", ENOMEM);
	s->db = handle;
	s->mode = mode;
	s->batch = mode == MODE_LOAD ? LOAD_BATCH : 1;
	if (mode == MODE_READ) {
		rc = mdb_txn_begin(s->db->env, NULL, MDB_RDONLY, &s->txn);
		if (!rc)
			rc = mdb_cursor_open(s->txn, s->db->dbi, &s->cursor);
	}
	if (rc) {
		end(s);
		return fail("read transaction", rc);
	}
	*session = s;
	return 0;
}

static int get(void *session, struct slice key, struct slice *value)
{
	struct session *s = session;
	MDB_val k = { key.size, (void *)key.data }, v;
	int rc = mdb_get(s->txn, s->db->dbi, &k, &v);

	if (rc)
		return fail("mdb_get", rc);
	*value = (struct slice){ v.mv_data, v.mv_size };
	return 0;
}

/* LMDB has no call for many keys: a loop is what its users write. */
static int get_many(void *session, const struct slice *keys, int count, struct slice *values)
{
	for (int i = 0; i < count; i++)
		if (get(session, keys[i], &values[i]))
			return -1;
	return 0;
}

static int commit(struct session *s)
{
	MDB_txn *txn = s->txn;
	int rc;

	s->txn = NULL;
	s->pending = 0;
	rc = txn ? mdb_txn_commit(txn) : 0;
	return rc ? fail("mdb_txn_commit", rc) : 0;
}

static int put(void *session, struct slice key, struct slice value)
{
	struct session *s = session;
	MDB_val k = { key.size, (void *)key.data }, v = { value.size, (void *)value.data };
	int rc = s->txn ? 0 : mdb_txn_begin(s->db->env, NULL, 0, &s->txn);

	if (rc)
		return fail("mdb_txn_begin", rc);
	rc = mdb_put(s->txn, s->db->dbi, &k, &v, 0);
	if (rc)
		return fail("mdb_put", rc);
	return ++s->pending < s->batch ? 0 : commit(s);
}

static int finish(void *session)
{
	struct session *s = session;

	return s->mode == MODE_READ ? 0 : commit(s);
}

static int scan(void *session, const struct slice *from, uint64_t limit, struct scan *out)
{
	struct session *s = session;
	MDB_val k = { 0, NULL }, v;
	int rc;

	if (from)
		k = (MDB_val){ from->size, (void *)from->data };
	rc = mdb_cursor_get(s->cursor, &k, &v, from ? MDB_SET_RANGE : MDB_FIRST);
	while (!rc) {
		scan_entry(out, k.mv_data, k.mv_size, v.mv_data, v.mv_size);
		if (!--limit)
			return 0;
		rc = mdb_cursor_get(s->cursor, &k, &v, MDB_NEXT);
	}
	return rc == MDB_NOTFOUND ? 0 : fail("mdb_cursor_get", rc);
}

static int copy_pages(int from, int to)
{
	char page[COPY_BYTES];
	ssize_t got;

	while ((got = read(from, page, sizeof page)) > 0)
		if (write(to, page, (size_t)got) != got)
			return -1;
	return got < 0 ? -1 : fsync(to);
}

static int copy_file(struct place *p)
{
	char path[600], copy[600];
	int from, to, rc;

	snprintf(path, sizeof path, "%s/data.mdb", p->dir);
	snprintf(copy, sizeof copy, "%s/copy.mdb", p->dir);
	from = open(path, O_RDONLY | O_CLOEXEC);
	to = open(copy, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	rc = from < 0 || to < 0 ? -1 : copy_pages(from, to);
	if (!rc)
		rc = rename(copy, path);
	if (rc)
		bench_fail("copy of %s: %m", path);
	if (from >= 0)
		close(from);
	if (to >= 0)
		close(to);
	return rc;
}

static int memory(struct place *p, void *handle, struct memory_use *out)
{
	struct lmdb *db = handle;
	MDB_envinfo info;
	MDB_stat st;
	int rc = mdb_env_info(db->env, &info);

	(void)p;
	if (!rc)
		rc = mdb_env_stat(db->env, &st);
	if (rc)
		return fail("mdb_env_info", rc);
	out->bytes = (info.me_last_pgno + 1) * st.ms_psize;
	snprintf(out->what, sizeof out->what, "pages of the file in use");
	return 0;
}

const struct driver driver_lmdb = {
	.name = "lmdb", .version = version, .setup = setup, .teardown = teardown,
	.open = open_db, .close = close_db, .begin = begin, .finish = finish, .end = end,
	.get = get, .get_many = get_many, .put = put, .scan = scan,
	.before_writes = copy_file, .memory = memory,
};

const struct driver driver_lmdb_map = {
	.name = "lmdb-writemap", .shares_store = true, .version = version,
	.open = open_db, .close = close_db, .begin = begin, .finish = finish, .end = end,
	.get = get, .put = put, .scan = scan,
};
