/*
 * errors.c (client) - version and error texts for programs.
 *
 * The public header repeats the numbers of shm/errors.h so that it can stand alone; the assertions here keep both lists equal:
 * same names, same codes, same number of entries.
 */
#include "client/internal.h"

#define PUBLIC_CODE(name, code, text) PUBLIC_##name = (code),
#define INTERNAL_CODE(name, code, text) INTERNAL_##name = (code),
enum { PPDB_ERRORS(PUBLIC_CODE) };
enum { PP_ERROR_LIST(INTERNAL_CODE) };

#define ONE(name, code, text) +1
_Static_assert(0 PPDB_ERRORS(ONE) == 0 PP_ERROR_LIST(ONE), "client/ppdb.h and shm/errors.h list the same errors");

#define SAME(name, code, text) \
	_Static_assert((int)PUBLIC_##name == (int)INTERNAL_##name, "PPDB_" #name " has one number");
PPDB_ERRORS(SAME)

_Static_assert(PPDB_REPLICATED == 3, "levels are part of the binary interface");

PPDB_API uint32_t ppdb_version(void)
{
	return PPDB_VERSION;
}

PPDB_API const char *ppdb_strerror(int code)
{
	return pp_error_text(code);
}

PPDB_API const char *ppdb_errname(int code)
{
	return pp_error_name(code);
}

PPDB_API const char *ppdb_errdetail(void)
{
	return pp_detail_get();
}
