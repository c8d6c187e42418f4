/*
 * cmd_start.c - `ppdb start`: runs ppdbd, which puts itself into the background and returns when it is ready.
 *
 * Everything behind `start` goes to ppdbd as it stands. A daemon that runs already is no error.
 */
#include "tools/cmd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int run_daemon(const struct pp_cmd *c, int argc, char **argv)
{
	char **args = calloc((size_t)argc + 3, sizeof(*args));
	const char *path = pp_cmd_daemon_path();
	pid_t pid;
	int status;

	if (!args)
		return pp_cmd_fail(c, -ENOMEM, NULL);
	args[0] = (char *)(uintptr_t)path;
	args[1] = "-n";
	args[2] = (char *)(uintptr_t)c->store;
	for (int i = 1; i < argc; i++)
		args[i + 2] = argv[i];
	pid = fork();
	if (pid == 0) {
		execvp(path, args);
		fprintf(stderr, "ppdb start: cannot run %s: %s; set $PPDBD to where it is\n", path, strerror(errno));
		_exit(127);
	}
	free(args);
	if (pid < 0)
		return pp_cmd_fail(c, -errno, "fork");
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return PP_EXIT_OK;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 2)
		return PP_EXIT_USAGE;
	pp_cmd_note(c, "%s did not start", path);
	return PP_EXIT_ERROR;
}

int pp_cmd_start(struct pp_cmd *c, int argc, char **argv)
{
	int pid, rc;

	if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))) {
		pp_cmd_print_help(c);
		return PP_EXIT_OK;
	}
	if (argc > 2 && !strcmp(argv[1], "-n")) {
		c->store = argv[2];
		argc -= 2;
		argv += 2;
	}
	if (argc > 1 && !strcmp(argv[1], "--")) {
		argc--;
		argv++;
	}
	pid = pp_cmd_daemon_pid(c);
	if (pid) {
		pp_cmd_note(c, "ppdbd '%s' runs already, pid %d", c->store, pid);
		return PP_EXIT_OK;
	}
	rc = run_daemon(c, argc, argv);
	if (rc == PP_EXIT_OK && (pid = pp_cmd_daemon_pid(c)))
		pp_cmd_note(c, "ppdbd '%s' is ready, pid %d", c->store, pid);
	return rc;
}
