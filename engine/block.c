/*
 * block.c - search in immutable blocks and build changed copies.
 *
 * A block is never written after its leaf cell refers to it, so everything here is plain sequential code: what may be read is
 * protected by the caller's read section, what is built is private until the caller's CAS.
 *
 * All keys of a block share `prefix_size` bytes (not necessarily all that they share); slices hold the 8 bytes behind. An insertion
 * keeps the prefix or shortens it by shifting the slices, without looking at any key; a split looks at the keys once to lengthen it.
 *
 * Dies inside: a PRIVATE block that nobody refers to; the reaper frees it.
 */
#include "engine/block.h"

/* First slice >= s, without branches that depend on the data. */
static unsigned lower_bound(const uint64_t *slices, unsigned count, uint64_t s)
{
	const uint64_t *base = slices;

	while (count > 1) {
		unsigned half = count / 2;

		base += half & -(size_t)(base[half - 1] < s); /* not ?:, of which gcc makes a branch */
		count -= half;
	}
	return (unsigned)(base - slices) + (count == 1 && *base < s);
}

/* Order of k against the block's prefix: < 0 before all entries, > 0 behind all, 0 shares it. */
static int prefix_order(const struct pp_leafblock *b, const struct pp_ikey *k)
{
	uint32_t n = b->prefix_size < k->size ? b->prefix_size : k->size;
	int c = pp_bytes_order(k->bytes, pp_block_prefix(b), n);

	return c ? c : -(k->size < b->prefix_size);
}

