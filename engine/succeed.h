/*
 * succeed.h - one arena takes the place of another, while clients still have the old one.
 */
#ifndef PP_ENGINE_SUCCEED_H
#define PP_ENGINE_SUCCEED_H

#include "shm/region.h"

/* No write is published in it any more, and no daemon adopts it. Idempotent; by the one daemon that may open the store. */
void pp_succeed_bar(struct pp_region *);

/* It is not read any more either, but for what was handed out: the successor is about to serve. */
void pp_succeed_void(struct pp_region *);

static inline bool pp_succeed_barred(const struct pp_region *r)
{
	return pp_load_acq(&r->globals->barred);
}

/* Does the region differ from the configuration in something that only a new one can change? *text (size `cap`) says in what. */
bool pp_succeed_differs(const struct pp_region *, const struct pp_region_config *, char *text, size_t cap);

/* Is there a process whose record is in the region, daemons apart? */
bool pp_succeed_in_use(const struct pp_region *);

#endif
