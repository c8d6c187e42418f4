/*
 * follow.c - reading the log forward while it is being written.
 *
 * The past and the present are one stream of units: what the log's files hold. Memory only says how far it counts, so there is no seam at
 * which a change could be missed or come twice; the position is a unit number with its chain, and the next unit must continue both.
 *
 * Protocol (tests/model/feed.pml).
 *   limit       durable_record first, then wal_generation. If that is still the generation we read in, all units up to the durable one are
 *               of this generation or an older one: a later daemon stores its generation before it writes a unit. If not, only the next
 *               generation's first header knows which of our units count: we read up to its cut, drop what had not ended there, and go
 *               on in its file. A unit behind the cut is never taken, though it is whole and continues the chain.
 *   past        only what is durable is read, so nothing that was handed out is ever taken back by a crash: a cut lies at or behind the
 *               durable position. The read is direct where it can be: the writer bypasses the page cache too.
 *   epochs      a change is handed out when its epoch has ended in a unit that counts, epoch after epoch, each in the order of
 *               follow_order.c. A position is {epochs up to e, the first n changes of the next}: it means the same to everybody, for an ended epoch
 *               does not change any more.
 *   recycled    a file that the log let go may be overwritten under us. A unit carries segment and generation and is checked as a whole, so this
 *               shows as a bad unit: if the file's name is gone, the past is lost; if it is there, the log is damaged.
 *
 * Reads only; a process that dies here leaves nothing.
 */
#include "engine/follow.h"

#include "engine/follow_order.h"
#include "engine/record.h"
#include "engine/wal_format.h"
#include "shm/errors.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHUNK (1u << 20)
#define NEAR (64u << 10)           /* read at once at the log's end; more while there is much to catch up */
#define FAR 32                     /* units behind that are much */
#define KEEP (16u << 20)           /* memory for changes that is kept between epochs */

typedef unsigned long long ull;

struct pp_follow {
	struct pp_follow_source source;

	/* The file being read, and the last unit that was taken. */
	int fd;
	struct pp_wal_segment_header header;
	uint64_t offset;                   /* behind it */
	uint64_t unit, chain;

	/* [window_offset, + window_bytes) of the file, read when all up to window_limit was durable. */
	uint8_t *window;
	size_t window_room, window_bytes;
	uint64_t window_offset, window_limit;

	/* A record over several units. */
	size_t partial_at, partial_size, partial_have;
	uint64_t partial_epoch;

	/* Changes read: items[0, count) in `bytes`; the first `ready` of them are one ended epoch, in `order`; `given` were handed out. */
	uint8_t *bytes;
	size_t fill, room;
	struct pp_follow_item *items;
	size_t count, item_room;
	uint32_t *order;
	size_t order_room, ready, given;
	size_t last;                       /* behind the last wanted one */

	uint64_t ended;                    /* all up to it is in items or was handed out */
	uint64_t from, skip;               /* as sought */
	uint64_t at_epoch, at_skip;        /* position */
	struct pp_follow_limit limit;
	struct pp_wal_segment_header next; /* of the generation after ours, once it is known; generation 0: not */
};

int pp_follow_new(const struct pp_follow_source *source, struct pp_follow **out)
{
	struct pp_follow *f = calloc(1, sizeof(*f));

	if (!f)
		return pp_detail(-ENOMEM, "out of memory");
	f->source = *source;
	f->fd = -1;
	*out = f;
	return 0;
}

static void close_file(struct pp_follow *f)
{
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
	f->window_bytes = 0;
}

void pp_follow_free(struct pp_follow *f)
{
	if (!f)
		return;
	close_file(f);
	free(f->window);
	free(f->bytes);
	free(f->items);
	free(f->order);
	free(f);
}

/* ---- reading ---- */

