/*
 * recover.c - a log written record by record, recovered into a region and compared with a model: overwrites and deletes within an epoch in
 * any order, keys that share long prefixes or end in zeros, every strategy, runs so small that a log takes many of them; from
 * the log, from a checkpoint under another strategy, and where memory is just enough.
 *
 * PPDB_SEED repeats a run.
 */
#include "engine/checkpoint.h"
#include "engine/disk.h"
#include "engine/floor.h"
#include "engine/keeper.h"
#include "engine/record.h"
#include "engine/run.h"
#include "engine/wal.h"
#include "shm/errors.h"
#include "shm/fault.h"
#include "shm/reclaim.h"
#include "shm/slot.h"
#include "tests/unit/shm_help.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>

#define KEYS 6000
#define STORE_ID 77

struct key {
	uint8_t *bytes;
	uint32_t size;
	uint64_t seq, tag;                         /* of the newest record, 0 = none */
	uint32_t value;                            /* its value's size and seed */
	bool dead;
};

static struct key keys[KEYS];
static unsigned order[KEYS];
static char dir[64];
static uint64_t seed;
static struct pp_wal *wal;
static uint64_t epoch;
static struct pp_keeper *keeper;
static pp_a32 stopping;

#define must(condition, fmt, ...)                                                                                                   \
	cr_assert(condition, fmt "; again: PPDB_SEED=%llu make unit FILTER='recover/*'", ##__VA_ARGS__, (unsigned long long)seed)

static uint64_t random_next(void)
{
	static uint64_t state;

	if (!state)
		state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state * UINT64_C(0x2545f4914f6cdd1d) >> 11;
}

static unsigned below(unsigned n)
{
	return (unsigned)(random_next() % n);
}

static void begin(void)
{
	const char *text = getenv("PPDB_SEED");

	seed = text ? strtoull(text, NULL, 10) : pp_now_ns() % 1000000;
	snprintf(dir, sizeof(dir), "%s/ppdb-recover-XXXXXX", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
	cr_assert(mkdtemp(dir));
}

static void end(void)
{
	char line[128];

	snprintf(line, sizeof(line), "rm -rf '%s'", dir);
	cr_assert_eq(system(line), 0);
	for (unsigned i = 0; i < KEYS; i++)
		free(keys[i].bytes);
}

TestSuite(recover, .init = begin, .fini = end, .timeout = 300);

/* ---- keys ------------------------------------------------------------------------------------------------------- */

static int compare_keys(const void *a, const void *b)
{
	const struct key *x = &keys[*(const unsigned *)a], *y = &keys[*(const unsigned *)b];

	return pp_bytes_compare(x->bytes, x->size, y->bytes, y->size);
}

/* Families: digits; few bytes, most of them zeros; three prefixes of thousands of bytes; a chain of keys each a prefix of the next. */
static void make_key(struct key *k, unsigned number)
{
	uint32_t prefix = 0;

	k->bytes = malloc(PP_KEY_MAX);
	cr_assert(k->bytes);
	switch (number % 5) {
	case 0:
		k->size = (uint32_t)sprintf((char *)k->bytes, "%016u", number * 7919 % 1000000);
		return;
	case 1:
		k->size = 1 + below(24);
		for (uint32_t i = 0; i < k->size; i++)
			k->bytes[i] = below(4) ? 0 : (uint8_t)below(3);
		return;
	case 2:
		prefix = number % 3 ? 3000 + number % 3 : 40;
		memset(k->bytes, 'p', prefix);
		k->size = prefix + (uint32_t)sprintf((char *)k->bytes + prefix, "%u", number);
		return;
	case 3:
		k->size = 1 + number / 5 % 700;
		memset(k->bytes, 'c', k->size);
		return;
	default:
		k->size = 8 + below(9);
		for (uint32_t i = 0; i < k->size; i++)
			k->bytes[i] = (uint8_t)random_next();
	}
}

static void make_keys(void)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < KEYS; i++) {
		make_key(&keys[i], i);
		order[i] = i;
	}
	qsort(order, KEYS, sizeof(*order), compare_keys);
	for (unsigned i = 0; i < KEYS; i++) { /* twins are never written */
		if (kept && !compare_keys(&order[i], &order[kept - 1]))
			keys[order[i]].size = 0;
		else
			order[kept++] = order[i];
	}
	for (unsigned i = kept; i < KEYS; i++)
		order[i] = KEYS;
}

/* ---- the log ---------------------------------------------------------------------------------------------------- */

