/*
 * instr_client.c - a client is killed, and stopped, at every instruction of each kind of operation.
 *
 * Killed: after each instruction that changed shared memory a copy of it is judged. Other clients read and write the same keys at once, before or
 * after the daemon has noticed the death; the daemon reaps; then the operation has happened or not, once and for good, all other keys
 * are untouched, every byte is accounted for, and now and then a cold start must find the same in the log.
 * Stopped: a double of the client stands still while others work on its keys and the daemon goes on; then it continues, must say the right
 * thing, and the same is judged.
 *
 * The default run takes a sample, another each time, each operation in one of the two sync modes (PPDB_SEED repeats it); with PPDB_TEST_SCALE >= 10
 * (make crash) every instruction is tried in both.
 * PPDB_INSTR=NAME runs one scenario, PPDB_INSTR=NAME:STEP one instruction of it.
 */
#include "tests/lib/instr.h"
#include "tests/lib/proc.h"
#include "tests/lib/solo.h"

#include "engine/floor.h"
#include "engine/index.h"
#include "engine/keeper_internal.h"
#include "engine/version.h"
#include "shm/errors.h"
#include "shm/reclaim.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef INSTR_POSSIBLE

#define HOT 3
#define JUDGE_CPU_S 20         /* of a judge: who takes longer waits for the dead */
#define JUDGE_S 300            /* the machine may be busy */

static struct solo s;

/* The operation's outcome, in memory that it shares with the test but not with the store. */
struct outcome {
	_Atomic int returned;
	int rc;
	struct pp_write w;
	_Atomic int ready, over;       /* of the judge of a stop */
};
static struct outcome *outcome;

struct scenario {
	const char *name;
	void (*prepare)(void);
	struct pp_write op;
	const char *key;               /* of op */
	size_t size;                   /* of its value */
	const char *hot[HOT];          /* keys that others work on */
	int (*act)(void);              /* instead of op */
	struct solo_options options;
	bool leaves;                   /* gives its slot back at the end */
};
static const struct scenario *now;

/* A second client that stands still meanwhile, as scenarios like it. */
static struct instr bystander;
static struct pp_write bystander_op;
static uint32_t bystander_proc;
static struct pp_thread bystander_thread;

static void teardown(void)
{
	if (bystander.pid)
		instr_kill(&bystander);
	solo_end(&s);
}

TestSuite(instr_client, .fini = teardown, .timeout = 7200);

/* ---- what the stores look like before the operation -------------------------------------------------------------- */

static const char *key_of(const char *format, unsigned i)
{
	static char key[4][512];
	static unsigned next;
	char *k = key[next++ % 4];

	snprintf(k, sizeof(key[0]), format, i);
	return k;
}

static void fill(const char *format, unsigned first, unsigned count, unsigned step, size_t size)
{
	for (unsigned i = 0; i < count; i++)
		solo_put(&s, key_of(format, first + i * step), i, size);
}

static void few(void)
{
	fill("k%04u", 0, 20, 10, 40);
	solo_put(&s, "number", 0, 0);
	solo_del(&s, "number");
	solo_settle(&s);
}

/* The key was deleted, and the keeper has not come by. */
static void tombstone(void)
{
	few();
	solo_del(&s, "k0050");
}

static void number(void)
{
	struct pp_write w = {.key = solo_name("number"), .flags = PP_W_ADD, .delta = 40};

	few();
	solo_do(&s, &s.other, &w);
	solo_settle(&s);
}

/* Versions that wait for somebody to prune them: the sets are announced, the keeper has not come by. */
static void many_versions(void)
{
	few();
	for (unsigned i = 0; i < 6; i++) {
		struct pp_write w = {.key = solo_name("k0050"), .value = solo_bytes(i, 300), .size = 300};

		solo_do(&s, &s.other, &w);
		for (unsigned n = 0; n < 3; n++) {
			test_require(pp_keeper_step(s.keeper) >= 0, "step");
			s.keeper->round.started_ns = 0;
		}
	}
}

