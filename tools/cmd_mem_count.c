/*
 * cmd_mem_count.c - one walk over the arena: block headers say what is live, cells and versions say whose it is (see cmd_mem_count.h).
 *
 * Reads only. What is read may change meanwhile or be damaged: each reference is judged before it is followed, and sizes are bounded by
 * the block they stand in.
 */
#include "tools/cmd_mem_count.h"

#include "engine/shards.h"
#include "shm/region.h"

#include <endian.h>
#include <string.h>

const char *const pp_mem_use_names[PP_MEM_USES] = {
	"keys (with small values)", "values of their own", "leaf cells", "index blocks", "index cells", "hash hints"
};

struct walk {
	struct pp_region *region;
	struct pp_mem *m;
	struct pp_thread reader;       /* only its region: to ask which shard a key is in */
};

static unsigned size_class(uint64_t bytes)
{
	unsigned i = bytes ? 64 - (unsigned)__builtin_clzll(bytes) : 0;

	return i < PP_MEM_SIZES ? i : PP_MEM_SIZES - 1;
}

/* In order of id; the last line is for all that have no line. */
static struct pp_mem_table *table_of(struct pp_mem *m, uint32_t id)
{
	unsigned i = 0;

	while (i < m->tables && m->table[i].id < id)
		i++;
	if (i < m->tables && m->table[i].id == id)
		return &m->table[i];
	if (m->tables == PP_MEM_TABLES)
		return &m->table[PP_MEM_TABLES];
	memmove(&m->table[i + 1], &m->table[i], (m->tables - i) * sizeof(m->table[0]));
	m->table[i] = (struct pp_mem_table){.id = id};
	m->tables++;
	return &m->table[i];
}

static void remember(struct pp_mem *m, const struct pp_cell *c, uint64_t bytes)
{
	struct pp_mem_great *g = &m->great[PP_MEM_GREATEST - 1];

	if (bytes <= g->bytes)
		return;
	while (g > m->great && g[-1].bytes < bytes) {
		*g = g[-1];
		g--;
	}
	*g = (struct pp_mem_great){.bytes = bytes, .table = be32toh(c->table_be), .key_size = c->key_size};
	memcpy(g->key, c->key, c->key_size < sizeof(g->key) ? c->key_size : sizeof(g->key));
}

static void count_value(struct walk *w, const struct pp_cell *c, const struct pp_version *v)
{
	struct pp_mem_table *t = table_of(w->m, be32toh(c->table_be));
	uint64_t size = v->size;

	if (pp_version_flags(v) & (PP_V_TOMBSTONE | PP_V_GUARD))
		return;
	t->values++;
	t->value_bytes += size;
	w->m->value_sizes[size_class(size)]++;
	remember(w->m, c, c->key_size + size);
}

static void count_shard(struct walk *w, const struct pp_cell *c, uint64_t bytes, unsigned keys)
{
	struct pp_ikey key = {pp_cell_key(c), pp_cell_key_size(c)};
	unsigned i;

	if (!w->m->shards)
		return;
	i = pp_shard_at(w->region->engine, pp_list_of(&w->reader, pp_cell_hash(c)), &key);
	if (i >= w->m->shards)
		return;
	w->m->shard[i].keys += keys;
	w->m->shard[i].block_bytes += bytes;
}

static bool fits(const struct pp_cell *c, uint64_t bytes)
{
	return c->key_size <= PP_KEY_MAX && sizeof(*c) + c->key_size + sizeof(struct pp_block) <= bytes;
}

static enum pp_mem_use count_cell(struct walk *w, const struct pp_cell *c, uint64_t bytes)
{
	struct pp_mem_table *t;
	uint64_t at;

