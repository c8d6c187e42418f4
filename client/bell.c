/*
 * bell.c - a pollable descriptor for waits in event loops: an epoll descriptor with a connection to ppdbd and a timer in it.
 *
 *      DOWN --connect, send BELL--> ASKED --reply--> HUNG --hang-up, or another slot--> DOWN
 *
 * The bell has a session (slot) of its own. What it waits for is written to the slot's bell_epoch; the daemon sends a tick on the bell's
 * connection when that is durable (tools/daemon_bell.c). The library has no thread: the daemon's death is a hang-up of that
 * connection, which makes the descriptor readable, and while there is no daemon the timer does so each RETRY_NS, so that the event loop
 * calls us and we find the next one. After a warm restart the slot is the same; after a cold one the session moves to the new
 * arena, and the bell is hung again for its new slot. The descriptor that the program polls never changes.
 *
 * No tick is lost (tests/model/bell.pml): armed first, fence, then the look at durable_epoch; and once more after the reply to BELL, because
 * until then nobody looked at the slot: the reply makes the descriptor readable, and the caller looks and arms in each turn.
 *
 * Dies inside: the daemon sees the connection hang up and takes the bell down; the slot is reaped.
 */
#include "client/bell.h"

#include <sys/epoll.h>
#include <sys/timerfd.h>

#define RETRY_NS (50 * PP_NS_PER_MS)

enum state { DOWN, ASKED, HUNG };

struct pp_bell {
	ppdb *db;
	uint64_t born;                 /* fork guard when it was made */
	struct pp_session *s;
	int epoll, timer, sock;
	uint64_t sock_inode;
	enum state state;
	uint64_t asked_ns, retry_ns;
	bool timed;                    /* the timer may run */
	uint64_t generation;           /* of the record for whose slot it was hung */
};

/* ---- the timer */

/* 0: never. */
static void set_timer(struct pp_bell *b, uint64_t ns)
{
	struct itimerspec t = {.it_value = pp_timespec(ns)};

	if (ns || b->timed)
		timerfd_settime(b->timer, 0, &t, NULL);
	b->timed = ns;
}

void pp_bell_ring(struct pp_bell *b)
{
	set_timer(b, 1);
}

void pp_bell_retry(struct pp_bell *b)
{
	set_timer(b, RETRY_NS);
}

/* ---- the connection */

static void shut(struct pp_bell *b)
{
	if (b->sock >= 0 && pp_link_inode(b->sock) == b->sock_inode) {
		epoll_ctl(b->epoll, EPOLL_CTL_DEL, b->sock, NULL); /* by hand: a forked child's duplicate would keep it there */
		shutdown(b->sock, SHUT_RDWR);
		close(b->sock);
	}
	b->sock = -1;
	b->state = DOWN;
}

static int watch(struct pp_bell *b, int fd)
{
	struct epoll_event e = {.events = EPOLLIN};

	return epoll_ctl(b->epoll, EPOLL_CTL_ADD, fd, &e) ? -errno : 0;
}

/* Connects and sends BELL for the slot that the session has now. */
static void ask(struct pp_bell *b, uint64_t now)
{
	struct pp_mapping *m = b->s->map;
	struct pp_request r;

	b->retry_ns = now + RETRY_NS;
	b->sock = pp_link_connect(b->db->name);
	if (b->sock < 0)
		return;
	b->sock_inode = pp_link_inode(b->sock);
	pp_request_init(&r, PP_MSG_BELL);
	pthread_mutex_lock(&b->db->lock);
	r.proc = pp_load_rlx(&m->proc); /* owner: ppdb.lock */
	r.generation = m->generation;
	pthread_mutex_unlock(&b->db->lock);
	r.arg[0] = m->control ? (uint64_t)(b->s->t.slot - pp_control_slots(m->control)) : b->s->t.index;
	b->generation = r.generation;
	b->asked_ns = now;
	if (watch(b, b->sock) || pp_proto_send(b->sock, &r, sizeof(r), NULL, 0, NULL, 0))
		shut(b);
	else
		b->state = ASKED;
}

