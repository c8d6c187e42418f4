/*
 * read.c - point reads: find the key cell by hint or index, then the version a reader may see.
 *
 * Nothing here writes shared data: a reader's own slot is all it touches (its interval, its counters). A read never waits: an undecided
 * version is passed over, a moved era costs one more load, a split or merge a step to the right.
 *
 * Dies inside: nothing. Stopped inside: pins what was alive while it read.
 */
#include "engine/read.h"

#include "engine/hint.h"
#include "engine/index.h"
#include "engine/stat.h"
#include "engine/version.h"
#include "shm/clock.h"
#include "shm/fault.h"

bool pp_expired(const struct pp_thread *t, const struct pp_version *v)
{
	uint64_t expires = pp_version_expires(v);

	return expires && expires <= (t->as_of_ms ? t->as_of_ms : pp_wall_ms());
}

static uint64_t blocks_seen(const struct pp_thread *t)
{
	return pp_load_rlx(&t->slot->count.find_blocks) + pp_load_rlx(&t->slot->count.leaf_visits); /* owner */
}

/* The way through the index: the key is copied for it, table first. */
static __attribute__((noinline)) pp_ref descend(struct pp_thread *t, uint64_t hash, const struct pp_key *k)
{
	uint64_t before = blocks_seen(t);
	struct pp_keybuf b;
	struct pp_place p;

	pp_count(&t->slot->count.hint_misses, 1);
	pp_keybuf_set(&b, k->table, k->data, k->size);
	pp_index_find(t, pp_list_of(t, hash), 0, &b.key, false, &p);
	pp_count(&t->slot->count.read_blocks, blocks_seen(t) - before);
	return p.equal ? pp_block_ref(p.block, p.at) : 0;
}

pp_ref pp_cell_find(struct pp_thread *t, uint64_t hash, const struct pp_key *k)
{
	pp_ref cell = pp_hint_find(t, hash, k);

	if (__builtin_expect(cell != 0, 1)) {
		pp_count(&t->slot->count.hint_hits, 1);
		if (pp_load_acq(&((struct pp_cell *)pp_at(t->region, cell))->head) != PP_DEAD)
			return cell;
	}
	return descend(t, hash, k);
}

int pp_hit_fill(struct pp_thread *t, pp_ref cell_ref, uint64_t snapshot, struct pp_hit *out)
{
	struct pp_cell *cell = pp_cell_at(t, cell_ref);
	uint64_t state;
	pp_ref ref = snapshot == PP_LATEST ? pp_version_newest(t, cell, &state) : 0;
	struct pp_version *v;

	if (!ref)
		ref = pp_version_visible(t, cell, snapshot, &state);
	if (!ref)
		return PPDB_NOTFOUND;
	PP_FAULT_POINT("read.found");
	v = pp_version_at(t, ref);
	if (__builtin_expect(!pp_version_whole(t, ref, v), 0))
		return PPDB_NOTFOUND;
	if (__builtin_expect(pp_version_flags(v) != 0, 0) && (pp_version_flags(v) & PP_V_TOMBSTONE || pp_expired(t, v)))
		return PPDB_NOTFOUND;
	pp_hit_set(out, cell, v, state);
	return 0;
}

static int key_check(const struct pp_key *key)
{
	if (key->size < 1 || key->size > PP_KEY_MAX)
		return pp_detail(PPDB_KEYSIZE, "a key of %u bytes: keys have 1 to %d bytes", key->size, PP_KEY_MAX);
	return 0;
}

static int read_key(struct pp_thread *t, const struct pp_key *k, uint64_t hash, uint64_t snapshot, struct pp_hit *out)
{
	pp_ref cell = pp_cell_find(t, hash, k);

	return pp_damage_result(t, cell ? pp_hit_fill(t, cell, snapshot, out) : PPDB_NOTFOUND);
}

int pp_read(struct pp_thread *t, const struct pp_key *key, uint64_t snapshot, struct pp_hit *out)
{
	uint64_t start, hash;
	int rc = key_check(key);

	if (rc)
		return rc;
	start = pp_op_begin(t, PP_OP_GET);
	pp_count(&t->slot->count.slow_gets, 1);
	hash = pp_key_hash(key);
	rc = read_key(t, key, hash, snapshot, out);
	pp_op_end_key(t, PP_OP_GET, start, key, hash);
	return rc;
}

/* A group of reads in three passes: entry lines, cells, versions; so that up to GROUP cache misses overlap. */
#define GROUP 16

static void read_group(struct pp_thread *t, const struct pp_key *keys, size_t n, uint64_t snapshot, struct pp_hit *out, int *rcs)
{
	uint64_t hash[GROUP], start = pp_op_begin_many(t, PP_OP_GET, n);

	pp_count(&t->slot->count.slow_gets, n);
	for (size_t i = 0; i < n; i++) {
		rcs[i] = key_check(&keys[i]);
		if (rcs[i])
			continue;
		hash[i] = pp_key_hash(&keys[i]);
		pp_hint_prefetch(t, hash[i]);
	}
	for (size_t i = 0; i < n; i++)
		if (!rcs[i])
			pp_hint_prefetch_cell(t, hash[i]);
	for (size_t i = 0; i < n; i++)
		if (!rcs[i])
			rcs[i] = read_key(t, &keys[i], hash[i], snapshot, &out[i]);
	if (__builtin_expect(start != 0, 0))
		pp_op_record(t, PP_OP_GET, (pp_now_ns() - start) / n);
}

void pp_read_many(struct pp_thread *t, const struct pp_key *keys, size_t n, uint64_t snapshot, struct pp_hit *out, int *rcs)
{
	for (size_t i = 0; i < n; i += GROUP)
		read_group(t, keys + i, n - i < GROUP ? n - i : GROUP, snapshot, out + i, rcs + i);
}
