/*
 * cmd_perf_html.c - the report of `ppdb perf` as one file: plots are inline SVG, there is no script, nothing is fetched (the page forbids it to
 * itself), light or dark as the reader's system is.
 *
 * In the order of the questions: what is to be done, how much happens and how quickly, where durable writes spend their time, who and where.
 */
#include "tools/cmd_perf.h"
#include "tools/cmd_perf_plot.h"
#include "tools/text_number.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char style[] =
	":root{--bg:#fff;--fg:#1c2128;--soft:#5b6570;--line:#e1e5ea;--card:#f5f7f9;--warn:#fff6e0;--warnline:#e0b64a;"
	"--c0:#2563c9;--c1:#d9650b;--c2:#2c8a4b;--c3:#b3368f;--c4:#7a5cc7;--c5:#0e8a94;--c6:#a4242f;--c7:#7d6b1f}\n"
	"@media(prefers-color-scheme:dark){:root{--bg:#14171b;--fg:#e3e7eb;--soft:#98a2ad;--line:#2c333b;--card:#1d2227;--warn:#2d2713;--warnline:#9a7b2a;"
	"--c0:#6aa3ff;--c1:#ff9f52;--c2:#62cc86;--c3:#ef83cf;--c4:#b39cff;--c5:#4fd0da;--c6:#ff7f88;--c7:#d6bf5c}}\n"
	"*{box-sizing:border-box}body{margin:0 auto;padding:24px;max-width:1560px;background:var(--bg);color:var(--fg);font:15px/1.5 system-ui,sans-serif}\n"
	"h1{font-size:24px;margin:0}h2{font-size:18px;margin:32px 0 8px}h3{font-size:14px;margin:0 0 4px;font-weight:600}p.sub,figcaption,.legend{color:var(--soft);margin:2px 0;font-size:13px}\n"
	".advice{background:var(--warn);border-left:4px solid var(--warnline);padding:10px 14px;margin:8px 0;border-radius:4px}.well{background:var(--card);border-color:var(--c2)}\n"
	".cards{display:flex;flex-wrap:wrap;gap:12px;margin:16px 0}.card{background:var(--card);border-radius:8px;padding:10px 16px;min-width:130px}.card b{display:block;font-size:20px}\n"
	".card span{color:var(--soft);font-size:13px}.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(460px,100%),1fr));gap:16px}\n"
	"figure{margin:0;background:var(--card);border-radius:8px;padding:12px 14px}svg{width:100%;height:auto;display:block}svg text{fill:var(--soft);font-size:11px}\n"
	".grid{stroke:var(--line);stroke-width:1}.line{fill:none;stroke-width:1.8;stroke-linejoin:round}.spot{opacity:0}.key{display:inline-block;width:12px;height:12px;border-radius:3px;margin:0 5px -1px 12px}\n"
	".scroll{overflow-x:auto;margin:8px 0 16px}table{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums}th,td{text-align:right;padding:4px 10px;border-bottom:1px solid var(--line);white-space:nowrap}\n"
	"th{color:var(--soft);font-weight:600}td:first-child,th:first-child,td.l,th.l{text-align:left}.bar{display:inline-block;height:9px;border-radius:2px;background:var(--c0)}\n"
	".line.s0{stroke:var(--c0)}.line.s1{stroke:var(--c1)}.line.s2{stroke:var(--c2)}.line.s3{stroke:var(--c3)}.line.s4{stroke:var(--c4)}.line.s5{stroke:var(--c5)}.line.s6{stroke:var(--c6)}.line.s7{stroke:var(--c7)}\n"
	".dot.s0,.fill.s0{fill:var(--c0);background:var(--c0)}.dot.s1,.fill.s1{fill:var(--c1);background:var(--c1)}.dot.s2,.fill.s2{fill:var(--c2);background:var(--c2)}.dot.s3,.fill.s3{fill:var(--c3);background:var(--c3)}"
	".dot.s4,.fill.s4{fill:var(--c4);background:var(--c4)}.dot.s5,.fill.s5{fill:var(--c5);background:var(--c5)}.dot.s6,.fill.s6{fill:var(--c6);background:var(--c6)}.dot.s7,.fill.s7{fill:var(--c7);background:var(--c7)}\n";

