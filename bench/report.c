/*
 * Prints what was measured: a line a workload while the run goes on, latencies and floors at the
 * end, and the same as JSON (for programs), TSV (for plot.sh) and Markdown (for
 * docs/benchmarks.md).
 *
 * Ratios are the median over rounds of ppdb's sample divided by the peer's sample of the same
 * round.
 */
#include "bench/bench.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static double cell_value(const struct cell *c)
{
	return pp_median(c->samples, c->rounds);
}

/* More than 1 always means that ppdb (contestant 0) is better. */
static double ratio(const struct row *row, int peer)
{
	const struct cell *own = &row->cell[0], *other = &row->cell[peer];
	double each[ROUNDS_MAX];
	int n = own->rounds < other->rounds ? own->rounds : other->rounds;

	for (int i = 0; i < n; i++)
		each[i] = row->less_is_better ? other->samples[i] / own->samples[i]
					      : own->samples[i] / other->samples[i];
	return pp_median(each, n);
}

static bool has_ppdb(const struct report *r)
{
	return r->contestants && !strcmp(r->contestant[0], "ppdb");
}

static const char *human(double v, char text[32])
{
	if (isnan(v))
		snprintf(text, 32, "-");
	else if (v >= 1e6)
		snprintf(text, 32, "%.2f M", v / 1e6);
	else if (v >= 1e4)
		snprintf(text, 32, "%.1f k", v / 1e3);
	else if (v >= 100)
		snprintf(text, 32, "%.0f", v);
	else
		snprintf(text, 32, "%.3g", v);
	return text;
}

static const char *human_time(double ns, char text[32])
{
	if (isnan(ns))
		snprintf(text, 32, "-");
	else if (ns >= 1e6)
		snprintf(text, 32, "%.2f ms", ns / 1e6);
	else if (ns >= 1e3)
		snprintf(text, 32, "%.2f us", ns / 1e3);
	else
		snprintf(text, 32, "%.0f ns", ns);
	return text;
}

/* ---- floors ---- */

enum verdict { NO_FLOOR, MET, SHORT, UNKNOWN };

static enum verdict judge(double value, double floor, bool less)
{
	if (isnan(value))
		return UNKNOWN;
	return (less ? value <= floor : value >= floor) ? MET : SHORT;
}

static enum verdict row_verdict(const struct report *r, const struct row *row)
{
	enum verdict worst = NO_FLOOR;

	if (!has_ppdb(r))
		return NO_FLOOR;
	if (row->floor_value > 0)
		worst = judge(cell_value(&row->cell[0]), row->floor_value, row->less_is_better);
	for (int i = 1; i < r->contestants; i++)
		if (row->floor_ratio[i] > 0) {
			enum verdict v = judge(ratio(row, i), row->floor_ratio[i], false);

			worst = v > worst ? v : worst;
		}
	return worst;
}

static void floor_text(const struct report *r, const struct row *row, char *text, size_t cap)
{
	size_t used = 0;
	char number[32];

	text[0] = 0;
	if (row->floor_value > 0)
		used += (size_t)snprintf(text, cap, "%s %s", row->less_is_better ? "<=" : ">=",
					 human(row->floor_value, number));
	for (int i = 1; i < r->contestants && used < cap; i++)
		if (row->floor_ratio[i] > 0)
			used += (size_t)snprintf(text + used, cap - used, "%s%g x %s",
						 used ? ", " : "", row->floor_ratio[i],
						 r->contestant[i]);
}

static const char *verdict_text(enum verdict v)
{
	static const char *const text[] = { "", "met", "SHORT", "not measured" };

	return text[v];
}

/* ---- text ---- */

/* What `ppdb stat` said of the loaded store; empty without ppdb. */
static void stat_text(const struct report *r, char text[160])
{
	static const char *const names[] = { "pages", "backend", "strategy", "sync" };
	static const char *const titles[] = { "pages", "log", "shards by", "sync" };
	size_t used = 0;
	char value[24];

	text[0] = 0;
	for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
		if (json_string(r->describe, names[i], value, sizeof value))
			used += (size_t)snprintf(text + used, 160 - used, "%s %s %s",
						 used ? "," : "ppdb:", titles[i], value);
}

