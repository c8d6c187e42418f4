/*
 * cmd_mem.h - what the parts of `ppdb mem` share.
 */
#ifndef PP_TOOLS_CMD_MEM_H
#define PP_TOOLS_CMD_MEM_H

#include "tools/cmd_live.h" /* first */
#include "tools/cmd_mem_count.h"

uint64_t pp_mem_keys(const struct pp_mem *);
uint64_t pp_mem_live(const struct pp_mem *);
/* Share of the pages that hold something which is free, in percent. */
double pp_mem_fragmentation(const struct pp_mem *);

/* What a process keeps from being freed; false: nothing that is worth a line. */
struct pp_mem_pin {
	uint32_t pid;
	uint64_t bytes, interval_ns, snapshot_ns;
};
bool pp_mem_pin_of(const struct pp_proc *, struct pp_mem_pin *);

/* What is wrong and what to do, most urgent first: `say` is called with each sentence, at least once. */
void pp_mem_diagnose(const struct pp_region *, const struct pp_mem *, void (*say)(void *ctx, const char *sentence), void *ctx);

/* --interval: a line every so many seconds, `count` of them (0 = until interrupted). An exit code. */
int pp_mem_growth(const struct pp_cmd *, struct pp_region *, uint64_t interval_s, uint64_t count);

#endif
