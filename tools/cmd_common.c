/*
 * cmd_common.c - what the subcommands of `ppdb` share: messages with exit codes, attaching, asking the daemon, arguments as bytes.
 */
#include "client/internal.h" /* first: ppdb.h then leaves the error codes to shm/errors.h */
#include "tools/cmd.h"
#include "tools/text_escape.h"
#include "tools/text_json.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_SECONDS 30.0

static void head(const struct pp_cmd *c)
{
	fflush(stdout);
	if (strcmp(c->command, "ppdb"))
		fprintf(stderr, "ppdb %s: ", c->command);
	else
		fputs("ppdb: ", stderr);
}

void pp_cmd_note(const struct pp_cmd *c, const char *fmt, ...)
{
	va_list ap;

	head(c);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

int pp_cmd_usage(const struct pp_cmd *c, const char *fmt, ...)
{
	va_list ap;

	head(c);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\nusage: ppdb [-n NAME] [--json] %s %s\n", c->command, c->usage);
	return PP_EXIT_USAGE;
}

const char *pp_cmd_dash_n(const struct pp_cmd *c)
{
	static char text[128];

	if (!strcmp(c->store, "default"))
		return "";
	snprintf(text, sizeof(text), " -n %s", c->store);
	return text;
}

/* These are answers, not failures: the thread's sentence is about something older. */
static bool is_answer(int rc)
{
	return rc == PPDB_NOTFOUND || rc == PPDB_EXISTS || rc == PPDB_CONFLICT;
}

bool pp_cmd_help(int argc, char **argv, const char *text)
{
	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
			fputs(text, stdout);
			return true;
		}
	return false;
}

int pp_cmd_fail(const struct pp_cmd *c, int rc, const char *what)
{
	const char *detail = is_answer(rc) ? "" : ppdb_errdetail();

	head(c);
	if (what)
		fprintf(stderr, "%s: ", what);
	if (rc == PPDB_DAEMON_GONE && !c->autostart)
		fprintf(stderr, "ppdbd '%s' is not running; start it with 'ppdb%s start'\n", c->store, pp_cmd_dash_n(c));
	else
		fprintf(stderr, "%s\n", *detail ? detail : ppdb_strerror(rc));
	if (rc == PPDB_DAEMON_GONE)
		return PP_EXIT_NO_DAEMON;
	return is_answer(rc) ? PP_EXIT_NO : PP_EXIT_ERROR;
}

const char *pp_cmd_daemon_path(void)
{
	static char path[PATH_MAX];
	const char *given = getenv("PPDBD");
	ssize_t n;
	char *slash;

	if (given && *given)
		return given;
	n = readlink("/proc/self/exe", path, sizeof(path) - 8);
	if (n <= 0)
		return "ppdbd";
	path[n] = '\0';
	slash = strrchr(path, '/');
	if (!slash)
		return "ppdbd";
	strcpy(slash + 1, "ppdbd");
	return access(path, X_OK) ? "ppdbd" : path;
}

int pp_cmd_attach(const struct pp_cmd *c, uint32_t flags, ppdb **out)
{
	ppdb_attach_opts o = {.size = sizeof(o), .flags = flags, .client_name = "ppdb"};
	char name[32];
	int rc;

	snprintf(name, sizeof(name), "ppdb %s", c->command);
	o.client_name = name;
	if (c->autostart) {
		o.flags |= PPDB_AUTOSTART;
		setenv("PPDBD", pp_cmd_daemon_path(), 0);
	}
	rc = ppdb_attach(c->store, &o, out);
	return rc ? pp_cmd_fail(c, rc, NULL) : 0;
}

int pp_cmd_table(const struct pp_cmd *c, ppdb *db, ppdb_table *out)
{
	int rc;

	*out = PPDB_TABLE_DEFAULT;
	if (!c->table)
		return 0;
	rc = ppdb_table_open(db, c->table, NULL, out);
	return rc ? pp_cmd_fail(c, rc, NULL) : 0;
}

