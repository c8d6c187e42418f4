/*
 * wait.c - waiting across processes: learned spinning, then a futex, always bounded.
 *
 * Durability. Waiter: slot.wait_epoch = e (seq), then read durable_epoch, then FUTEX_WAIT(durable_futex) with bit (e mod 32). Daemon:
 * durable_epoch, then durable_futex (seq), then read all wait_epochs. By the total order of these either the daemon sees the waiter or
 * the waiter sees the epoch; a waiter between its look and its sleep is caught by the futex's compare. Woken are only those
 * whose bit belongs to an epoch that somebody waits for and that is durable; others with the same bit look and sleep again.
 *
 * Bell. Client: publish (seq), then read doorbell. Daemon: doorbell = 1 (seq), fence, then look for work. Same argument. The
 * client that swaps 1 to 0 does the one wake (tests/model/wait.pml).
 *
 * Spinning pays when the wait is shorter than a wake-up (25-50 us) would add, and costs when the cpu was needed to finish what we
 * wait for. So: only while the average wait fits the budget (header.spin_ns), only if no more threads want to run than there are
 * cores, and after a spin in vain the next 1, 2, 4 ... 64 waits do not spin at all. A failed spin is never repeated in one wait.
 *
 * Dead daemon: after each sleep that nobody ended the waiter looks whether the daemon lives. Read-only clients have their slot
 * where the daemon does not look, so they sleep in short naps. A waiter that dies leaves a stale wait_epoch, nothing else.
 */
#include "shm/wait.h"

#include "shm/clock.h"
#include "shm/fault.h"
#include "shm/live.h"
#include "shm/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define READONLY_NAP_NS (2 * PP_NS_PER_MS)
#define STALE_HEARTBEAT_NS (500 * PP_NS_PER_MS) /* a daemon that beat later than this is alive, whatever /proc says */
#define LOAD_CACHE_NS (100 * PP_NS_PER_MS)
#define MAX_PENALTY 64
#define SPINS_PER_LOOK 8 /* some 200 ns between looks at the clock and the other processes' line */

int pp_futex_wait(pp_a32 *word, uint32_t value, uint32_t bits, uint64_t timeout_ns)
{
	/* FUTEX_WAIT_BITSET takes an absolute time of CLOCK_MONOTONIC */
	uint64_t deadline = pp_deadline_ns(timeout_ns);
	struct timespec at = pp_timespec(deadline);

	if (!syscall(SYS_futex, word, FUTEX_WAIT_BITSET, value, deadline == UINT64_MAX ? NULL : &at, NULL, bits))
		return 0;
	return errno == EAGAIN ? 0 : -errno;
}

int pp_futex_wake(pp_a32 *word, int count, uint32_t bits)
{
	long woken = syscall(SYS_futex, word, FUTEX_WAKE_BITSET, count, NULL, NULL, bits);

	return woken < 0 ? -errno : (int)woken;
}

/* ---- the daemon's life ------------------------------------------------------------------------------------------- */

bool pp_daemon_gone(struct pp_region *r)
{
	uint32_t pid = pp_load_acq(&r->header->daemon_pid);
	uint64_t beat;

	if (pp_load_acq(&r->header->daemon_state) == PP_DAEMON_STOPPED)
		return true;
	if (!pid || pp_proc_alive((pid_t)pid, pp_load_acq(&r->header->daemon_start)))
		return false;
	/* its pid may mean nothing in our pid namespace, or a new daemon is just writing its own */
	beat = pp_load_rlx(&r->header->heartbeat_ns); /* hint */
	return pp_now_ns() > beat + STALE_HEARTBEAT_NS && pp_load_acq(&r->header->daemon_pid) == pid;
}

/* ---- learned spinning -------------------------------------------------------------------------------------------- */

