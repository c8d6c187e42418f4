/*
 * perf_advice.c - the rules (see perf_advice.h). Each is a pure function of the figures: nothing is looked up, so that a recording is judged as the
 * live store was, and a test can make up any store.
 *
 * A rule speaks only of what cost something in the interval; the limits are where a person would begin to care.
 */
#include "tools/perf_advice.h"

#include "shm/errors.h"
#include "tools/text_number.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define FEW 100                        /* operations: below that nothing is said */

static bool say(char text[PP_ADVICE_TEXT], const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static bool say(char text[PP_ADVICE_TEXT], const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, PP_ADVICE_TEXT, fmt, ap);
	va_end(ap);
	return true;
}

static double part(double n, double of)
{
	return of > 0 ? n / of : 0;
}

static const char *ns(char out[PP_TEXT_NUMBER], double n)
{
	return pp_text_seconds(out, n / 1e9);
}

static unsigned writers(const struct pp_perf *p)
{
	unsigned n = 0;

	for (unsigned i = 0; i < p->clients; i++)
		n += p->client[i].total - p->client[i].ops[PP_OP_GET] - p->client[i].ops[PP_OP_SCAN] > 0;
	return n;
}

static uint64_t waits(const struct pp_perf *p)
{
	return p->op[PP_OP_WAIT].total;
}

/* The average part of a durable write that passes in `phase`, of all that a waiter sees. */
static double wait_part(const struct pp_perf *p, enum pp_perf_phase phase)
{
	double sum = 0;

	for (unsigned i = PP_PERF_QUEUE; i < PP_PERF_PHASES; i++)
		sum += pp_perf_mean(&p->phase[i]);
	return part(pp_perf_mean(&p->phase[phase]), sum);
}

/* ---- the daemon and its log ------------------------------------------------------------------------------------- */

static bool daemon_gone(const struct pp_perf *p, const struct pp_perf_pages *pages, char text[PP_ADVICE_TEXT])
{
	char a[PP_TEXT_NUMBER];

	(void)pages;
	if (!strcmp(p->state, "dead") || !strcmp(p->state, "ended"))
		return say(text, "There is no daemon: reads go on, writes until the log rings are full, and nothing becomes durable. Start it: ppdb start.");
	if (!strcmp(p->state, "stopped"))
		return say(text, "The daemon's process (pid %u) is stopped: nothing becomes durable. Let it go on: kill -CONT %u.", p->pid, p->pid);
	if (p->beat_seconds > 1)
		return say(text, "The daemon has not come round for %s: the machine is short of processor time, or the disk does not answer.",
			pp_text_seconds(a, p->beat_seconds));
	return false;
}

static bool log_broken(const struct pp_perf *p, const struct pp_perf_pages *pages, char text[PP_ADVICE_TEXT])
{
	(void)pages;
	if (p->log_error)
		return say(text, "The log could not be written (%s) and the store is read-only. Repair the disk, then restart ppdbd.",
			pp_error_text(p->log_error));
	if (p->disk_full)
		return say(text, "The disk of the log is full. Free space in the data directory.");
	return false;
}

static bool ring_full(const struct pp_perf *p, const struct pp_perf_pages *pages, char text[PP_ADVICE_TEXT])
{
	char a[PP_TEXT_NUMBER], b[PP_TEXT_NUMBER];
	double share = part((double)p->count.overload_ns / 1e9, p->seconds);

	(void)pages;
	if (p->count.overloads < 10 || pp_perf_writes(p) < FEW || share < 0.02)
		return false;
	return say(text, "Writes come faster than the disk takes them: %s times a write found its ring of %u entries or its log space full, and writers stood for "
		"%.2f s of each second, all added up. Bursts fit into a larger ring (--ring), which needs a cold start; steady load needs a faster disk or fewer bytes. Log: %s/s.",
		pp_text_count(a, (double)p->count.overloads), p->ring_entries, share, pp_text_bytes(b, pp_perf_rate(p, p->log_bytes)));
}

