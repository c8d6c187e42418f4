/*
 * wal_helper.c - a scratch directory, records whose bytes follow from their number, and a check of what recovery delivers.
 */
#include "wal_helper.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/errors.h"

struct wal_model *wal_model_new(void)
{
	struct wal_model *m = calloc(1, sizeof(*m));
	const char *tmp = getenv("TMPDIR");

	cr_assert(m);
	snprintf(m->dir, sizeof(m->dir), "%s/ppdb-wal-XXXXXX", tmp ? tmp : "/tmp");
	cr_assert(mkdtemp(m->dir), "no scratch directory %s", m->dir);
	m->config = (struct pp_wal_config){
		.dir = m->dir,
		.store_id = 0x5107e,
		.segment_bytes = 64 << 10,
		.batch_bytes = 16 << 10,
	};
	return m;
}

void wal_clear(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *entry;
	char path[600];

	while (d && (entry = readdir(d))) {
		snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
		if (entry->d_name[0] != '.')
			unlink(path);
	}
	if (d)
		closedir(d);
}

void wal_model_free(struct wal_model *m)
{
	wal_clear(m->dir);
	rmdir(m->dir);
	free(m);
}

static void copy_file(const char *from, const char *to)
{
	static uint8_t buffer[1 << 20];
	int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	ssize_t n;

	cr_assert(in >= 0 && out >= 0);
	while ((n = read(in, buffer, sizeof(buffer))) > 0)
		cr_assert_eq(write(out, buffer, (size_t)n), n);
	close(in);
	close(out);
}

void wal_copy(const char *from, const char *to)
{
	DIR *d = opendir(from);
	struct dirent *entry;
	char source[600], target[600];

	mkdir(to, 0700);
	wal_clear(to);
	while (d && (entry = readdir(d))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(source, sizeof(source), "%s/%s", from, entry->d_name);
		snprintf(target, sizeof(target), "%s/%s", to, entry->d_name);
		copy_file(source, target);
	}
	closedir(d);
}

uint64_t wal_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

void wal_fill(uint8_t *to, size_t number, size_t size)
{
	uint64_t state = (number + 1) * 0x9e3779b97f4a7c15ull;
	uint64_t word = 0;

	for (size_t i = 0; i < size; i++) {
		if (i % 8 == 0)
			word = wal_random(&state);
		to[i] = (uint8_t)(word >> (i % 8 * 8));
	}
}

int wal_put(struct wal_model *m, struct pp_wal *w, uint64_t epoch, size_t size)
{
	uint8_t *bytes = malloc(size);
	size_t a = size / 3, b = size / 2;
	struct iovec parts[] = {{bytes, a}, {bytes + a, b - a}, {bytes + b, size - b}};
	void *place = NULL;
	int rc = 0;

	cr_assert(bytes && m->count < WAL_RECORDS_MAX);
	wal_fill(bytes, m->count, size);
	if (m->count % 2)
		place = pp_wal_reserve(w, epoch, size);
	if (place)
		memcpy(place, bytes, size);
	else
		rc = pp_wal_append(w, epoch, parts, 3);
	if (!rc)
		m->records[m->count++] = (struct wal_record){epoch, size};
	free(bytes);
	return rc;
}

struct pp_wal_pos wal_flush(struct pp_wal *w)
{
	struct pp_wal_pos pos = {0};

	do {
		cr_assert_eq(pp_wal_submit(w), 0, "%s", pp_detail_get());
		cr_assert_eq(pp_wal_poll(w, 1000000000, &pos), 0, "%s", pp_detail_get());
	} while (pp_wal_pending(w) || pp_wal_inflight(w));
	cr_assert_eq(pp_wal_poll(w, 0, &pos), 0);
	return pos;
}

/* What came, in order, as one number. */
static uint64_t mix(uint64_t hash, uint64_t epoch, const void *data, size_t size)
{
	const uint8_t *b = data;

	hash = (hash ^ epoch) * UINT64_C(0x9e3779b97f4a7c15) + size;
	for (size_t i = 0; i < size; i++)
		hash = (hash ^ b[i]) * UINT64_C(0x100000001b3);
	return hash;
}

