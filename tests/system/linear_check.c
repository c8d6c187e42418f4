/*
 * linear_check.c - the checker of histories (tests/lib/linear.h) is checked itself.
 */
#include "tests/lib/linear.h"

#include <criterion/criterion.h>

#define OP(k, s, e, v, x, ver, good) \
	{.kind = LINEAR_##k, .done = (e) != 0, .ok = good, .start = s, .end = e, .value = v, .expect = x, .version = ver}
#define ACCEPT(...) verdict(true, __LINE__, (struct linear_op[]){__VA_ARGS__}, sizeof((struct linear_op[]){__VA_ARGS__}) / sizeof(struct linear_op))
#define REFUSE(...) verdict(false, __LINE__, (struct linear_op[]){__VA_ARGS__}, sizeof((struct linear_op[]){__VA_ARGS__}) / sizeof(struct linear_op))

static void verdict(bool good, int line, struct linear_op *ops, size_t n)
{
	const char *wrong = linear_wrong(ops, n);

	cr_assert(good == !wrong, "line %d: %s", line, wrong ? wrong : "accepted");
}

Test(linear_check, accepts_what_has_an_order)
{
	ACCEPT(OP(READ, 1, 2, 0, 0, 0, false), OP(PUT, 3, 4, 7, 0, 0, true), OP(READ, 5, 6, 7, 0, 1, true));
	/* two puts at once, then reads of one only; the other came first */
	ACCEPT(OP(PUT, 1, 10, 7, 0, 0, true), OP(PUT, 2, 9, 8, 0, 0, true), OP(READ, 11, 12, 7, 0, 2, true));
	/* a read in the middle of a write may see it or not */
	ACCEPT(OP(PUT, 1, 2, 7, 0, 0, true), OP(PUT, 3, 9, 8, 0, 0, true), OP(READ, 4, 5, 7, 0, 1, true), OP(READ, 6, 7, 8, 0, 2, true));
	/* never returned: seen late, or never */
	ACCEPT(OP(PUT, 1, 2, 7, 0, 0, true), OP(PUT, 3, 0, 8, 0, 0, false), OP(READ, 4, 5, 7, 0, 1, true), OP(READ, 6, 7, 8, 0, 2, true));
	ACCEPT(OP(PUT, 1, 2, 7, 0, 0, true), OP(PUT, 3, 0, 8, 0, 0, false), OP(READ, 6, 7, 7, 0, 1, true));
	/* never returned, undone: it uses no number */
	ACCEPT(OP(PUT, 1, 2, 7, 0, 1, true), OP(DEL, 3, 0, 0, 0, 0, false), OP(READ, 4, 5, 7, 0, 1, true), OP(CAS, 6, 7, 8, 1, 2, true), OP(READ, 8, 9, 8, 0, 2, true));
	REFUSE(OP(PUT, 1, 2, 7, 0, 1, true), OP(DEL, 3, 0, 0, 0, 0, false), OP(READ, 4, 5, 7, 0, 1, true), OP(CAS, 6, 7, 8, 1, 3, true));
	REFUSE(OP(PUT, 1, 2, 7, 0, 0, true), OP(PUT, 3, 0, 9, 0, 0, false), OP(CAS, 4, 5, 8, 1, 3, true));
	ACCEPT(OP(PUT, 1, 2, 7, 0, 0, true), OP(CAS, 3, 4, 8, 1, 2, true), OP(CAS, 3, 5, 9, 1, 2, false), OP(READ, 6, 7, 8, 0, 2, true));
	ACCEPT(OP(PUT, 1, 2, 7, 0, 0, true), OP(DEL, 3, 8, 0, 0, 0, true), OP(IFABSENT, 4, 7, 9, 0, 0, true), OP(READ, 9, 10, 9, 0, 5, true));
}

Test(linear_check, refuses_what_has_none)
{
	/* stale read; lost write; read of the future; back in time */
	REFUSE(OP(PUT, 1, 2, 7, 0, 0, true), OP(PUT, 3, 4, 8, 0, 0, true), OP(READ, 5, 6, 7, 0, 0, true));
	REFUSE(OP(PUT, 1, 2, 7, 0, 0, true), OP(READ, 3, 4, 0, 0, 0, false));
	REFUSE(OP(READ, 1, 2, 7, 0, 0, true), OP(PUT, 3, 4, 7, 0, 0, true));
	REFUSE(OP(PUT, 1, 2, 7, 0, 0, true), OP(PUT, 3, 9, 8, 0, 0, true), OP(READ, 4, 5, 8, 0, 0, true), OP(READ, 6, 7, 7, 0, 0, true));
	/* two that both succeed on one version; a delete of what is not there; versions that stand still, or jump */
	REFUSE(OP(PUT, 1, 2, 7, 0, 0, true), OP(CAS, 3, 9, 8, 1, 2, true), OP(CAS, 3, 9, 9, 1, 2, true));
	REFUSE(OP(PUT, 1, 2, 7, 0, 0, true), OP(DEL, 3, 9, 0, 0, 0, true), OP(DEL, 3, 9, 0, 0, 0, true));
	REFUSE(OP(IFABSENT, 1, 9, 7, 0, 0, true), OP(IFABSENT, 1, 9, 8, 0, 0, true));
	REFUSE(OP(PUT, 1, 2, 7, 0, 0, true), OP(READ, 3, 4, 7, 0, 1, true), OP(PUT, 5, 6, 8, 0, 0, true), OP(READ, 7, 8, 8, 0, 1, true));
	REFUSE(OP(PUT, 1, 2, 7, 0, 0, true), OP(READ, 3, 4, 7, 0, 1, true), OP(PUT, 5, 6, 8, 0, 0, true), OP(READ, 7, 8, 8, 0, 3, true));
	/* an open write that was seen cannot vanish again */
	REFUSE(OP(PUT, 1, 2, 7, 0, 0, true), OP(PUT, 3, 0, 8, 0, 0, false), OP(READ, 4, 5, 8, 0, 0, true), OP(READ, 6, 7, 7, 0, 0, true));
}

Test(linear_check, sums)
{
	ACCEPT(OP(ADD, 1, 2, 5, 5, 1, true), OP(ADD, 3, 9, 8, 3, 2, true), OP(ADD, 4, 8, 10, 2, 3, true), OP(READ, 10, 11, 10, 0, 3, true));
	ACCEPT(OP(PUT, 1, 2, 7, 0, 0, true), OP(ADD, 3, 0, 0, 3, 0, false), OP(ADD, 4, 5, 12, 2, 0, true));
	REFUSE(OP(ADD, 1, 2, 5, 5, 1, true), OP(ADD, 3, 9, 8, 3, 2, true), OP(ADD, 4, 8, 7, 2, 2, true));
	REFUSE(OP(PUT, 1, 2, 7, 0, 0, true), OP(ADD, 3, 4, 9, 3, 0, true));
	/* a version that came before */
	REFUSE(OP(PUT, 1, 2, 7, 0, 4, true), OP(DEL, 3, 4, 0, 0, 0, true), OP(PUT, 5, 6, 8, 0, 3, true));
}
