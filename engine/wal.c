/*
 * wal.c - the writer of the log: records into units, epochs, group commit.
 *
 * Protocol: one unit is filled at a time. It takes whole blocks up to the greatest unit or the end of the segment, so segments
 * are filled to their last block; records go on in the next unit. A submit pads the unit to the block and closes it: a
 * block is never written twice, since it may have been acknowledged. While writes are in flight the next unit collects what
 * comes, so the batch grows with the load and needs no timer.
 *
 * Space: one block always stays free behind the records, for the unit that ENDs their epoch. A record for which there is no
 * room, and no new segment, is refused before a byte of it was taken.
 *
 * The writer's thread alone. A process that dies leaves units in flight.
 */
#include "engine/wal.h"

#include <string.h>

#include "engine/wal_writer.h"
#include "shm/errors.h"

#define WAIT_NS 1000000000ll

/* ---- space ---- */

/* Payload of `raw` free bytes when cut into the greatest units. */
static uint64_t payload_of(const struct pp_wal *wal, uint64_t raw)
{
	uint64_t units = (raw + wal->config.batch_bytes - 1) / wal->config.batch_bytes;

	return raw - units * PP_WAL_UNIT_HEADER;
}

/* Free blocks of the current segment behind the unit that is being filled. */
static uint64_t left_behind(const struct pp_wal *wal)
{
	if (!wal->segment)
		return 0;
	return wal->config.segment_bytes - wal->offset - (wal->open ? wal->slots[wal->tail % wal->slot_count].capacity : 0);
}

static bool has_room_behind(const struct pp_wal *wal)
{
	return left_behind(wal) >= PP_WAL_BLOCK || pp_load_acq(&wal->segments.ready_count) > 0;
}

uint64_t pp_wal_room(struct pp_wal *wal)
{
	struct pp_wal_slot *slot = pp_wal_slot_at(wal, wal->tail);
	uint64_t here = wal->open ? slot->capacity - slot->fill : 0;
	uint64_t all = here + payload_of(wal, left_behind(wal)) +
		       pp_load_acq(&wal->segments.ready_count) * payload_of(wal, pp_wal_segment_room(wal));

	return all < PP_WAL_BLOCK ? 0 : all - PP_WAL_BLOCK;
}

/* Makes segments in the writer itself when nobody prepared one: a stall of about 30 ms, but never a half-taken record. */
static int ensure_room(struct pp_wal *wal, uint64_t need)
{
	while (pp_wal_room(wal) < need) {
		int rc = pp_wal_segments_make(&wal->segments, (unsigned)pp_load_acq(&wal->segments.ready_count) + 1);

		if (rc < 0)
			return rc;
		pp_stat_add(&wal->stalls, 1);
	}
	return 0;
}

/* ---- units ---- */

static void note_left(struct pp_wal *wal)
{
	pp_store_rlx(&wal->left_bytes, wal->config.segment_bytes - wal->offset); /* hint: for free_bytes */
}

int pp_wal_next_segment(struct pp_wal *wal)
{
	struct pp_wal_segment *segment = pp_wal_segments_take(&wal->segments);

	if (!segment)
		return pp_detail(-ENOSPC, "the log's segment is full and no next one is ready");
	if (wal->segment)
		pp_wal_segments_retire(&wal->segments, wal->segment, wal->last_epoch, wal->unit);
	wal->segment = segment;
	wal->offset = PP_WAL_BLOCK;
	pp_store_rlx(&wal->segment_now, segment->number); /* stat */
	note_left(wal);
	return 0;
}

/* A free buffer: waits for the disk when there is none. */
static int wait_for_slot(struct pp_wal *wal)
{
	int rc = pp_wal_flight_failed(wal);

	while (!rc && wal->tail - wal->head >= wal->slot_count) {
		rc = pp_wal_flight_pump(wal);
		if (!rc)
			rc = pp_wal_flight_reap(wal, WAIT_NS);
	}
	return rc;
}

static void set_limit(struct pp_wal *wal, struct pp_wal_slot *slot)
{
	slot->limit = has_room_behind(wal) ? slot->capacity : slot->capacity - PP_WAL_BLOCK;
}

