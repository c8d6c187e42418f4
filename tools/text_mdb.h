/*
 * text_mdb.h - the text that mdb_dump writes and mdb_load reads (LMDB's tools; db_dump's of Berkeley DB is the same).
 *
 *   VERSION=3                 sections one after the other, each a header and pairs of lines: the key, its value
 *   format=bytevalue          or print: printable bytes as they are, \xx in hex for others
 *   database=NAME             of a named database; the main one has no such line
 *   type=btree                other keywords (mapsize, ...) say nothing about the data
 *   HEADER=END
 *    6b6579                   each line of data begins with a space
 *    76616c7565
 *   DATA=END
 */
#ifndef PP_TOOLS_TEXT_MDB_H
#define PP_TOOLS_TEXT_MDB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define PP_TEXT_MDB_NAME_MAX 255

/* Zero-initialise. */
struct pp_text_mdb {
	enum { PP_MDB_BETWEEN, PP_MDB_HEADER, PP_MDB_KEY, PP_MDB_VALUE, PP_MDB_VALUE_OF_BAD } at;
	bool print;
	char database[PP_TEXT_MDB_NAME_MAX + 1]; /* of this section, "" = the main one */
	uint64_t sections;
	const char *key, *value;         /* after PP_MDB_RECORD: valid until the next line */
	size_t key_size, value_size;
	char error[160];
	char key_bytes[4096];
};

enum pp_text_mdb_event { PP_MDB_NOTHING = 0, PP_MDB_SECTION = 1, PP_MDB_RECORD = 2 };

/*
 * Takes the next line, without its newline; it may be overwritten. What it completes, or -EINVAL with `error`: of a line in a header, nothing
 * more can be read; of a key or value, the pair is left out and the next one may be good (`at` is KEY or VALUE_OF_BAD then).
 */
int pp_text_mdb_line(struct pp_text_mdb *, char *line, size_t size);

/* The text ends here: 0, or -EINVAL with `error`: it was cut off, or there was nothing. */
int pp_text_mdb_end(struct pp_text_mdb *);

/* The other way. `mapsize`: what mdb_load makes the map's limit. */
void pp_text_mdb_print_header(FILE *out, bool print, const char *database, uint64_t mapsize);
void pp_text_mdb_print_bytes(FILE *out, bool print, const void *data, size_t size);
void pp_text_mdb_print_end(FILE *out);

#endif