struct page {
	FILE *out;
	const struct pp_perf_series *s;
	double *x, *y;                 /* one a point, for the plot at work */
};

static char *ns_text(char *out, double ns)
{
	return pp_text_seconds(out, ns / 1e9);
}

/* ---- plots over time -------------------------------------------------------------------------------------------- */

/* What a line shows of an interval. */
typedef double value_of(const struct pp_perf *, unsigned which);

static double rate_of(const struct pp_perf *p, unsigned op)
{
	return pp_perf_rate(p, p->ops[op]);
}

static double op_p50(const struct pp_perf *p, unsigned op)
{
	return (double)pp_hist_percentile_ns(&p->op[op], 0.5);
}

static double op_p99(const struct pp_perf *p, unsigned op)
{
	return (double)pp_hist_percentile_ns(&p->op[op], 0.99);
}

static double op_max(const struct pp_perf *p, unsigned op)
{
	return (double)pp_hist_max_ns(&p->op[op]);
}

static double commit_rate(const struct pp_perf *p, unsigned unused)
{
	(void)unused;
	return pp_perf_rate(p, p->commit_records.total);
}

static double commit_size(const struct pp_perf *p, unsigned unused)
{
	(void)unused;
	return pp_perf_mean(&p->commit_records);
}

static double phase_p50(const struct pp_perf *p, unsigned phase)
{
	return (double)pp_hist_percentile_ns(&p->phase[phase], 0.5);
}

struct row {
	const char *name;
	value_of *value;
	unsigned which, colour;
};

static void take_times(struct page *g)
{
	double at = 0;

	for (unsigned i = 0; i < g->s->count; i++) {
		at += g->s->point[i].seconds;
		g->x[i] = at; /* where the interval ends */
	}
}

static void over_time(struct page *g, const char *title, bool log_y, char *(*number)(char *, double), const struct row *rows, unsigned n)
{
	unsigned points = g->s->count;
	struct pp_plot p = {.out = g->out, .label = title, .x0 = 0, .x1 = g->s->all.seconds, .y0 = 1, .y1 = 0, .log_y = log_y, .number = number};

	take_times(g);
	for (unsigned r = 0; r < n; r++)
		for (unsigned i = 0; i < points; i++)
			pp_plot_take(&p, rows[r].value(&g->s->point[i], rows[r].which));
	fprintf(g->out, "<figure><h3>%s</h3>", title);
	pp_plot_begin(&p);
	for (unsigned r = 0; r < n; r++) {
		for (unsigned i = 0; i < points; i++)
			g->y[i] = rows[r].value(&g->s->point[i], rows[r].which);
		pp_plot_line(&p, g->x, g->y, points, rows[r].colour, rows[r].name);
	}
	pp_plot_end(&p);
	fputs("<p class=\"legend\">", g->out);
	for (unsigned r = 0; r < n && n > 1; r++)
		fprintf(g->out, "<span class=\"key fill s%u\"></span>%s", rows[r].colour, rows[r].name);
	fputs("</p></figure>\n", g->out);
}

