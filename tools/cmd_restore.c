/*
 * cmd_restore.c - `ppdb restore`: stores what `ppdb dump`, or mdb_dump, wrote.
 *
 * The file is read twice: first every line is judged, and only when all are good, and the file is whole, anything is stored. With --keep-going bad
 * lines are named and left out. What is stored is durable when the command ends with 0. Keys that are in the store and not in the file stay.
 */
#include "tools/cmd.h"
#include "tools/text_json.h"
#include "tools/text_line.h"
#include "tools/text_mdb.h"
#include "tools/text_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct restore {
	const struct pp_cmd *c;
	const char *file;      /* for messages */
	int fd;
	bool mdb, keep_going, storing;
	uint64_t records, bad, expired, size;
	ppdb *db;
	ppdb_table given, table; /* --table; of the section that is read */
};

/* ---- what is read ----------------------------------------------------------------------------------------------- */

static int bad_line(struct restore *r, uint64_t line, const char *why)
{
	r->bad++;
	if (!r->storing) /* said once */
		pp_cmd_note(r->c, "%s:%" PRIu64 ": %s%s", r->file, line, why, r->keep_going ? "; it is left out" : "; nothing was stored");
	return r->keep_going ? 0 : PP_EXIT_ERROR;
}

static int fatal(struct restore *r, uint64_t line, const char *why)
{
	pp_cmd_note(r->c, "%s:%" PRIu64 ": %s; nothing was stored", r->file, line, why);
	return PP_EXIT_ERROR;
}

static int store(struct restore *r, uint64_t line, ppdb_slice key, ppdb_slice value, uint64_t ttl_ms)
{
	char what[512];
	int rc;

	r->records++;
	if (!r->storing)
		return 0;
	rc = pp_cmd_put_patiently(r->db, r->table, key, value, ttl_ms);
	if (!rc)
		return 0;
	snprintf(what, sizeof(what), "%.400s:%" PRIu64, r->file, line);
	rc = pp_cmd_fail(r->c, rc, what);
	pp_cmd_note(r->c, "%" PRIu64 " records before it are stored; restore the file again", r->records - 1);
	return rc;
}

/* A section of a named database goes into the table of that name. */
static int section(struct restore *r, const struct pp_text_mdb *m)
{
	ppdb_table_opts o = {.size = sizeof(o), .flags = PPDB_CREATE};
	int rc;

	r->table = r->given;
	if (!m->database[0] || !r->storing)
		return 0;
	rc = ppdb_table_open(r->db, m->database, &o, &r->table);
	return rc ? pp_cmd_fail(r->c, rc, m->database) : 0;
}

static int take_mdb(struct restore *r, struct pp_text_mdb *m, uint64_t line, char *text, size_t size)
{
	int rc = pp_text_mdb_line(m, text, size);

	if (rc < 0)
		return m->at == PP_MDB_BETWEEN || m->at == PP_MDB_HEADER ? fatal(r, line, m->error) : bad_line(r, line, m->error);
	if (rc == PP_MDB_SECTION)
		return section(r, m);
	return rc == PP_MDB_RECORD ? store(r, line, (ppdb_slice){m->key, m->key_size}, (ppdb_slice){m->value, m->value_size}, 0) : 0;
}

static int take_text(struct restore *r, uint64_t line, char *text, size_t size)
{
	struct pp_text_line l;
	uint64_t ttl_ms;

	if (pp_text_parse_line(text, size, &l))
		return bad_line(r, line, l.error);
	if (!pp_text_line_ttl(&l, &ttl_ms)) {
		r->expired++;
		return 0;
	}
	return store(r, line, (ppdb_slice){l.key, l.key_size}, (ppdb_slice){l.value, l.value_size}, ttl_ms);
}

static bool ends_with_newline(const struct restore *r)
{
	char last = '\n';

	return !r->size || (pread(r->fd, &last, 1, (off_t)r->size - 1) == 1 && last == '\n');
}

