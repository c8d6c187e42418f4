/*
 * wal_writer.h - the writer's state: units being filled, waiting and in flight. Private to wal_*.
 */
#ifndef PP_ENGINE_WAL_WRITER_H
#define PP_ENGINE_WAL_WRITER_H

#include <sys/types.h>

#include "engine/wal_io.h"
#include "engine/wal_segment.h"

#define PP_WAL_LATENCY_BUCKETS 256

/* One unit and its buffer. */
struct pp_wal_slot {
	uint8_t *buffer;
	struct pp_wal_segment *segment;
	uint64_t offset;           /* in the segment */
	uint64_t unit;
	uint64_t chain;            /* own checksum, known from submit on */
	uint64_t base_epoch, ended_epoch;
	uint64_t tag_before, first_epoch, last_epoch;
	uint32_t capacity;         /* blocks up to the end of the segment or the greatest unit */
	uint32_t limit;            /* for records: less than the capacity when nothing is free behind it */
	uint32_t fill;             /* bytes used, header included */
	uint32_t carry_end;        /* end of the bytes that continue an earlier record */
	uint32_t records;
	uint32_t total;            /* as submitted */
	uint32_t done;             /* of these, durable */
	uint32_t tries;
	bool marker;
	bool complete;
	uint64_t submitted_ns;
};

/*
 * slots[] is a ring indexed by counters: [head, next) submitted, [next, tail) full and waiting, `tail` being filled if `open`.
 * A slot is free again when its unit and all before it are durable; so no unit is submitted more than `slot_count` ahead of
 * the durable position (recovery relies on it: in_flight_units).
 */
struct pp_wal {
	struct pp_wal_config config;
	struct pp_wal_segments segments;

	struct pp_wal_slot slots[PP_WAL_SLOTS_MAX];
	unsigned slot_count;
	uint8_t *buffers;
	uint64_t head, next, tail;
	bool open;
	unsigned inflight;

	struct pp_wal_segment *segment;    /* being filled */
	uint64_t offset;           /* where the next unit goes */

	uint64_t unit;             /* last number given */
	uint64_t chain;            /* of the last submitted */
	uint64_t ended_epoch;      /* as the caller said */
	uint64_t last_epoch;       /* highest tag so far */
	uint64_t done_unit;        /* all up to it is durable */
	uint64_t proven_unit;      /* the same in the last unit submitted */
	uint64_t content_unit;     /* last unit that was no marker */
	struct pp_wal_pos durable;

	struct pp_wal_io *io;      /* opened by the writer's first submit */
	pid_t io_thread;           /* that opened it; pthread_t is used again too soon */
	unsigned since_switch;     /* writes by this backend */
	bool switching;            /* submit nothing until nothing is in flight, then change the backend */
	uint64_t estimate_ns[PP_WAL_BACKENDS], floor_ns[PP_WAL_BACKENDS];

	char failure[768];         /* sentence; written once, before `failed` */
	pp_a32 failed;             /* negated error */

	/* Read by any thread, written by the writer. */
	pp_a64 ended_unit;         /* of the durable position: segments before it may go */
	pp_a64 left_bytes;         /* behind `offset` in the current segment */
	pp_a32 backend, fixed, inflight_now;
	pp_a64 segment_now, submitted_unit;
	pp_a64 units, bytes, records, epochs, markers, switches, stalls;
	pp_a32 latency[PP_WAL_LATENCY_BUCKETS];
	uint32_t latency_count;
};

/* wal.c: takes the next ready segment; -ENOSPC when there is none. */
int pp_wal_next_segment(struct pp_wal *wal);

/* wal_flight.c: from full units to durable ones. */
int pp_wal_flight_fail(struct pp_wal *wal, int code, const char *what, const struct pp_wal_slot *slot);
/* The sticky error with its sentence, or 0. */
int pp_wal_flight_failed(const struct pp_wal *wal);
/* Submits what waits, as far as the depth permits. */
int pp_wal_flight_pump(struct pp_wal *wal);
/* Reaps, waiting at most wait_ns for the first completion, then pumps. */
int pp_wal_flight_reap(struct pp_wal *wal, int64_t wait_ns);

/* wal_backend.c: choice, change and latency. */
int pp_wal_backend_choose(struct pp_wal *wal);
int pp_wal_backend_start(struct pp_wal *wal);
void pp_wal_backend_note(struct pp_wal *wal, uint64_t ns, uint32_t bytes);
uint64_t pp_wal_backend_latency(const struct pp_wal *wal, unsigned percent);

static inline struct pp_wal_slot *pp_wal_slot_at(struct pp_wal *wal, uint64_t index)
{
	return &wal->slots[index % wal->slot_count];
}

static inline bool pp_wal_slot_has_content(const struct pp_wal_slot *slot)
{
	return slot->fill > PP_WAL_UNIT_HEADER || slot->ended_epoch > slot->base_epoch || slot->marker;
}

#endif
