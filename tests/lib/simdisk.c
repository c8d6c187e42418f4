/*
 * simdisk.c - the calls of a simulated disk, and what is left of it after a power cut (contract: simdisk.h).
 *
 * A call that changes something counts first, notes its effect as pending, and only then learns whether the power failed in
 * it: what a cut keeps of the pending effects is decided when the power comes back. One thread.
 */
#include "tests/lib/simdisk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/simdisk_state.h"

uint64_t simdisk_random(uint64_t *state)
{
	uint64_t x = *state += 0x9e3779b97f4a7c15ull;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

static struct simdisk *of(struct pp_disk *disk)
{
	return (struct simdisk *)disk;
}

bool sim_chance(struct simdisk *d, uint32_t n)
{
	return n && (simdisk_random(&d->random) & 0xffff) < n;
}

const char *sim_name_of(const struct simdisk *d, unsigned ino)
{
	for (size_t i = 0; i < d->state->now.count; i++)
		if (d->state->now.at[i].ino == ino)
			return d->state->now.at[i].text;
	return "(no name)";
}

bool sim_begin(struct simdisk *d, bool *last, const char *call, const char *path, uint64_t offset, uint64_t size)
{
	*last = false;
	if (d->dead)
		return false;
	sim_flights_land_late(d);
	d->counts.calls++;
	if (d->die_at && d->counts.calls >= d->die_at)
		d->dead = *last = true;
	if (d->trace)
		fprintf(stderr, "%6llu %-7s %s %llu+%llu%s\n", (unsigned long long)d->counts.calls, call, path,
			(unsigned long long)offset, (unsigned long long)size, *last ? "  <- the power fails here" : "");
	return true;
}

int sim_fail(struct simdisk *d)
{
	d->counts.failed++;
	return simdisk_random(&d->random) & 1 ? -EIO : -ENOSPC;
}

static bool cannot_read(struct simdisk *d)
{
	bool fails = sim_chance(d, d->rules.read_fails);

	d->counts.failed += fails;
	return fails;
}

/* ---- files ---- */

static int new_inode(struct simdisk_state *s, bool is_dir)
{
	for (unsigned i = 0; i < SIM_FILES; i++) {
		if (s->inode[i])
			continue;
		s->inode[i] = calloc(1, sizeof(*s->inode[i]));
		s->inode[i]->is_dir = is_dir;
		s->inode[i]->now = sim_image_new(0);
		s->inode[i]->durable = sim_image_share(s->inode[i]->now);
		return (int)i;
	}
	return -ENFILE;
}

static bool has_name(const struct simdisk_state *s, unsigned ino)
{
	for (size_t i = 0; i < s->now.count; i++)
		if (s->now.at[i].ino == ino)
			return true;
	return false;
}

uint64_t simdisk_used(const struct simdisk *d)
{
	uint64_t used = 0;

	for (unsigned i = 0; i < SIM_FILES; i++)
		if (d->state->inode[i] && (d->state->inode[i]->fds || has_name(d->state, i)))
			used += d->state->inode[i]->now->size;
	return used;
}

/* Whether a file may grow to `size`. */
static bool has_space(struct simdisk *d, unsigned ino, uint64_t size)
{
	uint64_t now = d->state->inode[ino]->now->size;

	if (!d->rules.capacity || size <= now || simdisk_used(d) + size - now <= d->rules.capacity)
		return true;
	d->counts.full++;
	return false;
}

static int change_name(struct simdisk *d, unsigned dir, unsigned ino, const char *from, const char *to)
{
	struct simdisk_state *s = d->state;
	struct name_op op = {.dir = dir, .ino = ino, .is_dir = s->inode[ino]->is_dir};

	if (s->op_count == SIM_NAMES || s->now.count == SIM_NAMES)
		return -ENFILE;
	snprintf(op.from, sizeof(op.from), "%s", from);
	snprintf(op.to, sizeof(op.to), "%s", to);
	sim_name_apply(&s->now, &op);
	s->op[s->op_count++] = op;
	return 0;
}

static int create(struct simdisk *d, unsigned parent, const char *name, bool is_dir)
{
	bool last;
	int ino;

	if (!sim_begin(d, &last, "create", name, 0, 0))
		return -EIO;
	if (sim_chance(d, d->rules.name_fails))
		return sim_fail(d);
	ino = new_inode(d->state, is_dir);
	if (ino >= 0 && change_name(d, parent, (unsigned)ino, "", name))
		return -ENFILE;
	return last ? -EIO : ino;
}

/* Of an existing file: contents gone, as a pending effect. */
static int empty(struct simdisk *d, unsigned ino)
{
	bool last;

	if (!d->state->inode[ino]->now->size)
		return 0;
	if (!sim_begin(d, &last, "empty", sim_name_of(d, ino), 0, 0))
		return -EIO;
	sim_inode_resize(d->state->inode[ino], 0);
	return last ? -EIO : 0;
}

static int sim_open(struct pp_disk *disk, const char *path, int flags, unsigned mode)
{
	struct simdisk *d = of(disk);
	char name[SIM_NAME];
	unsigned parent;
	int ino = sim_name_walk(d->state, path, &parent, name), rc;

	(void)mode;
	if (d->dead || cannot_read(d))
		return -EIO;
	if (ino >= 0 && flags & O_CREAT && flags & O_EXCL)
		return -EEXIST;
	if (ino == -ENOENT && name[0] && flags & O_CREAT)
		ino = create(d, parent, name, false);
	else if (ino >= 0 && flags & O_TRUNC && (rc = empty(d, (unsigned)ino)))
		ino = rc;
	if (ino >= 0 && flags & O_DIRECTORY && !d->state->inode[ino]->is_dir)
		ino = -ENOTDIR;
	for (int fd = 0; ino >= 0 && fd < SIM_FDS; fd++) {
		if (d->state->fd[fd].used)
			continue;
		d->state->fd[fd].used = true;
		d->state->fd[fd].direct = flags & O_DIRECT;
		d->state->fd[fd].ino = (unsigned)ino;
		d->state->inode[ino]->fds++;
		return fd;
	}
	return ino < 0 ? ino : -EMFILE;
}

static void sim_close(struct pp_disk *disk, int fd)
{
	struct simdisk_state *s = of(disk)->state;

	if (fd < 0 || fd >= SIM_FDS || !s->fd[fd].used) {
		of(disk)->broken = "a descriptor was closed that was not open";
		return;
	}
	s->inode[s->fd[fd].ino]->fds--;
	s->fd[fd].used = false;
}

static struct inode *file_of(struct simdisk *d, int fd)
{
	if (fd < 0 || fd >= SIM_FDS || !d->state->fd[fd].used) {
		d->broken = "a descriptor was used that was not open";
		return NULL;
	}
	return d->state->inode[d->state->fd[fd].ino];
}

static ssize_t sim_read(struct pp_disk *disk, int fd, void *to, size_t size, uint64_t offset)
{
	struct simdisk *d = of(disk);
	struct inode *inode = file_of(d, fd);

	if (!inode || d->dead || cannot_read(d))
		return inode ? -EIO : -EBADF;
	sim_flights_land_late(d);
	if (offset >= inode->now->size)
		return 0;
	if (size > inode->now->size - offset)
		size = inode->now->size - offset;
	memcpy(to, inode->now->bytes + offset, size);
	return (ssize_t)size;
}

static int sim_size(struct pp_disk *disk, int fd, uint64_t *size_out)
{
	struct simdisk *d = of(disk);
	struct inode *inode = file_of(d, fd);

	if (!inode || d->dead)
		return inode ? -EIO : -EBADF;
	*size_out = inode->now->size;
	return 0;
}

/* ---- writing ---- */

/* Some other place that holds data: the same offset of another file, a block, or any sector. */
static unsigned elsewhere(struct simdisk *d, unsigned ino, uint64_t *offset)
{
	struct simdisk_state *s = d->state;
	size_t unit;

	for (int tries = 0; tries < 8 && s->now.count; tries++) {
		unsigned other = s->now.at[simdisk_random(&d->random) % s->now.count].ino;

		if (s->inode[other]->is_dir || s->inode[other]->now->size < SIM_SECTOR)
			continue;
		ino = other;
		break;
	}
	if (simdisk_random(&d->random) & 1 && *offset < s->inode[ino]->now->size)
		return ino;
	unit = simdisk_random(&d->random) & 1 ? SIM_BLOCK : SIM_SECTOR;
	*offset = simdisk_random(&d->random) % (s->inode[ino]->now->size / unit + 1) * unit;
	return ino;
}

void sim_land(struct simdisk *d, unsigned ino, uint64_t offset, const uint8_t *bytes, size_t size, bool durable)
{
	if (size && sim_chance(d, d->rules.lost)) {
		d->counts.lost++;
		if (d->trace)
			fprintf(stderr, "       lost %s at %llu\n", sim_name_of(d, ino), (unsigned long long)offset);
		return;
	}
	if (size && sim_chance(d, d->rules.misdirected)) {
		d->counts.misdirected++;
		ino = elsewhere(d, ino, &offset);
		if (d->trace)
			fprintf(stderr, "       misdirected to %s at %llu\n", sim_name_of(d, ino), (unsigned long long)offset);
		if (offset + size > d->state->inode[ino]->now->size)
			size = offset < d->state->inode[ino]->now->size ? d->state->inode[ino]->now->size - offset : 0;
	}
	if (durable)
		sim_inode_write_durable(d->state->inode[ino], offset, bytes, size);
	else
		sim_inode_write(d->state->inode[ino], offset, bytes, size);
}

static bool misaligned(const struct simdisk *d, int fd, const void *from, size_t size, uint64_t offset)
{
	return d->state->fd[fd].direct && ((uintptr_t)from % SIM_SECTOR || size % SIM_SECTOR || offset % SIM_SECTOR);
}

static ssize_t sim_write(struct pp_disk *disk, int fd, const void *from, size_t size, uint64_t offset)
{
	struct simdisk *d = of(disk);
	struct inode *inode = file_of(d, fd);
	unsigned ino;
	bool last;

	if (!inode)
		return -EBADF;
	if (misaligned(d, fd, from, size, offset))
		return -EINVAL;
	ino = d->state->fd[fd].ino;
	if (!sim_begin(d, &last, "write", sim_name_of(d, ino), offset, size))
		return -EIO;
	if (sim_chance(d, d->rules.again))
		return last ? -EIO : -EINTR;
	if (!has_space(d, ino, offset + size))
		return -ENOSPC;
	if (size > SIM_SECTOR && sim_chance(d, d->rules.short_writes))
		size = (size_t)(1 + simdisk_random(&d->random) % (size / SIM_SECTOR)) * SIM_SECTOR;
	if (sim_chance(d, d->rules.write_fails)) {
		sim_land(d, ino, offset, from, simdisk_random(&d->random) % (size / SIM_SECTOR + 1) * SIM_SECTOR, false);
		return sim_fail(d);
	}
	sim_land(d, ino, offset, from, size, false);
	return last ? -EIO : (ssize_t)size;
}

static int sim_reserve(struct pp_disk *disk, int fd, uint64_t size)
{
	struct simdisk *d = of(disk);
	struct inode *inode = file_of(d, fd);
	bool last;

	if (!inode)
		return -EBADF;
	if (!sim_begin(d, &last, "reserve", sim_name_of(d, d->state->fd[fd].ino), 0, size))
		return -EIO;
	if (!has_space(d, d->state->fd[fd].ino, size))
		return -ENOSPC;
	if (sim_chance(d, d->rules.write_fails))
		return sim_fail(d);
	if (size > inode->now->size)
		sim_inode_resize(inode, size);
	return last ? -EIO : 0;
}

/* ---- syncing ---- */

/* With `random`, some are forgotten; new directories stay pending, since nobody makes one twice. */
static void sync_names(struct simdisk_state *s, unsigned dir, uint64_t *random)
{
	size_t kept = 0;

	for (size_t i = 0; i < s->op_count; i++) {
		if (s->op[i].dir != dir || (random && s->op[i].is_dir))
			s->op[kept++] = s->op[i];
		else if (!random || simdisk_random(random) & 1)
			sim_name_apply(&s->durable, &s->op[i]);
	}
	s->op_count = kept;
}

/* A failed sync is reported once: what it did not write is clean afterwards, and lost. */
static int sim_sync(struct pp_disk *disk, int fd)
{
	struct simdisk *d = of(disk);
	struct inode *inode = file_of(d, fd);
	uint64_t *partly = NULL;
	bool last;

	if (!inode)
		return -EBADF;
	if (!sim_begin(d, &last, "sync", sim_name_of(d, d->state->fd[fd].ino), 0, 0) || last)
		return -EIO;
	if (inode->is_dir ? d->rules.skip_dir_sync : d->rules.skip_file_sync)
		return 0;
	if (d->counts.calls == d->fail_at || sim_chance(d, d->rules.sync_fails))
		partly = &d->random;
	if (inode->is_dir)
		sync_names(d->state, d->state->fd[fd].ino, partly);
	else
		sim_inode_sync(inode, partly);
	return partly ? sim_fail(d) : 0;
}

static void sim_advise(struct pp_disk *disk, int fd, uint64_t offset, uint64_t size, enum pp_disk_advice advice)
{
	(void)offset;
	(void)size;
	(void)advice;
	(void)file_of(of(disk), fd);
}

/* ---- names ---- */

static int sim_rename(struct pp_disk *disk, const char *from, const char *to)
{
	struct simdisk *d = of(disk);
	char name[SIM_NAME], target[SIM_NAME];
	unsigned parent, to_parent;
	int ino = sim_name_walk(d->state, from, &parent, name), there;
	bool last;

	if (ino < 0)
		return ino;
	there = sim_name_walk(d->state, to, &to_parent, target);
	if (to_parent != parent || !target[0] || (there >= 0 && d->state->inode[there]->is_dir))
		return -EXDEV;
	if (!sim_begin(d, &last, "rename", to, 0, 0))
		return -EIO;
	if (sim_chance(d, d->rules.name_fails))
		return sim_fail(d);
	if (change_name(d, parent, (unsigned)ino, name, target))
		return -ENFILE;
	return last ? -EIO : 0;
}

static int sim_remove(struct pp_disk *disk, const char *path)
{
	struct simdisk *d = of(disk);
	char name[SIM_NAME];
	unsigned parent;
	int ino = sim_name_walk(d->state, path, &parent, name);
	bool last;

	if (ino < 0)
		return ino;
	if (d->state->inode[ino]->is_dir)
		return -EISDIR;
	if (!sim_begin(d, &last, "remove", name, 0, 0))
		return -EIO;
	if (sim_chance(d, d->rules.name_fails))
		return sim_fail(d);
	if (change_name(d, parent, (unsigned)ino, name, ""))
		return -ENFILE;
	return last ? -EIO : 0;
}

static int sim_make_dir(struct pp_disk *disk, const char *path, unsigned mode)
{
	struct simdisk *d = of(disk);
	char name[SIM_NAME];
	unsigned parent;
	int ino = sim_name_walk(d->state, path, &parent, name);

	(void)mode;
	if (d->dead)
		return -EIO;
	if (ino >= 0)
		return -EEXIST;
	if (!name[0])
		return ino;
	ino = create(d, parent, name, true);
	return ino < 0 ? ino : 0;
}

static int sim_list(struct pp_disk *disk, const char *dir, pp_disk_on_name *on_name, void *ctx)
{
	struct simdisk *d = of(disk);
	char last[SIM_NAME];
	unsigned parent;
	int ino = sim_name_walk(d->state, dir, &parent, last), rc = 0;
	struct names *copy;

	if (d->dead || ino < 0 || cannot_read(d))
		return !d->dead && ino < 0 ? ino : -EIO;
	copy = malloc(sizeof(*copy)); /* the callback may remove names */
	*copy = d->state->now;
	for (size_t i = 0; i < copy->count && !rc; i++)
		if (copy->at[i].dir == (unsigned)ino)
			rc = on_name(ctx, copy->at[i].text);
	free(copy);
	return rc;
}

/* ---- life ---- */

static struct simdisk *blank(uint64_t seed)
{
	struct simdisk *d = calloc(1, sizeof(*d));

	d->disk = (struct pp_disk){
		.open = sim_open, .close = sim_close, .read = sim_read, .write = sim_write, .reserve = sim_reserve,
		.size = sim_size, .sync = sim_sync, .advise = sim_advise, .rename = sim_rename, .remove = sim_remove,
		.make_dir = sim_make_dir, .list = sim_list, .open_writer = sim_open_writer,
	};
	d->random = seed;
	d->state = calloc(1, sizeof(*d->state));
	return d;
}

struct simdisk *simdisk_new(uint64_t seed, const char *dir)
{
	struct simdisk *d = blank(seed);

	new_inode(d->state, true);
	sim_make_dir(&d->disk, dir, 0700);
	sync_names(d->state, 0, NULL);
	return d;
}

void simdisk_free(struct simdisk *d)
{
	if (!d)
		return;
	sim_flights_abandon(d);
	for (unsigned i = 0; i < d->state->late_count; i++)
		free(d->state->late[i].bytes);
	for (unsigned i = 0; i < SIM_FILES; i++)
		sim_inode_free(d->state->inode[i]);
	free(d->state);
	free(d);
}

static void forget_nameless(struct simdisk_state *s)
{
	for (unsigned i = 1; i < SIM_FILES; i++) {
		bool named = s->inode[i] && has_name(s, i);

		for (size_t n = 0; n < s->durable.count && !named; n++)
			named = s->durable.at[n].ino == i;
		for (size_t n = 0; n < s->op_count && !named; n++)
			named = s->op[n].ino == i;
		for (unsigned n = 0; n < s->late_count && !named; n++)
			named = s->late[n].ino == i;
		if (!named) {
			sim_inode_free(s->inode[i]);
			s->inode[i] = NULL;
		}
	}
}

void simdisk_kill(struct simdisk *d)
{
	struct simdisk_state *s = d->state;

	sim_flights_abandon(d);
	for (unsigned i = 0; i < s->late_count; i++)
		s->late[i].foreign = true;
	for (unsigned fd = 0; fd < SIM_FDS; fd++) {
		if (!s->fd[fd].used)
			continue;
		s->inode[s->fd[fd].ino]->fds--;
		s->fd[fd].used = false;
	}
	forget_nameless(s);
	d->dead = false;
	d->die_at = 0;
}

unsigned simdisk_open_files(const struct simdisk *d)
{
	unsigned n = 0;

	for (unsigned fd = 0; fd < SIM_FDS; fd++)
		n += d->state->fd[fd].used;
	return n;
}

const uint8_t *simdisk_look(const struct simdisk *d, const char *path, size_t *size_out)
{
	char name[SIM_NAME];
	unsigned parent;
	int ino = sim_name_walk(d->state, path, &parent, name);

	if (ino < 0 || d->state->inode[ino]->is_dir)
		return NULL;
	*size_out = d->state->inode[ino]->now->size;
	return d->state->inode[ino]->now->bytes;
}

bool simdisk_flip(struct simdisk *d, const char *dir, uint64_t seed)
{
	struct simdisk_state *s = d->state;
	char name[SIM_NAME];
	unsigned parent;
	int ino = sim_name_walk(s, dir, &parent, name);
	uint64_t total = 0, at;

	for (size_t i = 0; i < s->now.count; i++)
		total += s->now.at[i].dir == (unsigned)ino ? s->inode[s->now.at[i].ino]->now->size : 0;
	if (ino < 0 || !total)
		return false;
	at = simdisk_random(&seed) % total;
	for (size_t i = 0; i < s->now.count; i++) {
		struct inode *inode = s->inode[s->now.at[i].ino];
		uint8_t byte;

		if (s->now.at[i].dir != (unsigned)ino)
			continue;
		if (at < inode->now->size) {
			byte = inode->now->bytes[at] ^ (uint8_t)(1u << simdisk_random(&seed) % 8);
			sim_inode_write_durable(inode, at, &byte, 1);
			if (d->trace)
				fprintf(stderr, "       flipped %s at %llu\n", s->now.at[i].text, (unsigned long long)at);
			break;
		}
		at -= inode->now->size;
	}
	d->counts.flipped++;
	return true;
}

/* ---- power cut ---- */

/* Whole, nothing, some sectors, some blocks, a front, or for some sectors rubbish; not so for what a killed process left: its successor
 * may have read, and built upon, the same bytes from an earlier attempt, and waits for the lock that goes with the last of them. */
static void keep_some(struct simdisk_counts *counts, struct image **image, uint64_t offset, const uint8_t *bytes, size_t size,
		      bool rubbish_too, uint64_t *random)
{
	uint64_t how = simdisk_random(random) % 16, bits = 0;
	size_t unit = how < 10 ? SIM_SECTOR : SIM_BLOCK, units = (size + unit - 1) / unit, front;
	uint8_t rubbish[SIM_BLOCK];

	counts->cut_effects++;
	if (how < 3)
		return;
	if (how < 7) {
		sim_image_write(image, offset, bytes, size);
		return;
	}
	counts->torn++;
	front = simdisk_random(random) % (units + 1);
	for (size_t i = 0; i < units; i++) {
		size_t at = i * unit, n = size - at < unit ? size - at : unit;

		if (i % 64 == 0)
			bits = simdisk_random(random);
		if (how % 3 == 0 ? i >= front : !(bits >> i % 64 & 1))
			continue;
		if (how == 8 && rubbish_too && simdisk_random(random) % 4 == 0) {
			for (size_t b = 0; b < n; b++)
				rubbish[b] = (uint8_t)simdisk_random(random);
			sim_image_write(image, offset + at, rubbish, n);
		} else {
			sim_image_write(image, offset + at, bytes + at, n);
		}
	}
}

static void keep_file(struct simdisk_counts *counts, const struct inode *from, struct inode *to, uint64_t *random)
{
	to->durable = sim_image_share(from->durable);
	for (const struct effect *e = from->first; e; e = e->next) {
		if (e->bytes)
			keep_some(counts, &to->durable, e->offset, e->bytes, e->size, true, random);
		else if (simdisk_random(random) & 1)
			sim_image_resize(&to->durable, e->size);
	}
}

/* What lies in a directory that is gone is gone. */
static void forget_orphans(struct names *names)
{
	for (size_t i = 0; i < names->count;) {
		bool found = names->at[i].dir == 0;

		for (size_t n = 0; n < names->count && !found; n++)
			found = names->at[n].ino == names->at[i].dir;
		if (found)
			i++;
		else
			names->at[i] = names->at[--names->count];
	}
}

static void keep_names(const struct simdisk *d, struct simdisk *after, uint64_t *random)
{
	size_t n = d->state->op_count, front = simdisk_random(random) % (n + 1);

	/* Often all, or all but little. */
	if (n && simdisk_random(random) % 4 == 0)
		front = n - simdisk_random(random) % (n < 3 ? n : 3);
	after->counts.cut_effects += n;
	after->state->durable = d->state->durable;
	for (size_t i = 0; i < n; i++)
		if (d->rules.any_names ? simdisk_random(random) & 1 : i < front)
			sim_name_apply(&after->state->durable, &d->state->op[i]);
	forget_orphans(&after->state->durable);
	after->state->now = after->state->durable;
}

struct simdisk *simdisk_after_cut(const struct simdisk *d, uint64_t seed)
{
	struct simdisk *after = blank(simdisk_random(&seed));
	const struct simdisk_state *s = d->state;

	after->rules = d->rules;
	after->counts = d->counts;
	after->broken = d->broken;
	after->trace = d->trace;
	keep_names(d, after, &seed);
	for (unsigned i = 0; i < SIM_FILES; i++) {
		if (!s->inode[i] || (i && !has_name(after->state, i)))
			continue;
		after->state->inode[i] = calloc(1, sizeof(struct inode));
		after->state->inode[i]->is_dir = s->inode[i]->is_dir;
		keep_file(&after->counts, s->inode[i], after->state->inode[i], &seed);
	}
	for (unsigned i = 0; i < s->flight_count + s->late_count; i++) {
		const struct flight *f = i < s->flight_count ? &s->flight[i] : &s->late[i - s->flight_count];

		if (d->trace)
			fprintf(stderr, "       under way: %s at %llu+%zu\n", sim_name_of(d, f->ino), (unsigned long long)f->offset, f->size);
		if (after->state->inode[f->ino])
			keep_some(&after->counts, &after->state->inode[f->ino]->durable, f->offset, f->bytes, f->size,
				  !f->foreign, &seed);
	}
	for (unsigned i = 0; i < SIM_FILES; i++)
		if (after->state->inode[i])
			after->state->inode[i]->now = sim_image_share(after->state->inode[i]->durable);
	return after;
}
