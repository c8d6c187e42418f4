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
