/*
 * layout.c - the hash by which two programs see whether they mean the same layout of the region.
 *
 * FNV-1a over the version, sizes and offsets of every struct of shm/layout.h, 64 bits a number. A field that moves or changes its
 * size changes the hash; a field that only changes its meaning needs a new PP_LAYOUT_VERSION. Nothing here is shared.
 */
#include "shm/layout.h"

#define SIZE(type) sizeof(struct type)
#define AT(type, field) offsetof(struct type, field)

static const uint64_t shape[] = {
	PP_LAYOUT_VERSION, PP_SEGMENT_BYTES, PP_PAGE_BYTES, PP_CLASSES, PP_BLOCK_MIN, PP_BITMAP_WORDS, PP_MAX_SLOTS,
	PP_NOTES, PP_OPS, PP_HIST_BUCKETS, PP_PHASES, PP_RECENT, PP_ERA_BITS, PP_GEN_BITS, PP_REF_BITS, PP_KIND_SHIFT, PP_PRIVATE_BIT, PP_PARKED,
	PP_CRASHREFS,

	SIZE(pp_block), AT(pp_block, word), AT(pp_block, retired),

	SIZE(pp_header), AT(pp_header, layout_hash), AT(pp_header, store_id), AT(pp_header, boot_id),
	AT(pp_header, memory_max), AT(pp_header, slots), AT(pp_header, procs), AT(pp_header, ring_entries),
	AT(pp_header, stripes), AT(pp_header, nodes), AT(pp_header, page_kind), AT(pp_header, sync_mode),
	AT(pp_header, shards), AT(pp_header, strategy), AT(pp_header, max_segments), AT(pp_header, off_globals),
	AT(pp_header, off_sets), AT(pp_header, off_engine), AT(pp_header, engine_bytes), AT(pp_header, off_procs),
	AT(pp_header, off_slots), AT(pp_header, off_rings), AT(pp_header, off_stripes), AT(pp_header, off_partial),
	AT(pp_header, off_pages), AT(pp_header, off_segments), AT(pp_header, ready), AT(pp_header, incarnation),
	AT(pp_header, daemon_pid), AT(pp_header, daemon_state), AT(pp_header, daemon_start),
	AT(pp_header, heartbeat_ns), AT(pp_header, name), AT(pp_header, uses_membarrier), AT(pp_header, daemon_slots), AT(pp_header, spin_ns),
	AT(pp_header, backoff_max),

	SIZE(pp_globals), AT(pp_globals, open_epoch), AT(pp_globals, settled_epoch), AT(pp_globals, durable_epoch),
	AT(pp_globals, durable_futex), AT(pp_globals, failed), AT(pp_globals, era), AT(pp_globals, doorbell),
	AT(pp_globals, snapshot_request), AT(pp_globals, committed_segments), AT(pp_globals, set_version),
	AT(pp_globals, prune_floor), AT(pp_globals, slots_high), AT(pp_globals, adopt_lost_low),
	AT(pp_globals, adopt_lost_high), AT(pp_globals, durable_record), AT(pp_globals, durable_record_version),
	AT(pp_globals, full_reserve), AT(pp_globals, free_pages), AT(pp_globals, holes), AT(pp_globals, huge_segments), AT(pp_globals, barred),

	SIZE(pp_sets), AT(pp_sets, reclaim_era), AT(pp_sets, intervals), AT(pp_sets, snapshots), AT(pp_sets, snapshot_era),
	AT(pp_sets, prune_floor), AT(pp_sets, interval), AT(pp_sets, held),

	SIZE(pp_proc), AT(pp_proc, state), AT(pp_proc, start), AT(pp_proc, attach_era), AT(pp_proc, accepted_snapshot),
	AT(pp_proc, pid), AT(pp_proc, uid), AT(pp_proc, flags), AT(pp_proc, left), AT(pp_proc, name), AT(pp_proc, control_dev),
	AT(pp_proc, control_ino), AT(pp_proc, slots_used), AT(pp_proc, evictions), AT(pp_proc, ops), AT(pp_proc, get_p99_ns),

	SIZE(pp_slot), AT(pp_slot, owner), AT(pp_slot, tid), AT(pp_slot, node), AT(pp_slot, claimed_ns), AT(pp_slot, snapshot_era), AT(pp_slot, evicted), AT(pp_slot, hold),
	AT(pp_slot, low), AT(pp_slot, high), AT(pp_slot, snapshot), AT(pp_slot, busy), AT(pp_slot, busy_since_ns),
	AT(pp_slot, tail), AT(pp_slot, credit_used), AT(pp_slot, credit_want), AT(pp_slot, head),
	AT(pp_slot, credit_granted), AT(pp_slot, wait_epoch), AT(pp_slot, futex), AT(pp_slot, bell_epoch), AT(pp_slot, note_count),
	AT(pp_slot, note), AT(pp_slot, large_first), AT(pp_slot, large_pages), AT(pp_slot, moving),
	AT(pp_slot, holding), AT(pp_slot, scan_all), AT(pp_slot, parked), AT(pp_slot, reserved), AT(pp_slot, page), AT(pp_slot, refs),
	AT(pp_slot, count), AT(pp_slot, hist), AT(pp_slot, usage), AT(pp_slot, phase), AT(pp_slot, recent_count), AT(pp_slot, recent),
	SIZE(pp_stats), AT(pp_stats, hist), AT(pp_stats, usage), AT(pp_stats, phase),
	SIZE(pp_note), SIZE(pp_counters), SIZE(pp_ring_entry),

	SIZE(pp_stripe), AT(pp_stripe, word), AT(pp_stripe, futex), AT(pp_stripe, waiters), AT(pp_stripe, since_ns),
	AT(pp_stripe, acquired), AT(pp_stripe, contended), AT(pp_stripe, stolen), AT(pp_stripe, wait_ns),

	SIZE(pp_page), AT(pp_page, word), AT(pp_page, carved), AT(pp_page, run), AT(pp_page, retired),
	AT(pp_page, swept), AT(pp_page, floor), AT(pp_page, retired_count), AT(pp_page, free_count),
	AT(pp_page, node), AT(pp_page, home), AT(pp_page, free),
	AT(pp_page, limbo),
};

uint64_t pp_layout_hash_shm(void)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < sizeof(shape) / sizeof(shape[0]); i++)
		for (unsigned byte = 0; byte < 8; byte++)
			hash = (hash ^ (shape[i] >> (8 * byte) & 0xff)) * UINT64_C(0x100000001b3);
	return hash;
}
