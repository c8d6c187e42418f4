/*
 * example.c - a shell in which the examples of help texts and documents can do no harm (see example.h).
 *
 * The programs are wrapped in scripts that come first in the path. Daemons that the examples start are remembered by their store's name, and are
 * killed at the end, whatever became of the test.
 */
#include "tests/lib/example.h"

#include "tests/lib/proc.h"

#include <ctype.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Replaces the name behind -n; for what starts a daemon, says where its files are. */
static const char wrapper[] =
	"#!/bin/bash\n"
	"tool=${0##*/} name=default rest=() data=() starts=no\n"
	"[[ $tool == ppdbd || \" $* \" == *' start '* ]] && starts=yes\n"
	"while [ $# -gt 0 ]; do\n"
	"	case $1 in\n"
	"	-n | --name) name=$2; shift 2; continue ;;\n"
	"	-d | --data-dir) [ $starts = yes ] && { data=(-d \"$2\"); shift 2; continue; } ;;\n"
	"	esac\n"
	"	rest+=(\"$1\"); shift\n"
	"done\n"
	"case $name in\n"
	"*/*) ;;\n"
	"*) echo \"$name\" >>\"$D/names\"; [ ${#data[@]} -gt 0 ] || data=(-d \"$D/store-$name\"); name=$ID-${name//,/,$ID-} ;;\n"
	"esac\n"
	"[ $starts = yes ] && rest+=(\"${data[@]}\")\n"
	"exec \"$BUILD/$tool\" -n \"$name\" \"${rest[@]}\"\n";

static void file(const struct test_shell *s, const char *name, const char *text)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/bin/%s", s->dir, name);
	f = fopen(path, "w");
	test_require(f && fputs(text, f) >= 0 && !fclose(f), "%s", path);
	test_require(!chmod(path, 0755), "%s", path);
}

/* What the watchdog ends. */
static struct test_shell *current;

static void end_current(void)
{
	if (current)
		test_shell_end(current);
}

void test_shell_begin(struct test_shell *s)
{
	char path[256];

	memset(s, 0, sizeof(*s));
	current = s;
	test_on_end(end_current);
	strcpy(s->dir, "/tmp/ppdb-example-XXXXXX");
	test_require(mkdtemp(s->dir), "%s", s->dir);
	snprintf(s->id, sizeof(s->id), "x%s", s->dir + strlen(s->dir) - 6);
	snprintf(path, sizeof(path), "mkdir '%s/bin' '%s/here'", s->dir, s->dir);
	test_require(!system(path), "%s", path);
	file(s, "ppdb", wrapper);
	file(s, "ppdbd", wrapper);
	file(s, "ppdb-exporter", wrapper);
	file(s, "mail", "#!/bin/sh\nexec cat\n");
}

static int run(struct test_shell *s, const char *script, double seconds, const char *out)
{
	const char *build = getenv("PPDB_BUILD") ? getenv("PPDB_BUILD") : PPDB_BUILD_DIR;
	char path[128], line[1024];
	int status;
	FILE *f;

	snprintf(path, sizeof(path), "%s/script", s->dir);
	f = fopen(path, "w");
	if (!f)
		return 127;
	fprintf(f, "%s\n", script);
	fclose(f);
	snprintf(line, sizeof(line), "export LC_ALL=C D='%s' ID='%s' BUILD='%s' PPDBD='%s/ppdbd' TOP=\"$PWD\" PATH='%s/bin':\"$PATH\"; cd '%s/here' && "
		"timeout -k 10 %.1f bash -o pipefail '%s' >'%s' 2>&1 </dev/null", s->dir, s->id, build, build, s->dir, s->dir, seconds, path, out);
	status = system(line);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int test_shell_run(struct test_shell *s, const char *script, double seconds)
{
	char path[128];
	size_t n = 0;
	int rc;
	FILE *f;

	/* a file of its own: what was ended at its time limit may still have a word to say */
	snprintf(path, sizeof(path), "%s/out-%u", s->dir, s->runs++);
	rc = run(s, script, seconds, path);
	f = fopen(path, "r");
	if (f) {
		n = fread(s->out, 1, sizeof(s->out) - 1, f);
		fclose(f);
	}
	s->out[n] = '\0';
	return rc;
}

void test_shell_end(struct test_shell *s)
{
	static const char stop[] =
		"for name in $(tr , '\\n' <\"$D/names\" | sort -u); do\n"
		"	arena=$(ppdb -n \"$name\" status --json 2>/dev/null | jq -r '.arena')\n"
		"	pid=$(ppdb -n \"$name\" status --json 2>/dev/null | jq -r '.pid')\n"
		"	[ \"${pid:-0}\" -gt 1 ] 2>/dev/null && kill -KILL \"$pid\"\n"
		"	case $arena in */$ID-*) rm -f \"$arena\" \"$arena\".lock ;; esac\n"
		"	rm -f /run/ppdb/\"$ID-$name\".sock\n"
		"done\n";
	char line[128];

	if (!s->dir[0])
		return;
	run(s, stop, 60, "/dev/null");
	snprintf(line, sizeof(line), "rm -rf '%s'", s->dir);
	if (system(line))
		dprintf(2, "%s was left\n", s->dir);
	s->dir[0] = '\0';
}

/* Is there a command `ppdb...` in the line: at its beginning, or behind a pipe, && or || ? */
static bool runs_ppdb(const char *line)
{
	for (const char *p = line; (p = strstr(p, "ppdb")); p++) {
		const char *before = p;

		while (before > line && before[-1] == ' ')
			before--;
		if (strcspn(p, " \n") <= strlen("ppdb-exporter") && (before == line || strchr("|&;(", before[-1])))
			return true;
	}
	return false;
}

unsigned test_examples(const char *help, void (*each)(void *ctx, const char *line), void *ctx)
{
	unsigned n = 0;
	char line[512];

	for (const char *at = help; *at; at += strcspn(at, "\n"), at += *at == '\n') {
		char *comment;

		snprintf(line, sizeof(line), "%.*s", (int)strcspn(at, "\n"), at);
		if (strncmp(line, "  ", 2) || line[2] == ' ' || line[2] == '-' || !runs_ppdb(line + 2))
			continue;
		comment = strstr(line + 2, "  ");
		if (comment)
			*comment = '\0';
		n++;
		if (each)
			each(ctx, line + 2);
	}
	return n;
}
