/*
 * ppdb behind the driver interface, through the installed header alone.
 *
 * Reads: a LATEST view and one iterator a session, values read in place (ppdb_view_get); the view
 * is refreshed now and then as a long-running program would do. Visible put: PPDB_ASYNC. Durable
 * put: no options, which is the default. Load: visible puts, and ppdb_sync at the end. The daemon
 * is started by the coordinator in the contestant's own directory.
 */
#include "bench/bench.h"
#include "bench/daemon.h"
#include "client/ppdb.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { REFRESH_EVERY = 4096, RETRY_LIMIT_S = 30 };

static struct daemon_run runs[2];	/* the main store and the one for recovery */

struct session {
	ppdb *db;
	enum mode mode;
	ppdb_view *view;
	ppdb_iter *iter;
	ppdb_wopts wopts;
	const ppdb_wopts *how;
	unsigned gets;
};

static int fail(const char *what, int rc)
{
	return bench_fail("ppdb: %s: %s: %s", what, ppdb_errname(rc), ppdb_errdetail());
}

static const char *version(void)
{
	static char text[32];
	uint32_t v = ppdb_version();

	snprintf(text, sizeof text, "%u.%u.%u", v >> 16, v >> 8 & 255, v & 255);
	return text;
}

static struct daemon_run *run_of(const struct place *p)
{
	return &runs[p->recover_keys ? 1 : 0];
}

static int setup(struct place *p)
{
	if (mkdir(p->dir, 0700))
		return bench_fail("mkdir %s: %m", p->dir);
	if (daemon_start(p, run_of(p)))
		return -1;
	daemon_arena(p, run_of(p));
	return 0;
}

static void teardown(struct place *p)
{
	daemon_stop(run_of(p));
	if (run_of(p)->arena[0])
		unlink(run_of(p)->arena);
}

static int open_db(struct place *p, enum mode mode, void **handle)
{
	ppdb_attach_opts opts = { .size = sizeof opts };
	ppdb *db;
	int rc;

	opts.timeout_ms = 10000;
	opts.client_name = "bench";
	if (p->populate && mode != MODE_DURABLE)
		opts.flags |= PPDB_POPULATE;
	rc = ppdb_attach(p->name, &opts, &db);
	if (rc)
		return fail("attach", rc);
	*handle = db;
	return 0;
}

static void close_db(void *handle)
{
	ppdb_detach(handle);
}

static void end(void *session)
{
	struct session *s = session;

	if (s->iter)
		ppdb_iter_close(s->iter);
	if (s->view)
		ppdb_view_end(s->view);
	if (s->mode == MODE_LOAD)
		ppdb_sync(s->db, RETRY_LIMIT_S * 1000000000ll);
	free(s);
}

static int begin(void *handle, enum mode mode, void **session)
{
	struct session *s = calloc(1, sizeof *s);
	int rc = 0;

	if (!s)
		return bench_fail("out of memory");
	s->db = handle;
	s->mode = mode;
	s->wopts.size = sizeof s->wopts;
	s->wopts.flags = PPDB_ASYNC;
	s->how = mode == MODE_DURABLE ? NULL : &s->wopts;
	if (mode == MODE_READ) {
		rc = ppdb_view_begin(s->db, PPDB_VIEW_LATEST, &s->view);
		if (!rc)
			rc = ppdb_iter_open(s->view, PPDB_TABLE_DEFAULT, NULL, &s->iter);
	}
	if (rc) {
		end(s);
		return fail("view", rc);
	}
	*session = s;
	return 0;
}

static int refresh(struct session *s)
{
	int rc = ppdb_view_refresh(s->view);

	s->gets = 0;
	return rc ? fail("view refresh", rc) : 0;
}

static int get(void *session, struct slice key, struct slice *value)
{
	struct session *s = session;
	ppdb_slice k = { key.data, key.size };
	ppdb_item item;
	int rc;

	if (++s->gets == REFRESH_EVERY && refresh(s))
		return -1;
	rc = ppdb_view_get(s->view, PPDB_TABLE_DEFAULT, k, &item);
	if (rc)
		return fail("get", rc);
	*value = (struct slice){ item.value.data, item.value.size };
	return 0;
}

