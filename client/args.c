/*
 * args.c - option structs that may be older or newer than this library.
 *
 * A struct begins with {size, flags}. Shorter than known: the rest counts as zero. Longer: the unknown tail must be zero
 * (-E2BIG), so that a program never asks for something that is silently not done. Touches only the caller's memory.
 */
#include "client/internal.h"

int pp_args_copy(void *known, size_t known_size, const void *given, uint32_t allowed_flags, const char *what)
{
	const uint8_t *bytes = given;
	uint32_t size, flags;

	memset(known, 0, known_size);
	if (!given)
		return 0;
	memcpy(&size, bytes, sizeof(size));
	if (size < 2 * sizeof(uint32_t))
		return pp_detail(-EINVAL, "%s: set .size to sizeof of the struct (it is %u)", what, size);
	for (size_t i = known_size; i < size; i++) {
		if (bytes[i])
			return pp_detail(-E2BIG, "%s: this library does not know the option at byte %zu", what, i);
	}
	memcpy(known, given, size < known_size ? size : known_size);
	memcpy(&flags, (uint8_t *)known + sizeof(size), sizeof(flags));
	if (flags & ~allowed_flags)
		return pp_detail(-EINVAL, "%s: flag 0x%x is not known here", what, flags & ~allowed_flags);
	return 0;
}

int pp_args_expires(const struct pp_region *r, ppdb_table table, uint64_t ttl_ms, uint64_t *expires_ms)
{
	uint64_t now = pp_wall_ms();

	*expires_ms = 0;
	if (!ttl_ms && table)
		ttl_ms = pp_load_rlx(&pp_table_line(r, table)->ttl_ms); /* ordered by the look at its word */
	if (!ttl_ms || ttl_ms == PPDB_TTL_NEVER)
		return 0;
	if (ttl_ms > PP_TTL_MAX_MS)
		return pp_detail(-EINVAL, "a time to live of %llu ms is longer than any (at most %llu, or PPDB_TTL_NEVER)", (unsigned long long)ttl_ms,
				 (unsigned long long)PP_TTL_MAX_MS);
	*expires_ms = now + ttl_ms;
	return 0;
}