static int read_at(struct pp_follow *f, uint64_t offset, size_t size)
{
	size_t have = 0;

	if (size > f->window_room) {
		uint8_t *grown = aligned_alloc(PP_WAL_BLOCK, pp_wal_round_up(size, CHUNK));

		if (!grown)
			return pp_detail(-ENOMEM, "no memory to read the log");
		free(f->window);
		f->window = grown;
		f->window_room = pp_wal_round_up(size, CHUNK);
	}
	while (have < size) {
		ssize_t n = pread(f->fd, f->window + have, size - have, (off_t)(offset + have));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return pp_detail(-errno, "reading log segment %016llx at offset %llu: %s", (ull)f->header.number, (ull)offset,
					 strerror(errno));
		have += (size_t)n;
		if (n == 0 || n % PP_WAL_BLOCK)
			break;
	}
	f->window_offset = offset;
	f->window_bytes = have;
	f->window_limit = f->limit.unit;
	return 0;
}

/* `size` bytes at `offset`, as they were not before `unit` was durable; NULL in *out: the file ends before. */
static int bytes_at(struct pp_follow *f, uint64_t offset, size_t size, uint64_t unit, const void **out)
{
	bool there = unit <= f->window_limit && offset >= f->window_offset && offset + size <= f->window_offset + f->window_bytes;
	int rc = 0;

	if (!there) {
		uint64_t left = f->header.segment_bytes - offset;
		size_t want = f->limit.unit > f->unit + FAR ? CHUNK : NEAR;

		want = want > size ? want : size;
		rc = read_at(f, offset, want < left ? want : (size_t)left);
	}
	*out = offset + size <= f->window_offset + f->window_bytes ? f->window + (offset - f->window_offset) : NULL;
	return rc;
}

/* Reads the header of a file and takes it over. *why != NULL: it is none. If it cannot be, the one before stays. */
static int enter_file(struct pp_follow *f, int fd, const char **why)
{
	struct pp_wal_segment_header before = f->header;
	int fd_before = f->fd, rc;

	f->fd = fd;
	f->header.segment_bytes = PP_WAL_SEGMENT_MAX;
	rc = read_at(f, 0, PP_WAL_BLOCK);
	if (!rc)
		*why = f->window_bytes < PP_WAL_BLOCK ? "the file is shorter than its header" : pp_wal_format_check_segment(f->window, &f->header);
	if (!rc && !*why && f->source.store_id && f->header.store_id != f->source.store_id)
		*why = "it belongs to another store";
	f->window_bytes = 0; /* only the header was read, and that of another file */
	if (rc || *why) {
		f->fd = fd_before;
		f->header = before;
		close(fd);
	} else if (fd_before >= 0) {
		close(fd_before);
	}
	return rc;
}

static int open_file(struct pp_follow *f, uint64_t number, enum pp_follow_which which)
{
	const char *why = NULL;
	uint64_t found = 0;
	int fd = -1, rc = f->source.open(f->source.ctx, number, which, &found, &fd);

	if (!rc)
		rc = enter_file(f, fd, &why);
	if (!rc && !why && f->header.number != found)
		why = "its header names another segment"; /* it was renamed between the daemon's look and its open */
	if (!rc && why)
		rc = pp_detail(-ESTALE, "log segment %016llx: %s", (ull)found, why);
	return rc;
}

/* The unit behind the last one taken. *why != NULL: it is bad. */
static int look_at_unit(struct pp_follow *f, const struct pp_wal_unit_header **out, const char **why)
{
	uint64_t left = f->header.segment_bytes - f->offset;
	struct pp_wal_place place = {
		.store_id = f->header.store_id,
		.generation = f->header.generation,
		.segment = f->header.number,
		.offset = f->offset,
		.bytes_max = left < f->header.unit_bytes_max ? left : f->header.unit_bytes_max,
	};
	const void *at = NULL;
	int rc = bytes_at(f, f->offset, PP_WAL_BLOCK, f->unit + 1, &at);

	if (rc)
		return rc;
	*why = at ? pp_wal_format_check_place(at, &place) : "the file ends here";
	if (*why)
		return 0;
	rc = bytes_at(f, f->offset, ((const struct pp_wal_unit_header *)at)->total_bytes, f->unit + 1, &at);
	if (rc)
		return rc;
	*why = at ? pp_wal_format_check_unit(at, &place) : "the file ends inside the unit";
	*out = at;
	return 0;
}

