/*
 * text_escape.c - bytes as text and back: the format of `ppdb scan`, `dump` and `load`.
 *
 * Invariant: unescape(escape(x)) == x for all x, and escape never gives tab, newline or an invalid sequence, so that a line
 * of the format is a line of text. Nothing here is shared; nothing is left behind.
 */
#include "tools/text_escape.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

static bool is_tail(unsigned char c)
{
	return (c & 0xc0) == 0x80;
}

/* The ranges of Unicode's table 3-7: no overlong forms, no surrogates, nothing above U+10FFFF. */
size_t pp_text_utf8(const unsigned char *t, size_t size)
{
	if (size >= 2 && t[0] >= 0xc2 && t[0] <= 0xdf && is_tail(t[1]))
		return 2;
	if (size >= 3 && (t[0] & 0xf0) == 0xe0 && is_tail(t[1]) && is_tail(t[2]))
		return (t[0] == 0xe0 && t[1] < 0xa0) || (t[0] == 0xed && t[1] > 0x9f) ? 0 : 3;
	if (size >= 4 && t[0] >= 0xf0 && t[0] <= 0xf4 && is_tail(t[1]) && is_tail(t[2]) && is_tail(t[3]))
		return (t[0] == 0xf0 && t[1] < 0x90) || (t[0] == 0xf4 && t[1] > 0x8f) ? 0 : 4;
	return 0;
}

bool pp_text_is_utf8(const void *data, size_t size)
{
	const unsigned char *t = data;

	for (size_t i = 0; i < size;) {
		size_t n = t[i] < 0x80 ? 1 : pp_text_utf8(t + i, size - i);

		if (!n)
			return false;
		i += n;
	}
	return true;
}

static bool is_plain(unsigned char c)
{
	return c >= 0x20 && c < 0x7f && c != '\\';
}

/* One byte that needs an escape. */
static size_t escape_byte(char *out, unsigned char c)
{
	static const char hex[] = "0123456789abcdef";

	out[0] = '\\';
	out[1] = c == '\t' ? 't' : c == '\n' ? 'n' : c == '\\' ? '\\' : 'x';
	if (out[1] != 'x')
		return 2;
	out[2] = hex[c >> 4];
	out[3] = hex[c & 15];
	return 4;
}

size_t pp_text_escape(char *out, const void *data, size_t size)
{
	const unsigned char *t = data;
	size_t n = 0;

	for (size_t i = 0; i < size;) {
		size_t sequence = t[i] < 0x80 ? is_plain(t[i]) : pp_text_utf8(t + i, size - i);

		if (sequence) {
			memcpy(out + n, t + i, sequence);
			n += sequence;
			i += sequence;
		} else {
			n += escape_byte(out + n, t[i++]);
		}
	}
	return n;
}

void pp_text_print(FILE *out, const void *data, size_t size)
{
	const unsigned char *t = data;
	char buffer[4096];

	/* A sequence cut at the end of a piece belongs to the next one. */
	while (size) {
		size_t piece = size < sizeof(buffer) / 4 ? size : sizeof(buffer) / 4;
		size_t back = 0;

		while (piece < size && back < 3 && is_tail(t[piece - back]))
			back++;
		if (piece < size && pp_text_utf8(t + piece - back, size - piece + back) > back)
			piece -= back;
		fwrite_unlocked(buffer, 1, pp_text_escape(buffer, t, piece), out);
		t += piece;
		size -= piece;
	}
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The escape at `t` (a backslash): its length, 0 if there is no such. */
static size_t unescape_one(char *out, const char *t, size_t size)
{
	if (size < 2)
		return 0;
	switch (t[1]) {
	case 't':
		*out = '\t';
		return 2;
	case 'n':
		*out = '\n';
		return 2;
	case '\\':
		*out = '\\';
		return 2;
	case 'x':
		if (size < 4 || hex_digit(t[2]) < 0 || hex_digit(t[3]) < 0)
			return 0;
		*out = (char)(hex_digit(t[2]) << 4 | hex_digit(t[3]));
		return 4;
	default:
		return 0;
	}
}

int pp_text_unescape(char *out, const char *text, size_t size, size_t *length, size_t *bad_at)
{
	size_t n = 0;

	for (size_t i = 0; i < size; n++) {
		const char *slash = memchr(text + i, '\\', size - i);
		size_t plain = slash ? (size_t)(slash - text) - i : size - i;
		size_t used;

		memmove(out + n, text + i, plain);
		n += plain;
		i += plain;
		if (i == size)
			break;
		used = unescape_one(out + n, text + i, size - i);
		if (!used) {
			*bad_at = i;
			return -EINVAL;
		}
		i += used;
	}
	*length = n;
	return 0;
}
