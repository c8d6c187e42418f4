/*
 * checkpoint.c (fuzz) - the reader of checkpoints.
 *
 * The folder holds a checkpoint of two streams with blocks of 8 KiB, and a record that spans blocks. First byte: bit 0 = the rest is the
 * manifest, else it is edits (files.h); bit 1 = checksums are made good afterwards.
 */
#include "tests/fuzz/files.h"

#include "engine/checkpoint.h"
#include "engine/ckpt_file.h"
#include "engine/disk.h"
#include "engine/layout.h"

#define STORE UINT64_C(0x5107e)

static struct fuzz_files files; /* MANIFEST, stream 0, stream 1 */
static char dir[100];

static void put(struct pp_ckpt_writer *w, unsigned stream, unsigned i, uint32_t size)
{
	static uint8_t value[20000];
	char key[32];
	struct pp_ckpt_record r = {.table = stream, .key = key, .value = value, .size = size, .seq = i, .tag = 7, .flags = i % 2,
		.expires_ms = i % 3 ? 0 : 99};

	memset(value, (int)i, sizeof(value));
	r.key_size = (uint32_t)snprintf(key, sizeof(key), "key %05u", i);
	fuzz_require(!pp_ckpt_put(w, stream, &r), "put: %s", pp_detail_get());
}

static void prepare(void)
{
	static const uint64_t floors[] = {1, 1000};
	struct pp_ckpt_range lost[] = {{5, 9}};
	struct pp_ckpt_meta meta = {.max_tag = 70, .incarnation = 3, .lost = lost, .nlost = 1};
	struct pp_ckpt_writer *w;

	fuzz_make_dir();
	snprintf(dir, sizeof(dir), "%s", fuzz_dir);
	fuzz_require(!pp_ckpt_begin(&pp_disk_real, dir, STORE, 60, 2, &w) && !pp_ckpt_set_block_bytes(w, PP_CKPT_BLOCK_MIN), "begin");
	for (unsigned i = 0; i < 60; i++)
		put(w, i / 30, i, i == 20 ? 20000 : 300);
	fuzz_require(!pp_ckpt_commit(w, floors, 2, &meta), "commit: %s", pp_detail_get());
	files_load(&files, dir, "");
	fuzz_require(files.count == 3 && !strcmp(files.file[0].name, PP_CKPT_MANIFEST), "%u files", files.count);
}

static void reseal_stream(struct fuzz_file *f, const struct pp_ckpt_manifest *m, unsigned stream)
{
	struct pp_ckpt_place place = {m->store_id, m->snapshot, m->number, stream, 0};
	size_t step = m->block_bytes;

	if (step < PP_CKPT_BLOCK_MIN || step % 8)
		return;
	for (size_t at = 0; at + sizeof(struct pp_ckpt_block) <= f->size; at += step, place.block++) {
		struct pp_ckpt_block *b = (struct pp_ckpt_block *)(f->bytes + at);
		size_t bytes = f->size - at < step ? f->size - at : step;

		b->checksum = pp_ckpt_block_checksum(b, bytes, &place);
	}
}

static void reseal(void)
{
	struct fuzz_file *f = &files.file[0];
	struct pp_ckpt_manifest m;

	if (f->size < sizeof(m))
		return;
	memcpy(&m, f->bytes, sizeof(m));
	m.checksum = pp_ckpt_manifest_checksum(f->bytes, f->size, m.store_id);
	memcpy(f->bytes, &m, sizeof(m));
	for (unsigned i = 1; i < files.count; i++)
		reseal_stream(&files.file[i], &m, i - 1);
}

static int on_record(void *ctx, const struct pp_ckpt_record *r)
{
	fuzz_require(r->key_size >= 1 && r->key_size <= PP_KEY_MAX && r->size <= PP_VALUE_MAX, "sizes");
	fuzz_touch(r->key, r->key_size);
	fuzz_touch(r->value, r->size);
	++*(uint64_t *)ctx;
	return 0;
}

static void read_all(struct pp_ckpt_reader *r)
{
	const struct pp_ckpt_info *info = pp_ckpt_get_info(r);

	fuzz_touch(info->floors, info->nfloors * sizeof(*info->floors));
	fuzz_touch(info->lost, info->nlost * sizeof(*info->lost));
	for (unsigned i = 0; i < info->streams; i++) {
		struct pp_ckpt_stream_info s;
		uint64_t records = 0;
		int rc;

		pp_ckpt_get_stream(r, i, &s);
		fuzz_touch(s.first_key, s.first_size);
		fuzz_touch(s.last_key, s.last_size);
		rc = pp_ckpt_read_stream(r, i, on_record, &records);
		fuzz_require(rc == 0 || rc == PPDB_CORRUPT, "code %d: %s", rc, pp_detail_get());
		fuzz_require(rc || records == s.records, "another number of records than promised");
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = {data, size};
	unsigned mode = (unsigned)fuzz_take(&in, 1);
	struct pp_ckpt_reader *r = NULL;
	int rc;

	if (!files.count)
		prepare();
	files_damage(&files, &in, mode & 1);
	if (mode & 2)
		reseal();
	files_write(&files);
	rc = pp_ckpt_open(&pp_disk_real, dir, STORE, &r);
	fuzz_require(rc == 0 || rc == PPDB_CORRUPT || rc == PPDB_NOTFOUND || rc == PPDB_LAYOUT, "code %d: %s", rc, pp_detail_get());
	if (!rc)
		read_all(r);
	pp_ckpt_close(r);
	return 0;
}

void fuzz_seeds(fuzz_emit *emit)
{
	struct fuzz_out out = {.size = 0};
	char name[32];

	emit("healthy", "\2", 1);
	for (unsigned at = 16; at < sizeof(struct pp_ckpt_manifest) + 2 * sizeof(struct pp_ckpt_stream); at += 8) {
		out.size = 0;
		fuzz_put(&out, 2, 1);
		files_seed_edit(&out, 2, 0, at / 8, 9);
		snprintf(name, sizeof(name), "manifest-%u", at);
		emit(name, out.bytes, out.size);
	}
	for (unsigned at = 8; at < sizeof(struct pp_ckpt_block) + sizeof(struct pp_ckpt_entry); at += 8) {
		out.size = 0;
		fuzz_put(&out, 2, 1);
		files_seed_edit(&out, 2, 1 + at / 8 % 2, at / 8, 0xfff0);
		snprintf(name, sizeof(name), "block-%u", at);
		emit(name, out.bytes, out.size);
	}
}
