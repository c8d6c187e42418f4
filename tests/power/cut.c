/*
 * cut.c - what is on the disk when power goes at some moment of a trace.
 *
 *   power cuts TRACE COUNT SEED               prints COUNT lines "EVENT SEED MODE"
 *   power cut TRACE IMAGE OUT EVENT SEED MODE  makes OUT from a copy of IMAGE, prints the newest acknowledged step of each writer
 *
 * Kept is every write that a flush covers (trace.h). Of the others that have arrived MODE says what is kept:
 *   none; all; some (each by a coin); pieces (each block of 4 KiB by a coin); torn (as pieces, and sectors of the store's log by a
 *   coin: a device promises no more than its sector, but only the log is made for less than a block); last (only the newest one)
 * Moments are random, but half of them stand right behind an acknowledgement: there a lie shows.
 */
#include "engine/layout_disk.h"
#include "tests/power/power.h"
#include "tests/power/steps.h"
#include "tests/power/trace.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK 4096u
#define SECTOR 512u

static const char *const modes[] = {"none", "all", "some", "pieces", "torn", "last"};
enum { NONE, ALL, SOME, PIECES, TORN, LAST, MODES };

static uint64_t random_state;

static uint64_t random_below(uint64_t n)
{
	random_state += 0x9e3779b97f4a7c15u;
	return power_mix(random_state) % n;
}

/* ---- moments ---------------------------------------------------------------------------------------------------- */

int power_cuts(int argc, char **argv)
{
	struct trace t;
	uint64_t count, acks = 0, *ack, first = 0;

	if (argc != 4 || !trace_load(argv[1], &t))
		return 2;
	count = strtoull(argv[2], NULL, 10);
	random_state = strtoull(argv[3], NULL, 10);
	ack = malloc((t.events + 1) * sizeof(*ack));
	if (!ack || !t.events)
		return 1;
	for (uint64_t i = 0; i < t.events; i++) {
		if (t.event[i]->kind == 'A')
			ack[acks++] = i;
		if (!first && t.event[i]->kind == 'R')
			first = i;
	}
	for (uint64_t i = 0; i < count; i++) {
		uint64_t at = 1 + random_below(t.events);

		if (acks && i % 2)
			at = ack[random_below(acks)] + 1;
		else if (i % 8 && first)
			at = first + 1 + random_below(t.events - first); /* the rest: also while it starts */
		printf("%llu %llu %s\n", (unsigned long long)at, (unsigned long long)random_below(1u << 30),
			modes[random_below(MODES)]);
	}
	free(ack);
	return 0;
}

/* ---- what is kept ----------------------------------------------------------------------------------------------- */

struct cut {
	uint8_t *image;
	uint64_t image_bytes;
	uint64_t *done;          /* of each request: number of the event that answered it, UINT64_MAX = none */
	uint64_t covered;        /* a write answered before this event is stable */
};

static bool find_stable(const struct trace *t, uint64_t end, struct cut *c)
{
	uint64_t *arrived = calloc(t->events + 1, sizeof(*arrived));

	c->done = malloc((t->events + 1) * sizeof(*c->done));
	if (!arrived || !c->done)
		return false;
	memset(c->done, 0xff, (t->events + 1) * sizeof(*c->done));
	for (uint64_t i = 0; i < end; i++) {
		const struct trace_event *e = t->event[i];

		if (e->kind == 'W' || e->kind == 'F')
			arrived[e->id] = i;
		else if (e->kind == 'w')
			c->done[e->id] = i;
		else if (e->kind == 'f' && arrived[e->id] > c->covered)
			c->covered = arrived[e->id];
	}
	free(arrived);
	return true;
}

static bool is_log(const struct trace_event *e)
{
	uint64_t magic = PP_WAL_UNIT_MAGIC;

	return e->bytes >= sizeof(magic) && !memcmp(trace_bytes(e), &magic, sizeof(magic));
}