/* ---- records ---- */

static int make_room(struct pp_follow *f, size_t size)
{
	size_t room = f->room ? f->room : CHUNK;
	uint8_t *grown;

	while (room < f->fill + size)
		room *= 2;
	if (room == f->room)
		return 0;
	grown = realloc(f->bytes, room);
	if (!grown)
		return pp_detail(-ENOMEM, "no memory for the changes of an epoch, %zu bytes", room);
	f->bytes = grown;
	f->room = room;
	return 0;
}

static int add_item(struct pp_follow *f, uint64_t epoch, size_t at, size_t size)
{
	const struct pp_record *r = (const struct pp_record *)(f->bytes + at);

	if (size < sizeof(*r) || pp_record_size(r->key_size, r->size) != size)
		return pp_detail(PPDB_CORRUPT, "log segment %016llx, unit %llu: a record makes no sense", (ull)f->header.number, (ull)f->unit);
	if (f->count == f->item_room) {
		size_t more = f->item_room ? 2 * f->item_room : 1024;
		struct pp_follow_item *grown = realloc(f->items, more * sizeof(*grown));

		if (!grown)
			return pp_detail(-ENOMEM, "no memory for the changes of an epoch");
		f->items = grown;
		f->item_room = more;
	}
	f->items[f->count++] = (struct pp_follow_item){epoch, at};
	return 0;
}

static int begin_record(struct pp_follow *f, uint64_t epoch, const uint8_t *data, size_t have, size_t size)
{
	size_t at = f->fill;
	int rc = epoch > f->from ? make_room(f, pp_wal_round_up(size, 8)) : 0;

	if (rc)
		return rc;
	if (have == size) {
		if (epoch <= f->from)
			return 0;
		memcpy(f->bytes + at, data, size);
		f->fill += pp_wal_round_up(size, 8);
		return add_item(f, epoch, at, size);
	}
	if (epoch > f->from)
		memcpy(f->bytes + at, data, have);
	f->partial_at = at;
	f->partial_size = size;
	f->partial_have = have;
	f->partial_epoch = epoch;
	return 0;
}

static int continue_record(struct pp_follow *f, const struct pp_wal_unit_header *unit)
{
	size_t carried = unit->first_record - PP_WAL_UNIT_HEADER;
	size_t rest = f->partial_size - f->partial_have;
	size_t take = rest < carried ? rest : carried;

	if (!f->partial_size) /* we began behind its beginning */
		return 0;
	if (f->partial_epoch > f->from)
		memcpy(f->bytes + f->partial_at + f->partial_have, (const uint8_t *)unit + PP_WAL_UNIT_HEADER, take);
	f->partial_have += take;
	if (f->partial_have < f->partial_size)
		return 0;
	f->partial_size = 0;
	if (f->partial_epoch <= f->from)
		return 0;
	f->fill = f->partial_at + pp_wal_round_up(f->partial_have, 8);
	return add_item(f, f->partial_epoch, f->partial_at, f->partial_have);
}

static int take_unit(struct pp_follow *f, const struct pp_wal_unit_header *unit)
{
	const uint8_t *base = (const uint8_t *)unit;
	size_t at = unit->first_record, end = PP_WAL_UNIT_HEADER + (size_t)unit->payload_bytes;
	int rc;

	f->unit = unit->unit;
	f->chain = unit->checksum;
	f->offset += unit->total_bytes;
	rc = continue_record(f, unit);
	while (!rc && at < end) {
		const struct pp_wal_record_header *head = (const void *)(base + at);
		size_t body = at + sizeof(*head);
		size_t have = end - body < head->size ? end - body : head->size;

		if (body > end || head->size == 0 || head->size > PP_WAL_RECORD_MAX)
			return pp_detail(PPDB_CORRUPT, "log segment %016llx, offset %llu: a record makes no sense", (ull)f->header.number,
					 (ull)(unit->offset + at));
		rc = begin_record(f, unit->first_epoch + head->tag, base + body, have, head->size);
		at = body + pp_wal_round_up(head->size, 8);
	}
	if (unit->ended_epoch > f->ended)
		f->ended = unit->ended_epoch;
	return rc;
}