int pp_cmd_bytes(const struct pp_cmd *c, char *arg, ppdb_slice *out)
{
	size_t size = strlen(arg), at;

	if (c->escaped && pp_text_unescape(arg, arg, size, &size, &at))
		return pp_cmd_usage(c, "bad escape at byte %zu of '%s' (known are \\t, \\n, \\\\ and \\xHH)", at + 1, arg);
	out->data = arg;
	out->size = size;
	return 0;
}

/* One byte more than the longest value is enough to see that it is too long. */
static char *read_stdin(size_t *size)
{
	size_t cap = 65536, n = 0, got;
	char *buffer = malloc(cap);

	while (buffer && (got = fread(buffer + n, 1, cap - n, stdin)) > 0) {
		n += got;
		if (n == cap && n > (64u << 20))
			break;
		if (n == cap) {
			char *more = realloc(buffer, cap *= 2);

			if (!more)
				free(buffer);
			buffer = more;
		}
	}
	*size = n;
	return buffer;
}

int pp_cmd_value(const struct pp_cmd *c, char *arg, ppdb_slice *out, char **buffer)
{
	*buffer = NULL;
	if (strcmp(arg, "-"))
		return pp_cmd_bytes(c, arg, out);
	*buffer = read_stdin(&out->size);
	if (!*buffer || ferror(stdin)) {
		pp_cmd_note(c, "cannot read the value from stdin: %m");
		return PP_EXIT_ERROR;
	}
	out->data = *buffer;
	return 0;
}

int pp_cmd_status_text(const struct pp_cmd *c, uint32_t timeout_ms, char **json)
{
	return pp_client_request(c->store, PP_MSG_STATUS, timeout_ms, json);
}

int pp_cmd_daemon_pid(const struct pp_cmd *c)
{
	char *json = NULL, pid[24];
	int n = 0;

	if (pp_cmd_status_text(c, 5000, &json))
		return 0;
	if (pp_json_find(json, "pid", pid, sizeof(pid)))
		n = atoi(pid);
	free(json);
	return n > 0 ? n : 0;
}

/* Nothing happened, and it may go better in a moment. */
static bool may_retry(int rc, ppdb_seq ticket)
{
	return !ticket && (rc == PPDB_OVERLOAD || rc == PPDB_DAEMON_GONE || rc == PPDB_TIMEOUT);
}

int pp_cmd_put_patiently(ppdb *db, ppdb_table table, ppdb_slice key, ppdb_slice value, uint64_t ttl_ms)
{
	const struct timespec pause = {.tv_nsec = 1000000};
	ppdb_wopts o = {.size = sizeof(o), .flags = PPDB_ASYNC, .ttl_ms = ttl_ms};
	ppdb_seq ticket;
	double end = 0;
	int rc;

	while (may_retry(rc = ppdb_put(db, table, key, value, &o, &ticket), ticket)) {
		if (end == 0)
			end = pp_cmd_now() + PATIENCE_SECONDS;
		else if (pp_cmd_now() > end)
			return rc;
		nanosleep(&pause, NULL);
	}
	return ticket ? 0 : rc;
}

double pp_cmd_now(void)
{
	return (double)pp_now_ns() / 1e9;
}

int pp_cmd_spool(const struct pp_cmd *c, int *fd, const char *instead)
{
	static char buffer[1 << 16];
	FILE *f = tmpfile();
	ssize_t n = 0;

	while (f && (n = read(*fd, buffer, sizeof(buffer))) > 0)
		if (fwrite(buffer, 1, (size_t)n, f) != (size_t)n)
			break;
	if (!f || n || fflush(f)) {
		pp_cmd_note(c, "cannot keep stdin in a temporary file: %m; %s", instead);
		return PP_EXIT_ERROR;
	}
	*fd = fileno(f);
	return 0;
}
