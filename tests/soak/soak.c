/*
 * soak.c - endurance: ten processes work on one store for PPDB_SOAK_MINUTES (make soak MINUTES=10; 25 seconds in `make test`) while
 * clients are killed and stopped, the daemon is killed, stopped and restarted warm and cold, and arena and disk become full.
 *
 * The run is made of rounds of about a minute. A round begins and ends calm, has each other phase once, in an order drawn from the seed,
 * and ends with everything deleted and everybody gone. Then it must hold:
 *   no acknowledged write was lost, chain and sequences are prefixes       (crew_judge_recovered, ledger_judge_own)
 *   memory: no key, nothing private, every byte accounted for; live bytes are those of the empty store at the beginning and at most
 *           LIVE_SLACK more, for the hash hints and the towers of the index stay as large as the most keys needed that there ever were;
 *           and they do not grow from round to round by more than ROUND_SLACK. At most LIMBO_SLACK waits to be freed: an idle client keeps
 *           the page of each size class that it wrote to last, and only it sweeps them
 *   slots, process records, the daemon's sockets, pidfds and memfds are those of the beginning; its private memory is at most HEAP_SLACK
 *           more than after the first round. The data directory holds at most DATA_FILES_MAX files: log segments of 4 MiB, as many as
 *           were ever needed at once (checkpoints lag while the arena is filled), two checkpoints, and some of its own
 *   the members hold one arena each, or one more that a view still uses
 * Latencies are reported for each phase. The run fails on gross growth only, for a machine has bad minutes: the median over the calm phases of
 * the last third against that of the first, P50_TIMES and P99_TIMES as much and above a floor. It takes four rounds to be judged.
 *
 * What it measured is in OUT/samples.tsv, its report in OUT/report.txt (OUT = $PPDB_SOAK_OUT, default soak/ in the build folder);
 * tests/soak/plot.sh draws them.
 */
#include "tests/soak/soak.h"

#include "tests/lib/mount.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define SHORT_MINUTES 0.4
#define ROUNDS_MAX 256
#define DISK_MIB 512
#define PACE_US 300
#define LIVE_SLACK (UINT64_C(1) << 20)
#define ROUND_SLACK (UINT64_C(256) << 10)
#define LIMBO_SLACK (UINT64_C(4) << 20)
#define HEAP_SLACK (UINT64_C(16) << 20)
#define DATA_FILES_MAX 100
#define P50_TIMES 5
#define P99_TIMES 10
#define JUDGED_ROUNDS 4
/* The daemon holds three slots and a record, we two slots (one is for views) and a record, the sampler a record. */
#define OWN_SLOTS 5
#define OWN_PROCESSES 3

/* Below these nothing is judged: what other processes on the machine, and the disk, can do to a median and to a p99. */
static const uint64_t p50_floor_ns[CREW_KINDS] = {5000, 200000, 10000, 20000000, 10000000};
static const uint64_t p99_floor_ns[CREW_KINDS] = {20000000, 20000000, 20000000, 2000000000, 2000000000};

static void clear(void)
{
	test_mounts_end();
	test_stores_end();
}

TestSuite(soak, .fini = clear);

static struct test_store store;
static struct soak s;
static FILE *report;
static struct soak_rest first;               /* before anything happened */
static struct soak_rest rest[ROUNDS_MAX];    /* after each round */
static struct soak_latency calm[2 * ROUNDS_MAX];
static unsigned calms;

static void __attribute__((format(printf, 1, 2))) say(const char *fmt, ...)
{
	va_list ap;

	for (int i = 0; i < 2; i++) {
		va_start(ap, fmt);
		vfprintf(i ? report : stderr, fmt, ap);
		va_end(ap);
	}
	fflush(report);
}

/* ---- what is left ----------------------------------------------------------------------------------------------- */

static bool same_files(const struct soak_files *a, const struct soak_files *b)
{
	return a->sockets == b->sockets && a->pidfds == b->pidfds && a->memfds == b->memfds && a->rings <= 1 && a->other == b->other;
}

static struct soak_rest look(void)
{
	struct soak_rest r = {.memory = crew_settled("after the round", s.db, OWN_PROCESSES, OWN_SLOTS)};

	r.files = soak_files_of(store.daemon, store.data);
	r.daemon_bytes = soak_private_bytes_of(store.daemon);
	r.disk_bytes = soak_folder_bytes(store.data, &r.disk_files);
	return r;
}

/* Waits until memory and files are those of the beginning; what is left then is judged. */
static struct soak_rest look_again(void)
{
	uint64_t begin = test_now_ns();
	struct soak_rest r = look();

