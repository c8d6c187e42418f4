/*
 * cmd_perf_plot.c - line plots as inline SVG (see cmd_perf_plot.h): axes with few round ticks, a grid, lines with a dot a point where there are few.
 */
#include "tools/cmd_perf_plot.h"
#include "tools/text_number.h"

#include <math.h>
#include <string.h>

#define WIDTH 720.0
#define HEIGHT 230.0
#define LEFT 66.0
#define RIGHT 14.0
#define TOP 10.0
#define BOTTOM 26.0
#define DOTS_MAX 60
#define SPOTS_MAX 200                  /* points that tell their value where the pointer rests; a page of more would be large */

void pp_html_text(FILE *out, const char *text)
{
	for (; *text; text++)
		switch (*text) {
		case '<': fputs("&lt;", out); break;
		case '>': fputs("&gt;", out); break;
		case '&': fputs("&amp;", out); break;
		case '"': fputs("&quot;", out); break;
		default: fputc(*text, out);
		}
}

void pp_plot_take(struct pp_plot *p, double y)
{
	if (p->log_y && y <= 0)
		return;
	if (p->y0 > p->y1)
		p->y0 = p->y1 = y;
	p->y0 = y < p->y0 ? y : p->y0;
	p->y1 = y > p->y1 ? y : p->y1;
}

static double place_x(const struct pp_plot *p, double x)
{
	return LEFT + (WIDTH - LEFT - RIGHT) * (p->x1 > p->x0 ? (x - p->x0) / (p->x1 - p->x0) : 0.5);
}

static double place_y(const struct pp_plot *p, double y)
{
	double part = p->log_y ? log(y / p->y0) / log(p->y1 / p->y0) : (y - p->y0) / (p->y1 - p->y0);

	return TOP + (HEIGHT - TOP - BOTTOM) * (1 - part);
}

/* 1, 2 or 5 times a power of ten, so that about `wanted` steps fit. */
static double round_step(double span, double wanted)
{
	double raw = span / wanted, unit = pow(10, floor(log10(raw)));

	return raw <= unit ? unit : raw <= 2 * unit ? 2 * unit : raw <= 5 * unit ? 5 * unit : 10 * unit;
}

/* To whole decades, or to zero and a round number above. */
static void round_range(struct pp_plot *p)
{
	if (p->y0 > p->y1) {
		p->y0 = p->log_y ? 1 : 0;
		p->y1 = p->log_y ? 10 : 1;
	}
	if (p->log_y) {
		p->y0 = pow(10, floor(log10(p->y0)));
		p->y1 = pow(10, ceil(log10(p->y1)));
		p->y1 = p->y1 <= p->y0 ? 10 * p->y0 : p->y1;
	} else {
		double step;

		p->y0 = 0;
		p->y1 = p->y1 <= 0 ? 1 : p->y1;
		step = round_step(p->y1, 4);
		p->y1 = step * ceil(p->y1 / step);
	}
}

static void tick_y(const struct pp_plot *p, double y)
{
	char text[PP_TEXT_NUMBER];

	fprintf(p->out, "<line class=\"grid\" x1=\"%.0f\" x2=\"%.0f\" y1=\"%.1f\" y2=\"%.1f\"/><text x=\"%.0f\" y=\"%.1f\" text-anchor=\"end\">%s</text>", LEFT,
		WIDTH - RIGHT, place_y(p, y), place_y(p, y), LEFT - 6, place_y(p, y) + 4, p->number(text, y));
}

static void tick_x(const struct pp_plot *p, double x, const char *label)
{
	fprintf(p->out, "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.0f\" y2=\"%.0f\"/><text x=\"%.1f\" y=\"%.0f\" text-anchor=\"middle\">%s</text>",
		place_x(p, x), place_x(p, x), TOP, HEIGHT - BOTTOM, place_x(p, x), HEIGHT - BOTTOM + 16, label);
}

static void axes(const struct pp_plot *p)
{
	double step = p->log_y ? 0 : round_step(p->y1 - p->y0, 4);
	char text[PP_TEXT_NUMBER];

	if (p->log_y)
		for (double y = p->y0; y <= p->y1 * 1.001; y *= 10)
			tick_y(p, y);
	else
		for (double y = p->y0; y <= p->y1 * 1.001; y += step)
			tick_y(p, y);
	for (const struct pp_plot_tick *t = p->ticks; t && t->label; t++)
		tick_x(p, t->at, t->label);
	if (p->ticks)
		return;
	step = round_step(p->x1 > p->x0 ? p->x1 - p->x0 : 1, 6);
	for (double x = p->x0; x <= p->x1 + step / 1000; x += step) {
		snprintf(text, sizeof(text), "%g s", x);
		tick_x(p, x, text);
	}
}

void pp_plot_begin(struct pp_plot *p)
{
	round_range(p);
	fprintf(p->out, "<svg class=\"plot\" viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=\"", WIDTH, HEIGHT);
	pp_html_text(p->out, p->label);
	fputs("\">", p->out);
	axes(p);
}

static bool shows(const struct pp_plot *p, double y)
{
	return isfinite(y) && !(p->log_y && y <= 0);
}

static void dot(struct pp_plot *p, double x, double y, unsigned colour, const char *name, bool visible)
{
	char text[PP_TEXT_NUMBER];

	fprintf(p->out, "<circle class=\"%s s%u\" cx=\"%.1f\" cy=\"%.1f\" r=\"%s\"><title>", visible ? "dot" : "spot", colour, place_x(p, x), place_y(p, y),
		visible ? "2.2" : "5");
	pp_html_text(p->out, name);
	fprintf(p->out, ": %s</title></circle>", p->number(text, y));
}

void pp_plot_line(struct pp_plot *p, const double *x, const double *y, unsigned n, unsigned colour, const char *name)
{
	bool down = false;

	fprintf(p->out, "<path class=\"line s%u\" d=\"", colour);
	for (unsigned i = 0; i < n; i++) {
		if (shows(p, y[i]))
			fprintf(p->out, "%s%.1f %.1f", down ? "L" : "M", place_x(p, x[i]), place_y(p, y[i]));
		down = shows(p, y[i]);
	}
	fputs("\"/>", p->out);
	for (unsigned i = 0; i < n && n <= SPOTS_MAX; i++)
		if (shows(p, y[i]))
			dot(p, x[i], y[i], colour, name, n <= DOTS_MAX);
}

void pp_plot_end(struct pp_plot *p)
{
	fputs("</svg>\n", p->out);
}
