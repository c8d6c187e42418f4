/*
 * checkpoint.c - writes checkpoints: stream files block by block, then the manifest that makes them count.
 *
 * Invariants: nothing that the manifest in place names is ever changed or removed; file numbers only rise, so that a new
 * checkpoint never meets a file of an older one. Order of a commit: stream files synced -> manifest written under another
 * name and synced -> renamed -> directory synced -> older files removed. Each arrow is a point where a crash leaves either
 * the old or the new checkpoint complete.
 *
 * A stream has one writer thread and shares nothing with the others but the directory; the error of a stream stays in it and
 * commit refuses. Counters for progress are owner-written (relaxed, statistics).
 *
 * A process that dies here leaves files that no manifest names, and perhaps MANIFEST.tmp; the next begin or commit removes them.
 */
#include "engine/checkpoint.h"
#include "engine/ckpt_file.h"
#include "engine/file.h"
#include "engine/layout.h"
#include "shm/atomic.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define WRITEBACK_BYTES (8u << 20)

struct stream {
	int fd;
	int error; /* first failure; final */
	bool ended;
	uint8_t *block; /* header, then payload; NULL until the first put */
	uint32_t used;  /* payload bytes */
	uint32_t carried, starts;
	uint64_t blocks; /* written */
	uint64_t flushed; /* bytes for which writeback was started */
	pp_a64 bytes, records; /* owner writes, progress reads */
	uint32_t first_table, last_table, first_size, last_size;
	uint8_t first[PP_KEY_MAX], last[PP_KEY_MAX];
	char path[PATH_MAX];
};

struct pp_ckpt_writer {
	struct pp_disk *disk;
	char dir[PATH_MAX];
	uint64_t store_id, snapshot, number;
	uint32_t block_bytes;
	unsigned streams;
	struct stream *stream[];
};

/* ---- files of other checkpoints --------------------------------------------------------------------------------- */

static bool parse_name(const char *name, uint64_t *number)
{
	unsigned stream;
	int end = 0;

	return sscanf(name, PP_CKPT_PREFIX "%16" SCNx64 "-%u%n", number, &stream, &end) == 2 && !name[end];
}

struct sweep {
	struct pp_disk *disk;
	const char *dir;
	uint64_t from, to;         /* removed: files with these numbers */
	uint64_t highest;          /* of all that were met */
};

static int sweep_name(void *ctx, const char *name)
{
	struct sweep *s = ctx;
	char path[PATH_MAX];
	uint64_t number = 0;

	if (!parse_name(name, &number))
		return 0;
	if (number > s->highest)
		s->highest = number;
	if (number >= s->from && number <= s->to && !pp_ckpt_path(path, s->dir, name))
		s->disk->remove(s->disk, path);
	return 0;
}

/* A file that cannot be removed only takes space: no error. */
static int sweep_dir(struct pp_ckpt_writer *w, uint64_t from, uint64_t to, uint64_t *highest)
{
	struct sweep s = {.disk = w->disk, .dir = w->dir, .from = from, .to = to};
	int rc = pp_file_list(w->disk, w->dir, sweep_name, &s);

	*highest = s.highest;
	return rc;
}

/*
 * Files of unfinished checkpoints go; older ones than that of the manifest stay until a commit has succeeded: an earlier commit
 * may have renamed without the directory's sync, and if that failed, a second one that succeeds proves nothing. A damaged
 * manifest is no reason to stop: the store in memory is whole, and this checkpoint will replace it. Until then all files stay.
 */
static int choose_number(struct pp_ckpt_writer *w)
{
	uint64_t current = 0, highest = 0;
	int rc = pp_ckpt_current(w->disk, w->dir, w->store_id, &current);
	bool known = rc == 0 || rc == PPDB_NOTFOUND;

	if (rc < 0 && rc > PPDB_NOTFOUND && rc != -ENOENT)
		return rc;
	rc = sweep_dir(w, known ? current + 1 : UINT64_MAX, UINT64_MAX, &highest);
	w->number = (highest > current ? highest : current) + 1;
	return rc;
}

