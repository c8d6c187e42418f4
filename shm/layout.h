/*
 * layout.h - everything that lives in the shared region, with who writes it, who reads it and in which order.
 *
 *   offset 0
 *   +---------------------------+
 *   | struct pp_header   (1 pg) |  written once by the daemon before `ready`, plus a few daemon words
 *   | struct pp_globals  (1 pg) |  the words everybody looks at, one cache line each
 *   | struct pp_sets     x 2    |  what the daemon announces: reader intervals (reclaim), held snapshots (prune)
 *   | engine area               |  words of the engine (shm does not know its contents), see engine/layout.h
 *   | struct pp_proc     x procs|  one record per attached process, written by the daemon
 *   | struct pp_slot     x slots|  one per client thread: interval, ring tail, notes, counters
 *   | ring entries       x slots|  16 bytes each, ring_entries per slot
 *   | struct pp_stripe   x n    |  lock words of `sync = mutex`
 *   | partial bits              |  [class][segment] one u32: which of the segment's 32 pages may have free blocks
 *   | struct pp_page     x pages|  page table; committed together with the segment it describes
 *   +---------------------------+  2 MiB aligned: first_segment
 *   | segment 0 (2 MiB)         |  32 pages of 64 KiB, each of one block class or part of a large run
 *   | segment 1 ...             |
 *   +---------------------------+  header.memory_max (mapped), globals.committed_segments (backed)
 *
 * A reference is a byte offset from the start of the region (pp_ref); 0 is "none". Every process maps the region at its own
 * address. Objects are 8-byte aligned, references fit 40 bits (1 TiB), so 24 bits stay free beside one in a word.
 *
 * The layout hash (pp_layout_hash) covers the sizes and offsets of everything here and in engine/layout.h; attach compares it.
 */
#ifndef PP_SHM_LAYOUT_H
#define PP_SHM_LAYOUT_H

#include "shm/atomic.h"

#include <stddef.h>

typedef uint64_t pp_ref;

#define PP_REF_BITS 40
#define PP_REF_MASK ((UINT64_C(1) << PP_REF_BITS) - 1)

#define PP_MAGIC UINT64_C(0x3130304244505070) /* "pPPDB001", little-endian */
#define PP_LAYOUT_VERSION 2

#define PP_SEGMENT_BYTES (UINT64_C(2) << 20)
#define PP_PAGE_BYTES (UINT64_C(64) << 10)
#define PP_PAGES_PER_SEGMENT 32
#define PP_PLACES 4            /* nodes for which a thread owns pages at once; node n has place n % PP_PLACES */
#define PP_CLASSES 96          /* rows of the partial bits: block classes and three for pages; see shm/alloc.h */
#define PP_BLOCK_MIN 48        /* bytes, header included: at most 1365 blocks a page */
#define PP_BITMAP_WORDS 22     /* enough for PP_PAGE_BYTES / PP_BLOCK_MIN bits */
#define PP_MAX_SLOTS 8192      /* 14 bits in a version's state word, 0 and the top reserved */
#define PP_MAX_NODES 16

/* ---- block header: in front of every block and every large run; the truth about it ------------------------------- */

/*
 * word:   | 2 state | 2 kind | 20 generation | 40 birth era |  FREE -> PRIVATE (owner of the page), PRIVATE -> LIVE (CAS, after
 *          63       61       59              39            0   linking; helpers may do it), LIVE -> RETIRED (CAS, after
 *                                                              unlinking), RETIRED -> FREE (whoever holds the page,
 *                                                              generation + 1), and PRIVATE -> RETIRED for a block that was
 *                                                              never linked.
 * retired: PP_PRIVATE_OF(slot) from the allocation on (whose it is while PRIVATE); then the retire era, which the winner of the
 *          CAS to RETIRED reads AFTER it. A RETIRED block that still says PP_PRIVATE_OF is nobody's to free; it gets the era of
 *          the first sweep that sees it.
 */
struct pp_block {
	pp_a64 word;
	pp_a64 retired;
};

