/* The daemon of the ppdb contestant: start until ready, kill, stop, ask. See daemon.c. */
#ifndef BENCH_DAEMON_H
#define BENCH_DAEMON_H

#include "bench/bench.h"

#include <sys/types.h>

struct daemon_run {
	pid_t pid;
	char arena[512];	/* file of the shared region, from `ppdb status --json` */
};

int daemon_start(const struct place *, struct daemon_run *);
void daemon_arena(const struct place *, struct daemon_run *);
int daemon_stop(struct daemon_run *);
void daemon_kill(struct daemon_run *);
int daemon_ask(const struct place *, const char *command, char *out, size_t cap);

#endif
