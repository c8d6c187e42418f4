/*
 * checkpoint_data.h - records made from a number, a scratch directory, and comparing readers: shared by checkpoint*.c.
 */
#ifndef PP_TESTS_CHECKPOINT_DATA_H
#define PP_TESTS_CHECKPOINT_DATA_H

#include "engine/checkpoint.h"
#include "engine/disk.h"
#include "engine/layout.h"
#include "shm/errors.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STORE UINT64_C(0x1234567890abcdef)

/* Record `i` of stream `stream` in a set named by `seed`: sizes cycle through `sizes`, 0 ends the list. */
struct data_set {
	uint64_t seed;
	unsigned streams, records;
	const uint32_t *sizes;
	unsigned nsizes;
	uint32_t key_size; /* 0: 9 to 40 bytes */
	uint32_t block_bytes;
};

struct record_buffer {
	struct pp_ckpt_record rec;
	uint8_t key[PP_KEY_MAX];
	uint8_t *value;
};

static inline uint64_t mix(uint64_t x)
{
	x ^= x >> 33;
	x *= UINT64_C(0xff51afd7ed558ccd);
	x ^= x >> 33;
	x *= UINT64_C(0xc4ceb9fe1a85ec53);
	return x ^ x >> 33;
}

/* The value's buffer must be freed by the caller. */
static inline void make_record(const struct data_set *d, unsigned stream, unsigned i, struct record_buffer *b)
{
	uint64_t h = mix(d->seed ^ mix((uint64_t)stream << 32 | i));
	uint32_t key_size = d->key_size ? d->key_size : 9 + (uint32_t)(h % 32);
	uint32_t size = d->sizes[i % d->nsizes];

	memset(b->key, 0, sizeof(b->key));
	/* A shared prefix, then the number: keys rise however long they are. */
	memset(b->key, 'k', key_size - 8);
	for (int n = 0; n < 8; n++)
		b->key[n] = (uint8_t)((uint64_t)i >> (56 - 8 * n));
	for (uint32_t n = 8; n < key_size; n++)
		b->key[n] = (uint8_t)mix(h + n);
	b->value = malloc(size + 1);
	for (uint32_t n = 0; n < size; n++)
		b->value[n] = (uint8_t)(h >> (n % 57)) ^ (uint8_t)n;
	b->rec = (struct pp_ckpt_record){
		.table = stream + (i > d->records / 2),
		.key = b->key,
		.key_size = key_size,
		.value = b->value,
		.size = size,
		.seq = h >> 20,
		.tag = d->seed + i,
		.expires_ms = i % 3 ? 0 : h | 1,
		.flags = (uint32_t)h,
	};
}

static inline bool same_record(const struct pp_ckpt_record *a, const struct pp_ckpt_record *b)
{
	return a->table == b->table && a->key_size == b->key_size && a->size == b->size && a->seq == b->seq &&
	       a->tag == b->tag && a->expires_ms == b->expires_ms && a->flags == b->flags &&
	       !memcmp(a->key, b->key, a->key_size) && !memcmp(a->value, b->value, a->size);
}

struct expectation {
	const struct data_set *d;
	unsigned stream, next;
	bool wrong;
};

static inline int expect_record(void *ctx, const struct pp_ckpt_record *rec)
{
	struct expectation *e = ctx;
	struct record_buffer b;

	if (e->next >= e->d->records) {
		e->wrong = true;
		return 1;
	}
	make_record(e->d, e->stream, e->next++, &b);
	if (!same_record(&b.rec, rec))
		e->wrong = true;
	free(b.value);
	return e->wrong;
}

/* 0: all there and right. An error of the reader, or 1: wrong records, which must never happen. */
static inline int verify(const char *dir, const struct data_set *d)
{
	struct pp_ckpt_reader *r = NULL;
	int rc = pp_ckpt_open(&pp_disk_real, dir, STORE, &r);

	if (rc)
		return rc;
	if (pp_ckpt_get_info(r)->snapshot != d->seed || pp_ckpt_get_info(r)->streams != d->streams)
		rc = 1;
	for (unsigned i = 0; i < d->streams && !rc; i++) {
		struct expectation e = {d, i, 0, false};

		rc = pp_ckpt_read_stream(r, i, expect_record, &e);
		if (e.wrong || (!rc && e.next != d->records))
			rc = 1;
	}
	pp_ckpt_close(r);
	return rc;
}

/* Writes the set as a checkpoint with S = seed and three floors. */
static inline int write_set(const char *dir, const struct data_set *d)
{
	static const uint64_t floors[] = {1, 1000, UINT64_MAX};
	struct pp_ckpt_range lost[] = {{5, 9}, {100, 200}};
	struct pp_ckpt_meta meta = {.max_tag = d->seed + 7, .incarnation = 3, .lost = lost, .nlost = 2};
	struct pp_ckpt_writer *w;
	int rc = pp_ckpt_begin(&pp_disk_real, dir, STORE, d->seed, d->streams, &w);

	if (rc)
		return rc;
	if (d->block_bytes)
		rc = pp_ckpt_set_block_bytes(w, d->block_bytes);
	for (unsigned s = 0; s < d->streams && !rc; s++) {
		for (unsigned i = 0; i < d->records && !rc; i++) {
			struct record_buffer b;

			make_record(d, s, i, &b);
			rc = pp_ckpt_put(w, s, &b.rec);
			free(b.value);
		}
	}
	if (rc) {
		pp_ckpt_abort(w);
		return rc;
	}
	return pp_ckpt_commit(w, floors, 3, &meta);
}

static inline void make_dir(char dir[64])
{
	const char *tmp = getenv("TMPDIR");

	snprintf(dir, 64, "%.40s/ppdb-ckpt-XXXXXX", tmp && strlen(tmp) <= 40 ? tmp : "/tmp");
	cr_assert(mkdtemp(dir), "cannot make a scratch directory");
}

/* Calls fn for each file, returns their number. */
static inline unsigned each_file(const char *dir, void (*fn)(const char *path, void *ctx), void *ctx)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	unsigned n = 0;
	char path[512];

	while (d && (e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		n++;
		if (fn)
			fn(path, ctx);
	}
	if (d)
		closedir(d);
	return n;
}

static inline void remove_one(const char *path, void *ctx)
{
	(void)ctx;
	unlink(path);
}

static inline void remove_dir(const char *dir)
{
	each_file(dir, remove_one, NULL);
	rmdir(dir);
}

#endif
