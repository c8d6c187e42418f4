/*
 * ppdb.c - the `ppdb` command: finds the subcommand and runs it.
 *
 * Options before the command belong to all of them (-n, --json, --autostart); they may also stand behind it. A command that
 * prints data has failed when stdout could not take all of it.
 */
#include "tools/cmd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct command {
	const char *name, *arguments, *summary;
	int (*run)(struct pp_cmd *, int argc, char **argv);
};

static const struct command commands[] = {
	{"start", "[PPDBD-OPTION ...]", "start the daemon and wait until it is ready", pp_cmd_start},
	{"stop", "[--timeout SECONDS]", "stop the daemon cleanly and wait until it is gone", pp_cmd_stop},
	{"status", "", "what the daemon says about itself", pp_cmd_status},
	{"wait", "[--timeout SECONDS]", "wait until the daemon is ready", pp_cmd_wait},
	{"get", "KEY [--raw] [--table T]", "print the value of a key", pp_cmd_get},
	{"put", "KEY VALUE|- [--async] [--ttl MS] [--if-absent] [--if-present] [--table T]", "store a value", pp_cmd_put},
	{"del", "KEY | --prefix P | [--from K] [--to K]  [--async] [--table T]", "remove a key, or all keys of a range", pp_cmd_del},
	{"cas", "KEY VERSION VALUE|- [--async] [--ttl MS] [--table T]", "store a value if the key has this version (0: is absent)",
		pp_cmd_cas},
	{"incr", "KEY [N] [--initial N] [--async] [--table T]", "add to a counter and print it", pp_cmd_incr},
	{"touch", "KEY MS|never [--async] [--table T]", "give a key a new time to live", pp_cmd_touch},
	{"scan", "[--prefix P] [--from K] [--to K] [--reverse] [--limit N] [--keys] [--count] [--table T]",
		"print records in key order, KEY<TAB>VALUE a line", pp_cmd_scan},
	{"load", "[FILE|-] [--procs N] [--batch N] [--async] [--keep-going] [--table T]", "store the records of a file",
		pp_cmd_load},
	{"batch", "FILE|- [--async] [--table T]", "do all lines put<TAB>K<TAB>V, del<TAB>K, require<TAB>K<TAB>VERSION, or none", pp_cmd_batch},
	{"dump", "[--table T] [--format ppdb|mdb] [--print] [--expires]", "print all records in the format of load, or of mdb_load", pp_cmd_dump},
	{"restore", "[FILE|-] [--format ppdb|mdb] [--table T] [--keep-going]", "store what dump, or mdb_dump, wrote; all of it or nothing", pp_cmd_restore},
	{"watch", "[--prefix P] [--from SEQ] [--bookmark NAME] [--limit N] [--once] [--table T]",
		"print changes as they become durable, SEQ<TAB>put<TAB>KEY<TAB>VALUE or SEQ<TAB>del<TAB>KEY a line", pp_cmd_watch},
	{"bookmark", "[list | drop NAME]", "bookmarks of the change feed: where they are, whether the log still reaches back so far",
		pp_cmd_bookmark},
	{"tables", "", "the named tables: what they hold, quota, time to live", pp_cmd_tables},
	{"table", "create|change NAME [--quota SIZE] [--ttl MS] | drop NAME", "make, change or remove a named table", pp_cmd_table_command},
	{"stat", "[--prometheus] [--arena FILE]", "counters, latencies, memory, log", pp_cmd_stat},
	{"top", "[--interval S] [--count N] [--batch] [--sort COLUMN] [--shards] [--arena FILE]", "what happens in the store now, again and again", pp_cmd_top},
	{"clients", "[--arena FILE]", "who is attached, and what each keeps from being freed", pp_cmd_clients},
	{"mem", "[--all] [--interval S [--count N]] [--arena FILE]", "where every byte of the memory is", pp_cmd_mem},
	{"perf", "[--interval SECONDS] [--count N] [--total] [--record FILE] [--html FILE] [--from FILE] [--arena FILE] | --diff FILE FILE", "operations, latencies, where the time goes, and advice", pp_cmd_perf},
	{"stall", "[--apart MS] [--watch] [--arena FILE]", "who stands still, and in what", pp_cmd_stall},
	{"check", "[--quiet] | --offline DIR", "verify every invariant and account for every byte, or read a store's files from end to end",
		pp_cmd_check},
	{"backup", "DIR", "copy the files of the running store to an empty directory and verify the copy", pp_cmd_backup},
	{"wal", "DIR|FILE", "print what is in a log", pp_cmd_wal},
	{"bench", "WORKLOAD... [--processes P] [--threads T] [--keys N] [--duration S | --ops N] [--rate R] [--scratch] ...",
		"measure the store under workloads by name", pp_cmd_bench},
	{"tune", "[--quick] [--data-dir DIR] [--memory SIZE] [--write FILE] [--only A,B]", "measure the settings of ppdbd here, and write a config with reasons", pp_cmd_tune},
};
#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static void print_help(FILE *to)
{
	fputs("usage: ppdb [-n NAME] [--json] [--autostart] COMMAND ...\n\n", to);
	for (size_t i = 0; i < COMMANDS; i++)
		fprintf(to, "  %-9s %s\n", commands[i].name, commands[i].summary);
	fputs("\nOptions of all commands, before or behind the command:\n\n"
	      "  -n, --name NAME  the store, by name or by the path of its socket (default)\n"
	      "  --json           print JSON\n"
	      "  --autostart      start ppdbd when none runs\n"
	      "  --escaped        keys and values on the command line may hold \\t, \\n, \\\\ and \\xHH\n"
	      "  --help           what the command does, its options, examples\n"
	      "  --               what follows are arguments, also when they begin with a dash\n\n"
	      "Data goes to stdout, messages to stderr. Exit: 0 ok, 1 not found or false, 2 usage, 3 no daemon, 4 other error.\n\n"
	      "  ppdb start && ppdb put user/1 Ada && ppdb get user/1\n"
	      "  ppdb -n orders status\n",
		to);
}

