/*
 * wal_backend.c - which way to write: chosen at open by measuring, changed when it turns slow under load, and the latencies.
 *
 * io_uring leaves the writer free while the disk works, so it is taken unless clearly slower. Under load the smoothed latency
 * of the one in use is compared with what the others last reached; those estimates sink back slowly towards their measured
 * floor, so that each is tried again some day. A change waits until nothing is in flight.
 * Writer only, but for the counters, which anybody may read.
 */
#include <string.h>
#include <unistd.h>

#include "engine/wal_writer.h"
#include "shm/errors.h"

#define SLOW_NS 1000000u           /* below this nothing is changed */
#define SLOW_FACTOR 4u
#define SMALL_BYTES (64u << 10)    /* bigger writes say nothing about the way */
#define SMOOTH 16
#define DWELL 64u                  /* writes before the next change: a slow phase of the disk meets every way */
#define SINK 1024u
#define AGING 4096u
#define SUB_BITS 2                 /* 4 buckets for each power of two */

/* ---- choice ---- */

/* The writer alone is last: it cannot fill the next unit while it writes, which a measurement of one write does not show. */
static int best_backend(const struct pp_wal *wal)
{
	static const int order[] = {PP_WAL_URING_DSYNC, PP_WAL_URING_FSYNC, PP_WAL_PWRITE_THREAD, PP_WAL_PWRITE_DSYNC};
	int best = PP_WAL_PWRITE_DSYNC;
	uint64_t best_ns = UINT64_MAX;

	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		uint64_t ns = wal->estimate_ns[order[i]];

		if (ns < best_ns - best_ns / 4) {
			best = order[i];
			best_ns = ns;
		}
	}
	return best;
}

int pp_wal_backend_choose(struct pp_wal *wal)
{
	int rc = pp_wal_io_measure(&wal->segments.config, wal->estimate_ns);

	if (rc == -ENOSPC) /* no room to measure in: what always works, until the next start */
		rc = 0;
	if (rc)
		return rc;
	memcpy(wal->floor_ns, wal->estimate_ns, sizeof(wal->floor_ns));
	pp_store_rlx(&wal->backend, (uint32_t)best_backend(wal)); /* stat */
	return 0;
}

static bool is_slow(uint64_t now_ns, uint64_t best_ns)
{
	return now_ns > SLOW_NS && best_ns < now_ns / SLOW_FACTOR;
}

static void consider_change(struct pp_wal *wal)
{
	int now = (int)pp_load_rlx(&wal->backend); /* owner */

	for (int b = 1; b < PP_WAL_BACKENDS; b++) {
		uint64_t *ns = &wal->estimate_ns[b];

		if (b == now || *ns == UINT64_MAX)
			continue;
		if (*ns > wal->floor_ns[b])
			*ns -= *ns / SINK;
		if (wal->since_switch > DWELL && is_slow(wal->estimate_ns[now], *ns))
			wal->switching = true;
	}
}

static void change_backend(struct pp_wal *wal)
{
	wal->io->class->close(wal->io);
	wal->io = NULL;
	pp_store_rlx(&wal->backend, (uint32_t)best_backend(wal)); /* stat */
	pp_stat_add(&wal->switches, 1);
	wal->switching = false;
	wal->since_switch = 0;
}

/* io_uring serves only the thread that made the ring; with nothing in flight another one may take over. */
static void follow_thread(struct pp_wal *wal)
{
	if (!wal->io || wal->inflight || wal->io_thread == gettid())
		return;
	wal->io->class->close(wal->io);
	wal->io = NULL;
}

/* In the writer's thread. What cannot be had is never tried again. */
int pp_wal_backend_start(struct pp_wal *wal)
{
	struct pp_wal_io_config config = {
		.depth = wal->config.depth,
		.slots = wal->slot_count,
		.buffers = wal->buffers,
		.buffer_bytes = wal->config.batch_bytes,
	};
	int rc;

	follow_thread(wal);
	if (wal->io && wal->switching && wal->inflight == 0)
		change_backend(wal);
	if (wal->io)
		return 0;
	wal->io_thread = gettid();
	rc = pp_wal_io_open(wal->config.disk, (int)pp_load_rlx(&wal->backend), &config, &wal->io);
	if (rc && pp_load_rlx(&wal->backend) != PP_WAL_PWRITE_DSYNC) {
		wal->estimate_ns[pp_load_rlx(&wal->backend)] = UINT64_MAX;
		pp_store_rlx(&wal->backend, PP_WAL_PWRITE_DSYNC);
		rc = pp_wal_io_open(wal->config.disk, PP_WAL_PWRITE_DSYNC, &config, &wal->io);
	}
	if (!rc)
		pp_store_rlx(&wal->fixed, wal->io->fixed); /* stat */
	return rc;
}

/* ---- latencies ---- */

static unsigned bucket_of(uint64_t ns)
{
	unsigned log = 63u - (unsigned)__builtin_clzll(ns | 4);
	unsigned bucket = log << SUB_BITS | (unsigned)(ns >> (log - SUB_BITS) & 3);

	return bucket < PP_WAL_LATENCY_BUCKETS ? bucket : PP_WAL_LATENCY_BUCKETS - 1;
}

static uint64_t bucket_ns(unsigned bucket)
{
	unsigned log = bucket >> SUB_BITS;

	if (log < SUB_BITS)
		return 0;
	return (UINT64_C(4) | (bucket & 3)) << (log - SUB_BITS);
}

/* Halving now and then lets the past fade. */
static void age_latencies(struct pp_wal *wal)
{
	wal->latency_count = 0;
	for (unsigned i = 0; i < PP_WAL_LATENCY_BUCKETS; i++) {
		uint32_t half = pp_load_rlx(&wal->latency[i]) / 2;

		pp_store_rlx(&wal->latency[i], half); /* stat */
		wal->latency_count += half;
	}
}

void pp_wal_backend_note(struct pp_wal *wal, uint64_t ns, uint32_t bytes)
{
	uint64_t *estimate = &wal->estimate_ns[pp_load_rlx(&wal->backend)]; /* owner */

	pp_stat_add(&wal->latency[bucket_of(ns)], 1);
	if (++wal->latency_count >= AGING)
		age_latencies(wal);
	if (bytes > SMALL_BYTES || *estimate == UINT64_MAX)
		return;
	wal->since_switch++;
	*estimate = (uint64_t)((int64_t)*estimate + ((int64_t)ns - (int64_t)*estimate) / SMOOTH);
	if (wal->config.backend == PP_WAL_AUTO)
		consider_change(wal);
}

uint64_t pp_wal_backend_latency(const struct pp_wal *wal, unsigned percent)
{
	uint64_t total = 0, seen = 0;

	for (unsigned i = 0; i < PP_WAL_LATENCY_BUCKETS; i++)
		total += pp_load_rlx(&wal->latency[i]); /* stat */
	for (unsigned i = 0; i < PP_WAL_LATENCY_BUCKETS && total; i++) {
		seen += pp_load_rlx(&wal->latency[i]); /* stat */
		if (seen * 100 >= total * percent)
			return bucket_ns(i);
	}
	return 0;
}
