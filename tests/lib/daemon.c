/*
 * daemon.c (test) - starts the built ppdbd as a user would, in a scratch directory.
 */
#include "tests/lib/daemon.h"

#include "shm/live.h"
#include "tools/paths.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

void test_daemon_make(struct test_daemon *d)
{
	memset(d, 0, sizeof(*d));
	snprintf(d->dir, sizeof(d->dir), "/tmp/ppdb-test-XXXXXX");
	cr_assert_neq(mkdtemp(d->dir), NULL);
	snprintf(d->data, sizeof(d->data), "%s/data", d->dir);
	snprintf(d->name, sizeof(d->name), "t%s", d->dir + strlen("/tmp/ppdb-test-"));
	snprintf(d->options, sizeof(d->options), "--memory 64M --wal-segment 8M");
}

static void read_said(struct test_daemon *d)
{
	char path[128];
	FILE *f;
	size_t n = 0;

	snprintf(path, sizeof(path), "%s/said", d->dir);
	f = fopen(path, "r");
	if (f) {
		n = fread(d->said, 1, sizeof(d->said) - 1, f);
		fclose(f);
	}
	d->said[n] = '\0';
}

int test_daemon_start(struct test_daemon *d, const char *more)
{
	const char *build = getenv("PPDB_BUILD") ? getenv("PPDB_BUILD") : PPDB_BUILD_DIR;
	char line[2048];
	int status;

	snprintf(line, sizeof(line), "'%s/ppdbd' -n %s -d %s %s %s > %s/said 2>&1 < /dev/null", build, d->name, d->data,
		d->options, more, d->dir);
	status = system(line);
	read_said(d);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

pid_t test_daemon_pid(const struct test_daemon *d)
{
	char path[128];
	long pid = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/LOCK", d->data);
	f = fopen(path, "r");
	if (!f)
		return 0;
	if (fscanf(f, "%ld", &pid) != 1)
		pid = 0;
	fclose(f);
	return pid > 1 && pp_proc_alive((pid_t)pid, 0) ? (pid_t)pid : 0;
}

void test_daemon_end(struct test_daemon *d, int sig)
{
	pid_t pid = test_daemon_pid(d);

	if (!pid)
		return;
	kill(pid, sig);
	for (int i = 0; i < 6000 && pp_proc_alive(pid, 0); i++)
		usleep(5000);
	cr_expect_not(pp_proc_alive(pid, 0), "ppdbd %ld did not end", (long)pid);
}

void test_daemon_forget(struct test_daemon *d)
{
	struct pp_paths p;

	cr_assert_eq(pp_paths_fill(d->name, &p), 0);
	cr_assert_eq(unlink(p.arena), 0);
}

const char *test_daemon_log(struct test_daemon *d)
{
	static char text[4096];
	char path[128];
	size_t n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/ppdbd.log", d->data);
	f = fopen(path, "r");
	if (f) {
		if (!fseek(f, 0, SEEK_END) && ftell(f) > (long)sizeof(text) - 1)
			fseek(f, 1 - (long)sizeof(text), SEEK_END);
		else
			rewind(f);
		n = fread(text, 1, sizeof(text) - 1, f);
		fclose(f);
	}
	text[n] = '\0';
	return text;
}

void test_daemon_clear(struct test_daemon *d)
{
	struct pp_paths p;
	char line[256];

	test_daemon_end(d, SIGKILL);
	if (!pp_paths_fill(d->name, &p)) {
		unlink(p.arena);
		unlink(p.socket);
		snprintf(line, sizeof(line), "%.200s.lock", p.arena);
		unlink(line);
	}
	snprintf(line, sizeof(line), "rm -rf %s", d->dir);
	cr_assert_eq(system(line), 0);
}
