/*
 * cmd_tune_try.c - one setting of `ppdb tune`: for each of its values a scratch daemon with the same data, measured in turns (A B C, B C A, ...), then
 * compared with the default round by round (tools/measure_judge.c). Settings that were chosen before are those of all of them.
 *
 * The loads: what a setting changes must weigh in what it is measured with, so each has its own. `gather` is off, so that no housekeeping comes
 * between short runs.
 */
#include "tools/cmd_tune.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

#define HOT_KEYS 16
#define DURABLE_KEYS 1000
#define WARM_UP 0.03

const char *const pp_tune_load_names[PP_TUNE_LOADS] = {"reads", "mix", "hot", "durable"};
const char *const pp_tune_load_abouts[PP_TUNE_LOADS] = {"random gets over all keys", "the mix above", "gets and puts on 16 keys", "durable puts"};

unsigned pp_tune_workers(const struct pp_tune *t, enum pp_tune_load load)
{
	switch (load) {
	case PP_TUNE_READS: return t->cores;
	case PP_TUNE_HOT: return 2 * t->cores < 32 ? 2 * t->cores : 32;
	case PP_TUNE_DURABLE: return t->p.clients < 64 ? t->p.clients : 64;
	default: return t->p.clients < 2 * t->cores ? t->p.clients : 2 * t->cores;
	}
}

static const struct pp_bench_workload *workload(const struct pp_tune *t, enum pp_tune_load load)
{
	static const struct pp_bench_workload hot = {.name = "hot", .percent = {[PP_BENCH_READ] = 50, [PP_BENCH_UPDATE] = 50}};

	return load == PP_TUNE_READS ? pp_bench_find("readrandom") : load == PP_TUNE_HOT ? &hot : load == PP_TUNE_DURABLE ? pp_bench_find("overwrite") : &t->mix;
}

static struct pp_bench plan(const struct pp_tune *t, const struct pp_scratch *s, enum pp_tune_load load)
{
	struct pp_bench b = {.c = t->c, .store = s->socket, .processes = pp_tune_workers(t, load), .threads = 1, .keys = t->keys,
		.key_bytes = t->p.key_bytes, .value_bytes = t->p.value_bytes, .seconds = t->seconds, .warmup = WARM_UP, .scan_length = 50, .theta = 0.99,
		.draw = -1, .seed = 1, .sample = load == PP_TUNE_DURABLE ? 1 : 64};

	if (load == PP_TUNE_HOT)
		b.keys = HOT_KEYS;
	if (load == PP_TUNE_DURABLE)
		b.keys = DURABLE_KEYS < t->keys ? DURABLE_KEYS : t->keys;
	b.durable = load == PP_TUNE_DURABLE;
	return b;
}

/* ---- settings ---- */

const char *pp_tune_value(const struct pp_tune *t, const char *name)
{
	for (unsigned i = 0; i < t->knobs; i++)
		if (!strcmp(t->knob[i].name, name))
			return t->knob[i].trial[t->knob[i].chosen].value;
	return "";
}

static void add_option(char *to, size_t cap, const char *name, const char *value)
{
	size_t n = strlen(to);

	snprintf(to + n, cap - n, " --%s %.250s", name, value);
}

/* What was chosen so far; `knob` (NULL allowed) with another value. */
static void options_for(const struct pp_tune *t, const struct pp_tune_knob *knob, const char *value, char *to, size_t cap)
{
	snprintf(to, cap, "--no-gather --wal-segment 16M");
	for (unsigned i = 0; i < t->knobs; i++)
		if (t->knob[i].done && t->knob[i].chosen && &t->knob[i] != knob)
			add_option(to, cap, t->knob[i].name, t->knob[i].trial[t->knob[i].chosen].value);
	if (knob && value != knob->trial[0].value)
		add_option(to, cap, knob->name, value);
}

