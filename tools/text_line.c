/*
 * text_line.c - one line of the load format: KEY<TAB>VALUE, both escaped, and perhaps <TAB>@EXPIRES.
 *
 * A line is taken as a whole or not at all: every limit that the store has is checked here, so that a bad line is known before
 * anything of it is stored.
 */
#include "tools/text_line.h"
#include "shm/clock.h"
#include "tools/text_escape.h"
#include "tools/text_number.h"

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

/* Behind the second tab. */
static int parse_expires(const char *text, size_t size, size_t column, struct pp_text_line *out)
{
	char number[24];

	if (!size || text[0] != '@')
		return bad(out, "a second tab at column %zu (write \\t in a value)", column);
	if (size >= sizeof(number))
		return bad(out, "no time at column %zu", column + 2);
	memcpy(number, text + 1, size - 1);
	number[size - 1] = '\0';
	if (!strcmp(number, "never"))
		out->expires_ms = PPDB_TTL_NEVER;
	else if (!pp_text_u64(number, &out->expires_ms) || !out->expires_ms)
		return bad(out, "no time at column %zu (milliseconds since 1970, or never)", column + 2);
	return 0;
}

int pp_text_parse_line(char *line, size_t size, struct pp_text_line *out)
{
	char *tab = memchr(line, '\t', size);
	char *second;
	size_t rest;
	int rc = 0;

	if (!tab)
		return bad(out, "no tab between key and value");
	out->expires_ms = 0;
	rest = size - (size_t)(tab - line) - 1;
	second = memchr(tab + 1, '\t', rest);
	if (second) {
		rc = parse_expires(second + 1, size - (size_t)(second - line) - 1, (size_t)(second - line) + 1, out);
		rest = (size_t)(second - tab) - 1;
	}
	if (rc)
		return rc;
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

bool pp_text_line_ttl(const struct pp_text_line *l, uint64_t *ttl_ms)
{
	uint64_t now = pp_wall_ms();

	*ttl_ms = l->expires_ms;
	if (!l->expires_ms || l->expires_ms == PPDB_TTL_NEVER)
		return true;
	*ttl_ms = l->expires_ms > now ? l->expires_ms - now : 0;
	return *ttl_ms != 0;
}
