/*
 * precond.c - judging what a write asks of the key's present value.
 *
 * Reads the newest committed version; the CAS that installs the write makes sure that nothing came between. Dies inside: nothing.
 */
#include "engine/precond.h"

#include "engine/read.h"
#include "engine/version.h"

#include <stdio.h>
#include <stdlib.h>

void pp_base_look(struct pp_thread *t, struct pp_cell *cell, struct pp_base *b)
{
	uint64_t state;
	pp_ref ref = cell ? pp_version_visible(t, cell, PP_LATEST, &state) : 0;
	struct pp_version *v;

	memset(b, 0, sizeof(*b));
	if (!ref)
		return;
	v = pp_version_at(t, ref);
	if (!pp_version_whole(t, ref, v))
		return;
	b->tag = pp_state_epoch(state);
	b->seq = pp_version_seq(v);
	b->stored = !(pp_version_flags(v) & PP_V_TOMBSTONE);
	b->present = b->stored && !pp_expired(t, v);
	b->expires_ms = pp_version_expires(v);
	b->value = pp_version_value(v);
	b->size = v->size;
}

static int add(struct pp_write *w, const struct pp_base *b, char number[PP_NUMBER_MAX])
{
	char text[PP_NUMBER_MAX], *end;
	int64_t value = w->initial;

	if (b->present) {
		if (b->size == 0 || b->size >= sizeof(text))
			return pp_detail(PPDB_TYPE, "the value is not a decimal number of 64 bits");
		memcpy(text, b->value, b->size);
		text[b->size] = '\0';
		errno = 0;
		value = strtoll(text, &end, 10);
		if (errno || end != text + b->size || text[0] == ' ' || text[0] == '+')
			return pp_detail(PPDB_TYPE, "the value is not a decimal number of 64 bits");
	}
	if (__builtin_add_overflow(value, w->delta, &w->result))
		return pp_detail(PPDB_TYPE, "the sum leaves the range of 64 bits");
	w->size = (uint64_t)snprintf(number, PP_NUMBER_MAX, "%lld", (long long)w->result);
	w->value = number;
	if (w->flags & PP_W_KEEPTTL)
		w->expires_ms = b->present ? b->expires_ms : w->fresh_expires_ms;
	return 0;
}

/* The value is copied from where it lies. -ENOBUFS: it is larger than what was reserved in the log; w->size says how large. */
static int touch(struct pp_write *w, const struct pp_base *b)
{
	if (!b->present)
		return PPDB_NOTFOUND;
	w->value = b->value;
	w->size = b->size;
	return b->size > w->room ? -ENOBUFS : 0;
}

int pp_precond_judge(struct pp_write *w, const struct pp_base *b, char number[PP_NUMBER_MAX])
{
	w->tag = b->tag;
	w->version = b->present ? b->seq : 0;
	if (__builtin_expect(w->flags & PP_W_SWEEP, 0))
		return b->stored && b->seq == w->expect ? 0 : PPDB_CONFLICT;
	if (w->flags & PP_W_CAS && w->expect != w->version)
		return PPDB_CONFLICT;
	if (w->flags & PP_W_IFABSENT && b->present)
		return PPDB_EXISTS;
	if (w->flags & (PP_W_IFPRESENT | PP_W_DELETE) && !b->present)
		return PPDB_NOTFOUND;
	if (__builtin_expect(w->flags & PP_W_TOUCH, 0))
		return touch(w, b);
	return w->flags & PP_W_ADD ? add(w, b, number) : 0;
}