unsigned pp_block_find(struct pp_thread *t, const struct pp_leafblock *b, const struct pp_ikey *k, bool *equal)
{
	unsigned low, high;
	uint64_t s;
	int c;

	*equal = false;
	c = prefix_order(b, k);
	if (c)
		return c < 0 ? 0 : b->count;
	s = pp_slice(k->bytes, k->size, b->prefix_size);
	low = lower_bound(b->slices, b->count, s);
	for (high = low; high < b->count && b->slices[high] == s;)
		high++;
	while (low < high) { /* equal slices: whole keys decide */
		unsigned mid = low + (high - low) / 2;

		c = pp_cell_compare(pp_cell_at(t, pp_block_ref(b, mid)), k);
		if (c == 0) {
			*equal = true;
			return mid;
		}
		if (c < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

void pp_entries_load(struct pp_entries *e, const struct pp_leafblock *b)
{
	e->count = b->count;
	e->prefix_size = b->prefix_size;
	e->upper = b->upper;
	e->prefix = pp_block_prefix(b);
	memcpy(e->slice, b->slices, b->count * sizeof(uint64_t));
	if (b->upper)
		memcpy(e->link, pp_block_links(b), b->count * sizeof(uint64_t));
	for (unsigned i = 0; i < b->count; i++)
		e->ref[i] = pp_block_ref(b, i);
}

/* Shortens the prefix to `size` bytes: the bytes that leave it move into the slices. */
static void shorten(uint64_t *slice, unsigned count, const uint8_t *prefix, uint32_t from, uint32_t size)
{
	uint64_t lead = pp_slice(prefix, from, size);
	unsigned drop = from - size;

	for (unsigned i = 0; i < count; i++)
		slice[i] = drop >= 8 ? lead : lead | slice[i] >> (8 * drop);
}

void pp_entries_shorten(struct pp_entries *e, uint32_t size)
{
	if (size >= e->prefix_size)
		return;
	shorten(e->slice, e->count, e->prefix, e->prefix_size, size);
	e->prefix_size = size;
}

static void open_gap(uint64_t *words, unsigned count, unsigned at)
{
	memmove(words + at + 1, words + at, (count - at) * sizeof(*words));
}

static void close_gap(uint64_t *words, unsigned count, unsigned at)
{
	memmove(words + at, words + at + 1, (count - at - 1) * sizeof(*words));
}

void pp_entries_put(struct pp_entries *e, unsigned at, const struct pp_ikey *k, uint64_t ref, uint64_t link)
{
	if (e->count == 0) {
		e->prefix = k->bytes;
		e->prefix_size = k->size;
	} else {
		pp_entries_shorten(e, pp_common(k->bytes, k->size, e->prefix, e->prefix_size));
	}
	open_gap(e->slice, e->count, at);
	open_gap(e->ref, e->count, at);
	e->slice[at] = pp_slice(k->bytes, k->size, e->prefix_size);
	e->ref[at] = ref;
	if (e->upper) {
		open_gap(e->link, e->count, at);
		e->link[at] = link;
	}
	e->count++;
}

void pp_entries_drop(struct pp_entries *e, unsigned at)
{
	close_gap(e->slice, e->count, at);
	close_gap(e->ref, e->count, at);
	if (e->upper)
		close_gap(e->link, e->count, at);
	e->count--;
}

void pp_entries_append(struct pp_entries *e, const struct pp_leafblock *b)
{
	uint32_t common;

	if (b->count == 0)
		return;
	if (e->count == 0) {
		pp_entries_load(e, b);
		return;
	}
	common = pp_common(e->prefix, e->prefix_size, pp_block_prefix(b), b->prefix_size);
	pp_entries_shorten(e, common);
	memcpy(e->slice + e->count, b->slices, b->count * sizeof(uint64_t));
	for (unsigned i = 0; i < b->count; i++)
		e->ref[e->count + i] = pp_block_ref(b, i);
	if (b->upper)
		memcpy(e->link + e->count, pp_block_links(b), b->count * sizeof(uint64_t));
	if (common < b->prefix_size)
		shorten(e->slice + e->count, b->count, pp_block_prefix(b), b->prefix_size, common);
	e->count += b->count;
}

/* The longest prefix that the first and the last key share: all between share it too. */
static uint32_t longest_prefix(struct pp_thread *t, const struct pp_entries *e, unsigned from, unsigned count)
{
	const struct pp_cell *a = pp_cell_at(t, e->ref[from]), *z = pp_cell_at(t, e->ref[from + count - 1]);

	return pp_common(pp_cell_key(a), pp_cell_key_size(a), pp_cell_key(z), pp_cell_key_size(z));
}

static void put_ref(struct pp_leafblock *b, unsigned i, pp_ref ref)
{
	pp_block_refs_low(b)[i] = (uint32_t)ref;
	pp_block_refs_high(b)[i] = (uint8_t)(ref >> 32);
}

static uint8_t *append_bytes(uint8_t *to, const uint8_t *bytes, uint32_t size)
{
	if (size)
		memcpy(to, bytes, size);
	return to + size;
}

int pp_block_build(struct pp_thread *t, const struct pp_entries *e, unsigned from, unsigned count, struct pp_span low,
		   struct pp_span high, uint64_t right, bool tighten, pp_ref *out)
{
	uint32_t prefix_size = count ? e->prefix_size : 0;
	const uint8_t *prefix = e->prefix;
	struct pp_leafblock *b;
	uint64_t bytes;
	uint8_t *tail;
	int rc;

	if (tighten && count) {
		prefix_size = longest_prefix(t, e, from, count);
		prefix = pp_cell_key(pp_cell_at(t, e->ref[from]));
		if (pp_damage(t))
			return pp_damage_report(t);
	}
	bytes = sizeof(*b) + PP_ENTRY_BYTES * (uint64_t)count + prefix_size + low.size + high.size;
	if (e->upper)
		bytes = ((bytes + 7) & ~UINT64_C(7)) + count * sizeof(uint64_t);
	rc = pp_alloc(t, bytes, PP_KIND_OTHER, out);
	if (rc)
		return rc;
	b = pp_at(t->region, *out);
	b->right = right;
	b->count = (uint8_t)count;
	b->upper = e->upper;
	b->prefix_size = (uint16_t)prefix_size;
	b->low_size = (uint16_t)low.size;
	b->high_size = (uint16_t)high.size;
	if (prefix_size == e->prefix_size) {
		memcpy(b->slices, e->slice + from, count * sizeof(uint64_t));
	} else {
		for (unsigned i = 0; i < count; i++) {
			const struct pp_cell *c = pp_cell_at(t, e->ref[from + i]);

			b->slices[i] = pp_slice(pp_cell_key(c), pp_cell_key_size(c), prefix_size);
		}
	}
	for (unsigned i = 0; i < count; i++)
		put_ref(b, i, e->ref[from + i]);
	tail = append_bytes((uint8_t *)(uintptr_t)pp_block_prefix(b), prefix, prefix_size);
	tail = append_bytes(tail, low.bytes, low.size);
	append_bytes(tail, high.bytes, high.size);
	if (e->upper)
		memcpy(pp_block_links(b), e->link + from, count * sizeof(uint64_t));
	if (pp_damage(t)) {
		pp_alloc_cancel(t, *out);
		return pp_damage_report(t);
	}
	return 0;
}
