/*
 * replay.c - the main of a fuzz target without libFuzzer: feeds it every file named, and those of every folder named.
 *
 *   build/tests/fuzz/wal tests/fuzz/corpus/wal tests/fuzz/regression/wal/crash-1
 *   build/tests/fuzz/wal --seeds tests/fuzz/corpus/wal       writes the target's seeds there
 * The name of the input under way goes to stderr when it ends the process (a signal's default action follows).
 */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <signal.h>
#include <sys/stat.h>

#define INPUT_SECONDS 60 /* an input that takes longer hangs */

static char current[4096];
static const char *seeds_dir;

static void say_current(int sig)
{
	static const char text[] = "input: ";

	if (write(2, text, sizeof(text) - 1) < 0 || write(2, current, strlen(current)) < 0 || write(2, "\n", 1) < 0)
		_exit(1);
	signal(sig, SIG_DFL);
	raise(sig);
}

static int replay_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	uint8_t *data = malloc(1 << 20);
	size_t n;

	if (!f || !data) {
		perror(path);
		return 1;
	}
	n = fread(data, 1, 1 << 20, f);
	fclose(f);
	data = realloc(data, n + 1); /* so that reading behind the input is noticed by a sanitizer */
	snprintf(current, sizeof(current), "%s", path);
	alarm(INPUT_SECONDS);
	LLVMFuzzerTestOneInput(data, n);
	alarm(0);
	free(data);
	return 0;
}

static int replay(const char *path, unsigned *count)
{
	struct stat st;
	struct dirent *e;
	DIR *d;
	int bad = 0;

	if (stat(path, &st)) {
		perror(path);
		return 1;
	}
	if (!S_ISDIR(st.st_mode)) {
		++*count;
		return replay_file(path);
	}
	d = opendir(path);
	while (d && (e = readdir(d))) {
		char sub[4096];

		if (e->d_name[0] == '.')
			continue;
		snprintf(sub, sizeof(sub), "%s/%s", path, e->d_name);
		bad |= replay(sub, count);
	}
	if (d)
		closedir(d);
	return bad;
}

static void write_seed(const char *name, const void *data, size_t size)
{
	char path[4096];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", seeds_dir, name);
	f = fopen(path, "wb");
	fuzz_require(f && fwrite(data, 1, size, f) == size && !fclose(f), "%s", path);
}

int main(int argc, char **argv)
{
	static const int signals[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGALRM};
	unsigned count = 0;
	int bad = 0;

	if (argc == 3 && !strcmp(argv[1], "--seeds")) {
		seeds_dir = argv[2];
		fuzz_seeds(write_seed);
		return 0;
	}
	for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		signal(signals[i], say_current);
	for (int i = 1; i < argc; i++)
		bad |= replay(argv[i], &count);
	printf("%u inputs\n", count);
	return bad;
}
