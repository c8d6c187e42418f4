/*
 * measure_judge.c - whether of two things that were measured in turns one is better (see measure.h).
 *
 * Ratios are taken inside a round, so that a slow minute of the machine hits both sides. Their median is the figure; how far it may be off is three
 * standard errors of a median, estimated from the median absolute deviation (robust: a round that went wrong does not count for much).
 */
#include "tools/measure.h"

#include <math.h>

enum { ROUNDS_MAX = 64 };

struct pp_verdict pp_judge(const double *a, const double *b, int rounds, double least)
{
	struct pp_verdict v = { .ratio = NAN, .noise = NAN };
	double ratio[ROUNDS_MAX], off[ROUNDS_MAX];
	int n = 0;

	for (int i = 0; i < rounds && n < ROUNDS_MAX; i++)
		if (a[i] > 0 && b[i] > 0)
			ratio[n++] = b[i] / a[i];
	if (!n)
		return v;
	v.ratio = pp_median(ratio, n);
	for (int i = 0; i < n; i++)
		off[i] = fabs(ratio[i] - v.ratio);
	/* 1.4826: from the deviation to sigma; 1.2533: a median's error against a mean's */
	v.noise = n < 3 ? INFINITY : fmax(least, 3 * 1.2533 * 1.4826 * pp_median(off, n) / sqrt(n));
	if (fabs(v.ratio - 1) > v.noise)
		v.sign = v.ratio > 1 ? 1 : -1;
	return v;
}
