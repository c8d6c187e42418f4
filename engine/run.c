/*
 * run.c - sorting a run of records by key.
 *
 * Sorted are pairs {8-byte slice of the key, record}, by merge sort on the slices alone: records are looked at once, to fetch the slice,
 * and a comparison takes no branch that depends on the data. Slices lie behind what all keys of the run share, so most decide. Pairs
 * with equal slices are sorted again by the next bytes in which they differ, and so on (most significant word first); so keys
 * with long shared prefixes cost a pass for each 8 bytes that tell some of them apart, and never a comparison of whole keys for each step of a sort.
 *
 * Equal keys end up side by side in any order: whoever takes them takes the newest by (tag, seq).
 *
 * Memory is the process's own, reserved at once and backed by huge pages as it fills; a process that dies here leaves nothing.
 */
#include "engine/run.h"
#include "shm/errors.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#define SMALL 12                           /* sorted by insertion */
#define AHEAD 12
#define SAMPLES 64                         /* of each part, to cut by */
#define RECORD_MIN (sizeof(struct pp_run_record) + 8)
#define RECORD_MAX (sizeof(struct pp_run_record) + PP_KEY_MAX + PP_VALUE_MAX)
#define HUGE_PAGE (UINT64_C(2) << 20)

static struct pp_ikey sort_key(const struct pp_run_record *rec)
{
	return (struct pp_ikey){(const uint8_t *)&rec->list_be, 6u + rec->key_size};
}

static int compare(const struct pp_run_item *a, const struct pp_run_item *b)
{
	struct pp_ikey x, y;

	if (a->slice != b->slice)
		return a->slice < b->slice ? -1 : 1;
	x = sort_key(a->rec);
	y = sort_key(b->rec);
	return pp_bytes_compare(x.bytes, x.size, y.bytes, y.size);
}

/* ---- memory ----------------------------------------------------------------------------------------------------- */

static void *reserve(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	madvise(p, bytes, MADV_HUGEPAGE); /* failing costs time only */
	return p;
}

static size_t item_bytes(const struct pp_run *run)
{
	return run->items_room * sizeof(struct pp_run_item);
}

int pp_run_init(struct pp_run *run, size_t bytes)
{
	memset(run, 0, sizeof(*run));
	run->room = bytes;
	run->items_room = bytes / (RECORD_MIN + 2 * sizeof(struct pp_run_item)) + 1;
	run->bytes = reserve(run->room + RECORD_MAX);
	run->items = reserve(item_bytes(run));
	run->spare = reserve(item_bytes(run));
	if (run->bytes && run->items && run->spare)
		return 0;
	pp_run_release(run);
	return pp_detail(-ENOMEM, "no memory to sort %zu MiB of records for recovery; raise the limit of address space (ulimit -v)",
			 bytes >> 20);
}

void pp_run_release(struct pp_run *run)
{
	if (run->bytes)
		munmap(run->bytes, run->room + RECORD_MAX);
	if (run->items)
		munmap(run->items, item_bytes(run));
	if (run->spare)
		munmap(run->spare, item_bytes(run));
	memset(run, 0, sizeof(*run));
}

void pp_run_clear(struct pp_run *run)
{
	size_t keep = (run->room + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);

	if (run->used > keep) /* a large record */
		madvise(run->bytes + keep, run->used - keep, MADV_DONTNEED);
	run->used = run->count = 0;
	run->common = 0;
}

/* ---- filling ---------------------------------------------------------------------------------------------------- */

struct pp_run_record *pp_run_reserve(struct pp_run *run, uint32_t key_size, uint64_t size)
{
	size_t need = sizeof(struct pp_run_record) + key_size + size;

	if (run->count && (run->count == run->items_room ||
			   run->used + need + (run->count + 1) * 2 * sizeof(struct pp_run_item) > run->room))
		return NULL;
	return (struct pp_run_record *)(run->bytes + run->used);
}

void pp_run_add(struct pp_run *run, struct pp_run_record *rec)
{
	struct pp_ikey key = sort_key(rec), first;

	if (run->count) {
		first = sort_key(run->items[0].rec);
		run->common = pp_common(first.bytes, run->common, key.bytes, key.size);
	} else {
		run->common = key.size;
	}
	run->items[run->count++].rec = rec;
	run->used += (sizeof(*rec) + rec->key_size + rec->size + 7) & ~(size_t)7;
}

