/*
 * cmd_bench_work.c - one worker of `ppdb bench`: when its operations start, and what is timed.
 *
 * Closed loop: an operation starts when the one before has ended; two readings of the clock around it, less what a reading costs. A store
 * that stalls then slows the load down, too, and few operations see the stall. Open loop (--rate): operation i is due at a fixed moment,
 * whatever became of those before, and its latency counts from that moment: no omission of what would have come meanwhile (Tene's
 * "coordinated omission"; so do wrk2 and YCSB with a target). A worker sleeps until shortly before, then spins. What is due and not begun
 * when the time is over is reported.
 *
 * Dies inside: see cmd_bench_team.c.
 */
#include "tools/cmd_bench.h"

#include <sys/prctl.h>
#include <time.h>

#define SPIN_NS UINT64_C(20000)
#define REFRESH_EACH 1024u
#define LONG_WAIT_NS UINT64_C(1000000)

/* One run of a worker. */
struct run {
	struct pp_bench_state s;
	struct pp_bench_worker *out;
	uint64_t start, from, until;   /* the workers' common start, end of the warm-up, end; ns */
	uint64_t cost, begun;          /* operations begun, for the schedule */
	uint64_t cpu;                  /* this thread's time when it began to count */
	double interval;               /* ns between two of this worker; 0 = closed loop */
	unsigned sample;
	bool warming;
};

static bool stopped(const struct pp_bench_job *job)
{
	return pp_load_rlx(&job->shared->stop); /* hint */
}

static void sleep_until(uint64_t ns)
{
	struct timespec t = {(time_t)(ns / PP_NS_PER_SEC), (long)(ns % PP_NS_PER_SEC)};

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

/* The moment at which the next operation is due; when it has come, or the run is to end. */
static uint64_t wait_due(struct run *r)
{
	struct pp_bench_job *job = r->s.job;
	double share = (double)job->index / (double)job->workers; /* workers take turns */
	uint64_t due = r->start + (uint64_t)(((double)r->begun++ + share) * r->interval), now;

	if (due >= r->until)
		return r->until;
	while ((now = pp_clock_ns()) < due && !stopped(job)) {
		if (due - now > LONG_WAIT_NS && r->s.reads && pp_bench_refresh(&r->s))
			break;
		if (due - now > SPIN_NS)
			sleep_until(due - SPIN_NS < now + 100 * PP_NS_PER_MS ? due - SPIN_NS : now + 100 * PP_NS_PER_MS);
		else
			pp_pause();
	}
	return due;
}

static uint64_t thread_cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * PP_NS_PER_SEC + (uint64_t)t.tv_nsec;
}

/* From here on everything counts. */
static void end_warm_up(struct run *r)
{
	r->cpu = thread_cpu_ns();
	memset(r->s.count, 0, sizeof(*r->s.count));
	r->s.count->begin_ns = r->from > r->start ? pp_clock_ns() : r->start;
	r->warming = false;
}

static void record(struct run *r, enum pp_bench_op op, uint64_t begin, uint64_t end)
{
	uint64_t took = end > begin ? end - begin : 0;

	if (!(r->interval > 0))
		took = took > r->cost ? took - r->cost : 0;
	pp_latency_add(&r->s.count->latency[op], took);
}

/* One operation; 0, 1 when there is nothing more to do, or an error. */
static int one(struct run *r, bool timed)
{
	uint64_t begin = 0, end;
	enum pp_bench_op op;
	int served;

	if (++r->s.reads >= REFRESH_EACH && (served = pp_bench_refresh(&r->s)) < 0)
		return served;
	if (!pp_bench_choose(&r->s, &op))
		return 1;
	if (r->interval > 0)
		begin = wait_due(r);
	else if (timed)
		begin = pp_clock_ns();
	if (r->interval > 0 && (begin >= r->until || stopped(r->s.job)))
		return 1;
	served = pp_bench_do(&r->s, op);
	if (served < 0)
		return served;
	if (timed) {
		end = pp_clock_ns();
		record(r, op, begin, end);
		if (r->warming && end >= r->from)
			end_warm_up(r);
		if (end >= r->until)
			r->s.budget = 0;
	}
	r->s.count->ops[op] += (uint64_t)served;
	r->s.count->all += (uint64_t)served;
	pp_stat_add(&r->out->done, (uint64_t)served);
	if (!r->warming && r->s.budget != UINT64_MAX)
		r->s.budget -= r->s.budget < (uint64_t)served ? r->s.budget : (uint64_t)served;
	return r->s.budget ? 0 : 1;
}

