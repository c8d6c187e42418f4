/*
 * errors.c - text and name of every error code, and the thread's last failure in a sentence.
 *
 * Nothing here is shared between threads or processes: the sentence lives in thread-local storage.
 */
#include "shm/errors.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char detail[512];
static _Thread_local char text[128];

const char *pp_error_text(int code)
{
	switch (code) {
	case PPDB_OK:
		return "success";
#define PP_ERROR_CASE(name, value, message) \
	case value:                         \
		return message;
		PP_ERROR_LIST(PP_ERROR_CASE)
#undef PP_ERROR_CASE
	default:
		if (code < 0 && code >= -4095)
			return strerror_r(-code, text, sizeof(text));
		snprintf(text, sizeof(text), "unknown error %d", code);
		return text;
	}
}

const char *pp_error_name(int code)
{
	const char *name;

	switch (code) {
	case PPDB_OK:
		return "PPDB_OK";
#define PP_ERROR_CASE(n, value, message) \
	case value:                      \
		return "PPDB_" #n;
		PP_ERROR_LIST(PP_ERROR_CASE)
#undef PP_ERROR_CASE
	default:
		name = code < 0 && code >= -4095 ? strerrorname_np(-code) : NULL;
		return name ? name : "UNKNOWN";
	}
}

int pp_detail(int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(detail, sizeof(detail), fmt, ap);
	va_end(ap);
	return code;
}

const char *pp_detail_get(void)
{
	return detail;
}

void pp_detail_clear(void)
{
	detail[0] = '\0';
}
