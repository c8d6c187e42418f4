/*
 * client_args.c (test) - option structs of other library versions, and what attach refuses without a daemon.
 */
#include "client/internal.h"

#include <criterion/criterion.h>

struct newer {
	ppdb_wopts known;
	uint64_t more;
};

Test(client_args, sizes_and_flags)
{
	struct newer n = { .known = { .size = sizeof(n), .flags = PPDB_ASYNC, .ttl_ms = 7 } };
	ppdb_wopts o;

	cr_assert_eq(pp_args_copy(&o, sizeof(o), NULL, 0, "t"), 0);
	cr_assert_eq(o.flags, 0u);
	cr_assert_eq(pp_args_copy(&o, sizeof(o), &n, PPDB_ASYNC, "t"), 0);
	cr_assert_eq(o.ttl_ms, 7u);
	n.more = 1;
	cr_assert_eq(pp_args_copy(&o, sizeof(o), &n, PPDB_ASYNC, "t"), -E2BIG);
	n.known.size = 8; /* an older program: only size and flags */
	cr_assert_eq(pp_args_copy(&o, sizeof(o), &n, PPDB_ASYNC, "t"), 0);
	cr_assert_eq(o.ttl_ms, 0u);
	cr_assert_eq(pp_args_copy(&o, sizeof(o), &n, 0, "t"), -EINVAL);
	n.known.size = 4;
	cr_assert_eq(pp_args_copy(&o, sizeof(o), &n, PPDB_ASYNC, "t"), -EINVAL);
}

Test(client_args, attach_without_daemon)
{
	ppdb_attach_opts o = { .size = sizeof(o), .flags = 0x100 };
	char longer[200];
	ppdb *db = NULL;

	cr_assert_eq(ppdb_attach("no-such-daemon-here", NULL, &db), PPDB_DAEMON_GONE);
	cr_assert_neq(strstr(ppdb_errdetail(), "no-such-daemon-here"), NULL, "%s", ppdb_errdetail());
	cr_assert_eq(ppdb_attach("/nonexistent/socket", NULL, &db), PPDB_DAEMON_GONE);
	cr_assert_eq(ppdb_attach(NULL, &o, &db), -EINVAL);
	cr_assert_eq(ppdb_attach(NULL, NULL, NULL), -EINVAL);
	memset(longer, 'x', sizeof(longer));
	longer[199] = '\0';
	cr_assert_eq(ppdb_attach(longer, NULL, &db), -EINVAL);
	cr_assert_null(db);
	cr_assert_eq(ppdb_detach(NULL), 0);
}

Test(client_args, texts)
{
	cr_assert_eq(ppdb_version(), PPDB_VERSION);
	cr_assert_str_eq(ppdb_errname(PPDB_FULL), "PPDB_FULL");
	cr_assert_str_eq(ppdb_errname(-ENOMEM), "ENOMEM");
#define TEXT(name, code, text) cr_assert_str_eq(ppdb_strerror(PPDB_##name), text);
	PPDB_ERRORS(TEXT)
}