#define PP_PRIVATE_BIT (UINT64_C(1) << 63)
#define PP_MOVED_BIT (UINT64_C(1) << 62) /* beside a retire era: a snapshot may have handed out its bytes, see pp_retire_moved */
#define PP_PRIVATE_OF(slot) (PP_PRIVATE_BIT | (uint64_t)(slot))

enum pp_block_state { PP_BLOCK_FREE = 0, PP_BLOCK_PRIVATE = 1, PP_BLOCK_LIVE = 2, PP_BLOCK_RETIRED = 3 };

#define PP_ERA_BITS 40
#define PP_ERA_MASK ((UINT64_C(1) << PP_ERA_BITS) - 1)
#define PP_ERA_VOID PP_ERA_MASK
#define PP_GEN_BITS 20
#define PP_KIND_SHIFT (PP_ERA_BITS + PP_GEN_BITS)
#define PP_GEN_MASK ((UINT64_C(1) << PP_GEN_BITS) - 1)
#define PP_BLOCK_WORD(state, kind, gen, birth)                                                              \
	((uint64_t)(state) << 62 | (uint64_t)((kind)&3) << PP_KIND_SHIFT | ((uint64_t)(gen) & PP_GEN_MASK) << PP_ERA_BITS | \
	 ((uint64_t)(birth) & PP_ERA_MASK))
#define pp_block_kind(w) ((unsigned)((w) >> PP_KIND_SHIFT) & 3)
#define pp_block_state(w) ((enum pp_block_state)((w) >> 62))
#define pp_block_gen(w) (((w) >> PP_ERA_BITS) & PP_GEN_MASK)
#define pp_block_birth(w) ((w) & PP_ERA_MASK)

/* ---- header ----------------------------------------------------------------------------------------------------- */

enum pp_page_kind { PP_MEM_4K = 0, PP_MEM_THP = 1, PP_MEM_HUGETLB = 2 };

struct pp_header {
	uint64_t magic;
	uint64_t layout_hash;
	uint64_t store_id;          /* of the data directory; a region belongs to one store */
	uint8_t boot_id[40];        /* text; another boot = the region is void */
	uint64_t memory_max;        /* bytes mapped by everybody */
	uint32_t slots, procs, ring_entries, stripes, nodes, page_kind;
	uint32_t sync_mode;         /* 0 lockfree, 1 mutex */
	uint32_t shards;            /* engine's */
	uint32_t strategy;          /* engine's */
	uint32_t max_segments;
	uint64_t off_globals, off_sets, off_engine, engine_bytes, off_procs, off_slots, off_rings, off_stripes, off_partial,
		off_pages, off_segments;
	pp_a64 ready;               /* PP_MAGIC, stored last (release) by the creator; readers load it first (acquire) */
	pp_a64 incarnation;         /* +1 at each daemon start; daemon writes */
	pp_a32 daemon_pid, daemon_state; /* enum pp_daemon_state; daemon writes */
	pp_a64 daemon_start;        /* start time of that pid (clock ticks since boot, /proc/pid/stat field 22) */
	pp_a64 heartbeat_ns;        /* CLOCK_MONOTONIC, daemon, about each 100 ms: a hint for tools */
	char name[64];
	uint8_t uses_membarrier;    /* the daemon's: 1 = clients that could register may omit the reader's fence */
	uint8_t daemon_slots;       /* the first slots are for daemons: one that just died may hold some, the next one needs its own */
	uint8_t pad[6];
	uint64_t spin_ns, backoff_max; /* settings for shm/wait and shm/backoff */
};

enum pp_daemon_state { PP_DAEMON_STARTING = 0, PP_DAEMON_RUNNING = 1, PP_DAEMON_STOPPED = 2, PP_DAEMON_READONLY = 3 };

/* ---- globals: one line each ------------------------------------------------------------------------------------- */

#define PP_LINE _Alignas(PP_CACHE_LINE)

