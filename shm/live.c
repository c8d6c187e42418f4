/*
 * live.c - liveness of other processes from /proc and pidfds.
 *
 * A process is named by (boot id, pid, start time). The start time is field 22 of /proc/pid/stat; the command name before it
 * may hold blanks and parentheses, so fields are counted from the last ')'. A zombie is dead once no thread is left; a zombie
 * leader with running threads still executes our code and counts as alive, as it does for a pidfd. Where nothing can be learned
 * (no /proc) the answer is "alive": to free the memory of a live process would be worse than to keep a dead one's.
 *
 * Holds no state; a process that dies here leaves nothing behind.
 */
#include "shm/live.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FIELD_STATE 3
#define FIELD_THREADS 20
#define FIELD_START 22

static ssize_t read_file(const char *path, char *buf, size_t cap)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	do
		n = read(fd, buf, cap - 1);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		n = -errno;
	close(fd);
	if (n >= 0)
		buf[n] = '\0';
	return n;
}

void pp_boot_id(char out[PP_BOOT_ID_BYTES])
{
	memset(out, 0, PP_BOOT_ID_BYTES);
	if (read_file("/proc/sys/kernel/random/boot_id", out, PP_BOOT_ID_BYTES) <= 0)
		strcpy(out, "unknown");
	out[strcspn(out, "\n")] = '\0';
}

/* Start of field `number`, counted as proc(5) does; NULL if the line is shorter. */
static const char *stat_field(const char *stat, int number)
{
	const char *p = strrchr(stat, ')');

	for (int at = 2; p && at < number; at++) {
		p = strchr(p, ' ');
		if (p)
			p++;
	}
	return p;
}

int pp_proc_start(pid_t pid, uint64_t *start_ticks)
{
	char path[32], stat[1024];
	const char *state, *threads, *start;
	ssize_t n;

	if (pid <= 0)
		return -ESRCH;
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	n = read_file(path, stat, sizeof(stat));
	if (n == -ENOENT)
		return -ESRCH;
	if (n < 0)
		return (int)n;
	state = stat_field(stat, FIELD_STATE);
	threads = stat_field(stat, FIELD_THREADS);
	start = stat_field(stat, FIELD_START);
	if (!state || !threads || !start)
		return -EIO;
	if ((*state == 'Z' || *state == 'X') && strtol(threads, NULL, 10) <= 1)
		return -ESRCH;
	*start_ticks = strtoull(start, NULL, 10);
	return 0;
}

uint64_t pp_self_start(void)
{
	uint64_t start;

	return pp_proc_start(getpid(), &start) ? 0 : start;
}

/* -ESRCH without a /proc at all says nothing, so kill() has the last word. */
bool pp_proc_alive(pid_t pid, uint64_t start_ticks)
{
	uint64_t start;
	int rc;

	if (pid <= 0)
		return false;
	if (kill(pid, 0) && errno == ESRCH)
		return false;
	rc = pp_proc_start(pid, &start);
	if (rc == -ESRCH)
		return access("/proc/self/stat", F_OK) != 0;
	if (rc || !start_ticks)
		return true;
	return start == start_ticks;
}

int pp_pidfd_open(pid_t pid, uint64_t start_ticks)
{
	int fd;

	if (pid <= 0)
		return -ESRCH;
	fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (fd < 0)
		return -errno;
	/* the descriptor is fixed to one process now: if the start time fits after that, it is the one that was meant */
	if (!pp_proc_alive(pid, start_ticks)) {
		close(fd);
		return -ESRCH;
	}
	return fd;
}

bool pp_pidfd_dead(int pidfd)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	return poll(&p, 1, 0) == 1 && (p.revents & POLLIN);
}
