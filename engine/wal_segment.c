/*
 * wal_segment.c - the writer's segment files: made ahead, handed out, retired, recycled.
 *
 * Life of a file: new-N (zero-filled, header, synced) -> wal-N (renamed, directory synced: from now on recovery sees it)
 * -> written -> full -> released -> deleted, or spare-N (renamed, directory synced) -> header of its next number, synced
 * -> wal-M. So a wal-* file always has a good header of its own number, and no old name ever leads to a new header.
 *
 * Only files that this process created are ever recycled or written: a killed predecessor's writes may still be on their way
 * to the files it had open; those are deleted, or, when recovery needed them, only read and deleted at release.
 * The exception is reserve-0: zeros, synced before it got this name, and closed since. A daemon that starts on a full disk makes its first
 * segment of it; it is made again when there is room for it besides the segments that are wanted.
 * A segment is released only when the durable position lies behind it: recovery can then begin in the next one, and a warm
 * restart finds that position.
 *
 * Threads: the writer takes and retires, any thread makes and releases. `making` is held during disk work, `lists` never.
 * A process that dies here leaves new-*, spare-* (deleted by the next open), reserve-0 (kept) or unused wal-* files (deleted when beyond the cut).
 */
#include "engine/wal_segment.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/file.h"
#include "shm/errors.h"

#define MODE 0600
#define RESERVE 0                      /* its number */

/* ---- lists ---- */

static void push(struct pp_wal_segment **head, struct pp_wal_segment **tail, struct pp_wal_segment *segment)
{
	segment->next = NULL;
	if (*head)
		(*tail)->next = segment;
	else
		*head = segment;
	*tail = segment;
}

static struct pp_wal_segment *new_segment(uint64_t number)
{
	struct pp_wal_segment *segment = calloc(1, sizeof(*segment));

	if (!segment) {
		pp_detail(-ENOMEM, "no memory for a log segment");
		return NULL;
	}
	segment->number = number;
	segment->fd = -1;
	return segment;
}

void pp_wal_segments_free(struct pp_wal_segments *s, struct pp_wal_segment *segment)
{
	if (!segment)
		return;
	pp_file_close(s->config.disk, segment->fd);
	free(segment);
}

static void free_list(struct pp_wal_segments *s, struct pp_wal_segment *segment)
{
	while (segment) {
		struct pp_wal_segment *next = segment->next;

		pp_wal_segments_free(s, segment);
		segment = next;
	}
}

/* ---- making ---- */

static int open_file(struct pp_wal_segments *s, const char *path, int flags, int *fd)
{
	bool direct = false;
	int rc;

	if (s->config.no_direct)
		rc = pp_file_open(s->config.disk, path, flags, MODE, fd);
	else
		rc = pp_file_open_direct(s->config.disk, path, flags, MODE, fd, &direct);
	if (!rc)
		pp_store_rlx(&s->direct, direct); /* stat */
	return rc;
}

static int write_header(struct pp_wal_segments *s, int fd, const char *path, uint64_t number)
{
	struct pp_wal_segment_header header = s->header;
	void *block = aligned_alloc(PP_WAL_BLOCK, PP_WAL_BLOCK);
	int rc;

	if (!block)
		return pp_detail(-ENOMEM, "no memory for a log segment's header");
	header.number = number;
	pp_wal_format_segment(block, &header);
	rc = pp_file_write(s->config.disk, fd, path, block, PP_WAL_BLOCK, 0);
	free(block);
	return rc ? rc : pp_file_sync(s->config.disk, fd, path);
}

/* Zeros are written, not only reserved: an overwrite of written blocks needs no change of metadata at commit time. */
static int create_zeros(struct pp_wal_segments *s, const char *path, int *fd)
{
	int rc = open_file(s, path, O_RDWR | O_CREAT | O_TRUNC, fd);

	if (!rc)
		rc = pp_file_reserve(s->config.disk, *fd, path, s->config.segment_bytes);
	return rc ? rc : pp_file_zero(s->config.disk, *fd, path, 0, s->config.segment_bytes);
}

static int create(struct pp_wal_segments *s, const char *path, uint64_t number, int *fd)
{
	int rc = create_zeros(s, path, fd);

	return rc ? rc : write_header(s, *fd, path, number);
}

static struct pp_wal_segment *pop_spare(struct pp_wal_segments *s)
{
	struct pp_wal_segment *segment;

	pthread_mutex_lock(&s->lists);
	segment = s->spare;
	if (segment) {
		s->spare = segment->next;
		s->spares--;
	}
	pthread_mutex_unlock(&s->lists);
	return segment;
}