static void keep_part(struct cut *c, const struct trace_event *e, uint32_t at, uint32_t bytes)
{
	if (at < e->bytes)
		memcpy(c->image + e->offset + at, trace_bytes(e) + at, bytes < e->bytes - at ? bytes : e->bytes - at);
}

static void keep_pieces(struct cut *c, const struct trace_event *e, uint32_t piece)
{
	for (uint32_t at = 0; at < e->bytes; at += piece)
		if (random_below(2))
			keep_part(c, e, at, piece);
}

static void maybe_keep(struct cut *c, const struct trace_event *e, int mode, bool newest)
{
	if (mode == ALL || (mode == LAST && newest) || (mode == SOME && random_below(2)))
		keep_part(c, e, 0, e->bytes);
	else if (mode == PIECES || mode == TORN)
		keep_pieces(c, e, mode == TORN && is_log(e) ? SECTOR : BLOCK);
}

static unsigned replay(const struct trace *t, uint64_t end, struct cut *c, int mode)
{
	uint64_t newest = 0;
	unsigned loose = 0;

	for (uint64_t i = 0; i < end; i++)
		if (t->event[i]->kind == 'W')
			newest = i;
	for (uint64_t i = 0; i < end; i++) {
		const struct trace_event *e = t->event[i];

		if (e->kind != 'W' || e->offset + e->bytes > c->image_bytes)
			continue;
		if (c->done[e->id] < c->covered) {
			keep_part(c, e, 0, e->bytes);
			continue;
		}
		loose++;
		maybe_keep(c, e, mode, i == newest);
	}
	return loose;
}

static void print_acknowledged(const struct trace *t, uint64_t end)
{
	uint64_t acked[POWER_WRITERS] = {0};

	for (uint64_t i = 0; i < end; i++)
		if (t->event[i]->kind == 'A')
			acked[t->event[i]->writer] = t->event[i]->id;
	for (unsigned w = 0; w < POWER_WRITERS; w++)
		printf("%llu%c", (unsigned long long)acked[w], w + 1 < POWER_WRITERS ? ',' : ' ');
}

/* ---- main ------------------------------------------------------------------------------------------------------- */

static bool copy_image(const char *from, const char *to, struct cut *c)
{
	int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	off_t at = 0, hole;
	struct stat st;

	if (in < 0 || out < 0 || fstat(in, &st) || ftruncate(out, st.st_size))
		return false;
	/* Holes stay holes: most of the disk was never written. */
	while ((at = lseek(in, at, SEEK_DATA)) >= 0) {
		off_t to_offset = at;

		hole = lseek(in, at, SEEK_HOLE);
		while (at < hole)
			if (copy_file_range(in, &at, out, &to_offset, (size_t)(hole - at), 0) <= 0)
				return false;
	}
	c->image_bytes = (uint64_t)st.st_size;
	c->image = mmap(NULL, c->image_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, out, 0);
	close(in);
	close(out);
	return c->image != MAP_FAILED;
}

int power_cut(int argc, char **argv)
{
	struct cut c = {0};
	struct trace t;
	uint64_t end;
	int mode = 0;
	unsigned loose;

	if (argc != 7 || !trace_load(argv[1], &t))
		return 2;
	end = strtoull(argv[4], NULL, 10);
	end = end < t.events ? end : t.events;
	random_state = strtoull(argv[5], NULL, 10);
	while (mode < MODES && strcmp(argv[6], modes[mode]))
		mode++;
	if (mode == MODES)
		return 2;
	if (!copy_image(argv[2], argv[3], &c) || !find_stable(&t, end, &c)) {
		perror(argv[3]);
		return 1;
	}
	loose = replay(&t, end, &c, mode);
	print_acknowledged(&t, end);
	printf("%u\n", loose);
	free(c.done);
	return munmap(c.image, c.image_bytes) ? 1 : 0;
}
