/*
 * Names the machine: figures without it mean nothing. Reads /proc and /sys; what cannot be read
 * says so.
 */
#include "bench/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <unistd.h>

/* Copies what follows `label` (and blanks, ':' or '=') in the first line that starts with it. */
static bool read_line(const char *path, const char *label, char *out, size_t cap)
{
	FILE *f = fopen(path, "r");
	char line[512];
	bool found = false;

	while (f && !found && fgets(line, sizeof line, f))
		if (!strncmp(line, label, strlen(label))) {
			char *from = line + strlen(label);

			from += strspn(from, " \t:=\"");
			from[strcspn(from, "\"\n")] = 0;
			snprintf(out, cap, "%s", from);
			found = true;
		}
	if (f)
		fclose(f);
	if (!found)
		snprintf(out, cap, "unknown");
	return found;
}

/* The mount whose device holds `dir`, from mountinfo: type, source, options. */
static void read_disk(char *out, size_t cap, const char *dir)
{
	char line[1024], device[32], type[64], source[128], options[256];
	struct stat st;
	FILE *f = fopen("/proc/self/mountinfo", "r");

	snprintf(out, cap, "unknown");
	if (!f || stat(dir, &st)) {
		if (f)
			fclose(f);
		return;
	}
	snprintf(device, sizeof device, " %u:%u ", major(st.st_dev), minor(st.st_dev));
	while (fgets(line, sizeof line, f)) {
		char *at = strstr(line, " - ");

		if (strstr(line, device) && at &&
		    sscanf(at + 3, "%63s %127s %255s", type, source, options) == 3) {
			snprintf(out, cap, "%.30s on %.60s (%.60s)", type, source, options);
			break;
		}
	}
	fclose(f);
}

static void read_number(const char *path, const char *label, char *out, size_t cap)
{
	char text[64];

	read_line(path, label, text, sizeof text);
	snprintf(out, cap, "%.1f GiB", (double)strtoull(text, NULL, 10) / (1 << 20));
}

/* "always [never] advise": the word in brackets is the one in force. */
static void read_choice(const char *path, char *out, size_t cap)
{
	char line[128], *from, *to;

	read_line(path, "", line, sizeof line);
	from = strchr(line, '[');
	to = from ? strchr(from, ']') : NULL;
	if (to)
		*to = 0;
	snprintf(out, cap, "%.60s", to ? from + 1 : line);
}

void machine_read(struct machine *m, const char *dir)
{
	struct utsname u;
	char text[64];

	read_line("/proc/cpuinfo", "model name", m->cpu, sizeof m->cpu);
	read_line("/etc/os-release", "PRETTY_NAME", m->system, sizeof m->system);
	read_choice("/sys/kernel/mm/transparent_hugepage/shmem_enabled", m->shmem_pages,
		    sizeof m->shmem_pages);
	read_number("/proc/meminfo", "MemTotal", m->memory, sizeof m->memory);
	read_line("/proc/meminfo", "HugePages_Total", text, sizeof text);
	m->huge_pages = atol(text);
	read_line("/proc/loadavg", "", text, sizeof text);
	m->load = atof(text);
	read_disk(m->disk, sizeof m->disk, dir);
	m->cores = (int)sysconf(_SC_NPROCESSORS_ONLN);
	m->page_bytes = sysconf(_SC_PAGESIZE);
	if (!uname(&u))
		snprintf(m->kernel, sizeof m->kernel, "%.20s %.80s", u.sysname, u.release);
}
