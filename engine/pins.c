/*
 * pins.c - what clients keep from being freed, and what happens to those that keep too much for too long.
 *
 * Each 100 ms the house thread looks at all slots and notes since when each holds what it holds: an interval counts from the first look that
 * found the era beyond its `low`, a cut S from the first one that found a later cut settled. So a reader that comes and goes, or
 * that holds while nothing happens, holds nothing. Bytes:
 *   of an interval    blocks in limbo that its process alone protects: a walk over limbo, some pages a look, while somebody has held for
 *                     a second
 *   of a cut          log bytes of writes, since it was taken, that took the place of older versions. An upper bound: of a key that is
 *                     written again and again one version is kept.
 * Beyond `pin_seconds` or `pin_bytes`
 *   a read-only client is evicted: the flag is stored in its record, and what its slots say is not honoured from the next scan on. Its
 *                     library finds the flag before it believes anything (shm/guard.h) and asks for another record.
 *   a read-write client's view loses its hold by a handshake (shm/slot.h pp_hold_evict), if it is not inside a call. Who is inside a call is
 *                     left alone: it may be about to write.
 * A read-only client that has not come back since our start counts as holding all that was there since it attached.
 *
 * Dies inside: an evicted record or hold stays so; ages begin anew with the next daemon.
 */
#include "engine/keeper_internal.h"
#include "shm/alloc.h"
#include "shm/clock.h"
#include "shm/slot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_NS UINT64_C(100000000)
#define LONG_NS UINT64_C(1000000000)   /* who holds for so long is worth a walk, and so often */
#define WALK_PAGES 2048
#define HOLDERS 64

/* What is held, and since when. low PP_IDLE, cut 0: nothing. */
struct pin {
	uint64_t low, low_ns, cut, cut_ns, superseded;
};

struct holder {
	uint32_t proc;
	uint64_t low, high;
};

struct pp_pins {
	uint64_t looked_ns, walked_ns;
	uint64_t superseded;               /* k->superseded_bytes at the last look */
	struct pin *slot, *reader;         /* [slots], [procs]: a read-only client's oldest interval and oldest cut */
	struct holder holder[HOLDERS];     /* intervals of a second and more, as of the walk's beginning */
	unsigned holders;
	bool walking;
	uint64_t page;
	uint64_t *counting, *limbo;        /* [procs]: of the walk under way, of the last one */
	struct sum { uint64_t slots, interval_ns, cut_ns, cut_bytes; } *sum; /* [procs] */
};

static bool init(struct pp_keeper *k)
{
	uint32_t procs = k->region.fixed.procs;
	struct pp_pins *p = calloc(1, sizeof(*p));

	if (!p)
		return false;
	k->pins = p;
	p->slot = calloc(k->region.fixed.slots, sizeof(*p->slot));
	p->reader = calloc(procs, sizeof(*p->reader));
	p->counting = calloc(procs, sizeof(*p->counting));
	p->limbo = calloc(procs, sizeof(*p->limbo));
	p->sum = calloc(procs, sizeof(*p->sum));
	if (p->slot && p->reader && p->counting && p->limbo && p->sum)
		return true;
	pp_pins_free(p);
	k->pins = NULL;
	return false;
}

void pp_pins_free(struct pp_pins *p)
{
	if (!p)
		return;
	free(p->slot);
	free(p->reader);
	free(p->counting);
	free(p->limbo);
	free(p->sum);
	free(p);
}

/* ---- ages ------------------------------------------------------------------------------------------------------- */

static void look_at(struct pp_keeper *k, struct pin *pin, uint64_t low, uint64_t cut, uint64_t now)
{
	struct pp_globals *g = k->region.globals;

	if (low >= pp_load_acq(&g->era)) /* PP_IDLE as well */
		low = PP_IDLE;
	if (cut >= pp_load_acq(&g->settled_epoch))
		cut = 0;
	if (low != pin->low || !pin->low_ns)
		pin->low_ns = now;
	if (cut != pin->cut || !pin->cut_ns) {
		pin->cut_ns = now;
		pin->superseded = k->pins->superseded; /* as of the look before: it was taken since */
	}
	pin->low = low;
	pin->cut = cut;
}

static uint64_t interval_age(const struct pin *pin, uint64_t now)
{
	return pin->low == PP_IDLE ? 0 : now - pin->low_ns;
}

static uint64_t cut_age(const struct pin *pin, uint64_t now)
{
	return pin->cut ? now - pin->cut_ns : 0;
}

static void add_pin(struct pp_keeper *k, uint32_t proc, const struct pin *pin, uint64_t now)
{
	struct sum *s = &k->pins->sum[proc];
	uint64_t bytes = pin->cut ? pp_load_rlx(&k->superseded_bytes) - pin->superseded : 0; /* stat */

	if (interval_age(pin, now) > s->interval_ns)
		s->interval_ns = interval_age(pin, now);
	if (cut_age(pin, now) > s->cut_ns)
		s->cut_ns = cut_age(pin, now);
	if (bytes > s->cut_bytes)
		s->cut_bytes = bytes;
}

