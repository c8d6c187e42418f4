/*
 * wal_flight.c - from full units to durable ones: numbering into the chain, submitting, reaping, the durable position.
 *
 * Protocol: units are chained and submitted in order; completions come in any order; durable is the longest prefix of
 * completed units, and only a unit that ended an epoch moves the position that callers see. The header carries the durable
 * position known at submit: it is what tells damage from a torn tail later.
 * A short write is continued; a failed write or sync ends writing for good, and is never repeated.
 * A process that dies here leaves units in flight that land or not, in any order; none of them was reported durable.
 */
#include <stdio.h>
#include <string.h>

#include "engine/wal_writer.h"
#include "shm/errors.h"
#include "shm/probe.h"

#define TRIES_MAX 1000u            /* of one unit, for -EINTR and -EAGAIN */

int pp_wal_flight_failed(const struct pp_wal *wal)
{
	/* [wal_flight.failed:load] pairs [wal_flight.fail:store]: the sentence. */
	uint32_t code = pp_load_acq(&wal->failed);

	return code ? pp_detail(-(int)code, "%s", wal->failure) : 0;
}

int pp_wal_flight_fail(struct pp_wal *wal, int code, const char *what, const struct pp_wal_slot *slot)
{
	char path[PP_WAL_PATH] = "";
	int known = pp_wal_flight_failed(wal);

	if (known)
		return known;
	if (slot && slot->segment)
		pp_wal_format_path(path, wal->segments.dir, PP_WAL_FILE_LOG, slot->segment->number);
	snprintf(wal->failure, sizeof(wal->failure),
		 "the log takes no more writes: %.100s unit %llu to %.360s at offset %llu failed: %.100s", what,
		 slot ? (unsigned long long)slot->unit : 0, *path ? path : wal->segments.dir,
		 slot ? (unsigned long long)slot->offset : 0, pp_error_text(code));
	/* [wal_flight.fail:store] pairs [wal_flight.failed:load]: the sentence. */
	pp_store_rel(&wal->failed, (uint32_t)-code);
	return pp_wal_flight_failed(wal);
}

/* ---- submit ---- */

static void finish_header(struct pp_wal *wal, struct pp_wal_slot *slot)
{
	struct pp_wal_unit_header *h = (struct pp_wal_unit_header *)slot->buffer;

	slot->total = (uint32_t)pp_wal_round_up(slot->fill, PP_WAL_BLOCK);
	memset(slot->buffer + slot->fill, 0, slot->total - slot->fill);
	*h = (struct pp_wal_unit_header){
		.magic = PP_WAL_UNIT_MAGIC,
		.store_id = wal->config.store_id,
		.generation = wal->segments.header.generation,
		.segment = slot->segment->number,
		.offset = slot->offset,
		.unit = slot->unit,
		.prev_chain = wal->chain,
		.base_epoch = slot->base_epoch,
		.ended_epoch = slot->ended_epoch,
		.tag_before = slot->tag_before,
		.first_epoch = slot->first_epoch,
		.last_epoch = slot->last_epoch,
		.durable_unit = wal->done_unit,
		.total_bytes = slot->total,
		.payload_bytes = slot->fill - PP_WAL_UNIT_HEADER,
		.first_record = slot->carry_end,
		.records = slot->records,
		.flags = slot->marker ? PP_WAL_UNIT_MARKER : 0,
	};
	h->checksum = pp_wal_format_unit_sum(h);
	slot->chain = h->checksum;
	wal->chain = h->checksum;
	wal->proven_unit = h->durable_unit;
	if (!slot->marker)
		wal->content_unit = slot->unit;
}

static int submit_rest(struct pp_wal *wal, struct pp_wal_slot *slot)
{
	struct pp_wal_io_write write = {
		.slot = (unsigned)(slot - wal->slots),
		.fd = slot->segment->fd,
		.data = slot->buffer + slot->done,
		.size = slot->total - slot->done,
		.offset = slot->offset + slot->done,
	};
	int rc = wal->io->class->submit(wal->io, &write);

	if (rc)
		return pp_wal_flight_fail(wal, rc, "submitting", slot);
	wal->inflight++;
	pp_store_rlx(&wal->inflight_now, wal->inflight); /* stat */
	return 0;
}

