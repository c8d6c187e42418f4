/*
 * proto.c (fuzz) - the daemon's socket, connections and control regions against clients that send anything.
 *
 * The daemon's own code serves a real socket in this process, over a small store whose keeper is stepped by hand. An input is a list of
 * things that some clients do: connect, send a request (valid, then changed; of any length; with descriptors that do not belong there),
 * read answers, hang up, write into the control region that a read-only client was given. Every answer must be well formed, a
 * descriptor handed to a reader must not be writable, and when the input ends no descriptor and no record may be left over.
 */
#include "tests/fuzz/fuzz.h"

#include "shm/live.h"
#include "tools/daemon.h"

#include <dirent.h>
#include <sys/mman.h>

#define CLIENTS 5
#define STEPS_MAX 200

struct client {
	int sock, control_fd;
	uint32_t slots;
	uint8_t *control; /* mapped as a client would */
	struct pp_reply last;
};

static struct pp_daemon d = {.epoll = -1, .listener = -1, .signals = -1, .ready = -1, .data_lock = -1, .name_lock = -1};
static struct client clients[CLIENTS];
static unsigned open_before;

/* ---- the daemon */

int pp_event_add(struct pp_daemon *daemon, int fd, enum pp_event_kind kind, uint64_t value)
{
	struct epoll_event e = {.events = EPOLLIN, .data.u64 = (uint64_t)kind << 56 | value};

	return epoll_ctl(daemon->epoll, EPOLL_CTL_ADD, fd, &e) ? pp_detail(-errno, "epoll") : 0;
}

/* Of the kinds that go to and fro here; segments of the log and libFuzzer's own come and go. */
static unsigned open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *e;
	unsigned n = 0;

	while (dir && (e = readdir(dir))) {
		char path[300], to[256] = "";

		snprintf(path, sizeof(path), "/proc/self/fd/%s", e->d_name);
		n += readlink(path, to, sizeof(to) - 1) > 0 && (strstr(to, "socket:") || strstr(to, "memfd:") || strstr(to, "pidfd") ||
			strstr(to, "/arena"));
	}
	closedir(dir);
	return n;
}

static void durable(void *ctx, uint64_t epoch, int failed)
{
	(void)ctx;
	pp_bell_ring_all(&d.work.bells, epoch, failed != 0);
}

static void start(void)
{
	char data[96], socket[96], arena[96];
	char *argv[] = {(char *)"ppdbd", (char *)"-n", (char *)"fuzz", (char *)"-c", (char *)"/dev/null", (char *)"-d", data,
		(char *)"--socket", socket, (char *)"--arena", arena, (char *)"--memory", (char *)"32M", (char *)"--clients", (char *)"6",
		(char *)"--slots", (char *)"8", (char *)"--control-slots", (char *)"3", (char *)"--wal-backend", (char *)"pwrite",
		(char *)"--wal-segment", (char *)"64K", (char *)"--pages", (char *)"4k", (char *)"--no-numa", (char *)"--foreground"};

	fuzz_make_dir();
	snprintf(data, sizeof(data), "%s/data", fuzz_dir);
	snprintf(socket, sizeof(socket), "%s/sock", fuzz_dir);
	snprintf(arena, sizeof(arena), "%s/arena", fuzz_dir);
	fuzz_require(!pp_settings_load(&d.set, sizeof(argv) / sizeof(*argv), argv) && !pp_paths_mkdir(d.set.data_dir, 0700),
		"settings: %s", pp_detail_get());
	d.store_id = 7;
	d.epoll = epoll_create1(EPOLL_CLOEXEC);
	pp_settings_keeper(&d.set, d.store_id, &d.work.config);
	pthread_mutex_init(&d.work.text_lock, NULL);
	pthread_mutex_init(&d.work.nap_lock, NULL);
	pthread_mutex_init(&d.work.bells.lock, NULL);
	pthread_cond_init(&d.work.nap, NULL);
	d.work.config.durable = durable;
	fuzz_require(!pp_keeper_open(&d.work.config, &d.work.keeper), "open: %s", pp_detail_get());
	pp_store_rel(&d.work.phase, PP_WORK_RUNNING);
	fuzz_require(!pp_clients_init(&d) && !pp_socket_listen(&d), "listen: %s", pp_detail_get());
	for (unsigned i = 0; i < CLIENTS; i++)
		clients[i] = (struct client){.sock = -1, .control_fd = -1};
}

static void serve(void)
{
	struct epoll_event e;

	for (int i = 0; i < 100 && epoll_wait(d.epoll, &e, 1, 0) == 1; i++) {
		uint64_t value = pp_event_value_of(e.data.u64);

		if (pp_event_kind_of(e.data.u64) == PP_EVENT_LISTEN)
			pp_socket_accept(&d);
		else if (pp_event_kind_of(e.data.u64) == PP_EVENT_CONN)
			pp_conn_event(&d, (struct pp_conn *)(uintptr_t)value);
	}
}