static void name_of(const struct row *row, char text[48])
{
	snprintf(text, 48, row->workers > 1 ? "%s x%d" : "%s", row->workload, row->workers);
}

void report_head(const struct report *r)
{
	const struct machine *m = &r->machine;

	printf("%s, %d cores, %s, %s, %s, load %.2f\n", m->cpu, m->cores, m->memory, m->system,
	       m->kernel, m->load);
	printf("data on %s; pages %ld B, %ld huge reserved, shmem THP %s\n", m->disk, m->page_bytes,
	       m->huge_pages, m->shmem_pages);
	printf("%llu keys of %d B, values of %zu B, %d rounds of %.1f s\n\n%-20s%-11s",
	       (unsigned long long)r->keys, KEY_BYTES, r->value_bytes, r->rounds, r->seconds,
	       "workload", "unit");
	for (int i = 0; i < r->contestants; i++)
		printf("%14s", r->contestant[i]);
	for (int i = 1; has_ppdb(r) && i < r->contestants; i++)
		printf("   / %-14s", r->contestant[i]);
	printf("\n");
	fflush(stdout);
}

void report_row_line(const struct report *r, const struct row *row)
{
	char name[48], number[32], floors[128];
	enum verdict v = row_verdict(r, row);

	name_of(row, name);
	printf("%-20s%-11s", name, row->unit);
	for (int i = 0; i < r->contestants; i++)
		printf("%14s", human(cell_value(&row->cell[i]), number));
	for (int i = 1; has_ppdb(r) && i < r->contestants; i++)
		printf("   %-16s", human(ratio(row, i), number));
	floor_text(r, row, floors, sizeof floors);
	if (v != NO_FLOOR)
		printf("   %s (%s)", verdict_text(v), floors);
	printf("\n");
	fflush(stdout);
}

static bool has_latency(const struct report *r, const struct row *row)
{
	for (int i = 0; i < r->contestants; i++)
		if (row->cell[i].latency.total)
			return true;
	return false;
}

void report_text(const struct report *r)
{
	char name[48], p50[32], p99[32], pair[72], facts[160];

	stat_text(r, facts);
	printf("\n%s%s%-20s", facts, facts[0] ? "\n\n" : "", "latency p50 / p99");
	for (int i = 0; i < r->contestants; i++)
		printf("%24s", r->contestant[i]);
	printf("\n");
	for (int n = 0; n < r->row_count; n++) {
		const struct row *row = &r->rows[n];

		if (!has_latency(r, row) || !strcmp(row->unit, "entries/s"))
			continue;
		name_of(row, name);
		printf("%-20s", name);
		for (int i = 0; i < r->contestants; i++) {
			const struct pp_latency *h = &row->cell[i].latency;

			snprintf(pair, sizeof pair, "%s / %s",
				 human_time(pp_latency_quantile(h, 0.5), p50),
				 human_time(pp_latency_quantile(h, 0.99), p99));
			printf("%24s", h->total ? pair : "-");
		}
		printf("\n");
	}
	printf("\n%.0f s in all. Again: %s\n", r->took_s, r->command);
}

/* ---- JSON ---- */

static void put_string(FILE *f, const char *s)
{
	fputc('"', f);
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			fputc('\\', f);
		if ((unsigned char)*s < 0x20)
			fprintf(f, "\\u%04x", *s);
		else
			fputc(*s, f);
	}
	fputc('"', f);
}

static void put_field(FILE *f, const char *name, const char *value, const char *after)
{
	put_string(f, name);
	fputs(": ", f);
	put_string(f, value);
	fputs(after, f);
}

static void put_number(FILE *f, const char *name, double value, const char *after)
{
	put_string(f, name);
	if (isnan(value))
		fprintf(f, ": null%s", after);
	else
		fprintf(f, ": %.10g%s", value, after);
}