static bool device_bound(const struct pp_perf *p, const struct pp_perf_pages *pages, char text[PP_ADVICE_TEXT])
{
	double each = part((double)waits(p), (double)p->commit_records.total);
	char a[PP_TEXT_NUMBER], b[PP_TEXT_NUMBER];
	unsigned n = writers(p);

	(void)pages;
	if (waits(p) < FEW || p->commit_records.total < FEW || wait_part(p, PP_PERF_WRITE) < 0.5)
		return false;
	ns(a, pp_perf_mean(&p->phase[PP_PERF_WRITE]));
	ns(b, pp_perf_mean(&p->op[PP_OP_WAIT]));
	if (n == 1 && each < 1.5)
		return say(text, "The writer waits on the device: each write is a group commit of its own and takes %s, of which the disk takes %s. "
			"Write with PPDB_ASYNC and wait once for many (ppdb_sync, or ppdb_wait on the last ticket), or put what belongs together into a batch.", b, a);
	if (each < (double)n / 3)
		return say(text, "Writers wait on the device: %u clients share %.1f writes each commit, though one with all of theirs would take the disk as long (%s): they do not "
			"write at the same moment. Let each wait once for many writes (PPDB_ASYNC, then ppdb_sync), or put what belongs together into a batch.", n, each, a);
	return say(text, "Writers wait on the device: a durable write takes %s, of which the disk takes %s; %.1f writes share a commit. "
		"More threads that write at once, or batches, make commits larger at the same price.", b, a, each);
}

static bool queue_bound(const struct pp_perf *p, const struct pp_perf_pages *pages, char text[PP_ADVICE_TEXT])
{
	char a[PP_TEXT_NUMBER], b[PP_TEXT_NUMBER];

	(void)pages;
	if (waits(p) < FEW || wait_part(p, PP_PERF_QUEUE) < 0.4)
		return false;
	return say(text, "Writers wait for a group commit to begin: %s, beside %s on the disk. Earlier commits hold all places at the device: raise wal-depth "
		"and see whether the write phase stays as short; if the daemon has no processor of its own, give it one.",
		ns(a, pp_perf_mean(&p->phase[PP_PERF_QUEUE])), ns(b, pp_perf_mean(&p->phase[PP_PERF_WRITE])));
}

static bool settle_bound(const struct pp_perf *p, const struct pp_perf_pages *pages, char text[PP_ADVICE_TEXT])
{
	char a[PP_TEXT_NUMBER], b[PP_TEXT_NUMBER], c[PP_TEXT_NUMBER];

	(void)pages;
	if (waits(p) < FEW || wait_part(p, PP_PERF_SETTLE) < 0.4)
		return false;
	return say(text, "Collecting the records of a group commit takes %s, longer than it should beside %s on the disk: the daemon's thread competes for its "
		"processor, or values are large (a commit has %s on average).", ns(a, pp_perf_mean(&p->phase[PP_PERF_SETTLE])),
		ns(b, pp_perf_mean(&p->phase[PP_PERF_WRITE])), pp_text_bytes(c, pp_perf_mean(&p->commit_bytes)));
}

static bool slow_wake(const struct pp_perf *p, const struct pp_perf_pages *pages, char text[PP_ADVICE_TEXT])
{
	char a[PP_TEXT_NUMBER];

	(void)pages;
	if (waits(p) < FEW || wait_part(p, PP_PERF_WAKE) < 0.4)
		return false;
	return say(text, "Being woken takes most of a durable write (%s after it is on disk): more threads want to run than there are processors. Let fewer threads wait for "
		"more writes each, or wait for many through one descriptor (ppdb_cq).", ns(a, pp_perf_mean(&p->phase[PP_PERF_WAKE])));
}

static bool device_hiccups(const struct pp_perf *p, const struct pp_perf_pages *pages, char text[PP_ADVICE_TEXT])
{
	const struct pp_hist *h = &p->phase[PP_PERF_WRITE];
	uint64_t p50 = pp_hist_percentile_ns(h, 0.5), p99 = pp_hist_percentile_ns(h, 0.99);
	char a[PP_TEXT_NUMBER], b[PP_TEXT_NUMBER];

	(void)pages;
	if (h->total < FEW || p99 < 5000000 || p99 < 10 * p50)
		return false;
	return say(text, "The log device has hiccups: half of its writes take %s, one in a hundred %s or more. Look for other programs on the same disk, and try another "
		"--wal-backend (%s is used now).", ns(a, (double)p50), ns(b, (double)p99), p->backend);
}