/* All percentiles of a whole recording: how much of the operations is quicker than that. */
static void distributions(struct page *g, const char *title, const struct pp_hist *h, const char *const *names, unsigned n)
{
	static const struct pp_plot_tick ticks[] = {{0, "0 %"}, {0.30103, "50 %"}, {1, "90 %"}, {2, "99 %"}, {3, "99.9 %"}, {4, "99.99 %"}, {0, NULL}};
	struct pp_plot p = {.out = g->out, .label = title, .x0 = 0, .x1 = 4.3, .y0 = 1, .y1 = 0, .log_y = true, .ticks = ticks, .number = ns_text};
	enum { STEPS = 44 };
	double x[STEPS], y[STEPS];

	for (unsigned k = 0; k < n; k++)
		if (h[k].total) {
			pp_plot_take(&p, (double)pp_hist_percentile_ns(&h[k], 0));
			pp_plot_take(&p, (double)pp_hist_percentile_ns(&h[k], 1 - pow(10, -4.3)));
		}
	fprintf(g->out, "<figure><h3>%s</h3>", title);
	pp_plot_begin(&p);
	for (unsigned k = 0; k < n; k++) {
		unsigned count = 0;

		for (; count < STEPS && h[k].total; count++) {
			x[count] = 0.1 * count;
			/* beyond what was timed there is nothing to say */
			if (count && pow(10, -x[count]) * (double)h[k].total < 1)
				break;
			y[count] = (double)pp_hist_percentile_ns(&h[k], 1 - pow(10, -x[count]));
		}
		if (count)
			pp_plot_line(&p, x, y, count, k, names[k]);
	}
	pp_plot_end(&p);
	fputs("<p class=\"legend\">", g->out);
	for (unsigned k = 0; k < n; k++)
		if (h[k].total)
			fprintf(g->out, "<span class=\"key fill s%u\"></span>%s", k, names[k]);
	fputs("</p></figure>\n", g->out);
}

/* ---- sections --------------------------------------------------------------------------------------------------- */

static void head(struct page *g)
{
	const struct pp_perf *p = &g->s->all;
	time_t at = (time_t)(p->at_ms / 1000);
	char when[64] = "", a[PP_TEXT_NUMBER];
	struct tm tm;

	if (localtime_r(&at, &tm))
		strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
	fputs("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
	      "<meta name=\"color-scheme\" content=\"light dark\"><meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
	      "<title>ppdb perf: ", g->out);
	pp_html_text(g->out, p->name);
	fprintf(g->out, "</title><style>\n%s</style></head><body>\n<h1>ppdb perf: ", style);
	pp_html_text(g->out, p->name);
	fprintf(g->out, "</h1><p class=\"sub\">%s until %s, %u point%s; daemon %u %s, %u shard%s, sync %s</p>\n", pp_text_seconds(a, p->seconds), when, g->s->count,
		g->s->count == 1 ? "" : "s", p->pid, p->state, p->shards, p->shards == 1 ? "" : "s", p->sync_mode ? "mutex" : "lockfree");
}

static void advice(struct page *g)
{
	struct pp_advice list[PP_ADVICE_MAX];
	unsigned n = pp_perf_advise(&g->s->all, &g->s->pages, list);

	for (unsigned i = 0; i < n; i++) {
		fprintf(g->out, "<div class=\"advice\" id=\"advice-%s\">", list[i].rule);
		pp_html_text(g->out, list[i].text);
		fputs("</div>\n", g->out);
	}
	if (!n)
		fputs("<div class=\"advice well\">Nothing stands out.</div>\n", g->out);
}

static void card(struct page *g, const char *value, const char *what)
{
	fprintf(g->out, "<div class=\"card\"><b>%s</b><span>%s</span></div>", value, what);
}

static void cards(struct page *g)
{
	const struct pp_perf *p = &g->s->all;
	uint64_t looks = p->count.hint_hits + p->count.hint_misses;
	char a[PP_TEXT_NUMBER + 8];

	fputs("<div class=\"cards\">", g->out);
	card(g, pp_text_count(a, rate_of(p, PP_OP_GET)), "gets a second");
	card(g, pp_text_count(a, pp_perf_rate(p, pp_perf_writes(p))), "writes a second");
	card(g, pp_text_count(a, commit_rate(p, 0)), "group commits a second");
	snprintf(a, sizeof(a), "%.1f", commit_size(p, 0));
	card(g, a, "records a commit");
	if (looks) {
		snprintf(a, sizeof(a), "%.2f %%", 100.0 * (double)p->count.hint_hits / (double)looks);
		card(g, a, "keys found by hash");
	}
	snprintf(a, sizeof(a), "%.2f", p->ops[PP_OP_GET] ? (double)p->count.read_blocks / (double)p->ops[PP_OP_GET] : 0.0);
	card(g, a, "blocks looked at a get");
	snprintf(a, sizeof(a), "%u", p->clients_attached);
	card(g, a, "clients");
	card(g, pp_text_bytes(a, (double)p->memory_bytes), "of memory");
	fputs("</div>\n", g->out);
}