/* One packet. False: no more, or the connection is gone. */
static bool take(struct pp_bell *b)
{
	union {
		struct pp_tick tick;
		struct pp_reply reply;
	} packet;
	int fds[PP_PROTO_FDS];
	size_t bytes = 0;
	int rc = pp_proto_recv(b->sock, &packet, sizeof(packet), &bytes, fds);

	if (rc == -EAGAIN)
		return false;
	pp_proto_close_fds(fds, 0);
	if (!rc && bytes == sizeof(packet.tick) && packet.tick.magic == PP_PROTO_MAGIC && packet.tick.type == PP_MSG_TICK)
		return true;
	if (!rc && !pp_reply_check(&packet.reply, bytes, PP_MSG_BELL) && !packet.reply.status) {
		b->state = HUNG;
		return true;
	}
	shut(b); /* refused: it does not know our record yet, or any more */
	return false;
}

/* Has the host program closed our descriptor? Then the number is not ours any more. */
static bool stolen(const struct pp_bell *b)
{
	return b->sock >= 0 && pp_link_inode(b->sock) != b->sock_inode;
}

static bool fits(struct pp_bell *b)
{
	return b->generation == b->s->map->generation;
}

int pp_bell_turn(struct pp_bell *b)
{
	uint64_t now = pp_now_ns(), ticks;
	bool was_up = b->state != DOWN;
	int rc;

	if (b->timed && read(b->timer, &ticks, sizeof(ticks)) < 0)
		(void)0; /* it has not run out */
	if (stolen(b)) {
		b->sock = -1;
		b->state = DOWN;
	}
	while (b->state != DOWN && take(b))
		;
	if (was_up && b->state == DOWN)
		pp_link_hurry(b->db); /* the handle hears of the daemon's end now */
	else if (b->state == DOWN || now > pp_load_rlx(&b->db->polled_ns) + PP_LINK_POLL_NS) /* hint */
		pp_link_poll(b->db, true);
	rc = pp_session_move(b->s);
	if (!rc && b->state != DOWN && !fits(b))
		shut(b);
	if (!rc && b->state == ASKED && now > b->asked_ns + PP_ANSWER_NS)
		shut(b);
	if (!rc && b->state == DOWN && now >= b->retry_ns)
		ask(b, now);
	if (rc || b->state == DOWN)
		set_timer(b, RETRY_NS);
	else
		set_timer(b, b->state == ASKED ? PP_ANSWER_NS : 0);
	return rc;
}

bool pp_bell_arm(struct pp_bell *b, uint64_t epoch)
{
	struct pp_globals *g = b->s->map->region.globals;

	pp_store_seq(&b->s->t.slot->bell_epoch, epoch);
	/* [client.bell:armed] pairs [daemon_bell.ring:epoch]: the daemon sees that we wait, or we see the epoch */
	pp_fence_seq();
	return !epoch || (pp_load_acq(&g->durable_epoch) < epoch && !pp_load_acq(&g->failed));
}

/* ---- begin and end */

int pp_bell_open(ppdb *db, struct pp_bell **out)
{
	struct pp_bell *b = calloc(1, sizeof(*b));
	int rc;

	if (!b)
		return pp_detail(-ENOMEM, "out of memory");
	rc = pp_session_take(db, &b->s);
	if (rc) {
		free(b);
		return rc;
	}
	b->db = db;
	b->born = db->born;
	b->sock = -1;
	b->epoll = epoll_create1(EPOLL_CLOEXEC);
	b->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	rc = b->epoll < 0 || b->timer < 0 ? -errno : watch(b, b->timer);
	if (rc) {
		pp_bell_close(b);
		return pp_detail(rc, "no descriptor for an event loop: %s", strerror(-rc));
	}
	rc = pp_bell_turn(b);
	if (rc) {
		pp_bell_close(b);
		return rc;
	}
	*out = b;
	return 0;
}

int pp_bell_forked(const struct pp_bell *b)
{
	/* owner: see pp_forked; also true in a child that attached its handle again */
	return b->born == pp_load_rlx(pp_guard) ? 0 : pp_detail(PPDB_FORKED, "%s", pp_error_text(PPDB_FORKED));
}

void pp_bell_close(struct pp_bell *b)
{
	if (!b)
		return;
	if (!pp_bell_forked(b)) {
		shut(b);
		if (b->s->t.slot)
			pp_store_rel(&b->s->t.slot->bell_epoch, 0);
		pp_session_give(b->s);
	} else if (b->sock >= 0 && !stolen(b)) {
		close(b->sock); /* only ours: the parent's goes on */
	}
	if (b->timer >= 0)
		close(b->timer);
	if (b->epoll >= 0)
		close(b->epoll);
	free(b);
}

int pp_bell_fd(const struct pp_bell *b)
{
	return b->epoll;
}

struct pp_session *pp_bell_session(struct pp_bell *b)
{
	return b->s;
}
