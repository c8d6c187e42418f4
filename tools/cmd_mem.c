/*
 * cmd_mem.c - `ppdb mem`: where every byte of the arena is, and what to do about it. Works without a daemon, too.
 */
#include "tools/cmd_mem.h"
#include "tools/text_escape.h"
#include "tools/text_json.h"
#include "tools/text_number.h"

#include <inttypes.h>
#include <stdio.h>

struct line {
	const char *name, *json;
	uint64_t bytes, blocks;
};
#define LINES (PP_MEM_USES + 8)

static unsigned make_lines(const struct pp_mem *m, struct line *l)
{
	static const char *const json[PP_MEM_USES] = {"keys", "versions", "leaf_cells", "index_blocks", "index_cells", "hints"};
	const struct pp_account *a = &m->account;
	unsigned n = 0;

	for (unsigned i = 0; i < PP_MEM_USES; i++)
		l[n++] = (struct line){pp_mem_use_names[i], json[i], m->live[i], m->blocks[i]};
	l[n++] = (struct line){"waiting to be freed", "limbo", a->limbo_bytes, a->blocks_limbo};
	l[n++] = (struct line){"in clients' hands", "private", a->private_bytes, a->blocks_private};
	l[n++] = (struct line){"free blocks", "free_blocks", a->free_bytes, a->blocks_free};
	l[n++] = (struct line){"not carved yet", "page_tails", a->page_tail_bytes, 0};
	l[n++] = (struct line){"empty pages", "empty_pages", a->empty_page_bytes, 0};
	l[n++] = (struct line){"free pages", "free_pages", a->free_page_bytes, 0};
	l[n++] = (struct line){"tables (slots, rings, pages)", "tables_fixed", a->table_bytes, 0};
	l[n++] = (struct line){"between two states", "stray", a->stray_bytes, 0};
	return n;
}

/* ---- text -------------------------------------------------------------------------------------------------------- */

static void print_sentence(void *ctx, const char *sentence)
{
	(void)ctx;
	puts(sentence);
}

static void print_sizes(const char *what, const uint64_t *sizes)
{
	char a[PP_TEXT_NUMBER];

	printf("%s\n", what);
	for (unsigned i = 0; i < PP_MEM_SIZES; i++)
		if (sizes[i])
			printf("  %10s  %" PRIu64 "\n", i ? pp_text_bytes(a, (double)((UINT64_C(1) << i) - 1)) : "0 B", sizes[i]);
}

static void print_tables(const struct pp_mem *m)
{
	char a[PP_TEXT_NUMBER], b[PP_TEXT_NUMBER], c[PP_TEXT_NUMBER];

	printf("%-8s %12s %12s %12s %12s\n", "table", "keys", "key bytes", "values", "memory");
	for (unsigned i = 0; i <= PP_MEM_TABLES; i++) {
		const struct pp_mem_table *t = &m->table[i];
		char id[16];

		if (i >= m->tables && !t->keys)
			continue;
		snprintf(id, sizeof(id), "%" PRIu32, t->id);
		printf("%-8s %12" PRIu64 " %12s %12s %12s\n", i < PP_MEM_TABLES ? id : "others", t->keys, pp_text_bytes(a, (double)t->key_bytes),
			pp_text_bytes(b, (double)t->value_bytes), pp_text_bytes(c, (double)t->block_bytes));
	}
}

static void print_classes(const struct pp_mem *m)
{
	const struct pp_account *a = &m->account;
	char x[PP_TEXT_NUMBER];

	printf("%-12s %12s %12s %7s\n", "block size", "memory", "live blocks", "fill");
	for (unsigned i = 0; i < PP_CLASSES; i++)
		if (a->class_bytes[i])
			printf("%-12" PRIu64 " %12s %12" PRIu64 " %6.1f%%\n", pp_class_bytes(i), pp_text_bytes(x, (double)a->class_bytes[i]), a->class_live[i],
				100.0 * (double)(a->class_live[i] * pp_class_bytes(i)) / (double)a->class_bytes[i]);
	if (a->class_bytes[PP_CLASSES])
		printf("%-12s %12s %12" PRIu64 "\n", "whole pages", pp_text_bytes(x, (double)a->class_bytes[PP_CLASSES]), a->class_live[PP_CLASSES]);
}

