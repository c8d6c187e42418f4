/*
 * sync.c - striped lock words on a timed futex, and references listed in the holder's slot.
 *
 * Lock word: 0 = free, else | 1 contended | 15 slot + 1 | 48 slot generation |. Taking is a CAS 0 -> own id, stealing a CAS
 * old id -> own id, releasing a CAS own id -> 0, which fails after a theft, so a former owner never frees another's lock. A
 * waiter sets `contended`, sleeps on the separate 32-bit `futex`, and takes the lock with `contended` set, because others may
 * sleep behind it. The release of a contended word raises `futex` and wakes one.
 *
 * Owners are judged before the first sleep and after each: slot no longer claimed by that generation, or the process of its record
 * dead = taken at once; the same word seen for PP_STEAL_NS = taken from a stopped owner. Naps are short, so a lost wake-up
 * (a waker killed between CAS and wake) costs 2 ms.
 *
 * pthread robust mutexes are not used: their layout belongs to each client's C library.
 *
 * A process that dies here: leaves a locked word (stolen as above), a `waiters` count too high (soft, only statistics), or listed
 * references whose slot generation is no longer current (not counted).
 */
#include "shm/sync.h"

#include "shm/backoff.h"
#include "shm/clock.h"
#include "shm/fault.h"
#include "shm/live.h"
#include "shm/wait.h"

#include <stdlib.h>
#include <string.h>

#define CONTENDED (UINT64_C(1) << 63)
#define GEN_MASK ((UINT64_C(1) << 48) - 1)
#define NAP_NS (2 * PP_NS_PER_MS)
#define TRIES_BEFORE_SLEEP 8

static uint64_t word_of(const struct pp_thread *t)
{
	uint64_t gen = pp_slot_gen(pp_load_rlx(&t->slot->owner)); /* owner */

	return (uint64_t)(t->index + 1) << 48 | (gen & GEN_MASK);
}

static unsigned slot_of(uint64_t word)
{
	return (unsigned)(word >> 48 & 0x7fff) - 1;
}

static bool locking(const struct pp_thread *t)
{
	return t->region->fixed.sync_mode == PP_SYNC_MUTEX && !t->readonly;
}

static bool owner_dead(const struct pp_region *r, uint64_t word)
{
	unsigned slot = slot_of(word);
	const struct pp_proc *p;
	uint64_t owner;

	if (slot >= r->fixed.slots)
		return true;
	owner = pp_load_acq(&r->slots[slot].owner);
	if (pp_slot_state(owner) != PP_SLOT_CLAIMED || pp_slot_gen(owner) != (word & GEN_MASK))
		return true;
	if (pp_slot_proc(owner) >= r->fixed.procs)
		return true;
	p = &r->procs[pp_slot_proc(owner)];
	return !pp_load_acq(&p->state) || !pp_proc_alive((pid_t)pp_load_rlx(&p->pid), pp_load_rlx(&p->start));
}

static void count_acquired(struct pp_thread *t, struct pp_stripe *s, uint64_t started_ns)
{
	uint64_t now = pp_now_ns();

	/* statistics: written by whoever holds the lock; a theft may lose a count */
	pp_store_rlx(&s->since_ns, now);
	pp_stat_add(&s->acquired, 1);
	if (!started_ns)
		return;
	pp_count(&s->contended, 1);
	pp_count(&s->wait_ns, now - started_ns);
	pp_count(&t->slot->count.lock_waits, 1);
	pp_count(&t->slot->count.lock_wait_ns, now - started_ns);
}

static bool try_take(struct pp_stripe *s, uint64_t mine)
{
	uint64_t free = 0;

	return pp_load_rlx(&s->word) == 0 && pp_cas_acqrel(&s->word, &free, mine); /* recheck by the CAS */
}

