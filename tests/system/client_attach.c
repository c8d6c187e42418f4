/*
 * client_attach.c (test) - attaching for real: read-only, threads and slots, fork, other users, dead clients, hostile packets,
 * autostart, and what ppdbd says when it cannot start.
 */
#include "client/internal.h"
#include "tests/lib/daemon.h"
#include "tools/text_json.h"

#include <criterion/criterion.h>
#include <grp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

static struct test_daemon d;
static ppdb *db;

#define ok(call)                                                                                                   \
	do {                                                                                                       \
		int rc_ = (call);                                                                                  \
		cr_assert_eq(rc_, 0, "%s: %s: %s", #call, ppdb_errname(rc_), ppdb_errdetail());                    \
	} while (0)
#define gives(code, call)                                                                                          \
	do {                                                                                                       \
		int rc_ = (call);                                                                                  \
		cr_assert_eq(rc_, code, "%s: %s: %s", #call, ppdb_errname(rc_), ppdb_errdetail());                 \
	} while (0)
#define says(text) cr_assert_neq(strstr(ppdb_errdetail(), text), NULL, "no '%s' in: %s", text, ppdb_errdetail())

static void start_with(const char *more)
{
	test_daemon_make(&d);
	cr_assert_eq(test_daemon_start(&d, more), 0, "ppdbd: %s", d.said);
}

static void start(void)
{
	start_with("");
	ok(ppdb_attach(d.name, NULL, &db));
}

static void make(void)
{
	test_daemon_make(&d);
}

static void clear(void)
{
	test_daemon_clear(&d);
}

static uint64_t status_number(const char *name)
{
	char *text = NULL, value[64] = "";

	ok(pp_client_request(d.name, PP_MSG_STATUS, 5000, &text));
	cr_assert(pp_json_find(text, name, value, sizeof(value)), "no %s in %s", name, text);
	free(text);
	return strtoull(value, NULL, 10);
}

static bool becomes(const char *name, uint64_t want)
{
	for (int i = 0; i < 2000; i++) {
		if (status_number(name) == want)
			return true;
		usleep(5000);
	}
	return false;
}

TestSuite(client, .init = start, .fini = clear, .timeout = 120);
TestSuite(client_alone, .init = make, .fini = clear, .timeout = 120);

/* ---- read-only */

Test(client, readonly)
{
	ppdb_attach_opts o = { .size = sizeof(o), .flags = PPDB_RDONLY, .client_name = "reader" };
	struct pp_region *r;
	ppdb_view *v;
	ppdb_item item;
	ppdb_seq t;
	ppdb *ro;
	char buf[8];
	size_t n;

	ok(ppdb_put(db, 0, PPDB_S("k"), PPDB_S("v1"), NULL, &t));
	ok(ppdb_attach(d.name, &o, &ro));
	ok(ppdb_get(ro, 0, PPDB_S("k"), buf, sizeof(buf), &n));
	cr_assert_eq(n, 2u);
	gives(PPDB_READONLY, ppdb_put(ro, 0, PPDB_S("k"), PPDB_S("v2"), NULL, NULL));
	gives(PPDB_READONLY, ppdb_del(ro, 0, PPDB_S("k"), NULL, NULL));
	ok(ppdb_wait(ro, t, PPDB_DURABLE, 1000000000));
	for (unsigned flags = PPDB_VIEW_LATEST; flags <= PPDB_VIEW_FRESH; flags++) {
		ok(ppdb_put(db, 0, PPDB_S("k"), PPDB_S("v3"), NULL, NULL));
		ok(ppdb_view_begin(ro, flags, &v));
		ok(ppdb_view_get(v, 0, PPDB_S("k"), &item));
		if (flags != PPDB_VIEW_SNAPSHOT)
			cr_assert_eq(memcmp(item.value.data, "v3", 2), 0);
		ok(ppdb_view_check(v));
		ppdb_view_end(v);
	}
	/* the kernel holds the line: neither the mapping nor the descriptor can be made writable */
	r = pp_client_region(ro);
	cr_assert_eq(mprotect(r->base, 4096, PROT_READ | PROT_WRITE), -1);
	cr_assert_eq(fcntl(r->fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	ok(ppdb_detach(ro));
	ok(ppdb_detach(db));
}

/* ---- threads and slots */

static void *put_one(void *arg)
{
	ppdb_wopts o = { .size = sizeof(o), .flags = PPDB_ASYNC };
	int rc = ppdb_put(db, 0, PPDB_S("t"), PPDB_S("v"), &o, NULL);

	*(int *)arg = rc;
	return NULL;
}

Test(client_alone, threads_give_slots_back)
{
	pthread_t t;
	int rc = 1;

	cr_assert_eq(test_daemon_start(&d, "--slots 8"), 0, "ppdbd: %s", d.said);
	ok(ppdb_attach(d.name, NULL, &db));
	for (int i = 0; i < 200; i++) {
		for (int tries = 0; tries < 400; tries++) { /* the daemon frees a slot once its ring is durable */
			cr_assert_eq(pthread_create(&t, NULL, put_one, &rc), 0);
			pthread_join(t, NULL);
			if (rc != -ENOSPC)
				break;
			usleep(5000);
		}
		cr_assert_eq(rc, 0, "thread %d: %s", i, ppdb_errname(rc));
	}
	ok(ppdb_detach(db));
	cr_assert(becomes("clients", 0));
}

Test(client_alone, slots_run_out)
{
	ppdb_view *v[64];
	int n = 0, rc = 0;
	char buf[8];

	cr_assert_eq(test_daemon_start(&d, "--slots 8"), 0, "ppdbd: %s", d.said);
	ok(ppdb_attach(d.name, NULL, &db));
	ok(ppdb_put(db, 0, PPDB_S("k"), PPDB_S("v"), NULL, NULL));
	while (n < 64 && !(rc = ppdb_view_begin(db, PPDB_VIEW_LATEST, &v[n])))
		n++;
	gives(-ENOSPC, rc);
	says("--slots");
	cr_assert_geq(n, 4);
	ok(ppdb_get(db, 0, PPDB_S("k"), buf, sizeof(buf), NULL));
	while (n)
		ppdb_view_end(v[--n]);
	for (int i = 0; i < 1000 && (rc = ppdb_view_begin(db, PPDB_VIEW_LATEST, &v[0])); i++)
		usleep(5000);
	ok(rc);
	gives(-EBUSY, ppdb_detach(db));
	ppdb_view_end(v[0]);
	ok(ppdb_detach(db));
}

/* ---- fork */

static int in_child(ppdb_view *v)
{
	char buf[8];
	ppdb_item item;

	if (ppdb_get(db, 0, PPDB_S("k"), buf, sizeof(buf), NULL) != PPDB_FORKED)
		return 1;
	if (ppdb_put(db, 0, PPDB_S("k"), PPDB_S("c"), NULL, NULL) != PPDB_FORKED || ppdb_sync(db, -1) != PPDB_FORKED)
		return 2;
	if (ppdb_view_get(v, 0, PPDB_S("k"), &item) != PPDB_FORKED || ppdb_view_check(v) != PPDB_FORKED)
		return 3;
	if (ppdb_reattach_after_fork(db))
		return 4;
	if (ppdb_view_get(v, 0, PPDB_S("k"), &item) != PPDB_FORKED)
		return 5;
	ppdb_view_end(v);
	if (ppdb_put(db, 0, PPDB_S("child"), PPDB_S("c"), NULL, NULL) || ppdb_reattach_after_fork(db))
		return 6;
	if (ppdb_get(db, 0, PPDB_S("k"), buf, sizeof(buf), NULL))
		return 7;
	return ppdb_detach(db) ? 8 : 0;
}

Test(client, fork)
{
	ppdb_view *v;
	ppdb_item item;
	char buf[8];
	int status;
	pid_t pid;

	ok(ppdb_put(db, 0, PPDB_S("k"), PPDB_S("v"), NULL, NULL));
	ok(ppdb_view_begin(db, PPDB_VIEW_LATEST, &v));
	for (int i = 0; i < 20; i++) {
		pid = fork();
		if (!pid)
			_exit(i == 19 ? (ppdb_view_end(v), ppdb_detach(db)) : in_child(v));
		cr_assert_eq(waitpid(pid, &status, 0), pid);
		cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "child %d: status %x", i, status);
		ok(ppdb_view_get(v, 0, PPDB_S("k"), &item));
		ok(ppdb_put(db, 0, PPDB_S("k"), PPDB_S("v"), NULL, NULL));
	}
	ok(ppdb_get(db, 0, PPDB_S("child"), buf, sizeof(buf), NULL));
	ppdb_view_end(v);
	cr_assert(becomes("clients", 1));
	ok(ppdb_detach(db));
}

/* ---- dead clients */

Test(client, killed_clients_are_taken_back)
{
	uint64_t used = status_number("slots_used");

	for (int i = 0; i < 30; i++) {
		pid_t pid = fork();

		if (!pid) {
			ppdb_attach_opts o = { .size = sizeof(o), .flags = i % 3 == 0 ? PPDB_RDONLY : 0 };
			ppdb_view *v;
			ppdb *mine;

			if (ppdb_attach(d.name, &o, &mine) || ppdb_view_begin(mine, PPDB_VIEW_LATEST, &v))
				_exit(1);
			for (;;)
				ppdb_put(mine, 0, PPDB_S("x"), PPDB_S("y"), NULL, NULL);
		}
		usleep(20000);
		kill(pid, SIGKILL);
		cr_assert_eq(waitpid(pid, NULL, 0), pid);
	}
	cr_assert(becomes("clients", 1));
	cr_assert(becomes("slots_used", used), "%llu slots are used, %llu before", (unsigned long long)status_number("slots_used"),
		(unsigned long long)used);
	ok(ppdb_put(db, 0, PPDB_S("x"), PPDB_S("z"), NULL, NULL));
	ok(ppdb_detach(db));
}

/* ---- users */

static int as_user(uid_t uid, uint32_t flags)
{
	ppdb_attach_opts o = { .size = sizeof(o), .flags = flags };
	char buf[8], path[108];
	int status, rc;
	ppdb *mine;
	pid_t pid;

	pp_proto_socket_path(d.name, 0, path);
	pid = fork();
	if (!pid) {
		if (setgroups(0, NULL) || setgid(uid) || setuid(uid))
			_exit(99);
		rc = ppdb_attach(path, &o, &mine);
		if (!rc)
			rc = ppdb_get(mine, 0, PPDB_S("k"), buf, sizeof(buf), NULL);
		_exit(rc == -EACCES ? 13 : rc == PPDB_NOTFOUND || rc == 0 ? 0 : 1);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

Test(client_alone, other_users)
{
	if (geteuid())
		cr_skip_test("only root can try other users");
	cr_assert_eq(test_daemon_start(&d, ""), 0, "ppdbd: %s", d.said);
	cr_assert_eq(as_user(12345, 0), 13);
	test_daemon_end(&d, SIGTERM);
	cr_assert_eq(test_daemon_start(&d, "--rw-users 12345,4 --ro-groups '23456'"), 0, "ppdbd: %s", d.said);
	cr_assert_eq(as_user(12345, 0), 0);
	cr_assert_eq(as_user(12345, PPDB_RDONLY), 0);
	cr_assert_eq(as_user(23456, PPDB_RDONLY), 0);
	cr_assert_eq(as_user(23456, 0), 13);
	cr_assert_eq(as_user(34567, PPDB_RDONLY), 13);
}

/* ---- hostile packets */

/* A daemon that a busy machine keeps from accepting lets its queue run full. */
static int raw_socket(void)
{
	int sock;

	for (unsigned i = 0; (sock = pp_link_connect(d.name)) < 0 && i < 10000; i++)
		usleep(1000);
	return sock;
}

static void send_junk(void)
{
	struct pp_request r;
	unsigned seed = 7;
	char junk[512];

	for (int i = 0; i < 400; i++) {
		int sock = raw_socket(), fds[2] = { 0, 0 };
		size_t n = (size_t)rand_r(&seed) % sizeof(junk);

		if (sock < 0)
			_exit(1);
		for (size_t k = 0; k < sizeof(junk); k++)
			junk[k] = (char)rand_r(&seed);
		pp_request_init(&r, (enum pp_proto_type)(1 + rand_r(&seed) % 5));
		r.layout_hash = pp_layout_hash_engine();
		if (i % 4 == 1) { /* a good head with a hostile body */
			r.flags = (uint32_t)rand_r(&seed) % 2;
			r.proc = (uint32_t)rand_r(&seed) % 4;
			r.generation = (uint64_t)rand_r(&seed) % 4;
			pp_proto_send(sock, &r, sizeof(r), NULL, 0, fds, (unsigned)rand_r(&seed) % 3);
		} else {
			memcpy(junk, &r, i % 4 == 2 ? 8 : i % 4 == 3 ? sizeof(r) : 0);
			pp_proto_send(sock, junk, n, NULL, 0, fds, (unsigned)rand_r(&seed) % 3);
		}
		if (i % 2)
			usleep(200);
		close(sock);
	}
}

/* In a process of its own: records of a live process without a socket stay, so they vanish when it ends. */
Test(client, hostile_packets)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		send_junk();
		_exit(0);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(status, 0);
	cr_assert(becomes("clients", 1));
	ok(ppdb_put(db, 0, PPDB_S("x"), PPDB_S("z"), NULL, NULL));
	ok(ppdb_detach(db));
}

/* ---- starting */

Test(client_alone, autostart)
{
	ppdb_attach_opts o = { .size = sizeof(o), .flags = PPDB_AUTOSTART, .timeout_ms = 30000 };
	const char *build = getenv("PPDB_BUILD") ? getenv("PPDB_BUILD") : PPDB_BUILD_DIR;
	char path[512], script[600];
	FILE *f;

	gives(PPDB_DAEMON_GONE, ppdb_attach(d.name, NULL, &db));
	says("ppdb start");
	/* the library passes only the name on */
	snprintf(script, sizeof(script), "%s/ppdbd-here", d.dir);
	f = fopen(script, "w");
	fprintf(f, "#!/bin/sh\nexec '%s/ppdbd' \"$@\" -d %s --memory 64M\n", build, d.data);
	fclose(f);
	cr_assert_eq(chmod(script, 0700), 0);
	setenv("PPDBD", script, 1);
	ok(ppdb_attach(d.name, &o, &db));
	ok(ppdb_put(db, 0, PPDB_S("x"), PPDB_S("z"), NULL, NULL));
	ok(ppdb_detach(db));
	snprintf(path, sizeof(path), "%s/none", d.dir);
	setenv("PPDBD", path, 1);
	ok(ppdb_attach(d.name, &o, &db));
	ok(ppdb_detach(db));
	test_daemon_end(&d, SIGTERM);
	gives(PPDB_DAEMON_GONE, ppdb_attach(d.name, &o, &db));
	says(path);
}

static void fails(const char *more, const char *text)
{
	cr_assert_neq(test_daemon_start(&d, more), 0, "it started with %s", more);
	cr_assert_neq(strstr(d.said, text), NULL, "no '%s' in: %s", text, d.said);
}

Test(client_alone, start_errors)
{
	struct test_daemon other;
	char more[512], path[128];
	FILE *f;

	fails("--memmory 1G", "--memmory");
	fails("--memory 12Q", "12Q");
	fails("--ring 100", "power of two");
	snprintf(path, sizeof(path), "%s/c.conf", d.dir);
	f = fopen(path, "w");
	fprintf(f, "[ppdbd]\nshards = 2\n\nsharts = 4\n");
	fclose(f);
	snprintf(more, sizeof(more), "-c %s", path);
	fails(more, "c.conf:4");
	fails("-c /nonexistent.conf", "/nonexistent.conf");
	fails("-d /proc/none/data", "/proc/none");
	cr_assert_eq(test_daemon_start(&d, ""), 0, "ppdbd: %s", d.said);
	fails("", "another ppdbd");
	/* the same data under another name, the same name with other data */
	other = d;
	snprintf(other.name, sizeof(other.name), "%.60sx", d.name);
	cr_assert_eq(test_daemon_start(&other, ""), 1);
	cr_assert_neq(strstr(other.said, "another ppdbd (pid"), NULL, "%s", other.said);
	other = d;
	snprintf(other.data, sizeof(other.data), "%.60s/data2", d.dir);
	cr_assert_eq(test_daemon_start(&other, ""), 1);
	cr_assert_neq(strstr(other.said, "another ppdbd"), NULL, "%s", other.said);
}

Test(client_alone, tells_the_service_manager)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char text[256];
	ssize_t n;

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/notify", d.dir);
	cr_assert_eq(bind(sock, (struct sockaddr *)&addr, sizeof(addr)), 0);
	setenv("NOTIFY_SOCKET", addr.sun_path, 1);
	cr_assert_eq(test_daemon_start(&d, ""), 0, "ppdbd: %s", d.said);
	n = recv(sock, text, sizeof(text) - 1, MSG_DONTWAIT);
	cr_assert_gt(n, 0, "nothing was sent");
	text[n] = '\0';
	cr_assert_neq(strstr(text, "READY=1"), NULL, "%s", text);
	test_daemon_end(&d, SIGTERM);
	n = recv(sock, text, sizeof(text) - 1, MSG_DONTWAIT);
	cr_assert_gt(n, 0);
	cr_assert_eq(memcmp(text, "STOPPING=1", 10), 0);
	close(sock);
}