int pp_run_grow(struct pp_run *run)
{
	struct pp_run larger;
	int rc = pp_run_init(&larger, run->room * 2 > run->used * 2 ? run->room * 2 : run->used * 2);

	if (rc)
		return rc;
	memcpy(larger.bytes, run->bytes, run->used);
	for (size_t i = 0; i < run->count; i++)
		larger.items[i].rec = (struct pp_run_record *)(larger.bytes + ((uint8_t *)run->items[i].rec - run->bytes));
	larger.used = run->used;
	larger.count = run->count;
	larger.common = run->common;
	pp_run_release(run);
	*run = larger;
	return 0;
}

int pp_run_carry(struct pp_run *run, uint64_t tag, struct pp_run *to)
{
	size_t keep = run->count;
	int rc = 0;

	while (keep && run->items[keep - 1].rec->tag > tag)
		keep--;
	for (size_t i = keep; to && i < run->count; i++) {
		const struct pp_run_record *rec = run->items[i].rec;
		struct pp_run_record *copy;

		while (!rc && !(copy = pp_run_reserve(to, rec->key_size, rec->size)))
			rc = pp_run_grow(to);
		if (rc)
			return rc;
		memcpy(copy, rec, sizeof(*rec) + rec->key_size + rec->size);
		pp_run_add(to, copy);
	}
	run->count = keep;
	return 0;
}

/* ---- sorting ---------------------------------------------------------------------------------------------------- */

static void set_slices(struct pp_run_item *a, size_t n, uint32_t depth)
{
	for (size_t i = 0; i < n; i++) {
		struct pp_ikey key = sort_key(a[i].rec);

		if (i + AHEAD < n)
			pp_near(&a[i + AHEAD].rec->flags);
		a[i].slice = pp_slice(key.bytes, key.size, depth);
	}
}

static void insertion_sort(struct pp_run_item *a, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		struct pp_run_item x = a[i];
		size_t j = i;

		for (; j && a[j - 1].slice > x.slice; j--)
			a[j] = a[j - 1];
		a[j] = x;
	}
}

/* Two sorted halves of `from`, the second beginning at `half`, into `to`. */
static void merge(const struct pp_run_item *from, size_t half, size_t n, struct pp_run_item *to)
{
	const struct pp_run_item *a = from, *a_end = from + half, *b = a_end, *b_end = from + n;

	if (a_end[-1].slice <= b->slice) { /* in order already, as from a checkpoint */
		memcpy(to, from, n * sizeof(*to));
		return;
	}
	while (a < a_end && b < b_end) {
		bool second = b->slice < a->slice;
		const struct pp_run_item *next = second ? b : a;

		*to++ = *next;
		b += second;
		a += !second;
	}
	memcpy(to, a, (size_t)(a_end - a) * sizeof(*to));
	memcpy(to + (a_end - a), b, (size_t)(b_end - b) * sizeof(*to));
}

/* Sorts `a`; the result is there, or in `b` if `into_b`. */
static void merge_sort(struct pp_run_item *a, struct pp_run_item *b, size_t n, bool into_b)
{
	size_t half = n / 2;

	if (n <= SMALL) {
		insertion_sort(a, n);
		if (into_b)
			memcpy(b, a, n * sizeof(*a));
		return;
	}
	merge_sort(a, b, half, !into_b);
	merge_sort(a + half, b + half, n - half, !into_b);
	if (into_b)
		merge(a, half, n, b);
	else
		merge(b, half, n, a);
}

static void sort_from(struct pp_run_item *a, struct pp_run_item *spare, size_t n, uint32_t depth);

/* Keys that end within the slice come first, by length; they are prefixes of the others. Number of those others, at the end. */
static size_t ended_first(struct pp_run_item *a, struct pp_run_item *spare, size_t n, uint32_t depth)
{
	size_t at[10] = {0}, longer;

	for (size_t i = 0; i < n; i++) {
		uint32_t rest = sort_key(a[i].rec).size - depth;

		at[rest < 9 ? rest : 9]++;
	}
	longer = at[9];
	for (unsigned k = 9; k > 0; k--)
		at[k] = at[k - 1];
	at[0] = 0;
	for (unsigned k = 1; k < 10; k++)
		at[k] += at[k - 1];
	for (size_t i = 0; i < n; i++) {
		uint32_t rest = sort_key(a[i].rec).size - depth;

		spare[at[rest < 9 ? rest : 9]++] = a[i];
	}
	memcpy(a, spare, n * sizeof(*a));
	return longer;
}

