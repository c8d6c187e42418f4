/*
 * cmd_bench_team.c - the processes and threads of one workload of `ppdb bench`: started together, watched, their figures added up.
 *
 * Processes are forked before they attach; each runs its threads with one handle. They share one anonymous mapping with the coordinator: `ready` counts
 * those who wait, `go` lets them run, `stop` ends all of them early. After its run, and outside of the measured time, each process waits until
 * its writes are durable, so that no workload pays for the one before.
 *
 * A worker process that dies makes the run fail and ends the others; workers die with the coordinator (PR_SET_PDEATHSIG). Ctrl-C goes to all of the
 * terminal's processes: workers ignore it, the coordinator stops them, and what they did until then is the result.
 */
#include "tools/cmd_bench.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SHOW_NS (500 * PP_NS_PER_MS)
#define POLL_NS (20 * PP_NS_PER_MS)
#define READY_NS (60 * PP_NS_PER_SEC)

volatile sig_atomic_t pp_bench_interrupted;

struct team {
	struct pp_bench *b;
	const struct pp_bench_workload *w;
	struct pp_bench_shared *shared;
	size_t shared_bytes;
	unsigned workers, processes, running;
	pid_t pid[PP_BENCH_WORKERS];
	uint64_t shown_ns, shown_done;
	int rc;
};

/* ---- a worker process ---- */

static void *thread_main(void *job)
{
	pp_bench_work(job);
	return NULL;
}

static int attach(struct team *t, ppdb **db)
{
	ppdb_attach_opts o = {.size = sizeof(o), .flags = PPDB_POPULATE, .timeout_ms = 5000, .client_name = "ppdb bench worker"};

	return ppdb_attach(t->b->store, &o, db);
}

static void run_threads(struct pp_bench_job *jobs, unsigned n)
{
	pthread_t thread[PP_BENCH_WORKERS];
	unsigned started = 1;

	for (; started < n; started++)
		if (pthread_create(&thread[started], NULL, thread_main, &jobs[started]))
			break;
	if (started < n)
		pp_store_rlx(&jobs->shared->stop, 1u); /* hint; the coordinator misses them and says so */
	pp_bench_work(&jobs[0]);
	for (unsigned i = 1; i < started; i++)
		pthread_join(thread[i], NULL);
}

static void child_main(struct team *t, unsigned first, unsigned n)
{
	static struct pp_bench_job jobs[PP_BENCH_WORKERS];
	struct pp_bench_worker *out = &t->shared->worker[first];
	ppdb *db = NULL;
	int rc = attach(t, &db);

	for (unsigned i = 0; i < n; i++)
		jobs[i] = (struct pp_bench_job){.b = t->b, .w = t->w, .shared = t->shared, .db = db, .index = first + i, .workers = t->workers,
			.writer = t->w->writer && first + i == t->workers - 1};
	if (!rc) {
		run_threads(jobs, n);
		rc = out->failed ? 0 : ppdb_sync(db, 120 * (int64_t)PP_NS_PER_SEC);
		ppdb_detach(db);
	}
	if (rc) {
		out->failed = rc;
		snprintf(out->message, sizeof(out->message), "%s", *ppdb_errdetail() ? ppdb_errdetail() : ppdb_strerror(rc));
		pp_store_rlx(&t->shared->stop, 1u); /* hint */
	}
	_exit(0);
}

static int fork_child(struct team *t, unsigned first, unsigned n)
{
	pid_t parent = getpid(), pid = fork();

	if (pid < 0)
		return pp_cmd_fail(t->b->c, -errno, "fork");
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		signal(SIGINT, SIG_IGN);
		signal(SIGTERM, SIG_DFL);
		signal(SIGHUP, SIG_DFL);
		if (getppid() != parent)
			_exit(1);
		child_main(t, first, n);
	}
	t->pid[t->processes++] = pid;
	t->running++;
	return 0;
}

/* ---- the coordinator ---- */

static uint64_t total_done(const struct team *t)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < t->workers; i++)
		sum += pp_load_rlx(&t->shared->worker[i].done); /* stat */
	return sum;
}

static void show(struct team *t)
{
	uint64_t now = pp_clock_ns(), done = total_done(t), start = pp_load_rlx(&t->shared->start_ns); /* stat */
	double seconds = (double)(now - t->shown_ns) / 1e9, limit = pp_bench_seconds(t->b, t->w), part = -1;

	if (!t->b->progress || now - t->shown_ns < SHOW_NS)
		return;
	if (t->w->walk != PP_BENCH_ANY)
		part = (double)done / (double)t->b->keys;
	else if (limit > 0)
		part = (double)(now - start) / 1e9 / (limit + t->b->warmup);
	else if (t->b->ops)
		part = (double)done / (double)t->b->ops;
	if (t->shown_ns && part >= 0)
		fprintf(stderr, "\r%-22s %3.0f %%  %12.0f operations/s ", t->w->name, part < 1 ? part * 100 : 100,
			(double)(done - t->shown_done) / seconds);
	t->shown_ns = now;
	t->shown_done = done;
}

static void stop_all(struct team *t)
{
	pp_store_rlx(&t->shared->stop, 1u); /* hint */
}

/* Collects children that have ended. */
static void reap(struct team *t)
{
	for (unsigned i = 0; i < t->processes; i++) {
		int status = 0;

		if (t->pid[i] <= 0 || waitpid(t->pid[i], &status, WNOHANG) != t->pid[i])
			continue;
		if (!WIFEXITED(status) || WEXITSTATUS(status)) {
			pp_cmd_note(t->b->c, "worker process %d was ended by signal %d", (int)t->pid[i], WIFSIGNALED(status) ? WTERMSIG(status) : 0);
			t->rc = PP_EXIT_ERROR;
			stop_all(t);
		}
		t->pid[i] = 0;
		t->running--;
	}
}

