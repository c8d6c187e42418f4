/*
 * metrics.c - what monitoring sees of a store: checkpoints, and `ppdb stat --prometheus` against what happened, with a daemon and without.
 */
#include "tests/lib/scrape.h"
#include "tests/lib/store.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(metrics, .fini = test_stores_end, .timeout = 300);

static struct test_store s;
static char text[1 << 20];

/* A series of this store; `labels` begins with a comma, or is "". */
static const char *series(const char *name, const char *labels)
{
	static char out[400];

	snprintf(out, sizeof(out), "ppdb_%s{store=\"%s\"%s}", name, s.socket, labels);
	return out;
}

static void look(void)
{
	char command[200];

	snprintf(command, sizeof(command), "stat --prometheus --arena %s", s.arena);
	test_require(!test_store_command(&s, command, text, sizeof(text)), "ppdb stat --prometheus: %s", text);
	test_promtool_accepts(text);
}

static double value(const char *name, const char *labels)
{
	return test_value(text, series(name, labels));
}

/* On a busy machine a daemon may be slow to answer. */
static void look_at_it_up(void)
{
	do
		look();
	while (value("up", "") != 1);
}

static void write_bytes(ppdb *db, size_t bytes)
{
	static char data[64 << 10];
	char key[32];

	for (size_t i = 0; i < bytes / sizeof(data); i++) {
		snprintf(key, sizeof(key), "key-%zu", i % 64);
		test_ok(ppdb_put(db, 0, (ppdb_slice){key, strlen(key)}, (ppdb_slice){data, sizeof(data)}, NULL, NULL));
	}
}

Test(metrics, stat_tells_of_checkpoints)
{
	ppdb *db;

	test_begin(120);
	test_store_start(&s, "--memory 128M --wal-segment 1M --checkpoint-bytes 8M");
	db = test_store_attach(&s, 0);
	write_bytes(db, 1 << 20);
	while (test_store_number(&s, "stat", "checkpoint_behind_bytes") < 1 << 20) /* each 100 ms */
		test_sleep_ms(20);
	test_require(!test_store_number(&s, "stat", "checkpoint_ms"), "a checkpoint without need");
	test_require(test_store_number(&s, "stat", "checkpoint_due_bytes") == 8 << 20, "due at another size");
	test_require(test_store_number(&s, "stat", "disk_bytes") % (1 << 20) == 0 && test_store_number(&s, "stat", "disk_bytes"),
		"the log's files have a size");
	look();
	test_require(!test_samples(text, "ppdb_checkpoint_timestamp_seconds{"), "a checkpoint without need");
	write_bytes(db, 8 << 20);
	while (!test_store_number(&s, "stat", "checkpoint_ms"))
		test_sleep_ms(20);
	while (test_store_number(&s, "stat", "checkpoint_behind_bytes") > 4 << 20)
		test_sleep_ms(20);
	test_require(!test_store_number(&s, "stat", "checkpoint_error"), "the checkpoint failed");
	look();
	test_require(value("checkpoint_timestamp_seconds", "") > 1.7e9 && value("checkpoint_failed", "") == 0, "%s", text);
	test_ok(ppdb_detach(db));
	test_store_stop(&s);
}

