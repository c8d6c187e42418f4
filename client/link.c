/*
 * link.c - the socket to ppdbd: attach, notice that the daemon went, find the next one, move to a new arena.
 *
 *      DOWN --connect, send ATTACH--> ASKED --reply with the arena--> UP --hang-up--> DOWN
 *
 * Nothing on the hot path looks here. Every PP_TICK_CALLS-th call reads a coarse clock, and when PP_LINK_POLL_NS have passed since
 * the last look one thread (trylock) peeks at the socket; waits look once a slice. A step never blocks: connecting to a unix
 * socket is immediate, the answer is picked up by a later look. A daemon that makes another arena says so in the old one
 * (engine/succeed.c), so that no call goes on with it; if it could not, because the file was removed, a client learns of it at most
 * some 50 ms of calls after the new daemon answers, and an idle one with its next call.
 *
 * Warm restart: the reply brings the same inode; the record goes on (the request names it). Cold start: another inode; the new
 * mapping becomes current, sessions move at their next call, and the tickets that did not survive are noted (see adopt).
 *
 * A host program may close our descriptor and reuse its number: the socket's inode is compared before it is closed or written.
 * Dies inside: the daemon sees the process end.
 */
#include "client/internal.h"

#include <poll.h>

uint64_t pp_link_inode(int fd)
{
	struct stat st;

	return fstat(fd, &st) || !S_ISSOCK(st.st_mode) ? 0 : (uint64_t)st.st_ino;
}

static void shut(struct ppdb *db)
{
	if (db->sock >= 0 && pp_link_inode(db->sock) == db->sock_inode)
		close(db->sock);
	db->sock = -1;
	db->link = PP_LINK_DOWN;
}

static void went_down(struct ppdb *db)
{
	shut(db);
	if (!pp_load_rlx(&db->down_since_ns)) /* owner: ppdb.lock */
		pp_store_rlx(&db->down_since_ns, pp_now_ns());
}

/* ---- connect */

/* By name, only root's or our own daemon is believed: anybody may make a directory in /tmp. */
static bool trusted(int sock, const char *name)
{
	struct ucred cred;
	socklen_t n = sizeof(cred);

	if (strchr(name, '/'))
		return true;
	return !getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &cred, &n) && (cred.uid == 0 || cred.uid == geteuid());
}

static int connect_path(const char *path, const char *name)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int sock, err;

	if (!path[0])
		return -ENAMETOOLONG;
	memcpy(addr.sun_path, path, strlen(path));
	sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (sock < 0)
		return -errno;
	if (connect(sock, (struct sockaddr *)&addr, sizeof(addr))) {
		err = errno;
		close(sock);
		return -err;
	}
	if (!trusted(sock, name)) {
		close(sock);
		return -EPERM;
	}
	return sock;
}

int pp_link_connect(const char *name)
{
	char path[108], first[108] = "";
	int worst = -ENOENT;

	for (unsigned i = 0; pp_proto_socket_path(name, i, path); i++) {
		int sock = connect_path(path, name);

		if (sock >= 0)
			return sock;
		if (!first[0])
			memcpy(first, path, sizeof(first));
		if (sock != -ENOENT && sock != -ECONNREFUSED)
			worst = sock;
	}
	switch (worst) {
	case -ENOENT:
		return pp_detail(PPDB_DAEMON_GONE, "no ppdbd answers at %s; start one with 'ppdb start' or 'ppdbd -n %s'",
			first, name);
	case -EAGAIN:
		return pp_detail(PPDB_DAEMON_GONE, "ppdbd at %s does not accept connections (is it stopped?)", first);
	case -EACCES:
		return pp_detail(-EACCES, "no permission to reach the socket of '%s'; its owner must allow this user", name);
	case -EPERM:
		return pp_detail(-EPERM, "the socket of '%s' belongs to another user; give its path to attach to it", name);
	default:
		return pp_detail(worst, "cannot reach ppdbd '%s': %s", name, strerror(-worst));
	}
}