/* ---- begin ------------------------------------------------------------------------------------------------------ */

static int add_stream(struct pp_ckpt_writer *w, unsigned i)
{
	struct stream *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return pp_detail(-ENOMEM, "no memory for a checkpoint stream");
	s->fd = -1;
	w->stream[i] = s;
	w->streams = i + 1;
	rc = pp_ckpt_stream_path(s->path, w->dir, w->number, i);
	if (!rc)
		rc = pp_file_open(w->disk, s->path, O_WRONLY | O_CREAT | O_EXCL, 0600, &s->fd);
	return rc;
}

int pp_ckpt_begin(struct pp_disk *disk, const char *dir, uint64_t store_id, uint64_t snapshot, unsigned streams,
		  struct pp_ckpt_writer **out)
{
	struct pp_ckpt_writer *w;
	int rc;

	if (streams < 1 || streams > PP_CKPT_STREAMS_MAX)
		return pp_detail(-EINVAL, "a checkpoint has 1 to %u streams, not %u", PP_CKPT_STREAMS_MAX, streams);
	if (strlen(dir) >= sizeof(w->dir))
		return pp_detail(-ENAMETOOLONG, "the path of the checkpoint directory is too long");
	w = calloc(1, sizeof(*w) + streams * sizeof(w->stream[0]));
	if (!w)
		return pp_detail(-ENOMEM, "no memory for a checkpoint writer");
	strcpy(w->dir, dir);
	w->disk = disk;
	w->store_id = store_id;
	w->snapshot = snapshot;
	w->block_bytes = PP_CKPT_BLOCK_BYTES;
	rc = choose_number(w);
	for (unsigned i = 0; i < streams && !rc; i++)
		rc = add_stream(w, i);
	if (rc) {
		pp_ckpt_abort(w);
		return rc;
	}
	*out = w;
	return 0;
}

int pp_ckpt_set_block_bytes(struct pp_ckpt_writer *w, uint32_t bytes)
{
	if (bytes < PP_CKPT_BLOCK_MIN || bytes > PP_CKPT_BLOCK_MAX || bytes % 8)
		return pp_detail(-EINVAL, "a checkpoint block of %u bytes is not possible", bytes);
	for (unsigned i = 0; i < w->streams; i++)
		if (w->stream[i]->block)
			return pp_detail(-EBUSY, "the block size is fixed with the first record");
	w->block_bytes = bytes;
	return 0;
}

/* ---- blocks ----------------------------------------------------------------------------------------------------- */

static uint32_t room(const struct pp_ckpt_writer *w, const struct stream *s)
{
	return w->block_bytes - (uint32_t)sizeof(struct pp_ckpt_block) - s->used;
}

/* Starts writeback now and then, so that the sync at the end does not hold up the log's disk for seconds. A hint. */
static void start_writeback(struct pp_disk *disk, struct stream *s, uint64_t end)
{
	if (end - s->flushed < WRITEBACK_BYTES)
		return;
	disk->advise(disk, s->fd, s->flushed, end - s->flushed, PP_DISK_WRITE_SOON);
	s->flushed = end;
}

/* Only the last block of a stream may be shorter than the others. */
static int flush_block(struct pp_ckpt_writer *w, unsigned index, bool last)
{
	struct stream *s = w->stream[index];
	struct pp_ckpt_block *b = (struct pp_ckpt_block *)s->block;
	uint32_t size = last ? (uint32_t)pp_ckpt_round8(sizeof(*b) + s->used) : w->block_bytes;
	struct pp_ckpt_place place = {w->store_id, w->snapshot, w->number, index, s->blocks};
	uint64_t at = s->blocks * w->block_bytes;
	int rc;

	*b = (struct pp_ckpt_block){
		.magic = PP_CKPT_BLOCK_MAGIC,
		.stream = index,
		.store_id = w->store_id,
		.snapshot = w->snapshot,
		.number = w->number,
		.block = s->blocks,
		.used = s->used,
		.carried = s->carried,
		.records = s->starts,
	};
	memset(s->block + sizeof(*b) + s->used, 0, size - sizeof(*b) - s->used);
	b->checksum = pp_ckpt_block_checksum(b, size, &place);
	rc = pp_file_write(w->disk, s->fd, s->path, b, size, at);
	if (rc)
		return rc;
	start_writeback(w->disk, s, at + size);
	s->blocks++;
	s->used = s->carried = s->starts = 0;
	pp_store_rlx(&s->bytes, at + size); /* owner */
	return 0;
}

