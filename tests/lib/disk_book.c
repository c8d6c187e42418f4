/*
 * disk_book.c - what log and checkpoint of one life must hold (contract: disk_book.h).
 */
#include "tests/lib/disk_book.h"

#include <string.h>

#include "tests/lib/simdisk.h"

size_t book_bytes(const struct book *m, const struct book_record *r, uint8_t *to)
{
	struct book_head head = {r->number, r->key, r->size};
	uint64_t state = m->seed ^ r->number * 0x2545f4914f6cdd1dull, word;

	memcpy(to, &head, sizeof(head));
	for (size_t at = 0; at < r->size; at += sizeof(word)) {
		word = simdisk_random(&state);
		memcpy(to + sizeof(head) + at, &word, sizeof(word));
	}
	return sizeof(head) + r->size;
}

const struct book_record *book_put(struct book *m, uint64_t epoch, uint32_t key, uint32_t size)
{
	m->record[m->count] = (struct book_record){epoch, ++m->numbers, key, size};
	return &m->record[m->count++];
}

size_t book_count(const struct book *m, uint64_t epoch)
{
	size_t low = 0, high = m->count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (m->record[middle].epoch <= epoch)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

void book_forget_above(struct book *m, uint64_t epoch)
{
	m->count = book_count(m, epoch);
}

void book_state(const struct book *m, uint64_t epoch, const struct book_record *state[BOOK_KEYS])
{
	size_t n = book_count(m, epoch);
	unsigned missing = BOOK_KEYS;
	bool known[BOOK_KEYS] = {false};

	memset(state, 0, BOOK_KEYS * sizeof(*state));
	while (n-- > 0 && missing) {
		const struct book_record *r = &m->record[n];

		if (known[r->key])
			continue;
		known[r->key] = true;
		missing--;
		state[r->key] = r->size ? r : NULL;
	}
}
