/*
 * perf_pages.c - where memory lies, asked of the kernel (move_pages without a target, /proc/self/smaps).
 *
 * Both tell only of pages that this process has mapped, so a byte of each is read first. Pages without memory are left out, for reading them
 * would give them some: only those that hold blocks or large values are looked at.
 */
#include "tools/perf_pages.h"

#include "engine/index.h"
#include "engine/shards.h"
#include "shm/alloc.h"

#include <inttypes.h>
#include <numaif.h>
#include <stdio.h>
#include <string.h>

#define BATCH 1024
#define LOOK_BLOCKS 64                 /* of a page, for one that belongs to a key */
#define LOOKS_MAX 65536u               /* pages of 64 KiB: all of a store of 4 GiB, each n-th of a greater one */

#define OTHER UINT32_MAX

struct batch {
	void *at[BATCH];
	uint32_t shard[BATCH];         /* OTHER = of none */
	unsigned count;
};

static void ask(struct batch *b, struct pp_perf_pages *out)
{
	int node[BATCH];

	if (!b->count)
		return;
	if (move_pages(0, b->count, b->at, NULL, node, 0))
		for (unsigned i = 0; i < b->count; i++)
			node[i] = -1;
	for (unsigned i = 0; i < b->count; i++) {
		uint32_t *row = b->shard[i] == OTHER ? out->other : out->on[b->shard[i]];

		out->looked_at++;
		if (node[i] >= 0 && node[i] < PP_MAX_NODES)
			row[node[i]]++;
		else
			out->untold++;
	}
	b->count = 0;
}

/* ---- whose page ------------------------------------------------------------------------------------------------- */

/* The key that a live block belongs to, or NULL. What is freed meanwhile is another's: bytes of it are taken for a key at worst. */
static const struct pp_cell *cell_of(const struct pp_region *r, pp_ref block, uint64_t bytes)
{
	uint64_t word = pp_load_acq(&((struct pp_block *)(r->base + block))->word);
	pp_ref ref = block + sizeof(struct pp_block);
	const struct pp_cell *c;

	if (pp_block_state(word) != PP_BLOCK_LIVE || (pp_block_kind(word) != PP_KIND_CELL && pp_block_kind(word) != PP_KIND_VERSION))
		return NULL;
	if (pp_block_kind(word) == PP_KIND_VERSION && bytes >= sizeof(struct pp_block) + sizeof(struct pp_version_block))
		ref = pp_link_ref(((const struct pp_version_block *)(r->base + ref))->cell);
	if (!pp_ref_inside(r, ref, sizeof(*c)))
		return NULL;
	c = (const struct pp_cell *)(r->base + ref);
	if (c->flags & PP_C_INDEX || c->key_size > PP_KEY_MAX || !pp_ref_inside(r, ref, sizeof(*c) + c->key_size))
		return NULL;
	return c;
}

static uint32_t shard_of_cell(const struct pp_region *r, const struct pp_cell *c)
{
	struct pp_thread reader = {.region = (struct pp_region *)(uintptr_t)r};
	struct pp_ikey key = {pp_cell_key(c), pp_cell_key_size(c)};

	return pp_shard_at(r->engine, pp_list_of(&reader, pp_cell_hash(c)), &key);
}

static uint32_t shard_of_page(const struct pp_region *r, uint64_t page, unsigned shards)
{
	const struct pp_page *p = &r->pages[page];
	unsigned klass = pp_page_class(pp_load_acq(&p->word));
	uint32_t carved = pp_load_acq(&p->carved), shard;
	uint64_t size = klass < PP_CLASSES ? pp_classes[klass].size : 0;

	if (pp_page_type(pp_load_acq(&p->word)) == PP_PAGE_LARGE) {
		size = PP_PAGE_BYTES;
		carved = 1;
	}
	for (uint32_t i = 0; size && i < carved && i < LOOK_BLOCKS && (i + 1) * size <= PP_PAGE_BYTES; i++) {
		const struct pp_cell *c = cell_of(r, pp_page_ref(r, page) + i * size, size);

		if (!c)
			continue;
		shard = shard_of_cell(r, c);
		return shard < shards ? shard : OTHER;
	}
	return OTHER;
}

static bool holds_data(const struct pp_region *r, uint64_t page)
{
	enum pp_page_type type = pp_page_type(pp_load_acq(&r->pages[page].word));

	return type == PP_PAGE_BLOCKS || type == PP_PAGE_LARGE || type == PP_PAGE_LARGE_REST;
}

static void look_at_nodes(const struct pp_region *r, struct pp_perf_pages *out)
{
	uint64_t pages = (pp_region_known_end(r) - r->segments_at) / PP_PAGE_BYTES, step = pages / LOOKS_MAX + 1;
	struct batch b = {.count = 0};

	for (uint64_t i = 0; i < pages; i += step) {
		volatile const uint8_t *at = r->base + pp_page_ref(r, i);

		if (!holds_data(r, i))
			continue;
		(void)*at;
		b.at[b.count] = (void *)(uintptr_t)at;
		b.shard[b.count++] = shard_of_page(r, i, out->shards);
		if (b.count == BATCH)
			ask(&b, out);
	}
	ask(&b, out);
}

static bool field(const char *line, const char *name, uint64_t *bytes)
{
	size_t size = strlen(name);

	if (strncmp(line, name, size))
		return false;
	if (sscanf(line + size, "%" SCNu64, bytes) != 1)
		return false;
	*bytes *= 1024;
	return true;
}

/* Adds up the mappings that the region lies in: the kernel splits one by policy. */
static void look_at_sizes(const struct pp_region *r, struct pp_perf_pages *out)
{
	uintptr_t low, high, base = (uintptr_t)r->base, end = base + r->map_bytes;
	uint64_t bytes;
	bool inside = false;
	char line[512];
	FILE *f = fopen("/proc/self/smaps", "re");

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " ", &low, &high) == 2) {
			inside = low < end && high > base;
			continue;
		}
		if (!inside)
			continue;
		if (field(line, "KernelPageSize:", &bytes))
			out->kernel_page_bytes = bytes > out->kernel_page_bytes ? bytes : out->kernel_page_bytes;
		else if (field(line, "Rss:", &bytes) || field(line, "Shared_Hugetlb:", &bytes) || field(line, "Private_Hugetlb:", &bytes))
			out->mapped_bytes += bytes;
		if (field(line, "ShmemPmdMapped:", &bytes) || field(line, "FilePmdMapped:", &bytes) || field(line, "Shared_Hugetlb:", &bytes) ||
		    field(line, "Private_Hugetlb:", &bytes))
			out->huge_bytes += bytes;
	}
	if (f)
		fclose(f);
}

void pp_perf_pages_look(const struct pp_region *r, const uint32_t *home, unsigned shards, struct pp_perf_pages *out)
{
	memset(out, 0, sizeof(*out));
	out->shards = shards < PP_PERF_PAGE_ROWS ? shards : PP_PERF_PAGE_ROWS;
	out->nodes = r->fixed.nodes < PP_MAX_NODES ? r->fixed.nodes : PP_MAX_NODES;
	memcpy(out->home, home, out->shards * sizeof(*home));
	look_at_nodes(r, out);
	look_at_sizes(r, out);
}

uint64_t pp_perf_pages_away(const struct pp_perf_pages *p, uint64_t *known)
{
	uint64_t away = 0;

	*known = 0;
	for (unsigned s = 0; s < p->shards; s++)
		for (unsigned n = 0; n < PP_MAX_NODES; n++) {
			*known += p->on[s][n];
			away += n == p->home[s] ? 0 : p->on[s][n];
		}
	return away;
}