static int get_many(void *session, const struct slice *keys, int count, struct slice *values)
{
	struct session *s = session;
	ppdb_slice k[GET_MANY] = { { NULL, 0 } };
	ppdb_item item[GET_MANY];
	int rcs[GET_MANY], rc;

	for (int i = 0; i < count; i++)
		k[i] = (ppdb_slice){ keys[i].data, keys[i].size };
	rc = ppdb_get_many(s->db, PPDB_TABLE_DEFAULT, k, (size_t)count, s->view, item, rcs);
	for (int i = 0; i < count; i++) {
		if (rc || rcs[i])
			return fail("get_many", rc ? rc : rcs[i]);
		values[i] = (struct slice){ item[i].value.data, item[i].value.size };
	}
	return 0;
}

/* OVERLOAD means that nothing happened and a retry is due; its time counts, as for users. */
static int put(void *session, struct slice key, struct slice value)
{
	struct session *s = session;
	ppdb_slice k = { key.data, key.size }, v = { value.data, value.size };
	int rc = ppdb_put(s->db, PPDB_TABLE_DEFAULT, k, v, s->how, NULL);

	if (__builtin_expect(rc == PPDB_OVERLOAD, 0)) {
		uint64_t limit = pp_clock_ns() + RETRY_LIMIT_S * 1000000000ull;

		while (rc == PPDB_OVERLOAD && pp_clock_ns() < limit)
			rc = ppdb_put(s->db, PPDB_TABLE_DEFAULT, k, v, s->how, NULL);
	}
	return rc ? fail("put", rc) : 0;
}

static int finish(void *session)
{
	(void)session;
	return 0;
}

static int scan(void *session, const struct slice *from, uint64_t limit, struct scan *out)
{
	struct session *s = session;
	ppdb_item item;
	int rc;

	if (from)
		rc = ppdb_iter_seek(s->iter, (ppdb_slice){ from->data, from->size }, &item);
	else
		rc = ppdb_iter_first(s->iter, &item);
	while (!rc) {
		scan_entry(out, item.key.data, item.key.size, item.value.data, item.value.size);
		if (!--limit)
			return 0;
		rc = ppdb_iter_next(s->iter, &item);
	}
	return rc == PPDB_NOTFOUND ? 0 : fail("iterator", rc);
}

static uint64_t private_bytes(pid_t pid)
{
	char path[64], line[256];
	unsigned long long kib = 0;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof line, f))
		if (sscanf(line, "RssAnon: %llu", &kib) == 1)
			break;
	if (f)
		fclose(f);
	return kib * 1024;
}

/* The keeper brings the keys into order and gives back what that needed: until it says so, and the arena has stood still. */
static int settle(struct place *p)
{
	enum { LIMIT_S = 180, STILL = 2 };
	uint64_t limit = pp_clock_ns() + LIMIT_S * 1000000000ull;
	char json[65536];
	int still = 0;
	blkcnt_t before = 0;
	struct stat st;

	do {
		usleep(250000);
		if (daemon_ask(p, "stat", json, sizeof json) || stat(run_of(p)->arena, &st))
			return -1;
		still = strstr(json, "\"gathering\": true") || st.st_blocks != before ? 0 : still + 1;
		before = st.st_blocks;
	} while (still < STILL && pp_clock_ns() < limit);
	return 0;
}

/* Everything: each page that the region's file holds, and the daemon's own memory. */
static int memory(struct place *p, void *handle, struct memory_use *out)
{
	const struct daemon_run *d = run_of(p);
	struct stat st;

	(void)handle;
	if (!d->arena[0] || stat(d->arena, &st))
		return bench_fail("ppdb: `status --json` names no arena file to measure");
	out->bytes = (uint64_t)st.st_blocks * 512 + private_bytes(d->pid);
	snprintf(out->what, sizeof out->what, "committed pages of the arena + daemon's own");
	return 0;
}

static int crash(struct place *p)
{
	daemon_kill(run_of(p));
	if (!run_of(p)->arena[0] || unlink(run_of(p)->arena))
		return bench_fail("ppdb: cannot remove the arena %s: %m", run_of(p)->arena);
	return 0;
}

static int recover(struct place *p)
{
	return daemon_start(p, run_of(p));
}

static int describe(struct place *p, char *json, size_t cap)
{
	return daemon_ask(p, "stat", json, cap);
}

const struct driver driver_ppdb = {
	.name = "ppdb", .version = version, .setup = setup, .teardown = teardown,
	.open = open_db, .close = close_db, .begin = begin, .finish = finish, .end = end,
	.get = get, .get_many = get_many, .put = put, .scan = scan, .settle = settle, .memory = memory,
	.crash = crash, .recover = recover, .describe = describe,
};