/* The daemon took our record away: we ask for another, and do not name it. */
static bool revoked(const struct ppdb *db)
{
	const struct pp_mapping *m = pp_load_rlx(&db->map); /* owner: ppdb.lock */
	const struct pp_proc *p = m && m->control ? &m->region.procs[pp_load_rlx(&m->proc)] : NULL; /* owner: ppdb.lock */

	return p && (pp_load_acq(&p->flags) & PP_PROC_EVICTED || pp_load_acq(&p->state) != m->generation);
}

/* Connects and sends ATTACH; the answer comes later. */
static int ask(struct ppdb *db)
{
	struct pp_mapping *m = revoked(db) ? NULL : pp_load_rlx(&db->map); /* owner: ppdb.lock */
	struct pp_request r;
	int sock = pp_link_connect(db->name), rc, fds = m && m->control ? 1 : 0;

	if (sock < 0)
		return sock;
	pp_request_init(&r, PP_MSG_ATTACH);
	r.flags = db->readonly ? PP_MSG_READONLY : 0;
	r.layout_hash = pp_layout_hash_engine();
	memcpy(r.client_name, db->client_name, sizeof(r.client_name));
	if (m) {
		r.proc = pp_load_rlx(&m->proc); /* owner: ppdb.lock */
		r.generation = m->generation;
	}
	rc = pp_proto_send(sock, &r, sizeof(r), NULL, 0, fds ? &m->control_fd : NULL, (unsigned)fds);
	if (rc) {
		close(sock);
		return pp_detail(PPDB_DAEMON_GONE, "ppdbd went away while attaching");
	}
	db->sock = sock;
	db->sock_inode = pp_link_inode(sock);
	db->link = PP_LINK_ASKED;
	db->asked_ns = pp_now_ns();
	return 0;
}

/* ---- the answer */

static void note_lost(struct ppdb *db, uint64_t low, uint64_t high)
{
	const uint32_t cap = sizeof(db->lost) / sizeof(db->lost[0]);
	uint32_t n = pp_load_rlx(&db->lost_count); /* owner: ppdb.lock */

	if (n == cap) { /* join the two newest: rather say lost of something durable than durable of something lost */
		pp_store_rlx(&db->lost[n - 1].high, high);
		return;
	}
	pp_store_rlx(&db->lost[n].low, low);
	pp_store_rlx(&db->lost[n].high, high);
	/* [client.lost:count] pairs [client.is_lost:count]: the range is complete */
	pp_store_rel(&db->lost_count, n + 1);
}

/*
 * The new arena says which tickets its start lost: (adopt_lost_low, adopt_lost_high). If the arena that we come from was its
 * direct predecessor, low lies at or below the old open epoch. Otherwise there were cold starts in between that
 * we did not see, and all that the old arena did not call durable counts as lost.
 */
static void adopt(struct ppdb *db, struct pp_mapping *m)
{
	struct pp_mapping *old = pp_load_rlx(&db->map); /* owner: ppdb.lock */

	if (old) {
		uint64_t durable = pp_load_acq(&old->region.globals->durable_epoch);
		uint64_t open = pp_load_acq(&old->region.globals->open_epoch);
		uint64_t low = pp_load_acq(&m->region.globals->adopt_lost_low);
		uint64_t high = pp_load_acq(&m->region.globals->adopt_lost_high);

		if (m->control != old->control && m->dev == old->dev && m->ino == old->ino)
			; /* the same arena with other slots of ours: nothing is lost */
		else
			note_lost(db, low <= open ? low : durable, high > open ? high : open + 1);
	}
	/* [client.link:map] pairs [client.enter:map]: the mapping is complete */
	pp_store_rel(&db->map, m);
	if (old) {
		/* [client.adopt:orphaned] pairs [client.view:orphaned]: the handle has the new arena */
		pp_store_rel(&old->orphaned, 1);
		pp_mapping_put(old);
	}
}

static bool same_arena(struct ppdb *db, int fd)
{
	struct pp_mapping *m = pp_load_rlx(&db->map); /* owner: ppdb.lock */
	struct stat st;

	return m && !fstat(fd, &st) && st.st_dev == m->dev && st.st_ino == m->ino;
}