static bool segment_stalls(const struct pp_perf *p, const struct pp_perf_pages *pages, char text[PP_ADVICE_TEXT])
{
	(void)pages;
	if (!p->log_stalls)
		return false;
	return say(text, "%" PRIu64 " time%s the log had to wait for a new file to be prepared: raise wal-segment, so that one lasts longer.", p->log_stalls,
		p->log_stalls == 1 ? "" : "s");
}

/* ---- contention ------------------------------------------------------------------------------------------------- */

static bool hot_keys(const struct pp_perf *p, const struct pp_perf_pages *pages, char text[PP_ADVICE_TEXT])
{
	uint64_t w = pp_perf_writes(p);
	double lost = part((double)p->count.cas_retries, (double)w);

	(void)pages;
	if (w < FEW || lost < 0.05)
		return false;
	return say(text, "%.0f tries in 100 writes were lost to another writer: many write the same few keys. Spread a hot counter over several keys, or let one process "
		"collect its updates in a batch; sync = mutex queues the writers of a key instead.", 100 * lost);
}

static bool helping(const struct pp_perf *p, const struct pp_perf_pages *pages, char text[PP_ADVICE_TEXT])
{
	uint64_t w = pp_perf_writes(p);

	(void)pages;
	if (w < FEW || (double)p->count.helps < 0.01 * (double)w)
		return false;
	return say(text, "%.1f of 100 writes had to complete another's write first: writers are put off their processor in the middle of a write of the same key. "
		"Run fewer writing threads than there are processors, or write hot keys from one of them.", 100 * part((double)p->count.helps, (double)w));
}

static bool dead_writers(const struct pp_perf *p, const struct pp_perf_pages *pages, char text[PP_ADVICE_TEXT])
{
	(void)pages;
	if (!p->count.aborts)
		return false;
	return say(text, "%" PRIu64 " unfinished write%s of dead or long stopped clients %s undone: see who ends so in the daemon's log, and ppdb stall.",
		p->count.aborts, p->count.aborts == 1 ? "" : "s", p->count.aborts == 1 ? "was" : "were");
}

static bool lock_waits(const struct pp_perf *p, const struct pp_perf_pages *pages, char text[PP_ADVICE_TEXT])
{
	double share = part((double)p->count.lock_wait_ns / 1e9, p->seconds);
	char a[PP_TEXT_NUMBER];

	(void)pages;
	if (p->count.lock_waits < FEW || share < 0.05)
		return false;
	return say(text, "Writers waited %s times for a lock stripe, %.2f s of each second, all added up. Raise stripes if the keys differ; if they are the same few, that is the queue "
		"that sync = mutex is for, and sync = lockfree may be quicker.", pp_text_count(a, (double)p->count.lock_waits), share);
}

static bool hot_shard(const struct pp_perf *p, const struct pp_perf_pages *pages, char text[PP_ADVICE_TEXT])
{
	uint64_t sum = 0, most = 0;
	unsigned which = 0;

	(void)pages;
	for (unsigned i = 0; i < p->shards; i++) {
		sum += p->shard[i].timed;
		if (p->shard[i].timed > most) {
			most = p->shard[i].timed;
			which = i;
		}
	}
	if (p->shards < 2 || p->nodes < 2 || sum < FEW || part((double)most, (double)sum) < 1.5 / p->shards + 0.25)
		return false;
	return say(text, "Shard %u takes %.0f %% of the operations, and its memory lies on node %u: run the clients that use it there, or choose strategy hash, "
		"which spreads neighbouring keys (and makes scans dearer).", which, 100 * part((double)most, (double)sum), p->shard[which].node);
}

/* ---- reads and memory ------------------------------------------------------------------------------------------- */

