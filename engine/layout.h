/*
 * layout.h (engine) - what the engine keeps in the region: its words in the header area, and the objects in the segments.
 *
 * One family of objects carries every key. A *cell* is found by key; what its first word means depends on the level:
 *
 *   leaf cell          one cache line; `head` refers to an immutable block       (levels 0, 1, 2, ...)
 *     |
 *     v
 *   block              sorted {8-byte slice, reference of a key cell or an index cell}, low key, high key, right neighbour
 *     |
 *     +-- level 0 --> key cell     `head` = newest version, then key, then the first version inline when small
 *     +-- level n --> index cell   `head` = leaf cell of level n - 1 (with generation), then its low key
 *
 *   version            state, older, seq, length, value; inline behind a key cell's key, or a block of its own
 *
 * Named tables have a line each in the directory (struct pp_table), found by their id alone.
 *
 * Key bytes are `table (4 bytes, big-endian)` followed by the user's key, so byte order over all tables is memcmp order.
 */
#ifndef PP_ENGINE_LAYOUT_H
#define PP_ENGINE_LAYOUT_H

#include "shm/layout.h"

#define PP_KEY_MAX 4096
#define PP_VALUE_MAX (UINT64_C(64) << 20)
#define PP_LEAF_MAX 64                     /* entries of a block before it splits */
#define PP_LEVELS 8
#define PP_SHARDS_MAX 256
#define PP_BOUND_WORDS 4
#define PP_FLOORS 4096
#define PP_TABLES 16384                    /* lines of the directory: named tables at a time */
#define PP_TABLE_CATALOG UINT32_C(0xfffffffe) /* the table of tables */
#define PP_TABLE_IDS UINT32_C(0xfffffff0)     /* ids of tables that have a name lie below; from here on they are the store's own */

/* ---- words ------------------------------------------------------------------------------------------------------ */

/* A reference with the generation of what it refers to: leaf references in index cells and right links. */
#define PP_LINK(ref, gen) (((uint64_t)(gen) << PP_REF_BITS) | (ref))
#define pp_link_ref(l) ((l)&PP_REF_MASK)
#define pp_link_gen(l) ((l) >> PP_REF_BITS)

/* leaf cell head: block reference | 2 low bits. OPEN: normal. SEALED: being merged into the left neighbour. GONE: final. */
enum pp_leaf_state { PP_LEAF_OPEN = 0, PP_LEAF_SEALED = 1, PP_LEAF_GONE = 2 };
#define pp_head_ref(h) ((h)&PP_REF_MASK & ~UINT64_C(7))
#define pp_head_state(h) ((enum pp_leaf_state)((h)&7))

/* key cell head: version reference; the same with MOVING: final, the cell is being replaced by a copy (engine/move.h); or DEAD: the key was
 * removed for good, a new life needs a new cell. */
#define PP_MOVING UINT64_C(1)
#define PP_DEAD UINT64_C(2)
#define PP_INLINE_MAX 1024                 /* bytes of a key cell up to which its first version is inline */

/*
 * version state: | 2 status | 14 slot | 48 epoch |
 * PENDING until the commit CAS; COMMITTED by (slot, tag) of whoever's ring entry won; ABORTED by the reaper only, final.
 * PP_BATCH: the rest is the reference of a batch (struct pp_batch), whose state word decides for all its versions.
 */
enum pp_status { PP_PENDING = 0, PP_COMMITTED = 1, PP_ABORTED = 2, PP_BATCH = 3 };
#define PP_STATE(status, slot, epoch) \
	((uint64_t)(status) << 62 | (uint64_t)(slot) << 48 | ((epoch) & ((UINT64_C(1) << 48) - 1)))
#define pp_state_status(s) ((enum pp_status)((s) >> 62))
#define pp_state_slot(s) ((unsigned)((s) >> 48) & 0x3fff)
#define pp_state_epoch(s) ((s) & ((UINT64_C(1) << 48) - 1))
#define PP_STATE_BATCH(ref) ((uint64_t)PP_BATCH << 62 | (ref))
#define pp_state_batch(s) ((s)&PP_REF_MASK)
#define PP_SLOT_RECOVERED 0x3fff           /* "slot" of versions that recovery built */