static void keep(void)
{
	pp_keeper_step(d.work.keeper);
	pp_keeper_house(d.work.keeper);
}

/* ---- clients */

static void forget_control(struct client *c)
{
	if (c->control)
		munmap(c->control, pp_control_bytes(c->slots));
	if (c->control_fd >= 0)
		close(c->control_fd);
	c->control = NULL;
	c->control_fd = -1;
}

static void hang_up(struct client *c)
{
	if (c->sock >= 0)
		close(c->sock);
	c->sock = -1;
}

static void do_connect(struct client *c)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	if (c->sock >= 0)
		return;
	strcpy(addr.sun_path, d.set.socket);
	c->sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (connect(c->sock, (struct sockaddr *)&addr, sizeof(addr)))
		hang_up(c);
}

static void take_control(struct client *c, int fd, uint32_t slots)
{
	forget_control(c);
	fuzz_require(slots && slots <= PP_CONTROL_SLOTS_MAX && pp_control_sealed(fd, slots), "a control region that is not sealed");
	c->slots = slots;
	c->control_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	c->control = mmap(NULL, pp_control_bytes(slots), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	fuzz_require(c->control != MAP_FAILED, "mmap");
}

static bool reply_of(struct client *c)
{
	static uint8_t buffer[sizeof(struct pp_reply) + PP_PROTO_TEXT];
	int fds[PP_PROTO_FDS];
	size_t bytes = 0;
	struct pp_reply r;
	int rc;

	if (c->sock < 0)
		return false;
	rc = pp_proto_recv(c->sock, buffer, sizeof(buffer), &bytes, fds);
	if (rc)
		return false;
	if (bytes == sizeof(struct pp_tick)) {
		struct pp_tick tick;

		memcpy(&tick, buffer, sizeof(tick));
		fuzz_require(tick.magic == PP_PROTO_MAGIC && tick.type == PP_MSG_TICK, "a malformed tick");
		pp_proto_close_fds(fds, 0);
		return true;
	}
	memcpy(&r, buffer, sizeof(r));
	fuzz_require(bytes >= sizeof(r) && !pp_reply_check(&r, bytes, r.type), "a malformed answer");
	fuzz_require(fuzz_known_code(r.status), "status %d", r.status);
	fuzz_require(!r.status || r.sentence[0], "status %d without a sentence", r.status);
	fuzz_require(!r.status || fds[0] < 0, "a refusal with a descriptor");
	if (fds[0] >= 0) {
		int mode = fcntl(fds[0], F_GETFL) & O_ACCMODE;

		fuzz_require(r.type == PP_MSG_SEGMENT || r.proc < pp_daemon_region(&d)->fixed.procs, "record %u", r.proc);
		fuzz_require(mode == (r.type == PP_MSG_SEGMENT || pp_load_acq(&pp_daemon_region(&d)->procs[r.proc].flags) & PP_PROC_READONLY ? O_RDONLY : O_RDWR),
			"mode %d", mode);
	}
	if (fds[1] >= 0)
		take_control(c, fds[1], r.control_slots);
	pp_proto_close_fds(fds, 0);
	c->last = r;
	return true;
}

static int made_memfd(uint64_t how)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	fuzz_require(fd >= 0 && !ftruncate(fd, (off_t)(how & 4 ? pp_control_bytes(how >> 3) : how)), "memfd");
	if (how & 2)
		fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	return fd;
}

static unsigned descriptors(struct client *c, unsigned kind, uint64_t how, int *fds)
{
	switch (kind % 6) {
	case 1:
		fds[0] = c->control_fd >= 0 ? fcntl(c->control_fd, F_DUPFD_CLOEXEC, 3) : made_memfd(2);
		return 1;
	case 2:
		fds[0] = made_memfd(how & 0xffff);
		return 1;
	case 3:
		fds[0] = open("/dev/null", O_RDWR | O_CLOEXEC);
		fds[1] = fcntl(c->sock, F_DUPFD_CLOEXEC, 3);
		return 2;
	case 4:
		fds[0] = fcntl(pp_daemon_region(&d)->fd, F_DUPFD_CLOEXEC, 3);
		return 1;
	case 5:
		for (int i = 0; i < 5; i++)
			fds[i] = fcntl(d.listener, F_DUPFD_CLOEXEC, 3);
		return 5;
	}
	return 0;
}

