/*
 * counters.c - adds up what the slots count.
 *
 * struct pp_counters is an array of 64-bit words as far as this file cares; the X-macro names them, and static_asserts keep list and
 * struct equal. All accesses are relaxed: statistics. Nothing is written here but what the caller owns.
 */
#include "shm/counters.h"

#include <string.h>

#define WORDS (sizeof(struct pp_counters) / sizeof(pp_a64))

#define CHECK_PLACE(name)                                                                       \
	_Static_assert(offsetof(struct pp_totals, name) == offsetof(struct pp_counters, name), \
		       "the list of counters has the order of the struct");
PP_COUNTER_LIST(CHECK_PLACE)
_Static_assert(sizeof(struct pp_totals) == sizeof(struct pp_counters), "every counter is in the list");

#define NAME(field) { #field, offsetof(struct pp_totals, field) },
const struct pp_counter_name pp_counter_names[] = { PP_COUNTER_LIST(NAME) };
const size_t pp_counter_count = sizeof(pp_counter_names) / sizeof(pp_counter_names[0]);

void pp_totals_add(struct pp_totals *into, const struct pp_counters *from)
{
	const pp_a64 *words = (const pp_a64 *)from;
	uint64_t *sums = (uint64_t *)into;

	for (size_t i = 0; i < WORDS; i++)
		sums[i] += pp_load_rlx(&words[i]); /* stat */
}

void pp_counters_fold(struct pp_counters *into, const struct pp_counters *from)
{
	const pp_a64 *words = (const pp_a64 *)from;
	pp_a64 *sums = (pp_a64 *)into;

	for (size_t i = 0; i < WORDS; i++)
		pp_stat_add(&sums[i], pp_load_rlx(&words[i])); /* stat */
}

void pp_stats_fold(struct pp_stats *into, const struct pp_slot *from)
{
	pp_counters_fold(&into->count, &from->count);
	for (unsigned op = 0; op < PP_OPS; op++)
		for (unsigned i = 0; i < PP_HIST_BUCKETS; i++)
			pp_stat_add(&into->hist[op][i], pp_load_rlx(&from->hist[op][i])); /* stat */
	for (unsigned i = 0; i < PP_USAGE; i++)
		pp_stat_add(&into->usage[i], pp_load_rlx(&from->usage[i])); /* stat */
	for (unsigned phase = 0; phase < PP_PHASES; phase++)
		for (unsigned i = 0; i < PP_HIST_BUCKETS; i++)
			pp_stat_add(&into->phase[phase][i], pp_load_rlx(&from->phase[phase][i])); /* stat */
}

void pp_stats_clear(struct pp_slot *s)
{
	pp_a64 *words = (pp_a64 *)&s->count;

	for (size_t i = 0; i < WORDS; i++)
		pp_store_rlx(&words[i], 0); /* stat */
	for (unsigned op = 0; op < PP_OPS; op++)
		for (unsigned i = 0; i < PP_HIST_BUCKETS; i++)
			pp_store_rlx(&s->hist[op][i], 0); /* stat */
	for (unsigned i = 0; i < PP_USAGE; i++)
		pp_store_rlx(&s->usage[i], 0); /* stat */
	for (unsigned phase = 0; phase < PP_PHASES; phase++)
		for (unsigned i = 0; i < PP_HIST_BUCKETS; i++)
			pp_store_rlx(&s->phase[phase][i], 0); /* stat */
	pp_store_rlx(&s->recent_count, 0); /* stat */
}

static uint64_t used_slots(const struct pp_region *r)
{
	uint64_t high = pp_load_acq(&r->globals->slots_high);

	return high < r->fixed.slots ? high : r->fixed.slots;
}

void pp_totals_region(const struct pp_region *r, const struct pp_counters *folded, struct pp_totals *out)
{
	uint64_t slots = used_slots(r);

	memset(out, 0, sizeof(*out));
	if (folded)
		pp_totals_add(out, folded);
	for (uint64_t i = 0; i < slots; i++)
		pp_totals_add(out, &r->slots[i].count);
}

void pp_hist_region(const struct pp_region *r, unsigned op, struct pp_hist *out)
{
	uint64_t slots = used_slots(r);

	for (uint64_t i = 0; op < PP_OPS && i < slots; i++)
		pp_hist_merge(out, r->slots[i].hist[op]);
}

uint64_t pp_usage_region(const struct pp_region *r, unsigned row)
{
	uint64_t slots = used_slots(r), sum = 0;

	for (uint64_t i = 0; row < PP_USAGE && i < slots; i++)
		sum += pp_load_rlx(&r->slots[i].usage[row]); /* stat */
	return sum;
}
