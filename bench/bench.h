/*
 * One harness, several stores: the types that its files share.
 *
 * A driver says how one kind of store is opened, read and written. A contestant is a driver with a
 * directory and a way to run. A team is the set of processes (or, for a store that lives in one
 * process, the threads) that do one contestant's work. The coordinator (main.c, runs.c) opens no
 * store itself: it forks teams, sends them commands through pipes and finds their figures in a
 * shared page, so a peer that crashes spoils its own sample and no other.
 */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include "tools/measure.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { KEY_BYTES = 16, WORKERS_MAX = 64, ROUNDS_MAX = 32, VALUE_MAX = 4096, MSG_BYTES = 200 };

struct slice {
	const void *data;
	size_t size;
};

/* ---- keys.c: ids to keys and values, random draws ---- */

struct keyspace {
	uint64_t keys;		/* ids 0..keys-1 are loaded, in id order */
	unsigned half_bits;	/* keys are a permutation of 2^(2 * half_bits) numbers */
	size_t value_bytes;
	struct pp_zipf zipf;
};

void keyspace_init(struct keyspace *, uint64_t keys, size_t value_bytes);
void keyspace_zipf(struct keyspace *, double theta);
void key_make(const struct keyspace *, uint64_t id, uint8_t key[KEY_BYTES]);
void value_prepare(uint8_t *value, size_t size, uint64_t seed);
void value_make(uint8_t *value, size_t size, uint64_t id, uint64_t generation);

static inline uint64_t load64(const void *from)
{
	uint64_t word;

	memcpy(&word, from, sizeof word);
	return word;
}

enum { ID_BITS = 40 };

/* A value opens with {generation, id} and ends with a mix of that word: both ends are read and
   compared on every get, for every store alike, so a wrong or torn value cannot pass. */
static inline bool value_is_whole(struct slice v)
{
	uint64_t word = load64(v.data);

	return load64((const uint8_t *)v.data + v.size - 8) == pp_mix64(word);
}

static inline bool value_is_of(struct slice v, uint64_t id)
{
	uint64_t mask = (1ull << ID_BITS) - 1;

	return v.size >= 16 && (load64(v.data) & mask) == id && value_is_whole(v);
}

/* ---- drivers ---- */

enum mode { MODE_LOAD, MODE_READ, MODE_VISIBLE, MODE_DURABLE };

/* What a scan gathers; verify also compares the order of keys and both ends of each value. */
struct scan {
	uint64_t entries, sum, wrong;
	bool verify;
	uint8_t last[KEY_BYTES];
};

static inline void scan_entry(struct scan *s, const void *key, size_t key_bytes, const void *val,
			      size_t val_bytes)
{
	s->sum += load64(key) ^ load64(val);
	if (__builtin_expect(s->verify, 0)) {
		struct slice v = { val, val_bytes };

		if (key_bytes != KEY_BYTES || val_bytes < 16 || !value_is_whole(v) ||
		    (s->entries && memcmp(s->last, key, KEY_BYTES) >= 0))
			s->wrong++;
		memcpy(s->last, key, key_bytes < KEY_BYTES ? key_bytes : KEY_BYTES);
	}
	s->entries++;
}

/* Where a store lives and what it may use; filled by the coordinator, copied by fork. */
struct place {
	char dir[512];
	char name[64];
	uint64_t keys;
	size_t value_bytes;
	const char *daemon_path, *daemon_args, *tool_path;
	bool write_map;		/* LMDB: MDB_WRITEMAP besides MDB_NOSYNC */
	bool sst;		/* RocksDB: its default memtables and SST files */
	bool keep_log;		/* ppdb: no checkpoints: recovery reads the log alone */
	bool populate;		/* ppdb: map all pages at attach (LMDB: the warm-up does) */
	uint64_t recover_keys;	/* what the recovery workload loads */
};

struct memory_use {
	uint64_t bytes;
	char what[96];
};

/* One kind of store. Return 0, or -1 after bench_fail(). open..put run in workers, setup..recover
   in the coordinator. A session is one thread's view or transaction for one sample. */
