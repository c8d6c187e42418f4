/*
 * RocksDB behind the driver interface, through its C API.
 *
 * RocksDB lives in one process, so its workers are threads that share the handle. By default the
 * memtable is so large that all records stay in it: an ordered store in memory with a log, which
 * is what the others are; --rocksdb-sst leaves the sizes at RocksDB's defaults (64 MiB
 * memtables, SST files) with a 2 GiB block cache and bloom filters. Visible put: log on, no
 * sync. Durable put: WriteOptions.sync. Load: batches of 10,000, no sync.
 */
#include "bench/bench.h"

#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOAD_BATCH = 10000 };

struct rocks {
	rocksdb_t *db;
	rocksdb_options_t *options;
	rocksdb_readoptions_t *read;
	rocksdb_writeoptions_t *visible, *durable;
};

struct session {
	struct rocks *rocks;
	enum mode mode;
	rocksdb_iterator_t *iter;
	rocksdb_writebatch_t *batch;
	rocksdb_pinnableslice_t *pinned[GET_MANY];	/* what the last get handed out */
	int pinned_count;
};

static int fail(const char *what, char *error)
{
	int rc = bench_fail("rocksdb: %s: %s", what, error ? error : "failed");

	rocksdb_free(error);
	return rc;
}

static const char *version(void)
{
	return BENCH_ROCKSDB;	/* the Makefile reads it: rocksdb/version.h is C++ */
}

static int setup(struct place *p)
{
	if (mkdir(p->dir, 0700))
		return bench_fail("mkdir %s: %m", p->dir);
	return 0;
}

static void teardown(struct place *p)
{
	(void)p;
}

static void sst_options(rocksdb_options_t *options)
{
	rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();

	rocksdb_block_based_options_set_filter_policy(table,
						      rocksdb_filterpolicy_create_bloom(10));
	rocksdb_block_based_options_set_block_cache(table, rocksdb_cache_create_lru(2ull << 30));
	rocksdb_options_set_block_based_table_factory(options, table);
	rocksdb_block_based_options_destroy(table);
}

static rocksdb_options_t *options_new(const struct place *p)
{
	rocksdb_options_t *options = rocksdb_options_create();

	rocksdb_options_set_create_if_missing(options, 1);
	if (p->sst)
		sst_options(options);
	else
		rocksdb_options_set_write_buffer_size(
			options, (size_t)p->keys * (p->value_bytes + 300) + (2ull << 30));
	return options;
}

static void close_db(void *handle)
{
	struct rocks *r = handle;

	if (r->db)
		rocksdb_close(r->db);
	rocksdb_options_destroy(r->options);
	rocksdb_readoptions_destroy(r->read);
	rocksdb_writeoptions_destroy(r->visible);
	rocksdb_writeoptions_destroy(r->durable);
	free(r);
}

static int open_db(struct place *p, enum mode mode, void **handle)
{
	struct rocks *r = calloc(1, sizeof *r);
	char *error = NULL;

	(void)mode;
	if (!r)
		return bench_fail("out of memory");
	r->options = options_new(p);
	r->read = rocksdb_readoptions_create();
	r->visible = rocksdb_writeoptions_create();
	r->durable = rocksdb_writeoptions_create();
	rocksdb_writeoptions_set_sync(r->durable, 1);
	r->db = rocksdb_open(r->options, p->dir, &error);
	if (error) {
		r->db = NULL;
		close_db(r);
		return fail("open", error);
	}
	*handle = r;
	return 0;
}

static void unpin(struct session *s)
{
	for (int i = 0; i < s->pinned_count; i++)
		rocksdb_pinnableslice_destroy(s->pinned[i]);
	s->pinned_count = 0;
}

static void end(void *session)
{
	struct session *s = session;
	char *error = NULL;

	unpin(s);
	if (s->iter)
		rocksdb_iter_destroy(s->iter);
	if (s->batch)
		rocksdb_writebatch_destroy(s->batch);
	if (s->mode == MODE_LOAD)
		rocksdb_flush_wal(s->rocks->db, 1, &error);
	rocksdb_free(error);
	free(s);
}

