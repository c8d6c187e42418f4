/*
 * cmd_options.c - the options of a subcommand, wherever they stand among its arguments.
 *
 * Own parser instead of getopt_long: negative numbers and "-" are arguments, and every command takes the common options too.
 */
#include "tools/cmd.h"
#include "tools/text_number.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct pp_opt *lookup(const struct pp_opt *list, const char *name, size_t size)
{
	for (; list && list->name; list++)
		if (strlen(list->name) == size && !strncmp(list->name, name, size))
			return list;
	return NULL;
}

static int set(const struct pp_cmd *c, const struct pp_opt *o, const char *value)
{
	switch (o->kind) {
	case PP_OPT_FLAG:
		*(bool *)o->to = true;
		return 0;
	case PP_OPT_TEXT:
		*(const char **)o->to = value;
		return 0;
	case PP_OPT_U64:
		if (pp_text_u64(value, o->to))
			return 0;
		pp_cmd_usage(c, "--%s needs a number, not '%s'", o->name, value);
	}
	return -1;
}

/* One option at argv[i]; returns how many words it took, -1 after a message. */
static int take(const struct pp_cmd *c, const struct pp_opt *own, const struct pp_opt *common, int left, char **argv)
{
	const char *name = argv[0] + 2;
	const char *equal = strchr(name, '=');
	size_t size = equal ? (size_t)(equal - name) : strlen(name);
	const struct pp_opt *o = lookup(own, name, size);

	if (!o)
		o = lookup(common, name, size);
	if (!o) {
		pp_cmd_usage(c, "there is no option '%s'", argv[0]);
		return -1;
	}
	if (o->kind == PP_OPT_FLAG && equal) {
		pp_cmd_usage(c, "--%s takes no value", o->name);
		return -1;
	}
	if (o->kind == PP_OPT_FLAG || equal)
		return set(c, o, equal ? equal + 1 : NULL) ? -1 : 1;
	if (left < 2) {
		pp_cmd_usage(c, "--%s needs a value", o->name);
		return -1;
	}
	return set(c, o, argv[1]) ? -1 : 2;
}

static bool is_option(const char *arg)
{
	return arg[0] == '-' && arg[1] == '-';
}

void pp_cmd_print_help(const struct pp_cmd *c)
{
	const char *text = pp_cmd_help_text(c->command);

	printf("usage: ppdb [-n NAME] [--json] [--autostart] [--escaped] %s%s%s\n%s%s", c->command, *c->usage ? " " : "", c->usage, *text ? "\n" : "", text);
}

static void help(const struct pp_cmd *c)
{
	pp_cmd_print_help(c);
	exit(fflush(stdout) ? PP_EXIT_ERROR : PP_EXIT_OK);
}

/* A single dash: -n NAME, or an argument such as "-" and "-5". */
static int short_option(struct pp_cmd *c, int left, char **argv)
{
	if (!argv[0][1] || (argv[0][1] >= '0' && argv[0][1] <= '9'))
		return 0;
	if (!strcmp(argv[0], "-h"))
		help(c);
	if (strcmp(argv[0], "-n") || left < 2) {
		pp_cmd_usage(c, "there is no option '%s' (write -- in front of an argument that begins with a dash)", argv[0]);
		return -1;
	}
	c->store = argv[1];
	return 2;
}

int pp_cmd_options(struct pp_cmd *c, int argc, char **argv, const struct pp_opt *own, int min, int max)
{
	const struct pp_opt common[] = {
		{"json", PP_OPT_FLAG, &c->json},
		{"autostart", PP_OPT_FLAG, &c->autostart},
		{"escaped", PP_OPT_FLAG, &c->escaped},
		{"name", PP_OPT_TEXT, &c->store},
		{NULL, PP_OPT_FLAG, NULL},
	};
	bool options = true;
	int kept = 0;

	for (int i = 1; i < argc;) {
		int used = 0;

		if (options && !strcmp(argv[i], "--")) {
			options = false;
			i++;
			continue;
		}
		if (options && !strcmp(argv[i], "--help"))
			help(c);
		if (options && is_option(argv[i]))
			used = take(c, own, common, argc - i, argv + i);
		else if (options && argv[i][0] == '-')
			used = short_option(c, argc - i, argv + i);
		if (used < 0)
			return -1;
		if (!used)
			argv[++kept] = argv[i++];
		else
			i += used;
	}
	if (kept < min || kept > max) {
		pp_cmd_usage(c, kept < min ? "an argument is missing" : "there are too many arguments");
		return -1;
	}
	return kept;
}