static void log_open(void)
{
	struct pp_wal_recovered found;
	struct pp_ckpt_reader *ckpt;
	uint64_t from = 0;
	char path[80];
	struct pp_wal_config c = {.dir = path, .store_id = STORE_ID, .segment_bytes = 4 << 20, .backend = PP_WAL_PWRITE_DSYNC};

	snprintf(path, sizeof(path), "%s/checkpoint", dir);
	if (!pp_ckpt_open(&pp_disk_real, path, STORE_ID, &ckpt)) {
		from = pp_ckpt_get_info(ckpt)->snapshot;
		pp_ckpt_close(ckpt);
	}
	snprintf(path, sizeof(path), "%s/wal", dir);
	mkdir(path, 0700);
	cr_assert_eq(pp_wal_recover(&c, from, NULL, NULL, &found), 0, "%s", pp_detail_get());
	cr_assert_eq(pp_wal_open(&c, &found, &wal), 0, "%s", pp_detail_get());
	epoch = found.max_epoch_seen + 1;
}

static void fill_value(uint8_t *to, uint32_t value)
{
	for (uint32_t i = 0; i < value; i++)
		to[i] = (uint8_t)(value * 31 + i);
}

static void log_record(const struct key *k, uint64_t seq, uint32_t value, bool dead)
{
	static uint8_t bytes[1 << 21];
	struct pp_record head = {.key_size = (uint16_t)k->size, .flags = dead ? PP_V_TOMBSTONE : 0, .seq = seq, .size = dead ? 0 : value};
	struct iovec parts[3] = {{&head, sizeof(head)}, {k->bytes, k->size}, {bytes, head.size}};

	fill_value(bytes, (uint32_t)head.size);
	cr_assert_eq(pp_wal_append(wal, epoch, parts, head.size ? 3 : 2), 0, "%s", pp_detail_get());
}

static void log_end_epoch(void)
{
	struct pp_wal_pos pos;

	pp_wal_prepare(wal);
	cr_assert_eq(pp_wal_end_epoch(wal, epoch++), 0, "%s", pp_detail_get());
	cr_assert_eq(pp_wal_submit(wal), 0, "%s", pp_detail_get());
	cr_assert_eq(pp_wal_poll(wal, 0, &pos), 0, "%s", pp_detail_get());
}

static void log_close(void)
{
	cr_assert_eq(pp_wal_close(wal), 0, "%s", pp_detail_get());
}

static void write_one(struct key *k, uint64_t seq, uint32_t value, bool dead)
{
	log_record(k, seq, value, dead);
	if (epoch > k->tag || seq > k->seq) {
		k->seq = seq;
		k->tag = epoch;
		k->value = dead ? 0 : value;
		k->dead = dead;
	}
}

static uint32_t some_size(void)
{
	return below(100) ? below(160) : below(3000);
}

/* A key's records of one epoch may come in any order. */
static void write_some(struct key *k)
{
	uint64_t from = k->seq + 1 + (k->dead ? below(3) : 0);
	unsigned n = below(8) ? 1 : 2 + below(4), first = below(n);

	for (unsigned i = 0; i < n; i++)
		write_one(k, from + (first + i) % n, some_size(), !below(4));
}

static void write_log(unsigned records)
{
	for (unsigned i = 0; i < records; i++) {
		struct key *k = &keys[below(3) ? below(KEYS) : below(40)];

		if (k->size)
			write_some(k);
		if (!below(200))
			log_end_epoch();
	}
	log_end_epoch();
}

/* An epoch that never ends: nothing of it counts, though it begins in the unit in which the last one ended, and fills others. */
static void write_unended(unsigned records)
{
	struct pp_wal_pos pos;

	for (unsigned i = 0; i < 20; i++)
		if (keys[i].size)
			write_some(&keys[i]);
	cr_assert_eq(pp_wal_end_epoch(wal, epoch++), 0, "%s", pp_detail_get());
	for (unsigned i = 0; i < records; i++) {
		const struct key *k = &keys[below(KEYS)];

		if (k->size)
			log_record(k, k->seq + 1, 500, !below(3));
		if (i % 1000 == 999) {
			pp_wal_prepare(wal);
			cr_assert_eq(pp_wal_submit(wal), 0, "%s", pp_detail_get());
			cr_assert_eq(pp_wal_poll(wal, 0, &pos), 0, "%s", pp_detail_get());
		}
	}
}

/* ---- the store -------------------------------------------------------------------------------------------------- */

struct how {
	enum pp_strategy strategy;
	unsigned shards;
	uint64_t run_bytes, memory_bytes;
};

