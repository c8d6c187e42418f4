/*
 * reclaim.c - the daemon's half of interval-based reclamation: scan all readers, announce what they protect; and the private copies
 * of the announcement by which everybody judges its own retired blocks. (2GE-IBR: Wen et al., PPoPP 2018.)
 *
 * Why a block that passes pp_safe_block has no reader. Let the block be born in era b, unlinked, then retired in era r (read after the
 * unlink), and let a scan with era s > r (the era word was bumped from s - 1 to s before the scan) find no interval that meets [b, r].
 *  - A reader enters (low = high = era), fences, loads references, and after each load finds the era equal to its `high`, or raises
 *    `high`, fences and loads again. So whatever it got was linked at a moment of era `high`: b <= high, and it entered no later
 *    than the unlink: low <= r.
 *  - Loaded before the bump became visible to it: low and high were stored before that load; the fence on both sides (reader's
 *    own, or membarrier by the scanner after the bump) makes the scan see them, so the scan finds the meeting interval.
 *  - Loaded after: then it found era >= s, the block was still linked in era >= s, so r >= s. Contradiction.
 *  A slot is read low first (acquire), then high: a high of a later section only widens what is announced.
 *
 * Blocks whose contents were moved (PP_MOVED_BIT). What a snapshot hands out is used outside of read sections, and promised as long
 * as it is held. A version that it sees stays for the held set's sake; but bytes that were copied elsewhere are retired all the same.
 * They are freed only if no snapshot is held that began in an era <= r. Whoever holds one that handed them out began before, when the
 * block was linked, so in an era <= r; and the scan sees it: either in its slot, whose era and S are stored before the fence (an
 * older era protects more); or the holder's later sections find the era bumped, and then r >= s as above (tests/model/moved.pml).
 *
 * Announcement: two copies, the one not in force is filled, then set_version is raised. A reader takes a copy only if set_version stood
 * still meanwhile. The writer fences (release) before it fills: a reader that saw one of its new words sees the older version
 * bump too and starts again.
 *
 * Old announcements stay true: a block that was safe under version v has no reader ever after. So a copy that could not be
 * refreshed (no memory) may still be used.
 *
 * Dies in announce: half a copy that is not in force; the next daemon fills it anew. Dies elsewhere: nothing.
 */
#include "shm/reclaim.h"

#include "shm/slot.h"

#include <linux/membarrier.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define REFRESH_TRIES 1000 /* announcements are a millisecond apart: more means that a copy is damaged, and nothing is safe */

/* ---- barrier ---------------------------------------------------------------------------------------------------- */

bool pp_barrier_register(void)
{
	return !syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0);
}

void pp_barrier_global(void)
{
	/* own loads and stores as well, and the whole of it where membarrier is forbidden (then all readers fence) */
	pp_fence_seq();
	(void)syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0);
	pp_fence_seq();
}

/* ---- scan ------------------------------------------------------------------------------------------------------- */

static int by_low(const void *a, const void *b)
{
	const struct pp_interval *x = a, *y = b;

	return x->low < y->low ? -1 : x->low > y->low;
}

/* Sorts, and joins intervals that overlap or touch: eras are whole numbers, so the union protects the same blocks. */
static void merge(struct pp_scan *scan)
{
	unsigned out = 0;

	if (scan->count < 2)
		return;
	qsort(scan->interval, scan->count, sizeof(scan->interval[0]), by_low);
	for (unsigned i = 1; i < scan->count; i++) {
		struct pp_interval *last = &scan->interval[out];

		if (scan->interval[i].low > last->high + 1)
			scan->interval[++out] = scan->interval[i];
		else if (scan->interval[i].high > last->high)
			last->high = scan->interval[i].high;
	}
	scan->count = out + 1;
}

static void add(struct pp_scan *scan, uint64_t low, uint64_t high)
{
	struct pp_interval *last;

	if (high < low)
		high = low;
	if (scan->count == PP_MAX_SLOTS)
		merge(scan);
	if (scan->count < PP_MAX_SLOTS) {
		scan->interval[scan->count++] = (struct pp_interval){low, high};
		return;
	}
	last = &scan->interval[PP_MAX_SLOTS - 1]; /* too many gaps to keep: one interval more than asked for is safe */
	last->low = low < last->low ? low : last->low;
	last->high = high > last->high ? high : last->high;
}

