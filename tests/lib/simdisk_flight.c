/*
 * simdisk_flight.c - durable writes of a simulated disk that are under way: the interface of wal_io.h over simdisk.c.
 *
 * A write is under way from submit on. Each reap picks some, in any order, and completes them: whole, short, to be repeated,
 * or failed with a part of it on the medium. What a killed process left under way lands later. One thread.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/wal_io.h"
#include "tests/lib/simdisk_state.h"

struct sim_io {
	struct pp_wal_io io;
	struct simdisk *d;
};

/* ---- late ones ---- */

static void make_late(struct simdisk *d, const struct flight *f)
{
	struct simdisk_state *s = d->state;

	if (s->late_count == 4 * SIM_FLIGHTS) { /* the oldest lands now */
		sim_inode_write_durable(s->inode[s->late[0].ino], s->late[0].offset, s->late[0].bytes, s->late[0].size);
		free(s->late[0].bytes);
		memmove(s->late, s->late + 1, --s->late_count * sizeof(*s->late));
	}
	s->late[s->late_count++] = *f;
}

void sim_flights_abandon(struct simdisk *d)
{
	for (unsigned i = 0; i < d->state->flight_count; i++)
		make_late(d, &d->state->flight[i]);
	d->state->flight_count = 0;
}

void sim_flights_land_late(struct simdisk *d)
{
	struct simdisk_state *s = d->state;

	while (s->late_count && sim_chance(d, d->rules.late)) {
		struct flight *f = &s->late[simdisk_random(&d->random) % s->late_count];

		sim_inode_write_durable(s->inode[f->ino], f->offset, f->bytes, f->size);
		d->counts.late++;
		free(f->bytes);
		*f = s->late[--s->late_count];
	}
}

/* ---- the writer ---- */

static int submit(struct pp_wal_io *io, const struct pp_wal_io_write *write)
{
	struct simdisk *d = ((struct sim_io *)io)->d;
	struct simdisk_state *s = d->state;
	struct flight *f = &s->flight[s->flight_count];
	bool last;

	if (write->fd < 0 || write->fd >= SIM_FDS || !s->fd[write->fd].used)
		d->broken = "a write was submitted to a descriptor that is not open";
	if (s->fd[write->fd].direct && ((uintptr_t)write->data % SIM_SECTOR || write->size % SIM_SECTOR || write->offset % SIM_SECTOR))
		d->broken = "a direct write was submitted without alignment";
	for (unsigned i = 0; i < s->flight_count; i++)
		if (s->flight[i].slot == write->slot)
			d->broken = "a slot was submitted while it was under way";
	if (!sim_begin(d, &last, "submit", sim_name_of(d, s->fd[write->fd].ino), write->offset, write->size) || d->broken || s->flight_count == SIM_FLIGHTS)
		return -EIO;
	*f = (struct flight){.slot = write->slot, .ino = s->fd[write->fd].ino, .offset = write->offset, .size = write->size,
			     .from = write->data, .bytes = malloc(write->size)};
	memcpy(f->bytes, write->data, write->size);
	s->flight_count++;
	return last ? -EIO : 0;
}

static int64_t complete(struct simdisk *d, const struct flight *f)
{
	size_t sectors = f->size / SIM_SECTOR;

	if (memcmp(f->from, f->bytes, f->size))
		d->broken = "a buffer changed while its write was under way";
	if (sim_chance(d, d->rules.again))
		return simdisk_random(&d->random) & 1 ? -EINTR : -EAGAIN;
	if (sim_chance(d, d->rules.write_fails)) {
		for (size_t i = 0; i < sectors; i++)
			if (simdisk_random(&d->random) & 1)
				sim_land(d, f->ino, f->offset + i * SIM_SECTOR, f->bytes + i * SIM_SECTOR, SIM_SECTOR, true);
		return sim_fail(d);
	}
	if (sectors > 1 && sim_chance(d, d->rules.short_writes))
		sectors = 1 + simdisk_random(&d->random) % (sectors - 1);
	sim_land(d, f->ino, f->offset, f->bytes, sectors * SIM_SECTOR, true);
	return (int64_t)(sectors * SIM_SECTOR);
}

/* Removes one from the list and says how it ended. */
static struct pp_wal_io_done finish(struct simdisk *d, unsigned index)
{
	struct simdisk_state *s = d->state;
	struct flight f = s->flight[index];
	struct pp_wal_io_done done = {f.slot, (int64_t)f.size};

	s->flight[index] = s->flight[--s->flight_count];
	if (d->dead)
		done.result = -EIO;
	else if (!d->rules.ack_early)
		done.result = complete(d, &f);
	if (d->trace)
		fprintf(stderr, "       %s at %llu: %lld\n", sim_name_of(d, f.ino), (unsigned long long)f.offset, (long long)done.result);
	if (d->dead || d->rules.ack_early)
		make_late(d, &f);
	else
		free(f.bytes);
	return done;
}

static int reap(struct pp_wal_io *io, int64_t wait_ns, struct pp_wal_io_done *done, int room)
{
	struct simdisk *d = ((struct sim_io *)io)->d;
	struct simdisk_state *s = d->state;
	bool last;
	int n = 0;

	if (s->flight_count)
		(void)sim_begin(d, &last, "reap", "", s->flight_count, 0);
	while (s->flight_count && n < room) {
		if (!d->dead && simdisk_random(&d->random) & 1 && (n || wait_ns <= 0))
			break;
		done[n++] = finish(d, (unsigned)(simdisk_random(&d->random) % s->flight_count));
	}
	return n;
}

static void close_writer(struct pp_wal_io *io)
{
	sim_flights_abandon(((struct sim_io *)io)->d);
	free(io);
}

static const struct pp_wal_io_class class = {submit, reap, close_writer};

int sim_open_writer(struct pp_disk *disk, const struct pp_wal_io_config *config, struct pp_wal_io **out)
{
	struct sim_io *io = calloc(1, sizeof(*io));

	(void)config;
	io->io.class = &class;
	io->d = (struct simdisk *)disk;
	*out = &io->io;
	return 0;
}