/* A log that is read once: what counts comes first, and is what two passes deliver. */
struct once {
	uint64_t hash, want, ended;
	size_t count, late, expected;
};

static int once_record(void *ctx, uint64_t epoch, const void *data, size_t size)
{
	struct once *o = ctx;

	o->late += epoch <= o->ended;              /* its epoch was said to have come */
	if (o->count++ < o->expected)
		o->hash = mix(o->hash, epoch, data, size);
	return 0;
}

static void once_ended(void *ctx, uint64_t epoch)
{
	struct once *o = ctx;

	o->ended = epoch > o->ended ? epoch : o->ended;
}

static int once_rest(void *ctx, uint64_t epoch, const void *data, size_t size)
{
	struct once *o = ctx;

	(void)data;
	(void)size;
	o->count += epoch <= o->ended;
	return 0;
}

static void check_once(const struct wal_model *m, int two_passes)
{
	struct once o = {.want = m->hash, .expected = m->delivered, .ended = m->from_epoch};
	struct pp_wal_config c = m->config;
	struct pp_wal_recovered r;
	int rc;

	c.on_ended = once_ended;
	rc = pp_wal_recover(&c, m->from_epoch, once_record, &o, &r);
	cr_assert_eq(rc, two_passes, "read once: %d, twice: %d", rc, two_passes);
	if (rc)
		return;
	cr_assert(o.count >= o.expected && o.hash == o.want, "read once, %zu records of %zu came, or others", o.count, o.expected);
	cr_assert_eq(o.late, 0, "%zu records came after their epoch had ended", o.late);
	o.count = 0;
	rc = pp_wal_recover(&c, m->from_epoch, once_rest, &o, &r);
	cr_assert(rc == 0 && o.count == o.expected, "%zu records count, not %zu", o.count, o.expected);
}

static int check_record(void *ctx, uint64_t epoch, const void *data, size_t size)
{
	struct wal_model *m = ctx;
	static uint8_t *expected;
	static size_t room;

	m->hash = mix(m->hash, epoch, data, size);
	m->delivered++;
	while (m->next < m->count && m->records[m->next].epoch <= m->from_epoch)
		m->next++;
	if (size > room) {
		expected = realloc(expected, size);
		room = size;
	}
	if (m->next >= m->count || epoch != m->records[m->next].epoch || size != m->records[m->next].size) {
		m->wrong++;
		return 0;
	}
	wal_fill(expected, m->next, size);
	m->wrong += memcmp(expected, data, size) != 0 || (uintptr_t)data % 8 != 0;
	m->next++;
	m->last_delivered = epoch;
	return 0;
}

int wal_recover(struct wal_model *m, struct pp_wal_recovered *out)
{
	int rc;

	m->next = m->wrong = m->delivered = 0;
	m->hash = 0;
	m->last_delivered = 0;
	rc = pp_wal_recover(&m->config, m->from_epoch, check_record, m, out);
	cr_assert_eq(m->wrong, 0, "%zu records came back wrong", m->wrong);
	while (m->next < m->count && m->records[m->next].epoch <= m->from_epoch)
		m->next++;
	/* Whole epochs only. */
	if (rc == 0 && m->next > 0 && m->next < m->count)
		cr_assert_neq(m->records[m->next].epoch, m->records[m->next - 1].epoch, "half an epoch came back");
	check_once(m, rc);
	return rc;
}

size_t wal_recover_ok(struct wal_model *m, struct pp_wal_recovered *out)
{
	int rc = wal_recover(m, out);

	cr_assert_eq(rc, 0, "%d %s", rc, pp_detail_get());
	return m->next;
}

struct pp_wal *wal_open_ok(struct wal_model *m, const struct pp_wal_recovered *r)
{
	struct pp_wal *w = NULL;
	int rc = pp_wal_open(&m->config, r, &w);

	cr_assert_eq(rc, 0, "%d %s", rc, pp_detail_get());
	return w;
}

size_t wal_count_upto(const struct wal_model *m, uint64_t epoch)
{
	size_t n = 0;

	while (n < m->count && m->records[n].epoch <= epoch)
		n++;
	return n;
}

void wal_forget_above(struct wal_model *m, uint64_t epoch)
{
	m->count = wal_count_upto(m, epoch);
}