static bool hint_misses(const struct pp_perf *p, const struct pp_perf_pages *pages, char text[PP_ADVICE_TEXT])
{
	uint64_t looks = p->count.hint_hits + p->count.hint_misses;
	double missed = part((double)p->count.hint_misses, (double)looks);

	(void)pages;
	if (looks < 10 * FEW || missed < 0.1)
		return false;
	return say(text, "%.0f %% of the keys looked for were not found by their hash and went through the index, %.1f blocks each. Keys that do not exist always do; for keys that do, the "
		"daemon enlarges the table by itself after the store has grown.", 100 * missed, part((double)p->count.read_blocks, (double)p->count.hint_misses));
}

static bool small_pages(const struct pp_perf *p, const struct pp_perf_pages *pages, char text[PP_ADVICE_TEXT])
{
	bool small = pages && pages->mapped_bytes ? pages->huge_bytes < pages->mapped_bytes / 2 : !strcmp(p->pages, "4 KiB");
	char a[PP_TEXT_NUMBER];

	if (!small || p->memory_bytes < UINT64_C(256) << 20 || p->ops[PP_OP_GET] + pp_perf_writes(p) < FEW)
		return false;
	return say(text, "%s of data lie in small pages, so that nearly each get misses the TLB. With huge pages gets are about a third quicker: pages = thp, or pages = hugetlb with "
		"vm.nr_hugepages set.", pp_text_bytes(a, (double)p->memory_bytes));
}

static bool far_memory(const struct pp_perf *p, const struct pp_perf_pages *pages, char text[PP_ADVICE_TEXT])
{
	uint64_t known, away = pages ? pp_perf_pages_away(pages, &known) : 0;

	if (!pages || p->nodes < 2 || known < FEW || part((double)away, (double)known) < 0.2)
		return false;
	return say(text, "%.0f %% of the pages lie on another NUMA node than their shard's. A node was full when they were taken (numactl --hardware), numa = no, or the "
		"bounds of the shards have moved since: a store that was filled with a few of its keys first stays so until its values are written anew.", 100 * part((double)away, (double)known));
}

static bool put_off(const struct pp_perf *p, const struct pp_perf_pages *pages, char text[PP_ADVICE_TEXT])
{
	const struct pp_hist *h = &p->op[PP_OP_GET];
	uint64_t p50 = pp_hist_percentile_ns(h, 0.5), p999 = pp_hist_percentile_ns(h, 0.999);
	char a[PP_TEXT_NUMBER], b[PP_TEXT_NUMBER];

	(void)pages;
	if (h->total < 10 * FEW || p999 < 1000000 || p999 < 1000 * p50)
		return false;
	return say(text, "Half of the gets take %s, one in a thousand %s: a get never waits, so its thread was put off the processor. More threads want to run than "
		"there are processors.", ns(a, (double)p50), ns(b, (double)p999));
}

const struct pp_advice_named pp_advice_rules[] = {
	{"daemon_gone", daemon_gone}, {"log_broken", log_broken}, {"ring_full", ring_full}, {"device_bound", device_bound},
	{"queue_bound", queue_bound}, {"settle_bound", settle_bound}, {"slow_wake", slow_wake}, {"device_hiccups", device_hiccups},
	{"segment_stalls", segment_stalls}, {"hot_keys", hot_keys}, {"helping", helping}, {"dead_writers", dead_writers},
	{"lock_waits", lock_waits}, {"hot_shard", hot_shard}, {"hint_misses", hint_misses}, {"small_pages", small_pages},
	{"far_memory", far_memory}, {"put_off", put_off}, {NULL, NULL},
};

unsigned pp_perf_advise(const struct pp_perf *p, const struct pp_perf_pages *pages, struct pp_advice out[PP_ADVICE_MAX])
{
	unsigned n = 0;

	for (const struct pp_advice_named *r = pp_advice_rules; r->name && n < PP_ADVICE_MAX; r++)
		if (r->judge(p, pages, out[n].text))
			out[n++].rule = r->name;
	return n;
}
