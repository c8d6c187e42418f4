/*
 * cmd_tune_write.c - what `ppdb tune` found: a config that ppdbd takes, with the figures behind each value; or JSON.
 */
#include "tools/cmd_tune.h"
#include "tools/text_number.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>

#define COUNT(v) pp_text_count((char[PP_TEXT_NUMBER]){0}, v)
#define BYTES(v) pp_text_bytes((char[PP_TEXT_NUMBER]){0}, v)

static void first_value(const char *path, const char *label, char *out, size_t cap)
{
	char line[512];
	FILE *f = fopen(path, "re");

	snprintf(out, cap, "unknown");
	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, label, strlen(label))) {
			char *from = line + strlen(label);

			from += strspn(from, " \t:");
			from[strcspn(from, "\n")] = '\0';
			snprintf(out, cap, "%s", from);
			break;
		}
	if (f)
		fclose(f);
}

static void write_head(const struct pp_tune *t, FILE *out)
{
	const struct pp_tune_profile *p = &t->p;
	char cpu[100], memory[64], date[32];
	struct utsname u = {0};
	time_t now = time(NULL);

	first_value("/proc/cpuinfo", "model name", cpu, sizeof(cpu));
	first_value("/proc/meminfo", "MemTotal", memory, sizeof(memory));
	strftime(date, sizeof(date), "%Y-%m-%d %H:%M", localtime(&now));
	uname(&u);
	fprintf(out, "# Config of ppdbd, written by 'ppdb tune%s' in %.0f s on %s, on %s:\n", t->quick ? " --quick" : "", t->took, date, u.nodename);
	fprintf(out, "# %s, %u processor%s, %s of memory, Linux %s; log on %s.\n#\n", cpu, t->cores, t->cores == 1 ? "" : "s", memory, u.release,
		t->data_dir ? t->data_dir : "$TMPDIR or /tmp");
	if (p->store)
		fprintf(out, "# For the store '%s': %s keys, %zu bytes each, values of %zu bytes (averages of %" PRIu64 " records), %u %% get, %u %% write, %u %% scan,\n"
			"# %u clients.", t->c->store, COUNT((double)p->keys), p->key_bytes, p->value_bytes, p->sampled, p->reads, p->writes, p->scans, p->clients);
	else
		fprintf(out, "# For no store in particular (name one that runs: ppdb -n NAME tune): keys of %zu bytes, values of %zu bytes, %u %% get, %u %% write,\n"
			"# %u %% scan, %u clients.", p->key_bytes, p->value_bytes, p->reads, p->writes, p->scans, p->clients);
	fprintf(out, " Measured with %s keys", COUNT((double)t->keys));
	if (t->keys < p->keys)
		fprintf(out, ": fewer than there are, which sit better in the processor's caches");
	fprintf(out, ".\n# Each value is the median of %u runs of %.2g s, in turns with the other values. A difference below the noise, or below %.0f %%, keeps the default.\n",
		t->rounds, t->seconds, 100 * PP_TUNE_LEAST);
}

/* "lockfree (the default) 1.2 M/s; mutex -8.1 % (noise 3 %)" */
static void write_trials(const struct pp_tune *t, const struct pp_tune_knob *k, FILE *out)
{
	fprintf(out, "# %s (%s, %u processes): %s, the default, %s/s%s", k->about, pp_tune_load_abouts[k->load], pp_tune_workers(t, k->load), k->trial[0].value,
		COUNT(k->trial[0].median), pp_tune_by_cpu(k->load) ? " of processor time" : "");
	for (unsigned i = 1; i < k->values; i++) {
		const struct pp_tune_trial *x = &k->trial[i];

		if (!x->ran || isnan(x->verdict.ratio))
			fprintf(out, "; %s: not here (%s)", x->value, *x->why_not ? x->why_not : "it could not be measured");
		else
			fprintf(out, "; %s %+.1f %% (noise %.1f %%)", x->value, 100 * (x->verdict.ratio - 1), 100 * x->verdict.noise);
	}
	fputs(".\n", out);
}

static void write_knob(const struct pp_tune *t, const struct pp_tune_knob *k, FILE *out)
{
	char folder[200];

	fputc('\n', out);
	if (!k->done) {
		fprintf(out, "# %s: of no effect without %s\n# %s = %s\n", k->name, k->only_if, k->name, k->trial[0].value);
		return;
	}
	write_trials(t, k, out);
	if (k->chosen)
		fprintf(out, "# %s is better by %.1f %%.\n", k->trial[k->chosen].value, 100 * (k->trial[k->chosen].verdict.ratio - 1));
	else
		fprintf(out, "# No other value is better beyond the noise: the default.\n");
	fprintf(out, "%s = %s\n", k->name, k->trial[k->chosen].value);
	if (!strcmp(k->trial[k->chosen].value, "hugetlb") && !pp_region_hugetlb_mount(folder, sizeof(folder)))
		fprintf(out, "# Such pages come from there; as many must be reserved as memory says (sysctl vm.nr_hugepages).\narena = %s/ppdb-%s.arena\n", folder, t->c->store);
}

