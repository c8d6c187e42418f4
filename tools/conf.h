/*
 * conf.h - settings from an INI file and from long options: one table of keys serves both.
 *
 *   # comment            ; comment
 *   [ppdbd]              sections of other programs are passed over; keys before any section count
 *   memory = 4G          sizes take K, M, G, T (powers of 1024)
 *   numa = yes           yes/no, on/off, true/false, 1/0
 *
 * Every key is also an option: --memory 4G, --memory=4G; flags need no value (--foreground) and have --no-KEY.
 * '_' and '-' are the same in names. Errors are -EINVAL with a detail that names file:line or the option.
 */
#ifndef PP_TOOLS_CONF_H
#define PP_TOOLS_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum pp_conf_kind {
	PP_CONF_FLAG,   /* bool */
	PP_CONF_NUMBER, /* uint64_t in [min, max] */
	PP_CONF_SIZE,   /* uint64_t bytes in [min, max] */
	PP_CONF_TEXT,   /* char[max] */
	PP_CONF_CHOICE, /* uint64_t: index of a word of `words` ("a|b|c") */
};

struct pp_conf_key {
	const char *name;      /* with '-'; NULL ends the table */
	char letter;           /* short option or 0 */
	enum pp_conf_kind kind;
	size_t offset;         /* in the struct of settings */
	uint64_t min, max;
	const char *words;
	const char *arg, *help;
	bool only_option;      /* not allowed in the file */
};

/* Bytes of "64", "16K", "2M", "1G" (also "1GiB", "1GB"). -EINVAL without a detail. */
int pp_conf_size(const char *text, uint64_t *bytes);
/* Plain decimal number. */
int pp_conf_number(const char *text, uint64_t *out);

/* Sets one key from text; `where` begins the message of an error. */
int pp_conf_set(const struct pp_conf_key *keys, void *settings, const char *name, const char *value, const char *where);

/* Reads a file. -ENOENT (with detail) when it is not there. */
int pp_conf_file(const struct pp_conf_key *keys, void *settings, const char *path, const char *section);

/* Reads options from argv[1..]; *rest = index of the first argument that is none ("--" is skipped). A word among the options ends
 * them. */
int pp_conf_args(const struct pp_conf_key *keys, void *settings, int argc, char **argv, int *rest);

/* One line a key. */
void pp_conf_help(const struct pp_conf_key *keys, FILE *out);

#endif