static int alloc_block(struct pp_ckpt_writer *w, struct stream *s)
{
	s->block = aligned_alloc(4096, (w->block_bytes + 4095u) & ~4095u);
	return s->block ? 0 : pp_detail(-ENOMEM, "no memory for a checkpoint block");
}

static void append(struct stream *s, const void *data, uint64_t size)
{
	if (size)
		memcpy(s->block + sizeof(struct pp_ckpt_block) + s->used, data, size);
	s->used += (uint32_t)size;
}

static void append_padding(struct stream *s)
{
	static const uint8_t zeros[8];

	append(s, zeros, pp_ckpt_round8(s->used) - s->used);
}

/* ---- records ---------------------------------------------------------------------------------------------------- */

static int compare(uint32_t ta, const void *a, uint32_t na, uint32_t tb, const void *b, uint32_t nb)
{
	int c;

	if (ta != tb)
		return ta < tb ? -1 : 1;
	c = memcmp(a, b, na < nb ? na : nb);
	return c ? c : (na > nb) - (na < nb);
}

static int check_record(const struct stream *s, const struct pp_ckpt_record *r)
{
	if (r->key_size < 1 || r->key_size > PP_KEY_MAX)
		return pp_detail(PPDB_KEYSIZE, "a record with a key of %u bytes", r->key_size);
	if (r->size > PP_VALUE_MAX)
		return pp_detail(PPDB_VALSIZE, "a record with a value of %" PRIu64 " bytes", r->size);
	if (s->last_size &&
	    compare(s->last_table, s->last, s->last_size, r->table, r->key, r->key_size) >= 0)
		return pp_detail(-EINVAL, "keys of a checkpoint stream must rise");
	return 0;
}

static void note_key(struct stream *s, const struct pp_ckpt_record *r)
{
	if (!s->first_size) {
		s->first_table = r->table;
		s->first_size = r->key_size;
		memcpy(s->first, r->key, r->key_size);
	}
	s->last_table = r->table;
	s->last_size = r->key_size;
	memcpy(s->last, r->key, r->key_size);
}

static void append_head(struct stream *s, const struct pp_ckpt_record *r)
{
	struct pp_ckpt_entry e = {
		.seq = r->seq,
		.tag = r->tag,
		.table = r->table,
		.size = (uint32_t)r->size,
		.flags = r->flags,
		.key_size = (uint16_t)r->key_size,
		.bits = r->expires_ms ? PP_CKPT_EXPIRES : 0,
	};

	append(s, &e, sizeof(e));
	if (r->expires_ms)
		append(s, &r->expires_ms, sizeof(r->expires_ms));
	append(s, r->key, r->key_size);
	s->starts++;
}

/* The value of a record larger than a block: as much as fits, block after block. What is left of the last one is used. */
static int append_spanning(struct pp_ckpt_writer *w, unsigned index, const uint8_t *value, uint64_t size)
{
	struct stream *s = w->stream[index];
	bool later = false;

	for (;;) {
		uint64_t part = size < room(w, s) ? size : room(w, s);
		int rc;

		append(s, value, part);
		value += part;
		size -= part;
		if (!size)
			break;
		if (later)
			s->carried = s->used;
		rc = flush_block(w, index, false);
		if (rc)
			return rc;
		later = true;
	}
	append_padding(s);
	if (later)
		s->carried = s->used;
	return 0;
}

