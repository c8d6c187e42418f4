/*
 * daemon_socket.c - the listening socket and its connections.
 *
 * Requests are packets (client/proto.h), checked as hostile input: a malformed one is answered and the connection closed. Nothing
 * here blocks: answers that do not fit the socket's buffer close the connection. Connections are capped in all and for each user, so
 * that nobody can take all descriptors. The socket's mode lets in only the daemon's user unless the lists name others.
 */
#include "tools/daemon.h"

#include <poll.h>
#include <stdlib.h>

#define CONNS_OF_A_STRANGER 4
#define PACKETS_A_TURN 8
#define ANSWER_MS 500

/* ---- listening */

bool pp_socket_answered(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct pollfd p = { .fd = sock, .events = POLLIN };
	struct pp_request r;
	char byte;
	bool yes;

	if (sock < 0)
		return false;
	memcpy(addr.sun_path, path, strlen(path) + 1);
	pp_request_init(&r, PP_MSG_STATUS);
	/* a connection alone proves nothing: the socket of a killed daemon accepts until its memory is torn down */
	yes = !connect(sock, (struct sockaddr *)&addr, sizeof(addr)) && !pp_proto_send(sock, &r, sizeof(r), NULL, 0, NULL, 0) &&
		poll(&p, 1, ANSWER_MS) == 1 && recv(sock, &byte, 1, MSG_DONTWAIT) == 1;
	close(sock);
	return yes;
}

static bool open_to_others(const struct pp_settings *s)
{
	return s->rw_users[0] || s->rw_groups[0] || s->ro_users[0] || s->ro_groups[0];
}

int pp_socket_listen(struct pp_daemon *d)
{
	const char *path = d->set.socket;
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	mode_t old;
	int rc = pp_paths_mkdir_for(path, open_to_others(&d->set) || geteuid() == 0 ? 0755 : 0700);

	if (rc)
		return rc;
	if (pp_socket_answered(path))
		return pp_detail(-EADDRINUSE, "another ppdbd answers at %s: stop it, or choose another name or --socket", path);
	if (unlink(path) && errno != ENOENT)
		return pp_detail(-errno, "cannot remove the old socket %s: %s", path, strerror(errno));
	d->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (d->listener < 0)
		return pp_detail(-errno, "no socket: %s", strerror(errno));
	memcpy(addr.sun_path, path, strlen(path) + 1);
	old = umask(0177);
	rc = bind(d->listener, (struct sockaddr *)&addr, sizeof(addr)) ? -errno : 0;
	umask(old);
	if (!rc && open_to_others(&d->set) && chmod(path, 0666))
		rc = -errno;
	if (!rc && listen(d->listener, 128))
		rc = -errno;
	if (rc)
		return pp_detail(rc, "cannot listen at %s: %s", path, strerror(-rc));
	return pp_event_add(d, d->listener, PP_EVENT_LISTEN, 0);
}

void pp_socket_close(struct pp_daemon *d)
{
	while (d->conns)
		pp_conn_close(d, d->conns);
	if (d->listener >= 0) {
		unlink(d->set.socket);
		close(d->listener);
		d->listener = -1;
	}
}

/* ---- connections */

static unsigned conns_of(struct pp_daemon *d, uid_t uid)
{
	unsigned n = 0;

	for (struct pp_conn *c = d->conns; c; c = c->next)
		n += c->peer.uid == uid;
	return n;
}

/* At most one a second: a refused user must not fill the disk. */
static void log_refusal(const struct pp_conn *c, const char *sentence)
{
	static uint64_t last_ns;
	uint64_t now = pp_now_ns();

	if (last_ns && now - last_ns < PP_NS_PER_SEC)
		return;
	last_ns = now;
	pp_log("refused pid %ld of user %u: %s", (long)c->peer.pid, (unsigned)c->peer.uid, sentence);
}

static void send_reply(struct pp_conn *c, unsigned type, int status, const char *sentence)
{
	struct pp_reply reply;

	pp_reply_init(&reply, type, status, sentence);
	/* best effort: the peer may be gone already */
	pp_proto_send(c->sock, &reply, sizeof(reply), NULL, 0, NULL, 0);
	if (status == -EACCES || status == -EPERM || status == -EUSERS)
		log_refusal(c, sentence);
}