struct pp_globals {
	PP_LINE pp_a64 open_epoch;       /* E; daemon bumps (seq), writers read it after all they depend on (acquire) */
	PP_LINE pp_a64 settled_epoch;    /* closed and fully committed; daemon */
	PP_LINE pp_a64 durable_epoch;    /* on disk; daemon, after `durable_record` (release) */
	pp_a32 durable_futex;            /* low 32 bits of durable_epoch, what waiters sleep on; same line */
	pp_a32 failed;                   /* -errno of the log, 0 = fine; the log accepts nothing any more */
	PP_LINE pp_a64 era;              /* reclamation clock; daemon bumps once a round; PP_ERA_VOID: another arena took this one's place */
	PP_LINE pp_a32 doorbell;         /* daemon's futex: 1 = asleep (wait.pml); whoever swaps it to 0 wakes */
	pp_a32 snapshot_request;         /* clients ask for a close soon (FRESH snapshots) */
	PP_LINE pp_a64 committed_segments; /* segments backed by memory; grows by CAS after fallocate */
	PP_LINE pp_a64 set_version;      /* index of the pp_sets copy in force = version & 1; daemon bumps after filling */
	pp_a64 prune_floor;              /* P as announced before the barrier (design 7); daemon */
	PP_LINE pp_a64 slots_high;       /* no slot at or above it was ever claimed; CAS up */
	PP_LINE pp_a64 adopt_lost_low, adopt_lost_high; /* tickets in (low, high) were lost at the last cold start; daemon */
	PP_LINE struct { pp_a64 unit, chain, epoch; } durable_record[2]; /* double-buffered; daemon */
	pp_a64 durable_record_version;
	PP_LINE pp_a64 full_reserve;     /* segments below this many free pages are for deletes and the keeper only */
	pp_a64 free_pages;               /* soft count of unassigned pages in committed segments */
	pp_a64 holes;                    /* soft count of pages in committed segments that were given back (shm/holes.c) */
	pp_a64 huge_segments;            /* 2 MiB pieces of the file, tables included, that are huge pages; stat, who commits adds */
	pp_a64 small_until_ns;           /* until then memory is backed by small pages: a huge one took too long; hint, who commits */
	PP_LINE pp_a64 barred;           /* 1: no daemon adopts it any more, all rings are PP_TAIL_BARRED; daemon, once */
	pp_a64 reserved[7];
};

/* ---- announced sets --------------------------------------------------------------------------------------------- */

struct pp_interval {
	uint64_t low, high;
};

/*
 * Two copies; the daemon fills the one not in force, then stores set_version + 1 (release). A reader of a copy reads
 * set_version (acquire), the copy, and set_version again: unchanged = the copy was whole (it is overwritten only two
 * versions later; a reader that sees version + 2 starts again).
 */
struct pp_sets {
	pp_a64 reclaim_era;                    /* blocks retired in an era below it may be free-able ... */
	pp_a32 intervals;                      /* ... unless one of these protects them */
	pp_a32 snapshots;
	pp_a64 snapshot_era;                   /* the oldest of the held snapshots began in it; UINT64_MAX = none is held */
	pp_a64 prune_floor;                    /* P that goes with the held set */
	struct { pp_a64 low, high; } interval[PP_MAX_SLOTS];
	pp_a64 held[PP_MAX_SLOTS];             /* S values, ascending */
};

/* ---- processes -------------------------------------------------------------------------------------------------- */

enum pp_proc_flags { PP_PROC_READONLY = 1, PP_PROC_EVICTED = 2, PP_PROC_FENCES = 4, PP_PROC_DAEMON = 8 };

#define PP_OPS 8                           /* histogram rows: engine's enum pp_op */
#define PP_HIST_BUCKETS 160                /* log-linear, see shm/hist.h */
#define PP_USAGE 256                       /* rows of `usage`: engine's shards */
#define PP_PHASES 4                        /* rows of `phase`: engine's enum pp_phase */
#define PP_RECENT 256                      /* timed operations that a slot remembers */

