/*
 * wal_helper.h - a scratch directory, records whose bytes follow from their number, and a check of what recovery delivers.
 */
#ifndef PP_TESTS_WAL_HELPER_H
#define PP_TESTS_WAL_HELPER_H

#include <criterion/criterion.h>

#include "engine/wal.h"

#define WAL_RECORDS_MAX 65536

struct wal_record {
	uint64_t epoch;
	size_t size;
};

/* What was appended, in order, and what came back. */
struct wal_model {
	char dir[200];
	struct pp_wal_config config;
	struct wal_record records[WAL_RECORDS_MAX];
	size_t count;
	uint64_t from_epoch;       /* for the next recovery */
	size_t next;               /* record that must come next in a recovery */
	size_t wrong;
	uint64_t last_delivered;   /* epoch */
	uint64_t hash;             /* of what came, and how many */
	size_t delivered;
};

struct wal_model *wal_model_new(void);
void wal_model_free(struct wal_model *m);
/* Empties the directory. */
void wal_clear(const char *dir);
void wal_copy(const char *from, const char *to);

void wal_fill(uint8_t *to, size_t number, size_t size);
/* Appends record number m->count by reserve or append, in several parts. */
int wal_put(struct wal_model *m, struct pp_wal *w, uint64_t epoch, size_t size);
/* Submits and waits until everything is durable. */
struct pp_wal_pos wal_flush(struct pp_wal *w);
/* Recovers, in two passes and in one, and compares: what comes back must be the model's records above from_epoch, in order, without a gap. */
int wal_recover(struct wal_model *m, struct pp_wal_recovered *out);
/* The same, must succeed; number of records that came back. */
size_t wal_recover_ok(struct wal_model *m, struct pp_wal_recovered *out);
struct pp_wal *wal_open_ok(struct wal_model *m, const struct pp_wal_recovered *r);
/* Forgets records above `epoch`: what a cut drops. */
void wal_forget_above(struct wal_model *m, uint64_t epoch);
/* Number of the model's records with epoch <= the given. */
size_t wal_count_upto(const struct wal_model *m, uint64_t epoch);
uint64_t wal_random(uint64_t *state);

#endif
