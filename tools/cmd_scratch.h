/*
 * cmd_scratch.h - a daemon of a command's own, for measuring: its own directory, socket and arena, gone when the command ends.
 */
#ifndef PP_TOOLS_CMD_SCRATCH_H
#define PP_TOOLS_CMD_SCRATCH_H

#include "tools/cmd.h"

#include <limits.h>
#include <sys/types.h>

struct pp_scratch {
	char dir[512];                 /* holds everything but the arena */
	char socket[108];              /* to attach to */
	pid_t pid;
	char said[400];                /* why it did not start */
};

#define PP_SCRATCH_OPTIONS 48

/* `parent`: directory on the disk to measure, NULL = $TMPDIR or /tmp. `memory`: bytes. `options`: more of ppdbd, separated by blanks, may be "".
 * Returns when the daemon answers: 0, or an exit code with the reason in `said`. *quit (a signal handler's) ends the wait. */
int pp_scratch_start(const struct pp_cmd *, struct pp_scratch *, const char *parent, uint64_t memory, const char *options,
	const volatile int *quit);
/* Ends the daemon and removes what it wrote. Nothing to do after a failed start. */
void pp_scratch_stop(struct pp_scratch *);

#endif