/* Written by the daemon, but for `left` (a client's other words are in its slots); state stored last (release). */
struct pp_proc {
	PP_LINE pp_a64 state;                  /* 0 free, else attach generation (odd numbers never used twice) */
	pp_a64 start;                          /* start time of the process, ticks since boot */
	pp_a64 attach_era;
	pp_a64 accepted_snapshot;
	pp_a32 pid, uid;
	pp_a32 flags;
	pp_a32 left;                           /* low half of `state`: its read-write client has detached; the client writes it */
	char name[32];                         /* client_name */
	pp_a64 control_dev, control_ino;       /* a read-only client's control region */
	/* what it pins, each 100 ms or so (engine/pins.c); for people and budgets */
	pp_a64 slots_used, interval_ns, snapshot_ns, pinned_bytes; /* ages of the oldest interval and cut, 0 = none */
	pp_a64 evictions;                      /* holds that were taken away */
	/* what a read-only client did, whose slots only the daemon sees, each 100 ms (engine/stat.c); percentiles of its gets since it attached */
	pp_a64 ops[PP_OPS], get_p50_ns, get_p99_ns;
};

/* ---- slots ------------------------------------------------------------------------------------------------------ */

enum pp_slot_state {
	PP_SLOT_FREE = 0,
	PP_SLOT_CLAIMED = 1,   /* a thread's */
	PP_SLOT_LEAVING = 2,   /* given back or being reaped: the daemon frees it when its ring is drained and durable */
};
#define PP_SLOT_OWNER(state, proc, gen) ((uint64_t)(state) << 56 | (uint64_t)(proc) << 40 | ((gen) & UINT64_C(0xffffffffff)))
#define pp_slot_state(o) ((enum pp_slot_state)((o) >> 56))
#define pp_slot_proc(o) ((uint32_t)((o) >> 40) & 0xffff)
#define pp_slot_gen(o) ((o) & UINT64_C(0xffffffffff))

#define PP_IDLE UINT64_MAX                 /* value of interval_low when the slot reads nothing */
#define PP_NOTES 8
#define PP_PARKED 16
#define PP_RESERVED 16                     /* blocks that a slot may keep PRIVATE beyond its read sections */
#define PP_CRASHREFS 8

/* What the owner is about to link or unlink, for the reaper: written (release) before the CAS it describes. */
struct pp_note {
	pp_a64 ref;                            /* block (offset of its payload), 0 = none */
	pp_a64 what;                           /* | 8 kind (enum in engine) | 24 generation | 32 aux | */
	pp_a64 where;                          /* the word's reference that links it (cell, key cell), engine's meaning */
};

struct pp_counters {                       /* owner writes (pp_stat_add), anybody reads: statistics only */
	pp_a64 ops[PP_OPS];
	pp_a64 cas_retries, helps, aborts, lock_waits, lock_wait_ns, hint_hits, hint_misses, leaf_visits, overloads,
		allocs, frees, retires, splits, merges, waits, wait_ns, overload_ns, find_blocks, read_blocks, slow_gets;
};

