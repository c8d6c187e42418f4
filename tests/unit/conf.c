/*
 * conf.c (test) - config files and options: what is taken, and that each mistake is named with its place.
 */
#include "tools/conf.h"
#include "tools/paths.h"
#include "tools/store_dir.h"

#include "shm/errors.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct settings {
	uint64_t memory, shards, sync;
	char dir[16];
	bool quiet;
};

static const struct pp_conf_key keys[] = {
	{ "memory", 'm', PP_CONF_SIZE, offsetof(struct settings, memory), 1024, 1 << 30, NULL, "SIZE", "memory", false },
	{ "shard-count", 0, PP_CONF_NUMBER, offsetof(struct settings, shards), 1, 64, NULL, "N", "shards", false },
	{ "sync", 0, PP_CONF_CHOICE, offsetof(struct settings, sync), 0, 0, "lockfree|mutex", "WORD", "sync", false },
	{ "dir", 'd', PP_CONF_TEXT, offsetof(struct settings, dir), 0, 16, NULL, "DIR", "dir", false },
	{ "quiet", 'q', PP_CONF_FLAG, offsetof(struct settings, quiet), 0, 0, NULL, NULL, "quiet", false },
	{ "config", 'c', PP_CONF_TEXT, offsetof(struct settings, dir), 0, 16, NULL, "FILE", "file", true },
	{ .name = NULL },
};

Test(conf, sizes)
{
	uint64_t v;

	cr_assert_eq(pp_conf_size("0", &v), 0);
	cr_assert_eq(v, 0u);
	cr_assert_eq(pp_conf_size("64", &v), 0);
	cr_assert_eq(v, 64u);
	cr_assert_eq(pp_conf_size("16K", &v), 0);
	cr_assert_eq(v, 16384u);
	cr_assert_eq(pp_conf_size("2MiB", &v), 0);
	cr_assert_eq(v, UINT64_C(2) << 20);
	cr_assert_eq(pp_conf_size("3g", &v), 0);
	cr_assert_eq(v, UINT64_C(3) << 30);
	cr_assert_eq(pp_conf_size("16777215T", &v), 0);
	static const char *const bad[] = { "", "K", "-1", "1.5G", "1X", "1KK", "1 K", "0x10", "16777216T", "99999999999999999999",
		"123456789012345678901234567890" };
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert_eq(pp_conf_size(bad[i], &v), -EINVAL, "'%s' was taken as %llu", bad[i], (unsigned long long)v);
}

static int read_text(const char *text, struct settings *s)
{
	char path[] = "/tmp/ppdb-conf-XXXXXX";
	int fd = mkstemp(path), rc;

	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	memset(s, 0, sizeof(*s));
	rc = pp_conf_file(keys, s, path, "ppdbd");
	unlink(path);
	return rc;
}

Test(conf, file)
{
	struct settings s;

	cr_assert_eq(read_text("# c\n; c\n\nmemory = 4M\n[other]\nanything = 1\n[ppdbd]\nshard_count=8\n  sync =  mutex \n"
		"dir = \"a b\"\nquiet = on", &s), 0, "%s", pp_detail_get());
	cr_assert_eq(s.memory, UINT64_C(4) << 20);
	cr_assert_eq(s.shards, 8u);
	cr_assert_eq(s.sync, 1u);
	cr_assert_str_eq(s.dir, "a b");
	cr_assert(s.quiet);
}

static void refused(const char *text, const char *place, const char *says)
{
	struct settings s;

	cr_assert_eq(read_text(text, &s), -EINVAL, "'%s' was taken", text);
	cr_assert_neq(strstr(pp_detail_get(), place), NULL, "no place '%s' in: %s", place, pp_detail_get());
	cr_assert_neq(strstr(pp_detail_get(), says), NULL, "no '%s' in: %s", says, pp_detail_get());
}

Test(conf, refused_with_place)
{
	refused("memory = 4M\nmemmory = 1\n", ":2:", "memmory");
	refused("memory = 12Q\n", ":1:", "12Q");
	refused("memory = 100\n", ":1:", "1024 to");
	refused("memory = 2G\n", ":1:", "memory");
	refused("\n\nshard-count = 65", ":3:", "65");
	refused("shard-count = -1", ":1:", "-1");
	refused("sync = spin", ":1:", "lockfree|mutex");
	refused("sync = ", ":1:", "sync");
	refused("quiet = maybe", ":1:", "maybe");
	refused("dir = 0123456789abcdef", ":1:", "15 bytes");
	refused("just words", ":1:", "key = value");
	refused("[ppdbd", ":1:", "[ppdbd]");
	refused("config = x", ":1:", "command line");
}

Test(conf, missing_file)
{
	struct settings s;

	cr_assert_eq(pp_conf_file(keys, &s, "/nonexistent/ppdb.conf", "ppdbd"), -ENOENT);
	cr_assert_neq(strstr(pp_detail_get(), "/nonexistent/ppdb.conf"), NULL);
}

Test(conf, options)
{
	struct settings s = { .quiet = true };
	char *argv[] = { "x", "--memory", "1M", "--shard_count=3", "-dabc", "--no-quiet", "--", "word", NULL };
	int rest;

	cr_assert_eq(pp_conf_args(keys, &s, 8, argv, &rest), 0, "%s", pp_detail_get());
	cr_assert_eq(rest, 7);
	cr_assert_eq(s.memory, UINT64_C(1) << 20);
	cr_assert_eq(s.shards, 3u);
	cr_assert_str_eq(s.dir, "abc");
	cr_assert_not(s.quiet);
	char *bad[][4] = { { "x", "--memmory", "1M", NULL }, { "x", "--memory", NULL }, { "x", "-z", NULL },
		{ "x", "--no-memory", NULL }, { "x", "--memory=", NULL }, { "x", "--sync", "none", NULL } };
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int n = 0;

		while (bad[i][n])
			n++;
		cr_assert_eq(pp_conf_args(keys, &s, n, bad[i], &rest), -EINVAL, "%s %s", bad[i][1], bad[i][2] ? bad[i][2] : "");
		cr_assert_neq(strstr(pp_detail_get(), bad[i][1][1] == '-' && i ? "--" : "-"), NULL, "%s", pp_detail_get());
	}
}

