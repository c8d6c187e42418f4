/*
 * record.h - one write as it stands in the log; the epoch tag goes with it outside (engine/wal.h).
 *
 *   | u32 table | u16 key size | u16 flags | u64 seq | u64 expires_ms | u64 value size | key | value |   little-endian
 */
#ifndef PP_ENGINE_RECORD_H
#define PP_ENGINE_RECORD_H

#include "engine/layout.h"

struct pp_record {
	uint32_t table;
	uint16_t key_size;
	uint16_t flags;                    /* PP_V_TOMBSTONE, PP_V_TTL, PP_R_ */
	uint64_t seq;
	uint64_t expires_ms;
	uint64_t size;
	uint8_t bytes[];
};

#define PP_R_MORE 0x8000u                  /* the next record, of the same epoch, belongs to the same batch */
#define PP_R_RING 0x4000u                  /* first of another ring in its epoch: from here on what one thread wrote, in order */

_Static_assert(sizeof(struct pp_record) == 32, "log record header");

static inline uint64_t pp_record_size(uint64_t key_size, uint64_t value_size)
{
	return sizeof(struct pp_record) + key_size + value_size;
}

#endif
