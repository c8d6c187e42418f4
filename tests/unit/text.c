/*
 * text.c - the dump format goes there and back for all bytes, bad lines are told, JSON is JSON, numbers are strict.
 */
#include "tools/text_escape.h"
#include "tools/text_json.h"
#include "tools/text_line.h"
#include "tools/text_number.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void expect_escape(const char *bytes, size_t size, const char *want)
{
	char out[256], back[256];
	size_t n = pp_text_escape(out, bytes, size), length, at;

	out[n] = '\0';
	cr_assert_str_eq(out, want);
	cr_assert_eq(pp_text_unescape(back, out, n, &length, &at), 0);
	cr_assert(length == size && !memcmp(back, bytes, size), "%s does not come back", want);
}

Test(text, escapes)
{
	expect_escape("", 0, "");
	expect_escape("plain text ~!", 13, "plain text ~!");
	expect_escape("a\tb\nc\\d", 7, "a\\tb\\nc\\\\d");
	expect_escape("\0\r\x7f\x1f", 4, "\\x00\\x0d\\x7f\\x1f");
	expect_escape("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80", 15, "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80");
	/* Overlong, surrogate, above the end, cut, lone tail. */
	expect_escape("\xc0\x80", 2, "\\xc0\\x80");
	expect_escape("\xed\xa0\x80", 3, "\\xed\\xa0\\x80");
	expect_escape("\xf4\x90\x80\x80", 4, "\\xf4\\x90\\x80\\x80");
	expect_escape("\xe2\x82", 2, "\\xe2\\x82");
	expect_escape("\x80z", 2, "\\x80z");
}

Test(text, random_bytes_come_back_and_are_text)
{
	unsigned seed = 1;
	char bytes[300], text[1200], back[1200];
	size_t length, at;

	for (int round = 0; round < 20000; round++) {
		size_t size = (size_t)rand_r(&seed) % sizeof(bytes), n;

		for (size_t i = 0; i < size; i++)
			bytes[i] = (char)(rand_r(&seed) >> (round % 2 ? 3 : 8));
		n = pp_text_escape(text, bytes, size);
		cr_assert(pp_text_is_utf8(text, n));
		cr_assert(!memchr(text, '\t', n) && !memchr(text, '\n', n));
		cr_assert_eq(pp_text_unescape(back, text, n, &length, &at), 0);
		cr_assert(length == size && !memcmp(back, bytes, size), "round %d", round);
		cr_assert_eq(pp_text_unescape(text, text, n, &length, &at), 0, "in place");
		cr_assert(length == size && !memcmp(text, bytes, size), "round %d", round);
	}
}

/* A stream is written in pieces: no sequence may be torn at their ends. */
Test(text, print_is_escape)
{
	unsigned seed = 2;
	static char bytes[10000], want[40000];

	for (int round = 0; round < 200; round++) {
		size_t size = (size_t)rand_r(&seed) % sizeof(bytes), n, got;
		char *text;
		FILE *f = open_memstream(&text, &got);

		for (size_t i = 0; i < size; i++)
			bytes[i] = "\xe2\x82\xac\xf0\x9f\x98\x80z"[i % 8];
		for (int spoil = 0; size && spoil < round % 4; spoil++)
			bytes[(size_t)rand_r(&seed) % size] = (char)rand_r(&seed);
		n = pp_text_escape(want, bytes, size);
		pp_text_print(f, bytes, size);
		fclose(f);
		cr_assert(got == n && !memcmp(text, want, n), "round %d", round);
		free(text);
	}
}

static void expect_bad(const char *text, size_t where)
{
	char out[64];
	size_t length, at = 99;

	cr_assert_eq(pp_text_unescape(out, text, strlen(text), &length, &at), -EINVAL, "%s", text);
	cr_assert_eq(at, where, "%s", text);
}

