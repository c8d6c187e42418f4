/*
 * wal_fail.c - full disks, failing writes, forbidden io_uring, every backend, and writers that are killed.
 */
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "shm/atomic.h"
#include "shm/errors.h"
#include "wal_helper.h"

static void write_epochs(struct wal_model *m, struct pp_wal *w, uint64_t from, uint64_t to, size_t size)
{
	struct pp_wal_pos pos;

	for (uint64_t e = from; e <= to; e++) {
		cr_assert_eq(wal_put(m, w, e, size + e), 0, "%s", pp_detail_get());
		cr_assert_eq(wal_put(m, w, e, size), 0, "%s", pp_detail_get());
		cr_assert_eq(pp_wal_end_epoch(w, e), 0);
		cr_assert_eq(pp_wal_submit(w), 0, "%s", pp_detail_get());
		cr_assert_eq(pp_wal_poll(w, 0, &pos), 0, "%s", pp_detail_get());
	}
	pos = wal_flush(w);
	cr_assert_eq(pos.epoch, to);
}

static void round_trip(int backend, unsigned depth, bool no_direct, const char *expected_name)
{
	struct wal_model *m = wal_model_new();
	struct pp_wal_recovered r;
	struct pp_wal_stats st;
	struct pp_wal *w;

	m->config.backend = backend;
	m->config.depth = depth;
	m->config.no_direct = no_direct;
	wal_recover_ok(m, &r);
	w = wal_open_ok(m, &r);
	write_epochs(m, w, 1, 150, 700);
	pp_wal_stat(w, &st);
	if (expected_name)
		cr_assert_str_eq(st.backend, expected_name);
	cr_assert_eq(st.failed, 0);
	cr_assert_eq(st.records, 300);
	cr_assert_gt(st.latency_p99_ns, 0);
	cr_assert_geq(st.latency_p99_ns, st.latency_p50_ns);
	cr_assert(!no_direct || !st.direct);
	cr_assert_eq(pp_wal_close(w), 0);
	cr_assert_eq(wal_recover_ok(m, &r), 300);
	cr_assert_eq(r.last.epoch, 150);
	wal_model_free(m);
}

static bool uring_works(void)
{
	long fd = syscall(SYS_io_uring_setup, 1, NULL);

	return fd < 0 && errno == EFAULT;
}

Test(wal_fail, each_backend, .timeout = 120)
{
	static const char *const names[] = {NULL, "uring_dsync", "uring_fsync", "pwrite_dsync", "pwrite_thread"};

	for (int b = PP_WAL_AUTO; b <= PP_WAL_PWRITE_THREAD; b++) {
		bool uring = b == PP_WAL_URING_DSYNC || b == PP_WAL_URING_FSYNC;
		const char *name = uring && !uring_works() ? "pwrite_dsync" : names[b];

		round_trip(b, 1, false, name);
		round_trip(b, 4, true, name);
		round_trip(b, 8, false, name);
	}
}

Test(wal_fail, on_tmpfs, .timeout = 60)
{
	if (access("/dev/shm", W_OK))
		cr_skip_test("no /dev/shm");
	setenv("TMPDIR", "/dev/shm", 1);
	for (int b = PP_WAL_AUTO; b <= PP_WAL_PWRITE_THREAD; b++)
		round_trip(b, 2, false, NULL);
}

/* What containers do. */
static void forbid_uring(int error)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {sizeof(code) / sizeof(code[0]), code};

	cr_assert_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	cr_assert_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog), 0);
}

Test(wal_fail, uring_forbidden, .timeout = 60)
{
	forbid_uring(EPERM);
	round_trip(PP_WAL_URING_DSYNC, 2, false, "pwrite_dsync");
	round_trip(PP_WAL_AUTO, 2, false, NULL);
}

Test(wal_fail, uring_unknown, .timeout = 60)
{
	forbid_uring(ENOSYS);
	round_trip(PP_WAL_URING_FSYNC, 2, false, "pwrite_dsync");
	round_trip(PP_WAL_AUTO, 2, false, NULL);
}

/* No memory may be locked: then the buffers are not registered, no more. */
Test(wal_fail, no_locked_memory, .timeout = 60)
{
	struct rlimit none = {0, 0};

	cr_assert_eq(setrlimit(RLIMIT_MEMLOCK, &none), 0);
	round_trip(PP_WAL_AUTO, 2, false, NULL);
}

