/*
 * daemon_bell.c - bells: connections that get a tick when an epoch is durable, for clients that wait in an event loop.
 *
 * A client opens one connection a bell and names a slot of its record; in that slot it writes which epoch it waits for (bell_epoch).
 * The step thread looks at the slots of all bells after durable_epoch moved and the next write was submitted, and sends one
 * packet where the epoch is durable: once for each epoch, however long nobody reads. The packet is all it says: the
 * client looks at durable_epoch itself. When the daemon dies the connection hangs up, which wakes the client as well.
 *
 * No tick is lost (tests/model/bell.pml). Client: bell_epoch = e, fence, look at durable_epoch. Step thread: durable_epoch, fence, look
 * at the bells and their bell_epoch. Whoever comes second sees the first. A bell that is only just being hung is on the list before
 * its reply is sent, and the client looks again after the reply.
 *
 * The list is the main thread's; the step thread reads it under the lock, which is taken only when there are bells. Nothing
 * blocks: a socket that takes no more has ticks that were not read, and these are as good. A slot of a read-only client is hostile
 * memory: one number is read from it, once. The daemon dies: all bells hang up.
 */
#include "tools/daemon.h"

#include <stdlib.h>

struct pp_bell_hook {
	struct pp_bell_hook *next;
	int sock;
	const struct pp_slot *slot;
	uint64_t told;                 /* bell_epoch of the last tick; step thread */
};

static bool find_slot(struct pp_daemon *d, const struct pp_conn *c, const struct pp_request *r, const struct pp_slot **out)
{
	struct pp_region *region = pp_daemon_region(d);
	struct pp_watch *w = &d->watch[r->proc];
	uint64_t owner;

	if (!w->used || w->pid != c->peer.pid || w->uid != c->peer.uid || w->generation != r->generation)
		return false;
	if (w->readonly) {
		if (!w->control || r->arg[0] >= (w->control_bytes - sizeof(struct pp_control)) / sizeof(struct pp_slot))
			return false;
		*out = &pp_control_slots(w->control)[r->arg[0]];
		return true;
	}
	if (r->arg[0] >= region->fixed.slots)
		return false;
	*out = &region->slots[r->arg[0]];
	owner = pp_load_acq(&(*out)->owner);
	return pp_slot_state(owner) == PP_SLOT_CLAIMED && pp_slot_proc(owner) == r->proc;
}

int pp_bell_hang(struct pp_daemon *d, struct pp_conn *c, const struct pp_request *r)
{
	struct pp_region *region = pp_daemon_region(d);
	struct pp_bells *b = &d->work.bells;
	const struct pp_slot *slot;

	if (!region || !d->watch)
		return pp_detail(PPDB_DAEMON_GONE, "ppdbd '%s' is starting", d->set.name);
	if (c->proc != PP_PROC_NONE || r->proc >= region->fixed.procs || !find_slot(d, c, r, &slot))
		return pp_detail(-ESTALE, "this ppdbd does not know the record or the slot that the bell names");
	if (!c->bell) {
		c->bell = calloc(1, sizeof(*c->bell));
		if (!c->bell)
			return pp_detail(-ENOMEM, "out of memory");
	}
	pthread_mutex_lock(&b->lock);
	if (!c->bell->slot) {
		c->bell->next = b->first;
		b->first = c->bell;
		pp_add_seq(&b->count, 1);
	}
	c->bell->sock = c->sock;
	c->bell->slot = slot;
	c->bell->told = 0;
	c->bell_proc = r->proc;
	pthread_mutex_unlock(&b->lock);
	return 0;
}

void pp_bell_remove(struct pp_daemon *d, struct pp_conn *c)
{
	struct pp_bells *b = &d->work.bells;
	struct pp_bell_hook **at = &b->first;

	if (!c->bell)
		return;
	pthread_mutex_lock(&b->lock);
	while (*at && *at != c->bell)
		at = &(*at)->next;
	if (*at) {
		*at = c->bell->next;
		pp_add_seq(&b->count, -1);
	}
	pthread_mutex_unlock(&b->lock);
	free(c->bell);
	c->bell = NULL;
	c->bell_proc = PP_PROC_NONE;
}

static void tick(const struct pp_bell_hook *hook)
{
	const struct pp_tick packet = {PP_PROTO_MAGIC, PP_PROTO_VERSION, PP_MSG_TICK};

	pp_proto_send(hook->sock, &packet, sizeof(packet), NULL, 0, NULL, 0); /* a full socket wakes its reader all the same */
}

void pp_bell_ring_all(struct pp_bells *b, uint64_t durable, bool failed)
{
	pp_fence_seq(); /* [daemon_bell.ring:epoch] pairs [client.bell:armed]: durable_epoch before the look at who waits */
	if (!pp_load_seq(&b->count))
		return;
	pthread_mutex_lock(&b->lock);
	for (struct pp_bell_hook *h = b->first; h; h = h->next) {
		uint64_t epoch = pp_load_seq(&h->slot->bell_epoch);

		if (epoch && epoch != h->told && (epoch <= durable || failed)) {
			h->told = epoch;
			tick(h);
		}
	}
	pthread_mutex_unlock(&b->lock);
}
