/*
 * cmd_mem_count.h - where every byte of the arena is: by purpose, size class, table, shard, node; the greatest keys and values.
 */
#ifndef PP_TOOLS_CMD_MEM_COUNT_H
#define PP_TOOLS_CMD_MEM_COUNT_H

#include "engine/index.h"
#include "shm/alloc.h"

enum pp_mem_use { PP_MEM_KEYS, PP_MEM_VERSIONS, PP_MEM_LEAVES, PP_MEM_BLOCKS, PP_MEM_INDEX_CELLS, PP_MEM_HINTS, PP_MEM_USES };
extern const char *const pp_mem_use_names[PP_MEM_USES];

#define PP_MEM_TABLES 64               /* told one by one; the rest together */
#define PP_MEM_GREATEST 5
#define PP_MEM_SIZES 27                /* powers of two */
#define PP_MEM_SHARDS PP_USAGE

struct pp_mem_table {
	uint32_t id;
	uint64_t keys, key_bytes, values, value_bytes, block_bytes;
};

struct pp_mem_shard {
	uint64_t keys, block_bytes;    /* of keys and values */
};

struct pp_mem_great {
	uint64_t bytes;                /* of key and value */
	uint32_t table;
	uint16_t key_size;             /* of the whole key */
	uint8_t key[64];
};

struct pp_mem {
	struct pp_account account;
	uint64_t live[PP_MEM_USES], blocks[PP_MEM_USES];
	struct pp_mem_table table[PP_MEM_TABLES + 1];
	unsigned tables;
	struct pp_mem_shard shard[PP_MEM_SHARDS];
	unsigned shards;               /* 0 with one shard: there is nothing to tell apart */
	uint64_t node_bytes[PP_MAX_NODES]; /* pages by the node that they were backed for */
	uint64_t leaf_entries, leaf_blocks; /* blocks of level 0 */
	uint64_t key_sizes[PP_MEM_SIZES], value_sizes[PP_MEM_SIZES]; /* [i]: below 2^i and not below 2^(i-1) */
	struct pp_mem_great great[PP_MEM_GREATEST];
};

/* Looks at each block once. On a store at work each number is true for some moment. 0, or PPDB_CORRUPT with a detail. */
int pp_mem_count(struct pp_region *, struct pp_mem *);

/* Sum of the parts; equals account.committed_bytes on a store at rest. */
uint64_t pp_mem_sum(const struct pp_mem *);

#endif
