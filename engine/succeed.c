/*
 * succeed.c - one arena takes the place of another: at a cold start that finds the old file still there, and after a clean stop when
 * another size is configured.
 *
 *   bar     no daemon adopts it any more; then the tail of every ring gets the epoch PP_TAIL_BARRED. A publish is a CAS on that word, so it
 *           fails from then on whoever was stopped where, and the write moves to the next arena or fails: it was not done. What was
 *           published before is in the rings, and a daemon that has the region open can still log it.
 *   void    when the successor is filled and about to get the name: `era` becomes PP_ERA_VOID. Every read section begins with a load of
 *           that word, so no read begins in the old arena when the new one may already hold something newer.
 * Neither costs the hot path a load: both words are ones it looks at anyway. Clients that do not find the new daemon in time get an
 * error, never an old value. An arena whose file was removed cannot be reached: its clients learn of the new one when they
 * look at their socket (client/link.c), some 50 ms later.
 *
 * Ordering. [succeed.bar:tail] pairs [ring.publish:barred]: who finds the tail barred finds `barred` set.
 * [succeed.void:era] pairs [client.enter:era]: the successor's first write comes after every read that began before.
 *
 * Dies inside: barred or not, the next daemon makes a cold start: the log has everything that was durable.
 */
#include "engine/succeed.h"

#include "shm/fault.h"
#include "shm/live.h"
#include "shm/wait.h"

#include <errno.h>
#include <stdio.h>

void pp_succeed_bar(struct pp_region *r)
{
	pp_store_seq(&r->globals->barred, 1);
	for (uint32_t i = 0; i < r->fixed.slots; i++) {
		uint64_t tail = pp_load_acq(&r->slots[i].tail);

		/* [succeed.bar:tail] pairs [ring.publish:barred]: `barred` is set before */
		while (pp_tail_epoch(tail) != PP_TAIL_BARRED &&
		       !pp_cas_seq(&r->slots[i].tail, &tail, PP_TAIL(PP_TAIL_BARRED, pp_tail_index(tail))))
			;
	}
	PP_FAULT_POINT("succeed.barred");
	pp_wake_all(r);
}

void pp_succeed_void(struct pp_region *r)
{
	/* [succeed.void:era] pairs [client.enter:era] */
	pp_store_seq(&r->globals->era, PP_ERA_VOID);
	pp_wake_all(r);
}

bool pp_succeed_in_use(const struct pp_region *r)
{
	for (uint32_t p = 0; p < r->fixed.procs; p++) {
		const struct pp_proc *proc = &r->procs[p];
		uint64_t state = pp_load_acq(&proc->state);

		if (state && !(pp_load_acq(&proc->flags) & PP_PROC_DAEMON) && pp_load_acq(&proc->left) != (uint32_t)state &&
		    pp_proc_alive((pid_t)pp_load_acq(&proc->pid), pp_load_acq(&proc->start)))
			return true;
	}
	return false;
}

bool pp_succeed_differs(const struct pp_region *r, const struct pp_region_config *c, char *text, size_t cap)
{
	const struct pp_header *h = &r->fixed;
	const struct { const char *option; uint64_t has, wants; } of[] = {
		{"--memory", h->memory_max, c->memory_bytes & ~(PP_SEGMENT_BYTES - 1)},
		{"--slots", h->slots, c->slots}, {"--clients", h->procs, c->procs}, {"--ring", h->ring_entries, c->ring_entries},
		{"--shards", h->shards, c->shards}, {"--strategy", h->strategy, c->strategy}, {"--sync", h->sync_mode, c->sync_mode},
		{"--stripes", h->stripes, c->stripes ? c->stripes : 1},
	};

	for (size_t i = 0; i < sizeof(of) / sizeof(of[0]); i++) {
		if (of[i].has == of[i].wants)
			continue;
		if (i == 0)
			snprintf(text, cap, "--memory %lluM, not %lluM", (unsigned long long)(of[i].has >> 20),
				 (unsigned long long)(of[i].wants >> 20));
		else
			snprintf(text, cap, "another %s than configured", of[i].option);
		return true;
	}
	return false;
}