static int accept_reply(struct ppdb *db, const struct pp_reply *r, const int *fds)
{
	struct pp_mapping *m;
	int rc;

	if (r->status)
		return pp_detail(r->status, "%s", r->sentence);
	if (fds[0] < 0)
		return pp_detail(-EBADMSG, "ppdbd's answer came without the arena");
	if (fds[1] < 0 && same_arena(db, fds[0])) {
		m = pp_load_rlx(&db->map); /* owner: ppdb.lock */
		pp_store_rlx(&m->proc, r->proc); /* owner: ppdb.lock */
		m->generation = r->generation;
		m->incarnation = r->incarnation;
		return 0;
	}
	rc = pp_mapping_new(fds[0], fds[1], r->control_slots, db->readonly, db->populate, &m);
	if (rc)
		return rc;
	pp_store_rlx(&m->proc, r->proc); /* owner: not shared yet */
	m->generation = r->generation;
	m->incarnation = r->incarnation;
	adopt(db, m);
	return 0;
}

static bool hung_up(struct ppdb *db)
{
	char byte;
	ssize_t n = recv(db->sock, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	return n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

/* Picks the answer up if it is there. -EAGAIN: not yet. */
static int answer(struct ppdb *db)
{
	struct pp_reply r;
	int fds[PP_PROTO_FDS];
	size_t bytes = 0;
	int rc = pp_proto_recv(db->sock, &r, sizeof(r), &bytes, fds);

	if (rc == -EAGAIN)
		return rc;
	if (rc == -ECONNRESET)
		rc = pp_detail(PPDB_DAEMON_GONE, "ppdbd went away while attaching");
	if (!rc)
		rc = pp_reply_check(&r, bytes, PP_MSG_ATTACH);
	if (!rc)
		rc = accept_reply(db, &r, fds);
	/* a later daemon knows a reader by its mappings alone (tools/daemon_maps.c): they are there now, before that one looks */
	if (!rc && db->readonly && hung_up(db))
		rc = pp_detail(PPDB_DAEMON_GONE, "ppdbd went away while attaching");
	pp_proto_close_fds(fds, 0);
	if (rc) {
		snprintf(db->sentence, sizeof(db->sentence), "%s", pp_detail_get());
		went_down(db);
		return rc;
	}
	db->link = PP_LINK_UP;
	db->sentence[0] = '\0';
	pp_store_rlx(&db->down_since_ns, 0); /* owner: ppdb.lock */
	return 0;
}

static int await_answer(struct ppdb *db, uint64_t deadline_ns)
{
	for (;;) {
		struct pollfd p = { .fd = db->sock, .events = POLLIN };
		uint64_t now = pp_now_ns();
		int rc = answer(db);

		if (rc != -EAGAIN)
			return rc;
		if (now >= deadline_ns) {
			went_down(db);
			return pp_detail(PPDB_DAEMON_GONE, "ppdbd accepts connections but does not answer");
		}
		poll(&p, 1, (int)((deadline_ns - now) / PP_NS_PER_MS) + 1);
	}
}

/* ---- first attach */

static void nap(uint64_t ns)
{
	struct timespec t = pp_timespec(ns);

	nanosleep(&t, NULL);
}

int pp_link_attach(struct ppdb *db)
{
	uint64_t limit = pp_deadline_ns(db->timeout_ms ? db->timeout_ms * PP_NS_PER_MS : PP_ANSWER_NS);
	bool autostart = db->flags & PPDB_AUTOSTART, patient = db->timeout_ms;
	int status = 0;

	for (;;) {
		int rc = ask(db);
		bool absent = rc == PPDB_DAEMON_GONE;

		if (!rc)
			rc = await_answer(db, limit);
		if (rc != PPDB_DAEMON_GONE && rc != -EBUSY)
			return rc;
		if (absent && autostart) {
			autostart = false;
			patient = true;
			rc = pp_start_daemon(db->name, db->timeout_ms, &status);
			if (rc)
				return rc;
			limit = pp_deadline_ns(status ? 0 : PP_ANSWER_NS);
			continue;
		}
		/* no time given: an absent daemon is an answer, a starting one (it said so) gets the usual time */
		if (absent && status)
			return pp_detail(rc, "ppdbd was started and ended with status %d; run 'ppdbd -n %s' to see why", status,
				db->name);
		if ((absent && !patient) || pp_now_ns() >= limit)
			return rc;
		nap(10 * PP_NS_PER_MS);
	}
}

/* ---- later looks */

static void look(struct ppdb *db, uint64_t now)
{
	if (db->link == PP_LINK_UP && (hung_up(db) || revoked(db)))
		went_down(db);
	if (db->link == PP_LINK_DOWN && now >= db->retry_ns && ask(db))
		db->retry_ns = now + PP_LINK_POLL_NS;
	if (db->link != PP_LINK_ASKED)
		return;
	int rc = answer(db);
	if (rc == -EAGAIN && now > db->asked_ns + PP_ANSWER_NS)
		went_down(db);
	else if (rc && rc != -EAGAIN)
		db->retry_ns = now + 4 * PP_LINK_POLL_NS;
}

void pp_link_poll(struct ppdb *db, bool may_block)
{
	uint64_t now = pp_now_ns();

	if (may_block)
		pthread_mutex_lock(&db->lock);
	else if (pthread_mutex_trylock(&db->lock))
		return;
	pp_store_rlx(&db->polled_ns, now); /* hint */
	look(db, now);
	pthread_mutex_unlock(&db->lock);
}

void pp_link_hurry(struct ppdb *db)
{
	pthread_mutex_lock(&db->lock);
	db->retry_ns = 0;
	look(db, pp_now_ns());
	pthread_mutex_unlock(&db->lock);
}

bool pp_link_down(struct ppdb *db, uint64_t *for_ns)
{
	uint64_t since = pp_load_rlx(&db->down_since_ns); /* hint: only how long we have been waiting */
	uint64_t now = pp_now_ns();

	if (for_ns)
		*for_ns = since && now > since ? now - since : 0;
	return since != 0;
}

static void send_short(struct ppdb *db, enum pp_proto_type type)
{
	struct pp_request r;

	if (db->sock < 0 || pp_link_inode(db->sock) != db->sock_inode)
		return;
	pp_request_init(&r, type);
	pp_proto_send(db->sock, &r, sizeof(r), NULL, 0, NULL, 0);
}

void pp_link_ask_close(struct ppdb *db)
{
	pthread_mutex_lock(&db->lock);
	send_short(db, PP_MSG_CLOSE_EPOCH);
	pthread_mutex_unlock(&db->lock);
}

/* For a daemon that starts after one that died before it heard of our goodbye. */
static void mark_left(struct ppdb *db)
{
	struct pp_mapping *m = pp_load_rlx(&db->map); /* owner: nobody else uses the handle */
	struct pp_proc *p;

	if (!m || m->region.readonly || m->proc >= m->region.fixed.procs)
		return;
	p = &m->region.procs[m->proc];
	if (pp_load_acq(&p->state) == m->generation)
		/* [client.close:left] pairs [clients.found:left]: our slots are given back */
		pp_store_rel(&p->left, (uint32_t)m->generation);
}

void pp_link_close(struct ppdb *db, bool say_goodbye)
{
	if (say_goodbye) {
		mark_left(db);
		db->retry_ns = 0;
		look(db, pp_now_ns()); /* a daemon that came back meanwhile hears of our record first, then that it is free */
		send_short(db, PP_MSG_DETACH);
	}
	shut(db);
}

int pp_link_lost(struct ppdb *db, struct pp_mapping *m, uint64_t ticket)
{
	/* [client.is_lost:count] pairs [client.lost:count]: ranges below the count are complete */
	uint32_t n = pp_load_acq(&db->lost_count);
	bool lost = ticket > pp_load_acq(&m->region.globals->adopt_lost_low) &&
		ticket < pp_load_acq(&m->region.globals->adopt_lost_high);

	for (uint32_t i = 0; i < n && !lost; i++)
		lost = ticket > pp_load_rlx(&db->lost[i].low) && ticket < pp_load_rlx(&db->lost[i].high); /* recheck: count */
	return lost ? pp_detail(PPDB_LOST, "the write with ticket %llu did not survive the loss of the arena; write it again",
		(unsigned long long)ticket) : 0;
}
