/*
 * crew_backup.c (test) - a backup that is taken while the crew works, started as a store of its own and judged: all that was durable when it
 * began, nothing that had not begun when it ended, chain, sequences and accounts of one cut, tables whole.
 */
#include "tests/lib/crew_internal.h"

#include <stdio.h>
#include <stdlib.h>

static struct test_store copy;

static bool take(struct crew *c)
{
	char command[200], text[2000];
	int rc;

	snprintf(command, sizeof(command), "backup %s/backup", c->store->dir);
	rc = test_store_command(c->store, command, text, sizeof(text));
	if (rc == 4 && strstr(text, "checkpoints overtook")) { /* a slow machine: it is said */
		snprintf(command, sizeof(command), "rm -rf '%s/backup'", c->store->dir);
		test_require(!system(command), "%s", command);
		return false;
	}
	test_require(!rc, "the backup gave %d: %s", rc, text);
	return true;
}

static ppdb *start(const struct crew *c)
{
	char command[400];

	test_store_prepare(&copy, "--memory 256M --wal-segment 1M");
	snprintf(command, sizeof(command), "rm -rf '%s' && mv '%s/backup' '%s'", copy.data, c->store->dir, copy.data);
	test_require(!system(command), "%s", command);
	test_require(!test_store_try(&copy), "ppdbd does not start on the backup");
	return test_store_attach(&copy, 0);
}

static uint64_t last_of(ppdb_view *v, const struct crew_member *m, uint64_t generation)
{
	char value[32] = "";
	uint64_t last = 0;

	if (m->job == CREW_HEAD && crew_chain_value(v, 0, value) && strtoull(value, NULL, 16) == generation)
		return strtoull(value + 9, NULL, 10);
	if (m->job == CREW_SEQUENCE)
		crew_judge_sequence(v, m->number, generation, "in the backup", &last);
	return last;
}

static int judge_table(void *ctx, const ppdb_table_info *info)
{
	uint64_t n = 0;
	ppdb_iter *it;
	ppdb_item item;

	if (strncmp(info->name, "own/", 4))
		return 0;
	test_ok(ppdb_iter_open(ctx, info->table, NULL, &it));
	while (!ppdb_iter_next(it, &item))
		test_require(crew_key_number(item.key, 1) == ++n, "in the backup, table %s goes from %" PRIu64 " to %" PRIu64, info->name, n - 1,
			crew_key_number(item.key, 1));
	ppdb_iter_close(it);
	return 0;
}

bool crew_judge_backup(struct crew *c)
{
	uint64_t generation = atomic_load(&c->generation), owed[CREW_MAX], begun[CREW_MAX];
	pid_t pid[CREW_MAX];
	ppdb_view *v;
	ppdb *db;

	for (unsigned i = 0; i < CREW_MAX; i++) {
		pid[i] = atomic_load(&c->member[i].generation) == generation ? c->member[i].pid : 0;
		owed[i] = atomic_load(&c->member[i].durable);
	}
	if (!take(c))
		return false;
	for (unsigned i = 0; i < CREW_MAX; i++)
		begun[i] = atomic_load(&c->member[i].begun);
	db = start(c);
	test_ok(ppdb_view_begin(db, PPDB_VIEW_FRESH, &v));
	crew_judge_chain(v, generation, "in the backup");
	crew_judge_accounts(v, "in the backup");
	for (unsigned i = 0; i < CREW_MAX; i++) {
		const struct crew_member *m = &c->member[i];
		uint64_t last = pid[i] && pid[i] == m->pid ? last_of(v, m, generation) : 0;

		if (pid[i] && pid[i] == m->pid && (m->job == CREW_HEAD || m->job == CREW_SEQUENCE))
			test_require(last >= owed[i] && last <= begun[i], "member %u: in the backup is %" PRIu64 "; %" PRIu64 " was durable before, %" PRIu64
				" begun after it", i, last, owed[i], begun[i]);
	}
	test_ok(ppdb_table_list(db, judge_table, v));
	ppdb_view_end(v);
	test_ok(ppdb_detach(db));
	test_store_check(&copy, true);
	test_store_end(&copy);
	return true;
}
