/*
 * disk_store.c - a whole store, keeper and all, on the simulated disk: power cut in each call of its first life.
 *
 * disk_life.h tries log and checkpoint a million times, but uses them in the keeper's stead. Here the keeper does it: directories, a
 * start, writes, a checkpoint, a release, a clean stop, and after each cut a cold start of its own.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/file.h"
#include "engine/keeper.h"
#include "engine/store.h"
#include "shm/clock.h"
#include "shm/live.h"
#include "shm/reclaim.h"
#include "shm/slot.h"
#include "tests/lib/simdisk.h"

#define KEYS 3
#define WRITES 40
#define WAYS 1

struct store {
	char dir[64], arena[80];   /* of the region, in shared memory */
	struct pp_keeper *keeper;
	struct pp_thread t;
	unsigned written[KEYS], durable[KEYS];
};

static int open_store(struct store *s, struct simdisk *d)
{
	struct pp_keeper_config c = {.data_dir = "/store", .store_id = 77, .wal_backend = "pwrite", .wal_segment_bytes = 64 << 10,
				     .checkpoint_streams = 1, .disk = &d->disk};
	uint32_t proc;
	int rc;

	s->keeper = NULL;
	unlink(s->arena);
	c.region = (struct pp_region_config){.path = s->arena, .name = "unit", .memory_bytes = 16 << 20, .slots = 8, .procs = 4,
		.ring_entries = 64, .stripes = 16, .shards = 1, .pages = PP_MEM_4K, .numa = 1};
	rc = pp_keeper_open(&c, &s->keeper);
	if (rc)
		return rc;
	rc = pp_keeper_proc_add(s->keeper, (uint32_t)getpid(), getuid(), pp_self_start(), 0, "unit", &proc);
	return rc ? rc : pp_slot_claim(pp_keeper_region(s->keeper), proc, &s->t);
}

static uint64_t durable_epoch(struct store *s)
{
	return pp_load_acq(&pp_keeper_region(s->keeper)->globals->durable_epoch);
}

/* The keeper's steps until `tag` is durable; false: the disk is dead. */
static bool make_durable(struct store *s, struct simdisk *d, uint64_t tag)
{
	while (!d->dead && durable_epoch(s) < tag)
		if (pp_keeper_step(s->keeper) < 0)
			break;
	pp_keeper_prepare(s->keeper);
	return durable_epoch(s) >= tag;
}

static void write_one(struct store *s, struct simdisk *d, unsigned number)
{
	unsigned key = number % KEYS;
	char name[2] = {(char)('a' + key), 0};
	uint32_t value[600] = {number};
	struct pp_write w = {.key = {0, 1, name}, .value = value, .size = sizeof(value), .timeout_ns = PP_NS_PER_MS};
	int rc = pp_write(&s->t, &w);

	if (d->dead)
		return;
	cr_assert_eq(rc, 0, "write %u: %d", number, rc);
	s->written[key] = number;
	if (make_durable(s, d, w.tag))
		s->durable[key] = number;
}

static void close_store(struct store *s)
{
	if (!s->keeper)
		return;
	if (s->t.slot)
		pp_slot_leave(&s->t);
	pp_keeper_close(s->keeper, false);
	unlink(s->arena);
}

static void first_life(struct store *s, struct simdisk *d)
{
	int rc = open_store(s, d);

	cr_assert(!rc || d->dead, "the store did not open: %d %s", rc, pp_detail_get());
	for (unsigned n = 1; s->keeper && n <= WRITES && !d->dead; n++) {
		while (!d->dead && (pp_keeper_prepare(s->keeper) > 0 || pp_keeper_step(s->keeper) > 0))
			; /* until the log has room to promise */
		write_one(s, d, n);
		if (n == WRITES * 3 / 4 && !d->dead) {
			rc = pp_keeper_checkpoint(s->keeper);
			cr_assert(!rc || d->dead, "the checkpoint failed: %d %s", rc, pp_detail_get());
		}
	}
	close_store(s);
}

static void must_hold(const struct store *old, struct simdisk *d, uint64_t call)
{
	struct store s = *old;
	int rc = open_store(&s, d);

	cr_assert_eq(rc, 0, "no start after a cut in call %llu: %s", (unsigned long long)call, pp_detail_get());
	for (unsigned key = 0; key < KEYS; key++) {
		char name[2] = {(char)('a' + key), 0};
		struct pp_key k = {0, 1, name};
		struct pp_hit hit;
		unsigned value = 0;

		pp_read_enter(&s.t);
		rc = pp_read(&s.t, &k, PP_LATEST, &hit);
		if (!rc)
			memcpy(&value, hit.value, sizeof(value));
		pp_read_leave(&s.t);
		cr_assert(rc == 0 || rc == PPDB_NOTFOUND);
		cr_assert(value >= old->durable[key] && value <= old->written[key],
			  "after a cut in call %llu key %s holds write %u; %u was durable, %u the last", (unsigned long long)call,
			  name, value, old->durable[key], old->written[key]);
	}
	close_store(&s);
}

Test(disk_store, cut_in_each_call, .timeout = 300)
{
	struct store s = {.dir = "/dev/shm/ppdb-disk-XXXXXX"};
	bool whole = false;

	if (access("/dev/shm", W_OK))
		memcpy(s.dir, "/tmp/ppdb-disk-XXXXXX", sizeof("/tmp/ppdb-disk-XXXXXX"));
	cr_assert(mkdtemp(s.dir));
	snprintf(s.arena, sizeof(s.arena), "%s/arena", s.dir);
	for (uint64_t call = 1; !whole; call++) {
		struct simdisk *d = simdisk_new(call, "/store");
		uint64_t seed = call;

		memset(s.written, 0, sizeof(s.written));
		memset(s.durable, 0, sizeof(s.durable));
		d->die_at = call;
		d->rules.any_names = call & 1;
		first_life(&s, d);
		whole = !d->dead;
		for (int way = 0; way < WAYS; way++) {
			struct simdisk *after = simdisk_after_cut(d, simdisk_random(&seed));

			must_hold(&s, after, call);
			simdisk_free(after);
		}
		simdisk_free(d);
	}
	rmdir(s.dir);
}