/* Pages of a hugetlbfs need the arena's file there. False: there is none. */
static bool place_arena(const struct pp_tune *t, const struct pp_tune_knob *knob, struct pp_tune_trial *x)
{
	static unsigned number;
	bool own = knob && !strcmp(knob->name, "pages");
	char folder[150];

	x->arena[0] = '\0';
	if (strcmp(own ? x->value : pp_tune_value(t, "pages"), "hugetlb"))
		return true;
	if (pp_region_hugetlb_mount(folder, sizeof(folder))) {
		snprintf(x->why_not, sizeof(x->why_not), "no hugetlbfs with pages of 2 MiB is mounted");
		return false;
	}
	snprintf(x->arena, sizeof(x->arena), "%s/ppdb-tune-%d-%u", folder, (int)getpid(), number++);
	return true;
}

/* Whoever has it mapped keeps it. */
static void forget_arena(const struct pp_tune_trial *x)
{
	char lock[300];

	if (!x->arena[0])
		return;
	unlink(x->arena);
	snprintf(lock, sizeof(lock), "%s.lock", x->arena);
	unlink(lock);
}

static uint64_t arena_bytes(const struct pp_tune *t)
{
	return t->keys * (t->p.key_bytes + t->p.value_bytes + 400) * 3 / 2 + (UINT64_C(128) << 20);
}

/* ---- one daemon ---- */

static int load_keys(const struct pp_tune *t, const struct pp_scratch *s, enum pp_tune_load load)
{
	static struct pp_bench_result r;
	struct pp_bench b = plan(t, s, load);

	b.processes = 1;
	b.seconds = -1;
	b.durable = false;
	return pp_bench_run(&b, pp_bench_find("fillrandom"), &r);
}

static int start(const struct pp_tune *t, struct pp_scratch *s, const char *options, enum pp_tune_load load)
{
	int rc = pp_scratch_start(t->c, s, t->data_dir, arena_bytes(t), options, &pp_bench_interrupted);

	if (!rc && (rc = load_keys(t, s, load))) {
		pp_scratch_stop(s);
		snprintf(s->said, sizeof(s->said), "the keys could not be loaded");
	}
	return rc;
}

/* Operations a second; NaN when it failed. Where nobody waits for anything they are those of a second of processor time, for each worker: what else
 * runs on the machine counts less. */
static double run(const struct pp_tune *t, const struct pp_scratch *s, enum pp_tune_load load)
{
	static struct pp_bench_result r;
	struct pp_bench b = plan(t, s, load);

	if (pp_bench_run(&b, workload(t, load), &r) || r.interrupted || r.sum.wrong)
		return NAN;
	if (pp_tune_by_cpu(load))
		return r.sum.cpu_ns ? (double)r.sum.all * 1e9 / (double)r.sum.cpu_ns : NAN;
	return pp_bench_rate(&r);
}

/* ---- one setting ---- */

static void say(const struct pp_tune *t, const char *what, unsigned round)
{
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r%-40s round %u of %u ", what, round + 1, t->rounds);
}

static void measure(const struct pp_tune *t, struct pp_tune_trial **trial, unsigned n, enum pp_tune_load load, const char *what)
{
	for (unsigned round = 0; round < t->rounds && !pp_bench_interrupted; round++) {
		say(t, what, round);
		for (unsigned i = 0; i < n && !pp_bench_interrupted; i++) {
			struct pp_tune_trial *x = trial[(round + i) % n];

			if (x->ran)
				x->rate[round] = run(t, &x->scratch, load);
		}
	}
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r%70s\r", "");
}

/* What the daemon said, without date and pid. */
static const char *reason(const char *said)
{
	const char *at = strstr(said, "ppdbd[");

	at = at ? strstr(at, "]: ") : NULL;
	return at ? at + 3 : said;
}

static void start_trial(const struct pp_tune *t, const struct pp_tune_knob *k, struct pp_tune_trial *x)
{
	char options[1024];

	for (unsigned i = 0; i < PP_TUNE_ROUNDS; i++)
		x->rate[i] = NAN;
	options_for(t, k, x->value, options, sizeof(options));
	if (!place_arena(t, k, x))
		return;
	if (x->arena[0])
		add_option(options, sizeof(options), "arena", x->arena);
	x->ran = !start(t, &x->scratch, options, k->load);
	forget_arena(x);
	if (!x->ran)
		snprintf(x->why_not, sizeof(x->why_not), "%.*s", (int)sizeof(x->why_not) - 1, reason(x->scratch.said));
}