/* `from` gets its header and becomes wal-<number>. On failure the file is removed. */
static int make_file(struct pp_wal_segments *s, bool recycle, const char *from, uint64_t number, int *fd)
{
	char path[PP_WAL_PATH];
	int rc = pp_wal_format_path(path, s->dir, PP_WAL_FILE_LOG, number);

	if (!rc && recycle)
		rc = open_file(s, from, O_RDWR, fd);
	if (!rc)
		rc = recycle ? write_header(s, *fd, from, number) : create(s, from, number, fd);
	if (!rc)
		rc = pp_file_rename(s->config.disk, from, path);
	if (!rc) {
		rc = pp_file_sync_dir(s->config.disk, s->dir);
		if (!rc)
			return 0;
		pp_file_remove(s->config.disk, path);
	}
	pp_file_close(s->config.disk, *fd);
	*fd = -1;
	pp_file_remove(s->config.disk, from);
	return rc;
}

/* The reserve becomes the segment, on a full disk. `full` is what is returned when there is none. */
static int make_of_reserve(struct pp_wal_segments *s, uint64_t number, int *fd, int full)
{
	char sentence[256], from[PP_WAL_PATH];
	int rc;

	snprintf(sentence, sizeof(sentence), "%s", pp_detail_get());
	rc = pp_wal_format_path(from, s->dir, PP_WAL_FILE_RESERVE, RESERVE);
	if (!rc)
		rc = make_file(s, true, from, number, fd);
	return rc == -ENOENT ? pp_detail(full, "%s", sentence) : rc;
}

/* With `making` held. */
static int make_one(struct pp_wal_segments *s, struct pp_wal_segment **out)
{
	struct pp_wal_segment *spare = pop_spare(s);
	struct pp_wal_segment *segment = new_segment(s->next_number);
	char from[PP_WAL_PATH];
	int rc = segment ? 0 : -ENOMEM;

	if (!rc)
		rc = pp_wal_format_path(from, s->dir, spare ? PP_WAL_FILE_SPARE : PP_WAL_FILE_NEW,
					spare ? spare->number : s->next_number);
	if (!rc)
		rc = make_file(s, spare != NULL, from, segment->number, &segment->fd);
	if (rc == -ENOSPC && s->starting)
		rc = make_of_reserve(s, segment->number, &segment->fd, rc);
	pp_wal_segments_free(s, spare);
	if (rc) {
		pp_wal_segments_free(s, segment);
		return rc;
	}
	segment->own = true;
	s->next_number++;
	pp_stat_add(spare ? &s->recycled : &s->made, 1);
	*out = segment;
	return 0;
}

int pp_wal_segments_make(struct pp_wal_segments *s, unsigned at_least)
{
	struct pp_wal_segment *segment = NULL;
	int rc = 0;

	if (pp_load_acq(&s->ready_count) >= at_least)
		return 0;
	pthread_mutex_lock(&s->making);
	if (pp_load_acq(&s->ready_count) < at_least) {
		rc = make_one(s, &segment);
		if (!rc) {
			pthread_mutex_lock(&s->lists);
			push(&s->ready, &s->ready_tail, segment);
			pp_add_acqrel(&s->ready_count, 1);
			pthread_mutex_unlock(&s->lists);
			rc = 1;
		}
	}
	pthread_mutex_unlock(&s->making);
	return rc;
}

/* ---- the reserve ---- */

/* Is it there, and of the size of this configuration? One of another size is removed. */
static bool reserve_there(struct pp_wal_segments *s, const char *path)
{
	uint64_t size = 0;
	int fd;

	if (pp_file_open(s->config.disk, path, O_RDONLY, 0, &fd))
		return false;
	if (pp_file_size(s->config.disk, fd, path, &size))
		size = 0;
	pp_file_close(s->config.disk, fd);
	if (size == s->config.segment_bytes)
		return true;
	pp_file_remove(s->config.disk, path);
	return false;
}

static int make_reserve(struct pp_wal_segments *s, const char *path)
{
	char from[PP_WAL_PATH];
	int fd = -1, rc = pp_wal_format_path(from, s->dir, PP_WAL_FILE_NEW, RESERVE);

	if (!rc)
		rc = create_zeros(s, from, &fd);
	if (!rc)
		rc = pp_file_sync(s->config.disk, fd, from);
	pp_file_close(s->config.disk, fd);
	if (!rc)
		rc = pp_file_rename(s->config.disk, from, path);
	if (!rc)
		rc = pp_file_sync_dir(s->config.disk, s->dir);
	if (rc)
		pp_file_remove(s->config.disk, from);
	return rc ? rc : 1;
}

