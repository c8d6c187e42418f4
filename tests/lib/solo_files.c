/*
 * solo_files.c - the files of a store, kept and put back, or copied: so that each judged moment finds them as they were then.
 *
 * A kept file stays the same inode (a hard link beside the folder holds it): a process that has it open goes on with it.
 */
#include "tests/lib/proc.h"
#include "tests/lib/solo.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES_MAX 64

struct solo_file {
	char name[192];                /* below the folder */
	char *bytes;
	size_t size;
};

struct solo_files {
	char dir[128], links[144];
	struct solo_file file[FILES_MAX];
	unsigned count;
};

/* Calls fn for each regular file; below names the folder it is in ("" or "wal/"). */
static void each_file(const char *dir, const char *below, void (*fn)(void *ctx, const char *name), void *ctx)
{
	char path[512];
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "%s/%s", dir, below);
	d = opendir(path);
	test_require(d, "%s: %s", path, strerror(errno));
	while ((e = readdir(d))) {
		char name[320];

		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		snprintf(name, sizeof(name), "%s%s", below, e->d_name);
		if (e->d_type == DT_DIR) {
			strcat(name, "/");
			each_file(dir, name, fn, ctx);
		} else {
			fn(ctx, name);
		}
	}
	closedir(d);
}

static void link_name(const struct solo_files *f, unsigned i, char *to, size_t cap)
{
	snprintf(to, cap, "%s/%u", f->links, i);
}

static void keep_one(void *ctx, const char *name)
{
	struct solo_files *f = ctx;
	struct solo_file *file = &f->file[f->count];
	char path[512], kept[256];
	struct stat st;
	int fd;

	test_require(f->count < FILES_MAX, "more than %d files", FILES_MAX);
	snprintf(file->name, sizeof(file->name), "%s", name);
	snprintf(path, sizeof(path), "%s/%s", f->dir, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	test_require(fd >= 0 && !fstat(fd, &st), "%s: %s", path, strerror(errno));
	file->size = (size_t)st.st_size;
	file->bytes = malloc(file->size + 1);
	test_require(read(fd, file->bytes, file->size) == (ssize_t)file->size, "%s: %s", path, strerror(errno));
	close(fd);
	link_name(f, f->count++, kept, sizeof(kept));
	test_require(!link(path, kept), "%s: %s", kept, strerror(errno));
}

struct solo_files *solo_files_keep(const char *dir)
{
	struct solo_files *f = calloc(1, sizeof(*f));

	snprintf(f->dir, sizeof(f->dir), "%s", dir);
	snprintf(f->links, sizeof(f->links), "%s.kept", dir);
	test_require(!mkdir(f->links, 0700), "%s: %s", f->links, strerror(errno));
	each_file(dir, "", keep_one, f);
	return f;
}

static void remove_one(void *ctx, const char *name)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", (const char *)ctx, name);
	unlink(path);
}

void solo_files_restore(struct solo_files *f)
{
	each_file(f->dir, "", remove_one, f->dir);
	for (unsigned i = 0; i < f->count; i++) {
		char path[512], kept[256];
		int fd;

		snprintf(path, sizeof(path), "%s/%s", f->dir, f->file[i].name);
		link_name(f, i, kept, sizeof(kept));
		fd = open(kept, O_WRONLY | O_CLOEXEC);
		test_require(fd >= 0 && !link(kept, path) && pwrite(fd, f->file[i].bytes, f->file[i].size, 0) == (ssize_t)f->file[i].size &&
			!ftruncate(fd, (off_t)f->file[i].size), "%s: %s", path, strerror(errno));
		close(fd);
	}
}

struct copying {
	const char *from, *to;
};

void solo_copy_file(const char *from, const char *to)
{
	int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	struct stat st;

	test_require(in >= 0 && out >= 0 && !fstat(in, &st), "%s to %s: %s", from, to, strerror(errno));
	for (off_t at = 0; at < st.st_size;)
		test_require(sendfile(out, in, &at, (size_t)(st.st_size - at)) > 0, "%s: %s", to, strerror(errno));
	close(in);
	close(out);
}

static void copy_one(void *ctx, const char *name)
{
	const struct copying *c = ctx;
	char from[512], to[512];

	snprintf(from, sizeof(from), "%s/%s", c->from, name);
	snprintf(to, sizeof(to), "%s/%s", c->to, name);
	for (char *slash = strchr(to + strlen(c->to) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(to, 0700);
		*slash = '/';
	}
	solo_copy_file(from, to);
}

void solo_copy_tree(const char *from, const char *to)
{
	struct copying c = {from, to};

	solo_remove_tree(to);
	test_require(!mkdir(to, 0700), "%s: %s", to, strerror(errno));
	each_file(from, "", copy_one, &c);
}

static void remove_below(const char *dir)
{
	struct dirent *e;
	DIR *d = opendir(dir);

	while (d && (e = readdir(d))) {
		char path[512];

		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		if (e->d_type == DT_DIR)
			remove_below(path);
		unlink(path);
	}
	if (d)
		closedir(d);
	rmdir(dir);
}

void solo_remove_tree(const char *dir)
{
	remove_below(dir);
}
