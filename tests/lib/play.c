/*
 * play.c - scenes, and one seed in a forked child (see play.h).
 */
#include "tests/lib/play_internal.h"

#include "engine/wal_writer.h"
#include "shm/clock.h"
#include "shm/fault.h"
#include "shm/live.h"
#include "shm/reclaim.h"
#include "shm/slot.h"
#include "shm/wait.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define LIMIT 3000000              /* accesses of one seed */
#define CPU_SECONDS 20                 /* of one seed: it takes milliseconds */

struct scene {
	uint32_t strategy, shards, sync, ring;
	unsigned fill, keep;           /* keys put; and how many of them stay after deletes */
	unsigned share;                /* of seeds, in percent */
	struct pp_keeper *keeper;
	char dir[64];
};

static struct scene scenes[] = {
	{.strategy = PP_STRATEGY_SINGLE, .shards = 1, .ring = 256, .fill = 64, .keep = 64, .share = 30}, /* the next key splits the leaf */
	{.strategy = PP_STRATEGY_SINGLE, .shards = 1, .ring = 256, .fill = 66, .keep = 41, .share = 30}, /* the next removal merges two leaves */
	{.strategy = PP_STRATEGY_SINGLE, .shards = 1, .ring = 4, .fill = 3, .keep = 2, .share = 15},
	{.strategy = PP_STRATEGY_HASH, .shards = 2, .ring = 16, .fill = 6, .keep = 6, .share = 10},
	{.strategy = PP_STRATEGY_SINGLE, .shards = 1, .sync = 1, .ring = 256, .fill = 4, .keep = 3, .share = 15},
};
#define SCENES (sizeof(scenes) / sizeof(scenes[0]))

static char root[48];              /* directory of all scenes */
static struct sched_report *report;

/* ---- scenes ------------------------------------------------------------------------------------------------------ */

static void name_key(char *to, unsigned number)
{
	snprintf(to, 8, "k%03u", number % 1000);
}

static void write_key(struct pp_thread *t, unsigned i, bool delete)
{
	char key[8], value[16];
	struct pp_write w = {.timeout_ns = PP_NS_PER_SEC, .flags = delete ? PP_W_DELETE : 0};
	int rc;

	name_key(key, 2 * i);
	w.key = (struct pp_key){0, (uint32_t)strlen(key), key};
	if (!delete) {
		w.size = (uint64_t)snprintf(value, sizeof(value), "%u", PLAY_FIRST + i);
		w.value = value;
	}
	rc = pp_write(t, &w);
	cr_assert_eq(rc, 0, "%s: %s %s", key, pp_error_name(rc), pp_detail_get());
}

/* Key i has the name of 2 i, so that new ones fit between. Those to go are taken from both ends of the range. */
static void fill(struct scene *s)
{
	struct pp_thread t;
	uint32_t proc;

	cr_assert_eq(pp_keeper_proc_add(s->keeper, (uint32_t)getpid(), 0, pp_self_start(), 0, "scene", &proc), 0);
	cr_assert_eq(pp_slot_claim(pp_keeper_region(s->keeper), proc, &t), 0);
	play_rest(s->keeper); /* log credit for the slot */
	for (unsigned i = 0; i < s->fill; i++) {
		write_key(&t, i, false);
		if (i % 16 == 0 || s->ring < 16)
			play_rest(s->keeper);
	}
	play_rest(s->keeper);
	for (unsigned i = 0; i < s->fill - s->keep; i++) {
		write_key(&t, i % 2 ? s->fill - 1 - i / 2 : i / 2, true);
		play_rest(s->keeper);
	}
	pp_slot_leave(&t);
	pp_keeper_proc_gone(s->keeper, proc);
	play_rest(s->keeper);
}

