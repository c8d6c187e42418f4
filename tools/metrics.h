/*
 * metrics.h - what a store says about itself as text for Prometheus (text format 0.0.4) or OpenMetrics 1.0.
 *
 *   pp_metrics_collect(&seen[i], &look, name)     for each store
 *   pp_metrics_print(out, format, seen, count)    all families, each with the samples of all stores
 *   pp_metrics_free(&seen[i])
 *
 * Every sample has the label `store`. Further labels, and what keeps their number small:
 *   op        the eight operations                              shard    at most 256, fixed when the arena was made
 *   client    the name that a program gave itself, not its pid: the 50 names with most processes, the rest is "(other)"
 *   table     the 50 named tables that hold most, the rest is "(other)"
 *   bookmark  the 50 that are furthest behind
 * Names are of up to 255 arbitrary bytes: what is not printable becomes \xHH.
 */
#ifndef PP_TOOLS_METRICS_H
#define PP_TOOLS_METRICS_H

#include "tools/facts.h"
#include "tools/look.h"

enum pp_metrics_format { PP_METRICS_PROMETHEUS, PP_METRICS_OPENMETRICS };

#define PP_METRICS_NAMES 50
#define PP_METRICS_OTHER "(other)"

/* X(member, family, unit, kind, help): all that is one number a store. Kinds: gauge, total (a counter), gauge_ns (printed
 * in seconds), and gauges that are left out when unknown: gauge_told, gauge_asked. */
#define PP_METRICS_NUMBERS(X)                                                                                                                       \
	X(incarnation, "incarnation", "", gauge, "Starts of the daemon since the arena was made.")                                                  \
	X(heartbeat_age, "daemon_heartbeat_age_seconds", "seconds", gauge_ns, "Time since the daemon's housekeeping last ran; some 0.1 s when all is well.") \
	X(read_only, "read_only", "", gauge, "1: the log could not be written; the store refuses writes until ppdbd is restarted.")               \
	X(client_limit, "client_limit", "", gauge, "Processes that can be attached at once (ppdbd --clients and a few of the daemon's own).")      \
	X(slots_used, "slots_used", "", gauge, "Slots in use: one a thread and one a view of read-write clients.")                                 \
	X(slot_limit, "slot_limit", "", gauge, "Slots there are (ppdbd --slots and a few of the daemon's own).")                                   \
	X(dead, "dead_clients", "", gauge_told, "Processes that are dead and whose records the daemon has not taken back; absent when this cannot be told from here (another pid namespace).") \
	X(stopped, "stopped_clients", "", gauge_told, "Processes that are stopped (SIGSTOP, debugger); absent when this cannot be told from here (another pid namespace).")           \
	X(evicted, "evicted_clients", "", gauge, "Read-only processes that pinned too much and whose reads are not honoured any more.")            \
	X(memory_limit, "memory_limit_bytes", "bytes", gauge, "Limit of the shared memory (ppdbd --memory).")                                      \
	X(memory_backed, "memory_backed_bytes", "bytes", gauge, "Memory that the arena takes from the system now.")                                \
	X(memory_available, "memory_available_bytes", "bytes", gauge, "What is left below the limit: not backed yet, or backed and unassigned.")    \
	X(memory_tables, "memory_fixed_bytes", "bytes", gauge, "Of the backed memory, what slots, rings and page tables take whatever is stored.") \
	X(memory_huge, "memory_huge_bytes", "bytes", gauge, "Of the backed memory, what lies on huge pages.")                                      \
	X(nodes, "numa_nodes", "", gauge, "NUMA nodes that the arena is spread over.")                                                             \
	X(log_disk, "log_disk_bytes", "bytes", gauge, "Size of the log's files.")                                                                  \
	X(log_segments, "log_segments", "", gauge, "Files of the log.")                                                                            \
	X(log_room, "log_room_bytes", "bytes", gauge, "Room in the log's files that are ready.")                                                   \
	X(log_written, "log_written_bytes", "bytes", total, "Bytes written to the log since the daemon started, padding included.")               \
	X(log_writes, "log_writes", "", total, "Writes of the log since the daemon started.")                                                      \
	X(log_records, "log_records", "", total, "Records written to the log since the daemon started.")                                           \
	X(log_commits, "log_commits", "", total, "Group commits since the daemon started.")                                                        \
	X(log_stalls, "log_stalls", "", total, "Times that a file of the log was not ready and the writer had to make it, since the daemon started.") \
	X(log_p50, "log_write_p50_seconds", "seconds", gauge_ns, "Median time of recent writes of the log, from submission to completion.")        \
	X(log_p99, "log_write_p99_seconds", "seconds", gauge_ns, "99th percentile of the same.")                                                   \
	X(disk_full, "log_disk_full", "", gauge, "1: there is no disk space for another file of the log; only deletes are taken.")                 \
	X(open_epoch, "open_epoch", "", gauge, "Position that writes are committed at now.")                                                       \
	X(settled_epoch, "settled_epoch", "", gauge, "Position up to which all writes are collected for the log.")                                 \
	X(durable_epoch, "durable_epoch", "", gauge, "Position up to which all writes are on disk.")                                               \
	X(ring_entries, "log_ring_entries", "", gauge, "Entries of each slot's log ring.")                                                         \
	X(ring_used, "log_ring_used_max", "", gauge, "Entries in use of the fullest ring.")                                                        \
	X(rings_full, "log_rings_full", "", gauge, "Rings that are full up to an eighth: their writers outrun the log, or wait for it.")           \
	X(checkpoint_epoch, "checkpoint_epoch", "", gauge, "Position of the newest checkpoint.")                                                   \
	X(checkpoint_failed, "checkpoint_failed", "", gauge, "1: the last attempt to write a checkpoint failed.")                                  \
	X(checkpoint_log, "checkpoint_log_bytes", "bytes", gauge, "Log written since the newest checkpoint, or since the daemon started.")         \
	X(checkpoint_due, "checkpoint_due_bytes", "bytes", gauge, "How much of it starts a checkpoint (ppdbd --checkpoint-bytes).")                \
	X(tables, "tables", "", gauge_asked, "Named tables. Absent, as all about them and bookmarks, without a daemon.")                                                                                            \
	X(bookmarks, "bookmarks", "", gauge_asked, "Bookmarks of the change feed.")

