/*
 * errors.c - the list of error codes: numbers as the API fixes them, a name and a text for each, one sentence a thread.
 */
#include "shm/errors.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>

static const struct {
	int code;
	const char *name;
} all[] = {
#define ENTRY(n, value, text) {PPDB_##n, "PPDB_" #n},
	PP_ERROR_LIST(ENTRY)
#undef ENTRY
};

static const size_t count = sizeof(all) / sizeof(all[0]);

Test(errors, codes_are_the_published_ones)
{
	cr_assert_eq(count, 17);
	cr_assert_eq(PPDB_OK, 0);
	for (size_t i = 0; i < count; i++)
		cr_assert_eq(all[i].code, -20001 - (int)i, "%s", all[i].name);
	cr_assert_eq(PPDB_NOTFOUND, -20001);
	cr_assert_eq(PPDB_TIMEOUT, -20017);
}

Test(errors, each_has_its_own_name_and_text)
{
	for (size_t i = 0; i < count; i++) {
		cr_assert_str_eq(pp_error_name(all[i].code), all[i].name);
		for (size_t j = 0; j < i; j++)
			cr_assert_str_neq(pp_error_text(all[i].code), pp_error_text(all[j].code));
	}
	cr_assert_str_eq(pp_error_name(PPDB_OK), "PPDB_OK");
	cr_assert_str_eq(pp_error_text(PPDB_OK), "success");
}

Test(errors, errno_and_strangers)
{
	cr_assert_str_eq(pp_error_name(-ENOSPC), "ENOSPC");
	cr_assert_str_eq(pp_error_text(-ENOSPC), strerror(ENOSPC));
	cr_assert_str_eq(pp_error_name(-20000), "UNKNOWN");
	cr_assert_str_eq(pp_error_name(-20018), "UNKNOWN");
	cr_assert_str_eq(pp_error_name(7), "UNKNOWN");
	cr_assert(strstr(pp_error_text(-20018), "-20018"));
	cr_assert(strstr(pp_error_text(7), "7"));
}

Test(errors, detail_is_kept_cut_and_cleared)
{
	char longer[2000];

	cr_assert_str_eq(pp_detail_get(), "");
	cr_assert_eq(pp_detail(-EINVAL, "shard %d of %d", 3, 4), -EINVAL);
	cr_assert_str_eq(pp_detail_get(), "shard 3 of 4");
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	pp_detail(PPDB_FULL, "%s", longer);
	cr_assert_eq(strlen(pp_detail_get()), 511);
	pp_detail_clear();
	cr_assert_str_eq(pp_detail_get(), "");
}

static void *other_thread(void *seen_empty)
{
	*(int *)seen_empty = pp_detail_get()[0] == '\0';
	pp_detail(-EIO, "theirs");
	return NULL;
}

Test(errors, detail_belongs_to_one_thread)
{
	pthread_t thread;
	int seen_empty = 0;

	pp_detail(-EIO, "mine");
	cr_assert_eq(pthread_create(&thread, NULL, other_thread, &seen_empty), 0);
	cr_assert_eq(pthread_join(thread, NULL), 0);
	cr_assert(seen_empty);
	cr_assert_str_eq(pp_detail_get(), "mine");
}
