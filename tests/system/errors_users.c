/*
 * errors_users.c - who may attach: other users are refused by default, the allow-lists let users and groups read, or read and write, and
 * nobody gets more than that. Only root can try this.
 */
#include "tests/lib/store.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

TestSuite(errors_users, .fini = test_stores_end, .timeout = 180);

#define ALICE 51111
#define BOB 52222
#define READERS 53333
#define WRITERS 54444

static struct test_store s;

struct person {
	uid_t uid;
	gid_t gid, also; /* also = 0: no supplementary group */
	uint32_t flags;
	int attach, put;
	const char *says;
};

static void become(const struct person *p)
{
	test_require(!setgroups(p->also ? 1 : 0, &p->also) && !setgid(p->gid) && !setuid(p->uid), "uid %u: %s", p->uid,
		strerror(errno));
}

static void try_it(void *arg)
{
	const struct person *p = arg;
	ppdb_attach_opts o = {.size = sizeof(o), .flags = p->flags};
	char buf[8];
	ppdb *db;
	size_t n;

	become(p);
	test_expect(p->attach, ppdb_attach(s.socket, &o, &db));
	if (p->attach) {
		test_require(strstr(test_detail(), p->says), "no '%s' in: %s", p->says, test_detail());
		return;
	}
	test_ok(ppdb_get(db, 0, PPDB_S("k"), buf, sizeof(buf), &n));
	test_require(n == 1 && buf[0] == 'v', "%.*s", (int)n, buf);
	test_expect(p->put, ppdb_put(db, 0, PPDB_S("by another"), PPDB_S("w"), NULL, NULL));
	if (!p->put)
		test_ok(ppdb_del(db, 0, PPDB_S("by another"), NULL, NULL));
	test_ok(ppdb_detach(db));
}

static void with(const char *lists, struct person *people, unsigned n)
{
	ppdb *db;

	if (s.daemon)
		test_store_stop(&s);
	snprintf(s.options, sizeof(s.options), "--memory 64M %s", lists);
	test_require(!test_store_try(&s), "ppdbd did not start with %s", lists);
	db = test_store_attach(&s, 0);
	test_ok(ppdb_put(db, 0, PPDB_S("k"), PPDB_S("v"), NULL, NULL));
	for (unsigned i = 0; i < n; i++) {
		test_say("%s, person %u", lists, i);
		test_join(test_spawn(try_it, &people[i]));
	}
	test_ok(ppdb_detach(db));
}

#define WITH(lists, ...)                                                          \
	do {                                                                      \
		struct person people[] = {__VA_ARGS__};                           \
		with(lists, people, sizeof(people) / sizeof(people[0]));          \
	} while (0)
#define REFUSED .attach = -EACCES, .says = "may not attach"
#define ONLY_READ .attach = -EACCES, .says = "PPDB_RDONLY"
#define READS .flags = PPDB_RDONLY, .put = PPDB_READONLY

Test(errors_users, allow_lists)
{
	if (geteuid())
		return;
	test_begin(150);
	test_store_prepare(&s, "");
	test_require(!chmod(s.dir, 0755), "%s", s.dir);
	/* without a list the socket itself says no */
	WITH("", {.uid = ALICE, .gid = ALICE, .attach = -EACCES, .says = "no permission to reach the socket"},
		{.uid = ALICE, .gid = ALICE, .attach = -EACCES, .says = "no permission", .flags = PPDB_RDONLY},
		{.uid = 0, .gid = 0});
	WITH("--rw-users 51111", {.uid = ALICE, .gid = ALICE}, {.uid = ALICE, .gid = ALICE, READS},
		{.uid = BOB, .gid = BOB, REFUSED}, {.uid = BOB, .gid = BOB, .flags = PPDB_RDONLY, REFUSED});
	WITH("--ro-users 51111", {.uid = ALICE, .gid = ALICE, READS}, {.uid = ALICE, .gid = ALICE, ONLY_READ},
		{.uid = BOB, .gid = ALICE, .flags = PPDB_RDONLY, REFUSED});
	WITH("--rw-groups 54444 --ro-groups 53333", {.uid = ALICE, .gid = WRITERS}, {.uid = ALICE, .gid = ALICE, .also = WRITERS},
		{.uid = ALICE, .gid = READERS, READS}, {.uid = BOB, .gid = BOB, .also = READERS, READS},
		{.uid = BOB, .gid = BOB, .also = READERS, ONLY_READ}, {.uid = BOB, .gid = BOB, .also = ALICE, REFUSED});
	WITH("--ro-users * --rw-users 52222", {.uid = ALICE, .gid = ALICE, READS}, {.uid = ALICE, .gid = ALICE, ONLY_READ},
		{.uid = BOB, .gid = BOB});
	test_store_check(&s, true);
}

/* A user's share of the records is bounded, so that one user cannot take them all. */
static void take_all(void *arg)
{
	struct person alice = {.uid = ALICE, .gid = ALICE};
	ppdb_attach_opts o = {.size = sizeof(o)};
	ppdb *db[4];
	int rc = 0;
	unsigned n = 0;

	(void)arg;
	become(&alice);
	while (n < 4 && !(rc = ppdb_attach(s.socket, &o, &db[n])))
		n++;
	test_require(n == 3 && rc == -EUSERS, "%s after %u", test_name_of(rc), n);
	test_require(strstr(test_detail(), "clients-per-user"), "%s", test_detail());
	while (n)
		test_ok(ppdb_detach(db[--n]));
}

Test(errors_users, share_of_clients)
{
	if (geteuid())
		return;
	test_begin(100);
	test_store_prepare(&s, "--memory 64M --rw-users 51111 --clients-per-user 3");
	test_require(!chmod(s.dir, 0755) && !test_store_try(&s), "%s", s.dir);
	test_join(test_spawn(take_all, NULL));
}

/* Neither the arena's file nor a descriptor that a reader got leads to more rights. */
static void pry(void *arg)
{
	struct person alice = {.uid = ALICE, .gid = ALICE, .flags = PPDB_RDONLY};
	ppdb_attach_opts o = {.size = sizeof(o), .flags = PPDB_RDONLY};
	char path[64];
	ppdb *db;

	(void)arg;
	become(&alice);
	test_ok(ppdb_attach(s.socket, &o, &db));
	test_require(access(s.arena, R_OK) && access(s.arena, W_OK), "%s is open to others", s.arena);
	for (int fd = 3; fd < 64; fd++) {
		struct stat st;
		int again;

		if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size < (1 << 20))
			continue;
		test_require(write(fd, "x", 1) == -1 && ftruncate(fd, 0) == -1, "descriptor %d takes writes", fd);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		again = open(path, O_RDWR);
		test_require(again == -1, "descriptor %d opens for writing", fd);
	}
	test_ok(ppdb_detach(db));
}

Test(errors_users, reader_gets_no_more)
{
	if (geteuid())
		return;
	test_begin(100);
	test_store_prepare(&s, "--memory 64M --ro-users 51111");
	test_require(!chmod(s.dir, 0755) && !test_store_try(&s), "%s", s.dir);
	test_join(test_spawn(pry, NULL));
	test_store_check(&s, true);
}
