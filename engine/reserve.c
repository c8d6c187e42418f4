/*
 * reserve.c - values that their writer fills in place.
 *
 * A reservation is a version block of its own, PRIVATE to the thread's slot. Where the value begins is promised before it is known whether it will
 * expire, so its version always has the 8 bytes for that, with PP_V_TTL and perhaps time 0. A write installs it as it installs every version. Nobody
 * but its writer knows it before; what is reserved counts as used memory.
 *
 * Dies inside, or before the write: slot.reserved names the page, the reaper finds the block PRIVATE and not linked, and frees it.
 */
#include "engine/reserve.h"

#include "shm/fault.h"

static uint64_t block_bytes(uint64_t size)
{
	return offsetof(struct pp_version_block, v) + pp_version_bytes(size, 1);
}

int pp_reserve(struct pp_thread *t, uint64_t size, pp_ref *block, void **value)
{
	struct pp_version_block *b;
	int rc;

	if (size > PP_VALUE_MAX)
		return pp_detail(PPDB_VALSIZE, "a value of %llu bytes: values have at most 64 MiB", (unsigned long long)size);
	if (t->readonly)
		return pp_detail(PPDB_READONLY, "this handle is attached read-only; attach without PPDB_RDONLY to write");
	pp_read_enter(t);
	rc = pp_alloc(t, block_bytes(size), PP_KIND_VERSION, block);
	PP_FAULT_POINT("reserve.allocated");
	if (!rc && !pp_alloc_keep(t, *block)) {
		pp_alloc_cancel(t, *block);
		rc = pp_detail(-EBUSY, "this thread has %d reservations open: publish or cancel some", PP_RESERVED);
	}
	pp_read_leave(t);
	if (rc)
		return rc;
	b = pp_at(t->region, *block);
	*value = (uint8_t *)(&b->v + 1) + sizeof(uint64_t);
	return 0;
}

void pp_reserve_cancel(struct pp_thread *t, pp_ref block)
{
	pp_read_enter(t);
	pp_alloc_cancel(t, block);
	PP_FAULT_POINT("reserve.cancelled");
	pp_alloc_forget(t, block);
	pp_read_leave(t);
}

void pp_reserve_done(struct pp_thread *t, pp_ref block)
{
	pp_alloc_forget(t, block);
}

void pp_reserve_fill(struct pp_version *v, uint64_t seq, const struct pp_write *w)
{
	v->seq_flags = seq << 16 | PP_V_TTL;
	v->size = (uint32_t)w->size;
	memcpy(v + 1, &w->expires_ms, sizeof(w->expires_ms));
}
