/*
 * fuzz_replay.c - every input that is kept (tests/fuzz/corpus, and tests/fuzz/regression: those that once ended a process) goes
 * through its fuzz target again, without libFuzzer. Each target is a program of its own, so that it says which one and which input.
 */
#include "tests/lib/proc.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const targets[] = {"wal", "checkpoint", "conf", "load", "proto", "region_client", "region_daemon"};

static void replay(const char *target)
{
	char command[512], line[256], said[4096] = "";
	FILE *out;
	int status;

	snprintf(command, sizeof(command), "%s/tests/fuzz/%s tests/fuzz/corpus/%s $(ls -d tests/fuzz/regression/%s 2>/dev/null) 2>&1",
		 PPDB_BUILD_DIR, target, target, target);
	out = popen(command, "r");
	cr_assert(out, "%s", command);
	while (fgets(line, sizeof(line), out))
		if (strlen(said) + strlen(line) < sizeof(said))
			strcat(said, line);
	status = pclose(out);
	cr_assert(WIFEXITED(status) && !WEXITSTATUS(status), "%s\n%sagain, one input: %s/tests/fuzz/%s INPUT", command, said,
		  PPDB_BUILD_DIR, target);
	cr_assert(strstr(said, " inputs") && strcmp(said, "0 inputs\n"), "%s: %s", target, said);
}

ParameterizedTestParameters(fuzz, replay)
{
	static char names[sizeof(targets) / sizeof(*targets)][16];

	for (size_t i = 0; i < sizeof(targets) / sizeof(*targets); i++)
		snprintf(names[i], sizeof(names[i]), "%s", targets[i]);
	return cr_make_param_array(char[16], names, sizeof(targets) / sizeof(*targets));
}

ParameterizedTest(char (*target)[16], fuzz, replay, .timeout = 120)
{
	replay(*target);
}