/* The same, and a snapshot holds one of them. */
static void held_versions(void)
{
	uint64_t held;

	few();
	for (unsigned i = 0; i < 3; i++)
		solo_put(&s, "k0050", 100 + i, 300);
	solo_durable(&s);
	test_require(!pp_snapshot_hold(&s.other, 0, &held), "a snapshot");
	for (unsigned i = 0; i < 5; i++) {
		solo_put(&s, "k0050", 200 + i, 300);
		solo_turns(&s, 4);
	}
}

static void full_leaf(void)
{
	fill("k%04u", 0, PP_LEAF_MAX, 10, 40);
	solo_settle(&s);
}

static void leaves(void)
{
	fill("k%04u", 0, 300, 10, 40);
	solo_settle(&s);
}

static unsigned upper_entries(void)
{
	struct pp_keybuf k;
	struct pp_place p;
	unsigned count;

	pp_keybuf_set(&k, 0, "k9999", 5);
	if (pp_load_acq(&pp_engine(&s.other)->list[0].levels) < 2)
		return 0;
	pp_read_enter(&s.other);
	pp_index_find(&s.other, 0, 1, &k.key, false, &p);
	count = p.block->count;
	pp_read_leave(&s.other);
	return count;
}

/* The next split of a leaf splits the level above as well. */
static void full_upper(void)
{
	for (unsigned i = 0; upper_entries() < PP_LEAF_MAX; i++)
		solo_put(&s, key_of("k%05u", i * 2), i, 8);
	solo_settle(&s);
}

/* A leaf that somebody has sealed and not merged. */
static void sealed_leaf(void)
{
	struct pp_leaf *right;
	struct pp_place p;
	uint64_t head;

	full_leaf();
	solo_put(&s, "k0315", 1, 40);
	for (unsigned i = 0; i < 8; i++) {
		solo_del(&s, key_of("k%04u", i * 20));
		solo_del(&s, key_of("k%04u", 400 + i * 20));
	}
	solo_settle(&s);
	pp_read_enter(&s.other);
	pp_index_first(&s.other, 0, &p);
	test_require(p.block->right, "there is one leaf only");
	right = pp_at(s.region, pp_link_ref(p.block->right));
	head = pp_load_acq(&right->head);
	test_require(pp_cas_acqrel(&right->head, &head, head | PP_LEAF_SEALED), "sealing");
	pp_read_leave(&s.other);
}

/* The keeper has declared a cell dead and not taken it out of its leaf. */
static void dead_cell(void)
{
	struct pp_thread *t = &s.keeper->house;
	struct pp_key k = solo_name("k0050");
	struct pp_keybuf b;
	struct pp_place p;
	struct pp_cell *c;
	uint64_t head;
	pp_ref block;

	few();
	solo_del(&s, "k0050");
	pp_keybuf_set(&b, 0, k.data, k.size);
	pp_read_enter(t);
	pp_index_find(t, 0, 0, &b.key, false, &p);
	test_require(p.equal, "the cell is there");
	c = pp_at(s.region, pp_block_ref(p.block, p.at));
	pp_version_prune(t, c, 1000);
	head = pp_load_acq(&c->head);
	block = pp_version_block(head);
	pp_floor_raise(t, pp_key_hash(&b.key), pp_version_seq(pp_version_at(t, head)));
	solo_durable(&s);
	head = pp_load_acq(&c->head);
	test_require(head != PP_DEAD && !pp_version_inline(pp_version_at(t, head)), "a tombstone of its own");
	pp_store_seq(&c->head, PP_DEAD);
	for (uint64_t older = pp_load_acq(&pp_version_at(t, head)->older); older && !(older & PP_CUT);) {
		struct pp_version *v = pp_version_at(t, pp_older_ref(older));

		if (!pp_version_inline(v))
			pp_retire(t, pp_version_block(pp_older_ref(older)), pp_gen_of(s.region, pp_version_block(pp_older_ref(older))));
		older = pp_load_acq(&v->older);
	}
	pp_retire(t, block, pp_gen_of(s.region, block));
	pp_read_leave(t);
	pp_store_rlx(&s.keeper->todo_overflow, 1);
}