static void json_head(const struct report *r, FILE *f)
{
	const struct machine *m = &r->machine;

	fputs("{\n\"machine\": {", f);
	put_field(f, "cpu", m->cpu, ", ");
	put_number(f, "cores", m->cores, ", ");
	put_field(f, "memory", m->memory, ", ");
	put_field(f, "system", m->system, ", ");
	put_field(f, "kernel", m->kernel, ", ");
	put_field(f, "disk", m->disk, ", ");
	put_number(f, "page_bytes", (double)m->page_bytes, ", ");
	put_number(f, "huge_pages", (double)m->huge_pages, ", ");
	put_field(f, "shmem_enabled", m->shmem_pages, ", ");
	put_number(f, "load", m->load, "},\n");
	put_field(f, "started", r->started, ",\n");
	put_field(f, "revision", r->revision, ",\n");
	put_field(f, "command", r->command, ",\n");
	put_number(f, "keys", (double)r->keys, ", ");
	put_number(f, "key_bytes", KEY_BYTES, ", ");
	put_number(f, "value_bytes", (double)r->value_bytes, ", ");
	put_number(f, "rounds", r->rounds, ", ");
	put_number(f, "seconds", r->seconds, ", ");
	put_number(f, "took_s", r->took_s, ",\n");
	fprintf(f, "\"rocksdb_sst\": %s,\n\"ppdb_stat\": %s,\n", r->sst ? "true" : "false",
		r->describe[0] == '{' ? r->describe : "null");
	fputs("\"versions\": {", f);
	for (int i = 0; i < r->contestants; i++)
		put_field(f, r->contestant[i], r->version[i],
			  i + 1 < r->contestants ? ", " : "},\n");
}

static void json_cell(const struct report *r, const struct row *row, int i, FILE *f)
{
	const struct cell *c = &row->cell[i];

	fputs("    {", f);
	put_field(f, "store", r->contestant[i], ", ");
	put_number(f, "median", cell_value(c), ", ");
	put_number(f, "p50_ns", pp_latency_quantile(&c->latency, 0.5), ", ");
	put_number(f, "p99_ns", pp_latency_quantile(&c->latency, 0.99), ", ");
	if (i && has_ppdb(r))
		put_number(f, "ppdb_ratio", ratio(row, i), ", ");
	if (row->floor_ratio[i] > 0)
		put_number(f, "ppdb_ratio_floor", row->floor_ratio[i], ", ");
	put_field(f, "note", c->note, ", \"samples\": [");
	for (int n = 0; n < c->rounds; n++)
		fprintf(f, isnan(c->samples[n]) ? "%snull" : "%s%.6g", n ? ", " : "",
			c->samples[n]);
	fputs("]}", f);
}

static void json_row(const struct report *r, const struct row *row, FILE *f)
{
	bool first = true;

	fputs("  {", f);
	put_field(f, "workload", row->workload, ", ");
	put_number(f, "workers", row->workers, ", ");
	put_field(f, "unit", row->unit, ", ");
	if (row->floor_value > 0)
		put_number(f, "floor", row->floor_value, ", ");
	put_field(f, "verdict", verdict_text(row_verdict(r, row)), ", \"results\": [\n");
	for (int i = 0; i < r->contestants; i++)
		if (row->cell[i].rounds) {
			fputs(first ? "" : ",\n", f);
			json_cell(r, row, i, f);
			first = false;
		}
	fputs("]}", f);
}

static int close_out(FILE *f, const char *path)
{
	if (fclose(f))
		return bench_fail("%s: %m", path);
	return 0;
}

int report_json(const struct report *r, const char *path)
{
	FILE *f = fopen(path, "w");

	if (!f)
		return bench_fail("%s: %m", path);
	json_head(r, f);
	fputs("\"rows\": [\n", f);
	for (int n = 0; n < r->row_count; n++) {
		json_row(r, &r->rows[n], f);
		fputs(n + 1 < r->row_count ? ",\n" : "\n", f);
	}
	fputs("]\n}\n", f);
	return close_out(f, path);
}

/* ---- TSV: workload, workers, unit, store, median, p50, p99; "-" where there is nothing ---- */

static void tsv_number(FILE *f, double v, char after)
{
	if (isnan(v))
		fprintf(f, "-%c", after);
	else
		fprintf(f, "%.6g%c", v, after);
}

