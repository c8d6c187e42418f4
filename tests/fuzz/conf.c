/*
 * conf.c (fuzz) - the config file, options and the file that names a store, as anybody may have written them.
 *
 * First byte: 0 = the rest is a config file of ppdbd, 1 = options separated by newlines, 2 = the file STORE of a data directory,
 * 3 = a number. Whatever it says: taken, or refused with a sentence.
 */
#include "tests/fuzz/fuzz.h"

#include "shm/errors.h"
#include "tools/daemon.h"
#include "tools/store_dir.h"

#include <sys/mman.h>

static int hold; /* memfd with the bytes of a file */
static char hold_path[64];

static void fill(const uint8_t *data, size_t size)
{
	fuzz_require(!ftruncate(hold, 0) && pwrite(hold, data, size, 0) == (ssize_t)size, "memfd");
}

static void judge(int rc)
{
	fuzz_require(fuzz_known_code(rc), "code %d", rc);
	fuzz_require(!rc || pp_detail_get()[0], "code %d without a sentence", rc);
}

static void file(const uint8_t *data, size_t size)
{
	struct pp_settings s;

	memset(&s, 0, sizeof(s));
	fill(data, size);
	pp_detail_clear();
	judge(pp_conf_file(pp_settings_keys, &s, hold_path, "ppdbd"));
	fuzz_require(memchr(s.name, 0, sizeof(s.name)) && memchr(s.rw_users, 0, sizeof(s.rw_users)) &&
		memchr(s.data_dir, 0, sizeof(s.data_dir)), "a text is not terminated");
}

static void options(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), *argv[66] = {(char *)"ppdbd"}, *save = NULL;
	struct pp_settings s;
	int argc = 1, rest;

	memset(&s, 0, sizeof(s));
	memcpy(text, data, size);
	text[size] = '\0';
	for (char *word = strtok_r(text, "\n", &save); word && argc < 65; word = strtok_r(NULL, "\n", &save))
		argv[argc++] = word;
	pp_detail_clear();
	judge(pp_conf_args(pp_settings_keys, &s, argc, argv, &rest));
	free(text);
}

static void store(const uint8_t *data, size_t size)
{
	char path[96];
	uint64_t id;
	FILE *f;

	snprintf(path, sizeof(path), "%s/STORE", fuzz_dir);
	f = fopen(path, "wb");
	fuzz_require(f && fwrite(data, 1, size, f) == size && !fclose(f), "%s", path);
	pp_detail_clear();
	judge(pp_store_open(fuzz_dir, false, &id));
}

static void number(const uint8_t *data, size_t size)
{
	char text[128];
	uint64_t v;

	size = size < sizeof(text) ? size : sizeof(text) - 1;
	memcpy(text, data, size);
	text[size] = '\0';
	(void)!pp_conf_size(text, &v);
	(void)!pp_conf_number(text, &v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!hold_path[0]) {
		fuzz_make_dir();
		hold = memfd_create("fuzz", MFD_CLOEXEC);
		snprintf(hold_path, sizeof(hold_path), "/proc/self/fd/%d", hold);
	}
	if (!size)
		return 0;
	switch (data[0] & 3) {
	case 0:
		file(data + 1, size - 1);
		break;
	case 1:
		options(data + 1, size - 1);
		break;
	case 2:
		store(data + 1, size - 1);
		break;
	default:
		number(data + 1, size - 1);
	}
	return 0;
}

/* daemon_socket.c wants it; nothing here serves one */
int pp_event_add(struct pp_daemon *d, int fd, enum pp_event_kind kind, uint64_t value)
{
	(void)d;
	(void)fd;
	(void)kind;
	(void)value;
	return 0;
}

static void seed(fuzz_emit *emit, const char *name, char kind, const char *text)
{
	char bytes[1024];
	int n = snprintf(bytes, sizeof(bytes), "%c%s", 'x', text);

	bytes[0] = kind;
	emit(name, bytes, (size_t)n);
}

void fuzz_seeds(fuzz_emit *emit)
{
	seed(emit, "file", 0, "# comment\n[ppdbd]\nmemory = 4G\nnuma = off\nsync = mutex\nrw-users = a, 7 *\nwal_depth=2\n");
	seed(emit, "sections", 0, "name = \"a b\"\n[other]\nx = y\n[ppdbd]\n  shards= 8 ; no\nlog =\n");
	seed(emit, "options", 1, "--memory\n4G\n--sync=mutex\n-n\nname\n--foreground\n--no-numa\n--\nrest");
	seed(emit, "number", 3, "16777215TiB");
	/* of pp_store_open's making */
	char dir[] = "/tmp/ppdb-fuzz-seed-XXXXXX", path[64], text[512];
	uint64_t id;
	FILE *f;
	size_t n;

	fuzz_require(mkdtemp(dir) && !pp_store_open(dir, true, &id), "%s", dir);
	snprintf(path, sizeof(path), "%s/STORE", dir);
	f = fopen(path, "rb");
	text[0] = 2;
	n = fread(text + 1, 1, sizeof(text) - 1, f);
	fclose(f);
	unlink(path);
	rmdir(dir);
	emit("store", text, n + 1);
}