struct driver {
	const char *name;
	bool threads;			/* one process only: workers are its threads */
	bool shares_store;		/* a variant of a store that another contestant loads */
	const char *(*version)(void);
	int (*setup)(struct place *);
	void (*teardown)(struct place *);
	int (*open)(struct place *, enum mode, void **handle);
	void (*close)(void *handle);
	int (*begin)(void *handle, enum mode, void **session);
	int (*finish)(void *session);	/* all puts are visible; timed */
	void (*end)(void *session);	/* gives back; after a load also syncs; not timed */
	int (*get)(void *session, struct slice key, struct slice *value);
	int (*get_many)(void *session, const struct slice *keys, int count, struct slice *values);
	int (*put)(void *session, struct slice key, struct slice value);
	int (*scan)(void *session, const struct slice *from, uint64_t limit, struct scan *);
	int (*before_writes)(struct place *);	/* nobody has the store open; NULL: nothing */
	int (*settle)(struct place *);		/* waits for what goes on in the background after a load; NULL: nothing does */
	int (*memory)(struct place *, void *handle, struct memory_use *);
	int (*crash)(struct place *);		/* kill what serves the store (recovery) */
	int (*recover)(struct place *);		/* returns when the store is usable again */
	int (*describe)(struct place *, char *json, size_t cap);
};

extern const struct driver driver_ppdb, driver_lmdb, driver_lmdb_map, driver_rocksdb;

enum { GET_MANY = 16 };

/* ---- text.c ---- */

__attribute__((format(printf, 1, 2))) int bench_fail(const char *format, ...);
const char *bench_failure(void);
__attribute__((format(printf, 2, 3))) void text_format(char *to, const char *format, ...);
bool json_string(const char *json, const char *name, char *out, size_t cap);

/* ---- work.c: what one worker does for one command ---- */

enum kind {
	KIND_LOAD, KIND_GET, KIND_GET_ZIPF, KIND_GET_MANY, KIND_SCAN, KIND_RANGE,
	KIND_OVERWRITE, KIND_INSERT, KIND_WARM, KIND_VERIFY, KIND_MEMORY, KIND_ATTACH, KIND_QUIT
};

struct command {
	enum kind kind;
	enum mode mode;
	int workers;
	uint64_t duration_ns, ops_max, first_id, generation, seed;
	unsigned sample_every;	/* one operation of so many is timed by itself */
};

struct result {
	int failed;
	char message[MSG_BYTES];
	uint64_t ops, start_ns, end_ns, wrong;
	struct memory_use memory;
	struct pp_latency latency;
};

struct worker {
	const struct driver *driver;
	struct place *place;
	const struct keyspace *space;
	const struct command *command;
	struct result *result;
	void *handle, *session;
	int index, ready_fd, go_fd;
};

void worker_run(struct worker *);

/* ---- team.c ---- */

struct team;

struct team *team_start(const struct driver *, struct place *, const struct keyspace *, enum mode,
			int processes);
/* One process that has not opened the store yet: for the attach workload. */
struct team *team_start_closed(const struct driver *, struct place *, const struct keyspace *);
int team_run(struct team *, const struct command *, struct result **results);
void team_stop(struct team *);
void team_kill(struct team *);
bool team_serves(const struct team *, enum mode, int workers);

/* ---- machine.c ---- */

struct machine {
	char cpu[128], kernel[128], system[96], disk[160], memory[96], shmem_pages[96];
	int cores;
	long page_bytes, huge_pages;
	double load;
};

void machine_read(struct machine *, const char *dir);

/* ---- report.c ---- */

enum { CONTESTANTS_MAX = 4, ROWS_MAX = 40 };

struct cell {
	int rounds;
	double samples[ROUNDS_MAX];	/* NaN: that round failed */
	struct pp_latency latency;
	char note[MSG_BYTES];
};

struct row {
	const char *workload;
	int workers;
	const char *unit;
	bool less_is_better;
	double floor_ratio[CONTESTANTS_MAX];	/* of ppdb against that contestant; 0 = none */
	double floor_value;			/* ppdb's own floor (or ceiling); 0 = none */
	struct cell cell[CONTESTANTS_MAX];
};

struct report {
	const char *contestant[CONTESTANTS_MAX];
	const char *version[CONTESTANTS_MAX];
	char describe[32768];		/* `ppdb stat --json` after the load */
	int contestants;
	struct row *rows;
	int row_count;
	struct machine machine;
	const char *revision, *command;
	char started[40];
	uint64_t keys;
	size_t value_bytes;
	int rounds;
	double seconds, took_s;
	bool sst;
};

void report_row_line(const struct report *, const struct row *);
void report_head(const struct report *);
void report_text(const struct report *);
int report_json(const struct report *, const char *path);
int report_tsv(const struct report *, const char *path);
int report_markdown(const struct report *, const char *path);

#endif