static void long_keys(void)
{
	char format[400];

	memset(format, 'p', 300);
	strcpy(format + 300, "%04u");
	fill(format, 0, PP_LEAF_MAX, 10, 40);
	solo_settle(&s);
}

static const char *long_key(void)
{
	static char key[400];

	memset(key, 'p', 300);
	strcpy(key + 300, "0315");
	return key;
}

static void expired(void)
{
	struct pp_write w = {.key = solo_name("k0050"), .value = "old", .size = 3, .expires_ms = 1};

	few();
	test_require(!pp_write(&s.other, &w), "a value that has expired");
	w.flags = PP_W_DELETE; /* that is what it amounts to */
	solo_returned(&s, &w, 0);
	for (unsigned i = 0; i < s.keys; i++)
		s.key[i].expired = !strcmp(s.key[i].name, "k0050");
}

/* ---- a second client, stopped in its write ----------------------------------------------------------------------- */

static void bystander_main(void *arg)
{
	(void)arg;
	pp_write(&bystander_thread, &bystander_op);
}

static struct pp_version *head_of(const char *key)
{
	struct pp_key k = solo_name(key);
	struct pp_version *v = NULL;
	struct pp_keybuf b;
	struct pp_place p;

	pp_keybuf_set(&b, 0, k.data, k.size);
	pp_read_enter(&s.other);
	pp_index_find(&s.other, 0, 0, &b.key, false, &p);
	if (p.equal) {
		struct pp_cell *c = pp_at(s.region, pp_block_ref(p.block, p.at));

		v = pp_version_at(&s.other, pp_load_acq(&c->head));
	}
	pp_read_leave(&s.other);
	return v;
}

static bool pending(const char *key)
{
	struct pp_version *v = head_of(key);

	return v && pp_state_status(pp_load_acq(&v->state)) == PP_PENDING;
}

/* Stops it when its version hangs on the chain: before it published it, or after that. */
static void stand_by(bool published)
{
	uint16_t index;

	few();
	bystander_proc = solo_client(&s, "bystander", (uint32_t)getpid(), &bystander_thread);
	bystander_op = (struct pp_write){.key = solo_name("k0050"), .value = solo_bytes(77, 60), .size = 60};
	solo_turns(&s, 2); /* log space for the new slot */
	index = pp_tail_index(pp_load_acq(&bystander_thread.slot->tail));
	solo_maybe(&s, &bystander_op);
	test_require(instr_start(&bystander, bystander_main, NULL, NULL, 0), "tracing");
	while (!pending("k0050") || (published && pp_tail_index(pp_load_acq(&bystander_thread.slot->tail)) == index))
		test_require(instr_step(&bystander) != INSTR_ENDED, "the bystander came to its end");
}

static void stand_by_installed(void)
{
	stand_by(false);
}

static void stand_by_published(void)
{
	stand_by(true);
}

/* ---- operations that are more than a write ----------------------------------------------------------------------- */

static int read_some(void)
{
	struct pp_thread *t = &s.victim;
	struct pp_key keys[3] = {solo_name("k0050"), solo_name("nothing"), solo_name("k1230")};
	struct pp_hit hit[3];
	int rc[3];

	pp_read_enter(t);
	for (unsigned i = 0; i < 3; i++)
		rc[i] = pp_read(t, &keys[i], PP_LATEST, &hit[i]);
	pp_read_many(t, keys, 3, PP_LATEST, hit, rc);
	pp_read_leave(t);
	return 0;
}

/* Over the border of two leaves, there and back. */
static int iterate(void)
{
	struct pp_cursor_opts o = {.snapshot = PP_LATEST};
	struct pp_thread *t = &s.victim;
	struct pp_cursor *c;
	struct pp_hit hit;

	pp_read_enter(t);
	if (pp_cursor_open(t, &o, &c))
		return -1;
	pp_cursor_seek(c, "k0600", 5, &hit);
	for (unsigned i = 0; i < 8; i++)
		pp_cursor_next(c, &hit);
	for (unsigned i = 0; i < 10; i++)
		pp_cursor_prev(c, &hit);
	pp_cursor_close(c);
	pp_read_leave(t);
	return 0;
}

