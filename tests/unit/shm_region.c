/* shm_region.c - creating, mapping, checking and growing the region. */
#include "tests/unit/shm_help.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>

static struct pp_region region;
static char path[128];

static void setup(void)
{
	help_create(&region, 0, 0);
	help_config(path);
}

static void teardown(void)
{
	help_destroy(&region);
}

TestSuite(region, .init = setup, .fini = teardown, .timeout = 60);
TestSuite(region_fresh, .fini = help_remove, .timeout = 60);

/* Writes `bytes` at `offset` of the file and tells what mapping says then. */
static int map_after_write(uint64_t offset, const void *bytes, size_t size)
{
	int fd = open(path, O_RDWR | O_CLOEXEC), rc;
	struct pp_region r;

	cr_assert_geq(fd, 0);
	cr_assert_eq(pwrite(fd, bytes, size, (off_t)offset), (ssize_t)size);
	rc = pp_region_map(fd, true, HELP_LAYOUT, &r);
	if (!rc)
		pp_region_unmap(&r);
	cr_assert_eq(r.fd, -1);
	close(fd);
	return rc;
}

#define MAP_WITH(field, value)                                                                      \
	(__extension__({                                                                            \
		__typeof__(((struct pp_header *)0)->field) value_ = (value);                        \
		map_after_write(offsetof(struct pp_header, field), &value_, sizeof(value_));        \
	}))

Test(region, is_private_whole_and_named)
{
	struct stat st;

	cr_assert_eq(stat(path, &st), 0);
	cr_assert_eq(st.st_mode & 07777, 0600);
	cr_assert_eq(stat(help_folder(), &st), 0);
	cr_assert_eq(st.st_mode & 07777, 0700);
	cr_assert_eq(pp_load_acq(&region.globals->committed_segments), 2);
	cr_assert_eq(pp_load_acq(&region.globals->free_pages), 64);
	cr_assert_eq(region.segments_at % PP_SEGMENT_BYTES, 0);
	cr_assert_eq((uintptr_t)region.base % PP_SEGMENT_BYTES, 0);
	cr_assert_eq(pp_load_acq(&region.slots[15].low), PP_IDLE);
	cr_assert_eq(pp_tail_epoch(pp_load_acq(&region.slots[15].tail)), PP_TAIL_FREE);
	cr_assert(region.segments_at + region.header->max_segments * PP_SEGMENT_BYTES <= region.header->memory_max);
}

Test(region, every_part_can_be_written_and_none_overlaps)
{
	struct pp_header *h = region.header;
	uint64_t end = region.segments_at + 2 * PP_SEGMENT_BYTES;

	cr_assert(h->off_globals < h->off_sets && h->off_sets + 2 * sizeof(struct pp_sets) <= h->off_engine);
	cr_assert(h->off_engine + h->engine_bytes <= h->off_procs);
	cr_assert(h->off_procs + h->procs * sizeof(struct pp_proc) <= h->off_slots);
	cr_assert(h->off_slots + h->slots * sizeof(struct pp_slot) <= h->off_rings);
	cr_assert(h->off_rings + (uint64_t)h->slots * h->ring_entries * 16 <= h->off_stripes);
	cr_assert(h->off_stripes + h->stripes * sizeof(struct pp_stripe) <= h->off_partial);
	cr_assert(h->off_partial + (uint64_t)h->max_segments * PP_CLASSES * 4 <= h->off_pages);
	cr_assert(h->off_pages + (uint64_t)h->max_segments * 32 * sizeof(struct pp_page) <= h->off_segments);
	memset(region.base + 4096 + sizeof(struct pp_globals), 0xa5, end - 4096 - sizeof(struct pp_globals));
}

Test(region, another_mapping_sees_the_same_bytes)
{
	struct pp_region other;
	uint64_t *here = pp_at(&region, region.segments_at + 4096), *there;

	*here = 42;
	cr_assert_eq(pp_region_map(region.fd, false, HELP_LAYOUT, &other), 0, "%s", pp_detail_get());
	cr_assert_neq(other.base, region.base);
	there = pp_at(&other, region.segments_at + 4096);
	cr_assert_eq(*there, 42);
	*there = 43;
	cr_assert_eq(*here, 43);
	pp_region_unmap(&other);
}

