/*
 * ckpt_read.c - opens the valid checkpoint and delivers its records, each block verified before anything of it is.
 *
 * Invariants: what the manifest does not promise is never delivered, and what it promises is either delivered or an error with
 * file and offset. Sizes are checked against the block and the manifest before they are used, so that bytes which pass the
 * checksum and are wrong all the same lead to PPDB_CORRUPT and to nothing worse. Records lie in the block buffer and are
 * handed out in place; only one that spans blocks is put together in a buffer of its own.
 *
 * Readers of different streams share nothing but the (immutable) manifest. Reading changes nothing on disk: a process that
 * dies here leaves nothing behind.
 */
#include "engine/checkpoint.h"
#include "engine/ckpt_file.h"
#include "engine/file.h"
#include "engine/layout.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define READAHEAD_BLOCKS 4u

struct pp_ckpt_reader {
	struct pp_disk *disk;
	char dir[PATH_MAX];
	uint8_t *bytes; /* the manifest as it is on disk */
	struct pp_ckpt_manifest m;
	const struct pp_ckpt_stream *streams;
	const uint8_t *keys;
	struct pp_ckpt_info info;
};

/* ---- manifest --------------------------------------------------------------------------------------------------- */

static int damaged(const char *path, uint64_t offset, const char *why)
{
	return pp_detail(PPDB_CORRUPT, "%s is damaged at offset %" PRIu64 ": %s; restore a backup of the data directory", path,
			 offset, why);
}

static int load_file(struct pp_disk *disk, const char *path, uint8_t **bytes, uint64_t *size)
{
	uint8_t *buffer = NULL;
	int fd = -1;
	int rc = pp_file_open(disk, path, O_RDONLY, 0, &fd);

	if (rc)
		return rc;
	rc = pp_file_size(disk, fd, path, size);
	if (!rc && *size < sizeof(struct pp_ckpt_manifest))
		rc = damaged(path, *size, "the manifest ends too early");
	/* A checkpoint of 256 streams with the longest keys, all lost ranges and a million floors stays far below. */
	if (!rc && *size > (64u << 20))
		rc = damaged(path, 0, "the manifest is too large");
	if (!rc && !(buffer = malloc(*size)))
		rc = pp_detail(-ENOMEM, "no memory to read %s", path);
	if (!rc)
		rc = pp_file_read_exact(disk, fd, path, buffer, *size, 0);
	pp_file_close(disk, fd);
	if (rc)
		free(buffer);
	else
		*bytes = buffer;
	return rc;
}

static uint64_t promised_bytes(const struct pp_ckpt_manifest *m)
{
	return sizeof(*m) + m->streams * sizeof(struct pp_ckpt_stream) + pp_ckpt_round8(m->key_bytes) +
	       m->lost * sizeof(struct pp_ckpt_range) + m->floors * sizeof(uint64_t);
}

static int check_manifest(const char *path, const uint8_t *bytes, uint64_t size, uint64_t store_id)
{
	struct pp_ckpt_manifest m;

	memcpy(&m, bytes, sizeof(m));
	if (m.magic != PP_CKPT_MANIFEST_MAGIC)
		return damaged(path, 0, "not a manifest of ppdb");
	if (m.checksum != pp_ckpt_manifest_checksum(bytes, size, m.store_id))
		return damaged(path, 16, "the checksum does not match");
	if (m.store_id != store_id)
		return pp_detail(PPDB_CORRUPT,
				 "%s belongs to another store at offset %zu (store %016" PRIx64 ", not %016" PRIx64
				 "); put back the right files",
				 path, offsetof(struct pp_ckpt_manifest, store_id), m.store_id, store_id);
	if (m.version != PP_CKPT_VERSION)
		return pp_detail(PPDB_LAYOUT, "%s has format version %u, this ppdb reads %u; use the ppdb that wrote it",
				 path, m.version, PP_CKPT_VERSION);
	if (m.streams < 1 || m.streams > PP_CKPT_STREAMS_MAX || m.key_bytes > size || m.floors > size / 8 ||
	    m.lost > size / 16 || m.bytes != size || promised_bytes(&m) != size)
		return damaged(path, 16, "its parts do not add up");
	if (m.block_bytes < PP_CKPT_BLOCK_MIN || m.block_bytes > PP_CKPT_BLOCK_MAX || m.block_bytes % 8)
		return damaged(path, offsetof(struct pp_ckpt_manifest, block_bytes), "impossible block size");
	return 0;
}

