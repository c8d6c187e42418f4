/*
 * commit_times.c - when epochs were closed and durable, and what waiters make of it (see commit_times.h).
 *
 * Line e % PP_EPOCH_TIMES of engine.epoch_times holds the times of epoch e, until e + PP_EPOCH_TIMES is closed. The step thread stores the epoch
 * first; a waiter looks at it before and after the times. In between the line may have been taken for another epoch: the times of one that was
 * just closed are not those of one that is durable, and are passed over; what is left is a wrong count at worst. A restarted daemon goes on
 * with greater epochs, so that the lines of its predecessor are never taken for its own.
 *
 * Dies inside: a line without times, or a count less.
 */
#include "engine/commit_times.h"

#include "engine/stat.h"
#include "shm/clock.h"
#include "shm/hist.h"

static struct pp_epoch_times *line_of(struct pp_engine *e, uint64_t epoch)
{
	return &e->epoch_times[epoch % PP_EPOCH_TIMES];
}

static void count_in(pp_a64 row[PP_HIST_BUCKETS], uint64_t value)
{
	pp_count(&row[pp_hist_bucket(value)], 1);
}

void pp_times_closed(struct pp_engine *e, uint64_t epoch)
{
	struct pp_epoch_times *line = line_of(e, epoch);

	if (!PP_COUNTING)
		return;
	pp_store_rlx(&line->epoch, epoch); /* stat, as the others */
	pp_store_rlx(&line->durable_ns, 0);
	pp_store_rlx(&line->closed_ns, pp_now_ns());
}

void pp_times_durable(struct pp_engine *e, uint64_t after, uint64_t epoch)
{
	uint64_t now = PP_COUNTING ? pp_now_ns() : 0;

	if (epoch - after > PP_EPOCH_TIMES)
		after = epoch - PP_EPOCH_TIMES;
	while (now && after++ < epoch)
		if (pp_load_rlx(&line_of(e, after)->epoch) == after)         /* owner */
			pp_store_rlx(&line_of(e, after)->durable_ns, now); /* stat */
}

void pp_times_committed(struct pp_engine *e, uint64_t epoch, uint64_t records, uint64_t bytes)
{
	if (!records || !PP_COUNTING)
		return;
	count_in(e->commit_records, records);
	count_in(e->commit_bytes, bytes);
	if (pp_load_rlx(&line_of(e, epoch)->epoch) == epoch) /* owner; else a predecessor closed it */
		count_in(e->settle_ns, pp_now_ns() - pp_load_rlx(&line_of(e, epoch)->closed_ns));
}

void pp_times_wrote(void *ctx, uint64_t ns)
{
	count_in(((struct pp_engine *)ctx)->write_ns, ns);
}

void pp_times_waited(struct pp_thread *t, uint64_t ticket, uint64_t start)
{
	const struct pp_epoch_times *line = line_of(pp_engine(t), ticket);
	uint64_t now = pp_now_ns(), closed, durable; /* all loads are of statistics */

	pp_count(&t->slot->count.ops[PP_OP_WAIT], 1);
	pp_op_record(t, PP_OP_WAIT, now - start);
	if (pp_load_rlx(&line->epoch) != ticket)
		return;
	closed = pp_load_rlx(&line->closed_ns);
	durable = pp_load_rlx(&line->durable_ns);
	if (pp_load_rlx(&line->epoch) != ticket || durable < closed || now < durable)
		return;
	pp_phase_record(t, PP_PHASE_QUEUE, closed > start ? closed - start : 0);
	pp_phase_record(t, PP_PHASE_WAKE, now - durable);
}