static const struct command *find(const char *name)
{
	for (size_t i = 0; i < COMMANDS; i++)
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	return NULL;
}

static int finish(const struct pp_cmd *c, int code)
{
	if (fflush(stdout) || ferror(stdout)) {
		pp_cmd_note(c, "stdout did not take all of the output: %m");
		return PP_EXIT_ERROR;
	}
	return code;
}

static void say_version(void)
{
	printf("ppdb %u.%u.%u\n", ppdb_version() >> 16, ppdb_version() >> 8 & 0xff, ppdb_version() & 0xff);
}

/* Options in front of the command. Returns its index in argv, 0 when there is none, -1 for an unknown option. */
static int global_options(struct pp_cmd *c, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (argv[i][0] != '-' && strcmp(argv[i], "help"))
			return i;
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h") || !strcmp(argv[i], "help")) {
			print_help(stdout);
			exit(finish(c, PP_EXIT_OK));
		}
		if (!strcmp(argv[i], "--version")) {
			say_version();
			exit(finish(c, PP_EXIT_OK));
		}
		if ((!strcmp(argv[i], "-n") || !strcmp(argv[i], "--name")) && i + 1 < argc)
			c->store = argv[++i];
		else if (!strncmp(argv[i], "--name=", 7))
			c->store = argv[i] + 7;
		else if (!strcmp(argv[i], "--json"))
			c->json = true;
		else if (!strcmp(argv[i], "--autostart"))
			c->autostart = true;
		else if (!strcmp(argv[i], "--escaped"))
			c->escaped = true;
		else
			return -1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct pp_cmd c = {.store = "default", .command = "ppdb"};
	const struct command *command;
	int at;

	at = global_options(&c, argc, argv);
	command = at > 0 ? find(argv[at]) : NULL;
	if (!command) {
		if (at > 0)
			fprintf(stderr, "ppdb: there is no command '%s'\n", argv[at]);
		print_help(stderr);
		return PP_EXIT_USAGE;
	}
	c.command = command->name;
	c.usage = command->arguments;
	return finish(&c, command->run(&c, argc - at, argv + at));
}