static void pause_a_little(void)
{
	struct timespec t = pp_timespec(POLL_NS);

	nanosleep(&t, NULL);
}

static bool all_ready(const struct team *t)
{
	return pp_load_acq(&t->shared->ready) == t->workers; /* [bench.start:ready] pairs [bench.meet:ready]: what the workers have prepared */
}

static void start(struct team *t)
{
	uint64_t limit = pp_clock_ns() + READY_NS;

	while (t->running && !all_ready(t) && !pp_load_rlx(&t->shared->stop) && !pp_bench_interrupted && pp_clock_ns() < limit) { /* hint */
		reap(t);
		pause_a_little();
	}
	if (!all_ready(t)) {
		stop_all(t);
		return;
	}
	pp_store_rlx(&t->shared->start_ns, pp_clock_ns() + 2 * PP_NS_PER_MS);
	pp_store_rel(&t->shared->go, 1u); /* [bench.start:go] pairs [bench.meet:go]: the moment of the start */
}

/* The readers of readwhilewriting have done what they had to; the writer goes on until it is told. */
static bool writer_is_left(const struct team *t)
{
	return t->w->writer && t->running == 1 && t->pid[t->processes - 1];
}

static void watch(struct team *t)
{
	while (t->running) {
		reap(t);
		show(t);
		if (pp_bench_interrupted || writer_is_left(t))
			stop_all(t);
		pause_a_little();
	}
	if (t->b->progress && t->shown_ns)
		fprintf(stderr, "\r%60s\r", "");
}

static void add_up(struct team *t, struct pp_bench_result *out)
{
	struct pp_bench_count *sum = &out->sum;
	uint64_t pieces = UINT64_MAX;

	sum->begin_ns = UINT64_MAX;
	for (unsigned i = 0; i < t->workers; i++) {
		const struct pp_bench_worker *w = &t->shared->worker[i];
		const struct pp_bench_count *c = &w->count;

		for (unsigned op = 0; op < PP_BENCH_OPS; op++) {
			sum->ops[op] += c->ops[op];
			pp_latency_merge(&sum->latency[op], &c->latency[op]);
		}
		sum->all += c->all;
		sum->missing += c->missing;
		sum->conflicts += c->conflicts;
		sum->overloads += c->overloads;
		sum->wrong += c->wrong;
		sum->entries += c->entries;
		sum->behind += c->behind;
		sum->cpu_ns += c->cpu_ns;
		if (c->begin_ns && c->begin_ns < sum->begin_ns)
			sum->begin_ns = c->begin_ns;
		if (c->end_ns > sum->end_ns)
			sum->end_ns = c->end_ns;
		if (w->pieces < pieces)
			pieces = w->pieces;
	}
	out->walked = t->w->walk != PP_BENCH_ANY ? pieces * t->workers : 0;
	out->seconds = sum->begin_ns < sum->end_ns ? (double)(sum->end_ns - sum->begin_ns) / 1e9 : 0;
	out->interrupted = pp_bench_interrupted;
	out->rate = t->b->rate;
	out->workers = t->workers;
	out->w = t->w;
}

static int first_failure(struct team *t)
{
	for (unsigned i = 0; i < t->workers && !t->rc; i++)
		if (t->shared->worker[i].failed) {
			pp_cmd_note(t->b->c, "%s: %s", t->w->name, t->shared->worker[i].message);
			t->rc = t->shared->worker[i].failed == PPDB_DAEMON_GONE ? PP_EXIT_NO_DAEMON : PP_EXIT_ERROR;
		}
	return t->rc;
}

static int start_children(struct team *t)
{
	unsigned threads = (unsigned)t->b->threads;
	int rc = 0;

	for (unsigned p = 0; p < t->b->processes && !rc; p++)
		rc = fork_child(t, p * threads, threads);
	if (t->w->writer && !rc)
		rc = fork_child(t, t->workers - 1, 1);
	return rc;
}

static void make_zipf(struct pp_bench *b, const struct pp_bench_workload *w)
{
	int draw = b->draw >= 0 ? b->draw : (int)w->draw;

	if ((draw == PP_BENCH_ZIPFIAN || draw == PP_BENCH_LATEST) && b->zipf.items != b->keys)
		pp_zipf_init(&b->zipf, b->keys, b->theta);
}

int pp_bench_run(struct pp_bench *b, const struct pp_bench_workload *w, struct pp_bench_result *out)
{
	struct team t = {.b = b, .w = w};
	int rc;

	memset(out, 0, sizeof(*out));
	t.workers = (unsigned)(b->processes * b->threads) + w->writer;
	t.shared_bytes = sizeof(*t.shared) + t.workers * sizeof(t.shared->worker[0]);
	t.shared = mmap(NULL, t.shared_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (t.shared == MAP_FAILED)
		return pp_cmd_fail(b->c, -errno, "mmap");
	pp_store_rlx(&t.shared->inserted, b->inserted); /* nobody else yet */
	make_zipf(b, w);
	fflush(NULL); /* children must not print it again */
	rc = start_children(&t);
	if (rc)
		stop_all(&t);
	else
		start(&t);
	watch(&t);
	if (!rc)
		rc = first_failure(&t);
	if (!rc && !pp_bench_interrupted && pp_load_rlx(&t.shared->ready) != t.workers) { /* all have ended */
		pp_cmd_note(b->c, "%s: only some of %u workers could be started", w->name, t.workers);
		rc = PP_EXIT_ERROR;
	}
	add_up(&t, out);
	b->inserted = pp_load_rlx(&t.shared->inserted); /* all have ended */
	munmap(t.shared, t.shared_bytes);
	return rc;
}