static int admit(struct pp_daemon *d, struct pp_conn *c)
{
	unsigned limit = (unsigned)d->set.clients * 2 + 64;
	int rc = pp_peer_read(c->sock, &c->peer);

	if (rc)
		return rc;
	if (d->conn_count >= limit)
		return pp_detail(-EUSERS, "%u connections are open already", limit);
	if (c->peer.uid && conns_of(d, c->peer.uid) >= d->set.clients_per_user + 16)
		return pp_detail(-EUSERS, "user %u has too many connections", (unsigned)c->peer.uid);
	if (conns_of(d, c->peer.uid) >= CONNS_OF_A_STRANGER)
		return pp_peer_allowed(&d->set, c->sock, &c->peer, true);
	return 0;
}

static void adopt(struct pp_daemon *d, int sock)
{
	struct pp_conn *c = calloc(1, sizeof(*c));

	if (!c) {
		close(sock);
		return;
	}
	c->sock = sock;
	c->proc = c->bell_proc = PP_PROC_NONE;
	c->peer.pidfd = -1;
	c->next = d->conns;
	c->link = &d->conns;
	if (admit(d, c)) {
		send_reply(c, PP_MSG_ATTACH, -EACCES, pp_detail_get());
		close(sock);
		if (c->peer.pidfd >= 0)
			close(c->peer.pidfd);
		free(c);
		return;
	}
	if (c->next)
		c->next->link = &c->next;
	d->conns = c;
	d->conn_count++;
	if (pp_event_add(d, sock, PP_EVENT_CONN, (uintptr_t)c))
		pp_conn_close(d, c);
}