static void print_greatest(const struct pp_mem *m)
{
	char a[PP_TEXT_NUMBER];

	puts("greatest");
	for (unsigned i = 0; i < PP_MEM_GREATEST && m->great[i].bytes; i++) {
		const struct pp_mem_great *g = &m->great[i];
		bool whole = g->key_size <= sizeof(g->key);

		printf("  %10s  table %" PRIu32 "  ", pp_text_bytes(a, (double)g->bytes), g->table);
		pp_text_print(stdout, g->key, whole ? g->key_size : sizeof(g->key));
		puts(whole ? "" : "...");
	}
}

/* How well the blocks are used: of the index, and of the pages. */
static void print_fill(const struct pp_mem *m)
{
	if (m->leaf_blocks)
		printf("%.1f of %u keys in a leaf block; ", (double)m->leaf_entries / (double)m->leaf_blocks, PP_LEAF_MAX);
	printf("%.1f%% of the pages in use are free blocks (fragmentation)\n", pp_mem_fragmentation(m));
}

static void print_pins(const struct pp_region *r)
{
	char a[PP_TEXT_NUMBER], b[PP_TEXT_NUMBER], c[PP_TEXT_NUMBER];
	bool any = false;

	for (uint32_t i = 0; i < r->fixed.procs; i++) {
		const struct pp_proc *p = &r->procs[i];
		struct pp_mem_pin pin;

		if (!pp_mem_pin_of(p, &pin))
			continue;
		if (!any)
			printf("%-8s %-24s %12s %12s %12s\n", "pid", "keeps from being freed", "bytes", "read for", "snapshot for");
		any = true;
		printf("%-8" PRIu32 " %-24.24s %12s %12s %12s\n", pin.pid, p->name, pp_text_bytes(a, (double)pin.bytes),
			pp_text_seconds(b, (double)pin.interval_ns / 1e9), pp_text_seconds(c, (double)pin.snapshot_ns / 1e9));
	}
}

static void print_nodes(const struct pp_region *r, const struct pp_mem *m)
{
	char a[PP_TEXT_NUMBER];

	for (unsigned i = 0; i < PP_MAX_NODES && r->fixed.nodes > 1; i++)
		if (m->node_bytes[i])
			printf("node %-3u %12s\n", i, pp_text_bytes(a, (double)m->node_bytes[i]));
}

static void print_shards(const struct pp_mem *m)
{
	char a[PP_TEXT_NUMBER];

	if (m->shards)
		printf("%-8s %12s %12s\n", "shard", "keys", "memory");
	for (unsigned i = 0; i < m->shards; i++)
		printf("%-8u %12" PRIu64 " %12s\n", i, m->shard[i].keys, pp_text_bytes(a, (double)m->shard[i].block_bytes));
}

static void print_text(const struct pp_region *r, const struct pp_mem *m, bool all)
{
	uint64_t committed = m->account.committed_bytes, sum = pp_mem_sum(m), keys = pp_mem_keys(m);
	char a[PP_TEXT_NUMBER], b[PP_TEXT_NUMBER];
	struct line lines[LINES];
	unsigned n = make_lines(m, lines);

	printf("%s of %s backed; %" PRIu64 " keys", pp_text_bytes(a, (double)committed), pp_text_bytes(b, (double)r->fixed.memory_max), keys);
	if (keys)
		printf(", %.1f bytes a key", (double)committed / (double)keys);
	printf("\n%-30s %12s %7s %12s\n", "", "memory", "share", "blocks");
	for (unsigned i = 0; i < n; i++)
		if (lines[i].bytes)
			printf("%-30s %12s %6.1f%% %12" PRIu64 "\n", lines[i].name, pp_text_bytes(a, (double)lines[i].bytes),
				100.0 * (double)lines[i].bytes / (double)committed, lines[i].blocks);
	printf("%-30s %12s %6.1f%%\n", "sum", pp_text_bytes(a, (double)sum), 100.0 * (double)sum / (double)committed);
	print_fill(m);
	print_tables(m);
	print_pins(r);
	print_nodes(r, m);
	if (all) {
		print_shards(m);
		print_classes(m);
		print_sizes("keys of at most", m->key_sizes);
		print_sizes("values of at most", m->value_sizes);
	}
	print_greatest(m);
	pp_mem_diagnose(r, m, print_sentence, NULL);
}

