/*
 * daemon_work.c - the threads that work: one opens the store and commits, one keeps house, one writes checkpoints, one
 * makes log segments.
 *
 * The step thread owns pp_keeper_step and pp_keeper_close, which it calls when the helpers are joined. Words in struct
 * pp_work and an eventfd tell the main thread what changed. On a machine with several nodes the step thread is pinned to the node
 * that the daemon started on: the words that it writes all the time stay near it.
 *
 * The daemon may be killed at any point of this; the next one adopts the region.
 */
#include "tools/daemon.h"

#include "shm/numa.h"
#include "shm/wait.h"

#include <sys/eventfd.h>

#define STEP_SLEEP_NS (100 * PP_NS_PER_MS)
#define FAILED_NAP_NS (50 * PP_NS_PER_MS)
#define BUSY_NAP_NS PP_NS_PER_MS
#define MAKER_NAP_NS (5 * PP_NS_PER_MS)
#define SCRIBE_NAP_NS (100 * PP_NS_PER_MS)

static void tell_main(struct pp_work *w)
{
	eventfd_write(w->event, 1);
}

static bool stopping(struct pp_work *w)
{
	return pp_load_acq(&w->stop);
}

/* Sleeps, but not longer than until pp_work_stop, and for the scribe a wanted checkpoint. */
static void nap(struct pp_work *w, uint64_t ns, bool scribe)
{
	struct timespec until = pp_timespec(pp_deadline_ns(ns));

	pthread_mutex_lock(&w->nap_lock);
	if (!stopping(w) && !(scribe && pp_load_acq(&w->checkpoint_wanted)))
		pthread_cond_timedwait(&w->nap, &w->nap_lock, &until);
	pthread_mutex_unlock(&w->nap_lock);
}

static void wake_nappers(struct pp_work *w)
{
	pthread_mutex_lock(&w->nap_lock);
	pthread_cond_broadcast(&w->nap);
	pthread_mutex_unlock(&w->nap_lock);
}

/* ---- house */

static void serve_checkpoint(struct pp_work *w)
{
	int rc = pp_keeper_checkpoint(w->keeper);

	pthread_mutex_lock(&w->text_lock);
	w->checkpoint_rc = rc;
	snprintf(w->checkpoint_text, sizeof(w->checkpoint_text), "%s", rc ? pp_detail_get() : "");
	pthread_mutex_unlock(&w->text_lock);
	pp_store_rel(&w->checkpoint_wanted, 0);
	pp_store_rel(&w->checkpoint_done, 1);
	tell_main(w);
}

static void *house_main(void *arg)
{
	struct pp_work *w = arg;
	int last = 0;

	pthread_setname_np(pthread_self(), "ppdbd-house");
	while (!stopping(w)) {
		int rc = pp_keeper_house(w->keeper);

		if (rc < 0 && rc != last)
			pp_log("housekeeping: %s (%s)", pp_detail_get(), pp_error_name(rc));
		last = rc < 0 ? rc : last;
		if (rc <= 0)
			nap(w, rc < 0 || !pp_keeper_busy(w->keeper) ? w->house_ns : BUSY_NAP_NS, false);
	}
	return NULL;
}

/* ---- maker */

static void *maker_main(void *arg)
{
	struct pp_work *w = arg;

	pthread_setname_np(pthread_self(), "ppdbd-maker");
	while (!stopping(w)) {
		int rc = pp_keeper_prepare(w->keeper);

		if (rc <= 0)
			nap(w, rc < 0 || !pp_keeper_busy(w->keeper) ? FAILED_NAP_NS : MAKER_NAP_NS, false);
	}
	return NULL;
}

/* ---- scribe */

static void *scribe_main(void *arg)
{
	struct pp_work *w = arg;

	pthread_setname_np(pthread_self(), "ppdbd-scribe");
	while (!stopping(w)) {
		if (pp_load_acq(&w->checkpoint_wanted)) {
			serve_checkpoint(w);
		} else if (pp_keeper_checkpoint_due(w->keeper)) {
			int rc = pp_keeper_checkpoint(w->keeper);

			if (rc && !stopping(w)) {
				pp_log("checkpoint: %s (%s)", pp_detail_get(), pp_error_name(rc));
				nap(w, FAILED_NAP_NS, true);
			}
		} else {
			nap(w, SCRIBE_NAP_NS, true);
		}
	}
	return NULL;
}

/* ---- step */

static void progress(void *ctx, const char *what, uint64_t done, uint64_t total)
{
	struct pp_work *w = ctx;

	pthread_mutex_lock(&w->text_lock);
	if (total)
		snprintf(w->progress, sizeof(w->progress), "%s %u %%", what, (unsigned)(done * 100.0 / (double)total));
	else
		snprintf(w->progress, sizeof(w->progress), "%s", what);
	pthread_mutex_unlock(&w->text_lock);
}

