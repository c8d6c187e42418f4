/*
 * text_json.c - writing JSON to a stream, and finding members in a small object.
 *
 * The reader is for what ppdbd itself answers, but takes nothing for granted: every step is bounded by the terminating zero
 * and by a nesting limit; what is no JSON gives an error.
 */
#include "tools/text_json.h"
#include "tools/text_escape.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- writing ---------------------------------------------------------------------------------------------------- */

static void put_string(FILE *out, const char *text, size_t size)
{
	fputc('"', out);
	for (size_t i = 0; i < size; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c == '"' || c == '\\')
			fprintf(out, "\\%c", c);
		else if (c == '\n')
			fputs("\\n", out);
		else if (c == '\t')
			fputs("\\t", out);
		else if (c < 0x20 || c == 0x7f)
			fprintf(out, "\\u%04x", c);
		else
			fputc(c, out);
	}
	fputc('"', out);
}

static void new_line(struct pp_json *j)
{
	if (!j->indent || !j->depth)
		return;
	fputc('\n', j->out);
	for (unsigned i = 0; i < j->depth; i++)
		fputs("  ", j->out);
}

static void begin(struct pp_json *j, const char *key)
{
	if (j->depth && j->more[j->depth - 1])
		fputs(j->indent ? "," : ", ", j->out);
	if (j->depth)
		j->more[j->depth - 1] = true;
	new_line(j);
	if (key) {
		put_string(j->out, key, strlen(key));
		fputs(": ", j->out);
	}
}

static void end(struct pp_json *j)
{
	if (!j->depth)
		fputc('\n', j->out);
}

void pp_json_open(struct pp_json *j, const char *key, char bracket)
{
	begin(j, key);
	fputc(bracket, j->out);
	if (j->depth < PP_JSON_DEPTH - 1)
		j->depth++;
	j->more[j->depth - 1] = false;
}

void pp_json_close(struct pp_json *j, char bracket)
{
	bool some = j->more[j->depth - 1];

	j->depth--;
	if (some && j->indent && !j->depth)
		fputc('\n', j->out);
	else if (some)
		new_line(j);
	fputc(bracket, j->out);
	end(j);
}

void pp_json_u64(struct pp_json *j, const char *key, uint64_t value)
{
	begin(j, key);
	fprintf(j->out, "%" PRIu64, value);
	end(j);
}

void pp_json_i64(struct pp_json *j, const char *key, int64_t value)
{
	begin(j, key);
	fprintf(j->out, "%" PRId64, value);
	end(j);
}

void pp_json_real(struct pp_json *j, const char *key, double value)
{
	begin(j, key);
	if (isfinite(value))
		fprintf(j->out, "%.6g", value);
	else
		fputs("null", j->out);
	end(j);
}

void pp_json_bool(struct pp_json *j, const char *key, bool value)
{
	begin(j, key);
	fputs(value ? "true" : "false", j->out);
	end(j);
}

void pp_json_text(struct pp_json *j, const char *key, const char *text)
{
	begin(j, key);
	put_string(j->out, text, strlen(text));
	end(j);
}

static void put_base64(FILE *out, const unsigned char *d, size_t size)
{
	static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	fputc('"', out);
	for (size_t i = 0; i < size; i += 3) {
		size_t left = size - i;
		uint32_t v = (uint32_t)d[i] << 16 | (left > 1 ? (uint32_t)d[i + 1] << 8 : 0) | (left > 2 ? d[i + 2] : 0);

		fputc(set[v >> 18], out);
		fputc(set[v >> 12 & 63], out);
		fputc(left > 1 ? set[v >> 6 & 63] : '=', out);
		fputc(left > 2 ? set[v & 63] : '=', out);
	}
	fputc('"', out);
}