static void snapshot_since(struct pp_scan *scan, uint64_t era)
{
	if (era < scan->snapshot_era)
		scan->snapshot_era = era;
}

static uint64_t clamp(uint64_t v, uint64_t low, uint64_t high)
{
	return v < low ? low : v > high ? high : v;
}

/* One slot; each word is read once, for the owner may be hostile (extra) or in the middle of anything. */
static void scan_slot(struct pp_slot *s, const struct pp_extra_slots *x, struct pp_scan *scan)
{
	uint64_t low, high;

	if (pp_slot_state(pp_load_acq(&s->owner)) == PP_SLOT_FREE)
		return;
	/* [reclaim.scan:interval] pairs [reclaim.enter:interval]: the fence or membarrier lies between its stores and its loads */
	low = pp_load_acq(&s->low);
	if (!x && pp_hold_evicted(s))
		return;
	if (low != PP_IDLE) {
		high = pp_load_acq(&s->high);
		if (x) {
			low = clamp(low, x->clamp_low, x->clamp_high);
			high = clamp(high, x->clamp_low, x->clamp_high);
		}
		add(scan, low, high);
	}
	/* [reclaim.scan:snapshot] pairs [snapshot.hold:fence]: the era that goes with it, or an older one */
	if (!pp_load_acq(&s->snapshot))
		return;
	low = pp_load_acq(&s->snapshot_era);
	snapshot_since(scan, x ? clamp(low, x->clamp_low, x->clamp_high) : low);
}

int pp_reclaim_scan(struct pp_region *r, const struct pp_extra_slots *extra, unsigned nextra, struct pp_scan *scan)
{
	uint64_t high;

	scan->count = 0;
	scan->snapshot_era = UINT64_MAX;
	scan->era = pp_add_seq(&r->globals->era, 1) + 1;
	PP_FAULT_POINT("reclaim.scan.bumped");
	pp_barrier_global();
	/* [reclaim.scan:high] pairs [slot.claim:high]: after the barrier, so no slot with an older interval lies above it */
	high = pp_load_seq(&r->globals->slots_high);
	if (high > r->fixed.slots)
		high = r->fixed.slots;
	for (uint64_t i = 0; i < high; i++)
		scan_slot(&r->slots[i], NULL, scan);
	for (unsigned i = 0; i < nextra; i++) {
		if (extra[i].pin_all) {
			add(scan, extra[i].clamp_low, scan->era);
			snapshot_since(scan, extra[i].clamp_low);
		}
		for (unsigned k = 0; !extra[i].pin_all && k < extra[i].count; k++)
			scan_slot(&extra[i].slots[k], &extra[i], scan);
	}
	merge(scan);
	return 0;
}

void pp_reclaim_announce(struct pp_region *r, const struct pp_scan *scan, uint64_t prune_floor, const uint64_t *held, unsigned nheld)
{
	uint64_t version = pp_load_acq(&r->globals->set_version);
	struct pp_sets *set = &r->sets[(version + 1) & 1];

	if (nheld > PP_MAX_SLOTS) /* more than can be told: then nothing may be pruned */
		nheld = 0, prune_floor = 0;
	/* [reclaim.announce:fill] pairs [reclaim.refresh:recheck]: who sees a new word below sees `version` at least */
	pp_fence_rel();
	/* all relaxed: ordered by that fence and by the release of set_version */
	pp_store_rlx(&set->reclaim_era, scan->era);
	pp_store_rlx(&set->snapshot_era, scan->snapshot_era);
	pp_store_rlx(&set->intervals, scan->count);
	for (unsigned i = 0; i < scan->count; i++) {
		pp_store_rlx(&set->interval[i].low, scan->interval[i].low);
		pp_store_rlx(&set->interval[i].high, scan->interval[i].high);
	}
	pp_store_rlx(&set->prune_floor, prune_floor);
	pp_store_rlx(&set->snapshots, nheld);
	for (unsigned i = 0; i < nheld; i++)
		pp_store_rlx(&set->held[i], held[i]);
	/* [reclaim.announce:version] pairs [reclaim.refresh:version]: the copy is whole; every reader's last access is before it */
	pp_store_seq(&r->globals->set_version, version + 1);
}