static int snapshot(void)
{
	struct pp_cursor_opts o = {.table = 0};
	struct pp_thread *t = &s.victim;
	struct pp_key k = solo_name("k0050");
	struct pp_cursor *c;
	struct pp_hit hit;

	if (pp_snapshot_hold(t, 0, &o.snapshot))
		return -1;
	pp_read_enter(t);
	pp_read(t, &k, o.snapshot, &hit);
	pp_read_leave(t);
	if (pp_cursor_open(t, &o, &c))
		return -1;
	pp_read_enter(t);
	pp_cursor_seek_le(c, "k0635", 5, &hit);
	pp_cursor_next(c, &hit);
	pp_read_leave(t);
	pp_cursor_close(c);
	pp_snapshot_drop(t);
	return 0;
}

/* A thread that begins, writes and ends. */
static int thread_life(void)
{
	struct pp_thread t;
	struct pp_write w = now->op;
	int rc = pp_slot_claim(s.region, s.victim_proc, &t);

	if (rc)
		return rc;
	rc = pp_write(&t, &w);
	outcome->w = w;
	pp_slot_leave(&t);
	return rc;
}

/* There is a free slot that the daemon has granted log space to. */
static void free_slot(void)
{
	struct pp_thread t;

	few();
	test_require(!pp_slot_claim(s.region, s.other_proc, &t), "a slot");
	solo_turns(&s, 2);
	pp_slot_leave(&t);
	solo_settle(&s);
}

static const struct scenario scenarios[] = {
	{.name = "put_new", .prepare = few, .key = "k0055", .size = 40, .hot = {"k0055", "k0050"}},
	{.name = "put_new_large", .prepare = few, .key = "k0055", .size = 5000, .hot = {"k0055", "k0060"}},
	{.name = "put_new_ttl", .prepare = few, .key = "k0055", .size = 50, .op.expires_ms = UINT64_C(1) << 45, .hot = {"k0055"}},
	{.name = "overwrite", .prepare = few, .key = "k0050", .size = 60, .hot = {"k0050", "k0051"}},
	{.name = "overwrite_run", .prepare = few, .key = "k0050", .size = 90000, .hot = {"k0050", "k0051"}},
	{.name = "overwrite_expired", .prepare = expired, .key = "k0050", .size = 60, .hot = {"k0050"}},
	{.name = "over_tombstone", .prepare = tombstone, .key = "k0050", .size = 60, .hot = {"k0050"}},
	{.name = "overwrite_prune", .prepare = many_versions, .key = "k0050", .size = 60, .hot = {"k0050"}},
	{.name = "overwrite_held", .prepare = held_versions, .key = "k0050", .size = 60, .hot = {"k0050"}},
	{.name = "split_first", .prepare = full_leaf, .key = "k0315", .size = 40, .hot = {"k0315", "k0310", "k0005"}},
	{.name = "split", .prepare = leaves, .key = "k1005", .size = 40, .hot = {"k1005", "k1010", "k0995"}},
	{.name = "split_append", .prepare = full_leaf, .key = "k0635", .size = 2000, .hot = {"k0635", "k0630", "k0640"}},
	{.name = "split_long_keys", .prepare = long_keys, .size = 40, .hot = {"k0635"}},
	{.name = "split_upper", .prepare = full_upper, .key = "k00101", .size = 8, .hot = {"k00101", "k00100"}},
	{.name = "merge_meet", .prepare = sealed_leaf, .key = "k0505", .size = 40, .hot = {"k0505", "k0010", "k0510"}},
	{.name = "over_dead", .prepare = dead_cell, .key = "k0050", .size = 40, .hot = {"k0050", "k0060"}},
	{.name = "help_installed", .prepare = stand_by_installed, .key = "k0050", .size = 50, .hot = {"k0050"}},
	{.name = "help_published", .prepare = stand_by_published, .key = "k0050", .size = 50, .hot = {"k0050"}},
	{.name = "del", .prepare = few, .key = "k0050", .op.flags = PP_W_DELETE, .hot = {"k0050"}},
	{.name = "del_missing", .prepare = few, .key = "k0055", .op.flags = PP_W_DELETE, .hot = {"k0055"}},
	{.name = "cas", .prepare = few, .key = "k0050", .size = 50, .op.flags = PP_W_CAS, .op.expect = 1, .hot = {"k0050"}},
	{.name = "cas_absent", .prepare = few, .key = "k0055", .size = 50, .op.flags = PP_W_CAS, .hot = {"k0055"}},
	{.name = "cas_conflict", .prepare = few, .key = "k0050", .size = 50, .op.flags = PP_W_CAS, .op.expect = 9, .hot = {"k0050"}},
	{.name = "if_absent", .prepare = few, .key = "k0055", .size = 50, .op.flags = PP_W_IFABSENT, .hot = {"k0055"}},
	{.name = "add", .prepare = number, .key = "number", .op.flags = PP_W_ADD, .op.delta = 2, .hot = {"number", "k0050"}},
	{.name = "add_new", .prepare = few, .key = "number", .op.flags = PP_W_ADD, .op.delta = 2, .hot = {"number"}},
	{.name = "hash_put", .prepare = leaves, .key = "k1005", .size = 40, .hot = {"k1005", "k1010"},
		.options = {.shards = 4, .strategy = PP_STRATEGY_HASH}},
	{.name = "range_split", .prepare = leaves, .key = "k1005", .size = 40, .hot = {"k1005", "k1010"},
		.options = {.shards = 4, .strategy = PP_STRATEGY_RANGE}},
	{.name = "get", .prepare = leaves, .act = read_some, .hot = {"k0050", "k1230"}},
	{.name = "iterate", .prepare = leaves, .act = iterate, .hot = {"k0620", "k0635", "k0640"}},
	{.name = "snapshot", .prepare = leaves, .act = snapshot, .hot = {"k0050", "k0635"}},
	{.name = "thread_life", .prepare = free_slot, .act = thread_life, .key = "k0055", .size = 40, .hot = {"k0055", "k0050"}},
	{.name = "leave", .prepare = few, .key = "k0055", .size = 40, .hot = {"k0055"}, .leaves = true},
};

