/*
 * cmd_top.h - what the files of `ppdb top` share.
 *
 *   cmd_top.c         options, the loop of looks, text and JSON for scripts
 *   cmd_top_look.c    one look at the region: all counters; and what has happened since the look before
 *   cmd_top_rows.c    that as rows of text
 *   cmd_top_screen.c  the rows on a terminal, keys (the only file that knows curses)
 */
#ifndef PP_TOOLS_CMD_TOP_H
#define PP_TOOLS_CMD_TOP_H

#include "tools/cmd_live.h"

#include "shm/counters.h"
#include "tools/text_json.h"

/* ---- looks (cmd_top_look.c) ---- */

/* Counters at one moment; all of it is statistics. */
struct pp_top_look {
	uint64_t at_ns, open_epoch, durable_epoch;
	struct pp_totals totals;
	struct pp_hist hist[PP_OPS], write_hist, commit_hist;
	uint64_t wal_bytes, wal_records;
	uint64_t usage[PP_USAGE], contention[PP_USAGE];
};

enum pp_top_state {
	PP_TOP_RUNS, PP_TOP_IN_WRITE, PP_TOP_LOG_SPACE, PP_TOP_RING_FULL, PP_TOP_WAITS, PP_TOP_EVICTED, PP_TOP_STOPPED, PP_TOP_DEAD
};
extern const char *const pp_top_state_names[];

/* A process that is attached. */
struct pp_top_client {
	uint64_t generation, start;    /* of its record; 0 = none */
	uint32_t pid, flags;
	enum pp_top_state state;
	char command[32], name[33];
	uint64_t ops[PP_OPS], before[PP_OPS];
	bool fresh;                    /* it was not there at the look before */
	double reads, writes, all;     /* a second */
	uint64_t slots, age_ns, held_ns, snapshot_ns, pinned_bytes;
};

/* What of a slot tells whether its thread stands. */
struct pp_top_slot {
	uint64_t owner, op, block, tail, want, wait;
};

struct pp_top {
	const struct pp_cmd *c;
	struct pp_live live;
	struct pp_region *r;
	struct pp_top_look look[2];
	unsigned newest, looks;        /* index of the last look; how many there were of this region */
	double seconds;                /* between the last two */
	struct pp_top_client *client;  /* [procs] */
	struct pp_top_slot *slot;      /* [slots]: at the last look */
	uint32_t procs, slots;
	unsigned clients, slots_used;
	uint64_t keys, backed, free_bytes;
	uint32_t daemon_pid;
	enum pp_top_state daemon;      /* RUNS, STOPPED or DEAD */
	uint64_t silent_ns;            /* since its heart beat last */
	uint64_t retried_ns;
	/* how it is shown */
	unsigned sort, first;          /* column; clients that are scrolled away */
	bool reverse, shards, paused;
	double interval;
};

/* Takes a look; finds the next daemon and its arena when there are others. False: no memory. */
bool pp_top_take(struct pp_top *);
void pp_top_free(struct pp_top *);

static inline const struct pp_top_look *pp_top_now(const struct pp_top *t)
{
	return &t->look[t->newest];
}

static inline const struct pp_top_look *pp_top_before(const struct pp_top *t)
{
	return &t->look[!t->newest];
}

/* (now - before) a second; what went down for a moment counts as 0. */
static inline double pp_top_rate(const struct pp_top *t, uint64_t now, uint64_t before)
{
	return t->looks > 1 && now > before && t->seconds > 0 ? (double)(now - before) / t->seconds : 0;
}

/* The counts of `now` without those of `before`. */
void pp_top_hist_since(const struct pp_hist *now, const struct pp_hist *before, struct pp_hist *out);

/* ---- rows (cmd_top_rows.c) ---- */

#define PP_TOP_COLUMNS 200
#define PP_TOP_ROWS 600

enum pp_top_style { PP_TOP_PLAIN, PP_TOP_TITLE, PP_TOP_HEADING, PP_TOP_ALERT };

struct pp_top_rows {
	unsigned count, head;          /* all; those that never scroll away */
	struct {
		enum pp_top_style style;
		char text[PP_TOP_COLUMNS];
	} row[PP_TOP_ROWS];
};

/* Columns that clients can be sorted by; NULL ends them. */
extern const char *const pp_top_columns[];

void pp_top_rows(struct pp_top *, struct pp_top_rows *);
void pp_top_json(struct pp_top *, FILE *);

/* ---- terminal (cmd_top_screen.c) ---- */

/* Shows looks until the user quits, or after `count` of them (0 = no limit). An exit code. */
int pp_top_screen(struct pp_top *, uint64_t count);

#endif