static void latency_cells(struct page *g, const struct pp_hist *h)
{
	static const double part[] = {0.5, 0.9, 0.99, 0.999, 0.9999};
	char a[PP_TEXT_NUMBER];

	for (unsigned i = 0; i < sizeof(part) / sizeof(*part); i++)
		fprintf(g->out, "<td>%s</td>", h->total ? ns_text(a, (double)pp_hist_percentile_ns(h, part[i])) : "-");
	fprintf(g->out, "<td>%s</td>", h->total ? ns_text(a, (double)pp_hist_max_ns(h)) : "-");
}

static void operations(struct page *g)
{
	const struct pp_perf *p = &g->s->all;
	char a[PP_TEXT_NUMBER], b[PP_TEXT_NUMBER];
	char title[48];

	fputs("<h2>Operations</h2><div class=\"scroll\"><table id=\"operations\"><tr><th>operation<th>a second<th>timed<th>p50<th>p90<th>p99<th>p99.9<th>p99.99<th>max</tr>\n", g->out);
	for (unsigned op = 0; op < PP_OPS; op++) {
		if (!p->ops[op])
			continue;
		fprintf(g->out, "<tr><td>%s</td><td>%s</td><td>%s</td>", pp_perf_op_names[op], pp_text_count(a, rate_of(p, op)), pp_text_count(b, (double)p->op[op].total));
		latency_cells(g, &p->op[op]);
		fputs("</tr>\n", g->out);
	}
	fputs("</table></div><div class=\"plots\">", g->out);
	for (unsigned op = 0; op < PP_OPS; op++) {
		const struct row rate = {pp_perf_op_names[op], rate_of, op, op};
		const struct row latency[] = {{"p50", op_p50, op, 0}, {"p99", op_p99, op, 1}, {"max", op_max, op, 6}};

		if (!p->ops[op])
			continue;
		snprintf(title, sizeof(title), "%s: a second", pp_perf_op_names[op]);
		over_time(g, title, false, pp_text_count, &rate, 1);
		if (!p->op[op].total)
			continue;
		snprintf(title, sizeof(title), "%s: latency", pp_perf_op_names[op]);
		over_time(g, title, true, ns_text, latency, 3);
	}
	distributions(g, "Latency: so much is quicker than that", p->op, pp_perf_op_names, PP_OPS);
	fputs("</div>\n", g->out);
}

/* One bar, its parts as long as the averages of the phases. */
static void phase_bar(struct page *g)
{
	const struct pp_perf *p = &g->s->all;
	double sum = 0, at = 0;
	char a[PP_TEXT_NUMBER];

	for (unsigned i = 0; i < PP_PERF_PHASES; i++)
		sum += pp_perf_mean(&p->phase[i]);
	fprintf(g->out, "<figure><h3>A durable write: where the time goes, on average %s</h3><svg id=\"phases\" class=\"plot\" viewBox=\"0 0 720 60\" role=\"img\" aria-label=\"phases of a durable write\">",
		ns_text(a, sum));
	for (unsigned i = 0; i < PP_PERF_PHASES && sum > 0; i++) {
		double part = pp_perf_mean(&p->phase[i]) / sum * 720;

		fprintf(g->out, "<rect class=\"fill s%u\" x=\"%.1f\" y=\"6\" width=\"%.1f\" height=\"46\"><title>%s: %s on average</title></rect>", i, at, part,
			pp_perf_phase_names[i], ns_text(a, pp_perf_mean(&p->phase[i])));
		at += part;
	}
	fputs("</svg><p class=\"legend\">", g->out);
	for (unsigned i = 0; i < PP_PERF_PHASES; i++)
		fprintf(g->out, "<span class=\"key fill s%u\"></span>%s %s", i, pp_perf_phase_names[i], ns_text(a, pp_perf_mean(&p->phase[i])));
	fputs("</p></figure>\n", g->out);
}