/* Threads that want to run, from the fourth field of /proc/loadavg ("2/345"); 0 if unknown. */
static uint32_t read_runnable(void)
{
	char text[64] = "";
	int fd = open("/proc/loadavg", O_RDONLY | O_CLOEXEC);
	const char *p = text;

	if (fd < 0)
		return 0;
	if (read(fd, text, sizeof(text) - 1) < 0)
		text[0] = '\0';
	close(fd);
	for (int field = 0; field < 3 && p; field++) {
		p = strchr(p, ' ');
		if (p)
			p++;
	}
	return p ? (uint32_t)strtoul(p, NULL, 10) : 0;
}

/* One look each 100 ms for the whole process: it takes some 10 us. */
static bool crowded(uint64_t now)
{
	static pp_a64 looked_at;
	static pp_a32 verdict;
	uint64_t last = pp_load_rlx(&looked_at); /* hint */

	if (now - last > LOAD_CACHE_NS && pp_cas_rlx(&looked_at, &last, now)) {
		long cores = sysconf(_SC_NPROCESSORS_ONLN);

		pp_store_rlx(&verdict, cores > 0 && read_runnable() > (uint32_t)cores); /* hint */
	}
	return pp_load_rlx(&verdict); /* hint */
}

uint64_t pp_spin_budget(struct pp_thread *t)
{
	uint64_t cap = t->region->fixed.spin_ns;

	if (!cap || t->spin.mean_ns > cap || crowded(pp_now_ns()))
		return 0;
	/* twice the average catches most of the waits and gives up soon on the others */
	return t->spin.mean_ns && 2 * t->spin.mean_ns < cap ? 2 * t->spin.mean_ns : cap;
}

static void learn_wait(struct pp_spin *spin, uint64_t waited_ns)
{
	spin->mean_ns = spin->mean_ns ? spin->mean_ns - spin->mean_ns / 8 + waited_ns / 8 : waited_ns;
}

static void learn_spin(struct pp_spin *spin, bool paid)
{
	if (paid) {
		spin->penalty = 0;
		return;
	}
	spin->penalty = !spin->penalty ? 1 : spin->penalty < MAX_PENALTY ? 2 * spin->penalty : MAX_PENALTY;
	spin->skip = spin->penalty;
}

/* ---- waiting for durability -------------------------------------------------------------------------------------- */

static bool durable(struct pp_region *r, uint64_t epoch)
{
	/* [wait.durable:epoch] pairs [settle.durable:epoch]: the log holds everything up to it */
	return pp_load_acq(&r->globals->durable_epoch) >= epoch;
}

static bool spin_durable(struct pp_thread *t, uint64_t epoch, uint64_t start, uint64_t deadline)
{
	uint64_t budget, end;
	bool paid = false;

	if (t->spin.skip) {
		t->spin.skip--;
		return false;
	}
	budget = pp_spin_budget(t);
	if (!budget)
		return false;
	end = start + budget < deadline ? start + budget : deadline;
	do {
		for (unsigned i = 0; i < SPINS_PER_LOOK; i++)
			pp_pause();
		paid = durable(t->region, epoch);
	} while (!paid && pp_now_ns() < end);
	learn_spin(&t->spin, paid);
	return paid;
}

/* One bounded sleep; -ETIMEDOUT if nobody woke us. */
static int nap_durable(struct pp_thread *t, uint64_t epoch, uint64_t left_ns)
{
	struct pp_globals *g = t->region->globals;
	uint64_t longest = t->readonly ? READONLY_NAP_NS : PP_SLEEP_MAX_NS;
	uint32_t seen = pp_load_seq(&g->durable_futex);

	/* [wait.nap:epoch] pairs [wait.wake:epoch]: read after wait_epoch was published, so one of the two sees the other */
	if (pp_load_seq(&g->durable_epoch) >= epoch || pp_load_seq(&g->failed))
		return 0;
	PP_FAULT_POINT("wait.durable.sleep");
	return pp_futex_wait(&g->durable_futex, seen, 1u << (epoch & 31), left_ns < longest ? left_ns : longest);
}

