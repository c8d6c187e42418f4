/*
 * wal_open.c - opening and closing the log's writer, and the calls that other threads may make meanwhile.
 *
 * Open makes the new generation durable before a unit can be written; from then on the predecessor's units past the cut are
 * dead. Close writes what is queued and the marker, and frees the buffers only when nothing is in flight.
 * Other threads read counters and use the segment lists, which have their own locks (wal_segment.c).
 * A process that dies while opening leaves the old generation as it was, or a new one that begins where the old was cut.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "engine/file.h"
#include "engine/wal_writer.h"
#include "shm/errors.h"

#define WAIT_NS 1000000000ll
#define CLOSE_WAITS 30
#define DIR_MODE 0700

/* ---- any thread ---- */

uint64_t pp_wal_segment_room(const struct pp_wal *wal)
{
	return wal->config.segment_bytes - PP_WAL_BLOCK;
}

/* A segment leaves ready_count before left_bytes grows: in between too little is reported, never too much. */
uint64_t pp_wal_free_bytes(const struct pp_wal *wal)
{
	uint64_t left = pp_load_rlx(&wal->left_bytes); /* hint */

	return left + pp_load_acq(&wal->segments.ready_count) * pp_wal_segment_room(wal);
}

int pp_wal_prepare_for(struct pp_wal *wal, uint64_t bytes)
{
	uint64_t more = (bytes + pp_wal_segment_room(wal) - 1) / pp_wal_segment_room(wal);

	return pp_wal_segments_make(&wal->segments, wal->config.spare_segments + (unsigned)more);
}

int pp_wal_prepare_reserve(struct pp_wal *wal)
{
	return pp_wal_segments_reserve(&wal->segments);
}

bool pp_wal_releasable(const struct pp_wal *wal)
{
	return pp_load_acq(&wal->segments.full_count);
}

int pp_wal_prepare(struct pp_wal *wal)
{
	return pp_wal_prepare_for(wal, 0);
}

int pp_wal_release(struct pp_wal *wal, uint64_t epoch)
{
	/* [wal_open.release:load] pairs [wal_flight.advance:store]: the unit that lets older segments go. */
	return pp_wal_segments_release(&wal->segments, epoch, pp_load_acq(&wal->ended_unit));
}

uint64_t pp_wal_epoch_beyond(struct pp_wal *wal, uint64_t bytes)
{
	return pp_wal_segments_beyond(&wal->segments, bytes / wal->config.segment_bytes);
}

void pp_wal_stat(const struct pp_wal *wal, struct pp_wal_stats *out)
{
	const struct pp_wal_segments *s = &wal->segments;

	/* All of these are stat: each is right on its own, together they are a moment's blur. */
	*out = (struct pp_wal_stats){
		.backend = pp_wal_io_name((int)pp_load_rlx(&wal->backend)),
		.direct = pp_load_rlx(&s->direct),
		.fixed = pp_load_rlx(&wal->fixed),
		.failed = -(int)pp_load_acq(&wal->failed),
		.generation = s->header.generation,
		.segment = pp_load_rlx(&wal->segment_now),
		.unit = pp_load_rlx(&wal->submitted_unit),
		.units = pp_load_rlx(&wal->units),
		.bytes = pp_load_rlx(&wal->bytes),
		.records = pp_load_rlx(&wal->records),
		.epochs = pp_load_rlx(&wal->epochs),
		.markers = pp_load_rlx(&wal->markers),
		.backend_switches = pp_load_rlx(&wal->switches),
		.segments_ready = pp_load_rlx(&s->ready_count),
		.segments = 1 + pp_load_rlx(&s->ready_count) + pp_load_rlx(&s->full_count),
		.segment_bytes = wal->config.segment_bytes,
		.segments_made = pp_load_rlx(&s->made),
		.segments_recycled = pp_load_rlx(&s->recycled),
		.segments_deleted = pp_load_rlx(&s->deleted),
		.stalls = pp_load_rlx(&wal->stalls),
		.free_bytes = pp_wal_free_bytes(wal),
		.latency_p50_ns = pp_wal_backend_latency(wal, 50),
		.latency_p99_ns = pp_wal_backend_latency(wal, 99),
		.depth = wal->config.depth,
		.inflight = pp_load_rlx(&wal->inflight_now),
	};
}