static int open_unit(struct pp_wal *wal)
{
	struct pp_wal_slot *slot;
	uint64_t left;
	int rc = wait_for_slot(wal);

	if (!rc && wal->offset >= wal->config.segment_bytes)
		rc = pp_wal_next_segment(wal);
	if (rc)
		return rc;
	slot = pp_wal_slot_at(wal, wal->tail);
	left = wal->config.segment_bytes - wal->offset;
	*slot = (struct pp_wal_slot){
		.buffer = slot->buffer,
		.segment = wal->segment,
		.offset = wal->offset,
		.unit = ++wal->unit,
		.base_epoch = wal->ended_epoch,
		.ended_epoch = wal->ended_epoch,
		.tag_before = wal->last_epoch,
		.last_epoch = wal->last_epoch,
		.capacity = left < wal->config.batch_bytes ? (uint32_t)left : wal->config.batch_bytes,
		.fill = PP_WAL_UNIT_HEADER,
		.carry_end = PP_WAL_UNIT_HEADER,
	};
	wal->open = true;
	set_limit(wal, slot);
	return 0;
}

/* The unit is as it will be written; its blocks are taken. */
static void seal(struct pp_wal *wal)
{
	struct pp_wal_slot *slot = pp_wal_slot_at(wal, wal->tail);

	wal->offset += pp_wal_round_up(slot->fill, PP_WAL_BLOCK);
	wal->tail++;
	wal->open = false;
	note_left(wal);
}

static int open_if_closed(struct pp_wal *wal)
{
	return wal->open ? 0 : open_unit(wal);
}

static int seal_if_full(struct pp_wal *wal)
{
	struct pp_wal_slot *slot = pp_wal_slot_at(wal, wal->tail);

	if (slot->fill < slot->capacity)
		return 0;
	seal(wal);
	return pp_wal_flight_pump(wal);
}

/* ---- records ---- */

static int check_epoch(const struct pp_wal *wal, uint64_t epoch)
{
	if (epoch > wal->ended_epoch && epoch >= wal->last_epoch)
		return 0;
	return pp_detail(-EINVAL, "a log record of epoch %llu after epoch %llu", (unsigned long long)epoch,
			 (unsigned long long)(wal->last_epoch > wal->ended_epoch ? wal->last_epoch : wal->ended_epoch));
}

/* Tags are 32 bits relative to the unit's first. */
static bool tag_fits(const struct pp_wal_slot *slot, uint64_t epoch)
{
	return slot->records == 0 || epoch - slot->first_epoch <= UINT32_MAX;
}

static void put_record_header(struct pp_wal *wal, struct pp_wal_slot *slot, uint64_t epoch, size_t size)
{
	struct pp_wal_record_header *head = (void *)(slot->buffer + slot->fill);

	if (slot->records++ == 0)
		slot->first_epoch = epoch;
	*head = (struct pp_wal_record_header){(uint32_t)size, (uint32_t)(epoch - slot->first_epoch)};
	slot->fill += sizeof(*head);
	slot->last_epoch = epoch;
	wal->last_epoch = epoch;
}

void *pp_wal_reserve(struct pp_wal *wal, uint64_t epoch, size_t size)
{
	struct pp_wal_slot *slot = pp_wal_slot_at(wal, wal->tail);
	uint64_t padded = pp_wal_round_up(size, 8);
	uint8_t *to;

	if (pp_load_rlx(&wal->failed) || size == 0 || epoch <= wal->ended_epoch || epoch < wal->last_epoch) /* owner */
		return NULL;
	if (!wal->open || slot->fill + sizeof(struct pp_wal_record_header) + padded > slot->limit ||
	    !tag_fits(slot, epoch))
		return NULL;
	put_record_header(wal, slot, epoch, size);
	to = slot->buffer + slot->fill;
	memset(to + padded - 8, 0, 8);
	slot->fill += (uint32_t)padded;
	return to;
}

/* Bytes of a record, into as many units as it takes. */
static int put_bytes(struct pp_wal *wal, const uint8_t *from, size_t size)
{
	while (size > 0) {
		int rc = open_if_closed(wal);
		struct pp_wal_slot *slot = pp_wal_slot_at(wal, wal->tail);
		uint32_t part;

		if (rc)
			return rc;
		part = slot->capacity - slot->fill < size ? slot->capacity - slot->fill : (uint32_t)size;
		memcpy(slot->buffer + slot->fill, from, part);
		slot->fill += part;
		/* No record begins here: these bytes continue one of an earlier unit. */
		if (slot->records == 0)
			slot->carry_end = slot->fill;
		from += part;
		size -= part;
		rc = seal_if_full(wal);
		if (rc)
			return rc;
	}
	return 0;
}

static int begin_record(struct pp_wal *wal, uint64_t epoch, size_t size)
{
	int rc = open_if_closed(wal);

	if (rc)
		return rc;
	put_record_header(wal, pp_wal_slot_at(wal, wal->tail), epoch, size);
	return seal_if_full(wal);
}

/* A unit that pp_wal_reserve filled to the end, or whose tags are too far away, takes no more. */
static int close_useless(struct pp_wal *wal, uint64_t epoch)
{
	struct pp_wal_slot *slot = pp_wal_slot_at(wal, wal->tail);

	if (!wal->open || (tag_fits(slot, epoch) && slot->fill < slot->capacity))
		return 0;
	seal(wal);
	return pp_wal_flight_pump(wal);
}

