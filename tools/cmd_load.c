/*
 * cmd_load.c - `ppdb load`: stores the records of a file or of stdin, with one or several processes.
 *
 * With --procs the file is split at line starts and each process loads one part; the same key in two parts then ends with either
 * value. All records are durable when the command ends with 0: without --async after each chunk of --batch records, with it
 * only at the end. Progress goes to stderr when it is a terminal.
 */
#include "tools/cmd_load.h"
#include "tools/text_json.h"
#include "tools/text_number.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct sums {
	uint64_t bytes, records, durable, bad, expired;
};

static struct sums add_up(const struct pp_load *l)
{
	struct sums s = {0};

	for (unsigned i = 0; i < l->procs; i++) {
		s.bytes += pp_load_rlx(&l->shared->worker[i].bytes);     /* stat */
		s.records += pp_load_rlx(&l->shared->worker[i].records); /* stat */
		s.durable += pp_load_rlx(&l->shared->worker[i].durable); /* stat */
		s.bad += pp_load_rlx(&l->shared->worker[i].bad);         /* stat */
		s.expired += pp_load_rlx(&l->shared->worker[i].expired); /* stat */
	}
	return s;
}

static void show_progress(struct pp_load *l)
{
	char bytes[PP_TEXT_NUMBER], total[PP_TEXT_NUMBER], records[PP_TEXT_NUMBER], rate[PP_TEXT_NUMBER], left[PP_TEXT_NUMBER];
	double now = pp_cmd_now(), seconds = now - l->began;
	struct sums s;

	if (!l->terminal || now - l->shown < 0.2 || seconds <= 0)
		return;
	l->shown = now;
	s = add_up(l);
	fprintf(stderr, "\r  %s", pp_text_bytes(bytes, (double)s.bytes));
	if (l->size)
		fprintf(stderr, " of %s (%.0f%%)", pp_text_bytes(total, (double)l->size), 100.0 * (double)s.bytes / (double)l->size);
	fprintf(stderr, ", %s records, %s/s", pp_text_count(records, (double)s.records),
		pp_text_count(rate, (double)s.records / seconds));
	if (l->size && s.bytes)
		fprintf(stderr, ", %s left",
			pp_text_seconds(left, seconds * ((double)l->size - (double)s.bytes) / (double)s.bytes));
	fputs("\033[K", stderr);
}

static void note_latencies(const struct pp_load *l, const struct pp_hist *put, const struct pp_hist *sync)
{
	char a[PP_TEXT_NUMBER], b[PP_TEXT_NUMBER], c[PP_TEXT_NUMBER], d[PP_TEXT_NUMBER];

	if (put->total)
		pp_cmd_note(l->c, "put until visible p50 %s, p99 %s; sync of a chunk p50 %s, p99 %s",
			pp_text_seconds(a, (double)pp_hist_percentile_ns(put, 0.5) / 1e9),
			pp_text_seconds(b, (double)pp_hist_percentile_ns(put, 0.99) / 1e9),
			pp_text_seconds(c, (double)pp_hist_percentile_ns(sync, 0.5) / 1e9),
			pp_text_seconds(d, (double)pp_hist_percentile_ns(sync, 0.99) / 1e9));
}

static void json_latencies(struct pp_json *j, const struct pp_hist *put, const struct pp_hist *sync)
{
	pp_json_u64(j, "put_p50_ns", pp_hist_percentile_ns(put, 0.5));
	pp_json_u64(j, "put_p99_ns", pp_hist_percentile_ns(put, 0.99));
	pp_json_u64(j, "sync_p50_ns", pp_hist_percentile_ns(sync, 0.5));
	pp_json_u64(j, "sync_p99_ns", pp_hist_percentile_ns(sync, 0.99));
}

static void summary(const struct pp_load *l, int code)
{
	char bytes[PP_TEXT_NUMBER], rate[PP_TEXT_NUMBER], time[PP_TEXT_NUMBER];
	double seconds = pp_cmd_now() - l->began;
	struct sums s = add_up(l);
	struct pp_json j = {.out = stdout};
	struct pp_hist put = {0}, sync = {0};

	for (unsigned i = 0; i < l->procs; i++) {
		pp_hist_merge(&put, l->shared->worker[i].put);
		pp_hist_merge(&sync, l->shared->worker[i].sync);
	}
	if (l->terminal)
		fputs("\r\033[K", stderr);
	pp_cmd_note(l->c, "%" PRIu64 " records, %s, in %s, %s/s; %" PRIu64 " of them durable%s", s.records,
		pp_text_bytes(bytes, (double)s.bytes), pp_text_seconds(time, seconds),
		pp_text_count(rate, (double)s.records / (seconds > 0 ? seconds : 1)), s.durable,
		s.bad ? ", bad lines left out" : code ? ", not finished" : "");
	if (s.expired)
		pp_cmd_note(l->c, "%" PRIu64 " records had expired and were left out", s.expired);
	note_latencies(l, &put, &sync);
	if (!l->c->json)
		return;
	pp_json_open(&j, NULL, '{');
	pp_json_u64(&j, "records", s.records);
	pp_json_u64(&j, "durable", s.durable);
	pp_json_u64(&j, "bad_lines", s.bad);
	pp_json_u64(&j, "expired", s.expired);
	pp_json_u64(&j, "bytes", s.bytes);
	pp_json_real(&j, "seconds", seconds);
	json_latencies(&j, &put, &sync);
	pp_json_bool(&j, "complete", !code);
	pp_json_close(&j, '}');
}

