/*
 * load.c (fuzz) - text that people and other programs write: the lines that `ppdb load` reads, dumps of LMDB, escapes, JSON, numbers.
 *
 * First byte: 0 = lines of a load, cut into parts as --procs does; 1 = JSON; 2 = a number; 3 = a dump; the rest is the text. What holds for every
 * text: each line comes once whatever the parts, a record of a dump is the same when it is dumped again, what unescape gives escapes to something that unescapes to the same.
 */
#include "tests/fuzz/fuzz.h"

#include "tools/text_escape.h"
#include "tools/text_json.h"
#include "tools/text_line.h"
#include "tools/text_mdb.h"
#include "tools/text_number.h"
#include "tools/text_reader.h"

#include <errno.h>
#include <sys/mman.h>

#define LIMIT 5000 /* bytes of a line */

static int hold = -1;

static void round_trip(const char *bytes, size_t size)
{
	char *text = malloc(4 * size + 1), *back = malloc(4 * size + 1);
	size_t n, got, bad;

	n = pp_text_escape(text, bytes, size);
	fuzz_require(n <= 4 * size, "escape wrote %zu bytes", n);
	fuzz_require(!pp_text_unescape(back, text, n, &got, &bad) && got == size && !memcmp(back, bytes, size),
		"escape and back differ");
	free(text);
	free(back);
}

static uint64_t take_line(char *line, size_t size)
{
	struct pp_text_line l;
	uint64_t sum = size;

	for (size_t i = 0; i < size; i++)
		sum = sum * 31 + (uint8_t)line[i];
	if (pp_text_parse_line(line, size, &l)) {
		fuzz_require(memchr(l.error, 0, sizeof(l.error)) && l.error[0], "no reason");
	} else {
		fuzz_require(l.key_size >= 1 && l.key_size <= PP_TEXT_KEY_MAX && l.value_size <= PP_TEXT_VALUE_MAX, "sizes");
		round_trip(l.key, l.key_size);
		round_trip(l.value, l.value_size);
	}
	return sum;
}

/* Sum over the lines of `parts` parts: it does not depend on their number. */
static uint64_t read_parts(uint64_t size, unsigned parts, uint64_t *lines)
{
	uint64_t sum = 0;

	*lines = 0;
	for (unsigned i = 0; i < parts; i++) {
		struct pp_text_reader r = {.fd = hold, .ranged = true, .end = size};
		char *line;
		size_t n;
		int rc;

		fuzz_require(!pp_text_line_start(hold, size / parts * i, size, &r.at), "line_start");
		if (i + 1 < parts)
			fuzz_require(!pp_text_line_start(hold, size / parts * (i + 1), size, &r.end), "line_start");
		while ((rc = pp_text_next_line(&r, LIMIT, &line, &n)) == 1 || rc == -EFBIG) {
			++*lines;
			sum += rc == 1 ? take_line(line, n) : 7;
		}
		fuzz_require(rc == 0, "code %d", rc);
		pp_text_reader_free(&r);
	}
	return sum;
}

static void load(const uint8_t *data, size_t size)
{
	uint64_t sum, lines, again;

	if (hold < 0)
		hold = memfd_create("fuzz", MFD_CLOEXEC);
	fuzz_require(!ftruncate(hold, 0) && pwrite(hold, data, size, 0) == (ssize_t)size, "memfd");
	sum = read_parts(size, 1, &lines);
	for (unsigned parts = 2; parts < 6; parts += 3)
		fuzz_require(read_parts(size, parts, &again) == sum && again == lines, "%u parts: other lines", parts);
	fuzz_require(!pp_text_count_lines(hold, size, &again) && again <= lines, "count");
}

static int member(void *ctx, const char *key, const char *value)
{
	fuzz_touch(key, strlen(key));
	fuzz_touch(value, strlen(value));
	return ++*(unsigned *)ctx > 1000;
}

static char *terminated(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	memcpy(text, data, size);
	text[size] = '\0';
	return text;
}

static void json(const uint8_t *data, size_t size)
{
	char *text = terminated(data, size), out[16];
	unsigned members = 0;

	pp_json_each(text, member, &members);
	if (pp_json_find(text, "pid", out, sizeof(out)))
		fuzz_require(memchr(out, 0, sizeof(out)), "not terminated");
	free(text);
	round_trip((const char *)data, size);
	pp_text_is_utf8(data, size);
}

