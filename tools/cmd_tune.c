/*
 * cmd_tune.c - `ppdb tune`: measures what the settings of ppdbd do on this machine with this data, and writes a config with its reasons.
 *
 * Settings are tried one after the other, each with those that were chosen before (coordinate descent): they hardly depend on each other, and all
 * combinations would take days. At the end the whole is measured against the defaults, by a daemon that reads the config that is to be written.
 * What cannot be chosen (the size of blocks is fixed) or is a matter of safety or room (memory, slots, pins, checkpoints) is not measured.
 *
 * Dies inside: scratch daemons end with it (cmd_scratch.c); FILE is there, whole, or not.
 */
#include "tools/cmd_tune.h"
#include "tools/conf.h"
#include "tools/text_number.h"

#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#define TMPFS 0x01021994
#define RECORD_BYTES 400u

static const struct {
	const char *name, *values, *about, *only_if;
	enum pp_tune_load load;
} knobs[] = {
	{"pages", "auto 4k thp hugetlb", "Page size of the memory", NULL, PP_TUNE_READS},
	{"strategy", "range hash", "How keys are spread over shards", NULL, PP_TUNE_MIX},
	{"shards", "4 1 16 64", "Shards", NULL, PP_TUNE_MIX},
	{"sync", "lockfree mutex", "Writers of one key: lock-free, or one after the other", NULL, PP_TUNE_HOT},
	{"stripes", "1024 64 16384", "Locks", "sync mutex", PP_TUNE_HOT},
	{"backoff-max", "1024 64 16384", "Longest back-off of a retry", NULL, PP_TUNE_HOT},
	{"wal-backend", "auto pwrite uring-dsync uring-fsync", "How the log is written", NULL, PP_TUNE_DURABLE},
	{"wal-depth", "2 1 4 8", "Log writes in flight", NULL, PP_TUNE_DURABLE},
	{"spin-ns", "20000 0 5000 100000", "Longest spinning before a sleep", NULL, PP_TUNE_DURABLE},
};

static void set_knobs(struct pp_tune *t)
{
	static char words[sizeof(knobs) / sizeof(knobs[0])][80];

	t->knobs = sizeof(knobs) / sizeof(knobs[0]);
	for (unsigned i = 0; i < t->knobs; i++) {
		struct pp_tune_knob *k = &t->knob[i];
		char *save = NULL;

		*k = (struct pp_tune_knob){.name = knobs[i].name, .about = knobs[i].about, .only_if = knobs[i].only_if, .load = knobs[i].load};
		snprintf(words[i], sizeof(words[i]), "%s", knobs[i].values);
		for (char *w = strtok_r(words[i], " ", &save); w && k->values < PP_TUNE_VALUES; w = strtok_r(NULL, " ", &save))
			k->trial[k->values++].value = w;
	}
}

static bool applies(const struct pp_tune *t, const struct pp_tune_knob *k)
{
	char now[64];

	if (!k->only_if)
		return true;
	snprintf(now, sizeof(now), "sync %s", pp_tune_value(t, "sync"));
	return !strcmp(now, k->only_if);
}

/* Of what is free now, in all daemons that live at once; each has its copy of the data. */
static uint64_t keys_that_fit(const struct pp_tune *t)
{
	unsigned long long kib = 0;
	uint64_t budget;
	char line[128];
	FILE *f = fopen("/proc/meminfo", "re");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "MemAvailable: %llu", &kib) == 1)
			break;
	if (f)
		fclose(f);
	budget = kib * 1024 / 4;
	if (budget > (t->quick ? UINT64_C(256) : UINT64_C(2048)) << 20)
		budget = (t->quick ? UINT64_C(256) : UINT64_C(2048)) << 20;
	return budget / 5 / (t->p.key_bytes + t->p.value_bytes + RECORD_BYTES);
}

static void plan(struct pp_tune *t)
{
	uint64_t fit;

	t->cores = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
	t->rounds = t->rounds ? t->rounds : t->quick ? 7 : 13;
	t->seconds = t->seconds > 0 ? t->seconds : t->quick ? 0.12 : 0.5;
	if (t->p.key_bytes < 9)
		t->p.key_bytes = 9; /* of the bench's keys, so that all numbers have room */
	fit = keys_that_fit(t);
	t->keys = t->p.keys < fit ? t->p.keys : fit;
	t->keys = t->keys < 1000 ? 1000 : t->keys > 60000000 ? 60000000 : t->keys;
	t->mix = (struct pp_bench_workload){.name = "mix", .draw = PP_BENCH_ZIPFIAN, .any_length = true};
	t->mix.percent[PP_BENCH_READ] = (uint8_t)t->p.reads;
	t->mix.percent[PP_BENCH_UPDATE] = (uint8_t)t->p.writes;
	t->mix.percent[PP_BENCH_SCAN] = (uint8_t)t->p.scans;
}