/* Two daemons with the same settings differ, too (what `auto` found, where the files lie): less than they do is no difference. */
static struct pp_verdict judge(const struct pp_tune *t, const struct pp_tune_trial *base, const struct pp_tune_trial *twin, const struct pp_tune_trial *x)
{
	struct pp_verdict same = pp_judge(base->rate, twin->rate, (int)t->rounds, PP_TUNE_LEAST);
	double apart = isnan(same.ratio) ? 0 : fabs(same.ratio - 1);

	return pp_judge(base->rate, x->rate, (int)t->rounds, fmax(PP_TUNE_LEAST, 1.5 * apart));
}

/* The best of those that are better than the default beyond the noise, else the default. */
static void choose(const struct pp_tune *t, struct pp_tune_knob *k)
{
	k->chosen = 0;
	for (unsigned i = 0; i < k->values; i++) {
		struct pp_tune_trial *x = &k->trial[i];

		x->median = pp_median(x->rate, (int)t->rounds);
		if (!i || !x->ran)
			continue;
		x->verdict = judge(t, &k->trial[0], &k->twin, x);
		if (x->verdict.sign > 0 && (!k->chosen || x->verdict.ratio > k->trial[k->chosen].verdict.ratio))
			k->chosen = i;
	}
	k->done = true;
}

static int interrupted(const struct pp_tune *t)
{
	pp_cmd_note(t->c, "interrupted; nothing was written");
	return PP_EXIT_ERROR;
}

int pp_tune_try(struct pp_tune *t, struct pp_tune_knob *k)
{
	struct pp_tune_trial *all[PP_TUNE_VALUES + 1];

	k->twin.value = k->trial[0].value;
	for (unsigned i = 0; i < k->values; i++)
		all[i] = &k->trial[i];
	all[k->values] = &k->twin;
	for (unsigned i = 0; i <= k->values && !pp_bench_interrupted; i++)
		start_trial(t, k, all[i]);
	if (k->trial[0].ran)
		measure(t, all, k->values + 1, k->load, k->name);
	for (unsigned i = 0; i <= k->values; i++)
		pp_scratch_stop(&all[i]->scratch);
	if (pp_bench_interrupted)
		return interrupted(t);
	if (!k->trial[0].ran) {
		pp_cmd_note(t->c, "%s", k->trial[0].why_not);
		return PP_EXIT_ERROR;
	}
	choose(t, k);
	return 0;
}

/* ---- all of it ---- */

static bool all_defaults(const struct pp_tune *t)
{
	for (unsigned i = 0; i < t->knobs; i++)
		if (t->knob[i].chosen)
			return false;
	return true;
}

int pp_tune_prove(struct pp_tune *t, const char *path)
{
	static const enum pp_tune_load loads[] = {PP_TUNE_MIX, PP_TUNE_DURABLE};
	static struct pp_tune_trial trial[3]; /* the config, the defaults, the defaults again */
	struct pp_tune_trial *all[] = {&trial[0], &trial[1], &trial[2]};
	unsigned n = all_defaults(t) ? 1 : 3;
	char options[1024];
	int rc = 0;

	for (unsigned i = 0; i < n && !rc; i++) {
		/* Options count more than the file: its memory is the user's, ours is enough. */
		snprintf(options, sizeof(options), "--no-gather --wal-segment 16M%s%s", i ? "" : " -c ", i ? "" : path);
		if (!i && place_arena(t, NULL, &trial[i]) && trial[i].arena[0])
			add_option(options, sizeof(options), "arena", trial[i].arena);
		rc = start(t, &trial[i].scratch, options, PP_TUNE_MIX);
		forget_arena(&trial[i]);
		trial[i].ran = !rc;
		if (rc && !pp_bench_interrupted)
			pp_cmd_note(t->c, "%s: %s", i ? "with the defaults" : "with what was chosen", trial[i].scratch.said);
	}
	for (unsigned k = 0; k < 2 && !rc && n > 1; k++) {
		measure(t, all, n, loads[k], k ? "all together, durable" : "all together, the mix");
		t->all[loads[k]] = judge(t, &trial[1], &trial[2], &trial[0]);
	}
	for (unsigned i = 0; i < n; i++)
		pp_scratch_stop(&trial[i].scratch);
	return pp_bench_interrupted ? interrupted(t) : rc;
}