	while (test_now_ns() - begin < CREW_STUCK_NS &&
	       (r.memory.keys != CREW_KEPT_KEYS || r.memory.live > first.memory.live + LIVE_SLACK || r.memory.limbo > LIMBO_SLACK ||
		!same_files(&r.files, &first.files))) {
		test_sleep_ms(50);
		r = look();
	}
	return r;
}

static void say_rest(const char *when, const struct soak_rest *r)
{
	say("%-10s %8.1f %8.1f %8.1f %5" PRIu64 "   %3u %3u %3u %3u %3u %7.1f %8.1f %4u\n", when, (double)r->memory.live / 1024,
	    (double)r->memory.limbo / 1024, (double)r->memory.committed / 1024, r->memory.keys, r->files.sockets, r->files.pidfds,
	    r->files.memfds, r->files.data, r->files.other, (double)r->daemon_bytes / (1 << 20), (double)r->disk_bytes / (1 << 20),
	    r->disk_files);
}

static void judge_rest(unsigned round)
{
	const struct soak_rest *r = &rest[round], *one = &rest[0];

	test_require(r->memory.keys == CREW_KEPT_KEYS, "%" PRIu64 " keys are left of %d", r->memory.keys, CREW_KEPT_KEYS);
	test_require(r->memory.live <= first.memory.live + LIVE_SLACK, "%" PRIu64 " bytes live after round %u, %" PRIu64 " at the beginning",
		r->memory.live, round + 1, first.memory.live);
	test_require(r->memory.live <= one->memory.live + ROUND_SLACK, "%" PRIu64 " bytes live after round %u, %" PRIu64 " after the first",
		r->memory.live, round + 1, one->memory.live);
	test_require(r->memory.limbo <= LIMBO_SLACK, "%" PRIu64 " bytes wait to be freed after round %u", r->memory.limbo, round + 1);
	test_require(same_files(&r->files, &first.files), "after round %u the daemon has %u sockets, %u pidfds, %u memfds, %u others, %u rings; at the "
		"beginning %u, %u, %u, %u", round + 1, r->files.sockets, r->files.pidfds, r->files.memfds, r->files.other, r->files.rings,
		first.files.sockets, first.files.pidfds, first.files.memfds, first.files.other);
	test_require(r->files.data <= DATA_FILES_MAX && r->disk_files <= DATA_FILES_MAX, "after round %u there are %u files in the data "
		"directory, and the daemon has %u of them open", round + 1, r->disk_files, r->files.data);
	test_require(r->daemon_bytes <= one->daemon_bytes + HEAP_SLACK, "after round %u the daemon uses %" PRIu64 " bytes of its own, after "
		"the first %" PRIu64, round + 1, r->daemon_bytes, one->daemon_bytes);
}

/* What a member has open; the rest it inherited from the test. */
struct belongings {
	pid_t pid;
	unsigned maps;
	struct soak_files files;
};

static struct belongings belongings_of(unsigned index)
{
	pid_t pid = s.crew->member[index].pid;

	return (struct belongings){pid, soak_arena_maps_of(pid, store.arena), soak_files_of(pid, store.data)};
}

/* A client maps each new arena beside the old one, which must go when nobody reads it any more. */
static void judge_members(const struct belongings *before)
{
	for (unsigned i = 0; i < SOAK_CREW; i++) {
		struct belongings now = belongings_of(i);

		if (now.pid != before[i].pid) /* another one has its place */
			continue;
		test_require(now.maps <= before[i].maps + 1, "member %u has %u arenas mapped, not %u", i, now.maps, before[i].maps);
		if (s.crew->member[i].job == CREW_FEED && now.files.sockets <= before[i].files.sockets + 2 && now.files.data <= 2)
			continue; /* it opens its feed anew now and then */
		test_require(same_files(&now.files, &before[i].files), "member %u has %u sockets, %u memfds, %u other files open; it had %u, %u, %u",
			i, now.files.sockets, now.files.memfds, now.files.other, before[i].files.sockets, before[i].files.memfds,
			before[i].files.other);
	}
}

/* ---- latencies -------------------------------------------------------------------------------------------------- */

static void say_latency(const char *phase, double seconds, const struct soak_latency *l)
{
	say("  %-10s %5.1f s ", phase, seconds);
	for (unsigned k = 0; k < CREW_KINDS; k++)
		if (l->count[k])
			say(" | %7.0f/s %7.1f %8.1f", (double)l->count[k] / seconds, (double)l->p50_ns[k] / 1e3, (double)l->p99_ns[k] / 1e3);
		else
			say(" | %27s", "-");
	say("\n");
}

