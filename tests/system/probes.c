/*
 * probes.c - the static probes: what the scripts of tools/bpftrace name is in the programs, with the arguments that they use, and README names all
 * there are. Where bpftrace is installed it also compiles each script (a dry run: looking on needs rights that a test has not).
 */
#include "tests/lib/proc.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROBES 64
#define SCRIPTS "tools/bpftrace"

TestSuite(probes, .timeout = 120);

struct probe {
	char name[48];
	unsigned arguments;
};

struct program {
	const char *name;
	struct probe probe[PROBES];
	unsigned probes;
};

static struct program library = {.name = "libppdb-client.so"}, daemon_ = {.name = "ppdbd"};
static char text[1 << 16];

static const char *build_dir(void)
{
	const char *dir = getenv("PPDB_BUILD");

	return dir ? dir : PPDB_BUILD_DIR;
}

static void read_file(const char *path)
{
	FILE *f = fopen(path, "r");
	size_t n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;

	test_require(f && n, "cannot read %s: tests run from the top of the tree", path);
	text[n] = '\0';
	fclose(f);
}

static struct probe *find(struct program *p, const char *name, size_t size)
{
	for (unsigned i = 0; i < p->probes; i++)
		if (strlen(p->probe[i].name) == size && !strncmp(p->probe[i].name, name, size))
			return &p->probe[i];
	return NULL;
}

/* "Provider: ppdb", "Name: ...", "Location ...", "Arguments: 4@%edi 8@%rsi" */
static void read_notes(struct program *p)
{
	char command[400], line[400], name[48] = "";
	bool ours = false;
	FILE *f;

	snprintf(command, sizeof(command), "readelf -n '%s/%s'", build_dir(), p->name);
	f = popen(command, "r");
	test_require(f, "readelf does not run");
	p->probes = 0;
	while (fgets(line, sizeof(line), f)) {
		const char *at = strstr(line, "Arguments:");

		if (strstr(line, "Provider: "))
			ours = strstr(line, "Provider: ppdb\n") != NULL;
		else if (ours && sscanf(line, " Name: %47s", name) == 1 && !find(p, name, strlen(name)) && p->probes < PROBES)
			strcpy(p->probe[p->probes++].name, name);
		if (!ours || !at)
			continue;
		find(p, name, strlen(name))->arguments = 0;
		for (; *at; at++)
			find(p, name, strlen(name))->arguments += *at == '@';
	}
	test_require(!pclose(f), "readelf failed");
}

static bool built_with_probes(void)
{
	read_notes(&library);
	read_notes(&daemon_);
#if __has_include(<sys/sdt.h>)
	test_require(library.probes && daemon_.probes, "<sys/sdt.h> is here, and there are no probes: make clean, and build again");
#endif
	return library.probes && daemon_.probes;
}

/* Each "usdt:$1:ppdb:NAME", and argN up to the next. */
static const struct program *check_script(const char *path)
{
	struct program *p;
	unsigned found = 0;

	read_file(path);
	p = strstr(text, "libppdb-client.so.0") ? &library : &daemon_;
	for (char *at = text; (at = strstr(at, ":ppdb:")); found++) {
		size_t size = strspn(at += strlen(":ppdb:"), "abcdefghijklmnopqrstuvwxyz_");
		struct probe *probe = find(p, at, size);
		char *next = strstr(at, ":ppdb:"), *arg = at;

		test_require(probe, "%s: %s has no probe %.*s", path, p->name, (int)size, at);
		while ((arg = strstr(arg, "arg")) && (!next || arg < next)) {
			arg += strlen("arg");
			test_require(*arg < '0' || *arg > '9' || (unsigned)(*arg - '0') < probe->arguments, "%s: %s has %u arguments, not arg%c", path,
				probe->name, probe->arguments, *arg);
		}
	}
	test_require(found, "%s looks at nothing", path);
	return p;
}

/* It looks at the notes, too. */
static void compile_script(const char *path, const struct program *p)
{
	char program[] = "/usr/bin/bpftrace", script[300], file[400], *argv[] = {program, "-d", script, file, "1000", NULL};
	int status;

	snprintf(script, sizeof(script), "%s", path);
	snprintf(file, sizeof(file), "%s/%s", build_dir(), p->name);
	status = test_collect(test_exec(argv, "/dev/null"), true);
	test_require(WIFEXITED(status) && !WEXITSTATUS(status), "bpftrace -d %s %s says what is wrong", script, file);
}

Test(probes, scripts_find_what_they_look_at)
{
	struct dirent *e;
	unsigned scripts = 0;
	DIR *d;

	test_begin(100);
	if (!built_with_probes())
		cr_skip_test("this build has no probes: <sys/sdt.h> was not there");
	d = opendir(SCRIPTS);
	test_require(d, "no %s: tests run from the top of the tree", SCRIPTS);
	while ((e = readdir(d))) {
		const struct program *p;
		char path[300];
		size_t size = strlen(e->d_name);

		if (size < 4 || strcmp(e->d_name + size - 3, ".bt"))
			continue;
		snprintf(path, sizeof(path), "%s/%s", SCRIPTS, e->d_name);
		p = check_script(path);
		if (!geteuid() && !access("/usr/bin/bpftrace", X_OK)) /* it works for root alone */
			compile_script(path, p);
		scripts++;
	}
	closedir(d);
	cr_assert_geq(scripts, 6);
}

Test(probes, readme_names_all_of_them)
{
	struct program *both[] = {&library, &daemon_};
	char name[64];

	test_begin(60);
	if (!built_with_probes())
		cr_skip_test("this build has no probes: <sys/sdt.h> was not there");
	read_file(SCRIPTS "/README.md");
	for (unsigned i = 0; i < 2; i++)
		for (unsigned k = 0; k < both[i]->probes; k++) {
			snprintf(name, sizeof(name), "`%s`", both[i]->probe[k].name);
			test_require(strstr(text, name), "README.md does not name the probe %s", name);
		}
	/* and what it names exists: the rows of its second table */
	for (char *at = strstr(text, "| probe |"); at && (at = strstr(at, "\n| `")); at++)
		for (char *p = at; (p = strchr(p, '`')) && p < strchr(at + 3, '|');) {
			size_t size = strspn(++p, "abcdefghijklmnopqrstuvwxyz_");

			test_require(find(&library, p, size) || find(&daemon_, p, size), "README.md names %.*s, which is not there", (int)size, p);
			p += size + 1;
		}
}