static void writes(struct page *g)
{
	static const char *const meaning[PP_PERF_PHASES] = {"the version is put on top of its key", "entry in the log ring, then visible",
		"until the daemon begins a group commit", "the records are collected", "on the device", "from durable to running again"};
	const struct pp_perf *p = &g->s->all;
	const struct row commits = {"commits", commit_rate, 0, 0}, size = {"records", commit_size, 0, 2};
	struct row phases[PP_PERF_PHASES];
	char a[PP_TEXT_NUMBER];

	if (!p->commit_records.total)
		return;
	fputs("<h2>Durable writes</h2>\n", g->out);
	phase_bar(g);
	fputs("<div class=\"scroll\"><table><tr><th>phase<th class=\"l\">what happens<th>timed<th>p50<th>p90<th>p99<th>p99.9<th>p99.99<th>max</tr>\n", g->out);
	for (unsigned i = 0; i < PP_PERF_PHASES; i++) {
		phases[i] = (struct row){pp_perf_phase_names[i], phase_p50, i, i};
		fprintf(g->out, "<tr><td>%s</td><td class=\"l\">%s</td><td>%s</td>", pp_perf_phase_names[i], meaning[i], pp_text_count(a, (double)p->phase[i].total));
		latency_cells(g, &p->phase[i]);
		fputs("</tr>\n", g->out);
	}
	fputs("</table></div><div class=\"plots\">", g->out);
	distributions(g, "Phases: so much is quicker than that", p->phase, pp_perf_phase_names, PP_PERF_PHASES);
	over_time(g, "Phases: p50", true, ns_text, phases, PP_PERF_PHASES);
	over_time(g, "Group commits a second", false, pp_text_count, &commits, 1);
	over_time(g, "Records a group commit", false, pp_text_count, &size, 1);
	fputs("</div>\n", g->out);
}

static void contention(struct page *g)
{
	const struct pp_totals *t = &g->s->all.count;
	char a[PP_TEXT_NUMBER], b[PP_TEXT_NUMBER];

	fprintf(g->out, "<h2>Contention</h2><div class=\"scroll\"><table><tr><th>CAS retries<th>helps<th>aborts<th>lock waits<th>for<th>no room in ring or log<th>for</tr>"
		"<tr><td>%" PRIu64 "</td><td>%" PRIu64 "</td><td>%" PRIu64 "</td><td>%" PRIu64 "</td><td>%s</td><td>%" PRIu64 "</td><td>%s</td></tr></table></div>\n",
		t->cas_retries, t->helps, t->aborts, t->lock_waits, ns_text(a, (double)t->lock_wait_ns), t->overloads, ns_text(b, (double)t->overload_ns));
}

static void spread_cells(struct page *g, const struct pp_perf_spread *s)
{
	char a[PP_TEXT_NUMBER], b[PP_TEXT_NUMBER];

	if (s->timed)
		fprintf(g->out, "<td>%s</td><td>%s</td>", ns_text(a, (double)s->p50_ns), ns_text(b, (double)s->p99_ns));
	else
		fputs("<td>-</td><td>-</td>", g->out);
}

static void shards(struct page *g)
{
	const struct pp_perf *p = &g->s->all;
	const struct pp_perf_pages *m = &g->s->pages;
	uint64_t timed = 0;
	char a[PP_TEXT_NUMBER], b[PP_TEXT_NUMBER];

	for (unsigned i = 0; i < p->shards; i++)
		timed += p->shard[i].timed;
	fputs("<h2>Shards</h2><div class=\"scroll\"><table id=\"shards\"><tr><th>shard<th>node<th>a second<th class=\"l\">share<th>keys<th>bytes<th>get p50<th>p99<th>write p50<th>p99<th>contention", g->out);
	for (unsigned n = 0; n < m->nodes && m->nodes > 1; n++)
		fprintf(g->out, "<th>pages on node %u", n);
	fputs("</tr>\n", g->out);
	for (unsigned i = 0; i < p->shards; i++) {
		const struct pp_perf_shard *s = &p->shard[i];
		double share = timed ? 100.0 * (double)s->timed / (double)timed : 0;

		fprintf(g->out, "<tr><td>%u</td><td>%u</td><td>%s</td><td class=\"l\"><span class=\"bar\" style=\"width:%.0fpx\"></span> %.1f %%</td><td>%" PRIu64 "</td><td>%s</td>",
			i, s->node, pp_text_count(a, s->per_second), 1.5 * share, share, s->keys, pp_text_bytes(b, (double)s->bytes));
		spread_cells(g, &s->read);
		spread_cells(g, &s->write);
		fprintf(g->out, "<td>%" PRIu64 "</td>", s->contention);
		for (unsigned n = 0; n < m->nodes && m->nodes > 1; n++)
			fprintf(g->out, "<td>%u</td>", m->on[i][n]);
		fputs("</tr>\n", g->out);
	}
	fputs("</table></div>\n", g->out);
}

