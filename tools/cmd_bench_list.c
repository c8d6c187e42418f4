/*
 * cmd_bench_list.c - the workloads of `ppdb bench` by name: db_bench's, and YCSB's A to F.
 *
 * db_bench: the benchmark of LevelDB and RocksDB; names and meanings as there, as far as they have one here. YCSB: Cooper et al., "Benchmarking
 * Cloud Serving Systems with YCSB" (SoCC 2010), its core workloads, with request distributions as there (zipfian: theta .99, ranks
 * scattered over the keys).
 */
#include "tools/cmd_bench.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

const char *const pp_bench_op_names[PP_BENCH_OPS] = {
	"read", "miss", "getmany", "update", "insert", "batch", "delete", "rmw", "add", "scan", "next", "prev",
};
const char *const pp_bench_draw_names[PP_BENCH_DRAWS] = {"uniform", "zipfian", "latest", "hot"};

#define ONLY(op) .percent = {[PP_BENCH_##op] = 100}
#define READ_AND(read, op, other) .percent = {[PP_BENCH_READ] = read, [PP_BENCH_##op] = other}

static const struct pp_bench_workload workloads[] = {
	{.name = "fillseq", .about = "put all keys in ascending order", ONLY(INSERT), .walk = PP_BENCH_ASCENDING, .fills = true},
	{.name = "fillrandom", .about = "put all keys in random order", ONLY(INSERT), .walk = PP_BENCH_SCATTERED, .fills = true},
	{.name = "fillsync", .about = "the same, each put returns when it is on disk", ONLY(INSERT), .walk = PP_BENCH_SCATTERED, .fills = true,
		.durable = true},
	{.name = "fillbatch", .about = "the same, in atomic batches of 100", ONLY(BATCHPUT), .walk = PP_BENCH_SCATTERED, .fills = true},
	{.name = "overwrite", .about = "put on random keys", ONLY(UPDATE)},
	{.name = "updaterandom", .about = "read a random key, write it back if it has not changed (cas)", ONLY(RMW)},
	{.name = "increment", .about = "add 1 to random counters", ONLY(ADD)},
	{.name = "readrandom", .about = "get random keys", ONLY(READ)},
	{.name = "readhot", .about = "get random keys of 1 % of all", ONLY(READ), .draw = PP_BENCH_HOT},
	{.name = "readmissing", .about = "get keys that are not there", ONLY(MISS)},
	{.name = "multireadrandom", .about = "get random keys, 16 in one call", ONLY(GETMANY)},
	{.name = "readseq", .about = "iterate over all keys, ascending", ONLY(NEXT), .sample = 64},
	{.name = "readreverse", .about = "iterate over all keys, descending", ONLY(PREV), .sample = 64},
	{.name = "seekrandom", .about = "seek to a random key and read --scan-length entries", ONLY(SCAN)},
	{.name = "readwhilewriting", .about = "readrandom with one more worker that overwrites", ONLY(READ), .writer = true},
	{.name = "readrandomwriterandom", .about = "90 % get, 10 % put, random keys", READ_AND(90, UPDATE, 10)},
	{.name = "mixed", .about = "70 % get, 15 % put, 5 % insert, 5 % scan, 5 % read-modify-write, zipfian",
		.percent = {[PP_BENCH_READ] = 70, [PP_BENCH_UPDATE] = 15, [PP_BENCH_INSERT] = 5, [PP_BENCH_SCAN] = 5, [PP_BENCH_RMW] = 5},
		.draw = PP_BENCH_ZIPFIAN, .any_length = true},
	{.name = "deleteseq", .about = "delete all keys in ascending order", ONLY(DELETE), .walk = PP_BENCH_ASCENDING, .empties = true},
	{.name = "deleterandom", .about = "delete all keys in random order", ONLY(DELETE), .walk = PP_BENCH_SCATTERED, .empties = true},
	{.name = "ycsb-a", .about = "50 % read, 50 % update, zipfian", READ_AND(50, UPDATE, 50), .draw = PP_BENCH_ZIPFIAN},
	{.name = "ycsb-b", .about = "95 % read, 5 % update, zipfian", READ_AND(95, UPDATE, 5), .draw = PP_BENCH_ZIPFIAN},
	{.name = "ycsb-c", .about = "100 % read, zipfian", ONLY(READ), .draw = PP_BENCH_ZIPFIAN},
	{.name = "ycsb-d", .about = "95 % read, 5 % insert, the newest read most", READ_AND(95, INSERT, 5), .draw = PP_BENCH_LATEST},
	{.name = "ycsb-e", .about = "95 % scan of 1 to --scan-length, 5 % insert, zipfian",
		.percent = {[PP_BENCH_SCAN] = 95, [PP_BENCH_INSERT] = 5}, .draw = PP_BENCH_ZIPFIAN, .any_length = true},
	{.name = "ycsb-f", .about = "50 % read, 50 % read-modify-write, zipfian", READ_AND(50, RMW, 50), .draw = PP_BENCH_ZIPFIAN},
};
#define WORKLOADS (sizeof(workloads) / sizeof(workloads[0]))

/* "a", "A", "ycsba" and "workloada" are ycsb-a, too. */
static const char *ycsb_letter(const char *name)
{
	static const char *const before[] = {"", "ycsb", "workload"};

	for (size_t i = 0; i < 3; i++) {
		size_t n = strlen(before[i]);

		if (!strncasecmp(name, before[i], n) && strlen(name) == n + 1)
			return name + n;
	}
	return NULL;
}

const struct pp_bench_workload *pp_bench_find(const char *name)
{
	const char *letter = ycsb_letter(name);
	char full[] = "ycsb-?";

	if (letter) {
		full[5] = *letter;
		name = full;
	}
	for (size_t i = 0; i < WORKLOADS; i++)
		if (!strcasecmp(workloads[i].name, name))
			return &workloads[i];
	return NULL;
}

void pp_bench_list(FILE *out)
{
	for (size_t i = 0; i < WORKLOADS; i++)
		fprintf(out, "  %-22s %s\n", workloads[i].name, workloads[i].about);
}
