/*
 * exporter.c - ppdb-exporter: serves the metrics of stores over HTTP, in a process of its own.
 *
 * The daemon has no HTTP in it, and what goes wrong here hurts no store: it attaches read-only, or reads the memory of one that has no daemon.
 * SIGTERM and SIGINT end it. A death leaves nothing.
 */
#include "tools/conf.h"
#include "tools/exporter.h"
#include "tools/notify.h"

#include <signal.h>
#include <string.h>

struct settings {
	char name[4096], listen[64];
	bool help, version;
};

#define AT(field) offsetof(struct settings, field)
static const struct pp_conf_key keys[] = {
	{"name", 'n', PP_CONF_TEXT, AT(name), 0, sizeof(((struct settings *)0)->name), NULL, "LIST",
		"stores, by name or path of the socket, separated by commas (all of this user)", false},
	{"listen", 'l', PP_CONF_TEXT, AT(listen), 0, sizeof(((struct settings *)0)->listen), NULL, "ADDR:PORT",
		"where to serve, port 0 = any (" PP_EXPORTER_LISTEN ")", false},
	{"help", 'h', PP_CONF_FLAG, AT(help), 0, 0, NULL, NULL, "this text", true},
	{"version", 'V', PP_CONF_FLAG, AT(version), 0, 0, NULL, NULL, "the version", true},
	{.name = NULL},
};

static void usage(void)
{
	printf("usage: ppdb-exporter [OPTION]...\n\n"
		"Serves the metrics of ppdb stores over HTTP at /metrics, for Prometheus: in its text format, or as OpenMetrics for who asks for that.\n"
		"Stays in the foreground. Stores without a daemon are served too: ppdb_up 0, and what they left in memory. Each scrape looks anew: it\n"
		"attaches read-only, so it needs what ro-users of ppdbd allows, and follows every restart.\n\n");
	pp_conf_help(keys, stdout);
	printf("\nThere is neither encryption nor a password: serve on addresses that only those reach who may see the names of tables and clients.\n"
		"/-/healthy answers 200 as long as the program serves. SIGTERM ends it.\n\n"
		"  ppdb-exporter                              all stores of this user, on the loopback\n"
		"  ppdb-exporter -n orders,users -l [::1]:0   two stores, on any port\n"
		"  curl -s http://" PP_EXPORTER_LISTEN "/metrics\n");
}

static int fail(const char *text)
{
	fprintf(stderr, "ppdb-exporter: %s\n", text);
	return 1;
}

/* Until somebody says that it is enough. */
static void wait_for_the_end(const sigset_t *signals)
{
	int which = 0;

	while (which != SIGTERM && which != SIGINT)
		if (sigwait(signals, &which))
			return;
}

static int run(const struct settings *s)
{
	static struct pp_exporter exporter;
	struct pp_exporter_server *server;
	sigset_t signals;
	int rc = pp_exporter_choose(&exporter, s->name);

	if (rc) {
		fail(pp_detail_get());
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	/* before the library's thread exists, so that it inherits it */
	if (pthread_sigmask(SIG_BLOCK, &signals, NULL))
		return fail("signals cannot be blocked");
	rc = pp_exporter_serve(&exporter, s->listen, &server);
	if (rc) {
		fail(pp_detail_get());
		return rc == -EINVAL ? 2 : 1;
	}
	pp_notify("READY=1\n");
	wait_for_the_end(&signals);
	pp_notify("STOPPING=1\n");
	pp_exporter_end(server);
	return 0;
}

int main(int argc, char **argv)
{
	static struct settings s = {.listen = PP_EXPORTER_LISTEN};
	int rest, rc = pp_conf_args(keys, &s, argc, argv, &rest);

	if (!rc && rest < argc)
		rc = pp_detail(-EINVAL, "'%s' is not an option; see --help", argv[rest]);
	if (rc) {
		fail(pp_detail_get());
		return 2;
	}
	if (s.help) {
		usage();
		return 0;
	}
	if (s.version) {
		printf("ppdb-exporter %u.%u.%u\n", PPDB_VERSION >> 16, PPDB_VERSION >> 8 & 0xff, PPDB_VERSION & 0xff);
		return 0;
	}
	return run(&s);
}
