/*
 * text_line.c - one line of the load format: KEY<TAB>VALUE, both escaped.
 *
 * A line is taken as a whole or not at all: every limit that the store has is checked here, so that a bad line is known before
 * anything of it is stored.
 */
#include "tools/text_line.h"
#include "tools/text_escape.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static int __attribute__((format(printf, 2, 3))) bad(struct pp_text_line *l, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(l->error, sizeof(l->error), fmt, ap);
	va_end(ap);
	return -EINVAL;
}

static int unescape(struct pp_text_line *out, char *text, size_t size, size_t column, size_t *length)
{
	size_t at;

	if (pp_text_unescape(text, text, size, length, &at))
		return bad(out, "bad escape at column %zu (known are \\t, \\n, \\\\ and \\xHH)", column + at + 1);
	return 0;
}

int pp_text_parse_line(char *line, size_t size, struct pp_text_line *out)
{
	char *tab = memchr(line, '\t', size);
	char *second;
	size_t rest;
	int rc;

	if (!tab)
		return bad(out, "no tab between key and value");
	rest = size - (size_t)(tab - line) - 1;
	second = memchr(tab + 1, '\t', rest);
	if (second)
		return bad(out, "a second tab at column %zu (write \\t in a value)", (size_t)(second - line) + 1);
	out->key = line;
	out->value = tab + 1;
	rc = unescape(out, out->key, (size_t)(tab - line), 0, &out->key_size);
	if (!rc)
		rc = unescape(out, out->value, rest, (size_t)(tab - line) + 1, &out->value_size);
	if (rc)
		return rc;
	if (out->key_size < 1 || out->key_size > PP_TEXT_KEY_MAX)
		return bad(out, "a key of %zu bytes (1 to %u are possible)", out->key_size, PP_TEXT_KEY_MAX);
	if (out->value_size > PP_TEXT_VALUE_MAX)
		return bad(out, "a value of %zu bytes (at most %u are possible)", out->value_size, PP_TEXT_VALUE_MAX);
	return 0;
}