static int load_manifest(struct pp_disk *disk, const char *dir, uint64_t store_id, uint8_t **bytes)
{
	char path[PATH_MAX];
	uint64_t size = 0;
	int rc = pp_ckpt_path(path, dir, PP_CKPT_MANIFEST);

	if (!rc)
		rc = load_file(disk, path, bytes, &size);
	if (rc == -ENOENT)
		return pp_detail(PPDB_NOTFOUND, "there is no checkpoint in %s", dir);
	if (rc)
		return rc;
	rc = check_manifest(path, *bytes, size, store_id);
	if (rc) {
		free(*bytes);
		*bytes = NULL;
	}
	return rc;
}

int pp_ckpt_current(struct pp_disk *disk, const char *dir, uint64_t store_id, uint64_t *number)
{
	struct pp_ckpt_manifest m;
	uint8_t *bytes = NULL;
	int rc = load_manifest(disk, dir, store_id, &bytes);

	if (rc)
		return rc;
	memcpy(&m, bytes, sizeof(m));
	*number = m.number;
	free(bytes);
	return 0;
}

/* ---- open ------------------------------------------------------------------------------------------------------- */

static void set_info(struct pp_ckpt_reader *r)
{
	const uint8_t *at = r->bytes + sizeof(r->m);

	r->streams = (const struct pp_ckpt_stream *)at;
	r->keys = at + r->m.streams * sizeof(struct pp_ckpt_stream);
	at = r->keys + pp_ckpt_round8(r->m.key_bytes);
	r->info = (struct pp_ckpt_info){
		.number = r->m.number,
		.snapshot = r->m.snapshot,
		.max_tag = r->m.max_tag,
		.incarnation = r->m.incarnation,
		.streams = r->m.streams,
		.lost = (const struct pp_ckpt_range *)at,
		.nlost = r->m.lost,
		.floors = (const uint64_t *)(at + r->m.lost * sizeof(struct pp_ckpt_range)),
		.nfloors = r->m.floors,
	};
}

/* Found now, not in the middle of a recovery: a file that is missing or has another length. */
static int check_files(struct pp_ckpt_reader *r)
{
	char path[PATH_MAX];
	uint64_t keys = 0, size = 0;
	int rc = 0;

	for (unsigned i = 0; i < r->m.streams && !rc; i++) {
		int fd = -1;

		keys += r->streams[i].first_size + r->streams[i].last_size;
		rc = pp_ckpt_stream_path(path, r->dir, r->m.number, i);
		if (!rc)
			rc = pp_file_open(r->disk, path, O_RDONLY, 0, &fd);
		if (rc == -ENOENT)
			rc = damaged(path, 0, "the file is missing");
		if (!rc)
			rc = pp_file_size(r->disk, fd, path, &size);
		if (!rc && size != r->streams[i].bytes)
			rc = damaged(path, size < r->streams[i].bytes ? size : r->streams[i].bytes,
				     size < r->streams[i].bytes ? "the file ends too early" :
								  "there are bytes behind its end");
		pp_file_close(r->disk, fd);
		r->info.bytes += r->streams[i].bytes;
		r->info.records += r->streams[i].records;
	}
	if (!rc && keys != r->m.key_bytes) {
		rc = pp_ckpt_path(path, r->dir, PP_CKPT_MANIFEST);
		rc = rc ? rc : damaged(path, sizeof(r->m), "the keys of its streams do not add up");
	}
	return rc;
}

int pp_ckpt_open(struct pp_disk *disk, const char *dir, uint64_t store_id, struct pp_ckpt_reader **out)
{
	struct pp_ckpt_reader *r;
	int rc;

	if (strlen(dir) >= sizeof(r->dir))
		return pp_detail(-ENAMETOOLONG, "the path of the checkpoint directory is too long");
	r = calloc(1, sizeof(*r));
	if (!r)
		return pp_detail(-ENOMEM, "no memory for a checkpoint reader");
	strcpy(r->dir, dir);
	r->disk = disk;
	rc = load_manifest(disk, dir, store_id, &r->bytes);
	if (!rc) {
		memcpy(&r->m, r->bytes, sizeof(r->m));
		set_info(r);
		rc = check_files(r);
	}
	if (rc) {
		pp_ckpt_close(r);
		return rc;
	}
	*out = r;
	return 0;
}

