/*
 * store.h (fuzz) - a small store as a picture: its data directory, its arena, and where in it an input does its damage.
 *
 * The store is made once: two hundred keys in two or more levels of the index, long ones, large values, chains with several versions, tombstones,
 * an operation that its process never finished. All its segments are committed, so that it never grows.
 *
 *   damage: | u8 kind | u16 which | u8 where | u8 how | u64 value |      13 bytes
 *   kind   what is hit: 0 anything  1 leaf cell  2 block  3 key cell  4 version  5 block header  6 page  7 slot  8 hint table
 *          9 globals  10 engine's words  11 process  12 header  13 ring entry  14 partial bits
 *   how    0-3 store 1, 2, 4, 8 bytes  4 xor  5 add  6 copy from another object of the kind (value = which)  7 zero
 */
#ifndef TESTS_FUZZ_STORE_H
#define TESTS_FUZZ_STORE_H

#include "tests/fuzz/fuzz.h"

#include "engine/block.h"
#include "engine/keeper_internal.h"
#include "engine/version.h"
#include "shm/clock.h"
#include "shm/live.h"
#include "shm/slot.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define STORE_KEYS 400
#define STORE_ID 77
#define STORE_MEMORY (UINT64_C(16) << 20)
#define STORE_OBJECTS 4096

struct fuzz_store {
	char data[96], arena[96];
	struct pp_keeper *keeper;
	struct pp_region *region;
	uint64_t bytes;              /* of the arena's file */
	pp_ref leaf[STORE_OBJECTS], block[STORE_OBJECTS], cell[STORE_OBJECTS], version[STORE_OBJECTS];
	unsigned leaves, blocks, cells, versions;
	pp_ref hints;
};

static inline struct pp_keeper_config store_config(struct fuzz_store *s, uint64_t segment_bytes)
{
	struct pp_keeper_config c = {.data_dir = s->data, .store_id = STORE_ID, .wal_backend = "pwrite", .wal_segment_bytes = segment_bytes,
		.checkpoint_streams = 1};

	c.region = (struct pp_region_config){.path = s->arena, .name = "fuzz", .memory_bytes = STORE_MEMORY, .slots = 8, .procs = 6,
		.ring_entries = 1024, .stripes = 16, .shards = 3, .strategy = PP_STRATEGY_RANGE, .pages = PP_MEM_4K, .daemon_slots = 0};
	return c;
}

/* Steps of the keeper until everything is durable and a round was announced. */
static inline void store_settle(struct pp_keeper *k, unsigned rounds)
{
	for (unsigned i = 0; i < rounds; i++) {
		pp_keeper_step(k);
		pp_keeper_house(k);
		pp_keeper_prepare(k);
	}
}

static inline unsigned store_key(unsigned i, char key[200])
{
	return (unsigned)snprintf(key, 200, "%s%04u%s", i % 7 ? "key " : "a long prefix that many keys share ", i * 37 % STORE_KEYS,
		i % 11 ? "" : " and a tail that makes the key longer than the others are, so that blocks are larger");
}

static inline int store_write(struct pp_thread *t, unsigned i, uint32_t flags, uint64_t size, uint64_t timeout_ns)
{
	static char value[40000];
	char key[200];
	struct pp_write w = {.value = value, .size = size, .flags = flags, .timeout_ns = timeout_ns};

	w.key = (struct pp_key){0, store_key(i, key), key};
	if (!t->readonly)
		pp_store_rel(&t->slot->credit_granted, UINT64_MAX / 2); /* no keeper runs beside us that would grant any */
	if (i % 13 == 5)
		w.expires_ms = UINT64_MAX / 2;
	return pp_write(t, &w);
}

static inline void store_fill(struct fuzz_store *s, struct pp_thread *t)
{
	for (unsigned i = 0; i < STORE_KEYS; i++) {
		fuzz_require(!store_write(t, i, 0, i % 50 == 3 ? 1500 : i % 97 == 7 ? 40000 : 20, PP_NS_PER_SEC), "%s", pp_detail_get());
		if (i % 4 == 3)
			store_settle(s->keeper, 3);
	}
	for (unsigned i = 0; i < STORE_KEYS; i += 3) {
		fuzz_require(!store_write(t, i, i % 2 ? PP_W_DELETE : 0, i % 2 ? 0 : 30, PP_NS_PER_SEC), "%s", pp_detail_get());
		pp_keeper_step(s->keeper);
	}
	store_settle(s->keeper, 5);
}