/* Operations, histograms, shards: the numbers are those of what was done. */
Test(metrics, numbers_are_right)
{
	double before = 0, now, last = 0;
	char labels[80], got[64];
	uint64_t keys = 0;
	ppdb *db;

	test_begin(120);
	test_store_start(&s, "--memory 128M --shards 3");
	db = test_store_attach(&s, 0);
	for (unsigned i = 0; i < 640; i++) {
		snprintf(got, sizeof(got), "key-%u", i);
		test_ok(ppdb_put(db, 0, (ppdb_slice){got, strlen(got)}, PPDB_S("v"),
			&(ppdb_wopts){.size = sizeof(ppdb_wopts), .flags = PPDB_ASYNC}, NULL));
	}
	for (unsigned i = 0; i < 6400; i++)
		test_ok(ppdb_get(db, 0, PPDB_S("key-1"), got, sizeof(got), NULL));
	test_ok(ppdb_sync(db, -1));
	do
		look_at_it_up();
	while (!value("log_records_total", "")); /* each 100 ms */
	test_require(value("starting", "") == 0 && value("incarnation", "") == 1, "%s", text);
	test_require(value("operations_total", ",op=\"put\"") == 640, "%g puts", value("operations_total", ",op=\"put\""));
	test_require(value("operations_total", ",op=\"get\"") >= 6400, "%g gets", value("operations_total", ",op=\"get\""));
	now = value("operation_duration_seconds_count", ",op=\"put\"");
	test_require(now == 640 / 32, "%g puts were timed", now);
	now = value("write_phase_duration_seconds_count", ",phase=\"install\"");
	test_require(now >= 640 / 32, "%g writes were timed", now);
	now = value("commit_records_sum", "");
	test_require(now > 640 * 0.7 && now < 640 * 1.3, "%g records", now); /* by the middle of buckets */
	test_require(value("log_write_duration_seconds_count", "") > 0 && value("commit_bytes_sum", "") > 640, "%s", text);
	for (const char *at = text; (at = strstr(at, "ppdb_operation_duration_seconds_bucket{")); at++) {
		const char *line = strstr(at, "op=\"get\""), *le = line ? strstr(line, "le=\"") : NULL;

		if (!le || line > strchr(at, '\n'))
			continue;
		now = strtod(strchr(le, '}') + 1, NULL);
		test_require(now >= last, "a bucket of %g after one of %g", now, last);
		test_require(strtod(le + 4, NULL) > before, "bounds do not rise");
		before = strtod(le + 4, NULL);
		last = now;
	}
	test_require(last == value("operation_duration_seconds_count", ",op=\"get\"") && last >= 6400 / 256, "%g gets in buckets", last);
	for (unsigned i = 0; i < 3; i++) {
		snprintf(labels, sizeof(labels), ",shard=\"%u\"", i);
		keys += (uint64_t)value("shard_keys", labels);
	}
	test_require(keys == 640 && test_samples(text, "ppdb_shard_keys{") == 3, "%llu keys", (unsigned long long)keys);
	test_require(value("durable_epoch", "") >= 1 && value("log_disk_bytes", "") > 0, "%s", text);
	test_require(value("memory_limit_bytes", "") >= 128 << 20 && value("memory_backed_bytes", "") < value("memory_limit_bytes", ""), "%s", text);
	test_ok(ppdb_detach(db));
	test_store_stop(&s);
}

/* As many tables and client names as somebody likes make no more series than the limit, names of any bytes included. */
Test(metrics, names_are_bounded)
{
	ppdb_attach_opts as = {.size = sizeof(as)};
	ppdb *db, *other[60];
	ppdb_table table;
	char name[40];

	test_begin(240);
	test_store_start(&s, "--memory 128M");
	db = test_store_attach(&s, 0);
	for (unsigned i = 0; i < 70; i++) {
		snprintf(name, sizeof(name), i ? "t%u" : "odd \"\\\n\xff\xc3\xa4", i);
		test_ok(ppdb_table_open(db, name, &(ppdb_table_opts){.size = sizeof(ppdb_table_opts), .flags = PPDB_CREATE, .quota_bytes = i ? 0 : 1 << 20}, &table));
		test_ok(ppdb_put(db, table, PPDB_S("k"), i ? PPDB_S("v") : PPDB_S("longest"), NULL, NULL));
	}
	as.client_name = name;
	for (unsigned i = 0; i < 60; i++) {
		snprintf(name, sizeof(name), "client-%u", i);
		test_ok(ppdb_attach(s.socket, &as, &other[i]));
	}
	look_at_it_up();
	test_require(test_samples(text, "ppdb_table_keys{") == 51 && value("tables", "") == 70, "%s", text);
	test_require(value("table_keys", ",table=\"odd \\\"\\\\\\\\\\\\n\\\\xff\xc3\xa4\"") == 1, "%s", text);
	test_require(test_samples(text, "ppdb_table_quota_bytes{") == 1, "%s", text);
	test_require(value("table_keys", ",table=\"(other)\"") == 20 && value("table_used_bytes", ",table=\"(other)\"") == 40, "%s", text);
	test_require(test_samples(text, "ppdb_clients{") == 51 && value("clients", ",client=\"(other)\",access=\"rw\"") == 11, "%s", text);
	for (unsigned i = 0; i < 60; i++)
		test_ok(ppdb_detach(other[i]));
	test_ok(ppdb_detach(db));
	test_store_stop(&s);
}

