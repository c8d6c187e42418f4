/*
 * cmd_load_work.c - one worker of `ppdb load`: reads its lines, stores each with an asynchronous put, syncs after each chunk.
 *
 * A line is parsed as a whole before anything of it is stored. A daemon that is restarted meanwhile, or a log that cannot keep
 * up, is waited for; a cold start in between is an error that names the lines to load again. A worker that is killed
 * leaves what it stored so far; loading its part again is safe, the same key gets the same value.
 */
#include "tools/cmd_load.h"
#include "shm/clock.h"
#include "tools/text_line.h"
#include "tools/text_reader.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#define IDLE_LINES 256u

struct work {
	struct pp_load *load;
	struct pp_load_count *count;
	struct pp_text_reader reader;
	ppdb *db;
	ppdb_table table;
	uint64_t first_byte;   /* of this part in the file */
	uint64_t pending;      /* stored since the last sync */
	uint64_t pending_line; /* first of them */
};

/* Number in the whole file; only needed for messages, so that it may cost a pass over the file. */
static uint64_t line_number(struct work *w, uint64_t line)
{
	uint64_t before = 0;

	if (w->first_byte)
		(void)pp_text_count_lines(w->load->fd, w->first_byte, &before);
	return before + line;
}

static int fail_at(struct work *w, int rc, uint64_t line)
{
	char what[512];

	snprintf(what, sizeof(what), "%.400s:%" PRIu64, w->load->file, line_number(w, line));
	return pp_cmd_fail(w->load->c, rc, what);
}

static int put(struct work *w, const struct pp_text_line *l, uint64_t ttl_ms)
{
	uint64_t began = pp_now_ns();
	int rc = pp_cmd_put_patiently(w->db, w->table, (ppdb_slice){l->key, l->key_size}, (ppdb_slice){l->value, l->value_size}, ttl_ms);

	if (!rc)
		pp_hist_record(w->count->put, pp_now_ns() - began);
	return rc;
}

static int sync_chunk(struct work *w)
{
	uint64_t began = pp_now_ns();
	int rc;

	if (!w->pending)
		return 0;
	rc = ppdb_sync(w->db, -1);
	if (rc) {
		rc = pp_cmd_fail(w->load->c, rc, "sync");
		pp_cmd_note(w->load->c, "%s: lines from %" PRIu64 " to %" PRIu64 " are not known to be durable; load them again",
			w->load->file, line_number(w, w->pending_line), line_number(w, w->reader.line));
		w->pending = 0; /* said once is enough */
		return rc;
	}
	pp_hist_record(w->count->sync, pp_now_ns() - began);
	pp_store_rlx(&w->count->durable, pp_load_rlx(&w->count->records)); /* stat */
	w->pending = 0;
	return 0;
}

static int bad_line(struct work *w, const char *why)
{
	pp_stat_add(&w->count->bad, 1);
	pp_cmd_note(w->load->c, "%s:%" PRIu64 ": %s; nothing of this line was stored", w->load->file,
		line_number(w, w->reader.line), why);
	return w->load->keep_going ? 0 : PP_EXIT_ERROR;
}

static int store_line(struct work *w, char *line, size_t size)
{
	struct pp_text_line l;
	uint64_t ttl_ms;
	int rc;

	if (pp_text_parse_line(line, size, &l))
		return bad_line(w, l.error);
	if (!pp_text_line_ttl(&l, &ttl_ms)) {
		pp_stat_add(&w->count->expired, 1);
		return 0;
	}
	rc = put(w, &l, ttl_ms);
	if (rc)
		return fail_at(w, rc, w->reader.line);
	if (!w->pending++)
		w->pending_line = w->reader.line;
	pp_stat_add(&w->count->records, 1);
	return !w->load->async && w->pending >= w->load->batch ? sync_chunk(w) : 0;
}

static int store_lines(struct work *w, void (*idle)(struct pp_load *))
{
	char *line;
	size_t size;
	int rc = 0, got = 1;

	while (!rc && !pp_load_rlx(&w->load->shared->stop)) { /* hint */
		got = pp_text_next_line(&w->reader, PP_TEXT_LINE_MAX, &line, &size);
		if (got == 1)
			rc = store_line(w, line, size);
		else if (got == -EFBIG)
			rc = bad_line(w, "the line is longer than any record");
		else
			break;
		pp_store_rlx(&w->count->bytes, w->reader.bytes); /* stat */
		if (idle && w->reader.line % IDLE_LINES == 0)
			idle(w->load);
	}
	if (!rc && got < 0 && got != -EFBIG)
		rc = fail_at(w, got, w->reader.line + 1);
	return rc;
}

static int set_range(struct work *w, unsigned index)
{
	struct pp_load *l = w->load;
	int rc;

	w->reader.fd = l->fd;
	if (!l->regular)
		return 0;
	w->reader.ranged = true;
	rc = pp_text_line_start(l->fd, l->size / l->procs * index, l->size, &w->reader.at);
	w->reader.end = l->size;
	if (!rc && index + 1 < l->procs)
		rc = pp_text_line_start(l->fd, l->size / l->procs * (index + 1), l->size, &w->reader.end);
	w->first_byte = w->reader.at;
	return rc ? pp_cmd_fail(l->c, rc, l->file) : 0;
}

int pp_cmd_load_work(struct pp_load *load, unsigned index, void (*idle)(struct pp_load *))
{
	struct work w = {.load = load, .count = &load->shared->worker[index]};
	int rc = set_range(&w, index), synced;

	if (!rc)
		rc = pp_cmd_attach(load->c, 0, &w.db);
	if (rc)
		return rc;
	rc = pp_cmd_table(load->c, w.db, &w.table);
	if (!rc)
		rc = store_lines(&w, idle);
	/* What was stored before a bad line stays, and is durable when the command returns. */
	synced = sync_chunk(&w);
	ppdb_detach(w.db);
	pp_text_reader_free(&w.reader);
	if (rc || synced)
		pp_store_rlx(&load->shared->stop, 1u); /* hint */
	if (!rc && !synced && pp_load_rlx(&w.count->bad)) /* owner */
		rc = PP_EXIT_ERROR;
	return rc ? rc : synced;
}
