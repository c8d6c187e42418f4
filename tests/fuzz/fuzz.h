/*
 * fuzz.h - what the fuzz targets share: taking numbers out of an input, a scratch folder, failing, and seeds.
 *
 * A target is one file: LLVMFuzzerTestOneInput judges one input, fuzz_seeds writes the inputs to begin with. It is linked twice: with
 * libFuzzer (`make fuzz`), and in every variant with lib/replay.c, which feeds it files. A target prints nothing and ends the process
 * only when something is wrong.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Calls emit for each seed. */
typedef void fuzz_emit(const char *name, const void *data, size_t size);
void fuzz_seeds(fuzz_emit *emit);

#define fuzz_require(condition, ...)                                               \
	do {                                                                       \
		if (!(condition)) {                                                \
			fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition); \
			fprintf(stderr, __VA_ARGS__);                              \
			fputc('\n', stderr);                                       \
			abort();                                                   \
		}                                                                  \
	} while (0)

/* ---- the input as a stream of little-endian numbers; zeros behind its end ---- */

struct fuzz_in {
	const uint8_t *at;
	size_t left;
};

static inline uint64_t fuzz_take(struct fuzz_in *in, unsigned bytes)
{
	uint64_t v = 0;
	size_t n = in->left < bytes ? in->left : bytes;

	memcpy(&v, in->at, n);
	in->at += n;
	in->left -= n;
	return v;
}

/* ---- seeds: a growing buffer ---- */

struct fuzz_out {
	uint8_t bytes[65536];
	size_t size;
};

static inline void fuzz_put(struct fuzz_out *out, uint64_t v, unsigned bytes)
{
	fuzz_require(out->size + bytes <= sizeof(out->bytes), "a seed is too large");
	memcpy(out->bytes + out->size, &v, bytes);
	out->size += bytes;
}

/* ---- a folder in memory that goes with the process ---- */

static char fuzz_dir[64];

static inline void fuzz_remove_dir(void)
{
	char command[96];

	snprintf(command, sizeof(command), "rm -rf %s", fuzz_dir);
	if (fuzz_dir[0] && system(command))
		fprintf(stderr, "%s stays behind\n", fuzz_dir);
}

static inline void fuzz_make_dir(void)
{
	snprintf(fuzz_dir, sizeof(fuzz_dir), "%s/ppdb-fuzz-XXXXXX", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
	fuzz_require(mkdtemp(fuzz_dir), "no scratch folder");
	atexit(fuzz_remove_dir);
}

/* Reads every byte, so that a sanitizer (or the end of a mapping) notices what is out of bounds. */
static inline void fuzz_touch(const void *data, size_t size)
{
	const volatile uint8_t *p = data;

	for (size_t i = 0; i < size; i++)
		(void)p[i];
}

/* Codes that a reader of damaged things may give: success, the codes of ppdb, errno. */
static inline bool fuzz_known_code(int rc)
{
	return rc == 0 || (rc < 0 && rc >= -4095) || (rc <= -20001 && rc >= -20040);
}

#endif