/* The disk fills up: refused before a byte was taken; what was accepted can be ended; space brings it back to life. */
Test(wal_fail, disk_full, .timeout = 60)
{
	struct wal_model *m = wal_model_new();
	struct pp_wal_recovered r;
	struct pp_wal_stats st;
	struct pp_wal *w;
	uint64_t epoch = 1;
	int rc;

	if (mount("ppdb-test", m->dir, "tmpfs", 0, "size=400k"))
		cr_skip_test("may not mount a tmpfs");
	wal_recover_ok(m, &r);
	w = wal_open_ok(m, &r);
	while ((rc = wal_put(m, w, epoch, 3000)) == 0) {
		if (epoch % 3)
			cr_assert_eq(pp_wal_end_epoch(w, epoch), 0);
		epoch++;
		cr_assert_eq(pp_wal_submit(w), 0);
	}
	cr_assert_eq(rc, -ENOSPC, "%d %s", rc, pp_detail_get());
	cr_assert(strstr(pp_detail_get(), m->dir), "%s", pp_detail_get());
	cr_assert_eq(pp_wal_prepare(w), -ENOSPC);
	cr_assert_lt(pp_wal_free_bytes(w), m->config.segment_bytes);
	cr_assert_eq(pp_wal_end_epoch(w, epoch - 1), 0, "%s", pp_detail_get());
	cr_assert_eq(wal_flush(w).epoch, epoch - 1);
	pp_wal_stat(w, &st);
	cr_assert_eq(st.failed, 0);
	cr_assert_eq(wal_recover_ok(m, &r), m->count);
	/* A checkpoint frees segments. */
	m->from_epoch = epoch / 2;
	cr_assert_gt(pp_wal_release(w, m->from_epoch), 0);
	cr_assert_eq(wal_put(m, w, epoch, 3000), 0, "%s", pp_detail_get());
	cr_assert_eq(pp_wal_end_epoch(w, epoch), 0);
	wal_flush(w);
	cr_assert_eq(pp_wal_close(w), 0);
	cr_assert_eq(wal_recover_ok(m, &r), m->count);
	wal_clear(m->dir);
	umount(m->dir);
	wal_model_free(m);
}

/* No room even for the first segment: a clear refusal, and nothing is left behind. */
Test(wal_fail, open_without_room)
{
	struct wal_model *m = wal_model_new();
	struct rlimit limit = {30000, 30000};
	struct pp_wal_recovered r;
	struct pp_wal *w;
	int rc;

	signal(SIGXFSZ, SIG_IGN);
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	wal_recover_ok(m, &r);
	rc = pp_wal_open(&m->config, &r, &w);
	cr_assert_eq(rc, -EFBIG, "%d %s", rc, pp_detail_get());
	cr_assert(strstr(pp_detail_get(), m->dir));
	cr_assert_eq(wal_recover_ok(m, &r), 0);
	cr_assert_eq(r.segments, 0);
	wal_model_free(m);
}

/* A write that fails ends writing for good, with the file's name; what was durable stays readable. */
static void failing_write(int backend)
{
	struct wal_model *m = wal_model_new();
	struct rlimit limit, before;
	struct pp_wal_recovered r;
	struct pp_wal_stats st;
	struct pp_wal_pos pos;
	struct pp_wal *w;
	int rc = 0;

	m->config.backend = backend;
	wal_recover_ok(m, &r);
	w = wal_open_ok(m, &r);
	write_epochs(m, w, 1, 5, 100);
	cr_assert_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
	limit = (struct rlimit){4096, before.rlim_max};
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	cr_assert_eq(wal_put(m, w, 6, 100), 0);
	cr_assert_eq(pp_wal_end_epoch(w, 6), 0);
	rc = pp_wal_submit(w);
	for (int i = 0; i < 10 && rc == 0; i++)
		rc = pp_wal_poll(w, 1000000000, &pos);
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
	cr_assert_eq(rc, -EFBIG, "%d %s", rc, pp_detail_get());
	cr_assert(strstr(pp_detail_get(), "wal-0000000000000001.log"), "%s", pp_detail_get());
	pp_detail_clear();
	cr_assert_eq(pp_wal_append(w, 7, &(struct iovec){"x", 1}, 1), -EFBIG);
	cr_assert(strstr(pp_detail_get(), "wal-0000000000000001.log"), "%s", pp_detail_get());
	cr_assert_eq(pp_wal_reserve(w, 7, 1), NULL);
	cr_assert_eq(pp_wal_end_epoch(w, 7), -EFBIG);
	cr_assert_eq(pp_wal_submit(w), -EFBIG);
	cr_assert_eq(pp_wal_idle(w), -EFBIG);
	cr_assert_eq(pp_wal_poll(w, 0, &pos), -EFBIG);
	cr_assert_eq(pos.epoch, 5);
	pp_wal_stat(w, &st);
	cr_assert_eq(st.failed, -EFBIG);
	cr_assert_eq(pp_wal_close(w), -EFBIG);
	wal_forget_above(m, 5);
	cr_assert_eq(wal_recover_ok(m, &r), m->count);
	wal_model_free(m);
}

