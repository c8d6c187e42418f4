/*
 * backup.c - copying a running store's files, and verifying files without a daemon.
 *
 * Consistent by construction: the manifest names a checkpoint at S; its stream files never change and are opened before the manifest is looked
 * at again, so they stay readable though the next checkpoint may remove their names. The log is copied unit by unit, through the same walk
 * that recovery uses: from where records above S begin, up to the cut, a unit that ended an epoch and was durable before we began. What
 * lies behind the cut is not copied: the copy's last segment ends in a hole, as a log does that was never written further. A segment that is
 * recycled under us shows as a bad unit or a missing beginning; then a newer checkpoint is there and all begins anew.
 *
 * The log before the checkpoint's files: they cannot be lost any more. The manifest last.
 * Dies inside: a directory without a manifest or with half a log. Whoever calls this marks it as unfinished before and until it is verified.
 */
#include "engine/backup.h"

#include "engine/checkpoint.h"
#include "engine/ckpt_file.h"
#include "engine/file.h"
#include "engine/wal_walk.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COPY_BYTES (1u << 20)

static struct pp_disk *const disk = &pp_disk_real;

struct copy {
	char wal_from[PATH_MAX], wal_to[PATH_MAX], ckpt_from[PATH_MAX], ckpt_to[PATH_MAX];
	uint64_t store_id;
	/* the log's file being written */
	int fd;
	uint64_t number;                   /* 0: none */
	char path[PP_WAL_PATH];
};

static int join(char *out, const char *dir, const char *name)
{
	return pp_ckpt_path(out, dir, name);
}

/* ---- the log ---- */

static int end_segment(struct copy *c)
{
	int rc = 0;

	if (c->number)
		rc = pp_file_sync(disk, c->fd, c->path);
	pp_file_close(disk, c->fd);
	c->fd = -1;
	c->number = 0;
	return rc;
}

static int begin_segment(struct copy *c, const struct pp_wal_segment_header *h)
{
	void *block = aligned_alloc(PP_WAL_BLOCK, PP_WAL_BLOCK);
	int rc = block ? end_segment(c) : pp_detail(-ENOMEM, "no memory for a copy of the log");

	if (!rc)
		rc = pp_wal_format_path(c->path, c->wal_to, PP_WAL_FILE_LOG, h->number);
	if (!rc)
		rc = pp_file_open(disk, c->path, O_RDWR | O_CREAT | O_EXCL, 0600, &c->fd);
	if (!rc) {
		c->number = h->number;
		pp_wal_format_segment(block, h);
		rc = pp_file_write(disk, c->fd, c->path, block, PP_WAL_BLOCK, 0);
	}
	if (!rc && ftruncate(c->fd, (off_t)h->segment_bytes))
		rc = pp_detail(-errno, "cannot make %s: %s", c->path, strerror(errno));
	free(block);
	return rc;
}

static int copy_unit(void *ctx, struct pp_wal_walk *walk, const struct pp_wal_unit_header *unit)
{
	struct copy *c = ctx;
	int rc = 0;

	if (c->number != unit->segment)
		rc = begin_segment(c, &walk->files[walk->file].header);
	return rc ? rc : pp_file_write(disk, c->fd, c->path, unit, unit->total_bytes, unit->offset);
}

static int copy_log(struct copy *c, uint64_t from_epoch, uint64_t cut)
{
	struct pp_wal_walk walk = {.dir = c->wal_from, .store_id = c->store_id, .reader = {.disk = disk}};
	int rc = pp_wal_walk_load(&walk, from_epoch, NULL), end;

	if (!rc && walk.count) {
		walk.end_unit = cut;
		rc = pp_wal_walk_run(&walk, copy_unit, c);
	}
	end = end_segment(c);
	pp_wal_walk_release(&walk);
	return rc ? rc : end ? end : pp_file_sync_dir(disk, c->wal_to);
}

/* ---- the checkpoint ---- */