int pp_wal_append(struct pp_wal *wal, uint64_t epoch, const struct iovec *parts, int n)
{
	static const uint8_t zeros[8];
	uint64_t size = 0;
	int rc = pp_wal_flight_failed(wal);

	for (int i = 0; i < n; i++)
		size += parts[i].iov_len;
	if (!rc && (size == 0 || size > PP_WAL_RECORD_MAX))
		rc = pp_detail(-EINVAL, "a log record of %llu bytes", (unsigned long long)size);
	if (!rc)
		rc = check_epoch(wal, epoch);
	if (!rc)
		rc = close_useless(wal, epoch);
	if (!rc)
		rc = ensure_room(wal, sizeof(struct pp_wal_record_header) + pp_wal_round_up(size, 8));
	if (!rc)
		rc = begin_record(wal, epoch, size);
	for (int i = 0; i < n && !rc; i++)
		rc = put_bytes(wal, parts[i].iov_base, parts[i].iov_len);
	if (!rc)
		rc = put_bytes(wal, zeros, pp_wal_round_up(size, 8) - size);
	if (!rc && wal->open)
		set_limit(wal, pp_wal_slot_at(wal, wal->tail));
	return rc;
}

/* ---- epochs ---- */

/* Nothing was appended since the last END: the epoch is as durable as what is before it, and needs no unit. */
static void end_empty(struct pp_wal *wal, uint64_t epoch)
{
	if (wal->open)
		pp_wal_slot_at(wal, wal->tail)->ended_epoch = epoch;
	else if (wal->head < wal->tail)
		pp_wal_slot_at(wal, wal->tail - 1)->ended_epoch = epoch;
	else
		wal->durable.epoch = epoch;
}

int pp_wal_end_epoch(struct pp_wal *wal, uint64_t epoch)
{
	int rc = pp_wal_flight_failed(wal);

	if (rc)
		return rc;
	if (epoch < wal->ended_epoch)
		return pp_detail(-EINVAL, "epoch %llu ends after epoch %llu", (unsigned long long)epoch,
				 (unsigned long long)wal->ended_epoch);
	if (epoch == wal->ended_epoch)
		return 0;
	if (wal->last_epoch <= wal->ended_epoch) {
		end_empty(wal, epoch);
	} else {
		rc = open_if_closed(wal);
		if (rc)
			return rc;
		pp_wal_slot_at(wal, wal->tail)->ended_epoch = epoch;
	}
	wal->ended_epoch = epoch;
	pp_stat_add(&wal->epochs, 1);
	return 0;
}

/* ---- submit, poll, idle ---- */

int pp_wal_submit(struct pp_wal *wal)
{
	int rc = pp_wal_flight_pump(wal);

	if (rc || wal->next < wal->tail || !pp_wal_pending(wal) || wal->inflight >= wal->config.depth)
		return rc;
	seal(wal);
	return pp_wal_flight_pump(wal);
}

int pp_wal_poll(struct pp_wal *wal, int64_t wait_ns, struct pp_wal_pos *durable)
{
	int rc = pp_wal_flight_failed(wal);

	if (rc && wal->inflight)
		(void)pp_wal_flight_reap(wal, wait_ns);
	if (!rc)
		rc = pp_wal_flight_reap(wal, wait_ns);
	*durable = wal->durable;
	return rc;
}

unsigned pp_wal_inflight(const struct pp_wal *wal)
{
	return wal->inflight;
}

bool pp_wal_pending(const struct pp_wal *wal)
{
	return wal->next < wal->tail ||
	       (wal->open && pp_wal_slot_has_content(&wal->slots[wal->tail % wal->slot_count]));
}

int pp_wal_idle(struct pp_wal *wal)
{
	uint64_t need;
	int rc = pp_wal_flight_failed(wal);

	if (rc || wal->inflight || pp_wal_pending(wal) || wal->content_unit <= wal->proven_unit)
		return rc;
	/* The block that an unfinished epoch's END may need is not for markers. On a full disk there is none. */
	need = wal->last_epoch > wal->ended_epoch ? 2 * PP_WAL_BLOCK : PP_WAL_BLOCK;
	if (left_behind(wal) < need && pp_wal_segments_make(&wal->segments, 1) < 0)
		return 0;
	rc = open_if_closed(wal);
	if (rc)
		return rc;
	pp_wal_slot_at(wal, wal->tail)->marker = true;
	seal(wal);
	rc = pp_wal_flight_pump(wal);
	return rc ? rc : 1;
}