struct pp_slot {
	PP_LINE pp_a64 owner;                  /* CAS by claimants and the daemon */
	pp_a32 tid;
	pp_a32 node;
	pp_a64 claimed_ns;
	pp_a64 snapshot_era;                   /* era when `snapshot` was taken, or earlier; stored before it */
	pp_a64 evicted;                        /* number of the hold that the daemon does not honour any more (read-write slots); daemon */
	/* reclamation: the owner writes, the daemon reads (asymmetric barrier, shm/reclaim.h) */
	PP_LINE pp_a64 low;                    /* PP_IDLE = not reading */
	pp_a64 high;
	pp_a64 snapshot;                       /* held S, 0 = none */
	pp_a64 busy;                           /* 1: a view's call is under way, before it looks at `evicted`; owner */
	pp_a64 busy_since_ns;
	pp_a64 op_block, op_version;           /* engine: the version an operation may leave undecided, and its block; 0 = none */
	pp_a64 hold;                           /* odd: number of the hold of a view; even: none, what is read is read inside a call */
	/* log ring: producer's side; the daemon closes it by CAS */
	PP_LINE pp_a64 tail;                   /* | 48 epoch | 16 index |, epoch PP_TAIL_FREE when unclaimed */
	pp_a64 credit_used;                    /* log bytes charged since the claim; owner */
	pp_a64 credit_want;                    /* bytes an operation waits for; owner */
	/* consumer's side */
	PP_LINE pp_a64 head;                   /* index up to which entries are durable and may be overwritten; daemon */
	pp_a64 credit_granted;                 /* daemon: used may rise to this */
	/* waiting */
	PP_LINE pp_a64 wait_epoch;             /* the epoch the owner sleeps for, 0 = none */
	pp_a32 futex;
	pp_a32 stripe_wait;                    /* the lock stripe that the owner waits for + 1, 0 = none; owner, for those who look on */
	pp_a64 bell_epoch;                     /* the owner's bell socket gets a tick when this epoch is durable, 0 = none; owner */
	/* what a reaper must know */
	PP_LINE pp_a64 note_count;             /* soft; the reaper looks at all notes */
	struct pp_note note[PP_NOTES];
	pp_a64 large_first, large_pages;       /* page run last claimed or being freed: index + 1; | 1 freeing | 63 pages | */
	pp_a64 moving;                         /* block last retired: its bits may not be set yet */
	pp_a64 holding;                        /* page being claimed or swept: index + 1, before the CAS of its word */
	pp_a64 scan_all;                       /* 1: PRIVATE blocks may lie in pages that `parked` does not name */
	PP_LINE pp_a32 parked[PP_PARKED];      /* pages given up that may hold PRIVATE blocks of this operation: index + 1 */
	PP_LINE pp_a32 reserved[PP_RESERVED];  /* pages with PRIVATE blocks that outlive a read section: index + 1; owner */
	PP_LINE pp_a32 page[PP_PLACES][PP_CLASSES]; /* page owned for each place and class: index + 1, 0 = none */
	/* references held for long (shm/sync.h): | 24 low bits of the slot's generation | 40 reference |; owner writes (seq) */
	PP_LINE pp_a64 refs[PP_CRASHREFS];
	PP_LINE struct pp_counters count;
	PP_LINE pp_a32 hist[PP_OPS][PP_HIST_BUCKETS];
	PP_LINE pp_a32 usage[PP_USAGE];        /* operations by shard, in units of 32, from those that are timed: owner, so that readers write nothing that is shared */
	PP_LINE pp_a32 phase[PP_PHASES][PP_HIST_BUCKETS]; /* parts of writes, timed with them; owner */
	/* the timed operations on a key, the newest at (recent_count - 1) % PP_RECENT; owner, entry before count. Not kept when the slot is given back */
	PP_LINE pp_a64 recent_count;
	pp_a64 recent[PP_RECENT];              /* PP_RECENT_WORD */
};

/* | 8 shard | 8 operation | 48 ns | */
#define PP_RECENT_WORD(shard, op, ns) \
	((uint64_t)(shard) << 56 | (uint64_t)(op) << 48 | ((ns) < UINT64_C(1) << 48 ? (ns) : (UINT64_C(1) << 48) - 1))
#define pp_recent_shard(w) ((unsigned)((w) >> 56))
#define pp_recent_op(w) ((unsigned)((w) >> 48) & 0xff)
#define pp_recent_ns(w) ((w) & ((UINT64_C(1) << 48) - 1))

/* What slots counted, added up in the engine's area by the daemon: those that were given back, and those of read-only clients. */
struct pp_stats {
	PP_LINE struct pp_counters count;
	pp_a64 hist[PP_OPS][PP_HIST_BUCKETS];
	pp_a64 usage[PP_USAGE];
	pp_a64 phase[PP_PHASES][PP_HIST_BUCKETS];
};

#define PP_TAIL_FREE ((UINT64_C(1) << 48) - 1)
#define PP_TAIL_BARRED (PP_TAIL_FREE - 1) /* nothing is published any more: the arena gives way to another (engine/succeed.c) */
#define PP_TAIL(epoch, index) ((uint64_t)(epoch) << 16 | (uint16_t)(index))
#define pp_tail_epoch(t) ((t) >> 16)
#define pp_tail_index(t) ((uint16_t)(t))