/* Gives back whole pages of zeros, which read as zeros all the same: a fork has less to do. */
static void shed(void *memory, size_t bytes)
{
	static const uint8_t zeros[4096];
	uint8_t *first = (uint8_t *)(((uintptr_t)memory + 4095) & ~(uintptr_t)4095), *end = (uint8_t *)memory + bytes;

	for (uint8_t *page = first; page + 4096 <= end; page += 4096)
		if (!memcmp(page, zeros, 4096))
			madvise(page, 4096, MADV_DONTNEED);
}

static int open_store(const struct scene *s, bool cold, struct pp_keeper **out)
{
	char arena[96];
	struct pp_keeper_config c = {.data_dir = s->dir, .store_id = 9, .wal_backend = "pwrite", .wal_segment_bytes = 1 << 20,
		.region = {.path = arena, .name = "play", .memory_bytes = 64 << 20, .slots = 16, .daemon_slots = 6, .procs = 16,
			.ring_entries = s->ring, .stripes = 4, .sync_mode = s->sync, .shards = s->shards, .strategy = s->strategy,
			.pages = PP_MEM_4K, .spin_ns = 0, .backoff_max = 1}};

	snprintf(arena, sizeof(arena), "%s/arena", s->dir);
	if (cold)
		unlink(arena);
	return pp_keeper_open(&c, out);
}

static void open_scene(struct scene *s)
{
	struct pp_wal *wal;
	int rc;

	snprintf(s->dir, sizeof(s->dir), "%s/XXXXXX", root);
	cr_assert(mkdtemp(s->dir));
	rc = open_store(s, true, &s->keeper);
	cr_assert_eq(rc, 0, "open: %s %s", pp_error_name(rc), pp_detail_get());
	while (pp_keeper_prepare(s->keeper) > 0)
		;
	wal = s->keeper->wal; /* the log keeps its buffers from forked children */
	madvise(wal->buffers, (size_t)wal->slot_count * wal->config.batch_bytes, MADV_DOFORK);
	shed(wal->buffers, (size_t)wal->slot_count * wal->config.batch_bytes);
	shed(s->keeper->todo, sizeof(*s->keeper->todo));
	fill(s);
}