/* All share the bytes up to the end of their slice at `depth`. */
static void sort_equal(struct pp_run_item *a, struct pp_run_item *spare, size_t n, uint32_t depth)
{
	uint64_t slice = a[0].slice;
	size_t longer = ended_first(a, spare, n, depth);
	struct pp_ikey first;
	uint32_t common;

	if (longer < 2)
		return;
	a += n - longer;
	first = sort_key(a[0].rec);
	common = first.size;
	for (size_t i = 1; i < longer; i++) {
		struct pp_ikey key = sort_key(a[i].rec);

		common = depth + 8 + pp_common(first.bytes + depth + 8, common - depth - 8, key.bytes + depth + 8, key.size - depth - 8);
	}
	sort_from(a, spare, longer, common);
	for (size_t i = 0; i < longer; i++)
		a[i].slice = slice;
}

/* All share `depth` bytes. */
static void sort_from(struct pp_run_item *a, struct pp_run_item *spare, size_t n, uint32_t depth)
{
	set_slices(a, n, depth);
	merge_sort(a, spare, n, false);
	for (size_t i = 0, j; i < n; i = j) {
		for (j = i + 1; j < n && a[j].slice == a[i].slice;)
			j++;
		if (j - i > 1)
			sort_equal(a + i, spare + i, j - i, depth);
	}
}

static size_t part_at(const struct pp_run *run, unsigned part, unsigned parts)
{
	return run->count * part / parts;
}

void pp_run_sort(struct pp_run *run, unsigned part, unsigned parts)
{
	size_t from = part_at(run, part, parts), to = part_at(run, part + 1, parts);

	sort_from(run->items + from, run->spare + from, to - from, run->common);
}

/* ---- ranges ----------------------------------------------------------------------------------------------------- */

static int compare_samples(const void *a, const void *b)
{
	return compare(a, b);
}

static const struct pp_run_item *lower_bound(const struct pp_run_item *at, const struct pp_run_item *end, const struct pp_run_item *x)
{
	while (at < end) {
		const struct pp_run_item *mid = at + (end - at) / 2;

		if (compare(mid, x) < 0)
			at = mid + 1;
		else
			end = mid;
	}
	return at;
}

static void find_low(struct pp_run_range *r)
{
	unsigned low = r->parts;

	for (unsigned i = 0; i < r->parts; i++)
		if (r->at[i] < r->end[i] && (low == r->parts || compare(r->at[i], r->at[low]) < 0))
			low = i;
	r->low = low;
}

void pp_run_cut(const struct pp_run *run, unsigned parts, unsigned count, struct pp_run_range *ranges)
{
	struct pp_run_item sample[PP_RUN_PARTS * SAMPLES];
	unsigned samples = 0;

	for (unsigned p = 0; p < parts; p++) {
		size_t from = part_at(run, p, parts), size = part_at(run, p + 1, parts) - from;

		for (unsigned i = 0; i < SAMPLES && size; i++)
			sample[samples++] = run->items[from + size * i / SAMPLES];
	}
	qsort(sample, samples, sizeof(*sample), compare_samples);
	for (unsigned r = 0; r < count; r++) {
		ranges[r] = (struct pp_run_range){.parts = parts, .common = run->common};
		for (unsigned p = 0; p < parts; p++) {
			const struct pp_run_item *from = run->items + part_at(run, p, parts), *to = run->items + part_at(run, p + 1, parts);

			ranges[r].at[p] = r && samples ? lower_bound(from, to, &sample[samples * r / count]) : from;
			ranges[r].end[p] = to;
			if (r)
				ranges[r - 1].end[p] = ranges[r].at[p];
		}
	}
	for (unsigned r = 0; r < count; r++)
		find_low(&ranges[r]);
}

static bool newer(const struct pp_run_record *a, const struct pp_run_record *b)
{
	return a->tag > b->tag || (a->tag == b->tag && a->seq > b->seq);
}

const struct pp_run_record *pp_run_take(struct pp_run_range *r)
{
	const struct pp_run_item *first = r->at[r->low];
	const struct pp_run_record *newest = first->rec;

	for (;;) {
		const struct pp_run_item *next;

		if (r->at[r->low] + AHEAD < r->end[r->low]) {
			const char *rec = (const char *)r->at[r->low][AHEAD].rec;

			pp_near(rec);
			pp_near(rec + 64);
			pp_near(rec + 128);
		}
		r->at[r->low]++;
		find_low(r);
		if (r->low == r->parts)
			return newest;
		next = r->at[r->low];
		if (next->slice != first->slice || compare(next, first))
			return newest;
		if (newer(next->rec, newest))
			newest = next->rec;
	}
}
