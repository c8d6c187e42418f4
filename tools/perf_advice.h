/*
 * perf_advice.h - what a measured interval means, in sentences: each rule looks at the figures alone and says what it sees and what to do.
 */
#ifndef PP_TOOLS_PERF_ADVICE_H
#define PP_TOOLS_PERF_ADVICE_H

#include "tools/perf_pages.h"
#include "tools/perf_sample.h"

#define PP_ADVICE_TEXT 600

struct pp_advice {
	const char *rule;              /* its name, for scripts */
	char text[PP_ADVICE_TEXT];
};

/* True: the rule applies, and `text` says so. `pages` may be NULL: not looked at. */
typedef bool pp_advice_rule(const struct pp_perf *, const struct pp_perf_pages *pages, char text[PP_ADVICE_TEXT]);

struct pp_advice_named {
	const char *name;
	pp_advice_rule *judge;
};
/* All rules, the most urgent first; the last has no name. */
extern const struct pp_advice_named pp_advice_rules[];
#define PP_ADVICE_MAX 24

/* Those that apply, up to PP_ADVICE_MAX. */
unsigned pp_perf_advise(const struct pp_perf *, const struct pp_perf_pages *, struct pp_advice out[PP_ADVICE_MAX]);

#endif