static void say(void *ctx, const char *sentence)
{
	(void)ctx;
	pp_log("%s", sentence);
}

static void durable(void *ctx, uint64_t epoch, int failed)
{
	struct pp_work *w = ctx;

	pp_bell_ring_all(&w->bells, epoch, failed != 0);
}

static void join_helpers(struct pp_work *w)
{
	wake_nappers(w);
	for (unsigned i = 0; i < w->helpers; i++)
		pthread_join(w->helper[i], NULL);
	w->helpers = 0;
}

static int start_helpers(struct pp_work *w)
{
	static void *(*const mains[PP_WORK_HELPERS])(void *) = { house_main, scribe_main, maker_main };
	int rc = 0;

	while (!rc && w->helpers < PP_WORK_HELPERS) {
		rc = -pthread_create(&w->helper[w->helpers], NULL, mains[w->helpers], w);
		w->helpers += !rc;
	}
	if (!rc)
		return 0;
	pp_store_rel(&w->stop, 1);
	join_helpers(w);
	return pp_detail(rc, "no thread for housekeeping: %s", strerror(-rc));
}

static bool open_store(struct pp_work *w)
{
	int rc;

	w->config.progress = progress;
	w->config.say = say;
	w->config.durable = durable;
	w->config.ctx = w;
	rc = pp_keeper_open(&w->config, &w->keeper);
	if (!rc)
		rc = start_helpers(w);
	if (rc) {
		const char *text = pp_detail_get();

		pthread_mutex_lock(&w->text_lock);
		snprintf(w->problem, sizeof(w->problem), "%s", text[0] ? text : pp_error_text(rc));
		pthread_mutex_unlock(&w->text_lock);
	}
	/* [work.open:phase] pairs [daemon.region:phase]: the keeper is open, or the problem is written */
	pp_store_rel(&w->phase, rc ? PP_WORK_FAILED : PP_WORK_RUNNING);
	tell_main(w);
	return !rc;
}

static void log_failed(struct pp_work *w, int rc)
{
	if (!pp_load_rlx(&w->log_error)) { /* owner: the step thread alone writes it */
		pp_log("the log failed, writing ends until ppdbd is restarted: %s (%s)", pp_detail_get(), pp_error_name(rc));
		pp_store_rel(&w->log_error, (uint32_t)-rc);
		tell_main(w);
	}
	nap(w, FAILED_NAP_NS, false);
}

/* In this thread: the log's ring takes orders only from the one that wrote. */
static void close_store(struct pp_work *w)
{
	int rc;

	join_helpers(w);
	rc = pp_keeper_close(w->keeper, w->checkpoint_on_stop);
	w->close_rc = rc;
	if (rc)
		pp_log("stop: %s (%s)", pp_detail_get(), pp_error_name(rc));
}

static void *step_main(void *arg)
{
	struct pp_work *w = arg;

	pthread_setname_np(pthread_self(), "ppdbd-step");
	if (w->pin && pp_numa_nodes() > 1)
		pp_numa_pin(pp_numa_here());
	if (!open_store(w))
		return NULL;
	while (!stopping(w)) {
		int rc = pp_keeper_step(w->keeper);

		if (rc < 0)
			log_failed(w, rc);
		else if (rc == 0)
			pp_keeper_sleep(w->keeper, STEP_SLEEP_NS);
	}
	close_store(w);
	return NULL;
}

/* ---- start and stop */

int pp_work_start(struct pp_work *w)
{
	pthread_condattr_t attr;
	int rc;

	w->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->event < 0)
		return pp_detail(-errno, "no eventfd: %s", strerror(errno));
	pthread_mutex_init(&w->text_lock, NULL);
	pthread_mutex_init(&w->nap_lock, NULL);
	pthread_mutex_init(&w->bells.lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&w->nap, &attr);
	pthread_condattr_destroy(&attr);
	rc = -pthread_create(&w->step, NULL, step_main, w);
	if (rc)
		return pp_detail(rc, "no thread: %s", strerror(-rc));
	w->step_started = true;
	return 0;
}

void pp_work_stop(struct pp_work *w)
{
	if (!w->step_started)
		return;
	pp_store_rel(&w->stop, 1);
	if (pp_load_acq(&w->phase) == PP_WORK_RUNNING)
		pp_keeper_stop(w->keeper);
	wake_nappers(w);
	if (pp_load_acq(&w->phase) == PP_WORK_RUNNING)
		pp_ring_bell(pp_keeper_region(w->keeper));
	pthread_join(w->step, NULL);
	w->step_started = false;
}

void pp_work_checkpoint(struct pp_work *w)
{
	pp_store_rel(&w->checkpoint_wanted, 1);
	wake_nappers(w);
}

void pp_work_close_epoch(struct pp_work *w)
{
	struct pp_region *r = pp_keeper_region(w->keeper);

	pp_store_seq(&r->globals->snapshot_request, 1);
	pp_ring_bell(r);
}
