/*
 * cmd_live.c - attaching to look (see cmd_live.h). A dead or stopped daemon's arena is mapped from its file: whoever may read that may look.
 */
#include "tools/cmd_live.h"
#include "tools/paths.h"

#include <fcntl.h>
#include <unistd.h>

#define ANSWER_MS 500                  /* a daemon that is stopped does not answer */

static int map_file(const struct pp_cmd *c, const char *arena, struct pp_live *l)
{
	struct pp_paths paths;
	int rc = 0, fd;

	if (!arena && strchr(c->store, '/')) {
		pp_cmd_note(c, "ppdbd is not running: nobody answers at %s; start it, or name the file of its memory with --arena", c->store);
		return PP_EXIT_NO_DAEMON;
	}
	if (!arena)
		rc = pp_paths_fill(c->store, &paths);
	if (rc)
		return pp_cmd_fail(c, rc, NULL);
	arena = arena ? arena : paths.arena;
	fd = open(arena, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return pp_cmd_fail(c, errno == ENOENT ? PPDB_DAEMON_GONE : pp_detail(-errno, "cannot open it: %s", strerror(errno)), arena);
	rc = pp_region_map(fd, true, pp_layout_hash_engine(), &l->own);
	close(fd);
	if (rc)
		return pp_cmd_fail(c, rc, arena);
	pp_cmd_note(c, "no daemon answers; this is what it left in memory");
	l->region = &l->own;
	return 0;
}

int pp_live_open(const struct pp_cmd *c, const char *arena, struct pp_live *l)
{
	char *status = NULL;
	int rc;

	memset(l, 0, sizeof(*l));
	rc = pp_cmd_status_text(c, ANSWER_MS, &status);
	free(status);
	if (rc && !c->autostart)
		return map_file(c, arena, l);
	rc = pp_cmd_attach(c, PPDB_RDONLY, &l->db);
	if (!rc)
		l->region = pp_client_region(l->db);
	return rc;
}

void pp_live_close(struct pp_live *l)
{
	if (l->db)
		ppdb_detach(l->db);
	else if (l->region)
		pp_region_unmap(&l->own);
}