/* ---- from unit to unit ---- */

static int lost(const struct pp_follow *f)
{
	return pp_detail(PPDB_LOST, "the log does not hold the changes after %llu any more: they were recycled; begin with a new copy of the "
			 "store", (ull)f->at_epoch);
}

/* A bad unit where a durable one was: recycled under us, or damaged. */
static int bad_unit(struct pp_follow *f, const char *why)
{
	uint64_t number = f->header.number, generation = f->header.generation, offset = f->offset, found;
	int fd = -1, rc = f->source.open(f->source.ctx, number, PP_FOLLOW_EXACT, &found, &fd);

	if (rc == -ENOENT)
		return lost(f);
	if (rc)
		return rc;
	close(fd);
	f->window_bytes = 0;
	return pp_detail(PPDB_CORRUPT, "log segment %016llx (generation %llu) is damaged at offset %llu: %s", (ull)number, (ull)generation,
			 (ull)offset, why);
}

/* The header of the first file of a later generation than ours, if there is one by now. */
static int find_next_generation(struct pp_follow *f)
{
	struct pp_follow probe = {.source = f->source, .fd = -1};
	uint64_t number = f->header.number + 1;
	int rc;

	for (;;) {
		rc = open_file(&probe, number, PP_FOLLOW_AT_OR_AFTER);
		if (rc)
			break;
		if (probe.header.generation > f->header.generation) {
			f->next = probe.header;
			break;
		}
		number = probe.header.number + 1;
	}
	close_file(&probe);
	free(probe.window);
	return rc == -ENOENT || rc == -ESTALE ? 0 : rc;
}

/* What the old generation had not ended when it was cut is written again by the new one. */
static void drop_unfinished(struct pp_follow *f, uint64_t cut_epoch)
{
	while (f->count > f->ready && f->items[f->count - 1].epoch > cut_epoch)
		f->fill = f->items[--f->count].at;
	f->partial_size = 0;
}

static int enter_generation(struct pp_follow *f)
{
	struct pp_wal_segment_header next = f->next;
	int rc;

	if (next.number != next.first_number)
		return lost(f);
	if (next.cut_unit != f->unit || next.cut_chain != f->chain)
		return pp_detail(PPDB_CORRUPT, "log segment %016llx continues unit %llu, but unit %llu was durable", (ull)next.number,
				 (ull)next.cut_unit, (ull)f->unit);
	drop_unfinished(f, next.cut_epoch);
	rc = open_file(f, next.number, PP_FOLLOW_EXACT);
	if (rc) /* perhaps there is no daemon: then from here once more */
		return rc == -ENOENT || rc == -ESTALE ? lost(f) : rc;
	f->offset = PP_WAL_BLOCK;
	f->next.generation = 0;
	if (next.cut_epoch > f->ended)
		f->ended = next.cut_epoch;
	return 0;
}

/* The file is full: the next one of the same generation, or of the next if ours was cut exactly here. */
static int enter_next_file(struct pp_follow *f)
{
	uint64_t number = f->header.number, generation = f->header.generation;
	int rc = open_file(f, number + 1, PP_FOLLOW_AT_OR_AFTER);

	if (rc) /* as above */
		return rc == -ENOENT || rc == -ESTALE ? lost(f) : rc;
	f->offset = PP_WAL_BLOCK;
	return f->header.number == number + 1 && f->header.generation == generation ? 0 : lost(f);
}

/* How far may be read in the generation we are in; *cut: what comes then is the next one's. */
static int find_limit(struct pp_follow *f, uint64_t *up_to, bool *cut)
{
	int rc = 0;

	f->source.limit(f->source.ctx, &f->limit);
	*cut = f->next.generation != 0;
	if (f->limit.generation <= f->header.generation) {
		*up_to = f->limit.unit;
		if (f->unit >= f->limit.unit && f->limit.epoch > f->ended)
			f->ended = f->limit.epoch; /* epochs without changes have no unit of their own */
		return 0;
	}
	if (!*cut) {
		rc = find_next_generation(f);
		*cut = f->next.generation != 0;
	}
	*up_to = *cut ? f->next.cut_unit : f->unit;
	return rc;
}

