/*
 * client_proto.c (test) - socket messages as a hostile peer would send them.
 */
#include "client/proto.h"

#include <criterion/criterion.h>
#include <sys/mman.h>

static int pair[2];

static void open_pair(void)
{
	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
}

static void close_pair(void)
{
	close(pair[0]);
	close(pair[1]);
}

static int open_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

Test(proto, round_trip, .init = open_pair, .fini = close_pair)
{
	struct pp_request r, got;
	int fds[PP_PROTO_FDS], out[2] = { pair[0], pair[1] };
	size_t bytes = 0;

	pp_request_init(&r, PP_MSG_ATTACH);
	r.flags = PP_MSG_READONLY;
	strcpy(r.client_name, "a\"b\n");
	cr_assert_eq(pp_proto_recv(pair[1], &got, sizeof(got), &bytes, fds), -EAGAIN);
	cr_assert_eq(pp_proto_send(pair[0], &r, sizeof(r), NULL, 0, out, 2), 0);
	cr_assert_eq(pp_proto_recv(pair[1], &got, sizeof(got), &bytes, fds), 0);
	cr_assert_eq(bytes, sizeof(r));
	cr_assert(fds[0] >= 0 && fds[1] >= 0);
	cr_assert(fcntl(fds[0], F_GETFD) & FD_CLOEXEC);
	pp_proto_close_fds(fds, 0);
	cr_assert_eq(pp_request_check(&got, bytes), 0);
	cr_assert_str_eq(got.client_name, "a?b?");
}

Test(proto, reply_with_text, .init = open_pair, .fini = close_pair)
{
	struct pp_reply r;
	int fds[PP_PROTO_FDS];
	char buf[sizeof(r) + 64];
	size_t bytes = 0;

	pp_reply_init(&r, PP_MSG_STATUS, -5, "why");
	r.text_bytes = 5;
	cr_assert_eq(pp_proto_send(pair[0], &r, sizeof(r), "hello", 5, NULL, 0), 0);
	cr_assert_eq(pp_proto_recv(pair[1], buf, sizeof(buf), &bytes, fds), 0);
	cr_assert_eq(bytes, sizeof(r) + 5);
	memcpy(&r, buf, sizeof(r));
	cr_assert_eq(pp_reply_check(&r, bytes, PP_MSG_STATUS), 0);
	cr_assert_eq(pp_reply_check(&r, bytes, PP_MSG_ATTACH), -EBADMSG);
	cr_assert_eq(pp_reply_check(&r, bytes - 1, PP_MSG_STATUS), -EBADMSG);
	cr_assert_eq(pp_reply_check(&r, 3, PP_MSG_STATUS), -EBADMSG);
	r.version++;
	cr_assert_eq(pp_reply_check(&r, bytes, PP_MSG_STATUS), PPDB_LAYOUT);
}

Test(proto, malformed_requests)
{
	struct pp_request r;

	pp_request_init(&r, PP_MSG_DETACH);
	cr_assert_eq(pp_request_check(&r, sizeof(r)), 0);
	cr_assert_eq(pp_request_check(&r, sizeof(r) - 1), -EBADMSG);
	cr_assert_eq(pp_request_check(&r, 0), -EBADMSG);
	r.type = 99;
	cr_assert_eq(pp_request_check(&r, sizeof(r)), -EBADMSG);
	pp_request_init(&r, PP_MSG_ATTACH);
	r.flags = 0x80;
	cr_assert_eq(pp_request_check(&r, sizeof(r)), -EBADMSG);
	pp_request_init(&r, PP_MSG_ATTACH);
	r.magic ^= 1;
	cr_assert_eq(pp_request_check(&r, sizeof(r)), -EBADMSG);
	pp_request_init(&r, PP_MSG_ATTACH);
	r.version = 7;
	cr_assert_eq(pp_request_check(&r, 8), PPDB_LAYOUT);
	pp_request_init(&r, PP_MSG_ATTACH);
	memset(r.client_name, 'x', sizeof(r.client_name));
	cr_assert_eq(pp_request_check(&r, sizeof(r)), 0);
	cr_assert_eq(strlen(r.client_name), sizeof(r.client_name) - 1);
}

Test(proto, oversized_and_many_descriptors, .init = open_pair, .fini = close_pair)
{
	struct pp_request r;
	char big[sizeof(r) + 1] = "";
	int fds[PP_PROTO_FDS], before;
	size_t bytes = 0;
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(8 * sizeof(int))];
	} control;
	struct iovec iov = { big, 8 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };

	cr_assert_eq(pp_proto_send(pair[0], big, sizeof(big), NULL, 0, NULL, 0), 0);
	cr_assert_eq(pp_proto_recv(pair[1], &r, sizeof(r), &bytes, fds), -EBADMSG);
	memset(&control, 0, sizeof(control));
	CMSG_FIRSTHDR(&msg)->cmsg_level = SOL_SOCKET;
	CMSG_FIRSTHDR(&msg)->cmsg_type = SCM_RIGHTS;
	CMSG_FIRSTHDR(&msg)->cmsg_len = CMSG_LEN(8 * sizeof(int));
	for (size_t i = 0; i < 8; i++)
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&msg)) + i * sizeof(int), &pair[0], sizeof(int));
	before = open_fds();
	cr_assert_eq(sendmsg(pair[0], &msg, 0), 8);
	cr_assert_eq(pp_proto_recv(pair[1], &r, sizeof(r), &bytes, fds), -EBADMSG);
	cr_assert_eq(open_fds(), before, "descriptors leaked");
	close(pair[0]);
	cr_assert_eq(pp_proto_recv(pair[1], &r, sizeof(r), &bytes, fds), -ECONNRESET);
	cr_assert_eq(pp_proto_send(pair[1], &r, 8, NULL, 0, NULL, 0), -EPIPE);
	pair[0] = dup(0);
}

Test(proto, control_must_be_sealed)
{
	int fd = memfd_create("t", MFD_ALLOW_SEALING | MFD_CLOEXEC);

	cr_assert_eq(ftruncate(fd, (off_t)pp_control_bytes(2)), 0);
	cr_assert_not(pp_control_sealed(fd, 2));
	cr_assert_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
	cr_assert_not(pp_control_sealed(fd, 2));
	cr_assert_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL), 0);
	cr_assert(pp_control_sealed(fd, 2));
	cr_assert_not(pp_control_sealed(fd, 3));
	cr_assert_not(pp_control_sealed(0, 2));
	close(fd);
}

Test(proto, socket_paths)
{
	char path[108];

	cr_assert(pp_proto_socket_path("/a/b.sock", 0, path));
	cr_assert_str_eq(path, "/a/b.sock");
	cr_assert_not(pp_proto_socket_path("/a/b.sock", 1, path));
	setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
	cr_assert(pp_proto_socket_path("n", 0, path));
	cr_assert_str_eq(path, geteuid() ? "/run/user/7/ppdb/n.sock" : "/run/ppdb/n.sock");
	setenv("XDG_RUNTIME_DIR", "relative", 1);
	cr_assert(pp_proto_socket_path("n", 0, path));
	cr_assert(path[0] == '/');
}