static int sleep_durable(struct pp_thread *t, uint64_t epoch, uint64_t deadline)
{
	struct pp_region *r = t->region;
	int rc = 0;

	/* [wait.sleep:slot] pairs [wait.wake:slot]: the daemon sees whom it must wake */
	pp_store_seq(&t->slot->wait_epoch, epoch);
	while (!durable(r, epoch)) {
		int32_t failed = (int32_t)pp_load_acq(&r->globals->failed);
		uint64_t now = pp_now_ns();

		if (failed)
			rc = failed;
		else if (now >= deadline)
			rc = PPDB_TIMEOUT;
		else if (nap_durable(t, epoch, deadline - now) == -ETIMEDOUT && pp_daemon_gone(r))
			rc = PPDB_DAEMON_GONE;
		if (rc)
			break;
	}
	pp_store_rel(&t->slot->wait_epoch, 0);
	return rc && durable(r, epoch) ? 0 : rc;
}

int pp_wait_durable(struct pp_thread *t, uint64_t epoch, uint64_t timeout_ns)
{
	uint64_t start, waited, deadline;
	int rc = 0;

	if (durable(t->region, epoch))
		return 0;
	start = pp_now_ns();
	deadline = timeout_ns > UINT64_MAX - start ? UINT64_MAX : start + timeout_ns;
	if (!spin_durable(t, epoch, start, deadline))
		rc = sleep_durable(t, epoch, deadline);
	waited = pp_now_ns() - start;
	if (!rc)
		learn_wait(&t->spin, waited);
	pp_count(&t->slot->count.waits, 1);
	pp_count(&t->slot->count.wait_ns, waited);
	return rc;
}

int pp_wake_durable(struct pp_region *r, uint64_t from, uint64_t to)
{
	uint64_t slots = pp_load_acq(&r->globals->slots_high);
	uint32_t bits = 0;

	(void)from;
	/* [wait.wake:epoch] pairs [wait.nap:epoch]: durable_epoch stands; a waiter that still saw the old one finds another futex value */
	pp_store_seq(&r->globals->durable_futex, (uint32_t)to);
	for (uint64_t i = 0; i < slots && i < r->fixed.slots; i++) {
		/* [wait.wake:slot] pairs [wait.sleep:slot]: whoever published before we stored the futex is seen */
		uint64_t epoch = pp_load_seq(&r->slots[i].wait_epoch);

		if (epoch && epoch <= to)
			bits |= 1u << (epoch & 31);
	}
	PPDB_PROBE(wake, to, bits);
	return bits ? pp_futex_wake(&r->globals->durable_futex, INT_MAX, bits) : 0;
}

void pp_wake_all(struct pp_region *r)
{
	/* a value that no epoch has yet: whoever is about to sleep looks again */
	pp_add_seq(&r->globals->durable_futex, UINT32_C(1) << 31);
	pp_futex_wake(&r->globals->durable_futex, INT_MAX, FUTEX_BITSET_MATCH_ANY);
}

/* ---- the bell ---------------------------------------------------------------------------------------------------- */

bool pp_ring_bell(struct pp_region *r)
{
	/* [wait.ring:work] pairs [wait.bell:work]: after the caller's seq publish; the daemon saw the work or we see it asleep */
	if (__builtin_expect(pp_load_seq(&r->globals->doorbell) == 0, 1))
		return false;
	if (!pp_swap_seq(&r->globals->doorbell, 0))
		return false;
	PP_FAULT_POINT("wait.ring.swapped");
	pp_futex_wake(&r->globals->doorbell, 1, FUTEX_BITSET_MATCH_ANY);
	return true;
}

int pp_bell_sleep(struct pp_region *r, bool (*work)(void *), void *context, uint64_t timeout_ns)
{
	pp_a32 *bell = &r->globals->doorbell;
	int rc = 0;

	/* [wait.bell:work] pairs [wait.ring:work]: what was published before a client saw 0 here is visible to work() */
	pp_store_seq(bell, 1);
	pp_fence_seq();
	if (!work(context))
		rc = pp_futex_wait(bell, 1, FUTEX_BITSET_MATCH_ANY, timeout_ns < PP_SLEEP_MAX_NS ? timeout_ns : PP_SLEEP_MAX_NS);
	pp_store_seq(bell, 0);
	return rc == -ETIMEDOUT ? rc : 0;
}