int pp_wal_segments_reserve(struct pp_wal_segments *s)
{
	char path[PP_WAL_PATH];
	int rc = 0;

	if (s->reserved)
		return 0;
	pthread_mutex_lock(&s->making);
	rc = pp_wal_format_path(path, s->dir, PP_WAL_FILE_RESERVE, RESERVE);
	if (!rc && !reserve_there(s, path))
		rc = make_reserve(s, path);
	s->reserved = rc >= 0;
	pthread_mutex_unlock(&s->making);
	return rc;
}

/* ---- writer ---- */

struct pp_wal_segment *pp_wal_segments_take(struct pp_wal_segments *s)
{
	struct pp_wal_segment *segment;

	pthread_mutex_lock(&s->lists);
	segment = s->ready;
	if (segment) {
		s->ready = segment->next;
		pp_sub_acqrel(&s->ready_count, 1);
	}
	pthread_mutex_unlock(&s->lists);
	return segment;
}

void pp_wal_segments_retire(struct pp_wal_segments *s, struct pp_wal_segment *segment, uint64_t last_tag, uint64_t last_unit)
{
	segment->last_tag = last_tag;
	segment->last_unit = last_unit;
	pthread_mutex_lock(&s->lists);
	push(&s->full, &s->full_tail, segment);
	pp_add_acqrel(&s->full_count, 1);
	pthread_mutex_unlock(&s->lists);
}

/* ---- release ---- */

static struct pp_wal_segment *detach_released(struct pp_wal_segments *s, uint64_t epoch, uint64_t ended_unit)
{
	struct pp_wal_segment *first, *last = NULL;

	pthread_mutex_lock(&s->lists);
	first = s->full;
	for (struct pp_wal_segment *at = first; at && at->last_tag <= epoch && (!at->own || at->last_unit < ended_unit);
	     at = at->next) {
		last = at;
		pp_sub_acqrel(&s->full_count, 1);
	}
	if (last) {
		s->full = last->next;
		last->next = NULL;
	} else {
		first = NULL;
	}
	pthread_mutex_unlock(&s->lists);
	return first;
}

static void keep_spare(struct pp_wal_segments *s, struct pp_wal_segment *segment)
{
	pthread_mutex_lock(&s->lists);
	segment->next = s->spare;
	s->spare = segment;
	s->spares++;
	pthread_mutex_unlock(&s->lists);
}

static bool wants_spare(struct pp_wal_segments *s)
{
	bool wants;

	pthread_mutex_lock(&s->lists);
	wants = s->spares < s->config.spare_segments + 2;
	pthread_mutex_unlock(&s->lists);
	return wants;
}

/* Renames to spare-* (synced by the caller before anything is written to it) or deletes; frees in the second case. */
static int release_one(struct pp_wal_segments *s, struct pp_wal_segment *segment, bool keep)
{
	char path[PP_WAL_PATH], spare[PP_WAL_PATH];
	int rc = pp_wal_format_path(path, s->dir, PP_WAL_FILE_LOG, segment->number);

	pp_file_close(s->config.disk, segment->fd);
	segment->fd = -1;
	if (!rc && keep)
		rc = pp_wal_format_path(spare, s->dir, PP_WAL_FILE_SPARE, segment->number);
	if (!rc)
		rc = keep ? pp_file_rename(s->config.disk, path, spare) : pp_file_remove(s->config.disk, path);
	if (!rc && keep)
		return 0;
	pp_stat_add(&s->deleted, 1);
	pp_wal_segments_free(s, segment);
	return rc;
}

/* Oldest first, so that a crash in between leaves no gap; spares become usable only after the directory's sync. */
int pp_wal_segments_release(struct pp_wal_segments *s, uint64_t epoch, uint64_t ended_unit)
{
	struct pp_wal_segment *list;
	int count = 0, rc = 0;

	pthread_mutex_lock(&s->making);
	list = detach_released(s, epoch, ended_unit);
	while (list) {
		struct pp_wal_segment *segment = list;
		bool keep = segment->own && wants_spare(s);
		int one;

		list = list->next;
		one = release_one(s, segment, keep);
		if (!one && keep) {
			one = pp_file_sync_dir(s->config.disk, s->dir);
			if (one)
				pp_wal_segments_free(s, segment);
			else
				keep_spare(s, segment);
		}
		rc = rc ? rc : one;
		count++;
	}
	pthread_mutex_unlock(&s->making);
	if (count && !rc)
		rc = pp_file_sync_dir(s->config.disk, s->dir);
	return rc ? rc : count;
}