/* ---- the victim -------------------------------------------------------------------------------------------------- */

static void victim_main(void *arg)
{
	(void)arg;
	outcome->w = now->op;
	outcome->rc = now->act ? now->act() : pp_write(&s.victim, &outcome->w);
	outcome->returned = 1;
	if (now->leaves)
		pp_slot_leave(&s.victim);
}

static int second;                    /* another file like the store's, for doubles */
static uint8_t *second_at;

static void make_second(void)
{
	second = memfd_create("instr", MFD_CLOEXEC);
	test_require(second >= 0 && !ftruncate(second, (off_t)s.region->map_bytes), "memfd: %s", strerror(errno));
	second_at = mmap(NULL, s.region->map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, second, 0);
	test_require(second_at != MAP_FAILED, "mmap: %s", strerror(errno));
}

static void drop_second(void)
{
	munmap(second_at, s.region->map_bytes);
	close(second);
}

/* ---- the judges --------------------------------------------------------------------------------------------------- */

static void others_write(const char *key, unsigned v)
{
	struct pp_write w = {.key = solo_name(key), .size = 20 + v * 37 % 200};
	bool is_number = !strncmp(key, "number", 6);

	if (v % 4 == 1)
		w = (struct pp_write){.key = w.key, .flags = PP_W_DELETE};
	else if (is_number)
		w = (struct pp_write){.key = w.key, .flags = PP_W_ADD, .delta = 5};
	else
		w.value = solo_bytes(1000 + v, w.size);
	solo_do(&s, &s.other, &w);
	solo_get(&s, &s.other, key);
}

/* Others on the same keys: reads, and in three of four cases writes too. */
static void others(unsigned v)
{
	for (unsigned i = 0; i < HOT && now->hot[i]; i++) {
		solo_get(&s, &s.other, now->hot[i]);
		if ((v + i) % 4)
			others_write(now->hot[i], v / 4 + i);
	}
	solo_scan(&s, &s.other, now->hot[0], 70, v & 1);
}