Test(region, read_only_mapping_cannot_be_written)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	pid_t child = fork();

	if (!child) {
		struct pp_region r;

		if (pp_region_map(fd, true, HELP_LAYOUT, &r))
			_exit(1);
		if (pp_region_grow(&r, 0) != PPDB_READONLY)
			_exit(2);
		if (*(volatile uint8_t *)pp_at(&r, r.segments_at))
			_exit(3);
		signal(SIGSEGV, SIG_DFL);
		*(volatile uint8_t *)pp_at(&r, r.segments_at) = 1;
		_exit(4);
	}
	cr_assert_eq(help_join(child), -SIGSEGV);
	close(fd);
}

Test(region, read_write_mapping_of_a_read_only_descriptor_fails)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct pp_region r;

	cr_assert_eq(pp_region_map(fd, false, HELP_LAYOUT, &r), -EACCES);
	close(fd);
}

Test(region, another_layout_is_told)
{
	struct pp_region r;

	cr_assert_eq(pp_region_map(region.fd, true, HELP_LAYOUT + 1, &r), PPDB_LAYOUT);
	cr_assert(strstr(pp_detail_get(), "5eed"));
	cr_assert_eq(pp_region_map(region.fd, true, 0, &r), 0);
	pp_region_unmap(&r);
}

Test(region, another_boot_is_told)
{
	uint8_t other[PP_BOOT_ID_BYTES] = "11111111-2222-3333-4444-555555555555";

	cr_assert_eq(map_after_write(offsetof(struct pp_header, boot_id), other, sizeof(other)), -ESTALE);
}

Test(region, unpublished_is_told)
{
	cr_assert_eq(MAP_WITH(ready, 0), -EAGAIN);
	cr_assert_eq(MAP_WITH(ready, PP_MAGIC), 0);
}

Test(region, damaged_headers_are_refused)
{
	struct pp_header good = *region.header;

	cr_assert_eq(MAP_WITH(magic, 1), PPDB_CORRUPT);
	cr_assert_eq(MAP_WITH(magic, PP_MAGIC), 0);
#define DAMAGE(field, value)                                                                       \
	do {                                                                                       \
		cr_assert_eq(MAP_WITH(field, value), PPDB_CORRUPT, #field " = " #value);           \
		cr_assert_eq(MAP_WITH(field, good.field), 0);                                      \
	} while (0)
	DAMAGE(memory_max, 0);
	DAMAGE(memory_max, good.memory_max + 1);
	DAMAGE(memory_max, UINT64_MAX & ~(PP_SEGMENT_BYTES - 1));
	DAMAGE(memory_max, PP_SEGMENT_BYTES);
	DAMAGE(slots, 0);
	DAMAGE(slots, UINT32_MAX);
	DAMAGE(slots, good.slots + 1);
	DAMAGE(procs, UINT32_MAX);
	DAMAGE(ring_entries, 63);
	DAMAGE(ring_entries, UINT32_MAX);
	DAMAGE(stripes, 0);
	DAMAGE(stripes, UINT32_MAX);
	DAMAGE(nodes, 0);
	DAMAGE(nodes, 1000);
	DAMAGE(page_kind, 77);
	DAMAGE(max_segments, good.max_segments + 1);
	DAMAGE(engine_bytes, UINT64_MAX);
	DAMAGE(engine_bytes, UINT64_MAX - 4000);
	DAMAGE(off_globals, 0);
	DAMAGE(off_sets, UINT64_MAX);
	DAMAGE(off_engine, 1);
	DAMAGE(off_procs, good.off_slots);
	DAMAGE(off_slots, good.off_slots + 8);
	DAMAGE(off_rings, good.off_rings + 64);
	DAMAGE(off_stripes, 8);
	DAMAGE(off_partial, good.memory_max);
	DAMAGE(off_pages, good.off_pages - 4096);
	DAMAGE(off_segments, good.off_segments + PP_SEGMENT_BYTES);
}

Test(region, each_truncation_is_refused)
{
	uint64_t full = region.segments_at + 2 * PP_SEGMENT_BYTES;
	uint64_t sizes[] = { 0, 1, 100, sizeof(struct pp_header) - 1, 4096, region.header->off_slots, region.header->off_pages - 1,
			     region.header->off_pages, region.segments_at, full - 4096, full - 1 };

	for (size_t i = sizeof(sizes) / sizeof(sizes[0]); i-- > 0;) {
		struct pp_region r;
		int rc;

		cr_assert_eq(ftruncate(region.fd, (off_t)sizes[i]), 0);
		rc = pp_region_map(region.fd, true, HELP_LAYOUT, &r);
		cr_assert_eq(rc, PPDB_CORRUPT, "cut to %llu: %d %s", (unsigned long long)sizes[i], rc, pp_detail_get());
	}
}

Test(region, foreign_descriptors_are_refused)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), folder = open("/", O_RDONLY | O_CLOEXEC);
	struct pp_region r;

	cr_assert_eq(pp_region_map(-1, false, HELP_LAYOUT, &r), -EBADF);
	cr_assert_eq(pp_region_map(null, false, HELP_LAYOUT, &r), PPDB_CORRUPT);
	cr_assert_eq(pp_region_map(folder, true, HELP_LAYOUT, &r), -EISDIR);
	close(null);
	close(folder);
}