static void count_submitted(struct pp_wal *wal, const struct pp_wal_slot *slot)
{
	pp_stat_add(&wal->units, 1);
	pp_stat_add(&wal->bytes, slot->total);
	pp_stat_add(&wal->records, slot->records);
	pp_stat_add(&wal->markers, slot->marker);
	pp_store_rlx(&wal->submitted_unit, slot->unit); /* stat */
}

int pp_wal_flight_pump(struct pp_wal *wal)
{
	int rc = pp_wal_flight_failed(wal);

	while (!rc && wal->next < wal->tail && wal->inflight < wal->config.depth) {
		struct pp_wal_slot *slot = pp_wal_slot_at(wal, wal->next);

		if (wal->switching && wal->inflight)
			break;
		rc = pp_wal_backend_start(wal);
		if (rc)
			return pp_wal_flight_fail(wal, rc, "preparing to write", slot);
		finish_header(wal, slot);
		slot->submitted_ns = pp_wal_now_ns();
		wal->next++;
		count_submitted(wal, slot);
		PPDB_PROBE(commit_submit, slot->unit, slot->total, slot->records);
		rc = submit_rest(wal, slot);
	}
	return rc;
}

/* ---- reap ---- */

/* The position moves only over the contiguous prefix; slots become free here. */
static void advance(struct pp_wal *wal)
{
	while (wal->head < wal->next && pp_wal_slot_at(wal, wal->head)->complete) {
		struct pp_wal_slot *slot = pp_wal_slot_at(wal, wal->head);

		wal->done_unit = slot->unit;
		if (slot->ended_epoch > wal->durable.epoch) {
			wal->durable = (struct pp_wal_pos){slot->unit, slot->chain, slot->ended_epoch};
			/* [wal_flight.advance:store] pairs [wal_open.release:load]: the unit that lets older segments go. */
			pp_store_rel(&wal->ended_unit, slot->unit);
		}
		wal->head++;
	}
}

static int finish_write(struct pp_wal *wal, const struct pp_wal_io_done *done)
{
	struct pp_wal_slot *slot = &wal->slots[done->slot];
	uint64_t took;
	int rc;

	wal->inflight--;
	pp_store_rlx(&wal->inflight_now, wal->inflight); /* stat */
	rc = pp_wal_flight_failed(wal);
	if (rc)
		return rc;
	if (done->result == -EINTR || done->result == -EAGAIN) {
		if (++slot->tries < TRIES_MAX)
			return submit_rest(wal, slot);
	} else if (done->result > 0) {
		/* A part of a block is written again: O_DIRECT takes whole ones only. */
		slot->done += (uint32_t)done->result;
		if (slot->done < slot->total)
			slot->done -= slot->done % PP_WAL_BLOCK;
	}
	if (done->result < 0)
		return pp_wal_flight_fail(wal, (int)done->result, "writing", slot);
	if (done->result == 0 && ++slot->tries >= TRIES_MAX)
		return pp_wal_flight_fail(wal, -EIO, "writing", slot);
	if (slot->done < slot->total)
		return submit_rest(wal, slot);
	slot->complete = true;
	took = pp_wal_now_ns() - slot->submitted_ns;
	PPDB_PROBE(commit_done, slot->unit, slot->total, took);
	pp_wal_backend_note(wal, took, slot->total);
	if (wal->config.wrote)
		wal->config.wrote(wal->config.wrote_ctx, took);
	return 0;
}

int pp_wal_flight_reap(struct pp_wal *wal, int64_t wait_ns)
{
	struct pp_wal_io_done done[PP_WAL_SLOTS_MAX];
	int rc = 0, n = 0;

	if (wal->inflight)
		n = wal->io->class->reap(wal->io, wait_ns, done, PP_WAL_SLOTS_MAX);
	if (n < 0)
		return pp_wal_flight_fail(wal, n, "waiting for", NULL);
	for (int i = 0; i < n; i++) {
		int one = finish_write(wal, &done[i]);

		rc = rc ? rc : one;
	}
	advance(wal);
	return rc ? rc : pp_wal_flight_pump(wal);
}
