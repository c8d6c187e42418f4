/*
 * text_number.c - numbers from and to text for people: strict parsing, short printing.
 */
#include "tools/text_number.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

bool pp_text_u64(const char *text, uint64_t *out)
{
	char *end;
	unsigned long long v;

	if (!isdigit((unsigned char)text[0]))
		return false;
	errno = 0;
	v = strtoull(text, &end, 10);
	if (errno || *end)
		return false;
	*out = v;
	return true;
}

bool pp_text_i64(const char *text, int64_t *out)
{
	bool sign = text[0] == '-' || text[0] == '+';
	char *end;
	long long v;

	if (!isdigit((unsigned char)text[sign]))
		return false;
	errno = 0;
	v = strtoll(text, &end, 10);
	if (errno || *end)
		return false;
	*out = v;
	return true;
}

/* Three significant digits and a unit of `step` each. */
static char *scaled(char *out, double n, double step, const char *const *units)
{
	unsigned i = 0;

	while (n >= step * 0.9995 && units[i + 1]) {
		n /= step;
		i++;
	}
	snprintf(out, PP_TEXT_NUMBER, "%.*f%s%s", i == 0 || n >= 99.95 ? 0 : n >= 9.995 ? 1 : 2, n, units[i][0] ? " " : "", units[i]);
	return out;
}

char *pp_text_count(char *out, double n)
{
	static const char *const units[] = {"", "k", "M", "G", "T", NULL};

	return scaled(out, n, 1000, units);
}

char *pp_text_bytes(char *out, double n)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", NULL};

	return scaled(out, n, 1024, units);
}

char *pp_text_seconds(char *out, double s)
{
	static const char *const units[] = {"ns", "us", "ms", "s", NULL};
	unsigned whole = (unsigned)(s + 0.5);

	if (s < 60)
		return scaled(out, s * 1e9, 1000, units);
	if (s < 3600)
		snprintf(out, PP_TEXT_NUMBER, "%u min %u s", whole / 60, whole % 60);
	else
		snprintf(out, PP_TEXT_NUMBER, "%u h %u min", whole / 3600, whole % 3600 / 60);
	return out;
}
