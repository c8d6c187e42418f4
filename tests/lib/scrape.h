/*
 * scrape.h - metrics as a test reads them: values of samples, and promtool's judgement of the whole text.
 */
#ifndef TESTS_LIB_SCRAPE_H
#define TESTS_LIB_SCRAPE_H

#include <stdbool.h>
#include <stddef.h>

/* Value of the sample whose line begins with `series` ("ppdb_up{store=\"x\"}", without the space); false: there is none. */
bool test_sample(const char *text, const char *series, double *value);
/* The same; fails the test when it is not there. */
double test_value(const char *text, const char *series);
/* Lines that begin with that. */
unsigned test_samples(const char *text, const char *begin);

/* Runs promtool with these words (after a shell's quoting), `input` on its stdin (NULL: none). Its exit code; what it said in `out`. */
int test_promtool(const char *words, const char *input, char *out, size_t cap);
/* `promtool check metrics` must have no complaint. */
void test_promtool_accepts(const char *metrics);

#endif