/* ---- JSON -------------------------------------------------------------------------------------------------------- */

static void json_sentence(void *ctx, const char *sentence)
{
	pp_json_text(ctx, NULL, sentence);
}

static void json_sizes(struct pp_json *j, const char *name, const uint64_t *sizes)
{
	pp_json_open(j, name, '[');
	for (unsigned i = 0; i < PP_MEM_SIZES; i++)
		pp_json_u64(j, NULL, sizes[i]);
	pp_json_close(j, ']');
}

static void json_pins(struct pp_json *j, const struct pp_region *r)
{
	struct pp_mem_pin pin;

	pp_json_open(j, "pins", '[');
	for (uint32_t i = 0; i < r->fixed.procs; i++) {
		if (!pp_mem_pin_of(&r->procs[i], &pin))
			continue;
		pp_json_open(j, NULL, '{');
		pp_json_u64(j, "pid", pin.pid);
		pp_json_text(j, "name", r->procs[i].name);
		pp_json_u64(j, "bytes", pin.bytes);
		pp_json_u64(j, "interval_ms", pin.interval_ns / PP_NS_PER_MS);
		pp_json_u64(j, "snapshot_ms", pin.snapshot_ns / PP_NS_PER_MS);
		pp_json_close(j, '}');
	}
	pp_json_close(j, ']');
}

static void json_parts(struct pp_json *j, const struct pp_region *r, const struct pp_mem *m)
{
	pp_json_open(j, "shard", '[');
	for (unsigned i = 0; i < m->shards; i++) {
		pp_json_open(j, NULL, '{');
		pp_json_u64(j, "keys", m->shard[i].keys);
		pp_json_u64(j, "memory_bytes", m->shard[i].block_bytes);
		pp_json_close(j, '}');
	}
	pp_json_close(j, ']');
	pp_json_open(j, "node_bytes", '[');
	for (unsigned i = 0; i < r->fixed.nodes && i < PP_MAX_NODES; i++)
		pp_json_u64(j, NULL, m->node_bytes[i]);
	pp_json_close(j, ']');
	pp_json_real(j, "leaf_fill", m->leaf_blocks ? (double)m->leaf_entries / (double)m->leaf_blocks / PP_LEAF_MAX : 0);
	pp_json_real(j, "fragmentation", pp_mem_fragmentation(m) / 100);
}

static void json_details(struct pp_json *j, const struct pp_mem *m)
{
	pp_json_open(j, "table", '[');
	for (unsigned i = 0; i < m->tables; i++) {
		const struct pp_mem_table *t = &m->table[i];

		pp_json_open(j, NULL, '{');
		pp_json_u64(j, "id", t->id);
		pp_json_u64(j, "keys", t->keys);
		pp_json_u64(j, "key_bytes", t->key_bytes);
		pp_json_u64(j, "values", t->values);
		pp_json_u64(j, "value_bytes", t->value_bytes);
		pp_json_u64(j, "memory_bytes", t->block_bytes);
		pp_json_close(j, '}');
	}
	pp_json_close(j, ']');
	pp_json_open(j, "class", '[');
	for (unsigned i = 0; i <= PP_CLASSES; i++) {
		if (!m->account.class_bytes[i])
			continue;
		pp_json_open(j, NULL, '{');
		pp_json_u64(j, "block_bytes", i < PP_CLASSES ? pp_class_bytes(i) : 0);
		pp_json_u64(j, "bytes", m->account.class_bytes[i]);
		pp_json_u64(j, "live", m->account.class_live[i]);
		pp_json_close(j, '}');
	}
	pp_json_close(j, ']');
	json_sizes(j, "key_sizes", m->key_sizes);
	json_sizes(j, "value_sizes", m->value_sizes);
}

