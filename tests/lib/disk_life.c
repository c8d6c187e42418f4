/*
 * disk_life.c - one life of log and checkpoints on a simulated disk (contract: disk_life.h).
 *
 * Work is what the keeper does, in any order: records into the open epoch, ends of epochs, submits, polls, markers, segments made
 * ahead; a checkpoint in three steps, since its commit waits until its snapshot is durable, and the release comes after.
 * The call of the disk in which the power fails is chosen before each start, so it may lie anywhere, in the start itself too.
 */
#include "tests/lib/disk_life.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/disk_judge.h"

#define STEPS 300
#define RESTARTS 24
typedef unsigned long long ull;

#define WAYS 4                     /* in which the disk may come up after one cut */

#define TRACE(l, ...) \
	do \
		if ((l)->d->trace) \
			fprintf(stderr, "-- " __VA_ARGS__); \
	while (0)

static uint64_t dice(struct life *l, uint64_t n)
{
	return simdisk_random(&l->random) % n;
}

static bool wrong(struct life *l, const char *what)
{
	if (!l->why[0])
		snprintf(l->why, sizeof(l->why), "%s: %.300s", what, pp_detail_get());
	return false;
}

/* An error is only right when the disk gave reason for it. */
static bool excused(struct life *l, int rc, const char *what)
{
	if (rc >= 0 || l->d->dead)
		return true;
	if (l->o->kind == DISK_FAILING && (rc == -EIO || rc == -ENOSPC))
		return true;
	return wrong(l, what);
}

/* ---- records and epochs ---- */

static uint32_t draw_size(struct life *l)
{
	switch (dice(l, 12)) {
	case 0:
		return 0;
	case 1:
		return 1 + (uint32_t)dice(l, 3 * l->config.batch_bytes);
	case 2:
		return 1 + (uint32_t)dice(l, 5000);
	default:
		return 1 + (uint32_t)dice(l, 600);
	}
}

static bool put(struct life *l)
{
	const struct book_record *r;
	struct iovec parts[2];
	size_t size, cut;
	void *place = NULL;
	int rc = 0;

	if (l->book.count == BOOK_RECORDS)
		return true;
	r = book_put(&l->book, l->epoch, (uint32_t)dice(l, BOOK_KEYS), draw_size(l));
	size = book_bytes(&l->book, r, l->bytes);
	if (dice(l, 2))
		place = pp_wal_reserve(l->wal, l->epoch, size);
	if (place) {
		memcpy(place, l->bytes, size);
	} else {
		cut = dice(l, size + 1);
		parts[0] = (struct iovec){l->bytes, cut};
		parts[1] = (struct iovec){l->bytes + cut, size - cut};
		rc = pp_wal_append(l->wal, l->epoch, parts, 2);
	}
	l->counts->records++;
	/* Refused before a byte was taken: it never was. Any other failure ends the log's use, and this epoch with it. */
	if (rc == -ENOSPC && !l->d->dead && !log_failed(l)) {
		l->book.count--;
		l->book.numbers--;
		l->counts->full++;
	} else if (rc) {
		l->given_up = true;
	}
	return excused(l, rc, "a record was not taken");
}

static bool end_epoch(struct life *l)
{
	int rc;

	l->ended = l->epoch;
	rc = pp_wal_end_epoch(l->wal, l->epoch);
	l->epoch += 1 + dice(l, 8) / 7;
	l->counts->epochs++;
	if (rc == -ENOSPC && !l->d->dead && !log_failed(l))
		return wrong(l, "an epoch found no space for its end");
	return excused(l, rc, "an epoch did not end");
}

static bool poll(struct life *l)
{
	struct pp_wal_pos pos;
	int rc = pp_wal_poll(l->wal, dice(l, 2) ? 1000 : 0, &pos);

	if (pos.epoch < l->acked.epoch || pos.unit < l->acked.unit)
		return wrong(l, "the durable position went back");
	if (pos.epoch > l->ended)
		return wrong(l, "an epoch is durable that did not end");
	if (pos.unit != l->acked.unit)
		TRACE(l, "durable: epoch %llu, unit %llu\n", (ull)pos.epoch, (ull)pos.unit);
	l->acked = pos;
	return excused(l, rc, "a poll failed");
}

/* ---- checkpoint ---- */