uint64_t pp_wal_segments_beyond(struct pp_wal_segments *s, uint64_t keep)
{
	uint64_t tag = 0, count;

	pthread_mutex_lock(&s->lists);
	count = pp_load_rlx(&s->full_count); /* owner: changes under the lock */
	for (struct pp_wal_segment *at = s->full; at && count > keep; at = at->next, count--)
		tag = at->last_tag;
	pthread_mutex_unlock(&s->lists);
	return tag;
}

/* ---- begin and end ---- */

static void fill_header(struct pp_wal_segments *s, const struct pp_wal_recovered *recovered, unsigned slots)
{
	s->header = (struct pp_wal_segment_header){
		.store_id = s->config.store_id,
		.generation = recovered->next_generation ? recovered->next_generation : 1,
		.first_number = recovered->next_segment ? recovered->next_segment : 1,
		.segment_bytes = s->config.segment_bytes,
		.unit_bytes_max = s->config.batch_bytes,
		.in_flight_units = slots,
		.cut_generation = recovered->next_generation ? recovered->next_generation - 1 : 0,
		.cut_unit = recovered->last.unit,
		.cut_chain = recovered->last.chain,
		.cut_epoch = recovered->log_epoch,
		.max_epoch_seen = recovered->max_epoch_seen,
	};
	s->next_number = s->header.first_number;
}

static int remove_kind(struct pp_wal_segments *s, enum pp_wal_file kind, uint64_t from, uint64_t below)
{
	uint64_t *numbers = NULL;
	size_t count = 0;
	char path[PP_WAL_PATH];
	int rc = pp_wal_format_list(s->config.disk, s->dir, kind, &numbers, &count);

	for (size_t i = 0; i < count && !rc; i++) {
		if (numbers[i] < from || numbers[i] >= below)
			continue;
		rc = pp_wal_format_path(path, s->dir, kind, numbers[i]);
		if (!rc)
			rc = pp_file_remove(s->config.disk, path);
		pp_stat_add(&s->deleted, 1);
	}
	free(numbers);
	return rc;
}

/* Predecessors' segments up to the cut stay until everything that was recovered from them is in a checkpoint. */
static int adopt_older(struct pp_wal_segments *s, const struct pp_wal_recovered *recovered)
{
	uint64_t *numbers = NULL;
	size_t count = 0;
	int rc = pp_wal_format_list(s->config.disk, s->dir, PP_WAL_FILE_LOG, &numbers, &count);

	for (size_t i = 0; i < count && !rc && numbers[i] <= recovered->cut_segment; i++) {
		struct pp_wal_segment *segment = new_segment(numbers[i]);

		if (segment)
			pp_wal_segments_retire(s, segment, recovered->last.epoch, recovered->last.unit);
		else
			rc = -ENOMEM;
	}
	free(numbers);
	return rc;
}

int pp_wal_segments_init(struct pp_wal_segments *s, const struct pp_wal_config *config,
			 const struct pp_wal_recovered *recovered)
{
	char reserve[PP_WAL_PATH];
	int rc;

	memset(s, 0, sizeof(*s));
	pthread_mutex_init(&s->making, NULL);
	pthread_mutex_init(&s->lists, NULL);
	s->config = *config;
	if ((size_t)snprintf(s->dir, sizeof(s->dir), "%s", config->dir) >= sizeof(s->dir))
		return pp_detail(-ENAMETOOLONG, "the log's directory name %s is too long", config->dir);
	s->config.dir = s->dir;
	fill_header(s, recovered, config->depth + 2);
	rc = remove_kind(s, PP_WAL_FILE_NEW, 0, UINT64_MAX);
	if (!rc)
		rc = remove_kind(s, PP_WAL_FILE_SPARE, 0, UINT64_MAX);
	if (!rc)
		rc = pp_wal_format_path(reserve, s->dir, PP_WAL_FILE_RESERVE, RESERVE);
	if (!rc)
		reserve_there(s, reserve); /* so that one of another size is gone */
	s->starting = true;
	if (!rc)
		rc = pp_wal_segments_make(s, 1);
	s->starting = false;
	if (rc < 0)
		return rc;
	/* Only now: before the new header was durable, these could still have been needed to find the cut. */
	rc = remove_kind(s, PP_WAL_FILE_LOG, recovered->cut_segment + 1, s->header.first_number);
	if (!rc)
		rc = adopt_older(s, recovered);
	return rc ? rc : pp_file_sync_dir(s->config.disk, s->dir);
}

void pp_wal_segments_destroy(struct pp_wal_segments *s)
{
	free_list(s, s->ready);
	free_list(s, s->full);
	free_list(s, s->spare);
	pthread_mutex_destroy(&s->making);
	pthread_mutex_destroy(&s->lists);
	memset(s, 0, sizeof(*s));
}
