/*
 * Small texts: why a call failed (thread-local, as errno is), bounded formatting, one JSON field.
 */
#include "bench/bench.h"

#include <stdarg.h>
#include <stdio.h>

static __thread char failure[MSG_BYTES];

void text_format(char *to, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(to, MSG_BYTES, format, args);
	va_end(args);
}

int bench_fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(failure, sizeof failure, format, args);
	va_end(args);
	return -1;
}

const char *bench_failure(void)
{
	return failure;
}

/* Finds "name": "text" in JSON, wherever it first occurs; enough for status and stat. */
bool json_string(const char *json, const char *name, char *out, size_t cap)
{
	char quoted[64];
	const char *at, *end;

	snprintf(quoted, sizeof quoted, "\"%s\"", name);
	at = strstr(json, quoted);
	at = at ? strchr(at + strlen(quoted), ':') : NULL;
	if (!at)
		return false;
	at += 1 + strspn(at + 1, " \t\n");
	if (*at != '"')
		return false;
	end = strchr(++at, '"');
	if (!end || (size_t)(end - at) >= cap)
		return false;
	memcpy(out, at, (size_t)(end - at));
	out[end - at] = 0;
	return true;
}