static void look_at_slots(struct pp_keeper *k, uint64_t now)
{
	unsigned high = pp_slots_high(&k->region);

	for (unsigned i = 0; i < high; i++) {
		struct pp_slot *s = &k->region.slots[i];
		uint64_t owner = pp_load_acq(&s->owner);
		bool holds = pp_slot_state(owner) == PP_SLOT_CLAIMED && !pp_hold_evicted(s);

		look_at(k, &k->pins->slot[i], holds ? pp_load_acq(&s->low) : PP_IDLE, holds ? pp_load_acq(&s->snapshot) : 0, now);
		if (pp_slot_state(owner) != PP_SLOT_CLAIMED || pp_slot_proc(owner) >= k->region.fixed.procs)
			continue;
		k->pins->sum[pp_slot_proc(owner)].slots++;
		add_pin(k, pp_slot_proc(owner), &k->pins->slot[i], now);
	}
}

/* Its slots are hostile input: each word is read once, and believed for as much as the scan believes (shm/reclaim.h). */
static void look_at_reader(struct pp_keeper *k, uint32_t proc, uint64_t now)
{
	struct pp_extra_slots *x = &k->extra[proc];
	uint64_t low = PP_IDLE, cut = 0;

	if (pp_load_acq(&k->pinned[proc]))
		low = pp_load_acq(&k->region.procs[proc].attach_era);
	else if (!pp_load_acq(&k->extra_set[proc]))
		return;
	for (unsigned i = 0; !pp_load_acq(&k->pinned[proc]) && i < x->count; i++) {
		uint64_t at, s;

		if (pp_slot_state(pp_load_acq(&x->slots[i].owner)) == PP_SLOT_FREE)
			continue;
		k->pins->sum[proc].slots++;
		at = pp_load_acq(&x->slots[i].low);
		s = pp_load_acq(&x->slots[i].snapshot);
		if (at != PP_IDLE && at < low)
			low = at < x->clamp_low ? x->clamp_low : at;
		if (s && (!cut || s < cut))
			cut = s;
	}
	look_at(k, &k->pins->reader[proc], low, cut, now);
	add_pin(k, proc, &k->pins->reader[proc], now);
}

/* ---- bytes ------------------------------------------------------------------------------------------------------ */

static void add_holder(struct pp_pins *p, uint32_t proc, uint64_t low, uint64_t high)
{
	if (p->holders < HOLDERS)
		p->holder[p->holders++] = (struct holder){proc, low, high < low ? low : high};
}

static void find_holders(struct pp_keeper *k, uint64_t now)
{
	struct pp_pins *p = k->pins;
	unsigned high = pp_slots_high(&k->region);

	p->holders = 0;
	for (unsigned i = 0; i < high; i++)
		if (interval_age(&p->slot[i], now) > LONG_NS)
			add_holder(p, pp_slot_proc(pp_load_acq(&k->region.slots[i].owner)), p->slot[i].low,
				   pp_load_acq(&k->region.slots[i].high));
	for (uint32_t r = 0; r < k->region.fixed.procs; r++) {
		struct pp_extra_slots *x = &k->extra[r];

		if (interval_age(&p->reader[r], now) <= LONG_NS || pp_reader_evicted(k, r))
			continue;
		if (pp_load_acq(&k->pinned[r]))
			add_holder(p, r, p->reader[r].low, PP_ERA_MASK);
		for (unsigned i = 0; !pp_load_acq(&k->pinned[r]) && pp_load_acq(&k->extra_set[r]) && i < x->count; i++) {
			uint64_t low = pp_load_acq(&x->slots[i].low);

			if (low != PP_IDLE && pp_slot_state(pp_load_acq(&x->slots[i].owner)) != PP_SLOT_FREE)
				add_holder(p, r, low < x->clamp_low ? x->clamp_low : low, pp_load_acq(&x->slots[i].high));
		}
	}
}

static void in_limbo(void *ctx, uint64_t birth, uint64_t retired, uint64_t bytes)
{
	struct pp_keeper *k = ctx;
	struct pp_pins *p = k->pins;
	int64_t only = -1;

	if (retired >= k->house.safe.era)
		return; /* nobody can free it yet, whoever reads */
	for (unsigned i = 0; i < p->holders; i++) {
		if (p->holder[i].low > retired || p->holder[i].high < birth || p->holder[i].proc == only)
			continue;
		if (only >= 0)
			return;
		only = p->holder[i].proc;
	}
	if (only >= 0 && only < (int64_t)k->region.fixed.procs)
		p->counting[only] += bytes;
}