static int begin(void *handle, enum mode mode, void **session)
{
	struct session *s = calloc(1, sizeof *s);

	if (!s)
		return bench_fail("out of memory");
	s->rocks = handle;
	s->mode = mode;
	if (mode == MODE_READ)
		s->iter = rocksdb_create_iterator(s->rocks->db, s->rocks->read);
	if (mode == MODE_LOAD)
		s->batch = rocksdb_writebatch_create();
	*session = s;
	return 0;
}

static int get(void *session, struct slice key, struct slice *value)
{
	struct session *s = session;
	char *error = NULL;
	rocksdb_pinnableslice_t *pinned;

	unpin(s);
	pinned = rocksdb_get_pinned(s->rocks->db, s->rocks->read, key.data, key.size, &error);
	if (error)
		return fail("get", error);
	if (!pinned)
		return bench_fail("rocksdb: get: not found");
	s->pinned[s->pinned_count++] = pinned;
	value->data = rocksdb_pinnableslice_value(pinned, &value->size);
	return 0;
}

/* The C API's multi_get copies each value; the pinned form is only there for column families. */
static int get_many(void *session, const struct slice *keys, int count, struct slice *values)
{
	static __thread char *held[GET_MANY];
	const char *key[GET_MANY] = { NULL };
	size_t key_size[GET_MANY] = { 0 }, value_size[GET_MANY];
	char *error[GET_MANY] = { NULL };
	struct session *s = session;

	for (int i = 0; i < count; i++) {
		rocksdb_free(held[i]);
		key[i] = keys[i].data;
		key_size[i] = keys[i].size;
	}
	rocksdb_multi_get(s->rocks->db, s->rocks->read, (size_t)count, key, key_size, held,
			  value_size, error);
	for (int i = 0; i < count; i++) {
		if (error[i] || !held[i])
			return fail("multi_get", error[i]);
		values[i] = (struct slice){ held[i], value_size[i] };
	}
	return 0;
}

static int write_batch(struct session *s)
{
	char *error = NULL;

	rocksdb_write(s->rocks->db, s->rocks->visible, s->batch, &error);
	rocksdb_writebatch_clear(s->batch);
	return error ? fail("write", error) : 0;
}

static int put(void *session, struct slice key, struct slice value)
{
	struct session *s = session;
	char *error = NULL;

	if (s->mode == MODE_LOAD) {
		rocksdb_writebatch_put(s->batch, key.data, key.size, value.data, value.size);
		return rocksdb_writebatch_count(s->batch) < LOAD_BATCH ? 0 : write_batch(s);
	}
	rocksdb_put(s->rocks->db, s->mode == MODE_DURABLE ? s->rocks->durable : s->rocks->visible,
		    key.data, key.size, value.data, value.size, &error);
	return error ? fail("put", error) : 0;
}

static int finish(void *session)
{
	struct session *s = session;

	return s->mode == MODE_LOAD ? write_batch(s) : 0;
}

static int scan(void *session, const struct slice *from, uint64_t limit, struct scan *out)
{
	struct session *s = session;
	rocksdb_iterator_t *it = s->iter;
	char *error = NULL;

	if (from)
		rocksdb_iter_seek(it, from->data, from->size);
	else
		rocksdb_iter_seek_to_first(it);
	for (; rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
		size_t key_bytes, value_bytes;
		const char *key = rocksdb_iter_key(it, &key_bytes);
		const char *value = rocksdb_iter_value(it, &value_bytes);

		scan_entry(out, key, key_bytes, value, value_bytes);
		if (!--limit)
			break;
	}
	rocksdb_iter_get_error(it, &error);
	return error ? fail("iterator", error) : 0;
}

static int memory(struct place *p, void *handle, struct memory_use *out)
{
	struct rocks *r = handle;

	if (rocksdb_property_int(r->db, "rocksdb.cur-size-all-mem-tables", &out->bytes))
		return bench_fail("rocksdb: no memtable size");
	snprintf(out->what, sizeof out->what, p->sst ? "memtables only, without cache and files"
						     : "memtable");
	return 0;
}

const struct driver driver_rocksdb = {
	.name = "rocksdb", .threads = true, .version = version, .setup = setup,
	.teardown = teardown, .open = open_db, .close = close_db, .begin = begin,
	.finish = finish, .end = end, .get = get, .get_many = get_many, .put = put, .scan = scan,
	.memory = memory,
};
