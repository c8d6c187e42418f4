/*
 * store.h - a store of its own for a test: ppdbd of the same build variant on a scratch directory.
 *
 *   static struct test_store s;
 *   TestSuite(x, .fini = test_stores_end, .timeout = 300);
 *   Test(x, y) {
 *           test_begin(120);
 *           test_store_start(&s, "--shards 4 --sync mutex --memory 64M");
 *           ppdb *db = test_store_attach(&s, 0);
 *           ...
 *           test_store_cold(&s);
 *           test_store_check(&s, true);
 *   }
 * The daemon is a child of the test (--foreground) and dies with it. Everything asserts; the daemon's messages are printed when
 * something is wrong. Call these from the test's own process only, except test_store_attach.
 */
#ifndef TESTS_LIB_STORE_H
#define TESTS_LIB_STORE_H

#include "client/ppdb.h"
#include "tests/lib/proc.h"

struct test_store {
	char name[32];
	char dir[96];                               /* scratch, removed at the end */
	char data[112], socket[112], messages[112]; /* in it */
	char arena[112];                            /* in /dev/shm */
	char options[512];                          /* of ppdbd, separated by spaces; a restart uses them again, so they may be changed */
	pid_t daemon;                               /* 0 = none */
};

/* Makes the directory and starts ppdbd; returns when it answers. `options` NULL = none. Without --memory: 256M. */
void test_store_start(struct test_store *s, const char *options);
/* Makes the directory only. */
void test_store_prepare(struct test_store *s, const char *options);
/* Starts ppdbd on what is there. 0, or the exit code with which it ended before it was ready (128 + signal). */
int test_store_try(struct test_store *s);

void test_store_stop(struct test_store *s);    /* SIGTERM; must end with 0 */
void test_store_kill(struct test_store *s);    /* SIGKILL */
void test_store_restart(struct test_store *s); /* kills if it runs, starts again: the arena is adopted */
void test_store_cold(struct test_store *s);    /* kills, removes the arena, starts: log and checkpoint are read */
void test_store_end(struct test_store *s);     /* kills and removes everything */
void test_stores_end(void);                    /* all of them: .fini of a suite, so that failed tests clean up too */

ppdb *test_store_attach(struct test_store *s, uint32_t flags);

/* Runs `ppdb check` (--quiet: nobody writes meanwhile, every byte must be accounted for), which must find no problem. Clients that
 * were killed shortly before need some rounds of housekeeping first: it is repeated for some seconds before it fails. */
void test_store_check(struct test_store *s, bool quiet);

/* Runs `ppdb -n SOCKET WORD...` (split at spaces), puts stdout and stderr into out; returns the exit code. */
int test_store_command(struct test_store *s, const char *words, char *out, size_t cap);
/* A number of `ppdb status --json` or `ppdb stat --json`, found by its name. */
uint64_t test_store_number(struct test_store *s, const char *command, const char *name);

#endif
