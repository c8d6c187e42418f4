/*
 * keeper_internal.h - the daemon's state, shared by settle.c (step thread), house.c (house thread), checkpointer and reaper.
 *
 *   step thread         close, settle, log, durable          k->step_*, k->flight
 *   house thread        reclamation rounds, sweeps, reaping  k->house, k->round
 *   checkpoint thread   checkpoints                          k->ckpt
 * What two of them share is atomic and named below.
 */
#ifndef PP_ENGINE_KEEPER_INTERNAL_H
#define PP_ENGINE_KEEPER_INTERNAL_H

#include "engine/checkpoint.h"
#include "engine/hint.h"
#include "engine/index.h"
#include "engine/keeper.h"
#include "engine/sweep.h"
#include "engine/wal.h"
#include "shm/reclaim.h"

#define PP_FLIGHT_EPOCHS 64
#define PP_TODO_SIZE (1u << 18)
#define PP_EXTRA_MAX 4097              /* as many read-only clients as --clients allows: one left out would read freed memory */

/* An epoch that was logged and is not durable yet: how far each ring was consumed at its end. */
struct pp_flight {
	uint64_t epoch;
	unsigned slots;
	uint16_t *index;                   /* [slots_high then] */
};

/* Cells that may have something to prune or remove: from the step thread to the house thread, single producer and consumer. */
struct pp_todo {
	PP_LINE pp_a64 tail;
	PP_LINE pp_a64 head;
	struct { uint64_t cell, tag; } item[PP_TODO_SIZE]; /* cell: PP_LINK */
};

struct pp_round {
	bool running;
	uint64_t epoch;                    /* durable when the scan may be announced */
	uint64_t started_ns;
	uint64_t last_open;                /* the epoch after those that the last announcement counted as settled */
	uint64_t last_retires;             /* blocks that the house thread had retired then */
	unsigned idle;                     /* rounds since something was written */
	bool pinned;                       /* the last announcement had intervals or held snapshots */
	struct pp_scan scan;
};

/* Where the pass that brings cells together is (gather.c). */
struct pp_gather {
	bool active;
	unsigned list, level;
	uint64_t next_ns;                  /* not before that another pass */
	uint64_t logged, logged_ns;        /* bytes that were logged, and when the last of them was seen */
	uint64_t looked_at;                /* `logged` + 1 when the last pass began */
	uint64_t keys;                     /* when a pass was wanted last */
	uint64_t moved;                    /* cells, by this pass */
	unsigned passes;                   /* before this one, since something was written */
	uint64_t work, rest_ns;            /* blocks freed and pages given back; when the store will be at rest if none are any more */
	struct pp_keybuf at;
};

struct pp_keeper {
	struct pp_keeper_config config;
	struct pp_region region;
	struct pp_region old;              /* a barred one until its successor is published; base NULL = none */
	bool warm, was_stopped;            /* adopted; and its daemon had ended cleanly */
	uint32_t proc;                     /* the daemon's own record */
	char wal_dir[512], ckpt_dir[512];

	/* step thread */
	struct pp_wal *wal;
	struct pp_thread stepper;          /* a slot of its own: its interval, no ring use */
	uint16_t *consumed;                /* [slots]: ring index up to which entries were settled */
	pp_a64 *charged;                   /* [slots]: log bytes of settled entries; house: when a slot becomes free */
	struct pp_flight flight[PP_FLIGHT_EPOCHS];
	unsigned flight_first, flight_count;
	uint64_t last_logged;              /* newest epoch handed to the log */
	bool inherited;                    /* the rings may hold entries of many epochs, from before our start */
	unsigned ring_now, ring_logged;    /* slot whose ring is being settled; of the last record logged (PP_R_RING) */
	uint64_t ring_epoch;               /* and that one's epoch */
	uint64_t idle_since_ns;
	uint64_t round_bytes, round_records; /* logged by the round under way, which may take several steps when there is no log space */
	uint64_t stats_ns;                 /* when the log's statistics were published last */
	uint64_t batch_at;                 /* versions logged of the batch that found no log space */
	uint64_t told_epoch;               /* config.durable was last called with */
	int log_error;
	unsigned first_served, saving_for; /* slots that asked for more log space than their share */
	bool saving;
	uint64_t saving_since_ns;