void pp_socket_accept(struct pp_daemon *d)
{
	for (int i = 0; i < PACKETS_A_TURN; i++) {
		int sock = accept4(d->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (sock < 0)
			return;
		adopt(d, sock);
	}
}

void pp_conn_close(struct pp_daemon *d, struct pp_conn *c)
{
	uint32_t proc = c->proc;

	pp_bell_remove(d, c);
	*c->link = c->next;
	if (c->next)
		c->next->link = c->link;
	d->conn_count--;
	close(c->sock);
	if (c->peer.pidfd >= 0)
		close(c->peer.pidfd);
	free(c);
	if (proc != PP_PROC_NONE && d->watch)
		pp_clients_check(d, proc); /* a hang-up alone proves nothing */
}

/* ---- requests */

static bool serve_attach(struct pp_daemon *d, struct pp_conn *c, const struct pp_request *r, int control_fd)
{
	struct pp_reply reply;
	int fds[2] = { -1, -1 }, rc;

	pp_reply_init(&reply, PP_MSG_ATTACH, 0, "");
	rc = c->proc != PP_PROC_NONE || c->bell ? pp_detail(-EBUSY, "this connection is attached already") :
		pp_peer_allowed(&d->set, c->sock, &c->peer, r->flags & PP_MSG_READONLY);
	if (!rc)
		rc = pp_clients_attach(d, r, &c->peer, control_fd, &reply, fds);
	if (rc) {
		send_reply(c, PP_MSG_ATTACH, rc, pp_detail_get());
	} else {
		c->proc = reply.proc;
		rc = pp_proto_send(c->sock, &reply, sizeof(reply), NULL, 0, fds, fds[1] >= 0 ? 2 : 1);
	}
	pp_proto_close_fds(fds, 0);
	return !rc;
}

static bool serve_status(struct pp_daemon *d, struct pp_conn *c)
{
	static char text[PP_PROTO_TEXT]; /* the main thread alone serves */
	struct pp_reply reply;
	int rc = pp_peer_allowed(&d->set, c->sock, &c->peer, true);

	if (rc) {
		send_reply(c, PP_MSG_STATUS, rc, pp_detail_get());
		return false;
	}
	pp_reply_init(&reply, PP_MSG_STATUS, 0, "");
	reply.text_bytes = (uint32_t)pp_status_write(d, text, sizeof(text));
	return !pp_proto_send(c->sock, &reply, sizeof(reply), text, reply.text_bytes, NULL, 0);
}

static bool serve_checkpoint(struct pp_daemon *d, struct pp_conn *c)
{
	int rc = pp_peer_allowed(&d->set, c->sock, &c->peer, false);

	if (!rc && !pp_daemon_region(d))
		rc = pp_detail(PPDB_DAEMON_GONE, "ppdbd '%s' is starting", d->set.name);
	if (rc) {
		send_reply(c, PP_MSG_CHECKPOINT, rc, pp_detail_get());
		return false;
	}
	c->waits_checkpoint = true;
	pp_work_checkpoint(&d->work);
	return true;
}

static bool serve_bell(struct pp_daemon *d, struct pp_conn *c, const struct pp_request *r)
{
	int rc = pp_bell_hang(d, c, r);

	send_reply(c, PP_MSG_BELL, rc, rc ? pp_detail_get() : "");
	return !rc;
}

static bool serve_segment(struct pp_daemon *d, struct pp_conn *c, const struct pp_request *r)
{
	struct pp_reply reply;
	int fd = -1, rc = pp_peer_allowed(&d->set, c->sock, &c->peer, true);
	bool may = !rc;

	pp_reply_init(&reply, PP_MSG_SEGMENT, 0, "");
	if (!rc)
		rc = pp_segment_open(d, r, &reply.arg[0], &fd);
	if (rc) {
		send_reply(c, PP_MSG_SEGMENT, rc, pp_detail_get());
		return may;
	}
	rc = pp_proto_send(c->sock, &reply, sizeof(reply), NULL, 0, &fd, 1);
	close(fd);
	return !rc;
}

void pp_conn_checkpoint_done(struct pp_daemon *d)
{
	char text[216];
	int rc;

	pthread_mutex_lock(&d->work.text_lock);
	rc = d->work.checkpoint_rc;
	snprintf(text, sizeof(text), "%.215s", d->work.checkpoint_text);
	pthread_mutex_unlock(&d->work.text_lock);
	for (struct pp_conn *c = d->conns; c; c = c->next) {
		if (c->waits_checkpoint)
			send_reply(c, PP_MSG_CHECKPOINT, rc, text);
		c->waits_checkpoint = false;
	}
}

static bool serve(struct pp_daemon *d, struct pp_conn *c, const struct pp_request *r, const int *fds)
{
	uint32_t proc = c->proc;

	switch (r->type) {
	case PP_MSG_ATTACH:
		return serve_attach(d, c, r, fds[0]);
	case PP_MSG_STATUS:
		return serve_status(d, c);
	case PP_MSG_CHECKPOINT:
		return serve_checkpoint(d, c);
	case PP_MSG_CLOSE_EPOCH:
		if (proc != PP_PROC_NONE)
			pp_work_close_epoch(&d->work);
		return proc != PP_PROC_NONE;
	case PP_MSG_BELL:
		return serve_bell(d, c, r);
	case PP_MSG_SEGMENT:
		return serve_segment(d, c, r);
	default: /* DETACH: the process lives on, its record does not; this also closes c */
		if (proc != PP_PROC_NONE) {
			pp_clients_died(d, proc);
			return true;
		}
		return false;
	}
}

/* One packet. False: nothing more now, or c is closed and freed. */
static bool turn(struct pp_daemon *d, struct pp_conn *c)
{
	struct pp_request r;
	int fds[PP_PROTO_FDS];
	size_t bytes = 0;
	bool keep, detach;
	int rc = pp_proto_recv(c->sock, &r, sizeof(r), &bytes, fds);

	if (rc == -EAGAIN)
		return false;
	if (!rc) {
		rc = pp_request_check(&r, bytes);
		if (rc)
			send_reply(c, PP_MSG_ATTACH, rc, pp_detail_get());
	}
	detach = !rc && r.type == PP_MSG_DETACH && c->proc != PP_PROC_NONE;
	keep = !rc && serve(d, c, &r, fds);
	pp_proto_close_fds(fds, 0);
	if (detach)
		return false;
	if (!keep)
		pp_conn_close(d, c);
	return keep;
}

void pp_conn_event(struct pp_daemon *d, struct pp_conn *c)
{
	for (int i = 0; i < PACKETS_A_TURN && turn(d, c); i++)
		;
}