static int copy_open_file(int from, const char *from_path, const char *to_path)
{
	void *buffer = malloc(COPY_BYTES);
	uint64_t offset = 0;
	size_t got = 1;
	int to = -1, rc = buffer ? 0 : pp_detail(-ENOMEM, "no memory for a copy of the checkpoint");

	if (!rc)
		rc = pp_file_open(disk, to_path, O_RDWR | O_CREAT | O_EXCL, 0600, &to);
	while (!rc && got) {
		rc = pp_file_read(disk, from, from_path, buffer, COPY_BYTES, offset, &got);
		if (!rc && got)
			rc = pp_file_write(disk, to, to_path, buffer, got, offset);
		offset += got;
	}
	if (!rc)
		rc = pp_file_sync(disk, to, to_path);
	pp_file_close(disk, to);
	free(buffer);
	return rc;
}

/* Descriptors of the manifest and all its streams; they stay readable whatever the next checkpoint removes. */
static int open_checkpoint(struct copy *c, uint64_t number, unsigned streams, int *fds)
{
	char path[PATH_MAX];
	uint64_t now = 0;
	int rc = join(path, c->ckpt_from, PP_CKPT_MANIFEST);

	for (unsigned i = 0; i <= streams; i++)
		fds[i] = -1;
	if (!rc)
		rc = pp_file_open(disk, path, O_RDONLY, 0, &fds[streams]);
	for (unsigned i = 0; i < streams && !rc; i++) {
		rc = pp_ckpt_stream_path(path, c->ckpt_from, number, i);
		if (!rc)
			rc = pp_file_open(disk, path, O_RDONLY, 0, &fds[i]);
	}
	if (!rc)
		rc = pp_ckpt_current(disk, c->ckpt_from, c->store_id, &now);
	return rc == -ENOENT || (!rc && now != number) ? -EAGAIN : rc;
}

static int copy_checkpoint(struct copy *c, uint64_t number, unsigned streams, const int *fds)
{
	char from[PATH_MAX], to[PATH_MAX];
	int rc = 0;

	for (unsigned i = 0; i <= streams && !rc; i++) {
		rc = i < streams ? pp_ckpt_stream_path(from, c->ckpt_from, number, i) : join(from, c->ckpt_from, PP_CKPT_MANIFEST);
		if (!rc)
			rc = i < streams ? pp_ckpt_stream_path(to, c->ckpt_to, number, i) : join(to, c->ckpt_to, PP_CKPT_MANIFEST);
		if (!rc)
			rc = copy_open_file(fds[i], from, to);
	}
	return rc ? rc : pp_file_sync_dir(disk, c->ckpt_to);
}

/* ---- all of it ---- */

static int make_paths(struct copy *c, const char *from, const char *to)
{
	int rc = join(c->wal_from, from, "wal");

	if (!rc)
		rc = join(c->wal_to, to, "wal");
	if (!rc)
		rc = join(c->ckpt_from, from, "checkpoint");
	return rc ? rc : join(c->ckpt_to, to, "checkpoint");
}

static int copy_all(struct copy *c, uint64_t cut)
{
	struct pp_ckpt_reader *ckpt = NULL;
	uint64_t number = 0, snapshot = 0;
	unsigned streams = 0;
	int *fds, rc = pp_ckpt_open(disk, c->ckpt_from, c->store_id, &ckpt);

	if (!rc) {
		number = pp_ckpt_get_info(ckpt)->number;
		snapshot = pp_ckpt_get_info(ckpt)->snapshot;
		streams = pp_ckpt_get_info(ckpt)->streams;
		pp_ckpt_close(ckpt);
	} else if (rc != PPDB_NOTFOUND) {
		return rc == PPDB_CORRUPT ? -EAGAIN : rc; /* perhaps replaced while it was read */
	}
	if (rc == PPDB_NOTFOUND)
		return copy_log(c, 0, cut);
	fds = malloc((streams + 1) * sizeof(*fds));
	if (!fds)
		return pp_detail(-ENOMEM, "out of memory");
	rc = open_checkpoint(c, number, streams, fds);
	if (!rc)
		rc = copy_log(c, snapshot, cut);
	if (!rc)
		rc = copy_checkpoint(c, number, streams, fds);
	for (unsigned i = 0; i <= streams; i++)
		pp_file_close(disk, fds[i]);
	free(fds);
	return rc;
}

