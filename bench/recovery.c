/*
 * The recovery workload: load a fresh store, SIGKILL what serves it, take its memory away, and time
 * from start until it is usable again; then every record is checked.
 *
 * ppdb: the daemon is killed and the arena's file removed, so that the log alone is left
 * (checkpoints are off for this store); usable = READY=1. RocksDB: its process is killed; usable =
 * open returns. LMDB has no recovery to time: its file is its memory.
 */
#include "bench/runs.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* RocksDB replays so slowly that more would only make everybody wait. */
enum { ROCKSDB_KEYS_MAX = 1000000 };

struct trial {
	struct bench *bench;
	const struct driver *driver;
	struct place place;
	struct keyspace space;
	struct team *team;
};

static int fill(struct trial *t)
{
	struct command c = { .kind = KIND_LOAD, .mode = MODE_LOAD, .workers = 1, .seed = 1,
			     .ops_max = t->place.keys, .duration_ns = UINT64_MAX / 4,
			     .sample_every = 64 };
	struct result *results;

	t->team = team_start(t->driver, &t->place, &t->space, MODE_LOAD, 1);
	return t->team ? team_run(t->team, &c, &results) : -1;
}

static int check(struct trial *t)
{
	struct command c = { .kind = KIND_VERIFY, .mode = MODE_READ, .workers = 1, .seed = 1,
			     .ops_max = 1, .duration_ns = UINT64_MAX / 4, .sample_every = 1 };
	struct result *r;

	if (!t->team)
		t->team = team_start(t->driver, &t->place, &t->space, MODE_READ, 1);
	if (!t->team || team_run(t->team, &c, &r))
		return -1;
	if (r->ops != t->place.keys || r->wrong)
		return bench_fail("%llu records after recovery, %llu wrong, %llu expected",
				  (unsigned long long)r->ops, (unsigned long long)r->wrong,
				  (unsigned long long)t->place.keys);
	return 0;
}

static int crash_and_recover(struct trial *t, double *seconds)
{
	uint64_t from;
	int rc;

	team_kill(t->team);
	t->team = NULL;
	if (t->driver->crash && t->driver->crash(&t->place))
		return -1;
	disk_settle(t->place.dir);
	from = pp_clock_ns();
	if (t->driver->recover) {
		rc = t->driver->recover(&t->place);
	} else {
		t->team = team_start(t->driver, &t->place, &t->space, MODE_READ, 1);
		rc = t->team ? 0 : -1;
	}
	*seconds = (double)(pp_clock_ns() - from) / 1e9;
	return rc;
}

static int trial_run(struct trial *t, double *rate)
{
	double seconds = 0;
	int rc = t->driver->setup(&t->place);

	if (!rc)
		rc = fill(t);
	if (!rc)
		rc = crash_and_recover(t, &seconds);
	if (!rc)
		rc = check(t);
	*rate = rc ? NAN : (double)t->place.keys / seconds;
	if (t->team)
		team_kill(t->team);
	t->driver->teardown(&t->place);
	return rc;
}

static void trial_init(struct trial *t, struct bench *b, const struct contestant *c)
{
	uint64_t keys = b->options.recover_keys;

	if (c->driver == &driver_rocksdb && keys > ROCKSDB_KEYS_MAX)
		keys = ROCKSDB_KEYS_MAX;
	*t = (struct trial){ .bench = b, .driver = c->driver, .place = c->place };
	text_format(t->place.dir, "%s/recover-%s", b->options.dir, c->driver->name);
	text_format(t->place.name, "%.48s-r", c->place.name);
	t->place.keys = t->place.recover_keys = keys;
	t->place.keep_log = true;
	t->place.populate = false;
	keyspace_init(&t->space, keys, b->options.value_bytes);
}

void recovery_run(struct bench *b)
{
	struct row *row = row_new(b, "recovery", 1, "records/s");

	row->floor_value = 1e6;
	for (int i = 0; i < b->count && !bench_interrupted; i++) {
		const struct contestant *c = &b->contestants[i];
		struct cell *cell = &row->cell[i];
		struct trial t;

		if (!c->driver->recover && !c->driver->threads)
			continue;
		trial_init(&t, b, c);
		if (trial_run(&t, &cell->samples[cell->rounds++])) {
			problem(b, "%s: %s", c->driver->name, bench_failure());
			text_format(cell->note, "%s", bench_failure());
		} else {
			text_format(cell->note, "%llu records", (unsigned long long)t.place.keys);
		}
	}
	report_row_line(&b->report, row);
}
