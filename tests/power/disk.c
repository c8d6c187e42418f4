/*
 * disk.c - a disk with a write cache, as a guest sees it: serves QEMU over the NBD protocol and notes every request and answer in a
 * trace (trace.h), together with what the guest's writers say on a serial port.
 *
 *   power disk IMAGE TRACE DISKSOCKET PORTSOCKET SEED
 *
 * Writes are answered after up to 3 ms and flushes after up to 6 ms, in any order, so that much is in flight and a flush covers only
 * what was answered before it came. Reads see every write at once, as a cache does. IMAGE is never changed: what survives is for
 * cut.c to say. Prints "ready" when it listens, then the port's "R" and "E" lines. Ends when QEMU does.
 *
 * Protocol: github.com/NetworkBlockDevice/nbd, doc/proto.md; fixed newstyle handshake, simple replies.
 */
#include "tests/power/power.h"
#include "tests/power/steps.h"
#include "tests/power/trace.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define NBD_MAGIC 0x4e42444d41474943u
#define NBD_OPTION_MAGIC 0x49484156454f5054u
#define NBD_OPTION_REPLY 0x0003e889045565a9u
#define NBD_REQUEST 0x25609513u
#define NBD_REPLY 0x67446698u
enum { NBD_OPT_EXPORT_NAME = 1, NBD_OPT_ABORT = 2, NBD_OPT_INFO = 6, NBD_OPT_GO = 7 };
enum { NBD_READ, NBD_WRITE, NBD_DISCONNECT, NBD_FLUSH };
#define NBD_REP_ACK 1u
#define NBD_REP_INFO 3u
#define NBD_REP_UNSUPPORTED 0x80000001u
#define NBD_FLAGS 5u             /* has flags, takes flushes */
#define REQUEST_BYTES 28u
#define REQUEST_MAX (32u << 20)
#define ANSWERS 1024
#define WRITE_DELAY_NS 3000000u
#define FLUSH_DELAY_NS 6000000u

struct answer {
	char kind;               /* 'w' or 'f'; 0: this place is free */
	uint64_t due_ns, id, handle;
};

static uint8_t *image;
static uint64_t image_bytes, next_id, random_state;
static FILE *trace;
static struct answer answer[ANSWERS];
static unsigned answers;
static uint8_t *input;
static size_t input_used;
static char line[512];
static size_t line_used;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t random_below(uint64_t n)
{
	random_state += 0x9e3779b97f4a7c15u;
	return power_mix(random_state) % n;
}

static void note(const struct trace_event *e, const void *data)
{
	static const uint8_t zeros[8];
	size_t bytes = e->kind == 'W' ? e->bytes : 0;

	if (fwrite(e, sizeof(*e), 1, trace) != 1 || fwrite(data ? data : zeros, 1, bytes, trace) != bytes ||
	    fwrite(zeros, 1, -bytes & 7, trace) != (-bytes & 7))
		die("trace");
}

/* ---- the wire --------------------------------------------------------------------------------------------------- */

static bool receive(int fd, void *out, size_t bytes)
{
	return !bytes || recv(fd, out, bytes, MSG_WAITALL) == (ssize_t)bytes; /* a recv of nothing waits for something */
}

static void send_all(int fd, const void *data, size_t bytes)
{
	const uint8_t *at = data;

	while (bytes) {
		ssize_t n = send(fd, at, bytes, MSG_NOSIGNAL);

		if (n < 0 && errno != EINTR)
			return; /* gone; the next read says so */
		at += n > 0 ? n : 0;
		bytes -= n > 0 ? (size_t)n : 0;
	}
}

static void send_option(int fd, uint32_t option, uint32_t type, const void *data, uint32_t bytes)
{
	struct { uint64_t magic; uint32_t option, type, bytes; } __attribute__((packed)) head = {
		htobe64(NBD_OPTION_REPLY), htobe32(option), htobe32(type), htobe32(bytes)};

	send_all(fd, &head, sizeof(head));
	send_all(fd, data, bytes);
}

static void send_export(int fd, uint32_t option)
{
	struct { uint16_t type; uint64_t bytes; uint16_t flags; } __attribute__((packed)) size = {
		0, htobe64(image_bytes), htobe16(NBD_FLAGS)};
	struct { uint16_t type; uint32_t least, best, most; } __attribute__((packed)) blocks = {
		htobe16(3), htobe32(512), htobe32(4096), htobe32(REQUEST_MAX)};

	send_option(fd, option, NBD_REP_INFO, &size, sizeof(size));
	send_option(fd, option, NBD_REP_INFO, &blocks, sizeof(blocks));
	send_option(fd, option, NBD_REP_ACK, NULL, 0);
}