void play_begin(void)
{
	report = mmap(NULL, sizeof(*report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	cr_assert_neq(report, MAP_FAILED);
	sched_report_to(report);
	snprintf(root, sizeof(root), "%s/ppdb-play-XXXXXX", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
	cr_assert(mkdtemp(root));
	sched_clock();
	for (size_t i = 0; i < SCENES; i++)
		open_scene(&scenes[i]);
}

static void remove_folder(const char *folder)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf '%s'", folder);
	if (folder[0] && system(command))
		perror(command);
}

void play_end(void)
{
	remove_folder(root);
	root[0] = '\0';
}

/* ---- the daemons ------------------------------------------------------------------------------------------------- */

#define DAEMONS 3                  /* one after the other */

struct daemon {
	struct play *play;
	unsigned number;
	int step, house;
};

static struct scene *stage;        /* where the store is */

static bool on_stage(struct play *p)
{
	return sched_running(p->client[0].thread, p->client[0].thread + (int)p->clients) != 0;
}

/* As the daemon's socket does when a pidfd becomes readable. */
static void announce(struct play *p)
{
	for (unsigned i = 0; i < p->clients; i++) {
		struct play_client *c = &p->client[i];

		if (!sched_stopped(c->thread) || c->announced)
			continue;
		c->announced = true;
		pp_keeper_proc_gone(p->keeper, c->proc);
	}
}

void play_reopen(struct play *p, bool cold)
{
	struct pp_keeper *k;
	int rc = open_store(stage, cold, &k);

	if (rc)
		sched_fail("opening the store %s: %s, %s", cold ? "cold" : "again", pp_error_name(rc), pp_detail_get());
	if (pp_keeper_was_warm(k) == cold)
		sched_fail("the arena was %s", cold ? "adopted although it was gone" : "not adopted");
	p->keeper = k;
	for (unsigned i = 0; i < p->clients && !cold; i++) { /* those that nobody hears any more; a record that was freed before may be the daemon's own by now */
		struct play_client *c = &p->client[i];

		if (c->announced && pp_load_acq(&pp_keeper_region(k)->procs[c->proc].state) == c->life)
			pp_keeper_proc_gone(k, c->proc);
	}
}

/* False: the play is over. */
static bool await_turn(struct daemon *d, struct daemon *before)
{
	while (d->number && !sched_stopped(before->step)) {
		if (!on_stage(d->play))
			return false;
		sched_pass(0);
	}
	return true;
}

static void step_main(void *arg)
{
	struct daemon *d = arg;
	struct play *p = d->play;

	if (!await_turn(d, d - 1))
		return;
	if (d->number) {
		play_reopen(p, false);
		p->daemons = d->number + 1; /* the one before may have died while it opened */
	}
	while (on_stage(p)) {
		int rc = pp_keeper_step(p->keeper);

		if (rc < 0)
			sched_fail("a step gave %s: %s", pp_error_name(rc), pp_detail_get());
		if (rc)
			sched_pass(0);
		else
			pp_keeper_sleep(p->keeper, PP_NS_PER_MS);
	}
}

static void house_main(void *arg)
{
	struct daemon *d = arg;
	struct play *p = d->play;

	while (p->daemons <= d->number && on_stage(p))
		sched_pass(0); /* no time passes, or opening the store in small steps would take seconds of it */
	while (on_stage(p)) {
		if (p->at_once)
			announce(p);
		pp_keeper_house(p->keeper);
		if (p->restarts) /* a new daemon has to make segments before it can give credit */
			pp_keeper_prepare(p->keeper);
		sched_pass(PP_NS_PER_MS);
	}
}

static void add_daemon(struct daemon *d, struct test_random *r, bool dies)
{
	static const char *const steps[] = {"step", "step of daemon 2", "step of daemon 3"};
	static const char *const houses[] = {"house", "house of daemon 2", "house of daemon 3"};

	d->step = sched_add(steps[d->number], step_main, d);
	d->house = sched_add(houses[d->number], house_main, d);
	sched_sparse(d->house);
	sched_bind(d->step, d->house);
	if (dies)
		sched_lethal(test_chance(r, 70) ? d->step : d->house, 1 + test_below(r, 4000));
}

/* ---- one seed ---------------------------------------------------------------------------------------------------- */

static struct scene *choose_scene(struct test_random *r)
{
	unsigned dice = (unsigned)test_below(r, 100), i = 0;

	while (dice >= scenes[i].share)
		dice -= scenes[i++].share;
	return &scenes[i];
}

static int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* Old keys and new ones; what the old ones hold is the beginning of the history. */
static void choose_keys(struct play *p, const struct scene *s, struct test_random *r)
{
	unsigned gone = s->fill - s->keep, first = (gone + 1) / 2, last = s->fill - gone / 2;

	p->keys = test_chance(r, 50) ? 1 : 2 + (unsigned)test_below(r, PLAY_KEYS - 1);
	for (unsigned k = 0; k < p->keys;) {
		unsigned number = 2 * first + (unsigned)test_below(r, 2 * (last - first)), same = 0;

		name_key(p->key[k], number);
		while (strcmp(p->key[same], p->key[k]))
			same++;
		k += same == k;
	}
	qsort(p->key, p->keys, sizeof(p->key[0]), by_name);
	for (unsigned k = 0; k < p->keys; k++) {
		unsigned number = (unsigned)atoi(p->key[k] + 1);
		struct play_note *n;

		if (number % 2)
			continue;
		n = play_note(p, PLAY_CLIENTS, LINEAR_PUT, k);
		n->op.value = PLAY_FIRST + number / 2;
		n->op.version = 1;
		n->op.ok = n->op.done = true;
		n->op.end = sched_moment();
	}
}

/* From here on the child writes to memory of its own. */
static void part(struct pp_region *r)
{
	void *at = mmap(r->base, r->map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, r->fd, 0);

	if (at != r->base)
		sched_fail("no private copy of the region");
}

static void cast(struct play *p, uint64_t seed, struct test_random *r)
{
	static const char *const names[] = {"client 0", "client 1", "client 2", "client 3"};

	p->clients = 2 + (unsigned)test_below(r, 3);
	p->at_once = test_chance(r, 60);
	p->tables = test_chance(r, 20);
	for (unsigned i = 0; i < p->clients; i++) {
		struct play_client *c = &p->client[i];

		c->play = p;
		c->number = i;
		c->ops = 3 + (unsigned)test_below(r, 8);
		c->r = test_random(seed, 10 + i);
		if (pp_keeper_proc_add(p->keeper, (uint32_t)getppid(), 0, 0, 0, names[i], &c->proc))
			sched_fail("no process record: %s", pp_detail_get());
		c->life = pp_load_acq(&pp_keeper_region(p->keeper)->procs[c->proc].state);
		c->thread = sched_add(names[i], play_client, c);
		if (test_chance(r, 25))
			sched_lethal(c->thread, 1 + test_below(r, (uint64_t)c->ops * 120));
	}
}

static void perform(uint64_t seed, bool restarts)
{
	static struct play p;
	static struct daemon daemon[DAEMONS];
	struct test_random r = test_random(seed, 1);
	struct pp_wal_stats before;
	unsigned daemons = restarts ? DAEMONS : 1;

	stage = choose_scene(&r);
	if (restarts)
		open_scene(stage);
	else
		part(pp_keeper_region(stage->keeper));
	sched_seed(seed, LIMIT);
	p.keeper = stage->keeper;
	p.daemons = 1;
	p.restarts = restarts;
	pp_wal_stat(p.keeper->wal, &before);
	p.records = before.records;
	choose_keys(&p, stage, &r);
	cast(&p, seed, &r);
	for (unsigned i = 0; i < daemons; i++) {
		daemon[i] = (struct daemon){.play = &p, .number = i};
		add_daemon(&daemon[i], &r, restarts && (i == 0 || (i == 1 && test_chance(&r, 40))));
	}
	sched_run();
	if (restarts && sched_stopped(daemon[p.daemons - 1].step))
		play_reopen(&p, false);
	announce(&p);
	play_judge(&p);
	if (restarts)
		remove_folder(stage->dir);
}

static void crashed(int sig)
{
	sched_fail(sig == SIGVTALRM ? "no end, and no access to shared memory (signal %d)" : "signal %d", sig);
}

static void child(uint64_t seed, const char *mutant, bool restarts)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	alarm(0);
	signal(SIGVTALRM, crashed);
	setitimer(ITIMER_VIRTUAL, &(struct itimerval){.it_value.tv_sec = CPU_SECONDS}, NULL);
	signal(SIGSEGV, crashed);
	signal(SIGBUS, crashed);
	signal(SIGABRT, crashed);
	pp_fault_mutant = mutant;
	perform(seed, restarts);
	_exit(0);
}

static const struct sched_report *play_in_child(uint64_t seed, const char *mutant, bool restarts)
{
	pid_t pid;
	int status;

	sched_report_to(report);
	fflush(NULL);
	pid = fork();
	cr_assert_geq(pid, 0, "fork");
	if (!pid)
		child(seed, mutant, restarts);
	while (waitpid(pid, &status, 0) < 0)
		cr_assert_eq(errno, EINTR);
	if (status && !report->failed) {
		report->failed = true;
		snprintf(report->text, sizeof(report->text), "the child ended with status %#x", (unsigned)status);
	}
	return report;
}

const struct sched_report *play(uint64_t seed, const char *mutant)
{
	return play_in_child(seed, mutant, false);
}

const struct sched_report *play_restarts(uint64_t seed)
{
	return play_in_child(seed, NULL, true);
}