static int put_record(struct pp_ckpt_writer *w, unsigned index, const struct pp_ckpt_record *r)
{
	struct stream *s = w->stream[index];
	uint64_t head = sizeof(struct pp_ckpt_entry) + (r->expires_ms ? 8 : 0) + r->key_size;
	uint64_t whole = pp_ckpt_round8(head + r->size);
	int rc = s->block ? 0 : alloc_block(w, s);

	if (!rc && s->used && whole > room(w, s))
		rc = flush_block(w, index, false);
	if (rc)
		return rc;
	append_head(s, r);
	rc = append_spanning(w, index, r->value, r->size);
	if (rc)
		return rc;
	note_key(s, r);
	pp_stat_add(&s->records, 1);
	return 0;
}

int pp_ckpt_put(struct pp_ckpt_writer *w, unsigned stream, const struct pp_ckpt_record *r)
{
	struct stream *s;
	int rc;

	if (stream >= w->streams || w->stream[stream]->ended)
		return pp_detail(-EINVAL, "checkpoint stream %u is not open", stream);
	s = w->stream[stream];
	if (s->error)
		return s->error;
	rc = check_record(s, r);
	if (!rc)
		rc = put_record(w, stream, r);
	s->error = rc;
	return rc;
}

int pp_ckpt_end_stream(struct pp_ckpt_writer *w, unsigned stream)
{
	struct stream *s;

	if (stream >= w->streams)
		return pp_detail(-EINVAL, "the checkpoint has no stream %u", stream);
	s = w->stream[stream];
	if (s->ended || s->error)
		return s->error;
	if (s->used)
		s->error = flush_block(w, stream, true);
	if (!s->error)
		s->error = pp_file_sync(w->disk, s->fd, s->path);
	s->ended = true;
	free(s->block);
	s->block = NULL;
	return s->error;
}

/* ---- commit ----------------------------------------------------------------------------------------------------- */

static uint64_t manifest_bytes(const struct pp_ckpt_manifest *m)
{
	return sizeof(*m) + m->streams * sizeof(struct pp_ckpt_stream) + pp_ckpt_round8(m->key_bytes) +
	       m->lost * sizeof(struct pp_ckpt_range) + m->floors * sizeof(uint64_t);
}

static uint8_t *put_bytes(uint8_t *to, const void *from, size_t size)
{
	if (size)
		memcpy(to, from, size);
	return to + size;
}

static void fill_streams(const struct pp_ckpt_writer *w, uint8_t *at, uint8_t *keys)
{
	for (unsigned i = 0; i < w->streams; i++) {
		const struct stream *s = w->stream[i];
		struct pp_ckpt_stream e = {
			.bytes = pp_load_rlx(&s->bytes), /* owner ended */
			.records = pp_load_rlx(&s->records),
			.first_table = s->first_table,
			.last_table = s->last_table,
			.first_size = (uint16_t)s->first_size,
			.last_size = (uint16_t)s->last_size,
		};

		at = put_bytes(at, &e, sizeof(e));
		keys = put_bytes(keys, s->first, s->first_size);
		keys = put_bytes(keys, s->last, s->last_size);
	}
}

static int build_manifest(const struct pp_ckpt_writer *w, const uint64_t *floors, size_t nfloors,
			  const struct pp_ckpt_meta *meta, uint8_t **bytes_out, uint64_t *size_out)
{
	struct pp_ckpt_manifest m = {
		.magic = PP_CKPT_MANIFEST_MAGIC,
		.version = PP_CKPT_VERSION,
		.streams = w->streams,
		.store_id = w->store_id,
		.number = w->number,
		.snapshot = w->snapshot,
		.max_tag = meta->max_tag,
		.incarnation = meta->incarnation,
		.block_bytes = w->block_bytes,
		.lost = (uint32_t)meta->nlost,
		.floors = nfloors,
	};
	uint8_t *bytes, *at;

	for (unsigned i = 0; i < w->streams; i++)
		m.key_bytes += w->stream[i]->first_size + w->stream[i]->last_size;
	m.bytes = manifest_bytes(&m);
	bytes = calloc(1, m.bytes);
	if (!bytes)
		return pp_detail(-ENOMEM, "no memory for a manifest of %" PRIu64 " bytes", m.bytes);
	at = bytes + sizeof(m) + w->streams * sizeof(struct pp_ckpt_stream);
	fill_streams(w, bytes + sizeof(m), at);
	at += pp_ckpt_round8(m.key_bytes);
	at = put_bytes(at, meta->lost, meta->nlost * sizeof(*meta->lost));
	put_bytes(at, floors, nfloors * sizeof(*floors));
	memcpy(bytes, &m, sizeof(m));
	m.checksum = pp_ckpt_manifest_checksum(bytes, m.bytes, w->store_id);
	memcpy(bytes, &m, sizeof(m));
	*bytes_out = bytes;
	*size_out = m.bytes;
	return 0;
}