static int by_size(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Median over calm phases [from, to). */
static uint64_t median(unsigned from, unsigned to, unsigned kind, bool p99)
{
	uint64_t v[2 * ROUNDS_MAX];
	unsigned n = 0;

	for (unsigned i = from; i < to; i++)
		if (calm[i].count[kind])
			v[n++] = p99 ? calm[i].p99_ns[kind] : calm[i].p50_ns[kind];
	qsort(v, n, sizeof(v[0]), by_size);
	return n ? v[n / 2] : 0;
}

static void judge_latency(bool judge)
{
	unsigned third = calms / 3 ? calms / 3 : 1;

	say("\ncalm phases, first third and last third: median of p50 and p99 in us%s\n", judge ? "" : " (too short a run to be judged)");
	for (unsigned k = 0; k < CREW_KINDS; k++) {
		uint64_t p50[2], p99[2];

		for (unsigned i = 0; i < 2; i++) {
			p50[i] = median(i ? calms - third : 0, i ? calms : third, k, false);
			p99[i] = median(i ? calms - third : 0, i ? calms : third, k, true);
		}
		say("  %-9s p50 %9.1f -> %9.1f   p99 %9.1f -> %9.1f\n", soak_kind_names[k], (double)p50[0] / 1e3, (double)p50[1] / 1e3,
		    (double)p99[0] / 1e3, (double)p99[1] / 1e3);
		test_require(!judge || p50[1] < P50_TIMES * p50[0] || p50[1] < p50_floor_ns[k], "the median %s has become %d times as slow",
			soak_kind_names[k], P50_TIMES);
		test_require(!judge || p99[1] < P99_TIMES * p99[0] || p99[1] < p99_floor_ns[k], "the p99 of a %s has become %d times as slow",
			soak_kind_names[k], P99_TIMES);
	}
}

/* ---- the run ---------------------------------------------------------------------------------------------------- */

static void run_phase(enum soak_phase phase, uint64_t ns)
{
	struct pp_hist since[CREW_KINDS] = {{.total = 0}};
	uint64_t began = test_now_ns();
	struct soak_latency l;

	soak_latency(s.crew, since);
	soak_run(&s, phase, began + ns);
	l = soak_latency(s.crew, since);
	say_latency(soak_phase_names[phase], (double)(test_now_ns() - began) / 1e9, &l);
	if (phase == SOAK_CALM)
		calm[calms++] = l;
}

static void one_round(unsigned round, uint64_t ns)
{
	enum soak_phase order[] = {SOAK_KILLS, SOAK_STOPS, SOAK_RESTARTS, SOAK_COLD, SOAK_ARENA, SOAK_DISK};
	unsigned count = s.disk[0] ? 6 : 5;
	uint64_t checkpoint = test_store_number(&store, "stat", "checkpoint_epoch");
	struct belongings before[SOAK_CREW];
	char name[32];

	for (unsigned i = count; i > 1; i--) {
		unsigned k = (unsigned)test_below(&s.r, i);
		enum soak_phase t = order[i - 1];

		order[i - 1] = order[k];
		order[k] = t;
	}
	say("round %u\n", round + 1);
	soak_hire(&s);
	for (unsigned i = 0; i < SOAK_CREW; i++)
		before[i] = belongings_of(i);
	run_phase(SOAK_CALM, ns / (count + 2));
	for (unsigned i = 0; i < count; i++)
		run_phase(order[i], ns / (count + 2));
	run_phase(SOAK_CALM, ns / (count + 2));
	judge_members(before);
	test_require(test_store_number(&store, "stat", "checkpoint_epoch") > checkpoint, "no checkpoint in round %u", round + 1);
	soak_dismiss(&s);
	rest[round] = look_again();
	snprintf(name, sizeof(name), "round %u", round + 1);
	say_rest(name, &rest[round]);
	test_store_check(&store, true);
	judge_rest(round);
}

static double mean(enum crew_restart how)
{
	const struct soak_events *e = &s.events;

	return e->restarts[how] ? (double)e->restart_ns[how] / e->restarts[how] / 1e9 : 0;
}

static double longest(enum crew_restart how)
{
	return (double)s.events.longest_ns[how] / 1e9;
}

static void say_summary(unsigned rounds)
{
	const struct soak_events *e = &s.events;

	say("\n%u clients killed, %u stopped; arena full %u times, disk full %u times; daemon stopped %u times,\n"
	    "killed and adopted %u times (mean %.2f s until judged, longest %.2f), ended cleanly %u times (%.2f, %.2f), killed and started "
	    "cold %u times (%.2f, %.2f)\n", e->kills, e->stops, e->arena_full, e->disk_full, e->daemon_stops,
	    e->restarts[CREW_WARM], mean(CREW_WARM), longest(CREW_WARM), e->restarts[CREW_CLEAN], mean(CREW_CLEAN), longest(CREW_CLEAN),
	    e->restarts[CREW_COLD], mean(CREW_COLD), longest(CREW_COLD));
	say("%u backups taken, started and judged; the follower was told of %" PRIu64 " changes, each once, and lost its position to a full disk in %" PRIu64
	    " rounds\n\n", e->backups, e->followed, e->lost);
	say("left over   live KiB limbo KiB    committed keys   socket pidfd memfd data other, daemon MiB, disk MiB, files\n");
	say_rest("beginning", &first);
	for (unsigned i = 0; i < rounds; i++) {
		char name[32];

		snprintf(name, sizeof(name), "round %u", i + 1);
		say_rest(name, &rest[i]);
	}
}

static void open_report(double minutes, unsigned rounds)
{
	const char *out = getenv("PPDB_SOAK_OUT"), *build = getenv("PPDB_BUILD");
	char path[300];

	snprintf(s.out, sizeof(s.out), "%s%s", out ? out : build ? build : PPDB_BUILD_DIR, out ? "" : "/soak");
	test_require(!mkdir(s.out, 0777) || errno == EEXIST, "%s: %s", s.out, strerror(errno));
	snprintf(path, sizeof(path), "%s/report.txt", s.out);
	report = fopen(path, "w");
	test_require(report, "%s: %s", path, strerror(errno));
	say("soak: %.1f minutes in %u rounds, PPDB_SEED=%#llx, %u clients, %u us between operations\n", minutes, rounds,
	    (unsigned long long)test_seed(), SOAK_CREW, PACE_US);
	say("columns of a phase: ");
	for (unsigned k = 0; k < CREW_KINDS; k++)
		say("%s%s/s, p50 us, p99 us", k ? " | " : "", soak_kind_names[k]);
	say("\n");
}

/* A disk that can be made full needs root; without one there is no such phase. */
static void open_store(void)
{
	test_store_prepare(&store, "--memory 128M --shards 4 --wal-segment 4M --checkpoint-bytes 16M");
	snprintf(s.disk, sizeof(s.disk), "%s/disk", store.dir);
	if (test_mount_ext4(s.disk, DISK_MIB))
		snprintf(store.data, sizeof(store.data), "%.90s/data", s.disk);
	else
		s.disk[0] = '\0';
	test_require(!test_store_try(&store), "ppdbd did not start");
	s.store = &store;
	s.board = test_shared(sizeof(*s.board));
	s.crew = crew_new(&store);
	s.crew->tolerant = true;
	s.crew->scarce = true;
	s.crew->pace_us = PACE_US;
	s.ledger = ledger_new();
	s.r = test_random(test_seed(), 1);
	s.db = test_store_attach(&store, 0);
	atomic_store(&s.board->daemon, store.daemon);
}

Test(soak, mixed)
{
	const char *given = getenv("PPDB_SOAK_MINUTES");
	double minutes = given && atof(given) > 0 ? atof(given) : SHORT_MINUTES;
	unsigned rounds = minutes < 1 ? 1 : minutes < ROUNDS_MAX ? (unsigned)minutes : ROUNDS_MAX;
	uint64_t round_ns = (uint64_t)(minutes * 60e9 / rounds);

	test_begin((unsigned)(minutes * 60 * 3) + 300);
	open_report(minutes, rounds);
	open_store();
	test_ok(ppdb_put(s.db, 0, PPDB_S("k"), PPDB_S("v"), NULL, NULL));
	test_ok(ppdb_del(s.db, 0, PPDB_S("k"), NULL, NULL));
	s.sampler = test_spawn(soak_sample, &s);
	crew_prime(s.db);
	test_sleep_ms(1000); /* it is attached, the first segments are ready */
	first = look();
	for (unsigned i = 0; i < rounds; i++)
		one_round(i, round_ns);
	atomic_store(&s.board->quit, 1);
	test_join(s.sampler);
	say_summary(rounds);
	test_require(rounds < JUDGED_ROUNDS || !s.disk[0] || s.events.disk_full, "the disk was never full");
	judge_latency(rounds >= JUDGED_ROUNDS);
	test_ok(ppdb_detach(s.db));
	test_store_stop(&store);
	say("\nno acknowledged write lost, nothing leaked\n");
	fclose(report);
}