/* older: version reference | 1 FROZEN (this version is being unlinked, its older is final) ; PP_CUT: the past was pruned away. */
#define PP_FROZEN UINT64_C(1)
#define PP_CUT UINT64_C(2)
#define pp_older_ref(o) ((o)&PP_REF_MASK & ~UINT64_C(7))

/* Kinds of blocks, in their headers. */
enum pp_kind { PP_KIND_OTHER = 0, PP_KIND_LEAF = 1, PP_KIND_CELL = 2, PP_KIND_VERSION = 3 };

/* ---- objects ---------------------------------------------------------------------------------------------------- */

struct pp_version {
	pp_a64 state;
	pp_a64 older;
	uint64_t seq_flags;                /* seq << 16 | flags; immutable */
	uint32_t size;                     /* value bytes; immutable */
	uint32_t cell_back;                /* inline: bytes back to the payload of its key cell; 0: its own block, `cell` before it */
	/* uint64_t expires_ms if PP_V_TTL (0 = never), then the value */
};
/* GUARD: holds the key's place for a batch that requires it as it is; ends ABORTED whatever becomes of the batch, and counts no seq. */
enum pp_version_flags { PP_V_TOMBSTONE = 1, PP_V_TTL = 2, PP_V_GUARD = 4 };
#define pp_version_seq(v) ((v)->seq_flags >> 16)
#define pp_version_flags(v) ((unsigned)((v)->seq_flags & 0xffff))

/* In front of a version that is a block of its own: {cell, generation of the cell}. */
struct pp_version_block {
	uint64_t cell;                     /* PP_LINK of its key cell; immutable */
	struct pp_version v;
};

/*
 * A batch under way (engine/batch.h). Its state word is made as a version's: PP_BATCH_INSTALLING, PP_BATCH_READY, COMMITTED(slot, tag) or
 * ABORTED. A ring entry refers to it with PP_ENTRY_BATCH set, a slot's op_version as well.
 */
struct pp_batch {
	pp_a64 state;
	pp_a64 beat;                       /* owner: grows while it gets on, so that others see whether it is stopped */
	pp_a64 count;                      /* versions listed; owner */
	uint64_t room;                     /* of version[]; immutable, as is all that follows */
	uint64_t bytes;                    /* log space, charged to the owner's slot before READY */
	uint64_t owner;                    /* word of that slot */
	uint32_t slot;
	uint32_t urgent;                   /* was aborted before: others have more patience */
	pp_a64 version[];                  /* reference, 0 = not linked; stored before it can be found */
};
#define PP_BATCH_INSTALLING PP_STATE(PP_PENDING, 0, 0)
#define PP_BATCH_READY PP_STATE(PP_PENDING, 0, 1)
#define PP_ENTRY_BATCH UINT64_C(1)

/* Key cells and index cells: the same shape, so that blocks of all levels are alike. */
struct pp_cell {
	pp_a64 head;                       /* key cell: newest version, DEAD; index cell: PP_LINK of a leaf cell (immutable) */
	uint16_t key_size;                 /* user key, without the table */
	uint16_t flags;
	uint32_t table_be;                 /* immutable; first 4 of the 4 + key_size key bytes */
	uint8_t key[];                     /* then, 8-byte aligned, the inline first version if PP_C_INLINE */
};
enum pp_cell_flags { PP_C_INLINE = 1, PP_C_INDEX = 2 };
#define pp_cell_key(c) ((const uint8_t *)&(c)->table_be)
#define pp_cell_key_size(c) (4u + (c)->key_size)

struct pp_leaf {
	pp_a64 head;                       /* block | state */
	uint32_t level;                    /* immutable */
	uint32_t shard;                    /* immutable; list it belongs to */
	uint64_t spare[4];                 /* 48 bytes + header = one line */
};

/*
 * block:  | struct | slices[count] | low 32 bits of refs[count] | high 8 bits of refs[count] | prefix bytes | low key | high key |
 *         and above level 0, 8-byte aligned,  | heads of the index cells[count] |, which never change: a descent needs no index cell
 * Keys in [low, high); high_size 0 = no bound (rightmost); low_size 0 = leftmost. Immutable once linked.
 */
struct pp_leafblock {
	uint64_t right;                    /* PP_LINK of the right neighbour, 0 = none */
	uint8_t count;
	uint8_t upper;                     /* 1: above level 0, links follow */
	uint16_t prefix_size;              /* common prefix of all entries' keys (0 with no entry) */
	uint16_t low_size, high_size;
	uint64_t slices[];
};

