/*
 * cmd_mem_doctor.c - what the figures of `ppdb mem` mean, in sentences that say what to do.
 */
#include "tools/cmd_mem.h"
#include "tools/text_number.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#define MUCH (UINT64_C(16) << 20)      /* less is not worth a sentence */
#define LONG_NS PP_NS_PER_SEC

uint64_t pp_mem_live(const struct pp_mem *m)
{
	uint64_t live = 0;

	for (unsigned i = 0; i < PP_MEM_USES; i++)
		live += m->live[i];
	return live;
}

uint64_t pp_mem_keys(const struct pp_mem *m)
{
	uint64_t keys = 0;

	for (unsigned i = 0; i <= PP_MEM_TABLES; i++)
		keys += m->table[i].keys;
	return keys;
}

double pp_mem_fragmentation(const struct pp_mem *m)
{
	uint64_t used = 0;

	for (unsigned i = 0; i <= PP_CLASSES; i++)
		used += m->account.class_bytes[i];
	return used ? 100.0 * (double)m->account.free_bytes / (double)used : 0;
}

bool pp_mem_pin_of(const struct pp_proc *p, struct pp_mem_pin *pin)
{
	/* All loads are of statistics. */
	*pin = (struct pp_mem_pin){pp_load_rlx(&p->pid), pp_load_rlx(&p->pinned_bytes), pp_load_rlx(&p->interval_ns), pp_load_rlx(&p->snapshot_ns)};
	if (!pp_load_rlx(&p->state) || pp_load_rlx(&p->flags) & PP_PROC_DAEMON)
		return false;
	return pin->interval_ns >= LONG_NS || pin->snapshot_ns >= LONG_NS || pin->bytes >= MUCH;
}

struct doctor {
	void (*say)(void *ctx, const char *sentence);
	void *ctx;
	bool said;
};

static void say(struct doctor *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(struct doctor *d, const char *fmt, ...)
{
	char text[300];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	d->said = true;
	d->say(d->ctx, text);
}

static const struct pp_proc *worst_pin(const struct pp_region *r, struct pp_mem_pin *worst)
{
	const struct pp_proc *who = NULL;
	struct pp_mem_pin pin;

	for (uint32_t i = 0; i < r->fixed.procs; i++)
		if (pp_mem_pin_of(&r->procs[i], &pin) && (!who || pin.bytes > worst->bytes)) {
			who = &r->procs[i];
			*worst = pin;
		}
	return who;
}

/* What waits to be freed waits for somebody, or for the keeper's next round. */
static void judge_limbo(struct doctor *d, const struct pp_region *r, const struct pp_mem *m)
{
	uint64_t limbo = m->account.limbo_bytes;
	struct pp_mem_pin pin;
	const struct pp_proc *who = worst_pin(r, &pin);
	char x[PP_TEXT_NUMBER], y[PP_TEXT_NUMBER];

	if (who && pin.bytes > MUCH)
		say(d, "Process %" PRIu32 " (%.32s) keeps %s from being freed: refresh its views, or give ppdbd a pin budget (pin-bytes).", pin.pid,
			who->name, pp_text_bytes(x, (double)pin.bytes));
	else if (who && limbo > m->account.committed_bytes / 10 && limbo > MUCH)
		say(d, "%s wait to be freed, and process %" PRIu32 " (%.32s) has read or held a snapshot for %s: refresh its views, or give ppdbd a pin budget "
			"(pin-seconds).", pp_text_bytes(x, (double)limbo), pin.pid, who->name,
			pp_text_seconds(y, (double)(pin.interval_ns > pin.snapshot_ns ? pin.interval_ns : pin.snapshot_ns) / 1e9));
}

void pp_mem_diagnose(const struct pp_region *r, const struct pp_mem *m, void (*callback)(void *ctx, const char *sentence), void *ctx)
{
	const struct pp_account *a = &m->account;
	uint64_t unused = a->free_bytes + a->page_tail_bytes, room = r->fixed.memory_max - a->committed_bytes + a->free_page_bytes;
	struct doctor d = {callback, ctx, false};
	char x[PP_TEXT_NUMBER], y[PP_TEXT_NUMBER];

	if (room < r->fixed.memory_max / 10)
		say(&d, "Only %s are left of %s: delete keys, or restart ppdbd with more --memory.", pp_text_bytes(x, (double)room),
			pp_text_bytes(y, (double)r->fixed.memory_max));
	judge_limbo(&d, r, m);
	if (unused > pp_mem_live(m) / 2 && unused > MUCH)
		say(&d, "%s in pages that are in use are free: many keys were deleted or changed their size; new ones of those sizes take it first.",
			pp_text_bytes(x, (double)unused));
	if (m->live[PP_MEM_VERSIONS] > m->live[PP_MEM_KEYS] && m->blocks[PP_MEM_VERSIONS] > 2 * pp_mem_keys(m) + 1000)
		say(&d, "There are %" PRIu64 " values beside %" PRIu64 " keys: old versions are kept by a snapshot, or the keeper is behind.",
			m->blocks[PP_MEM_VERSIONS], pp_mem_keys(m));
	if (!d.said)
		callback(ctx, "Nothing is wrong.");
}
