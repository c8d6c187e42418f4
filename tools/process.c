/*
 * process.c - command and state of a process from /proc (see process.h).
 */
#include "tools/process.h"

#include "shm/live.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const char *const pp_process_state_names[] = {"running", "stopped", "dead"};

/* The first line of a file of the process; false: there is none. */
static bool first_line(uint32_t pid, const char *file, char *out, size_t cap)
{
	char path[40];
	bool got;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%" PRIu32 "/%s", pid, file);
	f = fopen(path, "re");
	got = f && fgets(out, (int)cap, f);
	if (f)
		fclose(f);
	return got;
}

enum pp_process_state pp_process_state(uint32_t pid, uint64_t start)
{
	char line[512], *p;

	if (!pid || !pp_proc_alive((pid_t)pid, start))
		return PP_PROCESS_DEAD;
	/* the state stands behind the command, which may hold anything */
	p = first_line(pid, "stat", line, sizeof(line)) ? strrchr(line, ')') : NULL;
	return p && p[1] == ' ' && (p[2] == 'T' || p[2] == 't') ? PP_PROCESS_STOPPED : PP_PROCESS_RUNS;
}

void pp_process_printable(char *text)
{
	for (; *text; text++)
		if (*text < ' ' || *text > '~')
			*text = '?';
}

void pp_process_command(uint32_t pid, char *out, size_t cap)
{
	if (!first_line(pid, "comm", out, cap))
		snprintf(out, cap, "?");
	out[strcspn(out, "\n")] = '\0';
	pp_process_printable(out);
}