Test(region, grows_to_the_limit_and_no_further)
{
	int rc = 0;
	uint64_t n;

	while (!rc)
		rc = pp_region_grow(&region, 0);
	n = pp_load_acq(&region.globals->committed_segments);
	cr_assert_eq(rc, PPDB_FULL);
	cr_assert_eq(n, region.header->max_segments);
	cr_assert_eq(pp_load_acq(&region.globals->free_pages), n * PP_PAGES_PER_SEGMENT);
	memset(pp_at(&region, region.segments_at), 1, n * PP_SEGMENT_BYTES);
	cr_assert_eq(pp_region_populate(&region), 0);
	cr_assert(strlen(pp_region_pages_text(&region)) > 3);
	cr_log_info("pages: %s", pp_region_pages_text(&region));
}

Test(region, references_are_checked_against_what_is_committed)
{
	uint64_t end = region.segments_at + 2 * PP_SEGMENT_BYTES;

	cr_assert(pp_ref_inside(&region, region.segments_at + 16, 100));
	cr_assert(!pp_ref_inside(&region, region.segments_at, 8));
	cr_assert(!pp_ref_inside(&region, region.segments_at + 17, 8));
	cr_assert(pp_ref_inside(&region, end - 8, 8));
	cr_assert(!pp_ref_inside(&region, end - 8, 16));
	cr_assert(!pp_ref_inside(&region, end, 0));
	cr_assert(!pp_ref_inside(&region, end - 8, UINT64_MAX));
}

Test(region, a_file_size_limit_of_the_process_is_an_error_not_a_signal)
{
	struct rlimit low = { 1 << 20, 1 << 20 };
	pid_t child = fork();

	if (!child) {
		setrlimit(RLIMIT_FSIZE, &low);
		_exit(pp_region_grow(&region, 0) == -EFBIG ? 0 : 1);
	}
	cr_assert_eq(help_join(child), 0);
}

/* Children grow a region of their own mapping and are killed at random moments; the file stays usable. */
Test(region_fresh, processes_grow_at_once_and_are_killed)
{
	struct pp_region_config c = help_config(path);
	unsigned seed = (unsigned)getpid();

	c.memory_bytes = 512 << 20;
	cr_assert_eq(pp_region_create(&c, &region), 0, "%s", pp_detail_get());
	cr_assert_eq(pp_region_publish(&region), 0);
	for (int round = 0; round < 12; round++) {
		pid_t child[3];

		for (int i = 0; i < 3; i++) {
			child[i] = fork();
			if (child[i])
				continue;
			struct pp_region r;

			if (pp_region_map(region.fd, false, HELP_LAYOUT, &r))
				_exit(1);
			while (!pp_region_grow(&r, 0))
				;
			_exit(0);
		}
		help_nap(1 + (uint64_t)rand_r(&seed) % 12);
		for (int i = 0; i < 3; i++)
			kill(child[i], SIGKILL);
		for (int i = 0; i < 3; i++)
			cr_assert_neq(help_join(child[i]), 1);
		for (uint64_t at = 0, n = pp_load_acq(&region.globals->committed_segments); at < n * PP_SEGMENT_BYTES; at += 4096)
			*(volatile uint8_t *)pp_at(&region, region.segments_at + at) += 1;
	}
	cr_assert_gt(pp_load_acq(&region.globals->committed_segments), 2);
	cr_assert_leq(pp_load_acq(&region.globals->committed_segments), region.header->max_segments);
	while (!pp_region_grow(&region, 0))
		;
	cr_assert_eq(pp_load_acq(&region.globals->committed_segments), region.header->max_segments);
	pp_region_unmap(&region);
}

