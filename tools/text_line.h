/*
 * text_line.h - one line of the load format: KEY<TAB>VALUE, both escaped, and perhaps <TAB>@ and when it expires: milliseconds since 1970,
 * or "never".
 */
#ifndef PP_TOOLS_TEXT_LINE_H
#define PP_TOOLS_TEXT_LINE_H

#include "client/ppdb.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pp_text_line {
	char *key, *value;       /* inside the line that was parsed */
	size_t key_size, value_size;
	uint64_t expires_ms;     /* PPDB_TTL_NEVER; 0: the line does not say */
	char error[96];          /* what is wrong with it, when parsing failed */
};

#define PP_TEXT_KEY_MAX 4096u
#define PP_TEXT_VALUE_MAX (64u << 20)
/* No line that can be right is longer. */
#define PP_TEXT_LINE_MAX (4u * PP_TEXT_KEY_MAX + 4u * PP_TEXT_VALUE_MAX + 24u)

/* Parses a line without its newline, in place: it is overwritten. 0, or -EINVAL and out->error. */
int pp_text_parse_line(char *line, size_t size, struct pp_text_line *out);

/* What ppdb_wopts says for the line; false: it has expired already. */
bool pp_text_line_ttl(const struct pp_text_line *, uint64_t *ttl_ms);

#endif
