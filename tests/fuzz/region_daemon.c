/*
 * region_daemon.c (fuzz) - the daemon on a region that somebody scribbled over: adopting it, settling, reclaiming, sweeping, reaping the dead,
 * checking, writing a checkpoint. Errors and wrong data are allowed, leaving the mapping, crashing and hanging are not.
 *
 * Each input begins with the same store: its directory and arena are put back as a daemon that was killed left them, with entries that are
 * not durable yet, a dead client's slot with notes and a PENDING version, a retired block or two. First byte: bit 0 = damage before
 * the daemon opens (else while it runs), bit 1 = a client dies after the damage, bit 2 = checkpoint, bit 3 = damage in two halves. Then
 * damage (store.h).
 */
#include "tests/fuzz/store.h"

#include "engine/index_internal.h"

#include <dirent.h>

#define DAMAGE_MAX 40
#define ROUNDS 40
#define SEGMENT_BYTES (32 << 10)

static struct fuzz_store s;
static struct saved {
	char path[256];
	uint8_t *bytes;
	size_t size;
} saved[64];                         /* the files of log and checkpoint */
static unsigned saved_count;
static uint8_t *picture;             /* of the arena */
static uint32_t client;              /* record of the client that is dead or dies */

static void restore_arena(void)
{
	int fd = open(s.arena, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	uint8_t *at;

	fuzz_require(fd >= 0 && !ftruncate(fd, (off_t)s.bytes), "%s", s.arena);
	at = mmap(NULL, s.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	fuzz_require(at != MAP_FAILED, "mmap");
	for (uint64_t i = 0; i < s.bytes; i += 4096)
		if (memcmp(at + i, picture + i, 4096))
			memcpy(at + i, picture + i, 4096);
	munmap(at, s.bytes);
	close(fd);
}

static void each_file(const char *folder, void (*fn)(const char *path))
{
	char dir[128], path[256];
	struct dirent *e;
	DIR *d;

	snprintf(dir, sizeof(dir), "%s/%s", s.data, folder);
	d = opendir(dir);
	while (d && (e = readdir(d))) {
		snprintf(path, sizeof(path), "%s/%.100s", dir, e->d_name);
		if (e->d_name[0] != '.')
			fn(path);
	}
	if (d)
		closedir(d);
}

static void save_file(const char *path)
{
	struct saved *f = &saved[saved_count++];
	FILE *in = fopen(path, "rb");

	fuzz_require(saved_count <= sizeof(saved) / sizeof(*saved) && in, "%s", path);
	snprintf(f->path, sizeof(f->path), "%s", path);
	f->bytes = malloc(1 << 20);
	f->size = fread(f->bytes, 1, 1 << 20, in);
	fclose(in);
}

static void remove_file(const char *path)
{
	unlink(path);
}

static void restore(void)
{
	each_file("checkpoint", remove_file);
	each_file("wal", remove_file);
	for (unsigned i = 0; i < saved_count; i++) {
		FILE *out = fopen(saved[i].path, "wb");

		fuzz_require(out && fwrite(saved[i].bytes, 1, saved[i].size, out) == saved[i].size && !fclose(out), "%s", saved[i].path);
	}
	restore_arena();
}

/* A client in the middle of a write, and one whose write is in its ring and not on disk. */
static void leave_half_done(struct pp_thread *t)
{
	pp_ref cell, block;
	struct pp_version_block *b;

	for (unsigned i = 200; i < 230; i++)
		fuzz_require(!store_write(t, i, 0, 40, PP_NS_PER_SEC), "%s", pp_detail_get());
	cell = s.cell[s.cells / 2];
	pp_read_enter(t);
	fuzz_require(!pp_alloc(t, sizeof(*b) + 16, PP_KIND_VERSION, &block), "alloc");
	b = pp_at(s.region, block);
	memset(b, 0, sizeof(*b) + 16);
	b->cell = PP_LINK(cell, pp_gen_of(s.region, cell));
	pp_store_rlx(&b->v.older, pp_load_acq(&pp_cell_at(t, cell)->head));
	b->v.seq_flags = 99 << 16;
	b->v.size = 16;
	pp_store_rel(&t->slot->op_block, PP_LINK(block, pp_gen_of(s.region, block)));
	pp_store_rel(&t->slot->op_version, block + offsetof(struct pp_version_block, v));
	pp_note(t, block, PP_NOTE_WHAT(PP_NOTE_VERSION, pp_gen_of(s.region, block)), PP_LINK(cell, pp_gen_of(s.region, cell)));
	pp_note(t, s.block[1], PP_NOTE_WHAT(PP_NOTE_BLOCK, pp_gen_of(s.region, s.block[1])), PP_LINK(s.leaf[1], pp_gen_of(s.region, s.leaf[1])));
	pp_note(t, s.leaf[2], PP_NOTE_WHAT(PP_NOTE_LEAF, pp_gen_of(s.region, s.leaf[2])), 0);
	pp_note(t, s.cell[3], PP_NOTE_WHAT(PP_NOTE_CELL, pp_gen_of(s.region, s.cell[3])), 0);
	pp_store_rel(&pp_cell_at(t, cell)->head, block + offsetof(struct pp_version_block, v));
}

/* A checkpoint waits for that, and nobody steps meanwhile. */
static bool all_durable(struct pp_region *r)
{
	return pp_load_acq(&r->globals->durable_epoch) >= pp_load_acq(&r->globals->settled_epoch);
}

static void prepare(void)
{
	struct pp_thread t;
	struct stat st;

	client = store_make(&s, SEGMENT_BYTES, &t);
	while (!all_durable(s.region))
		store_settle(s.keeper, 1);
	fuzz_require(!pp_keeper_checkpoint(s.keeper), "checkpoint: %s", pp_detail_get());
	store_settle(s.keeper, 5);
	store_map(&s, &t);
	leave_half_done(&t);
	/* as a kill leaves it: nothing is closed */
	fuzz_require(!fstat(s.region->fd, &st), "fstat");
	s.bytes = (uint64_t)st.st_size;
	picture = malloc(s.bytes);
	fuzz_require(picture && pread(s.region->fd, picture, s.bytes, 0) == (ssize_t)s.bytes, "picture");
	each_file("wal", save_file);
	each_file("checkpoint", save_file);
}

static void problem(void *ctx, const char *text)
{
	fuzz_touch(text, strlen(text));
	++*(unsigned *)ctx;
}

static void look_around(struct pp_keeper *k)
{
	struct pp_check_report report;
	unsigned problems = 0;
	int rc;

	rc = pp_check(&k->ckpt, false, &report, problem, &problems);
	fuzz_require(rc >= 0 || fuzz_known_code(rc), "check: %d", rc);
	rc = pp_check(&k->ckpt, true, &report, problem, &problems);
	fuzz_require(rc >= 0 || fuzz_known_code(rc), "check: %d", rc);
}

static void run(struct pp_keeper *k, struct fuzz_in *in, unsigned mode)
{
	struct pp_region *r = pp_keeper_region(k);
	int rc = 0;

	if (!(mode & 1))
		for (int i = 0; i < DAMAGE_MAX && in->left > (mode & 8 ? 40 : 0); i++)
			store_damage(&s, r, in);
	if (mode & 2)
		pp_keeper_proc_gone(k, client);
	for (int i = 0; i < ROUNDS && rc >= 0; i++) {
		rc = pp_keeper_step(k);
		fuzz_require(rc >= 0 || fuzz_known_code(rc), "step: %d", rc);
		pp_keeper_house(k);
		pp_keeper_prepare(k);
		k->round.started_ns = 0; /* rounds need not wait for each other here */
		k->leaf_sweep.started_ns = 0;
		k->checked_hints_ns = 0;
		if (i == ROUNDS / 2)
			for (int n = 0; mode & 8 && n < 3 && in->left; n++)
				store_damage(&s, r, in);
	}
	look_around(k);
	if (mode & 4 && !k->log_error && all_durable(r))
		(void)!pp_keeper_checkpoint(k);
	k->log_error = k->log_error ? k->log_error : -EIO; /* the clean stop would wait for what may never come */
	pp_keeper_close(k, false);
}

static void damage_arena(struct fuzz_in *in)
{
	struct pp_region r = {.fd = open(s.arena, O_RDWR | O_CLOEXEC)};

	fuzz_require(r.fd >= 0, "%s", s.arena);
	memcpy(&r.fixed, picture, sizeof(r.fixed));
	r.base = mmap(NULL, s.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, r.fd, 0);
	fuzz_require(r.base != MAP_FAILED, "mmap");
	for (int i = 0; i < DAMAGE_MAX && in->left; i++)
		store_damage(&s, &r, in);
	munmap(r.base, s.bytes);
	close(r.fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = {data, size};
	unsigned mode = (unsigned)fuzz_take(&in, 1);
	struct pp_keeper_config c;
	struct pp_keeper *k;
	int rc;

	if (!s.keeper)
		prepare();
	restore();
	if (mode & 1)
		damage_arena(&in);
	c = store_config(&s, SEGMENT_BYTES);
	rc = pp_keeper_open(&c, &k);
	fuzz_require(fuzz_known_code(rc), "open: %d", rc);
	if (!rc)
		run(k, &in, mode);
	return 0;
}

void fuzz_seeds(fuzz_emit *emit)
{
	emit("healthy", "\6", 1);
	emit("adopted", "\7", 1);
	store_seeds(emit, 6, 1);
	store_seeds(emit, 6, 1);
}