Test(wal_fail, a_failing_write_is_final, .timeout = 60)
{
	signal(SIGXFSZ, SIG_IGN);
	for (int b = PP_WAL_AUTO; b <= PP_WAL_PWRITE_THREAD; b++)
		failing_write(b);
}

/* ---- killed writers ---- */

struct shared {
	pp_a64 durable;
	pp_a64 appended;
};

/* Runs until it is killed; tells what is durable only after the log said so. */
static void killed_writer(struct wal_model *m, const struct pp_wal_recovered *r, struct shared *s, uint64_t seed)
{
	struct pp_wal_pos pos;
	struct pp_wal *w;
	uint64_t epoch = r->max_epoch_seen;

	if (pp_wal_open(&m->config, r, &w))
		_exit(3);
	for (;;) {
		uint64_t n;

		epoch++;
		/* Every tenth epoch is empty and leaves no trace. */
		n = epoch % 10 ? 1 + wal_random(&seed) % 4 : 0;
		for (uint64_t i = 0; i < n; i++) {
			size_t size = 1 + wal_random(&seed) % (wal_random(&seed) % 40 == 0 ? 40000 : 300);
			struct { uint64_t epoch, index, count; } head = {epoch, i, n};
			struct iovec parts[] = {{&head, sizeof(head)}, {m->records, size}};

			if (pp_wal_append(w, epoch, parts, 2))
				_exit(4);
		}
		if (pp_wal_end_epoch(w, epoch) || pp_wal_submit(w))
			_exit(5);
		pp_store_seq(&s->appended, epoch);
		if (pp_wal_poll(w, pp_wal_inflight(w) >= m->config.depth ? 1000000000 : 0, &pos))
			_exit(6);
		pp_store_seq(&s->durable, pos.epoch);
		if (epoch % 64 == 0)
			pp_wal_prepare(w);
		if (epoch % 500 == 0)
			pp_wal_idle(w);
	}
}

struct seen {
	uint64_t epoch, index, count; /* last record */
	uint64_t records, wrong;
};

/* Whole epochs, in order, none but the empty ones missing. */
static int check_whole(void *ctx, uint64_t epoch, const void *data, size_t size)
{
	struct seen *s = ctx;
	uint64_t head[3];

	memcpy(head, data, sizeof(head));
	s->wrong += size <= sizeof(head) || head[0] != epoch;
	if (epoch == s->epoch)
		s->wrong += head[1] != s->index + 1 || head[2] != s->count;
	else
		s->wrong += head[1] != 0 || epoch < s->epoch || (s->count && s->index + 1 != s->count);
	s->epoch = epoch;
	s->index = head[1];
	s->count = head[2];
	s->records++;
	return 0;
}

static void kill_run(int backend, int rounds, uint64_t seed)
{
	struct wal_model *m = wal_model_new();
	struct shared *s = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct pp_wal_recovered r;
	uint64_t before = 0;

	m->config.backend = backend;
	m->config.depth = 2 + seed % 3;
	m->config.segment_bytes = 256 << 10;
	m->config.batch_bytes = 32 << 10;
	for (int i = 0; i < rounds; i++) {
		struct timespec nap = {0, (long)(wal_random(&seed) % 30000000)};
		struct seen seen = {0};
		uint64_t durable;
		int status;
		pid_t pid;
		int rc = pp_wal_recover(&m->config, 0, check_whole, &seen, &r);

		durable = pp_load_seq(&s->durable);
		cr_assert_eq(rc, 0, "backend %d round %d: %s", backend, i, pp_detail_get());
		cr_assert_eq(seen.wrong, 0);
		cr_assert_geq(seen.records, before, "backend %d round %d: records of before are gone", backend, i);
		cr_assert(r.last.epoch >= durable - (durable && durable % 10 == 0), "backend %d round %d: %llu durable, %llu there", backend, i,
			  (unsigned long long)durable, (unsigned long long)r.last.epoch);
		before = seen.records;
		pid = fork();
		if (pid == 0)
			killed_writer(m, &r, s, seed + (uint64_t)i);
		while (pp_load_seq(&s->appended) <= r.last.epoch && waitpid(pid, &status, WNOHANG) == 0)
			usleep(200);
		nanosleep(&nap, NULL);
		cr_assert_eq(kill(pid, SIGKILL), 0);
		cr_assert_eq(waitpid(pid, &status, 0), pid);
		cr_assert(WIFSIGNALED(status), "writer ended with %d", WEXITSTATUS(status));
	}
	munmap(s, 4096);
	wal_model_free(m);
}

