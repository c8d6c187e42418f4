/*
 * cmd_mem.c - `ppdb mem`: where every byte of the arena is, and what to do about it. Works without a daemon, too.
 */
#include "tools/cmd_live.h"
#include "tools/cmd_mem_count.h"
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

static uint64_t live_bytes(const struct pp_mem *m)
{
	uint64_t live = 0;

	for (unsigned i = 0; i < PP_MEM_USES; i++)
		live += m->live[i];
	return live;
}

static uint64_t keys_of(const struct pp_mem *m)
{
	uint64_t keys = 0;

	for (unsigned i = 0; i <= PP_MEM_TABLES; i++)
		keys += m->table[i].keys;
	return keys;
}

/* ---- the doctor -------------------------------------------------------------------------------------------------- */

static const struct pp_proc *worst_pin(const struct pp_region *r)
{
	const struct pp_proc *worst = NULL;

	for (uint32_t i = 0; i < r->fixed.procs; i++) {
		const struct pp_proc *p = &r->procs[i];

		/* All loads are of statistics. */
		if (pp_load_rlx(&p->state) && (!worst || pp_load_rlx(&p->pinned_bytes) > pp_load_rlx(&worst->pinned_bytes)))
			worst = p;
	}
	return worst;
}

/* Sentences, most urgent first; calls back for each. */
static void diagnose(const struct pp_region *r, const struct pp_mem *m, void (*say)(void *ctx, const char *sentence), void *ctx)
{
	const struct pp_account *a = &m->account;
	uint64_t unused = a->free_bytes + a->page_tail_bytes, room = r->fixed.memory_max - a->committed_bytes + a->free_page_bytes;
	const struct pp_proc *pin = worst_pin(r);
	char text[300], x[PP_TEXT_NUMBER], y[PP_TEXT_NUMBER];
	bool said = false;

#define SAY(...) do { snprintf(text, sizeof(text), __VA_ARGS__); say(ctx, text); said = true; } while (0)
	if (room < r->fixed.memory_max / 10)
		SAY("Only %s are left of %s: delete keys, or restart ppdbd with more --memory.", pp_text_bytes(x, (double)room),
			pp_text_bytes(y, (double)r->fixed.memory_max));
	if (a->limbo_bytes > a->committed_bytes / 10 && a->limbo_bytes > (8u << 20))
		SAY("%s wait to be freed: somebody reads, or holds a snapshot, for long; see 'ppdb clients'.", pp_text_bytes(x, (double)a->limbo_bytes));
	if (pin && pp_load_rlx(&pin->pinned_bytes) > (16u << 20)) /* stat */
		SAY("Process %u (%.32s) keeps %s from being freed: refresh its views, or give ppdbd a pin budget (pin-bytes).",
			pp_load_rlx(&pin->pid), pin->name, pp_text_bytes(x, (double)pp_load_rlx(&pin->pinned_bytes))); /* stat */
	if (unused > live_bytes(m) / 2 && unused > (16u << 20))
		SAY("%s in pages that are in use are free: many keys were deleted or changed their size; new ones of those sizes take it first.",
			pp_text_bytes(x, (double)unused));
	if (m->live[PP_MEM_VERSIONS] > m->live[PP_MEM_KEYS] && m->blocks[PP_MEM_VERSIONS] > 2 * keys_of(m) + 1000)
		SAY("There are %" PRIu64 " values beside %" PRIu64 " keys: old versions are kept by a snapshot, or the keeper is behind.",
			m->blocks[PP_MEM_VERSIONS], keys_of(m));
	if (!said)
		say(ctx, "Nothing is wrong.");
#undef SAY
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

static void print_text(const struct pp_region *r, const struct pp_mem *m, bool all)
{
	uint64_t committed = m->account.committed_bytes, sum = pp_mem_sum(m), keys = keys_of(m);
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
	print_tables(m);
	if (all) {
		print_classes(m);
		print_sizes("keys of at most", m->key_sizes);
		print_sizes("values of at most", m->value_sizes);
	}
	print_greatest(m);
	diagnose(r, m, print_sentence, NULL);
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
	pp_json_u64(&j, "keys", keys_of(m));
	pp_json_open(&j, "bytes", '{');
	for (unsigned i = 0; i < n; i++)
		pp_json_u64(&j, lines[i].json, lines[i].bytes);
	pp_json_close(&j, '}');
	json_details(&j, m);
	pp_json_open(&j, "doctor", '[');
	diagnose(r, m, json_sentence, &j);
	pp_json_close(&j, ']');
	pp_json_close(&j, '}');
}

static const char help_text[] =
	"usage: ppdb [-n NAME] [--json] mem [--all] [--arena FILE]\n\n"
	"Where every byte of the arena is. The lines sum up to what is backed, exactly when nobody writes. --all adds block sizes and the\n"
	"distribution of key and value sizes. MEMORY of a table: the blocks of its keys and values. Works when no daemon runs, on what it left\n"
	"(in FILE, if the store is not where its name says).\n"
	"--json prints one object: max_bytes, committed_bytes, sum_bytes, keys, bytes (by purpose), table (id, keys, key_bytes, values,\n"
	"value_bytes, memory_bytes), class (block_bytes, 0 = whole pages; bytes, live), key_sizes and value_sizes ([i]: how many have\n"
	"less than 2^i bytes, and at least half of that), doctor (sentences).\n\n"
	"  ppdb mem                       what takes the memory?\n"
	"  ppdb mem --json | jq .doctor   what should be done?\n";

int pp_cmd_mem(struct pp_cmd *c, int argc, char **argv)
{
	const char *arena = NULL;
	bool all = false;
	const struct pp_opt opts[] = {{"all", PP_OPT_FLAG, &all}, {"arena", PP_OPT_TEXT, &arena}, {NULL, 0, NULL}};
	static struct pp_mem m;
	struct pp_live live;
	int rc;

	if (pp_cmd_help(argc, argv, help_text))
		return PP_EXIT_OK;
	if (pp_cmd_options(c, argc, argv, opts, 0, 0) < 0)
		return PP_EXIT_USAGE;
	rc = pp_live_open(c, arena, &live);
	if (rc)
		return rc;
	rc = pp_mem_count(live.region, &m);
	if (rc)
		rc = pp_cmd_fail(c, rc, NULL);
	else if (c->json)
		print_json(live.region, &m);
	else
		print_text(live.region, &m, all);
	pp_live_close(&live);
	return rc;
}