/* ---- paths */

Test(paths, names)
{
	cr_assert(pp_paths_name_ok("a"));
	cr_assert(pp_paths_name_ok("A.b_c-9"));
	static const char *const bad[] = { "", ".", "..", ".a", "a/b", "a b", "a\n",
		"0123456789012345678901234567890123456789012345678901234567890123" };
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert_not(pp_paths_name_ok(bad[i]), "'%s'", bad[i]);
}

Test(paths, of_a_name)
{
	struct pp_paths p;

	cr_assert_eq(pp_paths_fill("db1", &p), 0, "%s", pp_detail_get());
	cr_assert_neq(strstr(p.data, "/ppdb/db1"), NULL, "%s", p.data);
	cr_assert_neq(strstr(p.socket, "db1.sock"), NULL, "%s", p.socket);
	cr_assert_neq(strstr(p.arena, "db1.arena"), NULL, "%s", p.arena);
	if (geteuid() == 0) {
		cr_assert_str_eq(p.data, "/var/lib/ppdb/db1");
		cr_assert_str_eq(p.socket, "/run/ppdb/db1.sock");
		cr_assert_str_eq(p.arena, "/dev/shm/ppdb-0/db1.arena");
	}
	cr_assert_eq(pp_paths_fill("a/b", &p), -EINVAL);
}

Test(paths, directories_of_others)
{
	char dir[] = "/tmp/ppdb-paths-XXXXXX", path[64];

	cr_assert_neq(mkdtemp(dir), NULL);
	snprintf(path, sizeof(path), "%s/a/b/c", dir);
	cr_assert_eq(pp_paths_mkdir(path, 0700), 0, "%s", pp_detail_get());
	cr_assert_eq(pp_paths_mkdir(path, 0700), 0, "twice: %s", pp_detail_get());
	cr_assert_eq(chmod(path, 0777), 0);
	cr_assert_eq(pp_paths_mkdir(path, 0700), -EPERM);
	if (geteuid() == 0) {
		cr_assert_eq(chmod(path, 0700), 0);
		cr_assert_eq(chown(path, 12345, 12345), 0);
		cr_assert_eq(pp_paths_mkdir(path, 0700), -EPERM);
		cr_assert_neq(strstr(pp_detail_get(), "12345"), NULL);
	}
	snprintf(path, sizeof(path), "rm -r %s", dir);
	cr_assert_eq(system(path), 0);
}

/* ---- data directory */

static char store_dir[] = "/tmp/ppdb-store-XXXXXX";

static void make_dir(void)
{
	cr_assert_neq(mkdtemp(store_dir), NULL);
}

static void remove_dir(void)
{
	char cmd[64];

	snprintf(cmd, sizeof(cmd), "rm -r %s", store_dir);
	cr_assert_eq(system(cmd), 0);
}

static void in_dir(char *path, size_t cap, const char *name)
{
	snprintf(path, cap, "%s/%s", store_dir, name);
}

Test(store_dir, identity, .init = make_dir, .fini = remove_dir)
{
	uint64_t a = 0, b = 0;
	char path[64];
	int fd;

	cr_assert_eq(pp_store_open(store_dir, false, &a), -ENOENT);
	cr_assert_eq(pp_store_open(store_dir, true, &a), 0, "%s", pp_detail_get());
	cr_assert_neq(a, 0u);
	cr_assert_eq(pp_store_open(store_dir, false, &b), 0, "%s", pp_detail_get());
	cr_assert_eq(a, b);
	/* every byte counts */
	in_dir(path, sizeof(path), "STORE");
	fd = open(path, O_RDWR);
	for (off_t i = 0; i < lseek(fd, 0, SEEK_END); i++) {
		char c, d;

		cr_assert_eq(pread(fd, &c, 1, i), 1);
		d = (char)(c ^ 1);
		cr_assert_eq(pwrite(fd, &d, 1, i), 1);
		int rc = pp_store_open(store_dir, true, &b);
		cr_assert(rc == PPDB_CORRUPT || rc == PPDB_LAYOUT, "byte %ld: %d", (long)i, rc);
		cr_assert_neq(strstr(pp_detail_get(), "STORE"), NULL);
		cr_assert_eq(pwrite(fd, &c, 1, i), 1);
	}
	cr_assert_eq(ftruncate(fd, 10), 0);
	cr_assert_eq(pp_store_open(store_dir, true, &b), PPDB_CORRUPT);
	close(fd);
}

Test(store_dir, lock, .init = make_dir, .fini = remove_dir)
{
	char path[64], pid[24];
	int a, b;

	in_dir(path, sizeof(path), "LOCK");
	cr_assert_eq(pp_store_lock(path, 0, &a), 0, "%s", pp_detail_get());
	cr_assert_eq(pp_store_lock(path, 30, &b), -EBUSY);
	snprintf(pid, sizeof(pid), "pid %ld", (long)getpid());
	cr_assert_neq(strstr(pp_detail_get(), pid), NULL, "%s", pp_detail_get());
	close(a);
	cr_assert_eq(pp_store_lock(path, 0, &b), 0, "%s", pp_detail_get());
	close(b);
}
