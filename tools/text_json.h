/*
 * text_json.h - writing JSON to a stream, and finding members in a small object.
 */
#ifndef PP_TOOLS_TEXT_JSON_H
#define PP_TOOLS_TEXT_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define PP_JSON_DEPTH 16

/* Zero-initialise, set `out`. `key` is NULL inside arrays and for the outermost value. A value at depth 0 ends its line. */
struct pp_json {
	FILE *out;
	unsigned depth;
	bool more[PP_JSON_DEPTH];
	bool indent; /* one member a line */
};

void pp_json_open(struct pp_json *, const char *key, char bracket); /* '{' or '[' */
void pp_json_close(struct pp_json *, char bracket);                 /* '}' or ']' */
void pp_json_u64(struct pp_json *, const char *key, uint64_t value);
void pp_json_i64(struct pp_json *, const char *key, int64_t value);
void pp_json_real(struct pp_json *, const char *key, double value);
void pp_json_bool(struct pp_json *, const char *key, bool value);
void pp_json_text(struct pp_json *, const char *key, const char *text);
/* A string when the bytes are valid UTF-8, else a member KEY_base64. `key` must not be NULL. */
void pp_json_bytes(struct pp_json *, const char *key, const void *data, size_t size);

/* Calls back for each member of the outermost object: the key, and the value as text (strings unescaped, everything else as
 * it stands). 0, -EINVAL when it is no object, or what the callback returned. */
int pp_json_each(const char *json, int (*fn)(void *ctx, const char *key, const char *value), void *ctx);
/* The value of one member of the outermost object as text; false when it is not there or does not fit. */
bool pp_json_find(const char *json, const char *key, char *out, size_t size);

#endif
