/*
 * region_client.c (fuzz) - a client on a region that somebody scribbled over: reads, iterates and writes must give errors or wrong
 * answers, and never leave the mapping, crash or hang.
 *
 * Each input works on a private copy of the same arena (a private mapping of its file, so that only what is touched is copied). First byte:
 * bit 0 = a read-only client, bits 1-2 = what it does besides reading, then damage (store.h).
 */
#include "tests/fuzz/store.h"

#include "engine/read.h"
#include "shm/clock.h"

#define DAMAGE_MAX 40
#define STEPS_MAX 3000
#define TIMEOUT_NS UINT64_C(100000)

#define BUDGET_NS (PP_NS_PER_SEC / 2) /* searches that damage sends round in circles take a while to give up */

static struct fuzz_store s;
static uint64_t until_ns;
static struct pp_slot own[2]; /* a read-only client's */

static void prepare(void)
{
	struct pp_thread t;
	struct stat st;

	store_make(&s, 256 << 10, &t);
	store_map(&s, &t);
	fuzz_require(!fstat(s.region->fd, &st), "fstat");
	s.bytes = (uint64_t)st.st_size;
}

/* The arena as a client would see it, in memory of its own. */
static void copy_region(struct pp_region *r, bool readonly)
{
	*r = *s.region;
	r->base = mmap(NULL, r->map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, s.region->fd, 0);
	fuzz_require(r->base != MAP_FAILED, "mmap");
	r->readonly = readonly;
	r->header = (struct pp_header *)r->base;
	r->globals = (struct pp_globals *)(r->base + r->fixed.off_globals);
	r->sets = (struct pp_sets *)(r->base + r->fixed.off_sets);
	r->engine = r->base + r->fixed.off_engine;
	r->procs = (struct pp_proc *)(r->base + r->fixed.off_procs);
	r->slots = (struct pp_slot *)(r->base + r->fixed.off_slots);
	r->rings = (struct pp_ring_entry *)(r->base + r->fixed.off_rings);
	r->stripes = (struct pp_stripe *)(r->base + r->fixed.off_stripes);
	r->partial = (pp_a32 *)(r->base + r->fixed.off_partial);
	r->pages = (struct pp_page *)(r->base + r->fixed.off_pages);
}

static void look_at(const struct pp_hit *hit)
{
	fuzz_touch(hit->key, hit->key_size);
	fuzz_touch(hit->value, hit->size);
}

static void read_some(struct pp_thread *t, uint64_t snapshot)
{
	struct pp_key keys[20];
	struct pp_hit hits[20];
	char text[20][200];
	int rcs[20];

	for (unsigned round = 0; round < 6 && pp_now_ns() < until_ns; round++) {
		for (unsigned i = 0; i < 20; i++)
			keys[i] = (struct pp_key){0, store_key(round * 61 + i * 7, text[i]), text[i]};
		pp_read_enter(t);
		if (round % 2)
			pp_read_many(t, keys, 20, snapshot, hits, rcs);
		for (unsigned i = 0; i < 20 && pp_now_ns() < until_ns; i++) {
			if (round % 2 == 0)
				rcs[i] = pp_read(t, &keys[i], snapshot, &hits[i]);
			fuzz_require(fuzz_known_code(rcs[i]), "code %d", rcs[i]);
			if (!rcs[i])
				look_at(&hits[i]);
		}
		pp_read_leave(t);
	}
}

static void iterate(struct pp_thread *t, uint64_t snapshot, bool forward)
{
	struct pp_cursor_opts o = {.table = 0, .snapshot = snapshot};
	struct pp_cursor *c;
	struct pp_hit hit;
	int rc;

	pp_read_enter(t);
	rc = pp_cursor_open(t, &o, &c);
	fuzz_require(!rc, "open: %d", rc);
	rc = forward ? pp_cursor_first(c, &hit) : pp_cursor_seek_le(c, "key 03", 6, &hit);
	for (unsigned n = 0; !rc && n < STEPS_MAX && pp_now_ns() < until_ns; n++) {
		look_at(&hit);
		rc = n % 97 == 96 ? pp_cursor_seek(c, "key 02", 6, &hit) : forward ? pp_cursor_next(c, &hit) : pp_cursor_prev(c, &hit);
	}
	fuzz_require(fuzz_known_code(rc), "code %d", rc);
	pp_cursor_close(c);
	pp_read_leave(t);
}

static void write_some(struct pp_thread *t)
{
	static const uint32_t flags[] = {0, PP_W_DELETE, PP_W_CAS, PP_W_ADD, PP_W_IFABSENT};

	for (unsigned i = 0; i < 60 && pp_now_ns() < until_ns; i++) {
		int rc = store_write(t, i * 13, flags[i % 5], flags[i % 5] & PP_W_DELETE ? 0 : i % 30 == 7 ? 40000 : i * 3, TIMEOUT_NS);

		fuzz_require(fuzz_known_code(rc), "code %d", rc);
	}
}

static int claim(struct pp_region *r, bool readonly, struct pp_thread *t)
{
	if (!readonly)
		return pp_slot_claim(r, 2, t);
	memset(own, 0, sizeof(own));
	pp_store_rlx(&own[0].low, PP_IDLE);
	return pp_slot_claim_readonly(r, own, 2, t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = {data, size};
	unsigned mode = (unsigned)fuzz_take(&in, 1);
	struct pp_region r;
	struct pp_thread t;
	uint64_t snapshot;

	if (!s.keeper)
		prepare();
	copy_region(&r, mode & 1);
	until_ns = pp_deadline_ns(BUDGET_NS);
	if (mode & 8) /* a client that was there before */
		fuzz_require(!claim(&r, mode & 1, &t), "slot");
	for (int i = 0; i < DAMAGE_MAX && in.left; i++)
		store_damage(&s, &r, &in);
	if (mode & 8 || !claim(&r, mode & 1, &t)) {
		read_some(&t, PP_LATEST);
		iterate(&t, PP_LATEST, mode & 2);
		if (!pp_snapshot_hold(&t, 0, &snapshot)) {
			iterate(&t, snapshot, mode & 4);
			read_some(&t, snapshot);
			pp_snapshot_drop(&t);
		}
		if (!(mode & 1))
			write_some(&t);
		read_some(&t, PP_LATEST);
		pp_slot_leave(&t);
	}
	munmap(r.base, r.map_bytes);
	return 0;
}

void fuzz_seeds(fuzz_emit *emit)
{
	emit("healthy", "\6", 1);
	emit("healthy-reader", "\3", 1);
	store_seeds(emit, 6, 1);
}
