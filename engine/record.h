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
	uint16_t flags;                    /* PP_V_TOMBSTONE, PP_V_TTL */
	uint64_t seq;
	uint64_t expires_ms;
	uint64_t size;
	uint8_t bytes[];
};

_Static_assert(sizeof(struct pp_record) == 32, "log record header");

static inline uint64_t pp_record_size(uint64_t key_size, uint64_t value_size)
{
	return sizeof(struct pp_record) + key_size + value_size;
}

#endif