static void clients(struct page *g)
{
	const struct pp_perf *p = &g->s->all;
	char a[PP_TEXT_NUMBER], b[PP_TEXT_NUMBER], c[PP_TEXT_NUMBER];

	if (!p->clients)
		return;
	fputs("<h2>Clients</h2><div class=\"scroll\"><table id=\"clients\"><tr><th>pid<th class=\"l\">command<th class=\"l\">name<th class=\"l\"><th>threads<th>gets a second<th>writes<th>scan moves"
	      "<th>get p50<th>p99<th>write p50<th>p99<th>wait p50<th>p99</tr>\n", g->out);
	for (unsigned i = 0; i < p->clients; i++) {
		const struct pp_perf_client *k = &p->client[i];

		fprintf(g->out, "<tr><td>%u</td><td class=\"l\">", k->pid);
		pp_html_text(g->out, k->command);
		fputs("</td><td class=\"l\">", g->out);
		pp_html_text(g->out, k->name);
		fprintf(g->out, "</td><td class=\"l\">%s</td><td>%u</td><td>%s</td><td>%s</td><td>%s</td>", k->readonly ? "read-only" : "", k->threads,
			pp_text_count(a, pp_perf_rate(p, k->ops[PP_OP_GET])),
			pp_text_count(b, pp_perf_rate(p, k->total - k->ops[PP_OP_GET] - k->ops[PP_OP_SCAN] - k->ops[PP_OP_WAIT])),
			pp_text_count(c, pp_perf_rate(p, k->ops[PP_OP_SCAN])));
		spread_cells(g, &k->read);
		spread_cells(g, &k->write);
		spread_cells(g, &k->wait);
		fputs("</tr>\n", g->out);
	}
	fputs("</table></div>\n", g->out);
}

static void memory(struct page *g)
{
	const struct pp_perf *p = &g->s->all;
	const struct pp_perf_pages *m = &g->s->pages;
	uint64_t known, away = pp_perf_pages_away(m, &known);
	char a[PP_TEXT_NUMBER];

	fprintf(g->out, "<h2>Memory</h2><p>%s, %s pages asked for", pp_text_bytes(a, (double)p->memory_bytes), p->pages);
	if (m->mapped_bytes)
		fprintf(g->out, "; of what the report had mapped %.0f %% were huge pages", 100.0 * (double)m->huge_bytes / (double)m->mapped_bytes);
	if (m->nodes > 1 && known)
		fprintf(g->out, "; %.1f %% of the pages lie on another node than their shard's", 100.0 * (double)away / (double)known);
	fputs(".</p>\n", g->out);
}

void pp_perf_html(FILE *out, const struct pp_perf_series *s)
{
	struct page g = {.out = out, .s = s, .x = calloc(s->count + 1, sizeof(double)), .y = calloc(s->count + 1, sizeof(double))};

	if (g.x && g.y) {
		head(&g);
		advice(&g);
		cards(&g);
		operations(&g);
		writes(&g);
		contention(&g);
		shards(&g);
		clients(&g);
		memory(&g);
		fputs("</body></html>\n", out);
	}
	free(g.x);
	free(g.y);
}
