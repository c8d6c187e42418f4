/*
 * wal_recover.c - finds where the log ends and delivers the records of all ended epochs up to there.
 *
 * Protocol: two passes over the same units. The first checks every unit and finds the last one that ended an epoch; the
 * second delivers, since a record may only be delivered when its epoch is known to have ended. The second pass comes out
 * of the page cache and checks again, so that nothing unchecked is ever delivered. Who can hold records back (on_ended) gets them in the
 * first pass, and there is no second: a unit is still checked, and known to follow the one before, before anything of it is delivered.
 *
 * The newest generation ends at its first bad unit n. Every unit carries the greatest unit known durable when it was
 * submitted. If anything good behind n says that n was durable, or lies further away than writes are ever in flight,
 * acknowledged data is damaged: refused. Else n was being written at the crash: cut. A predecessor's write that lands
 * while this runs, or later, changes nothing: the new generation's header fixes the cut.
 * What stays undetected: damage to the last acknowledged units when no marker or later unit was written after them.
 * Reads only; a process that dies here leaves nothing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/wal_walk.h"
#include "shm/errors.h"

typedef unsigned long long ull;
typedef int on_record_fn(void *ctx, uint64_t epoch, const void *data, size_t size);

struct recovery {
	struct pp_wal_walk walk;
	struct pp_wal_recovered *out;
	const struct pp_wal_pos *expect;
	uint64_t from_epoch;
	bool expect_seen;

	/* First pass: the last unit that ended something, or the start. */
	struct pp_wal_pos end;
	size_t end_file;
	uint64_t end_offset;

	/* Second pass. */
	on_record_fn *on_record;
	void (*on_ended)(void *ctx, uint64_t epoch); /* then the first pass delivers */
	void *ctx;
	uint64_t generation;
	uint64_t epoch_limit;      /* greatest epoch that counts in this generation */
	uint8_t *partial;          /* a record over several units */
	size_t partial_room, partial_size, partial_have;
	uint64_t partial_epoch;
};

/* ---- first pass ---- */

static void look_for_expected(struct recovery *r, const struct pp_wal_pos *at)
{
	if (r->expect && at->unit == r->expect->unit && at->chain == r->expect->chain)
		r->expect_seen = true;
}

static int note_unit(void *ctx, struct pp_wal_walk *walk, const struct pp_wal_unit_header *unit)
{
	struct recovery *r = ctx;

	r->out->units++;
	r->out->bytes += unit->total_bytes;
	if (!r->on_record)
		r->out->records += unit->records;
	if (unit->last_epoch > r->out->max_epoch_seen)
		r->out->max_epoch_seen = unit->last_epoch;
	if (unit->ended_epoch > r->out->max_epoch_seen)
		r->out->max_epoch_seen = unit->ended_epoch;
	look_for_expected(r, &walk->at);
	/* A place where the log may be cut: something ended here, or nothing is unfinished. */
	if (unit->ended_epoch > unit->base_epoch || unit->last_epoch <= unit->ended_epoch) {
		r->end = walk->at;
		r->end_file = walk->file;
		r->end_offset = walk->offset;
	}
	return 0;
}

static int deliver_unit(void *ctx, struct pp_wal_walk *walk, const struct pp_wal_unit_header *unit);

static int first_pass(void *ctx, struct pp_wal_walk *walk, const struct pp_wal_unit_header *unit)
{
	struct recovery *r = ctx;
	int rc = note_unit(r, walk, unit);

	if (rc || !r->on_ended)
		return rc;
	rc = deliver_unit(r, walk, unit);
	if (!rc)
		r->on_ended(r->ctx, unit->ended_epoch < r->epoch_limit ? unit->ended_epoch : r->epoch_limit);
	return rc;
}

/* A good unit behind the first bad one. */
static int judge_stray(struct recovery *r, const struct pp_wal_unit_header *stray, uint64_t offset)
{
	struct pp_wal_walk *walk = &r->walk;
	uint64_t bad = walk->at.unit + 1;
	uint64_t in_flight = walk->files[walk->file].header.in_flight_units;
	char path[PP_WAL_PATH];

	r->out->torn = true;
	if (stray->last_epoch > r->out->max_epoch_seen)
		r->out->max_epoch_seen = stray->last_epoch;
	if (stray->durable_unit < bad && (stray->unit < bad || stray->unit - bad < in_flight))
		return 0;
	pp_wal_format_path(path, walk->dir, PP_WAL_FILE_LOG, walk->files[walk->file].number);
	return pp_detail(PPDB_CORRUPT, "%s is damaged at offset %llu: %s; but unit %llu (segment %llu, offset %llu) says that "
			 "everything up to unit %llu was durable", path, (ull)walk->offset, walk->why,
			 (ull)stray->unit, (ull)stray->segment, (ull)offset, (ull)stray->durable_unit);
}