/* The store, and a client's slot in it. Returns the client's record. */
static inline uint32_t store_make(struct fuzz_store *s, uint64_t segment_bytes, struct pp_thread *t)
{
	struct pp_keeper_config c;
	uint32_t proc;

	fuzz_make_dir();
	snprintf(s->data, sizeof(s->data), "%s/data", fuzz_dir);
	snprintf(s->arena, sizeof(s->arena), "%s/arena", fuzz_dir);
	fuzz_require(!mkdir(s->data, 0700), "%s", s->data);
	c = store_config(s, segment_bytes);
	fuzz_require(!pp_keeper_open(&c, &s->keeper), "open: %s", pp_detail_get());
	s->region = pp_keeper_region(s->keeper);
	while (!pp_region_grow(s->region, 0))
		;
	fuzz_require(!pp_keeper_proc_add(s->keeper, (uint32_t)getpid(), getuid(), pp_self_start(), 0, "fuzz", &proc), "proc");
	fuzz_require(!pp_slot_claim(s->region, proc, t), "slot");
	store_settle(s->keeper, 3);
	store_fill(s, t);
	return proc;
}

static inline void store_note_chain(struct fuzz_store *s, struct pp_thread *t, pp_ref cell)
{
	pp_ref at = pp_load_acq(&pp_cell_at(t, cell)->head);

	while (at && at != PP_DEAD && s->versions < STORE_OBJECTS) {
		s->version[s->versions++] = at;
		at = pp_older_ref(pp_load_acq(&pp_version_at(t, at)->older));
	}
}

static inline void store_note_level(struct fuzz_store *s, struct pp_thread *t, unsigned level)
{
	pp_ref leaf = pp_load_acq(&((struct pp_engine *)s->region->engine)->list[0].tower[level]);

	while (leaf && s->leaves < STORE_OBJECTS) {
		pp_ref block = pp_head_ref(pp_load_acq(&pp_leaf_at(t, leaf)->head));
		struct pp_leafblock *b = pp_leafblock_at(t, block);

		s->leaf[s->leaves++] = leaf;
		s->block[s->blocks++] = block;
		for (unsigned i = 0; i < b->count && s->cells < STORE_OBJECTS; i++) {
			pp_ref cell = pp_block_ref(b, i);

			s->cell[s->cells++] = cell;
			if (!level)
				store_note_chain(s, t, cell);
		}
		leaf = pp_link_ref(b->right);
	}
}

/* Finds the objects that damage aims at. */
static inline void store_map(struct fuzz_store *s, struct pp_thread *t)
{
	struct pp_engine *e = s->region->engine;

	for (unsigned level = 0; level < pp_load_acq(&e->list[0].levels); level++)
		store_note_level(s, t, level);
	s->hints = pp_link_ref(pp_load_acq(&e->hints));
	fuzz_require(s->leaves > 8 && s->cells > STORE_KEYS / 2 && s->versions > s->cells / 2, "%u leaves", s->leaves);
}

/* ---- damage ----------------------------------------------------------------------------------------------------- */

struct target {
	uint64_t at, bytes;
};

static inline struct target store_object(const struct fuzz_store *s, const struct pp_region *r, unsigned kind, unsigned which)
{
	const struct pp_header *h = &r->fixed;
	uint64_t pages = h->max_segments * PP_PAGES_PER_SEGMENT;

	switch (kind % 15) {
	case 1:
		return (struct target){s->leaf[which % s->leaves], sizeof(struct pp_leaf)};
	case 2:
		return (struct target){s->block[which % s->blocks], 512};
	case 3:
		return (struct target){s->cell[which % s->cells], 64};
	case 4:
		return (struct target){s->version[which % s->versions] - 8, 64};
	case 5:
		return (struct target){(which & 1 ? s->cell[which % s->cells] : s->block[which % s->blocks]) - sizeof(struct pp_block), 16};
	case 6:
		return (struct target){h->off_pages + which % pages * sizeof(struct pp_page), sizeof(struct pp_page)};
	case 7:
		return (struct target){h->off_slots + which % h->slots * sizeof(struct pp_slot), offsetof(struct pp_slot, count)};
	case 8:
		return (struct target){s->hints + which % 64 * 8, 64};
	case 9:
		return (struct target){h->off_globals, sizeof(struct pp_globals)};
	case 10:
		return (struct target){h->off_engine, offsetof(struct pp_engine, shard)};
	case 11:
		return (struct target){h->off_procs + which % h->procs * sizeof(struct pp_proc), sizeof(struct pp_proc)};
	case 12:
		return (struct target){0, sizeof(struct pp_header)};
	case 13:
		return (struct target){h->off_rings + which % ((uint64_t)h->slots * h->ring_entries) * 16, 16};
	case 14:
		return (struct target){h->off_partial, (uint64_t)h->max_segments * PP_CLASSES * 4};
	default:
		return (struct target){(uint64_t)which * 256 % s->bytes, 65536};
	}
}

