/*
 * ledger.c - numbered keys and what a store must hold of them (see ledger.h).
 */
#include "tests/lib/ledger.h"

#include "tests/lib/proc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint8_t value[4 << 20];

struct ledger *ledger_new(void)
{
	static struct ledger *all[8]; /* they live as long as the test */
	static unsigned count;

	test_require(count < 8, "more than 8 ledgers");
	all[count] = calloc(1, sizeof(*all[count]));
	test_require(all[count], "no memory");
	return all[count++];
}

static ppdb_slice key_of(unsigned key, char text[16])
{
	return (ppdb_slice){text, (size_t)snprintf(text, 16, "key%05u", key)};
}

/* A value tells its key and the write that made it; the rest of the bytes follow from these. */
static void fill(uint8_t *to, unsigned key, uint32_t write, uint32_t size)
{
	uint32_t head[4] = {key, write, size, ~write};

	memcpy(to, head, sizeof(head));
	memset(to + sizeof(head), (int)(key + write) & 0xff, size - sizeof(head));
}

int ledger_put(struct ledger *l, ppdb *db, unsigned key, uint32_t size, const ppdb_wopts *opts)
{
	ppdb_seq ticket = 0;
	char text[16];
	int rc;

	test_require(key < LEDGER_KEYS && size >= 16 && size <= sizeof(value), "key %u, %u bytes", key, size);
	fill(value, key, ++l->writes, size);
	rc = ppdb_put(db, 0, key_of(key, text), (ppdb_slice){value, size}, opts, &ticket);
	test_require((rc == 0) == (ticket != 0), "put gave %s with ticket %llu: %s", test_name_of(rc), (unsigned long long)ticket,
		test_detail());
	if (!rc) {
		l->written[key] = l->writes;
		l->size[key] = size;
	}
	return rc;
}

int ledger_del(struct ledger *l, ppdb *db, unsigned key, const ppdb_wopts *opts)
{
	ppdb_seq ticket = 0;
	char text[16];
	int rc = ppdb_del(db, 0, key_of(key, text), opts, &ticket);

	test_require((rc == 0) == (ticket != 0), "del gave %s with ticket %llu: %s", test_name_of(rc), (unsigned long long)ticket,
		test_detail());
	if (!rc)
		l->written[key] = 0;
	return rc;
}

unsigned ledger_fill(struct ledger *l, ppdb *db, unsigned from, uint32_t size, const ppdb_wopts *opts, int *rc)
{
	while (!(*rc = ledger_put(l, db, from, size, opts)))
		from++;
	return from;
}

static void judge(const struct ledger *l, ppdb *db, const ppdb_iter_opts *opts)
{
	ppdb_view *view;
	ppdb_iter *it;
	ppdb_item item;
	char text[16];
	int rc;

	test_ok(ppdb_view_begin(db, PPDB_VIEW_LATEST, &view));
	test_ok(ppdb_iter_open(view, 0, opts, &it));
	rc = ppdb_iter_first(it, &item);
	for (unsigned i = 0; i < LEDGER_KEYS; i++) {
		ppdb_slice key = key_of(i, text);

		if (!l->written[i])
			continue;
		test_ok(rc);
		test_require(item.key.size == key.size && !memcmp(item.key.data, key.data, key.size), "found %.*s instead of %s",
			(int)item.key.size, (const char *)item.key.data, text);
		fill(value, i, l->written[i], l->size[i]);
		test_require(item.value.size == l->size[i] && !memcmp(item.value.data, value, l->size[i]),
			"%s has another value: %zu bytes, write %u, not %u bytes, write %u", text, item.value.size,
			item.value.size >= 16 ? ((const uint32_t *)item.value.data)[1] : 0, l->size[i], l->written[i]);
		rc = ppdb_iter_next(it, &item);
	}
	test_require(rc == PPDB_NOTFOUND, "after the last key comes %s: %.*s", test_name_of(rc), rc ? 0 : (int)item.key.size,
		rc ? "" : (const char *)item.key.data);
	ppdb_iter_close(it);
	ppdb_view_end(view);
}

void ledger_judge(const struct ledger *l, ppdb *db)
{
	judge(l, db, NULL);
}

void ledger_judge_own(const struct ledger *l, ppdb *db)
{
	ppdb_iter_opts opts = {.size = sizeof(opts), .prefix = PPDB_S("key")};

	judge(l, db, &opts);
}