static void walk(struct pp_keeper *k, uint64_t now)
{
	struct pp_pins *p = k->pins;
	uint64_t pages = pp_load_acq(&k->region.globals->committed_segments) * PP_PAGES_PER_SEGMENT, *done;

	if (!p->walking) {
		if (now - p->walked_ns < LONG_NS)
			return;
		find_holders(k, now);
		p->walked_ns = now;
		p->walking = p->holders;
		p->page = 0;
		memset(p->walking ? p->counting : p->limbo, 0, k->region.fixed.procs * sizeof(*p->counting));
		return;
	}
	p->page = pp_limbo_walk(&k->region, p->page, WALK_PAGES, in_limbo, k);
	if (p->page < pages)
		return;
	done = p->counting;
	p->counting = p->limbo;
	p->limbo = done;
	p->walking = false;
	p->walked_ns = now;
}

/* ---- budgets ---------------------------------------------------------------------------------------------------- */

static bool over(const struct pp_keeper *k, uint64_t age_ns, uint64_t bytes)
{
	return (k->config.pin_seconds && age_ns / UINT64_C(1000000000) >= k->config.pin_seconds) ||
	       (k->config.pin_bytes && age_ns >= LONG_NS && bytes > k->config.pin_bytes);
}

static uint64_t older(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static void evicted(struct pp_keeper *k, uint32_t proc, const char *what, uint64_t age_ns, uint64_t bytes)
{
	struct pp_proc *r = &k->region.procs[proc];
	char text[256];

	pp_store_rlx(&r->evictions, pp_load_rlx(&r->evictions) + 1); /* owner: the house thread */
	k->round.idle = 0;                 /* what it held comes back with a round */
	pp_store_rlx(&k->todo_overflow, 1); /* hint: versions that its cut kept */
	if (!k->config.say)
		return;
	snprintf(text, sizeof(text), "%s of process %u (%.31s) was evicted: it held for %llu s, and kept about %llu KiB; see pin-seconds and pin-bytes",
		 what, (unsigned)pp_load_rlx(&r->pid), r->name, (unsigned long long)(age_ns / UINT64_C(1000000000)), /* owner: daemon */
		 (unsigned long long)(bytes >> 10));
	k->config.say(k->config.ctx, text);
}

static uint64_t bytes_of(const struct pp_keeper *k, uint32_t proc)
{
	return k->pins->limbo[proc] + k->pins->sum[proc].cut_bytes;
}

static void judge_reader(struct pp_keeper *k, uint32_t proc)
{
	struct pp_proc *r = &k->region.procs[proc];
	const struct sum *s = &k->pins->sum[proc];
	uint64_t age = older(s->interval_ns, s->cut_ns);

	if (!over(k, age, bytes_of(k, proc)))
		return;
	pp_store_seq(&r->flags, pp_load_acq(&r->flags) | PP_PROC_EVICTED);
	evicted(k, proc, "the read-only client", age, bytes_of(k, proc));
}

static void judge_slots(struct pp_keeper *k, uint64_t now)
{
	unsigned high = pp_slots_high(&k->region);

	for (unsigned i = 0; i < high; i++) {
		struct pp_slot *s = &k->region.slots[i];
		uint64_t owner = pp_load_acq(&s->owner), age;
		const struct pin *pin = &k->pins->slot[i];
		uint32_t proc = pp_slot_proc(owner);

		age = older(interval_age(pin, now), cut_age(pin, now));
		if (pp_slot_state(owner) != PP_SLOT_CLAIMED || proc == k->proc || proc >= k->region.fixed.procs ||
		    !over(k, age, bytes_of(k, proc)))
			continue;
		if (pp_hold_evict(s))
			evicted(k, proc, "a view", age, bytes_of(k, proc));
	}
}

/* ---- the step --------------------------------------------------------------------------------------------------- */

static void publish(struct pp_keeper *k, uint32_t proc)
{
	struct pp_proc *r = &k->region.procs[proc];
	const struct sum *s = &k->pins->sum[proc];

	pp_store_rlx(&r->slots_used, s->slots); /* stat, all of them */
	pp_store_rlx(&r->interval_ns, s->interval_ns);
	pp_store_rlx(&r->snapshot_ns, s->cut_ns);
	pp_store_rlx(&r->pinned_bytes, bytes_of(k, proc));
}

void pp_pins_step(struct pp_keeper *k)
{
	uint32_t procs = k->region.fixed.procs;
	uint64_t now = pp_now_ns();

	if (!k->pins && !init(k))
		return;
	if (k->pins->walking)
		walk(k, now);
	if (now - k->pins->looked_ns < LOOK_NS)
		return;
	k->pins->looked_ns = now;
	memset(k->pins->sum, 0, procs * sizeof(*k->pins->sum));
	look_at_slots(k, now);
	for (uint32_t p = 0; p < procs; p++) {
		if (!pp_load_acq(&k->region.procs[p].state))
			continue;
		if (!pp_reader_evicted(k, p)) {
			look_at_reader(k, p, now);
			if (pp_load_acq(&k->region.procs[p].flags) & PP_PROC_READONLY)
				judge_reader(k, p);
		}
		publish(k, p);
	}
	judge_slots(k, now);
	k->pins->superseded = pp_load_rlx(&k->superseded_bytes); /* stat */
	if (!k->pins->walking)
		walk(k, now);
}