	/* both */
	pp_a64 want_epoch;                 /* house: close at least this epoch, even if nothing was written */
	struct pp_todo *todo;
	pp_a32 todo_overflow;              /* cells were dropped from the queue: sweep the leaves */
	pp_a32 stopping;
	pp_a32 catalog_changed;            /* step: a record of the catalog was logged */
	pp_a64 next_expiry_ms;             /* when the first value expires that no walk has met since; 0: look at once */
	pp_a64 logged_bytes;               /* since start; step writes */
	pp_a64 superseded_bytes;           /* of these, in place of older versions; step writes */

	/* house thread */
	struct pp_thread house;
	struct pp_round round;
	uint64_t sweep_cursor;
	struct pp_gather gather;
	struct pp_catalog *catalog;        /* engine/catalog.c; made when there is something in it */
	struct { uint64_t compare_ns, settle_ns, again_ns; } catalog_next; /* not before that: when it changed; when lines are half made; dropped tables */
	struct pp_sweep expire;            /* the walk for expired values; not again before: */
	uint64_t expire_ns, expire_began_ns;
	struct pp_release release;
	uint64_t release_ns;
	struct { unsigned list; bool active; uint8_t *key; uint32_t key_size; uint64_t started_ns; } leaf_sweep;
	pp_a32 *gone;                      /* [procs]: 1 = reap it (set by the socket thread) */
	struct pp_extra_slots *extra;      /* [procs]: control regions */
	pp_a32 *extra_set;                 /* [procs] */
	pp_a32 *pinned;                    /* [procs]: 1 = a read-only client from before our start whose slots we have not seen yet */
	struct pp_hint_walk *hint_walk;    /* another size of the hint table under way, NULL = none */
	uint64_t checked_hints_ns;
	struct pp_pins *pins;              /* engine/pins.c; made at the first step */
	struct pp_shards *shards;          /* engine/shards.c; made at the first step */
	uint64_t readers_ns;               /* when their statistics were added up last */

	/* maker */
	uint64_t reserve_ns;               /* not before that the log's reserve is tried again */

	/* checkpoints */
	struct pp_thread ckpt;
	pp_a64 ckpt_retry_ns;              /* after one that failed: not before that, unless asked for */
	uint64_t ckpt_pause_ns;
	pp_a64 ckpt_bytes_at;              /* logged_bytes at the last one */
	pp_a32 ckpt_running;
};

/* settle.c */
int pp_settle_start(struct pp_keeper *, uint64_t durable_epoch);
void pp_settle_stop(struct pp_keeper *);
void pp_settle_durable(struct pp_keeper *, const struct pp_wal_pos *);
void pp_todo_push(struct pp_keeper *, uint64_t cell_link, uint64_t tag);

/* reap.c: house thread. Gives back all slots of dead processes; true when some are still waiting for durability. */
bool pp_reap_step(struct pp_keeper *);
void pp_reap_slot(struct pp_keeper *, unsigned slot);

/* stat.c: house thread. What read-only clients count, each 100 ms; and for the last time when one is gone. */
void pp_stat_readers(struct pp_keeper *);
void pp_stat_reader_gone(struct pp_keeper *, uint32_t proc);

/* pins.c: house thread. Measures what clients pin, each 100 ms, and takes away what is beyond the budget. */
void pp_pins_step(struct pp_keeper *);
void pp_pins_free(struct pp_pins *);
/* What a read-only client says that it reads is not honoured any more. */
static inline bool pp_reader_evicted(const struct pp_keeper *k, uint32_t proc)
{
	return pp_load_acq(&k->region.procs[proc].flags) & PP_PROC_EVICTED;
}
/* house.c: keys of all shards, softly. */
uint64_t pp_key_count(struct pp_keeper *);

/* gather.c: house thread. Some leaves' cells are brought together; true = more to do at once. */
bool pp_gather_step(struct pp_keeper *);

/* remove.c: house thread. Prunes a cell, removes it when its key is gone for good; true = look again later. */
bool pp_cell_tidy(struct pp_thread *, uint64_t cell_link, uint64_t durable);

/* snapshot.c */
/* floor 0: nothing may be pruned, for it is not known what is held. */
void pp_snapshot_collect(struct pp_keeper *, uint64_t *floor, uint64_t *held, unsigned *count);

/* recover.c */
int pp_recover_cold(struct pp_keeper *, struct pp_wal_recovered *log, struct pp_ckpt_reader *ckpt);

#endif