static bool put_stream(struct life *l, unsigned stream, unsigned streams)
{
	const struct book_record *state[BOOK_KEYS];
	unsigned from = BOOK_KEYS * stream / streams, to = BOOK_KEYS * (stream + 1) / streams;
	char key[16];
	int rc = 0;

	book_state(&l->book, l->snapshot, state);
	for (unsigned k = from; k < to && !rc; k++) {
		struct pp_ckpt_record rec = {.table = 1, .key = key, .value = l->bytes, .flags = 3};

		if (!state[k])
			continue;
		rec.key_size = (uint32_t)snprintf(key, sizeof(key), "key%02u", k);
		rec.size = book_bytes(&l->book, state[k], l->bytes);
		rec.seq = state[k]->number;
		rec.tag = state[k]->epoch;
		rec.expires_ms = k % 3 ? 0 : state[k]->number;
		rc = pp_ckpt_put(l->ckpt, stream, &rec);
	}
	if (!rc)
		rc = pp_ckpt_end_stream(l->ckpt, stream);
	return excused(l, rc, "a checkpoint stream was not written");
}

static bool begin_checkpoint(struct life *l)
{
	unsigned streams = 1 + (unsigned)dice(l, 3);
	int rc;

	if (l->ended <= l->newest)
		return true;
	l->snapshot = l->ended;
	rc = pp_ckpt_begin(&l->d->disk, LIFE_CKPT, LIFE_STORE, l->snapshot, streams, &l->ckpt);
	if (!rc)
		rc = pp_ckpt_set_block_bytes(l->ckpt, PP_CKPT_BLOCK_MIN);
	for (unsigned s = 0; s < streams && !rc; s++)
		if (!put_stream(l, s, streams))
			return false;
	return excused(l, rc, "a checkpoint did not begin");
}

static bool release(struct life *l, uint64_t epoch)
{
	int rc = pp_wal_release(l->wal, epoch);

	l->release_due = false;
	l->counts->released += rc > 0 ? (uint64_t)rc : 0;
	return excused(l, rc, "segments were not released");
}

static bool commit_checkpoint(struct life *l)
{
	struct life_extras x = life_extras(l->snapshot);
	struct pp_ckpt_writer *w = l->ckpt;
	int rc;

	if (l->acked.epoch < l->snapshot)
		return true;
	if (l->o->release_early && !release(l, l->snapshot))
		return false;
	x.meta.max_tag = l->epoch;
	x.meta.lost = &x.lost;
	l->ckpt = NULL;
	rc = pp_ckpt_commit(w, x.floors, x.nfloors, &x.meta);
	if (!rc) {
		l->committed = l->newest = l->snapshot;
		l->release_due = true;
		l->counts->checkpoints++;
	}
	return excused(l, rc, "a checkpoint was not committed");
}

static bool checkpoint(struct life *l)
{
	if (l->release_due)
		return release(l, l->committed);
	return l->ckpt ? commit_checkpoint(l) : begin_checkpoint(l);
}

/* ---- work ---- */

static bool step(struct life *l)
{
	uint64_t what = dice(l, 100);
	bool ok = true;

	if (what < 40) {
		for (uint64_t n = 1 + dice(l, 6); n && ok && !l->d->dead && !l->given_up; n--)
			ok = put(l);
		return ok;
	}
	if (what < 57)
		return end_epoch(l);
	if (what < 71)
		return excused(l, pp_wal_submit(l->wal), "a submit failed");
	if (what < 85)
		return poll(l);
	if (what < 89)
		return excused(l, pp_wal_idle(l->wal), "a marker was not written");
	if (what < 93)
		return excused(l, pp_wal_prepare(l->wal), "no segment was made");
	if (what < 94)
		return excused(l, pp_wal_prepare_reserve(l->wal), "no reserve was made");
	if (what < 96)
		return release(l, l->committed);
	return checkpoint(l);
}

static bool work(struct life *l)
{
	for (uint64_t i = dice(l, 3) ? dice(l, STEPS) : 0; i < STEPS && !l->d->dead && !l->given_up && !log_failed(l); i++) {
		if (!step(l))
			return false;
		if (l->d->broken)
			return wrong(l, l->d->broken);
	}
	return true;
}

/* ---- start and end of a process ---- */

static uint64_t draw_die_at(struct life *l)
{
	static const uint64_t spans[] = {8, 30, 30, 100, 300};

	return l->d->counts.calls + 1 + dice(l, spans[dice(l, 5)]);
}