/* Damage where the store runs on: looked at again with what is there now. */
static bool moved_on(const struct copy *c, uint64_t number_before)
{
	uint64_t number = 0;

	return pp_ckpt_current(disk, c->ckpt_from, c->store_id, &number) ? false : number != number_before;
}

int pp_backup_copy(const char *from, const char *to, uint64_t store_id, uint64_t cut)
{
	struct copy c = {.store_id = store_id, .fd = -1};
	uint64_t number = 0;
	int rc = make_paths(&c, from, to);

	if (!rc)
		rc = pp_file_make_dir(disk, c.wal_to, 0700);
	if (!rc)
		rc = pp_file_make_dir(disk, c.ckpt_to, 0700);
	if (rc)
		return rc;
	if (pp_ckpt_current(disk, c.ckpt_from, store_id, &number))
		number = 0;
	rc = copy_all(&c, cut);
	if ((rc == PPDB_CORRUPT || rc == -ENOENT) && moved_on(&c, number))
		return -EAGAIN;
	return rc;
}

static int remove_one(void *ctx, const char *name)
{
	char path[PATH_MAX];
	int rc;

	if (name[0] == '.')
		return 0; /* the directory itself, and the one above */
	rc = join(path, ctx, name);
	return rc ? rc : pp_file_remove(disk, path);
}

int pp_backup_clear(const char *to)
{
	struct copy c;
	int rc = make_paths(&c, to, to);

	if (!rc)
		rc = pp_file_list(disk, c.wal_to, remove_one, c.wal_to);
	if (!rc)
		rc = pp_file_list(disk, c.ckpt_to, remove_one, c.ckpt_to);
	return rc;
}

/* ---- verify ---- */

static int count_record(void *ctx, const struct pp_ckpt_record *r)
{
	struct pp_backup_report *out = ctx;

	out->checkpoint_records++;
	out->bytes += r->key_size + r->size;
	return 0;
}

static int count_log(void *ctx, uint64_t epoch, const void *data, size_t size)
{
	struct pp_backup_report *out = ctx;

	(void)epoch;
	(void)data;
	out->log_records++;
	out->bytes += size;
	return 0;
}

static int verify_checkpoint(const char *dir, uint64_t store_id, struct pp_backup_report *out)
{
	struct pp_ckpt_reader *ckpt = NULL;
	int rc = pp_ckpt_open(disk, dir, store_id, &ckpt);

	if (rc)
		return rc == PPDB_NOTFOUND ? 0 : rc;
	out->checkpoint_epoch = pp_ckpt_get_info(ckpt)->snapshot;
	for (unsigned i = 0; i < pp_ckpt_get_info(ckpt)->streams && !rc; i++)
		rc = pp_ckpt_read_stream(ckpt, i, count_record, out);
	pp_ckpt_close(ckpt);
	return rc;
}

int pp_backup_verify(const char *dir, uint64_t store_id, struct pp_backup_report *out)
{
	struct copy c;
	struct pp_wal_recovered log;
	struct pp_wal_config config = {.dir = c.wal_from, .store_id = store_id};
	int rc = make_paths(&c, dir, dir);

	memset(out, 0, sizeof(*out));
	if (!rc)
		rc = verify_checkpoint(c.ckpt_from, store_id, out);
	if (!rc)
		rc = pp_wal_recover(&config, out->checkpoint_epoch, count_log, out, &log);
	if (rc)
		return rc;
	out->epoch = log.last.epoch;
	out->torn = log.torn;
	return 0;
}
