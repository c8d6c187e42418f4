/*
 * cmd_backup.c - `ppdb backup DIR`: a copy of a running store's files, from which a store can be started; verified before it counts.
 *
 * The copy is made by this process from the store's data directory, so it must be the store's user or root. The file UNFINISHED stands in
 * DIR from before the first byte until the copy was read back and found whole: ppdbd and `ppdb check --offline` refuse a directory that has it.
 * The cut is the durable position when the command begins, so everything acknowledged before is in the copy.
 *
 * Dies inside: DIR with UNFINISHED in it.
 */
#include "client/internal.h" /* first: ppdb.h then leaves the error codes to shm/errors.h */
#include "engine/backup.h"
#include "engine/file.h"
#include "tools/cmd.h"
#include "tools/store_dir.h"
#include "tools/text_json.h"
#include "tools/text_number.h"

#include <dirent.h>
#include <inttypes.h>
#include <limits.h>

#define TRIES 5

static int print_report(const struct pp_cmd *c, const char *dir, const struct pp_backup_report *r)
{
	struct pp_json j = {.out = stdout};
	char bytes[PP_TEXT_NUMBER];

	if (!c->json) {
		printf("%s: %" PRIu64 " records in the checkpoint at %" PRIu64 ", %" PRIu64 " changes after it, up to position %" PRIu64
		       "; %s read%s\n", dir, r->checkpoint_records, r->checkpoint_epoch, r->log_records, r->epoch,
		       pp_text_bytes(bytes, (double)r->bytes), r->torn ? "; what was being written when it stopped does not count" : "");
		puts("fine");
		return PP_EXIT_OK;
	}
	pp_json_open(&j, NULL, '{');
	pp_json_text(&j, "dir", dir);
	pp_json_u64(&j, "checkpoint_epoch", r->checkpoint_epoch);
	pp_json_u64(&j, "checkpoint_records", r->checkpoint_records);
	pp_json_u64(&j, "log_records", r->log_records);
	pp_json_u64(&j, "epoch", r->epoch);
	pp_json_u64(&j, "bytes", r->bytes);
	pp_json_bool(&j, "torn", r->torn);
	pp_json_close(&j, '}');
	return PP_EXIT_OK;
}

int pp_cmd_check_offline(const struct pp_cmd *c, const char *dir)
{
	struct pp_backup_report report;
	uint64_t id;
	int rc = pp_store_open(dir, false, &id);

	if (!rc)
		rc = pp_backup_verify(dir, id, &report);
	return rc ? pp_cmd_fail(c, rc, dir) : print_report(c, dir, &report);
}

/* ---- the target ---- */

static bool is_empty(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	bool empty = d;

	while (empty && (e = readdir(d)))
		empty = !strcmp(e->d_name, ".") || !strcmp(e->d_name, "..");
	if (d)
		closedir(d);
	return empty;
}

static int make_target(const char *dir)
{
	if (mkdir(dir, 0700) && errno != EEXIST)
		return pp_detail(-errno, "cannot make the directory %s: %s", dir, strerror(errno));
	if (!is_empty(dir))
		return pp_detail(-ENOTEMPTY, "%s is not an empty directory: give another one, or remove what is in it", dir);
	return pp_store_unfinished(dir, true);
}

/* ---- the copy ---- */

static uint64_t durable_unit(ppdb *db)
{
	struct pp_globals *g = pp_client_region(db)->globals;
	uint64_t version, unit;

	do {
		version = pp_load_acq(&g->durable_record_version);
		unit = pp_load_acq(&g->durable_record[version & 1].unit);
	} while (pp_load_acq(&g->durable_record_version) != version);
	return unit;
}

static int copy(const char *from, const char *to, uint64_t id, uint64_t cut)
{
	int rc = -EAGAIN;

	for (int i = 0; i < TRIES && rc == -EAGAIN; i++) {
		rc = i ? pp_backup_clear(to) : 0;
		if (!rc)
			rc = pp_backup_copy(from, to, id, cut);
	}
	return rc == -EAGAIN ? pp_detail(rc, "checkpoints overtook the copy %d times: try again when less is written", TRIES) : rc;
}

static int backup(ppdb *db, const char *from, const char *to, struct pp_backup_report *report)
{
	uint64_t id, cut = durable_unit(db);
	int rc = pp_store_open(from, false, &id);

	if (!rc)
		rc = make_target(to);
	if (!rc)
		rc = copy(from, to, id, cut);
	if (!rc)
		rc = pp_store_copy_identity(from, to);
	if (!rc)
		rc = pp_backup_verify(to, id, report);
	if (rc)
		return rc;
	return pp_store_unfinished(to, false);
}

int pp_cmd_backup(struct pp_cmd *c, int argc, char **argv)
{
	const struct pp_opt opts[] = {{NULL, 0, NULL}};
	struct pp_backup_report report;
	char from[PATH_MAX], *status = NULL;
	ppdb *db;
	int rc;

	if (pp_cmd_options(c, argc, argv, opts, 1, 1) < 0)
		return PP_EXIT_USAGE;
	rc = pp_cmd_attach(c, 0, &db); /* who may write may copy all files */
	if (rc)
		return rc;
	rc = pp_cmd_status_text(c, 0, &status);
	if (!rc && !pp_json_find(status, "data_dir", from, sizeof(from)))
		rc = pp_detail(-EBADMSG, "ppdbd does not say where its data is");
	if (!rc)
		rc = backup(db, from, argv[1], &report);
	rc = rc ? pp_cmd_fail(c, rc, argv[1]) : print_report(c, argv[1], &report);
	free(status);
	ppdb_detach(db);
	return rc;
}
