/*
 * soak_figures.c - memory, open files and latencies as seen from outside.
 */
#include "tests/soak/soak.h"

#include <dirent.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

const char *const soak_phase_names[SOAK_PHASES] = {"calm", "kills", "stops", "restarts", "cold", "full-arena", "full-disk", "quiet"};
const char *const soak_kind_names[CREW_KINDS] = {"get", "scan", "write", "durable", "snapshot"};

static void count_file(struct soak_files *f, const char *target, const char *data_dir)
{
	if (!strncmp(target, "socket:", 7))
		f->sockets++;
	else if (strstr(target, "pidfd"))
		f->pidfds++;
	else if (!strncmp(target, "/memfd:", 7))
		f->memfds++;
	else if (strstr(target, "io_uring"))
		f->rings++;
	else if (strstr(target, data_dir))
		f->data++;
	else
		f->other++;
}

struct soak_files soak_files_of(pid_t pid, const char *data_dir)
{
	struct soak_files f = {0};
	char path[300], target[256];
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	d = opendir(path);
	while (d && (e = readdir(d))) {
		ssize_t n;

		snprintf(path, sizeof(path), "/proc/%d/fd/%s", (int)pid, e->d_name);
		n = e->d_name[0] == '.' ? -1 : readlink(path, target, sizeof(target) - 1);
		if (n < 0)
			continue;
		target[n] = '\0';
		count_file(&f, target, data_dir);
	}
	if (d)
		closedir(d);
	return f;
}

/* Lines of a file of /proc that hold `text`; *number is the first number behind it in the last of them. */
static unsigned lines_with(pid_t pid, const char *file, const char *text, uint64_t *number)
{
	char path[64], line[512], *at;
	unsigned n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f)) {
		at = strstr(line, text);
		if (!at)
			continue;
		n++;
		if (number)
			*number = strtoull(at + strlen(text), NULL, 10);
	}
	if (f)
		fclose(f);
	return n;
}

unsigned soak_arena_maps_of(pid_t pid, const char *arena)
{
	return lines_with(pid, "maps", arena, NULL);
}

uint64_t soak_private_bytes_of(pid_t pid)
{
	uint64_t kib = 0;

	lines_with(pid, "status", "RssAnon:", &kib);
	return kib * 1024;
}

uint64_t soak_folder_bytes(const char *dir, unsigned *files)
{
	uint64_t bytes = 0;
	struct dirent *e;
	struct stat st;
	char path[400];
	DIR *d = opendir(dir);

	while (d && (e = readdir(d))) {
		snprintf(path, sizeof(path), "%.130s/%s", dir, e->d_name);
		if (e->d_name[0] == '.' || lstat(path, &st))
			continue;
		if (S_ISDIR(st.st_mode)) {
			bytes += soak_folder_bytes(path, files);
			continue;
		}
		bytes += (uint64_t)st.st_blocks * 512;
		++*files;
	}
	if (d)
		closedir(d);
	return bytes;
}

struct soak_latency soak_latency(struct crew *c, struct pp_hist since[CREW_KINDS])
{
	struct soak_latency l;

	for (unsigned k = 0; k < CREW_KINDS; k++) {
		struct pp_hist now = {.total = 0}, d;

		for (unsigned b = 0; b < PP_HIST_BUCKETS; b++) {
			now.count[b] = atomic_load(&c->took[k][b]);
			now.total += now.count[b];
		}
		d = now;
		for (unsigned b = 0; b < PP_HIST_BUCKETS; b++)
			d.count[b] -= since[k].count[b];
		d.total -= since[k].total;
		l.count[k] = d.total;
		l.p50_ns[k] = pp_hist_percentile_ns(&d, 0.5);
		l.p99_ns[k] = pp_hist_percentile_ns(&d, 0.99);
		since[k] = now;
	}
	return l;
}