static void warn_of_tmpfs(const struct pp_tune *t)
{
	const char *dir = t->data_dir ? t->data_dir : getenv("TMPDIR") && *getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp";
	struct statfs fs;

	if (!statfs(dir, &fs) && fs.f_type == TMPFS)
		pp_cmd_note(t->c, "%s is on tmpfs: what is found about the log means nothing; --data-dir should name a directory on the disk of the store", dir);
}

/* ---- the file ---- */

static int write_file(const struct pp_tune *t, const char *path)
{
	char temp[PATH_MAX];
	FILE *f;

	if (snprintf(temp, sizeof(temp), "%s.new", path) >= (int)sizeof(temp))
		return pp_cmd_fail(t->c, -ENAMETOOLONG, path);
	f = fopen(temp, "we");
	if (f)
		pp_tune_config(t, f);
	if (!f || fflush(f) || fsync(fileno(f)) || fclose(f) || rename(temp, path)) {
		pp_cmd_note(t->c, "cannot write %s: %s", path, strerror(errno));
		unlink(temp);
		return PP_EXIT_ERROR;
	}
	return 0;
}

/* The config as it would be written, read by a daemon, against the defaults. */
static int prove(struct pp_tune *t)
{
	char path[] = "/tmp/ppdb-tune-XXXXXX";
	int fd = mkstemp(path), rc;
	FILE *f = fd < 0 ? NULL : fdopen(fd, "w");

	if (!f)
		return pp_cmd_fail(t->c, -errno, path);
	pp_tune_config(t, f);
	rc = fclose(f) ? pp_cmd_fail(t->c, -errno, path) : pp_tune_prove(t, path);
	unlink(path);
	return rc;
}

static int tune(struct pp_tune *t, const char *path)
{
	double began = pp_cmd_now();
	int rc = 0;

	warn_of_tmpfs(t);
	for (unsigned i = 0; i < t->knobs && !rc; i++)
		if (!t->knob[i].left_out && applies(t, &t->knob[i]))
			rc = pp_tune_try(t, &t->knob[i]);
	if (!rc)
		rc = prove(t);
	if (rc)
		return rc;
	t->took = pp_cmd_now() - began;
	if (t->c->json)
		pp_tune_json(t, stdout);
	else if (!path)
		pp_tune_config(t, stdout);
	if (!path)
		return 0;
	rc = write_file(t, path);
	if (!rc)
		pp_cmd_note(t->c, "%s is written; ppdbd -c %s reads it, or put it where ppdbd looks for it (ppdbd --help)", path, path);
	return rc;
}

/* ---- options ---- */

static const char help_text[] =
	"usage: ppdb [-n NAME] [--json] tune [--quick] [--data-dir DIR] [--memory SIZE] [--write FILE [--force]] [--clients N]\n\n"
	"Measures what the settings of ppdbd do on this machine, on daemons of its own, and prints a config with the reason for each value: page size,\n"
	"strategy, shards, sync and its stripes, back-off, backend and depth of the log, spinning. Values of a setting are measured in turns; one that is\n"
	"not better than the default beyond the noise is not taken. Huge pages are tried where a hugetlbfs is mounted.\n"
	"Sizes of keys and values, mix of operations, number of clients and keys are those of the store NAME, if it runs: from its counters and a sample of its\n"
	"records. Give it a quiet machine.\n\n"
	"  --quick         less data and shorter runs: a minute or two, for a first idea; else some minutes\n"
	"  --data-dir DIR  for the logs: on the disk that the store will be on ($TMPDIR or /tmp)\n"
	"  --memory SIZE   of the store, put into the config\n"
	"  --write FILE    write the config there, not to stdout; --force: even if FILE exists\n"
	"  --clients N     processes that write at once, as the store has them or will have\n"
	"  --keys N, --key-size BYTES, --value-size BYTES   instead of the store's\n"
	"  --only A,B      only these settings\n"
	"  --rounds N, --seconds S   how often each value is measured, and for how long\n\n"
	"  ppdb tune --quick\n"
	"  ppdb tune --data-dir . --write tuned.conf    # for the store that runs, on the disk of this directory\n\n"
	"--json prints {store, keys, measured_keys, key_bytes, value_bytes, reads_percent, writes_percent, scans_percent, clients, rounds, settings: [{name, chosen,\n"
	"load, processes, values: [{value, default, per_s, ratio, noise | why_not}]}]}; ratio: to the default.\n";

