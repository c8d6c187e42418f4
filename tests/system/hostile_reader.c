/*
 * hostile_reader.c - a read-only client of another user that tries everything: writing to what it has mapped, making it writable, resizing
 * it, opening it anew through /proc, filling its control region with nonsense, malformed packets, connections without end, slots that it never
 * gives back. Whatever it does, a writer goes on, every byte is accounted for, and the daemon lives. Only root can try this.
 */
#include "client/internal.h"
#include "tests/lib/store.h"

#include <criterion/criterion.h>
#include <grp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

TestSuite(hostile, .fini = test_stores_end, .timeout = 300);

#define MALLORY 51111

static struct test_store s;

static void become(uid_t uid)
{
	test_require(!setgroups(0, NULL) && !setgid(uid) && !setuid(uid), "uid %u: %s", uid, strerror(errno));
}

static void start(const char *options)
{
	test_store_prepare(&s, options);
	test_require(!chmod(s.dir, 0755) && !test_store_try(&s), "%s", s.dir);
}

/* What the fork left open of the writer's: a stranger would not have it. */
static void close_inherited(void)
{
	struct stat arena, st;

	test_require(!stat(s.arena, &arena), "%s", s.arena);
	for (int fd = 3; fd < 64; fd++)
		if (!fstat(fd, &st) && st.st_dev == arena.st_dev && st.st_ino == arena.st_ino)
			close(fd);
}

static ppdb *attach_reader(void)
{
	ppdb_attach_opts o = {.size = sizeof(o), .flags = PPDB_RDONLY};
	ppdb *db;

	close_inherited();
	become(MALLORY);
	test_ok(ppdb_attach(s.socket, &o, &db));
	return db;
}

/* The others must notice nothing: a write, a read of it, and the daemon's own check. */
static void others_go_on(ppdb *db)
{
	char buf[16];
	size_t n;

	for (int i = 0; i < 50; i++) {
		test_ok(ppdb_put(db, 0, PPDB_S("k"), PPDB_S("value"), NULL, NULL));
		test_ok(ppdb_get(db, 0, PPDB_S("k"), buf, sizeof(buf), &n));
		test_require(n == 5 && !memcmp(buf, "value", 5), "%.*s", (int)n, buf);
	}
}

static void run(void (*attack)(void *), const char *options)
{
	ppdb *db;

	if (geteuid())
		return;
	test_begin(200);
	start(options);
	db = test_store_attach(&s, 0);
	others_go_on(db);
	test_join(test_spawn(attack, NULL));
	others_go_on(db);
	test_ok(ppdb_detach(db));
	test_store_check(&s, true);
}

/* ---- the mapping and its descriptors */

static bool killed_by_write(void *at)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		signal(SIGSEGV, SIG_DFL); /* a sanitizer's handler would end it otherwise */
		*(volatile uint64_t *)at = 1;
		_exit(0);
	}
	test_require(waitpid(pid, &status, 0) == pid, "waitpid");
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
}

static void pry_descriptor(int fd)
{
	char path[64];
	void *at;
	int again;

	test_require(write(fd, "x", 1) == -1 && pwrite(fd, "x", 1, 0) == -1, "descriptor %d takes writes", fd);
	test_require(ftruncate(fd, 0) == -1 && ftruncate(fd, 1 << 30) == -1, "descriptor %d can be resized", fd);
	test_require(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) == -1, "descriptor %d takes a hole", fd);
	test_require(fchmod(fd, 0666) == -1 && fchown(fd, MALLORY, MALLORY) == -1, "descriptor %d changes its owner or mode", fd);
	at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	test_require(at == MAP_FAILED, "descriptor %d can be mapped for writing", fd);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, O_RDWR);
	test_require(again == -1, "descriptor %d opens for writing", fd);
	test_require(open(path, O_WRONLY | O_TRUNC) == -1, "descriptor %d can be cut", fd);
}

static void attack_mapping(void *arg)
{
	ppdb *db = attach_reader();
	struct pp_region *r = pp_client_region(db);
	struct stat arena;
	char buf[16];
	size_t n;

	(void)arg;
	test_require(r && r->readonly && !fstat(r->fd, &arena), "not mapped read-only");
	test_require(killed_by_write(r->base) && killed_by_write(r->globals) && killed_by_write(r->base + r->segments_at), "a write arrived");
	test_require(mprotect(r->base, 4096, PROT_READ | PROT_WRITE) == -1, "the mapping can be made writable");
	pry_descriptor(r->fd);
	for (int fd = 3; fd < 64; fd++) {
		struct stat st;

		if (!fstat(fd, &st) && st.st_dev == arena.st_dev && st.st_ino == arena.st_ino) /* others are the test's own */
			pry_descriptor(fd);
	}
	test_require(open(s.arena, O_RDONLY) == -1 && open(s.arena, O_RDWR) == -1, "%s is open to others", s.arena);
	test_require(open(s.data, O_RDONLY) == -1, "%s is open to others", s.data);
	test_ok(ppdb_get(db, 0, PPDB_S("k"), buf, sizeof(buf), &n));
	test_ok(ppdb_detach(db));
}