static void print_json(const struct pp_region *r, const struct pp_mem *m)
{
	struct pp_json j = {.out = stdout, .indent = true};
	struct line lines[LINES];
	unsigned n = make_lines(m, lines);

	pp_json_open(&j, NULL, '{');
	pp_json_u64(&j, "max_bytes", r->fixed.memory_max);
	pp_json_u64(&j, "committed_bytes", m->account.committed_bytes);
	pp_json_u64(&j, "sum_bytes", pp_mem_sum(m));
	pp_json_u64(&j, "keys", pp_mem_keys(m));
	pp_json_open(&j, "bytes", '{');
	for (unsigned i = 0; i < n; i++)
		pp_json_u64(&j, lines[i].json, lines[i].bytes);
	pp_json_close(&j, '}');
	json_parts(&j, r, m);
	json_pins(&j, r);
	json_details(&j, m);
	pp_json_open(&j, "doctor", '[');
	pp_mem_diagnose(r, m, json_sentence, &j);
	pp_json_close(&j, ']');
	pp_json_close(&j, '}');
}

static const char help_text[] =
	"usage: ppdb [-n NAME] [--json] mem [--all] [--interval S [--count N]] [--arena FILE]\n\n"
	"Where every byte of the arena is. The lines sum up to what is backed, exactly when nobody writes. --all adds shards, block sizes and the\n"
	"distribution of key and value sizes. MEMORY of a table or a shard: the blocks of its keys and values. FRAGMENTATION: what is free in pages\n"
	"that hold something, so that only blocks of their size can take it. Works when no daemon runs, on what it left (in FILE, if the store\n"
	"is not where its name says). --interval: growth, one line every S seconds until interrupted, or N lines.\n"
	"--json prints one object: max_bytes, committed_bytes, sum_bytes, keys, bytes (by purpose), shard (keys, memory_bytes; empty with one shard),\n"
	"node_bytes, leaf_fill and fragmentation (0 to 1), pins (pid, name, bytes, interval_ms, snapshot_ms), table (id, keys, key_bytes, values,\n"
	"value_bytes, memory_bytes), class (block_bytes, 0 = whole pages; bytes, live), key_sizes and value_sizes ([i]: how many have\n"
	"less than 2^i bytes, and at least half of that), doctor (sentences). With --interval one object a line: seconds, committed_bytes, live_bytes,\n"
	"limbo_bytes, keys, live_bytes_per_second, keys_per_second, full_in_seconds (left out when it does not grow).\n\n"
	"  ppdb mem                          what takes the memory?\n"
	"  ppdb mem --interval 1 --count 3   how fast does it grow, when will it be full?\n"
	"  ppdb mem --json | jq .doctor      what should be done?\n";

static int show(const struct pp_cmd *c, struct pp_region *r, bool all)
{
	static struct pp_mem m;
	int rc = pp_mem_count(r, &m);

	if (rc)
		return pp_cmd_fail(c, rc, NULL);
	if (c->json)
		print_json(r, &m);
	else
		print_text(r, &m, all);
	return PP_EXIT_OK;
}

int pp_cmd_mem(struct pp_cmd *c, int argc, char **argv)
{
	uint64_t interval_s = 0, count = 0;
	const char *arena = NULL;
	bool all = false;
	const struct pp_opt opts[] = {{"all", PP_OPT_FLAG, &all}, {"interval", PP_OPT_U64, &interval_s}, {"count", PP_OPT_U64, &count},
		{"arena", PP_OPT_TEXT, &arena}, {NULL, 0, NULL}};
	struct pp_live live;
	int rc;

	if (pp_cmd_help(argc, argv, help_text))
		return PP_EXIT_OK;
	if (pp_cmd_options(c, argc, argv, opts, 0, 0) < 0)
		return PP_EXIT_USAGE;
	if (interval_s > 86400 || (count && !interval_s))
		return pp_cmd_usage(c, "--interval takes 1 to 86400 seconds, --count goes with it");
	rc = pp_live_open(c, arena, &live);
	if (rc)
		return rc;
	rc = interval_s ? pp_mem_growth(c, live.region, interval_s, count) : show(c, live.region, all);
	pp_live_close(&live);
	return rc;
}