static int try_open(const struct how *how)
{
	char arena[96];
	struct pp_keeper_config c = {.data_dir = dir, .store_id = STORE_ID, .wal_backend = "pwrite", .wal_segment_bytes = 4 << 20,
				     .recover_run_bytes = how->run_bytes};

	snprintf(arena, sizeof(arena), "%s/arena", dir);
	unlink(arena);
	c.region = (struct pp_region_config){.path = arena, .name = "recover", .memory_bytes = how->memory_bytes ? how->memory_bytes : 64 << 20,
		.slots = 32, .procs = 8, .ring_entries = 256, .stripes = 16, .shards = how->shards, .strategy = how->strategy,
		.pages = PP_MEM_4K};
	return pp_keeper_open(&c, &keeper);
}

static void open_cold(const struct how *how)
{
	int rc = try_open(how);

	must(rc == 0, "open: %s %s", pp_error_text(rc), pp_detail_get());
	cr_assert(!pp_keeper_was_warm(keeper));
}

static void close_store(void)
{
	cr_assert_eq(pp_keeper_close(keeper, false), 0, "%s", pp_detail_get());
}

static void complain(void *ctx, const char *text)
{
	(void)ctx;
	fprintf(stderr, "check: %s\n", text);
}

static void check_key(const struct key *k, const struct pp_hit *hit)
{
	static uint8_t bytes[1 << 21];

	must(hit->key_size == k->size && !memcmp(hit->key, k->bytes, k->size), "another key than the model's (%u, %u bytes)", hit->key_size, k->size);
	must(hit->version == k->seq && hit->tag == k->tag, "seq %llu, tag %llu instead of %llu, %llu", (unsigned long long)hit->version,
	     (unsigned long long)hit->tag, (unsigned long long)k->seq, (unsigned long long)k->tag);
	fill_value(bytes, k->value);
	must(hit->size == k->value && !memcmp(hit->value, bytes, k->value), "another value");
}

static void check_floor(const struct pp_thread *t, const struct key *k)
{
	struct pp_keybuf b;

	pp_keybuf_set(&b, 0, k->bytes, k->size);
	must(pp_floor_read(t, pp_ikey_hash(&b.key)) >= k->seq, "a removed key's floor is below its version");
}

static uint64_t counted(struct pp_region *r)
{
	struct pp_engine *e = r->engine;
	uint64_t sum = 0;

	for (unsigned i = 0; i < e->shards; i++)
		sum += pp_load_rlx(&e->shard[i].keys);
	return sum;
}

/* Everything that is there, in order, is the model; what was removed has left its floor; every byte is accounted for. */
static void compare(void)
{
	struct pp_region *r = pp_keeper_region(keeper);
	struct pp_cursor_opts o = {.snapshot = PP_LATEST};
	struct pp_check_report report;
	struct pp_cursor *c;
	struct pp_hit hit;
	struct pp_thread t;
	uint64_t live = 0;
	uint32_t proc;
	int rc, problems;

	cr_assert_eq(pp_keeper_proc_add(keeper, (uint32_t)getpid(), getuid(), pp_self_start(), 0, "test", &proc), 0);
	cr_assert_eq(pp_slot_claim(r, proc, &t), 0);
	pp_read_enter(&t);
	cr_assert_eq(pp_cursor_open(&t, &o, &c), 0);
	rc = pp_cursor_first(c, &hit);
	for (unsigned i = 0; i < KEYS && order[i] < KEYS; i++) {
		struct key *k = &keys[order[i]];

		if (k->dead)
			check_floor(&t, k);
		if (!k->seq || k->dead)
			continue;
		must(rc == 0, "%llu keys instead of more: %s", (unsigned long long)live, pp_error_text(rc));
		check_key(k, &hit);
		live++;
		rc = pp_cursor_next(c, &hit);
	}
	must(rc == PPDB_NOTFOUND, "more keys than the model has");
	pp_cursor_close(c);
	pp_read_leave(&t);
	problems = pp_check(&t, true, &report, complain, NULL);
	pp_slot_leave(&t);
	must(problems == 0, "the check found %d problems", problems);
	must(report.keys == live && !report.tombstones, "%llu cells, %llu of them tombstones, for %llu keys", (unsigned long long)report.keys,
	     (unsigned long long)report.tombstones, (unsigned long long)live);
	must(counted(r) == live, "the shards count %llu keys, not %llu", (unsigned long long)counted(r), (unsigned long long)live);
}

static void recover_and_compare(const struct how *how)
{
	open_cold(how);
	compare();
	close_store();
}

/* ---- tests ------------------------------------------------------------------------------------------------------ */

