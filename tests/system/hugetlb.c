/* hugetlb.c - a store whose arena lies on hugetlbfs, where files cannot be written to but only mapped. Needs root. */
#include "tests/lib/mount.h"
#include "tests/lib/store.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define OPTIONS "--pages hugetlb --memory 64M --slots 32"
#define POOL_MIB 72

static struct test_store s;

static void finish(void)
{
	test_mounts_end();
	test_stores_end();
}

TestSuite(hugetlb, .fini = finish, .timeout = 180);

static void start(void)
{
	char folder[112];

	test_begin(150);
	test_store_prepare(&s, OPTIONS);
	snprintf(folder, sizeof(folder), "%.96s/huge", s.dir);
	if (!test_mount_hugetlb(folder, POOL_MIB))
		cr_skip_test("no huge pages to be had");
	snprintf(s.arena, sizeof(s.arena), "%.96s/huge/arena", s.dir);
	test_require(!test_store_try(&s), "no start");
}

static void expect_value(const char *when)
{
	ppdb *db = test_store_attach(&s, 0);
	char value[8] = "";

	test_require(!ppdb_get(db, PPDB_TABLE_DEFAULT, PPDB_S("key"), value, sizeof(value), NULL) && !strcmp(value, "value"),
		"%s: the value is '%s'", when, value);
	ppdb_detach(db);
}

/* The pid of who holds it is not in the lock's file there; it is held all the same. */
static void second_daemon_is_refused(void)
{
	static struct test_store other;

	test_store_prepare(&other, OPTIONS);
	strcpy(other.arena, s.arena);
	test_require(test_store_try(&other) == 1, "a second daemon started on the same arena");
	snprintf(other.arena, sizeof(other.arena), "%.96s/none", other.dir); /* its end must not remove the first one's */
	test_store_end(&other);
}

Test(hugetlb, a_store_lives_there)
{
	char out[8192];
	ppdb *db;

	start();
	db = test_store_attach(&s, 0);
	test_require(!ppdb_put(db, PPDB_TABLE_DEFAULT, PPDB_S("key"), (ppdb_slice){"value", 6}, NULL, NULL), "%s", ppdb_errdetail());
	ppdb_detach(db);
	second_daemon_is_refused();
	test_require(!test_store_command(&s, "stat", out, sizeof(out)) && strstr(out, "hugetlb pages"), "%s", out);
	test_store_restart(&s);
	expect_value("after a warm restart");
	test_store_check(&s, true);
	test_store_cold(&s);
	expect_value("after a cold start");
	test_store_check(&s, true);
	test_store_stop(&s);
}