static int take_next(struct pp_follow *f)
{
	const struct pp_wal_unit_header *unit = NULL;
	const char *why = NULL;
	int rc;

	if (f->offset >= f->header.segment_bytes)
		return enter_next_file(f);
	rc = look_at_unit(f, &unit, &why);
	if (rc)
		return rc;
	if (!why && (unit->unit != f->unit + 1 || unit->prev_chain != f->chain))
		why = "another unit is here";
	return why ? bad_unit(f, why) : take_unit(f, unit);
}

/* Reads units until an epoch has ended, or there is no more. */
static int read_on(struct pp_follow *f)
{
	while (!f->count || f->items[0].epoch > f->ended) {
		uint64_t up_to;
		bool cut;
		int rc = find_limit(f, &up_to, &cut);

		if (!rc && f->unit >= up_to && !cut)
			return 0;
		if (!rc)
			rc = f->unit < up_to ? take_next(f) : enter_generation(f);
		if (rc)
			return rc;
	}
	return 0;
}

/* ---- epochs ---- */

/* What was handed out makes room. */
static void forget_given(struct pp_follow *f)
{
	size_t cut = f->ready < f->count ? f->items[f->ready].at : f->partial_size ? f->partial_at : f->fill;
	size_t end = f->partial_size ? f->partial_at + f->partial_size : f->fill;

	if (!f->ready)
		return;
	if (end > cut)
		memmove(f->bytes, f->bytes + cut, (end < f->room ? end : f->room) - cut);
	f->count -= f->ready;
	memmove(f->items, f->items + f->ready, f->count * sizeof(*f->items));
	for (size_t i = 0; i < f->count; i++)
		f->items[i].at -= cut;
	f->fill -= cut;
	f->partial_at -= f->partial_size ? cut : 0;
	f->ready = f->given = 0;
	if (f->room > KEEP && f->fill < KEEP / 2 && !f->partial_size) {
		uint8_t *smaller = realloc(f->bytes, KEEP);

		f->bytes = smaller ? smaller : f->bytes;
		f->room = smaller ? KEEP : f->room;
	}
}

static int order_epoch(struct pp_follow *f)
{
	size_t n = 0;

	while (n < f->count && f->items[n].epoch == f->items[0].epoch)
		n++;
	if (n > f->order_room) {
		uint32_t *grown = realloc(f->order, n * sizeof(*grown));

		if (!grown)
			return pp_detail(-ENOMEM, "no memory to order an epoch of %zu changes", n);
		f->order = grown;
		f->order_room = n;
	}
	int rc = pp_follow_order(f->bytes, f->items, n, f->order);
	if (rc)
		return rc;
	f->ready = n;
	f->given = f->skip < n ? (size_t)f->skip : n;
	f->skip = 0;
	return 0;
}

static const struct pp_record *nth(const struct pp_follow *f, size_t n)
{
	return (const struct pp_record *)(f->bytes + f->items[f->order[n]].at);
}

static bool wanted(const struct pp_follow *f, size_t n)
{
	const struct pp_record *r = nth(f, n);

	return !f->source.wanted || f->source.wanted(f->source.ctx, r->table, r->bytes, r->key_size);
}

/* Is another one of the batch of the n-th wanted? */
static bool batch_goes_on(const struct pp_follow *f, size_t n)
{
	while (n + 1 < f->ready && nth(f, n)->flags & PP_R_MORE)
		if (wanted(f, ++n))
			return true;
	return false;
}

/* To the next wanted one, and the end where none is left. */
static void pass_over(struct pp_follow *f)
{
	while (f->last > f->given && !wanted(f, f->last - 1))
		f->last--;
	while (f->given < f->last && !wanted(f, f->given))
		f->given++;
	if (f->given >= f->last && f->ready) {
		f->given = f->ready;
		f->at_epoch = f->items[0].epoch;
		f->at_skip = 0;
	}
}