/* ---- private copies --------------------------------------------------------------------------------------------- */

static bool reserve(void **array, unsigned *cap, unsigned count, size_t size)
{
	void *p;

	if (count <= *cap)
		return true;
	p = realloc(*array, (count + 16) * size);
	if (!p)
		return false;
	*array = p;
	*cap = count + 16;
	return true;
}

/* False: the copy is being overwritten, or there is no memory. */
static int copy_set(struct pp_sets *set, struct pp_safe *next)
{
	/* all relaxed: the caller looks at set_version again after an acquire fence */
	next->era = pp_load_rlx(&set->reclaim_era);
	next->snapshot_era = pp_load_rlx(&set->snapshot_era);
	next->intervals = pp_load_rlx(&set->intervals);
	next->held_count = pp_load_rlx(&set->snapshots);
	next->prune_floor = pp_load_rlx(&set->prune_floor);
	if (next->intervals > PP_MAX_SLOTS || next->held_count > PP_MAX_SLOTS)
		return -EAGAIN;
	if (!reserve((void **)&next->interval, &next->interval_cap, next->intervals, sizeof(next->interval[0])) ||
	    !reserve((void **)&next->held, &next->held_cap, next->held_count, sizeof(next->held[0])))
		return -ENOMEM;
	for (unsigned i = 0; i < next->intervals; i++) {
		next->interval[i].low = pp_load_rlx(&set->interval[i].low);
		next->interval[i].high = pp_load_rlx(&set->interval[i].high);
	}
	for (unsigned i = 0; i < next->held_count; i++)
		next->held[i] = pp_load_rlx(&set->held[i]);
	return 0;
}

/*
 * The copy is taken over the caller's own arrays. While it is torn, or if memory runs out half-way, the caller must not be left with
 * it: era 0 and prune_floor 0 make nothing safe until the next refresh that succeeds.
 */
int pp_safe_refresh(struct pp_region *r, struct pp_safe *safe)
{
	for (unsigned tries = 0;; tries++) {
		/* [reclaim.refresh:version] pairs [reclaim.announce:version] */
		uint64_t version = pp_load_acq(&r->globals->set_version);
		int rc;

		if (version == safe->version)
			return 0;
		rc = copy_set(&r->sets[version & 1], safe);
		pp_fence_acq();
		/* [reclaim.refresh:recheck] pairs [reclaim.announce:fill] */
		if (!rc && pp_load_rlx(&r->globals->set_version) == version) { /* recheck */
			safe->version = version;
			return 1;
		}
		safe->era = safe->snapshot_era = safe->prune_floor = safe->version = 0;
		safe->intervals = safe->held_count = 0;
		if (rc == -ENOMEM || tries == REFRESH_TRIES)
			return rc;
	}
}

void pp_safe_clear(struct pp_safe *safe)
{
	free(safe->interval);
	free(safe->held);
	memset(safe, 0, sizeof(*safe));
}

bool pp_safe_block(const struct pp_safe *safe, uint64_t birth, uint64_t retired)
{
	const struct pp_interval *i = safe->interval;
	unsigned n = safe->intervals;

	if (__builtin_expect(retired & PP_MOVED_BIT, 0)) {
		retired &= ~PP_MOVED_BIT;
		if (retired >= safe->snapshot_era)
			return false;
	}
	if (retired >= safe->era)
		return false;
	for (; n > 8; n -= n / 2) /* the first with high >= birth stays within [i, i + n) */
		if (i[n / 2 - 1].high < birth)
			i += n / 2;
	for (; n && i->high < birth; n--)
		i++;
	return !n || i->low > retired;
}

bool pp_safe_version(const struct pp_safe *safe, uint64_t tv, uint64_t tw)
{
	unsigned low = 0, high = safe->held_count;

	if (tw > safe->prune_floor)
		return false;
	while (low < high) { /* first held S >= tv */
		unsigned middle = (low + high) / 2;

		if (safe->held[middle] < tv)
			low = middle + 1;
		else
			high = middle;
	}
	return low == safe->held_count || PP_MUTANT("prune.held_ignored") || safe->held[low] >= tw;
}
