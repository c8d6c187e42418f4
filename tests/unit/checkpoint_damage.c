/*
 * checkpoint_damage.c - every damaged byte and every cut of a small checkpoint is found, with file and offset in the sentence;
 * records that were delivered before are right.
 */
#include "tests/unit/checkpoint_data.h"

static char dir[64];
static const uint32_t sizes[] = {0, 10, 300, 9000, 5};
static const struct data_set data = {
	.seed = 77, .streams = 2, .records = 9, .sizes = sizes, .nsizes = 5, .block_bytes = 8192};

static void setup(void)
{
	make_dir(dir);
	cr_assert_eq(write_set(dir, &data), 0, "%s", pp_detail_get());
}

static void teardown(void)
{
	remove_dir(dir);
}

TestSuite(checkpoint_damage, .init = setup, .fini = teardown, .timeout = 300);

/* CORRUPT, and the sentence names this file and a place in it. */
static void must_be_found(const char *path, const char *what, long offset)
{
	int rc = verify(dir, &data);

	cr_assert_neq(rc, 1, "%s at %ld of %s: wrong records were delivered", what, offset, path);
	cr_assert_eq(rc, PPDB_CORRUPT, "%s at %ld of %s: %d %s", what, offset, path, rc, pp_detail_get());
	cr_assert(strstr(pp_detail_get(), path) && strstr(pp_detail_get(), " offset "),
		"%s at %ld of %s: the sentence does not say where: %s", what, offset, path, pp_detail_get());
}

static void flip_all(const char *path, void *ctx)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct stat st;

	(void)ctx;
	cr_assert_eq(fstat(fd, &st), 0);
	for (off_t at = 0; at < st.st_size; at++) {
		uint8_t byte, bad;

		cr_assert_eq(pread(fd, &byte, 1, at), 1);
		bad = byte ^ (uint8_t)(1u << (at % 8));
		cr_assert_eq(pwrite(fd, &bad, 1, at), 1);
		must_be_found(path, "flip", at);
		cr_assert_eq(pwrite(fd, &byte, 1, at), 1);
	}
	close(fd);
}

static void cut_all(const char *path, void *ctx)
{
	static uint8_t whole[1 << 20];
	int fd = open(path, O_RDWR | O_CLOEXEC);
	ssize_t size = pread(fd, whole, sizeof(whole), 0);

	(void)ctx;
	for (ssize_t at = size - 1; at >= 0; at--) {
		cr_assert_eq(ftruncate(fd, at), 0);
		must_be_found(path, "cut", at);
	}
	cr_assert_eq(pwrite(fd, whole, (size_t)size, 0), size);
	cr_assert_eq(pwrite(fd, "tail", 4, size), 4);
	must_be_found(path, "longer", size);
	cr_assert_eq(ftruncate(fd, size), 0);
	close(fd);
}

/* Taking files away while a directory is read is allowed, putting them back may show them twice: harmless. */
static void take_away(const char *path, void *ctx)
{
	char aside[600];

	(void)ctx;
	if (strstr(path, "MANIFEST") || strstr(path, "/aside"))
		return;
	snprintf(aside, sizeof(aside), "%s/aside", dir);
	cr_assert_eq(rename(path, aside), 0);
	must_be_found(path, "missing", 0);
	cr_assert_eq(rename(aside, path), 0);
}

Test(checkpoint_damage, every_byte)
{
	cr_assert_eq(each_file(dir, flip_all, NULL), 3);
	cr_assert_eq(verify(dir, &data), 0);
}

Test(checkpoint_damage, every_length)
{
	each_file(dir, cut_all, NULL);
	cr_assert_eq(verify(dir, &data), 0);
}

Test(checkpoint_damage, missing_files)
{
	each_file(dir, take_away, NULL);
	cr_assert_eq(verify(dir, &data), 0);
}

static void read_file(const char *name, uint8_t *to, ssize_t *size)
{
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	*size = pread(fd, to, 1 << 20, 0);
	cr_assert_gt(*size, 0);
	close(fd);
}

static void write_file(const char *name, const uint8_t *from, size_t size, off_t at)
{
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	cr_assert_eq(pwrite(fd, from, size, at), (ssize_t)size);
	close(fd);
}

/* Whole valid blocks in the wrong place: another stream, another block number, another checkpoint. */
Test(checkpoint_damage, blocks_that_belong_elsewhere)
{
	static const char *const zero = "checkpoint-0000000000000001-000";
	static const char *const one = "checkpoint-0000000000000001-001";
	static uint8_t a[1 << 20], b[1 << 20];
	ssize_t na, nb;

	read_file(zero, a, &na);
	read_file(one, b, &nb);
	write_file(zero, b, 8192, 0);
	must_be_found(zero, "other stream", 0);
	write_file(zero, a + 8192, 8192, 0);
	must_be_found(zero, "other block", 0);
	write_file(zero, a, (size_t)na, 0);
	cr_assert_eq(verify(dir, &data), 0);
}

Test(checkpoint_damage, another_store)
{
	struct pp_ckpt_reader *r;

	cr_assert_eq(pp_ckpt_open(&pp_disk_real, dir, STORE + 1, &r), PPDB_CORRUPT);
	cr_assert(strstr(pp_detail_get(), "MANIFEST belongs to another store"));
}

/* The store in memory is whole when the next checkpoint is taken: a manifest damaged meanwhile is no obstacle. */
Test(checkpoint_damage, the_next_checkpoint_heals)
{
	struct data_set next = data;

	write_file("MANIFEST", (const uint8_t *)"damage", 6, 40);
	must_be_found("MANIFEST", "damage", 40);
	next.seed++;
	cr_assert_eq(write_set(dir, &next), 0, "%s", pp_detail_get());
	cr_assert_eq(verify(dir, &next), 0);
	cr_assert_eq(each_file(dir, NULL, NULL), 3);
}
