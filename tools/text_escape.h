/*
 * text_escape.h - bytes as text and back: the format of `ppdb scan`, `dump` and `load`.
 *
 * Tab, newline and backslash are written \t, \n, \\; every byte that is neither printable ASCII nor part of a valid UTF-8
 * sequence is \xHH. Reading accepts exactly these escapes (hex in either case) and takes all other bytes as they are.
 */
#ifndef PP_TOOLS_TEXT_ESCAPE_H
#define PP_TOOLS_TEXT_ESCAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* Length of the valid UTF-8 sequence of more than one byte at `text`, else 0. */
size_t pp_text_utf8(const unsigned char *text, size_t size);

/* All printable ASCII or valid UTF-8 or white space that JSON can escape: may go into a JSON string. */
bool pp_text_is_utf8(const void *data, size_t size);

/* Writes the text of `size` bytes to out, which has room for 4 * size; returns its length. */
size_t pp_text_escape(char *out, const void *data, size_t size);

/* The same to a stream. */
void pp_text_print(FILE *out, const void *data, size_t size);

/* Bytes of a text; `out` has room for `size` and may be `text` itself. 0, or -EINVAL with the place in *bad_at. */
int pp_text_unescape(char *out, const char *text, size_t size, size_t *length, size_t *bad_at);

#endif
