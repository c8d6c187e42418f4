/*
 * text_line.h - one line of the load format: KEY<TAB>VALUE, both escaped.
 */
#ifndef PP_TOOLS_TEXT_LINE_H
#define PP_TOOLS_TEXT_LINE_H

#include <stddef.h>

struct pp_text_line {
	char *key, *value;       /* inside the line that was parsed */
	size_t key_size, value_size;
	char error[96];          /* what is wrong with it, when parsing failed */
};

#define PP_TEXT_KEY_MAX 4096u
#define PP_TEXT_VALUE_MAX (64u << 20)
/* No line that can be right is longer. */
#define PP_TEXT_LINE_MAX (4u * PP_TEXT_KEY_MAX + 4u * PP_TEXT_VALUE_MAX + 2u)

/* Parses a line without its newline, in place: it is overwritten. 0, or -EINVAL and out->error. */
int pp_text_parse_line(char *line, size_t size, struct pp_text_line *out);

#endif
