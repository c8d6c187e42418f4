/*
 * proto.h - the messages between the client library and ppdbd over the SOCK_SEQPACKET socket, and where that socket is.
 *
 *   client                                            ppdbd
 *     pp_request ATTACH {+ control memfd again}  -->    peer credentials against the allow lists
 *                                                <--    pp_reply + arena {+ control memfd of a read-only client}
 *     pp_request DETACH / CLOSE_EPOCH            -->    (no answer)
 *     pp_request STATUS / CHECKPOINT             -->
 *                                                <--    pp_reply + text (JSON)
 *     pp_request SEGMENT                         -->
 *                                                <--    pp_reply + log segment, opened read-only
 *   on a connection of its own (client/bell.c, tools/daemon_bell.c):
 *     pp_request BELL {slot of the record}       -->
 *                                                <--    pp_reply, then a pp_tick whenever the slot's bell_epoch is durable
 *
 * One message is one packet; nothing is split. Both sides treat what they receive as hostile: exact size, magic, version, no
 * descriptor that was not asked for stays open. Everything is inline because the daemon does not link with the client.
 * A process that dies between packets leaves a socket that hangs up, which only makes the daemon look at the process.
 */
#ifndef PP_CLIENT_PROTO_H
#define PP_CLIENT_PROTO_H

#include "shm/errors.h"
#include "shm/layout.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define PP_PROTO_MAGIC UINT32_C(0x70504453)
#define PP_PROTO_VERSION 2
#define PP_PROTO_FDS 2
#define PP_PROTO_TEXT 49152 /* text behind a reply, at most */
#define PP_PROC_NONE UINT32_MAX

enum pp_proto_type {
	PP_MSG_ATTACH = 1,
	PP_MSG_STATUS = 2,
	PP_MSG_DETACH = 3,
	PP_MSG_CLOSE_EPOCH = 4, /* a read-only client wants a fresh snapshot */
	PP_MSG_CHECKPOINT = 5,  /* now; answered when it is done */
	PP_MSG_BELL = 6,        /* arg[0]: index of a slot of the record that proc and generation name */
	PP_MSG_SEGMENT = 7,     /* arg[0]: number, arg[1]: enum pp_follow_which; answered with its number and a read-only descriptor */
	PP_MSG_LAST = PP_MSG_SEGMENT, /* of those that a client sends */
	PP_MSG_TICK = 100,      /* ppdbd alone */
};

enum pp_proto_flags { PP_MSG_READONLY = 1 };

struct pp_request {
	uint32_t magic;
	uint16_t version, type;
	uint32_t flags;
	uint32_t proc;          /* record of an earlier attach that goes on, or PP_PROC_NONE */
	uint64_t generation;    /* its state word */
	uint64_t layout_hash;
	uint64_t arg[2];        /* each type's own */
	char client_name[32];
};

struct pp_reply {
	uint32_t magic;
	uint16_t version, type;
	int32_t status;         /* 0 or an error code; then `sentence` says why */
	uint32_t proc;
	uint64_t generation;    /* of the record */
	uint64_t incarnation;
	uint32_t control_slots; /* slots in the control memfd, when one comes along */
	uint32_t text_bytes;    /* behind the reply */
	uint64_t arg[2];        /* each type's own */
	char sentence[216];
};

/* The head that all packets share, alone: something became durable, look. */
struct pp_tick {
	uint32_t magic;
	uint16_t version, type;
};

_Static_assert(sizeof(struct pp_request) == 80, "request");
_Static_assert(sizeof(struct pp_reply) == 272, "reply");

/* A read-only client's own region: this page, then `count` slots. Made, sized and sealed by the daemon; the client writes slots. */
struct pp_control {
	uint64_t magic; /* PP_MAGIC */
	uint32_t count;
	uint32_t slot_bytes;
	uint8_t pad[4096 - 16];
};

_Static_assert(sizeof(struct pp_control) == 4096, "control page");

#define PP_CONTROL_SLOTS_MAX 1024
#define pp_control_slots(c) ((struct pp_slot *)((uint8_t *)(c) + sizeof(struct pp_control)))
#define pp_control_bytes(count) (sizeof(struct pp_control) + (uint64_t)(count) * sizeof(struct pp_slot))

static inline void pp_request_init(struct pp_request *r, enum pp_proto_type type)
{
	memset(r, 0, sizeof(*r));
	r->magic = PP_PROTO_MAGIC;
	r->version = PP_PROTO_VERSION;
	r->type = (uint16_t)type;
	r->proc = PP_PROC_NONE;
}

static inline void pp_reply_init(struct pp_reply *r, unsigned type, int status, const char *sentence)
{
	memset(r, 0, sizeof(*r));
	r->magic = PP_PROTO_MAGIC;
	r->version = PP_PROTO_VERSION;
	r->type = (uint16_t)type;
	r->status = status;
	r->proc = PP_PROC_NONE;
	snprintf(r->sentence, sizeof(r->sentence), "%s", sentence);
}

/* 0, or PPDB_LAYOUT for another version of the protocol, -EBADMSG for anything else that is not a request. Texts are
 * terminated in place. */