/* ---- open and close ---- */

static int map_buffers(struct pp_wal *wal)
{
	size_t size = (size_t)wal->slot_count * wal->config.batch_bytes;
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (at == MAP_FAILED)
		return pp_detail(-ENOMEM, "no memory for the log's buffers of %zu bytes", size);
	/* A forked child must not share pages with writes in flight. */
	madvise(at, size, MADV_DONTFORK);
	wal->buffers = at;
	for (unsigned i = 0; i < wal->slot_count; i++)
		wal->slots[i].buffer = wal->buffers + (size_t)i * wal->config.batch_bytes;
	return 0;
}

static void set_position(struct pp_wal *wal, const struct pp_wal_recovered *recovered)
{
	wal->unit = recovered->last.unit;
	wal->chain = recovered->last.chain;
	wal->ended_epoch = recovered->last.epoch;
	wal->last_epoch = recovered->last.epoch;
	wal->durable = recovered->last;
	wal->proven_unit = recovered->last.unit;
	wal->done_unit = recovered->last.unit;
	pp_store_rlx(&wal->ended_unit, recovered->last.unit); /* not shared yet */
	pp_store_rlx(&wal->submitted_unit, recovered->last.unit);
}

static void destroy(struct pp_wal *wal)
{
	if (wal->io)
		wal->io->class->close(wal->io);
	/* With writes in flight the disk still reads the buffers: rather leak them. */
	if (wal->buffers && !wal->inflight)
		munmap(wal->buffers, (size_t)wal->slot_count * wal->config.batch_bytes);
	pp_wal_segments_free(&wal->segments, wal->segment);
	pp_wal_segments_destroy(&wal->segments);
	free(wal);
}

static int start(struct pp_wal *wal, const struct pp_wal_recovered *recovered)
{
	int rc = pp_file_make_dir(wal->config.disk, wal->config.dir, DIR_MODE);

	if (!rc)
		rc = pp_wal_segments_init(&wal->segments, &wal->config, recovered);
	if (!rc)
		rc = map_buffers(wal);
	if (!rc)
		rc = pp_wal_backend_choose(wal);
	return rc ? rc : pp_wal_next_segment(wal);
}

int pp_wal_open(const struct pp_wal_config *config, const struct pp_wal_recovered *recovered, struct pp_wal **out)
{
	struct pp_wal *wal = calloc(1, sizeof(*wal));
	int rc;

	if (!wal)
		return pp_detail(-ENOMEM, "no memory for the log");
	rc = pp_wal_format_config(config, &wal->config);
	if (rc) {
		free(wal);
		return rc;
	}
	wal->slot_count = wal->config.depth + 2;
	set_position(wal, recovered);
	rc = start(wal, recovered);
	/* The caller's strings are not kept. */
	wal->config.dir = wal->segments.dir;
	wal->config.expect = NULL;
	if (rc) {
		destroy(wal);
		return rc;
	}
	*out = wal;
	return 0;
}

/* Until nothing waits and nothing is in flight, or the disk does not answer any more. */
static int drain(struct pp_wal *wal)
{
	struct pp_wal_pos ignored;
	int rc = 0;

	for (int waits = 0; waits < CLOSE_WAITS && (wal->inflight || (!rc && pp_wal_pending(wal)));) {
		unsigned before = wal->inflight;

		rc = pp_wal_submit(wal);
		(void)pp_wal_poll(wal, WAIT_NS, &ignored);
		waits += before && wal->inflight >= before;
	}
	return pp_wal_flight_failed(wal);
}

int pp_wal_close(struct pp_wal *wal)
{
	int rc = drain(wal);

	if (!rc && pp_wal_idle(wal) == 1)
		rc = drain(wal);
	destroy(wal);
	return rc;
}
