/*
 * cmd_stall.h - what the parts of `ppdb stall` share: the reporter of findings, and the looks at a region.
 */
#ifndef PP_TOOLS_CMD_STALL_H
#define PP_TOOLS_CMD_STALL_H

#include "tools/cmd_live.h"
#include "tools/process.h"
#include "tools/text_json.h"

/* What a slot is in, at one look; `since_ns`: first look at which it was in the same. */
struct pp_stall_look {
	uint64_t owner, low, op, block, want, wait, tail, head, snapshot, since_ns;
	uint32_t stripe;
};

struct pp_stall {
	const struct pp_cmd *c;
	struct pp_region *r;
	struct pp_stall_look *before, *now;
	struct pp_json j;
	unsigned found;
};

/* Whom the word of a slot's owner names. */
struct pp_stall_who {
	uint32_t pid;                  /* 0 = unknown */
	enum pp_process_state state;
	char text[160];                /* "stopped process 123 (name)" */
};
struct pp_stall_who pp_stall_who(const struct pp_stall *, uint64_t owner);

/* One thing that stands: a sentence, and who it is. slot < 0, pid 0, for_ns 0: none to tell. */
void pp_stall_report(struct pp_stall *, int slot, uint32_t pid, uint64_t for_ns, const char *kind, const char *fmt, ...)
	__attribute__((format(printf, 6, 7)));

/* How far the write or batch of a look has come, in words: `a write to "key": in the key's chain, not in the log yet`. Returns text. */
#define PP_STALL_PHASE 320
const char *pp_stall_phase(const struct pp_region *, const struct pp_slot *, const struct pp_stall_look *, char text[PP_STALL_PHASE]);

/* Where the kernel says that a thread is ("futex_wait_queue"); empty if it does not say, or it runs. */
void pp_stall_kernel(uint32_t pid, uint32_t tid, char *text, size_t cap);

/* sync = mutex: stripes held for long, who waits for whom, and circles of them. */
void pp_stall_locks(struct pp_stall *);

#endif
