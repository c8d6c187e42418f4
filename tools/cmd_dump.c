/*
 * cmd_dump.c - `ppdb dump`: all records of a table as of one moment, in key order, in the format that `ppdb load` and `ppdb restore` read, or in mdb_load's.
 *
 * For mdb_load the records are counted first, since the header says how large the database may become.
 */
#include "tools/cmd.h"
#include "tools/text_mdb.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define LMDB_KEY_MAX 511u
#define MAP_SPARE (UINT64_C(64) << 20)

struct mdb_dump {
	const struct pp_cmd *c;
	bool print, counting;
	uint64_t bytes, records, long_keys;
};

static void take(struct mdb_dump *d, const ppdb_item *item)
{
	if (d->counting) {
		d->records++;
		d->bytes += item->key.size + item->value.size + 32;
		d->long_keys += item->key.size > LMDB_KEY_MAX;
		return;
	}
	pp_text_mdb_print_bytes(stdout, d->print, item->key.data, item->key.size);
	pp_text_mdb_print_bytes(stdout, d->print, item->value.data, item->value.size);
}

static int walk(struct mdb_dump *d, ppdb_view *view, ppdb_table table)
{
	ppdb_iter *iter = NULL;
	ppdb_item item;
	int rc = ppdb_iter_open(view, table, NULL, &iter);

	while (!rc && !(rc = ppdb_iter_next(iter, &item)) && !ferror(stdout))
		take(d, &item);
	ppdb_iter_close(iter);
	return rc == PPDB_NOTFOUND ? 0 : rc;
}

static int dump_mdb(struct mdb_dump *d)
{
	static char buffer[1 << 16];
	ppdb_view *view = NULL;
	ppdb_table table;
	ppdb *db;
	int rc = pp_cmd_attach(d->c, PPDB_RDONLY, &db), failed;

	if (rc)
		return rc;
	setvbuf(stdout, buffer, _IOFBF, sizeof(buffer));
	rc = pp_cmd_table(d->c, db, &table);
	if (!rc) {
		d->counting = true;
		failed = ppdb_view_begin(db, PPDB_VIEW_FRESH, &view);
		if (!failed)
			failed = walk(d, view, table);
		d->counting = false;
		if (!failed) {
			/* pages of LMDB are at least a quarter full */
			pp_text_mdb_print_header(stdout, d->print, d->c->table, (4 * d->bytes + MAP_SPARE) >> 20 << 20);
			failed = walk(d, view, table);
		}
		if (failed)
			rc = pp_cmd_fail(d->c, failed, "stopped in the middle");
		else
			pp_text_mdb_print_end(stdout);
	}
	if (!rc && d->long_keys)
		pp_cmd_note(d->c, "%" PRIu64 " keys are longer than the %u bytes that LMDB takes as it is usually built", d->long_keys, LMDB_KEY_MAX);
	ppdb_view_end(view);
	ppdb_detach(db);
	return rc;
}

int pp_cmd_dump(struct pp_cmd *c, int argc, char **argv)
{
	struct pp_cmd_range s = {.range = {.size = sizeof(s.range)}, .dump = true};
	struct mdb_dump d = {.c = c};
	const char *format = "ppdb";
	const struct pp_opt opts[] = {
		{"table", PP_OPT_TEXT, &c->table},
		{"format", PP_OPT_TEXT, &format},
		{"print", PP_OPT_FLAG, &d.print},
		{"expires", PP_OPT_FLAG, &s.expires},
		{NULL, 0, NULL},
	};

	if (pp_cmd_options(c, argc, argv, opts, 0, 0) < 0)
		return PP_EXIT_USAGE;
	if (strcmp(format, "mdb") && strcmp(format, "ppdb"))
		return pp_cmd_usage(c, "--format is ppdb or mdb, not '%s'", format);
	if (s.expires && strcmp(format, "ppdb"))
		return pp_cmd_usage(c, "--expires goes with --format ppdb: LMDB knows no expiry");
	if (!strcmp(format, "mdb"))
		return dump_mdb(&d);
	return d.print ? pp_cmd_usage(c, "--print goes with --format mdb") : pp_cmd_scan_store(c, &s);
}
