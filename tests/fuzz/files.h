/*
 * files.h - a folder of files as an input damages it: what a healthy writer left, then edits, then checksums made good again.
 *
 *   edit: | u8 operation << 4 | file | u16 at | u64 value |
 *   operation  0..3 store 1, 2, 4, 8 bytes of `value` at `at`      4 cut the file at `at`        5 remove the file
 *              6 copy block `at` over block `value`                7 swap two files (`value`)    8 lengthen by `value` zeros
 * `at` counts bytes from the start; for stores 8 bytes at a time, so that it reaches far.
 */
#ifndef TESTS_FUZZ_FILES_H
#define TESTS_FUZZ_FILES_H

#include "tests/fuzz/fuzz.h"

#include <dirent.h>

#define FILES_MAX 8
#define FILE_BYTES_MAX (64u << 10)
#define FILE_BLOCK 4096u
#define EDITS_MAX 64

struct fuzz_file {
	char name[64];
	uint8_t *base, *bytes;
	size_t base_size, size;
	bool removed, stale; /* stale: what is on disk is not what is in memory */
};

struct fuzz_files {
	char dir[128];
	struct fuzz_file file[FILES_MAX];
	unsigned count;
};

static inline int files_by_name(const void *a, const void *b)
{
	return strcmp(((const struct fuzz_file *)a)->name, ((const struct fuzz_file *)b)->name);
}

static inline void files_load(struct fuzz_files *f, const char *dir, const char *prefix)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	snprintf(f->dir, sizeof(f->dir), "%s", dir);
	while (d && (e = readdir(d))) {
		struct fuzz_file *file = &f->file[f->count];
		char path[400];
		FILE *in;

		if (e->d_name[0] == '.' || strncmp(e->d_name, prefix, strlen(prefix)))
			continue;
		fuzz_require(f->count < FILES_MAX, "more than %d files", FILES_MAX);
		snprintf(file->name, sizeof(file->name), "%.63s", e->d_name);
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		in = fopen(path, "rb");
		file->base = calloc(1, FILE_BYTES_MAX);
		file->bytes = malloc(FILE_BYTES_MAX);
		file->base_size = in ? fread(file->base, 1, FILE_BYTES_MAX, in) : 0;
		file->stale = true;
		fuzz_require(in && !fclose(in), "%s", path);
		f->count++;
	}
	closedir(d);
	qsort(f->file, f->count, sizeof(f->file[0]), files_by_name);
}

static inline void files_reset(struct fuzz_files *f)
{
	for (unsigned i = 0; i < f->count; i++) {
		memcpy(f->file[i].bytes, f->file[i].base, FILE_BYTES_MAX);
		f->file[i].size = f->file[i].base_size;
		f->file[i].removed = false;
	}
}

static inline void files_edit(struct fuzz_files *f, struct fuzz_in *in)
{
	unsigned op = (unsigned)fuzz_take(in, 1), at = (unsigned)fuzz_take(in, 2);
	uint64_t value = fuzz_take(in, 8);
	struct fuzz_file *file = &f->file[(op & 15) % f->count], *other = &f->file[value % f->count], swap;
	unsigned width = 1u << (op >> 4 & 3), from;

	switch (op >> 4) {
	case 0: case 1: case 2: case 3:
		if (file->size >= 8)
			memcpy(file->bytes + (size_t)at * 8 % (file->size / 8 * 8), &value, width);
		break;
	case 4:
		file->size = at < file->size ? at : file->size;
		break;
	case 5:
		file->removed = true;
		break;
	case 6:
		from = at % (FILE_BYTES_MAX / FILE_BLOCK);
		memmove(file->bytes + value % (FILE_BYTES_MAX / FILE_BLOCK) * FILE_BLOCK, file->bytes + from * FILE_BLOCK, FILE_BLOCK);
		break;
	case 7:
		swap = *file;
		file->bytes = other->bytes;
		file->size = other->size;
		other->bytes = swap.bytes;
		other->size = swap.size;
		break;
	case 8:
		file->size = file->size + value % 65536 < FILE_BYTES_MAX ? file->size + value % 65536 : file->size;
		break;
	}
}

/* From the healthy files: the rest of the input is the content of the first one, or it is edits. */
static inline void files_damage(struct fuzz_files *f, struct fuzz_in *in, bool whole)
{
	files_reset(f);
	for (int i = 0; i < EDITS_MAX && in->left && !whole; i++)
		files_edit(f, in);
	if (!whole)
		return;
	f->file[0].size = in->left < FILE_BYTES_MAX ? in->left : FILE_BYTES_MAX;
	memcpy(f->file[0].bytes, in->at, f->file[0].size);
}

static inline void files_write(struct fuzz_files *f)
{
	for (unsigned i = 0; i < f->count; i++) {
		struct fuzz_file *file = &f->file[i];
		char path[256];
		FILE *out;

		snprintf(path, sizeof(path), "%s/%s", f->dir, file->name);
		if (file->removed) {
			unlink(path);
			file->stale = true;
			continue;
		}
		if (!file->stale && file->size == file->base_size && !memcmp(file->bytes, file->base, file->size))
			continue;
		out = fopen(path, "wb");
		fuzz_require(out && fwrite(file->bytes, 1, file->size, out) == file->size && !fclose(out), "%s", path);
		file->stale = file->size != file->base_size || memcmp(file->bytes, file->base, file->size);
	}
}

static inline void files_seed_edit(struct fuzz_out *out, unsigned op, unsigned file, unsigned at, uint64_t value)
{
	fuzz_put(out, op << 4 | file, 1);
	fuzz_put(out, at, 2);
	fuzz_put(out, value, 8);
}

#endif
