/*
 * errors.h - the one list of ppdb's own error codes, and the sentence that goes with a failure.
 *
 * Every function of shm, engine and client that can fail returns int: 0, -errno (-1..-4095) or one of the codes below.
 * client/ppdb.h repeats the numbers for programs; a static_assert there keeps both lists equal.
 */
#ifndef PP_SHM_ERRORS_H
#define PP_SHM_ERRORS_H

#include <errno.h>

/* X(name, code, message, what to do next) */
#define PP_ERROR_LIST(X)                                                                            \
	X(NOTFOUND, -20001, "no such key")                                                          \
	X(EXISTS, -20002, "the key exists already")                                                 \
	X(CONFLICT, -20003, "the key's version is not the expected one; read it again and retry")   \
	X(FULL, -20004, "the arena is full; delete keys or restart ppdbd with more --memory")       \
	X(TABLE_UNKNOWN, -20005, "no such table; create it with 'ppdb table create'")               \
	X(CORRUPT, -20006, "damaged data was found; run 'ppdb check'")                              \
	X(LAYOUT, -20007, "the arena has another layout version; use the library of its ppdbd")     \
	X(DAEMON_GONE, -20008, "ppdbd is not running; start it with 'ppdb start'")                  \
	X(EVICTED, -20009, "this view was revoked because it pinned too much; refresh it or begin a new one")     \
	X(LOST, -20010, "the position was lost in a restart or was recycled")                       \
	X(FORKED, -20011, "the handle belongs to the parent; call ppdb_reattach_after_fork")        \
	X(KEYSIZE, -20012, "a key has 1 to 4096 bytes")                                             \
	X(VALSIZE, -20013, "a value has at most 64 MiB")                                            \
	X(TYPE, -20014, "the value is not a decimal number of 64 bits")                             \
	X(READONLY, -20015, "this handle is attached read-only")                                    \
	X(OVERLOAD, -20016, "the log cannot keep up, all rings are full; try again a little later") \
	X(TIMEOUT, -20017, "the time-out passed before it was done")

enum {
	PPDB_OK = 0,
#define PP_ERROR_ENUM(name, code, text) PPDB_##name = code,
	PP_ERROR_LIST(PP_ERROR_ENUM)
#undef PP_ERROR_ENUM
};

/* Message and symbolic name of any code, own or -errno. Static storage or thread-local; never NULL. */
const char *pp_error_text(int code);
const char *pp_error_name(int code);

/* Keeps one sentence about the last failure of this thread (at most 511 bytes); returns `code` so that a failing
 * function can end with `return pp_detail(-EINVAL, "...", ...)`. pp_detail_get: never NULL, "" when there is none. */
int pp_detail(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
const char *pp_detail_get(void);
void pp_detail_clear(void);

#endif
