/*
 * scrape.c - reads metrics, and lets promtool judge them (see scrape.h).
 *
 * promtool lies in build/deps (`make deps` puts it there) or in the path. Its input and output go through files in a directory of their own.
 */
#include "tests/lib/scrape.h"

#include "tests/lib/proc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

bool test_sample(const char *text, const char *series, double *value)
{
	size_t size = strlen(series);

	for (const char *at = text; at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL)
		if (!strncmp(at, series, size) && at[size] == ' ') {
			*value = strtod(at + size, NULL);
			return true;
		}
	return false;
}

double test_value(const char *text, const char *series)
{
	double value = 0;

	test_require(test_sample(text, series, &value), "there is no sample %s in:\n%s", series, text);
	return value;
}

unsigned test_samples(const char *text, const char *begin)
{
	unsigned n = 0;

	for (const char *at = text; at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL)
		n += !strncmp(at, begin, strlen(begin));
	return n;
}

int test_promtool(const char *words, const char *input, char *out, size_t cap)
{
	char dir[] = "/tmp/ppdb-promtool-XXXXXX", path[64], command[1024];
	size_t n = 0;
	int status;
	FILE *f;

	test_require(mkdtemp(dir), "%s", dir);
	snprintf(path, sizeof(path), "%s/in", dir);
	f = fopen(path, "w");
	test_require(f && (!input || fputs(input, f) >= 0) && !fclose(f), "%s", path);
	snprintf(command, sizeof(command), "P=build/deps/promtool; [ -x $P ] || P=$(command -v promtool) || { echo 'promtool is missing: make deps'; exit 99; }; "
		"exec $P %s <%s/in >%s/out 2>&1", words, dir, dir);
	status = system(command);
	snprintf(path, sizeof(path), "%s/out", dir);
	f = fopen(path, "r");
	if (f) {
		n = fread(out, 1, cap - 1, f);
		fclose(f);
	}
	out[n] = '\0';
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	test_require(!system(command), "%s", command);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void test_promtool_accepts(const char *metrics)
{
	char out[4096];
	int rc = test_promtool("check metrics", metrics, out, sizeof(out));

	test_require(!rc && !out[0], "promtool check metrics: %d, %s in:\n%s", rc, out, metrics);
}