int report_tsv(const struct report *r, const char *path)
{
	FILE *f = fopen(path, "w");

	if (!f)
		return bench_fail("%s: %m", path);
	for (int n = 0; n < r->row_count; n++)
		for (int i = 0; i < r->contestants; i++) {
			const struct row *row = &r->rows[n];
			const struct cell *c = &row->cell[i];

			fprintf(f, "%s\t%d\t%s\t%s\t", row->workload, row->workers, row->unit,
				r->contestant[i]);
			tsv_number(f, cell_value(c), '\t');
			tsv_number(f, pp_latency_quantile(&c->latency, 0.5), '\t');
			tsv_number(f, pp_latency_quantile(&c->latency, 0.99), '\n');
		}
	return close_out(f, path);
}

/* ---- Markdown ---- */

static void markdown_head(const struct report *r, FILE *f)
{
	const struct machine *m = &r->machine;
	char facts[160];

	stat_text(r, facts);
	fprintf(f, "%s, revision %s. %s, %d cores, %s, %s, %s; data on %s; page size %ld, %ld huge "
		   "pages reserved, shmem THP `%s`. %llu keys, %d rounds, %.0f s in all.",
		r->started, r->revision, m->cpu, m->cores, m->memory, m->system, m->kernel, m->disk,
		m->page_bytes, m->huge_pages, m->shmem_pages, (unsigned long long)r->keys,
		r->rounds, r->took_s);
	for (int i = 0; i < r->contestants; i++)
		fprintf(f, " %s %s%s", r->contestant[i], r->version[i],
			i + 1 < r->contestants ? "," : ".");
	fprintf(f, " %s%sRepeat with `%s`.\n\n| workload | unit |", facts, facts[0] ? ". " : "",
		r->command);
	for (int i = 0; i < r->contestants; i++)
		fprintf(f, " %s |", r->contestant[i]);
	for (int i = 1; has_ppdb(r) && i < r->contestants; i++)
		fprintf(f, " ppdb / %s |", r->contestant[i]);
	fprintf(f, " floor | |\n|---|---|");
	for (int i = 0; i < 2 * r->contestants - (has_ppdb(r) ? 1 : r->contestants); i++)
		fputs("---|", f);
	fputs("---|---|\n", f);
}

static void markdown_row(const struct report *r, const struct row *row, FILE *f)
{
	char name[48], number[32], floors[128];

	name_of(row, name);
	fprintf(f, "| %s | %s |", name, row->unit);
	for (int i = 0; i < r->contestants; i++)
		fprintf(f, " %s |", human(cell_value(&row->cell[i]), number));
	for (int i = 1; has_ppdb(r) && i < r->contestants; i++)
		fprintf(f, " %s |", human(ratio(row, i), number));
	floor_text(r, row, floors, sizeof floors);
	fprintf(f, " %s | %s |\n", floors, verdict_text(row_verdict(r, row)));
}

static void markdown_latency(const struct report *r, FILE *f)
{
	char name[48], p50[32], p99[32];

	fputs("\n| p50 / p99 |", f);
	for (int i = 0; i < r->contestants; i++)
		fprintf(f, " %s |", r->contestant[i]);
	fputs("\n|---|", f);
	for (int i = 0; i < r->contestants; i++)
		fputs("---|", f);
	fputs("\n", f);
	for (int n = 0; n < r->row_count; n++) {
		const struct row *row = &r->rows[n];

		if (!has_latency(r, row) || !strcmp(row->unit, "entries/s"))
			continue;
		name_of(row, name);
		fprintf(f, "| %s |", name);
		for (int i = 0; i < r->contestants; i++) {
			const struct pp_latency *h = &row->cell[i].latency;

			if (h->total)
				fprintf(f, " %s / %s |", human_time(pp_latency_quantile(h, 0.5), p50),
					human_time(pp_latency_quantile(h, 0.99), p99));
			else
				fputs(" - |", f);
		}
		fputs("\n", f);
	}
}

int report_markdown(const struct report *r, const char *path)
{
	FILE *f = fopen(path, "w");

	if (!f)
		return bench_fail("%s: %m", path);
	markdown_head(r, f);
	for (int n = 0; n < r->row_count; n++)
		markdown_row(r, &r->rows[n], f);
	markdown_latency(r, f);
	return close_out(f, path);
}
