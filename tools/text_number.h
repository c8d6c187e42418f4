/*
 * text_number.h - numbers from and to text for people: strict parsing, short printing.
 */
#ifndef PP_TOOLS_TEXT_NUMBER_H
#define PP_TOOLS_TEXT_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PP_TEXT_NUMBER 40

/* The whole text must be a decimal number in range. */
bool pp_text_u64(const char *text, uint64_t *out);
bool pp_text_i64(const char *text, int64_t *out);

/* "1.23 M", "45.6 GiB", "3 min 20 s", "12.3 us": into a buffer of PP_TEXT_NUMBER bytes, which is returned. */
char *pp_text_count(char *out, double n);
char *pp_text_bytes(char *out, double n);
char *pp_text_seconds(char *out, double s);

#endif