static inline int pp_request_check(struct pp_request *r, size_t bytes)
{
	if (bytes < 8 || r->magic != PP_PROTO_MAGIC)
		return pp_detail(-EBADMSG, "this is not a ppdb client");
	if (r->version != PP_PROTO_VERSION)
		return pp_detail(PPDB_LAYOUT, "the client speaks protocol %u, this ppdbd %u: use the library that "
			"came with this ppdbd", r->version, PP_PROTO_VERSION);
	if (bytes != sizeof(*r) || r->type < PP_MSG_ATTACH || r->type > PP_MSG_LAST ||
		r->flags & ~(uint32_t)PP_MSG_READONLY)
		return pp_detail(-EBADMSG, "malformed request");
	r->client_name[sizeof(r->client_name) - 1] = '\0';
	for (char *c = r->client_name; *c; c++) {
		if ((unsigned char)*c < 0x20 || *c == 0x7f || *c == '"' || *c == '\\')
			*c = '?';
	}
	return 0;
}

static inline int pp_reply_check(struct pp_reply *r, size_t bytes, unsigned type)
{
	if (bytes < 8 || r->magic != PP_PROTO_MAGIC)
		return pp_detail(-EBADMSG, "what answers on the socket is not ppdbd");
	if (r->version != PP_PROTO_VERSION)
		return pp_detail(PPDB_LAYOUT, "ppdbd speaks protocol %u, this library %u: use the library that came "
			"with that ppdbd", r->version, PP_PROTO_VERSION);
	if (bytes < sizeof(*r) || r->type != type || r->text_bytes != bytes - sizeof(*r))
		return pp_detail(-EBADMSG, "ppdbd sent a malformed answer");
	r->sentence[sizeof(r->sentence) - 1] = '\0';
	return 0;
}

/* Sends head and (NULL allowed) text as one packet with up to PP_PROTO_FDS descriptors. 0 or -errno; never SIGPIPE. */
static inline int pp_proto_send(int sock, const void *head, size_t head_bytes, const void *text, size_t text_bytes,
	const int *fds, unsigned nfds)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(PP_PROTO_FDS * sizeof(int))];
	} control;
	struct iovec iov[2] = { { (void *)(uintptr_t)head, head_bytes }, { (void *)(uintptr_t)text, text_bytes } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = text_bytes ? 2 : 1 };
	ssize_t n;

	if (nfds) {
		memset(&control, 0, sizeof(control));
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
		struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(nfds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, nfds * sizeof(int));
	}
	do
		n = sendmsg(sock, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

static inline void pp_proto_close_fds(int *fds, unsigned from)
{
	for (unsigned i = from; i < PP_PROTO_FDS; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
		fds[i] = -1;
	}
}

static inline void pp_proto_take_fds(struct msghdr *msg, int *fds)
{
	unsigned have = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (have < PP_PROTO_FDS)
				fds[have++] = fd;
			else
				close(fd);
		}
	}
}

/*
 * Receives one packet without blocking. Fills *bytes and fds[PP_PROTO_FDS] (-1 = none; the caller owns them). -EAGAIN: nothing
 * there; -ECONNRESET: hung up; -EBADMSG: larger than cap, or too many descriptors (all closed).
 */
static inline int pp_proto_recv(int sock, void *buf, size_t cap, size_t *bytes, int fds[PP_PROTO_FDS])
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(PP_PROTO_FDS * sizeof(int))];
	} control;
	struct iovec iov = { buf, cap };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
		.msg_controllen = sizeof(control) };
	ssize_t n;

	for (unsigned i = 0; i < PP_PROTO_FDS; i++)
		fds[i] = -1;
	do
		n = recvmsg(sock, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK ? -EAGAIN : -ECONNRESET;
	pp_proto_take_fds(&msg, fds);
	if (n == 0) {
		pp_proto_close_fds(fds, 0);
		return -ECONNRESET;
	}
	if (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
		pp_proto_close_fds(fds, 0);
		return pp_detail(-EBADMSG, "oversized message on the socket");
	}
	*bytes = (size_t)n;
	return 0;
}

/* True if fd is a control memfd that can be trusted: sealed against every change of its size, and of the expected size. */
static inline int pp_control_sealed(int fd, unsigned count)
{
	const int want = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
	int seals = fcntl(fd, F_GET_SEALS);
	struct stat st;

	return seals >= 0 && (seals & want) == want && !fstat(fd, &st) && (uint64_t)st.st_size == pp_control_bytes(count);
}

/*
 * Candidates for the socket of `name`, best first: index 0.. until it returns false. A name with '/' is the path itself.
 * root: /run/ppdb; others: $XDG_RUNTIME_DIR/ppdb, /tmp/ppdb-UID, then root's. out holds 108 bytes; too long = an empty string.
 */
static inline int pp_proto_socket_path(const char *name, unsigned index, char out[108])
{
	const char *run = getenv("XDG_RUNTIME_DIR");
	int n;

	if (strchr(name, '/')) {
		if (index)
			return 0;
		n = snprintf(out, 108, "%s", name);
	} else {
		index += geteuid() == 0 ? 2 : !run || run[0] != '/' ? 1 : 0;
		if (index > 2)
			return 0;
		if (index == 0)
			n = snprintf(out, 108, "%s/ppdb/%s.sock", run, name);
		else if (index == 1)
			n = snprintf(out, 108, "/tmp/ppdb-%u/%s.sock", (unsigned)geteuid(), name);
		else
			n = snprintf(out, 108, "/run/ppdb/%s.sock", name);
	}
	if (n < 0 || n >= 108)
		out[0] = '\0';
	return 1;
}

#endif
