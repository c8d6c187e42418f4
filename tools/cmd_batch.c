/*
 * cmd_batch.c - `ppdb batch`: lines put<TAB>KEY<TAB>VALUE, del<TAB>KEY and require<TAB>KEY<TAB>VERSION, done all or none. Keys and values are
 * escaped as in scan and dump. A bad line is an error with its number, and nothing of the batch is done.
 */
#include "tools/cmd.h"
#include "tools/text_escape.h"
#include "tools/text_json.h"
#include "tools/text_number.h"
#include "tools/text_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINE_MAX_BYTES ((UINT64_C(64) << 20) * 4 + 4 * 4096 + 64) /* every byte may be escaped */

struct work {
	const struct pp_cmd *c;
	const char *file;
	struct pp_text_reader reader;
	ppdb_batch *batch;
	ppdb_table table;
	uint64_t *line;                /* of each operation */
	size_t ops, cap;
};

struct field {
	char *text;                    /* NULL: the line has no such field */
	size_t size;
};

/* Up to the next tab. */
static struct field next_field(struct field *rest)
{
	struct field f = *rest;
	char *tab = f.text ? memchr(f.text, '\t', f.size) : NULL;

	if (tab) {
		f.size = (size_t)(tab - f.text);
		rest->text = tab + 1;
		rest->size -= f.size + 1;
	} else {
		rest->text = NULL;
	}
	return f;
}

static bool is(struct field f, const char *word)
{
	return f.size == strlen(word) && !memcmp(f.text, word, f.size);
}

static const char *unescape(struct field f, ppdb_slice *out)
{
	size_t bad_at;

	out->data = f.text;
	return pp_text_unescape(f.text, f.text, f.size, &out->size, &bad_at) ? "bad escape (known are \\t, \\n, \\\\ and \\xHH)" : NULL;
}

static const char *add_put(struct work *w, ppdb_slice key, struct field last, int *rc)
{
	ppdb_slice value;
	const char *error = last.text ? unescape(last, &value) : "a put needs a key and a value, separated by tabs";

	if (!error)
		*rc = ppdb_batch_put(w->batch, w->table, key, value, NULL);
	return error;
}

static const char *add_require(struct work *w, ppdb_slice key, struct field last, int *rc)
{
	char number[24] = "";
	uint64_t version;

	if (last.text && last.size < sizeof(number))
		memcpy(number, last.text, last.size);
	if (!pp_text_u64(number, &version))
		return "a require needs a key and the version that it must have (0 = absent), separated by tabs";
	*rc = ppdb_batch_require(w->batch, w->table, key, version);
	return NULL;
}

/* What is wrong with the line, or NULL; *rc = what the library says. */
static const char *add_line(struct work *w, struct field line, int *rc)
{
	struct field verb = next_field(&line), name = next_field(&line), last = next_field(&line);
	const char *error;
	ppdb_slice key;

	*rc = 0;
	if (!name.text)
		return "a line is put<TAB>KEY<TAB>VALUE, del<TAB>KEY or require<TAB>KEY<TAB>VERSION";
	if (line.text)
		return "the line has more fields than it may have (a tab in a key or value is written \\t)";
	error = unescape(name, &key);
	if (error)
		return error;
	if (is(verb, "put"))
		return add_put(w, key, last, rc);
	if (is(verb, "require"))
		return add_require(w, key, last, rc);
	if (!is(verb, "del"))
		return "a line begins with put, del or require";
	if (last.text)
		return "a del has a key and nothing else";
	*rc = ppdb_batch_del(w->batch, w->table, key);
	return NULL;
}

static int note_line(struct work *w)
{
	if (w->ops == w->cap) {
		size_t cap = w->cap ? 2 * w->cap : 256;
		uint64_t *more = realloc(w->line, cap * sizeof(*more));

		if (!more)
			return pp_cmd_fail(w->c, -ENOMEM, NULL);
		w->line = more;
		w->cap = cap;
	}
	w->line[w->ops++] = w->reader.line;
	return 0;
}

