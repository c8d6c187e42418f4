/*
 * fault.c - what happens at a named fault point of a test build.
 *
 * Every point drops a pointer to its name into the linker section pp_faults, so a test can list all points of a binary and kill a
 * process at each of them in turn. The settings (PPDB_FAULT or pp_fault_set) are parsed once into a small table; passages are
 * counted with a relaxed atomic add, so that "kill:3" means the third passage by any thread. A release build holds only stubs.
 */
#include "shm/fault.h"

#include "shm/atomic.h"

#include <errno.h>

void (*pp_fault_hook)(const char *name, void *context);
void *pp_fault_hook_context;
const char *pp_fault_mutant;

#ifndef PP_FAULT

bool pp_fault_built(void)
{
	return false;
}

size_t pp_fault_sites(const struct pp_fault_site **out, size_t cap)
{
	(void)out;
	(void)cap;
	return 0;
}

int pp_fault_set(const char *spec)
{
	return spec && *spec ? -ENOTSUP : 0;
}

#else

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAX_RULES 16
#define NAME_BYTES 64

enum action { FAULT_KILL, FAULT_STOP, FAULT_SLEEP, FAULT_ERRNO };

struct rule {
	char name[NAME_BYTES];
	enum action action;
	long argument;
	pp_a64 passed;
};

void (*pp_access_hook)(void);

static struct rule rules[MAX_RULES];
static pp_a32 rule_count;
static pthread_once_t env_once = PTHREAD_ONCE_INIT;

extern const struct pp_fault_site *const __start_pp_faults[] __attribute__((weak, visibility("hidden")));
extern const struct pp_fault_site *const __stop_pp_faults[] __attribute__((weak, visibility("hidden")));

static const struct { const char *name; int value; } errors[] = {
	{ "ENOSPC", ENOSPC }, { "EIO", EIO }, { "ENOMEM", ENOMEM }, { "EAGAIN", EAGAIN }, { "EINTR", EINTR },
	{ "EPERM", EPERM }, { "ENOSYS", ENOSYS }, { "EINVAL", EINVAL }, { "EMFILE", EMFILE }, { "EROFS", EROFS },
};

bool pp_fault_built(void)
{
	return true;
}

size_t pp_fault_sites(const struct pp_fault_site **out, size_t cap)
{
	size_t count = (size_t)(__stop_pp_faults - __start_pp_faults);

	for (size_t i = 0; i < count && i < cap; i++)
		out[i] = __start_pp_faults[i];
	return count;
}

static int parse_errno(const char *text)
{
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
		if (!strcmp(text, errors[i].name))
			return errors[i].value;
	return atoi(text);
}

/* One "name=action[:argument]"; `text` is scratch. */
static int parse_rule(char *text, struct rule *rule)
{
	char *action = strchr(text, '='), *argument;

	if (!action || action == text || action - text >= NAME_BYTES)
		return -EINVAL;
	*action++ = '\0';
	argument = strchr(action, ':');
	if (argument)
		*argument++ = '\0';
	strcpy(rule->name, text);
	rule->argument = argument ? atol(argument) : 1;
	if (!strcmp(action, "kill"))
		rule->action = FAULT_KILL;
	else if (!strcmp(action, "stop"))
		rule->action = FAULT_STOP;
	else if (!strcmp(action, "sleep"))
		rule->action = FAULT_SLEEP;
	else if (!strcmp(action, "errno") && argument && parse_errno(argument) > 0)
		rule->action = FAULT_ERRNO, rule->argument = parse_errno(argument);
	else
		return -EINVAL;
	pp_store_rlx(&rule->passed, 0); /* published by rule_count */
	return 0;
}

static int parse(const char *spec)
{
	char *copy = strdup(spec), *save = NULL;
	uint32_t count = 0;
	int rc = copy ? 0 : -ENOMEM;

	pp_store_rel(&rule_count, 0);
	for (char *one = copy ? strtok_r(copy, ",", &save) : NULL; one && !rc; one = strtok_r(NULL, ",", &save)) {
		rc = count < MAX_RULES ? parse_rule(one, &rules[count]) : -E2BIG;
		count += !rc;
	}
	free(copy);
	/* [fault.parse:rules] pairs [fault.pass:rules]: the rules are whole */
	pp_store_rel(&rule_count, count);
	return rc;
}

static void parse_env(void)
{
	const char *spec = getenv("PPDB_FAULT");

	if (spec)
		parse(spec);
}

static void ignore_env(void)
{
}

int pp_fault_set(const char *spec)
{
	pthread_once(&env_once, ignore_env);
	return parse(spec ? spec : "");
}

static void nap(long ms)
{
	struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

	nanosleep(&t, NULL);
}

static int apply(struct rule *rule)
{
	uint64_t passage = pp_add_rlx(&rule->passed, 1) + 1; /* stat */

	switch (rule->action) {
	case FAULT_KILL:
		if (passage == (uint64_t)rule->argument)
			for (kill(getpid(), SIGKILL);;)
				pause();
		return 0;
	case FAULT_STOP:
		if (passage == (uint64_t)rule->argument)
			kill(getpid(), SIGSTOP);
		return 0;
	case FAULT_SLEEP:
		nap(rule->argument);
		return 0;
	case FAULT_ERRNO:
		return -(int)rule->argument;
	}
	return 0;
}

int pp_fault_pass(const struct pp_fault_site *site)
{
	uint32_t count;
	int rc = 0;

	pthread_once(&env_once, parse_env);
	if (pp_fault_hook)
		pp_fault_hook(site->name, pp_fault_hook_context);
	/* [fault.pass:rules] pairs [fault.parse:rules]: the rules are whole */
	count = pp_load_acq(&rule_count);
	for (uint32_t i = 0; i < count && !rc; i++)
		if (!strcmp(rules[i].name, site->name))
			rc = apply(&rules[i]);
	return rc;
}

#endif