static const struct how hows[] = {
	{PP_STRATEGY_SINGLE, 1, 0, 0},
	{PP_STRATEGY_SINGLE, 1, 1, 0},             /* as small as a run can be: an epoch */
	{PP_STRATEGY_SINGLE, 1, 100 << 10, 0},
	{PP_STRATEGY_SINGLE, 1, 2 << 20, 0},
	{PP_STRATEGY_RANGE, 5, 500 << 10, 0},
	{PP_STRATEGY_HASH, 7, 0, 0},
	{PP_STRATEGY_HASH, 7, 600 << 10, 0},
};

Test(recover, from_the_log)
{
	make_keys();
	for (unsigned life = 0; life < 2; life++) { /* the second goes on behind what the first recoveries left */
		log_open();
		write_log(life ? 3000 : 12000);
		write_unended(life ? 10 : 4000);
		log_close();
		for (unsigned i = 0; i < sizeof(hows) / sizeof(*hows); i++)
			recover_and_compare(&hows[i]);
	}
}

static void *step_main(void *arg)
{
	(void)arg;
	while (!pp_load_acq(&stopping)) {
		pp_keeper_prepare(keeper);
		if (pp_keeper_step(keeper) <= 0)
			pp_keeper_sleep(keeper, PP_NS_PER_MS);
	}
	return NULL;
}

static void checkpoint(void)
{
	pthread_t thread;
	int rc;

	pp_store_rel(&stopping, 0);
	cr_assert_eq(pthread_create(&thread, NULL, step_main, NULL), 0);
	rc = pp_keeper_checkpoint(keeper);
	pp_store_rel(&stopping, 1);
	pthread_join(thread, NULL);
	must(rc == 0, "checkpoint: %s %s", pp_error_text(rc), pp_detail_get());
}

Test(recover, from_a_checkpoint_and_the_log)
{
	make_keys();
	log_open();
	write_log(6000);
	log_close();
	for (unsigned i = 0; i < sizeof(hows) / sizeof(*hows); i++) {
		const struct how *next = &hows[(i + 3) % (sizeof(hows) / sizeof(*hows))];

		open_cold(&hows[i]);
		compare();
		checkpoint();
		close_store();
		recover_and_compare(next);
		log_open();
		write_log(1500);
		log_close();
		recover_and_compare(next);
	}
}

/* Large values: more than a step takes, more than a run holds. */
Test(recover, large_values)
{
	make_keys();
	log_open();
	for (unsigned i = 0; i < 60; i++) {
		struct key *k = &keys[i];

		if (k->size)
			write_one(k, k->seq + 1, 100000 + below(1500000), false);
		if (k->size && i % 3 == 0)
			write_one(k, k->seq + 1, 1000000, i % 2);
		if (i % 7 == 0)
			log_end_epoch();
	}
	log_end_epoch();
	log_close();
	recover_and_compare(&(struct how){PP_STRATEGY_SINGLE, 1, 0, 256 << 20});
	recover_and_compare(&(struct how){PP_STRATEGY_HASH, 3, 1 << 20, 256 << 20});
}

static unsigned ordered(unsigned i)
{
	unsigned n = 0;

	while (n < KEYS && order[n] < KEYS)
		n++;
	return i < n ? order[i] : KEYS;
}

#define HALF 2000
#define HALF_SIZE 9000

/* One half fills the arena, the keys behind. */
static void fill_half(void)
{
	make_keys();
	log_open();
	for (unsigned i = 0; i < HALF; i++) {
		write_one(&keys[ordered(i + HALF)], 1, HALF_SIZE, false);
		if (i % 100 == 0)
			log_end_epoch();
	}
	log_end_epoch();
	log_close();
}

/* They are deleted and the keys before fill it. Some thousand records, so that there is work for two appliers. */
static void turn_around(void)
{
	log_open();
	for (unsigned i = 0; i < HALF; i++) {
		struct key *gone = &keys[ordered(i + HALF)], *come = &keys[ordered(i)];

		write_one(gone, gone->seq + 1, 20, false);
		write_one(gone, gone->seq + 1, 0, true);
		write_one(come, come->seq + 1, HALF_SIZE, false);
		if (i % 100 == 0)
			log_end_epoch();
	}
	log_end_epoch();
	log_close();
}

static void checkpoint_half(const struct how *how)
{
	open_cold(how);
	checkpoint();
	close_store();
}

