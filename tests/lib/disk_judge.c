/*
 * disk_judge.c - recovers a simulated disk and compares the outcome with the model (the rules: disk_life.h).
 *
 * What is proven is found without the recovery's own search: every block of every segment that is there, whether it belongs
 * to the walk or not.
 */
#include "tests/lib/disk_judge.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/wal_format.h"

typedef unsigned long long ull;

struct look {
	struct life *l;
	struct simdisk *d;
	struct seen *seen;
	size_t next;               /* of the model's records: what has to be delivered now */
	unsigned keys;             /* of the checkpoint's records */
	uint64_t late;             /* writes that had landed before */
	uint64_t ended;            /* read once: all up to it has come and counts */
	const struct book_record *state[BOOK_KEYS];
	bool wrong;
};

struct life_extras life_extras(uint64_t snapshot)
{
	struct life_extras x = {
		.meta = {.incarnation = snapshot ^ 7, .nlost = snapshot % 2},
		.lost = {snapshot * 2, snapshot * 2 + 9},
		.nfloors = snapshot % 8,
	};

	for (size_t i = 0; i < x.nfloors; i++)
		x.floors[i] = snapshot * 31 + i;
	return x;
}

static bool wrong(struct look *k, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool wrong(struct look *k, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	if (!k->l->why[0])
		vsnprintf(k->l->why, sizeof(k->l->why), format, args);
	va_end(args);
	k->wrong = true;
	return false;
}

/* ---- checkpoint ---- */

static int on_checkpoint_record(void *ctx, const struct pp_ckpt_record *r)
{
	struct look *k = ctx;
	const struct book_record *m;
	char key[16];
	size_t size;

	while (k->keys < BOOK_KEYS && !k->state[k->keys])
		k->keys++;
	if (k->keys == BOOK_KEYS)
		return wrong(k, "the checkpoint holds a record too many"), 1;
	m = k->state[k->keys];
	snprintf(key, sizeof(key), "key%02u", k->keys++);
	size = book_bytes(&k->l->book, m, k->l->expected);
	if (r->key_size != strlen(key) || memcmp(r->key, key, r->key_size) || r->size != size ||
	    memcmp(r->value, k->l->expected, size) || r->seq != m->number || r->tag != m->epoch || r->table != 1 || r->flags != 3)
		return wrong(k, "the checkpoint at %llu holds a wrong value of %s", (ull)k->seen->snapshot, key), 1;
	return 0;
}

static bool check_info(struct look *k, const struct pp_ckpt_info *info)
{
	struct life_extras x = life_extras(info->snapshot);

	if (info->snapshot < k->l->committed)
		return wrong(k, "the checkpoint at %llu came back, but the one at %llu had been committed", (ull)info->snapshot,
			     (ull)k->l->committed);
	if (info->incarnation != x.meta.incarnation || info->nlost != x.meta.nlost || info->nfloors != x.nfloors ||
	    memcmp(info->floors, x.floors, x.nfloors * sizeof(x.floors[0])) ||
	    (x.meta.nlost && memcmp(info->lost, &x.lost, sizeof(x.lost))))
		return wrong(k, "the manifest of the checkpoint at %llu is wrong", (ull)info->snapshot);
	return true;
}

static int read_checkpoint(struct look *k)
{
	struct pp_ckpt_reader *r = NULL;
	int rc = pp_ckpt_open(&k->d->disk, LIFE_CKPT, LIFE_STORE, &r);

	if (rc == PPDB_NOTFOUND || rc == -ENOENT) {
		if (k->l->committed)
			wrong(k, "no checkpoint is there, but the one at %llu had been committed", (ull)k->l->committed);
		return 0;
	}
	if (rc)
		return rc;
	k->seen->snapshot = pp_ckpt_get_info(r)->snapshot;
	k->seen->max_tag = pp_ckpt_get_info(r)->max_tag;
	book_state(&k->l->book, k->seen->snapshot, k->state);
	check_info(k, pp_ckpt_get_info(r));
	for (unsigned s = 0; s < pp_ckpt_get_info(r)->streams && !rc && !k->wrong; s++)
		rc = pp_ckpt_read_stream(r, s, on_checkpoint_record, k);
	while (k->keys < BOOK_KEYS && !k->state[k->keys])
		k->keys++;
	if (!rc && k->keys < BOOK_KEYS)
		wrong(k, "key%02u is missing in the checkpoint at %llu", k->keys, (ull)k->seen->snapshot);
	pp_ckpt_close(r);
	return rc;
}

/* ---- log ---- */

static int on_log_record(void *ctx, uint64_t epoch, const void *data, size_t size)
{
	struct look *k = ctx;
	const struct book_record *m = &k->l->book.record[k->next];
	size_t expected;

	if (k->next == k->l->book.count)
		return wrong(k, "a record of epoch %llu came back that was never put", (ull)epoch), 1;
	expected = book_bytes(&k->l->book, m, k->l->expected);
	if (epoch != m->epoch || size != expected || memcmp(data, k->l->expected, size))
		return wrong(k, "a record of %zu bytes of epoch %llu came back; it should be number %llu, %zu bytes of epoch %llu",
			     size, (ull)epoch, (ull)m->number, expected, (ull)m->epoch), 1;
	k->next++;
	return 0;
}

static struct pp_wal_config config_on(const struct life *l, struct simdisk *d)
{
	struct pp_wal_config config = l->config;

	config.disk = &d->disk;
	return config;
}

static void on_ended(void *ctx, uint64_t epoch)
{
	struct look *k = ctx;

	if (epoch > k->ended)
		k->ended = epoch;
}

/* In both ways: twice over the log, or once and what did not end comes too. */
static int read_log(struct look *k)
{
	struct pp_wal_config config = config_on(k->l, k->d);
	disk_recover_fn *recover = k->l->o->recover ? k->l->o->recover : pp_wal_recover;
	const struct book *book = &k->l->book;
	bool once = (k->d->counts.calls ^ book->numbers) & 1;
	int rc;

	config.on_ended = once ? on_ended : NULL;
	k->ended = k->seen->snapshot;
	k->next = book_count(book, k->seen->snapshot);
	rc = recover(&config, k->seen->snapshot, on_log_record, k, &k->seen->log);
	if (rc || !once)
		return rc;
	if (k->next < book_count(book, k->ended))
		wrong(k, "read once, epoch %llu was said to have ended before all of it had come", (ull)k->ended);
	k->next = book_count(book, k->ended);
	return 0;
}

/* ---- verdict ---- */

#define UNITS 16384u

/* What the segments of the newest generation prove: `unit` was durable; `intact` is there. (Of older ones what counts lies before the
 * newest one's cut; what lies behind it is dead, though it may have been durable.) */
struct proof {
	struct simdisk *d;
	uint64_t generation, unit;
	bool intact[UNITS];
};

static void prove_from(struct proof *p, const uint8_t *bytes, size_t size)
{
	struct pp_wal_segment_header h;

	if (size < PP_WAL_BLOCK || pp_wal_format_check_segment(bytes, &h))
		return;
	if (h.generation > p->generation) {
		p->generation = h.generation;
		p->unit = h.cut_unit;
		memset(p->intact, 0, sizeof(p->intact));
	} else if (h.generation < p->generation) {
		return;
	}
	for (uint64_t at = PP_WAL_BLOCK; at + PP_WAL_BLOCK <= size; at += PP_WAL_BLOCK) {
		struct pp_wal_place place = {h.store_id, h.generation, h.number, at, size - at};
		const struct pp_wal_unit_header *unit = (const void *)(bytes + at);

		if (pp_wal_format_check_unit(unit, &place))
			continue;
		if (unit->durable_unit > p->unit)
			p->unit = unit->durable_unit;
		p->intact[unit->unit % UNITS] = true;
	}
}

static int prove_file(void *ctx, const char *name)
{
	struct proof *p = ctx;
	const uint8_t *bytes;
	char path[128];
	uint64_t number;
	size_t size = 0;

	if (pp_wal_format_name(name, &number) != PP_WAL_FILE_LOG)
		return 0;
	snprintf(path, sizeof(path), LIFE_LOG "/%s", name);
	bytes = simdisk_look(p->d, path, &size);
	if (bytes)
		prove_from(p, bytes, size);
	return 0;
}

static bool judge_refusal(struct look *k, int rc, const char *what)
{
	const char *detail = pp_detail_get();

	/* A place that cannot be read is not the end of anything; the next start may have more luck. */
	if (rc == -EIO && k->d->rules.read_fails) {
		k->seen->verdict = LIFE_UNREADABLE;
		k->l->counts->unreadable++;
		return true;
	}
	if (k->l->o->kind != DISK_LYING)
		return wrong(k, "%s was refused (%d) although the disk told the truth: %.300s", what, rc, detail);
	if (rc != PPDB_CORRUPT || !strstr(detail, LIFE_DIR "/") || !strstr(detail, "offset"))
		return wrong(k, "%s was refused with %d, and not with file and offset: %.300s", what, rc, detail);
	k->seen->verdict = LIFE_REFUSED;
	k->l->counts->refused++;
	return true;
}

/* Epochs without records leave no trace: their predecessor stands for them. */
static bool holds_acknowledged(const struct life *l, const struct pp_wal_pos *last)
{
	return book_count(&l->book, last->epoch) >= book_count(&l->book, l->acked.epoch) &&
	       (last->unit >= l->acked.unit || l->o->kind == DISK_LYING);
}

static bool judge_cut(struct look *k)
{
	const struct pp_wal_recovered *log = &k->seen->log;
	struct life *l = k->l;
	struct proof proof = {.d = k->d};
	uint64_t good = log->last.unit;

	if (k->next < l->book.count && l->book.record[k->next].epoch <= log->last.epoch)
		return wrong(k, "record %llu of epoch %llu is missing; the log ends with epoch %llu",
			     (ull)l->book.record[k->next].number, (ull)l->book.record[k->next].epoch, (ull)log->last.epoch);
	if (k->next > 0 && l->book.record[k->next - 1].epoch > log->last.epoch)
		return wrong(k, "a record of epoch %llu came back, but the log ends with %llu",
			     (ull)l->book.record[k->next - 1].epoch, (ull)log->last.epoch);
	if (log->last.epoch > l->ended)
		return wrong(k, "the log ends with epoch %llu, which did not end", (ull)log->last.epoch);
	if (log->max_epoch_seen < log->last.epoch)
		return wrong(k, "the highest epoch seen lies below the last one");
	if (holds_acknowledged(l, &log->last)) {
		l->counts->right++;
		return true;
	}
	if (l->o->kind != DISK_LYING)
		return wrong(k, "the log ends with epoch %llu, unit %llu, but epoch %llu, unit %llu was acknowledged",
			     (ull)log->last.epoch, (ull)log->last.unit, (ull)l->acked.epoch, (ull)l->acked.unit);
	k->d->disk.list(&k->d->disk, LIFE_LOG, prove_file, &proof);
	/* The last epoch may lack its end: then units behind the cut are good, and only the first bad one has to be unproven. */
	while (proof.intact[(good + 1) % UNITS])
		good++;
	/* What landed while recovery read may prove what recovery could not know. */
	if (proof.unit > good && k->d->counts.late == k->late)
		return wrong(k, "the log was cut silently after unit %llu, but unit %llu is proven (epoch %llu was acknowledged)",
			     (ull)good, (ull)proof.unit, (ull)l->acked.epoch);
	k->seen->verdict = LIFE_UNPROVEN;
	l->counts->unproven++;
	return true;
}

bool life_look(struct life *l, struct simdisk *d, struct seen *seen)
{
	struct look k = {.l = l, .d = d, .seen = seen, .late = d->counts.late};
	int rc;

	memset(seen, 0, sizeof(*seen));
	pp_detail_clear();
	l->counts->points++;
	rc = read_checkpoint(&k);
	if (k.wrong)
		return false;
	if (rc)
		return judge_refusal(&k, rc, "the checkpoint");
	rc = read_log(&k);
	if (k.wrong)
		return false;
	if (rc)
		return judge_refusal(&k, rc, "the log");
	l->counts->units += seen->log.units;
	return judge_cut(&k);
}

bool life_look_warm(struct life *l, struct seen *seen)
{
	struct look k = {.l = l, .d = l->d, .seen = seen};
	struct pp_wal_config config = config_on(l, l->d);
	struct pp_wal_recovered quick;
	int rc;

	if (l->o->kind == DISK_LYING)
		return true;
	config.expect = &l->acked;
	rc = pp_wal_recover(&config, seen->snapshot, NULL, NULL, &quick);
	if (rc)
		return judge_refusal(&k, rc, "the log, read the quick way,");
	if (l->acked.unit && !quick.expect_found)
		return wrong(&k, "the durable position (unit %llu) was not found", (ull)l->acked.unit);
	if (!holds_acknowledged(l, &quick.last) || quick.last.epoch > l->ended)
		return wrong(&k, "the quick way found epoch %llu, unit %llu; acknowledged were epoch %llu, unit %llu",
			     (ull)quick.last.epoch, (ull)quick.last.unit, (ull)l->acked.epoch, (ull)l->acked.unit);
	seen->log = quick;
	return true;
}