Test(hostile, mapping_and_descriptors)
{
	run(attack_mapping, "--memory 64M --ro-users 51111");
}

/* ---- its control region: everything that the daemon reads of it */

static void attack_control(void *arg)
{
	ppdb *db = attach_reader();
	struct pp_mapping *m = pp_load_acq(&db->map);
	struct test_random r = test_random(test_seed(), 1);
	uint64_t until = test_now_ns() + 3 * PP_NS_PER_SEC;

	(void)arg;
	test_require(m && m->control, "no control region");
	test_require(ftruncate(m->control_fd, 0) == -1 && ftruncate(m->control_fd, (off_t)m->control_bytes * 2) == -1, "it can be resized");
	while (test_now_ns() < until) {
		uint64_t *words = (uint64_t *)m->control;

		for (int i = 0; i < 1000; i++) {
			uint64_t at = test_below(&r, m->control_bytes / 8), how = test_below(&r, 4);

			words[at] = how == 0 ? UINT64_MAX : how == 1 ? 0 : how == 2 ? UINT64_C(1) << 56 | test_below(&r, 8) : test_next(&r);
		}
		test_sleep_ms(1);
	}
	_exit(0); /* and is gone without a goodbye */
}

Test(hostile, control_region)
{
	run(attack_control, "--memory 64M --ro-users 51111 --control-slots 8");
}

/* ---- connections and slots */

static int connect_once(void)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	strcpy(addr.sun_path, s.socket);
	if (sock >= 0 && connect(sock, (struct sockaddr *)&addr, sizeof(addr))) {
		close(sock);
		return -1;
	}
	return sock;
}

static void send_nonsense(int sock, struct test_random *r)
{
	uint8_t bytes[400];
	struct pp_request q;
	size_t n = test_below(r, sizeof(bytes));

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)test_next(r);
	if (test_chance(r, 70)) {
		pp_request_init(&q, (enum pp_proto_type)(1 + test_below(r, 6)));
		q.flags = test_chance(r, 70) ? PP_MSG_READONLY : 0;
		q.layout_hash = pp_layout_hash_engine();
		q.proc = (uint32_t)test_below(r, 12);
		q.generation = test_next(r);
		memcpy(bytes, &q, sizeof(q));
		n = test_chance(r, 80) ? sizeof(q) : n;
	}
	if (send(sock, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return; /* refused already */
}

static void attack_connections(void *arg)
{
	struct test_random r = test_random(test_seed(), 2);
	int open[300];
	unsigned n = 0, made = 0;

	(void)arg;
	become(MALLORY);
	for (unsigned i = 0; i < 4000; i++) {
		int sock = connect_once();

		if (sock < 0) {
			test_sleep_ms(1);
			continue;
		}
		made++;
		send_nonsense(sock, &r);
		if (n < sizeof(open) / sizeof(*open))
			open[n++] = sock; /* kept open as long as it lives */
		else
			close(sock);
	}
	test_require(made > 1000, "only %u connections", made);
}

Test(hostile, connections_without_end)
{
	run(attack_connections, "--memory 64M --ro-users 51111 --clients-per-user 8");
}

/* Views that are never ended, in as many handles as it gets. */
static void attack_slots(void *arg)
{
	ppdb_attach_opts o = {.size = sizeof(o), .flags = PPDB_RDONLY};
	unsigned handles = 0, views = 0;
	int rc = 0;

	(void)arg;
	become(MALLORY);
	for (ppdb *db; handles < 100 && !(rc = ppdb_attach(s.socket, &o, &db)); handles++)
		for (ppdb_view *v; views < 10000 && !ppdb_view_begin(db, views % 2 ? PPDB_VIEW_SNAPSHOT : PPDB_VIEW_LATEST, &v);)
			views++;
	test_require(handles == 4 && rc == -EUSERS, "%u handles, then %s", handles, test_name_of(rc));
	test_require(views >= 4, "%u views", views);
	_exit(0);
}

Test(hostile, slots_never_released)
{
	run(attack_slots, "--memory 64M --ro-users 51111 --clients-per-user 4 --control-slots 8");
}

/* ---- modes of what lies in the file system */

static void mode_is(const char *path, mode_t mode)
{
	struct stat st;

	test_require(!stat(path, &st), "%s: %s", path, strerror(errno));
	test_require((st.st_mode & 07777) == mode, "%s has mode %o, not %o", path, st.st_mode & 07777, mode);
}

Test(hostile, modes_are_tight)
{
	char path[256];

	test_begin(60);
	test_store_start(&s, "--memory 64M");
	mode_is(s.socket, 0600);
	mode_is(s.arena, 0600);
	mode_is(s.data, 0700);
	snprintf(path, sizeof(path), "%s/wal", s.data);
	mode_is(path, 0700);
	snprintf(path, sizeof(path), "%s/checkpoint", s.data);
	mode_is(path, 0700);
	snprintf(path, sizeof(path), "%s/wal/wal-0000000000000001.log", s.data);
	mode_is(path, 0600);
	snprintf(path, sizeof(path), "%s/LOCK", s.data);
	mode_is(path, 0600);
	snprintf(path, sizeof(path), "%s/STORE", s.data);
	mode_is(path, 0600);
}
