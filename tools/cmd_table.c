/*
 * cmd_table.c - `ppdb tables` and `ppdb table create|change|drop`: the named tables.
 */
#include "tools/cmd.h"
#include "tools/conf.h"
#include "tools/text_escape.h"
#include "tools/text_json.h"
#include "tools/text_number.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct listing {
	struct pp_json j;
	bool json, begun;
};

static void print_row(struct listing *l, const ppdb_table_info *t)
{
	char used[PP_TEXT_NUMBER], quota[PP_TEXT_NUMBER] = "-", ttl[PP_TEXT_NUMBER] = "-";

	if (!l->begun)
		printf("%10s %12s %12s %12s %14s  %s\n", "TABLE", "KEYS", "USED", "QUOTA", "TTL", "NAME");
	l->begun = true;
	pp_text_bytes(used, (double)t->used_bytes);
	if (t->quota_bytes)
		pp_text_bytes(quota, (double)t->quota_bytes);
	if (t->ttl_ms)
		pp_text_seconds(ttl, (double)t->ttl_ms / 1000);
	printf("%10" PRIu32 " %12" PRIu64 " %12s %12s %14s  ", t->table, t->keys, used, quota, ttl);
	pp_text_print(stdout, t->name, strlen(t->name));
	putchar('\n');
}

static int print_table(void *ctx, const ppdb_table_info *t)
{
	struct listing *l = ctx;

	if (!l->json) {
		print_row(l, t);
		return 0;
	}
	pp_json_open(&l->j, NULL, '{');
	pp_json_bytes(&l->j, "name", t->name, strlen(t->name));
	pp_json_u64(&l->j, "table", t->table);
	pp_json_u64(&l->j, "keys", t->keys);
	pp_json_u64(&l->j, "used_bytes", t->used_bytes);
	pp_json_u64(&l->j, "quota_bytes", t->quota_bytes);
	pp_json_u64(&l->j, "ttl_ms", t->ttl_ms);
	pp_json_u64(&l->j, "created_ms", t->created_ms);
	pp_json_close(&l->j, '}');
	return 0;
}

int pp_cmd_tables(struct pp_cmd *c, int argc, char **argv)
{
	struct listing l = {.j = {.out = stdout}};
	ppdb *db;
	int rc;

	if (pp_cmd_options(c, argc, argv, NULL, 0, 0) < 0)
		return PP_EXIT_USAGE;
	rc = pp_cmd_attach(c, PPDB_RDONLY, &db);
	if (rc)
		return rc;
	l.json = c->json;
	if (c->json)
		pp_json_open(&l.j, NULL, '[');
	rc = ppdb_table_list(db, print_table, &l);
	if (c->json)
		pp_json_close(&l.j, ']');
	if (rc)
		rc = pp_cmd_fail(c, rc, NULL);
	ppdb_detach(db);
	return rc;
}

/* What a change leaves as it is. */
struct now {
	const char *name;
	ppdb_table_info info;
	bool found;
};

static int take_if_named(void *ctx, const ppdb_table_info *t)
{
	struct now *n = ctx;

	if (strcmp(t->name, n->name))
		return 0;
	n->info = *t;
	n->found = true;
	return 0;
}

static int change(ppdb *db, const char *name, const char *quota, const uint64_t *ttl_ms, ppdb_table_opts *o)
{
	struct now now = {.name = name};
	ppdb_table table;
	int rc = ppdb_table_list(db, take_if_named, &now);

	if (!rc && !now.found)
		return PPDB_TABLE_UNKNOWN;
	if (!quota)
		o->quota_bytes = now.info.quota_bytes;
	o->ttl_ms = *ttl_ms == UINT64_MAX ? now.info.ttl_ms : *ttl_ms;
	return rc ? rc : ppdb_table_open(db, name, o, &table);
}

enum verb { CREATE, CHANGE, DROP, VERBS };
static const char *const verbs[VERBS] = {"create", "change", "drop"};

static int do_it(const struct pp_cmd *c, enum verb verb, const char *name, const char *quota, const uint64_t *ttl_ms, ppdb_table_opts *o)
{
	struct pp_json j = {.out = stdout};
	ppdb_table table = 0;
	ppdb *db;
	int rc = pp_cmd_attach(c, 0, &db);

	if (rc)
		return rc;
	rc = verb == CREATE ? ppdb_table_open(db, name, o, &table) : verb == CHANGE ? change(db, name, quota, ttl_ms, o) : ppdb_table_drop(db, name);
	if (rc == PPDB_EXISTS) {
		pp_cmd_note(c, "there is a table '%s' already", name);
		rc = PP_EXIT_NO;
	} else if (rc == PPDB_TABLE_UNKNOWN) {
		pp_cmd_note(c, "there is no table '%s'", name);
		rc = PP_EXIT_NO;
	} else if (rc) {
		rc = pp_cmd_fail(c, rc, NULL);
	} else if (verb == CREATE && c->json) {
		pp_json_open(&j, NULL, '{');
		pp_json_u64(&j, "table", table);
		pp_json_close(&j, '}');
	}
	ppdb_detach(db);
	return rc;
}

int pp_cmd_table_command(struct pp_cmd *c, int argc, char **argv)
{
	static const uint32_t flags[VERBS] = {PPDB_CREATE | PPDB_EXCLUSIVE, PPDB_CHANGE, 0};
	ppdb_table_opts o = {.size = sizeof(o)};
	uint64_t ttl_ms = UINT64_MAX; /* not given */
	const char *quota = NULL;
	const struct pp_opt opts[] = {{"quota", PP_OPT_TEXT, &quota}, {"ttl", PP_OPT_U64, &ttl_ms}, {NULL, 0, NULL}};
	enum verb verb = CREATE;

	if (pp_cmd_options(c, argc, argv, opts, 2, 2) < 0)
		return PP_EXIT_USAGE;
	while (verb < VERBS && strcmp(argv[1], verbs[verb]))
		verb++;
	if (verb == VERBS)
		return pp_cmd_usage(c, "'create', 'change' or 'drop', not '%s'", argv[1]);
	if (verb == DROP && (quota || ttl_ms != UINT64_MAX))
		return pp_cmd_usage(c, "--quota and --ttl go with 'create' and 'change'");
	if (verb == CHANGE && !quota && ttl_ms == UINT64_MAX)
		return pp_cmd_usage(c, "'change' needs --quota, --ttl or both");
	if (quota && (pp_conf_size(quota, &o.quota_bytes) || (!o.quota_bytes && verb == CREATE)))
		return pp_cmd_usage(c, "--quota needs a size such as 64M, not '%s'", quota);
	o.flags = flags[verb];
	o.ttl_ms = ttl_ms == UINT64_MAX ? 0 : ttl_ms;
	return do_it(c, verb, argv[2], quota, &ttl_ms, &o);
}
