/*
 * ckpt_file.h - what writing and reading of checkpoints share: names and checksums. Internal to checkpoint.c and ckpt_read.c.
 */
#ifndef PP_ENGINE_CKPT_FILE_H
#define PP_ENGINE_CKPT_FILE_H

#include "engine/disk.h"
#include "engine/layout_ckpt.h"
#include "shm/errors.h"

#include <limits.h>
#include <stdio.h>

/* XXH_INLINE_ALL would need a build with AVX2; the dispatching symbols of the library choose at run time. */
#if defined(__x86_64__)
#include <xxh_x86dispatch.h>
#else
#include <xxhash.h>
#endif

#define PP_CKPT_MANIFEST "MANIFEST"
#define PP_CKPT_PREFIX "checkpoint-"

static inline int pp_ckpt_path(char path[PATH_MAX], const char *dir, const char *name)
{
	int n = snprintf(path, PATH_MAX, "%s/%s", dir, name);

	if (n < 0 || n >= PATH_MAX)
		return pp_detail(-ENAMETOOLONG, "the path of the checkpoint directory %.200s... is too long", dir);
	return 0;
}

static inline int pp_ckpt_stream_path(char path[PATH_MAX], const char *dir, uint64_t number, unsigned stream)
{
	char name[64];

	snprintf(name, sizeof(name), PP_CKPT_PREFIX "%016llx-%03u", (unsigned long long)number, stream);
	return pp_ckpt_path(path, dir, name);
}

static inline uint64_t pp_ckpt_manifest_checksum(const void *bytes, uint64_t size, uint64_t store_id)
{
	return XXH3_64bits_withSeed((const uint8_t *)bytes + 16, size - 16, store_id);
}

/* What makes a block valid in its own place only. */
struct pp_ckpt_place {
	uint64_t store_id, snapshot, number, stream, block;
};

static inline uint64_t pp_ckpt_block_checksum(const void *bytes, uint64_t size, const struct pp_ckpt_place *place)
{
	uint64_t seed = XXH3_64bits_withSeed(place, sizeof(*place), 0);

	return XXH3_64bits_withSeed((const uint8_t *)bytes + 8, size - 8, seed);
}

/* Number of the checkpoint that the manifest names (ckpt_read.c); errors as pp_ckpt_open. */
int pp_ckpt_current(struct pp_disk *disk, const char *dir, uint64_t store_id, uint64_t *number);

static inline uint64_t pp_ckpt_round8(uint64_t n)
{
	return (n + 7) & ~UINT64_C(7);
}

#endif
