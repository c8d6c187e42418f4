/*
 * live.h - is that process alive? Boot id, pid and start time name a process for good; a pid alone is reused.
 */
#ifndef PP_SHM_LIVE_H
#define PP_SHM_LIVE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define PP_BOOT_ID_BYTES 40

/* Text of this boot's id, NUL-terminated; "unknown" where /proc does not tell. */
void pp_boot_id(char out[PP_BOOT_ID_BYTES]);

/* Start time of a live process in clock ticks since boot. -ESRCH: there is none, or only its zombie is left. */
int pp_proc_start(pid_t pid, uint64_t *start_ticks);

/* Start time of this process; 0 if /proc cannot tell. Not cached: a forked child differs. */
uint64_t pp_self_start(void);

/* True unless it is certain that this very process is gone (no /proc and no answer from kill() counts as alive). start 0 =
 * unknown: only the pid is judged. */
bool pp_proc_alive(pid_t pid, uint64_t start_ticks);

/* A pidfd that is certain to be that process (opened, then the start time compared). -ESRCH: gone; -errno. */
int pp_pidfd_open(pid_t pid, uint64_t start_ticks);

/* True once every thread of the process has ended (the descriptor became readable). Never blocks. */
bool pp_pidfd_dead(int pidfd);

#endif