const struct pp_ckpt_info *pp_ckpt_get_info(const struct pp_ckpt_reader *r)
{
	return &r->info;
}

void pp_ckpt_get_stream(const struct pp_ckpt_reader *r, unsigned stream, struct pp_ckpt_stream_info *out)
{
	const struct pp_ckpt_stream *s = &r->streams[stream];
	const uint8_t *key = r->keys;

	for (unsigned i = 0; i < stream; i++)
		key += r->streams[i].first_size + r->streams[i].last_size;
	*out = (struct pp_ckpt_stream_info){
		.bytes = s->bytes,
		.records = s->records,
		.first_table = s->first_table,
		.last_table = s->last_table,
		.first_size = s->first_size,
		.last_size = s->last_size,
		.first_key = key,
		.last_key = key + s->first_size,
	};
}

void pp_ckpt_close(struct pp_ckpt_reader *r)
{
	if (!r)
		return;
	free(r->bytes);
	free(r);
}

/* ---- streams ---------------------------------------------------------------------------------------------------- */

struct scan {
	const struct pp_ckpt_reader *r;
	const struct pp_ckpt_stream *s;
	unsigned stream;
	int fd;
	char path[PATH_MAX];
	uint8_t *block;
	uint64_t number; /* of the block in the buffer */
	uint8_t *span;   /* a record larger than a block: header, key, value */
	uint64_t span_size, span_have;
	uint64_t records;
	int (*on_record)(void *ctx, const struct pp_ckpt_record *);
	void *ctx;
};

static int bad_block(const struct scan *c, uint64_t in_block, const char *why)
{
	return damaged(c->path, c->number * c->r->m.block_bytes + in_block, why);
}

static int load_block(struct scan *c, uint64_t number)
{
	uint64_t at = number * c->r->m.block_bytes;
	uint64_t left = c->s->bytes - at;
	uint64_t size = left < c->r->m.block_bytes ? left : c->r->m.block_bytes;
	struct pp_ckpt_block *b = (struct pp_ckpt_block *)c->block;
	struct pp_ckpt_place place = {c->r->m.store_id, c->r->m.snapshot, c->r->m.number, c->stream, number};
	int rc;

	c->number = number;
	if (size <= sizeof(*b) || size % 8)
		return bad_block(c, 0, "the last block is too short");
	c->r->disk->advise(c->r->disk, c->fd, at + size, (uint64_t)READAHEAD_BLOCKS * c->r->m.block_bytes, PP_DISK_READ_SOON);
	rc = pp_file_read_exact(c->r->disk, c->fd, c->path, b, size, at);
	if (rc == -EIO)
		return pp_detail(rc, "%s cannot be read at offset %" PRIu64 ": %s", c->path, at, pp_error_text(rc));
	if (rc)
		return rc;
	if (b->checksum != pp_ckpt_block_checksum(b, size, &place))
		return bad_block(c, 0, "the checksum of the block does not match");
	if (b->magic != PP_CKPT_BLOCK_MAGIC || b->used > size - sizeof(*b) || b->carried > b->used || b->carried % 8)
		return bad_block(c, 0, "the block's header is impossible");
	return 0;
}

/* `have` bytes of a record with its whole header at `at`: fills *rec, returns the size of head (key included), 0 if they
 * do not fit. */
static uint64_t decode_head(const uint8_t *at, uint64_t have, struct pp_ckpt_record *rec)
{
	struct pp_ckpt_entry e;
	uint64_t head = sizeof(e);

	if (have < sizeof(e))
		return 0;
	memcpy(&e, at, sizeof(e));
	*rec = (struct pp_ckpt_record){
		.table = e.table,
		.key_size = e.key_size,
		.size = e.size,
		.seq = e.seq,
		.tag = e.tag,
		.flags = e.flags,
	};
	if (e.bits & PP_CKPT_EXPIRES) {
		if (have < head + 8)
			return 0;
		memcpy(&rec->expires_ms, at + head, 8);
		head += 8;
	}
	rec->key = at + head;
	head += e.key_size;
	rec->value = at + head;
	return e.key_size < 1 || e.key_size > PP_KEY_MAX || e.size > PP_VALUE_MAX || head > have ? 0 : head;
}

