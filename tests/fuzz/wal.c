/*
 * wal.c (fuzz) - the reader of the log: recovery, the quick search of a warm start, and the decoder of `ppdb wal`.
 *
 * The folder holds the log of two generations, in segments of 16 KiB, with a record that spans units. First byte: bit 0 = the rest is the
 * content of one file, else it is edits (files.h); bit 1 = checksums are made good afterwards, so that damage gets past them; bit 2 = the
 * chain too; bits 4.. = from_epoch.
 */
#include "tests/fuzz/files.h"

#include "engine/record.h"
#include "engine/wal_format.h"
#include "shm/errors.h"

#define STORE 0x5107e

static struct fuzz_files files;
static char dir[100];

/* ---- a healthy log */

static void put(struct pp_wal *w, uint64_t epoch, unsigned value_size)
{
	static uint8_t value[9000];
	struct pp_record r = {.key_size = 5, .seq = epoch, .size = value_size, .flags = epoch % 3 ? 0 : PP_V_TOMBSTONE};
	struct iovec parts[3] = {{&r, sizeof(r)}, {(void *)(uintptr_t)"a key", 5}, {value, value_size}};

	memset(value, (int)epoch, sizeof(value));
	fuzz_require(!pp_wal_append(w, epoch, parts, 3), "append");
	fuzz_require(!pp_wal_end_epoch(w, epoch), "end");
}

static struct pp_wal_config config(void)
{
	return (struct pp_wal_config){.dir = dir, .store_id = STORE, .segment_bytes = 16 << 10, .batch_bytes = 4 << 10,
		.backend = PP_WAL_PWRITE_DSYNC, .no_direct = true};
}

static void write_generation(uint64_t *epoch, bool clean)
{
	struct pp_wal_config c = config();
	struct pp_wal_recovered r;
	struct pp_wal_pos pos;
	struct pp_wal *w;

	fuzz_require(!pp_wal_recover(&c, 0, NULL, NULL, &r) && !pp_wal_open(&c, &r, &w), "open: %s", pp_detail_get());
	for (int i = 0; i < 4; i++) {
		put(w, ++*epoch, i == 2 ? 6000 : 100);
		do
			fuzz_require(!pp_wal_submit(w) && !pp_wal_poll(w, 1000000000, &pos), "write");
		while (pp_wal_pending(w) || pp_wal_inflight(w));
	}
	fuzz_require(!clean || !pp_wal_close(w), "close");
}

static void prepare(void)
{
	uint64_t epoch = 0;

	fuzz_make_dir();
	snprintf(dir, sizeof(dir), "%s/wal", fuzz_dir);
	write_generation(&epoch, true);
	write_generation(&epoch, true);
	files_load(&files, dir, "wal-");
	fuzz_require(files.count >= 4, "%u files", files.count);
}

/* ---- checksums */

static void reseal_file(struct fuzz_file *f, bool chain, uint64_t *previous)
{
	struct pp_wal_segment_header h;

	if (f->size < PP_WAL_BLOCK)
		return;
	memcpy(&h, f->bytes, sizeof(h));
	if (h.magic == PP_WAL_SEGMENT_MAGIC)
		pp_wal_format_segment(f->bytes, &h);
	for (size_t at = PP_WAL_BLOCK; at + PP_WAL_BLOCK <= f->size; at += PP_WAL_BLOCK) {
		struct pp_wal_unit_header *u = (struct pp_wal_unit_header *)(f->bytes + at);

		if (u->magic != PP_WAL_UNIT_MAGIC || u->total_bytes < PP_WAL_UNIT_HEADER || u->total_bytes > f->size - at)
			continue;
		if (chain && *previous)
			u->prev_chain = *previous;
		u->checksum = *previous = pp_wal_format_unit_sum(u);
	}
}

/* ---- judging */

struct seen {
	uint64_t from, records;
};

static int on_record(void *ctx, uint64_t epoch, const void *data, size_t size)
{
	struct seen *s = ctx;

	fuzz_require(epoch > s->from, "epoch %llu", (unsigned long long)epoch);
	fuzz_touch(data, size);
	s->records++;
	return 0;
}

static int on_item(void *ctx, const struct pp_wal_dump_item *item)
{
	fuzz_touch(item->file, strlen(item->file));
	if (item->bad)
		fuzz_touch(item->bad, strlen(item->bad));
	return ++*(unsigned *)ctx > 100000;
}

static void recover(uint64_t from)
{
	struct pp_wal_config c = config();
	struct pp_wal_recovered r;
	struct seen s = {from, 0};
	int rc = pp_wal_recover(&c, from, on_record, &s, &r);

	fuzz_require(rc == 0 || rc == PPDB_CORRUPT, "code %d: %s", rc, pp_detail_get());
	fuzz_require(rc || (r.last.epoch >= from && r.max_epoch_seen >= r.last.epoch && r.records == s.records), "result");
	if (!rc) {
		struct pp_wal_pos expect = r.last;

		c.expect = &expect;
		rc = pp_wal_recover(&c, from, NULL, NULL, &r);
		fuzz_require(rc == 0 || rc == PPDB_CORRUPT, "code %d: %s", rc, pp_detail_get());
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = {data, size};
	unsigned mode = (unsigned)fuzz_take(&in, 1), items = 0;
	uint64_t previous = 0;
	int rc;

	if (!files.count)
		prepare();
	files_damage(&files, &in, mode & 1);
	for (unsigned i = 0; i < files.count && mode & 2; i++)
		reseal_file(&files.file[i], mode & 4, &previous);
	files_write(&files);
	recover(mode >> 4);
	rc = pp_wal_dump(dir, on_item, &items);
	fuzz_require(fuzz_known_code(rc) || rc == 1, "code %d", rc);
	return 0;
}

void fuzz_seeds(fuzz_emit *emit)
{
	static const unsigned unit_fields[] = {40, 48, 56, 64, 72, 80, 88, 96, 104, 112, 120, 128};
	struct fuzz_out out = {.size = 0};

	emit("healthy", "\2", 1);
	for (unsigned i = 0; i < sizeof(unit_fields) / sizeof(*unit_fields); i++) {
		char name[32];

		out.size = 0;
		fuzz_put(&out, 6, 1);
		files_seed_edit(&out, 2, i % 4, (PP_WAL_BLOCK + unit_fields[i]) / 8, 4 * i + 1);
		snprintf(name, sizeof(name), "unit-%u", unit_fields[i]);
		emit(name, out.bytes, out.size);
	}
	for (unsigned at = 16; at < sizeof(struct pp_wal_segment_header); at += 8) {
		char name[32];

		out.size = 0;
		fuzz_put(&out, 2, 1);
		files_seed_edit(&out, 3, 2, at / 8, at < 32 ? 1 : 3);
		snprintf(name, sizeof(name), "header-%u", at);
		emit(name, out.bytes, out.size);
	}
	out.size = 0;
	fuzz_put(&out, 2, 1);
	files_seed_edit(&out, 2, 0, (PP_WAL_BLOCK + sizeof(struct pp_wal_unit_header)) / 8, 0xfffffff0);
	files_seed_edit(&out, 4, 3, 9000, 0);
	files_seed_edit(&out, 5, 2, 0, 0);
	files_seed_edit(&out, 6, 1, 1, 2);
	files_seed_edit(&out, 7, 1, 0, 2);
	emit("edits", out.bytes, out.size);
}