static inline void store_damage(const struct fuzz_store *s, struct pp_region *r, struct fuzz_in *in)
{
	unsigned kind = (unsigned)fuzz_take(in, 1), which = (unsigned)fuzz_take(in, 2), where = (unsigned)fuzz_take(in, 1);
	unsigned how = (unsigned)fuzz_take(in, 1) % 8;
	uint64_t value = fuzz_take(in, 8), word;
	struct target t = store_object(s, r, kind, which), from = store_object(s, r, kind, (unsigned)value);
	uint64_t at = t.at + where * 8 % t.bytes;

	if (kind % 15 == 0)
		at = t.at + where * 8;
	if (at + 8 > s->bytes)
		return;
	memcpy(&word, r->base + at, 8);
	if (how < 4) {
		memcpy(&word, &value, 1u << how);
	} else if (how == 4) {
		word ^= value;
	} else if (how == 5) {
		word += value;
	} else if (how == 6) {
		if (from.at + (at - t.at) + 8 <= s->bytes)
			memcpy(&word, r->base + from.at + (at - t.at), 8);
	} else {
		word = 0;
	}
	memcpy(r->base + at, &word, 8);
}

/* ---- seeds ------------------------------------------------------------------------------------------------------ */

static inline void store_seed(struct fuzz_out *o, unsigned kind, unsigned which, unsigned where, unsigned how, uint64_t value)
{
	fuzz_put(o, kind, 1);
	fuzz_put(o, which, 2);
	fuzz_put(o, where, 1);
	fuzz_put(o, how, 1);
	fuzz_put(o, value, 8);
}

/* One or two blows to each word of each kind of object. */
static inline void store_seeds(fuzz_emit *emit, unsigned first, unsigned first_bytes)
{
	static const struct { unsigned kind, words; uint64_t value; } blow[] = {
		{1, 2, UINT64_C(0xffffff8)}, {1, 1, 2}, {1, 1, 1}, {2, 6, UINT64_C(0xffffffffffff)}, {3, 3, UINT64_C(0x1234567890)},
		{4, 7, UINT64_C(0xfffffffff8)}, {5, 2, UINT64_C(0xffffffffffff)}, {6, 8, UINT64_MAX}, {6, 2, UINT64_C(1) << 56},
		{7, 8, UINT64_MAX}, {8, 5, UINT64_MAX}, {9, 4, UINT64_MAX}, {10, 12, UINT64_MAX}, {11, 4, UINT64_MAX}, {12, 30, UINT64_MAX},
		{13, 2, UINT64_MAX}, {14, 6, UINT64_MAX},
	};

	for (unsigned i = 0; i < sizeof(blow) / sizeof(*blow); i++) {
		struct fuzz_out o = {.size = 0};
		char name[32];

		fuzz_put(&o, first, first_bytes);
		for (unsigned w = 0; w < blow[i].words; w++)
			store_seed(&o, blow[i].kind, w * 7 + i, w, 3, blow[i].value);
		snprintf(name, sizeof(name), "kind-%u-%u", blow[i].kind, i);
		emit(name, o.bytes, o.size);
	}
	for (unsigned kind = 1; kind < 15; kind++) {
		struct fuzz_out o = {.size = 0};
		char name[32];

		fuzz_put(&o, first, first_bytes);
		for (unsigned w = 0; w < 8; w++)
			store_seed(&o, kind, w + kind, w, 4 + w % 4, kind * 11 + w);
		snprintf(name, sizeof(name), "mixed-%u", kind);
		emit(name, o.bytes, o.size);
	}
}

#endif
