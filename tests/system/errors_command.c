/*
 * errors_command.c - exit codes of `ppdb` (0 done, 1 no or not found, 2 usage, 3 no daemon, 4 another error) with a sentence on stderr, and
 * loads with malformed lines: they name file and line, and store nothing of a bad record.
 */
#include "tests/lib/ledger.h"
#include "tests/lib/store.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

TestSuite(errors_command, .fini = test_stores_end, .timeout = 180);

static struct test_store s;
static char out[16384];

static void gives(int code, const char *words, const char *says)
{
	int rc = test_store_command(&s, words, out, sizeof(out));

	test_require(rc == code, "ppdb %s gave %d, not %d: %s", words, rc, code, out);
	test_require(strstr(out, says), "ppdb %s: no '%s' in: %s", words, says, out);
}

static void file(const char *name, const char *text)
{
	char path[160];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", s.dir, name);
	f = fopen(path, "w");
	test_require(f && fputs(text, f) >= 0 && !fclose(f), "%s", path);
}

Test(errors_command, exit_codes)
{
	static char line[4200];
	char words[256], arena[112];

	test_begin(150);
	test_store_prepare(&s, "--memory 64M --wal-segment 4M");
	gives(3, "get k", "is not running; start it with");
	gives(3, "put k v", "is not running");
	gives(3, "check", "is not running");
	gives(3, "stat", "is not running");
	gives(3, "wait --timeout 1", "");
	gives(2, "frobnicate", "there is no command 'frobnicate'");
	gives(2, "get", "usage: ppdb");
	gives(2, "put k", "usage: ppdb");
	gives(2, "get k --frobnicate", "usage: ppdb");
	gives(2, "cas k one v", "usage: ppdb");
	test_require(!test_store_try(&s), "ppdbd did not start");
	gives(0, "put k v", "");
	gives(0, "get k", "v\n");
	gives(1, "get none", "");
	gives(1, "del none", "");
	gives(1, "put k w --if-absent", "");
	gives(1, "put none w --if-present", "");
	gives(1, "cas k 7 w", "version 1");
	gives(4, "incr k", "not a decimal number");
	memset(line, 'k', 4097);
	strcpy(line + 4097, "\tv\n");
	file("long", line);
	snprintf(words, sizeof(words), "load %s/long", s.dir);
	gives(4, words, "long:1: a key of 4097 bytes");
	gives(0, "get k", "v\n");
	gives(0, "check --quiet", "");
	/* the arena is gone under a stopped daemon: no daemon answers in time */
	kill(s.daemon, SIGSTOP);
	gives(3, "get k", "");
	kill(s.daemon, SIGCONT);
	gives(0, "get k", "v\n");
	memcpy(arena, s.arena, sizeof(arena));
	test_store_kill(&s);
	gives(3, "get k", "is not running");
	unlink(arena);
	test_require(!test_store_try(&s), "ppdbd did not start");
	gives(0, "get k", "v\n");
	gives(4, "wal /nonexistent", "/nonexistent");
	gives(0, "stop", "");
	test_collect(s.daemon, true);
	s.daemon = 0;
	gives(3, "stop", "");
}

Test(errors_command, malformed_lines)
{
	char words[256];

	test_begin(150);
	test_store_start(&s, "--memory 64M --wal-segment 4M");
	file("in", "a\t1\nb\t2\nno tab here\nc\t3\n\t4\nd\tbad \\q\ne\t5\n");
	snprintf(words, sizeof(words), "load %s/in", s.dir);
	gives(4, words, "/in:3: ");
	gives(0, "scan --keys", "a\nb\n");
	gives(1, "get c", "");
	snprintf(words, sizeof(words), "load %s/in --keep-going --procs 2", s.dir);
	gives(4, words, "/in:3: ");
	test_require(strstr(out, "/in:5: ") && strstr(out, "/in:6: "), "%s", out);
	gives(0, "scan", "a\t1\nb\t2\nc\t3\ne\t5\n");
	gives(0, "scan --count", "4\n");
	snprintf(words, sizeof(words), "load %s/none", s.dir);
	gives(4, words, "none");
	gives(0, "check --quiet", "");
}

/* The store gets full in the middle of a load: exit 4 with the reason, and what was stored is counted and there. */
Test(errors_command, load_into_a_full_store)
{
	char words[256], path[160];
	unsigned long count = 0;
	FILE *f;

	test_begin(150);
	test_store_start(&s, "--memory 24M --slots 16 --wal-segment 4M --ring 64");
	snprintf(path, sizeof(path), "%s/in", s.dir);
	f = fopen(path, "w");
	test_require(f, "%s", path);
	for (unsigned i = 0; i < 12000; i++)
		fprintf(f, "key%06u\t%02000u\n", i, i);
	fclose(f);
	snprintf(words, sizeof(words), "load %s", path);
	gives(4, words, "the arena is full");
	gives(0, "scan --count", "");
	test_require(sscanf(out, "%lu", &count) == 1 && count > 1000 && count < 12000, "%s", out);
	gives(0, "del key000000", "");
	gives(0, "check", "");
	test_store_restart(&s);
	gives(0, "scan --count", "");
	test_require(strtoul(out, NULL, 10) == count - 1, "%lu records, then %s", count, out);
}