static void set_rules(struct life *l)
{
	struct simdisk_rules *r = &l->d->rules;

	*r = (struct simdisk_rules){
		.short_writes = 2000,
		.again = 1000,
		.late = dice(l, 2) ? 16384 : 300,
		.any_names = dice(l, 2),
		.ack_early = l->o->ack_early,
		.skip_dir_sync = l->o->skip_dir_sync,
		.skip_file_sync = l->o->skip_file_sync,
	};
	if (l->o->kind == DISK_FAILING && dice(l, 4)) {
		uint32_t chance = 100u << dice(l, 5);

		r->write_fails = dice(l, 3) ? chance : 0;
		r->sync_fails = dice(l, 3) ? chance : 0;
		r->name_fails = dice(l, 3) ? chance : 0;
		r->read_fails = dice(l, 3) ? 0 : chance;
		if (dice(l, 3) == 0)
			r->capacity = simdisk_used(l->d) + dice(l, 6 * l->config.segment_bytes);
	}
	if (l->o->kind == DISK_LYING && dice(l, 2)) {
		r->lost = dice(l, 2) ? 300u << dice(l, 4) : 0;
		r->misdirected = dice(l, 2) ? 300u << dice(l, 4) : 0;
	}
}

/* The log's writer of the next incarnation. */
static bool open_log(struct life *l, const struct seen *seen)
{
	int rc = pp_wal_open(&l->config, &seen->log, &l->wal);

	if (rc) {
		l->wal = NULL;
		return excused(l, rc, "the log did not open");
	}
	if (seen->log.next_generation <= l->generation)
		return wrong(l, "a generation came twice");
	l->generation = seen->log.next_generation;
	book_forget_above(&l->book, seen->log.last.epoch);
	l->acked = seen->log.last;
	l->ended = seen->log.last.epoch;
	l->newest = seen->snapshot;
	l->epoch = (seen->log.max_epoch_seen > seen->max_tag ? seen->log.max_epoch_seen : seen->max_tag) + 1 + dice(l, 2);
	l->opened = true;
	TRACE(l, "opened generation %llu after epoch %llu, unit %llu; the next epoch is %llu\n", (ull)l->generation,
	      (ull)l->acked.epoch, (ull)l->acked.unit, (ull)l->epoch);
	return true;
}

/* Recovers, judges, opens, works. The first start of all makes the directories, as the keeper does. */
static bool live(struct life *l)
{
	struct seen seen;
	int rc;

	l->opened = false;
	l->release_due = l->given_up = false;
	set_rules(l);
	l->d->die_at = draw_die_at(l);
	rc = pp_file_make_dir(&l->d->disk, LIFE_LOG, 0700);
	if (!rc)
		rc = pp_file_make_dir(&l->d->disk, LIFE_CKPT, 0700);
	if (rc)
		return excused(l, rc, "the directories were not made");
	if (!life_look(l, l->d, &seen))
		return false;
	if (l->warm && seen.verdict == LIFE_RIGHT && !life_look_warm(l, &seen))
		return false;
	l->over = seen.verdict == LIFE_REFUSED || seen.verdict == LIFE_UNPROVEN;
	if (seen.verdict != LIFE_RIGHT || l->d->dead)
		return true;
	if (!open_log(l, &seen))
		return false;
	return !l->wal || work(l);
}

/* A clean stop has to make all durable. */
static bool stop(struct life *l)
{
	int rc;

	if (l->ckpt)
		pp_ckpt_abort(l->ckpt);
	l->ckpt = NULL;
	if (!l->wal)
		return true;
	rc = pp_wal_close(l->wal);
	l->wal = NULL;
	if (!rc && !l->d->dead)
		l->acked = (struct pp_wal_pos){l->acked.unit, l->acked.chain, l->ended};
	return excused(l, rc, "the log did not close");
}

static bool drop_process(struct life *l, bool clean)
{
	bool died = l->d->dead;

	if (!clean)
		l->d->dead = true;
	if (died && !l->opened)
		l->counts->again++;
	if (!stop(l))
		return false;
	if (simdisk_open_files(l->d))
		return wrong(l, "a descriptor was left open");
	if (l->d->broken)
		return wrong(l, l->d->broken);
	return true;
}

static void maybe_flip(struct life *l, struct simdisk *d)
{
	if (l->o->kind != DISK_LYING || dice(l, 3))
		return;
	for (uint64_t n = 1 + dice(l, 3); n; n--)
		simdisk_flip(d, dice(l, 5) ? LIFE_LOG : LIFE_CKPT, simdisk_random(&l->random));
}

/* The disk comes up in several ways; life goes on with the last. */
static bool power_cut(struct life *l)
{
	l->counts->cuts++;
	for (int way = 0; way < WAYS; way++) {
		struct simdisk *after = simdisk_after_cut(l->d, simdisk_random(&l->random));
		struct seen seen;
		bool ok;

		maybe_flip(l, after);
		after->rules.read_fails = 0;
		if (way == WAYS - 1) {
			simdisk_free(l->d);
			l->d = after;
			l->config.disk = &after->disk;
			break;
		}
		ok = life_look(l, after, &seen);
		l->counts->flipped += after->counts.flipped - l->d->counts.flipped;
		simdisk_free(after);
		if (!ok)
			return false;
	}
	l->warm = false;
	return true;
}