/* In whole mebibytes, upwards. */
static uint64_t mebibytes(uint64_t bytes)
{
	return (bytes + (1 << 20) - 1) >> 20;
}

static void write_memory(const struct pp_tune *t, FILE *out)
{
	const struct pp_tune_profile *p = &t->p;

	fputc('\n', out);
	if (t->memory)
		fprintf(out, "# As --memory said.\nmemory = %" PRIu64 "M\n", mebibytes(t->memory));
	else if (p->store && p->backed > p->memory / 10 * 7)
		fprintf(out, "# %s of %s are in use: more than 70 %%, which leaves little room for what is written anew. Twice what is in use:\nmemory = %" PRIu64 "M\n",
			BYTES((double)p->backed), BYTES((double)p->memory), mebibytes(2 * p->backed));
	else if (p->store)
		fprintf(out, "# As it is: %s of %s are in use.\nmemory = %" PRIu64 "M\n", BYTES((double)p->backed), BYTES((double)p->memory), mebibytes(p->memory));
	else
		fprintf(out, "# Not measured. A record takes about %zu bytes; twice the data leaves room for what is written anew.\n# memory = 1G\n",
			p->key_bytes + p->value_bytes + 130);
	if (p->store && p->slots_used > p->slots / 2)
		fprintf(out, "\n# %u of %u slots (threads and views) are taken: more than half.\nslots = %u\n", p->slots_used, p->slots, 2 * p->slots);
}

static void write_all(const struct pp_verdict *v, const char *what, FILE *out)
{
	if (v->sign)
		fprintf(out, "# All together against the defaults, %s: %+.1f %% (noise %.1f %%).\n", what, 100 * (v->ratio - 1), 100 * v->noise);
	else if (!isnan(v->ratio) && v->ratio > 0)
		fprintf(out, "# All together against the defaults, %s: no difference beyond the noise of %.1f %% (%+.1f %%).\n", what, 100 * v->noise, 100 * (v->ratio - 1));
}

void pp_tune_config(const struct pp_tune *t, FILE *out)
{
	write_head(t, out);
	write_all(&t->all[PP_TUNE_MIX], pp_tune_load_abouts[PP_TUNE_MIX], out);
	write_all(&t->all[PP_TUNE_DURABLE], pp_tune_load_abouts[PP_TUNE_DURABLE], out);
	if (t->all[PP_TUNE_MIX].sign < 0 || t->all[PP_TUNE_DURABLE].sign < 0)
		fputs("# WHAT WAS CHOSEN ONE BY ONE IS WORSE TOGETHER: measure again on a quiet machine before it is used.\n", out);
	fputs("\n[ppdbd]\n", out);
	write_memory(t, out);
	for (unsigned i = 0; i < t->knobs; i++)
		if (!t->knob[i].left_out)
			write_knob(t, &t->knob[i], out);
}

static void json_trial(struct pp_json *j, const struct pp_tune_trial *x, bool is_default)
{
	pp_json_open(j, NULL, '{');
	pp_json_text(j, "value", x->value);
	pp_json_bool(j, "default", is_default);
	if (x->ran && !isnan(x->median)) {
		pp_json_real(j, "per_s", x->median);
		if (!is_default && !isnan(x->verdict.ratio)) {
			pp_json_real(j, "ratio", x->verdict.ratio);
			pp_json_real(j, "noise", isinf(x->verdict.noise) ? 1 : x->verdict.noise);
		}
	} else {
		pp_json_text(j, "why_not", x->why_not);
	}
	pp_json_close(j, '}');
}

void pp_tune_json(const struct pp_tune *t, FILE *out)
{
	struct pp_json j = {.out = out, .indent = true};

	pp_json_open(&j, NULL, '{');
	pp_json_bool(&j, "store", t->p.store);
	pp_json_u64(&j, "keys", t->p.keys);
	pp_json_u64(&j, "measured_keys", t->keys);
	pp_json_u64(&j, "key_bytes", t->p.key_bytes);
	pp_json_u64(&j, "value_bytes", t->p.value_bytes);
	pp_json_u64(&j, "reads_percent", t->p.reads);
	pp_json_u64(&j, "writes_percent", t->p.writes);
	pp_json_u64(&j, "scans_percent", t->p.scans);
	pp_json_u64(&j, "clients", t->p.clients);
	pp_json_u64(&j, "rounds", t->rounds);
	pp_json_open(&j, "settings", '[');
	for (unsigned i = 0; i < t->knobs; i++) {
		const struct pp_tune_knob *k = &t->knob[i];

		if (!k->done)
			continue;
		pp_json_open(&j, NULL, '{');
		pp_json_text(&j, "name", k->name);
		pp_json_text(&j, "chosen", k->trial[k->chosen].value);
		pp_json_text(&j, "load", pp_tune_load_names[k->load]);
		pp_json_u64(&j, "processes", pp_tune_workers(t, k->load));
		pp_json_open(&j, "values", '[');
		for (unsigned v = 0; v < k->values; v++)
			json_trial(&j, &k->trial[v], v == 0);
		pp_json_close(&j, ']');
		pp_json_close(&j, '}');
	}
	pp_json_close(&j, ']');
	pp_json_close(&j, '}');
}
