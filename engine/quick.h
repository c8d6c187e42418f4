/*
 * quick.h - the get that most gets are, in one piece: hint, cell, newest version.
 *
 * A processor looks some hundred instructions ahead. If a get has fewer, the next one's cache misses begin while this one's are under
 * way, and gets one after the other take half the time. So this path does what has to be done and nothing else: LATEST, the key in the first
 * line of the hint table, its newest version committed, plain and small. Every reference is judged before it is followed
 * (engine/sound.h). Whatever it does not decide it leaves to pp_read.
 */
#ifndef PP_ENGINE_QUICK_H
#define PP_ENGINE_QUICK_H

#include "engine/hint.h"
#include "engine/index.h"
#include "engine/read.h"
#include "engine/stat.h"

/* True: *out is filled. Caller is inside a read section; the key has a size that a key may have. */
static inline bool pp_read_quick(struct pp_thread *t, const struct pp_key *k, struct pp_hit *out)
{
	pp_a64 *count = &t->slot->count.ops[PP_OP_GET];
	uint64_t n = pp_load_rlx(count), hash, entry, state; /* owner */
	pp_a64 *line;
	struct pp_cell *cell;
	struct pp_version *v;
	unsigned ways;
	pp_ref ref;

	/* the table that was judged when it was met first; and not one of those that are timed */
	if (__builtin_expect(pp_load_acq(&pp_engine(t)->hints) != t->hints_link || (PP_COUNTING && n % PP_TIME_EACH_GET == 0), 0))
		return false;
	hash = pp_key_hash(k);
	line = pp_hint_line(t->hints, (uint32_t)hash);
	ways = pp_hint_ways(line, hash);
	if (__builtin_expect(!ways, 0))
		return false;
	/* [hint.find:entry] pairs [hint.enter:entry]: the cell it names */
	entry = pp_load_acq(&line[__builtin_ctz(ways)]);
	ref = pp_link_ref(entry);
	cell = pp_at(t->region, ref);
	pp_near((const char *)cell - sizeof(struct pp_block));
	pp_near((const char *)cell + 48);
	pp_near((const char *)cell + 112);
	if (__builtin_expect(pp_era(t) != t->high || !pp_ref_near(t->region, ref), 0))
		return false;
	if (__builtin_expect(!pp_hint_live(t, ref, entry >> PP_REF_BITS & PP_HINT_GEN, PP_HINT_GEN, PP_KIND_CELL), 0) ||
	    __builtin_expect(cell->flags & PP_C_INDEX || !pp_cell_equals(cell, k), 0))
		return false;
	ref = pp_version_newest(t, cell, &state);
	if (__builtin_expect(!ref || !pp_ref_near(t->region, ref), 0))
		return false;
	v = pp_version_at(t, ref);
	if (__builtin_expect(pp_version_flags(v) != 0 || v->size > PP_SMALL_VALUE, 0))
		return false;
	if (PP_COUNTING)
		pp_store_rlx(count, n + 1); /* owner */
	pp_hit_set(out, cell, v, state);
	return true;
}

#endif
