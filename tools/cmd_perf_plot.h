/*
 * cmd_perf_plot.h - line plots as inline SVG; colours are classes (s0, s1, ...), so that the page's style decides for light and dark.
 */
#ifndef PP_TOOLS_CMD_PERF_PLOT_H
#define PP_TOOLS_CMD_PERF_PLOT_H

#include <stdbool.h>
#include <stdio.h>

struct pp_plot_tick {
	double at;
	const char *label;
};

/* Set everything, y0 and y1 by pp_plot_range. */
struct pp_plot {
	FILE *out;
	const char *label;                     /* said to who cannot see it */
	double x0, x1, y0, y1;
	bool log_y;
	const struct pp_plot_tick *ticks;      /* of x, the last has no label; NULL: seconds, chosen here */
	char *(*number)(char *out, double y);  /* writes a value of y, PP_TEXT_NUMBER bytes */
};

/* Takes y into the range of the plot, which begins empty (y0 > y1). */
void pp_plot_take(struct pp_plot *, double y);
void pp_plot_begin(struct pp_plot *);
/* Points with y <= 0 are gaps on a logarithmic axis; `name` shows up where the pointer rests. */
void pp_plot_line(struct pp_plot *, const double *x, const double *y, unsigned n, unsigned colour, const char *name);
void pp_plot_end(struct pp_plot *);
/* Text as it may stand in HTML. */
void pp_html_text(FILE *, const char *text);

#endif
