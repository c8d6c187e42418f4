/*
 * exporter.h - ppdb-exporter: which stores there are, and the pages that it serves.
 */
#ifndef PP_TOOLS_EXPORTER_H
#define PP_TOOLS_EXPORTER_H

#include "tools/metrics.h"

#define PP_EXPORTER_LISTEN "127.0.0.1:7732"
#define PP_EXPORTER_STORES 256

/* A store that is looked at, and where its memory was last: that is known only while its daemon answers. */
struct pp_exporter_store {
	char name[108];
	char arena[PATH_MAX];
	bool asked_for;                /* by --name: it is reported whatever is there */
};

struct pp_exporter {
	bool all;                      /* no --name: whatever stores this user has, looked up at each scrape */
	unsigned count;
	struct pp_exporter_store store[PP_EXPORTER_STORES];
};

/* `names`: separated by commas, "" = all. -EINVAL, -E2BIG with detail. */
int pp_exporter_choose(struct pp_exporter *, const char *names);

/* Looks at all stores and prints their metrics into *text (malloc'ed). 0, or -ENOMEM. Blocks two seconds for each daemon that is stopped. */
int pp_exporter_scrape(struct pp_exporter *, enum pp_metrics_format, char **text, size_t *size);

/* Serves HTTP on `listen` (address:port, [address]:port; port 0 = any) with one thread of its own; prints where. -errno with detail. */
struct pp_exporter_server;
int pp_exporter_serve(struct pp_exporter *, const char *listen, struct pp_exporter_server **out);
void pp_exporter_end(struct pp_exporter_server *);

#endif