static int loop(struct run *r)
{
	unsigned tick = 0;
	int rc = 0;

	while (!rc && !stopped(r->s.job)) {
		rc = one(r, tick == 0);
		tick = tick + 1 < r->sample ? tick + 1 : 0;
	}
	return rc < 0 ? rc : 0;
}

/* Operations that were due and have not begun. */
static uint64_t behind(const struct run *r)
{
	uint64_t end = r->s.count->end_ns < r->until ? r->s.count->end_ns : r->until, due;

	if (!(r->interval > 0) || end <= r->start || r->s.job->b->ops)
		return 0;
	due = (uint64_t)((double)(end - r->start) / r->interval);
	return due > r->begun ? due - r->begun : 0;
}

static uint64_t share_of(uint64_t total, const struct pp_bench_job *job)
{
	unsigned workers = job->workers - job->w->writer;

	return total / workers + (job->index < total % workers);
}

/* All workers start at the same moment, which the coordinator sets when all are ready. */
static void meet(struct run *r, struct pp_bench_job *job)
{
	pp_add_acqrel(&job->shared->ready, 1); /* [bench.meet:ready] pairs [bench.start:ready]: what this worker has prepared */
	while (!pp_load_acq(&job->shared->go) && !stopped(job)) /* [bench.meet:go] pairs [bench.start:go]: the moment of the start */
		sleep_until(pp_clock_ns() + 200000);
	r->start = pp_load_rlx(&job->shared->start_ns);
	sleep_until(r->start);
}

static void set_times(struct run *r)
{
	struct pp_bench *b = r->s.job->b;
	bool once = r->s.job->w->walk != PP_BENCH_ANY;
	double seconds = pp_bench_seconds(b, r->s.job->w);

	r->from = r->start + (once ? 0 : (uint64_t)(b->warmup * 1e9));
	r->until = seconds > 0 ? r->from + (uint64_t)(seconds * 1e9) : UINT64_MAX;
	r->warming = r->from > r->start;
	if (b->rate > 0)
		r->interval = 1e9 * r->s.job->workers / b->rate;
	if (b->ops && !r->s.job->writer)
		r->s.budget = share_of(b->ops, r->s.job);
	if (!r->warming)
		end_warm_up(r);
}

static void fail(struct run *r, int rc)
{
	r->out->failed = rc;
	snprintf(r->out->message, sizeof(r->out->message), "%s", *ppdb_errdetail() ? ppdb_errdetail() : ppdb_strerror(rc));
	pp_store_rlx(&r->s.job->shared->stop, 1u); /* hint */
}

void pp_bench_work(struct pp_bench_job *job)
{
	struct run r = {.out = &job->shared->worker[job->index], .sample = 1};
	int rc = pp_bench_begin(&r.s, job);

	prctl(PR_SET_TIMERSLACK, 1);
	r.cost = pp_clock_cost_ns();
	if (job->w->sample)
		r.sample = job->w->sample;
	if (job->b->sample)
		r.sample = (unsigned)job->b->sample;
	if (job->b->rate > 0)
		r.sample = 1;
	meet(&r, job);
	if (!rc)
		set_times(&r);
	if (!rc)
		rc = loop(&r);
	r.s.count->end_ns = pp_clock_ns();
	r.s.count->cpu_ns = thread_cpu_ns() - r.cpu;
	r.s.count->behind = behind(&r);
	r.out->pieces = r.s.walked;
	if (rc)
		fail(&r, rc);
	pp_bench_end(&r.s);
}
