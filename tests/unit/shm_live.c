/* shm_live.c - telling the living from the dead. */
#include "tests/unit/shm_help.h"

#include <pthread.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

TestSuite(live, .timeout = 60);

Test(live, boot_id_is_stable_text)
{
	char one[PP_BOOT_ID_BYTES], two[PP_BOOT_ID_BYTES];

	pp_boot_id(one);
	pp_boot_id(two);
	cr_assert_str_eq(one, two);
	cr_assert_geq(strlen(one), 7);
	cr_assert_null(strchr(one, '\n'));
}

Test(live, self_lives_and_a_reused_pid_does_not_fool)
{
	uint64_t start = pp_self_start(), again;

	cr_assert_gt(start, 0);
	cr_assert_eq(pp_proc_start(getpid(), &again), 0);
	cr_assert_eq(start, again);
	cr_assert(pp_proc_alive(getpid(), start));
	cr_assert(pp_proc_alive(getpid(), 0));
	cr_assert(!pp_proc_alive(getpid(), start + 1));
	cr_assert(!pp_proc_alive(0, 0));
	cr_assert(!pp_proc_alive(-1, 0));
	cr_assert_eq(pp_pidfd_open(getpid(), start + 1), -ESRCH);
}

Test(live, a_name_with_blanks_and_parentheses)
{
	uint64_t before = pp_self_start();

	prctl(PR_SET_NAME, "a) R 1 (b c");
	cr_assert_eq(pp_self_start(), before);
}

Test(live, a_zombie_is_dead_and_so_is_one_that_was_reaped)
{
	pid_t child = fork();
	uint64_t start = 0;
	int fd;

	if (!child)
		for (;;)
			pause();
	cr_assert_eq(pp_proc_start(child, &start), 0);
	fd = pp_pidfd_open(child, start);
	cr_assert_geq(fd, 0);
	cr_assert(!pp_pidfd_dead(fd));
	cr_assert(pp_proc_alive(child, start));
	kill(child, SIGSTOP);
	help_nap(10);
	cr_assert(pp_proc_alive(child, start), "a stopped process is alive");
	kill(child, SIGKILL);
	cr_assert(help_eventually(pp_pidfd_dead(fd)));
	cr_assert(!pp_proc_alive(child, start), "a zombie is dead");
	help_join(child);
	cr_assert(!pp_proc_alive(child, start));
	cr_assert_eq(pp_pidfd_open(child, start), -ESRCH);
	close(fd);
}

static void *linger(void *arg)
{
	(void)arg;
	for (;;)
		pause();
	return NULL;
}

Test(live, a_process_whose_first_thread_ended_is_alive)
{
	uint64_t start = 0;
	pid_t child;

#ifdef __SANITIZE_THREAD__
	cr_skip_test("ThreadSanitizer allows no thread in a forked child");
#endif
	child = fork();
	if (!child) {
		pthread_t thread;

		pthread_create(&thread, NULL, linger, NULL);
		syscall(SYS_exit, 0); /* this thread only */
	}
	cr_assert_eq(pp_proc_start(child, &start), 0);
	help_nap(100);
	cr_assert(pp_proc_alive(child, start));
	kill(child, SIGKILL);
	help_join(child);
	cr_assert(!pp_proc_alive(child, start));
}
