/*
 * layout_ckpt.h - every struct of a checkpoint that is on disk, with its map. Little-endian, fixed width, no pointers.
 *
 * A checkpoint is a manifest and one file a stream, all in one directory:
 *
 *   MANIFEST                            names the one checkpoint that counts; replaced by rename
 *   checkpoint-<number, 16 hex digits>-<stream, 3 digits>
 *
 * Stream file: blocks of `block_bytes`, the last one as long as needed. Block n starts at n * block_bytes.
 *
 *   0             64                      64 + carried                          64 + used     end of block
 *   | block header | rest of a value that | record | record | record | ...      | zeros       |
 *                    began in earlier blocks  8-aligned, whole, unless a record is larger than a block
 *
 *   record: | 32 header | 8 expires_ms, if PP_CKPT_EXPIRES | key | value | zeros up to a multiple of 8 |
 *
 * A record that does not fit into the rest of a block starts the next one. Only a record larger than a whole block goes on
 * over several; its header and key are always in its first block.
 *
 * Manifest:  | header | pp_ckpt_stream[streams] | first and last keys | zeros to 8 | lost ranges | floors | ... end
 *
 * Checksums are XXH3 over everything behind them, seeded with store, S, checkpoint number, stream and block number, so that
 * a block is valid in one place only.
 *
 * Written by: pp_ckpt_* of checkpoint.c. Read by: ckpt_read.c.
 */
#ifndef PP_ENGINE_LAYOUT_CKPT_H
#define PP_ENGINE_LAYOUT_CKPT_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define PP_CKPT_MANIFEST_MAGIC UINT64_C(0x314b50434d425050) /* "PPBMCPK1" */
#define PP_CKPT_BLOCK_MAGIC UINT32_C(0x4b4c4243)            /* "CBLK" */
#define PP_CKPT_VERSION 2u
#define PP_CKPT_BLOCK_BYTES (1u << 20)
#define PP_CKPT_BLOCK_MIN (8u << 10) /* a header and the longest key fit into one block */
#define PP_CKPT_BLOCK_MAX (16u << 20)
#define PP_CKPT_STREAMS_MAX 256u

struct pp_ckpt_manifest {
	uint64_t magic;
	uint64_t checksum;    /* of bytes 16..bytes-1 */
	uint64_t bytes;       /* of the whole file */
	uint32_t version;
	uint32_t streams;
	uint64_t store_id;
	uint64_t number;      /* of this checkpoint; rises by at least one each time */
	uint64_t snapshot;    /* S: the newest epoch in it */
	uint64_t max_tag;     /* highest epoch ever seen, cut-off ones included */
	uint64_t incarnation; /* of the daemon that wrote it */
	uint32_t block_bytes;
	uint32_t lost;        /* struct pp_ckpt_range each */
	uint64_t floors;      /* uint64_t each */
	uint64_t key_bytes;   /* of all first and last keys, without the padding */
	uint64_t reserved[4];
};

struct pp_ckpt_stream {
	uint64_t bytes; /* of the file */
	uint64_t records;
	uint32_t first_table, last_table;
	uint16_t first_size, last_size; /* keys; 0 = no record */
	uint32_t reserved;
};

struct pp_ckpt_block {
	uint64_t checksum; /* of bytes 8..end of the block */
	uint32_t magic;
	uint32_t stream;
	uint64_t store_id;
	uint64_t snapshot;
	uint64_t number;  /* of the checkpoint */
	uint64_t block;   /* 0, 1, 2 ... in its file */
	uint32_t used;    /* payload bytes, `carried` included */
	uint32_t carried; /* at the start of the payload: rest of the record of an earlier block, padding included */
	uint32_t records; /* that begin here */
	uint32_t reserved;
};

enum pp_ckpt_entry_bits { PP_CKPT_EXPIRES = 1 };

struct pp_ckpt_entry {
	uint64_t seq;
	uint64_t tag;
	uint32_t table;
	uint32_t size;  /* of the value */
	uint32_t flags; /* the caller's */
	uint16_t key_size;
	uint16_t bits;  /* enum pp_ckpt_entry_bits */
};

static_assert(sizeof(struct pp_ckpt_manifest) == 128, "manifest header");
static_assert(sizeof(struct pp_ckpt_stream) == 32, "manifest's stream entry");
static_assert(sizeof(struct pp_ckpt_block) == 64, "block header");
static_assert(sizeof(struct pp_ckpt_entry) == 32, "record header");

#endif
