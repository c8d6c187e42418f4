/*
 * process.h - what the system says of a client's process: its command, and whether it runs, is stopped or dead.
 */
#ifndef PP_TOOLS_PROCESS_H
#define PP_TOOLS_PROCESS_H

#include <stddef.h>
#include <stdint.h>

enum pp_process_state { PP_PROCESS_RUNS, PP_PROCESS_STOPPED, PP_PROCESS_DEAD };
extern const char *const pp_process_state_names[]; /* running, stopped, dead */

/* `start`: its start time as in struct pp_proc. Without /proc everything runs (shm/live.h). */
enum pp_process_state pp_process_state(uint32_t pid, uint64_t start);

/* Its command, printable; "?" when there is none. */
void pp_process_command(uint32_t pid, char *out, size_t cap);

/* Names are the clients' own bytes; what is printed and recorded is to be read again: '?' for what is no printable ASCII. */
void pp_process_printable(char *text);

#endif