static void give(struct pp_follow *f, struct pp_follow_change *out)
{
	const struct pp_record *r = nth(f, f->given);

	*out = (struct pp_follow_change){
		.key = r->bytes,
		.value = r->bytes + r->key_size,
		.table = r->table,
		.key_size = r->key_size,
		.size = r->size,
		.version = r->seq,
		.expires_ms = r->flags & PP_V_TTL ? r->expires_ms : 0,
		.epoch = f->items[0].epoch,
		.deleted = r->flags & PP_V_TOMBSTONE,
		.more_batch = batch_goes_on(f, f->given),
	};
	f->given++;
	pass_over(f);
	out->more_epoch = f->given < f->ready;
	if (out->more_epoch) {
		f->at_epoch = out->epoch - 1;
		f->at_skip = f->given;
	}
}

int pp_follow_next(struct pp_follow *f, struct pp_follow_change *out)
{
	int rc;

	while (f->given == f->ready) {
		forget_given(f);
		rc = read_on(f);
		if (rc)
			return rc;
		if (!f->count || f->items[0].epoch > f->ended) {
			if (f->ended > f->at_epoch && !f->at_skip)
				f->at_epoch = f->ended; /* nothing came in them */
			return PPDB_NOTFOUND;
		}
		rc = order_epoch(f);
		if (rc)
			return rc;
		f->last = f->ready;
		pass_over(f);
	}
	give(f, out);
	return 0;
}

bool pp_follow_waiting(const struct pp_follow *f)
{
	return f->given < f->ready;
}

void pp_follow_position(const struct pp_follow *f, uint64_t *epoch, uint64_t *skip)
{
	*epoch = f->at_epoch;
	*skip = f->at_skip;
}

uint64_t pp_follow_behind(const struct pp_follow *f)
{
	struct pp_follow_limit limit;

	f->source.limit(f->source.ctx, &limit);
	return limit.unit > f->unit ? limit.unit - f->unit : 0;
}

/* ---- seeking ---- */

/* May reading begin in the file that f is in: does no record above `epoch` begin before it, and does its first unit's predecessor count? */
static int try_start(struct pp_follow *f, uint64_t epoch, uint64_t cut_unit, bool *yes)
{
	const struct pp_wal_segment_header *h = &f->header;
	const struct pp_wal_unit_header *unit = NULL;
	const char *why = NULL;
	int rc;

	*yes = false;
	f->offset = PP_WAL_BLOCK;
	if (h->number == h->first_number) {
		f->unit = h->cut_unit;
		f->chain = h->cut_chain;
		f->ended = h->cut_epoch;
		*yes = h->cut_epoch <= epoch && f->unit <= cut_unit;
		return 0;
	}
	f->unit = UINT64_MAX - 1 - FAR; /* the first block alone */
	rc = look_at_unit(f, &unit, &why);
	f->window_bytes = 0; /* perhaps it was read before it was durable */
	if (rc || why)
		return rc;
	f->unit = unit->unit - 1;
	f->chain = unit->prev_chain;
	f->ended = unit->base_epoch;
	*yes = unit->tag_before <= epoch && f->unit <= cut_unit && f->unit <= f->limit.unit;
	return 0;
}

int pp_follow_seek(struct pp_follow *f, uint64_t epoch, uint64_t skip)
{
	uint64_t number = UINT64_MAX, cut_unit = UINT64_MAX;
	bool found = false;
	int rc = 0;

	f->count = f->fill = f->ready = f->given = f->partial_size = 0;
	f->from = f->at_epoch = epoch;
	f->skip = f->at_skip = skip;
	f->source.limit(f->source.ctx, &f->limit);
	f->next.generation = 0;
	while (!found) {
		rc = open_file(f, number, PP_FOLLOW_AT_OR_BEFORE);
		if (rc)
			break;
		rc = try_start(f, epoch, cut_unit, &found);
		if (rc || found)
			break;
		if (f->header.number == f->header.first_number)
			cut_unit = f->header.cut_unit; /* older generations count up to here */
		if (!f->header.number)
			return lost(f);
		number = f->header.number - 1;
	}
	return rc == -ENOENT || rc == -ESTALE ? lost(f) : rc;
}
