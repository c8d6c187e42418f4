/*
 * trace.c - reads the file that disk.c wrote (see trace.h).
 *
 * The disk may be killed while it writes: the last event may be short and is then passed over, as if power had gone before it.
 */
#include "tests/power/trace.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static size_t event_bytes(const struct trace_event *e)
{
	size_t bytes = sizeof(*e) + (e->kind == 'W' ? e->bytes : 0);

	return (bytes + 7) & ~(size_t)7;
}

bool trace_load(const char *path, struct trace *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	uint64_t room = 0;
	size_t at = 0;

	*out = (struct trace){0};
	if (fd < 0 || fstat(fd, &st) || !st.st_size) {
		perror(path);
		return false;
	}
	out->file_bytes = (size_t)st.st_size;
	out->file = mmap(NULL, out->file_bytes, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (out->file == MAP_FAILED) {
		perror(path);
		return false;
	}
	while (at + sizeof(struct trace_event) <= out->file_bytes) {
		struct trace_event *e = (struct trace_event *)(uintptr_t)(out->file + at);

		at += event_bytes(e);
		if (at > out->file_bytes)
			break;
		if (out->events == room) {
			room = room ? 2 * room : 65536;
			out->event = realloc(out->event, room * sizeof(*out->event));
			if (!out->event)
				return false;
		}
		out->event[out->events++] = e;
	}
	return true;
}