struct pp_metrics_client {
	char name[33];
	bool readonly;
	uint64_t processes, pinned_bytes, read_ns, snapshot_ns; /* sums; ages of the oldest */
};

struct pp_metrics_table {
	char *name;
	uint64_t keys, used_bytes, quota_bytes; /* quota 0 = none */
};

struct pp_metrics_bookmark {
	char *name;
	uint64_t behind;
};

struct pp_metrics_store {
	char store[108];               /* label: the store as it was given */
	bool up, starting;
	bool seen;                     /* there was something to look at: all that follows is set */
	bool told;                     /* the state of processes can be told */
	bool asked;                    /* tables and bookmarks are known: a daemon is there */
	struct pp_facts facts;         /* its region is gone by now: numbers only */
	unsigned shards;
	struct { uint64_t keys, leaves, splits, merges, contention, bytes; } shard[PP_SHARDS_MAX];
	char name[64];
	const char *strategy, *sync, *pages;
	char backend[32];
	uint64_t checkpoint_ms;        /* 0 = none */
#define PP_METRICS_MEMBER(member, family, unit, kind, help) uint64_t member;
	PP_METRICS_NUMBERS(PP_METRICS_MEMBER)
#undef PP_METRICS_MEMBER
	struct pp_metrics_client *client;
	struct pp_metrics_table *table;
	struct pp_metrics_bookmark *bookmark;
	unsigned client_count, table_count, bookmark_count;
};

/* `store`: as it was given, the label of all samples. 0, or -ENOMEM: then nothing was kept. */
int pp_metrics_collect(struct pp_metrics_store *, const struct pp_look *, const char *store);
void pp_metrics_free(struct pp_metrics_store *);

void pp_metrics_print(FILE *, enum pp_metrics_format, const struct pp_metrics_store *, size_t count);

/* A label's value: bytes that text formats do not take as they are become escapes. */
void pp_metrics_label(FILE *, const char *name, const char *value);

/* The format that an Accept header (NULL = none) prefers, and its media type. */
enum pp_metrics_format pp_metrics_negotiate(const char *accept);
const char *pp_metrics_media_type(enum pp_metrics_format);

#endif