/* ---- the engine's words in the region --------------------------------------------------------------------------- */

/*
 * One ordered list of leaves per shard with strategy hash, else one list in all. tower[level] is the leftmost leaf cell of the
 * level; it never goes away. `levels` only grows.
 */
struct pp_list {
	PP_LINE pp_a64 levels;
	pp_a64 tower[PP_LEVELS];
};

/* A shard: an entry point with a home node and counters. Written by writers (statistics) and the keeper (boundaries). */
struct pp_shard {
	PP_LINE pp_a64 keys;               /* soft: cells linked minus cells removed */
	pp_a64 leaves, splits, merges, contention, bytes;
	pp_a32 node, pad;
};

/*
 * A line of the directory: table `id` has line id % PP_TABLES, for ever; ids rise and are never used twice, so a line's id only rises.
 *   FREE(older id) -> FILLING(id)  its creator, before the table is in the catalog; -> OPEN(id)  creator or helper, when it is;
 *   OPEN or FILLING -> DROPPED(id)  who dropped it, or the keeper; DROPPED, FILLING -> FREE(id)  the keeper (engine/catalog.c).
 */
struct pp_table {
	PP_LINE pp_a64 word;               /* | 32 state | 32 id | */
	pp_a64 ttl_ms, quota;              /* stored by the creator while FILLING; 0 = none */
	pp_a64 bytes, keys;                /* what is stored in it, keys and values; whoever writes, right after its commit */
};
enum pp_table_state { PP_TABLE_FREE = 0, PP_TABLE_FILLING = 1, PP_TABLE_OPEN = 2, PP_TABLE_DROPPED = 3 };
#define PP_TABLE_WORD(state, id) ((uint64_t)(state) << 32 | (id))
#define pp_table_state(w) ((enum pp_table_state)((w) >> 32))
#define pp_table_id(w) ((uint32_t)(w))

/* When an epoch was closed and when it was durable, for waiters to see where their time went. `epoch` is stored first and last looked at. */
struct pp_epoch_times {
	pp_a64 epoch, closed_ns, durable_ns, spare;
};
#define PP_EPOCH_TIMES 256

/*
 * Version numbers of keys after a cold start. What was visible and not yet durable is lost then, and its numbers would be given again, to other
 * values: whoever remembers one (in a cas, a cache, a condition) could not tell. So the first write to a key goes up to a number that no earlier
 * arena can have given: the generation of the log, which is durable before anybody attaches, above PP_VERSION_BITS bits for the writes to one
 * key in between. (A key that is written more often than that just counts on, as do all after half a million starts.)
 */
#define PP_VERSION_BITS 28
#define PP_GENERATIONS_MAX (UINT64_C(1) << (47 - PP_VERSION_BITS))
#define PP_VERSION_BASE(generation) (((generation) < PP_GENERATIONS_MAX ? (generation) : PP_GENERATIONS_MAX) << PP_VERSION_BITS)