static void hold_snapshot(void *arg)
{
	_Atomic int *there = arg;
	ppdb *db;
	ppdb_view *view;
	ppdb_attach_opts as = {.size = sizeof(as), .client_name = "holder"};

	test_ok(ppdb_attach(s.socket, &as, &db));
	test_ok(ppdb_put(db, 0, PPDB_S("k"), PPDB_S("v"), NULL, NULL));
	test_ok(ppdb_view_begin(db, PPDB_VIEW_SNAPSHOT, &view));
	*there = 1;
	for (;;)
		pause();
}

/* Who is stopped, and for how long a snapshot has been held. */
Test(metrics, clients_that_hold)
{
	_Atomic int *there;
	ppdb *db;
	pid_t pid;

	test_begin(120);
	there = test_shared(sizeof(*there));
	test_store_start(&s, "--memory 64M");
	pid = test_spawn(hold_snapshot, (void *)there);
	while (!*there)
		test_sleep_ms(5);
	look_at_it_up();
	test_require(value("clients", ",client=\"holder\",access=\"rw\"") == 1 && value("stopped_clients", "") == 0, "%s", text);
	kill(pid, SIGSTOP);
	db = test_store_attach(&s, 0);
	do {
		test_ok(ppdb_put(db, 0, PPDB_S("k"), PPDB_S("w"), NULL, NULL));
		test_sleep_ms(50);
		look();
	} while (value("stopped_clients", "") != 1 || value("client_snapshot_age_seconds", ",client=\"holder\",access=\"rw\"") < 0.3);
	test_require(value("client_pinned_bytes", ",client=\"holder\",access=\"rw\"") > 0, "%s", text);
	test_kill(pid);
	do {
		test_sleep_ms(50);
		look();
	} while (test_samples(text, "ppdb_clients{") > 1 || value("dead_clients", ""));
	test_ok(ppdb_detach(db));
	test_store_stop(&s);
}

/* `ppdb stat` and `ppdb clients` look at what a daemon left; exit 3 when there is nothing. */
static void commands_look_too(bool there)
{
	static const char *const commands[] = {"stat", "stat --json", "clients", "clients --json"};
	char line[256];

	for (unsigned i = 0; i < 4; i++) {
		int rc;

		snprintf(line, sizeof(line), "%s --arena %s", commands[i], s.arena);
		rc = test_store_command(&s, line, text, sizeof(text));
		test_require(rc == (there ? 0 : 3), "%s: %d, %s", line, rc, text);
		test_require(!there || i > 1 || strstr(text, "no answer"), "%s: %s", line, text);
		test_require(!there || i < 2 || strstr(text, "writer"), "%s: %s", line, text);
	}
}

/* Stopped, dead, and gone altogether: always an answer, and exit code 0. */
Test(metrics, without_a_daemon)
{
	ppdb_attach_opts as = {.size = sizeof(as), .client_name = "writer"};
	ppdb *db;

	test_begin(120);
	test_store_start(&s, "--memory 64M");
	test_ok(ppdb_attach(s.socket, &as, &db));
	test_ok(ppdb_put(db, 0, PPDB_S("k"), PPDB_S("v"), NULL, NULL));
	kill(s.daemon, SIGSTOP);
	do {
		test_sleep_ms(50);
		look();
	} while (value("daemon_heartbeat_age_seconds", "") < 0.5);
	test_require(value("up", "") == 0 && value("operations_total", ",op=\"put\"") == 1, "%s", text);
	commands_look_too(true);
	kill(s.daemon, SIGCONT);
	test_store_kill(&s);
	commands_look_too(true);
	look();
	test_require(value("up", "") == 0 && value("operations_total", ",op=\"put\"") == 1 && value("shard_keys", ",shard=\"1\"") == 1, "%s", text);
	test_require(!test_samples(text, "ppdb_table_keys{") && !test_samples(text, "ppdb_dead_clients{"), "what cannot be told is left out");
	unlink(s.arena);
	commands_look_too(false);
	look();
	test_require(value("up", "") == 0 && test_samples(text, "ppdb_") == 2, "%s", text);
	test_store_restart(&s);
	look_at_it_up();
	test_ok(ppdb_detach(db));
	test_store_stop(&s);
}
