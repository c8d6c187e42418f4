/*
 * cmd_check.c - `ppdb check`: walks every invariant of a live store and accounts for every byte. Exit 0 when all is well, 4 with the
 * problems listed.
 *
 * With --quiet the caller promises that nobody writes meanwhile; only then the numbers can be exact, and every byte that is
 * neither reachable, free, waiting to be freed nor in some client's hand is a problem.
 */
#include "client/internal.h" /* first: ppdb.h then leaves the error codes to shm/errors.h */
#include "engine/keeper.h"
#include "tools/cmd.h"
#include "tools/text_json.h"
#include "tools/text_number.h"

#include <inttypes.h>
#include <stdio.h>

static void print_problem(void *ctx, const char *text)
{
	const struct pp_cmd *c = ctx;

	if (!c->json)
		printf("problem: %s\n", text);
	else
		pp_cmd_note(c, "problem: %s", text);
}

static void print_json(const struct pp_check_report *r)
{
	struct pp_json j = {.out = stdout, .indent = true};

	pp_json_open(&j, NULL, '{');
	pp_json_u64(&j, "problems", r->problems);
	pp_json_u64(&j, "keys", r->keys);
	pp_json_u64(&j, "versions", r->versions);
	pp_json_u64(&j, "tombstones", r->tombstones);
	pp_json_u64(&j, "leaves", r->leaves);
	pp_json_u64(&j, "index_cells", r->index_cells);
	pp_json_u64(&j, "committed_bytes", r->committed_bytes);
	pp_json_u64(&j, "live_bytes", r->live_bytes);
	pp_json_u64(&j, "free_bytes", r->free_bytes);
	pp_json_u64(&j, "limbo_bytes", r->limbo_bytes);
	pp_json_u64(&j, "private_bytes", r->private_bytes);
	pp_json_u64(&j, "unaccounted_bytes", r->unaccounted_bytes);
	pp_json_close(&j, '}');
}

static void print_text(const struct pp_check_report *r)
{
	char a[PP_TEXT_NUMBER], b[PP_TEXT_NUMBER], c[PP_TEXT_NUMBER], d[PP_TEXT_NUMBER], e[PP_TEXT_NUMBER];

	printf("%" PRIu64 " keys, %" PRIu64 " versions, %" PRIu64 " tombstones, %" PRIu64 " leaves, %" PRIu64 " index cells\n",
		r->keys, r->versions, r->tombstones, r->leaves, r->index_cells);
	printf("%s backed: %s live, %s free, %s waiting to be freed, %s in clients' hands, %" PRIu64 " bytes unaccounted for\n",
		pp_text_bytes(a, (double)r->committed_bytes), pp_text_bytes(b, (double)r->live_bytes),
		pp_text_bytes(c, (double)r->free_bytes), pp_text_bytes(d, (double)r->limbo_bytes),
		pp_text_bytes(e, (double)r->private_bytes), r->unaccounted_bytes);
	puts(r->problems ? "NOT fine" : "fine");
}

static int check(const struct pp_cmd *c, ppdb *db, bool quiet)
{
	struct pp_check_report report = {0};
	struct pp_thread *t;
	int rc = pp_client_thread(db, &t);

	if (!rc)
		rc = pp_check(t, quiet, &report, print_problem, (void *)(uintptr_t)c);
	if (rc < 0)
		return pp_cmd_fail(c, rc, NULL);
	if (c->json)
		print_json(&report);
	else
		print_text(&report);
	if (!report.problems && !rc)
		return PP_EXIT_OK;
	pp_cmd_note(c, "the shared memory is not as it should be; stop ppdbd, remove the arena and start it again: the log and the "
		"checkpoint are not touched by this");
	return PP_EXIT_ERROR;
}

int pp_cmd_check(struct pp_cmd *c, int argc, char **argv)
{
	bool quiet = false;
	const char *offline = NULL;
	const struct pp_opt opts[] = {{"quiet", PP_OPT_FLAG, &quiet}, {"offline", PP_OPT_TEXT, &offline}, {NULL, 0, NULL}};
	ppdb *db;
	int rc;

	if (pp_cmd_options(c, argc, argv, opts, 0, 0) < 0)
		return PP_EXIT_USAGE;
	if (offline)
		return pp_cmd_check_offline(c, offline);
	rc = pp_cmd_attach(c, PPDB_RDONLY, &db);
	if (rc)
		return rc;
	rc = check(c, db, quiet);
	ppdb_detach(db);
	return rc;
}