static int pass(struct restore *r)
{
	struct pp_text_reader reader = {.fd = r->fd, .ranged = true, .end = r->size};
	struct pp_text_mdb m = {0};
	char *line;
	size_t size;
	int rc = 0, got;

	r->records = r->bad = r->expired = 0;
	r->table = r->given;
	while (!rc && ((got = pp_text_next_line(&reader, PP_TEXT_LINE_MAX, &line, &size)) == 1 || got == -EFBIG)) {
		if (got == -EFBIG)
			rc = r->mdb ? fatal(r, reader.line, "the line is longer than any record") : bad_line(r, reader.line, "the line is longer than any record");
		else
			rc = r->mdb ? take_mdb(r, &m, reader.line, line, size) : take_text(r, reader.line, line, size);
	}
	if (!rc && got < 0)
		rc = pp_cmd_fail(r->c, got, r->file);
	if (!rc && r->mdb && pp_text_mdb_end(&m))
		rc = fatal(r, reader.line, m.error);
	if (!rc && !r->mdb && !ends_with_newline(r))
		rc = fatal(r, reader.line, "the last line has no end: it was cut off");
	pp_text_reader_free(&reader);
	return rc;
}

/* ---- the command ------------------------------------------------------------------------------------------------ */

static int open_input(struct restore *r, const char *file)
{
	bool is_stdin = !file || !strcmp(file, "-");
	struct stat st;
	int rc = 0;

	r->file = is_stdin ? "stdin" : file;
	r->fd = is_stdin ? STDIN_FILENO : open(file, O_RDONLY | O_CLOEXEC);
	if (r->fd < 0 || fstat(r->fd, &st)) {
		pp_cmd_note(r->c, "cannot open %s: %m", r->file);
		return PP_EXIT_ERROR;
	}
	if (S_ISDIR(st.st_mode)) {
		pp_cmd_note(r->c, "%s is a directory", r->file);
		return PP_EXIT_ERROR;
	}
	if (!S_ISREG(st.st_mode) || lseek(r->fd, 0, SEEK_CUR) != 0)
		rc = pp_cmd_spool(r->c, &r->fd, "restore from a file");
	if (!rc && fstat(r->fd, &st))
		return pp_cmd_fail(r->c, -errno, r->file);
	r->size = (uint64_t)st.st_size;
	return rc;
}

static void summary(const struct restore *r)
{
	struct pp_json j = {.out = stdout};

	if (!r->c->json) {
		pp_cmd_note(r->c, "%" PRIu64 " records restored%s", r->records, r->bad ? ", bad lines left out" : "");
		if (r->expired)
			pp_cmd_note(r->c, "%" PRIu64 " records have expired since the dump and were left out", r->expired);
		return;
	}
	pp_json_open(&j, NULL, '{');
	pp_json_u64(&j, "records", r->records);
	pp_json_u64(&j, "bad_lines", r->bad);
	pp_json_u64(&j, "expired", r->expired);
	pp_json_close(&j, '}');
}

static int restore(struct restore *r)
{
	int rc = pass(r), synced;

	if (rc)
		return rc;
	r->storing = true;
	rc = pp_cmd_attach(r->c, 0, &r->db);
	if (rc)
		return rc;
	rc = pp_cmd_table(r->c, r->db, &r->given);
	if (!rc) {
		rc = pass(r);
		synced = ppdb_sync(r->db, -1);
		if (synced)
			rc = pp_cmd_fail(r->c, synced, "not known to be durable, restore the file again");
		if (!rc)
			summary(r);
	}
	ppdb_detach(r->db);
	return rc ? rc : r->bad ? PP_EXIT_ERROR : 0;
}

int pp_cmd_restore(struct pp_cmd *c, int argc, char **argv)
{
	struct restore r = {.c = c};
	const char *format = "ppdb";
	const struct pp_opt opts[] = {
		{"format", PP_OPT_TEXT, &format},
		{"keep-going", PP_OPT_FLAG, &r.keep_going},
		{"table", PP_OPT_TEXT, &c->table},
		{NULL, 0, NULL},
	};
	int rc, n = pp_cmd_options(c, argc, argv, opts, 0, 1);

	if (n < 0)
		return PP_EXIT_USAGE;
	r.mdb = !strcmp(format, "mdb");
	if (!r.mdb && strcmp(format, "ppdb"))
		return pp_cmd_usage(c, "--format is ppdb or mdb, not '%s'", format);
	rc = open_input(&r, n ? argv[1] : NULL);
	return rc ? rc : restore(&r);
}