static void be_judge(void)
{
	struct rlimit limit = {JUDGE_CPU_S, JUDGE_CPU_S + 1};

	signal(SIGALRM, SIG_DFL);
	alarm(JUDGE_S);
	setrlimit(RLIMIT_CPU, &limit);
}

static void map_store(int fd, int how)
{
	void *p = mmap(s.region->base, s.region->map_bytes, PROT_READ | PROT_WRITE, how | MAP_FIXED | MAP_NORESERVE, fd, 0);

	test_require(p == s.region->base, "mapping the store again: %s", strerror(errno));
}

static void expect_op(void)
{
	if (!now->key)
		return;
	if (outcome->returned)
		solo_returned(&s, &outcome->w, outcome->rc);
	else
		solo_maybe(&s, &now->op);
}

static void end_all(void)
{
	solo_bury(&s, s.victim_proc);
	if (bystander.pid)
		solo_bury(&s, bystander_proc);
	pp_slot_leave(&s.other);
	solo_settle(&s);
	solo_judge(&s, true);
}

static void judge_kill(unsigned v, bool cold)
{
	be_judge();
	map_store(s.region->fd, MAP_PRIVATE);
	expect_op();
	if (v & 1)
		others(v >> 3);
	if (v & 2)
		solo_turns(&s, 3);
	solo_bury(&s, s.victim_proc);
	if (v & 4)
		solo_turns(&s, 2);
	others(v >> 3);
	end_all();
	if (cold) {
		solo_durable(&s);
		solo_judge_cold(&s, s.data, pp_load_acq(&s.region->globals->durable_epoch));
	}
}

static void judge_stop(unsigned v)
{
	be_judge();
	map_store(second, MAP_SHARED);
	expect_op();
	others(v >> 1);
	if (v & 1)
		solo_turns(&s, 6);
	outcome->ready = 1;
	while (!outcome->over)
		solo_turns(&s, 1);
	if (now->key && !outcome->rc && v & 2)
		solo_turns(&s, 3);
	if (now->key)
		solo_returned(&s, &outcome->w, outcome->rc);
	others(v >> 1);
	end_all();
}

/* ---- one scenario ------------------------------------------------------------------------------------------------- */

struct tally {
	uint64_t instructions, states, stops, cold;
};
static struct tally total;
static struct solo_files *files;

static void ended(const char *what, const struct instr *v, int status)
{
	test_require(!status, "%s at %s:%" PRIu64 " (%s), sync %u: %s %d (repeat: PPDB_INSTR=%s:%" PRIu64 " PPDB_SEED=%#" PRIx64 ")", what, now->name,
		v->steps, instr_place(v->at), s.options.sync, WIFSIGNALED(status) ? "the judge got signal" : "exit code",
		WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), now->name, v->steps, test_seed());
}

static pid_t start_judge(void)
{
	pid_t pid;

	fflush(NULL);
	pid = fork();
	test_require(pid >= 0, "fork: %s", strerror(errno));
	return pid;
}

static void kill_here(const struct instr *v, unsigned variant)
{
	bool cold = variant % 16 == 5;
	pid_t pid;
	int status;

	if (cold)
		solo_files_restore(files);
	pid = start_judge();
	if (!pid) {
		judge_kill(variant, cold);
		_exit(0);
	}
	test_require(waitpid(pid, &status, 0) == pid, "waitpid: %s", strerror(errno));
	ended("killed", v, status);
	total.states++;
	total.cold += cold;
}

static void stop_here(struct instr *v, unsigned variant)
{
	struct outcome saved = *outcome;
	int status, g_status;
	struct instr g;
	pid_t pid;

	memcpy(second_at, s.region->base, s.region->segments_at + pp_load_acq(&s.region->globals->committed_segments) * PP_SEGMENT_BYTES);
	instr_branch(v, &g, second);
	pid = start_judge();
	if (!pid) {
		judge_stop(variant);
		_exit(0);
	}
	while (!outcome->ready) {
		if (waitpid(pid, &status, WNOHANG) == pid) {
			instr_kill(&g);
			ended("stopped", v, status ? status : 1);
		}
		usleep(20);
	}
	instr_release(&g);
	instr_wait(&g, true, &g_status);
	outcome->over = 1;
	test_require(waitpid(pid, &status, 0) == pid, "waitpid: %s", strerror(errno));
	ended("the stopped one", v, g_status);
	ended("stopped and continued", v, status);
	*outcome = saved;
	total.stops++;
}