/* Marks the word contended and sleeps while it is. */
static void nap(struct pp_stripe *s, uint64_t word)
{
	uint32_t seen = pp_load_acq(&s->futex);

	if (word & CONTENDED ? pp_load_acq(&s->word) != word : !pp_cas_acqrel(&s->word, &word, word | CONTENDED))
		return;
	/* the word was contended after `seen` was read: its release raises `futex`, so the sleep ends or does not begin */
	pp_add_rlx(&s->waiters, 1); /* stat */
	pp_futex_wait(&s->futex, seen, 1, NAP_NS);
	pp_add_rlx(&s->waiters, -1); /* stat */
}

struct patience {
	uint64_t word, since_ns;             /* the owner we look at, and since when it has been the same */
};

static bool may_steal(const struct pp_region *r, struct patience *p, uint64_t word)
{
	uint64_t now = pp_now_ns();

	if ((p->word & ~CONTENDED) != (word & ~CONTENDED)) {
		p->word = word;
		p->since_ns = now;
	}
	return now - p->since_ns >= PP_STEAL_NS || owner_dead(r, word);
}

static void lock_slow(struct pp_thread *t, struct pp_stripe *s, uint64_t mine)
{
	struct patience patience = { 0 };
	struct pp_backoff backoff;

	pp_backoff_init(&backoff, t);
	while (backoff.tries < TRIES_BEFORE_SLEEP) {
		pp_backoff_wait(&backoff, t);
		if (try_take(s, mine))
			return;
	}
	while (!try_take(s, mine | CONTENDED)) {
		uint64_t word = pp_load_acq(&s->word);

		if (!word)
			continue;
		if (!may_steal(t->region, &patience, word)) {
			nap(s, word);
		} else if (pp_cas_acqrel(&s->word, &word, mine | CONTENDED)) {
			pp_stat_add(&s->stolen, 1);
			return;
		}
	}
}

bool pp_stripe_lock(struct pp_thread *t, unsigned stripe)
{
	struct pp_stripe *s = &t->region->stripes[stripe];
	uint64_t mine, started = 0;

	if (!locking(t))
		return false;
	mine = word_of(t);
	if (!try_take(s, mine)) {
		if ((pp_load_rlx(&s->word) & ~CONTENDED) == mine) /* owner */
			return false;
		started = pp_now_ns();
		pp_store_rlx(&t->slot->stripe_wait, stripe + 1); /* stat */
		PP_FAULT_POINT("sync.stripe.wait");
		lock_slow(t, s, mine);
		pp_store_rlx(&t->slot->stripe_wait, 0); /* stat */
	}
	PP_FAULT_POINT("sync.stripe.locked");
	count_acquired(t, s, started);
	return true;
}

