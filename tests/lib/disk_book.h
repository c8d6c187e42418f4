/*
 * disk_book.h - what log and checkpoint of one life must hold: every record put, in order, with its epoch.
 *
 * A record is a key's new value, or its removal (size 0). Its bytes follow from its number, so that a wrong one is seen.
 */
#ifndef TESTS_LIB_DISK_BOOK_H
#define TESTS_LIB_DISK_BOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BOOK_KEYS 24u
#define BOOK_RECORDS 8192u
#define BOOK_VALUE_MAX (96u << 10)

struct book_record {
	uint64_t epoch;
	uint64_t number;
	uint32_t key;
	uint32_t size;                     /* of the value; 0 = removed */
};

/* What is in the log: a head, then the value. */
struct book_head {
	uint64_t number;
	uint32_t key;
	uint32_t size;
};

struct book {
	uint64_t seed;
	uint64_t numbers;
	size_t count;
	struct book_record record[BOOK_RECORDS];
};

/* `to` has sizeof(struct book_head) + size bytes, rounded up to 8. Returns how many of them count. */
size_t book_bytes(const struct book *, const struct book_record *, uint8_t *to);
const struct book_record *book_put(struct book *, uint64_t epoch, uint32_t key, uint32_t size);
/* Records with a greater epoch never were. */
void book_forget_above(struct book *, uint64_t epoch);
/* Records up to `epoch`. */
size_t book_count(const struct book *, uint64_t epoch);
/* Newest record of each key up to `epoch`; NULL: none, or a removal. */
void book_state(const struct book *, uint64_t epoch, const struct book_record *state[BOOK_KEYS]);

#endif