static void send_packet(int sock, const void *data, size_t size, int *fds, unsigned nfds)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(5 * sizeof(int))];
	} control;
	struct iovec iov = {(void *)(uintptr_t)data, size};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	memset(&control, 0, sizeof(control));
	if (nfds) {
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
		CMSG_FIRSTHDR(&msg)->cmsg_level = SOL_SOCKET;
		CMSG_FIRSTHDR(&msg)->cmsg_type = SCM_RIGHTS;
		CMSG_FIRSTHDR(&msg)->cmsg_len = CMSG_LEN(nfds * sizeof(int));
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&msg)), fds, nfds * sizeof(int));
	}
	if (sendmsg(sock, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		(void)0; /* a full socket is the client's own loss */
	for (unsigned i = 0; i < nfds; i++)
		close(fds[i]);
}

static void do_send(struct client *c, struct fuzz_in *in)
{
	uint8_t bytes[300] = {0};
	struct pp_request r;
	size_t size = sizeof(r);
	unsigned how = (unsigned)fuzz_take(in, 1), at;
	uint64_t value;
	int fds[5];

	pp_request_init(&r, (enum pp_proto_type)fuzz_take(in, 1));
	r.flags = (uint32_t)fuzz_take(in, 1);
	r.layout_hash = pp_layout_hash_engine();
	if (how & 1) { /* an attach that goes on */
		r.proc = c->last.proc;
		r.generation = c->last.generation;
	}
	if (r.type == PP_MSG_BELL) { /* of any client's record */
		const struct pp_reply *last = &clients[fuzz_take(in, 1) % CLIENTS].last;

		r.proc = last->proc;
		r.generation = last->generation;
		r.arg[0] = fuzz_take(in, 1);
	}
	if (r.type == PP_MSG_SEGMENT) {
		r.arg[0] = fuzz_take(in, 1) - 1; /* the greatest number, too */
		r.arg[1] = fuzz_take(in, 1);
	}
	value = fuzz_take(in, 4);
	memcpy(r.client_name, &value, 4);
	memcpy(bytes, &r, sizeof(r));
	if (how & 2)
		size = fuzz_take(in, 2) % sizeof(bytes);
	for (unsigned n = how >> 2 & 3; n; n--) {
		at = (unsigned)fuzz_take(in, 1) % (sizeof(r) - 8);
		value = fuzz_take(in, 8);
		memcpy(bytes + at, &value, 8);
	}
	if (c->sock >= 0) {
		unsigned nfds = descriptors(c, how >> 4 & 7, how & 2 ? size : fuzz_take(in, 2), fds);

		send_packet(c->sock, bytes, size, fds, nfds);
	}
}

static void do_scribble(struct client *c, struct fuzz_in *in)
{
	uint64_t at = fuzz_take(in, 2) * 8, value = fuzz_take(in, 8);

	if (c->control)
		memcpy(c->control + at % (pp_control_bytes(c->slots) - 8), &value, 8);
}

static void act(struct fuzz_in *in)
{
	unsigned op = (unsigned)fuzz_take(in, 1);
	struct client *c = &clients[(op >> 4) % CLIENTS];

	switch (op & 7) {
	case 0:
		do_connect(c);
		break;
	case 1:
	case 2:
		do_connect(c);
		do_send(c, in);
		serve();
		reply_of(c);
		break;
	case 3:
		do_send(c, in);
		break;
	case 4:
		serve();
		while (reply_of(c))
			;
		break;
	case 5:
		hang_up(c);
		break;
	case 6:
		do_scribble(c, in);
		break;
	case 7:
		keep();
		pp_clients_reap(&d);
		pp_conn_checkpoint_done(&d);
		break;
	}
}

/* ---- afterwards nothing is left */

static bool all_free(void)
{
	struct pp_region *r = pp_daemon_region(&d);
	unsigned used = 0;

	for (uint32_t i = 0; i < r->header->procs; i++)
		used += pp_load_acq(&r->procs[i].state) != 0;
	return used == 1; /* the daemon's own */
}

static void finish(void)
{
	for (unsigned i = 0; i < CLIENTS; i++) {
		hang_up(&clients[i]);
		forget_control(&clients[i]);
	}
	serve();
	for (int i = 0; i < 5000 && d.conns; i++) { /* a socket that was sent along is closed when a worker of the kernel gets to it */
		usleep(1000);
		serve();
	}
	fuzz_require(!d.conns && !d.conn_count, "%u connections are left", d.conn_count);
	for (uint32_t i = 0; i < pp_daemon_region(&d)->header->procs; i++)
		pp_clients_died(&d, i);
	for (int i = 0; i < 1000 && !all_free(); i++)
		keep();
	pp_clients_reap(&d);
	fuzz_require(all_free() && !d.dying && !d.watches, "records are left");
	if (!open_before)
		open_before = open_fds();
	fuzz_require(open_fds() <= open_before, "descriptors are left");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = {data, size};

	if (d.epoll < 0)
		start();
	for (int i = 0; i < STEPS_MAX && in.left; i++)
		act(&in);
	finish();
	return 0;
}

/* ---- seeds */

static void seed_send(struct fuzz_out *o, unsigned client, unsigned how, unsigned type, unsigned flags)
{
	fuzz_put(o, client << 4 | 1, 1);
	fuzz_put(o, how, 1);
	fuzz_put(o, type, 1);
	fuzz_put(o, flags, 1);
	fuzz_put(o, 0x62626262, 4);
	if (!(how & 2))
		fuzz_put(o, 0x801e, 2); /* for a memfd: sealed, of a control region's size */
}

static void seed_bell(struct fuzz_out *o, unsigned client, unsigned slot)
{
	fuzz_put(o, client << 4 | 1, 1);
	fuzz_put(o, 0, 1);
	fuzz_put(o, PP_MSG_BELL, 1);
	fuzz_put(o, 0, 1);
	fuzz_put(o, 0, 1); /* the first client's record */
	fuzz_put(o, slot, 1);
	fuzz_put(o, 0x62626262, 4);
	fuzz_put(o, 0x801e, 2);
}

static void seed_segment(struct fuzz_out *o, unsigned client, unsigned number, unsigned which)
{
	fuzz_put(o, client << 4 | 1, 1);
	fuzz_put(o, 0, 1);
	fuzz_put(o, PP_MSG_SEGMENT, 1);
	fuzz_put(o, 0, 1);
	fuzz_put(o, number, 1);
	fuzz_put(o, which, 1);
	fuzz_put(o, 0x62626262, 4);
	fuzz_put(o, 0x801e, 2);
}

void fuzz_seeds(fuzz_emit *emit)
{
	struct fuzz_out o = {.size = 0};

	for (unsigned type = PP_MSG_ATTACH; type <= PP_MSG_LAST; type++) {
		char name[32];

		for (unsigned flags = 0; flags < 2; flags++) {
			o.size = 0;
			seed_send(&o, 0, 0, PP_MSG_ATTACH, flags);
			seed_send(&o, 0, 0, type, flags);
			fuzz_put(&o, 7, 1);
			seed_send(&o, 1, 0, type, flags);
			fuzz_put(&o, 5, 1);
			seed_send(&o, 2, 1, PP_MSG_ATTACH, flags);
			snprintf(name, sizeof(name), "type-%u-%u", type, flags);
			emit(name, o.bytes, o.size);
		}
	}
	for (unsigned reader = 0; reader < 2; reader++) { /* a bell for a record's slot on another connection, ticks, and its reader ends */
		o.size = 0;
		seed_send(&o, 0, 0, PP_MSG_ATTACH, reader);
		seed_bell(&o, 1, 0);
		fuzz_put(&o, 7, 1);
		fuzz_put(&o, 1 << 4 | 4, 1);
		seed_bell(&o, 1, 2);
		seed_send(&o, 0, 0, PP_MSG_DETACH, 0);
		fuzz_put(&o, 7, 1);
		emit(reader ? "bell-reader" : "bell-writer", o.bytes, o.size);
	}
	for (unsigned which = 0; which < 4; which++) { /* the log's files, by those who are attached and by those who are not */
		char name[32];

		o.size = 0;
		seed_segment(&o, 0, 2, which);
		seed_send(&o, 1, 0, PP_MSG_ATTACH, PP_MSG_READONLY);
		seed_segment(&o, 1, 0, which);
		snprintf(name, sizeof(name), "segment-%u", which);
		emit(name, o.bytes, o.size);
	}
	for (unsigned kind = 1; kind < 6; kind++) {
		char name[32];

		o.size = 0;
		seed_send(&o, 0, 0, PP_MSG_ATTACH, PP_MSG_READONLY);
		fuzz_put(&o, 5, 1);
		seed_send(&o, 0, 1 | kind << 4, PP_MSG_ATTACH, PP_MSG_READONLY);
		snprintf(name, sizeof(name), "descriptors-%u", kind);
		emit(name, o.bytes, o.size);
	}
	o.size = 0;
	seed_send(&o, 0, 0, PP_MSG_ATTACH, PP_MSG_READONLY);
	for (unsigned i = 0; i < 12; i++) {
		fuzz_put(&o, 6, 1);
		fuzz_put(&o, 512 + i, 2);
		fuzz_put(&o, i % 2 ? UINT64_C(1) << 56 : ~UINT64_C(0), 8);
	}
	fuzz_put(&o, 7, 1);
	emit("scribble", o.bytes, o.size);
	o.size = 0;
	for (unsigned i = 0; i < 8; i++)
		seed_send(&o, i % CLIENTS, 2 | 4, PP_MSG_ATTACH + i, 0);
	emit("lengths", o.bytes, o.size);
}