/* Leaves out what --only does not name; false: it names something else. */
static bool only(struct pp_tune *t, const char *list)
{
	char words[256], *save = NULL;

	for (unsigned i = 0; i < t->knobs && list; i++)
		t->knob[i].left_out = true;
	if (!list)
		return true;
	snprintf(words, sizeof(words), "%s", list);
	for (char *w = strtok_r(words, ",", &save); w; w = strtok_r(NULL, ",", &save)) {
		unsigned i = 0;

		while (i < t->knobs && strcmp(t->knob[i].name, w))
			i++;
		if (i == t->knobs)
			return false;
		t->knob[i].left_out = false;
	}
	return true;
}

struct texts {
	const char *memory, *write, *only, *keys, *key_size, *value_size, *seconds;
	bool force;
	uint64_t clients, rounds;
};

static int take_size(const struct pp_cmd *c, const char *option, const char *text, uint64_t least, uint64_t most, uint64_t *out)
{
	if (text && (pp_conf_size(text, out) || *out < least || *out > most))
		return pp_cmd_usage(c, "--%s takes %" PRIu64 " to %" PRIu64 " bytes, not '%s'", option, least, most, text);
	return 0;
}

/* What options say counts more than what the store says. */
static int override(struct pp_tune *t, const struct texts *x)
{
	uint64_t key = t->p.key_bytes, value = t->p.value_bytes;
	int rc = take_size(t->c, "memory", x->memory, 16 << 20, UINT64_C(1) << 40, &t->memory);

	if (!rc)
		rc = take_size(t->c, "key-size", x->key_size, 1, 4096, &key);
	if (!rc)
		rc = take_size(t->c, "value-size", x->value_size, 0, 1 << 20, &value);
	if (!rc && x->keys && !pp_text_u64(x->keys, &t->p.keys))
		rc = pp_cmd_usage(t->c, "--keys needs a number, not '%s'", x->keys);
	if (!rc && x->clients > 10000)
		rc = pp_cmd_usage(t->c, "--clients takes up to 10000");
	if (!rc && x->rounds && (x->rounds < 3 || x->rounds > PP_TUNE_ROUNDS))
		rc = pp_cmd_usage(t->c, "--rounds takes 3 to %d", PP_TUNE_ROUNDS);
	t->rounds = (unsigned)x->rounds;
	t->seconds = x->seconds ? strtod(x->seconds, NULL) : 0;
	if (!rc && x->seconds && !(t->seconds >= 0.01 && t->seconds <= 60))
		rc = pp_cmd_usage(t->c, "--seconds takes 0.01 to 60");
	t->p.key_bytes = key;
	t->p.value_bytes = value;
	if (x->clients)
		t->p.clients = (unsigned)x->clients;
	return rc;
}

int pp_cmd_tune(struct pp_cmd *c, int argc, char **argv)
{
	static struct pp_tune t;
	struct texts x = {0};
	const struct pp_opt opts[] = {{"quick", PP_OPT_FLAG, &t.quick}, {"data-dir", PP_OPT_TEXT, &t.data_dir}, {"memory", PP_OPT_TEXT, &x.memory},
		{"write", PP_OPT_TEXT, &x.write}, {"force", PP_OPT_FLAG, &x.force}, {"only", PP_OPT_TEXT, &x.only}, {"keys", PP_OPT_TEXT, &x.keys},
		{"key-size", PP_OPT_TEXT, &x.key_size}, {"value-size", PP_OPT_TEXT, &x.value_size}, {"clients", PP_OPT_U64, &x.clients},
		{"rounds", PP_OPT_U64, &x.rounds}, {"seconds", PP_OPT_TEXT, &x.seconds}, {NULL, 0, NULL}};
	int rc;

	if (pp_cmd_help(argc, argv, help_text))
		return PP_EXIT_OK;
	if (pp_cmd_options(c, argc, argv, opts, 0, 0) < 0)
		return PP_EXIT_USAGE;
	t.c = c;
	set_knobs(&t);
	if (!only(&t, x.only))
		return pp_cmd_usage(c, "--only names a setting that is not measured: '%s'", x.only);
	if (x.write && !x.force && !access(x.write, F_OK))
		return pp_cmd_usage(c, "%s is there already; --force replaces it", x.write);
	pp_bench_catch_signals();
	rc = pp_tune_profile(&t, strcmp(c->store, "default") != 0);
	if (!rc)
		rc = override(&t, &x);
	if (rc)
		return rc;
	plan(&t);
	return tune(&t, x.write);
}