Test(region_fresh, replaces_an_old_file_and_leaves_none_when_given_up)
{
	struct pp_region_config c = help_config(path);
	struct pp_region second;
	char temp[140];

	snprintf(temp, sizeof(temp), "%s.new", path);
	cr_assert_eq(pp_region_create(&c, &region), 0);
	cr_assert_eq(access(path, F_OK), -1);
	cr_assert_eq(access(temp, F_OK), 0);
	pp_region_unmap(&region);
	cr_assert_eq(access(temp, F_OK), -1);
	cr_assert_eq(pp_region_create(&c, &region), 0);
	cr_assert_eq(pp_region_publish(&region), 0);
	cr_assert_eq(pp_region_create(&c, &second), 0);
	cr_assert_eq(pp_region_publish(&second), 0);
	((uint8_t *)pp_at(&second, second.segments_at))[0] = 9;
	cr_assert_eq(((uint8_t *)pp_at(&region, region.segments_at))[0], 0);
	pp_region_unmap(&region);
	pp_region_unmap(&second);
}

Test(region_fresh, impossible_sizes_are_refused)
{
	struct pp_region_config c = help_config(path);

#define REFUSED(change)                                                                          \
	do {                                                                                     \
		struct pp_region_config good = c;                                                \
		change;                                                                          \
		cr_assert_eq(pp_region_create(&c, &region), -EINVAL, #change);                   \
		cr_assert(*pp_detail_get(), #change);                                            \
		c = good;                                                                        \
	} while (0)
	REFUSED(c.memory_bytes = 0);
	REFUSED(c.memory_bytes = 4 << 20);
	REFUSED(c.memory_bytes = UINT64_MAX);
	REFUSED(c.slots = 0);
	REFUSED(c.slots = PP_MAX_SLOTS + 1);
	REFUSED((c.slots = PP_MAX_SLOTS, c.ring_entries = 1024));
	REFUSED(c.ring_entries = 100);
	REFUSED(c.procs = 0);
	REFUSED(c.pages = PP_MEM_HUGETLB);
	cr_assert_eq(access(path, F_OK), -1);
}

Test(region_fresh, unwritable_folder_is_told)
{
	struct pp_region_config c = help_config(path);

	c.path = "/proc/nowhere/x.arena";
	cr_assert_lt(pp_region_create(&c, &region), 0);
	cr_assert(strstr(pp_detail_get(), "/proc/nowhere"));
}

Test(region_fresh, small_pages_when_asked)
{
	struct pp_region_config c = help_config(path);

	c.pages = PP_MEM_4K;
	cr_assert_eq(pp_region_create(&c, &region), 0);
	cr_assert_eq(region.header->page_kind, PP_MEM_4K);
	cr_assert_str_eq(pp_region_pages_text(&region), "4 KiB");
	pp_region_unmap(&region);
}

/* A tmpfs of its own, `megabytes` long; false when not allowed to mount. */
static bool mount_small(const char *folder, unsigned megabytes)
{
	char options[32];

	snprintf(options, sizeof(options), "size=%um,mode=0700", megabytes);
	mkdir(folder, 0700);
	return !mount("none", folder, "tmpfs", 0, options);
}

static void full_tmpfs(int pages)
{
	struct pp_region_config c = help_config(path);
	char folder[128];
	int rc;

	mkdir(help_folder(), 0700);
	snprintf(folder, sizeof(folder), "%s/small", help_folder());
	if (!mount_small(folder, 15)) {
		rmdir(folder);
		cr_skip_test("mounting needs root");
	}
	snprintf(path, sizeof(path), "%s/small/x.arena", help_folder());
	c.pages = pages;
	rc = pp_region_create(&c, &region);
	cr_expect_eq(rc, 0, "%s", pp_detail_get());
	while (!rc)
		rc = pp_region_grow(&region, 0);
	cr_expect_eq(rc, -ENOSPC, "%d", rc);
	cr_expect(strstr(pp_detail_get(), "full"));
	cr_expect_lt(pp_load_acq(&region.globals->committed_segments), region.header->max_segments);
	/* the proof of "never SIGBUS": all that was promised is there although the file system is full */
	memset(pp_at(&region, region.segments_at), 3, pp_load_acq(&region.globals->committed_segments) * PP_SEGMENT_BYTES);
	pp_region_unmap(&region);
	umount2(folder, MNT_DETACH);
	rmdir(folder);
	/* not even the tables fit */
	cr_expect(mount_small(folder, 1));
	cr_expect_eq(pp_region_create(&c, &region), -ENOSPC);
	cr_expect(strstr(pp_detail_get(), "full"));
	umount2(folder, MNT_DETACH);
	rmdir(folder);
}

Test(region_fresh, a_full_tmpfs_is_an_error)
{
	full_tmpfs(-1);
}

Test(region_fresh, a_full_tmpfs_of_small_pages_is_an_error)
{
	full_tmpfs(PP_MEM_4K);
}

Test(region_fresh, hugetlb_is_committed_at_once)
{
	struct pp_region_config c = help_config(path);
	char mounted[256], reserve[64] = "";
	int fd = open("/proc/sys/vm/nr_hugepages", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		cr_skip_test("reserving huge pages needs root");
	cr_assert_gt(read(fd, reserve, sizeof(reserve) - 1), 0);
	cr_assert_gt(pwrite(fd, "24", 2, 0), 0);
	mkdir(help_folder(), 0700);
	snprintf(mounted, sizeof(mounted), "%s/huge", help_folder());
	mkdir(mounted, 0700);
	if (mount("none", mounted, "hugetlbfs", 0, "pagesize=2M")) {
		rmdir(mounted);
		cr_skip_test("no hugetlbfs here");
	}
	snprintf(path, sizeof(path), "%s/huge/x.arena", help_folder());
	c.pages = PP_MEM_HUGETLB;
	int rc = pp_region_create(&c, &region);
	cr_expect(rc == 0 || rc == -ENOSPC, "%d %s", rc, pp_detail_get());
	if (!rc) {
		cr_expect_eq(region.header->page_kind, PP_MEM_HUGETLB);
		cr_expect_eq(pp_load_acq(&region.globals->committed_segments), region.header->max_segments);
		memset(pp_at(&region, region.segments_at), 3, region.header->max_segments * PP_SEGMENT_BYTES);
		cr_expect_str_eq(pp_region_pages_text(&region), "hugetlb 2 MiB");
		cr_expect_eq(pp_region_publish(&region), 0);
		cr_expect_eq(pp_region_hugetlb_mount(mounted, sizeof(mounted)), 0);
		pp_region_unmap(&region);
		unlink(path);
		/* more than the pool holds */
		c.memory_bytes = 256 << 20;
		cr_expect_eq(pp_region_create(&c, &region), -ENOSPC);
	}
	snprintf(mounted, sizeof(mounted), "%s/huge", help_folder());
	umount2(mounted, MNT_DETACH);
	rmdir(mounted);
	cr_expect_gt(pwrite(fd, reserve, strlen(reserve), 0), 0);
	close(fd);
}

/* Whether the kernel makes a huge page of a piece of this file of which only the end is there: what shm/commit.c relies on. */
static bool kernel_collapses(void)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	uint8_t *space = mmap(NULL, 2 * PP_SEGMENT_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint8_t *base = (uint8_t *)(((uintptr_t)space + PP_SEGMENT_BYTES - 1) & ~(uintptr_t)(PP_SEGMENT_BYTES - 1));
	bool yes;

	cr_assert(fd >= 0 && space != MAP_FAILED);
	cr_assert_eq(ftruncate(fd, PP_SEGMENT_BYTES), 0);
	cr_assert_neq(mmap(base, PP_SEGMENT_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0), MAP_FAILED);
	base[PP_SEGMENT_BYTES - 1] = 1;
	yes = !madvise(base, PP_SEGMENT_BYTES, 25 /* MADV_COLLAPSE */);
	munmap(space, 2 * PP_SEGMENT_BYTES);
	close(fd);
	unlink(path);
	return yes;
}

Test(region_fresh, huge_pages_where_the_kernel_makes_them)
{
	struct pp_region_config c = help_config(path);

	mkdir(help_folder(), 0700);
	if (!kernel_collapses())
		cr_skip_test("this kernel makes no huge pages of a tmpfs file");
	c.memory_bytes = 64 << 20;
	cr_assert_eq(pp_region_create(&c, &region), 0, "%s", pp_detail_get());
	cr_assert_eq(region.header->page_kind, PP_MEM_THP);
	for (unsigned i = 0; i < 4; i++)
		cr_assert_eq(pp_region_grow(&region, 0), 0);
	/* one or the other may be refused when memory is in pieces */
	cr_assert_geq(pp_load_acq(&region.globals->huge_segments), pp_load_acq(&region.globals->committed_segments) / 2);
	pp_region_unmap(&region);
}
