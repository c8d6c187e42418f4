/*
 * soak.h - what the files of the endurance test share: soak.c (the run and its verdict), soak_phases.c (what happens to the store),
 * soak_figures.c (what is measured), soak_sampler.c (a process that writes a line each half second).
 */
#ifndef TESTS_SOAK_SOAK_H
#define TESTS_SOAK_SOAK_H

#include "tests/lib/crew_internal.h"

#include "tests/lib/ledger.h"

#include <stdio.h>

enum soak_phase { SOAK_CALM, SOAK_KILLS, SOAK_STOPS, SOAK_RESTARTS, SOAK_COLD, SOAK_ARENA, SOAK_DISK, SOAK_QUIET, SOAK_PHASES };
extern const char *const soak_phase_names[SOAK_PHASES];
extern const char *const soak_kind_names[CREW_KINDS];

#define SOAK_CHURN 2
#define SOAK_CREW (CREW_FIRST_CHURN + SOAK_CHURN + 1) /* with HEAD, two FOLLOWERs, JUDGE, two SEQUENCEs, TABLES, FEED */

/* In shared memory: the sampler reads it. */
struct soak_board {
	_Atomic uint32_t phase, quit;
	_Atomic int32_t daemon;
};

struct soak_events {
	unsigned kills, stops, daemon_stops, arena_full, disk_full, backups;
	uint64_t followed, lost;             /* changes that the follower was told of; rounds in which its position was lost */
	unsigned restarts[3];                /* by enum crew_restart */
	uint64_t restart_ns[3], longest_ns[3];
};

struct soak {
	struct test_store *store;
	struct soak_board *board;
	struct crew *crew;
	struct ledger *ledger;
	ppdb *db;                            /* of the test itself, through everything but cold starts */
	struct test_random r;
	pid_t sampler;
	char disk[128];                      /* small file system under the log, "" = none */
	char out[256];                       /* folder of the report */
	struct soak_events events;
	uint64_t last_steady_ns, full_since_ns;
};

/* ---- phases ----------------------------------------------------------------------------------------------------- */

/* Hires the crew, runs one phase until `end_ns`, or longer if what it began must be finished. */
void soak_hire(struct soak *);
void soak_run(struct soak *, enum soak_phase, uint64_t end_ns);
/* The crew has written its last: judges what is there, then deletes it. */
void soak_dismiss(struct soak *);

/* ---- figures ---------------------------------------------------------------------------------------------------- */

/* A process's open files by kind. `rings`: of io_uring; a daemon chooses anew how to write its log. */
struct soak_files {
	unsigned sockets, pidfds, memfds, rings, data, other;
};
struct soak_files soak_files_of(pid_t pid, const char *data_dir);
unsigned soak_arena_maps_of(pid_t pid, const char *arena);
uint64_t soak_private_bytes_of(pid_t pid);         /* RssAnon */
uint64_t soak_folder_bytes(const char *dir, unsigned *files);

/* What is left when all is deleted and everybody but the test and the sampler has gone. */
struct soak_rest {
	struct crew_memory memory;
	struct soak_files files;
	uint64_t daemon_bytes, disk_bytes;
	unsigned disk_files;
};

struct soak_latency {
	uint64_t count[CREW_KINDS], p50_ns[CREW_KINDS], p99_ns[CREW_KINDS];
};
/* Of what was timed since *since; *since becomes now. */
struct soak_latency soak_latency(struct crew *, struct pp_hist since[CREW_KINDS]);

/* ---- sampler ---------------------------------------------------------------------------------------------------- */

/* A process's work: `arg` is the struct soak. Writes OUT/samples.tsv. */
void soak_sample(void *arg);

#endif