	if (c->flags & PP_C_INDEX || !fits(c, bytes))
		return PP_MEM_INDEX_CELLS;
	t = table_of(w->m, be32toh(c->table_be));
	t->keys++;
	t->key_bytes += c->key_size;
	t->block_bytes += bytes;
	count_shard(w, c, bytes, 1);
	w->m->key_sizes[size_class(c->key_size)]++;
	at = (sizeof(*c) + c->key_size + 7) & ~UINT64_C(7);
	if (c->flags & PP_C_INLINE && at + sizeof(struct pp_version) + sizeof(struct pp_block) <= bytes)
		count_value(w, c, (const struct pp_version *)((const uint8_t *)c + at));
	return PP_MEM_KEYS;
}

static enum pp_mem_use count_version(struct walk *w, const struct pp_version_block *b, uint64_t bytes)
{
	pp_ref ref = pp_link_ref(b->cell);
	const struct pp_cell *c;

	if (!pp_ref_inside(w->region, ref, sizeof(*c)))
		return PP_MEM_VERSIONS;
	c = (const struct pp_cell *)(w->region->base + ref);
	if (c->key_size > PP_KEY_MAX || !pp_ref_inside(w->region, ref, sizeof(*c) + c->key_size))
		return PP_MEM_VERSIONS;
	table_of(w->m, be32toh(c->table_be))->block_bytes += bytes;
	count_shard(w, c, bytes, 0);
	count_value(w, c, &b->v);
	return PP_MEM_VERSIONS;
}

static enum pp_mem_use count_other(struct walk *w, const struct pp_leafblock *b, uint64_t bytes)
{
	if (bytes >= PP_PAGE_BYTES) /* a run of pages: nothing else of this kind is as large, but a batch for a moment */
		return PP_MEM_HINTS;
	if (!b->upper && b->count) {
		w->m->leaf_blocks++;
		w->m->leaf_entries += b->count;
	}
	return PP_MEM_BLOCKS;
}

static int count_block(void *context, pp_ref payload, uint64_t bytes, uint64_t word)
{
	struct walk *w = context;
	const void *p = w->region->base + payload;
	enum pp_mem_use use;

	if (pp_block_state(word) != PP_BLOCK_LIVE)
		return 0;
	switch (pp_block_kind(word)) {
	case PP_KIND_CELL:
		use = count_cell(w, p, bytes);
		break;
	case PP_KIND_VERSION:
		use = count_version(w, p, bytes);
		break;
	case PP_KIND_LEAF:
		use = PP_MEM_LEAVES;
		break;
	default:
		use = count_other(w, p, bytes);
	}
	w->m->live[use] += bytes;
	w->m->blocks[use]++;
	return 0;
}

static void count_nodes(struct pp_region *r, struct pp_mem *m)
{
	for (uint64_t i = 0; i < m->account.pages; i++) {
		uint32_t node = pp_load_rlx(&r->pages[i].node); /* stat */

		if (pp_page_type(pp_load_rlx(&r->pages[i].word)) != PP_PAGE_HOLE && node < PP_MAX_NODES) /* stat */
			m->node_bytes[node] += PP_PAGE_BYTES;
	}
}

int pp_mem_count(struct pp_region *r, struct pp_mem *m)
{
	struct walk w = {.region = r, .m = m, .reader = {.region = r}};
	const struct pp_engine *e = r->engine;
	int rc;

	memset(m, 0, sizeof(*m));
	m->shards = e->shards > 1 && e->shards <= PP_MEM_SHARDS ? e->shards : 0;
	rc = pp_account_walk(r, &m->account, count_block, &w);
	count_nodes(r, m);
	return rc;
}

uint64_t pp_mem_sum(const struct pp_mem *m)
{
	const struct pp_account *a = &m->account;
	uint64_t live = 0;

	for (unsigned i = 0; i < PP_MEM_USES; i++)
		live += m->live[i];
	return live + a->table_bytes + a->free_page_bytes + a->empty_page_bytes + a->page_tail_bytes + a->free_bytes + a->private_bytes +
	       a->limbo_bytes + a->stray_bytes;
}