/* In order of keys the new ones come first, while there is room for one half only. */
Test(recover, memory_for_one_half)
{
	struct how how = {PP_STRATEGY_SINGLE, 1, 256 << 20, 32 << 20};

	fill_half();
	recover_and_compare(&how);
	log_open();
	log_end_epoch();
	log_close();
	recover_and_compare(&how);
	checkpoint_half(&how);
	turn_around();
	recover_and_compare(&how);
	how.memory_bytes = 16 << 20; /* and with less than that it says so */
	cr_assert_eq(try_open(&how), PPDB_FULL);
	must(strstr(pp_detail_get(), "limit of 16 MiB"), "no limit in: %s", pp_detail_get());
}

TestSuite(fault_recover, .init = begin, .fini = end, .timeout = 300);

/* In the log's run the n-th applier to come by waits there for longer than another without memory tries when nobody is left to give some back. */
static pp_a32 came, applied;
static unsigned held_up;

static void hold_up(const char *name, void *context)
{
	static _Thread_local bool here;

	(void)context;
	if (!strcmp(name, "recover.run.applied"))
		pp_add_rlx(&applied, 1);
	if (here || strcmp(name, "bulk.step.linked") || !pp_load_rlx(&applied))
		return;
	here = true;
	if (pp_add_rlx(&came, 1) + 1 == held_up)
		usleep(1500000);
}

Test(fault_recover, an_applier_that_is_held_up_is_waited_for)
{
	struct how how = {PP_STRATEGY_SINGLE, 1, 256 << 20, 32 << 20};

	if (!pp_fault_built())
		cr_skip_test("this build has no fault points");
	fill_half();
	checkpoint_half(&how);
	turn_around();
	pp_fault_hook = hold_up;
	for (held_up = 1; held_up <= 2; held_up++) {
		pp_store_rlx(&came, 0);
		pp_store_rlx(&applied, 0);
		recover_and_compare(&how);
	}
	pp_fault_hook = NULL;
}

/* ---- runs ------------------------------------------------------------------------------------------------------- */

static int compare_records(const void *a, const void *b)
{
	const struct pp_run_record *x = *(struct pp_run_record *const *)a, *y = *(struct pp_run_record *const *)b;
	int lists = (int)pp_run_list(x) - (int)pp_run_list(y);
	struct pp_ikey k = pp_run_key(x), l = pp_run_key(y);

	return lists ? lists : pp_bytes_compare(k.bytes, k.size, l.bytes, l.size);
}

static struct pp_run_record *add_to_run(struct pp_run *run, const struct key *k, uint64_t seq, unsigned list)
{
	struct pp_run_record *rec = pp_run_reserve(run, k->size, 0);

	cr_assert(rec);
	*rec = (struct pp_run_record){.tag = 1 + seq / 8, .seq = seq, .key_size = (uint16_t)k->size, .list_be = htobe16((uint16_t)list)};
	memcpy(rec->bytes, k->bytes, k->size);
	pp_run_add(run, rec);
	return rec;
}

/* Each key comes out once, in order, with the newest of its records, however many parts and ranges there are. */
Test(recover, a_run_comes_out_in_order)
{
	enum { RECORDS = 20000 };
	static struct pp_run_record *all[RECORDS];
	struct pp_run run;

	make_keys();
	cr_assert_eq(pp_run_init(&run, 64 << 20), 0);
	for (unsigned parts = 1; parts <= PP_RUN_PARTS; parts += 3) {
		struct pp_run_range ranges[PP_RUN_PARTS];
		unsigned lists = parts == 4 ? 3 : 1, n = parts == 7 ? 5 : RECORDS, taken = 0;

		pp_run_clear(&run);
		for (unsigned i = 0; i < n; i++) {
			unsigned key = below(2) ? below(KEYS) : below(20);

			while (!keys[key].size)
				key = below(KEYS);
			all[i] = add_to_run(&run, &keys[key], i, lists == 1 ? 0 : key % lists);
		}
		qsort(all, n, sizeof(*all), compare_records);
		for (unsigned p = 0; p < parts; p++)
			pp_run_sort(&run, p, parts);
		pp_run_cut(&run, parts, parts, ranges);
		for (unsigned p = 0; p < parts; p++) {
			const struct pp_run_record *rec;

			while (pp_run_peek(&ranges[p])) {
				uint64_t newest = 0;

				rec = pp_run_take(&ranges[p]);
				must(taken < n && !compare_records(&rec, &all[taken]), "not in order");
				for (; taken < n && !compare_records(&rec, &all[taken]); taken++)
					newest = all[taken]->seq > newest ? all[taken]->seq : newest;
				must(rec->seq == newest, "not the newest");
			}
		}
		must(taken == n, "%u records of %u", taken, n);
	}
	pp_run_release(&run);
}
