/*
 * linear.h - decides whether a history of one key is linearizable.
 *
 * The key is a register with versions: put, conditional put, delete, compare-and-set by version, add, touch (a new version of the value that is there),
 * read with or without version. Values are numbers, unique but for sums. Operations that never returned may have happened at any time after they
 * began, or not at all; what such a one wrote may be unknown (LINEAR_ANY).
 */
#ifndef TESTS_LIB_LINEAR_H
#define TESTS_LIB_LINEAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum linear_kind { LINEAR_PUT, LINEAR_IFABSENT, LINEAR_IFPRESENT, LINEAR_DEL, LINEAR_CAS, LINEAR_READ, LINEAR_ADD, LINEAR_TOUCH };

/* As the value of a write that never returned: whatever the first reader of it sees. */
#define LINEAR_ANY UINT64_MAX

struct linear_op {
	uint8_t kind;
	bool done;               /* it returned: end and what follows `value` are known */
	bool ok;                 /* it took place; READ: the key was there */
	uint16_t process;
	uint32_t key;
	uint64_t start, end;
	uint64_t value;          /* written, or read (0: not known); ADD: the sum */
	uint64_t expect;         /* CAS; ADD: what is added */
	uint64_t version;        /* READ: of what was read; CAS: new, or when refused the one found; PUT, ADD, TOUCH: new; 0 = not known, or absent */
};

/* Sorts ops. NULL if there is an order, else a text about the operation at which none was left (static). */
const char *linear_wrong(struct linear_op *ops, size_t n);

#endif
