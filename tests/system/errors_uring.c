/*
 * errors_uring.c - io_uring is forbidden, as containers do: the log is written by another way, and all is as durable as before.
 */
#include "tests/lib/ledger.h"
#include "tests/lib/store.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

TestSuite(errors_uring, .fini = test_stores_end, .timeout = 180);

static struct test_store s;

/* For this process and the daemons that it starts. */
static void forbid_io_uring(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof(code) / sizeof(code[0]), code};

	test_require(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) && !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), "seccomp: %s",
		strerror(errno));
	test_require(syscall(SYS_io_uring_setup, 1, NULL) == -1 && errno == EPERM, "it is not forbidden");
}

static void works(const char *options)
{
	struct ledger *l = ledger_new();
	char out[8192];
	ppdb *db;

	test_begin(150);
	forbid_io_uring();
	test_store_start(&s, options);
	db = test_store_attach(&s, 0);
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < 200; i++)
			test_ok(ledger_put(l, db, round * 100 + i, 100 + i * 37, i % 16 ? &(ppdb_wopts){.size = sizeof(ppdb_wopts),
				.flags = PPDB_ASYNC} : NULL));
		for (unsigned i = 0; i < 50; i++)
			test_ok(ledger_del(l, db, round * 150 + i, NULL));
		test_ok(ppdb_sync(db, -1));
		for (unsigned i = 0; i < 500; i++) { /* the daemon says so when it has a quiet moment */
			test_require(!test_store_command(&s, "stat", out, sizeof(out)), "%s", out);
			if (strstr(out, "pwrite_"))
				break;
			test_sleep_ms(20);
		}
		test_require(strstr(out, "pwrite_") && !strstr(out, "uring"), "ppdb stat does not name the way: %s", out);
		test_ok(ppdb_detach(db));
		test_store_cold(&s);
		db = test_store_attach(&s, 0);
		ledger_judge(l, db);
	}
	test_ok(ppdb_detach(db));
	test_store_check(&s, true);
}

Test(errors_uring, forbidden)
{
	works("--memory 64M --wal-segment 4M");
}

/* Also when io_uring was asked for by name: the store works, and says what it uses. */
Test(errors_uring, forbidden_but_configured)
{
	works("--memory 64M --wal-segment 4M --wal-backend uring-dsync");
}
