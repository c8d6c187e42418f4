/*
 * cmd_help.c - what `ppdb COMMAND --help` says below the usage line, for the commands whose help is a page of plain text.
 *
 * The man pages are made of these texts (docs/make-man), so they keep a form: sentences; lines that begin with two spaces and a dash are
 * options; those that begin with two spaces and run ppdb are examples, with a comment behind #. The tests run the examples.
 */
#include "tools/cmd.h"

#include <stddef.h>
#include <string.h>

#define TABLE "  --table T      in the table T instead of the default one\n"
#define ASYNC "  --async        return when it is visible to everybody, not when it is on disk\n"
#define TTL "  --ttl MS       it vanishes after so many milliseconds\n"

static const struct { const char *command, *text; } helps[] = {
	{"start",
		"Starts ppdbd in the background and returns when clients may attach. All options of ppdbd may follow; 'ppdbd --help' shows them. A daemon that runs\n"
		"already is no error. Which ppdbd: $PPDBD, else the one beside this program, else the one in $PATH.\n\n"
		"  ppdb start --memory 4G          # the store \"default\"\n"
		"  ppdb -n orders start -d orders  # another one, its files in the directory orders\n"},
	{"stop",
		"Stops the daemon cleanly: what was written is on disk, the shared memory stays, so that the next start loads nothing. Waits until it is gone.\n\n"
		"  --timeout SECONDS  give up waiting after that (120)\n\n"
		"  ppdb stop\n"},
	{"status",
		"What the daemon says about itself: name, pid, state (starting, running, readonly, stopping), data_dir, arena (the file of its memory),\n"
		"socket, settings, positions, clients. Exit 3 when none runs; then only where it would be is printed.\n\n"
		"  ppdb status\n"
		"  ppdb status --json | jq -r .data_dir\n"},
	{"wait",
		"Returns when the daemon serves clients. One that reads a long log needs time; exit 3 when there is none after the time-out.\n\n"
		"  --timeout SECONDS  how long to wait (60)\n\n"
		"  ppdb wait --timeout 300 && ppdb get user/1\n"},
	{"get",
		"Prints the value of a key and a newline. Exit 1 when there is no such key. --json adds version, expires_ms (0 = never) and seq, the\n"
		"position of the value; with --escaped KEY may hold \\t, \\n, \\\\ and \\xHH.\n\n"
		"  --raw          the bytes of the value alone, without the newline\n"
		TABLE "\n"
		"  ppdb get user/1\n"
		"  ppdb get user/1 --json | jq .version\n"
		"  ppdb get photo --raw >photo.jpg\n"},
	{"put",
		"Stores a value and returns when it is on disk. VALUE - reads stdin. Exit 1 when --if-absent or --if-present does not hold.\n\n"
		ASYNC TTL
		"  --if-absent    only if there is no such key\n"
		"  --if-present   only if there is such a key\n"
		TABLE "\n"
		"  ppdb put user/1 Ada\n"
		"  ppdb put photo - <photo.jpg\n"
		"  ppdb put session/9 open --ttl 60000 # gone in a minute\n"},
	{"del",
		"Removes a key (exit 1 when there is none), or all keys of a range, in batches of about a thousand, and prints how many.\n\n"
		"  --prefix P     all keys that begin with P\n"
		"  --from K       all keys from K on\n"
		"  --to K         all keys below K\n"
		ASYNC TABLE "\n"
		"  ppdb del user/1\n"
		"  ppdb del --prefix session/\n"
		"  ppdb del --from log/2025 --to log/2026\n"},
	{"cas",
		"Compare and set: stores a value if the key's version is VERSION, and prints the new version. 0: if there is no such key. Exit 1 when\n"
		"the version is another one. Versions are those of 'ppdb get --json'. VALUE - reads stdin.\n\n"
		ASYNC TTL TABLE "\n"
		"  ppdb cas lock 0 $$                  # mine, if it is nobody's\n"
		"  ppdb cas user/1 $(ppdb get user/1 --json | jq .version) Grace\n"},
	{"incr",
		"Adds N (1) to a counter, in one step whoever else does, and prints the sum. A counter is a decimal number of 64 bits as text.\n\n"
		"  --initial N    what an absent key counts as (0)\n"
		ASYNC TABLE "\n"
		"  ppdb incr visits\n"
		"  ppdb incr stock -5 --initial 100\n"},
	{"touch",
		"Gives a key a new time to live from now, in milliseconds, or none; its value stays. Exit 1 when there is no such key.\n\n"
		ASYNC TABLE "\n"
		"  ppdb touch user/1 60000\n"
		"  ppdb touch user/1 never\n"},
	{"scan",
		"Prints records in the order of their keys' bytes, KEY<TAB>VALUE a line; tab, newline, backslash and what is not printable are \\t, \\n, \\\\ and\n"
		"\\xHH. --json prints an object a line. It reads the newest values as it goes; 'ppdb dump' reads one moment.\n\n"
		"  --prefix P     only keys that begin with P\n"
		"  --from K       begin at K\n"
		"  --to K         end before K\n"
		"  --reverse      in descending order\n"
		"  --limit N      at most so many\n"
		"  --keys         the keys alone\n"
		"  --count        only how many\n"
		TABLE "\n"
		"  ppdb scan --prefix user/\n"
		"  ppdb scan --from user/ --to user0 --reverse --limit 1 # the last one\n"
		"  ppdb scan --count\n"},
	{"load",
		"Stores the records of a file, or of stdin: KEY<TAB>VALUE a line, as scan and dump print them. A record that has expired (dump --expires)\n"
		"is left out. A bad line is an error with its number. All of it is\n"
		"on disk when it ends with 0. Progress goes to stderr when that is a terminal.\n\n"
		"  --procs N      N processes, each with a part of the file (1); stdin is kept in a temporary file then\n"
		"  --batch N      records between two waits for the disk (4096)\n"
		"  --async        wait for the disk only at the end\n"
		"  --keep-going   leave bad lines out\n"
		TABLE "\n"
		"  ppdb load records.tsv --procs 4 --async\n"
		"  ppdb scan --prefix user/ | ppdb load - --table t # copy a part\n"},
	{"batch",
		"Does what the lines of a file, or of stdin, say, all at one moment or not at all: put<TAB>KEY<TAB>VALUE, del<TAB>KEY, and require<TAB>KEY<TAB>VERSION\n"
		"(0: the key is absent). Exit 1 when a requirement does not hold: its line is named, and nothing was done.\n\n"
		ASYNC TABLE "\n"
		"  printf 'put\\ta\\t1\\nput\\tb\\t2\\ndel\\tc\\n' | ppdb batch -\n"},
	{"dump",
		"Prints all records of a table as they are at one moment, in the format that load and restore read.\n\n"
		"  --format F     ppdb: KEY<TAB>VALUE a line; mdb: what LMDB's mdb_load reads (ppdb)\n"
		"  --print        mdb: printable bytes as they are, as mdb_dump -p\n"
		"  --expires      a third field: @ and when the record expires, milliseconds since 1970, or @never\n"
		TABLE "\n"
		"  ppdb dump >records.tsv\n"
		"  ppdb dump --expires >records-and-times.tsv\n"
		"  ppdb dump --format mdb | mdb_load lmdb-copy\n"},
	{"restore",
		"Stores what dump, or LMDB's mdb_dump, printed. It is read twice: all lines must be good before anything is stored. Keys that are in the store and\n"
		"not in the file stay. All of it is on disk when it ends with 0.\n\n"
		"  --format F     ppdb, or mdb: what LMDB's mdb_dump prints (ppdb)\n"
		"  --keep-going   leave bad lines out\n"
		TABLE "\n"
		"  ppdb restore records.tsv\n"
		"  mdb_dump lmdb-data | ppdb restore --format mdb\n"},
	{"watch",
		"Prints each change when it is on disk: SEQ<TAB>put<TAB>KEY<TAB>VALUE or SEQ<TAB>del<TAB>KEY a line, or an object a line with --json. It begins with what\n"
		"comes from now on, and ends when it is interrupted.\n\n"
		"  --prefix P     only keys that begin with P\n"
		"  --from SEQ     begin behind that position; 0: with the oldest that the log has\n"
		"  --bookmark N   go on where the bookmark N is, and move it: over all runs every change is printed at least once\n"
		"  --limit N      end after so many\n"
		"  --once         end when there is nothing more\n"
		TABLE "\n"
		"  ppdb watch --prefix user/\n"
		"  ppdb watch --bookmark indexer --once\n"
		"  ppdb watch --from 0 --json --once | jq -r .key\n"},
	{"bookmark",
		"Bookmarks of the change feed: name, position, how far it is behind, and whether the log still goes back so far (held, lost). A bookmark keeps the\n"
		"log behind it, up to --feed-hold of ppdbd; drop lets it go.\n\n"
		"  ppdb bookmark\n"
		"  ppdb bookmark drop indexer\n"},
	{"tables",
		"The named tables: number, keys, bytes used, quota, default time to live, name. --json prints one array.\n\n"
		"  ppdb tables\n"
		"  ppdb tables --json | jq -r '.[].name'\n"},
	{"table",
		"Makes a table, changes its quota or time to live, or removes it with all that is in it. A table is a keyspace of its own. Exit 1 when it is there\n"
		"already, or not there. What a change does not name stays; 0 takes it away.\n\n"
		"  --quota SIZE   what its keys and values may take (K, M, G)\n"
		"  --ttl MS       time to live of values that are stored without one\n\n"
		"  ppdb table create birds --quota 64M\n"
		"  ppdb put robin red --table birds && ppdb scan --table birds\n"
		"  ppdb table change birds --quota 0\n"
		"  ppdb table drop birds\n"},
	{"check",
		"Walks the whole store and verifies every invariant; it may be in use. Exit 4 when something is wrong, with a sentence for each problem. With\n"
		"--offline it reads the files of a store that does not run, or of a backup, from end to end, and names file and offset of what is damaged.\n\n"
		"  --quiet        nobody writes meanwhile: every byte of the memory must be accounted for\n"
		"  --offline DIR  the files of a data directory instead\n\n"
		"  ppdb check\n"
		"  ppdb backup copy && ppdb check --offline copy\n"},
	{"backup",
		"Copies the files of a running store to DIR, which is made or must be empty, and reads the copy back. All that was on disk when the command began is in\n"
		"it. To restore it, copy it to where a store is to live and start ppdbd there. To be run as the store's user, or root.\n\n"
		"  ppdb backup copy-of-today\n"},
	{"wal",
		"Prints the segments and units of a log, each with place, positions and sizes. Needs no daemon and changes nothing. Exit 4 when a place is damaged.\n\n"
		"  ppdb wal \"$(ppdb status --json | jq -r .data_dir)/wal\"\n"},
};

const char *pp_cmd_help_text(const char *command)
{
	for (size_t i = 0; i < sizeof(helps) / sizeof(helps[0]); i++)
		if (!strcmp(helps[i].command, command))
			return helps[i].text;
	return "";
}
