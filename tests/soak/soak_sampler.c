/*
 * soak_sampler.c - a read-only client that writes a line each half second: latencies since the last line, arena bytes by state, slots,
 * the daemon's memory and open files. It sees a daemon's death as any reader does, and goes on.
 */
#include "tests/soak/soak.h"

#include "shm/alloc.h"

#include <unistd.h>

#define SAMPLE_MS 500

static void write_head(FILE *out)
{
	fprintf(out, "seconds\tphase");
	for (unsigned k = 0; k < CREW_KINDS; k++)
		fprintf(out, "\t%s/s\t%s p50 us\t%s p99 us", soak_kind_names[k], soak_kind_names[k], soak_kind_names[k]);
	fprintf(out, "\tcommitted MiB\tlive MiB\tfree MiB\tlimbo MiB\tprivate MiB\tslots\tprocesses\tkeys\tcheckpoint");
	fprintf(out, "\tdaemon MiB\tsockets\tpidfds\tmemfds\tdata files\tother files\tdisk MiB\n");
}

static double mib(uint64_t bytes)
{
	return (double)bytes / (1 << 20);
}

static void write_latency(FILE *out, struct crew *c, struct pp_hist since[CREW_KINDS], double seconds)
{
	struct soak_latency l = soak_latency(c, since);

	for (unsigned k = 0; k < CREW_KINDS; k++)
		if (l.count[k])
			fprintf(out, "\t%.0f\t%.2f\t%.2f", (double)l.count[k] / seconds, (double)l.p50_ns[k] / 1e3, (double)l.p99_ns[k] / 1e3);
		else
			fprintf(out, "\t0\t?\t?");
}

static void write_region(FILE *out, struct pp_region *r)
{
	const struct pp_engine *e = r->engine;
	struct pp_account a;
	unsigned slots = 0, procs = 0;
	uint64_t keys = 0;

	/* of a live region: each number is true for some moment */
	if (pp_account_walk(r, &a, NULL, NULL))
		memset(&a, 0, sizeof(a));
	for (unsigned i = 0; i < r->header->slots; i++)
		slots += pp_slot_state(pp_load_acq(&r->slots[i].owner)) != PP_SLOT_FREE;
	for (unsigned i = 0; i < r->header->procs; i++)
		procs += pp_load_acq(&r->procs[i].state) != 0;
	for (unsigned i = 0; i < e->shards; i++)
		keys += pp_load_rlx(&e->shard[i].keys); /* stat */
	fprintf(out, "\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%u\t%u\t%" PRIu64 "\t%" PRIu64, mib(a.committed_bytes),
		mib(a.live_bytes + a.table_bytes), mib(a.free_bytes + a.free_page_bytes + a.empty_page_bytes + a.page_tail_bytes),
		mib(a.limbo_bytes), mib(a.private_bytes), slots, procs, keys, pp_load_rlx(&e->checkpoint_epoch)); /* stat */
}

static void write_daemon(FILE *out, const struct soak *s)
{
	pid_t pid = atomic_load(&s->board->daemon);
	struct soak_files f = {0};
	unsigned files = 0;

	if (pid)
		f = soak_files_of(pid, s->store->data);
	fprintf(out, "\t%.2f\t%u\t%u\t%u\t%u\t%u", pid ? mib(soak_private_bytes_of(pid)) : 0, f.sockets, f.pidfds, f.memfds, f.data, f.other);
	fprintf(out, "\t%.2f\n", mib(soak_folder_bytes(s->store->data, &files)));
}

void soak_sample(void *arg)
{
	const struct soak *s = arg;
	struct pp_hist since[CREW_KINDS] = {{.total = 0}};
	uint64_t began = test_now_ns(), last = began, now;
	ppdb *db = test_store_attach(s->store, PPDB_RDONLY);
	char path[300];
	FILE *out;

	test_say("the sampler");
	snprintf(path, sizeof(path), "%s/samples.tsv", s->out);
	out = fopen(path, "w");
	test_require(out, "%s cannot be written", path);
	write_head(out);
	while (!atomic_load(&s->board->quit)) {
		test_sleep_ms(SAMPLE_MS);
		ppdb_get(db, 0, PPDB_S("any"), NULL, 0, NULL); /* a call, so that the handle follows the daemon */
		now = test_now_ns();
		fprintf(out, "%.1f\t%s", (double)(now - began) / 1e9, soak_phase_names[atomic_load(&s->board->phase)]);
		write_latency(out, s->crew, since, (double)(now - last) / 1e9);
		write_region(out, pp_client_region(db));
		write_daemon(out, s);
		fflush(out);
		last = now;
	}
	fclose(out);
	test_ok(ppdb_detach(db));
}
