/*
 * metrics_text.c - labels, and which text format a scraper wants (see metrics.h).
 */
#include "tools/metrics.h"
#include "tools/text_escape.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

void pp_metrics_label(FILE *out, const char *name, const char *value)
{
	char text[4 * 256];
	size_t size = strnlen(value, 255), n = pp_text_escape(text, value, size);

	fprintf(out, "%s=\"", name);
	for (size_t i = 0; i < n; i++) {
		if (text[i] == '\\' || text[i] == '"')
			putc('\\', out);
		putc(text[i], out);
	}
	putc('"', out);
}

const char *pp_metrics_media_type(enum pp_metrics_format format)
{
	return format == PP_METRICS_OPENMETRICS ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
						: "text/plain; version=0.0.4; charset=utf-8";
}

/* One range of an Accept header: its type, and how much it is wanted; version "" = any. Returns what follows, NULL at the end. */
static const char *range(const char *p, char type[64], char version[16], double *quality)
{
	size_t size = strcspn(p, ",");
	char text[256], *save, *part;

	snprintf(text, sizeof(text), "%.*s", (int)(size < 255 ? size : 255), p);
	type[0] = version[0] = '\0';
	*quality = 1;
	part = strtok_r(text, ";", &save);
	if (part)
		snprintf(type, 64, "%.*s", (int)strcspn(part + strspn(part, " \t"), " \t"), part + strspn(part, " \t"));
	while (part && (part = strtok_r(NULL, ";", &save))) {
		part += strspn(part, " \t");
		if (!strncasecmp(part, "q=", 2))
			*quality = strtod(part + 2, NULL);
		else if (!strncasecmp(part, "version=", 8))
			snprintf(version, 16, "%.*s", (int)strcspn(part + 8, " \t"), part + 8);
	}
	return p[size] ? p + size + 1 : NULL;
}

/* Only who names OpenMetrics gets it: everybody reads the other one. */
enum pp_metrics_format pp_metrics_negotiate(const char *accept)
{
	double open = 0, plain = 0, quality;
	char type[64], version[16];

	while (accept && *accept) {
		accept = range(accept, type, version, &quality);
		if (!strcasecmp(type, "application/openmetrics-text") && (!version[0] || !strcmp(version, "1.0.0")) && quality > open)
			open = quality;
		else if (!strcasecmp(type, "text/plain") && quality > plain)
			plain = quality;
	}
	return open > 0 && open >= plain ? PP_METRICS_OPENMETRICS : PP_METRICS_PROMETHEUS;
}
