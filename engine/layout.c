/*
 * layout.c (engine) - the hash that attach compares: everything in the region that library and daemon must agree on.
 */
#include "engine/layout.h"

#define MIX(h, v) (((h) ^ (uint64_t)(v)) * UINT64_C(0x100000001b3))

uint64_t pp_layout_hash_engine(void)
{
	static const uint64_t facts[] = {
		sizeof(struct pp_version), sizeof(struct pp_version_block), sizeof(struct pp_cell), sizeof(struct pp_leaf),
		sizeof(struct pp_leafblock), sizeof(struct pp_list), sizeof(struct pp_shard), sizeof(struct pp_engine),
		sizeof(struct pp_hints), offsetof(struct pp_engine, hints), offsetof(struct pp_engine, list),
		offsetof(struct pp_engine, shard), offsetof(struct pp_engine, floor), offsetof(struct pp_engine, retired),
		offsetof(struct pp_engine, wal_epochs), offsetof(struct pp_engine, commit_records), offsetof(struct pp_engine, epoch_times), offsetof(struct pp_cell, table_be),
		offsetof(struct pp_version, seq_flags), offsetof(struct pp_version, cell_back), PP_LEVELS, PP_SHARDS_MAX,
		PP_FLOORS, PP_DEAD, PP_CUT, PP_FROZEN, PP_LEAF_SEALED, PP_LEAF_GONE, PP_SLOT_RECOVERED,
		PP_TABLES, PP_TABLE_CATALOG, PP_TABLE_OPEN, offsetof(struct pp_engine, tables_high), offsetof(struct pp_engine, table), offsetof(struct pp_table, bytes),
	};
	uint64_t h = pp_layout_hash_shm();

	for (size_t i = 0; i < sizeof(facts) / sizeof(*facts); i++)
		h = MIX(h, facts[i]);
	return h;
}