struct pp_engine {
	uint64_t magic;
	uint32_t shards, strategy;         /* enum pp_strategy */
	uint32_t lists, pad;
	uint64_t version_base;             /* no key gets a lower number from now on (PP_VERSION_BASE); immutable */
	PP_LINE pp_a64 hints;              /* hint table in force: PP_LINK of a large run (payload: pp_hints) */
	PP_LINE pp_a64 checkpoint_epoch;   /* newest checkpoint's S; daemon */
	pp_a64 checkpoint_ms;              /* when the last one was finished, ms since 1970; 0 = none since the arena was made; daemon */
	pp_a64 checkpoint_error;           /* what the last attempt ended with, as -errno; 0 = well; daemon */
	pp_a64 checkpoint_behind, checkpoint_due; /* log bytes since the last one, or since the daemon's start; how many start one; each 100 ms */
	pp_a64 keys_recovered;
	/* strategy range: where each shard begins, the first 32 user key bytes as big-endian words; keeper adapts them */
	pp_a64 range_bound[PP_SHARDS_MAX][PP_BOUND_WORDS];
	pp_a64 wal_segments, wal_bytes, wal_units, wal_records; /* the log since the daemon started, each 100 ms */
	pp_a64 wal_epochs, wal_stalls, wal_free_bytes, wal_write_p50_ns, wal_write_p99_ns;
	pp_a64 wal_disk_bytes;             /* of all its files */
	/* each group commit since the arena was made, one count each in rows of shm/hist.h; step thread */
	pp_a64 commit_records[PP_HIST_BUCKETS], commit_bytes[PP_HIST_BUCKETS], settle_ns[PP_HIST_BUCKETS];
	pp_a64 write_ns[PP_HIST_BUCKETS];  /* each write of the log, from submit to reaped; step thread */
	struct pp_epoch_times epoch_times[PP_EPOCH_TIMES]; /* of epoch e at e % PP_EPOCH_TIMES; step thread */
	pp_a64 wal_generation;             /* newest that a daemon of this arena may have opened; daemon, before it does */
	pp_a64 gathered, gathering;        /* cells that the keeper has moved into key order; 1 = it is not at rest yet; house thread */
	pp_a64 sweep_wanted;               /* 1: a batch that was given up left heads behind; client, house thread clears it */
	pp_a64 wal_full;                   /* 1: no disk space for another segment; daemon */
	pp_a64 wal_reserve;                /* log bytes that each slot may use beyond its credit for deletes; daemon */
	char wal_backend[32];
	struct pp_list list[PP_SHARDS_MAX];
	struct pp_shard shard[PP_SHARDS_MAX];
	PP_LINE pp_a64 floor[PP_FLOORS];   /* seq floors by hash of table and key; raised by removers */
	struct pp_stats retired;           /* of slots that were given back; house thread */
	struct pp_stats readers;           /* of read-only clients, whose slots only the daemon sees; house thread, each 100 ms */
	PP_LINE pp_a64 tables_high;        /* no line at or above it was ever used; CAS up */
	struct pp_table table[PP_TABLES];
};

/* Bounds of loops and of indices: what stands in shared memory may be damaged. */
static inline uint32_t pp_shard_count(const struct pp_engine *e)
{
	uint32_t n = e->shards;

	return n < 1 ? 1 : n > PP_SHARDS_MAX ? PP_SHARDS_MAX : n;
}

static inline uint32_t pp_list_count(const struct pp_engine *e)
{
	uint32_t n = e->lists;

	return n < 1 ? 1 : n > PP_SHARDS_MAX ? PP_SHARDS_MAX : n;
}

enum pp_strategy { PP_STRATEGY_SINGLE = 0, PP_STRATEGY_RANGE = 1, PP_STRATEGY_HASH = 2 };

/* Hint table: lines of eight entries {16 tag | 8 generation | 40 key cell}. Lossy; see engine/hint.h. */
struct pp_hints {
	uint64_t lines;
	pp_a64 previous;                   /* PP_LINK of the table this one replaces while it is being filled, 0 = none */
	uint64_t spare[4];                 /* header and this fill a line, so lines of entries are cache lines */
	pp_a64 entry[];
};

/* Parts of a write that was timed: version on top of its key, ring entry and commit; of a wait for durability: until the epoch was closed, and
 * from durable to running again. What lies between (settle, write) the step thread counts for all. */
enum pp_phase { PP_PHASE_INSTALL, PP_PHASE_PUBLISH, PP_PHASE_QUEUE, PP_PHASE_WAKE };

enum pp_op { PP_OP_GET, PP_OP_PUT, PP_OP_DEL, PP_OP_CAS, PP_OP_ADD, PP_OP_SCAN, PP_OP_WAIT, PP_OP_BATCH };

_Static_assert(PP_USAGE == PP_SHARDS_MAX, "a row of usage for each shard");
_Static_assert(sizeof(struct pp_version) == 32, "version header");
_Static_assert(sizeof(struct pp_batch) == 56, "batch header");
_Static_assert(sizeof(struct pp_cell) == 16, "cell header");
_Static_assert(offsetof(struct pp_cell, key) == 16, "table and key bytes are contiguous");
_Static_assert(sizeof(struct pp_leaf) == 48, "a leaf cell and its header fill a cache line");
_Static_assert(sizeof(struct pp_hints) + sizeof(struct pp_block) == PP_CACHE_LINE, "hint lines are cache lines");
_Static_assert(sizeof(struct pp_leafblock) == 16, "block header");
_Static_assert(sizeof(struct pp_table) == PP_CACHE_LINE, "a table is a cache line");

uint64_t pp_layout_hash_engine(void);      /* shm's hash included */

#endif