/* True when the requests may begin. */
static bool shake_hands(int fd)
{
	struct { uint64_t magic, option; uint16_t flags; } __attribute__((packed)) hello = {
		htobe64(NBD_MAGIC), htobe64(NBD_OPTION_MAGIC), htobe16(3)};
	uint32_t flags;

	send_all(fd, &hello, sizeof(hello));
	if (!receive(fd, &flags, sizeof(flags)))
		return false;
	for (;;) {
		struct { uint64_t magic; uint32_t option, bytes; } __attribute__((packed)) head;
		uint8_t rest[4096];
		uint32_t option;

		if (!receive(fd, &head, sizeof(head)) || be64toh(head.magic) != NBD_OPTION_MAGIC)
			return false;
		if (be32toh(head.bytes) > sizeof(rest) || !receive(fd, rest, be32toh(head.bytes)))
			return false;
		option = be32toh(head.option);
		if (option == NBD_OPT_GO || option == NBD_OPT_INFO)
			send_export(fd, option);
		else
			send_option(fd, option, option == NBD_OPT_ABORT ? NBD_REP_ACK : NBD_REP_UNSUPPORTED, NULL, 0);
		if (option == NBD_OPT_GO || option == NBD_OPT_ABORT)
			return option == NBD_OPT_GO;
	}
}

static void reply(int fd, uint64_t handle, uint32_t error)
{
	struct { uint32_t magic, error; uint64_t handle; } __attribute__((packed)) head = {
		htobe32(NBD_REPLY), htobe32(error), handle};

	send_all(fd, &head, sizeof(head));
}

/* ---- requests --------------------------------------------------------------------------------------------------- */

static void answer_later(char kind, uint64_t id, uint64_t handle, uint64_t delay_ns)
{
	unsigned i = 0;

	while (i < ANSWERS && answer[i].kind)
		i++;
	if (i == ANSWERS) {
		fprintf(stderr, "power disk: %d requests in flight\n", ANSWERS);
		exit(1);
	}
	answer[i] = (struct answer){kind, now_ns() + random_below(delay_ns), id, handle};
	answers++;
}

static void serve(int fd, unsigned type, uint64_t handle, uint64_t offset, uint32_t bytes, const uint8_t *data)
{
	struct trace_event e = {.id = next_id, .offset = offset, .bytes = bytes};

	if (type == NBD_FLUSH) {
		e.kind = 'F';
		e.bytes = 0;
		note(&e, NULL);
		answer_later('f', next_id++, handle, FLUSH_DELAY_NS);
	} else if (offset > image_bytes || bytes > image_bytes - offset || type > NBD_WRITE) {
		reply(fd, handle, type > NBD_WRITE ? ENOTSUP : EINVAL);
	} else if (type == NBD_WRITE) {
		e.kind = 'W';
		note(&e, data);
		memcpy(image + offset, data, bytes);
		answer_later('w', next_id++, handle, WRITE_DELAY_NS);
	} else {
		reply(fd, handle, 0);
		send_all(fd, image + offset, bytes);
	}
}

/* Takes whole requests off the input; false when the guest has gone. */
static bool take_requests(int fd)
{
	size_t at = 0;

	while (input_used - at >= REQUEST_BYTES) {
		struct { uint32_t magic; uint16_t flags, type; uint64_t handle, offset; uint32_t bytes; } __attribute__((packed)) r;
		unsigned type;
		uint32_t bytes;

		memcpy(&r, input + at, sizeof(r));
		type = be16toh(r.type);
		bytes = be32toh(r.bytes);
		if (be32toh(r.magic) != NBD_REQUEST || type == NBD_DISCONNECT || bytes > REQUEST_MAX)
			return false;
		if (type == NBD_WRITE && input_used - at < REQUEST_BYTES + bytes)
			break;
		serve(fd, type, r.handle, be64toh(r.offset), bytes, input + at + REQUEST_BYTES);
		at += REQUEST_BYTES + (type == NBD_WRITE ? bytes : 0);
	}
	memmove(input, input + at, input_used - at);
	input_used -= at;
	return true;
}