static bool chosen(const char *name, uint64_t *step)
{
	const char *wanted = getenv("PPDB_INSTR"), *colon = wanted ? strchr(wanted, ':') : NULL;
	size_t n = !wanted ? 0 : colon ? (size_t)(colon - wanted) : strlen(wanted);

	*step = colon ? strtoull(colon + 1, NULL, 10) : 0;
	return !wanted || (strlen(name) == n && !strncmp(name, wanted, n));
}

static void report(const char *what, uint32_t sync)
{
	fprintf(stderr, "%s, %s: %" PRIu64 " instructions so far; %" PRIu64 " killed states judged, %" PRIu64 " of them after a cold start too; %"
		PRIu64 " stops\n", what, sync ? "mutex" : "lockfree", total.instructions, total.states, total.cold, total.stops);
}

static bool everything(void)
{
	return test_scale(1) >= 10;
}

static void run(const struct scenario *c, uint32_t sync, uint64_t only)
{
	struct test_random r = test_random(test_seed(), (uint64_t)(c - scenarios) * 2 + sync);
	bool all = everything();
	uint64_t kill_every = all ? 1 : 23, stop_every = all ? 1 : 701, kill_at = test_below(&r, kill_every), stop_at = test_below(&r, stop_every);
	struct solo_options options = c->options;
	struct scenario this = *c;
	struct instr v;
	enum instr_event e;

	now = &this;
	if (!this.key && !this.act)
		this.key = long_key();
	if (this.key) {
		this.op.key = solo_name(this.key);
		this.op.size = this.size;
		this.op.value = solo_bytes(7, this.size);
		this.op.timeout_ns = 60 * UINT64_C(1000000000);
	}
	options.sync = sync;
	solo_open(&s, options);
	c->prepare();
	files = solo_files_keep(s.data);
	make_second();
	memset(outcome, 0, sizeof(*outcome));
	test_say("%s", c->name);
	if (!instr_start(&v, victim_main, NULL, s.region->base, s.region->map_bytes))
		cr_skip_test("tracing is not allowed here");
	v.ignore = (const uint8_t *)&s.victim.slot->count;
	v.ignore_bytes = all ? 0 : sizeof(struct pp_slot) - offsetof(struct pp_slot, count);
	while ((e = instr_step(&v)) != INSTR_ENDED) {
		unsigned variant = (unsigned)test_next(&r) & 0xffff;

		if (only && v.steps != only)
			continue;
		if (only || (e == INSTR_CHANGED && v.changes % kill_every == kill_at))
			kill_here(&v, variant);
		if (only || v.steps % stop_every == stop_at)
			stop_here(&v, variant);
	}
	total.instructions += v.steps;
	test_require(outcome->returned, "%s did not return", c->name);
	if (everything() || getenv("PPDB_INSTR"))
		report(c->name, sync);
	if (bystander.pid)
		instr_kill(&bystander);
	drop_second();
	solo_end(&s);
}

static void run_all(uint32_t sync)
{
	test_begin(3600);
	outcome = test_shared(sizeof(*outcome));
	for (size_t i = 0; i < sizeof(scenarios) / sizeof(*scenarios); i++) {
		uint64_t step;

		if (chosen(scenarios[i].name, &step) && (everything() || getenv("PPDB_INSTR") || (i + test_seed()) % 2 == sync))
			run(&scenarios[i], sync, step);
	}
	report("a client at each instruction", sync);
}

Test(instr_client, lockfree)
{
	run_all(PP_SYNC_LOCKFREE);
}

Test(instr_client, mutex)
{
	run_all(PP_SYNC_MUTEX);
}

#endif