/* Every block of one file from `offset` on, up to `end`. */
static int search_file(struct recovery *r, size_t index, uint64_t offset, uint64_t end)
{
	struct pp_wal_walk *walk = &r->walk;

	while (offset < end) {
		struct pp_wal_place place = pp_wal_walk_place(walk, index, offset);
		const struct pp_wal_unit_header *unit = NULL;
		const char *why = NULL;
		int rc = pp_wal_reader_unit(&walk->reader, &place, &unit, &why);

		if (!rc && !why)
			rc = judge_stray(r, unit, offset);
		if (rc)
			return rc;
		offset += why ? PP_WAL_BLOCK : unit->total_bytes;
	}
	return 0;
}

/*
 * All that may lie behind the first bad unit. When a warm region has named a durable position and it was found, nothing
 * acknowledged can be behind, so only what was in flight is looked at, for its epoch tags.
 */
static int search_tail(struct recovery *r, bool quick)
{
	struct pp_wal_walk *walk = &r->walk;
	size_t first = walk->file;
	uint64_t from = walk->offset;
	const struct pp_wal_segment_header *h = &walk->files[first].header;
	uint64_t window = quick && r->expect_seen ? (h->in_flight_units + 1) * h->unit_bytes_max : UINT64_MAX;

	for (size_t i = first; i < walk->count; i++) {
		uint64_t offset = i == first ? from : PP_WAL_BLOCK;
		uint64_t end = walk->files[i].header.segment_bytes;
		int rc = pp_wal_walk_open(walk, i);

		if (!rc)
			rc = search_file(r, i, offset, window < end - offset ? offset + window : end);
		if (rc)
			return rc;
	}
	return 0;
}

static int find_end(struct recovery *r, bool quick)
{
	struct pp_wal_walk *walk = &r->walk;
	const struct pp_wal_segment_header *newest = &walk->files[walk->count - 1].header;
	int rc;

	r->end = walk->start;
	r->end_file = 0;
	r->end_offset = PP_WAL_BLOCK;
	if (newest->max_epoch_seen > r->out->max_epoch_seen)
		r->out->max_epoch_seen = newest->max_epoch_seen;
	look_for_expected(r, &walk->start);
	rc = pp_wal_walk_run(walk, first_pass, r);
	if (!rc && walk->ended_badly)
		rc = search_tail(r, quick);
	if (rc)
		return rc;
	/* A generation that ended nothing: its header knows better where the log stands. */
	if (r->end.unit == newest->cut_unit && newest->cut_epoch > r->end.epoch)
		r->end.epoch = newest->cut_epoch;
	if (walk->at.unit > r->end.unit || walk->torn)
		r->out->torn = true;
	walk->end_unit = r->end.unit;
	return 0;
}

/* ---- second pass ---- */

static int bad_record(struct recovery *r, const struct pp_wal_unit_header *unit, uint64_t at)
{
	return pp_detail(PPDB_CORRUPT, "%s is damaged at offset %llu: a record of unit %llu makes no sense",
			 r->walk.reader.path, (ull)(unit->offset + at), (ull)unit->unit);
}

static int deliver(struct recovery *r, uint64_t epoch, const void *data, size_t size)
{
	if (epoch <= r->from_epoch || epoch > r->epoch_limit)
		return 0;
	r->out->records++;
	return r->on_record(r->ctx, epoch, data, size);
}

static int begin_partial(struct recovery *r, uint64_t epoch, const uint8_t *data, size_t have, size_t size)
{
	if (size > r->partial_room) {
		uint8_t *grown = realloc(r->partial, size);

		if (!grown)
			return pp_detail(-ENOMEM, "no memory for a log record of %zu bytes", size);
		r->partial = grown;
		r->partial_room = size;
	}
	memcpy(r->partial, data, have);
	r->partial_size = size;
	r->partial_have = have;
	r->partial_epoch = epoch;
	return 0;
}

/* The front of the unit continues a record of an earlier one; when the walk began behind that, it is passed over. */
static int continue_partial(struct recovery *r, const struct pp_wal_unit_header *unit)
{
	size_t carried = unit->first_record - PP_WAL_UNIT_HEADER;
	size_t rest = r->partial_size - r->partial_have;
	size_t take = rest < carried ? rest : carried;
	int rc;

	if (!r->partial_size)
		return 0;
	if (pp_wal_round_up(take, 8) != carried || (take < rest && unit->records))
		return bad_record(r, unit, PP_WAL_UNIT_HEADER);
	memcpy(r->partial + r->partial_have, (const uint8_t *)unit + PP_WAL_UNIT_HEADER, take);
	r->partial_have += take;
	if (r->partial_have < r->partial_size)
		return 0;
	rc = deliver(r, r->partial_epoch, r->partial, r->partial_size);
	r->partial_size = r->partial_have = 0;
	return rc;
}