static bool read_disk(int fd)
{
	ssize_t n = recv(fd, input + input_used, REQUEST_BYTES + REQUEST_MAX - input_used, MSG_DONTWAIT);

	if (n <= 0)
		return n < 0 && (errno == EAGAIN || errno == EINTR);
	input_used += (size_t)n;
	return take_requests(fd);
}

/* Sends what is due; returns milliseconds until the next one, -1 = none. */
static int send_answers(int fd)
{
	uint64_t now = now_ns(), next = UINT64_MAX;

	for (unsigned i = 0, left = answers; i < ANSWERS && left; i++) {
		struct answer *a = &answer[i];

		if (!a->kind)
			continue;
		left--;
		if (a->due_ns > now) {
			next = a->due_ns < next ? a->due_ns : next;
			continue;
		}
		note(&(struct trace_event){.kind = a->kind, .id = a->id}, NULL);
		reply(fd, a->handle, 0);
		a->kind = 0;
		answers--;
	}
	return next == UINT64_MAX ? -1 : (int)((next - now) / 1000000) + 1;
}

/* ---- the port --------------------------------------------------------------------------------------------------- */

static void take_line(const char *text)
{
	unsigned writer;
	unsigned long long step;

	if (sscanf(text, "A %u %llu", &writer, &step) == 2 && writer < POWER_WRITERS) {
		note(&(struct trace_event){.kind = 'A', .writer = (uint8_t)writer, .id = step}, NULL);
		return;
	}
	if (*text != 'R' && *text != 'E')
		return;
	note(&(struct trace_event){.kind = *text}, NULL);
	puts(text);
	fflush(stdout);
}

static bool read_port(int fd)
{
	ssize_t n = recv(fd, line + line_used, sizeof(line) - 1 - line_used, MSG_DONTWAIT);
	char *end;

	if (n <= 0)
		return n < 0 && (errno == EAGAIN || errno == EINTR);
	line_used += (size_t)n;
	line[line_used] = '\0';
	while ((end = strchr(line, '\n'))) {
		*end = '\0';
		take_line(line);
		line_used -= (size_t)(end + 1 - line);
		memmove(line, end + 1, line_used + 1);
	}
	if (line_used == sizeof(line) - 1)
		line_used = 0; /* not one of ours */
	return true;
}

/* ---- main ------------------------------------------------------------------------------------------------------- */

static int listen_at(const char *path)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || strlen(path) >= sizeof(at.sun_path))
		die(path);
	strcpy(at.sun_path, path);
	unlink(path);
	if (bind(fd, (struct sockaddr *)&at, sizeof(at)) || listen(fd, 4))
		die(path);
	return fd;
}

static void open_image(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		die(path);
	image_bytes = (uint64_t)st.st_size;
	image = mmap(NULL, image_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	if (image == MAP_FAILED)
		die(path);
	close(fd);
}

static void serve_guest(int disk, int port)
{
	struct pollfd p[2] = {{disk, POLLIN, 0}, {port, POLLIN, 0}};
	int wait_ms = -1;

	/* The port first: what it says was true before the requests that are read after it. */
	for (;;) {
		if (poll(p, 2, wait_ms) < 0 && errno != EINTR)
			die("poll");
		if (p[1].revents && !read_port(port))
			p[1].fd = -1;
		if (p[0].revents && !read_disk(disk))
			break;
		wait_ms = send_answers(disk);
	}
	while (p[1].fd >= 0 && read_port(port) && poll(&p[1], 1, 0) > 0)
		;
}

/* QEMU looks whether a disk is there by a connection of its own; only one that begins requests counts. */
static int accept_disk(int listener)
{
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

		if (fd < 0)
			die("accept");
		if (shake_hands(fd))
			return fd;
		close(fd);
	}
}

int power_disk(int argc, char **argv)
{
	int disks, ports, disk, port;

	if (argc != 6)
		return 2;
	open_image(argv[1]);
	trace = fopen(argv[2], "we");
	input = malloc(REQUEST_BYTES + REQUEST_MAX);
	if (!trace || !input)
		die(argv[2]);
	random_state = strtoull(argv[5], NULL, 10);
	disks = listen_at(argv[3]);
	ports = listen_at(argv[4]);
	puts("ready");
	fflush(stdout);
	port = accept4(ports, NULL, NULL, SOCK_CLOEXEC);
	disk = accept_disk(disks);
	if (port < 0)
		die("accept");
	serve_guest(disk, port);
	return fclose(trace) ? 1 : 0;
}
