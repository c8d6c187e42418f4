/*
 * text_mdb.c - the text format of mdb_dump and mdb_load, line by line.
 *
 * A pair is taken as a whole or not at all. A header must be right: with a wrong one it is not known what the lines behind it mean.
 */
#include "tools/text_mdb.h"
#include "tools/text_line.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

static int __attribute__((format(printf, 2, 3))) bad(struct pp_text_mdb *m, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(m->error, sizeof(m->error), fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* ---- header ----------------------------------------------------------------------------------------------------- */

static bool is(const char *line, size_t size, const char *text)
{
	return size == strlen(text) && !memcmp(line, text, size);
}

static int first_line(struct pp_text_mdb *m, const char *line, size_t size)
{
	if (size < 8 || memcmp(line, "VERSION=", 8))
		return bad(m, m->sections ? "something behind DATA=END that is no other database" : "no dump in this format: it does not begin with VERSION=3");
	if (!is(line, size, "VERSION=3"))
		return bad(m, "a dump of version '%.*s'; only 3 is known", (int)(size - 8 > 20 ? 20 : size - 8), line + 8);
	m->print = false;
	m->database[0] = '\0';
	m->at = PP_MDB_HEADER;
	return PP_MDB_NOTHING;
}

static int set_database(struct pp_text_mdb *m, const char *name, size_t size)
{
	if (!size || size > PP_TEXT_MDB_NAME_MAX || memchr(name, '\0', size))
		return bad(m, "a database name of %zu bytes (1 to %d are possible)", size, PP_TEXT_MDB_NAME_MAX);
	memcpy(m->database, name, size);
	m->database[size] = '\0';
	return PP_MDB_NOTHING;
}

static int header_line(struct pp_text_mdb *m, const char *line, size_t size)
{
	static const char *const several[] = {"duplicates=1", "dupsort=1", "dupfixed=1", "integerdup=1", "reversedup=1"};

	if (is(line, size, "HEADER=END")) {
		m->at = PP_MDB_KEY;
		m->sections++;
		return PP_MDB_SECTION;
	}
	if (is(line, size, "format=print") || is(line, size, "format=bytevalue")) {
		m->print = line[7] == 'p';
		return PP_MDB_NOTHING;
	}
	if (size > 9 && !memcmp(line, "database=", 9))
		return set_database(m, line + 9, size - 9);
	if (size >= 7 && !memcmp(line, "format=", 7))
		return bad(m, "an unknown format; known are bytevalue and print");
	if (size >= 5 && !memcmp(line, "type=", 5) && !is(line, size, "type=btree"))
		return bad(m, "not of type btree");
	for (size_t i = 0; i < sizeof(several) / sizeof(*several); i++)
		if (is(line, size, several[i]))
			return bad(m, "%s: a key with several values cannot be stored", several[i]);
	return memchr(line, '=', size) ? PP_MDB_NOTHING : bad(m, "not a line of a header");
}

/* ---- data ------------------------------------------------------------------------------------------------------- */

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int two(const char *text, size_t left, char *out)
{
	int high = left >= 2 ? hex(text[0]) : -1, low = left >= 2 ? hex(text[1]) : -1;

	if (high < 0 || low < 0)
		return -1;
	*out = (char)(high << 4 | low);
	return 0;
}

/* In place: the bytes are never longer than their text. */
static int decode(struct pp_text_mdb *m, char *text, size_t size, size_t *length)
{
	size_t n = 0, i = 0;

	while (i < size) {
		if (m->print && text[i] != '\\') {
			text[n++] = text[i++];
		} else if (m->print && i + 1 < size && text[i + 1] == '\\') {
			text[n++] = '\\';
			i += 2;
		} else if (two(text + i + m->print, size - i - m->print, &text[n])) {
			return bad(m, "no two hex digits at column %zu%s", i + m->print + 2,
				m->print ? " (mdb_dump -p writes backslashes as they are: dump without -p)" : "");
		} else {
			n++;
			i += 2u + m->print;
		}
	}
	*length = n;
	return 0;
}

static int data_bytes(struct pp_text_mdb *m, char *line, size_t size, size_t *length)
{
	if (!size || line[0] != ' ')
		return bad(m, "a line of data begins with a space");
	return decode(m, line + 1, size - 1, length);
}

static int key_line(struct pp_text_mdb *m, char *line, size_t size)
{
	int rc;

	if (is(line, size, "DATA=END")) {
		m->at = PP_MDB_BETWEEN;
		return PP_MDB_NOTHING;
	}
	m->at = PP_MDB_VALUE_OF_BAD;
	rc = data_bytes(m, line, size, &m->key_size);
	if (rc)
		return rc;
	if (m->key_size < 1 || m->key_size > PP_TEXT_KEY_MAX)
		return bad(m, "a key of %zu bytes (1 to %u are possible)", m->key_size, PP_TEXT_KEY_MAX);
	memcpy(m->key_bytes, line + 1, m->key_size);
	m->at = PP_MDB_VALUE;
	return PP_MDB_NOTHING;
}

static int value_line(struct pp_text_mdb *m, char *line, size_t size)
{
	bool of_bad = m->at == PP_MDB_VALUE_OF_BAD;
	int rc;

	m->at = PP_MDB_KEY;
	if (is(line, size, "DATA=END")) {
		m->at = PP_MDB_BETWEEN;
		return bad(m, "the last key has no value");
	}
	if (of_bad)
		return PP_MDB_NOTHING;
	rc = data_bytes(m, line, size, &m->value_size);
	if (rc)
		return rc;
	if (m->value_size > PP_TEXT_VALUE_MAX)
		return bad(m, "a value of %zu bytes (at most %u are possible)", m->value_size, PP_TEXT_VALUE_MAX);
	m->key = m->key_bytes;
	m->value = line + 1;
	return PP_MDB_RECORD;
}

int pp_text_mdb_line(struct pp_text_mdb *m, char *line, size_t size)
{
	switch (m->at) {
	case PP_MDB_BETWEEN:
		return first_line(m, line, size);
	case PP_MDB_HEADER:
		return header_line(m, line, size);
	case PP_MDB_KEY:
		return key_line(m, line, size);
	default:
		return value_line(m, line, size);
	}
}

int pp_text_mdb_end(struct pp_text_mdb *m)
{
	if (m->at != PP_MDB_BETWEEN)
		return bad(m, "it ends before DATA=END: it was cut off");
	return m->sections ? 0 : bad(m, "there is nothing in it");
}

/* ---- writing ---------------------------------------------------------------------------------------------------- */

void pp_text_mdb_print_header(FILE *out, bool print, const char *database, uint64_t mapsize)
{
	fprintf(out, "VERSION=3\nformat=%s\n", print ? "print" : "bytevalue");
	if (database)
		fprintf(out, "database=%s\n", database);
	fprintf(out, "type=btree\nmapsize=%llu\nmaxreaders=126\nHEADER=END\n", (unsigned long long)mapsize);
}

void pp_text_mdb_print_bytes(FILE *out, bool print, const void *data, size_t size)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *p = data;

	putc_unlocked(' ', out);
	for (size_t i = 0; i < size; i++) {
		if (print && p[i] >= 0x20 && p[i] < 0x7f && p[i] != '\\') {
			putc_unlocked(p[i], out);
			continue;
		}
		if (print)
			putc_unlocked('\\', out);
		putc_unlocked(digits[p[i] >> 4], out);
		putc_unlocked(digits[p[i] & 15], out);
	}
	putc_unlocked('\n', out);
}

void pp_text_mdb_print_end(FILE *out)
{
	fputs("DATA=END\n", out);
}