/* ---- processes -------------------------------------------------------------------------------------------------- */

static pid_t start_worker(struct pp_load *l, unsigned index)
{
	pid_t parent = getpid(), pid = fork();

	if (pid)
		return pid;
	/* A worker without its parent would go on unseen. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(PP_EXIT_ERROR);
	_exit(pp_cmd_load_work(l, index, NULL));
}

/* The exit code of one that ended; a worker killed by a signal is an error of the load. */
static int judge(struct pp_load *l, unsigned index, pid_t pid, int status)
{
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	pp_store_rlx(&l->shared->stop, 1u); /* hint */
	pp_cmd_note(l->c, "worker %u (pid %d) was killed by signal %d; load the file again", index, (int)pid, WTERMSIG(status));
	return PP_EXIT_ERROR;
}

static int run_workers(struct pp_load *l)
{
	const struct timespec pause = {.tv_nsec = 20000000};
	pid_t pid[PP_LOAD_PROCS_MAX];
	unsigned left = 0;
	int code = 0, status;

	for (unsigned i = 0; i < l->procs; i++) {
		pid[i] = start_worker(l, i);
		left += pid[i] > 0;
		if (pid[i] < 0) {
			pp_store_rlx(&l->shared->stop, 1u); /* hint */
			code = pp_cmd_fail(l->c, -errno, "fork");
		}
	}
	while (left) {
		for (unsigned i = 0; i < l->procs; i++) {
			int rc;

			if (pid[i] <= 0 || waitpid(pid[i], &status, WNOHANG) != pid[i])
				continue;
			rc = judge(l, i, pid[i], status);
			code = code ? code : rc;
			pid[i] = 0;
			left--;
		}
		show_progress(l);
		nanosleep(&pause, NULL);
	}
	return code;
}

/* ---- input ------------------------------------------------------------------------------------------------------ */

static int open_input(struct pp_load *l, const char *file)
{
	struct stat st;
	int rc = 0;

	l->file = file && strcmp(file, "-") ? file : "stdin";
	l->fd = file && strcmp(file, "-") ? open(file, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
	if (l->fd < 0) {
		pp_cmd_note(l->c, "cannot open %s: %m", l->file);
		return PP_EXIT_ERROR;
	}
	if (!fstat(l->fd, &st) && S_ISDIR(st.st_mode)) {
		pp_cmd_note(l->c, "%s is a directory", l->file);
		return PP_EXIT_ERROR;
	}
	/* Redirected input that was read in part (a shell's here document) is a stream. */
	l->regular = !fstat(l->fd, &st) && S_ISREG(st.st_mode) && lseek(l->fd, 0, SEEK_CUR) == 0;
	if (!l->regular && l->procs > 1) {
		rc = pp_cmd_spool(l->c, &l->fd, "use --procs 1");
		l->regular = !rc && !fstat(l->fd, &st);
	}
	l->size = l->regular ? (uint64_t)st.st_size : 0;
	return rc;
}

int pp_cmd_load(struct pp_cmd *c, int argc, char **argv)
{
	struct pp_load l = {.c = c, .terminal = isatty(STDERR_FILENO)};
	uint64_t procs = 1;
	const struct pp_opt opts[] = {
		{"procs", PP_OPT_U64, &procs},
		{"batch", PP_OPT_U64, &l.batch},
		{"async", PP_OPT_FLAG, &l.async},
		{"keep-going", PP_OPT_FLAG, &l.keep_going},
		{"table", PP_OPT_TEXT, &c->table},
		{NULL, 0, NULL},
	};
	int rc, n;

	l.batch = 4096;
	n = pp_cmd_options(c, argc, argv, opts, 0, 1);
	if (n < 0)
		return PP_EXIT_USAGE;
	if (procs < 1 || procs > PP_LOAD_PROCS_MAX || l.batch < 1)
		return pp_cmd_usage(c, "--procs is 1 to %d, --batch at least 1", PP_LOAD_PROCS_MAX);
	l.procs = (unsigned)procs;
	rc = open_input(&l, n ? argv[1] : NULL);
	if (rc)
		return rc;
	l.shared = mmap(NULL, sizeof(*l.shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (l.shared == MAP_FAILED)
		return pp_cmd_fail(c, -errno, "mmap");
	l.began = pp_cmd_now();
	rc = l.procs == 1 ? pp_cmd_load_work(&l, 0, show_progress) : run_workers(&l);
	if (rc != PP_EXIT_NO_DAEMON)
		summary(&l, rc);
	return rc;
}
