/*
 * cmd.h - what the subcommands of `ppdb` share: options, messages, exit codes, attaching, asking the daemon.
 *
 * Data goes to stdout, everything else to stderr. A message names the command and says what to do next.
 */
#ifndef PP_TOOLS_CMD_H
#define PP_TOOLS_CMD_H

#include "client/ppdb.h"

#include <stdbool.h>
#include <stdint.h>

enum pp_exit { PP_EXIT_OK = 0, PP_EXIT_NO = 1, PP_EXIT_USAGE = 2, PP_EXIT_NO_DAEMON = 3, PP_EXIT_ERROR = 4 };

struct pp_cmd {
	const char *store;   /* -n NAME */
	const char *command; /* its name, for messages */
	const char *usage;   /* its arguments */
	bool json, autostart, escaped;
	const char *table;   /* --table T, NULL = the default one */
};

/* ---- options (cmd_options.c) ---- */

enum pp_opt_kind { PP_OPT_FLAG, PP_OPT_TEXT, PP_OPT_U64 };

struct pp_opt {
	const char *name; /* without the dashes; NULL ends a list */
	enum pp_opt_kind kind;
	void *to;         /* bool, const char *, uint64_t */
};

/*
 * Takes options out of argv (argv[0] is the command), those that every command has included; "--" ends them; "-" and "-5" are no
 * options. Returns how many arguments are left in argv[1..], or -1 after a message: then the command returns PP_EXIT_USAGE.
 * --help prints the usage and ends the process.
 */
int pp_cmd_options(struct pp_cmd *, int argc, char **argv, const struct pp_opt *, int min, int max);

void pp_cmd_print_help(const struct pp_cmd *);
/* What stands below the usage line, "" for commands that print their help themselves (cmd_help.c). */
const char *pp_cmd_help_text(const char *command);

/* ---- messages (cmd_common.c) ---- */

void pp_cmd_note(const struct pp_cmd *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Prints and returns PP_EXIT_USAGE. */
int pp_cmd_usage(const struct pp_cmd *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Prints `text` if --help is among the arguments: for commands whose help is more than their list of options. */
bool pp_cmd_help(int argc, char **argv, const char *text);
/* Says what failed and why, and returns the exit code that goes with the code. `what` may be NULL. */
int pp_cmd_fail(const struct pp_cmd *, int rc, const char *what);
/* " -n NAME" when it is not the default: for commands in messages. */
const char *pp_cmd_dash_n(const struct pp_cmd *);

/* ---- store ---- */

/* Attaches, with an autostart if wanted; on failure says so and returns the exit code, else 0. */
int pp_cmd_attach(const struct pp_cmd *, uint32_t flags, ppdb **out);
/* The table that --table names; on failure says so and returns the exit code, else 0. */
int pp_cmd_table(const struct pp_cmd *, ppdb *, ppdb_table *out);

/* A put that returns when it is visible; tried again for up to 30 s while it did not take place and may in a moment. 0, or why it did not. */
int pp_cmd_put_patiently(ppdb *, ppdb_table, ppdb_slice key, ppdb_slice value, uint64_t ttl_ms);
/* An argument as bytes: as it stands, or unescaped with --escaped. In place. 0 or PP_EXIT_USAGE. */
int pp_cmd_bytes(const struct pp_cmd *, char *arg, ppdb_slice *out);
/* The same, "-" reads stdin to its end; *buffer (NULL or malloc'ed) must be freed. */
int pp_cmd_value(const struct pp_cmd *, char *arg, ppdb_slice *out, char **buffer);
/* A pipe cannot be split or read twice: what *fd gives goes to a file without a name, and *fd becomes that. 0, or the exit code after a
 * message that ends with `instead`: what to do when that cannot be. */
int pp_cmd_spool(const struct pp_cmd *, int *fd, const char *instead);
/* The daemon's answer to a status request (malloc'ed JSON); PPDB_DAEMON_GONE when there is none. */
int pp_cmd_status_text(const struct pp_cmd *, uint32_t timeout_ms, char **json);
/* pid of the running daemon, 0 if none answers. */
int pp_cmd_daemon_pid(const struct pp_cmd *);
/* Path of ppdbd: $PPDBD, beside this program, or "ppdbd" to be searched in $PATH. */
const char *pp_cmd_daemon_path(void);
double pp_cmd_now(void); /* seconds, monotonic */

/* ---- scan, shared by scan and dump (cmd_scan.c) ---- */

struct pp_cmd_range {
	ppdb_iter_opts range;
	bool reverse, keys, count;
	bool expires;   /* with when each record expires, as load reads it */
	bool dump;      /* all that is asked for is to be kept: say what the text leaves out */
	uint64_t limit; /* 0 = none */
};
int pp_cmd_scan_store(const struct pp_cmd *, const struct pp_cmd_range *);
/* A bound of a range from the command line (NULL = none), into *out. 0 or PP_EXIT_USAGE. */
int pp_cmd_bound(const struct pp_cmd *, const char *arg, ppdb_slice *out);

/* Reads a store's files without a daemon (cmd_backup.c). */
int pp_cmd_check_offline(const struct pp_cmd *, const char *dir);

/* ---- commands: argv[0] is the command's name; they return an exit code ---- */

int pp_cmd_start(struct pp_cmd *, int argc, char **argv);
int pp_cmd_stop(struct pp_cmd *, int argc, char **argv);
int pp_cmd_status(struct pp_cmd *, int argc, char **argv);
int pp_cmd_clients(struct pp_cmd *, int argc, char **argv);
int pp_cmd_wait(struct pp_cmd *, int argc, char **argv);
int pp_cmd_get(struct pp_cmd *, int argc, char **argv);
int pp_cmd_put(struct pp_cmd *, int argc, char **argv);
int pp_cmd_del(struct pp_cmd *, int argc, char **argv);
int pp_cmd_cas(struct pp_cmd *, int argc, char **argv);
int pp_cmd_incr(struct pp_cmd *, int argc, char **argv);
int pp_cmd_scan(struct pp_cmd *, int argc, char **argv);
int pp_cmd_load(struct pp_cmd *, int argc, char **argv);
int pp_cmd_dump(struct pp_cmd *, int argc, char **argv);
int pp_cmd_batch(struct pp_cmd *, int argc, char **argv);
int pp_cmd_restore(struct pp_cmd *, int argc, char **argv);
int pp_cmd_touch(struct pp_cmd *, int argc, char **argv);
int pp_cmd_tables(struct pp_cmd *, int argc, char **argv);
int pp_cmd_table_command(struct pp_cmd *, int argc, char **argv);
int pp_cmd_stat(struct pp_cmd *, int argc, char **argv);
int pp_cmd_mem(struct pp_cmd *, int argc, char **argv);
int pp_cmd_perf(struct pp_cmd *, int argc, char **argv);
int pp_cmd_stall(struct pp_cmd *, int argc, char **argv);
int pp_cmd_check(struct pp_cmd *, int argc, char **argv);
int pp_cmd_wal(struct pp_cmd *, int argc, char **argv);
int pp_cmd_backup(struct pp_cmd *, int argc, char **argv);
int pp_cmd_watch(struct pp_cmd *, int argc, char **argv);
int pp_cmd_bookmark(struct pp_cmd *, int argc, char **argv);
int pp_cmd_bench(struct pp_cmd *, int argc, char **argv);
int pp_cmd_tune(struct pp_cmd *, int argc, char **argv);
int pp_cmd_top(struct pp_cmd *, int argc, char **argv);

#endif