static void number(const uint8_t *data, size_t size)
{
	char *text = terminated(data, size), out[PP_TEXT_NUMBER];
	uint64_t u;
	int64_t i;

	if (pp_text_u64(text, &u)) {
		pp_text_count(out, (double)u);
		pp_text_bytes(out, (double)u);
		pp_text_seconds(out, (double)u);
	}
	(void)!pp_text_i64(text, &i);
	free(text);
}

/* A record, dumped again in either format. */
static void dump_again(const struct pp_text_mdb *m, bool print)
{
	struct pp_text_mdb again = {0};
	char *text = NULL, *line;
	size_t size, records = 0;
	FILE *f = open_memstream(&text, &size);

	pp_text_mdb_print_header(f, print, m->database[0] ? m->database : NULL, 1 << 20);
	pp_text_mdb_print_bytes(f, print, m->key, m->key_size);
	pp_text_mdb_print_bytes(f, print, m->value, m->value_size);
	pp_text_mdb_print_end(f);
	fclose(f);
	for (line = text; line < text + size;) {
		char *end = memchr(line, '\n', (size_t)(text + size - line));
		int rc = pp_text_mdb_line(&again, line, (size_t)(end - line));

		fuzz_require(rc >= 0, "our own line: %s", again.error);
		if (rc == PP_MDB_RECORD) {
			records++;
			fuzz_require(again.key_size == m->key_size && !memcmp(again.key, m->key, m->key_size) && again.value_size == m->value_size &&
				!memcmp(again.value, m->value, m->value_size), "a record changed");
		}
		line = end + 1;
	}
	fuzz_require(records == 1 && !pp_text_mdb_end(&again) && !strcmp(again.database, m->database), "%zu records", records);
	free(text);
}

static void dump(const uint8_t *data, size_t size)
{
	struct pp_text_mdb m = {0};
	char *text = terminated(data, size), *line = text;
	bool whole = true;

	while (line < text + size && whole) {
		char *end = memchr(line, '\n', (size_t)(text + size - line));
		int rc = pp_text_mdb_line(&m, line, (size_t)((end ? end : text + size) - line));

		if (rc < 0)
			fuzz_require(memchr(m.error, 0, sizeof(m.error)) && m.error[0], "no reason");
		if (rc < 0 && (m.at == PP_MDB_BETWEEN || m.at == PP_MDB_HEADER))
			whole = false;
		if (rc == PP_MDB_RECORD) {
			fuzz_require(m.key_size >= 1 && m.key_size <= PP_TEXT_KEY_MAX && m.value_size <= PP_TEXT_VALUE_MAX, "sizes");
			fuzz_touch(m.key, m.key_size);
			fuzz_touch(m.value, m.value_size);
			if (!strchr(m.database, '\n')) {
				dump_again(&m, false);
				dump_again(&m, true);
			}
		}
		line = end ? end + 1 : text + size;
	}
	if (pp_text_mdb_end(&m))
		fuzz_require(m.error[0], "no reason");
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	if (data[0] % 4 == 0)
		load(data + 1, size - 1);
	else if (data[0] % 4 == 1)
		json(data + 1, size - 1);
	else if (data[0] % 4 == 3)
		dump(data + 1, size - 1);
	else
		number(data + 1, size - 1);
	return 0;
}

void fuzz_seeds(fuzz_emit *emit)
{
	static const char lines[] = "\0key\tvalue\nk\\t1\tv\\x00\\n\n\\\\\t\xc3\xa4\xff\nno tab\n\tempty key\na\t\nlast\tone";
	static const char object[] = "\1{\"name\": \"a\\u00e4\\n\", \"pid\": 17, \"x\": [1, {\"y\": null}], \"z\": -1.5e3, \"t\": true}";
	static const char mdb[] = "\3VERSION=3\nformat=print\ndatabase=birds\ntype=btree\nmapsize=1048576\nHEADER=END\n a\\00b\n \\\\\n \\zz\n v\n k\n \nDATA=END\n"
		"VERSION=3\nformat=bytevalue\ntype=btree\nHEADER=END\n 00fF\n 61\nDATA=END\n";
	static const char big[] = "\2" "18446744073709551615";

	emit("lines", lines, sizeof(lines) - 1);
	emit("json", object, sizeof(object) - 1);
	emit("mdb", mdb, sizeof(mdb) - 1);
	emit("number", big, sizeof(big) - 1);
}