Test(text, bad_escapes)
{
	expect_bad("\\", 0);
	expect_bad("abc\\", 3);
	expect_bad("a\\q", 1);
	expect_bad("a\\x", 1);
	expect_bad("a\\x1", 1);
	expect_bad("\\x41\\xg1", 4);
	expect_bad("\\x1g", 0);
}

static int parse(const char *text, struct pp_text_line *l)
{
	static char line[200];

	strcpy(line, text);
	return pp_text_parse_line(line, strlen(text), l);
}

Test(text, lines)
{
	static const char *const no_time[] = {"a\tb\t@", "a\tb\t@0", "a\tb\t@soon", "a\tb\t@12\t", "a\tb\t@123456789012345678901234567890"};
	struct pp_text_line l;
	uint64_t ttl;

	cr_assert_eq(parse("key\tvalue", &l), 0);
	cr_assert(l.key_size == 3 && !memcmp(l.key, "key", 3) && l.value_size == 5 && !memcmp(l.value, "value", 5));
	cr_assert_eq(parse("\\x00\\t\t\\\\", &l), 0);
	cr_assert(l.key_size == 2 && !memcmp(l.key, "\0\t", 2) && l.value_size == 1 && l.value[0] == '\\');
	cr_assert_eq(parse("k\t", &l), 0);
	cr_assert_eq(l.value_size, 0);
	cr_assert_eq(parse("", &l), -EINVAL);
	cr_assert(strstr(l.error, "no tab"));
	cr_assert_eq(parse("\tvalue", &l), -EINVAL);
	cr_assert(strstr(l.error, "a key of 0 bytes"));
	cr_assert_eq(parse("a\tb\tc", &l), -EINVAL);
	cr_assert(strstr(l.error, "second tab at column 4"));
	cr_assert_eq(parse("a\tb", &l), 0);
	cr_assert(!l.expires_ms && pp_text_line_ttl(&l, &ttl) && !ttl);
	cr_assert_eq(parse("a\tb\t@never", &l), 0);
	cr_assert(l.value_size == 1 && pp_text_line_ttl(&l, &ttl) && ttl == PPDB_TTL_NEVER);
	cr_assert_eq(parse("a\tb\t@32503680000000", &l), 0);
	cr_assert(pp_text_line_ttl(&l, &ttl) && ttl && ttl < 32503680000000);
	cr_assert_eq(parse("a\tb\t@1000", &l), 0);
	cr_assert(!pp_text_line_ttl(&l, &ttl));
	for (unsigned i = 0; i < sizeof(no_time) / sizeof(*no_time); i++) {
		cr_assert_eq(parse(no_time[i], &l), -EINVAL, "%s", no_time[i]);
		cr_assert(strstr(l.error, "no time at column 6"), "%s: %s", no_time[i], l.error);
	}
	cr_assert_eq(parse("a\tb\\z", &l), -EINVAL);
	cr_assert(strstr(l.error, "column 4"));
}

Test(text, line_limits)
{
	char *line = malloc(PP_TEXT_VALUE_MAX + 5000);
	struct pp_text_line l;

	memset(line, 'v', PP_TEXT_VALUE_MAX + 5000);
	line[4096] = '\t';
	cr_assert_eq(pp_text_parse_line(line, 4097 + PP_TEXT_VALUE_MAX, &l), 0);
	cr_assert_eq(pp_text_parse_line(line, 4098 + PP_TEXT_VALUE_MAX, &l), -EINVAL);
	line[4096] = 'k';
	line[4097] = '\t';
	cr_assert_eq(pp_text_parse_line(line, 5000, &l), -EINVAL);
	free(line);
}