void pp_stripe_unlock(struct pp_thread *t, unsigned stripe)
{
	struct pp_stripe *s = &t->region->stripes[stripe];
	uint64_t mine = word_of(t), word = pp_load_acq(&s->word);

	if (!locking(t))
		return;
	while ((word & ~CONTENDED) == mine) {
		if (!pp_cas_acqrel(&s->word, &word, 0))
			continue;
		if (word & CONTENDED) {
			PP_FAULT_POINT("sync.stripe.released");
			pp_add_acqrel(&s->futex, 1);
			pp_futex_wake(&s->futex, 1, 1);
		}
		return;
	}
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

unsigned pp_stripes_lock(struct pp_thread *t, uint32_t *stripes, unsigned count)
{
	unsigned held = 0;

	if (!locking(t))
		return 0;
	qsort(stripes, count, sizeof(*stripes), compare);
	for (unsigned i = 0; i < count; i++)
		if ((!held || stripes[held - 1] != stripes[i]) && pp_stripe_lock(t, stripes[i]))
			stripes[held++] = stripes[i];
	return held;
}

void pp_stripes_unlock(struct pp_thread *t, const uint32_t *stripes, unsigned count)
{
	while (count)
		pp_stripe_unlock(t, stripes[--count]);
}

void pp_stripe_look(const struct pp_region *r, unsigned stripe, struct pp_stripe_info *out)
{
	const struct pp_stripe *s = &r->stripes[stripe];
	uint64_t word = pp_load_acq(&s->word), since = pp_load_rlx(&s->since_ns), now = pp_now_ns();

	*out = (struct pp_stripe_info){
		.acquired = pp_load_rlx(&s->acquired), .contended = pp_load_rlx(&s->contended), /* stat */
		.stolen = pp_load_rlx(&s->stolen), .wait_ns = pp_load_rlx(&s->wait_ns), /* stat */
		.held_ns = word && now > since ? now - since : 0, .slot = word ? slot_of(word) : 0,
	};
}

void pp_stripes_total(const struct pp_region *r, struct pp_stripe_info *out)
{
	memset(out, 0, sizeof(*out));
	for (unsigned i = 0; i < r->fixed.stripes; i++) {
		struct pp_stripe_info one;

		pp_stripe_look(r, i, &one);
		out->acquired += one.acquired;
		out->contended += one.contended;
		out->stolen += one.stolen;
		out->wait_ns += one.wait_ns;
		if (one.held_ns > out->held_ns) {
			out->held_ns = one.held_ns;
			out->slot = one.slot;
		}
	}
}

/* ---- crash-safe references --------------------------------------------------------------------------------------- */

#define REF_GEN_MASK ((UINT64_C(1) << (64 - PP_REF_BITS)) - 1)

static uint64_t entry_of(uint64_t owner, pp_ref ref)
{
	return (pp_slot_gen(owner) & REF_GEN_MASK) << PP_REF_BITS | (ref & PP_REF_MASK);
}

/* A free entry of the own slot, or one that an earlier owner of the slot left. */
static pp_a64 *free_entry(struct pp_thread *t, uint64_t owner)
{
	for (unsigned i = 0; i < PP_CRASHREFS; i++) {
		uint64_t e = pp_load_rlx(&t->slot->refs[i]); /* owner */

		if (!(e & PP_REF_MASK) || e >> PP_REF_BITS != (pp_slot_gen(owner) & REF_GEN_MASK))
			return &t->slot->refs[i];
	}
	return NULL;
}

int pp_crashref_hold(struct pp_thread *t, pp_a64 *link, pp_ref *ref)
{
	uint64_t owner = pp_load_rlx(&t->slot->owner), seen; /* owner */
	pp_a64 *entry = free_entry(t, owner);

	if (t->readonly)
		return PPDB_READONLY;
	if (!entry)
		return -ENOSPC;
	do {
		seen = pp_load_acq(link);
		*ref = seen & PP_REF_MASK;
		/* [sync.hold:entry] pairs [sync.count:entry]: the count sees us, or we see that the link has changed */
		pp_store_seq(entry, *ref ? entry_of(owner, *ref) : 0);
		pp_fence_seq();
		PP_FAULT_POINT("sync.crashref.listed");
	} while (*ref && (pp_load_seq(link) & PP_REF_MASK) != *ref);
	return *ref ? 0 : PPDB_NOTFOUND;
}

void pp_crashref_drop(struct pp_thread *t, pp_ref ref)
{
	uint64_t wanted = entry_of(pp_load_rlx(&t->slot->owner), ref); /* owner */

	for (unsigned i = 0; i < PP_CRASHREFS; i++) {
		if (pp_load_rlx(&t->slot->refs[i]) != wanted) /* owner */
			continue;
		pp_store_rel(&t->slot->refs[i], 0);
		return;
	}
}

unsigned pp_crashref_count(const struct pp_region *r, pp_ref ref)
{
	unsigned high = pp_slots_high(r);
	unsigned count = 0;

	/* [sync.count:entry] pairs [sync.hold:entry]: after the caller's unlinking CAS */
	pp_fence_seq();
	for (unsigned i = 0; i < high; i++) {
		uint64_t owner = pp_load_acq(&r->slots[i].owner), wanted = entry_of(owner, ref);

		if (pp_slot_state(owner) != PP_SLOT_CLAIMED)
			continue;
		for (unsigned k = 0; k < PP_CRASHREFS; k++)
			count += pp_load_seq(&r->slots[i].refs[k]) == wanted;
	}
	return count;
}