void pp_json_bytes(struct pp_json *j, const char *key, const void *data, size_t size)
{
	char name[64];
	bool plain = pp_text_is_utf8(data, size);

	snprintf(name, sizeof(name), "%s%s", key, plain ? "" : "_base64");
	begin(j, name);
	if (plain)
		put_string(j->out, data, size);
	else
		put_base64(j->out, data, size);
	end(j);
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */

static const char *skip_space(const char *p)
{
	return p + strspn(p, " \t\r\n");
}

static void put_utf8(char *out, size_t *n, unsigned c)
{
	if (c < 0x80) {
		out[(*n)++] = (char)c;
	} else if (c < 0x800) {
		out[(*n)++] = (char)(0xc0 | c >> 6);
		out[(*n)++] = (char)(0x80 | (c & 63));
	} else {
		out[(*n)++] = (char)(0xe0 | c >> 12);
		out[(*n)++] = (char)(0x80 | (c >> 6 & 63));
		out[(*n)++] = (char)(0x80 | (c & 63));
	}
}

static const char *unescape(const char *p, char *out, size_t *n)
{
	static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
	const char *known = *p ? strchr(from, *p) : NULL;
	unsigned c;

	if (*p == 'u') {
		if (strspn(p + 1, "0123456789abcdefABCDEF") < 4 || sscanf(p + 1, "%4x", &c) != 1)
			return NULL;
		put_utf8(out, n, c);
		return p + 5;
	}
	if (!*p)
		return NULL;
	out[(*n)++] = known ? to[known - from] : *p;
	return p + 1;
}

/* A string at p (a quote): its end, text in out, which has room for strlen(p). NULL: not terminated. */
static const char *read_string(const char *p, char *out)
{
	size_t n = 0;

	for (p++; p && *p && *p != '"';) {
		if (*p == '\\')
			p = unescape(p + 1, out, &n);
		else
			out[n++] = *p++;
	}
	if (!p || *p != '"')
		return NULL;
	out[n] = '\0';
	return p + 1;
}

/* A value that is no string: everything up to the comma or bracket that ends it. */
static const char *read_other(const char *p, char *out)
{
	const char *start = p;
	unsigned depth = 0;
	bool quoted = false;

	for (; *p; p++) {
		if (quoted) {
			if (*p == '\\' && p[1])
				p++;
			else if (*p == '"')
				quoted = false;
		} else if (*p == '"') {
			quoted = true;
		} else if (*p == '{' || *p == '[') {
			depth++;
		} else if (*p == '}' || *p == ']' || *p == ',') {
			if (!depth)
				break;
			depth -= *p != ',';
		}
	}
	if (!*p || p == start)
		return NULL;
	memcpy(out, start, (size_t)(p - start));
	out[p - start] = '\0';
	for (size_t n = (size_t)(p - start); n && strchr(" \t\r\n", out[n - 1]); n--)
		out[n - 1] = '\0';
	return p;
}

static int read_members(const char *p, char *key, char *value, int (*fn)(void *, const char *, const char *), void *ctx)
{
	int rc = 0;

	p = skip_space(p);
	if (*p++ != '{')
		return -EINVAL;
	for (p = skip_space(p); *p == '"' && !rc; p = skip_space(p + (*p == ','))) {
		p = read_string(p, key);
		if (!p || *(p = skip_space(p)) != ':')
			return -EINVAL;
		p = skip_space(p + 1);
		p = *p == '"' ? read_string(p, value) : read_other(p, value);
		if (!p)
			return -EINVAL;
		p = skip_space(p);
		rc = fn(ctx, key, value);
	}
	return rc ? rc : *p == '}' ? 0 : -EINVAL;
}

int pp_json_each(const char *json, int (*fn)(void *ctx, const char *key, const char *value), void *ctx)
{
	size_t size = strlen(json) + 1;
	char *key = malloc(2 * size);
	int rc;

	if (!key)
		return -ENOMEM;
	rc = read_members(json, key, key + size, fn, ctx);
	free(key);
	return rc;
}

struct wanted {
	const char *key;
	char *out;
	size_t size;
};

static int take_wanted(void *ctx, const char *key, const char *value)
{
	struct wanted *w = ctx;

	if (strcmp(key, w->key))
		return 0;
	if (strlen(value) >= w->size)
		return -ENOBUFS;
	strcpy(w->out, value);
	return 1;
}

bool pp_json_find(const char *json, const char *key, char *out, size_t size)
{
	struct wanted w = {key, out, size};

	return pp_json_each(json, take_wanted, &w) == 1;
}