/* *renamed says whether the new manifest is in place: from then on its files must stay. */
static int replace_manifest(const struct pp_ckpt_writer *w, const uint8_t *bytes, uint64_t size, bool *renamed)
{
	char path[PATH_MAX], tmp[PATH_MAX];
	int fd = -1;
	int rc = pp_ckpt_path(path, w->dir, PP_CKPT_MANIFEST);

	*renamed = false;
	if (!rc)
		rc = pp_ckpt_path(tmp, w->dir, PP_CKPT_MANIFEST ".tmp");
	if (!rc)
		rc = pp_file_open(w->disk, tmp, O_WRONLY | O_CREAT | O_TRUNC, 0600, &fd);
	if (rc)
		return rc;
	rc = pp_file_write(w->disk, fd, tmp, bytes, size, 0);
	if (!rc)
		rc = pp_file_sync(w->disk, fd, tmp);
	pp_file_close(w->disk, fd);
	/* The names of the stream files must be durable before a manifest that needs them can be. */
	if (!rc)
		rc = pp_file_sync_dir(w->disk, w->dir);
	if (!rc)
		rc = pp_file_rename(w->disk, tmp, path);
	if (rc) {
		w->disk->remove(w->disk, tmp);
		return rc;
	}
	*renamed = true;
	return pp_file_sync_dir(w->disk, w->dir);
}

static void free_writer(struct pp_ckpt_writer *w, bool remove_files)
{
	for (unsigned i = 0; i < w->streams; i++) {
		struct stream *s = w->stream[i];

		if (remove_files && s->fd >= 0)
			w->disk->remove(w->disk, s->path);
		pp_file_close(w->disk, s->fd);
		free(s->block);
		free(s);
	}
	free(w);
}

void pp_ckpt_abort(struct pp_ckpt_writer *w)
{
	if (w)
		free_writer(w, true);
}

static int end_all(struct pp_ckpt_writer *w)
{
	int rc = 0;

	for (unsigned i = 0; i < w->streams && !rc; i++)
		rc = pp_ckpt_end_stream(w, i);
	return rc;
}

int pp_ckpt_commit(struct pp_ckpt_writer *w, const uint64_t *floors, size_t nfloors,
		   const struct pp_ckpt_meta *meta)
{
	uint8_t *bytes = NULL;
	uint64_t size = 0, highest = 0;
	bool renamed = false;
	int rc = end_all(w);

	if (!rc && meta->nlost > 65536)
		rc = pp_detail(-EINVAL, "%zu lost ranges are too many for a checkpoint", meta->nlost);
	if (!rc)
		rc = build_manifest(w, floors, nfloors, meta, &bytes, &size);
	if (!rc)
		rc = replace_manifest(w, bytes, size, &renamed);
	if (!rc)
		(void)sweep_dir(w, 0, w->number - 1, &highest);
	free(bytes);
	free_writer(w, !renamed);
	return rc;
}

void pp_ckpt_progress(const struct pp_ckpt_writer *w, uint64_t *bytes, uint64_t *records)
{
	*bytes = *records = 0;
	for (unsigned i = 0; i < w->streams; i++) {
		*bytes += pp_load_rlx(&w->stream[i]->bytes);     /* stat */
		*records += pp_load_rlx(&w->stream[i]->records); /* stat */
	}
}