static int refuse(const struct work *w, uint64_t line, const char *why)
{
	pp_cmd_note(w->c, "%s:%" PRIu64 ": %s; nothing of the batch was done", w->file, line, why);
	return PP_EXIT_ERROR;
}

static int read_lines(struct work *w)
{
	char *line;
	size_t size;
	int got;

	while ((got = pp_text_next_line(&w->reader, LINE_MAX_BYTES, &line, &size)) > 0) {
		const char *error;
		int rc;

		if (!size)
			continue;
		error = add_line(w, (struct field){line, size}, &rc);
		if (error)
			return refuse(w, w->reader.line, error);
		if (rc)
			return refuse(w, w->reader.line, ppdb_errdetail());
		rc = note_line(w);
		if (rc)
			return rc;
	}
	if (got == -EFBIG)
		return refuse(w, w->reader.line, "the line is longer than a key and a value can be");
	return got < 0 ? pp_cmd_fail(w->c, got, w->file) : 0;
}

static int write_batch(struct work *w, ppdb *db, const ppdb_wopts *o)
{
	struct pp_json j = {.out = stdout};
	size_t failed = SIZE_MAX;
	ppdb_seq ticket = 0;
	int rc = ppdb_write(db, w->batch, o, &ticket, &failed);

	if (rc && failed < w->ops) {
		pp_cmd_note(w->c, "%s:%" PRIu64 ": %s; nothing of the batch was done", w->file, w->line[failed], ppdb_strerror(rc));
		return PP_EXIT_NO;
	}
	if (rc) {
		rc = pp_cmd_fail(w->c, rc, NULL);
		pp_cmd_note(w->c, ticket ? "the batch is done and visible, but not known to be durable" : "nothing of the batch was done");
		return rc;
	}
	if (w->c->json) {
		pp_json_open(&j, NULL, '{');
		pp_json_u64(&j, "operations", w->ops);
		pp_json_u64(&j, "seq", ticket);
		pp_json_bool(&j, "durable", !(o->flags & PPDB_ASYNC));
		pp_json_close(&j, '}');
	}
	return 0;
}

static int run(struct work *w, int fd, const ppdb_wopts *o)
{
	ppdb *db;
	int rc = pp_cmd_attach(w->c, 0, &db);

	if (rc)
		return rc;
	w->reader.fd = fd;
	rc = ppdb_batch_new(db, &w->batch);
	rc = rc ? pp_cmd_fail(w->c, rc, NULL) : pp_cmd_table(w->c, db, &w->table);
	if (!rc)
		rc = read_lines(w);
	if (!rc)
		rc = write_batch(w, db, o);
	pp_text_reader_free(&w->reader);
	ppdb_batch_free(w->batch);
	free(w->line);
	ppdb_detach(db);
	return rc;
}

int pp_cmd_batch(struct pp_cmd *c, int argc, char **argv)
{
	bool async = false;
	const struct pp_opt opts[] = {{"async", PP_OPT_FLAG, &async}, {"table", PP_OPT_TEXT, &c->table}, {NULL, 0, NULL}};
	struct work w = {.c = c};
	ppdb_wopts o = {.size = sizeof(o)};
	int fd = STDIN_FILENO, rc;

	if (pp_cmd_options(c, argc, argv, opts, 1, 1) < 0)
		return PP_EXIT_USAGE;
	w.file = argv[1];
	if (!strcmp(w.file, "-"))
		w.file = "stdin";
	else if ((fd = open(argv[1], O_RDONLY | O_CLOEXEC)) < 0)
		return pp_cmd_fail(c, -errno, argv[1]);
	o.flags = async ? PPDB_ASYNC : 0;
	rc = run(&w, fd, &o);
	if (fd != STDIN_FILENO)
		close(fd);
	return rc;
}