Test(wal_fail, killed_writers_lose_nothing, .timeout = 180)
{
#ifdef __SANITIZE_THREAD__
	cr_skip_test("ThreadSanitizer allows no thread in a forked child");
#endif
	for (int b = PP_WAL_AUTO; b <= PP_WAL_PWRITE_THREAD; b++)
		kill_run(b, 10, 0xbeef + (uint64_t)b);
}

/* ---- housekeeping beside the writer ---- */

struct beside {
	struct pp_wal *w;
	pp_a64 durable;
	pp_a32 stop;
	pp_a32 errors;
};

static void *keep_house(void *arg)
{
	struct beside *b = arg;
	struct pp_wal_stats st;

	while (!pp_load_seq(&b->stop)) {
		uint64_t durable = pp_load_seq(&b->durable);

		if (pp_wal_prepare(b->w) < 0)
			pp_add_seq(&b->errors, 1);
		if (durable > 20 && pp_wal_release(b->w, durable - 20) < 0)
			pp_add_seq(&b->errors, 1);
		pp_wal_stat(b->w, &st);
		(void)pp_wal_free_bytes(b->w);
		usleep(300);
	}
	return NULL;
}

Test(wal_fail, housekeeping_beside_the_writer, .timeout = 120)
{
	struct wal_model *m = wal_model_new();
	struct pp_wal_recovered r;
	struct beside b = {0};
	pthread_t thread;

	wal_recover_ok(m, &r);
	b.w = wal_open_ok(m, &r);
	cr_assert_eq(pthread_create(&thread, NULL, keep_house, &b), 0);
	for (uint64_t e = 1; e <= 1500; e++) {
		struct pp_wal_pos pos;

		cr_assert_eq(wal_put(m, b.w, e, 200 + e), 0, "%s", pp_detail_get());
		cr_assert_eq(pp_wal_end_epoch(b.w, e), 0);
		cr_assert_eq(pp_wal_submit(b.w), 0);
		cr_assert_eq(pp_wal_poll(b.w, 0, &pos), 0);
		pp_store_seq(&b.durable, pos.epoch);
	}
	wal_flush(b.w);
	pp_store_seq(&b.stop, 1);
	pthread_join(thread, NULL);
	cr_assert_eq(pp_load_seq(&b.errors), 0);
	cr_assert_eq(pp_wal_close(b.w), 0);
	m->from_epoch = pp_load_seq(&b.durable);
	cr_assert_eq(wal_recover_ok(m, &r), m->count);
	wal_model_free(m);
}

/* ---- the writer moves to another thread ---- */

struct mover {
	struct wal_model *m;
	struct pp_wal *w;
	uint64_t from, to;
};

static void *write_there(void *arg)
{
	struct mover *v = arg;

	write_epochs(v->m, v->w, v->from, v->to, 300);
	return NULL;
}

Test(wal_fail, the_writer_may_move_when_nothing_is_in_flight, .timeout = 60)
{
	for (int b = PP_WAL_AUTO; b <= PP_WAL_PWRITE_THREAD; b++) {
		struct wal_model *m = wal_model_new();
		struct pp_wal_recovered r;
		struct mover v = {.m = m};
		pthread_t thread;

		m->config.backend = b;
		wal_recover_ok(m, &r);
		v.w = wal_open_ok(m, &r);
		write_epochs(m, v.w, 1, 5, 300);
		for (int i = 0; i < 3; i++) {
			v.from = 6 + (uint64_t)i * 5;
			v.to = v.from + 4;
			cr_assert_eq(pthread_create(&thread, NULL, write_there, &v), 0);
			pthread_join(thread, NULL);
		}
		cr_assert_eq(pp_wal_close(v.w), 0, "%s", pp_detail_get());
		cr_assert_eq(wal_recover_ok(m, &r), 40);
		wal_model_free(m);
	}
}
