/*
 * simdisk_names.c - names of a simulated disk: paths, and the changes of directories one by one.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/lib/simdisk_state.h"

int sim_name_find(const struct names *names, unsigned dir, const char *text)
{
	for (size_t i = 0; i < names->count; i++)
		if (names->at[i].dir == dir && !strcmp(names->at[i].text, text))
			return (int)i;
	return -1;
}

/* A name is only taken away from the file that the change was about: an earlier change of it may have been left out. */
void sim_name_apply(struct names *names, const struct name_op *op)
{
	int from = op->from[0] ? sim_name_find(names, op->dir, op->from) : -1;
	int to;

	if (from >= 0 && names->at[from].ino == op->ino)
		names->at[from] = names->at[--names->count];
	if (!op->to[0])
		return;
	to = sim_name_find(names, op->dir, op->to);
	if (to < 0)
		to = (int)names->count++;
	names->at[to] = (struct name){.dir = op->dir, .ino = op->ino};
	memcpy(names->at[to].text, op->to, sizeof(op->to));
}

int sim_name_walk(const struct simdisk_state *s, const char *path, unsigned *parent, char *last)
{
	unsigned ino = 0;

	last[0] = 0;
	*parent = 0;
	path += strspn(path, "/");
	while (*path) {
		size_t n = strcspn(path, "/");
		const char *rest = path + n + strspn(path + n, "/");
		int found;

		if (!s->inode[ino]->is_dir)
			return -ENOTDIR;
		if (n >= SIM_NAME)
			return -ENAMETOOLONG;
		snprintf(last, SIM_NAME, "%.*s", (int)n, path);
		*parent = ino;
		found = sim_name_find(&s->now, ino, last);
		if (found < 0 && *rest)
			last[0] = 0;
		if (found < 0)
			return -ENOENT;
		ino = s->now.at[found].ino;
		path = rest;
	}
	return (int)ino;
}