/* A generation drops what its predecessor had not ended. In the first pass it is not known yet how far the newest one goes. */
static void enter_generation(struct recovery *r, const struct pp_wal_unit_header *unit)
{
	const struct pp_wal_file_entry *next = pp_wal_walk_successor(&r->walk, r->walk.file);

	if (r->generation == unit->generation)
		return;
	r->generation = unit->generation;
	r->epoch_limit = next ? next->header.cut_epoch : r->on_ended ? UINT64_MAX : r->end.epoch;
	r->partial_size = r->partial_have = 0;
}

static int deliver_unit(void *ctx, struct pp_wal_walk *walk, const struct pp_wal_unit_header *unit)
{
	struct recovery *r = ctx;
	const uint8_t *base = (const uint8_t *)unit;
	size_t at = unit->first_record, end = PP_WAL_UNIT_HEADER + (size_t)unit->payload_bytes;
	int rc;

	(void)walk;
	enter_generation(r, unit);
	rc = continue_partial(r, unit);
	while (rc == 0 && at < end) {
		const struct pp_wal_record_header *head = (const void *)(base + at);
		uint64_t epoch = unit->first_epoch + head->tag;
		size_t body = at + sizeof(*head);

		if (head->size == 0 || head->size > PP_WAL_RECORD_MAX)
			return bad_record(r, unit, at);
		if (head->size <= end - body)
			rc = deliver(r, epoch, base + body, head->size);
		else
			rc = begin_partial(r, epoch, base + body, end - body, head->size);
		at = body + pp_wal_round_up(head->size, 8);
	}
	return rc;
}

/* ---- */

static void fill_out(struct recovery *r)
{
	struct pp_wal_walk *walk = &r->walk;
	struct pp_wal_recovered *out = r->out;
	const struct pp_wal_file_entry *last = walk->count ? &walk->files[walk->count - 1] : NULL;
	bool cut_before = last && r->end.unit == walk->start.unit && r->end_offset == PP_WAL_BLOCK;

	out->segments = walk->found;
	out->segments_read = walk->count;
	out->last = r->end;
	out->log_epoch = r->end.epoch;
	if (out->last.epoch < r->from_epoch)
		out->last.epoch = r->from_epoch;
	if (out->max_epoch_seen < out->last.epoch)
		out->max_epoch_seen = out->last.epoch;
	out->next_generation = last ? last->header.generation + 1 : 1;
	out->next_segment = last ? last->number + 1 : 1;
	out->expect_found = r->expect_seen && r->expect->unit <= r->end.unit;
	if (!last)
		return;
	out->cut_segment = walk->files[r->end_file].number;
	/* Nothing was read in the first file of a generation: the end lies before it. */
	if (cut_before && walk->files[0].header.number == walk->files[0].header.first_number)
		out->cut_segment--;
	pp_wal_format_path(out->cut_file, walk->dir, PP_WAL_FILE_LOG, walk->files[r->end_file].number);
	out->cut_offset = r->end_offset;
}

static int recover(struct recovery *r)
{
	bool quick = r->expect && !r->on_record;
	int rc = pp_wal_walk_load(&r->walk, r->from_epoch, quick ? r->expect : NULL);

	/* The expected unit lies before all that is left: then it is looked for in what matters. */
	if (rc == PPDB_CORRUPT && quick)
		rc = pp_wal_walk_load(&r->walk, r->from_epoch, NULL);
	if (rc)
		return rc;
	if (r->walk.count) {
		rc = find_end(r, quick);
		if (!rc && r->on_record && !r->on_ended)
			rc = pp_wal_walk_run(&r->walk, deliver_unit, r);
	}
	return rc;
}

int pp_wal_recover(const struct pp_wal_config *config, uint64_t from_epoch, on_record_fn *on_record, void *ctx,
		   struct pp_wal_recovered *out)
{
	struct recovery *r = calloc(1, sizeof(*r));
	struct pp_wal_config checked;
	int rc = pp_wal_format_config(config, &checked);

	memset(out, 0, sizeof(*out));
	if (!r)
		return pp_detail(-ENOMEM, "no memory to read the log");
	if (!rc) {
		r->walk.dir = checked.dir;
		r->walk.reader.disk = checked.disk;
		r->walk.store_id = checked.store_id;
		r->out = out;
		r->expect = checked.expect;
		r->from_epoch = from_epoch;
		r->on_record = on_record;
		r->on_ended = on_record ? checked.on_ended : NULL;
		r->ctx = ctx;
		rc = recover(r);
	}
	if (!rc)
		fill_out(r);
	pp_wal_walk_release(&r->walk);
	free(r->partial);
	free(r);
	return rc;
}