static int deliver(struct scan *c, const struct pp_ckpt_record *rec)
{
	c->records++;
	return c->on_record(c->ctx, rec);
}

/* A record that is larger than the rest of its block must be the block's last one. */
static int begin_span(struct scan *c, const uint8_t *at, uint64_t have, uint64_t size)
{
	if (have < c->r->m.block_bytes - sizeof(struct pp_ckpt_block))
		return bad_block(c, (uint64_t)(at - c->block), "a record is longer than its block");
	c->span = malloc(size);
	if (!c->span)
		return pp_detail(-ENOMEM, "no memory for a record of %" PRIu64 " bytes", size);
	memcpy(c->span, at, have);
	c->span_size = size;
	c->span_have = have;
	return 0;
}

static int continue_span(struct scan *c, const uint8_t *at, uint32_t carried)
{
	struct pp_ckpt_record rec;
	int rc = 0;

	if (!c->span != !carried || (carried && carried > c->span_size - c->span_have))
		return bad_block(c, offsetof(struct pp_ckpt_block, carried), "blocks do not fit together");
	if (!carried)
		return 0;
	memcpy(c->span + c->span_have, at, carried);
	c->span_have += carried;
	if (c->span_have < c->span_size)
		return 0;
	if (!decode_head(c->span, c->span_size, &rec))
		rc = bad_block(c, sizeof(struct pp_ckpt_block), "a record is impossible");
	else
		rc = deliver(c, &rec);
	free(c->span);
	c->span = NULL;
	return rc;
}

static int read_block(struct scan *c)
{
	const struct pp_ckpt_block *b = (const struct pp_ckpt_block *)c->block;
	const uint8_t *at = c->block + sizeof(*b) + b->carried;
	const uint8_t *end = c->block + sizeof(*b) + b->used;
	struct pp_ckpt_record rec;
	uint32_t starts = 0;
	int rc = continue_span(c, c->block + sizeof(*b), b->carried);

	while (!rc && at < end) {
		uint64_t have = (uint64_t)(end - at);
		uint64_t head = decode_head(at, have, &rec);
		uint64_t size = pp_ckpt_round8(head + rec.size);

		if (!head || c->span)
			return bad_block(c, (uint64_t)(at - c->block), "a record is impossible");
		starts++;
		if (size > have)
			rc = begin_span(c, at, have, size);
		else
			rc = deliver(c, &rec);
		at += size > have ? have : size;
	}
	if (!rc && starts != b->records)
		return bad_block(c, offsetof(struct pp_ckpt_block, records), "records are missing");
	return rc;
}

static int read_blocks(struct scan *c)
{
	uint64_t blocks = (c->s->bytes + c->r->m.block_bytes - 1) / c->r->m.block_bytes;
	int rc = 0;

	c->r->disk->advise(c->r->disk, c->fd, 0, 0, PP_DISK_SEQUENTIAL);
	for (uint64_t n = 0; n < blocks && !rc; n++) {
		rc = load_block(c, n);
		if (!rc)
			rc = read_block(c);
	}
	if (!rc && (c->span || c->records != c->s->records))
		rc = damaged(c->path, c->s->bytes, "records that the manifest promises are missing");
	return rc;
}

int pp_ckpt_read_stream(struct pp_ckpt_reader *r, unsigned stream,
			int (*on_record)(void *ctx, const struct pp_ckpt_record *), void *ctx)
{
	struct scan c = {.r = r, .stream = stream, .fd = -1, .on_record = on_record, .ctx = ctx};
	int rc;

	if (stream >= r->m.streams)
		return pp_detail(-EINVAL, "the checkpoint has no stream %u", stream);
	c.s = &r->streams[stream];
	rc = pp_ckpt_stream_path(c.path, r->dir, r->m.number, stream);
	if (!rc)
		rc = pp_file_open(r->disk, c.path, O_RDONLY, 0, &c.fd);
	if (rc)
		return rc;
	c.block = aligned_alloc(4096, (r->m.block_bytes + 4095u) & ~4095u);
	if (!c.block)
		rc = pp_detail(-ENOMEM, "no memory for a checkpoint block");
	else
		rc = read_blocks(&c);
	free(c.block);
	free(c.span);
	pp_file_close(r->disk, c.fd);
	return rc;
}
