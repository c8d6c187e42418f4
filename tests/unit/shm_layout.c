/* shm_layout.c - the layout hash and the words of the layout. */
#include "tests/unit/shm_help.h"

TestSuite(layout, .timeout = 60);

Test(layout, hash_is_stable_and_not_trivial)
{
	cr_assert_eq(pp_layout_hash_shm(), pp_layout_hash_shm());
	cr_assert_neq(pp_layout_hash_shm(), 0);
}

Test(layout, words_take_apart_what_they_put_together)
{
	uint64_t w = PP_BLOCK_WORD(PP_BLOCK_RETIRED, 2, PP_GEN_MASK, PP_ERA_MASK);
	uint64_t o = PP_SLOT_OWNER(PP_SLOT_LEAVING, 0xffff, UINT64_C(0xffffffffff));
	uint64_t t = PP_TAIL(PP_TAIL_FREE, 65535), p = PP_PAGE_WORD(PP_PAGE_EMPTY, 95, 8192, UINT32_MAX);

	cr_assert_eq(pp_block_state(w), PP_BLOCK_RETIRED);
	cr_assert_eq(pp_block_gen(w), PP_GEN_MASK);
	cr_assert_eq(pp_block_kind(w), 2);
	cr_assert_eq(pp_block_birth(w), PP_ERA_MASK);
	cr_assert_eq(pp_slot_state(o), PP_SLOT_LEAVING);
	cr_assert_eq(pp_slot_proc(o), 0xffff);
	cr_assert_eq(pp_slot_gen(o), UINT64_C(0xffffffffff));
	cr_assert_eq(pp_tail_epoch(t), PP_TAIL_FREE);
	cr_assert_eq(pp_tail_index(t), 65535);
	cr_assert_eq(pp_page_type(p), PP_PAGE_EMPTY);
	cr_assert_eq(pp_page_class(p), 95);
	cr_assert_eq(pp_page_owner(p), 8192);
	cr_assert_eq(pp_page_version(p), UINT32_MAX);
}
