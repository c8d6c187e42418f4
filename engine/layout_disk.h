/*
 * layout_disk.h - every struct of the log that is on disk, with its map. Little-endian, fixed width, no pointers.
 *
 * A log is a directory of segments `wal-<number, 16 hex digits>.log` (numbers rise, one more each time):
 *
 *   0        4096                                                                  segment_bytes
 *   | header | unit | unit      | unit |  ...  | unit | (zeros, or what a recycled file held) |
 *
 * A unit is one write: whole blocks of 4096 bytes. Units fill a segment to its last block; the next unit is then the
 * first of the next segment. Unit numbers and the chain of checksums run through all segments and generations.
 *
 *   0             144                    first_record                payload end   total_bytes
 *   | unit header | rest of a record     | record | record | record ...| zeros      |
 *                   begun in earlier units  8 bytes {size, tag} + bytes, padded to 8; the last may go on in the next unit
 *
 * A generation is one incarnation of the writer. Its segments' headers say where the predecessor was cut: what lies
 * behind that unit in older segments is dead. `new-*` and `spare-*` files are never read.
 *
 * Written by: the writer (units), the segment maker (headers, before the file has its final name). Read by: recovery, dump.
 */
#ifndef PP_ENGINE_LAYOUT_DISK_H
#define PP_ENGINE_LAYOUT_DISK_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define PP_WAL_BLOCK 4096u
#define PP_WAL_SEGMENT_MAGIC 0x314745534c415750ull /* "PWALSEG1" */
#define PP_WAL_UNIT_MAGIC 0x54494e554c415750ull    /* "PWALUNIT" */
#define PP_WAL_VERSION 1u

/* First block of a segment; the rest of the block is zero and covered by the checksum. */
struct pp_wal_segment_header {
	uint64_t magic;
	uint64_t checksum;         /* XXH3 of bytes 16..4095 */
	uint32_t version;
	uint32_t block_bytes;
	uint64_t store_id;
	uint64_t generation;
	uint64_t number;           /* also in the file's name */
	uint64_t first_number;     /* first segment of this generation */
	uint64_t segment_bytes;
	uint64_t unit_bytes_max;
	uint64_t in_flight_units;  /* no unit is written before its number minus this is durable */
	uint64_t cut_generation;   /* predecessor; 0 = none */
	uint64_t cut_unit;         /* its last unit that counts, 0 = none; this generation begins with the next number */
	uint64_t cut_chain;        /* checksum of that unit */
	uint64_t cut_epoch;        /* all up to it has ended there; newer records of the predecessor are dropped */
	uint64_t max_epoch_seen;   /* highest tag seen when this generation began */
};

static_assert(sizeof(struct pp_wal_segment_header) == 120, "segment header");
static_assert(offsetof(struct pp_wal_segment_header, version) == 16, "checksummed part begins here");

#define PP_WAL_UNIT_MARKER 1u      /* no payload: proves that all before it is durable */

/* Seed of the checksum: store, generation, segment and offset, so that a unit is valid in one place only. */
struct pp_wal_unit_header {
	uint64_t magic;
	uint64_t checksum;         /* XXH3 of bytes 16..total_bytes-1; the next unit's prev_chain */
	uint64_t store_id;
	uint64_t generation;
	uint64_t segment;
	uint64_t offset;           /* in the file */
	uint64_t unit;
	uint64_t prev_chain;
	uint64_t base_epoch;       /* all up to it ended in earlier units */
	uint64_t ended_epoch;      /* all up to it has ended with this unit; >= base_epoch */
	uint64_t tag_before;       /* highest tag of a record begun in an earlier unit of the valid log */
	uint64_t first_epoch;      /* tags of records in here are relative to it */
	uint64_t last_epoch;       /* highest tag of a record begun so far: max(tag_before, those in here) */
	uint64_t durable_unit;     /* all up to it was durable when this was submitted */
	uint32_t total_bytes;      /* multiple of the block */
	uint32_t payload_bytes;    /* from the end of this header */
	uint32_t first_record;     /* offset in the unit of the first record that begins here */
	uint32_t records;          /* that begin here */
	uint32_t flags;
	uint32_t reserved;
	uint64_t reserved2;
};

static_assert(sizeof(struct pp_wal_unit_header) == 144, "unit header");
static_assert(offsetof(struct pp_wal_unit_header, store_id) == 16, "checksummed part begins here");
static_assert(sizeof(struct pp_wal_unit_header) % 8 == 0, "records are 8-aligned");

/* Before every record. */
struct pp_wal_record_header {
	uint32_t size;             /* of the bytes that follow, without padding */
	uint32_t tag;              /* epoch minus the unit's first_epoch */
};

static_assert(sizeof(struct pp_wal_record_header) == 8, "record header");

#endif
