/*
 * checkpoint_kill.c - a writer killed at each of its system calls, or out of disk space, leaves the old checkpoint or the new one.
 */
#include "tests/unit/checkpoint_data.h"

#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/wait.h>

static char dir[64];
static const uint32_t sizes[] = {100, 0, 9000};
static const struct data_set old = {
	.seed = 100, .streams = 2, .records = 6, .sizes = sizes, .nsizes = 3, .block_bytes = 8192};
static const struct data_set new = {
	.seed = 101, .streams = 3, .records = 9, .sizes = sizes, .nsizes = 3, .block_bytes = 8192};

static void setup(void)
{
	make_dir(dir);
	cr_assert_eq(write_set(dir, &old), 0, "%s", pp_detail_get());
}

static void teardown(void)
{
	remove_dir(dir);
}

TestSuite(checkpoint_kill, .init = setup, .fini = teardown, .timeout = 300);

/* Kills the child in front of its n-th system call or behind it. 1: killed, 0: it was done before, -1: no ptrace here. */
static int kill_at(pid_t pid, unsigned n)
{
	int status;

	waitpid(pid, &status, 0);
	if (!WIFSTOPPED(status))
		return -1;
	for (unsigned i = 0; i < n; i++) {
		if (ptrace(PTRACE_SYSCALL, pid, NULL, NULL) < 0)
			return -1;
		waitpid(pid, &status, 0);
		if (WIFEXITED(status))
			return WEXITSTATUS(status) ? -1 : 0;
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	return 1;
}

static void traced_child(void)
{
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
		_exit(3);
	raise(SIGSTOP);
	_exit(write_set(dir, &new) ? 4 : 0);
}

Test(checkpoint_kill, at_every_system_call)
{
	bool switched = false;
	unsigned n, olds = 0;

	for (n = 1;; n++) {
		pid_t pid = fork();
		int rc, killed;

		if (pid == 0)
			traced_child();
		killed = kill_at(pid, n);
		if (killed < 0)
			cr_skip_test("ptrace is not allowed here");
		rc = verify(dir, &old);
		olds += rc == 0;
		if (rc) {
			rc = verify(dir, &new);
			switched = true;
		} else {
			cr_assert(!switched, "the old checkpoint came back at call %u", n);
		}
		cr_assert_eq(rc, 0, "killed at call %u: neither old nor new: %d %s", n, rc, pp_detail_get());
		if (!killed)
			break;
		/* Back to the old one, in the presence of whatever the dead writer left. */
		if (switched) {
			cr_assert_eq(write_set(dir, &old), 0);
			cr_assert_eq(each_file(dir, NULL, NULL), 1 + old.streams);
			switched = false;
		}
	}
	cr_assert(switched);
	cr_assert_gt(olds, 20);
	cr_assert_eq(each_file(dir, NULL, NULL), 1 + new.streams);
}

Test(checkpoint_kill, leftovers_are_removed_by_the_next)
{
	struct pp_ckpt_writer *w;

	/* As a killed writer leaves it: never committed, never aborted. */
	cr_assert_eq(pp_ckpt_begin(&pp_disk_real, dir, STORE, 500, 7, &w), 0);
	cr_assert_eq(each_file(dir, NULL, NULL), 3 + 7);
	cr_assert_eq(verify(dir, &old), 0);
	cr_assert_eq(write_set(dir, &new), 0);
	cr_assert_eq(each_file(dir, NULL, NULL), 1 + new.streams);
	pp_ckpt_abort(w);
	cr_assert_eq(verify(dir, &new), 0);
}

/* A file size limit stands for any write error: EFBIG in the middle of the second stream. */
Test(checkpoint_kill, failing_writes_leave_the_old_one)
{
	static const uint32_t large[] = {50000};
	struct data_set d = {
		.seed = 102, .streams = 2, .records = 50, .sizes = large, .nsizes = 1, .block_bytes = 65536};
	struct rlimit limit;
	int rc;

	signal(SIGXFSZ, SIG_IGN);
	cr_assert_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = 500000;
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	rc = write_set(dir, &d);
	cr_assert_eq(rc, -EFBIG, "%d %s", rc, pp_detail_get());
	cr_assert(strstr(pp_detail_get(), dir));
	cr_assert_eq(each_file(dir, NULL, NULL), 3);
	cr_assert_eq(verify(dir, &old), 0);
}

static bool put_line(const char *file, const char *fmt, unsigned id)
{
	FILE *f = fopen(file, "w");

	return f && fprintf(f, fmt, id, id) > 0 && !fclose(f);
}

/* Mounts of this process's own: as root, or in a user namespace where this user is still itself (else it could make no file). */
static bool own_mounts(void)
{
	unsigned uid = getuid(), gid = getgid();

	if (!unshare(CLONE_NEWNS))
		return true;
	return !unshare(CLONE_NEWUSER | CLONE_NEWNS) && put_line("/proc/self/uid_map", "%u %u 1\n", uid) &&
	       put_line("/proc/self/setgroups", "deny\n", 0) && put_line("/proc/self/gid_map", "%u %u 1\n", gid);
}

/* Own mount, so that nobody else sees it; exit 77 where that is not allowed. */
static void full_disk_child(void)
{
	static const uint32_t large[] = {30000};
	struct data_set d = {
		.seed = 103, .streams = 2, .records = 10, .sizes = large, .nsizes = 1, .block_bytes = 65536};
	bool failed = false;

	if (!own_mounts())
		_exit(77);
	mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
	if (mount("ppdb-test", dir, "tmpfs", 0, "size=256k"))
		_exit(77);
	if (write_set(dir, &old))
		_exit(1);
	/* Ever more data: everything from "fails at once" to "fails at the manifest", then space again. */
	for (d.records = 1; d.records < 12; d.records++) {
		unsigned before = each_file(dir, NULL, NULL);
		int rc = write_set(dir, &d);

		if (!rc && write_set(dir, &old))
			_exit(2);
		if (rc && rc != -ENOSPC)
			_exit(3);
		failed |= rc != 0;
		if (rc && each_file(dir, NULL, NULL) != before)
			_exit(4);
		if (verify(dir, &old))
			_exit(5);
	}
	_exit(failed ? 0 : 6);
}

Test(checkpoint_kill, a_full_disk_leaves_the_old_one)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		full_disk_child();
	waitpid(pid, &status, 0);
	cr_assert(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		cr_skip_test("no mount is allowed here");
	cr_assert_eq(WEXITSTATUS(status), 0, "step %d failed", WEXITSTATUS(status));
}