static bool next_start(struct life *l)
{
	uint64_t how = dice(l, 100);
	bool clean = how >= 50 && !l->d->dead;

	if (!drop_process(l, clean))
		return false;
	l->counts->stops += clean;
	l->counts->kills += how < 30;
	TRACE(l, "%s\n", how < 30 ? "killed" : clean ? "stopped" : "power cut");
	if (how < 30 || (clean && how < 60)) {
		simdisk_kill(l->d);
		l->warm = how < 30 && l->opened;
		return true;
	}
	return power_cut(l);
}

/* ---- a life ---- */

static void begin(struct life *l)
{
	l->random = l->o->seed;
	l->d = simdisk_new(simdisk_random(&l->random), LIFE_DIR);
	l->d->trace = getenv("PPDB_DISK_TRACE");
	l->book.seed = simdisk_random(&l->random);
	l->epoch = 1;
	l->config = (struct pp_wal_config){
		.dir = LIFE_LOG,
		.store_id = LIFE_STORE,
		.segment_bytes = 16384u << dice(l, 3),
		.batch_bytes = 4096u << dice(l, 3),
		.depth = dice(l, 8) ? 1 + (unsigned)dice(l, 4) : 8,
		.spare_segments = 1 + (unsigned)dice(l, 2),
		.backend = PP_WAL_PWRITE_DSYNC,
		.disk = &l->d->disk,
	};
}

static void finish(struct life *l, struct disk_counts *counts)
{
	const struct simdisk_counts *c = &l->d->counts;

	if (l->wal || l->ckpt) {
		l->d->dead = true;
		(void)stop(l);
	}
	counts->lives++;
	counts->effects += c->cut_effects;
	counts->torn += c->torn;
	counts->late += c->late;
	counts->failed += c->failed;
	counts->lost += c->lost;
	counts->misdirected += c->misdirected;
	counts->flipped += c->flipped;
	counts->full += c->full;
	simdisk_free(l->d);
}

bool disk_life_run(const struct disk_life *o, struct disk_counts *counts, char why[512])
{
	struct life *l = calloc(1, sizeof(*l));
	bool ok = true;

	l->o = o;
	l->counts = counts;
	l->bytes = malloc(BOOK_VALUE_MAX + 64);
	l->expected = malloc(BOOK_VALUE_MAX + 64);
	begin(l);
	for (int i = 0; i < RESTARTS && ok && !l->over && l->book.count < BOOK_RECORDS; i++) {
		ok = live(l);
		if (ok && !l->over)
			ok = next_start(l);
	}
	snprintf(why, 512, "%s", l->why);
	finish(l, counts);
	free(l->bytes);
	free(l->expected);
	free(l);
	return ok;
}

bool disk_lives_run(struct disk_life *life, uint64_t points, struct disk_counts *counts, char why[1024])
{
	static const char *const kinds[] = {"honest", "failing", "lying"};
	char text[512];

	for (uint64_t end = counts->points + points; counts->points < end; life->seed++) {
		if (disk_life_run(life, counts, text))
			continue;
		snprintf(why, 1024, "%s\n  again: PPDB_SEED=%#llx make unit FILTER='disk/%s' (PPDB_DISK_TRACE=1 shows each call)", text,
			 (ull)life->seed, kinds[life->kind]);
		return false;
	}
	return true;
}

void disk_counts_print(const char *title, const struct disk_counts *n)
{
	fprintf(stderr,
		"%s: %llu crash points in %llu lives: %llu power cuts (%llu in a restart), %llu kills, %llu clean stops;\n"
		"  %llu effects decided by a cut, %llu torn, %llu writes landed late; %llu calls failed, %llu found no space;\n"
		"  %llu writes lost, %llu misdirected, %llu bits flipped; %llu records, %llu epochs, %llu checkpoints, %llu segments released\n"
		"  outcome: %llu right, %llu refused with file and offset, %llu cut where nothing was proven, %llu could not be read\n",
		title, (ull)n->points, (ull)n->lives, (ull)n->cuts, (ull)n->again, (ull)n->kills, (ull)n->stops, (ull)n->effects,
		(ull)n->torn, (ull)n->late, (ull)n->failed, (ull)n->full, (ull)n->lost, (ull)n->misdirected, (ull)n->flipped,
		(ull)n->records, (ull)n->epochs, (ull)n->checkpoints, (ull)n->released, (ull)n->right, (ull)n->refused, (ull)n->unproven,
		(ull)n->unreadable);
}