struct pp_ring_entry {
	pp_a64 ref;                            /* version or batch; engine's */
	pp_a64 tag;
};

/* ---- stripes of the mutex mode ---------------------------------------------------------------------------------- */

struct pp_stripe {
	PP_LINE pp_a64 word;                   /* 0 free, else | 1 contended | 15 slot + 1 | 48 slot generation | */
	pp_a32 futex, waiters;                 /* waiters is soft */
	pp_a64 since_ns;
	pp_a64 acquired, contended, stolen, wait_ns;
};

/* ---- pages ------------------------------------------------------------------------------------------------------ */

enum pp_page_type {
	PP_PAGE_FREE = 0,      /* unassigned */
	PP_PAGE_BLOCKS = 1,    /* blocks of `klass` */
	PP_PAGE_LARGE = 2,     /* first page of a run of `run` pages: one big block */
	PP_PAGE_LARGE_REST = 3,
	PP_PAGE_CLAIMING = 4,  /* being collected into a run by slot `owner` */
	PP_PAGE_EMPTY = 5,     /* all blocks free; becomes FREE after a full reclamation round (era in `retired`) */
	PP_PAGE_HOLE = 6,      /* not backed: given back to the system (shm/holes.c) */
};

/*
 * word: | 8 type | 8 class | 16 owner slot + 1 | 32 version |; every change is a CAS with version + 1. Only the owner (who holds
 * the page, or sweeps it) touches `free`, `carved`, `swept` and frees blocks; anybody sets bits of `limbo`. Bitmaps are soft: the
 * block headers are the truth and the reaper rebuilds them.
 */
struct pp_page {
	PP_LINE pp_a64 word;
	pp_a32 carved;                         /* blocks [0, carved) have a header; only the owner raises it */
	pp_a32 run;                            /* pages of a large run */
	pp_a64 retired;                        /* EMPTY: era */
	pp_a64 swept;                          /* set_version of the last sweep: nothing new can be had before the next one */
	pp_a32 free_count;                     /* blocks that were free or not carved when the last owner let go */
	pp_a32 floor;                          /* generation that no block of the page's earlier lives exceeds */
	pp_a64 limbo[PP_BITMAP_WORDS];         /* 1 = block is RETIRED, waiting for its intervals (may be set too often) */
	pp_a64 free[PP_BITMAP_WORDS];          /* 1 = block is FREE and not in an owner's hand */
	pp_a32 node;
	pp_a32 home;                           /* shard it was last used for, a hint */
	pp_a32 retired_count;                  /* soft: set bits of `limbo` when the last owner let go */
	pp_a32 pad;
	pp_a64 spare[13];
};

#define PP_PAGE_WORD(type, klass, owner, version) \
	((uint64_t)(type) << 56 | (uint64_t)(klass) << 48 | (uint64_t)(owner) << 32 | (uint32_t)(version))
#define pp_page_type(w) ((enum pp_page_type)((w) >> 56))
#define pp_page_class(w) ((unsigned)((w) >> 48) & 0xff)
#define pp_page_owner(w) ((unsigned)((w) >> 32) & 0xffff)
#define pp_page_version(w) ((uint32_t)(w))

_Static_assert(sizeof(struct pp_block) == 16, "block header");
_Static_assert(sizeof(struct pp_header) <= 4096, "header page");
_Static_assert(sizeof(struct pp_globals) <= 4096, "globals page");
_Static_assert(sizeof(struct pp_page) == 512, "page table entry");
_Static_assert(sizeof(struct pp_stripe) == 64, "stripe line");
_Static_assert(sizeof(struct pp_proc) % 64 == 0, "process record lines");
_Static_assert(offsetof(struct pp_slot, tail) % 64 == 0, "ring tail line");
_Static_assert(sizeof(struct pp_slot) % 64 == 0, "slot lines");

/* Hash over version, sizes and offsets of this header; engine/layout.h mixes its own in. */
uint64_t pp_layout_hash_shm(void);

#endif