Test(text, json_written)
{
	size_t n;
	char *text;
	struct pp_json j = {.out = open_memstream(&text, &n)};

	pp_json_open(&j, NULL, '{');
	pp_json_u64(&j, "u", UINT64_MAX);
	pp_json_i64(&j, "i", -5);
	pp_json_real(&j, "r", 1.5);
	pp_json_bool(&j, "b", true);
	pp_json_text(&j, "t", "a\"b\\c\nd\x01");
	pp_json_bytes(&j, "x", "\xff\x00z", 3);
	pp_json_bytes(&j, "y", "gr\xc3\xbc", 4);
	pp_json_open(&j, "list", '[');
	pp_json_u64(&j, NULL, 1);
	pp_json_u64(&j, NULL, 2);
	pp_json_close(&j, ']');
	pp_json_open(&j, "none", '{');
	pp_json_close(&j, '}');
	pp_json_close(&j, '}');
	fclose(j.out);
	cr_assert_str_eq(text,
		"{\"u\": 18446744073709551615, \"i\": -5, \"r\": 1.5, \"b\": true, \"t\": \"a\\\"b\\\\c\\nd\\u0001\", "
		"\"x_base64\": \"/wB6\", \"y\": \"gr\xc3\xbc\", \"list\": [1, 2], \"none\": {}}\n");
	free(text);
}

Test(text, json_read)
{
	static const char json[] = "{ \"name\":\"a\\\"b\\u00e9\\n\" , \"pid\": 12,\"list\":[1,{\"pid\":\"]\"}], \"last\" : true}";
	char v[40];

	cr_assert(pp_json_find(json, "name", v, sizeof(v)));
	cr_assert_str_eq(v, "a\"b\xc3\xa9\n");
	cr_assert(pp_json_find(json, "pid", v, sizeof(v)));
	cr_assert_str_eq(v, "12");
	cr_assert(pp_json_find(json, "list", v, sizeof(v)));
	cr_assert_str_eq(v, "[1,{\"pid\":\"]\"}]");
	cr_assert(pp_json_find(json, "last", v, sizeof(v)));
	cr_assert_str_eq(v, "true");
	cr_assert(!pp_json_find(json, "other", v, sizeof(v)));
	cr_assert(!pp_json_find(json, "name", v, 3));
	cr_assert(!pp_json_find("{}", "name", v, sizeof(v)));
}

static int ignore(void *ctx, const char *key, const char *value)
{
	(void)ctx, (void)key, (void)value;
	return 0;
}

Test(text, json_cut_anywhere_is_an_error)
{
	static const char json[] = "{\"a\": \"x\\u0041\\\\\", \"b\": [1, \"]\"], \"c\": {\"d\": 1}}";
	char cut[sizeof(json)];

	cr_assert_eq(pp_json_each(json, ignore, NULL), 0);
	for (size_t n = 0; n < sizeof(json) - 1; n++) {
		memcpy(cut, json, n);
		cut[n] = '\0';
		cr_assert_eq(pp_json_each(cut, ignore, NULL), -EINVAL, "%s", cut);
	}
}

Test(text, numbers)
{
	char s[PP_TEXT_NUMBER];
	uint64_t u;
	int64_t i;

	cr_assert(pp_text_u64("18446744073709551615", &u) && u == UINT64_MAX);
	cr_assert(!pp_text_u64("18446744073709551616", &u));
	cr_assert(!pp_text_u64("", &u) && !pp_text_u64("-1", &u) && !pp_text_u64("1x", &u) && !pp_text_u64(" 1", &u));
	cr_assert(pp_text_i64("-9223372036854775808", &i) && i == INT64_MIN);
	cr_assert(pp_text_i64("+5", &i) && i == 5);
	cr_assert(!pp_text_i64("-", &i) && !pp_text_i64("9223372036854775808", &i));
	cr_assert_str_eq(pp_text_count(s, 999), "999");
	cr_assert_str_eq(pp_text_count(s, 1234567), "1.23 M");
	cr_assert_str_eq(pp_text_bytes(s, 2048), "2.00 KiB");
	cr_assert_str_eq(pp_text_seconds(s, 0.0000123), "12.3 us");
	cr_assert_str_eq(pp_text_seconds(s, 200), "3 min 20 s");
	cr_assert_str_eq(pp_text_seconds(s, 7261), "2 h 1 min");
}
