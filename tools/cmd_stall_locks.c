/*
 * cmd_stall_locks.c - sync = mutex: who holds lock stripes, who waits for them, and whether they wait in a circle (see cmd_stall.h).
 *
 * A thread waits for one stripe at a time (its slot says which), a stripe has one owner: so each thread waits for one other at most, and a
 * circle is found by walking on from each. There should be none: batches take their stripes in ascending order, and a stripe whose owner
 * does not move is taken over after PP_STEAL_NS. A circle that stands is therefore damage, and is said to be.
 */
#include "tools/cmd_stall.h"
#include "shm/sync.h"
#include "tools/text_number.h"

#include <inttypes.h>
#include <stdio.h>

#define LONG_NS UINT64_C(1000000000)
#define NOBODY UINT32_MAX

/* The slot that slot i waits for now; NOBODY: none. */
static uint32_t waits_for(const struct pp_stall *p, uint32_t i)
{
	const struct pp_stall_look *l = &p->now[i];
	struct pp_stripe_info s;

	if (!l->stripe || l->stripe > p->r->fixed.stripes || pp_slot_state(l->owner) != PP_SLOT_CLAIMED)
		return NOBODY;
	pp_stripe_look(p->r, l->stripe - 1, &s);
	return s.held_ns && s.slot < p->r->fixed.slots ? s.slot : NOBODY;
}

static bool waited(const struct pp_stall *p, uint32_t i)
{
	return p->before[i].owner == p->now[i].owner && p->before[i].stripe && p->before[i].stripe == p->now[i].stripe;
}

static void report_wait(struct pp_stall *p, uint32_t i, uint32_t owner)
{
	struct pp_stall_who waiter = pp_stall_who(p, p->now[i].owner), holder = pp_stall_who(p, p->now[owner].owner);

	pp_stall_report(p, (int)i, waiter.pid, 0, "lock_wait", "Slot %u: %s waits for lock stripe %u, which slot %u holds: %s.", i, waiter.text,
		p->now[i].stripe - 1, owner, holder.text);
}

/* Walks on from `first`; a circle is reported by its lowest member. */
static void look_for_circle(struct pp_stall *p, uint32_t first)
{
	uint32_t at = first, pid, steps = 0;
	char members[160] = "";

	do {
		size_t used = strlen(members);

		snprintf(members + used, sizeof(members) - used, "%s%u", used ? " -> " : "", at);
		at = waits_for(p, at);
		if (at == NOBODY || at < first || !waited(p, at) || ++steps > p->r->fixed.slots)
			return;
	} while (at != first);
	pid = pp_stall_who(p, p->now[first].owner).pid;
	pp_stall_report(p, (int)first, pid, 0, "lock_cycle", "Slots wait for each other's lock stripes in a circle: %s -> %u. That cannot come from ppdb's own "
		"locking: run 'ppdb check'; killing process %u opens it.", members, first, pid);
}

static void report_owner(struct pp_stall *p, unsigned stripe, const struct pp_stripe_info *s)
{
	struct pp_stall_who who = pp_stall_who(p, pp_load_rlx(&p->r->slots[s->slot].owner)); /* stat */
	char a[PP_TEXT_NUMBER];
	unsigned waiters = 0;

	for (uint32_t i = 0; i < p->r->fixed.slots; i++)
		waiters += p->now[i].stripe == stripe + 1 && pp_slot_state(p->now[i].owner) == PP_SLOT_CLAIMED;
	pp_stall_report(p, (int)s->slot, who.pid, s->held_ns, "stripe",
		"Lock stripe %u has been held for %s by %s; %u wait for it, and the next one takes it over after 10 ms.", stripe,
		pp_text_seconds(a, (double)s->held_ns / 1e9), who.text, waiters);
}

void pp_stall_locks(struct pp_stall *p)
{
	struct pp_stripe_info s;

	if (p->r->fixed.sync_mode != PP_SYNC_MUTEX)
		return;
	for (unsigned i = 0; i < p->r->fixed.stripes; i++) {
		pp_stripe_look(p->r, i, &s);
		if (s.held_ns >= LONG_NS && s.slot < p->r->fixed.slots)
			report_owner(p, i, &s);
	}
	for (uint32_t i = 0; i < p->r->fixed.slots; i++) {
		uint32_t owner = waited(p, i) ? waits_for(p, i) : NOBODY;

		if (owner == NOBODY)
			continue;
		report_wait(p, i, owner);
		look_for_circle(p, i);
	}
}
